//! The table `charges`: each cost line shared to the last place.
//!
//! Invariant: of each cost line, the amounts add up to its amount.

use super::columns::ColumnType::{Amount, Quantity, Text};
use super::columns::{Column, Table, Value, optional, required, text};
use super::key_columns::{OfLine, key_columns};
use crate::run::{Charge, CostLine, Run};

pub(super) struct Charges;

pub(super) struct ChargeRow<'r> {
    pub line: &'r CostLine,
    pub charge: &'r Charge,
}

impl OfLine for ChargeRow<'_> {
    fn line(&self) -> &CostLine {
        self.line
    }
}

pub(super) fn rows(run: &Run) -> Vec<ChargeRow<'_>> {
    let mut rows = Vec::new();
    for line in &run.cost_lines {
        rows.extend(line.charges.iter().map(|charge| ChargeRow { line, charge }));
    }
    rows
}

impl Table for Charges {
    const NAME: &'static str = "charges";
    type Row<'r> = ChargeRow<'r>;
    const COLUMNS: &'static [&'static [Column<Self>]] = &[IDS, &key_columns(), REST];
}

const IDS: &[Column<Charges>] = &[
    required("charge_id", Text, "Names the charge; the same in every run that has it.", |row| {
        text(row.charge.id)
    }),
    required("cost_line_id", Text, "The cost line that it is a part of.", |row| text(row.line.id)),
];

const REST: &[Column<Charges>] = &[
    optional("customer", Text, "The customer who bears it; none where no binding was in force.", |row| {
        row.charge.customer.as_ref().map(text)
    }),
    optional(
        "subject",
        Text,
        "The subject that used it; none where the rule does not look at usage.",
        |row| row.charge.subject.as_ref().map(text),
    ),
    required("kind", Text, "`charge`, or `retained` where the operator bears it.", |row| {
        text(row.charge.kind.as_str())
    }),
    optional(
        "retained_reason",
        Text,
        "Why the operator bears it: `internal`, `unattributed` or `idle`.",
        |row| row.charge.kind.retained_reason().map(text),
    ),
    required("rule", Text, "The allocation rule that made it.", |row| text(row.line.rule.as_str())),
    optional("quantity", Quantity, "How much was used, in `unit`, where the rule follows usage.", |row| {
        row.charge.quantity.map(Value::Quantity)
    }),
    optional(
        "unit",
        Text,
        "The unit of `quantity`, in UCUM: the line's, or that of the key of `by_meter`.",
        |row| row.charge.quantity.and(row.line.shared_in.as_ref()).map(text),
    ),
    optional(
        "metered_quantity",
        Quantity,
        "How much was used, in the meter's unit: the exact allocation key.",
        |row| row.charge.metered_quantity.map(Value::Quantity),
    ),
    optional(
        "standalone",
        Amount,
        "What this customer alone would pay, to 18 places, under the rule of that name.",
        |row| row.charge.standalone.map(Value::Amount),
    ),
    required("amount", Amount, "Its part of the cost line's amount, to 18 places.", |row| {
        Value::Amount(row.charge.amount)
    }),
];
