//! The outcome of a record: usage, rejected or a gap. Every record that was read has exactly one.
//!
//! It says nothing of where the record came from or where it is kept.
//!
//! Invariant: `received = usage + rejected`; a gap stands for records that were gone before they
//! could be read.

use crate::canonical::{Reader, push_bytes, push_count, push_option, push_text};
use crate::event::EventRef;
use crate::position::Offset;
use crate::rejection::Reason;

/// One record, judged.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every outcome is usage, and it stays where it was judged"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeRef<'a> {
    Usage(EventRef<'a>),
    Rejected {
        reason: Reason,
        detail: &'a str,
        key: Option<&'a [u8]>,
        /// As the column `raw_headers` has them.
        headers: &'a [u8],
        /// `None` is a Kafka tombstone.
        value: Option<&'a [u8]>,
    },
    /// Offsets from the row's own up to `until` were gone before they could be read.
    Gap {
        until: Offset,
        detail: &'a str,
    },
}

/// The kind of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Usage,
    Rejected,
    Gap,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Usage, Self::Rejected, Self::Gap];

    /// The word in the column `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Rejected => "rejected",
            Self::Gap => "gap",
        }
    }

    /// As it stands in the bytes of a row.
    pub fn number(self) -> u8 {
        match self {
            Self::Usage => 1,
            Self::Rejected => 2,
            Self::Gap => 3,
        }
    }
}

impl OutcomeRef<'_> {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Usage(_) => Kind::Usage,
            Self::Rejected { .. } => Kind::Rejected,
            Self::Gap { .. } => Kind::Gap,
        }
    }

    /// Appends what the row's content digest is taken of.
    pub fn write_content(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Usage(event) => event.write_canonical(bytes),
            Self::Rejected { reason, detail, key, headers, value } => {
                bytes.extend_from_slice(b"rej1");
                push_text(bytes, reason.as_str());
                push_text(bytes, detail);
                push_option(bytes, *key, push_bytes);
                bytes.extend_from_slice(headers);
                push_option(bytes, *value, push_bytes);
            }
            Self::Gap { until, detail } => {
                bytes.extend_from_slice(b"gap1");
                bytes.extend_from_slice(&until.0.to_be_bytes());
                push_text(bytes, detail);
            }
        }
    }
}

/// How many records became what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
}

impl Tally {
    /// How many outcomes there are.
    pub fn rows(self) -> u64 {
        self.usage + self.rejected + self.gaps
    }

    /// How many records were read.
    pub fn received(self) -> u64 {
        self.usage + self.rejected
    }

    /// Counts one more.
    pub fn count(&mut self, kind: Kind) {
        *match kind {
            Kind::Usage => &mut self.usage,
            Kind::Rejected => &mut self.rejected,
            Kind::Gap => &mut self.gaps,
        } += 1;
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.usage += other.usage;
        self.rejected += other.rejected;
        self.gaps += other.gaps;
    }
}

/// Appends headers as the column `raw_headers` has them.
pub fn write_headers(bytes: &mut Vec<u8>, headers: &[(&[u8], Option<&[u8]>)]) {
    push_count(bytes, headers.len());
    for (name, value) in headers {
        push_bytes(bytes, name);
        push_option(bytes, *value, push_bytes);
    }
}

/// A header's name, and its value if it has one.
pub type HeaderRef<'a> = (&'a [u8], Option<&'a [u8]>);

/// Reads what [`write_headers`] wrote.
///
/// ```
/// # use schemas::outcome::{read_headers, write_headers};
/// let headers: &[(&[u8], Option<&[u8]>)] = &[(b"ce_id", Some(b"c-1")), (b"\xff", None)];
/// let mut bytes = Vec::new();
/// write_headers(&mut bytes, headers);
/// assert_eq!(read_headers(&bytes), Ok(headers.to_vec()));
/// ```
///
/// # Errors
/// When the bytes are something else, as part of a sentence.
pub fn read_headers(bytes: &[u8]) -> Result<Vec<HeaderRef<'_>>, String> {
    let mut reader = Reader::new("a list of headers", bytes);
    let headers = reader.list(|reader| Ok((reader.bytes()?, reader.option(|reader| reader.bytes())?)))?;
    match reader.left() {
        0 => Ok(headers),
        left => Err(format!("a list of headers with {left} bytes after it")),
    }
}
