//! Usage totals: what counts, summed. All sums are SQL; no price is known here.
//!
//! Invariant: a total never straddles an instant at which a period or a price begins or ends.

use super::attributed::{AttributedRows, UsageKey};
use crate::error::RatingError;
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use futures::StreamExt as _;
use schemas::decimal::QuantityTotal;

/// The sum of one kind of usage by one subject for one customer within one interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageTotal {
    pub key: UsageKey,
    /// In the meter's unit.
    pub quantity: QuantityTotal,
    pub events: u64,
}

impl AttributedRows<'_> {
    /// Sums what counts by its key, in the order of the keys.
    ///
    /// # Errors
    /// When rows cannot be read, or a sum does not fit.
    pub async fn totals(&self) -> Result<Vec<UsageTotal>, RatingError> {
        let key = self.key_columns();
        let select = format!(
            "SELECT SUM(value) AS quantity, COUNT(*) AS events, {key} FROM attributed GROUP BY {key}"
        );
        let mut stream = self.query(&select).await?;
        let mut totals = Vec::new();
        while let Some(batch) = stream.next().await {
            self.read_totals(&batch?, &mut totals)?;
        }
        totals.sort_by(|a: &UsageTotal, b| a.key.cmp(&b.key));
        Ok(totals)
    }

    fn read_totals(&self, batch: &RecordBatch, totals: &mut Vec<UsageTotal>) -> Result<(), RatingError> {
        let quantities = batch.column(0).as_primitive::<Decimal128Type>();
        let events = batch.column(1).as_primitive::<Int64Type>();
        if *quantities.data_type() != DataType::Decimal128(38, 9) {
            return Err(RatingError::Damaged(format!(
                "a sum of quantities is DECIMAL(38,9), not {}",
                quantities.data_type()
            )));
        }
        for row in 0..batch.num_rows() {
            totals.push(UsageTotal {
                key: self.key(batch, 2, row)?,
                quantity: QuantityTotal::from_units(quantities.value(row))
                    .map_err(RatingError::overflow("a sum of quantities"))?,
                events: u64::try_from(events.value(row)).map_err(RatingError::stored("count"))?,
            });
        }
        Ok(())
    }
}
