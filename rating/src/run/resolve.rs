//! Which SKU takes usage, whose bill it is on, and at which price; or why none does.
//!
//! The only place that decides it. Quantities and amounts are deliberately not looked at.
//!
//! Invariant: usage resolves to one price, to one reason, or to another period.

use crate::catalog::{Catalog, Provider};
use crate::error::RatingError;
use crate::usage::{Cuts, UsageKey};
use crate::words::words;
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, MeterType, ProviderId, Subject};
use schemas::time::{BillingMonth, Instant, Period, time_zone};
use std::collections::BTreeMap;

words! {
    /// Why usage has no cost. Fixing the catalog and rating again is the whole repair.
    pub enum UnratedReason {
        /// More than one provider could bill it, and it names none.
        AmbiguousProvider = "ambiguous-provider",
        /// The SKU has no price at its time.
        NoPrice = "no-price",
        /// No SKU takes it.
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
    utc: Period,
}

impl Periods {
    pub(crate) fn of(month: BillingMonth, catalog: &Catalog) -> Result<Self, RatingError> {
        let out_of_range = |reason| RatingError::Period { month, reason };
        let mut by_provider = BTreeMap::new();
        for provider in catalog.providers.values() {
            by_provider.insert(provider.id.clone(), provider.billing_period(month).map_err(out_of_range)?);
        }
        let utc = time_zone("UTC").expect("the tz database has UTC");
        Ok(Self { by_provider, utc: month.period_in(&utc).map_err(out_of_range)? })
    }

    /// # Panics
    /// When the catalog has no such provider.
    pub(crate) fn of_provider(&self, provider: &ProviderId) -> Period {
        *self.by_provider.get(provider).expect("periods were made for every provider of the catalog")
    }

    /// Every instant where a period or a price begins or ends.
    pub(crate) fn cuts(&self, catalog: &Catalog) -> Cuts {
        let of_provider = |provider: &Provider| {
            let period = self.of_provider(&provider.id);
            let prices = provider.skus.iter().flat_map(|sku| &sku.prices);
            let bounds = prices.flat_map(|price| [Some(price.from), price.until]).flatten();
            let mut cuts: Vec<Instant> = bounds.filter(|bound| period.contains(*bound)).collect();
            cuts.extend([period.start(), period.end()]);
            cuts
        };
        Cuts::of(self.utc, catalog.providers.values().flat_map(of_provider))
    }
}

pub(crate) enum Resolved {
    OutsideThePeriod,
    Unrated(UnratedKey),
    Rated(PoolKey),
}

/// Finds the price of usage, or the reason it has none. Reasons in order: the meter, the provider,
/// the SKU, the price.
pub(crate) fn resolve(usage: &UsageKey, catalog: &Catalog, periods: &Periods) -> Resolved {
    let named = usage.provider.as_ref();
    let period = named.and_then(|provider| periods.by_provider.get(provider)).copied().unwrap_or(periods.utc);
    let unrated = |reason, provider: Option<&ProviderId>, period: Period| {
        if !period.contains(usage.interval.start()) {
            return Resolved::OutsideThePeriod;
        }
        Resolved::Unrated(UnratedKey {
            reason,
            provider: provider.cloned(),
            meter: usage.meter.clone(),
            subject: usage.subject.clone(),
        })
    };
    if !catalog.meters.contains_key(&usage.meter) {
        return unrated(UnratedReason::UnknownMeter, named, period);
    }
    let candidates: Vec<(&Provider, usize)> = match named {
        Some(named) => match catalog.providers.get(named) {
            None => return unrated(UnratedReason::UnknownProvider, Some(named), period),
            Some(provider) => sku_index(provider, usage).map(|sku| (provider, sku)).into_iter().collect(),
        },
        None => catalog
            .providers
            .values()
            .filter_map(|provider| Some((provider, sku_index(provider, usage)?)))
            .collect(),
    };
    let (provider, sku_index) = match candidates.as_slice() {
        [] => return unrated(UnratedReason::NoSku, named, period),
        [one] => *one,
        _ => return unrated(UnratedReason::AmbiguousProvider, None, period),
    };
    let period = periods.of_provider(&provider.id);
    if !period.contains(usage.interval.start()) {
        return Resolved::OutsideThePeriod;
    }
    let sku = &provider.skus[sku_index];
    let Some(price) = sku.prices.iter().position(|price| price.contains(usage.interval.start())) else {
        return unrated(UnratedReason::NoPrice, Some(&provider.id), period);
    };
    let sub_account = if sku.allocation.name().bills_each_customer() { usage.customer.clone() } else { None };
    Resolved::Rated(PoolKey { provider: provider.id.clone(), sku: sku_index, sub_account, price })
}

fn sku_index(provider: &Provider, usage: &UsageKey) -> Option<usize> {
    let sku = provider.sku_for(&usage.meter, |name| usage.dimensions.get(name).map(String::as_str))?;
    provider.skus.iter().position(|other| other.id == sku.id)
}
