//! Columns whose values repeat: every distinct value once, and per row the number of its value.
//!
//! Sources, meters, subjects and dimensions are few beside events. A row then costs a look into a
//! small table instead of a copy, and the column needs no second dictionary when it is written.
//!
//! Invariant: numbers are given in the order in which values first come, from 0 and without holes.

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, StringArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::Int32Type;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

/// Stands for NULL among the numbers of values.
const NONE: i32 = -1;

/// A column of such values; rows that were not set are NULL.
#[derive(Default)]
pub struct DictionaryBuilder {
    keys: Vec<i32>,
    distinct: Interner,
}

impl DictionaryBuilder {
    /// Sets the value of `row`, which is beyond every row that was set before. Gives the value's
    /// number, and whether it is new.
    pub fn set(&mut self, row: usize, value: &[u8]) -> (usize, bool) {
        let known = self.distinct.len();
        let number = self.distinct.number(value);
        if self.keys.len() < row {
            self.keys.resize(row, NONE);
        }
        self.keys.push(key(number));
        (number, number == known)
    }

    pub fn reserve(&mut self, rows: usize) {
        self.keys.reserve(rows);
    }

    pub fn get(&self, row: usize) -> Option<usize> {
        self.keys.get(row).and_then(|key| usize::try_from(*key).ok())
    }

    pub fn distinct(&self) -> &Interner {
        &self.distinct
    }

    /// The column of `rows` rows; `words` are the values in the order of their numbers.
    pub fn into_column(mut self, rows: usize, words: Option<StringArray>) -> ArrayRef {
        self.keys.resize(rows, NONE);
        column(self.keys, words.unwrap_or_else(|| self.distinct.texts()))
    }
}

/// A column of texts that rows have by number: each text once however many numbers it has, and none
/// that no row has.
pub fn once_each(rows: impl Iterator<Item = usize>, texts: &[&str]) -> ArrayRef {
    let mut distinct = Interner::default();
    let mut known = vec![None; texts.len()];
    let keys = rows
        .map(|number| *known[number].get_or_insert_with(|| key(distinct.number(texts[number].as_bytes()))))
        .collect();
    column(keys, distinct.texts())
}

/// A dictionary column; `keys` may have [`NONE`].
fn column(keys: Vec<i32>, words: StringArray) -> ArrayRef {
    let nulls = keys
        .contains(&NONE)
        .then(|| NullBuffer::new(BooleanBuffer::collect_bool(keys.len(), |row| keys[row] != NONE)));
    let keys = Int32Array::new(keys.into(), nulls);
    Arc::new(
        DictionaryArray::<Int32Type>::try_new(keys, Arc::new(words))
            .expect("every key is the number of a word"),
    )
}

fn key(number: usize) -> i32 {
    i32::try_from(number).expect("a batch has fewer than 2^31 rows")
}

/// Values, each once.
pub struct Interner {
    bytes: Vec<u8>,
    /// Where each value stands.
    spans: Vec<(u32, u32)>,
    /// By a cheap hash of a value, where it was last found: its number + 1, or 0; as large as
    /// `recent_len` says. Only a guess: whoever chooses the values can make it fail, and then pays
    /// no more than the keyed hash below.
    recent: Vec<u32>,
    /// An open table, of a power of two: number + 1, or 0; at most half full.
    slots: Vec<u32>,
    hash: RandomState,
}

const FIRST_SLOTS: usize = 64;
const MOST_RECENT: usize = 1 << 16;

impl Default for Interner {
    fn default() -> Self {
        let (recent, slots) = (vec![0; recent_len(FIRST_SLOTS)], vec![0; FIRST_SLOTS]);
        Self { bytes: Vec::new(), spans: Vec::new(), recent, slots, hash: RandomState::new() }
    }
}

/// At least four times as many as there are values, so that few stand in each other's way, and no
/// more than fit into a fast cache.
fn recent_len(slots: usize) -> usize {
    (2 * slots).min(MOST_RECENT)
}

impl Interner {
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|number| self.value(number))
    }

    fn texts(&self) -> StringArray {
        StringArray::from_iter_values(
            self.iter().map(|word| std::str::from_utf8(word).expect("a column of text is given text")),
        )
    }

    fn value(&self, number: usize) -> &[u8] {
        let (start, end) = self.spans[number];
        &self.bytes[start as usize..end as usize]
    }

    /// The value's number, a new one if it has none yet.
    #[inline(always)]
    fn number(&mut self, value: &[u8]) -> usize {
        let recent = self.recent_slot(value);
        if let Some(number) = known(self.recent[recent])
            && same(self.value(number), value)
        {
            return number;
        }
        self.look_up(value)
    }

    /// Not part of `number`, so that what is nearly always enough stays small.
    #[inline(never)]
    fn look_up(&mut self, value: &[u8]) -> usize {
        let mut slot = self.slot_of(value);
        let number = loop {
            match known(self.slots[slot]) {
                Some(number) if self.value(number) == value => break number,
                Some(_) => slot = (slot + 1) & (self.slots.len() - 1),
                None => {
                    let number = self.len();
                    let start = self.place();
                    self.bytes.extend_from_slice(value);
                    self.spans.push((start, self.place()));
                    self.slots[slot] = one_more(number);
                    if self.len() * 2 > self.slots.len() {
                        self.grow();
                    }
                    break number;
                }
            }
        };
        // The table may be larger now.
        let recent = self.recent_slot(value);
        self.recent[recent] = one_more(number);
        number
    }

    fn place(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("a batch has fewer than 2^32 bytes")
    }

    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 2];
        self.recent = vec![0; recent_len(self.slots.len())];
        for number in 0..self.len() {
            let mut slot = self.slot_of(self.value(number));
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            self.slots[slot] = one_more(number);
        }
    }

    /// By length and the last eight bytes, where names of things differ.
    #[inline]
    fn recent_slot(&self, value: &[u8]) -> usize {
        let four = |chunk: Option<&[u8; 4]>| chunk.map(|bytes| u64::from(u32::from_le_bytes(*bytes)));
        let tail = match (value.last_chunk::<8>(), four(value.first_chunk()), four(value.last_chunk())) {
            (Some(last), ..) => u64::from_le_bytes(*last),
            (None, Some(first), Some(last)) => first | last << 32,
            _ => value.iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte)),
        };
        let mixed = (tail ^ value.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // Only the highest bits depend on every byte. The length is a power of two.
        usize::try_from(mixed >> (64 - self.recent.len().trailing_zeros())).expect("a few bits")
    }

    fn slot_of(&self, value: &[u8]) -> usize {
        let hash = usize::try_from(self.hash.hash_one(value))
            .unwrap_or_else(|_| unreachable!("a usize has 64 bits here"));
        hash & (self.slots.len() - 1)
    }
}

/// Whether they are equal. They nearly always are, and short, so that calling for a comparison
/// takes longer than comparing; two loads that may overlap take no loop, whose length nobody could
/// foretell.
#[inline]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    fn ends<const N: usize>(one: &[u8], other: &[u8]) -> bool {
        (one.first_chunk::<N>() == other.first_chunk::<N>())
            & (one.last_chunk::<N>() == other.last_chunk::<N>())
    }
    one.len() == other.len()
        && match one.len() {
            4..=7 => ends::<4>(one, other),
            8..=16 => ends::<8>(one, other),
            17..=32 => ends::<16>(one, other),
            33..=64 => ends::<32>(one, other),
            _ => one == other,
        }
}

fn known(entry: u32) -> Option<usize> {
    entry.checked_sub(1).map(|number| usize::try_from(number).expect("a usize has 32 bits at least"))
}

fn one_more(number: usize) -> u32 {
    u32::try_from(number + 1).expect("a batch has fewer than 2^31 rows")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray as _;

    #[test]
    fn a_text_of_several_numbers_is_there_once() {
        let column = once_each([3, 1, 3, 2, 1].into_iter(), &["unused", "b", "a", "a"]);
        let column = column.as_dictionary::<Int32Type>();
        assert_eq!(column.values().as_string::<i32>(), &StringArray::from(vec!["a", "b"]));
        assert_eq!(column.keys().values(), &[0, 1, 0, 0, 1]);
    }

    #[test]
    fn values_of_any_length_differ_in_any_byte() {
        for length in 0..80 {
            let value = vec![b'a'; length];
            assert!(same(&value, &value.clone()) && !same(&value, &vec![b'a'; length + 1]), "{length}");
            for place in 0..length {
                let mut other = value.clone();
                other[place] = b'b';
                assert!(!same(&value, &other), "{place} of {length}");
            }
        }
    }

    #[test]
    fn every_value_has_one_number() {
        let mut words = DictionaryBuilder::default();
        // More values than the small table holds, among them the empty one and such that end alike.
        let value = |row: usize| {
            if row.is_multiple_of(7) { String::new() } else { format!("{}-the same end", row % 3001) }
        };
        for row in 0..10_000 {
            let text = value(row);
            let before = words.distinct().len();
            let (number, new) = words.set(row * 2, text.as_bytes());
            assert_eq!(words.distinct().iter().position(|word| word == text.as_bytes()), Some(number));
            assert_eq!(new, number == before);
        }
        assert_eq!(words.get(0), Some(0));
        assert_eq!((words.get(1), words.get(1_000_000)), (None, None));
        let column = words.into_column(20_001, None);
        let column =
            arrow::compute::cast(&column, &arrow::datatypes::DataType::Utf8).expect("a dictionary of text");
        let column: &StringArray = column.as_string();
        for (row, found) in column.iter().enumerate() {
            let expected = (row % 2 == 0 && row < 20_000).then(|| value(row / 2));
            assert_eq!(found, expected.as_deref(), "{row}");
        }
    }
}
