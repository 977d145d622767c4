//! Nothing that is printed can steer a terminal: names, paths and details from data are shown
//! escaped, and JSON stays JSON.

use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};
use tests::atcost::{Atcost, Output, binary, utf8};
use tests::machine::case;

/// Characters that a terminal obeys, and those that hide or reorder their neighbours.
const HOSTILE: &[&str] = &[
    "\u{1b}[2J\u{1b}]0;paid\u{7}",
    "\r\u{8}\u{7f}",
    "\u{9b}31m\u{85}",
    "\u{202e}gro\u{2066}.cilbup\u{200f}",
    "\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}",
    "\u{2028}\u{e0041}",
];

/// Whether `text` has nothing in it that a terminal obeys or that cannot be seen. A list of its
/// own, so that it shares no mistake with the program.
#[track_caller]
fn assert_harmless(what: &str, output: &Output) {
    for text in [&output.stdout, &output.stderr] {
        let harmful = |character: &char| {
            let code = u32::from(*character);
            let ranges = [
                0..=9,
                11..=31,
                0x7F..=0x9F,
                0xAD..=0xAD,
                0x61C..=0x61C,
                0x200B..=0x200F,
                0x2028..=0x202E,
                0x2060..=0x206F,
                0xFEFF..=0xFEFF,
            ];
            ranges.iter().any(|range| range.contains(&code)) || code >= 0xE_0000
        };
        let found: Vec<String> =
            text.chars().filter(harmful).map(|character| format!("U+{:04X}", u32::from(character))).collect();
        assert!(found.is_empty(), "{what} prints {found:?}: {}", output.text().escape_debug());
    }
}

fn event(id: &str, value: &str, dimensions: &Value) -> String {
    let data = json!({"value": value, "dimensions": dimensions, "provider": "nimbus"});
    json!({"specversion": "1.0", "id": id, "source": "//edge", "type": "compute.example/instance-hours", "subject": "projects/a1",
        "time": "2025-10-01T08:00:00Z", "data": data})
    .to_string()
}

/// Everything a stranger can bring in: names of files, names and values of dimensions, refused
/// records that a detail quotes, and a conflict.
#[test]
fn nothing_a_stranger_sends_reaches_the_terminal_as_it_is() {
    let atcost = Atcost::with_catalog(&case("month/catalog"));
    let folder = atcost.folder().join("events");
    fs::create_dir(&folder).expect("a folder");
    for (number, hostile) in HOSTILE.iter().enumerate() {
        let lines = [
            event(&format!("e-{number}"), "1", &json!({"class": "standard", *hostile: *hostile})),
            event(&format!("e-{number}"), "2", &json!({"class": "standard"})),
            event(&format!("e{hostile}"), "1", &json!({})),
            event("bad", "1", &json!({*hostile: 1})),
            json!({"a": 1}).to_string().replace("\"a\": 1", &format!("{hostile:?}:1,{hostile:?}:1")),
            json!({"specversion": hostile}).to_string(),
        ];
        fs::write(folder.join(format!("{hostile}{number}.ndjson")), lines.join("\n")).expect("a file");
        fs::write(folder.join(format!("{hostile}{number} copy.ndjson")), lines.join("\n")).expect("a file");
    }
    let run = |arguments: &[&str]| {
        let output = atcost.run(arguments);
        assert!(matches!(output.code, Some(0 | 1)), "{arguments:?}: {}", output.text());
        assert_harmless(&arguments.join(" "), &output);
        output
    };
    // The copies are skipped with a warning that names them.
    let ingested = run(&["ingest", "--files", utf8(&folder), "--until-caught-up"]);
    assert!(ingested.stderr.contains("\\u{202e}"), "the copy is not named: {}", ingested.text());
    let tables = run(&["doctor"]).stdout + &run(&["rate", "--period", "2025-10"]).stdout;
    assert!(tables.contains("\\u{1b}[2J"), "the names of the files are not shown: {tables}");
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&run(&[arguments, &["--format", "json"]].concat()).stdout).expect("this is JSON")
    };
    let doctor = json(&["doctor"]);
    let names: Vec<&str> = doctor["partitions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|file| file["name"].as_str())
        .collect();
    assert!(
        HOSTILE.iter().all(|hostile| names.iter().any(|name| name.starts_with(hostile))),
        "JSON says what the names are: {names:?}"
    );
    let rated = json(&["rate", "--period", "2025-10"]);
    assert_eq!(rated["conflicts"], HOSTILE.len());
    let charges = tests::duckdb::query(
        atcost.folder(),
        "SELECT charge_id FROM 'runs/*/*/charges.parquet' WHERE subject = 'projects/a1'",
    );
    for row in &charges.rows {
        let charge = row[0].as_deref().expect("a charge has an id");
        let explained = run(&["explain", charge]).stdout;
        assert!(explained.contains("\\u{"), "the events' places are shown: {explained}");
        json(&["explain", charge]);
    }
}

/// An error names what it could not use.
#[test]
fn errors_are_escaped_too() {
    let atcost = Atcost::initialised();
    for hostile in HOSTILE {
        let path = format!("{hostile}.toml");
        for arguments in [
            vec!["ingest", "--files", hostile, "--until-caught-up"],
            vec!["--config", &path, "doctor"],
            vec!["catalog", "check", hostile],
            vec!["rate", "--period", hostile],
            vec!["explain", hostile],
        ] {
            let output = atcost.run(&arguments);
            assert_eq!(output.code, Some(2), "{}", output.text().escape_debug());
            assert_harmless(&arguments.join(" "), &output);
        }
    }
    // librdkafka says what it could not resolve, in its own words.
    let output =
        atcost.run(&["doctor", "--brokers", &format!("{}.invalid:9", HOSTILE.concat()), "--topic", "usage"]);
    assert_eq!(output.code, Some(1), "{}", output.text().escape_debug());
    assert_harmless("doctor", &output);
}

/// Whoever closes a pipe has read enough: what was found out is said by the exit status, and by no
/// complaint.
#[test]
fn a_closed_pipe_ends_nothing_but_the_reading() {
    let atcost = Atcost::with_catalog(&case("month/catalog"));
    fs::create_dir(atcost.folder().join("empty")).expect("a folder");
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("the machine has pipes");
        drop(reader);
        Stdio::from(writer)
    };
    for (arguments, code) in [
        (&["runs", "list"][..], 0),
        (&["runs", "list", "--format", "json"], 0),
        (&["--help"], 0),
        (&["catalog", "check", "empty"], 1),
        (&["explain", "none"], 2),
        (&["no-such-verb"], 2),
    ] {
        let command = |stdout, stderr| {
            let mut command = Command::new(binary());
            command.args(arguments).current_dir(atcost.folder()).stdin(Stdio::null());
            command.stdout(stdout).stderr(stderr).output().expect("the binary starts")
        };
        let told = command(closed(), Stdio::piped());
        assert_eq!(told.status.code(), Some(code), "{arguments:?}: {told:?}");
        // Only what could not run complains, and of something else.
        let complaint = String::from_utf8_lossy(&told.stderr);
        assert!(complaint.is_empty() == (code != 2) && !complaint.contains("pipe"), "{complaint}");
        let untold = command(closed(), closed());
        assert_eq!(untold.status.code(), Some(code), "{arguments:?}: {untold:?}");
    }
}

/// Signs of life are for people: a terminal shows them after two seconds, and a pipe never.
#[test]
fn signs_of_life_are_for_terminals() {
    let (piped, shown) = (Atcost::initialised(), Atcost::initialised());
    for atcost in [&piped, &shown] {
        fs::write(atcost.folder().join("a.ndjson"), event("e", "1", &json!({}))).expect("a file");
    }
    let running = piped.spawn(&["ingest", "--files", "a.ndjson"]);
    let command = format!("timeout --foreground 4 {} ingest --files a.ndjson", utf8(binary()));
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .current_dir(shown.folder())
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .expect("script is a command");
    let terminal = String::from_utf8_lossy(&output.stdout);
    let (before, after) = terminal.split_once("1 received, ").unwrap_or_else(|| panic!("{terminal:?}"));
    assert!(before.contains("2s "), "sooner than it takes anybody to wonder: {terminal:?}");
    assert!(after.contains("received 1 = usage 1 + rejected 0"), "{terminal:?}");
    let output = running.stop();
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{}", output.text());
}
