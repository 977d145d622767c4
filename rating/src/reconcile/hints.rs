//! What may have happened, where the figures of a row suggest it.
//!
//! A hint is for people; nothing is deliberately decided by it.
//!
//! Invariant: a hint is a function of the rows of one provider.

use super::row::{Class, Hint, Row};
use crate::exact::{Exact, exact};
use num_traits::{One as _, Zero as _};
use schemas::id::{ProviderId, SkuId};
use schemas::invoice::Invoice;
use schemas::money::Currency;
use std::collections::{BTreeMap, BTreeSet};

/// The ratio of units by which an invoice's quantity differs from the ledger's, within a millionth.
pub(super) fn factor(row: &Row, ratios: &BTreeSet<Exact>) -> Option<Hint> {
    let ledger = row.ledger_quantity.as_ref().filter(|quantity| !quantity.is_zero())?;
    let ratio = row.invoice_quantity.as_ref()? / ledger;
    let millionth = Exact::new(1.into(), 1_000_000.into());
    let [from, to] = [Exact::one() + &millionth, Exact::one() - &millionth].map(|part| &ratio / part);
    // Below zero they would be the other way round, and no ratio of units is there.
    let found = if from <= to { ratios.range(from..=to).next() } else { None };
    found.cloned().map(Hint::Factor)
}

/// The first line of a row that repeats another, and that one, as their numbers in the invoice.
pub(super) fn repeats(row: &Row, invoices: &[Invoice]) -> Option<Hint> {
    row.lines.iter().find_map(|at| {
        let line = &invoices[at.invoice].lines[at.line];
        Some(Hint::Repeats(line.line, line.repeats?))
    })
}

/// What the ledger expects and no invoice has: amounts by provider and currency, and their SKUs.
pub(super) struct Missing(BTreeMap<(ProviderId, Currency), BTreeMap<Exact, Vec<SkuId>>>);

impl Missing {
    pub(super) fn of(rows: &[Row]) -> Self {
        let mut missing = Self(BTreeMap::new());
        for row in rows.iter().filter(|row| row.class == Some(Class::MissingOnInvoice)) {
            if let (Some(sku), Some(amount)) = (&row.sku, row.ledger_amount) {
                let of = missing.0.entry((row.provider.clone(), row.currency)).or_default();
                of.entry(exact(amount)).or_default().push(sku.clone());
            }
        }
        missing
    }

    /// The SKU of the one missing row that costs what a text costs.
    pub(super) fn costing(&self, row: &Row) -> Option<Hint> {
        let amount = exact(row.invoice_amount?);
        let amounts = self.0.get(&(row.provider.clone(), row.currency))?;
        let near = (&amount - &row.tolerance)..=(&amount + &row.tolerance);
        let mut found = amounts.range(near).flat_map(|(_, skus)| skus);
        let only = found.next()?;
        found.next().is_none().then(|| Hint::Map(only.clone()))
    }
}
