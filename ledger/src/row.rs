//! A ledger row: its columns, and the canonical bytes a proof covers.
//!
//! One table holds usage, rejections and gaps, so that everything read from a source is in one place and one commit. Columns of
//! the other kinds are NULL. Ledger order is (`batch`, `row`); the order of files or of rows in a file means nothing.
//!
//! Invariant: a row can be turned back into the [`DecodedRecord`] it was made from, so its canonical bytes can be computed
//! from what is stored.

use arrow::array::{ArrayRef, BinaryBuilder, Decimal128Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use schemas::batch::{DecodedRecord, Outcome, RawRecord};
use schemas::event::{push_bytes, push_option, push_text};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a column holds; each has one Arrow and one Delta type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    Text,
    Integer,
    Long,
    /// Microseconds in UTC.
    Instant,
    /// DECIMAL(28,9).
    Quantity,
    Bytes,
}

impl ColumnType {
    pub fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Quantity => DataType::Decimal128(28, 9),
            Self::Bytes => DataType::Binary,
        }
    }
}

/// A column: its name, type, and whether every row has a value.
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnType,
    pub required: bool,
}

const fn required(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, required: true }
}

const fn optional(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, required: false }
}

/// The columns of a shard, in order.
///
/// `batch` is the Delta version that committed the row and `row` its index there. `kind` is `usage`, `rejected` or `gap`. `offset` is the Kafka
/// offset or the 0-based record index in a file. `dimensions` and `resource` are JSON objects with names in byte order.
/// `content_digest` is the SHA-256 of the event's canonical bytes: the same id with another digest is a conflict.
/// `raw_headers` is u32 count, then per header u32-prefixed name and option of u32-prefixed value, big-endian.
pub const COLUMNS: &[Column] = &[
    required("batch", ColumnType::Long),
    required("row", ColumnType::Integer),
    required("kind", ColumnType::Text),
    required("origin", ColumnType::Text),
    required("origin_name", ColumnType::Text),
    required("partition", ColumnType::Integer),
    required("offset", ColumnType::Long),
    optional("produced_at", ColumnType::Instant),
    required("received_at", ColumnType::Instant),
    optional("source", ColumnType::Text),
    optional("id", ColumnType::Text),
    optional("type", ColumnType::Text),
    optional("subject", ColumnType::Text),
    optional("time", ColumnType::Instant),
    optional("value", ColumnType::Quantity),
    optional("dimensions", ColumnType::Text),
    optional("provider", ColumnType::Text),
    optional("location", ColumnType::Text),
    optional("resource", ColumnType::Text),
    optional("producer_id", ColumnType::Text),
    optional("producer_epoch", ColumnType::Long),
    optional("producer_seq", ColumnType::Long),
    optional("correction_action", ColumnType::Text),
    optional("correction_source", ColumnType::Text),
    optional("correction_id", ColumnType::Text),
    optional("correction_reason", ColumnType::Text),
    optional("content_digest", ColumnType::Bytes),
    optional("reason", ColumnType::Text),
    optional("detail", ColumnType::Text),
    optional("raw_key", ColumnType::Bytes),
    optional("raw_headers", ColumnType::Bytes),
    optional("raw_value", ColumnType::Bytes),
    optional("gap_until", ColumnType::Long),
];

/// The Arrow schema of `columns`.
pub fn arrow_schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|column| Field::new(column.name, column.kind.arrow(), !column.required)).collect::<Vec<_>>()))
}

/// The bytes a proof covers: everything the row says except where it stands in the ledger.
///
/// Grammar, all integers big-endian, text and bytes u32-length-prefixed, an option u8 0 or u8 1 and the value: `"row1"`, kind u8 (1 usage,
/// 2 rejected, 3 gap), origin text, origin name text, partition u32, offset i64, produced_at option of i64 microseconds, received_at i64, then
/// - usage: the event's canonical bytes, as bytes;
/// - rejected: reason text, detail text, key option of bytes, headers (u32 count, then name text and value option of bytes), value option of bytes;
/// - gap: until i64, detail text.
pub fn canonical_bytes(record: &DecodedRecord) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(b"row1");
    bytes.push(match record.outcome {
        Outcome::Usage(_) => 1,
        Outcome::Rejected { .. } => 2,
        Outcome::Gap { .. } => 3,
    });
    let coordinates = &record.coordinates;
    push_text(&mut bytes, &coordinates.stream.origin.to_string());
    push_text(&mut bytes, &coordinates.origin_name);
    bytes.extend_from_slice(&coordinates.stream.partition.to_be_bytes());
    bytes.extend_from_slice(&coordinates.offset.0.to_be_bytes());
    push_option(&mut bytes, record.produced_at.as_ref(), |bytes, at| bytes.extend_from_slice(&at.micros().to_be_bytes()));
    bytes.extend_from_slice(&record.received_at.micros().to_be_bytes());
    match &record.outcome {
        Outcome::Usage(event) => push_bytes(&mut bytes, &event.canonical_bytes()),
        Outcome::Rejected { rejection, raw } => {
            push_text(&mut bytes, rejection.reason.as_str());
            push_text(&mut bytes, &rejection.detail);
            push_option(&mut bytes, raw.key.as_ref(), |bytes, key| push_bytes(bytes, key));
            bytes.extend_from_slice(&header_bytes(raw));
            push_option(&mut bytes, raw.value.as_ref(), |bytes, value| push_bytes(bytes, value));
        }
        Outcome::Gap { until, detail } => {
            bytes.extend_from_slice(&until.0.to_be_bytes());
            push_text(&mut bytes, detail);
        }
    }
    bytes
}

fn header_bytes(raw: &RawRecord) -> Vec<u8> {
    let mut bytes = Vec::new();
    let count = u32::try_from(raw.headers.len()).expect("no record has 2^32 headers");
    bytes.extend_from_slice(&count.to_be_bytes());
    for (name, value) in &raw.headers {
        push_text(&mut bytes, name);
        push_option(&mut bytes, value.as_ref(), |bytes, value| push_bytes(bytes, value));
    }
    bytes
}

fn json_object(map: &BTreeMap<String, String>) -> String {
    serde_json::to_string(map).expect("a map of strings is always JSON")
}

/// Builds the rows of one batch, which `version` will commit.
pub(crate) fn record_batch(records: &[DecodedRecord], version: i64) -> RecordBatch {
    let mut rows = RowBuilder::default();
    for (index, record) in records.iter().enumerate() {
        rows.push(version, i32::try_from(index).expect("a batch has fewer than 2^31 rows"), record);
    }
    rows.finish()
}

/// One builder per column; every `push` appends to each of them exactly once.
#[derive(Default)]
struct RowBuilder {
    batch: Int64Builder,
    row: Int32Builder,
    kind: StringBuilder,
    origin: StringBuilder,
    origin_name: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    produced_at: TimestampMicrosecondBuilder,
    received_at: TimestampMicrosecondBuilder,
    source: StringBuilder,
    id: StringBuilder,
    meter: StringBuilder,
    subject: StringBuilder,
    time: TimestampMicrosecondBuilder,
    value: Decimal128Builder,
    dimensions: StringBuilder,
    provider: StringBuilder,
    location: StringBuilder,
    resource: StringBuilder,
    producer_id: StringBuilder,
    producer_epoch: Int64Builder,
    producer_seq: Int64Builder,
    correction_action: StringBuilder,
    correction_source: StringBuilder,
    correction_id: StringBuilder,
    correction_reason: StringBuilder,
    content_digest: BinaryBuilder,
    reason: StringBuilder,
    detail: StringBuilder,
    raw_key: BinaryBuilder,
    raw_headers: BinaryBuilder,
    raw_value: BinaryBuilder,
    gap_until: Int64Builder,
}

impl RowBuilder {
    fn push(&mut self, version: i64, index: i32, record: &DecodedRecord) {
        let coordinates = &record.coordinates;
        self.batch.append_value(version);
        self.row.append_value(index);
        self.origin.append_value(coordinates.stream.origin.to_string());
        self.origin_name.append_value(&coordinates.origin_name);
        self.partition.append_value(i32::try_from(coordinates.stream.partition).expect("Kafka partitions are 31-bit"));
        self.offset.append_value(coordinates.offset.0);
        self.produced_at.append_option(record.produced_at.map(|at| at.micros()));
        self.received_at.append_value(record.received_at.micros());

        self.kind.append_value(match record.outcome {
            Outcome::Usage(_) => "usage",
            Outcome::Rejected { .. } => "rejected",
            Outcome::Gap { .. } => "gap",
        });

        let event = match &record.outcome {
            Outcome::Usage(event) => Some(event),
            Outcome::Rejected { .. } | Outcome::Gap { .. } => None,
        };
        self.source.append_option(event.map(|event| event.key.source.as_str()));
        self.id.append_option(event.map(|event| event.key.id.as_str()));
        self.meter.append_option(event.map(|event| event.meter.as_str()));
        self.subject.append_option(event.map(|event| event.subject.as_str()));
        self.time.append_option(event.map(|event| event.time.micros()));
        self.value.append_option(event.map(|event| event.quantity.units()));
        self.dimensions.append_option(event.map(|event| json_object(&event.dimensions)));
        self.provider.append_option(event.and_then(|event| event.provider.as_ref()).map(|provider| provider.as_str()));
        self.location.append_option(event.and_then(|event| event.location.as_deref()));
        self.resource.append_option(event.and_then(|event| event.resource.as_ref()).map(json_object));
        let producer = event.and_then(|event| event.producer.as_ref());
        self.producer_id.append_option(producer.map(|producer| producer.id.as_str()));
        self.producer_epoch.append_option(producer.map(|producer| producer.epoch));
        self.producer_seq.append_option(producer.map(|producer| producer.seq));
        let correction = event.and_then(|event| event.correction.as_ref());
        self.correction_action.append_option(correction.map(|correction| correction.action.as_str()));
        self.correction_source.append_option(correction.map(|correction| correction.target.source.as_str()));
        self.correction_id.append_option(correction.map(|correction| correction.target.id.as_str()));
        self.correction_reason.append_option(correction.map(|correction| correction.reason.as_str()));
        self.content_digest.append_option(event.map(|event| *event.content_digest().as_bytes()));

        let rejected = match &record.outcome {
            Outcome::Rejected { rejection, raw } => Some((rejection, raw)),
            Outcome::Usage(_) | Outcome::Gap { .. } => None,
        };
        let gap = match &record.outcome {
            Outcome::Gap { until, detail } => Some((until, detail)),
            Outcome::Usage(_) | Outcome::Rejected { .. } => None,
        };
        self.reason.append_option(rejected.map(|(rejection, _)| rejection.reason.as_str()));
        self.detail.append_option(rejected.map(|(rejection, _)| &rejection.detail).or(gap.map(|(_, detail)| detail)));
        self.raw_key.append_option(rejected.and_then(|(_, raw)| raw.key.as_ref()));
        self.raw_headers.append_option(rejected.map(|(_, raw)| header_bytes(raw)));
        self.raw_value.append_option(rejected.and_then(|(_, raw)| raw.value.as_ref()));
        self.gap_until.append_option(gap.map(|(until, _)| until.0));
    }

    fn finish(mut self) -> RecordBatch {
        let decimals = self.value.finish().with_precision_and_scale(28, 9).expect("28,9 is a valid decimal type");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.batch.finish()),
            Arc::new(self.row.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.origin.finish()),
            Arc::new(self.origin_name.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.produced_at.finish().with_timezone("UTC")),
            Arc::new(self.received_at.finish().with_timezone("UTC")),
            Arc::new(self.source.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.meter.finish()),
            Arc::new(self.subject.finish()),
            Arc::new(self.time.finish().with_timezone("UTC")),
            Arc::new(decimals),
            Arc::new(self.dimensions.finish()),
            Arc::new(self.provider.finish()),
            Arc::new(self.location.finish()),
            Arc::new(self.resource.finish()),
            Arc::new(self.producer_id.finish()),
            Arc::new(self.producer_epoch.finish()),
            Arc::new(self.producer_seq.finish()),
            Arc::new(self.correction_action.finish()),
            Arc::new(self.correction_source.finish()),
            Arc::new(self.correction_id.finish()),
            Arc::new(self.correction_reason.finish()),
            Arc::new(self.content_digest.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.detail.finish()),
            Arc::new(self.raw_key.finish()),
            Arc::new(self.raw_headers.finish()),
            Arc::new(self.raw_value.finish()),
            Arc::new(self.gap_until.finish()),
        ];
        RecordBatch::try_new(arrow_schema(COLUMNS), columns).expect("the builders match COLUMNS one by one")
    }
}
