//! Which versions of a shard make a segment: blocks of 1, 8, 64 and so on, each at a multiple of its
//! size.
//!
//! Invariant: the blocks up to a version are a function of it, cover each version once, and are at
//! most seven of a size.

const FAN: u64 = 8;

/// `FAN^level` versions, the `index`th of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Block {
    pub level: u32,
    pub index: u64,
}

impl Block {
    fn size(self) -> u64 {
        FAN.pow(self.level)
    }

    /// The first version in it.
    pub fn first(self) -> u64 {
        self.index * self.size() + 1
    }

    /// The last version in it.
    pub fn last(self) -> u64 {
        (self.index + 1) * self.size()
    }

    /// The blocks of the next smaller size that it consists of.
    pub fn parts(self) -> impl Iterator<Item = Self> {
        assert!(self.level > 0, "one version has no parts");
        (0..FAN).map(move |nth| Self { level: self.level - 1, index: self.index * FAN + nth })
    }

    /// The blocks that cover the versions from 1 to `last`, in order: the largest that fit.
    pub fn up_to(last: u64) -> Vec<Self> {
        let mut blocks = Vec::new();
        let mut covered = 0;
        while covered < last {
            let fits = |level: &u32| {
                let size = FAN.pow(*level);
                covered.is_multiple_of(size) && covered + size <= last
            };
            let level = (0..=20).rev().find(fits).expect("one version always fits");
            blocks.push(Self { level, index: covered / FAN.pow(level) });
            covered += FAN.pow(level);
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_cover_each_version_once(last in 0_u64..5_000_000) {
            let blocks = Block::up_to(last);
            let mut next = 1;
            for block in &blocks {
                prop_assert_eq!(block.first(), next);
                next = block.last() + 1;
            }
            prop_assert_eq!(next, last + 1);
            for level in 0..=20 {
                prop_assert!(blocks.iter().filter(|block| block.level == level).count() <= 7);
            }
        }

        #[test]
        fn a_block_is_its_parts(level in 1_u32..8, index in 0_u64..1000) {
            let block = Block { level, index };
            let parts: Vec<Block> = block.parts().collect();
            prop_assert_eq!(parts[0].first(), block.first());
            prop_assert_eq!(parts[7].last(), block.last());
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].last() + 1, pair[1].first());
            }
        }
    }
}
