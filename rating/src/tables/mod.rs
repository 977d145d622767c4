//! A run as files: Parquet tables and a manifest, written last.
//!
//! The files are derived state: delete them, rate again with the same pins, and the same bytes come
//! back. Writing a run that is already there checks exactly that. Nothing in them depends on the
//! clock, the machine or the order in which events arrived.
//!
//! Invariant: all files of a run are written in this file, and read in it and in `stored`.

// Modules in reading order.
mod columns; // columns as data: their bytes, their JSON, their description
mod key_columns; // the columns that name a cost line
mod cost_lines;
mod charges;
mod statement_lines;
mod unrated;
mod completeness;
mod invoice_lines;
mod comparison;
mod reconciles;
mod events; // the events behind a line, which are no part of a run
mod stored; // rows read back, and compared
mod manifest; // what the run depended on, and what it adds up to

pub use columns::{ColumnDescription, TableDescription};
pub use events::{events_ndjson, events_parquet};
pub use manifest::{Currencies, Manifest, TableEntry, Total};
pub use stored::{StoredCharge, StoredCharges, StoredLines};

use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::reconcile::{Reconciled, Row};
use crate::run::{Charge, CostLine, ENGINE_VERSION, Pins, PostedLine, Run};
use charges::{ChargeRow, Charges};
use columns::Table;
use comparison::{Comparison, ComparisonRow};
use completeness::Completeness;
use cost_lines::{CostLineRow, CostLines};
use invoice_lines::{InvoiceLineRow, InvoiceLines};
use ledger::{Location, places};
use reconciles::ReconcilesToInvoice;
use schemas::digest::Sha256Digest;
use schemas::invoice::{Invoice, InvoiceLine};
use statement_lines::{Corrections, StatementLineRow, StatementLines};
use std::collections::BTreeMap;
use unrated::Unrated;

/// The folder of a run below `runs`: `period=2025-10/run=ID`.
pub fn run_folder(runs: &Location, pins: &Pins) -> Location {
    places::run(runs, &pins.month.to_string(), &pins.run_id().to_string())
}

/// A folder for what a run makes before it is finished.
pub struct Workspace {
    folder: Location,
}

impl Workspace {
    /// Makes `runs/period=…/.run=ID.PROCESS`, which readers of `run=*` do not see. The leftovers of
    /// an earlier process of that number are removed.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub async fn create(runs: &Location, pins: &Pins, process: u32) -> Result<Self, RatingError> {
        let folder =
            places::unfinished_run(runs, &pins.month.to_string(), &pins.run_id().to_string(), process);
        folder.remove_folder().await?;
        Ok(Self { folder })
    }

    /// Makes `runs/.scratch.PROCESS`, for rating that leaves no run.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub async fn scratch(runs: &Location, process: u32) -> Result<Self, RatingError> {
        let folder = places::scratch(runs, process);
        folder.remove_folder().await?;
        Ok(Self { folder })
    }

    /// Where the run keeps what its plans scan beside the ledger.
    pub fn inputs(&self) -> Location {
        self.folder.join("inputs")
    }

    /// Removes what is not needed any more. A workspace that is not closed, because its process
    /// ended, is hidden; the next run of the same pins removes it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn close(self) -> Result<(), RatingError> {
        Ok(self.folder.remove_folder().await?)
    }
}

/// A month, whole.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    pub run: &'a Run,
    pub catalog: &'a Catalog,
    /// The month beside its invoices.
    pub rows: &'a [Row],
    /// All versions of all invoices ever.
    pub invoices: &'a [&'a Invoice],
    pub corrections: &'a [PostedLine],
    pub reconciled: &'a [Reconciled],
}

impl<'a> Written<'a> {
    /// A month to which no invoice came.
    pub fn of(run: &'a Run, catalog: &'a Catalog) -> Self {
        Self { run, catalog, rows: &[], invoices: &[], corrections: &[], reconciled: &[] }
    }
}

/// Writes a run and gives its folder and manifest. A run that is there already must have the same
/// bytes.
///
/// # Errors
/// When files cannot be written, or the run that is there differs.
pub async fn write(
    written: &Written<'_>,
    runs: &Location,
    workspace: &Workspace,
) -> Result<(Location, Manifest), RatingError> {
    let Written { run, catalog, rows, invoices, corrections, reconciled } = *written;
    let staging = workspace.folder.join("run");
    let mut tables = BTreeMap::new();
    for table in [
        render::<CostLines>(&cost_lines::rows(run, catalog)),
        render::<Charges>(&charges::rows(run)),
        render::<StatementLines>(&statement_lines::rows(run, catalog)),
        render::<Unrated>(&run.unrated.iter().collect::<Vec<_>>()),
        render::<Completeness>(&run.completeness.iter().collect::<Vec<_>>()),
        render::<InvoiceLines>(&invoice_lines::rows(invoices)),
        render::<Comparison>(&comparison::rows(rows)?),
        render::<Corrections>(&statement_lines::rows_of(corrections, catalog)),
        render::<ReconcilesToInvoice>(&reconciled.iter().collect::<Vec<_>>()),
    ] {
        let file = format!("{}.parquet", table.name);
        let sha256 = Sha256Digest::of(&table.bytes).to_string();
        staging.join(&file).replace(table.bytes.into()).await?;
        tables.insert(table.name.to_owned(), TableEntry { file, rows: table.rows, sha256 });
    }
    let manifest = manifest::manifest(run, catalog, tables)?;
    let mut text = serde_json::to_string_pretty(&manifest).expect("a manifest is always JSON");
    text.push('\n');
    staging.join(MANIFEST).replace(text.into()).await?;

    let folder = run_folder(runs, &run.pins);
    if folder.join(MANIFEST).exists().await? && read_manifest(&folder).await? != manifest {
        return Err(RatingError::Differs { folder: folder.to_string() });
    }
    staging.move_folder(&folder, MANIFEST).await?;
    Ok((folder, manifest))
}

/// Written last, so that a run that has one is whole.
const MANIFEST: &str = "manifest.json";

/// A table as it is written.
struct Rendered {
    name: &'static str,
    rows: u64,
    bytes: Vec<u8>,
}

fn render<T: Table>(rows: &[T::Row<'_>]) -> Rendered {
    let bytes = columns::to_parquet::<T>(rows, format!("atcost {ENGINE_VERSION}"));
    Rendered { name: T::NAME, rows: rows.len() as u64, bytes }
}

/// Every table of a run and its columns.
pub fn describe() -> [TableDescription; 9] {
    [
        columns::describe::<CostLines>(),
        columns::describe::<Charges>(),
        columns::describe::<StatementLines>(),
        columns::describe::<Unrated>(),
        columns::describe::<Completeness>(),
        columns::describe::<InvoiceLines>(),
        columns::describe::<Comparison>(),
        columns::describe::<Corrections>(),
        columns::describe::<ReconcilesToInvoice>(),
    ]
}

/// A cost line as a JSON object with the columns of its table.
pub fn cost_line_json(line: &CostLine, catalog: &Catalog) -> serde_json::Map<String, serde_json::Value> {
    columns::to_json::<CostLines>(&CostLineRow::new(line, catalog))
}

/// A charge as a JSON object with the columns of its table.
pub fn charge_json(line: &CostLine, charge: &Charge) -> serde_json::Map<String, serde_json::Value> {
    columns::to_json::<Charges>(&ChargeRow { line, charge })
}

/// A statement line as a JSON object with the columns of its table.
pub fn statement_line_json(
    line: &PostedLine,
    catalog: &Catalog,
) -> serde_json::Map<String, serde_json::Value> {
    let row = StatementLineRow::new(line, catalog);
    match line.correction {
        None => columns::to_json::<StatementLines>(&row),
        Some(_) => columns::to_json::<Corrections>(&row),
    }
}

/// A row of a comparison as a JSON object with the columns of its table.
///
/// # Errors
/// When a number does not fit.
pub fn comparison_json(row: &Row) -> Result<serde_json::Map<String, serde_json::Value>, RatingError> {
    Ok(columns::to_json::<Comparison>(&ComparisonRow::new(row)?))
}

/// A line of an invoice as a JSON object with the columns of its table.
pub fn invoice_line_json(
    invoice: &Invoice,
    line: &InvoiceLine,
) -> serde_json::Map<String, serde_json::Value> {
    columns::to_json::<InvoiceLines>(&InvoiceLineRow { invoice, line })
}

/// The columns of a comparison, in their order.
pub fn comparison_columns() -> Vec<&'static str> {
    columns::describe::<Comparison>().columns.iter().map(|column| column.name).collect()
}

/// Reads a run's manifest.
///
/// # Errors
/// When there is none, or it is not one.
pub async fn read_manifest(folder: &Location) -> Result<Manifest, RatingError> {
    let location = folder.join(MANIFEST);
    let failed = |error: &dyn std::fmt::Display| {
        RatingError::file(&location, "reading the manifest", &error.to_string())
    };
    let bytes = location.read().await?.ok_or_else(|| failed(&"there is none"))?;
    serde_json::from_slice(&bytes).map_err(|error| failed(&error))
}

/// Whether a run is whole: its manifest is written last.
///
/// # Errors
/// When storage fails.
pub async fn is_whole(folder: &Location) -> Result<bool, RatingError> {
    Ok(folder.join(MANIFEST).exists().await?)
}
