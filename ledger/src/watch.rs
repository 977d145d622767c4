//! A shard seen from outside while it is written: sizes, the signer's place, what
//! crashes left behind.
//!
//! It reads names and log entries, never rows, and decides nothing: opening a ledger goes by
//! [`crate::ShardWriter`] alone. It keeps what it has read, so that looking again costs as much as
//! there is new.
//!
//! Invariant: a file is called an orphan only when its version is taken by a commit that does not
//! name it. The file that is being written at this moment belongs to a version that nobody has
//! taken yet.

use crate::error::LedgerError;
use crate::places::{self, RowsFile};
use crate::store::Location;
use proof::head::SignedHead;
use serde::Deserialize;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// A shard at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Of the last commit.
    pub version: u64,
    /// Parquet files in force, and their bytes.
    pub files: u64,
    pub bytes: u64,
    /// Parquet files that no commit names and none will.
    pub orphans: u64,
    /// The version of Delta's last checkpoint.
    pub checkpoint: Option<u64>,
    /// The last signed head, where a signer runs.
    pub signed: Option<Signed>,
}

/// The head that the signer published last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// The log has one leaf per commit, so this is also the version that the signature covers.
    pub size: u64,
    /// When it was published, in seconds since 1970.
    pub at: i64,
}

/// Looks at one shard, again and again.
#[derive(Debug)]
pub struct Watch {
    table: Location,
    /// The first version whose entry has not been read.
    next: u64,
    /// Every file that a commit named, by a hash of its name, with its size as long as it is in
    /// force.
    named: HashMap<u64, Option<u64>>,
}

#[derive(Deserialize)]
struct Line {
    add: Option<Add>,
    remove: Option<Remove>,
}

#[derive(Deserialize)]
struct Add {
    path: String,
    size: u64,
}

#[derive(Deserialize)]
struct Remove {
    path: String,
}

#[derive(Deserialize)]
struct LastCheckpoint {
    version: u64,
}

impl Watch {
    /// Of one shard of a ledger, counted from 0. Reads nothing yet.
    pub fn new(ledger: &Location, shard: u32) -> Self {
        Self { table: places::shard(ledger, shard), next: 0, named: HashMap::new() }
    }

    /// Reads what is new and counts. The first look reads the whole log.
    ///
    /// # Errors
    /// When something cannot be read, or a log entry is not one. Everything seen before is kept,
    /// and the next look goes on there.
    pub async fn look(&mut self) -> Result<Figures, LedgerError> {
        // First, because the signer follows the log: in this order it is never seen ahead of it.
        let signed = self.signed().await?;
        while self.read_entry().await? {}
        let version = self
            .next
            .checked_sub(1)
            .ok_or_else(|| LedgerError::corrupt(&self.table, "the log has no entry 0"))?;
        let in_force = self.named.values().flatten();
        Ok(Figures {
            version,
            files: in_force.clone().count() as u64,
            bytes: in_force.sum(),
            orphans: self.orphans(version).await?,
            checkpoint: self.checkpoint().await?,
            signed,
        })
    }

    /// Whether there was another entry.
    async fn read_entry(&mut self) -> Result<bool, LedgerError> {
        let location = places::entry(&self.table, self.next);
        let Some(entry) = location.read().await? else { return Ok(false) };
        let lines = entry.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<Line> = lines
            .map(serde_json::from_slice)
            .collect::<Result<_, _>>()
            .map_err(|error| LedgerError::corrupt(&location, format!("it is not a log entry: {error}")))?;
        for line in lines {
            if let Some(Add { path, size }) = line.add {
                self.named.insert(hash(&path), Some(size));
            }
            if let Some(Remove { path }) = line.remove {
                self.named.insert(hash(&path), None);
            }
        }
        self.next += 1;
        Ok(true)
    }

    async fn orphans(&self, version: u64) -> Result<u64, LedgerError> {
        let names = self.table.list().await?.objects;
        let orphans = names.iter().filter(|name| {
            RowsFile::version(name).is_some_and(|of| of <= version) && !self.named.contains_key(&hash(name))
        });
        Ok(orphans.count() as u64)
    }

    async fn checkpoint(&self) -> Result<Option<u64>, LedgerError> {
        let location = places::last_checkpoint(&self.table);
        let Some(bytes) = location.read().await? else { return Ok(None) };
        let last: LastCheckpoint = serde_json::from_slice(&bytes).map_err(|error| {
            LedgerError::corrupt(&location, format!("it does not name a checkpoint: {error}"))
        })?;
        Ok(Some(last.version))
    }

    /// The size that the published note claims. Its signature is not checked here: `atcost verify
    /// ledger` does that.
    async fn signed(&self) -> Result<Option<Signed>, LedgerError> {
        let location = places::head(&self.table);
        let Some(facts) = location.facts().await? else { return Ok(None) };
        let Some(note) = location.read().await? else { return Ok(None) };
        let size = SignedHead::stated_size(&note)
            .ok_or_else(|| LedgerError::corrupt(&location, "it is not a signed head"))?;
        Ok(Some(Signed { size, at: facts.put_at }))
    }
}

fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn put(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn entry(version: u64) -> String {
        format!("_delta_log/{version:020}.json")
    }

    #[tokio::test]
    async fn files_are_counted_and_orphans_told_from_what_is_being_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Location::on_disk(folder.path()).expect("a place");
        let shard = folder.path().join("shards/3");
        let rows = |version: u64, writer: &str| format!("rows-{version:020}-{writer}.parquet");
        let add = |name: &str, size: u64| format!("{{\"add\":{{\"path\":\"{name}\",\"size\":{size}}}}}\n");
        let remove = |name: &str| format!("{{\"remove\":{{\"path\":\"{name}\"}}}}\n");
        let mut watch = Watch::new(&ledger, 3);
        assert!(watch.look().await.is_err(), "there is no ledger yet");
        put(&shard, &entry(0), "{\"metaData\":{}}\n");
        put(&shard, &entry(1), &add(&rows(1, "a"), 10));
        for name in [rows(1, "a"), rows(1, "b"), rows(2, "a"), "notes.parquet".to_owned()] {
            put(&shard, &name, "");
        }
        assert_eq!(
            watch.look().await.expect("a shard"),
            Figures { version: 1, files: 1, bytes: 10, orphans: 1, ..Figures::default() }
        );
        let compacted = format!("compacted-{:020}-a.parquet", 2);
        put(&shard, &compacted, "");
        put(&shard, &entry(2), &format!("{}{}", remove(&rows(1, "a")), add(&compacted, 7)));
        put(&shard, "_delta_log/_last_checkpoint", "{\"version\":1,\"size\":3}");
        put(&shard, "log/checkpoint", "atcost/table\n2\nroot\n\n\u{2014} name signature\n");
        let figures = watch.look().await.expect("a shard");
        let expected = Figures {
            version: 2,
            files: 1,
            bytes: 7,
            orphans: 2,
            checkpoint: Some(1),
            signed: figures.signed,
        };
        assert_eq!(figures, expected, "rows-2-a is an orphan as soon as somebody else has taken version 2");
        assert_eq!(figures.signed.map(|signed| signed.size), Some(2));
        assert_eq!(watch.look().await.expect("a shard"), expected, "looking again finds the same");
    }

    #[tokio::test]
    async fn what_is_not_a_log_entry_is_named_and_looked_at_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Location::on_disk(folder.path()).expect("a place");
        let shard = folder.path().join("shards/3");
        put(&shard, &entry(0), "{\"add\"");
        let mut watch = Watch::new(&ledger, 3);
        let error = watch.look().await.expect_err("a torn entry").to_string();
        assert!(error.contains("00000000000000000000.json"), "{error}");
        put(&shard, &entry(0), "{}\n");
        assert_eq!(watch.look().await.expect("a shard").version, 0);
    }
}
