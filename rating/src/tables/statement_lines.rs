//! The table `statement_lines`: each cost line settled and shared in minor units.

use super::columns::Table;
use crate::allocation::RetainedReason;
use crate::run::{CostLine, Run};
use schemas::id::CustomerId;

pub(super) fn table(run: &Run) -> Table {
    let lines: Vec<(&CostLine, _)> = run
        .cost_lines
        .iter()
        .flat_map(|line| line.statement_lines.iter().map(move |statement| (line, statement)))
        .collect();
    let keys: Vec<&CostLine> = lines.iter().map(|(line, _)| *line).collect();
    let mut table = Table::default();
    table.text("statement_line_id", lines.iter().map(|(_, statement)| Some(statement.id.clone())));
    table.text("cost_line_id", lines.iter().map(|(line, _)| Some(line.id.clone())));
    table.key_columns(&keys);
    table.text(
        "customer",
        lines.iter().map(|(_, statement)| statement.customer.as_ref().map(CustomerId::to_string)),
    );
    table.text("kind", lines.iter().map(|(_, statement)| Some(statement.kind.as_str().to_owned())));
    table.text(
        "retained_reason",
        lines.iter().map(|(_, statement)| {
            statement.kind.retained_reason().map(RetainedReason::as_str).map(str::to_owned)
        }),
    );
    table.amount(
        "amount",
        lines.iter().map(|(_, statement)| statement.money.to_amount().expect("the run was checked for it")),
    );
    table
}
