//! A schema's text, read by the rules of Avro (specification 1.12): it is a [`Type`], or there is
//! one sentence that says why it is none.
//!
//! Whoever writes to a topic or a file writes the schema, too. So it is read here rather than by a
//! library: whatever the text is, it costs no more than its own size, and nothing in it is worked
//! out that reading data by it does not need. A default is such a thing. It is for readers of
//! another schema, and no data are refused for it.
//!
//! Invariant: a name in a type is one of Avro's, and the bounds below hold.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashSet;

/// The longest text, together with those that it refers to.
pub const MAX_BYTES: usize = 1 << 20;
/// How deep types may stand in types.
const MAX_DEPTH: usize = 64;
/// How many types a text may have, each place counted where one stands.
const MAX_TYPES: usize = 20_000;
const MAX_SYMBOLS: usize = 10_000;
/// With its namespace, which is added to each name that has none.
const MAX_NAME_BYTES: usize = 1024;
/// Other programs count the bytes of a fixed in 32 bits.
const MAX_FIXED_BYTES: usize = 0x7FFF_FFFF;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    Primitive(Primitive, Option<Logical>),
    Fixed {
        name: String,
        size: usize,
        logical: Option<Logical>,
    },
    Enum {
        name: String,
        symbols: Vec<String>,
    },
    Record {
        name: String,
        fields: Vec<(String, Type)>,
    },
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    /// A type that is defined elsewhere: as `name`, or else, where it was written without a
    /// namespace, `outside` of all of them.
    Named {
        name: String,
        outside: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Primitive {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
}

/// What a type is annotated to mean, where the annotation is valid for it; one that is not is as if
/// it were not there, as Avro says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logical {
    Decimal {
        precision: u64,
        scale: u64,
    },
    TimestampMicros,
    /// A time in another unit, or without a date or a zone.
    OtherTime,
    /// It changes nothing about how data are read.
    Other,
}

impl Primitive {
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "int" => Self::Int,
            "long" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "bytes" => Self::Bytes,
            "string" => Self::String,
            _ => return None,
        })
    }

    fn logical(self, object: &Object<'_>) -> Option<Logical> {
        Some(match (self, string(object.logical_type?).ok()?.as_str()) {
            (Self::Bytes, "decimal") => decimal(object, u64::MAX)?,
            (Self::Long, "timestamp-micros") => Logical::TimestampMicros,
            (Self::Int, "date" | "time-millis")
            | (
                Self::Long,
                "time-micros"
                | "timestamp-millis"
                | "timestamp-nanos"
                | "local-timestamp-millis"
                | "local-timestamp-micros"
                | "local-timestamp-nanos",
            ) => Logical::OtherTime,
            (Self::String, "uuid") | (Self::Bytes, "big-decimal") => Logical::Other,
            _ => return None,
        })
    }
}

/// The members of a JSON object that say something about a type or a field. Each is taken apart
/// when it is needed; what is not needed is only checked to be JSON.
#[derive(Deserialize, Default)]
struct Object<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    namespace: Option<&'a RawValue>,
    #[serde(borrow)]
    aliases: Option<&'a RawValue>,
    #[serde(borrow)]
    fields: Option<&'a RawValue>,
    #[serde(borrow)]
    symbols: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    values: Option<&'a RawValue>,
    #[serde(borrow)]
    size: Option<&'a RawValue>,
    #[serde(borrow, rename = "logicalType")]
    logical_type: Option<&'a RawValue>,
    #[serde(borrow)]
    precision: Option<&'a RawValue>,
    #[serde(borrow)]
    scale: Option<&'a RawValue>,
}

/// Reads the text of a schema.
///
/// # Errors
/// The first thing in it that Avro does not allow, or that is beyond a bound.
pub fn read(text: &str) -> Result<Type, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("it has {} bytes and at most {MAX_BYTES} are read", text.len()));
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    Reader { types: 0 }.any(raw, "", 0)
}

struct Reader {
    /// How many there were so far.
    types: usize,
}

impl Reader {
    /// Any type, in the namespace `space`, which is empty where there is none.
    fn any(&mut self, raw: &RawValue, space: &str, depth: usize) -> Result<Type, String> {
        if depth > MAX_DEPTH {
            return Err(format!("types are nested more than {MAX_DEPTH} deep"));
        }
        self.types += 1;
        if self.types > MAX_TYPES {
            return Err(format!("it has more than {MAX_TYPES} types"));
        }
        match raw.get().as_bytes().first() {
            Some(b'"') => {
                let name = string(raw)?;
                match Primitive::parse(&name) {
                    Some(primitive) => Ok(Type::Primitive(primitive, None)),
                    None => named(&name, space),
                }
            }
            Some(b'[') => self.union(&list(raw)?, space, depth),
            Some(b'{') => self.object(&object(raw)?, space, depth),
            _ => Err(format!("a type is a string, an object or an array, and not {}", quoted(raw.get()))),
        }
    }

    fn object(&mut self, object: &Object<'_>, space: &str, depth: usize) -> Result<Type, String> {
        let kind = object.kind.ok_or("an object of it has no type")?;
        if !is_string(kind) {
            return self.any(kind, space, depth + 1);
        }
        let mut inner = |raw: Option<&RawValue>, member: &str| -> Result<Box<Type>, String> {
            let raw = raw.ok_or_else(|| format!("a type of it has no {member}"))?;
            Ok(Box::new(self.any(raw, space, depth + 1)?))
        };
        match string(kind)?.as_str() {
            "array" => Ok(Type::Array(inner(object.items, "items")?)),
            "map" => Ok(Type::Map(inner(object.values, "values")?)),
            "fixed" => fixed(object, space),
            "enum" => symbols(object, space),
            "record" => self.record(object, space, depth),
            name => match Primitive::parse(name) {
                Some(primitive) => Ok(Type::Primitive(primitive, primitive.logical(object))),
                None => named(name, space),
            },
        }
    }

    fn record(&mut self, object: &Object<'_>, space: &str, depth: usize) -> Result<Type, String> {
        let name = defined(object, space)?;
        let space = name.rsplit_once('.').map_or("", |(space, _)| space);
        let written = object.fields.ok_or_else(|| format!("the record {name} has no fields"))?;
        let mut fields = Vec::new();
        for raw in list(written)? {
            let field = self::object(raw)?;
            let own = string(field.name.ok_or_else(|| format!("a field of {name} has no name"))?)?;
            check_name(&own)?;
            check_aliases(&field)?;
            let kind = field.kind.ok_or_else(|| format!("the field {own} of {name} has no type"))?;
            // An annotation beside the type, in the field, is seen by some libraries and not by
            // others. A time in another unit must not pass for ours, so it counts.
            let primitive = if is_string(kind) {
                string(kind).ok().and_then(|kind| Primitive::parse(&kind))
            } else {
                None
            };
            let kind = match primitive.and_then(|primitive| Some((primitive, primitive.logical(&field)?))) {
                Some((primitive, logical)) => Type::Primitive(primitive, Some(logical)),
                None => self.any(kind, space, depth + 1)?,
            };
            fields.push((own, kind));
        }
        match twice(fields.iter().map(|(name, _)| name.as_str())) {
            Some(field) => Err(format!("the record {name} has the field {field} twice")),
            None => Ok(Type::Record { name, fields }),
        }
    }

    fn union(&mut self, written: &[&RawValue], space: &str, depth: usize) -> Result<Type, String> {
        let branches =
            written.iter().map(|raw| self.any(raw, space, depth + 1)).collect::<Result<Vec<_>, _>>()?;
        let kinds = branches.iter().map(|branch| match branch {
            Type::Primitive(primitive, _) => primitive.name(),
            Type::Array(_) => "array",
            Type::Map(_) => "map",
            Type::Union(_) => "union",
            Type::Fixed { name, .. }
            | Type::Enum { name, .. }
            | Type::Record { name, .. }
            | Type::Named { name, .. } => name.as_str(),
        });
        if kinds.clone().any(|kind| kind == "union") {
            return Err("a union of it has a union as a branch".to_owned());
        }
        match twice(kinds) {
            Some(kind) => Err(format!("a union of it has {kind} twice")),
            None => Ok(Type::Union(branches)),
        }
    }
}

fn fixed(object: &Object<'_>, space: &str) -> Result<Type, String> {
    let name = defined(object, space)?;
    let written = object.size.ok_or_else(|| format!("the fixed {name} has no size"))?.get();
    // The specification's canonical form takes quotes away from a size, so they may be there.
    let size = written.trim_matches('"').parse::<usize>().ok().filter(|size| *size <= MAX_FIXED_BYTES);
    let Some(size) = size else {
        return Err(format!(
            "the fixed {name} has {} for its size; it must be a whole number up to {MAX_FIXED_BYTES}",
            quoted(written)
        ));
    };
    // log10(2) is just above 0.30102.
    let digits = (8 * size as u64).saturating_sub(1) * 30_103 / 100_000;
    let logical = object.logical_type.and_then(|logical| string(logical).ok());
    let logical = match (logical.as_deref(), size) {
        (Some("decimal"), _) => decimal(object, digits),
        (Some("uuid"), 16) | (Some("duration"), 12) => Some(Logical::Other),
        _ => None,
    };
    Ok(Type::Fixed { name, size, logical })
}

fn symbols(object: &Object<'_>, space: &str) -> Result<Type, String> {
    let name = defined(object, space)?;
    let written = list(object.symbols.ok_or_else(|| format!("the enum {name} has no symbols"))?)?;
    if written.len() > MAX_SYMBOLS {
        return Err(format!("the enum {name} has more than {MAX_SYMBOLS} symbols"));
    }
    let symbols = written.into_iter().map(string).collect::<Result<Vec<_>, _>>()?;
    symbols.iter().try_for_each(|symbol| check_name(symbol))?;
    match twice(symbols.iter().map(String::as_str)) {
        Some(symbol) => Err(format!("the enum {name} has the symbol {symbol} twice")),
        None => Ok(Type::Enum { name, symbols }),
    }
}

/// A decimal that fits into so many digits.
fn decimal(object: &Object<'_>, digits: u64) -> Option<Logical> {
    let number = |raw: &RawValue| raw.get().parse::<u64>().ok();
    let precision = number(object.precision?)?;
    let scale = object.scale.map_or(Some(0), number)?;
    (precision > 0 && precision <= digits && scale <= precision)
        .then_some(Logical::Decimal { precision, scale })
}

// Names.

/// The full name of a type that is defined here.
fn defined(object: &Object<'_>, space: &str) -> Result<String, String> {
    let name = string(object.name.ok_or("a record, enum or fixed of it has no name")?)?;
    let own = object.namespace.map(string).transpose()?;
    let full = full_name(&name, own.as_deref().unwrap_or(space))?;
    if Primitive::parse(&full).is_some() {
        return Err(format!("it defines {full}, which is a type of Avro's own"));
    }
    check_aliases(object)?;
    Ok(full)
}

fn named(name: &str, space: &str) -> Result<Type, String> {
    let full = full_name(name, space)?;
    let outside = (full != name).then(|| name.to_owned());
    Ok(Type::Named { name: full, outside })
}

/// A name with a dot has its namespace in it; any other gets `space`.
fn full_name(name: &str, space: &str) -> Result<String, String> {
    let full =
        if space.is_empty() || name.contains('.') { name.to_owned() } else { format!("{space}.{name}") };
    if full.len() > MAX_NAME_BYTES {
        return Err(format!("a name of it has {} bytes; at most {MAX_NAME_BYTES} are read", full.len()));
    }
    full.split('.').try_for_each(check_name)?;
    Ok(full)
}

fn check_aliases(object: &Object<'_>) -> Result<(), String> {
    let Some(aliases) = object.aliases else { return Ok(()) };
    list(aliases)?.into_iter().try_for_each(|alias| string(alias)?.split('.').try_for_each(check_name))
}

fn check_name(name: &str) -> Result<(), String> {
    let first = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        Ok(())
    } else {
        Err(format!(
            "{} is no name: Avro's have letters of ASCII, digits and _, and do not begin with a digit",
            quoted(name)
        ))
    }
}

fn twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

// JSON.

fn is_string(raw: &RawValue) -> bool {
    raw.get().starts_with('"')
}

fn string(raw: &RawValue) -> Result<String, String> {
    serde_json::from_str(raw.get())
        .map_err(|_| format!("{} stands where a string must be", quoted(raw.get())))
}

fn list(raw: &RawValue) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(raw.get())
        .map_err(|_| format!("{} stands where an array must be", quoted(raw.get())))
}

fn object(raw: &RawValue) -> Result<Object<'_>, String> {
    if !raw.get().starts_with('{') {
        return Err(format!("{} stands where an object must be", quoted(raw.get())));
    }
    serde_json::from_str(raw.get()).map_err(|error| error.to_string())
}

/// As much of a text as a sentence may quote.
fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    let cut = &text[..text.floor_char_boundary(MOST)];
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}
