//! `atcost rate`: pin, rate, check, write.

use super::catalog::published;
use crate::config::Config;
use crate::show::Busy;
use ledger::read::{PinnedFiles, Versions};
use rating::catalog::Catalog;
use rating::run::{Pins, Run};
use rating::tables::{self, Manifest, Workspace};
use rating::usage::CountedRows;
use schemas::time::BillingMonth;
use serde::Serialize;
use std::path::PathBuf;

/// A finished run and where it is.
pub struct Rated {
    pub run: Run,
    pub folder: PathBuf,
    pub manifest: Manifest,
    pub catalog: Catalog,
    /// Where refused records were, in ledger order, as `file:line` or `topic/partition@offset`; at
    /// most [`REFUSED_LISTED`].
    pub refused: Vec<String>,
}

/// The most refused records that are listed one by one; the ledger has all of them.
pub const REFUSED_LISTED: usize = 10_000;

/// What pins a run, beside the month.
#[derive(Debug, Clone, Default)]
pub struct Cut {
    /// The ledger version of each shard; `None` is the last ones.
    pub ledger_version: Option<Versions>,
    /// The beginning of a catalog digest; `None` is the version in force.
    pub catalog: Option<String>,
}

/// The summary of `--format json`.
#[derive(Serialize)]
pub struct Summary<'a> {
    pub folder: String,
    pub refused: &'a [String],
    #[serde(flatten)]
    pub manifest: &'a Manifest,
}

/// Rates a month and writes the run.
///
/// # Errors
/// When nothing was published, rows cannot be trusted, or the run cannot be right. Nothing is
/// written then.
pub async fn rate(config: &Config, month: BillingMonth, cut: &Cut) -> anyhow::Result<Rated> {
    let _busy = Busy::with(format!("rating {month}"));
    let catalog = published(config, cut.catalog.as_deref()).await?;
    let files = PinnedFiles::of_ledger(&config.ledger, cut.ledger_version.as_ref()).await?;
    let pins = Pins { month, ledger: files.cut.clone(), catalog: catalog.digest };
    let workspace = Workspace::create(&config.runs, &pins, std::process::id())?;
    let usage = CountedRows::open(&files).await?;
    let run = rating::run::rate(pins, &usage, &catalog, &workspace.inputs()).await?;
    let refused = usage.refused(REFUSED_LISTED).await?;
    let (folder, manifest) = tables::write(&run, &catalog, &config.runs, &workspace)?;
    tracing::info!(event = "run.written", folder = %folder.display(), period = %month, "a month is rated");
    Ok(Rated { run, folder, manifest, catalog, refused })
}
