//! A folder of files, or one file, as a source: NDJSON, JSON and Avro object containers, each
//! optionally gzip or zstd.
//!
//! A file is named by the digest of its bytes as stored, so moving or renaming it changes nothing,
//! reading it twice adds nothing (unless a second reading is asked for), and two copies are one. A file must be complete when it appears
//! under its name: hidden files and `*.tmp` and `*.part` are skipped, so write there and rename. A
//! file that grows later is another file, whose events are then duplicates of the first's.
//!
//! Invariant: every record of a file is handed out once, in order. Where the rest of a file cannot
//! be read, one rejected record at the next offset says so; the records before it are kept.

// Modules in reading order.
mod walk; // which files there are
mod disk; // bytes from a disk, digested while they are read
mod record; // one record of a file
mod text; // NDJSON lines and JSON values
mod container; // Avro object container files

use crate::IngestError;
use crate::foreign;
use crate::source::{self, Batch, BatchPolicy, RawRef, Record, Sink, Source, SourceEvent};
use crate::stop::Stop;
use disk::Disk;
use record::{Content, Item, Last, Records};
use schemas::digest::Sha256Digest;
use schemas::position::{Advance, NextOffset, Offset, Origin, Positions, Stream};
use schemas::shard::Shard;
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use walk::{Compression, Format, Found, SUPPORTED, invalid, retry};

/// How much of a file is digested before looking whether to stop.
const DIGESTED_AT_ONCE: u64 = 64 << 20;
/// A file that appears should be read soon, and looking at a folder of some thousands is cheap.
const WALKED_EVERY: Duration = Duration::from_secs(3);

struct Planned {
    file: Found,
    digest: Sha256Digest,
    stream: Arc<Stream>,
    position: i64,
}

struct Opened {
    planned: Planned,
    disk: Disk,
    records: Box<dyn Records>,
    /// The offset after the last record that was read, also of those that are only stepped over.
    next: i64,
}

/// Device, inode, length, and when it was written: compared, before the bytes are, to see whether a
/// path still has the same file.
type Identity = (u64, u64, u64, i64, i64);

/// Which reading of a file it is, counted from 0 as the partition of its stream. Each goes on from
/// where it ended, and knows nothing of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading(u32);

impl Reading {
    pub const FIRST: Self = Self(0);

    /// Counted from 1, as people count.
    pub fn number(number: u32) -> Option<Self> {
        number.checked_sub(1).map(Self)
    }
}

pub struct FilesSource {
    root: PathBuf,
    shard: Shard,
    reading: Reading,
    /// The file at each path when it was last digested.
    seen: HashMap<PathBuf, Identity>,
    by_digest: HashMap<Sha256Digest, Arc<str>>,
    discovered: Vec<Planned>,
    queue: VecDeque<Planned>,
    open: Option<Opened>,
}

impl FilesSource {
    /// # Errors
    /// When there is nothing at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, IngestError> {
        let root = path.into();
        fs::metadata(&root).map_err(|error| invalid(&root, &error))?;
        Ok(Self {
            root,
            shard: Shard::WHOLE,
            reading: Reading::FIRST,
            seen: HashMap::new(),
            by_digest: HashMap::new(),
            discovered: Vec::new(),
            queue: VecDeque::new(),
            open: None,
        })
    }

    /// Reads the files so manieth: what was refused when they were read before may be right now, and
    /// what was not is a duplicate.
    #[must_use]
    pub fn again(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }

    /// Leaves the files of other shards alone.
    #[must_use]
    pub fn sharded(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }
}

impl Source for FilesSource {
    fn discover(&mut self, stop: &Stop) -> Result<Vec<Stream>, IngestError> {
        let mut streams = Vec::new();
        let files = walk::walk(&self.root)?;
        if files.is_empty() && self.seen.is_empty() {
            tracing::warn!(
                event = "files.empty",
                "{}: there is no file to read yet ({SUPPORTED} are read)",
                self.root.display()
            );
        }
        for file in files {
            let metadata = fs::metadata(&file.path).map_err(|error| retry(&file.path, &error))?;
            let now =
                (metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
            if self.seen.get(&file.path) == Some(&now) {
                continue;
            }
            let digest = digest(&file.path, stop)?;
            if self.seen.insert(file.path.clone(), now).is_some() {
                tracing::warn!(
                    event = "files.changed",
                    "{}: it has changed since it was read and is now read as another file",
                    file.path.display()
                );
            }
            if let Some(name) = self.by_digest.get(&digest) {
                if *name != file.name {
                    tracing::warn!(
                        event = "files.duplicate",
                        "{}: skipped, because {name} has the same content",
                        file.path.display()
                    );
                }
                continue;
            }
            self.by_digest.insert(digest, file.name.clone());
            let stream = Stream { origin: Origin::File { digest }, partition: self.reading.0 };
            if !self.shard.takes(&stream) {
                continue;
            }
            streams.push(stream.clone());
            self.discovered.push(Planned { file, digest, stream: Arc::new(stream), position: 0 });
        }
        Ok(streams)
    }

    fn rediscover_every(&self) -> Duration {
        WALKED_EVERY
    }

    fn assign(&mut self, positions: &Positions, _stop: &Stop) -> Result<(), IngestError> {
        for mut planned in self.discovered.drain(..) {
            planned.position = positions.get(&planned.stream).map_or(0, |next| next.0);
            self.queue.push_back(planned);
        }
        Ok(())
    }

    fn next(
        &mut self,
        policy: &BatchPolicy,
        stop: &Stop,
        sink: &mut dyn Sink,
    ) -> Result<SourceEvent, IngestError> {
        let begun = Instant::now();
        let mut batch = Batch::new(sink);
        while !batch.is_full(policy) && !stop.is_requested() && begun.elapsed() < policy.max_age {
            let Some(opened) = &mut self.open else {
                let Some(planned) = self.queue.pop_front() else {
                    return Ok(if batch.is_empty() { SourceEvent::CaughtUp } else { SourceEvent::Batch });
                };
                self.open = Some(Opened::new(planned)?);
                continue;
            };
            let item = opened.next();
            let path = &opened.planned.file.path;
            // A disk that fails looks like a damaged file to the readers; it must not become a
            // rejected record.
            if let Some(error) = opened.disk.failure() {
                return Err(retry(path, &error));
            }
            match item {
                Some(item) if item.offset < opened.planned.position => {}
                Some(item) => batch_item(&mut batch, &mut opened.planned, &item)?,
                None => {
                    let read = opened.disk.finish().map_err(|error| retry(path, &error))?;
                    if read != opened.planned.digest {
                        return Err(IngestError::Invalid(format!(
                            "{}: it changed while it was read; write files under a name that ends in .tmp or .part and rename them when they are complete. Records that were not yet committed were not kept; run again",
                            path.display()
                        )));
                    }
                    self.open = None;
                }
            }
        }
        Ok(if batch.is_empty() { SourceEvent::Idle } else { SourceEvent::Batch })
    }

    /// How many records a file has is only known when it has been read.
    fn lag(&mut self) -> Option<u64> {
        None
    }
}

fn batch_item(batch: &mut Batch<'_>, planned: &mut Planned, item: &Item) -> Result<(), IngestError> {
    let advance = Advance { from: NextOffset(planned.position), to: NextOffset(item.next), identity: None };
    planned.position = item.next;
    batch.push(&Record {
        stream: &planned.stream,
        origin_name: &planned.file.name,
        offset: Offset(item.offset),
        advance,
        produced_at: None,
        raw: RawRef { key: None, headers: &[], value: Some(&item.value) },
        content: match &item.content {
            Content::Json => source::Content::Json,
            Content::Avro(schema) => source::Content::Avro(schema),
            Content::Refused(rejection) => source::Content::Refused(rejection),
        },
    })
}

impl Opened {
    fn new(planned: Planned) -> Result<Self, IngestError> {
        let path = &planned.file.path;
        let disk = open(path).map_err(|error| retry(path, &error))?;
        let bytes: Box<dyn BufRead + Send> = match planned.file.compression {
            Compression::None => Box::new(BufReader::with_capacity(1 << 16, disk.clone())),
            Compression::Gzip => {
                Box::new(BufReader::with_capacity(1 << 16, flate2::read::MultiGzDecoder::new(disk.clone())))
            }
            Compression::Zstd => {
                let decoder = zstd::Decoder::new(disk.clone()).map_err(|error| retry(path, &error))?;
                Box::new(BufReader::with_capacity(1 << 16, decoder))
            }
        };
        let records: Box<dyn Records> = match planned.file.format {
            Format::Lines => of_text(&planned, bytes, |bytes| Box::new(text::Lines::new(bytes))),
            Format::Json => of_text(&planned, bytes, |bytes| Box::new(text::Values::new(bytes))),
            Format::Avro => Box::new(container::Container::new(bytes, planned.position)),
        };
        Ok(Self { planned, disk, records, next: 0 })
    }

    /// The next record of the file. One that a reader fails on is the last of it.
    fn next(&mut self) -> Option<Item> {
        let (records, name) = (&mut self.records, &self.planned.file.name);
        let item = foreign::read(name, || records.next()).unwrap_or_else(|rejection| {
            self.records = Box::new(Last(None));
            let detail = format!("{}; the rest of the file is not read", rejection.detail);
            Some(Item::broken(self.next, Vec::new(), rejection.reason, detail))
        });
        self.next = item.as_ref().map_or(self.next, |item| item.next);
        item
    }
}

/// The records of a text, after what it begins with.
fn of_text(
    planned: &Planned,
    bytes: Box<dyn BufRead + Send>,
    records: impl FnOnce(Box<dyn BufRead + Send>) -> Box<dyn Records>,
) -> Box<dyn Records> {
    let path = planned.file.path.display();
    let begun = foreign::read(&planned.file.name, || text::begin(bytes))
        .unwrap_or_else(|rejection| Err(Item::broken(0, Vec::new(), rejection.reason, rejection.detail)));
    match begun {
        Ok(text::Begun { bytes, marked }) => {
            if marked && planned.position == 0 {
                tracing::warn!(
                    event = "files.marked",
                    "{path}: it begins with a byte order mark, which was skipped"
                );
            }
            records(bytes)
        }
        Err(item) => Box::new(Last(Some(item))),
    }
}

/// The digest of a whole file, which may take a while.
fn digest(path: &Path, stop: &Stop) -> Result<Sha256Digest, IngestError> {
    let mut disk = open(path).map_err(|error| retry(path, &error))?;
    while !stop.is_requested() {
        let read = io::copy(&mut io::Read::take(&mut disk, DIGESTED_AT_ONCE), &mut io::sink())
            .map_err(|error| retry(path, &error))?;
        if read < DIGESTED_AT_ONCE {
            return disk.finish().map_err(|error| retry(path, &error));
        }
    }
    Err(IngestError::Stopped)
}

fn open(path: &Path) -> io::Result<Disk> {
    File::open(path).map(Disk::new)
}

#[cfg(test)]
mod tests;
