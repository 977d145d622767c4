//! From ledger rows to usage totals: deduplicated, corrected, attributed, summed. All sums are SQL;
//! no price is known here.
//!
//! The plan is an ordinary DataFusion plan: scans of pinned Parquet files, built-in functions, and
//! [`dimension`](Dimension), which is registered by name. So the same plan can run on any executor
//! that registers it.
//!
//! Rules, each one SQL expression below:
//! - The first row of a (`source`, `id`) in ledger order counts; later ones are duplicates, or
//!   conflicts where the content differs.
//! - A correction takes its target out; of several corrections of one target the first counts, the
//!   others are conflicts.
//! - A row belongs to the customer whose binding of its subject contains the row's time, or to
//!   nobody.
//! - Time is cut at every instant where a period or a price begins or ends, so a total never
//!   straddles one.

use crate::catalog::{Binding, Catalog};
use crate::error::RatingError;
use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt as _;
use ledger::read::PinnedFiles;
use parquet::arrow::ArrowWriter;
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, MeterType, ProviderId, Subject};
use schemas::time::{Instant, Period};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Memory the plans may take before they spill to disk.
const MEMORY_LIMIT_BYTES: usize = 512 << 20;

/// The sum of one kind of usage by one subject for one customer within one interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageTotal {
    pub provider: Option<ProviderId>,
    pub meter: MeterType,
    /// Values of the dimensions that the catalog matches on; a dimension the event lacks has no
    /// entry.
    pub dimensions: BTreeMap<String, String>,
    /// `None`: no binding of the subject contains the event's time.
    pub customer: Option<CustomerId>,
    pub subject: Subject,
    /// The interval between two cuts that holds every event of this total.
    pub interval: Period,
    /// In the meter's unit.
    pub quantity: QuantityTotal,
    pub events: u64,
}

/// What the ledger holds at a cut, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerCounts {
    pub received: u64,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    pub duplicates: u64,
    pub conflicts: u64,
}

/// The rows of one stream, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamCounts {
    /// As [`schemas::position::Origin`] is written.
    pub origin: String,
    pub partition: u32,
    pub origin_name: String,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    pub distinct_offsets: u64,
    pub last_offset: i64,
}

/// The pinned rows, ready to be queried.
pub struct Usage {
    context: SessionContext,
    corrected: bool,
    /// SQL: ledger order, and the two CTEs that rest on it.
    order: &'static str,
    ranked: String,
    corrections: String,
}

/// SQL: ledger order. Within a shard it is (`batch`, `row`); between shards it is the time they
/// received a batch, which never decreases within one.
const ORDER_OF_ONE: &str = r#"batch, "row""#;
const ORDER_OF_MANY: &str = r#"received_at, shard, batch, "row""#;

/// SQL: every usage row with its rank among the rows of its id.
fn ranked(order: &str) -> String {
    format!(
        r#"
ranked AS (
  SELECT *, ROW_NUMBER() OVER by_id AS nth, FIRST_VALUE(content_digest) OVER by_id AS first_digest
  FROM (SELECT {order}, origin, origin_name, "partition", "offset", source, id, "type", subject, CAST("time" AS BIGINT) AS micros, value, dimensions,
               provider, correction_action, correction_source, correction_id, content_digest
        FROM ledger WHERE kind = 'usage')
  WINDOW by_id AS (PARTITION BY source, id ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)"#
    )
}

/// SQL: where a record was, for people. `file:line` (the record's number where a file has no
/// lines), or `topic/partition@offset`.
const PLACE: &str = r#"CASE WHEN origin LIKE 'file/%' THEN origin_name || ':' || CAST("offset" + 1 AS VARCHAR)
ELSE origin_name || '/' || CAST("partition" AS VARCHAR) || '@' || CAST("offset" AS VARCHAR) END"#;

/// SQL: corrections with their rank among the corrections of one target.
fn corrections(order: &str) -> String {
    format!(
        r#"
corrections AS (
  SELECT source, id, correction_source, correction_id,
         ROW_NUMBER() OVER (PARTITION BY correction_source, correction_id ORDER BY {order}) AS nth
  FROM ranked WHERE nth = 1 AND correction_action IS NOT NULL
)"#
    )
}

impl Usage {
    /// Checks every file's digest and opens the rows.
    ///
    /// # Errors
    /// When a file differs from the log, or cannot be read.
    pub async fn open(files: &PinnedFiles) -> Result<Self, RatingError> {
        let paths = files.verified_paths()?;
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
        let schema = ledger::row::arrow_schema(ledger::row::COLUMNS);
        let order = match paths.as_slice() {
            [one] => {
                register_files(&context, "ledger", one, schema)?;
                ORDER_OF_ONE
            }
            shards => {
                register_shards(&context, shards, &schema).await?;
                ORDER_OF_MANY
            }
        };
        let [corrections] =
            counts(&context, "SELECT COUNT(*) FROM ledger WHERE correction_action IS NOT NULL").await?;
        Ok(Self {
            context,
            corrected: corrections > 0,
            order,
            ranked: ranked(order),
            corrections: self::corrections(order),
        })
    }

    /// Counts every row by kind, and usage rows that are not the first of their id.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn counts(&self) -> Result<LedgerCounts, RatingError> {
        let kinds = "COUNT(*) FILTER (WHERE kind <> 'gap'), COUNT(*) FILTER (WHERE kind = 'usage'), COUNT(*) FILTER (WHERE kind = 'rejected'), COUNT(*) FILTER (WHERE kind = 'gap')";
        let [received, usage, rejected, gaps] =
            self::counts(&self.context, &format!("SELECT {kinds} FROM ledger")).await?;
        let repeats = "COUNT(*) FILTER (WHERE content_digest = first_digest), COUNT(*) FILTER (WHERE content_digest <> first_digest)";
        let [duplicates, conflicts] = self::counts(
            &self.context,
            &format!("WITH {} SELECT {repeats} FROM ranked WHERE nth > 1", self.ranked),
        )
        .await?;
        let mut counts = LedgerCounts { received, usage, rejected, gaps, duplicates, conflicts };
        if self.corrected {
            let sql = format!(
                "WITH {}, {} SELECT COUNT(*) FROM corrections WHERE nth > 1",
                self.ranked, self.corrections
            );
            let [second_corrections] = self::counts(&self.context, &sql).await?;
            counts.conflicts += second_corrections;
        }
        if counts.received != counts.usage + counts.rejected {
            return Err(RatingError::broken(format!(
                "received {} is not usage {} + rejected {}",
                counts.received, counts.usage, counts.rejected
            )));
        }
        Ok(counts)
    }

    /// The rows that count, as the body of a CTE named `effective`, preceded by what it needs.
    fn effective(&self) -> String {
        let Self { ranked, corrections, .. } = self;
        if !self.corrected {
            return format!("{ranked}, effective AS (SELECT * FROM ranked WHERE nth = 1)");
        }
        // The few are on the left of each join, because that is the side it keeps in memory.
        format!(
            r#"{ranked}, {corrections}, in_force AS (SELECT * FROM corrections WHERE nth = 1), uncorrected AS (
  SELECT event.*
  FROM (SELECT correction_source AS target_source, correction_id AS target_id FROM in_force) AS target
  RIGHT JOIN (SELECT * FROM ranked WHERE nth = 1) AS event ON target.target_source = event.source AND target.target_id = event.id
  WHERE target.target_id IS NULL
), effective AS (
  SELECT event.*
  FROM (SELECT source AS winner_source, id AS winner_id FROM in_force) AS winner
  RIGHT JOIN uncorrected AS event ON winner.winner_source = event.source AND winner.winner_id = event.id
  WHERE event.correction_action IS NULL OR (event.correction_action = 'replace' AND winner.winner_id IS NOT NULL)
)"#
        )
    }

    /// Sums what counts, by provider, meter, matched dimensions, customer, subject and interval
    /// between `cuts`.
    ///
    /// `inputs` is a folder for the binding table, which the plan scans like any other pinned file.
    /// `cuts` are at least two; rows outside the first and last are not read.
    ///
    /// # Errors
    /// When rows cannot be read, or a sum does not fit.
    pub async fn totals(
        &self,
        catalog: &Catalog,
        cuts: &BTreeSet<Instant>,
        inputs: &Path,
    ) -> Result<Vec<UsageTotal>, RatingError> {
        let cuts: Vec<Instant> = cuts.iter().copied().collect();
        let (first, last) = match cuts.as_slice() {
            [first, .., last] => (*first, *last),
            _ => return Err(RatingError::broken("a rating needs at least one interval".to_owned())),
        };
        let bindings = inputs.join("bindings.parquet");
        write_bindings(catalog, &bindings)?;
        register_files(&self.context, "bindings", &[bindings], binding_schema())?;
        let names = matched_dimensions(catalog);
        let mut projected = String::new();
        let mut grouped = String::new();
        for (index, (name, meters)) in names.iter().enumerate() {
            let meters = meters.iter().map(|meter| literal(meter.as_str())).collect::<Vec<_>>().join(", ");
            projected.push_str(&format!(
                ", CASE WHEN \"type\" IN ({meters}) THEN dimension(dimensions, {}) END AS d{index}",
                literal(name)
            ));
            grouped.push_str(&format!(", d{index}"));
        }
        let sql = format!(
            r#"WITH {effective},
cut AS (
  SELECT source, id, provider, "type" AS meter, subject, micros, value, {slot} AS slot{projected}
  FROM effective WHERE micros >= {first} AND micros < {last}
),
attributed AS (
  SELECT cut.*, bindings.customer AS customer
  FROM bindings RIGHT JOIN cut
    ON cut.subject = bindings.subject AND cut.micros >= bindings.from_micros AND cut.micros < bindings.until_micros
)
SELECT provider, meter, customer, subject, slot, SUM(value) AS quantity, COUNT(*) AS events{grouped}
FROM attributed GROUP BY provider, meter, customer, subject, slot{grouped}"#,
            effective = self.effective(),
            slot = slot_expression(&cuts, 0, cuts.len() - 1),
            first = first.micros(),
            last = last.micros(),
        );
        let mut stream = self.context.sql(&sql).await?.execute_stream().await?;
        let mut totals = Vec::new();
        while let Some(batch) = stream.next().await {
            read_totals(&batch?, &names, &cuts, &mut totals)?;
        }
        totals.sort_by(|a, b| {
            (&a.provider, &a.meter, &a.dimensions, &a.customer, &a.subject, a.interval).cmp(&(
                &b.provider,
                &b.meter,
                &b.dimensions,
                &b.customer,
                &b.subject,
                b.interval,
            ))
        });
        Ok(totals)
    }

    /// The events behind a charge: those that count, of one meter, within a period and, where
    /// given, of one subject. Ordered by their coordinates.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn events(
        &self,
        catalog: &Catalog,
        meter: &MeterType,
        period: Period,
        subject: Option<&Subject>,
    ) -> Result<Vec<EventRow>, RatingError> {
        let subject = subject
            .map(|subject| format!(" AND subject = {}", literal(subject.as_str())))
            .unwrap_or_default();
        let sql = format!(
            r#"WITH {} SELECT {PLACE} AS place, source, id, subject, micros, value, dimensions, provider
FROM effective WHERE "type" = {} AND micros >= {} AND micros < {}{subject} ORDER BY {}"#,
            self.effective(),
            literal(meter.as_str()),
            period.start().micros(),
            period.end().micros(),
            self.order
        );
        let mut rows = Vec::new();
        for batch in self.context.sql(&sql).await?.collect().await? {
            read_events(&batch, catalog, &mut rows)?;
        }
        Ok(rows)
    }

    /// Rows by stream.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn streams(&self) -> Result<Vec<StreamCounts>, RatingError> {
        let sql = r#"SELECT origin, CAST("partition" AS BIGINT) AS number, MIN(origin_name), COUNT(*) FILTER (WHERE kind = 'usage'), COUNT(*) FILTER (WHERE kind = 'rejected'),
       COUNT(*) FILTER (WHERE kind = 'gap'), COUNT(DISTINCT "offset"), MAX("offset")
FROM ledger GROUP BY origin, "partition" ORDER BY MIN(batch), MIN(origin_name), origin, "partition""#;
        let mut streams = Vec::new();
        for batch in self.context.sql(sql).await?.collect().await? {
            let number =
                |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
            let count = |column: usize, row: usize| {
                u64::try_from(number(column, row)).map_err(|error| RatingError::broken(error.to_string()))
            };
            for row in 0..batch.num_rows() {
                streams.push(StreamCounts {
                    origin: batch.column(0).as_string::<i32>().value(row).to_owned(),
                    partition: u32::try_from(number(1, row))
                        .map_err(|error| RatingError::broken(error.to_string()))?,
                    origin_name: batch.column(2).as_string::<i32>().value(row).to_owned(),
                    usage: count(3, row)?,
                    rejected: count(4, row)?,
                    gaps: count(5, row)?,
                    distinct_offsets: count(6, row)?,
                    last_offset: number(7, row),
                });
            }
        }
        Ok(streams)
    }

    /// Refused records by reason.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn rejected_by_reason(&self) -> Result<BTreeMap<String, u64>, RatingError> {
        let mut reasons = BTreeMap::new();
        for batch in self
            .context
            .sql("SELECT reason, COUNT(*) FROM ledger WHERE kind = 'rejected' GROUP BY reason")
            .await?
            .collect()
            .await?
        {
            for row in 0..batch.num_rows() {
                let count = batch.column(1).as_primitive::<Int64Type>().value(row);
                let count = u64::try_from(count).map_err(|error| RatingError::broken(error.to_string()))?;
                reasons.insert(batch.column(0).as_string::<i32>().value(row).to_owned(), count);
            }
        }
        Ok(reasons)
    }

    /// Ids that came again with other content, as `source id`, in byte order; at most `limit`.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn conflicting_ids(&self, limit: usize) -> Result<Vec<String>, RatingError> {
        let sql = format!(
            "WITH {} SELECT DISTINCT source || ' ' || id AS name FROM ranked WHERE nth > 1 AND content_digest <> first_digest ORDER BY name LIMIT {limit}",
            self.ranked
        );
        self.texts(&sql).await
    }

    /// Where refused records were, in ledger order; at most `limit`.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn refused(&self, limit: usize) -> Result<Vec<String>, RatingError> {
        self.texts(&format!(
            "SELECT {PLACE} AS place FROM ledger WHERE kind = 'rejected' ORDER BY {} LIMIT {limit}",
            self.order
        ))
        .await
    }

    async fn texts(&self, sql: &str) -> Result<Vec<String>, RatingError> {
        let mut texts = Vec::new();
        for batch in self.context.sql(sql).await?.collect().await? {
            texts.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
        }
        Ok(texts)
    }
}

/// One event behind a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// `file:line`, or `topic/partition@offset`.
    pub place: String,
    pub source: String,
    pub id: String,
    pub subject: Subject,
    pub time: Instant,
    pub quantity: QuantityTotal,
    pub dimensions: BTreeMap<String, String>,
    pub provider: Option<ProviderId>,
    pub customer: Option<CustomerId>,
}

fn read_events(batch: &RecordBatch, catalog: &Catalog, rows: &mut Vec<EventRow>) -> Result<(), RatingError> {
    let broken = |error: &dyn std::fmt::Display| RatingError::broken(error.to_string());
    let text = |index: usize| batch.column(index).as_string::<i32>();
    let micros = batch.column(4).as_primitive::<Int64Type>();
    let quantities = batch.column(5).as_primitive::<Decimal128Type>();
    for row in 0..batch.num_rows() {
        let subject = Subject::new(text(3).value(row)).map_err(stored_name)?;
        let time = Instant::from_micros(micros.value(row)).map_err(|error| broken(&error))?;
        rows.push(EventRow {
            place: text(0).value(row).to_owned(),
            source: text(1).value(row).to_owned(),
            id: text(2).value(row).to_owned(),
            customer: catalog.customer_at(&subject, time).cloned(),
            subject,
            time,
            quantity: QuantityTotal::from_units(quantities.value(row)).map_err(|error| broken(&error))?,
            dimensions: serde_json::from_str(text(6).value(row)).map_err(|error| broken(&error))?,
            provider: optional(text(7), row).map(ProviderId::new).transpose().map_err(stored_name)?,
        });
    }
    Ok(())
}

fn read_totals(
    batch: &RecordBatch,
    names: &BTreeMap<String, BTreeSet<MeterType>>,
    cuts: &[Instant],
    totals: &mut Vec<UsageTotal>,
) -> Result<(), RatingError> {
    let text = |index: usize| batch.column(index).as_string::<i32>();
    let slots = batch.column(4).as_primitive::<Int64Type>();
    let quantities = batch.column(5).as_primitive::<Decimal128Type>();
    let events = batch.column(6).as_primitive::<Int64Type>();
    if *quantities.data_type() != DataType::Decimal128(38, 9) {
        return Err(RatingError::broken(format!(
            "a sum of quantities is DECIMAL(38,9), not {}",
            quantities.data_type()
        )));
    }
    for row in 0..batch.num_rows() {
        let slot =
            usize::try_from(slots.value(row)).map_err(|error| RatingError::broken(error.to_string()))?;
        let dimensions = names
            .keys()
            .enumerate()
            .filter_map(|(index, name)| Some((name.clone(), optional(text(7 + index), row)?.to_owned())))
            .collect();
        totals.push(UsageTotal {
            provider: optional(text(0), row).map(ProviderId::new).transpose().map_err(stored_name)?,
            meter: MeterType::new(text(1).value(row)).map_err(stored_name)?,
            dimensions,
            customer: optional(text(2), row).map(CustomerId::new).transpose().map_err(stored_name)?,
            subject: Subject::new(text(3).value(row)).map_err(stored_name)?,
            interval: Period::new(cuts[slot], cuts[slot + 1]).expect("cuts are distinct and ascending"),
            quantity: QuantityTotal::from_units(quantities.value(row))
                .map_err(|error| RatingError::broken(error.to_string()))?,
            events: u64::try_from(events.value(row))
                .map_err(|error| RatingError::broken(error.to_string()))?,
        });
    }
    Ok(())
}

fn stored_name(error: schemas::name::NameError) -> RatingError {
    RatingError::broken(format!("a stored name is not a name: {error}"))
}

fn optional(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// Which interval of `cuts[low..=high]` holds `micros`: a binary search written as SQL.
fn slot_expression(cuts: &[Instant], low: usize, high: usize) -> String {
    if high - low == 1 {
        return format!("CAST({low} AS BIGINT)");
    }
    let middle = low + (high - low) / 2;
    format!(
        "CASE WHEN micros < {} THEN {} ELSE {} END",
        cuts[middle].micros(),
        slot_expression(cuts, low, middle),
        slot_expression(cuts, middle, high)
    )
}

/// Every dimension some SKU matches on, and the meters for which.
fn matched_dimensions(catalog: &Catalog) -> BTreeMap<String, BTreeSet<MeterType>> {
    let mut names: BTreeMap<String, BTreeSet<MeterType>> = BTreeMap::new();
    for metered in
        catalog.providers.values().flat_map(|provider| &provider.skus).filter_map(|sku| sku.metered.as_ref())
    {
        for name in metered.matches.keys() {
            names.entry(name.clone()).or_default().insert(metered.meter.clone());
        }
    }
    names
}

/// A text as a SQL literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn binding_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("subject", DataType::Utf8, false),
        Field::new("customer", DataType::Utf8, false),
        Field::new("from_micros", DataType::Int64, false),
        Field::new("until_micros", DataType::Int64, false),
    ]))
}

fn write_bindings(catalog: &Catalog, path: &Path) -> Result<(), RatingError> {
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
    let file = std::fs::File::create(path)
        .map_err(|error| RatingError::file(path, "writing the bindings", &error))?;
    let mut writer = ArrowWriter::try_new(file, binding_schema(), None)
        .map_err(|error| RatingError::file(path, "writing the bindings", &error))?;
    writer.write(&rows).map_err(|error| RatingError::file(path, "writing the bindings", &error))?;
    writer.close().map_err(|error| RatingError::file(path, "writing the bindings", &error))?;
    Ok(())
}

/// Registers a table that reads exactly these files. No file is an empty table.
/// Makes the rows of several shards one table, with the number of the shard beside them.
async fn register_shards(
    context: &SessionContext,
    shards: &[Vec<std::path::PathBuf>],
    schema: &SchemaRef,
) -> Result<(), RatingError> {
    let mut parts = Vec::new();
    for (number, paths) in shards.iter().enumerate() {
        let name = format!("shard_{number}");
        register_files(context, &name, paths, schema.clone())?;
        parts.push(format!("SELECT *, {number} AS shard FROM {name}"));
    }
    let all = context.sql(&parts.join(" UNION ALL ")).await?;
    context.register_table("ledger", all.into_view())?;
    Ok(())
}

fn register_files(
    context: &SessionContext,
    name: &str,
    paths: &[std::path::PathBuf],
    schema: SchemaRef,
) -> Result<(), RatingError> {
    context.deregister_table(name)?;
    if paths.is_empty() {
        context.register_table(name, Arc::new(MemTable::try_new(schema, vec![vec![]])?))?;
        return Ok(());
    }
    let mut urls = Vec::with_capacity(paths.len());
    for path in paths {
        let absolute = std::path::absolute(path)
            .map_err(|error| RatingError::file(path, "resolving the path", &error))?;
        let url = url_of(&absolute)?;
        urls.push(ListingTableUrl::parse(url)?);
    }
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let config =
        ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(schema);
    context.register_table(name, Arc::new(ListingTable::try_new(config)?))?;
    Ok(())
}

fn url_of(path: &Path) -> Result<String, RatingError> {
    url::Url::from_file_path(path)
        .map(String::from)
        .map_err(|()| RatingError::broken(format!("{} cannot be written as a URL", path.display())))
}

/// The counts in the one row that a query gives.
async fn counts<const N: usize>(context: &SessionContext, sql: &str) -> Result<[u64; N], RatingError> {
    let no_count = || RatingError::broken(format!("a count gave no number: {sql}"));
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

/// SQL `dimension(dimensions, name)`: the value of a dimension in a row's JSON object, NULL where
/// it has none.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Dimension {
    signature: Signature,
}

impl Dimension {
    fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Dimension {
    fn name(&self) -> &'static str {
        "dimension"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> datafusion::common::Result<ColumnarValue> {
        let invalid = |detail: String| datafusion::common::DataFusionError::Execution(detail);
        let [objects, ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))] = arguments.args.as_slice()
        else {
            return Err(invalid("dimension(object, name) needs a literal name".to_owned()));
        };
        let objects = objects.to_array(arguments.number_rows)?;
        let mut values = StringBuilder::new();
        for object in objects.as_string::<i32>() {
            let Some(object) = object else {
                values.append_null();
                continue;
            };
            let dimensions: BTreeMap<String, String> = serde_json::from_str(object).map_err(|error| {
                invalid(format!("stored dimensions are not a JSON object of strings: {error}"))
            })?;
            values.append_option(dimensions.get(name));
        }
        Ok(ColumnarValue::Array(Arc::new(values.finish())))
    }
}
