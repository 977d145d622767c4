//! A Kafka topic as a source.
//!
//! Partitions are assigned explicitly, each at the position that the ledger has for it. There is no
//! consumer group: nobody rebalances, nothing is committed to the broker, and `auto.offset.reset`
//! is an error, because its other values repeat or skip records without a word.
//!
//! Invariant: an offset that the broker no longer has becomes a gap record; an offset that it
//! cannot have had stops the run. So does a partition that has other records than those that were
//! read from it, and a topic that is not the one the position belongs to: no record of it is handed
//! out. A partition that cannot be read on stands still: nothing of it is stepped over, and the
//! others are read.

mod cause; // why a broker cannot be talked to, told once
mod errors; // whether trying again can help
mod messages; // what librdkafka has fetched, many messages at a time
mod arrival; // one thing that arrives, waited for
mod lines; // librdkafka's own log
mod checks; // what cannot work, or has no effect
mod config; // what may be configured, and the consumer that is made of it
mod high; // how far a partition reaches, open transactions included
mod standstill; // partitions that cannot be read on
mod topic; // which topic it is, by its id
mod broker; // the broker, asked until it answers
mod truncation; // whether a partition still has what was read from it
mod look; // a topic compared with what was read, for whoever does not ingest
mod partition; // how far one was handed out, and the message that comes next

pub use checks::check_brokers;
pub use config::KafkaConfig;
pub use look::{Seen, SeenPartition, cleanup_policy, look, still_there};
pub use standstill::WAY_OUT;
pub use truncation::Truncation;

use crate::IngestError;
use crate::source::{Batch, BatchPolicy, Content, RawRef, Record, Sink, Source, SourceEvent, Watermarks};
use crate::stop::{PATIENCE, Stop};
use arrival::Arrival;
use broker::Broker;
use config::ANSWER_WITHIN;
use errors::{Answer, Fault, Severity, severity};
use partition::{Partition, hand_out, note};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use schemas::position::{Advance, NextOffset, Offset, Position, Positions, Stream};
use schemas::shard::Shard;
use standstill::{Held, Trouble};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use truncation::{Compared, Prober, ReadTo};

const LAG_EVERY: Duration = Duration::from_secs(5);
/// Partitions are added once in a year, and the broker is asked for them.
const LISTED_EVERY: Duration = Duration::from_secs(60);
/// Messages between two looks at the clock.
const MESSAGES_AT_A_TIME: usize = 1000;
/// When nothing has arrived for so long, a partition that has something to read cannot be read: of
/// a batch that says a wrong length librdkafka only asks for more, for ever.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// A turn of the loop that took longer, because the process slept, counts as no longer.
const LONGEST_TURN: Duration = Duration::from_secs(1);

pub struct KafkaSource {
    broker: Broker,
    shard: Shard,
    discovered: Vec<i32>,
    partitions: BTreeMap<i32, Partition>,
    gaps: VecDeque<(i32, i64, i64)>,
    caught_up_told: bool,
    lag_asked_at: Option<Instant>,
    /// How long nothing has arrived.
    idle: Duration,
    /// Ends the run once what was read before it is in the ledger.
    ending: Option<IngestError>,
}

impl KafkaSource {
    /// Checks the configuration; asks the broker nothing yet.
    ///
    /// # Errors
    /// No broker or no topic, a property that librdkafka does not know, or one that this program
    /// sets itself.
    pub fn new(config: &KafkaConfig) -> Result<Self, IngestError> {
        Ok(Self {
            broker: Broker::new(config)?,
            shard: Shard::WHOLE,
            discovered: Vec::new(),
            partitions: BTreeMap::new(),
            gaps: VecDeque::new(),
            caught_up_told: false,
            lag_asked_at: None,
            idle: Duration::ZERO,
            ending: None,
        })
    }

    /// Leaves the partitions of other shards alone.
    #[must_use]
    pub fn sharded(self, shard: Shard) -> Self {
        Self { shard, ..self }
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
        let (low, high) = self.broker.fetch_watermarks(partition, stop)?;
        let mut next = position.unwrap_or(low);
        if next > high {
            // The partition was whole a moment ago; its answer then was about another log.
            return Err(IngestError::Retry(format!(
                "{stream}: the ledger has read up to offset {}, but the broker's next offset is {high}; nothing more was read, run again",
                next - 1
            )));
        }
        if next < low {
            tracing::warn!(event = "kafka.gap", %stream, from = next, until = low, "{stream}: offsets {next} to {} are gone before they were read; the ledger gets a gap record", low - 1);
            self.gaps.push_back((partition, next, low));
            next = low;
        }
        let state = Partition {
            stream,
            next,
            last: None,
            untold: false,
            led: None,
            committed: next,
            doubted: None,
            refused: None,
            low,
            high,
            newest: high,
            goal: high,
            at_end: next >= high,
            trouble: None,
            held: Held::default(),
        };
        self.partitions.insert(partition, state);
        Ok(())
    }

    /// Refuses partitions that no longer have what was read from them. Gives back why those cannot be
    /// compared that do not tell.
    fn check_read(
        &self,
        read: &BTreeMap<i32, ReadTo>,
        patience: Duration,
        stop: &Stop,
    ) -> Result<BTreeMap<i32, String>, IngestError> {
        if read.is_empty() {
            return Ok(BTreeMap::new());
        }
        let prober = Prober::new(&self.broker.config, ANSWER_WITHIN, stop)?.patient(patience);
        let Compared { truncations, silent } =
            self.broker.ask(stop, || prober.compare(read).map_err(Answer::from))?;
        if let Some((partition, truncation)) = truncations.iter().next() {
            // Another topic of the same name has other records, and lost none.
            self.broker.check_identity(stop)?;
            return Err(self.truncated(*partition, truncation, truncations.len() - 1));
        }
        let why = |(partition, offset): (i32, Offset)| {
            let why = format!(
                "whether it still has what was read cannot be told, for nothing has arrived for {} s from offset {offset} on, the last record that was read, although the broker answers",
                patience.as_secs()
            );
            (partition, why)
        };
        Ok(silent.into_iter().map(why).collect())
    }

    /// The refusal of a partition that was cut, and of `others` beside it.
    fn truncated(&self, partition: i32, truncation: &Truncation, others: usize) -> IngestError {
        let KafkaConfig { program, brokers, topic, .. } = &self.broker.config;
        let committed = self.partitions.get(&partition).map(|state| state.committed);
        let lost = truncation.from.is_none_or(|from| committed.is_none_or(|committed| from.0 < committed));
        if !lost {
            return IngestError::Retry(format!(
                "{topic}/{partition}: {truncation}. None of them was in the ledger yet, so nothing is lost; run again"
            ));
        }
        let more = match others {
            0 => String::new(),
            others => format!(" (and {others} more partitions of this topic)"),
        };
        IngestError::Invalid(format!(
            "{topic}/{partition}{more}: {truncation}. An unclean leader election or a power cut does that. Reading on would skip what stands there now; nothing more was read, and what the ledger has stays. \
             Find out what the broker lost, then run `{program} accept-truncation --brokers {brokers} --topic {topic} --partition {partition} --reason WHY`, which records the decision and reads on from there"
        ))
    }

    /// Refuses those of these partitions that no longer have what was handed out of them. Gives back
    /// those that do not tell.
    fn check_still_read(
        &self,
        partitions: &[i32],
        patience: Duration,
        stop: &Stop,
    ) -> Result<BTreeMap<i32, String>, IngestError> {
        let read = |partition: &i32| {
            let Partition { next, last, .. } = *self.partitions.get(partition)?;
            Some((*partition, ReadTo { next, last }))
        };
        self.check_read(&partitions.iter().filter_map(read).collect(), patience, stop)
    }

    /// Remembers the last records, before they go.
    fn note_last(&mut self) {
        let partitions = &mut self.partitions;
        self.broker.messages.last_ones(|message| note(message, partitions));
    }

    /// Has what was read so far compared before the next commit.
    fn doubt(&mut self) {
        self.note_last();
        for state in self.partitions.values_mut() {
            state.doubted = state.doubted.or(Some(ReadTo { next: state.next, last: state.last }));
        }
    }

    /// Compares what was doubted, before it is committed.
    ///
    /// # Errors
    /// Also where a partition does not tell: what was read of it since may not be committed, and the
    /// batch has it already. The next run begins before it, and reads the others.
    fn settle_doubts(&mut self, stop: &Stop) -> Result<(), IngestError> {
        let doubted = self.partitions.iter().filter_map(|(number, state)| Some((*number, state.doubted?)));
        let silent = self.check_read(&doubted.collect(), STALLED_AFTER, stop)?;
        if let Some((partition, why)) = silent.into_iter().next() {
            return Err(IngestError::Retry(format!(
                "{}/{partition}: {why}; what was committed stays, run again",
                self.broker.config.topic
            )));
        }
        self.partitions.values_mut().for_each(|state| state.doubted = None);
        Ok(())
    }

    /// Tells librdkafka where to read on, all partitions at once: an assignment replaces the one
    /// before. The epochs are not told: an assignment that is replaced while librdkafka asks about
    /// one ends the process, and whether what was read is still there was asked here.
    fn assign_all(&mut self) -> Result<(), IngestError> {
        let mut list = TopicPartitionList::new();
        let refused = |error| self.not_assigned(&error);
        for (partition, state) in self.partitions.iter().filter(|(_, state)| !state.stands_still()) {
            list.add_partition_offset(&self.broker.config.topic, *partition, KafkaOffset::Offset(state.next))
                .map_err(refused)?;
        }
        self.broker.consumer.assign(&list).map_err(refused)?;
        self.broker.is_reading = true;
        self.broker.messages.clear();
        Ok(())
    }

    /// An offset was out of range in the midst of reading, or of an epoch that has ended before it:
    /// refuse a partition that was cut, record the gap, read on. One that is refused again and again
    /// at an offset that the broker has cannot be read there.
    fn place_again(&mut self, refused: Option<i32>, why: &str, stop: &Stop) -> Result<(), IngestError> {
        self.note_last();
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        for (partition, why) in self.check_still_read(&partitions, STALLED_AFTER, stop)? {
            self.stand_still(partition, &why)?;
        }
        for partition in partitions {
            self.place_one_again(partition, stop)?;
        }
        if let Some(partition) = refused
            && let Some(state) = self.partitions.get_mut(&partition)
            && state.is_refused_again()
        {
            let why = self.broker.consumer.context().hide(why);
            self.stand_still(partition, &why)?;
        }
        self.assign_all()
    }

    /// Compares a partition with the broker anew. What is in its way stays in its way, unless it is
    /// gone from the broker.
    fn place_one_again(&mut self, partition: i32, stop: &Stop) -> Result<(), IngestError> {
        let Some(before) = self.partitions.get(&partition).cloned() else { return Ok(()) };
        self.place(partition, before.stream, Some(before.next), stop)?;
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.at_end |= before.at_end;
            (state.last, state.untold) = (before.last, before.untold);
            (state.committed, state.doubted) = (before.committed, before.doubted);
            state.refused = before.refused;
            state.trouble = before.trouble.filter(|_| state.next == before.next);
        }
        Ok(())
    }

    /// Reads no more of a partition, until it is tried again.
    fn stand_still(&mut self, partition: i32, why: &str) -> Result<(), IngestError> {
        let Some(state) = self.partitions.get_mut(&partition).filter(|state| !state.stands_still()) else {
            return Ok(());
        };
        state.trouble = Some(Trouble::tell(&state.stream, state.next, why));
        // It stays assigned: librdkafka aborts the process where an assignment is replaced while
        // the one before is still being stopped, and the others need not begin anew.
        let list = self.just(&[partition]);
        self.broker.consumer.pause(&list).map_err(|error| self.not_assigned(&error))
    }

    /// A list of some partitions.
    fn just(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.broker.config.topic, *partition);
        }
        list
    }

    fn not_assigned(&self, error: &KafkaError) -> IngestError {
        IngestError::Invalid(format!(
            "kafka: the partitions of {} cannot be assigned: {error}",
            self.broker.config.topic
        ))
    }

    /// Tries those again that could not be read, now and then.
    fn try_again(&mut self, stop: &Stop) -> Result<(), IngestError> {
        let is_due = |state: &Partition| state.trouble.as_ref().is_some_and(Trouble::is_due);
        let mut due: Vec<i32> = self
            .partitions
            .iter()
            .filter(|(_, state)| is_due(state))
            .map(|(partition, _)| *partition)
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        self.note_last();
        // The other partitions wait for the answer.
        for (partition, why) in self.check_still_read(&due, ANSWER_WITHIN, stop)? {
            due.retain(|due| *due != partition);
            if let Some(state) = self.partitions.get_mut(&partition) {
                state.trouble = Some(Trouble::tell(&state.stream, state.next, &why));
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        for partition in &due {
            self.place_one_again(*partition, stop)?;
            if let Some(state) = self.partitions.get_mut(partition) {
                state.trouble = state.trouble.take().map(Trouble::try_again);
            }
        }
        self.assign_all()?;
        let list = self.just(&due);
        self.broker.consumer.resume(&list).map_err(|error| self.not_assigned(&error))
    }

    /// Nothing has arrived for long: partitions that have something to read cannot be read.
    fn stop_the_stalled(&mut self) -> Result<(), IngestError> {
        self.idle = Duration::ZERO;
        let stalled: Vec<(i32, String)> = self
            .partitions
            .iter()
            .filter(|(_, state)| !state.stands_still() && state.high > state.next)
            .map(|(partition, state)| {
                let why = format!(
                    "nothing of it has arrived for {} s, although the broker has it up to offset {}",
                    STALLED_AFTER.as_secs(),
                    state.high - 1
                );
                (*partition, why)
            })
            .collect();
        stalled.into_iter().try_for_each(|(partition, why)| self.stand_still(partition, &why))
    }

    /// Everything that can be read of a partition was handed out: what lies between the last record
    /// and its end is no record, but a marker of a transaction, say, or a record of one that was
    /// aborted.
    fn end_reached(&mut self, partition: i32, end: i64, batch: &mut Batch<'_>) -> Result<(), IngestError> {
        // The last record is known by its offset, which is the one before the position.
        self.note_last();
        let Some(state) = self.partitions.get_mut(&partition).filter(|state| !state.stands_still()) else {
            return Ok(());
        };
        state.is_readable();
        state.at_end = true;
        if end > state.next {
            let advance =
                Advance { from: NextOffset(state.next), to: NextOffset(end), identity: self.broker.identity };
            batch.pass(&state.stream, &self.broker.config.topic, advance)?;
            state.next = end;
        }
        Ok(())
    }

    /// Hands out messages that have arrived, or waits for one, no longer than `patience`. Gives back
    /// the error that stands in the place of one, and ends there.
    fn hand_out_some(
        &mut self,
        policy: &BatchPolicy,
        patience: Duration,
        batch: &mut Batch<'_>,
    ) -> Result<Option<Fault>, IngestError> {
        let mut arrived = 0;
        while arrived < MESSAGES_AT_A_TIME && !batch.is_full(policy) {
            if self.broker.messages.are_used_up() {
                self.note_last();
            }
            let Some(message) = self.broker.messages.next() else { break };
            arrived += 1;
            self.idle = Duration::ZERO;
            let (partitions, topic) = (&mut self.partitions, &self.broker.config.topic);
            let fault =
                hand_out(&message, partitions, &self.broker.consumer, self.broker.identity, topic, batch)?;
            if fault.is_some() {
                return Ok(fault);
            }
        }
        if arrived > 0 {
            return Ok(None);
        }
        let Some(mut arrival) = Arrival::wait(self.broker.messages.queue(), patience) else {
            return Ok(None);
        };
        if let Some(message) = arrival.message() {
            self.idle = Duration::ZERO;
            let (partitions, topic) = (&mut self.partitions, &self.broker.config.topic);
            let fault =
                hand_out(&message, partitions, &self.broker.consumer, self.broker.identity, topic, batch)?;
            if fault.is_none() {
                note(&message, partitions);
            }
            return Ok(fault);
        }
        let fault = arrival.fault(&**self.broker.consumer.context());
        self.broker.tell_errors();
        Ok(fault)
    }

    /// Does what an error in the place of a message asks for, or ends the run.
    fn meet(&mut self, fault: &Fault, stop: &Stop, batch: &mut Batch<'_>) -> Result<(), IngestError> {
        let Fault { code, place, text } = fault;
        match (*code, severity(*code), *place) {
            (Code::PartitionEOF, _, Some((partition, end))) => self.end_reached(partition, end, batch),
            (Code::PartitionEOF, _, None) => Ok(()),
            (Code::AutoOffsetReset | Code::OffsetOutOfRange, _, place) => {
                let partition = place.map(|(partition, _)| partition);
                let state = partition.and_then(|partition| self.partitions.get(&partition));
                // After a damaged batch librdkafka asks for offsets that never were.
                if state.is_some_and(Partition::stands_still) {
                    return Ok(());
                }
                self.place_again(partition, text, stop)
            }
            // A handshake that once worked and now fails is most often a broker that is being
            // restarted.
            (Code::SSL, ..) => Ok(()),
            (code, Severity::Refused, _) => Err(self.broker.refused(code)),
            // librdkafka tries again by itself.
            (code, Severity::Passing, place) => {
                if place.is_some() {
                    self.broker.consumer.context().hear(Some(code), text);
                }
                self.broker.tell_errors();
                self.doubt();
                Ok(())
            }
            // A damaged batch, for one, would be stepped over if it went on.
            (_, Severity::Other, Some((partition, _))) => {
                let why = self.broker.consumer.context().hide(text);
                self.stand_still(partition, &why)
            }
            // Records that were read before are as good as ever.
            (code, Severity::Other, None) => {
                let why = self.broker.consumer.context().hide(text);
                self.ending = Some(IngestError::Retry(format!(
                    "kafka topic {}: {code}: {why}; what was committed stays, run again",
                    self.broker.config.topic
                )));
                Ok(())
            }
        }
    }

    /// Asks how far the partitions reach, and tells what open transactions hold back of them:
    /// `at_once` all of it, otherwise what has been for long. Says whether the broker answered.
    fn look_at_ends(&mut self, at_once: bool) -> bool {
        let within = if at_once { ANSWER_WITHIN } else { PATIENCE };
        let mut prober = None;
        for (partition, state) in &mut self.partitions {
            // Known before the rest is asked, so that what is beyond it is held back for certain.
            let mut newest =
                high::last_heard(self.broker.consumer.client(), &self.broker.config.topic, *partition);
            if newest.is_none() && at_once {
                // Nothing was ever asked for where there was nothing to read.
                prober = prober.or_else(|| Prober::new(&self.broker.config, within, &Stop::default()).ok());
                let asked = prober.as_ref().and_then(|prober| prober.watermarks(*partition).ok());
                let Some((_, high)) = asked else { return false };
                newest = Some(high);
            }
            let asked = self.broker.consumer.fetch_watermarks(&self.broker.config.topic, *partition, within);
            let Ok((low, high)) = asked else { return false };
            (state.low, state.high) = (low, high);
            state.newest = newest.unwrap_or(high).max(high);
            state.held.look(&state.stream, high, state.newest, at_once);
        }
        true
    }

    fn push_gaps(&mut self, batch: &mut Batch<'_>) -> Result<(), IngestError> {
        while let Some((partition, from, until)) = self.gaps.pop_front() {
            let Some(state) = self.partitions.get(&partition) else { continue };
            let detail =
                format!("offsets {from} to {} were deleted from the topic before they were read", until - 1);
            batch.push(&Record {
                stream: &state.stream,
                origin_name: &self.broker.config.topic,
                offset: Offset(from),
                advance: Advance {
                    from: NextOffset(from),
                    to: NextOffset(until),
                    identity: self.broker.identity,
                },
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
        let (cluster, partitions) = self.broker.topic(stop)?;
        if self.broker.cluster.as_ref().is_some_and(|before| *before != cluster) {
            return Err(IngestError::Invalid(format!(
                "{} is now cluster {cluster}; this run began on another",
                self.broker.config.brokers
            )));
        }
        self.broker.identity = self.broker.check_identity(stop)?.or(self.broker.identity);
        let new = partitions.into_iter().filter(|partition| !self.partitions.contains_key(partition));
        let ours = new
            .map(|partition| (partition, self.broker.stream(&cluster, partition)))
            .filter(|(_, stream)| self.shard.takes(stream));
        let (discovered, streams) = ours.unzip();
        self.discovered = discovered;
        self.broker.cluster = Some(cluster);
        Ok(streams)
    }

    fn rediscover_every(&self) -> Duration {
        LISTED_EVERY
    }

    fn assign(&mut self, positions: &Positions, stop: &Stop) -> Result<(), IngestError> {
        let discovered = std::mem::take(&mut self.discovered);
        let Some(cluster) = self.broker.cluster.clone().filter(|_| !discovered.is_empty()) else {
            return Ok(());
        };
        let mut read = BTreeMap::new();
        for partition in &discovered {
            let stream = self.broker.stream(&cluster, *partition);
            if let (Some(read), Some(now)) = (positions.identity(&stream), self.broker.identity)
                && read != now
            {
                return Err(self.broker.created_again(read, now));
            }
            if let Some(Position { next, last, .. }) = positions.position(&stream) {
                read.insert(*partition, ReadTo { next: next.0, last });
            }
        }
        let mut silent = self.check_read(&read, STALLED_AFTER, stop)?;
        for partition in discovered {
            let stream = Arc::new(self.broker.stream(&cluster, partition));
            let read = read.get(&partition);
            self.place(partition, stream, read.map(|read| read.next), stop)?;
            if let (Some(state), Some(read)) = (self.partitions.get_mut(&partition), read) {
                (state.last, state.committed) = (read.last, read.next);
                let why = silent.remove(&partition);
                state.trouble = why.map(|why| Trouble::tell(&state.stream, state.next, &why));
            }
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
        if let Some(error) = self.ending.take() {
            return Err(error);
        }
        self.try_again(stop)?;
        let mut batch = Batch::new(sink);
        let mut begun = Instant::now();
        loop {
            self.push_gaps(&mut batch)?;
            let age = begun.elapsed();
            let patience = if batch.is_empty() { PATIENCE } else { policy.max_age };
            if batch.is_full(policy) || stop.is_requested() || age >= patience {
                break;
            }
            if !self.caught_up_told
                && self.partitions.values().all(|state| state.at_end || state.stands_still())
            {
                if batch.is_empty() {
                    self.caught_up_told = true;
                    return Ok(SourceEvent::CaughtUp);
                }
                break;
            }
            let was_empty = batch.is_empty();
            let fault = self.hand_out_some(policy, (patience - age).min(PATIENCE), &mut batch)?;
            if let Some(fault) = fault {
                self.meet(&fault, stop, &mut batch)?;
            }
            if self.ending.is_some() {
                break;
            }
            if was_empty && !batch.is_empty() {
                begun = Instant::now();
            }
        }
        if batch.is_empty() {
            if let Some(error) = self.ending.take() {
                return Err(error);
            }
            self.idle += begun.elapsed().min(LONGEST_TURN);
            if self.idle >= STALLED_AFTER {
                self.stop_the_stalled()?;
            }
            return Ok(SourceEvent::Idle);
        }
        self.note_last();
        self.settle_doubts(stop)?;
        for (partition, state) in self.partitions.iter_mut().filter(|(_, state)| state.untold) {
            state.untold = false;
            let Broker { consumer, config, .. } = &self.broker;
            if let Some(last) = state.tell_last(consumer, &config.topic, *partition) {
                batch.last(&state.stream, &self.broker.config.topic, last);
            }
        }
        // Asked after the last record was read: an id is never used again, so a topic that has its
        // id now had it all the while.
        self.broker.check_identity(stop)?;
        Ok(SourceEvent::Batch)
    }

    fn committed(&mut self, positions: &Positions) {
        for (stream, next) in positions.iter() {
            let state =
                i32::try_from(stream.partition).ok().and_then(|number| self.partitions.get_mut(&number));
            if let Some(state) = state {
                state.committed = next.0;
            }
        }
    }

    fn complete(&mut self) -> Result<(), IngestError> {
        let in_the_way: Vec<&str> =
            self.partitions.values().filter_map(|state| Some(state.trouble.as_ref()?.place())).collect();
        if let Some(first) = in_the_way.first() {
            let others = match in_the_way.len() - 1 {
                0 => String::new(),
                count => format!("; and so it is with {count} more"),
            };
            // The cause was told when it was met, and is not told again.
            return Err(IngestError::Retry(format!(
                "{first} it cannot be read{others}; why, and what to do, is in the event kafka.damaged above, and `{} doctor` says it, too. Everything else that was there is in the ledger",
                self.broker.config.program
            )));
        }
        self.look_at_ends(true);
        Ok(())
    }

    fn lag(&mut self) -> Option<u64> {
        if self.lag_asked_at.is_none_or(|at| at.elapsed() >= LAG_EVERY) {
            if !self.look_at_ends(false) {
                // Nothing arrives from a broker that is away.
                self.idle = Duration::ZERO;
            }
            self.lag_asked_at = Some(Instant::now());
        }
        Some(self.partitions.values().map(|state| (state.high - state.next).max(0).unsigned_abs()).sum())
    }

    fn watermarks(&self) -> Vec<Watermarks> {
        let watermarks = |state: &Partition| Watermarks {
            stream: (*state.stream).clone(),
            low: NextOffset(state.low),
            stable: NextOffset(state.high),
            high: NextOffset(state.newest),
            is_readable: state.trouble.is_none(),
        };
        self.partitions.values().map(watermarks).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_broker_ends_when_a_stop_is_asked_for() {
        let config = KafkaConfig {
            program: "atcost".to_owned(),
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
