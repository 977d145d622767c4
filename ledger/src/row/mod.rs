//! A ledger row: its columns, and the bytes a proof covers.
//!
//! One table holds usage, rejections and gaps, so that everything read from a source is in one
//! place and one commit. Columns of the other kinds are NULL. Ledger order is (`batch`, `row`); the
//! order of files or of rows in a file means nothing.
//!
//! Invariant: what a row says can be read back from its columns ([`StoredRows`]), so the bytes a
//! proof covers can be computed from what is stored.

// Modules in reading order.
mod builder; // records, one at a time, into columns and into the bytes that are hashed
mod words; // columns whose values repeat
mod stored; // rows out of columns again
mod encodings; // numbers and lengths as Parquet packs them
mod pages; // column chunks from what is known of a column
mod parquet; // columns to the bytes of a file

pub use builder::{BatchBuilder, BuiltRows, Counts, StreamIndex};
pub use parquet::{parquet_bytes, writer_properties};
pub use stored::{RowError, StoredRow, StoredRows};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use schemas::digest::Sha256Digest;
use schemas::event::{EventRef, push_bytes, push_option, push_text};
use schemas::position::Offset;
use schemas::rejection::Reason;
use schemas::time::Instant;
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
/// `batch` is the Delta version that committed the row and `row` its index there. `kind` is
/// `usage`, `rejected` or `gap`. `offset` is the Kafka offset or the 0-based record index in a
/// file. `dimensions` and `resource` are JSON objects with names in byte order. `content_digest` is
/// the SHA-256 of the event's canonical bytes: the same id with another digest is a conflict.
/// `raw_headers` is u32 count, then per header u32-prefixed name and option of u32-prefixed value,
/// big-endian.
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
    Arc::new(Schema::new(
        columns
            .iter()
            .map(|column| Field::new(column.name, column.kind.arrow(), !column.required))
            .collect::<Vec<_>>(),
    ))
}

/// What a row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRef<'a> {
    /// The text of the stream's [`schemas::position::Origin`].
    pub origin: &'a str,
    /// What people call the origin: the topic, or the file's path below the ingested folder.
    pub origin_name: &'a str,
    pub partition: u32,
    pub offset: Offset,
    /// When the broker or producer stamped the record, where the source says so.
    pub produced_at: Option<Instant>,
    /// When ingest read the record.
    pub received_at: Instant,
    pub outcome: OutcomeRef<'a>,
}

/// What became of a record.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every outcome is usage, and it stays where it was judged"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeRef<'a> {
    Usage(EventRef<'a>),
    Rejected {
        reason: Reason,
        detail: &'a str,
        key: Option<&'a [u8]>,
        /// As the column `raw_headers` has them.
        headers: &'a [u8],
        /// `None` is a Kafka tombstone.
        value: Option<&'a [u8]>,
    },
    /// Offsets from the row's own up to `until` were gone before they could be read.
    Gap {
        until: Offset,
        detail: &'a str,
    },
}

/// The length of a row's bytes.
pub const ROW_BYTES: usize = 94;
/// How many of them come before the digest of its content.
pub const HEADER_BYTES: usize = ROW_BYTES - 32;

impl RowRef<'_> {
    /// The digest that stands for the row's stream in its bytes.
    pub fn stream_digest(&self) -> Sha256Digest {
        stream_digest(self.origin, self.partition, self.origin_name)
    }

    /// The row's bytes but for the digest of its content; `stream` is [`Self::stream_digest`],
    /// which many rows share.
    pub fn header(&self, stream: &Sha256Digest) -> [u8; HEADER_BYTES] {
        header(self.outcome.kind(), stream, self.offset, self.produced_at, self.received_at)
    }

    /// The bytes that a proof covers: everything the row says except where it stands in the ledger.
    /// `docs/format.md`, "A row".
    pub fn bytes(&self) -> [u8; ROW_BYTES] {
        let mut content = Vec::new();
        self.outcome.write_content(&mut content);
        let mut bytes = [0; ROW_BYTES];
        let (header, digest) = bytes.split_at_mut(HEADER_BYTES);
        header.copy_from_slice(&self.header(&self.stream_digest()));
        digest.copy_from_slice(Sha256Digest::of(&content).as_bytes());
        bytes
    }
}

/// The digest of a stream, and of what people called it when the row was read.
pub fn stream_digest(origin: &str, partition: u32, origin_name: &str) -> Sha256Digest {
    let mut bytes = b"str1".to_vec();
    push_text(&mut bytes, origin);
    bytes.extend_from_slice(&partition.to_be_bytes());
    push_text(&mut bytes, origin_name);
    Sha256Digest::of(&bytes)
}

fn header(
    kind: Kind,
    stream: &Sha256Digest,
    offset: Offset,
    produced_at: Option<Instant>,
    received_at: Instant,
) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..4].copy_from_slice(b"row2");
    bytes[4] = kind.number();
    bytes[5..37].copy_from_slice(stream.as_bytes());
    bytes[37..45].copy_from_slice(&offset.0.to_be_bytes());
    bytes[45] = u8::from(produced_at.is_some());
    bytes[46..54].copy_from_slice(&produced_at.map_or(0, Instant::micros).to_be_bytes());
    bytes[54..].copy_from_slice(&received_at.micros().to_be_bytes());
    bytes
}

/// What kind of row it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Usage,
    Rejected,
    Gap,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Usage, Self::Rejected, Self::Gap];

    /// What the column `kind` holds.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Rejected => "rejected",
            Self::Gap => "gap",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Usage => 1,
            Self::Rejected => 2,
            Self::Gap => 3,
        }
    }
}

impl OutcomeRef<'_> {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Usage(_) => Kind::Usage,
            Self::Rejected { .. } => Kind::Rejected,
            Self::Gap { .. } => Kind::Gap,
        }
    }

    /// Appends what the row's content digest is taken of.
    pub fn write_content(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Usage(event) => event.write_canonical(bytes),
            Self::Rejected { reason, detail, key, headers, value } => {
                bytes.extend_from_slice(b"rej1");
                push_text(bytes, reason.as_str());
                push_text(bytes, detail);
                push_option(bytes, *key, push_bytes);
                bytes.extend_from_slice(headers);
                push_option(bytes, *value, push_bytes);
            }
            Self::Gap { until, detail } => {
                bytes.extend_from_slice(b"gap1");
                bytes.extend_from_slice(&until.0.to_be_bytes());
                push_text(bytes, detail);
            }
        }
    }
}

/// Appends headers as the column `raw_headers` has them.
pub fn write_headers(bytes: &mut Vec<u8>, headers: &[(&[u8], Option<&[u8]>)]) {
    let count = u32::try_from(headers.len()).expect("no record has 2^32 headers");
    bytes.extend_from_slice(&count.to_be_bytes());
    for (name, value) in headers {
        push_bytes(bytes, name);
        push_option(bytes, *value, push_bytes);
    }
}
