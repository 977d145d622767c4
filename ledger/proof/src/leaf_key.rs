//! The leaf key of a ledger, and what is derived from it: nonces of rows, labels of subjects.
//!
//! Where the key is kept is not known here.
//!
//! Invariant: without the key, neither a nonce nor a label tells anything of a row or a subject.

use crate::hash::SubjectLabel;
use crate::lanes;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The first half of a hash that makes a leaf's preimage unguessable.
pub type Nonce = [u8; 16];

/// The secret of a ledger that makes leaves and labels reveal nothing without the key.
///
/// ```
/// use proof::leaf_key::LeafKey;
///
/// let key = LeafKey::from_bytes([7; 32]);
/// let read = LeafKey::from_text(&key.to_text()).expect("64 digits and a line feed");
/// assert_eq!(read.id(), key.id());
/// // The partner who has the key of its subject finds its label in a commit, and nobody else's.
/// let subject = key.subject_key(Some("projects/a1"));
/// assert_ne!(subject.label(0, 1), subject.label(0, 2));
/// ```
#[derive(Clone)]
pub struct LeafKey {
    secret: [u8; 32],
    /// HMAC with the secret, before any message.
    mac: Hmac<Sha256>,
}

/// Names a leaf key without giving it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafKeyId(pub [u8; 8]);

impl LeafKey {
    pub fn from_bytes(secret: [u8; 32]) -> Self {
        Self { secret, mac: mac(&secret) }
    }

    /// The key as a file has it: 64 lower-case hexadecimal digits and a line feed.
    pub fn to_text(&self) -> String {
        format!("{}\n", hex::encode(self.secret))
    }

    /// Reads [`Self::to_text`]. There is one spelling, so that no bit of a file can change
    /// unnoticed.
    pub fn from_text(text: &str) -> Option<Self> {
        let digits = text.strip_suffix('\n')?;
        let mut secret = [0; 32];
        hex::decode_to_slice(digits, &mut secret).ok()?;
        (!digits.bytes().any(|digit| digit.is_ascii_uppercase())).then(|| Self::from_bytes(secret))
    }

    /// The name of the key in a batch record.
    pub fn id(&self) -> LeafKeyId {
        let digest: [u8; 32] =
            Sha256::new_with_prefix(b"atcost leaf key 1").chain_update(self.secret).finalize().into();
        LeafKeyId(*digest.first_chunk().expect("a digest has 32 bytes"))
    }

    const SUBJECT: &[u8] = b"atcost subject 1";
    const NO_SUBJECT: &[u8] = b"atcost no subject 1";

    /// The key of a subject, or the one of rows that have none: rejected records and gaps.
    pub fn subject_key(&self, subject: Option<&str>) -> SubjectKey {
        let mac = match subject {
            Some(subject) => self.mac.clone().chain_update(Self::SUBJECT).chain_update(subject),
            None => self.mac.clone().chain_update(Self::NO_SUBJECT),
        };
        SubjectKey(mac.finalize().into_bytes().into())
    }

    /// The label of each subject, as [`SubjectKey::label`] makes one, but many side by side.
    pub(crate) fn labels(&self, subjects: &[Option<&str>], shard: u32, version: u64) -> Vec<SubjectLabel> {
        // A MAC is the hash of the key and of the hash of the key and the message, the key once
        // with `INNER` and once with `OUTER`.
        const INNER: u8 = 0x36;
        const OUTER: u8 = 0x5c;
        let block = |key: &[u8; 32], with| {
            let mut block = [with; 64];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            block
        };
        let mut arena = Vec::with_capacity(subjects.len() * 128);
        let ends: Vec<u32> = subjects
            .iter()
            .map(|subject| {
                arena.extend_from_slice(&block(&self.secret, INNER));
                match subject {
                    Some(subject) => {
                        arena.extend_from_slice(Self::SUBJECT);
                        arena.extend_from_slice(subject.as_bytes());
                    }
                    None => arena.extend_from_slice(Self::NO_SUBJECT),
                }
                u32::try_from(arena.len()).expect("the subjects of a commit have fewer than 2^32 bytes")
            })
            .collect();
        let outer = |key: &[u8; 32], inner: &[u8; 32], preimage: &mut [u8; 96]| {
            preimage[..64].copy_from_slice(&block(key, OUTER));
            preimage[64..].copy_from_slice(inner);
        };
        let inner = lanes::variable(&arena, &ends);
        let keys =
            lanes::fixed(subjects.len(), |number, preimage| outer(&self.secret, &inner[number], preimage));
        let inner = lanes::fixed::<76>(subjects.len(), |number, preimage| {
            preimage[..64].copy_from_slice(&block(&keys[number], INNER));
            preimage[64..68].copy_from_slice(&shard.to_be_bytes());
            preimage[68..].copy_from_slice(&version.to_be_bytes());
        });
        let labels =
            lanes::fixed(subjects.len(), |number, preimage| outer(&keys[number], &inner[number], preimage));
        labels.into_iter().map(SubjectLabel::from_bytes).collect()
    }

    /// The nonces of the first `rows` rows that `version` of `shard` wrote, two in each of the
    /// hashes.
    pub(crate) fn nonces(&self, shard: u32, version: u64, rows: usize) -> Vec<[Nonce; 2]> {
        let mac = self
            .mac
            .clone()
            .chain_update(b"atcost nonces 1")
            .chain_update(shard.to_be_bytes())
            .chain_update(version.to_be_bytes());
        let batch_key: [u8; 32] = mac.finalize().into_bytes().into();
        let pairs = lanes::fixed::<40>(rows.div_ceil(2), |pair, preimage| {
            preimage[..32].copy_from_slice(&batch_key);
            preimage[32..].copy_from_slice(&(pair as u64).to_be_bytes());
        });
        let halves = |pair: [u8; 32]| *pair.as_chunks().0.as_array().expect("32 bytes are two nonces");
        pairs.into_iter().map(halves).collect()
    }
}

impl fmt::Debug for LeafKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LeafKey({})", hex::encode(self.id().0))
    }
}

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The key that a partner is given once, to find its subject's groups in the second trees and
/// nobody else's.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectKey(pub [u8; 32]);

impl SubjectKey {
    /// The label that stands for the subject in the second tree of that commit, and in no other.
    pub fn label(&self, shard: u32, version: u64) -> SubjectLabel {
        let mac = mac(&self.0).chain_update(shard.to_be_bytes()).chain_update(version.to_be_bytes());
        SubjectLabel::from_bytes(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SubjectKey(..)")
    }
}
