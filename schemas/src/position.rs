//! How far each stream has been read, as algebra.
//!
//! A stream is a Kafka partition or a file. A position is always the *next* offset to read, so
//! there is no question of "0 or -1". It belongs to the topic that it was read from: a topic that
//! is deleted and created again has the name of the first, but not its identity, and its offsets
//! mean other records.
//!
//! Invariant: an advance applies only to the very position it starts from, of the very stream it
//! was read from; anything else is an overlap, a gap or another stream and is refused.

use crate::digest::Sha256Digest;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
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

/// `kafka/CLUSTER/TOPIC/PARTITION` or `file/SHA256/0`: the application id of the stream's Delta
/// `txn` action.
impl fmt::Display for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.origin, self.partition)
    }
}

/// A record's place in its stream: the Kafka offset, or for a file the 0-based record index (for
/// NDJSON the 0-based line).
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

/// What tells a stream from another one of the same name: Kafka's topic id, shown as Kafka shows
/// it. A file has none, because its name is the digest of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamIdentity(pub [u8; 16]);

impl fmt::Display for StreamIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// What a batch read of one stream: `[from, to)`. Offsets inside may be missing (Kafka's
/// transaction markers, blank lines).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    pub from: NextOffset,
    pub to: NextOffset,
    /// None where the source cannot tell.
    pub identity: Option<StreamIdentity>,
}

/// How far each stream has been read, and which it was. A stream that was never read has no entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<Stream, (NextOffset, Option<StreamIdentity>)>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvanceError {
    #[error(
        "{stream}: the batch starts at {from}, but {position} is the next offset to read: offsets would be repeated"
    )]
    Overlap { stream: Stream, from: NextOffset, position: NextOffset },
    #[error(
        "{stream}: the batch starts at {from}, but {position} is the next offset to read: offsets would be skipped"
    )]
    Gap { stream: Stream, from: NextOffset, position: NextOffset },
    #[error("{stream}: the batch ends at {to}, before it starts at {from}")]
    Backwards { stream: Stream, from: NextOffset, to: NextOffset },
    #[error(
        "{stream}: the batch was read from the topic with the id {read}, the position belongs to the one with the id {known}"
    )]
    Other { stream: Stream, read: StreamIdentity, known: StreamIdentity },
}

impl Positions {
    pub fn get(&self, stream: &Stream) -> Option<NextOffset> {
        self.0.get(stream).map(|(next, _)| *next)
    }

    /// None where the stream was never read, or by nothing that could tell.
    pub fn identity(&self, stream: &Stream) -> Option<StreamIdentity> {
        self.0.get(stream).and_then(|(_, identity)| *identity)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Stream, NextOffset)> {
        self.0.iter().map(|(stream, (next, _))| (stream, *next))
    }

    /// Records a position read back from the ledger.
    pub fn set(&mut self, stream: Stream, next: NextOffset, identity: Option<StreamIdentity>) {
        self.0.insert(stream, (next, identity));
    }

    /// Moves `stream` from `advance.from` to `advance.to`.
    ///
    /// | position | `from` is equal | `from` is lower | `from` is higher |
    /// |---|---|---|---|
    /// | known | moves | `Overlap` | `Gap` |
    /// | unknown | moves | moves | moves |
    ///
    /// An identity, once known, stays: an advance that cannot tell moves the stream and keeps it.
    ///
    /// # Errors
    /// As the table says, `Backwards` when `to < from`, and `Other` when both identities are known
    /// and differ. Nothing moves then.
    pub fn apply(&mut self, stream: &Stream, advance: Advance) -> Result<(), AdvanceError> {
        let Advance { from, to, identity } = advance;
        if to < from {
            return Err(AdvanceError::Backwards { stream: stream.clone(), from, to });
        }
        let known = self.identity(stream);
        if let (Some(known), Some(read)) = (known, identity)
            && known != read
        {
            return Err(AdvanceError::Other { stream: stream.clone(), read, known });
        }
        if let Some(position) = self.get(stream) {
            if from < position {
                return Err(AdvanceError::Overlap { stream: stream.clone(), from, position });
            }
            if from > position {
                return Err(AdvanceError::Gap { stream: stream.clone(), from, position });
            }
        }
        self.set(stream.clone(), to, identity.or(known));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advance_applies_only_where_it_starts() {
        let stream =
            Stream { origin: Origin::Kafka { cluster: "c".into(), topic: "t".into() }, partition: 3 };
        let advance = |from, to| Advance { from: NextOffset(from), to: NextOffset(to), identity: None };
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
    #[test]
    fn a_position_belongs_to_the_topic_it_was_read_from() {
        let stream =
            Stream { origin: Origin::Kafka { cluster: "c".into(), topic: "t".into() }, partition: 0 };
        let [first, second] = [StreamIdentity([1; 16]), StreamIdentity([2; 16])];
        let advance = |from, to, identity| Advance { from: NextOffset(from), to: NextOffset(to), identity };
        let mut positions = Positions::default();
        // Before anything could tell, nothing is known; then it is, and stays.
        for (from, identity, known) in [
            (0, None, None),
            (1, Some(first), Some(first)),
            (2, None, Some(first)),
            (3, Some(first), Some(first)),
        ] {
            assert_eq!(positions.apply(&stream, advance(from, from + 1, identity)), Ok(()));
            assert_eq!(positions.identity(&stream), known);
        }
        let refused = AdvanceError::Other { stream: stream.clone(), read: second, known: first };
        assert_eq!(positions.apply(&stream, advance(4, 5, Some(second))), Err(refused));
        assert_eq!((positions.get(&stream), positions.identity(&stream)), (Some(NextOffset(4)), Some(first)));
        assert_eq!(StreamIdentity([0xFB; 16]).to_string(), "-_v7-_v7-_v7-_v7-_v7-w");
    }
}
