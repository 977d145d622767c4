//! An event as it was found, before anything about it is judged. The one shape all encodings are read into.

use super::known::Encoded;
use schemas::event::MapRef;
use smallvec::SmallVec;
use std::borrow::Cow;

/// A field that may be absent (also null), or of a type it cannot be; then it says what it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Found<T> {
    #[default]
    Absent,
    Is(T),
    Wrong(&'static str),
}

pub type Text<'a> = Found<Cow<'a, str>>;
pub type Map<'a> = Found<Entries<'a>>;

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "what is on the heap for every event costs more than what is not used of the stack")]
pub enum Entries<'a> {
    /// Pairs in the order they were written; a name may still be there twice. Where they can be known again, the bytes they were read from.
    Written { pairs: WrittenPairs<'a>, encoded: Option<Encoded<'a>> },
    /// What such bytes were judged to be before.
    Known(MapRef<'a>),
}

pub type WrittenPairs<'a> = SmallVec<[(Cow<'a, str>, Text<'a>); PAIRS]>;

/// As many names as an event's dimensions have without costing an allocation.
pub const PAIRS: usize = 4;

#[derive(Debug, Default)]
pub struct Candidate<'a> {
    /// Whether each text that must be a name is `schemas::id::printable_ascii`, so that nobody need look again. False where nobody looked.
    pub printable: bool,
    /// Absent where the encoding has no such attribute, which Avro has not.
    pub specversion: Option<Text<'a>>,
    pub source: Text<'a>,
    pub id: Text<'a>,
    pub kind: Text<'a>,
    pub subject: Text<'a>,
    pub time: Time<'a>,
    pub content_type: Text<'a>,
    /// A header that contradicts the value, as a sentence.
    pub contradiction: Option<String>,
    /// Whether there are data; they stand beside, so that they are never moved.
    pub found_data: Found<()>,
    pub data: Data<'a>,
}

#[derive(Debug)]
pub enum Time<'a> {
    Text(Text<'a>),
    Micros(i64),
}

impl Default for Time<'_> {
    fn default() -> Self {
        Self::Text(Found::Absent)
    }
}

#[derive(Debug, Default)]
pub struct Data<'a> {
    pub value: Found<Value<'a>>,
    pub dimensions: Map<'a>,
    pub provider: Text<'a>,
    pub location: Text<'a>,
    pub resource: Map<'a>,
    pub producer: Found<Producer<'a>>,
    pub correction: Found<Correction<'a>>,
}

#[derive(Debug)]
pub enum Value<'a> {
    Text(Cow<'a, str>),
    /// The literal of a JSON number.
    Number(&'a str),
    /// Two's complement, big-endian, in units of 10^-9.
    Units(&'a [u8]),
}

#[derive(Debug, Default)]
pub struct Producer<'a> {
    pub id: Text<'a>,
    pub epoch: Found<Integer<'a>>,
    pub seq: Found<Integer<'a>>,
}

#[derive(Debug)]
pub enum Integer<'a> {
    /// The literal of a JSON number.
    Literal(&'a str),
    Is(i64),
}

#[derive(Debug, Default)]
pub struct Correction<'a> {
    pub action: Text<'a>,
    pub source: Text<'a>,
    pub id: Text<'a>,
    pub reason: Text<'a>,
}

impl<'a> Candidate<'a> {
    pub fn set_data(&mut self, data: Found<Data<'a>>) {
        self.found_data = match data {
            Found::Absent => Found::Absent,
            Found::Wrong(what) => Found::Wrong(what),
            Found::Is(data) => {
                self.data = data;
                Found::Is(())
            }
        };
    }
}
