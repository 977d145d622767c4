//! The rows behind the samples of a period, and what lies before it of the series that need it, where usage
//! totals say in which files there is any.
//!
//! A series that is heard between the carry before a period and its beginning needs nothing earlier: that
//! says only since when a series is silent, and this one is not. So of most ledgers nothing is read of what
//! came before, and of the others the days on which somebody with the same dimensions used the same.
//!
//! Invariant: of a series that needs it, no row before the period is left out.

use super::by_days::RowsOfDays;
use super::counted::CountedRows;
use super::engine::{self, shard_column};
use super::folded::Folded;
use super::text::{literal, optional};
use crate::error::RatingError;
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use derived::totals::{CellKey, KeyNames};
use futures::StreamExt as _;
use schemas::id::MeterType;
use schemas::time::{Day, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// Samples that are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub events: &'a BTreeSet<MeterType>,
    /// Of those that lie before it, the last of each series that has none from here up to `start`.
    pub from: Instant,
    pub start: Instant,
    pub until: Instant,
    /// Whether what names no provider may be one's before and another's after an instant between the two
    /// ends. What lies before is wanted of all such series then.
    pub homes_change: bool,
}

impl Wanted<'_> {
    /// SQL: the type of events that are wanted.
    fn types(&self) -> String {
        let events: Vec<String> = self.events.iter().map(|events| literal(events.as_str())).collect();
        format!(r#""type" IN ({})"#, events.join(", "))
    }

    pub(super) fn within(&self) -> String {
        let [from, until] = [self.from, self.until].map(|at| engine::instant(at.micros()));
        format!(r#"{} AND "time" >= {from} AND "time" < {until}"#, self.types())
    }

    pub(super) fn before(&self) -> String {
        format!(r#"{} AND "time" < {}"#, self.types(), engine::instant(self.from.micros()))
    }
}

/// The replacements of some events.
pub(super) struct Heirs {
    /// A table of them, with the series that each stands in.
    pub table: String,
    /// The shard and the commit of each, and the subject of its series.
    pub of: Vec<(i64, i64, String)>,
}

/// The dimensions of series, by the type of their events and their subject.
#[derive(Default)]
struct Needed(BTreeMap<String, BTreeMap<String, BTreeSet<Option<String>>>>);

impl Needed {
    fn add(&mut self, events: &str, subject: &str, dimensions: Option<&str>) {
        let of_events = self.0.entry(events.to_owned()).or_default();
        of_events.entry(subject.to_owned()).or_default().insert(dimensions.map(str::to_owned));
    }

    fn has_subject(&self, subject: &str) -> bool {
        self.0.values().any(|of_events| of_events.contains_key(subject))
    }

    fn has(&self, names: &KeyNames, key: CellKey) -> bool {
        let of_events = self.0.get(names.meter(key.meter()));
        let of_subject = of_events.and_then(|of_events| of_events.get(names.subject(key.subject())));
        let dimensions = || names.dimensions(key.dimensions()).map(str::to_owned);
        of_subject.is_some_and(|of_subject| of_subject.contains(&dimensions()))
    }
}

impl CountedRows {
    /// The rows of a period, with what it is read from before it.
    pub(super) async fn rows_of_period(
        &self,
        folded: &Folded,
        wanted: Wanted<'_>,
    ) -> Result<RowsOfDays, RatingError> {
        let (from, until) = (wanted.from.micros(), wanted.until.micros());
        let days = match Period::new(wanted.from, wanted.until) {
            Some(period) => folded.days_with(wanted.events, period),
            None => BTreeSet::new(),
        };
        let which = format!("{} AND micros >= {from} AND micros < {until}", wanted.types());
        let mut others = Vec::new();
        for shard in 0..self.files.shards() {
            others.push(self.commits_of_suspects(shard, &which).await?);
        }
        let (first, last) = (Day::of(from).number(), Day::of(until).number());
        self.rows_of_days(folded, &days, others, &format!("day >= {first} AND day <= {last}")).await
    }

    /// The rows before a period of series that need it, others among them; none where there is no such
    /// series. `within` is SQL for the samples of the period, which a join with `few` rows gives.
    pub(super) async fn earlier_rows(
        &self,
        folded: &Folded,
        wanted: Wanted<'_>,
        within: &str,
        heirs: Option<&Heirs>,
        few: u64,
    ) -> Result<Option<RowsOfDays>, RatingError> {
        let needed = self.needed(wanted, within, few).await?;
        if needed.0.is_empty() {
            return Ok(None);
        }
        let takes = |names: &KeyNames, key: CellKey| needed.has(names, key);
        let days = folded.days_before(wanted.from, &takes).await?;
        let mut others = vec![BTreeSet::new(); self.files.shards()];
        let mut add = |shard: i64, batch: i64| {
            let of_shard = usize::try_from(shard).ok().and_then(|shard| others.get_mut(shard));
            if let Some((of_shard, batch)) = of_shard.zip(u64::try_from(batch).ok()) {
                of_shard.insert(batch);
            }
        };
        for (shard, batch, subject) in heirs.iter().flat_map(|heirs| &heirs.of) {
            if needed.has_subject(subject) {
                add(*shard, *batch);
            }
        }
        // A replacement is in no cell.
        let sql = format!(
            "SELECT DISTINCT CAST({} AS BIGINT), CAST(batch AS BIGINT), CAST(subject AS VARCHAR) FROM ranked WHERE NOT plain AND NOT settled AND {} AND micros < {}",
            shard_column(self.order),
            wanted.types(),
            wanted.from.micros()
        );
        let mut rows = self.context.sql(&sql).await?.execute_stream().await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let numbers = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
            let subjects = batch.column(2).as_string::<i32>();
            for row in 0..batch.num_rows() {
                if needed.has_subject(subjects.value(row)) {
                    add(numbers(0)[row], numbers(1)[row]);
                }
            }
        }
        let until = Day::of(wanted.from.micros()).number();
        self.rows_of_days(folded, &days, others, &format!("day <= {until}")).await.map(Some)
    }

    /// The series of a period of which it matters what came before.
    async fn needed(&self, wanted: Wanted<'_>, within: &str, few: u64) -> Result<Needed, RatingError> {
        let changes = if wanted.homes_change { "provider IS NULL AND NOT inherits" } else { "FALSE" };
        let sql = format!(
            r#"SELECT DISTINCT CAST("type" AS VARCHAR), CAST(series_subject AS VARCHAR), CAST(series_dimensions AS VARCHAR) FROM (
  SELECT "type", series_subject, series_dimensions, provider, inherits, MIN(micros) AS earliest
  FROM ({within}) AS sample
  GROUP BY "type", provider, series_source, series_subject, series_resource, series_dimensions, home, inherits
) AS series WHERE earliest > {} OR ({changes})"#,
            wanted.start.micros()
        );
        let mut needed = Needed::default();
        let mut rows = self.joining(few).sql(&sql).await?.execute_stream().await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let text = |column: usize| optional(batch.column(column).as_string::<i32>(), row);
                needed.add(text(0).unwrap_or_default(), text(1).unwrap_or_default(), text(2));
            }
        }
        Ok(needed)
    }
}
