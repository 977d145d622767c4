//! The encodings of Parquet that pages of a ledger are written with.
//!
//! They are those of the format's specification, `Encodings.md`: "Run Length Encoding / Bit-Packing
//! Hybrid" for levels and for indices into a dictionary, "Delta Encoding" for numbers and lengths.
//! It deliberately does not decode: whoever reads uses the library.
//!
//! Invariant: the bytes depend on the values alone.

/// A bit-packed run has a multiple of this many values.
const GROUP: usize = 8;

/// Appends indices into a dictionary, of `width` bits each: as runs where many are alike, packed
/// elsewhere.
pub fn hybrid(out: &mut Vec<u8>, width: u32, indices: &[i32]) {
    let (groups, rest) = indices.as_chunks::<GROUP>();
    let of = |from: usize, to: usize| &indices[from * GROUP..indices.len().min(to * GROUP)];
    let alike = |group: usize| match groups.get(group) {
        Some(group) => (group.iter().fold(0, |all, index| all | (index ^ group[0])) == 0).then_some(group[0]),
        None => rest.iter().all(|index| *index == rest[0]).then_some(rest[0]),
    };
    runs(out, width, indices.len(), alike, |out, from, to| pack(out, width, of(from, to), GROUP));
}

/// Appends `len` levels of one bit, which is what a column has that may be NULL and does not
/// repeat. `bits` has them as Arrow has validity, the first in the lowest bit.
pub fn hybrid_bits(out: &mut Vec<u8>, bits: &[u8], len: usize) {
    // Behind the last level there may be anything.
    let all = |group: usize| if group == len / GROUP { (1 << (len % GROUP)) - 1 } else { u8::MAX };
    let byte = |group: usize| bits[group] & all(group);
    let alike = |group: usize| match byte(group) {
        0 => Some(0),
        byte => (byte == all(group)).then_some(1),
    };
    runs(out, 1, len, alike, |out, from, to| out.extend((from..to).map(byte)));
}

/// Appends one run: `len` times the same value.
pub fn hybrid_same(out: &mut Vec<u8>, width: u32, value: i32, len: usize) {
    varint(out, count(len) << 1);
    out.extend_from_slice(&value.to_le_bytes()[..usize::try_from(width.div_ceil(8)).expect("4 at most")]);
}

/// Divides groups of values into runs of what is alike and stretches that are packed. `alike` is
/// asked for the value that a whole group has, `packed` to append the groups from one to before
/// another.
fn runs(
    out: &mut Vec<u8>,
    width: u32,
    len: usize,
    alike: impl Fn(usize) -> Option<i32>,
    packed: impl Fn(&mut Vec<u8>, usize, usize),
) {
    let literal = |out: &mut Vec<u8>, from: usize, to: usize| {
        if from < to {
            varint(out, count(to - from) << 1 | 1);
            packed(out, from, to);
        }
    };
    let groups = len.div_ceil(GROUP);
    let (mut begun, mut group) = (0, 0);
    while group < groups {
        let from = group;
        group += 1;
        let Some(value) = alike(from) else { continue };
        while group < groups && alike(group) == Some(value) {
            group += 1;
        }
        // For one group alone, the heads of its run and of what follows would take more than it
        // saves.
        if group - from > 1 || groups == 1 {
            literal(out, begun, from);
            hybrid_same(out, width, value, len.min(group * GROUP) - from * GROUP);
            begun = group;
        }
    }
    literal(out, begun, groups);
}

/// A value that can be packed: its bits as a number.
trait Bits: Copy {
    fn bits(self) -> u64;
}

impl Bits for u64 {
    fn bits(self) -> u64 {
        self
    }
}

impl Bits for i32 {
    fn bits(self) -> u64 {
        self.cast_unsigned().into()
    }
}

impl Bits for i64 {
    fn bits(self) -> u64 {
        self.cast_unsigned()
    }
}

/// Numbers of 32 and 64 bits, whose differences wrap around at their width.
#[expect(private_bounds, reason = "nothing else is a number of 32 or 64 bits")]
pub trait Integer: Bits + Ord + Default + Into<i64> {
    fn less(self, other: Self) -> Self;
}

impl Integer for i32 {
    fn less(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
}

impl Integer for i64 {
    fn less(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
}

const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;
const MINIBLOCKS: usize = BLOCK / MINIBLOCK;

/// Appends numbers as `DELTA_BINARY_PACKED`.
pub fn delta_binary_packed<T: Integer>(out: &mut Vec<u8>, values: &[T]) {
    let first = values.first().copied().unwrap_or_default();
    for header in [BLOCK, MINIBLOCKS, values.len()] {
        varint(out, count(header));
    }
    zigzag(out, first.into());
    let mut start = 0;
    while values.len() - start > 1 {
        let end = values.len().min(start + 1 + BLOCK);
        block(out, &values[start..end]);
        start = end - 1;
    }
}

/// Appends the differences of up to [`BLOCK`] values to the ones before them.
fn block<T: Integer>(out: &mut Vec<u8>, values: &[T]) {
    let deltas = || values[1..].iter().zip(values).map(|(value, before)| value.less(*before));
    let first = values[1].less(values[0]);
    // Constants and counts are the rule.
    if deltas().fold(0, |all, delta| all | (delta.bits() ^ first.bits())) == 0 {
        zigzag(out, first.into());
        out.extend_from_slice(&[0; MINIBLOCKS]);
        return;
    }
    let least = deltas().min().expect("there are two");
    zigzag(out, least.into());
    // After the last value of the last block there are zeros, and miniblocks without a value have
    // no bits.
    let mut above = [0; BLOCK];
    for (above, delta) in above.iter_mut().zip(deltas()) {
        *above = delta.less(least).bits();
    }
    let (miniblocks, _) = above.as_chunks::<MINIBLOCK>();
    let widths = miniblocks
        .iter()
        .map(|miniblock| u64::BITS - miniblock.iter().fold(0, |all, value| all | value).leading_zeros());
    out.extend(widths.clone().map(|width| u8::try_from(width).expect("64 at most")));
    for (width, miniblock) in widths.zip(miniblocks) {
        pack(out, width, miniblock, MINIBLOCK);
    }
}

/// Appends values of `width` bits, the first in the lowest bits, and zeros up to a multiple of
/// `multiple` values.
fn pack<T: Bits>(out: &mut Vec<u8>, width: u32, values: &[T], multiple: usize) {
    let bytes = values.len().next_multiple_of(multiple) * usize::try_from(width).expect("64 at most") / 8;
    let end = out.len() + bytes;
    out.reserve(bytes + size_of::<u64>());
    let (mut word, mut used) = (0, 0);
    for value in values {
        let value = value.bits();
        word |= value << used;
        used += width;
        if used >= u64::BITS {
            out.extend_from_slice(&word.to_le_bytes());
            used -= u64::BITS;
            // The bits that the full word did not take; a value that just fitted leaves nothing.
            word = if used == 0 { 0 } else { value >> (width - used) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes());
    out.resize(end, 0);
}

/// How many bits the numbers below `count` need.
pub fn width_below(count: usize) -> u32 {
    usize::BITS - count.saturating_sub(1).leading_zeros()
}

/// Appends a ULEB128 number.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    out.push(low);
}

/// Appends a number that may be negative: 0, -1, 1, -2 as 0, 1, 2, 3.
pub fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// A length as numbers of 64 bits have it.
pub fn count(len: usize) -> u64 {
    u64::try_from(len).expect("a usize has 64 bits at most")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn indices_are_packed_as_the_specification_shows() {
        let packed = [0b1000_1000, 0b1100_0110, 0b1111_1010];
        assert_eq!(
            bytes(|out| hybrid(out, 3, &[0, 1, 2, 3, 4, 5, 6, 7])),
            [&[1 << 1 | 1][..], &packed].concat()
        );
    }

    #[test]
    fn what_is_alike_is_a_run_and_what_is_not_is_packed() {
        assert_eq!(bytes(|out| hybrid(out, 9, &[300; 100])), [200, 1, 44, 1]);
        assert_eq!(bytes(|out| hybrid(out, 0, &[0; 3])), [6]);
        let indices: Vec<i32> = (0..8).chain([5; 20]).collect();
        assert_eq!(bytes(|out| hybrid(out, 8, &indices)), [3, 0, 1, 2, 3, 4, 5, 6, 7, 40, 5]);
        // One group between others is not worth a run of its own; the last is filled up with zeros.
        let indices: Vec<i32> = (0..8).chain([5; 8]).chain(0..2).collect();
        assert_eq!(
            bytes(|out| hybrid(out, 8, &indices)),
            [7, 0, 1, 2, 3, 4, 5, 6, 7, 5, 5, 5, 5, 5, 5, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn levels_end_where_the_rows_end() {
        assert_eq!(bytes(|out| hybrid_bits(out, &[0xFF, 0xFF], 12)), [24, 1]);
        assert_eq!(bytes(|out| hybrid_bits(out, &[0x00, 0xF0], 12)), [24, 0]);
        assert_eq!(bytes(|out| hybrid_bits(out, &[0b101, 0xFF], 11)), [5, 0b101, 0b111]);
        assert_eq!(bytes(|out| hybrid_bits(out, &[0xFF], 8)), [16, 1]);
        assert_eq!(bytes(|out| hybrid_bits(out, &[0b10], 2)), [3, 0b10]);
    }

    #[test]
    fn numbers_are_packed_as_the_specification_shows() {
        let header = |count, first| vec![0x80, 1, 4, count, first];
        assert_eq!(bytes(|out| delta_binary_packed::<i64>(out, &[])), header(0, 0));
        assert_eq!(bytes(|out| delta_binary_packed(out, &[7])), header(1, 14));
        assert_eq!(
            bytes(|out| delta_binary_packed(out, &[1, 2, 3, 4, 5])),
            [header(5, 2), vec![2, 0, 0, 0, 0]].concat()
        );
        let block = [3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            bytes(|out| delta_binary_packed(out, &[7, 5, 3, 1, 2, 3, 4, 5])),
            [&header(8, 14)[..], &block].concat()
        );
    }

    #[test]
    fn differences_wrap_around_at_the_width_of_the_numbers() {
        let of_32 = bytes(|out| delta_binary_packed(out, &[i32::MIN, i32::MAX, i32::MIN]));
        // The first number, differences of -1 and 1 as what is above -1 in two bits.
        assert_eq!(
            of_32[4..],
            [&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F][..], &[1, 2, 0, 0, 0, 0b1000, 0, 0, 0, 0, 0, 0, 0]].concat()
        );
        let of_64 = bytes(|out| delta_binary_packed(out, &[i64::MIN, i64::MAX, i64::MIN]));
        assert_eq!(of_64[4 + 10..], [1, 2, 0, 0, 0, 0b1000, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn numbers_are_packed_side_by_side_whatever_their_width() {
        for width in 0..=64 {
            let mixed = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let values: Vec<u64> =
                (1..=40).map(|number| if width == 0 { 0 } else { mixed(number) >> (64 - width) }).collect();
            let packed = bytes(|out| pack(out, width, &values, 32));
            assert_eq!(packed.len() * 8, 64 * usize::try_from(width).unwrap());
            let bit = |at: u32| u64::from(packed[usize::try_from(at / 8).unwrap()] >> (at % 8) & 1);
            for (value, place) in values.iter().zip(0..) {
                assert_eq!(
                    (0..width).fold(0, |all, at| all | bit(place * width + at) << at),
                    *value,
                    "{width} bits"
                );
            }
        }
    }
}
