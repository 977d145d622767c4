//! Records of a Parquet file: one row each, nested names joined by dots.
//!
//! The library reads behind the boundary, and only after the sizes of all pages were looked at.
//!
//! Invariant: a file has as many rows as it says, or is refused.

// Modules in reading order.
mod pages; // sizes, before anything is expanded
mod values; // a value as text

use super::csv::Shape;
use super::error::InvoiceError;
use super::headers::{MAX_COLUMNS, Slot, Wanted};
use super::record::{Each, Fingerprint, MAX_RECORDS, Record};
use super::text::{MAX_EXPANDED, MAX_RECORD, too_large};
use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use schemas::boundary::guarded;
use std::sync::Arc;

/// Rows that are in memory at once.
const BATCH: usize = 1024;

/// Hands every row to `each`.
///
/// # Errors
/// What cannot be read, and whatever `each` refuses.
pub fn read(
    bytes: Bytes,
    wanted: &Wanted,
    begin: impl FnOnce(&[bool]) -> Result<(), InvoiceError>,
    each: &mut Each<'_>,
) -> Result<Shape, InvoiceError> {
    let (mut reader, leaves, rows) = behind(|| open(bytes))??;
    let places = wanted.places(leaves.iter().map(|leaf| leaf.name.as_str()))?;
    let has: Vec<bool> = places.iter().map(Option::is_some).collect();
    begin(&has)?;
    let slots = slots_by_leaf(&places, leaves.len());
    let mut record = Record::new(wanted.len());
    let (mut row_bytes, mut text) = (Vec::new(), String::new());
    // A dictionary's text is many times what it is in the pages.
    let mut expanded = 0;
    while let Some(batch) = behind(|| reader.next())? {
        let batch = batch.map_err(|error| {
            InvoiceError::new(format!("its rows cannot be read: {error}")).in_record(record.number + 1, None)
        })?;
        let arrays: Vec<ArrayRef> = leaves.iter().map(|leaf| leaf.of(&batch)).collect();
        for row in 0..batch.num_rows() {
            record.next(None)?;
            row_bytes.clear();
            for ((leaf, array), slots) in leaves.iter().zip(&arrays).zip(&slots) {
                cell(array, row, slots, &mut record, &mut row_bytes, &mut text)
                    .map_err(|error| record.refuse(error.in_column(&leaf.name)))?;
            }
            record.fingerprint = Fingerprint::of(&row_bytes);
            expanded += u64::try_from(row_bytes.len()).expect("a row is bounded");
            if expanded > MAX_EXPANDED {
                return Err(too_large(MAX_EXPANDED));
            }
            each(&record)?;
        }
    }
    if record.number != rows {
        return Err(InvoiceError::new(format!("it says that it has {rows} rows, and has {}", record.number)));
    }
    Ok(Shape { records: record.number, fields_missing: None, has })
}

/// A library's panic is an error.
fn behind<T>(read: impl FnOnce() -> T) -> Result<T, InvoiceError> {
    guarded(read).map_err(|fault| InvoiceError::new(fault.to_string()))
}

fn open(bytes: Bytes) -> Result<(ParquetRecordBatchReader, Vec<Leaf>, u64), InvoiceError> {
    let broken = |error: ParquetError| {
        InvoiceError::new(format!("it cannot be read as Parquet ({error}): it may have been cut short"))
    };
    // What the writer said in Arrow's words is of no use, and one more thing to lie with.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&bytes, options.clone()).map_err(broken)?;
    let columns = metadata.parquet_schema().num_columns();
    if columns > MAX_COLUMNS {
        return Err(InvoiceError::new(format!("more than {MAX_COLUMNS} columns")));
    }
    let rows = u64::try_from(metadata.metadata().file_metadata().num_rows());
    let rows = rows.ok().filter(|rows| *rows <= MAX_RECORDS).ok_or_else(|| {
        InvoiceError::new(format!("it says that it has more than {MAX_RECORDS} rows, which are read at most"))
    })?;
    pages::check(&bytes, metadata.metadata())?;
    // A text that is in a dictionary once is once in memory, however many rows have it.
    let schema = Schema::new(metadata.schema().fields().iter().map(viewed).collect::<Fields>());
    let leaves = leaves(schema.fields());
    let options = options.with_schema(Arc::new(schema));
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map_err(broken)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
    let reader = builder.with_batch_size(BATCH).build().map_err(broken)?;
    Ok((reader, leaves, rows))
}

/// The field, with views where texts and bytes are.
fn viewed(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(viewed).collect()),
        DataType::List(item) => DataType::List(viewed(item)),
        DataType::LargeList(item) => DataType::LargeList(viewed(item)),
        DataType::Map(entries, sorted) => DataType::Map(viewed(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(kind))
}

/// A column that is no structure.
struct Leaf {
    /// Its name and those around it, joined by dots.
    name: String,
    /// Its place in the row, then in each structure.
    path: Vec<usize>,
}

impl Leaf {
    fn of(&self, batch: &RecordBatch) -> ArrayRef {
        let (first, rest) = self.path.split_first().expect("a path is not empty");
        rest.iter().fold(Arc::clone(batch.column(*first)), |array, place| {
            Arc::clone(array.as_struct().column(*place))
        })
    }
}

fn leaves(fields: &Fields) -> Vec<Leaf> {
    fn add(leaves: &mut Vec<Leaf>, name: String, path: Vec<usize>, kind: &DataType) {
        let DataType::Struct(fields) = kind else { return leaves.push(Leaf { name, path }) };
        // Some writers put a list into a structure of its own.
        let wraps_list = fields.len() == 1 && fields[0].name() == "list" && fields[0].data_type().is_list();
        for (place, field) in fields.iter().enumerate() {
            let name = if wraps_list { name.clone() } else { format!("{name}.{}", field.name()) };
            let path = path.iter().copied().chain([place]).collect();
            add(leaves, name, path, field.data_type());
        }
    }
    let mut leaves = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        add(&mut leaves, field.name().clone(), vec![place], field.data_type());
    }
    leaves
}

/// For each leaf the wanted columns that it is.
fn slots_by_leaf(places: &[Option<usize>], leaves: usize) -> Vec<Vec<Slot>> {
    let mut slots = vec![Vec::new(); leaves];
    for (slot, place) in places.iter().enumerate() {
        if let Some(place) = place {
            slots[*place].push(Slot(slot));
        }
    }
    slots
}

/// Puts a value where it is wanted, and into the bytes that tell rows apart.
fn cell(
    array: &ArrayRef,
    row: usize,
    slots: &[Slot],
    record: &mut Record,
    row_bytes: &mut Vec<u8>,
    text: &mut String,
) -> Result<(), InvoiceError> {
    text.clear();
    let Some(kind) = values::write(array.as_ref(), row, text).map_err(InvoiceError::new)? else {
        row_bytes.push(0);
        return Ok(());
    };
    row_bytes.push(1);
    row_bytes.extend_from_slice(&u64::try_from(text.len()).expect("a text is short").to_le_bytes());
    row_bytes.extend_from_slice(text.as_bytes());
    if row_bytes.len() > MAX_RECORD {
        return Err(InvoiceError::new(format!("a record of more than {MAX_RECORD} bytes")));
    }
    record.says_something |= !text.trim().is_empty();
    slots.iter().try_for_each(|slot| record.put(*slot, text, kind))
}

#[cfg(test)]
mod tests;
