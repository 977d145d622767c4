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

use super::text::{Logical, Primitive, Type};
use std::collections::HashMap;

const PRECISION: u64 = 28;
const SCALE: u64 = 9;

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
    /// A type that is used and not defined, or defined twice.
    pub fn new(schema: &Type, others: &[Type]) -> Result<Self, String> {
        let mut compiler = Compiler { places: HashMap::new(), nodes: Vec::new() };
        others.iter().chain([schema]).try_for_each(|schema| compiler.find_names(schema))?;
        for other in others {
            compiler.compile(other)?;
        }
        let root = compiler.compile(schema)?;
        Ok(Self { nodes: compiler.nodes, root })
    }
}

struct Compiler<'a> {
    /// Each named type has its node before any is compiled, so that it may contain itself.
    places: HashMap<&'a str, usize>,
    nodes: Vec<Node>,
}

impl<'a> Compiler<'a> {
    fn find_names(&mut self, schema: &'a Type) -> Result<(), String> {
        match schema {
            Type::Record { name, .. } | Type::Enum { name, .. } | Type::Fixed { name, .. } => {
                if self.places.insert(name, self.nodes.len()).is_some() {
                    return Err(format!("the type {name} is defined twice"));
                }
                self.nodes.push(Node::Null);
            }
            _ => {}
        }
        match schema {
            Type::Record { fields, .. } => fields.iter().try_for_each(|(_, kind)| self.find_names(kind)),
            Type::Array(inner) | Type::Map(inner) => self.find_names(inner),
            Type::Union(branches) => branches.iter().try_for_each(|branch| self.find_names(branch)),
            _ => Ok(()),
        }
    }

    fn compile(&mut self, schema: &Type) -> Result<usize, String> {
        let place = |name: &str| self.places.get(name).copied();
        let (place, node) = match schema {
            Type::Named { name, outside } => {
                return place(name)
                    .or_else(|| outside.as_deref().and_then(place))
                    .ok_or_else(|| format!("the type {name} is not defined"));
            }
            Type::Primitive(primitive, logical) => (None, primitive_node(*primitive, *logical)),
            Type::Fixed { name, size, logical } if is_ours(*logical) => {
                (place(name), Node::Decimal { fixed: Some(*size) })
            }
            Type::Fixed { name, size, .. } => (place(name), Node::Fixed(*size)),
            Type::Enum { name, symbols } => (place(name), Node::Enum(symbols.clone())),
            Type::Array(items) => (None, Node::Array(self.compile(items)?)),
            Type::Map(values) => (None, Node::Map(self.compile(values)?)),
            Type::Union(branches) => {
                (None, Node::Union(branches.iter().map(|one| self.compile(one)).collect::<Result<_, _>>()?))
            }
            Type::Record { name, fields } => {
                let place = place(name);
                let fields = fields.iter().map(|(name, kind)| Ok(Field::new(name, self.compile(kind)?)));
                (place, Node::Record(fields.collect::<Result<_, String>>()?))
            }
        };
        Ok(match place {
            Some(place) => {
                self.nodes[place] = node;
                place
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        })
    }
}

fn primitive_node(primitive: Primitive, logical: Option<Logical>) -> Node {
    match (primitive, logical) {
        (Primitive::Bytes, logical) if is_ours(logical) => Node::Decimal { fixed: None },
        (Primitive::Long, Some(Logical::TimestampMicros)) => Node::TimestampMicros,
        (Primitive::Int | Primitive::Long, Some(Logical::OtherTime)) => Node::OtherTime,
        (Primitive::Null, _) => Node::Null,
        (Primitive::Boolean, _) => Node::Boolean,
        (Primitive::Int, _) => Node::Int,
        (Primitive::Long, _) => Node::Long,
        (Primitive::Float, _) => Node::Float,
        (Primitive::Double, _) => Node::Double,
        (Primitive::Bytes, _) => Node::Bytes,
        (Primitive::String, _) => Node::String,
    }
}

fn is_ours(logical: Option<Logical>) -> bool {
    logical == Some(Logical::Decimal { precision: PRECISION, scale: SCALE })
}
