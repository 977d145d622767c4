//! What a value of a Parquet column is as text.
//!
//! Numbers are their digits, instants ISO 8601. A binary floating-point number is the shortest
//! decimals that it is: nothing is computed with it. A list or a map is JSON.
//!
//! Invariant: two values have one text if and only if they are the same.

use crate::invoice::record::Kind;
use crate::invoice::text::MAX_RECORD;
use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::datatypes::{
    ArrowTimestampType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use schemas::time::{Day, Instant};
use std::fmt::Write as _;

/// Writes the value of a row to the end of `text`; `None` where there is none.
///
/// # Errors
/// A type that no invoice has, and a list that is too long.
pub fn write(array: &dyn Array, row: usize, text: &mut String) -> Result<Option<Kind>, String> {
    if array.is_null(row) {
        return Ok(None);
    }
    // A list may have many values, and each be long.
    if text.len() > MAX_RECORD {
        return Err(format!("a list of more than {MAX_RECORD} bytes"));
    }
    macro_rules! digits {
        ($type:ty) => {{
            // Writing to a string cannot fail.
            let _ = write!(text, "{}", array.as_primitive::<$type>().value(row));
            Kind::Number
        }};
    }
    macro_rules! decimal {
        ($type:ty) => {{
            text.push_str(&array.as_primitive::<$type>().value_as_string(row));
            Kind::Number
        }};
    }
    let kind = match array.data_type() {
        DataType::Null => return Ok(None),
        DataType::Boolean => {
            text.push_str(if array.as_boolean().value(row) { "true" } else { "false" });
            Kind::Text
        }
        DataType::Int8 => digits!(Int8Type),
        DataType::Int16 => digits!(Int16Type),
        DataType::Int32 => digits!(Int32Type),
        DataType::Int64 => digits!(Int64Type),
        DataType::UInt8 => digits!(UInt8Type),
        DataType::UInt16 => digits!(UInt16Type),
        DataType::UInt32 => digits!(UInt32Type),
        DataType::UInt64 => digits!(UInt64Type),
        DataType::Decimal32(..) => decimal!(Decimal32Type),
        DataType::Decimal64(..) => decimal!(Decimal64Type),
        DataType::Decimal128(..) => decimal!(Decimal128Type),
        DataType::Decimal256(..) => decimal!(Decimal256Type),
        DataType::Float32 => {
            digits!(Float32Type);
            Kind::Double
        }
        DataType::Float64 => {
            digits!(Float64Type);
            Kind::Double
        }
        DataType::Date32 => {
            let day = Day::from_number(array.as_primitive::<Date32Type>().value(row));
            push_instant(text, Some(day.start()), Shown::Date)?
        }
        DataType::Date64 => {
            let millis = array.as_primitive::<Date64Type>().value(row);
            push_instant(text, millis.checked_mul(1000), Shown::Date)?
        }
        DataType::Timestamp(unit, zone) => {
            let micros = micros(array, row, *unit);
            push_instant(text, micros, if zone.is_some() { Shown::Zoned } else { Shown::Zoneless })?
        }
        DataType::Utf8View => push(text, array.as_string_view().value(row)),
        DataType::Utf8 => push(text, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => push(text, array.as_string::<i64>().value(row)),
        DataType::BinaryView => push_bytes(text, array.as_binary_view().value(row)),
        DataType::Binary => push_bytes(text, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => push_bytes(text, array.as_binary::<i64>().value(row)),
        DataType::FixedSizeBinary(_) => push_bytes(text, array.as_fixed_size_binary().value(row)),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            let items = match array.data_type() {
                DataType::List(_) => array.as_list::<i32>().value(row),
                DataType::LargeList(_) => array.as_list::<i64>().value(row),
                _ => array.as_fixed_size_list().value(row),
            };
            write_list(&items, text)?;
            Kind::Text
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            write_map(entries.column(0), entries.column(1), text)?;
            Kind::Text
        }
        DataType::Struct(_) => {
            write_object(array, row, text)?;
            Kind::Text
        }
        other => return Err(format!("values of the type {other} are not read")),
    };
    Ok(Some(kind))
}

fn push(text: &mut String, value: &str) -> Kind {
    text.push_str(value);
    Kind::Text
}

/// Text that a writer did not call so, or bytes, which are no value that is wanted but must be told
/// from others.
fn push_bytes(text: &mut String, value: &[u8]) -> Kind {
    match std::str::from_utf8(value) {
        Ok(value) => text.push_str(value),
        Err(_) => value.iter().for_each(|byte| {
            let _ = write!(text, "\\x{byte:02x}");
        }),
    }
    Kind::Text
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Date,
    Zoned,
    Zoneless,
}

fn push_instant(text: &mut String, micros: Option<i64>, shown: Shown) -> Result<Kind, String> {
    let instant = micros.and_then(|micros| Instant::from_micros(micros).ok());
    let written = instant.ok_or("an instant outside the years -9999 to 9999")?.to_string();
    text.push_str(match shown {
        Shown::Date => written.split('T').next().unwrap_or(&written),
        Shown::Zoned => &written,
        Shown::Zoneless => written.trim_end_matches('Z'),
    });
    Ok(Kind::Iso)
}

/// Cut towards the past, as instants are everywhere.
fn micros(array: &dyn Array, row: usize, unit: TimeUnit) -> Option<i64> {
    fn value<T: ArrowTimestampType>(array: &dyn Array, row: usize) -> i64 {
        array.as_primitive::<T>().value(row)
    }
    match unit {
        TimeUnit::Second => value::<TimestampSecondType>(array, row).checked_mul(1_000_000),
        TimeUnit::Millisecond => value::<TimestampMillisecondType>(array, row).checked_mul(1000),
        TimeUnit::Microsecond => Some(value::<TimestampMicrosecondType>(array, row)),
        TimeUnit::Nanosecond => Some(value::<TimestampNanosecondType>(array, row).div_euclid(1000)),
    }
}

fn write_list(items: &ArrayRef, text: &mut String) -> Result<(), String> {
    text.push('[');
    for item in 0..items.len() {
        if item > 0 {
            text.push(',');
        }
        write_json(items.as_ref(), item, text)?;
    }
    text.push(']');
    Ok(())
}

fn write_map(keys: &ArrayRef, values: &ArrayRef, text: &mut String) -> Result<(), String> {
    text.push('{');
    for entry in 0..keys.len() {
        if entry > 0 {
            text.push(',');
        }
        let mut key = String::new();
        write(keys.as_ref(), entry, &mut key)?;
        push_quoted(text, &key);
        text.push(':');
        write_json(values.as_ref(), entry, text)?;
    }
    text.push('}');
    Ok(())
}

fn write_object(array: &dyn Array, row: usize, text: &mut String) -> Result<(), String> {
    let object = array.as_struct();
    text.push('{');
    for (place, (name, member)) in object.column_names().iter().zip(object.columns()).enumerate() {
        if place > 0 {
            text.push(',');
        }
        push_quoted(text, name);
        text.push(':');
        write_json(member.as_ref(), row, text)?;
    }
    text.push('}');
    Ok(())
}

fn write_json(array: &dyn Array, row: usize, text: &mut String) -> Result<(), String> {
    let start = text.len();
    let kind = write(array, row, text)?;
    let nested = matches!(
        array.data_type(),
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::Map(..)
            | DataType::Struct(_)
            | DataType::Boolean
    );
    match kind {
        None => text.push_str("null"),
        Some(Kind::Number) => {}
        Some(_) if nested => {}
        Some(_) => {
            let value = text.split_off(start);
            push_quoted(text, &value);
        }
    }
    Ok(())
}

fn push_quoted(text: &mut String, value: &str) {
    text.push_str(&serde_json::Value::from(value).to_string());
}
