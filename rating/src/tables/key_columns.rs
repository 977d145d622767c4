//! The columns that cost lines, charges and statement lines share: what names a cost line.
//!
//! Invariant: lines with equal values in all of them are of one cost line, up to the beginning of
//! its price.

use super::columns::ColumnType::{Instant, Text};
use super::columns::{Column, Table, Value, optional, required, text};
use crate::run::CostLine;

/// A row that belongs to a cost line.
pub(super) trait OfLine {
    fn line(&self) -> &CostLine;
}

/// The columns in the middle of a table of lines.
pub(super) const fn key_columns<T>() -> [Column<T>; 7]
where
    T: Table,
    for<'r> T::Row<'r>: OfLine,
{
    [
        required("provider", Text, "The provider that bills it.", |row| text(&row.line().key.provider)),
        required("billing_account", Text, "The operator's account with the provider.", |row| {
            text(&row.line().key.billing_account)
        }),
        optional(
            "sub_account",
            Text,
            "The customer whose account the provider bills, where the rule is `direct`.",
            |row| row.line().key.sub_account.as_ref().map(text),
        ),
        required("sku", Text, "The SKU of the price list.", |row| text(&row.line().key.sku)),
        required("charge_period_start", Instant, "When the charge period begins.", |row| {
            Value::Instant(row.line().key.charge_period.start())
        }),
        required("charge_period_end", Instant, "When the charge period ends; exclusive.", |row| {
            Value::Instant(row.line().key.charge_period.end())
        }),
        required("currency", Text, "The provider's currency, in which every amount of the row is.", |row| {
            text(row.line().currency)
        }),
    ]
}
