//! `InvoiceDetail`: the lines of statements that are not 0.
//!
//! Dates of payment and orders are deliberately not known here; they are between the two sides.
//!
//! Invariant: a row has the number of its line, which the rows of `CostAndUsage` have, too.

use super::class::class;
use super::cost_and_usage::{description, service};
use super::export::Export;
use super::row::Row;
use crate::error::RatingError;
use crate::posted::{Numbered, statement_id};
use crate::run::decimal;
use serde_json::Value as Json;

/// The row of a line; none of a line of nothing.
pub(super) fn row(export: &Export<'_>, numbered: &Numbered<'_>) -> Result<Option<Row>, RatingError> {
    let line = numbered.line;
    let bill = line.bill();
    if bill.minor_units == 0 {
        return Ok(None);
    }
    let (period, operator) = (export.period()?, &export.catalog.operator);
    let (account, cost) = (line.account(operator), decimal(bill)?);
    let mut row = Row::default();
    row.set_decimals(["BilledCost", "PaymentCurrencyBilledCost"], cost);
    row.set_text("BillingAccountId", account);
    row.set_text("BillingCurrency", bill.currency);
    row.set_text("PaymentCurrency", bill.currency);
    row.set_instant("BillingPeriodStart", period.start());
    row.set_instant("BillingPeriodEnd", period.end());
    row.set_text("ChargeCategory", class(line, export.catalog).category);
    row.set_text("InvoiceDetailDescription", description(export, line));
    row.set_text("InvoiceDetailGrain", grain(export, numbered));
    row.set_text("InvoiceDetailId", numbered.number);
    row.set_text("PaymentCurrencyInvoiceDetailId", numbered.number);
    let dated = export.closed.unwrap_or(export.now);
    row.set_instant("InvoiceDetailCreated", dated);
    row.set_instant("InvoiceDetailLastUpdated", dated);
    row.set_text("InvoiceId", &numbered.statement);
    match export.closed {
        Some(closed) => {
            row.set_instant("InvoiceIssueDate", closed);
            row.set_text("InvoiceIssueStatus", "Issued");
        }
        None => row.set_text("InvoiceIssueStatus", "Open"),
    }
    row.set_text("InvoiceIssuerName", export.issuer(line));
    row.set_text("PaymentTerms", "As agreed");
    match &line.correction {
        Some(correction) => {
            let biller = line.biller.as_str(operator);
            let corrected = statement_id(biller, correction.month, account, bill.currency);
            row.set_text("ReferenceInvoiceId", corrected);
        }
        None => row.set_text("ReferenceInvoiceId", &numbered.statement),
    }
    Ok(Some(row))
}

/// What tells the lines of a statement from one another.
fn grain(export: &Export<'_>, numbered: &Numbered<'_>) -> String {
    let line = numbered.line;
    let mut grain = serde_json::Map::new();
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            grain.insert(key.to_owned(), Json::String(value));
        }
    };
    set("ServiceName", Some(service(export, line).to_owned()));
    set("x_ChargePeriodStart", Some(line.start.to_string()));
    set("x_CorrectionEntry", line.correction.as_ref().map(|correction| correction.entry.to_string()));
    set("x_SkuId", line.sku.as_ref().map(ToString::to_string));
    set("x_UpstreamInvoiceId", line.invoice.as_ref().map(ToString::to_string));
    Json::Object(grain).to_string()
}
