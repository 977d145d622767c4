//! A provider's prices.toml: SKUs, which usage they take, their dated prices and worked examples.
//!
//! Two SKUs that take the same event would bill it twice, a match that nothing meets would never
//! bill; both are refused here.

use super::definitions::{CUSTOMERS, Declared, METERS};
use super::toml_file::{Table, Text, name};
use super::{Customer, DatedPrice, Example, Meter, Metered, Sku};
use crate::allocation::Rule;
use crate::exact::{Exact, display, exact};
use crate::price::{self, PackageSize, PriceModel, Recurrence, Step, Tier, Tiers, TiersError};
use crate::rounding;
use crate::units::{Unit, UnitError, conversion, duration};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use num_traits::Zero;
use schemas::decimal::{Amount, Decimal, Quantity, QuantityTotal, Sign, UnitPrice};
use schemas::id::{CustomerId, MeterType, SkuId};
use schemas::time::{Instant, start_of_day};
use std::collections::{BTreeMap, BTreeSet};

/// What SKUs may refer to.
pub(super) struct Context<'c> {
    pub meters: &'c Declared<MeterType, Meter>,
    pub customers: &'c Declared<CustomerId, Customer>,
    /// Where the provider's dates begin.
    pub time_zone: &'c TimeZone,
}

/// Which events a SKU takes, known even where the rest of the SKU has a problem.
struct Claim {
    sku: SkuId,
    meter: MeterType,
    matches: BTreeMap<String, BTreeSet<String>>,
    line: usize,
}

/// The SKUs without a problem of their own.
pub(super) fn read_skus(root: &Table<'_>, context: &Context<'_>) -> Vec<Sku> {
    root.only(&["sku"]);
    let (mut skus, mut claims) = (Vec::new(), Vec::new());
    let mut lines: BTreeMap<SkuId, usize> = BTreeMap::new();
    let tables = root.tables("sku", "this SKU").unwrap_or_default();
    if !root.has("sku") {
        root.problem(1, "there is no SKU", "add one with `[[sku]]`, or remove the provider's folder");
    }
    for table in tables {
        let Some(id) = table.parsed("id", "a SKU's id", name(SkuId::new)) else { continue };
        let table = table.named(format!("the SKU {id}"));
        if let Some(line) = lines.insert(id.clone(), table.line) {
            table.problem(
                table.line,
                format!("{} is declared twice; the first time in line {line}", table.name()),
                "remove one of them, or give it another id",
            );
        }
        skus.extend(read_sku(&table, id, context, &mut claims));
    }
    refuse_double_claims(root, &claims);
    skus
}

fn read_sku(table: &Table<'_>, id: SkuId, context: &Context<'_>, claims: &mut Vec<Claim>) -> Option<Sku> {
    table.only(&[
        "id",
        "name",
        "meter",
        "match",
        "unit",
        "month",
        "allocation",
        "among",
        "shares",
        "price",
        "example",
    ]);
    let label = table.label("name");
    let is_metered = table.has("meter");
    let metered =
        if is_metered { read_metered(table, &id, context, claims).map(Some) } else { read_unmetered(table) };
    let allocation = read_allocation(table, is_metered, context);
    let prices = read_prices(table, is_metered, context);
    let unit =
        metered.as_ref().and_then(|metered| metered.as_ref()).map_or("", |metered| metered.unit.as_str());
    let examples = read_examples(table, is_metered, unit, prices.as_deref(), context);
    Some(Sku {
        id,
        name: label?,
        metered: metered?,
        allocation: allocation?,
        prices: prices?,
        examples: examples?,
        line: table.line,
    })
}

/// Without a meter there is nothing to match, count or convert.
fn read_unmetered(table: &Table<'_>) -> Option<Option<Metered>> {
    let mut fine = true;
    for key in ["match", "unit", "month"] {
        if table.has(key) {
            table.problem(
                table.line_of(key),
                format!("{} has a `{key}` but no `meter`", table.name()),
                format!("add the `meter`, or remove `{key}`"),
            );
            fine = false;
        }
    }
    fine.then_some(None)
}

fn read_metered(
    table: &Table<'_>,
    id: &SkuId,
    context: &Context<'_>,
    claims: &mut Vec<Claim>,
) -> Option<Metered> {
    let meter_type = table.parsed("meter", "a meter's name", name(MeterType::new));
    if let Some(meter_type) = &meter_type
        && !context.meters.knows(meter_type)
    {
        table.problem(
            table.line_of("meter"),
            format!("the meter {meter_type} is not declared"),
            context.meters.help(METERS),
        );
    }
    let meter = meter_type.as_ref().and_then(|meter_type| context.meters.values.get(meter_type));
    let matches = read_match(table, meter);
    if let (Some(meter), Some(matches)) = (&meter_type, &matches) {
        claims.push(Claim {
            sku: id.clone(),
            meter: meter.clone(),
            matches: matches.clone(),
            line: table.line,
        });
    }
    let unit = table.text("unit").and_then(|text| {
        Unit::parse(text.value)
            .map_err(|error| {
                table.problem(
                    text.line,
                    error.to_string(),
                    "write it in UCUM, like h, GBy, GiBy.mo, kW.h, 1 or {request}",
                )
            })
            .ok()
    });
    let month =
        if table.has("month") { Some(table.parsed("month", "a length of time", duration)?) } else { None };
    let (meter, matches, unit) = (meter?, matches?, unit?);
    let factor = read_factor(table, &meter.unit, &unit, month.as_ref())?;
    Some(Metered { meter: meter.meter.clone(), matches, unit, factor })
}

fn read_factor(table: &Table<'_>, from: &Unit, to: &Unit, month: Option<&Exact>) -> Option<Exact> {
    match (conversion(from, to, None), month) {
        (Ok(_), Some(_)) => {
            let message = format!("`month` is of no use: `{from}` converts to `{to}` without it");
            table.problem(
                table.line_of("month"),
                message,
                "remove it, or price in a unit per month, like GiBy.mo",
            );
            None
        }
        (Ok(factor), None) => Some(factor),
        (Err(UnitError::MonthUnknown { .. }), Some(_)) => conversion(from, to, month).ok(),
        (Err(error @ UnitError::MonthUnknown { .. }), None) => {
            table.problem(
                table.line_of("unit"),
                error.to_string(),
                "say how long this provider's month is, like `month = \"730 h\"`",
            );
            None
        }
        (Err(error), _) => {
            let help = format!("the meter counts in `{from}`; price in a unit of the same dimension");
            table.problem(table.line_of("unit"), error.to_string(), help);
            None
        }
    }
}

fn read_match(table: &Table<'_>, meter: Option<&Meter>) -> Option<BTreeMap<String, BTreeSet<String>>> {
    if !table.has("match") {
        return Some(BTreeMap::new());
    }
    let table_of_match = table.optional_table("match", format!("the match of {}", table.name()))?;
    let dimensions = table_of_match.keys();
    let mut fine = true;
    if dimensions.is_empty() {
        let message = format!("the match of {} names no dimension", table.name());
        table.problem(
            table_of_match.line,
            message,
            "remove it; a SKU without `match` takes what no other SKU takes",
        );
        fine = false;
    }
    let mut matches = BTreeMap::new();
    for dimension in dimensions {
        if let Some(meter) = meter
            && !meter.dimensions.contains(dimension.value)
        {
            let message = format!(
                "the meter {} has no dimension `{}`, so this would never match",
                meter.meter, dimension.value
            );
            table.problem(
                dimension.line,
                message,
                format!("correct the name, or declare the dimension in {METERS}"),
            );
        }
        let Some(texts) = table_of_match.text_or_texts(dimension.value) else {
            fine = false;
            continue;
        };
        if texts.is_empty() {
            let message = format!("no value of `{}` would match", dimension.value);
            table.problem(dimension.line, message, "list at least one value, or remove the dimension");
            fine = false;
        }
        let mut values = BTreeSet::new();
        for text in texts {
            if !values.insert(text.value.to_owned()) {
                table.problem(
                    text.line,
                    format!("the value `{}` is listed twice", text.value),
                    "remove one of them",
                );
            }
        }
        matches.insert(dimension.value.to_owned(), values);
    }
    fine.then_some(matches)
}

/// Of the SKUs of one meter at most one may take an event.
fn refuse_double_claims(root: &Table<'_>, claims: &[Claim]) {
    let mut by_meter: BTreeMap<&MeterType, Vec<&Claim>> = BTreeMap::new();
    for claim in claims {
        let others = by_meter.entry(&claim.meter).or_default();
        for other in others.iter().filter(|other| other.sku != claim.sku) {
            let Some(message) = double_claim(claim, other) else { continue };
            let help = match claim.matches.is_empty() {
                true => "give one of them a `match`",
                false => "let the two differ in the values of a dimension that both match",
            };
            root.problem(
                claim.line,
                format!("the SKUs {} (line {}) and {} {message}", other.sku, other.line, claim.sku),
                help,
            );
        }
        others.push(claim);
    }
}

fn double_claim(claim: &Claim, other: &Claim) -> Option<String> {
    match (claim.matches.is_empty(), other.matches.is_empty()) {
        (true, true) => {
            return Some(format!("both have no `match`, so both would take the rest of {}", claim.meter));
        }
        (false, false) => {}
        _ => return None,
    }
    // An event that both would take: per dimension, a value that is allowed by whoever names it.
    let mut event = Vec::new();
    let names: BTreeSet<&String> = claim.matches.keys().chain(other.matches.keys()).collect();
    for dimension in names {
        let value = match (claim.matches.get(dimension), other.matches.get(dimension)) {
            (Some(values), Some(others)) => values.intersection(others).next()?,
            (Some(values), None) | (None, Some(values)) => values.iter().next()?,
            (None, None) => continue,
        };
        event.push(format!("{dimension} = {value}"));
    }
    Some(format!("would both bill an event of {} with {}", claim.meter, event.join(", ")))
}

fn read_allocation(table: &Table<'_>, is_metered: bool, context: &Context<'_>) -> Option<Rule> {
    let text = table.text("allocation")?;
    let mut fine = true;
    for (key, rule) in [("among", "even"), ("shares", "fixed")] {
        if table.has(key) && text.value != rule {
            table.problem(
                table.line_of(key),
                format!("`{key}` belongs to the allocation {rule}, not {}", text.value),
                format!("remove `{key}`"),
            );
            fine = false;
        }
    }
    let rule = match text.value {
        "proportional" => Some(Rule::Proportional),
        "direct" => Some(Rule::Direct),
        "even" if !table.has("among") => Some(Rule::Even { among: None }),
        "even" => read_among(table, context).map(|among| Rule::Even { among: Some(among) }),
        "fixed" => read_shares(table, context).map(|shares| Rule::Fixed { shares }),
        other => {
            let known = matches!(other, "standalone" | "by_meter");
            let message = format!(
                "the allocation `{other}` is {}",
                if known { "known but not supported" } else { "not known" }
            );
            table.problem(text.line, message, "use one of: proportional, direct, even, fixed");
            None
        }
    };
    if let Some(rule) = &rule
        && rule.needs_usage()
        && !is_metered
    {
        let message = format!("{} has no meter, so there is no usage to share it by", table.name());
        table.problem(text.line, message, "use `even` or `fixed`, or add the `meter`");
        fine = false;
    }
    rule.filter(|_| fine)
}

fn refuse_unknown_customer(table: &Table<'_>, customer: &CustomerId, line: usize, context: &Context<'_>) {
    if !context.customers.knows(customer) {
        table.problem(
            line,
            format!("the customer {customer} is not declared"),
            context.customers.help(CUSTOMERS),
        );
    }
}

fn read_customer(table: &Table<'_>, text: Text<'_>, context: &Context<'_>) -> Option<CustomerId> {
    let id = CustomerId::new(text.value);
    match &id {
        Ok(customer) => refuse_unknown_customer(table, customer, text.line, context),
        Err(error) => table.problem(
            text.line,
            format!("{:?} is not a customer's id: {error}", text.value),
            "correct it",
        ),
    }
    id.ok()
}

fn read_among(table: &Table<'_>, context: &Context<'_>) -> Option<BTreeSet<CustomerId>> {
    let texts = table.texts("among")?;
    let mut among = BTreeSet::new();
    if texts.is_empty() {
        table.problem(
            table.line_of("among"),
            "`among` names no customer",
            "list at least one, or remove it to share among all with a binding",
        );
    }
    for text in texts {
        if let Some(customer) = read_customer(table, text, context)
            && !among.insert(customer)
        {
            table.problem(
                text.line,
                format!("the customer {} is listed twice", text.value),
                "remove one of them",
            );
        }
    }
    Some(among)
}

fn read_shares(table: &Table<'_>, context: &Context<'_>) -> Option<BTreeMap<CustomerId, Quantity>> {
    let entries = table.table("shares", format!("the shares of {}", table.name()))?;
    let mut shares = BTreeMap::new();
    let mut fine = true;
    for key in entries.keys() {
        let customer = read_customer(table, key, context);
        let share = read_decimal(&entries, key.value, "a share", Sign::NonNegative);
        match (customer, share) {
            (Some(customer), Some(share)) => {
                shares.insert(customer, share);
            }
            _ => fine = false,
        }
    }
    if fine && shares.values().all(|share| share.is_zero()) {
        let what = if shares.is_empty() { "names nobody" } else { "is zero for everybody" };
        table.problem(
            entries.line,
            format!("`shares` {what}"),
            "give at least one customer a share above zero",
        );
    }
    fine.then_some(shares)
}

/// A number in quotes.
fn read_decimal<const PRECISION: u32, const SCALE: u32>(
    table: &Table<'_>,
    key: &str,
    what: &str,
    sign: Sign,
) -> Option<Decimal<PRECISION, SCALE>> {
    table.parsed(key, what, |text| Decimal::parse(text, sign))
}

/// The prices by date. `None` if one of them has a problem, or there is none.
fn read_prices(table: &Table<'_>, is_metered: bool, context: &Context<'_>) -> Option<Vec<DatedPrice>> {
    let tables = table.tables("price", &format!("this price of {}", table.name()))?;
    if tables.is_empty() {
        table.problem(
            table.line,
            format!("{} has no price", table.name()),
            "add one with `[[sku.price]]`; what is free has `model = \"zero\"`",
        );
        return None;
    }
    let prices: Vec<Option<DatedPrice>> =
        tables.iter().map(|price| read_price(price, is_metered, context)).collect();
    // Overlaps are looked for among the prices that could be read.
    let all_read = prices.iter().all(Option::is_some);
    let mut prices: Vec<DatedPrice> = prices.into_iter().flatten().collect();
    prices.sort_by_key(|price| (price.from, price.line));
    check_dates(table, &prices);
    all_read.then_some(prices)
}

/// `prices` are one SKU's, by their beginning.
fn check_dates(table: &Table<'_>, prices: &[DatedPrice]) {
    let mut longest: Option<&DatedPrice> = None;
    for price in prices {
        if let Some(earlier) = longest {
            match earlier.until {
                Some(until) if until == price.from => {}
                Some(until) if until < price.from => {
                    let ended = earlier.until_date.unwrap_or(price.from_date);
                    table.warning(
                        price.line,
                        format!(
                            "{} has no price from {ended} until {}; usage in between cannot be billed",
                            table.name(),
                            price.from_date
                        ),
                    );
                }
                _ => {
                    let message = format!(
                        "the price of {} from {} overlaps the one from {} (line {})",
                        table.name(),
                        price.from_date,
                        earlier.from_date,
                        earlier.line
                    );
                    table.problem(
                        price.line,
                        message,
                        format!("end the earlier one with `until = \"{}\"`", price.from_date),
                    );
                }
            }
        }
        let outlasts = |other: &DatedPrice| {
            price.until.is_none() || other.until.is_some_and(|until| price.until > Some(until))
        };
        if longest.is_none_or(outlasts) {
            longest = Some(price);
        }
    }
}

fn read_price(table: &Table<'_>, is_metered: bool, context: &Context<'_>) -> Option<DatedPrice> {
    let from = read_date(table, "from", context);
    let until = if table.has("until") { read_date(table, "until", context).map(Some) } else { Some(None) };
    let model = read_model(table);
    if let Some(model) = &model {
        if model.needs_usage() && !is_metered {
            let message = format!("the model {} prices usage, but the SKU has no meter", model.as_str());
            table.problem(table.line_of("model"), message, "use `model = \"flat\"`, or add the `meter`");
        }
        if !model.needs_usage() && is_metered {
            let message = "the model flat does not look at usage, but the SKU has a meter";
            table.problem(
                table.line_of("model"),
                message,
                "use another model, or move the flat amount to a SKU without `meter`",
            );
        }
        if model.has_negative() {
            table.warning(table.line, format!("{} is below zero: it pays money back", table.name()));
        }
    }
    let ((from_date, from), until) = (from?, until?);
    if let Some((until_date, until)) = until
        && until <= from
    {
        let message = format!("the price ends on {until_date}, before or when it begins on {from_date}");
        table.problem(table.line_of("until"), message, "make `until` later than `from`, or remove the price");
        return None;
    }
    let (until_date, until) = until.unzip();
    Some(DatedPrice { from, until, from_date, until_date, model: model?, line: table.line })
}

/// A date and the instant of its midnight in the provider's time zone.
fn read_date(table: &Table<'_>, key: &str, context: &Context<'_>) -> Option<(Date, Instant)> {
    table.parsed(key, "a date", |text| {
        let shape = text.len() == 10
            && text.bytes().enumerate().all(|(index, byte)| {
                if matches!(index, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() }
            });
        if !shape {
            return Err("it must be a year, a month and a day".to_owned());
        }
        let date: Date = text.parse().map_err(|_| "there is no such day".to_owned())?;
        let midnight = start_of_day(date, context.time_zone).map_err(|error| error.to_string())?;
        Ok((date, midnight))
    })
}

fn read_model(table: &Table<'_>) -> Option<PriceModel> {
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
            let package_price = read_decimal(table, "package_price", "a price", Sign::Any);
            Some(PriceModel::Package { size: size?, package_price: package_price? })
        }
        "flat" => {
            only(&["amount", "every"]);
            let amount = read_decimal(table, "amount", "an amount", Sign::Any);
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
    read_decimal(table, "unit_price", "a price", Sign::Any)
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
            read_decimal(tier, "up_to", "a bound", Sign::NonNegative).map(Some)
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

/// The worked examples. They are evaluated only when all of the SKU's prices could be read.
fn read_examples(
    table: &Table<'_>,
    is_metered: bool,
    unit: &str,
    prices: Option<&[DatedPrice]>,
    context: &Context<'_>,
) -> Option<Vec<Example>> {
    let tables = table.tables("example", &format!("this example of {}", table.name()))?;
    let read = |example: &Table<'_>| {
        example.only(&["on", "quantity", "amount"]);
        let on = read_date(example, "on", context);
        let amount: Option<Amount> = read_decimal(example, "amount", "an amount", Sign::Any);
        let quantity: Option<Option<QuantityTotal>> = if is_metered {
            read_decimal(example, "quantity", "a quantity", Sign::NonNegative).map(Some)
        } else {
            match example.optional_text("quantity") {
                Some(text) if text.value != "1" => {
                    let message = format!(
                        "{} has no meter, so its amount is the same for every quantity",
                        table.name()
                    );
                    example.problem(text.line, message, "remove `quantity`");
                    None
                }
                _ => Some(None),
            }
        };
        let ((on, midnight), quantity, amount) = (on?, quantity?, amount?);
        if let Some(prices) = prices {
            let Some(price) = prices.iter().find(|price| price.contains(midnight)) else {
                example.problem(
                    example.line_of("on"),
                    format!("{} has no price on {on}", table.name()),
                    "correct the date, or add the price",
                );
                return None;
            };
            check_example(example, &price.model, quantity, unit, on, amount)?;
        }
        Some(Example { on, quantity, amount, line: example.line })
    };
    tables.iter().map(read).collect::<Vec<_>>().into_iter().collect()
}

fn check_example(
    example: &Table<'_>,
    model: &PriceModel,
    quantity: Option<QuantityTotal>,
    unit: &str,
    on: Date,
    amount: Amount,
) -> Option<()> {
    let count = quantity.map_or_else(Exact::zero, exact);
    let steps = price::steps(model, &Exact::zero(), &count, &count);
    let line = example.line_of("amount");
    match rounding::amount(&price::total(&steps)) {
        Ok(total) if total == amount => Some(()),
        Ok(total) => {
            let what =
                quantity.map_or_else(|| "it costs".to_owned(), |quantity| format!("{quantity} {unit} cost"));
            let message = format!("{what} {total} on {on}, not {amount}: {}", arithmetic(&steps));
            example.problem(line, message, "correct the example, or the price if the example is right");
            None
        }
        Err(error) => {
            example.problem(
                line,
                format!("the example cannot be evaluated: {error}"),
                "use a smaller quantity",
            );
            None
        }
    }
}

/// `100 × 0.1 + 400 × 0.08`.
fn arithmetic(steps: &[Step]) -> String {
    steps
        .iter()
        .map(|step| format!("{} × {}", display(&step.quantity), step.unit_price))
        .collect::<Vec<_>>()
        .join(" + ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(sku: &str, matches: &[(&str, &[&str])]) -> Claim {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        Claim {
            sku: SkuId::new(sku).expect("an id"),
            meter: MeterType::new("m").expect("a meter"),
            matches: matches.iter().map(|(name, list)| ((*name).to_owned(), values(list))).collect(),
            line: 1,
        }
    }

    #[track_caller]
    fn check(one: &[(&str, &[&str])], two: &[(&str, &[&str])], expected: Option<&str>) {
        for (one, two) in [(one, two), (two, one)] {
            assert_eq!(
                double_claim(&claim("A", one), &claim("B", two)).as_deref(),
                expected,
                "{one:?} {two:?}"
            );
        }
    }

    #[test]
    fn two_skus_differ_in_a_dimension_that_both_name() {
        check(&[], &[("a", &["1"])], None);
        check(&[("a", &["1"])], &[("a", &["2", "3"])], None);
        check(&[("a", &["1"]), ("b", &["1"])], &[("a", &["1"]), ("b", &["2"])], None);
        check(&[], &[], Some("both have no `match`, so both would take the rest of m"));
        check(&[("a", &["1", "2"])], &[("a", &["2", "3"])], Some("would both bill an event of m with a = 2"));
        check(
            &[("a", &["1"])],
            &[("b", &["1", "2"])],
            Some("would both bill an event of m with a = 1, b = 1"),
        );
        check(
            &[("a", &["1"])],
            &[("a", &["1"]), ("b", &["2"])],
            Some("would both bill an event of m with a = 1, b = 2"),
        );
    }
}
