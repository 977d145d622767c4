//! What may be missing from a run, as usage totals tell it: without the rows that it does not depend on, and
//! not at all where they are not those of the rows.

use crate::ledger::instant;
use crate::places::{everything, on_disk, write};
use crate::properties::Event;
use crate::totals::{History, forge, opened, rated, run_of, runtime};
use arrow::array::RecordBatch;
use derived::totals::LEAF;
use rating::run::CompletenessKind;
use schemas::decimal::Quantity;
use serde_json::Value;
use std::path::PathBuf;
use tests::atcost::{Atcost, utf8};
use tests::machine::case;

/// What a run tells of the numbers of producers.
fn gaps_in(atcost: &Atcost, more: &[&str]) -> (Value, Vec<u8>) {
    let printed = atcost.json(&[&["rate", "--period", "2025-11"], more].concat());
    let folder = PathBuf::from(printed["folder"].as_str().expect("a folder"));
    let table = std::fs::read(folder.join("completeness.parquet")).expect("a table");
    std::fs::remove_dir_all(folder).expect("it can be deleted");
    (printed["completeness"]["sequence-gap"].clone(), table)
}

#[test]
fn numbers_of_producers_that_are_not_those_of_the_rows_are_not_believed() {
    let atcost = Atcost::with_catalog(&case("prices/catalog"));
    atcost.run(&["ingest", "--files", utf8(&case("prices/events")), "--until-caught-up"]);
    let expected = gaps_in(&atcost, &["--from-rows"]);
    assert_eq!(expected.0, 1);
    assert!(gaps_in(&atcost, &[]) == expected, "other rows");
    let derived = atcost.folder().join("ledger/derived");
    let without_the_last = |runs: &RecordBatch| Some(runs.slice(0, runs.num_rows() - 1));
    forge(&derived.join("totals"), "numbers", without_the_last);
    let refused = atcost.run(&["rate", "--period", "2025-11"]);
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    for said in ["the numbers of producers are those of", "`atcost verify totals`", "`derived`"] {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.text());
    }
    let told = atcost.run(&["verify", "totals"]);
    assert_eq!(told.code, Some(1), "{}", told.text());
    assert!(told.stdout.contains("the totals are not those of the rows"), "{}", told.text());
    std::fs::remove_dir_all(derived).expect("it can be deleted");
    assert!(gaps_in(&atcost, &[]) == expected, "other rows");
}

/// What is said of the ports of a subject at midnight of some days.
fn ports(subject: &'static str, days: &[&str]) -> Vec<Event> {
    let event = |day: &&str| Event {
        id: format!("{subject}-{day}"),
        meter: "network.example/ports",
        subject,
        time: instant(&format!("{day}T00:00:00Z")),
        quantity: Quantity::from_units(2_000_000_000).expect("a quantity"),
        dimension: ("destination", "eu"),
        provider: None,
        producer: None,
        correction: None,
    };
    days.iter().map(event).collect()
}

/// Which files of rows a rating of October reads: of those it does not, damage is not seen.
async fn read_of(history: &History) -> Vec<bool> {
    let mut files = everything(&history.at.join("shards")).await;
    files.retain(|(location, _)| location.name().starts_with("rows-"));
    let (expected, _) = rated(history.ledger(), None, true).await;
    let mut read = Vec::new();
    for (location, bytes) in &files {
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        write(location, damaged).await;
        let usage = opened(history.ledger(), None, false).await;
        let run = run_of(history.ledger(), None, &usage).await;
        write(location, bytes.clone()).await;
        match run {
            Ok(run) => {
                assert_eq!(run.cost_lines, expected.cost_lines, "{location}");
                assert_eq!(run.completeness, expected.completeness, "{location}");
                read.push(false);
            }
            Err(error) => {
                assert!(error.to_string().contains("its SHA-256 is"), "{error}");
                read.push(true);
            }
        }
    }
    read
}

#[test]
fn a_series_is_read_from_before_its_month_only_where_it_matters() {
    runtime().block_on(async {
        let place = on_disk();
        let mut history = History::new(place.at.join("ledger"), LEAF).await;
        let kept = ["2025-09-29", "2025-09-30", "2025-10-01", "2025-10-02"];
        // The first is heard all the time, the second again after weeks, the third for the first time.
        history.commit(0, &ports("projects/a1", &["2025-08-10", "2025-08-11"])).await;
        history.commit(0, &ports("projects/a1", &kept)).await;
        let october = ["2025-10-04", "2025-10-05"];
        history.commit(0, &ports("projects/c1", &october)).await;
        assert_eq!(read_of(&history).await, [false, true, true]);
        history.commit(0, &ports("projects/b1", &["2025-08-20"])).await;
        history.commit(0, &ports("projects/b1", &october)).await;
        assert_eq!(read_of(&history).await, [false, true, true, true, true]);
        let (run, _) = rated(history.ledger(), None, false).await;
        let silent = run.completeness.iter().filter(|row| row.kind == CompletenessKind::Gap);
        let silent: Vec<_> =
            silent.map(|row| (row.subject.as_ref().expect("one").as_str(), row.from)).collect();
        // From the beginning of the month in the provider's zone until it is heard again.
        assert!(silent.contains(&("projects/b1", instant("2025-10-01T00:00:00Z"))), "{silent:?}");
        assert!(
            !silent
                .iter()
                .any(|(subject, from)| *subject == "projects/c1" && *from < instant("2025-10-04T00:00:00Z"))
        );
    });
}
