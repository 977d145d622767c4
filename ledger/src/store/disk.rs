//! A local disk as an object store whose answers can be believed: what was put is durable when
//! `put` returns.
//!
//! object_store 0.13 never syncs, so after a power loss a file that was "written" may be empty and
//! a name may be gone. Here a put writes a file beside the place, syncs it, links it to its name
//! only if nothing has that name, and syncs the folder. So a name never stands for half a file, and
//! a commit that was acknowledged is there tomorrow.
//!
//! It deliberately knows nothing of Delta or of ledgers. Reading and listing are object_store's
//! own.
//!
//! Invariant: when a put with [`PutMode::Create`] returns `AlreadyExists`, what exists is durable
//! too, so that a writer that lost an answer can put again and believe the second one.

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart,
};
use schemas::digest::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Those who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readers {
    /// As the process's umask says.
    #[default]
    Anyone,
    /// Its owner alone: it is a secret.
    Owner,
}

/// The calls of a put to the operating system, one call each, so that a test can let the k-th fail
/// or forget what was not synced.
pub trait FileSystem: fmt::Debug + Send + Sync + 'static {
    /// # Errors
    /// As the operating system says, also when the file exists.
    fn write_new(&self, path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()>;
    /// Copies a file, whatever its size, and says what was copied.
    ///
    /// # Errors
    /// As the operating system says, also when the file exists.
    fn copy_new(&self, from: &Path, path: &Path) -> io::Result<Sha256Digest>;
    /// # Errors
    /// As the operating system says.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Gives a file a second name.
    ///
    /// # Errors
    /// `AlreadyExists` when something has that name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// # Errors
    /// As the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// # Errors
    /// As the operating system says.
    fn create_folders(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all that is in it; nothing where there is none.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
}

/// Bytes read back of larger files come from the disk. Smaller ones are not worth its time.
const READ_FROM_DISK: u64 = 1 << 20;

/// Lets the operating system forget what it has of a file in memory, so that it is read from the
/// disk next, and does not push out what others need. A system that does not know how keeps it.
fn forget(file: &File) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// The bytes of an object that was just written, and that nobody needs soon.
pub async fn read_back(store: &dyn ObjectStore, location: &ObjectPath) -> Result<Bytes> {
    let found = store.get(location).await?;
    let GetResultPayload::File(mut file, _) = found.payload else { return found.bytes().await };
    let read = move || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if found.meta.size >= READ_FROM_DISK {
            forget(&file);
        }
        Ok(bytes)
    };
    Ok(tokio::task::spawn_blocking(read).await.map_err(generic)?.map_err(generic)?.into())
}

/// Length and SHA-256 of what is read, each piece of which `each` is shown.
pub(super) fn digest_of(
    input: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<(u64, Sha256Digest)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return Ok((size, Sha256Digest::from_bytes(hasher.finalize().into())));
        }
        hasher.update(&buffer[..read]);
        each(&buffer[..read])?;
        size += read as u64;
    }
}

/// The operating system itself.
#[derive(Debug, Default)]
pub struct LocalFiles;

impl FileSystem for LocalFiles {
    fn write_new(&self, path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
        use io::Write as _;
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if readers == Readers::Owner {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        let mut file = options.open(path)?;
        let half = bytes.len() / 2;
        file.write_all(&bytes[..half])?;
        fail::fail_point!("file.half-written");
        file.write_all(&bytes[half..])
    }

    fn copy_new(&self, from: &Path, path: &Path) -> io::Result<Sha256Digest> {
        use io::Write as _;
        let mut file = File::options().write(true).create_new(true).open(path)?;
        let write = |chunk: &[u8]| {
            let half = chunk.len() / 2;
            file.write_all(&chunk[..half])?;
            fail::fail_point!("file.half-written");
            file.write_all(&chunk[half..])
        };
        digest_of(&mut File::open(from)?, write).map(|(_, digest)| digest)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        file.sync_all()?;
        if file.metadata()?.len() >= READ_FROM_DISK {
            forget(&file);
        }
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// A local disk, rooted at `/`.
#[derive(Debug)]
pub struct DurableStore {
    inner: LocalFileSystem,
    files: Arc<dyn FileSystem>,
    /// Names of files that are being written must not meet.
    part: AtomicU64,
    writer: String,
}

impl Default for DurableStore {
    fn default() -> Self {
        Self::over(Arc::new(LocalFiles))
    }
}

impl fmt::Display for DurableStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DurableStore({})", self.inner)
    }
}

impl DurableStore {
    pub fn over(files: Arc<dyn FileSystem>) -> Self {
        Self { inner: LocalFileSystem::new(), files, part: AtomicU64::new(0), writer: unique_name() }
    }

    async fn put_durably(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        create: bool,
        readers: Readers,
    ) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        let part = part_of(&path, &format!("{}-{}", self.writer, self.part.fetch_add(1, Ordering::Relaxed)));
        let files = self.files.clone();
        let bytes = match payload.as_ref() {
            [one] => one.clone(),
            several => Bytes::from(several.concat()),
        };
        let target = path.clone();
        let write = move |files: &dyn FileSystem, part: &Path| files.write_new(part, &bytes, readers);
        let done =
            tokio::task::spawn_blocking(move || put_file(&*files, &part, &target, create, write)).await;
        match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists { path: location.to_string(), source: Box::new(error) })
            }
            Ok(Err(error)) => Err(generic(error)),
            Err(error) => Err(generic(error)),
        }
    }

    async fn sync(&self, location: &ObjectPath) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        sync_named(&self.files, path).await
    }
}

/// Makes a file and its name durable.
async fn sync_named(files: &Arc<dyn FileSystem>, path: PathBuf) -> Result<()> {
    let files = files.clone();
    let synced = tokio::task::spawn_blocking(move || {
        files.sync_file(&path).and_then(|()| files.sync_folder(parent(&path)))
    })
    .await;
    synced.map_err(generic)?.map_err(generic)
}

fn generic(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "DurableStore", source: Box::new(source) }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Where a file is until it has its name: beside it.
fn part_of(target: &Path, unique: &str) -> PathBuf {
    let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    target.with_file_name(format!(".{name}.{unique}.part"))
}

/// Puts a copy of a file under a new name, if it is what `digest` says.
pub(super) fn put_copy(
    files: &dyn FileSystem,
    from: &Path,
    target: &Path,
    digest: Sha256Digest,
) -> io::Result<()> {
    let part = part_of(target, &unique_name());
    let copied = put_file(files, &part, target, true, |files, part| {
        if files.copy_new(from, part)? == digest {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the file was changed while it was read"))
    });
    if copied.is_err() {
        // Half a copy is no harm, but it may be large.
        let _ = files.remove(&part);
    }
    copied
}

/// Writes, syncs, names, syncs again. The remainder of a failure is a file whose name begins with a
/// dot, which nobody reads.
fn put_file(
    files: &dyn FileSystem,
    part: &Path,
    target: &Path,
    create: bool,
    write: impl FnOnce(&dyn FileSystem, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let folder = parent(target);
    if !folder.is_dir() {
        files.create_folders(folder)?;
        folder.ancestors().skip(1).take(3).try_for_each(|folder| files.sync_folder(folder))?;
    }
    write(files, part)?;
    fail::fail_point!("file.written");
    files.sync_file(part)?;
    fail::fail_point!("file.synced");
    if !create {
        files.rename(part, target)?;
        return files.sync_folder(folder);
    }
    let linked = files.link(part, target);
    fail::fail_point!("file.linked");
    // The maker of the name that is already there may not have lived to sync it.
    let synced = match &linked {
        Ok(()) => files.sync_folder(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            files.sync_file(target).and_then(|()| files.sync_folder(folder))
        }
        Err(_) => Ok(()),
    };
    // A part that stays is no harm, and failing to remove it says nothing about the put.
    let _ = files.remove(part);
    synced?;
    linked
}

#[async_trait::async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "conditional update".to_owned(),
                    implementer: "DurableStore".to_owned(),
                });
            }
        };
        let readers = opts.extensions.get().copied().unwrap_or_default();
        self.put_durably(location, payload, create, readers).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        let path = self.inner.path_to_filesystem(location)?;
        Ok(Box::new(DurableUpload { inner, files: self.files.clone(), path }))
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.sync(to).await
    }

    async fn rename_opts(&self, from: &ObjectPath, to: &ObjectPath, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.sync(to).await
    }
}

/// An upload in parts, which does not pass through `put`.
#[derive(Debug)]
struct DurableUpload {
    inner: Box<dyn MultipartUpload>,
    files: Arc<dyn FileSystem>,
    path: PathBuf,
}

#[async_trait::async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.inner.complete().await?;
        sync_named(&self.files, self.path.clone()).await?;
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

/// A name that no other process has.
#[expect(clippy::disallowed_methods, reason = "nothing that is stored depends on its value")]
pub(crate) fn unique_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
