//! `atcost compact`: many small files of days that are over into few.

use crate::clock;
use crate::config::Config;
use crate::show::{Answer, Busy, plural};
use serde::Serialize;

/// The result of a compaction.
#[derive(Debug, Serialize)]
pub struct Compaction {
    pub files_before: u64,
    pub files_after: u64,
    pub rows_copied: u64,
    pub commits: u64,
}

/// Compacts every shard.
///
/// # Errors
/// When a row is not what was sealed; nothing is changed then.
pub async fn compact(config: &Config) -> anyhow::Result<Compaction> {
    let _busy = Busy::with("compacting the ledger");
    let done = ledger::compact::compact(&config.ledger, clock::now()).await?;
    Ok(Compaction {
        files_before: done.files_before,
        files_after: done.files_after,
        rows_copied: done.rows,
        commits: done.commits,
    })
}

impl Answer for Compaction {
    fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }

    fn text(&self) -> String {
        match self.commits {
            0 => format!("nothing to do: {} of rows\n", plural(self.files_before, "file", "files")),
            _ => format!(
                "{} of rows are now {}: {} were copied, and each proved to be what was sealed\n",
                plural(self.files_before, "file", "files"),
                self.files_after,
                plural(self.rows_copied, "row", "rows")
            ),
        }
    }
}
