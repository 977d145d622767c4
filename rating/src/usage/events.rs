//! The events behind a charge, one by one.
//!
//! They are read from the same rows as the totals.
//!
//! Invariant: events are in ledger order.

use super::counted::{CountedRows, PLACE};
use super::stored::{literal, optional, stored_name};
use crate::catalog::Catalog;
use crate::error::RatingError;
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, MeterType, ProviderId, Subject};
use schemas::time::{Instant, Period};
use std::collections::BTreeMap;

/// One event behind a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// `file:line`, or `topic/partition@offset`.
    pub place: String,
    pub source: String,
    pub id: String,
    pub subject: Subject,
    pub time: Instant,
    pub quantity: QuantityTotal,
    pub dimensions: BTreeMap<String, String>,
    pub provider: Option<ProviderId>,
    pub customer: Option<CustomerId>,
}

impl CountedRows {
    /// The events behind a charge: those that count, of one meter, within a period and, where
    /// given, of one subject. Ordered by their coordinates.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn events(
        &self,
        catalog: &Catalog,
        meter: &MeterType,
        period: Period,
        subject: Option<&Subject>,
    ) -> Result<Vec<EventRow>, RatingError> {
        let subject = subject
            .map(|subject| format!(" AND subject = {}", literal(subject.as_str())))
            .unwrap_or_default();
        let sql = format!(
            r#"WITH {} SELECT {PLACE} AS place, source, id, subject, micros, value, dimensions, provider
FROM effective WHERE "type" = {} AND micros >= {} AND micros < {}{subject} ORDER BY {}"#,
            self.effective(),
            literal(meter.as_str()),
            period.start().micros(),
            period.end().micros(),
            self.order
        );
        let mut rows = Vec::new();
        for batch in self.context.sql(&sql).await?.collect().await? {
            read_events(&batch, catalog, &mut rows)?;
        }
        Ok(rows)
    }
}

fn read_events(batch: &RecordBatch, catalog: &Catalog, rows: &mut Vec<EventRow>) -> Result<(), RatingError> {
    let broken = |error: &dyn std::fmt::Display| RatingError::broken(error.to_string());
    let text = |index: usize| batch.column(index).as_string::<i32>();
    let micros = batch.column(4).as_primitive::<Int64Type>();
    let quantities = batch.column(5).as_primitive::<Decimal128Type>();
    for row in 0..batch.num_rows() {
        let subject = Subject::new(text(3).value(row)).map_err(stored_name)?;
        let time = Instant::from_micros(micros.value(row)).map_err(|error| broken(&error))?;
        rows.push(EventRow {
            place: text(0).value(row).to_owned(),
            source: text(1).value(row).to_owned(),
            id: text(2).value(row).to_owned(),
            customer: catalog.customer_at(&subject, time).cloned(),
            subject,
            time,
            quantity: QuantityTotal::from_units(quantities.value(row)).map_err(|error| broken(&error))?,
            dimensions: serde_json::from_str(text(6).value(row)).map_err(|error| broken(&error))?,
            provider: optional(text(7), row).map(ProviderId::new).transpose().map_err(stored_name)?,
        });
    }
    Ok(())
}
