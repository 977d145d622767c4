//! The loop: discover → positions → assign → (next: decode into columns → commit), until stopped or
//! caught up.
//!
//! It keeps no state that matters: everything it knows about progress is in the ledger, so starting
//! and restarting are the same.

use crate::IngestError;
use crate::decode::Decoder;
use crate::metrics::{CommitFigures, Metrics};
use crate::source::{BatchPolicy, Record, Sink, Source, SourceEvent};
use crate::stop::{PATIENCE, Stop};
use ledger::row::BatchBuilder;
use ledger::{Committed, Repeats, ShardWriter};
use schemas::outcome::{OutcomeRef, Tally};
use schemas::position::{Advance, LastRecord, Stream};
use schemas::rejection::Reason;
use schemas::time::Instant;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::task::block_in_place;

#[derive(Debug, Clone)]
pub struct Settings {
    pub policy: BatchPolicy,
    /// End when everything that was there at the start is in the ledger, rather than wait for more.
    pub until_caught_up: bool,
    /// Counts on the way, for whoever watches.
    pub metrics: Arc<Metrics>,
}

/// The commits of this run so far, added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    pub tally: Tally,
    /// They add up to `tally.rejected`.
    pub rejected_by_reason: BTreeMap<Reason, u64>,
    /// Usage that repeats an id of this shard; nothing where rows are not classified, or not all of
    /// them.
    pub repeats: Option<Repeats>,
    pub commits: u64,
    /// The Delta version of the last commit.
    pub version: Option<u64>,
    /// Records known to be waiting, where the source can tell.
    pub lag: Option<u64>,
}

/// The commits of a whole run.
pub type Summary = Progress;

impl Progress {
    /// `usage + rejected`; a gap is not a record.
    pub fn received(&self) -> u64 {
        self.tally.received()
    }

    fn add(&mut self, commit: &CommitFigures) {
        self.tally += commit.tally;
        for (reason, count) in &commit.rejected_by_reason {
            *self.rejected_by_reason.entry(*reason).or_default() += count;
        }
        self.repeats = self.repeats.zip(commit.repeats).map(|(before, now)| Repeats {
            duplicates: before.duplicates + now.duplicates,
            conflicts: before.conflicts + now.conflicts,
        });
        self.commits += 1;
        self.version = Some(commit.version);
    }
}

/// Reads `source` into `ledger`. Must run on a multi-threaded tokio runtime, because sources block.
///
/// # Errors
/// The first thing that waiting does not cure: a fenced or damaged ledger, a source that cannot be
/// read as configured. Everything committed before stays, and the next run goes on from there.
pub async fn run(
    source: &mut dyn Source,
    decoder: &mut Decoder,
    ledger: &mut ShardWriter,
    settings: &Settings,
    stop: &Stop,
    clock: impl Fn() -> Instant,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Summary, IngestError> {
    settings.metrics.opened(ledger.version(), ledger.committed_at());
    let told = Cell::new(None);
    let clock = || forward(clock(), &told);
    let repeats = ledger.is_classifying().then(Repeats::default);
    let so_far = Progress { repeats, ..Progress::default() };
    let mut run = Run {
        source,
        decoder,
        ledger,
        settings,
        stop,
        clock: &clock,
        discovered_at: None,
        rows_before: 0,
        so_far,
    };
    while !stop.is_requested() {
        match run.turn().await {
            Ok(ControlFlow::Continue(())) => progress(&run.so_far),
            // A stop while waiting is a clean end: nothing of the open batch was committed.
            Ok(ControlFlow::Break(())) | Err(IngestError::Stopped) => break,
            Err(error) => return Err(error),
        }
    }
    run.ledger.finish_checkpoint().await;
    progress(&run.so_far);
    Ok(run.so_far)
}

/// A run between two turns of its loop.
struct Run<'a> {
    source: &'a mut dyn Source,
    decoder: &'a mut Decoder,
    ledger: &'a mut ShardWriter,
    settings: &'a Settings,
    stop: &'a Stop,
    clock: &'a dyn Fn() -> Instant,
    /// When the source was last looked at for streams.
    discovered_at: Option<std::time::Instant>,
    /// How many rows the batch before had: the next one most often has about as many.
    rows_before: usize,
    so_far: Progress,
}

impl Run<'_> {
    /// Reads a batch and commits it. Breaks where there is no more and no more is waited for.
    async fn turn(&mut self) -> Result<ControlFlow<()>, IngestError> {
        self.settings.metrics.turn();
        if self.discovered_at.is_none_or(|at| at.elapsed() >= self.source.rediscover_every()) {
            self.assign_new_streams()?;
            self.discovered_at = Some(std::time::Instant::now());
        }
        match self.read()? {
            (SourceEvent::Batch, batch) => self.commit(batch).await?,
            (SourceEvent::CaughtUp, _) if self.settings.until_caught_up => {
                block_in_place(|| self.source.complete())?;
                return Ok(ControlFlow::Break(()));
            }
            (SourceEvent::CaughtUp, _) => tokio::time::sleep(PATIENCE).await,
            (SourceEvent::Idle, _) => {}
        }
        self.so_far.lag = block_in_place(|| self.source.lag());
        self.settings.metrics.watermarks(self.source.watermarks());
        Ok(ControlFlow::Continue(()))
    }

    /// Looks for streams, and has each read on from where the ledger has it.
    fn assign_new_streams(&mut self) -> Result<(), IngestError> {
        let streams = block_in_place(|| self.source.discover(self.stop))?;
        let positions = self.ledger.positions(&streams);
        positions.iter().for_each(|(stream, next)| self.settings.metrics.position(stream, next));
        block_in_place(|| self.source.assign(&positions, self.stop))?;
        if !streams.is_empty() {
            tracing::info!(
                event = "streams.assigned",
                streams = streams.len(),
                read_before = positions.iter().count(),
                "reading more streams"
            );
        }
        Ok(())
    }

    /// Decodes the next batch into columns.
    fn read(&mut self) -> Result<(SourceEvent, OpenBatch), IngestError> {
        let mut decoding = Decoding {
            decoder: self.decoder,
            batch: OpenBatch::expecting(self.rows_before),
            received_at: None,
            not_before: self.ledger.committed_at(),
            clock: self.clock,
            stop: self.stop,
        };
        let event = block_in_place(|| self.source.next(&self.settings.policy, self.stop, &mut decoding))?;
        Ok((event, decoding.batch))
    }

    /// Commits a batch, then tells everyone who counts or waits.
    async fn commit(&mut self, batch: OpenBatch) -> Result<(), IngestError> {
        let OpenBatch { rows, rejected_by_reason, lost, bytes } = batch;
        fail::fail_point!("ingest.polled");
        self.rows_before = rows.rows();
        let moved: Vec<Stream> = rows.advances().map(|(stream, ..)| stream.clone()).collect();
        let (at, begun) = ((self.clock)(), std::time::Instant::now());
        let Committed { version, tally, repeats } = self.ledger.commit(rows, at).await?;
        let took = begun.elapsed();
        tracing::debug!(
            event = "batch.committed",
            version,
            usage = tally.usage,
            rejected = tally.rejected,
            gaps = tally.gaps,
            bytes,
            ?took,
            "a batch is in the ledger"
        );
        let figures = CommitFigures { version, tally, rejected_by_reason, repeats, lost, bytes, took, at };
        self.settings.metrics.committed(&figures);
        self.so_far.add(&figures);
        let positions = self.ledger.positions(&moved);
        positions.iter().for_each(|(stream, next)| self.settings.metrics.position(stream, next));
        self.source.committed(&positions);
        Ok(())
    }
}

/// The time that the clock told, and a warning where it told a later one before.
fn forward(now: Instant, told: &Cell<Option<Instant>>) -> Instant {
    if let Some(before) = told.replace(Some(now)).filter(|before| now < *before) {
        let seconds = before.micros().abs_diff(now.micros()) / 1_000_000;
        tracing::warn!(
            event = "clock.back",
            seconds,
            "the clock of this machine went back from {before} to {now}"
        );
    }
    now
}

/// The meters in a batch at which it is full: the record of a commit names each of them, and whoever
/// sends could make a new one with every event.
const MOST_METERS: usize = 10_000;

/// The open batch: its rows, and what the ledger does not count of them.
struct OpenBatch {
    rows: BatchBuilder,
    rejected_by_reason: BTreeMap<Reason, u64>,
    /// Offsets inside gaps.
    lost: u64,
    /// Of keys, headers and values.
    bytes: u64,
}

impl OpenBatch {
    fn expecting(rows: usize) -> Self {
        let rows = BatchBuilder::expecting(rows);
        Self { rows, rejected_by_reason: BTreeMap::new(), lost: 0, bytes: 0 }
    }
}

/// Decodes each record as it comes into the open batch; only what its row says is kept.
struct Decoding<'a> {
    decoder: &'a mut Decoder,
    batch: OpenBatch,
    /// When the first record of the batch was read; one instant for all of them.
    received_at: Option<Instant>,
    /// When the batch before was committed: the time in the ledger never goes back, whatever the
    /// clock does.
    not_before: Option<Instant>,
    clock: &'a dyn Fn() -> Instant,
    stop: &'a Stop,
}

impl Sink for Decoding<'_> {
    fn record(&mut self, record: &Record<'_>) -> Result<(), IngestError> {
        let Self { decoder, batch, received_at, not_before, clock, stop } = self;
        let OpenBatch { rows, rejected_by_reason, lost, bytes } = batch;
        let received_at =
            *received_at.get_or_insert_with(|| not_before.map_or(clock(), |before| before.max(clock())));
        let stream = rows.stream(record.stream, record.origin_name);
        rows.advance(stream, record.advance);
        *bytes += record.raw.size() as u64;
        decoder.decode(&record.raw, record.content, received_at, stop, |outcome| {
            match outcome {
                OutcomeRef::Usage(_) => {}
                OutcomeRef::Rejected { reason, .. } => *rejected_by_reason.entry(*reason).or_default() += 1,
                OutcomeRef::Gap { until, .. } => *lost += until.0.abs_diff(record.offset.0),
            }
            rows.push(stream, record.offset, record.produced_at, received_at, outcome);
        })
    }

    fn last(&mut self, stream: &Arc<Stream>, origin_name: &str, last: LastRecord) {
        let stream = self.batch.rows.stream(stream, origin_name);
        self.batch.rows.last(stream, last);
    }

    fn pass(&mut self, stream: &Arc<Stream>, origin_name: &str, advance: Advance) -> Result<(), IngestError> {
        let rows = &mut self.batch.rows;
        let stream = rows.stream(stream, origin_name);
        rows.advance(stream, advance);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.batch.rows.meters() >= MOST_METERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::registry::SchemaTable;
    use crate::source::{Batch, Content, RawRef};
    use schemas::digest::Sha256Digest;
    use schemas::position::{NextOffset, Offset, Origin, Position, Positions, Stream};
    use std::time::Duration;

    const EVENT: &[u8] = br#"{"specversion":"1.0","id":"e","source":"//node","type":"m","subject":"s","time":"2025-10-01T00:00:00Z","data":{"value":"1"}}"#;
    const BATCHES: i64 = 3;

    /// Two streams that have a record in each batch, and what the loop does with them.
    struct Scripted {
        every: Duration,
        streams: [Arc<Stream>; 2],
        discovered: u32,
        /// The next offset to hand out.
        next: i64,
        durable: Positions,
    }

    impl Scripted {
        fn new(every: Duration) -> Self {
            let origin = Origin::File { digest: Sha256Digest::of(b"a file") };
            let stream = |partition| Arc::new(Stream { origin: origin.clone(), partition });
            let streams = [stream(0), stream(1)];
            Self { every, streams, discovered: 0, next: 0, durable: Positions::default() }
        }

        /// How far everything has been handed out.
        fn handed_out(&self) -> Positions {
            let mut positions = Positions::default();
            for stream in self.streams.iter().filter(|_| self.next > 0) {
                positions.set((**stream).clone(), Position::at(NextOffset(self.next)));
            }
            positions
        }
    }

    impl Source for Scripted {
        fn discover(&mut self, _: &Stop) -> Result<Vec<Stream>, IngestError> {
            self.discovered += 1;
            Ok(Vec::new())
        }

        fn rediscover_every(&self) -> Duration {
            self.every
        }

        fn assign(&mut self, _: &Positions, _: &Stop) -> Result<(), IngestError> {
            Ok(())
        }

        fn next(
            &mut self,
            _: &BatchPolicy,
            _: &Stop,
            sink: &mut dyn Sink,
        ) -> Result<SourceEvent, IngestError> {
            assert_eq!(
                self.durable,
                self.handed_out(),
                "a batch is asked for when the one before is durable"
            );
            if self.next == BATCHES {
                return Ok(SourceEvent::CaughtUp);
            }
            let (offset, from) = (Offset(self.next), NextOffset(self.next));
            self.next += 1;
            for stream in &self.streams {
                sink.record(&Record {
                    stream,
                    origin_name: "a file",
                    offset,
                    advance: Advance { from, to: offset.next(), identity: None },
                    produced_at: None,
                    raw: RawRef { value: Some(EVENT), ..RawRef::default() },
                    content: Content::Json,
                })?;
            }
            Ok(SourceEvent::Batch)
        }

        fn committed(&mut self, positions: &Positions) {
            self.durable = positions.clone();
        }

        fn lag(&mut self) -> Option<u64> {
            None
        }
    }

    /// Reads a source to its end into a new ledger.
    async fn ingest(source: &mut dyn Source) -> Summary {
        let folder = tempfile::tempdir().expect("a folder");
        let at = ledger::Location::on_disk(folder.path()).expect("a place");
        ledger::create_ledger(&at).await.expect("a ledger");
        let mut ledger = ShardWriter::open(&at).await.expect("a ledger");
        let mut decoder = Decoder::new(Box::new(SchemaTable::default()), []);
        let settings =
            Settings { policy: BatchPolicy::default(), until_caught_up: true, metrics: Arc::default() };
        let now = || Instant::parse_rfc3339("2025-11-03T00:00:00Z").expect("an instant");
        run(source, &mut decoder, &mut ledger, &settings, &Stop::default(), now, &mut |_| {})
            .await
            .expect("nothing goes wrong")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_source_is_told_what_is_durable_before_it_is_asked_for_more() {
        let mut source = Scripted::new(Duration::MAX);
        let summary = ingest(&mut source).await;
        assert_eq!(
            (summary.received(), summary.tally, summary.commits),
            (6, Tally { usage: 6, rejected: 0, gaps: 0 }, 3)
        );
        assert_eq!(source.durable, source.handed_out());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_source_says_how_often_it_is_looked_at_for_streams() {
        for (every, discovered) in [(Duration::MAX, 1), (Duration::ZERO, 4)] {
            let mut source = Scripted::new(every);
            ingest(&mut source).await;
            assert_eq!(source.discovered, discovered, "every {every:?}, in three batches and an end");
        }
    }

    /// A stream whose every record has a meter of its own.
    struct ManyMeters {
        stream: Arc<Stream>,
        next: i64,
        records: i64,
    }

    impl Source for ManyMeters {
        fn discover(&mut self, _: &Stop) -> Result<Vec<Stream>, IngestError> {
            Ok(Vec::new())
        }

        fn rediscover_every(&self) -> Duration {
            Duration::MAX
        }

        fn assign(&mut self, _: &Positions, _: &Stop) -> Result<(), IngestError> {
            Ok(())
        }

        fn next(
            &mut self,
            policy: &BatchPolicy,
            _: &Stop,
            sink: &mut dyn Sink,
        ) -> Result<SourceEvent, IngestError> {
            let mut batch = Batch::new(sink);
            while self.next < self.records && !batch.is_full(policy) {
                let (offset, from) = (Offset(self.next), NextOffset(self.next));
                self.next += 1;
                let text = std::str::from_utf8(EVENT).expect("text");
                let event = text.replace(r#""m""#, &format!("\"m{offset}\""));
                batch.push(&Record {
                    stream: &self.stream,
                    origin_name: "a file",
                    offset,
                    advance: Advance { from, to: offset.next(), identity: None },
                    produced_at: None,
                    raw: RawRef { value: Some(event.as_bytes()), ..RawRef::default() },
                    content: Content::Json,
                })?;
            }
            Ok(if batch.is_empty() { SourceEvent::CaughtUp } else { SourceEvent::Batch })
        }

        fn lag(&mut self) -> Option<u64> {
            None
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_batch_has_a_bounded_number_of_meters() {
        let [stream, _] = Scripted::new(Duration::MAX).streams;
        let records = i64::try_from(MOST_METERS).expect("a few") + 1;
        let summary = ingest(&mut ManyMeters { stream, next: 0, records }).await;
        assert_eq!((summary.tally.usage, summary.commits), (10_001, 2));
    }

    #[test]
    fn the_clock_is_believed_even_when_it_goes_back() {
        let at = |micros| Instant::from_micros(micros).expect("an instant");
        let told = Cell::new(None);
        for micros in [5, 7, 3, 4] {
            assert_eq!(forward(at(micros), &told), at(micros));
            assert_eq!(told.get(), Some(at(micros)), "so that one step back is one warning");
        }
    }
}
