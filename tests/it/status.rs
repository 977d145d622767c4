//! The running month on one screen, what limits say of it, and what Prometheus is told.

use schemas::decimal::{Amount, Sign};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use tempfile::TempDir;
use tests::atcost::{Atcost, binary, json, utf8};
use tests::machine::{case, provided, workspace};

const MONTH: &str = "2025-10";

/// A folder with the catalogs of the month and of its close in one.
fn catalog() -> TempDir {
    let place = tempfile::tempdir().expect("the machine has room for a folder");
    for folder in ["month/catalog", "close/catalog"] {
        let from = case(folder).join(".");
        let copied = Command::new("cp").args(["-r", utf8(&from), utf8(place.path())]).status();
        assert!(copied.expect("cp runs").success());
    }
    place
}

/// A ledger with October's events.
fn october(catalog: &TempDir) -> Atcost {
    let atcost = Atcost::with_catalog(catalog.path());
    for events in ["month/events", "close/events"] {
        atcost.ok(&["ingest", "--files", utf8(&case(events)), "--until-caught-up"]);
    }
    atcost
}

fn status(atcost: &Atcost, code: i32) -> Value {
    let output = atcost.run(&["status", "--period", MONTH, "--format", "json"]);
    assert_eq!(output.code, Some(code), "{}", output.text());
    json(&output.stdout)
}

#[track_caller]
fn assert_fits(text: &str) {
    assert!(text.lines().count() <= 23, "more lines than a screen has:\n{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "wider than a screen: {line}");
    }
}

#[test]
fn a_month_is_one_screen() {
    let atcost = october(&catalog());
    let before = atcost.ok(&["status", "--period", MONTH]);
    assert_fits(&before);
    for wanted in [
        "2025-10 as of 2025-11-01T00:00:00Z: over, and not closed",
        "received ",
        "network.example/requests",
        "no invoice",
        "acme",
        "atcost doctor",
    ] {
        assert!(before.contains(wanted), "{wanted}:\n{before}");
    }
    assert!(!atcost.folder().join("runs/period=2025-10").exists(), "no run is written");
}

/// What came in says the last time of each meter; a source that was heard early in the month alone is late
/// at its end.
#[test]
fn what_came_in_names_who_was_not_heard_for_a_day() {
    let atcost = october(&catalog());
    let answer = status(&atcost, 0);
    let came_in = answer["came_in"].as_array().expect("types of events");
    let records: u64 = came_in.iter().map(|of| of["records"].as_u64().expect("a count")).sum();
    assert!(records > 0 && records <= answer["records"]["usage"].as_u64().expect("a count"), "{answer}");
    for of in came_in {
        let stalest = of["stalest"].as_array().expect("sources");
        let last = |of: &Value| of["last"].as_str().expect("an instant").to_owned();
        let order: Vec<String> = stalest.iter().map(last).collect();
        assert!(order.is_sorted() && order.last() == Some(&last(of)), "{of}");
        let late = order.iter().filter(|last| last.as_str() < "2025-10-30T23:00:00Z").count() as u64;
        assert_eq!(of["late"].as_u64(), Some(late), "{of}");
    }
    let late: u64 = came_in.iter().map(|of| of["late"].as_u64().expect("a count")).sum();
    assert!(late > 0, "{answer}");
    let text = atcost.ok(&["status", "--period", MONTH]);
    assert!(text.contains("not heard for a day; "), "{text}");
}

/// Publishes limits beside what is there.
fn limit(atcost: &Atcost, catalog: &TempDir, limits: &str) {
    fs::write(catalog.path().join("limits.toml"), limits).expect("the catalog can be written");
    atcost.ok(&["catalog", "publish", utf8(catalog.path())]);
}

fn of(rest: &str) -> String {
    format!(
        "[[limit]]\nid = \"std\"\ncustomer = \"acme\"\nof = [\"nimbus/NB-STD\"]\ncurrency = \"EUR\"\n{rest}\n"
    )
}

/// A decimal, less or more by 10^-18 so many times.
fn moved(text: &str, by: i128) -> String {
    let amount = Amount::parse(text, Sign::Any).expect("an amount");
    Amount::from_units(amount.units() + by).expect("an amount").to_string()
}

#[test]
fn a_limit_is_passed_by_the_last_place_alone() {
    let catalog = catalog();
    let atcost = october(&catalog);
    limit(&atcost, &catalog, &of("amount = \"1000000\""));
    let wide = status(&atcost, 0);
    let used = wide["limits"][0]["used"].as_str().expect("an amount").to_owned();
    assert_eq!((&wide["limits"][0]["state"], &wide["limits"][0]["percent"]), (&"within".into(), &"0".into()));
    // What acme is charged of the SKU, to 18 places.
    let charges = fs::read_to_string(case("month/expected/charges.csv")).expect("the case");
    let header: Vec<&str> = charges.lines().next().expect("a header").split(',').collect();
    let place = |name| header.iter().position(|column| *column == name).expect("the column");
    let units = charges.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let units = units.filter(|row| row[place("sku")] == "NB-STD" && row[place("customer")] == "acme");
    let sum: i128 =
        units.map(|row| Amount::parse(row[place("amount")], Sign::Any).expect("an amount").units()).sum();
    assert_eq!(Amount::parse(&used, Sign::Any).expect("an amount").units(), sum);

    limit(&atcost, &catalog, &of(&format!("amount = \"{used}\"")));
    let full = status(&atcost, 0);
    assert_eq!(
        (&full["limits"][0]["state"], &full["limits"][0]["percent"]),
        (&"within".into(), &"100".into())
    );
    limit(&atcost, &catalog, &of(&format!("amount = \"{}\"", moved(&used, -1))));
    let passed = status(&atcost, 1);
    assert_eq!(passed["limits"][0]["state"], "passed", "{passed}");
    let output = atcost.run(&["status", "--period", MONTH]);
    assert!(output.code == Some(1) && output.stdout.contains("! limit std: "), "{}", output.text());
    assert_fits(&output.stdout);
}

#[test]
fn growth_is_told_exactly() {
    let catalog = catalog();
    let atcost = october(&catalog);
    limit(&atcost, &catalog, &of("growth = \"0.5\""));
    let passed = status(&atcost, 1);
    let told = &passed["limits"][0];
    // In September acme used 7 hours at 0.10, and may use half as much again.
    assert_eq!(
        (&told["state"], &told["before"], &told["most"]),
        (&"passed".into(), &"0.7".into(), &"1.05".into())
    );
    let used = told["used"].as_str().expect("an amount").to_owned();

    // With three hours more it is 1 EUR.
    let september = atcost.folder().join("september.ndjson");
    let event = r#"{"specversion":"1.0","id":"s-1","source":"//edge/ams/node-1","type":"compute.example/instance-hours","subject":"projects/a1","time":"2025-09-10T08:00:00Z","datacontenttype":"application/json","data":{"value":"3","dimensions":{"class":"standard"},"provider":"nimbus"}}"#;
    fs::write(&september, format!("{event}\n")).expect("a file");
    atcost.ok(&["ingest", "--files", utf8(&september), "--until-caught-up"]);
    limit(
        &atcost,
        &catalog,
        &of(&format!("growth = \"{}\"", moved(&used, -Amount::parse("1", Sign::Any).expect("one").units()))),
    );
    let full = status(&atcost, 0);
    let told = &full["limits"][0];
    assert_eq!(
        (&told["before"], &told["most"], &told["percent"]),
        (&"1".into(), &used.as_str().into(), &"100".into())
    );
    let less = moved(&used, -Amount::parse("1", Sign::Any).expect("one").units() - 1);
    limit(&atcost, &catalog, &of(&format!("growth = \"{less}\"")));
    assert_eq!(status(&atcost, 1)["limits"][0]["state"], "passed");
}

#[test]
fn prometheus_is_told_what_limits_say() {
    let catalog = catalog();
    let atcost = october(&catalog);
    limit(
        &atcost,
        &catalog,
        &(of("amount = \"1\"") + "\n" + &of("growth = \"1\"").replace("\"std\"", "\"grown\"")),
    );
    let file = atcost.folder().join("atcost.prom");
    let output = atcost.run(&["status", "--period", MONTH, "--metrics", utf8(&file)]);
    assert_eq!(output.code, Some(1), "{}", output.text());
    let text = fs::read_to_string(&file).expect("the metrics are written");
    for wanted in [
        "# TYPE atcost_limit_passed gauge\n",
        "\natcost_limit_passed{limit=\"std\",currency=\"EUR\",period=\"2025-10\"} 1\n",
        "\natcost_limit_untold{limit=\"grown\",currency=\"EUR\",period=\"2025-10\"} 0\n",
        "\natcost_limit_most{limit=\"grown\",currency=\"EUR\",period=\"2025-10\"} 1.4\n",
        "\natcost_limit_most{limit=\"std\",currency=\"EUR\",period=\"2025-10\"} 1\n",
        "\natcost_month_invoice_missing{provider=\"lynx\",period=\"2025-10\"} 1\n",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    // docs/operations.md lists each, and no other of these.
    let names: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let operations = fs::read_to_string(workspace().join("docs/operations.md")).expect("docs/operations.md");
    let listed: BTreeSet<&str> = operations
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("atcost_limit_") || name.starts_with("atcost_month_"))
        .collect();
    assert_eq!(names, listed, "left what is written, right what docs/operations.md lists");
    let left: Vec<_> = fs::read_dir(atcost.folder()).expect("the folder").collect();
    let unfinished = left.iter().filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().contains("unfinished"))
    });
    assert_eq!(unfinished.count(), 0);
}

#[test]
fn watching_needs_a_terminal() {
    let atcost = october(&catalog());
    let output = atcost.run(&["status", "--period", MONTH, "--watch"]);
    assert!(output.code == Some(2) && output.stdout.is_empty(), "{}", output.text());
    assert!(output.stderr.contains("stdout is no terminal"), "{}", output.text());
}

#[test]
fn a_watched_terminal_is_as_it_was_after_ctrl_c() {
    let atcost = october(&catalog());
    let python = provided("ATCOST_PYTHON", "python/bin/python");
    let script = workspace().join("tests/python/watch_status.py");
    let output = Command::new(python)
        .arg("-B")
        .arg(script)
        .args([utf8(binary()), utf8(atcost.folder()), MONTH])
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer = json(&String::from_utf8_lossy(&output.stdout));
    let sent = answer["sent"].as_str().expect("what the terminal was sent");
    assert_eq!(answer["code"], 0, "{sent:?}");
    assert!(sent.starts_with("\u{1b}[?1049h\u{1b}[?25l"), "{sent:?}");
    assert!(sent.ends_with("\u{1b}[?25h\u{1b}[?1049l"), "{sent:?}");
    assert!(sent.contains("2025-10 as of 2025-11-01T00:00:00Z"), "{sent:?}");
    let hidden: Vec<_> = fs::read_dir(atcost.folder().join("runs"))
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect())
        .unwrap_or_default();
    assert!(hidden.is_empty(), "what a broken look had made is gone: {hidden:?}");
}
