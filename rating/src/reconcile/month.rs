//! Which invoices stand, and the month that each of their lines belongs to.
//!
//! What a line is for is deliberately not looked at.
//!
//! Invariant: of the versions of an invoice at most one stands, and each of its lines belongs to one
//! month.

use crate::catalog::{Catalog, Provider};
use crate::error::RatingError;
use schemas::id::{InvoiceId, ProviderId};
use schemas::invoice::{Invoice, InvoiceLine, Standing};
use schemas::time::{BillingMonth, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// An invoice that stands, by the places of its versions in the list of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stands {
    pub last: usize,
    /// The version before.
    pub before: Option<usize>,
}

/// The last version of every invoice, in the order of the list; a preliminary one only as long as its
/// provider and month have no complete one.
pub(super) fn standing(invoices: &[Invoice]) -> Vec<Stands> {
    let mut of: BTreeMap<(&ProviderId, &InvoiceId), BTreeMap<u32, usize>> = BTreeMap::new();
    for (place, invoice) in invoices.iter().enumerate() {
        of.entry((&invoice.provider, &invoice.id)).or_default().insert(invoice.version, place);
    }
    let last = of.values().filter_map(|versions| {
        let mut latest = versions.values().rev().copied();
        Some(Stands { last: latest.next()?, before: latest.next() })
    });
    let mut last: Vec<Stands> = last.collect();
    let of_month = |stands: &Stands| (&invoices[stands.last].provider, invoices[stands.last].period);
    let is = |stands: &Stands, standing| invoices[stands.last].standing == standing;
    let complete: BTreeSet<_> =
        last.iter().filter(|stands| is(stands, Standing::Complete)).map(of_month).collect();
    last.retain(|stands| !is(stands, Standing::Preliminary) || !complete.contains(&of_month(stands)));
    last.sort_by_key(|stands| stands.last);
    last
}

/// The invoices that stand, each in its last version, in the order of the list.
pub fn standing_invoices(invoices: &[Invoice]) -> Vec<&Invoice> {
    standing(invoices).into_iter().map(|stands| &invoices[stands.last]).collect()
}

/// The providers whose complete invoice of a month is here.
pub(super) fn here<'i>(
    invoices: &'i [Invoice],
    standing: &[Stands],
    month: BillingMonth,
) -> BTreeSet<&'i ProviderId> {
    let is_here = |invoice: &&Invoice| invoice.standing == Standing::Complete && invoice.period == month;
    let standing = standing.iter().map(|stands| &invoices[stands.last]);
    standing.filter(is_here).map(|invoice| &invoice.provider).collect()
}

/// The months that the lines of an invoice belong to.
///
/// # Errors
/// An invoice of an unknown provider, and at the edges of the calendar.
pub fn months_of(
    invoice: &Invoice,
    catalog: &Catalog,
    closed: &BTreeSet<BillingMonth>,
    asked: BillingMonth,
) -> Result<BTreeSet<BillingMonth>, RatingError> {
    let unknown =
        || RatingError::Damaged(format!("invoice {}: the catalog has no such provider", invoice.id));
    let provider = catalog.providers.get(&invoice.provider).ok_or_else(unknown)?;
    let (open, mut months) = (Open::of(closed, asked), Months::of(provider));
    let month_of = |line: &InvoiceLine| Ok(open.month_of(months.containing(line.start)?, invoice.period));
    invoice.lines.iter().map(month_of).collect()
}

/// The months of a provider, each looked up once.
pub(super) struct Months<'c> {
    provider: &'c Provider,
    known: BTreeMap<Instant, (Period, BillingMonth)>,
}

impl<'c> Months<'c> {
    pub(super) fn of(provider: &'c Provider) -> Self {
        Self { provider, known: BTreeMap::new() }
    }

    /// The billing month whose period holds an instant.
    ///
    /// # Errors
    /// At the edges of the calendar.
    pub(super) fn containing(&mut self, at: Instant) -> Result<BillingMonth, RatingError> {
        if let Some((_, (period, month))) = self.known.range(..=at).next_back()
            && period.contains(at)
        {
            return Ok(*month);
        }
        let provider = self.provider;
        let date = BillingMonth::containing(at, &provider.time_zone);
        // A period that does not begin on the first begins in the month before its own.
        let near = [date, date.and_then(BillingMonth::next), date.and_then(BillingMonth::previous)];
        for month in near.into_iter().flatten() {
            if let Ok(period) = provider.billing_period(month)
                && period.contains(at)
            {
                self.known.insert(period.start(), (period, month));
                return Ok(month);
            }
        }
        Err(RatingError::Invoices(format!(
            "a line of an invoice of {} begins at {at}, which is in none of its billing periods",
            provider.id
        )))
    }
}

/// What is closed, and what is open.
pub(super) struct Open<'a> {
    closed: &'a BTreeSet<BillingMonth>,
    open: Option<BillingMonth>,
}

impl<'a> Open<'a> {
    /// Before any month is closed, the one that is asked for is open.
    pub(super) fn of(closed: &'a BTreeSet<BillingMonth>, asked: BillingMonth) -> Self {
        let open = closed.last().map_or(Some(asked), |last| last.next());
        Self { closed, open }
    }

    /// The month of a line: that of its use where it is closed or open, else its invoice's.
    pub(super) fn month_of(&self, used: BillingMonth, invoiced: BillingMonth) -> BillingMonth {
        if self.closed.contains(&used) || self.open == Some(used) { used } else { invoiced }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> BillingMonth {
        BillingMonth::parse(text).expect("a month")
    }

    fn invoice(id: &str, version: u32, standing: Standing) -> Invoice {
        Invoice {
            provider: ProviderId::new("p").expect("a name"),
            id: InvoiceId::new(id).expect("a name"),
            version,
            period: month("2025-10"),
            standing,
            totals: BTreeMap::new(),
            lines: Vec::new(),
        }
    }

    #[test]
    fn the_last_version_stands_and_knows_the_one_before() {
        let complete = |id, version| invoice(id, version, Standing::Complete);
        let invoices = [complete("b", 1), complete("a", 1), complete("b", 3), complete("b", 2)];
        let expected = [Stands { last: 1, before: None }, Stands { last: 2, before: Some(3) }];
        assert_eq!(standing(&invoices), expected);
    }

    #[test]
    fn a_preliminary_invoice_gives_way_to_a_complete_one() {
        let preliminary = || invoice("p-preliminary-2025-10", 1, Standing::Preliminary);
        let with = |other| standing(&[preliminary(), other]).iter().map(|it| it.last).collect::<Vec<_>>();
        assert_eq!(with(invoice("a", 1, Standing::Complete)), [1]);
        assert_eq!(with(invoice("a", 1, Standing::Partial)), [0, 1]);
        let later = Invoice { period: month("2025-11"), ..invoice("a", 1, Standing::Complete) };
        assert_eq!(with(later), [0, 1]);
    }

    #[test]
    fn a_line_stands_in_the_month_of_its_use_once_that_is_reached() {
        let (september, october, november) = (month("2025-09"), month("2025-10"), month("2025-11"));
        let none = BTreeSet::new();
        let before_any = Open::of(&none, october);
        assert_eq!(before_any.month_of(september, october), october, "it was never closed");
        assert_eq!(before_any.month_of(october, november), october, "it is open");
        assert_eq!(before_any.month_of(november, october), october, "it is dated ahead");
        let closed = BTreeSet::from([october]);
        let after = Open::of(&closed, october);
        assert_eq!(after.month_of(november, october), november, "its month is open");
        assert_eq!(after.month_of(october, november), october, "its month is closed");
        assert_eq!(after.month_of(september, november), november, "its month was never closed");
    }
}
