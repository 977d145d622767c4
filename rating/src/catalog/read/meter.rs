//! meters.toml: what is measured, and how the values of events become a quantity.
//!
//! What the words do is `meter`'s, and deliberately not known here.
//!
//! Invariant: the rules of a meter that is returned can be followed, and everything that makes a
//! difference to its quantity was said.

use super::definitions::{Declared, warn_of_unit};
use super::files::CatalogFiles;
use super::format::{GREATER_KEYS, METER_KEYS, METER_LIST, METER_SHEET_KEYS};
use super::toml::{Table, TomlFile, name};
use crate::catalog::contents::Meter;
use crate::catalog::problem::{Findings, Problem, Warning};
use crate::meter::{
    Aggregation, AtWord, Carry, Empty, GreaterOf, Kind, LengthError, Over, OverWord, Per, Percentile, Rules,
    RulesError, Values, WindowLength, Windowing,
};
use crate::units::Unit;
use crate::words::either;
use jiff::tz::TimeZone;
use schemas::decimal::{QuantityTotal, Sign};
use schemas::id::MeterType;
use schemas::time::time_zone;
use std::collections::BTreeSet;

pub(super) fn read_meters(files: &CatalogFiles, findings: &Findings) -> Declared<MeterType, Meter> {
    Declared::read((METER_LIST, "meter"), METER_KEYS, files, findings, |table| {
        let meter = table.parsed("type", "a meter's name", name(MeterType::new));
        let called = match &meter {
            Some(meter) => format!("the meter {meter}"),
            None => "this meter".to_owned(),
        };
        let read = read_meter(&table.called(&called), meter.clone(), &called);
        (meter, read)
    })
}

/// A meter without a catalog.
#[derive(Debug, Clone)]
pub struct MeterSheet {
    pub meter: Meter,
    /// Where the windows of a day begin.
    pub time_zone: TimeZone,
}

impl MeterSheet {
    /// Reads a file's text; `file` is its name.
    ///
    /// # Errors
    /// Every problem found, by line.
    pub fn read(file: &str, text: &str) -> Result<(Self, Vec<Warning>), Vec<Problem>> {
        let findings = Findings::default();
        let sheet = TomlFile::parse(file, text, &findings).and_then(|file| read_sheet(&file.root()));
        let warnings = findings.into_result()?;
        Ok((sheet.expect("a file without problems was read completely"), warnings))
    }
}

fn read_sheet(root: &Table<'_>) -> Option<MeterSheet> {
    root.only(METER_SHEET_KEYS.keys);
    let zone = match root.has("time_zone") {
        true => root.parsed("time_zone", "a time zone", |text| {
            time_zone(text).ok_or("it must be a name of the IANA time zone database, like UTC")
        }),
        false => Some(TimeZone::UTC),
    };
    let meters = root.tables("meter", "this meter")?;
    let [table] = meters.as_slice() else {
        let message = format!("the file has {} meters", meters.len());
        root.problem(1, message, "give it one `[[meter]]`");
        return None;
    };
    table.only(METER_KEYS.keys);
    let meter = table.parsed("type", "a meter's name", name(MeterType::new));
    Some(MeterSheet { meter: read_meter(table, meter, "the meter")?, time_zone: zone? })
}

/// The one meter of a file that has no catalog around it.
pub(super) fn read_meter(table: &Table<'_>, meter: Option<MeterType>, called: &str) -> Option<Meter> {
    let events = match table.has("events") {
        true => table.parsed("events", "the type of events", name(MeterType::new)),
        false => meter.clone(),
    };
    let unit = table.parsed("unit", "a unit of UCUM", Unit::parse);
    warn_of_unit(table, unit.as_ref());
    let dimensions = if table.has("dimensions") { read_dimensions(table) } else { Some(BTreeSet::new()) };
    let rules = read_rules(table, dimensions.as_ref(), called);
    let meter = Meter { meter: meter?, events: events?, unit: unit?, rules: rules?, dimensions: dimensions? };
    let counts = matches!(meter.rules.values.aggregation(), Aggregation::Count | Aggregation::Unique);
    if counts && meter.unit != Unit::parse("1").expect("1 is a unit") {
        let message =
            format!("{called} counts, so that its quantity is in 1, but its unit is {}", meter.unit);
        table.problem(table.line_of("unit"), message, "write `unit = \"1\"`");
        return None;
    }
    if let Err(error) = meter.unit_of_result() {
        let message = format!("the quantity of {called} has no unit: {error}");
        table.problem(table.line_of("unit"), message, "use another unit, or another aggregation");
        return None;
    }
    Some(meter)
}

/// Words that other systems use for an aggregation.
const OTHER_WORDS: [(&str, &str); 6] = [
    ("avg", "average"),
    ("last", "latest"),
    ("unique_count", "unique"),
    ("p95", "rate` with `over = \"percentile\"` and `percentile = \"95\""),
    ("weighted_sum", "time_weighted"),
    ("gauge", "time_weighted"),
];

fn read_rules(table: &Table<'_>, dimensions: Option<&BTreeSet<String>>, called: &str) -> Option<Rules> {
    let kind = if table.has("kind") {
        table.parsed_like(("kind", "counter"), "a kind of values", |text| {
            let all = || format!("it must be {}", either(Kind::ALL.map(Kind::as_str)));
            Kind::parse(text).ok_or_else(all)
        })
    } else {
        Some(Kind::Amount)
    };
    let aggregation = table.parsed("aggregation", "an aggregation", |text| {
        let other = OTHER_WORDS.iter().find(|(other, _)| *other == text);
        let meant = other.map_or_else(String::new, |(_, ours)| format!("; that is `{ours}`"));
        let all = || format!("it must be {}{meant}", either(Aggregation::ALL.map(Aggregation::as_str)));
        Aggregation::parse(text).ok_or_else(all)
    });
    let carry = optional(table, "carry", |table| {
        table.parsed("carry", "a length of time", |text| {
            Carry::parse(text)
                .ok_or("it must be a whole number above 0 and `s`, `min`, `h` or `d`, like `15 min`")
        })
    });
    let distinct = optional(table, "distinct", |table| read_dimension(table, "distinct", dimensions, called));
    let greater_of = optional(table, "greater_of", |table| read_greater_of(table, dimensions, called));
    let window = optional(table, "window", read_window);
    let over = optional(table, "over", |table| {
        word(
            table,
            "over",
            "a way to make one value of windows",
            OverWord::parse,
            OverWord::ALL.map(OverWord::as_str),
        )
    });
    let percentile = optional(table, "percentile", read_percentile);
    let empty = optional(table, "empty", |table| {
        word(table, "empty", "what an empty window is worth", Empty::parse, Empty::ALL.map(Empty::as_str))
    });
    let per =
        optional(table, "per", |table| word(table, "per", "a scope", Per::parse, Per::ALL.map(Per::as_str)));
    let (kind, aggregation, carry, distinct) = (kind?, aggregation?, carry?, distinct?);
    let told = |error: RulesError| tell(table, &error, called);
    let values = Values::new(kind, aggregation, carry, distinct.map(String::into_boxed_str));
    let values = values.map_err(told).ok();
    let (window, over, percentile, empty) = (window?, over?, percentile?, empty?);
    let windows = match window {
        Some(length) => {
            let over = Over::new(over.unwrap_or(OverWord::Sum), percentile, empty);
            Some(Some(Windowing { length, over: over.map_err(told).ok()? }))
        }
        None => {
            let given =
                [("over", over.is_some()), ("percentile", percentile.is_some()), ("empty", empty.is_some())];
            for (key, _) in given.into_iter().filter(|(_, given)| *given) {
                told(RulesError::Useless { key, of: "a meter without `window`" });
            }
            (!given.into_iter().any(|(_, given)| given)).then_some(None)
        }
    };
    let (values, windows, greater_of, per) = (values?, windows?, greater_of?, per?);
    let rules = Rules { values, windows, greater_of, per: per.unwrap_or(Per::Account) };
    if per.is_none() && rules.depends_on_scope() {
        let of = match windows {
            Some(windows) if windows.over != Over::Sum => windows.over.as_str(),
            _ => aggregation.as_str(),
        };
        told(RulesError::Missing { key: "per", of });
        return None;
    }
    Some(rules)
}

/// A key that may be absent.
fn optional<T>(table: &Table<'_>, key: &str, read: impl Fn(&Table<'_>) -> Option<T>) -> Option<Option<T>> {
    if table.has(key) { read(table).map(Some) } else { Some(None) }
}

fn word<T, const N: usize>(
    table: &Table<'_>,
    key: &str,
    what: &str,
    parse: impl Fn(&str) -> Option<T>,
    all: [&str; N],
) -> Option<T> {
    table.parsed(key, what, |text| parse(text).ok_or_else(|| format!("it must be {}", either(all))))
}

fn read_window(table: &Table<'_>) -> Option<WindowLength> {
    table.parsed("window", "a length of windows", |text| {
        WindowLength::parse(text).map_err(|error| match error {
            LengthError::Malformed => error.to_string(),
            LengthError::DividesNoDay => {
                "it must divide a day of 24 hours, like `5 min`, `1 h`, or `1 d`".to_owned()
            }
        })
    })
}

fn read_percentile(table: &Table<'_>) -> Option<Percentile> {
    let percent: QuantityTotal = table.decimal("percentile", "a percentile", Sign::NonNegative)?;
    let percentile = Percentile::new(percent);
    if percentile.is_none() {
        let message = format!("`percentile = \"{percent}\"` is not above 0 and at most 100");
        table.problem(table.line_of("percentile"), message, "write it like `percentile = \"95\"`");
    }
    percentile
}

fn read_greater_of(
    table: &Table<'_>,
    dimensions: Option<&BTreeSet<String>>,
    called: &str,
) -> Option<GreaterOf> {
    let greater = table.optional_table("greater_of", format!("the `greater_of` of {called}"))?;
    greater.only(GREATER_KEYS.keys);
    let dimension = read_dimension(&greater, "dimension", dimensions, called);
    let at = word(
        &greater,
        "at",
        "a time of which the greatest counts",
        AtWord::parse,
        AtWord::ALL.map(AtWord::as_str),
    );
    Some(GreaterOf { dimension: dimension?.into_boxed_str(), at: at? })
}

/// A dimension that the meter declares.
fn read_dimension(
    table: &Table<'_>,
    key: &str,
    declared: Option<&BTreeSet<String>>,
    called: &str,
) -> Option<String> {
    let text = table.text(key)?;
    if declared.is_some_and(|declared| !declared.contains(text.value)) {
        let message = format!("`{key}` names `{}`, and {called} declares no such dimension", text.value);
        table.problem(text.line, message, "correct the name, or add it to `dimensions`");
        return None;
    }
    Some(text.value.to_owned())
}

fn tell(table: &Table<'_>, error: &RulesError, called: &str) {
    let (line, help) = match error {
        RulesError::Missing { key, .. } => (table.line, format!("add {}", example(key))),
        RulesError::Useless { key, .. } => (table.line_of(key), format!("remove `{key}`")),
        RulesError::NotOfCounters(_) => {
            (table.line_of("aggregation"), "use sum, rate, max, min or average, or no `kind`".to_owned())
        }
    };
    table.problem(line, format!("{called}: {error}"), help);
}

fn example(key: &str) -> &'static str {
    match key {
        "carry" => "it, like `carry = \"15 min\"`: how long a value says something about what follows",
        "empty" => "`empty = \"zero\"` or `empty = \"skip\"`: what a window in which nothing counts is worth",
        "percentile" => "it, like `percentile = \"95\"`",
        "distinct" => "the dimension whose values are counted, like `distinct = \"address\"`",
        _ => "`per = \"account\"`, `customer`, `subject` or `resource`: within what values become one",
    }
}

fn read_dimensions(table: &Table<'_>) -> Option<BTreeSet<String>> {
    let mut dimensions = BTreeSet::new();
    for text in table.texts("dimensions")? {
        if text.value.is_empty() {
            table.problem(text.line, "a dimension has no name", "remove it");
        } else if !dimensions.insert(text.value.to_owned()) {
            table.problem(
                text.line,
                format!("the dimension `{}` is listed twice", text.value),
                "remove one of them",
            );
        }
    }
    Some(dimensions)
}
