//! A rating run: pinned inputs, cost lines, charges, statement lines and what could not be rated.
//!
//! The run is computed whole, checked whole, and only then handed out. It deliberately does not
//! read invoices or close periods.
//!
//! Invariants, checked for every cost line before the run exists (`RatingError::Broken` otherwise):
//! - Σ charges and retained = the cost line's amount, to 10^-18.
//! - Σ statement lines = the cost line's settled money, to the minor unit.

use crate::allocation::{self, Kind, Rule, Share};
use crate::catalog::{Catalog, DatedPrice, Metered, Provider, Sku};
use crate::error::RatingError;
use crate::exact::{Exact, exact};
use crate::price::{self, PriceModel, Recurrence, Step};
use crate::rounding;
use crate::usage::{LedgerCounts, Usage, UsageTotal};
use ledger::read::LedgerCut;
use num_traits::{One as _, Zero as _};
use schemas::decimal::{Amount, QuantityTotal};
use schemas::digest::Sha256Digest;
use schemas::id::{BillingAccountId, CustomerId, MeterType, ProviderId, SkuId, Subject};
use schemas::money::{Currency, Money};
use schemas::time::{BillingMonth, Instant, Period, time_zone};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The version of the rules that turn rows into money. It is part of a run's id.
pub const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything a run depends on. Two runs with equal pins have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    pub month: BillingMonth,
    pub ledger: LedgerCut,
    pub catalog: Sha256Digest,
}

impl Pins {
    /// The run's id: the first 16 hexadecimal digits of the SHA-256 of
    /// `atcost run 1\nperiod …\nledger …\ncatalog …\nengine …\n`.
    pub fn run_id(&self) -> String {
        let text = format!(
            "atcost run 1\nperiod {}\nledger {} {}\ncatalog {}\nengine {ENGINE_VERSION}\n",
            self.month, self.ledger.versions, self.ledger.digest, self.catalog
        );
        Sha256Digest::of(text.as_bytes()).to_string()[..16].to_owned()
    }
}

/// What names a cost line within a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CostLineKey {
    pub provider: ProviderId,
    pub billing_account: BillingAccountId,
    /// The customer, where the provider bills each customer's account (`direct`).
    pub sub_account: Option<CustomerId>,
    pub sku: SkuId,
    pub charge_period: Period,
    /// When the price that applies came into force.
    pub price_from: Instant,
}

impl CostLineKey {
    /// 32 hexadecimal digits, the same in every run that has this line.
    pub fn id(&self) -> String {
        id_of(&[
            "cost line",
            self.provider.as_str(),
            self.billing_account.as_str(),
            self.sub_account.as_ref().map_or("", CustomerId::as_str),
            self.sku.as_str(),
            &self.charge_period.to_string(),
            &self.price_from.to_string(),
        ])
    }
}

fn id_of(parts: &[&str]) -> String {
    let mut bytes = Vec::new();
    for part in parts {
        schemas::event::push_text(&mut bytes, part);
    }
    Sha256Digest::of(&bytes).to_string()[..32].to_owned()
}

/// What we expect a provider to bill for one SKU at one price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostLine {
    /// [`CostLineKey::id`].
    pub id: String,
    pub key: CostLineKey,
    pub currency: Currency,
    /// In `unit`, to 9 places; 1 for a flat amount.
    pub quantity: QuantityTotal,
    /// UCUM; `None` for a flat amount.
    pub unit: Option<String>,
    /// The arithmetic, step by step.
    pub steps: Vec<Step>,
    pub amount: Amount,
    /// The amount as the provider's invoice will say it.
    pub settled: Money,
    pub model: &'static str,
    pub rule: Rule,
    pub shares: Vec<Charge>,
    pub statement: Vec<StatementLine>,
}

/// One customer's part of a cost line, or a part the operator retains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub id: String,
    pub customer: Option<CustomerId>,
    pub subject: Option<Subject>,
    pub kind: Kind,
    /// In the cost line's unit, to 9 places, where the rule follows usage.
    pub quantity: Option<QuantityTotal>,
    /// In the meter's unit: the exact allocation key.
    pub metered_quantity: Option<QuantityTotal>,
    pub amount: Amount,
}

/// What a customer's statement says about a cost line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    pub id: String,
    pub customer: Option<CustomerId>,
    pub kind: Kind,
    pub money: Money,
}

/// Why usage has no cost. Fixing the catalog and rating again is the whole repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnratedReason {
    AmbiguousProvider,
    NoPrice,
    NoSku,
    UnknownMeter,
    UnknownProvider,
}

impl UnratedReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AmbiguousProvider => "ambiguous-provider",
            Self::NoPrice => "no-price",
            Self::NoSku => "no-sku",
            Self::UnknownMeter => "unknown-meter",
            Self::UnknownProvider => "unknown-provider",
        }
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

/// A finished, checked run.
#[derive(Debug, Clone)]
pub struct Run {
    pub pins: Pins,
    pub counts: LedgerCounts,
    /// In order of provider, SKU as the price list has them, sub account and price.
    pub cost_lines: Vec<CostLine>,
    pub unrated: Vec<Unrated>,
}

/// Rates a month. `inputs` is a folder for what the plan scans beside the ledger.
///
/// # Errors
/// When rows cannot be read, a number does not fit, or an invariant does not hold. There is no
/// partial run.
pub async fn rate(pins: Pins, usage: &Usage, catalog: &Catalog, inputs: &Path) -> Result<Run, RatingError> {
    let periods = Periods::of(pins.month, catalog)?;
    let counts = usage.counts().await?;
    let totals = usage.totals(catalog, &periods.cuts(catalog), inputs).await?;
    let mut unrated: BTreeMap<UnratedKey, (QuantityTotal, u64)> = BTreeMap::new();
    let mut pools: BTreeMap<PoolKey, Vec<allocation::Usage>> = BTreeMap::new();
    for total in totals {
        match resolve(&total, catalog, &periods) {
            Resolved::OutsideThePeriod => {}
            Resolved::Unrated(key) => {
                let (quantity, events) = unrated.entry(key).or_insert((QuantityTotal::ZERO, 0));
                *quantity = quantity
                    .checked_add(total.quantity)
                    .map_err(|error| RatingError::broken(format!("unrated usage: {error}")))?;
                *events += total.events;
            }
            Resolved::Rated(key) => {
                pools.entry(key).or_default().push(allocation::Usage {
                    customer: total.customer,
                    subject: total.subject,
                    quantity: total.quantity,
                });
            }
        }
    }
    let mut cost_lines = Vec::new();
    for provider in catalog.providers.values() {
        let period = periods.of_provider(&provider.id);
        let bound = catalog.customers_bound_in(period);
        for (sku_index, sku) in provider.skus.iter().enumerate() {
            let line = LineMaker { catalog, provider, sku, period, bound: &bound };
            match &sku.metered {
                None => {
                    for price in &sku.prices {
                        if let Some(line) = line.flat(price)? {
                            cost_lines.push(line);
                        }
                    }
                }
                Some(metered) => {
                    let first = PoolKey {
                        provider: provider.id.clone(),
                        sku: sku_index,
                        sub_account: None,
                        price: 0,
                    };
                    let pools = pools
                        .range(first..)
                        .take_while(|(key, _)| key.provider == provider.id && key.sku == sku_index);
                    let mut by_account: BTreeMap<&Option<CustomerId>, Vec<(usize, &Vec<allocation::Usage>)>> =
                        BTreeMap::new();
                    for (key, usage) in pools {
                        by_account.entry(&key.sub_account).or_default().push((key.price, usage));
                    }
                    for (sub_account, prices) in by_account {
                        cost_lines.append(&mut line.metered(metered, sub_account.as_ref(), &prices)?);
                    }
                }
            }
        }
    }
    let unrated =
        unrated.into_iter().map(|(key, (quantity, events))| Unrated { key, quantity, events }).collect();
    let run = Run { pins, counts, cost_lines, unrated };
    run.check()?;
    Ok(run)
}

/// Usage that one price applies to: a SKU of a provider (by its place in the price list), an
/// account, a price (by its place).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct PoolKey {
    provider: ProviderId,
    sku: usize,
    sub_account: Option<CustomerId>,
    price: usize,
}

/// The month in each provider's time zone, and in UTC for usage that belongs to none.
pub(crate) struct Periods {
    by_provider: BTreeMap<ProviderId, Period>,
    utc: Period,
}

impl Periods {
    pub(crate) fn of(month: BillingMonth, catalog: &Catalog) -> Result<Self, RatingError> {
        let out_of_range =
            |error: schemas::time::TimeError| RatingError::broken(format!("the period {month}: {error}"));
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
    fn cuts(&self, catalog: &Catalog) -> BTreeSet<Instant> {
        let mut cuts = BTreeSet::from([self.utc.start(), self.utc.end()]);
        for provider in catalog.providers.values() {
            let period = self.of_provider(&provider.id);
            cuts.extend([period.start(), period.end()]);
            let bounds = provider
                .skus
                .iter()
                .flat_map(|sku| &sku.prices)
                .flat_map(|price| [Some(price.from), price.until])
                .flatten();
            cuts.extend(bounds.filter(|bound| period.contains(*bound)));
        }
        cuts
    }
}

enum Resolved {
    OutsideThePeriod,
    Unrated(UnratedKey),
    Rated(PoolKey),
}

/// Finds the price of a usage total, or the reason it has none. Reasons in order: the meter, the
/// provider, the SKU, the price.
fn resolve(total: &UsageTotal, catalog: &Catalog, periods: &Periods) -> Resolved {
    let named = total.provider.as_ref();
    let period = named.and_then(|provider| periods.by_provider.get(provider)).copied().unwrap_or(periods.utc);
    let unrated = |reason, provider: Option<&ProviderId>, period: Period| {
        if !period.contains(total.interval.start()) {
            return Resolved::OutsideThePeriod;
        }
        Resolved::Unrated(UnratedKey {
            reason,
            provider: provider.cloned(),
            meter: total.meter.clone(),
            subject: total.subject.clone(),
        })
    };
    if !catalog.meters.contains_key(&total.meter) {
        return unrated(UnratedReason::UnknownMeter, named, period);
    }
    let candidates: Vec<(&Provider, usize)> = match named {
        Some(named) => match catalog.providers.get(named) {
            None => return unrated(UnratedReason::UnknownProvider, Some(named), period),
            Some(provider) => sku_index(provider, total).map(|sku| (provider, sku)).into_iter().collect(),
        },
        None => catalog
            .providers
            .values()
            .filter_map(|provider| Some((provider, sku_index(provider, total)?)))
            .collect(),
    };
    let (provider, sku_index) = match candidates.as_slice() {
        [] => return unrated(UnratedReason::NoSku, named, period),
        [one] => *one,
        _ => return unrated(UnratedReason::AmbiguousProvider, None, period),
    };
    let period = periods.of_provider(&provider.id);
    if !period.contains(total.interval.start()) {
        return Resolved::OutsideThePeriod;
    }
    let sku = &provider.skus[sku_index];
    let Some(price) = sku.prices.iter().position(|price| price.contains(total.interval.start())) else {
        return unrated(UnratedReason::NoPrice, Some(&provider.id), period);
    };
    let sub_account = match sku.allocation {
        Rule::Direct => total.customer.clone(),
        Rule::Proportional | Rule::Even { .. } | Rule::Fixed { .. } => None,
    };
    Resolved::Rated(PoolKey { provider: provider.id.clone(), sku: sku_index, sub_account, price })
}

fn sku_index(provider: &Provider, total: &UsageTotal) -> Option<usize> {
    let sku = provider.sku_for(&total.meter, |name| total.dimensions.get(name).map(String::as_str))?;
    provider.skus.iter().position(|other| other.id == sku.id)
}

/// Makes the cost lines of one SKU.
struct LineMaker<'a> {
    catalog: &'a Catalog,
    provider: &'a Provider,
    sku: &'a Sku,
    period: Period,
    bound: &'a BTreeSet<CustomerId>,
}

impl LineMaker<'_> {
    /// The line of a flat price, if it falls due in this period.
    fn flat(&self, price: &DatedPrice) -> Result<Option<CostLine>, RatingError> {
        let PriceModel::Flat { every, .. } = &price.model else {
            return Err(RatingError::broken(format!(
                "{} has no meter and a price that needs one",
                self.sku.id
            )));
        };
        let due = match every {
            Recurrence::Month => price.contains(self.period.start()),
            Recurrence::Once => self.period.contains(price.from),
        };
        if !due {
            return Ok(None);
        }
        let one = Exact::one();
        let steps = price::steps(&price.model, &Exact::zero(), &one, &one);
        let quantity = rounding::quantity_total(&one).map_err(|error| self.money(&error))?;
        self.line(price, None, self.period, quantity, None, steps, &[], &one).map(Some)
    }

    /// The lines of one account: one per price with usage. Tiers, free units and packages count on
    /// from price to price.
    fn metered(
        &self,
        metered: &Metered,
        sub_account: Option<&CustomerId>,
        prices: &[(usize, &Vec<allocation::Usage>)],
    ) -> Result<Vec<CostLine>, RatingError> {
        let mut quantities = Vec::with_capacity(prices.len());
        let mut period_total = Exact::zero();
        for (_, usage) in prices {
            let mut sum = QuantityTotal::ZERO;
            for usage in *usage {
                sum = sum.checked_add(usage.quantity).map_err(|error| self.money(&error))?;
            }
            let quantity = exact(sum) * &metered.factor;
            period_total += &quantity;
            quantities.push(quantity);
        }
        let mut counted_before = Exact::zero();
        let mut lines = Vec::with_capacity(prices.len());
        for ((price, usage), quantity) in prices.iter().zip(quantities) {
            let price = &self.sku.prices[*price];
            let steps = price::steps(&price.model, &counted_before, &quantity, &period_total);
            counted_before += &quantity;
            let charge_period = price.within(self.period).ok_or_else(|| {
                RatingError::broken(format!("{}: a price was used outside its dates", self.sku.id))
            })?;
            let rounded = rounding::quantity_total(&quantity).map_err(|error| self.money(&error))?;
            lines.push(self.line(
                price,
                sub_account,
                charge_period,
                rounded,
                Some(metered.unit.as_str()),
                steps,
                usage,
                &metered.factor,
            )?);
        }
        Ok(lines)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call per kind of line; a struct would name each of these twice"
    )]
    fn line(
        &self,
        price: &DatedPrice,
        sub_account: Option<&CustomerId>,
        charge_period: Period,
        quantity: QuantityTotal,
        unit: Option<&str>,
        steps: Vec<Step>,
        usage: &[allocation::Usage],
        factor: &Exact,
    ) -> Result<CostLine, RatingError> {
        let provider = self.provider;
        let key = CostLineKey {
            provider: provider.id.clone(),
            billing_account: provider.billing_account.clone(),
            sub_account: sub_account.cloned(),
            sku: self.sku.id.clone(),
            charge_period,
            price_from: price.from,
        };
        let id = key.id();
        let amount = rounding::amount(&price::total(&steps)).map_err(|error| self.money(&error))?;
        let settled = rounding::settle(amount, provider.currency, provider.rounding)
            .map_err(|error| self.money(&error))?;
        let is_internal = |customer: &CustomerId| self.catalog.is_internal(customer);
        let shares = allocation::shares(amount, &self.sku.allocation, usage, self.bound, is_internal)
            .map_err(|error| self.money(&error))?;
        let statement = allocation::statement(settled, &shares).map_err(|error| self.money(&error))?;
        let statement = statement
            .into_iter()
            .map(|share| {
                let customer = share.customer.as_ref().map_or("", CustomerId::as_str);
                StatementLine {
                    id: id_of(&["statement line", &id, customer]),
                    customer: share.customer,
                    kind: share.kind,
                    money: share.money,
                }
            })
            .collect();
        let shares =
            shares.into_iter().map(|share| self.charge(&id, share, factor)).collect::<Result<_, _>>()?;
        Ok(CostLine {
            id,
            key,
            currency: provider.currency,
            quantity,
            unit: unit.map(str::to_owned),
            steps,
            amount,
            settled,
            model: price.model.as_str(),
            rule: self.sku.allocation.clone(),
            shares,
            statement,
        })
    }

    fn charge(&self, cost_line: &str, share: Share, factor: &Exact) -> Result<Charge, RatingError> {
        let quantity = match share.quantity {
            Some(quantity) => Some(
                rounding::quantity_total(&(exact(quantity) * factor)).map_err(|error| self.money(&error))?,
            ),
            None => None,
        };
        let customer = share.customer.as_ref().map_or("", CustomerId::as_str);
        let subject = share.subject.as_ref().map_or("", Subject::as_str);
        Ok(Charge {
            id: id_of(&["charge", cost_line, customer, subject]),
            customer: share.customer,
            subject: share.subject,
            kind: share.kind,
            quantity,
            metered_quantity: share.quantity,
            amount: share.amount,
        })
    }

    fn money(&self, error: &impl ToString) -> RatingError {
        RatingError::Money {
            provider: self.provider.id.to_string(),
            sku: self.sku.id.to_string(),
            detail: error.to_string(),
        }
    }
}

impl Run {
    /// Checks what the module promises, from the finished lines alone.
    fn check(&self) -> Result<(), RatingError> {
        let mut ids = BTreeSet::new();
        for line in &self.cost_lines {
            let name = format!("{} {} {}", line.key.provider, line.key.sku, line.key.charge_period);
            let charged = sum_amounts(line.shares.iter().map(|share| share.amount))?;
            // What settles is written as a decimal too.
            decimal(line.settled)?;
            if charged != line.amount {
                return Err(RatingError::broken(format!(
                    "{name}: charges add up to {charged}, the cost line is {}",
                    line.amount
                )));
            }
            let mut settled: i128 = 0;
            for statement in &line.statement {
                if statement.money.currency != line.currency {
                    return Err(RatingError::broken(format!(
                        "{name}: a statement line is in {}",
                        statement.money.currency
                    )));
                }
                decimal(statement.money)?;
                settled = settled
                    .checked_add(statement.money.minor_units)
                    .ok_or_else(|| RatingError::broken(format!("{name}: overflow")))?;
            }
            if settled != line.settled.minor_units {
                return Err(RatingError::broken(format!(
                    "{name}: statement lines add up to {settled} minor units, the cost line settles at {}",
                    line.settled.minor_units
                )));
            }
            let new = std::iter::once(line.id.clone())
                .chain(line.shares.iter().map(|share| share.id.clone()))
                .chain(line.statement.iter().map(|line| line.id.clone()));
            for id in new {
                if !ids.insert(id.clone()) {
                    return Err(RatingError::broken(format!("{name}: the id {id} is not unique")));
                }
            }
        }
        Ok(())
    }

    /// Σ amount of the cost lines of each provider.
    ///
    /// # Errors
    /// When a sum does not fit.
    pub fn cost_totals(&self) -> Result<BTreeMap<ProviderId, (Currency, Amount)>, RatingError> {
        let lines =
            self.cost_lines.iter().map(|line| ((line.key.provider.clone(), line.currency), line.amount));
        Ok(sum_by(lines)?
            .into_iter()
            .map(|((provider, currency), amount)| (provider, (currency, amount)))
            .collect())
    }

    /// Σ settled of the cost lines of each provider.
    ///
    /// # Errors
    /// When a sum does not fit.
    pub fn settled_totals(&self) -> Result<BTreeMap<ProviderId, (Currency, Amount)>, RatingError> {
        let mut lines = Vec::new();
        for line in &self.cost_lines {
            lines.push(((line.key.provider.clone(), line.currency), decimal(line.settled)?));
        }
        Ok(sum_by(lines)?
            .into_iter()
            .map(|((provider, currency), amount)| (provider, (currency, amount)))
            .collect())
    }

    /// Σ statement lines that are charged, by customer and currency.
    ///
    /// # Errors
    /// When a sum does not fit.
    pub fn customer_totals(&self) -> Result<BTreeMap<(CustomerId, Currency), Amount>, RatingError> {
        let mut lines = Vec::new();
        for line in self.cost_lines.iter().flat_map(|line| &line.statement) {
            if let (Kind::Charge, Some(customer)) = (line.kind, &line.customer) {
                lines.push(((customer.clone(), line.money.currency), decimal(line.money)?));
            }
        }
        sum_by(lines)
    }

    /// Σ statement lines that the operator retains, by currency.
    ///
    /// # Errors
    /// When a sum does not fit.
    pub fn retained_totals(&self) -> Result<BTreeMap<Currency, Amount>, RatingError> {
        let mut lines = Vec::new();
        for line in self.cost_lines.iter().flat_map(|line| &line.statement) {
            if matches!(line.kind, Kind::Retained(_)) {
                lines.push((line.money.currency, decimal(line.money)?));
            }
        }
        sum_by(lines)
    }
}

fn decimal(money: Money) -> Result<Amount, RatingError> {
    money
        .to_amount()
        .ok_or_else(|| RatingError::broken("a sum of money does not fit in DECIMAL(38,18)".to_owned()))
}

fn sum_amounts(amounts: impl Iterator<Item = Amount>) -> Result<Amount, RatingError> {
    let mut sum = Amount::ZERO;
    for amount in amounts {
        sum = sum.checked_add(amount).map_err(|error| RatingError::broken(error.to_string()))?;
    }
    Ok(sum)
}

fn sum_by<K: Ord>(lines: impl IntoIterator<Item = (K, Amount)>) -> Result<BTreeMap<K, Amount>, RatingError> {
    let mut sums = BTreeMap::new();
    for (key, amount) in lines {
        let sum = sums.entry(key).or_insert(Amount::ZERO);
        *sum = sum.checked_add(amount).map_err(|error| RatingError::broken(error.to_string()))?;
    }
    Ok(sums)
}
