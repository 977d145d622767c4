//! Texts of columns, which may be missing, and texts in SQL.
//!
//! Invariant: whatever a text says, it is one literal.

use arrow::array::{Array as _, StringArray};

pub(super) fn optional(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// Numbers as SQL has them in a list.
pub(super) fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// A text as a SQL literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
