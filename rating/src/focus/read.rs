//! Files of FOCUS as cells: Parquet and CSV.
//!
//! What a cell must be is deliberately not judged here, but in `rules`.
//!
//! Invariant: rows come in the order of the file, and one batch of them is in memory at a time.

use super::formats;
use crate::error::RatingError;
use crate::exact::Exact;
use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
};
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use ledger::Location;
use num_bigint::BigInt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::time::Instant;

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Text(String),
    /// Of a column of decimals or whole numbers.
    Number(Exact),
    /// Of a column of instants in UTC.
    Instant(Instant),
    /// Of a column of another type, which is named.
    Other(String),
}

/// Who takes what is read.
pub(super) trait Reader {
    /// The names of the columns, in the order of the file.
    fn header(&mut self, names: &[String]);
    fn row(&mut self, cells: &[Cell]);
}

/// Hands out the header, then every row.
///
/// # Errors
/// When the file is not of the form that its name says.
pub(super) fn read(location: &Location, bytes: Bytes, reader: &mut impl Reader) -> Result<(), RatingError> {
    let failed =
        |error: &dyn std::fmt::Display| RatingError::file(location, "reading the file", &error.to_string());
    if location.name().ends_with(".csv") {
        let mut records = csv::Reader::from_reader(&*bytes);
        let names = records.headers().map_err(|error| failed(&error))?;
        reader.header(&names.iter().map(str::to_owned).collect::<Vec<_>>());
        for record in records.records() {
            let record = record.map_err(|error| failed(&error))?;
            let cell = |text: &str| match text {
                "" | "NULL" => Cell::Null,
                text => Cell::Text(text.to_owned()),
            };
            reader.row(&record.iter().map(cell).collect::<Vec<_>>());
        }
        return Ok(());
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| failed(&error))?;
    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    reader.header(&names);
    for batch in builder.build().map_err(|error| failed(&error))? {
        let batch = batch.map_err(|error| failed(&error))?;
        for place in 0..batch.num_rows() {
            reader.row(&cells(&batch, place));
        }
    }
    Ok(())
}

fn cells(batch: &RecordBatch, row: usize) -> Vec<Cell> {
    batch.columns().iter().map(|column| cell(column, row)).collect()
}

fn cell(column: &ArrayRef, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Null;
    }
    let other = || {
        let value = array_value_to_string(column, row).unwrap_or_else(|error| error.to_string());
        Cell::Other(format!("{} of type {}", formats::shown(&value), column.data_type()))
    };
    let instant = |micros: Option<i64>| match micros.map(Instant::from_micros) {
        Some(Ok(instant)) => Cell::Instant(instant),
        _ => other(),
    };
    match column.data_type() {
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 => Cell::Text(column.as_string::<i64>().value(row).to_owned()),
        DataType::Utf8View => Cell::Text(column.as_string_view().value(row).to_owned()),
        DataType::Decimal128(_, scale) => {
            let units = BigInt::from(column.as_primitive::<Decimal128Type>().value(row));
            match u32::try_from(*scale) {
                Ok(scale) => Cell::Number(Exact::new(units, BigInt::from(10).pow(scale))),
                Err(_) => other(),
            }
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            match array_value_to_string(column, row).ok().and_then(|text| text.parse::<BigInt>().ok()) {
                Some(number) => Cell::Number(Exact::from_integer(number)),
                None => other(),
            }
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => {
            instant(Some(column.as_primitive::<TimestampMicrosecondType>().value(row)))
        }
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) if &**zone == "UTC" => {
            instant(column.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1000))
        }
        _ => other(),
    }
}
