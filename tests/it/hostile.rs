//! Hostile input, end to end: tests/cases/hostile/records through a real topic,
//! tests/cases/hostile/files as a folder of files.
//!
//! A case file begins with words on its theme. Then come paragraphs: a name, a sentence that says
//! why it matters, how the record is made, and after `=>` what must be in the ledger. In a text
//! `‹U+202E›` is that character, `‹00 ff›` are these bytes, and `«3×ab»` stands for `ababab`. The
//! lines that make a record are
//!
//! - `ENCODING FIELD JSON`: a sound event with that field changed, or removed where there is no
//!   JSON. ENCODING is `structured`, `binary`, `confluent` or `single-object`, or `json` for the
//!   first two, `avro` for the last two, `every` for all four: that many records.
//! - `value TEXT`, `key TEXT`, `header NAME: TEXT`, `headers COUNT NAME: TEXT`: a message as it is;
//!   `no value` is a tombstone, `null header NAME` a header without a value. They may follow the
//!   lines above and then replace or add to what these made; so do `swap TEXT by TEXT`, `prepend
//!   TEXT`, `append TEXT` and `cut COUNT` with the value, and `without NAME`, which takes a header
//!   away.
//!
//! and the lines that make a file, each adding to or changing the bytes so far: `file NAME`, `good`
//! (a sound event and a line feed), `text TEXT`, `line TEXT`, `avro CODEC` (a container of four
//! sound events, two to a block), `block COUNT CODEC TEXT` (another block of it), `gzip`, `zstd`,
//! `cut COUNT` (drops the last bytes), `replace TEXT by TEXT` (once), `replace NUMBER TEXT by TEXT`
//! (the so manieth).
//!
//! Every hostile record stands between sound ones. Each must be in the ledger once, at its own
//! offset, with its reason and its bytes, and every sound one as it was.

use crate::cases::{Comparison, entries};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use tests::atcost::{Atcost, utf8};
use tests::broker::Broker;
use tests::encode::{self, Encoding, Record};
use tests::registry::Registry;
use tests::wire;

const SCHEMA_ID: u32 = 7;
const ENCODINGS: [(&str, Encoding); 4] = [
    ("structured", Encoding::Structured),
    ("binary", Encoding::Binary),
    ("confluent", Encoding::Confluent { schema_id: SCHEMA_ID }),
    ("single-object", Encoding::SingleObject),
];
/// The largest record that is read, and what is kept of a larger one.
const MAX_RECORD_BYTES: usize = 1 << 20;
const KEPT_BYTES: usize = 64 << 10;
/// The largest message that the broker of these tests is sent.
const MAX_MESSAGE: &str = "200000000";

/// The columns that tell one row of usage from a sound event.
const FIELDS: &[&str] = &[
    "source",
    "id",
    "type",
    "subject",
    "time",
    "value",
    "dimensions",
    "provider",
    "location",
    "resource",
    "correction_action",
    "correction_source",
    "correction_id",
    "correction_reason",
];

fn sound(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "//edge/ams/node-1", "type": "compute.example/instance-hours", "subject": "projects/a1",
        "time": "2025-10-01T08:00:00Z", "datacontenttype": "application/json", "data": {"value": "1.5", "dimensions": {"class": "standard"}},
    })
}

/// The row of a sound event, in the order of [`FIELDS`].
fn sound_row(id: &str) -> Vec<Option<String>> {
    let some = |text: &str| Some(text.to_owned());
    let texts = [
        "//edge/ams/node-1",
        id,
        "compute.example/instance-hours",
        "projects/a1",
        "2025-10-01T08:00:00Z",
        "1.5",
        r#"{"class":"standard"}"#,
    ];
    texts.into_iter().map(some).chain(std::iter::repeat_n(None, FIELDS.len() - texts.len())).collect()
}

/// One paragraph of a case file.
struct Case<'a> {
    /// Name, sentence and how it is made, as written.
    question: String,
    name: &'a str,
    making: Vec<&'a str>,
}

/// The words at the beginning of a case file, and its paragraphs.
fn read(text: &str) -> (&str, Vec<Case<'_>>) {
    let (words, rest) = text.split_once("\n\n").expect("a case file begins with words and an empty line");
    let paragraph = |paragraph| -> Case<'_> {
        let lines: Vec<&str> = str::lines(paragraph).filter(|line| !line.starts_with("  =>")).collect();
        let making: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("  ")).collect();
        assert!(
            lines.len() == making.len() + 2 && !making.is_empty(),
            "a name, a sentence, and how it is made: {paragraph}"
        );
        Case { question: lines.join("\n"), name: lines[0], making }
    };
    (words, rest.split("\n\n").map(|text| paragraph(text.trim_end_matches('\n'))).collect())
}

// Text into bytes.

/// `‹…›` and `«…»` written out.
fn bytes(text: &str) -> Vec<u8> {
    let Some(at) = text.find(['‹', '«']) else { return text.as_bytes().to_vec() };
    let (close, width) =
        if text[at..].starts_with('‹') { ('›', '‹'.len_utf8()) } else { ('»', '«'.len_utf8()) };
    let end = at + text[at..].find(close).unwrap_or_else(|| panic!("no {close} in {text}"));
    let inside = &text[at + width..end];
    let mut written = text.as_bytes()[..at].to_vec();
    if close == '»' {
        let (count, unit) = inside.split_once('×').expect("COUNT×TEXT");
        // A repeated byte stands in its own brackets, which a repetition may not hold.
        let unit =
            if let Some(hex) = unit.strip_prefix('#') { hex_bytes(hex) } else { unit.as_bytes().to_vec() };
        written.extend(unit.repeat(count.parse().expect("COUNT×TEXT")));
    } else if let Some(code) = inside.strip_prefix("U+") {
        let character =
            u32::from_str_radix(code, 16).ok().and_then(char::from_u32).expect("U+ and a character's number");
        written.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        written.extend(hex_bytes(inside));
    }
    written.extend(bytes(&text[end + close.len_utf8()..]));
    written
}

fn hex_bytes(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("{byte} is no byte")))
        .collect()
}

fn utf8_text(text: &str) -> String {
    String::from_utf8(bytes(text)).expect("this text is UTF-8")
}

/// How a text from the ledger is shown in a case: what cannot be seen by its number, what is long
/// by its length.
fn shown(text: &str) -> String {
    if text.chars().count() > 300 {
        return format!("({} characters)", text.chars().count());
    }
    let plain = |character: char| {
        character == ' ' || (character.is_ascii() && !character.is_control()) || character.is_alphanumeric()
    };
    text.chars().fold(String::new(), |mut shown, character| {
        if plain(character) || "–—“”…×".contains(character) {
            shown.push(character);
        } else {
            write!(shown, "‹U+{:04X}›", u32::from(character)).expect("writing to a string");
        }
        shown
    })
}

// A case into records.

/// The records of a case, each with the name of its encoding.
fn records(case: &Case<'_>, number: usize) -> Vec<(&'static str, Record)> {
    let (events, raw): (Vec<&str>, Vec<&str>) =
        case.making.iter().partition(|line| encodings(line.split(' ').next().expect("a word")).is_some());
    let mut made: Vec<(&'static str, Record)> = Vec::new();
    if let Some(first) = events.first() {
        let word = first.split(' ').next().expect("a word");
        for (name, encoding) in encodings(word).expect("an encoding") {
            let mut event = sound(&format!("hostile-{number:04}-{name}"));
            for line in &events {
                let (this, change) = line.split_once(' ').unwrap_or((line, ""));
                assert_eq!(this, word, "one encoding for all changes of {}", case.name);
                change_event(&mut event, change);
            }
            made.push((name, encode::record(*encoding, 0, &event)));
        }
    } else {
        made.push(("raw", Record::default()));
    }
    for (_, record) in &mut made {
        let mut values: Option<Vec<u8>> = None;
        for line in &raw {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let header = |text: &str| {
                text.split_once(": ")
                    .map(|(name, value)| (utf8_text(name), Some(bytes(value))))
                    .expect("NAME: TEXT")
            };
            match word {
                "value" => values.get_or_insert_default().extend(bytes(rest)),
                "no" => record.value = None,
                "swap" => {
                    let (old, new) = rest.split_once(" by ").expect("swap TEXT by TEXT");
                    replace_once(record.value.as_mut().expect("a value"), &bytes(old), bytes(new), case.name);
                }
                "prepend" => _ = record.value.as_mut().expect("a value").splice(0..0, bytes(rest)),
                "append" => record.value.as_mut().expect("a value").extend(bytes(rest)),
                "cut" => {
                    record.value = record.value.take().map(|value| {
                        value[..value.len() - rest.parse::<usize>().expect("cut COUNT")].to_vec()
                    })
                }
                "key" => record.key = Some(bytes(rest)),
                "header" => record.headers.push(header(rest)),
                "null" => record.headers.push((utf8_text(rest.trim_start_matches("header ")), None)),
                "headers" => {
                    let (count, text) = rest.split_once(' ').expect("COUNT NAME: TEXT");
                    record.headers.extend(std::iter::repeat_n(header(text), count.parse().expect("a count")));
                }
                "without" => record.headers.retain(|(name, _)| name != rest),
                other => panic!("{other} makes no record: {}", case.name),
            }
        }
        record.value = values.or(record.value.take());
    }
    made
}

fn replace_once(bytes: &mut Vec<u8>, old: &[u8], new: Vec<u8>, name: &str) {
    let at = bytes
        .windows(old.len())
        .position(|window| window == old)
        .unwrap_or_else(|| panic!("{name}: there is nothing to replace"));
    bytes.splice(at..at + old.len(), new);
}

fn encodings(word: &str) -> Option<&'static [(&'static str, Encoding)]> {
    Some(match word {
        "every" => &ENCODINGS,
        "json" => &ENCODINGS[..2],
        "avro" => &ENCODINGS[2..],
        "structured" => &ENCODINGS[..1],
        "binary" => &ENCODINGS[1..2],
        "confluent" => &ENCODINGS[2..3],
        "single-object" => &ENCODINGS[3..],
        _ => return None,
    })
}

/// `FIELD JSON`, the field with dots.
fn change_event(event: &mut Value, change: &str) {
    if change.is_empty() {
        return;
    }
    let (path, value) = change.split_once(' ').unwrap_or((change, ""));
    let (parents, name) = path.rsplit_once('.').map_or((None, path), |(parents, name)| (Some(parents), name));
    let place = parents
        .into_iter()
        .flat_map(|parents| parents.split('.'))
        .fold(event, |place, name| &mut place[name]);
    if place.is_null() {
        *place = json!({});
    }
    let place = place.as_object_mut().expect("a field of an object");
    if value.is_empty() {
        place.remove(name);
    } else {
        let value = utf8_text(value);
        place.insert(
            name.to_owned(),
            serde_json::from_str(&value).unwrap_or_else(|error| panic!("{error}: {change}")),
        );
    }
}

// The outcome.

/// A row of the ledger as a case shows it.
fn outcome(row: &BTreeMap<&str, Option<String>>, sent_id: Option<&str>) -> String {
    let text = |name: &str| row[name].clone().unwrap_or_default();
    if text("kind") == "rejected" {
        // When it was received is not in the case.
        let detail = text("detail");
        let detail = detail
            .split_once(", more than five minutes after the record was received")
            .map_or(detail.as_str(), |(before, _)| before);
        return format!("{}: {}", text("reason"), shown(detail));
    }
    let id = text("id");
    let sound = sound_row(sent_id.unwrap_or(&id));
    let changed = FIELDS.iter().zip(&sound).filter(|(name, sound)| row[**name] != **sound);
    changed.fold(text("kind"), |told, (name, _)| {
        format!("{told} {name}={}", row[*name].as_deref().map_or("NULL".to_owned(), shown))
    })
}

/// The rows of the ledger: by file name, or `None` for a topic; by offset.
fn rows(atcost: &Atcost) -> Vec<BTreeMap<&'static str, Option<String>>> {
    const OTHERS: &[&str] = &["kind", "reason", "detail", "origin", "origin_name", "\"offset\""];
    const RAW: &str = "sha256(raw_key) AS key, sha256(raw_headers) AS headers, sha256(raw_value) AS \"value\", octet_length(raw_value)::VARCHAR AS size";
    let columns = [OTHERS, FIELDS].concat().join(", ");
    let table = atcost.ledger(&format!(
        "SELECT {columns}, {} FROM ledger ORDER BY batch, \"row\"",
        RAW.replace("\"value\"", "raw")
    ));
    let names: Vec<&'static str> = [
        &["kind", "reason", "detail", "origin", "origin_name", "offset"],
        FIELDS,
        &["key", "headers", "raw", "size"],
    ]
    .concat();
    table.rows.into_iter().map(|row| names.iter().copied().zip(row).collect()).collect()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Headers as the ledger keeps them.
fn stored(headers: &[(String, Option<Vec<u8>>)]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_be_bytes();
    let mut stored = u32::try_from(headers.len()).expect("few").to_be_bytes().to_vec();
    for (name, value) in headers {
        stored.extend([length(name.as_bytes()).as_slice(), name.as_bytes()].concat());
        match value {
            None => stored.push(0),
            Some(value) => stored.extend([[1].as_slice(), &length(value), value].concat()),
        }
    }
    stored
}

/// A refused record must be in the ledger as it came; of one that is too large, the beginning.
fn assert_kept(name: &str, row: &BTreeMap<&str, Option<String>>, sent: &Record) {
    let value = sent.value.as_deref();
    if sent.value.as_ref().map_or(0, Vec::len) + sent.key.as_ref().map_or(0, Vec::len) > MAX_RECORD_BYTES
        || row["reason"].as_deref() == Some("too-large")
    {
        let kept = |part: &[u8], left: usize| part[..part.len().min(left)].to_vec();
        let value = value.map(|value| kept(value, KEPT_BYTES));
        let key = sent.key.as_deref().map(|key| kept(key, KEPT_BYTES - value.as_ref().map_or(0, Vec::len)));
        assert_eq!(
            [&row["raw"], &row["key"]],
            [&value.as_deref().map(digest), &key.as_deref().map(digest)],
            "what is kept of {name}"
        );
        if row["reason"].as_deref() == Some("too-large") {
            let digest = digest(sent.value.as_deref().unwrap_or_default());
            assert!(
                row["detail"].as_ref().is_some_and(|detail| detail.contains(&digest)),
                "the whole value of {name} is not named by its digest"
            );
        }
        return;
    }
    assert_eq!(row["raw"], value.map(digest), "the value of {name}");
    assert_eq!(row["key"], sent.key.as_deref().map(digest), "the key of {name}");
    assert_eq!(row["headers"], Some(digest(&stored(&sent.headers))), "the headers of {name}");
}

/// The doctor's counts, and what the rows say.
fn assert_doctor(atcost: &Atcost, rows: &[BTreeMap<&str, Option<String>>]) {
    let usage = rows.iter().filter(|row| row["kind"].as_deref() == Some("usage")).count();
    let places: BTreeSet<_> = rows.iter().map(|row| (&row["origin"], &row["offset"])).collect();
    assert_eq!(places.len(), rows.len(), "each record is in the ledger once");
    let doctor = atcost.doctor();
    let counts = ["received", "usage", "rejected", "gaps", "duplicates", "conflicts"]
        .map(|name| doctor[name].as_u64().expect("a count"));
    // The first of an id counts; what says the same again is a duplicate, what says something else
    // a conflict, and so is a second correction of one target.
    let (mut first, mut corrected, mut duplicates, mut conflicts) = (BTreeMap::new(), BTreeSet::new(), 0, 0);
    for row in rows.iter().filter(|row| row["kind"].as_deref() == Some("usage")) {
        let says: Vec<_> = FIELDS.iter().map(|name| &row[*name]).collect();
        match first.entry((&row["source"], &row["id"])) {
            Entry::Vacant(entry) => {
                entry.insert(says);
                let is_correction = row["correction_action"].is_some();
                conflicts += u64::from(
                    is_correction && !corrected.insert((&row["correction_source"], &row["correction_id"])),
                );
            }
            Entry::Occupied(entry) if *entry.get() == says => duplicates += 1,
            Entry::Occupied(_) => conflicts += 1,
        }
    }
    let [all, usage] = [rows.len(), usage].map(|count| u64::try_from(count).expect("a small count"));
    assert_eq!(counts, [all, usage, all - usage, 0, duplicates, conflicts], "received = usage + rejected");
}

fn configured(registry: &Registry) -> Atcost {
    let atcost = Atcost::initialised();
    atcost.set("registry", &format!("url = \"{}\"", registry.url()));
    atcost
}

#[test]
fn hostile_records() {
    // Schema 8 has no subject, 9 is no record, 10 is no schema at all, 11 contains itself, 12 has a
    // decimal of another scale.
    let looped = r#"{"type":"record","name":"UsageEvent","namespace":"atcost.v1","fields":[{"name":"again","type":"UsageEvent"}]}"#;
    // The names of 13 and 14 are none, and 15 has a fixed that no memory holds.
    let named = |name: &str| schemas::USAGE_EVENT_V1_AVSC.replace("\"UsageEvent\"", name);
    let huge = r#""fields": [{"name":"f","type":{"type":"fixed","name":"F","size":9223372036854775808}},"#;
    let schemas: [(u32, String); 9] = [
        (13, named("\"usage-event\"")),
        (14, named("\"UsageEvent\", \"aliases\": [\"\"]")),
        (15, schemas::USAGE_EVENT_V1_AVSC.replacen("\"fields\": [", huge, 1)),
        (SCHEMA_ID, schemas::USAGE_EVENT_V1_AVSC.to_owned()),
        (8, r#"{"type":"record","name":"UsageEvent","namespace":"atcost.v1","fields":[{"name":"source","type":"string"}]}"#.to_owned()),
        (9, r#""int""#.to_owned()),
        (10, r#"{"type":"record"}"#.to_owned()),
        (11, looped.to_owned()),
        (12, schemas::USAGE_EVENT_V1_AVSC.replace("\"scale\": 9", "\"scale\": 6")),
    ];
    let registry = Registry::start(&schemas.each_ref().map(|(id, schema)| (*id, schema.as_str())));
    let (broker, atcost) = (Broker::shared(), configured(&registry));
    let files: Vec<(_, String)> = entries("hostile/records")
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).expect("a case")))
        .collect();
    let cases: Vec<Case<'_>> = files.iter().flat_map(|(_, text)| read(text).1).collect();
    let sent: Vec<Vec<(&str, Record)>> =
        cases.iter().enumerate().map(|(number, case)| records(case, number)).collect();
    let topic = broker.topic(1);
    let mut all = vec![encode::record(Encoding::Structured, 0, &sound("sound-0"))];
    for (_, record) in sent.iter().flatten() {
        let encoding = ENCODINGS[all.len() / 2 % ENCODINGS.len()].1;
        let neighbour = encode::record(encoding, 0, &sound(&format!("sound-{}", all.len() / 2 + 1)));
        all.extend([record.clone(), neighbour]);
    }
    broker.set_max_message(&topic, MAX_MESSAGE);
    broker.produce_with(&topic, &[("compression.type", "zstd"), ("message.max.bytes", MAX_MESSAGE)], &all);
    let summary =
        atcost.json(&["ingest", "--brokers", broker.address(), "--topic", &topic, "--until-caught-up"]);
    assert_eq!(summary["received"], all.len());

    let rows = rows(&atcost);
    assert_eq!(rows.len(), all.len());
    assert_doctor(&atcost, &rows);
    let mut comparison = Comparison::default();
    let (mut offset, mut number) = (1, 0);
    for (path, text) in &files {
        let (words, cases) = read(text);
        let mut told = format!("{words}\n");
        for case in cases {
            let mut outcomes = Vec::new();
            for (encoding, record) in &sent[number] {
                let (row, neighbour) = (&rows[offset], &rows[offset + 1]);
                assert_eq!(row["offset"], Some(offset.to_string()), "{}", case.name);
                if row["kind"].as_deref() == Some("rejected") {
                    assert_kept(case.name, row, record);
                }
                let id = format!("sound-{}", offset / 2 + 1);
                let found: Vec<Option<String>> = FIELDS.iter().map(|name| neighbour[name].clone()).collect();
                assert_eq!(found, sound_row(&id), "the neighbour of {}", case.name);
                let told = outcome(row, Some(&format!("hostile-{number:04}-{encoding}")));
                outcomes.push((*encoding, told.replace(&registry.url(), "REGISTRY")));
                offset += 2;
            }
            write!(told, "\n{}\n", case.question).expect("writing to a string");
            if outcomes.iter().all(|(_, outcome)| *outcome == outcomes[0].1) {
                outcomes = vec![("", outcomes.swap_remove(0).1)];
            }
            for (encoding, outcome) in outcomes {
                let encoding = if encoding.is_empty() { String::new() } else { format!("{encoding}: ") };
                writeln!(told, "  => {encoding}{outcome}").expect("writing to a string");
            }
            number += 1;
        }
        comparison.expect(path, &told);
    }
    comparison.finish();
    assert!(offset / 2 >= 300, "{} hostile records are fewer than there were", offset / 2);
}

/// Kafka's headers have names of any bytes. A library that takes them for text must not end the
/// process, or nothing after such a message is ever read.
#[test]
fn a_header_whose_name_is_no_text_harms_nobody() {
    let (broker, atcost) = (Broker::shared(), Atcost::initialised());
    let topic = broker.topic(1);
    let event = sound("behind a header").to_string();
    // A header that begins like an attribute makes it binary mode, and its attributes are missing.
    wire::produce(broker.address(), &topic, &[(b"ce_\xff", Some(b"1"))], event.as_bytes());
    wire::produce(broker.address(), &topic, &[(b"trace", Some(b"1")), (b"\xc0\xaf", None)], event.as_bytes());
    wire::produce(broker.address(), &topic, &[(b"trace", Some(b"1"))], event.as_bytes());
    let summary =
        atcost.json(&["ingest", "--brokers", broker.address(), "--topic", &topic, "--until-caught-up"]);
    assert_eq!([&summary["received"], &summary["rejected"]], [3, 1]);
    let rows = rows(&atcost);
    assert_doctor(&atcost, &rows);
    let reasons: Vec<_> = rows.iter().map(|row| row["reason"].as_deref()).collect();
    assert_eq!(reasons, [Some("attribute-missing"), None, None]);
    assert_eq!(rows[0]["raw"], Some(digest(event.as_bytes())), "the value is kept");
    assert_eq!(
        rows[0]["headers"],
        Some(digest(b"\0\0\0\x01\0\0\0\x04ce_\xff\x01\0\0\0\x011")),
        "the header is kept as it came"
    );
}

// Files.

/// The name and the bytes of a case's file.
fn file(case: &Case<'_>) -> (String, Vec<u8>) {
    let (mut name, mut content, mut sounds) = (String::new(), Vec::new(), 0);
    let mut sound_event = || {
        sounds += 1;
        sound(&format!("{} {sounds}", case.name))
    };
    for line in &case.making {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "file" => name = utf8_text(rest),
            "good" => writeln!(content, "{}", sound_event()).expect("in memory"),
            "text" => content.extend(bytes(rest)),
            "line" => content.extend([bytes(rest), b"\n".to_vec()].concat()),
            "avro" => {
                let rest = &utf8_text(rest);
                let data: Vec<Vec<u8>> = (0..4).map(|_| encode::datum(&sound_event())).collect();
                content = encode::container_in(rest, schemas::USAGE_EVENT_V1_AVSC, &data);
            }
            "block" => {
                let [count, codec, text] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                    panic!("block COUNT CODEC TEXT")
                };
                encode::push_block(&mut content, codec, count.parse().expect("a count"), &bytes(text));
            }
            "gzip" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&content).expect("in memory");
                content = encoder.finish().expect("in memory");
            }
            "zstd" => content = zstd::encode_all(content.as_slice(), 1).expect("in memory"),
            "cut" => content.truncate(content.len() - rest.parse::<usize>().expect("cut COUNT")),
            "replace" => {
                let (old, new) = rest.split_once(" by ").expect("replace TEXT by TEXT");
                let numbered =
                    old.split_once(' ').and_then(|(number, old)| Some((number.parse::<usize>().ok()?, old)));
                let (number, old) = numbered.unwrap_or((1, old));
                let (old, new) = (bytes(old), bytes(new));
                let places = content
                    .windows(old.len())
                    .enumerate()
                    .filter(|(_, window)| *window == old)
                    .map(|(at, _)| at);
                let at = places.take(number).last().unwrap_or_else(|| panic!("{} has no {rest}", case.name));
                content.splice(at..at + old.len(), new);
            }
            other => panic!("{other} makes no file: {}", case.name),
        }
    }
    assert!(!name.is_empty(), "a file has a name: {}", case.name);
    (name, content)
}

#[test]
fn hostile_files() {
    let atcost = Atcost::initialised();
    let folder = atcost.folder().join("events");
    fs::create_dir(&folder).expect("a folder");
    let texts: Vec<(_, String)> = entries("hostile/files")
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).expect("a case")))
        .collect();
    let mut names = BTreeSet::new();
    for case in texts.iter().flat_map(|(_, text)| read(text).1) {
        let (name, content) = file(&case);
        assert!(names.insert(name.clone()), "two cases have the file {name}");
        fs::write(folder.join(name), content).expect("a file");
    }
    atcost.ok(&["ingest", "--files", utf8(&folder), "--until-caught-up"]);
    let rows = rows(&atcost);
    assert_doctor(&atcost, &rows);
    let mut comparison = Comparison::default();
    for (path, text) in &texts {
        let (words, cases) = read(text);
        let mut told = format!("{words}\n");
        for case in cases {
            let (name, _) = file(&case);
            write!(told, "\n{}\n", case.question).expect("writing to a string");
            let found: Vec<_> =
                rows.iter().filter(|row| row["origin_name"].as_deref() == Some(&name)).collect();
            for row in &found {
                let size =
                    row["size"].as_ref().map(|size| format!(" ({size} bytes kept)")).unwrap_or_default();
                let offset = row["offset"].as_deref().expect("a row has an offset");
                // A sound event of the case, told by its number.
                let id = row["id"]
                    .as_deref()
                    .and_then(|id| id.strip_prefix(case.name))
                    .map(|number| format!(" good{number}"))
                    .unwrap_or_default();
                let told_id = row["id"].clone();
                writeln!(told, "  => {offset} {}{id}{size}", outcome(row, told_id.as_deref()))
                    .expect("writing to a string");
            }
            if found.is_empty() {
                told.push_str("  => nothing\n");
            }
        }
        comparison.expect(path, &told);
    }
    comparison.finish();
    let again = atcost.json(&["ingest", "--files", utf8(&folder), "--until-caught-up"]);
    assert_eq!(again["received"], 0, "what was read once adds nothing");
}

/// A record from the future, as far as this machine knew, is refused once and not for ever.
#[test]
fn a_file_is_read_again_when_the_clock_is_right() {
    let atcost = Atcost::initialised();
    let folder = atcost.folder().join("events");
    fs::create_dir(&folder).expect("a folder");
    // As far ahead as a clock that is a quarter of a minute slow makes an event of five minutes.
    let ahead = Command::new("date").args(["-u", "-d", "+315 seconds", "+%Y-%m-%dT%H:%M:%SZ"]).output();
    let ahead = String::from_utf8(ahead.expect("date is a command").stdout).expect("a date");
    let early = sound("early").to_string().replace("2025-10-01T08:00:00Z", ahead.trim());
    fs::write(folder.join("a.ndjson"), format!("{}\n{early}\n", sound("sound"))).expect("a file");
    let read = |more: &[&str]| {
        let summary =
            atcost.json(&[&["ingest", "--files", utf8(&folder), "--until-caught-up"], more].concat());
        [&summary["usage"], &summary["rejected"]].map(|count| count.as_u64().expect("a count"))
    };
    assert_eq!(read(&[]), [1, 1]);
    let detail = atcost.ledger("SELECT detail FROM ledger WHERE kind = 'rejected'").lines();
    assert!(detail[0].contains("--reading 2"), "{detail:?}");
    assert_eq!(read(&[]), [0, 0], "the first reading is over");
    let number = (2..100).find(|number: &u32| {
        std::thread::sleep(std::time::Duration::from_secs(1));
        read(&["--reading", &number.to_string()]) == [2, 0]
    });
    let number = number.expect("the time comes").to_string();
    assert_eq!(read(&["--reading", &number]), [0, 0], "so is this one");
    let doctor = atcost.doctor();
    assert_eq!(doctor["conflicts"], 0, "{doctor}");
    assert_eq!(doctor["findings"], json!([]), "{doctor}");
}

/// A folder may hold what is no file, or leads to what was read already, or nowhere.
#[test]
fn links_lead_nowhere_twice() {
    let atcost = Atcost::initialised();
    let (folder, outside) = (atcost.folder().join("events"), atcost.folder().join("outside"));
    for path in [&folder, &outside] {
        fs::create_dir(path).expect("a folder");
    }
    fs::write(outside.join("one.ndjson"), sound("linked").to_string()).expect("a file");
    let link = |from: &Path, to: &str| std::os::unix::fs::symlink(from, folder.join(to)).expect("a link");
    link(&outside, "folder");
    link(&outside.join("one.ndjson"), "copy.ndjson");
    link(&folder, "loop");
    let summary = atcost.json(&["ingest", "--files", utf8(&folder), "--until-caught-up"]);
    assert_eq!(
        [&summary["received"], &summary["usage"]],
        [1, 1],
        "a file is read once, however many links lead to it"
    );
    // A link to nothing and a pipe nobody writes to: an error that names them, or nothing, but no
    // waiting without an end.
    link(Path::new("gone"), "gone.ndjson");
    let output = atcost.run(&["ingest", "--files", utf8(&folder), "--until-caught-up"]);
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(output.stderr.contains("gone.ndjson"), "{}", output.text());
    fs::remove_file(folder.join("gone.ndjson")).expect("the link can be removed");
    assert!(
        Command::new("mkfifo")
            .arg(folder.join("pipe.ndjson"))
            .status()
            .expect("mkfifo is a command")
            .success()
    );
    let output = atcost.run(&["ingest", "--files", utf8(&folder), "--until-caught-up"]);
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(output.stderr.contains("pipe.ndjson"), "{}", output.text());
}

// The cost.

/// A megabyte of nesting, of one name, of headers or of nothing at all: memory follows the size of
/// a batch, not of the topic, and not what a record claims.
#[test]
fn hostile_megabytes_need_little_memory() {
    let megabyte = 1_000_000;
    let kinds = [
        Record::bare(0, "[".repeat(megabyte)),
        Record::bare(0, r#"{"a":"#.repeat(megabyte / 5)),
        Record::bare(
            0,
            format!(
                "{{{}",
                (0..megabyte / 10).map(|number| format!("\"{number:05}\":0,")).collect::<String>()
            ),
        ),
        Record::bare(0, format!("{{\"{0}\":1,\"{0}\":2}}", "x".repeat(megabyte / 2))),
        Record::bare(0, encode::confluent(SCHEMA_ID, &vec![0xFE; megabyte])),
        Record::bare(0, encode::confluent(SCHEMA_ID, &[[2, 0x61].repeat(4), vec![0; megabyte]].concat())),
        Record { headers: vec![(String::new(), None); megabyte / 4], ..Record::bare(0, "{}") },
        Record {
            headers: vec![("ce_id".to_owned(), Some(vec![0xFF; 3])); megabyte / 12],
            ..Record::bare(0, "{}")
        },
        Record { key: Some(vec![0; megabyte]), ..Record::default() },
        Record::bare(
            0,
            sound("many")
                .to_string()
                .replace("{\"class\"", &format!("{{{}\"class\"", backwards(megabyte / 12))),
        ),
    ];
    let registry = Registry::start(&[(SCHEMA_ID, schemas::USAGE_EVENT_V1_AVSC)]);
    let (broker, atcost) = (Broker::shared(), configured(&registry));
    let topic = broker.topic(1);
    let mut sent = 0;
    for _ in 0..30 {
        broker.produce_with(
            &topic,
            &[("compression.type", "zstd"), ("message.max.bytes", "1100000")],
            &kinds,
        );
        sent += kinds.len();
    }
    let (output, peak) = atcost
        .spawn(&[
            "ingest",
            "--brokers",
            broker.address(),
            "--topic",
            &topic,
            "--until-caught-up",
            "--format",
            "json",
        ])
        .wait_with_peak();
    assert_eq!(output.code, Some(0), "{}", output.text());
    let summary = tests::atcost::json(&output.stdout);
    assert_eq!([&summary["received"], &summary["usage"]], [sent, sent / kinds.len()]);
    assert!(peak < MOST_MEMORY, "{sent} records of a megabyte took {} MiB", peak >> 20);
}

/// That many dimensions in falling order, which would be slow for who put each in its place.
fn backwards(count: usize) -> String {
    (0..count).rev().map(|number| format!("\"{number:06}\":\"\",")).collect()
}

/// The queue of librdkafka, a batch, the same as columns and as Parquet, and the program itself.
const MOST_MEMORY: u64 = 600 << 20;
