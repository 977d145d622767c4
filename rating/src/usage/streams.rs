//! The rows of each stream, counted in one pass over the few columns that say it.
//!
//! Neither records nor totals say how many rows of a kind a stream has, so rows are read: every one,
//! counted or not. What an event says is deliberately not looked at.
//!
//! Invariant: memory does not grow with the number of rows, but with a file for each core, the number of
//! streams, and the span of their offsets, by a bit for each where some are missing.

use super::counted::CountedRows;
use crate::error::RatingError;
use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use datafusion::common::DataFusionError;
use datafusion::common::runtime::JoinSet;
use ledger::Location;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// The rows of one stream, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamCounts {
    /// As [`schemas::position::Origin`] is written.
    pub origin: String,
    pub partition: u32,
    pub origin_name: String,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    pub distinct_offsets: u64,
    pub last_offset: i64,
}

/// The columns that are read, in the order of [`schema_as_read`].
const COLUMNS: [&str; 6] = ["batch", "kind", "origin", "origin_name", "partition", "offset"];
/// Of these, the texts, which are read as dictionaries: each is looked at once.
const TEXTS: [&str; 3] = ["kind", "origin", "origin_name"];

impl CountedRows {
    /// Rows by stream, in the order in which they began.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn streams(&self) -> Result<Vec<StreamCounts>, RatingError> {
        let files = self.ledger().await?;
        let mut files = files.iter().flatten().cloned();
        let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let mut reading = JoinSet::new();
        let mut streams = Streams::default();
        for file in files.by_ref().take(workers) {
            reading.spawn(counted(file));
        }
        while let Some(read) = reading.join_next().await {
            let read = read.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
            read.0.into_iter().for_each(|(stream, counted)| streams.add(stream, counted));
            if let Some(file) = files.next() {
                reading.spawn(counted(file));
            }
        }
        streams.finish()
    }
}

/// The origin and the partition of a stream.
type StreamName = (String, i32);

#[derive(Default)]
struct Streams(BTreeMap<StreamName, Counted>);

/// The rows of a stream in some files.
struct Counted {
    first_batch: i64,
    origin_name: String,
    usage: u64,
    rejected: u64,
    gaps: u64,
    last_offset: i64,
    offsets: Offsets,
}

impl Streams {
    fn add(&mut self, stream: StreamName, other: Counted) {
        match self.0.entry(stream) {
            Entry::Vacant(new) => drop(new.insert(other)),
            Entry::Occupied(mut known) => known.get_mut().add(other),
        }
    }

    fn finish(self) -> Result<Vec<StreamCounts>, RatingError> {
        let mut streams: Vec<(StreamName, Counted)> = self.0.into_iter().collect();
        streams.sort_by(|(a, of_a), (b, of_b)| {
            (of_a.first_batch, &of_a.origin_name, a).cmp(&(of_b.first_batch, &of_b.origin_name, b))
        });
        let counts = |((origin, partition), counted): (StreamName, Counted)| {
            Ok(StreamCounts {
                origin,
                partition: u32::try_from(partition).map_err(RatingError::stored("partition"))?,
                origin_name: counted.origin_name,
                usage: counted.usage,
                rejected: counted.rejected,
                gaps: counted.gaps,
                distinct_offsets: counted.offsets.count(),
                last_offset: counted.last_offset,
            })
        };
        streams.into_iter().map(counts).collect()
    }
}

impl Counted {
    fn add(&mut self, other: Self) {
        self.first_batch = self.first_batch.min(other.first_batch);
        if other.origin_name < self.origin_name {
            self.origin_name = other.origin_name;
        }
        self.usage += other.usage;
        self.rejected += other.rejected;
        self.gaps += other.gaps;
        self.last_offset = self.last_offset.max(other.last_offset);
        self.offsets.add(other.offsets);
    }
}

/// Counts the rows of a file.
async fn counted(file: Location) -> Result<Streams, RatingError> {
    let failed = |error: &dyn ToString| RatingError::file(&file, "counting rows", &error.to_string());
    let bytes = file.read().await?.ok_or_else(|| failed(&"it is gone"))?;
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema_as_read()));
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options);
    let builder = builder.map_err(|error| failed(&error))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
    let batches = builder.with_projection(mask).with_batch_size(65_536).build();
    let mut streams = Streams::default();
    for batch in batches.map_err(|error| failed(&error))? {
        count(&batch.map_err(|error| failed(&error))?, &mut streams).map_err(|what| failed(&what))?;
    }
    Ok(streams)
}

/// The columns of a ledger's files, with dictionaries for texts.
fn schema_as_read() -> Schema {
    let texts = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let all = ledger::row::arrow_schema(ledger::row::COLUMNS);
    let field = |field: &Arc<Field>| match TEXTS.contains(&field.name().as_str()) {
        true => field.as_ref().clone().with_data_type(texts()),
        false => field.as_ref().clone(),
    };
    Schema::new(all.fields().iter().map(field).collect::<Vec<_>>())
}

/// What a row is, by the word of its kind.
#[derive(Clone, Copy)]
enum Kind {
    Usage,
    Rejected,
    Gap,
}

/// A column of texts: its values, and which of them each row has.
struct Texts<'b> {
    values: &'b arrow::array::StringArray,
    keys: &'b [i32],
}

impl<'b> Texts<'b> {
    fn of(column: &'b ArrayRef) -> Result<Self, String> {
        let column = column.as_dictionary::<Int32Type>();
        if column.null_count() > 0 {
            return Err("a row does not say where it is from".to_owned());
        }
        Ok(Self { values: column.values().as_string::<i32>(), keys: column.keys().values() })
    }

    fn of_key(&self, key: i32) -> &'b str {
        self.values.value(usize::try_from(key).expect("keys are not negative"))
    }
}

/// Counts rows, those of one stream that follow each other at once.
fn count(batch: &RecordBatch, streams: &mut Streams) -> Result<(), String> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("there is no column {name}"));
    let (kinds, origins, names) =
        (Texts::of(column("kind")?)?, Texts::of(column("origin")?)?, Texts::of(column("origin_name")?)?);
    let partitions = column("partition")?.as_primitive::<Int32Type>().values();
    let offsets = column("offset")?.as_primitive::<Int64Type>().values();
    let batches = column("batch")?.as_primitive::<Int64Type>().values();
    let kind = |text: Option<&str>| match text {
        Some("usage") => Ok(Kind::Usage),
        Some("rejected") => Ok(Kind::Rejected),
        Some("gap") => Ok(Kind::Gap),
        other => Err(format!("{other:?} is no kind of a row")),
    };
    let kind_of: Vec<Kind> = kinds.values.iter().map(kind).collect::<Result<_, _>>()?;
    let mut start = 0;
    while start < batch.num_rows() {
        let of_row = |row: usize| (origins.keys[row], names.keys[row], partitions[row]);
        let here = of_row(start);
        let end = (start..batch.num_rows()).find(|row| of_row(*row) != here).unwrap_or(batch.num_rows());
        let mut counted = Counted {
            first_batch: batches[start..end].iter().copied().min().unwrap_or_default(),
            origin_name: names.of_key(here.1).to_owned(),
            usage: 0,
            rejected: 0,
            gaps: 0,
            last_offset: offsets[start..end].iter().copied().max().unwrap_or_default(),
            offsets: Offsets::default(),
        };
        for key in &kinds.keys[start..end] {
            match kind_of[usize::try_from(*key).expect("keys are not negative")] {
                Kind::Usage => counted.usage += 1,
                Kind::Rejected => counted.rejected += 1,
                Kind::Gap => counted.gaps += 1,
            }
        }
        let follows = |a: &i64, b: &i64| a.checked_add(1) == Some(*b);
        for run in offsets[start..end].chunk_by(follows) {
            if let [first, ..] = run {
                counted.offsets.insert(*first, run.len());
            }
        }
        streams.add((origins.of_key(here.0).to_owned(), here.2), counted);
        start = end;
    }
    Ok(())
}

/// Offsets of a page.
const PAGE: usize = 4_096;

/// Distinct offsets: pages without holes as their ends, the others bit by bit.
#[derive(Default)]
struct Offsets(BTreeMap<i64, Page>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Page {
    /// From one up to before the other.
    Run(usize, usize),
    Bits(Box<[u64; PAGE / 64]>),
}

impl Offsets {
    /// Adds offsets that follow each other.
    fn insert(&mut self, first: i64, count: usize) {
        let page_size = i64::try_from(PAGE).expect("it is small");
        let (mut page, mut left) = (first.div_euclid(page_size), count);
        let mut from = usize::try_from(first.rem_euclid(page_size)).expect("it is within a page");
        while left > 0 {
            let until = PAGE.min(from + left);
            self.insert_page(page, Page::Run(from, until));
            left -= until - from;
            (page, from) = (page.saturating_add(1), 0);
        }
    }

    fn insert_page(&mut self, number: i64, page: Page) {
        match self.0.entry(number) {
            Entry::Vacant(new) => drop(new.insert(page)),
            Entry::Occupied(mut known) => known.get_mut().add(page),
        }
    }

    fn add(&mut self, other: Self) {
        other.0.into_iter().for_each(|(number, page)| self.insert_page(number, page));
    }

    fn count(&self) -> u64 {
        self.0.values().map(Page::count).sum()
    }
}

impl Page {
    fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Run(from, until), Self::Run(first, end)) if first <= *until && *from <= end => {
                (*from, *until) = ((*from).min(first), (*until).max(end));
            }
            (here, other) => {
                let mut bits = std::mem::replace(here, Self::Run(0, 0)).into_bits();
                match other {
                    Self::Run(from, until) => set(&mut bits, from, until),
                    Self::Bits(others) => {
                        bits.iter_mut().zip(others.iter()).for_each(|(bits, others)| *bits |= others);
                    }
                }
                *here = Self::Bits(bits);
            }
        }
    }

    fn into_bits(self) -> Box<[u64; PAGE / 64]> {
        match self {
            Self::Bits(bits) => bits,
            Self::Run(from, until) => {
                let mut bits = Box::new([0; PAGE / 64]);
                set(&mut bits, from, until);
                bits
            }
        }
    }

    fn count(&self) -> u64 {
        match self {
            Self::Run(from, until) => (until - from) as u64,
            Self::Bits(bits) => bits.iter().map(|bits| u64::from(bits.count_ones())).sum(),
        }
    }
}

fn set(bits: &mut [u64; PAGE / 64], from: usize, until: usize) {
    (from..until).for_each(|offset| bits[offset / 64] |= 1 << (offset % 64));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn offsets_are_counted_once(
            runs in prop::collection::vec((-10_000..20_000_i64, 1..3_000_usize, any::<bool>()), 0..40)
        ) {
            let (mut one, mut other) = (Offsets::default(), Offsets::default());
            let mut known = BTreeSet::new();
            for (first, count, which) in runs {
                if which { one.insert(first, count) } else { other.insert(first, count) }
                known.extend(first..first + i64::try_from(count).expect("it is small"));
            }
            one.add(other);
            prop_assert_eq!(one.count(), known.len() as u64);
        }
    }

    #[test]
    fn offsets_without_holes_take_a_page_and_no_bits() {
        let mut offsets = Offsets::default();
        for first in (0..100_000).step_by(10) {
            offsets.insert(first, 10);
        }
        assert_eq!(offsets.count(), 100_000);
        assert!(offsets.0.values().all(|page| matches!(page, Page::Run(0, _))), "{:?}", offsets.0);
        offsets.insert(i64::MAX, 1);
        assert_eq!(offsets.count(), 100_001);
    }
}
