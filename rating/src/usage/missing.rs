//! What is not there: numbers that a producer has given and no row has, and subjects that are silent.
//!
//! Where usage totals cover the ledger no row is read for it: they have the numbers as runs without a
//! hole, and the samples of whoever is silent. Whether anybody has to care is deliberately not known here.
//!
//! Invariant: what is told is between two things that are there, and the same from totals as from rows.

use super::counted::CountedRows;
use super::engine;
use super::folded::{Folded, adjustments, days_within};
use super::text::literal;
use crate::error::RatingError;
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use derived::totals::{CellKey, KeyNames, NumberRun, Reading, Sum};
use futures::StreamExt as _;
use schemas::id::{MeterType, Subject};
use schemas::time::{Day, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Numbers of a producer's epoch that are in no usage row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SequenceGap {
    pub producer: Arc<str>,
    pub epoch: i64,
    /// The first and the last number that is missing.
    pub first: i64,
    pub last: i64,
    /// The times of the two events around them, the earlier first.
    pub from: Instant,
    pub until: Instant,
}

/// A subject that was heard in one period, and not in the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silence {
    pub events: MeterType,
    pub subject: Subject,
    /// When it was heard last.
    pub last: Instant,
}

impl CountedRows {
    /// The gaps in producers' numbers whose two ends meet a period. Every row says that a number is
    /// there, whether it counts or not; where several have one, the first in ledger order says when.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub(crate) async fn sequence_gaps(&self, period: Period) -> Result<Vec<SequenceGap>, RatingError> {
        let mut gaps = Gaps { period, found: Vec::new() };
        match &self.folded {
            Some(folded) => gaps.of_runs(folded).await?,
            None => self.gaps_of_rows(&mut gaps).await?,
        }
        Ok(gaps.found)
    }

    async fn gaps_of_rows(&self, gaps: &mut Gaps) -> Result<(), RatingError> {
        self.ledger().await?;
        let order = self.order;
        let sql = format!(
            r#"WITH numbered AS (
  SELECT CAST(producer_id AS VARCHAR) AS producer, producer_epoch AS epoch, producer_seq AS number,
    FIRST_VALUE(CAST("time" AS BIGINT) ORDER BY {order}) AS micros
  FROM narrow WHERE kind = 'usage' AND producer_id IS NOT NULL GROUP BY producer_id, producer_epoch, producer_seq
), followed AS (
  SELECT *, LEAD(number) OVER (PARTITION BY producer, epoch ORDER BY number) AS next,
    LEAD(micros) OVER (PARTITION BY producer, epoch ORDER BY number) AS next_micros
  FROM numbered
)
SELECT producer, epoch, number, next, micros, next_micros FROM followed
WHERE next IS NOT NULL AND next - 1 > number AND LEAST(micros, next_micros) < {end} AND GREATEST(micros, next_micros) >= {start}
ORDER BY producer, epoch, number"#,
            start = gaps.period.start().micros(),
            end = gaps.period.end().micros(),
        );
        let mut rows = self.context.sql(&sql).await?.execute_stream().await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
                let (before, after) = ((number(2), number(4)), (number(3), number(5)));
                let producer = batch.column(0).as_string::<i32>().value(row);
                gaps.between(&producer.into(), number(1), before, after)?;
            }
        }
        Ok(())
    }

    /// When subjects that do not count in a period were heard last in the one before: of events of a type
    /// that count.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub(crate) async fn silences(
        &self,
        silent: &BTreeSet<(MeterType, Subject)>,
        before: Period,
    ) -> Result<Vec<Silence>, RatingError> {
        if silent.is_empty() {
            return Ok(Vec::new());
        }
        let mut last = LastHeard::of(silent);
        match &self.folded {
            Some(folded) => self.heard_in_samples(folded, before, &mut last).await?,
            None => self.heard_in_rows(before, &mut last).await?,
        }
        last.silences()
    }

    async fn heard_in_rows(&self, before: Period, last: &mut LastHeard) -> Result<(), RatingError> {
        let suspects = self.suspects().await?;
        let uncounted = self.every_row(suspects).await?;
        let types: Vec<String> = last.types().iter().map(|events| literal(events)).collect();
        let columns = r#""type", subject, CAST("time" AS BIGINT) AS micros"#;
        let which = format!(
            r#""type" IN ({}) AND "time" >= {} AND "time" < {}"#,
            types.join(", "),
            engine::instant(before.start().micros()),
            engine::instant(before.end().micros())
        );
        let rows = self.counting_where("narrow", uncounted.as_deref(), columns, &which);
        let sql = format!(
            r#"SELECT CAST("type" AS VARCHAR), CAST(subject AS VARCHAR), MAX(micros)
FROM ({rows}) AS event GROUP BY "type", subject"#
        );
        for batch in self.joining(suspects.uncounted).sql(&sql).await?.collect().await? {
            for row in 0..batch.num_rows() {
                let text = |column: usize| batch.column(column).as_string::<i32>().value(row);
                last.hear(text(0), text(1), batch.column(2).as_primitive::<Int64Type>().value(row), 1);
            }
        }
        Ok(())
    }

    async fn heard_in_samples(
        &self,
        folded: &Folded,
        before: Period,
        last: &mut LastHeard,
    ) -> Result<(), RatingError> {
        let suspects = self.suspects().await?;
        if suspects.ranked > 0 {
            let sql = adjustments(self.order, before);
            let mut rows = self.joining(suspects.uncounted).sql(&sql).await?.execute_stream().await?;
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                let numbers = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
                let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row);
                for row in 0..batch.num_rows() {
                    last.adjust(text(3, row), text(5, row), numbers(0)[row], numbers(2)[row]);
                }
            }
        }
        let mut reading = Samples { last, within: before };
        folded.days(&days_within(before), &mut KeyNames::default(), &mut reading).await
    }
}

/// The gaps that meet a period.
struct Gaps {
    period: Period,
    found: Vec<SequenceGap>,
}

impl Gaps {
    /// Adds what is missing between two numbers, each with its time in microseconds.
    fn between(
        &mut self,
        producer: &Arc<str>,
        epoch: i64,
        (before, time): (i64, i64),
        (after, next_time): (i64, i64),
    ) -> Result<(), RatingError> {
        let (from, until) = (time.min(next_time), time.max(next_time));
        if from < self.period.end().micros() && until >= self.period.start().micros() {
            let at = |micros| Instant::from_micros(micros).map_err(RatingError::stored("time"));
            let (from, until) = (at(from)?, at(until)?);
            let producer = producer.clone();
            self.found.push(SequenceGap { producer, epoch, first: before + 1, last: after - 1, from, until });
        }
        Ok(())
    }

    async fn of_runs(&mut self, folded: &Folded) -> Result<(), RatingError> {
        let mut before: Option<(Arc<str>, i64, (i64, i64))> = None;
        let mut failed = Ok(());
        let mut see = |producer: &str, epoch: i64, NumberRun { first, last, .. }: &NumberRun| {
            let of_before = before.take().filter(|(of, ..)| **of == *producer);
            let producer = of_before.as_ref().map_or_else(|| producer.into(), |(of, ..)| of.clone());
            if let Some((_, in_epoch, end)) = of_before
                && in_epoch == epoch
                && failed.is_ok()
            {
                failed = self.between(&producer, epoch, end, (first.number, first.micros));
            }
            before = Some((producer, epoch, (last.number, last.micros)));
        };
        folded.numbers(&mut see).await?;
        failed
    }
}

/// When each of some subjects was heard last, by the type of events.
struct LastHeard(BTreeMap<String, BTreeMap<String, Heard>>);

#[derive(Default)]
struct Heard {
    last: Option<i64>,
    /// How many events count at instants of which that is not what samples say.
    adjusted: BTreeMap<i64, i64>,
}

impl LastHeard {
    fn of(silent: &BTreeSet<(MeterType, Subject)>) -> Self {
        let mut last = Self(BTreeMap::new());
        for (events, subject) in silent {
            let of_events = last.0.entry(events.as_str().to_owned()).or_default();
            of_events.insert(subject.as_str().to_owned(), Heard::default());
        }
        last
    }

    fn types(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    fn has(&self, events: &str, subject: &str) -> bool {
        self.0.get(events).is_some_and(|of_events| of_events.contains_key(subject))
    }

    /// Says how many events count at an instant beside those that are heard; less than none are taken away.
    fn adjust(&mut self, events: &str, subject: &str, micros: i64, count: i64) {
        if let Some(heard) = self.0.get_mut(events).and_then(|of_events| of_events.get_mut(subject)) {
            *heard.adjusted.entry(micros).or_default() += count;
        }
    }

    /// Hears events at an instant, once everything is adjusted.
    fn hear(&mut self, events: &str, subject: &str, micros: i64, count: i64) {
        let Some(heard) = self.0.get_mut(events).and_then(|of_events| of_events.get_mut(subject)) else {
            return;
        };
        match heard.adjusted.get_mut(&micros) {
            Some(adjusted) => *adjusted += count,
            None => heard.last = heard.last.max(Some(micros)),
        }
    }

    fn silences(self) -> Result<Vec<Silence>, RatingError> {
        let mut silences = Vec::new();
        for (events, of_events) in self.0 {
            for (subject, Heard { last, adjusted }) in of_events {
                let adjusted = adjusted.into_iter().filter(|(_, count)| *count > 0).map(|(micros, _)| micros);
                let Some(last) = last.max(adjusted.max()) else { continue };
                silences.push(Silence {
                    events: MeterType::new(events.as_str()).map_err(RatingError::stored("name"))?,
                    subject: Subject::new(subject.as_str()).map_err(RatingError::stored("name"))?,
                    last: Instant::from_micros(last).map_err(RatingError::stored("time"))?,
                });
            }
        }
        Ok(silences)
    }
}

/// The samples of a period that say when somebody was heard.
struct Samples<'a> {
    last: &'a mut LastHeard,
    within: Period,
}

impl Reading for Samples<'_> {
    fn cell(&mut self, names: &KeyNames, _: Day, key: CellKey, _: Sum) -> bool {
        self.last.has(names.meter(key.meter()), names.subject(key.subject()))
    }

    fn sample(&mut self, names: &KeyNames, key: CellKey, micros: i64, _: i128) {
        if self.within.start().micros() <= micros && micros < self.within.end().micros() {
            self.last.hear(names.meter(key.meter()), names.subject(key.subject()), micros, 1);
        }
    }
}
