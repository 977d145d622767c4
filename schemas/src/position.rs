//! How far each stream has been read, as algebra.
//!
//! A stream is a Kafka partition or a file. A position is always the *next* offset to read, so
//! there is no question of "0 or -1". It belongs to the topic that it was read from: a topic that
//! is deleted and created again has the name of the first, but not its identity, and its offsets
//! mean other records.
//!
//! This deliberately keeps nothing: the ledger's log keeps how far streams were moved, and each of
//! its commits is held against [`StreamMove::follows`].
//!
//! Invariant: a move applies only to the very position it starts from, of the very stream it was
//! read from; anything else is an overlap, a gap or another stream and is refused.

use crate::digest::Sha256Digest;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// Where records come from, as the ledger's `origin` column has it.
///
/// ```
/// # use schemas::position::Origin;
/// let origin = Origin::Kafka { cluster: "c".to_owned(), topic: "usage".to_owned() };
/// assert_eq!(origin.to_string(), "kafka/c/usage");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A topic of the Kafka cluster with that cluster id.
    Kafka { cluster: String, topic: String },
    /// A file, by the digest of its bytes; its name does not matter.
    File { digest: Sha256Digest },
}

impl Origin {
    /// Reads what [`fmt::Display`] writes. Neither cluster ids nor topics contain a slash.
    ///
    /// ```
    /// # use schemas::position::Origin;
    /// # use schemas::digest::Sha256Digest;
    /// let file = Origin::File { digest: Sha256Digest::of(b"abc") };
    /// assert_eq!(Origin::parse(&file.to_string()), Some(file));
    /// assert_eq!(Origin::parse("pulsar/c/usage"), None);
    /// ```
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

/// An ordered sequence of records: one Kafka partition, or one file (partition
/// 0; its second reading is partition 1, and so on).
///
/// ```
/// # use schemas::position::{Origin, Stream};
/// let origin = Origin::parse("kafka/c/usage").expect("an origin");
/// assert_eq!(Stream { origin, partition: 3 }.to_string(), "kafka/c/usage/3");
/// ```
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
///
/// ```
/// # use schemas::position::{NextOffset, Offset};
/// assert_eq!(Offset(41).next(), NextOffset(42));
/// ```
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

/// Tells a stream from another one of the same name: Kafka's topic id, shown as Kafka shows it. A
/// file has none, because its name is the digest of what is in it.
///
/// ```
/// # use schemas::position::StreamIdentity;
/// assert_eq!(StreamIdentity([0xFB; 16]).to_string(), "-_v7-_v7-_v7-_v7-_v7-w");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamIdentity(pub [u8; 16]);

impl fmt::Display for StreamIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// How often the leadership of a Kafka partition had changed when a record was written (KIP-320).
/// One leader writes each offset of its epoch once, so the two together name a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// The last record of a stream that was read, by which its source can be asked whether it still has
/// what was read from it. A gap is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecord {
    pub offset: Offset,
    /// None where the broker does not tell.
    pub epoch: Option<LeaderEpoch>,
    /// Of the record as the source has it, not as it was decoded.
    pub digest: Sha256Digest,
}

/// The part of one stream that a batch read: `[from, to)`. Offsets inside may be missing (Kafka's
/// transaction markers, blank lines).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    pub from: NextOffset,
    pub to: NextOffset,
    /// None where the source cannot tell.
    pub identity: Option<StreamIdentity>,
}

/// How far a stream is moved, as a commit of the ledger says it.
///
/// ```
/// # use schemas::position::{MoveError, MoveStart, NextOffset, StreamMove};
/// let moved = |from: Option<i64>, to| StreamMove {
///     stream: "kafka/c/usage/3".to_owned(),
///     from: from.map(NextOffset),
///     to: NextOffset(to),
///     identity: None,
///     last: None,
/// };
/// let first = moved(None, 50);
/// assert_eq!(first.follows(None, 0), Ok(MoveStart::First));
/// let state = Some(first.state_after(None, 0));
/// assert_eq!(moved(Some(50), 60).follows(state, 0), Ok(MoveStart::Here));
/// assert!(matches!(moved(Some(55), 60).follows(state, 0), Err(MoveError::Gap { .. })));
/// // The ledger was divided anew: another shard may have read up to 55.
/// assert_eq!(moved(Some(55), 60).follows(state, 1), Ok(MoveStart::Elsewhere));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMove {
    /// The application id of the Delta `txn` action: what [`Stream`] displays.
    pub stream: String,
    /// Where the stream stood; `None` where it was never read.
    pub from: Option<NextOffset>,
    pub to: NextOffset,
    /// None where nothing could tell.
    pub identity: Option<StreamIdentity>,
    /// None where no record was read, or its source could not say what would tell it from another.
    pub last: Option<LastRecord>,
}

/// How far a stream has been read, and which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    pub next: NextOffset,
    /// None where it was never read by anything that could tell.
    pub identity: Option<StreamIdentity>,
    /// None where nothing was read by anything that could tell one record from another.
    pub last: Option<LastRecord>,
    /// The generation of the division into shards under which it was moved last.
    pub generation: u32,
}

/// Where a move starts that may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveStart {
    /// The stream was never moved here: it may start anywhere.
    First,
    /// Where the stream stands.
    Here,
    /// Further on: another division moved it. Under an earlier division the stream was moved here,
    /// so another shard may have read on meanwhile.
    Elsewhere,
}

/// Why a move does not follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    #[error(
        "{stream}: the batch starts at {from}, but {position} is the next offset to read: offsets would be repeated"
    )]
    Overlap { stream: String, from: NextOffset, position: NextOffset },
    #[error(
        "{stream}: the batch starts at {from}, but {position} is the next offset to read: offsets would be skipped"
    )]
    Gap { stream: String, from: NextOffset, position: NextOffset },
    #[error(
        "{stream}: the batch takes it for a stream that was never read, but {position} is the next offset to read"
    )]
    Forgotten { stream: String, position: NextOffset },
    #[error("{stream}: the batch ends at {to}, before it starts at {from}")]
    Backwards { stream: String, from: NextOffset, to: NextOffset },
    #[error("{stream}: a truncation that was accepted must go back, and this one does not")]
    NotBack { stream: String },
    #[error(
        "{stream}: the batch was read from the topic with the id {read}, the position belongs to the one with the id {known}"
    )]
    Other { stream: String, read: StreamIdentity, known: StreamIdentity },
}

impl StreamMove {
    /// Whether this move, made under the division `generation`, may follow `state`; `None` is the
    /// state of a stream that was never moved here.
    ///
    /// | state | `from` is equal | is lower | is higher | is `None` |
    /// |---|---|---|---|---|
    /// | none | | | | `First`, whatever `from` is |
    /// | of this generation | `Here` | `Overlap` | `Gap` | `Forgotten` |
    /// | of an earlier one | `Here` | `Overlap` | `Elsewhere` | `Forgotten` |
    ///
    /// # Errors
    /// As the table says; before that `Backwards` when `to < from`, and `Other` when both
    /// identities are known and differ.
    pub fn follows(&self, state: Option<StreamState>, generation: u32) -> Result<MoveStart, MoveError> {
        if let Some(from) = self.from
            && self.to < from
        {
            return Err(MoveError::Backwards { stream: self.stream.clone(), from, to: self.to });
        }
        self.starts(state, generation)
    }

    /// Whether this move, which takes a stream back because its source lost what was read from it,
    /// may follow `state`. It starts by the rules of [`Self::follows`]; a commit of its own kind
    /// says it, and nothing else may go back.
    ///
    /// ```
    /// # use schemas::position::{MoveError, MoveStart, NextOffset, StreamMove, StreamState};
    /// let back = StreamMove {
    ///     stream: "kafka/c/usage/3".to_owned(),
    ///     from: Some(NextOffset(10)),
    ///     to: NextOffset(6),
    ///     identity: None,
    ///     last: None,
    /// };
    /// let state = StreamState { next: NextOffset(10), identity: None, last: None, generation: 0 };
    /// assert_eq!(back.goes_back(Some(state), 0), Ok(MoveStart::Here));
    /// assert!(matches!(back.follows(Some(state), 0), Err(MoveError::Backwards { .. })));
    /// ```
    ///
    /// # Errors
    /// `NotBack` when it does not go back; else as [`Self::follows`].
    pub fn goes_back(&self, state: Option<StreamState>, generation: u32) -> Result<MoveStart, MoveError> {
        if !self.is_back() {
            return Err(MoveError::NotBack { stream: self.stream.clone() });
        }
        self.starts(state, generation)
    }

    fn is_back(&self) -> bool {
        self.from.is_some_and(|from| self.to < from)
    }

    fn starts(&self, state: Option<StreamState>, generation: u32) -> Result<MoveStart, MoveError> {
        let stream = || self.stream.clone();
        let Some(state) = state else { return Ok(MoveStart::First) };
        if let (Some(known), Some(read)) = (state.identity, self.identity)
            && known != read
        {
            return Err(MoveError::Other { stream: stream(), read, known });
        }
        let position = state.next;
        match self.from {
            None => Err(MoveError::Forgotten { stream: stream(), position }),
            Some(from) => match from.cmp(&position) {
                Ordering::Equal => Ok(MoveStart::Here),
                Ordering::Less => Err(MoveError::Overlap { stream: stream(), from, position }),
                Ordering::Greater if state.generation < generation => Ok(MoveStart::Elsewhere),
                Ordering::Greater => Err(MoveError::Gap { stream: stream(), from, position }),
            },
        }
    }

    /// The state that this move leaves behind where it may follow `before`.
    ///
    /// An identity, once known, stays: a move that cannot tell keeps it. So does the last record,
    /// which a gap leaves where it was; only a move back takes it away with those after it.
    ///
    /// ```
    /// # use schemas::position::{NextOffset, StreamIdentity, StreamMove, StreamState};
    /// let stream = "kafka/c/usage/3".to_owned();
    /// let [from, to] = [NextOffset(50), NextOffset(60)];
    /// let step = StreamMove { stream, from: Some(from), to, identity: None, last: None };
    /// let identity = Some(StreamIdentity([1; 16]));
    /// let before = StreamState { next: from, identity, last: None, generation: 0 };
    /// let after = StreamState { next: to, identity, last: None, generation: 1 };
    /// assert_eq!(step.state_after(Some(before), 1), after);
    /// ```
    pub fn state_after(&self, before: Option<StreamState>, generation: u32) -> StreamState {
        let known = before.and_then(|state| state.identity);
        let kept = before.and_then(|state| state.last).filter(|_| !self.is_back());
        let (identity, last) = (self.identity.or(known), self.last.or(kept));
        StreamState { next: self.to, identity, last, generation }
    }
}

/// How far one stream has been read, whichever shards read it, and which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub next: NextOffset,
    /// None where it was never read by anything that could tell.
    pub identity: Option<StreamIdentity>,
    /// None where nothing was read by anything that could tell one record from another.
    pub last: Option<LastRecord>,
}

impl Position {
    /// Of a stream of which nothing is known but how far it was read.
    pub const fn at(next: NextOffset) -> Self {
        Self { next, identity: None, last: None }
    }
}

/// How far each stream has been read, and which it was. A stream that was never read has no entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<Stream, Position>);

/// Positions are what all shards together say, so none is moved behind their back and every move of
/// them is made under one division.
const ONE_DIVISION: u32 = 0;

impl Positions {
    pub fn get(&self, stream: &Stream) -> Option<NextOffset> {
        self.0.get(stream).map(|position| position.next)
    }

    /// None where the stream was never read.
    pub fn position(&self, stream: &Stream) -> Option<Position> {
        self.0.get(stream).copied()
    }

    /// None where the stream was never read, or by nothing that could tell.
    pub fn identity(&self, stream: &Stream) -> Option<StreamIdentity> {
        self.0.get(stream).and_then(|position| position.identity)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Stream, NextOffset)> {
        self.0.iter().map(|(stream, position)| (stream, position.next))
    }

    /// Records a position read back from the ledger.
    pub fn set(&mut self, stream: Stream, position: Position) {
        self.0.insert(stream, position);
    }

    /// Moves `stream` from `advance.from` to `advance.to`, by the rule of [`StreamMove::follows`].
    ///
    /// | position | `from` is equal | `from` is lower | `from` is higher |
    /// |---|---|---|---|
    /// | known | moves | `Overlap` | `Gap` |
    /// | unknown | moves | moves | moves |
    ///
    /// An identity, once known, stays: an advance that cannot tell moves the stream and keeps it.
    ///
    /// ```
    /// # use schemas::position::{Advance, MoveError, NextOffset, Origin, Positions, Stream};
    /// let origin = Origin::parse("kafka/c/usage").expect("an origin");
    /// let stream = Stream { origin, partition: 3 };
    /// let mut positions = Positions::default();
    /// let mut read = |from, to| {
    ///     let advance = Advance { from: NextOffset(from), to: NextOffset(to), identity: None };
    ///     positions.apply(&stream, advance, None)
    /// };
    /// assert_eq!(read(40, 50), Ok(()));
    /// assert!(matches!(read(40, 50), Err(MoveError::Overlap { .. })));
    /// assert!(matches!(read(51, 60), Err(MoveError::Gap { .. })));
    /// assert_eq!(positions.get(&stream), Some(NextOffset(50)));
    /// ```
    ///
    /// # Errors
    /// As the table says, `Backwards` when `to < from`, and `Other` when both identities are known
    /// and differ. Nothing moves then.
    pub fn apply(
        &mut self,
        stream: &Stream,
        advance: Advance,
        last: Option<LastRecord>,
    ) -> Result<(), MoveError> {
        let Advance { from, to, identity } = advance;
        let step = StreamMove { stream: stream.to_string(), from: Some(from), to, identity, last };
        let state = self.0.get(stream).map(|Position { next, identity, last }| StreamState {
            next: *next,
            identity: *identity,
            last: *last,
            generation: ONE_DIVISION,
        });
        step.follows(state, ONE_DIVISION)?;
        let StreamState { next, identity, last, .. } = step.state_after(state, ONE_DIVISION);
        self.set(stream.clone(), Position { next, identity, last });
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
        assert_eq!(positions.apply(&stream, advance(40, 50), None), Ok(()));
        assert_eq!(positions.apply(&stream, advance(50, 60), None), Ok(()));
        assert!(matches!(positions.apply(&stream, advance(50, 60), None), Err(MoveError::Overlap { .. })));
        assert!(matches!(positions.apply(&stream, advance(61, 70), None), Err(MoveError::Gap { .. })));
        assert!(matches!(positions.apply(&stream, advance(60, 59), None), Err(MoveError::Backwards { .. })));
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
            assert_eq!(positions.apply(&stream, advance(from, from + 1, identity), None), Ok(()));
            assert_eq!(positions.identity(&stream), known);
        }
        let refused = MoveError::Other { stream: stream.to_string(), read: second, known: first };
        assert_eq!(positions.apply(&stream, advance(4, 5, Some(second)), None), Err(refused));
        assert_eq!((positions.get(&stream), positions.identity(&stream)), (Some(NextOffset(4)), Some(first)));
        assert_eq!(StreamIdentity([0xFB; 16]).to_string(), "-_v7-_v7-_v7-_v7-_v7-w");
    }

    #[test]
    fn a_move_follows_the_state_it_starts_from() {
        let stream = || "kafka/c/t/3".to_owned();
        let next = |offset| NextOffset(offset);
        let known = |generation| Some(StreamState { next: next(50), identity: None, last: None, generation });
        let overlap = Err(MoveError::Overlap { stream: stream(), from: next(49), position: next(50) });
        let gap = Err(MoveError::Gap { stream: stream(), from: next(51), position: next(50) });
        let forgotten = Err(MoveError::Forgotten { stream: stream(), position: next(50) });
        // The state, then the verdict on a move from there, from before, from beyond, from nowhere.
        let table = [
            (None, [Ok(MoveStart::First), Ok(MoveStart::First), Ok(MoveStart::First), Ok(MoveStart::First)]),
            (known(7), [Ok(MoveStart::Here), overlap.clone(), gap.clone(), forgotten.clone()]),
            (known(6), [Ok(MoveStart::Here), overlap.clone(), Ok(MoveStart::Elsewhere), forgotten.clone()]),
            // A log never goes back to an earlier division; if it did, nothing would be skipped.
            (known(8), [Ok(MoveStart::Here), overlap, gap, forgotten]),
        ];
        for (state, expected) in table {
            let starts = [Some(next(50)), Some(next(49)), Some(next(51)), None];
            for (from, expected) in starts.into_iter().zip(expected) {
                let step = StreamMove { stream: stream(), from, to: next(60), identity: None, last: None };
                assert_eq!(step.follows(state, 7), expected, "{state:?} {from:?}");
            }
        }
    }

    #[test]
    fn no_division_moves_a_stream_back_or_to_another_topic() {
        let [first, second] = [StreamIdentity([1; 16]), StreamIdentity([2; 16])];
        let state = |identity, generation| {
            Some(StreamState { next: NextOffset(50), identity, last: None, generation })
        };
        let step = |from, to, identity| StreamMove {
            stream: "kafka/c/t/0".to_owned(),
            from: Some(NextOffset(from)),
            to: NextOffset(to),
            identity,
            last: None,
        };
        for before in [None, state(Some(first), 0), state(Some(first), 1)] {
            let refused = step(50, 49, Some(first)).follows(before, 1);
            assert!(matches!(refused, Err(MoveError::Backwards { .. })), "{refused:?}");
            // To end where it starts is not to go back.
            assert!(step(50, 50, Some(first)).follows(before, 1).is_ok());
        }
        for generation in [0, 1] {
            for from in [49, 50, 51] {
                let refused = step(from, 60, Some(second)).follows(state(Some(first), generation), 1);
                assert!(matches!(refused, Err(MoveError::Other { .. })), "{refused:?}");
            }
            for (known, read) in [(None, None), (None, Some(first)), (Some(first), None)] {
                let before = state(known, generation);
                assert_eq!(step(50, 60, read).follows(before, 1), Ok(MoveStart::Here));
                let after =
                    StreamState { next: NextOffset(60), identity: read.or(known), last: None, generation: 1 };
                assert_eq!(step(50, 60, read).state_after(before, 1), after);
            }
        }
    }
    #[test]
    fn only_a_truncation_goes_back_and_takes_the_last_record_with_it() {
        let record = |offset, epoch| LastRecord {
            offset: Offset(offset),
            epoch: Some(LeaderEpoch(epoch)),
            digest: Sha256Digest::of(&[7]),
        };
        let state =
            StreamState { next: NextOffset(10), identity: None, last: Some(record(9, 0)), generation: 1 };
        let step = |from, to, last| StreamMove {
            stream: "kafka/c/t/0".to_owned(),
            from: Some(NextOffset(from)),
            to: NextOffset(to),
            identity: None,
            last,
        };
        let kept = Some(record(5, 0));
        let back = step(10, 6, kept);
        assert_eq!(back.goes_back(Some(state), 1), Ok(MoveStart::Here));
        assert!(matches!(back.follows(Some(state), 1), Err(MoveError::Backwards { .. })));
        let after = StreamState { next: NextOffset(6), last: kept, ..state };
        assert_eq!(back.state_after(Some(state), 1), after);
        assert_eq!(step(10, 6, None).state_after(Some(state), 1).last, None);
        // A gap says nothing of the last record.
        assert_eq!(step(10, 12, None).state_after(Some(state), 1).last, state.last);
        for (to, from) in [(10, 10), (12, 10)] {
            let forth = step(from, to, None);
            assert!(matches!(forth.goes_back(Some(state), 1), Err(MoveError::NotBack { .. })));
        }
        // It starts where any other move would.
        assert!(matches!(step(9, 6, None).goes_back(Some(state), 1), Err(MoveError::Overlap { .. })));
        assert!(matches!(step(11, 6, None).goes_back(Some(state), 1), Err(MoveError::Gap { .. })));
        assert_eq!(step(11, 6, None).goes_back(Some(state), 2), Ok(MoveStart::Elsewhere));
    }
}
