//! The files of a segment: written, merged from those of its parts, checked before they are read.
//!
//! Invariant: the same rows have the same bytes, whether they were folded at once or merged.

use super::block::Block;
use super::control::{Control, Sum};
use super::error::TotalsError;
use super::schema::{KEY, cells_schema, repeats_schema, suspects_schema};
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Decimal128Builder, Int32Array, Int32Builder,
    Int64Array, Int64Builder, RecordBatch, StringBuilder,
};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int32Type, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use ledger::Location;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use schemas::digest::Sha256Digest;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Rows of a row group.
const GROUP: usize = 131_072;
const MEMORY: &str = "writing to memory cannot fail";

/// A file of a segment, as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub bytes: u64,
    pub rows: u64,
    pub sha256: String,
}

/// A segment, as the manifest names it. A file without rows is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    pub level: u32,
    pub index: u64,
    pub cells: Option<Part>,
    pub repeats: Option<Part>,
    pub suspects: Option<Part>,
    pub spans: Option<Part>,
    pub control: Control,
}

impl Segment {
    pub fn block(&self) -> Block {
        Block { level: self.level, index: self.index }
    }

    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        [&self.cells, &self.repeats, &self.suspects, &self.spans].into_iter().flatten()
    }
}

/// What becomes the files of a segment.
pub(super) struct Files {
    pub cells: (Vec<u8>, u64),
    pub repeats: (Vec<u8>, u64),
    pub suspects: (Vec<u8>, u64),
    pub spans: (Vec<u8>, u64),
    pub control: Control,
}

impl Files {
    /// Writes them below `folder`, where only this process writes.
    ///
    /// # Errors
    /// When storage fails, or the control totals do not add up.
    pub async fn write(self, folder: &Location, shard: u32, block: Block) -> Result<Segment, TotalsError> {
        if let Some(fault) = self.control.fault() {
            return Err(TotalsError::damaged(folder, fault));
        }
        let put = async |kind: &str, (bytes, rows): (Vec<u8>, u64)| -> Result<Option<Part>, TotalsError> {
            if rows == 0 {
                return Ok(None);
            }
            let Block { level, index } = block;
            let digest = Sha256Digest::of(&bytes);
            // A name is never used for other bytes.
            let name = format!("{shard}-{level}-{index}-{}.{kind}.parquet", digest.short());
            let length = bytes.len() as u64;
            folder.join(&name).replace(bytes.into()).await?;
            Ok(Some(Part { name, bytes: length, rows, sha256: digest.to_string() }))
        };
        Ok(Segment {
            level: block.level,
            index: block.index,
            cells: put("cells", self.cells).await?,
            repeats: put("repeats", self.repeats).await?,
            suspects: put("suspects", self.suspects).await?,
            spans: put("spans", self.spans).await?,
            control: self.control,
        })
    }
}

/// The files of a block from those of its parts, in their order.
///
/// # Errors
/// When a file is not what was written.
pub(super) async fn merge(folder: &Location, parts: &[Segment]) -> Result<Files, TotalsError> {
    let mut control = Control::default();
    parts.iter().for_each(|part| control.add(&part.control));
    let mut cells = Vec::new();
    let (mut repeats, mut suspects, mut spans) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        if let Some(file) = &part.cells {
            cells.push(CellsReader::open(folder, file).await?);
        }
        for (kept, file) in
            [(&mut repeats, &part.repeats), (&mut suspects, &part.suspects), (&mut spans, &part.spans)]
        {
            if let Some(file) = file {
                kept.extend(read(folder, file).await?);
            }
        }
    }
    let joined = |schema: SchemaRef, batches: &[RecordBatch]| {
        concat_batches(&schema, batches).expect("they have the columns of the schema")
    };
    Ok(Files {
        cells: merge_cells(folder, cells)?,
        repeats: write_rows(&joined(repeats_file_schema(), &repeats)),
        suspects: suspects_file(&suspects),
        spans: write_rows(&joined(spans_schema(), &spans)),
        control,
    })
}

/// The bytes of a file, after its digest was compared.
async fn verified(folder: &Location, part: &Part) -> Result<Bytes, TotalsError> {
    let location = folder.join(&part.name);
    let bytes = location.read().await?;
    let bytes = bytes.ok_or_else(|| TotalsError::damaged(&location, "it is gone"))?;
    if bytes.len() as u64 != part.bytes || Sha256Digest::of(&bytes).to_string() != part.sha256 {
        return Err(TotalsError::damaged(&location, "it is not what was written"));
    }
    Ok(bytes)
}

/// Where a file is, after its digest was compared.
///
/// # Errors
/// `Damaged` where it is not what was written.
pub(super) async fn verified_location(folder: &Location, part: &Part) -> Result<Location, TotalsError> {
    let location = folder.join(&part.name);
    let found = location.digest().await?;
    match found {
        Some((bytes, digest)) if bytes == part.bytes && digest.to_string() == part.sha256 => Ok(location),
        Some(_) => Err(TotalsError::damaged(&location, "it is not what was written")),
        None => Err(TotalsError::damaged(&location, "it is gone")),
    }
}

/// The rows of a file, after its digest was compared.
pub(super) async fn read(folder: &Location, part: &Part) -> Result<Vec<RecordBatch>, TotalsError> {
    let bytes = verified(folder, part).await?;
    let failed = |error: &dyn ToString| TotalsError::damaged(&folder.join(&part.name), error.to_string());
    let reader = open(bytes).map_err(|error| failed(&error))?;
    reader.collect::<Result<_, _>>().map_err(|error| failed(&error))
}

fn open(bytes: Bytes) -> Result<ParquetRecordBatchReader, parquet::errors::ParquetError> {
    ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(8192).build()
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level")))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(GROUP))
        .set_created_by("atcost".to_owned())
        .build()
}

/// The bytes of a file of these rows, and how many there are.
pub(super) fn write_rows(rows: &RecordBatch) -> (Vec<u8>, u64) {
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties())).expect(MEMORY);
    for start in (0..rows.num_rows()).step_by(GROUP) {
        writer.write(&rows.slice(start, GROUP.min(rows.num_rows() - start))).expect(MEMORY);
    }
    (writer.into_inner().expect(MEMORY), rows.num_rows() as u64)
}

/// A day of one kind of usage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'a> {
    pub day: i32,
    pub texts: [Option<&'a str>; KEY.len()],
    pub sum: Sum,
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
            writer: ArrowWriter::try_new(Vec::new(), cells_schema(), Some(properties())).expect(MEMORY),
            days: Int32Builder::new(),
            texts: Default::default(),
            events: Int64Builder::new(),
            values: Decimal128Builder::new().with_data_type(DataType::Decimal128(38, 9)),
            held: 0,
            written: 0,
        }
    }

    pub fn push(&mut self, cell: &Cell<'_>) {
        self.days.append_value(cell.day);
        for (builder, text) in self.texts.iter_mut().zip(cell.texts) {
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

/// Reads cells in their order.
struct CellsReader {
    location: Location,
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    row: usize,
}

impl CellsReader {
    async fn open(folder: &Location, part: &Part) -> Result<Self, TotalsError> {
        let location = folder.join(&part.name);
        let reader = open(verified(folder, part).await?);
        let reader = reader.map_err(|error| TotalsError::damaged(&location, error.to_string()))?;
        let mut cells = Self { location, reader, batch: None, row: 0 };
        cells.fill()?;
        Ok(cells)
    }

    fn fill(&mut self) -> Result<(), TotalsError> {
        let next = self.reader.next().transpose();
        self.batch = next.map_err(|error| TotalsError::damaged(&self.location, error.to_string()))?;
        self.row = 0;
        Ok(())
    }

    fn cell(&self) -> Option<Cell<'_>> {
        let batch = self.batch.as_ref()?;
        let mut texts = [None; KEY.len()];
        for (nth, text) in texts.iter_mut().enumerate() {
            let column = batch.column(1 + nth).as_string::<i32>();
            *text = column.is_valid(self.row).then(|| column.value(self.row));
        }
        Some(Cell {
            day: batch.column(0).as_primitive::<Int32Type>().value(self.row),
            texts,
            sum: Sum {
                events: batch.column(1 + KEY.len()).as_primitive::<Int64Type>().value(self.row),
                value: batch.column(2 + KEY.len()).as_primitive::<Decimal128Type>().value(self.row),
            },
        })
    }

    fn advance(&mut self) -> Result<(), TotalsError> {
        self.row += 1;
        match &self.batch {
            Some(batch) if self.row < batch.num_rows() => Ok(()),
            _ => self.fill(),
        }
    }
}

/// The key of a cell, owned, so that a reader can go on while it waits for its turn.
type OwnedKey = (i32, [Option<String>; KEY.len()]);

fn merge_cells(folder: &Location, mut readers: Vec<CellsReader>) -> Result<(Vec<u8>, u64), TotalsError> {
    let key = |cell: &Cell<'_>| -> OwnedKey { (cell.day, cell.texts.map(|text| text.map(str::to_owned))) };
    let mut heads: BinaryHeap<Reverse<(OwnedKey, usize)>> = BinaryHeap::new();
    for (nth, reader) in readers.iter().enumerate() {
        heads.extend(reader.cell().map(|cell| Reverse((key(&cell), nth))));
    }
    let mut writer = CellsWriter::new();
    let mut open: Option<(OwnedKey, Sum)> = None;
    let push = |writer: &mut CellsWriter, ((day, texts), sum): &(OwnedKey, Sum)| {
        writer.push(&Cell { day: *day, texts: texts.each_ref().map(Option::as_deref), sum: *sum });
    };
    while let Some(Reverse((next, nth))) = heads.pop() {
        let reader = &mut readers[nth];
        let sum = reader.cell().expect("a head is there").sum;
        match &mut open {
            Some((here, total)) if *here == next => total.add(sum),
            Some((here, _)) if *here > next => {
                return Err(TotalsError::damaged(folder, "the cells of a segment are not in their order"));
            }
            _ => {
                if let Some(done) = open.replace((next, sum)) {
                    push(&mut writer, &done);
                }
            }
        }
        reader.advance()?;
        heads.extend(reader.cell().map(|cell| Reverse((key(&cell), nth))));
    }
    if let Some(done) = open {
        push(&mut writer, &done);
    }
    Ok(writer.finish())
}

/// A row that never counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeat {
    pub version: u64,
    pub row: i32,
    pub day: i32,
    pub conflict: bool,
    /// The place of the first row of the id.
    pub first: u64,
    /// The beginning of the content's digest.
    pub content: u64,
}

/// The columns of the file; engines are told of the first ones.
pub(super) fn repeats_file_schema() -> SchemaRef {
    let mut fields: Vec<Field> = repeats_schema().fields().iter().map(|field| Field::clone(field)).collect();
    fields.push(Field::new("first", DataType::Int64, false));
    fields.push(Field::new("content", DataType::Int64, false));
    Arc::new(Schema::new(fields))
}

pub(super) fn repeats_batch(repeats: &[Repeat]) -> RecordBatch {
    let versions = repeats.iter().map(|repeat| repeat.version.cast_signed());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(versions)),
        Arc::new(Int32Array::from_iter_values(repeats.iter().map(|repeat| repeat.row))),
        Arc::new(Int32Array::from_iter_values(repeats.iter().map(|repeat| repeat.day))),
        Arc::new(BooleanArray::from_iter(repeats.iter().map(|repeat| Some(repeat.conflict)))),
        Arc::new(Int64Array::from_iter_values(repeats.iter().map(|repeat| repeat.first.cast_signed()))),
        Arc::new(Int64Array::from_iter_values(repeats.iter().map(|repeat| repeat.content.cast_signed()))),
    ];
    RecordBatch::try_new(repeats_file_schema(), columns).expect("the columns are those of the schema")
}

/// How many usage rows of a day a commit has: which files have rows of a day.
fn spans_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("batch", DataType::Int64, false),
        Field::new("day", DataType::Int32, false),
        Field::new("rows", DataType::Int64, false),
    ]))
}

pub(super) fn spans_batch(spans: &[(u64, i32, u64)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(spans.iter().map(|(version, ..)| version.cast_signed()))),
        Arc::new(Int32Array::from_iter_values(spans.iter().map(|(_, day, _)| *day))),
        Arc::new(Int64Array::from_iter_values(spans.iter().map(|(.., rows)| rows.cast_signed()))),
    ];
    RecordBatch::try_new(spans_schema(), columns).expect("the columns are those of the schema")
}

/// Suspects in their order, each once.
pub(super) fn suspects_file(suspects: &[RecordBatch]) -> (Vec<u8>, u64) {
    let schema = suspects_schema();
    let all = concat_batches(&schema, suspects).expect("they have the columns of the schema");
    let order = ["shard", "batch", "row", "settled", "plain"];
    let columns: Vec<SortColumn> = order
        .iter()
        .map(|name| {
            let values = all.column_by_name(name).expect("suspects have the column").clone();
            SortColumn { values, options: None }
        })
        .collect();
    if all.num_rows() == 0 {
        return write_rows(&all);
    }
    let sorted = lexsort_to_indices(&columns, None).expect("the columns have an order");
    let number = |name: &str, row: usize| {
        let column = all.column_by_name(name).expect("suspects have the column");
        match column.data_type() {
            DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
            _ => column.as_primitive::<Int64Type>().value(row),
        }
    };
    let place = |row: u32| {
        let row = usize::try_from(row).expect("32 bits fit");
        (number("shard", row), number("batch", row), number("row", row))
    };
    let mut kept: Vec<u32> = sorted.values().to_vec();
    kept.dedup_by_key(|row| place(*row));
    let kept = arrow::array::UInt32Array::from(kept);
    let columns = all
        .columns()
        .iter()
        .map(|column| take(column, &kept, None).expect("the places are in the batch"))
        .collect();
    write_rows(&RecordBatch::try_new(schema, columns).expect("the columns are those of the schema"))
}
