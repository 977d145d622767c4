//! Maps of Avro data that have come before, known again by the bytes they came in.
//!
//! Few dimensions are ever new. One that is known is not read, judged, or put into canonical form
//! again. It is kept once it has come twice, so that a map that is different in every event costs
//! no more than a look.
//!
//! It deliberately keeps only maps that were judged to be fine, of at most [`LONGEST`] bytes.
//!
//! Invariant: what is known of bytes is what reading and judging them would give.

use super::candidate::{Entries, Found, Map};
use schemas::event::{KeptMap, MapRef};
use std::cell::Cell;

/// How many maps are kept, at most.
const SLOTS: usize = 512;
const LONGEST: usize = 512;
const RECENT: usize = 16;

/// The bytes of a map, of which schema's node they are, and where they are looked up.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a> {
    schema: u64,
    node: usize,
    bytes: &'a [u8],
    hash: u64,
}

pub struct KnownMaps {
    slots: Vec<Slot>,
    /// By node, where the last map that was known stands: the next one is most often the same.
    recent: [Cell<usize>; RECENT],
}

#[derive(Default)]
struct Slot {
    /// Of the map that came last, whether it is kept or not.
    last: Cell<u64>,
    kept: Option<Kept>,
}

/// A map that is to be kept.
pub struct New {
    slot: usize,
    kept: Kept,
}

struct Kept {
    schema: u64,
    node: usize,
    bytes: Vec<u8>,
    map: KeptMap,
}

impl<'a> Encoded<'a> {
    /// Nothing for bytes that are never kept.
    pub fn new(schema: u64, node: usize, bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > LONGEST {
            return None;
        }
        let mix = |hash: u64, eight: &[u8; 8]| {
            (hash ^ u64::from_le_bytes(*eight)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
        };
        let (eights, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let hash =
            eights.iter().chain([&last]).fold(schema ^ ((node as u64) << 32) ^ bytes.len() as u64, mix);
        Some(Self { schema, node, bytes, hash })
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    fn slot(&self) -> usize {
        usize::try_from(self.hash % SLOTS as u64).expect("a slot's number is small")
    }
}

impl Default for KnownMaps {
    fn default() -> Self {
        Self {
            slots: std::iter::repeat_with(Slot::default).take(SLOTS).collect(),
            recent: Default::default(),
        }
    }
}

impl KnownMaps {
    /// The last known map of a node and how many bytes it has, if `bytes` begin with it. What a map
    /// begins with says where it ends.
    #[inline]
    pub fn again(&self, schema: u64, node: usize, bytes: &[u8]) -> Option<(&KeptMap, usize)> {
        let kept = self.slots[self.recent[node % RECENT].get()].kept.as_ref()?;
        ((kept.schema, kept.node) == (schema, node) && bytes.starts_with(&kept.bytes))
            .then_some((&kept.map, kept.bytes.len()))
    }

    pub fn get(&self, encoded: &Encoded<'_>) -> Option<&KeptMap> {
        let slot = encoded.slot();
        let Kept { schema, node, bytes, map } = self.slots[slot].kept.as_ref()?;
        if *bytes != encoded.bytes || (*schema, *node) != (encoded.schema, encoded.node) {
            return None;
        }
        self.recent[node % RECENT].set(slot);
        Some(map)
    }

    /// What to keep of a map that is not known and comes for the second time, as far as is
    /// remembered.
    pub fn new_map(&self, found: &Map<'_>, map: MapRef<'_>) -> Option<Box<New>> {
        let Found::Is(Entries::Written { encoded: Some(encoded), .. }) = found else { return None };
        let slot = encoded.slot();
        let Encoded { schema, node, bytes, hash } = *encoded;
        (self.slots[slot].last.replace(hash) == hash).then(|| {
            Box::new(New { slot, kept: Kept { schema, node, bytes: bytes.to_vec(), map: map.into() } })
        })
    }

    pub fn keep(&mut self, New { slot, kept }: New) {
        self.slots[slot].kept = Some(kept);
    }
}
