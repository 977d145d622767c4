//! The events behind a line, as a file of their own: Parquet, or JSON line by line.
//!
//! It is no table of a run and stands in no manifest.
//!
//! Invariant: a value is what the ledger has, to the last digit.

use super::columns::ColumnType::{Instant, Quantity, Text};
use super::columns::{Column, Table, Value, required, text, to_json, to_parquet};
use crate::run::ENGINE_VERSION;
use crate::usage::EventRow;

struct Events;

impl Table for Events {
    const NAME: &'static str = "events";
    type Row<'r> = EventRow;
    const COLUMNS: &'static [&'static [Column<Self>]] = &[&[
        required("place", Text, "Where it was read: `file:line`, or `topic/partition@offset`.", |row| {
            text(&row.place)
        }),
        required("source", Text, "The CloudEvents source.", |row| text(&row.source)),
        required("id", Text, "The CloudEvents id.", |row| text(&row.id)),
        required("time", Instant, "When it was used.", |row| Value::Instant(row.time)),
        required("value", Quantity, "The value, in the meter's unit.", |row| Value::Quantity(row.quantity)),
    ]];
}

/// The events as lines of JSON.
pub fn events_ndjson(events: &[EventRow]) -> String {
    let lines = events.iter().map(|event| format!("{}\n", serde_json::Value::from(to_json::<Events>(event))));
    lines.collect()
}

/// The events as a Parquet file.
pub fn events_parquet(events: &[EventRow]) -> Vec<u8> {
    to_parquet::<Events>(events, format!("atcost {ENGINE_VERSION}"))
}
