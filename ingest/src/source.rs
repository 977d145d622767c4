//! Sources of records: what one must be able to do, and what it hands out.
//!
//! A source knows nothing of events: it hands out bytes with their coordinates and says what it
//! knows about their encoding. The bytes are lent, so that a record is decoded where it was read to
//! and is copied only where it is kept.
//!
//! Invariant: a record's advance starts where that of the record before it in the same stream
//! ended, and covers the record.

use crate::IngestError;
use crate::schema::WriterSchema;
use crate::stop::Stop;
use schemas::position::{Advance, LastRecord, NextOffset, Offset, Positions, Stream};
use schemas::rejection::Rejection;
use schemas::time::Instant;
use std::sync::Arc;
use std::time::Duration;

pub trait Source: Send {
    /// Streams that exist and are not yet assigned.
    ///
    /// # Errors
    /// When the source cannot be read as configured. A source that is merely unreachable waits
    /// until `stop`.
    fn discover(&mut self, stop: &Stop) -> Result<Vec<Stream>, IngestError>;

    /// How long after one look for streams the next is due.
    fn rediscover_every(&self) -> Duration;

    /// Starts the discovered streams at their positions; a stream without one starts at its
    /// beginning.
    ///
    /// # Errors
    /// When a position cannot belong to the stream as it is now.
    fn assign(&mut self, positions: &Positions, stop: &Stop) -> Result<(), IngestError>;

    /// Hands the next batch to `sink`. Blocks no longer than the policy allows, and no longer than
    /// [`PATIENCE`](crate::stop::PATIENCE) once a stop is asked for.
    ///
    /// # Errors
    /// When the source fails in a way that waiting does not cure, and as [`Sink::record`]. The
    /// records that the sink has got then are no batch.
    fn next(
        &mut self,
        policy: &BatchPolicy,
        stop: &Stop,
        sink: &mut dyn Sink,
    ) -> Result<SourceEvent, IngestError>;

    /// Everything handed out so far is in the ledger, durably; `positions` has the streams that the
    /// commit moved, and how far they are read now. A source whose producer waits for that answers
    /// it here.
    fn committed(&mut self, _positions: &Positions) {}

    /// Whether all that was there when the streams were assigned could be handed out; asked when
    /// the source has said that it has caught up, and nobody waits for more.
    ///
    /// # Errors
    /// When a stream could not be read to its end, though the others were.
    fn complete(&mut self) -> Result<(), IngestError> {
        Ok(())
    }

    /// How many records are known to be waiting, where the source can tell; at most, where it
    /// cannot tell records from offsets without one.
    fn lag(&mut self) -> Option<u64>;

    /// The offsets that the broker has of each assigned partition, as last asked; nothing for a
    /// source without a broker.
    fn watermarks(&self) -> Vec<Watermarks> {
        Vec::new()
    }
}

/// The offsets that the broker has of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermarks {
    pub stream: Stream,
    /// The first offset there is.
    pub low: NextOffset,
    /// The first offset that cannot be read yet: the next there will be, or the first of the
    /// transactions that are open.
    pub stable: NextOffset,
    /// The next offset there will be.
    pub high: NextOffset,
    /// False where a damaged record is in the way.
    pub is_readable: bool,
}

/// When a batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPolicy {
    pub max_records: usize,
    /// Of keys, headers and values.
    pub max_bytes: usize,
    /// Since the batch was begun. Each batch is one commit, and commits are what a ledger wants few
    /// of.
    pub max_age: Duration,
}

impl Default for BatchPolicy {
    fn default() -> Self {
        Self { max_records: 100_000, max_bytes: 64 << 20, max_age: Duration::from_secs(5) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceEvent {
    /// The sink has got a batch: a record at least, or a stream that was read on past offsets that
    /// have none.
    Batch,
    /// Nothing arrived for a moment.
    Idle,
    /// Everything that was there when the streams were assigned has been handed out.
    CaughtUp,
}

/// Takes the records that a source reads, one at a time, while they are still where they were read
/// to.
pub trait Sink {
    /// # Errors
    /// Only what is not the record's fault: a stop was asked for while waiting for what is needed
    /// to decode it.
    fn record(&mut self, record: &Record<'_>) -> Result<(), IngestError>;

    /// The last record of a stream in this batch, from a source that can tell one record from
    /// another: once for each such stream, after all records. A sink that keeps no positions has no
    /// use for it.
    fn last(&mut self, _stream: &Arc<Stream>, _origin_name: &str, _last: LastRecord) {}

    /// A stream was read on and no record was there. The advance starts where the one before it
    /// ended, as that of a record does.
    ///
    /// # Errors
    /// As [`Sink::record`].
    fn pass(&mut self, stream: &Arc<Stream>, origin_name: &str, advance: Advance) -> Result<(), IngestError>;

    /// Whether no more belongs into this batch, for a reason that the source cannot know.
    fn is_full(&self) -> bool {
        false
    }
}

/// A record as a source has it.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub stream: &'a Arc<Stream>,
    /// The name that people have for the origin: the topic, or the file's path below the ingested
    /// folder.
    pub origin_name: &'a str,
    pub offset: Offset,
    /// From the position of its stream before it to the one after it.
    pub advance: Advance,
    /// When the broker or producer stamped the record, where the source says so.
    pub produced_at: Option<Instant>,
    pub raw: RawRef<'a>,
    pub content: Content<'a>,
}

/// A header's name, which Kafka does not promise to be text, and its value.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// The bytes of a header, and what it takes whatever it says: a message may have hundreds of
/// thousands that are empty.
pub fn header_size((name, value): &Header<'_>) -> usize {
    const AT_LEAST: usize = 64;
    AT_LEAST + name.len() + value.map_or(0, <[u8]>::len)
}

/// The record as it came; kept where it cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawRef<'a> {
    pub key: Option<&'a [u8]>,
    pub headers: &'a [Header<'a>],
    /// `None` is a Kafka tombstone.
    pub value: Option<&'a [u8]>,
}

impl RawRef<'_> {
    /// The bytes of key, headers and value.
    #[inline]
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(header_size).sum();
        self.key.map_or(0, <[u8]>::len) + headers + self.value.map_or(0, <[u8]>::len)
    }
}

/// As much as is known about a record's encoding before it is decoded.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// A Kafka message: its headers and first bytes tell.
    Message,
    /// A CloudEvent in JSON.
    Json,
    /// A bare Avro datum of this writer schema.
    Avro(&'a WriterSchema),
    /// The source itself could not make sense of the bytes.
    Refused(&'a Rejection),
    /// Not a record: offsets up to `until` were gone before they could be read.
    Gap { until: Offset, detail: &'a str },
}

/// The records of one batch on their way from a source to its sink, counted.
pub struct Batch<'s> {
    sink: &'s mut dyn Sink,
    records: usize,
    bytes: usize,
    /// Whether a stream moves without a record.
    moves: bool,
}

impl<'s> Batch<'s> {
    pub fn new(sink: &'s mut dyn Sink) -> Self {
        Self { sink, records: 0, bytes: 0, moves: false }
    }

    /// # Errors
    /// As [`Sink::record`].
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), IngestError> {
        self.records += 1;
        self.bytes += record.raw.size();
        self.sink.record(record)
    }

    /// Passes on which record of a stream is the last.
    pub fn last(&mut self, stream: &Arc<Stream>, origin_name: &str, last: LastRecord) {
        self.sink.last(stream, origin_name, last);
    }

    /// # Errors
    /// As [`Sink::pass`].
    pub fn pass(
        &mut self,
        stream: &Arc<Stream>,
        origin_name: &str,
        advance: Advance,
    ) -> Result<(), IngestError> {
        self.moves = true;
        self.sink.pass(stream, origin_name, advance)
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.records == 0 && !self.moves
    }

    /// Whether the next record belongs to the next batch.
    pub fn is_full(&self, policy: &BatchPolicy) -> bool {
        self.records >= policy.max_records || self.bytes >= policy.max_bytes || self.sink.is_full()
    }
}
