//! From a charge back to what it is made of: cost line, arithmetic, price, allocation key, events.
//!
//! Nothing is stored for this. The run is rated again from its pins, which gives the same bytes,
//! and the charge's events are read from the same rows as the totals and resolved by the same
//! function, so that an explanation cannot differ from the charge.
//!
//! Invariant: the events of a charge that follows usage add up to what was charged.

use crate::catalog::{Catalog, Meter, Sku};
use crate::error::RatingError;
use crate::run::{Charge, CostLine, Periods, Resolved, Resolver, Run};
use crate::usage::{CountedRows, EventRow, UsageKey};
use schemas::decimal::QuantityTotal;

/// Everything behind one charge.
#[derive(Debug)]
pub struct Explanation<'a> {
    pub line: &'a CostLine,
    pub charge: &'a Charge,
    pub sku: &'a Sku,
    /// The meter that the SKU counts by; `None` where it is billed without usage.
    pub meter: Option<&'a Meter>,
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
        .filter(|(_, charge)| !charge_id.is_empty() && charge.id.begins_with(charge_id));
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

/// Gathers what is behind a charge of a run.
///
/// # Errors
/// When rows cannot be read, or the events do not add up to what was charged.
pub async fn explain<'a>(
    run: &Run,
    (line, charge): (&'a CostLine, &'a Charge),
    usage: &CountedRows,
    catalog: &'a Catalog,
) -> Result<Explanation<'a>, RatingError> {
    let gone = || RatingError::Damaged(format!("the price of cost line {} is gone", line.id));
    let pool = line.key.pool(catalog).ok_or_else(gone)?;
    let sku = &catalog.providers.get(&pool.provider).ok_or_else(gone)?.skus[pool.sku];
    let follows_usage = charge.metered_quantity().is_some();
    let mut events = Vec::new();
    if let Some(metered) = &sku.metered {
        let periods = Periods::of(run.pins.month, catalog)?;
        let prices = Resolver::new(catalog, &periods);
        let is_behind = |key: &UsageKey| {
            matches!(prices.resolve(key), Resolved::Rated(found) if found == pool)
                && (!follows_usage || key.customer == charge.customer)
        };
        let rows = usage.attributed(catalog, periods.cuts(catalog)).await?;
        events = rows.events(&metered.meter, charge.subject.as_ref(), is_behind).await?;
    }
    let mut events_total = QuantityTotal::ZERO;
    for event in &events {
        events_total = events_total
            .checked_add(event.quantity)
            .map_err(RatingError::overflow(format!("the sum of the events of charge {}", charge.id)))?;
    }
    if let Some(charged) = charge.metered_quantity()
        && charged != events_total
    {
        return Err(RatingError::Unbalanced {
            whole: format!("charge {}", charge.id),
            parts: "its events",
            sum: events_total.to_string(),
            expected: format!("the {charged} that was charged"),
        });
    }
    let meter = sku.metered.as_ref().and_then(|metered| catalog.meters.get(&metered.meter));
    Ok(Explanation { line, charge, sku, meter, events, events_total })
}
