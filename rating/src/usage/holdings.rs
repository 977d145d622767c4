//! The ledger's holdings at a cut, counted: rows by kind, conflicts, months of use.
//!
//! They are for people and for the manifest; nothing here is billed.
//!
//! Invariant: received = usage + rejected, or there are no counts.

use super::counted::CountedRows;
use super::engine;
use super::text::literal;
use crate::error::RatingError;
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use derived::totals::Control;
use schemas::position::{NextOffset, Stream};
use schemas::time::{BillingMonth, Day, Instant};
use std::collections::BTreeSet;

/// The rows of the ledger at a cut, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerCounts {
    pub received: u64,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    pub duplicates: u64,
    pub conflicts: u64,
}

impl CountedRows {
    /// Counts every row by kind, and usage rows that are not the first of their id.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn counts(&self) -> Result<LedgerCounts, RatingError> {
        let suspects = self.suspects().await?;
        let mut counts = match &self.folded {
            Some(folded) => {
                let Control { rows, usage, rejected, gaps, duplicates, conflicts, .. } = *folded.control();
                LedgerCounts { received: rows - gaps, usage, rejected, gaps, duplicates, conflicts }
            }
            None => self.counted_rows().await?,
        };
        if suspects.corrected {
            let second = "SELECT COUNT(*) FROM corrected WHERE turn > 1";
            let [second_corrections] = engine::counts(&self.context, second).await?;
            counts.conflicts += second_corrections;
        }
        if counts.received != counts.usage + counts.rejected {
            return Err(RatingError::Unbalanced {
                whole: "the ledger".to_owned(),
                parts: "usage and rejected",
                sum: format!("{} + {}", counts.usage, counts.rejected),
                expected: format!("the {} that were received", counts.received),
            });
        }
        Ok(counts)
    }

    /// Counts every row by kind, and those that repeat an id.
    async fn counted_rows(&self) -> Result<LedgerCounts, RatingError> {
        let kinds = "COUNT(*) FILTER (WHERE kind <> 'gap'), COUNT(*) FILTER (WHERE kind = 'usage'), COUNT(*) FILTER (WHERE kind = 'rejected'), COUNT(*) FILTER (WHERE kind = 'gap')";
        let [received, usage, rejected, gaps] =
            engine::counts(&self.context, &format!("SELECT {kinds} FROM narrow")).await?;
        let repeats = "COUNT(*) FILTER (WHERE content_digest = first_digest), COUNT(*) FILTER (WHERE content_digest <> first_digest)";
        let [duplicates, conflicts] =
            engine::counts(&self.context, &format!("SELECT {repeats} FROM ranked WHERE nth > 1")).await?;
        Ok(LedgerCounts { received, usage, rejected, gaps, duplicates, conflicts })
    }

    /// Rows of a stream at offsets from `from` on, those of gaps included.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn rows_from(&self, stream: &Stream, from: NextOffset) -> Result<u64, RatingError> {
        self.ledger().await?;
        let (origin, partition) = (literal(&stream.origin.to_string()), stream.partition);
        let sql = format!(
            r#"SELECT COUNT(*) FROM ledger WHERE origin = {origin} AND "partition" = {partition} AND "offset" >= {from}"#
        );
        let [rows] = engine::counts(&self.context, &sql).await?;
        Ok(rows)
    }

    /// The months that have usage before an instant, in UTC or in any other zone, counted or not.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub(crate) async fn months_of_use(&self, before: Instant) -> Result<BTreeSet<BillingMonth>, RatingError> {
        self.ledger().await?;
        const DAY: i64 = Day::MICROS;
        // Days are cut with a remainder, because SQL never divides here.
        let sql = format!(
            r#"SELECT DISTINCT micros - (micros % {DAY} + {DAY}) % {DAY} AS day
FROM (SELECT CAST("time" AS BIGINT) AS micros FROM ledger WHERE kind = 'usage') WHERE micros < {}"#,
            before.micros()
        );
        let mut months = BTreeSet::new();
        for batch in self.context.sql(&sql).await?.collect().await? {
            for day in batch.column(0).as_primitive::<Int64Type>().iter().flatten() {
                let day = Instant::from_micros(day).map_err(RatingError::stored("time"))?;
                // Those of its hours are between those of its first instant.
                let (first, last) = BillingMonth::anywhere(day);
                months.extend([first, last]);
            }
        }
        Ok(months)
    }
}
