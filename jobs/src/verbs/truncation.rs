//! `atcost accept-truncation`: the decision to read on where a Kafka partition lost what was read
//! from it.
//!
//! The journal has the decision before the ledger follows it. The rows of lost records stay, so
//! nothing is taken from a bill; the records that were written in their place are read.

use super::doctor::ingest_command;
use crate::clock;
use crate::config::Config;
use crate::show::{Answer, Busy, plural, printable};
use anyhow::{Context as _, bail};
use ingest::kafka::{KafkaConfig, Seen, SeenPartition, Truncation, WAY_OUT, look, still_there};
use ledger::journal::{EntryKind, Journal};
use ledger::pinned::{PinnedFiles, Versions};
use ledger::truncation::{accept_truncation, last_records};
use rating::tables::Workspace;
use rating::usage::CountedRows;
use schemas::digest::Sha256Digest;
use schemas::position::{NextOffset, Position, Stream};
use schemas::shard::Shard;
use serde::Serialize;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The decision, as the journal keeps it; the reason is the note of its entry.
#[derive(Debug, Serialize)]
struct Decision {
    stream: String,
    /// How far the ledger had read it, and where it is read on.
    from: i64,
    to: i64,
    /// The leader epoch of the last record that was read, and of the one that stands at `to` now.
    epoch_read: Option<i32>,
    epoch_now: Option<i32>,
    /// Rows of the ledger from `to` on, which stay.
    rows: u64,
    /// The ledger when it was decided.
    ledger_version: Versions,
}

/// A truncation that was accepted.
#[derive(Debug, Serialize)]
pub struct Accepted {
    #[serde(flatten)]
    decision: Decision,
    reason: String,
    /// The number of the journal's entry.
    entry: i64,
    #[serde(skip)]
    next: String,
}

/// Takes a partition back to where the broker has other records than those that were read, or none.
///
/// # Errors
/// When there is no reason, nothing was cut, the topic is another one, the broker does not answer,
/// or another writer was faster.
pub async fn accept(
    config: &Config,
    brokers: Option<&str>,
    topic: Option<&str>,
    partition: u32,
    reason: &str,
) -> anyhow::Result<Accepted> {
    let reason = reason.trim();
    if reason.is_empty() {
        bail!("--reason is empty; say what the broker lost and why, the journal keeps it");
    }
    let kafka = config.kafka.with(brokers, topic)?;
    let _busy = Busy::with("comparing the partition with the ledger");
    let files = PinnedFiles::of_ledger(&config.ledger, None).await?;
    let known = |stream: &Stream| files.position(stream).filter(|_| stream.partition == partition);
    let Seen { identity, partitions } = look(&kafka, &known, ANSWER_WITHIN)?;
    let seen = partitions.into_iter().find(|seen| seen.stream.partition == partition);
    let ingest = |stream: &Stream| {
        ingest_command(&kafka, Shard::taking(stream, files.division.shards).unwrap_or(Shard::WHOLE))
    };
    let SeenPartition { stream, truncation, silent, .. } = seen.with_context(|| {
        format!("topic {:?} has no partition {partition}; give another --partition", kafka.topic)
    })?;
    let position = known(&stream).with_context(|| {
        let ingest = ingest(&stream);
        format!("{stream} was never read, so nothing of it can have been lost; run `{ingest}`")
    })?;
    if let Some((read, now)) = position.identity.zip(identity).filter(|(read, now)| read != now) {
        bail!(
            "{stream}: this ledger has read the topic with the id {read}, the broker has the one with the id {now}: it was created anew, not cut. Give the new topic another name, or start another ledger"
        );
    }
    if let Some(offset) = silent {
        bail!(
            "{stream}: offset {offset}, which was read last, cannot be read again, and nothing arrives in its place. {WAY_OUT}; then try again"
        );
    }
    let Some(truncation) = truncation else {
        bail!(
            "{stream}: the broker still has what was read up to offset {}; nothing was cut",
            position.next.0 - 1
        );
    };
    let to = read_on(config, &kafka, &stream, &truncation).await?;
    let to = Position { identity: position.identity, ..to };
    if to.next >= position.next {
        bail!(
            "{stream}: the broker has what was read again; nothing is to be taken back, run `{}`",
            ingest(&stream)
        );
    }
    let workspace = Workspace::scratch(&config.runs, std::process::id()).await?;
    let usage = CountedRows::open(&files, &workspace.inputs(), config.memory).await?;
    let decision = Decision {
        stream: stream.to_string(),
        from: position.next.0,
        to: to.next.0,
        epoch_read: truncation.read.map(|epoch| epoch.0),
        epoch_now: truncation.now.map(|epoch| epoch.0),
        rows: usage.rows_from(&stream, to.next).await?,
        ledger_version: files.cut.versions.clone(),
    };
    let body = serde_json::to_vec(&decision)?;
    let digest = Sha256Digest::of(&body);
    let now = clock::now();
    let mut journal = Journal::open(&config.ledger).await?;
    let kind = EntryKind::TruncationAccepted;
    // A run that was interrupted has left it.
    let left = journal.entries().iter().find(|entry| (entry.kind, entry.digest) == (kind, digest));
    let entry = match left.map(|entry| entry.number) {
        Some(entry) => entry,
        None => journal.append(kind, now, digest, Some(reason.to_owned()), body).await?.number,
    };
    accept_truncation(&config.ledger, &stream, &to, now).await?;
    tracing::info!(event = "truncation.accepted", %stream, from = decision.from, to = decision.to, entry, "a partition is read on from where its log was cut");
    let next = ingest(&stream);
    Ok(Accepted { decision, reason: reason.to_owned(), entry, next })
}

/// Where the partition is read on: from where its log was cut or, where its epochs do not tell,
/// from after the last record that is proved to be there, or else from its first. A record that is
/// read twice then is a duplicate; nothing is left out.
async fn read_on(
    config: &Config,
    kafka: &KafkaConfig,
    stream: &Stream,
    truncation: &Truncation,
) -> anyhow::Result<Position> {
    if let Some(next) = truncation.from {
        return Ok(Position { last: truncation.kept, ..Position::at(next) });
    }
    let records = last_records(&config.ledger, stream).await?;
    let kept = still_there(kafka, stream, &records, ANSWER_WITHIN)?;
    let next = kept.map_or(truncation.low, |kept| truncation.low.max(kept.offset.next()));
    Ok(Position { last: kept, ..Position::at(next) })
}

impl Answer for Accepted {
    fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }

    fn text(&self) -> String {
        let Self { decision: Decision { stream, from, to, rows, .. }, reason, entry, next } = self;
        format!(
            "{}: read on from offset {}, the ledger had read up to {}\n{} from there on stay in the ledger: they are usage that happened\nentry {entry} of the journal has the decision: {}\nnext: {}\n",
            printable(stream),
            NextOffset(*to),
            from - 1,
            plural(*rows, "row", "rows"),
            printable(reason),
            printable(next)
        )
    }
}
