//! The price model of a dated price, and the numbers that it needs.
//!
//! The cost is deliberately not computed here, but in `price`.
//!
//! Invariant: a model that is returned has every number that `price::steps` asks it for.

use super::toml::Table;
use crate::price::{PackageSize, PriceModel, Recurrence, Tier, Tiers, TiersError};
use schemas::decimal::{QuantityTotal, Sign, UnitPrice};

pub(super) fn read_model(table: &Table<'_>) -> Option<PriceModel> {
    let only = |keys: &[&str]| table.only(&[&["from", "until", "model"], keys].concat());
    let text = table.text("model")?;
    match text.value {
        "per_unit" => {
            only(&["unit_price"]);
            Some(PriceModel::PerUnit { unit_price: read_unit_price(table)? })
        }
        "graduated" => {
            only(&["tiers"]);
            Some(PriceModel::Graduated(read_tiers(table)?))
        }
        "volume" => {
            only(&["tiers"]);
            Some(PriceModel::Volume(read_tiers(table)?))
        }
        "package" => {
            only(&["size", "package_price"]);
            let size = table.parsed("size", "the size of a package", |text| {
                let size =
                    QuantityTotal::parse(text, Sign::NonNegative).map_err(|error| error.to_string())?;
                PackageSize::new(size).ok_or_else(|| "it must be above zero".to_owned())
            });
            let package_price = table.decimal("package_price", "a price", Sign::Any);
            Some(PriceModel::Package { size: size?, package_price: package_price? })
        }
        "flat" => {
            only(&["amount", "every"]);
            let amount = table.decimal("amount", "an amount", Sign::Any);
            let every = table.parsed("every", "a recurrence", |text| match text {
                "month" => Ok(Recurrence::Month),
                "once" => Ok(Recurrence::Once),
                _ => Err("it must be month or once"),
            });
            Some(PriceModel::Flat { amount: amount?, every: every? })
        }
        "zero" => {
            only(&[]);
            Some(PriceModel::Zero)
        }
        other => {
            table.problem(
                text.line,
                format!("the model `{other}` is not known"),
                "use one of: per_unit, graduated, volume, package, flat, zero",
            );
            None
        }
    }
}

fn read_unit_price(table: &Table<'_>) -> Option<UnitPrice> {
    table.decimal("unit_price", "a price", Sign::Any)
}

fn read_tiers(table: &Table<'_>) -> Option<Tiers> {
    if !table.has("tiers") {
        table.problem(
            table.line,
            format!("{} has no `tiers`", table.name()),
            "add tiers like `{ up_to = \"100\", unit_price = \"0.10\" }`, the last one without `up_to`",
        );
        return None;
    }
    let tables = table.tables("tiers", "this tier")?;
    let read = |tier: &Table<'_>| {
        tier.only(&["up_to", "unit_price"]);
        let up_to = if tier.has("up_to") {
            tier.decimal("up_to", "a bound", Sign::NonNegative).map(Some)
        } else {
            Some(None)
        };
        let unit_price = read_unit_price(tier);
        Some(Tier { up_to: up_to?, unit_price: unit_price? })
    };
    let tiers = tables.iter().map(read).collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
    Tiers::new(tiers)
        .map_err(|error| {
            let (line, help) = match error {
                TiersError::Empty => (table.line_of("tiers"), "add at least one tier"),
                TiersError::LastNotOpen => {
                    (tables.last().map_or(table.line, |tier| tier.line), "remove the last tier's `up_to`")
                }
                TiersError::OpenBeforeLast(position) => {
                    (tables[position - 1].line, "add its `up_to`, or move it to the end")
                }
                TiersError::NotIncreasing(position) => (
                    tables[position - 1].line,
                    "let every `up_to` be above the one before it, the first above zero",
                ),
            };
            table.problem(line, error.to_string(), help);
        })
        .ok()
}
