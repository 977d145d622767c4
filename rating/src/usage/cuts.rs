//! The instants that no total straddles: where a period or a price begins or ends.
//!
//! Bindings cut too, but each only the usage of its subject, and are deliberately not here.
//!
//! Invariant: between two neighbouring cuts of a kind of usage, all of it finds the same SKUs and
//! prices, and is in the same periods.

use schemas::id::{MeterType, ProviderId};
use schemas::time::{Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// Where the periods and prices of one provider begin and end.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProviderCuts {
    /// `None` where it has not begun.
    pub period: Option<Period>,
    /// By the meters that some SKU counts by.
    pub prices: BTreeMap<MeterType, BTreeSet<Instant>>,
}

/// The instants that no total straddles: at least two, ascending.
#[derive(Debug, Clone)]
pub(crate) struct Cuts {
    all: Vec<Instant>,
    providers: BTreeMap<ProviderId, ProviderCuts>,
    utc: Vec<Period>,
}

impl Cuts {
    /// Both ends of every period, of which there is one at least, and those of the prices that lie
    /// between them. A price cuts beyond its provider's period too: until then, or from then on, it may
    /// be that provider who would bill usage that names none.
    pub fn of(providers: BTreeMap<ProviderId, ProviderCuts>, utc: impl IntoIterator<Item = Period>) -> Self {
        let utc: Vec<Period> = utc.into_iter().collect();
        let periods = providers.values().filter_map(|provider| provider.period).chain(utc.iter().copied());
        let prices = providers.values().flat_map(|provider| provider.prices.values().flatten().copied());
        let all = between(periods, prices);
        Self { all, providers, utc }
    }

    pub fn all(&self) -> &[Instant] {
        &self.all
    }

    /// All that lies between the first and the last.
    pub fn whole(&self) -> Period {
        let ends = self.all.first().zip(self.all.last());
        ends.and_then(|(first, last)| Period::new(*first, *last)).expect("cuts are at least two")
    }

    /// The interval that holds an instant.
    pub fn interval(&self, at: Instant) -> Option<Period> {
        interval(&self.all, at)
    }

    /// Those that cut the usage of one meter that names this provider, or none. What lies before the
    /// first and from the last on is in no period; there may be none at all.
    pub fn of_kind(&self, provider: Option<&ProviderId>, meter: &MeterType) -> Vec<Instant> {
        let Some(named) = provider else {
            let billing = self.providers.values().filter(|provider| provider.prices.contains_key(meter));
            let periods =
                billing.clone().filter_map(|provider| provider.period).chain(self.utc.iter().copied());
            return between(periods, billing.flat_map(|provider| &provider.prices[meter]).copied());
        };
        match self.providers.get(named) {
            None => between(self.utc.iter().copied(), std::iter::empty()),
            Some(provider) => {
                let prices = provider.prices.get(meter).into_iter().flatten().copied();
                between(provider.period.into_iter(), prices)
            }
        }
    }
}

/// The interval between two cuts that holds an instant.
pub(super) fn interval(cuts: &[Instant], at: Instant) -> Option<Period> {
    let after = cuts.partition_point(|cut| *cut <= at);
    Period::new(*cuts.get(after.checked_sub(1)?)?, *cuts.get(after)?)
}

/// Both ends of every period, and the others that lie between the first and the last of them.
fn between(periods: impl Iterator<Item = Period>, others: impl Iterator<Item = Instant>) -> Vec<Instant> {
    let mut cuts: BTreeSet<Instant> = periods.flat_map(|period| [period.start(), period.end()]).collect();
    if let (Some(first), Some(last)) = (cuts.first().copied(), cuts.last().copied()) {
        cuts.extend(others.filter(|cut| first < *cut && *cut < last));
    }
    cuts.into_iter().collect()
}
