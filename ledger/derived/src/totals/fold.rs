//! Rows into cells, repeats and suspects, a commit at a time.
//!
//! It is told of each row whether its id was there before; it looks nothing up.
//!
//! Invariant: each usage row is in exactly one of these: a cell, the repeats, the corrections, the
//! crossing rows.

use super::cells::{Cell, CellsWriter, Sample, SamplesWriter};
use super::control::{Control, MeterControl, Sum};
use super::names::{CellKey, KeyNames, KeyReader, Ranks};
use super::numbers::Numbers;
use super::part::write_rows;
use super::rows::UsageRows;
use super::schema::{KEY, SUSPECT, suspects_schema};
use super::segment::{Files, Repeat, repeats_batch, spans_batch};
use crate::ids::Class;
use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use hashbrown::HashMap;
use schemas::time::Day;
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// How a usage row counts in the control totals.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    Repeat,
    Correction,
    Crossing,
}

/// A plain row: its cell, when, and how much.
struct Plain {
    cell: u32,
    micros: i64,
    value: i128,
}

/// What rows of one shard were folded into.
pub(super) struct Fold {
    shard: u32,
    names: KeyNames,
    keys: KeyReader,
    /// The number of each cell, in the order in which they came.
    cells: HashMap<(Day, CellKey), u32>,
    /// By the number of the cell.
    sums: Vec<((Day, CellKey), Sum)>,
    plain: Vec<Plain>,
    /// All, plain, repeats, corrections and crossing rows, by the number of the meter.
    by_meter: Vec<[Sum; 5]>,
    by_day: HashMap<(Day, u32), Sum>,
    control: Control,
    repeats: Vec<Repeat>,
    suspects: Vec<RecordBatch>,
    /// How many usage rows of a day a commit has.
    spans: BTreeMap<(u64, Day), u64>,
    numbers: Numbers,
}

impl Fold {
    pub fn new(shard: u32) -> Self {
        Self {
            shard,
            names: KeyNames::default(),
            keys: KeyReader::default(),
            cells: HashMap::new(),
            sums: Vec::new(),
            plain: Vec::new(),
            by_meter: Vec::new(),
            by_day: HashMap::new(),
            control: Control::default(),
            repeats: Vec::new(),
            suspects: Vec::new(),
            spans: BTreeMap::new(),
            numbers: Numbers::default(),
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
        let keys = self.keys.read(&mut self.names, &rows.0, KEY.map(UsageRows::place_of));
        let (micros, values, numbers) = (rows.micros(), rows.values(), rows.numbers().values());
        let corrections = rows.corrections();
        let mut suspects: Vec<(u32, bool, bool)> = Vec::new();
        // Rows of one day mostly follow each other.
        let mut stretch: Option<(Day, u64)> = None;
        for (row, (known, key)) in known.iter().zip(keys).enumerate() {
            let day = Day::of(micros[row]);
            let sum = Sum { events: 1, value: values[row] };
            let place = u32::try_from(row).expect("a commit has fewer than 2^32 rows");
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
                    Kind::Repeat
                }
                // A correction too: whether it repeats an id is not for its shard to say.
                Known::Elsewhere => {
                    suspects.push((place, false, false));
                    Kind::Crossing
                }
                _ if corrections.is_valid(row) => {
                    suspects.push((place, false, false));
                    Kind::Correction
                }
                Known::New | Known::Awaited => {
                    if *known == Known::Awaited {
                        suspects.push((place, false, true));
                    }
                    self.add_plain((day, key), micros[row], sum);
                    self.by_day.entry((day, key.meter())).or_default().add(sum);
                    Kind::Plain
                }
            };
            let of_meter = self.of_meter(key.meter());
            of_meter[0].add(sum);
            of_meter[match kind {
                Kind::Plain => 1,
                Kind::Repeat => 2,
                Kind::Correction => 3,
                Kind::Crossing => 4,
            }]
            .add(sum);
            match &mut stretch {
                Some((of, rows)) if *of == day => *rows += 1,
                _ => {
                    let done = stretch.replace((day, 1));
                    self.span(version, done);
                }
            }
        }
        self.span(version, stretch);
        self.control.rows += rows.len() as u64;
        self.control.usage += rows.len() as u64;
        self.control.numbered += self.numbers.commit(self.shard, rows);
        if !suspects.is_empty() {
            let places = UInt32Array::from_iter_values(suspects.iter().map(|(place, ..)| *place));
            let settled = suspects.iter().map(|(_, settled, _)| *settled).collect();
            let plain = suspects.iter().map(|(.., plain)| *plain).collect();
            self.suspects.push(suspects_of(rows, &places, self.shard, settled, plain));
        }
    }

    fn of_meter(&mut self, meter: u32) -> &mut [Sum; 5] {
        let place = usize::try_from(meter).expect("32 bits fit");
        if self.by_meter.len() <= place {
            self.by_meter.resize(place + 1, Default::default());
        }
        &mut self.by_meter[place]
    }

    fn add_plain(&mut self, cell: (Day, CellKey), micros: i64, sum: Sum) {
        let next = u32::try_from(self.sums.len()).expect("a segment has fewer than 2^32 cells");
        let number = *self.cells.entry(cell).or_insert(next);
        if number == next {
            self.sums.push((cell, Sum::default()));
        }
        self.sums[usize::try_from(number).expect("32 bits fit")].1.add(sum);
        self.plain.push(Plain { cell: number, micros, value: sum.value });
    }

    fn span(&mut self, version: u64, stretch: Option<(Day, u64)>) {
        if let Some((day, rows)) = stretch {
            *self.spans.entry((version, day)).or_default() += rows;
        }
    }

    /// The files of what was folded, and the suspects.
    pub fn finish(self) -> (Files, Vec<RecordBatch>) {
        let Self { names, sums, plain, by_meter, by_day, mut control, .. } = self;
        let Self { repeats, suspects, spans, numbers, .. } = self;
        for (number, [usage, plain, repeats, corrections, crossing]) in (0..).zip(by_meter) {
            if usage.events > 0 {
                let of_meter = control.meters.entry(names.meter(number).to_owned()).or_default();
                *of_meter = MeterControl { usage, plain, repeats, corrections, crossing };
            }
        }
        for ((day, number), sum) in by_day {
            let of_day = control.days.entry(day.number()).or_default();
            of_day.insert(names.meter(number).to_owned(), sum);
        }
        let ranks = names.ranks();
        let order = in_order(&sums, &ranks);
        let mut samples = SamplesWriter::new();
        let mut cells = CellsWriter::new();
        let mut months: HashMap<(Day, CellKey), Sum> = HashMap::new();
        let (mut first_of_month, mut of) = (None, None);
        let mut by_cell = ByCell::of(&plain, &sums);
        drop(plain);
        for number in order {
            let ((day, key), sum) = sums[usize::try_from(number).expect("32 bits fit")];
            cells.push(&names, &Cell { day, key, sum });
            samples.push(by_cell.samples(number));
            if of != Some(day) {
                (of, first_of_month) = (Some(day), Some(day.first_of_month()));
            }
            months.entry((first_of_month.unwrap_or(day), key)).or_default().add(sum);
        }
        let months: Vec<((Day, CellKey), Sum)> = months.into_iter().collect();
        let mut of_months = CellsWriter::new();
        for number in in_order(&months, &ranks) {
            let ((day, key), sum) = months[usize::try_from(number).expect("32 bits fit")];
            of_months.push(&names, &Cell { day, key, sum });
        }
        let spans: Vec<(u64, Day, u64)> =
            spans.into_iter().map(|((version, day), rows)| (version, day, rows)).collect();
        let files = Files {
            cells: cells.finish(),
            samples: samples.finish(),
            months: of_months.finish(),
            repeats: write_rows(&repeats_batch(&repeats)),
            spans: write_rows(&spans_batch(&spans)),
            numbers: numbers.finish(),
            control,
        };
        (files, suspects)
    }
}

/// The numbers of cells in the order of their keys.
fn in_order(cells: &[((Day, CellKey), Sum)], ranks: &Ranks) -> Vec<u32> {
    let keyed = (0_u32..).zip(cells).map(|(number, ((day, key), _))| ((*day, ranks.of(*key)), number));
    let mut keyed: Vec<((Day, [u32; KEY.len()]), u32)> = keyed.collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, number)| number).collect()
}

/// Plain rows, those of one cell together.
struct ByCell {
    /// Where those of each cell begin, by its number; and where the last end.
    starts: Vec<usize>,
    samples: Vec<Sample>,
}

impl ByCell {
    fn of(plain: &[Plain], cells: &[((Day, CellKey), Sum)]) -> Self {
        let mut starts = Vec::with_capacity(cells.len() + 1);
        let mut before = 0;
        for (_, sum) in cells {
            starts.push(before);
            before += usize::try_from(sum.events).expect("events are counted up from 0");
        }
        let mut next = starts.clone();
        starts.push(before);
        let mut samples = vec![Sample { micros: 0, value: 0 }; plain.len()];
        for Plain { cell, micros, value } in plain {
            let place = &mut next[usize::try_from(*cell).expect("32 bits fit")];
            samples[*place] = Sample { micros: *micros, value: *value };
            *place += 1;
        }
        Self { starts, samples }
    }

    /// Those of a cell, by time; those of one time as they came.
    fn samples(&mut self, cell: u32) -> &[Sample] {
        let cell = usize::try_from(cell).expect("32 bits fit");
        let samples = &mut self.samples[self.starts[cell]..self.starts[cell + 1]];
        samples.sort_by_key(|sample| sample.micros);
        samples
    }
}

/// The first rows of ids, of any shard, as suspects, because of rows that came later.
pub(super) fn firsts(shard: u32, rows: &UsageRows) -> RecordBatch {
    let count = u32::try_from(rows.len()).expect("a commit has fewer than 2^32 rows");
    let places = UInt32Array::from_iter_values(0..count);
    let corrections = rows.corrections();
    let plain = (0..rows.len()).map(|row| !corrections.is_valid(row)).collect();
    suspects_of(rows, &places, shard, vec![false; rows.len()], plain)
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
