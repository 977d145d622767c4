//! The month of `tests/cases/month`: its events as they lie there, and the figures that must come
//! out.

use crate::atcost::{Atcost, utf8};
use crate::duckdb::{Table, assert_same_rows, queries};
use crate::machine::case;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// The tables of a run, and the columns that the contract names; `expected/` has no ids.
const TABLES: &[(&str, &str)] = &[
    (
        "cost_lines",
        "cost_line_id provider billing_account sub_account sku charge_period_start charge_period_end currency quantity unit amount settled",
    ),
    (
        "charges",
        "charge_id cost_line_id provider billing_account sub_account sku charge_period_start charge_period_end currency customer subject kind retained_reason rule quantity amount",
    ),
    (
        "statement_lines",
        "statement_line_id cost_line_id provider billing_account sub_account sku charge_period_start charge_period_end currency customer kind retained_reason amount",
    ),
    ("unrated", "reason provider meter subject quantity events"),
];

/// One line of an event file.
#[derive(Debug, Clone)]
pub struct Line {
    /// The file's name and the 1-based line in it, as reports name a record.
    pub place: String,
    pub bytes: Vec<u8>,
    /// The event, unless the line must be refused.
    pub event: Option<Value>,
}

/// All lines in the order in which a file source reads them.
pub fn lines() -> Vec<Line> {
    let refused: BTreeSet<String> = strings(&summary()["refused"]);
    let mut files: Vec<_> = fs::read_dir(case("month/events"))
        .expect("the case is there")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let name = file.file_name().expect("a listed file has a name").to_string_lossy().into_owned();
        let bytes = fs::read(&file).expect("the case can be read");
        for (index, line) in
            bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
        {
            let place = format!("{name}:{}", index + 1);
            let event = (!refused.contains(&place))
                .then(|| serde_json::from_slice(line).expect("a line that is not refused is JSON"));
            lines.push(Line { place, bytes: line.to_vec(), event });
        }
    }
    lines
}

/// `expected/summary.json`.
pub fn summary() -> Value {
    serde_json::from_slice(&fs::read(case("month/expected/summary.json")).expect("the case is there"))
        .expect("the summary is JSON")
}

/// `expected/TABLE.csv`.
pub fn expected(table: &str) -> Table {
    let text =
        fs::read_to_string(case("month/expected").join(format!("{table}.csv"))).expect("the case is there");
    Table::from_csv(&text)
}

/// The strings of a JSON array.
pub fn strings(array: &Value) -> BTreeSet<String> {
    let items = array.as_array().unwrap_or_else(|| panic!("an array of strings, not {array}"));
    items
        .iter()
        .map(|item| item.as_str().unwrap_or_else(|| panic!("a string, not {item}")).to_owned())
        .collect()
}

/// A ledger with the month's catalog and nothing else.
pub fn ledger() -> Atcost {
    Atcost::with_catalog(&case("month/catalog"))
}

/// The answer of `atcost rate --period 2025-10 --format json`, and the folder it wrote. Unrated
/// usage is for the catalog to cover, no failure of the command.
#[track_caller]
pub fn rate(atcost: &Atcost) -> (Value, PathBuf) {
    let summary = atcost.json(&["rate", "--period", "2025-10"]);
    let folder = atcost.folder().join(summary["folder"].as_str().expect("the summary names the folder"));
    assert!(folder.is_dir(), "there is no folder {}", folder.display());
    (summary, folder)
}

/// Rates the month and compares every table, to the last place, with what is expected. Returns the
/// summary of the run.
#[track_caller]
pub fn assert_tables(atcost: &Atcost) -> Value {
    let (summary, folder) = rate(atcost);
    let select = |(table, columns): &(&str, &str)| {
        format!("SELECT {} FROM '{table}.parquet'", columns.replace(' ', ", "))
    };
    let statements: Vec<_> = TABLES.iter().map(select).collect();
    let tables = queries(&folder, &statements.iter().map(String::as_str).collect::<Vec<_>>());
    for ((name, _), mut actual) in TABLES.iter().zip(tables) {
        assert_types(name, &actual);
        let expected = expected(name);
        let shared: Vec<_> = actual.columns.iter().map(|column| expected.columns.contains(column)).collect();
        let keep = |row: Vec<Option<String>>| {
            row.into_iter().zip(&shared).filter(|(_, shared)| **shared).map(|(value, _)| value).collect()
        };
        actual.rows = actual.rows.into_iter().map(keep).collect();
        actual.columns.retain(|column| expected.columns.contains(column));
        assert_same_rows(name, &actual, &expected);
    }
    summary
}

/// Rates the month and compares the summary and every table with what is expected.
#[track_caller]
pub fn assert_figures(atcost: &Atcost) {
    let (actual, expected) = (assert_tables(atcost), summary());
    for (name, expected) in
        expected.as_object().expect("the summary is an object").iter().filter(|(name, _)| *name != "refused")
    {
        assert_eq!(plain(&actual[name]), plain(expected), "`{name}` of the summary");
    }
}

#[track_caller]
fn assert_types(table: &str, actual: &Table) {
    for column in &actual.columns {
        let wanted = match column.as_str() {
            "amount" | "settled" => "DECIMAL(38,18)",
            "quantity" => "DECIMAL(38,9)",
            "charge_period_start" | "charge_period_end" => "TIMESTAMP WITH TIME ZONE",
            "events" => "BIGINT",
            _ => "VARCHAR",
        };
        assert_eq!(actual.type_of(column).trim_start_matches('U'), wanted, "type of {table}.{column}");
    }
}

/// Decimals without trailing zeros, wherever they stand.
pub fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) if text.contains('.') => text.trim_end_matches('0').trim_end_matches('.').into(),
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

/// The month in a ledger, rated; the first value keeps the folder, the second is the run's.
pub fn rated() -> (Atcost, PathBuf) {
    let atcost = ledger();
    atcost.ok(&["ingest", "--files", utf8(&case("month/events")), "--until-caught-up"]);
    let (_, folder) = rate(&atcost);
    (atcost, folder)
}
