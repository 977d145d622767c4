//! How long a commit takes after hundreds of them and after thousands, as the log itself says it.
//!
//! It asserts nothing about speed.

use crate::cost::{about_the_build, measure, ratio, thousandths};
use serde_json::json;
use std::fs;
use tests::atcost::{Atcost, binary};

/// Many commits of ten records each, and how far apart the log says they were made.
pub fn bench(commits: usize) {
    about_the_build();
    let atcost = Atcost::initialised();
    atcost.set("ingest", "batch_records = 10");
    let line = |number: usize| {
        let minute = number % 44_640;
        let event = json!({
            "specversion": "1.0", "id": format!("c-{number}"), "source": "//edge/ams", "type": "compute.example/instance-hours",
            "subject": format!("projects/p{:04}", number % 5000), "data": { "value": "1" },
            "time": format!("2025-10-{:02}T{:02}:{:02}:00Z", minute / 1440 + 1, minute / 60 % 24, minute % 60),
        });
        format!("{event}\n")
    };
    fs::write(atcost.folder().join("events.ndjson"), (0..commits * 10).map(line).collect::<String>())
        .expect("there is room");
    let cost =
        measure(atcost.folder(), binary(), &["ingest", "--files", "events.ndjson", "--until-caught-up"], &[]);
    let log = atcost.folder().join("ledger/shards/0/_delta_log");
    let made = |version: usize| -> u128 {
        let entry =
            fs::read_to_string(log.join(format!("{version:020}.json"))).expect("the commit is in the log");
        let first: serde_json::Value =
            serde_json::from_str(entry.lines().next().expect("an entry has lines"))
                .expect("an entry is JSON");
        first["commitInfo"]["timestamp"].as_u64().expect("a commit has a time").into()
    };
    let part = commits / 10;
    let early = made(1 + part) - made(1);
    let late = made(commits) - made(commits - part);
    println!(
        "{commits} commits of 10 records in {} s, {} MB at the highest",
        thousandths(cost.wall_ms),
        cost.peak_kb / 1024
    );
    println!(
        "one commit took {} ms in the first tenth and {} ms in the last",
        thousandths(early * 1000 / part as u128),
        thousandths(late * 1000 / part as u128)
    );
    let opened =
        measure(atcost.folder(), binary(), &["ingest", "--files", "events.ndjson", "--until-caught-up"], &[]);
    println!(
        "opening the ledger with {commits} commits and finding nothing new took {} s",
        thousandths(opened.wall_ms)
    );
    println!("last/first {}", ratio(late, early));
}
