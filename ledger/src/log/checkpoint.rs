//! Delta's checkpoints, made for other readers: all that a log says at one version, as one Parquet
//! file, so that they need not read every entry. No program of ours takes a number from one.
//!
//! The file is rendered from the log that was replayed and checked, so it cannot say anything else,
//! and nothing is read to make it. Removed files are in it too: Delta's own VACUUM keeps a file for
//! as long as its removal is known.
//!
//! Source: the Delta protocol, "Checkpoints" and "Checkpoint Schema" (V1, one part), and "Last
//! Checkpoint File".

use super::creation::Metadata;
use super::state::Log;
use crate::error::LedgerError;
use crate::places;
use crate::store::Location;
use arrow::array::{
    Array as _, ArrayRef, BooleanArray, Int32Array, Int64Array, ListBuilder, MapBuilder, MapFieldNames,
    StringArray, StringBuilder, StructArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use proof::record::{DIVISION_STREAM, MadeCheckpoint};
use schemas::digest::Sha256Digest;
use std::sync::Arc;

/// Makes the checkpoint of the last version of a log, and names it as Delta's last one.
pub(super) async fn make(
    table: &Location,
    metadata: &Metadata,
    log: &Log,
) -> Result<MadeCheckpoint, LedgerError> {
    let failed = |error: ParquetError| LedgerError::storage(table, "writing a Delta checkpoint", &error);
    let version = log.version;
    let actions = actions(metadata, log).map_err(|error| failed(error.into()))?;
    let bytes = parquet(&actions).map_err(failed)?;
    let count: usize = actions.iter().map(RecordBatch::num_rows).sum();
    let last = format!(
        r#"{{"version":{version},"size":{count},"sizeInBytes":{},"numOfAddFiles":{}}}"#,
        bytes.len(),
        log.files.len()
    );
    fail::fail_point!("checkpoint.before");
    let digest = Sha256Digest::of(&bytes);
    places::checkpoint(table, version).replace(bytes.into()).await?;
    places::last_checkpoint(table).replace(last.into()).await?;
    fail::fail_point!("checkpoint.made");
    Ok(MadeCheckpoint { version, digest })
}

/// The log's actions, one batch for each kind, in the order in which Delta's programs write them.
fn actions(metadata: &Metadata, log: &Log) -> Result<Vec<RecordBatch>, ArrowError> {
    let kinds = [
        ("protocol", protocol()),
        ("metaData", table_metadata(metadata)?),
        ("txn", transactions(log)),
        ("add", added(log)?),
        ("remove", removed(log)),
    ];
    let fields: Vec<Field> = kinds
        .iter()
        .map(|(name, values)| Field::new(*name, DataType::Struct(values.fields().clone()), true))
        .collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    kinds
        .iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| {
            let columns = schema.fields().iter().map(|field| match field.name() == name {
                true => Arc::new(values.clone()) as ArrayRef,
                false => new_null_array(field.data_type(), values.len()),
            });
            RecordBatch::try_new(schema.clone(), columns.collect())
        })
        .collect()
}

fn parquet(actions: &[RecordBatch]) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let schema = actions.first().expect("every log has a protocol").schema();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
    for batch in actions {
        writer.write(batch)?;
    }
    writer.into_inner()
}

fn protocol() -> StructArray {
    fields([
        ("minReaderVersion", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        ("minWriterVersion", Arc::new(Int32Array::from(vec![2]))),
    ])
}

fn table_metadata(metadata: &Metadata) -> Result<StructArray, ArrowError> {
    let Metadata { id, schema, properties, created } = metadata;
    let format = fields([
        ("provider", Arc::new(StringArray::from(vec!["parquet"])) as ArrayRef),
        ("options", maps([[]])?),
    ]);
    let mut partitions =
        ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    partitions.append(true);
    let properties = properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(fields([
        ("id", Arc::new(StringArray::from(vec![id.as_str()])) as ArrayRef),
        ("format", Arc::new(format)),
        ("schemaString", Arc::new(StringArray::from(vec![schema.as_str()]))),
        ("partitionColumns", Arc::new(partitions.finish())),
        ("configuration", maps([properties])?),
        ("createdTime", Arc::new(Int64Array::from(vec![*created]))),
    ]))
}

fn transactions(log: &Log) -> StructArray {
    let division = log.division.generation;
    // A log that was never divided has no such stream.
    let division = (division > 0).then_some((DIVISION_STREAM, i64::from(division)));
    let streams = log.streams().map(|(stream, next)| (stream, next.0)).chain(division);
    let (names, numbers): (Vec<_>, Vec<_>) = streams.unzip();
    fields([
        ("appId", Arc::new(StringArray::from(names)) as ArrayRef),
        ("version", Arc::new(Int64Array::from(numbers))),
    ])
}

fn added(log: &Log) -> Result<StructArray, ArrowError> {
    let files = || log.files.values().map(|file| &file.added);
    let size = |bytes: u64| {
        i64::try_from(bytes).map_err(|_| ArrowError::CastError(format!("a file of {bytes} bytes")))
    };
    let digests: Vec<String> = files().map(|file| file.digest.to_string()).collect();
    Ok(fields([
        ("path", Arc::new(StringArray::from_iter_values(files().map(|file| &file.path))) as ArrayRef),
        ("partitionValues", maps(files().map(|_| []))?),
        (
            "size",
            Arc::new(Int64Array::from(files().map(|file| size(file.bytes)).collect::<Result<Vec<_>, _>>()?)),
        ),
        ("modificationTime", Arc::new(Int64Array::from_iter_values(files().map(|_| 0)))),
        ("dataChange", Arc::new(BooleanArray::from_iter(files().map(|_| Some(false))))),
        (
            "stats",
            Arc::new(StringArray::from_iter_values(
                files().map(|file| format!(r#"{{"numRecords":{}}}"#, file.rows)),
            )),
        ),
        ("tags", maps(digests.iter().map(|digest| [("sha256", digest.as_str())]))?),
    ]))
}

fn removed(log: &Log) -> StructArray {
    let files = || log.removed.iter();
    fields([
        ("path", Arc::new(StringArray::from_iter_values(files().map(|(path, _)| path))) as ArrayRef),
        (
            "deletionTimestamp",
            Arc::new(Int64Array::from_iter_values(files().map(|(_, at)| at.micros().div_euclid(1000)))),
        ),
        ("dataChange", Arc::new(BooleanArray::from_iter(files().map(|_| Some(false))))),
    ])
}

fn fields<const N: usize>(columns: [(&str, ArrayRef); N]) -> StructArray {
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns
        .into_iter()
        .map(|(name, values)| (Field::new(name, values.data_type().clone(), true), values))
        .unzip();
    StructArray::new(Fields::from(fields), columns, None)
}

/// One map of strings for each row, named as Parquet names their parts.
fn maps<'a, M>(rows: impl IntoIterator<Item = M>) -> Result<ArrayRef, ArrowError>
where
    M: IntoIterator<Item = (&'a str, &'a str)>,
{
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in row {
            maps.keys().append_value(key);
            maps.values().append_value(value);
        }
        maps.append(true)?;
    }
    Ok(Arc::new(maps.finish()))
}
