//! Observations for people: which values a dimension has, and when something was used that nobody
//! is bound to.
//!
//! Nothing here is billed, so values are taken from every usage row, whether or not it counts.
//!
//! Invariant: what is observed is a function of the rows; its order is not that of the ledger.

use super::counted::CountedRows;
use super::engine;
use super::folded::{CutDays, DAY};
use super::text::{literal, optional};
use crate::catalog::Catalog;
use crate::error::RatingError;
use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::StreamExt as _;
use schemas::id::Subject;
use schemas::time::{Instant, Period};
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
        let rows = match &self.folded {
            None => {
                self.ledger().await?;
                "narrow WHERE kind = 'usage' AND".to_owned()
            }
            // What repeats an event says nothing else, or is a suspect.
            Some(folded) => {
                self.suspects().await?;
                let cells = folded.every_cell(&self.scratch()).await?;
                let columns = r#""type", provider, dimensions"#;
                format!(
                    "(SELECT {columns} FROM {cells} UNION ALL SELECT {columns} FROM ranked) AS said WHERE"
                )
            }
        };
        let meters: Vec<String> = meters.iter().map(|meter| literal(meter)).collect();
        let sql = format!(
            r#"SELECT DISTINCT CAST(meter AS VARCHAR), CAST(provider AS VARCHAR), dimension(dimensions, {}) FROM (
  SELECT DISTINCT "type" AS meter, provider, dimensions FROM {rows} "type" IN ({})) AS event"#,
            literal(dimension),
            meters.join(", ")
        );
        let mut observed = BTreeSet::new();
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
    /// through, one instant may stand for it, so that cells tell it; rows are read of the days of
    /// subjects in which a binding begins or ends, and of days that are not alike.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub(crate) async fn unattributed_use(
        &self,
        catalog: &Catalog,
        alike: impl Fn(Period) -> bool,
    ) -> Result<BTreeSet<Instant>, RatingError> {
        let suspects = self.suspects().await?;
        let bound = self.bound(catalog).await?;
        let Some(folded) = &self.folded else {
            self.ledger().await?;
            return self.unbound(&bound, &self.weighed(suspects, None), MICROS_OF_A_QUARTER).await;
        };
        let mut cut = CutDays::default();
        for binding in catalog.bindings.iter() {
            let ends = [Some(binding.from), binding.until].into_iter().flatten();
            ends.for_each(|instant| cut.cut_for(instant, &binding.subject));
        }
        let pairs = self.name("cut");
        engine::keep_batch(&self.context, &pairs, &self.inputs, &cut.table()).await?;
        let always = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"];
        let [first, last] = always.map(|text| Instant::parse_rfc3339(text).expect("an instant"));
        let always = Period::new(first, last).expect("one is before the other");
        let weighed = folded.weighed(&self.scratch(), &self.files, always, &cut).await?.sql;
        let placed = |join: &str| {
            format!(
                "SELECT placed.* FROM {pairs} {join} JOIN (SELECT *, micros - (micros % {DAY} + {DAY}) % {DAY} AS midnight FROM ({weighed}) AS every) AS placed ON CAST(cut_day AS BIGINT) * {DAY} = midnight AND cut_subject = subject"
            )
        };
        let mut instants = self.unbound(&bound, &placed("RIGHT SEMI"), MICROS_OF_A_QUARTER).await?;
        for midnight in self.unbound(&bound, &placed("RIGHT ANTI"), DAY).await? {
            let next = Instant::from_micros(midnight.micros() + DAY).map_err(RatingError::stored("time"))?;
            let day = Period::new(midnight, next).expect("a day ends after it begins");
            if alike(day) {
                instants.insert(midnight);
                continue;
            }
            let within = Instant::from_micros(midnight.micros() + 1).map_err(RatingError::stored("time"))?;
            let mut cut = CutDays::default();
            cut.cut(within);
            let rows = folded.weighed(&self.scratch(), &self.files, day, &cut).await?.sql;
            instants.extend(self.unbound(&bound, &rows, MICROS_OF_A_QUARTER).await?);
        }
        Ok(instants)
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

    /// The stretches of `unit` microseconds, by their beginning, in which something counts of `effective`
    /// that no binding covers.
    async fn unbound(
        &self,
        bound: &Bound<'_>,
        effective: &str,
        unit: i64,
    ) -> Result<BTreeSet<Instant>, RatingError> {
        let engine = self.joining(self.suspects().await?.uncounted);
        let Bound { catalog, stretches, scattered } = bound;
        let begins = |micros: i64| micros - micros.rem_euclid(unit);
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
                        *sums.entry((subject, begins(*micros))).or_default() += count;
                    }
                }
            }
            found.extend(sums.into_iter().filter(|(_, events)| *events > 0).map(|((_, begins), _)| begins));
        }
        let instants = found.into_iter().map(Instant::from_micros);
        instants.collect::<Result<_, _>>().map_err(RatingError::stored("time"))
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
