//! What a source of records is, and what it hands out.
//!
//! A source knows nothing of events: it hands out bytes with their coordinates and says what it knows about their encoding.
//!
//! Invariant: a batch's advances start where the previous batch of the same stream ended, and cover every record in the batch.

use crate::IngestError;
use crate::decode::avro::WriterSchema;
use schemas::batch::{Coordinates, RawRecord};
use schemas::position::{Advance, NextOffset, Offset, Positions, Stream};
use schemas::rejection::Rejection;
use schemas::time::Instant;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The longest time a source may block without looking at [`Stop`].
pub const PATIENCE: Duration = Duration::from_millis(200);

pub trait Source: Send {
    /// Streams that exist and are not yet assigned.
    ///
    /// # Errors
    /// When the source cannot be read as configured. A source that is merely unreachable waits until `stop`.
    fn discover(&mut self, stop: &Stop) -> Result<Vec<Stream>, IngestError>;

    /// Starts the discovered streams at their positions; a stream without one starts at its beginning.
    ///
    /// # Errors
    /// When a position cannot belong to the stream as it is now.
    fn assign(&mut self, positions: &Positions, stop: &Stop) -> Result<(), IngestError>;

    /// The next batch. Blocks no longer than the policy allows, and no longer than [`PATIENCE`] once a stop is asked for.
    ///
    /// # Errors
    /// When the source fails in a way that waiting does not cure.
    fn next(&mut self, policy: &BatchPolicy, stop: &Stop) -> Result<SourceEvent, IngestError>;

    /// How many records are known to be waiting, where the source can tell.
    fn lag(&mut self) -> Option<u64>;
}

/// When a batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPolicy {
    pub max_records: usize,
    /// Of keys, headers and values.
    pub max_bytes: usize,
    /// Since the batch was begun. Each batch is one commit, and commits are what a ledger wants few of.
    pub max_age: Duration,
}

impl Default for BatchPolicy {
    fn default() -> Self {
        Self { max_records: 100_000, max_bytes: 64 << 20, max_age: Duration::from_secs(5) }
    }
}

#[derive(Debug)]
pub enum SourceEvent {
    /// Never empty.
    Batch(RawBatch),
    /// Nothing arrived for a moment.
    Idle,
    /// Everything that was there when the streams were assigned has been handed out.
    CaughtUp,
}

/// What is known about a record's encoding before it is decoded.
#[derive(Debug, Clone)]
pub enum Content {
    /// A Kafka message: its headers and first bytes tell.
    Message,
    /// A CloudEvent in JSON.
    Json,
    /// A bare Avro datum of this writer schema.
    Avro(Arc<WriterSchema>),
    /// The source itself could not make sense of the bytes.
    Refused(Rejection),
    /// Not a record: offsets up to `until` were gone before they could be read.
    Gap { until: Offset, detail: String },
}

#[derive(Debug, Clone)]
pub struct SourceRecord {
    pub coordinates: Coordinates,
    pub produced_at: Option<Instant>,
    pub raw: RawRecord,
    pub content: Content,
}

/// Records in the order they were read, and how far each stream moved.
#[derive(Debug, Default)]
pub struct RawBatch {
    pub records: Vec<SourceRecord>,
    pub advances: BTreeMap<Stream, Advance>,
    bytes: usize,
}

impl RawBatch {
    /// Adds a record; its stream has then been read from `from` (the position before this batch) to `to`.
    pub fn push(&mut self, record: SourceRecord, from: NextOffset, to: NextOffset) {
        self.bytes += size(&record.raw);
        match self.advances.get_mut(&*record.coordinates.stream) {
            Some(advance) => advance.to = to,
            None => {
                self.advances.insert((*record.coordinates.stream).clone(), Advance { from, to });
            }
        }
        self.records.push(record);
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether the next record belongs to the next batch.
    pub fn is_full(&self, policy: &BatchPolicy) -> bool {
        self.records.len() >= policy.max_records || self.bytes >= policy.max_bytes
    }
}

/// The bytes of a record: key, headers and value.
pub fn size(raw: &RawRecord) -> usize {
    let headers: usize = raw.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum();
    raw.key.as_ref().map_or(0, Vec::len) + headers + raw.value.as_ref().map_or(0, Vec::len)
}

/// Asks everything that waits or loops to come to a clean end. Clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps in slices of [`PATIENCE`].
    ///
    /// # Errors
    /// [`IngestError::Stopped`] as soon as a stop is asked for.
    pub fn sleep(&self, duration: Duration) -> Result<(), IngestError> {
        let mut left = duration;
        while !self.is_requested() {
            if left.is_zero() {
                return Ok(());
            }
            let slice = left.min(PATIENCE);
            std::thread::sleep(slice);
            left -= slice;
        }
        Err(IngestError::Stopped)
    }
}
