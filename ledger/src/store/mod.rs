//! The one door to storage: a store, and the places in it.
//!
//! Everything of a ledger, of its journal and of its runs is read and written through a
//! [`Location`], over `object_store`'s interface. The local disk is one implementation, with the
//! syncs that object_store leaves out ([`disk`]); another is memory, which tests use.
//!
//! It deliberately knows nothing of Delta or of ledgers: [`crate::places`] says what is where.
//!
//! Invariant: bytes that were put are there, whole, when the put returns; a name that is taken is
//! never put anew.

// Modules in reading order.
pub mod disk; // a local disk whose answers can be believed

use crate::error::LedgerError;
use bytes::Bytes;
use disk::{DurableStore, FileSystem, LocalFiles, Readers, unique_name};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    Error, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use proof::lanes;
use schemas::digest::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use url::Url;

/// How often a folder is put in the place of one that somebody else has just put there.
const OTHERS: u32 = 100;

/// A store: where objects are, and what makes names durable there.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// The scheme and authority under which programs know the store.
    root: Url,
    /// The operating system, where the store is this machine's disk. Elsewhere an object is durable
    /// with its name.
    files: Option<Arc<dyn FileSystem>>,
}

impl Store {
    /// The disk of this machine.
    pub fn disk() -> Self {
        Self::disk_over(Arc::new(LocalFiles))
    }

    /// The disk of this machine, as `files` shows it: a test lets a call fail, or forgets what was
    /// not synced.
    pub fn disk_over(files: Arc<dyn FileSystem>) -> Self {
        let root = Url::parse("file:///").expect("it is a URL");
        Self { objects: Arc::new(DurableStore::over(files.clone())), root, files: Some(files) }
    }

    /// Memory, which is gone when the process ends.
    pub fn memory() -> Self {
        let root = Url::parse("memory:///").expect("it is a URL");
        Self { objects: Arc::new(InMemory::new()), root, files: None }
    }

    /// The same store with its objects seen through another, as a test needs it.
    #[must_use]
    pub fn seen_through(self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { objects: wrap(self.objects), ..self }
    }

    /// A place in a store that is no disk.
    ///
    /// # Panics
    /// When the store is a disk, whose places are paths.
    pub fn at(&self, path: &str) -> Location {
        assert!(self.files.is_none(), "a place on a disk is a path");
        Location { store: self.clone(), path: ObjectPath::from(path), on_disk: None }
    }

    /// A folder or a file of this machine.
    ///
    /// # Errors
    /// `Invalid` when the path cannot be written as an object's name.
    ///
    /// # Panics
    /// When the store is no disk.
    pub fn at_path(&self, path: &Path) -> Result<Location, LedgerError> {
        assert!(self.files.is_some(), "only a disk has paths");
        let absolute = std::path::absolute(path)
            .map_err(|error| LedgerError::storage(&path.display(), "resolving the path", &error))?;
        let object = ObjectPath::from_absolute_path(&absolute)
            .map_err(|error| LedgerError::invalid(&path.display(), error.to_string()))?;
        Ok(Location { store: self.clone(), path: object, on_disk: Some(path.to_owned()) })
    }
}

/// A place in a store: a folder, or an object in one. It need not be there.
#[derive(Debug, Clone)]
pub struct Location {
    store: Store,
    path: ObjectPath,
    /// The path on this machine, as it was given.
    on_disk: Option<PathBuf>,
}

/// As people know it: the path, or the URL.
impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.on_disk {
            Some(path) => write!(formatter, "{}", path.display()),
            None => write!(formatter, "{}{}", self.store.root, self.path),
        }
    }
}

impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.store.root) == (&other.path, &other.store.root)
    }
}

impl Eq for Location {}

impl PartialOrd for Location {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Location {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&self.store.root, &self.path).cmp(&(&other.store.root, &other.path))
    }
}

/// The contents of a folder, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub objects: Vec<String>,
    pub folders: Vec<String>,
}

/// Size and age of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub bytes: u64,
    /// When it was put, in seconds since 1970.
    pub put_at: i64,
}

impl Location {
    /// A folder or a file of this machine's disk.
    ///
    /// # Errors
    /// As [`Store::at_path`].
    pub fn on_disk(path: &Path) -> Result<Self, LedgerError> {
        Store::disk().at_path(path)
    }

    /// The path on this machine; none in another store.
    pub fn disk_path(&self) -> Option<&Path> {
        self.on_disk.as_deref()
    }

    /// The name of the object, or of the folder.
    pub fn name(&self) -> &str {
        self.path.filename().unwrap_or_default()
    }

    /// The place `part` below this one; `part` may have several names with slashes between them.
    #[must_use]
    pub fn join(&self, part: &str) -> Self {
        let path = part.split('/').fold(self.path.clone(), |path, name| path.join(name));
        let on_disk = self.on_disk.as_ref().map(|path| path.join(part));
        Self { store: self.store.clone(), path, on_disk }
    }

    /// As programs that read the store themselves know a folder: it ends with a slash.
    ///
    /// # Errors
    /// `Invalid` when it cannot be written as a URL.
    pub fn folder_url(&self) -> Result<Url, LedgerError> {
        self.url(true)
    }

    /// As programs that read the store themselves know an object.
    ///
    /// # Errors
    /// `Invalid` when it cannot be written as a URL.
    pub fn object_url(&self) -> Result<Url, LedgerError> {
        self.url(false)
    }

    fn url(&self, folder: bool) -> Result<Url, LedgerError> {
        let wrong = || LedgerError::invalid(self, "the path cannot be written as a URL");
        match &self.on_disk {
            Some(path) => {
                let absolute = std::path::absolute(path).map_err(|_| wrong())?;
                let url =
                    if folder { Url::from_directory_path(absolute) } else { Url::from_file_path(absolute) };
                url.map_err(|()| wrong())
            }
            None => {
                let end = if folder { "/" } else { "" };
                self.store.root.join(&format!("{}{end}", self.path)).map_err(|_| wrong())
            }
        }
    }

    /// The store, for a library that reads it by itself; its root is the root of
    /// [`Self::object_url`].
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.store.objects
    }

    /// # Errors
    /// `Storage`.
    pub async fn exists(&self) -> Result<bool, LedgerError> {
        self.facts().await.map(|facts| facts.is_some())
    }

    /// Size and age; none where there is no object.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn facts(&self) -> Result<Option<Facts>, LedgerError> {
        match self.store.objects.head(&self.path).await {
            Ok(meta) => Ok(Some(Facts { bytes: meta.size, put_at: meta.last_modified.timestamp() })),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(LedgerError::storage(self, "reading", &error)),
        }
    }

    /// The bytes of the object; none where there is none.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn read(&self) -> Result<Option<Bytes>, LedgerError> {
        let failed = |error: Error| LedgerError::storage(self, "reading", &error);
        match self.store.objects.get(&self.path).await {
            Ok(found) => found.bytes().await.map(Some).map_err(failed),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// The bytes of an object that was just put, and that nobody needs soon: from the disk, not
    /// from what memory still has of it.
    ///
    /// # Errors
    /// `Storage`, also when it is not there.
    pub async fn read_back(&self) -> Result<Bytes, LedgerError> {
        disk::read_back(&*self.store.objects, &self.path)
            .await
            .map_err(|error| LedgerError::storage(self, "reading back", &error))
    }

    /// Length and SHA-256 of the object, which need not fit into memory; none where there is none.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn digest(&self) -> Result<Option<(u64, Sha256Digest)>, LedgerError> {
        let failed = |error: &dyn fmt::Display| LedgerError::storage(self, "reading", &error.to_string());
        let found = match self.store.objects.get(&self.path).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let hashed = match found.payload {
            GetResultPayload::File(mut file, _) => {
                tokio::task::spawn_blocking(move || disk::digest_of(&mut file, |_| Ok(())))
                    .await
                    .map_err(|error| failed(&error))?
                    .map_err(|error| failed(&error))?
            }
            GetResultPayload::Stream(mut chunks) => {
                let (mut hasher, mut size) = (Sha256::new(), 0);
                while let Some(chunk) = chunks.next().await {
                    let chunk = chunk.map_err(|error| failed(&error))?;
                    hasher.update(&chunk);
                    size += chunk.len() as u64;
                }
                (size, Sha256Digest::from_bytes(hasher.finalize().into()))
            }
        };
        Ok(Some(hashed))
    }

    /// The same of many objects, on all cores, in their order.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn digests(locations: &[Self]) -> Result<Vec<Option<(u64, Sha256Digest)>>, LedgerError> {
        let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let mut begun = Vec::new();
        for worker in 0..workers.min(locations.len()) {
            let of_worker: Vec<Self> = locations.iter().skip(worker).step_by(workers).cloned().collect();
            let runtime = Handle::current();
            begun.push(tokio::task::spawn_blocking(move || digests_of(&of_worker, &runtime)));
        }
        let mut digests = vec![None; locations.len()];
        for (worker, begun) in begun.into_iter().enumerate() {
            let of_worker = begun.await.expect("hashing does not panic")?;
            for (digest, found) in digests.iter_mut().skip(worker).step_by(workers).zip(of_worker) {
                *digest = found;
            }
        }
        Ok(digests)
    }

    /// Puts an object if and only if its name is free. An error other than `AlreadyExists` leaves
    /// the outcome unknown.
    ///
    /// # Errors
    /// As the store says.
    pub async fn put_new(&self, bytes: Bytes) -> Result<(), Error> {
        self.create(bytes, Readers::Anyone).await
    }

    /// As [`Self::put_new`], an object that on a disk its owner alone may read. In a store that is
    /// no disk, who may read an object is for the store to say.
    ///
    /// # Errors
    /// As the store says.
    pub async fn put_new_secret(&self, bytes: Bytes) -> Result<(), Error> {
        self.create(bytes, Readers::Owner).await
    }

    /// As [`Self::put_new`], a copy of a file of this machine, which on a disk need not fit into memory.
    ///
    /// # Errors
    /// As the store says, and when the file is not what `digest` says.
    pub async fn put_new_copy(&self, from: &Path, digest: Sha256Digest) -> Result<(), Error> {
        let generic = |source| Error::Generic { store: "Location", source };
        let (Some(files), Some(path)) = (&self.store.files, &self.on_disk) else {
            let bytes: Bytes = std::fs::read(from).map_err(|error| generic(error.into()))?.into();
            return match Sha256Digest::of(&bytes) == digest {
                true => self.put_new(bytes).await,
                false => Err(generic("the file was changed while it was read".into())),
            };
        };
        let absolute = |path: &Path| std::path::absolute(path).map_err(|error| generic(error.into()));
        let (files, from, path) = (files.clone(), absolute(from)?, absolute(path)?);
        let put = tokio::task::spawn_blocking(move || disk::put_copy(&*files, &from, &path, digest)).await;
        match put.map_err(|error| generic(error.into()))? {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists { path: self.path.to_string(), source: error.into() })
            }
            Err(error) => Err(generic(error.into())),
        }
    }

    async fn create(&self, bytes: Bytes, readers: Readers) -> Result<(), Error> {
        let mut options = PutOptions::from(PutMode::Create);
        options.extensions.insert(readers);
        self.store.objects.put_opts(&self.path, PutPayload::from_bytes(bytes), options).await.map(drop)
    }

    /// Puts an object, in place of the one that has its name if there is one.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn replace(&self, bytes: Bytes) -> Result<(), LedgerError> {
        let put = self.store.objects.put(&self.path, PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(|error| LedgerError::storage(self, "writing", &error))
    }

    /// Removes an object; none where there is none.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn remove(&self) -> Result<(), LedgerError> {
        match self.store.objects.delete(&self.path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(LedgerError::storage(self, "removing", &error)),
        }
    }

    /// The names in a folder, in byte order; nothing where there is no folder.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn list(&self) -> Result<Listing, LedgerError> {
        let listed = self.store.objects.list_with_delimiter(Some(&self.path)).await;
        let listed = listed.map_err(|error| LedgerError::storage(self, "listing", &error))?;
        let name = |path: &ObjectPath| path.filename().unwrap_or_default().to_owned();
        let mut objects: Vec<String> = listed.objects.iter().map(|object| name(&object.location)).collect();
        let mut folders: Vec<String> = listed.common_prefixes.iter().map(name).collect();
        objects.sort_unstable();
        folders.sort_unstable();
        Ok(Listing { objects, folders })
    }

    /// The objects of a folder, and of those in it, whose names come after `after`, which is one of
    /// them or might be: their names below the folder, in byte order.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn list_after(&self, after: &str) -> Result<Vec<String>, LedgerError> {
        let after = self.join(after).path;
        let found = self.store.objects.list_with_offset(Some(&self.path), &after);
        self.names(found).await
    }

    /// All objects of a folder and of those in it: their names below the folder, in byte order.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn list_all(&self) -> Result<Vec<String>, LedgerError> {
        self.names(self.store.objects.list(Some(&self.path))).await
    }

    async fn names(
        &self,
        found: futures::stream::BoxStream<'static, Result<ObjectMeta, Error>>,
    ) -> Result<Vec<String>, LedgerError> {
        let found: Vec<ObjectMeta> =
            found.try_collect().await.map_err(|error| LedgerError::storage(self, "listing", &error))?;
        let below = |object: ObjectMeta| {
            let parts = object.location.prefix_match(&self.path)?;
            Some(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
        };
        let mut names: Vec<String> = found.into_iter().filter_map(below).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a folder and all that is in it.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn remove_folder(&self) -> Result<(), LedgerError> {
        if self.on_disk.is_some() {
            return self.ask(|files, path| files.remove_folder(path), "removing the folder").await;
        }
        for name in self.list_all().await? {
            self.join(&name).remove().await?;
        }
        Ok(())
    }

    /// Puts a folder in the place of another one. Where the store cannot do that at once, `last` is
    /// what is moved last, so that whoever finds it finds the others.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn move_folder(&self, to: &Self, last: &str) -> Result<(), LedgerError> {
        to.remove_folder().await?;
        if let Some(target) = to.on_disk.clone() {
            let moved = move |files: &dyn FileSystem, path: &Path| {
                let target = std::path::absolute(&target)?;
                let mut others = 0;
                loop {
                    match files.rename(path, &target) {
                        // Somebody else has put theirs there since it was removed.
                        Err(error)
                            if others < OTHERS && error.kind() == std::io::ErrorKind::DirectoryNotEmpty =>
                        {
                            others += 1;
                            files.remove_folder(&target)?;
                        }
                        moved => break moved?,
                    }
                }
                target.ancestors().skip(1).take(2).try_for_each(|folder| files.sync_folder(folder))
            };
            return self.ask(moved, "putting the folder in its place").await;
        }
        let mut names = self.list_all().await?;
        names.sort_by_key(|name| name == last);
        for name in names {
            let bytes = self.join(&name).read().await?;
            to.join(&name).replace(bytes.unwrap_or_default()).await?;
            self.join(&name).remove().await?;
        }
        Ok(())
    }

    /// Makes a folder where the store needs one before something is put there.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn create_folder(&self) -> Result<(), LedgerError> {
        self.ask(|files, path| files.create_folders(path), "creating the folder").await
    }

    /// Makes durable that a folder is where it is, whoever made it, and the names in it.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn sync_names(&self) -> Result<(), LedgerError> {
        self.ask(
            |files, path| path.ancestors().take(3).try_for_each(|folder| files.sync_folder(folder)),
            "making the folder durable",
        )
        .await
    }

    /// Makes the names in a folder durable, whoever put them there.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn sync_folder(&self) -> Result<(), LedgerError> {
        self.ask(|files, path| files.sync_folder(path), "making the folder durable").await
    }

    /// Asks the operating system, where this is a disk.
    async fn ask(
        &self,
        call: impl FnOnce(&dyn FileSystem, &Path) -> std::io::Result<()> + Send + 'static,
        doing: &'static str,
    ) -> Result<(), LedgerError> {
        let (Some(files), Some(path)) = (&self.store.files, &self.on_disk) else { return Ok(()) };
        let failed = |error: &dyn fmt::Display| LedgerError::storage(self, doing, &error.to_string());
        // The folder that a relative path is relative to must not change what its ancestors are.
        let path = std::path::absolute(path).map_err(|error| failed(&error))?;
        let files = files.clone();
        let asked = tokio::task::spawn_blocking(move || call(&*files, &path)).await;
        asked.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    /// Puts one name twice and expects the second to be refused: a store that overwrites instead
    /// would let two writers both believe in their commit.
    ///
    /// # Errors
    /// `Invalid` when it overwrites.
    pub async fn probe(&self) -> Result<(), LedgerError> {
        let probe = self.join(&format!(".probe-{}", unique_name()));
        let failed = |error: &Error| LedgerError::storage(self, "probing", error);
        probe.put_new(Bytes::from_static(b"first")).await.map_err(|error| failed(&error))?;
        let second = probe.put_new(Bytes::from_static(b"second")).await;
        let kept = probe.read().await?;
        probe.remove().await?;
        let first_is_kept = kept.as_deref() == Some(b"first");
        match second {
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) if first_is_kept => Ok(()),
            Err(error) if first_is_kept => Err(failed(&error)),
            _ => Err(LedgerError::invalid(
                self,
                "the storage lets one writer overwrite what another has put: two of them would both believe in their commit. Use storage that can put a file only if its name is free",
            )),
        }
    }
}

/// An object that is being read.
enum Reading {
    File(std::fs::File),
    Stream { chunks: BoxStream<'static, object_store::Result<Bytes>>, held: Bytes },
    Gone,
}

impl Reading {
    fn begin(location: &Location, runtime: &Handle) -> Result<Self, Error> {
        match runtime.block_on(location.store.objects.get(&location.path)) {
            Ok(found) => Ok(match found.payload {
                GetResultPayload::File(file, _) => Self::File(file),
                GetResultPayload::Stream(chunks) => Self::Stream { chunks, held: Bytes::new() },
            }),
            Err(Error::NotFound { .. }) => Ok(Self::Gone),
            Err(error) => Err(error),
        }
    }

    /// Puts the next bytes into a buffer; none where it ends.
    fn read(&mut self, buffer: &mut [u8], runtime: &Handle) -> Result<usize, String> {
        match self {
            Self::Gone => Ok(0),
            Self::File(file) => file.read(buffer).map_err(|error| error.to_string()),
            Self::Stream { chunks, held } => {
                while held.is_empty() {
                    match runtime.block_on(chunks.next()) {
                        None => return Ok(0),
                        Some(chunk) => *held = chunk.map_err(|error| error.to_string())?,
                    }
                }
                let read = held.len().min(buffer.len());
                buffer[..read].copy_from_slice(&held.split_to(read));
                Ok(read)
            }
        }
    }
}

/// Lengths and digests of objects by one thread, which waits for storage itself.
fn digests_of(
    locations: &[Location],
    runtime: &Handle,
) -> Result<Vec<Option<(u64, Sha256Digest)>>, LedgerError> {
    let mut open: BTreeMap<usize, Reading> = BTreeMap::new();
    let mut gone = BTreeSet::new();
    let digests = lanes::long(locations.len(), |number, buffer| {
        let failed = |error: &dyn fmt::Display| {
            LedgerError::storage(&locations[number], "reading", &error.to_string())
        };
        let reading = match open.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(Reading::begin(&locations[number], runtime).map_err(|error| failed(&error))?)
            }
        };
        let mut filled = 0;
        while filled < buffer.len() {
            match reading.read(&mut buffer[filled..], runtime).map_err(|error| failed(&error))? {
                0 => {
                    if matches!(open.remove(&number), Some(Reading::Gone)) {
                        gone.insert(number);
                    }
                    break;
                }
                read => filled += read,
            }
        }
        Ok(filled)
    })?;
    let of = |(number, (digest, length)): (usize, ([u8; 32], u64))| {
        (!gone.contains(&number)).then(|| (length, Sha256Digest::from_bytes(digest)))
    };
    Ok(digests.into_iter().enumerate().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On the disk and in memory: both must say the same.
    fn everywhere() -> (tempfile::TempDir, [Location; 2]) {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Location::on_disk(folder.path()).expect("a place");
        (folder, [disk, Store::memory().at("somewhere")])
    }

    async fn put(location: &Location, bytes: &'static [u8]) {
        location.replace(Bytes::from_static(bytes)).await.expect("it is written");
    }

    #[tokio::test]
    async fn a_name_that_is_taken_is_never_put_anew() {
        let (_folder, places) = everywhere();
        for place in places {
            let object = place.join("shards/0/entry");
            assert_eq!(object.read().await.expect("storage"), None);
            object.put_new(Bytes::from_static(b"first")).await.expect("the name is free");
            let second = object.put_new(Bytes::from_static(b"second")).await;
            assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
            assert_eq!(object.read().await.expect("storage").as_deref(), Some(b"first".as_slice()));
            assert_eq!(object.read_back().await.expect("storage"), b"first".as_slice());
            put(&object, b"other").await;
            assert_eq!(object.read().await.expect("storage").as_deref(), Some(b"other".as_slice()));
            assert_eq!(object.facts().await.expect("storage").map(|facts| facts.bytes), Some(5));
            place.probe().await.expect("a store that keeps the first");
        }
    }

    #[tokio::test]
    async fn a_digest_is_that_of_the_bytes() {
        let (_folder, places) = everywhere();
        for place in places {
            let object = place.join("rows");
            assert_eq!(object.digest().await.expect("storage"), None);
            put(&object, b"some rows").await;
            let expected = (9, Sha256Digest::of(b"some rows"));
            assert_eq!(object.digest().await.expect("storage"), Some(expected));
        }
    }

    #[tokio::test]
    async fn many_digests_are_those_of_the_bytes() {
        let (_folder, places) = everywhere();
        for place in places {
            let (mut objects, mut expected) = (Vec::new(), Vec::new());
            for number in 0..70_usize {
                let object = place.join(&format!("rows-{number}"));
                // Some are gone, one is empty, and others are longer than a piece.
                if number % 9 != 4 {
                    let bytes = vec![u8::try_from(number).expect("fewer than 256"); number * 1_999];
                    expected.push(Some((bytes.len() as u64, Sha256Digest::of(&bytes))));
                    object.put_new(bytes.into()).await.expect("the name is free");
                } else {
                    expected.push(None);
                }
                objects.push(object);
            }
            for count in [0, 1, 5, 70] {
                let digests = Location::digests(&objects[..count]).await.expect("storage");
                assert_eq!(digests, expected[..count]);
            }
        }
    }

    #[tokio::test]
    async fn names_are_listed_in_order_and_after_one_of_them() {
        let (_folder, places) = everywhere();
        for place in places {
            assert_eq!(place.list().await.expect("storage"), Listing::default(), "there is no folder yet");
            for name in ["b", "a", "c/1", "c/2", "d/e/3"] {
                put(&place.join(name), b"x").await;
            }
            let listing = place.list().await.expect("storage");
            assert_eq!((listing.objects, listing.folders), (names(&["a", "b"]), names(&["c", "d"])));
            assert_eq!(place.list_all().await.expect("storage"), names(&["a", "b", "c/1", "c/2", "d/e/3"]));
            assert_eq!(place.list_after("b").await.expect("storage"), names(&["c/1", "c/2", "d/e/3"]));
            assert_eq!(place.join("c").list_after("1").await.expect("storage"), names(&["2"]));
            place.join("a").remove().await.expect("it is removed");
            place.join("a").remove().await.expect("it is gone already");
            assert_eq!(place.list().await.expect("storage").objects, names(&["b"]));
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn a_folder_takes_the_place_of_another_whole() {
        let (_folder, places) = everywhere();
        for place in places {
            let (unfinished, run) = (place.join(".run"), place.join("period/run"));
            put(&run.join("old.parquet"), b"old").await;
            put(&run.join("manifest.json"), b"old").await;
            put(&unfinished.join("new.parquet"), b"new").await;
            put(&unfinished.join("manifest.json"), b"new").await;
            unfinished.move_folder(&run, "manifest.json").await.expect("it is moved");
            assert_eq!(run.list_all().await.expect("storage"), names(&["manifest.json", "new.parquet"]));
            let manifest = run.join("manifest.json").read().await.expect("storage");
            assert_eq!(manifest.as_deref(), Some(b"new".as_slice()));
            assert_eq!(unfinished.list_all().await.expect("storage"), Vec::<String>::new());
            run.remove_folder().await.expect("it is removed");
            run.remove_folder().await.expect("it is gone already");
            assert_eq!(place.join("period").list_all().await.expect("storage"), Vec::<String>::new());
        }
    }

    #[test]
    fn a_place_is_shown_as_people_and_programs_know_it() {
        let memory = Store::memory().at("ledgers/one").join("shards/0");
        assert_eq!(memory.to_string(), "memory:///ledgers/one/shards/0");
        assert_eq!(memory.folder_url().expect("a URL").as_str(), "memory:///ledgers/one/shards/0/");
        assert_eq!((memory.name(), memory.disk_path()), ("0", None));
        let disk = Location::on_disk(Path::new("/srv/a ledger")).expect("a place").join("leaf.key");
        assert_eq!(disk.to_string(), "/srv/a ledger/leaf.key");
        assert_eq!(disk.object_url().expect("a URL").as_str(), "file:///srv/a%20ledger/leaf.key");
        assert_eq!(disk.disk_path(), Some(Path::new("/srv/a ledger/leaf.key")));
    }
}
