//! `make bench`: what atcost costs, as ratios against something real measured in the same run.
//!
//! - Ingest: CPU of `atcost ingest` from a broker to durable commits, against a bare librdkafka consumer that only counts bytes.
//! - Rating: time of `atcost rate`, against DuckDB adding up the same rows by the same keys without deduplication or prices.
//!
//! The two of a pair alternate, and the best of each counts. It checks that every record arrived, but asserts nothing about speed.

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tests::atcost::{Atcost, binary, utf8};
use tests::broker::Broker;
use tests::duckdb::query;
use tests::encode::{Encoding, Record, record};
use tests::machine::case;

const PARTITIONS: i32 = 8;
const ROUNDS: usize = 3;
/// Records sent at a time, so that the bench's own memory stays small.
const CHUNK: usize = 100_000;

/// Milliseconds that a command took: on the clock, and of CPU.
#[derive(Clone, Copy)]
struct Cost {
    wall_ms: u128,
    cpu_ms: u128,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "consume", brokers, topic] => consume(brokers, topic),
        [_] => bench(1_000_000),
        [_, events] => bench(events.parse().expect("a number of events")),
        _ => panic!("bench [EVENTS]"),
    }
}

fn bench(events: usize) {
    let broker = Broker::start();
    let topic = broker.topic(PARTITIONS);
    if cfg!(debug_assertions) {
        println!("This is the build that the tests use. `make bench PROFILE=release` measures the one people run.");
    }
    println!("sending {events} Avro events to {PARTITIONS} partitions");
    let numbers: Vec<usize> = (0..events).collect();
    for chunk in numbers.chunks(CHUNK) {
        let records: Vec<Record> = chunk.iter().map(|number| event(*number)).collect();
        broker.produce_with(&topic, &[("compression.type", "zstd"), ("linger.ms", "50")], &records);
    }
    let this = std::env::current_exe().expect("a program knows its executable");
    let mut bare = Vec::new();
    let mut ingest = Vec::new();
    let mut ledger = None;
    for _ in 0..ROUNDS {
        bare.push(measure(Path::new("."), &this, &["consume", broker.address(), &topic]));
        let atcost = Atcost::with_catalog(&case("month/catalog"));
        ingest.push(measure(atcost.folder(), binary(), &["ingest", "--brokers", broker.address(), "--topic", &topic, "--until-caught-up"]));
        let rows = atcost.ledger("SELECT count(*) AS rows FROM ledger WHERE kind = 'usage'").lines().join("");
        assert!(rows.contains(&events.to_string()), "{events} events were sent, the ledger has {rows}");
        ledger = Some(atcost);
    }
    let atcost = ledger.expect("there was a round");
    let (bare, ingest) = (best(&bare), best(&ingest));
    println!("{:28} {:>12} {:>16} {:>12}", "", "events/s", "CPU µs/event", "seconds");
    for (name, cost) in [("a  bare consumer", bare), ("b  atcost ingest", ingest)] {
        show(name, cost, events);
    }
    println!("   CPU of b / CPU of a: {}", ratio(ingest.cpu_ms, bare.cpu_ms));

    let mut rate = Vec::new();
    let mut sums = Vec::new();
    for _ in 0..ROUNDS {
        rate.push(measure(atcost.folder(), binary(), &["rate", "--period", "2025-10"]));
        let begun = std::time::Instant::now();
        query(
            &atcost.folder().join("ledger/shards/0"),
            "SELECT \"type\", subject, dimensions, sum(value) AS total FROM 'rows-*.parquet' GROUP BY ALL",
        );
        let wall_ms = begun.elapsed().as_millis();
        sums.push(Cost { wall_ms, cpu_ms: wall_ms });
    }
    let (rate, sums) = (best(&rate), best(&sums));
    for (name, cost) in [("c  DuckDB, plain sums", sums), ("d  atcost rate", rate)] {
        show(name, cost, events);
    }
    println!("   time of d / time of c: {}", ratio(rate.wall_ms, sums.wall_ms));
    println!("b/a {}", ratio(bare.cpu_ms, ingest.cpu_ms));
}

/// One of the events, about 150 bytes of Avro, in October 2025.
fn event(number: usize) -> Record {
    let minute = number % 44_640;
    let event = json!({
        "specversion": "1.0", "id": format!("bench-{number:09}"), "source": format!("//edge/ams/node-{}", number % 40),
        "type": "compute.example/instance-hours", "subject": format!("projects/p{}", number % 500),
        "time": format!("2025-10-{:02}T{:02}:{:02}:00Z", minute / 1440 + 1, minute / 60 % 24, minute % 60),
        "data": { "value": format!("0.{:03}", number % 1000), "dimensions": { "class": "standard", "region": "ams" }, "provider": "nimbus" },
    });
    let partition = i32::try_from(number % 8).expect("a remainder of 8");
    record(Encoding::SingleObject, partition, &event)
}

/// Reads every partition to its end and counts bytes.
fn consume(brokers: &str, topic: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "bench").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
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

/// Runs a command and takes what bash says it cost, its children included.
fn measure(folder: &Path, program: &Path, arguments: &[&str]) -> Cost {
    let script = "TIMEFORMAT='%R %U %S'; time \"$@\" >/dev/null 2>&1";
    let output = Command::new("bash").args(["-ec", script, "bash", utf8(program)]).args(arguments).current_dir(folder).output().expect("bash starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{} {}: {said}", program.display(), arguments.join(" "));
    let times: Vec<u128> = said.split_whitespace().map(millis).collect();
    let [wall_ms, user, system] = times.as_slice() else { panic!("bash says {said:?}") };
    Cost { wall_ms: *wall_ms, cpu_ms: user + system }
}

/// `1.234` seconds, as bash prints them, in milliseconds.
fn millis(seconds: &str) -> u128 {
    let (whole, thousandths) = seconds.split_once('.').expect("bash prints three decimals");
    whole.parse::<u128>().expect("seconds") * 1000 + thousandths.parse::<u128>().expect("thousandths")
}

fn best(costs: &[Cost]) -> Cost {
    let least = |of: fn(&Cost) -> u128| costs.iter().map(of).min().expect("there was a round");
    Cost { wall_ms: least(|cost| cost.wall_ms), cpu_ms: least(|cost| cost.cpu_ms) }
}

fn show(name: &str, cost: Cost, events: usize) {
    let events = events as u128;
    let rate = events * 1000 / cost.wall_ms.max(1);
    let nanos = cost.cpu_ms * 1_000_000 / events.max(1);
    println!("{name:28} {rate:>12} {:>16} {:>12}", thousandths(nanos), thousandths(cost.wall_ms));
}

fn ratio(one: u128, other: u128) -> String {
    thousandths(one * 1000 / other.max(1))
}

fn thousandths(value: u128) -> String {
    format!("{}.{:03}", value / 1000, value % 1000)
}
