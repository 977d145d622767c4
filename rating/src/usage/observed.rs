//! Observations for people: which values a dimension has, and when something was used that nobody
//! is bound to.
//!
//! Nothing here is billed, so values are taken from every usage row, whether or not it counts.
//!
//! Invariant: what is observed is a function of the rows; its order is not that of the ledger.

use super::counted::CountedRows;
use super::dimension;
use super::engine;
use super::folded::adjustments;
use super::text::{literal, optional};
use crate::catalog::Catalog;
use crate::error::RatingError;
use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use derived::totals::{CellKey, KeyNames, Reading, Sum};
use futures::StreamExt as _;
use schemas::id::Subject;
use schemas::time::{Day, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A value of a dimension, as some event has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Observed {
    pub meter: String,
    /// The provider that the event names.
    pub provider: Option<String>,
    /// `None` where an event lacks the dimension.
    pub value: Option<String>,
}

const MICROS_OF_A_QUARTER: i64 = 15 * 60 * 1_000_000;

impl CountedRows {
    /// The values of a dimension in the events of some meters.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub(crate) async fn values(
        &self,
        dimension: &str,
        meters: &BTreeSet<&str>,
    ) -> Result<BTreeSet<Observed>, RatingError> {
        let mut observed = BTreeSet::new();
        let rows = match &self.folded {
            None => {
                self.ledger().await?;
                "narrow WHERE kind = 'usage' AND"
            }
            // What repeats an event says nothing else, or is a suspect.
            Some(folded) => {
                let mut names = KeyNames::default();
                for key in folded.kinds(&mut names).await? {
                    let meter = names.meter(key.meter());
                    if !meters.contains(meter) {
                        continue;
                    }
                    let dimensions = names.dimensions(key.dimensions()).map(dimension::read).transpose();
                    let mut dimensions = dimensions.map_err(RatingError::Damaged)?.unwrap_or_default();
                    observed.insert(Observed {
                        meter: meter.to_owned(),
                        provider: names.provider(key.provider()).map(str::to_owned),
                        value: dimensions.remove(dimension),
                    });
                }
                self.suspects().await?;
                "ranked WHERE"
            }
        };
        let meters: Vec<String> = meters.iter().map(|meter| literal(meter)).collect();
        let sql = format!(
            r#"SELECT DISTINCT CAST(meter AS VARCHAR), CAST(provider AS VARCHAR), dimension(dimensions, {}) FROM (
  SELECT DISTINCT "type" AS meter, provider, dimensions FROM {rows} "type" IN ({})) AS event"#,
            literal(dimension),
            meters.join(", ")
        );
        for batch in self.context.sql(&sql).await?.collect().await? {
            for row in 0..batch.num_rows() {
                let text =
                    |column: usize| optional(batch.column(column).as_string::<i32>(), row).map(str::to_owned);
                let meter = text(0).unwrap_or_default();
                observed.insert(Observed { meter, provider: text(1), value: text(2) });
            }
        }
        Ok(observed)
    }

    /// Instants at which something was used that no binding covers: of each quarter of an hour in which
    /// it was, one. The time zones' days begin and end with quarters. Of a day that is `alike` all
    /// through, one instant may stand for it, so that cells tell it; samples are read of the days of
    /// subjects in which a binding begins or ends, and of days that are not alike.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub(crate) async fn unattributed_use(
        &self,
        catalog: &Catalog,
        alike: impl Fn(Period) -> bool + Send + Sync,
    ) -> Result<BTreeSet<Instant>, RatingError> {
        let suspects = self.suspects().await?;
        let Some(folded) = &self.folded else {
            self.ledger().await?;
            let bound = self.bound(catalog).await?;
            return self.unbound(&bound, &self.weighed(suspects, None)).await;
        };
        let mut names = KeyNames::default();
        let mut unbound = Unbound { catalog, alike: &alike, events: BTreeMap::new(), failed: None };
        let wanted = |names: &KeyNames, month: Day, key: CellKey| {
            let covered = is_covered(
                catalog,
                names.subject(key.subject()),
                month.start(),
                month.first_of_next_month().start(),
            );
            !covered.is_ok_and(|covered| covered == Covered::Whole)
        };
        folded.in_months(&mut names, &wanted, &mut unbound).await?;
        if suspects.ranked > 0 {
            let sql = adjustments(self.order, always());
            let mut rows = self.joining(suspects.uncounted).sql(&sql).await?.execute_stream().await?;
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                let micros = batch.column(0).as_primitive::<Int64Type>().values();
                let events = batch.column(2).as_primitive::<Int64Type>().values();
                let subjects = batch.column(5).as_string::<i32>();
                for ((micros, events), subject) in micros.iter().zip(events).zip(subjects) {
                    unbound.row(subject.unwrap_or_default(), *micros, *events);
                }
            }
        }
        unbound.finish()
    }

    /// Makes a table of the times in which subjects are bound.
    async fn bound<'c>(&self, catalog: &'c Catalog) -> Result<Bound<'c>, RatingError> {
        let (covered, scattered) = covered(catalog);
        let stretches = self.name("covered");
        engine::keep_batch(&self.context, &stretches, &self.inputs, &covered).await?;
        let names = scattered.iter().map(|subject| subject.as_str());
        let subjects = self.name("scattered");
        let subjects = engine::keep_texts(&self.context, subjects, &self.inputs, "scattered", names).await?;
        Ok(Bound { catalog, stretches, scattered: (!scattered.is_empty()).then_some(subjects) })
    }

    /// The quarters of an hour in which something counts of `effective` that no binding covers.
    async fn unbound(&self, bound: &Bound<'_>, effective: &str) -> Result<BTreeSet<Instant>, RatingError> {
        let engine = self.joining(self.suspects().await?.uncounted);
        let Bound { catalog, stretches, scattered } = bound;
        let unit = MICROS_OF_A_QUARTER;
        let sql = format!(
            r#"WITH effective AS ({effective}) SELECT event.micros - (event.micros % {unit} + {unit}) % {unit} AS begins, SUM(event.events) AS events
FROM {stretches} AS covered RIGHT ANTI JOIN effective AS event
  ON event.subject = covered.subject AND event.micros >= covered.from_micros AND event.micros < covered.until_micros
GROUP BY begins HAVING SUM(event.events) > 0"#
        );
        let mut found: BTreeSet<i64> = engine::numbers(&engine, &sql).await?.into_iter().collect();
        if let Some(subjects) = scattered {
            let sql = format!(
                "WITH effective AS ({effective}) SELECT CAST(subject AS VARCHAR), micros, SUM(events) FROM {subjects} RIGHT SEMI JOIN effective ON scattered = subject GROUP BY subject, micros"
            );
            let mut sums: BTreeMap<(Subject, i64), i64> = BTreeMap::new();
            let mut events = engine.sql(&sql).await?.execute_stream().await?;
            while let Some(batch) = events.next().await {
                let batch = batch?;
                let times = batch.column(1).as_primitive::<Int64Type>().values();
                let counts = batch.column(2).as_primitive::<Int64Type>().values();
                for ((subject, micros), count) in
                    batch.column(0).as_string::<i32>().iter().zip(times).zip(counts)
                {
                    let subject =
                        Subject::new(subject.unwrap_or_default()).map_err(RatingError::stored("name"))?;
                    let time = Instant::from_micros(*micros).map_err(RatingError::stored("time"))?;
                    if catalog.customer_at(&subject, time).is_none() {
                        *sums.entry((subject, quarter(*micros))).or_default() += count;
                    }
                }
            }
            found.extend(sums.into_iter().filter(|(_, events)| *events > 0).map(|((_, begins), _)| begins));
        }
        let instants = found.into_iter().map(Instant::from_micros);
        instants.collect::<Result<_, _>>().map_err(RatingError::stored("time"))
    }
}

/// The beginning of the quarter of an hour that holds an instant.
fn quarter(micros: i64) -> i64 {
    micros - micros.rem_euclid(MICROS_OF_A_QUARTER)
}

/// The time that events may have.
fn always() -> Period {
    let ends = ["0001-01-01T00:00:00Z", "9999-12-30T00:00:00Z"];
    let [first, last] = ends.map(|text| Instant::parse_rfc3339(text).expect("an instant"));
    Period::new(first, last).expect("one is before the other")
}

/// How much of a stretch of time a subject is bound in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Covered {
    Whole,
    Partly,
    Nowhere,
}

fn is_covered(catalog: &Catalog, subject: &str, start: i64, end: i64) -> Result<Covered, RatingError> {
    let subject = Subject::new(subject).map_err(RatingError::stored("name"))?;
    let (mut covered_to, mut any) = (start, false);
    // Bindings come by time and do not overlap.
    for binding in catalog.bindings.of(&subject) {
        let until = binding.until.map_or(i64::MAX, Instant::micros);
        if binding.from.micros() < end && until > start {
            any = true;
            if binding.from.micros() <= covered_to {
                covered_to = covered_to.max(until);
            }
        }
    }
    Ok(if covered_to >= end {
        Covered::Whole
    } else if any {
        Covered::Partly
    } else {
        Covered::Nowhere
    })
}

/// Usage that nobody is bound to, in number of events: by day where that is `alike` and the subject is
/// nowhere bound in it, else by quarter of an hour.
struct Unbound<'a, A> {
    catalog: &'a Catalog,
    alike: &'a A,
    events: BTreeMap<i64, i64>,
    failed: Option<RatingError>,
}

impl<A: Fn(Period) -> bool> Unbound<'_, A> {
    fn of_day(&mut self, subject: &str, day: Day) -> Covered {
        let covered = is_covered(self.catalog, subject, day.start(), day.end());
        self.told(covered).unwrap_or(Covered::Whole)
    }

    fn is_alike(&self, day: Day) -> bool {
        let ends = [day.start(), day.end()].map(Instant::from_micros);
        match ends {
            [Ok(start), Ok(end)] => Period::new(start, end).is_some_and(self.alike),
            _ => false,
        }
    }

    fn row(&mut self, subject: &str, micros: i64, events: i64) {
        let day = Day::of(micros);
        let begins = match self.of_day(subject, day) {
            Covered::Whole => return,
            Covered::Nowhere if self.is_alike(day) => day.start(),
            Covered::Nowhere => quarter(micros),
            Covered::Partly => {
                let covered = is_covered(self.catalog, subject, micros, micros + 1);
                match self.told(covered) {
                    Some(Covered::Nowhere) => quarter(micros),
                    _ => return,
                }
            }
        };
        *self.events.entry(begins).or_default() += events;
    }

    fn told<T>(&mut self, result: Result<T, RatingError>) -> Option<T> {
        result.map_err(|error| self.failed.get_or_insert(error)).ok()
    }

    fn finish(self) -> Result<BTreeSet<Instant>, RatingError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let used = self.events.into_iter().filter(|(_, events)| *events > 0);
        let instants = used.map(|(micros, _)| Instant::from_micros(micros));
        instants.collect::<Result<_, _>>().map_err(RatingError::stored("time"))
    }
}

impl<A: Fn(Period) -> bool> Reading for Unbound<'_, A> {
    fn cell(&mut self, names: &KeyNames, day: Day, key: CellKey, sum: Sum) -> bool {
        let subject = names.subject(key.subject());
        match self.of_day(subject, day) {
            Covered::Whole => false,
            Covered::Nowhere if self.is_alike(day) => {
                *self.events.entry(day.start()).or_default() += sum.events;
                false
            }
            Covered::Nowhere | Covered::Partly => true,
        }
    }

    fn sample(&mut self, names: &KeyNames, key: CellKey, micros: i64, _: i128) {
        self.row(names.subject(key.subject()), micros, 1);
    }
}

/// The times in which subjects are bound.
struct Bound<'c> {
    catalog: &'c Catalog,
    /// A table of them; subjects that have too many are covered for ever in it.
    stretches: String,
    /// A table of these subjects, where there are any.
    scattered: Option<String>,
}

/// The most stretches of time in which a subject is bound that its usage is compared with in a join,
/// one by one.
const MOST_STRETCHES: usize = 8;

/// The stretches of time in which each subject is bound, and the subjects that have too many of them,
/// which are covered for ever here.
fn covered(catalog: &Catalog) -> (RecordBatch, BTreeSet<&Subject>) {
    let mut stretches: BTreeMap<&Subject, Vec<(i64, i64)>> = BTreeMap::new();
    for binding in catalog.bindings.iter() {
        let until = binding.until.map_or(i64::MAX, Instant::micros);
        let of_subject = stretches.entry(&binding.subject).or_default();
        match of_subject.last_mut() {
            Some(last) if last.1 == binding.from.micros() => last.1 = until,
            _ => of_subject.push((binding.from.micros(), until)),
        }
    }
    let mut scattered = BTreeSet::new();
    for (subject, of_subject) in &mut stretches {
        if of_subject.len() > MOST_STRETCHES {
            *of_subject = vec![(i64::MIN, i64::MAX)];
            scattered.insert(*subject);
        }
    }
    let rows: Vec<(&str, i64, i64)> = stretches
        .iter()
        .flat_map(|(subject, of_subject)| {
            of_subject.iter().map(|(from, until)| (subject.as_str(), *from, *until))
        })
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    let schema = Arc::new(Schema::new(vec![
        Field::new("subject", DataType::Utf8, false),
        Field::new("from_micros", DataType::Int64, false),
        Field::new("until_micros", DataType::Int64, false),
    ]));
    (RecordBatch::try_new(schema, columns).expect("the arrays match the schema one by one"), scattered)
}
