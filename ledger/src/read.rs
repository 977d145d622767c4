//! The files of a ledger at one cut, for readers. Read only.
//!
//! Parquet has no checksums here and a flipped bit is more often than not a silently different
//! number, so nobody gets a path from this module before the file's SHA-256 has been compared with
//! the one in the log, which was itself replayed and checked.

use crate::error::LedgerError;
use crate::record::{AddedFile, Layout};
use crate::row::COLUMNS;
use crate::seal::LeafKey;
use crate::shard::{local, shard_count, shard_folder};
use crate::table::{Table, checkpoint_path};
use schemas::digest::Sha256Digest;
use schemas::position::{NextOffset, Stream};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The Delta version of each shard, in their order. Written with commas: `7`, or `7,4,2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Versions(pub Vec<u64>);

impl fmt::Display for Versions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<String> = self.0.iter().map(u64::to_string).collect();
        formatter.write_str(&versions.join(","))
    }
}

/// A number where there is one shard, as most ledgers have; else the text with commas.
impl Serialize for Versions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => serializer.serialize_u64(*one),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Versions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            One(u64),
            Several(String),
        }
        match Written::deserialize(deserializer)? {
            Written::One(one) => Ok(Self(vec![one])),
            Written::Several(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no versions; write the version of each shard, with commas between them, like 7,4,2")]
pub struct VersionsError(String);

impl FromStr for Versions {
    type Err = VersionsError;

    fn from_str(text: &str) -> Result<Self, VersionsError> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|_| VersionsError(text.to_owned()))
    }
}

/// Names what a ledger held at one moment: two ledgers with equal cuts hold the same rows in the
/// same files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerCut {
    pub versions: Versions,
    /// SHA-256 over the tree head of each shard: size (u64, big-endian) and root.
    pub digest: Sha256Digest,
}

/// A ledger's files at one cut.
#[derive(Debug, Clone)]
pub struct PinnedFiles {
    pub cut: LedgerCut,
    /// How far each stream was read at the cut.
    pub positions: BTreeMap<String, NextOffset>,
    /// How the ledger is divided now.
    pub layout: Layout,
    /// The table properties in force, which are the same in every shard.
    pub properties: Vec<(String, String)>,
    shards: Vec<(PathBuf, Vec<AddedFile>)>,
}

impl PinnedFiles {
    /// The files of all shards at their last versions, or at `versions`.
    ///
    /// # Errors
    /// As [`crate::Ledger::open_shard`]; `Invalid` when there are no such versions.
    pub async fn of_ledger(ledger: &Path, versions: Option<&Versions>) -> Result<Self, LedgerError> {
        let count = shard_count(ledger)?;
        // Shards that were made after the cut had nothing in it.
        let wanted =
            versions.map_or(count, |versions| u32::try_from(versions.0.len()).expect("shards are few"));
        if wanted > count || wanted == 0 {
            return Err(LedgerError::invalid(
                &ledger.display(),
                format!("versions of {wanted} shards were given; there are {count}"),
            ));
        }
        let store = local();
        let mut pinned = Self {
            cut: LedgerCut { versions: Versions(Vec::new()), digest: Sha256Digest::of(b"") },
            positions: BTreeMap::new(),
            layout: Layout::FIRST,
            properties: Vec::new(),
            shards: Vec::new(),
        };
        let mut heads = Vec::new();
        for shard in 0..wanted {
            let folder = shard_folder(ledger, shard);
            let version = versions
                .and_then(|versions| versions.0.get(usize::try_from(shard).expect("shards are few")))
                .copied();
            let table = match version {
                Some(version) => Table::open_at(&store, &folder, shard, COLUMNS, version).await?,
                None => Table::open(&store, &folder, shard, COLUMNS).await?,
            };
            check_key(ledger, &table)?;
            check_checkpoint(&table)?;
            pinned.properties = table.properties();
            pinned.layout = pinned.layout.max(table.log().layout);
            let log = table.log();
            for (application, next, _) in log.streams() {
                let known = pinned.positions.entry(application.to_owned()).or_insert(next);
                *known = (*known).max(next);
            }
            heads.extend_from_slice(&log.head().size.to_be_bytes());
            heads.extend_from_slice(&log.head().root);
            pinned.cut.versions.0.push(log.version);
            pinned.shards.push((folder, log.files.values().map(|file| file.added.clone()).collect()));
        }
        pinned.cut.digest = Sha256Digest::of(&heads);
        Ok(pinned)
    }

    /// How far a stream was read.
    pub fn position(&self, stream: &Stream) -> Option<NextOffset> {
        self.positions.get(&stream.to_string()).copied()
    }

    /// The paths of each shard's files, each after its bytes were hashed and compared with the log.
    ///
    /// # Errors
    /// `Corrupt` names the first file that is missing or differs.
    pub fn verified_paths(&self) -> Result<Vec<Vec<PathBuf>>, LedgerError> {
        self.shards.iter().map(|(folder, files)| verified_paths(folder, files)).collect()
    }
}

/// The key is of no use to a reader, but a wrong one is found here rather than when a proof is
/// wanted.
fn check_key(ledger: &Path, table: &Table) -> Result<(), LedgerError> {
    let path = LeafKey::path(ledger);
    match table.log().key {
        Some(used) if path.exists() && LeafKey::read(ledger)?.id().0 != used => Err(LedgerError::corrupt(
            &path.display(),
            "this is not the key that the rows were sealed with; restore it from a copy",
        )),
        _ => Ok(()),
    }
}

/// Delta's checkpoint is not read here, but other programs would take their numbers from it.
fn check_checkpoint(table: &Table) -> Result<(), LedgerError> {
    let Some(made) = table.log().checkpoint else { return Ok(()) };
    let path = checkpoint_path(table.folder(), made.version);
    let derived = "it is derived: remove it, and the next one replaces it";
    match hash_file(&path) {
        Ok((_, digest)) if digest != made.digest => Err(LedgerError::corrupt(
            &path.display(),
            format!("its SHA-256 is {digest}, the log says {}; {derived}", made.digest),
        )),
        // It may be removed at any time.
        Ok(_) | Err(LedgerError::Corrupt { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The paths of `files`, each after its bytes were hashed and compared.
///
/// # Errors
/// `Corrupt` names the first file that is missing or differs.
pub(crate) fn verified_paths<'a>(
    folder: &Path,
    files: impl IntoIterator<Item = &'a AddedFile>,
) -> Result<Vec<PathBuf>, LedgerError> {
    let mut paths = Vec::new();
    for file in files {
        let path = folder.join(&file.path);
        let (bytes, digest) = hash_file(&path)?;
        if bytes != file.bytes || digest != file.digest {
            return Err(LedgerError::corrupt(
                &path.display(),
                format!(
                    "its SHA-256 is {digest} over {bytes} bytes, the log says {} over {}; restore the file from a copy",
                    file.digest, file.bytes
                ),
            ));
        }
        paths.push(path);
    }
    Ok(paths)
}

fn hash_file(path: &Path) -> Result<(u64, Sha256Digest), LedgerError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => LedgerError::corrupt(
            &path.display(),
            "the log names this file, but it is gone; restore it from a copy",
        ),
        _ => LedgerError::storage(&path.display(), "reading", &error),
    };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok((size, Sha256Digest::from_bytes(hasher.finalize().into())));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}
