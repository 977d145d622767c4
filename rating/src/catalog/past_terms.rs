//! What has been in force beside prices: rates, grants, partners that bill, and the rules of meters.
//!
//! What they come to is deliberately not computed: whoever takes one back has to say why.
//!
//! Invariant: of the months that have begun, everything that both versions bill by is the same, or is
//! named.

use super::contents::{Catalog, Meter};
use super::problem::Findings;
use super::spans::Spans;
use crate::statement::Grant;
use schemas::time::{BillingMonth, Instant};
use std::collections::BTreeSet;

const CUSTOMERS: &str = "customers.toml";
const GRANTS: &str = "grants.toml";
const METERS: &str = "meters.toml";
const RATES: &str = "fx.csv";
const KEEP: &str = "restore it: what was in force until now cannot change";

/// Names what is taken back, and adds where a meter counts otherwise.
pub(super) fn compare_terms(
    previous: &Catalog,
    new: &Catalog,
    now: Instant,
    findings: &Findings,
    differing: &mut Spans,
) {
    let (_, last) = BillingMonth::anywhere(now);
    let skus = previous.providers.values().flat_map(|provider| &provider.skus);
    let was_in_force = skus.flat_map(|sku| &sku.prices).any(|price| price.from < now);
    if was_in_force {
        rates(previous, new, last, findings);
        grants(previous, new, last, findings);
        partners(previous, new, findings);
    }
    meters(previous, new, now, findings, differing);
}

fn rates(previous: &Catalog, new: &Catalog, last: BillingMonth, findings: &Findings) {
    let problem = |message: String| findings.problem(RATES, None, message, KEEP);
    let (before, after) = match (&previous.rates, &new.rates) {
        (None, None) => return,
        (None, Some(_)) if converts(previous) => {
            return problem("what was billed until now was not converted, and would be".to_owned());
        }
        (Some(_), None) if converts(previous) => {
            return problem(
                "the file is gone, and what was billed until now would not be converted".to_owned(),
            );
        }
        (None, _) | (_, None) => return,
        (Some(before), Some(after)) => (before, after),
    };
    for (pair, rate) in before.iter().filter(|(pair, _)| pair.month <= last) {
        match after.get(pair) {
            Some(other) if other == rate => {}
            Some(other) if other.value != rate.value => {
                problem(format!("the rate of {pair} was {} and is now {}", rate.value, other.value));
            }
            Some(other) => {
                problem(format!(
                    "the source of the rate of {pair} was {:?} and is now {:?}",
                    rate.source, other.source
                ));
            }
            None => problem(format!("the rate of {pair} is gone")),
        }
    }
    for customer in previous.customers.values() {
        let Some(other) = new.customers.get(&customer.id).filter(|other| other.currency != customer.currency)
        else {
            continue;
        };
        let message = format!(
            "the currency of the customer {}, in which it is billed, was {} and is now {}",
            customer.id, customer.currency, other.currency
        );
        findings.problem(CUSTOMERS, None, message, KEEP);
    }
}

/// Whether anybody may be billed in another currency than a provider's.
fn converts(catalog: &Catalog) -> bool {
    let own: BTreeSet<_> = catalog.providers.values().map(|provider| provider.currency).collect();
    let billed: BTreeSet<_> = catalog.customers.values().map(|customer| customer.currency).collect();
    own.iter().any(|currency| billed.iter().any(|other| other != currency))
}

fn grants(previous: &Catalog, new: &Catalog, last: BillingMonth, findings: &Findings) {
    let problem = |message: String| findings.problem(GRANTS, None, message, KEEP);
    let begun = |catalog: &Catalog| -> Vec<Grant> {
        catalog.grants.iter().filter(|grant| grant.from <= last).cloned().collect()
    };
    let (before, after) = (begun(previous), begun(new));
    for grant in &before {
        let Some(other) = new.grants.iter().find(|other| other.id == grant.id) else {
            problem(format!("the grant {} has begun and is gone", grant.id));
            continue;
        };
        // It may end sooner or later, as long as that is a month that has not begun.
        let to_come = |until: Option<BillingMonth>| until.filter(|until| *until <= last);
        let changes = [
            ("customer", grant.customer != other.customer),
            ("funder", grant.funder != other.funder),
            ("currency", grant.currency != other.currency),
            ("share", grant.share != other.share),
            ("amount", grant.amount != other.amount),
            ("from", grant.from != other.from),
            ("until", to_come(grant.until) != to_come(other.until)),
            ("of", grant.of != other.of),
            ("except", grant.except != other.except),
        ];
        for (what, _) in changes.into_iter().filter(|(_, changed)| *changed) {
            problem(format!("`{what}` of the grant {}, which has begun, has changed", grant.id));
        }
    }
    for grant in after.iter().filter(|grant| !before.iter().any(|other| other.id == grant.id)) {
        problem(format!(
            "the grant {} is new, and is for months from {} on that have begun; let it begin later",
            grant.id, grant.from
        ));
    }
    let ids = |grants: &[Grant], others: &[Grant]| -> Vec<String> {
        let kept = grants.iter().filter(|grant| others.iter().any(|other| other.id == grant.id));
        kept.map(|grant| grant.id.to_string()).collect()
    };
    if ids(&before, &after) != ids(&after, &before) {
        problem("grants that have begun stand in another order, in which they pay".to_owned());
    }
}

fn partners(previous: &Catalog, new: &Catalog, findings: &Findings) {
    for customer in previous.customers.values() {
        let Some(other) = new.customers.get(&customer.id).filter(|other| other.bills_to != customer.bills_to)
        else {
            continue;
        };
        let name =
            |partner: &Option<_>| partner.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        let message = format!(
            "`bills_to` of the customer {} was {} and is now {}",
            customer.id,
            name(&customer.bills_to),
            name(&other.bills_to)
        );
        findings.problem(CUSTOMERS, None, message, KEEP);
    }
}

fn meters(previous: &Catalog, new: &Catalog, now: Instant, findings: &Findings, differing: &mut Spans) {
    let changed = |meter: &&Meter| {
        new.meters.get(&meter.meter).is_some_and(|other| {
            other.rules != meter.rules || other.events != meter.events || other.unit != meter.unit
        })
    };
    for meter in previous.meters.values().filter(changed) {
        let mut was_in_force = false;
        for sku in previous.providers.values().flat_map(|provider| &provider.skus) {
            let counts = sku.counts_by(&meter.meter);
            let shares = previous.key_of(sku).is_some_and(|key| key.meter == meter.meter);
            if let Some(life) = sku.life().filter(|_| counts || shares) {
                differing.add(Some(life.from), life.until);
                was_in_force |= life.from < now;
            }
        }
        if was_in_force {
            let message = format!("the meter {}, by which was billed, counts otherwise", meter.meter);
            findings.problem(METERS, None, message, KEEP);
        }
    }
}
