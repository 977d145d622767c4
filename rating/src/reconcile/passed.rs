//! What has become of what a provider invoiced: who is billed, what is retained and why, what waits for a
//! decision.
//!
//! Currencies are never added up, and corrections of closed months are deliberately not looked at: they
//! belong to another month's comparison.
//!
//! Invariant: of a provider and currency, `billed`, `retained`, `undecided` and `rest` add up to what is
//! invoiced.

use super::row::{Row, Status};
use super::summary::Summary;
use crate::error::RatingError;
use crate::run::{PostedLine, decimal};
use crate::statement::Biller;
use schemas::decimal::Amount;
use schemas::id::ProviderId;
use schemas::money::Currency;
use std::collections::BTreeMap;

/// What has become of what one provider invoiced in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// To customers, grants among it.
    pub billed: Amount,
    /// By the operator, by reason.
    pub retained: BTreeMap<&'static str, Amount>,
    /// In rows that are open or awaited, of which nothing is passed on.
    pub undecided: Amount,
    /// What exact amounts are more than the minor units that stand for them.
    pub rest: Amount,
    /// What stands on statements in place of an invoice, until it is here and decided.
    pub estimated: Amount,
}

/// What has become of each provider's invoices in each currency. `posted` are the lines of the rows'
/// month, without corrections of others.
///
/// # Errors
/// [`RatingError::Overflow`].
pub fn passed<'r>(
    rows: &[Row],
    posted: &[PostedLine],
    summaries: &BTreeMap<(&'r ProviderId, Currency), Summary>,
) -> Result<BTreeMap<(&'r ProviderId, Currency), Passed>, RatingError> {
    let mut all = BTreeMap::new();
    for (of, summary) in summaries {
        let (provider, currency) = *of;
        let mut passed = Passed {
            billed: Amount::ZERO,
            retained: BTreeMap::new(),
            undecided: Amount::ZERO,
            rest: summary.invoiced,
            estimated: Amount::ZERO,
        };
        let own = |line: &&PostedLine| {
            line.biller == Biller::Operator
                && line.of.provider == *provider
                && line.money.currency == currency
        };
        for line in posted.iter().filter(own) {
            let amount = decimal(line.money)?;
            if line.of.invoice.is_none() {
                add(&mut passed.estimated, amount)?;
                continue;
            }
            let part = match line.kind.retained_reason() {
                None => &mut passed.billed,
                Some(reason) => passed.retained.entry(reason.as_str()).or_insert(Amount::ZERO),
            };
            add(part, amount)?;
            take(&mut passed.rest, amount)?;
        }
        let is_undecided = |row: &&Row| {
            row.provider == *provider
                && row.currency == currency
                && matches!(row.status, Some(Status::Open | Status::Awaited))
        };
        for row in rows.iter().filter(is_undecided) {
            let invoiced = row.invoice_amount.unwrap_or(Amount::ZERO);
            add(&mut passed.undecided, invoiced)?;
            take(&mut passed.rest, invoiced)?;
        }
        passed.retained.retain(|_, amount| !amount.is_zero());
        all.insert(*of, passed);
    }
    Ok(all)
}

fn add(sum: &mut Amount, more: Amount) -> Result<(), RatingError> {
    *sum = sum.checked_add(more).map_err(RatingError::overflow(SUM))?;
    Ok(())
}

fn take(sum: &mut Amount, less: Amount) -> Result<(), RatingError> {
    let less = Amount::from_units(-less.units()).map_err(RatingError::overflow(SUM))?;
    add(sum, less)
}

const SUM: &str = "what is passed on of an invoice";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::world::{amount, catalog, cost_line, invoice, row, run};
    use crate::reconcile::{post, summaries};
    use crate::run::Granted;
    use schemas::invoice::LineCategory::{Tax, Usage};

    #[test]
    fn what_is_invoiced_is_billed_retained_or_waits() {
        let mut run = run(vec![
            cost_line(0, &[("b", "2"), ("o", "1")]),
            cost_line(1, &[("a", "4")]),
            cost_line(2, &[("a", "7")]),
        ]);
        let invoices = [invoice("I", &[(Usage, "3.004", "USD"), (Usage, "5", "USD"), (Tax, "1", "USD")])];
        let with = |row: Row, invoiced: Option<&str>| Row { invoice_amount: invoiced.map(amount), ..row };
        let rows = [
            with(row(Ok(0), &[(0, 0)], &[0], None), Some("3.004")),
            with(row(Ok(1), &[(0, 1)], &[1], Some(Status::Disputed)), Some("5")),
            with(row(Ok(2), &[], &[2], Some(Status::Awaited)), None),
            with(row(Err("VAT"), &[(0, 2)], &[], Some(Status::Open)), Some("1")),
        ];
        let catalog = catalog(true, &[]);
        run.posted = post(&run, &rows, &invoices, &catalog, &Granted::default()).expect("posted lines");
        let summaries = summaries(&rows).expect("sums");
        let all = passed(&rows, &run.posted, &summaries).expect("sums");
        let [passed] = <[_; 1]>::try_from(all.into_values().collect::<Vec<_>>()).expect("one provider");
        // A grant moves what is billed, and a partner's lines are its own: neither counts twice.
        let wanted = Passed {
            billed: amount("6"),
            retained: [("disputed", amount("1")), ("internal", amount("1"))].into(),
            undecided: amount("1"),
            rest: amount("0.004"),
            estimated: amount("7"),
        };
        assert_eq!(passed, wanted);
    }
}
