//! A writer's schema as the small tree that its data are read by.
//!
//! It keeps what reading a datum needs and nothing else: names are compared here, once for a
//! schema. Whether the data can be events is not asked.
//!
//! Where Avro's rules would guess about money or time, this is stricter: a decimal must have our
//! scale and precision, and a timestamp our unit, because resolving one as the other would be wrong
//! by a power of ten without an error.
//!
//! Invariant: every index in a tree is that of one of its nodes.

use apache_avro::Schema;
use apache_avro::schema::Name;
use std::collections::HashMap;

const PRECISION: usize = 28;
const SCALE: usize = 9;

#[derive(Debug)]
pub struct Plan {
    pub nodes: Vec<Node>,
    pub root: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Null,
    Boolean,
    Int,
    Long,
    /// A long that counts microseconds since 1970 in UTC.
    TimestampMicros,
    /// A long or an int that means another time.
    OtherTime,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    /// A decimal of other precision or scale is plain bytes to us and never a value.
    Decimal {
        fixed: Option<usize>,
    },
    Enum(Vec<String>),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<Field>),
}

/// A field of a writer's record, and what it is to us where the record is an event, a producer
/// sequence or a correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub node: usize,
    pub event: EventField,
    pub producer: ProducerField,
    pub correction: CorrectionField,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventField {
    Source,
    Id,
    Type,
    Subject,
    Time,
    Value,
    Dimensions,
    Provider,
    Location,
    Resource,
    Producer,
    Correction,
    NotOurs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProducerField {
    Id,
    Epoch,
    Seq,
    NotOurs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CorrectionField {
    Action,
    Source,
    Id,
    Reason,
    NotOurs,
}

impl Field {
    /// Names are compared here, once for a schema, and not for every datum.
    fn new(name: &str, node: usize) -> Self {
        let event = match name {
            "source" => EventField::Source,
            "id" => EventField::Id,
            "type" => EventField::Type,
            "subject" => EventField::Subject,
            "time" => EventField::Time,
            "value" => EventField::Value,
            "dimensions" => EventField::Dimensions,
            "provider" => EventField::Provider,
            "location" => EventField::Location,
            "resource" => EventField::Resource,
            "producer" => EventField::Producer,
            "correction" => EventField::Correction,
            _ => EventField::NotOurs,
        };
        let producer = match name {
            "id" => ProducerField::Id,
            "epoch" => ProducerField::Epoch,
            "seq" => ProducerField::Seq,
            _ => ProducerField::NotOurs,
        };
        let correction = match name {
            "action" => CorrectionField::Action,
            "source" => CorrectionField::Source,
            "id" => CorrectionField::Id,
            "reason" => CorrectionField::Reason,
            _ => CorrectionField::NotOurs,
        };
        Self { name: name.to_owned(), node, event, producer, correction }
    }
}

impl Node {
    /// The type, for a sentence.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Int => "an int",
            Self::Long => "a long",
            Self::TimestampMicros => "a long of timestamp-micros",
            Self::OtherTime => "a time of another unit",
            Self::Float => "a float",
            Self::Double => "a double",
            Self::Bytes => "bytes that are no decimal(28,9)",
            Self::String => "a string",
            Self::Fixed(_) => "a fixed that is no decimal(28,9)",
            Self::Decimal { .. } => "a decimal(28,9)",
            Self::Enum(_) => "an enum",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Union(_) => "a union",
            Self::Record(_) => "a record",
        }
    }
}

impl Plan {
    /// Compiles a schema; `others` are those of the named types it uses.
    ///
    /// # Errors
    /// A type that is used and not defined.
    pub fn new(schema: &Schema, others: &[Schema]) -> Result<Self, String> {
        let mut compiler = Compiler { named: HashMap::new(), done: HashMap::new(), nodes: Vec::new() };
        for schema in others.iter().chain([schema]) {
            compiler.find_names(schema);
        }
        let root = compiler.compile(schema)?;
        Ok(Self { nodes: compiler.nodes, root })
    }
}

struct Compiler<'a> {
    named: HashMap<&'a Name, &'a Schema>,
    done: HashMap<Name, usize>,
    nodes: Vec<Node>,
}

impl<'a> Compiler<'a> {
    fn find_names(&mut self, schema: &'a Schema) {
        match schema {
            Schema::Record(record) => {
                self.named.insert(&record.name, schema);
                record.fields.iter().for_each(|field| self.find_names(&field.schema));
            }
            Schema::Enum(one) => {
                self.named.insert(&one.name, schema);
            }
            Schema::Fixed(fixed) => {
                self.named.insert(&fixed.name, schema);
            }
            Schema::Decimal(decimal) => self.find_names(&decimal.inner),
            Schema::Array(array) => self.find_names(&array.items),
            Schema::Map(map) => self.find_names(&map.types),
            Schema::Union(union) => union.variants().iter().for_each(|schema| self.find_names(schema)),
            _ => {}
        }
    }

    fn compile(&mut self, schema: &Schema) -> Result<usize, String> {
        // A named type gets its place before its fields are compiled, so that it may contain
        // itself.
        let name = schema.name().cloned();
        if let Some(index) = name.as_ref().and_then(|name| self.done.get(name)) {
            return Ok(*index);
        }
        if let (Schema::Ref { name }, Some(target)) =
            (schema, name.as_ref().and_then(|name| self.named.get(name)))
        {
            return if matches!(target, Schema::Ref { .. }) {
                Err(format!("the type {name} is not defined"))
            } else {
                self.compile(target)
            };
        }
        let index = self.nodes.len();
        self.nodes.push(Node::Null);
        if let Some(name) = name {
            self.done.insert(name, index);
        }
        let node = match schema {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int => Node::Int,
            Schema::Long => Node::Long,
            Schema::TimestampMicros => Node::TimestampMicros,
            Schema::Date
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Node::OtherTime,
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::Bytes => Node::Bytes,
            Schema::String => Node::String,
            Schema::Fixed(fixed) => Node::Fixed(fixed.size),
            Schema::Decimal(decimal) => {
                let ours = decimal.precision == PRECISION && decimal.scale == SCALE;
                match (&*decimal.inner, ours) {
                    (Schema::Fixed(fixed), true) => Node::Decimal { fixed: Some(fixed.size) },
                    (Schema::Fixed(fixed), false) => Node::Fixed(fixed.size),
                    (_, true) => Node::Decimal { fixed: None },
                    (_, false) => Node::Bytes,
                }
            }
            Schema::Enum(one) => Node::Enum(one.symbols.clone()),
            Schema::Array(array) => Node::Array(self.compile(&array.items)?),
            Schema::Map(map) => Node::Map(self.compile(&map.types)?),
            Schema::Union(union) => Node::Union(
                union.variants().iter().map(|schema| self.compile(schema)).collect::<Result<_, _>>()?,
            ),
            Schema::Record(record) => {
                let fields = record
                    .fields
                    .iter()
                    .map(|field| Ok(Field::new(&field.name, self.compile(&field.schema)?)));
                Node::Record(fields.collect::<Result<_, String>>()?)
            }
            Schema::Ref { name } => return Err(format!("the type {name} is not defined")),
            Schema::BigDecimal | Schema::Uuid | Schema::Duration => {
                unreachable!("these logical types were dropped before the schema was parsed")
            }
        };
        self.nodes[index] = node;
        Ok(index)
    }
}
