//! An export as files: Parquet or CSV for each dataset, what their columns are, and a manifest, written
//! last.
//!
//! An export of a month is a whole one: it takes the place of what was there of that month. Other
//! months in the folder stay, as long as they have the same scope and granularity.
//!
//! Invariants: a file that the manifest names has its digest, or the manifest is not there; equal
//! exports of equal dates have equal bytes.

use super::export::Export;
use super::row::{Row, Value};
use crate::error::RatingError;
use crate::posted::{Numbered, Posted};
use crate::run::ENGINE_VERSION;
use arrow::array::{ArrayRef, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use ledger::Location;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use schemas::decimal::Amount;
use schemas::digest::Sha256Digest;
use schemas::focus::{Column, ColumnType, Dataset, Table, V1_4};
use schemas::time::BillingMonth;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The form of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    Parquet,
    Csv,
}

impl FileFormat {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }
}

/// Written last, so that an export that has one is whole.
pub(super) const MANIFEST: &str = "manifest.json";
/// What the columns are, as FOCUS asks it.
const METADATA: &str = "metadata.json";
/// Rows that are turned into bytes at once.
const ROWS_AT_ONCE: usize = 8192;

/// `manifest.json` of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub focus_version: String,
    pub schema: BTreeMap<String, String>,
    pub generator: String,
    pub operator: String,
    pub scope: String,
    /// `charge period` or `day`.
    pub granularity: String,
    /// A delivery of a month supersedes every earlier one of that month.
    pub delivery: String,
    /// `open` or `closed`, by billing period.
    pub billing_periods: BTreeMap<String, String>,
    pub files: Vec<FileEntry>,
    /// Σ `BilledCost`, by invoice.
    pub invoices: Vec<InvoiceEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub dataset: String,
    pub billing_period: String,
    /// Below the folder of the export.
    pub path: String,
    pub rows: u64,
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceEntry {
    pub invoice: String,
    pub billing_period: String,
    pub currency: String,
    pub billed_cost: String,
}

/// Writes what was posted in a month below a folder, and gives the manifest.
///
/// # Errors
/// A number that does not fit; when files cannot be written; when the folder holds an export of another
/// scope or granularity.
pub async fn write(
    export: &Export<'_>,
    posted: &[Posted<'_>],
    format: FileFormat,
    folder: &Location,
) -> Result<Manifest, RatingError> {
    let lines = export.lines(posted);
    let mut manifest = manifest(export);
    let before = read_manifest(folder).await?;
    if let Some(before) = before {
        manifest.keep_others_of(before, export.month, folder)?;
    }
    folder.join(MANIFEST).remove().await?;
    let mut sums = BTreeMap::new();
    for dataset in Dataset::ALL {
        let part = format!("{}/billing_period={}", dataset.as_str(), export.month);
        let (rows, bytes) = render(export, dataset, &lines, format, &mut sums)?;
        let partition = folder.join(&part);
        partition.remove_folder().await?;
        let name = format!("part-00001.{}", format.as_str());
        let sha256 = Sha256Digest::of(&bytes).to_string();
        partition.join(&name).replace(bytes.into()).await?;
        let billing_period = export.month.to_string();
        let path = format!("{part}/{name}");
        manifest.files.push(FileEntry {
            dataset: dataset.as_str().to_owned(),
            billing_period,
            path,
            rows,
            sha256,
        });
    }
    manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
    manifest.invoices.extend(sums.into_iter().map(|((invoice, currency), sum)| InvoiceEntry {
        invoice,
        billing_period: export.month.to_string(),
        currency,
        billed_cost: sum.to_string(),
    }));
    manifest.invoices.sort_by(|a, b| a.invoice.cmp(&b.invoice));
    folder.join(METADATA).replace(pretty(&metadata(export)).into()).await?;
    folder.join(MANIFEST).replace(pretty(&manifest).into()).await?;
    Ok(manifest)
}

/// Σ `BilledCost` by invoice and currency.
type Sums = BTreeMap<(String, String), Amount>;

/// The rows of a dataset as the bytes of a file, and how many they are.
fn render(
    export: &Export<'_>,
    dataset: Dataset,
    lines: &[Numbered<'_>],
    format: FileFormat,
    sums: &mut Sums,
) -> Result<(u64, Vec<u8>), RatingError> {
    let table = V1_4.table(dataset);
    let mut file = match format {
        FileFormat::Parquet => Sink::Parquet(Box::new(parquet_writer(table, export))),
        FileFormat::Csv => Sink::Csv(Box::new(csv_writer(table))),
    };
    let mut count = 0u64;
    // Issuers are those of all lines.
    let chunks = if dataset == Dataset::BillingPeriod { lines.len().max(1) } else { ROWS_AT_ONCE };
    let nothing: &[Numbered<'_>] = &[];
    let chunks = if lines.is_empty() { vec![nothing] } else { lines.chunks(chunks).collect() };
    for chunk in chunks {
        let rows = export.rows(dataset, chunk)?;
        if dataset == Dataset::CostAndUsage {
            rows.iter().try_for_each(|row| add(sums, row))?;
        }
        file.write(table, &rows);
        count += rows.len() as u64;
    }
    Ok((count, file.finish()))
}

fn add(sums: &mut Sums, row: &Row) -> Result<(), RatingError> {
    let of = |column| row.text(column).expect("every row has an invoice and a currency").to_owned();
    let cost = row.decimal("BilledCost").expect("every row has a cost");
    let sum = sums.entry((of("InvoiceId"), of("BillingCurrency"))).or_insert(Amount::ZERO);
    *sum = sum.checked_add(cost).map_err(RatingError::overflow("a statement"))?;
    Ok(())
}

/// What rows are written to.
enum Sink {
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Csv(Box<csv::Writer<Vec<u8>>>),
}

impl Sink {
    fn write(&mut self, table: &Table, rows: &[Row]) {
        match self {
            Self::Parquet(writer) => {
                writer.write(&batch(table, rows)).expect("writing to memory cannot fail");
            }
            Self::Csv(writer) => {
                for row in rows {
                    let cells = table.all().map(|column| row.get(column.name).map_or_else(String::new, cell));
                    writer.write_record(cells).expect("writing to memory cannot fail");
                }
            }
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Parquet(writer) => writer.into_inner().expect("writing to memory cannot fail"),
            Self::Csv(writer) => writer.into_inner().expect("writing to memory cannot fail"),
        }
    }
}

fn parquet_writer(table: &Table, export: &Export<'_>) -> ArrowWriter<Vec<u8>> {
    let said = [
        ("FocusVersion", V1_4.number.to_owned()),
        ("FocusDatasetId", table.dataset.as_str().to_owned()),
        ("SchemaId", schema_id(table)),
        ("DataGenerator", export.catalog.name.clone()),
    ];
    let said = said.map(|(key, value)| KeyValue::new(key.to_owned(), value));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).expect("3 is a zstd level")))
        .set_created_by(format!("atcost {ENGINE_VERSION}"))
        .set_key_value_metadata(Some(said.into()))
        .build();
    let schema = schema(table);
    ArrowWriter::try_new(Vec::new(), schema, Some(properties)).expect("every column type is writable")
}

fn csv_writer(table: &Table) -> csv::Writer<Vec<u8>> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    writer.write_record(table.all().map(|column| column.name)).expect("writing to memory cannot fail");
    writer
}

/// A cell of CSV. What a spreadsheet would take for a formula in a text gets an apostrophe before it;
/// numbers stay numbers.
fn cell(value: &Value) -> String {
    match value {
        Value::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        other => other.to_string(),
    }
}

fn schema(table: &Table) -> SchemaRef {
    let field = |column: &Column| {
        let data_type = match column.column_type {
            ColumnType::Decimal => DataType::Decimal128(38, 18),
            ColumnType::DateTime => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ColumnType::Text
            | ColumnType::Currency
            | ColumnType::Unit
            | ColumnType::KeyValue
            | ColumnType::Object => DataType::Utf8,
        };
        Field::new(column.name, data_type, column.nullable)
    };
    Arc::new(Schema::new(table.all().map(field).collect::<Vec<_>>()))
}

/// # Panics
/// Where a row has a value for no column, or of another type.
fn batch(table: &Table, rows: &[Row]) -> RecordBatch {
    for row in rows {
        let unknown = row.columns().find(|name| table.column(name).is_none());
        assert_eq!(unknown, None, "a column of {}", table.dataset.as_str());
    }
    let wrong = |column: &Column| -> ! { panic!("{} is not {:?}", column.name, column.column_type) };
    let array = |column: &'static Column| -> ArrayRef {
        let values = rows.iter().map(|row| row.get(column.name));
        match column.column_type {
            ColumnType::Decimal => {
                let units = values.map(|value| match value {
                    None => None,
                    Some(Value::Decimal(amount)) => Some(amount.units()),
                    Some(_) => wrong(column),
                });
                let units = units.collect::<Decimal128Array>().with_precision_and_scale(38, 18);
                Arc::new(units.expect("38 digits, 18 of them after the point, are a decimal type"))
            }
            ColumnType::DateTime => {
                let micros = values.map(|value| match value {
                    None => None,
                    Some(Value::Instant(instant)) => Some(instant.micros()),
                    Some(_) => wrong(column),
                });
                Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            ColumnType::Text
            | ColumnType::Currency
            | ColumnType::Unit
            | ColumnType::KeyValue
            | ColumnType::Object => {
                let texts = values.map(|value| match value {
                    None => None,
                    Some(Value::Text(text)) => Some(text.as_str()),
                    Some(_) => wrong(column),
                });
                Arc::new(texts.collect::<StringArray>())
            }
        }
    };
    let arrays = table.all().map(array).collect();
    RecordBatch::try_new(schema(table), arrays).expect("every column that must have a value has one")
}

/// The same for the same columns, in the form of a UUID.
fn schema_id(table: &Table) -> String {
    let columns = table.all().map(|column| format!("{} {}", column.name, column.column_type.word()));
    let text = format!(
        "FOCUS {} {}\n{}",
        V1_4.number,
        table.dataset.as_str(),
        columns.collect::<Vec<_>>().join("\n")
    );
    let digest = Sha256Digest::of(text.as_bytes()).to_string();
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)].map(|(from, to)| &digest[from..to]);
    parts.join("-")
}

/// The metadata that FOCUS asks for, which tells what the columns are without the data.
fn metadata(export: &Export<'_>) -> serde_json::Value {
    let dated = export.closed.unwrap_or(export.now).to_string();
    let instance = |table: &Table| {
        let name = table.dataset.as_str();
        json!({ "DatasetInstanceId": name, "DatasetInstanceName": name, "FocusDatasetId": name })
    };
    let column = |column: &Column| {
        let mut said = json!({ "ColumnName": column.name, "DataType": column.column_type.word() });
        if column.column_type == ColumnType::Decimal {
            said["NumericPrecision"] = json!(38);
            said["NumberScale"] = json!(18);
        }
        if !column.meaning.is_empty() {
            said["Description"] = json!(column.meaning);
        }
        said
    };
    let schema = |table: &Table| {
        json!({
            "SchemaId": schema_id(table),
            "FocusVersion": V1_4.number,
            "DatasetInstanceId": table.dataset.as_str(),
            "CreationDate": dated,
            "DataGeneratorVersion": ENGINE_VERSION,
            "ColumnDefinition": table.all().map(column).collect::<Vec<_>>(),
        })
    };
    json!({
        "DataGenerator": { "DataGenerator": export.catalog.name },
        "DatasetInstance": V1_4.tables.each_ref().map(instance),
        "Schema": V1_4.tables.each_ref().map(schema),
    })
}

fn manifest(export: &Export<'_>) -> Manifest {
    let status = if export.closed.is_some() { "closed" } else { "open" };
    let granularity = if export.days.is_some() { "day" } else { "charge period" };
    let schemas = V1_4.tables.each_ref().map(|table| (table.dataset.as_str().to_owned(), schema_id(table)));
    Manifest {
        focus_version: V1_4.number.to_owned(),
        schema: schemas.into(),
        generator: format!("atcost {ENGINE_VERSION}"),
        operator: export.catalog.operator.clone(),
        scope: export.scope.to_string(),
        granularity: granularity.to_owned(),
        delivery: "overwrite".to_owned(),
        billing_periods: [(export.month.to_string(), status.to_owned())].into(),
        files: Vec::new(),
        invoices: Vec::new(),
    }
}

impl Manifest {
    /// Keeps what an earlier export says of other months.
    fn keep_others_of(
        &mut self,
        before: Self,
        month: BillingMonth,
        folder: &Location,
    ) -> Result<(), RatingError> {
        let is_other = |period: &str| period != month.to_string();
        let others = before.files.iter().any(|file| is_other(&file.billing_period));
        let [kind, known] = [&*self, &before].map(|it| (&it.focus_version, &it.scope, &it.granularity));
        if others && kind != known {
            let (said, there) = (format!("{} by {}", kind.1, kind.2), format!("{} by {}", known.1, known.2));
            let detail = format!(
                "it holds other months of the scope {there}, and this is {said}; export into another folder"
            );
            return Err(RatingError::file(folder, "exporting", &detail));
        }
        for (period, status) in before.billing_periods {
            self.billing_periods.entry(period).or_insert(status);
        }
        self.files.extend(before.files.into_iter().filter(|file| is_other(&file.billing_period)));
        self.invoices.extend(before.invoices.into_iter().filter(|entry| is_other(&entry.billing_period)));
        Ok(())
    }
}

/// The manifest of a folder, if it has one.
pub(super) async fn read_manifest(folder: &Location) -> Result<Option<Manifest>, RatingError> {
    let location = folder.join(MANIFEST);
    let Some(bytes) = location.read().await? else { return Ok(None) };
    let failed = |error: serde_json::Error| {
        let detail = format!("it is not the manifest of an export ({error}); export into another folder");
        RatingError::file(&location, "reading the manifest", &detail)
    };
    serde_json::from_slice(&bytes).map(Some).map_err(failed)
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("it is always JSON");
    text.push(b'\n');
    text
}
