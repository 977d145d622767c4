//! A rating run: pinned inputs, cost lines, charges, statement lines and what could not be rated.
//!
//! The run is computed whole, checked whole, and only then handed out. It deliberately does not
//! read invoices or close periods.
//!
//! Invariants, checked for every cost line before the run exists (`RatingError::Broken` otherwise):
//! - Σ charges and retained = the cost line's amount, to 10^-18.
//! - Σ statement lines = the cost line's settled money, to the minor unit.

// Modules in reading order.
mod pins; // what a run depends on
mod resolve; // which SKU, whose bill, at which price
mod line; // a cost line, its charges and statement lines
mod check; // what goes in comes out

pub(crate) use check::decimal;
pub use line::{Charge, CostLine, CostLineKey, StatementLine};
pub use pins::{ENGINE_VERSION, Pins};
pub use resolve::{Unrated, UnratedKey, UnratedReason};

use crate::allocation::SubjectUsage;
use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::usage::{CountedRows, LedgerCounts};
use line::LineMaker;
use resolve::{Periods, PoolKey, Resolved, resolve};
use schemas::decimal::QuantityTotal;
use schemas::id::CustomerId;
use std::collections::BTreeMap;
use std::path::Path;

/// A finished, checked run.
#[derive(Debug, Clone)]
pub struct Run {
    pub pins: Pins,
    pub counts: LedgerCounts,
    /// In order of provider, SKU as the price list has them, sub account and price.
    pub cost_lines: Vec<CostLine>,
    pub unrated: Vec<Unrated>,
}

/// Rates a month. `inputs` is a folder for what the plan scans beside the ledger.
///
/// # Errors
/// When rows cannot be read, a number does not fit, or an invariant does not hold. There is no
/// partial run.
pub async fn rate(
    pins: Pins,
    usage: &CountedRows,
    catalog: &Catalog,
    inputs: &Path,
) -> Result<Run, RatingError> {
    let periods = Periods::of(pins.month, catalog)?;
    let counts = usage.counts().await?;
    let totals = usage.totals(catalog, &periods.cuts(catalog), inputs).await?;
    let mut unrated: BTreeMap<UnratedKey, (QuantityTotal, u64)> = BTreeMap::new();
    let mut pools: BTreeMap<PoolKey, Vec<SubjectUsage>> = BTreeMap::new();
    for total in totals {
        match resolve(&total, catalog, &periods) {
            Resolved::OutsideThePeriod => {}
            Resolved::Unrated(key) => {
                let (quantity, events) = unrated.entry(key).or_insert((QuantityTotal::ZERO, 0));
                *quantity = quantity
                    .checked_add(total.quantity)
                    .map_err(|error| RatingError::broken(format!("unrated usage: {error}")))?;
                *events += total.events;
            }
            Resolved::Rated(key) => {
                pools.entry(key).or_default().push(SubjectUsage {
                    customer: total.customer,
                    subject: total.subject,
                    quantity: total.quantity,
                });
            }
        }
    }
    let mut cost_lines = Vec::new();
    for provider in catalog.providers.values() {
        let period = periods.of_provider(&provider.id);
        let bound = catalog.customers_bound_in(period);
        for (sku_index, sku) in provider.skus.iter().enumerate() {
            let line = LineMaker { catalog, provider, sku, period, bound: &bound };
            match &sku.metered {
                None => {
                    for price in &sku.prices {
                        if let Some(line) = line.flat(price)? {
                            cost_lines.push(line);
                        }
                    }
                }
                Some(metered) => {
                    let first = PoolKey {
                        provider: provider.id.clone(),
                        sku: sku_index,
                        sub_account: None,
                        price: 0,
                    };
                    let pools = pools
                        .range(first..)
                        .take_while(|(key, _)| key.provider == provider.id && key.sku == sku_index);
                    let mut by_account: BTreeMap<&Option<CustomerId>, Vec<(usize, &Vec<SubjectUsage>)>> =
                        BTreeMap::new();
                    for (key, usage) in pools {
                        by_account.entry(&key.sub_account).or_default().push((key.price, usage));
                    }
                    for (sub_account, prices) in by_account {
                        cost_lines.append(&mut line.metered(metered, sub_account.as_ref(), &prices)?);
                    }
                }
            }
        }
    }
    let unrated =
        unrated.into_iter().map(|(key, (quantity, events))| Unrated { key, quantity, events }).collect();
    let run = Run { pins, counts, cost_lines, unrated };
    check::check(&run.cost_lines)?;
    Ok(run)
}
