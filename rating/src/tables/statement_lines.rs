//! The table `statement_lines`: each cost line settled and shared in minor units.
//!
//! Invariant: of each cost line, the amounts add up to what it settles at.

use super::columns::ColumnType::{Amount, Text};
use super::columns::{Column, Table, Value, optional, required, text};
use super::key_columns::{OfLine, key_columns};
use crate::run::{CostLine, Run, StatementLine};

pub(super) struct StatementLines;

pub(super) struct StatementLineRow<'r> {
    line: &'r CostLine,
    statement_line: &'r StatementLine,
}

impl OfLine for StatementLineRow<'_> {
    fn line(&self) -> &CostLine {
        self.line
    }
}

pub(super) fn rows(run: &Run) -> Vec<StatementLineRow<'_>> {
    let mut rows = Vec::new();
    for line in &run.cost_lines {
        rows.extend(
            line.statement_lines.iter().map(|statement_line| StatementLineRow { line, statement_line }),
        );
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
    required("kind", Text, "`charge`, or `retained` where the operator bears it.", |row| {
        text(row.statement_line.kind.as_str())
    }),
    optional(
        "retained_reason",
        Text,
        "Why the operator bears it: `internal`, `unattributed` or `idle`.",
        |row| row.statement_line.kind.retained_reason().map(text),
    ),
    required("amount", Amount, "Its part of what the cost line settles at, in whole minor units.", |row| {
        Value::Amount(row.statement_line.money.to_amount().expect("the run was checked for it"))
    }),
];
