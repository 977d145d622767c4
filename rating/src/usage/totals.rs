//! Usage totals: what counts, summed. SQL adds up the rows, and what it could not add up because a
//! binding begins between them is added up here; no price is known.
//!
//! Invariant: a total never straddles an instant at which a period or a price begins or ends.

use super::attributed::{AttributedRows, Sums, UsageKey};
use crate::error::RatingError;
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use derived::totals::Sum;
use futures::StreamExt as _;
use schemas::decimal::{DecimalError, QuantityTotal};
use std::collections::BTreeMap;

/// The sum of one kind of usage by one subject for one customer within one interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageTotal {
    pub key: UsageKey,
    /// In the meter's unit.
    pub quantity: QuantityTotal,
    pub events: u64,
}

type Totals = BTreeMap<UsageKey, (QuantityTotal, i64)>;

impl AttributedRows<'_> {
    /// Sums what counts by its key, in the order of the keys.
    ///
    /// # Errors
    /// When rows cannot be read, or a sum does not fit.
    pub async fn totals(&self) -> Result<Vec<UsageTotal>, RatingError> {
        let Sums { mut stream, expected } = self.sums().await?;
        let (mut totals, mut read) = (BTreeMap::new(), BTreeMap::new());
        while let Some(batch) = stream.next().await {
            self.read_sums(&batch?, &mut totals, &mut read)?;
        }
        if let Some(expected) = expected {
            check(&expected, &read)?;
        }
        let mut counted = Vec::with_capacity(totals.len());
        for (key, (quantity, events)) in totals {
            let events = u64::try_from(events).map_err(RatingError::stored("count"))?;
            match (events, quantity.is_zero()) {
                // All of it was corrected away.
                (0, true) => {}
                (0, false) => {
                    let what = format!("no event of {} by {} has a quantity", key.meter, key.subject);
                    return Err(RatingError::Damaged(what));
                }
                _ => counted.push(UsageTotal { key, quantity, events }),
            }
        }
        Ok(counted)
    }

    fn read_sums(
        &self,
        batch: &RecordBatch,
        totals: &mut Totals,
        read: &mut BTreeMap<String, Sum>,
    ) -> Result<(), RatingError> {
        let quantities = batch.column(0).as_primitive::<Decimal128Type>();
        let events = batch.column(1).as_primitive::<Int64Type>();
        if *quantities.data_type() != DataType::Decimal128(38, 9) {
            return Err(RatingError::Damaged(format!(
                "a sum of quantities is DECIMAL(38,9), not {}",
                quantities.data_type()
            )));
        }
        for row in 0..batch.num_rows() {
            let quantity = QuantityTotal::from_units(quantities.value(row)).map_err(too_large())?;
            let events = events.value(row);
            let of_meter = read.entry(self.meter(batch, 2, row).to_owned()).or_default();
            of_meter.add(Sum { events, value: quantity.units() });
            if self.is_beyond(batch, 2, row) {
                continue;
            }
            let total = totals.entry(self.key(batch, 2, row)?).or_insert((QuantityTotal::ZERO, 0));
            total.0 = total.0.checked_add(quantity).map_err(too_large())?;
            total.1 += events;
        }
        Ok(())
    }
}

/// Compares what an engine has read with what there is: one that read a file twice, or not at all,
/// bills nothing.
fn check(expected: &BTreeMap<String, Sum>, read: &BTreeMap<String, Sum>) -> Result<(), RatingError> {
    let there = |sum: &&Sum| **sum != Sum::default();
    for meter in expected.keys().chain(read.keys()) {
        let (expected, read) = (expected.get(meter).filter(there), read.get(meter).filter(there));
        if expected != read {
            let said = |sum: Option<&Sum>| -> Result<Box<str>, RatingError> {
                let Sum { events, value } = sum.copied().unwrap_or_default();
                let quantity = QuantityTotal::from_units(value).map_err(too_large())?;
                Ok(format!("{quantity} in {events} events").into())
            };
            let (read, expected) = (said(read)?, said(expected)?);
            return Err(RatingError::NotAsControlled { meter: meter.clone(), read, expected });
        }
    }
    Ok(())
}

fn too_large() -> impl FnOnce(DecimalError) -> RatingError {
    RatingError::overflow("a sum of quantities")
}
