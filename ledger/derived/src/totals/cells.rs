//! Files of cells, and of the samples behind them: written in their order, read, merged.
//!
//! Samples are what a cell was folded from, one after the other in the order of the cells, and within
//! a cell by time. So a cell that something cuts is read sample by sample, and nothing else is.
//!
//! Invariant: a cell and its samples say the same, in number and in value.

use super::control::Sum;
use super::error::TotalsError;
use super::names::{CellKey, KeyNames, KeyReader};
use super::part::{GROUP, MEMORY, Open, Part, with_dictionaries, writer, writer_of_pages};
use super::schema::{KEY, cells_schema, samples_schema};
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Decimal128Array, Decimal128Builder, Int32Builder, Int64Builder,
    RecordBatch, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use ledger::Location;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelection, RowSelector};
use schemas::time::Day;
use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Cells that are decoded at once.
const BATCH: usize = 16_384;

/// A stretch of time of one kind of usage: a day, or a month, which is known by its first day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub day: Day,
    pub key: CellKey,
    pub sum: Sum,
}

/// When something was used, and how much, in units of 10^-9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub micros: i64,
    pub value: i128,
}

/// Writes cells in their order, a row group at a time.
pub(super) struct CellsWriter {
    writer: ArrowWriter<Vec<u8>>,
    days: Int32Builder,
    texts: [StringBuilder; KEY.len()],
    events: Int64Builder,
    values: Decimal128Builder,
    held: usize,
    written: u64,
}

impl CellsWriter {
    pub fn new() -> Self {
        Self {
            writer: writer(cells_schema()),
            days: Int32Builder::new(),
            texts: Default::default(),
            events: Int64Builder::new(),
            values: Decimal128Builder::new().with_data_type(DataType::Decimal128(38, 9)),
            held: 0,
            written: 0,
        }
    }

    pub fn push(&mut self, names: &KeyNames, cell: &Cell) {
        self.days.append_value(cell.day.number());
        for (builder, text) in self.texts.iter_mut().zip(names.texts(cell.key)) {
            builder.append_option(text);
        }
        self.events.append_value(cell.sum.events);
        self.values.append_value(cell.sum.value);
        self.held += 1;
        if self.held == GROUP {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.days.finish())];
        columns.extend(self.texts.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef));
        columns.push(Arc::new(self.events.finish()));
        columns.push(Arc::new(self.values.finish()));
        let rows =
            RecordBatch::try_new(cells_schema(), columns).expect("the columns are those of the schema");
        self.writer.write(&rows).expect(MEMORY);
        self.written += rows.num_rows() as u64;
        self.held = 0;
    }

    pub fn finish(mut self) -> (Vec<u8>, u64) {
        if self.held > 0 {
            self.flush();
        }
        (self.writer.into_inner().expect(MEMORY), self.written)
    }
}

/// Writes samples in the order of their cells.
pub(super) struct SamplesWriter {
    writer: ArrowWriter<Vec<u8>>,
    held: Vec<Sample>,
    written: u64,
}

/// The largest value, in units of 10^-9, that the column of 18 digits holds.
const SHORT: i128 = 999_999_999_999_999_999;

impl SamplesWriter {
    pub fn new() -> Self {
        Self { writer: writer_of_pages(samples_schema()), held: Vec::new(), written: 0 }
    }

    /// Takes the samples of the next cell, by time.
    pub fn push(&mut self, samples: &[Sample]) {
        self.held.extend_from_slice(samples);
        if self.held.len() >= GROUP {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let is_short = |sample: &&Sample| sample.value.abs() <= SHORT;
        let schema = samples_schema();
        let times: TimestampMicrosecondArray = self.held.iter().map(|sample| Some(sample.micros)).collect();
        let short: Decimal128Array =
            self.held.iter().map(|sample| Some(sample).filter(is_short).map(|sample| sample.value)).collect();
        let long = |sample: &Sample| (!is_short(&sample)).then_some(sample.value);
        let long: Decimal128Array = self.held.iter().map(long).collect();
        let typed = |values: Decimal128Array, nth: usize| {
            Arc::new(values.with_data_type(schema.field(nth).data_type().clone())) as ArrayRef
        };
        let times = times.with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![Arc::new(times), typed(short, 1), typed(long, 2)];
        let rows =
            RecordBatch::try_new(schema.clone(), columns).expect("the columns are those of the schema");
        self.writer.write(&rows).expect(MEMORY);
        self.written += rows.num_rows() as u64;
        self.held.clear();
    }

    pub fn finish(mut self) -> (Vec<u8>, u64) {
        if !self.held.is_empty() {
            self.flush();
        }
        (self.writer.into_inner().expect(MEMORY), self.written)
    }
}

/// Reads the cells of a file in their order.
pub(super) struct CellsReader {
    location: Location,
    reader: ParquetRecordBatchReader,
    keys: KeyReader,
}

impl CellsReader {
    /// Opens a file after its digest was compared; `days` are those that are wanted, and others may
    /// come along.
    ///
    /// # Errors
    /// `Damaged` where it is not what was written.
    pub async fn open(
        folder: &Location,
        part: &Part,
        days: Option<&RangeInclusive<i32>>,
    ) -> Result<Self, TotalsError> {
        let location = folder.join(&part.name);
        let bytes = part.verified(folder).await?;
        let reader = Open::new(bytes, Some(with_dictionaries(&cells_schema()))).and_then(|open| {
            let groups = days.map(|days| open.groups(days));
            open.rows(BATCH, groups)
        });
        let reader = reader.map_err(|error| TotalsError::damaged(&location, error.to_string()))?;
        Ok(Self { location, reader, keys: KeyReader::default() })
    }

    /// Puts the next cells into `cells`, in the place of what was there; none at the end.
    ///
    /// # Errors
    /// `Damaged` where they cannot be read.
    pub fn read(&mut self, names: &mut KeyNames, cells: &mut Vec<Cell>) -> Result<(), TotalsError> {
        cells.clear();
        let next = self.reader.next().transpose();
        let next = next.map_err(|error| TotalsError::damaged(&self.location, error.to_string()))?;
        let Some(batch) = next else { return Ok(()) };
        let keys = self.keys.read(names, &batch, [1, 2, 3, 4, 5]);
        let days = batch.column(0).as_primitive::<Int32Type>().values();
        let events = batch.column(1 + KEY.len()).as_primitive::<Int64Type>().values();
        let values = batch.column(2 + KEY.len()).as_primitive::<Decimal128Type>().values();
        let sums = events.iter().zip(values).map(|(events, value)| Sum { events: *events, value: *value });
        let rows = days.iter().zip(keys).zip(sums);
        cells.extend(rows.map(|((day, key), sum)| Cell { day: Day::from_number(*day), key, sum }));
        Ok(())
    }
}

/// Reads samples of a file, all of them or those of some cells.
pub(super) struct SamplesReader {
    location: Location,
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    row: usize,
}

impl SamplesReader {
    /// Opens a file after its digest was compared. `cells` says of each cell that is wanted how many
    /// samples come before it, and how many it has; nothing for all.
    ///
    /// # Errors
    /// `Damaged` where it is not what was written.
    pub async fn open(
        folder: &Location,
        part: &Part,
        cells: Option<&[(u64, u64)]>,
    ) -> Result<Self, TotalsError> {
        let location = folder.join(&part.name);
        let failed = |detail: String| TotalsError::damaged(&location, detail);
        let number = |rows: u64| usize::try_from(rows).expect("a segment's samples fit in memory");
        let bytes = part.verified(folder).await?;
        let open = Open::new(bytes, None).map_err(|error| failed(error.to_string()))?;
        let reader = match cells {
            None => open.rows(BATCH, None),
            Some(cells) => {
                let mut selectors = Vec::new();
                let mut next = 0;
                for (before, events) in cells {
                    let skipped =
                        before.checked_sub(next).ok_or_else(|| failed("its cells overlap".to_owned()))?;
                    selectors.push(RowSelector::skip(number(skipped)));
                    selectors.push(RowSelector::select(number(*events)));
                    next = before + events;
                }
                let rest =
                    part.rows.checked_sub(next).ok_or_else(|| failed("it lacks samples".to_owned()))?;
                selectors.push(RowSelector::skip(number(rest)));
                open.selected(BATCH, RowSelection::from(selectors))
            }
        };
        let reader = reader.map_err(|error| failed(error.to_string()))?;
        Ok(Self { location, reader, batch: None, row: 0 })
    }

    /// Adds the samples of the next cell to `samples`.
    ///
    /// # Errors
    /// `Damaged` where they do not add up to the cell.
    pub fn read(&mut self, cell: Sum, samples: &mut Vec<Sample>) -> Result<(), TotalsError> {
        let mut sum = Sum::default();
        while sum.events < cell.events {
            if self.batch.as_ref().is_none_or(|batch| self.row == batch.num_rows()) {
                let next = self.reader.next().transpose();
                let next = next.map_err(|error| TotalsError::damaged(&self.location, error.to_string()))?;
                self.row = 0;
                self.batch = next;
            }
            let Some(batch) = &self.batch else {
                return Err(TotalsError::damaged(&self.location, "it lacks samples"));
            };
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            let short = batch.column(1).as_primitive::<Decimal128Type>();
            let long = batch.column(2).as_primitive::<Decimal128Type>();
            while sum.events < cell.events && self.row < batch.num_rows() {
                let values = if short.is_valid(self.row) { short } else { long };
                let sample = Sample { micros: times.value(self.row), value: values.value(self.row) };
                sum.add(Sum { events: 1, value: sample.value });
                samples.push(sample);
                self.row += 1;
            }
        }
        if sum != cell {
            let detail = format!("samples that add up to {sum:?} are those of a cell of {cell:?}");
            return Err(TotalsError::damaged(&self.location, detail));
        }
        Ok(())
    }
}

/// The cells of a file, and the one that is next.
struct Head {
    cells: CellsReader,
    samples: Option<SamplesReader>,
    read: Vec<Cell>,
    next: usize,
}

impl Head {
    fn cell(&self) -> Option<Cell> {
        self.read.get(self.next).copied()
    }

    fn advance(&mut self, names: &mut KeyNames) -> Result<(), TotalsError> {
        self.next += 1;
        if self.next >= self.read.len() {
            self.cells.read(names, &mut self.read)?;
            self.next = 0;
        }
        Ok(())
    }
}

/// The bytes of a file, and its rows.
pub(super) type Written = (Vec<u8>, u64);

/// The cells of some files as those of one, and their samples where they have some. Of equal cells
/// the samples of an earlier file come first among those of one time.
///
/// # Errors
/// `Damaged` where a file is not what was written.
pub(super) async fn merge_cells(
    folder: &Location,
    parts: &[(&Part, Option<&Part>)],
) -> Result<(Written, Written), TotalsError> {
    let mut names = KeyNames::default();
    let mut heads = Vec::new();
    for (cells, samples) in parts {
        let samples = match samples {
            Some(samples) => Some(SamplesReader::open(folder, samples, None).await?),
            None => None,
        };
        let cells = CellsReader::open(folder, cells, None).await?;
        let mut head = Head { cells, samples, read: Vec::new(), next: 0 };
        head.advance(&mut names)?;
        heads.push(head);
    }
    let (mut cells, mut all_samples) = (CellsWriter::new(), SamplesWriter::new());
    let mut last: Option<Cell> = None;
    let mut samples = Vec::new();
    loop {
        let compare = |one: &Cell, other: &Cell| {
            one.day.cmp(&other.day).then_with(|| names.compare(one.key, other.key))
        };
        let next = heads.iter().filter_map(Head::cell).min_by(compare);
        let Some(mut merged) = next else { break };
        if last.is_some_and(|last| compare(&last, &merged) != Ordering::Less) {
            return Err(TotalsError::damaged(folder, "the cells of a segment are not in their order"));
        }
        last = Some(merged);
        merged.sum = Sum::default();
        samples.clear();
        for head in &mut heads {
            let Some(cell) = head.cell().filter(|cell| (cell.day, cell.key) == (merged.day, merged.key))
            else {
                continue;
            };
            merged.sum.add(cell.sum);
            if let Some(reader) = &mut head.samples {
                reader.read(cell.sum, &mut samples)?;
            }
            head.advance(&mut names)?;
        }
        samples.sort_by_key(|sample: &Sample| sample.micros);
        all_samples.push(&samples);
        cells.push(&names, &merged);
    }
    Ok((cells.finish(), all_samples.finish()))
}
