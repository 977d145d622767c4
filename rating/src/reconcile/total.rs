//! What an invoice comes to, and how much of it each row of a comparison is.
//!
//! Who bears a part is deliberately not known here.
//!
//! Invariant: in each currency the parts of an invoice add up to what it comes to, whichever months its
//! rows are of.

use super::row::Row;
use crate::catalog::{Catalog, Provider};
use crate::error::RatingError;
use crate::exact::{Exact, sum};
use crate::rounding::{self, MoneyError};
use schemas::id::InvoiceId;
use schemas::invoice::{Invoice, Standing};
use schemas::money::{Currency, Money};
use schemas::time::BillingMonth;
use std::collections::{BTreeMap, BTreeSet};

/// How much of an invoice a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartOf {
    pub invoice: InvoiceId,
    /// The first of the row's lines in the invoice, from 1.
    pub first_line: u32,
    pub money: Money,
}

/// What an invoice comes to in a currency: what it states, else what its lines add up to, in minor units
/// by the provider's rule.
///
/// # Errors
/// [`RatingError::Billed`] where that is too large.
pub fn total(invoice: &Invoice, currency: Currency, provider: &Provider) -> Result<Money, RatingError> {
    let of_lines = || {
        let lines = invoice.lines.iter().filter(|line| line.currency == currency);
        rounding::amount(&sum(lines.map(|line| line.amount)))
    };
    let stated = invoice.totals.get(&currency).filter(|_| invoice.standing == Standing::Complete);
    let total = match stated {
        Some(stated) => Ok(*stated),
        None => of_lines(),
    };
    total
        .and_then(|total| rounding::settle(total, currency, provider.rounding))
        .map_err(|error| wrong(invoice, &error))
}

/// The parts of each row's invoices, by invoice, in the order of the rows. An invoice without a row in
/// the month is left out, and so are the parts of rows that have none in the month.
///
/// # Errors
/// [`RatingError::Damaged`] where a line of such an invoice is in no row, or in two, or rows and lines do
/// not fit together; and overflow.
pub(super) fn parts(
    rows: &[Row],
    month: BillingMonth,
    invoices: &[Invoice],
    catalog: &Catalog,
) -> Result<Vec<Vec<PartOf>>, RatingError> {
    let of_month = rows.iter().filter(|row| row.period == month);
    let met: BTreeSet<usize> = of_month.flat_map(|row| row.lines.iter().map(|at| at.invoice)).collect();
    let mut by_row: Vec<BTreeMap<&InvoiceId, PartOf>> = vec![BTreeMap::new(); rows.len()];
    for place in met {
        let no_such =
            || RatingError::Damaged(format!("a row has a line of invoice {place}, which is not there"));
        let invoice = invoices.get(place).ok_or_else(no_such)?;
        let damaged = |detail: &str| RatingError::Damaged(format!("invoice {}: {detail}", invoice.id));
        let provider = catalog.providers.get(&invoice.provider);
        let provider = provider.ok_or_else(|| damaged("the catalog has no such provider"))?;
        let mut is_in_a_row = vec![false; invoice.lines.len()];
        // By currency, then by the first line.
        let mut shares: BTreeMap<Currency, BTreeMap<usize, (usize, Exact)>> = BTreeMap::new();
        for (index, row) in rows.iter().enumerate() {
            let mut first: Option<usize> = None;
            let of_invoice = || row.lines.iter().filter(|at| at.invoice == place).map(|at| at.line);
            for line in of_invoice() {
                match is_in_a_row.get_mut(line) {
                    Some(is_in_a_row) if !*is_in_a_row => *is_in_a_row = true,
                    _ => return Err(damaged("a line is in two rows, or a row has one that is not there")),
                }
                if (invoice.lines[line].currency, &invoice.provider) != (row.currency, &row.provider) {
                    return Err(damaged("a line is in a row of another currency or provider"));
                }
                first = Some(first.map_or(line, |first| first.min(line)));
            }
            if let Some(first) = first {
                let share = sum(of_invoice().map(|line| invoice.lines[line].amount));
                shares.entry(row.currency).or_default().insert(first, (index, share));
            }
        }
        if is_in_a_row.contains(&false) {
            return Err(damaged("a line is in no row of any month that was given"));
        }
        for (currency, shares) in shares {
            let total = total(invoice, currency, provider)?;
            let exact: Vec<Exact> = shares.values().map(|(_, sum)| sum.clone()).collect();
            let moneys = rounding::split_total(total, &exact).map_err(|error| wrong(invoice, &error))?;
            for ((first, (index, _)), money) in shares.iter().zip(moneys) {
                let (first_line, id) = (invoice.lines[*first].line, &invoice.id);
                let part = PartOf { invoice: id.clone(), first_line, money };
                if by_row[*index].insert(id, part).is_some() {
                    return Err(damaged("two of its versions are in one row"));
                }
            }
        }
    }
    Ok(by_row.into_iter().map(|parts| parts.into_values().collect()).collect())
}

fn wrong(invoice: &Invoice, error: &MoneyError) -> RatingError {
    let detail = format!("what invoice {} of {} comes to: {error}", invoice.id, invoice.provider);
    match error.is_overflow() {
        true => RatingError::Billed(detail),
        false => RatingError::Damaged(detail),
    }
}
