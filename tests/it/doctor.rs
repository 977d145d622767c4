//! The doctor's look at a ledger: the same by usage totals as by every row, and a bit that flipped
//! anywhere is found though few rows are read.

use crate::places::{everything, on_disk, place, write};
use crate::stories::copy;
use crate::totals::{History, opened, runtime, some_history, step};
use derived::totals::LEAF;
use proptest::prelude::*;
use rating::catalog::{Catalog, CatalogFiles};
use rating::unattributed::months;
use rating::unseen::unseen_values;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;
use tests::atcost::Atcost;
use tests::machine::case;
use tests::month;

/// The month's catalog, with other bindings.
fn bound(bindings: &str) -> Catalog {
    let mut files = BTreeMap::new();
    let folder = case("month/catalog");
    for name in ["catalog.toml", "meters.toml", "customers.toml"] {
        files.insert(name.to_owned(), fs::read_to_string(folder.join(name)).expect("the case is there"));
    }
    for provider in ["nimbus", "stow", "lynx"] {
        for name in ["provider.toml", "prices.toml"] {
            let name = format!("providers/{provider}/{name}");
            let text = fs::read_to_string(folder.join(&name)).expect("the case is there");
            files.insert(name, text);
        }
    }
    files.insert("bindings.csv".to_owned(), format!("subject,customer,from,until\n{bindings}"));
    match Catalog::load(&CatalogFiles::new(files)) {
        Ok((catalog, _)) => catalog,
        Err(problems) => panic!("{problems:?}"),
    }
}

/// Bound whole, within days, at the ends of months in two zones, and in more stretches than a join
/// compares.
static CATALOGS: LazyLock<Vec<Catalog>> = LazyLock::new(|| {
    let always = |subject: &str| format!("projects/{subject},acme,2025-01-01T00:00:00Z,\n");
    let most: String = ["a1", "a2", "b1", "c1", "d1", "i1"].map(always).concat();
    let all = format!("{most}{}", always("x9"));
    let scattered: String = (1..30)
        .map(|day| {
            let (from, until) =
                (format!("2025-10-{day:02}T03:07:00Z"), format!("2025-10-{day:02}T21:40:00Z"));
            format!("projects/x9,acme,{from},{until}\n")
        })
        .collect();
    let within = "projects/x9,acme,2025-09-30T22:00:00Z,2025-10-31T23:10:00Z\n";
    let of_december = "projects/x9,acme,2025-10-31T00:00:00Z,\n";
    let some = [
        all,
        most.clone(),
        format!("{most}{scattered}"),
        format!("{most}{within}"),
        format!("{most}{of_december}"),
    ];
    some.iter().map(|bindings| bound(bindings)).chain([bound("")]).collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn cells_say_what_rows_say(steps in prop::collection::vec(step(), 1..12)) {
        runtime().block_on(async {
            let place = on_disk();
            let mut history = History::new(place.at.join("ledger"), LEAF).await;
            for step in &steps {
                history.step(step).await;
            }
            let (totals, rows) = (opened(history.ledger(), None, false).await, opened(history.ledger(), None, true).await);
            assert_eq!(totals.streams().await.expect("streams"), rows.streams().await.expect("streams"));
            assert_eq!(totals.counts().await.expect("counts"), rows.counts().await.expect("counts"));
            for catalog in CATALOGS.iter() {
                let unseen = unseen_values(&totals, catalog).await.expect("values");
                assert_eq!(unseen, unseen_values(&rows, catalog).await.expect("values"));
                let found = months(&totals, catalog).await.expect("months");
                assert_eq!(found, months(&rows, catalog).await.expect("months"));
            }
        });
    }
}

#[test]
fn one_bit_of_any_file_is_found() {
    runtime().block_on(async {
        let place = on_disk();
        let history = some_history(place.at.join("ledger"), LEAF, true).await;
        opened(history.ledger(), None, false).await.check_files().await.expect("nothing is wrong");
        let mut files = everything(&history.at.join("shards")).await;
        files.retain(|(location, _)| location.name().starts_with("rows-"));
        assert!(files.len() > 20, "more files than are hashed side by side: {}", files.len());
        for (number, (location, bytes)) in files.iter().enumerate() {
            let bit = number * 7_919 % (bytes.len() * 8);
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            write(location, flipped).await;
            let found = opened(history.ledger(), None, false).await.check_files().await;
            let told = found.expect_err("it is found").to_string();
            assert!(told.contains(&location.to_string()) && told.contains("its SHA-256 is"), "{told}");
            write(location, bytes.clone()).await;
        }
    });
}

#[test]
fn the_doctor_finds_one_bit_of_what_it_reads_and_of_what_it_does_not() {
    let (atcost, _) = month::rated();
    let ledger = atcost.folder().join("ledger");
    let healthy = atcost.run(&["doctor"]);
    runtime().block_on(async {
        for (location, bytes) in everything(&place(&ledger.join("shards"))).await {
            let mut flipped = bytes.clone();
            flipped[bytes.len() / 2] ^= 16;
            write(&location, flipped).await;
            let told = atcost.run(&["doctor"]);
            assert_eq!(told.code, Some(2), "{location}: {}", told.text());
            write(&location, bytes).await;
        }
    });
    let again = atcost.run(&["doctor"]);
    assert_eq!((again.code, again.stdout), (healthy.code, healthy.stdout));
}

#[test]
fn what_may_be_missing_from_the_last_month_that_was_rated_is_told() {
    let atcost = Atcost::initialised();
    copy(&case("prices"), atcost.folder());
    atcost.ok(&["catalog", "publish", "catalog"]);
    atcost.ok(&["ingest", "--files", "events", "--until-caught-up"]);
    let missing = || atcost.doctor()["missing"].clone();
    assert_eq!(missing(), Value::Null, "no month was rated");
    for (period, kind) in [("2025-11", "reset"), ("2025-12", "silent")] {
        let rated = atcost.json(&["rate", "--period", period]);
        let told = missing();
        assert_eq!((&told["period"], &told["rows"]), (&json!(period), &rated["completeness"]));
        let first = told["first"].as_array().expect("rows");
        assert!(first.iter().any(|row| row["kind"] == kind), "{told}");
        let text = atcost.run(&["doctor"]).stdout;
        let line = format!("{period}: something may be missing (");
        assert!(text.contains(&line) && text.contains(&format!("{kind} {}", told["rows"][kind])), "{text}");
    }
}
