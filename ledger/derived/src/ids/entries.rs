//! Ids and contents as the index knows them: hashed, in the order of their rows.
//!
//! Invariant: entries that were hashed for one index are never looked for in another.

use siphasher::sip128::SipHasher13;

/// 1024 parts: what the front and the filters have for one of them fits into a processor's nearest
/// cache.
const PART_BITS: u32 = 10;

/// An id as an index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdKey(pub(super) u128);

/// The hash of ids, which is another one in every index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHasher {
    pub(super) secret: [u8; 16],
}

impl KeyHasher {
    /// The key of an event's `source` and `id`.
    pub fn of(&self, source: &str, id: &str) -> IdKey {
        IdKey(self.key(source, id, &mut Vec::new()))
    }

    pub(super) fn key(&self, source: &str, id: &str, bytes: &mut Vec<u8>) -> u128 {
        bytes.clear();
        // Where the one ends and the other begins.
        bytes.extend_from_slice(&(source.len() as u64).to_le_bytes());
        bytes.extend_from_slice(source.as_bytes());
        bytes.extend_from_slice(id.as_bytes());
        // The keys 0 and 2^128 - 1 stand for no key.
        u128::from(SipHasher13::new_with_key(&self.secret).hash(bytes)).clamp(1, u128::MAX - 1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hashed {
    pub key: u128,
    pub content: u128,
}

/// The usage rows of one version, hashed, in the order of their rows.
#[derive(Debug, Clone)]
pub struct Entries {
    pub(super) hasher: KeyHasher,
    rows: Vec<u32>,
    hashed: Vec<Hashed>,
    /// Room to work in.
    bytes: Vec<u8>,
}

impl Entries {
    pub fn new(hasher: KeyHasher) -> Self {
        Self { hasher, rows: Vec::new(), hashed: Vec::new(), bytes: Vec::new() }
    }

    /// An entry whose value is the first half of its content's digest.
    ///
    /// # Panics
    /// When the rows do not ascend.
    pub fn push(&mut self, row: u32, source: &str, id: &str, content_digest: &[u8; 32]) {
        let (half, _) = content_digest.split_first_chunk::<16>().expect("32 bytes are more than 16");
        self.push_value(row, source, id, u128::from_be_bytes(*half));
    }

    /// An entry with any value.
    ///
    /// # Panics
    /// When the rows do not ascend.
    pub fn push_value(&mut self, row: u32, source: &str, id: &str, value: u128) {
        assert!(
            self.rows.last().is_none_or(|last| *last < row),
            "the rows of a version ascend: the first of an id counts"
        );
        self.rows.push(row);
        let key = self.hasher.key(source, id, &mut self.bytes);
        self.hashed.push(Hashed { key, content: value });
    }

    /// The keys, in the order of the rows.
    pub fn keys(&self) -> impl Iterator<Item = IdKey> {
        self.hashed.iter().map(|entry| IdKey(entry.key))
    }

    pub(super) fn value(&self, place: usize) -> u128 {
        self.hashed[place].content
    }

    pub(super) fn row(&self, place: usize) -> u32 {
        self.rows[place]
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The entries by the first bits of their keys, and within these in their old order, each with
    /// its place in that order. The questions to runs and front then lie close together; that is all, so nothing
    /// needs to be sorted.
    pub(super) fn by_place(&self) -> (Vec<Hashed>, Vec<usize>) {
        let part = |entry: &Hashed| index_of((entry.key >> (128 - PART_BITS)) as u64);
        let mut next = [0; 1 << PART_BITS];
        for entry in &self.hashed {
            next[part(entry)] += 1;
        }
        let mut sum = 0;
        for next in &mut next {
            sum += std::mem::replace(next, sum);
        }
        let mut hashed = vec![Hashed { key: 0, content: 0 }; self.len()];
        let mut places = vec![0; self.len()];
        for (place, entry) in self.hashed.iter().enumerate() {
            let slot: &mut usize = &mut next[part(entry)];
            hashed[*slot] = *entry;
            places[*slot] = place;
            *slot += 1;
        }
        (hashed, places)
    }
}

/// A number that is an index into memory.
pub(super) fn index_of(number: u64) -> usize {
    usize::try_from(number).expect("what fits in memory is counted by a usize")
}
