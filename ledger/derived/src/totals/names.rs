//! The texts that cells are told apart by, each with a number, so that rows are compared and filed by
//! numbers.
//!
//! Invariant: equal texts of a column have equal numbers, and no text has the number 0.

use super::schema::KEY;
use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::Int32Type;
use hashbrown::HashMap;
use std::cmp::Ordering;
use std::sync::Arc;

/// The texts of one column.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Names {
    pub fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        let number = u32::try_from(self.texts.len()).expect("fewer than 2^32 texts");
        self.numbers.insert(text, number);
        number
    }

    pub fn text(&self, number: u32) -> Option<&str> {
        let place = usize::try_from(number).expect("32 bits fit").checked_sub(1)?;
        Some(&self.texts[place])
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// The place of each number in the order of the texts; no text comes first.
    pub fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..=u32::try_from(self.texts.len()).expect("they are numbered")).collect();
        order.sort_unstable_by_key(|number| self.text(*number));
        let mut ranks = vec![0; order.len()];
        for (rank, number) in (0..).zip(order) {
            ranks[usize::try_from(number).expect("32 bits fit")] = rank;
        }
        ranks
    }
}

/// What a cell is a cell of, beside its stretch of time, as numbers of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CellKey([u32; KEY.len()]);

impl CellKey {
    pub fn meter(self) -> u32 {
        self.0[0]
    }

    pub fn provider(self) -> u32 {
        self.0[1]
    }

    pub fn subject(self) -> u32 {
        self.0[2]
    }

    pub fn dimensions(self) -> u32 {
        self.0[3]
    }

    /// The same of everybody, everywhere.
    pub fn without_subject(self) -> Self {
        let [meter, provider, _, dimensions, _] = self.0;
        Self([meter, provider, 0, dimensions, 0])
    }
}

/// The texts of all columns of a key.
#[derive(Default)]
pub struct KeyNames([Names; KEY.len()]);

impl KeyNames {
    /// The key of these texts, in the order of the columns: meter, provider, subject, dimensions,
    /// location.
    pub fn key(&mut self, texts: [Option<&str>; KEY.len()]) -> CellKey {
        let mut key = CellKey::default();
        for ((number, names), text) in key.0.iter_mut().zip(&mut self.0).zip(texts) {
            *number = text.map_or(0, |text| names.number(text));
        }
        key
    }

    pub fn meter(&self, number: u32) -> &str {
        self.0[0].text(number).unwrap_or_default()
    }

    pub fn provider(&self, number: u32) -> Option<&str> {
        self.0[1].text(number)
    }

    pub fn subject(&self, number: u32) -> &str {
        self.0[2].text(number).unwrap_or_default()
    }

    pub fn dimensions(&self, number: u32) -> Option<&str> {
        self.0[3].text(number)
    }

    pub(super) fn texts(&self, key: CellKey) -> [Option<&str>; KEY.len()] {
        let mut texts = [None; KEY.len()];
        for ((text, names), number) in texts.iter_mut().zip(&self.0).zip(key.0) {
            *text = names.text(number);
        }
        texts
    }

    /// The order of two keys by their texts.
    pub(super) fn compare(&self, one: CellKey, other: CellKey) -> Ordering {
        let columns = self.0.iter().zip(one.0.iter().zip(&other.0));
        columns
            .filter(|(_, (one, other))| one != other)
            .map(|(names, (one, other))| names.text(*one).cmp(&names.text(*other)))
            .next()
            .unwrap_or(Ordering::Equal)
    }

    /// Gives of a key its place in the order of the texts, column by column.
    pub(super) fn ranks(&self) -> Ranks {
        Ranks(self.0.each_ref().map(Names::ranks))
    }
}

/// The places of texts in their order.
pub(super) struct Ranks([Vec<u32>; KEY.len()]);

impl Ranks {
    pub fn of(&self, key: CellKey) -> [u32; KEY.len()] {
        let mut ranked = [0; KEY.len()];
        for ((ranked, ranks), number) in ranked.iter_mut().zip(&self.0).zip(key.0) {
            *ranked = ranks[usize::try_from(number).expect("32 bits fit")];
        }
        ranked
    }
}

/// Reads the keys of batches whose texts are dictionaries. It remembers the last dictionary of each
/// column, which is that of many batches.
#[derive(Default)]
pub(super) struct KeyReader([Option<(ArrayRef, Vec<u32>)>; KEY.len()]);

impl KeyReader {
    /// The keys of the rows, from the columns at these places.
    pub fn read(
        &mut self,
        names: &mut KeyNames,
        batch: &RecordBatch,
        columns: [usize; KEY.len()],
    ) -> Vec<CellKey> {
        let mut keys = vec![CellKey::default(); batch.num_rows()];
        for (nth, ((names, known), column)) in names.0.iter_mut().zip(&mut self.0).zip(columns).enumerate() {
            let column = batch.column(column).as_dictionary::<Int32Type>();
            if !known.as_ref().is_some_and(|(values, _)| Arc::ptr_eq(values, column.values())) {
                let texts = column.values().as_string::<i32>();
                let numbers = texts.iter().map(|text| text.map_or(0, |text| names.number(text))).collect();
                *known = Some((column.values().clone(), numbers));
            }
            let (_, numbers) = known.as_ref().expect("a dictionary was read");
            for (key, place) in keys.iter_mut().zip(column.keys()) {
                if let Some(place) = place {
                    key.0[nth] = numbers[usize::try_from(place).expect("keys are not negative")];
                }
            }
        }
        keys
    }
}
