//! The README is what a stranger types: its `atcost` commands run in an empty folder and print what it shows.
//!
//! `UPDATE_EXPECT=1` writes what they print. Folders and run ids, which differ from run to run, are shown as fixed ones.

use std::fs;
use tests::atcost::{Atcost, utf8};
use tests::machine::workspace;
use tests::update_expected;

/// How the README calls the folder it works in, and the clone.
const FOLDER: &str = "~/october";
const CLONE: &str = "PATH";
const RUN: &str = "0123456789abcdef";

#[test]
fn the_readme_shows_what_its_commands_print() {
    let path = workspace().join("README.md");
    let readme = fs::read_to_string(&path).expect("the README");
    let atcost = Atcost::empty();
    let mut actual = String::new();
    let mut lines = readme.lines().peekable();
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
            assert!(goals.split(' ').all(|goal| makefile.contains(&format!("\n{goal}:"))), "the Makefile has no {goals}");
            continue;
        }
        let arguments = command.strip_prefix("atcost ").unwrap_or_else(|| panic!("the README says {command:?}, which nothing runs"));
        let arguments: Vec<String> = arguments.split(' ').map(|word| word.replace(CLONE, utf8(workspace()))).collect();
        let printed = atcost.ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        commands += 1;
        actual.push_str(&steady(&printed, utf8(atcost.folder())));
        while lines.next_if(|line| !line.starts_with("$ ") && !line.starts_with("```")).is_some() {}
    }
    assert!(commands >= 5, "the README has lost its commands");
    if update_expected() {
        fs::write(&path, &actual).expect("the README can be written");
    } else {
        assert!(actual == readme, "the README shows something else than its commands print; UPDATE_EXPECT=1 writes this:\n{actual}");
    }
}

/// What was printed, with the folder and the run's id as the README calls them.
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
