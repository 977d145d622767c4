//! The events behind a charge, one by one.
//!
//! They are read from the same rows as the totals, and whether one belongs to a charge is
//! deliberately the caller's to say.
//!
//! Invariant: events are in ledger order.

use super::attributed::{AttributedRows, UsageKey};
use super::counted::PLACE;
use super::text::literal;
use crate::error::RatingError;
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use futures::StreamExt as _;
use schemas::decimal::QuantityTotal;
use schemas::id::{MeterType, Subject};
use schemas::time::Instant;

/// One event behind a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub key: UsageKey,
    /// `file:line`, or `topic/partition@offset`.
    pub place: String,
    pub source: String,
    pub id: String,
    pub time: Instant,
    /// In the meter's unit.
    pub quantity: QuantityTotal,
}

impl AttributedRows<'_> {
    /// The events of one meter and, where given, of one subject, that `wanted` takes by their key.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn events(
        &self,
        meter: &MeterType,
        subject: Option<&Subject>,
        wanted: impl Fn(&UsageKey) -> bool,
    ) -> Result<Vec<EventRow>, RatingError> {
        let of_subject = subject
            .map(|subject| format!(" AND subject = {}", literal(subject.as_str())))
            .unwrap_or_default();
        let select = format!(
            "SELECT {PLACE} AS place, source, id, micros, value, {key}
FROM attributed WHERE meter = {meter}{of_subject} ORDER BY {order}",
            key = self.key_columns(),
            meter = literal(meter.as_str()),
            order = self.order(),
        );
        let mut stream = self.query(&select).await?;
        let mut events = Vec::new();
        while let Some(batch) = stream.next().await {
            self.read_events(&batch?, &wanted, &mut events)?;
        }
        Ok(events)
    }

    fn read_events(
        &self,
        batch: &RecordBatch,
        wanted: impl Fn(&UsageKey) -> bool,
        events: &mut Vec<EventRow>,
    ) -> Result<(), RatingError> {
        let text = |index: usize, row: usize| batch.column(index).as_string::<i32>().value(row).to_owned();
        let micros = batch.column(3).as_primitive::<Int64Type>();
        let quantities = batch.column(4).as_primitive::<Decimal128Type>();
        for row in 0..batch.num_rows() {
            let key = self.key(batch, 5, row)?;
            if !wanted(&key) {
                continue;
            }
            events.push(EventRow {
                key,
                place: text(0, row),
                source: text(1, row),
                id: text(2, row),
                time: Instant::from_micros(micros.value(row)).map_err(RatingError::stored("time"))?,
                quantity: QuantityTotal::from_units(quantities.value(row))
                    .map_err(RatingError::stored("quantity"))?,
            });
        }
        Ok(())
    }
}
