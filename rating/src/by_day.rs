//! The days on which charges used something, for exports that are split by them.
//!
//! What is not metered, or does not add up, has no days and is deliberately left out.
//!
//! Invariant: the days of a charge add up to what it used.

use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::exact::{Exact, exact};
use crate::focus::Days;
use crate::meter::Aggregation;
use crate::run::{ChargeId, CostLine, Periods, PoolKey, Resolved, Resolver};
use crate::usage::CountedRows;
use num_traits::Zero as _;
use schemas::id::{CustomerId, Subject};
use schemas::time::{BillingMonth, Day};
use std::collections::BTreeMap;

/// The charges of one pool, by who used.
type Charges<'l> = BTreeMap<(Option<&'l CustomerId>, Option<&'l Subject>), ChargeId>;

/// The quantities of a month's charges by days of UTC, in the units of their meters.
///
/// # Errors
/// When rows cannot be read.
pub async fn days(
    month: BillingMonth,
    cost_lines: &[CostLine],
    usage: &CountedRows,
    catalog: &Catalog,
) -> Result<Days, RatingError> {
    let mut charges: BTreeMap<PoolKey, Charges<'_>> = BTreeMap::new();
    for line in cost_lines {
        let Some(pool) = line.key.pool(catalog) else { continue };
        let of = line
            .charges
            .iter()
            .map(|charge| ((charge.customer.as_ref(), charge.subject.as_ref()), charge.id));
        charges.insert(pool, of.collect());
    }
    let periods = Periods::of(month, catalog)?;
    let rows = usage.attributed(catalog, periods.cuts_by_day(catalog)).await?;
    let prices = Resolver::new(catalog, &periods);
    let mut days = Days::new();
    for total in rows.totals().await? {
        let Resolved::Rated(pools) = prices.resolve(&total.key) else { continue };
        for pool in pools {
            let sku = &catalog.providers[&pool.provider].skus[pool.sku];
            let Some(metered) = sku.metered().filter(|metered| metered.rules.is_additive()) else { continue };
            let who = (total.key.customer.as_ref(), Some(&total.key.subject));
            let Some(charge) = charges.get(&pool).and_then(|charges| charges.get(&who)) else { continue };
            let quantity = match metered.rules.values.aggregation() {
                Aggregation::Count => Exact::from_integer(total.events.into()),
                _ => exact(total.quantity),
            };
            let day = Day::of(total.key.interval.start().micros());
            *days.entry(*charge).or_default().entry(day).or_insert_with(Exact::zero) += quantity;
        }
    }
    Ok(days)
}
