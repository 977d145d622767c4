//! Rows into cells, repeats and suspects, a commit at a time.
//!
//! It is told of each row whether its id was there before; it looks nothing up.
//!
//! Invariant: each usage row is in exactly one of these: a cell, the repeats, the corrections, the
//! crossing rows.

use super::control::{Control, Sum};
use super::rows::UsageRows;
use super::schema::{KEY, SUSPECT, suspects_schema};
use super::segment::{
    Cell, CellsWriter, Files, Repeat, repeats_batch, spans_batch, suspects_file, write_rows,
};
use crate::ids::Class;
use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const DAY_MICROS: i64 = 86_400_000_000;

/// The day of an instant, counted from 1970, in UTC.
pub(super) fn day_of(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(DAY_MICROS)).expect("times have four digits in their year")
}

/// What is known of a row's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It is the first of its id.
    New,
    /// It is the first of its id, and some correction named it before it came.
    Awaited,
    /// Its shard had the id before, in the row of this place, with this content's beginning.
    Before { class: Class, first: u64, content: u64 },
    /// Another shard has the id.
    Elsewhere,
}

/// Texts, each with a number; 0 is no text.
#[derive(Default)]
struct Names {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
    /// The last dictionary that was read, and the numbers of its texts.
    last: Option<(ArrayRef, Vec<u32>)>,
}

impl Names {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        let number =
            u32::try_from(self.texts.len()).expect("a segment is folded in pieces of a few million rows");
        self.numbers.insert(text, number);
        number
    }

    /// The numbers of a dictionary's texts.
    fn read(&mut self, values: &ArrayRef) {
        if self.last.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, values)) {
            return;
        }
        let texts = values.as_string::<i32>();
        let numbers = texts.iter().map(|text| text.map_or(0, |text| self.number(text))).collect();
        self.last = Some((values.clone(), numbers));
    }

    fn of(&self, keys: &arrow::array::Int32Array, row: usize) -> u32 {
        if keys.is_null(row) {
            return 0;
        }
        let (_, numbers) = self.last.as_ref().expect("a dictionary was read");
        numbers[usize::try_from(keys.value(row)).expect("keys are not negative")]
    }

    fn text(&self, number: u32) -> Option<&str> {
        let place = usize::try_from(number).expect("32 bits fit").checked_sub(1)?;
        Some(&self.texts[place])
    }

    /// The place of each number in the order of the texts; no text comes first.
    fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..=u32::try_from(self.texts.len()).expect("they are numbered")).collect();
        order.sort_unstable_by_key(|number| self.text(*number));
        let mut ranks = vec![0; order.len()];
        for (rank, number) in (0..).zip(order) {
            ranks[usize::try_from(number).expect("32 bits fit")] = rank;
        }
        ranks
    }
}

/// The day and the numbers of the texts of a cell.
type Key = (i32, [u32; KEY.len()]);

/// What rows of one shard were folded into.
pub(super) struct Fold {
    shard: u32,
    names: [Names; KEY.len()],
    cells: HashMap<Key, Sum>,
    control: Control,
    repeats: Vec<Repeat>,
    suspects: Vec<RecordBatch>,
    /// How many usage rows of a day a commit has.
    spans: BTreeMap<(u64, i32), u64>,
}

impl Fold {
    pub fn new(shard: u32) -> Self {
        Self {
            shard,
            names: Default::default(),
            cells: HashMap::new(),
            control: Control::default(),
            repeats: Vec::new(),
            suspects: Vec::new(),
            spans: BTreeMap::new(),
        }
    }

    /// Counts rows that are no usage.
    pub fn others(&mut self, rejected: u64, gaps: u64) {
        self.control.rejected += rejected;
        self.control.gaps += gaps;
        self.control.rows += rejected + gaps;
    }

    /// Takes in rows of a commit; `known` says of each what is known of its id.
    pub fn commit(&mut self, version: u64, rows: &UsageRows, known: &[Known]) {
        assert_eq!(rows.len(), known.len(), "of each row something is known");
        let columns = KEY.map(|name| rows.texts(name));
        for (names, column) in self.names.iter_mut().zip(columns) {
            names.read(column.values());
        }
        let (micros, values, numbers) = (rows.micros(), rows.values(), rows.numbers().values());
        // By meter: all, plain, repeats, corrections, crossing.
        let mut by_meter: BTreeMap<u32, [Sum; 5]> = BTreeMap::new();
        let mut by_day: BTreeMap<(i32, u32), Sum> = BTreeMap::new();
        let mut suspects: Vec<(u32, bool, bool)> = Vec::new();
        for (row, known) in known.iter().enumerate() {
            let day = day_of(micros[row]);
            let sum = Sum { events: 1, value: values[row] };
            let mut key = [0; KEY.len()];
            for ((key, names), column) in key.iter_mut().zip(&self.names).zip(columns) {
                *key = names.of(column.keys(), row);
            }
            let meter = key[0];
            let place = u32::try_from(row).expect("a commit has fewer than 2^32 rows");
            let correction = rows.is_correction(row);
            let kind = match known {
                Known::Before { class, first, content } => {
                    let conflict = *class == Class::Conflict;
                    let number = numbers[row];
                    self.repeats.push(Repeat {
                        version,
                        row: number,
                        day,
                        conflict,
                        first: *first,
                        content: *content,
                    });
                    match conflict {
                        true => {
                            self.control.conflicts += 1;
                            suspects.push((place, true, false));
                        }
                        false => self.control.duplicates += 1,
                    }
                    2
                }
                // A correction too: a run reads rows where shards share an id.
                Known::Elsewhere => {
                    suspects.push((place, false, false));
                    4
                }
                _ if correction => {
                    suspects.push((place, false, false));
                    3
                }
                Known::New | Known::Awaited => {
                    if *known == Known::Awaited {
                        suspects.push((place, false, true));
                    }
                    self.cells.entry((day, key)).or_default().add(sum);
                    by_day.entry((day, meter)).or_default().add(sum);
                    1
                }
            };
            let of_meter = by_meter.entry(meter).or_default();
            of_meter[0].add(sum);
            of_meter[kind].add(sum);
            *self.spans.entry((version, day)).or_default() += 1;
        }
        self.control.rows += rows.len() as u64;
        self.control.usage += rows.len() as u64;
        let meter = |number: u32| self.names[0].text(number).unwrap_or_default().to_owned();
        for (number, [usage, plain, repeats, corrections, crossing]) in by_meter {
            let control = self.control.meters.entry(meter(number)).or_default();
            control.usage.add(usage);
            control.plain.add(plain);
            control.repeats.add(repeats);
            control.corrections.add(corrections);
            control.crossing.add(crossing);
        }
        for ((day, number), sum) in by_day {
            self.control.days.entry(day).or_default().entry(meter(number)).or_default().add(sum);
        }
        if !suspects.is_empty() {
            let places = UInt32Array::from_iter_values(suspects.iter().map(|(place, ..)| *place));
            let settled = suspects.iter().map(|(_, settled, _)| *settled).collect();
            let plain = suspects.iter().map(|(.., plain)| *plain).collect();
            self.suspects.push(suspects_of(rows, &places, self.shard, settled, plain));
        }
    }

    /// Takes in the first rows of ids, of any shard, because of rows that came later.
    pub fn firsts(&mut self, shard: u32, rows: &UsageRows) {
        let count = u32::try_from(rows.len()).expect("a commit has fewer than 2^32 rows");
        let places = UInt32Array::from_iter_values(0..count);
        let plain = (0..rows.len()).map(|row| !rows.is_correction(row)).collect();
        self.suspects.push(suspects_of(rows, &places, shard, vec![false; rows.len()], plain));
    }

    /// The files of what was folded.
    pub fn finish(self) -> Files {
        let Self { names, cells, control, repeats, suspects, spans, .. } = self;
        let ranks = names.each_ref().map(Names::ranks);
        let rank = |key: &[u32; KEY.len()]| {
            let mut ranked = [0; KEY.len()];
            for ((ranked, ranks), number) in ranked.iter_mut().zip(&ranks).zip(key) {
                *ranked = ranks[usize::try_from(*number).expect("32 bits fit")];
            }
            ranked
        };
        let mut sorted: Vec<(Key, [u32; KEY.len()], Sum)> =
            cells.into_iter().map(|((day, key), sum)| ((day, rank(&key)), key, sum)).collect();
        sorted.sort_unstable_by_key(|(order, ..)| *order);
        let mut writer = CellsWriter::new();
        for ((day, _), key, sum) in &sorted {
            let mut texts = [None; KEY.len()];
            for ((text, names), number) in texts.iter_mut().zip(&names).zip(key) {
                *text = names.text(*number);
            }
            writer.push(&Cell { day: *day, texts, sum: *sum });
        }
        let spans: Vec<(u64, i32, u64)> =
            spans.into_iter().map(|((version, day), rows)| (version, day, rows)).collect();
        Files {
            cells: writer.finish(),
            repeats: write_rows(&repeats_batch(&repeats)),
            suspects: suspects_file(&suspects),
            spans: write_rows(&spans_batch(&spans)),
            control,
        }
    }
}

/// Some of the rows as suspects.
fn suspects_of(
    rows: &UsageRows,
    places: &UInt32Array,
    shard: u32,
    settled: Vec<bool>,
    plain: Vec<bool>,
) -> RecordBatch {
    let schema = suspects_schema();
    let column = |(index, _): (usize, &&str)| {
        let taken = take(rows.0.column(index), places, None).expect("the places are in the batch");
        let wanted: &DataType = schema.field(index).data_type();
        cast(&taken, wanted).expect("a dictionary of texts is a column of texts")
    };
    let mut columns: Vec<ArrayRef> = SUSPECT.iter().enumerate().map(column).collect();
    columns.push(Arc::new(Int64Array::from_value(shard.into(), places.len())));
    columns.push(Arc::new(BooleanArray::from(settled)));
    columns.push(Arc::new(BooleanArray::from(plain)));
    RecordBatch::try_new(schema, columns).expect("the columns are those of the schema")
}
