//! The table `cost_lines`: what each provider is expected to bill.

use super::columns::Table;
use crate::catalog::Catalog;
use crate::run::{CostLine, Run};

pub(super) fn table(run: &Run, catalog: &Catalog) -> Table {
    let lines: Vec<&CostLine> = run.cost_lines.iter().collect();
    let mut table = Table::default();
    table.text("cost_line_id", lines.iter().map(|line| Some(line.id.clone())));
    table.key_columns(&lines);
    table.text(
        "provider_name",
        lines
            .iter()
            .map(|line| catalog.providers.get(&line.key.provider).map(|provider| provider.name.clone())),
    );
    table.text(
        "sku_name",
        lines.iter().map(|line| {
            catalog
                .providers
                .get(&line.key.provider)
                .and_then(|provider| provider.skus.iter().find(|sku| sku.id == line.key.sku))
                .map(|sku| sku.name.clone())
        }),
    );
    table.instant("price_from", lines.iter().map(|line| line.key.price_from));
    table.text("price_model", lines.iter().map(|line| Some(line.model.to_owned())));
    table.text("rule", lines.iter().map(|line| Some(line.rule.as_str().to_owned())));
    table.quantity("quantity", lines.iter().map(|line| Some(line.quantity)));
    table.text("unit", lines.iter().map(|line| line.unit.clone()));
    table.amount("amount", lines.iter().map(|line| line.amount));
    table.amount(
        "settled",
        lines.iter().map(|line| line.settled.to_amount().expect("the run was checked for it")),
    );
    table.text("catalog", lines.iter().map(|_| Some(run.pins.catalog.to_string())));
    table
}
