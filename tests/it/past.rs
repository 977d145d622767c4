//! What another version of the catalog changes in what was billed: one file per change in
//! tests/cases/past. Each has a sentence, `now INSTANT`, events as in tests/cases/attribution, a
//! patch of the month's catalog as in tests/cases/catalog, a line of `---` and what `atcost catalog
//! diff` says at that instant. Where a line of `===` divides the patch, what stands above it is
//! published before.

use crate::cases::for_each_file;
use crate::catalog::patched;
use crate::stories::{copy, event};
use jobs::config::Config;
use jobs::show::{Answer as _, Verdict};
use jobs::verbs::catalog::diff;
use schemas::time::Instant;
use serde_json::json;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tests::atcost::{Atcost, utf8};
use tests::machine::case;

#[test]
fn pasts() {
    let runtime = tokio::runtime::Runtime::new().expect("the machine has room for threads");
    for_each_file("past", |text| {
        let (question, _) = text.split_once("---\n").expect("a case has a line of ---");
        let atcost = ledger(question);
        let config = Config::load(&atcost.folder().join("atcost.toml")).expect("a configuration");
        let folder = catalog(question);
        let now = question.lines().find_map(|line| line.strip_prefix("now ")).expect("a case has a now");
        let now = Instant::parse_rfc3339(now).expect("an instant");
        let found = runtime.block_on(diff(&config, folder.path(), now)).expect("the two can be compared");
        format!("{question}---\n{}", found.text())
    });
}

/// A ledger with the month's catalog, with what of the patch is published before, and the events of a
/// case.
fn ledger(question: &str) -> Atcost {
    let atcost = match question.split_once(PUBLISHED) {
        Some((published, _)) => Atcost::with_catalog(catalog(published).path()),
        None => Atcost::with_catalog(&case("month/catalog")),
    };
    let (events, _) = question.split_once("\n@ ").unwrap_or((question, ""));
    let is_event = |line: &&str| !line.is_empty() && !line.starts_with('#') && !line.starts_with("now ");
    let lines: Vec<String> = events.lines().filter(is_event).map(event).collect();
    let folder = atcost.folder().join("events");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("events.ndjson"), lines.join("\n")).expect("the events can be written");
    atcost.ok(&["ingest", "--files", utf8(&folder), "--until-caught-up"]);
    atcost
}

/// Ends the patch of what is published before.
const PUBLISHED: &str = "\n===\n";

/// The month's catalog with the whole patch of a case.
fn catalog(question: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("the machine has room for a folder");
    for (path, text) in patched(&question.replace(PUBLISHED, "\n")) {
        write(&folder.path().join(path), &text);
    }
    folder
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
    fs::write(path, text).expect("the file can be written");
}

/// A question whose catalog changes who pays: everything of birch is the operator's own.
const INTERNAL: &str = "
e1 2025-10-10T00:00:00Z projects/b1 hours 10 class=arm

@ customers.toml
 name     = \"Birch University\"
+kind     = \"internal\"
";

#[test]
fn a_past_is_not_changed_without_a_reason() {
    let atcost = ledger(INTERNAL);
    let folder = catalog(INTERNAL);
    let rate = || atcost.json(&["rate", "--period", "2025-10"]);
    let before = rate();
    for reason in [None, Some(""), Some(" \t ")] {
        let mut arguments = vec!["catalog", "publish", utf8(folder.path())];
        arguments.extend(reason.into_iter().flat_map(|reason| ["--allow-past-changes", reason]));
        let output = atcost.run(&arguments);
        let (code, said) = match reason {
            None => (1, "--allow-past-changes REASON"),
            Some(_) => (2, "say why, in a few words"),
        };
        assert_eq!(output.code, Some(code), "{reason:?}: {}", output.text());
        assert!(output.text().contains(said), "{}", output.text());
        assert_eq!(rate()["run"], before["run"], "something was published");
    }
    let output = atcost.run(&["catalog", "diff", utf8(folder.path()), "--format", "json"]);
    assert_eq!(output.code, Some(1), "{}", output.text());
    let found = tests::atcost::json(&output.stdout);
    let october = found["changed"].as_array().expect("a list").iter().filter(|row| row["month"] == "2025-10");
    let october: Vec<_> = october.map(|row| json!([row["customer"], row["kind"], row["after"]])).collect();
    assert_eq!(october.len(), 2, "{found}");
    assert_eq!(october[0], json!(["birch", "charge", "0"]), "{found}");

    let published =
        atcost.json(&["catalog", "publish", utf8(folder.path()), "--allow-past-changes", " birch is ours "]);
    assert_eq!((&published["ok"], &published["changed"]), (&json!(true), &found["changed"]));
    assert_ne!(rate()["run"], before["run"]);
    assert_eq!(notes(&atcost), [None, Some("birch is ours".to_owned())]);
}

#[test]
fn a_reason_that_is_not_needed_is_not_kept() {
    let atcost = Atcost::with_catalog(&case("month/catalog"));
    let folder = tempfile::tempdir().expect("the machine has room for a folder");
    copy(&case("month/catalog"), folder.path());
    let path = folder.path().join("catalog.toml");
    fs::write(&path, fs::read_to_string(&path).expect("the catalog") + "# The same.\n").expect("a file");
    let same = atcost.run(&["catalog", "diff", utf8(folder.path())]);
    assert_eq!(same.code, Some(0), "{}", same.text());
    atcost.ok(&["catalog", "publish", utf8(folder.path()), "--allow-past-changes", "why not"]);
    assert_eq!(notes(&atcost), [None, None]);
}

/// The notes of the journal's entries.
fn notes(atcost: &Atcost) -> Vec<Option<String>> {
    let runtime = tokio::runtime::Runtime::new().expect("the machine has room for threads");
    let config = Config::load(&atcost.folder().join("atcost.toml")).expect("a configuration");
    let journal = runtime.block_on(ledger::journal::Journal::open(&config.ledger)).expect("a journal");
    journal.entries().iter().map(|entry| entry.note.clone()).collect()
}

#[test]
fn the_first_catalog_has_no_past() {
    let atcost = Atcost::initialised();
    let runtime = tokio::runtime::Runtime::new().expect("the machine has room for threads");
    let config = Config::load(&atcost.folder().join("atcost.toml")).expect("a configuration");
    let now = Instant::parse_rfc3339("2025-11-03T09:00:00Z").expect("an instant");
    let found = runtime.block_on(diff(&config, &case("month/catalog"), now)).expect("nothing to compare");
    assert_eq!(found.verdict(), Verdict::Fine, "{}", found.text());
}
