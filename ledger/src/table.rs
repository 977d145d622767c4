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

use crate::error::LedgerError;
use crate::head::head_path;
use crate::merkle::{self, Frontier, Hash};
use crate::record::{
    AddedFile, BatchRecord, Counts, JOURNAL, LAYOUT_APPLICATION, Layout, MadeCheckpoint, Moved, RecordKind,
    RemovedFile, TreeHead,
};
use crate::row::{Column, ColumnType, arrow_schema};
use crate::store::{object_path, probe, read_back, unique_name};
use bytes::Bytes;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::kernel::{DataType, PrimitiveType, StructField};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::SaveMode;
use deltalake::table::config::TablePropertiesExt as _;
use deltalake::{DeltaTable, DeltaTableBuilder};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use schemas::digest::Sha256Digest;
use schemas::position::{NextOffset, StreamIdentity};
use schemas::time::Instant;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// What a table must be set to, and why. Read back at every open, because Delta takes an unreadable
/// value for its default.
const PROPERTIES: &[(&str, &str)] = &[
    // Nothing is edited.
    ("delta.appendOnly", "true"),
    // The default deletes log entries older than 30 days after every commit.
    ("delta.enableExpiredLogCleanup", "false"),
    ("delta.logRetentionDuration", "interval 5200 weeks"),
    ("delta.deletedFileRetentionDuration", "interval 5200 weeks"),
    ("delta.checkpointInterval", "100"),
];
const RETENTION: Duration = Duration::from_secs(5200 * 7 * 24 * 60 * 60);
/// Commits from one Delta checkpoint to the next.
const CHECKPOINT_EVERY: u64 = 100;
/// Puts of one commit before its storage is called unavailable.
const COMMIT_ATTEMPTS: u32 = 5;

/// One Delta table with one writer.
pub struct Table {
    store: Arc<dyn ObjectStore>,
    folder: PathBuf,
    /// Tells this writer's files from those of a twin that commits the very same rows: whose commit
    /// landed must not be a guess.
    writer: String,
    id: String,
    properties: Vec<(String, String)>,
    log: Log,
    /// Filled by the task that makes Delta's checkpoints, taken by the next commit.
    made: Arc<Mutex<Option<MadeCheckpoint>>>,
    making: Option<JoinHandle<()>>,
}

/// What the log says up to a version.
#[derive(Debug, Clone)]
pub struct Log {
    shard: u32,
    pub version: u64,
    /// The digest of the last entry.
    digest: Sha256Digest,
    /// When the last commit was made; `None` before the first.
    pub at: Option<Instant>,
    frontier: Frontier,
    pub layout: Layout,
    pub files: BTreeMap<String, ActiveFile>,
    streams: BTreeMap<String, StreamState>,
    pub checkpoint: Option<MadeCheckpoint>,
    pub key: Option<[u8; 8]>,
    pub counts: Counts,
}

/// A file whose rows are in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveFile {
    pub added: AddedFile,
    /// The first commit whose rows it holds.
    pub first: u64,
    /// When the last commit whose rows it holds was made.
    pub at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StreamState {
    next: NextOffset,
    identity: Option<StreamIdentity>,
    /// The layout under which it was moved last: under another one it may have been read elsewhere
    /// meanwhile.
    epoch: u32,
}

/// The rows of a commit, sealed for one version: a Parquet file, and what the record says of it.
pub struct SealedRows {
    pub file: Bytes,
    pub rows: u64,
    pub counts: Counts,
    pub rows_root: Hash,
    pub subjects: u64,
    pub subjects_root: Hash,
}

/// What is to be committed, whichever version it will be.
pub struct Commit<'a> {
    pub at: Instant,
    pub layout: Layout,
    pub key: [u8; 8],
    /// Ascending by application.
    pub streams: Vec<Moved>,
    /// Rows name their version, and their nonces depend on it.
    pub seal: &'a dyn Fn(u64) -> Option<SealedRows>,
}

impl Log {
    /// The log of a table that was just created by an entry of this digest.
    fn begin(shard: u32, digest: Sha256Digest) -> Self {
        Self {
            shard,
            version: 0,
            digest,
            at: None,
            frontier: Frontier::default(),
            layout: Layout::FIRST,
            files: BTreeMap::new(),
            streams: BTreeMap::new(),
            checkpoint: None,
            key: None,
            counts: Counts::default(),
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

    pub fn streams(&self) -> impl Iterator<Item = (&str, NextOffset, Option<StreamIdentity>)> {
        self.streams.iter().map(|(application, state)| (application.as_str(), state.next, state.identity))
    }

    /// Follows the next entry, if it can follow.
    ///
    /// # Errors
    /// Why it cannot, as part of a sentence. Nothing has changed then.
    fn follow(&mut self, entry: &[u8], record: &BatchRecord, head: &TreeHead) -> Result<(), String> {
        let (frontier, follows) = self.check(record)?;
        if *head != follows {
            return Err("its tree head is not the one that follows from the records".to_owned());
        }
        self.advance(entry, record, frontier);
        Ok(())
    }

    /// Whether a record can be the next, and the tree then.
    fn check(&self, record: &BatchRecord) -> Result<(Frontier, TreeHead), String> {
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
        if record.layout < self.layout {
            return Err("it goes back to an earlier division into shards".to_owned());
        }
        for moved in record.streams.iter().filter(|moved| moved.application != LAYOUT_APPLICATION) {
            let fits = match (self.streams.get(&moved.application), moved.from) {
                (None, _) => true,
                (Some(state), Some(from)) => {
                    state.next == from || (state.epoch < record.layout.epoch && state.next < from)
                }
                (Some(_), None) => false,
            };
            if !fits || moved.from.is_some_and(|from| moved.to < from) {
                return Err(format!("it moves {} from where it did not stand", moved.application));
            }
        }
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
    fn advance(&mut self, entry: &[u8], record: &BatchRecord, frontier: Frontier) {
        let removed: Vec<ActiveFile> =
            record.removed.iter().filter_map(|file| self.files.remove(&file.path)).collect();
        for added in &record.added {
            // A copy stands where what it copies stood.
            let first = removed.iter().map(|file| file.first).min().unwrap_or(record.version);
            let at = removed.iter().map(|file| file.at).max().unwrap_or(record.at);
            let file = ActiveFile { added: added.clone(), first, at };
            self.files.insert(added.path.clone(), file);
        }
        for moved in record.streams.iter().filter(|moved| moved.application != LAYOUT_APPLICATION) {
            let known = self.streams.get(&moved.application).and_then(|state| state.identity);
            let state = StreamState {
                next: moved.to,
                identity: moved.identity.or(known),
                epoch: record.layout.epoch,
            };
            self.streams.insert(moved.application.clone(), state);
        }
        if record.kind == RecordKind::Rows {
            self.counts.usage += record.counts.usage;
            self.counts.rejected += record.counts.rejected;
            self.counts.gaps += record.counts.gaps;
        }
        self.version = record.version;
        self.digest = Sha256Digest::of(entry);
        self.at = Some(record.at);
        self.layout = record.layout;
        self.frontier = frontier;
        self.checkpoint = record.checkpoint.or(self.checkpoint);
        self.key = Some(record.key);
    }
}

/// What became of a put.
enum Put {
    Landed,
    /// A compaction has taken the version; it has been followed.
    Followed,
}

impl Table {
    /// Creates an empty table in a folder that has none.
    ///
    /// # Errors
    /// When there is one already, or storage fails.
    pub async fn create(
        store: &Arc<dyn ObjectStore>,
        folder: &Path,
        columns: &[Column],
    ) -> Result<(), LedgerError> {
        std::fs::create_dir_all(folder)
            .map_err(|error| LedgerError::storage(&folder.display(), "creating the folder", &error))?;
        let location = table_url(folder)?;
        let table = DeltaTableBuilder::from_url(location.clone())
            .map_err(|error| LedgerError::storage(&folder.display(), "creating the table", &error))?
            .with_storage_backend(store.clone(), location)
            .build()
            .map_err(|error| LedgerError::storage(&folder.display(), "creating the table", &error))?;
        CreateBuilder::new()
            .with_log_store(table.log_store())
            .with_save_mode(SaveMode::ErrorIfExists)
            // Where another creates it at the same time, Delta would try again and create it in
            // version 1 once more.
            .with_commit_properties(CommitProperties::default().with_max_retries(0))
            .with_columns(columns.iter().map(delta_field).collect::<Vec<_>>())
            .with_configuration(
                PROPERTIES.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))),
            )
            .await
            .map_err(|error| LedgerError::storage(&folder.display(), "creating the table", &error))?;
        sync_names(folder)
    }

    /// Makes durable that the table is where it is, whoever created it.
    ///
    /// # Errors
    /// `Storage`.
    pub fn sync_names(&self) -> Result<(), LedgerError> {
        sync_names(&self.folder)
    }

    /// Whether [`Self::create`] came to its end here.
    pub fn exists(folder: &Path) -> bool {
        entry_path(folder, 0).is_file()
    }

    /// Opens a table and checks everything its log says.
    ///
    /// # Errors
    /// `Invalid` when there is no table or a property is dangerous, `Corrupt` when an entry or the
    /// columns are not what was written, `Storage` otherwise.
    pub async fn open(
        store: &Arc<dyn ObjectStore>,
        folder: &Path,
        shard: u32,
        columns: &[Column],
    ) -> Result<Self, LedgerError> {
        Self::load(store, folder, shard, columns, None, &mut |_| Ok(())).await
    }

    /// Opens a table as it was at `version`.
    ///
    /// # Errors
    /// As [`Self::open`], and `Invalid` when there is no such version.
    pub async fn open_at(
        store: &Arc<dyn ObjectStore>,
        folder: &Path,
        shard: u32,
        columns: &[Column],
        version: u64,
    ) -> Result<Self, LedgerError> {
        Self::load(store, folder, shard, columns, Some(version), &mut |_| Ok(())).await
    }

    /// As [`Self::open`], and shows each record as it is replayed.
    ///
    /// # Errors
    /// As [`Self::open`], and what `see` says.
    pub async fn replay(
        store: &Arc<dyn ObjectStore>,
        folder: &Path,
        shard: u32,
        columns: &[Column],
        see: &mut dyn FnMut(&BatchRecord) -> Result<(), LedgerError>,
    ) -> Result<Self, LedgerError> {
        Self::load(store, folder, shard, columns, None, see).await
    }

    async fn load(
        store: &Arc<dyn ObjectStore>,
        folder: &Path,
        shard: u32,
        columns: &[Column],
        version: Option<u64>,
        see: &mut dyn FnMut(&BatchRecord) -> Result<(), LedgerError>,
    ) -> Result<Self, LedgerError> {
        if !folder.join("_delta_log").is_dir() {
            return Err(LedgerError::invalid(
                &folder.display(),
                "there is no ledger here; `atcost init` makes one",
            ));
        }
        let location = table_url(folder)?;
        let first = read_entry(&**store, folder, 0).await?;
        let Some(first) = first else {
            return Err(LedgerError::corrupt(
                &folder.display(),
                "the first log entry is gone; restore the ledger from a copy",
            ));
        };
        // Entries after the first cannot change properties or columns, because only ours are
        // followed.
        let created = DeltaTableBuilder::from_url(location.clone())
            .map(|builder| builder.with_storage_backend(store.clone(), location).with_version(0))
            .map_err(|error| LedgerError::storage(&folder.display(), "opening", &error))?
            .load()
            .await
            .map_err(|error| {
                LedgerError::corrupt(
                    &entry_path(folder, 0).display(),
                    format!("the table cannot be read: {error}"),
                )
            })?;
        check_properties(&created, folder)?;
        check_columns(&created, folder, columns)?;
        let state = created
            .snapshot()
            .map_err(|error| LedgerError::storage(&folder.display(), "reading the log", &error))?;
        let id = state.metadata().id().to_string();
        let mut properties: Vec<_> = state.metadata().configuration().clone().into_iter().collect();
        properties.sort();

        let mut log = Log::begin(shard, Sha256Digest::of(&first));
        while version.is_none_or(|version| log.version < version) {
            let next = log.version + 1;
            let Some(entry) = read_entry(&**store, folder, next).await? else { break };
            let (record, head) = BatchRecord::from_entry(&entry)
                .map_err(|detail| damaged_entry(folder, next, &entry, detail))?;
            log.follow(&entry, &record, &head)
                .map_err(|detail| damaged_entry(folder, next, &entry, detail))?;
            see(&record)?;
        }
        match version {
            Some(version) if log.version != version => {
                return Err(LedgerError::invalid(
                    &folder.display(),
                    format!("there is no version {version}; the last one is {}", log.version),
                ));
            }
            Some(_) => {}
            None => check_tail(folder, log.version)?,
        }
        Ok(Self {
            store: store.clone(),
            folder: folder.to_owned(),
            writer: unique_name(),
            id,
            properties,
            log,
            made: Arc::default(),
            making: None,
        })
    }

    /// Checks that the storage can do what a commit rests on.
    ///
    /// # Errors
    /// `Invalid` when a put does not respect a name that is taken.
    pub async fn probe(&self) -> Result<(), LedgerError> {
        probe(&*self.store, &self.folder).await
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Delta's id of the table, which names its log.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The version of the last commit.
    pub fn version(&self) -> u64 {
        self.log.version
    }

    /// The properties as this table has them, for people.
    pub fn properties(&self) -> Vec<(String, String)> {
        self.properties.clone()
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
                Some(sealed) => vec![self.write_rows("rows", sealed, version).await?],
                None => Vec::new(),
            };
            let nothing = (Counts::default(), Frontier::default().root(), 0, Frontier::default().root());
            let (counts, rows_root, subjects, subjects_root) = sealed.map_or(nothing, |sealed| {
                (sealed.counts, sealed.rows_root, sealed.subjects, sealed.subjects_root)
            });
            let layouts = commit.streams.iter().any(|moved| moved.application == LAYOUT_APPLICATION);
            let record = BatchRecord {
                kind: if layouts { RecordKind::Layout } else { RecordKind::Rows },
                layout: commit.layout,
                key: commit.key,
                added,
                streams: commit.streams.clone(),
                counts,
                rows_root,
                subjects,
                subjects_root,
                ..self.blank_record(version, commit.at)
            };
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
        let added = vec![self.write_rows("compacted", &sealed, version).await?];
        let key = self.log.key.expect("a table with files to compact has commits");
        let record = BatchRecord {
            kind: RecordKind::Compaction,
            layout: self.log.layout,
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
            shard: self.log.shard,
            version,
            at: self.log.at.map_or(at, |last| last.max(at)),
            previous: self.log.digest,
            layout: self.log.layout,
            key: [0; 8],
            removed: Vec::new(),
            added: Vec::new(),
            streams: Vec::new(),
            counts: Counts::default(),
            rows_root: nothing,
            subjects: 0,
            subjects_root: nothing,
            checkpoint: self.made.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }

    /// The compare-and-swap.
    async fn put(&mut self, record: &BatchRecord) -> Result<Put, LedgerError> {
        let version = record.version;
        let (frontier, head) = self.log.check(record).map_err(|detail| {
            LedgerError::invalid(&self.folder.display(), format!("a commit was refused: {detail}"))
        })?;
        let entry = Bytes::from(record.render(&head));
        let location = object_path(&entry_path(&self.folder, version))?;
        let mut delay = Duration::from_millis(50);
        for attempt in 1..=COMMIT_ATTEMPTS {
            fail::fail_point!("commit.before-put");
            let put = self
                .store
                .put_opts(&location, PutPayload::from_bytes(entry.clone()), PutOptions::from(PutMode::Create))
                .await;
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
            tracing::warn!(event = "commit.unknown", location = %self.folder.display(), version, attempt, error = %failure, "the outcome of a commit is unknown; reading the log to decide it");
            let taken = matches!(failure, StoreError::AlreadyExists { .. } | StoreError::Precondition { .. });
            match read_entry(&*self.store, &self.folder, version).await {
                // What a put found in its place is durable; what it left behind when it failed may
                // not be, so it is put again.
                Ok(Some(found)) if found == entry && taken => {
                    self.log.advance(&entry, record, frontier);
                    return Ok(Put::Landed);
                }
                Ok(Some(found)) if found != entry => return self.overtaken(version, &found),
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
    fn overtaken(&mut self, version: u64, found: &[u8]) -> Result<Put, LedgerError> {
        let (record, head) = BatchRecord::from_entry(found)
            .map_err(|detail| damaged_entry(&self.folder, version, found, detail))?;
        if record.kind != RecordKind::Compaction {
            return Err(self.fenced(version));
        }
        self.log
            .follow(found, &record, &head)
            .map_err(|detail| damaged_entry(&self.folder, version, found, detail))?;
        tracing::info!(event = "commit.followed", location = %self.folder.display(), version, "the table was compacted meanwhile; committing after that");
        Ok(Put::Followed)
    }

    fn fenced(&self, expected: u64) -> LedgerError {
        LedgerError::Fenced { location: self.folder.display().to_string(), expected }
    }

    /// Writes rows as one durable Parquet file and reads its bytes back, so that what the record
    /// names is what the disk gives.
    async fn write_rows(
        &self,
        prefix: &str,
        sealed: &SealedRows,
        version: u64,
    ) -> Result<AddedFile, LedgerError> {
        let path = format!("{prefix}-{version:020}-{}.parquet", self.writer);
        let size = sealed.file.len() as u64;
        let location = object_path(&self.folder.join(&path))?;
        fail::fail_point!("rows.before-put");
        self.store
            .put_opts(
                &location,
                PutPayload::from_bytes(sealed.file.clone()),
                PutOptions::from(PutMode::Create),
            )
            .await
            .map_err(|error| self.storage("writing rows", &error))?;
        fail::fail_point!("rows.durable");
        let read = read_back(&*self.store, &location)
            .await
            .map_err(|error| self.storage("reading rows back", &error))?;
        if read != sealed.file {
            return Err(LedgerError::corrupt(
                &self.folder.join(&path).display(),
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
        let (store, folder, version, made) =
            (self.store.clone(), self.folder.clone(), self.log.version, self.made.clone());
        self.making = Some(tokio::spawn(async move {
            match checkpoint(&store, &folder, version).await {
                Ok(checkpoint) => *made.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint),
                Err(error) => {
                    tracing::warn!(event = "checkpoint.failed", location = %folder.display(), version, %error, "no Delta checkpoint was written; other programs open the ledger more slowly until the next one");
                }
            }
        }));
    }

    /// Waits for the checkpoint that is being made, if one is.
    pub async fn settle(&mut self) {
        if let Some(making) = self.making.take()
            && let Err(error) = making.await
        {
            tracing::warn!(event = "checkpoint.failed", location = %self.folder.display(), %error, "no Delta checkpoint was written");
        }
    }

    fn storage(&self, doing: &'static str, error: &impl ToString) -> LedgerError {
        LedgerError::storage(&self.folder.display(), doing, error)
    }
}

/// Where tests lose the answer to a put that landed.
fn answer_lost() -> Result<(), StoreError> {
    fail::fail_point!("commit.answer-lost", |_| Err(StoreError::Generic {
        store: "test",
        source: "the answer was lost".into()
    }));
    Ok(())
}

/// The log entry of a version.
pub(crate) fn entry_path(folder: &Path, version: u64) -> PathBuf {
    folder.join("_delta_log").join(format!("{version:020}.json"))
}

/// Delta's checkpoint of a version.
pub(crate) fn checkpoint_path(folder: &Path, version: u64) -> PathBuf {
    folder.join("_delta_log").join(format!("{version:020}.checkpoint.parquet"))
}

async fn checkpoint(
    store: &Arc<dyn ObjectStore>,
    folder: &Path,
    version: u64,
) -> Result<MadeCheckpoint, LedgerError> {
    let failed = |error: deltalake::DeltaTableError| {
        LedgerError::storage(&folder.display(), "writing a Delta checkpoint", &error)
    };
    let location = table_url(folder)?;
    let builder = DeltaTableBuilder::from_url(location.clone())
        .map_err(failed)?
        .with_storage_backend(store.clone(), location);
    let table = builder.with_version(version).load().await.map_err(failed)?;
    fail::fail_point!("checkpoint.before");
    deltalake::checkpoints::create_checkpoint(&table, None).await.map_err(failed)?;
    fail::fail_point!("checkpoint.made");
    let path = checkpoint_path(folder, version);
    let bytes = store
        .get(&object_path(&path)?)
        .await
        .map_err(|error| LedgerError::storage(&path.display(), "reading", &error))?;
    let bytes =
        bytes.bytes().await.map_err(|error| LedgerError::storage(&path.display(), "reading", &error))?;
    Ok(MadeCheckpoint { version, digest: Sha256Digest::of(&bytes) })
}

async fn read_entry(
    store: &dyn ObjectStore,
    folder: &Path,
    version: u64,
) -> Result<Option<Bytes>, LedgerError> {
    let path = entry_path(folder, version);
    let failed = |error: StoreError| LedgerError::storage(&path.display(), "reading", &error);
    match store.get(&object_path(&path)?).await {
        Ok(found) => found.bytes().await.map(Some).map_err(failed),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Names an entry that cannot be followed, and what to do: a torn last one may go, if no signature
/// covers it.
fn damaged_entry(folder: &Path, version: u64, entry: &[u8], detail: String) -> LedgerError {
    let path = entry_path(folder, version);
    let last = !entry_path(folder, version + 1).exists();
    if !last || !BatchRecord::is_torn(entry) {
        return LedgerError::corrupt(&path.display(), format!("{detail}; restore the ledger from a copy"));
    }
    let length = entry.len();
    if signed_size(folder).is_some_and(|size| size >= version) {
        return LedgerError::corrupt(
            &path.display(),
            format!(
                "the last log entry is torn ({length} bytes), and a signed head covers it: it was durable once; restore the ledger from a copy"
            ),
        );
    }
    LedgerError::corrupt(
        &path.display(),
        format!(
            "the last log entry is torn ({length} bytes), as a power loss leaves it; move this one file aside and start again: what it held will be read again from the source"
        ),
    )
}

/// Refuses entries that stand beyond a hole, and a log that ends before its signed head: something
/// was taken away.
fn check_tail(folder: &Path, version: u64) -> Result<(), LedgerError> {
    let log = folder.join("_delta_log");
    let entries =
        std::fs::read_dir(&log).map_err(|error| LedgerError::storage(&log.display(), "listing", &error))?;
    for entry in entries {
        let name =
            entry.map_err(|error| LedgerError::storage(&log.display(), "listing", &error))?.file_name();
        let name = name.to_string_lossy();
        let beyond = name
            .strip_suffix(".json")
            .filter(|stem| stem.len() == 20)
            .and_then(|stem| stem.parse::<u64>().ok())
            .is_some_and(|found| found > version);
        // A commit of another process may have come between reading and listing; a hole stays a
        // hole.
        if beyond && !entry_path(folder, version + 1).exists() {
            return Err(LedgerError::corrupt(
                &log.join(&*name).display(),
                format!("the entry of version {} is missing before it; restore it from a copy", version + 1),
            ));
        }
    }
    match signed_size(folder) {
        // A head that is newer than our reading is no loss: the commits it covers are there.
        Some(size) if size > version && !entry_path(folder, size).exists() => Err(LedgerError::corrupt(
            &folder.display(),
            format!(
                "the log ends at version {version}, but a head over {size} commits was signed: commits are gone; restore them from a copy"
            ),
        )),
        _ => Ok(()),
    }
}

/// How many commits the published head covers. Not checked: a head that says too much stops the
/// ledger, one that says too little is found by `atcost verify ledger`.
fn signed_size(folder: &Path) -> Option<u64> {
    let note = std::fs::read_to_string(head_path(folder)).ok()?;
    note.lines().nth(1)?.parse().ok()
}

fn check_properties(table: &DeltaTable, folder: &Path) -> Result<(), LedgerError> {
    let state = table
        .snapshot()
        .map_err(|error| LedgerError::storage(&folder.display(), "reading the log", &error))?;
    let effective = state.table_config();
    let refusals = [
        (!effective.append_only(), "delta.appendOnly must be true: rows are never edited"),
        (
            effective.enable_expired_log_cleanup(),
            "delta.enableExpiredLogCleanup must be false: it deletes history after every commit",
        ),
        (
            effective.log_retention_duration() < RETENTION,
            "delta.logRetentionDuration must be `interval 5200 weeks`: a shorter one deletes history",
        ),
        (
            effective.deleted_file_retention_duration() < RETENTION,
            "delta.deletedFileRetentionDuration must be `interval 5200 weeks`: a shorter one deletes files",
        ),
        (
            effective.set_transaction_retention_duration.is_some(),
            "delta.setTransactionRetentionDuration must not be set: positions would be forgotten and records read again",
        ),
    ];
    match refusals.iter().find(|(refused, _)| *refused) {
        Some((_, why)) => Err(LedgerError::invalid(
            &folder.display(),
            format!("dangerous table property: {why}; set it back before using this ledger"),
        )),
        None => Ok(()),
    }
}

fn check_columns(table: &DeltaTable, folder: &Path, columns: &[Column]) -> Result<(), LedgerError> {
    let state = table
        .snapshot()
        .map_err(|error| LedgerError::storage(&folder.display(), "reading the log", &error))?;
    let found = state.snapshot().arrow_schema();
    let expected = arrow_schema(columns);
    let describe = |schema: &arrow::datatypes::Schema| {
        schema
            .fields()
            .iter()
            .map(|field| (field.name().clone(), field.data_type().clone(), field.is_nullable()))
            .collect::<Vec<_>>()
    };
    if describe(&found) == describe(&expected) {
        return Ok(());
    }
    Err(LedgerError::corrupt(
        &folder.display(),
        format!("its columns are not those this version writes; found {:?}", describe(&found)),
    ))
}

fn delta_field(column: &Column) -> StructField {
    let primitive = match column.kind {
        ColumnType::Text => PrimitiveType::String,
        ColumnType::Integer => PrimitiveType::Integer,
        ColumnType::Long => PrimitiveType::Long,
        ColumnType::Instant => PrimitiveType::Timestamp,
        ColumnType::Quantity => PrimitiveType::decimal(28, 9).expect("28,9 is a valid decimal type"),
        ColumnType::Bytes => PrimitiveType::Binary,
    };
    StructField::new(column.name, DataType::Primitive(primitive), !column.required)
}

/// A shard for people: counted from 1, as on the command line.
pub(crate) fn shard_name(shard: u32) -> String {
    match shard {
        JOURNAL => "the journal".to_owned(),
        shard => (u64::from(shard) + 1).to_string(),
    }
}

pub(crate) fn table_url(folder: &Path) -> Result<url::Url, LedgerError> {
    let absolute = std::path::absolute(folder)
        .map_err(|error| LedgerError::storage(&folder.display(), "resolving the path", &error))?;
    url::Url::from_directory_path(&absolute)
        .map_err(|()| LedgerError::invalid(&folder.display(), "the path cannot be written as a URL"))
}

fn sync_names(folder: &Path) -> Result<(), LedgerError> {
    folder.ancestors().take(3).try_for_each(sync_folder)
}

fn sync_folder(path: &Path) -> Result<(), LedgerError> {
    std::fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| LedgerError::storage(&path.display(), "making the folder durable", &error))
}
