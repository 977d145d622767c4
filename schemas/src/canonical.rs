//! The bytes that are hashed: how texts, maps, options and lists are written, and read again.
//!
//! `docs/format.md` has the grammar. It knows no type of what is written; those say which parts
//! they have, in which order.
//!
//! Invariant: there is one way to write a value, so equal bytes are equal values.

use crate::digest::Sha256Digest;
use std::borrow::Cow;

/// A name and its value.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Appends u32 length and bytes.
pub fn push_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    let length = u32::try_from(value.len()).expect("no field of a record reaches 4 GiB");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
}

/// Appends u32 length and UTF-8 bytes.
pub fn push_text(bytes: &mut Vec<u8>, text: &str) {
    push_bytes(bytes, text.as_bytes());
}

/// Appends u32 count and the pairs, which are in byte order of their names.
pub fn push_map(bytes: &mut Vec<u8>, map: &[Pair<'_>]) {
    push_count(bytes, map.len());
    for (name, value) in map {
        push_text(bytes, name);
        push_text(bytes, value);
    }
}

/// Appends u8 0, or u8 1 and the value.
pub fn push_option<T>(bytes: &mut Vec<u8>, value: Option<T>, push: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => bytes.push(0),
        Some(value) => {
            bytes.push(1);
            push(bytes, value);
        }
    }
}

/// Appends u32 count, for items that follow.
pub fn push_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&u32::try_from(count).expect("nothing is there 2^32 times").to_be_bytes());
}

/// Reads what the functions above appended, from the front.
///
/// An error says what is wrong with the bytes, as part of a sentence; `of` is what they are said to
/// be.
pub struct Reader<'a> {
    of: &'static str,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(of: &'static str, bytes: &'a [u8]) -> Self {
        Self { of, bytes }
    }

    /// How many bytes have not been read.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    /// # Errors
    /// As the type says.
    pub fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], String> {
        let (array, rest) =
            self.bytes.split_first_chunk().ok_or_else(|| format!("{} that ends too early", self.of))?;
        self.bytes = rest;
        Ok(*array)
    }

    /// # Errors
    /// As the type says.
    pub fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_be_bytes)
    }

    /// # Errors
    /// As the type says.
    pub fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_be_bytes)
    }

    /// # Errors
    /// As the type says.
    pub fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_be_bytes)
    }

    /// # Errors
    /// As the type says.
    pub fn digest(&mut self) -> Result<Sha256Digest, String> {
        self.array().map(Sha256Digest::from_bytes)
    }

    /// # Errors
    /// As the type says.
    pub fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = usize::try_from(self.u32()?).map_err(|error| error.to_string())?;
        let (bytes, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or_else(|| format!("{} that ends inside a text", self.of))?;
        self.bytes = rest;
        Ok(bytes)
    }

    /// # Errors
    /// As the type says.
    pub fn text(&mut self) -> Result<String, String> {
        let text = self.bytes()?;
        String::from_utf8(text.to_vec()).map_err(|_| format!("{} with a text that is not UTF-8", self.of))
    }

    /// # Errors
    /// As the type says.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self.array::<1>()? {
            [0] => Ok(None),
            [1] => read(self).map(Some),
            [other] => Err(format!("{} with the option {other}", self.of)),
        }
    }

    /// Reads one by one, so that a count that is a lie ends with the bytes and not with the memory.
    ///
    /// # Errors
    /// As the type says.
    pub fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let count = self.u32()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }
}
