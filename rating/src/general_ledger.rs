//! The journal of a month for a general ledger: what providers are owed, what customers owe, and what
//! the operator bears.
//!
//! Accounts are the operator's and are asked for. Only the operator's lines are booked, each in its own
//! currency; what a partner bills is its own affair.
//!
//! Invariant: of every currency debits are credits, and clearing ends at zero.

use crate::catalog::{Account, GeneralLedger};
use crate::error::RatingError;
use crate::posted::statement_id;
use crate::run::{PostedLine, decimal};
use crate::statement::{Biller, LineKind};
use jiff::civil::Date;
use schemas::decimal::Amount;
use schemas::id::InvoiceId;
use schemas::money::{Currency, Money};
use schemas::time::BillingMonth;
use std::collections::BTreeMap;

/// One line of the journal; one of `debit` and `credit` is zero, and the other above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalLine {
    /// The month's last day.
    pub date: Date,
    pub account: String,
    pub debit: Amount,
    pub credit: Amount,
    pub currency: Currency,
    /// The provider's invoice, or `estimate`; of what customers owe, their statement.
    pub reference: String,
}

/// The reference of what no invoice says yet.
const ESTIMATE: &str = "estimate";

/// The journal of all lines that are posted in a month, corrections among them, by account, currency and
/// reference.
///
/// # Errors
/// [`RatingError::Damaged`] where the operator bills nobody, or clearing does not end at zero; sums that
/// are too large.
pub fn journal(
    month: BillingMonth,
    posted: &[PostedLine],
    operator: &str,
    accounts: &GeneralLedger,
) -> Result<Vec<JournalLine>, RatingError> {
    let too_large = || RatingError::Billed("a sum of the general ledger is too large".to_owned());
    let mut balances: BTreeMap<(String, Currency, String), i128> = BTreeMap::new();
    let mut clearing: BTreeMap<Currency, i128> = BTreeMap::new();
    for line in posted.iter().filter(|line| line.biller == Biller::Operator) {
        let currency = line.money.currency;
        let name = |account: Account<'_>| accounts.name(&line.of.provider, account);
        let invoice = line.of.invoice.as_ref().map_or(ESTIMATE, InvoiceId::as_str).to_owned();
        let (bearer, reference) = match line.kind {
            LineKind::Retained(reason) => (name(Account::Retained(reason.as_str())), invoice.clone()),
            LineKind::Charge | LineKind::Grant => {
                let customer = line.customer.as_ref();
                let nobody = || RatingError::Damaged(format!("statement line {} bills nobody", line.id));
                let customer = customer.ok_or_else(nobody)?;
                let billed_in = line.billed.as_ref().map_or(currency, |billed| billed.money.currency);
                let statement = statement_id(operator, month, customer.as_str(), billed_in);
                (name(Account::Receivable(customer)), statement)
            }
        };
        let debit = line.money.minor_units;
        let credit = debit.checked_neg().ok_or_else(too_large)?;
        for (account, reference, units, is_clearing) in [
            (name(Account::Clearing), &invoice, debit, true),
            (name(Account::Payable), &invoice, credit, false),
            (bearer, &reference, debit, false),
            (name(Account::Clearing), &reference, credit, true),
        ] {
            let balance = balances.entry((account, currency, reference.clone())).or_default();
            *balance = balance.checked_add(units).ok_or_else(too_large)?;
            if is_clearing {
                let sum = clearing.entry(currency).or_default();
                *sum = sum.checked_add(units).ok_or_else(too_large)?;
            }
        }
    }
    if let Some((currency, sum)) = clearing.into_iter().find(|(_, sum)| *sum != 0) {
        return Err(RatingError::Damaged(format!("clearing ends at {sum} minor units of {currency}")));
    }
    let date = month.first_day().last_of_month();
    let mut lines = Vec::new();
    for ((account, currency, reference), balance) in balances.into_iter().filter(|(_, balance)| *balance != 0)
    {
        let side = |is_own: bool| {
            let minor_units = if is_own { balance.checked_abs().ok_or_else(too_large)? } else { 0 };
            decimal(Money { minor_units, currency })
        };
        let (debit, credit) = (side(balance > 0)?, side(balance < 0)?);
        lines.push(JournalLine { date, account, debit, credit, currency, reference });
    }
    Ok(lines)
}
