//! The path of everything: of a ledger, its shards and its journal, and of the runs.
//!
//! `docs/format.md`, "Files", shows the same for people. It reads and writes nothing.
//!
//! Invariant: a name that is parsed here was rendered here.

use crate::store::Location;
use proof::record::JOURNAL;
use schemas::digest::Sha256Digest;

/// A shard for people: counted from 1, as on the command line.
pub fn shard_name(shard: u32) -> String {
    match shard {
        JOURNAL => "the journal".to_owned(),
        shard => (u64::from(shard) + 1).to_string(),
    }
}

// Below a ledger.

/// The leaf key.
pub fn leaf_key(ledger: &Location) -> Location {
    ledger.join("leaf.key")
}

/// The decisions of the operator: a table.
pub fn journal(ledger: &Location) -> Location {
    ledger.join("journal")
}

/// What is made from the rows of all shards, and may be deleted.
pub fn derived(ledger: &Location) -> Location {
    ledger.join("derived")
}

/// The folder of all shards.
pub fn shards(ledger: &Location) -> Location {
    ledger.join("shards")
}

/// A shard, counted from 0: a table.
pub fn shard(ledger: &Location, shard: u32) -> Location {
    shards(ledger).join(&shard.to_string())
}

/// The table of a log: a shard, or the journal.
pub fn table(ledger: &Location, number: u32) -> Location {
    match number {
        JOURNAL => journal(ledger),
        number => shard(ledger, number),
    }
}

/// A document that an entry of the journal names, below the journal. Readers of Delta tables pass over
/// folders whose names begin so.
pub fn document(journal: &Location, digest: &Sha256Digest) -> Location {
    journal.join("_documents").join(&digest.to_string())
}

// Below a table.

/// Delta's log.
pub fn entries(table: &Location) -> Location {
    table.join("_delta_log")
}

/// The log entry of a version.
pub fn entry(table: &Location, version: u64) -> Location {
    entries(table).join(&entry_name(version))
}

/// The log entry of a version, below the log.
pub fn entry_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// The version in the name of a log entry; none where it is another file's.
pub fn entry_version(name: &str) -> Option<u64> {
    name.strip_suffix(".json").filter(|version| version.len() == 20)?.parse().ok()
}

/// Delta's checkpoint of a version.
pub fn checkpoint(table: &Location, version: u64) -> Location {
    entries(table).join(&format!("{version:020}.checkpoint.parquet"))
}

/// The file that names Delta's last checkpoint.
pub fn last_checkpoint(table: &Location) -> Location {
    entries(table).join("_last_checkpoint")
}

/// The name of a file of rows, or of a copy of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsFile {
    Written,
    Compacted,
}

impl RowsFile {
    const ALL: [Self; 2] = [Self::Written, Self::Compacted];

    fn prefix(self) -> &'static str {
        match self {
            Self::Written => "rows-",
            Self::Compacted => "compacted-",
        }
    }

    /// `writer` tells the files of two writers apart that write the same version.
    pub fn name(self, version: u64, writer: &str) -> String {
        format!("{}{version:020}-{writer}.parquet", self.prefix())
    }

    /// The version in the name of such a file; none where it is another file's.
    pub fn version(name: &str) -> Option<u64> {
        let stem = name.strip_suffix(".parquet")?;
        let rest = Self::ALL.into_iter().find_map(|kind| stem.strip_prefix(kind.prefix()))?;
        rest.split('-').next().filter(|version| version.len() == 20)?.parse().ok()
    }
}

/// The index of ids, which is derived.
pub fn ids(shard: &Location) -> Location {
    shard.join("index")
}

/// The folder that the signer publishes in.
pub fn signed(table: &Location) -> Location {
    table.join("log")
}

/// The last head that was signed.
pub fn head(table: &Location) -> Location {
    signed(table).join("checkpoint")
}

/// The folder of the hash tiles.
pub fn tiles(table: &Location) -> Location {
    signed(table).join("tile")
}

// Below the runs.

/// The runs of a period.
pub fn period(runs: &Location, period: &str) -> Location {
    runs.join(&format!("period={period}"))
}

/// A run.
pub fn run(runs: &Location, period_name: &str, run: &str) -> Location {
    period(runs, period_name).join(&format!("run={run}"))
}

/// A run that is not finished: hidden from readers of `run=*`, and its process's own.
pub fn unfinished_run(runs: &Location, period_name: &str, run: &str, process: u32) -> Location {
    period(runs, period_name).join(&format!(".run={run}.{process}"))
}

/// A folder for what a process makes that leaves no run: hidden, and its own.
pub fn scratch(runs: &Location, process: u32) -> Location {
    runs.join(&format!(".scratch.{process}"))
}
