//! The pages of a Parquet file, looked at before anything is expanded.
//!
//! The library makes room for what a page's header says. So the headers are read here first: Thrift's
//! compact protocol, as far as sizes are concerned. Whether a page holds what it says is found by the
//! library.
//!
//! Invariant: no page and no file becomes larger than the bounds here.

use crate::invoice::error::InvoiceError;
use crate::invoice::text::{MAX_EXPANDED, too_large};
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

/// The most that a page may be, once it is expanded. Writers aim at one megabyte.
const MAX_PAGE: u64 = 128 << 20;
/// The most values of a list column within a group of rows.
const MAX_LIST_VALUES: u64 = 20_000_000;

/// Checks every page's header.
///
/// # Errors
/// A page or a sum of pages that is too large, one that is not within the file, another compression.
pub fn check(bytes: &[u8], metadata: &ParquetMetaData) -> Result<(), InvoiceError> {
    let mut expanded = 0u64;
    for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let in_column =
            |problem: String| InvoiceError::new(problem).in_column(&column.column_descr().path().string());
        match column.compression() {
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) => {}
            other => {
                return Err(in_column(format!(
                    "its pages are compressed with {other}; write it with zstd or snappy, or without"
                )));
            }
        }
        let sum = chunk(bytes, column).map_err(in_column)?;
        expanded = expanded.saturating_add(sum);
        if expanded > MAX_EXPANDED {
            return Err(too_large(MAX_EXPANDED));
        }
    }
    Ok(())
}

/// What the pages of a column chunk are, once they are expanded.
fn chunk(bytes: &[u8], column: &ColumnChunkMetaData) -> Result<u64, String> {
    let broken = || "its pages are not within the file, which may have been cut".to_owned();
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let start = usize::try_from(start).map_err(|_| broken())?;
    let length = usize::try_from(column.compressed_size()).map_err(|_| broken())?;
    let end = start.checked_add(length).filter(|end| *end <= bytes.len()).ok_or_else(broken)?;
    let mut rest = &bytes[start..end];
    let (mut expanded, mut values) = (0u64, 0u64);
    while !rest.is_empty() {
        let mut header = Thrift { bytes: rest };
        let page = header.page().ok_or("the header of a page cannot be read")?;
        rest = header.bytes.get(page.compressed..).ok_or_else(broken)?;
        if page.expanded > MAX_PAGE {
            return Err(format!("a page of {} bytes, of which {MAX_PAGE} are read at most", page.expanded));
        }
        // A dictionary has a value for each entry, and none is shorter than a bit.
        if page.entries > 8 * page.expanded {
            return Err(format!("a dictionary of {} entries in {} bytes", page.entries, page.expanded));
        }
        expanded = expanded.saturating_add(page.expanded);
        values = values.saturating_add(page.values);
    }
    if column.column_descr().max_rep_level() > 0 && values > MAX_LIST_VALUES {
        return Err(format!("lists of {values} values, of which {MAX_LIST_VALUES} are read at most"));
    }
    Ok(expanded)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    expanded: u64,
    compressed: usize,
    values: u64,
    /// Of a dictionary.
    entries: u64,
}

/// The rest of what a Thrift structure is read from; `None` where it ends too early or is none.
struct Thrift<'a> {
    bytes: &'a [u8],
}

const MAX_DEPTH: u32 = 16;
const I32: u8 = 5;
const STRUCT: u8 = 12;

impl Thrift<'_> {
    fn page(&mut self) -> Option<Page> {
        let mut page = Page::default();
        let mut id = 0;
        while let Some(kind) = self.field(&mut id)? {
            match (id, kind) {
                (2, I32) => page.expanded = u64::try_from(self.zigzag()?).ok()?,
                (3, I32) => page.compressed = usize::try_from(self.zigzag()?).ok()?,
                (5 | 8, STRUCT) => page.values = self.count()?,
                (7, STRUCT) => page.entries = self.count()?,
                _ => self.skip(kind, 0)?,
            }
        }
        Some(page)
    }

    /// Field 1 of a page's own header: how many values it has.
    fn count(&mut self) -> Option<u64> {
        let (mut id, mut count) = (0, 0);
        while let Some(kind) = self.field(&mut id)? {
            match (id, kind) {
                (1, I32) => count = u64::try_from(self.zigzag()?).ok()?,
                _ => self.skip(kind, 0)?,
            }
        }
        Some(count)
    }

    /// The type of the next field, whose number is put into `id`; `None` inside at the end.
    #[expect(clippy::option_option, reason = "an end is not an error")]
    fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *id = match byte >> 4 {
            0 => self.zigzag()?,
            step => id.checked_add(i64::from(step))?,
        };
        Some(Some(byte & 0xF))
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            // A truth value of a field is its type.
            1 | 2 => {}
            3 => self.advance(1)?,
            4..=6 => {
                self.varint()?;
            }
            7 => self.advance(8)?,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.advance(length)?;
            }
            9 | 10 => {
                let byte = self.byte()?;
                let size = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
                self.skip_all(&[byte & 0xF], size, depth)?;
            }
            11 => {
                let size = self.varint()?;
                if size > 0 {
                    let byte = self.byte()?;
                    self.skip_all(&[byte >> 4, byte & 0xF], size, depth)?;
                }
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Elements of a list or a map, each of which takes a byte at least.
    fn skip_all(&mut self, kinds: &[u8], size: u64, depth: u32) -> Option<()> {
        for _ in 0..size {
            for kind in kinds {
                match kind {
                    1 | 2 => self.advance(1)?,
                    kind => self.skip(*kind, depth + 1)?,
                }
            }
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn advance(&mut self, bytes: usize) -> Option<()> {
        self.bytes = self.bytes.get(bytes..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        let half = i64::try_from(value >> 1).ok()?;
        Some(if value & 1 == 0 { half } else { -half - 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_among_other_fields() {
        // type = 2, uncompressed = 300, compressed = 5, a dictionary of 7, a list of a string, stop.
        let bytes = [0x15, 4, 0x15, 0xD8, 4, 0x15, 10, 0x4C, 0x15, 14, 0, 0x19, 0x18, 1, b'x', 0, 99];
        let mut thrift = Thrift { bytes: &bytes };
        let page = Page { expanded: 300, compressed: 5, values: 0, entries: 7 };
        assert_eq!(thrift.page(), Some(page));
        assert_eq!(thrift.bytes, [99]);
        for cut in 0..bytes.len() - 2 {
            assert_eq!(Thrift { bytes: &bytes[..cut] }.page(), None, "{cut}");
        }
        // A size below zero, a list of more than there is, structures without an end.
        assert_eq!(Thrift { bytes: &[0x25, 1, 0] }.page(), None);
        assert_eq!(Thrift { bytes: &[0x99, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xF, 0] }.page(), None);
        assert_eq!(Thrift { bytes: &[0x9C; 1000] }.page(), None);
    }
}
