//! Refused records: the first of each reason, a page of them, or all with their bytes.
//!
//! Why a record was refused was decided when it arrived, and is only read here, from the files that the
//! log says have any.
//!
//! Invariant: memory does not grow with the number of refused records. A page has at most as many as
//! were asked for, and all of them are handed out one by one.

use super::counted::{CountedRows, PLACE};
use super::engine;
use super::reported::RowPlace;
use super::text::{literal, optional};
use crate::error::RatingError;
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;
use schemas::time::Instant;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A refused record, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecord {
    pub at: RowPlace,
    /// As [`schemas::position::Origin`] is written.
    pub origin: String,
    pub origin_name: String,
    pub partition: u32,
    pub offset: i64,
    pub received_at: Instant,
    pub reason: String,
    pub detail: String,
}

/// The bytes of a refused record, as they came.
#[derive(Debug, Clone, Copy)]
pub struct RefusedBytes<'a> {
    pub key: Option<&'a [u8]>,
    /// As the ledger keeps them; none where there were none.
    pub headers: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// The row after which a page begins: shard, batch and row, with dots between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub shard: u32,
    pub batch: u64,
    pub row: u32,
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.shard, self.batch, self.row)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place to go on after; give the one that the page before named, like 0.12.345")]
pub struct CursorError(String);

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let wrong = || CursorError(text.to_owned());
        let parts: Vec<&str> = text.split('.').collect();
        let [shard, batch, row] = parts.as_slice() else { return Err(wrong()) };
        Ok(Self {
            shard: shard.parse().map_err(|_| wrong())?,
            batch: batch.parse().map_err(|_| wrong())?,
            row: row.parse().map_err(|_| wrong())?,
        })
    }
}

impl RefusedRecord {
    /// Where a page that ends with this one ends.
    ///
    /// # Errors
    /// When the stored place is none.
    pub fn cursor(&self) -> Result<Cursor, RatingError> {
        Ok(Cursor {
            shard: self.at.shard,
            batch: u64::try_from(self.at.batch).map_err(RatingError::stored("batch"))?,
            row: u32::try_from(self.at.row).map_err(RatingError::stored("row"))?,
        })
    }

    /// How many columns there are.
    const COLUMNS: usize = RowPlace::COLUMNS + 7;

    fn columns(order: &str) -> String {
        format!(
            r#"{}, origin AS of_origin, origin_name AS of_name, CAST("partition" AS BIGINT) AS of_partition, CAST("offset" AS BIGINT) AS of_offset, received_at AS of_time, reason AS of_reason, detail AS of_detail"#,
            RowPlace::columns(order)
        )
    }

    fn read(batch: &RecordBatch, row: usize) -> Result<Self, RatingError> {
        let column = |index: usize| batch.column(RowPlace::COLUMNS + index);
        let text = |index: usize| {
            optional(column(index).as_string::<i32>(), row).map(str::to_owned).unwrap_or_default()
        };
        let partition = column(2).as_primitive::<Int64Type>().value(row);
        let received_at = column(4).as_primitive::<TimestampMicrosecondType>().value(row);
        Ok(Self {
            at: RowPlace::read(batch, 0, row)?,
            origin: text(0),
            origin_name: text(1),
            partition: u32::try_from(partition).map_err(RatingError::stored("partition"))?,
            offset: column(3).as_primitive::<Int64Type>().value(row),
            received_at: Instant::from_micros(received_at).map_err(RatingError::stored("time"))?,
            reason: text(5),
            detail: text(6),
        })
    }
}

/// SQL: what is refused, for one reason or for any.
fn refused_for(reason: Option<&str>) -> String {
    let of_reason = reason.map_or_else(String::new, |reason| format!(" AND reason = {}", literal(reason)));
    format!("kind = 'rejected'{of_reason}")
}

impl CountedRows {
    /// Makes a table of the files that may have refused records, once, and gives an engine that reads of
    /// other rows only that they are none.
    async fn refusing(&self) -> Result<SessionContext, RatingError> {
        let mut registered = self.refused.lock().await;
        if !*registered {
            let mut shards = Vec::new();
            for shard in 0..self.files.shards() {
                let refusing = self.files.refusing(shard);
                shards.push(match self.checked().await {
                    Some(all) => {
                        let files = all[shard].iter().zip(refusing);
                        files.filter(|(_, refusing)| *refusing).map(|(file, _)| file.clone()).collect()
                    }
                    None => self.files.verified_refusing(shard).await?,
                });
            }
            engine::register_rows(&self.context, "refused", &shards).await?;
            *registered = true;
        }
        Ok(engine::picking(&self.context))
    }

    /// Refused records by reason.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn rejected_by_reason(&self) -> Result<BTreeMap<String, u64>, RatingError> {
        let sql = "SELECT reason, COUNT(*) FROM refused WHERE kind = 'rejected' GROUP BY reason";
        let mut reasons = BTreeMap::new();
        for batch in self.refusing().await?.sql(sql).await?.collect().await? {
            for row in 0..batch.num_rows() {
                let count = batch.column(1).as_primitive::<Int64Type>().value(row);
                let count = u64::try_from(count).map_err(RatingError::stored("count"))?;
                reasons.insert(batch.column(0).as_string::<i32>().value(row).to_owned(), count);
            }
        }
        Ok(reasons)
    }

    /// Where refused records were, in ledger order; at most `limit`.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn refused(&self, limit: usize) -> Result<Vec<String>, RatingError> {
        let sql = format!(
            "SELECT {PLACE} AS place FROM refused WHERE kind = 'rejected' ORDER BY {} LIMIT {limit}",
            self.order
        );
        engine::texts(&self.refusing().await?, &sql).await
    }

    /// Refused records after `after`, by shard and in its order; at most `limit`.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn refused_page(
        &self,
        reason: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<RefusedRecord>, RatingError> {
        let engine = self.refusing().await?;
        let later = after.map_or_else(String::new, |Cursor { shard, batch, row }| {
            format!(
                " WHERE (shard_number > {shard} OR (shard_number = {shard} AND (batch_number > {batch} OR (batch_number = {batch} AND row_number > {row}))))"
            )
        });
        let sql = format!(
            "SELECT * FROM (SELECT {} FROM refused WHERE {}) AS found{later} ORDER BY shard_number, batch_number, row_number LIMIT {limit}",
            RefusedRecord::columns(self.order),
            refused_for(reason),
        );
        let mut page = Vec::new();
        for batch in engine.sql(&sql).await?.collect().await? {
            for row in 0..batch.num_rows() {
                page.push(RefusedRecord::read(&batch, row)?);
            }
        }
        Ok(page)
    }

    /// Hands out every refused record with its bytes; not in ledger order where files were compacted
    /// or there are several shards.
    ///
    /// # Errors
    /// When the rows cannot be read, or what `take` says.
    pub async fn every_refused<E: From<RatingError>>(
        &self,
        reason: Option<&str>,
        mut take: impl FnMut(&RefusedRecord, RefusedBytes<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let picking = self.refusing().await.map_err(E::from)?;
        let sql = format!(
            "SELECT {}, raw_key, raw_headers, raw_value FROM refused WHERE {}",
            RefusedRecord::columns(self.order),
            refused_for(reason),
        );
        let engine = |error: datafusion::error::DataFusionError| E::from(RatingError::from(error));
        let plan = few_at_a_time(&picking).sql(&sql).await.map_err(engine)?;
        let mut stream = plan.execute_stream().await.map_err(engine)?;
        let mut count = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(engine)?;
            let bytes = |index: usize, row: usize| {
                let column = batch.column(RefusedRecord::COLUMNS + index).as_binary::<i32>();
                column.is_valid(row).then(|| column.value(row))
            };
            for row in 0..batch.num_rows() {
                let record = RefusedRecord::read(&batch, row)?;
                let raw = RefusedBytes { key: bytes(0, row), headers: bytes(1, row), value: bytes(2, row) };
                take(&record, raw)?;
                count += 1;
            }
        }
        Ok(count)
    }
}

/// The same tables in an engine that keeps few rows in memory: one that was refused may be a megabyte.
fn few_at_a_time(context: &SessionContext) -> SessionContext {
    let config = context.copied_config().with_batch_size(64).with_target_partitions(1);
    engine::with_settings(context, config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let cursor = Cursor { shard: 1, batch: 20, row: 3 };
        assert_eq!("1.20.3".parse(), Ok(cursor));
        assert_eq!(cursor.to_string(), "1.20.3");
        for wrong in ["", "1", "1.2", "1.2.3.4", "1.2.x", "-1.2.3"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
