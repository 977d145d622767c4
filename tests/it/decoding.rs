//! The records that are read and those that are refused: one file per rule in tests/cases/decoding.
//!
//! A case says in words what it shows; then how the record is written (`json`, a line of a file;
//! `kafka`, a message's value; `hex`, its bytes; `every`, an event that is written in every
//! encoding and must come out the same) and its headers; then the record, with `$` where the lines
//! below `---` are put in, one after the other. `«3×ab»` stands for `ababab`. Below each line is
//! its outcome. Every record was received at 2025-11-03T00:00:00Z.

use crate::cases;
use ingest::IngestError;
use ingest::decode::Decoder;
use ingest::schema::WriterSchema;
use ingest::schema::registry::SchemaLookup;
use ingest::source::{Content, Header, RawRef};
use ingest::stop::Stop;
use schemas::event::{EventRef, MapRef};
use schemas::outcome::{OutcomeRef, write_headers};
use schemas::time::Instant;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;
use tests::encode::{self, Encoding, Record};

/// Schema id 1 is `usage_event.v1`, 2 lacks its subject.
const WITHOUT_SUBJECT: &str = r#"{"type":"record","name":"UsageEvent","namespace":"atcost.v1","fields":[{"name":"source","type":"string"}]}"#;

struct TwoSchemas;

impl SchemaLookup for TwoSchemas {
    fn by_id(&mut self, id: u32, _stop: &Stop) -> Result<Option<Arc<WriterSchema>>, IngestError> {
        Ok(match id {
            1 => Some(Arc::new(WriterSchema::usage_event_v1())),
            2 => Some(Arc::new(WriterSchema::parse(WITHOUT_SUBJECT, &[]))),
            _ => None,
        })
    }

    fn name(&self) -> String {
        "this test".to_owned()
    }
}

#[test]
fn decoding() {
    cases::for_each_file("decoding", check);
}

fn check(case: &str) -> String {
    let (question, answers) = case.split_once("---\n").expect("a case has a record and a line of ---");
    let (_, record) = question.split_once("\n\n").expect("a case begins with words and an empty line");
    let mut lines = record.lines();
    let form = lines.next().expect("a case says how its record is written");
    let (headers, template): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("header "));
    let mut output = format!("{question}---\n");
    for line in answers.lines().filter(|line| !line.is_empty() && !line.starts_with("  ")) {
        let fill = |text: &str| repeated(&text.replace('$', line));
        let headers = headers.iter().map(|header| {
            let (name, value) = fill(header.trim_start_matches("header "))
                .split_once(": ")
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .expect("a header");
            (name, Some(value.into_bytes()))
        });
        let text = fill(&template.join("\n"));
        let outcome = outcome(form, headers.collect(), &text);
        writeln!(output, "{line}\n  {outcome}").expect("a String takes everything");
    }
    output
}

fn outcome(form: &str, headers: Vec<(String, Option<Vec<u8>>)>, text: &str) -> String {
    let record = |value: Option<Vec<u8>>| Record { headers: headers.clone(), value, ..Record::default() };
    let text_record = record(Some(text.as_bytes().to_vec()));
    match form {
        "json" => decode(&text_record, Content::Json),
        "kafka" => decode(&text_record, Content::Message),
        "hex" => {
            let digits: Vec<u8> = text
                .chars()
                .filter_map(|digit| digit.to_digit(16))
                .map(|digit| u8::try_from(digit).expect("a hexadecimal digit"))
                .collect();
            decode(
                &record(Some(digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect())),
                Content::Message,
            )
        }
        "tombstone" => decode(&record(None), Content::Message),
        "every" => {
            let event = serde_json::from_str(text).expect("an event");
            let encodings = [
                Encoding::Structured,
                Encoding::Binary,
                Encoding::Confluent { schema_id: 1 },
                Encoding::SingleObject,
            ];
            let outcomes =
                encodings.map(|encoding| decode(&encode::record(encoding, 0, &event), Content::Message));
            let first = decode(&Record { headers: Vec::new(), ..text_record }, Content::Json);
            match outcomes.iter().find(|outcome| **outcome != first) {
                None => first,
                Some(other) => format!("one encoding: {first}; another: {other}"),
            }
        }
        other => panic!("{other:?} is no way to write a record"),
    }
}

fn decode(record: &Record, content: Content<'_>) -> String {
    let headers: Vec<Header<'_>> =
        record.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect();
    let raw = RawRef { key: record.key.as_deref(), headers: &headers, value: record.value.as_deref() };
    let mut as_stored = Vec::new();
    write_headers(&mut as_stored, &headers);
    let received_at = Instant::parse_rfc3339("2025-11-03T00:00:00Z").expect("an instant");
    let shown = |outcome: &OutcomeRef<'_>| match outcome {
        OutcomeRef::Usage(event) => shown(event),
        OutcomeRef::Rejected { reason, detail, key, headers, value } => {
            let whole = (*key, *headers, *value) == (raw.key, &as_stored[..], raw.value);
            assert!(whole || reason.as_str() == "too-large", "a refused record is kept as it came");
            format!("{reason}: {detail}")
        }
        OutcomeRef::Gap { .. } => panic!("a record is no gap"),
    };
    let outcome = |decoder: &mut Decoder| {
        decoder
            .decode(&raw, content, received_at, &Stop::default(), shown)
            .expect("every record has an outcome")
    };
    let first = outcome(&mut Decoder::new(Box::new(TwoSchemas), []));
    // A decoder that has seen every case before this one knows their maps, and this one's once it
    // has come twice.
    thread_local! {
        static EXPERIENCED: RefCell<Decoder> = RefCell::new(Decoder::new(Box::new(TwoSchemas), []));
    }
    for time in 1..=4 {
        assert_eq!(EXPERIENCED.with_borrow_mut(outcome), first, "when it comes for time {time}");
    }
    first
}

/// The event without what it has not.
fn shown(event: &EventRef<'_>) -> String {
    let mut text = format!(
        "usage {} {} {} {} {} {}",
        event.source, event.id, event.meter, event.subject, event.time, event.quantity
    );
    let map = |map: MapRef<'_>| {
        map.pairs().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    };
    let parts = [
        (!event.dimensions.pairs().is_empty()).then(|| format!("dimensions({})", map(event.dimensions))),
        event.provider.map(|provider| format!("provider({provider})")),
        event.location.map(|location| format!("location({location})")),
        event.resource.map(|resource| format!("resource({})", map(resource))),
        event
            .producer
            .map(|producer| format!("producer({} {} {})", producer.id, producer.epoch, producer.seq)),
        event.correction.map(|correction| {
            format!(
                "correction({} {} {}: {})",
                correction.action.as_str(),
                correction.source,
                correction.id,
                correction.reason
            )
        }),
    ];
    for part in parts.into_iter().flatten() {
        write!(text, " {part}").expect("a String takes everything");
    }
    // A long name is told by its length.
    let shorten = |word: &str| {
        if word.chars().count() > 300 {
            format!("({} characters)", word.chars().count())
        } else {
            word.to_owned()
        }
    };
    text.split(' ').map(shorten).collect::<Vec<_>>().join(" ")
}

/// `«3×ab»` as `ababab`.
pub fn repeated(text: &str) -> String {
    let Some((before, rest)) = text.split_once('«') else { return text.to_owned() };
    let (inside, after) = rest.split_once('»').expect("a repetition ends");
    let (count, unit) = inside.split_once('×').expect("a repetition says how often");
    before.to_owned() + &unit.repeat(count.parse().expect("a repetition says how often")) + &repeated(after)
}
