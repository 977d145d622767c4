//! The numbers that stand for a schema in single-object encoding: CRC-64-AVRO of its parsing
//! canonical form (specification 1.12, "Parsing Canonical Form for Schemas").
//!
//! There may be two. The specification's form has neither logical types nor precision and scale.
//! That of Rust's apache-avro keeps the latter, and writes a type that was annotated as an object;
//! producers that use it are in the field.

use super::text::{Logical, Primitive, Type};
use apache_avro::rabin::Rabin;
use sha2::Digest as _;
use std::collections::HashSet;
use std::fmt::Write as _;

/// By the specification, and then, where it differs, by apache-avro.
pub fn fingerprints(schema: &Type) -> Vec<u64> {
    let mut names = HashSet::new();
    find_names(schema, &mut names);
    let of = |annotated| {
        let mut form = Form { names: &names, annotated, text: String::new() };
        form.push(schema);
        crc_64_avro(form.text.as_bytes())
    };
    let mut fingerprints = vec![of(false), of(true)];
    fingerprints.dedup();
    fingerprints
}

fn crc_64_avro(bytes: &[u8]) -> u64 {
    let bytes: [u8; 8] = Rabin::digest(bytes).into();
    u64::from_le_bytes(bytes)
}

fn find_names<'a>(schema: &'a Type, names: &mut HashSet<&'a str>) {
    match schema {
        Type::Fixed { name, .. } | Type::Enum { name, .. } => _ = names.insert(name),
        Type::Record { name, fields } => {
            names.insert(name);
            fields.iter().for_each(|(_, kind)| find_names(kind, names));
        }
        Type::Array(inner) | Type::Map(inner) => find_names(inner, names),
        Type::Union(branches) => branches.iter().for_each(|branch| find_names(branch, names)),
        Type::Primitive(..) | Type::Named { .. } => {}
    }
}

struct Form<'a> {
    names: &'a HashSet<&'a str>,
    annotated: bool,
    text: String,
}

impl Form<'_> {
    fn push(&mut self, schema: &Type) {
        match schema {
            Type::Primitive(primitive, logical) => self.push_primitive(*primitive, *logical),
            Type::Fixed { name, size, logical } => {
                self.begin(name, "fixed");
                self.write(format_args!(",\"size\":{size}"));
                self.push_decimal(*logical);
                self.text.push('}');
            }
            Type::Enum { name, symbols } => {
                self.begin(name, "enum");
                self.text.push_str(",\"symbols\":[");
                self.separated(symbols, |form, symbol| form.write(format_args!("\"{symbol}\"")));
                self.text.push_str("]}");
            }
            Type::Record { name, fields } => {
                self.begin(name, "record");
                self.text.push_str(",\"fields\":[");
                self.separated(fields, |form, (name, kind)| {
                    form.write(format_args!("{{\"name\":\"{name}\",\"type\":"));
                    form.push(kind);
                    form.text.push('}');
                });
                self.text.push_str("]}");
            }
            Type::Array(items) => self.push_inner("{\"type\":\"array\",\"items\":", items),
            Type::Map(values) => self.push_inner("{\"type\":\"map\",\"values\":", values),
            Type::Union(branches) => {
                self.text.push('[');
                self.separated(branches, |form, branch| form.push(branch));
                self.text.push(']');
            }
            Type::Named { name, outside } => {
                let name = outside
                    .as_ref()
                    .filter(|outside| {
                        !self.names.contains(name.as_str()) && self.names.contains(outside.as_str())
                    })
                    .unwrap_or(name);
                self.write(format_args!("\"{name}\""));
            }
        }
    }

    fn push_primitive(&mut self, primitive: Primitive, logical: Option<Logical>) {
        let name = primitive.name();
        if self.annotated && logical.is_some() {
            self.write(format_args!("{{\"type\":\"{name}\""));
            self.push_decimal(logical);
            self.text.push('}');
        } else {
            self.write(format_args!("\"{name}\""));
        }
    }

    fn push_decimal(&mut self, logical: Option<Logical>) {
        if let Some(Logical::Decimal { precision, scale }) = logical.filter(|_| self.annotated) {
            self.write(format_args!(",\"precision\":{precision},\"scale\":{scale}"));
        }
    }

    fn push_inner(&mut self, begin: &str, inner: &Type) {
        self.text.push_str(begin);
        self.push(inner);
        self.text.push('}');
    }

    fn begin(&mut self, name: &str, kind: &str) {
        self.write(format_args!("{{\"name\":\"{name}\",\"type\":\"{kind}\""));
    }

    fn separated<T>(&mut self, items: &[T], push: impl Fn(&mut Self, &T)) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            push(self, item);
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a String takes everything");
    }
}
