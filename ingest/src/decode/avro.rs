//! Avro: a writer's schema, resolved to `usage_event.v1` by Avro's rules (specification 1.12,
//! "Schema Resolution"), and its data.
//!
//! A schema is checked once, when it is first seen, and compiled to a small tree; data are then
//! read straight from the bytes, and what the reader does not know is skipped. Nothing is allocated
//! for what is skipped, every length is checked against the bytes that remain, and recursion is
//! limited, so hostile data cost no more than their own size.
//!
//! Where Avro's rules would guess about money or time, this is stricter: a decimal must have our
//! scale and precision, and a timestamp our unit, because resolving one as the other would be wrong
//! by a power of ten without an error.

use super::candidate::{Candidate, Correction, Entries, Found, Integer, Map, Producer, Text, Time, Value};
use super::known::{Encoded, KnownMaps};
use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::schema::Name;
use bumpalo::Bump;
use schemas::name::printable_ascii;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// How deep a value that is skipped may nest. Only schemas that contain themselves can go deeper.
const MAX_DEPTH: usize = 64;

const PRECISION: usize = 28;
const SCALE: usize = 9;

/// A writer's schema, ready to read its data.
#[derive(Debug)]
pub struct WriterSchema {
    /// No other schema of this process has it.
    number: u64,
    fingerprints: Vec<u64>,
    /// The tree and its root; or why the text is no schema.
    plan: Result<(Vec<Node>, usize), String>,
    /// Why no datum of the schema can be an event of ours.
    incompatible: Option<String>,
}

/// Why a datum could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The schema, or the branch of a union that the datum has, does not resolve to ours.
    Incompatible(String),
    /// The bytes are not a datum of the schema.
    Invalid(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
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
struct Field {
    name: String,
    node: usize,
    event: EventField,
    producer: ProducerField,
    correction: CorrectionField,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventField {
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
enum ProducerField {
    Id,
    Epoch,
    Seq,
    NotOurs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CorrectionField {
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

impl WriterSchema {
    /// The schema that this program ships.
    pub fn usage_event_v1() -> Self {
        Self::parse(schemas::USAGE_EVENT_V1_AVSC, &[])
    }

    /// Reads a schema; `references` are schemas of the named types it uses. A schema that cannot be
    /// read or resolved is kept with the reason, which every datum of it then gets.
    pub fn parse(json: &str, references: &[String]) -> Self {
        let parsed = parse(json, references);
        let fingerprints = parsed.as_ref().map_or_else(|_| Vec::new(), |_| fingerprints(json, references));
        let plan = parsed
            .and_then(|(schema, others)| plan(&schema, &others))
            .map_err(|detail| format!("the writer's schema is no Avro schema: {detail}"));
        let incompatible = match &plan {
            Ok((nodes, root)) => resolve_event(nodes, *root).err(),
            Err(detail) => Some(detail.clone()),
        };
        Self { number: next_number(), fingerprints, plan, incompatible }
    }

    /// Stands for a schema that is known but cannot be used.
    pub(crate) fn unusable(detail: String) -> Self {
        Self {
            number: next_number(),
            fingerprints: Vec::new(),
            plan: Err(detail.clone()),
            incompatible: Some(detail),
        }
    }

    /// What producers put before their data in single-object encoding: CRC-64-AVRO of the schema's
    /// parsing canonical form.
    ///
    /// There may be two. The specification's form has neither logical types nor precision and
    /// scale; that of Rust's apache-avro keeps the latter, and producers that use it are in the
    /// field.
    pub fn fingerprints(&self) -> &[u64] {
        &self.fingerprints
    }

    /// Why the schema cannot be resolved to ours, if it cannot.
    pub fn problem(&self) -> Option<&str> {
        self.incompatible.as_deref()
    }

    /// Whether the text was a schema at all.
    pub(crate) fn is_schema(&self) -> bool {
        self.plan.is_ok()
    }

    /// Reads a datum that is the whole of `bytes`.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn read<'a>(
        &self,
        bytes: &'a [u8],
        known: &'a KnownMaps,
        arena: &'a Bump,
        candidate: &mut Candidate<'a>,
    ) -> Result<(), Failure> {
        if let Some(detail) = &self.incompatible {
            return Err(Failure::Incompatible(detail.clone()));
        }
        let (nodes, root) = match &self.plan {
            Ok(plan) => plan,
            Err(detail) => return Err(Failure::Incompatible(detail.clone())),
        };
        let mut reader = Reader { known: Some((self.number, known)), ..Reader::new(nodes, bytes, arena) };
        if let Err(failure) = reader.event(*root, candidate) {
            return Err(*failure);
        }
        candidate.printable = reader.printable;
        match bytes.len() - reader.at {
            0 => Ok(()),
            rest => Err(Failure::Invalid(format!("{rest} bytes are left over after the datum"))),
        }
    }

    /// The length of the datum at the start of `bytes`.
    ///
    /// # Errors
    /// Where it does not end within `bytes`.
    pub(crate) fn measure(&self, bytes: &[u8]) -> Result<usize, String> {
        let (nodes, root) = self.plan.as_ref().map_err(Clone::clone)?;
        let arena = Bump::new();
        let mut reader = Reader::new(nodes, bytes, &arena);
        reader.skip(*root, 0).map_err(|failure| match *failure {
            Failure::Invalid(detail) | Failure::Incompatible(detail) => detail,
        })?;
        Ok(reader.at)
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Logical types that only annotate are dropped first: apache-avro forgets for some of them what
/// lies beneath.
fn parse(json: &str, references: &[String]) -> Result<(Schema, Vec<Schema>), String> {
    parse_without(json, references, &|name, value| {
        name == "logicalType" && matches!(value.as_str(), Some("uuid" | "duration" | "big-decimal"))
    })
}

fn fingerprints(json: &str, references: &[String]) -> Vec<u64> {
    let plain =
        parse_without(json, references, &|name, _| matches!(name, "logicalType" | "precision" | "scale"));
    let kept = parse_without(json, references, &|_, _| false);
    let mut fingerprints: Vec<u64> =
        [plain, kept].into_iter().flatten().map(|(schema, _)| fingerprint(&schema)).collect();
    fingerprints.dedup();
    fingerprints
}

fn fingerprint(schema: &Schema) -> u64 {
    let bytes: [u8; 8] = schema.fingerprint::<Rabin>().bytes.try_into().expect("CRC-64 has eight bytes");
    u64::from_le_bytes(bytes)
}

type Annotation<'a> = &'a dyn Fn(&str, &serde_json::Value) -> bool;

fn parse_without(
    json: &str,
    references: &[String],
    annotation: Annotation<'_>,
) -> Result<(Schema, Vec<Schema>), String> {
    let plain = |text: &str| -> Result<String, String> {
        let mut value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        drop_annotations(&mut value, annotation);
        Ok(value.to_string())
    };
    let references = references.iter().map(|text| plain(text)).collect::<Result<Vec<_>, _>>()?;
    Schema::parse_str_with_list(&plain(json)?, references).map_err(|error| error.to_string())
}

fn drop_annotations(value: &mut serde_json::Value, annotation: Annotation<'_>) {
    match value {
        serde_json::Value::Object(members) => {
            members.retain(|name, value| !annotation(name, value));
            members.values_mut().for_each(|value| drop_annotations(value, annotation));
        }
        serde_json::Value::Array(values) => {
            values.iter_mut().for_each(|value| drop_annotations(value, annotation))
        }
        _ => {}
    }
}

fn plan(schema: &Schema, others: &[Schema]) -> Result<(Vec<Node>, usize), String> {
    let mut compiler = Compiler { named: HashMap::new(), done: HashMap::new(), nodes: Vec::new() };
    for schema in others.iter().chain([schema]) {
        compiler.find_names(schema);
    }
    let root = compiler.compile(schema)?;
    Ok((compiler.nodes, root))
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

/// What a field of ours may be read from.
#[derive(Debug, Clone, Copy)]
enum Target {
    Text,
    Long,
    Time,
    Value,
    Map,
    Producer,
    Correction,
    Action,
}

/// Our fields: name, what they are, whether they may be null, whether the writer must have them.
type Fields = &'static [(&'static str, Target, bool, bool)];

const EVENT: Fields = &[
    ("source", Target::Text, false, true),
    ("id", Target::Text, false, true),
    ("type", Target::Text, false, true),
    ("subject", Target::Text, false, true),
    ("time", Target::Time, false, true),
    ("value", Target::Value, false, true),
    ("dimensions", Target::Map, false, false),
    ("provider", Target::Text, true, false),
    ("location", Target::Text, true, false),
    ("resource", Target::Map, true, false),
    ("producer", Target::Producer, true, false),
    ("correction", Target::Correction, true, false),
];
const PRODUCER: Fields = &[
    ("id", Target::Text, false, true),
    ("epoch", Target::Long, false, true),
    ("seq", Target::Long, false, true),
];
const CORRECTION: Fields = &[
    ("action", Target::Action, false, true),
    ("source", Target::Text, false, true),
    ("id", Target::Text, false, true),
    ("reason", Target::Text, false, true),
];

/// Whether some datum of the writer's schema can be an event; what a union holds is only known
/// datum by datum.
fn resolve_event(nodes: &[Node], root: usize) -> Result<(), String> {
    let branches = match &nodes[root] {
        Node::Union(branches) => branches.clone(),
        _ => vec![root],
    };
    let resolved =
        branches.iter().map(|branch| resolve_record(nodes, *branch, "", EVENT)).collect::<Vec<_>>();
    match resolved.iter().any(Result::is_ok) {
        true => Ok(()),
        false => resolved
            .into_iter()
            .next()
            .unwrap_or_else(|| Err("the writer's schema is a union of nothing".to_owned())),
    }
}

fn resolve_record(nodes: &[Node], node: usize, path: &str, fields: Fields) -> Result<(), String> {
    let Node::Record(written) = &nodes[node] else {
        return Err(format!(
            "the writer's schema has {} where usage_event.v1 has a record{}",
            nodes[node].what(),
            if path.is_empty() { String::new() } else { format!(" ({path})") }
        ));
    };
    for (name, target, nullable, required) in fields {
        let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
        match written.iter().find(|field| field.name == *name) {
            Some(field) => resolve(nodes, field.node, &path, *target, *nullable)?,
            None if *required => {
                return Err(format!(
                    "the writer's schema has no field {path}, and usage_event.v1 has no default for it"
                ));
            }
            None => {}
        }
    }
    Ok(())
}

fn resolve(nodes: &[Node], node: usize, path: &str, target: Target, nullable: bool) -> Result<(), String> {
    let fits = match (&nodes[node], target) {
        (Node::Union(branches), _) => {
            let results = branches
                .iter()
                .map(|branch| resolve(nodes, *branch, path, target, nullable))
                .collect::<Vec<_>>();
            // A union resolves if one branch does. Null alone is no sign that the rest fits too.
            let is_null = |branch: &usize| nodes[*branch] == Node::Null;
            let something =
                branches.iter().zip(&results).any(|(branch, result)| !is_null(branch) && result.is_ok());
            let nothing = branches.iter().all(is_null);
            return match results.into_iter().zip(branches).find(|(_, branch)| !is_null(branch)) {
                Some((result, _)) if !something => result,
                _ if nothing && !nullable => Err(format!("the writer's schema has only null for {path}")),
                _ => Ok(()),
            };
        }
        (Node::Null, _) => nullable,
        (Node::String | Node::Bytes, Target::Text)
        | (Node::Int | Node::Long, Target::Long)
        | (Node::Int | Node::Long | Node::TimestampMicros, Target::Time)
        | (Node::Decimal { .. }, Target::Value)
        | (Node::Enum(_), Target::Action) => true,
        (Node::Map(values), Target::Map) => return resolve(nodes, *values, path, Target::Text, false),
        (Node::Record(_), Target::Producer) => return resolve_record(nodes, node, path, PRODUCER),
        (Node::Record(_), Target::Correction) => return resolve_record(nodes, node, path, CORRECTION),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(format!(
            "the writer's schema has {} for {path}; usage_event.v1 has {}",
            nodes[node].what(),
            target.what()
        ))
    }
}

impl Target {
    fn what(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Long => "a long",
            Self::Time => "a long of timestamp-micros",
            Self::Value => "bytes of decimal(28,9)",
            Self::Map => "a map of strings",
            Self::Producer | Self::Correction => "a record",
            Self::Action => "an enum",
        }
    }
}

impl Node {
    fn what(&self) -> &'static str {
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

struct Reader<'a, 'n> {
    nodes: &'n [Node],
    bytes: &'a [u8],
    arena: &'a Bump,
    at: usize,
    /// Values that may still be skipped. A hostile schema can make very many out of no bytes.
    steps: usize,
    /// Whether every text so far was printable ASCII.
    printable: bool,
    /// Maps that came before, and the number that the schema has there.
    known: Option<(u64, &'a KnownMaps)>,
}

/// What is wrong stands on the heap, so that what is right fits into registers.
type Read<T> = Result<T, Box<Failure>>;

#[cold]
fn invalid<T>(detail: impl Into<String>) -> Read<T> {
    Err(Box::new(Failure::Invalid(detail.into())))
}

impl<'a, 'n> Reader<'a, 'n> {
    fn new(nodes: &'n [Node], bytes: &'a [u8], arena: &'a Bump) -> Self {
        Self { nodes, bytes, arena, at: 0, steps: 10_000 + 8 * bytes.len(), printable: true, known: None }
    }

    fn event(&mut self, root: usize, candidate: &mut Candidate<'a>) -> Read<()> {
        let data = &mut candidate.data;
        for Field { node, event, .. } in self.fields(root, "the event")? {
            match event {
                EventField::Source => candidate.source = self.text(*node, "source", false)?,
                EventField::Id => candidate.id = self.text(*node, "id", false)?,
                EventField::Type => candidate.kind = self.text(*node, "type", false)?,
                EventField::Subject => candidate.subject = self.text(*node, "subject", false)?,
                EventField::Time => candidate.time = Time::Micros(self.time(*node)?),
                EventField::Value => data.value = Found::Is(Value::Units(self.decimal(*node)?)),
                EventField::Dimensions => self.map(*node, "dimensions", false, &mut data.dimensions)?,
                EventField::Provider => data.provider = self.text(*node, "provider", true)?,
                EventField::Location => data.location = self.text(*node, "location", true)?,
                EventField::Resource => self.map(*node, "resource", true, &mut data.resource)?,
                EventField::Producer => data.producer = self.producer(*node)?,
                EventField::Correction => data.correction = self.correction(*node)?,
                EventField::NotOurs => self.skip(*node, 0)?,
            }
        }
        candidate.found_data = Found::Is(());
        Ok(())
    }

    fn producer(&mut self, node: usize) -> Read<Found<Producer<'a>>> {
        let node = self.branch(node)?;
        if self.nodes[node] == Node::Null {
            return Ok(Found::Absent);
        }
        let mut found = Producer::default();
        for Field { node, producer, .. } in self.fields(node, "producer")? {
            match producer {
                ProducerField::Id => found.id = self.text(*node, "producer.id", false)?,
                ProducerField::Epoch => {
                    found.epoch = Found::Is(Integer::Is(self.integer(*node, "producer.epoch")?))
                }
                ProducerField::Seq => {
                    found.seq = Found::Is(Integer::Is(self.integer(*node, "producer.seq")?))
                }
                ProducerField::NotOurs => self.skip(*node, 0)?,
            }
        }
        Ok(Found::Is(found))
    }

    fn correction(&mut self, node: usize) -> Read<Found<Correction<'a>>> {
        let node = self.branch(node)?;
        if self.nodes[node] == Node::Null {
            return Ok(Found::Absent);
        }
        let mut found = Correction::default();
        for Field { node, correction, .. } in self.fields(node, "correction")? {
            match correction {
                CorrectionField::Action => found.action = self.symbol(*node)?,
                CorrectionField::Source => found.source = self.text(*node, "correction.source", false)?,
                CorrectionField::Id => found.id = self.text(*node, "correction.id", false)?,
                CorrectionField::Reason => found.reason = self.text(*node, "correction.reason", false)?,
                CorrectionField::NotOurs => self.skip(*node, 0)?,
            }
        }
        Ok(Found::Is(found))
    }

    /// The fields of a record, in the writer's order.
    fn fields(&mut self, node: usize, field: &str) -> Read<&'n [Field]> {
        let node = self.branch(node)?;
        match &self.nodes[node] {
            Node::Record(fields) => Ok(fields),
            other => Err(mismatch(other, field, "a record")),
        }
    }

    #[inline(always)]
    fn text(&mut self, node: usize, field: &str, nullable: bool) -> Read<Text<'a>> {
        let node = self.branch(node)?;
        match &self.nodes[node] {
            Node::String | Node::Bytes => Ok(Found::Is(self.string(field)?)),
            Node::Null if nullable => Ok(Found::Absent),
            other => Err(mismatch(other, field, Target::Text.what())),
        }
    }

    fn integer(&mut self, node: usize, field: &str) -> Read<i64> {
        let node = self.branch(node)?;
        match &self.nodes[node] {
            Node::Long => self.long(),
            Node::Int => self.int(),
            other => Err(mismatch(other, field, Target::Long.what())),
        }
    }

    fn time(&mut self, node: usize) -> Read<i64> {
        let node = self.branch(node)?;
        match &self.nodes[node] {
            Node::Long | Node::TimestampMicros => self.long(),
            Node::Int => self.int(),
            other => Err(mismatch(other, "time", Target::Time.what())),
        }
    }

    fn decimal(&mut self, node: usize) -> Read<&'a [u8]> {
        let node = self.branch(node)?;
        match &self.nodes[node] {
            Node::Decimal { fixed: Some(size) } => self.take(*size),
            Node::Decimal { fixed: None } => self.bytes(),
            other => Err(mismatch(other, "value", Target::Value.what())),
        }
    }

    fn symbol(&mut self, node: usize) -> Read<Text<'a>> {
        let node = self.branch(node)?;
        let symbols = match &self.nodes[node] {
            Node::Enum(symbols) => symbols,
            other => return Err(mismatch(other, "correction.action", Target::Action.what())),
        };
        let index = self.int()?;
        match usize::try_from(index).ok().and_then(|index| symbols.get(index)) {
            Some(symbol) if symbol == "void" => Ok(Found::Is("void")),
            Some(symbol) if symbol == "replace" => Ok(Found::Is("replace")),
            Some(symbol) => {
                let detail = format!(
                    "the record has {symbol:?} for correction.action; usage_event.v1 has void and replace"
                );
                Err(Box::new(Failure::Incompatible(detail)))
            }
            None => invalid(format!("an enum has no symbol {index}")),
        }
    }

    fn map(&mut self, node: usize, field: &str, nullable: bool, map: &mut Map<'a>) -> Read<()> {
        let node = self.branch(node)?;
        let values = match &self.nodes[node] {
            Node::Map(values) => *values,
            Node::Null if nullable => return Ok(()),
            other => return Err(mismatch(other, field, Target::Map.what())),
        };
        let mut encoded = None;
        if let Some((schema, known)) = self.known {
            let again = known.again(schema, node, &self.bytes[self.at..]).or_else(|| {
                encoded = self.measure(node).and_then(|bytes| Encoded::new(schema, node, bytes));
                encoded.and_then(|encoded| Some((known.get(&encoded)?, encoded.len())))
            });
            if let Some((again, length)) = again {
                self.at += length;
                *map = Found::Is(Entries::Known(again));
                return Ok(());
            }
        }
        let mut pairs = bumpalo::collections::Vec::new_in(self.arena);
        while let Some(count) = self.block()? {
            for _ in 0..count {
                pairs.push((self.string(field)?, self.text(values, field, false)?));
            }
        }
        *map = Found::Is(Entries::Written { pairs: pairs.into_bump_slice(), encoded });
        Ok(())
    }

    /// The bytes of the value that comes next. Nothing is said of what cannot be read: reading it
    /// says what is wrong.
    fn measure(&mut self, node: usize) -> Option<&'a [u8]> {
        let (start, steps) = (self.at, self.steps);
        let skipped = self.skip(node, 0);
        let end = std::mem::replace(&mut self.at, start);
        self.steps = steps;
        skipped.ok().map(|()| &self.bytes[start..end])
    }

    /// The branch that a union has here; any other node is its own branch.
    #[inline(always)]
    fn branch(&mut self, node: usize) -> Read<usize> {
        let Node::Union(branches) = &self.nodes[node] else { return Ok(node) };
        let index = self.long()?;
        match usize::try_from(index).ok().and_then(|index| branches.get(index)) {
            Some(branch) => Ok(*branch),
            None => no_branch(index),
        }
    }

    fn skip(&mut self, node: usize, depth: usize) -> Read<()> {
        if depth > MAX_DEPTH {
            return invalid(format!("values are nested more than {MAX_DEPTH} deep"));
        }
        self.steps = self
            .steps
            .checked_sub(1)
            .ok_or_else(|| Box::new(Failure::Invalid("far more values than bytes".to_owned())))?;
        match &self.nodes[node] {
            Node::Null => Ok(()),
            Node::Boolean => self.take(1).map(drop),
            Node::Int | Node::Long | Node::TimestampMicros | Node::OtherTime | Node::Enum(_) => {
                self.long().map(drop)
            }
            Node::Float => self.take(4).map(drop),
            Node::Double => self.take(8).map(drop),
            Node::Bytes | Node::String | Node::Decimal { fixed: None } => self.bytes().map(drop),
            Node::Fixed(size) | Node::Decimal { fixed: Some(size) } => self.take(*size).map(drop),
            Node::Union(_) => {
                let branch = self.branch(node)?;
                self.skip(branch, depth + 1)
            }
            Node::Record(fields) => fields.iter().try_for_each(|field| self.skip(field.node, depth + 1)),
            Node::Array(items) => {
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        self.skip(*items, depth + 1)?;
                    }
                }
                Ok(())
            }
            Node::Map(values) => {
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        self.bytes()?;
                        self.skip(*values, depth + 1)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// The count of the next block of an array or map; `None` at its end. A count beyond the bytes
    /// that remain is refused, also for items that take no bytes: they would only burn time.
    fn block(&mut self) -> Read<Option<u64>> {
        let count = self.long()?;
        if count < 0 {
            // The block's size in bytes follows; it is of use only for skipping without a schema.
            self.long()?;
        }
        match count.unsigned_abs() {
            0 => Ok(None),
            count if count <= (self.bytes.len() - self.at) as u64 => Ok(Some(count)),
            count => invalid(format!("a block of {count} items is longer than the record")),
        }
    }

    #[inline(always)]
    fn string(&mut self, field: &str) -> Read<&'a str> {
        let bytes = self.bytes()?;
        match printable_ascii(bytes) {
            Some(text) => Ok(text),
            None => {
                self.printable = false;
                other_text(bytes, field)
            }
        }
    }

    #[inline(always)]
    fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => impossible_length(length),
        }
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        match self.bytes[self.at..].get(..length) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => self.too_short(length),
        }
    }

    #[cold]
    fn too_short<T>(&self, length: usize) -> Read<T> {
        invalid(format!(
            "the record ends at byte {} where {length} more bytes should follow",
            self.bytes.len()
        ))
    }

    fn int(&mut self) -> Read<i64> {
        let value = self.long()?;
        match i32::try_from(value) {
            Ok(_) => Ok(value),
            Err(_) => invalid(format!("{value} is not an int of 32 bits")),
        }
    }

    /// A zig-zag varint of at most 64 bits.
    #[inline(always)]
    fn long(&mut self) -> Read<i64> {
        // Most numbers are lengths and branches, of one byte.
        match self.bytes.get(self.at) {
            Some(byte) if byte & 0x80 == 0 => {
                self.at += 1;
                Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1))
            }
            _ => self.long_of_many(),
        }
    }

    fn long_of_many(&mut self) -> Read<i64> {
        // A time takes eight bytes: the sevens of bits are joined by twos, not one by one.
        if let Some(eight) = self.bytes[self.at..].first_chunk() {
            let eight = u64::from_le_bytes(*eight);
            let last = !eight & 0x8080_8080_8080_8080;
            if last != 0 {
                // The highest bit of the last byte, and all below it.
                let sevens = eight & (last ^ (last - 1)) & 0x7F7F_7F7F_7F7F_7F7F;
                let fourteens = (sevens & 0x007F_007F_007F_007F) | (sevens & 0x7F00_7F00_7F00_7F00) >> 1;
                let twenty_eights =
                    (fourteens & 0x0000_3FFF_0000_3FFF) | (fourteens & 0x3FFF_0000_3FFF_0000) >> 2;
                let bits = (twenty_eights & 0x0FFF_FFFF) | (twenty_eights & 0x0FFF_FFFF_0000_0000) >> 4;
                self.at += last.trailing_zeros() as usize / 8 + 1;
                return Ok(zigzag(bits));
            }
        }
        let mut bits: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let part = u64::from(byte & 0x7F);
            if shift == 63 && part > 1 {
                return invalid("a number of more than 64 bits");
            }
            bits |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(zigzag(bits));
            }
        }
        invalid("a number of more than 64 bits")
    }
}

fn zigzag(bits: u64) -> i64 {
    (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed()
}

#[cold]
fn impossible_length<T>(length: i64) -> Read<T> {
    invalid(format!("a length of {length} bytes"))
}

#[cold]
fn no_branch<T>(index: i64) -> Read<T> {
    invalid(format!("a union has no branch {index}"))
}

/// Bytes that are not printable ASCII.
#[cold]
fn other_text<'a>(bytes: &'a [u8], field: &str) -> Read<&'a str> {
    std::str::from_utf8(bytes).or_else(|_| invalid(format!("{field} is not UTF-8")))
}

#[cold]
fn mismatch(found: &Node, field: &str, wanted: &str) -> Box<Failure> {
    Box::new(Failure::Incompatible(format!(
        "the record has {} for {field}; usage_event.v1 has {wanted}",
        found.what()
    )))
}
