//! SHA-256 of many messages at once: sixteen side by side, one in each lane of the wide registers that servers have.
//!
//! Sealing hashes a few hundred bytes for every row, in messages so short that the instructions made for SHA-256 spend their
//! time waiting for their own results. Sixteen messages that do not depend on each other keep the machine busy. Where it lacks
//! AVX-512, and for a handful of messages, the `sha2` crate does the work.
//!
//! It deliberately knows nothing of rows or trees.
//!
//! Invariant: the result is that of `sha2`, whatever the machine.

use sha2::{Digest as _, Sha256};
use wide::Wide;

const LANES: usize = 16;
/// Below this, sixteen lanes take longer than one message after the other: lanes that are empty cost as much as full ones.
const WORTHWHILE: usize = LANES / 2;
/// Bytes of a block.
const BLOCK: usize = 64;
/// What a message is followed by to fill its last block: a byte 0x80, zeros, and its length in bits as u64.
const PADDING: usize = 9;
/// Room for the messages of [`fixed`].
const SLOT: usize = 2 * BLOCK;

/// One word of sixteen messages.
type Lane = [u32; LANES];

/// The SHA-256 of `count` messages of equal length. `write` is given each message's number and the buffer to put it in, which
/// holds an older message: it writes all of it.
pub fn fixed<const LEN: usize>(count: usize, mut write: impl FnMut(usize, &mut [u8; LEN])) -> Vec<[u8; 32]> {
    const { assert!(LEN + PADDING <= SLOT, "a message of fixed length has at most two blocks") };
    let mut digests = Vec::with_capacity(count);
    let mut done = 0;
    if let Some(wide) = Wide::here() {
        let mut slots = [[0; SLOT]; LANES];
        let end = (LEN + PADDING).next_multiple_of(BLOCK);
        for slot in &mut slots {
            slot[LEN] = 0x80;
            slot[end - 8..end].copy_from_slice(&bits(LEN));
        }
        while count - done >= WORTHWHILE {
            let taken = LANES.min(count - done);
            for (lane, slot) in slots[..taken].iter_mut().enumerate() {
                write(done + lane, slot.first_chunk_mut().expect("a slot is longer than a message"));
            }
            let mut state = START.map(|word| [word; LANES]);
            for block in 0..end / BLOCK {
                let blocks = slots.each_ref().map(|slot| &slot.as_chunks().0[block]);
                wide.compress(&mut state, &blocks);
            }
            digests.extend((0..taken).map(|lane| digest(&state, lane)));
            done += taken;
        }
    }
    let mut message = [0; LEN];
    digests.extend((done..count).map(|number| -> [u8; 32] {
        write(number, &mut message);
        Sha256::digest(message).into()
    }));
    digests
}

/// The SHA-256 of messages that lie one after the other in `arena`, the first from its begin, each up to its number in `ends`.
///
/// # Panics
/// When `ends` shrinks or points beyond the arena.
pub fn variable(arena: &[u8], ends: &[u32]) -> Vec<[u8; 32]> {
    let starts = std::iter::once(&0).chain(ends);
    let messages: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &arena[*start as usize..*end as usize]).collect();
    let one_by_one = |message: &[u8]| -> [u8; 32] { Sha256::digest(message).into() };
    let Some(wide) = Wide::here() else {
        return messages.into_iter().map(one_by_one).collect();
    };
    let mut digests = vec![[0; 32]; messages.len()];
    for numbers in by_blocks(&messages).chunks(LANES) {
        let longest = numbers.iter().map(|number| blocks(messages[*number])).max().expect("a chunk has messages");
        let all: usize = numbers.iter().map(|number| blocks(messages[*number])).sum();
        if all < longest * WORTHWHILE {
            for number in numbers {
                digests[*number] = one_by_one(messages[*number]);
            }
            continue;
        }
        let mut side_by_side: [&[u8]; LANES] = [&[]; LANES];
        for (message, number) in side_by_side.iter_mut().zip(numbers) {
            *message = messages[*number];
        }
        let mut state = START.map(|word| [word; LANES]);
        let mut ends = [[0; BLOCK]; LANES];
        for block in 0..longest {
            for (message, end) in side_by_side.iter().zip(&mut ends) {
                if whole(message, block).is_none() {
                    *end = padded(message, block);
                }
            }
            let mut blocks_of = [&[0; BLOCK]; LANES];
            for ((message, end), block_of) in side_by_side.iter().zip(&ends).zip(&mut blocks_of) {
                *block_of = whole(message, block).unwrap_or(end);
            }
            wide.compress(&mut state, &blocks_of);
            for (lane, number) in numbers.iter().enumerate() {
                if block + 1 == blocks(side_by_side[lane]) {
                    digests[*number] = digest(&state, lane);
                }
            }
        }
    }
    digests
}

/// The numbers of the messages, those with fewer blocks first, so that messages side by side are done at about the same time.
fn by_blocks(messages: &[&[u8]]) -> Vec<usize> {
    let most = messages.iter().map(|message| blocks(message)).max();
    let mut next = vec![0; most.map_or(1, |most| most + 2)];
    for message in messages {
        next[blocks(message) + 1] += 1;
    }
    for blocks in 1..next.len() {
        next[blocks] += next[blocks - 1];
    }
    let mut order = vec![0; messages.len()];
    for (number, message) in messages.iter().enumerate() {
        let place = &mut next[blocks(message)];
        order[*place] = number;
        *place += 1;
    }
    order
}

fn blocks(message: &[u8]) -> usize {
    (message.len() + PADDING).div_ceil(BLOCK)
}

/// A block that the message fills.
fn whole(message: &[u8], block: usize) -> Option<&[u8; BLOCK]> {
    message.get(block * BLOCK..)?.first_chunk()
}

/// A block that the message does not fill. What stands in blocks after its last is of no consequence.
fn padded(message: &[u8], block: usize) -> [u8; BLOCK] {
    let mut padded = [0; BLOCK];
    // Nothing of the message may be left for its last block but the padding, and not even the 0x80.
    if let Some(rest) = message.get(block * BLOCK..) {
        padded[..rest.len()].copy_from_slice(rest);
        padded[rest.len()] = 0x80;
    }
    if block + 1 == blocks(message) {
        padded[BLOCK - 8..].copy_from_slice(&bits(message.len()));
    }
    padded
}

fn bits(length: usize) -> [u8; 8] {
    (length as u64 * 8).to_be_bytes()
}

fn digest(state: &[Lane; 8], lane: usize) -> [u8; 32] {
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word[lane].to_be_bytes());
    }
    digest
}

// What follows is FIPS 180-4, sections 4 to 6.

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "AVX-512: its functions are called where the machine has it, and read and write what a reference points to")]
mod wide {
    use super::{BLOCK, LANES, Lane, ROUNDS};
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi32, _mm512_loadu_epi8, _mm512_loadu_epi32, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_set4_epi32,
        _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_storeu_epi32, _mm512_ternarylogic_epi32,
        _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    };

    /// Shows that this machine has the registers.
    #[derive(Clone, Copy)]
    pub(super) struct Wide(());

    impl Wide {
        pub(super) fn here() -> Option<Self> {
            (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")).then_some(Self(()))
        }

        /// Takes a block of each message into the state.
        pub(super) fn compress(self, state: &mut [Lane; 8], blocks: &[&[u8; BLOCK]; LANES]) {
            // SAFETY: `here` makes a Wide only where the machine has what `compress` is compiled for.
            unsafe { compress(state, blocks) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn compress(state: &mut [Lane; 8], blocks: &[&[u8; BLOCK]; LANES]) {
        // `array::map` is not compiled for these registers, so that passing through it would cost as much as the work itself.
        let mut words = [_mm512_setzero_si512(); LANES];
        for (words, block) in words.iter_mut().zip(blocks) {
            // SAFETY: reads the 64 bytes that the reference points to.
            *words = unsafe { _mm512_loadu_epi8(block.as_ptr().cast()) };
        }
        transpose(&mut words);
        let mut before = [_mm512_setzero_si512(); 8];
        for (before, lane) in before.iter_mut().zip(&*state) {
            // SAFETY: reads the 64 bytes that the reference points to.
            *before = unsafe { _mm512_loadu_epi32(lane.as_ptr().cast()) };
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = before;
        for (done, constants) in ROUNDS.iter().enumerate() {
            macro_rules! round {
                ($word:literal $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
                    let sigma = xor(_mm512_ror_epi32::<6>($e), _mm512_ror_epi32::<11>($e), _mm512_ror_epi32::<25>($e));
                    let choice = _mm512_ternarylogic_epi32::<0xca>($e, $f, $g);
                    let first = add(add($h, add(words[$word], _mm512_set1_epi32(constants[$word].cast_signed()))), add(sigma, choice));
                    let sigma = xor(_mm512_ror_epi32::<2>($a), _mm512_ror_epi32::<13>($a), _mm512_ror_epi32::<22>($a));
                    let majority = _mm512_ternarylogic_epi32::<0xe8>($a, $b, $c);
                    $d = add($d, first);
                    $h = add(first, add(sigma, majority));
                };
            }
            // The variables take turns instead of their values; an index that varied would keep the words in memory.
            round!(0 a b c d e f g h);
            round!(1 h a b c d e f g);
            round!(2 g h a b c d e f);
            round!(3 f g h a b c d e);
            round!(4 e f g h a b c d);
            round!(5 d e f g h a b c);
            round!(6 c d e f g h a b);
            round!(7 b c d e f g h a);
            round!(8 a b c d e f g h);
            round!(9 h a b c d e f g);
            round!(10 g h a b c d e f);
            round!(11 f g h a b c d e);
            round!(12 e f g h a b c d);
            round!(13 d e f g h a b c);
            round!(14 c d e f g h a b);
            round!(15 b c d e f g h a);
            if done == 3 {
                break;
            }
            macro_rules! extend {
                ($($word:literal)*) => {$(
                    let (fifteenth, seventh, second) = (words[($word + 1) % 16], words[($word + 9) % 16], words[($word + 14) % 16]);
                    let early = xor(_mm512_ror_epi32::<7>(fifteenth), _mm512_ror_epi32::<18>(fifteenth), _mm512_srli_epi32::<3>(fifteenth));
                    let late = xor(_mm512_ror_epi32::<17>(second), _mm512_ror_epi32::<19>(second), _mm512_srli_epi32::<10>(second));
                    words[$word] = add(add(words[$word], early), add(seventh, late));
                )*};
            }
            extend!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        }
        for ((lane, before), now) in state.iter_mut().zip(before).zip([a, b, c, d, e, f, g, h]) {
            // SAFETY: writes the 64 bytes that the reference points to.
            unsafe { _mm512_storeu_epi32(lane.as_mut_ptr().cast(), add(before, now)) }
        }
    }

    /// From sixteen blocks to their sixteen words, each with one lane for each block.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn transpose(rows: &mut [__m512i; LANES]) {
        let swapped = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
        for row in rows.iter_mut() {
            *row = _mm512_shuffle_epi8(*row, swapped);
        }
        // Then quarter q of row 4k + j holds word 4q + j of blocks 4k to 4k + 3.
        for k in [0, 4, 8, 12] {
            let [a, b, c, d] = [rows[k], rows[k + 1], rows[k + 2], rows[k + 3]];
            let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (next_low, next_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            rows[k] = _mm512_unpacklo_epi64(low, next_low);
            rows[k + 1] = _mm512_unpackhi_epi64(low, next_low);
            rows[k + 2] = _mm512_unpacklo_epi64(high, next_high);
            rows[k + 3] = _mm512_unpackhi_epi64(high, next_high);
        }
        const EVEN: i32 = 0b10_00_10_00;
        const ODD: i32 = 0b11_01_11_01;
        for j in [0, 1, 2, 3] {
            let [a, b, c, d] = [rows[j], rows[j + 4], rows[j + 8], rows[j + 12]];
            let (even, odd) = (_mm512_shuffle_i32x4::<EVEN>(a, b), _mm512_shuffle_i32x4::<ODD>(a, b));
            let (next_even, next_odd) = (_mm512_shuffle_i32x4::<EVEN>(c, d), _mm512_shuffle_i32x4::<ODD>(c, d));
            rows[j] = _mm512_shuffle_i32x4::<EVEN>(even, next_even);
            rows[j + 4] = _mm512_shuffle_i32x4::<EVEN>(odd, next_odd);
            rows[j + 8] = _mm512_shuffle_i32x4::<ODD>(even, next_even);
            rows[j + 12] = _mm512_shuffle_i32x4::<ODD>(odd, next_odd);
        }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn add(a: __m512i, b: __m512i) -> __m512i {
        _mm512_add_epi32(a, b)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn xor(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0x96>(a, b, c)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod wide {
    use super::{BLOCK, LANES, Lane};

    /// No machine of this kind has the registers.
    #[derive(Clone, Copy)]
    pub(super) enum Wide {}

    impl Wide {
        pub(super) fn here() -> Option<Self> {
            None
        }

        pub(super) fn compress(self, _: &mut [Lane; 8], _: &[&[u8; BLOCK]; LANES]) {
            match self {}
        }
    }
}

/// The fractional parts of the square roots of the first 8 primes.
const START: [u32; 8] = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// The fractional parts of the cube roots of the first 64 primes.
#[rustfmt::skip]
const ROUNDS: [[u32; 16]; 4] = [
    [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
     0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
    [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
     0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
    [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
     0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
    [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
     0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
];
