//! What a running month may come to: `atcost forecast`, as of an instant, by hand-computed figures.

use serde_json::{Value, json};
use std::fs;
use tests::atcost::{Atcost, utf8};
use tests::machine::case;

const METERS: &str = r#"
[[meter]]
type        = "compute.example/hours"
unit        = "h"
aggregation = "sum"
dimensions  = ["class"]

[[meter]]
type        = "compute.example/peak"
events      = "compute.example/hours"
unit        = "h"
aggregation = "max"
per         = "account"
"#;

const PROVIDER: &str = r#"
id              = "kestrel"
name            = "Kestrel"
billing_account = "K-1"
currency        = "EUR"
time_zone       = "UTC"

[rounding]
mode = "half-up"
"#;

/// A graduated price, one that changes on the 16th, a peak, a fee that is due later and support on all.
const PRICES: &str = r#"
[[sku]]
id         = "K-STD"
name       = "Standard"
meter      = "compute.example/hours"
match      = { class = "standard" }
unit       = "h"
allocation = "proportional"
  [[sku.price]]
  from  = "2025-01-01"
  model = "graduated"
  tiers = [{ up_to = "100", unit_price = "1" }, { unit_price = "0.5" }]

[[sku]]
id         = "K-GPU"
name       = "GPU"
meter      = "compute.example/hours"
match      = { class = "gpu" }
unit       = "h"
allocation = "proportional"
  [[sku.price]]
  from       = "2025-01-01"
  until      = "2025-06-16"
  model      = "per_unit"
  unit_price = "3"
  [[sku.price]]
  from       = "2025-06-16"
  model      = "per_unit"
  unit_price = "2"

[[sku]]
id         = "K-PEAK"
name       = "Peak"
meter      = "compute.example/peak"
unit       = "h"
allocation = "proportional"
  [[sku.price]]
  from       = "2025-01-01"
  model      = "per_unit"
  unit_price = "0.1"

[[sku]]
id         = "K-SETUP"
name       = "Set-up"
allocation = "fixed"
shares     = { acme = "1" }
  [[sku.price]]
  from   = "2025-06-20"
  model  = "flat"
  amount = "40"
  every  = "once"

[[sku]]
id         = "K-SUP"
name       = "Support"
of         = ["K-STD", "K-GPU"]
allocation = "proportional"
  [[sku.price]]
  from       = "2025-01-01"
  model      = "per_unit"
  unit_price = "0.10"
"#;

const BINDINGS: &str = "subject,customer,from,until
projects/a,acme,2025-01-01T00:00:00Z,
projects/m,acme,2025-01-01T00:00:00Z,2025-06-05T00:00:00Z
projects/m,birch,2025-06-05T00:00:00Z,
";

fn event(id: &str, time: &str, subject: &str, class: &str, value: &str) -> String {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "//edge", "type": "compute.example/hours",
        "subject": subject, "time": time, "data": { "value": value, "dimensions": { "class": class } },
    });
    format!("{event}\n")
}

/// Until the 11th: 60 standard hours of projects/a, and 30 GPU hours of projects/m, which was acme's until
/// the 5th and is birch's since.
fn ledger() -> Atcost {
    let atcost = Atcost::initialised();
    let write = |file: &str, text: &str| {
        let path = atcost.folder().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        fs::write(path, text).expect("the file can be written");
    };
    write("catalog/catalog.toml", "operator = \"commons\"\nname = \"Commons\"\n");
    let customer = |id: &str| format!("[[customer]]\nid = \"{id}\"\nname = \"{id}\"\ncurrency = \"EUR\"\n");
    write("catalog/customers.toml", &[customer("acme"), customer("birch")].concat());
    write("catalog/bindings.csv", BINDINGS);
    write("catalog/meters.toml", METERS);
    write("catalog/providers/kestrel/provider.toml", PROVIDER);
    write("catalog/providers/kestrel/prices.toml", PRICES);
    let events = [
        event("1", "2025-06-02T00:00:00Z", "projects/a", "standard", "60"),
        event("2", "2025-06-03T00:00:00Z", "projects/m", "gpu", "10"),
        event("3", "2025-06-06T00:00:00Z", "projects/m", "gpu", "20"),
        // After the instant that is asked for.
        event("4", "2025-06-12T00:00:00Z", "projects/a", "standard", "1000"),
    ];
    write("events/1.ndjson", &events.concat());
    atcost.ok(&["catalog", "publish", "catalog"]);
    atcost.ok(&["ingest", "--files", "events", "--until-caught-up"]);
    atcost
}

const AS_OF: [&str; 5] = ["forecast", "--period", "2025-06", "--at", "2025-06-11T00:00:00Z"];

#[track_caller]
fn assert_line(answer: &Value, sku: &str, figures: [&str; 2], quantities: Option<[&str; 2]>) {
    let lines = answer["lines"].as_array().expect("lines");
    let line = lines.iter().find(|line| line["sku"] == sku).unwrap_or_else(|| panic!("{sku}: {answer}"));
    assert_eq!([&line["so_far"], &line["estimate"]], figures, "{sku}: {answer}");
    if let Some(quantities) = quantities {
        assert_eq!([&line["quantity_so_far"], &line["quantity_estimate"]], quantities, "{sku}");
    }
}

/// Ten of the thirty days of June are over, so that twice as much follows.
#[test]
fn usage_goes_on_at_the_rate_so_far_through_the_price_model() {
    let atcost = ledger();
    let answer = atcost.json(&AS_OF);
    // 60 h become 180 h: 100 at 1 and 80 at 0.5.
    assert_line(&answer, "K-STD", ["60", "140"], Some(["60", "180"]));
    // 3 h a day: 15 until the 16th at 3, then 15 days at 2: 45 × 3 + 45 × 2.
    assert_line(&answer, "K-GPU", ["90", "225"], Some(["30", "90"]));
    // A peak does not grow, and a fee falls due or does not.
    assert_line(&answer, "K-PEAK", ["6", "6"], Some(["60", "60"]));
    assert_line(&answer, "K-SETUP", ["40", "40"], None);
    // 10 % of what the two settle at.
    assert_line(&answer, "K-SUP", ["15", "36.5"], None);
    assert_eq!(answer["is_estimate"], true);
    assert!(!atcost.folder().join("runs/period=2025-06").exists(), "no run is written");
}

/// What projects/m goes on to use is birch's, whose it is now.
#[test]
fn what_goes_on_is_for_whoever_it_is_bound_to_now() {
    let atcost = ledger();
    let answer = atcost.json(&AS_OF);
    let of = |customer: &str, figure: &str| {
        let rows = answer["customers"].as_array().expect("customers");
        let row = rows.iter().find(|row| row["customer"] == customer).expect("the customer");
        row[figure].as_str().expect("an amount").to_owned()
    };
    // Standard, and the fee of 40, are acme's. Of the GPU it has 10 of 30 h, which are 10 of the 45
    // until the 16th, and none after: 30 of 90, then of 225. The peak of 6 is shared by each one's own,
    // 60 and 10 of acme and 20 of birch. Support is 10 % of what each bears.
    let acme = (of("acme", "so_far"), of("acme", "estimate"));
    assert_eq!(acme, ("143.67".to_owned(), "231.67".to_owned()), "60 + 30 + 4.67 + 40 + 9");
    let birch = (of("birch", "so_far"), of("birch", "estimate"));
    assert_eq!(birch, ("67.33".to_owned(), "215.83".to_owned()), "60 + 1.33 + 6");
}

#[test]
fn what_cannot_be_known_is_said() {
    let atcost = ledger();
    let answer = atcost.json(&AS_OF);
    let rows = answer["unknown"].as_array().expect("a list");
    let found: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| (row["sku"].as_str().unwrap_or(""), row["why"].as_str().unwrap_or("")))
        .collect();
    for expected in
        [("K-STD", "tiers"), ("K-GPU", "price"), ("K-PEAK", "not-extrapolated"), ("K-SETUP", "not-yet-due")]
    {
        assert!(found.contains(&expected), "{expected:?}: {answer}");
    }
    let text = atcost.ok(&AS_OF);
    assert!(text.contains("an estimate") && text.contains("! kestrel K-PEAK: it does not grow"), "{text}");
}

/// At the end of the month there is nothing to extrapolate.
#[test]
fn at_its_end_the_estimate_is_what_it_costs() {
    let atcost = ledger();
    let answer = atcost.json(&["forecast", "--period", "2025-06", "--at", "2025-06-30T23:59:59.999999Z"]);
    // 1060 h: 100 at 1 and 960 at 0.5; the last microsecond is lost in the cents.
    assert_line(&answer, "K-STD", ["580", "580"], None);
    atcost.ok(&["rate", "--period", "2025-06"]);
}

#[test]
fn a_month_that_does_not_run_is_refused() {
    let atcost = Atcost::with_catalog(&case("month/catalog"));
    atcost.ok(&["ingest", "--files", utf8(&case("month/events")), "--until-caught-up"]);
    for (at, message) in [
        ("2025-09-01T00:00:00Z", "2025-10 has not begun"),
        ("2025-12-01T00:00:00Z", "`atcost rate --period 2025-10` says what it costs"),
    ] {
        let output = atcost.run(&["forecast", "--period", "2025-10", "--at", at]);
        assert_eq!(output.code, Some(2), "{}", output.text());
        assert!(output.stderr.contains(message), "{}", output.text());
    }
}
