//! Sealing: from the rows of a commit to the two roots that its record carries.
//!
//! `docs/format.md` says which bytes are hashed. The functions are the same for the writer, which
//! has the rows in memory, and for whoever recomputes them from storage. Nothing here reads or
//! writes a row, and nothing knows what one means; the leaf key is the only thing that is stored.
//!
//! Invariant: without the leaf key, what leaves this module says of a row neither its content nor
//! whose it is.

use crate::error::LedgerError;
use crate::lanes;
use crate::merkle::{self, Hash};
use crate::row::{HEADER_BYTES, ROW_BYTES};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What is hashed of a row: everything it says except where it stands in the ledger.
pub type RowBytes = [u8; ROW_BYTES];
/// The row without its content: `RowBytes` up to the last 32 bytes.
pub type RowHeader = [u8; HEADER_BYTES];
pub type Nonce = [u8; 16];

/// The secret of a ledger that makes leaves and labels say nothing to who does not know the row or
/// the subject.
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
    const FILE: &str = "leaf.key";

    pub fn from_bytes(secret: [u8; 32]) -> Self {
        Self { secret, mac: mac(&secret) }
    }

    /// Where a ledger has its key.
    pub fn path(ledger: &Path) -> PathBuf {
        ledger.join(Self::FILE)
    }

    /// Makes the key of a new ledger, readable by its owner alone.
    ///
    /// # Errors
    /// When there is one already, or storage fails.
    pub fn create(ledger: &Path) -> Result<Self, LedgerError> {
        let path = Self::path(ledger);
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| {
            LedgerError::storage(&path.display(), "asking the system for random bytes", &error)
        })?;
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&path).and_then(|mut file| {
            file.write_all(format!("{}\n", hex::encode(secret)).as_bytes())?;
            file.sync_all()?;
            File::open(ledger)?.sync_all()
        });
        match written {
            Ok(()) => Ok(Self::from_bytes(secret)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(LedgerError::invalid(
                &path.display(),
                "there is a leaf key already; it is never overwritten",
            )),
            Err(error) => Err(LedgerError::storage(&path.display(), "writing the leaf key", &error)),
        }
    }

    /// Reads a ledger's key.
    ///
    /// # Errors
    /// `Invalid` when it is gone or everybody may read it, `Corrupt` when it is no key.
    pub fn read(ledger: &Path) -> Result<Self, LedgerError> {
        let path = Self::path(ledger);
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => LedgerError::invalid(
                &path.display(),
                "the ledger's leaf key is gone; without it no row can be sealed or checked: restore it from a copy",
            ),
            std::io::ErrorKind::InvalidData => LedgerError::corrupt(&path.display(), Self::WANTED),
            _ => LedgerError::storage(&path.display(), "reading the leaf key", &error),
        })?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path)
                .map_err(|error| LedgerError::storage(&path.display(), "reading the leaf key", &error))?
                .permissions()
                .mode();
            // A group may read it: a signer runs as another user.
            if mode & 0o007 != 0 {
                let why = "everybody on this machine may read the leaf key, and guess rows from their hashes; set its mode to 0600";
                return Err(LedgerError::invalid(&path.display(), why));
            }
        }
        let mut secret = [0; 32];
        let canonical = text
            .strip_suffix('\n')
            .filter(|digits| !digits.contains(|digit: char| digit.is_ascii_uppercase()));
        match canonical.map(|digits| hex::decode_to_slice(digits, &mut secret)) {
            Some(Ok(())) => Ok(Self::from_bytes(secret)),
            _ => Err(LedgerError::corrupt(&path.display(), Self::WANTED)),
        }
    }

    const WANTED: &str =
        "it must be 64 lower-case hexadecimal digits and a line feed; restore it from a copy";

    pub fn id(&self) -> LeafKeyId {
        let digest: Hash =
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
    fn labels(&self, subjects: &[Option<&str>], shard: u32, version: u64) -> Vec<Hash> {
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
        let outer = |key: &[u8; 32], inner: &Hash, preimage: &mut [u8; 96]| {
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
        lanes::fixed(subjects.len(), |number, preimage| outer(&keys[number], &inner[number], preimage))
    }

    /// The nonces of the first `rows` rows that `version` of `shard` wrote, two in each of the
    /// hashes.
    fn nonces(&self, shard: u32, version: u64, rows: usize) -> Vec<Hash> {
        let mac = self
            .mac
            .clone()
            .chain_update(b"atcost nonces 1")
            .chain_update(shard.to_be_bytes())
            .chain_update(version.to_be_bytes());
        let batch_key: Hash = mac.finalize().into_bytes().into();
        lanes::fixed::<40>(rows.div_ceil(2), |pair, preimage| {
            preimage[..32].copy_from_slice(&batch_key);
            preimage[32..].copy_from_slice(&(pair as u64).to_be_bytes());
        })
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

/// What a partner is given once, to find its subject's groups in the second trees and nobody
/// else's.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectKey(pub [u8; 32]);

impl SubjectKey {
    /// What stands for the subject in the second tree of that commit, and in no other.
    pub fn label(&self, shard: u32, version: u64) -> Hash {
        mac(&self.0)
            .chain_update(shard.to_be_bytes())
            .chain_update(version.to_be_bytes())
            .finalize()
            .into_bytes()
            .into()
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SubjectKey(..)")
    }
}

/// The rows that one commit wrote, in ledger order, as the columns that sealing needs.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub shard: u32,
    /// The commit that first wrote them: the column `batch`.
    pub version: u64,
    pub headers: &'a [RowHeader],
    pub contents: &'a [Hash],
    /// Each subject once, in any order; none stands for rows without one.
    pub subjects: &'a [Option<&'a str>],
    /// For each row the number of its subject in `subjects`.
    pub subject_of: &'a [u32],
}

/// What a batch record says of the rows of its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// One for each row, in ledger order.
    pub leaves: Vec<Hash>,
    pub rows_root: Hash,
    /// Leaves of the second tree.
    pub subjects: u64,
    pub subjects_root: Hash,
}

/// A leaf of the second tree: the rows of one subject, saying neither whose nor how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub label: Hash,
    /// SHA-256 of the leaves of the subject's rows, in ledger order, joined.
    pub leaves: Hash,
}

impl Group {
    const LENGTH: usize = 1 + 4 + 32 + 32;

    /// The hash of this leaf.
    pub fn hash(&self) -> Hash {
        let mut preimage = [0; Self::LENGTH];
        self.write(&mut preimage);
        Sha256::digest(preimage).into()
    }

    fn write(&self, preimage: &mut [u8; Self::LENGTH]) {
        preimage[0] = 0;
        preimage[1..5].copy_from_slice(b"sub1");
        preimage[5..37].copy_from_slice(&self.label);
        preimage[37..].copy_from_slice(&self.leaves);
    }
}

/// Seals the rows of a commit.
///
/// # Panics
/// When the columns differ in length, or a subject is named twice.
pub fn seal(key: &LeafKey, rows: &Rows<'_>) -> Sealed {
    let leaves = leaves(key, rows);
    let groups = group_hashes(&groups(key, rows, &leaves));
    Sealed {
        rows_root: merkle::root(&leaves),
        subjects: groups.len() as u64,
        subjects_root: merkle::root(&groups),
        leaves,
    }
}

/// The leaves of a commit's rows. They stay what they are when a compaction copies the rows.
///
/// # Panics
/// When the columns differ in length.
pub fn leaves(key: &LeafKey, rows: &Rows<'_>) -> Vec<Hash> {
    let count = rows.headers.len();
    assert!(
        rows.contents.len() == count && rows.subject_of.len() == count,
        "every column has a value for every row"
    );
    let nonces = key.nonces(rows.shard, rows.version, count);
    lanes::fixed::<111>(count, |index, preimage| {
        preimage[0] = 0;
        preimage[1..17].copy_from_slice(nonce_of(&nonces, index));
        preimage[17..79].copy_from_slice(&rows.headers[index]);
        preimage[79..].copy_from_slice(&rows.contents[index]);
    })
}

/// The leaf of one row.
pub fn leaf(nonce: &Nonce, row: &RowBytes) -> Hash {
    Sha256::new_with_prefix([0]).chain_update(nonce).chain_update(row).finalize().into()
}

/// What the leaves of a commit's rows are made of.
pub(crate) struct Opened<'a> {
    rows: Rows<'a>,
    nonces: Vec<Hash>,
}

impl<'a> Opened<'a> {
    pub(crate) fn new(key: &LeafKey, rows: &Rows<'a>) -> Self {
        Self { rows: *rows, nonces: key.nonces(rows.shard, rows.version, rows.headers.len()) }
    }

    pub(crate) fn row(&self, index: usize) -> (Nonce, RowBytes) {
        let mut row = [0; ROW_BYTES];
        row[..HEADER_BYTES].copy_from_slice(&self.rows.headers[index]);
        row[HEADER_BYTES..].copy_from_slice(&self.rows.contents[index]);
        (*nonce_of(&self.nonces, index), row)
    }
}

fn nonce_of(nonces: &[Hash], index: usize) -> &Nonce {
    let (pairs, _) = nonces[index / 2].as_chunks();
    &pairs[index % 2]
}

/// The groups of a commit's rows, in the order of the second tree.
///
/// # Panics
/// When a subject is named twice.
pub(crate) fn groups(key: &LeafKey, rows: &Rows<'_>, leaves: &[Hash]) -> Vec<Group> {
    // The leaves by subject, each subject's in ledger order.
    let mut next: Vec<u32> = vec![0; rows.subjects.len() + 1];
    for subject in rows.subject_of {
        next[*subject as usize + 1] += 1;
    }
    for subject in 1..next.len() {
        next[subject] += next[subject - 1];
    }
    let mut arena = vec![[0; 32]; leaves.len()];
    for (leaf, subject) in leaves.iter().zip(rows.subject_of) {
        let place = &mut next[*subject as usize];
        arena[*place as usize] = *leaf;
        *place += 1;
    }
    // Now `next` holds where each subject's leaves end.
    let ends: Vec<u32> = next[..rows.subjects.len()]
        .iter()
        .map(|end| end.checked_mul(32).expect("a commit has fewer than 2^27 rows"))
        .collect();
    let digests = lanes::variable(arena.as_flattened(), &ends);
    let labels = key.labels(rows.subjects, rows.shard, rows.version);
    let mut groups = Vec::with_capacity(ends.len());
    let mut start = 0;
    for ((label, end), leaves) in labels.into_iter().zip(ends).zip(digests) {
        // A subject that is known but has no row here has no group.
        if end > start {
            groups.push(Group { label, leaves });
        }
        start = end;
    }
    groups.sort_unstable();
    assert!(groups.is_sorted_by(|a, b| a.label < b.label), "each subject is named once");
    groups
}

/// The leaves of the second tree.
pub(crate) fn group_hashes(groups: &[Group]) -> Vec<Hash> {
    lanes::fixed::<{ Group::LENGTH }>(groups.len(), |index, preimage| groups[index].write(preimage))
}
