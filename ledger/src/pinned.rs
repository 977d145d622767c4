//! The files of a ledger at one cut, for readers. Read only.
//!
//! The log was replayed and checked, and nobody gets a file before its bytes were compared with the
//! digest in it.
//!
//! Invariant: two cuts that are equal hold the same rows in the same files.

use crate::division::shard_count;
use crate::error::LedgerError;
use crate::files::verified;
use crate::log::state::{ActiveFile, Truncation};
use crate::log::table::Table;
use crate::store::Location;
use crate::{places, secret};
use proof::leaf_key::LeafKeyId;
pub use proof::record::MeterControl;
use proof::record::{BatchRecord, Division, TreeHead};
use schemas::digest::Sha256Digest;
use schemas::position::{Position, Stream};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
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
    pub positions: BTreeMap<String, Position>,
    /// The moves back that were accepted, shard by shard.
    pub truncations: Vec<Truncation>,
    /// How the ledger is divided now.
    pub division: Division,
    /// The table properties in force, which are the same in every shard.
    pub properties: BTreeMap<String, String>,
    ledger: Location,
    shards: Vec<(Location, Vec<ActiveFile>)>,
}

/// The usage that one commit adds to the ledger, as its record says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitControls<'a> {
    pub shard: u32,
    pub version: u64,
    /// Ascending by meter, all rows of usage whether they count or not. None where the record is
    /// of a format that does not say it: only the rows do.
    pub meters: Option<&'a [MeterControl]>,
}

impl PinnedFiles {
    /// The files of all shards at their last versions, or at `versions`.
    ///
    /// # Errors
    /// As [`crate::ShardWriter::open_shard`]; `Invalid` when there are no such versions.
    pub async fn of_ledger(ledger: &Location, versions: Option<&Versions>) -> Result<Self, LedgerError> {
        let count = shard_count(ledger).await?;
        // Shards that were made after the cut had nothing in it.
        let wanted =
            versions.map_or(count, |versions| u32::try_from(versions.0.len()).expect("shards are few"));
        if wanted > count || wanted == 0 {
            return Err(LedgerError::invalid(
                ledger,
                format!("versions of {wanted} shards were given; there are {count}"),
            ));
        }
        let mut pinned = Self {
            cut: LedgerCut { versions: Versions(Vec::new()), digest: Sha256Digest::of(b"") },
            positions: BTreeMap::new(),
            truncations: Vec::new(),
            division: Division::FIRST,
            properties: BTreeMap::new(),
            ledger: ledger.clone(),
            shards: Vec::new(),
        };
        let key = key_in_place(ledger).await?;
        let mut heads = Vec::new();
        for shard in 0..wanted {
            let version = versions
                .and_then(|versions| versions.0.get(usize::try_from(shard).expect("shards are few")))
                .copied();
            let table = match version {
                Some(version) => Table::open_at(ledger, shard, version).await?,
                None => Table::open(ledger, shard).await?,
            };
            // The key is of no use to a reader, but a wrong one is found here rather than when a
            // proof is wanted.
            if key.zip(table.log().key).is_some_and(|(key, used)| key != used) {
                return Err(LedgerError::corrupt(&places::leaf_key(ledger), secret::ANOTHER_LEAF_KEY));
            }
            check_checkpoint(&table).await?;
            pinned.properties = table.properties().clone();
            pinned.division = pinned.division.max(table.log().division);
            let log = table.log();
            log.add_positions(&mut pinned.positions);
            pinned.truncations.extend_from_slice(&log.truncations);
            heads.push(log.head());
            pinned.cut.versions.0.push(log.version);
            pinned.shards.push((table.location().clone(), in_order(log.files.values().cloned().collect())));
        }
        pinned.cut.digest = digest_of(&heads);
        Ok(pinned)
    }

    /// Shows of each commit up to the cut, shard by shard and in order, the usage that it adds by
    /// meter. It reads the log and no rows.
    ///
    /// # Errors
    /// As [`Self::of_ledger`]; `Corrupt` when the log is no longer what was pinned.
    pub async fn controls(
        &self,
        see: &mut (dyn FnMut(CommitControls<'_>) + Send),
    ) -> Result<(), LedgerError> {
        let mut heads = Vec::new();
        for (shard, version) in (0..).zip(&self.cut.versions.0) {
            let mut show = |record: &BatchRecord| {
                see(CommitControls { shard, version: record.version, meters: record.controls() });
                Ok(())
            };
            let table = Table::replay(&self.ledger, shard, Some(*version), &mut show).await?;
            heads.push(table.log().head());
        }
        if digest_of(&heads) != self.cut.digest {
            let detail = "its logs are not what they were when they were opened; restore it from a copy";
            return Err(LedgerError::corrupt(&self.ledger, detail));
        }
        Ok(())
    }

    /// How far a stream was read.
    pub fn position(&self, stream: &Stream) -> Option<Position> {
        self.positions.get(&stream.to_string()).copied()
    }

    /// Where each shard's files are, each after its bytes were hashed and compared with the log.
    ///
    /// # Errors
    /// `Corrupt` names the first file that is missing or differs.
    pub async fn verified(&self) -> Result<Vec<Vec<Location>>, LedgerError> {
        let mut shards = Vec::new();
        for (table, files) in &self.shards {
            shards.push(verified(table, files.iter().map(|file| &file.added)).await?);
        }
        Ok(shards)
    }

    /// Where the files of a shard are that have rows of some commits, each after its bytes were hashed
    /// and compared with the log. They may have rows of other commits too.
    ///
    /// # Errors
    /// As [`Self::verified`].
    pub async fn verified_of(
        &self,
        shard: usize,
        wanted: impl Fn(RangeInclusive<u64>) -> bool,
    ) -> Result<Vec<Location>, LedgerError> {
        let (table, files) = &self.shards[shard];
        let of_commits = files.iter().zip(self.commits_of_files(shard)).filter(|(_, of)| wanted(of.clone()));
        verified(table, of_commits.map(|(file, _)| &file.added)).await
    }

    /// Where the files of a shard are that may have refused records, checked likewise.
    ///
    /// # Errors
    /// As [`Self::verified`].
    pub async fn verified_refusing(&self, shard: usize) -> Result<Vec<Location>, LedgerError> {
        let (table, files) = &self.shards[shard];
        verified(table, files.iter().filter(|file| file.refused).map(|file| &file.added)).await
    }

    /// The commits whose rows each file of a shard has, in ledger order.
    pub fn commits_of_files(&self, shard: usize) -> impl Iterator<Item = RangeInclusive<u64>> {
        let (_, files) = &self.shards[shard];
        // Rows of later commits are in later files: a file has those from its first on, to before the
        // next one's.
        let last = files.iter().skip(1).map(|file| file.first - 1).chain([u64::MAX]);
        files.iter().zip(last).map(|(file, last)| file.first..=last)
    }

    /// Whether each file of a shard may hold refused records, as the log says it, in ledger order.
    pub fn refusing(&self, shard: usize) -> impl Iterator<Item = bool> {
        let (_, files) = &self.shards[shard];
        files.iter().map(|file| file.refused)
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }
}

fn in_order(mut files: Vec<ActiveFile>) -> Vec<ActiveFile> {
    files.sort_by_key(|file| file.first);
    files
}

/// The digest of a cut, by the tree heads of its shards.
fn digest_of(heads: &[TreeHead]) -> Sha256Digest {
    let mut bytes = Vec::new();
    for head in heads {
        bytes.extend_from_slice(&head.size.to_be_bytes());
        bytes.extend_from_slice(head.root.as_bytes());
    }
    Sha256Digest::of(&bytes)
}

/// The leaf key that is there, by its id. A copy for readers may have none.
async fn key_in_place(ledger: &Location) -> Result<Option<LeafKeyId>, LedgerError> {
    let location = places::leaf_key(ledger);
    match location.exists().await? {
        true => Ok(Some(secret::read_leaf_key(&location).await?.id())),
        false => Ok(None),
    }
}

/// Delta's checkpoint is not read here, but other programs would take their numbers from it.
async fn check_checkpoint(table: &Table) -> Result<(), LedgerError> {
    let Some(made) = table.log().checkpoint else { return Ok(()) };
    let location = places::checkpoint(table.location(), made.version);
    match location.digest().await? {
        Some((_, digest)) if digest != made.digest => Err(LedgerError::corrupt(
            &location,
            format!(
                "its SHA-256 is {digest}, the log says {}; it is derived: remove it, and the next one replaces it",
                made.digest
            ),
        )),
        // It may be removed at any time.
        Some(_) | None => Ok(()),
    }
}
