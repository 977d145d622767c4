//! A ledger: its shards, their rows and positions, and how it is divided.
//!
//! A shard is one Delta table with one writer and one log. Which streams it takes is a function of
//! their names ([`Shard::takes`]); how far a stream was read is what all shards together say,
//! because a stream may have belonged to another one before.
//!
//! Dividing a ledger anew is one commit in every shard. It takes the version that any running
//! writer is about to commit, so each of them is fenced, and nobody may write before all shards
//! have it: no stream is ever read by two writers.

use crate::classify::Classifier;
use crate::error::LedgerError;
use crate::journal::Journal;
use crate::record::{Counts, LAYOUT_APPLICATION, Layout, Moved};
use crate::row::{BatchBuilder, BuiltRows, COLUMNS, parquet_bytes};
use crate::seal::{LeafKey, Rows, Sealed, seal};
use crate::store::DurableStore;
use crate::table::{Commit, SealedRows, Table};
use arrow::array::{Int64Array, RecordBatch};
use object_store::ObjectStore;
use schemas::position::{NextOffset, Positions, Stream, StreamIdentity};
use schemas::shard::Shard;
use schemas::time::Instant;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A shard's folder below the ledger's.
pub fn shard_folder(ledger: &Path, shard: u32) -> PathBuf {
    ledger.join("shards").join(shard.to_string())
}

/// How many shards have ever been there.
///
/// # Errors
/// `Invalid` when there is no ledger, `Corrupt` when a shard in between is gone.
pub fn shard_count(ledger: &Path) -> Result<u32, LedgerError> {
    let mut count = 0;
    loop {
        while Table::exists(&shard_folder(ledger, count)) {
            count += 1;
        }
        if count == 0 {
            return Err(LedgerError::invalid(
                &ledger.display(),
                "there is no ledger here; `atcost init` makes one",
            ));
        }
        let mut later = false;
        let folder = ledger.join("shards");
        let entries = std::fs::read_dir(&folder)
            .map_err(|error| LedgerError::storage(&folder.display(), "listing", &error))?;
        for entry in entries {
            let path =
                entry.map_err(|error| LedgerError::storage(&folder.display(), "listing", &error))?.path();
            let number =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
            later |= number.is_some_and(|number| number > count) && Table::exists(&path);
        }
        let next = shard_folder(ledger, count);
        // Shards are made in order: where a later one was made meanwhile, so was this one.
        match (later, Table::exists(&next)) {
            (true, false) => {
                return Err(LedgerError::corrupt(
                    &next.display(),
                    "this shard is gone, but a later one is there; restore it from a copy",
                ));
            }
            (_, true) => {}
            (false, false) => return Ok(count),
        }
    }
}

/// A shard opened for writing. One process at a time; a second one is fenced at its first commit.
pub struct Ledger {
    table: Table,
    key: LeafKey,
    layout: Layout,
    /// Where every stream stood when the ledger was opened, in whichever shard. Only streams of
    /// this shard move meanwhile, and they are moved here.
    known: BTreeMap<String, (NextOffset, Option<StreamIdentity>)>,
    store: Arc<dyn ObjectStore>,
    classifier: Option<Classifier>,
}

/// A commit that is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    pub version: u64,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    /// Usage rows whose id this shard has had before; nothing where rows are not classified.
    pub repeats: Option<Repeats>,
}

/// Usage rows that repeat an id of the same shard, with the same content and with other content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repeats {
    pub duplicates: u64,
    pub conflicts: u64,
}

/// What dividing a ledger came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divided {
    pub layout: Layout,
    /// Whether anything was changed.
    pub changed: bool,
}

impl Ledger {
    /// Makes an empty ledger: a key, a journal and one shard. What an interrupted run of it left is
    /// completed.
    ///
    /// # Errors
    /// When the folder holds one already, or storage fails.
    pub async fn create(folder: &Path) -> Result<(), LedgerError> {
        if Table::exists(&shard_folder(folder, 0)) {
            return Err(LedgerError::invalid(
                &folder.display(),
                "there is a ledger already; it is never overwritten",
            ));
        }
        std::fs::create_dir_all(folder)
            .map_err(|error| LedgerError::storage(&folder.display(), "creating the folder", &error))?;
        if !LeafKey::path(folder).exists() {
            LeafKey::create(folder)?;
        }
        let store = local();
        Journal::create(&store, folder).await?;
        Table::create(&store, &shard_folder(folder, 0), COLUMNS).await
    }

    /// Opens the only shard of a ledger for writing, after a crash and on any other day.
    ///
    /// # Errors
    /// As [`Self::open_shard`].
    pub async fn open(folder: &Path) -> Result<Self, LedgerError> {
        Self::open_shard(folder, Shard::WHOLE).await
    }

    /// Opens one shard of a ledger for writing.
    ///
    /// # Errors
    /// `Invalid` when there is none, it is set dangerously, or the ledger is divided otherwise;
    /// `Corrupt` when anything in a log is not what was written, or the leaf key is another.
    pub async fn open_shard(folder: &Path, shard: Shard) -> Result<Self, LedgerError> {
        Self::open_over(local(), folder, shard).await
    }

    /// As [`Self::open_shard`], over another store that is rooted at `/`.
    ///
    /// # Errors
    /// As [`Self::open_shard`].
    pub async fn open_over(
        store: Arc<dyn ObjectStore>,
        folder: &Path,
        shard: Shard,
    ) -> Result<Self, LedgerError> {
        let (mut tables, layout) = open_divided(&store, folder, shard).await?;
        let key = LeafKey::read(folder)?;
        for table in &tables {
            if table.log().key.is_some_and(|used| used != key.id().0) {
                return Err(LedgerError::corrupt(
                    &LeafKey::path(folder).display(),
                    "this is not the key that the rows were sealed with; restore it from a copy",
                ));
            }
        }
        let mut known: BTreeMap<String, (NextOffset, Option<StreamIdentity>)> = BTreeMap::new();
        for (application, next, identity) in tables.iter().flat_map(|table| table.log().streams()) {
            let further = known.get(application).is_none_or(|(known, _)| *known < next);
            if further {
                known.insert(application.to_owned(), (next, identity));
            }
        }
        let table = tables.swap_remove(usize::try_from(shard.index()).expect("shards are few"));
        table.probe().await?;
        Ok(Self { table, key, layout, known, store, classifier: None })
    }

    /// From here on every commit says which of its rows repeat an id. Opens the index of ids, or
    /// builds it from the rows.
    ///
    /// # Errors
    /// When the ledger cannot be read; what is wrong with the index is no error.
    pub async fn classify(&mut self) -> Result<(), LedgerError> {
        self.classifier = Some(Classifier::open(&self.store, &self.table).await?);
        Ok(())
    }

    /// Whether commits say which of their rows repeat an id.
    pub fn is_classifying(&self) -> bool {
        self.classifier.is_some()
    }

    /// The version of the last commit.
    pub fn version(&self) -> u64 {
        self.table.version()
    }

    /// When the last commit was made.
    pub fn committed_at(&self) -> Option<Instant> {
        self.table.log().at
    }

    /// The shard's table properties as they are in force.
    pub fn properties(&self) -> Vec<(String, String)> {
        self.table.properties()
    }

    /// Waits for what is made beside commits, a Delta checkpoint. Only a program that is about to
    /// end needs to.
    pub async fn settle(&mut self) {
        self.table.settle().await;
    }

    /// How many files the shard's rows are in.
    pub fn file_count(&self) -> usize {
        self.table.log().files.len()
    }

    /// How far each of `streams` has been read. A stream that was never read is absent.
    pub fn positions(&self, streams: &[Stream]) -> Positions {
        let mut positions = Positions::default();
        for stream in streams {
            if let Some((next, identity)) = self.known.get(&stream.to_string()) {
                positions.set(stream.clone(), *next, *identity);
            }
        }
        positions
    }

    /// Commits a batch: its rows and the positions it reaches, together or not at all.
    ///
    /// # Errors
    /// `Invalid` when the batch does not start where the ledger ends, `Fenced` when another writer
    /// was faster, `Storage` when storage gave no answer. In each case nothing of the batch is in
    /// the ledger, or all of it is and reopening finds it.
    pub async fn commit(&mut self, batch: BatchBuilder, at: Instant) -> Result<Committed, LedgerError> {
        let mut moved = Vec::new();
        for (stream, advance) in batch.advances() {
            let mut positions = self.positions(std::slice::from_ref(stream));
            let from = positions.get(stream);
            positions
                .apply(stream, advance)
                .map_err(|error| LedgerError::invalid(&self.table.folder().display(), error.to_string()))?;
            moved.push(Moved {
                application: stream.to_string(),
                from,
                to: advance.to,
                identity: positions.identity(stream),
            });
        }
        moved.sort_by(|a, b| a.application.cmp(&b.application));
        let counts = batch.counts();
        let written = Written::of(batch);
        let shard = self.table.log().shard();
        let seal = |version| written.as_ref().map(|written| written.seal(&self.key, shard, version));
        let commit = Commit { at, layout: self.layout, key: self.key.id().0, streams: moved, seal: &seal };
        let version = self.table.commit(&commit).await?;
        // Only now does memory advance.
        for Moved { application, to, identity, .. } in commit.streams {
            self.known.insert(application, (to, identity));
        }
        let mut repeats = None;
        if let Some(classifier) = &mut self.classifier {
            let rows = written.as_ref().map(|written| (&written.built.rows, written.built.content_digests()));
            let classified = classifier.committed(&self.table, rows).await?;
            repeats = classified.map(|classified| Repeats {
                duplicates: classified.duplicates,
                conflicts: classified.conflicts,
            });
        }
        Ok(Committed { version, usage: counts.usage, rejected: counts.rejected, gaps: counts.gaps, repeats })
    }
}

/// A batch's rows as they are for every version that may commit them.
struct Written {
    built: BuiltRows,
    subjects: Vec<Option<String>>,
    subject_of: Vec<u32>,
    counts: Counts,
}

impl Written {
    /// `None` for a batch that only moves positions.
    fn of(batch: BatchBuilder) -> Option<Self> {
        if batch.rows() == 0 {
            return None;
        }
        let mut subjects: Vec<Option<String>> =
            batch.subjects().map(|subject| Some(subject.to_owned())).collect();
        let none = u32::try_from(subjects.len()).expect("a batch has fewer than 2^32 subjects");
        subjects.push(None);
        let number = |row| {
            batch
                .subject_of(row)
                .map_or(none, |number| u32::try_from(number).expect("a batch has fewer than 2^32 subjects"))
        };
        let subject_of = (0..batch.rows()).map(number).collect();
        let counts = batch.counts();
        let built = batch.into_rows(0);
        let total = counts.usage + counts.rejected + counts.gaps;
        assert_eq!(built.rows.num_rows() as u64, total, "received = usage + rejected + gaps");
        Some(Self { built, subjects, subject_of, counts })
    }

    /// The file and the roots of these rows as the rows of `version`.
    fn seal(&self, key: &LeafKey, shard: u32, version: u64) -> SealedRows {
        let BuiltRows { rows, headers, .. } = &self.built;
        let batch = i64::try_from(version).expect("fewer than 2^63 commits");
        let mut columns = rows.columns().to_vec();
        columns[0] = Arc::new(Int64Array::from_value(batch, rows.num_rows()));
        let rows = RecordBatch::try_new(rows.schema(), columns).expect("the first column is `batch`");
        let subjects: Vec<Option<&str>> = self.subjects.iter().map(Option::as_deref).collect();
        let contents = self.built.content_digests();
        let sealed =
            Rows { shard, version, headers, contents, subjects: &subjects, subject_of: &self.subject_of };
        let Sealed { rows_root, subjects, subjects_root, .. } = seal_or_skip(key, &sealed);
        SealedRows {
            file: parquet_bytes(&rows, COLUMNS).into(),
            rows: rows.num_rows() as u64,
            counts: self.counts,
            rows_root,
            subjects,
            subjects_root,
        }
    }
}

/// Leaves out the seals where a benchmark wants to know what they cost. What it writes then is no
/// ledger.
fn seal_or_skip(key: &LeafKey, rows: &Rows<'_>) -> Sealed {
    fail::fail_point!("seal.skip", |_| Sealed {
        leaves: Vec::new(),
        rows_root: [0; 32],
        subjects: 0,
        subjects_root: [0; 32]
    });
    seal(key, rows)
}

/// Divides a ledger into another number of shards. No writer should run; one that does is fenced,
/// or is faster a few times and then fenced. An interrupted run is completed by running it again.
///
/// # Errors
/// As [`Ledger::open_shard`], `Invalid` when an interrupted division into another number is to be
/// completed first, and `Fenced` when a writer was faster each time.
pub async fn divide_ledger(folder: &Path, shards: u32, at: Instant) -> Result<Divided, LedgerError> {
    const ATTEMPTS: u32 = 50;
    let key = LeafKey::read(folder)?;
    let mut attempt = 1;
    loop {
        match divide(&local(), folder, &key, shards, Some(at)).await {
            Err(LedgerError::Fenced { .. }) if attempt < ATTEMPTS => attempt += 1,
            // What an attempt before this one did was done here.
            Ok(divided) => return Ok(Divided { changed: divided.changed || attempt > 1, ..divided }),
            Err(error) => return Err(error),
        }
    }
}

async fn divide(
    store: &Arc<dyn ObjectStore>,
    folder: &Path,
    key: &LeafKey,
    shards: u32,
    at: Option<Instant>,
) -> Result<Divided, LedgerError> {
    let mut tables = open_all(store, folder).await?;
    let latest = latest(&tables);
    let target = match agreed(&tables, folder) {
        Ok(layout) if layout.shards == shards => return Ok(Divided { layout, changed: false }),
        Ok(layout) => Layout { epoch: layout.epoch + 1, shards },
        Err(_) if latest.shards == shards => latest,
        Err(error) => return Err(error),
    };
    let existing = u32::try_from(tables.len()).expect("shards are few");
    for shard in existing..shards {
        let path = shard_folder(folder, shard);
        if !Table::exists(&path) {
            Table::create(store, &path, COLUMNS).await?;
        }
        tables.push(Table::open(store, &path, shard, COLUMNS).await?);
    }
    // Another may have made them, and not be done with it.
    for table in &tables {
        table.sync_names()?;
    }
    for table in &mut tables {
        if table.log().layout == target {
            continue;
        }
        let moved = Moved {
            application: LAYOUT_APPLICATION.to_owned(),
            from: None,
            to: NextOffset(i64::from(target.epoch)),
            identity: None,
        };
        // The first division of an empty ledger has no clock at hand and needs none.
        let at = at.or(table.log().at).unwrap_or(Instant::from_micros(0).expect("1970 is an instant"));
        let commit = Commit { at, layout: target, key: key.id().0, streams: vec![moved], seal: &|_| None };
        table.commit(&commit).await?;
    }
    Ok(Divided { layout: target, changed: true })
}

/// Opens all shards of a ledger for the writer of one, and divides a ledger that nobody has written
/// to. All its writers may start at once: whoever comes first divides it, the others see it done.
async fn open_divided(
    store: &Arc<dyn ObjectStore>,
    folder: &Path,
    shard: Shard,
) -> Result<(Vec<Table>, Layout), LedgerError> {
    const ATTEMPTS: u32 = 20;
    let mut attempt = 1;
    loop {
        let tables = open_all(store, folder).await?;
        let undone = match agreed(&tables, folder) {
            Ok(layout) if layout.shards == shard.of() => return Ok((tables, layout)),
            Ok(Layout { shards, .. }) if tables.iter().any(|table| table.version() > 0) => {
                let wanted = shard.of();
                let detail = format!(
                    "the ledger is divided into {shards} and this is shard {shard}; say --shard I/{shards} with I from 1 to {shards}, or divide it anew with `atcost shards {wanted}`"
                );
                return Err(LedgerError::invalid(&folder.display(), detail));
            }
            Ok(_) => divide(store, folder, &LeafKey::read(folder)?, shard.of(), None).await.err(),
            // Another may be about it.
            Err(error) => Some(error),
        };
        match undone {
            None => {}
            Some(error) if attempt == ATTEMPTS => return Err(error),
            Some(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        attempt += 1;
    }
}

fn latest(tables: &[Table]) -> Layout {
    tables.iter().map(|table| table.log().layout).max().unwrap_or(Layout::FIRST)
}

/// The layout, if all shards have the same.
fn agreed(tables: &[Table], folder: &Path) -> Result<Layout, LedgerError> {
    let latest = latest(tables);
    let shards = usize::try_from(latest.shards).expect("shards are few");
    // A division that was stopped before its first commit may have left shards that nothing was
    // ever written to.
    let mut counted =
        tables.iter().enumerate().filter(|(shard, table)| *shard < shards || table.version() > 0);
    if tables.len() >= shards && counted.all(|(_, table)| table.log().layout == latest) {
        return Ok(latest);
    }
    Err(LedgerError::invalid(
        &folder.display(),
        format!(
            "dividing it into {0} shards was interrupted; run `atcost shards {0}` to complete it",
            latest.shards
        ),
    ))
}

async fn open_all(store: &Arc<dyn ObjectStore>, folder: &Path) -> Result<Vec<Table>, LedgerError> {
    let mut tables = Vec::new();
    for shard in 0..shard_count(folder)? {
        tables.push(Table::open(store, &shard_folder(folder, shard), shard, COLUMNS).await?);
    }
    Ok(tables)
}

/// The local disk.
pub(crate) fn local() -> Arc<dyn ObjectStore> {
    Arc::new(DurableStore::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::OutcomeRef;
    use schemas::position::{Advance, Offset, Origin};
    use std::sync::atomic::{AtomicBool, Ordering};

    fn stream(partition: u32) -> Arc<Stream> {
        Arc::new(Stream {
            origin: Origin::Kafka { cluster: "c".to_owned(), topic: "t".to_owned() },
            partition,
        })
    }

    fn now() -> Instant {
        Instant::parse_rfc3339("2025-10-02T08:00:00Z").expect("an instant")
    }

    fn batch(partition: u32, from: i64, to: i64) -> BatchBuilder {
        let mut batch = BatchBuilder::default();
        let index = batch.stream(&stream(partition), "t");
        batch.advance(index, Advance { from: NextOffset(from), to: NextOffset(to), identity: None });
        for offset in from..to {
            let until = Offset(offset + 1);
            batch.push(index, Offset(offset), None, now(), &OutcomeRef::Gap { until, detail: "lost" });
        }
        batch
    }

    #[tokio::test]
    async fn a_ledger_divided_anew_goes_on_where_it_stood() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        Ledger::create(path).await.expect("an empty ledger");
        let mut whole = Ledger::open(path).await.expect("it opens");
        for partition in 0..3 {
            whole.commit(batch(partition, 0, 5), now()).await.expect("it commits");
        }
        let two: Shard = "2/3".parse().expect("a shard");
        assert!(Ledger::open_shard(path, two).await.is_err(), "the ledger is not divided so");
        assert!(divide_ledger(path, 3, now()).await.expect("it is divided").changed);
        assert!(!divide_ledger(path, 3, now()).await.expect("it is divided").changed);
        assert!(
            matches!(whole.commit(batch(1, 5, 6), now()).await, Err(LedgerError::Fenced { .. })),
            "the writer of before is fenced"
        );
        let mut second = Ledger::open_shard(path, two).await.expect("it opens");
        assert_eq!(second.positions(&[(*stream(1)).clone()]).get(&stream(1)), Some(NextOffset(5)));
        assert!(second.commit(batch(1, 0, 5), now()).await.is_err(), "nothing is repeated");
        second.commit(batch(1, 5, 9), now()).await.expect("it goes on");
        assert!(divide_ledger(path, 1, now()).await.expect("it is put together").changed);
        let mut whole = Ledger::open(path).await.expect("it opens");
        whole.commit(batch(1, 9, 10), now()).await.expect("it goes on");
        whole.commit(batch(0, 5, 6), now()).await.expect("it goes on");
    }

    /// For a thread of its own.
    fn alone<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
    }

    #[test]
    fn a_writer_that_goes_on_delays_a_division_and_loses_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        alone(Ledger::create(path)).expect("an empty ledger");
        let stop = AtomicBool::new(false);
        let write = async || {
            let mut acknowledged = 0;
            let mut shards = 0;
            while !stop.load(Ordering::Relaxed) {
                shards = shards % 3 + 1;
                let first = format!("1/{shards}").parse().expect("a shard");
                let Ok(mut ledger) = Ledger::open_shard(path, first).await else { continue };
                // Until the next division fences it.
                while !stop.load(Ordering::Relaxed)
                    && ledger.commit(batch(0, acknowledged, acknowledged + 1), now()).await.is_ok()
                {
                    acknowledged += 1;
                }
            }
            acknowledged
        };
        let acknowledged = std::thread::scope(|scope| {
            let writer = scope.spawn(|| alone(write()));
            for shards in [2, 3, 1].into_iter().cycle().take(30) {
                let divided = alone(divide_ledger(path, shards, now()));
                stop.fetch_or(divided.is_err(), Ordering::Relaxed);
                divided.expect("no writer is faster each time");
            }
            stop.store(true, Ordering::Relaxed);
            writer.join().expect("the writer ends")
        });
        let whole = alone(Ledger::open(path)).expect("it opens");
        let reached =
            whole.positions(&[(*stream(0)).clone()]).get(&stream(0)).expect("the writer was not idle");
        assert_eq!(reached, NextOffset(acknowledged), "what was acknowledged is there, and nothing else");
    }

    #[test]
    fn all_writers_of_a_new_ledger_may_start_at_once() {
        for _ in 0..10 {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path();
            alone(Ledger::create(path)).expect("an empty ledger");
            std::thread::scope(|scope| {
                for number in 1..=4 {
                    let shard = format!("{number}/4").parse().expect("a shard");
                    scope.spawn(move || {
                        alone(Ledger::open_shard(path, shard)).map(drop).expect("it opens its shard")
                    });
                }
            });
        }
    }
}
