//! The engine that the plans run on: its settings, the tables that it scans, counts that it gives.
//!
//! The only room that reads the ledger's pinned files. It deliberately does not know which of their
//! rows count.
//!
//! Invariant: no row is read before the SHA-256 of its file was compared with the log.

use super::dimension::Dimension;
use crate::catalog::{Binding, Catalog};
use crate::error::RatingError;
use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan, ScalarUDF};
use datafusion::prelude::{SessionConfig, SessionContext};
use ledger::Location;
use ledger::pinned::PinnedFiles;
use parquet::arrow::ArrowWriter;
use schemas::time::Instant;
use std::sync::Arc;

/// Memory the plans may take before they spill to disk.
const MEMORY_LIMIT_BYTES: usize = 512 << 20;

/// SQL: ledger order. Within a shard it is (`batch`, `row`); between shards it is the time they
/// received a batch, which never decreases within one.
const ORDER_OF_ONE: &str = r#"batch, "row""#;
const ORDER_OF_MANY: &str = r#"received_at, shard, batch, "row""#;

/// SQL: the number of the shard of a row, under an order of the rows.
pub(super) fn shard_column(order: &str) -> &'static str {
    if order == ORDER_OF_ONE { "0" } else { "shard" }
}

/// A context with the settings that the plans rely on, and `dimension` registered.
pub(super) fn context() -> Result<SessionContext, RatingError> {
    let mut config = SessionConfig::new().with_information_schema(false);
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config.options_mut().execution.collect_statistics = false;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_LIMIT_BYTES)))
        .with_disk_manager_builder(DiskManagerBuilder::default())
        .build_arc()?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    context.register_udf(ScalarUDF::from(Dimension::new()));
    Ok(context)
}

/// Registers the table `ledger`, after every file's digest was compared; gives its order.
pub(super) async fn register_ledger(
    context: &SessionContext,
    files: &PinnedFiles,
) -> Result<&'static str, RatingError> {
    let shards = files.verified().await?;
    let schema = ledger::row::arrow_schema(ledger::row::COLUMNS);
    match shards.as_slice() {
        [one] => {
            register_files(context, "ledger", one, schema)?;
            Ok(ORDER_OF_ONE)
        }
        shards => {
            register_shards(context, shards, &schema).await?;
            Ok(ORDER_OF_MANY)
        }
    }
}

/// Registers the table `bindings`. `inputs` is the folder that it is written to, because plans scan
/// it like any other pinned file.
pub(super) async fn register_bindings(
    context: &SessionContext,
    catalog: &Catalog,
    inputs: &Location,
) -> Result<(), RatingError> {
    let bindings = inputs.join("bindings.parquet");
    bindings.replace(bindings_file(catalog).into()).await?;
    register_files(context, "bindings", &[bindings], binding_schema())
}

fn binding_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("subject", DataType::Utf8, false),
        Field::new("customer", DataType::Utf8, false),
        Field::new("from_micros", DataType::Int64, false),
        Field::new("until_micros", DataType::Int64, false),
    ]))
}

fn bindings_file(catalog: &Catalog) -> Vec<u8> {
    const MEMORY: &str = "writing to memory cannot fail";
    let bindings: Vec<&Binding> = catalog.bindings.iter().collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(bindings.iter().map(|binding| binding.subject.as_str()))),
        Arc::new(StringArray::from_iter_values(bindings.iter().map(|binding| binding.customer.as_str()))),
        Arc::new(Int64Array::from_iter_values(bindings.iter().map(|binding| binding.from.micros()))),
        Arc::new(Int64Array::from_iter_values(
            bindings.iter().map(|binding| binding.until.map_or(i64::MAX, Instant::micros)),
        )),
    ];
    let rows =
        RecordBatch::try_new(binding_schema(), columns).expect("the arrays match the schema one by one");
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, binding_schema(), None).expect(MEMORY);
    writer.write(&rows).expect(MEMORY);
    writer.close().expect(MEMORY);
    file
}

/// Makes the rows of several shards one table, with the number of the shard beside them.
async fn register_shards(
    context: &SessionContext,
    shards: &[Vec<Location>],
    schema: &SchemaRef,
) -> Result<(), RatingError> {
    let mut parts = Vec::new();
    for (number, files) in shards.iter().enumerate() {
        let name = format!("shard_{number}");
        register_files(context, &name, files, schema.clone())?;
        parts.push(format!("SELECT *, {number} AS shard FROM {name}"));
    }
    let all = context.sql(&parts.join(" UNION ALL ")).await?;
    context.register_table("ledger", all.into_view())?;
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

/// The first column of what a query gives, as texts.
pub(super) async fn texts(context: &SessionContext, sql: &str) -> Result<Vec<String>, RatingError> {
    let mut texts = Vec::new();
    for batch in context.sql(sql).await?.collect().await? {
        texts.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(texts)
}
