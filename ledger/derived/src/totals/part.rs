//! A file of totals: written, named by its digest, and checked before it is read.
//!
//! Invariant: what is read is what was written.

use super::error::TotalsError;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use ledger::Location;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;
use schemas::digest::Sha256Digest;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Rows of a row group.
pub(super) const GROUP: usize = 131_072;
/// Rows of a page, where some rows are read and others are passed over.
const PAGE: usize = 4096;
pub(super) const MEMORY: &str = "writing to memory cannot fail";

/// A file, as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub bytes: u64,
    pub rows: u64,
    pub sha256: String,
}

impl Part {
    /// Writes it below `folder`, where only this process writes; a file without rows is left out.
    /// `name` is a beginning that says what it is, and `kind` an end.
    ///
    /// # Errors
    /// When storage fails.
    pub(super) async fn write(
        folder: &Location,
        (name, kind): (&str, &str),
        (bytes, rows): (Vec<u8>, u64),
    ) -> Result<Option<Self>, TotalsError> {
        if rows == 0 {
            return Ok(None);
        }
        let digest = Sha256Digest::of(&bytes);
        // A name is never used for other bytes.
        let name = format!("{name}-{}.{kind}.parquet", digest.short());
        let length = bytes.len() as u64;
        folder.join(&name).replace(bytes.into()).await?;
        Ok(Some(Self { name, bytes: length, rows, sha256: digest.to_string() }))
    }

    /// The bytes of it, after its digest was compared.
    ///
    /// # Errors
    /// `Damaged` where it is not what was written.
    pub(super) async fn verified(&self, folder: &Location) -> Result<Bytes, TotalsError> {
        let location = folder.join(&self.name);
        let bytes = location.read().await?;
        let bytes = bytes.ok_or_else(|| TotalsError::damaged(&location, "it is gone"))?;
        if bytes.len() as u64 != self.bytes || Sha256Digest::of(&bytes).to_string() != self.sha256 {
            return Err(TotalsError::damaged(&location, NOT_AS_WRITTEN));
        }
        Ok(bytes)
    }

    /// Where it is, after its digest was compared.
    ///
    /// # Errors
    /// `Damaged` where it is not what was written.
    pub(super) async fn verified_location(&self, folder: &Location) -> Result<Location, TotalsError> {
        let location = folder.join(&self.name);
        match location.digest().await? {
            Some((bytes, digest)) if bytes == self.bytes && digest.to_string() == self.sha256 => Ok(location),
            Some(_) => Err(TotalsError::damaged(&location, NOT_AS_WRITTEN)),
            None => Err(TotalsError::damaged(&location, "it is gone")),
        }
    }

    /// Its rows, after its digest was compared.
    ///
    /// # Errors
    /// `Damaged` where it is not what was written.
    pub(super) async fn read(&self, folder: &Location) -> Result<Vec<RecordBatch>, TotalsError> {
        let failed = |error: &dyn ToString| TotalsError::damaged(&folder.join(&self.name), error.to_string());
        let open = Open::new(self.verified(folder).await?, None).map_err(|error| failed(&error))?;
        let reader = open.rows(8192, None).map_err(|error| failed(&error))?;
        reader.collect::<Result<_, _>>().map_err(|error| failed(&error))
    }
}

const NOT_AS_WRITTEN: &str = "it is not what was written";

type ParquetResult<T> = Result<T, parquet::errors::ParquetError>;

/// The bytes of a file and what its footer says of them.
pub(super) struct Open(ParquetRecordBatchReaderBuilder<Bytes>);

impl Open {
    /// `schema` says which types its columns are read as.
    pub fn new(bytes: Bytes, schema: Option<SchemaRef>) -> ParquetResult<Self> {
        let mut options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        if let Some(schema) = schema {
            options = options.with_schema(schema);
        }
        Ok(Self(ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options)?))
    }

    /// The row groups whose first column may be within `wanted`.
    pub fn groups(&self, wanted: &RangeInclusive<i32>) -> Vec<usize> {
        let may_have = |statistics: Option<&Statistics>| match statistics {
            Some(Statistics::Int32(values)) => {
                let (least, most) = (values.min_opt().copied(), values.max_opt().copied());
                least.is_none_or(|least| least <= *wanted.end())
                    && most.is_none_or(|most| most >= *wanted.start())
            }
            _ => true,
        };
        let groups = self.0.metadata().row_groups().iter().enumerate();
        groups.filter(|(_, group)| may_have(group.column(0).statistics())).map(|(nth, _)| nth).collect()
    }

    /// The rows of some row groups, or of all.
    pub fn rows(self, batch: usize, groups: Option<Vec<usize>>) -> ParquetResult<ParquetRecordBatchReader> {
        let builder = match groups {
            Some(groups) => self.0.with_row_groups(groups),
            None => self.0,
        };
        builder.with_batch_size(batch).build()
    }

    /// Some of the rows.
    pub fn selected(self, batch: usize, rows: RowSelection) -> ParquetResult<ParquetRecordBatchReader> {
        self.0.with_row_selection(rows).with_batch_size(batch).build()
    }
}

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level")))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(GROUP))
        .set_created_by("atcost".to_owned())
}

/// A file that is being written.
pub(super) fn writer(schema: SchemaRef) -> ArrowWriter<Vec<u8>> {
    ArrowWriter::try_new(Vec::new(), schema, Some(properties().build())).expect(MEMORY)
}

/// A file of which some rows will be read: of small pages, and with `time` growing mostly.
pub(super) fn writer_of_pages(schema: SchemaRef) -> ArrowWriter<Vec<u8>> {
    let time = ColumnPath::from("time");
    let properties = properties()
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_row_count_limit(PAGE)
        .set_write_batch_size(PAGE)
        .set_column_dictionary_enabled(time.clone(), false)
        .set_column_encoding(time, Encoding::DELTA_BINARY_PACKED)
        .build();
    ArrowWriter::try_new(Vec::new(), schema, Some(properties)).expect(MEMORY)
}

/// A file of runs of numbers, of which the first column is a text, and the others grow mostly.
pub(super) fn writer_of_numbers(schema: SchemaRef) -> ArrowWriter<Vec<u8>> {
    let producer = ColumnPath::from(schema.field(0).name().as_str());
    let properties = properties()
        .set_statistics_enabled(EnabledStatistics::None)
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled(producer.clone(), true)
        .set_column_encoding(producer, Encoding::DELTA_BYTE_ARRAY)
        .build();
    ArrowWriter::try_new(Vec::new(), schema, Some(properties)).expect(MEMORY)
}

/// The bytes of a file of these rows, and how many there are.
pub(super) fn write_rows(rows: &RecordBatch) -> (Vec<u8>, u64) {
    let mut writer = writer(rows.schema());
    for start in (0..rows.num_rows()).step_by(GROUP) {
        writer.write(&rows.slice(start, GROUP.min(rows.num_rows() - start))).expect(MEMORY);
    }
    (writer.into_inner().expect(MEMORY), rows.num_rows() as u64)
}

/// A schema whose texts are read as dictionaries.
pub(super) fn with_dictionaries(schema: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 => {
            let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            Field::new(field.name(), text, field.is_nullable())
        }
        _ => field.as_ref().clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}
