//! SHA-256 digests of contents: a file, an event, a catalog.
//!
//! This deliberately knows nothing of trees: a leaf and a node hash more than their contents.
//!
//! Invariant: a digest has one spelling, 64 lower-case hexadecimal digits.

use sha2::{Digest as _, Sha256};
use std::fmt;

/// The SHA-256 (FIPS 180-4) of some bytes. Which bytes is said by the field that holds it.
///
/// ```
/// # use schemas::digest::Sha256Digest;
/// let digest = Sha256Digest::of(b"abc");
/// let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// assert_eq!(digest.to_string(), text);
/// assert_eq!(Sha256Digest::from_bytes(*digest.as_bytes()), digest);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// Of those bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A digest that was computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 lower-case hexadecimal digits.
    ///
    /// ```
    /// # use schemas::digest::Sha256Digest;
    /// let digest = Sha256Digest::of(b"abc");
    /// assert_eq!(Sha256Digest::from_hex(&digest.to_string()), Some(digest));
    /// assert_eq!(Sha256Digest::from_hex(&digest.to_string().to_uppercase()), None);
    /// assert_eq!(Sha256Digest::from_hex("ba78"), None);
    /// ```
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The first 12 hexadecimal digits, enough to name one of a few thousand things to a person.
    ///
    /// ```
    /// # use schemas::digest::Sha256Digest;
    /// assert_eq!(Sha256Digest::of(b"abc").short(), "ba7816bf8f01");
    /// ```
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
