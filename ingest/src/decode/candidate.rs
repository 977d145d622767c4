//! An event as it was found, before anything about it is judged. The one shape all encodings are
//! read into.
//!
//! It owns nothing: what does not stand in the record as it is, such as a text with escapes, stands
//! in the arena of the decoder. So there is nothing to be dropped either.

use schemas::event::KeptMap;

/// A field that may be absent (also null), or of a type it cannot be; then it says what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Found<T> {
    #[default]
    Absent,
    Is(T),
    Wrong(&'static str),
}

pub type Text<'a> = Found<&'a str>;
pub type Map<'a> = Found<Entries<'a>>;

#[derive(Debug, Clone, Copy)]
pub enum Entries<'a> {
    /// Pairs in the order they were written; a name may still be there twice. Where they can be
    /// known again, the bytes they were read from.
    Written { pairs: &'a [(&'a str, Text<'a>)], encoded: Option<EncodedMap<'a>> },
    /// The map that such bytes were judged to be before.
    Cached(&'a KeptMap),
}

/// The bytes of a map, of which schema's node they are, and where they are looked up.
#[derive(Debug, Clone, Copy)]
pub struct EncodedMap<'a> {
    pub schema: u64,
    pub node: usize,
    pub bytes: &'a [u8],
    pub hash: u64,
}

impl<'a> EncodedMap<'a> {
    /// Longer maps are never known again.
    pub const LONGEST: usize = 512;

    /// Nothing for bytes that are never known again.
    pub fn new(schema: u64, node: usize, bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > Self::LONGEST {
            return None;
        }
        let mix = |hash: u64, eight: &[u8; 8]| {
            (hash ^ u64::from_le_bytes(*eight)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
        };
        let (eights, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let hash =
            eights.iter().chain([&last]).fold(schema ^ ((node as u64) << 32) ^ bytes.len() as u64, mix);
        Some(Self { schema, node, bytes, hash })
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Candidate<'a> {
    /// Whether each text that must be a name is `schemas::name::printable_ascii`, so that nobody need
    /// look again. False where nobody looked.
    pub printable: bool,
    /// Absent where the encoding has no such attribute, which Avro has not.
    pub specversion: Option<Text<'a>>,
    pub source: Text<'a>,
    pub id: Text<'a>,
    pub kind: Text<'a>,
    pub subject: Text<'a>,
    pub time: Time<'a>,
    pub content_type: Text<'a>,
    /// A header that contradicts the value.
    pub contradiction: Option<&'static str>,
    /// Whether there are data; they stand beside, so that they are never moved.
    pub found_data: Found<()>,
    /// A member of the data that stands beside them.
    pub misplaced: Option<&'a str>,
    pub data: Data<'a>,
}

#[derive(Debug, Clone, Copy)]
pub enum Time<'a> {
    Text(Text<'a>),
    Micros(i64),
}

impl Default for Time<'_> {
    fn default() -> Self {
        Self::Text(Found::Absent)
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Data<'a> {
    pub value: Found<Value<'a>>,
    pub dimensions: Map<'a>,
    pub provider: Text<'a>,
    pub location: Text<'a>,
    pub resource: Map<'a>,
    pub producer: Found<Producer<'a>>,
    pub correction: Found<Correction<'a>>,
    /// A member that is not ours, and the one of ours that it is nearly.
    pub slip: Option<(&'a str, &'static str)>,
}

#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    Text(&'a str),
    /// The literal of a JSON number.
    Number(&'a str),
    /// Two's complement, big-endian, in units of 10^-9.
    Units(&'a [u8]),
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Producer<'a> {
    pub id: Text<'a>,
    pub epoch: Found<Integer<'a>>,
    pub seq: Found<Integer<'a>>,
}

#[derive(Debug, Clone, Copy)]
pub enum Integer<'a> {
    /// The literal of a JSON number.
    Literal(&'a str),
    Is(i64),
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Correction<'a> {
    pub action: Text<'a>,
    pub source: Text<'a>,
    pub id: Text<'a>,
    pub reason: Text<'a>,
}

impl Data<'_> {
    /// Whether a member of ours is there, by its name.
    pub fn has(&self, name: &str) -> bool {
        match name {
            "value" => !matches!(self.value, Found::Absent),
            "dimensions" => !matches!(self.dimensions, Found::Absent),
            "provider" => self.provider != Found::Absent,
            "location" => self.location != Found::Absent,
            "resource" => !matches!(self.resource, Found::Absent),
            "producer" => !matches!(self.producer, Found::Absent),
            "correction" => !matches!(self.correction, Found::Absent),
            _ => false,
        }
    }

    /// Whether the event takes another one out and counts nothing itself.
    pub fn is_void(&self) -> bool {
        matches!(&self.correction, Found::Is(Correction { action: Found::Is("void"), .. }))
    }
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
