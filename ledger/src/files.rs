//! Files that a log names, after their bytes were compared with the digest there.
//!
//! Parquet has no checksums here and a flipped bit is more often than not a silently different
//! number, so nobody gets a file of a ledger but from this module.
//!
//! Invariant: what is handed out has the digest that the log says.

use crate::error::LedgerError;
use crate::store::Location;
use bytes::Bytes;
use proof::record::AddedFile;
use schemas::digest::Sha256Digest;

/// Why a file that the log names cannot be used, as part of a sentence.
pub(crate) const GONE: &str = "the log names this file, but it is gone; restore it from a copy";

/// Why a file is not the one that the log names, as part of a sentence; nothing where it is.
pub(crate) fn difference(file: &AddedFile, bytes: u64, digest: Sha256Digest) -> Option<String> {
    let same = bytes == file.bytes && digest == file.digest;
    (!same).then(|| {
        format!(
            "its SHA-256 is {digest} over {bytes} bytes, the log says {} over {}; restore the file from a copy",
            file.digest, file.bytes
        )
    })
}

/// Where `files` of a table are, each after its bytes were hashed and compared.
///
/// # Errors
/// `Corrupt` names the first file that is missing or differs.
pub async fn verified<'a>(
    table: &Location,
    files: impl IntoIterator<Item = &'a AddedFile>,
) -> Result<Vec<Location>, LedgerError> {
    let files: Vec<&AddedFile> = files.into_iter().collect();
    let found: Vec<Location> = files.iter().map(|file| table.join(&file.path)).collect();
    let digests = Location::digests(&found).await?;
    for ((file, location), digest) in files.iter().zip(&found).zip(digests) {
        let (bytes, digest) = digest.ok_or_else(|| LedgerError::corrupt(location, GONE))?;
        if let Some(difference) = difference(file, bytes, digest) {
            return Err(LedgerError::corrupt(location, difference));
        }
    }
    Ok(found)
}

/// The bytes of a file of a table, after they were hashed and compared.
///
/// # Errors
/// `Corrupt` when it is missing or differs.
pub async fn verified_bytes(table: &Location, file: &AddedFile) -> Result<Bytes, LedgerError> {
    let location = table.join(&file.path);
    let bytes = location.read().await?.ok_or_else(|| LedgerError::corrupt(&location, GONE))?;
    match difference(file, bytes.len() as u64, Sha256Digest::of(&bytes)) {
        Some(difference) => Err(LedgerError::corrupt(&location, difference)),
        None => Ok(bytes),
    }
}
