//! What a posted line is to FOCUS: its category, its frequency, and its SKU where it has a price.
//!
//! How much it is, and whose, is deliberately not looked at.
//!
//! Invariants: a correction is of the class of the line that it corrects; a line without a price has
//! neither quantity nor subject.

use crate::catalog::{Catalog, Counts, DatedPrice, Provider, Sku};
use crate::posted::{Posted, PostedKind};
use crate::price::{PriceModel, Recurrence};
use crate::run::CostLine;
use schemas::invoice::LineCategory;

/// The class of a line.
pub(super) struct Class<'c> {
    /// `ChargeCategory`.
    pub category: &'static str,
    /// `ChargeFrequency`.
    pub frequency: &'static str,
    /// Where the category is that of the SKU.
    pub sku: Option<&'c Sku>,
    /// Where it has a price of its own.
    pub priced: Option<Priced<'c>>,
}

/// The cost line that a line is a part of.
pub(super) struct Priced<'c> {
    pub line: &'c CostLine,
    pub price: Option<&'c DatedPrice>,
}

const ADJUSTMENT: (&str, &str) = ("Adjustment", "One-Time");

pub(super) fn class<'c>(line: &'c Posted<'_>, catalog: &'c Catalog) -> Class<'c> {
    let alone = |(category, frequency)| Class { category, frequency, sku: None, priced: None };
    match line.category {
        LineCategory::Tax => return alone(("Tax", "One-Time")),
        LineCategory::Credit => return alone(("Credit", "One-Time")),
        LineCategory::Fee | LineCategory::Adjustment => return alone(ADJUSTMENT),
        LineCategory::Usage => {}
    }
    // FOCUS has no price below zero, and a line of no cost line has none to show.
    let Some((sku, from)) = of_sku(line, catalog).zip(line.price_from) else { return alone(ADJUSTMENT) };
    let price = sku.prices.iter().find(|price| price.from == from);
    let model = price.or(sku.prices.first()).map(|price| &price.terms.model);
    let (category, frequency) = match (&sku.counts, model) {
        (Counts::Usage(_), _) => ("Usage", "Usage-Based"),
        (Counts::Nothing, Some(PriceModel::Flat { every: Recurrence::Once, .. })) => ("Purchase", "One-Time"),
        (Counts::Nothing, _) => ("Purchase", "Recurring"),
        (Counts::Lines(_), _) => ADJUSTMENT,
    };
    let sku = Some(sku);
    match line.cost_line {
        _ if line.correction.is_some() => Class { category, frequency, sku, priced: None },
        Some(cost_line) => {
            Class { category, frequency, sku, priced: Some(Priced { line: cost_line, price }) }
        }
        None => alone(ADJUSTMENT),
    }
}

/// The SKU of a line that is billed by its price; not of what is disputed, was not metered, is in
/// another currency, or is a part that a grant pays.
fn of_sku<'c>(line: &Posted<'_>, catalog: &'c Catalog) -> Option<&'c Sku> {
    let provider: &Provider = catalog.providers.get(&line.provider)?;
    let sku = provider.sku(line.sku.as_ref()?)?;
    let is_own = line.amount.currency == provider.currency
        && line.kind != PostedKind::Grant
        && !matches!(line.kind.retained_reason(), Some("disputed" | "unmetered"));
    is_own.then_some(sku)
}
