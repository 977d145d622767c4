//! What whoever sends has done wrong: where it is told, the events that mend it, and that it is not
//! told any more once they were sent.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use tests::atcost::{Atcost, Output, utf8};
use tests::machine::case;

fn started() -> Atcost {
    Atcost::with_catalog(&case("month/catalog"))
}

/// Ten hours of a standard instance, with more members of the data.
fn event(id: &str, more: &Value) -> Value {
    let mut data = json!({"value": "10", "dimensions": {"class": "standard"}, "provider": "nimbus"});
    let members = more.as_object().expect("an object").clone();
    data.as_object_mut().expect("an object").extend(members);
    json!({"specversion": "1.0", "id": id, "source": "//edge", "type": "compute.example/instance-hours",
        "subject": "projects/a1", "time": "2025-10-02T08:00:00Z", "data": data})
}

fn correction(id: &str, action: &str, of: &str) -> Value {
    let mut event = event(id, &json!({}));
    let correction = json!({"action": action, "source": "//edge", "id": of, "reason": "the meter was wrong"});
    event["data"]["correction"] = correction;
    if action == "void" {
        event["data"].as_object_mut().expect("an object").remove("value");
    }
    event
}

/// Ingests events as one more file.
fn send(atcost: &Atcost, name: &str, events: &[Value]) {
    let folder = atcost.folder().join("events");
    fs::create_dir_all(&folder).expect("a folder");
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    fs::write(folder.join(name), lines.join("\n")).expect("a file");
    let summary = atcost.json(&["ingest", "--files", utf8(&folder), "--until-caught-up"]);
    assert_eq!(summary["rejected"], 0, "{name}: what is sent is taken");
}

/// The hours of the standard instance that a month is billed for.
fn hours(atcost: &Atcost) -> String {
    let rated = atcost.json(&["rate", "--period", "2025-10"]);
    let folder = std::path::Path::new(rated["folder"].as_str().expect("a folder")).to_owned();
    let found = tests::duckdb::query(
        &folder,
        "SELECT CAST(CAST(SUM(quantity) AS BIGINT) AS VARCHAR) AS hours FROM 'cost_lines.parquet' WHERE sku = 'NB-STD'",
    );
    found.rows[0][0].clone().unwrap_or_else(|| "0".to_owned())
}

/// The doctor's mistakes, as `kind place`.
fn told(atcost: &Atcost) -> Vec<String> {
    let doctor = atcost.doctor();
    let mistakes = doctor["mistakes"].as_array().expect("a list");
    let word = |mistake: &Value, name: &str| mistake[name].as_str().expect("a text").to_owned();
    mistakes.iter().map(|mistake| format!("{} {}", word(mistake, "kind"), word(mistake, "place"))).collect()
}

/// Sends what the doctor offers for its first mistake.
fn mend(atcost: &Atcost, name: &str, with: &str) {
    let event = atcost.doctor()["mistakes"][0][with].clone();
    assert!(event.is_object(), "the doctor offers {with}: {event}");
    send(atcost, name, &[event]);
}

fn failed(output: &Output) -> &str {
    assert_eq!(output.code, Some(2), "{}", output.text());
    &output.stderr
}

#[test]
fn a_correction_that_hits_nothing_is_told_with_its_place_until_somebody_says_that_it_was_seen() {
    let atcost = started();
    send(&atcost, "1.ndjson", &[event("c-1", &json!({})), correction("c-2", "void", "c-01")]);
    assert_eq!(told(&atcost), ["no-target 1.ndjson:2"]);
    assert_eq!(hours(&atcost), "10");
    let rated = atcost.ok(&["rate", "--period", "2025-10"]);
    for part in [
        "1 correction corrects nothing",
        "//edge c-2 at 1.ndjson:2 (batch 1, row 1) is a void of //edge c-01, which is not in the ledger",
    ] {
        assert!(rated.contains(part), "{part}: {rated}");
    }
    let doctor = atcost.run(&["doctor"]).stdout;
    assert!(
        doctor.contains("at 1.ndjson:2 (batch 1, row 1)") && doctor.contains("\n  {\"specversion\""),
        "{doctor}"
    );

    // The right one does what it says, and what was offered ends it.
    send(&atcost, "2.ndjson", &[correction("c-3", "void", "c-1")]);
    assert_eq!(hours(&atcost), "0");
    mend(&atcost, "3.ndjson", "void");
    assert_eq!(told(&atcost), [""; 0]);
    assert!(atcost.ok(&["doctor"]).contains("nothing is wrong"));
    assert!(!atcost.ok(&["rate", "--period", "2025-10"]).contains("correct"));
}

#[test]
fn a_correction_that_came_before_its_event_hits_it() {
    let atcost = started();
    send(&atcost, "1.ndjson", &[correction("c-2", "void", "c-1")]);
    assert_eq!(told(&atcost), ["no-target 1.ndjson:1"]);
    send(&atcost, "2.ndjson", &[event("c-1", &json!({}))]);
    assert_eq!(told(&atcost), [""; 0]);
    assert_eq!(hours(&atcost), "0");
}

#[test]
fn a_conflict_is_told_until_somebody_has_decided_it() {
    for (with, expected) in [("replace", "30"), ("replace_with_first", "10"), ("void", "0")] {
        let atcost = started();
        send(&atcost, "1.ndjson", &[event("c-1", &json!({})), event("c-1", &json!({"value": "30"}))]);
        assert_eq!(told(&atcost), ["conflict 1.ndjson:2"]);
        assert_eq!(hours(&atcost), "10");
        mend(&atcost, "2.ndjson", with);
        assert_eq!(told(&atcost), [""; 0], "{with}");
        assert_eq!(hours(&atcost), expected, "{with}");
        let doctor = atcost.doctor();
        assert_eq!([&doctor["conflicts"], &doctor["open_conflicts"]], [1, 0], "it is counted for ever");
        assert!(!atcost.ok(&["rate", "--period", "2025-10"]).contains("other content"), "{with}");
    }
}

#[test]
fn a_second_correction_and_a_void_of_a_void_are_told() {
    let atcost = started();
    send(
        &atcost,
        "1.ndjson",
        &[event("c-1", &json!({})), correction("c-2", "void", "c-1"), correction("c-3", "replace", "c-1")],
    );
    assert_eq!(told(&atcost), ["second-correction 1.ndjson:3"]);
    let words = ["1 correction is of an event that was corrected before", "c-3 at 1.ndjson:3"];
    let rated = atcost.ok(&["rate", "--period", "2025-10"]);
    let looked = atcost.run(&["doctor"]);
    for text in [&rated, &looked.stdout] {
        assert!(words.iter().all(|words| text.contains(words)), "{text}");
        assert!(!text.contains("other content"), "{text}");
    }
    mend(&atcost, "2.ndjson", "void");
    assert_eq!(told(&atcost), [""; 0]);
    send(&atcost, "3.ndjson", &[correction("c-4", "void", "c-2")]);
    assert_eq!(told(&atcost), ["void-of-void 3.ndjson:1"]);
    mend(&atcost, "4.ndjson", "void");
    assert_eq!(told(&atcost), [""; 0]);
    assert_eq!(hours(&atcost), "0");
}

#[test]
fn mistakes_are_told_of_several_shards() {
    let atcost = started();
    atcost.ok(&["shards", "2"]);
    let folder = atcost.folder().join("events");
    fs::create_dir_all(&folder).expect("a folder");
    for number in 0..6 {
        let line = correction(&format!("c-{number}"), "void", &format!("gone-{number}")).to_string();
        fs::write(folder.join(format!("{number}.ndjson")), line).expect("a file");
    }
    for shard in ["1/2", "2/2"] {
        atcost.ok(&["ingest", "--files", utf8(&folder), "--until-caught-up", "--shard", shard]);
    }
    let doctor = atcost.doctor();
    let mistakes = doctor["mistakes"].as_array().expect("a list");
    let shards: BTreeSet<u64> = mistakes.iter().filter_map(|mistake| mistake["shard"].as_u64()).collect();
    assert_eq!((mistakes.len(), doctor["idle_corrections"].as_u64()), (6, Some(6)));
    assert_eq!(shards, BTreeSet::from([0, 1]));
}

// An absurd record.

/// A month in which nimbus' prices are `changed`, and one event of 19 nines.
fn absurd_month(changed: impl Fn(String) -> String) -> Atcost {
    let copied = tempfile::tempdir().expect("a folder");
    let from = case("month/catalog");
    let status = Command::new("cp").args(["-r", utf8(&from), utf8(copied.path())]).status();
    assert!(status.expect("cp is a command").success());
    let catalog = copied.path().join("catalog");
    let prices = catalog.join("providers/nimbus/prices.toml");
    let text = fs::read_to_string(&prices).expect("the prices");
    fs::write(&prices, changed(text)).expect("they can be written");
    let atcost = Atcost::with_catalog(&catalog);
    let mut absurd = event("c-9", &json!({"value": "9999999999999999999", "dimensions": {"class": "gpu"}}));
    absurd["subject"] = "projects/b1".into();
    send(&atcost, "1.ndjson", &[event("c-1", &json!({})), absurd]);
    atcost
}

#[test]
fn the_event_is_named_that_makes_a_price_on_other_lines_too_large() {
    let support = r#"
[[sku]]
id         = "NB-CARE"
name       = "Support"
of         = ["*"]
allocation = "proportional"

  [[sku.price]]
  from       = "2025-01-01"
  model      = "per_unit"
  unit_price = "9"
"#;
    let atcost = absurd_month(|prices| prices + support);
    let output = atcost.run(&["rate", "--period", "2025-10"]);
    let said = failed(&output);
    for part in ["nimbus NB-CARE: ", "//edge c-9 at 1.ndjson:2 (batch 1, row 1)"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_number_that_nothing_can_hold_is_named_with_the_event_that_takes_it_out() {
    let atcost = absurd_month(|prices| prices.replace("\"2.50\"", "\"25\""));
    let rate = ["rate", "--period", "2025-10"];
    let output = atcost.run(&rate);
    let said = failed(&output);
    for part in [
        "this run was discarded because it cannot be right: nimbus NB-GPU: ",
        "9999999999999999999 for projects/b1 (customer birch)",
        "//edge c-9 at 1.ndjson:2 (batch 1, row 1)",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let runs = fs::read_dir(atcost.folder().join("runs/period=2025-10"));
    assert_eq!(runs.map_or(0, Iterator::count), 0, "nothing is written of a month that cannot be right");
    let void = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no event: {said}"));
    send(&atcost, "2.ndjson", &[serde_json::from_str(void).expect("JSON")]);
    assert_eq!(hours(&atcost), "10");
    assert_eq!(told(&atcost), [""; 0]);
}

// Refused records.

#[test]
fn what_a_refusal_advises_is_shown_whole() {
    let atcost = Atcost::initialised();
    let mut late = event("c-1", &json!({}));
    late["time"] = "2400-10-01T08:00:00.123456Z".into();
    fs::write(atcost.folder().join("1.ndjson"), late.to_string()).expect("a file");
    atcost.ok(&["ingest", "--files", "1.ndjson", "--until-caught-up"]);
    for arguments in [["doctor"].as_slice(), &["doctor", "--rejected"]] {
        let output = atcost.run(arguments);
        assert!(output.stdout.contains("with --reading 2"), "{}", output.text());
    }
}

fn refused(count: usize) -> Atcost {
    let atcost = Atcost::initialised();
    let folder = atcost.folder().join("events");
    fs::create_dir(&folder).expect("a folder");
    let lines: Vec<Vec<u8>> = (0..count)
        .map(|number| match number % 3 {
            0 => format!("{{\"number\":{number}}}").into_bytes(),
            1 => format!("no JSON {number}").into_bytes(),
            _ => [b"\xff\xfe", number.to_string().as_bytes()].concat(),
        })
        .collect();
    fs::write(folder.join("bad.ndjson"), lines.join(&b'\n')).expect("a file");
    atcost.ok(&["ingest", "--files", utf8(&folder), "--until-caught-up"]);
    atcost
}

#[test]
fn the_doctor_says_where_and_why_records_were_refused() {
    let atcost = refused(12);
    let shown = atcost.run(&["doctor"]).stdout;
    for part in
        ["bad.ndjson:1 ", "specversion is missing", "bad.ndjson:2 ", "… and 3 more: atcost doctor --rejected"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let first = atcost.doctor()["refused_first"].clone();
    assert_eq!(first.as_array().map(Vec::len), Some(9), "three of each reason");
    assert_eq!([&first[0]["batch"], &first[0]["row"]], [1, 0]);
}

#[test]
fn refused_records_are_shown_a_page_at_a_time() {
    let atcost = refused(25);
    let mut arguments =
        vec!["doctor".to_owned(), "--rejected".to_owned(), "--limit".to_owned(), "10".to_owned()];
    let mut places = Vec::new();
    let mut pages = 0;
    loop {
        let page = atcost.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(page["total"], 25);
        let records = page["records"].as_array().expect("a list");
        places.extend(records.iter().map(|record| record["place"].as_str().expect("a place").to_owned()));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        arguments.truncate(4);
        arguments.extend(["--after".to_owned(), next.to_owned()]);
    }
    assert_eq!(pages, 3);
    assert_eq!(places, (1..=25).map(|line| format!("bad.ndjson:{line}")).collect::<Vec<_>>());
    let of_reason = atcost.json(&["doctor", "--rejected", "--reason", "utf8-invalid"]);
    assert_eq!((&of_reason["total"], of_reason["next"].is_null()), (&json!(8), true));
    let text = atcost.ok(&["doctor", "--rejected", "--limit", "10"]);
    assert!(text.contains("next: atcost doctor --rejected --limit 10 --after 0.1.9"), "{text}");
    for (arguments, named) in [
        (["--reason", "nonsense"], "utf8-invalid"),
        (["--after", "7"], "0.12.345"),
        (["--limit", "0"], "1..=10000"),
    ] {
        let output = atcost.run(&[&["doctor", "--rejected"], arguments.as_slice()].concat());
        assert!(failed(&output).contains(named), "{}", output.text());
    }
}

#[test]
fn refused_records_are_exported_with_their_bytes() {
    let atcost = refused(200);
    atcost.ok(&["doctor", "--rejected", "--out", "back"]);
    let text = fs::read_to_string(atcost.folder().join("back/rejected.ndjson")).expect("the export");
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    lines.sort_by_key(|line| line["row"].as_u64());
    assert_eq!(lines.len(), 200);
    assert_eq!(lines[0]["value"], "{\"number\":0}");
    assert_eq!(lines[1]["value"], "no JSON 1");
    assert_eq!(lines[2]["value_hex"], "fffe32");
    assert_eq!([&lines[199]["place"], &lines[199]["reason"]], ["bad.ndjson:200", "json-invalid"]);
    let again = atcost.run(&["doctor", "--rejected", "--out", "back"]);
    assert!(failed(&again).contains("is there already"), "{}", again.text());
    atcost.ok(&["doctor", "--rejected", "--reason", "json-invalid", "--out", "some"]);
    let some = fs::read_to_string(atcost.folder().join("some/rejected.ndjson")).expect("the export");
    assert_eq!(some.lines().count(), 67);
    assert_eq!(fs::read_dir(atcost.folder().join("some")).expect("a folder").count(), 1);
}
