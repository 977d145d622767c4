//! A ledger row: its columns, how rows are built, stored as Parquet, and read back.
//!
//! One table holds usage, rejections and gaps, so that everything read from a source is in one
//! place and one commit. Ledger order is (`batch`, `row`); the order of files or of rows in a file
//! means nothing.
//!
//! Invariant: what a row says can be read back from its columns ([`StoredRows`]), so the bytes a
//! proof covers can be computed from what is stored.

// Modules in reading order.
pub mod columns; // every column of every table, as data
mod dictionary; // columns whose values repeat
mod builder; // records, one at a time, into columns and into the bytes that are hashed
mod stored; // rows out of columns again
mod parquet; // columns to the bytes of a file, and back

pub use builder::{BatchBuilder, BuiltRows, StreamIndex};
pub use columns::{COLUMNS, Column, ColumnType, arrow_schema};
pub use parquet::{parquet_bytes, read_parquet, writer_properties};
pub use stored::{RowError, StoredRow, StoredRows};
