//! The table `charges`: each cost line shared to the last place.

use super::columns::Table;
use crate::allocation::RetainedReason;
use crate::run::{CostLine, Run};
use schemas::id::{CustomerId, Subject};

pub(super) fn table(run: &Run) -> Table {
    let lines: Vec<(&CostLine, _)> = run
        .cost_lines
        .iter()
        .flat_map(|line| line.charges.iter().map(move |charge| (line, charge)))
        .collect();
    let keys: Vec<&CostLine> = lines.iter().map(|(line, _)| *line).collect();
    let mut table = Table::default();
    table.text("charge_id", lines.iter().map(|(_, charge)| Some(charge.id.clone())));
    table.text("cost_line_id", lines.iter().map(|(line, _)| Some(line.id.clone())));
    table.key_columns(&keys);
    table.text(
        "customer",
        lines.iter().map(|(_, charge)| charge.customer.as_ref().map(CustomerId::to_string)),
    );
    table.text("subject", lines.iter().map(|(_, charge)| charge.subject.as_ref().map(Subject::to_string)));
    table.text("kind", lines.iter().map(|(_, charge)| Some(charge.kind.as_str().to_owned())));
    table.text(
        "retained_reason",
        lines
            .iter()
            .map(|(_, charge)| charge.kind.retained_reason().map(RetainedReason::as_str).map(str::to_owned)),
    );
    table.text("rule", lines.iter().map(|(line, _)| Some(line.rule.as_str().to_owned())));
    table.quantity("quantity", lines.iter().map(|(_, charge)| charge.quantity));
    table.text("unit", lines.iter().map(|(line, charge)| charge.quantity.and(line.unit.clone())));
    table.quantity("metered_quantity", lines.iter().map(|(_, charge)| charge.metered_quantity()));
    table.amount("amount", lines.iter().map(|(_, charge)| charge.amount));
    table
}
