//! Why a file is no invoice, and where in it.
//!
//! Invariant: a message is bounded, whatever the file holds.

use std::fmt;

/// A file that was refused as a whole: an invoice is read to the last line or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceError {
    pub file: Box<str>,
    /// From 1; the header is none.
    pub record: Option<u64>,
    /// The line of the text on which the record begins, from 1.
    pub line: Option<u64>,
    /// By the header of the file.
    pub column: Option<Box<str>>,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl InvoiceError {
    pub fn new(problem: impl Into<String>) -> Self {
        Self { file: Box::default(), record: None, line: None, column: None, problem: problem.into() }
    }

    /// In a column; one that is known already stays.
    pub fn in_column(self, column: &str) -> Self {
        Self { column: self.column.or_else(|| Some(column.into())), ..self }
    }

    /// In a record; one that is known already stays.
    pub fn in_record(self, record: u64, line: Option<u64>) -> Self {
        if self.record.is_some() { self } else { Self { record: Some(record), line, ..self } }
    }

    pub fn in_file(self, file: &str) -> Self {
        Self { file: file.into(), ..self }
    }
}

impl fmt::Display for InvoiceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", shortened(&self.file))?;
        if let Some(record) = self.record {
            write!(formatter, ", record {record}")?;
        }
        if let Some(line) = self.line {
            write!(formatter, " (line {line})")?;
        }
        if let Some(column) = &self.column {
            write!(formatter, ", column {}", shortened(column))?;
        }
        write!(formatter, ": {}", self.problem)
    }
}

impl std::error::Error for InvoiceError {}

/// How many characters of a file's text a message shows.
const SHOWN: usize = 60;

/// A text of a file within a message: in quotes, escaped, and not all of a long one.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    // Escaped quotes are for programmers.
    shown.replace("\\'", "'").replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_where_and_is_bounded() {
        let error =
            InvoiceError::new("it is empty").in_column("Betrag").in_record(3, Some(4)).in_file("a.csv");
        assert_eq!(error.to_string(), "a.csv, record 3 (line 4), column Betrag: it is empty");
        let again = error.clone().in_record(7, None).in_column("other");
        assert_eq!(again, error, "the place that was known first is the nearest");
        assert_eq!(quoted("a\u{1b}[2J\"b"), "\"a\\u{1b}[2J\"b\"");
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), SHOWN + 3);
    }
}
