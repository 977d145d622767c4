//! A cache of maps of Avro data, looked up by the bytes they came in.
//!
//! Few dimensions are ever new. One that is here is not read, judged, or put into canonical form
//! again. A map is admitted when it comes for the second time, so that one that is different in
//! every event costs no more than a look.
//!
//! It deliberately keeps only maps that were judged to be fine, of at most
//! [`EncodedMap::LONGEST`] bytes.
//!
//! Invariant: a map that is found by its bytes is what reading and judging them would give.

use super::candidate::{EncodedMap, Entries, Found, Map};
use schemas::event::{KeptMap, MapRef};
use std::cell::Cell;

/// How many maps are kept, at most.
const SLOTS: usize = 512;
const RECENT: usize = 16;

pub struct MapCache {
    slots: Vec<Slot>,
    /// By node, where the map stands that was found last: the next one is most often the same.
    recent: [Cell<usize>; RECENT],
}

#[derive(Default)]
struct Slot {
    /// The hash of the map that came last, whether it is kept or not.
    last: Cell<u64>,
    entry: Option<Entry>,
}

/// An entry that is to be inserted.
pub struct Admitted {
    slot: usize,
    entry: Entry,
}

struct Entry {
    schema: u64,
    node: usize,
    bytes: Vec<u8>,
    map: KeptMap,
}

impl Default for MapCache {
    fn default() -> Self {
        Self {
            slots: std::iter::repeat_with(Slot::default).take(SLOTS).collect(),
            recent: Default::default(),
        }
    }
}

impl MapCache {
    /// The map of a node that was found last and how many bytes it has, if `bytes` begin with it.
    /// The beginning of a map says where it ends.
    #[inline]
    pub fn recent(&self, schema: u64, node: usize, bytes: &[u8]) -> Option<(&KeptMap, usize)> {
        let entry = self.slots[self.recent[node % RECENT].get()].entry.as_ref()?;
        ((entry.schema, entry.node) == (schema, node) && bytes.starts_with(&entry.bytes))
            .then_some((&entry.map, entry.bytes.len()))
    }

    pub fn get(&self, encoded: &EncodedMap<'_>) -> Option<&KeptMap> {
        let slot = slot(encoded);
        let Entry { schema, node, bytes, map } = self.slots[slot].entry.as_ref()?;
        if *bytes != encoded.bytes || (*schema, *node) != (encoded.schema, encoded.node) {
            return None;
        }
        self.recent[node % RECENT].set(slot);
        Some(map)
    }

    /// The entry for a map that was not found and comes for the second time, as far as is
    /// remembered.
    pub fn admit(&self, found: &Map<'_>, map: MapRef<'_>) -> Option<Box<Admitted>> {
        let Found::Is(Entries::Written { encoded: Some(encoded), .. }) = found else { return None };
        let slot = slot(encoded);
        let EncodedMap { schema, node, bytes, hash } = *encoded;
        (self.slots[slot].last.replace(hash) == hash).then(|| {
            Box::new(Admitted { slot, entry: Entry { schema, node, bytes: bytes.to_vec(), map: map.into() } })
        })
    }

    pub fn insert(&mut self, Admitted { slot, entry }: Admitted) {
        self.slots[slot].entry = Some(entry);
    }
}

fn slot(encoded: &EncodedMap<'_>) -> usize {
    usize::try_from(encoded.hash % SLOTS as u64).expect("a slot's number is small")
}
