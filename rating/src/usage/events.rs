//! The events behind a charge, one by one.
//!
//! They are read from the same rows as the totals, and whether one belongs to a charge is
//! deliberately the caller's to say.
//!
//! Invariant: events are in ledger order.

use super::attributed::{AttributedRows, UsageKey};
use super::counted::PLACE;
use super::reported::{ReportedEvent, RowPlace};
use super::text::literal;
use crate::error::RatingError;
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use futures::StreamExt as _;
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, MeterType, Subject};
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
        let mut stream = self.query(&select).await?;
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
