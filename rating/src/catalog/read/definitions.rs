//! catalog.toml and customers.toml, and what is declared: the names that everything else refers to.
//!
//! Whether a name is used is deliberately not asked here.
//!
//! Invariant: a name is declared at most once, and a name is called unknown only where all of its
//! kind could be read.

use super::files::CatalogFiles;
use super::format::{CATALOG, CUSTOMER_KEYS, CUSTOMER_LIST, KIND_KEYS, OPERATOR_KEYS, TableKeys};
use super::toml::{Table, TomlFile, name};
use crate::catalog::contents::{Customer, CustomerKind, Kinds, Meter};
use crate::catalog::problem::Findings;
use crate::rounding::Places;
use crate::units::Unit;
use crate::words::either;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemas::id::{CustomerId, MeterType};
use schemas::money::Currency;
use schemas::time::Anchor;
use std::collections::BTreeMap;
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

impl<K, V> Declared<K, V> {
    /// Nothing is declared, and nothing is unknown.
    pub fn unread() -> Self {
        Self { values: BTreeMap::new(), lines: BTreeMap::new(), complete: false }
    }
}

impl<K: Ord + Clone + fmt::Display, V> Declared<K, V> {
    /// Reads the one list of a file: `list` declares it, `entry` the keys of its tables.
    pub fn read(
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
    /// The provider's, where it could be read.
    pub anchor: Option<Anchor>,
    /// The provider's, where it could be read.
    pub currency: Option<Currency>,
    /// How the provider rounds steps.
    pub steps: Option<Places>,
    /// Where prices are tried without a catalog: what is counted is in this unit, or in the SKU's.
    pub trial: Option<Trial>,
}

/// Prices that are tried without a catalog: there are no meters and no customers to refer to.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    /// What is counted is in this unit; in the SKU's where none is given.
    pub unit: Option<Unit>,
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

/// A unit that converts and can hardly be meant makes a bill wrong by a factor.
pub(super) fn warn_of_unit(table: &Table<'_>, unit: Option<&Unit>) {
    if let Some(doubt) = unit.and_then(Unit::doubt) {
        table.warning(table.line_of("unit"), doubt);
    }
}

pub(super) fn read_customers(files: &CatalogFiles, findings: &Findings) -> Declared<CustomerId, Customer> {
    Declared::read((CUSTOMER_LIST, "customer"), CUSTOMER_KEYS, files, findings, |table| {
        let id = table.parsed("id", "a customer's id", name(CustomerId::new));
        let label = table.label("name");
        let currency = read_currency(table);
        let kinds = match table.has("kind") {
            false => Some(Kinds { first: CustomerKind::Customer, later: Vec::new() }),
            true if table.is_list("kind") => read_dated_kinds(table),
            true => read_kind(table, "kind").map(|first| Kinds { first, later: Vec::new() }),
        };
        let bills_to = match table.has("bills_to") {
            true => table.parsed("bills_to", "a customer's id", name(CustomerId::new)).map(Some),
            false => Some(None),
        };
        let read = || {
            Some(Customer {
                id: id.clone()?,
                name: label?,
                kinds: kinds?,
                currency: currency?,
                bills_to: bills_to?,
            })
        };
        (id.clone(), read())
    })
}

fn read_kind(table: &Table<'_>, key: &str) -> Option<CustomerKind> {
    table.parsed(key, "a kind of customer", |text| {
        let kinds = || format!("it must be {}", either(CustomerKind::ALL.map(CustomerKind::as_str)));
        CustomerKind::parse(text).ok_or_else(kinds)
    })
}

/// A kind and the dates at which it begins and ends, where they are written.
struct DatedKind {
    kind: CustomerKind,
    from: Option<Date>,
    until: Option<Date>,
    line: usize,
}

/// The kinds of a customer must follow one another without a gap: a customer of no kind could
/// neither be charged nor be left out.
fn read_dated_kinds(customer: &Table<'_>) -> Option<Kinds> {
    let tables = customer.tables("kind", "this kind")?;
    let read: Vec<Option<DatedKind>> = tables.iter().map(read_dated_kind).collect();
    let mut kinds = read.into_iter().collect::<Option<Vec<_>>>()?;
    kinds.sort_by_key(|kind| (kind.from, kind.line));
    let problem = |line: usize, message: String, help: &str| customer.problem(line, message, help);
    let (Some(first), Some(last)) = (kinds.first(), kinds.last()) else {
        problem(
            customer.line_of("kind"),
            "`kind` is an empty list".to_owned(),
            "write it like `kind = \"partner\"`",
        );
        return None;
    };
    let mut fine = true;
    if let Some(from) = first.from {
        problem(first.line, format!("there is no kind before {from}"), "remove the `from` of the first kind");
        fine = false;
    }
    if let Some(until) = last.until {
        problem(
            last.line,
            format!("there is no kind from {until} on"),
            "remove the `until` of the last kind",
        );
        fine = false;
    }
    for (one, next) in kinds.iter().zip(kinds.iter().skip(1)) {
        if one.until.is_none() || one.until != next.from {
            let date = |date: Option<Date>| date.map_or_else(|| "no day".to_owned(), |date| date.to_string());
            let message = format!(
                "one kind ends on {} (line {}) and the next one begins on {}",
                date(one.until),
                one.line,
                date(next.from)
            );
            problem(next.line, message, "let each kind begin on the day on which the one before it ends");
            fine = false;
        }
    }
    let later = kinds.iter().filter_map(|kind| Some((kind.from?, kind.kind))).collect();
    fine.then_some(Kinds { first: first.kind, later })
}

fn read_dated_kind(table: &Table<'_>) -> Option<DatedKind> {
    table.only(KIND_KEYS.keys);
    let kind = read_kind(table, "is");
    let date = |key: &str| if table.has(key) { table.day(key).map(Some) } else { Some(None) };
    let (from, until) = (date("from"), date("until"));
    let (kind, from, until) = (kind?, from?, until?);
    if let (Some(from), Some(until)) = (from, until)
        && until <= from
    {
        let message = format!("the kind ends on {until}, before or when it begins on {from}");
        table.problem(table.line_of("until"), message, "make `until` later than `from`, or remove the kind");
        return None;
    }
    Some(DatedKind { kind, from, until, line: table.line })
}

/// A currency is never assumed.
pub(super) fn read_currency(table: &Table<'_>) -> Option<Currency> {
    table.parsed("currency", "a currency", |text| {
        Currency::from_code(text).ok_or("it must be an upper-case code of ISO 4217 that has minor units")
    })
}
