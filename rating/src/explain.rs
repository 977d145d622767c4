//! From a charge back to what it is made of: cost line, arithmetic, price, allocation key, events.
//!
//! Nothing is stored for this. The run is rated again from its pins, which gives the same bytes,
//! and the charge's events are looked up in the same pinned rows.

use crate::catalog::{Catalog, Sku};
use crate::error::RatingError;
use crate::run::{Charge, CostLine, Run};
use crate::usage::{CountedRows, EventRow};
use schemas::decimal::QuantityTotal;

/// Everything behind one charge.
#[derive(Debug)]
pub struct Explanation<'a> {
    pub line: &'a CostLine,
    pub charge: &'a Charge,
    pub sku: &'a Sku,
    /// The events whose quantities make up the charge, in ledger order; of a charge that does not
    /// follow usage, those of the cost line.
    pub events: Vec<EventRow>,
    /// Σ of their quantities, in the meter's unit.
    pub events_total: QuantityTotal,
}

/// Finds a charge of a run by its id or an unambiguous beginning of it.
///
/// # Errors
/// A sentence that says whether there is none or more than one.
pub fn find<'a>(run: &'a Run, charge_id: &str) -> Result<(&'a CostLine, &'a Charge), String> {
    let mut found = run
        .cost_lines
        .iter()
        .flat_map(|line| line.charges.iter().map(move |charge| (line, charge)))
        .filter(|(_, charge)| !charge_id.is_empty() && charge.id.starts_with(charge_id));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(format!(
            "run {} has no charge {charge_id:?}; the ids are in charges.parquet, column charge_id",
            run.pins.run_id()
        )),
        (Some(_), Some(_)) => Err(format!(
            "more than one charge of run {} begins with {charge_id:?}; give more of the id",
            run.pins.run_id()
        )),
    }
}

/// Gathers what is behind a charge.
///
/// # Errors
/// When rows cannot be read, or the events do not add up to what was charged.
pub async fn explain<'a>(
    line: &'a CostLine,
    charge: &'a Charge,
    usage: &CountedRows,
    catalog: &'a Catalog,
) -> Result<Explanation<'a>, RatingError> {
    let provider = catalog
        .providers
        .get(&line.key.provider)
        .ok_or_else(|| RatingError::broken(format!("provider {} is gone", line.key.provider)))?;
    let sku = provider
        .sku(&line.key.sku)
        .ok_or_else(|| RatingError::broken(format!("SKU {} is gone", line.key.sku)))?;
    let mut events = Vec::new();
    if let Some(metered) = &sku.metered {
        let follows_usage = charge.metered_quantity.is_some();
        for event in
            usage.events(catalog, &metered.meter, line.key.charge_period, charge.subject.as_ref()).await?
        {
            let billed_by = catalog
                .providers
                .values()
                .filter(|candidate| event.provider.as_ref().is_none_or(|named| *named == candidate.id));
            let taken_by = billed_by.filter_map(|candidate| {
                Some((
                    &candidate.id,
                    candidate
                        .sku_for(&metered.meter, |name| event.dimensions.get(name).map(String::as_str))?,
                ))
            });
            let of_this_sku =
                taken_by.map(|(provider, sku)| (provider, &sku.id)).eq([(&provider.id, &sku.id)]);
            if of_this_sku && (!follows_usage || event.customer == charge.customer) {
                events.push(event);
            }
        }
    }
    let mut events_total = QuantityTotal::ZERO;
    for event in &events {
        events_total = events_total
            .checked_add(event.quantity)
            .map_err(|error| RatingError::broken(error.to_string()))?;
    }
    if charge.metered_quantity.is_some_and(|charged| charged != events_total) {
        return Err(RatingError::broken(format!(
            "charge {}: its events add up to {events_total}, which is not what was charged",
            charge.id
        )));
    }
    Ok(Explanation { line, charge, sku, events, events_total })
}
