//! The hashes of trees, each kind a type of its own, so that a leaf cannot stand where a root
//! belongs.
//!
//! RFC 6962, section 2.1, keeps leaves and nodes apart by the byte they are hashed with; here the
//! compiler does it too. A digest without any tree is a [`Sha256Digest`].
//!
//! [`Sha256Digest`]: schemas::digest::Sha256Digest

use std::fmt;

macro_rules! hashes {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// A hash that was computed or stored elsewhere.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl AsRef<[u8; 32]> for $name {
            fn as_ref(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }
    )+};
}

hashes! {
    /// The hash of a leaf.
    ///
    /// ```
    /// use proof::hash::LeafHash;
    /// use proof::merkle::leaf;
    ///
    /// let empty = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    /// assert_eq!(leaf(b"").to_string(), empty);
    /// assert_eq!(LeafHash::from_bytes(*leaf(b"").as_bytes()), leaf(b""));
    /// ```
    LeafHash;
    /// The hash over a complete subtree: a step of a path, or a peak of a frontier. A subtree of
    /// one leaf has the leaf's.
    ///
    /// ```
    /// use proof::hash::NodeHash;
    /// use proof::merkle::{Frontier, leaf};
    ///
    /// let mut frontier = Frontier::default();
    /// frontier.push(leaf(b"one"));
    /// assert_eq!(frontier.peaks(), [NodeHash::from(leaf(b"one"))]);
    /// ```
    NodeHash;
    /// The hash over a whole tree.
    ///
    /// ```
    /// use proof::merkle::root;
    ///
    /// let of_no_leaves = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    /// assert_eq!(root(&[]).to_string(), of_no_leaves);
    /// assert_eq!(root(&[]).short(), "e3b0c44298fc");
    /// ```
    RootHash;
    /// The name of a subject in the second tree of one commit, which tells nobody without its key
    /// who that is.
    ///
    /// ```
    /// use proof::leaf_key::LeafKey;
    ///
    /// let key = LeafKey::from_bytes([7; 32]).subject_key(Some("projects/a"));
    /// assert_eq!(key.label(0, 1), key.label(0, 1));
    /// assert_ne!(key.label(0, 1), key.label(0, 2));
    /// ```
    SubjectLabel;
}

impl From<LeafHash> for NodeHash {
    fn from(leaf: LeafHash) -> Self {
        Self(leaf.0)
    }
}

impl RootHash {
    /// The first 12 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}
