//! What is billed of a month's items: grants and other currencies, checked at every level.
//!
//! Who shares a line is settled before, and deliberately not looked at again.
//!
//! Invariant: the statement lines of a run that is handed out have passed `statement::check`.

use super::line::{CostLine, StatementLine, decimal};
use super::posted::{Entry, PostedLine};
use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::exact::{Exact, exact_money};
use crate::rounding::MoneyError;
use crate::statement::{self, Broken, FxError, GrantId, Line, LineKind, Open, Settled};
use num_traits::Zero as _;
use schemas::id::CustomerId;
use schemas::money::Money;
use schemas::time::BillingMonth;
use std::collections::BTreeMap;

/// What grants have paid in earlier months.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted(BTreeMap<GrantId, Exact>);

impl Granted {
    /// Adds what grants pay of posted lines; what a correction takes back of it is taken back.
    pub fn add_posted(&mut self, lines: &[PostedLine]) {
        for line in lines {
            let is_taken_back = line.correction.is_some_and(|correction| correction.entry == Entry::Reversal);
            self.add_line(line.grant.as_ref(), line.kind, line.money, is_taken_back);
        }
    }

    fn add_line(&mut self, grant: Option<&GrantId>, kind: LineKind, money: Money, is_taken_back: bool) {
        // The side of the customer, which is never retained: below zero, and above where it is taken back.
        let is_of_customer = if is_taken_back { money.minor_units > 0 } else { money.minor_units < 0 };
        if let Some(grant) = grant
            && is_of_customer
            && kind == LineKind::Grant
        {
            *self.0.entry(grant.clone()).or_insert_with(Exact::zero) -= exact_money(money);
        }
    }

    /// Adds what grants pay of lines that are not posted.
    pub(crate) fn add_lines(&mut self, lines: &[Line]) {
        for line in lines {
            self.add_line(line.grant.as_ref(), line.kind, line.money, false);
        }
    }

    /// Adds what grants pay of these lines.
    pub(super) fn add(&mut self, lines: &[CostLine]) {
        for line in lines.iter().flat_map(|line| &line.statement_lines) {
            self.add_line(line.grant.as_ref(), line.kind, line.money, false);
        }
    }
}

fn settled(line: &CostLine) -> Settled<'_> {
    Settled {
        provider: &line.key.provider,
        account: &line.key.billing_account,
        sub_account: line.key.sub_account.as_ref().map(CustomerId::as_str),
        sku: Some(&line.key.sku),
        money: line.settled,
    }
}

fn lines_of(cost_lines: &[CostLine]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (item, of) in cost_lines.iter().enumerate() {
        lines.extend(of.statement_lines.iter().map(|line| Line {
            item,
            biller: line.biller.clone(),
            customer: line.customer.clone(),
            kind: line.kind,
            grant: line.grant.clone(),
            money: line.money,
            billed: line.billed.clone(),
        }));
    }
    lines
}

/// Adds what grants pay to the statement lines of a month.
///
/// # Errors
/// Overflow.
pub(crate) fn grant(
    cost_lines: &mut [CostLine],
    month: BillingMonth,
    catalog: &Catalog,
    granted: &Granted,
) -> Result<(), RatingError> {
    let lines = {
        let items: Vec<Settled<'_>> = cost_lines.iter().map(settled).collect();
        grant_lines(&items, lines_of(cost_lines), month, catalog, granted)?
    };
    put_back(cost_lines, lines);
    Ok(())
}

/// The statement lines of a month's items, with what grants pay of them.
///
/// # Errors
/// Overflow.
pub(crate) fn grant_lines(
    items: &[Settled<'_>],
    lines: Vec<Line>,
    month: BillingMonth,
    catalog: &Catalog,
    granted: &Granted,
) -> Result<Vec<Line>, RatingError> {
    let left = |id: &GrantId, amount: &Exact| amount - granted.0.get(id).cloned().unwrap_or_else(Exact::zero);
    let open: Vec<Open<'_>> = catalog
        .grants
        .iter()
        .filter(|grant| grant.is_for(month))
        .map(|grant| Open { grant, left: left(&grant.id, &grant.amount) })
        .collect();
    if open.is_empty() {
        return Ok(lines);
    }
    let first_day = month.first_day();
    let is_internal = |customer: &CustomerId| catalog.is_internal(customer, first_day);
    statement::apply(lines, items, &open, is_internal).map_err(too_large)
}

/// Says what each line is billed at, and checks all of them.
///
/// # Errors
/// A rate that is missing, overflow, and a promise that does not hold.
pub(crate) fn bill(
    cost_lines: &mut [CostLine],
    month: BillingMonth,
    catalog: &Catalog,
) -> Result<(), RatingError> {
    let mut lines = lines_of(cost_lines);
    {
        let items: Vec<Settled<'_>> = cost_lines.iter().map(settled).collect();
        bill_lines(&items, &mut lines, month, catalog)?;
    }
    put_back(cost_lines, lines);
    Ok(())
}

/// Says what each statement line of a month's items is billed at, and checks all of them.
///
/// # Errors
/// A rate that is missing, overflow, and a promise that does not hold.
pub(crate) fn bill_lines(
    items: &[Settled<'_>],
    lines: &mut [Line],
    month: BillingMonth,
    catalog: &Catalog,
) -> Result<(), RatingError> {
    let currency_of = |customer: &CustomerId| catalog.customers[customer].currency;
    statement::convert(lines, items, month, catalog.rates.as_ref(), currency_of).map_err(
        |error| match error {
            FxError::Missing(_) => RatingError::Rates(error.to_string()),
            FxError::Money(error) => too_large(error),
        },
    )?;
    statement::check(items, lines, &catalog.partners()).map_err(broken)?;
    for line in lines {
        decimal(line.money)?;
        line.billed.as_ref().map(|billed| decimal(billed.money)).transpose()?;
    }
    Ok(())
}

/// `lines` are in the order of the cost lines.
fn put_back(cost_lines: &mut [CostLine], lines: Vec<Line>) {
    for line in cost_lines.iter_mut() {
        line.statement_lines.clear();
    }
    for line in lines {
        let cost_line = &mut cost_lines[line.item];
        cost_line.statement_lines.push(StatementLine::of(cost_line.id, line));
    }
}

pub(crate) fn too_large(error: MoneyError) -> RatingError {
    RatingError::Billed(error.to_string())
}

fn broken(broken: Broken) -> RatingError {
    match broken {
        Broken::Unbalanced { whole, parts, sum, expected } => {
            RatingError::Unbalanced { whole, parts, sum, expected }
        }
        Broken::Damaged { .. } | Broken::Money { .. } => RatingError::Damaged(broken.to_string()),
    }
}
