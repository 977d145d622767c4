//! The documents are what a stranger types and relies on: `console` blocks run in an empty folder,
//! one document after the other, and print what is shown; the tables of docs/operations.md name
//! every event and every alarm that there is.
//!
//! `UPDATE_EXPECT=1` writes what the commands print. Folders and run ids, which differ from run to
//! run, are shown as fixed ones.

use jobs::log::ALARMS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::atcost::{Atcost, utf8};
use tests::machine::workspace;
use tests::update_expected;

/// How the documents call the folder they work in, and the clone.
const FOLDER: &str = "~/october";
const CLONE: &str = "PATH";
const RUN: &str = "0123456789abcdef";
/// The tools that the shell may be asked for, beside `atcost` and `make`.
const TOOLS: &[&str] = &["cp", "mkdir", "mv", "echo", "rm"];

#[test]
fn the_readme_shows_what_its_commands_print() {
    assert!(check(&workspace().join("README.md")) >= 5, "the README has lost its commands");
}

#[test]
fn the_other_documents_show_what_their_commands_print() {
    let commands: usize = documents().iter().map(|path| check(path)).sum();
    assert!(commands >= 5, "docs/operations.md has lost its commands");
}

fn documents() -> Vec<PathBuf> {
    let entries = fs::read_dir(workspace().join("docs")).expect("there are documents");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths
}

/// Runs the commands of a document and compares; how many there were.
fn check(path: &Path) -> usize {
    let text = fs::read_to_string(path).expect("the document");
    let atcost = Atcost::empty();
    let mut actual = String::new();
    let mut lines = text.lines().peekable();
    let mut in_console = false;
    let mut commands = 0;
    while let Some(line) = lines.next() {
        actual.push_str(line);
        actual.push('\n');
        if line.starts_with("```") {
            in_console = line == "```console";
        }
        let Some(command) = line.strip_prefix("$ ").filter(|_| in_console) else { continue };
        if let Some(goals) = command.strip_prefix("make ") {
            let makefile = fs::read_to_string(workspace().join("Makefile")).expect("the Makefile");
            assert!(
                goals.split(' ').all(|goal| makefile.contains(&format!("\n{goal}:"))),
                "the Makefile has no {goals}"
            );
            continue;
        }
        let printed = run(&atcost, command, path);
        commands += 1;
        actual.push_str(&steady(&printed, utf8(atcost.folder())));
        while lines.next_if(|line| !line.starts_with("$ ") && !line.starts_with("```")).is_some() {}
    }
    if update_expected() {
        fs::write(path, &actual).expect("the document can be written");
    } else {
        assert!(
            actual == text,
            "{} shows something else than its commands print; UPDATE_EXPECT=1 writes this:\n{actual}",
            path.display()
        );
    }
    commands
}

/// The output of a command, which must succeed.
fn run(atcost: &Atcost, command: &str, path: &Path) -> String {
    if let Some(arguments) = command.strip_prefix("atcost ") {
        let arguments: Vec<String> =
            arguments.split(' ').map(|word| word.replace(CLONE, utf8(workspace()))).collect();
        return atcost.ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let tool = command.split(' ').next().unwrap_or_default();
    assert!(TOOLS.contains(&tool), "{} says {command:?}, which nothing runs", path.display());
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(atcost.folder())
        .output()
        .expect("sh is a command");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a tool prints text")
}

/// The printed text, with the folder and the run's id as the documents call them.
fn steady(printed: &str, folder: &str) -> String {
    let printed = printed.replace(folder, FOLDER);
    let is_id = |word: &str| word.len() == RUN.len() && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut text = String::new();
    for word in printed.split_inclusive(|character: char| !character.is_ascii_alphanumeric()) {
        let end = word.trim_end_matches(|character: char| !character.is_ascii_alphanumeric()).len();
        let (word, after) = word.split_at(end);
        text.push_str(if is_id(word) { RUN } else { word });
        text.push_str(after);
    }
    text
}

// Events.

/// The crates that log.
const LOGGING: &[&str] = &["ledger/src", "ledger/derived/src", "ingest/src", "rating/src", "jobs/src"];
const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

#[test]
fn every_event_is_listed_and_every_listed_event_is_logged() {
    let mut logged = BTreeSet::new();
    for folder in LOGGING {
        for (path, text) in rust_files(&workspace().join(folder)) {
            logged.extend(events(&text).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display())));
        }
    }
    let operations = fs::read_to_string(workspace().join("docs/operations.md")).expect("docs/operations.md");
    let rows = operations
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split_once("` | "));
    let listed: BTreeSet<(String, String)> = rows
        .filter_map(|(name, rest)| {
            Some((name.to_owned(), rest.split(' ').next().filter(|level| LEVELS.contains(level))?.to_owned()))
        })
        .collect();
    assert_eq!(
        logged, listed,
        "left what is logged, right the table `Events` of docs/operations.md: event and level"
    );
    let alarms: BTreeSet<&str> = logged
        .iter()
        .filter(|(_, level)| matches!(level.as_str(), "warn" | "error"))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        alarms,
        ALARMS.iter().copied().collect(),
        "left the warnings and errors that are logged, right jobs::log::ALARMS"
    );
}

fn rust_files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a crate has sources") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source is text");
            files.push((path, text));
        }
    }
    files
}

/// Name and level of each event in a source, its tests aside.
fn events(text: &str) -> Result<Vec<(String, String)>, String> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    if text.contains("use tracing::{") && LEVELS.iter().any(|level| text.contains(&format!(" {level}!("))) {
        return Err("write tracing::warn!(…), so that every event can be found".to_owned());
    }
    let mut events = Vec::new();
    for level in LEVELS {
        for (at, start) in text.match_indices(&format!("tracing::{level}!(")) {
            let rest = text[at + start.len()..].trim_start();
            // A target stands before the fields.
            let fields = rest
                .strip_prefix("target:")
                .and_then(|target| target.split_once(','))
                .map_or(rest, |(_, fields)| fields.trim_start());
            let name = fields.strip_prefix("event = \"").and_then(|name| name.split('"').next());
            let dotted = |name: &&str| {
                name.split('.').count() == 2
                    && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.')
            };
            match name.filter(dotted) {
                Some(name) => events.push((name.to_owned(), (*level).to_owned())),
                None => return Err(format!("no event = \"noun.verb\" in {:?}", rest.lines().next())),
            }
        }
    }
    Ok(events)
}

#[test]
fn events_are_found() {
    let text = "tracing::warn!(\n    event = \"a.b\",\n    \"text\");\ntracing::debug!(target: \"x\", event = \"c.d\", \"text\");\n#[cfg(test)]\ntracing::info!(\"y\")";
    let expected = [("a.b".to_owned(), "warn".to_owned()), ("c.d".to_owned(), "debug".to_owned())];
    assert_eq!(events(text), Ok(expected.to_vec()));
    for wrong in [
        "tracing::warn!(\"text\")",
        "tracing::warn!(%error, event = \"a.b\")",
        "tracing::info!(event = \"a\", \"x\")",
    ] {
        assert!(events(wrong).is_err(), "{wrong}");
    }
    assert!(events("use tracing::{warn, info};\nfn f() { warn!(\"x\") }").is_err());
}
