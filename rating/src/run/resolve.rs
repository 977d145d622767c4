//! Which SKU takes usage, whose bill it is on, and at which price; or why none does.
//!
//! The only place that decides it, by lookups in what `skus` has filed once for a run. Quantities and
//! amounts are deliberately not looked at.
//!
//! Invariant: usage resolves to one price, to one reason, or to another period.

use super::skus::Skus;
use crate::catalog::{Catalog, Life, Provider};
use crate::error::RatingError;
use crate::usage::{Cuts, ProviderCuts, UsageKey};
use crate::words::words;
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, MeterType, ProviderId, Subject};
use schemas::time::{BillingMonth, Day, Instant, Period, time_zone};
use std::collections::{BTreeMap, BTreeSet};

words! {
    /// Why usage has no cost. Fixing the catalog and rating again is the whole repair.
    pub enum UnratedReason {
        /// More than one provider could bill it, and it names none.
        AmbiguousProvider = "ambiguous-provider",
        /// Its time is in a gap between the SKU's prices.
        NoPrice = "no-price",
        /// No SKU takes it at its time.
        NoSku = "no-sku",
        /// Its meter is not declared.
        UnknownMeter = "unknown-meter",
        /// The provider it names is not declared.
        UnknownProvider = "unknown-provider",
    }
}

/// Usage that no price list covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnratedKey {
    pub reason: UnratedReason,
    pub provider: Option<ProviderId>,
    /// The type of the events.
    pub events: MeterType,
    pub subject: Subject,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrated {
    pub key: UnratedKey,
    /// The sum of the values.
    pub quantity: QuantityTotal,
    pub events: u64,
}

/// Usage that one price applies to: a SKU of a provider (by its place in the price list), an
/// account, a price (by its place).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PoolKey {
    pub provider: ProviderId,
    pub sku: usize,
    pub sub_account: Option<CustomerId>,
    pub price: usize,
}

/// The month in each provider's time zone, and in UTC for usage that belongs to none.
pub(crate) struct Periods {
    by_provider: BTreeMap<ProviderId, Period>,
    utc: Option<Period>,
}

impl Periods {
    pub(crate) fn of(month: BillingMonth, catalog: &Catalog) -> Result<Self, RatingError> {
        let out_of_range = |reason| RatingError::Period { month, reason };
        let mut by_provider = BTreeMap::new();
        for provider in catalog.providers.values() {
            by_provider.insert(provider.id.clone(), provider.billing_period(month).map_err(out_of_range)?);
        }
        let utc = time_zone("UTC").expect("the tz database has UTC");
        Ok(Self { by_provider, utc: Some(month.period_in(&utc).map_err(out_of_range)?) })
    }

    /// Some dates of one provider.
    pub(crate) fn only(provider: &ProviderId, within: Period) -> Self {
        Self { by_provider: BTreeMap::from([(provider.clone(), within)]), utc: None }
    }

    /// The part of each that lies before an instant; `None` where none has begun.
    pub(crate) fn before(&self, instant: Instant) -> Option<Self> {
        let cut = |period: Period| Period::new(period.start(), period.end().min(instant));
        let by_provider: BTreeMap<_, _> =
            self.by_provider.iter().filter_map(|(id, period)| Some((id.clone(), cut(*period)?))).collect();
        let utc = self.utc.and_then(cut);
        (utc.is_some() || !by_provider.is_empty()).then_some(Self { by_provider, utc })
    }

    /// The part of each that lies in a day of UTC, day by day.
    pub(crate) fn by_day(&self) -> Vec<(Day, Self)> {
        let first = self.by_provider.values().copied().map(Period::start).min();
        let Some((first, until)) = first.zip(self.by_provider.values().copied().map(Period::end).max())
        else {
            return Vec::new();
        };
        let mut days = Vec::new();
        let mut day = Day::of(first.micros());
        while day.start() < until.micros() {
            let within = |period: &Period| {
                let start = period.start().micros().max(day.start());
                let end = period.end().micros().min(day.end());
                Period::new(Instant::from_micros(start).ok()?, Instant::from_micros(end).ok()?)
            };
            let by_provider = self.by_provider.iter();
            let by_provider = by_provider.filter_map(|(id, period)| Some((id.clone(), within(period)?)));
            days.push((day, Self { by_provider: by_provider.collect(), utc: None }));
            day = day.next();
        }
        days
    }

    /// `None` where the provider's has not begun.
    pub(crate) fn of_provider(&self, provider: &ProviderId) -> Option<Period> {
        self.by_provider.get(provider).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Period> {
        self.by_provider.values().copied().chain(self.utc)
    }

    /// Every instant where a period or a price begins or ends.
    pub(crate) fn cuts(&self, catalog: &Catalog) -> Cuts {
        let providers = catalog.providers.values().map(|provider| {
            let period = self.of_provider(&provider.id);
            (provider.id.clone(), ProviderCuts { period, prices: bounds(catalog, provider, |_| true) })
        });
        Cuts::of(providers.collect(), self.utc)
    }

    /// The same, and every midnight of UTC between them.
    pub(crate) fn cuts_by_day(&self, catalog: &Catalog) -> Cuts {
        let whole = self.cuts(catalog).whole();
        let mut midnights = BTreeSet::new();
        let mut day = Day::of(whole.start().micros());
        while day.start() < whole.end().micros() {
            midnights.extend(Instant::from_micros(day.start()));
            day = day.next();
        }
        let providers = catalog.providers.values().map(|provider| {
            let mut prices = bounds(catalog, provider, |_| true);
            prices.values_mut().for_each(|cuts| cuts.extend(&midnights));
            (provider.id.clone(), ProviderCuts { period: self.of_provider(&provider.id), prices })
        });
        Cuts::of(providers.collect(), self.utc)
    }

    /// The same as far as what a provider bills by one type of events may depend on it: its own period,
    /// and the prices by meters that read them, of any provider. `None` where the period has not begun.
    pub(crate) fn cuts_of(
        &self,
        catalog: &Catalog,
        provider: &ProviderId,
        events: &MeterType,
    ) -> Option<Cuts> {
        let own = self.of_provider(provider)?;
        let providers = catalog.providers.values().map(|known| {
            let period = (known.id == *provider).then_some(own);
            (
                known.id.clone(),
                ProviderCuts { period, prices: bounds(catalog, known, |known| known == events) },
            )
        });
        Some(Cuts::of(providers.collect(), None))
    }
}

/// Where the prices of a provider begin and end, by the types of events that `of` takes.
fn bounds(
    catalog: &Catalog,
    provider: &Provider,
    of: impl Fn(&MeterType) -> bool,
) -> BTreeMap<MeterType, BTreeSet<Instant>> {
    let mut bounds: BTreeMap<MeterType, BTreeSet<Instant>> = BTreeMap::new();
    for sku in &provider.skus {
        let read = sku.metered().map(|metered| &metered.events);
        let key = catalog.key_of(sku).map(|meter| &meter.events);
        for events in read.into_iter().chain(key).filter(|events| of(events)) {
            bounds.entry(events.clone()).or_default().extend(sku.bounds());
        }
    }
    bounds
}

pub(crate) enum Resolved {
    OutsideThePeriod,
    Unrated(UnratedKey),
    /// No SKU takes it, and lines are shared by it.
    OnlyAKey,
    /// One for each meter that reads it and has a price.
    Rated(Vec<PoolKey>),
}

/// The prices of a catalog, ready for lookups.
pub(crate) struct Resolver<'c> {
    catalog: &'c Catalog,
    periods: &'c Periods,
    skus: Skus<'c>,
    /// The types of events that some meter reads.
    read: BTreeSet<&'c MeterType>,
    /// The types of events that lines are shared by, whose lines, and when.
    keys: Vec<(&'c MeterType, &'c ProviderId, Life)>,
}

impl<'c> Resolver<'c> {
    pub(crate) fn new(catalog: &'c Catalog, periods: &'c Periods) -> Self {
        let read = catalog.meters.values().map(|meter| &meter.events).collect();
        let mut keys = Vec::new();
        for provider in catalog.providers.values() {
            for sku in &provider.skus {
                if let (Some(meter), Some(life)) = (catalog.key_of(sku), sku.life()) {
                    keys.push((&meter.events, &provider.id, life));
                }
            }
        }
        Self { catalog, periods, skus: Skus::of(catalog), read, keys }
    }

    /// Finds the prices of usage, or the reason why it has none. Reasons in order: the meter, the
    /// provider, the SKU, the price.
    pub(crate) fn resolve(&self, usage: &UsageKey) -> Resolved {
        let at = usage.interval.start();
        let home = self.home(usage);
        let period = match (home, &usage.provider) {
            (Ok(home), _) => self.periods.of_provider(&home.id),
            (Err(_), Some(named)) if self.catalog.providers.contains_key(named) => {
                self.periods.of_provider(named)
            }
            (Err(_), _) => self.periods.utc,
        };
        if !period.is_some_and(|period| period.contains(at)) {
            return Resolved::OutsideThePeriod;
        }
        let home = match home {
            Ok(home) => home,
            Err(reason) => return self.unrated(reason, usage),
        };
        let taking: Vec<usize> = self.taking(home, usage).collect();
        let priced = |sku: &usize| Some(self.pool(home, *sku, home.skus[*sku].price_index_at(at)?, usage));
        let pools: Vec<PoolKey> = taking.iter().filter_map(priced).collect();
        match (pools.is_empty(), taking.is_empty()) {
            (false, _) => Resolved::Rated(pools),
            (true, false) => {
                let key = self.key_of_unrated(UnratedReason::NoPrice, Some(&home.id), usage);
                Resolved::Unrated(key)
            }
            (true, true) => self.unrated(UnratedReason::NoSku, usage),
        }
    }

    /// The provider whose usage it is. Where none is named, it is the only one with a SKU that takes it.
    pub(crate) fn home(&self, usage: &UsageKey) -> Result<&'c Provider, UnratedReason> {
        if !self.read.contains(&usage.events) {
            return Err(UnratedReason::UnknownMeter);
        }
        if let Some(named) = &usage.provider {
            return self.catalog.providers.get(named).ok_or(UnratedReason::UnknownProvider);
        }
        let mut homes = self.skus.taking(usage).map(|(provider, _)| provider);
        let first = homes.next().ok_or(UnratedReason::NoSku)?;
        match homes.all(|other| other.id == first.id) {
            true => Ok(first),
            false => Err(UnratedReason::AmbiguousProvider),
        }
    }

    /// The SKUs of a provider that take usage, one for each meter that reads it.
    pub(crate) fn taking(&self, home: &Provider, usage: &UsageKey) -> impl Iterator<Item = usize> {
        self.skus.taking(usage).filter(|(provider, _)| provider.id == home.id).map(|(_, sku)| sku)
    }

    /// Where usage is priced that a SKU takes.
    pub(crate) fn pool(&self, home: &Provider, sku: usize, price: usize, usage: &UsageKey) -> PoolKey {
        let bills_each = home.skus[sku].allocation.name().bills_each_customer();
        let sub_account = if bills_each { usage.customer.clone() } else { None };
        PoolKey { provider: home.id.clone(), sku, sub_account, price }
    }

    /// Usage that only says how a line is shared is not missing anywhere.
    fn unrated(&self, reason: UnratedReason, usage: &UsageKey) -> Resolved {
        match reason == UnratedReason::NoSku && self.is_key(usage) {
            true => Resolved::OnlyAKey,
            false => Resolved::Unrated(self.key_of_unrated(reason, usage.provider.as_ref(), usage)),
        }
    }

    pub(crate) fn key_of_unrated(
        &self,
        reason: UnratedReason,
        provider: Option<&ProviderId>,
        usage: &UsageKey,
    ) -> UnratedKey {
        let (events, subject) = (usage.events.clone(), usage.subject.clone());
        UnratedKey { reason, provider: provider.cloned(), events, subject }
    }

    /// Whether some line that may be its provider's is shared by usage like this.
    pub(crate) fn is_key(&self, usage: &UsageKey) -> bool {
        let at = usage.interval.start();
        self.keys.iter().any(|(events, provider, life)| {
            **events == usage.events
                && usage.provider.as_ref().is_none_or(|named| named == *provider)
                && life.contains(at)
        })
    }
}
