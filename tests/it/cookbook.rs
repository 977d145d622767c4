//! The cookbook: each page of docs/cookbook runs on the folder of its name in tests/cases/cookbook,
//! in a folder of its own after `atcost init`, and shows what its commands and its SQL return.
//!
//! A fence of `console` holds commands and what they print, one of `sql` a statement, whose rows the
//! fence of `text` after it shows, and one of `toml` or `csv` a part of a file of the case. A line
//! that ends in `…` leaves out the rest, which differs from run to run. The commands of
//! docs/trying.md and docs/ai.md are run as those of every other document; what they quote is compared
//! here.
//!
//! `UPDATE_EXPECT=1` writes what comes out.

use crate::stories::copy;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::atcost::{Atcost, utf8};
use tests::duckdb::{Table, query};
use tests::machine::{case, provided, workspace};
use tests::update_expected;

/// How the pages call the folder they work in.
const FOLDER: &str = "~/cookbook";
const PAGES: &[&str] = &["reseller", "storage", "transit"];

#[test]
fn a_partner_bills_what_it_is_billed() {
    check("reseller");
}

#[test]
fn storage_is_shared_and_what_is_idle_is_retained() {
    check("storage");
}

#[test]
fn transit_is_billed_by_a_percentile() {
    check("transit");
}

#[test]
fn every_page_has_a_test_and_a_case() {
    let names = |folder: PathBuf| {
        let entries = fs::read_dir(folder).expect("a folder of the cookbook");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("it can be listed").path())
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(workspace().join("docs/cookbook")), PAGES);
    // One case belongs to docs/ai.md, and one to docs/trying.md.
    assert_eq!(names(case("cookbook")), [&["inference"], PAGES, &["trying"]].concat());
}

#[test]
fn what_is_tried_stands_in_the_files_that_are_named() {
    let page = workspace().join("docs/trying.md");
    let text = fs::read_to_string(&page).expect("the page");
    let files = [files(&case("prices/tried")), files(&case("cookbook/trying"))].concat();
    let quotes = quotes(&text);
    assert!(!quotes.is_empty(), "{} quotes nothing", page.display());
    for quote in quotes {
        assert_quoted(&page, &files, &quote);
    }
}

/// What docs/ai.md quotes stands in its case, or in the price list that is made of the case's list.
#[test]
fn what_inference_costs_stands_in_its_files() {
    let page = workspace().join("docs/ai.md");
    let text = fs::read_to_string(&page).expect("the page");
    let atcost = Atcost::empty();
    copy(&case("cookbook/inference"), atcost.folder());
    atcost.ok(&["catalog", "import", "litellm", "list.json", "--provider", "lumen", "--from", "2025-11-01"]);
    let files = files(&atcost.folder().join("catalog"));
    let quotes = quotes(&text);
    assert!(quotes.len() >= 4, "{} quotes too little", page.display());
    for quote in quotes {
        assert_quoted(&page, &files, &quote);
    }
}

/// Runs a page and compares.
fn check(name: &str) {
    let (page, folder) = (workspace().join(format!("docs/cookbook/{name}.md")), case("cookbook").join(name));
    let text = fs::read_to_string(&page).expect("the page");
    let files = files(&folder);
    for quote in quotes(&text) {
        assert_quoted(&page, &files, &quote);
    }
    let atcost = Atcost::initialised();
    copy(&folder, atcost.folder());
    make_events(&folder, &atcost.folder().join("events"));
    let actual = run(&atcost, &page, &text);
    if update_expected() {
        fs::write(&page, &actual).expect("the page can be written");
    } else {
        assert!(
            actual == text,
            "{} shows something else than comes out; UPDATE_EXPECT=1 writes this:\n{actual}",
            page.display()
        );
    }
}

/// Runs the script of a case that makes its events, where it has one.
fn make_events(case: &Path, events: &Path) {
    let script = case.join("make.py");
    if !script.is_file() {
        return;
    }
    let python = provided("ATCOST_PYTHON", "python/bin/python");
    let output = Command::new(python).arg("-B").arg(&script).arg(events).output().expect("Python starts");
    assert!(output.status.success(), "{}:\n{}", script.display(), String::from_utf8_lossy(&output.stderr));
}

/// The page with what came out in place of what it shows.
fn run(atcost: &Atcost, page: &Path, text: &str) -> String {
    let mut actual = String::new();
    let mut lines = text.lines().peekable();
    // What a statement returned, until the fence that shows it.
    let mut rows: Option<String> = None;
    let mut commands = 0;
    while let Some(line) = lines.next() {
        push(&mut actual, line);
        match line {
            "```console" => {
                while let Some(line) = lines.next_if(|line| *line != "```") {
                    push(&mut actual, line);
                    let command = line.strip_prefix("$ ").unwrap_or_else(|| {
                        panic!("{}: a fence begins with a command: {line}", page.display())
                    });
                    let mut shown = Vec::new();
                    while let Some(line) = lines.next_if(|line| !line.starts_with("$ ") && *line != "```") {
                        shown.push(line);
                    }
                    commands += 1;
                    let printed = command_output(atcost, page, command);
                    for (index, line) in printed.lines().enumerate() {
                        push(&mut actual, &as_shown(line, shown.get(index).copied()));
                    }
                }
            }
            "```sql" => {
                let mut statement = Vec::new();
                while let Some(line) = lines.next_if(|line| *line != "```") {
                    push(&mut actual, line);
                    statement.push(line);
                }
                let statement = statement.join("\n");
                assert!(rows.is_none(), "{}: no fence of text before {statement}", page.display());
                rows = Some(aligned(&query(atcost.folder(), statement.trim_end_matches(';'))));
                // The end of this fence, which would else begin another.
                lines.next();
                push(&mut actual, "```");
            }
            "```text" => {
                while lines.next_if(|line| *line != "```").is_some() {}
                actual.push_str(&rows.take().unwrap_or_else(|| {
                    panic!("{}: a fence of text shows what a statement returned", page.display())
                }));
            }
            _ => {}
        }
    }
    assert!(rows.is_none(), "{}: the last statement's rows are not shown", page.display());
    assert!(commands >= 3, "{} has lost its commands", page.display());
    actual
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// What a command printed, which must succeed.
fn command_output(atcost: &Atcost, page: &Path, command: &str) -> String {
    let arguments = command
        .strip_prefix("atcost ")
        .unwrap_or_else(|| panic!("{} says {command:?}, which nothing runs", page.display()));
    atcost.ok(&arguments.split(' ').collect::<Vec<_>>()).replace(utf8(atcost.folder()), FOLDER)
}

/// A printed line as the page shows it, or as it should: without the id of a run and what follows.
fn as_shown(line: &str, shown: Option<&str>) -> String {
    let leaves_out = |shown: &&str| shown.strip_suffix('…').is_some_and(|part| line.starts_with(part));
    if let Some(shown) = shown.filter(leaves_out) {
        return shown.to_owned();
    }
    let is_id = |word: &&str| word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = line.split(|character: char| !character.is_ascii_alphanumeric()).find(is_id);
    match id.and_then(|id| line.split_once(id)) {
        Some((before, _)) => format!("{before}…"),
        None => line.to_owned(),
    }
}

/// The rows below the names of the columns, numbers to the right.
fn aligned(table: &Table) -> String {
    let cell = |value: &Option<String>| value.clone().unwrap_or_default();
    let rows = table.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>());
    let lines: Vec<Vec<String>> = std::iter::once(table.columns.clone()).chain(rows).collect();
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().expect("there is the name at least")
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let is_number = |column: usize| {
        let of = &table.types[column];
        of.starts_with("DECIMAL") || of.ends_with("INT") || of == "INTEGER"
    };
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if is_number(column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        push(&mut text, cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

/// The text of every file of a folder and of those in it.
fn files(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of a case") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            texts.extend(files(&path));
        } else {
            texts.push(fs::read_to_string(&path).expect("a file of a case is text"));
        }
    }
    texts
}

/// What a page quotes of files: the lines of its fences of TOML and CSV.
fn quotes(text: &str) -> Vec<String> {
    let mut quotes = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "```toml" || line == "```csv" {
            let quoted: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            quotes.push(format!("{}\n", quoted.join("\n")));
        } else if line.starts_with("```") {
            // Past the end of another fence, which may show anything.
            lines.by_ref().find(|line| *line == "```");
        }
    }
    quotes
}

fn assert_quoted(page: &Path, files: &[String], quote: &str) {
    let stands = |file: &String| file.starts_with(quote) || file.contains(&format!("\n{quote}"));
    assert!(
        files.iter().any(stands),
        "{} quotes what stands in no file of its case:\n{quote}",
        page.display()
    );
}

#[test]
fn fences_are_read_and_lines_are_left_out() {
    let text = "a\n```console\n$ x\n```toml\n```\n```toml\nb = 1\n```\n```csv\nc,d\n```\n";
    assert_eq!(quotes(text), ["b = 1\n", "c,d\n"]);
    let line = "  run de487d2304100011 of 2025-04";
    assert_eq!(as_shown(line, None), "  run …");
    assert_eq!(as_shown(line, Some("  …")), "  …");
    assert_eq!(as_shown("53.2 EUR", Some("53.1 EUR")), "53.2 EUR");
}
