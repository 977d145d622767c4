//! `make bench-ingest`, `make bench-commits` and `make bench-rate`: what atcost costs, as ratios
//! against something real measured in the same run.
//!
//! - Ingest: CPU of `atcost ingest` from a broker to durable commits, against a bare librdkafka
//!   consumer that only counts bytes, and against itself without sealing.
//! - Commits: how long one takes after hundreds and after thousands of them.
//! - Rating: time of `atcost rate`, against DuckDB adding up the same rows by the same keys without
//!   deduplication or prices.
//!
//! The sides of a comparison alternate, and the median of each counts, which scatters less than
//! half as much as the best. It checks that every record arrived, but asserts nothing about speed.

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::atcost::{Atcost, binary, utf8};
use tests::broker::Broker;
use tests::duckdb::{queries, query};
use tests::encode::{Record, USAGE_EVENT_V1_CANONICAL, datum, single_object};
use tests::machine::case;

const PARTITIONS: i32 = 8;
const ROUNDS: usize = 5;
/// Records sent at a time, so that the bench's own memory stays small.
const CHUNK: usize = 100_000;

/// The cost of a command: milliseconds on the clock and of CPU, and kilobytes of memory.
#[derive(Clone, Copy)]
struct Cost {
    wall_ms: u128,
    cpu_ms: u128,
    /// At its highest.
    peak_kb: u64,
    /// After a fifth of the time, to see whether it grows.
    early_kb: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |text: &str| text.parse().expect("a number of events");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "consume", brokers, topic] => consume(brokers, topic),
        [_, "ingest"] => bench_ingest(5_000_000),
        [_, "ingest", events] => bench_ingest(number(events)),
        [_, "commits"] => bench_commits(5_000),
        [_, "commits", commits] => bench_commits(number(commits)),
        [_, "rate"] => bench_rate(1_000_000),
        [_, "rate", events] => bench_rate(number(events)),
        _ => panic!("bench ingest|commits|rate [NUMBER]"),
    }
}

fn about_the_build() {
    if cfg!(debug_assertions) {
        println!(
            "This is the build that the tests use; what every event passes through is optimised in it. PROFILE=release is what people run."
        );
    }
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

fn bench_ingest(events: usize) {
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

/// Many commits of ten records each, and how far apart the log says they were made.
fn bench_commits(commits: usize) {
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

fn bench_rate(events: usize) {
    about_the_build();
    let (broker, topic) = filled(events);
    let atcost = Atcost::with_catalog(&case("month/catalog"));
    atcost.ok(&["ingest", "--brokers", broker.address(), "--topic", &topic, "--until-caught-up"]);
    let (mut rate, mut sums) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        rate.push(measure(atcost.folder(), binary(), &["rate", "--period", "2025-10"], &[]));
        let begun = std::time::Instant::now();
        query(
            &atcost.folder().join("ledger/shards/0"),
            "SELECT \"type\", subject, dimensions, sum(value) AS total FROM 'rows-*.parquet' GROUP BY ALL",
        );
        sums.push(begun.elapsed().as_millis());
    }
    let rate = typical(&rate);
    let sums = median(sums.into_iter());
    println!(
        "atcost rate {} s ({} MB at its highest), DuckDB's plain sums {} s",
        thousandths(rate.wall_ms),
        rate.peak_kb / 1024,
        thousandths(sums)
    );
    println!("rate/sums {}", ratio(rate.wall_ms, sums));
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
fn consume(brokers: &str, topic: &str) {
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

/// Runs a command and takes what bash says it cost, its children included; its memory is read while
/// it runs.
fn measure(folder: &Path, program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Cost {
    let script = "TIMEFORMAT='%R %U %S'; time { \"$@\" >/dev/null 2>&1 & echo $!; wait $!; }";
    let mut bash = Command::new("bash");
    bash.args(["-ec", script, "bash", utf8(program)])
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(folder);
    let mut child = bash.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bash starts");
    let mut pid = String::new();
    BufReader::new(child.stdout.take().expect("stdout is piped"))
        .read_line(&mut pid)
        .expect("bash tells the process");
    let mut memory = Vec::new();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            break status;
        }
        memory.extend(resident_kb(pid.trim()));
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut said = String::new();
    child.stderr.take().expect("stderr is piped").read_to_string(&mut said).expect("bash says what it cost");
    assert!(status.success(), "{} {}: {said}", program.display(), arguments.join(" "));
    let times: Vec<u128> = said.split_whitespace().map(millis).collect();
    let [wall_ms, user, system] = times.as_slice() else { panic!("bash says {said:?}") };
    let peak_kb = memory.iter().copied().max().unwrap_or_default();
    let early_kb = memory[..memory.len().div_ceil(5)].iter().copied().max().unwrap_or_default();
    Cost { wall_ms: *wall_ms, cpu_ms: user + system, peak_kb, early_kb }
}

/// The memory that a process has now.
fn resident_kb(pid: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
}

/// `1.234` seconds, as bash prints them, in milliseconds.
fn millis(seconds: &str) -> u128 {
    let (whole, thousandths) = seconds.split_once('.').expect("bash prints three decimals");
    whole.parse::<u128>().expect("seconds") * 1000 + thousandths.parse::<u128>().expect("thousandths")
}

/// The median of each, but the most memory.
fn typical(costs: &[Cost]) -> Cost {
    let of = |part: fn(&Cost) -> u128| median(costs.iter().map(part));
    let memory = costs.iter().max_by_key(|cost| cost.peak_kb).expect("there was a round");
    Cost { wall_ms: of(|cost| cost.wall_ms), cpu_ms: of(|cost| cost.cpu_ms), ..*memory }
}

fn median(values: impl Iterator<Item = u128>) -> u128 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn show(name: &str, cost: Cost, events: usize) {
    let events = events as u128;
    let rate = events * 1000 / cost.wall_ms.max(1);
    // Milliseconds per thousand events are seconds per million.
    let per_million = thousandths(cost.cpu_ms * 1_000_000 / events.max(1));
    println!(
        "{name:34} {rate:>10} {per_million:>14} {:>9} {:>10} {:>12}",
        thousandths(cost.wall_ms),
        cost.peak_kb / 1024,
        cost.early_kb / 1024
    );
}

fn ratio(one: u128, other: u128) -> String {
    thousandths(one * 1000 / other.max(1))
}

fn thousandths(value: u128) -> String {
    format!("{}.{:03}", value / 1000, value % 1000)
}
