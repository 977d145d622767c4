//! Whether what is posted of each invoice is what it comes to.
//!
//! Nothing is corrected here, and no row is looked at: only the invoices and the posted lines.
//!
//! Invariant: where every row is decided and every month posted, each difference is zero.

use super::total::total;
use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::run::{PostedLine, decimal};
use crate::statement::Biller;
use schemas::decimal::Amount;
use schemas::id::{InvoiceId, ProviderId};
use schemas::invoice::Invoice;
use schemas::money::{Currency, Money};
use schemas::time::BillingMonth;
use std::collections::{BTreeMap, BTreeSet};

/// An invoice in one currency, and what is posted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    pub provider: ProviderId,
    pub invoice: InvoiceId,
    /// `None` of an invoice that does not stand any more.
    pub version: Option<u32>,
    /// The invoice's month; of one that does not stand, the month that its lines are of.
    pub period: BillingMonth,
    pub currency: Currency,
    pub total: Amount,
    /// What customers are billed, grants included.
    pub charged: Amount,
    pub retained: Amount,
    /// `total` less both.
    pub difference: Amount,
}

/// What is posted of one invoice, in minor units.
#[derive(Default)]
struct Posted {
    month: Option<BillingMonth>,
    charged: i128,
    retained: i128,
}

/// Each invoice and currency, by provider and invoice. `posted` are the lines of all months and their
/// corrections; `standing` the invoices that count, each in its last version. One of a month after
/// `open` is left out until something of it is posted, and so is one that does not stand where nothing
/// is left of it.
///
/// # Errors
/// An invoice of an unknown provider, and sums that are too large.
pub fn reconciles_to_invoice<'l>(
    posted: impl IntoIterator<Item = &'l PostedLine>,
    standing: impl IntoIterator<Item = &'l Invoice>,
    open: BillingMonth,
    catalog: &Catalog,
) -> Result<Vec<Reconciled>, RatingError> {
    let too_large = || RatingError::Billed("what is posted of an invoice is too large".to_owned());
    let mut sums: BTreeMap<(&ProviderId, &InvoiceId, Currency), Posted> = BTreeMap::new();
    for line in posted.into_iter().filter(|line| line.biller == Biller::Operator) {
        let Some(invoice) = &line.of.invoice else { continue };
        let sum = sums.entry((&line.of.provider, invoice, line.money.currency)).or_default();
        sum.month = Some(sum.month.map_or(line.month, |month| month.min(line.month)));
        let part = if line.kind.is_billed() { &mut sum.charged } else { &mut sum.retained };
        *part = part.checked_add(line.money.minor_units).ok_or_else(too_large)?;
    }
    let mut invoices: BTreeMap<(&ProviderId, &InvoiceId, Currency), (&Invoice, Money)> = BTreeMap::new();
    for invoice in standing {
        let unknown =
            || RatingError::Damaged(format!("invoice {}: the catalog has no such provider", invoice.id));
        let provider = catalog.providers.get(&invoice.provider).ok_or_else(unknown)?;
        let of_lines = invoice.lines.iter().map(|line| line.currency);
        for currency in of_lines.chain(invoice.totals.keys().copied()).collect::<BTreeSet<_>>() {
            let key = (&invoice.provider, &invoice.id, currency);
            if invoice.period <= open || sums.contains_key(&key) {
                invoices.insert(key, (invoice, total(invoice, currency, provider)?));
            }
        }
    }
    let keys: BTreeSet<_> = sums.keys().chain(invoices.keys()).copied().collect();
    let mut reconciled = Vec::new();
    for key in keys {
        let (provider, id, currency) = key;
        let nothing = Posted::default();
        let Posted { month, charged, retained } = sums.get(&key).unwrap_or(&nothing);
        let invoice = invoices.get(&key);
        let total = invoice.map_or(0, |(_, total)| total.minor_units);
        let posted = charged.checked_add(*retained).ok_or_else(too_large)?;
        let difference = total.checked_sub(posted).ok_or_else(too_large)?;
        let period = invoice.map(|(invoice, _)| invoice.period).or(*month);
        let Some(period) = period.filter(|_| invoice.is_some() || (*charged, *retained) != (0, 0)) else {
            continue;
        };
        let amount = |minor_units| decimal(Money { minor_units, currency });
        reconciled.push(Reconciled {
            provider: provider.clone(),
            invoice: id.clone(),
            version: invoice.map(|(invoice, _)| invoice.version),
            period,
            currency,
            total: amount(total)?,
            charged: amount(*charged)?,
            retained: amount(*retained)?,
            difference: amount(difference)?,
        });
    }
    Ok(reconciled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::RetainedReason;
    use crate::reconcile::post;
    use crate::reconcile::row::{Row, Status};
    use crate::reconcile::world::{catalog, cost_line, invoice, month, row, run};
    use crate::run::Granted;
    use crate::statement::LineKind;
    use schemas::invoice::LineCategory::{Tax, Usage};

    fn told(posted: &[PostedLine], standing: &[Invoice]) -> Vec<String> {
        let reconciled = reconciles_to_invoice(posted, standing, month("2025-11"), &catalog(true, &[]));
        let told = |of: &Reconciled| {
            let version = of.version.map_or("-".to_owned(), |version| version.to_string());
            let Reconciled { invoice, period, currency, total, charged, retained, difference, .. } = of;
            format!(
                "{invoice} {version} {period} {currency}: {total} = {charged} + {retained} + {difference}"
            )
        };
        reconciled.expect("invoices").iter().map(told).collect()
    }

    #[test]
    fn an_invoice_is_charged_retained_or_missing() {
        let run = run(vec![cost_line(0, &[("b", "2"), ("c", "1"), ("o", "1")])]);
        let invoices = [invoice("I", &[(Usage, "8", "USD"), (Tax, "1", "USD"), (Usage, "3", "EUR")])];
        let rows = |tax| {
            [
                row(Ok(0), &[(0, 0)], &[0], Some(Status::Accepted)),
                row(Err("VAT"), &[(0, 1)], &[], Some(tax)),
                Row {
                    currency: crate::reconcile::world::currency("EUR"),
                    ..row(Ok(1), &[(0, 2)], &[], None)
                },
            ]
        };
        let posted = |tax| {
            post(&run, &rows(tax), &invoices, &catalog(true, &[]), &Granted::default()).expect("posted lines")
        };
        // A grant is charged to another, and a partner's lines are its own.
        let euros = "I 1 2025-10 EUR: 3 = 0 + 3 + 0";
        let all = posted(Status::Accepted);
        assert_eq!(told(&all, &invoices), [euros, "I 1 2025-10 USD: 9 = 6 + 3 + 0"]);
        assert_eq!(told(&posted(Status::Open), &invoices), [euros, "I 1 2025-10 USD: 9 = 6 + 2 + 1"]);
        let mut borne = all.clone();
        let paid =
            borne.iter_mut().find(|line| line.kind == LineKind::Grant && line.money.minor_units == 200);
        paid.expect("half of 4 dollars").kind = LineKind::Retained(RetainedReason::Internal);
        assert_eq!(told(&borne, &invoices)[1], "I 1 2025-10 USD: 9 = 4 + 5 + 0");
        // What does not stand any more has to be taken back.
        let mut undone = all.clone();
        assert_eq!(told(&all, &[]), ["I - 2025-10 EUR: 0 = 0 + 3 + -3", "I - 2025-10 USD: 0 = 6 + 3 + -9"]);
        undone.extend(
            crate::correct::corrections(month("2025-10"), month("2025-11"), &all, &[]).expect("corrections"),
        );
        assert_eq!(told(&undone, &[]), [""; 0]);
        // An invoice of a month that is not open yet waits.
        let later = Invoice { period: month("2025-12"), ..invoices[0].clone() };
        assert_eq!(told(&[], std::slice::from_ref(&later)), [""; 0]);
        assert_eq!(told(&[], &invoices).len(), 2);
    }
}
