//! SHA-256 of many messages at once: sixteen side by side, one in each lane of the wide registers
//! that servers have.
//!
//! Sealing hashes a few hundred bytes for every row, in messages so short that the instructions
//! made for SHA-256 spend their time waiting for their own results. Sixteen messages that do not
//! depend on each other keep the machine busy. Where it lacks AVX-512, and for a handful of
//! messages, the `sha2` crate does the work.
//!
//! It deliberately knows nothing of rows or trees.
//!
//! Invariant: the result is that of `sha2`, whatever the machine.

use sha2::{Digest as _, Sha256};
use wide::Wide;

const LANES: usize = 16;
/// Below this, sixteen lanes take longer than one message after the other: lanes that are empty
/// cost as much as full ones.
const WORTHWHILE: usize = LANES / 2;
/// Bytes of a block.
const BLOCK: usize = 64;
/// The padding that follows a message to fill its last block: a byte 0x80, zeros, and its length in
/// bits as u64.
const PADDING: usize = 9;
/// Messages with fewer blocks are put together with those that have exactly as many; longer ones
/// with those next to them in length.
const FEW_BLOCKS: usize = 32;
/// Room for the messages of [`fixed`].
const SLOT: usize = 2 * BLOCK;

/// One word of sixteen messages.
type Lane = [u32; LANES];

/// The SHA-256 of `count` messages of equal length. `write` is given each message's number and the
/// buffer to put it in, which holds an older message: it writes all of it.
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
            digests.extend_from_slice(&wide.digests(&state)[..taken]);
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

/// The SHA-256 of messages that lie one after the other in `arena`, the first from its beginning,
/// each up to its number in `ends`.
///
/// # Panics
/// When `ends` shrinks or points beyond the arena.
pub fn variable(arena: &[u8], ends: &[u32]) -> Vec<[u8; 32]> {
    let starts = std::iter::once(&0).chain(ends);
    let messages = starts.zip(ends).map(|(start, end)| &arena[*start as usize..*end as usize]);
    let Some(wide) = Wide::here() else {
        return messages.map(|message| Sha256::digest(message).into()).collect();
    };
    let mut digests = vec![[0; 32]; ends.len()];
    // Messages with equally many blocks are done at the same time, so each waits until there are
    // enough of its kind.
    let mut waiting = [const { Vec::new() }; FEW_BLOCKS];
    let mut others = Vec::new();
    for (number, message) in messages.enumerate() {
        let group = waiting.get_mut(blocks(message)).unwrap_or(&mut others);
        group.push((number, message));
        if group.len() == LANES && blocks(message) < FEW_BLOCKS {
            side_by_side(wide, group, &mut digests);
            group.clear();
        }
    }
    others.extend(waiting.into_iter().flatten());
    others.sort_unstable_by_key(|(_, message)| message.len());
    for group in others.chunks(LANES) {
        side_by_side(wide, group, &mut digests);
    }
    digests
}

/// The bytes of a long message that are held; of sixteen they fit the cache of a core.
const PIECE: usize = 32 << 10;

/// The SHA-256 and the length of `count` messages that need not fit into memory. `read` is given a
/// message's number and a buffer, and puts the next bytes of that message there; fewer than fit only
/// where it ends. It is asked for at most sixteen messages at a time, and never again for one that has
/// ended.
///
/// # Errors
/// The first one of `read`.
///
/// # Panics
/// When `read` says that it put more bytes than fit.
pub fn long<E>(
    count: usize,
    mut read: impl FnMut(usize, &mut [u8]) -> Result<usize, E>,
) -> Result<Vec<([u8; 32], u64)>, E> {
    let mut digests = vec![([0; 32], 0); count];
    let mut waiting = 0..count;
    // The last few of many go on in lanes: what was hashed of them cannot be handed to `sha2`.
    if let Some(wide) = Wide::here().filter(|_| count >= WORTHWHILE) {
        let mut state = START.map(|word| [word; LANES]);
        let mut lanes: Vec<Long> = Vec::new();
        loop {
            for number in waiting.by_ref().take(LANES - lanes.len()) {
                let lane = lanes.len();
                START.iter().zip(&mut state).for_each(|(start, words)| words[lane] = *start);
                lanes.push(Long::new(number));
            }
            for lane in &mut lanes {
                lane.fill(&mut read)?;
            }
            let Some(together) = lanes.iter().map(|lane| lane.blocks().len()).min() else { break };
            for block in 0..together {
                let mut blocks = [&[0; BLOCK]; LANES];
                for (here, lane) in blocks.iter_mut().zip(&lanes) {
                    *here = &lane.blocks()[block];
                }
                wide.compress(&mut state, &blocks);
            }
            for (place, lane) in lanes.iter_mut().enumerate() {
                lane.taken += together * BLOCK;
                lane.state = state.map(|words| words[place]);
            }
            lanes.retain(|lane| {
                let done = lane.done();
                if let Some(done) = done {
                    digests[lane.number] = done;
                }
                done.is_none()
            });
            // Those that go on stand beside each other again.
            for (place, lane) in lanes.iter().enumerate() {
                state.iter_mut().zip(lane.state).for_each(|(words, word)| words[place] = word);
            }
        }
    }
    let mut buffer = vec![0; PIECE];
    for number in waiting {
        let (mut hasher, mut length) = (Sha256::new(), 0);
        loop {
            let bytes = read(number, &mut buffer)?;
            hasher.update(&buffer[..bytes]);
            length += bytes as u64;
            if bytes < PIECE {
                break;
            }
        }
        digests[number] = (hasher.finalize().into(), length);
    }
    Ok(digests)
}

/// A message of [`long`], as far as it was read.
struct Long {
    number: usize,
    state: [u32; 8],
    /// Whole blocks, with room for the padding.
    buffer: Vec<u8>,
    /// The bytes of the buffer that are there, and those that are in the state.
    held: usize,
    taken: usize,
    length: u64,
    ended: bool,
}

impl Long {
    fn new(number: usize) -> Self {
        let buffer = vec![0; PIECE + 2 * BLOCK];
        Self { number, state: START, buffer, held: 0, taken: 0, length: 0, ended: false }
    }

    /// Reads the next piece, and the padding after the last, where all that was read is taken.
    fn fill<E>(&mut self, read: &mut impl FnMut(usize, &mut [u8]) -> Result<usize, E>) -> Result<(), E> {
        if self.taken < self.held || self.ended {
            return Ok(());
        }
        let bytes = read(self.number, &mut self.buffer[..PIECE])?;
        assert!(bytes <= PIECE, "no more was read than there was room for");
        self.length += bytes as u64;
        (self.taken, self.held) = (0, bytes);
        if bytes < PIECE {
            self.ended = true;
            self.held = (bytes + PADDING).next_multiple_of(BLOCK);
            self.buffer[bytes..self.held].fill(0);
            self.buffer[bytes] = 0x80;
            self.buffer[self.held - 8..self.held].copy_from_slice(&(self.length * 8).to_be_bytes());
        }
        Ok(())
    }

    /// The blocks that are not taken yet.
    fn blocks(&self) -> &[[u8; BLOCK]] {
        self.buffer[self.taken..self.held].as_chunks().0
    }

    /// The result, once the padding is taken.
    fn done(&self) -> Option<([u8; 32], u64)> {
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        (self.ended && self.taken == self.held).then_some((digest, self.length))
    }
}

/// Puts the SHA-256 of at most sixteen messages, those with fewer blocks first, where their numbers
/// say.
fn side_by_side(wide: Wide, numbered: &[(usize, &[u8])], digests: &mut [[u8; 32]]) {
    let longest = numbered.last().map_or(0, |(_, message)| blocks(message));
    let all: usize = numbered.iter().map(|(_, message)| blocks(message)).sum();
    if all < longest * WORTHWHILE {
        for (number, message) in numbered {
            digests[*number] = Sha256::digest(message).into();
        }
        return;
    }
    let mut messages: [&[u8]; LANES] = [&[]; LANES];
    for (place, (_, message)) in messages.iter_mut().zip(numbered) {
        *place = message;
    }
    let mut tails = [[[0; BLOCK]; 2]; LANES];
    for (tail, message) in tails.iter_mut().zip(&messages) {
        write_tail(message, tail);
    }
    let mut state = START.map(|word| [word; LANES]);
    let mut done = 0;
    let mut numbered = numbered.iter().enumerate().peekable();
    while let Some((_, (_, message))) = numbered.peek() {
        let next = blocks(message);
        for block in done..next {
            let mut blocks_of = [&[0; BLOCK]; LANES];
            for ((block_of, message), tail) in blocks_of.iter_mut().zip(&messages).zip(&tails) {
                let (whole, _) = message.as_chunks();
                *block_of = whole.get(block).unwrap_or(&tail[usize::from(block > whole.len())]);
            }
            wide.compress(&mut state, &blocks_of);
        }
        done = next;
        let done_now = wide.digests(&state);
        while let Some((lane, (number, _))) = numbered.next_if(|(_, (_, message))| blocks(message) == done) {
            digests[*number] = done_now[lane];
        }
    }
}

fn blocks(message: &[u8]) -> usize {
    (message.len() + PADDING).div_ceil(BLOCK)
}

/// Writes the blocks that the message does not fill where there are zeros: one, or two where the
/// first has no room for the padding.
fn write_tail(message: &[u8], tail: &mut [[u8; BLOCK]; 2]) {
    let (_, rest) = message.as_chunks::<BLOCK>();
    tail[0][..rest.len()].copy_from_slice(rest);
    tail[0][rest.len()] = 0x80;
    tail[usize::from(rest.len() + PADDING > BLOCK)][BLOCK - 8..].copy_from_slice(&bits(message.len()));
}

fn bits(length: usize) -> [u8; 8] {
    (length as u64 * 8).to_be_bytes()
}

// The rest is FIPS 180-4, sections 4 to 6.

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "AVX-512: its functions are called where the machine has it, and read and write what a reference points to"
)]
mod wide {
    use super::{BLOCK, LANES, Lane, ROUNDS};
    use std::arch::x86_64::{
        __m512i, _mm_loadu_si128, _mm256_storeu_si256, _mm512_add_epi32, _mm512_castsi128_si512,
        _mm512_castsi512_si256, _mm512_extracti64x4_epi64, _mm512_inserti32x4, _mm512_loadu_epi32,
        _mm512_permutex2var_epi64, _mm512_ror_epi32, _mm512_set_epi64, _mm512_set1_epi32, _mm512_set4_epi32,
        _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_srli_epi32, _mm512_storeu_epi32,
        _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
        _mm512_unpacklo_epi64,
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
            // SAFETY: `here` makes a Wide only where the machine has what `compress` is compiled
            // for.
            unsafe { compress(state, blocks) }
        }

        /// The state as bytes, message by message.
        pub(super) fn digests(self, state: &[Lane; 8]) -> [[u8; 32]; LANES] {
            // SAFETY: `here` makes a Wide only where the machine has what `digests` is compiled
            // for.
            unsafe { digests(state) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn compress(state: &mut [Lane; 8], blocks: &[&[u8; BLOCK]; LANES]) {
        // `array::map` is not compiled for these registers, so that passing through it would cost
        // as much as the work itself.
        let mut before = [_mm512_setzero_si512(); 8];
        for (before, lane) in before.iter_mut().zip(&*state) {
            *before = load(lane);
        }
        let mut words = [
            four_words::<0>(blocks),
            four_words::<1>(blocks),
            four_words::<2>(blocks),
            four_words::<3>(blocks),
        ];
        let words = words.as_flattened_mut().first_chunk_mut().expect("four times four are sixteen");
        let mut now = before;
        let [first @ .., last] = &ROUNDS;
        for constants in first {
            sixteen_rounds::<true>(&mut now, words, constants);
        }
        sixteen_rounds::<false>(&mut now, words, last);
        for ((lane, before), now) in state.iter_mut().zip(before).zip(now) {
            // SAFETY: writes the 64 bytes that the reference points to.
            unsafe { _mm512_storeu_epi32(lane.as_mut_ptr().cast(), add(before, now)) }
        }
    }

    /// Sixteen rounds; `EXTEND` turns their words into those of the next sixteen. Each word is
    /// turned right after its use: only one of the machine's two units rotates, and extending
    /// rotates more than a round does, so that taking turns keeps both busy.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn sixteen_rounds<const EXTEND: bool>(
        state: &mut [__m512i; 8],
        words: &mut [__m512i; LANES],
        constants: &[u32; LANES],
    ) {
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
        macro_rules! round {
            ($word:literal $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
                let sigma =
                    xor(_mm512_ror_epi32::<6>($e), _mm512_ror_epi32::<11>($e), _mm512_ror_epi32::<25>($e));
                let choice = _mm512_ternarylogic_epi32::<0xca>($e, $f, $g);
                let first = add(
                    add($h, add(words[$word], _mm512_set1_epi32(constants[$word].cast_signed()))),
                    add(sigma, choice),
                );
                let sigma =
                    xor(_mm512_ror_epi32::<2>($a), _mm512_ror_epi32::<13>($a), _mm512_ror_epi32::<22>($a));
                let majority = _mm512_ternarylogic_epi32::<0xe8>($a, $b, $c);
                $d = add($d, first);
                $h = add(first, add(sigma, majority));
                if EXTEND {
                    let (fifteenth, seventh, second) =
                        (words[($word + 1) % 16], words[($word + 9) % 16], words[($word + 14) % 16]);
                    let early = xor(
                        _mm512_ror_epi32::<7>(fifteenth),
                        _mm512_ror_epi32::<18>(fifteenth),
                        _mm512_srli_epi32::<3>(fifteenth),
                    );
                    let late = xor(
                        _mm512_ror_epi32::<17>(second),
                        _mm512_ror_epi32::<19>(second),
                        _mm512_srli_epi32::<10>(second),
                    );
                    words[$word] = add(add(words[$word], early), add(seventh, late));
                }
            };
        }
        // The variables take turns instead of their values; an index that varied would keep the
        // words in memory.
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
        *state = [a, b, c, d, e, f, g, h];
    }

    /// Words 4 * `QUARTER` and the three after it, each with one lane for each block. Quarters of
    /// blocks are put together by loading them, because only one of the two units shuffles.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn four_words<const QUARTER: usize>(blocks: &[&[u8; BLOCK]; LANES]) -> [__m512i; 4] {
        let mut rows = [_mm512_setzero_si512(); 4];
        for (i, row) in rows.iter_mut().enumerate() {
            let part = |block: usize| {
                let (parts, _): (&[[u8; BLOCK / 4]], _) = blocks[block].as_chunks();
                // SAFETY: reads the 16 bytes that the reference points to.
                unsafe { _mm_loadu_si128(parts[QUARTER].as_ptr().cast()) }
            };
            let one = _mm512_castsi128_si512(part(i));
            let two = _mm512_inserti32x4::<1>(one, part(i + 4));
            let three = _mm512_inserti32x4::<2>(two, part(i + 8));
            *row = swapped(_mm512_inserti32x4::<3>(three, part(i + 12)));
        }
        transposed(rows)
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn digests(state: &[Lane; 8]) -> [[u8; 32]; LANES] {
        let [a, b, c, d, e, f, g, h] = state;
        let left = transposed([swapped(load(a)), swapped(load(b)), swapped(load(c)), swapped(load(d))]);
        let right = transposed([swapped(load(e)), swapped(load(f)), swapped(load(g)), swapped(load(h))]);
        // Now quarter q of row i holds one half of digest 4q + i.
        let mut digests = [[0; 32]; LANES];
        let low = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
        let high = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
        for (i, (left, right)) in left.into_iter().zip(right).enumerate() {
            let low = _mm512_permutex2var_epi64(left, low, right);
            let high = _mm512_permutex2var_epi64(left, high, right);
            let quarters = [
                _mm512_castsi512_si256(low),
                _mm512_extracti64x4_epi64::<1>(low),
                _mm512_castsi512_si256(high),
                _mm512_extracti64x4_epi64::<1>(high),
            ];
            for (digest, quarter) in digests[i..].iter_mut().step_by(4).zip(quarters) {
                // SAFETY: writes the 32 bytes that the reference points to.
                unsafe { _mm256_storeu_si256(digest.as_mut_ptr().cast(), quarter) }
            }
        }
        digests
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load(lane: &Lane) -> __m512i {
        // SAFETY: reads the 64 bytes that the reference points to.
        unsafe { _mm512_loadu_epi32(lane.as_ptr().cast()) }
    }

    /// Within each quarter, word i of row j becomes word j of row i.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn transposed([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
        let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (next_low, next_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(low, next_low),
            _mm512_unpackhi_epi64(low, next_low),
            _mm512_unpacklo_epi64(high, next_high),
            _mm512_unpackhi_epi64(high, next_high),
        ]
    }

    /// A word's highest byte is written first.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn swapped(words: __m512i) -> __m512i {
        _mm512_shuffle_epi8(words, _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203))
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

        pub(super) fn digests(self, _: &[Lane; 8]) -> [[u8; 32]; LANES] {
            match self {}
        }
    }
}

/// The fractional parts of the square roots of the first 8 primes.
const START: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// The fractional parts of the cube roots of the first 64 primes.
#[cfg(target_arch = "x86_64")]
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
