//! From a stored value to a value of ours, and from a text to SQL.
//!
//! Invariant: a stored name that is not a name is an error, never another name.

use crate::error::RatingError;
use arrow::array::{Array as _, StringArray};

pub(super) fn stored_name(error: schemas::id::NameError) -> RatingError {
    RatingError::broken(format!("a stored name is not a name: {error}"))
}

pub(super) fn optional(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// A text as a SQL literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
