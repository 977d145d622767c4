//! A disk that fails at the k-th call, and a disk that forgets what was not synced.

use crate::campaign::{Campaign, Extent, Random, Trial, folder};
use crate::work::{Work, behind, ledger_before_checkpoint, new_signer, place, sign, wait, wait_or_panic};
use ledger::store::Store;
use ledger::store::disk::{FileSystem, LocalFiles, Readers};
use ledger::{ErrorKind, LedgerError, Location, ShardWriter};
use schemas::digest::Sha256Digest;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;

pub const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "failing-disk",
        what: "the k-th call to the disk fails, for every k until a run without a failure: ENOSPC and EIO, once or from then on, undone or done all the same",
        trials: |extent| LAST_CALL * if extent == Extent::Full { VARIANTS } else { 1 },
        threads: 4,
        run: failing,
    },
    Campaign {
        name: "power-loss",
        what: "the power goes at any call to the disk; what was not synced is gone, empty, torn, zeros, or there",
        trials: |extent| if extent == Extent::Full { 2_000 } else { 150 },
        threads: 2,
        run: power_loss,
    },
];

/// No run of the work makes as many calls.
const LAST_CALL: u64 = 140;
/// Error, how long it lasts, and whether the call was done all the same.
const VARIANTS: u64 = 8;
fn work() -> Work {
    Work::new(20, 2)
}

fn failing(trial: &mut Trial) {
    let variant =
        if trial.extent == Extent::Full { trial.number / LAST_CALL } else { trial.random.below(VARIANTS) };
    let disk = Arc::new(FailingDisk {
        call: AtomicU64::new(0),
        fails: trial.number % LAST_CALL,
        raw_os_error: if variant & 1 == 0 { ENOSPC } else { EIO },
        lasting: variant & 2 != 0,
        done: variant & 4 != 0,
    });
    let (folder, work) = (trial.folder().join("ledger"), work());
    ledger_before_checkpoint(&folder);
    let ledger = Store::disk_over(disk.clone()).at_path(&folder).expect("a place");
    let mut acknowledged = BTreeMap::new();
    let outcome = wait_or_panic(async {
        let mut ledger = ShardWriter::open(&ledger).await?;
        while work.step(&mut ledger).await?.is_some() {
            acknowledged = work.reached(&ledger);
        }
        Ok::<(), LedgerError>(())
    });
    if disk.call.load(Ordering::Relaxed) > disk.fails {
        trial.injected(1);
        match outcome {
            Ok(Ok(())) => trial.tally("the work went on"),
            Ok(Err(error)) if error.kind() == ErrorKind::Retry => {
                trial.tally("the process stopped and said why")
            }
            Ok(Err(error)) => trial.failed(format!("it stopped with another error than of storage: {error}")),
            Err(panic) => trial.failed(format!("it panicked: {panic}")),
        }
    } else {
        trial.tally("there was no k-th call");
        if !matches!(outcome, Ok(Ok(()))) {
            trial.failed(format!("without a fault: {outcome:?}"));
        }
    }
    if trial.number % LAST_CALL == LAST_CALL - 1 && disk.call.load(Ordering::Relaxed) > disk.fails {
        trial.failed("the work makes more calls than are tried");
    }
    recovers(trial, &folder, &work, &acknowledged);
}

/// The ledger opens as on any other day, has what was acknowledged, and the rest of the work can be
/// done.
fn recovers(trial: &mut Trial, folder: &Path, work: &Work, acknowledged: &BTreeMap<String, i64>) {
    let opened = wait(ShardWriter::open(&place(folder))).map(|ledger| work.reached(&ledger));
    let reached = match opened {
        Ok(reached) => reached,
        Err(error) => return trial.failed(format!("it does not open: {error}")),
    };
    for lost in behind(&reached, acknowledged) {
        trial.lost(lost);
    }
    if let Err(error) = wait(work.finish(folder)) {
        return trial.failed(format!("the work cannot be finished: {error}"));
    }
    trial.audit(folder, &work.expected());
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[derive(Debug)]
struct FailingDisk {
    call: AtomicU64,
    /// The number of the first call that fails, from 0.
    fails: u64,
    raw_os_error: i32,
    /// Whether all calls after it fail too.
    lasting: bool,
    /// Whether the call did what it was asked to, and only says that it did not.
    done: bool,
}

impl FailingDisk {
    fn call<T>(
        &self,
        done: impl Fn() -> io::Result<T>,
        undone: impl Fn() -> io::Result<()>,
    ) -> io::Result<T> {
        let call = self.call.fetch_add(1, Ordering::Relaxed);
        if call < self.fails || (call > self.fails && !self.lasting) {
            return done();
        }
        // The answer is the planned one, whatever this comes to.
        let _ = if self.done { done().map(drop) } else { undone() };
        Err(io::Error::from_raw_os_error(self.raw_os_error))
    }
}

impl FileSystem for FailingDisk {
    fn write_new(&self, path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
        // A disk that is full keeps what it had room for.
        self.call(
            || LocalFiles.write_new(path, bytes, readers),
            || std::fs::write(path, &bytes[..bytes.len() / 2]),
        )
    }

    fn copy_new(&self, from: &Path, path: &Path) -> io::Result<Sha256Digest> {
        self.call(|| LocalFiles.copy_new(from, path), || std::fs::write(path, "half"))
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.call(|| LocalFiles.sync_file(path), || Ok(()))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.call(|| LocalFiles.sync_folder(path), || Ok(()))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| LocalFiles.link(from, to), || Ok(()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| LocalFiles.rename(from, to), || Ok(()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|| LocalFiles.remove(path), || Ok(()))
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        self.call(|| LocalFiles.create_folders(path), || Ok(()))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.call(|| LocalFiles.remove_folder(path), || Ok(()))
    }
}

/// The things that happened to the disk, in order. Paths are relative to the ledger.
#[derive(Debug, Clone)]
pub enum Event {
    Written(PathBuf, Arc<[u8]>),
    FileSynced(PathBuf),
    FolderSynced(PathBuf),
    Linked(PathBuf, PathBuf),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
    /// The writer was told that it has read up to here.
    Acknowledged(BTreeMap<String, i64>),
    /// The world was shown a signature over so many commits.
    Signed(u64),
    /// The files of the index of ids, which writes them itself, are now these.
    Ids(BTreeMap<String, Arc<[u8]>>),
}

#[derive(Debug)]
pub struct RecordingDisk {
    ledger: PathBuf,
    events: Mutex<Vec<Event>>,
    /// Is told as soon as an entry has its name, which nobody has synced yet.
    sees: fn(&Arc<Self>),
    itself: Weak<Self>,
}

impl RecordingDisk {
    pub fn new(ledger: &Path, sees: fn(&Arc<Self>)) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            ledger: ledger.to_owned(),
            events: Mutex::default(),
            sees,
            itself: itself.clone(),
        })
    }

    /// The ledger on this disk.
    pub fn location(self: &Arc<Self>) -> Location {
        Store::disk_over(self.clone()).at_path(&self.ledger).expect("a place")
    }

    pub fn events(&self) -> Vec<Event> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(
            events.iter().any(|event| matches!(event, Event::Renamed(..) | Event::Linked(..))),
            "the recording saw the commits"
        );
        events
    }

    /// Records the files of the index of ids, where they are others than before.
    pub fn see_ids(&self) {
        let mut files: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
        for entry in std::fs::read_dir(self.ledger.join("derived/ids")).into_iter().flatten().flatten() {
            let bytes = std::fs::read(entry.path()).expect("a file of the index");
            files.insert(entry.file_name().to_string_lossy().into_owned(), bytes.into());
        }
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let before = events.iter().rev().find_map(|event| match event {
            Event::Ids(before) => Some(before),
            _ => None,
        });
        if before != Some(&files) {
            events.push(Event::Ids(files));
        }
    }

    pub fn record(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// Another process signs what it finds.
    fn sign(self: &Arc<Self>) {
        let folder = self.ledger.parent().expect("a folder around the ledger").to_owned();
        let ledger = self.location();
        let signing = thread::spawn(move || wait(sign(&ledger, &folder)));
        let size = signing.join().expect("a signer does not panic").expect("a whole ledger is signed");
        self.record(Event::Signed(size));
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.ledger).expect("a ledger writes nowhere else").to_owned()
    }
}

impl FileSystem for RecordingDisk {
    fn write_new(&self, path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
        LocalFiles.write_new(path, bytes, readers)?;
        self.record(Event::Written(self.relative(path), bytes.into()));
        Ok(())
    }

    fn copy_new(&self, from: &Path, path: &Path) -> io::Result<Sha256Digest> {
        let digest = LocalFiles.copy_new(from, path)?;
        self.record(Event::Written(self.relative(path), std::fs::read(path)?.into()));
        Ok(digest)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.record(Event::FileSynced(self.relative(path)));
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // The names of what the ledger is in are synced, too, when a folder of its is new.
        if path.starts_with(&self.ledger) {
            self.record(Event::FolderSynced(self.relative(path)));
        }
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalFiles.link(from, to)?;
        self.record(Event::Linked(self.relative(from), self.relative(to)));
        if to.extension().is_some_and(|extension| extension == "json") {
            (self.sees)(&self.itself.upgrade().expect("who records is there"));
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalFiles.rename(from, to)?;
        self.record(Event::Renamed(self.relative(from), self.relative(to)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalFiles.remove(path)?;
        self.record(Event::Removed(self.relative(path)));
        Ok(())
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        LocalFiles.create_folders(path)
    }

    fn remove_folder(&self, _: &Path) -> io::Result<()> {
        unreachable!("a ledger removes no folder")
    }
}

/// Everything that a run of the work asked of the disk.
fn recorded() -> &'static [Event] {
    static EVENTS: OnceLock<Vec<Event>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let folder = folder();
        let ledger = folder.path().join("ledger");
        ledger_before_checkpoint(&ledger);
        new_signer(folder.path());
        let disk = RecordingDisk::new(&ledger, RecordingDisk::sign);
        wait(async {
            let work = work();
            let mut ledger = ShardWriter::open(&disk.location()).await.expect("it opens");
            while work.step(&mut ledger).await.expect("a whole disk").is_some() {
                disk.record(Event::Acknowledged(work.reached(&ledger)));
            }
        });
        disk.events()
    })
}

#[derive(Debug, Clone)]
struct Inode {
    bytes: Arc<[u8]>,
    synced: bool,
}

/// The disk as a machine finds it that was without power: each folder has what was synced, and any
/// part of what was not.
pub fn after_power_loss(events: &[Event], random: &mut Random) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut inodes: Vec<Inode> = Vec::new();
    let mut live: BTreeMap<PathBuf, usize> = BTreeMap::new();
    // Names that are durable, and per folder the changes of names that may be.
    let mut durable: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut pending: BTreeMap<PathBuf, Vec<(PathBuf, Option<usize>)>> = BTreeMap::new();
    let folder = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    for event in events {
        let mut name = |path: &Path, inode: Option<usize>, live: &mut BTreeMap<PathBuf, usize>| {
            match inode {
                Some(inode) => live.insert(path.to_owned(), inode),
                None => live.remove(path),
            };
            pending.entry(folder(path)).or_default().push((path.to_owned(), inode));
        };
        match event {
            Event::Written(path, bytes) => {
                inodes.push(Inode { bytes: bytes.clone(), synced: false });
                name(path, Some(inodes.len() - 1), &mut live);
            }
            Event::FileSynced(path) => {
                if let Some(inode) = live.get(path) {
                    inodes[*inode].synced = true;
                }
            }
            Event::FolderSynced(path) => {
                for (path, inode) in pending.remove(path).unwrap_or_default() {
                    change(&mut durable, path, inode);
                }
            }
            Event::Linked(from, to) => {
                let inode = live.get(from).copied();
                name(to, inode, &mut live);
            }
            Event::Renamed(from, to) => {
                let inode = live.get(from).copied();
                name(to, inode, &mut live);
                name(from, None, &mut live);
            }
            Event::Removed(path) => name(path, None, &mut live),
            Event::Acknowledged(_) | Event::Signed(_) | Event::Ids(_) => {}
        }
    }
    for changes in pending.into_values() {
        let kept = random.index(changes.len() + 1);
        let in_order = random.chance(50);
        for (index, (path, inode)) in changes.into_iter().enumerate() {
            if if in_order { index < kept } else { random.chance(50) } {
                change(&mut durable, path, inode);
            }
        }
    }
    let content = |(path, inode): (PathBuf, usize), random: &mut Random| {
        let Inode { bytes, synced } = &inodes[inode];
        (path, if *synced { bytes.to_vec() } else { not_synced(bytes, random) })
    };
    durable.into_iter().map(|named| content(named, random)).collect()
}

fn change(names: &mut BTreeMap<PathBuf, usize>, path: PathBuf, inode: Option<usize>) {
    match inode {
        Some(inode) => names.insert(path, inode),
        None => names.remove(&path),
    };
}

/// The bytes of a file that was written and not synced, as they may be found.
pub fn not_synced(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let whole = bytes.to_vec();
    if whole.is_empty() {
        return whole;
    }
    let part = random.index(whole.len());
    match random.below(5) {
        0 => Vec::new(),
        1 => whole[..part].to_vec(),
        2 => vec![0; whole.len()],
        3 => [&whole[..part], &vec![0; whole.len() - part]].concat(),
        _ => whole,
    }
}

fn power_loss(trial: &mut Trial) {
    let events = recorded();
    let point = if trial.number < events.len() as u64 {
        trial.number
    } else {
        trial.random.below(events.len() as u64 + 1)
    };
    let happened = &events[..usize::try_from(point).expect("an index")];
    let (folder, work) = (trial.folder().join("ledger"), work());
    ledger_before_checkpoint(&folder);
    for (path, bytes) in after_power_loss(happened, &mut trial.random) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
    trial.injected(1);
    let signed = happened.iter().rev().find_map(|event| match event {
        Event::Signed(size) => Some(*size),
        _ => None,
    });
    if let (Some(signed), Ok(ledger)) = (signed, wait(ShardWriter::open(&place(&folder))))
        && ledger.version() < signed
    {
        trial.lost(format!("a head over {signed} commits was shown, and there are {}", ledger.version()));
    }
    let acknowledged = happened.iter().rev().find_map(|event| match event {
        Event::Acknowledged(reached) => Some(reached.clone()),
        _ => None,
    });
    recovers(trial, &folder, &work, &acknowledged.unwrap_or_default());
}
