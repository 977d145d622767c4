//! The month through a real Kafka broker in every encoding, and what goes wrong between a broker
//! and a ledger.

use serde_json::{Value, json};
use std::thread::sleep;
use std::time::Duration;
use tests::atcost::{Atcost, Output};
use tests::broker::Broker;
use tests::encode::{
    self, Encoding, Record, confluent, push_bytes, push_long, push_text, record, single_object,
};
use tests::machine::{free_port, wait_for};
use tests::month;
use tests::registry::Registry;

const SCHEMA_ID: u32 = 7;
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads a topic to its end and returns the summary.
#[track_caller]
pub(super) fn ingest(atcost: &Atcost, broker: &Broker, topic: &str) -> Value {
    atcost.json(&["ingest", "--brokers", broker.address(), "--topic", topic, "--until-caught-up"])
}

/// A ledger whose schema ids are resolved by `registry`, and which commits often.
pub(super) fn ledger(registry: &Registry) -> Atcost {
    let atcost = Atcost::initialised();
    configure(&atcost, registry);
    atcost
}

fn configure(atcost: &Atcost, registry: &Registry) {
    atcost.set("registry", &format!("url = \"{}\"", registry.url()));
    atcost.set("ingest", "batch_seconds = 1");
}

pub(super) fn usage_event_registry() -> Registry {
    Registry::start(&[(SCHEMA_ID, schemas::USAGE_EVENT_V1_AVSC)])
}

/// An event like the month's, told apart by its id.
pub(super) fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "//edge/ams/node-1", "type": "compute.example/instance-hours", "subject": "projects/a1",
        "time": "2025-10-01T08:00:00Z", "datacontenttype": "application/json",
        "data": {"value": "1.5", "dimensions": {"class": "standard"}, "provider": "nimbus"},
    })
}

/// `count` events with ids `NAME-0`, `NAME-1`, …, spread over the partitions.
pub(super) fn events(name: &str, count: usize, partitions: usize) -> Vec<Record> {
    (0..count)
        .map(|index| {
            record(Encoding::Structured, partition(index, partitions), &event(&format!("{name}-{index}")))
        })
        .collect()
}

fn partition(number: usize, partitions: usize) -> i32 {
    i32::try_from(number % partitions).expect("a topic has few partitions")
}

/// Compares the ledger's own count of its rows with what the doctor says and with what is expected.
#[track_caller]
pub(super) fn assert_counts(atcost: &Atcost, usage: usize, rejected: usize, gaps: usize) {
    let doctor = atcost.doctor();
    let count =
        |name: &str| doctor[name].as_u64().unwrap_or_else(|| panic!("the doctor counts `{name}`: {doctor}"));
    let expected =
        [usage + rejected, usage, rejected, gaps].map(|count| u64::try_from(count).expect("a small count"));
    assert_eq!(
        [count("received"), count("usage"), count("rejected"), count("gaps")],
        expected,
        "received, usage, rejected, gaps of the doctor"
    );
    let rows = atcost.ledger(
        "SELECT count(*) FILTER (kind = 'usage') AS usage, count(*) FILTER (kind = 'rejected') AS rejected, count(*) FILTER (kind = 'gap') AS gaps,
         count(*) - count(DISTINCT (origin, \"partition\", \"offset\")) AS repeated FROM ledger",
    );
    assert_eq!(
        rows.lines(),
        [format!("usage={usage} rejected={rejected} gaps={gaps} repeated=0")],
        "rows of the ledger"
    );
}

/// The reason of every rejected row, in the order of the topic's only partition.
#[track_caller]
fn reasons(atcost: &Atcost) -> Vec<String> {
    let table = atcost.ledger("SELECT reason FROM ledger WHERE kind = 'rejected' ORDER BY \"offset\"");
    table.rows.into_iter().map(|row| row[0].clone().expect("a rejected row has a reason")).collect()
}

// The month.

/// The month's records, the event of each in the encoding that `choose` gives its number; what must
/// be refused stays the bytes it was. Records with the same id share a partition, because Kafka
/// orders only within one.
fn month_in(choose: impl Fn(usize) -> Encoding, partitions: usize) -> Vec<Record> {
    let lines = month::lines();
    let encode = |(number, line): (usize, &month::Line)| match &line.event {
        Some(event) => {
            let id = event["id"].as_str().expect("an event has an id");
            record(choose(number), partition(id.bytes().map(usize::from).sum(), partitions), event)
        }
        None => Record::bare(partition(number, partitions), line.bytes.clone()),
    };
    lines.iter().enumerate().map(encode).collect()
}

fn the_month_in(choose: impl Fn(usize) -> Encoding, partitions: usize) {
    let (broker, registry, atcost) = (Broker::shared(), usage_event_registry(), month::ledger());
    configure(&atcost, &registry);
    let topic = broker.topic(i32::try_from(partitions).expect("a topic has few partitions"));
    broker.produce(&topic, &month_in(choose, partitions));
    let summary = ingest(&atcost, broker, &topic);
    assert_eq!(
        [&summary["received"], &summary["usage"], &summary["rejected"], &summary["gaps"]],
        [70, 45, 25, 0]
    );
    month::assert_figures(&atcost);
    assert_counts(&atcost, 45, 25, 0);
    assert_eq!(ingest(&atcost, broker, &topic)["received"], 0, "reading a topic that was read adds nothing");
    month::assert_figures(&atcost);
}

#[test]
fn the_month_as_structured_json() {
    the_month_in(|_| Encoding::Structured, 3);
}

#[test]
fn the_month_in_binary_mode() {
    the_month_in(|_| Encoding::Binary, 5);
}

#[test]
fn the_month_as_confluent_avro() {
    the_month_in(|_| Encoding::Confluent { schema_id: SCHEMA_ID }, 12);
}

#[test]
fn the_month_as_single_object_avro() {
    the_month_in(|_| Encoding::SingleObject, 1);
}

/// An event that is sent again in another encoding is the same event.
#[test]
fn the_month_in_all_encodings_at_once() {
    let all = [
        Encoding::SingleObject,
        Encoding::Structured,
        Encoding::Confluent { schema_id: SCHEMA_ID },
        Encoding::Binary,
    ];
    the_month_in(|number| all[number % all.len()], 4);
}

// Positions.

#[test]
fn a_second_run_goes_on_where_the_first_ended() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    let topic = broker.topic(12);
    broker.produce(&topic, &events("first", 100, 12));
    assert_eq!(ingest(&atcost, broker, &topic)["received"], 100);
    broker.produce(&topic, &events("second", 50, 12));
    assert_eq!(ingest(&atcost, broker, &topic)["received"], 50);
    assert_counts(&atcost, 150, 0, 0);
    let doctor = atcost.doctor();
    assert_eq!([&doctor["duplicates"], &doctor["conflicts"]], [0, 0]);
    let partitions = doctor["partitions"].as_array().expect("the doctor lists partitions");
    assert_eq!(partitions.len(), 12);
    assert!(partitions.iter().all(|partition| partition["received"] == partition["next"]), "{doctor}");
}

#[test]
fn empty_partitions_and_empty_topics_end_at_once() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    let topic = broker.topic(4);
    assert_eq!(ingest(&atcost, broker, &topic)["received"], 0);
    broker.produce(&topic, &[record(Encoding::Structured, 2, &event("only"))]);
    assert_eq!(ingest(&atcost, broker, &topic)["received"], 1);
    assert_counts(&atcost, 1, 0, 0);
}

/// The marker at the end of a transaction takes an offset that no record has.
#[test]
fn aborted_transactions_are_not_usage_and_markers_are_not_gaps() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    let topic = broker.topic(2);
    broker.produce_in_transaction(&topic, &events("kept", 4, 2), true);
    broker.produce_in_transaction(&topic, &events("dropped", 4, 2), false);
    assert_eq!(ingest(&atcost, broker, &topic)["received"], 4);
    broker.produce_in_transaction(&topic, &events("kept-too", 4, 2), true);
    assert_eq!(ingest(&atcost, broker, &topic)["received"], 4);
    assert_counts(&atcost, 8, 0, 0);
    let dropped = atcost.ledger("SELECT id FROM ledger WHERE id LIKE 'dropped%'");
    assert_eq!(dropped.lines(), Vec::<String>::new());
}

/// A range that retention took before it was read is a row of its own: a gap is not a zero.
#[test]
fn records_that_are_gone_leave_a_gap() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    let topic = broker.topic(1);
    broker.produce(&topic, &events("first", 3, 1));
    ingest(&atcost, broker, &topic);
    broker.produce(&topic, &events("second", 5, 1));
    broker.delete_before(&topic, 0, 6);
    let summary = ingest(&atcost, broker, &topic);
    assert_eq!([&summary["received"], &summary["gaps"]], [2, 1]);
    assert_counts(&atcost, 5, 0, 1);
    let gap = atcost.ledger("SELECT \"offset\", gap_until FROM ledger WHERE kind = 'gap'");
    assert_eq!(gap.lines(), ["offset=3 gap_until=6"]);
}

/// A topic that was deleted and made again starts at 0: its offsets are not those that the ledger
/// knows.
#[test]
fn a_position_beyond_the_end_of_a_partition_is_refused() {
    let (mut broker, atcost) = (Broker::start(), Atcost::initialised());
    let topic = broker.topic(1);
    broker.produce(&topic, &events("first", 10, 1));
    ingest(&atcost, &broker, &topic);
    broker.recreate(&topic, 1);
    broker.produce(&topic, &events("second", 3, 1));
    let output =
        atcost.run(&["ingest", "--brokers", broker.address(), "--topic", &topic, "--until-caught-up"]);
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(output.stderr.contains(&topic), "it does not name the topic: {}", output.text());
    assert_counts(&atcost, 10, 0, 0);
    broker.stop();
}

/// One with more records than before is not told by its offsets, only by the id that the ledger
/// keeps.
#[test]
fn a_topic_that_is_created_again_is_another_topic() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    let topic = broker.topic(1);
    broker.produce(&topic, &events("first", 10, 1));
    ingest(&atcost, broker, &topic);
    let first = broker.topic_id(&topic);
    broker.recreate(&topic, 1);
    broker.produce(&topic, &events("second", 30, 1));
    let output =
        atcost.run(&["ingest", "--brokers", broker.address(), "--topic", &topic, "--until-caught-up"]);
    assert_eq!(output.code, Some(2), "{}", output.text());
    let words = [first, broker.topic_id(&topic), "created again".to_owned()];
    assert!(
        words.iter().all(|words| output.stderr.contains(words)),
        "it does not say {words:?}: {}",
        output.text()
    );
    assert_counts(&atcost, 10, 0, 0);
}

#[test]
fn a_topic_that_is_created_again_while_it_is_read_stops_the_run() {
    let (broker, registry) = (Broker::shared(), usage_event_registry());
    let atcost = ledger(&registry);
    let topic = broker.topic(2);
    broker.produce(&topic, &events("first", 10, 2));
    let first = broker.topic_id(&topic);
    let running = atcost.spawn(&["ingest", "--brokers", broker.address(), "--topic", &topic]);
    wait_until_received(&atcost, 10);
    running.signal("STOP");
    broker.recreate(&topic, 2);
    broker.produce(&topic, &events("second", 30, 2));
    let second = broker.topic_id(&topic);
    running.signal("CONT");
    let output = running.wait();
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(
        first != second && [&first, &second].iter().all(|id| output.stderr.contains(*id)),
        "it does not name {first} and {second}: {}",
        output.text()
    );
    assert_counts(&atcost, 10, 0, 0);
}

// The content of a record.

#[test]
fn every_codec_of_kafka_is_read() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    let topic = broker.topic(2);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        broker.produce_with(&topic, &[("compression.type", codec)], &events(codec, 200, 2));
    }
    assert_eq!(ingest(&atcost, broker, &topic)["usage"], 1000);
    assert_counts(&atcost, 1000, 0, 0);
}

#[test]
fn poison_stays_with_itself() {
    let (broker, registry) = (Broker::shared(), usage_event_registry());
    let atcost = ledger(&registry);
    let topic = broker.topic(1);
    let datum = tests::encode::datum(&event("poison"));
    let poison = [
        (Record { value: None, ..Record::default() }, "empty"),
        (Record::bare(0, ""), "empty"),
        (Record::bare(0, "plain text"), "encoding-unknown"),
        (Record::bare(0, [0xFF, 0xFE, 0xFD]), "encoding-unknown"),
        (Record::bare(0, confluent(404, &datum)), "schema-unknown"),
        (Record::bare(0, confluent(SCHEMA_ID, &datum[..datum.len() - 1])), "avro-invalid"),
        (Record::bare(0, confluent(SCHEMA_ID, &[datum.as_slice(), b"?"].concat())), "avro-invalid"),
        (Record::bare(0, single_object(r#""int""#, &datum)), "schema-unknown"),
        (Record::bare(0, b"{\"specversion\":\"1.0\",\"id\":\"\xFF\"}".to_vec()), "utf8-invalid"),
        (Record::bare(0, "[".repeat(10_000) + &"]".repeat(10_000)), "json-too-deep"),
        (Record::bare(0, r#"{"id":"a","id":"b"}"#), "json-duplicate-name"),
        (Record::bare(0, "{}"), "attribute-missing"),
    ];
    let mut records = Vec::new();
    for (index, (record, _)) in poison.iter().enumerate() {
        records.extend([
            record.clone(),
            tests::encode::record(Encoding::Binary, 0, &event(&format!("good-{index}"))),
        ]);
    }
    broker.produce(&topic, &records);
    let summary = ingest(&atcost, broker, &topic);
    assert_eq!([&summary["usage"], &summary["rejected"]], [poison.len(), poison.len()]);
    assert_counts(&atcost, poison.len(), poison.len(), 0);
    assert_eq!(reasons(&atcost), poison.iter().map(|(_, reason)| *reason).collect::<Vec<_>>());
    let kept = atcost
        .ledger("SELECT octet_length(raw_value) AS bytes FROM ledger WHERE kind = 'rejected' AND reason <> 'json-too-deep' ORDER BY \"offset\"");
    let sent = poison
        .iter()
        .filter(|(_, reason)| *reason != "json-too-deep")
        .map(|(record, _)| record.value.as_ref().map(|value| value.len().to_string()));
    assert_eq!(
        kept.rows,
        sent.map(|bytes| vec![bytes]).collect::<Vec<_>>(),
        "a refused record is kept as it came"
    );
}

#[test]
fn a_writers_schema_is_resolved_to_ours() {
    // As an older or a newer producer has it: another order, a field that we do not have, defaults
    // left out, a provider that is never null.
    let evolved = json!({"type": "record", "name": "UsageEvent", "namespace": "atcost.v1", "fields": [
        {"name": "note", "type": "string"},
        {"name": "value", "type": {"type": "bytes", "logicalType": "decimal", "precision": 28, "scale": 9}},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "provider", "type": "string"},
        {"name": "source", "type": "string"}, {"name": "id", "type": "string"}, {"name": "type", "type": "string"}, {"name": "subject", "type": "string"},
    ]});
    let without_subject = json!({"type": "record", "name": "UsageEvent", "namespace": "atcost.v1", "fields": [{"name": "source", "type": "string"}]});
    let registry = Registry::start(&[
        (1, &evolved.to_string()),
        (2, &without_subject.to_string()),
        (3, r#""int""#),
        (4, "no schema"),
    ]);
    let (broker, atcost) = (Broker::shared(), ledger(&registry));
    let topic = broker.topic(1);
    let mut datum = Vec::new();
    push_text(&mut datum, "a note");
    push_bytes(&mut datum, &1_500_000_000i64.to_be_bytes());
    push_long(&mut datum, 1_759_305_600_000_000);
    for text in ["nimbus", "//edge/ams/node-1", "evolved", "compute.example/instance-hours", "projects/a1"] {
        push_text(&mut datum, text);
    }
    let incompatible = (2..=4).map(|id| Record::bare(0, confluent(id, &datum)));
    broker.produce(&topic, &[vec![Record::bare(0, confluent(1, &datum))], incompatible.collect()].concat());
    let summary = ingest(&atcost, broker, &topic);
    assert_eq!([&summary["usage"], &summary["rejected"]], [1, 3]);
    assert_eq!(reasons(&atcost), ["schema-incompatible"; 3]);
    let row = atcost.ledger("SELECT source, id, type, subject, time, value, dimensions, provider, location FROM ledger WHERE kind = 'usage'");
    let expected = "source=//edge/ams/node-1 id=evolved type=compute.example/instance-hours subject=projects/a1 time=2025-10-01T08:00:00Z value=1.5 dimensions={} \
                    provider=nimbus location=NULL";
    assert_eq!(row.lines(), [expected]);
}

// The registry.

#[test]
fn a_schema_is_asked_for_once() {
    let (broker, registry) = (Broker::shared(), usage_event_registry());
    let atcost = ledger(&registry);
    let topic = broker.topic(3);
    let encoding = Encoding::Confluent { schema_id: SCHEMA_ID };
    let records: Vec<_> =
        (0..300).map(|index| record(encoding, partition(index, 3), &event(&format!("e-{index}")))).collect();
    broker.produce(&topic, &records);
    ingest(&atcost, broker, &topic);
    assert_counts(&atcost, 300, 0, 0);
    assert_eq!(registry.requests(), 1);
}

#[test]
fn a_registry_that_is_down_is_waited_for_and_rejects_nothing() {
    let registry = Registry::down(&[(SCHEMA_ID, schemas::USAGE_EVENT_V1_AVSC)]);
    let (broker, atcost) = (Broker::shared(), ledger(&registry));
    let topic = broker.topic(1);
    let records: Vec<_> = (0..20)
        .map(|index| record(Encoding::Confluent { schema_id: SCHEMA_ID }, 0, &event(&format!("e-{index}"))))
        .collect();
    broker.produce(&topic, &records);
    let mut running =
        atcost.spawn(&["ingest", "--brokers", broker.address(), "--topic", &topic, "--until-caught-up"]);
    // First nothing listens, then what listens fails.
    sleep(Duration::from_secs(1));
    assert!(running.is_running(), "{}", running.wait().text());
    registry.fail(true);
    registry.listen();
    assert!(
        wait_for(PATIENCE, || (registry.requests() > 0).then_some(())).is_some(),
        "the registry is not asked again"
    );
    assert!(running.is_running(), "{}", running.wait().text());
    assert_eq!(atcost.doctor()["received"], 0);
    registry.fail(false);
    let output = running.wait();
    assert_eq!(output.code, Some(0), "{}", output.text());
    assert_counts(&atcost, 20, 0, 0);
}

#[test]
fn waiting_for_a_registry_stops_cleanly() {
    let registry = Registry::down(&[]);
    let (broker, atcost) = (Broker::shared(), ledger(&registry));
    let topic = broker.topic(1);
    broker.produce(&topic, &[record(Encoding::Confluent { schema_id: SCHEMA_ID }, 0, &event("e"))]);
    let running = atcost.spawn(&["ingest", "--brokers", broker.address(), "--topic", &topic]);
    sleep(Duration::from_secs(2));
    let output = running.stop();
    assert_eq!(output.code, Some(0), "{}", output.text());
    assert_eq!(atcost.doctor()["received"], 0);
}

// Starting and stopping.

/// Waits until the ledger has that many records.
#[track_caller]
pub(super) fn wait_until_received(atcost: &Atcost, count: u64) {
    let mut last = Value::Null;
    let reached = wait_for(PATIENCE, || {
        last = atcost.doctor();
        (last["received"].as_u64() >= Some(count)).then_some(())
    });
    assert!(reached.is_some(), "the ledger does not reach {count} records: {last}");
}

#[test]
fn a_running_ingest_reads_what_arrives_and_stops_cleanly() {
    let (broker, registry) = (Broker::shared(), usage_event_registry());
    let atcost = ledger(&registry);
    let topic = broker.topic(2);
    broker.produce(&topic, &events("before", 10, 2));
    let mut running = atcost.spawn(&["ingest", "--brokers", broker.address(), "--topic", &topic]);
    wait_until_received(&atcost, 10);
    broker.produce(&topic, &events("while", 10, 2));
    wait_until_received(&atcost, 20);
    assert!(running.is_running());
    let output = running.stop();
    assert_eq!(output.code, Some(0), "{}", output.text());
    broker.produce(&topic, &events("after", 10, 2));
    assert_eq!(ingest(&atcost, broker, &topic)["received"], 10);
    assert_counts(&atcost, 30, 0, 0);
}

/// Wherever a stop or a kill falls, the next run completes the ledger and repeats nothing.
fn interrupted_by(signal: &str, moments: &[u64]) {
    let (broker, registry) = (Broker::shared(), usage_event_registry());
    let atcost = ledger(&registry);
    atcost.set("ingest", "batch_records = 500");
    let topic = broker.topic(4);
    broker.produce(&topic, &events("e", 20_000, 4));
    for moment in moments {
        let mut running =
            atcost.spawn(&["ingest", "--brokers", broker.address(), "--topic", &topic, "--until-caught-up"]);
        sleep(Duration::from_millis(*moment));
        if running.is_running() {
            running.signal(signal);
        }
        let output = running.wait();
        // A signal that comes before the process listens for it ends it at once, with nothing
        // begun.
        assert!(matches!(output.code, Some(0) | None), "{}", output.text());
    }
    ingest(&atcost, broker, &topic);
    assert_counts(&atcost, 20_000, 0, 0);
    assert_eq!(atcost.doctor()["duplicates"], 0);
}

#[test]
fn a_stop_at_any_moment_commits_whole_batches() {
    interrupted_by("TERM", &[50, 400, 700]);
}

#[test]
fn a_kill_at_any_moment_loses_and_repeats_nothing() {
    interrupted_by("KILL", &[300, 600, 900]);
}

/// A writer that was paused while another one wrote must not add what the other has added.
#[test]
fn a_second_writer_is_fenced() {
    let (broker, registry) = (Broker::shared(), usage_event_registry());
    let atcost = ledger(&registry);
    let topic = broker.topic(2);
    broker.produce(&topic, &events("first", 10, 2));
    let paused = atcost.spawn(&["ingest", "--brokers", broker.address(), "--topic", &topic]);
    wait_until_received(&atcost, 10);
    paused.signal("STOP");
    broker.produce(&topic, &events("second", 10, 2));
    assert_eq!(ingest(&atcost, broker, &topic)["received"], 10);
    paused.signal("CONT");
    let output: Output = paused.wait();
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(output.stderr.contains("another writer"), "it does not say why: {}", output.text());
    assert_counts(&atcost, 20, 0, 0);
    broker.produce(&topic, &events("third", 10, 2));
    assert_eq!(ingest(&atcost, broker, &topic)["received"], 10);
    assert_counts(&atcost, 30, 0, 0);
}

#[test]
fn a_broker_that_restarts_is_waited_for() {
    let mut broker = Broker::start();
    let registry = usage_event_registry();
    let atcost = ledger(&registry);
    let topic = broker.topic(2);
    broker.produce(&topic, &events("before", 10, 2));
    let mut running = atcost.spawn(&["ingest", "--brokers", broker.address(), "--topic", &topic]);
    wait_until_received(&atcost, 10);
    broker.stop();
    sleep(Duration::from_secs(2));
    assert!(running.is_running(), "{}", running.wait().text());
    broker.start_again();
    broker.produce(&topic, &events("after", 10, 2));
    wait_until_received(&atcost, 20);
    let output = running.stop();
    assert_eq!(output.code, Some(0), "{}", output.text());
    assert_counts(&atcost, 20, 0, 0);
}

#[test]
fn what_cannot_be_read_is_named() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    let nobody = format!("127.0.0.1:{}", free_port());
    for (brokers, topic, named) in
        [(broker.address(), "no-such-topic", "no-such-topic"), (&nobody, "usage", &nobody)]
    {
        let output = atcost.run(&["ingest", "--brokers", brokers, "--topic", topic, "--until-caught-up"]);
        assert_eq!(output.code, Some(2), "{}", output.text());
        assert!(output.stderr.contains(named), "it does not name {named}: {}", output.text());
    }
}

/// What a schema refers to is what it was when the schema was registered, deleted since or not.
/// Where even that is gone, the records of the one schema are refused, and the others go on.
#[test]
fn a_deleted_reference_does_not_stop_a_topic() {
    let refers = schemas::USAGE_EVENT_V1_AVSC.replacen(
        r#""fields": ["#,
        r#""fields": [{"name": "note", "type": "other.Note"},"#,
        1,
    );
    let registry = Registry::start(&[(10, r#"{"type":"record","name":"usage-event","fields":[]}"#)]);
    let note = r#"{"type":"fixed","name":"Note","namespace":"other","size":2}"#;
    registry.register("notes", 1, note, true);
    registry.refer(SCHEMA_ID, &refers, "notes", 1);
    registry.refer(8, &refers, "notes", 2);
    let (broker, atcost) = (Broker::shared(), ledger(&registry));
    let topic = broker.topic(1);
    let datum = |id: &str| [b"ab".to_vec(), encode::datum(&event(id))].concat();
    let records = [
        Record::bare(0, confluent(8, &datum("gone"))),
        Record::bare(0, confluent(SCHEMA_ID, &datum("deleted"))),
        Record::bare(0, confluent(10, b"a name that is none")),
        Record::bare(0, confluent(SCHEMA_ID, &datum("deleted too"))),
    ];
    broker.produce(&topic, &records);
    let summary = ingest(&atcost, broker, &topic);
    assert_eq!([&summary["usage"], &summary["rejected"]], [2, 2]);
    assert_eq!(reasons(&atcost), ["schema-unknown", "schema-incompatible"]);
}
