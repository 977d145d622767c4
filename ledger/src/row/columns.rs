//! Every column of every table of a ledger, as data: its name, type, rows, packing and meaning.
//!
//! Everybody who writes, reads, checks or describes rows asks here; adding a column is one line and
//! its place in the builder. `docs/tables.md` shows the same for people.
//!
//! Invariant: a column's place never changes; files that were written before are read by it.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use proof::record::JOURNAL;
use schemas::outcome::Kind;
use std::sync::Arc;

/// The values of a column; each has one Arrow and one Delta type.
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
    /// The type, as SQL says it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Text => "VARCHAR",
            Self::Integer => "INTEGER",
            Self::Long => "BIGINT",
            Self::Instant => "TIMESTAMP(µs, UTC)",
            Self::Quantity => "DECIMAL(28,9)",
            Self::Bytes => "BLOB",
        }
    }

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

/// How Parquet packs a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Values repeat: each once, and per row its number.
    Dictionary,
    /// Numbers grow or stay: DELTA_BINARY_PACKED.
    Deltas,
    /// Texts may begin alike: DELTA_BYTE_ARRAY.
    Prefixes,
    /// No two need be the same: DELTA_LENGTH_BYTE_ARRAY.
    Lengths,
    /// As random as bytes can be: DELTA_LENGTH_BYTE_ARRAY, and not compressed.
    Random,
    Plain,
}

/// A column of a table.
#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnType,
    /// The rows that may have a value; in all others it is NULL.
    pub of: &'static [Kind],
    /// Whether every row of the table has a value.
    pub required: bool,
    pub packing: Packing,
    /// For people, a sentence without its full stop.
    pub meaning: &'static str,
}

const EVERY: &[Kind] = &Kind::ALL;
const USAGE: &[Kind] = &[Kind::Usage];
const REJECTED: &[Kind] = &[Kind::Rejected];
const GAP: &[Kind] = &[Kind::Gap];
const NOT_USAGE: &[Kind] = &[Kind::Rejected, Kind::Gap];

const fn required(name: &'static str, kind: ColumnType, packing: Packing, meaning: &'static str) -> Column {
    Column { name, kind, of: EVERY, required: true, packing, meaning }
}

const fn optional(
    name: &'static str,
    kind: ColumnType,
    of: &'static [Kind],
    packing: Packing,
    meaning: &'static str,
) -> Column {
    Column { name, kind, of, required: false, packing, meaning }
}

/// The columns of a shard, in order.
pub const COLUMNS: &[Column] = {
    use ColumnType::{Bytes, Instant, Integer, Long, Quantity, Text};
    use Packing::{Deltas, Dictionary, Lengths, Plain, Prefixes, Random};
    &[
        required("batch", Long, Deltas, "the Delta version that first committed the row"),
        required("row", Integer, Deltas, "the row's index in that commit, from 0"),
        required("kind", Text, Dictionary, "`usage`, `rejected` or `gap`"),
        required("origin", Text, Dictionary, "the source: `kafka/CLUSTER/TOPIC`, or `file/SHA256`"),
        required("origin_name", Text, Dictionary, "the topic, or the file's path below the ingested folder"),
        required(
            "partition",
            Integer,
            Deltas,
            "the Kafka partition; 0 for a file, 1 for its second reading, and so on",
        ),
        required("offset", Long, Deltas, "the Kafka offset, or the record's index in the file, from 0"),
        optional("produced_at", Instant, EVERY, Deltas, "the time stamp of the Kafka record"),
        required("received_at", Instant, Deltas, "when ingest read the record"),
        optional(
            "source",
            Text,
            USAGE,
            Dictionary,
            "CloudEvents `source`; with `id` it names the event for ever",
        ),
        optional("id", Text, USAGE, Prefixes, "CloudEvents `id`"),
        optional("type", Text, USAGE, Dictionary, "CloudEvents `type`: the meter"),
        optional(
            "subject",
            Text,
            USAGE,
            Dictionary,
            "CloudEvents `subject`: the project or resource that was used",
        ),
        optional("time", Instant, USAGE, Deltas, "CloudEvents `time`: when it was used"),
        optional("value", Quantity, USAGE, Plain, "the quantity, in the meter's unit"),
        optional("dimensions", Text, USAGE, Dictionary, "a JSON object of strings, its names in byte order"),
        optional("provider", Text, USAGE, Dictionary, "whose service was used, where the producer says so"),
        optional("location", Text, USAGE, Dictionary, "where it was used, where the producer says so"),
        optional("resource", Text, USAGE, Dictionary, "the very thing that was used, as `dimensions`"),
        optional("producer_id", Text, USAGE, Dictionary, "who counts the events of this producer"),
        optional("producer_epoch", Long, USAGE, Deltas, "how often that producer began to count anew"),
        optional("producer_seq", Long, USAGE, Deltas, "the event's number in that count"),
        optional(
            "correction_action",
            Text,
            USAGE,
            Dictionary,
            "`void` or `replace`, where the event corrects another",
        ),
        optional("correction_source", Text, USAGE, Dictionary, "the `source` of the event that is corrected"),
        optional("correction_id", Text, USAGE, Prefixes, "the `id` of the event that is corrected"),
        optional("correction_reason", Text, USAGE, Lengths, "why it is corrected"),
        optional(
            "content_digest",
            Bytes,
            USAGE,
            Random,
            "the SHA-256 of the event's canonical bytes; the same id with another digest is a conflict",
        ),
        optional("reason", Text, REJECTED, Dictionary, "the code of the reason for the rejection"),
        optional("detail", Text, NOT_USAGE, Lengths, "the reason in words"),
        optional("raw_key", Bytes, REJECTED, Lengths, "the record's key"),
        optional(
            "raw_headers",
            Bytes,
            REJECTED,
            Lengths,
            "the record's headers: u32 count, then for each a name as u32 length and bytes, and an option of a value likewise, big-endian",
        ),
        optional("raw_value", Bytes, REJECTED, Lengths, "the record's value; NULL for a tombstone"),
        optional("gap_until", Long, GAP, Deltas, "the first offset that is there again"),
    ]
};

/// The columns of the journal, in order. Its rows are none of the kinds that are counted.
pub const JOURNAL_COLUMNS: &[Column] = {
    use ColumnType::{Bytes, Instant, Long, Text};
    use Packing::Dictionary;
    &[
        required("entry", Long, Dictionary, "the entry's number, from 0"),
        required(
            "kind",
            Text,
            Dictionary,
            "what was decided: `catalog-published`, `truncation-accepted`, `invoice-imported`, `invoice-withdrawn`, `difference-decided`, `month-closed`",
        ),
        required("recorded_at", Instant, Dictionary, "when it was decided"),
        required("digest", Text, Dictionary, "the name of the content: for a catalog, its content address"),
        optional("note", Text, EVERY, Dictionary, "the reason, where one had to be given"),
        required("body", Bytes, Dictionary, "the content"),
    ]
};

/// The columns of a table: a shard's, or the journal's.
pub fn columns_of(number: u32) -> &'static [Column] {
    if number == JOURNAL { JOURNAL_COLUMNS } else { COLUMNS }
}

/// The Arrow schema of `columns`.
pub fn arrow_schema(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| Field::new(column.name, column.kind.arrow(), !column.required);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}
