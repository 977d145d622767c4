//! What a finance person must see of a month: whose money it is, in which currency, what is
//! nobody's, and whether the month is over.

use serde_json::json;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tests::atcost::{Atcost, utf8};
use tests::machine::case;

/// The month's catalog with changes: a file, what it says, what it says instead.
fn catalog(changes: &[(&str, &str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("the machine has room for a folder");
    let files = rating::catalog::CatalogFiles::read_folder(&case("month/catalog")).expect("a catalog");
    for (path, text) in files.iter() {
        let mut text = text.to_owned();
        for (_, old, new) in changes.iter().filter(|(file, ..)| *file == path) {
            assert!(text.contains(old), "{path} has no {old:?}");
            text = text.replace(old, new);
        }
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        fs::write(path, text).expect("the file can be written");
    }
    folder
}

/// A ledger with a catalog, and with one event for each subject, hours and class.
fn ledger(catalog: &Path, usage: &[(&str, &str, &str)]) -> Atcost {
    let atcost = Atcost::with_catalog(catalog);
    ingest(&atcost, usage);
    atcost
}

fn ingest(atcost: &Atcost, usage: &[(&str, &str, &str)]) {
    let events = atcost.folder().join("events");
    fs::create_dir_all(&events).expect("a folder");
    let event = |(number, (subject, hours, class)): (usize, &(&str, &str, &str))| {
        json!({
            "specversion": "1.0", "id": format!("e-{number}"), "source": "//edge", "subject": subject,
            "type": "compute.example/instance-hours", "time": "2025-10-10T08:00:00Z",
            "data": { "value": hours, "dimensions": { "class": class } },
        })
        .to_string()
    };
    let lines: Vec<String> = usage.iter().enumerate().map(event).collect();
    fs::write(events.join("usage.ndjson"), lines.join("\n")).expect("the events can be written");
    atcost.ok(&["ingest", "--files", utf8(&events), "--until-caught-up"]);
}

#[track_caller]
fn assert_says(text: &str, sentence: &str) {
    assert!(text.contains(sentence), "it does not say {sentence:?}:\n{text}");
}

#[test]
fn every_sum_has_its_currency() {
    let yen = catalog(&[
        ("providers/lynx/provider.toml", "\"EUR\"", "\"JPY\""),
        ("providers/lynx/prices.toml", "cedar = \"2\"", "ops = \"2\""),
    ]);
    let atcost = ledger(yen.path(), &[("projects/a1", "10", "standard"), ("projects/x9", "20", "standard")]);
    let text = atcost.ok(&["rate", "--period", "2025-10"]);
    // The operator's own parts of the cross-connect and of the support fee, and what is nobody's.
    let retained = text.lines().find(|line| line.contains("retained by the operator")).expect("a line");
    assert_says(retained, " EUR, ");
    assert_says(retained, " JPY");
    let summary = atcost.json(&["rate", "--period", "2025-10"]);
    assert!(summary["retained_total"]["EUR"].is_string() && summary["retained_total"]["JPY"].is_string());
    assert_eq!(summary["currencies"]["retained"], json!(["EUR", "JPY"]));
    assert_eq!(summary["currencies"]["provider"], json!({ "lynx": "JPY", "nimbus": "EUR" }));

    // Nothing is in a currency, too: a customer's own, or each that is billed.
    let nothing = ledger(yen.path(), &[]);
    let text = nothing.ok(&["rate", "--period", "2025-09"]);
    for line in text.lines().skip_while(|line| !line.contains("charged")).skip(1) {
        if line.is_empty() {
            break;
        }
        assert!(
            line.starts_with('!') || line.ends_with(" EUR") || line.ends_with(" JPY"),
            "a sum without a currency: {line:?}"
        );
    }
    let one = ledger(&case("month/catalog"), &[("projects/a1", "10", "standard")]);
    let summary = one.json(&["rate", "--period", "2025-10"]);
    assert!(summary["retained_total"].is_string(), "{summary}");
    assert_eq!(summary["currencies"]["retained"], json!(["EUR"]));
    assert_eq!(summary["currencies"]["customer"]["acme"], json!(["EUR"]));
    let text = one.ok(&["rate", "--period", "2025-10"]);
    for line in text.lines().skip_while(|line| !line.contains("charged")).skip(1).take(6) {
        assert!(line.ends_with(" EUR"), "a sum without a currency: {line:?}");
    }
}

#[test]
fn what_is_nobodys_is_listed_by_its_cost() {
    let free = catalog(&[("providers/nimbus/prices.toml", "\"0.033\"", "\"1\"")]);
    let usage = [
        ("Projects/A1", "900", "arm"),
        ("projects/a1", "1", "arm"),
        ("projects/d1", "3", "arm"),
        ("projects/zz", "2", "arm"),
    ];
    let atcost = ledger(free.path(), &usage);
    let text = atcost.ok(&["rate", "--period", "2025-10"]);
    assert_says(&text, "! 902 of ");
    assert_says(&text, "did you mean projects/a1?");
    let summary = atcost.json(&["rate", "--period", "2025-10"]);
    let nobodys = &summary["unattributed"][0];
    assert_eq!((&nobodys["currency"], &nobodys["amount"]), (&json!("EUR"), &json!("902")));
    assert_eq!(nobodys["subjects"][0]["subject"], "Projects/A1");
    assert_eq!(nobodys["subjects"][0]["amount"], "900");
    assert_eq!(nobodys["subjects"][0]["did_you_mean"], "projects/a1");
    assert_eq!(nobodys["subjects"][1]["subject"], "projects/zz");
    assert_eq!(nobodys["subjects"][1]["did_you_mean"], json!(null));

    let output = atcost.run(&["doctor"]);
    assert_eq!(output.code, Some(1), "{}", output.text());
    assert_says(&output.stdout, "Projects/A1  900 EUR  did you mean projects/a1?");
    let doctor = atcost.doctor();
    assert_eq!(doctor["unattributed"][0]["period"], "2025-10");
    assert_eq!(doctor["unattributed"][0]["by_currency"][0]["amount"], "902");
    let left = fs::read_dir(atcost.folder().join("runs")).expect("runs").count();
    assert_eq!(left, 1, "the doctor leaves nothing behind");
}

#[test]
fn nobodys_list_is_bounded() {
    let subjects: Vec<String> = (0..300).map(|number| format!("lost/{number}")).collect();
    let usage: Vec<(&str, &str, &str)> =
        subjects.iter().map(|subject| (subject.as_str(), "1", "standard")).collect();
    let atcost = ledger(&case("month/catalog"), &usage);
    let text = atcost.ok(&["rate", "--period", "2025-10"]);
    assert_says(&text, "  … and 280 more subjects, ");
    assert!(text.lines().count() < 60, "{text}");
}

#[test]
fn a_month_that_is_not_over_says_so() {
    let atcost = ledger(&case("month/catalog"), &[("projects/a1", "1", "arm")]);
    let text = atcost.ok(&["rate", "--period", "2150-01"]);
    assert_says(
        &text,
        "! 2150-01 has not begun: in Europe/Berlin, the time zone of nimbus, it ends at 2150-01-31T23:00:00Z",
    );
    assert_says(&text, "in UTC, the time zone of lynx, stow, it ends at 2150-02-01T00:00:00Z");
    let summary = atcost.json(&["rate", "--period", "2150-01"]);
    assert_eq!(summary["over"], false);
    assert_eq!(summary["not_over"][0]["time_zone"], "Europe/Berlin");
    assert_eq!(summary["not_over"][1]["providers"], json!(["lynx", "stow"]));
    let over = atcost.json(&["rate", "--period", "2025-10"]);
    assert_eq!((&over["over"], &over["not_over"]), (&json!(true), &json!([])));
}

#[test]
fn publishing_says_what_checking_warns_of() {
    let doubtful = catalog(&[
        (
            "customers.toml",
            "name     = \"Cedar Resale\"\nkind     = \"partner\"\ncurrency = \"EUR\"",
            "name     = \"Cedar Resale\"\nkind     = \"partner\"\ncurrency = \"USD\"",
        ),
        ("providers/nimbus/prices.toml", "\"standard\"", "\"standart\""),
    ]);
    let check = Atcost::empty().ok(&["catalog", "check", utf8(doubtful.path())]);
    let warning = check.lines().next().expect("a warning");
    assert_says(warning, "warning: customers.toml:");
    let atcost = Atcost::initialised();
    let published = atcost.ok(&["catalog", "publish", utf8(doubtful.path())]);
    assert_says(&published, warning);
    assert!(!published.contains("standart"), "nothing is unseen before the first event: {published}");

    ingest(&atcost, &[("projects/a1", "1", "standard"), ("projects/a1", "1", "gpu")]);
    let again = atcost.json(&["catalog", "publish", utf8(doubtful.path())]);
    let warnings: Vec<&str> =
        again["warnings"].as_array().expect("warnings").iter().filter_map(|text| text.as_str()).collect();
    let unseen = "the SKU NB-STD matches class = \"standart\", which no event of compute.example/instance-hours in the ledger has; did you mean \"standard\"?";
    assert_eq!(warnings.iter().filter(|warning| warning.ends_with(unseen)).count(), 1, "{warnings:?}");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_says(&atcost.run(&["doctor"]).stdout, unseen);
}

#[test]
fn an_empty_reason_is_none() {
    let atcost = Atcost::initialised();
    for reason in ["", "   ", "\u{200b}"] {
        let argument = format!("--allow-past-changes={reason}");
        let output = atcost.run(&["catalog", "publish", utf8(&case("month/catalog")), &argument]);
        assert_eq!(output.code, Some(2), "{reason:?}: {}", output.text());
        assert_says(&output.stderr, "say why, in a few words");
    }
}

/// Four thousand SKUs that take the same events: eight million pairs.
#[test]
fn a_price_list_that_collides_with_itself_is_refused_shortly() {
    let colliding = catalog(&[]);
    let sku = |number: usize| {
        format!(
            "[[sku]]\nid = \"S-{number}\"\nname = \"S\"\nmeter = \"compute.example/instance-hours\"\nmatch = {{ class = \"arm\", region = \"eu\" }}\nunit = \"h\"\nallocation = \"proportional\"\n  [[sku.price]]\n  from = \"2025-01-01\"\n  model = \"per_unit\"\n  unit_price = \"1\"\n"
        )
    };
    let text: String = (0..4_000).map(sku).collect();
    fs::write(colliding.path().join("providers/stow/prices.toml"), text).expect("the file can be written");
    let atcost = Atcost::empty();
    let (output, peak) = atcost.spawn(&["catalog", "check", utf8(colliding.path())]).wait_with_peak();
    assert_eq!(output.code, Some(1), "{}", output.text());
    assert!(output.stdout.lines().count() < 100, "{} lines", output.stdout.lines().count());
    assert_says(&output.stdout, "would both bill an event of compute.example/instance-hours");
    assert_says(&output.stdout, " more of this kind");
    assert!(peak < 300 << 20, "{peak} bytes");
}
