//! Two SKUs that take the same event would bill it twice: they are refused here.
//!
//! Only what the price list says is compared. Which SKU takes an event is deliberately decided
//! elsewhere, by `Provider::sku_for`.
//!
//! Invariant: of the SKUs of one meter that pass, at most one takes an event, whatever its dimensions
//! and its time.

use super::toml::Table;
use crate::catalog::contents::Life;
use schemas::id::{MeterType, SkuId};
use std::collections::{BTreeMap, BTreeSet};

/// Which events a SKU takes, known even where the rest of the SKU has a problem.
pub(super) struct Claim {
    pub sku: SkuId,
    pub meter: MeterType,
    pub matches: BTreeMap<String, BTreeSet<String>>,
    /// When it takes them; `None` where its prices cannot be read, which might be at any time.
    pub life: Option<Life>,
    pub line: usize,
}

/// Of the SKUs of one meter at most one may take an event.
pub(super) fn refuse_double_claims(root: &Table<'_>, claims: &[Claim]) {
    let mut by_meter: BTreeMap<&MeterType, Vec<&Claim>> = BTreeMap::new();
    for claim in claims {
        let others = by_meter.entry(&claim.meter).or_default();
        for other in others.iter().filter(|other| other.sku != claim.sku) {
            let Some(message) = double_claim(claim, other) else { continue };
            let help = match claim.matches.is_empty() {
                true => "give one of them a `match`, or end one where the other begins",
                false => {
                    "let the two differ in the values of a dimension that both match, or end one where the other begins"
                }
            };
            root.problem(
                claim.line,
                format!("the SKUs {} (line {}) and {} {message}", other.sku, other.line, claim.sku),
                help,
            );
        }
        others.push(claim);
    }
}

fn double_claim(claim: &Claim, other: &Claim) -> Option<String> {
    if let (Some(one), Some(two)) = (claim.life, other.life)
        && !one.meets(two)
    {
        return None;
    }
    match (claim.matches.is_empty(), other.matches.is_empty()) {
        (true, true) => {
            return Some(format!("both have no `match`, so both would take the rest of {}", claim.meter));
        }
        (false, false) => {}
        _ => return None,
    }
    // An event that both would take: per dimension, a value that is allowed by whoever names it.
    let mut event = Vec::new();
    let names: BTreeSet<&String> = claim.matches.keys().chain(other.matches.keys()).collect();
    for dimension in names {
        let value = match (claim.matches.get(dimension), other.matches.get(dimension)) {
            (Some(values), Some(others)) => values.intersection(others).next()?,
            (Some(values), None) | (None, Some(values)) => values.iter().next()?,
            (None, None) => continue,
        };
        event.push(format!("{dimension} = {value}"));
    }
    Some(format!("would both bill an event of {} with {}", claim.meter, event.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::time::Instant;

    fn claim(sku: &str, matches: &[(&str, &[&str])]) -> Claim {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        Claim {
            sku: SkuId::new(sku).expect("an id"),
            meter: MeterType::new("m").expect("a meter"),
            matches: matches.iter().map(|(name, list)| ((*name).to_owned(), values(list))).collect(),
            life: None,
            line: 1,
        }
    }

    #[test]
    fn one_sku_may_follow_another() {
        let instant = |micros| Instant::from_micros(micros).expect("an instant");
        let lives = |from, until: Option<i64>| Claim {
            life: Some(Life { from: instant(from), until: until.map(instant) }),
            ..claim("A", &[])
        };
        for (other, meets) in [(lives(20, None), false), (lives(19, None), true), (lives(0, Some(10)), false)]
        {
            let one = lives(10, Some(20));
            assert_eq!(double_claim(&one, &other).is_some(), meets, "{:?}", other.life);
            assert_eq!(double_claim(&other, &one).is_some(), meets, "{:?}", other.life);
        }
    }

    #[track_caller]
    fn check(one: &[(&str, &[&str])], two: &[(&str, &[&str])], expected: Option<&str>) {
        for (one, two) in [(one, two), (two, one)] {
            assert_eq!(
                double_claim(&claim("A", one), &claim("B", two)).as_deref(),
                expected,
                "{one:?} {two:?}"
            );
        }
    }

    #[test]
    fn two_skus_differ_in_a_dimension_that_both_name() {
        check(&[], &[("a", &["1"])], None);
        check(&[("a", &["1"])], &[("a", &["2", "3"])], None);
        check(&[("a", &["1"]), ("b", &["1"])], &[("a", &["1"]), ("b", &["2"])], None);
        check(&[], &[], Some("both have no `match`, so both would take the rest of m"));
        check(&[("a", &["1", "2"])], &[("a", &["2", "3"])], Some("would both bill an event of m with a = 2"));
        check(
            &[("a", &["1"])],
            &[("b", &["1", "2"])],
            Some("would both bill an event of m with a = 1, b = 1"),
        );
        check(
            &[("a", &["1"])],
            &[("a", &["1"]), ("b", &["2"])],
            Some("would both bill an event of m with a = 1, b = 2"),
        );
    }
}
