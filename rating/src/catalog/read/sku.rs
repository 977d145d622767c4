//! A provider's prices.toml: SKUs, which usage they take, and in which unit it is counted.
//!
//! A match that nothing meets would never bill, so it is refused here.
//!
//! Invariant: the SKUs that are returned have no problem of their own.

use super::allocation_rule::{declare_rules, read_allocation};
use super::claims::{Claim, refuse_double_claims};
use super::dated_price::read_prices;
use super::definitions::{Context, warn_of_unit};
use super::examples::read_examples;
use super::files::CatalogFiles;
use super::format::{METERS, PRICES, SKU_KEYS, SKU_LIST};
use super::toml::{Table, TomlFile, name};
use crate::allocation::Rule;
use crate::catalog::contents::{Counts, DatedPrice, Life, Meter, Metered, Of, Sku};
use crate::catalog::problem::Findings;
use crate::exact::Exact;
use crate::meter::Rules;
use crate::price::{Basis, PriceModel};
use crate::units::{Factor, Unit, UnitError, conversion, duration};
use schemas::id::{MeterType, SkuId};
use schemas::money::Currency;
use schemas::name::check_name;
use std::collections::{BTreeMap, BTreeSet};

/// The ids of a provider's SKUs, those with problems among them; `None` where one cannot be read.
pub(super) fn declared_skus(folder: &str, files: &CatalogFiles) -> Option<BTreeSet<SkuId>> {
    // What is wrong with the file is told by who reads it.
    let unheard = Findings::default();
    let (path, text) = files.get_key_value(&format!("providers/{folder}/{PRICES}"))?;
    let file = TomlFile::parse(path, text, &unheard)?;
    let root = file.root();
    root.declare(SKU_LIST.keys);
    let read = |table: Table<'_>| {
        table.declare(&["id"]);
        SkuId::new(table.peek("id")?).ok()
    };
    root.tables("sku", "this SKU")?.into_iter().map(read).collect()
}

/// The SKUs without a problem of their own.
pub(super) fn read_skus(root: &Table<'_>, context: &Context<'_>) -> Vec<Sku> {
    root.only(SKU_LIST.keys);
    let (mut skus, mut claims) = (Vec::new(), Vec::new());
    let mut lines: BTreeMap<SkuId, usize> = BTreeMap::new();
    let tables = root.tables("sku", "this SKU").unwrap_or_default();
    if !root.has("sku") {
        root.problem(1, "there is no SKU", "add one with `[[sku]]`, or remove the provider's folder");
    }
    for table in tables {
        table.declare(SKU_KEYS.keys);
        declare_rules(&table);
        let Some(id) = table.parsed("id", "a SKU's id", name(SkuId::new)) else { continue };
        let table = table.named(format!("the SKU {id}"));
        if let Some(line) = lines.get(&id) {
            table.problem(
                table.line,
                format!("{} is declared twice; the first time in line {line}", table.name()),
                "remove one of them, or give it another id",
            );
        }
        let above = Above { skus: &skus, lines: &lines };
        let sku = read_sku(&table, id.clone(), (context, &above), &mut claims);
        skus.extend(sku);
        lines.entry(id).or_insert(table.line);
    }
    assert!(skus.len() == lines.len() || root.has_problems(), "a SKU that is not read has a problem");
    refuse_double_claims(root, &claims);
    refuse_below_zero(root, &skus);
    skus
}

fn read_sku(
    table: &Table<'_>,
    id: SkuId,
    (context, above): (&Context<'_>, &Above<'_>),
    claims: &mut Vec<Claim>,
) -> Option<Sku> {
    table.refuse_others();
    let label = table.label("name");
    let basis = match (table.has("meter"), table.has("of")) {
        (true, true) => {
            let message = format!("{} has a `meter` and an `of`: it is priced by one of them", table.name());
            table.problem(table.line_of("of"), message, "remove one of them");
            return None;
        }
        (true, false) => Basis::Usage,
        (false, true) => Basis::Lines,
        (false, false) => Basis::Nothing,
    };
    let whole = why_whole(table, basis, context);
    let prices = read_prices(table, (basis, whole.as_deref()), context);
    let life = prices.as_deref().and_then(Life::of);
    let others = refuse_keys_of_others(table, basis);
    let counts = match basis {
        Basis::Usage => read_metered(table, (&id, life), context, claims).map(Box::new).map(Counts::Usage),
        Basis::Lines => read_of(table, above).map(Counts::Lines),
        Basis::Nothing => Some(Counts::Nothing),
    };
    let allocation = read_allocation(table, basis, context);
    if let (Some(Counts::Lines(of)), Some(Rule::Direct)) = (&counts, &allocation) {
        refuse_of_shared(table, of, above).then_some(())?;
    }
    let unit = match &counts {
        Some(Counts::Usage(metered)) => metered.unit.as_str(),
        Some(Counts::Lines(_)) => context.currency.map_or("", Currency::code),
        Some(Counts::Nothing) | None => "",
    };
    let examples = read_examples(table, basis, unit, prices.as_deref(), context);
    others.then_some(())?;
    Some(Sku {
        id,
        name: label?,
        counts: counts?,
        allocation: allocation?,
        prices: prices?,
        examples: examples?,
        line: table.line,
    })
}

/// Why a billing period has one price of a SKU, where it has.
fn why_whole(table: &Table<'_>, basis: Basis, context: &Context<'_>) -> Option<String> {
    match basis {
        Basis::Lines => Some("which has one line of this SKU".to_owned()),
        Basis::Usage => {
            let meter = MeterType::new(table.peek("meter")?).ok()?;
            let meter = context.meters.values.get(&meter)?;
            (!meter.rules.adds_up_over_days())
                .then(|| format!("over whose days the quantity by the meter {} does not add up", meter.meter))
        }
        Basis::Nothing => None,
    }
}

/// Without a meter there is nothing to match, count or convert; without `of` nothing to except.
fn refuse_keys_of_others(table: &Table<'_>, basis: Basis) -> bool {
    let mut fine = true;
    let of_others: &[(&str, &str)] = match basis {
        Basis::Usage => &[("except", "of")],
        Basis::Lines => &[("match", "meter"), ("unit", "meter"), ("month", "meter")],
        Basis::Nothing => &[("match", "meter"), ("unit", "meter"), ("month", "meter"), ("except", "of")],
    };
    for (key, of) in of_others.iter().filter(|(key, _)| table.has(key)) {
        let message = format!("{} has `{key}` but no `{of}`", table.name());
        let message = if *key == "except" { message } else { message.replace("has `", "has a `") };
        table.problem(table.line_of(key), message, format!("add the `{of}`, or remove `{key}`"));
        fine = false;
    }
    fine
}

/// What stands above a SKU in its file.
struct Above<'s> {
    /// Those that could be read.
    skus: &'s [Sku],
    lines: &'s BTreeMap<SkuId, usize>,
}

/// The lines that a SKU is priced by: those of SKUs above it, so that none is priced by itself.
fn read_of(table: &Table<'_>, above: &Above<'_>) -> Option<Of> {
    let of = read_names(table, "of", above)?;
    let except = if table.has("except") { read_names(table, "except", above)? } else { BTreeSet::new() };
    let takes = |sku: &Sku| of.contains(EVERY) || of.contains(sku.id.as_str());
    let excepts = |sku: &Sku| except.contains(EVERY) || except.contains(sku.id.as_str());
    let places = (0..).zip(above.skus).filter(|(_, sku)| takes(sku) && !excepts(sku));
    let skus: BTreeSet<usize> = places.map(|(place, _)| place).collect();
    if skus.is_empty() && above.skus.len() == above.lines.len() {
        let message = format!("{} stands on no SKU, so it would never bill", table.name());
        table.problem(table.line_of("of"), message, "name a SKU that stands above it in the file");
        return None;
    }
    Some(Of { of, except, skus })
}

/// All SKUs above.
const EVERY: &str = "*";

/// The names of SKUs that stand above, or `*`.
fn read_names(table: &Table<'_>, key: &str, above: &Above<'_>) -> Option<BTreeSet<String>> {
    let texts = table.texts(key)?;
    let mut names = BTreeSet::new();
    let mut fine = true;
    if texts.is_empty() {
        table.problem(table.line_of(key), format!("`{key}` names no SKU"), "name at least one, or remove it");
        fine = false;
    }
    for text in texts {
        let known = SkuId::new(text.value).is_ok_and(|id| above.lines.contains_key(&id));
        if !(known || text.value == EVERY && key == "of") {
            let message = format!(
                "`{key}` of {} names `{}`, and no SKU above it has that id",
                table.name(),
                text.value
            );
            let help = "name SKUs that stand above it in this file; a price on other lines comes after them";
            table.problem(text.line, message, help);
            fine = false;
        }
        if !names.insert(text.value.to_owned()) {
            table.problem(text.line, format!("`{key}` names `{}` twice", text.value), "remove one of them");
            fine = false;
        }
    }
    fine.then_some(names)
}

/// An account can only be priced by lines that are its own. Whether all are.
fn refuse_of_shared(table: &Table<'_>, of: &Of, above: &Above<'_>) -> bool {
    let shared = of.skus.iter().map(|place| &above.skus[*place]).find(|sku| sku.allocation != Rule::Direct);
    let Some(shared) = shared else { return true };
    let message = format!(
        "{} is `direct`, but stands on {}, whose allocation is {}: its lines are not one customer's",
        table.name(),
        shared.id,
        shared.allocation.as_str()
    );
    table.problem(table.line_of("allocation"), message, "use another allocation, or name `direct` SKUs only");
    false
}

/// What takes away from a SKU's lines, a second time, could bring them below zero.
fn refuse_below_zero(root: &Table<'_>, skus: &[Sku]) {
    let takes_whole = |sku: &Sku| {
        let whole = |price: &DatedPrice| {
            matches!(price.terms.model, PriceModel::Maximum { .. } | PriceModel::Credit { .. })
        };
        sku.prices.iter().any(whole)
    };
    let takes = |sku: &Sku| sku.prices.iter().any(|price| price.terms.model.may_pay_back());
    for (place, sku) in skus.iter().enumerate() {
        let Some(of) = sku.of().filter(|_| takes(sku)) else { continue };
        for (earlier_place, earlier) in skus[..place].iter().enumerate() {
            let Some(earlier_of) = earlier.of() else { continue };
            // Two discounts are parts of one whole each.
            let collide = takes(earlier) && (takes_whole(sku) || takes_whole(earlier));
            let Some(both) = earlier_of.skus.intersection(&of.skus).next().filter(|_| collide) else {
                continue;
            };
            if !of.skus.contains(&earlier_place) {
                let message = format!(
                    "the SKU {} takes from {}, from which {} (line {}) has taken already, and does not have it in `of`: the line could go below zero",
                    sku.id, skus[*both].id, earlier.id, earlier.line
                );
                root.problem(sku.line, message, format!("add \"{}\" to `of` of {}", earlier.id, sku.id));
            }
        }
    }
}

fn read_metered(
    table: &Table<'_>,
    (id, life): (&SkuId, Option<Life>),
    context: &Context<'_>,
    claims: &mut Vec<Claim>,
) -> Option<Metered> {
    let meter_type = table.parsed("meter", "a meter's name", name(MeterType::new));
    if let Some(meter_type) = &meter_type
        && !context.meters.knows(meter_type)
    {
        table.problem(
            table.line_of("meter"),
            format!("the meter {meter_type} of {} is not declared", table.name()),
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
            life,
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
    warn_of_unit(table, unit.as_ref());
    if let (Some(of), Some(currency)) = (unit.as_ref().and_then(Unit::currency), context.currency)
        && of != currency
    {
        let message =
            format!("{} counts amounts in {of}, but its provider bills in {currency}", table.name());
        table.problem(
            table.line_of("unit"),
            message,
            format!("use `unit = \"{currency}\"`, or another provider"),
        );
        return None;
    }
    let month = if table.has("month") { Some(read_month(table)?) } else { None };
    if let Some(trial) = &context.trial {
        let (unit, meter) = (unit?, meter_type?);
        let from = trial.unit.clone().unwrap_or_else(|| unit.clone());
        let factor = read_factor(table, &from, &unit, month.as_ref())?;
        let (events, rules) = (meter.clone(), Rules::SUM);
        return Some(Metered { meter, events, rules, matches: matches?, unit, factor });
    }
    let (meter, matches, unit) = (meter?, matches?, unit?);
    // A meter whose result has no unit is reported where it stands.
    let factor = read_factor(table, &meter.unit_of_result().ok()?, &unit, month.as_ref())?;
    let Meter { meter, events, rules, .. } = meter.clone();
    Some(Metered { meter, events, rules, matches, unit, factor })
}

/// How long a month is.
enum Month {
    Seconds(Exact),
    /// As long as the billing period.
    Calendar,
}

fn read_month(table: &Table<'_>) -> Option<Month> {
    if table.optional_text("month")?.value == "calendar" {
        return Some(Month::Calendar);
    }
    let seconds = table.parsed("month", "a length of time, or `calendar`", duration)?;
    if !is_about_a_month(&seconds) {
        let line = table.line_of("month");
        table.warning(line, format!("the month of {} is not of 28 to 31 days", table.name()));
    }
    Some(Month::Seconds(seconds))
}

fn is_about_a_month(seconds: &Exact) -> bool {
    let days = |days: u32| Exact::from_integer((days * 86_400).into());
    (days(28)..=days(31)).contains(seconds)
}

fn read_factor(table: &Table<'_>, from: &Unit, to: &Unit, month: Option<&Month>) -> Option<Factor> {
    match (conversion(from, to, None), month) {
        (Ok(_), Some(_)) => {
            let message = format!("`month` has no effect: `{from}` converts to `{to}` without it");
            table.problem(
                table.line_of("month"),
                message,
                "remove it, or price in a unit per month, like GiBy.mo",
            );
            None
        }
        (Ok(factor), None) => Some(Factor::Fixed(factor)),
        (Err(UnitError::MonthUnknown { .. }), Some(Month::Calendar)) => {
            Factor::calendar(from, to).ok().flatten()
        }
        (Err(UnitError::MonthUnknown { .. }), Some(Month::Seconds(seconds))) => {
            conversion(from, to, Some(seconds)).ok().map(Factor::Fixed)
        }
        (Err(error @ UnitError::MonthUnknown { .. }), None) => {
            table.problem(
                table.line_of("unit"),
                error.to_string(),
                "say how long this provider's month is, like `month = \"730 h\"`, or `month = \"calendar\"`",
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
    let table_of_match = table.optional_table("match", format!("the match of {}", table.name()))?.of_names();
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
            if let Err(error) = check_name(text.value)
                && !text.value.is_empty()
            {
                let message =
                    format!("the value {:?} of `{}` is no name: {error}", text.value, dimension.value);
                table.warning(text.line, message);
            }
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
