//! Why a file is not an electronic invoice, or not a right one.
//!
//! The file's name is deliberately not known here; whoever opened it says it.
//!
//! Invariant: a refusal is short, whatever the file holds.

use schemas::decimal::Amount;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something at a line of the file.
    #[error("line {line}: {what}")]
    At { line: u32, what: String },
    /// The file as a whole.
    #[error("{0}")]
    File(String),
    /// A figure of the file that does not follow from the others.
    #[error("{rule} is broken: {what} is stated as {stated}, and comes to {computed}")]
    Broken { rule: &'static str, what: String, stated: Amount, computed: String },
}

impl Refusal {
    pub fn at(line: u32, what: impl Into<String>) -> Self {
        Self::At { line, what: what.into() }
    }
}

/// The begin of a text of the file, in quotes.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}
