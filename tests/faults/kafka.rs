//! The faults that can happen around a real broker: processes killed, brokers killed, two owners,
//! full and read-only disks, clocks that jump, topics created again, records gone before they were
//! read, shards divided anew.
//!
//! Every trial ends the same way: what a plain consumer reads of the topic is in the ledger, each
//! record once and at its offset, and every stream is read up to its end.

// Modules in reading order.
mod clock; // the wall clock of a process, moved
mod disk; // a small disk that can be full or read-only
mod load; // records that keep arriving

use crate::campaign::{Campaign, Extent, Trial};
use load::Load;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::atcost::{Atcost, Output, Running};
use tests::broker::{Broker, Partition};
use tests::duckdb::queries;
use tests::machine::wait_for;

const THOUSAND: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn trials(extent: Extent, full: u64) -> u64 {
    if extent == Extent::Full { full } else { 1 }
}

pub const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "kafka-kill",
        what: "kill -9 of ingest under load",
        trials: |extent| trials(extent, 50),
        threads: 2,
        run: kill,
    },
    Campaign {
        name: "kafka-broker",
        what: "kill -9 of the broker while ingest reads",
        trials: |extent| trials(extent, 5),
        threads: 1,
        run: broker_killed,
    },
    Campaign {
        name: "kafka-owners",
        what: "two owners of the same partitions",
        trials: |extent| trials(extent, 10),
        threads: 1,
        run: owners,
    },
    Campaign {
        name: "kafka-disk-full",
        what: "a disk that is full",
        trials: |extent| trials(extent, 10),
        threads: 1,
        run: disk_full,
    },
    Campaign {
        name: "kafka-read-only",
        what: "a disk remounted read-only",
        trials: |extent| trials(extent, 5),
        threads: 1,
        run: read_only,
    },
    Campaign {
        name: "kafka-clock",
        what: "a wall clock that jumps by up to 40 days",
        trials: |extent| trials(extent, 5),
        threads: 1,
        run: clock_jumps,
    },
    Campaign {
        name: "kafka-recreated",
        what: "a topic deleted and created again",
        trials: |extent| trials(extent, 12),
        threads: 1,
        run: recreated,
    },
    Campaign {
        name: "kafka-retention",
        what: "records deleted before they were read",
        trials: |extent| trials(extent, 10),
        threads: 1,
        run: retention,
    },
    Campaign {
        name: "kafka-shards",
        what: "the number of shards changed under load",
        trials: |extent| trials(extent, 8),
        threads: 1,
        run: shards,
    },
];

/// How many faults a trial makes.
fn faults(trial: &Trial, small: u64, full: u64) -> u64 {
    if trial.extent == Extent::Full { full } else { small }
}

fn pause(trial: &mut Trial, below_ms: u64) {
    sleep(Duration::from_millis(trial.random.below(below_ms)));
}

/// A ledger that commits often.
fn ledger(folder: &Path, records: u32) -> Atcost {
    let atcost = Atcost::initialised_in(folder);
    atcost.set("ingest", &format!("batch_records = {records}\nbatch_seconds = 1"));
    atcost
}

fn ingest<'a>(broker: &'a Broker, topic: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["ingest", "--brokers", broker.address(), "--topic", topic], more].concat()
}

fn start(atcost: &Atcost, broker: &Broker, topic: &str) -> Running {
    atcost.spawn(&ingest(broker, topic, &[]))
}

/// Reads to the end of the topic, which must come.
fn finish(trial: &mut Trial, atcost: &Atcost, broker: &Broker, topic: &str) {
    let output = atcost.run(&ingest(broker, topic, &["--until-caught-up"]));
    if output.code != Some(0) {
        trial.failed(format!("the last run does not reach the end of the topic: {}", output.text()));
    }
}

/// Whether it ended by itself with exit status 2 and these words. Anything else is a failure of the
/// trial.
fn refused(trial: &mut Trial, output: &Output, words: &str) -> bool {
    let as_expected = output.code == Some(2) && output.stderr.contains(words);
    if !as_expected {
        trial.failed(format!("it should have ended with {words:?}: {}", output.text()));
    }
    as_expected
}

/// The shards of a ledger, as folders.
fn shard_folders(atcost: &Atcost) -> Vec<PathBuf> {
    let shards = fs::read_dir(atcost.folder().join("ledger/shards")).expect("a ledger has shards");
    shards.map(|entry| entry.expect("the folder can be listed").path()).collect()
}

fn files(folder: &Path, extension: &str) -> usize {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    listed.filter(|entry| entry.path().extension().is_some_and(|found| found == extension)).count()
}

/// The entries of a shard's log, in their order.
fn log(shard: &Path) -> Vec<String> {
    let mut entries: Vec<_> = fs::read_dir(shard.join("_delta_log"))
        .expect("a shard has a log")
        .map(|entry| entry.expect("the log can be listed").path())
        .collect();
    entries.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    entries.sort();
    entries.iter().map(|path| fs::read_to_string(path).expect("the log can be read")).collect()
}

/// Files of rows that no commit names.
fn unnamed(shard: &Path) -> usize {
    let log = log(shard).concat();
    let listed = fs::read_dir(shard)
        .expect("a shard is a folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    listed.filter(|name| name.ends_with(".parquet") && !log.contains(name)).count()
}

fn commits(atcost: &Atcost) -> usize {
    shard_folders(atcost).iter().map(|shard| files(&shard.join("_delta_log"), "json")).sum()
}

/// Waits until the ledger has more than `commits`.
fn wait_for_commit(trial: &mut Trial, atcost: &Atcost, running: &mut Running, before: usize) {
    if wait_for(PATIENCE, || (commits(atcost) > before || !running.is_running()).then_some(())).is_none() {
        trial.failed("nothing is committed any more");
    }
}

/// The rows of all shards: what is recorded of each offset of each stream, the id of its event, or
/// none where it was refused. Gaps have none.
fn rows(atcost: &Atcost) -> BTreeMap<(String, i64), Option<String>> {
    let ledger = atcost.folder().join("ledger");
    let mut paths = Vec::new();
    for shard in shard_folders(atcost) {
        let mut active = BTreeSet::new();
        for line in log(&shard).iter().flat_map(|entry| entry.lines()) {
            let action: serde_json::Value = serde_json::from_str(line).expect("a line of the log is JSON");
            if let Some(path) = action["add"]["path"].as_str() {
                active.insert(shard.join(path));
            }
            if let Some(path) = action["remove"]["path"].as_str() {
                active.remove(&shard.join(path));
            }
        }
        paths.extend(active.iter().map(|path| format!("'{}'", path.display())));
    }
    if paths.is_empty() {
        return BTreeMap::new();
    }
    let statement = format!(
        "SELECT origin || '/' || \"partition\" AS stream, \"offset\", id FROM read_parquet([{}]) WHERE kind <> 'gap'",
        paths.join(", ")
    );
    let table = queries(&ledger, &[&statement]).remove(0);
    let row = |row: Vec<Option<String>>| {
        let [stream, offset, id] = <[_; 3]>::try_from(row).expect("three columns were asked for");
        (
            (
                stream.expect("a row has a stream"),
                offset.expect("a row has an offset").parse().expect("an offset is a number"),
            ),
            id,
        )
    };
    table.rows.into_iter().map(row).collect()
}

/// The streams of a topic, each from its first offset to the last.
fn whole(read: &[Partition]) -> Vec<(String, Range<i64>)> {
    read.iter().map(|partition| (partition.stream.clone(), 0..partition.high)).collect()
}

/// Compares what can be read of the topic with what is in the ledger.
fn recount(trial: &mut Trial, atcost: &Atcost, broker: &Broker, topic: &str) {
    let read = broker.read(topic);
    let expected = whole(&read);
    let audit = trial.audit(&atcost.folder().join("ledger"), &expected);
    for (stream, range) in &expected {
        let next = audit.shards.iter().filter_map(|shard| shard.next.get(stream).copied().flatten()).max();
        if next.unwrap_or(range.start) != range.end {
            trial.failed(format!("{stream} is read up to {next:?} and ends at {}", range.end));
        }
    }
    let rows = rows(atcost);
    for partition in &read {
        for (offset, value) in &partition.records {
            if rows.get(&(partition.stream.clone(), *offset)) != Some(&load::id(value)) {
                trial.failed(format!(
                    "{} {offset}: the row is not the record: {:?}",
                    partition.stream,
                    rows.get(&(partition.stream.clone(), *offset))
                ));
                return;
            }
        }
    }
    for _ in 0..rows.len() / THOUSAND {
        trial.tally("thousand records compared");
    }
}

/// Half of the kills fall anywhere, the other half between a file of rows and the commit that names
/// it.
fn kill(trial: &mut Trial) {
    let broker = Broker::shared();
    let (topic, atcost) = (broker.topic(4), ledger(trial.folder(), 150));
    let load = Load::start(broker, &topic, 4, 0);
    let shard = atcost.folder().join("ledger/shards/0");
    for _ in 0..faults(trial, 6, 10) {
        let (before, begun) = (commits(&atcost), Instant::now());
        let mut running = start(&atcost, broker, &topic);
        if trial.random.chance(50) {
            pause(trial, 2_000);
        } else {
            let further = trial.random.below(4);
            wait_for_commit(
                trial,
                &atcost,
                &mut running,
                before + usize::try_from(further).expect("a small number"),
            );
            let files_before = files(&shard, "parquet");
            while files(&shard, "parquet") <= files_before && begun.elapsed() < PATIENCE {}
        }
        running.kill();
        let output = running.wait();
        if output.code.is_some() {
            trial.failed(format!("it ended before it was killed: {}", output.text()));
        }
        trial.injected(1);
        let committed = commits(&atcost) - before;
        trial.tally(if committed == 0 { "killed before its first commit" } else { "killed after a commit" });
    }
    load.stop();
    for _ in 0..unnamed(&shard) {
        trial.tally("killed between the file and its commit");
    }
    finish(trial, &atcost, broker, &topic);
    recount(trial, &atcost, broker, &topic);
}

fn broker_killed(trial: &mut Trial) {
    let mut broker = Broker::start();
    let (topic, atcost) = (broker.topic(3), ledger(trial.folder(), 1_000));
    let load = Load::start(&broker, &topic, 3, 0);
    let mut running = start(&atcost, &broker, &topic);
    for _ in 0..faults(trial, 1, 4) {
        let before = commits(&atcost);
        wait_for_commit(trial, &atcost, &mut running, before);
        pause(trial, 1_000);
        broker.kill();
        trial.injected(1);
        pause(trial, 2_000);
        broker.start_again();
        let before = commits(&atcost);
        wait_for_commit(trial, &atcost, &mut running, before);
    }
    load.stop();
    let output = running.stop();
    if output.code != Some(0) {
        trial.failed(format!("it does not outlive its broker: {}", output.text()));
    }
    finish(trial, &atcost, &broker, &topic);
    recount(trial, &atcost, &broker, &topic);
}

/// Now and then one of the two sleeps for a while, so that it wakes with an old view of the ledger
/// and a batch of the past.
fn owners(trial: &mut Trial) {
    let broker = Broker::shared();
    let (topic, atcost) = (broker.topic(1), ledger(trial.folder(), 150));
    let load = Load::start(broker, &topic, 1, 0);
    let mut owner = start(&atcost, broker, &topic);
    for _ in 0..faults(trial, 3, 10) {
        let before = commits(&atcost);
        wait_for_commit(trial, &atcost, &mut owner, before);
        let mut other = start(&atcost, broker, &topic);
        if trial.random.chance(50) {
            let sleeper = if trial.random.chance(50) { &mut owner } else { &mut other };
            pause(trial, 800);
            // It may have been fenced in the meantime.
            if sleeper.is_running() {
                sleeper.signal("STOP");
                pause(trial, 1_500);
                sleeper.signal("CONT");
            }
        }
        let ended = wait_for(PATIENCE, || match (owner.is_running(), other.is_running()) {
            (true, true) => None,
            (first, _) => Some(first),
        });
        let Some(first_goes_on) = ended else {
            trial.failed("two owners go on side by side");
            break;
        };
        let fenced = if first_goes_on { other } else { std::mem::replace(&mut owner, other) };
        if refused(trial, &fenced.wait(), "another writer") {
            trial.injected(1);
        }
        if !owner.is_running() {
            trial.tally("both stopped");
            refused(trial, &owner.wait(), "another writer");
            owner = start(&atcost, broker, &topic);
        }
    }
    owner.kill();
    load.stop();
    finish(trial, &atcost, broker, &topic);
    recount(trial, &atcost, broker, &topic);
}

fn disk_full(trial: &mut Trial) {
    let Some(disk) = disk::Disk::mount(trial) else { return };
    let broker = Broker::shared();
    let (topic, atcost) = (broker.topic(2), ledger(&disk.path(), 150));
    for round in 0..faults(trial, 3, 10) {
        broker.produce(&topic, &load::records(round * 3_000, 3_000, 2));
        let keep = trial.random.below(200_000);
        disk.fill(keep);
        let output = atcost.run(&ingest(broker, &topic, &["--until-caught-up"]));
        disk.free();
        if output.code == Some(0) {
            trial.tally("all fitted on the disk");
        } else if refused(trial, &output, "No space left") {
            trial.injected(1);
        }
    }
    finish(trial, &atcost, broker, &topic);
    recount(trial, &atcost, broker, &topic);
}

fn read_only(trial: &mut Trial) {
    let Some(disk) = disk::Disk::mount(trial) else { return };
    let broker = Broker::shared();
    let (topic, atcost) = (broker.topic(2), ledger(&disk.path(), 150));
    let load = Load::start(broker, &topic, 2, 0);
    for _ in 0..faults(trial, 2, 10) {
        let before = commits(&atcost);
        let mut running = start(&atcost, broker, &topic);
        wait_for_commit(trial, &atcost, &mut running, before);
        pause(trial, 500);
        disk.read_only();
        let output = running.wait();
        let doctor = atcost.run(&["doctor"]);
        disk.writable();
        if refused(trial, &output, "Read-only file system") {
            trial.injected(1);
        }
        if !matches!(doctor.code, Some(0 | 1)) {
            trial.failed(format!("a ledger on a read-only disk cannot be read: {}", doctor.text()));
        }
    }
    load.stop();
    finish(trial, &atcost, broker, &topic);
    recount(trial, &atcost, broker, &topic);
}

/// The first jump is always far ahead, so that what follows is a clock that goes back behind what
/// the ledger has.
fn clock_jumps(trial: &mut Trial) {
    const HOUR: i64 = 3_600;
    const FAR: i64 = 40 * 24 * HOUR;
    let Some(clock) = clock::Clock::new(trial) else { return };
    let broker = Broker::shared();
    let (topic, atcost) = (broker.topic(2), ledger(trial.folder(), 150));
    let load = Load::start(broker, &topic, 2, 0);
    let mut running = atcost.spawn_with(&ingest(broker, &topic, &[]), &clock.environment());
    wait_for_commit(trial, &atcost, &mut running, commits(&atcost));
    let first = last_timestamp(&atcost);
    for jump in 0..faults(trial, 6, 20) {
        let before = commits(&atcost);
        clock.set(if jump == 0 { FAR } else { *trial.random.pick(&[0, HOUR, -HOUR, FAR, -FAR]) });
        trial.injected(1);
        if trial.random.chance(30) {
            running.kill();
            running = atcost.spawn_with(&ingest(broker, &topic, &[]), &clock.environment());
        }
        // The batch that was open when the clock jumped may still have the time before.
        wait_for_commit(trial, &atcost, &mut running, before + 1);
        if !running.is_running() {
            trial.failed(format!("it does not outlive a jump of the clock: {}", running.wait().text()));
            return;
        }
        if last_timestamp(&atcost) < first + 1_000 * (FAR - HOUR) {
            trial.failed("the ledger's time goes back with the clock, or never followed it");
        }
    }
    running.kill();
    load.stop();
    finish(trial, &atcost, broker, &topic);
    recount(trial, &atcost, broker, &topic);
}

/// When the last commit says that it was made, in milliseconds since 1970.
fn last_timestamp(atcost: &Atcost) -> i64 {
    let log = log(&atcost.folder().join("ledger/shards/0"));
    let last = log.last().and_then(|entry| entry.lines().next()).expect("a log has entries");
    let first_action: serde_json::Value = serde_json::from_str(last).expect("a line of the log is JSON");
    first_action["commitInfo"]["timestamp"].as_i64().expect("a commit has a time")
}

/// The new topic is another one, whatever it has and whether or not somebody reads while it comes,
/// and the ledger stays as it was.
fn recreated(trial: &mut Trial) {
    const FIRST: u64 = 600;
    let broker = Broker::shared();
    let (topic, atcost) = (broker.topic(2), ledger(trial.folder(), 150));
    broker.produce(&topic, &load::records(0, FIRST, 2));
    finish(trial, &atcost, broker, &topic);
    let (expected, before) = (whole(&broker.read(&topic)), commits(&atcost));
    let how = ["while nobody reads", "while the reader sleeps", "while the reader waits for more"]
        [usize::try_from(trial.number % 3).expect("below 3")];
    let reader = (how != "while nobody reads").then(|| start(&atcost, broker, &topic));
    if let Some(reader) = &reader {
        sleep(Duration::from_secs(1));
        if how == "while the reader sleeps" {
            reader.signal("STOP");
        }
    }
    let more = trial.random.below(3) * FIRST;
    broker.recreate(&topic, 2);
    broker.produce(&topic, &load::records(FIRST, more, 2));
    trial.injected(1);
    trial.tally(how);
    if let Some(reader) = reader {
        if how == "while the reader sleeps" {
            reader.signal("CONT");
        }
        // It may have looked while there was no topic at all, which stops it as well.
        let output = reader.wait();
        if output.code != Some(2) {
            trial.failed(format!("the reader goes on with another topic: {}", output.text()));
        }
    }
    let output = atcost.run(&ingest(broker, &topic, &["--until-caught-up"]));
    refused(trial, &output, &broker.topic_id(&topic));
    trial.audit(&atcost.folder().join("ledger"), &expected);
    if commits(&atcost) != before {
        trial.failed("something of the new topic was committed");
    }
}

fn retention(trial: &mut Trial) {
    let broker = Broker::shared();
    let (topic, atcost) = (broker.topic(2), ledger(trial.folder(), 150));
    let mut sent = 0;
    for _ in 0..faults(trial, 2, 5) {
        let begun = trial.random.below(1_000);
        broker.produce(&topic, &load::records(sent, begun, 2));
        finish(trial, &atcost, broker, &topic);
        let reader = trial.random.chance(50).then(|| start(&atcost, broker, &topic));
        if let Some(reader) = &reader {
            pause(trial, 1_500);
            reader.signal("STOP");
        }
        let more = 2 + trial.random.below(2_000);
        broker.produce(&topic, &load::records(sent + begun, more, 2));
        sent += begun + more;
        for partition in [0, 1] {
            let high = i64::try_from(sent / 2).expect("a small number");
            let gone = i64::try_from(trial.random.below(more / 2)).expect("a small number");
            broker.delete_before(&topic, partition, high - gone);
        }
        trial.injected(2);
        if let Some(mut reader) = reader {
            let before = commits(&atcost);
            reader.signal("CONT");
            wait_for_commit(trial, &atcost, &mut reader, before);
            let output = reader.stop();
            if output.code != Some(0) {
                trial.failed(format!("it stops at records that are gone: {}", output.text()));
            }
        }
        finish(trial, &atcost, broker, &topic);
    }
    let doctor = atcost.run(&["doctor", "--format", "json"]);
    if doctor.code != Some(1) || tests::atcost::json(&doctor.stdout)["gaps"] == 0 {
        trial.undetected(format!("the doctor says nothing of what is gone: {}", doctor.text()));
    }
    recount(trial, &atcost, broker, &topic);
}

/// How often a ledger is divided again that running writers do not leave alone.
const TRIES: usize = 50;

/// A writer at work when the ledger is divided anew is fenced; one that comes with a division of
/// the past is refused. There are never more shards than partitions: one that has nothing to write
/// is not fenced either.
fn shards(trial: &mut Trial) {
    let broker = Broker::shared();
    let (topic, atcost) = (broker.topic(5), ledger(trial.folder(), 150));
    let load = Load::start(broker, &topic, 5, 0);
    let sequence: &[usize] = if trial.extent == Extent::Full { &[3, 2, 4, 1, 5, 2] } else { &[3, 2] };
    let shard = |number: usize, of: usize| format!("{}/{of}", number + 1);
    let start =
        |number: usize, of: usize| atcost.spawn(&ingest(broker, &topic, &["--shard", &shard(number, of)]));
    let mut running = vec![start(0, 1)];
    for of in sequence {
        let before = commits(&atcost);
        for reader in &mut running {
            wait_for_commit(trial, &atcost, reader, before);
        }
        if trial.random.chance(50) {
            let killed = trial.random.index(running.len());
            running[killed].kill();
        }
        // A writer that is faster stops it, perhaps between two shards; asked again it goes on from
        // there.
        let mut divided = atcost.run(&["shards", &of.to_string()]);
        for _ in 0..TRIES {
            if !divided.stderr.contains("another writer") {
                break;
            }
            trial.tally("dividing was stopped by a writer and asked for again");
            divided = atcost.run(&["shards", &of.to_string()]);
        }
        if divided.code != Some(0) {
            trial.failed(format!("it cannot be divided: {}", divided.text()));
            return;
        }
        trial.injected(1);
        for reader in running.drain(..) {
            let output = reader.wait();
            if output.code.is_some() {
                refused(trial, &output, "another writer");
            }
        }
        let stale = atcost.run(&ingest(broker, &topic, &["--shard", &shard(0, of + 1), "--until-caught-up"]));
        refused(trial, &stale, "divided");
        running.extend((0..*of).map(|number| start(number, *of)));
    }
    let last = running.len();
    for mut reader in running {
        pause(trial, 1_000);
        reader.kill();
    }
    load.stop();
    for number in 0..last {
        let output =
            atcost.run(&ingest(broker, &topic, &["--shard", &shard(number, last), "--until-caught-up"]));
        if output.code != Some(0) {
            trial.failed(format!(
                "shard {} does not reach the end of its partitions: {}",
                shard(number, last),
                output.text()
            ));
        }
    }
    recount(trial, &atcost, broker, &topic);
}
