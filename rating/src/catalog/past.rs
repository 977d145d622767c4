//! The published past stays: a price that has been in force is not changed afterwards.
//!
//! Only the part before `now` is compared. A price that begins later, or where nothing was priced,
//! is free to change; the clock is the caller's.
//!
//! Invariant: a run of a period before `now` costs the same with the new catalog as with the one
//! before it, wherever that one had a price.

use super::contents::{Catalog, DatedPrice, Provider, Sku};
use super::problem::{Findings, Problem};
use schemas::time::Instant;

/// Everything that `new` changes in prices that `previous` had in force before `now`.
pub fn past_price_changes(previous: &Catalog, new: &Catalog, now: Instant) -> Vec<Problem> {
    let findings = Findings::default();
    for before in previous.providers.values() {
        if before.skus.iter().any(|sku| was_in_force(sku, now)) {
            compare_providers(before, new.providers.get(&before.id), now, &findings);
        }
    }
    findings.into_result().err().unwrap_or_default()
}

fn was_in_force(sku: &Sku, now: Instant) -> bool {
    sku.prices.iter().any(|price| price.from < now)
}

const KEEP: &str = "restore it: what was in force until now cannot change";

fn compare_providers(before: &Provider, after: Option<&Provider>, now: Instant, findings: &Findings) {
    let file = format!("providers/{}/provider.toml", before.id);
    let Some(after) = after else {
        findings.problem(
            &file,
            None,
            format!("the provider {} had prices in force and is gone", before.id),
            KEEP,
        );
        return;
    };
    let changed = |what: &str, from: &str, to: &str| {
        if from != to {
            findings.problem(
                &file,
                None,
                format!("the {what} of {} was {from} and is now {to}", before.id),
                KEEP,
            );
        }
    };
    changed("currency", before.currency.code(), after.currency.code());
    changed("time zone", &before.time_zone_name, &after.time_zone_name);
    changed("rounding", before.rounding.as_str(), after.rounding.as_str());
    for sku in before.skus.iter().filter(|sku| was_in_force(sku, now)) {
        compare_skus(before, sku, after.sku(&sku.id), now, findings);
    }
}

fn compare_skus(provider: &Provider, before: &Sku, after: Option<&Sku>, now: Instant, findings: &Findings) {
    let file = format!("providers/{}/prices.toml", provider.id);
    let Some(after) = after else {
        findings.problem(
            &file,
            None,
            format!("the SKU {} had a price in force and is gone", before.id),
            KEEP,
        );
        return;
    };
    let changed = |what: &str| {
        findings.problem(&file, after.line, format!("the {what} of the SKU {} has changed", before.id), KEEP)
    };
    match (&before.metered, &after.metered) {
        (None, None) => {}
        (Some(old), Some(new)) => {
            if old.meter != new.meter {
                changed("meter");
            }
            if old.matches != new.matches {
                changed("match");
            }
            // The factor tells a changed meter or month apart from a unit that is only spelt
            // differently.
            if old.unit.as_str() != new.unit.as_str() || (old.meter == new.meter && old.factor != new.factor)
            {
                changed("unit, or what the meter's unit is worth in it,");
            }
        }
        _ => changed("meter"),
    }
    if before.allocation != after.allocation {
        changed("allocation");
    }
    for price in before.prices.iter().filter(|price| price.from < now) {
        compare_price(&file, before, price, after, now, findings);
    }
}

/// A price that has begun keeps its beginning and its model, and does not end in the past where it
/// did not before. Compared by date, so that a changed time zone is one problem and not one more
/// for every price.
fn compare_price(
    file: &str,
    before: &Sku,
    price: &DatedPrice,
    after: &Sku,
    now: Instant,
    findings: &Findings,
) {
    let in_force = |new: &&DatedPrice| {
        new.from_date <= price.from_date && new.until_date.is_none_or(|until| price.from_date < until)
    };
    let past_end = price.until.map_or(now, |until| until.min(now));
    let (line, what) = match after.prices.iter().find(in_force) {
        None => (after.line, "is gone".to_owned()),
        Some(new) if new.from_date != price.from_date => {
            (new.line, format!("now begins on {}", new.from_date))
        }
        Some(new) if new.model != price.model => (new.line, "has changed".to_owned()),
        Some(new) => match new.until_date {
            Some(until) if new.until_date != price.until_date && new.until < Some(past_end) => {
                (new.line, format!("now ends on {until}, in the past"))
            }
            _ => return,
        },
    };
    let message = format!("the price of {} that was in force from {} {what}", before.id, price.from_date);
    findings.problem(file, line, message, "restore it; a new price begins in the future");
}
