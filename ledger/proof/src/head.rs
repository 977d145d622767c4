//! Signed heads: a C2SP signed note over a C2SP checkpoint, read and checked.
//!
//! It deliberately signs nothing; whoever has the secret key lives elsewhere.
//!
//! Invariant: a head has one text, so two heads that say the same are equal byte for byte.

use crate::hash::RootHash;
use crate::merkle::TreeHead;
use signed_note::{Note, StandardVerifier, Verifier as _, VerifierList};
use std::fmt;
use std::str::FromStr;
use tlog_tiles::{Checkpoint, Hash as TlogHash};

/// The key that heads are checked with: `NAME+ID+KEY`, as signed notes have it.
#[derive(Clone)]
pub struct VerifierKey {
    text: String,
    verifier: StandardVerifier,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the key of a verifier; it looks like NAME+1a2b3c4d+BASE64, as `atcost signer new-key` prints it"
)]
pub struct VerifierKeyError(String);

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let verifier = StandardVerifier::new(text).map_err(|_| VerifierKeyError(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), verifier })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl VerifierKey {
    pub fn name(&self) -> &str {
        self.verifier.name()
    }
}

/// A head and the note that signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// Which log it is a head of.
    pub origin: String,
    pub head: TreeHead,
    note: Vec<u8>,
}

impl SignedHead {
    /// The text that a head's signature is over.
    ///
    /// # Panics
    /// When the origin is empty.
    pub fn text(origin: &str, head: &TreeHead) -> Vec<u8> {
        Checkpoint::new(origin, head.size, TlogHash(*head.root.as_bytes()), "")
            .expect("an origin is not empty")
            .to_bytes()
    }

    /// The size that a published note states, whoever signed it; nothing where it states none. Read by
    /// those who only want to know how far a signer is.
    pub fn stated_size(note: &[u8]) -> Option<u64> {
        std::str::from_utf8(note).ok()?.lines().nth(1)?.parse().ok()
    }

    /// The whole note, as it is published.
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    /// Reads a note. Its signature is not checked here.
    pub fn parse(note: &[u8]) -> Option<Self> {
        let text = Note::from_bytes(note).ok()?.text().to_vec();
        let checkpoint = Checkpoint::from_bytes(&text).ok()?;
        // Nothing but what we write, so that there is one text for a head.
        let same = checkpoint.extension().is_empty() && checkpoint.to_bytes() == text;
        let head = TreeHead { size: checkpoint.size(), root: RootHash::from_bytes(checkpoint.hash().0) };
        same.then(|| Self { origin: checkpoint.origin().to_owned(), head, note: note.to_vec() })
    }

    /// Whether it has a signature by that key, and none by it that is wrong.
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        let known = VerifierList::new(vec![Box::new(key.verifier.clone())]);
        Note::from_bytes(&self.note).is_ok_and(|note| note.verify(&known).is_ok())
    }
}

/// The name of the log of a table in its heads.
pub fn origin(table: &str) -> String {
    format!("atcost/{table}")
}
