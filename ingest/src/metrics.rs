//! The counts of a running ingest, for whoever watches it: plain numbers that one side adds to and
//! the other reads.
//!
//! It decides nothing and shows nothing; the `jobs` crate puts the numbers into words and on the
//! network. Nothing here waits: a reader that is slow or gone is not noticed.
//!
//! Invariant: only what is in the ledger is counted, so after a clean stop the counts are the
//! ledger's own.

use crate::source::Watermarks;
use ledger::Repeats;
use schemas::outcome::Tally;
use schemas::position::{NextOffset, Origin, Stream};
use schemas::rejection::Reason;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Upper bounds of a commit's duration, in microseconds.
const COMMIT_MICROS: &[u64] = &[
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
    30_000_000, 60_000_000,
];
const BATCH_ROWS: &[u64] = &[1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
const BATCH_BYTES: &[u64] =
    &[1 << 10, 16 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30];

/// How often a number fell below each of some bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is larger.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramReading {
    /// Each bound, and how many numbers were not above it.
    pub buckets: Vec<(u64, u64)>,
    pub count: u64,
    pub sum: u64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    fn observe(&self, number: u64) {
        add(&self.counts[self.bounds.partition_point(|bound| *bound < number)], 1);
        add(&self.sum, number);
    }

    /// Its count is the sum of the counts that were read, so that a reading always agrees with
    /// itself.
    pub fn read(&self) -> HistogramReading {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (bound, number) in self.bounds.iter().zip(&self.counts) {
            count += read(number);
            buckets.push((*bound, count));
        }
        count += read(&self.counts[self.bounds.len()]);
        HistogramReading { buckets, count, sum: read(&self.sum) }
    }
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionReading {
    /// The next offset to read, as the ledger has it; none before the first commit of a partition.
    pub position: Option<NextOffset>,
    /// The offsets that the broker has, once it was asked.
    pub broker: Option<BrokerReading>,
}

/// The offsets that the broker has of a partition, as [`Watermarks`] says them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerReading {
    pub low: NextOffset,
    pub stable: NextOffset,
    pub high: NextOffset,
    pub is_readable: bool,
}

impl PartitionReading {
    /// Records that can be read and are not in the ledger, once the broker was asked: at most so
    /// many, because an offset may have none.
    pub fn lag(&self) -> Option<u64> {
        let BrokerReading { low, stable, .. } = self.broker?;
        let from = self.position.map_or(low, |position| position.max(low));
        Some((stable.0 - from.0).max(0).unsigned_abs())
    }

    /// Offsets that open transactions hold back, once the broker was asked.
    pub fn held(&self) -> Option<u64> {
        let BrokerReading { stable, high, .. } = self.broker?;
        Some((high.0 - stable.0).max(0).unsigned_abs())
    }
}

/// Counts since the process started. Shared by an `Arc`; every method takes `&self`.
#[derive(Debug)]
pub struct Metrics {
    created: Instant,
    /// Milliseconds from `created` to the last turn of the loop.
    turned: AtomicU64,
    usage: AtomicU64,
    rejected: [AtomicU64; Reason::ALL.len()],
    gaps: AtomicU64,
    lost: AtomicU64,
    classifies: AtomicBool,
    duplicates: AtomicU64,
    conflicts: AtomicU64,
    version: AtomicU64,
    committed_at: AtomicI64,
    commit_micros: Histogram,
    batch_rows: Histogram,
    batch_bytes: Histogram,
    partitions: Mutex<BTreeMap<Stream, PartitionReading>>,
}

/// One commit in numbers: those of the ledger, and those that only whoever read the batch knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFigures {
    pub version: u64,
    pub tally: Tally,
    /// They add up to `counts.rejected`.
    pub rejected_by_reason: BTreeMap<Reason, u64>,
    /// Nothing where rows are not classified.
    pub repeats: Option<Repeats>,
    /// Offsets inside gaps: records that were gone before they were read, or as many as there can
    /// have been.
    pub lost: u64,
    /// Of keys, headers and values.
    pub bytes: u64,
    /// From the decision to commit until it was durable.
    pub took: Duration,
    /// The wall clock when it was durable.
    pub at: schemas::time::Instant,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            created: Instant::now(),
            turned: AtomicU64::new(0),
            usage: AtomicU64::new(0),
            rejected: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            gaps: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            classifies: AtomicBool::new(false),
            duplicates: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            version: AtomicU64::new(0),
            committed_at: AtomicI64::new(i64::MIN),
            commit_micros: Histogram::new(COMMIT_MICROS),
            batch_rows: Histogram::new(BATCH_ROWS),
            batch_bytes: Histogram::new(BATCH_BYTES),
            partitions: Mutex::new(BTreeMap::new()),
        }
    }
}

impl Metrics {
    /// The loop has come round: it reads, commits, or finds nothing to do. Waiting for somebody
    /// else is no turn.
    pub fn turn(&self) {
        let now = u64::try_from(self.created.elapsed().as_millis())
            .expect("a process lives less than 2^64 milliseconds");
        self.turned.store(now, Ordering::Relaxed);
    }

    /// The ledger was opened at this version, which was committed at that time.
    pub fn opened(&self, version: u64, at: Option<schemas::time::Instant>) {
        self.version.store(version, Ordering::Relaxed);
        if let Some(at) = at {
            self.committed_at.store(at.micros(), Ordering::Relaxed);
        }
    }

    /// A commit is durable.
    pub fn committed(&self, commit: &CommitFigures) {
        let Tally { usage, rejected, gaps } = commit.tally;
        add(&self.usage, usage);
        for (reason, count) in &commit.rejected_by_reason {
            add(&self.rejected[*reason as usize], *count);
        }
        add(&self.gaps, gaps);
        add(&self.lost, commit.lost);
        if let Some(repeats) = commit.repeats {
            self.classified(repeats);
        }
        self.version.store(commit.version, Ordering::Relaxed);
        self.committed_at.store(commit.at.micros(), Ordering::Relaxed);
        self.batch_rows.observe(usage + rejected + gaps);
        self.batch_bytes.observe(commit.bytes);
        self.commit_micros.observe(
            u64::try_from(commit.took.as_micros()).expect("a commit takes less than 2^64 microseconds"),
        );
    }

    /// How many rows of a commit repeat an id. Until this is called, nothing is said about it.
    pub fn classified(&self, repeats: Repeats) {
        self.classifies.store(true, Ordering::Relaxed);
        add(&self.duplicates, repeats.duplicates);
        add(&self.conflicts, repeats.conflicts);
    }

    /// The ledger has read a stream up to there.
    pub fn position(&self, stream: &Stream, next: NextOffset) {
        // Files have no broker to lag behind, and there may be very many of them.
        if matches!(stream.origin, Origin::Kafka { .. }) {
            self.partitions().entry(stream.clone()).or_default().position = Some(next);
        }
    }

    /// The offsets that the broker has of its partitions.
    pub fn watermarks(&self, watermarks: Vec<Watermarks>) {
        let mut partitions = self.partitions();
        for Watermarks { stream, low, stable, high, is_readable } in watermarks {
            let broker = BrokerReading { low, stable, high, is_readable };
            partitions.entry(stream).or_default().broker = Some(broker);
        }
    }

    pub fn usage(&self) -> u64 {
        read(&self.usage)
    }

    /// Rejected rows, each reason once and in order.
    pub fn rejected(&self) -> Vec<(Reason, u64)> {
        Reason::ALL.iter().map(|reason| (*reason, read(&self.rejected[*reason as usize]))).collect()
    }

    pub fn gaps(&self) -> u64 {
        read(&self.gaps)
    }

    pub fn lost(&self) -> u64 {
        read(&self.lost)
    }

    /// Duplicates and conflicts, where ingest classifies.
    pub fn repeats(&self) -> Option<Repeats> {
        let repeats = Repeats { duplicates: read(&self.duplicates), conflicts: read(&self.conflicts) };
        self.classifies.load(Ordering::Relaxed).then_some(repeats)
    }

    pub fn version(&self) -> u64 {
        read(&self.version)
    }

    /// The wall clock at the last commit.
    pub fn committed_at(&self) -> Option<schemas::time::Instant> {
        schemas::time::Instant::from_micros(self.committed_at.load(Ordering::Relaxed)).ok()
    }

    pub fn commit_micros(&self) -> HistogramReading {
        self.commit_micros.read()
    }

    pub fn batch_rows(&self) -> HistogramReading {
        self.batch_rows.read()
    }

    pub fn batch_bytes(&self) -> HistogramReading {
        self.batch_bytes.read()
    }

    /// Where each partition stands.
    pub fn partition_readings(&self) -> Vec<(Stream, PartitionReading)> {
        self.partitions().iter().map(|(stream, reading)| (stream.clone(), *reading)).collect()
    }

    /// How long ago the loop last came round, or the process started.
    pub fn idle(&self) -> Duration {
        self.created.elapsed().saturating_sub(Duration::from_millis(read(&self.turned)))
    }

    fn partitions(&self) -> MutexGuard<'_, BTreeMap<Stream, PartitionReading>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_on_a_bound_belongs_below_it() {
        let histogram = Histogram::new(&[10, 100]);
        for number in [0, 10, 11, 100, 101] {
            histogram.observe(number);
        }
        assert_eq!(
            histogram.read(),
            HistogramReading { buckets: vec![(10, 2), (100, 4)], count: 5, sum: 222 }
        );
    }

    #[test]
    fn lag_counts_what_the_broker_still_has() {
        let broker = |low, stable, high| {
            let [low, stable, high] = [low, stable, high].map(NextOffset);
            Some(BrokerReading { low, stable, high, is_readable: true })
        };
        let reading = |position: Option<i64>, low, stable| {
            let position = position.map(NextOffset);
            PartitionReading { position, broker: broker(low, stable, stable + 7) }.lag()
        };
        assert_eq!(reading(Some(40), 10, 50), Some(10));
        assert_eq!(reading(None, 10, 50), Some(40));
        assert_eq!(reading(Some(5), 10, 50), Some(40), "what retention took cannot be read any more");
        assert_eq!(reading(Some(60), 10, 50), Some(0), "the broker was asked before the last commit");
        assert_eq!(PartitionReading::default().lag(), None);
        let reading = PartitionReading { position: Some(NextOffset(50)), broker: broker(10, 50, 57) };
        assert_eq!((reading.lag(), reading.held()), (Some(0), Some(7)), "an open transaction is no lag");
    }

    #[test]
    fn every_reason_has_its_own_count() {
        let metrics = Metrics::default();
        let rejected_by_reason: BTreeMap<Reason, u64> =
            Reason::ALL.iter().zip(1..).map(|(reason, count)| (*reason, count)).collect();
        let rejected = rejected_by_reason.values().sum();
        let at = schemas::time::Instant::from_micros(1).expect("an instant");
        let figures = CommitFigures {
            version: 3,
            tally: Tally { usage: 2, rejected, gaps: 1 },
            rejected_by_reason: rejected_by_reason.clone(),
            repeats: None,
            lost: 7,
            bytes: 9,
            took: Duration::from_millis(5),
            at,
        };
        metrics.committed(&figures);
        assert_eq!(metrics.rejected(), rejected_by_reason.into_iter().collect::<Vec<_>>());
        assert_eq!([metrics.usage(), metrics.gaps(), metrics.lost(), metrics.version()], [2, 1, 7, 3]);
        assert_eq!(metrics.batch_rows().sum, rejected + 3);
        assert_eq!(metrics.commit_micros().buckets[0], (5_000, 1));
        assert_eq!(metrics.committed_at(), Some(at));
        assert_eq!(metrics.repeats(), None);
        let repeats = Repeats { duplicates: 4, conflicts: 5 };
        metrics.committed(&CommitFigures {
            version: 4,
            tally: Tally { usage: 9, ..Tally::default() },
            rejected_by_reason: BTreeMap::new(),
            repeats: Some(repeats),
            ..figures
        });
        assert_eq!(metrics.repeats(), Some(repeats));
    }

    #[test]
    fn only_partitions_have_a_place() {
        let metrics = Metrics::default();
        let file =
            Stream { origin: Origin::File { digest: schemas::digest::Sha256Digest::of(b"") }, partition: 0 };
        let partition =
            Stream { origin: Origin::Kafka { cluster: "c".into(), topic: "t".into() }, partition: 2 };
        metrics.position(&file, NextOffset(3));
        metrics.position(&partition, NextOffset(4));
        metrics.watermarks(vec![Watermarks {
            stream: partition.clone(),
            low: NextOffset(1),
            stable: NextOffset(8),
            high: NextOffset(9),
            is_readable: false,
        }]);
        let expected = PartitionReading {
            position: Some(NextOffset(4)),
            broker: Some(BrokerReading {
                low: NextOffset(1),
                stable: NextOffset(8),
                high: NextOffset(9),
                is_readable: false,
            }),
        };
        assert_eq!(metrics.partition_readings(), [(partition, expected)]);
    }
}
