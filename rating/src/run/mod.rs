//! A rating run: pinned inputs, cost lines, charges, statement lines and what could not be rated.
//!
//! The run is computed whole, checked whole, and only then handed out. It deliberately does not
//! read invoices or close periods.
//!
//! Invariants, checked for every cost line before the run exists (`RatingError::Unbalanced`
//! otherwise):
//! - Σ charges and retained = the cost line's amount, to 10^-18.
//! - Σ statement lines = the cost line's settled money, to the minor unit.

// Modules in reading order.
mod ids; // of a run and of its lines
mod pins; // what a run depends on
mod skus; // SKUs by what they take
mod resolve; // which SKU, whose bill, at which price
mod gather; // what meters make of samples
mod line; // a cost line, its charges and statement lines
mod completeness; // what may be missing
mod posted; // statement lines, whole
mod bill; // grants and other currencies
mod posted_bytes; // as the ledger keeps them
mod check; // what goes in comes out

pub use bill::Granted;
pub(crate) use bill::{bill, bill_lines, grant, grant_lines, too_large};
pub(crate) use completeness::noted;
pub use completeness::{CompletenessKind, CompletenessRow};
use gather::Gathering;
pub(crate) use gather::{Grounds, gather, gather_until};
pub(crate) use ids::ItemId;
pub use ids::{ChargeId, CostLineId, RunId, StatementLineId};
pub use line::{Charge, CostLine, CostLineKey, StatementLine};
pub use pins::{ENGINE_VERSION, Pins};
pub(crate) use posted::estimates;
pub use posted::{Correction, Entry, LineKey, PostedLine, Posting};
pub use posted_bytes::{read_posted, write_posted};
pub(crate) use resolve::{Periods, PoolKey, Resolved, Resolver};
pub use resolve::{Unrated, UnratedKey, UnratedReason};

use crate::allocation::{Rule, SubjectUsage};
use crate::catalog::{Catalog, Counts, Provider};
use crate::error::RatingError;
use crate::exact::{Exact, exact};
use crate::meter::Aggregation;
use crate::price::{PriceModel, Recurrence};
use crate::usage::{AttributedRows, CountedRows, LargestEvent, LedgerCounts, UsageKey, UsageTotal};
use line::LineMaker;
pub(crate) use line::{Taken, Used, decimal};
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, MeterType, ProviderId};
use schemas::time::BillingMonth;
use std::collections::{BTreeMap, BTreeSet};

/// A finished, checked run.
#[derive(Debug, Clone)]
pub struct Run {
    pub pins: Pins,
    pub counts: LedgerCounts,
    /// In order of provider, SKU as the price list has them, sub account and price.
    pub cost_lines: Vec<CostLine>,
    /// What is on statements: what cost lines settle at, until what was invoiced stands in for it
    /// (`reconcile::post`).
    pub posted: Vec<PostedLine>,
    pub unrated: Vec<Unrated>,
    /// By kind, provider, meter, source, subject, detail and time.
    pub completeness: Vec<CompletenessRow>,
}

/// Rates a month.
///
/// # Errors
/// When rows cannot be read, a number does not fit, or an invariant does not hold. There is no
/// partial run.
pub async fn rate(pins: Pins, usage: &CountedRows, catalog: &Catalog) -> Result<Run, RatingError> {
    let periods = Periods::of(pins.month, catalog)?;
    let counts = usage.counts().await?;
    let before = before(pins.month, Some(usage), catalog).await?;
    let rows = usage.attributed(catalog, periods.cuts(catalog)).await?;
    let grounds = Grounds::of(catalog, &periods, |_, _| true);
    let gathering = gather(&grounds, Some(usage), catalog, &periods).await?;
    match lines((rows.totals().await?, &gathering), pins.month, catalog, &periods, &before.taken) {
        Ok((mut cost_lines, unrated)) => {
            grant(&mut cost_lines, pins.month, catalog, &before.granted)?;
            bill(&mut cost_lines, pins.month, catalog)?;
            let completeness = completeness::of_run(&gathering, usage, pins.month, catalog).await?;
            let posted = estimates(pins.month, &cost_lines);
            Ok(Run { pins, counts, cost_lines, posted, unrated, completeness })
        }
        Err(error) => Err(name_largest(error, &rows, catalog, &periods).await),
    }
}

/// The checked cost lines of a month and what is not in them, of totals within its periods and of what
/// was gathered of samples.
pub(crate) fn lines(
    usage: (Vec<UsageTotal>, &Gathering<'_>),
    month: BillingMonth,
    catalog: &Catalog,
    periods: &Periods,
    taken: &Taken,
) -> Result<(Vec<CostLine>, Vec<Unrated>), RatingError> {
    lines_of_more(usage, &|_| {}, month, catalog, periods, taken)
}

/// As [`lines`], of what adds up after `more` was put to it.
pub(crate) fn lines_of_more(
    (totals, gathering): (Vec<UsageTotal>, &Gathering<'_>),
    more: &dyn Fn(&mut Added),
    month: BillingMonth,
    catalog: &Catalog,
    periods: &Periods,
    taken: &Taken,
) -> Result<(Vec<CostLine>, Vec<Unrated>), RatingError> {
    let (pools, unrated) = pool(totals, gathering, more, catalog, periods)?;
    let partners = &catalog.partners();
    let mut cost_lines = Vec::new();
    // Periods are as few as time zones.
    let mut bound_in = BTreeMap::new();
    for provider in catalog.providers.values() {
        let Some(period) = periods.of_provider(&provider.id) else { continue };
        let bound: &BTreeSet<CustomerId> = bound_in
            .entry((period.start(), period.end()))
            .or_insert_with(|| catalog.customers_bound_in(period));
        let mut above: Vec<Vec<CostLine>> = Vec::with_capacity(provider.skus.len());
        for (index, sku) in provider.skus.iter().enumerate() {
            let maker = LineMaker { catalog, gathering, provider, sku, month, period, bound, partners };
            let lines = lines_of(&maker, index, &pools, (&above, taken))?;
            above.push(lines);
        }
        cost_lines.extend(above.into_iter().flatten());
    }
    check::check_sums(&cost_lines)?;
    check::check(&cost_lines)?;
    Ok((cost_lines, unrated))
}

/// What earlier months have taken of what is left to a month.
#[derive(Debug, Default)]
pub(crate) struct Before {
    pub taken: Taken,
    pub granted: Granted,
}

/// What the `once` credits and the grants of a catalog have taken and paid in the months before one, of
/// the same usage.
pub(crate) async fn before(
    month: BillingMonth,
    usage: Option<&CountedRows>,
    catalog: &Catalog,
) -> Result<Before, RatingError> {
    let mut before = Before::default();
    let skus = catalog.providers.values().flat_map(|provider| &provider.skus);
    let once = skus
        .flat_map(|sku| &sku.prices)
        .filter(|price| matches!(price.terms.model, PriceModel::Credit { every: Recurrence::Once, .. }));
    let once = once.map(|price| BillingMonth::anywhere(price.from).0).min();
    // A grant takes what others have left, so that all are asked from the first one on.
    let grants = || catalog.grants.iter();
    let granted =
        grants().map(|grant| grant.from).min().filter(|_| grants().any(|grant| grant.is_for(month)));
    let Some(mut earlier) = once.into_iter().chain(granted).min() else { return Ok(before) };
    while earlier < month {
        let periods = Periods::of(earlier, catalog)?;
        let totals = match usage {
            None => Vec::new(),
            Some(usage) => usage.attributed(catalog, periods.cuts(catalog)).await?.totals().await?,
        };
        let grounds = Grounds::of(catalog, &periods, |_, _| true);
        let gathering = gather(&grounds, usage, catalog, &periods).await?;
        let (mut cost_lines, _) = lines((totals, &gathering), earlier, catalog, &periods, &before.taken)?;
        grant(&mut cost_lines, earlier, catalog, &before.granted)?;
        before.granted.add(&cost_lines);
        before.taken.add(&cost_lines)?;
        let Some(next) = earlier.next() else { break };
        earlier = next;
    }
    Ok(before)
}

/// The checked cost lines of one SKU, which is the `index`th of its provider, of totals within its
/// period and of what was gathered; the same as among the lines of all.
pub(crate) fn lines_of_sku(
    (totals, gathering): (Vec<UsageTotal>, &Gathering<'_>),
    month: BillingMonth,
    catalog: &Catalog,
    periods: &Periods,
    (provider, index): (&Provider, usize),
    taken: &Taken,
) -> Result<Vec<CostLine>, RatingError> {
    let Some(period) = periods.of_provider(&provider.id) else { return Ok(Vec::new()) };
    let (pools, _) = pool(totals, gathering, &|_| {}, catalog, periods)?;
    let bound = &catalog.customers_bound_in(period);
    let partners = &catalog.partners();
    let needed = provider.stands_on(index);
    let mut above: Vec<Vec<CostLine>> = Vec::with_capacity(index + 1);
    for (place, sku) in provider.skus[..=index].iter().enumerate() {
        let maker = LineMaker { catalog, gathering, provider, sku, month, period, bound, partners };
        let is_needed = needed.contains(&place);
        above.push(if is_needed { lines_of(&maker, place, &pools, (&above, taken))? } else { Vec::new() });
    }
    let lines = above.pop().expect("the SKU is one of these");
    check::check(&lines)?;
    Ok(lines)
}

/// Where a number of a SKU is too large, adds which of the SKU's events is the largest, and how it
/// is taken out.
async fn name_largest(
    error: RatingError,
    rows: &AttributedRows<'_>,
    catalog: &Catalog,
    periods: &Periods,
) -> RatingError {
    let RatingError::TooLarge { provider, sku, detail, largest: None } = error else { return error };
    let of_provider = catalog.providers.get(&provider);
    let priced = of_provider.and_then(|found| found.skus.iter().position(|known| known.id == sku));
    // A price on other lines is too large by the usage of the lines that it is on.
    let (skus, meters) = of_provider
        .zip(priced)
        .map(|(found, priced)| {
            let skus = found.stands_on(priced);
            let metered = skus.iter().filter_map(|&place| found.skus[place].metered());
            let meters: BTreeSet<&MeterType> = metered.map(|metered| &metered.events).collect();
            (skus, meters)
        })
        .unwrap_or_default();
    let prices = Resolver::new(catalog, periods);
    let of_these = |key: &UsageKey| match prices.resolve(key) {
        Resolved::Rated(pools) => {
            pools.iter().any(|pool| pool.provider == provider && skus.contains(&pool.sku))
        }
        Resolved::OutsideThePeriod | Resolved::Unrated(_) | Resolved::OnlyAKey => false,
    };
    let mut largest: Option<LargestEvent> = None;
    for meter in meters {
        let found = match rows.largest(meter, of_these).await {
            Ok(found) => found,
            Err(error) => return error,
        };
        let quantity = |event: &Option<LargestEvent>| event.as_ref().map(|event| event.quantity);
        if quantity(&found) > quantity(&largest) {
            largest = found;
        }
    }
    let largest = largest.map(|LargestEvent { customer, quantity, at, event }| {
        let customer = customer.map_or_else(|| "nobody".to_owned(), |customer| format!("customer {customer}"));
        let void = event.void("its value is far too large");
        format!(
            "Its largest event says {quantity} for {subject} ({customer}): {source} {id} at {at}. If that is a mistake, take it out: send this event to the topic, or ingest it as a line of a .ndjson file, and rate again:\n{void}",
            subject = event.subject,
            source = event.source,
            id = event.id,
        )
        .into_boxed_str()
    });
    RatingError::TooLarge { provider, sku, detail, largest }
}

/// What was used, where it is priced.
pub(crate) type Pools<'p> = BTreeMap<PoolKey, Used<'p>>;

/// Shows what was used within some periods; of SKUs whose usage is gathered from samples, of those that
/// `of` takes.
///
/// # Errors
/// When rows cannot be read.
pub(crate) async fn with_pools(
    usage: &CountedRows,
    catalog: &Catalog,
    periods: &Periods,
    of: impl Fn(&Provider, usize) -> bool,
    then: &mut impl FnMut(&Pools<'_>),
) -> Result<(), RatingError> {
    let rows = usage.attributed(catalog, periods.cuts(catalog)).await?;
    let grounds = Grounds::of(catalog, periods, of);
    let gathering = gather(&grounds, Some(usage), catalog, periods).await?;
    let (pools, _) = pool(rows.totals().await?, &gathering, &|_| {}, catalog, periods)?;
    then(&pools);
    Ok(())
}

/// Who used what of the usage that just adds up, where it is priced.
pub(crate) type Added = BTreeMap<PoolKey, Vec<SubjectUsage>>;

/// Puts each total where it is priced, or says why it is not, beside what was gathered there.
fn pool<'p>(
    totals: Vec<UsageTotal>,
    gathering: &'p Gathering<'_>,
    more: &dyn Fn(&mut Added),
    catalog: &Catalog,
    periods: &Periods,
) -> Result<(Pools<'p>, Vec<Unrated>), RatingError> {
    let prices = Resolver::new(catalog, periods);
    let mut added = Added::new();
    let mut unrated: BTreeMap<UnratedKey, (QuantityTotal, u64)> = gathering.unrated.clone();
    for UsageTotal { key: usage, quantity, events } in totals {
        match prices.resolve(&usage) {
            Resolved::OutsideThePeriod | Resolved::OnlyAKey => {}
            Resolved::Unrated(key) if gathering.tells_unrated(&key) => {}
            Resolved::Unrated(key) => {
                let sum = unrated.entry(key).or_insert((QuantityTotal::ZERO, 0));
                sum.0 =
                    sum.0.checked_add(quantity).map_err(RatingError::overflow("a sum of unrated usage"))?;
                sum.1 += events;
            }
            Resolved::Rated(keys) => {
                for key in keys {
                    let sku = &catalog.providers[&key.provider].skus[key.sku];
                    let Some(metered) = sku.metered().filter(|metered| metered.rules.is_additive()) else {
                        continue;
                    };
                    let quantity = match metered.rules.values.aggregation() {
                        Aggregation::Count => Exact::from_integer(events.into()),
                        _ => exact(quantity),
                    };
                    let UsageKey { customer, subject, .. } = usage.clone();
                    added.entry(key).or_default().push(SubjectUsage { customer, subject, quantity });
                }
            }
        }
    }
    more(&mut added);
    let gathered = gathering.pools().map(|(key, gathered)| (key.clone(), Used::Gathered(gathered)));
    let pools = added.into_iter().map(|(key, usage)| (key, Used::Added(usage))).chain(gathered).collect();
    let unrated = unrated.into_iter().map(|(key, (quantity, events))| Unrated { key, quantity, events });
    Ok((pools, unrated.collect()))
}

/// The cost lines of one SKU, which is the `index`th of its provider; `above` are the lines of those
/// that stand above it.
fn lines_of(
    maker: &LineMaker<'_>,
    index: usize,
    pools: &Pools<'_>,
    (above, taken): (&[Vec<CostLine>], &Taken),
) -> Result<Vec<CostLine>, RatingError> {
    match &maker.sku.counts {
        Counts::Nothing => maker.fees(),
        Counts::Lines(of) => maker.on_lines(of, above, taken),
        Counts::Usage(metered) => {
            let mut lines = Vec::new();
            for ((_, sub_account), prices) in accounts(&maker.provider.id, index, pools) {
                lines.append(&mut maker.metered(metered, sub_account, &prices)?);
            }
            if lines.is_empty() && maker.sku.allocation != Rule::Direct {
                lines.extend(maker.unused(metered)?);
            }
            Ok(lines)
        }
    }
}

/// Usage by the provider's sub account, that of nobody last, then by the price that applies, by its place
/// in the price list.
type Accounts<'p> = BTreeMap<(bool, Option<&'p CustomerId>), Vec<(usize, &'p Used<'p>)>>;

/// The usage of one SKU by the provider's sub account.
fn accounts<'p>(provider: &ProviderId, sku: usize, pools: &'p Pools<'_>) -> Accounts<'p> {
    let first = PoolKey { provider: provider.clone(), sku, sub_account: None, price: 0 };
    let of_sku = pools.range(first..).take_while(|(key, _)| key.provider == *provider && key.sku == sku);
    let mut accounts = Accounts::new();
    for (key, usage) in of_sku {
        let account = (key.sub_account.is_none(), key.sub_account.as_ref());
        accounts.entry(account).or_default().push((key.price, usage));
    }
    accounts
}
