//! CloudEvents 1.0.2: the JSON format (structured mode), and the Kafka protocol binding's binary
//! mode.
//!
//! Members and extension attributes that are not ours are ignored; they were checked as JSON all
//! the same. One that is nearly ours is found, because it was most likely meant.

use super::candidate::{
    Candidate, Correction, Data, Entries, Found, Integer, Map, Producer, Text, Time, Value,
};
use super::json::{self, Json, Members};
use crate::near::{misplaced, near};
use crate::source::Header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bumpalo::Bump;
use schemas::rejection::{Reason, Rejection};
use schemas::time::Instant;

type Headers<'a> = [Header<'a>];

/// A CloudEvent in the JSON format.
pub fn structured<'a>(
    value: &'a [u8],
    arena: &'a Bump,
    candidate: &mut Candidate<'a>,
) -> Result<(), Rejection> {
    let members = match json::parse(value, arena)? {
        Json::Object(members) => members,
        other => {
            return Err(Rejection::new(
                Reason::NotAnObject,
                format!("the JSON is {}, not an object", other.what()),
            ));
        }
    };
    candidate.specversion = Some(Found::Absent);
    let mut base64 = None;
    for (name, value) in members {
        match name {
            "specversion" => candidate.specversion = Some(text(value)),
            "id" => candidate.id = text(value),
            "source" => candidate.source = text(value),
            "type" => candidate.kind = text(value),
            "subject" => candidate.subject = text(value),
            "time" => candidate.time = Time::Text(text(value)),
            "datacontenttype" => candidate.content_type = text(value),
            "data" => candidate.set_data(data(value, arena)),
            "data_base64" if value != Json::Null => base64 = Some(value),
            // An extension attribute of CloudEvents is no object.
            _ if matches!(value, Json::Object(_)) && misplaced(name).is_some() => {
                candidate.misplaced = Some(name);
            }
            _ => {}
        }
    }
    if let Some(base64) = base64 {
        candidate.set_data(match (&candidate.found_data, base64) {
            (Found::Absent, Json::Text(base64)) => data_base64(base64, arena),
            (Found::Absent, _) => Found::Wrong("in data_base64, which is not a string"),
            _ => Found::Wrong("given twice, as data and as data_base64"),
        });
    }
    Ok(())
}

/// JSON data may also be given in base64 (CloudEvents JSON format, section 3.1.1).
fn data_base64<'a>(base64: &str, arena: &'a Bump) -> Found<Data<'a>> {
    let Ok(decoded) = STANDARD.decode(base64) else {
        return Found::Wrong("in data_base64, which is not base64");
    };
    match json::parse(arena.alloc_slice_copy(&decoded), arena) {
        Ok(json) => data(json, arena),
        Err(_) => Found::Wrong("in data_base64, which does not hold JSON this program reads"),
    }
}

/// Attributes from `ce_` headers, data from the value.
pub fn binary<'a>(
    headers: &Headers<'a>,
    value: &'a [u8],
    arena: &'a Bump,
    candidate: &mut Candidate<'a>,
) -> Result<(), Rejection> {
    candidate.specversion = Some(header(headers, "ce_specversion"));
    candidate.id = header(headers, "ce_id");
    candidate.source = header(headers, "ce_source");
    candidate.kind = header(headers, "ce_type");
    candidate.subject = header(headers, "ce_subject");
    candidate.time = Time::Text(header(headers, "ce_time"));
    candidate.content_type = header(headers, "content-type");
    // A value of another content type is not JSON and is not read; the content type is refused in
    // its turn.
    let is_json = match &candidate.content_type {
        Found::Is(content_type) => is_json(content_type),
        Found::Absent => true,
        Found::Wrong(_) => false,
    };
    if is_json {
        candidate.set_data(data(json::parse(value, arena)?, arena));
    }
    Ok(())
}

/// An Avro event that came with `ce_` headers: they must say the same.
pub fn with_headers<'a>(candidate: &mut Candidate<'a>, headers: &Headers<'a>) {
    let pairs = [
        ("ce_id", &candidate.id),
        ("ce_source", &candidate.source),
        ("ce_type", &candidate.kind),
        ("ce_subject", &candidate.subject),
    ];
    let texts = pairs.into_iter().find_map(|(name, inside)| {
        let outside = header(headers, name);
        (outside != Found::Absent && outside != *inside).then_some(name)
    });
    let time = match (header(headers, "ce_time"), &candidate.time) {
        (Found::Absent, _) => None,
        (Found::Is(text), Time::Micros(micros))
            if Instant::parse_rfc3339(text).is_ok_and(|time| time.micros() == *micros) =>
        {
            None
        }
        _ => Some("ce_time"),
    };
    candidate.contradiction = texts.or(time);
    candidate.printable = false;
    candidate.specversion = match header(headers, "ce_specversion") {
        Found::Absent => None,
        specversion => Some(specversion),
    };
}

/// Whether the record is a CloudEvent in binary mode.
pub fn has_attributes(headers: &Headers<'_>) -> bool {
    headers.iter().any(|(name, _)| name.starts_with(b"ce_"))
}

/// The media type of the `content-type` header, without parameters, in lower case.
pub fn content_type(headers: &Headers<'_>) -> Option<String> {
    match header(headers, "content-type") {
        Found::Is(text) => Some(media_type(text)),
        Found::Absent => None,
        Found::Wrong(what) => Some(what.to_owned()),
    }
}

fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `application/json` or anything with the suffix `+json` (RFC 6839), with any parameters.
pub fn is_json(content_type: &str) -> bool {
    let media_type = media_type(content_type);
    media_type == "application/json"
        || media_type
            .split_once('/')
            .is_some_and(|(kind, subtype)| !kind.is_empty() && subtype.ends_with("+json"))
}

pub fn is_avro(media_type: &str) -> bool {
    matches!(media_type, "application/avro" | "avro/binary" | "application/vnd.apache.avro")
        || media_type.ends_with("+avro")
}

fn header<'a>(headers: &Headers<'a>, wanted: &str) -> Text<'a> {
    let mut values =
        headers.iter().filter(|(name, _)| *name == wanted.as_bytes()).filter_map(|(_, value)| *value);
    match (values.next(), values.next()) {
        (None, _) => Found::Absent,
        (Some(_), Some(_)) => Found::Wrong("a header that is there twice"),
        (Some(value), None) => {
            std::str::from_utf8(value).map_or(Found::Wrong("bytes that are not UTF-8"), Found::Is)
        }
    }
}

fn data<'a>(json: Json<'a>, arena: &'a Bump) -> Found<Data<'a>> {
    object(json, |members| {
        let mut data = Data::default();
        let mut others = Vec::new();
        for (name, value) in members {
            match name {
                "value" => data.value = quantity(value),
                "dimensions" => data.dimensions = map(value, arena),
                "provider" => data.provider = text(value),
                "location" => data.location = text(value),
                "resource" => data.resource = map(value, arena),
                "producer" => data.producer = object(value, producer),
                "correction" => data.correction = object(value, correction),
                _ => others.push(name),
            }
        }
        data.slip = others.into_iter().find_map(|name| Some((name, near(name, |ours| data.has(ours))?)));
        data
    })
}

fn producer(members: Members<'_>) -> Producer<'_> {
    let mut producer = Producer::default();
    for (name, value) in members {
        match name {
            "id" => producer.id = text(value),
            "epoch" => producer.epoch = integer(value),
            "seq" => producer.seq = integer(value),
            _ => {}
        }
    }
    producer
}

fn correction(members: Members<'_>) -> Correction<'_> {
    let mut correction = Correction::default();
    for (name, value) in members {
        match name {
            "action" => correction.action = text(value),
            "source" => correction.source = text(value),
            "id" => correction.id = text(value),
            "reason" => correction.reason = text(value),
            _ => {}
        }
    }
    correction
}

fn object<'a, T>(json: Json<'a>, read: impl FnOnce(Members<'a>) -> T) -> Found<T> {
    match json {
        Json::Null => Found::Absent,
        Json::Object(members) => Found::Is(read(members)),
        other => Found::Wrong(other.what()),
    }
}

fn text(json: Json<'_>) -> Text<'_> {
    match json {
        Json::Null => Found::Absent,
        Json::Text(text) => Found::Is(text),
        other => Found::Wrong(other.what()),
    }
}

fn map<'a>(json: Json<'a>, arena: &'a Bump) -> Map<'a> {
    let pairs = |members: Members<'a>| {
        arena.alloc_slice_fill_iter(members.into_iter().map(|(name, value)| (name, text(value))))
    };
    object(json, |members| Entries::Written { pairs: pairs(members), encoded: None })
}

fn integer(json: Json<'_>) -> Found<Integer<'_>> {
    match json {
        Json::Null => Found::Absent,
        Json::Number(literal) => Found::Is(Integer::Literal(literal)),
        other => Found::Wrong(other.what()),
    }
}

fn quantity(json: Json<'_>) -> Found<Value<'_>> {
    match json {
        Json::Null => Found::Absent,
        Json::Text(text) => Found::Is(Value::Text(text)),
        Json::Number(literal) => Found::Is(Value::Number(literal)),
        other => Found::Wrong(other.what()),
    }
}
