//! Merkle trees as RFC 6962, section 2.1, has them: roots, and proofs that a leaf is in a tree and
//! that a tree is a prefix of another.
//!
//! Roots are computed here, many nodes at once. Proofs are made and checked by `tlog_tiles`, a port
//! of what Go's checksum database runs: a proof system of one's own is where others have accepted
//! forged histories.
//!
//! Invariant: a tree of `n` leaves is the same value however it was made: at once ([`root`],
//! [`Tree`]) or leaf by leaf ([`Frontier`]).

use crate::hash::{LeafHash, NodeHash, RootHash};
use crate::lanes;
use sha2::{Digest as _, Sha256};
use tlog_tiles::tlog;

/// A path of hashes from a leaf, or from an older tree, to a root.
pub type Path = Vec<NodeHash>;

/// The size and the root of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    pub size: u64,
    pub root: RootHash,
}

/// A path does not lead to the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path of hashes does not lead to the root")]
pub struct NotProven;

/// The leaf of some data.
pub fn leaf(data: &[u8]) -> LeafHash {
    LeafHash::from_bytes(Sha256::new_with_prefix([0]).chain_update(data).finalize().into())
}

/// The root over `leaves`.
/// ```
/// use proof::merkle::{Frontier, Tree, leaf, root};
///
/// let leaves = vec![leaf(b"one"), leaf(b"two"), leaf(b"three")];
/// let mut frontier = Frontier::default();
/// leaves.iter().for_each(|leaf| frontier.push(*leaf));
/// assert_eq!(root(&leaves), frontier.root());
/// assert_eq!(root(&leaves), Tree::new(leaves).head().root);
/// ```
pub fn root(leaves: &[LeafHash]) -> RootHash {
    let mut peaks: Vec<NodeHash> = unpaired(leaves).into_iter().collect();
    let mut level = parents(leaves);
    while !level.is_empty() {
        peaks.extend(unpaired(&level));
        level = parents(&level);
    }
    peaks.reverse();
    fold(&peaks)
}

/// The last hash of a level that has no right neighbour.
fn unpaired<H: Copy + Into<NodeHash>>(level: &[H]) -> Option<NodeHash> {
    let last = level.last().filter(|_| !level.len().is_multiple_of(2));
    last.map(|hash| (*hash).into())
}

/// The nodes over pairs of hashes; one that has no right neighbour has no parent on the next level.
fn parents<H: AsRef<[u8; 32]>>(level: &[H]) -> Vec<NodeHash> {
    let digests = lanes::fixed::<65>(level.len() / 2, |number, preimage| {
        preimage[0] = 1;
        preimage[1..33].copy_from_slice(level[2 * number].as_ref());
        preimage[33..].copy_from_slice(level[2 * number + 1].as_ref());
    });
    digests.into_iter().map(NodeHash::from_bytes).collect()
}

fn node(left: NodeHash, right: NodeHash) -> NodeHash {
    NodeHash::from_bytes(tlog::node_hash(tlog_hash(left), tlog_hash(right)).0)
}

/// The root over complete subtrees, from the largest to the smallest.
fn fold(peaks: &[NodeHash]) -> RootHash {
    let top = peaks.iter().copied().rev().reduce(|right, left| node(left, right));
    RootHash::from_bytes(top.map_or(tlog::EMPTY_HASH.0, |top| *top.as_bytes()))
}

/// A whole tree in memory, from which proofs are made.
///
/// ```
/// use proof::merkle::{Tree, check_consistency, check_inclusion, leaf};
///
/// let tree = Tree::new((0..5u8).map(|number| leaf(&[number])).collect());
/// let path = tree.inclusion(3, 5);
/// assert!(check_inclusion(&tree.head(), 3, &leaf(&[3]), &path).is_ok());
/// assert!(check_inclusion(&tree.head(), 3, &leaf(&[4]), &path).is_err());
///
/// let older = Tree::new(tree.leaves()[..2].to_vec()).head();
/// assert!(check_consistency(&older, &tree.head(), &tree.consistency(2, 5)).is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct Tree {
    leaves: Vec<LeafHash>,
    /// The nodes over pairs of leaves, over pairs of those, and so on up.
    levels: Vec<Vec<NodeHash>>,
}

impl Tree {
    pub fn new(leaves: Vec<LeafHash>) -> Self {
        let mut levels = Vec::new();
        let mut level = parents(&leaves);
        while !level.is_empty() {
            let next = parents(&level);
            levels.push(level);
            level = next;
        }
        Self { leaves, levels }
    }

    pub fn leaves(&self) -> &[LeafHash] {
        &self.leaves
    }

    pub fn head(&self) -> TreeHead {
        let size = self.leaves().len() as u64;
        TreeHead { size, root: self.root_at(size) }
    }

    /// The root of the tree's first `size` leaves.
    ///
    /// # Panics
    /// When the tree has fewer.
    pub fn root_at(&self, size: u64) -> RootHash {
        RootHash::from_bytes(tlog::tree_hash(size, self).expect("the tree has these leaves").0)
    }

    /// The path that shows that leaf `index` is in the tree of the first `size` leaves.
    ///
    /// # Panics
    /// When the tree has fewer leaves, or `index` is none of them.
    pub fn inclusion(&self, index: u64, size: u64) -> Path {
        hashes(tlog::prove_record(size, index, self).expect("the tree has this leaf"))
    }

    /// The path that shows that the tree of the first `old` leaves is a prefix of the tree of the
    /// first `new` ones.
    ///
    /// # Panics
    /// When the tree has fewer than `new` leaves, or `old` is more than `new`.
    pub fn consistency(&self, old: u64, new: u64) -> Path {
        assert!(old <= new, "an older tree is not larger");
        if old == 0 {
            return Path::new();
        }
        hashes(tlog::prove_tree(new, old, self).expect("the tree has these leaves"))
    }
}

impl tlog::HashReader for Tree {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        let read = |index: &u64| {
            let (level, number) = tlog::split_stored_hash_index(*index);
            let number = usize::try_from(number).ok()?;
            match usize::from(level).checked_sub(1) {
                None => self.leaves.get(number).copied().map(tlog_hash),
                Some(above) => self.levels.get(above)?.get(number).copied().map(tlog_hash),
            }
        };
        indexes.iter().map(|index| read(index).ok_or(tlog::Error::IndexesNotInTree)).collect()
    }
}

/// Checks that `leaf` is number `index` of the tree with that head.
///
/// # Errors
/// When the path does not show it.
pub fn check_inclusion(
    head: &TreeHead,
    index: u64,
    leaf: &LeafHash,
    path: &[NodeHash],
) -> Result<(), NotProven> {
    tlog::check_record(&tlog_hashes(path), head.size, tlog_hash(head.root), index, tlog_hash(*leaf))
        .map_err(|_| NotProven)
}

/// Checks that the tree with the head `old` is a prefix of the one with the head `new`.
///
/// # Errors
/// When the path does not show it.
pub fn check_consistency(old: &TreeHead, new: &TreeHead, path: &[NodeHash]) -> Result<(), NotProven> {
    if old.size == 0 {
        return if *old.root.as_bytes() == tlog::EMPTY_HASH.0 && path.is_empty() {
            Ok(())
        } else {
            Err(NotProven)
        };
    }
    tlog::check_tree(&tlog_hashes(path), new.size, tlog_hash(new.root), old.size, tlog_hash(old.root))
        .map_err(|_| NotProven)
}

fn hashes(path: Vec<tlog::Hash>) -> Path {
    path.into_iter().map(|hash| NodeHash::from_bytes(hash.0)).collect()
}

fn tlog_hash(hash: impl AsRef<[u8; 32]>) -> tlog::Hash {
    tlog::Hash(*hash.as_ref())
}

fn tlog_hashes(path: &[NodeHash]) -> Vec<tlog::Hash> {
    path.iter().map(tlog_hash).collect()
}

/// All that is needed of a tree for it to grow: the roots of its complete subtrees, from the
/// largest to the smallest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// One for each bit that is set in `size`.
    peaks: Vec<NodeHash>,
}

impl Frontier {
    /// A frontier as [`Self::peaks`] showed it; none where a tree of that size has another number
    /// of peaks.
    pub fn from_peaks(size: u64, peaks: Vec<NodeHash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn peaks(&self) -> &[NodeHash] {
        &self.peaks
    }

    pub fn root(&self) -> RootHash {
        fold(&self.peaks)
    }

    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }

    pub fn push(&mut self, leaf: LeafHash) {
        // Each subtree of this size that stands last is completed by the new one.
        let completed = self.size.trailing_ones() as usize;
        let rest = self.peaks.len() - completed;
        let peak = self.peaks.drain(rest..).rev().fold(leaf.into(), |right, left| node(left, right));
        self.peaks.push(peak);
        self.size += 1;
    }
}
