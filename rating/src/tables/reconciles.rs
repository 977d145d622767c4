//! The table `reconciles_to_invoice`: whether what is posted of an invoice is what it comes to.
//!
//! Invariant: a row for every invoice and currency of all posted months and the open one.

use super::columns::ColumnType::{Amount, Count, Text};
use super::columns::{Column, Table, Value, optional, required, text};
use crate::reconcile::Reconciled;

pub(super) struct ReconcilesToInvoice;

impl Table for ReconcilesToInvoice {
    const NAME: &'static str = "reconciles_to_invoice";
    type Row<'r> = &'r Reconciled;
    const COLUMNS: &'static [&'static [Column<Self>]] = &[COLUMNS];
}

const COLUMNS: &[Column<ReconcilesToInvoice>] = &[
    required("provider", Text, "The provider whose invoice it is.", |row| text(&row.provider)),
    required("invoice", Text, "The id of the invoice.", |row| text(&row.invoice)),
    optional("version", Count, "The version that stands; none where none does any more.", |row| {
        row.version.map(|version| Value::Count(version.into()))
    }),
    required("period", Text, "The month of the invoice.", |row| text(row.period)),
    required("currency", Text, "The currency of the sums.", |row| text(row.currency)),
    required("total", Amount, "What the invoice comes to.", |row| Value::Amount(row.total)),
    required("charged", Amount, "What customers are billed of it, in all months.", |row| {
        Value::Amount(row.charged)
    }),
    required("retained", Amount, "What the operator bears of it.", |row| Value::Amount(row.retained)),
    required("difference", Amount, "What is left: zero where every row is decided.", |row| {
        Value::Amount(row.difference)
    }),
];
