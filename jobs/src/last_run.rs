//! The last run of the last month that was rated, as its manifest has it.
//!
//! Runs of earlier months are deliberately not read.
//!
//! Invariant: a run that is not whole yet is none, and a manifest is read once.

use ledger::Location;
use rating::RatingError;
use rating::tables::{Manifest, is_whole, read_manifest};
use std::collections::BTreeMap;

/// Looks for the last run, again and again.
#[derive(Debug)]
pub struct LastRun {
    runs: Location,
    /// The folder of the last month that has a run.
    period: String,
    /// The runs of that month, by the names of their folders.
    known: BTreeMap<String, Manifest>,
}

impl LastRun {
    pub fn below(runs: &Location) -> Self {
        Self { runs: runs.clone(), period: String::new(), known: BTreeMap::new() }
    }

    /// The run of the newest ledger version, and of the most entries of the journal; `None` before any
    /// month was rated.
    ///
    /// # Errors
    /// When storage fails, or a manifest is none.
    pub async fn look(&mut self) -> Result<Option<&Manifest>, RatingError> {
        let periods = self.runs.list().await?.folders;
        for period in periods.into_iter().rev().filter(|name| name.starts_with("period=")) {
            let folder = self.runs.join(&period);
            if period != self.period {
                self.known.clear();
                self.period = period;
            }
            for run in folder.list().await?.folders {
                let of_run = folder.join(&run);
                if run.starts_with("run=") && !self.known.contains_key(&run) && is_whole(&of_run).await? {
                    self.known.insert(run, read_manifest(&of_run).await?);
                }
            }
            if !self.known.is_empty() {
                break;
            }
        }
        let key = |manifest: &&Manifest| (manifest.ledger_version.clone(), manifest.journal);
        Ok(self.known.values().max_by_key(key))
    }
}
