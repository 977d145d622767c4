//! A run as files: four Parquet tables and a manifest, written last.
//!
//! The files are derived state: delete them, rate again with the same pins, and the same bytes come
//! back. Writing a run that is already there checks exactly that. Nothing in them depends on the
//! clock, the machine or the order in which events arrived.
//!
//! Invariant: all files of a run are read and written in this file.

// Modules in reading order.
mod columns; // columns as data: their bytes, their JSON, their description
mod key_columns; // the columns that name a cost line
mod cost_lines;
mod charges;
mod statement_lines;
mod unrated;
mod manifest; // what the run depended on, and what it adds up to

pub use columns::{ColumnDescription, TableDescription};
pub use manifest::{Manifest, TableEntry, Total};

use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::run::{Charge, ChargeId, CostLine, ENGINE_VERSION, Pins, Run};
use arrow::array::AsArray as _;
use charges::{ChargeRow, Charges};
use columns::Table;
use cost_lines::{CostLineRow, CostLines};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::digest::Sha256Digest;
use statement_lines::StatementLines;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use unrated::Unrated;

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
    for table in [
        render::<CostLines>(&cost_lines::rows(run, catalog)),
        render::<Charges>(&charges::rows(run)),
        render::<StatementLines>(&statement_lines::rows(run)),
        render::<Unrated>(&run.unrated.iter().collect::<Vec<_>>()),
    ] {
        let file = format!("{}.parquet", table.name);
        std::fs::write(staging.join(&file), &table.bytes)
            .map_err(|error| RatingError::file(&staging.join(&file), "writing", &error))?;
        let sha256 = Sha256Digest::of(&table.bytes).to_string();
        tables.insert(table.name.to_owned(), TableEntry { file, rows: table.rows, sha256 });
    }
    let manifest = manifest::manifest(run, catalog, tables)?;
    let mut text = serde_json::to_string_pretty(&manifest).expect("a manifest is always JSON");
    text.push('\n');
    std::fs::write(staging.join("manifest.json"), text)
        .map_err(|error| RatingError::file(&staging, "writing the manifest", &error))?;

    let folder = run_folder(runs, &run.pins);
    if folder.join("manifest.json").exists() {
        let before = read_manifest(&folder)?;
        if before != manifest {
            return Err(RatingError::Differs { folder: folder.display().to_string() });
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
pub fn describe() -> [TableDescription; 4] {
    [
        columns::describe::<CostLines>(),
        columns::describe::<Charges>(),
        columns::describe::<StatementLines>(),
        columns::describe::<Unrated>(),
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
pub fn charge_ids(folder: &Path) -> Result<Vec<ChargeId>, RatingError> {
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
        for text in column.as_string::<i32>().iter().flatten() {
            let id =
                ChargeId::parse(text).ok_or_else(|| failed(&format!("{text:?} is not a charge's id")))?;
            ids.push(id);
        }
    }
    Ok(ids)
}
