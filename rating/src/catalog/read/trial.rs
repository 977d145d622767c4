//! A file of prices that are tried without a catalog: SKUs as in prices.toml, or one price's keys
//! alone.
//!
//! Meters and customers are deliberately not asked for: there is nobody to declare them.
//!
//! Invariant: a SKU that is returned is what prices.toml would make of the same text.

use super::definitions::{Context, Declared, Trial, read_currency};
use super::format::{PRICE_KEYS, SHEET_KEYS};
use super::price_model::read_terms;
use super::rounding::{read_anchor, read_rounding};
use super::sku::read_skus;
use super::toml::{Table, TomlFile};
use crate::allocation::Rule;
use crate::catalog::contents::{Counts, DatedPrice, Metered, Of, Sku};
use crate::catalog::problem::{Findings, Problem, Warning};
use crate::exact::Exact;
use crate::meter::Rules;
use crate::price::{Basis, PriceModelName};
use crate::rounding::{Places, RoundingMode};
use crate::units::{Factor, Unit};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use num_traits::One as _;
use schemas::id::{MeterType, SkuId};
use schemas::money::Currency;
use schemas::time::{Anchor, time_zone};
use std::collections::{BTreeMap, BTreeSet};

/// Prices without a catalog.
#[derive(Debug, Clone)]
pub struct PriceSheet {
    /// None where amounts are exact, and nothing settles.
    pub currency: Option<Currency>,
    /// How a line is rounded to the minor unit.
    pub rounding: RoundingMode,
    pub steps: Option<Places>,
    pub time_zone: TimeZone,
    pub anchor: Anchor,
    /// In the order of the file; at least one.
    pub skus: Vec<Sku>,
}

impl PriceSheet {
    /// Reads a file's text; `file` is its name. What is counted is in `unit`, or in the SKU's where none
    /// is given.
    ///
    /// # Errors
    /// Every problem found, by line.
    pub fn read(file: &str, text: &str, unit: Option<&Unit>) -> Result<(Self, Vec<Warning>), Vec<Problem>> {
        let findings = Findings::default();
        let sheet = TomlFile::parse(file, text, &findings).and_then(|file| read_sheet(&file.root(), unit));
        let warnings = findings.into_result()?;
        Ok((sheet.expect("a file without problems was read completely"), warnings))
    }
}

fn read_sheet(root: &Table<'_>, unit: Option<&Unit>) -> Option<PriceSheet> {
    root.declare(SHEET_KEYS.keys);
    let currency = if root.has("currency") { read_currency(root).map(Some) } else { Some(None) };
    let zone = if root.has("time_zone") {
        root.parsed("time_zone", "a time zone", |text| time_zone(text).ok_or("it must be a name like UTC"))
    } else {
        Some(TimeZone::UTC)
    };
    let anchor = read_anchor(root);
    let rounding = if root.has("rounding") {
        root.optional_table("rounding", "the rounding of the file".to_owned())
            .and_then(|table| read_rounding(&table))
    } else {
        Some((RoundingMode::HalfEven, None))
    };
    let (meters, customers, utc) = (Declared::unread(), Declared::unread(), TimeZone::UTC);
    let context = Context {
        meters: &meters,
        customers: &customers,
        time_zone: zone.as_ref().unwrap_or(&utc),
        anchor: Some(anchor.unwrap_or(Anchor::FIRST)),
        currency: currency.flatten(),
        steps: rounding.as_ref().and_then(|(_, steps)| *steps),
        trial: Some(Trial { unit: unit.cloned() }),
    };
    let skus = match root.has("model") {
        true => read_alone(root, &context).map(|sku| vec![sku]),
        false => Some(read_skus(root, &context)),
    };
    let (rounding, steps) = rounding?;
    Some(PriceSheet { currency: currency?, rounding, steps, time_zone: zone?, anchor: anchor?, skus: skus? })
}

/// One price's keys alone; with a `from` it has that date, without one it is in force for ever.
fn read_alone(root: &Table<'_>, context: &Context<'_>) -> Option<Sku> {
    root.declare(PRICE_KEYS.keys);
    let basis = root.optional_text("model").and_then(|text| PriceModelName::parse(text.value)).map_or(
        Basis::Usage,
        |model| {
            [Basis::Usage, Basis::Nothing, Basis::Lines]
                .into_iter()
                .find(|basis| model.suits(*basis))
                .expect("every model suits something")
        },
    );
    let terms = read_terms(root, basis, context.currency)?;
    let from_date = if root.has("from") { root.day("from")? } else { Date::constant(1970, 1, 1) };
    let until_date = if root.has("until") { Some(root.day("until")?) } else { None };
    let midnight = |date| schemas::time::start_of_day(date, context.time_zone).ok();
    let until = match until_date {
        Some(date) => Some(midnight(date)?),
        None => None,
    };
    let from = midnight(from_date)?;
    let price = DatedPrice { from, until, from_date, until_date, terms, line: root.line };
    let one = Unit::parse("1").expect("1 is a unit");
    let counts = match basis {
        Basis::Usage => Counts::Usage(Box::new(Metered {
            meter: MeterType::new("price").expect("a name"),
            events: MeterType::new("price").expect("a name"),
            rules: Rules::SUM,
            matches: BTreeMap::new(),
            unit: one,
            factor: Factor::Fixed(Exact::one()),
        })),
        Basis::Lines => {
            Counts::Lines(Of { of: BTreeSet::new(), except: BTreeSet::new(), skus: BTreeSet::new() })
        }
        Basis::Nothing => Counts::Nothing,
    };
    Some(Sku {
        id: SkuId::new("price").expect("an id"),
        name: "price".to_owned(),
        counts,
        allocation: Rule::Even { among: None },
        prices: vec![price],
        examples: Vec::new(),
        line: root.line,
    })
}
