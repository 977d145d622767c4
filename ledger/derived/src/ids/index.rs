//! Which rows repeat an id: a derived index of every (`source`, `id`) of a shard, asked and
//! extended at ingest.
//!
//! The first row of an id in ledger order counts. A later one is a *duplicate* if its content is
//! the same and a *conflict* if not, as `rating::usage` says too, which knows nothing of this
//! index. It does not decide anything: rows are committed first and classified then, and whoever
//! bills reads the ledger. It does not know corrections.
//!
//! An id is a 128-bit SipHash-1-3 of source and id, keyed by a secret of this index so that no
//! producer can look for ids that collide; a content is the first half of its SHA-256. So a row is
//! taken for a repetition of one of n other ids with a chance of n · 2⁻¹²⁸.
//!
//! It is a log-structured merge tree: young ids in memory ([`super::mem_table`]), then runs of
//! sorted keys ([`super::run`]), each with a filter, eight of one level merged into one of the
//! next. A key is in one place only. Memory is bounded whatever the ledger's size: filters that do
//! not fit are read from their files.
//!
//! | what | then |
//! |---|---|
//! | a crash | the index is behind ([`Index::complete_to`]); the caller adds the versions that follow, from the ledger |
//! | the folder deleted, a bit flipped, a file torn or lost | every page has a checksum that is compared before use; thrown away, built again |
//! | the ledger restored from an older copy, or another ledger | its [`LogPosition`] is not in this ledger: thrown away, built again |
//!
//! Invariant: it is complete to a version: every usage row up to it is in, none after it.

use super::entries::{Entries, IdKey, KeyHasher};
use super::error::IndexError;
use super::files;
use super::manifest::{LogPosition, Manifest, RunName, Totals};
use super::mem_table::MemTable;
use super::run::{Merge, Run, Scratch, Writer};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs of one level that are merged into one of the next.
const FAN: usize = 8;
/// Entries by which each merge goes on for each row that is added. One would do; the sooner a merge
/// is done, the fewer runs are asked.
const PACE: u64 = 4;

/// The size of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub runs: usize,
    pub merges: usize,
    pub disk_bytes: u64,
    pub memory_bytes: u64,
}

/// How much goes where. The defaults keep the index below 100 MB of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Ids in memory before they become a run.
    pub front_keys: usize,
    /// Versions before the ids in memory are saved: what a crash costs is reading these again.
    pub save_every: u64,
    /// Memory for filters.
    pub filter_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { front_keys: 1 << 19, save_every: 1024, filter_bytes: 40 << 20 }
    }
}

/// Why a row does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The id has been there before, with this content.
    Duplicate,
    /// The id has been there before, with other content.
    Conflict,
}

/// The rows of one version that repeat an id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classified {
    pub duplicates: u64,
    pub conflicts: u64,
    /// Which rows, in order; at most [`Classified::LISTED`].
    pub rows: Vec<(u32, Class)>,
}

impl Classified {
    pub const LISTED: usize = 1000;
}

/// The index of one shard.
pub struct Index {
    folder: PathBuf,
    limits: Limits,
    /// Held as long as this index is: two processes never write to one folder.
    _lock: File,
    secret: [u8; 16],
    mark: LogPosition,
    totals: Totals,
    front: MemTable,
    runs: Vec<Run>,
    merges: Vec<Merge>,
    /// The manifest in the folder, which is older than what memory holds.
    saved: Manifest,
    scratch: Scratch,
    failed: bool,
}

impl Index {
    /// Opens the index in `folder`, which belongs to it alone; an empty one where there is none, or
    /// none that can be trusted.
    ///
    /// `holds` says whether the ledger has this very version.
    ///
    /// # Errors
    /// `Storage` when the folder cannot be read or written, or another process has it open.
    pub fn open(
        folder: &Path,
        limits: Limits,
        holds: impl FnOnce(&LogPosition) -> bool,
    ) -> Result<Self, IndexError> {
        std::fs::create_dir_all(folder)
            .map_err(|error| IndexError::storage(folder, "creating the folder", &error))?;
        let path = folder.join(LOCK);
        let lock = File::create(&path).map_err(|error| IndexError::storage(&path, "opening", &error))?;
        take(&lock)
            .map_err(|error| IndexError::storage(&path, "locking it for this process alone", &error))?;
        let (manifest, why) = match Manifest::read(folder) {
            Ok(Some(manifest)) if holds(&manifest.mark) => (Some(manifest), ""),
            Ok(Some(_)) => (None, "it was made from another ledger, or from a later state of this one"),
            Ok(None) => (None, "there is none"),
            Err(error @ IndexError::Storage { .. }) => return Err(error),
            Err(IndexError::Damaged { .. }) => (None, "its manifest is damaged"),
        };
        if let Some(manifest) = manifest {
            let lock = lock.try_clone().map_err(|error| IndexError::storage(&path, "opening", &error))?;
            match Self::load(folder, limits, lock, manifest) {
                Ok(index) => return Ok(index),
                Err(error @ IndexError::Storage { .. }) => return Err(error),
                Err(error @ IndexError::Damaged { .. }) => {
                    tracing::warn!(event = "index.damaged", folder = %folder.display(), %error, "the index of ids cannot be trusted");
                }
            }
        }
        tracing::info!(event = "index.rebuilding", folder = %folder.display(), why, "the index of ids is built from the ledger");
        Self::empty(folder, limits, lock)
    }

    fn empty(folder: &Path, limits: Limits, lock: File) -> Result<Self, IndexError> {
        // The manifest goes first: without it the other files mean nothing.
        Manifest::remove(folder)?;
        files::remove_others(folder, &[LOCK.to_owned()])?;
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)
            .map_err(|error| IndexError::storage(folder, "asking for random bytes", &error))?;
        let manifest = Manifest {
            secret,
            mark: LogPosition::START,
            totals: Totals::default(),
            front: None,
            runs: Vec::new(),
        };
        Self::load(folder, limits, lock, manifest)
    }

    fn load(folder: &Path, limits: Limits, lock: File, manifest: Manifest) -> Result<Self, IndexError> {
        let mut keep = manifest.files();
        keep.push(LOCK.to_owned());
        files::remove_others(folder, &keep)?;
        let open = |name: &RunName| Run::open(folder, *name, &manifest.secret);
        let mut front = MemTable::new(limits.front_keys);
        if let Some(name) = &manifest.front {
            let mut reader = open(name)?.reader()?;
            while let Some(entry) = reader.next()? {
                front.first_or_insert(entry);
            }
        }
        let mut index = Self {
            folder: folder.to_owned(),
            limits,
            _lock: lock,
            secret: manifest.secret,
            mark: manifest.mark,
            totals: manifest.totals,
            front,
            runs: manifest.runs.iter().map(open).collect::<Result<_, _>>()?,
            merges: Vec::new(),
            saved: manifest,
            scratch: Scratch::default(),
            failed: false,
        };
        index.fill_memory()?;
        index.begin_merges()?;
        Ok(index)
    }

    /// The version up to which every usage row is in.
    pub fn complete_to(&self) -> u64 {
        self.mark.version
    }

    /// How this index hashes ids.
    pub fn hasher(&self) -> KeyHasher {
        KeyHasher { secret: self.secret }
    }

    /// All rows up to [`Self::complete_to`], counted.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    pub fn size(&self) -> Size {
        let runs = self.runs.iter().map(Run::bytes).sum::<u64>();
        let front = self
            .saved
            .front
            .iter()
            .filter_map(|name| std::fs::metadata(self.folder.join(name.file())).ok())
            .map(|file| file.len());
        let filters = self.runs.iter().filter(|run| run.is_resident()).map(Run::filter_bytes).sum::<u64>();
        Size {
            runs: self.runs.len(),
            merges: self.merges.len(),
            disk_bytes: runs + front.sum::<u64>(),
            memory_bytes: filters + self.front.memory() as u64,
        }
    }

    /// The contents of the folder's manifest, for whoever wants to compare it with the ledger: the
    /// version it is complete to, and the counts there. Nothing if there is no manifest or it is
    /// damaged.
    ///
    /// # Errors
    /// `Storage` when it cannot be read.
    pub fn saved(folder: &Path) -> Result<Option<(LogPosition, Totals)>, IndexError> {
        match Manifest::read(folder) {
            Ok(manifest) => Ok(manifest.map(|manifest| (manifest.mark, manifest.totals))),
            Err(IndexError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Compares all that a folder's manifest names with its checksums, while nobody writes there.
    ///
    /// # Errors
    /// `Damaged` when a file is not what was written, which is then left as it is.
    pub fn check(folder: &Path) -> Result<(), IndexError> {
        let Some(manifest) = Manifest::read(folder)? else { return Ok(()) };
        manifest
            .front
            .iter()
            .chain(&manifest.runs)
            .try_for_each(|name| Run::open(folder, *name, &manifest.secret)?.check())
    }

    /// Classifies the usage rows of the next version, which the ledger has committed, and adds
    /// those whose ids are new. A version without usage rows is added too, with no entries.
    ///
    /// # Errors
    /// `Damaged` when a file is not what was written; the index is then emptied. After any error it
    /// must be opened again, or done without.
    ///
    /// # Panics
    /// When `mark` is not the version after [`Self::complete_to`], the entries were hashed for
    /// another index, or an error came before.
    pub fn classify_and_add(
        &mut self,
        mark: LogPosition,
        entries: &Entries,
    ) -> Result<Classified, IndexError> {
        let mut classified = Classified::default();
        let judged = self.find_or_add(mark, entries, &mut |place, first| {
            let class = if first == entries.value(place) { Class::Duplicate } else { Class::Conflict };
            classified.rows.push((entries.row(place), class));
            Some(class)
        });
        judged?;
        classified.rows.sort_unstable();
        let conflicts = classified.rows.iter().filter(|(_, class)| *class == Class::Conflict).count() as u64;
        classified.conflicts = conflicts;
        classified.duplicates = classified.rows.len() as u64 - conflicts;
        classified.rows.truncate(Classified::LISTED);
        Ok(classified)
    }

    /// Adds the entries of the next version whose ids are new. Of each other one, `judge` gets its
    /// place among the entries and the value that the id came with first, and says how it is
    /// counted; not at all where it is the very row that is known already.
    ///
    /// # Errors
    /// As [`Self::classify_and_add`].
    ///
    /// # Panics
    /// As [`Self::classify_and_add`].
    pub fn find_or_add(
        &mut self,
        mark: LogPosition,
        entries: &Entries,
        judge: &mut dyn FnMut(usize, u128) -> Option<Class>,
    ) -> Result<(), IndexError> {
        assert!(!self.failed, "an index that failed is opened again");
        assert_eq!(mark.version, self.mark.version + 1, "versions are added one after the other");
        assert_eq!(entries.hasher, self.hasher(), "ids are hashed as this index hashes them");
        let result = self.add(mark, entries, judge);
        self.checked(result)
    }

    /// The value that an id came with first; nothing where it never came.
    ///
    /// # Errors
    /// As [`Self::classify_and_add`].
    pub fn find(&mut self, id: IdKey) -> Result<Option<u128>, IndexError> {
        assert!(!self.failed, "an index that failed is opened again");
        let result = self.look_up(id.0);
        self.checked(result)
    }

    fn look_up(&mut self, key: u128) -> Result<Option<u128>, IndexError> {
        if let Some(value) = self.front.find(key) {
            return Ok(Some(value));
        }
        for run in &self.runs {
            if let Some(value) = run.find(key, &mut self.scratch)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Writes what is in memory, so that the next process need not read it from the ledger again.
    ///
    /// # Errors
    /// As [`Self::classify_and_add`].
    pub fn save(&mut self) -> Result<(), IndexError> {
        assert!(!self.failed, "an index that failed is opened again");
        let result = self.save_front();
        self.checked(result)
    }

    /// After damage nothing is left that the next one to open it could trust.
    fn checked<T>(&mut self, result: Result<T, IndexError>) -> Result<T, IndexError> {
        self.failed = result.is_err();
        if matches!(result, Err(IndexError::Damaged { .. })) {
            Manifest::remove(&self.folder)?;
        }
        result
    }

    fn add(
        &mut self,
        mark: LogPosition,
        entries: &Entries,
        judge: &mut dyn FnMut(usize, u128) -> Option<Class>,
    ) -> Result<(), IndexError> {
        let (hashed, places) = entries.by_place();
        let mut firsts: Vec<Option<u128>> = vec![None; hashed.len()];
        let mut maybe = Vec::new();
        // The runs come before the front: what they hold came before any row of this version.
        for run in &self.runs {
            maybe.clear();
            run.filter(&hashed, &mut self.scratch, &mut maybe)?;
            maybe.sort_unstable_by_key(|place| hashed[*place].key);
            for place in &maybe {
                if let Some(first) = run.find(hashed[*place].key, &mut self.scratch)? {
                    firsts[*place] = Some(first);
                }
            }
        }
        let mut known = 0;
        for ((entry, place), first) in hashed.iter().zip(places).zip(firsts) {
            let Some(first) = first.or_else(|| self.front.first_or_insert(*entry)) else { continue };
            known += 1;
            match judge(place, first) {
                Some(Class::Duplicate) => self.totals.duplicates += 1,
                Some(Class::Conflict) => self.totals.conflicts += 1,
                None => {}
            }
        }
        self.mark = mark;
        self.totals.keys += entries.len() as u64 - known;
        self.go_on_merging(entries.len() as u64 * PACE)?;
        if self.front.len() >= self.limits.front_keys {
            self.front_becomes_run()?;
        } else if self.mark.version >= self.saved.mark.version + self.limits.save_every {
            self.save_front()?;
        }
        Ok(())
    }

    /// Writes the front as a run of `level`.
    fn write_front(&self, level: u32) -> Result<Run, IndexError> {
        let name = RunName { number: number()?, level, keys: self.front.len() as u64 };
        let mut writer = Writer::create(&self.folder, name, &self.secret)?;
        for entry in self.front.entries() {
            writer.push(entry)?;
        }
        writer.finish(&self.folder, &self.secret)
    }

    fn save_front(&mut self) -> Result<(), IndexError> {
        if self.mark == self.saved.mark {
            return Ok(());
        }
        let front = if self.front.len() == 0 { None } else { Some(self.write_front(0)?.name) };
        self.publish(front, self.mark, self.totals)
    }

    fn front_becomes_run(&mut self) -> Result<(), IndexError> {
        let run = self.write_front(0)?;
        self.runs.push(run);
        self.publish(None, self.mark, self.totals)?;
        self.front.clear();
        self.fill_memory()?;
        self.begin_merges()
    }

    /// Replaces the manifest and then removes the files that it no longer names.
    fn publish(
        &mut self,
        front: Option<RunName>,
        mark: LogPosition,
        totals: Totals,
    ) -> Result<(), IndexError> {
        let manifest = Manifest {
            secret: self.secret,
            mark,
            totals,
            front,
            runs: self.runs.iter().map(|run| run.name).collect(),
        };
        manifest.write(&self.folder)?;
        files::sync_folder(&self.folder)?;
        let kept = manifest.files();
        for name in self.saved.files().into_iter().filter(|name| !kept.contains(name)) {
            files::remove(&self.folder.join(name))?;
        }
        self.saved = manifest;
        Ok(())
    }

    fn begin_merges(&mut self) -> Result<(), IndexError> {
        let levels: std::collections::BTreeSet<u32> = self.runs.iter().map(|run| run.name.level).collect();
        for level in levels {
            let waiting: Vec<&Run> =
                self.runs.iter().filter(|run| run.name.level == level).take(FAN).collect();
            let keys = waiting.iter().map(|run| run.name.keys).sum::<u64>();
            // A run has fewer than 2^32 keys; so large ones stay side by side.
            if waiting.len() < FAN
                || self.merges.iter().any(|merge| merge.level == level + 1)
                || u32::try_from(keys).is_err()
            {
                continue;
            }
            let name = RunName { number: number()?, level: level + 1, keys };
            self.merges.push(Merge::begin(&self.folder, &waiting, name, &self.secret)?);
        }
        Ok(())
    }

    /// Lets each merge go on by a few entries; by all that are left if its level has become long
    /// meanwhile, as after many short lives of this process.
    fn go_on_merging(&mut self, entries: u64) -> Result<(), IndexError> {
        let mut done = 0;
        while done < self.merges.len() {
            let merge = &mut self.merges[done];
            let waiting = self.runs.iter().filter(|run| run.name.level + 1 == merge.level).count();
            if !merge.advance(if waiting >= 2 * FAN { u64::MAX } else { entries })? {
                done += 1;
                continue;
            }
            let merge = self.merges.remove(done);
            let inputs = merge.inputs.clone();
            let run = merge.finish(&self.folder, &self.secret)?;
            self.runs.retain(|run| !inputs.contains(&run.name.number));
            self.runs.push(run);
            self.publish(self.saved.front, self.saved.mark, self.saved.totals)?;
            self.fill_memory()?;
            self.begin_merges()?;
        }
        Ok(())
    }

    /// Keeps the filters of the smallest runs in memory, as many as fit: each of them saves as much
    /// work as a large one.
    fn fill_memory(&mut self) -> Result<(), IndexError> {
        self.runs.sort_by_key(|run| run.name.keys);
        let mut room = self.limits.filter_bytes;
        for run in &mut self.runs {
            match room.checked_sub(run.filter_bytes()) {
                Some(left) => room = left,
                None => {
                    room = 0;
                    run.forget_filter();
                }
            }
        }
        let mut room = self.limits.filter_bytes;
        for run in &mut self.runs {
            let Some(left) = room.checked_sub(run.filter_bytes()) else { break };
            room = left;
            if !run.is_resident() {
                run.load_filter(&mut self.scratch)?;
            }
        }
        Ok(())
    }
}

const LOCK: &str = "lock";

/// A name for a run that nobody has used.
fn number() -> Result<u64, IndexError> {
    getrandom::u64().map_err(|error| {
        IndexError::storage(Path::new("the system's random numbers"), "asking for one", &error)
    })
}

/// Locks a file for this process alone. One that is ending, or a child of this one that was just
/// started, may hold it a moment longer.
fn take(lock: &File) -> Result<(), TryLockError> {
    const TRIES: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(50);
    for _ in 1..TRIES {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    lock.try_lock()
}
