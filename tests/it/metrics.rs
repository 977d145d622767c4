//! A running ingest tells Prometheus how it is, and nobody who asks can harm it.

use jobs::log::ALARMS;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;
use tests::atcost::Atcost;
use tests::broker::Broker;
use tests::encode::{Encoding, Record, record};
use tests::machine::{free_port, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// Samples by name and labels as they are written, and families by name.
#[derive(Debug, Default)]
struct Scrape {
    samples: BTreeMap<String, String>,
    kinds: BTreeMap<String, String>,
}

impl Scrape {
    #[track_caller]
    fn number(&self, sample: &str) -> u64 {
        let value =
            self.samples.get(sample).unwrap_or_else(|| panic!("there is no {sample} in {:#?}", self.samples));
        // A histogram's sum is a float, also where it is whole.
        value.strip_suffix(".0").unwrap_or(value).parse().unwrap_or_else(|_| panic!("{sample} is {value}"))
    }
}

/// The answer to `GET target`: status line, headers in lower case, body. `None` when there is no
/// whole answer.
fn get(port: u16, target: &str) -> Option<(String, String, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit can be set");
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let (status, headers) = head.split_once("\r\n")?;
    let headers = headers.to_ascii_lowercase();
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    assert_eq!(length.parse(), Ok(body.len()), "the body is as long as it says");
    Some((status.to_owned(), headers, body.to_owned()))
}

/// A scrape, once the endpoint answers.
#[track_caller]
fn scrape(port: u16) -> Scrape {
    let answer =
        wait_for(PATIENCE, || get(port, "/metrics").filter(|(status, ..)| status == "HTTP/1.1 200 OK"));
    let (_, headers, body) = answer.expect("the endpoint answers");
    assert!(headers.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{headers}");
    parse(&body).unwrap_or_else(|error| panic!("{error} in:\n{body}"))
}

/// Scrapes until `done` says so.
#[track_caller]
fn scrape_until(port: u16, done: impl Fn(&Scrape) -> bool) -> Scrape {
    let mut last = None;
    let reached = wait_for(PATIENCE, || {
        let now = scrape(port);
        let reached = done(&now);
        last = Some(now);
        reached.then_some(())
    });
    let last = last.expect("it was scraped");
    assert!(reached.is_some(), "it does not come to it: {:#?}", last.samples);
    last
}

/// Prometheus' text format 0.0.4, strictly: every family has its help, its type and then its
/// samples, all of them together.
fn parse(body: &str) -> Result<Scrape, String> {
    let mut scrape = Scrape::default();
    let mut family: Option<(String, String)> = None;
    let mut helped: Option<String> = None;
    if !body.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    for line in body.lines() {
        let wrong = |what: &str| Err(format!("{what}: {line:?}"));
        if let Some(help) = line.strip_prefix("# HELP ") {
            let Some((name, text)) = help.split_once(' ') else { return wrong("no help") };
            if text.is_empty() || !is_name(name) {
                return wrong("a bad help");
            }
            helped = Some(name.to_owned());
            family = None;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = kind.split_once(' ') else { return wrong("no type") };
            if helped.take().as_deref() != Some(name) || !["counter", "gauge", "histogram"].contains(&kind) {
                return wrong("a bad type");
            }
            if (kind == "counter") != name.ends_with("_total") {
                return wrong("only counters end in _total");
            }
            if scrape.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                return wrong("a family twice");
            }
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            let Some((key, value)) = line.rsplit_once(' ') else { return wrong("no sample") };
            let (name, labels) =
                key.split_once('{').map_or((key, None), |(name, labels)| (name, Some(labels)));
            let Some((family, kind)) = &family else { return wrong("a sample of no family") };
            let suffix = name.strip_prefix(family.as_str());
            let fits = if kind == "histogram" {
                matches!(suffix, Some("_bucket" | "_sum" | "_count"))
            } else {
                suffix == Some("")
            };
            if !fits || labels.is_some_and(|labels| !are_labels(labels)) {
                return wrong("a bad sample");
            }
            if !value
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
            {
                return wrong("not a number as these are");
            }
            if scrape.samples.insert(key.to_owned(), value.to_owned()).is_some() {
                return wrong("a sample twice");
            }
        }
    }
    for (name, _) in scrape.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
        let prefix = format!("{name}_bucket{{le=\"");
        let mut counts: Vec<u64> = scrape
            .samples
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(_, value)| value.parse().expect("a count"))
            .collect();
        counts.sort_unstable();
        let whole = scrape.number(&format!("{name}_bucket{{le=\"+Inf\"}}"));
        if whole != scrape.number(&format!("{name}_count"))
            || counts.last() != Some(&whole)
            || !scrape.samples.contains_key(&format!("{name}_sum"))
        {
            return Err(format!("{name} does not add up"));
        }
    }
    Ok(scrape)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().enumerate().all(|(index, byte)| {
            byte.is_ascii_lowercase() || byte == b'_' || (index > 0 && byte.is_ascii_digit())
        })
}

/// `name="value",name="value"}` with backslash, quote and line feed escaped.
fn are_labels(mut rest: &str) -> bool {
    loop {
        let Some((name, value)) = rest.split_once("=\"") else { return false };
        let mut escaped = false;
        let end = value.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        let Some(end) = end.filter(|_| is_name(name)) else { return false };
        match &value[end + 1..] {
            "}" => return true,
            more => match more.strip_prefix(',') {
                Some(more) => rest = more,
                None => return false,
            },
        }
    }
}

#[test]
fn the_parser_is_strict() {
    let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{b=\"c\\\"}\",d=\"\"} 1\n";
    assert!(parse(good).is_ok_and(|scrape| scrape.samples.len() == 1));
    let bad = [
        good.trim_end().to_owned(),
        good.replace("# HELP a_total A.\n", ""),
        good.replace("counter", "gauge"),
        good.replace("a_total{", "b_total{"),
        good.replace("\\\"", "\""),
        good.replace("d=\"\"}", "d=\"\""),
        good.replace(" 1", " NaN"),
        format!("{good}{good}"),
        format!("{good}a_total{{b=\"c\\\"}}\",d=\"\"}} 1\n"),
        format!("{good}\n"),
    ];
    for bad in bad {
        assert!(parse(&bad).is_err(), "{bad}");
    }
}

fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "//edge/ams/node-1", "type": "compute.example/instance-hours", "subject": "projects/a1",
        "time": "2025-10-01T08:00:00Z", "datacontenttype": "application/json", "data": {"value": "1.5"},
    })
}

/// `count` events of one partition.
pub fn events(name: &str, partition: i32, count: usize) -> Vec<Record> {
    (0..count)
        .map(|index| record(Encoding::Structured, partition, &event(&format!("{name}-{partition}-{index}"))))
        .collect()
}

/// A ledger that commits at once.
pub fn ledger() -> Atcost {
    let atcost = Atcost::initialised();
    atcost.set("ingest", "batch_seconds = 1");
    atcost
}

#[test]
fn a_running_ingest_tells_what_the_ledger_then_holds() {
    let (broker, atcost, port) = (Broker::shared(), ledger(), free_port());
    let topic = broker.topic(2);
    broker.produce(&topic, &[events("first", 0, 10), events("first", 1, 10)].concat());
    atcost.ok(&["ingest", "--brokers", broker.address(), "--topic", &topic, "--until-caught-up"]);
    let before = atcost.doctor();
    // Five records of partition 0 go before anybody reads them.
    broker.produce(&topic, &events("second", 0, 8));
    broker.delete_before(&topic, 0, 15);
    let running = atcost.ingest_with_metrics(broker.address(), &topic, port, &[]);
    scrape_until(port, |scrape| scrape.number("atcost_records_received_total") == 3);
    broker.produce(&topic, &events("third", 1, 40));
    broker.produce(
        &topic,
        &[Record::bare(1, b"{".to_vec()), Record::bare(1, b"[]".to_vec()), Record::bare(1, b"{".to_vec())],
    );
    let scrape = scrape_until(port, |scrape| {
        // Storage is looked at now and then, and the broker asked.
        let settled = ["atcost_log_size", "atcost_table_files"].map(|name| scrape.samples.get(name))
            == ["atcost_ledger_version"; 2].map(|name| scrape.samples.get(name));
        let position = scrape
            .samples
            .get(&format!("atcost_partition_position_offset{{topic=\"{topic}\",partition=\"1\"}}"));
        let high =
            scrape.samples.get(&format!("atcost_partition_high_offset{{topic=\"{topic}\",partition=\"1\"}}"));
        settled && position == high && position.map(String::as_str) == Some("53")
    });
    let (status, _, body) = get(port, "/healthz").expect("an answer");
    assert_eq!((status.as_str(), body.contains("makes progress")), ("HTTP/1.1 200 OK", true), "{body}");
    let output = running.stop();
    assert_eq!(output.code, Some(0), "{}", output.text());
    assert!(get(port, "/metrics").is_none(), "the endpoint ends with ingest");

    let after = atcost.doctor();
    let since = |name: &str| after[name].as_u64().expect("a count") - before[name].as_u64().expect("a count");
    assert_eq!(scrape.number("atcost_records_received_total"), since("received"));
    assert_eq!(scrape.number("atcost_records_usage_total"), since("usage"));
    assert_eq!(scrape.number("atcost_gaps_total"), since("gaps"));
    assert_eq!(scrape.number("atcost_records_lost_total"), 5);
    for (reason, count) in after["rejected_by_reason"].as_object().expect("counts by reason") {
        assert_eq!(
            scrape.number(&format!("atcost_records_rejected_total{{reason=\"{reason}\"}}")),
            count.as_u64().expect("a count"),
            "{reason}"
        );
    }
    let rejected: u64 = scrape
        .samples
        .iter()
        .filter(|(name, _)| name.starts_with("atcost_records_rejected_total{"))
        .map(|(_, count)| count.parse::<u64>().expect("a count"))
        .sum();
    assert_eq!((rejected, since("rejected")), (3, 3));
    assert_eq!(scrape.number("atcost_batch_rows_sum"), since("received") + since("gaps"));
    assert_eq!(scrape.number("atcost_commits_total"), since("version"));
    assert_eq!(scrape.number("atcost_commit_seconds_count"), since("version"));
    assert_eq!(scrape.number("atcost_ledger_version"), after["version"].as_u64().expect("a version"));
    assert_eq!(scrape.number("atcost_table_orphans"), 0);
    let expected = [
        ("position", 0, 18),
        ("low", 0, 15),
        ("high", 0, 18),
        ("position", 1, 53),
        ("low", 1, 0),
        ("high", 1, 53),
    ];
    for (what, partition, offset) in expected {
        let sample = format!("atcost_partition_{what}_offset{{topic=\"{topic}\",partition=\"{partition}\"}}");
        assert_eq!(scrape.number(&sample), offset, "{sample}");
    }
    for partition in [0, 1] {
        assert_eq!(
            scrape.number(&format!(
                "atcost_partition_lag_records{{topic=\"{topic}\",partition=\"{partition}\"}}"
            )),
            0
        );
    }
    for event in ALARMS {
        assert_eq!(
            scrape.number(&format!("atcost_events_total{{event=\"{event}\"}}")),
            u64::from(*event == "kafka.gap"),
            "{event}"
        );
    }
    assert!(scrape.number("process_resident_memory_bytes") > 1 << 20);
}

#[test]
fn an_unanswered_client_harms_nobody() {
    let (broker, atcost, port) = (Broker::shared(), ledger(), free_port());
    let topic = broker.topic(1);
    let running = atcost.ingest_with_metrics(broker.address(), &topic, port, &[]);
    scrape(port);
    // More than are served at a time: some that say half of a request, some that say nothing, some
    // that never read.
    let requests = ["GET /metrics HTTP/1.1\r\n", "", "GET /metrics HTTP/1.1\r\n\r\n"];
    let idle: Vec<TcpStream> = (0..30)
        .map(|number| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
            // A connection over the limit is closed at once.
            drop(stream.write_all(requests[number % requests.len()].as_bytes()));
            stream
        })
        .collect();
    broker.produce(&topic, &events("e", 0, 20));
    scrape_until(port, |scrape| scrape.number("atcost_records_received_total") == 20);
    drop(idle);
    // Bytes beyond the longest request are not kept.
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    drop(stream.write_all(&vec![b'a'; 1 << 20]));
    drop(stream.read_to_end(&mut Vec::new()));
    scrape(port);
    let output = running.stop();
    assert_eq!(output.code, Some(0), "{}", output.text());
}

#[test]
fn an_address_that_is_taken_stops_before_anything_is_read() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let atcost = Atcost::initialised();
    let files = tests::machine::case("month/events");
    let ingest = ["ingest", "--files", tests::atcost::utf8(&files), "--until-caught-up"];
    for address in [address.as_str(), "127.0.0.1", "nowhere.invalid:9464"] {
        let output = atcost.run(&[&ingest[..], &["--metrics", address]].concat());
        assert_eq!(output.code, Some(2), "{}", output.text());
        assert!(
            output.stderr.contains(address) && output.stderr.contains("like 127.0.0.1:9464"),
            "{}",
            output.text()
        );
    }
    assert_eq!(atcost.doctor()["received"], 0);
}

#[test]
fn the_configuration_may_say_where_and_the_log_tells_the_port() {
    let atcost = Atcost::initialised();
    atcost.set("metrics", "listen = \"127.0.0.1:0\"");
    let files = tests::machine::case("month/events");
    let output = atcost.run(&[
        "ingest",
        "--files",
        tests::atcost::utf8(&files),
        "--until-caught-up",
        "--log-format",
        "json",
    ]);
    assert_eq!(output.code, Some(0), "{}", output.text());
    let lines: Vec<Value> =
        output.stderr.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect();
    let listening =
        lines.iter().find(|line| line["event"] == "metrics.listening").expect("the address is logged");
    let address: std::net::SocketAddr =
        listening["address"].as_str().expect("an address").parse().expect("an address");
    assert!(address.ip().is_loopback() && address.port() != 0, "{address}");
}

#[test]
fn a_failure_is_a_line_of_json_too() {
    let output = Atcost::empty().run(&["doctor", "--log-format", "json"]);
    assert_eq!(output.code, Some(2), "{}", output.text());
    let line: Value = serde_json::from_str(&output.stderr).expect("one line of JSON");
    assert_eq!((&line["event"], &line["level"]), (&json!("command.failed"), &json!("ERROR")));
    assert!(
        line["message"].as_str().is_some_and(|message| message.contains("atcost.toml cannot be read")),
        "{line}"
    );
}

/// Alarms stand in a set for the test of docs/operations.md; this one keeps them in order and each
/// once.
#[test]
fn alarms_are_a_set() {
    assert_eq!(
        ALARMS.iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(),
        ALARMS.iter().collect::<Vec<_>>()
    );
}
