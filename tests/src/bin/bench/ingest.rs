//! CPU of `atcost ingest` from a broker to durable commits, against a bare librdkafka consumer that
//! only counts bytes, and against itself without sealing.
//!
//! It checks that every record arrived, but asserts nothing about speed.

use crate::cost::{Cost, about_the_build, measure, ratio, show, typical};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tests::atcost::{Atcost, binary, utf8};
use tests::broker::Broker;
use tests::duckdb::queries;
use tests::encode::{Record, USAGE_EVENT_V1_CANONICAL, datum, single_object};

/// How often each side of a comparison runs.
const ROUNDS: usize = 5;

const PARTITIONS: i32 = 8;
/// Records sent at a time, so that the bench's own memory stays small.
const CHUNK: usize = 100_000;

pub fn bench(events: usize) {
    about_the_build();
    let (broker, topic) = filled(events);
    let this = std::env::current_exe().expect("a program knows its executable");
    let (mut bare, mut sealed, mut unsealed) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for round in 1..=ROUNDS {
        eprintln!("  round {round} of {ROUNDS}");
        bare.push(measure(Path::new("."), &this, &["consume", broker.address(), &topic], &[]));
        let (cost, atcost) = ingest(&broker, &topic, events, &[]);
        sealed.push(cost);
        // Only a build with failpoints can leave out the seals, and what it writes is no ledger.
        if cfg!(debug_assertions) {
            unsealed.push(ingest(&broker, &topic, events, &[("FAILPOINTS", "seal.skip=return")]).0);
        }
        last = Some(atcost);
    }
    let (bare, sealed) = (typical(&bare), typical(&sealed));
    println!(
        "{:34} {:>10} {:>14} {:>9} {:>10} {:>12}",
        "", "events/s", "CPU s/million", "seconds", "peak MB", "MB at a fifth"
    );
    show("a  bare consumer", bare, events);
    show("b  atcost ingest", sealed, events);
    if !unsealed.is_empty() {
        let unsealed = typical(&unsealed);
        show("c  atcost ingest without sealing", unsealed, events);
        println!(
            "b/c {} of the CPU: sealing costs {} of ingest",
            ratio(sealed.cpu_ms, unsealed.cpu_ms),
            ratio(sealed.cpu_ms.saturating_sub(unsealed.cpu_ms), sealed.cpu_ms)
        );
    }
    let atcost = last.expect("there was a round");
    let (ours, plain) = sizes(&atcost);
    println!(
        "{} bytes per event on disk, {} as plain zstd Parquet by DuckDB: {}",
        ours / events as u64,
        plain / events as u64,
        ratio(ours.into(), plain.into())
    );
    println!("b/a {}", ratio(bare.cpu_ms, sealed.cpu_ms));
}

fn ingest(broker: &Broker, topic: &str, events: usize, environment: &[(&str, &str)]) -> (Cost, Atcost) {
    let atcost = Atcost::initialised();
    let arguments = ["ingest", "--brokers", broker.address(), "--topic", topic, "--until-caught-up"];
    let cost = measure(atcost.folder(), binary(), &arguments, environment);
    if environment.is_empty() {
        let rows = atcost.ledger("SELECT count(*) AS rows FROM ledger WHERE kind = 'usage'").lines().join("");
        assert!(rows.contains(&events.to_string()), "{events} events were sent, the ledger has {rows}");
    }
    (cost, atcost)
}

/// The bytes of the ledger's Parquet files, and of the same rows written once more by DuckDB.
fn sizes(atcost: &Atcost) -> (u64, u64) {
    let shard = atcost.folder().join("ledger/shards/0");
    let size = |path: &Path| fs::metadata(path).expect("a file has a size").len();
    let files: Vec<_> = fs::read_dir(&shard)
        .expect("a shard is a folder")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    let ours = files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .map(|path| size(path))
        .sum();
    let plain = atcost.folder().join("plain.parquet");
    queries(
        &shard,
        &[
            &format!(
                "COPY (SELECT * FROM 'rows-*.parquet') TO '{}' (FORMAT parquet, COMPRESSION zstd)",
                utf8(&plain)
            ),
            "SELECT 1 AS done",
        ],
    );
    (ours, size(&plain))
}

/// A broker with a topic of that many events.
fn filled(events: usize) -> (Broker, String) {
    let broker = Broker::start();
    let topic = broker.topic(PARTITIONS);
    let mut bytes = 0;
    let header = single_object(USAGE_EVENT_V1_CANONICAL, &[]);
    let mut sent = 0;
    while sent < events {
        let records: Vec<Record> =
            (sent..events.min(sent + CHUNK)).map(|number| event(&header, number)).collect();
        bytes += records.iter().map(|record| record.value.as_ref().map_or(0, Vec::len)).sum::<usize>();
        broker.produce_with(&topic, &[("compression.type", "zstd"), ("linger.ms", "50")], &records);
        sent += records.len();
        if sent % (10 * CHUNK) == 0 {
            eprintln!("  {sent} of {events} events sent");
        }
    }
    println!(
        "{events} Avro events of {} bytes on average, in {PARTITIONS} partitions",
        bytes / events.max(1)
    );
    (broker, topic)
}

/// One of the events, about 200 bytes of Avro, in October 2025. Ids are as random as a UUID, so
/// that they compress as badly.
fn event(header: &[u8], number: usize) -> Record {
    let minute = number % 44_640;
    let mixed = (number as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let other = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let event = json!({
        "specversion": "1.0", "id": format!("{:08x}-{:04x}-4{:03x}-{:016x}", mixed >> 32, mixed & 0xFFFF, other >> 52, other ^ (other >> 31)),
        "source": format!("//edge/ams/rack-{:02}/node-{:03}", number % 40, number % 800),
        "type": "compute.example/instance-hours", "subject": format!("projects/p{:04}", number % 5000),
        "time": format!("2025-10-{:02}T{:02}:{:02}:00Z", minute / 1440 + 1, minute / 60 % 24, minute % 60),
        "data": {
            "value": format!("{}.{:03}", number % 7, number % 1000), "provider": "nimbus", "location": "eu-west/ams-3",
            "dimensions": { "class": "standard", "region": "ams", "os": "linux" },
            "producer": { "id": format!("node-{:03}", number % 800), "epoch": 1, "seq": number / 800 },
        },
    });
    let partition = i32::try_from(number % 8).expect("a remainder of 8");
    Record::bare(partition, [header, &datum(&event)].concat())
}

/// Reads every partition to its end and counts bytes.
pub fn consume(brokers: &str, topic: &str) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().expect("the configuration is valid");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("partitions are assigned");
    let mut bytes = 0;
    let mut ends = 0;
    while ends < PARTITIONS {
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => bytes += message.payload().map_or(0, <[u8]>::len),
            Some(Err(KafkaError::PartitionEOF(_))) => ends += 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    println!("{bytes} bytes");
}
