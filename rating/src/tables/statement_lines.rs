//! The table `statement_lines`: each cost line settled and shared in minor units.
//!
//! Invariant: of each cost line, the amounts of the operator's lines add up to what it settles at, and
//! those of a partner to what the operator bills that partner.

use super::columns::ColumnType::{Amount, Text};
use super::columns::{Column, Table, Value, optional, required, text};
use super::key_columns::{OfLine, key_columns};
use crate::catalog::Catalog;
use crate::run::{CostLine, Run, StatementLine};

pub(super) struct StatementLines;

pub(super) struct StatementLineRow<'r> {
    operator: &'r str,
    line: &'r CostLine,
    statement_line: &'r StatementLine,
}

impl OfLine for StatementLineRow<'_> {
    fn line(&self) -> &CostLine {
        self.line
    }
}

pub(super) fn rows<'r>(run: &'r Run, catalog: &'r Catalog) -> Vec<StatementLineRow<'r>> {
    let mut rows = Vec::new();
    let operator = &catalog.operator;
    for line in &run.cost_lines {
        let of_line = line.statement_lines.iter();
        rows.extend(of_line.map(|statement_line| StatementLineRow { operator, line, statement_line }));
    }
    rows
}

impl Table for StatementLines {
    const NAME: &'static str = "statement_lines";
    type Row<'r> = StatementLineRow<'r>;
    const COLUMNS: &'static [&'static [Column<Self>]] = &[IDS, &key_columns(), REST];
}

const IDS: &[Column<StatementLines>] = &[
    required(
        "statement_line_id",
        Text,
        "Names the statement line; the same in every run that has it.",
        |row| text(row.statement_line.id),
    ),
    required("cost_line_id", Text, "The cost line that it is a part of.", |row| text(row.line.id)),
];

const REST: &[Column<StatementLines>] = &[
    optional("customer", Text, "The customer who bears it; none where no binding was in force.", |row| {
        row.statement_line.customer.as_ref().map(text)
    }),
    required(
        "kind",
        Text,
        "`charge`, `grant` for a part that a grant pays, or `retained` where the biller bears it.",
        |row| text(row.statement_line.kind.as_str()),
    ),
    optional(
        "retained_reason",
        Text,
        "Why the biller bears it: `internal`, `unattributed` or `idle`.",
        |row| row.statement_line.kind.retained_reason().map(text),
    ),
    required("amount", Amount, "Its part of what the cost line settles at, in whole minor units.", |row| {
        Value::Amount(row.statement_line.money.to_amount().expect("the run was checked for it"))
    }),
    required("biller", Text, "Who writes the statement: the operator, or a partner.", |row| {
        text(row.statement_line.biller.as_str(row.operator))
    }),
    optional("grant", Text, "The grant that the line is a part of, on either side.", |row| {
        row.statement_line.grant.as_ref().map(text)
    }),
    optional("billed_currency", Text, "The currency that the customer is billed in.", |row| {
        row.statement_line.billed.as_ref().map(|billed| text(billed.money.currency))
    }),
    optional("rate", Amount, "What 1 of `currency` is worth in it, where it was converted.", |row| {
        row.statement_line.billed.as_ref().and_then(|billed| billed.rate).map(Value::Amount)
    }),
    optional("billed_amount", Amount, "What is billed, in whole minor units of that currency.", |row| {
        let billed = row.statement_line.billed.as_ref()?;
        Some(Value::Amount(billed.money.to_amount().expect("the run was checked for it")))
    }),
];
