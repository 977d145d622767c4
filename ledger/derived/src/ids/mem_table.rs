//! The youngest ids, in memory, until there are enough of them for a run.
//!
//! A key's high bits are its place: the slots, read in order, are the keys in order. A lookup
//! therefore ends at the first key that is larger, and making a run of the front is one scan. Keys
//! are hashes with a secret key, so nobody can choose to collide.

use super::entries::Hashed;

/// Never a key: see [`super::entries::KeyHasher::key`].
const EMPTY: u128 = 0;
/// Slots after the last place, so that nothing has to wrap around.
const OVERFLOW: usize = 64;

pub(super) struct MemTable {
    keys: Vec<u128>,
    contents: Vec<u128>,
    places: usize,
    held: usize,
    /// The number of places that an empty front has.
    at_least: usize,
}

impl MemTable {
    /// Room for about `keys` before it must grow.
    pub(super) fn new(keys: usize) -> Self {
        let mut front = Self {
            keys: Vec::new(),
            contents: Vec::new(),
            places: 0,
            held: 0,
            at_least: (keys * 2).next_power_of_two(),
        };
        front.clear();
        front
    }

    pub(super) fn clear(&mut self) {
        if self.places == self.at_least {
            self.keys.fill(EMPTY);
            self.held = 0;
        } else {
            // Gives back what one large batch took.
            self.resize(self.at_least);
        }
    }

    fn resize(&mut self, places: usize) {
        self.places = places;
        self.held = 0;
        self.keys = vec![EMPTY; places + OVERFLOW];
        self.contents = vec![0; places + OVERFLOW];
    }

    pub(super) fn len(&self) -> usize {
        self.held
    }

    pub(super) fn memory(&self) -> usize {
        self.keys.len() * 2 * size_of::<u128>()
    }

    /// The content that the key came with first, or nothing if this is the first time; then it is
    /// kept.
    pub(super) fn first_or_insert(&mut self, entry: Hashed) -> Option<u128> {
        let mut slot = self.place(entry.key);
        loop {
            match self.keys[slot] {
                EMPTY => break,
                key if key == entry.key => return Some(self.contents[slot]),
                key if key > entry.key => break,
                _ => slot += 1,
            }
        }
        let left = self.insert(slot, entry);
        if left.is_some() || self.held > self.places / 4 * 3 {
            self.grow();
        }
        if let Some(left) = left {
            assert!(self.first_or_insert(left).is_none(), "it was in the front only once");
        }
        None
    }

    /// The value of a key, if it is here.
    pub(super) fn find(&self, key: u128) -> Option<u128> {
        let mut slot = self.place(key);
        loop {
            match self.keys[slot] {
                found if found == key => return Some(self.contents[slot]),
                found if found == EMPTY || found > key => return None,
                _ => slot += 1,
            }
        }
    }

    fn place(&self, key: u128) -> usize {
        // The product of two 64-bit numbers, shifted by 64, is below the second.
        let place = ((key >> 64) * self.places as u128) >> 64;
        usize::try_from(place).expect("a place is below the number of places")
    }

    /// Puts an entry before the larger keys of its cluster, each of which moves on by one slot.
    /// Gives back the one for which no slot was left.
    fn insert(&mut self, slot: usize, mut entry: Hashed) -> Option<Hashed> {
        self.held += 1;
        for (key, content) in self.keys[slot..].iter_mut().zip(&mut self.contents[slot..]) {
            let before = Hashed {
                key: std::mem::replace(key, entry.key),
                content: std::mem::replace(content, entry.content),
            };
            if before.key == EMPTY {
                return None;
            }
            entry = before;
        }
        self.held -= 1;
        Some(entry)
    }

    fn grow(&mut self) {
        let entries: Vec<Hashed> = self.entries().collect();
        self.resize(self.places * 2);
        for entry in entries {
            assert!(self.first_or_insert(entry).is_none(), "the keys of the front are distinct");
        }
    }

    /// In ascending order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Hashed> {
        self.keys
            .iter()
            .zip(&self.contents)
            .filter(|(key, _)| **key != EMPTY)
            .map(|(key, content)| Hashed { key: *key, content: *content })
    }
}
