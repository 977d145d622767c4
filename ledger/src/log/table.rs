//! The one commit point, and open = recover, for every Delta table of a ledger.
//!
//! A commit is: write one Parquet file, make it durable, then put one log entry if and only if its
//! version is free. Everything else follows from that compare-and-swap:
//!
//! ```text
//!   Ok                                   -> it landed
//!   Err = unknown -> read the entry of our version:
//!     none                               -> put again, the same entry with the same file
//!     ours, byte for byte                -> it landed
//!     a compaction                       -> nothing was added or moved: follow it, commit on the version after
//!     somebody else's                    -> fenced: stop, leave the file, nobody will ever read it
//! ```
//!
//! Opening replays the log: each entry must be what its record renders to, must name the digest of
//! the entry before it, and must state the tree head that follows. So no bit of the log can change,
//! and no entry can be taken out, without the next open saying so.
//!
//! It deliberately never rebases a commit on rows it has not seen, never deletes a file, never
//! cleans up the log, and reads nothing from Delta's checkpoints, which are made for other readers.

use super::checkpoint;
use super::creation::{self, Created, Creation, Metadata};
use super::entry::{damaged_entry, read_entry};
use super::missing::why_not_there;
use super::state::Log;
use super::tail::check_tail;
use crate::error::LedgerError;
use crate::places::{self, RowsFile};
use crate::row::columns::columns_of;
use crate::store::Location;
use crate::store::disk::unique_name;
use bytes::Bytes;
use object_store::Error as StoreError;
use proof::hash::RootHash;
use proof::leaf_key::LeafKeyId;
use proof::merkle::Frontier;
use proof::record::{
    AddedFile, BatchRecord, Division, JOURNAL, MadeCheckpoint, MeterControl, RecordKind, RemovedFile,
};
use schemas::digest::Sha256Digest;
use schemas::outcome::Tally;
use schemas::position::StreamMove;
use schemas::time::Instant;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Commits from one Delta checkpoint to the next.
const CHECKPOINT_EVERY: u64 = 100;
/// Puts of one commit before its storage is called unavailable.
const COMMIT_ATTEMPTS: u32 = 5;

/// One Delta table with one writer.
pub struct Table {
    ledger: Location,
    location: Location,
    /// Tells this writer's files from those of a twin that commits the very same rows: whose commit
    /// landed must not be a guess.
    writer: String,
    metadata: Arc<Metadata>,
    log: Log,
    /// Filled by the task that makes Delta's checkpoints, taken by the next commit.
    made: Arc<Mutex<Option<MadeCheckpoint>>>,
    making: Option<JoinHandle<()>>,
}

/// The rows of a commit, sealed for one version: a Parquet file, and what the record says of it.
pub struct SealedRows {
    pub file: Bytes,
    pub rows: u64,
    pub counts: Tally,
    pub rows_root: RootHash,
    pub subjects: u64,
    pub subjects_root: RootHash,
    /// The usage that is new to the ledger, ascending by meter.
    pub meters: Vec<MeterControl>,
}

/// A commit to be made, whichever version it will be.
pub struct Commit<'a> {
    pub kind: RecordKind,
    pub at: Instant,
    pub division: Division,
    pub key: LeafKeyId,
    /// Ascending by application.
    pub streams: Vec<StreamMove>,
    /// Rows name their version, and their nonces depend on it.
    pub seal: &'a dyn Fn(u64) -> Option<SealedRows>,
}

/// The outcome of a put.
enum Put {
    Landed,
    /// A compaction has taken the version; it has been followed.
    Followed,
}

impl Table {
    /// Creates the empty table `number` of a ledger: a shard, or the journal.
    ///
    /// # Errors
    /// `Invalid` when another made it for something else, `Storage` otherwise. One that is there
    /// already, made for the same, is no error: whoever made it may not have lived to tell.
    pub(crate) async fn create(ledger: &Location, number: u32, key: LeafKeyId) -> Result<(), LedgerError> {
        let location = places::table(ledger, number);
        places::entries(&location).create_folder().await?;
        let creation = Creation { shard: number, key };
        let entry = Bytes::from(creation.render(columns_of(number)));
        match places::entry(&location, 0).put_new(entry).await {
            Ok(()) => {}
            Err(StoreError::AlreadyExists { .. }) => {
                let there = creation::read(&location, columns_of(number)).await?.creation;
                if there.is_some_and(|there| there != creation) {
                    return Err(LedgerError::invalid(
                        &location,
                        "it was created for another ledger or shard",
                    ));
                }
            }
            Err(error) => return Err(LedgerError::storage(&location, "creating the table", &error)),
        }
        location.sync_names().await
    }

    /// Whether [`Self::create`] came to its end here.
    pub(crate) async fn exists(ledger: &Location, number: u32) -> Result<bool, LedgerError> {
        places::entry(&places::table(ledger, number), 0).exists().await
    }

    /// Opens a table of a ledger and checks everything its log says.
    ///
    /// # Errors
    /// `Invalid` when there is no table or a property is dangerous, `Corrupt` when an entry or the
    /// columns are not what was written, `Storage` otherwise.
    pub async fn open(ledger: &Location, number: u32) -> Result<Self, LedgerError> {
        Self::replay(ledger, number, None, &mut |_| Ok(())).await
    }

    /// Opens a table as it was at `version`.
    ///
    /// # Errors
    /// As [`Self::open`], and `Invalid` when there is no such version.
    pub(crate) async fn open_at(ledger: &Location, number: u32, version: u64) -> Result<Self, LedgerError> {
        Self::replay(ledger, number, Some(version), &mut |_| Ok(())).await
    }

    /// As [`Self::open`], or as the table was at `version`, and shows each record as it is replayed.
    ///
    /// # Errors
    /// As [`Self::open`], `Invalid` when there is no such version, and what `see` says.
    pub async fn replay(
        ledger: &Location,
        number: u32,
        version: Option<u64>,
        see: &mut (dyn FnMut(&BatchRecord) -> Result<(), LedgerError> + Send),
    ) -> Result<Self, LedgerError> {
        let location = places::table(ledger, number);
        if matches!(number, JOURNAL | 0)
            && !Self::exists(ledger, number).await?
            && places::entries(&location).list().await?.objects.is_empty()
        {
            return Err(why_not_there(ledger, number).await?);
        }
        let created = creation::read(&location, columns_of(number)).await?;
        let key = match created.creation {
            Some(Creation { shard, .. }) if shard != number => {
                let (is, should) = (places::shard_name(shard), places::shard_name(number));
                let detail = format!("it was created as shard {is}, not {should}; restore it from a copy");
                return Err(LedgerError::corrupt(&places::entry(&location, 0), detail));
            }
            creation => creation.map(|creation| creation.key),
        };
        let mut log = Log::begin(number, Sha256Digest::of(&created.entry), key);
        follow(&location, &mut log, version, see).await?;
        match version {
            Some(version) if log.version != version => {
                return Err(LedgerError::invalid(
                    &location,
                    format!("there is no version {version}; the last one is {}", log.version),
                ));
            }
            Some(_) => {}
            None => check_tail(&location, log.version).await?,
        }
        let Created { metadata, .. } = created;
        let metadata = Arc::new(metadata);
        let writer = unique_name();
        let ledger = ledger.clone();
        Ok(Self { ledger, location, writer, metadata, log, made: Arc::default(), making: None })
    }

    /// Reads the entries that others have committed since this table was opened, and checks them as
    /// [`Self::open`] does.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn catch_up(&mut self) -> Result<(), LedgerError> {
        follow(&self.location, &mut self.log, None, &mut |_| Ok(())).await
    }

    /// Checks that the storage can do what a commit rests on.
    ///
    /// # Errors
    /// `Invalid` when a put does not respect a name that is taken.
    pub async fn probe(&self) -> Result<(), LedgerError> {
        self.location.probe().await
    }

    /// Where the table is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Delta's id of the table, which names its log.
    pub fn id(&self) -> &str {
        &self.metadata.id
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// SHA-256 of each log entry but the creation, by version.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn entry_digests(&self) -> Result<BTreeMap<u64, [u8; 32]>, LedgerError> {
        let mut digests = BTreeMap::new();
        let mut see = |record: &BatchRecord| {
            if record.version > 1 {
                digests.insert(record.version - 1, *record.previous.as_bytes());
            }
            Ok(())
        };
        Self::replay(&self.ledger, self.log.shard(), None, &mut see).await?;
        digests.insert(self.version(), *self.log.digest().as_bytes());
        Ok(digests)
    }

    /// The version of the last commit.
    pub fn version(&self) -> u64 {
        self.log.version
    }

    /// The properties as this table has them, for people.
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.metadata.properties
    }

    /// Commits rows and positions together as the version after the last, or nothing at all.
    ///
    /// # Errors
    /// `Fenced` when another writer took the version; `Storage` when it could not be decided within
    /// a few attempts, in which case reopening decides it.
    pub async fn commit(&mut self, commit: &Commit<'_>) -> Result<u64, LedgerError> {
        loop {
            let version = self.log.version + 1;
            let sealed = (commit.seal)(version);
            let added = match &sealed {
                Some(sealed) => vec![self.write_rows(RowsFile::Written, sealed, version).await?],
                None => Vec::new(),
            };
            let mut record = BatchRecord {
                kind: commit.kind,
                division: commit.division,
                key: commit.key,
                added,
                streams: commit.streams.clone(),
                ..self.blank_record(version, commit.at)
            };
            if let Some(sealed) = sealed {
                record = BatchRecord {
                    counts: sealed.counts,
                    rows_root: sealed.rows_root,
                    subjects: sealed.subjects,
                    subjects_root: sealed.subjects_root,
                    meters: sealed.meters,
                    ..record
                };
            }
            if let Put::Landed = self.put(&record).await? {
                if version.is_multiple_of(CHECKPOINT_EVERY) {
                    self.make_checkpoint();
                }
                return Ok(version);
            }
        }
    }

    /// Commits that `removed` files' rows are now in `rows`, which the caller has proved to be the
    /// same. Nothing is added or moved.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn commit_compaction(
        &mut self,
        removed: Vec<RemovedFile>,
        sealed: SealedRows,
        at: Instant,
    ) -> Result<u64, LedgerError> {
        let version = self.log.version + 1;
        let added = vec![self.write_rows(RowsFile::Compacted, &sealed, version).await?];
        let key = self.log.key.expect("a table with files to compact has commits");
        let record = BatchRecord {
            kind: RecordKind::Compaction,
            division: self.log.division,
            key,
            removed,
            added,
            counts: sealed.counts,
            rows_root: sealed.rows_root,
            ..self.blank_record(version, at)
        };
        match self.put(&record).await? {
            Put::Landed => Ok(version),
            Put::Followed => Err(self.fenced(version)),
        }
    }

    fn blank_record(&self, version: u64, at: Instant) -> BatchRecord {
        let nothing = Frontier::default().root();
        BatchRecord {
            kind: RecordKind::Rows,
            shard: self.log.shard(),
            version,
            at: self.log.at.map_or(at, |last| last.max(at)),
            previous: self.log.digest(),
            division: self.log.division,
            key: LeafKeyId([0; 8]),
            removed: Vec::new(),
            added: Vec::new(),
            streams: Vec::new(),
            counts: Tally::default(),
            rows_root: nothing,
            subjects: 0,
            subjects_root: nothing,
            checkpoint: self.made.lock().unwrap_or_else(PoisonError::into_inner).take(),
            meters: Vec::new(),
        }
    }

    /// The compare-and-swap.
    async fn put(&mut self, record: &BatchRecord) -> Result<Put, LedgerError> {
        let version = record.version;
        let (frontier, head) = self.log.check(record).map_err(|detail| {
            LedgerError::invalid(&self.location, format!("a commit was refused: {detail}"))
        })?;
        let entry = Bytes::from(record.render(&head));
        let location = places::entry(&self.location, version);
        let mut delay = Duration::from_millis(50);
        for attempt in 1..=COMMIT_ATTEMPTS {
            fail::fail_point!("commit.before-put");
            let put = location.put_new(entry.clone()).await;
            let put = put.and_then(|done| answer_lost().map(|()| done));
            let failure = match put {
                // From here on a crash is harmless: rows and positions are in the log together.
                Ok(_) => {
                    fail::fail_point!("commit.landed");
                    self.log.advance(&entry, record, frontier);
                    return Ok(Put::Landed);
                }
                Err(failure) => failure,
            };
            tracing::warn!(event = "commit.unknown", location = %self.location, version, attempt, error = %failure, "the outcome of a commit is unknown; reading the log to decide it");
            let taken = matches!(failure, StoreError::AlreadyExists { .. } | StoreError::Precondition { .. });
            match read_entry(&self.location, version).await {
                // An entry that a put found in its place is durable; one that it left when it
                // failed may not be, so it is put again.
                Ok(Some(found)) if found == entry && taken => {
                    self.log.advance(&entry, record, frontier);
                    return Ok(Put::Landed);
                }
                Ok(Some(found)) if found != entry => return self.overtaken(version, &found).await,
                Ok(_) | Err(_) if attempt < COMMIT_ATTEMPTS => {
                    tokio::time::sleep(delay).await;
                    delay *= 2;
                }
                Ok(_) => return Err(self.storage("committing", &failure)),
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Another program has committed our version. A compaction changes no row and no position, so
    /// it can be followed.
    async fn overtaken(&mut self, version: u64, found: &[u8]) -> Result<Put, LedgerError> {
        let followed = match BatchRecord::from_entry(found) {
            Ok((record, _)) if record.kind != RecordKind::Compaction => return Err(self.fenced(version)),
            Ok((record, head)) => self.log.follow(found, &record, &head),
            Err(detail) => Err(detail),
        };
        if let Err(detail) = followed {
            return Err(damaged_entry(&self.location, version, found, detail).await);
        }
        tracing::info!(event = "commit.followed", location = %self.location, version, "the table was compacted meanwhile; committing after that");
        Ok(Put::Followed)
    }

    fn fenced(&self, expected: u64) -> LedgerError {
        LedgerError::Fenced { location: self.location.to_string(), expected }
    }

    /// Writes rows as one durable Parquet file and reads its bytes back, so that what the record
    /// names is what the disk gives.
    async fn write_rows(
        &self,
        kind: RowsFile,
        sealed: &SealedRows,
        version: u64,
    ) -> Result<AddedFile, LedgerError> {
        let path = kind.name(version, &self.writer);
        let size = sealed.file.len() as u64;
        let location = self.location.join(&path);
        fail::fail_point!("rows.before-put");
        location.put_new(sealed.file.clone()).await.map_err(|error| self.storage("writing rows", &error))?;
        fail::fail_point!("rows.durable");
        let read = location.read_back().await?;
        if read != sealed.file {
            return Err(LedgerError::corrupt(
                &location,
                "the disk gives back other bytes than were written; nothing was committed; check the disk and run again",
            ));
        }
        Ok(AddedFile { path, bytes: size, digest: Sha256Digest::of(&read), rows: sealed.rows })
    }

    /// Makes a Delta checkpoint of the last version for other readers, beside everything else. A
    /// failure is told and nothing more: the next one makes up for it.
    fn make_checkpoint(&mut self) {
        // One at a time: a slow disk skips some.
        if self.making.as_ref().is_some_and(|making| !making.is_finished()) {
            return;
        }
        let (location, made) = (self.location.clone(), self.made.clone());
        let (metadata, log) = (self.metadata.clone(), self.log.clone());
        self.making = Some(tokio::spawn(async move {
            let version = log.version;
            match checkpoint::make(&location, &metadata, &log).await {
                Ok(checkpoint) => *made.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint),
                Err(error) => {
                    tracing::warn!(event = "checkpoint.failed", %location, version, %error, "no Delta checkpoint was written; other programs open the ledger more slowly until the next one");
                }
            }
        }));
    }

    /// Waits for the checkpoint that is being made, if one is.
    pub(crate) async fn finish_checkpoint(&mut self) {
        if let Some(making) = self.making.take()
            && let Err(error) = making.await
        {
            tracing::warn!(event = "checkpoint.failed", location = %self.location, %error, "no Delta checkpoint was written");
        }
    }

    fn storage(&self, doing: &'static str, error: &impl ToString) -> LedgerError {
        LedgerError::storage(&self.location, doing, error)
    }
}

/// Follows a log to `version`, or to its last entry.
async fn follow(
    location: &Location,
    log: &mut Log,
    version: Option<u64>,
    see: &mut (dyn FnMut(&BatchRecord) -> Result<(), LedgerError> + Send),
) -> Result<(), LedgerError> {
    while version.is_none_or(|version| log.version < version) {
        let next = log.version + 1;
        let Some(entry) = read_entry(location, next).await? else { break };
        let followed = BatchRecord::from_entry(&entry)
            .and_then(|(record, head)| log.follow(&entry, &record, &head).map(|()| record));
        match followed {
            Ok(record) => see(&record)?,
            Err(detail) => return Err(damaged_entry(location, next, &entry, detail).await),
        }
    }
    Ok(())
}

/// Where tests lose the answer to a put that landed.
fn answer_lost() -> Result<(), StoreError> {
    fail::fail_point!("commit.answer-lost", |_| Err(StoreError::Generic {
        store: "test",
        source: "the answer was lost".into()
    }));
    Ok(())
}
