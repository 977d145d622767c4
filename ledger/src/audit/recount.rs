//! The contents that a batch record must have, computed once more from the rows as they are stored.
//!
//! Everybody who checks, signs or copies rows asks here; the writer does not, so that its mistakes
//! are found. It shares with the writer only the grammar of a row.
//!
//! Invariant: rows are taken in ledger order; a commit's rows are all there, numbered from 0, or it
//! is an error.

use crate::row::StoredRows;
use arrow::array::RecordBatch;
use proof::lanes;
use proof::leaf_key::LeafKey;
use proof::record::MeterControl;
use proof::row::{RowHeader, stream_digest};
use proof::seal::{Rows, Sealed, seal};
use schemas::decimal::QuantityTotal;
use schemas::digest::Sha256Digest;
use schemas::event::EventRef;
use schemas::outcome::{OutcomeRef, Tally};
use schemas::position::Offset;
use std::collections::{BTreeMap, HashMap};

/// The rows of one commit, counted again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recounted {
    /// The commit that first wrote them.
    pub version: u64,
    pub counts: Tally,
    pub sealed: Sealed,
    /// Of each stream (`Stream` as written), the first offset and the end of the last one.
    pub spans: BTreeMap<String, (Offset, Offset)>,
    /// Ascending by meter.
    pub meters: Vec<MeterControl>,
}

/// Takes rows and recounts them commit by commit.
pub struct Recount<'a> {
    key: &'a LeafKey,
    shard: u32,
    open: Option<Open>,
    /// The stream digests met so far, by origin, partition and name.
    streams: HashMap<(String, u32, String), Sha256Digest>,
}

/// A commit whose rows are being taken.
struct Open {
    version: u64,
    headers: Vec<RowHeader>,
    /// The contents, joined, and where each ends.
    arena: Vec<u8>,
    ends: Vec<u32>,
    /// As stored.
    digests: Vec<Option<[u8; 32]>>,
    subjects: Vec<Option<String>>,
    numbers: HashMap<Option<String>, u32>,
    subject_of: Vec<u32>,
    counts: Tally,
    spans: BTreeMap<String, (Offset, Offset)>,
    meters: BTreeMap<String, MeterControl>,
}

impl<'a> Recount<'a> {
    pub fn new(key: &'a LeafKey, shard: u32) -> Self {
        Self { key, shard, open: None, streams: HashMap::new() }
    }

    /// Takes the next rows; `done` gets each commit that is complete.
    ///
    /// # Errors
    /// The defect of a row, as part of a sentence, or what `done` says.
    pub fn take(
        &mut self,
        rows: &RecordBatch,
        done: &mut dyn FnMut(Recounted) -> Result<(), String>,
    ) -> Result<(), String> {
        let stored = StoredRows::read(rows).map_err(|error| error.to_string())?;
        for row in stored.iter() {
            let row = row.map_err(|error| error.to_string())?;
            let version = u64::try_from(row.batch).map_err(|_| format!("a row of commit {}", row.batch))?;
            if self.open.as_ref().is_some_and(|open| open.version != version) {
                self.finish(done)?;
            }
            let open = self.open.get_or_insert_with(|| Open::new(version));
            let place = open.headers.len();
            if usize::try_from(row.row) != Ok(place) {
                return Err(format!("commit {version} has row {} where row {place} should be", row.row));
            }
            let says = row.says;
            let stream = self
                .streams
                .entry((says.origin.to_owned(), says.partition, says.origin_name.to_owned()))
                .or_insert_with(|| stream_digest(says.origin, says.partition, says.origin_name));
            open.headers.push(says.header(stream));
            says.outcome.write_content(&mut open.arena);
            open.ends.push(
                u32::try_from(open.arena.len())
                    .map_err(|_| format!("commit {version} has more than 4 GiB of content"))?,
            );
            open.digests.push(row.content_digest.copied());
            open.counts.count(says.outcome.kind());
            let (subject, end) = match &says.outcome {
                OutcomeRef::Usage(event) => {
                    open.meter(event)
                        .map_err(|what| format!("row {place} of commit {version}: the sum of {what}"))?;
                    (Some(event.subject.to_owned()), Offset(says.offset.next().0))
                }
                OutcomeRef::Rejected { .. } => (None, Offset(says.offset.next().0)),
                OutcomeRef::Gap { until, .. } => (None, *until),
            };
            open.subject(subject);
            let span = open
                .spans
                .entry(format!("{}/{}", says.origin, says.partition))
                .or_insert((says.offset, says.offset));
            if says.offset < span.1 {
                return Err(format!(
                    "row {place} of commit {version} goes back to offset {} of {}/{}",
                    says.offset, says.origin, says.partition
                ));
            }
            span.1 = end;
        }
        Ok(())
    }

    /// Completes the last commit. Afterwards the next rows may be taken.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn finish(&mut self, done: &mut dyn FnMut(Recounted) -> Result<(), String>) -> Result<(), String> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let contents = lanes::variable(&open.arena, &open.ends);
        for (row, (stored, computed)) in open.digests.iter().zip(&contents).enumerate() {
            if stored.is_some_and(|stored| stored != *computed) {
                return Err(format!(
                    "row {row} of commit {} has a content_digest that is not its content's",
                    open.version
                ));
            }
        }
        let subjects: Vec<Option<&str>> = open.subjects.iter().map(Option::as_deref).collect();
        let rows = Rows {
            shard: self.shard,
            version: open.version,
            headers: &open.headers,
            contents: &contents,
            subjects: &subjects,
            subject_of: &open.subject_of,
        };
        done(Recounted {
            version: open.version,
            counts: open.counts,
            sealed: seal(self.key, &rows),
            spans: open.spans,
            meters: open.meters.into_values().collect(),
        })
    }
}

impl Open {
    fn new(version: u64) -> Self {
        Self {
            version,
            headers: Vec::new(),
            arena: Vec::new(),
            ends: Vec::new(),
            digests: Vec::new(),
            subjects: Vec::new(),
            numbers: HashMap::new(),
            subject_of: Vec::new(),
            counts: Tally::default(),
            spans: BTreeMap::new(),
            meters: BTreeMap::new(),
        }
    }

    fn meter(&mut self, event: &EventRef<'_>) -> Result<(), String> {
        if !self.meters.contains_key(event.meter) {
            let meter = event.meter.to_owned();
            let nothing =
                MeterControl { meter: meter.clone(), usage: 0, corrections: 0, value: QuantityTotal::ZERO };
            self.meters.insert(meter, nothing);
        }
        let control = self.meters.get_mut(event.meter).expect("it is there now");
        control.usage += 1;
        control.corrections += u64::from(event.correction.is_some());
        control.value = control
            .value
            .checked_add(QuantityTotal::from(event.quantity))
            .map_err(|error| format!("{:?}: {error}", event.meter))?;
        Ok(())
    }

    fn subject(&mut self, subject: Option<String>) {
        let next = u32::try_from(self.subjects.len()).expect("a commit has fewer than 2^32 subjects");
        let number = *self.numbers.entry(subject.clone()).or_insert(next);
        if number == next {
            self.subjects.push(subject);
        }
        self.subject_of.push(number);
    }
}
