//! docs/catalog.md against the catalog's reader: each key of the page has a mistake, and what the
//! page says about a mistake is what the reader says.
//!
//! A mistake is a fence of `diff`, a patch of a catalog as in tests/cases/catalog; the
//! fence of `text` that follows it is the answer, which `UPDATE_EXPECT=1` writes. An example is a
//! fence of `toml` or `csv`, quoted from the month's catalog or from the close's.

use crate::catalog;
use rating::catalog::CatalogFiles;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use tests::machine::{case, workspace};
use tests::update_expected;

/// The page's words about one key, or before the first one.
#[derive(Default)]
struct Entry {
    /// The file, with `ID` for a provider's id.
    file: String,
    /// The table, as it is written; empty for the keys of the file itself.
    table: String,
    key: Option<String>,
    fences: Vec<Fence>,
}

struct Fence {
    language: String,
    text: String,
}

fn page() -> (PathBuf, String) {
    let path = workspace().join("docs/catalog.md");
    let text = fs::read_to_string(&path).expect("the page");
    (path, text)
}

/// The entries of the sections that are about a file or a table of a file.
fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let (mut file, mut table) = (String::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            let mut spans = spans(heading);
            file = spans.pop().unwrap_or_default().to_owned();
            table = spans.pop().unwrap_or_default().to_owned();
            entries.push(Entry { file: file.clone(), table: table.clone(), ..Entry::default() });
        } else if let Some(heading) = line.strip_prefix("### ") {
            let key = spans(heading).first().map(|key| (*key).to_owned());
            entries.push(Entry { file: file.clone(), table: table.clone(), key, fences: Vec::new() });
        } else if let Some(language) = line.strip_prefix("```") {
            let inside = lines.by_ref().take_while(|line| *line != "```");
            let text = inside.map(|line| format!("{line}\n")).collect();
            if let Some(entry) = entries.last_mut() {
                entry.fences.push(Fence { language: language.to_owned(), text });
            }
        }
    }
    entries
}

/// The texts between backquotes.
fn spans(heading: &str) -> Vec<&str> {
    heading.split('`').skip(1).step_by(2).collect()
}

#[test]
fn a_mistake_is_answered_as_the_page_says() {
    let (path, text) = page();
    let mut actual = String::new();
    let mut lines = text.lines().peekable();
    let mut question: Option<String> = None;
    let mut mistakes = 0;
    while let Some(line) = lines.next() {
        actual += &format!("{line}\n");
        match line {
            "```diff" => {
                let inside = std::iter::from_fn(|| lines.next_if(|line| *line != "```"));
                let patch: String = inside.map(|line| format!("{line}\n")).collect();
                actual += &patch;
                actual += &format!("{}\n", lines.next().expect("a fence ends"));
                question = Some(patch);
            }
            "```text" => {
                let question = question.take().expect("an answer follows a mistake");
                while lines.next_if(|line| *line != "```").is_some() {}
                actual += &answer(&question);
                mistakes += 1;
            }
            _ => {}
        }
    }
    assert!(question.is_none(), "the last mistake has no answer");
    assert!(mistakes > 40, "the page has lost its mistakes");
    if update_expected() {
        fs::write(path, actual).expect("the page can be written");
    } else {
        assert!(actual == text, "the reader says something else; UPDATE_EXPECT=1 writes this:\n{actual}");
    }
}

/// The answer of the check about a patched catalog.
fn answer(patch: &str) -> String {
    let case = catalog::check(&format!("\n{patch}---\n"));
    let (_, answer) = case.split_once("---\n").expect("a case has an answer");
    assert_ne!(answer, "fine\n", "this is no mistake:\n{patch}");
    answer.to_owned()
}

#[test]
fn every_key_has_a_mistake() {
    let (_, text) = page();
    let entries = entries(&text);
    let keys = entries.iter().filter_map(|entry| Some((entry.key.as_ref()?, entry)));
    let without: Vec<String> = keys
        .filter(|(_, entry)| entry.fences.iter().all(|fence| fence.language != "diff"))
        .map(|(key, entry)| format!("`{key}` of {}", entry.file))
        .collect();
    assert!(without.is_empty(), "nobody sees what a mistake in {without:?} says");
}

#[test]
fn the_page_has_the_keys_that_the_reader_knows() {
    let (_, text) = page();
    let listed = entries(&text).into_iter().filter_map(|entry| Some((entry.file, entry.table, entry.key?)));
    let listed: BTreeSet<_> = listed.collect();
    let known = rating::catalog::keys().into_iter().flat_map(|table| {
        table.keys.iter().map(move |key| (table.file.to_owned(), table.table.to_owned(), (*key).to_owned()))
    });
    assert_eq!(listed, known.collect(), "left docs/catalog.md, right rating::catalog::keys");
}

#[test]
fn every_example_is_of_a_whole_catalog() {
    let folders = ["month/catalog", "close/catalog"].map(|folder| CatalogFiles::read_folder(&case(folder)));
    let folders = folders.map(|files| files.expect("a catalog"));
    let files = || folders.iter().flat_map(CatalogFiles::iter);
    let (_, text) = page();
    let mut examples = 0;
    for entry in entries(&text) {
        let (folder, name) = entry.file.rsplit_once("ID/").unwrap_or(("", &entry.file));
        let is_it = |path: &str| path.starts_with(folder) && path.ends_with(name);
        let quoted = |text: &str| files().any(|(path, whole)| is_it(path) && whole.contains(text));
        for fence in entry.fences.iter().filter(|fence| matches!(fence.language.as_str(), "toml" | "csv")) {
            assert!(quoted(&fence.text), "no {} has this:\n{}", entry.file, fence.text);
            examples += 1;
        }
    }
    assert!(examples > 6, "the page has lost its examples");
}
