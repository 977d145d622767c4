//! `atcost compact`: many small files of days that are over into few.

use crate::clock;
use crate::config::Config;
use crate::show::Busy;
use serde::Serialize;

/// What compacting came to.
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
