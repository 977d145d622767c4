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
use super::format::{METERS, SKU_KEYS, SKU_LIST};
use super::toml::{Table, name};
use crate::catalog::contents::{Life, Meter, Metered, Sku};
use crate::exact::Exact;
use crate::units::{Unit, UnitError, conversion, duration};
use schemas::id::{MeterType, SkuId};
use schemas::name::check_name;
use std::collections::{BTreeMap, BTreeSet};

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
    table.refuse_others();
    let label = table.label("name");
    let is_metered = table.has("meter");
    let prices = read_prices(table, is_metered, context);
    let life = prices.as_deref().and_then(Life::of);
    let metered = if is_metered {
        read_metered(table, (&id, life), context, claims).map(Some)
    } else {
        read_unmetered(table)
    };
    let allocation = read_allocation(table, is_metered, context);
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
    let month =
        if table.has("month") { Some(table.parsed("month", "a length of time", duration)?) } else { None };
    if month.as_ref().is_some_and(|seconds| !is_about_a_month(seconds)) {
        let line = table.line_of("month");
        table.warning(line, format!("the month of {} is not of 28 to 31 days", table.name()));
    }
    let (meter, matches, unit) = (meter?, matches?, unit?);
    let factor = read_factor(table, &meter.unit, &unit, month.as_ref())?;
    Some(Metered { meter: meter.meter.clone(), matches, unit, factor })
}

fn is_about_a_month(seconds: &Exact) -> bool {
    let days = |days: u32| Exact::from_integer((days * 86_400).into());
    (days(28)..=days(31)).contains(seconds)
}

fn read_factor(table: &Table<'_>, from: &Unit, to: &Unit, month: Option<&Exact>) -> Option<Exact> {
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
