//! The price model of a dated price, and the numbers that it needs.
//!
//! The cost is deliberately not computed here, but in `price`.
//!
//! Invariant: a model that is returned has every number that `price::steps` asks it for.

use super::format::{PRICE_KEYS, TIER_KEYS, TableKeys};
use super::toml::Table;
use crate::price::{PackageSize, PriceModel, PriceModelName, Recurrence, Tier, Tiers, TiersError};
use crate::words::either;
use schemas::decimal::{Amount, Decimal, QuantityTotal, Sign};
use std::cell::Cell;

/// How one model is written.
struct Reader {
    /// Its keys, beside those that every price has.
    keys: &'static [&'static str],
    read: fn(&Price<'_>) -> Option<PriceModel>,
}

fn reader(model: PriceModelName) -> Reader {
    match model {
        PriceModelName::PerUnit => Reader {
            keys: &["unit_price"],
            read: |price| {
                Some(PriceModel::PerUnit { unit_price: price.number(price.table, "unit_price", "a price")? })
            },
        },
        PriceModelName::Graduated => {
            Reader { keys: &["tiers"], read: |price| read_tiers(price).map(PriceModel::Graduated) }
        }
        PriceModelName::Volume => {
            Reader { keys: &["tiers"], read: |price| read_tiers(price).map(PriceModel::Volume) }
        }
        PriceModelName::Package => Reader { keys: &["size", "package_price"], read: read_package },
        PriceModelName::Flat => Reader { keys: &["amount", "every"], read: read_flat },
        PriceModelName::Zero => Reader { keys: &[], read: |_| Some(PriceModel::Zero) },
    }
}

/// The keys that a price has with a model, beside those of [`PRICE_KEYS`].
pub(super) fn keys(model: PriceModelName) -> TableKeys {
    TableKeys { with: Some(("model", model.as_str())), keys: reader(model).keys, ..PRICE_KEYS }
}

/// A price's table while its model is read.
struct Price<'t> {
    table: &'t Table<'t>,
    below_zero: Cell<bool>,
}

impl Price<'_> {
    /// A price or an amount, which may be below zero and is then noted.
    fn number<const PRECISION: u32, const SCALE: u32>(
        &self,
        table: &Table<'_>,
        key: &str,
        what: &str,
    ) -> Option<Decimal<PRECISION, SCALE>> {
        let number: Decimal<PRECISION, SCALE> = table.decimal(key, what, Sign::Any)?;
        if number.is_negative() {
            self.below_zero.set(true);
        }
        Some(number)
    }
}

/// Reads the model, after the keys that every price has were declared; any other key is refused.
pub(super) fn read_model(table: &Table<'_>) -> Option<PriceModel> {
    let text = table.text("model")?;
    let Some(name) = PriceModelName::parse(text.value) else {
        let all = PriceModelName::ALL.map(PriceModelName::as_str).join(", ");
        table.problem(
            text.line,
            format!("the model `{}` is not known", text.value),
            format!("use one of: {all}"),
        );
        return None;
    };
    let reader = reader(name);
    table.only(reader.keys);
    let price = Price { table, below_zero: Cell::new(false) };
    let model = (reader.read)(&price);
    if model.is_some() && price.below_zero.get() {
        table.warning(table.line, format!("{} is below zero: it pays money back", table.name()));
    }
    model
}

fn read_package(price: &Price<'_>) -> Option<PriceModel> {
    let size = price.table.parsed("size", "the size of a package", |text| {
        let size = QuantityTotal::parse(text, Sign::NonNegative).map_err(|error| error.to_string())?;
        PackageSize::new(size).ok_or_else(|| "it must be above zero".to_owned())
    });
    let package_price: Option<Amount> = price.number(price.table, "package_price", "a price");
    Some(PriceModel::Package { size: size?, package_price: package_price? })
}

fn read_flat(price: &Price<'_>) -> Option<PriceModel> {
    let amount: Option<Amount> = price.number(price.table, "amount", "an amount");
    let every = price.table.parsed("every", "a recurrence", |text| {
        let all = || format!("it must be {}", either(Recurrence::ALL.map(Recurrence::as_str)));
        Recurrence::parse(text).ok_or_else(all)
    });
    Some(PriceModel::Flat { amount: amount?, every: every? })
}

fn read_tiers(price: &Price<'_>) -> Option<Tiers> {
    let table = price.table;
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
        tier.only(TIER_KEYS.keys);
        let up_to = if tier.has("up_to") {
            tier.decimal("up_to", "a bound", Sign::NonNegative).map(Some)
        } else {
            Some(None)
        };
        let unit_price = price.number(tier, "unit_price", "a price");
        Some(Tier { up_to: up_to?, unit_price: unit_price? })
    };
    let tiers = tables.iter().map(read).collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
    Tiers::new(tiers).map_err(|error| report(error, table, &tables)).ok()
}

/// Says where tiers leave a gap, and what to do about it.
fn report(error: TiersError, table: &Table<'_>, tiers: &[Table<'_>]) {
    let (line, help) = match error {
        TiersError::Empty => (table.line_of("tiers"), "add at least one tier"),
        TiersError::LastNotOpen => {
            (tiers.last().map_or(table.line, |tier| tier.line), "remove the last tier's `up_to`")
        }
        TiersError::OpenBeforeLast(position) => {
            (tiers[position - 1].line, "add its `up_to`, or move it to the end")
        }
        TiersError::NotIncreasing(position) => {
            (tiers[position - 1].line, "let every `up_to` be above the one before it, the first above zero")
        }
    };
    table.problem(line, error.to_string(), help);
}
