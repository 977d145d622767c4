//! The price model of a dated price, and the numbers that it needs.
//!
//! The cost is deliberately not computed here, but in `price`.
//!
//! Invariant: a model that is returned has every number that `price::steps` asks it for.

use super::format::{INCREMENT_KEYS, PRICE_KEYS, TIER_KEYS, TableKeys};
use super::rounding::read_mode;
use super::toml::Table;
use crate::price::{
    Basis, Increment, PackageSize, PriceModel, PriceModelName, Prorate, Recurrence, Terms, Tier, Tiers,
    TiersError,
};
use crate::rounding;
use crate::words::either;
use schemas::decimal::{Amount, Decimal, QuantityTotal, Sign};
use schemas::money::Currency;
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
        PriceModelName::Flat => Reader { keys: &["amount", "every", "prorate"], read: read_flat },
        PriceModelName::Zero => Reader { keys: &[], read: |_| Some(PriceModel::Zero) },
        PriceModelName::Minimum => Reader {
            keys: &["amount"],
            read: |price| Some(PriceModel::Minimum { amount: price.limit("amount")? }),
        },
        PriceModelName::Maximum => Reader {
            keys: &["amount"],
            read: |price| Some(PriceModel::Maximum { amount: price.limit("amount")? }),
        },
        PriceModelName::Credit => Reader { keys: &["amount", "every"], read: read_credit },
    }
}

/// The keys that a price has with a model, beside those of [`PRICE_KEYS`].
pub(super) fn keys(model: PriceModelName) -> TableKeys {
    TableKeys { with: Some(("model", model.as_str())), keys: reader(model).keys, ..PRICE_KEYS }
}

/// A price's table while its model is read.
struct Price<'t> {
    table: &'t Table<'t>,
    currency: Option<Currency>,
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

    /// An amount of money that lines are compared with: never below zero, and in whole minor units.
    fn limit(&self, key: &str) -> Option<Amount> {
        let amount: Amount = self.table.decimal(key, "an amount", Sign::NonNegative)?;
        let fits = self.currency.is_none_or(|currency| rounding::in_minor_units(amount, currency));
        if let (false, Some(currency)) = (fits, self.currency) {
            let digits = currency.minor_digits();
            self.table.problem(
                self.table.line_of(key),
                format!("`{key} = \"{amount}\"` has more places than {currency}, which has {digits}"),
                "lines settle in minor units, so an amount that they are compared with has no smaller part",
            );
            return None;
        }
        Some(amount)
    }

    fn recurrence(&self) -> Option<Recurrence> {
        self.table.parsed("every", "a recurrence", |text| {
            let all = || format!("it must be {}", either(Recurrence::ALL.map(Recurrence::as_str)));
            Recurrence::parse(text).ok_or_else(all)
        })
    }
}

/// Reads the terms of a price, after the keys that every price has were declared; any other key is
/// refused. `basis` is what the SKU counts.
pub(super) fn read_terms(table: &Table<'_>, basis: Basis, currency: Option<Currency>) -> Option<Terms> {
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
    let price = Price { table, currency, below_zero: Cell::new(false) };
    let model = (reader.read)(&price);
    // A discount is what a price on lines is for.
    if model.is_some() && price.below_zero.get() && basis != Basis::Lines {
        table.warning(table.line, format!("{} is below zero: it pays money back", table.name()));
    }
    let suits = suits(table, name, basis);
    let (increment, free) = read_counting(table, name, basis)?;
    suits.then_some(Terms { model: model?, increment, free })
}

/// Reports a model that cannot price what the SKU counts.
fn suits(table: &Table<'_>, name: PriceModelName, basis: Basis) -> bool {
    if name.suits(basis) {
        return true;
    }
    let (message, help) = match basis {
        Basis::Nothing if name.suits(Basis::Usage) => (
            format!("the model {name} prices usage, but the SKU has no meter"),
            "use `model = \"flat\"`, or add the `meter`".to_owned(),
        ),
        Basis::Nothing => (
            format!("the model {name} prices other lines, but the SKU names none"),
            "say which with `of`".to_owned(),
        ),
        Basis::Usage if name == PriceModelName::Flat => (
            "the model flat does not look at usage, but the SKU has a meter".to_owned(),
            "use another model, or move the flat amount to a SKU without `meter`".to_owned(),
        ),
        Basis::Usage => (
            format!("the model {name} prices other lines, but the SKU has a meter"),
            "move it to a SKU with `of` in place of `meter`".to_owned(),
        ),
        Basis::Lines => {
            let suiting = PriceModelName::ALL.into_iter().filter(|name| name.suits(Basis::Lines));
            let suiting: Vec<&str> = suiting.map(PriceModelName::as_str).collect();
            let message = format!("the model {name} does not price other lines, but the SKU has `of`");
            (message, format!("use one of: {}", suiting.join(", ")))
        }
    };
    table.problem(table.line_of("model"), message, help);
    false
}

/// What is done with a quantity before it is priced: `increment` and `free`.
fn read_counting(
    table: &Table<'_>,
    name: PriceModelName,
    basis: Basis,
) -> Option<(Option<Increment>, QuantityTotal)> {
    let mut fine = true;
    for key in ["increment", "free"].into_iter().filter(|key| table.has(key)) {
        if basis != Basis::Usage || name == PriceModelName::Zero {
            let message =
                format!("`{key}` has no effect: the price of {} looks at no quantity", table.name());
            let message = match basis {
                Basis::Lines => format!("`{key}` is of usage, but {} prices other lines", table.name()),
                Basis::Usage | Basis::Nothing => message,
            };
            table.problem(table.line_of(key), message, format!("remove `{key}`"));
            fine = false;
        }
    }
    let mut increment = None;
    if table.has("increment") {
        let of = format!("the increment of {}", table.name());
        increment = Some(read_increment(&table.optional_table("increment", of)?)?);
    }
    let mut free = QuantityTotal::ZERO;
    if table.has("free") {
        free = read_size(table, "free", "a number of units")?.get();
    }
    fine.then_some((increment, free))
}

fn read_increment(table: &Table<'_>) -> Option<Increment> {
    table.only(INCREMENT_KEYS.keys);
    let size = read_size(table, "size", "the size of an increment");
    let mode = read_mode(table);
    Some(Increment { size: size?, mode: mode? })
}

/// A quantity above zero.
fn read_size(table: &Table<'_>, key: &str, what: &str) -> Option<PackageSize> {
    table.parsed(key, what, |text| {
        let size = QuantityTotal::parse(text, Sign::NonNegative).map_err(|error| error.to_string())?;
        PackageSize::new(size).ok_or_else(|| "it must be above zero".to_owned())
    })
}

fn read_package(price: &Price<'_>) -> Option<PriceModel> {
    let size = read_size(price.table, "size", "the size of a package");
    let package_price: Option<Amount> = price.table.decimal("package_price", "a price", Sign::NonNegative);
    Some(PriceModel::Package { size: size?, package_price: package_price? })
}

fn read_flat(price: &Price<'_>) -> Option<PriceModel> {
    let amount: Option<Amount> = price.number(price.table, "amount", "an amount");
    let every = price.recurrence();
    let mut prorate = Some(None);
    if price.table.has("prorate") {
        let read = price.table.parsed("prorate", "a measure of time", |text| {
            let all = || format!("it must be {}", either(Prorate::ALL.map(Prorate::as_str)));
            Prorate::parse(text).ok_or_else(all)
        });
        prorate = read.map(Some);
        if every == Some(Recurrence::Once) {
            let message = format!("`prorate` has no effect: {} is due once, whole", price.table.name());
            price.table.problem(
                price.table.line_of("prorate"),
                message,
                "remove it, or use `every = \"month\"`",
            );
            return None;
        }
    }
    Some(PriceModel::Flat { amount: amount?, every: every?, prorate: prorate? })
}

fn read_credit(price: &Price<'_>) -> Option<PriceModel> {
    let amount = price.limit("amount");
    if amount.is_some_and(|amount| amount.is_zero()) {
        let line = price.table.line_of("amount");
        price.table.problem(line, "a credit of nothing has no effect", "give it an `amount` above zero");
        return None;
    }
    let every = price.recurrence();
    Some(PriceModel::Credit { amount: amount?, every: every? })
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
        let flat =
            if tier.has("flat") { price.number(tier, "flat", "an amount").map(Some) } else { Some(None) };
        Some(Tier { up_to: up_to?, unit_price: unit_price?, flat: flat? })
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
