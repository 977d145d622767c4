//! limits.toml: what a month may come to before somebody should look.
//!
//! Invariant: a limit that is returned names nothing that the catalog does not have.

use super::billing::{Known, read_billed_currency, read_skus};
use super::files::CatalogFiles;
use super::format::{CUSTOMERS, LIMIT_KEYS, LIMIT_LIST, LIMITS};
use super::toml::{Table, TomlFile, name};
use crate::catalog::limits::Limit;
use crate::catalog::problem::Findings;
use crate::exact::{Exact, exact};
use schemas::decimal::{Amount, Sign};
use schemas::id::CustomerId;
use schemas::name::check_name;
use std::collections::BTreeMap;

/// The limits, in the order of the file. Nothing where there is no file.
pub(super) fn read_limits(files: &CatalogFiles, known: &Known<'_>, findings: &Findings) -> Vec<Limit> {
    let mut limits = Vec::new();
    let Some((path, text)) = files.get_key_value(LIMITS) else { return limits };
    let Some(file) = TomlFile::parse(path, text, findings) else { return limits };
    let root = file.root();
    root.only(LIMIT_LIST.keys);
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for table in root.tables("limit", "this limit").unwrap_or_default() {
        table.only(LIMIT_KEYS.keys);
        let Some(id) = table.parsed("id", "a limit's id", |text| check_name(text).map(|()| text)) else {
            continue;
        };
        let table = table.named(format!("the limit {id}"));
        if let Some(line) = lines.get(id) {
            let message = format!("{} is declared twice; the first time in line {line}", table.name());
            table.problem(table.line, message, "remove one of them, or give it another id");
        }
        lines.entry(id).or_insert(table.line);
        limits.extend(read_limit(&table, id, known));
    }
    limits
}

fn read_limit(table: &Table<'_>, id: &str, known: &Known<'_>) -> Option<Limit> {
    let customer = match table.has("customer") {
        true => read_customer(table, known).map(Some),
        false => Some(None),
    };
    let of = if table.has("of") { read_skus(table, "of", known).map(Some) } else { Some(None) };
    let currency = read_billed_currency(table, known);
    if !table.has("amount") && !table.has("growth") {
        let message = format!("{} has neither an `amount` nor a `growth`", table.name());
        table.problem(table.line, message, "add one of them, like `amount = \"1000\"` or `growth = \"0.5\"`");
    }
    let amount = read_number(table, "amount");
    let growth = read_number(table, "growth");
    Some(Limit {
        id: id.into(),
        customer: customer?,
        of: of?,
        currency: currency?,
        amount: amount?,
        growth: growth?,
    })
}

fn read_customer(table: &Table<'_>, known: &Known<'_>) -> Option<CustomerId> {
    let id = table.parsed("customer", "a customer's id", name(CustomerId::new))?;
    if !known.customers.knows(&id) {
        let message = format!("the customer {id} of {} is not declared", table.name());
        table.problem(table.line_of("customer"), message, known.customers.help(CUSTOMERS));
    }
    Some(id)
}

/// A number above zero, if it is there.
fn read_number(table: &Table<'_>, key: &str) -> Option<Option<Exact>> {
    if !table.has(key) {
        return Some(None);
    }
    let number: Amount = table.decimal(key, "a number", Sign::NonNegative)?;
    if number.is_zero() {
        let message = format!("`{key}` of {} is not above 0", table.name());
        table.problem(table.line_of(key), message, "raise it, or remove the limit");
    }
    Some(Some(exact(number)))
}
