//! A folder of files, or one file, as a source: NDJSON, JSON and Avro object containers, each
//! optionally gzip or zstd.
//!
//! A file is named by the digest of its bytes as stored, so moving or renaming it changes nothing,
//! reading it twice adds nothing, and two copies are one. A file must be complete when it appears
//! under its name: hidden files and `*.tmp` and `*.part` are skipped, so write there and rename. A
//! file that grows later is another file, whose events are then duplicates of the first's.
//!
//! Invariant: every record of a file is handed out once, in order. Where the rest of a file cannot
//! be read, one rejected record at the next offset says so; the records before it are kept.

mod container; // Avro object container files
mod disk; // bytes from a disk, digested while they are read
mod text; // NDJSON lines and JSON values

use crate::IngestError;
use crate::decode::avro::WriterSchema;
use crate::source::{self, Batch, BatchPolicy, RawRef, Record, Sink, Source, SourceEvent, Stop};
use disk::Disk;
use schemas::digest::Sha256Digest;
use schemas::position::{Advance, NextOffset, Offset, Origin, Positions, Stream};
use schemas::rejection::{Reason, Rejection};
use schemas::shard::Shard;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// How much of a file is digested before looking whether to stop.
const DIGESTED_AT_ONCE: u64 = 64 << 20;
const SUPPORTED: &str = ".ndjson, .jsonl, .json and .avro, each also with .gz or .zst added";

/// What a record of a file is.
enum Content {
    Json,
    Avro(Arc<WriterSchema>),
    Refused(Rejection),
}

/// One record of a file, or the news that the rest cannot be read.
struct Item {
    offset: i64,
    /// The offset after it, further than one where records in between cannot be read.
    next: i64,
    value: Vec<u8>,
    content: Content,
}

impl Item {
    fn record(offset: i64, value: Vec<u8>, content: Content) -> Self {
        Self { offset, next: offset + 1, value, content }
    }

    /// What is left of a file that cannot be read on; `value` is the beginning of it.
    fn broken(offset: i64, mut value: Vec<u8>, reason: Reason, detail: String) -> Self {
        value.truncate(crate::decode::KEPT_BYTES);
        Self { offset, next: offset + 1, value, content: Content::Refused(Rejection::new(reason, detail)) }
    }
}

/// Reads the records of one file. After `None` there is nothing more.
trait Records: Send {
    fn next(&mut self) -> Option<Item>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines,
    Json,
    Avro,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

#[derive(Debug, Clone)]
struct Found {
    path: PathBuf,
    /// Below the folder, with `/`.
    name: Arc<str>,
    format: Format,
    compression: Compression,
}

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
}

/// What is compared to see whether a path still has the same file, before its bytes are: device,
/// inode, length, and when it was written.
type Identity = (u64, u64, u64, i64, i64);

pub struct FilesSource {
    root: PathBuf,
    shard: Shard,
    /// What each path was when it was last digested.
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
            seen: HashMap::new(),
            by_digest: HashMap::new(),
            discovered: Vec::new(),
            queue: VecDeque::new(),
            open: None,
        })
    }

    /// Leaves the files of other shards alone.
    #[must_use]
    pub fn sharded(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }

    /// Every file to read, in byte order of the names.
    fn walk(&self) -> Result<Vec<Found>, IngestError> {
        let mut files = Vec::new();
        let kind = fs::metadata(&self.root).map_err(|error| invalid(&self.root, &error))?.file_type();
        if !kind.is_file() && !kind.is_dir() {
            return Err(no_file(&self.root));
        }
        if kind.is_file() {
            let name =
                self.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            files.push((self.root.clone(), name));
        } else {
            let mut folders = vec![(self.root.clone(), String::new())];
            let mut visited = HashSet::new();
            while let Some((folder, prefix)) = folders.pop() {
                // A link may lead back to a folder above it.
                if !visited.insert(fs::canonicalize(&folder).map_err(|error| retry(&folder, &error))?) {
                    continue;
                }
                for entry in fs::read_dir(&folder).map_err(|error| retry(&folder, &error))? {
                    let path = entry.map_err(|error| retry(&folder, &error))?.path();
                    let name =
                        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                    if name.starts_with('.') || name.ends_with(".tmp") || name.ends_with(".part") {
                        continue;
                    }
                    let below = format!("{prefix}{name}");
                    let kind = fs::metadata(&path).map_err(|error| retry(&path, &error))?.file_type();
                    if kind.is_dir() {
                        folders.push((path, below + "/"));
                    } else if kind.is_file() {
                        files.push((path, below));
                    } else {
                        return Err(no_file(&path));
                    }
                }
            }
        }
        files.sort_by(|(_, one), (_, other)| one.as_bytes().cmp(other.as_bytes()));
        files.into_iter().map(|(path, name)| found(path, &name)).collect()
    }
}

fn found(path: PathBuf, name: &str) -> Result<Found, IngestError> {
    let lower = name.to_ascii_lowercase();
    let (stem, compression) = match lower.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Compression::Gzip),
        Some((stem, "zst")) => (stem, Compression::Zstd),
        _ => (lower.as_str(), Compression::None),
    };
    let format = match stem.rsplit_once('.') {
        Some((_, "ndjson" | "jsonl")) => Format::Lines,
        Some((_, "json")) => Format::Json,
        Some((_, "avro")) => Format::Avro,
        _ => {
            return Err(IngestError::Invalid(format!(
                "{}: files of this kind are not read; {SUPPORTED} are. Nothing was read. Move the file away, or put a dot before its name",
                path.display()
            )));
        }
    };
    Ok(Found { path, name: name.into(), format, compression })
}

impl Source for FilesSource {
    fn discover(&mut self, stop: &Stop) -> Result<Vec<Stream>, IngestError> {
        let mut streams = Vec::new();
        let files = self.walk()?;
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
            let stream = Stream { origin: Origin::File { digest }, partition: 0 };
            if !self.shard.takes(&stream) {
                continue;
            }
            streams.push(stream.clone());
            self.discovered.push(Planned { file, digest, stream: Arc::new(stream), position: 0 });
        }
        Ok(streams)
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
            let item = opened.records.next();
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
                            "{}: it changed while it was read; write files under a name that ends in .tmp or .part and rename them when they are complete. What was not yet committed was not kept; run again",
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
            Format::Lines => Box::new(text::Lines::new(bytes)),
            Format::Json => Box::new(text::Values::new(bytes)),
            Format::Avro => Box::new(container::Container::new(bytes, planned.position)),
        };
        Ok(Self { planned, disk, records })
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

fn invalid(path: &Path, error: &io::Error) -> IngestError {
    IngestError::Invalid(format!(
        "cannot read {}: {error}; give a file or a folder of files ({SUPPORTED})",
        path.display()
    ))
}

/// A pipe would be waited for without an end, a device has none.
fn no_file(path: &Path) -> IngestError {
    IngestError::Invalid(format!(
        "{}: it is a pipe, a socket or a device, not a file; nothing was read. Move it away, or put a dot before its name",
        path.display()
    ))
}

fn retry(path: &Path, error: &io::Error) -> IngestError {
    IngestError::Retry(format!(
        "cannot read {}: {error}; what was committed before stays, run again when it can be read",
        path.display()
    ))
}

#[cfg(test)]
mod tests;
