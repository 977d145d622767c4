//! The largest event behind a number.
//!
//! It is read from the same rows as the totals, and whether one belongs to the number is deliberately
//! the caller's to say.
//!
//! Invariant: of several that are as large, it is the first in ledger order.

use super::attributed::{AttributedRows, UsageKey};
use super::reported::{ReportedEvent, RowPlace};
use super::text::literal;
use crate::error::RatingError;
use arrow::array::AsArray as _;
use arrow::datatypes::Decimal128Type;
use futures::StreamExt as _;
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, MeterType};

/// The event that says most.
#[derive(Debug)]
pub(crate) struct LargestEvent {
    pub customer: Option<CustomerId>,
    pub quantity: QuantityTotal,
    pub at: RowPlace,
    pub event: ReportedEvent,
}

impl AttributedRows<'_> {
    /// The largest event of one meter among those that `wanted` takes; of several that are equal, any
    /// first one in ledger order. Takes no memory by the number of events.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn largest(
        &self,
        meter: &MeterType,
        wanted: impl Fn(&UsageKey) -> bool,
    ) -> Result<Option<LargestEvent>, RatingError> {
        let select = format!(
            "SELECT value AS quantity, {place}, {event}, {key} FROM attributed WHERE meter = {meter}",
            place = RowPlace::columns(self.order()),
            event = ReportedEvent::COLUMNS,
            key = self.key_columns(),
            meter = literal(meter.as_str()),
        );
        let key_at = 1 + RowPlace::COLUMNS + ReportedEvent::COUNT;
        let mut stream = self.query(self.cuts.whole(), &select).await?;
        let mut largest: Option<LargestEvent> = None;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let quantities = batch.column(0).as_primitive::<Decimal128Type>();
            for row in 0..batch.num_rows() {
                let quantity = QuantityTotal::from_units(quantities.value(row))
                    .map_err(RatingError::stored("quantity"))?;
                if largest.as_ref().is_some_and(|largest| largest.quantity > quantity) {
                    continue;
                }
                let key = self.key(&batch, key_at, row)?;
                if !wanted(&key) {
                    continue;
                }
                let at = RowPlace::read(&batch, 1, row)?;
                let before = |known: &LargestEvent| {
                    let place = |at: &RowPlace| (at.shard, at.batch, at.row);
                    known.quantity == quantity && place(&known.at) < place(&at)
                };
                if !largest.as_ref().is_some_and(before) {
                    let event = ReportedEvent::read(&batch, 1 + RowPlace::COLUMNS, row)?;
                    largest = Some(LargestEvent { customer: key.customer, quantity, at, event });
                }
            }
        }
        Ok(largest)
    }
}
