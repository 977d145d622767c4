//! A month by another catalog: `atcost what-if`, without a run and without publishing.

use schemas::decimal::{Amount, Sign};
use serde_json::Value;
use std::fs;
use std::process::Command;
use tests::atcost::{Atcost, utf8};
use tests::machine::case;

/// The month's ledger, and a catalog in which one price is another.
fn supposed(old: &str, new: &str) -> (Atcost, tempfile::TempDir) {
    let atcost = Atcost::with_catalog(&case("month/catalog"));
    atcost.ok(&["ingest", "--files", utf8(&case("month/events")), "--until-caught-up"]);
    let other = tempfile::tempdir().expect("the machine has room for a folder");
    let copied = Command::new("cp").args(["-r", utf8(&case("month/catalog")), utf8(other.path())]).status();
    assert!(copied.expect("cp runs").success());
    let prices = other.path().join("catalog/providers/nimbus/prices.toml");
    let text = fs::read_to_string(&prices).expect("the prices");
    assert!(text.contains(old), "{old} is in the prices");
    fs::write(&prices, text.replace(old, new)).expect("the prices can be written");
    (atcost, other)
}

fn units(amount: &Value) -> i128 {
    let text = amount.as_str().expect("an amount is a text");
    Amount::parse(text, Sign::Any).expect("an amount").units()
}

#[test]
fn only_what_another_price_touches_costs_something_else() {
    let (atcost, other) = supposed("unit_price = \"2.20\"", "unit_price = \"2.10\"");
    let folder = other.path().join("catalog");
    let arguments = ["what-if", "--catalog", utf8(&folder), "--period", "2025-10"];
    let answer = atcost.json(&arguments);
    let lines = answer["lines"].as_array().expect("lines");
    let changed: Vec<&str> = lines
        .iter()
        .filter(|line| line["difference"] != "0")
        .filter_map(|line| line["sku"].as_str())
        .collect();
    assert_eq!(changed, ["NB-GPU"], "{answer}");
    assert_eq!(lines[0]["sku"], "NB-GPU", "differences come first");
    // What it is less for customers and the operator together is what the line is less.
    let of_line = units(&lines[0]["difference"]);
    let customers = answer["customers"].as_array().expect("customers").iter();
    let of_customers: i128 = customers
        .filter(|row| row["currency"] == lines[0]["currency"])
        .map(|row| units(&row["difference"]))
        .sum();
    assert!(of_line < 0 && of_line == of_customers, "{answer}");
    assert!(!atcost.folder().join("runs/period=2025-10").exists(), "no run is written");
    let text = atcost.ok(&arguments);
    assert!(text.contains("NB-GPU") && text.contains("would cost the same"), "{text}");
}

#[test]
fn a_catalog_with_problems_is_not_compared() {
    let (atcost, other) = supposed("unit_price = \"2.20\"", "unit_price = \"two\"");
    let folder = other.path().join("catalog");
    let output = atcost.run(&["what-if", "--catalog", utf8(&folder), "--period", "2025-10"]);
    let said = &output.stdout;
    assert_eq!(output.code, Some(1), "{said}");
    assert!(said.contains("prices.toml:") && said.contains("nothing was compared"), "{said}");
}
