//! A ledger: its shard of rows and positions.
//!
//! There is one shard, `shards/0`. Its rows carry the stream they came from, so that more shards can be added without rewriting any.

use crate::error::LedgerError;
use crate::journal::Journal;
use crate::row::COLUMNS;
use crate::seal::seal;
use crate::table::{Moved, Table};
use schemas::batch::DecodedBatch;
use schemas::position::{NextOffset, Positions, Stream};
use std::path::{Path, PathBuf};

/// The shard's folder below the ledger's.
pub(crate) fn shard_folder(ledger: &Path) -> PathBuf {
    ledger.join("shards").join("0")
}

/// A ledger opened for writing. One process at a time; a second one is fenced at its first commit.
pub struct Ledger {
    table: Table,
    /// The positions this process has read from the ledger or committed to it. They stay true because every commit is a
    /// compare-and-swap on the version they belong to.
    positions: Positions,
}

/// A commit that is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    pub version: u64,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
}

impl Ledger {
    /// Makes an empty ledger: a shard and a journal.
    ///
    /// # Errors
    /// When the folder holds one already, or storage fails.
    pub async fn create(folder: &Path) -> Result<(), LedgerError> {
        if shard_folder(folder).exists() {
            return Err(LedgerError::invalid(&folder.display(), "there is a ledger already; it is never overwritten"));
        }
        Journal::create(folder).await?;
        Table::create(&shard_folder(folder), COLUMNS).await
    }

    /// Opens a ledger for writing, after a crash and on any other day.
    ///
    /// # Errors
    /// `Invalid` when there is none or it is set dangerously, `Corrupt` when the log is torn or has other columns.
    pub async fn open(folder: &Path) -> Result<Self, LedgerError> {
        let table = Table::open(&shard_folder(folder), COLUMNS).await?;
        Ok(Self { table, positions: Positions::default() })
    }

    /// The version of the last commit.
    pub fn version(&self) -> u64 {
        self.table.version()
    }

    /// The shard's table properties as they are in force.
    pub fn properties(&self) -> Vec<(String, String)> {
        self.table.properties()
    }

    /// How far each of `streams` has been read. A stream that was never read is absent.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn positions(&mut self, streams: &[Stream]) -> Result<Positions, LedgerError> {
        let mut positions = Positions::default();
        for stream in streams {
            let next = match self.positions.get(stream) {
                Some(next) => Some(next),
                None => self.table.application_version(&stream.to_string()).await?.map(NextOffset),
            };
            if let Some(next) = next {
                positions.set(stream.clone(), next);
                self.positions.set(stream.clone(), next);
            }
        }
        Ok(positions)
    }

    /// Commits a batch: its rows and the positions it reaches, together or not at all.
    ///
    /// # Errors
    /// `Invalid` when the batch does not start where the ledger ends, `Fenced` when another writer was faster, `Storage` when
    /// storage gave no answer. In each case nothing of the batch is in the ledger, or all of it is and reopening finds it.
    pub async fn commit(&mut self, batch: &DecodedBatch) -> Result<Committed, LedgerError> {
        let streams: Vec<Stream> = batch.advances.keys().cloned().collect();
        self.positions(&streams).await?;
        let mut reached = self.positions.clone();
        for (stream, advance) in &batch.advances {
            reached.apply(stream, *advance).map_err(|error| LedgerError::invalid(&self.table.folder().display(), error.to_string()))?;
        }
        let version = i64::try_from(self.table.version() + 1).expect("fewer than 2^63 commits");
        let (rows, counts) = seal(batch, version);
        let moved: Vec<Moved> = batch.advances.iter().map(|(stream, advance)| Moved { application: stream.to_string(), to: advance.to.0 }).collect();
        let version = self.table.commit(Some(rows), &moved).await?;
        // Only now does memory advance.
        self.positions = reached;
        Ok(Committed { version, usage: counts.usage, rejected: counts.rejected, gaps: counts.gaps })
    }
}
