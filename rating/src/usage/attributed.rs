//! Whose usage it is: what counts, with its customer, its interval and the dimensions that some SKU
//! matches on.
//!
//! Totals and events are read from the same rows, and both keys are made here, so that the events
//! behind a total are those that were summed. Bindings are looked up when a key is read and
//! deliberately not joined: a row then meets one of them, however many its subject has. Prices are not
//! known here; where one begins is only a cut.
//!
//! Invariant: usage is in one interval and has at most one customer, which is the same for all that is
//! summed together.

use super::counted::{CountedRows, Suspects};
use super::cuts::Cuts;
use super::engine;
use super::folded::adjustments;
use super::summing::{Summed, Summing};
use super::text::{literal, optional};
use crate::catalog::Catalog;
use crate::error::RatingError;
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use derived::totals::{KeyNames, Sum};
use futures::StreamExt as _;
use schemas::id::{CustomerId, MeterType, ProviderId, Subject};
use schemas::time::{Instant, Period};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that decides who bills usage and who bears it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageKey {
    pub provider: Option<ProviderId>,
    /// The type of the events, which several meters may read.
    pub events: MeterType,
    /// Values of the dimensions that the catalog matches on; a dimension the event lacks has no
    /// entry.
    pub dimensions: BTreeMap<String, String>,
    /// `None`: no binding of the subject contains the event's time.
    pub customer: Option<CustomerId>,
    pub subject: Subject,
    /// The interval between two cuts that holds the usage.
    pub interval: Period,
}

/// The most instants at which bindings begin or end that cut the usage of every subject.
const MOST_CUTS_OF_BINDINGS: usize = 127;

/// The time of usage, as coarse as cuts and bindings allow.
struct Pieces<'c> {
    /// Where one begins, ascending. No interval and no binding begins or ends within one.
    starts: Vec<Instant>,
    /// Except for these subjects, whose usage keeps its time.
    moving: BTreeSet<&'c Subject>,
}

impl<'c> Pieces<'c> {
    fn of(cuts: &Cuts, catalog: &'c Catalog) -> Self {
        let whole = cuts.whole();
        let mut by_instant: BTreeMap<Instant, BTreeSet<&Subject>> = BTreeMap::new();
        for binding in catalog.bindings.iter() {
            for instant in [Some(binding.from), binding.until].into_iter().flatten() {
                if whole.start() < instant && instant < whole.end() {
                    by_instant.entry(instant).or_default().insert(&binding.subject);
                }
            }
        }
        // Customers mostly change at a few instants, each of many subjects.
        let mut by_weight: Vec<_> = by_instant.into_iter().collect();
        by_weight.sort_by_key(|(instant, subjects)| (Reverse(subjects.len()), *instant));
        let rare = by_weight.split_off(by_weight.len().min(MOST_CUTS_OF_BINDINGS));
        let starts: BTreeSet<Instant> =
            by_weight.into_iter().map(|(instant, _)| instant).chain(cuts.all().iter().copied()).collect();
        let starts = starts.into_iter().filter(|start| *start < whole.end()).collect();
        Self { starts, moving: rare.into_iter().flat_map(|(_, subjects)| subjects).collect() }
    }

    /// SQL: an instant of the piece that holds `micros`, the same for all of it.
    fn at(&self) -> String {
        let piece = instant_of(&self.starts);
        if self.moving.is_empty() { piece } else { format!("CASE WHEN moves THEN micros ELSE {piece} END") }
    }
}

/// A binary search written as SQL, for the last of some ascending instants that is not after `micros`.
fn instant_of(starts: &[Instant]) -> String {
    match starts {
        [] => "micros".to_owned(),
        [one] => format!("CAST({} AS BIGINT)", one.micros()),
        several => {
            let (before, after) = several.split_at(several.len() / 2);
            let middle = after.first().map_or(0, |instant| instant.micros());
            format!("CASE WHEN micros < {middle} THEN {} ELSE {} END", instant_of(before), instant_of(after))
        }
    }
}

/// SQL: an instant that is no instant beyond a period.
fn within(period: Period, at: &str) -> String {
    let (start, end) = (period.start().micros(), period.end().micros());
    format!("CASE WHEN micros >= {start} AND micros < {end} THEN {at} END")
}

/// What counts between the first and the last cut.
pub(crate) struct AttributedRows<'a> {
    pub(super) rows: &'a CountedRows,
    suspects: Suspects,
    catalog: &'a Catalog,
    pub(super) cuts: Cuts,
    /// The only meter whose usage is summed, where it is one.
    of_meter: Option<&'a MeterType>,
    /// Every dimension some SKU matches on, and the meters for which; the columns d0, d1 and so on.
    dimensions: BTreeMap<String, BTreeSet<MeterType>>,
}

impl CountedRows {
    /// Attributes what counts. Rows outside the first and last of `cuts` are not read.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub(crate) async fn attributed<'a>(
        &'a self,
        catalog: &'a Catalog,
        cuts: Cuts,
    ) -> Result<AttributedRows<'a>, RatingError> {
        let suspects = self.suspects().await?;
        let dimensions = matched_dimensions(catalog);
        Ok(AttributedRows { rows: self, suspects, catalog, cuts, of_meter: None, dimensions })
    }
}

/// SQL: a column for each dimension, of the meters for which some SKU matches on it.
fn projected(matched: &BTreeMap<String, BTreeSet<MeterType>>) -> String {
    let column = |(index, (name, meters)): (usize, (&String, &BTreeSet<MeterType>))| {
        let meters: Vec<String> = meters.iter().map(|meter| literal(meter.as_str())).collect();
        format!(
            ", CASE WHEN meter IN ({}) THEN dimension(dimensions, {}) END AS d{index}",
            meters.join(", "),
            literal(name)
        )
    };
    matched.iter().enumerate().map(column).collect()
}

/// Every dimension some SKU matches on, and the meters for which.
fn matched_dimensions(catalog: &Catalog) -> BTreeMap<String, BTreeSet<MeterType>> {
    let mut names: BTreeMap<String, BTreeSet<MeterType>> = BTreeMap::new();
    for metered in
        catalog.providers.values().flat_map(|provider| &provider.skus).filter_map(|sku| sku.metered())
    {
        for name in metered.matches.keys() {
            names.entry(name.clone()).or_default().insert(metered.events.clone());
        }
    }
    names
}

impl<'a> AttributedRows<'a> {
    /// The same of one meter alone.
    pub(crate) fn of_meter(self, meter: &'a MeterType) -> Self {
        Self { of_meter: Some(meter), ..self }
    }

    /// SQL: the columns that [`Self::key`] reads.
    pub(super) fn key_columns(&self) -> String {
        let dimensions: String = (0..self.dimensions.len()).map(|index| format!(", d{index}")).collect();
        format!("provider, meter, subject, at{dimensions}")
    }

    /// SQL: ledger order.
    pub(super) fn order(&self) -> &'static str {
        self.rows.order
    }

    /// Runs a query on `attributed`, which has the rows of a period that count, one by one. A period
    /// lies within the cuts.
    pub(super) async fn query(
        &self,
        within: Period,
        select: &str,
    ) -> Result<SendableRecordBatchStream, RatingError> {
        let uncounted = self.rows.every_row(self.suspects).await?;
        let sql = self.query_of("ledger", uncounted.as_deref(), within, select);
        self.run(&sql).await
    }

    /// SQL: `select` on `attributed`, which has the rows of a table that are not among some uncounted
    /// ones and lie in a period.
    pub(super) fn query_of(
        &self,
        table: &str,
        uncounted: Option<&str>,
        within: Period,
        select: &str,
    ) -> String {
        let columns = format!(
            r#"received_at, {place}, origin, origin_name, "partition", "offset", source, id, "type", subject, CAST("time" AS BIGINT) AS micros, value, dimensions, provider, location, resource"#,
            place = engine::place(self.order())
        );
        let counting = self.rows.counting(table, uncounted, &columns, Some(within));
        format!(
            r#"WITH effective AS ({counting}), attributed AS (
  SELECT *{projected} FROM (SELECT *, "type" AS meter, micros AS at FROM effective) AS event
)
{select}"#,
            projected = projected(&self.dimensions)
        )
    }

    /// The sums of rows that count, as `quantity`, `events` and [`Self::key_columns`]. What one key has
    /// may be in several rows; what lies beyond the cuts has no `at`.
    pub(super) async fn sums(&self) -> Result<SendableRecordBatchStream, RatingError> {
        let pieces = Pieces::of(&self.cuts, self.catalog);
        let whole = self.cuts.whole();
        let effective = self.rows.weighed(self.suspects, Some(whole));
        let effective = match self.of_meter {
            None => effective,
            Some(meter) => format!(
                r#"SELECT * FROM ({effective}) AS every_meter WHERE "type" = {}"#,
                literal(meter.as_str())
            ),
        };
        let source = if pieces.moving.is_empty() {
            "effective".to_owned()
        } else {
            let moving = pieces.moving.iter().map(|subject| subject.as_str());
            let table = engine::keep_texts(
                &self.rows.context,
                self.rows.name("moving"),
                &self.rows.inputs,
                "mover",
                moving,
            )
            .await?;
            format!(
                "(SELECT effective.*, mover IS NOT NULL AS moves FROM {table} RIGHT JOIN effective ON mover = subject) AS moved"
            )
        };
        // Only what a SKU matches on tells the usage of a meter apart, and it is looked for in what
        // was summed, which is less than the rows.
        let meters: BTreeSet<&MeterType> = self.dimensions.values().flatten().collect();
        let meters: Vec<String> = meters.into_iter().map(|meter| literal(meter.as_str())).collect();
        let dimensions = match meters.is_empty() {
            true => "NULL".to_owned(),
            false => format!(r#"CASE WHEN "type" IN ({}) THEN dimensions END"#, meters.join(", ")),
        };
        let sql = format!(
            r#"WITH effective AS ({effective}), placed AS (
  SELECT value, events, provider, "type" AS meter, subject, {at} AS at, {dimensions} AS dimensions FROM {source}
), summed AS (
  SELECT SUM(value) AS value, SUM(events) AS events, provider, meter, subject, at, dimensions
  FROM placed GROUP BY provider, meter, subject, at, dimensions
)
SELECT SUM(value) AS quantity, SUM(events) AS events, {key}
FROM (SELECT value, events, CAST(provider AS VARCHAR) AS provider, CAST(meter AS VARCHAR) AS meter, CAST(subject AS VARCHAR) AS subject, at{projected} FROM summed) AS keyed
GROUP BY {key}"#,
            at = within(whole, &pieces.at()),
            key = self.key_columns(),
            projected = projected(&self.dimensions),
        );
        self.run(&sql).await
    }

    /// The sums of what counts, as usage totals have it; nothing where rows have to be read.
    pub(super) async fn summed<'n>(
        &'n self,
        names: &mut KeyNames,
    ) -> Result<Option<Summing<'n>>, RatingError> {
        let Some(folded) = &self.rows.folded else { return Ok(None) };
        let mut summing = Summing::new(&self.cuts, self.catalog, &self.dimensions, self.of_meter);
        folded.plain(names, &mut summing).await?;
        if self.suspects.ranked == 0 {
            return Ok(Some(summing));
        }
        let mut rows = self.run(&adjustments(self.order(), self.cuts.whole())).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let micros = batch.column(0).as_primitive::<Int64Type>().values();
            let values = batch.column(1).as_primitive::<Decimal128Type>().values();
            let events = batch.column(2).as_primitive::<Int64Type>().values();
            for row in 0..batch.num_rows() {
                let text = |nth: usize| optional(batch.column(3 + nth).as_string::<i32>(), row);
                let key = names.key([text(0), text(1), text(2), text(3), text(4)]);
                summing.see_row(names, key, micros[row], Sum { events: events[row], value: values[row] });
            }
        }
        Ok(Some(summing))
    }

    async fn run(&self, sql: &str) -> Result<SendableRecordBatchStream, RatingError> {
        Ok(self.engine().sql(sql).await?.execute_stream().await?)
    }

    /// The engine for joins with the suspects that do not count.
    pub(super) fn engine(&self) -> SessionContext {
        self.rows.joining(self.suspects.uncounted)
    }

    /// Whether what is in the columns from `first` on lies beyond the cuts.
    pub(super) fn is_beyond(&self, batch: &RecordBatch, first: usize, row: usize) -> bool {
        batch.column(first + 3).is_null(row)
    }

    /// The key of a sum.
    pub(super) fn key_of(&self, summed: &Summed<'_>) -> Result<UsageKey, RatingError> {
        let subject = Subject::new(summed.subject).map_err(RatingError::stored("name"))?;
        let provider = summed.provider.map(ProviderId::new).transpose();
        Ok(UsageKey {
            provider: provider.map_err(RatingError::stored("name"))?,
            events: MeterType::new(summed.meter).map_err(RatingError::stored("name"))?,
            dimensions: summed.dimensions.clone(),
            customer: self.catalog.customer_at(&subject, summed.at).cloned(),
            subject,
            interval: summed.interval,
        })
    }

    /// The key in the columns from `first` on, which are [`Self::key_columns`].
    pub(super) fn key(&self, batch: &RecordBatch, first: usize, row: usize) -> Result<UsageKey, RatingError> {
        let text = |index: usize| optional(batch.column(first + index).as_string::<i32>(), row);
        let named = |index: usize| text(index).unwrap_or_default();
        let at = Instant::from_micros(batch.column(first + 3).as_primitive::<Int64Type>().value(row))
            .map_err(RatingError::stored("time"))?;
        let dimension = |(index, name): (usize, &String)| Some((name.clone(), text(4 + index)?.to_owned()));
        let subject = Subject::new(named(2)).map_err(RatingError::stored("name"))?;
        Ok(UsageKey {
            provider: text(0).map(ProviderId::new).transpose().map_err(RatingError::stored("name"))?,
            events: MeterType::new(named(1)).map_err(RatingError::stored("name"))?,
            dimensions: self.dimensions.keys().enumerate().filter_map(dimension).collect(),
            customer: self.catalog.customer_at(&subject, at).cloned(),
            subject,
            interval: self
                .cuts
                .interval(at)
                .ok_or_else(|| RatingError::Damaged(format!("there is no interval at {at}")))?,
        })
    }
}
