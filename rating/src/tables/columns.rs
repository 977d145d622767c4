//! Columns as data: what a table has in each, once, for its bytes, its JSON and its description.
//!
//! A column says how its value is taken from a row, and deliberately nothing of where rows come
//! from.
//!
//! Types: amounts DECIMAL(38,18), quantities DECIMAL(38,9), instants TIMESTAMP in UTC microseconds,
//! counts BIGINT, anything else text; a missing value is NULL.
//!
//! Invariant: equal rows give equal bytes, and the same words in JSON as in the table.

use arrow::array::{
    ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use schemas::decimal::{Amount, QuantityTotal};
use schemas::time::Instant;
use serde_json::Value as Json;
use std::sync::Arc;

/// A table of a run.
pub(super) trait Table: Sized + 'static {
    const NAME: &'static str;
    /// The columns in their order, in groups that other tables may have too.
    const COLUMNS: &'static [&'static [Column<Self>]];
    type Row<'r>;
}

/// One column of a table.
pub(super) struct Column<T: Table> {
    pub name: &'static str,
    pub column_type: ColumnType,
    /// One sentence.
    pub meaning: &'static str,
    of: Of<T>,
}

enum Of<T: Table> {
    Required(for<'a, 'r> fn(&'a T::Row<'r>) -> Value),
    Optional(for<'a, 'r> fn(&'a T::Row<'r>) -> Option<Value>),
}

/// A column that every row has a value for.
pub(super) const fn required<T: Table>(
    name: &'static str,
    column_type: ColumnType,
    meaning: &'static str,
    of: for<'a, 'r> fn(&'a T::Row<'r>) -> Value,
) -> Column<T> {
    Column { name, column_type, meaning, of: Of::Required(of) }
}

/// A column that a row may have no value for.
pub(super) const fn optional<T: Table>(
    name: &'static str,
    column_type: ColumnType,
    meaning: &'static str,
    of: for<'a, 'r> fn(&'a T::Row<'r>) -> Option<Value>,
) -> Column<T> {
    Column { name, column_type, meaning, of: Of::Optional(of) }
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnType {
    Text,
    Instant,
    Amount,
    Quantity,
    Count,
}

impl ColumnType {
    /// The type, as SQL says it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Text => "VARCHAR",
            Self::Instant => "TIMESTAMP(µs, UTC)",
            Self::Amount => "DECIMAL(38,18)",
            Self::Quantity => "DECIMAL(38,9)",
            Self::Count => "BIGINT",
        }
    }
}

/// A value of a column, of the type that the column declares.
pub(super) enum Value {
    Text(String),
    Instant(Instant),
    Amount(Amount),
    Quantity(QuantityTotal),
    Count(u64),
}

/// The value of a column of text.
pub(super) fn text(value: impl ToString) -> Value {
    Value::Text(value.to_string())
}

impl Value {
    /// Numbers that a reader might take for a float are strings.
    fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Instant(instant) => instant.to_string().into(),
            Self::Amount(amount) => amount.to_string().into(),
            Self::Quantity(quantity) => quantity.to_string().into(),
            Self::Count(count) => (*count).into(),
        }
    }
}

impl<T: Table> Column<T> {
    pub fn may_be_missing(&self) -> bool {
        matches!(self.of, Of::Optional(_))
    }

    fn value(&self, row: &T::Row<'_>) -> Option<Value> {
        match self.of {
            Of::Required(of) => Some(of(row)),
            Of::Optional(of) => of(row),
        }
    }

    /// # Panics
    /// When a value is not of the type that the column declares.
    fn array(&self, rows: &[T::Row<'_>]) -> (Field, ArrayRef) {
        let values = rows.iter().map(|row| self.value(row));
        let wrong = || -> ! { panic!("the column {}.{} is not {:?}", T::NAME, self.name, self.column_type) };
        match self.column_type {
            ColumnType::Text => {
                let texts = values.map(|value| match value {
                    None => None,
                    Some(Value::Text(text)) => Some(text),
                    Some(_) => wrong(),
                });
                (self.field(DataType::Utf8, true), Arc::new(texts.collect::<StringArray>()))
            }
            ColumnType::Instant => {
                let micros = values.map(|value| match value {
                    Some(Value::Instant(instant)) => instant.micros(),
                    _ => wrong(),
                });
                let array = TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC");
                (self.field(ledger::row::ColumnType::Instant.arrow(), false), Arc::new(array))
            }
            ColumnType::Amount => self.decimals(
                18,
                values.map(|value| match value {
                    None => None,
                    Some(Value::Amount(amount)) => Some(amount.units()),
                    Some(_) => wrong(),
                }),
            ),
            ColumnType::Quantity => self.decimals(
                9,
                values.map(|value| match value {
                    None => None,
                    Some(Value::Quantity(quantity)) => Some(quantity.units()),
                    Some(_) => wrong(),
                }),
            ),
            ColumnType::Count => {
                let counts = values.map(|value| match value {
                    None if self.may_be_missing() => None,
                    Some(Value::Count(count)) => {
                        Some(i64::try_from(count).expect("fewer than 2^63 of anything"))
                    }
                    _ => wrong(),
                });
                let array = counts.collect::<Int64Array>();
                (self.field(DataType::Int64, self.may_be_missing()), Arc::new(array))
            }
        }
    }

    fn decimals(&self, scale: i8, units: impl Iterator<Item = Option<i128>>) -> (Field, ArrayRef) {
        let array = units
            .collect::<Decimal128Array>()
            .with_precision_and_scale(38, scale)
            .expect("38 digits with that scale is a valid decimal type");
        (self.field(DataType::Decimal128(38, scale), true), Arc::new(array))
    }

    /// Texts and decimals are nullable in every table, whether a row may lack them or not: the
    /// format has them so, and equal runs have equal bytes.
    fn field(&self, data_type: DataType, nullable: bool) -> Field {
        Field::new(self.name, data_type, nullable)
    }
}

fn columns<T: Table>() -> impl Iterator<Item = &'static Column<T>> {
    T::COLUMNS.iter().copied().flatten()
}

/// The name of the first column of a table, which has the ids of its rows.
pub(super) fn first<T: Table>() -> &'static str {
    columns::<T>().next().expect("a table has columns").name
}

/// A column in which a row differs from what is stored of it.
pub(super) struct Difference {
    pub column: &'static str,
    pub stored: String,
    pub rated: String,
}

/// The first column in which a row differs from the only row of `stored`; none where it has the same
/// value in each.
pub(super) fn difference<T: Table>(row: &T::Row<'_>, stored: &RecordBatch) -> Option<Difference> {
    columns::<T>().find_map(|column| {
        let (_, rated) = column.array(std::slice::from_ref(row));
        let there = stored.column_by_name(column.name);
        if there.is_some_and(|there| there.as_ref() == rated.as_ref()) {
            return None;
        }
        let words = |array: &ArrayRef| match array_value_to_string(array, 0) {
            Ok(words) if words.is_empty() => "nothing".to_owned(),
            Ok(words) => words,
            Err(error) => error.to_string(),
        };
        let there = there.map_or_else(|| "not there".to_owned(), words);
        Some(Difference { column: column.name, stored: there, rated: words(&rated) })
    })
}

/// A row as a JSON object with the names of the columns; a missing value is null.
pub(super) fn to_json<T: Table>(row: &T::Row<'_>) -> serde_json::Map<String, Json> {
    columns::<T>()
        .map(|column| (column.name.to_owned(), column.value(row).map_or(Json::Null, |value| value.to_json())))
        .collect()
}

/// The rows as the bytes of a Parquet file. `created_by` is written into it.
pub(super) fn to_parquet<T: Table>(rows: &[T::Row<'_>], created_by: String) -> Vec<u8> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) =
        columns::<T>().map(|column| column.array(rows)).unzip();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let rows =
        RecordBatch::try_new(schema.clone(), arrays).expect("every column has a value or NULL for each line");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).expect("3 is a zstd level")))
        .set_created_by(created_by)
        .build();
    let mut buffer = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut buffer, schema, Some(properties))
        .expect("every column type is writable as Parquet");
    writer.write(&rows).expect("writing to memory cannot fail");
    writer.close().expect("writing to memory cannot fail");
    buffer
}

/// A table and its columns, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDescription {
    /// The name of the table, and of its file without `.parquet`.
    pub name: &'static str,
    /// In the order of the file.
    pub columns: Vec<ColumnDescription>,
}

/// A column, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnDescription {
    pub name: &'static str,
    /// As SQL says it, like `DECIMAL(38,18)`.
    pub column_type: &'static str,
    /// Whether a row may have no value, which is NULL.
    pub nullable: bool,
    /// One sentence.
    pub meaning: &'static str,
}

pub(super) fn describe<T: Table>() -> TableDescription {
    let describe = |column: &Column<T>| ColumnDescription {
        name: column.name,
        column_type: column.column_type.words(),
        nullable: column.may_be_missing(),
        meaning: column.meaning,
    };
    TableDescription { name: T::NAME, columns: columns::<T>().map(describe).collect() }
}
