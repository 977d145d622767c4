//! A key as it is kept: readable by its owner alone, durable, never overwritten.
//!
//! The key's purpose, and whether its text is one, are the caller's to say. In a store that is no
//! disk, who may read an object is for the store to say.
//!
//! Invariant: a key never appears in an error.

use crate::error::LedgerError;
use crate::store::Location;
use bytes::Bytes;
use object_store::Error as StoreError;
use proof::leaf_key::LeafKey;

/// The sentences about a key that cannot be had.
pub(crate) struct Words {
    /// There is one already.
    pub taken: &'static str,
    /// There is none.
    pub gone: &'static str,
    /// Its file says something else.
    pub wanted: &'static str,
    /// Others than it says may read it.
    pub open: &'static str,
    /// The bits of a file's mode that must not be set.
    pub closed_to: u32,
}

/// Random bytes of which a key is made.
pub(crate) fn random(location: &Location) -> Result<[u8; 32], LedgerError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| LedgerError::storage(location, "asking the system for random bytes", &error))?;
    Ok(secret)
}

/// Puts a key where there is none.
pub(crate) async fn create(location: &Location, text: String, words: &Words) -> Result<(), LedgerError> {
    match location.put_new_secret(Bytes::from(text)).await {
        Ok(()) => Ok(()),
        Err(StoreError::AlreadyExists { .. }) => Err(LedgerError::invalid(location, words.taken)),
        Err(error) => Err(LedgerError::storage(location, "writing the key", &error)),
    }
}

/// The text of a key.
pub(crate) async fn read(location: &Location, words: &Words) -> Result<String, LedgerError> {
    let bytes = location.read().await?.ok_or_else(|| LedgerError::invalid(location, words.gone))?;
    #[cfg(unix)]
    if let Some(path) = location.disk_path() {
        use std::os::unix::fs::PermissionsExt as _;
        let facts = std::fs::metadata(path)
            .map_err(|error| LedgerError::storage(location, "reading the key", &error))?;
        if facts.permissions().mode() & words.closed_to != 0 {
            return Err(LedgerError::invalid(location, words.open));
        }
    }
    String::from_utf8(bytes.into()).map_err(|_| LedgerError::corrupt(location, words.wanted))
}

const LEAF_KEY: Words = Words {
    taken: "there is a leaf key already; it is never overwritten",
    gone: "the ledger's leaf key is gone; without it no row can be sealed or checked: restore it from a copy",
    wanted: "it must be 64 lower-case hexadecimal digits and a line feed; restore it from a copy",
    open: "everybody on this machine may read the leaf key, and guess rows from their hashes; set its mode to 0600",
    // A group may read it: a signer runs as another user.
    closed_to: 0o007,
};

/// The sentence about a leaf key that is another ledger's.
pub(crate) const ANOTHER_LEAF_KEY: &str =
    "this is not the key that the rows were sealed with; restore it from a copy";

/// Makes the leaf key of a new ledger.
///
/// # Errors
/// `Invalid` when there is one already, `Storage` otherwise.
pub async fn create_leaf_key(location: &Location) -> Result<LeafKey, LedgerError> {
    let key = LeafKey::from_bytes(random(location)?);
    create(location, key.to_text(), &LEAF_KEY).await?;
    Ok(key)
}

/// Reads a ledger's leaf key.
///
/// # Errors
/// `Invalid` when it is gone or everybody may read it, `Corrupt` when it is no key.
pub async fn read_leaf_key(location: &Location) -> Result<LeafKey, LedgerError> {
    let text = read(location, &LEAF_KEY).await?;
    LeafKey::from_text(&text).ok_or_else(|| LedgerError::corrupt(location, LEAF_KEY.wanted))
}
