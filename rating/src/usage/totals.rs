//! Usage totals: what counts, attributed to customers and summed. All sums are SQL; no price is
//! known here.
//!
//! Invariant: a total never straddles an instant at which a period or a price begins or ends.

use super::counted::CountedRows;
use super::engine;
use super::stored::{literal, optional, stored_name};
use crate::catalog::Catalog;
use crate::error::RatingError;
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use futures::StreamExt as _;
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, MeterType, ProviderId, Subject};
use schemas::time::{Instant, Period};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The sum of one kind of usage by one subject for one customer within one interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageTotal {
    pub provider: Option<ProviderId>,
    pub meter: MeterType,
    /// Values of the dimensions that the catalog matches on; a dimension the event lacks has no
    /// entry.
    pub dimensions: BTreeMap<String, String>,
    /// `None`: no binding of the subject contains the event's time.
    pub customer: Option<CustomerId>,
    pub subject: Subject,
    /// The interval between two cuts that holds every event of this total.
    pub interval: Period,
    /// In the meter's unit.
    pub quantity: QuantityTotal,
    pub events: u64,
}

impl CountedRows {
    /// Sums what counts, by provider, meter, matched dimensions, customer, subject and interval
    /// between `cuts`.
    ///
    /// `inputs` is a folder for the binding table, which the plan scans like any other pinned file.
    /// `cuts` are at least two; rows outside the first and last are not read.
    ///
    /// # Errors
    /// When rows cannot be read, or a sum does not fit.
    pub async fn totals(
        &self,
        catalog: &Catalog,
        cuts: &BTreeSet<Instant>,
        inputs: &Path,
    ) -> Result<Vec<UsageTotal>, RatingError> {
        let cuts: Vec<Instant> = cuts.iter().copied().collect();
        let (first, last) = match cuts.as_slice() {
            [first, .., last] => (*first, *last),
            _ => return Err(RatingError::broken("a rating needs at least one interval".to_owned())),
        };
        engine::register_bindings(&self.context, catalog, inputs)?;
        let names = matched_dimensions(catalog);
        let mut projected = String::new();
        let mut grouped = String::new();
        for (index, (name, meters)) in names.iter().enumerate() {
            let meters = meters.iter().map(|meter| literal(meter.as_str())).collect::<Vec<_>>().join(", ");
            projected.push_str(&format!(
                ", CASE WHEN \"type\" IN ({meters}) THEN dimension(dimensions, {}) END AS d{index}",
                literal(name)
            ));
            grouped.push_str(&format!(", d{index}"));
        }
        let sql = format!(
            r#"WITH {effective},
cut AS (
  SELECT source, id, provider, "type" AS meter, subject, micros, value, {slot} AS slot{projected}
  FROM effective WHERE micros >= {first} AND micros < {last}
),
attributed AS (
  SELECT cut.*, bindings.customer AS customer
  FROM bindings RIGHT JOIN cut
    ON cut.subject = bindings.subject AND cut.micros >= bindings.from_micros AND cut.micros < bindings.until_micros
)
SELECT provider, meter, customer, subject, slot, SUM(value) AS quantity, COUNT(*) AS events{grouped}
FROM attributed GROUP BY provider, meter, customer, subject, slot{grouped}"#,
            effective = self.effective(),
            slot = slot_expression(&cuts, 0, cuts.len() - 1),
            first = first.micros(),
            last = last.micros(),
        );
        let mut stream = self.context.sql(&sql).await?.execute_stream().await?;
        let mut totals = Vec::new();
        while let Some(batch) = stream.next().await {
            read_totals(&batch?, &names, &cuts, &mut totals)?;
        }
        totals.sort_by(|a, b| {
            (&a.provider, &a.meter, &a.dimensions, &a.customer, &a.subject, a.interval).cmp(&(
                &b.provider,
                &b.meter,
                &b.dimensions,
                &b.customer,
                &b.subject,
                b.interval,
            ))
        });
        Ok(totals)
    }
}

fn read_totals(
    batch: &RecordBatch,
    names: &BTreeMap<String, BTreeSet<MeterType>>,
    cuts: &[Instant],
    totals: &mut Vec<UsageTotal>,
) -> Result<(), RatingError> {
    let text = |index: usize| batch.column(index).as_string::<i32>();
    let slots = batch.column(4).as_primitive::<Int64Type>();
    let quantities = batch.column(5).as_primitive::<Decimal128Type>();
    let events = batch.column(6).as_primitive::<Int64Type>();
    if *quantities.data_type() != DataType::Decimal128(38, 9) {
        return Err(RatingError::broken(format!(
            "a sum of quantities is DECIMAL(38,9), not {}",
            quantities.data_type()
        )));
    }
    for row in 0..batch.num_rows() {
        let slot =
            usize::try_from(slots.value(row)).map_err(|error| RatingError::broken(error.to_string()))?;
        let dimensions = names
            .keys()
            .enumerate()
            .filter_map(|(index, name)| Some((name.clone(), optional(text(7 + index), row)?.to_owned())))
            .collect();
        totals.push(UsageTotal {
            provider: optional(text(0), row).map(ProviderId::new).transpose().map_err(stored_name)?,
            meter: MeterType::new(text(1).value(row)).map_err(stored_name)?,
            dimensions,
            customer: optional(text(2), row).map(CustomerId::new).transpose().map_err(stored_name)?,
            subject: Subject::new(text(3).value(row)).map_err(stored_name)?,
            interval: Period::new(cuts[slot], cuts[slot + 1]).expect("cuts are distinct and ascending"),
            quantity: QuantityTotal::from_units(quantities.value(row))
                .map_err(|error| RatingError::broken(error.to_string()))?,
            events: u64::try_from(events.value(row))
                .map_err(|error| RatingError::broken(error.to_string()))?,
        });
    }
    Ok(())
}

/// Which interval of `cuts[low..=high]` holds `micros`: a binary search written as SQL.
fn slot_expression(cuts: &[Instant], low: usize, high: usize) -> String {
    if high - low == 1 {
        return format!("CAST({low} AS BIGINT)");
    }
    let middle = low + (high - low) / 2;
    format!(
        "CASE WHEN micros < {} THEN {} ELSE {} END",
        cuts[middle].micros(),
        slot_expression(cuts, low, middle),
        slot_expression(cuts, middle, high)
    )
}

/// Every dimension some SKU matches on, and the meters for which.
fn matched_dimensions(catalog: &Catalog) -> BTreeMap<String, BTreeSet<MeterType>> {
    let mut names: BTreeMap<String, BTreeSet<MeterType>> = BTreeMap::new();
    for metered in
        catalog.providers.values().flat_map(|provider| &provider.skus).filter_map(|sku| sku.metered.as_ref())
    {
        for name in metered.matches.keys() {
            names.entry(name.clone()).or_default().insert(metered.meter.clone());
        }
    }
    names
}
