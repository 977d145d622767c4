//! Documents that entries of the journal name by their digest: a provider's invoice as it came, the
//! lines of a month that was closed.
//!
//! They are kept beside the journal, because whoever opens it needs few of them. What is in them is
//! deliberately not known here.
//!
//! Invariant: a document is there, whole and durable, before an entry names it, and is never
//! changed.

use crate::error::LedgerError;
use crate::journal::Entry;
use crate::places;
use crate::store::Location;
use bytes::Bytes;
use object_store::Error;
use schemas::digest::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::path::Path;

/// Reads something and knows the digest of what was read.
#[derive(Debug)]
pub struct Hashing<R> {
    input: R,
    hasher: Sha256,
}

impl<R: Read> Hashing<R> {
    pub fn new(input: R) -> Self {
        Self { input, hasher: Sha256::new() }
    }

    /// Of all of it: whoever read it may have stopped before its end.
    ///
    /// # Errors
    /// When the rest cannot be read.
    pub fn digest(mut self) -> io::Result<Sha256Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Sha256Digest::from_bytes(self.hasher.finalize().into()))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// Keeps a document, once; gives its name.
///
/// # Errors
/// When storage fails, or what has the name already is something else.
pub async fn keep(ledger: &Location, bytes: Bytes) -> Result<Sha256Digest, LedgerError> {
    let digest = Sha256Digest::of(&bytes);
    let location = places::document(&places::journal(ledger), &digest);
    let put = location.put_new(bytes).await;
    kept(&location, digest, put).await?;
    Ok(digest)
}

/// Keeps a copy of a file of this machine, whose digest is known. It need not fit into memory.
///
/// # Errors
/// As [`keep`], and when the file has another digest by now.
pub async fn keep_file(ledger: &Location, file: &Path, digest: Sha256Digest) -> Result<(), LedgerError> {
    let location = places::document(&places::journal(ledger), &digest);
    let put = location.put_new_copy(file, digest).await;
    kept(&location, digest, put).await
}

/// What has the name is compared with it, whoever put it there.
async fn kept(location: &Location, digest: Sha256Digest, put: Result<(), Error>) -> Result<(), LedgerError> {
    match put {
        // Somebody has kept the same before, or the put that failed has done it.
        Ok(()) | Err(Error::AlreadyExists { .. }) => {}
        Err(error) => return Err(LedgerError::storage(location, "writing", &error)),
    }
    match location.digest().await? {
        Some((_, found)) if found == digest => Ok(()),
        Some(_) => Err(LedgerError::corrupt(location, CHANGED)),
        None => Err(LedgerError::corrupt(location, MISSING)),
    }
}

/// A document, after its digest was compared.
///
/// # Errors
/// `Corrupt` where it is missing or is not what was kept.
pub async fn read(ledger: &Location, digest: &Sha256Digest) -> Result<Bytes, LedgerError> {
    let location = places::document(&places::journal(ledger), digest);
    let bytes = location.read().await?.ok_or_else(|| LedgerError::corrupt(&location, MISSING))?;
    if Sha256Digest::of(&bytes) != *digest {
        return Err(LedgerError::corrupt(&location, CHANGED));
    }
    Ok(bytes)
}

/// What is wrong with the document of an entry, if it has one and anything is.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn defect(
    journal: &Location,
    entry: &Entry,
) -> Result<Option<(Location, String)>, LedgerError> {
    if !entry.kind.has_document() {
        return Ok(None);
    }
    let location = places::document(journal, &entry.digest);
    let what = match location.digest().await? {
        Some((_, digest)) if digest == entry.digest => return Ok(None),
        Some(_) => CHANGED,
        None => MISSING,
    };
    Ok(Some((location, what.to_owned())))
}

const MISSING: &str =
    "an entry of the journal names this document, and it is not there; restore the ledger from a copy";
const CHANGED: &str =
    "this document is not the one that was kept under its digest; restore the ledger from a copy";
