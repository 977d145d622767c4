//! A month from its invoices to its corrections: imported, compared, decided, closed, handed over; and
//! what the month after learns.
//!
//! The case is `tests/cases/close`, on top of `tests/cases/month`; then come made-up months, which are
//! odder. Every figure was computed by another program than ours.

use std::path::{Path, PathBuf};
use tests::atcost::{Atcost, binary, utf8};
use tests::machine::{case, python};
use tests::month;

/// The made-up months, each a number that all of it follows from, and how many events each has.
const SEEDS: [&str; 2] = ["203", "204"];
const RECORDS: &str = "40";

/// The case in a folder of its own: catalogs, events, invoices and what is expected.
pub fn close_case(place: &Path) -> PathBuf {
    let case = place.join("case");
    let (text, is_made) = python("make_close_case.py", &[utf8(&case)]);
    assert!(is_made, "{text}");
    case
}

/// One test, because what is handed over is that of the month that was closed.
#[test]
fn every_figure_of_the_close_comes_out_to_the_last_place_and_others_can_read_it() {
    let place = tempfile::tempdir().expect("the machine has room for a folder");
    let folder = close_case(place.path());
    let (text, agrees) = python("close_run.py", &[utf8(&folder), utf8(binary())]);
    assert!(agrees && text.contains("45 commands, 0 complaints"), "{text}");

    let work = folder.join("work");
    let atcost = Atcost::existing_in(&work);
    let out = work.join("out");
    for period in ["2025-10", "2025-11"] {
        for (name, more) in [("both", &[][..]), ("days", &["--granularity", "day"][..])] {
            let out = out.join(name);
            atcost.ok(&[&["export", "focus", "--period", period, "--out", utf8(&out)], more].concat());
        }
        atcost.ok(&["rate", "--period", period]);
    }
    let of_month = |month: &str| work.join(format!("runs/period={month}"));
    let read =
        [utf8(&out).to_owned(), utf8(&of_month("2025-10")).to_owned(), utf8(&of_month("2025-11")).to_owned()];
    let (text, agree) = python("readers.py", &read.each_ref().map(String::as_str));
    assert!(agree && text.contains("by DuckDB, Polars, pandas, pyarrow: 0 complaints"), "{text}");
    let (text, holds) = python("focus_validate.py", &[utf8(&out.join("both")), utf8(&out.join("days"))]);
    assert!(holds, "{text}");
    match text.contains("skipped: ") {
        true => println!("{text}"),
        false => assert!(text.contains("12 files: nothing is broken but the known exceptions"), "{text}"),
    }
    nobody_has_anything_of_others(&work, &folder.join("catalog2"), ["2025-10", "2025-11"]);
}

/// Partners who bill for themselves, several currencies, grants.
#[test]
fn what_goes_out_to_somebody_has_nothing_of_others() {
    let catalog = case("prices/catalog");
    let atcost = Atcost::with_catalog(&catalog);
    atcost.ok(&["ingest", "--files", utf8(&case("prices/events")), "--until-caught-up"]);
    nobody_has_anything_of_others(atcost.folder(), &catalog, ["2025-11", "2025-12"]);
    // A foreign name in a description is found by the same eye.
    let (atcost, _) = month::rated();
    let catalog = atcost.folder().join("catalog");
    tests::closing::copy(&case("month/catalog"), &catalog);
    let prices = catalog.join("providers/nimbus/prices.toml");
    let text = std::fs::read_to_string(&prices).expect("the case is there");
    std::fs::write(&prices, text.replace("Standard instance hour", "Standard hour of Birch University"))
        .expect("the catalog can be written");
    atcost.ok(&["catalog", "publish", utf8(&catalog)]);
    let arguments = [utf8(binary()), utf8(atcost.folder()), utf8(&catalog), "2025-10"];
    let (text, is_clean) = python("scopes.py", &arguments);
    assert!(!is_clean && text.contains("'Birch University' of somebody else"), "{text}");
}

#[track_caller]
fn nobody_has_anything_of_others(folder: &Path, catalog: &Path, months: [&str; 2]) {
    let arguments = [utf8(binary()), utf8(folder), utf8(catalog), months[0], months[1]];
    let (text, is_clean) = python("scopes.py", &arguments);
    assert!(is_clean && text.contains(": 0 of others"), "{text}");
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
