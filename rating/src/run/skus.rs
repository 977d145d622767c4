//! The SKUs of a catalog by what they take, filed once so that finding one is a lookup.
//!
//! What a SKU takes is said by `Provider::sku_for`, which looks at one after the other; nothing else is
//! deliberately decided here. Prices are not looked at.
//!
//! Invariant: for every usage, the same SKUs as `Provider::sku_for` finds.

use crate::catalog::{Catalog, Life, Metered, Provider};
use crate::usage::UsageKey;
use schemas::id::{MeterType, ProviderId};
use schemas::time::Instant;
use std::collections::BTreeMap;

/// The most combinations of values that a SKU is filed under.
const MOST_COMBINATIONS: usize = 256;

/// The SKUs of every provider, by the type of events that their meters read, the provider and the
/// meter.
pub(super) struct Skus<'c>(BTreeMap<&'c MeterType, BTreeMap<(&'c ProviderId, &'c MeterType), Filed<'c>>>);

/// The SKUs of a provider that count by one meter, by their places in its price list.
struct Filed<'c> {
    provider: &'c Provider,
    /// By the dimensions that they name.
    named: BTreeMap<Vec<&'c str>, ByValues<'c>>,
    /// Those that name none.
    others: Lives,
}

/// SKUs that name the same dimensions.
#[derive(Default)]
struct ByValues<'c> {
    /// By a value of each dimension, in their order.
    combined: BTreeMap<Vec<&'c str>, Lives>,
    /// Those that would be filed too often, by the place of the dimension of which they name the most
    /// values, and each of these.
    wide: BTreeMap<(usize, &'c str), Vec<usize>>,
}

/// SKUs that take the same, one after the other: at any instant at most one of them lives.
type Lives = Vec<(Life, usize)>;

impl<'c> Skus<'c> {
    pub(super) fn of(catalog: &'c Catalog) -> Self {
        let mut skus: BTreeMap<&MeterType, BTreeMap<(&ProviderId, &MeterType), Filed<'_>>> = BTreeMap::new();
        for provider in catalog.providers.values() {
            for (index, sku) in provider.skus.iter().enumerate() {
                let (Some(metered), Some(life)) = (sku.metered(), sku.life()) else { continue };
                let of_events = skus.entry(&metered.events).or_default();
                let filed = of_events.entry((&provider.id, &metered.meter)).or_insert_with(|| Filed {
                    provider,
                    named: BTreeMap::new(),
                    others: Lives::new(),
                });
                filed.file(metered, life, index);
            }
        }
        for filed in skus.values_mut().flat_map(BTreeMap::values_mut) {
            let combined = filed.named.values_mut().flat_map(|by_values| by_values.combined.values_mut());
            for lives in combined.chain([&mut filed.others]) {
                lives.sort_by_key(|(life, _)| life.from);
            }
        }
        Self(skus)
    }

    /// The SKUs that take usage, one for each meter that reads it, of each provider whose usage it may
    /// be; those of a provider come after each other.
    pub(super) fn taking(&self, usage: &UsageKey) -> impl Iterator<Item = (&'c Provider, usize)> {
        let of_events = self.0.get(&usage.events).into_iter().flatten();
        let may_be = |provider: &ProviderId| usage.provider.as_ref().is_none_or(|named| named == provider);
        of_events
            .filter(move |((provider, _), _)| may_be(provider))
            .filter_map(|(_, filed)| Some((filed.provider, filed.taking(usage)?)))
    }
}

impl<'c> Filed<'c> {
    fn file(&mut self, metered: &'c Metered, life: Life, index: usize) {
        if metered.matches.is_empty() {
            self.others.push((life, index));
            return;
        }
        let dimensions: Vec<&str> = metered.matches.keys().map(String::as_str).collect();
        let by_values = self.named.entry(dimensions).or_default();
        let combinations = metered.matches.values().try_fold(1, |all: usize, values| {
            all.checked_mul(values.len()).filter(|all| *all <= MOST_COMBINATIONS)
        });
        if combinations.is_none() {
            let most = metered.matches.values().enumerate().max_by_key(|(_, values)| values.len());
            for (place, value) in
                most.into_iter().flat_map(|(place, values)| values.iter().map(move |value| (place, value)))
            {
                by_values.wide.entry((place, value)).or_default().push(index);
            }
            return;
        }
        let mut combined: Vec<Vec<&str>> = vec![Vec::new()];
        for values in metered.matches.values() {
            let longer = |before: &Vec<&'c str>| {
                let before = before.clone();
                values.iter().map(move |value| [before.as_slice(), &[value.as_str()]].concat())
            };
            combined = combined.iter().flat_map(longer).collect();
        }
        for values in combined {
            by_values.combined.entry(values).or_default().push((life, index));
        }
    }

    /// One that names dimensions, or else one that names none.
    fn taking(&self, usage: &UsageKey) -> Option<usize> {
        let at = usage.interval.start();
        let named = self.named.iter().filter_map(|(dimensions, by_values)| {
            let value = |name: &&str| usage.dimensions.get(*name).map(String::as_str);
            let values = dimensions.iter().map(value).collect::<Option<Vec<&str>>>()?;
            let combined = by_values.combined.get(values.as_slice()).and_then(|lives| living(lives, at));
            combined.or_else(|| self.wide(by_values, &values, usage))
        });
        named.min().or_else(|| living(&self.others, at))
    }

    fn wide(&self, by_values: &ByValues<'c>, values: &[&str], usage: &UsageKey) -> Option<usize> {
        let filed =
            values.iter().enumerate().filter_map(|(place, value)| by_values.wide.get(&(place, *value)));
        let takes = |index: &usize| {
            let sku = &self.provider.skus[*index];
            let lives = sku.life().is_some_and(|life| life.contains(usage.interval.start()));
            let value = |name: &str| usage.dimensions.get(name).map(String::as_str);
            lives && sku.metered().is_some_and(|metered| metered.takes(value))
        };
        filed.flatten().copied().find(takes)
    }
}

fn living(lives: &Lives, at: Instant) -> Option<usize> {
    let after = lives.partition_point(|(life, _)| life.from <= at);
    lives[..after].last().filter(|(life, _)| life.contains(at)).map(|(_, index)| *index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CatalogFiles;
    use proptest::prelude::*;
    use schemas::id::Subject;
    use schemas::time::Period;

    const VALUES: [&str; 4] = ["a", "b", "c", "d"];

    /// A price list in which SKUs split `kind` and `zone` between them, some from May on, some wide.
    fn catalog(owners: &[u8], wide: bool, other: bool) -> Catalog {
        let mut skus: BTreeMap<(u8, bool), Vec<(&str, &str)>> = BTreeMap::new();
        for (place, owner) in owners.iter().enumerate() {
            let cell = (VALUES[place % 4], VALUES[place / 4 % 4]);
            skus.entry((*owner, place < 16)).or_default().push(cell);
        }
        let mut text = String::new();
        let mut sku = |matches: &str, dates: &str| {
            let number = text.len();
            text.push_str(&format!(
                "[[sku]]\nid = \"S{number}\"\nname = \"S{number}\"\nmeter = \"m.example/hours\"\n{matches}unit = \"h\"\nallocation = \"proportional\"\n[[sku.price]]\n{dates}\nmodel = \"per_unit\"\nunit_price = \"1\"\n"
            ));
        };
        for ((_, early), cells) in skus {
            let dates =
                if early { "from = \"2025-01-01\"\nuntil = \"2025-05-01\"" } else { "from = \"2025-05-01\"" };
            for (kind, zone) in cells {
                let more: String = if wide {
                    (0..300).map(|number| format!(", \"{kind}{number}\"")).collect()
                } else {
                    String::new()
                };
                sku(&format!("match = {{ kind = [\"{kind}\"{more}], zone = [\"{zone}\"] }}\n"), dates);
            }
        }
        if other {
            sku("", "from = \"2025-01-01\"");
        }
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let files = CatalogFiles::new(BTreeMap::from([
            file("catalog.toml", "operator = \"o\"\nname = \"O\"\n"),
            file(
                "meters.toml",
                "[[meter]]\ntype = \"m.example/hours\"\nunit = \"h\"\naggregation = \"sum\"\ndimensions = [\"kind\", \"zone\"]\n",
            ),
            file("customers.toml", ""),
            file("bindings.csv", "subject,customer,from,until\n"),
            file(
                "providers/p/provider.toml",
                "id = \"p\"\nname = \"P\"\nbilling_account = \"1\"\ncurrency = \"EUR\"\ntime_zone = \"UTC\"\n[rounding]\nmode = \"half-up\"\n",
            ),
            file("providers/p/prices.toml", &text),
        ]));
        match Catalog::load(&files) {
            Ok((catalog, _)) => catalog,
            Err(problems) => panic!("{problems:?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

        #[test]
        fn the_sku_that_is_filed_is_the_one_that_is_searched(
            owners in prop::collection::vec(0..6_u8, 1..32),
            wide in any::<bool>(),
            other in any::<bool>(),
        ) {
            let catalog = catalog(&owners, wide, other);
            let skus = Skus::of(&catalog);
            let provider = catalog.providers.values().next().expect("a provider");
            let instant = |text: &str| Instant::parse_rfc3339(text).expect("an instant");
            for (from, until) in [("2024-12-01", "2024-12-02"), ("2025-04-30", "2025-05-01"), ("2025-05-01", "2025-05-02")] {
                let day = |date: &str| instant(&format!("{date}T00:00:00Z"));
                for kind in [None, Some("a"), Some("b"), Some("d"), Some("a7"), Some("x")] {
                    for zone in [None, Some("a"), Some("c"), Some("x")] {
                        let named = [("kind", kind), ("zone", zone)];
                        let dimensions: BTreeMap<String, String> = named
                            .into_iter()
                            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
                            .collect();
                        let usage = UsageKey {
                            provider: None,
                            events: MeterType::new("m.example/hours").expect("a meter"),
                            dimensions,
                            customer: None,
                            subject: Subject::new("s").expect("a subject"),
                            interval: Period::new(day(from), day(until)).expect("a period"),
                        };
                        let value = |name: &str| usage.dimensions.get(name).map(String::as_str);
                        let searched = provider.sku_for(&usage.events, usage.interval.start(), value);
                        let filed = skus.taking(&usage).next().map(|(_, index)| &provider.skus[index].id);
                        prop_assert_eq!(filed, searched.map(|sku| &sku.id));
                    }
                }
            }
        }
    }
}
