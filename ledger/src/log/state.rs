//! A log as its entries say it, and which entry may follow.
//!
//! It is a value: it reads and writes nothing.
//!
//! Invariant: a log only changes by an entry that follows from it, so two that have replayed the
//! same entries are equal.

use crate::places::shard_name;
use proof::leaf_key::LeafKeyId;
use proof::merkle::{self, Frontier};
use proof::record::{
    AddedFile, BatchRecord, DIVISION_STREAM, Division, MadeCheckpoint, RecordKind, TreeHead,
};
use schemas::digest::Sha256Digest;
use schemas::outcome::Tally;
use schemas::position::{NextOffset, Position, StreamState};
use schemas::time::Instant;
use std::collections::BTreeMap;

/// A log up to a version.
#[derive(Debug, Clone)]
pub struct Log {
    shard: u32,
    pub version: u64,
    /// The digest of the last entry.
    digest: Sha256Digest,
    /// When the last commit was made; `None` before the first.
    pub at: Option<Instant>,
    frontier: Frontier,
    pub division: Division,
    pub files: BTreeMap<String, ActiveFile>,
    /// The files whose rows are in others now, and when they were taken out.
    pub removed: BTreeMap<String, Instant>,
    streams: BTreeMap<String, StreamState>,
    /// The moves back that were accepted, in their order.
    pub truncations: Vec<Truncation>,
    pub checkpoint: Option<MadeCheckpoint>,
    pub key: Option<LeafKeyId>,
    pub counts: Tally,
}

/// A file whose rows are in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveFile {
    pub added: AddedFile,
    /// The first commit whose rows it holds.
    pub first: u64,
    /// When the last commit whose rows it holds was made.
    pub at: Instant,
    /// Whether it may hold refused records.
    pub refused: bool,
}

/// A stream that was taken back, because its source lost what was read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncation {
    pub stream: String,
    /// The commit that says it.
    pub version: u64,
    pub from: NextOffset,
    pub to: NextOffset,
}

impl Log {
    /// The log of a table that was just created by an entry of this digest.
    pub(super) fn begin(shard: u32, digest: Sha256Digest, key: Option<LeafKeyId>) -> Self {
        Self {
            shard,
            version: 0,
            digest,
            at: None,
            frontier: Frontier::default(),
            division: Division::FIRST,
            files: BTreeMap::new(),
            removed: BTreeMap::new(),
            streams: BTreeMap::new(),
            truncations: Vec::new(),
            checkpoint: None,
            key,
            counts: Tally::default(),
        }
    }

    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// The digest of the last entry.
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.frontier.size(), root: self.frontier.root() }
    }

    pub fn streams(&self) -> impl Iterator<Item = (&str, NextOffset)> {
        self.streams.iter().map(|(application, state)| (application.as_str(), state.next))
    }

    /// How far this shard has read a stream.
    pub fn stream(&self, application: &str) -> Option<StreamState> {
        self.streams.get(application).copied()
    }

    /// Adds what this shard knows to what others know: the furthest that any of them has read.
    pub fn add_positions(&self, known: &mut BTreeMap<String, Position>) {
        for (application, StreamState { next, identity, last, .. }) in &self.streams {
            if known.get(application).is_none_or(|known| known.next < *next) {
                let position = Position { next: *next, identity: *identity, last: *last };
                known.insert(application.clone(), position);
            }
        }
    }

    /// Follows the next entry, if it can follow.
    ///
    /// # Errors
    /// Why it cannot, as part of a sentence. Nothing has changed then.
    pub(super) fn follow(
        &mut self,
        entry: &[u8],
        record: &BatchRecord,
        head: &TreeHead,
    ) -> Result<(), String> {
        let (frontier, follows) = self.check(record)?;
        if *head != follows {
            return Err("its tree head is not the one that follows from the records".to_owned());
        }
        self.advance(entry, record, frontier);
        Ok(())
    }

    /// Whether a record can be the next, and the tree then.
    pub(super) fn check(&self, record: &BatchRecord) -> Result<(Frontier, TreeHead), String> {
        if record.shard != self.shard {
            return Err(format!(
                "it belongs to shard {}, not to {}",
                shard_name(record.shard),
                shard_name(self.shard)
            ));
        }
        if record.version != self.version + 1 {
            return Err(format!("it says that it is version {}", record.version));
        }
        if record.previous != self.digest {
            return Err("the entry before it is not the one it was written after".to_owned());
        }
        if self.at.is_some_and(|at| record.at < at) {
            return Err("it is older than the entry before it".to_owned());
        }
        if record.division < self.division {
            return Err("it goes back to an earlier division into shards".to_owned());
        }
        for moved in record.streams.iter().filter(|moved| moved.stream != DIVISION_STREAM) {
            let (state, generation) = (self.stream(&moved.stream), record.division.generation);
            let follows = match record.kind {
                RecordKind::Truncation => moved.goes_back(state, generation),
                RecordKind::Rows | RecordKind::Compaction | RecordKind::Division => {
                    moved.follows(state, generation)
                }
            };
            follows.map_err(|error| error.to_string())?;
        }
        if record.kind == RecordKind::Truncation
            && (record.streams.len() != 1 || !record.added.is_empty() || record.counts != Tally::default())
        {
            return Err("it accepts a truncation, and does more than to take one stream back".to_owned());
        }
        // What could not be read again is never written.
        record.check_meters()?;
        if let Some(file) = record
            .removed
            .iter()
            .find(|file| self.files.get(&file.path).is_none_or(|active| active.added.digest != file.digest))
        {
            return Err(format!("it removes {}, which is not in the table", file.path));
        }
        if let Some(file) = record.added.iter().find(|file| self.files.contains_key(&file.path)) {
            return Err(format!("it adds {} a second time", file.path));
        }
        let mut frontier = self.frontier.clone();
        frontier.push(merkle::leaf(&record.encode()));
        let head = TreeHead { size: frontier.size(), root: frontier.root() };
        Ok((frontier, head))
    }

    /// Takes in a record that was checked.
    pub(super) fn advance(&mut self, entry: &[u8], record: &BatchRecord, frontier: Frontier) {
        let removed: Vec<ActiveFile> =
            record.removed.iter().filter_map(|file| self.files.remove(&file.path)).collect();
        let gone = record.removed.iter().map(|file| (file.path.clone(), record.at));
        self.removed.extend(gone);
        for added in &record.added {
            // A copy stands where what it copies stood.
            let first = removed.iter().map(|file| file.first).min().unwrap_or(record.version);
            let at = removed.iter().map(|file| file.at).max().unwrap_or(record.at);
            let refused = record.counts.rejected > 0 || removed.iter().any(|file| file.refused);
            let file = ActiveFile { added: added.clone(), first, at, refused };
            self.files.insert(added.path.clone(), file);
        }
        for moved in record.streams.iter().filter(|moved| moved.stream != DIVISION_STREAM) {
            let state = self.stream(&moved.stream);
            self.streams.insert(moved.stream.clone(), moved.state_after(state, record.division.generation));
            if let (RecordKind::Truncation, Some(from)) = (record.kind, moved.from) {
                let (stream, version, to) = (moved.stream.clone(), record.version, moved.to);
                self.truncations.push(Truncation { stream, version, from, to });
            }
        }
        if record.kind == RecordKind::Rows {
            self.counts += record.counts;
        }
        self.version = record.version;
        self.digest = Sha256Digest::of(entry);
        self.at = Some(record.at);
        self.division = record.division;
        self.frontier = frontier;
        self.checkpoint = record.checkpoint.or(self.checkpoint);
        self.key = Some(record.key);
    }
}
