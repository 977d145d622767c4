//! Usage totals: what counts, summed. Where rows are read SQL adds them up, and what it could not add
//! up because a binding begins between them is added up here; no price is known.
//!
//! Invariant: a total never straddles an instant at which a period or a price begins or ends.

use super::attributed::{AttributedRows, UsageKey};
use crate::error::RatingError;
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use derived::totals::KeyNames;
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
    /// Sums what counts by its key; one key may have several totals.
    ///
    /// # Errors
    /// When rows cannot be read, or a sum does not fit.
    pub async fn totals(&self) -> Result<Vec<UsageTotal>, RatingError> {
        let mut names = KeyNames::default();
        let mut counted = Vec::new();
        if let Some(summing) = self.summed(&mut names).await? {
            summing.finish(&names, |summed| {
                let quantity = QuantityTotal::from_units(summed.sum.value).map_err(too_large())?;
                counted.extend(total(self.key_of(&summed)?, quantity, summed.sum.events)?);
                Ok(())
            })?;
            return Ok(counted);
        }
        let mut stream = self.sums().await?;
        let mut totals = BTreeMap::new();
        while let Some(batch) = stream.next().await {
            self.read_sums(&batch?, &mut totals)?;
        }
        for (key, (quantity, events)) in totals {
            counted.extend(total(key, quantity, events)?);
        }
        Ok(counted)
    }

    fn read_sums(&self, batch: &RecordBatch, totals: &mut Totals) -> Result<(), RatingError> {
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
            if self.is_beyond(batch, 2, row) {
                continue;
            }
            let total = totals.entry(self.key(batch, 2, row)?).or_insert((QuantityTotal::ZERO, 0));
            total.0 = total.0.checked_add(quantity).map_err(too_large())?;
            total.1 += events.value(row);
        }
        Ok(())
    }
}

/// A total, unless all of it was corrected away.
fn total(key: UsageKey, quantity: QuantityTotal, events: i64) -> Result<Option<UsageTotal>, RatingError> {
    let events = u64::try_from(events).map_err(RatingError::stored("count"))?;
    match (events, quantity.is_zero()) {
        (0, true) => Ok(None),
        (0, false) => {
            let what = format!("no event of {} by {} has a quantity", key.events, key.subject);
            Err(RatingError::Damaged(what))
        }
        _ => Ok(Some(UsageTotal { key, quantity, events })),
    }
}

fn too_large() -> impl FnOnce(DecimalError) -> RatingError {
    RatingError::overflow("a sum of quantities")
}
