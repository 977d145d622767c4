//! One event in each encoding that is accepted.
//!
//! The Avro here is written by hand from the specification (1.12, "Binary encoding", "Single-object
//! encoding", "Object container files"), so that it cannot share a mistake with the library that
//! decodes.

use serde_json::Value;
use std::io::Write as _;

/// A record on its way to Kafka.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

impl Record {
    /// A record of these bytes and nothing else.
    pub fn bare(partition: i32, value: impl Into<Vec<u8>>) -> Self {
        Self { partition, value: Some(value.into()), ..Self::default() }
    }
}

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// CloudEvents, the whole event as JSON.
    Structured,
    /// CloudEvents, the attributes as headers and the data as JSON.
    Binary,
    /// Avro behind a zero byte and the registry's id of the schema.
    Confluent { schema_id: u32 },
    /// Avro behind the schema's fingerprint.
    SingleObject,
}

/// The CloudEvents JSON `event` as a Kafka record.
pub fn record(encoding: Encoding, partition: i32, event: &Value) -> Record {
    let (headers, value) = match encoding {
        Encoding::Structured => (
            vec![header("content-type", "application/cloudevents+json; charset=UTF-8")],
            event.to_string().into_bytes(),
        ),
        Encoding::Binary => (binary_headers(event), event["data"].to_string().into_bytes()),
        Encoding::Confluent { schema_id } => (Vec::new(), confluent(schema_id, &datum(event))),
        Encoding::SingleObject => (Vec::new(), single_object(USAGE_EVENT_V1_CANONICAL, &datum(event))),
    };
    Record { partition, key: event["subject"].as_str().map(Into::into), headers, value: Some(value) }
}

/// CloudEvents' Kafka protocol binding, 3.2: `datacontenttype` is `content-type`, every other
/// attribute has the prefix `ce_`.
fn binary_headers(event: &Value) -> Vec<(String, Option<Vec<u8>>)> {
    let attributes =
        event.as_object().expect("an event is an object").iter().filter(|(name, _)| *name != "data");
    attributes
        .map(|(name, value)| {
            let value = value.as_str().expect("an attribute is a string");
            if name == "datacontenttype" {
                header("content-type", value)
            } else {
                header(&format!("ce_{name}"), value)
            }
        })
        .collect()
}

fn header(name: &str, value: &str) -> (String, Option<Vec<u8>>) {
    (name.to_owned(), Some(value.as_bytes().to_vec()))
}

/// A datum behind Confluent's frame.
pub fn confluent(schema_id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0], schema_id.to_be_bytes().as_slice(), datum].concat()
}

/// A datum behind the header of the single-object encoding.
pub fn single_object(canonical_schema: &str, datum: &[u8]) -> Vec<u8> {
    [&[0xC3, 0x01], rabin(canonical_schema.as_bytes()).to_le_bytes().as_slice(), datum].concat()
}

/// `usage_event.v1` in Avro's parsing canonical form. Written out, because producers in the field
/// have its fingerprint: a change to the schema that changes this text is a new version.
pub const USAGE_EVENT_V1_CANONICAL: &str = concat!(
    r#"{"name":"atcost.v1.UsageEvent","type":"record","fields":["#,
    r#"{"name":"source","type":"string"},{"name":"id","type":"string"},{"name":"type","type":"string"},{"name":"subject","type":"string"},"#,
    r#"{"name":"time","type":"long"},{"name":"value","type":"bytes"},{"name":"dimensions","type":{"type":"map","values":"string"}},"#,
    r#"{"name":"provider","type":["null","string"]},{"name":"location","type":["null","string"]},"#,
    r#"{"name":"resource","type":["null",{"type":"map","values":"string"}]},"#,
    r#"{"name":"producer","type":["null",{"name":"atcost.v1.ProducerSequence","type":"record","fields":["#,
    r#"{"name":"id","type":"string"},{"name":"epoch","type":"long"},{"name":"seq","type":"long"}]}]},"#,
    r#"{"name":"correction","type":["null",{"name":"atcost.v1.Correction","type":"record","fields":["#,
    r#"{"name":"action","type":{"name":"atcost.v1.CorrectionAction","type":"enum","symbols":["void","replace"]}},"#,
    r#"{"name":"source","type":"string"},{"name":"id","type":"string"},{"name":"reason","type":"string"}]}]}]}"#,
);

/// CRC-64-AVRO, the fingerprint of the specification.
fn rabin(bytes: &[u8]) -> u64 {
    const EMPTY: u64 = 0xC15D_213A_A4D7_A795;
    bytes.iter().fold(EMPTY, |fingerprint, byte| {
        let shifted = (0..8).fold((fingerprint ^ u64::from(*byte)) & 0xFF, |entry, _| {
            (entry >> 1) ^ (EMPTY & 0u64.wrapping_sub(entry & 1))
        });
        (fingerprint >> 8) ^ shifted
    })
}

/// The event as a datum of `usage_event.v1`.
pub fn datum(event: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in ["source", "id", "type", "subject"] {
        push_text(&mut bytes, text(event, name));
    }
    let time: jiff::Timestamp = text(event, "time").parse().expect("the event has an RFC 3339 time");
    push_long(&mut bytes, time.as_microsecond());
    let data = &event["data"];
    push_bytes(&mut bytes, &decimal(&data["value"], 9));
    push_map(&mut bytes, data.get("dimensions"));
    push_option(&mut bytes, data.get("provider"), |bytes, value| {
        push_text(bytes, value.as_str().expect("a provider is a string"))
    });
    push_option(&mut bytes, data.get("location"), |bytes, value| {
        push_text(bytes, value.as_str().expect("a location is a string"))
    });
    push_option(&mut bytes, data.get("resource"), |bytes, value| push_map(bytes, Some(value)));
    push_option(&mut bytes, data.get("producer"), |bytes, value| {
        push_text(bytes, text(value, "id"));
        for name in ["epoch", "seq"] {
            push_long(bytes, value[name].as_i64().expect("epoch and seq are integers"));
        }
    });
    push_option(&mut bytes, data.get("correction"), |bytes, value| {
        push_long(bytes, i64::from(text(value, "action") == "replace"));
        for name in ["source", "id", "reason"] {
            push_text(bytes, text(value, name));
        }
    });
    bytes
}

/// Ends each block of a container.
const SYNC: &[u8; 16] = b"sixteen bytes of";

/// Data in an Avro object container, uncompressed, two to a block.
pub fn container(schema: &str, data: &[Vec<u8>]) -> Vec<u8> {
    container_in("null", schema, data)
}

/// Like [`container`], with one of the codecs of [`push_block`].
pub fn container_in(codec: &str, schema: &str, data: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"Obj\x01".to_vec();
    push_long(&mut bytes, 2);
    for (name, value) in [("avro.schema", schema), ("avro.codec", codec)] {
        push_text(&mut bytes, name);
        push_text(&mut bytes, value);
    }
    push_long(&mut bytes, 0);
    bytes.extend_from_slice(SYNC);
    for block in data.chunks(2) {
        push_block(&mut bytes, codec, length(block.len()), &block.concat());
    }
    bytes
}

/// A block that says it has `count` data, packed as null, deflate or zstandard; a codec that is
/// none of these packs nothing.
pub fn push_block(bytes: &mut Vec<u8>, codec: &str, count: i64, data: &[u8]) {
    let packed = match codec {
        "deflate" => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).expect("in memory");
            encoder.finish().expect("in memory")
        }
        "zstandard" => zstd::encode_all(data, 1).expect("in memory"),
        _ => data.to_vec(),
    };
    push_long(bytes, count);
    push_bytes(bytes, &packed);
    bytes.extend_from_slice(SYNC);
}

/// Zigzag and seven bits to a byte, the lowest first.
pub fn push_long(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    loop {
        let low = rest.to_le_bytes()[0] & 0x7F;
        rest >>= 7;
        if rest == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

pub fn push_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    push_long(bytes, length(value.len()));
    bytes.extend_from_slice(value);
}

pub fn push_text(bytes: &mut Vec<u8>, value: &str) {
    push_bytes(bytes, value.as_bytes());
}

fn push_map(bytes: &mut Vec<u8>, map: Option<&Value>) {
    let entries = map.and_then(Value::as_object).filter(|entries| !entries.is_empty());
    if let Some(entries) = entries {
        push_long(bytes, length(entries.len()));
        for (name, value) in entries {
            push_text(bytes, name);
            push_text(bytes, value.as_str().expect("a map's value is a string"));
        }
    }
    push_long(bytes, 0);
}

fn push_option(bytes: &mut Vec<u8>, value: Option<&Value>, push: impl FnOnce(&mut Vec<u8>, &Value)) {
    match value.filter(|value| !value.is_null()) {
        None => push_long(bytes, 0),
        Some(value) => {
            push_long(bytes, 1);
            push(bytes, value);
        }
    }
}

/// The digits of a JSON string or number as a big-endian two's complement number of `10^-scale`, in
/// as few bytes as hold it.
fn decimal(value: &Value, scale: usize) -> Vec<u8> {
    let digits = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let units: i128 = format!("{whole}{fraction:0<scale$}").parse().expect("the value is a decimal");
    let bytes = units.to_be_bytes();
    // A byte of sign is dropped as long as the next one still shows the sign.
    let redundant = bytes
        .windows(2)
        .take_while(|pair| (pair[0] == 0 && pair[1] < 0x80) || (pair[0] == 0xFF && pair[1] >= 0x80))
        .count();
    bytes[redundant..].to_vec()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("`{name}` is a string in {value}"))
}

fn length(length: usize) -> i64 {
    i64::try_from(length).expect("a test's data are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_and_fingerprints_are_those_of_the_specification() {
        let long = |value| {
            let mut bytes = Vec::new();
            push_long(&mut bytes, value);
            bytes
        };
        assert_eq!(
            [long(0), long(-1), long(1), long(-64), long(64)],
            [vec![0], vec![1], vec![2], vec![0x7F], vec![0x80, 1]]
        );
        assert_eq!(long(i64::MIN).len(), 10);
        assert_eq!(rabin(br#""int""#), 0x7275_D51A_3F39_5C8F);
        assert_eq!(rabin(USAGE_EVENT_V1_CANONICAL.as_bytes()), 0xD174_3F7F_C57D_4084);
    }

    #[test]
    fn decimals_are_short_and_signed() {
        assert_eq!(decimal(&Value::from("0"), 9), [0]);
        assert_eq!(decimal(&Value::from("0.000000127"), 9), [0x7F]);
        assert_eq!(decimal(&Value::from("0.000000128"), 9), [0, 0x80]);
        assert_eq!(decimal(&Value::from("-0.000000128"), 9), [0x80]);
        assert_eq!(decimal(&Value::from(2), 9), 2_000_000_000i64.to_be_bytes()[4..]);
    }
}
