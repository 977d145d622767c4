//! A run as files: four Parquet tables and a manifest, written last.
//!
//! The files are derived state: delete them, rate again with the same pins, and the same bytes come
//! back. Writing a run that is already there checks exactly that. Nothing in them depends on the
//! clock, the machine or the order in which events arrived.
//!
//! Types: amounts DECIMAL(38,18), quantities DECIMAL(38,9), instants TIMESTAMP in UTC microseconds;
//! a missing value is NULL.

// Modules in reading order.
mod columns; // columns of one table, and their bytes
mod cost_lines;
mod charges;
mod statement_lines;
mod unrated;
mod manifest; // what the run depended on, and what it adds up to

pub use manifest::{Manifest, TableEntry, Total};

use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::run::{Pins, Run};
use arrow::array::AsArray as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::digest::Sha256Digest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
        ("cost_lines", cost_lines::table(run, catalog)),
        ("charges", charges::table(run)),
        ("statement_lines", statement_lines::table(run)),
        ("unrated", unrated::table(run)),
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
    let manifest = manifest::manifest(run, catalog, tables)?;
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
