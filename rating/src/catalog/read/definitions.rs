//! catalog.toml, meters.toml and customers.toml: the names that everything else refers to.
//!
//! Whether a name is used is deliberately not asked here.
//!
//! Invariant: a name is declared at most once, and a name is called unknown only where all of its
//! kind could be read.

use super::files::CatalogFiles;
use super::format::{
    CATALOG, CUSTOMER_KEYS, CUSTOMER_LIST, METER_KEYS, METER_LIST, OPERATOR_KEYS, TableKeys,
};
use super::toml::{Table, TomlFile, name};
use crate::catalog::contents::{Aggregation, Customer, CustomerKind, Meter};
use crate::catalog::problem::Findings;
use crate::units::Unit;
use crate::words::either;
use jiff::tz::TimeZone;
use schemas::id::{CustomerId, MeterType};
use schemas::money::Currency;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The things that a file declares. One with a problem of its own is still declared, so that a
/// reference to it is no second problem.
pub(super) struct Declared<K, V> {
    pub values: BTreeMap<K, V>,
    pub lines: BTreeMap<K, usize>,
    /// False when the file is missing or no TOML, or a name in it cannot be read: then no other
    /// name can be called unknown.
    complete: bool,
}

impl<K: Ord + Clone + fmt::Display, V> Declared<K, V> {
    /// Reads the one list of a file: `list` declares it, `entry` the keys of its tables.
    fn read(
        (list, key): (TableKeys, &str),
        entry: TableKeys,
        files: &CatalogFiles,
        findings: &Findings,
        read: impl Fn(&Table<'_>) -> (Option<K>, Option<V>),
    ) -> Self {
        let mut declared = Self { values: BTreeMap::new(), lines: BTreeMap::new(), complete: false };
        let Some(file) =
            files.get_key_value(list.file).and_then(|(path, text)| TomlFile::parse(path, text, findings))
        else {
            return declared;
        };
        declared.complete = true;
        let root = file.root();
        root.only(list.keys);
        for table in root.tables(key, &format!("this {key}")).unwrap_or_default() {
            table.only(entry.keys);
            let (Some(id), value) = read(&table) else {
                declared.complete = false;
                continue;
            };
            if let Some(line) = declared.lines.get(&id) {
                table.problem(
                    table.line,
                    format!("the {key} {id} is declared twice; the first time in line {line}"),
                    "remove one of them, or give it another name",
                );
                continue;
            }
            declared.lines.insert(id.clone(), table.line);
            if let Some(value) = value {
                declared.values.insert(id, value);
            }
        }
        declared
    }

    pub fn knows(&self, key: &K) -> bool {
        !self.complete || self.lines.contains_key(key)
    }

    /// Help for a name that is not declared. All names are listed where a person can still read the
    /// list.
    pub fn help(&self, file: &str) -> String {
        let names: Vec<String> = self.lines.keys().map(ToString::to_string).collect();
        match names.len() {
            1..=MOST_NAMES => format!("declare it in {file}, or use one of: {}", names.join(", ")),
            _ => format!("declare it in {file}, or correct the name"),
        }
    }
}

const MOST_NAMES: usize = 12;

/// The things that SKUs may refer to.
pub(super) struct Context<'c> {
    pub meters: &'c Declared<MeterType, Meter>,
    pub customers: &'c Declared<CustomerId, Customer>,
    /// Where the provider's dates begin.
    pub time_zone: &'c TimeZone,
}

/// The operator's id and the catalog's name.
pub(super) fn read_operator(files: &CatalogFiles, findings: &Findings) -> Option<(String, String)> {
    let (path, text) = files.get_key_value(CATALOG)?;
    let file = TomlFile::parse(path, text, findings)?;
    let root = file.root();
    root.only(OPERATOR_KEYS.keys);
    let (operator, name) = (root.label("operator"), root.label("name"));
    Some((operator?, name?))
}

pub(super) fn read_meters(files: &CatalogFiles, findings: &Findings) -> Declared<MeterType, Meter> {
    Declared::read((METER_LIST, "meter"), METER_KEYS, files, findings, |table| {
        let meter = table.parsed("type", "a meter's name", name(MeterType::new));
        let unit = table.parsed("unit", "a unit of UCUM", Unit::parse);
        let aggregation = table.parsed("aggregation", "an aggregation that is supported", |text| {
            Aggregation::parse(text).ok_or_else(|| not_supported(text))
        });
        let dimensions = if table.has("dimensions") { read_dimensions(table) } else { Some(BTreeSet::new()) };
        let read = || {
            Some(Meter {
                meter: meter.clone()?,
                unit: unit?,
                aggregation: aggregation?,
                dimensions: dimensions?,
            })
        };
        (meter.clone(), read())
    })
}

/// Aggregations that other systems have and this one does not.
const KNOWN_AGGREGATIONS: [&str; 9] =
    ["count", "min", "max", "average", "avg", "latest", "unique_count", "unique", "p95"];

fn not_supported(aggregation: &str) -> String {
    let only = format!("only {} is", either(Aggregation::ALL.map(Aggregation::as_str)));
    if KNOWN_AGGREGATIONS.contains(&aggregation) {
        format!("{aggregation} is known but not supported; {only}")
    } else {
        only
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

pub(super) fn read_customers(files: &CatalogFiles, findings: &Findings) -> Declared<CustomerId, Customer> {
    Declared::read((CUSTOMER_LIST, "customer"), CUSTOMER_KEYS, files, findings, |table| {
        let id = table.parsed("id", "a customer's id", name(CustomerId::new));
        let label = table.label("name");
        let currency = read_currency(table);
        let kind = if table.has("kind") {
            table.parsed("kind", "a kind of customer", |text| {
                let kinds = || format!("it must be {}", either(CustomerKind::ALL.map(CustomerKind::as_str)));
                CustomerKind::parse(text).ok_or_else(kinds)
            })
        } else {
            Some(CustomerKind::Customer)
        };
        let read = || Some(Customer { id: id.clone()?, name: label?, kind: kind?, currency: currency? });
        (id.clone(), read())
    })
}

/// A currency is never assumed.
pub(super) fn read_currency(table: &Table<'_>) -> Option<Currency> {
    table.parsed("currency", "a currency", |text| {
        Currency::from_code(text).ok_or("it must be an upper-case code of ISO 4217 that has minor units")
    })
}
