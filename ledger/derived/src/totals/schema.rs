//! The columns of what the totals are written in: plain Parquet that any engine reads.
//!
//! Invariant: a column that a ledger has too has its name and its type there.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use ledger::row::columns::{COLUMNS, Column};
use std::sync::Arc;

fn column(name: &str) -> &'static Column {
    COLUMNS.iter().find(|column| column.name == name).expect("the ledger has the column")
}

/// Columns of the ledger, as it has them.
fn fields(names: &[&str]) -> Vec<Field> {
    let field = |name: &&str| {
        let Column { name, kind, required, .. } = column(name);
        Field::new(*name, kind.arrow(), !required)
    };
    names.iter().map(field).collect()
}

/// The columns that say what a cell is a cell of, in the order in which cells are sorted, after the
/// day.
pub(super) const KEY: [&str; 5] = ["type", "provider", "subject", "dimensions", "location"];

/// Cells: a day of one kind of usage, or a month, which is known by its first day.
pub fn cells_schema() -> SchemaRef {
    let mut columns = vec![Field::new("day", DataType::Int32, false)];
    columns.extend(fields(&KEY));
    columns.push(Field::new("events", DataType::Int64, false));
    columns.push(Field::new("value", DataType::Decimal128(38, 9), false));
    Arc::new(Schema::new(columns))
}

/// Samples: what cells were folded from, one after the other. A value is in one of two columns,
/// because one of 18 digits takes half the space.
pub fn samples_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        fields(&["time"]).remove(0).with_nullable(false),
        Field::new("value", DataType::Decimal128(18, 9), true),
        Field::new("long_value", DataType::Decimal128(38, 9), true),
    ]))
}

/// The columns of the ledger that say which number of its producer's count an event has.
pub(super) const NUMBER: [&str; 3] = ["producer_id", "producer_epoch", "producer_seq"];

/// Numbers of producers: runs without a hole, with the first rows that have the first and the last.
pub fn numbers_schema() -> SchemaRef {
    let mut columns: Vec<Field> =
        fields(&NUMBER[..2]).into_iter().map(|field| field.with_nullable(false)).collect();
    let long = |name: &str| Field::new(name, DataType::Int64, false);
    columns.extend(["first_seq", "last_seq", "rows"].map(long));
    let instant = fields(&["time"]).remove(0).with_nullable(false);
    for name in ["first_time", "last_time", "first_received", "last_received"] {
        columns.push(instant.clone().with_name(name));
    }
    columns.extend(["first_place", "last_place"].map(long));
    Arc::new(Schema::new(columns))
}

/// Repeats: rows that never count, because their shard had their id before.
pub fn repeats_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("batch", DataType::Int64, false),
        Field::new("row", DataType::Int32, false),
        // The day of its time.
        Field::new("day", DataType::Int32, false),
        Field::new("conflict", DataType::Boolean, false),
    ]))
}

/// The columns of the ledger that suspects have.
pub(super) const SUSPECT: [&str; 21] = [
    "batch",
    "row",
    "origin",
    "origin_name",
    "partition",
    "offset",
    "received_at",
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
    "content_digest",
];

/// Suspects: rows whose counting depends on other rows. A row may be there more than once.
pub fn suspects_schema() -> SchemaRef {
    let mut columns = fields(&SUSPECT);
    // The shard that has the row, counted from 0.
    columns.push(Field::new("shard", DataType::Int64, false));
    // Whether it repeats an id that its shard had before; it is a conflict then.
    columns.push(Field::new("settled", DataType::Boolean, false));
    // Whether it is in a cell.
    columns.push(Field::new("plain", DataType::Boolean, false));
    Arc::new(Schema::new(columns))
}
