//! What commands add to a catalog's folder: commented pieces, and the prices of the open list of models.
//! Nothing that is there is overwritten, and a piece that `check` would refuse is not written.

use crate::stories::copy;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tests::atcost::{Atcost, json, utf8};
use tests::machine::case;

/// A folder with the catalog of a case in `catalog`.
fn with_catalog(catalog: &Path) -> Atcost {
    let atcost = Atcost::empty();
    copy(catalog, &atcost.folder().join("catalog"));
    atcost
}

fn read(atcost: &Atcost, file: &str) -> String {
    fs::read_to_string(atcost.folder().join("catalog").join(file)).expect("a file of the catalog")
}

/// Runs what must be refused; nothing in the catalog may have changed.
#[track_caller]
fn refused(atcost: &Atcost, command: &str, message: &str) {
    let texts = |atcost: &Atcost| {
        let files = rating::catalog::CatalogFiles::read_folder(&atcost.folder().join("catalog"));
        files.map(|files| files.digest().to_string()).ok()
    };
    let before = texts(atcost);
    let output = atcost.run(&command.split(' ').collect::<Vec<_>>());
    assert_eq!(output.code, Some(2), "{command}: {}", output.text());
    assert!(output.stderr.contains(message), "{command}: {}", output.text());
    assert_eq!(texts(atcost), before, "{command} has written something");
}

#[test]
fn every_piece_checks() {
    let atcost = with_catalog(&case("month/catalog"));
    for command in [
        "catalog new meter inference/tokens --unit 1 --dimension model --dimension kind",
        "catalog new meter network.example/addresses --unit 1 --aggregation unique --dimension address",
        "catalog new meter compute.example/vcpus --unit 1 --aggregation time_weighted",
        "catalog new meter compute.example/peak --unit 1 --aggregation max",
        "catalog new provider osprey --currency EUR --time-zone Europe/Lisbon --from 2025-01-01",
        "catalog new sku osprey TOKENS --meter inference/tokens --match kind=input --price 0.0000000013 --from 2025-01-01",
        "catalog new sku osprey VCPU --meter compute.example/vcpus --unit h --price 0.02 --from 2025-01-01",
        "catalog new sku osprey PEAK --meter compute.example/peak --price 3 --from 2025-01-01 --allocation direct",
        "catalog new sku osprey PORT --price 25 --from 2025-01-01",
    ] {
        let said = atcost.ok(&command.split(' ').collect::<Vec<_>>());
        assert!(said.contains("next:"), "{said}");
        let checked = atcost.json(&["catalog", "check", "catalog"]);
        assert_eq!(checked["ok"], true, "{command}: {checked}");
    }
    let prices = read(&atcost, "providers/osprey/prices.toml");
    assert!(prices.contains("unit_price = \"0.0000000013\""), "{prices}");
    // The unit of a level is that of the meter's result, unless another is said.
    assert!(prices.contains("unit       = \"1\"") && prices.contains("unit       = \"h\""), "{prices}");
    let meters = read(&atcost, "meters.toml");
    let original = fs::read_to_string(case("month/catalog/meters.toml")).expect("the meters");
    assert!(meters.starts_with(&original), "what was there stays");
}

#[test]
fn a_piece_may_be_printed_instead() {
    let atcost = Atcost::empty();
    let command = "catalog new provider osprey --currency EUR --time-zone UTC --from 2025-01-01 --print";
    let text = atcost.ok(&command.split(' ').collect::<Vec<_>>());
    assert!(text.contains("# providers/osprey/provider.toml") && text.contains("[[sku]]"), "{text}");
    assert_eq!(fs::read_dir(atcost.folder()).expect("the folder").count(), 0);
}

#[test]
fn nothing_is_overwritten_and_no_problem_is_added() {
    let atcost = with_catalog(&case("month/catalog"));
    for (command, message) in [
        (
            "catalog new provider nimbus --currency EUR --time-zone UTC --from 2025-01-01",
            "is there already, and nothing is overwritten",
        ),
        (
            "catalog new provider osprey --currency EURO --time-zone UTC --from 2025-01-01",
            "is not a currency",
        ),
        (
            "catalog new provider ../osprey --currency EUR --time-zone UTC --from 2025-01-01",
            "it is the name of a folder",
        ),
        ("catalog new provider osprey --currency EUR --time-zone UTC --from 1.1.2025", "it is no day"),
        ("catalog new meter network.example/egress --unit By", "is declared twice"),
        ("catalog new meter network.example/flows --unit bytes", "is not a unit of UCUM"),
        ("catalog new meter a --unit 1 --aggregation unique", "add --dimension"),
        ("catalog new meter a --unit 1 --aggregation avg", "it must be one of: sum, count"),
        ("catalog new sku nimbus NB-GPU --price 1 --from 2025-01-01", "is declared twice"),
        ("catalog new sku osprey A --price 1 --from 2025-01-01", "atcost catalog new provider osprey"),
        (
            "catalog new sku nimbus A --meter nothing --price 1 --from 2025-01-01",
            "the meter nothing is not declared",
        ),
        ("catalog new sku nimbus A --price 1e3 --from 2025-01-01", "nothing was written"),
        ("catalog new meter a --unit 1 --catalog nowhere", "cannot read the catalog at nowhere"),
    ] {
        refused(&atcost, command, message);
    }
}

/// The case of docs/ai.md, imported; the answer in JSON.
fn imported() -> (Atcost, Value) {
    let atcost = with_catalog(&case("cookbook/inference/catalog"));
    let list = case("cookbook/inference/list.json");
    let arguments =
        ["catalog", "import", "litellm", utf8(&list), "--provider", "lumen", "--from", "2025-11-01"];
    let answer = atcost.json(&arguments);
    (atcost, answer)
}

#[test]
fn prices_of_the_open_list_are_taken_over_to_the_last_digit() {
    let (atcost, answer) = imported();
    assert_eq!(atcost.json(&["catalog", "check", "catalog"])["ok"], true);
    let prices: toml::Table = read(&atcost, "providers/lumen/prices.toml").parse().expect("TOML");
    let skus = prices["sku"].as_array().expect("SKUs");
    let of = |id: &str| {
        let sku = skus.iter().find(|sku| sku["id"].as_str() == Some(id)).unwrap_or_else(|| panic!("no {id}"));
        let price = &sku["price"].as_array().expect("prices")[0];
        let text = |key: &str| price.get(key).map(|text| text.as_str().expect("a text").to_owned());
        (text("unit_price"), text("until"), sku["match"].get("context").map(ToString::to_string))
    };
    let price = |digits: &str| Some(digits.to_owned());
    let end = || Some("2026-06-30".to_owned());
    let short = || Some(r#"["0", "128k"]"#.to_owned());
    let long = || Some(r#"["200k", "272k"]"#.to_owned());
    assert_eq!(of("lumen/ember-2-mini:cache-read"), (price("0.0000000013"), None, None));
    assert_eq!(of("lumen/ember-2-mini:output"), (price("0.0000000208"), None, None));
    assert_eq!(of("lumen/ember-2-mini:cache-write"), (None, None, None), "a price of 0 is `zero`");
    assert_eq!(of("lumen/ember-2:input"), (price("0.00000125"), end(), short()));
    assert_eq!(of("lumen/ember-2:input:above-200k"), (price("0.0000025"), end(), long()));
    assert_eq!(of("lumen/ember-2:input:batch"), (price("0.000000625"), end(), short()));
    assert_eq!(of("lumen/ember-2:input:flex:above-200k"), (price("0.00000125"), end(), long()));
    assert_eq!(of("lumen/ember-2:cache-write-1h"), (price("0.0000025"), end(), None));
    assert_eq!(of("lumen/ember-2:search-medium"), (price("0.0125"), end(), None));
    let longer = Some(r#"["128k", "200k", "272k"]"#.to_owned());
    assert_eq!(of("lumen/ember-long:output:above-128k"), (price("0.000002"), None, longer));
    assert_eq!(of("lumen/draw:input-pixels"), (price("0.0000000839233"), None, None));
    assert_eq!(of("lumen/read:ocr-pages:batch"), (price("0.0005"), None, None));
    assert_eq!(answer["skus"], skus.len());
    // Once, however many meters are added to it.
    assert!(answer["meters"].as_array().is_some_and(|meters| meters.len() > 1), "{answer}");
    assert_eq!(answer["added_to"], serde_json::json!(["catalog/meters.toml"]));
    assert_eq!(answer["contexts"], serde_json::json!(["0", "128k", "200k", "272k"]));
}

#[test]
fn what_is_not_taken_over_is_told() {
    let (_, answer) = imported();
    let rows = answer["not_taken"].as_array().expect("a list");
    let because = |key: &str| {
        let row = rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("{key}: {answer}"));
        row["because"].as_str().expect("a sentence").to_owned()
    };
    for (key, part) in [
        ("alias_of", "another name of a model"),
        ("fedramp_uplift_multiplier", "no meter"),
        ("off_peak_pricing", "no meter"),
        ("input tokens, batch", "no price is said for prompts above 200k tokens"),
        ("input_cost_per_token", "its value is no number"),
        ("input_cost_per_token_cache_hit", "neither is taken over"),
        ("output_cost_per_second", "more than 18 digits after the point"),
        ("output_cost_per_second_1080p", "no meter"),
        ("search_context_cost_per_query.search_context_size_huge", "no meter"),
        ("tiered_pricing.max_results_cost", "no meter"),
    ] {
        assert!(because(key).contains(part), "{key}: {}", because(key));
    }
    let withdrawn = rows.iter().find(|row| row["first"] == "lumen/ember-1").expect("the model");
    assert_eq!(withdrawn["because"], "it was withdrawn before 2025-11-01");
}

#[test]
fn an_import_is_refused_whole() {
    let (atcost, _) = imported();
    let list = case("cookbook/inference/list.json");
    let import = |rest: &str| format!("catalog import litellm {} --from 2025-11-01{rest}", utf8(&list));
    for (rest, message) in [
        (" --provider lumen", "is there already, and nothing is overwritten"),
        ("", "say which one with --provider: lumen (9), other (1)"),
        (" --provider lumens", "no model has the litellm_provider \"lumens\""),
        (" --provider lumen --id l2 --model lumen/ember2", "there is \"lumen/ember-2\""),
        (" --provider lumen --id l2 --model lumen/latest", "none of the 1 models has a price"),
        (" --provider other --id a/b", "give it one with --id"),
        (" --provider other --currency EURO", "is not a currency"),
    ] {
        refused(&atcost, &import(rest), message);
    }
    refused(
        &atcost,
        "catalog import litellm catalog/meters.toml --from 2025-11-01",
        "is not a list of models",
    );
    refused(&atcost, "catalog import litellm nothing.json --from 2025-11-01", "reading nothing.json");
    // Another provider finds its meters there.
    let said = atcost.ok(&import(" --provider other --id quartz").split(' ').collect::<Vec<_>>());
    assert!(!said.contains("added to"), "{said}");
}

#[test]
fn shells_complete() {
    let atcost = Atcost::empty();
    for (shell, part) in [("bash", "complete -F"), ("zsh", "#compdef atcost"), ("fish", "complete -c atcost")]
    {
        let script = atcost.ok(&["completions", shell]);
        assert!(script.contains(part) && script.contains("forecast"), "{shell}: {script}");
        let as_json = json(&atcost.ok(&["completions", shell, "--format", "json"]));
        assert_eq!(as_json["script"], script, "nothing of a script is escaped");
    }
    let output = atcost.run(&["completions", "cmd"]);
    assert_eq!(output.code, Some(2), "{}", output.text());
}
