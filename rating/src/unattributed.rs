//! Nobody's usage: the subjects whose cost the operator bears because no binding was in force, the
//! dearest first, with the name that may have been meant.
//!
//! It deliberately changes no charge: what is unattributed is retained, as the run says.
//!
//! Invariant: of each currency, what is listed and what is summed add up to all that is retained as
//! unattributed.

use crate::alike::Names;
use crate::allocation::{Kind, RetainedReason};
use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::run::Run;
use crate::usage::CountedRows;
use schemas::decimal::Amount;
use schemas::id::Subject;
use schemas::money::Currency;
use schemas::time::{BillingMonth, Instant, Period, time_zone};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The unattributed part of a run's cost in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unattributed {
    pub currency: Currency,
    /// Σ amount of the charges that are retained as unattributed.
    pub amount: Amount,
    /// Σ amount of all cost lines.
    pub of: Amount,
    /// The dearest subjects, the dearest first.
    pub listed: Vec<Nobodys>,
    /// How many more subjects there are, and what they cost together.
    pub others: (usize, Amount),
}

/// One subject without a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nobodys {
    /// `None`: a part that no usage stands behind, as of a cost that is shared evenly among nobody.
    pub subject: Option<Subject>,
    pub amount: Amount,
    pub hint: Option<Hint>,
}

/// The likely reason why a subject is nobody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// A subject that is bound has nearly this name.
    Meant(Subject),
    /// It is bound, and not when it was used.
    BoundAtOtherTimes,
}

impl Hint {
    /// For a person.
    pub fn words(&self) -> String {
        match self {
            Self::Meant(subject) => format!("did you mean {subject}?"),
            Self::BoundAtOtherTimes => "it is bound, but not at that time".to_owned(),
        }
    }
}

/// Nobody's usage of a run by currency, where there is any; at most `most` subjects of each.
///
/// # Errors
/// [`RatingError::Overflow`] where a sum does not fit.
pub fn unattributed(run: &Run, catalog: &Catalog, most: usize) -> Result<Vec<Unattributed>, RatingError> {
    let mut by_subject: BTreeMap<Currency, BTreeMap<Option<&Subject>, Amount>> = BTreeMap::new();
    let mut costs: BTreeMap<Currency, Amount> = BTreeMap::new();
    for line in &run.cost_lines {
        add(costs.entry(line.currency).or_insert(Amount::ZERO), line.amount)?;
        for charge in &line.charges {
            if charge.kind == Kind::Retained(RetainedReason::Unattributed) {
                let of_currency = by_subject.entry(line.currency).or_default();
                add(of_currency.entry(charge.subject.as_ref()).or_insert(Amount::ZERO), charge.amount)?;
            }
        }
    }
    let bound = bound_subjects(catalog, !by_subject.is_empty());
    let names = Names::new(bound.iter().map(|subject| subject.as_str()));
    let mut all = Vec::new();
    for (currency, subjects) in by_subject {
        let mut amount = Amount::ZERO;
        let mut dearest: Vec<(Option<&Subject>, Amount)> = subjects.into_iter().collect();
        dearest.sort_by_key(|(subject, amount)| (Reverse(amount.units().unsigned_abs()), *subject));
        // Usage that costs nothing is nobody's loss.
        if dearest.first().is_none_or(|(_, cost)| cost.is_zero()) {
            continue;
        }
        let mut listed = Vec::new();
        let mut others = (0, Amount::ZERO);
        for (subject, cost) in dearest {
            add(&mut amount, cost)?;
            if listed.len() < most {
                let hint = subject.and_then(|subject| hint(subject, &bound, &names));
                listed.push(Nobodys { subject: subject.cloned(), amount: cost, hint });
            } else {
                others.0 += 1;
                add(&mut others.1, cost)?;
            }
        }
        let of = costs.get(&currency).copied().unwrap_or(Amount::ZERO);
        all.push(Unattributed { currency, amount, of, listed, others });
    }
    Ok(all)
}

fn add(sum: &mut Amount, amount: Amount) -> Result<(), RatingError> {
    *sum = sum.checked_add(amount).map_err(RatingError::overflow("the cost of nobody's usage"))?;
    Ok(())
}

/// The subjects with a binding at any time; none where nobody asks.
fn bound_subjects(catalog: &Catalog, asked: bool) -> BTreeSet<&Subject> {
    if asked { catalog.bindings.iter().map(|binding| &binding.subject).collect() } else { BTreeSet::new() }
}

fn hint(subject: &Subject, bound: &BTreeSet<&Subject>, names: &Names<'_>) -> Option<Hint> {
    if bound.contains(subject) {
        return Some(Hint::BoundAtOtherTimes);
    }
    let nearest = names.nearest(subject.as_str())?;
    bound.iter().find(|subject| subject.as_str() == nearest).map(|subject| Hint::Meant((*subject).clone()))
}

/// The months in which something was used that no binding covers, each in the zone of some provider
/// or in UTC.
///
/// # Errors
/// When the rows cannot be read.
pub async fn months(usage: &CountedRows, catalog: &Catalog) -> Result<BTreeSet<BillingMonth>, RatingError> {
    let utc = time_zone("UTC").expect("the tz database has UTC");
    let mut zones = BTreeMap::from([("UTC", &utc)]);
    for provider in catalog.providers.values() {
        zones.insert(&provider.time_zone_name, &provider.time_zone);
    }
    // A day in UTC is alike where it is in one month of each zone.
    let alike = |day: Period| {
        let last = Instant::from_micros(day.end().micros() - 1);
        last.is_ok_and(|last| {
            let same =
                |zone| BillingMonth::containing(day.start(), zone) == BillingMonth::containing(last, zone);
            zones.values().all(|zone| same(*zone))
        })
    };
    let instants = usage.unattributed_use(catalog, alike).await?;
    let mut months = BTreeSet::new();
    for zone in zones.values() {
        months.extend(instants.iter().filter_map(|instant| BillingMonth::containing(*instant, zone)));
    }
    Ok(months)
}
