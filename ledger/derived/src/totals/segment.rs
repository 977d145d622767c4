//! The files of a segment: written, and merged from those of its parts.
//!
//! A *leaf* has all files of a block of versions. Where a block has too many rows for one, it has a
//! *union*: the month cells of its leaves in one file, so that what a run reads of a month does not
//! grow with the number of leaves.
//!
//! Invariant: the same rows have the same bytes, whether they were folded at once or merged.

use super::block::Block;
use super::cells::{Written, merge_cells};
use super::control::Control;
use super::error::TotalsError;
use super::numbers::merge_numbers;
use super::part::{Part, write_rows};
use super::schema::{repeats_schema, suspects_schema};
use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int32Array, Int64Array, RecordBatch};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use ledger::Location;
use schemas::time::Day;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A leaf, as the manifest names it. A file without rows is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    pub level: u32,
    pub index: u64,
    pub cells: Option<Part>,
    pub samples: Option<Part>,
    pub months: Option<Part>,
    pub repeats: Option<Part>,
    pub suspects: Option<Part>,
    pub spans: Option<Part>,
    pub numbers: Option<Part>,
    pub control: Control,
}

/// A union, as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Union {
    pub level: u32,
    pub index: u64,
    pub months: Option<Part>,
}

impl Segment {
    pub fn block(&self) -> Block {
        Block { level: self.level, index: self.index }
    }

    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let Self { cells, samples, months, repeats, suspects, spans, numbers, .. } = self;
        [cells, samples, months, repeats, suspects, spans, numbers].into_iter().flatten()
    }
}

impl Union {
    pub fn block(&self) -> Block {
        Block { level: self.level, index: self.index }
    }
}

/// What becomes the files of a leaf, but for its suspects.
pub(super) struct Files {
    pub cells: Written,
    pub samples: Written,
    pub months: Written,
    pub repeats: Written,
    pub spans: Written,
    pub numbers: Written,
    pub control: Control,
}

fn name_of(shard: u32, block: Block) -> String {
    format!("{shard}-{}-{}", block.level, block.index)
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
        let name = name_of(shard, block);
        let put = async |kind: &str, written: Written| Part::write(folder, (&name, kind), written).await;
        Ok(Segment {
            level: block.level,
            index: block.index,
            cells: put("cells", self.cells).await?,
            samples: put("samples", self.samples).await?,
            months: put("months", self.months).await?,
            repeats: put("repeats", self.repeats).await?,
            suspects: None,
            spans: put("spans", self.spans).await?,
            numbers: put("numbers", self.numbers).await?,
            control: self.control,
        })
    }
}

impl Segment {
    /// Writes the suspects of a leaf that has everything else.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn write_suspects(
        &mut self,
        folder: &Location,
        shard: u32,
        suspects: &[RecordBatch],
    ) -> Result<(), TotalsError> {
        let name = name_of(shard, self.block());
        self.suspects = Part::write(folder, (&name, "suspects"), suspects_file(suspects)).await?;
        Ok(())
    }
}

/// The leaf of a block from those of its parts, in their order.
///
/// # Errors
/// When a file is not what was written, or storage fails.
pub(super) async fn merge(
    folder: &Location,
    shard: u32,
    block: Block,
    parts: &[Segment],
) -> Result<Segment, TotalsError> {
    let mut control = Control::default();
    parts.iter().for_each(|part| control.add(&part.control));
    let cells: Vec<(&Part, Option<&Part>)> =
        parts.iter().filter_map(|part| Some((part.cells.as_ref()?, part.samples.as_ref()))).collect();
    let (cells, samples) = merge_cells(folder, &cells).await?;
    let months = merge_months(folder, parts.iter().map(|part| &part.months)).await?;
    let numbers: Vec<&Part> = parts.iter().filter_map(|part| part.numbers.as_ref()).collect();
    let numbers = merge_numbers(folder, &numbers).await?;
    let (mut repeats, mut suspects, mut spans) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        for (kept, file) in
            [(&mut repeats, &part.repeats), (&mut suspects, &part.suspects), (&mut spans, &part.spans)]
        {
            if let Some(file) = file {
                kept.extend(file.read(folder).await?);
            }
        }
    }
    let joined = |schema: SchemaRef, batches: &[RecordBatch]| {
        concat_batches(&schema, batches).expect("they have the columns of the schema")
    };
    let files = Files {
        cells,
        samples,
        months,
        repeats: write_rows(&joined(repeats_file_schema(), &repeats)),
        spans: write_rows(&joined(spans_schema(), &spans)),
        numbers,
        control,
    };
    let mut merged = files.write(folder, shard, block).await?;
    merged.write_suspects(folder, shard, &suspects).await?;
    Ok(merged)
}

/// The union of a block from the month cells of its parts, in their order.
///
/// # Errors
/// As [`merge`].
pub(super) async fn unite(
    folder: &Location,
    shard: u32,
    block: Block,
    months: &[Option<Part>],
) -> Result<Union, TotalsError> {
    let months = merge_months(folder, months.iter()).await?;
    let months = Part::write(folder, (&name_of(shard, block), "months"), months).await?;
    Ok(Union { level: block.level, index: block.index, months })
}

async fn merge_months(
    folder: &Location,
    months: impl Iterator<Item = &Option<Part>>,
) -> Result<Written, TotalsError> {
    let months: Vec<(&Part, Option<&Part>)> = months.flatten().map(|part| (part, None)).collect();
    Ok(merge_cells(folder, &months).await?.0)
}

/// A row that never counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeat {
    pub version: u64,
    pub row: i32,
    pub day: Day,
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
        Arc::new(Int32Array::from_iter_values(repeats.iter().map(|repeat| repeat.day.number()))),
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

pub(super) fn spans_batch(spans: &[(u64, Day, u64)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(spans.iter().map(|(version, ..)| version.cast_signed()))),
        Arc::new(Int32Array::from_iter_values(spans.iter().map(|(_, day, _)| day.number()))),
        Arc::new(Int64Array::from_iter_values(spans.iter().map(|(.., rows)| rows.cast_signed()))),
    ];
    RecordBatch::try_new(spans_schema(), columns).expect("the columns are those of the schema")
}

/// Suspects in their order, each once.
fn suspects_file(suspects: &[RecordBatch]) -> Written {
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
