//! The table `invoice_lines`: what the providers' invoices say, line by line.
//!
//! Invariant: a row for every line of every version of every invoice, in the order in which they were
//! imported.

use super::columns::ColumnType::{Amount, Count, Instant, Text};
use super::columns::{Column, Table, Value, optional, required, text};
use schemas::invoice::{Invoice, InvoiceLine};

pub(super) struct InvoiceLines;

pub(super) struct InvoiceLineRow<'r> {
    pub invoice: &'r Invoice,
    pub line: &'r InvoiceLine,
}

pub(super) fn rows<'r>(invoices: &[&'r Invoice]) -> Vec<InvoiceLineRow<'r>> {
    let mut rows = Vec::with_capacity(invoices.iter().map(|invoice| invoice.lines.len()).sum());
    for invoice in invoices.iter().copied() {
        rows.extend(invoice.lines.iter().map(|line| InvoiceLineRow { invoice, line }));
    }
    rows
}

impl Table for InvoiceLines {
    const NAME: &'static str = "invoice_lines";
    type Row<'r> = InvoiceLineRow<'r>;
    const COLUMNS: &'static [&'static [Column<Self>]] = &[INVOICE, LINE];
}

const INVOICE: &[Column<InvoiceLines>] = &[
    required("provider", Text, "The provider whose invoice it is.", |row| text(&row.invoice.provider)),
    required("invoice", Text, "The id of the invoice.", |row| text(&row.invoice.id)),
    required("version", Count, "The version of the invoice, from 1; only the last stands.", |row| {
        Value::Count(row.invoice.version.into())
    }),
    required("period", Text, "The month of the invoice.", |row| text(row.invoice.period)),
];

const LINE: &[Column<InvoiceLines>] = &[
    required("line", Count, "The number of the line in the invoice, from 1.", |row| {
        Value::Count(row.line.line.into())
    }),
    optional("line_id", Text, "What the invoice calls the line.", |row| row.line.line_id.as_ref().map(text)),
    optional("billing_account", Text, "The operator's account, as the invoice names it.", |row| {
        row.line.billing_account.as_ref().map(text)
    }),
    optional("sub_account", Text, "The sub account, as the invoice names it.", |row| {
        row.line.sub_account.as_ref().map(text)
    }),
    optional("sku_text", Text, "What the invoice calls the thing that the line is for.", |row| {
        row.line.sku_text.as_ref().map(text)
    }),
    optional("description", Text, "The line's description.", |row| row.line.description.as_ref().map(text)),
    required("category", Text, "`usage`, `tax`, `credit`, `fee` or `adjustment`.", |row| {
        text(row.line.category)
    }),
    required("charge_period_start", Instant, "When the charge period begins.", |row| {
        Value::Instant(row.line.start)
    }),
    required("charge_period_end", Instant, "When the charge period ends; exclusive.", |row| {
        Value::Instant(row.line.end)
    }),
    optional("quantity", Amount, "The quantity, in `unit`.", |row| row.line.quantity.map(Value::Amount)),
    optional("unit", Text, "The unit, as the invoice writes it.", |row| row.line.unit.as_ref().map(text)),
    optional("unit_price", Amount, "The price of a unit.", |row| row.line.unit_price.map(Value::Amount)),
    required("amount", Amount, "The amount, in `currency`.", |row| Value::Amount(row.line.amount)),
    required("currency", Text, "The currency of the amount.", |row| text(row.line.currency)),
    optional(
        "repeats",
        Count,
        "The first line of the invoice that is the same, byte for byte; none where there is none before it.",
        |row| row.line.repeats.map(|first| Value::Count(first.into())),
    ),
];
