//! Prices tried without a catalog or a ledger: what a quantity costs, and how.
//!
//! The functions are those of a run. Who used what is deliberately not known, so that of the rules of
//! allocation only fixed shares are shown.
//!
//! Invariant: a line is what a run would make of the same quantity at the same price.

use crate::allocation::{self, AllocationError, Bearers, Rule};
use crate::catalog::{Counts, DatedPrice, Of, PriceSheet, Sku};
use crate::exact::{Exact, exact, exact_money};
use crate::price::{self, PriceModel, Step, Stretch};
use crate::rounding::{self, MoneyError};
use crate::statement::{Partners, statement};
use crate::units::Factor;
use num_traits::{One as _, Signed as _, Zero as _};
use schemas::decimal::Amount;
use schemas::id::{CustomerId, SkuId};
use schemas::money::Money;
use schemas::time::{BillingMonth, Period, TimeError};
use std::collections::BTreeSet;

/// What is asked of a sheet.
#[derive(Debug, Clone)]
pub struct Question {
    /// In the unit that the sheet was read with.
    pub quantity: Exact,
    /// What the billing period had counted before, in the same unit.
    pub before: Exact,
    /// The month whose billing period it is.
    pub month: Option<BillingMonth>,
}

/// What a quantity costs.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Of all lines.
    pub amount: Exact,
    /// What they settle at, in the sheet's currency.
    pub settled: Option<Exact>,
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub sku: SkuId,
    pub quantity: Exact,
    /// Before the increment; none without a meter.
    pub metered_quantity: Option<Exact>,
    /// To 18 places.
    pub amount: Amount,
    pub settled: Option<Money>,
    pub steps: Vec<Step>,
    /// Where the allocation is `fixed`.
    pub shares: Vec<(CustomerId, Amount, Option<Money>)>,
}

/// Why prices cannot be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    #[error("the first SKU that counts usage is asked for a quantity, and it is below zero")]
    BelowZero,
    #[error(
        "{sku} has {count} prices, and it depends on the time which of them applies; say a month with --period"
    )]
    SeveralPrices { sku: SkuId, count: usize },
    #[error(
        "{sku} has several prices in {month}, and the quantity does not say when it was used; leave one of them in the file"
    )]
    SeveralInForce { sku: SkuId, month: BillingMonth },
    #[error("{sku} has no price in {month}; say another month, or add the price")]
    NoneInForce { sku: SkuId, month: BillingMonth },
    #[error("the month of {sku} is as long as its billing period; say which with --period")]
    MonthUnknown { sku: SkuId },
    #[error("{month} has no billing period: {reason}")]
    Period { month: BillingMonth, reason: TimeError },
    #[error("{sku}: {reason}")]
    Money { sku: SkuId, reason: AllocationError },
}

/// Prices a quantity: the first SKU that counts usage counts it, and others may stand on it.
///
/// # Errors
/// [`TrialError`].
pub fn price(sheet: &PriceSheet, question: &Question) -> Result<Answer, TrialError> {
    if [&question.quantity, &question.before].into_iter().any(Exact::is_negative) {
        return Err(TrialError::BelowZero);
    }
    let period = question.month.map(|month| {
        let reason = |reason| TrialError::Period { month, reason };
        sheet.anchor.period(month, &sheet.time_zone).map_err(reason)
    });
    let trial = Trial { sheet, question, period: period.transpose()? };
    let first = sheet.skus.iter().position(|sku| sku.metered().is_some());
    let mut lines: Vec<Vec<Line>> = Vec::new();
    for (place, sku) in sheet.skus.iter().enumerate() {
        let of_sku = match &sku.counts {
            Counts::Nothing => trial.fees(sku)?,
            Counts::Lines(of) => trial.on_lines(sku, of, &lines)?,
            Counts::Usage(_) if first == Some(place) => trial.counted(sku)?,
            Counts::Usage(_) => Vec::new(),
        };
        lines.push(of_sku);
    }
    let lines: Vec<Line> = lines.into_iter().flatten().collect();
    let settled = lines.iter().map(|line| line.settled.map(exact_money)).sum();
    Ok(Answer { amount: lines.iter().map(|line| exact(line.amount)).sum(), settled, lines })
}

struct Trial<'t> {
    sheet: &'t PriceSheet,
    question: &'t Question,
    period: Option<Period>,
}

impl Trial<'_> {
    /// The only price, or those in force at any time in the billing period.
    fn in_force<'s>(&self, sku: &'s Sku) -> Result<Vec<&'s DatedPrice>, TrialError> {
        match (self.period, sku.prices.as_slice()) {
            (Some(period), prices) => {
                Ok(prices.iter().filter(|price| price.within(period).is_some()).collect())
            }
            (None, [only]) => Ok(vec![only]),
            (None, prices) => Err(TrialError::SeveralPrices { sku: sku.id.clone(), count: prices.len() }),
        }
    }

    fn counted(&self, sku: &Sku) -> Result<Vec<Line>, TrialError> {
        let metered = sku.metered().expect("it counts usage");
        let price = match self.in_force(sku)?.as_slice() {
            [one] => *one,
            several => {
                let month = self.question.month.expect("without a month there is one price");
                if several.is_empty() {
                    return Err(TrialError::NoneInForce { sku: sku.id.clone(), month });
                }
                return Err(TrialError::SeveralInForce { sku: sku.id.clone(), month });
            }
        };
        let factor = match (&metered.factor, self.period) {
            (Factor::Fixed(factor), _) => factor.clone(),
            (factor, Some(period)) => factor.within(period),
            (_, None) => return Err(TrialError::MonthUnknown { sku: sku.id.clone() }),
        };
        let metered = &self.question.quantity * &factor;
        let before = &self.question.before * &factor;
        let quantity = price.terms.counted(&metered);
        let stretch = Stretch {
            period_total: &before + &quantity,
            first: before.is_zero(),
            quantity: quantity.clone(),
            before,
        };
        let steps = price::steps(&price.terms, &stretch, self.sheet.steps);
        Ok(vec![self.line(sku, quantity, Some(metered), steps)?])
    }

    fn fees(&self, sku: &Sku) -> Result<Vec<Line>, TrialError> {
        let mut lines = Vec::new();
        for dated in self.in_force(sku)? {
            let PriceModel::Flat { amount, .. } = &dated.terms.model else { continue };
            let due = match self.period {
                None => Some(Exact::one()),
                Some(period) => dated.due(period, &self.sheet.time_zone).map(|(_, part)| part),
            };
            let Some(part) = due else { continue };
            lines.push(self.line(sku, Exact::one(), None, price::flat(*amount, &part))?);
        }
        Ok(lines)
    }

    fn on_lines(&self, sku: &Sku, of: &Of, above: &[Vec<Line>]) -> Result<Vec<Line>, TrialError> {
        let price = match self.period {
            Some(period) => sku.price_at(period.start()),
            None => self.in_force(sku)?.first().copied(),
        };
        let Some(price) = price else { return Ok(Vec::new()) };
        let base = of.skus.iter().flat_map(|place| &above[*place]);
        // Without a currency nothing settles.
        let comes_to = |line: &Line| line.settled.map_or_else(|| exact(line.amount), exact_money);
        // A price alone stands on what is asked.
        let base: Exact = match of.of.is_empty() {
            true => self.question.quantity.clone(),
            false => base.map(comes_to).sum(),
        };
        let base = if base.is_negative() { Exact::zero() } else { base };
        let left = match &price.terms.model {
            PriceModel::Credit { amount, .. } => exact(*amount),
            _ => Exact::zero(),
        };
        let steps = price::on_lines(&price.terms, &base, &left, self.sheet.steps);
        Ok(vec![self.line(sku, base, None, steps)?])
    }

    fn line(
        &self,
        sku: &Sku,
        quantity: Exact,
        metered_quantity: Option<Exact>,
        steps: Vec<Step>,
    ) -> Result<Line, TrialError> {
        let told = |reason: AllocationError| TrialError::Money { sku: sku.id.clone(), reason };
        let money = |reason: MoneyError| told(reason.into());
        let amount = rounding::amount(&price::total(&steps)).map_err(money)?;
        let settle = |currency| rounding::settle(amount, currency, self.sheet.rounding);
        let settled = self.sheet.currency.map(settle).transpose().map_err(money)?;
        let mut shares = Vec::new();
        if matches!(sku.allocation, Rule::Fixed { .. }) {
            let (usage, alone, base, account, bound) = (&[], &[], None, None, &BTreeSet::new());
            let bearers = Bearers { usage, alone, base, account, bound };
            let shared = allocation::shares(amount, &sku.allocation, &bearers, |_| false).map_err(told)?;
            let of_money = match settled {
                Some(settled) => {
                    let lines = statement(0, settled, &shared, &Partners::default()).map_err(money)?;
                    lines.into_iter().map(|line| Some(line.money)).collect()
                }
                None => vec![None; shared.len()],
            };
            let share = |(share, money): (allocation::Share, Option<Money>)| {
                Some((share.customer?, share.amount, money))
            };
            shares = shared.into_iter().zip(of_money).filter_map(share).collect();
        }
        Ok(Line { sku: sku.id.clone(), quantity, metered_quantity, amount, settled, steps, shares })
    }
}
