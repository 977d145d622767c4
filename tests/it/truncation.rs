//! A partition that lost the end of its log after it was read: an unclean election, or a power cut
//! before a flush. And what the doctor sees of a topic that is not as it was.

use crate::kafka::{assert_counts, events, ingest, ledger, usage_event_registry, wait_until_received};
use serde_json::Value;
use std::fs;
use tests::atcost::{Atcost, Output};
use tests::audit::audit;
use tests::broker::Broker;

/// A broker, a ledger that has read ten records of its topic, and the topic.
fn ten_read() -> (Broker, Atcost, String) {
    let (broker, atcost) = (Broker::start(), Atcost::initialised());
    let topic = broker.topic(1);
    broker.produce_one_by_one(&topic, &events("first", 10, 1));
    assert_eq!(ingest(&atcost, &broker, &topic)["received"], 10);
    (broker, atcost, topic)
}

fn cut(broker: &mut Broker, topic: &str, offset: i64) {
    broker.kill();
    broker.cut(topic, 0, offset);
    broker.start_again();
}

fn arguments<'a>(verb: &'a str, broker: &'a Broker, topic: &'a str) -> Vec<&'a str> {
    vec![verb, "--brokers", broker.address(), "--topic", topic]
}

#[track_caller]
fn assert_says(output: &Output, words: &[&str]) {
    for words in words {
        assert!(output.stderr.contains(words), "it does not say {words:?}: {}", output.text());
    }
    assert!(!output.stderr.contains("created again"), "the topic is the one it was: {}", output.text());
}

#[track_caller]
fn assert_ingest_stops(atcost: &Atcost, broker: &Broker, topic: &str, words: &[&str]) {
    let output = atcost.run(&[arguments("ingest", broker, topic), vec!["--until-caught-up"]].concat());
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert_says(&output, words);
    assert_says(&output, &["atcost accept-truncation", "--partition 0"]);
}

fn accept<'a>(broker: &'a Broker, topic: &'a str, reason: &'a str) -> Vec<&'a str> {
    [arguments("accept-truncation", broker, topic), vec!["--partition", "0", "--reason", reason]].concat()
}

/// The doctor's exit status, and its findings.
fn doctor(atcost: &Atcost, broker: &Broker, topic: &str) -> (Option<i32>, Vec<String>) {
    let output = atcost.run(&[arguments("doctor", broker, topic), vec!["--format", "json"]].concat());
    let report = tests::atcost::json(&output.stdout);
    let findings = report["findings"].as_array().expect("findings are a list");
    let text = |finding: &Value| format!("{} {}", finding["what"], finding["help"]);
    (output.code, findings.iter().map(text).collect())
}

/// Whatever stands in the ledger twice is there by a decision; the auditor and `verify` agree.
#[track_caller]
fn assert_whole(atcost: &Atcost, broker: &Broker, topic: &str, next: i64) {
    atcost.ok(&["verify", "ledger"]);
    let stream = broker.read(topic)[0].stream.clone();
    let audited = audit(&atcost.folder().join("ledger"), &[(stream, 0..next)], None).assert_whole();
    assert_eq!(audited.repeated, 0);
}

#[test]
fn a_partition_that_was_cut_is_read_on_only_by_a_decision() {
    let (mut broker, atcost, topic) = ten_read();
    cut(&mut broker, &topic, 6);
    let gone = ["offsets 6 to 9 are no longer what was read", "its next offset is 6"];
    assert_ingest_stops(&atcost, &broker, &topic, &gone);
    // The records that are written now fill the offsets again, and more.
    broker.produce_one_by_one(&topic, &events("second", 8, 1));
    let replaced =
        ["offsets 6 to 9 are no longer what was read", "other records were written in their place"];
    assert_ingest_stops(&atcost, &broker, &topic, &replaced);
    let (code, findings) = doctor(&atcost, &broker, &topic);
    assert_eq!(code, Some(1), "{findings:?}");
    assert!(
        findings[0].contains(replaced[0]) && findings[0].contains("atcost accept-truncation"),
        "{findings:?}"
    );
    assert_counts(&atcost, 10, 0, 0);

    let refused = atcost.run(&accept(&broker, &topic, "  "));
    assert_eq!(refused.code, Some(2));
    assert_says(&refused, &["--reason is empty"]);
    let accepted = atcost.json(&accept(&broker, &topic, "power cut in rack 4"));
    assert_eq!([&accepted["from"], &accepted["to"], &accepted["rows"]], [10, 6, 4], "{accepted}");
    assert_eq!(accepted["reason"], "power cut in rack 4");
    let again = atcost.run(&accept(&broker, &topic, "power cut in rack 4"));
    assert_eq!(again.code, Some(2));
    assert_says(&again, &["nothing was cut"]);

    let summary = ingest(&atcost, &broker, &topic);
    assert_eq!([&summary["received"], &summary["gaps"]], [8, 0]);
    let rows = atcost.ledger(
        "SELECT count(*) FILTER (id LIKE 'first-%') AS first, count(*) FILTER (id LIKE 'second-%') AS second FROM ledger",
    );
    assert_eq!(rows.lines(), ["first=10 second=8"], "what was lost stays, what was written is read");
    assert_eq!(doctor(&atcost, &broker, &topic), (Some(0), Vec::new()));
    assert_whole(&atcost, &broker, &topic, 14);
    assert_eq!(ingest(&atcost, &broker, &topic)["received"], 0);
    let journal = std::fs::read_dir(atcost.folder().join("ledger/journal/_delta_log")).expect("a journal");
    assert_eq!(journal.count(), 2, "entry 0, and the decision");
    broker.stop();
}

#[test]
fn a_partition_that_is_cut_while_it_is_read_stops_the_run() {
    let (mut broker, registry) = (Broker::start(), usage_event_registry());
    let atcost = ledger(&registry);
    let topic = broker.topic(1);
    broker.produce_one_by_one(&topic, &events("first", 10, 1));
    let running = atcost.spawn(&arguments("ingest", &broker, &topic));
    wait_until_received(&atcost, 10);
    running.signal("STOP");
    cut(&mut broker, &topic, 6);
    broker.produce_one_by_one(&topic, &events("second", 8, 1));
    running.signal("CONT");
    let output = running.wait();
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert_says(&output, &["offsets 6 to 9 are no longer what was read", "atcost accept-truncation"]);
    assert_counts(&atcost, 10, 0, 0);
    atcost.ok(&accept(&broker, &topic, "power cut"));
    assert_eq!(ingest(&atcost, &broker, &topic)["received"], 8);
    assert_whole(&atcost, &broker, &topic, 14);
    broker.stop();
}

/// The marker at the end of a transaction takes the very offset that was read last, and is no
/// record.
#[test]
fn a_cut_that_ends_in_a_marker_is_seen() {
    let (mut broker, atcost, topic) = ten_read();
    cut(&mut broker, &topic, 6);
    broker.produce_in_transaction(&topic, &events("second", 3, 1), true);
    assert_ingest_stops(&atcost, &broker, &topic, &["offsets 6 to 9 are no longer what was read"]);
    atcost.ok(&accept(&broker, &topic, "unclean election"));
    assert_eq!(ingest(&atcost, &broker, &topic)["received"], 3);
    broker.stop();
}

/// Where the broker keeps its epoch, the digest of the last record tells, and the commits before
/// say what is still there.
#[test]
fn another_record_of_the_same_epoch_is_told_by_its_digest() {
    let (mut broker, atcost) = (Broker::start(), Atcost::initialised());
    let topic = broker.topic(1);
    for name in ["first", "second"] {
        broker.produce_one_by_one(&topic, &events(name, 5, 1));
        assert_eq!(ingest(&atcost, &broker, &topic)["received"], 5);
    }
    cut(&mut broker, &topic, 7);
    broker.produce_one_by_one(&topic, &events("third", 6, 1));
    broker.stop();
    broker.forget_epochs(&topic, 0);
    broker.start_again();
    let words = ["offset 9 is no longer what was read", "another record was written in its place"];
    assert_ingest_stops(&atcost, &broker, &topic, &words);
    let accepted = atcost.json(&accept(&broker, &topic, "restored from a copy"));
    assert_eq!([&accepted["from"], &accepted["to"], &accepted["rows"]], [10, 5, 5], "{accepted}");
    assert_eq!(ingest(&atcost, &broker, &topic)["received"], 8);
    let report = atcost.doctor();
    assert_eq!([&report["duplicates"], &report["conflicts"]], [2, 0], "two were still there");
    assert_whole(&atcost, &broker, &topic, 13);
    broker.stop();
}

/// Every restart, election and retention that takes nothing unread is no finding.
#[test]
fn a_broker_that_lost_nothing_is_read_on() {
    let (mut broker, atcost, topic) = ten_read();
    broker.kill();
    broker.start_again();
    broker.produce_one_by_one(&topic, &events("second", 3, 1));
    assert_eq!(ingest(&atcost, &broker, &topic)["received"], 3);
    broker.delete_before(&topic, 0, 13);
    assert_eq!(ingest(&atcost, &broker, &topic)["received"], 0);
    broker.produce_in_transaction(&topic, &events("third", 2, 1), false);
    broker.produce_in_transaction(&topic, &events("fourth", 2, 1), true);
    assert_eq!(ingest(&atcost, &broker, &topic)["received"], 2);
    broker.delete_before(&topic, 0, 18);
    assert_eq!(ingest(&atcost, &broker, &topic)["received"], 0);
    let refused = atcost.run(&accept(&broker, &topic, "nothing"));
    assert_eq!(refused.code, Some(2));
    assert_says(&refused, &["nothing was cut"]);
    broker.stop();
}

// No checksum covers the leader epoch of a batch.

/// Bits of the epoch of the last batch: the byte of the batch, and the bit. The last one makes the
/// epoch negative, which is none.
const FLIPS: [(usize, u8); 4] = [(15, 1), (15, 4), (12, 0x40), (12, 0x80)];

/// A topic with ten records for each of [`FLIPS`], and a ledger.
fn topics_to_damage(broker: &Broker) -> Vec<(String, Atcost)> {
    let new = || {
        let topic = broker.topic(1);
        broker.produce_one_by_one(&topic, &events("first", 10, 1));
        (topic, Atcost::initialised())
    };
    FLIPS.iter().map(|_| new()).collect()
}

/// Starts the broker again with a bit flipped in the last batch of each topic.
fn flip(broker: &mut Broker, topics: &[(String, Atcost)]) {
    broker.stop();
    for ((topic, _), (byte, mask)) in topics.iter().zip(FLIPS) {
        broker.flip_on_disk(topic, 0, 9, byte, mask);
    }
    broker.start_again();
}

#[test]
fn an_epoch_that_is_damaged_after_it_was_read_is_no_truncation() {
    let mut broker = Broker::start();
    let topics = topics_to_damage(&broker);
    for (topic, atcost) in &topics {
        assert_eq!(ingest(atcost, &broker, topic)["received"], 10);
    }
    flip(&mut broker, &topics);
    for ((topic, atcost), flip) in topics.iter().zip(FLIPS) {
        for name in ["second", "third"] {
            assert_eq!(ingest(atcost, &broker, topic)["received"], 0, "{flip:?}");
            broker.produce_one_by_one(topic, &events(name, 3, 1));
            assert_eq!(ingest(atcost, &broker, topic)["received"], 3, "{flip:?}");
        }
        assert_eq!(doctor(atcost, &broker, topic), (Some(0), Vec::new()), "{flip:?}");
    }
    broker.stop();
}

/// An epoch that claims to be newer than any would make every later one look older.
#[test]
fn an_epoch_that_is_damaged_when_it_is_read_hides_no_truncation() {
    let mut broker = Broker::start();
    let topics = topics_to_damage(&broker);
    flip(&mut broker, &topics);
    for (topic, atcost) in &topics {
        assert_eq!(ingest(atcost, &broker, topic)["received"], 10);
        assert_eq!(ingest(atcost, &broker, topic)["received"], 0);
    }
    broker.kill();
    topics.iter().for_each(|(topic, _)| broker.cut(topic, 0, 6));
    broker.start_again();
    for ((topic, atcost), flip) in topics.iter().zip(FLIPS) {
        broker.produce_one_by_one(topic, &events("second", 2, 1));
        assert_ingest_stops(atcost, &broker, topic, &["offset"]);
        atcost.ok(&accept(&broker, topic, "power cut"));
        ingest(atcost, &broker, topic);
        let rows = atcost.ledger("SELECT count(DISTINCT id) AS ids FROM ledger WHERE id LIKE 'second-%'");
        assert_eq!(rows.lines(), ["ids=2"], "{flip:?}: every record that is there is read");
    }
    broker.stop();
}

// The doctor.

#[test]
fn the_doctor_sees_a_topic_that_was_created_again() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    let topic = broker.topic(1);
    broker.produce(&topic, &events("first", 10, 1));
    ingest(&atcost, broker, &topic);
    assert_eq!(doctor(&atcost, broker, &topic), (Some(0), Vec::new()));
    let first = broker.topic_id(&topic);
    broker.recreate(&topic, 1);
    broker.produce(&topic, &events("second", 30, 1));
    let (code, findings) = doctor(&atcost, broker, &topic);
    assert_eq!((code, findings.len()), (Some(1), 1), "{findings:?}");
    let words = [&first, &broker.topic_id(&topic), "created again"];
    assert!(words.iter().all(|words| findings[0].contains(*words)), "{findings:?}");
    let refused = atcost.run(&accept(broker, &topic, "it is new"));
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("created anew, not cut"), "{}", refused.text());
}

/// A command that is advised names the configuration that was given and the shard that reads the
/// partition; without them it would be refused.
#[test]
fn an_advised_command_works_as_it_is_printed() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    fs::rename(atcost.folder().join("atcost.toml"), atcost.folder().join("my own.toml"))
        .expect("it is moved");
    let configured = |arguments: Vec<&str>| {
        let output = atcost.run(&[&["--config", "my own.toml"], arguments.as_slice()].concat());
        assert!(matches!(output.code, Some(0 | 1)), "{}", output.text());
        output
    };
    configured(vec!["shards", "2"]);
    let topic = broker.topic(2);
    broker.produce(&topic, &[events("first", 3, 2)].concat());
    let doctor = configured(arguments("doctor", broker, &topic));
    let advised: Vec<&str> = doctor
        .stdout
        .lines()
        .filter_map(|line| line.split('`').nth(1)?.strip_prefix("atcost --config 'my own.toml' "))
        .collect();
    assert_eq!(advised.len(), 2, "{}", doctor.text());
    for command in advised {
        let command: Vec<&str> = command.split(' ').chain(["--until-caught-up"]).collect();
        configured(command);
    }
    let doctor = configured(arguments("doctor", broker, &topic));
    assert!(doctor.stdout.contains("nothing is wrong"), "{}", doctor.text());
}

#[test]
fn the_doctor_sees_a_transaction_that_stays_open() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    let topic = broker.topic(1);
    broker.produce(&topic, &events("first", 4, 1));
    let open = broker.begin_transaction(&topic, &events("open", 2, 1));
    broker.produce(&topic, &events("behind", 3, 1));
    assert_eq!(ingest(&atcost, broker, &topic)["received"], 4);
    let (code, findings) = doctor(&atcost, broker, &topic);
    assert_eq!((code, findings.len()), (Some(1), 1), "{findings:?}");
    let words = ["offsets 4 to 8 are held back", "a transaction is open", "find-hanging"];
    assert!(words.iter().all(|words| findings[0].contains(words)), "{findings:?}");
    drop(open);
}

#[test]
fn the_doctor_sees_a_topic_that_is_compacted() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    let topic = broker.topic(1);
    broker.produce(&topic, &events("first", 2, 1));
    ingest(&atcost, broker, &topic);
    broker.set(&topic, "cleanup.policy", "compact,delete");
    let (code, findings) = doctor(&atcost, broker, &topic);
    assert_eq!((code, findings.len()), (Some(1), 1), "{findings:?}");
    let words = ["is compacted (cleanup.policy=compact,delete)", "kafka-configs.sh"];
    assert!(words.iter().all(|words| findings[0].contains(words)), "{findings:?}");
}
