//! The things that no reviewer should have to look for. Every finding names file and line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tests::machine::workspace;

/// Crates in which a number is a quantity, a price or an amount until it is shown to be something
/// else.
const EXACT: &[&str] = &["schemas/src/", "ledger/", "rating/src/"];
/// Lines of these crates that may name a float all the same: (file, a part of the line).
const FLOATS: &[(&str, &str)] = &[];
/// Crates that are functions of their arguments: no clock, no environment.
const PURE: &[&str] = &["schemas/src/", "rating/src/"];

const LONGEST_FILE: usize = 1000;

/// The files that may ask the operating system for files, and why. Everything of a ledger, its
/// journal or its runs is read and written through `ledger::store`.
const OPENS_FILES: &[(&str, &str)] = &[
    ("ledger/src/store/", "the door itself"),
    ("ledger/src/secret.rs", "the mode of a key is checked"),
    ("ledger/src/sign/signer.rs", "a lock is a file"),
    ("ledger/derived/src/", "derived data lives on the disk of the process that makes it"),
    ("rating/src/catalog/read/files.rs", "a catalog is a folder that people keep in git"),
];

struct Source {
    /// Relative to the workspace, with slashes.
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_module(&self) -> bool {
        self.is_rust() && (self.path.contains("/src/") || self.is_in(&["tests/it/", "tests/faults/"]))
    }

    fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// Findings, one for each line that `wrong` objects to.
    fn lines<'a>(&'a self, wrong: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = String> + 'a {
        self.text
            .lines()
            .enumerate()
            .filter(move |(_, line)| wrong(line))
            .map(|(index, line)| format!("{}:{}: {}", self.path, index + 1, line.trim()))
    }
}

/// Every text of the workspace that a person wrote.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    walk(workspace(), &mut sources);
    assert!(sources.iter().any(|source| source.path == "tests/it/tidy.rs"), "the walk finds this file");
    sources
}

fn walk(folder: &Path, sources: &mut Vec<Source>) {
    // A file that git ignores was made, not written: by a build, by `make demo`.
    const FOREIGN: &[&str] =
        &[".git", "target", ".venv", "__pycache__", "atcost-demo", "LICENSE", "Cargo.lock"];
    for entry in fs::read_dir(folder).expect("the workspace can be read") {
        let path = entry.expect("the workspace can be read").path();
        let name = path.file_name().expect("a listed file has a name").to_string_lossy().into_owned();
        if FOREIGN.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            walk(&path, sources);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path
                .strip_prefix(workspace())
                .expect("the walk stays in the workspace")
                .to_string_lossy()
                .replace('\\', "/");
            sources.push(Source { path, text });
        }
    }
}

fn nothing(findings: impl Iterator<Item = String>, rule: &str) {
    let findings: Vec<_> = findings.collect();
    assert!(findings.is_empty(), "{rule}\n  {}", findings.join("\n  "));
}

/// Whether `word` stands in `line` and is no part of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    line.match_indices(word).any(|(at, _)| {
        !part_of_word(line[..at].chars().next_back()) && !part_of_word(line[at + word.len()..].chars().next())
    })
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[test]
fn money_is_never_a_float() {
    let sources = sources();
    let exact = sources.iter().filter(|source| source.is_rust() && source.is_in(EXACT));
    let findings = exact.flat_map(|source| {
        let allowed =
            move |line: &str| FLOATS.iter().any(|(path, part)| source.path == *path && line.contains(part));
        source.lines(move |line| {
            !is_comment(line)
                && ["f64", "f32", "Float64", "Float32"].iter().any(|word| has_word(line, word))
                && !allowed(line)
        })
    });
    nothing(
        findings,
        "a float near money: use schemas::decimal, or list the line in tests/it/tidy.rs with the reason beside it",
    );
}

#[test]
fn nothing_is_unfinished_or_defaulted() {
    // In two parts, so that this file is not a finding.
    let banned = [
        concat!("unwrap_or", "(0)"),
        concat!("unwrap_or", "(0.0)"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X"),
        concat!("#[", "ignore"),
    ];
    let sources = sources();
    let written = sources.iter().filter(|source| !source.path.starts_with("tests/cases/"));
    nothing(
        written.flat_map(|source| source.lines(|line| banned.iter().any(|word| line.contains(word)))),
        "finish it, or say what is missing",
    );
}

#[test]
fn pure_crates_ask_neither_the_clock_nor_the_environment() {
    let banned = [
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "std::env",
        "thread_rng",
        "HashMap",
        "HashSet",
    ];
    let sources = sources();
    let pure = sources.iter().filter(|source| source.is_rust() && source.is_in(PURE));
    let findings = pure.flat_map(|source| {
        source.lines(|line| !is_comment(line) && banned.iter().any(|word| has_word(line, word)))
    });
    nothing(
        findings,
        "the same pins must give the same bytes: take it as an argument; BTreeMap and BTreeSet have an order",
    );
}

#[test]
fn storage_has_one_door() {
    let banned = ["std::fs", "fs::", "File::open", "File::create", "tokio::fs", "OpenOptions"];
    let sources = sources();
    let inside = sources.iter().filter(|source| source.is_rust() && source.is_in(&["ledger/", "rating/"]));
    let outside = inside.filter(|source| !OPENS_FILES.iter().any(|(path, _)| source.path.starts_with(path)));
    let findings = outside.flat_map(|source| {
        let product = source.text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
        let wrong = move |line: &str| !is_comment(line) && banned.iter().any(|word| line.contains(word));
        source.lines(wrong).filter(move |found| {
            let line = found.split(':').nth(1).and_then(|line| line.parse::<usize>().ok());
            line.is_some_and(|line| line <= product)
        })
    });
    nothing(findings, "read and write it through ledger::store, or say in tests/it/tidy.rs why not");
    for (path, why) in OPENS_FILES {
        assert!(sources.iter().any(|source| source.path.starts_with(path)), "{path} is gone: {why}");
    }
}

/// A `matches!` whose answer nobody takes checks nothing.
#[test]
fn every_matches_is_asked() {
    let sources = sources();
    let rust = sources.iter().filter(|source| source.is_rust());
    nothing(rust.flat_map(|source| unasked(&source.path, &source.text)), "this checks nothing: assert it");
}

fn unasked(path: &str, text: &str) -> Vec<String> {
    let name = concat!("match", "es!(");
    let mut findings = Vec::new();
    for (at, _) in text.match_indices(name) {
        let before = text[..at].trim_end();
        let begins_statement = before.is_empty() || before.ends_with([';', '{', '}']);
        let mut depth = 0usize;
        let end = text[at..].char_indices().find_map(|(index, character)| {
            match character {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            (character == ')' && depth == 0).then_some(at + index + 1)
        });
        if begins_statement && end.is_some_and(|end| text[end..].trim_start().starts_with(';')) {
            findings.push(format!("{path}:{}", text[..at].lines().count()));
        }
    }
    findings
}

#[test]
fn an_unasked_matches_is_found() {
    let name = concat!("match", "es!");
    let bare = format!("fn f() {{\n    {name}(x, Some(_));\n}}");
    let broken_over_lines =
        format!("fn f() {{\n    g();\n    {name}(\n        x,\n        Some(')'.len())\n    );\n}}")
            .replace("')'", "1");
    let asked = format!(
        "fn f() -> bool {{\n    assert!({name}(x, A));\n    let a = {name}(x, A);\n    {name}(x, B(_))\n}}"
    );
    assert_eq!(
        [unasked("a", &bare).len(), unasked("a", &broken_over_lines).len(), unasked("a", &asked).len()],
        [1, 1, 0]
    );
}

#[test]
fn files_are_short() {
    let sources = sources();
    let rust = sources.iter().filter(|source| source.is_rust());
    let long = rust
        .map(|source| (&source.path, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE);
    nothing(
        long.map(|(path, lines)| format!("{path}: {lines} lines")),
        "a file longer than 1000 lines has more than one subject",
    );
}

#[test]
fn every_module_is_reachable() {
    let sources = sources();
    let paths: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let declares = |path: &str, module: &str| {
        let parent = sources.iter().find(|source| source.path == path);
        parent.is_some_and(|source| {
            source.text.lines().any(|line| !is_comment(line) && line.contains(&format!("mod {module};")))
        })
    };
    let modules = sources.iter().filter(|source| source.is_module());
    let orphans = modules.filter(|source| {
        let (folder, file) = source.path.rsplit_once('/').expect("a module is in a folder");
        let (folder, module) = match file.trim_end_matches(".rs") {
            "lib" | "main" | "build" => return false,
            "mod" => folder.rsplit_once('/').expect("a module's folder is in a crate"),
            module => (folder, module),
        };
        if folder.ends_with("/src/bin") {
            return false;
        }
        let parents = [
            format!("{folder}/lib.rs"),
            format!("{folder}/main.rs"),
            format!("{folder}/mod.rs"),
            format!("{folder}.rs"),
        ];
        !parents.iter().any(|parent| paths.contains(parent.as_str()) && declares(parent, module))
    });
    nothing(
        orphans.map(|source| source.path.clone()),
        "no `mod` line leads to it: cargo does not compile it",
    );
}

#[test]
fn every_module_says_what_it_is_for() {
    let sources = sources();
    let modules = sources.iter().filter(|source| source.is_module());
    // A module's own tests stand in a file only because they are long.
    let silent =
        modules.filter(|source| !source.text.starts_with("//!") && !source.path.ends_with("/tests.rs"));
    nothing(
        silent.map(|source| source.path.clone()),
        "begin with a //! comment: what it is for, what it deliberately does not do, its invariant",
    );
}

#[test]
fn documents_name_files_that_are_there() {
    const CRATES: &[&str] = &["schemas/", "ledger/", "ingest/", "rating/", "jobs/", "tests/"];
    let sources = sources();
    let pages = sources.iter().filter(|source| source.path.ends_with(".md") && !source.is_in(&["tests/"]));
    let gone = pages.flat_map(|source| {
        source.lines(|line| {
            let part_of_path =
                |character: char| character.is_ascii_alphanumeric() || "/_.-".contains(character);
            let mut words = line.split(|character| !part_of_path(character));
            words.any(|word| {
                let is_source = word.ends_with(".rs") || word.ends_with(".py");
                is_source
                    && CRATES.iter().any(|name| word.starts_with(name))
                    && !workspace().join(word).is_file()
            })
        })
    });
    nothing(gone, "a document names a file that is gone");
}

#[test]
fn text_is_clean() {
    let sources = sources();
    let written: Vec<_> = sources.iter().filter(|source| !source.path.starts_with("tests/cases/")).collect();
    let blanks = written.iter().flat_map(|source| source.lines(|line| line.ends_with([' ', '\t', '\r'])));
    nothing(blanks, "blanks at the end of a line");
    let tabs = written
        .iter()
        .filter(|source| source.path != "Makefile")
        .flat_map(|source| source.lines(|line| line.contains('\t')));
    nothing(tabs, "a tab");
    let unended = written.iter().filter(|source| {
        !source.text.is_empty() && (!source.text.ends_with('\n') || source.text.ends_with("\n\n"))
    });
    nothing(unended.map(|source| source.path.clone()), "a file ends with one line break");
}

#[test]
fn text_knows_no_machine() {
    // In two parts, so that this file is not a finding.
    let banned = [
        concat!("/wo", "rk/"),
        concat!("/tm", "p/"),
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("repo1", ".maven.org"),
        concat!("repo", ".maven.apache.org"),
    ];
    let sources = sources();
    let findings =
        sources.iter().flat_map(|source| source.lines(|line| banned.iter().any(|part| line.contains(part))));
    nothing(findings, "a path of one machine, or a host that a build does not choose");
}
