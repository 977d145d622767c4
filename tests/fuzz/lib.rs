//! The shared part of the fuzz targets: how input becomes records, and what must hold of every
//! outcome.
//!
//! A target looks for a panic, for memory or time out of proportion, and for a broken promise of
//! its own, which it asserts.

// The counters of the crates below are libFuzzer's, also in the program that only writes seeds.
use libfuzzer_sys as _;

use ingest::IngestError;
use ingest::decode::{Decoder, KEPT_BYTES, MAX_RECORD_BYTES};
use ingest::schema::WriterSchema;
use ingest::schema::registry::SchemaLookup;
use ingest::source::{Content, Header, RawRef};
use ingest::stop::Stop;
use proof::hash::RootHash;
use proof::leaf_key::LeafKeyId;
use proof::record::{AddedFile, BatchRecord, Division, MeterControl, RecordKind, TreeHead};
use schemas::decimal::QuantityTotal;
use schemas::digest::Sha256Digest;
use schemas::outcome::{OutcomeRef, Tally};
use schemas::position::{NextOffset, StreamMove};
use schemas::rejection::Reason;
use schemas::time::Instant;
use std::sync::Arc;

/// When every record was received: 2025-11-03.
pub const RECEIVED: i64 = 1_762_128_000_000_000;

/// Schemas by their ids. 0 is `usage_event.v1`; 1 is as an older or a newer producer has it, with
/// fields we do not have; 2 contains itself.
pub fn schemas() -> Vec<Arc<WriterSchema>> {
    let evolved = r#"{"type":"record","name":"UsageEvent","namespace":"atcost.v1","fields":[
        {"name":"tags","type":{"type":"array","items":["null","long",{"type":"map","values":"double"}]}},
        {"name":"value","type":{"type":"fixed","name":"V","size":12,"logicalType":"decimal","precision":28,"scale":9}},
        {"name":"time","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"provider","type":"string"},
        {"name":"source","type":"string"},{"name":"id","type":"bytes"},{"name":"type","type":"string"},{"name":"subject","type":"string"}]}"#;
    let looped = r#"{"type":"record","name":"UsageEvent","namespace":"atcost.v1","fields":[
        {"name":"again","type":["null","UsageEvent"]},{"name":"many","type":{"type":"array","items":"UsageEvent"}},
        {"name":"value","type":{"type":"bytes","logicalType":"decimal","precision":28,"scale":9}},
        {"name":"time","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"source","type":"string"},{"name":"id","type":"string"},{"name":"type","type":"string"},{"name":"subject","type":"string"}]}"#;
    let schemas: Vec<Arc<WriterSchema>> =
        [schemas::USAGE_EVENT_V1_AVSC, evolved, looped].into_iter().map(|schema| Arc::new(WriterSchema::parse(schema, &[]))).collect();
    for schema in &schemas {
        assert_eq!(schema.problem(), None);
    }
    schemas
}

struct Table(Vec<Arc<WriterSchema>>);

impl SchemaLookup for Table {
    fn by_id(&mut self, id: u32, _stop: &Stop) -> Result<Option<Arc<WriterSchema>>, IngestError> {
        Ok(self.0.get(id as usize).cloned())
    }

    fn name(&self) -> String {
        "the fuzzer".to_owned()
    }
}

pub fn decoder() -> Decoder {
    Decoder::new(Box::new(Table(schemas())), schemas())
}

pub fn received_at() -> Instant {
    Instant::from_micros(RECEIVED).expect("an instant")
}

/// Decodes a record and checks what holds of every outcome; says why it was refused.
pub fn decode(decoder: &mut Decoder, raw: &RawRef<'_>, content: Content<'_>) -> Option<Reason> {
    let outcome = |outcome: &OutcomeRef<'_>| match outcome {
        OutcomeRef::Usage(event) => {
            for name in [event.source, event.id, event.meter, event.subject] {
                assert_eq!(schemas::name::check_name(name), Ok(()));
            }
            assert!(!event.quantity.is_negative() && event.time.micros() <= RECEIVED + 300_000_000);
            assert!(event.dimensions.pairs().is_sorted_by(|(one, _), (other, _)| one < other), "dimensions are in order, each once");
            None
        }
        OutcomeRef::Rejected { reason, detail, key, value, .. } => {
            assert!(!detail.is_empty() && detail.len() < 2_000, "{detail}");
            if raw.size() <= MAX_RECORD_BYTES {
                assert_eq!((*key, *value), (raw.key, raw.value), "a refused record is kept as it came");
            } else {
                assert!(value.is_none_or(|value| value.len() <= KEPT_BYTES));
            }
            assert_ne!(*reason, Reason::ReaderFailed, "a panic is found, also where it is caught: {detail}");
            Some(*reason)
        }
        OutcomeRef::Gap { .. } => panic!("a record is no gap"),
    };
    decoder.decode(raw, content, received_at(), &Stop::default(), outcome).expect("nothing is waited for")
}

/// A message as text: lines `NAME: VALUE` are headers, an empty line, and the value.
pub fn message(input: &[u8]) -> (Vec<Header<'_>>, &[u8]) {
    let mut headers = Vec::new();
    let mut rest = input;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            return (headers, rest);
        }
        match line.windows(2).position(|pair| pair == b": ") {
            Some(at) => headers.push((&line[..at], Some(&line[at + 2..]))),
            None => headers.push((line, None)),
        }
    }
    (headers, rest)
}

/// Log entries and signed heads as they are written.
pub fn heads() -> Vec<Vec<u8>> {
    let digest = Sha256Digest::of(b"seed");
    let moved = |from| StreamMove { stream: "kafka/c/t/0".to_owned(), from, to: NextOffset(9), identity: None, last: None };
    let record = |kind, added, streams| BatchRecord {
        kind,
        shard: 0,
        version: 7,
        at: received_at(),
        previous: digest,
        division: Division::FIRST,
        key: LeafKeyId([1; 8]),
        removed: Vec::new(),
        added,
        streams,
        counts: Tally { usage: 2, rejected: 1, gaps: 0 },
        rows_root: RootHash::from_bytes([2; 32]),
        subjects: 1,
        subjects_root: RootHash::from_bytes([3; 32]),
        checkpoint: None,
        meters: Vec::new(),
    };
    let meter = |meter: &str, corrections, units| MeterControl {
        meter: meter.to_owned(),
        usage: 1,
        corrections,
        value: QuantityTotal::from_units(units).expect("a total"),
    };
    let with_meters = |record| BatchRecord { meters: vec![meter("bytes", 0, 1), meter("hours", 1, 1_500_000_000)], ..record };
    let file = AddedFile { path: "rows-7-a.parquet".to_owned(), bytes: 1000, digest, rows: 3 };
    let records = [
        record(RecordKind::Rows, vec![file.clone()], vec![moved(None)]),
        record(RecordKind::Rows, vec![file.clone()], vec![moved(Some(NextOffset(3)))]),
        with_meters(record(RecordKind::Rows, vec![file], vec![moved(Some(NextOffset(3)))])),
        record(RecordKind::Division, Vec::new(), vec![moved(None)]),
    ];
    let entries = records.iter().map(|record| record.render(&TreeHead { size: 7, root: RootHash::from_bytes([4; 32]) }).into_bytes());
    let note = "atcost/9f0c1a52-7d1e-4d0b-9a55-000000000000\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} atcost Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    records
        .iter()
        .map(|record| [b"\x00".to_vec(), record.encode()].concat())
        .chain(entries.map(|entry| [b"\x01".to_vec(), entry].concat()))
        .chain([[b"\x02", note.as_bytes()].concat()])
        .collect()
}
