//! The writer of one shard: rows and positions, committed together.
//!
//! Which streams a shard takes is a function of their names ([`Shard::takes`]); how far a stream
//! was read is what all shards together say, because a stream may have belonged to another one
//! before.
//!
//! Invariant: memory advances only after the commit has landed.

use crate::division::open_divided;
use crate::error::LedgerError;
use crate::log::table::{Commit, SealedRows, Table};
use crate::repeats::{CommittedRows, Repeats, RepeatsIndex};
use crate::row::{BatchBuilder, BuiltRows, COLUMNS, parquet_bytes};
use crate::store::Location;
use crate::{places, secret};
use arrow::array::{Int64Array, RecordBatch};
use proof::leaf_key::LeafKey;
use proof::record::{Division, MeterControl, RecordKind};
use proof::seal::{Rows, Sealed, seal};
use schemas::outcome::Tally;
use schemas::position::{Position, Positions, Stream, StreamMove};
use schemas::shard::Shard;
use schemas::time::Instant;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A shard opened for writing. One process at a time; a second one is fenced at its first commit.
pub struct ShardWriter {
    table: Table,
    key: LeafKey,
    division: Division,
    /// Where every stream stood when the ledger was opened, in whichever shard. Only streams of
    /// this shard move meanwhile, and they are moved here.
    known: BTreeMap<String, Position>,
    repeats: Option<Box<dyn RepeatsIndex>>,
}

/// A commit that is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    pub version: u64,
    pub tally: Tally,
    /// Usage rows whose id this shard has had before; nothing where rows are not classified.
    pub repeats: Option<Repeats>,
}

impl ShardWriter {
    /// Opens the only shard of a ledger for writing, after a crash and on any other day.
    ///
    /// # Errors
    /// As [`Self::open_shard`].
    pub async fn open(ledger: &Location) -> Result<Self, LedgerError> {
        Self::open_shard(ledger, Shard::WHOLE).await
    }

    /// Opens one shard of a ledger for writing.
    ///
    /// # Errors
    /// `Invalid` when there is none, it is set dangerously, or the ledger is divided otherwise;
    /// `Corrupt` when anything in a log is not what was written, or the leaf key is another.
    pub async fn open_shard(ledger: &Location, shard: Shard) -> Result<Self, LedgerError> {
        let (mut tables, division) = open_divided(ledger, shard).await?;
        let location = places::leaf_key(ledger);
        let key = secret::read_leaf_key(&location).await?;
        if tables.iter().any(|table| table.log().key.is_some_and(|used| used != key.id())) {
            return Err(LedgerError::corrupt(&location, secret::ANOTHER_LEAF_KEY));
        }
        let mut known = BTreeMap::new();
        tables.iter().for_each(|table| table.log().add_positions(&mut known));
        let table = tables.swap_remove(usize::try_from(shard.index()).expect("shards are few"));
        table.probe().await?;
        Ok(Self { table, key, division, known, repeats: None })
    }

    /// From here on `repeats` says of every commit which of its rows repeat an id. It is brought up
    /// to the shard before.
    ///
    /// # Errors
    /// When the ledger cannot be read; what is wrong with the index is no error.
    pub async fn classify_with(&mut self, mut repeats: Box<dyn RepeatsIndex>) -> Result<(), LedgerError> {
        repeats.catch_up(&self.table).await?;
        self.repeats = Some(repeats);
        Ok(())
    }

    /// Whether commits say which of their rows repeat an id.
    pub fn is_classifying(&self) -> bool {
        self.repeats.is_some()
    }

    /// The shard's table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The version of the last commit.
    pub fn version(&self) -> u64 {
        self.table.version()
    }

    /// When the last commit was made.
    pub fn committed_at(&self) -> Option<Instant> {
        self.table.log().at
    }

    /// The shard's table properties as they are in force.
    pub fn properties(&self) -> &BTreeMap<String, String> {
        self.table.properties()
    }

    /// Waits for what is made beside commits, a Delta checkpoint. Only a program that is about to
    /// end needs to.
    pub async fn finish_checkpoint(&mut self) {
        self.table.finish_checkpoint().await;
    }

    /// How far each of `streams` has been read. A stream that was never read is absent.
    pub fn positions(&self, streams: &[Stream]) -> Positions {
        let mut positions = Positions::default();
        for stream in streams {
            if let Some(position) = self.known.get(&stream.to_string()) {
                positions.set(stream.clone(), *position);
            }
        }
        positions
    }

    /// Commits a batch: its rows and the positions it reaches, together or not at all.
    ///
    /// # Errors
    /// `Invalid` when the batch does not start where the ledger ends, `Fenced` when another writer
    /// was faster, `Storage` when storage gave no answer. In each case nothing of the batch is in
    /// the ledger, or all of it is and reopening finds it.
    pub async fn commit(&mut self, batch: BatchBuilder, at: Instant) -> Result<Committed, LedgerError> {
        let (mut moved, mut reached) = (Vec::new(), Vec::new());
        for (stream, advance, last) in batch.advances() {
            let mut positions = self.positions(std::slice::from_ref(stream));
            let from = positions.get(stream);
            positions
                .apply(stream, advance, last)
                .map_err(|error| LedgerError::invalid(self.table.location(), error.to_string()))?;
            let identity = positions.identity(stream);
            let application = stream.to_string();
            reached.extend(positions.position(stream).map(|position| (application.clone(), position)));
            moved.push(StreamMove { stream: application, from, to: advance.to, identity, last });
        }
        moved.sort_by(|a, b| a.stream.cmp(&b.stream));
        let counts = batch.counts();
        let written = UnsealedBatch::of(batch);
        let shard = self.table.log().shard();
        let seal = |version| written.as_ref().map(|written| written.seal(&self.key, shard, version));
        let commit = Commit {
            kind: RecordKind::Rows,
            at,
            division: self.division,
            key: self.key.id(),
            streams: moved,
            seal: &seal,
        };
        let version = self.table.commit(&commit).await?;
        // Only now does memory advance.
        self.known.extend(reached);
        let repeats = match &mut self.repeats {
            Some(index) => {
                let rows = written.as_ref().map(|written| CommittedRows {
                    rows: &written.built.rows,
                    content_digests: written.built.content_digests(),
                });
                index.committed(&self.table, rows).await?
            }
            None => None,
        };
        Ok(Committed { version, tally: counts, repeats })
    }
}

/// A batch's rows as they are for every version that may commit them.
struct UnsealedBatch {
    built: BuiltRows,
    subjects: Vec<Option<String>>,
    subject_of: Vec<u32>,
    counts: Tally,
    meters: Vec<MeterControl>,
}

impl UnsealedBatch {
    /// `None` for a batch that only moves positions.
    fn of(batch: BatchBuilder) -> Option<Self> {
        if batch.rows() == 0 {
            return None;
        }
        let mut subjects: Vec<Option<String>> =
            batch.subjects().map(|subject| Some(subject.to_owned())).collect();
        let none = u32::try_from(subjects.len()).expect("a batch has fewer than 2^32 subjects");
        subjects.push(None);
        let number = |row| {
            batch
                .subject_of(row)
                .map_or(none, |number| u32::try_from(number).expect("a batch has fewer than 2^32 subjects"))
        };
        let subject_of = (0..batch.rows()).map(number).collect();
        let (counts, meters) = (batch.counts(), batch.controls());
        let built = batch.into_rows(0);
        assert_eq!(built.rows.num_rows() as u64, counts.rows(), "received = usage + rejected + gaps");
        Some(Self { built, subjects, subject_of, counts, meters })
    }

    /// The file and the roots of these rows as the rows of `version`.
    fn seal(&self, key: &LeafKey, shard: u32, version: u64) -> SealedRows {
        let BuiltRows { rows, headers, .. } = &self.built;
        let batch = i64::try_from(version).expect("fewer than 2^63 commits");
        let mut columns = rows.columns().to_vec();
        columns[0] = Arc::new(Int64Array::from_value(batch, rows.num_rows()));
        let rows = RecordBatch::try_new(rows.schema(), columns).expect("the first column is `batch`");
        let subjects: Vec<Option<&str>> = self.subjects.iter().map(Option::as_deref).collect();
        let contents = self.built.content_digests();
        let sealed =
            Rows { shard, version, headers, contents, subjects: &subjects, subject_of: &self.subject_of };
        let Sealed { rows_root, subjects, subjects_root, .. } = seal_or_skip(key, &sealed);
        SealedRows {
            file: parquet_bytes(&rows, COLUMNS).into(),
            rows: rows.num_rows() as u64,
            counts: self.counts,
            rows_root,
            subjects,
            subjects_root,
            meters: self.meters.clone(),
        }
    }
}

/// Leaves out the seals where a benchmark wants to know what they cost. The output is then no
/// ledger.
fn seal_or_skip(key: &LeafKey, rows: &Rows<'_>) -> Sealed {
    fail::fail_point!("seal.skip", |_| Sealed {
        leaves: Vec::new(),
        rows_root: proof::hash::RootHash::from_bytes([0; 32]),
        subjects: 0,
        subjects_root: proof::hash::RootHash::from_bytes([0; 32])
    });
    seal(key, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::division::{create_ledger, divide_ledger};
    use schemas::outcome::OutcomeRef;
    use schemas::position::{Advance, NextOffset, Offset, Origin};
    use std::sync::atomic::{AtomicBool, Ordering};

    fn stream(partition: u32) -> Arc<Stream> {
        Arc::new(Stream {
            origin: Origin::Kafka { cluster: "c".to_owned(), topic: "t".to_owned() },
            partition,
        })
    }

    fn now() -> Instant {
        Instant::parse_rfc3339("2025-10-02T08:00:00Z").expect("an instant")
    }

    fn batch(partition: u32, from: i64, to: i64) -> BatchBuilder {
        let mut batch = BatchBuilder::default();
        let index = batch.stream(&stream(partition), "t");
        batch.advance(index, Advance { from: NextOffset(from), to: NextOffset(to), identity: None });
        for offset in from..to {
            let until = Offset(offset + 1);
            batch.push(index, Offset(offset), None, now(), &OutcomeRef::Gap { until, detail: "lost" });
        }
        batch
    }

    #[tokio::test]
    async fn a_ledger_divided_anew_goes_on_where_it_stood() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = &Location::on_disk(folder.path()).expect("a place");
        create_ledger(path).await.expect("an empty ledger");
        let mut whole = ShardWriter::open(path).await.expect("it opens");
        for partition in 0..3 {
            whole.commit(batch(partition, 0, 5), now()).await.expect("it commits");
        }
        let two: Shard = "2/3".parse().expect("a shard");
        assert!(ShardWriter::open_shard(path, two).await.is_err(), "the ledger is not divided so");
        assert!(divide_ledger(path, 3, now()).await.expect("it is divided").changed);
        assert!(!divide_ledger(path, 3, now()).await.expect("it is divided").changed);
        assert!(
            matches!(whole.commit(batch(1, 5, 6), now()).await, Err(LedgerError::Fenced { .. })),
            "the writer of before is fenced"
        );
        let mut second = ShardWriter::open_shard(path, two).await.expect("it opens");
        assert_eq!(second.positions(&[(*stream(1)).clone()]).get(&stream(1)), Some(NextOffset(5)));
        assert!(second.commit(batch(1, 0, 5), now()).await.is_err(), "nothing is repeated");
        second.commit(batch(1, 5, 9), now()).await.expect("it goes on");
        assert!(divide_ledger(path, 1, now()).await.expect("it is put together").changed);
        let mut whole = ShardWriter::open(path).await.expect("it opens");
        whole.commit(batch(1, 9, 10), now()).await.expect("it goes on");
        whole.commit(batch(0, 5, 6), now()).await.expect("it goes on");
    }

    /// For a thread of its own.
    fn alone<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
    }

    #[test]
    fn a_writer_that_goes_on_delays_a_division_and_loses_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = &Location::on_disk(folder.path()).expect("a place");
        alone(create_ledger(path)).expect("an empty ledger");
        let (begun, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let write = async || {
            let mut acknowledged = 0;
            let mut shards = 0;
            while !stop.load(Ordering::Relaxed) {
                shards = shards % 3 + 1;
                let first = format!("1/{shards}").parse().expect("a shard");
                let Ok(mut ledger) = ShardWriter::open_shard(path, first).await else { continue };
                // Until the next division fences it.
                while !stop.load(Ordering::Relaxed)
                    && ledger.commit(batch(0, acknowledged, acknowledged + 1), now()).await.is_ok()
                {
                    acknowledged += 1;
                    begun.store(true, Ordering::Relaxed);
                }
            }
            acknowledged
        };
        let acknowledged = std::thread::scope(|scope| {
            let writer = scope.spawn(|| alone(write()));
            while !begun.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            for shards in [2, 3, 1].into_iter().cycle().take(30) {
                let divided = alone(divide_ledger(path, shards, now()));
                stop.fetch_or(divided.is_err(), Ordering::Relaxed);
                divided.expect("no writer is faster each time");
            }
            stop.store(true, Ordering::Relaxed);
            writer.join().expect("the writer ends")
        });
        let whole = alone(ShardWriter::open(path)).expect("it opens");
        let reached =
            whole.positions(&[(*stream(0)).clone()]).get(&stream(0)).expect("the writer was not idle");
        assert_eq!(reached, NextOffset(acknowledged), "what was acknowledged is there, and nothing else");
    }

    #[test]
    fn all_writers_of_a_new_ledger_may_start_at_once() {
        for _ in 0..10 {
            let folder = tempfile::tempdir().expect("a folder");
            let path = &Location::on_disk(folder.path()).expect("a place");
            alone(create_ledger(path)).expect("an empty ledger");
            std::thread::scope(|scope| {
                for number in 1..=4 {
                    let shard = format!("{number}/4").parse().expect("a shard");
                    scope.spawn(move || {
                        alone(ShardWriter::open_shard(path, shard)).map(drop).expect("it opens its shard")
                    });
                }
            });
        }
    }
}
