//! A cost line: what a provider will bill for one SKU at one price, and who bears it.
//!
//! Which usage belongs to the line is decided in `resolve`, and deliberately not looked at again.
//!
//! Invariant: an id is a function of what it names, so it is the same in every run that has the
//! line.

use super::gather::Gathering;
use super::ids::{ChargeId, CostLineId, ItemId, StatementLineId, digest_of};
use super::resolve::PoolKey;
use crate::allocation::{
    self, AllocationError, Alone, Bearers, Because, Borne, Kind, Rule, Share, SubjectUsage,
};
use crate::catalog::{Catalog, DatedPrice, Metered, Of, Provider, Sku};
use crate::error::RatingError;
use crate::exact::{Exact, exact};
use crate::meter::{Gathered, Measured, Own, Scale, Whose};
use crate::price::{self, PriceModel, PriceModelName, Recurrence, Step, Stretch, Terms};
use crate::rounding;
use crate::statement::{Billed, Biller, GrantId, Line, LineKind, Partners, statement};
use num_traits::{One as _, Signed as _, Zero as _};
use schemas::decimal::{Amount, DecimalError, QuantityTotal};
use schemas::id::{BillingAccountId, CustomerId, ProviderId, SkuId, Subject};
use schemas::money::{Currency, Money};
use schemas::time::{BillingMonth, Instant, Period};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The name of a cost line within a run.
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
    /// The usage that the line was made of; `None` where the catalog has no such price.
    pub(crate) fn pool(&self, catalog: &Catalog) -> Option<PoolKey> {
        let provider = catalog.providers.get(&self.provider)?;
        let sku = provider.skus.iter().position(|sku| sku.id == self.sku)?;
        let price = provider.skus[sku].prices.iter().position(|price| price.from == self.price_from)?;
        let sub_account = self.sub_account.clone();
        Some(PoolKey { provider: provider.id.clone(), sku, sub_account, price })
    }

    /// The same in every run that has this line.
    pub fn id(&self) -> CostLineId {
        CostLineId::of(digest_of(&[
            "cost line",
            self.provider.as_str(),
            self.billing_account.as_str(),
            self.sub_account.as_ref().map_or("", CustomerId::as_str),
            self.sku.as_str(),
            &self.charge_period.to_string(),
            &self.price_from.to_string(),
        ]))
    }
}

/// The bill that we expect of a provider for one SKU at one price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostLine {
    /// [`CostLineKey::id`].
    pub id: CostLineId,
    pub key: CostLineKey,
    pub currency: Currency,
    /// In `unit`, to 9 places; 1 for a flat amount; what other lines come to, for a price on them.
    pub quantity: QuantityTotal,
    /// The same before it was rounded.
    pub exact_quantity: Exact,
    /// Before the increment of the price; `None` without a meter.
    pub metered_quantity: Option<QuantityTotal>,
    /// UCUM, or a currency; `None` for a flat amount.
    pub unit: Option<String>,
    /// The unit of what it is shared by, where that is usage.
    pub shared_in: Option<String>,
    /// The arithmetic, step by step.
    pub steps: Vec<Step>,
    pub amount: Amount,
    /// The amount as the provider's invoice will say it.
    pub settled: Money,
    pub model: PriceModelName,
    pub rule: Rule,
    pub charges: Vec<Charge>,
    pub statement_lines: Vec<StatementLine>,
}

/// One customer's part of a cost line, or a part the operator retains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub id: ChargeId,
    pub customer: Option<CustomerId>,
    pub subject: Option<Subject>,
    pub kind: Kind,
    /// In [`CostLine::shared_in`], to 9 places, where the rule follows usage.
    pub quantity: Option<QuantityTotal>,
    /// In the meter's unit, to 9 places, where the rule follows usage.
    pub metered_quantity: Option<QuantityTotal>,
    pub because: Because,
    /// What this customer alone would pay, to 18 places, where the rule asks it.
    pub standalone: Option<Amount>,
    pub amount: Amount,
}

/// One customer's part of a cost line as a statement says it, in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    pub id: StatementLineId,
    pub biller: Biller,
    pub customer: Option<CustomerId>,
    pub kind: LineKind,
    /// The grant that it is a part of.
    pub grant: Option<GrantId>,
    /// In the cost line's currency.
    pub money: Money,
    /// What the customer is billed; none where the line is retained.
    pub billed: Option<Billed>,
}

impl StatementLine {
    /// A line of a cost line.
    pub(super) fn of(cost_line: CostLineId, line: Line) -> Self {
        let id = ItemId::CostLine(cost_line).line(&line);
        let Line { biller, customer, kind, grant, money, billed, .. } = line;
        Self { id, biller, customer, kind, grant, money, billed }
    }

    /// Whether the operator shares what settles by it: neither a partner's line nor a grant.
    pub fn is_share(&self) -> bool {
        self.biller == Biller::Operator && self.grant.is_none()
    }
}

/// Money as the decimal that tables write.
///
/// # Errors
/// [`RatingError::Overflow`] beyond DECIMAL(38,18).
pub(crate) fn decimal(money: Money) -> Result<Amount, RatingError> {
    money
        .to_amount()
        .ok_or(DecimalError::Overflow(38))
        .map_err(RatingError::overflow("money that is settled"))
}

/// Makes the cost lines of one SKU.
pub(super) struct LineMaker<'a> {
    pub catalog: &'a Catalog,
    /// What lines may be shared by beside their own usage.
    pub gathering: &'a Gathering<'a>,
    pub provider: &'a Provider,
    pub sku: &'a Sku,
    pub month: BillingMonth,
    pub period: Period,
    pub bound: &'a BTreeSet<CustomerId>,
    pub partners: &'a Partners,
}

/// What `once` credits have taken in earlier billing periods: by provider, SKU (its place in the price
/// list), account and the beginning of the price.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken(BTreeMap<(ProviderId, SkuId, Option<CustomerId>, Instant), Exact>);

impl Taken {
    /// Adds what the credits of these lines have taken.
    pub(super) fn add(&mut self, lines: &[CostLine]) -> Result<(), RatingError> {
        for line in lines.iter().filter(|line| line.model == PriceModelName::Credit) {
            let key = &line.key;
            let of = (key.provider.clone(), key.sku.clone(), key.sub_account.clone(), key.price_from);
            *self.0.entry(of).or_insert_with(Exact::zero) -= exact(decimal(line.settled)?);
        }
        Ok(())
    }
}

/// Usage that one price applies to.
pub(crate) enum Used<'u> {
    /// Sums, which add up: who used what.
    Added(Vec<SubjectUsage>),
    Gathered(&'u Gathered<'u>),
}

impl Used<'_> {
    /// The quantity of some usage, in the priced unit.
    fn total(&self, whose: Whose<'_>, factor: &Exact, terms: &Terms) -> Measured {
        match self {
            Self::Added(usage) => {
                let takes = |usage: &&SubjectUsage| match whose {
                    Whose::Everybody => true,
                    Whose::Only(customer) => usage.customer.as_ref() == customer,
                };
                let used = usage.iter().filter(takes).map(|usage| &usage.quantity);
                let metered = used.sum::<Exact>() * factor;
                Measured { incremented: terms.counted(&metered), metered }
            }
            Self::Gathered(gathered) => {
                let increment = |quantity: &Exact| terms.counted(quantity);
                gathered.total(whose, Scale { factor, increment: Some(&increment) })
            }
        }
    }

    /// All of it as a price counts it, in the priced unit.
    pub(crate) fn counted(&self, factor: &Exact, terms: &Terms) -> Exact {
        self.total(Whose::Everybody, factor, terms).incremented
    }

    /// What each used by itself, in the unit of the meter's result.
    pub(crate) fn own(&self) -> Cow<'_, [SubjectUsage]> {
        match self {
            Self::Added(usage) => Cow::Borrowed(usage),
            Self::Gathered(gathered) => Cow::Owned(own(gathered)),
        }
    }

    fn customers(&self) -> BTreeSet<Option<CustomerId>> {
        self.own().iter().map(|usage| usage.customer.clone()).collect()
    }
}

/// What each of those of whom something was gathered used by itself.
fn own(gathered: &Gathered<'_>) -> Vec<SubjectUsage> {
    let own = gathered.own(&Exact::one()).into_iter();
    own.map(|Own { customer, subject, quantity }| SubjectUsage {
        customer: customer.cloned(),
        subject: subject.clone(),
        quantity,
    })
    .collect()
}

/// The parts of one account's usage, by the price that applies: its place in the price list, and who
/// used what.
pub(super) type ByPrice<'u> = [(usize, &'u Used<'u>)];

/// A stretch of usage before it is shared.
struct Counted {
    metered: Exact,
    stretch: Stretch,
}

/// What a line is made of, before it is shared.
struct Made<'m> {
    price: &'m DatedPrice,
    sub_account: Option<&'m CustomerId>,
    charge_period: Period,
    quantity: &'m Exact,
    metered: Option<&'m Exact>,
    unit: Option<&'m str>,
    steps: Vec<Step>,
    /// From the meter's unit to the line's.
    factor: &'m Exact,
}

impl LineMaker<'_> {
    /// The lines of what is billed without usage: of each price that falls due in this period.
    pub(super) fn fees(&self) -> Result<Vec<CostLine>, RatingError> {
        let mut lines = Vec::new();
        for price in &self.sku.prices {
            let PriceModel::Flat { amount, .. } = &price.terms.model else {
                return Err(self.unsuited());
            };
            let zone = &self.provider.time_zone;
            let Some((charge_period, part)) = price.due(self.period, zone) else { continue };
            let one = &Exact::one();
            let steps = price::flat(*amount, &part);
            let (metered, unit, sub_account) = (None, None, None);
            let made =
                Made { price, sub_account, charge_period, quantity: one, metered, unit, steps, factor: one };
            lines.push(self.line(made, &self.bearers())?);
        }
        Ok(lines)
    }

    /// The lines of one account: one per price with usage. Tiers, free units and packages count on
    /// from price to price.
    pub(super) fn metered(
        &self,
        metered: &Metered,
        sub_account: Option<&CustomerId>,
        prices: &ByPrice<'_>,
    ) -> Result<Vec<CostLine>, RatingError> {
        let factor = &metered.factor.within(self.period);
        let counted = self.count(factor, prices, Whose::Everybody);
        let customers: Vec<BTreeSet<Option<CustomerId>>> = match self.sku.allocation {
            Rule::Standalone => prices.iter().map(|(_, used)| used.customers()).collect(),
            _ => vec![BTreeSet::new(); prices.len()],
        };
        let mut alone: Vec<Vec<Alone>> = vec![Vec::new(); prices.len()];
        for customer in customers.iter().flatten().collect::<BTreeSet<_>>() {
            let places: Vec<usize> =
                (0..prices.len()).filter(|place| customers[*place].contains(customer)).collect();
            let own: Vec<_> = places.iter().map(|place| prices[*place]).collect();
            let counted = self.count(factor, &own, Whose::Only(customer.as_ref()));
            for ((place, (price, _)), counted) in places.into_iter().zip(own).zip(counted) {
                let amount = price::total(&self.steps(&self.sku.prices[price], &counted.stretch));
                let quantity = counted.metered / factor;
                alone[place].push(Alone { customer: customer.clone(), amount, quantity });
            }
        }
        let mut lines = Vec::with_capacity(prices.len());
        for (((price, used), counted), alone) in prices.iter().zip(&counted).zip(&alone) {
            let price = &self.sku.prices[*price];
            let charge_period = price.within(self.period).ok_or_else(|| {
                RatingError::Damaged(format!("{}: a price was used outside its dates", self.sku.id))
            })?;
            let made = Made {
                price,
                sub_account,
                charge_period,
                quantity: &counted.stretch.quantity,
                metered: Some(&counted.metered),
                unit: Some(metered.unit.as_str()),
                steps: self.steps(price, &counted.stretch),
                factor,
            };
            let usage = &used.own();
            lines.push(self.line(made, &Bearers { usage, alone, account: sub_account, ..self.bearers() })?);
        }
        Ok(lines)
    }

    /// The line of a SKU that nobody used, where it costs something all the same.
    pub(super) fn unused(&self, metered: &Metered) -> Result<Option<CostLine>, RatingError> {
        let Some(price) = self.sku.price_at(self.period.start()) else { return Ok(None) };
        let steps = self.steps(price, &Stretch::whole(Exact::zero()));
        let nothing = &Exact::zero();
        let charge_period = price.within(self.period).unwrap_or(self.period);
        let (sub_account, metered_quantity, unit) = (None, Some(nothing), Some(metered.unit.as_str()));
        let factor = &metered.factor.within(self.period);
        if price::total(&steps).is_zero() {
            return Ok(None);
        }
        let made = Made {
            price,
            sub_account,
            charge_period,
            quantity: nothing,
            metered: metered_quantity,
            unit,
            steps,
            factor,
        };
        self.line(made, &self.bearers()).map(Some)
    }

    /// Counts some usage, price by price.
    fn count(&self, factor: &Exact, prices: &ByPrice<'_>, whose: Whose<'_>) -> Vec<Counted> {
        let mut counted = Vec::with_capacity(prices.len());
        let mut period_total = Exact::zero();
        for (price, used) in prices {
            let Measured { metered, incremented: quantity } =
                used.total(whose, factor, &self.sku.prices[*price].terms);
            let before = period_total.clone();
            period_total += &quantity;
            counted.push((metered, before, quantity));
        }
        let place = |(place, (metered, before, quantity)): (usize, (Exact, Exact, Exact))| {
            let stretch = Stretch { before, quantity, period_total: period_total.clone(), first: place == 0 };
            Counted { metered, stretch }
        };
        counted.into_iter().enumerate().map(place).collect()
    }

    fn steps(&self, price: &DatedPrice, stretch: &Stretch) -> Vec<Step> {
        price::steps(&price.terms, stretch, self.provider.steps)
    }

    /// The lines of a SKU that is priced by others, which stand above it: one, or one for each account.
    pub(super) fn on_lines(
        &self,
        of: &Of,
        above: &[Vec<CostLine>],
        taken: &Taken,
    ) -> Result<Vec<CostLine>, RatingError> {
        let Some(price) = self.sku.price_at(self.period.start()) else { return Ok(Vec::new()) };
        let base = || of.skus.iter().flat_map(|place| &above[*place]);
        // That of nobody comes last.
        let accounts: BTreeSet<(bool, Option<&CustomerId>)> = match self.sku.allocation {
            Rule::Direct => {
                base().map(|line| (line.key.sub_account.is_none(), line.key.sub_account.as_ref())).collect()
            }
            _ => BTreeSet::from([(true, None)]),
        };
        let mut lines = Vec::new();
        for (_, account) in accounts {
            let is_direct = self.sku.allocation == Rule::Direct;
            let of_account = || base().filter(|line| !is_direct || line.key.sub_account.as_ref() == account);
            lines.push(self.on_lines_of(price, account, &of_account().collect::<Vec<_>>(), taken)?);
        }
        Ok(lines)
    }

    fn on_lines_of(
        &self,
        price: &DatedPrice,
        account: Option<&CustomerId>,
        base: &[&CostLine],
        taken: &Taken,
    ) -> Result<CostLine, RatingError> {
        let mut sum = Exact::zero();
        for line in base {
            sum += exact(decimal(line.settled)?);
        }
        let sum = if sum.is_negative() { Exact::zero() } else { sum };
        let left = match &price.terms.model {
            PriceModel::Credit { amount, every: Recurrence::Once } => {
                let of = (self.provider.id.clone(), self.sku.id.clone(), account.cloned(), price.from);
                exact(*amount) - taken.0.get(&of).cloned().unwrap_or_else(Exact::zero)
            }
            PriceModel::Credit { amount, .. } => exact(*amount),
            _ => Exact::zero(),
        };
        let charges = base.iter().flat_map(|line| &line.charges);
        let borne: Vec<Borne> = charges
            .map(|charge| Borne { customer: charge.customer.clone(), amount: charge.amount })
            .collect();
        let made = Made {
            price,
            sub_account: account,
            charge_period: self.period,
            quantity: &sum,
            metered: None,
            unit: Some(self.provider.currency.code()),
            steps: price::on_lines(&price.terms, &sum, &left, self.provider.steps),
            factor: &Exact::one(),
        };
        self.line(made, &Bearers { base: Some(&borne), account, ..self.bearers() })
    }

    /// Nobody used anything.
    fn bearers(&self) -> Bearers<'_> {
        Bearers { usage: &[], alone: &[], base: None, account: None, bound: self.bound }
    }

    fn unsuited(&self) -> RatingError {
        RatingError::Damaged(format!("{} has a price that does not suit it", self.sku.id))
    }

    /// What a line is shared by where it is another meter: who used how much, and its unit.
    fn key(&self, charge_period: Period) -> Option<(Vec<SubjectUsage>, String)> {
        let meter = self.catalog.key_of(self.sku)?;
        let of = (self.provider.id.clone(), meter.meter.clone(), charge_period);
        let usage = self.gathering.key(&of).map(own).unwrap_or_default();
        Some((usage, meter.rules.unit_of_result(meter.unit.as_str())))
    }

    fn line(&self, made: Made<'_>, bearers: &Bearers<'_>) -> Result<CostLine, RatingError> {
        let provider = self.provider;
        let keyed = self.key(made.charge_period);
        let one = Exact::one();
        let (bearers, shared_in, factor) = match &keyed {
            Some((usage, unit)) => (&Bearers { usage, base: None, ..*bearers }, Some(unit.clone()), &one),
            None => (bearers, made.unit.map(str::to_owned), made.factor),
        };
        let key = CostLineKey {
            provider: provider.id.clone(),
            billing_account: provider.billing_account.clone(),
            sub_account: made.sub_account.cloned(),
            sku: self.sku.id.clone(),
            charge_period: made.charge_period,
            price_from: made.price.from,
        };
        let id = key.id();
        let rounded =
            |quantity: &Exact| rounding::quantity_total(quantity).map_err(|error| self.money(error));
        let amount = rounding::amount(&price::total(&made.steps)).map_err(|error| self.money(error))?;
        let settled = rounding::settle(amount, provider.currency, provider.rounding)
            .map_err(|error| self.money(error))?;
        let first_day = self.month.first_day();
        let is_internal = |customer: &CustomerId| self.catalog.is_internal(customer, first_day);
        let shares = allocation::shares(amount, &self.sku.allocation, bearers, is_internal)
            .map_err(|error| self.money(error))?;
        let statement_lines = statement(0, settled, &shares, self.partners)
            .map_err(|error| self.money(error))?
            .into_iter()
            .map(|line| StatementLine::of(id, line))
            .collect();
        let charges =
            shares.into_iter().map(|share| self.charge(id, share, factor)).collect::<Result<_, _>>()?;
        Ok(CostLine {
            id,
            key,
            currency: provider.currency,
            quantity: rounded(made.quantity)?,
            exact_quantity: made.quantity.clone(),
            metered_quantity: made.metered.map(rounded).transpose()?,
            unit: made.unit.map(str::to_owned),
            shared_in,
            steps: made.steps,
            amount,
            settled,
            model: made.price.terms.model.name(),
            rule: self.sku.allocation.clone(),
            charges,
            statement_lines,
        })
    }

    fn charge(&self, cost_line: CostLineId, share: Share, factor: &Exact) -> Result<Charge, RatingError> {
        let rounded = |used: &Exact| rounding::quantity_total(used).map_err(|error| self.money(error));
        let used = share.because.used();
        let standalone = share.because.alone().map(rounding::amount).transpose();
        let customer = share.customer.as_ref().map_or("", CustomerId::as_str);
        let subject = share.subject.as_ref().map_or("", Subject::as_str);
        Ok(Charge {
            id: ChargeId::of(digest_of(&["charge", &cost_line.to_string(), customer, subject])),
            customer: share.customer,
            subject: share.subject,
            kind: share.kind,
            quantity: used.map(|used| rounded(&(used * factor))).transpose()?,
            metered_quantity: used.map(rounded).transpose()?,
            standalone: standalone.map_err(|error| self.money(error))?,
            because: share.because,
            amount: share.amount,
        })
    }

    fn money(&self, error: impl Into<AllocationError>) -> RatingError {
        let error = error.into();
        let (provider, sku, detail) = (self.provider.id.clone(), self.sku.id.clone(), error.to_string());
        match error.is_overflow() {
            true => RatingError::TooLarge { provider, sku, detail, largest: None },
            false => RatingError::Money { provider, sku, detail },
        }
    }
}
