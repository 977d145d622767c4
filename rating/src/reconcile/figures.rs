//! What a row adds up to, and what its cost lines would cost at the invoice's quantity.
//!
//! What follows from that is deliberately not decided here.
//!
//! Invariant: a price is asked only at a quantity that it has an answer for.

use super::matching::{Draft, Matter};
use super::quantity::{Quantities, amount, written};
use super::row::LineAt;
use crate::catalog::{Counts, DatedPrice, Provider};
use crate::error::RatingError;
use crate::exact::{Exact, exact, power_of_ten};
use crate::price::{self, PriceModel, Stretch};
use crate::rounding::RoundingMode;
use crate::run::CostLine;
use num_traits::{Signed as _, Zero as _};
use schemas::decimal::{Amount, DecimalError};
use schemas::id::{CustomerId, ProviderId, SkuId};
use schemas::invoice::InvoiceLine;
use schemas::money::{Currency, Money};
use schemas::time::Instant;
use std::collections::BTreeMap;

/// The sums of a row.
pub(super) struct Figures {
    pub ledger_quantity: Option<Exact>,
    pub ledger_amount: Option<Amount>,
    pub ledger_settled: Option<Money>,
    pub invoice_quantity: Option<Exact>,
    pub invoice_amount: Option<Amount>,
    pub before: Option<Amount>,
    /// The version before of some invoice had another sum here.
    pub is_restated: bool,
    pub tolerance: Exact,
}

impl Figures {
    /// # Errors
    /// [`RatingError::Overflow`].
    pub(super) fn of(matter: &Matter<'_>, draft: &Draft<'_>) -> Result<Self, RatingError> {
        let line = |at: &LineAt| &matter.invoices[at.invoice].lines[at.line];
        let lines: Vec<&InvoiceLine> = draft.lines.iter().map(line).collect();
        let mut figures = Self {
            ledger_quantity: None,
            ledger_amount: None,
            ledger_settled: None,
            invoice_quantity: match &draft.used {
                None => written(lines.iter().copied())?.map(exact),
                Some(used) => {
                    let quantities = Quantities::of(matter.catalog, draft.provider, used.sku, used.period);
                    quantities.sum(&lines)?
                }
            },
            invoice_amount: amount(lines.into_iter())?,
            before: amount(draft.earlier.iter().map(line))?,
            is_restated: is_restated(matter, draft)?,
            tolerance: tolerance(draft.provider, draft.currency, draft.lines.len()),
        };
        for index in &draft.cost_lines {
            figures.add(&matter.cost_lines[*index])?;
        }
        Ok(figures)
    }

    fn add(&mut self, line: &CostLine) -> Result<(), RatingError> {
        let overflow = || RatingError::overflow("the sum of cost lines");
        let amount = self.ledger_amount.unwrap_or(Amount::ZERO);
        self.ledger_amount = Some(amount.checked_add(line.amount).map_err(overflow())?);
        let settled = self.ledger_settled.map_or(0, |settled| settled.minor_units);
        let minor_units = settled
            .checked_add(line.settled.minor_units)
            .ok_or(DecimalError::Overflow(38))
            .map_err(overflow())?;
        self.ledger_settled = Some(Money { minor_units, currency: line.currency });
        let quantity = self.ledger_quantity.take().unwrap_or_else(Exact::zero);
        self.ledger_quantity = Some(quantity + &line.exact_quantity);
        Ok(())
    }
}

/// Whether the version before of an invoice had lines here, of another sum than that invoice has now.
fn is_restated(matter: &Matter<'_>, draft: &Draft<'_>) -> Result<bool, RatingError> {
    let mut before = BTreeMap::new();
    let name = |at: &LineAt| &matter.invoices[at.invoice].id;
    for at in &draft.earlier {
        let (lines, _): &mut (Vec<_>, Vec<_>) = before.entry(name(at)).or_default();
        lines.push(&matter.invoices[at.invoice].lines[at.line]);
    }
    if before.is_empty() {
        return Ok(false);
    }
    for at in &draft.lines {
        if let Some((_, lines)) = before.get_mut(name(at)) {
            lines.push(&matter.invoices[at.invoice].lines[at.line]);
        }
    }
    for (before, now) in before.into_values() {
        let [before, now] = [amount(before.into_iter())?, amount(now.into_iter())?];
        if before != Some(now.unwrap_or(Amount::ZERO)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// By how much a row of so many lines may differ: what rounding each may come to, or what the provider's
/// invoices are read with.
pub(super) fn tolerance(provider: &Provider, currency: Currency, lines: usize) -> Exact {
    if let Some(tolerance) = provider.invoicing.as_ref().and_then(|invoicing| invoicing.tolerance.as_ref()) {
        return tolerance.clone();
    }
    let halves = match provider.rounding {
        RoundingMode::HalfUp | RoundingMode::HalfEven | RoundingMode::HalfDown => 1,
        RoundingMode::Up | RoundingMode::Down => 2,
    };
    Exact::new((lines.max(1) * halves).into(), power_of_ten(currency.minor_digits()) * 2)
}

/// What of a billing period was counted beside a cost line.
#[derive(Debug, Clone, Default)]
pub(super) struct Beside {
    before: Exact,
    after: Exact,
    is_first: bool,
}

/// What was counted beside each cost line, for its SKU and account.
pub(super) fn beside(cost_lines: &[CostLine]) -> Vec<Beside> {
    type Account<'l> = (&'l ProviderId, &'l SkuId, Option<&'l CustomerId>);
    let mut accounts: BTreeMap<Account<'_>, Vec<(Instant, usize)>> = BTreeMap::new();
    for (index, line) in cost_lines.iter().enumerate() {
        let key = &line.key;
        let account = (&key.provider, &key.sku, key.sub_account.as_ref());
        accounts.entry(account).or_default().push((key.price_from, index));
    }
    let mut beside = vec![Beside::default(); cost_lines.len()];
    for mut lines in accounts.into_values() {
        lines.sort();
        let mut after: Exact = lines.iter().map(|(_, index)| cost_lines[*index].exact_quantity.clone()).sum();
        let mut before = Exact::zero();
        for (place, (_, index)) in lines.into_iter().enumerate() {
            let quantity = cost_lines[index].exact_quantity.clone();
            after -= &quantity;
            beside[index] = Beside { before: before.clone(), after: after.clone(), is_first: place == 0 };
            before += quantity;
        }
    }
    beside
}

/// How the cost lines of a row are priced at another quantity.
pub(super) enum Pricing<'a> {
    /// The cost line's own price, after what earlier ones counted.
    Own { provider: &'a Provider, price: &'a DatedPrice, beside: Beside },
    /// Each unit at the same.
    Each(Exact),
}

impl<'a> Pricing<'a> {
    /// `None` where it cannot be said: without a cost line, and where the quantity of a line does not
    /// make its price, as with prices on other lines and with windows.
    pub(super) fn of(matter: &Matter<'a>, draft: &Draft<'a>, beside: &[Beside]) -> Option<Self> {
        let sku = draft.used?.sku;
        match &sku.counts {
            Counts::Lines(_) => return None,
            Counts::Usage(metered) if metered.rules.windows.is_some() => return None,
            Counts::Usage(_) | Counts::Nothing => {}
        }
        let lines = || draft.cost_lines.iter().map(|index| &matter.cost_lines[*index]);
        let [index] = draft.cost_lines[..] else {
            let quantity: Exact = lines().map(|line| line.exact_quantity.clone()).sum();
            let amount: Exact = lines().map(|line| exact(line.amount)).sum();
            return (!quantity.is_zero()).then(|| Self::Each(amount / quantity));
        };
        let line = &matter.cost_lines[index];
        let price = sku.prices.iter().find(|price| price.from == line.key.price_from)?;
        match price.terms.model {
            PriceModel::Flat { .. } => Some(Self::Each(exact(line.amount))),
            PriceModel::Minimum { .. } | PriceModel::Maximum { .. } | PriceModel::Credit { .. } => None,
            PriceModel::PerUnit { .. }
            | PriceModel::Graduated(_)
            | PriceModel::Volume(_)
            | PriceModel::Package { .. }
            | PriceModel::Zero => {
                Some(Self::Own { provider: draft.provider, price, beside: beside[index].clone() })
            }
        }
    }

    /// The cost of a quantity; `None` where no price says it, because it is below zero.
    pub(super) fn at(&self, quantity: &Exact) -> Option<Exact> {
        match self {
            Self::Each(amount) => Some(quantity * amount),
            Self::Own { .. } if quantity.is_negative() => None,
            Self::Own { provider, price, beside } => {
                let quantity = price.terms.counted(quantity);
                let stretch = Stretch {
                    period_total: &beside.before + &quantity + &beside.after,
                    before: beside.before.clone(),
                    quantity,
                    first: beside.is_first,
                };
                Some(price::total(&price::steps(&price.terms, &stretch, provider.steps)))
            }
        }
    }
}
