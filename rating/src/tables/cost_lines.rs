//! The table `cost_lines`: what each provider is expected to bill.
//!
//! Invariant: a row for every cost line of the run, in the run's order.

use super::columns::ColumnType::{Amount, Instant, Quantity, Text};
use super::columns::{Column, Table, Value, optional, required, text};
use super::key_columns::{OfLine, key_columns};
use crate::catalog::{Catalog, Provider, Sku};
use crate::run::{CostLine, Run};
use schemas::id::{ProviderId, SkuId};
use std::collections::BTreeMap;

pub(super) struct CostLines;

pub(super) struct CostLineRow<'r> {
    line: &'r CostLine,
    provider: Option<&'r Provider>,
    sku: Option<&'r Sku>,
    catalog: &'r Catalog,
}

impl<'r> CostLineRow<'r> {
    pub fn new(line: &'r CostLine, catalog: &'r Catalog) -> Self {
        let provider = catalog.providers.get(&line.key.provider);
        let sku = provider.and_then(|provider| provider.sku(&line.key.sku));
        Self { line, provider, sku, catalog }
    }
}

impl OfLine for CostLineRow<'_> {
    fn line(&self) -> &CostLine {
        self.line
    }
}

pub(super) fn rows<'r>(run: &'r Run, catalog: &'r Catalog) -> Vec<CostLineRow<'r>> {
    let skus: BTreeMap<(&ProviderId, &SkuId), &Sku> = catalog
        .providers
        .values()
        .flat_map(|provider| provider.skus.iter().map(|sku| ((&provider.id, &sku.id), sku)))
        .collect();
    let row = |line: &'r CostLine| CostLineRow {
        line,
        provider: catalog.providers.get(&line.key.provider),
        sku: skus.get(&(&line.key.provider, &line.key.sku)).copied(),
        catalog,
    };
    run.cost_lines.iter().map(row).collect()
}

impl Table for CostLines {
    const NAME: &'static str = "cost_lines";
    type Row<'r> = CostLineRow<'r>;
    const COLUMNS: &'static [&'static [Column<Self>]] = &[ID, &key_columns(), REST];
}

const ID: &[Column<CostLines>] =
    &[required("cost_line_id", Text, "Names the cost line; the same in every run that has it.", |row| {
        text(row.line.id)
    })];

const REST: &[Column<CostLines>] = &[
    optional("provider_name", Text, "The provider's name in the catalog.", |row| {
        row.provider.map(|provider| text(&provider.name))
    }),
    optional("sku_name", Text, "The SKU's name in the price list.", |row| row.sku.map(|sku| text(&sku.name))),
    required("price_from", Instant, "When the price that applies came into force.", |row| {
        Value::Instant(row.line.key.price_from)
    }),
    required("model", Text, "The price model, as the price list names it.", |row| text(row.line.model)),
    required("rule", Text, "The allocation rule, as the price list names it.", |row| {
        text(row.line.rule.as_str())
    }),
    required(
        "quantity",
        Quantity,
        "How much was used, in `unit`; 1 for a flat amount; what other lines come to, for a price on them.",
        |row| Value::Quantity(row.line.quantity),
    ),
    optional(
        "metered_quantity",
        Quantity,
        "The quantity before the price's increment; none without a meter.",
        |row| row.line.metered_quantity.map(Value::Quantity),
    ),
    optional(
        "unit",
        Text,
        "The unit that is priced, in UCUM, or a currency; none for a flat amount.",
        |row| row.line.unit.as_ref().map(text),
    ),
    required("amount", Amount, "The exact cost, rounded once, to 18 places.", |row| {
        Value::Amount(row.line.amount)
    }),
    required(
        "settled",
        Amount,
        "The amount as the provider's invoice will say it, in whole minor units.",
        |row| Value::Amount(row.line.settled.to_amount().expect("the run was checked for it")),
    ),
    required("catalog", Text, "The digest of the catalog that it was rated by.", |row| {
        text(row.catalog.digest)
    }),
];
