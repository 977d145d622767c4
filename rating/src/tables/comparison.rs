//! The table `comparison`: a month's invoices beside what the ledger says.
//!
//! Invariant: a row for every row of the comparison, in its order.

use super::columns::ColumnType::{Amount, Count, Instant, Quantity, Text};
use super::columns::{Column, Table, Value, optional, required, text};
use crate::error::RatingError;
use crate::exact::{Exact, display};
use crate::reconcile::{Hint, Row};
use crate::rounding::{self, MoneyError};
use crate::run::decimal;
use schemas::decimal;
use schemas::id::InvoiceId;

pub(super) struct Comparison;

/// A row with its exact numbers as decimals.
pub(super) struct ComparisonRow<'r> {
    row: &'r Row,
    ledger_quantity: Option<decimal::QuantityTotal>,
    invoice_quantity: Option<decimal::QuantityTotal>,
    ledger_settled: Option<decimal::Amount>,
    variance: Option<decimal::Amount>,
    quantity_variance: Option<decimal::Amount>,
    price_variance: Option<decimal::Amount>,
    tolerance: decimal::Amount,
}

impl<'r> ComparisonRow<'r> {
    /// # Errors
    /// When a number does not fit.
    pub fn new(row: &'r Row) -> Result<Self, RatingError> {
        let too_large = |error: MoneyError| {
            let name = row.sku.as_ref().map(|sku| sku.as_str()).or(row.invoice_text.as_deref());
            RatingError::Invoices(format!(
                "the comparison of {} {}: {error}; correct the invoice or its mapping",
                row.provider,
                name.unwrap_or_default()
            ))
        };
        let quantity = |value: &Option<Exact>| value.as_ref().map(rounding::quantity_total).transpose();
        let amount = |value: &Option<Exact>| value.as_ref().map(rounding::amount).transpose();
        Ok(Self {
            row,
            ledger_quantity: quantity(&row.ledger_quantity).map_err(too_large)?,
            invoice_quantity: quantity(&row.invoice_quantity).map_err(too_large)?,
            ledger_settled: row.ledger_settled.map(decimal).transpose()?,
            variance: amount(&row.variance).map_err(too_large)?,
            quantity_variance: amount(&row.quantity_variance).map_err(too_large)?,
            price_variance: amount(&row.price_variance).map_err(too_large)?,
            tolerance: rounding::amount(&row.tolerance).map_err(too_large)?,
        })
    }
}

/// # Errors
/// When a number does not fit.
pub(super) fn rows(rows: &[Row]) -> Result<Vec<ComparisonRow<'_>>, RatingError> {
    rows.iter().map(ComparisonRow::new).collect()
}

/// A hint as the table has it: `factor 1000`, `map LX-PORT`, `repeats 8=7`.
fn hint(hint: &Hint) -> Value {
    text(match hint {
        Hint::Factor(factor) => format!("{} {}", hint.as_str(), display(factor)),
        Hint::Map(sku) => format!("{} {sku}", hint.as_str()),
        Hint::Repeats(line, first) => format!("{} {line}={first}", hint.as_str()),
    })
}

impl Table for Comparison {
    const NAME: &'static str = "comparison";
    type Row<'r> = ComparisonRow<'r>;
    const COLUMNS: &'static [&'static [Column<Self>]] = &[KEY, FIGURES, FOUND];
}

const KEY: &[Column<Comparison>] = &[
    required("provider", Text, "The provider.", |row| text(&row.row.provider)),
    required("period", Text, "The month that is compared.", |row| text(row.row.period)),
    optional("sku", Text, "The SKU of the price list; none where no SKU is known.", |row| {
        row.row.sku.as_ref().map(text)
    }),
    optional(
        "sub_account",
        Text,
        "The customer whose account the provider bills, or what the invoice calls it where no SKU is known.",
        |row| row.row.sub_account.as_ref().map(text),
    ),
    optional(
        "invoice_text",
        Text,
        "The description of a line without a SKU; the text of one that is not mapped.",
        |row| row.row.invoice_text.as_ref().map(text),
    ),
    required(
        "charge_period_start",
        Instant,
        "When the charge period of the only cost line begins, else the month of use; of the lines where no SKU is known.",
        |row| Value::Instant(row.row.start),
    ),
    required("charge_period_end", Instant, "When that ends; exclusive.", |row| Value::Instant(row.row.end)),
    required("currency", Text, "The currency of the invoice's amounts.", |row| text(row.row.currency)),
];

const FIGURES: &[Column<Comparison>] = &[
    optional(
        "invoices",
        Text,
        "The ids of the invoices, a space between them; none without a line.",
        |row| {
            let ids: Vec<&str> = row.row.invoices.iter().map(InvoiceId::as_str).collect();
            (!ids.is_empty()).then(|| text(ids.join(" ")))
        },
    ),
    required("lines", Count, "How many lines of invoices the row has.", |row| {
        Value::Count(row.row.lines.len() as u64)
    }),
    optional("ledger_quantity", Quantity, "The quantity of the cost lines; none without one.", |row| {
        row.ledger_quantity.map(Value::Quantity)
    }),
    optional(
        "invoice_quantity",
        Quantity,
        "The quantity of the lines, in the unit of the SKU; none where it cannot be said.",
        |row| row.invoice_quantity.map(Value::Quantity),
    ),
    optional(
        "ledger_amount",
        Amount,
        "The exact cost of the cost lines, in the provider's currency.",
        |row| row.row.ledger_amount.map(Value::Amount),
    ),
    optional("ledger_settled", Amount, "What the cost lines settle at.", |row| {
        row.ledger_settled.map(Value::Amount)
    }),
    optional("invoice_amount", Amount, "The amount of the lines.", |row| {
        row.row.invoice_amount.map(Value::Amount)
    }),
    optional(
        "before",
        Amount,
        "The amount that the version before of an invoice had here; none where it had no line.",
        |row| row.row.before.map(Value::Amount),
    ),
    optional(
        "variance",
        Amount,
        "The invoice's amount less the ledger's; none in another currency than the provider's.",
        |row| row.variance.map(Value::Amount),
    ),
    optional(
        "quantity_variance",
        Amount,
        "What the ledger would cost at the invoice's quantity, less what it costs.",
        |row| row.quantity_variance.map(Value::Amount),
    ),
    optional(
        "price_variance",
        Amount,
        "The invoice's amount less what the ledger would cost at its quantity.",
        |row| row.price_variance.map(Value::Amount),
    ),
    required("tolerance", Amount, "By how much both may differ and still match.", |row| {
        Value::Amount(row.tolerance)
    }),
];

const FOUND: &[Column<Comparison>] = &[
    required("verdict", Text, "`match`, `policy` or `variance`.", |row| text(row.row.verdict)),
    optional("class", Text, "What differs; none of a match in which nothing does.", |row| {
        row.row.class.map(text)
    }),
    optional(
        "status",
        Text,
        "`open`, `accepted` or `disputed`; `awaited` where the provider's invoice is; none without a variance.",
        |row| row.row.status.map(text),
    ),
    optional("hint", Text, "What may have happened: `factor X`, `map SKU` or `repeats L=K`.", |row| {
        row.row.hint.as_ref().map(hint)
    }),
];
