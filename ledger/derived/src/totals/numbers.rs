//! The numbers that producers gave to their events, as runs without a hole: what lies between two runs
//! of a count is missing, and no row is read to know it.
//!
//! Every usage row is in a run, one that repeats an id or is corrected too, because its number is there.
//! Which holes are told is deliberately not decided here.
//!
//! An end of joined runs is an end of each run that has its number; so the ends are all that joining
//! needs to know, and it does not matter in which order runs are joined.
//!
//! Invariant: no two runs of a count meet, and an end of one is the first row in ledger order that has its
//! number.

use super::cells::Written;
use super::error::TotalsError;
use super::location::RowLocation;
use super::names::Names;
use super::part::{GROUP, MEMORY, Open, Part, with_dictionaries, writer_of_numbers};
use super::rows::UsageRows;
use super::schema::numbers_schema;
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use ledger::Location;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Runs that are decoded at once.
const BATCH: usize = 8_192;
/// So many runs of a fold are held as they came, at most.
const HELD: usize = 1 << 18;

/// The first row in ledger order that has a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    pub number: i64,
    /// When it was used.
    pub micros: i64,
    /// When it was received.
    received: i64,
    /// Where it is, as [`RowLocation::pack`] says.
    place: u64,
}

impl Numbered {
    /// Whether it comes before another in ledger order.
    fn is_before(&self, other: &Self) -> bool {
        let shard = |row: &Self| RowLocation::unpack(row.place).shard;
        match shard(self) == shard(other) {
            true => self.place < other.place,
            false => (self.received, self.place) < (other.received, other.place),
        }
    }
}

/// Numbers of a count that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberRun {
    pub first: Numbered,
    pub last: Numbered,
    /// The usage rows that have one of its numbers.
    pub rows: u64,
}

impl NumberRun {
    /// Takes in a run that begins no earlier, if no number lies between them.
    fn join(&mut self, next: &Self) -> bool {
        if next.first.number > self.last.number.saturating_add(1) {
            return false;
        }
        if next.first.number == self.first.number && next.first.is_before(&self.first) {
            self.first = next.first;
        }
        match next.last.number.cmp(&self.last.number) {
            Ordering::Less => {}
            Ordering::Equal if self.last.is_before(&next.last) => {}
            Ordering::Equal | Ordering::Greater => self.last = next.last,
        }
        self.rows += next.rows;
        true
    }

    /// Whether each of its numbers may have a row.
    fn is_whole(&self) -> bool {
        let numbers = i128::from(self.last.number) - i128::from(self.first.number) + 1;
        numbers > 0 && i128::from(self.rows) >= numbers
    }
}

/// The number of a producer's name, and its epoch.
type Count = (u32, i64);

/// The numbers of the rows that are folded.
#[derive(Default)]
pub(super) struct Numbers {
    names: Names,
    /// The dictionary that was read last, and the numbers of its names.
    known: Option<(ArrayRef, Vec<u32>)>,
    runs: Vec<(Count, NumberRun)>,
    /// By the number of a producer's name: which of the runs its last row is in.
    last: Vec<Option<usize>>,
    /// Runs that were too many to be held, as files.
    put_by: Vec<Written>,
}

impl Numbers {
    /// Takes in rows of a commit, which come after all before in the order of their shard; gives how many
    /// of them have a number.
    pub fn commit(&mut self, shard: u32, rows: &UsageRows) -> u64 {
        let producers = rows.texts("producer_id");
        if producers.null_count() == rows.len() {
            return 0;
        }
        let names = &mut self.names;
        if !self.known.as_ref().is_some_and(|(values, _)| Arc::ptr_eq(values, producers.values())) {
            let texts = producers.values().as_string::<i32>();
            let numbers = texts.iter().map(|text| text.map_or(0, |text| names.number(text))).collect();
            self.known = Some((producers.values().clone(), numbers));
        }
        let (_, named) = self.known.as_ref().expect("a dictionary was read");
        self.last.resize(names.len() + 1, None);
        let (epochs, numbers) = (rows.longs("producer_epoch"), rows.longs("producer_seq"));
        let (micros, received) = (rows.micros(), rows.received());
        let mut count = 0;
        for (row, place) in rows.places(shard).enumerate() {
            let Some(key) = producers.key(row) else { continue };
            count += 1;
            let (producer, epoch, number) = (named[key], epochs[row], numbers[row]);
            let here = Numbered { number, micros: micros[row], received: received[row], place: place.pack() };
            let last = &mut self.last[usize::try_from(producer).expect("32 bits fit")];
            if let Some((of, run)) = last.map(|last| &mut self.runs[last])
                && *of == (producer, epoch)
                && run.first.number <= number
            {
                let before = run.last.number;
                if number <= before {
                    run.rows += 1;
                    continue;
                }
                if before.checked_add(1) == Some(number) {
                    run.last = here;
                    run.rows += 1;
                    continue;
                }
            }
            *last = Some(self.runs.len());
            self.runs.push(((producer, epoch), NumberRun { first: here, last: here, rows: 1 }));
        }
        if self.runs.len() >= HELD {
            self.join();
            if self.runs.len() > HELD / 2 {
                let runs = self.written();
                self.put_by.push(runs);
                self.runs.clear();
            }
        }
        count
    }

    /// Joins what is held, in its order.
    fn join(&mut self) {
        let ranks = self.names.ranks();
        let rank = |producer: u32| ranks[usize::try_from(producer).expect("32 bits fit")];
        self.runs
            .sort_unstable_by_key(|((producer, epoch), run)| (rank(*producer), *epoch, run.first.number));
        self.runs.dedup_by(|(next_of, next), (of, run)| of == next_of && run.join(next));
        self.last.fill(None);
    }

    /// A file of what is held, after it was joined.
    fn written(&self) -> Written {
        let mut writer = RunsWriter::new();
        for ((producer, epoch), run) in &self.runs {
            writer.push(self.names.text(*producer).unwrap_or_default(), *epoch, run);
        }
        writer.finish()
    }

    /// The file of all runs.
    pub fn finish(mut self) -> Written {
        self.join();
        let last = self.written();
        if self.put_by.is_empty() {
            return last;
        }
        self.put_by.push(last);
        let location = "runs of numbers";
        let readers = self.put_by.into_iter().map(|(bytes, _)| RunsReader::new(location, bytes.into()));
        let readers = readers.collect::<Result<Vec<_>, _>>();
        readers.and_then(merged).expect("what was just written can be read")
    }
}

/// Writes runs in their order, a row group at a time.
struct RunsWriter {
    writer: ArrowWriter<Vec<u8>>,
    producers: Vec<Arc<str>>,
    held: Vec<(i64, NumberRun)>,
    written: u64,
}

impl RunsWriter {
    fn new() -> Self {
        let writer = writer_of_numbers(numbers_schema());
        Self { writer, producers: Vec::new(), held: Vec::new(), written: 0 }
    }

    fn push(&mut self, producer: &str, epoch: i64, run: &NumberRun) {
        let producer = match self.producers.last() {
            Some(last) if **last == *producer => last.clone(),
            _ => producer.into(),
        };
        self.producers.push(producer);
        self.held.push((epoch, *run));
        if self.held.len() == GROUP {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let longs = |of: &dyn Fn(&NumberRun) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(self.held.iter().map(|(_, run)| of(run))))
        };
        let instants = |of: &dyn Fn(&NumberRun) -> i64| -> ArrayRef {
            let times = self.held.iter().map(|(_, run)| of(run));
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(&self.producers)),
            Arc::new(Int64Array::from_iter_values(self.held.iter().map(|(epoch, _)| *epoch))),
            longs(&|run| run.first.number),
            longs(&|run| run.last.number),
            longs(&|run| run.rows.cast_signed()),
            instants(&|run| run.first.micros),
            instants(&|run| run.last.micros),
            instants(&|run| run.first.received),
            instants(&|run| run.last.received),
            longs(&|run| run.first.place.cast_signed()),
            longs(&|run| run.last.place.cast_signed()),
        ];
        let rows =
            RecordBatch::try_new(numbers_schema(), columns).expect("the columns are those of the schema");
        self.writer.write(&rows).expect(MEMORY);
        self.written += rows.num_rows() as u64;
        self.producers.clear();
        self.held.clear();
    }

    fn finish(mut self) -> Written {
        if !self.held.is_empty() {
            self.flush();
        }
        (self.writer.into_inner().expect(MEMORY), self.written)
    }
}

/// A run, with its producer and epoch.
type Counted = (Arc<str>, i64, NumberRun);

/// Reads the runs of a file in their order.
struct RunsReader {
    location: String,
    reader: ParquetRecordBatchReader,
    read: std::vec::IntoIter<Counted>,
    last: Option<(Arc<str>, i64, i64)>,
}

impl RunsReader {
    fn new(location: &str, bytes: Bytes) -> Result<Self, TotalsError> {
        let open = Open::new(bytes, Some(with_dictionaries(&numbers_schema())));
        let reader = open.and_then(|open| open.rows(BATCH, None));
        let reader = reader.map_err(|error| TotalsError::damaged(&location, error.to_string()))?;
        Ok(Self { location: location.to_owned(), reader, read: Vec::new().into_iter(), last: None })
    }

    /// The next run; none at the end.
    fn next(&mut self) -> Result<Option<Counted>, TotalsError> {
        let run = match self.read.next() {
            Some(run) => run,
            None => {
                let batch = self.reader.next().transpose();
                let batch = batch.map_err(|error| TotalsError::damaged(&self.location, error.to_string()))?;
                let Some(batch) = batch else { return Ok(None) };
                self.read = decoded(&batch).into_iter();
                let Some(run) = self.read.next() else { return Ok(None) };
                run
            }
        };
        let (producer, epoch, NumberRun { first, last, .. }) = &run;
        let begins = (producer.clone(), *epoch, first.number);
        let follows = self.last.as_ref().is_none_or(|(before_of, before_epoch, before)| {
            match (before_of, before_epoch).cmp(&(producer, epoch)) {
                Ordering::Less => true,
                Ordering::Equal => before.checked_add(1).is_some_and(|next| next < first.number),
                Ordering::Greater => false,
            }
        });
        if !follows || !run.2.is_whole() {
            let detail = format!("the numbers of {producer:?} from {} on are not in their order", begins.2);
            return Err(TotalsError::damaged(&self.location, detail));
        }
        self.last = Some((producer.clone(), *epoch, last.number));
        Ok(Some(run))
    }
}

fn decoded(batch: &RecordBatch) -> Vec<Counted> {
    let producers = batch.column(0).as_dictionary::<Int32Type>();
    let texts = producers.values().as_string::<i32>();
    let texts: Vec<Arc<str>> = texts.iter().map(|text| text.unwrap_or_default().into()).collect();
    let long = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
    let instant = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>().values();
    let end = |row: usize, [number, micros, received, place]: [usize; 4]| Numbered {
        number: long(number)[row],
        micros: instant(micros)[row],
        received: instant(received)[row],
        place: long(place)[row].cast_unsigned(),
    };
    let run = |row: usize| {
        let first = end(row, [2, 5, 7, 9]);
        let last = end(row, [3, 6, 8, 10]);
        let producer = producers.key(row).map_or_else(|| "".into(), |key| texts[key].clone());
        (producer, long(1)[row], NumberRun { first, last, rows: long(4)[row].cast_unsigned() })
    };
    (0..batch.num_rows()).map(run).collect()
}

/// Hands out the runs of several files, joined, by producer, epoch and number.
fn join_all(
    mut readers: Vec<RunsReader>,
    see: &mut dyn FnMut(&str, i64, &NumberRun),
) -> Result<(), TotalsError> {
    let mut heads: Vec<Option<NumberRun>> = vec![None; readers.len()];
    let mut order = BinaryHeap::new();
    let mut open: Option<Counted> = None;
    let mut waiting: Vec<usize> = (0..readers.len()).collect();
    loop {
        for nth in waiting.drain(..) {
            if let Some((producer, epoch, run)) = readers[nth].next()? {
                order.push(Reverse((producer, epoch, run.first.number, nth)));
                heads[nth] = Some(run);
            }
        }
        let Some(Reverse((producer, epoch, _, nth))) = order.pop() else { break };
        waiting.push(nth);
        let run = heads[nth].take().expect("what is in order has a run");
        let joins = open
            .as_mut()
            .is_some_and(|(of, in_epoch, before)| *of == producer && *in_epoch == epoch && before.join(&run));
        if !joins && let Some((producer, epoch, run)) = open.replace((producer, epoch, run)) {
            see(&producer, epoch, &run);
        }
    }
    if let Some((producer, epoch, run)) = open {
        see(&producer, epoch, &run);
    }
    Ok(())
}

fn merged(readers: Vec<RunsReader>) -> Result<Written, TotalsError> {
    let mut writer = RunsWriter::new();
    join_all(readers, &mut |producer, epoch, run| writer.push(producer, epoch, run))?;
    Ok(writer.finish())
}

async fn open(folder: &Location, parts: &[&Part]) -> Result<Vec<RunsReader>, TotalsError> {
    let mut readers = Vec::new();
    for part in parts {
        let location = folder.join(&part.name).to_string();
        readers.push(RunsReader::new(&location, part.verified(folder).await?)?);
    }
    Ok(readers)
}

/// The runs of some files as those of one.
///
/// # Errors
/// `Damaged` where a file is not what was written.
pub(super) async fn merge_numbers(folder: &Location, parts: &[&Part]) -> Result<Written, TotalsError> {
    merged(open(folder, parts).await?)
}

/// Hands out the runs of some files, joined, by producer, epoch and number.
///
/// # Errors
/// `Damaged` where a file is not what was written.
pub(super) async fn read_numbers(
    folder: &Location,
    parts: &[&Part],
    see: &mut (dyn FnMut(&str, i64, &NumberRun) + Send),
) -> Result<(), TotalsError> {
    join_all(open(folder, parts).await?, &mut |producer, epoch, run| see(producer, epoch, run))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A row of a shard: when it was used and received.
    type Row = (u32, i64, i64, i64);

    fn written(rows: &[(usize, Row)]) -> Written {
        let mut numbers = Numbers::default();
        numbers.names.number("p");
        for (nth, (shard, number, micros, received)) in rows {
            let place = RowLocation { shard: *shard, version: 1, row: u32::try_from(*nth).expect("small") };
            let here =
                Numbered { number: *number, micros: *micros, received: *received, place: place.pack() };
            numbers.runs.push(((1, 7), NumberRun { first: here, last: here, rows: 1 }));
        }
        numbers.finish()
    }

    fn joined(parts: Vec<Written>) -> Vec<NumberRun> {
        let readers = parts.into_iter().map(|(bytes, _)| RunsReader::new("a test", bytes.into()));
        let readers = readers.collect::<Result<Vec<_>, _>>().expect("they can be read");
        let mut runs = Vec::new();
        join_all(readers, &mut |producer, epoch, run| {
            assert_eq!((producer, epoch), ("p", 7));
            runs.push(*run);
        })
        .expect("they can be joined");
        runs
    }

    proptest! {
        /// Against a table of every number, however rows are spread over files.
        #[test]
        fn runs_are_those_of_all_numbers(
            rows in prop::collection::vec((0..3_u32, 0..40_i64, any::<i32>(), 0..5_i64), 0..60),
            files in prop::collection::vec(0..4_usize, 60),
        ) {
            let mut first: BTreeMap<i64, Numbered> = BTreeMap::new();
            let mut parts: Vec<Vec<(usize, Row)>> = vec![Vec::new(); 12];
            let mut received_in = [0; 3];
            for (nth, (shard, number, micros, later)) in rows.iter().enumerate() {
                let of_shard = usize::try_from(*shard).expect("small");
                received_in[of_shard] += later;
                let row = (*shard, *number, i64::from(*micros), received_in[of_shard]);
                // A file has rows of one shard.
                parts[of_shard * 4 + files[nth]].push((nth, row));
                let place = RowLocation { shard: *shard, version: 1, row: u32::try_from(nth).expect("small") };
                let here =
                    Numbered { number: *number, micros: row.2, received: row.3, place: place.pack() };
                let known = first.entry(*number).or_insert(here);
                if (here.received, here.place) < (known.received, known.place) {
                    *known = here;
                }
            }
            let mut expected: Vec<NumberRun> = Vec::new();
            for here in first.values() {
                let rows = rows.iter().filter(|row| row.1 == here.number).count() as u64;
                match expected.last_mut() {
                    Some(run) if run.last.number + 1 == here.number => {
                        run.last = *here;
                        run.rows += rows;
                    }
                    _ => expected.push(NumberRun { first: *here, last: *here, rows }),
                }
            }
            let parts: Vec<Written> = parts.iter().map(|rows| written(rows)).collect();
            prop_assert_eq!(&joined(parts.clone()), &expected);
            // The same, where some were merged before.
            let (some, others) = parts.split_at(files[0] * 3);
            let readers = some.iter().map(|(bytes, _)| RunsReader::new("a test", bytes.clone().into()));
            let one = merged(readers.collect::<Result<_, _>>().expect("they can be read")).expect("merged");
            prop_assert_eq!(joined([&[one], others].concat()), expected);
        }
    }

    #[test]
    fn numbers_end_where_integers_do() {
        let rows = [(0, (0, i64::MAX, 1, 1)), (1, (0, i64::MAX - 1, 1, 1)), (2, (0, i64::MIN, 1, 1))];
        let runs = joined(vec![written(&rows), written(&[(3, (0, i64::MAX, 1, 2))])]);
        let ends: Vec<_> = runs.iter().map(|run| (run.first.number, run.last.number, run.rows)).collect();
        assert_eq!(ends, [(i64::MIN, i64::MIN, 1), (i64::MAX - 1, i64::MAX, 3)]);
    }
}
