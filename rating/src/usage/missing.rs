//! What is not there: numbers that a producer has given and no row has, and subjects that are silent.
//!
//! Whether anybody has to care is deliberately not known here.
//!
//! Invariant: what is told is between two things that are there.

use super::counted::CountedRows;
use super::engine;
use super::text::literal;
use crate::error::RatingError;
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use futures::StreamExt as _;
use schemas::id::{MeterType, Subject};
use schemas::time::{Instant, Period};
use std::collections::BTreeSet;

/// Numbers of a producer's epoch that are in no usage row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SequenceGap {
    pub producer: String,
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
            start = period.start().micros(),
            end = period.end().micros(),
        );
        let mut gaps = Vec::new();
        let mut rows = self.context.sql(&sql).await?.execute_stream().await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
                let (one, other) = (number(4), number(5));
                let at = |micros| Instant::from_micros(micros).map_err(RatingError::stored("time"));
                gaps.push(SequenceGap {
                    producer: batch.column(0).as_string::<i32>().value(row).to_owned(),
                    epoch: number(1),
                    first: number(2) + 1,
                    last: number(3) - 1,
                    from: at(one.min(other))?,
                    until: at(one.max(other))?,
                });
            }
        }
        Ok(gaps)
    }

    /// The subjects with events of some types that count in one period and none in the next, with the
    /// time of the last one. What counts is read of both periods.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub(crate) async fn silences(
        &self,
        events: &BTreeSet<&MeterType>,
        before: Period,
        period: Period,
    ) -> Result<Vec<Silence>, RatingError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let suspects = self.suspects().await?;
        let uncounted = self.every_row(suspects).await?;
        let types: Vec<String> = events.iter().map(|events| literal(events.as_str())).collect();
        let columns = r#""type", subject, CAST("time" AS BIGINT) AS micros"#;
        let which = format!(
            r#""type" IN ({}) AND "time" >= {} AND "time" < {}"#,
            types.join(", "),
            engine::instant(before.start().micros()),
            engine::instant(period.end().micros())
        );
        let rows = self.counting_where("narrow", uncounted.as_deref(), columns, &which);
        let sql = format!(
            r#"SELECT CAST("type" AS VARCHAR) AS events, CAST(subject AS VARCHAR) AS subject, MAX(micros) AS last
FROM ({rows}) AS event GROUP BY "type", subject HAVING MAX(micros) < {}
ORDER BY events, subject"#,
            period.start().micros()
        );
        let mut silences = Vec::new();
        for batch in self.joining(suspects.uncounted).sql(&sql).await?.collect().await? {
            for row in 0..batch.num_rows() {
                let text = |column: usize| batch.column(column).as_string::<i32>().value(row);
                let last = batch.column(2).as_primitive::<Int64Type>().value(row);
                silences.push(Silence {
                    events: MeterType::new(text(0)).map_err(RatingError::stored("name"))?,
                    subject: Subject::new(text(1)).map_err(RatingError::stored("name"))?,
                    last: Instant::from_micros(last).map_err(RatingError::stored("time"))?,
                });
            }
        }
        Ok(silences)
    }
}
