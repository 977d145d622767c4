//! The published past stays: two versions of a catalog are compared for the time before `now`.
//!
//! What price lists, terms and rules say is compared here, by meaning and not by spelling. Whether
//! anything was used where they differ, and what it comes to, is deliberately left to
//! `crate::changes`, which looks only there. The clock is the caller's.
//!
//! How invoices are read, what their texts mean, who bears what belongs to no SKU, and what FOCUS and
//! a general ledger call things is deliberately not compared, nor are limits. It decides how what has
//! arrived is understood, which a better catalog is to mend, and none of it is the past: a month that
//! is closed keeps what was posted, and later months correct it.
//!
//! Invariant: where the versions are not said to differ, they do the same with every event before
//! `now`, whatever it is, and the same fees fall due.

use super::contents::{Catalog, Counts, CustomerKind, DatedPrice, Kinds, Metered, Of, Provider, Sku};
use super::past_terms::compare_terms;
use super::problem::{Findings, Problem};
use super::spans::Spans;
use crate::allocation::Rule;
use crate::exact::{Exact, exact};
use crate::price::{PriceModel, Recurrence};
use jiff::ToSpan as _;
use jiff::civil::Date;
use num_traits::Zero as _;
use schemas::decimal::Quantity;
use schemas::id::{CustomerId, SkuId, Subject};
use schemas::time::{BillingMonth, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// The differences of two versions before `now`.
#[derive(Debug, Clone)]
pub struct ComparedPast {
    /// Everything that the previous version had in force and the new one takes back, used or not.
    pub problems: Vec<Problem>,
    /// Where the two may do something else with an event, or with a fee.
    pub differing: Spans,
}

/// Compares everything that decides what is billed before `now`: terms, SKUs, prices, allocations,
/// bindings and kinds.
pub fn compare_past(previous: &Catalog, new: &Catalog, now: Instant) -> ComparedPast {
    let mut compared = Compared { now, findings: Findings::default(), differing: Spans::before(now) };
    for before in previous.providers.values() {
        match new.providers.get(&before.id) {
            Some(after) => compared.providers(before, after),
            None => compared.provider_gone(before),
        }
    }
    for after in new.providers.values().filter(|after| !previous.providers.contains_key(&after.id)) {
        for sku in &after.skus {
            compared.differ_while_alive(sku);
        }
    }
    compared.kinds(previous, new);
    compared.bindings(previous, new);
    compare_terms(previous, new, now, &compared.findings, &mut compared.differing);
    let Compared { findings, differing, .. } = compared;
    let mut credits: Vec<&DatedPrice> = [previous, new].into_iter().flat_map(Catalog::once_credits).collect();
    // One that is in force earlier may be what another stands on.
    credits.sort_by_key(|price| price.from);
    let differing =
        credits.into_iter().fold(differing.joined(), |spans, price| spans.go_on(price.from, price.until));
    ComparedPast { problems: findings.into_result().err().unwrap_or_default(), differing }
}

impl Catalog {
    /// The prices of credits that last: where something differs while one is in force, what is left of
    /// it may differ until it ends.
    pub(crate) fn once_credits(&self) -> impl Iterator<Item = &DatedPrice> {
        let skus = self.providers.values().flat_map(|provider| &provider.skus);
        skus.flat_map(|sku| &sku.prices)
            .filter(|price| matches!(price.terms.model, PriceModel::Credit { every: Recurrence::Once, .. }))
    }
}

const KEEP: &str = "restore it: what was in force until now cannot change";

struct Compared {
    now: Instant,
    findings: Findings,
    differing: Spans,
}

impl Compared {
    fn was_in_force(&self, sku: &Sku) -> bool {
        sku.prices.iter().any(|price| price.from < self.now)
    }

    fn differ_while_alive(&mut self, sku: &Sku) {
        if let Some(life) = sku.life() {
            self.differing.add(Some(life.from), life.until);
        }
    }

    fn provider_gone(&mut self, before: &Provider) {
        for sku in &before.skus {
            self.differ_while_alive(sku);
        }
        if before.skus.iter().any(|sku| self.was_in_force(sku)) {
            let message = format!("the provider {} had prices in force and is gone", before.id);
            self.findings.problem(&terms_file(before), None, message, KEEP);
        }
    }

    fn providers(&mut self, before: &Provider, after: &Provider) {
        let zone = !self.same_zone(before, after);
        let changes = [
            (
                "billing account",
                before.billing_account != after.billing_account,
                before.billing_account.as_str(),
                after.billing_account.as_str(),
            ),
            ("currency", before.currency != after.currency, before.currency.code(), after.currency.code()),
            ("time zone", zone, before.time_zone_name.as_str(), after.time_zone_name.as_str()),
            (
                "rounding",
                before.rounding != after.rounding,
                before.rounding.as_str(),
                after.rounding.as_str(),
            ),
            ("rounding of steps", before.steps != after.steps, &steps(before), &steps(after)),
            ("anchor", before.anchor != after.anchor, &before.anchor.to_string(), &after.anchor.to_string()),
        ];
        let was_in_force = before.skus.iter().any(|sku| self.was_in_force(sku));
        for (what, _, from, to) in changes.into_iter().filter(|(_, changed, ..)| *changed) {
            self.differing.add(None, None);
            if was_in_force {
                let message = format!("the {what} of {} was {from} and is now {to}", before.id);
                self.findings.problem(&terms_file(before), None, message, KEEP);
            }
        }
        for sku in &before.skus {
            match after.sku(&sku.id) {
                Some(other) => self.skus([before, after], sku, other, zone),
                None => {
                    self.differ_while_alive(sku);
                    if self.was_in_force(sku) {
                        let message = format!("the SKU {} had a price in force and is gone", sku.id);
                        self.findings.problem(&prices_file(before), None, message, KEEP);
                    }
                }
            }
        }
        for sku in after.skus.iter().filter(|sku| before.sku(&sku.id).is_none()) {
            self.differ_while_alive(sku);
        }
    }

    /// Whether every month that has begun is the same instants in both zones, from the first one
    /// with a price: two names of one zone are no change. The prices' own midnights are compared
    /// with the prices.
    fn same_zone(&self, before: &Provider, after: &Provider) -> bool {
        if before.time_zone_name == after.time_zone_name {
            return true;
        }
        let skus = before.skus.iter().chain(&after.skus);
        let Some(first) = skus.flat_map(|sku| &sku.prices).map(|price| price.from).min() else { return true };
        let periods =
            |month: BillingMonth| (before.billing_period(month).ok(), after.billing_period(month).ok());
        let (_, last) = BillingMonth::anywhere(self.now);
        let mut month = Some(last);
        while let Some(current) = month {
            let (one, other) = periods(current);
            if one != other {
                return false;
            }
            if one.is_none_or(|period| period.end() <= first) {
                break;
            }
            month = current.previous();
        }
        true
    }

    /// `zone`: whether the provider's time zone has changed.
    fn skus(&mut self, providers: [&Provider; 2], before: &Sku, after: &Sku, zone: bool) {
        let mut changes = Vec::new();
        let mut base = Vec::new();
        match (&before.counts, &after.counts) {
            (Counts::Nothing, Counts::Nothing) => {}
            (Counts::Usage(old), Counts::Usage(new)) => changes.extend(changes_of_metered(old, new)),
            (Counts::Lines(old), Counts::Lines(new)) => base = self.changes_of_base(providers, old, new),
            (Counts::Lines(_), _) | (_, Counts::Lines(_)) => changes.push("`of`"),
            (Counts::Usage(_), Counts::Nothing) | (Counts::Nothing, Counts::Usage(_)) => {
                changes.push("meter")
            }
        }
        if !same_rule(&before.allocation, &after.allocation) {
            changes.push("allocation");
        }
        if changes.is_empty() && base.is_empty() {
            self.lives(before, after);
        } else {
            self.differ_while_alive(before);
            self.differ_while_alive(after);
        }
        for (one, other) in [(before, after), (after, before)] {
            for price in &one.prices {
                let same = |other: &DatedPrice| {
                    other.from == price.from
                        && other.terms == price.terms
                        && self.past_end(other) == self.past_end(price)
                };
                if !other.prices.iter().any(same) {
                    self.differing.add(Some(price.from), price.until);
                }
            }
        }
        if !self.was_in_force(before) {
            return;
        }
        let file = prices_file(providers[0]);
        self.base(&file, before, after, &base);
        for what in changes {
            let message = format!("the {what} of the SKU {} has changed", before.id);
            self.findings.problem(&file, after.line, message, KEEP);
        }
        for price in before.prices.iter().filter(|price| price.from < self.now) {
            self.price(&file, before, price, after, zone);
        }
    }

    /// The SKUs that a price stands on in only one of the versions, as they were, and whether it stood on
    /// them before. They are compared by id: names and `*` may stand for the same, and by another order
    /// of the file `*` stands for others. Nothing else depends on the order. A SKU that is in only one
    /// version differs by itself.
    fn changes_of_base<'p>(
        &self,
        [before, after]: [&'p Provider; 2],
        old: &Of,
        new: &Of,
    ) -> Vec<(&'p Sku, bool)> {
        let ids = |provider: &'p Provider, of: &Of| -> BTreeSet<&'p SkuId> {
            of.skus.iter().map(|place| &provider.skus[*place].id).collect()
        };
        let (old, new) = (ids(before, old), ids(after, new));
        let changed = old.symmetric_difference(&new).filter_map(|id| {
            let (one, other) = (before.sku(id)?, after.sku(id)?);
            let counts = self.was_in_force(one) || self.was_in_force(other);
            counts.then_some((one, old.contains(id)))
        });
        changed.collect()
    }

    /// A price on lines that was in force keeps the SKUs that it stood on.
    fn base(&mut self, file: &str, before: &Sku, after: &Sku, changed: &[(&Sku, bool)]) {
        let met = |sku: &Sku| {
            let lives = sku.life().zip(before.life());
            self.was_in_force(sku) && lives.is_some_and(|(one, other)| one.meets(other))
        };
        let mut changed = changed.iter().filter(|(sku, _)| met(sku));
        let Some((first, was_in_it)) = changed.next() else { return };
        let how = if *was_in_it { "is no longer in it" } else { "is in it now" };
        let more = match changed.count() {
            0 => String::new(),
            more => format!(", one of {} that differ", more + 1),
        };
        let written = |sku: &Sku| sku.of().map(|of| (of.of.clone(), of.except.clone()));
        let (why, help) = match written(before) == written(after) {
            true => (
                ", by the order of the file",
                "restore the order of the SKUs: what was in force until now cannot change",
            ),
            false => ("", KEEP),
        };
        let message = format!("the `of` of the SKU {} has changed{why}: {} {how}{more}", before.id, first.id);
        self.findings.problem(file, after.line, message, help);
    }

    /// The end of a price, or `now` where it has not ended.
    fn past_end(&self, price: &DatedPrice) -> Instant {
        price.until.map_or(self.now, |until| until.min(self.now))
    }

    /// Where a SKU takes events in one version and not in the other: it may begin and end elsewhere.
    fn lives(&mut self, before: &Sku, after: &Sku) {
        let (Some(one), Some(other)) = (before.life(), after.life()) else { return };
        self.differing.add(Some(one.from.min(other.from)), Some(one.from.max(other.from)));
        let end = |until: Option<Instant>| until.map_or(self.now, |until| until.min(self.now));
        let (one, other) = (end(one.until), end(other.until));
        self.differing.add(Some(one.min(other)), Some(one.max(other)));
    }

    /// A price that has begun keeps its beginning and its model, and does not end in the past where
    /// it did not before. Where the zone has changed they are compared by date, so that it is one
    /// problem and not one more for every price.
    fn price(&self, file: &str, before: &Sku, price: &DatedPrice, after: &Sku, zone: bool) {
        let in_force = |new: &&DatedPrice| match zone {
            true => {
                new.from_date <= price.from_date && new.until_date.is_none_or(|until| price.from_date < until)
            }
            false => new.contains(price.from),
        };
        let same = |one: bool, other: bool| if zone { one } else { other };
        let (line, what) = match after.prices.iter().find(in_force) {
            None => (after.line, "is gone".to_owned()),
            Some(new) if !same(new.from_date == price.from_date, new.from == price.from) => {
                (new.line, format!("now begins on {}", new.from_date))
            }
            Some(new) if new.terms != price.terms => (new.line, "has changed".to_owned()),
            Some(new) => match new.until_date {
                Some(until)
                    if !same(new.until_date == price.until_date, new.until == price.until)
                        && new.until < Some(self.past_end(price)) =>
                {
                    (new.line, format!("now ends on {until}, in the past"))
                }
                _ => return,
            },
        };
        let message = format!("the price of {} that was in force from {} {what}", before.id, price.from_date);
        self.findings.problem(file, line, message, "restore it; a new price begins in the future");
    }

    /// Where a customer of both versions is the operator itself in one and not in the other. A month
    /// takes the kind of its first day, wherever it begins.
    fn kinds(&mut self, previous: &Catalog, new: &Catalog) {
        for before in previous.customers.values() {
            let Some(after) = new.customers.get(&before.id) else { continue };
            let later = before.kinds.later.iter().chain(&after.kinds.later);
            let dates: BTreeSet<Date> = later.map(|(from, _)| *from).collect();
            let is_internal = |kinds: &Kinds, from: Option<Date>| {
                from.map_or(kinds.first, |from| kinds.on(from)) == CustomerKind::Internal
            };
            let begins = std::iter::once(None).chain(dates.iter().copied().map(Some));
            let ends = dates.iter().copied().map(Some).chain([None]);
            for (from, until) in begins.zip(ends) {
                if is_internal(&before.kinds, from) != is_internal(&after.kinds, from) {
                    // Every month that begins between the two dates, in any zone and to its end.
                    let from = from.and_then(|from| midnight(from.checked_sub(2.days()).ok()?));
                    let until = until.and_then(|until| midnight(until.checked_add(33.days()).ok()?));
                    self.differing.add(from, until);
                }
            }
        }
    }

    /// Where a subject's customer is another.
    fn bindings(&mut self, previous: &Catalog, new: &Catalog) {
        let (before, after) = (by_subject(previous), by_subject(new));
        let subjects: BTreeSet<&Subject> = before.keys().chain(after.keys()).copied().collect();
        for subject in subjects {
            let (one, other) = (before.get(subject), after.get(subject));
            if one == other {
                continue;
            }
            let bounds =
                one.into_iter().chain(other).flatten().flat_map(|(from, until, _)| [Some(*from), *until]);
            let bounds: BTreeSet<Instant> = bounds.flatten().collect();
            let ends = bounds.iter().skip(1).copied().map(Some).chain([None]);
            for (from, until) in bounds.iter().zip(ends) {
                if previous.customer_at(subject, *from) != new.customer_at(subject, *from) {
                    self.differing.add(Some(*from), until);
                }
            }
        }
    }
}

/// A binding of a subject, wherever it stands.
type Bound<'c> = (Instant, Option<Instant>, &'c CustomerId);

fn by_subject(catalog: &Catalog) -> BTreeMap<&Subject, Vec<Bound<'_>>> {
    let mut bindings: BTreeMap<&Subject, Vec<Bound<'_>>> = BTreeMap::new();
    for binding in catalog.bindings.iter() {
        let bound = (binding.from, binding.until, &binding.customer);
        bindings.entry(&binding.subject).or_default().push(bound);
    }
    bindings
}

/// The midnight of UTC at which a day begins.
fn midnight(date: Date) -> Option<Instant> {
    schemas::time::start_of_day(date, &jiff::tz::TimeZone::UTC).ok()
}

/// How a provider rounds steps, for people.
fn steps(provider: &Provider) -> String {
    provider.steps.map_or_else(
        || "none".to_owned(),
        |steps| format!("{} to {} places", steps.mode.as_str(), steps.places),
    )
}

fn terms_file(provider: &Provider) -> String {
    format!("providers/{}/provider.toml", provider.id)
}

fn prices_file(provider: &Provider) -> String {
    format!("providers/{}/prices.toml", provider.id)
}

fn changes_of_metered(old: &Metered, new: &Metered) -> Vec<&'static str> {
    let mut changes = Vec::new();
    if old.meter != new.meter {
        changes.push("meter");
    }
    if old.matches != new.matches {
        changes.push("match");
    }
    // Units are compared by what they mean. The factor tells a changed meter or month apart from a
    // unit that is only spelt differently.
    if old.unit != new.unit || (old.meter == new.meter && old.factor != new.factor) {
        changes.push("unit, or what the meter's unit is worth in it,");
    }
    changes
}

/// Whether two rules share every cost alike: weights are parts of their sum.
fn same_rule(one: &Rule, other: &Rule) -> bool {
    match (one, other) {
        (Rule::Fixed { shares: one }, Rule::Fixed { shares: other }) => {
            let sum = |shares: &BTreeMap<CustomerId, Quantity>| {
                shares.values().fold(Exact::zero(), |sum, share| sum + exact(*share))
            };
            let (sum_of_one, sum_of_other) = (sum(one), sum(other));
            one.len() == other.len()
                && one.iter().zip(other).all(|((customer, share), (other_customer, other_share))| {
                    customer == other_customer
                        && exact(*share) * &sum_of_other == exact(*other_share) * &sum_of_one
                })
        }
        _ => one == other,
    }
}
