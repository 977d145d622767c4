//! The documents are what a stranger types and relies on: `console` blocks run in an empty folder,
//! one document after the other, and print what is shown; the tables of docs/operations.md name
//! every event and every alarm that there is.
//!
//! A line of `…` leaves something out. docs/queries.md goes on where docs/closing.md ends: its fences of
//! `sql` begin with the command that is asked, and are put to DuckDB on the run's files, too, unless they
//! are about events; the fence of `text` after each has the answer.
//!
//! `UPDATE_EXPECT=1` writes what the commands print. Folders and run ids, which differ from run to
//! run, are shown as fixed ones.

use jobs::log::ALARMS;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::atcost::{Atcost, utf8};
use tests::duckdb::queries;
use tests::machine::workspace;
use tests::update_expected;

/// How the documents call the folder they work in, and the clone.
const FOLDER: &str = "~/october";
const CLONE: &str = "PATH";
const RUN: &str = "0123456789abcdef";
/// The tools that the shell may be asked for, beside `atcost` and `make`.
const TOOLS: &[&str] = &["cp", "mkdir", "mv", "echo", "rm"];

/// Stands for lines that a document leaves out.
const LEFT_OUT: &str = "…";

#[test]
fn the_readme_shows_what_its_commands_print() {
    assert!(check(&workspace().join("README.md")).1 >= 6, "the README has lost its commands");
}

#[test]
fn the_other_documents_show_what_their_commands_print() {
    let others = documents().into_iter().filter(|path| !path.ends_with("closing.md"));
    let commands: usize = others.map(|path| check(&path).1).sum();
    assert!(commands >= 5, "docs/operations.md has lost its commands");
}

#[test]
fn a_month_is_closed_as_its_page_says_and_every_question_about_it_is_answered() {
    let (atcost, commands) = check(&workspace().join("docs/closing.md"));
    assert!(commands >= 30, "docs/closing.md has lost its commands");
    let page = workspace().join("docs/queries.md");
    let text = fs::read_to_string(&page).expect("the page");
    let (actual, asked) = answer(&atcost, &text);
    assert!(asked.len() >= 10, "docs/queries.md has lost its questions");
    compare(&page, &text, &actual);
    let by_duckdb = in_duckdb(&atcost, &asked);
    assert!(by_duckdb >= 7, "only {by_duckdb} questions were asked of DuckDB, too");
}

fn documents() -> Vec<PathBuf> {
    markdown(&workspace().join("docs"))
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("there are documents");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths
}

/// Runs the commands of a document in a folder and compares; the folder, and how many there were.
fn check(path: &Path) -> (Atcost, usize) {
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
        let mut before = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ") && !line.starts_with("```")) {
            before.push(line);
        }
        let printed = match command.strip_prefix("make ") {
            Some("demo") => {
                // Only a terminal is shown how far it is.
                let steps = before.iter().take_while(|line| is_step(line)).count();
                for step in before.drain(..steps) {
                    actual.push_str(&format!("{step}\n"));
                }
                format!("\n{}", run(&atcost, "atcost demo", path))
            }
            Some(goals) => {
                let makefile = fs::read_to_string(workspace().join("Makefile")).expect("the Makefile");
                assert!(
                    goals.split(' ').all(|goal| makefile.contains(&format!("\n{goal}:"))),
                    "the Makefile has no {goals}"
                );
                assert!(before.is_empty(), "nobody compares what make {goals} prints");
                continue;
            }
            None => run(&atcost, command, path),
        };
        commands += 1;
        actual.push_str(&shown(&steady(&printed, utf8(atcost.folder())), &before));
    }
    compare(path, &text, &actual);
    (atcost, commands)
}

/// Whether a line says how far a command is: `  2.9 s  …`.
fn is_step(line: &str) -> bool {
    line.trim_start().split_once(" s  ").is_some_and(|(seconds, _)| {
        seconds.split('.').count() == 2 && seconds.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit())
    })
}

fn compare(path: &Path, text: &str, actual: &str) {
    if update_expected() {
        fs::write(path, actual).expect("the document can be written");
    } else {
        assert!(
            actual == text,
            "{} shows something else than its commands print; UPDATE_EXPECT=1 writes this:\n{actual}",
            path.display()
        );
    }
}

/// What a document shows of what is printed: all of it, or what it showed before, where that is true and
/// leaves lines out.
fn shown(printed: &str, before: &[&str]) -> String {
    let lines: Vec<&str> = printed.lines().collect();
    let parts: Vec<&[&str]> = before.split(|line| line.trim() == LEFT_OUT).collect();
    if parts.len() > 1 && are_in_order(&lines, &parts) {
        return before.iter().map(|line| format!("{line}\n")).collect();
    }
    printed.to_owned()
}

/// Whether the lines begin with the first part, end with the last, and have the others between them.
fn are_in_order(lines: &[&str], parts: &[&[&str]]) -> bool {
    let [first, others @ .., last] = parts else { return false };
    let Some(mut rest) = lines.strip_prefix(*first).and_then(|rest| rest.strip_suffix(*last)) else {
        return false;
    };
    others.iter().all(|part| match rest.windows(part.len().max(1)).position(|window| window == *part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// What a command answers. That something does not agree is an answer, too.
fn run(atcost: &Atcost, command: &str, path: &Path) -> String {
    let command = command.replace(CLONE, utf8(workspace()));
    if let Some(arguments) = command.strip_prefix("atcost ") {
        let arguments = words(arguments);
        let output = atcost.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(matches!(output.code, Some(0 | 1)), "{command}: {}", output.text());
        return output.stdout;
    }
    let tool = command.split(' ').next().unwrap_or_default();
    assert!(TOOLS.contains(&tool), "{} says {command:?}, which nothing runs", path.display());
    let output = Command::new("sh")
        .args(["-c", &command])
        .current_dir(atcost.folder())
        .output()
        .expect("sh is a command");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a tool prints text")
}

/// The words of a command: apart by spaces, unless these stand between quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for character in command.chars() {
        match character {
            '"' | '\'' if quote == Some(character) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(character),
            ' ' if quote.is_none() => words.push(String::new()),
            other => words.last_mut().expect("there is one at least").push(other),
        }
    }
    assert!(quote.is_none(), "a quote has no end: {command}");
    words
}

/// A question of a page.
struct Question {
    sql: String,
    /// The month that it is about.
    period: String,
}

/// The month that is open when docs/closing.md ends.
const OPEN: &str = "2025-11";

/// The page with what `atcost query` answers, and the questions.
fn answer(atcost: &Atcost, text: &str) -> (String, Vec<Question>) {
    let (mut actual, mut asked) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        actual.push_str(&format!("{line}\n"));
        if line != "```sql" {
            continue;
        }
        let statement: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let (command, sql) = statement.split_first().expect("a fence has a statement");
        let command = command.strip_prefix("-- atcost ").expect("a statement begins with its command");
        let (between, fence) = (lines.next(), lines.next());
        assert_eq!((between, fence), (Some(""), Some("```text")), "nothing shows what this returns: {sql:?}");
        assert!(lines.by_ref().any(|line| line == "```"), "a fence has no end");
        let sql = sql.join("\n").trim_end_matches(';').to_owned();
        let arguments: Vec<&str> = command.split(' ').chain([sql.as_str()]).collect();
        let answer = atcost.ok(&arguments);
        actual.push_str(&format!("{}\n```\n\n```text\n{answer}```\n", statement.join("\n")));
        let period = command.strip_prefix("query --period ").unwrap_or(OPEN).to_owned();
        asked.push(Question { sql, period });
    }
    (actual, asked)
}

/// Puts the questions that are not about events to DuckDB, too, in the run's folder and with its files for
/// tables; how many those are. Both answers are the same rows in the same order.
fn in_duckdb(atcost: &Atcost, asked: &[Question]) -> usize {
    let mut answered = 0;
    for period in ["2025-10", OPEN] {
        let run = atcost.json(&["rate", "--period", period]);
        let run = atcost.folder().join(run["folder"].as_str().expect("the summary names the folder"));
        let views: Vec<String> = fs::read_dir(&run)
            .expect("the run is a folder")
            .map(|entry| entry.expect("it can be listed").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .map(|name| format!("CREATE VIEW {name} AS SELECT * FROM '{name}.parquet'"))
            .collect();
        let about = |question: &&Question| question.period == period && !question.sql.contains("FROM events");
        let about: Vec<&Question> = asked.iter().filter(about).collect();
        let statements = views.iter().chain(about.iter().map(|question| &question.sql));
        let statements: Vec<&str> = statements.map(String::as_str).collect();
        for (Question { sql, .. }, theirs) in about.iter().zip(&queries(&run, &statements)[views.len()..]) {
            let ours = atcost.json(&["query", "--period", period, sql]);
            assert_eq!(of_json(&ours, &theirs.columns), theirs.rows, "left ours, right DuckDB's: {sql}");
            answered += 1;
        }
    }
    answered
}

/// The rows of an answer in JSON, with the values as text.
fn of_json(answer: &Value, columns: &[String]) -> Vec<Vec<Option<String>>> {
    let cell = |row: &Value, column: &String| match &row[column] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let rows = answer.as_array().expect("an answer is an array of objects");
    rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect()
}

#[test]
fn what_is_left_out_is_between_what_is_shown() {
    let printed = "a\nb\nc\nd\n";
    for true_one in [vec!["a", "  …", "d"], vec!["a", "…", "c", "…"], vec!["…", "b", "…", "d"]] {
        assert_eq!(shown(printed, &true_one), true_one.join("\n") + "\n");
    }
    for other in
        [vec![], vec!["a", "b", "c"], vec!["b", "…"], vec!["a", "…", "c", "b", "…"], vec!["a", "…", "e"]]
    {
        assert_eq!(shown(printed, &other), printed, "{other:?}");
    }
    assert_eq!(words(r#"query "SELECT 'a b'" --by mira"#), ["query", "SELECT 'a b'", "--by", "mira"]);
    assert!(is_step("  2.9 s  2025-10 is rated") && !is_step("  torfeld is  it"));
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

// Links.

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut pages = documents();
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"] {
        pages.push(workspace().join(name));
    }
    for folder in ["docs/cookbook", "docs/decisions"] {
        pages.extend(markdown(&workspace().join(folder)));
    }
    let mut wrong = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).expect("the document");
        for link in links(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            let leads = target.exists()
                && (heading.is_empty()
                    || headings(&fs::read_to_string(&target).expect("a document")).contains(heading));
            if !leads {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert_eq!(wrong, [""; 0], "links that lead nowhere");
}

/// Where a document's links lead, save those into the network.
fn links(text: &str) -> Vec<String> {
    let outside = without_fences(text);
    let links = outside.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    links.filter(|link| !link.contains("://")).collect()
}

/// The names that a document's headings have in links.
fn headings(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in without_fences(text).lines().filter(|line| line.starts_with('#')) {
        let mut name = String::new();
        for character in line.trim_start_matches('#').trim().to_lowercase().chars() {
            match character {
                ' ' => name.push('-'),
                '-' | '_' => name.push(character),
                other if other.is_alphanumeric() => name.push(other),
                _ => {}
            }
        }
        // A heading that is there again gets a number.
        let again = (1..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(again).find(|name| !names.contains(name));
        names.insert(free.expect("numbers do not end"));
    }
    names
}

fn without_fences(text: &str) -> String {
    let mut in_fence = false;
    let outside = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_fence ^= is_fence;
        !in_fence && !is_fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

#[test]
fn links_and_headings_are_read() {
    let text =
        "# A `b` of c\n## The close\n```\n# no heading [x](no)\n```\n# The close\n[a](b.md#c) [d](https://e)";
    assert_eq!(links(text), ["b.md#c"]);
    let expected = ["a-b-of-c", "the-close", "the-close-1"].map(str::to_owned);
    assert_eq!(headings(text), expected.into());
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
