//! Proofs for anyone who holds a signed head: that a batch record is in the log, that the log only
//! grew, and which rows of a batch are a subject's: all of them, and no others.
//!
//! Proofs rest on what was signed: that the second tree names each subject once and in order is
//! recomputed by the signer and by `atcost verify ledger`, which see every row. A checker here sees
//! only its own rows and the hashes beside them.
//!
//! Invariant: a proof shows of other subjects' rows nothing but hashes that reveal nothing without
//! the leaf key.

use crate::hash::{LeafHash, NodeHash};
use crate::leaf_key::{LeafKey, Nonce, SubjectKey};
use crate::merkle::{self, NotProven, Path, Tree, TreeHead};
use crate::row::RowBytes;
use crate::seal::{self, Group, Rows};
use schemas::digest::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The roots that a batch record states of the rows of its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roots {
    pub shard: u32,
    pub version: u64,
    /// The tree of the rows, in ledger order.
    pub rows: TreeHead,
    /// The tree of the same rows by subject.
    pub subjects: TreeHead,
}

/// Where a leaf is in a tree, and the path that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub index: u64,
    pub path: Path,
}

/// A row, and all that is needed to find its leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownRow {
    pub nonce: Nonce,
    pub row: RowBytes,
    /// In the tree of the rows.
    pub place: Place,
}

/// A group beside the one that is asked for. It says nothing but that no group is between the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    pub group: Group,
    pub place: Place,
}

/// Shows all rows of a subject in a batch, or that it has none there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectProof {
    /// In ledger order.
    pub rows: Vec<ShownRow>,
    /// Where the group of these rows is in the second tree; none where there are no rows.
    pub place: Option<Place>,
    /// The group with the next smaller label; none at the tree's beginning.
    pub before: Option<Neighbour>,
    /// The group with the next larger label; none at the tree's end.
    pub after: Option<Neighbour>,
}

/// Which neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// The check that a proof did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("row {index} is not in the format of a ledger's row")]
    NotARow { index: u64 },
    #[error("row {index} does not come after the row shown before it")]
    RowOrder { index: u64 },
    #[error("row {index} is not the row with this index that the batch record covers")]
    RowNotInBatch { index: u64 },
    #[error("rows are shown, but no group that they are all of")]
    RowsWithoutGroup,
    #[error("a group is shown, but none of its rows")]
    GroupWithoutRows,
    #[error(
        "the rows shown are not the subject's rows in this batch: one is missing, too many, changed or in another order, or they are another subject's or commit's"
    )]
    GroupNotInBatch,
    #[error("the group {side} the subject's is not one that the batch record covers")]
    NeighbourNotInBatch { side: Side },
    #[error(
        "the group shown as the one {side} the subject's is not next to it: another group of the subject may be between them"
    )]
    NotNext { side: Side },
    #[error("the batch record is not the one that the head covers at this version")]
    BatchNotInLog,
    #[error(
        "the log with the newer head does not begin with the log of the older one: its history was changed"
    )]
    HistoryChanged,
}

/// Shows all rows of `subject` among the rows of a commit; `None` stands for rejected records and
/// gaps.
///
/// # Panics
/// As [`seal::seal`].
pub fn prove_subject(key: &LeafKey, rows: &Rows<'_>, subject: Option<&str>) -> SubjectProof {
    let label = key.subject_key(subject).label(rows.shard, rows.version);
    let leaves = seal::leaves(key, rows);
    let groups = seal::groups(key, rows, &leaves);
    let found = groups.binary_search_by(|group| group.label.cmp(&label));
    let tree = Tree::new(seal::group_hashes(&groups));
    let place = |index: usize| place(&tree, index);
    let neighbour =
        |index: usize| groups.get(index).map(|group| Neighbour { group: *group, place: place(index) });
    let (at, next) = match found {
        Ok(at) => (at, at + 1),
        Err(at) => (at, at),
    };
    SubjectProof {
        rows: if found.is_ok() { shown_rows(key, rows, subject, leaves) } else { Vec::new() },
        place: found.ok().map(place),
        before: at.checked_sub(1).and_then(neighbour),
        after: neighbour(next),
    }
}

fn shown_rows(key: &LeafKey, rows: &Rows<'_>, subject: Option<&str>, leaves: Vec<LeafHash>) -> Vec<ShownRow> {
    let tree = Tree::new(leaves);
    let opened = seal::Opened::new(key, rows);
    let of_subject =
        rows.subject_of.iter().enumerate().filter(|(_, of)| rows.subjects[**of as usize] == subject);
    of_subject
        .map(|(index, _)| {
            let (nonce, row) = opened.row(index);
            ShownRow { nonce, row, place: place(&tree, index) }
        })
        .collect()
}

fn place(tree: &Tree, index: usize) -> Place {
    let index = index as u64;
    Place { index, path: tree.inclusion(index, tree.leaves().len() as u64) }
}

/// Checks that `proof` shows all rows of the subject with that key in the commit of that batch
/// record.
///
/// # Errors
/// Names the check that failed.
///
/// ```
/// use proof::leaf_key::LeafKey;
/// use proof::merkle::TreeHead;
/// use proof::seal::{Rows, seal};
/// use proof::subject::{Roots, check_subject, prove_subject};
///
/// let key = LeafKey::from_bytes([7; 32]);
/// // Two rows of one subject, one of another, as they stand in the ledger.
/// let headers = [0, 1, 2].map(|row| {
///     let mut bytes = [row; 62];
///     bytes[..4].copy_from_slice(b"row2");
///     bytes
/// });
/// let rows = Rows {
///     shard: 0,
///     version: 1,
///     headers: &headers,
///     contents: &[[1; 32], [2; 32], [3; 32]],
///     subjects: &[Some("projects/a"), Some("projects/b")],
///     subject_of: &[0, 1, 0],
/// };
/// let sealed = seal(&key, &rows);
/// let roots = Roots {
///     shard: 0,
///     version: 1,
///     rows: TreeHead { size: 3, root: sealed.rows_root },
///     subjects: TreeHead { size: sealed.subjects, root: sealed.subjects_root },
/// };
/// let mut proof = prove_subject(&key, &rows, Some("projects/a"));
/// assert_eq!(proof.rows.len(), 2);
/// assert!(check_subject(&roots, &key.subject_key(Some("projects/a")), &proof).is_ok());
/// // Nobody can leave a row out.
/// proof.rows.pop();
/// assert!(check_subject(&roots, &key.subject_key(Some("projects/a")), &proof).is_err());
/// ```
pub fn check_subject(roots: &Roots, key: &SubjectKey, proof: &SubjectProof) -> Result<(), ProofError> {
    let label = key.label(roots.shard, roots.version);
    let leaves = check_rows(roots, &proof.rows)?;
    let beside = |side, neighbour: &Option<Neighbour>| match neighbour {
        Some(Neighbour { group, place }) => check_place(&roots.subjects, place, &group.hash())
            .map_err(|NotProven| ProofError::NeighbourNotInBatch { side }),
        None => Ok(()),
    };
    beside(Side::Before, &proof.before)?;
    beside(Side::After, &proof.after)?;

    // The group is from `at` up to `next`, which are the same place where there is none.
    let (at, next) = match &proof.place {
        Some(_) if leaves.is_empty() => return Err(ProofError::GroupWithoutRows),
        Some(place) => {
            let joined = leaves.iter().fold(Sha256::new(), |all, leaf| all.chain_update(leaf.as_bytes()));
            let group = Group { label, leaves: Sha256Digest::from_bytes(joined.finalize().into()) };
            check_place(&roots.subjects, place, &group.hash())
                .map_err(|NotProven| ProofError::GroupNotInBatch)?;
            (place.index, place.index + 1)
        }
        None if !leaves.is_empty() => return Err(ProofError::RowsWithoutGroup),
        None => {
            let at = proof.before.as_ref().map_or(0, |before| before.place.index + 1);
            (at, at)
        }
    };
    let before_fits = match &proof.before {
        Some(before) => before.place.index + 1 == at && before.group.label < label,
        None => at == 0,
    };
    let after_fits = match &proof.after {
        Some(after) => after.place.index == next && after.group.label > label,
        None => next == roots.subjects.size,
    };
    match (before_fits, after_fits) {
        (true, true) => Ok(()),
        (false, _) => Err(ProofError::NotNext { side: Side::Before }),
        (true, false) => Err(ProofError::NotNext { side: Side::After }),
    }
}

/// The leaves of rows, each shown to be in the batch, in ledger order.
fn check_rows(roots: &Roots, rows: &[ShownRow]) -> Result<Vec<LeafHash>, ProofError> {
    let mut leaves = Vec::with_capacity(rows.len());
    let mut last = None;
    for ShownRow { nonce, row, place } in rows {
        let index = place.index;
        if !row.starts_with(b"row2") {
            return Err(ProofError::NotARow { index });
        }
        if last.is_some_and(|last| last >= index) {
            return Err(ProofError::RowOrder { index });
        }
        last = Some(index);
        let leaf = seal::leaf(nonce, row);
        check_place(&roots.rows, place, &leaf).map_err(|NotProven| ProofError::RowNotInBatch { index })?;
        leaves.push(leaf);
    }
    Ok(leaves)
}

fn check_place(head: &TreeHead, place: &Place, leaf: &LeafHash) -> Result<(), NotProven> {
    merkle::check_inclusion(head, place.index, leaf, &place.path)
}

/// Shows that the record of `version` is in the log with `size` records, whose leaves are at hand
/// in `log`.
///
/// # Panics
/// When the log has fewer records, or the version is none of them.
pub fn prove_batch(log: &Tree, version: u64, size: u64) -> Path {
    log.inclusion(index_of(version).expect("version 0 has no record"), size)
}

/// Checks that `record` is the batch record of `version` in the log with that head.
///
/// # Errors
/// When the path does not show it.
pub fn check_batch(
    head: &TreeHead,
    version: u64,
    record: &[u8],
    path: &[NodeHash],
) -> Result<(), ProofError> {
    let index = index_of(version).ok_or(ProofError::BatchNotInLog)?;
    merkle::check_inclusion(head, index, &merkle::leaf(record), path)
        .map_err(|NotProven| ProofError::BatchNotInLog)
}

/// Where the record of a version stands in the log: entry 0 of the table has none.
fn index_of(version: u64) -> Option<u64> {
    version.checked_sub(1)
}

/// Shows that the log with `new` records begins with the one with `old` records.
///
/// # Panics
/// When the log has fewer records than `new`, or `old` is more.
pub fn prove_growth(log: &Tree, old: u64, new: u64) -> Path {
    log.consistency(old, new)
}

/// Checks that a log only grew from one head to the other.
///
/// # Errors
/// When the path does not show it.
pub fn check_growth(old: &TreeHead, new: &TreeHead, path: &[NodeHash]) -> Result<(), ProofError> {
    merkle::check_consistency(old, new, path).map_err(|NotProven| ProofError::HistoryChanged)
}
