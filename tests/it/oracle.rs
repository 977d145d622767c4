//! Random months, computed twice: by `atcost`, and by tests/python/oracle.py, which knows the rules
//! and none of this code.
//!
//! A month of a seed is always the same, so the seed in a failure is all that is needed to see it
//! again. Other seeds are tried by adding them here.

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tests::atcost::{Atcost, json, utf8};
use tests::duckdb::{Table, assert_same_rows, queries};
use tests::machine::{provided, workspace};
use tests::month::{plain, strings};

const TABLES: &[&str] = &["cost_lines", "charges", "statement_lines", "unrated", "completeness"];
/// Pairs of months with every feature of prices.
const PAIRS: [u32; 4] = [1, 2, 10, 17];
const SEEDS: std::ops::Range<u32> = 1..9;
/// Few enough that small sums, ties and bounds that are met exactly are not drowned.
const RECORDS: u32 = 700;

/// Runs a script of tests/python and returns what it printed.
#[track_caller]
fn python(script: &str, arguments: &[&str]) -> String {
    let python = provided("ATCOST_PYTHON", "python/bin/python");
    let output = Command::new(python)
        .arg("-B")
        .arg(workspace().join("tests/python").join(script))
        .args(arguments)
        .output()
        .expect("Python starts");
    assert!(
        output.status.success(),
        "{script} {}:\n{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the script prints UTF-8")
}

/// The table that the oracle wrote to `folder`.
fn expected(folder: &Path, table: &str) -> Table {
    let text =
        std::fs::read_to_string(folder.join(format!("{table}.csv"))).expect("the oracle wrote every table");
    Table::from_csv(&text)
}

fn agrees(seed: u32) {
    let month = tempfile::tempdir().expect("the machine has room for a folder");
    let at = |part: &str| month.path().join(part);
    let period = python("make_month.py", &[&seed.to_string(), utf8(month.path()), &RECORDS.to_string()]);
    let period = period.trim();
    python("oracle.py", &[utf8(month.path()), period, utf8(&at("expected"))]);

    let atcost = Atcost::with_catalog(&at("catalog"));
    atcost.ok(&["ingest", "--files", utf8(&at("events")), "--until-caught-up"]);
    let summary = atcost.json(&["rate", "--period", period]);

    let figures =
        json(&std::fs::read_to_string(at("expected/summary.json")).expect("the oracle wrote its summary"));
    for name in ["received", "usage", "duplicates", "conflicts", "rejected", "cost_total", "settled_total"] {
        assert_eq!(plain(&summary[name]), plain(&figures[name]), "seed {seed}: `{name}` of the summary");
    }
    assert_eq!(
        strings(&summary["refused"]),
        strings(&figures["refused"]),
        "seed {seed}: the records that are refused"
    );

    same_tables(&format!("seed {seed}"), &atcost, &summary, &at("expected"));
}

/// Compares the tables of a run with those that the oracle wrote.
fn same_tables(name: &str, atcost: &Atcost, summary: &Value, folder: &Path) {
    let wanted: Vec<_> = TABLES.iter().map(|table| expected(folder, table)).collect();
    let select = |(table, wanted): (&&str, &Table)| {
        let columns: Vec<String> = wanted.columns.iter().map(|column| format!("\"{column}\"")).collect();
        format!("SELECT {} FROM '{table}.parquet'", columns.join(", "))
    };
    let statements: Vec<_> = TABLES.iter().zip(&wanted).map(select).collect();
    let folder = atcost.folder().join(summary["folder"].as_str().expect("the summary names the folder"));
    let tables = queries(&folder, &statements.iter().map(String::as_str).collect::<Vec<_>>());
    for ((table, actual), wanted) in TABLES.iter().zip(&tables).zip(&wanted) {
        let may_be_empty = ["unrated", "completeness"].contains(table);
        assert!(
            may_be_empty || !wanted.rows.is_empty(),
            "{name}: nothing in {table}, so nothing was compared"
        );
        assert_same_rows(&format!("{name}: {table}"), actual, wanted);
    }
}

#[test]
fn random_months_come_out_as_another_implementation_says() {
    for seed in SEEDS {
        agrees(seed);
    }
}

/// Two months that follow each other, with every meter, price, way to share, grant and rate. Both
/// implementations are held to the figures.
#[test]
fn every_price_comes_out_to_the_last_place() {
    let case = tests::machine::case("prices");
    let atcost = Atcost::with_catalog(&case.join("catalog"));
    atcost.ok(&["ingest", "--files", utf8(&case.join("events")), "--until-caught-up"]);
    for period in ["2025-11", "2025-12"] {
        let folder = tempfile::tempdir().expect("the machine has room for a folder");
        python("oracle.py", &[utf8(&case), period, utf8(folder.path())]);
        let wanted = case.join("expected").join(period);
        for table in TABLES {
            let (found, wanted) = (expected(folder.path(), table), expected(&wanted, table));
            assert_same_rows(&format!("{period}: {table} of the oracle"), &found, &wanted);
        }
        let summary = atcost.json(&["rate", "--period", period]);
        same_tables(period, &atcost, &summary, &wanted);
        let figures = std::fs::read_to_string(wanted.join("summary.json")).expect("the figures");
        for (name, value) in json(&figures).as_object().expect("the summary is an object") {
            if name != "refused" {
                assert_eq!(plain(&summary[name]), plain(value), "{period}: `{name}` of the summary");
            }
        }
        // Every charge is explained by what made it, which is rated once more.
        let runs = atcost.folder().join(summary["folder"].as_str().expect("the summary names the folder"));
        let ids = queries(&runs, &["SELECT charge_id FROM 'charges.parquet'"]);
        for id in ids[0].rows.iter().flatten().flatten() {
            let explained = atcost.json(&["explain", id]);
            assert_eq!(explained["charge_id"], **id, "{explained}");
        }
    }
}

#[test]
fn random_pairs_of_months_come_out_as_another_implementation_says() {
    for seed in PAIRS {
        let pair = tempfile::tempdir().expect("the machine has room for a folder");
        let at = |part: &str| pair.path().join(part);
        let periods = python("make_prices.py", &[&seed.to_string(), utf8(pair.path())]);
        let atcost = Atcost::with_catalog(&at("catalog"));
        atcost.ok(&["ingest", "--files", utf8(&at("events")), "--until-caught-up"]);
        for period in periods.split_whitespace() {
            python("oracle.py", &[utf8(pair.path()), period, utf8(&at(period))]);
            let summary = atcost.json(&["rate", "--period", period]);
            same_tables(&format!("pair {seed}, {period}"), &atcost, &summary, &at(period));
        }
    }
}

/// The oracle is held to the contract too, or two implementations could agree on something else.
#[test]
fn the_oracle_knows_the_month() {
    let folder = tempfile::tempdir().expect("the machine has room for a folder");
    python("oracle.py", &[utf8(&tests::machine::case("month")), "2025-10", utf8(folder.path())]);
    for table in TABLES {
        if *table == "completeness" {
            continue;
        }
        let (found, wanted) = (expected(folder.path(), table), tests::month::expected(table));
        // The month's tables have no column that its catalog does not need.
        let columns = found.columns.clone();
        let unneeded = columns.iter().filter(|column| !wanted.columns.contains(column));
        let found = found.without(&unneeded.map(String::as_str).collect::<Vec<_>>());
        assert_same_rows(table, &found, &wanted);
    }
    let figures = json(
        &std::fs::read_to_string(folder.path().join("summary.json")).expect("the oracle wrote its summary"),
    );
    for (name, value) in tests::month::summary().as_object().expect("the summary is an object") {
        assert_eq!(plain(&figures[name]), plain(value), "`{name}` of the summary");
    }
}
