//! The engine that the plans run on: its settings, the tables that it scans, counts that it gives.
//!
//! The only room that reads the ledger's pinned files, and that writes what plans scan beside them.
//! It deliberately does not know which of their rows count.
//!
//! Invariant: no row is read before the SHA-256 of its file was compared with the log.

use super::dimension::Dimension;
use super::event_key::EventKey;
use super::memory::Memory;
use crate::error::RatingError;
use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::logical_expr::{EmptyRelation, LogicalPlan, ScalarUDF};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt as _;
use ledger::Location;
use ledger::pinned::PinnedFiles;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The memory that an operator needs to get on at a good pace.
const MEMORY_OF_A_PARTITION: usize = 64 << 20;
/// The memory that a join takes for a row of the side that it keeps, whose columns are a few numbers.
const MEMORY_OF_A_JOINED_ROW: u64 = 64;
/// A file of what plans scan is held in memory until it is as large.
const FILE_BYTES: usize = 16 << 20;

/// SQL: ledger order. Within a shard it is (`batch`, `row`); between shards it is the time they
/// received a batch, which never decreases within one.
const ORDER_OF_ONE: &str = r#"batch, "row""#;
const ORDER_OF_MANY: &str = r#"received_at, shard, batch, "row""#;

/// SQL: the number of the shard of a row, under an order of the rows.
pub(super) fn shard_column(order: &str) -> &'static str {
    if order == ORDER_OF_ONE { "0" } else { "shard" }
}

/// SQL: the columns that say which row one is.
pub(super) fn place(order: &str) -> &'static str {
    if order == ORDER_OF_ONE { ORDER_OF_ONE } else { r#"shard, batch, "row""# }
}

/// A context with the settings that the plans rely on and with our functions, which any executor of
/// them must have by these names.
pub(super) fn context(memory: usize) -> Result<SessionContext, RatingError> {
    let mut config = SessionConfig::new().with_information_schema(false);
    let partitions = config.target_partitions().min(memory / MEMORY_OF_A_PARTITION).max(1);
    config = config.with_target_partitions(partitions);
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config.options_mut().execution.collect_statistics = false;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    // The few of a join are kept whole, and the many pass them as they are read.
    config.options_mut().optimizer.repartition_joins = false;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(Memory::new(memory)))
        .with_disk_manager_builder(DiskManagerBuilder::default())
        .build_arc()?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    context.register_udf(ScalarUDF::from(Dimension::new()));
    context.register_udf(ScalarUDF::from(EventKey::new()));
    Ok(context)
}

/// The same tables in an engine with other settings.
pub(super) fn with_settings(context: &SessionContext, config: SessionConfig) -> SessionContext {
    // The catalog with the tables is there; another would take its place.
    let config = config.with_create_default_catalog_and_schema(false);
    SessionContext::new_with_state(
        SessionStateBuilder::new_from_existing(context.state()).with_config(config).build(),
    )
}

/// An engine, and where it keeps what it scans beside the ledger.
pub(super) struct Scratch<'a> {
    pub context: &'a SessionContext,
    pub inputs: &'a Location,
    /// SQL: ledger order.
    pub order: &'static str,
    /// The tables that were given a name.
    pub named: &'a AtomicU64,
}

impl Scratch<'_> {
    /// A name for a table that no other has had, because an engine remembers what a file was like.
    pub fn name(&self, kind: &str) -> String {
        format!("{kind}_{}", self.named.fetch_add(1, Ordering::Relaxed))
    }
}

/// Whether the rows that a join keeps fit into memory.
pub(super) fn fits(memory: usize, few: u64) -> bool {
    few.saturating_mul(MEMORY_OF_A_JOINED_ROW) <= u64::try_from(memory / 4).unwrap_or(u64::MAX)
}

/// The engine for joins that keep as many rows as `few`: one that sorts both sides, and can spill
/// them, where those would not fit.
pub(super) fn joining(context: &SessionContext, memory: usize, few: u64) -> SessionContext {
    if fits(memory, few) {
        return context.clone();
    }
    let mut config = context.copied_config();
    // Sides are sorted only where there are partitions to sort them in.
    config = config.clone().with_target_partitions(config.target_partitions().max(2));
    config.options_mut().optimizer.repartition_joins = true;
    config.options_mut().optimizer.prefer_hash_join = false;
    with_settings(context, config)
}

/// The engine for queries that want few rows of a file: of the others only the columns are read that
/// tell them apart.
pub(super) fn picking(context: &SessionContext) -> SessionContext {
    let mut config = context.copied_config();
    config.options_mut().execution.parquet.pushdown_filters = true;
    with_settings(context, config)
}

/// Registers the table `ledger`, and `narrow` with the same rows, after every file's digest was
/// compared; gives where the files of each shard are.
///
/// Texts are views in `narrow`: those of a dictionary are not copied for every row.
pub(super) async fn register_ledger(
    context: &SessionContext,
    files: &PinnedFiles,
) -> Result<Vec<Vec<Location>>, RatingError> {
    let shards = files.verified().await?;
    let schema = ledger::row::arrow_schema(ledger::row::COLUMNS);
    for (name, schema) in [("ledger", schema.clone()), ("narrow", with_texts(&schema, &DataType::Utf8View))] {
        match shards.as_slice() {
            [one] => register_files(context, name, one, schema)?,
            shards => register_shards(context, name, shards, &schema).await?,
        }
    }
    Ok(shards)
}

/// Registers the rows of some files of each shard as one table, with the number of the shard beside
/// them.
pub(super) async fn register_rows(
    context: &SessionContext,
    table: &str,
    shards: &[Vec<Location>],
) -> Result<(), RatingError> {
    register_shards(context, table, shards, &ledger::row::arrow_schema(ledger::row::COLUMNS)).await
}

/// Likewise, with texts as views.
pub(super) async fn register_narrow(
    context: &SessionContext,
    table: &str,
    shards: &[Vec<Location>],
) -> Result<(), RatingError> {
    let schema = with_texts(&ledger::row::arrow_schema(ledger::row::COLUMNS), &DataType::Utf8View);
    register_shards(context, table, shards, &schema).await
}

/// Registers files whose texts are few.
pub(super) fn register_texts(
    context: &SessionContext,
    name: &str,
    files: &[Location],
    schema: &SchemaRef,
) -> Result<(), RatingError> {
    register_files(context, name, files, schema.clone())
}

/// SQL: an instant, as columns of the ledger have it.
pub(super) fn instant(micros: i64) -> String {
    format!(r#"arrow_cast({micros}, 'Timestamp(Microsecond, Some("UTC"))')"#)
}

/// The order of a ledger's rows, by how many shards it has.
pub(super) fn order_of(shards: usize) -> &'static str {
    if shards == 1 { ORDER_OF_ONE } else { ORDER_OF_MANY }
}

/// A schema with all its texts of one type.
fn with_texts(schema: &SchemaRef, texts: &DataType) -> SchemaRef {
    let field = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 | DataType::Utf8View => field.as_ref().clone().with_data_type(texts.clone()),
        _ => field.as_ref().clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// Writes what a query gives to files in `inputs` and registers them as a table, because plans scan
/// files, each like any other that is pinned. Gives the number of rows.
pub(super) async fn keep(
    context: &SessionContext,
    name: &str,
    inputs: &Location,
    rows: DataFrame,
) -> Result<u64, RatingError> {
    let schema = with_texts(&Arc::new(rows.schema().as_arrow().clone()), &DataType::Utf8);
    let rows = rows.execute_stream().await?;
    let (files, count) = write(name, inputs, rows).await?;
    register_files(context, name, &files, schema)?;
    Ok(count)
}

/// Writes texts as a table with one column for plans; gives its name.
pub(super) async fn keep_texts<'t>(
    context: &SessionContext,
    name: String,
    inputs: &Location,
    column: &str,
    texts: impl Iterator<Item = &'t str>,
) -> Result<String, RatingError> {
    let schema = Arc::new(Schema::new(vec![Field::new(column, DataType::Utf8, false)]));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let rows = RecordBatch::try_new(schema, vec![texts]).expect("the array matches the schema");
    keep_batch(context, &name, inputs, &rows).await?;
    Ok(name)
}

/// Writes rows as a table for plans.
pub(super) async fn keep_batch(
    context: &SessionContext,
    name: &str,
    inputs: &Location,
    rows: &RecordBatch,
) -> Result<(), RatingError> {
    let mut files = Vec::new();
    if rows.num_rows() > 0 {
        let mut file = KeptFile::new(&rows.schema())?;
        file.write(rows)?;
        files.push(file.close(name, inputs, 0).await?);
    }
    register_files(context, name, &files, rows.schema())
}

async fn write(
    name: &str,
    inputs: &Location,
    mut rows: SendableRecordBatchStream,
) -> Result<(Vec<Location>, u64), RatingError> {
    let (mut files, mut count) = (Vec::new(), 0_u64);
    let mut open: Option<KeptFile> = None;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        count += batch.num_rows() as u64;
        let mut file = match open.take() {
            Some(file) => file,
            None => KeptFile::new(&batch.schema())?,
        };
        file.write(&batch)?;
        if file.0.in_progress_size() + file.0.bytes_written() < FILE_BYTES {
            open = Some(file);
        } else {
            files.push(file.close(name, inputs, files.len()).await?);
        }
    }
    if let Some(file) = open {
        files.push(file.close(name, inputs, files.len()).await?);
    }
    Ok((files, count))
}

/// A file of a table for plans.
struct KeptFile(ArrowWriter<Vec<u8>>);

impl KeptFile {
    fn new(schema: &SchemaRef) -> Result<Self, RatingError> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        // A reader then takes the types that the table names.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options);
        Ok(Self(writer.map_err(DataFusionError::from)?))
    }

    fn write(&mut self, rows: &RecordBatch) -> Result<(), RatingError> {
        Ok(self.0.write(rows).map_err(DataFusionError::from)?)
    }

    async fn close(self, name: &str, inputs: &Location, number: usize) -> Result<Location, RatingError> {
        let file = inputs.join(&format!("{name}-{number}.parquet"));
        let bytes = self.0.into_inner().map_err(DataFusionError::from)?;
        file.replace(bytes.into()).await?;
        Ok(file)
    }
}

/// Makes the rows of several shards one table, with the number of the shard beside them.
async fn register_shards(
    context: &SessionContext,
    table: &str,
    shards: &[Vec<Location>],
    schema: &SchemaRef,
) -> Result<(), RatingError> {
    let mut parts = Vec::new();
    for (number, files) in shards.iter().enumerate() {
        let name = format!("{table}_{number}");
        register_files(context, &name, files, schema.clone())?;
        parts.push(format!("SELECT *, {number} AS shard FROM {name}"));
    }
    let all = context.sql(&parts.join(" UNION ALL ")).await?;
    context.register_table(table, all.into_view())?;
    Ok(())
}

/// Registers a table that reads exactly these files. No file is an empty table.
fn register_files(
    context: &SessionContext,
    name: &str,
    files: &[Location],
    schema: SchemaRef,
) -> Result<(), RatingError> {
    context.deregister_table(name)?;
    if files.is_empty() {
        // A plan that says so itself can be sent to any executor; a table in memory cannot.
        let empty = EmptyRelation { produce_one_row: false, schema: Arc::new(DFSchema::try_from(schema)?) };
        let rows = DataFrame::new(context.state(), LogicalPlan::EmptyRelation(empty));
        context.register_table(name, rows.into_view())?;
        return Ok(());
    }
    let mut urls = Vec::with_capacity(files.len());
    for file in files {
        let url = file.object_url()?;
        // A disk is read as any DataFusion engine reads it.
        if file.disk_path().is_none() {
            context.register_object_store(&url, file.objects().clone());
        }
        urls.push(ListingTableUrl::parse(url)?);
    }
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let config =
        ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(schema);
    context.register_table(name, Arc::new(ListingTable::try_new(config)?))?;
    Ok(())
}

/// The counts in the one row that a query gives.
pub(super) async fn counts<const N: usize>(
    context: &SessionContext,
    sql: &str,
) -> Result<[u64; N], RatingError> {
    let no_count = || RatingError::Damaged(format!("a count gave no number: {sql}"));
    let batches = context.sql(sql).await?.collect().await?;
    let row = batches
        .iter()
        .find(|batch| batch.num_rows() == 1 && batch.num_columns() == N)
        .ok_or_else(no_count)?;
    let mut values = [0; N];
    for (value, column) in values.iter_mut().zip(row.columns()) {
        *value = u64::try_from(column.as_primitive::<Int64Type>().value(0)).map_err(|_| no_count())?;
    }
    Ok(values)
}

/// The first column of what a query gives, as numbers; those that are missing are left out.
pub(super) async fn numbers(context: &SessionContext, sql: &str) -> Result<Vec<i64>, RatingError> {
    let mut numbers = Vec::new();
    for batch in context.sql(sql).await?.collect().await? {
        numbers.extend(batch.column(0).as_primitive::<Int64Type>().iter().flatten());
    }
    Ok(numbers)
}

/// The first column of what a query gives, as texts.
pub(super) async fn texts(context: &SessionContext, sql: &str) -> Result<Vec<String>, RatingError> {
    let mut texts = Vec::new();
    for batch in context.sql(sql).await?.collect().await? {
        texts.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(texts)
}
