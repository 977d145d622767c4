//! The events behind the charges of a statement: how many, what they come to, and the first of each.
//!
//! Only charges that follow usage by the meter of their price have events of their own; of a share that
//! somebody bears whatever was used, and of one by another meter, nothing is deliberately said here, since
//! the events behind the whole cost line are those of others.
//!
//! Invariant: the events of a charge are its customer's, and those of one whose meter adds up come to what
//! was charged.

use crate::allocation::Rule;
use crate::catalog::{Catalog, Meter, Sku};
use crate::error::RatingError;
use crate::explain::{adds_up, events_add_up, found, listed};
use crate::run::{Charge, ChargeId, CostLine, Periods, Resolved, Resolver};
use crate::usage::{CountedRows, EventRow, LookedFor, UsageKey};
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, MeterType, ProviderId, Subject};
use schemas::time::BillingMonth;
use std::collections::{BTreeMap, BTreeSet};

/// The events behind one charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub events: u64,
    /// Σ of their values, in the unit of the meter.
    pub total: QuantityTotal,
    pub unit: Box<str>,
    /// The first of them, in ledger order.
    pub first: Vec<EventRow>,
}

/// Cost lines, and of each the charges that are asked about.
pub type Asked<'r> = [(&'r CostLine, Vec<&'r Charge>)];

/// How many events are listed.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Of each charge.
    pub events: usize,
    /// Of how many charges, in the order in which they are asked about; of the others events are counted.
    pub charges: usize,
}

/// Whose usage it is: the customer, and the subject where charges have one.
type Whose<'u> = (Option<&'u CustomerId>, Option<&'u Subject>);

/// The charges of one cost line.
struct OfLine<'r> {
    line: &'r CostLine,
    sku: &'r Sku,
    charges: Vec<&'r Charge>,
}

/// Finds the events of charges. `usage` are the rows that the month was rated with.
///
/// # Errors
/// When rows cannot be read, or the events do not add up to what was charged.
pub async fn evidence(
    asked: &Asked<'_>,
    month: BillingMonth,
    usage: &CountedRows,
    catalog: &Catalog,
    most: Most,
) -> Result<BTreeMap<ChargeId, Evidence>, RatingError> {
    let periods = Periods::of(month, catalog)?;
    let mut by_meter: BTreeMap<(&ProviderId, &MeterType), Vec<OfLine<'_>>> = BTreeMap::new();
    for (line, charges) in asked {
        let provider = catalog.providers.get(&line.key.provider);
        let Some((provider, sku)) = provider.and_then(|known| Some((known, known.sku(&line.key.sku)?)))
        else {
            continue;
        };
        let Some(metered) = sku.metered().filter(|_| !matches!(sku.allocation, Rule::ByMeter { .. })) else {
            continue;
        };
        let charges = charges.iter().copied().filter(|charge| charge.because.used().is_some()).collect();
        by_meter.entry((&provider.id, &metered.events)).or_default().push(OfLine { line, sku, charges });
    }
    let mut all = BTreeMap::new();
    let mut listed_charges = 0;
    for ((provider, events), lines) in by_meter {
        let Some(cuts) = periods.cuts_of(catalog, provider, events) else { continue };
        let rows = usage.attributed(catalog, cuts).await?.of_meter(events);
        let totals = rows.totals().await?;
        let prices = Resolver::new(catalog, &periods);
        for OfLine { line, sku, charges } in lines {
            let gone = || RatingError::Damaged(format!("the price of cost line {} is gone", line.id));
            let pool = line.key.pool(catalog).ok_or_else(gone)?;
            let takes = |key: &UsageKey| matches!(prices.resolve(key), Resolved::Rated(found) if found.contains(&pool));
            let mut sums: BTreeMap<Whose<'_>, (u64, QuantityTotal)> = BTreeMap::new();
            for total in totals.iter().filter(|total| takes(&total.key)) {
                for subject in [Some(&total.key.subject), None] {
                    let (events, sum) = sums
                        .entry((total.key.customer.as_ref(), subject))
                        .or_insert((0, QuantityTotal::ZERO));
                    let too_large = RatingError::overflow(format!("the events of cost line {}", line.id));
                    *sum = sum.checked_add(total.quantity).map_err(too_large)?;
                    *events += total.events;
                }
            }
            let unit = sku.metered().and_then(|metered| catalog.meters.get(&metered.meter)).map(unit_of);
            let mut wanted: BTreeMap<Whose<'_>, ChargeId> = BTreeMap::new();
            let mut counts: BTreeMap<ChargeId, usize> = BTreeMap::new();
            for charge in &charges {
                let whose = whose(charge);
                let (events, total) = sums.get(&whose).copied().unwrap_or((0, QuantityTotal::ZERO));
                if events_add_up(sku) {
                    adds_up(charge, total)?;
                }
                if listed_charges < most.charges && events > 0 {
                    listed_charges += 1;
                    wanted.insert(whose, charge.id);
                    counts.insert(charge.id, listed(events, most.events));
                }
                let unit = unit.unwrap_or_default().into();
                all.insert(charge.id, Evidence { events, total, unit, first: Vec::new() });
            }
            let of_all = charges.iter().any(|charge| charge.subject.is_none());
            let subjects: BTreeSet<&Subject> = match of_all {
                true => BTreeSet::new(),
                false => wanted.keys().filter_map(|(_, subject)| *subject).collect(),
            };
            let looked_for = LookedFor { meter: events, subjects: &subjects, within: line.key.charge_period };
            let kind = |key: &UsageKey| {
                let customer = key.customer.as_ref();
                let of_subject = wanted.get(&(customer, Some(&key.subject)));
                let charge = of_subject.or_else(|| wanted.get(&(customer, None)))?;
                takes(key).then_some(*charge)
            };
            let mut first = rows.first_events(looked_for, counts.clone(), kind).await?;
            for charge in charges {
                if let Some(expected) = counts.get(&charge.id)
                    && let Some(evidence) = all.get_mut(&charge.id)
                {
                    let events = first.remove(&charge.id).unwrap_or_default();
                    evidence.first = found(charge, events, *expected)?;
                }
            }
        }
    }
    Ok(all)
}

fn whose(charge: &Charge) -> Whose<'_> {
    (charge.customer.as_ref(), charge.subject.as_ref())
}

fn unit_of(meter: &Meter) -> &str {
    meter.unit.as_str()
}
