//! Sealing: from the rows of a commit to the two roots that its record carries.
//!
//! `docs/format.md` says which bytes are hashed. The functions are the same for the writer, which
//! has the rows in memory, and for whoever recomputes them from storage. Nothing here reads or
//! writes a row, and nothing knows what one means.
//!
//! Invariant: without the leaf key, what leaves this module says of a row neither its content nor
//! whose it is.

use crate::hash::{LeafHash, RootHash, SubjectLabel};
use crate::lanes;
use crate::leaf_key::{LeafKey, Nonce};
use crate::merkle;
use crate::row::{HEADER_BYTES, ROW_BYTES, RowBytes, RowHeader};
use schemas::digest::Sha256Digest;
use sha2::{Digest as _, Sha256};

/// The rows that one commit wrote, in ledger order, as the columns that sealing needs.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub shard: u32,
    /// The commit that first wrote them: the column `batch`.
    pub version: u64,
    pub headers: &'a [RowHeader],
    /// Of each row, the digest of its content: the bytes of a column, which writers do not copy.
    pub contents: &'a [[u8; 32]],
    /// Each subject once, in any order; none stands for rows without one.
    pub subjects: &'a [Option<&'a str>],
    /// For each row the number of its subject in `subjects`.
    pub subject_of: &'a [u32],
}

/// The seals that a batch record states of the rows of its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// One for each row, in ledger order.
    pub leaves: Vec<LeafHash>,
    pub rows_root: RootHash,
    /// Leaves of the second tree.
    pub subjects: u64,
    pub subjects_root: RootHash,
}

/// A leaf of the second tree: the rows of one subject, saying neither whose nor how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub label: SubjectLabel,
    /// SHA-256 of the leaves of the subject's rows, in ledger order, joined.
    pub leaves: Sha256Digest,
}

impl Group {
    const LENGTH: usize = 1 + 4 + 32 + 32;

    /// The hash of this leaf.
    pub fn hash(&self) -> LeafHash {
        let mut preimage = [0; Self::LENGTH];
        self.write(&mut preimage);
        LeafHash::from_bytes(Sha256::digest(preimage).into())
    }

    fn write(&self, preimage: &mut [u8; Self::LENGTH]) {
        preimage[0] = 0;
        preimage[1..5].copy_from_slice(b"sub1");
        preimage[5..37].copy_from_slice(self.label.as_bytes());
        preimage[37..].copy_from_slice(self.leaves.as_bytes());
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
pub fn leaves(key: &LeafKey, rows: &Rows<'_>) -> Vec<LeafHash> {
    let count = rows.headers.len();
    assert!(
        rows.contents.len() == count && rows.subject_of.len() == count,
        "every column has a value for every row"
    );
    let nonces = key.nonces(rows.shard, rows.version, count);
    let digests = lanes::fixed::<111>(count, |index, preimage| {
        preimage[0] = 0;
        preimage[1..17].copy_from_slice(nonce_of(&nonces, index));
        preimage[17..79].copy_from_slice(&rows.headers[index]);
        preimage[79..].copy_from_slice(&rows.contents[index]);
    });
    digests.into_iter().map(LeafHash::from_bytes).collect()
}

/// The leaf of one row.
pub fn leaf(nonce: &Nonce, row: &RowBytes) -> LeafHash {
    LeafHash::from_bytes(Sha256::new_with_prefix([0]).chain_update(nonce).chain_update(row).finalize().into())
}

/// The preimages of the leaves of a commit's rows.
pub(crate) struct Opened<'a> {
    rows: Rows<'a>,
    nonces: Vec<[Nonce; 2]>,
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

fn nonce_of(nonces: &[[Nonce; 2]], index: usize) -> &Nonce {
    &nonces[index / 2][index % 2]
}

/// The groups of a commit's rows, in the order of the second tree.
///
/// # Panics
/// When a subject is named twice.
pub(crate) fn groups(key: &LeafKey, rows: &Rows<'_>, leaves: &[LeafHash]) -> Vec<Group> {
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
        arena[*place as usize] = *leaf.as_bytes();
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
            groups.push(Group { label, leaves: Sha256Digest::from_bytes(leaves) });
        }
        start = end;
    }
    groups.sort_unstable();
    assert!(groups.is_sorted_by(|a, b| a.label < b.label), "each subject is named once");
    groups
}

/// The leaves of the second tree.
pub(crate) fn group_hashes(groups: &[Group]) -> Vec<LeafHash> {
    let digests =
        lanes::fixed::<{ Group::LENGTH }>(groups.len(), |index, preimage| groups[index].write(preimage));
    digests.into_iter().map(LeafHash::from_bytes).collect()
}
