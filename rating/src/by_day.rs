//! The days on which charges used something, for exports that are split by them.
//!
//! What is not metered, or does not add up, has no days and is deliberately left out.
//!
//! Invariant: what a charge used is spread over its days as the values that make it up are.

use crate::catalog::{Catalog, Counts, Provider};
use crate::error::RatingError;
use crate::exact::{Exact, exact};
use crate::focus::Days;
use crate::meter::{Aggregation, Rules};
use crate::run::{ChargeId, CostLine, Periods, PoolKey, Pools, Resolved, Resolver, with_pools};
use crate::usage::CountedRows;
use num_traits::Zero as _;
use schemas::id::{CustomerId, Subject};
use schemas::time::{BillingMonth, Day};
use std::collections::BTreeMap;

/// The charges of one pool, by who used.
type Charges<'l> = BTreeMap<(Option<&'l CustomerId>, Option<&'l Subject>), ChargeId>;

/// The quantities of a month's charges by days of UTC, each charge's in a unit of its own.
///
/// # Errors
/// When rows cannot be read.
pub async fn days(
    month: BillingMonth,
    cost_lines: &[CostLine],
    usage: &CountedRows,
    catalog: &Catalog,
) -> Result<Days, RatingError> {
    let catalog = &summed(catalog);
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
    let mut days = of_totals(&charges, &periods, usage, catalog).await?;
    if charges.keys().any(|pool| is_sampled(&catalog.providers[&pool.provider], pool.sku)) {
        for (day, periods) in periods.by_day() {
            let mut add = |pools: &Pools<'_>| {
                for (pool, used) in pools {
                    let charges = charges.get(pool);
                    let Some(charges) =
                        charges.filter(|_| is_sampled(&catalog.providers[&pool.provider], pool.sku))
                    else {
                        continue;
                    };
                    for own in used.own().iter() {
                        if let Some(charge) = charges.get(&(own.customer.as_ref(), Some(&own.subject))) {
                            let days = days.entry(*charge).or_default();
                            *days.entry(day).or_insert_with(Exact::zero) += &own.quantity;
                        }
                    }
                }
            };
            with_pools(usage, catalog, &periods, is_sampled, &mut add).await?;
        }
    }
    Ok(days)
}

/// What does not need the samples of a series.
async fn of_totals(
    charges: &BTreeMap<PoolKey, Charges<'_>>,
    periods: &Periods,
    usage: &CountedRows,
    catalog: &Catalog,
) -> Result<Days, RatingError> {
    let rows = usage.attributed(catalog, periods.cuts_by_day(catalog)).await?;
    let prices = Resolver::new(catalog, periods);
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

/// The catalog with the meters that add up over days as sums: neither windows nor the seconds of a rate
/// change what part of the usage a day has.
fn summed(catalog: &Catalog) -> Catalog {
    let mut catalog = catalog.clone();
    let sum = |rules: &mut Rules| {
        if let Some(sum) = rules.summed() {
            *rules = sum;
        }
    };
    catalog.meters.values_mut().for_each(|meter| sum(&mut meter.rules));
    for sku in catalog.providers.values_mut().flat_map(|provider| &mut provider.skus) {
        if let Counts::Usage(metered) = &mut sku.counts {
            sum(&mut metered.rules);
        }
    }
    catalog
}

/// Whether a SKU's usage is gathered from samples, and adds up over days.
fn is_sampled(provider: &Provider, sku: usize) -> bool {
    let metered = provider.skus[sku].metered();
    metered.is_some_and(|metered| !metered.rules.is_additive() && metered.rules.summed().is_some())
}
