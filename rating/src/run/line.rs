//! A cost line: what a provider will bill for one SKU at one price, and who bears it.
//!
//! Which usage belongs to the line is decided in `resolve`, and deliberately not looked at again.
//!
//! Invariant: an id is a function of what it names, so it is the same in every run that has the
//! line.

use super::ids::{ChargeId, CostLineId, StatementLineId, digest_of};
use super::resolve::PoolKey;
use crate::allocation::{self, AllocationError, Because, Kind, Rule, Share, SubjectUsage};
use crate::catalog::{Catalog, DatedPrice, Metered, Provider, Sku};
use crate::error::RatingError;
use crate::exact::{Exact, exact};
use crate::price::{self, PriceModel, PriceModelName, Recurrence, Step};
use crate::rounding;
use num_traits::{One as _, Zero as _};
use schemas::decimal::{Amount, QuantityTotal};
use schemas::id::{BillingAccountId, CustomerId, ProviderId, SkuId, Subject};
use schemas::money::{Currency, Money};
use schemas::time::{BillingMonth, Instant, Period};
use std::collections::BTreeSet;

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
    /// In `unit`, to 9 places; 1 for a flat amount.
    pub quantity: QuantityTotal,
    /// UCUM; `None` for a flat amount.
    pub unit: Option<String>,
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
    /// In the cost line's unit, to 9 places, where the rule follows usage.
    pub quantity: Option<QuantityTotal>,
    pub because: Because,
    pub amount: Amount,
}

impl Charge {
    /// In the meter's unit: the exact allocation key, where the rule follows usage.
    pub fn metered_quantity(&self) -> Option<QuantityTotal> {
        self.because.used()
    }
}

/// One customer's part of a cost line as a statement says it, in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    pub id: StatementLineId,
    pub customer: Option<CustomerId>,
    pub kind: Kind,
    pub money: Money,
}

/// Makes the cost lines of one SKU.
pub(super) struct LineMaker<'a> {
    pub catalog: &'a Catalog,
    pub provider: &'a Provider,
    pub sku: &'a Sku,
    pub month: BillingMonth,
    pub period: Period,
    pub bound: &'a BTreeSet<CustomerId>,
}

impl LineMaker<'_> {
    /// The line of a flat price, if it falls due in this period.
    pub(super) fn flat(&self, price: &DatedPrice) -> Result<Option<CostLine>, RatingError> {
        let PriceModel::Flat { every, .. } = &price.model else {
            return Err(RatingError::Damaged(format!(
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
        let quantity = rounding::quantity_total(&one).map_err(|error| self.money(error))?;
        self.line(price, None, self.period, quantity, None, steps, &[], &one).map(Some)
    }

    /// The lines of one account: one per price with usage. Tiers, free units and packages count on
    /// from price to price.
    pub(super) fn metered(
        &self,
        metered: &Metered,
        sub_account: Option<&CustomerId>,
        prices: &[(usize, &[SubjectUsage])],
    ) -> Result<Vec<CostLine>, RatingError> {
        let mut quantities = Vec::with_capacity(prices.len());
        let mut period_total = Exact::zero();
        for (_, usage) in prices {
            let mut sum = QuantityTotal::ZERO;
            for usage in *usage {
                sum = sum.checked_add(usage.quantity).map_err(|error| self.money(error))?;
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
                RatingError::Damaged(format!("{}: a price was used outside its dates", self.sku.id))
            })?;
            let rounded = rounding::quantity_total(&quantity).map_err(|error| self.money(error))?;
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
        usage: &[SubjectUsage],
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
        let amount = rounding::amount(&price::total(&steps)).map_err(|error| self.money(error))?;
        let settled = rounding::settle(amount, provider.currency, provider.rounding)
            .map_err(|error| self.money(error))?;
        let first_day = self.month.first_day();
        let is_internal = |customer: &CustomerId| self.catalog.is_internal(customer, first_day);
        let shares = allocation::shares(amount, &self.sku.allocation, usage, self.bound, is_internal)
            .map_err(|error| self.money(error))?;
        let statement_lines = allocation::statement(settled, &shares)
            .map_err(|error| self.money(error))?
            .into_iter()
            .map(|share| {
                let customer = share.customer.as_ref().map_or("", CustomerId::as_str);
                StatementLine {
                    id: StatementLineId::of(digest_of(&["statement line", &id.to_string(), customer])),
                    customer: share.customer,
                    kind: share.kind,
                    money: share.money,
                }
            })
            .collect();
        let charges =
            shares.into_iter().map(|share| self.charge(id, share, factor)).collect::<Result<_, _>>()?;
        Ok(CostLine {
            id,
            key,
            currency: provider.currency,
            quantity,
            unit: unit.map(str::to_owned),
            steps,
            amount,
            settled,
            model: price.model.name(),
            rule: self.sku.allocation.clone(),
            charges,
            statement_lines,
        })
    }

    fn charge(&self, cost_line: CostLineId, share: Share, factor: &Exact) -> Result<Charge, RatingError> {
        let quantity = match share.because.used() {
            Some(quantity) => Some(
                rounding::quantity_total(&(exact(quantity) * factor)).map_err(|error| self.money(error))?,
            ),
            None => None,
        };
        let customer = share.customer.as_ref().map_or("", CustomerId::as_str);
        let subject = share.subject.as_ref().map_or("", Subject::as_str);
        Ok(Charge {
            id: ChargeId::of(digest_of(&["charge", &cost_line.to_string(), customer, subject])),
            customer: share.customer,
            subject: share.subject,
            kind: share.kind,
            quantity,
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
