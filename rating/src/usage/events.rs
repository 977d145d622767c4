//! The first events behind a charge, one by one.
//!
//! They are read from the same rows as the totals, and whether one belongs to a charge is
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
    pub subject: Option<&'a Subject>,
    pub within: Period,
    /// How many at most.
    pub most: usize,
}

/// The files that are read at once, at most; at first it is one.
const MOST_FILES: usize = 64;

/// A row of the ledger, in its order: when it was received, where there are several shards, its shard,
/// batch and row.
type Order = (i64, u32, i64, i64);

/// The first of the events that were read.
struct First {
    most: usize,
    events: BTreeMap<Order, EventRow>,
}

impl First {
    fn is_full(&self) -> bool {
        self.events.len() == self.most
    }

    /// Whether an event would be among them.
    fn has_room(&self, order: Order) -> bool {
        !self.is_full() || self.events.last_key_value().is_some_and(|(last, _)| order < *last)
    }

    fn push(&mut self, order: Order, event: EventRow) {
        self.events.insert(order, event);
        if self.events.len() > self.most {
            self.events.pop_last();
        }
    }
}

impl AttributedRows<'_> {
    /// The first events in ledger order that `takes` takes by their key.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn first_events(
        &self,
        looked_for: LookedFor<'_>,
        takes: impl Fn(&UsageKey) -> bool,
    ) -> Result<Vec<EventRow>, RatingError> {
        let mut first = First { most: looked_for.most, events: BTreeMap::new() };
        let shards = self.rows.files.shards();
        match &self.rows.folded {
            None => {
                let rows = self.query(looked_for.within, &self.select(&looked_for)).await?;
                self.read(rows, &takes, &mut first).await?;
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
                    self.read(rows, &takes, &mut first).await?;
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
                self.read(rows, &takes, &mut first).await?;
            }
        }
        Ok(first.events.into_values().collect())
    }

    /// The days of which there are cells of such events.
    async fn days(&self, folded: &Folded, looked_for: &LookedFor<'_>) -> Result<BTreeSet<Day>, RatingError> {
        let LookedFor { meter, subject, within, .. } = *looked_for;
        folded.days_of(within, meter, subject).await
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

    async fn read(
        &self,
        mut rows: SendableRecordBatchStream,
        takes: impl Fn(&UsageKey) -> bool,
        first: &mut First,
    ) -> Result<(), RatingError> {
        let one_shard = self.rows.files.shards() == 1;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let at = RowPlace::read(&batch, 0, row)?;
                let received = if one_shard { 0 } else { number(&batch, RowPlace::COLUMNS, row) };
                let order = (received, at.shard, at.batch, at.row);
                if first.has_room(order) && takes(&self.key(&batch, RowPlace::COLUMNS + 5, row)?) {
                    first.push(order, event(&batch, RowPlace::COLUMNS + 1, row, at)?);
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
    match looked_for.subject {
        None => of_meter,
        Some(subject) => format!("{of_meter} AND subject = {}", literal(subject.as_str())),
    }
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
