//! A row of a FOCUS dataset: values by the names of columns.
//!
//! Which columns there are, and their order in a file, is said by `schemas::focus`.
//!
//! Invariant: what a row has no value for is NULL.

use schemas::decimal::Amount;
use schemas::time::Instant;
use std::collections::BTreeMap;

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row(BTreeMap<&'static str, Value>);

/// A value that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    /// DECIMAL(38,18).
    Decimal(Amount),
    Instant(Instant),
}

impl Row {
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.0.get(column)
    }

    /// The names of its values.
    pub fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    pub fn decimal(&self, column: &str) -> Option<Amount> {
        match self.0.get(column)? {
            Value::Decimal(amount) => Some(*amount),
            Value::Text(_) | Value::Instant(_) => None,
        }
    }

    pub fn text(&self, column: &str) -> Option<&str> {
        match self.0.get(column)? {
            Value::Text(text) => Some(text),
            Value::Decimal(_) | Value::Instant(_) => None,
        }
    }

    pub(super) fn set_text(&mut self, column: &'static str, text: impl ToString) {
        self.0.insert(column, Value::Text(text.to_string()));
    }

    pub(super) fn set_some_text(&mut self, column: &'static str, text: Option<impl ToString>) {
        if let Some(text) = text {
            self.set_text(column, text);
        }
    }

    pub(super) fn set_decimal(&mut self, column: &'static str, amount: Amount) {
        self.0.insert(column, Value::Decimal(amount));
    }

    /// The same amount in several columns.
    pub(super) fn set_decimals<const N: usize>(&mut self, columns: [&'static str; N], amount: Amount) {
        for column in columns {
            self.set_decimal(column, amount);
        }
    }

    pub(super) fn set_instant(&mut self, column: &'static str, instant: Instant) {
        self.0.insert(column, Value::Instant(instant));
    }
}

/// The value as text: plain digits, RFC 3339 in UTC.
impl std::fmt::Display for Value {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => formatter.pad(text),
            Self::Decimal(amount) => amount.fmt(formatter),
            Self::Instant(instant) => instant.fmt(formatter),
        }
    }
}
