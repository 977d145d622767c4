//! Small months told event by event: who pays for what, and the mistakes of other systems, each as
//! a named case.
//!
//! A case has a sentence, the events, a line of dashes, and what must come out. An event is `id
//! time subject meter value [dimension=value] [provider=…]`, with `source=…` where it is not
//! `//edge`; a line that begins with `{` is a record as it is. `rate` before more events rates the
//! month in between. The catalog is the month's; lines `binding …` take the place of its bindings,
//! and `catalog FILE: OLD => NEW` changes a line of it, with `\n` in NEW where another one begins.

use crate::cases::for_each_file;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use tests::atcost::{Atcost, utf8};
use tests::duckdb::query;
use tests::machine::case;

#[test]
fn attribution() {
    for_each_file("attribution", tell);
}

#[test]
fn traps() {
    for_each_file("traps", tell);
}

/// The case with what came out in place of what was expected.
fn tell(text: &str) -> String {
    let (story, _) = text.split_once("\n---\n").unwrap_or((text.trim_end(), ""));
    let catalog = tempfile::tempdir().expect("a folder");
    copy(&case("month/catalog"), catalog.path());
    let mut bindings = Vec::new();
    let mut steps: Vec<Vec<String>> = vec![Vec::new()];
    for line in story.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(binding) = line.strip_prefix("binding ") {
            bindings.push(binding.to_owned());
        } else if let Some(change) = line.strip_prefix("catalog ") {
            let (file, change) = change.split_once(": ").expect("catalog FILE: OLD => NEW");
            let (old, new) = change.split_once(" => ").expect("catalog FILE: OLD => NEW");
            let path = catalog.path().join(file);
            let before = fs::read_to_string(&path).expect("a file of the catalog");
            assert!(before.contains(old), "{file} has no {old:?}");
            fs::write(&path, before.replace(old, &new.replace("\\n", "\n")))
                .expect("the file can be written");
        } else if line == "rate" {
            steps.push(Vec::new());
        } else if line.starts_with('{') {
            steps.last_mut().expect("a step").push(line.to_owned());
        } else {
            steps.last_mut().expect("a step").push(event(line));
        }
    }
    if !bindings.is_empty() {
        fs::write(
            catalog.path().join("bindings.csv"),
            format!("subject,customer,from,until\n{}\n", bindings.join("\n")),
        )
        .expect("the bindings can be written");
    }
    let atcost = Atcost::with_catalog(catalog.path());
    let mut told = format!("{}\n---\n", story.trim_end());
    for (number, lines) in steps.iter().enumerate() {
        let folder = atcost.folder().join(format!("events-{number}"));
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("events.ndjson"), lines.join("\n")).expect("the events can be written");
        atcost.ok(&["ingest", "--files", utf8(&folder), "--until-caught-up"]);
        let summary = atcost.json(&["rate", "--period", "2025-10"]);
        if number > 0 {
            told.push('\n');
        }
        write(&mut told, &summary);
    }
    told
}

fn write(told: &mut String, summary: &Value) {
    let number = |name: &str| summary[name].as_u64().expect("a count");
    let counts = ["received", "usage", "rejected", "duplicates", "conflicts"]
        .map(|name| format!("{name} {}", number(name)));
    writeln!(told, "{}", counts.join(", ")).expect("writing to a string");
    let folder = summary["folder"].as_str().expect("a folder");
    // The support fee and the cross-connect are there whatever was used.
    let charges = "SELECT concat_ws(' ', CASE kind WHEN 'charge' THEN customer ELSE concat('retained (', retained_reason, ')', coalesce(' ' || customer, '')) END, 'pays for', subject,
            provider, sku, rtrim(rtrim(quantity::VARCHAR, '0'), '.') || ':', rtrim(rtrim(amount::VARCHAR, '0'), '.'), currency) AS line
        FROM 'charges.parquet' WHERE sku NOT IN ('NB-SUPPORT', 'LX-XC') ORDER BY provider, sku, charge_period_start, customer NULLS LAST, subject";
    let unrated = "SELECT concat_ws(' ', 'unrated', reason || ':', provider, meter, subject, rtrim(rtrim(quantity::VARCHAR, '0'), '.'), 'in', events::VARCHAR, 'events') AS line
        FROM 'unrated.parquet' ORDER BY ALL";
    for statement in [charges, unrated] {
        for line in query(Path::new(folder), statement).lines() {
            writeln!(told, "{}", line.trim_start_matches("line=")).expect("writing to a string");
        }
    }
}

/// An event's line as a CloudEvent.
pub fn event(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_else(|| panic!("id time subject meter value: {line}"));
    let (id, time, subject, meter, value) = (word(), word(), word(), word(), word());
    let mut source = "//edge".to_owned();
    let mut data = Map::from_iter([("value".to_owned(), json!(value))]);
    let mut dimensions = Map::new();
    for pair in words {
        let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("name=value: {pair}"));
        match name {
            "source" => source = value.to_owned(),
            "provider" => _ = data.insert("provider".to_owned(), json!(value)),
            _ => _ = dimensions.insert(name.to_owned(), json!(value)),
        }
    }
    data.insert("dimensions".to_owned(), Value::Object(dimensions));
    let meter = match meter {
        "hours" => "compute.example/instance-hours",
        "stored" => "storage.example/bytes-stored",
        "egress" => "network.example/egress",
        "requests" => "network.example/requests",
        "ports" => "network.example/port-hours",
        other => other,
    };
    json!({ "specversion": "1.0", "id": id, "source": source, "type": meter, "subject": subject, "time": time, "data": data }).to_string()
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the catalog") {
        let path = entry.expect("the catalog").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::write(&target, fs::read(&path).expect("a file")).expect("the file can be written");
        }
    }
}
