//! The loop: discover → positions → assign → (next: decode into columns → commit), until stopped or caught up.
//!
//! It keeps no state that matters: everything it knows about progress is in the ledger, so starting and restarting are the same.

use crate::IngestError;
use crate::decode::Decoder;
use crate::source::{BatchPolicy, PATIENCE, Record, Sink, Source, SourceEvent, Stop};
use ledger::row::{BatchBuilder, OutcomeRef};
use ledger::{Ledger, Repeats};
use schemas::rejection::Reason;
use schemas::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::block_in_place;

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub policy: BatchPolicy,
    /// End when everything that was there at the start is in the ledger, rather than wait for more.
    pub until_caught_up: bool,
    /// How often to look for new partitions or files.
    pub rediscover_every: Duration,
}

/// What this run has committed so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// `usage + rejected`; a gap is not a record.
    pub received: u64,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    pub rejected_by_reason: BTreeMap<Reason, u64>,
    /// Usage that repeats an id of this shard; nothing where rows are not classified, or not all of them.
    pub repeats: Option<Repeats>,
    pub commits: u64,
    /// The Delta version of the last commit.
    pub version: Option<u64>,
    /// Records known to be waiting, where the source can tell.
    pub lag: Option<u64>,
}

/// What a whole run has committed.
pub type Summary = Progress;

/// Reads `source` into `ledger`. Must run on a multi-threaded tokio runtime, because sources block.
///
/// # Errors
/// The first thing that waiting does not cure: a fenced or damaged ledger, a source that cannot be read as configured.
/// Whatever was committed before stays, and the next run goes on from there.
pub async fn run(
    source: &mut dyn Source,
    decoder: &mut Decoder,
    ledger: &mut Ledger,
    settings: &Settings,
    stop: &Stop,
    clock: impl Fn() -> Instant,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Summary, IngestError> {
    let mut so_far = Progress { repeats: Some(Repeats::default()), ..Progress::default() };
    let mut discovered_at: Option<std::time::Instant> = None;
    while !stop.is_requested() {
        if discovered_at.is_none_or(|at| at.elapsed() >= settings.rediscover_every) {
            let Some(streams) = unless_stopped(block_in_place(|| source.discover(stop)))? else { break };
            let positions = ledger.positions(&streams);
            if unless_stopped(block_in_place(|| source.assign(&positions, stop)))?.is_none() {
                break;
            }
            discovered_at = Some(std::time::Instant::now());
        }
        let mut rows = Rows {
            decoder,
            batch: BatchBuilder::default(),
            rejected: BTreeMap::new(),
            received_at: None,
            not_before: ledger.committed_at(),
            clock: &clock,
            stop,
        };
        let Some(event) = unless_stopped(block_in_place(|| source.next(&settings.policy, stop, &mut rows)))? else { break };
        match event {
            SourceEvent::Batch => {
                let Rows { batch, rejected, .. } = rows;
                fail::fail_point!("ingest.polled");
                let committed = ledger.commit(batch, clock()).await?;
                so_far.received += committed.usage + committed.rejected;
                so_far.usage += committed.usage;
                so_far.rejected += committed.rejected;
                so_far.gaps += committed.gaps;
                for (reason, count) in rejected {
                    *so_far.rejected_by_reason.entry(reason).or_default() += count;
                }
                so_far.repeats = so_far
                    .repeats
                    .zip(committed.repeats)
                    .map(|(before, now)| Repeats { duplicates: before.duplicates + now.duplicates, conflicts: before.conflicts + now.conflicts });
                so_far.commits += 1;
                so_far.version = Some(committed.version);
            }
            SourceEvent::CaughtUp if settings.until_caught_up => break,
            SourceEvent::CaughtUp => tokio::time::sleep(PATIENCE).await,
            SourceEvent::Idle => {}
        }
        so_far.lag = block_in_place(|| source.lag());
        progress(&so_far);
    }
    ledger.settle().await;
    progress(&so_far);
    Ok(so_far)
}

/// A stop while waiting is a clean end, not an error: nothing of the open batch was committed.
fn unless_stopped<T>(result: Result<T, IngestError>) -> Result<Option<T>, IngestError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(IngestError::Stopped) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The rows of the open batch: each record is decoded as it comes, and only what its row says is kept.
struct Rows<'a> {
    decoder: &'a mut Decoder,
    batch: BatchBuilder,
    rejected: BTreeMap<Reason, u64>,
    /// When the first record of the batch was read; one instant for all of them.
    received_at: Option<Instant>,
    /// When the batch before was committed: the time in the ledger never goes back, whatever the clock does.
    not_before: Option<Instant>,
    clock: &'a dyn Fn() -> Instant,
    stop: &'a Stop,
}

impl Sink for Rows<'_> {
    fn record(&mut self, record: &Record<'_>) -> Result<(), IngestError> {
        let Self { decoder, batch, rejected, received_at, not_before, clock, stop } = self;
        let received_at = *received_at.get_or_insert_with(|| not_before.map_or(clock(), |before| before.max(clock())));
        let stream = batch.stream(record.stream, record.origin_name);
        batch.advance(stream, record.advance);
        decoder.decode(&record.raw, record.content, received_at, stop, |outcome| {
            if let OutcomeRef::Rejected { reason, .. } = outcome {
                *rejected.entry(*reason).or_default() += 1;
            }
            batch.push(stream, record.offset, record.produced_at, received_at, outcome);
        })
    }
}
