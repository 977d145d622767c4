//! `BillingPeriod`: whether the month is closed, for each who writes statements in it.
//!
//! What was billed is deliberately not looked at.
//!
//! Invariant: every issuer of a row of the other datasets has one row, and there is always one.

use super::export::Export;
use super::row::Row;
use crate::error::RatingError;
use crate::posted::Numbered;
use std::collections::BTreeSet;

pub(super) fn rows(export: &Export<'_>, lines: &[Numbered<'_>]) -> Result<Vec<Row>, RatingError> {
    let period = export.period()?;
    let mut issuers: BTreeSet<&str> = lines.iter().map(|line| export.issuer(line.line)).collect();
    if issuers.is_empty() {
        issuers.insert(&export.catalog.name);
    }
    let dated = export.closed.unwrap_or(export.now);
    let row = |issuer: &str| {
        let mut row = Row::default();
        row.set_instant("BillingPeriodStart", period.start());
        row.set_instant("BillingPeriodEnd", period.end());
        row.set_instant("BillingPeriodCreated", dated);
        row.set_instant("BillingPeriodLastUpdated", dated);
        row.set_text("BillingPeriodStatus", if export.closed.is_some() { "Closed" } else { "Open" });
        row.set_text("InvoiceIssuerName", issuer);
        row
    };
    Ok(issuers.into_iter().map(row).collect())
}
