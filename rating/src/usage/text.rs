//! Texts of columns, which may be missing, and texts in SQL.
//!
//! Invariant: whatever a text says, it is one literal.

use arrow::array::{Array as _, StringArray};

pub(super) fn optional(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// A text as a SQL literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
