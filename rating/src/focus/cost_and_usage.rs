//! `CostAndUsage`: one row for each posted line, split by subject where it is metered.
//!
//! What a line is, and its parts, is decided in `class`, `parts` and `daily`.
//!
//! Invariant: Σ `BilledCost` over the rows of a line is what the line comes to on its statement.

use super::class::{Class, Priced, class};
use super::daily::{Piece, pieces};
use super::export::{Export, too_large};
use super::parts::{Part, Splits, parts};
use super::row::Row;
use super::unit::focus_unit;
use crate::catalog::{CustomerKind, Sku};
use crate::error::RatingError;
use crate::exact::{Exact, exact};
use crate::posted::{Numbered, Posted};
use crate::rounding::{self, MoneyError};
use crate::run::decimal;
use crate::statement::{Biller, Partners};
use num_traits::Zero as _;
use schemas::decimal::Amount;
use schemas::id::CustomerId;

/// The rows of a line.
pub(super) fn rows(
    export: &Export<'_>,
    numbered: &Numbered<'_>,
    (partners, splits): (&Partners, &mut Splits),
) -> Result<Vec<Row>, RatingError> {
    let line = numbered.line;
    let class = class(line, export.catalog);
    let (billed, own) = (decimal(line.bill())?, decimal(line.amount)?);
    let failed = too_large(line);
    let base = base(export, numbered, &class)?;
    if let (Some(priced), Some(sku)) = (&class.priced, class.sku) {
        let price = unit_price(priced).map_err(&failed)?;
        let of = (line, sku.metered().is_some());
        let parts = parts(splits, of, priced.line, partners, (billed, own)).map_err(&failed)?;
        let (mut rows, customer) = (Vec::new(), line.customer.as_ref());
        for part in &parts {
            for piece in pieces(line, sku, priced, part, export.days).map_err(&failed)? {
                let row = priced_row(export, &base, (&class, priced, sku), (customer, part, &piece), price);
                rows.push(row.map_err(&failed)?);
            }
        }
        if !rows.is_empty() {
            return Ok(rows);
        }
    }
    Ok(vec![plain_row(base, line, &class, (billed, own))])
}

/// What all rows of a line have.
fn base(export: &Export<'_>, numbered: &Numbered<'_>, class: &Class<'_>) -> Result<Row, RatingError> {
    let line = numbered.line;
    let catalog = export.catalog;
    let provider = catalog.providers.get(&line.provider);
    let provider_name = provider.map_or(line.provider.as_str(), |provider| provider.name.as_str());
    let period = export.period()?;
    let mut row = Row::default();
    account(export, line, &mut row);
    row.set_text("BillingCurrency", line.bill().currency);
    row.set_text("PricingCurrency", line.amount.currency);
    row.set_instant("BillingPeriodStart", period.start());
    row.set_instant("BillingPeriodEnd", period.end());
    row.set_text("ChargeCategory", class.category);
    row.set_text("ChargeFrequency", class.frequency);
    row.set_text("ChargeDescription", description(export, line));
    let issuer = export.issuer(line);
    row.set_text("ServiceProviderName", issuer);
    row.set_text("InvoiceIssuerName", issuer);
    row.set_text("HostProviderName", provider_name);
    row.set_text("InvoiceId", &numbered.statement);
    row.set_text("InvoiceDetailId", numbered.number);
    let kind = export.terms.kind(&line.provider, line.sku.as_ref());
    row.set_text("ServiceName", service(export, line));
    row.set_text("ServiceCategory", kind.category());
    row.set_text("ServiceSubcategory", kind.subcategory());
    row.set_some_text("x_RetainedReason", line.kind.retained_reason());
    row.set_text("x_UpstreamBillingAccountId", &line.billing_account);
    row.set_some_text("x_UpstreamInvoiceId", line.invoice.as_ref());
    if let Some(correction) = &line.correction {
        row.set_text("ChargeClass", "Correction");
        row.set_text("x_CorrectionEntry", correction.entry);
    }
    Ok(row)
}

/// Whose bill it is on. What the operator bears is on its own, and what a partner bears on the partner's.
fn account(export: &Export<'_>, line: &Posted<'_>, row: &mut Row) {
    let catalog = export.catalog;
    let billed = line.customer.as_ref().filter(|_| line.kind.retained_reason().is_none());
    let (name, kind) = match (billed, &line.biller) {
        (Some(customer), _) => {
            let known = catalog.customers.get(customer);
            let kind = known.map(|known| known.kinds.on(export.month.first_day()));
            let kind = if kind == Some(CustomerKind::Partner) { "Partner" } else { "Customer" };
            (export.customer_name(customer), kind)
        }
        (None, Biller::Operator) => (catalog.name.as_str(), "Operator"),
        (None, Biller::Partner(partner)) => (export.customer_name(partner), "Partner"),
    };
    row.set_text("BillingAccountId", line.account(&catalog.operator));
    row.set_text("BillingAccountName", name);
    row.set_text("BillingAccountType", kind);
}

/// What a line is for, in words: its own, or the SKU's name.
pub(super) fn description<'d>(export: &Export<'d>, line: &'d Posted<'_>) -> &'d str {
    let sku = || {
        let id = line.sku.as_ref()?;
        let found = export.catalog.providers.get(&line.provider).and_then(|provider| provider.sku(id));
        Some(found.map_or(id.as_str(), |sku| sku.name.as_str()))
    };
    line.description.as_deref().or_else(sku).unwrap_or(line.category.as_str())
}

/// `ServiceName`.
pub(super) fn service<'s>(export: &Export<'s>, line: &'s Posted<'_>) -> &'s str {
    let provider = export.catalog.providers.get(&line.provider);
    let name = provider.map_or(line.provider.as_str(), |provider| provider.name.as_str());
    export.terms.service(&line.provider, line.sku.as_ref(), name)
}

/// A row without a price.
fn plain_row(mut row: Row, line: &Posted<'_>, class: &Class<'_>, (billed, own): (Amount, Amount)) -> Row {
    row.set_instant("ChargePeriodStart", line.start);
    row.set_instant("ChargePeriodEnd", line.end);
    row.set_decimals(["BilledCost", "EffectiveCost", "ListCost", "ContractedCost"], billed);
    row.set_decimal("PricingCurrencyEffectiveCost", own);
    match class.sku {
        Some(sku) if class.priced.is_none() => set_sku(&mut row, sku),
        // It has a price, and nothing of it is this line's: what it is for cannot be said by a SKU.
        Some(_) => {
            row.set_text("ChargeCategory", "Adjustment");
            row.set_text("ChargeFrequency", "One-Time");
        }
        None => {}
    }
    row
}

fn set_sku(row: &mut Row, sku: &Sku) {
    row.set_text("SkuId", &sku.id);
    row.set_text("SkuMeter", sku.metered().map_or(sku.name.as_str(), |metered| metered.meter.as_str()));
}

/// What a unit costs on average, in the provider's currency whatever is billed; nothing where there is no
/// quantity.
fn unit_price(priced: &Priced<'_>) -> Result<Amount, MoneyError> {
    let quantity = &priced.line.exact_quantity;
    let price = if quantity.is_zero() { Exact::zero() } else { exact(priced.line.amount) / quantity };
    rounding::amount(&price)
}

/// One part of a priced line.
fn priced_row(
    export: &Export<'_>,
    base: &Row,
    (class, priced, sku): (&Class<'_>, &Priced<'_>, &Sku),
    (customer, part, piece): (Option<&CustomerId>, &Part, &Piece),
    price: Amount,
) -> Result<Row, MoneyError> {
    let mut row = base.clone();
    row.set_instant("ChargePeriodStart", piece.start);
    row.set_instant("ChargePeriodEnd", piece.end);
    row.set_decimals(["BilledCost", "EffectiveCost"], piece.billed);
    row.set_decimal("PricingCurrencyEffectiveCost", piece.own);
    row.set_decimals(["ListUnitPrice", "ContractedUnitPrice"], price);
    row.set_decimals(["PricingCurrencyListUnitPrice", "PricingCurrencyContractedUnitPrice"], price);
    let cost = rounding::amount(&(exact(price) * exact(piece.quantity)))?;
    row.set_decimals(["ListCost", "ContractedCost"], cost);
    let unit = export.terms.unit(&sku.id);
    let unit = unit.map_or_else(|| focus_unit(priced.line.unit.as_deref()), str::to_owned);
    row.set_decimal("PricingQuantity", piece.quantity);
    row.set_text("PricingUnit", &unit);
    if class.category == "Usage" {
        row.set_decimal("ConsumedQuantity", piece.quantity);
        row.set_text("ConsumedUnit", &unit);
    }
    set_sku(&mut row, sku);
    let from = priced.price.map(|price| price.from_date.to_string());
    let from = from.unwrap_or_else(|| priced.line.key.price_from.to_string());
    row.set_text("SkuPriceId", format_args!("{}@{from}", sku.id));
    row.set_text("PricingCategory", "Standard");
    row.set_text("x_AllocationRule", priced.line.rule.as_str());
    if let Some(subject) = &part.subject {
        row.set_text("SubAccountId", subject);
        row.set_text("SubAccountName", subject);
        row.set_text("SubAccountType", "Subject");
    }
    if let Some(ratio) = part.ratio {
        row.set_text("AllocatedMethodId", priced.line.rule.as_str());
        let details = format!("{{\"Elements\":[{{\"AllocatedRatio\":{ratio}}}]}}");
        row.set_text("AllocatedMethodDetails", details);
        if let Some(customer) = customer {
            row.set_text("AllocatedResourceId", customer);
            row.set_text("AllocatedResourceName", export.customer_name(customer));
        }
    }
    Ok(row)
}
