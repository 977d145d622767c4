//! What a month that has begun costs so far, and what it may come to if it goes on at the same rate.
//!
//! What just adds up is extrapolated: what a subject has used by each price list in the elapsed part of
//! the billing period, it goes on to use in the rest of it, for whoever it is bound to now. The
//! quantities go through the price model, so that tiers, free units and packages apply to what they come
//! to. Fees are due or not and are never extrapolated, and nothing is made up for peaks, levels and other
//! quantities that do not grow with time. The clock is the caller's.
//!
//! Invariant: at the quantities that it states, every amount is exact, and the estimate of customers and
//! of what is retained adds up to that of the lines.

use crate::allocation::{Rule, SubjectUsage};
use crate::catalog::{Catalog, Counts, Provider, Sku};
use crate::error::RatingError;
use crate::exact::Exact;
use crate::price::PriceModelName;
use crate::run::{
    Added, CompletenessKind, CostLine, Grounds, Periods, PoolKey, before, gather_until, grant, lines,
    lines_of_more, noted,
};
use crate::usage::CountedRows;
use crate::what_if::{LineOf, WhatIf, compared, line_of};
use crate::words::words;
use num_traits::Zero as _;
use schemas::decimal::QuantityTotal;
use schemas::id::{ProviderId, SkuId, Subject};
use schemas::time::{BillingMonth, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// A forecast of a month.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// When it was made.
    pub at: Instant,
    /// The billing period of every provider.
    pub periods: BTreeMap<ProviderId, Period>,
    /// `before` is what the month costs if nothing more is used, `after` what it may come to.
    pub compared: WhatIf,
    /// The quantities of lines with a meter, so far and as they may become, and their unit.
    pub quantities: BTreeMap<LineOf, Quantities>,
    /// By provider and SKU.
    pub unknown: Vec<Unknown>,
}

/// The quantity of the lines of one SKU and account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantities {
    pub so_far: QuantityTotal,
    pub estimate: QuantityTotal,
    pub unit: Option<String>,
}

words! {
    /// Why an estimate may be wrong in another way than that usage changes.
    pub enum Why {
        /// Its price depends on how much it becomes.
        Tiers = "tiers",
        /// Its quantity does not grow with time: a peak, a level, a percentile.
        NotExtrapolated = "not-extrapolated",
        /// A price of it begins or ends before the period does.
        Price = "price",
        /// A fee that falls due after now; it is in both figures.
        NotYetDue = "not-yet-due",
        /// Samples are missing.
        Gap = "gap",
        /// Usage has no price so far; it costs nothing in both figures.
        Unrated = "unrated",
        /// The billing period has not begun, or is over; nothing is extrapolated.
        NotRunning = "not-running",
    }
}

/// What cannot be known of a SKU, or of a provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unknown {
    pub provider: Option<ProviderId>,
    pub sku: Option<SkuId>,
    pub why: Why,
    pub detail: String,
}

/// Why there is no forecast.
#[derive(Debug, thiserror::Error)]
pub enum ForecastError {
    #[error(transparent)]
    Rating(#[from] RatingError),
    #[error("{0} has not begun: it begins at {1}")]
    NotBegun(BillingMonth, Instant),
    #[error("{0} is over since {1}; `atcost rate --period {0}` says what it costs")]
    Over(BillingMonth, Instant),
}

/// Says what a month that runs at `now` may come to.
///
/// # Errors
/// When no provider's billing period of the month contains `now`, rows cannot be read, or a number does
/// not fit.
pub async fn forecast(
    month: BillingMonth,
    now: Instant,
    usage: &CountedRows,
    catalog: &Catalog,
) -> Result<Forecast, ForecastError> {
    let periods = Periods::of(month, catalog)?;
    let own: BTreeMap<ProviderId, Period> =
        catalog.providers.keys().filter_map(|id| Some((id.clone(), periods.of_provider(id)?))).collect();
    let all = || own.values().copied().chain(periods.iter());
    if !all().any(|period| period.contains(now)) {
        return Err(match all().map(Period::start).min().filter(|start| now < *start) {
            Some(start) => ForecastError::NotBegun(month, start),
            None => ForecastError::Over(month, all().map(Period::end).max().unwrap_or(now)),
        });
    }
    let before = before(month, Some(usage), catalog).await?;
    let totals = match periods.before(now) {
        Some(until_now) => usage.attributed(catalog, until_now.cuts(catalog)).await?.totals().await?,
        None => Vec::new(),
    };
    let grounds = Grounds::of(catalog, &periods, |_, _| true);
    let gathering = gather_until(Some(now), &grounds, Some(usage), catalog, &periods).await?;
    let (mut so_far, unrated) = lines((totals.clone(), &gathering), month, catalog, &periods, &before.taken)?;
    let more = |added: &mut Added| extrapolate(added, now, catalog, &periods);
    let (mut estimate, _) =
        lines_of_more((totals, &gathering), &more, month, catalog, &periods, &before.taken)?;
    for lines in [&mut so_far, &mut estimate] {
        grant(lines, month, catalog, &before.granted)?;
    }
    let mut unknown = unknown(now, catalog, &periods, &estimate);
    for row in
        noted(&gathering)?.into_iter().filter(|row| row.kind == CompletenessKind::Gap && row.from < now)
    {
        let subject = row.subject.as_ref().map_or("", Subject::as_str);
        let meter = row.meter.as_ref().map_or("", |meter| meter.as_str());
        let until = row.until.min(now);
        let detail = format!("nothing of {subject} by {meter} from {} until {until}", row.from);
        unknown.insert(Unknown { provider: row.provider, sku: None, why: Why::Gap, detail });
    }
    for row in unrated {
        let detail = format!("{} of {} ({})", row.quantity, row.key.events, row.key.reason);
        unknown.insert(Unknown { provider: row.key.provider, sku: None, why: Why::Unrated, detail });
    }
    Ok(Forecast {
        at: now,
        periods: own,
        compared: compared(&so_far, &estimate)?,
        quantities: quantities(&so_far, &estimate)?,
        unknown: unknown.into_iter().collect(),
    })
}

/// The length of a stretch of time.
fn micros(from: Instant, until: Instant) -> Exact {
    Exact::from_integer((until.micros() - from.micros()).into())
}

/// Puts to what was used what is used in the rest of every billing period, at the rate so far.
fn extrapolate(added: &mut Added, now: Instant, catalog: &Catalog, periods: &Periods) {
    // By provider and SKU, what each subject has used so far.
    let mut used: BTreeMap<(ProviderId, usize), BTreeMap<Subject, Exact>> = BTreeMap::new();
    for (key, usage) in added.iter() {
        let of_sku = used.entry((key.provider.clone(), key.sku)).or_default();
        for SubjectUsage { subject, quantity, .. } in usage {
            *of_sku.entry(subject.clone()).or_insert_with(Exact::zero) += quantity;
        }
    }
    for ((id, index), subjects) in used {
        let sku = &catalog.providers[&id].skus[index];
        let Some(period) = periods.of_provider(&id).filter(|period| period.contains(now)) else { continue };
        let elapsed = micros(period.start(), now);
        if elapsed.is_zero() {
            continue;
        }
        for (price, rest) in rests(sku, now, period) {
            let part = micros(rest.start(), rest.end()) / &elapsed;
            for (subject, quantity) in &subjects {
                let customer = catalog.bindings.at(subject, now).map(|binding| binding.customer.clone());
                let sub_account = customer.clone().filter(|_| sku.allocation == Rule::Direct);
                let key = PoolKey { provider: id.clone(), sku: index, sub_account, price };
                let more = SubjectUsage { customer, subject: subject.clone(), quantity: quantity * &part };
                added.entry(key).or_default().push(more);
            }
        }
    }
}

/// The prices of a SKU that are in force in the rest of a period, by their places, and when.
fn rests(sku: &Sku, now: Instant, period: Period) -> impl Iterator<Item = (usize, Period)> {
    sku.prices.iter().enumerate().filter_map(move |(place, price)| {
        let within = price.within(period)?;
        Some((place, Period::new(within.start().max(now), within.end())?))
    })
}

/// What cannot be known of each SKU of the providers whose periods run.
fn unknown(now: Instant, catalog: &Catalog, periods: &Periods, estimate: &[CostLine]) -> BTreeSet<Unknown> {
    let mut unknown = BTreeSet::new();
    let with_lines: BTreeSet<(&ProviderId, &SkuId)> =
        estimate.iter().map(|line| (&line.key.provider, &line.key.sku)).collect();
    for provider in catalog.providers.values() {
        let Some(period) = periods.of_provider(&provider.id) else { continue };
        let mut say = |sku: Option<&Sku>, why: Why, detail: String| {
            let provider = Some(provider.id.clone());
            unknown.insert(Unknown { provider, sku: sku.map(|sku| sku.id.clone()), why, detail });
        };
        if !period.contains(now) {
            let words = if now < period.start() { "begins at" } else { "was over at" };
            let at = if now < period.start() { period.start() } else { period.end() };
            say(None, Why::NotRunning, format!("its billing period {words} {at}"));
            continue;
        }
        for sku in provider.skus.iter().filter(|sku| with_lines.contains(&(&provider.id, &sku.id))) {
            for (why, detail) in unknown_of(sku, provider, now, period) {
                say(Some(sku), why, detail);
            }
        }
    }
    unknown
}

fn unknown_of(sku: &Sku, provider: &Provider, now: Instant, period: Period) -> Vec<(Why, String)> {
    let mut found = Vec::new();
    match &sku.counts {
        Counts::Nothing => {
            for price in &sku.prices {
                let due = price.due(period, &provider.time_zone).is_some();
                if due && price.from > now {
                    found.push((Why::NotYetDue, format!("its fee falls due at {}", price.from)));
                }
            }
        }
        Counts::Lines(_) => {}
        Counts::Usage(metered) if !metered.rules.is_additive() => {
            found.push((
                Why::NotExtrapolated,
                "it does not grow with time; it stands as it is now".to_owned(),
            ));
        }
        Counts::Usage(_) => {
            let mut covered = Exact::zero();
            for (place, rest) in rests(sku, now, period) {
                covered += micros(rest.start(), rest.end());
                let terms = &sku.prices[place].terms;
                let depends = matches!(
                    terms.model.name(),
                    PriceModelName::Graduated | PriceModelName::Volume | PriceModelName::Package
                );
                if depends || !terms.free.is_zero() {
                    let detail = "its price depends on how much it becomes by the end".to_owned();
                    found.push((Why::Tiers, detail));
                }
                if rest.start() > now {
                    found.push((Why::Price, format!("another price begins at {}", rest.start())));
                }
            }
            if covered < micros(now, period.end()) {
                let detail =
                    "it has no price in a part of the rest; what is used then is not in the estimate";
                found.push((Why::Price, detail.to_owned()));
            }
        }
    }
    found.dedup();
    found
}

/// The quantities of lines with a meter.
fn quantities(
    so_far: &[CostLine],
    estimate: &[CostLine],
) -> Result<BTreeMap<LineOf, Quantities>, RatingError> {
    let mut quantities: BTreeMap<LineOf, Quantities> = BTreeMap::new();
    for (is_estimate, line) in
        so_far.iter().map(|line| (false, line)).chain(estimate.iter().map(|line| (true, line)))
    {
        if line.metered_quantity.is_none() {
            continue;
        }
        let of = quantities.entry(line_of(line)).or_insert_with(|| Quantities {
            so_far: QuantityTotal::ZERO,
            estimate: QuantityTotal::ZERO,
            unit: line.unit.clone(),
        });
        let sum = if is_estimate { &mut of.estimate } else { &mut of.so_far };
        *sum = sum.checked_add(line.quantity).map_err(RatingError::overflow("a quantity of the month"))?;
    }
    Ok(quantities)
}
