//! What a customer is shown of an explanation: its statement lines with grants and rates, its events as a
//! file, and nothing of others.

use crate::stories::copy;
use serde_json::json;
use std::fs;
use tests::atcost::Atcost;
use tests::duckdb::query;
use tests::machine::case;

/// The month of the cookbook's reseller, rated, and the id of a charge.
fn rated(sku: &str, customer: &str) -> (Atcost, String) {
    let atcost = Atcost::initialised();
    copy(&case("cookbook/reseller"), atcost.folder());
    atcost.ok(&["catalog", "publish", "catalog"]);
    atcost.ok(&["ingest", "--files", "events", "--until-caught-up"]);
    atcost.ok(&["rate", "--period", "2025-06"]);
    let statement = format!(
        "SELECT charge_id FROM 'runs/period=2025-06/run=*/charges.parquet' WHERE sku = '{sku}' AND customer = '{customer}'"
    );
    let table = query(atcost.folder(), &statement);
    let id = table.rows[0][0].clone().expect("the charge has an id");
    (atcost, id)
}

#[test]
fn grants_and_rates_are_in_the_chain() {
    let (atcost, id) = rated("NB-STD", "acme");
    let answer = atcost.json(&["explain", &id]);
    let lines = answer["statement_lines"].as_array().expect("statement lines");
    let of = |kind: &str| lines.iter().find(|line| line["kind"] == kind).expect("a line of the kind");
    // 100 of 200 h at 0.3333, in euros at the recorded rate; the grant takes a half.
    let charge = of("charge");
    assert_eq!([&charge["amount"], &charge["currency"]], ["33.33", "USD"], "{answer}");
    assert_eq!(
        [&charge["rate"], &charge["rate_source"], &charge["billed_currency"]],
        ["0.8532", "House bank 2025-06-30", "EUR"]
    );
    assert_eq!(of("grant")["grant"], "nova-acme");
    let text = atcost.ok(&["explain", &id]);
    assert!(text.contains("grant nova-acme") && text.contains("at 0.8532 (House bank 2025-06-30)"), "{text}");
    // What is billed is what the table has.
    let stored = query(
        atcost.folder(),
        "SELECT billed_amount::VARCHAR AS billed FROM 'runs/period=2025-06/run=*/statement_lines.parquet' \
         WHERE sku = 'NB-STD' AND customer = 'acme' AND kind = 'charge'",
    );
    let billed = stored.rows[0][0].clone().expect("an amount");
    let billed = billed.trim_end_matches('0').to_owned();
    assert_eq!(charge["billed_amount"], billed);
}

/// Whether none of the names stands in a text as a word of its own: `fir` is none in `first`.
#[track_caller]
fn assert_names_none_of(text: &str, names: &[&str]) {
    let is_of_a_word = |character: char| character.is_alphanumeric() || character == '_';
    for name in names {
        let found = text.match_indices(name).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + name.len()..]);
            !before.ends_with(is_of_a_word) && !after.starts_with(is_of_a_word)
        });
        assert!(!found, "{name}: {text}");
    }
}

#[test]
fn a_customer_sees_no_name_of_others() {
    let (atcost, id) = rated("NB-STD", "acme");
    let whole = atcost.ok(&["explain", &id]);
    assert!(whole.contains("cedar"), "{whole}");
    for format in ["table", "json"] {
        let own = atcost.ok(&["explain", &id, "--for", "acme", "--format", format]);
        assert_names_none_of(&own, &["cedar", "elm", "fir", "projects/c1", "projects/e1"]);
        assert!(own.contains("another customer") && own.contains("acme"), "{own}");
    }
    let output = atcost.run(&["explain", &id, "--for", "cedar"]);
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(output.stderr.contains("is not of cedar"), "{}", output.text());
}

#[test]
fn the_events_behind_a_charge_are_written_once() {
    let (atcost, id) = rated("NB-STD", "acme");
    let said = atcost.ok(&["explain", &id, "--events", "own.ndjson"]);
    assert!(said.contains("wrote 1 event to own.ndjson"), "{said}");
    let text = fs::read_to_string(atcost.folder().join("own.ndjson")).expect("the events");
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).expect("one line of JSON");
    assert_eq!([&line["id"], &line["value"], &line["source"]], ["h-1", "100", "//edge/ams/node-1"]);
    atcost.ok(&["explain", &id, "--for", "acme", "--events", "own.parquet"]);
    let table = query(atcost.folder(), "SELECT id, value::VARCHAR AS value FROM 'own.parquet'");
    assert_eq!(json!(table.rows), json!([["h-1", "100.000000000"]]));
    for (file, message) in [("own.ndjson", "is there already"), ("own.csv", ".ndjson or .parquet")] {
        let output = atcost.run(&["explain", &id, "--events", file]);
        assert_eq!(output.code, Some(2), "{}", output.text());
        assert!(output.stderr.contains(message), "{}", output.text());
    }
}

#[test]
fn a_partner_is_shown_the_customers_that_it_bills_and_no_others() {
    let (atcost, id) = rated("NB-STD", "elm");
    let own = atcost.ok(&["explain", &id, "--for", "cedar"]);
    assert!(own.contains("charged to elm"), "{own}");
    assert_names_none_of(&own, &["acme", "nova", "projects/a1"]);
    // Both levels have a line of it: the operator bills the partner, and the partner the customer.
    let answer = atcost.json(&["explain", &id, "--for", "cedar"]);
    let billers: Vec<_> = answer["statement_lines"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| {
            [line["biller"].as_str().expect("a biller"), line["customer"].as_str().expect("a customer")]
        })
        .collect();
    assert_eq!(billers, [["commons", "cedar"], ["cedar", "elm"]]);
}

#[test]
fn a_statement_line_is_explained_down_to_its_charges() {
    let (atcost, charge) = rated("NB-STD", "acme");
    let of = atcost.json(&["explain", &charge]);
    let lines = of["statement_lines"].as_array().expect("statement lines");
    let line = lines.iter().find(|line| line["kind"] == "grant").expect("acme is helped");
    let id = line["statement_line_id"].as_str().expect("an id");
    let answer = atcost.json(&["explain", id]);
    assert_eq!(answer["statement_line_id"], id);
    assert_eq!(answer["charges"][0]["charge_id"], charge.as_str());
    assert_eq!(answer["grant_terms"], line["grant_terms"]);
    assert_eq!(answer["rate_source"], line["rate_source"]);
    let text = atcost.ok(&["explain", id]);
    assert!(text.contains(&format!("charge {charge}")) && text.contains("beside it"), "{text}");
    let output = atcost.run(&["explain", id, "--events", "none.ndjson"]);
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(output.stderr.contains("explain one of its charges"), "{}", output.text());
    let others = ["cedar", "elm", "fir", "nova"];
    let own = atcost.ok(&["explain", id, "--for", "acme"]);
    assert_names_none_of(&own, &others);
    assert!(own.contains("another customer") && own.contains(" of others\n"), "{own}");
    // Of the others' lines there is one sum, by the same biller: with its own they are the cost line.
    let answer = atcost.json(&["explain", id, "--for", "acme"]);
    assert_names_none_of(&answer.to_string(), &others);
    let sharers = answer["sharers"].as_array().expect("its own lines");
    assert!(sharers.iter().all(|line| line["customer"] == "acme" && line["biller"] == "commons"), "{answer}");
    let cents = |amount: &serde_json::Value| {
        let digits = amount.as_str().expect("an amount").replace('.', "");
        digits.parse::<i64>().expect("an amount with two places")
    };
    let of_own: i64 = sharers.iter().map(|line| cents(&line["amount"])).sum();
    let of_all = cents(&answer["cost_line"]["settled"]);
    assert_eq!(of_own + cents(&answer["hidden_sharers"]["amount"]), of_all, "{answer}");
}

/// The deciding window of a percentile, between the last that is dropped and the next below.
#[test]
fn a_percentile_shows_the_windows_that_decide_it() {
    let atcost = Atcost::initialised();
    copy(&case("prices"), atcost.folder());
    atcost.ok(&["catalog", "publish", "catalog"]);
    atcost.ok(&["ingest", "--files", "events", "--until-caught-up"]);
    atcost.ok(&["rate", "--period", "2025-11"]);
    let ids = query(
        atcost.folder(),
        "SELECT charge_id FROM 'runs/period=2025-11/run=*/charges.parquet' WHERE sku = 'H-P95' ORDER BY charge_id",
    );
    let id = ids.rows[0][0].clone().expect("the charge has an id");
    let answer = atcost.json(&["explain", &id]);
    let scope = &answer["scopes"][0];
    let windows = scope["windows"].as_array().expect("windows");
    let deciding: Vec<_> = windows.iter().filter(|window| window["decides"] == true).collect();
    assert!(!deciding.is_empty() && deciding.len() < windows.len(), "{scope}");
    assert!(deciding.iter().all(|window| window["quantity"] == scope["quantity"]), "{scope}");
    let text = atcost.ok(&["explain", &id]);
    let rule = " dropped, the next one decides";
    assert!(text.contains(rule) && text.contains(" decides\n"), "{text}");
    // As many as it says.
    assert!(!text.contains("the 1 highest are") && !text.contains("the 0 highest are"), "{text}");
}

/// What a price does with a quantity before its steps is said, or the steps cannot be followed.
#[test]
fn free_units_and_increments_are_in_the_chain() {
    let atcost = Atcost::initialised();
    copy(&case("prices"), atcost.folder());
    atcost.ok(&["catalog", "publish", "catalog"]);
    atcost.ok(&["ingest", "--files", "events", "--until-caught-up"]);
    atcost.ok(&["rate", "--period", "2025-11"]);
    for (sku, said, key, value) in [
        ("K-IP", "the first 2 of a billing period cost nothing", "free", json!("2")),
        (
            "K-JOB",
            "counted in multiples of 1 h, rounded up",
            "increment",
            json!({ "size": "1", "mode": "up" }),
        ),
    ] {
        let ids = query(
            atcost.folder(),
            &format!(
                "SELECT charge_id FROM 'runs/period=2025-11/run=*/charges.parquet' WHERE sku = '{sku}' ORDER BY charge_id"
            ),
        );
        let id = ids.rows[0][0].clone().expect("the charge has an id");
        let text = atcost.ok(&["explain", &id]);
        assert!(text.contains(said), "{text}");
        let line = &atcost.json(&["explain", &id])["cost_line"];
        assert_eq!(line[key], value, "{line}");
        let other = if key == "free" { "increment" } else { "free" };
        assert_eq!(line[other], json!(null), "{line}");
    }
}

#[test]
fn what_no_event_is_behind_has_none_to_write() {
    let (atcost, id) = rated("NB-SUP", "acme");
    let output = atcost.run(&["explain", &id, "--events", "none.ndjson"]);
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(output.stderr.contains("no events are behind charge"), "{}", output.text());
    assert!(!atcost.folder().join("none.ndjson").exists());
}
