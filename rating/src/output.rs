//! A run as files: four Parquet tables and a manifest, written last.
//!
//! The files are derived state: delete them, rate again with the same pins, and the same bytes come
//! back. Writing a run that is already there checks exactly that. Nothing in them depends on the
//! clock, the machine or the order in which events arrived.
//!
//! Types: amounts DECIMAL(38,18), quantities DECIMAL(38,9), instants TIMESTAMP in UTC microseconds;
//! a missing value is NULL.

use crate::allocation::RetainedReason;
use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::run::{CostLine, ENGINE_VERSION, Pins, Run};
use arrow::array::{
    ArrayRef, AsArray as _, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema, SchemaRef};
use ledger::read::{LedgerCut, Versions};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use schemas::decimal::{Amount, QuantityTotal};
use schemas::digest::Sha256Digest;
use schemas::id::{CustomerId, Subject};
use schemas::money::Currency;
use schemas::time::Instant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a run depended on, what it holds and what it adds up to. `manifest.json` in the run's
/// folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub run: String,
    pub period: String,
    pub ledger_version: Versions,
    pub ledger_digest: String,
    pub catalog: String,
    pub engine: String,
    pub received: u64,
    pub usage: u64,
    pub duplicates: u64,
    pub conflicts: u64,
    pub rejected: u64,
    pub gaps: u64,
    pub unrated_events: BTreeMap<String, u64>,
    /// Σ amount of the cost lines, by provider, in the provider's currency.
    pub cost_total: BTreeMap<String, String>,
    /// Σ settled of the cost lines, by provider, in the provider's currency.
    pub settled_total: BTreeMap<String, String>,
    /// Σ statement lines that are charged, by customer.
    pub customer_total: BTreeMap<String, Total>,
    /// Σ statement lines that the operator retains.
    pub retained_total: Total,
    pub tables: BTreeMap<String, TableEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    pub file: String,
    pub rows: u64,
    pub sha256: String,
}

/// A sum of money: one decimal, or, where several currencies meet, one decimal per currency.
/// Currencies are never added up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Total {
    One(String),
    ByCurrency(BTreeMap<String, String>),
}

impl Total {
    fn of(amounts: &BTreeMap<Currency, Amount>) -> Self {
        let mut values = amounts.values();
        match (values.next(), values.next()) {
            (None, _) => Self::One("0".to_owned()),
            (Some(only), None) => Self::One(only.to_string()),
            _ => Self::ByCurrency(
                amounts.iter().map(|(currency, amount)| (currency.to_string(), amount.to_string())).collect(),
            ),
        }
    }
}

impl fmt::Display for Total {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(amount) => formatter.write_str(amount),
            Self::ByCurrency(amounts) => {
                let amounts: Vec<String> =
                    amounts.iter().map(|(currency, amount)| format!("{amount} {currency}")).collect();
                formatter.write_str(&amounts.join(", "))
            }
        }
    }
}

impl Manifest {
    /// The pins, read back; `None` where one is not what this version writes.
    pub fn pins(&self) -> Option<Pins> {
        let month = schemas::time::BillingMonth::parse(&self.period)?;
        let ledger = LedgerCut {
            versions: self.ledger_version.clone(),
            digest: Sha256Digest::from_hex(&self.ledger_digest)?,
        };
        Some(Pins { month, ledger, catalog: Sha256Digest::from_hex(&self.catalog)? })
    }
}

/// The folder of a run below `runs`: `period=2025-10/run=ID`.
pub fn run_folder(runs: &Path, pins: &Pins) -> PathBuf {
    period_folder(runs, pins).join(format!("run={}", pins.run_id()))
}

fn period_folder(runs: &Path, pins: &Pins) -> PathBuf {
    runs.join(format!("period={}", pins.month))
}

/// A folder for what a run makes before it is finished, and its removal when it is not needed any
/// more.
pub struct Workspace {
    folder: PathBuf,
}

impl Workspace {
    /// Makes `runs/period=…/.run=ID.PROCESS`, which readers of `run=*` do not see.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn create(runs: &Path, pins: &Pins, process: u32) -> Result<Self, RatingError> {
        let folder = period_folder(runs, pins).join(format!(".run={}.{process}", pins.run_id()));
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .map_err(|error| RatingError::file(&folder, "removing an unfinished run", &error))?;
        }
        let inputs = folder.join("inputs");
        std::fs::create_dir_all(&inputs)
            .map_err(|error| RatingError::file(&inputs, "creating the folder", &error))?;
        Ok(Self { folder })
    }

    /// Where the run keeps what its plans scan beside the ledger.
    pub fn inputs(&self) -> PathBuf {
        self.folder.join("inputs")
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Only a hidden, unfinished folder can be left behind; the next run of the same pins
        // removes it.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Writes a run and gives its folder and manifest. A run that is there already must have the same
/// bytes.
///
/// # Errors
/// When files cannot be written, or the run that is there differs.
pub fn write(
    run: &Run,
    catalog: &Catalog,
    runs: &Path,
    workspace: &Workspace,
) -> Result<(PathBuf, Manifest), RatingError> {
    let staging = workspace.folder.join("run");
    std::fs::create_dir_all(&staging)
        .map_err(|error| RatingError::file(&staging, "creating the folder", &error))?;
    let mut tables = BTreeMap::new();
    for (name, columns) in [
        ("cost_lines", cost_lines(run, catalog)),
        ("charges", charges(run)),
        ("statement_lines", statement_lines(run)),
        ("unrated", unrated(run)),
    ] {
        let file = format!("{name}.parquet");
        let bytes = columns.to_parquet();
        std::fs::write(staging.join(&file), &bytes)
            .map_err(|error| RatingError::file(&staging.join(&file), "writing", &error))?;
        tables.insert(
            name.to_owned(),
            TableEntry { file, rows: columns.rows() as u64, sha256: Sha256Digest::of(&bytes).to_string() },
        );
    }
    let manifest = manifest(run, catalog, tables)?;
    let mut text = serde_json::to_string_pretty(&manifest).expect("a manifest is always JSON");
    text.push('\n');
    std::fs::write(staging.join("manifest.json"), text)
        .map_err(|error| RatingError::file(&staging, "writing the manifest", &error))?;

    let folder = run_folder(runs, &run.pins);
    if folder.join("manifest.json").exists() {
        let before = read_manifest(&folder)?;
        if before != manifest {
            return Err(RatingError::broken(format!(
                "{} was written from the same ledger, catalog and engine and differs; one of the two is wrong, nothing was overwritten",
                folder.display()
            )));
        }
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .map_err(|error| RatingError::file(&folder, "replacing the run", &error))?;
    }
    std::fs::rename(&staging, &folder)
        .map_err(|error| RatingError::file(&folder, "putting the run in its place", &error))?;
    Ok((folder, manifest))
}

/// Reads a run's manifest.
///
/// # Errors
/// When there is none, or it is not one.
pub fn read_manifest(folder: &Path) -> Result<Manifest, RatingError> {
    let path = folder.join("manifest.json");
    let bytes =
        std::fs::read(&path).map_err(|error| RatingError::file(&path, "reading the manifest", &error))?;
    serde_json::from_slice(&bytes).map_err(|error| RatingError::file(&path, "reading the manifest", &error))
}

/// The charge ids of a written run.
///
/// # Errors
/// When the table cannot be read.
pub fn charge_ids(folder: &Path) -> Result<Vec<String>, RatingError> {
    let path = folder.join("charges.parquet");
    let failed =
        |error: &dyn std::fmt::Display| RatingError::file(&path, "reading the charges", &error.to_string());
    let file = std::fs::File::open(&path).map_err(|error| failed(&error))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| failed(&error))?;
    let mut ids = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| failed(&error))?;
        let column =
            batch.column_by_name("charge_id").ok_or_else(|| failed(&"there is no column charge_id"))?;
        ids.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(ids)
}

fn manifest(
    run: &Run,
    catalog: &Catalog,
    tables: BTreeMap<String, TableEntry>,
) -> Result<Manifest, RatingError> {
    let mut unrated_events = BTreeMap::new();
    for unrated in &run.unrated {
        *unrated_events.entry(unrated.key.reason.as_str().to_owned()).or_insert(0) += unrated.events;
    }
    let mut by_customer: BTreeMap<CustomerId, BTreeMap<Currency, Amount>> =
        catalog.customers.keys().map(|id| (id.clone(), BTreeMap::new())).collect();
    for ((customer, currency), amount) in run.customer_totals()? {
        by_customer.entry(customer).or_default().insert(currency, amount);
    }
    let by_provider = |totals: BTreeMap<schemas::id::ProviderId, (Currency, Amount)>| {
        totals.into_iter().map(|(provider, (_, amount))| (provider.to_string(), amount.to_string())).collect()
    };
    Ok(Manifest {
        format: 1,
        run: run.pins.run_id(),
        period: run.pins.month.to_string(),
        ledger_version: run.pins.ledger.versions.clone(),
        ledger_digest: run.pins.ledger.digest.to_string(),
        catalog: run.pins.catalog.to_string(),
        engine: ENGINE_VERSION.to_owned(),
        received: run.counts.received,
        usage: run.counts.usage,
        duplicates: run.counts.duplicates,
        conflicts: run.counts.conflicts,
        rejected: run.counts.rejected,
        gaps: run.counts.gaps,
        unrated_events,
        cost_total: by_provider(run.cost_totals()?),
        settled_total: by_provider(run.settled_totals()?),
        customer_total: by_customer
            .iter()
            .map(|(customer, amounts)| (customer.to_string(), Total::of(amounts)))
            .collect(),
        retained_total: Total::of(&run.retained_totals()?),
        tables,
    })
}

fn cost_lines(run: &Run, catalog: &Catalog) -> Table {
    let lines: Vec<&CostLine> = run.cost_lines.iter().collect();
    let mut table = Table::default();
    table.text("cost_line_id", lines.iter().map(|line| Some(line.id.clone())));
    table.key_columns(&lines);
    table.text(
        "provider_name",
        lines
            .iter()
            .map(|line| catalog.providers.get(&line.key.provider).map(|provider| provider.name.clone())),
    );
    table.text(
        "sku_name",
        lines.iter().map(|line| {
            catalog
                .providers
                .get(&line.key.provider)
                .and_then(|provider| provider.skus.iter().find(|sku| sku.id == line.key.sku))
                .map(|sku| sku.name.clone())
        }),
    );
    table.instant("price_from", lines.iter().map(|line| line.key.price_from));
    table.text("price_model", lines.iter().map(|line| Some(line.model.to_owned())));
    table.text("rule", lines.iter().map(|line| Some(line.rule.as_str().to_owned())));
    table.quantity("quantity", lines.iter().map(|line| Some(line.quantity)));
    table.text("unit", lines.iter().map(|line| line.unit.clone()));
    table.amount("amount", lines.iter().map(|line| line.amount));
    table.amount(
        "settled",
        lines.iter().map(|line| line.settled.to_amount().expect("the run was checked for it")),
    );
    table.text("catalog", lines.iter().map(|_| Some(run.pins.catalog.to_string())));
    table
}

fn charges(run: &Run) -> Table {
    let lines: Vec<(&CostLine, _)> =
        run.cost_lines.iter().flat_map(|line| line.shares.iter().map(move |charge| (line, charge))).collect();
    let keys: Vec<&CostLine> = lines.iter().map(|(line, _)| *line).collect();
    let mut table = Table::default();
    table.text("charge_id", lines.iter().map(|(_, charge)| Some(charge.id.clone())));
    table.text("cost_line_id", lines.iter().map(|(line, _)| Some(line.id.clone())));
    table.key_columns(&keys);
    table.text(
        "customer",
        lines.iter().map(|(_, charge)| charge.customer.as_ref().map(CustomerId::to_string)),
    );
    table.text("subject", lines.iter().map(|(_, charge)| charge.subject.as_ref().map(Subject::to_string)));
    table.text("kind", lines.iter().map(|(_, charge)| Some(charge.kind.as_str().to_owned())));
    table.text(
        "retained_reason",
        lines
            .iter()
            .map(|(_, charge)| charge.kind.retained_reason().map(RetainedReason::as_str).map(str::to_owned)),
    );
    table.text("rule", lines.iter().map(|(line, _)| Some(line.rule.as_str().to_owned())));
    table.quantity("quantity", lines.iter().map(|(_, charge)| charge.quantity));
    table.text("unit", lines.iter().map(|(line, charge)| charge.quantity.and(line.unit.clone())));
    table.quantity("metered_quantity", lines.iter().map(|(_, charge)| charge.metered_quantity));
    table.amount("amount", lines.iter().map(|(_, charge)| charge.amount));
    table
}

fn statement_lines(run: &Run) -> Table {
    let lines: Vec<(&CostLine, _)> = run
        .cost_lines
        .iter()
        .flat_map(|line| line.statement.iter().map(move |statement| (line, statement)))
        .collect();
    let keys: Vec<&CostLine> = lines.iter().map(|(line, _)| *line).collect();
    let mut table = Table::default();
    table.text("statement_line_id", lines.iter().map(|(_, statement)| Some(statement.id.clone())));
    table.text("cost_line_id", lines.iter().map(|(line, _)| Some(line.id.clone())));
    table.key_columns(&keys);
    table.text(
        "customer",
        lines.iter().map(|(_, statement)| statement.customer.as_ref().map(CustomerId::to_string)),
    );
    table.text("kind", lines.iter().map(|(_, statement)| Some(statement.kind.as_str().to_owned())));
    table.text(
        "retained_reason",
        lines.iter().map(|(_, statement)| {
            statement.kind.retained_reason().map(RetainedReason::as_str).map(str::to_owned)
        }),
    );
    table.amount(
        "amount",
        lines.iter().map(|(_, statement)| statement.money.to_amount().expect("the run was checked for it")),
    );
    table
}

fn unrated(run: &Run) -> Table {
    let lines = &run.unrated;
    let mut table = Table::default();
    table.text("reason", lines.iter().map(|line| Some(line.key.reason.as_str().to_owned())));
    table.text(
        "provider",
        lines.iter().map(|line| line.key.provider.as_ref().map(schemas::id::ProviderId::to_string)),
    );
    table.text("meter", lines.iter().map(|line| Some(line.key.meter.to_string())));
    table.text("subject", lines.iter().map(|line| Some(line.key.subject.to_string())));
    table.quantity("quantity", lines.iter().map(|line| Some(line.quantity)));
    let events = lines.iter().map(|line| i64::try_from(line.events).expect("fewer than 2^63 events"));
    table.push(
        Field::new("events", arrow::datatypes::DataType::Int64, false),
        Arc::new(Int64Array::from_iter_values(events)),
    );
    table
}

/// Columns of one table, in the order they are added.
#[derive(Default)]
struct Table {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl Table {
    fn push(&mut self, field: Field, column: ArrayRef) {
        self.fields.push(field);
        self.columns.push(column);
    }

    /// provider, billing_account, sub_account, sku, charge_period_start, charge_period_end,
    /// currency.
    fn key_columns(&mut self, lines: &[&CostLine]) {
        self.text("provider", lines.iter().map(|line| Some(line.key.provider.to_string())));
        self.text("billing_account", lines.iter().map(|line| Some(line.key.billing_account.to_string())));
        self.text(
            "sub_account",
            lines.iter().map(|line| line.key.sub_account.as_ref().map(CustomerId::to_string)),
        );
        self.text("sku", lines.iter().map(|line| Some(line.key.sku.to_string())));
        self.instant("charge_period_start", lines.iter().map(|line| line.key.charge_period.start()));
        self.instant("charge_period_end", lines.iter().map(|line| line.key.charge_period.end()));
        self.text("currency", lines.iter().map(|line| Some(line.currency.to_string())));
    }

    fn text(&mut self, name: &str, values: impl Iterator<Item = Option<String>>) {
        let values: StringArray = values.collect();
        self.push(Field::new(name, arrow::datatypes::DataType::Utf8, true), Arc::new(values));
    }

    fn instant(&mut self, name: &str, values: impl Iterator<Item = Instant>) {
        let values =
            TimestampMicrosecondArray::from_iter_values(values.map(Instant::micros)).with_timezone("UTC");
        self.push(Field::new(name, ledger::row::ColumnType::Instant.arrow(), false), Arc::new(values));
    }

    fn amount(&mut self, name: &str, values: impl Iterator<Item = Amount>) {
        self.decimal(name, 18, values.map(|amount| Some(amount.units())));
    }

    fn quantity(&mut self, name: &str, values: impl Iterator<Item = Option<QuantityTotal>>) {
        self.decimal(name, 9, values.map(|quantity| quantity.map(QuantityTotal::units)));
    }

    fn decimal(&mut self, name: &str, scale: i8, values: impl Iterator<Item = Option<i128>>) {
        let values: Decimal128Array = values.collect();
        let values = values
            .with_precision_and_scale(38, scale)
            .expect("38 digits with that scale is a valid decimal type");
        self.push(
            Field::new(name, arrow::datatypes::DataType::Decimal128(38, scale), true),
            Arc::new(values),
        );
    }

    fn rows(&self) -> usize {
        self.columns.first().map_or(0, arrow::array::Array::len)
    }

    fn to_parquet(&self) -> Vec<u8> {
        let schema: SchemaRef = Arc::new(Schema::new(self.fields.clone()));
        let rows = RecordBatch::try_new(schema.clone(), self.columns.clone())
            .expect("every column has a value or NULL for each line");
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).expect("3 is a zstd level")))
            .set_created_by(format!("atcost {ENGINE_VERSION}"))
            .build();
        let mut buffer = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut buffer, schema, Some(properties))
            .expect("every column type is writable as Parquet");
        writer.write(&rows).expect("writing to memory cannot fail");
        writer.close().expect("writing to memory cannot fail");
        buffer
    }
}
