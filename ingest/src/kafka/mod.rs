//! A Kafka topic as a source.
//!
//! Partitions are assigned explicitly, each at the position that the ledger has for it. There is no
//! consumer group: nobody rebalances, nothing is committed to the broker, and `auto.offset.reset`
//! is an error, because its other values repeat or skip records without a word.
//!
//! Invariant: an offset that the broker no longer has becomes a gap record; an offset that it
//! cannot have had stops the run. So does a topic that is not the one the position belongs to: no
//! record of it is handed out.

mod config; // what may be configured, and the consumer that is made of it
mod errors; // whether trying again can help
mod messages; // what librdkafka has fetched, many messages at a time
mod topic; // which topic it is, by its id

pub use config::KafkaConfig;

use crate::IngestError;
use crate::source::{Batch, BatchPolicy, Content, RawRef, Record, Sink, Source, SourceEvent, Watermarks};
use crate::stop::{PATIENCE, Stop};
use config::Context;
use errors::{Answer, Severity, severity};
use messages::{Message, Messages};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use schemas::digest::Sha256Digest;
use schemas::position::{Advance, NextOffset, Offset, Origin, Positions, Stream, StreamIdentity};
use schemas::rejection::{Reason, Rejection};
use schemas::shard::Shard;
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use topic::topic_id;

/// How long one question to the broker may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// How long to look for a broker that never answered: a wrong address should be told, a broker that
/// restarts be waited for.
const REACH_WITHIN: Duration = Duration::from_secs(15);
/// A topic that was just created is unknown to some brokers for a moment.
const UNKNOWN_TOPIC_TRIES: u32 = 4;
const LAG_EVERY: Duration = Duration::from_secs(5);
/// Partitions are added once in a year, and the broker is asked for them.
const LISTED_EVERY: Duration = Duration::from_secs(60);
/// Messages between two looks at the clock.
const MESSAGES_AT_A_TIME: usize = 1000;

struct Partition {
    stream: Arc<Stream>,
    next: i64,
    /// The low watermark as last seen.
    low: i64,
    /// The high watermark as last seen.
    high: i64,
    /// The high watermark when it was assigned.
    goal: i64,
    /// Whether everything that was there when it was assigned has been handed out.
    at_end: bool,
}

pub struct KafkaSource {
    config: KafkaConfig,
    /// Before the consumer, because fields are dropped in their order.
    messages: Messages,
    consumer: BaseConsumer<Context>,
    shard: Shard,
    cluster: Option<String>,
    /// Of the topic as it was when it was first seen. None where the broker knows no ids.
    identity: Option<StreamIdentity>,
    discovered: Vec<i32>,
    partitions: BTreeMap<i32, Partition>,
    gaps: VecDeque<(i32, i64, i64)>,
    caught_up_told: bool,
    lag_asked_at: Option<Instant>,
    reach_within: Duration,
}

/// The offsets that the broker has of each partition of the topic, for comparison with the ledger's
/// positions.
///
/// # Errors
/// When there is no answer within that time, and as [`Source::discover`].
pub fn watermarks(config: &KafkaConfig, within: Duration) -> Result<Vec<Watermarks>, IngestError> {
    let source = KafkaSource { reach_within: within, ..KafkaSource::new(config)? };
    let stop = Stop::default();
    let (cluster, partitions) = source.topic(&stop)?;
    let watermarks = |partition: i32| {
        let (low, high) = source.fetch_watermarks(partition, &stop)?;
        Ok(Watermarks {
            stream: source.stream(&cluster, partition),
            low: NextOffset(low),
            high: NextOffset(high),
        })
    };
    partitions.into_iter().map(watermarks).collect()
}

impl KafkaSource {
    /// Checks the configuration; asks the broker nothing yet.
    ///
    /// # Errors
    /// No broker or no topic, a property that librdkafka does not know, or one that this program
    /// sets itself.
    pub fn new(config: &KafkaConfig) -> Result<Self, IngestError> {
        let consumer = config::consumer(config)?;
        Ok(Self {
            config: config.clone(),
            messages: Messages::of(&consumer),
            consumer,
            shard: Shard::WHOLE,
            cluster: None,
            identity: None,
            discovered: Vec::new(),
            partitions: BTreeMap::new(),
            gaps: VecDeque::new(),
            caught_up_told: false,
            lag_asked_at: None,
            reach_within: REACH_WITHIN,
        })
    }

    /// Leaves the partitions of other shards alone.
    #[must_use]
    pub fn sharded(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }

    fn stream(&self, cluster: &str, partition: i32) -> Stream {
        let origin = Origin::Kafka { cluster: cluster.to_owned(), topic: self.config.topic.clone() };
        Stream {
            origin,
            partition: u32::try_from(partition)
                .expect("the partitions that a broker lists are numbered from 0"),
        }
    }

    /// The cluster's id and the topic's partitions. Waits for a broker that does not answer.
    fn topic(&self, stop: &Stop) -> Result<(String, Vec<i32>), IngestError> {
        let mut unknown = 0;
        self.ask(stop, || {
            let metadata = self
                .consumer
                .fetch_metadata(Some(&self.config.topic), ANSWER_WITHIN)
                .map_err(Answer::from)?;
            let topic = metadata
                .topics()
                .first()
                .ok_or_else(|| Answer::Wait("the broker says nothing about the topic".to_owned()))?;
            match topic.error().map(Code::from) {
                None => {}
                Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) if unknown < UNKNOWN_TOPIC_TRIES => {
                    unknown += 1;
                    return Err(Answer::Wait("the topic is unknown".to_owned()));
                }
                Some(code) => return Err(Answer::from(KafkaError::MetadataFetch(code))),
            }
            let cluster = self
                .consumer
                .client()
                .fetch_cluster_id(ANSWER_WITHIN)
                .ok_or_else(|| Answer::Wait("the broker does not tell its cluster's id".to_owned()))?;
            let mut partitions: Vec<i32> =
                topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect();
            partitions.sort_unstable();
            Ok((cluster, partitions))
        })
    }

    /// Whether the name still stands for the topic that this run began with. An id is never given
    /// twice, so a topic that has its id after a batch was read had it all the while.
    fn check_identity(&self, stop: &Stop) -> Result<Option<StreamIdentity>, IngestError> {
        let now = self.ask(stop, || {
            topic_id(self.consumer.client(), &self.config.topic, ANSWER_WITHIN).map_err(Answer::from)
        })?;
        match (self.identity, now) {
            (Some(before), Some(now)) if before != now => Err(self.created_again(before, now)),
            _ => Ok(now),
        }
    }

    fn created_again(&self, read: StreamIdentity, now: StreamIdentity) -> IngestError {
        let KafkaConfig { brokers, topic, .. } = &self.config;
        IngestError::Invalid(format!(
            "the topic {topic:?} that this ledger reads has the id {read}, but at {brokers} it has the id {now}: it was deleted and created again, or this is another cluster with the same \
             id. Reading on would skip records or read others in their place; nothing of it was read. Give the new topic another name, or start another ledger"
        ))
    }

    /// The first offset the broker has of a partition, and the next it will have.
    fn fetch_watermarks(&self, partition: i32, stop: &Stop) -> Result<(i64, i64), IngestError> {
        self.ask(stop, || {
            self.consumer.fetch_watermarks(&self.config.topic, partition, ANSWER_WITHIN).map_err(Answer::from)
        })
    }

    /// Asks until there is an answer, a refusal, or a stop. Gives up only on a broker that never
    /// answered at all.
    fn ask<T>(&self, stop: &Stop, mut question: impl FnMut() -> Result<T, Answer>) -> Result<T, IngestError> {
        let mut wait = FIRST_WAIT;
        let begun = Instant::now();
        loop {
            let why = match question() {
                Ok(answer) => return Ok(answer),
                Err(Answer::Refused(code)) => return Err(self.refused(code)),
                Err(Answer::Wait(why)) => why,
            };
            // Refused credentials are reported as events beside an answer that merely failed. Once
            // partitions are assigned, events are records too, and only `next` may take them.
            while self.partitions.is_empty()
                && let Some(event) = self.consumer.poll(Duration::ZERO)
            {
                if let Some(code) = event.err().and_then(|error| error.rdkafka_error_code())
                    && severity(code) == Severity::Refused
                {
                    return Err(self.refused(code));
                }
            }
            if self.cluster.is_none() && begun.elapsed() >= self.reach_within {
                let reason = self.consumer.context().last_reason().unwrap_or(why);
                return Err(IngestError::Retry(format!(
                    "{} did not answer within {:?}: {reason}; check the address and that the broker runs",
                    self.config.brokers, self.reach_within
                )));
            }
            tracing::warn!(
                event = "kafka.waiting",
                "waiting for Kafka at {}, asking again in {wait:?}: {why}",
                self.config.brokers
            );
            stop.sleep(wait)?;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn refused(&self, code: Code) -> IngestError {
        let KafkaConfig { brokers, topic, .. } = &self.config;
        let reason =
            self.consumer.context().last_reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        IngestError::Invalid(match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                format!("topic {topic:?} does not exist at {brokers}; create it, or correct the name")
            }
            Code::TopicAuthorizationFailed => {
                format!("{brokers} does not allow topic {topic:?} to be read; grant READ and DESCRIBE on it")
            }
            Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => {
                format!(
                    "{brokers} cannot be talked to{reason}; correct the security.*, sasl.* and ssl.* properties of kafka in the configuration"
                )
            }
            code => format!("{brokers} refuses topic {topic:?}: {code}{reason}"),
        })
    }

    /// Compares a partition's position with what the broker has: whether there is a gap, or whether
    /// it cannot be.
    fn place(
        &mut self,
        partition: i32,
        stream: Arc<Stream>,
        position: Option<i64>,
        stop: &Stop,
    ) -> Result<(), IngestError> {
        let (low, high) = self.fetch_watermarks(partition, stop)?;
        let mut next = position.unwrap_or(low);
        if next > high {
            return Err(IngestError::Invalid(format!(
                "{stream}: the ledger has read up to offset {next}, but the broker has only offsets below {high}. The topic was deleted and created again, or this is another cluster with the same id; \
                 reading on would skip records. Give the new topic another name, or start another ledger"
            )));
        }
        if next < low {
            tracing::warn!(event = "kafka.gap", %stream, from = next, until = low, "{stream}: offsets {next} to {} are gone before they were read; the ledger gets a gap record", low - 1);
            self.gaps.push_back((partition, next, low));
            next = low;
        }
        self.partitions
            .insert(partition, Partition { stream, next, low, high, goal: high, at_end: next >= high });
        Ok(())
    }

    /// Tells librdkafka where to read on, all partitions at once: an assignment replaces the one
    /// before.
    fn assign_all(&mut self) -> Result<(), IngestError> {
        let mut list = TopicPartitionList::new();
        let refused = |error| {
            IngestError::Invalid(format!(
                "kafka: the partitions of {} cannot be assigned: {error}",
                self.config.topic
            ))
        };
        for (partition, state) in &self.partitions {
            list.add_partition_offset(&self.config.topic, *partition, KafkaOffset::Offset(state.next))
                .map_err(refused)?;
        }
        self.consumer.assign(&list).map_err(refused)?;
        self.messages.clear();
        Ok(())
    }

    /// An offset was out of range in the midst of reading: find the partition, record the gap, read
    /// on.
    fn place_again(&mut self, stop: &Stop) -> Result<(), IngestError> {
        let before: Vec<_> = self
            .partitions
            .iter()
            .map(|(partition, state)| (*partition, state.stream.clone(), state.next, state.at_end))
            .collect();
        for (partition, stream, next, at_end) in before {
            self.place(partition, stream, Some(next), stop)?;
            if let Some(state) = self.partitions.get_mut(&partition) {
                state.at_end |= at_end;
            }
        }
        self.assign_all()
    }

    /// Hands out messages that have arrived, or waits for one, no longer than `patience`. Gives back
    /// the error that stands in the place of one, and ends there.
    fn hand_out_some(
        &mut self,
        policy: &BatchPolicy,
        patience: Duration,
        batch: &mut Batch<'_>,
    ) -> Result<Option<KafkaError>, IngestError> {
        let (partitions, topic) = (&mut self.partitions, &self.config.topic);
        let mut arrived = 0;
        while arrived < MESSAGES_AT_A_TIME
            && !batch.is_full(policy)
            && let Some(message) = self.messages.next()
        {
            arrived += 1;
            let error = hand_out(&message, partitions, self.identity, topic, batch)?;
            if error.is_some() {
                return Ok(error);
            }
        }
        if arrived > 0 {
            return Ok(None);
        }
        match self.consumer.poll(patience) {
            None => Ok(None),
            Some(Ok(message)) => {
                hand_out(&Message::polled(&message), partitions, self.identity, topic, batch)
            }
            Some(Err(error)) => Ok(Some(error)),
        }
    }

    /// Does what an error in the place of a message asks for, or ends the run.
    fn meet(&mut self, error: &KafkaError, stop: &Stop) -> Result<(), IngestError> {
        if let KafkaError::PartitionEOF(partition) = error {
            if let Some(state) = self.partitions.get_mut(partition) {
                state.at_end = true;
            }
            return Ok(());
        }
        match error.rdkafka_error_code().map(|code| (code, severity(code))) {
            Some((Code::AutoOffsetReset | Code::OffsetOutOfRange, _)) => self.place_again(stop),
            // A handshake that once worked and now fails is most often a broker that is being
            // restarted.
            Some((Code::SSL, _)) => Ok(()),
            Some((code, Severity::Refused)) => Err(self.refused(code)),
            // librdkafka tries again by itself; the context has logged it.
            Some((_, Severity::Passing)) => Ok(()),
            // A damaged batch, for one, would be stepped over if this went on.
            _ => Err(IngestError::Retry(format!(
                "kafka topic {}: {error}; what was committed stays, run again",
                self.config.topic
            ))),
        }
    }

    fn push_gaps(&mut self, batch: &mut Batch<'_>) -> Result<(), IngestError> {
        while let Some((partition, from, until)) = self.gaps.pop_front() {
            let Some(state) = self.partitions.get(&partition) else { continue };
            let detail =
                format!("offsets {from} to {} were deleted from the topic before they were read", until - 1);
            batch.push(&Record {
                stream: &state.stream,
                origin_name: &self.config.topic,
                offset: Offset(from),
                advance: Advance { from: NextOffset(from), to: NextOffset(until), identity: self.identity },
                produced_at: None,
                raw: RawRef::default(),
                content: Content::Gap { until: Offset(until), detail: &detail },
            })?;
        }
        Ok(())
    }
}

impl Source for KafkaSource {
    fn discover(&mut self, stop: &Stop) -> Result<Vec<Stream>, IngestError> {
        let (cluster, partitions) = self.topic(stop)?;
        if self.cluster.as_ref().is_some_and(|before| *before != cluster) {
            return Err(IngestError::Invalid(format!(
                "{} is now cluster {cluster}; this run began on another",
                self.config.brokers
            )));
        }
        self.identity = self.check_identity(stop)?.or(self.identity);
        let new = partitions.into_iter().filter(|partition| !self.partitions.contains_key(partition));
        let ours = new
            .map(|partition| (partition, self.stream(&cluster, partition)))
            .filter(|(_, stream)| self.shard.takes(stream));
        let (discovered, streams) = ours.unzip();
        self.discovered = discovered;
        self.cluster = Some(cluster);
        Ok(streams)
    }

    fn rediscover_every(&self) -> Duration {
        LISTED_EVERY
    }

    fn assign(&mut self, positions: &Positions, stop: &Stop) -> Result<(), IngestError> {
        let discovered = std::mem::take(&mut self.discovered);
        let Some(cluster) = self.cluster.clone().filter(|_| !discovered.is_empty()) else { return Ok(()) };
        for partition in discovered {
            let stream = self.stream(&cluster, partition);
            if let (Some(read), Some(now)) = (positions.identity(&stream), self.identity)
                && read != now
            {
                return Err(self.created_again(read, now));
            }
            let position = positions.get(&stream).map(|next| next.0);
            self.place(partition, Arc::new(stream), position, stop)?;
        }
        self.caught_up_told = false;
        self.assign_all()
    }

    fn next(
        &mut self,
        policy: &BatchPolicy,
        stop: &Stop,
        sink: &mut dyn Sink,
    ) -> Result<SourceEvent, IngestError> {
        let mut batch = Batch::new(sink);
        let mut begun = Instant::now();
        loop {
            self.push_gaps(&mut batch)?;
            let age = begun.elapsed();
            let patience = if batch.is_empty() { PATIENCE } else { policy.max_age };
            if batch.is_full(policy) || stop.is_requested() || age >= patience {
                break;
            }
            if !self.caught_up_told && self.partitions.values().all(|partition| partition.at_end) {
                if batch.is_empty() {
                    self.caught_up_told = true;
                    return Ok(SourceEvent::CaughtUp);
                }
                break;
            }
            let was_empty = batch.is_empty();
            let error = self.hand_out_some(policy, (patience - age).min(PATIENCE), &mut batch)?;
            if was_empty && !batch.is_empty() {
                begun = Instant::now();
            }
            if let Some(error) = error {
                self.meet(&error, stop)?;
            }
        }
        if batch.is_empty() {
            return Ok(SourceEvent::Idle);
        }
        // Asked after the last record was read: an id is never used again, so a topic that has its
        // id now had it all the while.
        self.check_identity(stop)?;
        Ok(SourceEvent::Batch)
    }

    fn lag(&mut self) -> Option<u64> {
        if self.lag_asked_at.is_none_or(|at| at.elapsed() >= LAG_EVERY) {
            for (partition, state) in &mut self.partitions {
                let Ok((low, high)) =
                    self.consumer.fetch_watermarks(&self.config.topic, *partition, PATIENCE)
                else {
                    break;
                };
                (state.low, state.high) = (low, high);
            }
            self.lag_asked_at = Some(Instant::now());
        }
        Some(self.partitions.values().map(|state| (state.high - state.next).max(0).unsigned_abs()).sum())
    }

    fn watermarks(&self) -> Vec<Watermarks> {
        let watermarks = |state: &Partition| Watermarks {
            stream: (*state.stream).clone(),
            low: NextOffset(state.low),
            high: NextOffset(state.high),
        };
        self.partitions.values().map(watermarks).collect()
    }
}

/// Hands a message to the batch, or gives back the error that stands in its place.
fn hand_out(
    message: &Message<'_>,
    partitions: &mut BTreeMap<i32, Partition>,
    identity: Option<StreamIdentity>,
    topic: &str,
    batch: &mut Batch<'_>,
) -> Result<Option<KafkaError>, IngestError> {
    if let Some(error) = message.error() {
        return Ok(Some(error));
    }
    let Some(state) = partitions.get_mut(&message.partition()) else { return Ok(None) };
    // A message that was fetched before a new assignment may still arrive.
    if message.offset() < state.next {
        return Ok(None);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_broker_ends_when_a_stop_is_asked_for() {
        let config = KafkaConfig {
            brokers: "127.0.0.1:1".to_owned(),
            topic: "usage".to_owned(),
            properties: BTreeMap::new(),
        };
        let mut source = KafkaSource::new(&config).expect("the configuration is fine");
        let stop = Stop::default();
        stop.request();
        assert!(matches!(source.discover(&stop), Err(IngestError::Stopped)));
    }
}
