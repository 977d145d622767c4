//! Usage rows out of a ledger's files, a commit at a time.
//!
//! Texts that repeat stay dictionaries, because what is done with them is done once for each text.
//!
//! Invariant: a file is read after its bytes were compared with the log.

use super::error::TotalsError;
use super::location::RowLocation;
use super::schema::{NUMBER, SUSPECT};
use arrow::array::{
    Array as _, AsArray as _, BinaryArray, BooleanArray, DictionaryArray, Int32Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use bytes::Bytes;
use ledger::Location;
use ledger::files::verified_bytes;
use ledger::log::state::{ActiveFile, Log};
use ledger::log::table::Table;
use ledger::row::{COLUMNS, arrow_schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use std::sync::Arc;

/// The columns that are read as dictionaries.
const DICTIONARIES: [&str; 9] = [
    "origin",
    "origin_name",
    "source",
    "type",
    "subject",
    "dimensions",
    "provider",
    "location",
    "producer_id",
];

/// The columns of usage rows, in their order: first those that suspects have.
fn columns() -> impl Iterator<Item = &'static str> {
    SUSPECT.into_iter().chain(NUMBER)
}

pub(super) type Texts = DictionaryArray<Int32Type>;

/// The usage rows of one commit, or some of them, in their order.
#[derive(Debug, Clone)]
pub(super) struct UsageRows(pub RecordBatch);

impl UsageRows {
    pub fn len(&self) -> usize {
        self.0.num_rows()
    }

    /// The place of a column.
    pub fn place_of(name: &str) -> usize {
        columns().position(|column| column == name).expect("it is one of those read")
    }

    fn column(&self, name: &str) -> &dyn arrow::array::Array {
        self.0.column(Self::place_of(name)).as_ref()
    }

    pub fn numbers(&self) -> &Int32Array {
        self.column("row").as_primitive::<Int32Type>()
    }

    fn versions(&self) -> &Int64Array {
        self.column("batch").as_primitive::<Int64Type>()
    }

    /// Where each row is, in a shard.
    pub fn places(&self, shard: u32) -> impl Iterator<Item = RowLocation> {
        self.versions().values().iter().zip(self.numbers().values()).map(move |(version, row)| RowLocation {
            shard,
            version: version.cast_unsigned(),
            row: row.cast_unsigned(),
        })
    }

    pub fn texts(&self, name: &str) -> &Texts {
        self.column(name).as_dictionary::<Int32Type>()
    }

    pub fn ids(&self) -> &StringArray {
        self.column("id").as_string::<i32>()
    }

    pub fn micros(&self) -> &[i64] {
        self.column("time").as_primitive::<TimestampMicrosecondType>().values()
    }

    pub fn received(&self) -> &[i64] {
        self.column("received_at").as_primitive::<TimestampMicrosecondType>().values()
    }

    /// A column of 64 bits; what a row lacks is any number.
    pub fn longs(&self, name: &str) -> &[i64] {
        self.column(name).as_primitive::<Int64Type>().values()
    }

    pub fn values(&self) -> &[i128] {
        self.column("value").as_primitive::<Decimal128Type>().values()
    }

    /// A column that has something in it for each correction.
    pub fn corrections(&self) -> &dyn arrow::array::Array {
        self.column("correction_action")
    }

    /// The id that a correction names.
    pub fn target(&self, row: usize) -> Option<(&str, &str)> {
        let text = |name: &str| {
            let column = self.column(name).as_string::<i32>();
            column.is_valid(row).then(|| column.value(row))
        };
        text("correction_source").zip(text("correction_id"))
    }

    pub fn content_digests(&self) -> &BinaryArray {
        self.column("content_digest").as_binary::<i32>()
    }
}

/// The columns of a ledger's files, as they are read here.
fn schema_as_read() -> SchemaRef {
    let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = arrow_schema(COLUMNS)
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            name if DICTIONARIES.contains(&name) => Field::new(name, text(), field.is_nullable()),
            _ => Field::clone(field),
        })
        .collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
}

/// Counts of the rows that are no usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OtherRows {
    pub rejected: u64,
    pub gaps: u64,
}

/// Takes in the usage rows of a version.
type Take<'a> = dyn FnMut(u64, &[UsageRows]) -> Result<(), TotalsError> + 'a;

/// Reads the rows of a shard, file by file.
pub(super) struct Reader<'a> {
    table: &'a Table,
    files: Vec<&'a ActiveFile>,
    schema: SchemaRef,
    /// The file that was read last.
    last: Option<(&'a str, Bytes)>,
}

impl<'a> Reader<'a> {
    pub fn of(table: &'a Table) -> Self {
        let log: &Log = table.log();
        let mut files: Vec<&ActiveFile> = log.files.values().collect();
        files.sort_by_key(|file| file.first);
        Self { table, files, schema: schema_as_read(), last: None }
    }

    /// Rows of later commits are in later files: a file has those from its first on, to before the
    /// next one's.
    fn files_between(&self, first: u64, last: u64) -> std::vec::IntoIter<&'a ActiveFile> {
        let later = self.files.iter().skip(1).map(|file| file.first).chain([u64::MAX]);
        let files: Vec<&ActiveFile> = self
            .files
            .iter()
            .zip(later)
            .filter(|(file, next)| file.first <= last && *next > first)
            .map(|(file, _)| *file)
            .collect();
        files.into_iter()
    }

    async fn bytes(&mut self, file: &'a ActiveFile) -> Result<Bytes, TotalsError> {
        match &self.last {
            Some((path, bytes)) if *path == file.added.path => Ok(bytes.clone()),
            _ => {
                let bytes = verified_bytes(self.table.location(), &file.added).await?;
                self.last = Some((&file.added.path, bytes.clone()));
                Ok(bytes)
            }
        }
    }

    /// Hands out the usage rows of the versions from `first` to `last`, each version at once and in
    /// order; one without usage rows is left out.
    ///
    /// # Errors
    /// When a file differs from the log or cannot be read, or what `take` says.
    pub async fn commits(
        &mut self,
        first: u64,
        last: u64,
        take: &mut Take<'_>,
    ) -> Result<OtherRows, TotalsError> {
        let mut others = OtherRows::default();
        let mut open: (u64, Vec<UsageRows>) = (0, Vec::new());
        for file in self.files_between(first, last) {
            let bytes = self.bytes(file).await?;
            let location = self.table.location().join(&file.added.path);
            for batch in batches(&location, bytes, &self.schema)? {
                let batch = batch.map_err(|error| damaged(&location, error.to_string()))?;
                let batch = self.wanted(batch, first, last, &mut others);
                let mut start = 0;
                while start < batch.num_rows() {
                    let rows = UsageRows(batch.clone());
                    let versions = rows.versions().values();
                    let version = versions[start];
                    let end = start + versions[start..].iter().take_while(|next| **next == version).count();
                    let version =
                        u64::try_from(version).map_err(|error| damaged(&location, error.to_string()))?;
                    if version != open.0 {
                        if version < open.0 {
                            let detail =
                                format!("a row of commit {version} comes after rows of commit {}", open.0);
                            return Err(damaged(&location, detail));
                        }
                        if !open.1.is_empty() {
                            take(open.0, &open.1)?;
                        }
                        open = (version, Vec::new());
                    }
                    open.1.push(UsageRows(batch.slice(start, end - start)));
                    start = end;
                }
            }
        }
        if !open.1.is_empty() {
            take(open.0, &open.1)?;
        }
        Ok(others)
    }

    /// The usage rows of a batch of a file that belong to the versions, with the columns in their
    /// order here. Counts the others.
    fn wanted(&self, batch: RecordBatch, first: u64, last: u64, others: &mut OtherRows) -> RecordBatch {
        let column = |name: &str| batch.column_by_name(name).expect("it was asked for");
        let versions = column("batch").as_primitive::<Int64Type>();
        let within =
            |version: &i64| u64::try_from(*version).is_ok_and(|version| first <= version && version <= last);
        let gaps = column("gap_until");
        let ids = column("id");
        let mut keep = Vec::with_capacity(batch.num_rows());
        for (row, version) in versions.values().iter().enumerate() {
            let within = within(version);
            let usage = ids.is_valid(row);
            keep.push(within && usage);
            if within && !usage {
                match gaps.is_valid(row) {
                    true => others.gaps += 1,
                    false => others.rejected += 1,
                }
            }
        }
        let schema = batch.schema();
        let field = |name| Field::clone(schema.field_with_name(name).expect("it was asked for"));
        let fields: Vec<Field> = columns().map(field).collect();
        let columns = columns().map(|name| column(name).clone()).collect();
        let narrow = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
        let narrow = narrow.expect("they are columns of one batch");
        if keep.iter().all(|keep| *keep) {
            return narrow;
        }
        filter_record_batch(&narrow, &BooleanArray::from(keep)).expect("one flag for each row")
    }

    /// The rows at some places of this shard, ascending; each once.
    ///
    /// # Errors
    /// When a file differs from the log, cannot be read, or lacks a row.
    pub async fn rows_at(&mut self, places: &[(u64, u32)]) -> Result<Vec<UsageRows>, TotalsError> {
        let mut found = Vec::new();
        let mut rest = places;
        while let Some((version, _)) = rest.first() {
            let file = self.files_between(*version, *version).next();
            let file = file.ok_or_else(|| {
                damaged(self.table.location(), format!("the rows of commit {version} are gone"))
            })?;
            let next = self.files.iter().map(|file| file.first).find(|first| first > version);
            let here = rest.partition_point(|(version, _)| next.is_none_or(|next| *version < next));
            let (of_file, later) = rest.split_at(here);
            rest = later;
            let bytes = self.bytes(file).await?;
            let location = self.table.location().join(&file.added.path);
            let mut missing = of_file.len();
            for batch in batches(&location, bytes, &self.schema)? {
                let batch = batch.map_err(|error| damaged(&location, error.to_string()))?;
                let rows = UsageRows(self.wanted(batch, 1, u64::MAX, &mut OtherRows::default()));
                let keep: Vec<bool> = rows
                    .versions()
                    .values()
                    .iter()
                    .zip(rows.numbers().values())
                    .map(|(version, row)| {
                        let place = u64::try_from(*version).ok().zip(u32::try_from(*row).ok());
                        place.is_some_and(|place| of_file.binary_search(&place).is_ok())
                    })
                    .collect();
                let kept = keep.iter().filter(|keep| **keep).count();
                if kept > 0 {
                    missing = missing.saturating_sub(kept);
                    let rows = filter_record_batch(&rows.0, &BooleanArray::from(keep));
                    found.push(UsageRows(rows.expect("one flag for each row")));
                }
            }
            if missing > 0 {
                return Err(damaged(&location, format!("{missing} rows that were there are gone")));
            }
        }
        Ok(found)
    }
}

fn batches(
    location: &Location,
    bytes: Bytes,
    schema: &SchemaRef,
) -> Result<parquet::arrow::arrow_reader::ParquetRecordBatchReader, TotalsError> {
    let failed = |error: parquet::errors::ParquetError| damaged(location, error.to_string());
    let options = ArrowReaderOptions::new().with_schema(schema.clone());
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(failed)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns().chain(["gap_until"]));
    builder.with_projection(mask).with_batch_size(65_536).build().map_err(failed)
}

fn damaged(location: &Location, detail: String) -> TotalsError {
    TotalsError::Ledger(ledger::LedgerError::corrupt(location, detail))
}
