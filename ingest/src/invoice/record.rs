//! One record of a file, as far as a mapping asks for it.
//!
//! Invariant: a cell that is blank, or `NULL` as databases write it, is missing.

use super::error::InvoiceError;
use super::headers::Slot;
use sha2::{Digest as _, Sha256};

/// The longest cell.
pub const MAX_CELL: usize = 1 << 20;
/// The most records of a file.
pub const MAX_RECORDS: u64 = 5_000_000;

/// How a value was written, where that matters to whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In the file's own way.
    Text,
    /// A number of JSON or Parquet: with a point, whatever the file's decimal mark.
    Number,
    /// The shortest decimals that are a binary floating-point number.
    Double,
    /// A date or a date-time of Parquet: ISO, whatever the file's dates.
    Iso,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    start: usize,
    end: usize,
    kind: Kind,
}

/// Whether two records are byte for byte the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(u64, u64);

impl Fingerprint {
    pub fn of(bytes: &[u8]) -> Self {
        Self::end(Sha256::new_with_prefix(bytes))
    }

    /// Half of a digest: no two records of all files ever written have the same by accident.
    pub fn end(hasher: Sha256) -> Self {
        let digest = hasher.finalize();
        let half =
            |from: usize| digest[from..from + 8].iter().fold(0, |half, byte| half << 8 | u64::from(*byte));
        Self(half(0), half(8))
    }
}

/// A record; it is filled again for each of a file.
#[derive(Debug)]
pub struct Record {
    /// From 1.
    pub number: u64,
    /// Where it begins in a text, from 1.
    pub line: Option<u64>,
    pub fingerprint: Fingerprint,
    /// Whether any cell has something in it, wanted or not.
    pub says_something: bool,
    text: String,
    cells: Vec<Option<Cell>>,
}

impl Record {
    pub fn new(slots: usize) -> Self {
        Self {
            number: 0,
            line: None,
            fingerprint: Fingerprint(0, 0),
            says_something: false,
            text: String::new(),
            cells: vec![None; slots],
        }
    }

    /// Begins the next one.
    ///
    /// # Errors
    /// Too many.
    pub fn next(&mut self, line: Option<u64>) -> Result<(), InvoiceError> {
        self.number += 1;
        self.line = line;
        self.says_something = false;
        self.text.clear();
        self.cells.fill(None);
        if self.number > MAX_RECORDS {
            return Err(self.refuse(InvoiceError::new(format!(
                "it has more than {MAX_RECORDS} records, which are read at most: split it by invoice"
            ))));
        }
        Ok(())
    }

    /// Puts a value into a slot. Blanks around it say nothing.
    ///
    /// # Errors
    /// A slot that has a value already, and a value that is too long.
    pub fn put(&mut self, slot: Slot, value: &str, kind: Kind) -> Result<(), InvoiceError> {
        let value = value.trim();
        if is_missing(value) {
            return Ok(());
        }
        if value.len() > MAX_CELL {
            return Err(InvoiceError::new(format!("a cell of more than {MAX_CELL} bytes")));
        }
        if self.cells[slot.0].is_some() {
            return Err(InvoiceError::new("the record has this column twice"));
        }
        let start = self.text.len();
        self.text.push_str(value);
        self.cells[slot.0] = Some(Cell { start, end: self.text.len(), kind });
        Ok(())
    }

    /// `None` where it is missing.
    pub fn get(&self, slot: Slot) -> Option<(&str, Kind)> {
        self.cells[slot.0].map(|cell| (&self.text[cell.start..cell.end], cell.kind))
    }

    /// An error of this record.
    pub fn refuse(&self, error: InvoiceError) -> InvoiceError {
        error.in_record(self.number, self.line)
    }
}

/// Whether a trimmed cell says nothing.
pub fn is_missing(value: &str) -> bool {
    value.is_empty() || value == "NULL"
}

/// Takes the records of a file, one after the other.
pub type Each<'a> = dyn FnMut(&Record) -> Result<(), InvoiceError> + 'a;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_cell_is_blank() {
        for (cell, missing) in [("", true), ("NULL", true), ("null", false), ("0", false)] {
            assert_eq!(is_missing(cell), missing, "{cell:?}");
        }
    }
}
