//! Which SKU takes usage, whose bill it is on, and at which price; or why none does.
//!
//! The only place that decides it, by lookups in what `skus` has filed once for a run. Quantities and
//! amounts are deliberately not looked at.
//!
//! Invariant: usage resolves to one price, to one reason, or to another period.

use super::skus::Skus;
use crate::catalog::{Catalog, Provider};
use crate::error::RatingError;
use crate::usage::{Cuts, ProviderCuts, UsageKey};
use crate::words::words;
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, MeterType, ProviderId, Subject};
use schemas::time::{BillingMonth, Instant, Period, time_zone};
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
    pub meter: MeterType,
    pub subject: Subject,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrated {
    pub key: UnratedKey,
    /// In the meter's unit.
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

    /// The part of each that lies before an instant; `None` where none has begun.
    pub(crate) fn before(&self, instant: Instant) -> Option<Self> {
        let cut = |period: Period| Period::new(period.start(), period.end().min(instant));
        let by_provider: BTreeMap<_, _> =
            self.by_provider.iter().filter_map(|(id, period)| Some((id.clone(), cut(*period)?))).collect();
        let utc = self.utc.and_then(cut);
        (utc.is_some() || !by_provider.is_empty()).then_some(Self { by_provider, utc })
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
            (provider.id.clone(), ProviderCuts { period, prices: bounds(provider, |_| true) })
        });
        Cuts::of(providers.collect(), self.utc)
    }

    /// The same as far as what a provider bills by one meter may depend on it: its own period, and the
    /// prices by that meter, of any provider. `None` where the period has not begun.
    pub(crate) fn cuts_of(
        &self,
        catalog: &Catalog,
        provider: &ProviderId,
        meter: &MeterType,
    ) -> Option<Cuts> {
        let own = self.of_provider(provider)?;
        let providers = catalog.providers.values().map(|known| {
            let period = (known.id == *provider).then_some(own);
            (known.id.clone(), ProviderCuts { period, prices: bounds(known, |known| known == meter) })
        });
        Some(Cuts::of(providers.collect(), None))
    }
}

/// Where the prices of a provider begin and end, by those of the meters that `of` takes.
fn bounds(provider: &Provider, of: impl Fn(&MeterType) -> bool) -> BTreeMap<MeterType, BTreeSet<Instant>> {
    let mut bounds: BTreeMap<MeterType, BTreeSet<Instant>> = BTreeMap::new();
    for sku in &provider.skus {
        let Some(metered) = sku.metered().filter(|metered| of(&metered.meter)) else { continue };
        let of_sku = sku.prices.iter().flat_map(|price| [Some(price.from), price.until]);
        bounds.entry(metered.meter.clone()).or_default().extend(of_sku.flatten());
    }
    bounds
}

pub(crate) enum Resolved {
    OutsideThePeriod,
    Unrated(UnratedKey),
    Rated(PoolKey),
}

/// The prices of a catalog, ready for lookups.
pub(crate) struct Resolver<'c> {
    catalog: &'c Catalog,
    periods: &'c Periods,
    skus: Skus<'c>,
}

impl<'c> Resolver<'c> {
    pub(crate) fn new(catalog: &'c Catalog, periods: &'c Periods) -> Self {
        Self { catalog, periods, skus: Skus::of(catalog) }
    }

    /// Finds the price of usage, or the reason it has none. Reasons in order: the meter, the provider,
    /// the SKU, the price.
    pub(crate) fn resolve(&self, usage: &UsageKey) -> Resolved {
        let named = usage.provider.as_ref();
        let at = usage.interval.start();
        let period = match named.and_then(|provider| self.catalog.providers.get(provider)) {
            Some(provider) => self.periods.of_provider(&provider.id),
            None => self.periods.utc,
        };
        let unrated = |reason, provider: Option<&ProviderId>, period: Option<Period>| {
            if !period.is_some_and(|period| period.contains(at)) {
                return Resolved::OutsideThePeriod;
            }
            Resolved::Unrated(UnratedKey {
                reason,
                provider: provider.cloned(),
                meter: usage.meter.clone(),
                subject: usage.subject.clone(),
            })
        };
        if !self.catalog.meters.contains_key(&usage.meter) {
            return unrated(UnratedReason::UnknownMeter, named, period);
        }
        if let Some(named) = named
            && !self.catalog.providers.contains_key(named)
        {
            return unrated(UnratedReason::UnknownProvider, Some(named), period);
        }
        let candidates: Vec<(&Provider, usize)> = self.skus.taking(usage).collect();
        let (provider, sku_index) = match candidates.as_slice() {
            [] => return unrated(UnratedReason::NoSku, named, period),
            [one] => *one,
            _ => return unrated(UnratedReason::AmbiguousProvider, None, period),
        };
        let period = self.periods.of_provider(&provider.id);
        if !period.is_some_and(|period| period.contains(at)) {
            return Resolved::OutsideThePeriod;
        }
        let sku = &provider.skus[sku_index];
        let Some(price) = sku.price_index_at(at) else {
            return unrated(UnratedReason::NoPrice, Some(&provider.id), period);
        };
        let bills_each = sku.allocation.name().bills_each_customer();
        let sub_account = if bills_each { usage.customer.clone() } else { None };
        Resolved::Rated(PoolKey { provider: provider.id.clone(), sku: sku_index, sub_account, price })
    }
}
