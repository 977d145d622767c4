//! Observations for people: which values a dimension has, and when something was used that nobody
//! is bound to.
//!
//! Nothing here is billed, so values are taken from every usage row, whether or not it counts.
//!
//! Invariant: what is observed is a function of the rows; its order is not that of the ledger.

use super::counted::CountedRows;
use super::engine;
use super::text::{literal, optional};
use crate::catalog::Catalog;
use crate::error::RatingError;
use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::StreamExt as _;
use schemas::id::Subject;
use schemas::time::Instant;
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
        self.ledger().await?;
        let meters: Vec<String> = meters.iter().map(|meter| literal(meter)).collect();
        let sql = format!(
            r#"SELECT DISTINCT CAST(meter AS VARCHAR), CAST(provider AS VARCHAR), dimension(dimensions, {}) FROM (
  SELECT DISTINCT "type" AS meter, provider, dimensions FROM narrow WHERE kind = 'usage' AND "type" IN ({})) AS event"#,
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

    /// The quarters of an hour, which begin and end with every time zone's days, in which something
    /// was used that no binding covers.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub(crate) async fn unattributed_quarters(
        &self,
        catalog: &Catalog,
    ) -> Result<BTreeSet<Instant>, RatingError> {
        self.ledger().await?;
        assert!(self.folded.is_none(), "quarters of an hour are no days");
        let suspects = self.suspects().await?;
        let engine = self.joining(suspects.uncounted);
        let effective = self.weighed(suspects, None);
        let (covered, scattered) = covered(catalog);
        let stretches = self.name("covered");
        engine::keep_batch(&self.context, &stretches, &self.inputs, &covered).await?;
        let sql = format!(
            r#"WITH effective AS ({effective}) SELECT DISTINCT event.micros - event.micros % {MICROS_OF_A_QUARTER} AS quarter
FROM {stretches} AS covered RIGHT ANTI JOIN effective AS event
  ON event.subject = covered.subject AND event.micros >= covered.from_micros AND event.micros < covered.until_micros"#
        );
        let mut quarters = BTreeSet::new();
        for batch in engine.sql(&sql).await?.collect().await? {
            for micros in batch.column(0).as_primitive::<Int64Type>().values() {
                quarters.insert(Instant::from_micros(*micros).map_err(RatingError::stored("time"))?);
            }
        }
        if scattered.is_empty() {
            return Ok(quarters);
        }
        let names = scattered.iter().map(|subject| subject.as_str());
        let subjects = self.name("scattered");
        let subjects = engine::keep_texts(&self.context, subjects, &self.inputs, "scattered", names).await?;
        let sql = format!(
            "WITH effective AS ({effective}) SELECT CAST(subject AS VARCHAR), micros FROM {subjects} RIGHT SEMI JOIN effective ON scattered = subject"
        );
        let mut events = engine.sql(&sql).await?.execute_stream().await?;
        while let Some(batch) = events.next().await {
            let batch = batch?;
            let times = batch.column(1).as_primitive::<Int64Type>().values();
            for (subject, micros) in batch.column(0).as_string::<i32>().iter().zip(times) {
                let subject =
                    Subject::new(subject.unwrap_or_default()).map_err(RatingError::stored("name"))?;
                let time = Instant::from_micros(*micros).map_err(RatingError::stored("time"))?;
                if catalog.customer_at(&subject, time).is_none() {
                    let quarter = Instant::from_micros(micros - micros % MICROS_OF_A_QUARTER);
                    quarters.insert(quarter.map_err(RatingError::stored("time"))?);
                }
            }
        }
        Ok(quarters)
    }
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
