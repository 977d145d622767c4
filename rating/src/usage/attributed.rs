//! Whose usage it is: the rows that count, each with its customer, its interval and the dimensions
//! that some SKU matches on.
//!
//! Totals and events are read from this one CTE, so that the events behind a total are those that
//! were summed. Prices are deliberately not known here; where one begins is only a cut.
//!
//! Invariant: a row is in at most one interval and has at most one customer.

use super::counted::CountedRows;
use super::engine;
use super::text::{literal, optional};
use crate::catalog::Catalog;
use crate::error::RatingError;
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::execution::SendableRecordBatchStream;
use ledger::Location;
use schemas::id::{CustomerId, MeterType, ProviderId, Subject};
use schemas::time::{Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that decides who bills usage and who bears it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageKey {
    pub provider: Option<ProviderId>,
    pub meter: MeterType,
    /// Values of the dimensions that the catalog matches on; a dimension the event lacks has no
    /// entry.
    pub dimensions: BTreeMap<String, String>,
    /// `None`: no binding of the subject contains the event's time.
    pub customer: Option<CustomerId>,
    pub subject: Subject,
    /// The interval between two cuts that holds the usage.
    pub interval: Period,
}

/// The instants that no total straddles: at least two, ascending.
#[derive(Debug, Clone)]
pub(crate) struct Cuts(Vec<Instant>);

impl Cuts {
    /// Both ends of every period, of which there is one at least, and those of the others that lie
    /// between them.
    pub fn of(periods: impl Iterator<Item = Period>, others: impl Iterator<Item = Instant>) -> Self {
        let mut cuts: BTreeSet<Instant> = periods.flat_map(|period| [period.start(), period.end()]).collect();
        if let (Some(first), Some(last)) = (cuts.first().copied(), cuts.last().copied()) {
            cuts.extend(others.filter(|cut| first < *cut && *cut < last));
        }
        Self(cuts.into_iter().collect())
    }

    /// All that lies between the first and the last.
    fn whole(&self) -> Period {
        let ends = self.0.first().zip(self.0.last());
        ends.and_then(|(first, last)| Period::new(*first, *last)).expect("cuts are at least two")
    }

    fn interval(&self, number: i64) -> Option<Period> {
        let number = usize::try_from(number).ok()?;
        Period::new(*self.0.get(number)?, *self.0.get(number + 1)?)
    }

    /// SQL: the number of the interval that holds `micros`.
    fn slot(&self) -> String {
        self.slot_between(0, self.0.len() - 1)
    }

    /// A binary search written as SQL.
    fn slot_between(&self, low: usize, high: usize) -> String {
        if high - low == 1 {
            return format!("CAST({low} AS BIGINT)");
        }
        let middle = low + (high - low) / 2;
        format!(
            "CASE WHEN micros < {} THEN {} ELSE {} END",
            self.0[middle].micros(),
            self.slot_between(low, middle),
            self.slot_between(middle, high)
        )
    }
}

/// The rows that count between the first and the last cut.
pub(crate) struct AttributedRows<'a> {
    rows: &'a CountedRows,
    cuts: Cuts,
    /// Every dimension some SKU matches on; the columns d0, d1 and so on.
    dimensions: Vec<String>,
    /// SQL: the CTE `attributed`, preceded by what it needs.
    cte: String,
}

impl CountedRows {
    /// Attributes what counts. `inputs` is a folder for the binding table, which the plan scans
    /// like any other pinned file. Rows outside the first and last of `cuts` are not read.
    ///
    /// # Errors
    /// When the bindings cannot be written.
    pub(crate) async fn attributed(
        &self,
        catalog: &Catalog,
        cuts: Cuts,
        inputs: &Location,
    ) -> Result<AttributedRows<'_>, RatingError> {
        engine::register_bindings(&self.context, catalog, inputs).await?;
        let matched = matched_dimensions(catalog);
        let cte = format!(
            r#"{effective},
cut AS (
  SELECT *, "type" AS meter, {slot} AS slot{projected}
  FROM effective WHERE micros >= {first} AND micros < {last}
),
attributed AS (
  SELECT cut.*, bindings.customer AS customer
  FROM bindings RIGHT JOIN cut
    ON cut.subject = bindings.subject AND cut.micros >= bindings.from_micros AND cut.micros < bindings.until_micros
)"#,
            effective = self.effective(),
            slot = cuts.slot(),
            projected = projected(&matched),
            first = cuts.whole().start().micros(),
            last = cuts.whole().end().micros(),
        );
        Ok(AttributedRows { rows: self, cuts, dimensions: matched.into_keys().collect(), cte })
    }
}

/// SQL: a column for each dimension, of the meters for which some SKU matches on it.
fn projected(matched: &BTreeMap<String, BTreeSet<MeterType>>) -> String {
    let column = |(index, (name, meters)): (usize, (&String, &BTreeSet<MeterType>))| {
        let meters: Vec<String> = meters.iter().map(|meter| literal(meter.as_str())).collect();
        format!(
            r#", CASE WHEN "type" IN ({}) THEN dimension(dimensions, {}) END AS d{index}"#,
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
        catalog.providers.values().flat_map(|provider| &provider.skus).filter_map(|sku| sku.metered.as_ref())
    {
        for name in metered.matches.keys() {
            names.entry(name.clone()).or_default().insert(metered.meter.clone());
        }
    }
    names
}

impl AttributedRows<'_> {
    /// SQL: the columns that [`Self::key`] reads.
    pub(super) fn key_columns(&self) -> String {
        let dimensions: String = (0..self.dimensions.len()).map(|index| format!(", d{index}")).collect();
        format!("provider, meter, customer, subject, slot{dimensions}")
    }

    /// SQL: ledger order.
    pub(super) fn order(&self) -> &'static str {
        self.rows.order
    }

    /// Runs a query on `attributed`.
    pub(super) async fn query(&self, select: &str) -> Result<SendableRecordBatchStream, RatingError> {
        let sql = format!("WITH {}\n{select}", self.cte);
        Ok(self.rows.context.sql(&sql).await?.execute_stream().await?)
    }

    /// The key in the columns from `first` on, which are [`Self::key_columns`].
    pub(super) fn key(&self, batch: &RecordBatch, first: usize, row: usize) -> Result<UsageKey, RatingError> {
        let text = |index: usize| optional(batch.column(first + index).as_string::<i32>(), row);
        let named = |index: usize| text(index).unwrap_or_default();
        let slot = batch.column(first + 4).as_primitive::<Int64Type>().value(row);
        let dimension = |(index, name): (usize, &String)| Some((name.clone(), text(5 + index)?.to_owned()));
        Ok(UsageKey {
            provider: text(0).map(ProviderId::new).transpose().map_err(RatingError::stored("name"))?,
            meter: MeterType::new(named(1)).map_err(RatingError::stored("name"))?,
            dimensions: self.dimensions.iter().enumerate().filter_map(dimension).collect(),
            customer: text(2).map(CustomerId::new).transpose().map_err(RatingError::stored("name"))?,
            subject: Subject::new(named(3)).map_err(RatingError::stored("name"))?,
            interval: self
                .cuts
                .interval(slot)
                .ok_or_else(|| RatingError::Damaged(format!("there is no interval {slot}")))?,
        })
    }
}
