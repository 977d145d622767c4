//! The first events behind charges, one by one.
//!
//! They are read from the same rows as the totals, and which charge one belongs to is
//! deliberately the caller's to say. Where usage totals cover the ledger, the files that have rows of
//! the charge's days are read in ledger order, and none after the first that are enough. That is right
//! of one shard alone: the order between shards is the time at which batches were received, so that of
//! several all of these files are read. Where there are no totals, every row is.
//!
//! Invariant: events are in ledger order, and none that is left out comes before one of them.

use super::attributed::{AttributedRows, UsageKey};
use super::by_days::OfFile;
use super::engine;
use super::folded::{Folded, days_within, uncounted_of};
use super::reported::RowPlace;
use super::text::literal;
use crate::error::RatingError;
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;
use schemas::decimal::QuantityTotal;
use schemas::id::{MeterType, Subject};
use schemas::time::{Day, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// One event behind a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// `file:line`, or `topic/partition@offset`.
    pub place: String,
    pub source: String,
    pub id: String,
    pub time: Instant,
    /// In the meter's unit.
    pub quantity: QuantityTotal,
}

/// Events that are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LookedFor<'a> {
    pub meter: &'a MeterType,
    /// Any, where there is none.
    pub subjects: &'a BTreeSet<&'a Subject>,
    pub within: Period,
}

impl<'a> LookedFor<'a> {
    /// The subject, where it is one alone.
    fn subject(&self) -> Option<&'a Subject> {
        self.subjects.first().copied().filter(|_| self.subjects.len() == 1)
    }
}

/// The files that are read at once, at most; at first it is one.
const MOST_FILES: usize = 64;

/// A row of the ledger, in its order: when it was received, where there are several shards, its shard,
/// batch and row.
type Order = (i64, u32, i64, i64);

/// The first of the events that were read, of each of several kinds.
struct First<K> {
    /// How many are wanted of a kind, and those that there are.
    kinds: BTreeMap<K, (usize, BTreeMap<Order, EventRow>)>,
    /// How many kinds have fewer events than are wanted.
    short: usize,
    /// After the last event of every kind, once all are full.
    end: Option<Order>,
}

impl<K: Ord> First<K> {
    fn new(most: BTreeMap<K, usize>) -> Self {
        let kinds: BTreeMap<K, _> = most
            .into_iter()
            .filter(|(_, most)| *most > 0)
            .map(|(kind, most)| (kind, (most, BTreeMap::new())))
            .collect();
        Self { short: kinds.len(), kinds, end: None }
    }

    fn is_full(&self) -> bool {
        self.short == 0
    }

    /// Whether an event of some kind would be among them.
    fn has_room(&self, order: Order) -> bool {
        !self.is_full() || self.end.is_some_and(|end| order < end)
    }

    fn push(&mut self, kind: &K, order: Order, event: EventRow) {
        let Some((most, events)) = self.kinds.get_mut(kind) else { return };
        let had = events.len();
        events.insert(order, event);
        if events.len() > *most {
            events.pop_last();
        } else if events.len() == *most && had < *most {
            self.short -= 1;
        }
        if self.short == 0 {
            let lasts = self.kinds.values().filter_map(|(_, events)| events.last_key_value());
            self.end = lasts.map(|(last, _)| *last).max();
        }
    }
}

impl AttributedRows<'_> {
    /// The first events in ledger order of each kind, as many as `most` says of it; `kind` says of which
    /// one an event is by its key.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn first_events<K: Ord>(
        &self,
        looked_for: LookedFor<'_>,
        most: BTreeMap<K, usize>,
        kind: impl Fn(&UsageKey) -> Option<K>,
    ) -> Result<BTreeMap<K, Vec<EventRow>>, RatingError> {
        let mut first = First::new(most);
        if first.is_full() {
            return Ok(BTreeMap::new());
        }
        let shards = self.rows.files.shards();
        match &self.rows.folded {
            None => {
                let rows = self.query(looked_for.within, &self.select(&looked_for)).await?;
                self.read(rows, &kind, &mut first).await?;
            }
            Some(folded) if shards == 1 => {
                let repeats = folded.repeats(&self.rows.scratch(), &self.rows.files).await?;
                let days = days_within(looked_for.within);
                let mut rest = self.files_with(folded, 0, &days, &looked_for).await?;
                let (mut at_once, mut asked) = (1, false);
                while !rest.is_empty() && !first.is_full() {
                    let later = rest.split_off(at_once.min(rest.len()));
                    let files = std::mem::replace(&mut rest, later);
                    let commits = files
                        .iter()
                        .map(|of| format!("batch BETWEEN {} AND {}", of.start(), of.end().min(&END)));
                    let commits = format!("({})", commits.collect::<Vec<_>>().join(" OR "));
                    let uncounted = uncounted_of(&self.rows.scratch(), &repeats, &commits);
                    let rows = self.rows_of(&[files], &uncounted, &looked_for).await?;
                    self.read(rows, &kind, &mut first).await?;
                    if !asked && !first.is_full() && !rest.is_empty() {
                        // Most charges have enough in the first file; only now the cells are asked.
                        let wanted = self.days(folded, &looked_for).await?;
                        let wanted = self.files_with(folded, 0, &wanted, &looked_for).await?;
                        rest.retain(|file| wanted.contains(file));
                        asked = true;
                        continue;
                    }
                    at_once = (2 * at_once).min(MOST_FILES);
                }
            }
            Some(folded) => {
                let days = self.days(folded, &looked_for).await?;
                let mut files = Vec::new();
                for shard in 0..shards {
                    files.push(self.files_with(folded, shard, &days, &looked_for).await?);
                }
                let repeats = folded.repeats(&self.rows.scratch(), &self.rows.files).await?;
                let uncounted = uncounted_of(&self.rows.scratch(), &repeats, "TRUE");
                let rows = self.rows_of(&files, &uncounted, &looked_for).await?;
                self.read(rows, &kind, &mut first).await?;
            }
        }
        let events =
            first.kinds.into_iter().map(|(kind, (_, events))| (kind, events.into_values().collect()));
        Ok(events.collect())
    }

    /// The days of which there are cells of such events.
    async fn days(&self, folded: &Folded, looked_for: &LookedFor<'_>) -> Result<BTreeSet<Day>, RatingError> {
        folded.days_of(looked_for.within, looked_for.meter, looked_for.subject()).await
    }

    /// The files of a shard that may have such events, in their order: those with plain rows of the
    /// days, and those with other rows that are looked for, each of which is a suspect.
    async fn files_with(
        &self,
        folded: &Folded,
        shard: usize,
        days: &BTreeSet<Day>,
        looked_for: &LookedFor<'_>,
    ) -> Result<Vec<OfFile>, RatingError> {
        let others = format!(
            "micros >= {} AND micros < {} AND {}",
            looked_for.within.start().micros(),
            looked_for.within.end().micros(),
            named(looked_for, r#""type""#),
        );
        let others = self.rows.commits_of_suspects(shard, &others).await?;
        self.rows.files_with(folded, shard, days, others).await
    }

    /// The rows of some files of each shard that count.
    async fn rows_of(
        &self,
        files: &[Vec<OfFile>],
        uncounted: &str,
        looked_for: &LookedFor<'_>,
    ) -> Result<SendableRecordBatchStream, RatingError> {
        let mut shards = Vec::new();
        for (number, files) in files.iter().enumerate() {
            shards.push(self.rows.checked_files(number, files).await?);
        }
        let table = self.rows.name("rows");
        engine::register_rows(&self.rows.context, &table, &shards).await?;
        let uncounted = format!("({uncounted})");
        let sql = self.query_of(&table, Some(&uncounted), looked_for.within, &self.select(looked_for));
        Ok(engine::picking(&self.engine()).sql(&sql).await?.execute_stream().await?)
    }

    fn select(&self, looked_for: &LookedFor<'_>) -> String {
        format!(
            "SELECT {place}, CAST(received_at AS BIGINT) AS received, source, id, micros, value, {key} FROM attributed WHERE {named}",
            place = RowPlace::columns(self.order()),
            key = self.key_columns(),
            named = named(looked_for, "meter"),
        )
    }

    async fn read<K: Ord>(
        &self,
        mut rows: SendableRecordBatchStream,
        kind: impl Fn(&UsageKey) -> Option<K>,
        first: &mut First<K>,
    ) -> Result<(), RatingError> {
        let one_shard = self.rows.files.shards() == 1;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let at = RowPlace::read(&batch, 0, row)?;
                let received = if one_shard { 0 } else { number(&batch, RowPlace::COLUMNS, row) };
                let order = (received, at.shard, at.batch, at.row);
                if !first.has_room(order) {
                    continue;
                }
                if let Some(kind) = kind(&self.key(&batch, RowPlace::COLUMNS + 5, row)?) {
                    first.push(&kind, order, event(&batch, RowPlace::COLUMNS + 1, row, at)?);
                }
            }
        }
        Ok(())
    }
}

/// The last number of a batch that a column can have.
const END: u64 = i64::MAX.cast_unsigned();

/// SQL: whether a row is of the meter and of the subject.
fn named(looked_for: &LookedFor<'_>, meter: &str) -> String {
    let of_meter = format!("{meter} = {}", literal(looked_for.meter.as_str()));
    if looked_for.subjects.is_empty() {
        return of_meter;
    }
    let subjects: Vec<String> = looked_for.subjects.iter().map(|subject| literal(subject.as_str())).collect();
    format!("{of_meter} AND subject IN ({})", subjects.join(", "))
}

fn number(batch: &RecordBatch, column: usize, row: usize) -> i64 {
    batch.column(column).as_primitive::<Int64Type>().value(row)
}

/// The event in the columns from `from` on.
fn event(batch: &RecordBatch, from: usize, row: usize, at: RowPlace) -> Result<EventRow, RatingError> {
    let text = |column: usize| batch.column(from + column).as_string::<i32>().value(row).to_owned();
    let quantity = batch.column(from + 3).as_primitive::<Decimal128Type>().value(row);
    Ok(EventRow {
        place: at.place,
        source: text(0),
        id: text(1),
        time: Instant::from_micros(number(batch, from + 2, row)).map_err(RatingError::stored("time"))?,
        quantity: QuantityTotal::from_units(quantity).map_err(RatingError::stored("quantity"))?,
    })
}
