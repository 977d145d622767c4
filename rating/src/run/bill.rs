//! What is billed of a month's cost lines: grants and other currencies, checked at every level.
//!
//! Who shares a line is settled before, and deliberately not looked at again.
//!
//! Invariant: the statement lines of a run that is handed out have passed `statement::check`.

use super::line::{CostLine, StatementLine, decimal};
use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::exact::{Exact, exact_money};
use crate::rounding::MoneyError;
use crate::statement::{self, Broken, FxError, GrantId, Line, Open, Settled};
use num_traits::Zero as _;
use schemas::id::CustomerId;
use schemas::time::BillingMonth;
use std::collections::BTreeMap;

/// What grants have paid in earlier months.
#[derive(Debug, Clone, Default)]
pub(crate) struct Granted(BTreeMap<GrantId, Exact>);

impl Granted {
    /// Adds what grants pay of these lines.
    pub(super) fn add(&mut self, lines: &[CostLine]) {
        for line in lines.iter().flat_map(|line| &line.statement_lines) {
            // The side of the customer, which is never retained.
            if let Some(grant) = &line.grant
                && line.money.minor_units < 0
            {
                *self.0.entry(grant.clone()).or_insert_with(Exact::zero) -= exact_money(line.money);
            }
        }
    }
}

fn settled(line: &CostLine) -> Settled<'_> {
    Settled {
        provider: &line.key.provider,
        account: &line.key.billing_account,
        sub_account: line.key.sub_account.as_ref(),
        sku: &line.key.sku,
        money: line.settled,
    }
}

fn lines_of(cost_lines: &[CostLine]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (cost_line, of) in cost_lines.iter().enumerate() {
        lines.extend(of.statement_lines.iter().map(|line| Line {
            cost_line,
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
pub(super) fn grant(
    cost_lines: &mut [CostLine],
    month: BillingMonth,
    catalog: &Catalog,
    granted: &Granted,
) -> Result<(), RatingError> {
    let left = |id: &GrantId, amount: &Exact| amount - granted.0.get(id).cloned().unwrap_or_else(Exact::zero);
    let open: Vec<Open<'_>> = catalog
        .grants
        .iter()
        .filter(|grant| grant.is_for(month))
        .map(|grant| Open { grant, left: left(&grant.id, &grant.amount) })
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let first_day = month.first_day();
    let lines = {
        let settled: Vec<Settled<'_>> = cost_lines.iter().map(settled).collect();
        let is_internal = |customer: &CustomerId| catalog.is_internal(customer, first_day);
        statement::apply(lines_of(cost_lines), &settled, &open, is_internal).map_err(too_large)?
    };
    put_back(cost_lines, lines);
    Ok(())
}

/// Says what each line is billed at, and checks all of them.
///
/// # Errors
/// A rate that is missing, overflow, and a promise that does not hold.
pub(super) fn bill(
    cost_lines: &mut [CostLine],
    month: BillingMonth,
    catalog: &Catalog,
) -> Result<(), RatingError> {
    let mut lines = lines_of(cost_lines);
    {
        let settled: Vec<Settled<'_>> = cost_lines.iter().map(settled).collect();
        let currency_of = |customer: &CustomerId| catalog.customers[customer].currency;
        statement::convert(&mut lines, &settled, month, catalog.rates.as_ref(), currency_of).map_err(
            |error| match error {
                FxError::Missing(_) => RatingError::Rates(error.to_string()),
                FxError::Money(error) => too_large(error),
            },
        )?;
        statement::check(&settled, &lines, &catalog.partners()).map_err(broken)?;
        for money in lines.iter().filter_map(|line| line.billed.as_ref()) {
            decimal(money.money)?;
        }
    }
    put_back(cost_lines, lines);
    Ok(())
}

/// `lines` are in the order of the cost lines.
fn put_back(cost_lines: &mut [CostLine], lines: Vec<Line>) {
    for line in cost_lines.iter_mut() {
        line.statement_lines.clear();
    }
    for line in lines {
        let cost_line = &mut cost_lines[line.cost_line];
        cost_line.statement_lines.push(StatementLine::of(cost_line.id, line));
    }
}

fn too_large(error: MoneyError) -> RatingError {
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
