//! Nothing that a run leaves or says has a secret in it: not the ledger, not a line of the log, not
//! a metric.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;
use tests::atcost::Atcost;
use tests::broker::Broker;
use tests::encode::{Encoding, Record, confluent, record};
use tests::machine::{free_port, wait_for};
use tests::registry::Registry;

const PATIENCE: Duration = Duration::from_secs(60);
/// Each is found wherever it is, also in the base64 of `Authorization`.
const SECRETS: [&str; 3] = ["hunter2-registry", "hunter2-kafka", "aHVudGVyMi1"];

#[track_caller]
fn assert_none(place: &str, bytes: &[u8]) {
    for secret in SECRETS {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in {place}: {}", String::from_utf8_lossy(bytes));
    }
}

/// Looks into every file below a folder.
fn assert_none_below(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let count = |path: std::path::PathBuf| {
        if path.is_dir() {
            return assert_none_below(&path);
        }
        assert_none(&path.display().to_string(), &fs::read(&path).expect("a file"));
        1
    };
    entries.map(count).sum()
}

fn scrape(port: u16) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    String::from_utf8_lossy(&answer).contains("atcost_records_rejected_total").then_some(answer)
}

#[test]
fn a_run_leaves_no_secret_anywhere() {
    let registry = Registry::start(&[(7, schemas::USAGE_EVENT_V1_AVSC)]);
    registry.refer(8, schemas::USAGE_EVENT_V1_AVSC, "notes", 1);
    let (broker, atcost, port) = (Broker::shared(), Atcost::initialised(), free_port());
    atcost.set(
        "registry",
        &format!(
            "url = \"{}\"\nusername = \"hunter2-registry\"\npassword = \"env:REGISTRY_PASSWORD\"",
            registry.url()
        ),
    );
    atcost.set("kafka.properties", "\"debug\" = \"all\"");
    atcost.set("ingest", "batch_seconds = 1");
    // A registry that does not answer at first, an id that it does not know, a reference that it
    // does not have, a schema that is fine.
    registry.fail(true);
    let topic = broker.topic(1);
    let event = serde_json::json!({
        "specversion": "1.0", "id": "e", "source": "//node", "type": "m", "subject": "s",
        "time": "2025-10-01T08:00:00Z", "data": {"value": "1"},
    });
    let unknown = [404, 8].map(|id| Record::bare(0, confluent(id, b"datum")));
    broker.produce(&topic, &unknown);
    broker.produce(&topic, &[record(Encoding::Confluent { schema_id: 7 }, 0, &event)]);
    let environment = [
        ("ATCOST_LOG", "trace"),
        ("REGISTRY_PASSWORD", "hunter2-registry"),
        ("KAFKA_PASSWORD", "hunter2-kafka"),
    ];
    let running = atcost.ingest_with_metrics(broker.address(), &topic, port, &environment);
    wait_for(PATIENCE, || (registry.requests() > 1).then_some(())).expect("the registry is asked");
    registry.fail(false);
    let scraped = wait_for(PATIENCE, || {
        let text = scrape(port)?;
        String::from_utf8_lossy(&text).contains("atcost_records_received_total 3\n").then_some(text)
    });
    assert_none("the metrics", &scraped.expect("three records are in the ledger"));
    let output = running.stop();
    assert_eq!(output.code, Some(0), "{}", output.text());
    assert_none("stdout", output.stdout.as_bytes());
    assert_none("stderr", output.stderr.as_bytes());
    assert!(output.stderr.contains("registry.waiting"), "it is told much: {}", output.stderr);
    let doctor = atcost.run(&["doctor", "--format", "json"]);
    assert_none("what the doctor says", doctor.text().as_bytes());
    let ledger = atcost.folder().join("ledger");
    assert!(assert_none_below(&ledger) > 3);
    let details =
        atcost.ledger("SELECT detail FROM ledger WHERE kind = 'rejected' ORDER BY \"offset\"").lines();
    assert_eq!(details.len(), 2, "{details:?}");
    assert!(details[0].contains("schema id 404 is not known"), "{details:?}");
    assert!(details[1].contains("refers to version 1 of"), "{details:?}");
}

/// Names and passwords for Kafka are shown nowhere, whatever librdkafka says of them.
#[test]
fn a_login_that_fails_shows_no_secret() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    atcost.set(
        "kafka.properties",
        "\"security.protocol\" = \"sasl_plaintext\"\n\"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"atcost\"\n\"sasl.password\" = \"env:KAFKA_PASSWORD\"\n\"debug\" = \"all\"",
    );
    let arguments = ["ingest", "--brokers", broker.address(), "--topic", "t", "--until-caught-up"];
    let environment = [("ATCOST_LOG", "trace"), ("KAFKA_PASSWORD", "hunter2-kafka")];
    let output = atcost.spawn_with(&arguments, &environment).wait();
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(output.stderr.contains("sasl."), "it is told much: {}", output.stderr);
    assert_none("what is told", output.text().as_bytes());
}

/// A secret that is not set stops what needs it, and nothing else.
#[test]
fn a_secret_that_is_not_set_stops_what_needs_it() {
    let atcost = Atcost::initialised();
    atcost.set("kafka", "brokers = \"127.0.0.1:1\"\ntopic = \"t\"");
    atcost.set("kafka.properties", "\"sasl.password\" = \"env:ATCOST_NOT_SET\"");
    atcost.set("registry", "url = \"http://127.0.0.1:1\"\nusername = \"a\"\npassword = \"env:NOR_THIS\"");
    fs::create_dir(atcost.folder().join("events")).expect("a folder");
    atcost.ok(&["verify", "ledger"]);
    atcost.ok(&["compact"]);
    for (arguments, name) in [
        (["ingest", "--until-caught-up"].as_slice(), "ATCOST_NOT_SET"),
        (&["ingest", "--files", "events", "--until-caught-up"], "NOR_THIS"),
        (&["accept-truncation", "--partition", "0", "--reason", "cut"], "ATCOST_NOT_SET"),
    ] {
        let output = atcost.run(arguments);
        assert_eq!(output.code, Some(2), "{arguments:?}: {}", output.text());
        let said = format!("the environment variable \"{name}\", which is not set");
        assert!(output.stderr.contains(&said), "{arguments:?}: {}", output.text());
    }
    let output = atcost.run(&["doctor"]);
    assert_eq!(output.code, Some(1), "{}", output.text());
    let said = "the broker was not asked: ";
    assert!(output.stdout.contains(said) && output.stdout.contains("ATCOST_NOT_SET"), "{}", output.text());
}

/// What holds a secret where none may be is refused at the start, in words that do not repeat it.
#[test]
fn a_secret_in_an_address_is_refused() {
    for (table, line, arguments, expected) in [
        (
            "registry",
            "url = \"http://user:hunter2-registry@127.0.0.1:1\"",
            vec![],
            "registry.url has a user name or password in it",
        ),
        (
            "registry",
            "url = \"user:hunter2-registry@127.0.0.1:1\"",
            vec![],
            "registry.url must begin with http",
        ),
        (
            "registry",
            "url = \"http://127.0.0.1:1?token=hunter2-registry\"",
            vec![],
            "registry.url has a ? or #",
        ),
        ("registry", "passwort = \"hunter2-registry\"", vec![], "unknown field `passwort`"),
        (
            "registry",
            "url = \"http://r\"\npassword = [\"hunter2-registry\"]",
            vec![],
            "the value is not a string",
        ),
        ("registry", "password = \"hunter2-registry", vec![], "is not a valid configuration: line "),
        (
            "kafka",
            "brokers = \"user:hunter2-kafka@127.0.0.1:1\"\ntopic = \"t\"",
            vec!["ingest"],
            "kafka.brokers has a user name",
        ),
        (
            "ingest",
            "batch_seconds = 1",
            vec!["ingest", "--brokers", "user:hunter2-kafka@127.0.0.1:1", "--topic", "t"],
            "kafka.brokers has a user name",
        ),
        (
            "kafka.properties",
            "\"sasl.oauthbearer.token.endpoint.url\" = \"https://user:hunter2-kafka@127.0.0.1/t\"",
            vec!["ingest", "--brokers", "127.0.0.1:1", "--topic", "t"],
            "the address has a user name or password in it",
        ),
        (
            "kafka.properties",
            "\"sasl.jaas.config\" = \"password=hunter2-kafka\"",
            vec!["ingest", "--brokers", "127.0.0.1:1", "--topic", "t"],
            "kafka property sasl.jaas.config",
        ),
        (
            "metrics",
            "listen = \"user:hunter2-metrics@127.0.0.1:9464\"",
            vec![],
            "metrics.listen has a user name or password in it",
        ),
        (
            "ingest",
            "batch_seconds = 1",
            vec!["ingest", "--files", "events", "--metrics", "user:hunter2-metrics@127.0.0.1:9464"],
            "the address for metrics has a user name or password in it",
        ),
        (
            "ingest",
            "batch_seconds = 1",
            vec!["demo", "--brokers", "user:hunter2-kafka@127.0.0.1:1"],
            "kafka.brokers has a user name",
        ),
    ] {
        let atcost = Atcost::initialised();
        atcost.set(table, line);
        let events = atcost.folder().join("events");
        fs::create_dir(&events).expect("a folder");
        let arguments = if arguments.is_empty() {
            vec!["ingest", "--files", "events", "--until-caught-up"]
        } else {
            arguments
        };
        let output = atcost.run(&arguments);
        assert_eq!(output.code, Some(2), "{line}: {}", output.text());
        assert!(output.stderr.contains(expected), "{line}: {}", output.text());
        assert_none(line, output.text().as_bytes());
    }
}

/// The doctor asks no registry, and says of an address what ingest will say.
#[test]
fn the_doctor_refuses_a_secret_in_the_address_of_the_registry() {
    let atcost = Atcost::initialised();
    atcost.set("registry", "url = \"http://user:hunter2-registry@127.0.0.1:1\"");
    let output = atcost.run(&["doctor"]);
    assert_eq!(output.code, Some(1), "{}", output.text());
    assert!(output.stdout.contains("registry.url has a user name or password in it"), "{}", output.text());
    assert_none("the doctor", output.text().as_bytes());
}

/// What changes nothing is refused at the start.
#[test]
fn a_setting_without_effect_is_refused() {
    let with = |property: &str| {
        let atcost = Atcost::initialised();
        atcost.set("kafka.properties", property);
        atcost
    };
    for (property, more, log, expected) in [
        ("\"compression.type\" = \"zstd\"", [].as_slice(), "warn", "compression.type: it has no effect"),
        ("\"sasl.password\" = \"hunter2-kafka\"", &[], "warn", "security.protocol is plaintext"),
        ("\"debug\" = \"\"", &["--reading", "2"], "warn", "--reading"),
        ("\"debug\" = \"\"", &["--brokers", "SSL://127.0.0.1:1"], "warn", "= \"ssl\""),
        (
            "\"debug\" = \"\"",
            &["--brokers", "http://127.0.0.1:1"],
            "warn",
            "does not begin with a protocol of Kafka",
        ),
        ("\"debug\" = \"\"", &[], "inof", "ATCOST_LOG has \"inof\""),
    ] {
        let atcost = with(property);
        let brokers: &[&str] = if more.contains(&"--brokers") { &[] } else { &["--brokers", "127.0.0.1:1"] };
        let arguments = [&["ingest", "--topic", "t", "--until-caught-up"], brokers, more].concat();
        let output = atcost.spawn_with(&arguments, &[("ATCOST_LOG", log)]).wait();
        assert_eq!(output.code, Some(2), "{property} {more:?}: {}", output.text());
        assert!(output.stderr.contains(expected), "{property} {more:?}: {}", output.text());
        assert_none(property, output.text().as_bytes());
    }
}
