//! Avro's own rules: what another encoder writes is read, and an evolved writer's schema is
//! resolved to ours.

use super::Decoder;
use super::avro::{self, Failure};
use super::candidate::Candidate;
use super::judge::judge;
use super::map_cache::MapCache;
use crate::IngestError;
use crate::schema::WriterSchema;
use crate::schema::registry::SchemaLookup;
use crate::source::{Content, RawRef};
use crate::stop::Stop;
use apache_avro::types::Value;
use apache_avro::{Schema, to_avro_datum};
use bumpalo::Bump;
use schemas::event::EventRef;
use schemas::outcome::OutcomeRef;
use schemas::time::Instant;
use serde_json::json;
use std::sync::Arc;

/// The fields of ours that have no default, and then `more`.
fn schema(more: &[serde_json::Value]) -> String {
    let text = ["source", "id", "type", "subject"].map(|name| json!({"name": name, "type": "string"}));
    let time = json!({"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}});
    let value = json!({"name": "value", "type": {"type": "bytes", "logicalType": "decimal", "precision": 28, "scale": 9}});
    let mut fields: Vec<_> = text.into_iter().chain([time, value]).collect();
    for field in more {
        fields.retain(|own| own["name"] != field["name"]);
        fields.push(field.clone());
    }
    json!({"type": "record", "name": "UsageEvent", "namespace": "somewhere.else", "fields": fields})
        .to_string()
}

fn fields(more: Vec<(&str, Value)>) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    let mut fields = vec![
        ("source", text("//node")),
        ("id", text("e-1")),
        ("type", text("m")),
        ("subject", text("s")),
        ("time", Value::TimestampMicros(1_759_276_800_000_000)),
        ("value", Value::Decimal(1_500_000_000i64.to_be_bytes().to_vec().into())),
    ];
    for (name, value) in more {
        fields.retain(|(own, _)| *own != name);
        fields.push((name, value));
    }
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn read(writer: &str, bytes: &[u8]) -> Result<(), Failure> {
    avro::read(
        &WriterSchema::parse(writer, &[]),
        bytes,
        &MapCache::default(),
        &Bump::new(),
        &mut Candidate::default(),
    )
}

/// The event, as `shown` shows it.
fn event(writer: &str, value: Value, shown: impl FnOnce(EventRef<'_>) -> String) -> Result<String, String> {
    let schema = Schema::parse_str(writer).expect("a schema");
    let bytes = to_avro_datum(&schema, value).expect("a datum of the schema");
    let received_at = Instant::parse_rfc3339("2025-11-03T00:00:00Z").expect("an instant");
    let (maps, arena, mut candidate) = (MapCache::default(), Bump::new(), Candidate::default());
    avro::read(&WriterSchema::parse(writer, &[]), &bytes, &maps, &arena, &mut candidate)
        .map_err(|failure| format!("{failure:?}"))?;
    match judge(&candidate, received_at, &arena) {
        Ok(OutcomeRef::Usage(event)) => Ok(shown(event)),
        Ok(outcome) => panic!("{outcome:?}"),
        Err(rejection) => Err(rejection.to_string()),
    }
}

#[track_caller]
fn check_same(writer: &str, value: Value) {
    let shown = |event: EventRef<'_>| format!("{event:?}");
    let plain = event(&schema(&[]), fields(Vec::new()), shown).expect("an event");
    assert!(plain.contains("quantity: 1.5,"), "{plain}");
    assert_eq!(event(writer, value, shown), Ok(plain));
}

#[track_caller]
fn check_incompatible(field: serde_json::Value, expected: &str) {
    let problem = WriterSchema::parse(&schema(&[field]), &[]).problem().map(str::to_owned);
    assert!(problem.as_ref().is_some_and(|problem| problem.contains(expected)), "{problem:?}");
}

#[test]
fn what_the_reader_does_not_know_is_skipped_whatever_it_is() {
    let types = json!([
        "null", "boolean", "int", "long", "float", "double", "bytes", "string",
        {"type": "string", "logicalType": "uuid"},
        {"type": "int", "logicalType": "date"},
        {"type": "long", "logicalType": "timestamp-nanos"},
        {"type": "fixed", "name": "F", "size": 3},
        {"type": "enum", "name": "E", "symbols": ["x", "y"]},
        {"type": "array", "items": {"type": "map", "values": "int"}},
        ["null", "E"],
        {"type": "record", "name": "R", "fields": [{"name": "next", "type": ["null", "R"]}, {"name": "f", "type": "F"}]},
    ]);
    let fixed = || Value::Fixed(3, vec![1, 2, 3]);
    let record = |next| Value::Record(vec![("next".to_owned(), next), ("f".to_owned(), fixed())]);
    let values = [
        Value::Null,
        Value::Boolean(true),
        Value::Int(-7),
        Value::Long(i64::MIN),
        Value::Bytes(vec![0; 4]),
        Value::Bytes(vec![0; 8]),
        Value::Bytes(vec![0; 300]),
        Value::String("größe".to_owned()),
        Value::Uuid(apache_avro::Uuid::nil()),
        Value::Date(1),
        Value::TimestampNanos(1),
        fixed(),
        Value::Enum(1, "y".to_owned()),
        Value::Array(vec![Value::Map([("a".to_owned(), Value::Int(1))].into()); 3]),
        Value::Union(1, Box::new(Value::Enum(0, "x".to_owned()))),
        record(Value::Union(1, Box::new(record(Value::Union(0, Box::new(Value::Null)))))),
    ];
    let types = types.as_array().expect("a list");
    let mut extra = Vec::new();
    let mut more = Vec::new();
    let names: Vec<String> = (0..types.len()).map(|index| format!("x{index}")).collect();
    for ((name, kind), value) in names.iter().zip(types).zip(values) {
        // A float or double of this many bytes, without a float in this crate.
        let kind = match kind.as_str() {
            Some("float") => json!({"type": "fixed", "name": "Four", "size": 4}),
            Some("double") => json!({"type": "fixed", "name": "Eight", "size": 8}),
            _ => kind.clone(),
        };
        let value = match value {
            Value::Bytes(bytes) if bytes.len() < 9 => Value::Fixed(bytes.len(), bytes),
            other => other,
        };
        extra.push(json!({"name": name, "type": kind}));
        more.push((name.as_str(), value));
    }
    let writer = schema(&extra);
    let encoded =
        to_avro_datum(&Schema::parse_str(&writer).expect("a schema"), fields(more.clone())).expect("a datum");
    check_same(&writer, fields(more));
    // The same bytes where the writer really has floats.
    let floats = writer
        .replace(r#"{"name":"Four","size":4,"type":"fixed"}"#, "\"float\"")
        .replace(r#"{"name":"Eight","size":8,"type":"fixed"}"#, "\"double\"");
    assert!(floats.contains("\"float\"") && floats.contains("\"double\""), "{floats}");
    assert!(read(&floats, &encoded).is_ok());
    for cut in 0..encoded.len() {
        assert!(matches!(read(&floats, &encoded[..cut]), Err(Failure::Invalid(_))), "cut at {cut}");
    }
}

#[test]
fn types_are_promoted_as_avro_says() {
    check_same(
        &schema(&[json!({"name": "source", "type": "bytes"})]),
        fields(vec![("source", Value::Bytes(b"//node".to_vec()))]),
    );
    check_same(
        &schema(&[json!({"name": "time", "type": "long"})]),
        fields(vec![("time", Value::Long(1_759_276_800_000_000))]),
    );
    let union = json!({"name": "id", "type": ["null", "string"]});
    check_same(
        &schema(std::slice::from_ref(&union)),
        fields(vec![("id", Value::Union(1, Box::new(Value::String("e-1".to_owned()))))]),
    );
    let null = fields(vec![("id", Value::Union(0, Box::new(Value::Null)))]);
    let error = event(&schema(&[union]), null, |event| format!("{event:?}")).expect_err("no id");
    assert!(error.contains("Incompatible") && error.contains("null for id"), "{error}");
    let fixed = json!({"name": "value", "type": {"type": "fixed", "name": "V", "size": 12, "logicalType": "decimal", "precision": 28, "scale": 9}});
    let units = [[0; 4].as_slice(), &1_500_000_000i64.to_be_bytes()].concat();
    check_same(&schema(&[fixed]), fields(vec![("value", Value::Decimal(units.into()))]));
    let producer = json!({"name": "producer", "type": {"type": "record", "name": "P", "fields": [
        {"name": "seq", "type": "int"}, {"name": "id", "type": "string"}, {"name": "zone", "type": "string"}, {"name": "epoch", "type": "long"}]}});
    let value = [
        ("seq", Value::Int(5)),
        ("id", Value::String("n".to_owned())),
        ("zone", Value::String("z".to_owned())),
        ("epoch", Value::Long(-1)),
    ];
    let value = Value::Record(value.map(|(name, value)| (name.to_owned(), value)).into());
    let read = event(&schema(&[producer]), fields(vec![("producer", value)]), |event| {
        let producer = event.producer.expect("a producer");
        format!("{} {} {}", producer.id, producer.epoch, producer.seq)
    });
    assert_eq!(read, Ok("n -1 5".to_owned()));
}

#[test]
fn a_void_may_leave_its_value_out() {
    let decimal = json!({"type": "bytes", "logicalType": "decimal", "precision": 28, "scale": 9});
    let nullable = schema(&[
        json!({"name": "value", "type": ["null", decimal]}),
        json!({"name": "correction", "type": {"type": "record", "name": "C", "fields": [
            {"name": "action", "type": {"type": "enum", "name": "A", "symbols": ["void", "replace"]}},
            {"name": "source", "type": "string"}, {"name": "id", "type": "string"}, {"name": "reason", "type": "string"}]}}),
    ]);
    let correction = |action: &str, symbol| {
        let text = |text: &str| Value::String(text.to_owned());
        let fields = [
            ("action", Value::Enum(symbol, action.to_owned())),
            ("source", text("//node")),
            ("id", text("e-0")),
            ("reason", text("twice")),
        ];
        Value::Record(fields.map(|(name, value)| (name.to_owned(), value)).into())
    };
    let read = |value: Value, correction: Value| {
        event(&nullable, fields(vec![("value", value), ("correction", correction)]), |event| {
            event.quantity.to_string()
        })
    };
    let null = || Value::Union(0, Box::new(Value::Null));
    let bytes = |bytes: Vec<u8>| Value::Union(1, Box::new(Value::Decimal(bytes.into())));
    assert_eq!(read(null(), correction("void", 0)), Ok("0".to_owned()));
    assert_eq!(read(bytes(vec![0]), correction("void", 0)), Ok("0".to_owned()));
    let refused = read(null(), correction("replace", 1)).expect_err("a replace needs a value");
    assert_eq!(refused, "value-missing: data.value is missing");
}

#[test]
fn a_field_that_is_nearly_ours_is_incompatible() {
    let text = |name: &str| json!({"name": name, "type": "string"});
    check_incompatible(
        text("corrections"),
        "has the field corrections, which is not read; did you mean correction?",
    );
    check_incompatible(text("Quantity"), "did you mean value?");
    for other in ["unit", "collection", "allocation"] {
        assert_eq!(WriterSchema::parse(&schema(&[text(other)]), &[]).problem(), None, "{other}");
    }
}

#[test]
fn a_number_of_any_length_is_read_wherever_it_stands() {
    let powers = (0..63).map(|bit| 1i64 << bit).flat_map(|power| [power - 1, power, power + 1]);
    for number in powers.flat_map(|number| [number, -number]).chain([i64::MIN, i64::MAX]) {
        let long = |name| json!({"name": name, "type": "long"});
        // Once with many bytes after it, once with none.
        let producer = json!({"type": "record", "name": "P", "fields": [long("epoch"), {"name": "id", "type": "string"}, long("seq")]});
        let value = [
            ("epoch", Value::Long(number)),
            ("id", Value::String("a long name".to_owned())),
            ("seq", Value::Long(number)),
        ];
        let value = Value::Record(value.map(|(name, value)| (name.to_owned(), value)).into());
        let writer = schema(&[json!({"name": "producer", "type": producer})]);
        let read = event(&writer, fields(vec![("producer", value)]), |event| {
            let producer = event.producer.expect("a producer");
            format!("{} {}", producer.epoch, producer.seq)
        });
        assert_eq!(read, Ok(format!("{number} {number}")));
    }
}

#[test]
fn what_would_change_a_number_without_an_error_is_incompatible() {
    let decimal = |precision: u32, scale: u32| json!({"name": "value", "type": {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}});
    check_incompatible(decimal(28, 6), "bytes of decimal(28,9)");
    check_incompatible(decimal(38, 9), "bytes of decimal(28,9)");
    check_incompatible(json!({"name": "value", "type": "bytes"}), "bytes of decimal(28,9)");
    check_incompatible(json!({"name": "value", "type": "string"}), "a string for value");
    check_incompatible(json!({"name": "value", "type": "double"}), "a double for value");
    check_incompatible(json!({"name": "value", "type": "long"}), "a long for value");
    check_incompatible(
        json!({"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}}),
        "a time of another unit for time",
    );
    check_incompatible(
        json!({"name": "time", "type": {"type": "long", "logicalType": "local-timestamp-micros"}}),
        "a time of another unit for time",
    );
    check_incompatible(json!({"name": "time", "type": "string"}), "a string for time");
    check_incompatible(
        json!({"name": "dimensions", "type": {"type": "map", "values": "int"}}),
        "an int for dimensions",
    );
    check_incompatible(json!({"name": "subject", "type": ["null", "int"]}), "an int for subject");
    check_incompatible(
        json!({"name": "producer", "type": {"type": "record", "name": "P", "fields": [{"name": "id", "type": "string"}]}}),
        "no field producer.epoch",
    );
    for not_ours in [
        r#""int""#,
        "no schema",
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"Unknown"}]}"#,
        "[]",
    ] {
        assert!(WriterSchema::parse(not_ours, &[]).problem().is_some(), "{not_ours}");
    }
}

#[test]
fn a_schema_may_refer_to_others() {
    let dimensions = json!({"name": "resource", "type": ["null", "other.Resource"]});
    let resource =
        json!({"type": "record", "name": "Resource", "namespace": "other", "fields": []}).to_string();
    assert!(
        WriterSchema::parse(&schema(std::slice::from_ref(&dimensions)), std::slice::from_ref(&resource))
            .problem()
            .is_some_and(|problem| problem.contains("a record for resource"))
    );
    let location = json!({"name": "note", "type": "other.Resource"});
    assert_eq!(WriterSchema::parse(&schema(&[location]), &[resource]).problem(), None);
}

#[test]
fn a_schema_that_makes_very_much_of_nothing_ends() {
    // Records of records, each twice: 2^40 nulls in no bytes.
    let mut inner = json!("null");
    for level in 0..40 {
        let name = format!("L{level}");
        let second = if level == 0 { json!("null") } else { json!(format!("L{}", level - 1)) };
        inner = json!({"type": "record", "name": name, "fields": [{"name": "a", "type": inner}, {"name": "b", "type": second}]});
    }
    let writer = schema(&[json!({"name": "bomb", "type": inner})]);
    let bytes = to_avro_datum(&Schema::parse_str(&schema(&[])).expect("a schema"), fields(Vec::new()))
        .expect("a datum");
    assert!(matches!(read(&writer, &bytes), Err(Failure::Invalid(_))));
}

#[test]
fn our_fingerprints_are_known_to_producers_in_the_field() {
    // By the specification, computed elsewhere; and as Rust's apache-avro writes it.
    let theirs = apache_avro::GenericSingleObjectWriter::new_with_capacity(
        &Schema::parse_str(schemas::USAGE_EVENT_V1_AVSC).expect("our schema"),
        0,
    );
    let mut bytes = Vec::new();
    theirs.expect("a writer").write_value_ref(&event_value(), &mut bytes).expect("an event of our schema");
    let theirs = u64::from_le_bytes(bytes[2..10].try_into().expect("eight bytes"));
    assert_eq!(WriterSchema::usage_event_v1().fingerprints(), [0xD174_3F7F_C57D_4084, theirs]);
}

fn event_value() -> Value {
    let null = || Value::Union(0, Box::new(Value::Null));
    let optional = ["provider", "location", "resource", "producer", "correction"].map(|name| (name, null()));
    fields([("dimensions", Value::Map([].into()))].into_iter().chain(optional).collect())
}

/// A default is for a reader of another schema; the writer's data have a value for the field.
#[test]
fn data_of_a_schema_with_any_default_are_read() {
    let decimal = json!({"type": "bytes", "logicalType": "decimal", "precision": 28, "scale": 9});
    let fixed = json!({"type": "fixed", "name": "V", "size": 12, "logicalType": "decimal", "precision": 28, "scale": 9});
    let plain = schema(&[]);
    let bytes =
        to_avro_datum(&Schema::parse_str(&plain).expect("a schema"), fields(Vec::new())).expect("a datum");
    let defaulted = schema(&[json!({"name": "value", "type": decimal, "default": "\u{0}"})]);
    assert_eq!(read(&defaulted, &bytes), Ok(()));
    // The same with a field of each kind behind it, whose bytes are known.
    for (kind, default, value) in [
        (decimal.clone(), json!("\u{ff}"), vec![2, 0]),
        (fixed, json!("\u{0}".repeat(12)), vec![0; 12]),
        (json!([decimal, "null"]), json!("\u{0}"), vec![2]),
        (
            json!({"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}),
            json!("x"),
            vec![0; 12],
        ),
        (json!({"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}), json!(null), vec![0; 16]),
        (json!(["null", "string"]), json!("a later branch"), vec![2, 2, b'a']),
    ] {
        let writer = schema(&[json!({"name": "more", "type": kind, "default": default})]);
        assert_eq!(read(&writer, &[bytes.clone(), value].concat()), Ok(()), "{writer}");
    }
}

/// Fingerprints as another library computes them, of schemas with all that changes a canonical
/// form.
#[test]
fn fingerprints_are_those_of_the_specification_and_of_the_field() {
    use apache_avro::rabin::Rabin;
    let theirs = |text: &str| {
        let schema = Schema::parse_str(text).expect("a schema");
        u64::from_le_bytes(schema.fingerprint::<Rabin>().bytes.try_into().expect("eight bytes"))
    };
    let fingerprints = |text: &str| WriterSchema::parse(text, &[]).fingerprints().to_vec();
    for text in [
        r#""int""#,
        r#"{"type":"string"}"#,
        r#"{"type":"fixed","name":"F","namespace":"a.b","size":7,"doc":"x","aliases":["G"]}"#,
        r#"{"type":"enum","symbols":["A","B"],"name":"a.E","default":"A"}"#,
        r#"{"type":"array","items":{"type":"map","values":["null","long"]}}"#,
        r#"{"fields":[{"default":7,"type":{"type":"int"},"name":"a","order":"ignore"},{"name":"r","type":["null","R"]},
            {"name":"i","type":{"type":"record","name":"I","namespace":"q","fields":[{"name":"x","type":"p.R"}]}}],"name":"R","namespace":"p","type":"record"}"#,
    ] {
        assert_eq!(fingerprints(text), [theirs(text)], "{text}");
    }
    for text in [
        r#"{"type":"long","logicalType":"timestamp-micros"}"#,
        r#"{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}"#,
        r#"{"type":"fixed","name":"F","size":12,"logicalType":"decimal","precision":28,"scale":9}"#,
        &schema(&[]),
    ] {
        assert_eq!(fingerprints(text)[1..], [theirs(text)], "{text}");
    }
    // Of the specification's own examples: CRC-64-AVRO of "null" and of "int".
    assert_eq!(fingerprints(r#""null""#), [0x63DD_24E7_CC25_8F8A]);
    assert_eq!(fingerprints(r#"{"type":"int"}"#), [0x7275_D51A_3F39_5C8F]);
}

/// Asks nobody; fails on id 1 like a library on bytes that its authors did not think of.
struct Failing;

impl SchemaLookup for Failing {
    fn by_id(&mut self, id: u32, _: &Stop) -> Result<Option<Arc<WriterSchema>>, IngestError> {
        assert!(id != 1, "a secret of the record");
        Ok(Some(Arc::new(WriterSchema::usage_event_v1())))
    }

    fn name(&self) -> String {
        "nobody".to_owned()
    }
}

#[test]
fn a_reader_that_panics_costs_one_record() {
    let mut decoder = Decoder::new(Box::new(Failing), []);
    let received_at = Instant::parse_rfc3339("2025-11-03T00:00:00Z").expect("an instant");
    let mut decode = |value: &[u8]| {
        let raw = RawRef { value: Some(value), ..RawRef::default() };
        let shown = |outcome: &OutcomeRef<'_>| match outcome {
            OutcomeRef::Usage(event) => event.id.to_owned(),
            OutcomeRef::Rejected { reason, detail, value: kept, .. } => {
                assert_eq!(*kept, raw.value);
                assert!(detail.contains("tests.rs:") && !detail.contains("secret"), "{detail}");
                reason.to_string()
            }
            OutcomeRef::Gap { .. } => "a gap".to_owned(),
        };
        decoder.decode(&raw, Content::Message, received_at, &Stop::default(), shown).expect("an outcome")
    };
    let event = br#"{"specversion":"1.0","id":"e","source":"//node","type":"m","subject":"s","time":"2025-10-01T00:00:00Z","data":{"value":"1"}}"#;
    for _ in 0..3 {
        assert_eq!(decode(&[0, 0, 0, 0, 1, 9]), "reader-failed");
        assert_eq!(decode(event), "e");
    }
}
