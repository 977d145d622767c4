//! How far each stream has been read, as algebra.
//!
//! A stream is a Kafka partition or a file. A position is always the *next* offset to read, so there is no question of "0 or -1".
//!
//! Invariant: an advance applies only to the very position it starts from; anything else is an overlap or a gap and is refused.

use crate::digest::Sha256Digest;
use std::collections::BTreeMap;
use std::fmt;

/// Where records come from. What is stored in the ledger's `origin` column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A topic of the Kafka cluster with that cluster id.
    Kafka { cluster: String, topic: String },
    /// A file, by the digest of its bytes; its name does not matter.
    File { digest: Sha256Digest },
}

impl Origin {
    /// Reads what [`fmt::Display`] writes. Neither cluster ids nor topics contain a slash.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('/')?;
        match kind {
            "kafka" => {
                let (cluster, topic) = rest.split_once('/')?;
                Some(Self::Kafka { cluster: cluster.to_owned(), topic: topic.to_owned() })
            }
            "file" => Some(Self::File { digest: Sha256Digest::from_hex(rest)? }),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kafka { cluster, topic } => write!(formatter, "kafka/{cluster}/{topic}"),
            Self::File { digest } => write!(formatter, "file/{digest}"),
        }
    }
}

/// An ordered sequence of records: one Kafka partition, or one file (partition 0).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    pub origin: Origin,
    pub partition: u32,
}

/// `kafka/CLUSTER/TOPIC/PARTITION` or `file/SHA256/0`: the application id of the stream's Delta `txn` action.
impl fmt::Display for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.origin, self.partition)
    }
}

/// A record's place in its stream: the Kafka offset, or for a file the 0-based record index (for NDJSON the 0-based line).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

/// The next offset to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(pub i64);

impl Offset {
    pub fn next(self) -> NextOffset {
        NextOffset(self.0.checked_add(1).expect("no stream has 2^63 records"))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Display for NextOffset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// What a batch read of one stream: `[from, to)`. Offsets inside may be missing (Kafka's transaction markers, blank lines).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    pub from: NextOffset,
    pub to: NextOffset,
}

/// Next offsets by stream. A stream that was never read has no entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<Stream, NextOffset>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvanceError {
    #[error("{stream}: the batch starts at {from}, but {position} is the next offset to read: offsets would be repeated")]
    Overlap { stream: Stream, from: NextOffset, position: NextOffset },
    #[error("{stream}: the batch starts at {from}, but {position} is the next offset to read: offsets would be skipped")]
    Gap { stream: Stream, from: NextOffset, position: NextOffset },
    #[error("{stream}: the batch ends at {to}, before it starts at {from}")]
    Backwards { stream: Stream, from: NextOffset, to: NextOffset },
}

impl Positions {
    pub fn get(&self, stream: &Stream) -> Option<NextOffset> {
        self.0.get(stream).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Stream, NextOffset)> {
        self.0.iter().map(|(stream, next)| (stream, *next))
    }

    /// Records a position read back from the ledger.
    pub fn set(&mut self, stream: Stream, next: NextOffset) {
        self.0.insert(stream, next);
    }

    /// Moves `stream` from `advance.from` to `advance.to`.
    ///
    /// | position | `from` is equal | `from` is lower | `from` is higher |
    /// |---|---|---|---|
    /// | known | moves | `Overlap` | `Gap` |
    /// | unknown | moves | moves | moves |
    ///
    /// # Errors
    /// As the table says, and `Backwards` when `to < from`. Nothing moves then.
    pub fn apply(&mut self, stream: &Stream, advance: Advance) -> Result<(), AdvanceError> {
        let Advance { from, to } = advance;
        if to < from {
            return Err(AdvanceError::Backwards { stream: stream.clone(), from, to });
        }
        if let Some(position) = self.get(stream) {
            if from < position {
                return Err(AdvanceError::Overlap { stream: stream.clone(), from, position });
            }
            if from > position {
                return Err(AdvanceError::Gap { stream: stream.clone(), from, position });
            }
        }
        self.0.insert(stream.clone(), to);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advance_applies_only_where_it_starts() {
        let stream = Stream { origin: Origin::Kafka { cluster: "c".into(), topic: "t".into() }, partition: 3 };
        let advance = |from, to| Advance { from: NextOffset(from), to: NextOffset(to) };
        let mut positions = Positions::default();
        assert_eq!(positions.apply(&stream, advance(40, 50)), Ok(()));
        assert_eq!(positions.apply(&stream, advance(50, 60)), Ok(()));
        assert!(matches!(positions.apply(&stream, advance(50, 60)), Err(AdvanceError::Overlap { .. })));
        assert!(matches!(positions.apply(&stream, advance(61, 70)), Err(AdvanceError::Gap { .. })));
        assert!(matches!(positions.apply(&stream, advance(60, 59)), Err(AdvanceError::Backwards { .. })));
        assert_eq!(positions.get(&stream), Some(NextOffset(60)));
        assert_eq!(stream.to_string(), "kafka/c/t/3");
        assert_eq!(Origin::parse("kafka/c/t"), Some(stream.origin));
    }
}
