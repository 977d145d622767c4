//! What has come in: by meter and source, how many records and when the last one was.
//!
//! They are for people: every usage row is looked at, whether or not it counts.
//!
//! Invariant: what is handed out is bounded by the number of types of events, not by that of sources.

use super::counted::CountedRows;
use super::engine;
use crate::error::RatingError;
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use futures::StreamExt as _;
use schemas::time::{Instant, Period};
use std::collections::BTreeMap;

/// The records of one type of events that were used in a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrivals {
    /// The type of the events.
    pub events: String,
    pub records: u64,
    pub sources: u64,
    /// When the last of them was used.
    pub last: Instant,
    /// When the last of them was read.
    pub received: Instant,
    /// Sources whose last event is older than was asked.
    pub late: u64,
    /// The sources that were heard longest ago, those first; at most as many as were asked for.
    pub stalest: Vec<SourceArrivals>,
}

/// The records of one source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceArrivals {
    pub last: Instant,
    pub source: String,
    pub records: u64,
}

impl CountedRows {
    /// What was used in a period, by type of events. A source is late whose last event was before
    /// `late_before`; of each type the `stalest` sources are named.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn arrivals(
        &self,
        period: Period,
        late_before: Instant,
        stalest: usize,
    ) -> Result<Vec<Arrivals>, RatingError> {
        self.ledger().await?;
        let [from, until] = [period.start(), period.end()].map(|at| engine::instant(at.micros()));
        let sql = format!(
            r#"SELECT CAST("type" AS VARCHAR), CAST(source AS VARCHAR), COUNT(*),
  MAX(CAST("time" AS BIGINT)), MAX(CAST(received_at AS BIGINT))
FROM narrow WHERE kind = 'usage' AND "time" >= {from} AND "time" < {until} GROUP BY "type", source"#
        );
        let mut found: BTreeMap<String, Arrivals> = BTreeMap::new();
        let mut rows = self.context.sql(&sql).await?.execute_stream().await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let text = |column: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
                let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
                let at = |column| Instant::from_micros(number(column)).map_err(RatingError::stored("time"));
                let records = u64::try_from(number(2)).map_err(RatingError::stored("count"))?;
                let (last, received) = (at(3)?, at(4)?);
                let of = found.entry(text(0)).or_insert_with_key(|events| Arrivals {
                    events: events.clone(),
                    records: 0,
                    sources: 0,
                    last,
                    received,
                    late: 0,
                    stalest: Vec::new(),
                });
                of.records += records;
                of.sources += 1;
                of.late += u64::from(last < late_before);
                of.last = of.last.max(last);
                of.received = of.received.max(received);
                let source = SourceArrivals { last, source: text(1), records };
                let place = of.stalest.partition_point(|known| *known < source);
                if place < stalest {
                    of.stalest.insert(place, source);
                    of.stalest.truncate(stalest);
                }
            }
        }
        Ok(found.into_values().collect())
    }
}
