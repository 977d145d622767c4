//! Avro data, read by the plan of their writer's schema.
//!
//! Values are read straight from the bytes, and what the reader does not know is skipped. Nothing
//! is allocated for what is skipped, every length is checked against the bytes that remain, and
//! recursion is limited, so hostile data cost no more than their own size. Framing and schemas are
//! found elsewhere.
//!
//! Invariant: a datum that is read is the whole of its bytes.

use super::candidate::{
    Candidate, Correction, EncodedMap, Entries, Found, Integer, Map, Producer, Text, Time, Value,
};
use super::map_cache::MapCache;
use crate::schema::WriterSchema;
use crate::schema::plan::{CorrectionField, EventField, Field, Node, Plan, ProducerField};
use crate::schema::resolve::Target;
use bumpalo::Bump;
use schemas::name::printable_ascii;

/// How deep a value that is skipped may nest. Only schemas that contain themselves can go deeper.
const MAX_DEPTH: usize = 64;

/// Why a datum could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The schema, or the branch of a union that the datum has, does not resolve to ours.
    Incompatible(String),
    /// The bytes are not a datum of the schema.
    Invalid(String),
}

/// Reads a datum that is the whole of `bytes`.
///
/// # Errors
/// [`Failure`].
pub fn read<'a>(
    schema: &WriterSchema,
    bytes: &'a [u8],
    maps: &'a MapCache,
    arena: &'a Bump,
    candidate: &mut Candidate<'a>,
) -> Result<(), Failure> {
    if let Some(detail) = schema.problem() {
        return Err(Failure::Incompatible(detail.to_owned()));
    }
    let Plan { nodes, root } = match schema.plan() {
        Ok(plan) => plan,
        Err(detail) => return Err(Failure::Incompatible(detail.to_owned())),
    };
    let mut reader = Reader { maps: Some((schema.number(), maps)), ..Reader::new(nodes, bytes, arena) };
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
pub fn measure(schema: &WriterSchema, bytes: &[u8]) -> Result<usize, String> {
    let Plan { nodes, root } = schema.plan()?;
    let arena = Bump::new();
    let mut reader = Reader::new(nodes, bytes, &arena);
    reader.skip(*root, 0).map_err(|failure| match *failure {
        Failure::Invalid(detail) | Failure::Incompatible(detail) => detail,
    })?;
    Ok(reader.at)
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
    maps: Option<(u64, &'a MapCache)>,
}

/// A failure stands on the heap, so that what is right fits into registers.
type Read<T> = Result<T, Box<Failure>>;

#[cold]
fn invalid<T>(detail: impl Into<String>) -> Read<T> {
    Err(Box::new(Failure::Invalid(detail.into())))
}

impl<'a, 'n> Reader<'a, 'n> {
    fn new(nodes: &'n [Node], bytes: &'a [u8], arena: &'a Bump) -> Self {
        Self { nodes, bytes, arena, at: 0, steps: 10_000 + 8 * bytes.len(), printable: true, maps: None }
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
                EventField::Value => data.value = self.decimal(*node)?,
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

    /// Null where the writer's schema allows it, which a void may have.
    fn decimal(&mut self, node: usize) -> Read<Found<Value<'a>>> {
        let node = self.branch(node)?;
        let units = |bytes| Found::Is(Value::Units(bytes));
        match &self.nodes[node] {
            Node::Decimal { fixed: Some(size) } => self.take(*size).map(units),
            Node::Decimal { fixed: None } => self.bytes().map(units),
            Node::Null => Ok(Found::Absent),
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
        if let Some((schema, maps)) = self.maps {
            let found = maps.recent(schema, node, &self.bytes[self.at..]).or_else(|| {
                encoded = self.measure(node).and_then(|bytes| EncodedMap::new(schema, node, bytes));
                encoded.and_then(|encoded| Some((maps.get(&encoded)?, encoded.bytes.len())))
            });
            if let Some((cached, length)) = found {
                self.at += length;
                *map = Found::Is(Entries::Cached(cached));
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
            // The block's size in bytes follows; only a reader without a schema needs it.
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
