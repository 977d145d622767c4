//! A partition as far as it was handed out, and the message that comes next.
//!
//! It asks the broker nothing.
//!
//! Invariant: offsets are handed out once, in order, and each advance begins where the one before it
//! ended.

use super::config::{ANSWER_WITHIN, Context};
use super::errors::Fault;
use super::high;
use super::messages::Message;
use super::standstill::{Held, Trouble};
use super::truncation::ReadTo;
use crate::IngestError;
use crate::source::{Batch, Content, RawRef, Record};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use schemas::digest::Sha256Digest;
use schemas::position::{Advance, LastRecord, LeaderEpoch, NextOffset, Offset, Stream, StreamIdentity};
use schemas::rejection::{Reason, Rejection};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone)]
pub struct Partition {
    pub stream: Arc<Stream>,
    pub next: i64,
    /// The last record that was handed out, or the ledger's.
    pub last: Option<LastRecord>,
    /// Whether the sink has yet to hear of it.
    pub untold: bool,
    /// Its leader epoch, as last asked.
    pub led: Option<LeaderEpoch>,
    /// How far the ledger has it.
    pub committed: i64,
    /// How far it had been read when a connection failed: the broker that comes back may have lost
    /// some of it.
    pub doubted: Option<ReadTo>,
    /// The offset that the broker last called out of range, and how often in a row.
    pub refused: Option<(i64, u32)>,
    /// The low watermark as last seen.
    pub low: i64,
    /// The end of what can be read, as last seen: the last stable offset.
    pub high: i64,
    /// The end of all that is there, as last seen: records from `high` on are of transactions that
    /// are open.
    pub newest: i64,
    /// The last stable offset when it was assigned.
    pub goal: i64,
    /// Whether everything that was there when it was assigned has been handed out.
    pub at_end: bool,
    pub trouble: Option<Trouble>,
    pub held: Held,
}

/// An offset that is called out of range so often, although the broker has it, cannot be read.
const REFUSALS: u32 = 3;

impl Partition {
    /// Counts that the position was called out of range, and says whether that was often enough.
    pub fn is_refused_again(&mut self) -> bool {
        let before = self.refused.filter(|(offset, _)| *offset == self.next).map_or(0, |(_, times)| times);
        self.refused = Some((self.next, before + 1));
        before + 1 >= REFUSALS && self.next < self.newest
    }

    /// Whether it cannot be read, and is not being tried.
    pub fn stands_still(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| !trouble.is_trying)
    }

    /// The last record, with an epoch that no later one can have where it claims one that is not
    /// yet: no checksum covers it, and a later truncation would not be seen.
    pub fn tell_last(
        &mut self,
        consumer: &BaseConsumer<Context>,
        topic: &str,
        partition: i32,
    ) -> Option<LastRecord> {
        let last = self.last.as_mut()?;
        if last.epoch > self.led {
            self.led = high::leader_epoch(consumer, topic, partition, ANSWER_WITHIN).or(self.led);
            last.epoch = self.led.map_or(last.epoch, |led| last.epoch.map(|epoch| epoch.min(led)));
        }
        Some(*last)
    }

    /// Something came of it: what was in the way is not there any more.
    pub fn is_readable(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!(event = "kafka.mended", stream = %self.stream, "{}: it can be read again", self.stream);
        }
    }
}

/// Remembers a message that was handed out, if it is the last one of its partition, and says whether
/// it is.
pub fn note(message: &Message<'_>, partitions: &mut BTreeMap<i32, Partition>) -> bool {
    let state = partitions.get_mut(&message.partition());
    let Some(state) = state.filter(|state| state.next == message.offset() + 1) else { return false };
    (state.last, state.untold) = (Some(message.as_last()), true);
    true
}

/// Hands a message to the batch, or gives back the error that stands in its place.
pub fn hand_out(
    message: &Message<'_>,
    partitions: &mut BTreeMap<i32, Partition>,
    consumer: &BaseConsumer<Context>,
    identity: Option<StreamIdentity>,
    topic: &str,
    batch: &mut Batch<'_>,
) -> Result<Option<Fault>, IngestError> {
    if let Some(fault) = message.fault() {
        return Ok(Some(fault));
    }
    let Some(state) = partitions.get_mut(&message.partition()) else { return Ok(None) };
    // A message that was fetched before a new assignment may still arrive.
    if message.offset() < state.next || state.stands_still() {
        return Ok(None);
    }
    if let Some(fault) = beyond_the_end(message, state, consumer, topic) {
        return Ok(Some(fault));
    }
    state.is_readable();
    let offset = Offset(message.offset());
    let advance = Advance { from: NextOffset(state.next), to: offset.next(), identity };
    state.next = advance.to.0;
    state.at_end |= state.next >= state.goal;
    let micros = message.timestamp().and_then(|millis| millis.checked_mul(1000));
    let mut headers = SmallVec::new();
    let unreadable;
    let content = match message.read_headers(&mut headers) {
        Ok(()) => Content::Message,
        Err(code) => {
            // A header may change what a record means.
            let digest = Sha256Digest::of(message.value().unwrap_or_default());
            let detail = format!(
                "the record's headers cannot be read ({code}): at most 100,000 are; none of them is kept, the SHA-256 of the whole value is {digest}"
            );
            unreadable = Rejection::new(Reason::TooLarge, detail);
            Content::Refused(&unreadable)
        }
    };
    batch.push(&Record {
        stream: &state.stream,
        origin_name: topic,
        offset,
        advance,
        produced_at: micros.and_then(|micros| schemas::time::Instant::from_micros(micros).ok()),
        raw: RawRef { key: message.key(), headers: &headers, value: message.value() },
        content,
    })?;
    Ok(None)
}

/// The error of a message that claims an offset which the partition does not have yet. No checksum
/// covers the offset of a batch.
fn beyond_the_end(
    message: &Message<'_>,
    state: &mut Partition,
    consumer: &BaseConsumer<Context>,
    topic: &str,
) -> Option<Fault> {
    let (partition, offset) = (message.partition(), message.offset());
    if offset < state.newest {
        return None;
    }
    state.newest = high::last_heard(consumer.client(), topic, partition)?.max(state.newest);
    if offset < state.newest {
        return None;
    }
    // A replica that lags behind may have been the last to say how far it reaches.
    let (_, end) = consumer.fetch_watermarks(topic, partition, ANSWER_WITHIN).ok()?;
    (offset >= end).then(|| Fault {
        code: Code::BadMessage,
        place: Some((partition, offset)),
        text: format!(
            "the next record says that it has offset {offset}, but the partition ends before {end}"
        ),
    })
}
