//! The table `completeness`: what may be missing from a run, and where.
//!
//! Invariant: a silence is a row, and never a zero.

use super::columns::ColumnType::{Instant, Quantity, Text};
use super::columns::{Column, Table, Value, optional, required, text};
use crate::run::CompletenessRow;

pub(super) struct Completeness;

impl Table for Completeness {
    const NAME: &'static str = "completeness";
    type Row<'r> = &'r CompletenessRow;
    const COLUMNS: &'static [&'static [Column<Self>]] = &[COLUMNS];
}

const COLUMNS: &[Column<Completeness>] = &[
    required("kind", Text, "`gap`, `reset`, `sequence-gap` or `silent`.", |row| text(row.kind)),
    optional("provider", Text, "The provider whose series it is.", |row| row.provider.as_ref().map(text)),
    optional("meter", Text, "The meter; of `silent` the type of the events.", |row| {
        row.meter.as_ref().map(text)
    }),
    optional("source", Text, "The source of the series; of `sequence-gap` the producer.", |row| {
        row.source.as_ref().map(text)
    }),
    optional("subject", Text, "The subject that is silent.", |row| row.subject.as_ref().map(text)),
    optional(
        "detail",
        Text,
        "The dimensions and the resource of the series; of `sequence-gap` the epoch and the numbers.",
        |row| row.detail.as_ref().map(text),
    ),
    required("from", Instant, "When it begins.", |row| Value::Instant(row.from)),
    required("until", Instant, "When it ends; exclusive.", |row| Value::Instant(row.until)),
    optional("missing", Quantity, "Of `gap` how many seconds, of `sequence-gap` how many events.", |row| {
        row.missing.map(Value::Quantity)
    }),
];
