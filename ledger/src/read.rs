//! The files of a table at one version, for readers. Read only.
//!
//! Parquet has no checksums here and a flipped bit is more often than not a silently different number, so nobody gets a path
//! from this module before the file's SHA-256 has been compared with the one in the log.

use crate::error::LedgerError;
use crate::row::COLUMNS;
use crate::shard::shard_folder;
use crate::table::{DIGEST_TAG, Table};
use schemas::digest::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Names what a ledger held at one moment: two ledgers with equal cuts hold the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerCut {
    /// The Delta version of the shard.
    pub version: u64,
    /// SHA-256 over the SHA-256 of each of its files, in the order of their commits.
    pub digest: Sha256Digest,
}

/// A table's files at one version.
#[derive(Debug, Clone)]
pub struct PinnedFiles {
    pub cut: LedgerCut,
    files: Vec<PinnedFile>,
}

#[derive(Debug, Clone)]
struct PinnedFile {
    path: PathBuf,
    size: u64,
    digest: Sha256Digest,
}

impl PinnedFiles {
    /// The shard's files at its last version, or at `version`.
    ///
    /// # Errors
    /// As [`crate::Ledger::open`]; `Invalid` when there is no such version.
    pub async fn of_shard(ledger: &Path, version: Option<u64>) -> Result<Self, LedgerError> {
        let folder = shard_folder(ledger);
        let table = match version {
            Some(version) => Table::open_at(&folder, COLUMNS, version).await?,
            None => Table::open(&folder, COLUMNS).await?,
        };
        Self::of(&table).await
    }

    pub(crate) async fn of(table: &Table) -> Result<Self, LedgerError> {
        let mut files = Vec::new();
        for add in table.files().await? {
            let tag = add.tags.as_ref().and_then(|tags| tags.get(DIGEST_TAG)).and_then(Option::as_deref);
            let digest = tag.and_then(Sha256Digest::from_hex).ok_or_else(|| {
                LedgerError::corrupt(&table.folder().display(), format!("the log names {} without a SHA-256; it was not written by atcost", add.path))
            })?;
            let size =
                u64::try_from(add.size).map_err(|_| LedgerError::corrupt(&table.folder().display(), format!("{} has a negative size", add.path)))?;
            files.push(PinnedFile { path: table.folder().join(&add.path), size, digest });
        }
        let digests: Vec<u8> = files.iter().flat_map(|file: &PinnedFile| *file.digest.as_bytes()).collect();
        Ok(Self { cut: LedgerCut { version: table.version(), digest: Sha256Digest::of(&digests) }, files })
    }

    /// The paths, each after its bytes were hashed and compared with the log.
    ///
    /// # Errors
    /// `Corrupt` names the first file that is missing or differs.
    pub fn verified_paths(&self) -> Result<Vec<PathBuf>, LedgerError> {
        let mut paths = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let (size, digest) = hash_file(&file.path)?;
            if size != file.size || digest != file.digest {
                return Err(LedgerError::corrupt(
                    &file.path.display(),
                    format!(
                        "its SHA-256 is {digest} over {size} bytes, the log says {} over {}; restore the file from a copy",
                        file.digest, file.size
                    ),
                ));
            }
            paths.push(file.path.clone());
        }
        Ok(paths)
    }
}

fn hash_file(path: &Path) -> Result<(u64, Sha256Digest), LedgerError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => LedgerError::corrupt(&path.display(), "the log names this file, but it is gone; restore it from a copy"),
        _ => LedgerError::storage(&path.display(), "reading", &error),
    };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok((size, Sha256Digest::from_bytes(hasher.finalize().into())));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}
