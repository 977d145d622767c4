//! From a decoded batch to the rows of one commit. Pure.
//!
//! It checks what ingest promises, because a promise that is only made once is not one: every row lies in the advance of its
//! stream, offsets only grow, and the counts add up. A batch that breaks this is a programming error and stops the process.

use crate::row;
use arrow::array::RecordBatch;
use schemas::batch::{DecodedBatch, Outcome};
use schemas::position::{Advance, NextOffset, Stream};
use std::collections::HashMap;

/// How many rows of each kind a batch has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
}

/// The rows that version `version` will commit, and their counts.
///
/// # Panics
/// When the batch breaks its invariant: a row outside its stream's advance, or offsets that do not grow.
pub fn seal(batch: &DecodedBatch, version: i64) -> (RecordBatch, Counts) {
    let mut counts = Counts::default();
    let mut reached: HashMap<&Stream, NextOffset> = HashMap::new();
    for record in &batch.records {
        let stream: &Stream = &record.coordinates.stream;
        let offset = record.coordinates.offset;
        let Advance { from, to } = *batch.advances.get(stream).expect("every record belongs to a stream the batch advances");
        let next = match &record.outcome {
            Outcome::Usage(_) => {
                counts.usage += 1;
                offset.next()
            }
            Outcome::Rejected { .. } => {
                counts.rejected += 1;
                offset.next()
            }
            Outcome::Gap { until, .. } => {
                counts.gaps += 1;
                NextOffset(until.0)
            }
        };
        let at_least = reached.get(stream).copied().unwrap_or(from);
        assert!(offset.0 >= at_least.0, "{stream}: offset {offset} follows {at_least}; offsets of a batch only grow");
        assert!(next <= to, "{stream}: offset {offset} lies beyond the batch's end {to}");
        reached.insert(stream, next);
    }
    let rows = row::record_batch(&batch.records, version);
    let total = counts.usage + counts.rejected + counts.gaps;
    assert_eq!(rows.num_rows() as u64, total, "received = usage + rejected + gaps");
    (rows, counts)
}
