//! What ingest hands to the ledger: decoded records and the advances they make, in one value.
//!
//! Invariant: every record read from a source between `from` and `to` of an advance is in the batch exactly once, as usage, rejection or gap.

use crate::event::UsageEvent;
use crate::position::{Advance, Offset, Stream};
use crate::rejection::Rejection;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where one record was: its stream and its place there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinates {
    pub stream: Arc<Stream>,
    /// What people call the origin: the topic, or the file's path below the ingested folder.
    pub origin_name: Arc<str>,
    pub offset: Offset,
}

/// The record as it came, kept where it could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawRecord {
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// `None` is a Kafka tombstone.
    pub value: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Usage(Box<UsageEvent>),
    Rejected {
        rejection: Rejection,
        raw: RawRecord,
    },
    /// Offsets `[coordinates.offset, until)` were gone before they could be read.
    Gap {
        until: Offset,
        detail: String,
    },
}

/// One record, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedRecord {
    pub coordinates: Coordinates,
    /// When the broker or producer stamped the record, where the source says so.
    pub produced_at: Option<Instant>,
    /// When ingest read the record.
    pub received_at: Instant,
    pub outcome: Outcome,
}

/// Records in the order they were read, and how far each stream moved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DecodedBatch {
    pub records: Vec<DecodedRecord>,
    pub advances: BTreeMap<Stream, Advance>,
}

impl DecodedBatch {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.advances.is_empty()
    }
}
