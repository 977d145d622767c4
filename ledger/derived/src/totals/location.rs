//! The place of a row in 64 bits, as the index of ids keeps it beside an id.
//!
//! Invariant: places of one shard are ordered as its rows are.

const SHARD_BITS: u32 = 10;
const VERSION_BITS: u32 = 34;
const ROW_BITS: u32 = 20;

/// A row: its shard, the commit that first wrote it, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RowLocation {
    pub shard: u32,
    pub version: u64,
    pub row: u32,
}

impl RowLocation {
    /// # Panics
    /// Beyond 1024 shards, 2^34 commits of one, or 2^20 rows of a commit, which no ledger has: a
    /// batch has a million rows at most.
    pub fn pack(self) -> u64 {
        let Self { shard, version, row } = self;
        assert!(shard < 1 << SHARD_BITS, "a ledger has at most 1024 shards");
        assert!(version < 1 << VERSION_BITS, "a shard has fewer than 2^34 commits");
        assert!(row < 1 << ROW_BITS, "a commit has fewer than 2^20 rows");
        u64::from(shard) << (VERSION_BITS + ROW_BITS) | version << ROW_BITS | u64::from(row)
    }

    pub fn unpack(packed: u64) -> Self {
        let low = |bits: u64, count: u32| bits & ((1 << count) - 1);
        let narrow = |bits: u64| u32::try_from(bits).expect("20 bits fit");
        Self {
            shard: narrow(packed >> (VERSION_BITS + ROW_BITS)),
            version: low(packed >> ROW_BITS, VERSION_BITS),
            row: narrow(low(packed, ROW_BITS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_place_is_read_as_it_is_packed(
            shard in 0..1_u32 << SHARD_BITS,
            version in 0..1_u64 << VERSION_BITS,
            row in 0..1_u32 << ROW_BITS,
        ) {
            let place = RowLocation { shard, version, row };
            prop_assert_eq!(RowLocation::unpack(place.pack()), place);
        }
    }
}
