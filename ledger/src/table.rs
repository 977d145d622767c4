//! The one commit point, and open = recover, for both Delta tables of a ledger.
//!
//! A commit is: write one Parquet file, make it durable, then put one log entry if and only if the version is still the one
//! after our snapshot. Everything else follows from that compare-and-swap:
//!
//! ```text
//!   Ok                                -> it landed
//!   Err = unknown -> reload the log:
//!     our file is in the table        -> it landed
//!     the version is still ours       -> put again, the same file (a log that names a file twice has it once)
//!     somebody else's commit is there -> fenced: stop, leave the file, nobody will ever read it
//! ```
//!
//! It deliberately never rebases a commit on a version it has not seen, never deletes a file, never cleans up the log, and makes
//! checkpoints only after a commit is decided, where a failure cannot look like a failed commit.

use crate::error::LedgerError;
use crate::row::{Column, ColumnType, arrow_schema};
use arrow::array::RecordBatch;
use bytes::Bytes;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add, DataType, PrimitiveType, StructField, Transaction};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::config::TablePropertiesExt as _;
use deltalake::{DeltaTable, DeltaTableBuilder};
use futures::StreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::path::Path as ObjectPath;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use schemas::digest::Sha256Digest;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The tag of a Delta `add` action that holds the SHA-256 of the whole file.
pub const DIGEST_TAG: &str = "sha256";

/// What a table must be set to, and why. Read back at every open, because Delta takes an unreadable value for its default.
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
/// Commits from one checkpoint to the next. Without checkpoints every open and every commit reads the whole log.
const CHECKPOINT_EVERY: u64 = 100;
/// Puts of one commit before its storage is called unavailable.
const COMMIT_ATTEMPTS: u32 = 5;

/// One Delta table with one writer.
pub struct Table {
    inner: DeltaTable,
    folder: PathBuf,
    /// Tells this writer's files from those of a twin that commits the very same rows: whose commit landed must not be a guess.
    writer: String,
}

/// An application id and the number its `txn` action moves to.
pub struct Moved {
    pub application: String,
    pub to: i64,
}

impl Table {
    /// Creates an empty table in a folder that has none.
    ///
    /// # Errors
    /// When there is one already, or storage fails.
    pub async fn create(folder: &Path, columns: &[Column]) -> Result<(), LedgerError> {
        std::fs::create_dir_all(folder).map_err(|error| LedgerError::storage(&folder.display(), "creating the folder", &error))?;
        let location = table_url(folder)?;
        let fields = columns.iter().map(delta_field).collect::<Vec<_>>();
        let configuration = PROPERTIES.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())));
        CreateBuilder::new()
            .with_location(location.to_string())
            .with_save_mode(SaveMode::ErrorIfExists)
            .with_columns(fields)
            .with_configuration(configuration)
            .await
            .map_err(|error| LedgerError::storage(&folder.display(), "creating the table", &error))?;
        sync_folder(&folder.join("_delta_log"))
    }

    /// Opens a table and checks that it is set as this program needs it.
    ///
    /// # Errors
    /// `Invalid` when there is no table or a property is dangerous, `Corrupt` when columns differ, `Storage` otherwise.
    pub async fn open(folder: &Path, columns: &[Column]) -> Result<Self, LedgerError> {
        Self::load(folder, columns, None).await
    }

    /// Opens a table as it was at `version`.
    ///
    /// # Errors
    /// As [`Self::open`], and `Invalid` when there is no such version.
    pub async fn open_at(folder: &Path, columns: &[Column], version: u64) -> Result<Self, LedgerError> {
        Self::load(folder, columns, Some(version)).await
    }

    async fn load(folder: &Path, columns: &[Column], version: Option<u64>) -> Result<Self, LedgerError> {
        if !folder.join("_delta_log").is_dir() {
            return Err(LedgerError::invalid(&folder.display(), "there is no ledger here; `atcost init` makes one"));
        }
        check_log_tail(folder)?;
        let builder = DeltaTableBuilder::from_url(table_url(folder)?).map_err(|error| LedgerError::storage(&folder.display(), "opening", &error))?;
        let builder = match version {
            Some(version) => builder.with_version(version),
            None => builder,
        };
        let inner = builder.load().await.map_err(|error| match version {
            Some(version) => LedgerError::invalid(&folder.display(), format!("version {version} cannot be opened: {error}")),
            None => LedgerError::storage(&folder.display(), "reading the log", &error),
        })?;
        let table = Self { inner, folder: folder.to_owned(), writer: writer_name() };
        table.check_properties()?;
        table.check_columns(columns)?;
        Ok(table)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn version(&self) -> u64 {
        self.inner.version().expect("an opened table has a version")
    }

    /// The `txn` number last committed for an application id at this snapshot.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn application_version(&self, application: &str) -> Result<Option<i64>, LedgerError> {
        let state = self.inner.snapshot().map_err(|error| self.storage("reading the log", &error))?;
        state.transaction_version(&self.inner.log_store(), application).await.map_err(|error| self.storage("reading the log", &error))
    }

    /// The `add` actions of this snapshot, in byte order of their paths.
    ///
    /// # Errors
    /// When the log cannot be read.
    #[expect(deprecated, reason = "the digest is in the tags, which only the whole action gives")]
    pub async fn files(&self) -> Result<Vec<Add>, LedgerError> {
        let state = self.inner.snapshot().map_err(|error| self.storage("reading the log", &error))?;
        let log_store = self.inner.log_store();
        let mut views = state.snapshot().file_views(&log_store, None);
        let mut files = Vec::new();
        while let Some(view) = views.next().await {
            files.push(view.map_err(|error| self.storage("reading the log", &error))?.add_action());
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Commits rows and numbers together as the version after this snapshot, or nothing at all.
    ///
    /// `rows` is `None` where a batch only moves positions.
    ///
    /// # Errors
    /// `Fenced` when another writer took the version; `Storage` when it could not be decided within a few attempts, in which case
    /// reopening decides it.
    pub async fn commit(&mut self, rows: Option<RecordBatch>, moved: &[Moved]) -> Result<u64, LedgerError> {
        let version = self.compare_and_swap(rows, moved).await?;
        if version.is_multiple_of(CHECKPOINT_EVERY) {
            self.make_checkpoint().await;
        }
        Ok(version)
    }

    /// Writes a checkpoint of this snapshot and goes on from it. It only makes reading the log faster, so a failure is told and
    /// nothing more: the next one makes up for it.
    async fn make_checkpoint(&mut self) {
        let location = self.folder.display();
        if let Err(error) = deltalake::checkpoints::create_checkpoint(&self.inner, None).await {
            tracing::warn!(event = "checkpoint.failed", %location, version = self.version(), %error, "no checkpoint was written; opening the ledger takes longer until the next one");
        }
    }

    async fn compare_and_swap(&mut self, rows: Option<RecordBatch>, moved: &[Moved]) -> Result<u64, LedgerError> {
        let expected = self.version();
        let target = expected + 1;
        let add = match rows {
            Some(rows) if rows.num_rows() > 0 => Some(self.write_file(&rows, target).await?),
            _ => None,
        };
        let transactions: Vec<Transaction> = moved.iter().map(|moved| Transaction::new(&moved.application, moved.to)).collect();
        let mut delay = Duration::from_millis(50);
        for attempt in 1..=COMMIT_ATTEMPTS {
            let properties = CommitProperties::default()
                // Zero retries is the compare-and-swap: a moved table is an error, never a silent rebase.
                .with_max_retries(0)
                .with_create_checkpoint(false)
                .with_cleanup_expired_logs(Some(false))
                .with_application_transactions(transactions.clone());
            let actions: Vec<Action> = add.iter().cloned().map(Action::Add).collect();
            let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
            let snapshot = self.inner.snapshot().map_err(|error| self.storage("reading the log", &error))?.snapshot().clone();
            let outcome = CommitBuilder::from(properties).with_actions(actions).build(Some(&snapshot), self.inner.log_store(), operation).await;
            let failure = match outcome {
                // From here on a crash is harmless: rows and positions are in the log together.
                Ok(done) => {
                    assert_eq!(done.version(), target, "a commit without retries lands on the version after its snapshot");
                    self.inner.state = Some(done.snapshot());
                    self.sync_log_entry(target)?;
                    return Ok(target);
                }
                Err(failure) => failure,
            };
            tracing::warn!(event = "commit.unknown", location = %self.folder.display(), version = target, attempt, error = %failure, "the outcome of a commit is unknown; reading the log to decide it");
            let reloaded = self.reload().await;
            match reloaded {
                Ok(()) if self.version() >= target => {
                    if self.holds(add.as_ref(), moved, target).await? {
                        self.sync_log_entry(target)?;
                        return Ok(target);
                    }
                    return Err(LedgerError::Fenced { location: self.folder.display().to_string(), expected: target, found: self.version() });
                }
                Ok(()) | Err(_) if attempt < COMMIT_ATTEMPTS => {
                    tokio::time::sleep(delay).await;
                    delay *= 2;
                }
                Ok(()) => return Err(self.storage("committing", &failure)),
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Whether version `target` is our commit: our file is in the table, or, where the batch had no rows, the numbers are ours.
    async fn holds(&self, add: Option<&Add>, moved: &[Moved], target: u64) -> Result<bool, LedgerError> {
        if self.version() != target {
            return Ok(false);
        }
        if let Some(add) = add {
            return Ok(self.files().await?.iter().any(|file| file.path == add.path));
        }
        for moved in moved {
            if self.application_version(&moved.application).await? != Some(moved.to) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn reload(&mut self) -> Result<(), LedgerError> {
        self.inner.update_state().await.map_err(|error| LedgerError::storage(&self.folder.display(), "reading the log", &error))
    }

    /// Writes rows as one durable Parquet file. Its name is made once per commit, so that every attempt names the same file, and
    /// it holds the writer's name, so that two writers never share one.
    async fn write_file(&self, rows: &RecordBatch, version: u64) -> Result<Add, LedgerError> {
        let bytes = parquet_bytes(rows);
        let digest = Sha256Digest::of(&bytes);
        let path = format!("rows-{version:020}-{}.parquet", self.writer);
        let size = i64::try_from(bytes.len()).expect("a file is smaller than 2^63 bytes");
        let store = self.inner.object_store();
        store.put(&ObjectPath::from(path.as_str()), bytes.into()).await.map_err(|error| self.storage("writing rows", &error))?;
        sync_file(&self.folder.join(&path))?;
        sync_folder(&self.folder)?;
        Ok(Add {
            path,
            partition_values: HashMap::new(),
            size,
            // Nothing reads it; a constant keeps the log free of the clock.
            modification_time: 0,
            data_change: true,
            stats: Some(format!("{{\"numRecords\":{}}}", rows.num_rows())),
            tags: Some(HashMap::from([(DIGEST_TAG.to_owned(), Some(digest.to_string()))])),
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        })
    }

    /// Makes the log entry durable, which storage on a local disk does not do by itself.
    fn sync_log_entry(&self, version: u64) -> Result<(), LedgerError> {
        let log = self.folder.join("_delta_log");
        sync_file(&log.join(format!("{version:020}.json")))?;
        sync_folder(&log)
    }

    /// The properties as this table has them, for people.
    pub fn properties(&self) -> Vec<(String, String)> {
        let configuration = self.inner.snapshot().map(|state| state.metadata().configuration().clone()).unwrap_or_default();
        let mut properties: Vec<_> = configuration.into_iter().collect();
        properties.sort();
        properties
    }

    fn check_properties(&self) -> Result<(), LedgerError> {
        let state = self.inner.snapshot().map_err(|error| self.storage("reading the log", &error))?;
        let effective = state.table_config();
        let refusals = [
            (!effective.append_only(), "delta.appendOnly must be true: rows are never edited"),
            (effective.enable_expired_log_cleanup(), "delta.enableExpiredLogCleanup must be false: it deletes history after every commit"),
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
            Some((_, why)) => {
                Err(LedgerError::invalid(&self.folder.display(), format!("dangerous table property: {why}; set it back before using this ledger")))
            }
            None => Ok(()),
        }
    }

    fn check_columns(&self, columns: &[Column]) -> Result<(), LedgerError> {
        let state = self.inner.snapshot().map_err(|error| self.storage("reading the log", &error))?;
        let found = state.snapshot().arrow_schema();
        let expected = arrow_schema(columns);
        let describe = |schema: &arrow::datatypes::Schema| {
            schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone(), field.is_nullable())).collect::<Vec<_>>()
        };
        if describe(&found) == describe(&expected) {
            return Ok(());
        }
        Err(LedgerError::corrupt(&self.folder.display(), format!("its columns are not those this version writes; found {:?}", describe(&found))))
    }

    fn storage(&self, doing: &'static str, error: &impl ToString) -> LedgerError {
        LedgerError::storage(&self.folder.display(), doing, error)
    }
}

/// Refuses a log whose last entry was torn by a power loss. Delta would take an empty entry for an empty commit, and the rows and
/// positions in it would be gone without a word.
fn check_log_tail(folder: &Path) -> Result<(), LedgerError> {
    let log = folder.join("_delta_log");
    let entries = std::fs::read_dir(&log).map_err(|error| LedgerError::storage(&log.display(), "listing", &error))?;
    let mut last: Option<PathBuf> = None;
    for entry in entries {
        let path = entry.map_err(|error| LedgerError::storage(&log.display(), "listing", &error))?.path();
        let is_entry = path.extension().is_some_and(|extension| extension == "json")
            && path.file_stem().is_some_and(|stem| stem.len() == 20 && stem.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        if is_entry && last.as_ref().is_none_or(|last| path > *last) {
            last = Some(path);
        }
    }
    let Some(last) = last else {
        return Err(LedgerError::corrupt(&log.display(), "the log has no entries"));
    };
    let bytes = std::fs::read(&last).map_err(|error| LedgerError::storage(&last.display(), "reading", &error))?;
    let whole = !bytes.is_empty()
        && bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .all(|line| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok());
    if whole {
        return Ok(());
    }
    Err(LedgerError::corrupt(
        &last.display(),
        format!(
            "the last log entry is torn ({} bytes), as a power loss leaves it; move this one file aside and start again: what it held will be read again from the source",
            bytes.len()
        ),
    ))
}

fn parquet_bytes(rows: &RecordBatch) -> Bytes {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level"))).build();
    let mut buffer = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut buffer, rows.schema(), Some(properties)).expect("every column type is writable as Parquet");
    writer.write(rows).expect("writing to memory cannot fail");
    writer.close().expect("writing to memory cannot fail");
    Bytes::from(buffer)
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

#[expect(clippy::disallowed_methods, reason = "a name that no other process has; nothing that is stored depends on its value")]
fn writer_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

pub(crate) fn table_url(folder: &Path) -> Result<url::Url, LedgerError> {
    let absolute = std::path::absolute(folder).map_err(|error| LedgerError::storage(&folder.display(), "resolving the path", &error))?;
    url::Url::from_directory_path(&absolute).map_err(|()| LedgerError::invalid(&folder.display(), "the path cannot be written as a URL"))
}

fn sync_file(path: &Path) -> Result<(), LedgerError> {
    std::fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| LedgerError::storage(&path.display(), "making the file durable", &error))
}

fn sync_folder(path: &Path) -> Result<(), LedgerError> {
    sync_file(path)
}
