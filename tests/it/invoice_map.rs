//! Mappings that `atcost invoice map` proposes: each with its reason, none taken by itself, and right when
//! somebody pastes them.
//!
//! The case is `tests/cases/close` without its `invoice_map.csv`.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tests::atcost::{Atcost, json, utf8};
use tests::machine::case;

const MONTH: &str = "2025-10";

/// A ledger with October and its invoices, and the folder of its catalog, in which no text has a meaning.
fn without_maps() -> (Atcost, TempDir) {
    let place = tempfile::tempdir().expect("the machine has room for a folder");
    for folder in ["month/catalog", "close/catalog"] {
        let from = case(folder).join(".");
        let copied = Command::new("cp").args(["-r", utf8(&from), utf8(place.path())]).status();
        assert!(copied.expect("cp runs").success());
    }
    for provider in ["lynx", "stow", "vireo"] {
        fs::remove_file(map_of(place.path(), provider)).expect("the case has a map");
    }
    let atcost = Atcost::with_catalog(place.path());
    for events in ["month/events", "close/events"] {
        atcost.ok(&["ingest", "--files", utf8(&case(events)), "--until-caught-up"]);
    }
    for (provider, file) in [
        ("nimbus", "nimbus-2025-10.csv"),
        ("stow", "stow-2025-10.csv"),
        ("lynx", "lynx-2025-10.csv"),
        ("vireo", "vireo-2025-10.jsonl"),
    ] {
        let file = case("close/invoices").join(file);
        atcost.ok(&["invoice", "import", "--provider", provider, utf8(&file)]);
    }
    (atcost, place)
}

fn map_of(catalog: &Path, provider: &str) -> PathBuf {
    catalog.join("providers").join(provider).join("invoice_map.csv")
}

/// What is proposed, as `kind text → id, sure: reasons`.
fn proposed(answer: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let line = |proposal: &Value| {
        let reasons = proposal["reasons"].as_array().expect("reasons").iter();
        let reasons: Vec<String> = reasons.map(|reason| text(&reason["reason"])).collect();
        let of = &proposal["of"];
        format!(
            "{} {} → {}, {}: {}",
            text(&of["kind"]),
            text(&of["text"]),
            text(&proposal["id"]),
            text(&proposal["sure"]),
            reasons.join(" ")
        )
    };
    answer["proposals"].as_array().expect("proposals").iter().map(line).collect()
}

fn without(answer: &Value) -> Vec<&str> {
    let texts = answer["without"].as_array().expect("texts").iter();
    texts.map(|of| of["text"].as_str().expect("a text")).collect()
}

/// The columns of a comparison that a mapping decides.
const COLUMNS: [&str; 9] = [
    "provider",
    "sku",
    "sub_account",
    "invoice_text",
    "charge_period_start",
    "ledger_amount",
    "invoice_amount",
    "verdict",
    "class",
];

/// The rows of some providers of the case, as its author's program compared them.
fn expected(providers: &BTreeSet<&str>) -> BTreeSet<String> {
    let text = fs::read_to_string(case("close/expected/comparison.csv")).expect("the case");
    // Lines with a quote are of no SKU and need no mapping.
    let mut lines = text.lines().filter(|line| !line.contains('"')).map(|line| line.split(','));
    let header: Vec<&str> = lines.next().expect("a header").collect();
    let row = |line: std::str::Split<'_, char>| {
        let of: BTreeMap<&str, &str> = header.iter().copied().zip(line).collect();
        providers.contains(of["provider"]).then(|| COLUMNS.map(|name| of[name]).join(","))
    };
    lines.filter_map(row).collect()
}

fn compared(atcost: &Atcost, providers: &BTreeSet<&str>) -> BTreeSet<String> {
    let output = atcost.run(&["reconcile", "--period", MONTH, "--format", "json"]);
    let answer = json(&output.stdout);
    let row = |row: &Value| {
        let cell = |name| row[name].as_str().unwrap_or_default().to_owned();
        let line = COLUMNS.map(cell).join(",");
        let is_quoted = cell("invoice_text").contains(',');
        (providers.contains(row["provider"].as_str().expect("a provider")) && !is_quoted).then_some(line)
    };
    answer["rows"].as_array().expect("rows").iter().filter_map(row).collect()
}

#[test]
fn each_text_is_proposed_with_its_reasons() {
    let (atcost, _catalog) = without_maps();
    let answer = |provider: &str, code: i32| {
        let output = atcost.run(&["invoice", "map", "--provider", provider, "--format", "json"]);
        assert_eq!(output.code, Some(code), "{}", output.text());
        json(&output.stdout)
    };
    // 20 hours of K-300 cost 10; nobody in the ledger has used so much.
    let lynx = answer("lynx", 1);
    assert_eq!(
        proposed(&lynx),
        [
            "account K-100 → acme, high: amount quantity",
            "sku ANFRAGEN/ → LX-REQ, medium: quantity",
            "sku PORT/ → LX-PORT, medium: name",
            "sku QV/ → LX-XC, medium: amount",
            "sku TRANSIT/EU → LX-EU, medium: name",
            "sku TRANSIT/WELT → LX-WORLD, medium: price",
        ]
    );
    assert_eq!(without(&lynx), ["K-300"]);
    // The free requests need none.
    let stow = answer("stow", 1);
    assert_eq!(
        proposed(&stow),
        [
            "sku TimedStorage-ByteHrs → ST-HOT, high: name price",
            "sku TimedStorage-Intro → ST-COLD, high: name quantity",
        ]
    );
    assert_eq!(without(&stow), ["Premium-Support"]);
    assert_eq!(stow["free"], 1, "{stow}");
    let vireo = answer("vireo", 0);
    assert_eq!(
        proposed(&vireo),
        ["sku large-2025-09 → VI-LARGE, high: name amount", "sku small-2025-09 → VI-SMALL, medium: name"]
    );
    // A SKU of that id is not in the catalog, and nothing is near.
    let nimbus = answer("nimbus", 1);
    assert_eq!((proposed(&nimbus), without(&nimbus)), (Vec::new(), vec!["NB-ARM"]));
}

#[test]
fn what_is_pasted_checks_and_matches() {
    let (atcost, catalog) = without_maps();
    let lines = tempfile::tempdir().expect("the machine has room for a folder");
    for provider in ["lynx", "stow", "vireo"] {
        let out = lines.path().join(provider);
        let output = atcost.run(&["invoice", "map", "--provider", provider, "--out", utf8(&out)]);
        assert!(matches!(output.code, Some(0 | 1)), "{}", output.text());
        assert!(!map_of(catalog.path(), provider).exists(), "nothing is taken by itself");
        let again = atcost.run(&["invoice", "map", "--provider", provider, "--out", utf8(&out)]);
        assert!(again.code == Some(2) && again.stderr.contains("a new file"), "{}", again.text());
        fs::copy(&out, map_of(catalog.path(), provider)).expect("the catalog can be written");
    }
    let providers = BTreeSet::from(["lynx", "stow", "vireo"]);
    let wanted = expected(&providers);
    assert_ne!(compared(&atcost, &providers), wanted, "nothing is published yet");
    atcost.ok(&["catalog", "check", utf8(catalog.path())]);
    atcost.ok(&["catalog", "publish", utf8(catalog.path())]);
    let found = compared(&atcost, &providers);
    // K-300 is cedar's from July on, which no figure says.
    let missing: Vec<&String> = wanted.difference(&found).collect();
    let more: Vec<&String> = found.difference(&wanted).collect();
    assert_eq!(missing, ["lynx,LX-PORT,cedar,,2025-10-01T00:00:00Z,,10,variance,missing_in_ledger"]);
    assert_eq!(more, ["lynx,,K-300,PORT/,2025-10-01T00:00:00Z,,10,variance,unmapped"]);
    // What has a mapping now is not proposed again, and lines for a map that is there have no header.
    let vireo = atcost.ok(&["invoice", "map", "--provider", "vireo"]);
    assert_eq!(vireo, "every text of vireo in 2025-10 that costs something has a mapping\n");
}

#[test]
fn an_entry_begins_where_another_ends() {
    let (atcost, catalog) = without_maps();
    let map = "kind,text,id,from,until\nsku,TRANSIT/EU,LX-WORLD,2025-01-01,2025-10-01\nsku,TRANSIT/EU,LX-WORLD,2026-01-01,\n";
    fs::write(map_of(catalog.path(), "lynx"), map).expect("the catalog can be written");
    atcost.ok(&["catalog", "publish", utf8(catalog.path())]);
    let output = atcost.run(&["invoice", "map", "--provider", "lynx"]);
    let text = &output.stdout;
    assert!(text.contains("\nsku,TRANSIT/EU,LX-EU,2025-10-01,2026-01-01\n"), "{text}");
    assert!(text.contains("\nsku,TRANSIT/WELT,LX-WORLD,2025-09-01,\n"), "{text}");
    assert!(!text.contains("kind,text"), "the map has its header: {text}");
}

#[test]
fn without_an_invoice_there_is_nothing_to_map() {
    let (atcost, _catalog) = without_maps();
    for (arguments, sentence) in [
        (
            ["--provider", "otter"].as_slice(),
            "otter has no invoice; run `atcost invoice import --provider otter",
        ),
        (&["--provider", "lynx", "--period", "2025-11"], "lynx has no invoice of 2025-11"),
        (&["--provider", "nobody"], "the catalog in force has no provider nobody"),
    ] {
        let output = atcost.run(&[&["invoice", "map"], arguments].concat());
        assert!(output.code == Some(2) && output.stderr.contains(sentence), "{}", output.text());
    }
}
