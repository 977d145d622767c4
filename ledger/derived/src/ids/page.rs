//! The unit of storage: 4 KiB whose last word is a checksum over the rest and over where the page
//! belongs.
//!
//! Nothing here knows what a page holds. Invariant: no word of a page is handed out before its
//! checksum was compared.

use super::error::IndexError;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

pub(super) const WORDS: usize = 512;
pub(super) const BYTES: usize = WORDS * 8;
/// Words that a page's user has; the last one is the checksum.
pub(super) const USABLE: usize = WORDS - 1;

/// The salt that tells the pages of one file from those of every other, so that a page is not taken
/// for its namesake in an older file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Salt(u32);

impl Salt {
    pub(super) fn new(index: &[u8; 16], file: u64) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(index);
        hasher.update(&file.to_le_bytes());
        Self(hasher.finalize())
    }

    /// The number comes first into the checksum, so a page in the wrong place is never right.
    fn checksum(self, page: u64, bytes: &[u8]) -> u64 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(&page.to_le_bytes());
        hasher.update(bytes);
        u64::from(hasher.finalize())
    }
}

/// Appends `words`, which are a page without its checksum, to `bytes`.
pub(super) fn seal(words: &[u64; USABLE], salt: Salt, page: u64, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.resize(start + BYTES, 0);
    let (body, end) = bytes[start..].split_at_mut(USABLE * 8);
    for (to, word) in body.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    end.copy_from_slice(&salt.checksum(page, body).to_le_bytes());
}

/// Reads as many pages as `words` has room for, from page `first`. `bytes` is only room to work in.
pub(super) fn read(
    file: &File,
    path: &Path,
    salt: Salt,
    first: u64,
    words: &mut [u64],
    bytes: &mut Vec<u8>,
) -> Result<(), IndexError> {
    assert!(words.len().is_multiple_of(WORDS), "whole pages are read");
    bytes.resize(words.len() * 8, 0);
    file.read_exact_at(bytes, first * BYTES as u64).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            IndexError::damaged(path, format!("it ends within page {first}"))
        }
        _ => IndexError::storage(path, "reading", &error),
    })?;
    for ((page, bytes), words) in (first..).zip(bytes.chunks_exact(BYTES)).zip(words.chunks_exact_mut(WORDS))
    {
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().expect("a chunk has 8 bytes"));
        }
        if words[USABLE] != salt.checksum(page, &bytes[..USABLE * 8]) {
            return Err(IndexError::damaged(path, format!("the checksum of page {page} is wrong")));
        }
    }
    Ok(())
}
