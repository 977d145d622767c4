//! The table `statement_lines`: what is on statements, as cost lines settle or invoices say, shared in
//! minor units.
//!
//! Invariant: of each cost line without an invoice the amounts of the operator's lines add up to what
//! it settles at, of each invoice to what it comes to, and those of a partner to what the operator
//! bills that partner.

use super::columns::ColumnType::{Amount, Instant, Text};
use super::columns::{Column, Table, Value, optional, required, text};
use crate::catalog::Catalog;
use crate::run::{PostedLine, Run};

pub(super) struct StatementLines;

pub(super) struct StatementLineRow<'r> {
    operator: &'r str,
    line: &'r PostedLine,
}

impl<'r> StatementLineRow<'r> {
    pub fn new(line: &'r PostedLine, catalog: &'r Catalog) -> Self {
        Self { operator: &catalog.operator, line }
    }
}

pub(super) fn rows<'r>(run: &'r Run, catalog: &'r Catalog) -> Vec<StatementLineRow<'r>> {
    rows_of(&run.posted, catalog)
}

/// The rows of any posted lines.
pub(super) fn rows_of<'r>(lines: &'r [PostedLine], catalog: &'r Catalog) -> Vec<StatementLineRow<'r>> {
    lines.iter().map(|line| StatementLineRow::new(line, catalog)).collect()
}

impl Table for StatementLines {
    const NAME: &'static str = "statement_lines";
    type Row<'r> = StatementLineRow<'r>;
    const COLUMNS: &'static [&'static [Column<Self>]] = &[&posted_columns()];
}

/// The table `corrections`: what the month takes back and enters anew of closed months.
pub(super) struct Corrections;

impl Table for Corrections {
    const NAME: &'static str = "corrections";
    type Row<'r> = StatementLineRow<'r>;
    const COLUMNS: &'static [&'static [Column<Self>]] = &[&posted_columns(), CORRECTION];
}

const CORRECTION: &[Column<Corrections>] = &[
    optional("correction", Text, "`reversal` of what was posted, or `re-entry` of what is so now.", |row| {
        row.line.correction.map(|correction| text(correction.entry))
    }),
    optional("corrects", Text, "The last line posted that it corrects; none where there was none.", |row| {
        row.line.correction.and_then(|correction| correction.corrects).map(text)
    }),
];

/// The columns of a posted line.
const fn posted_columns<T>() -> [Column<T>; 21]
where
    T: for<'r> Table<Row<'r> = StatementLineRow<'r>>,
{
    [
        required(
            "statement_line_id",
            Text,
            "Names the statement line; the same in every run that has it.",
            |row| text(row.line.id),
        ),
        optional(
            "cost_line_id",
            Text,
            "The cost line that it is a part of; none of what an invoice has and no cost line.",
            |row| row.line.cost_line.map(text),
        ),
        required("provider", Text, "The provider that bills it.", |row| text(&row.line.of.provider)),
        required("billing_account", Text, "The operator's account with the provider.", |row| {
            text(&row.line.of.billing_account)
        }),
        optional(
            "sub_account",
            Text,
            "The customer whose account the provider bills, where the rule is `direct`; without a SKU what the invoice says.",
            |row| row.line.of.sub_account.as_ref().map(text),
        ),
        optional(
            "sku",
            Text,
            "The SKU of the price list; none of an invoice's line that belongs to none.",
            |row| row.line.of.sku.as_ref().map(text),
        ),
        required("charge_period_start", Instant, "When the charge period begins.", |row| {
            Value::Instant(row.line.of.start)
        }),
        required("charge_period_end", Instant, "When the charge period ends; exclusive.", |row| {
            Value::Instant(row.line.of.end)
        }),
        required(
            "currency",
            Text,
            "The currency of `amount`: the provider's, or the invoice line's.",
            |row| text(row.line.money.currency),
        ),
        optional("customer", Text, "The customer who bears it; none where no binding was in force.", |row| {
            row.line.customer.as_ref().map(text)
        }),
        required(
            "kind",
            Text,
            "`charge`, `grant` for a part that a grant pays, or `retained` where the biller bears it.",
            |row| text(row.line.kind.as_str()),
        ),
        optional(
            "retained_reason",
            Text,
            "Why the biller bears it: `internal`, `unattributed`, `idle`, `disputed`, `unmetered`, `tax`, `credit`, `fee` or `adjustment`.",
            |row| row.line.retained_reason().map(text),
        ),
        required(
            "amount",
            Amount,
            "Its part of what settles or was invoiced, in whole minor units.",
            |row| Value::Amount(row.line.money.to_amount().expect("the run was checked for it")),
        ),
        required("biller", Text, "Who writes the statement: the operator, or a partner.", |row| {
            text(row.line.biller.as_str(row.operator))
        }),
        optional("grant", Text, "The grant that the line is a part of, on either side.", |row| {
            row.line.grant.as_ref().map(text)
        }),
        optional("billed_currency", Text, "The currency that the customer is billed in.", |row| {
            row.line.billed.as_ref().map(|billed| text(billed.money.currency))
        }),
        optional("rate", Amount, "What 1 of `currency` is worth in it, where it was converted.", |row| {
            row.line.billed.as_ref().and_then(|billed| billed.rate).map(Value::Amount)
        }),
        optional("billed_amount", Amount, "What is billed, in whole minor units of that currency.", |row| {
            let billed = row.line.billed.as_ref()?;
            Some(Value::Amount(billed.money.to_amount().expect("the run was checked for it")))
        }),
        optional("invoice", Text, "The provider's invoice; none while it is an estimate.", |row| {
            row.line.of.invoice.as_ref().map(text)
        }),
        required(
            "category",
            Text,
            "`usage`, or what else the invoice's line is for: `tax`, `credit`, `fee` or `adjustment`.",
            |row| text(row.line.of.category),
        ),
        optional("description", Text, "What the invoice says, where the line belongs to no SKU.", |row| {
            row.line.of.description.as_ref().map(text)
        }),
    ]
}
