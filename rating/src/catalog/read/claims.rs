//! Two SKUs that take the same event would bill it twice: they are refused here.
//!
//! Only what the price list says is compared. Which SKU takes an event is deliberately decided
//! elsewhere, by `Provider::sku_for`.
//!
//! Invariants:
//! - Of the SKUs of one meter that pass, at most one takes an event, whatever its dimensions and its
//!   time.
//! - Neither time nor memory grows with the pairs of SKUs, but with those that could meet.

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

/// The earlier SKUs that are named with one that meets them.
const MOST_OTHERS: usize = 4;

/// Of the SKUs of one meter at most one may take an event.
pub(super) fn refuse_double_claims(root: &Table<'_>, claims: &[Claim]) {
    let mut by_meter: BTreeMap<&MeterType, Earlier<'_>> = BTreeMap::new();
    for claim in claims {
        let earlier = by_meter.entry(&claim.meter).or_default();
        for (other, message) in earlier.meeting(claim) {
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
        earlier.add(claim);
    }
}

/// The claims of one meter so far, by the dimensions that they name.
#[derive(Default)]
struct Earlier<'c>(BTreeMap<Vec<&'c str>, Alike<'c>>);

/// Claims that name the same dimensions, in their order, and where each value of one stands.
#[derive(Default)]
struct Alike<'c> {
    claims: Vec<&'c Claim>,
    places: BTreeMap<(&'c str, &'c str), Vec<usize>>,
}

impl<'c> Earlier<'c> {
    fn add(&mut self, claim: &'c Claim) {
        let alike = self.0.entry(claim.matches.keys().map(String::as_str).collect()).or_default();
        for (dimension, values) in &claim.matches {
            for value in values {
                alike
                    .places
                    .entry((dimension.as_str(), value.as_str()))
                    .or_default()
                    .push(alike.claims.len());
            }
        }
        alike.claims.push(claim);
    }

    /// Some of the claims that take an event which this one takes too, and why.
    fn meeting(&self, claim: &Claim) -> Vec<(&'c Claim, String)> {
        let mut meeting = Vec::new();
        for (dimensions, alike) in &self.0 {
            // One without `match` takes what no other takes.
            if dimensions.is_empty() == claim.matches.is_empty() {
                meeting.extend(alike.meeting(claim).into_values());
            }
        }
        meeting
    }
}

impl<'c> Alike<'c> {
    /// The first that meet a claim, by their places.
    fn meeting(&self, claim: &Claim) -> BTreeMap<usize, (&'c Claim, String)> {
        let mut meeting = BTreeMap::new();
        let mut meets = |place: usize| {
            let other = self.claims[place];
            if other.sku != claim.sku
                && let Some(message) = double_claim(claim, other)
            {
                meeting.insert(place, (other, message));
            }
            meeting.len() == MOST_OTHERS
        };
        match self.fewest(claim) {
            None => _ = (0..self.claims.len()).any(&mut meets),
            Some(lists) => _ = lists.into_iter().flatten().copied().any(&mut meets),
        }
        meeting
    }

    /// Where those stand that share a value with a claim, in the dimension in which the fewest do;
    /// `None` where they name no dimension that it names.
    fn fewest<'a>(&'a self, claim: &'a Claim) -> Option<Vec<&'a Vec<usize>>> {
        let first = self.claims.first()?;
        let in_both = claim.matches.iter().filter(|(dimension, _)| first.matches.contains_key(*dimension));
        let lists = in_both.map(|(dimension, values)| {
            let places = values.iter().map(|value| self.places.get(&(dimension.as_str(), value.as_str())));
            places.flatten().collect::<Vec<_>>()
        });
        lists.min_by_key(|lists| lists.iter().map(|places| places.len()).sum::<usize>())
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

    /// Each pair that meets is found among the candidates, whatever dimensions are named.
    #[test]
    fn no_claim_that_meets_another_is_overlooked() {
        let mut claims = Vec::new();
        for number in 0..81usize {
            let value = |digit: usize| ["", "x", "y"][number / digit % 3];
            let named: Vec<(&str, Vec<&str>)> = [("a", 1), ("b", 3), ("c", 9), ("d", 27)]
                .into_iter()
                .filter(|(_, digit)| !value(*digit).is_empty())
                .map(|(name, digit)| {
                    (name, if number % 5 == 0 { vec!["x", "y"] } else { vec![value(digit)] })
                })
                .collect();
            let matches: Vec<(&str, &[&str])> =
                named.iter().map(|(name, values)| (*name, values.as_slice())).collect();
            claims.push(claim(&number.to_string(), &matches));
        }
        let mut earlier = Earlier::default();
        for (place, claim) in claims.iter().enumerate() {
            let meets = claims[..place].iter().any(|other| double_claim(claim, other).is_some());
            assert_eq!(!earlier.meeting(claim).is_empty(), meets, "{place}");
            earlier.add(claim);
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
