//! A month from its invoices to its corrections: imported, compared, decided, closed, handed over; and
//! what the month after learns.
//!
//! The case is `tests/cases/close`, on top of `tests/cases/month`; then come made-up months, which are
//! odder. Every figure was computed by another program than ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use tests::atcost::{binary, utf8};
use tests::machine::{provided, workspace};

/// The made-up months, each a number that all of it follows from, and how many events each has.
const SEEDS: [&str; 2] = ["202", "203"];
const RECORDS: &str = "40";

/// Runs a script of tests/python; gives what it printed and whether it was content.
fn python(script: &str, arguments: &[&str]) -> (String, bool) {
    let output = Command::new(provided("ATCOST_PYTHON", "python/bin/python"))
        .arg("-B")
        .arg(workspace().join("tests/python").join(script))
        .args(arguments)
        .output()
        .expect("Python starts");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (text.into_owned(), output.status.success())
}

/// The case in a folder of its own: catalogs, events, invoices and what is expected.
pub fn case(place: &Path) -> PathBuf {
    let case = place.join("case");
    let (text, is_made) = python("make_close_case.py", &[utf8(&case)]);
    assert!(is_made, "{text}");
    case
}

#[test]
fn every_figure_of_the_close_comes_out_to_the_last_place() {
    let place = tempfile::tempdir().expect("the machine has room for a folder");
    let case = case(place.path());
    let (text, agrees) = python("close_run.py", &[utf8(&case), utf8(binary())]);
    assert!(agrees && text.contains("45 commands, 0 complaints"), "{text}");
}

/// Made-up months: of each its invoices, what is decided of them, its close, what the months after
/// correct, and all that is handed out. Odd ones have partners, rates and every meter and price.
#[test]
fn made_up_months_come_out_as_another_program_says() {
    let place = tempfile::tempdir().expect("the machine has room for a folder");
    let made_up = |seed: &str| {
        let case = place.path().join(seed);
        let (text, is_made) = python("make_close.py", &[seed, utf8(&case), RECORDS]);
        assert!(is_made, "seed {seed}: {text}");
        let (text, agrees) = python("close_run.py", &[utf8(&case), utf8(binary())]);
        assert!(agrees && text.contains(" commands, 0 complaints"), "seed {seed}: {text}");
    };
    std::thread::scope(|scope| {
        let running = SEEDS.map(|seed| scope.spawn(move || made_up(seed)));
        for (seed, running) in SEEDS.into_iter().zip(running) {
            assert!(running.join().is_ok(), "seed {seed}");
        }
    });
}
