//! The table `unrated`: usage that no price list covers, and why.
//!
//! Invariant: no event is in it that is in a cost line.

use super::columns::ColumnType::{Count, Quantity, Text};
use super::columns::{Column, Table, Value, optional, required, text};
use crate::run;

pub(super) struct Unrated;

impl Table for Unrated {
    const NAME: &'static str = "unrated";
    type Row<'r> = &'r run::Unrated;
    const COLUMNS: &'static [&'static [Column<Self>]] = &[&[
        required("reason", Text, "Why it has no cost.", |row| text(row.key.reason)),
        optional("provider", Text, "The provider that it names, or whose SKU takes it.", |row| {
            row.key.provider.as_ref().map(text)
        }),
        required("meter", Text, "The type of the events.", |row| text(&row.key.events)),
        required("subject", Text, "The subject that used it.", |row| text(&row.key.subject)),
        required("quantity", Quantity, "How much was used, in the meter's unit.", |row| {
            Value::Quantity(row.quantity)
        }),
        required("events", Count, "How many events.", |row| Value::Count(row.events)),
    ]];
}
