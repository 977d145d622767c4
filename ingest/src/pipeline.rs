//! The loop: discover → positions → assign → (next → decode → commit), until stopped or caught up.
//!
//! It keeps no state that matters: everything it knows about progress is in the ledger, so starting and restarting are the same.

use crate::IngestError;
use crate::decode::Decoder;
use crate::source::{BatchPolicy, PATIENCE, RawBatch, Source, SourceEvent, Stop};
use ledger::Ledger;
use schemas::batch::{DecodedBatch, Outcome};
use schemas::id::EventKey;
use schemas::rejection::Reason;
use schemas::time::Instant;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
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
    /// Usage whose `(source, id)` this run has seen before. An indication only: it forgets old ids and knows nothing of
    /// earlier runs. What counts as a duplicate is decided by the ledger's order alone.
    pub duplicates_seen: u64,
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
    let mut so_far = Progress::default();
    let mut seen = SeenIds::default();
    let mut discovered_at: Option<std::time::Instant> = None;
    while !stop.is_requested() {
        if discovered_at.is_none_or(|at| at.elapsed() >= settings.rediscover_every) {
            let Some(streams) = unless_stopped(block_in_place(|| source.discover(stop)))? else { break };
            let positions = ledger.positions(&streams).await?;
            if unless_stopped(block_in_place(|| source.assign(&positions, stop)))?.is_none() {
                break;
            }
            discovered_at = Some(std::time::Instant::now());
        }
        match block_in_place(|| source.next(&settings.policy, stop))? {
            SourceEvent::Batch(raw) => {
                let Some(batch) = unless_stopped(block_in_place(|| decode(decoder, raw, clock(), stop)))? else { break };
                let committed = ledger.commit(&batch).await?;
                so_far.count(&batch, &mut seen);
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

fn decode(decoder: &mut Decoder, raw: RawBatch, received_at: Instant, stop: &Stop) -> Result<DecodedBatch, IngestError> {
    let RawBatch { records, advances, .. } = raw;
    let records = records.into_iter().map(|record| decoder.decode(record, received_at, stop)).collect::<Result<_, _>>()?;
    Ok(DecodedBatch { records, advances })
}

impl Progress {
    fn count(&mut self, batch: &DecodedBatch, seen: &mut SeenIds) {
        for record in &batch.records {
            match &record.outcome {
                Outcome::Usage(event) => {
                    self.received += 1;
                    self.usage += 1;
                    self.duplicates_seen += u64::from(!seen.insert(&event.key));
                }
                Outcome::Rejected { rejection, .. } => {
                    self.received += 1;
                    self.rejected += 1;
                    *self.rejected_by_reason.entry(rejection.reason).or_default() += 1;
                }
                Outcome::Gap { .. } => self.gaps += 1,
            }
        }
    }
}

/// The ids seen lately, as hashes, in two generations of bounded size: at most about 40 MB.
#[derive(Default)]
struct SeenIds {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl SeenIds {
    const GENERATION: usize = 1 << 20;

    /// Whether the id is new.
    fn insert(&mut self, key: &EventKey) -> bool {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let hash = hasher.finish();
        if self.young.len() >= Self::GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash) && !self.old.contains(&hash)
    }
}
