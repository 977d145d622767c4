//! A broker that is not as it should be: damaged batches, transactions that are not ended, and
//! brokers that nobody can talk to.

use crate::metrics::{events, ledger};
use serde_json::{Value, json};
use std::time::Duration;
use tests::atcost::{Atcost, Output};
use tests::broker::Broker;
use tests::machine::{free_port, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// Every line on stderr, each of which must be JSON.
#[track_caller]
fn lines(output: &Output) -> Vec<Value> {
    output
        .stderr
        .lines()
        .map(|line| {
            serde_json::from_str(line).unwrap_or_else(|_| panic!("{line} is not JSON: {}", output.text()))
        })
        .collect()
}

/// The messages of an event, which must all be of these.
fn messages<'l>(lines: &'l [Value], event: &str) -> Vec<&'l str> {
    lines.iter().filter(|line| line["event"] == event).filter_map(|line| line["message"].as_str()).collect()
}

/// Summaries of an ingest that must end well: received, gaps and commits.
#[track_caller]
fn summary(output: &Output) -> [u64; 3] {
    assert_eq!(output.code, Some(0), "{}", output.text());
    let summary = tests::atcost::json(&output.stdout);
    ["received", "gaps", "commits"].map(|name| summary[name].as_u64().expect("a count"))
}

/// What the doctor finds when it asks the broker.
#[track_caller]
fn findings(atcost: &Atcost, broker: &Broker, topic: &str) -> Vec<String> {
    let output = atcost.run(&["doctor", "--brokers", broker.address(), "--topic", topic, "--format", "json"]);
    assert!(matches!(output.code, Some(0 | 1)), "{}", output.text());
    let report = tests::atcost::json(&output.stdout);
    let findings = report["findings"].as_array().expect("the doctor lists findings");
    findings
        .iter()
        .map(|finding| finding["what"].as_str().expect("a finding is a sentence").to_owned())
        .collect()
}

/// The sample of a metric, once somebody answers.
fn metric(port: u16, sample: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')).map(str::to_owned)
}

/// The arguments that read a topic to its end, with log lines in JSON.
fn to_the_end<'a>(broker: &'a str, topic: &'a str) -> [&'a str; 10] {
    [
        "ingest",
        "--brokers",
        broker,
        "--topic",
        topic,
        "--until-caught-up",
        "--format",
        "json",
        "--log-format",
        "json",
    ]
}

// Damage.

/// A bit that flips on the broker's disk, wherever in a batch, stops one partition before it. What
/// was read before is committed, the others are read, and once the damage is deleted there is a gap.
#[test]
fn a_damaged_batch_stops_its_partition_and_no_other() {
    // The byte of the batch, and the bit in it.
    let flips = [("a value", 100, 1), ("the checksum", 18, 0x80), ("the codec", 22, 1)];
    let broker = Broker::shared();
    let topics: Vec<String> = flips.iter().map(|_| broker.topic(2)).collect();
    for topic in &topics {
        broker.produce(topic, &[events("good", 0, 5), events("good", 1, 5)].concat());
        broker.produce(topic, &events("bad", 0, 4));
        broker.produce(topic, &[events("more", 0, 3), events("more", 1, 5)].concat());
    }
    for (topic, (_, byte, mask)) in topics.iter().zip(flips) {
        broker.flip_on_disk(topic, 0, 1, byte, mask);
    }
    let ledgers: Vec<Atcost> = topics.iter().map(|_| ledger()).collect();
    // The second run finds what the first one found, and adds nothing.
    for _ in 0..2 {
        let running: Vec<_> = ledgers
            .iter()
            .zip(&topics)
            .map(|(atcost, topic)| atcost.spawn(&to_the_end(broker.address(), topic)))
            .collect();
        for (((running, atcost), topic), (name, ..)) in
            running.into_iter().zip(&ledgers).zip(&topics).zip(flips)
        {
            let output = running.wait();
            assert_eq!(output.code, Some(2), "{name}: {}", output.text());
            let lines = lines(&output);
            for event in ["kafka.damaged", "command.failed"] {
                let told = messages(&lines, event);
                assert!(
                    told.len() == 1 && told[0].contains(&format!("/{topic}/0: from offset 5 on")),
                    "{name}: {event}: {}",
                    output.text()
                );
            }
            assert_eq!(atcost.doctor()["received"], 15, "{name}: {}", output.text());
        }
    }
    for ((atcost, topic), (name, ..)) in ledgers.iter().zip(&topics).zip(flips) {
        broker.delete_before(topic, 0, 9);
        let output = atcost.run(&to_the_end(broker.address(), topic));
        let [received, gaps, _] = summary(&output);
        assert_eq!([received, gaps], [3, 1], "{name}: {}", output.text());
        let gap = atcost.ledger("SELECT \"offset\", gap_until FROM ledger WHERE kind = 'gap'");
        assert_eq!(gap.lines(), ["offset=5 gap_until=9"], "{name}");
    }
}

/// An ingest that goes on says which partition cannot be read, in its log and its metrics, and reads
/// the others; what is mended is read without a restart.
#[test]
fn a_running_ingest_reads_on_beside_a_damaged_partition() {
    let (mut broker, atcost, port) = (Broker::start(), ledger(), free_port());
    let topic = broker.topic(2);
    broker.produce(&topic, &[events("good", 0, 5), events("good", 1, 5)].concat());
    broker.produce(&topic, &events("bad", 0, 4));
    broker.stop();
    broker.flip_on_disk(&topic, 0, 1, 100, 1);
    broker.start_again();
    let running = atcost.ingest_with_metrics(broker.address(), &topic, port, &[]);
    let unreadable = |partition: u32| {
        format!("atcost_partition_unreadable{{topic=\"{topic}\",partition=\"{partition}\"}}")
    };
    let is = |sample: &str, expected: &str| {
        let reached = wait_for(2 * PATIENCE, || metric(port, sample).filter(|value| value == expected));
        assert!(reached.is_some(), "{sample} is {:?}, not {expected}", metric(port, sample));
    };
    is(&unreadable(0), "1");
    broker.produce(&topic, &events("more", 1, 5));
    is("atcost_records_received_total", "15");
    is(&unreadable(1), "0");
    broker.delete_before(&topic, 0, 9);
    is(&unreadable(0), "0");
    is("atcost_gaps_total", "1");
    broker.produce(&topic, &events("more", 0, 2));
    is("atcost_records_received_total", "17");
    let output = running.stop();
    assert_eq!(output.code, Some(0), "{}", output.text());
    let told = lines(&output);
    let damaged = messages(&told, "kafka.damaged");
    assert!(
        damaged.first().is_some_and(|message| message.contains(&format!("/{topic}/0: from offset 5 on"))),
        "{}",
        output.text()
    );
}

/// Of a batch that says a wrong length nothing ever arrives. Where it holds the record that was read
/// last, whether the partition still has what was read cannot be told: it stands still, and the
/// others are read.
#[test]
fn a_last_record_that_never_arrives_stops_its_partition_and_no_other() {
    let (broker, atcost) = (Broker::shared(), ledger());
    let topic = broker.topic(2);
    broker.produce(&topic, &[events("first", 0, 5), events("first", 1, 5)].concat());
    assert_eq!(summary(&atcost.run(&to_the_end(broker.address(), &topic)))[..2], [10, 0]);
    // 65,536 bytes more than there are.
    broker.flip_on_disk(&topic, 0, 0, 9, 1);
    broker.produce(&topic, &[events("more", 0, 3), events("more", 1, 4)].concat());
    let output = atcost.run(&to_the_end(broker.address(), &topic));
    assert_eq!(output.code, Some(2), "{}", output.text());
    let lines = lines(&output);
    let place = format!("/{topic}/0: from offset 5 on");
    let words = [&place, "from offset 4 on, the last record"];
    // The cause is told once, and the end only says where.
    for (event, words) in [("kafka.damaged", &words[..]), ("command.failed", &words[..1])] {
        let told = messages(&lines, event);
        assert!(
            told.len() == 1 && words.iter().all(|words| told[0].contains(*words)),
            "{event}: {}",
            output.text()
        );
    }
    let causes =
        lines.iter().filter(|line| line["message"].as_str().is_some_and(|told| told.contains(words[1])));
    assert_eq!(causes.count(), 1, "{}", output.text());
    assert_eq!(atcost.doctor()["received"], 14, "{}", output.text());
    let found = findings(&atcost, broker, &topic);
    assert!(found.iter().any(|found| found.contains("/0: offset 4, which was read last")), "{found:?}");
    let accept = [
        "accept-truncation",
        "--brokers",
        broker.address(),
        "--topic",
        &topic,
        "--partition",
        "0",
        "--reason",
        "it is damaged",
    ];
    let refused = atcost.run(&accept);
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    assert!(refused.stderr.contains("offset 4, which was read last"), "{}", refused.text());
    // Mended, as by a replica.
    broker.flip_on_disk(&topic, 0, 0, 9, 1);
    assert_eq!(summary(&atcost.run(&to_the_end(broker.address(), &topic)))[..2], [3, 0]);
}

/// Two partitions whose last record was damaged after it was read, each in another way: the third
/// is read, and the one that can be read on is, too.
#[test]
fn partitions_that_are_damaged_in_different_ways_stop_no_other() {
    let (broker, atcost) = (Broker::shared(), ledger());
    let topic = broker.topic(3);
    for partition in 0..3 {
        broker.produce_one_by_one(&topic, &events("first", partition, 4));
    }
    assert_eq!(summary(&atcost.run(&to_the_end(broker.address(), &topic)))[..2], [12, 0]);
    broker.flip_on_disk(&topic, 0, 3, 80, 1);
    broker.flip_on_disk(&topic, 1, 3, 9, 1);
    for partition in 0..3 {
        broker.produce_one_by_one(&topic, &events("more", partition, 2));
    }
    let running = atcost.spawn(&to_the_end(broker.address(), &topic));
    let output = running.wait();
    assert_eq!(output.code, Some(2), "{}", output.text());
    let lines = lines(&output);
    let told = messages(&lines, "kafka.damaged");
    assert!(
        told.len() == 1 && told[0].contains(&format!("/{topic}/1: from offset 4 on it cannot be read")),
        "{}",
        output.text()
    );
    assert_eq!(atcost.doctor()["received"], 16, "{}", output.text());
}

/// The doctor says of a partition that cannot be read on what ingest says, and the way out that it
/// names works: of a batch that says a wrong length Kafka lets nobody by before it begins a new
/// segment.
#[test]
fn the_way_out_of_a_wrong_length_is_a_new_segment() {
    let (broker, atcost) = (Broker::shared(), ledger());
    let topic = broker.topic(2);
    broker.produce_one_by_one(&topic, &[events("first", 0, 3), events("first", 1, 3)].concat());
    assert_eq!(summary(&atcost.run(&to_the_end(broker.address(), &topic)))[..2], [6, 0]);
    broker.produce_one_by_one(&topic, &[events("bad", 0, 3), events("good", 1, 2)].concat());
    broker.flip_on_disk(&topic, 0, 3, 9, 1);
    let found = findings(&atcost, broker, &topic);
    let expected = [
        format!("/{topic}/0: from offset 3 on it cannot be read: "),
        format!("/{topic}/1: up to 2 records wait"),
    ];
    assert!(
        found.len() == 2 && expected.iter().all(|words| found.iter().any(|found| found.contains(words))),
        "{found:?}"
    );
    broker.set(&topic, "segment.ms", "1000");
    std::thread::sleep(Duration::from_secs(2));
    broker.produce(&topic, &events("rolled", 0, 1));
    broker.delete_before(&topic, 0, 6);
    let output = atcost.run(&to_the_end(broker.address(), &topic));
    assert_eq!(summary(&output)[..2], [3, 1], "{}", output.text());
    assert_eq!(
        findings(&atcost, broker, &topic),
        ["1 gap: records were gone from the source before they were read"]
    );
}

// Transactions.

/// Markers take offsets and are no records: none of them waits, and none is lost.
#[test]
fn markers_are_neither_waiting_nor_lost() {
    let (broker, atcost) = (Broker::shared(), ledger());
    let topic = broker.topic(2);
    let read = || summary(&atcost.run(&to_the_end(broker.address(), &topic)));
    broker.produce_in_transaction(&topic, &events("kept", 0, 4), true);
    broker.produce_in_transaction(&topic, &events("dropped", 0, 3), false);
    broker.produce_in_transaction(&topic, &events("dropped", 1, 3), false);
    assert_eq!(read(), [4, 0, 1]);
    assert_eq!(findings(&atcost, broker, &topic), Vec::<String>::new());
    assert_eq!(read(), [0, 0, 0], "there is nothing to move");
    // All that is left is markers and what was aborted.
    broker.delete_before(&topic, 0, 9);
    broker.delete_before(&topic, 1, 4);
    assert_eq!(read(), [0, 0, 0], "nothing that could be read was deleted");
    assert_eq!(findings(&atcost, broker, &topic), Vec::<String>::new());
    broker.produce_in_transaction(&topic, &events("kept-too", 1, 2), true);
    assert_eq!(read(), [2, 0, 1]);
    // A partition that was never read and has only markers.
    let other = broker.topic(1);
    broker.produce_in_transaction(&other, &events("dropped", 0, 3), false);
    let output = atcost.run(&to_the_end(broker.address(), &other));
    assert_eq!(summary(&output), [0, 0, 1]);
    assert_eq!(findings(&atcost, broker, &other), Vec::<String>::new());
}

/// The doctor counts what can be read, also of what was written after the last ingest.
#[test]
fn nothing_waits_where_only_markers_and_aborted_records_are() {
    let (broker, atcost) = (Broker::shared(), ledger());
    let topic = broker.topic(1);
    let waits = |expected: &[&str]| {
        let found = findings(&atcost, broker, &topic);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{expected}: {found}");
        }
    };
    // It was never read.
    broker.produce_in_transaction(&topic, &events("dropped", 0, 3), false);
    waits(&[]);
    broker.produce_in_transaction(&topic, &events("kept", 0, 4), true);
    // From offset 4 on: four records, and the marker after them.
    waits(&[": up to 5 records wait and none was ever read"]);
    assert_eq!(summary(&atcost.run(&to_the_end(broker.address(), &topic)))[..2], [4, 0]);
    broker.produce_in_transaction(&topic, &events("dropped-too", 0, 3), false);
    waits(&[]);
    let open = broker.begin_transaction(&topic, &events("open", 0, 2));
    waits(&["offsets 13 to 14 are held back"]);
    open.commit();
    waits(&[": up to 3 records wait"]);
    assert_eq!(summary(&atcost.run(&to_the_end(broker.address(), &topic)))[..2], [2, 0]);
    waits(&[]);
}

/// What a transaction that is not ended holds back is told: by ingest, its metrics and the doctor.
#[test]
fn what_an_open_transaction_holds_back_is_told() {
    let (broker, atcost) = (Broker::shared(), ledger());
    for before in [0, 2] {
        let topic = broker.topic(1);
        broker.produce(&topic, &events("before", 0, before));
        let open = broker.begin_transaction(&topic, &events("open", 0, 3));
        broker.produce(&topic, &events("behind", 0, 2));
        let output = atcost.run(&to_the_end(broker.address(), &topic));
        let count = u64::try_from(before).expect("a small count");
        assert_eq!(summary(&output)[..2], [count, 0]);
        let told = lines(&output);
        let held = messages(&told, "kafka.held");
        let expected = format!("/{topic}/0: offsets {before} to {} are held back", before + 4);
        assert!(held.len() == 1 && held[0].contains(&expected), "{expected}: {}", output.text());
        let found = findings(&atcost, broker, &topic);
        assert!(found.len() == 1 && found[0].contains(&expected), "{expected}: {found:?}");
        open.commit();
        assert_eq!(summary(&atcost.run(&to_the_end(broker.address(), &topic)))[..2], [5, 0]);
        assert_eq!(findings(&atcost, broker, &topic), Vec::<String>::new());
    }
}

#[test]
fn a_gap_is_shown_in_the_log() {
    let (broker, atcost) = (Broker::shared(), ledger());
    let topic = broker.topic(1);
    broker.produce(&topic, &events("gone", 0, 3));
    broker.delete_before(&topic, 0, 2);
    let output = atcost.run(&to_the_end(broker.address(), &topic));
    assert_eq!(summary(&output)[..2], [1, 0], "a partition that was never read begins where it begins");
    broker.produce(&topic, &events("gone-too", 0, 3));
    broker.delete_before(&topic, 0, 5);
    let output = atcost.run(&to_the_end(broker.address(), &topic));
    assert_eq!(summary(&output)[..2], [1, 1]);
    let told = lines(&output);
    let gaps = messages(&told, "kafka.gap");
    assert!(gaps.len() == 1 && gaps[0].contains("offsets 3 to 4"), "{}", output.text());
}

// Brokers that nobody can talk to.

/// Each cause is a line of JSON that begins with it, and there are no others.
#[test]
fn a_cause_is_told_once_and_first() {
    let broker = Broker::shared();
    let (topic, nobody) = (broker.topic(1), format!("127.0.0.1:{}", free_port()));
    let tls = ["\"security.protocol\" = \"ssl\""].as_slice();
    let sasl = [
        "\"security.protocol\" = \"sasl_plaintext\"",
        "\"sasl.mechanisms\" = \"PLAIN\"",
        "\"sasl.username\" = \"u\"",
        "\"sasl.password\" = \"p\"",
    ];
    let cases: [(&str, &str, &[&str], &str); 6] = [
        (&nobody, &topic, &[], "connection refused: "),
        ("nowhere.invalid:9092", &topic, &[], "the name cannot be resolved: "),
        (broker.address(), &topic, tls, "TLS: "),
        (broker.address(), &topic, &sasl, "SASL: "),
        (broker.address(), "no such topic", &[], "topic \"no such topic\": "),
        (broker.address(), "no-such-topic", &[], "topic \"no-such-topic\" does not exist"),
    ];
    let running: Vec<_> = cases
        .iter()
        .map(|(brokers, topic, properties, _)| {
            let atcost = ledger();
            for property in *properties {
                atcost.set("kafka.properties", property);
            }
            let running = atcost.spawn(&to_the_end(brokers, topic));
            (atcost, running)
        })
        .collect();
    for ((_, _, _, cause), (_, running)) in cases.iter().zip(running) {
        let output = running.wait();
        assert_eq!(output.code, Some(2), "{cause}: {}", output.text());
        let lines = lines(&output);
        let message = |line: &Value| line["message"].as_str().unwrap_or_default().to_owned();
        // OpenSSL may have two sentences for one handshake that fails.
        let most = if cause.starts_with("TLS") { 3 } else { 2 };
        assert!(
            (1..=most).contains(&lines.len()) && lines.iter().all(|line| message(line).starts_with(cause)),
            "{cause}: {}",
            output.text()
        );
        assert_eq!(lines.last().map(|line| &line["event"]), Some(&json!("command.failed")));
    }
}

/// librdkafka's own lines are lines of the log like all others, however they arrive.
#[test]
fn what_librdkafka_says_is_json_too() {
    let (broker, atcost) = (Broker::shared(), ledger());
    let topic = broker.topic(1);
    broker.produce(&topic, &events("first", 0, 1000));
    atcost.set("kafka.properties", "\"debug\" = \"all\"\n\"socket.blocking.max.ms\" = \"5\"");
    let arguments = to_the_end(broker.address(), &topic);
    for (log, shows_all) in [("librdkafka=debug", true), ("warn", false)] {
        let output = atcost.spawn_with(&arguments, &[("ATCOST_LOG", log)]).wait();
        assert_eq!(output.code, Some(0), "{}", output.text());
        let told = lines(&output);
        let of_client = messages(&told, "kafka.client");
        // What it says of itself, and of what it fetches.
        for facility in ["INIT: ", "FETCH: "] {
            let is_told = of_client.iter().any(|line| line.starts_with(facility));
            assert_eq!(is_told, shows_all, "{facility}{log}: {}", output.text());
        }
        let of_settings = messages(&told, "kafka.setting");
        let expected = "[kafka.properties]: Configuration property socket.blocking.max.ms is deprecated";
        let is_told = of_settings.len() == 1 && of_settings[0].starts_with(expected);
        assert_eq!(is_told, !shows_all, "{log}: {of_settings:?}");
        assert_eq!(told.len(), of_client.len() + of_settings.len(), "{log}: {}", output.text());
    }
}

#[test]
fn arguments_that_are_not_understood_are_a_line_of_json_too() {
    let atcost = Atcost::empty();
    for arguments in [
        ["--log-format", "json", "ingest", "--no-such-option"].as_slice(),
        &["--log-format=json", "no-such-verb"],
        &["rate", "--log-format", "json"],
    ] {
        let output = atcost.run(arguments);
        assert_eq!(output.code, Some(2), "{}", output.text());
        let told = lines(&output);
        assert!(
            told.len() == 1 && messages(&told, "command.failed").len() == 1,
            "{arguments:?}: {}",
            output.text()
        );
    }
    let output = atcost.run(&["--log-format", "json", "--help"]);
    assert!(output.code == Some(0) && output.stderr.is_empty(), "{}", output.text());
}

#[test]
fn the_reason_of_an_end_is_shown_whatever_is_not() {
    let running = Atcost::empty().spawn_with(&["doctor", "--log-format", "json"], &[("ATCOST_LOG", "off")]);
    let output = running.wait();
    assert_eq!(messages(&lines(&output), "command.failed").len(), 1, "{}", output.text());
}
