//! Whether a partition still has what was read from it.
//!
//! A broker that loses its disk, or elects a leader that lacks the last records, cuts a partition's
//! log and goes on writing at offsets that were read already. Offsets alone cannot tell. The digest
//! of the record that was read last does, where there is a record at its offset, and elsewhere the
//! leader epochs do: one leader writes an offset once (KIP-320). So single records are read again
//! and compared, by a consumer of its own: what librdkafka finds out by itself it tells only in
//! words.
//!
//! This does not decide what is done about it.
//!
//! Invariant: a record that is not there, or cannot be read, proves nothing; retention, compaction,
//! markers of transactions and damage leave such places. A record that is there and is another one
//! does. Where nothing at all arrives, no question waits for ever, and the answer is that there is
//! none.

use super::arrival::Arrival;
use super::config::{self, Context, KafkaConfig};
use super::errors::{Fault, Severity, severity};
use super::messages::Messages;
use crate::IngestError;
use crate::stop::{PATIENCE, Stop};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use schemas::position::{LastRecord, LeaderEpoch, NextOffset, Offset};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// How far a partition was read, and the last record on the way.
#[derive(Debug, Clone, Copy)]
pub struct ReadTo {
    pub next: i64,
    pub last: Option<LastRecord>,
}

/// A partition that no longer has all that was read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// How far it was read.
    pub next: NextOffset,
    /// The epoch of the last record that was read.
    pub read: Option<LeaderEpoch>,
    /// The first offset from which it has other records or none. None where its epochs do not tell;
    /// then the last records of earlier commits do ([`Prober::still_there`]).
    pub from: Option<NextOffset>,
    /// The record before `from`, which is as it was read.
    pub kept: Option<LastRecord>,
    /// The epoch of the record that stands there now, if one does.
    pub now: Option<LeaderEpoch>,
    /// The first offset that the broker has, and the next that it will have.
    pub low: NextOffset,
    pub high: NextOffset,
}

/// The loss, as part of a sentence; the partition is named before it.
impl fmt::Display for Truncation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { next, read, from, now, high, .. } = self;
        let epoch = |epoch: &Option<LeaderEpoch>| {
            epoch.map_or_else(String::new, |epoch| format!(" (leader epoch {epoch})"))
        };
        let last = next.0 - 1;
        write!(
            formatter,
            "the ledger has read up to offset {last}{}, but the broker's log was cut: ",
            epoch(read)
        )?;
        match from {
            Some(NextOffset(from)) => {
                write!(formatter, "offsets {from} to {last} are no longer what was read, ")?;
            }
            None => {
                write!(formatter, "offset {last} is no longer what was read, and perhaps others before it, ")?
            }
        }
        match now {
            Some(_) => write!(formatter, "other records were written in their place{}", epoch(now)),
            None if high < next => write!(formatter, "its next offset is {high}"),
            None => formatter.write_str("another record was written in its place"),
        }
    }
}

/// Reads single records of a topic.
pub struct Prober {
    /// Before the consumer, because fields are dropped in their order.
    messages: Messages,
    consumer: BaseConsumer<Context>,
    topic: String,
    within: Duration,
    patience: Duration,
    stop: Stop,
}

/// Partitions, compared with what was read from them.
#[derive(Debug, Default)]
pub struct Compared {
    pub truncations: BTreeMap<i32, Truncation>,
    /// Those that could not be compared: the broker answers, and nothing arrives from this offset
    /// on.
    pub silent: BTreeMap<i32, Offset>,
}

/// What one partition turned out to be.
enum Verdict {
    Whole,
    Silent(Offset),
    Truncated(Truncation),
}

/// The record that was read last, as the partition has it now.
enum There {
    Unasked,
    /// Nothing has arrived, not even the partition's end.
    Silence,
    Nothing,
    Record(LastRecord),
}

/// What was found at an offset or after it.
#[derive(Clone)]
enum Found {
    Record(LastRecord),
    /// The partition ends there.
    End,
    /// A damaged record is in the way, as librdkafka says.
    Damage(String),
}

/// What a partition has for whoever reads it on.
#[derive(Debug)]
pub enum First {
    Record(Offset),
    /// No record up to its end.
    Nothing,
    /// It cannot be read on, and why.
    Damage(String),
}

impl Found {
    fn record(&self) -> Option<LastRecord> {
        match self {
            Self::Record(record) => Some(*record),
            Self::End | Self::Damage(_) => None,
        }
    }
}

/// Records below an offset, told apart by their epochs.
struct Split {
    /// The last one that is not newer than an epoch.
    older: Option<LastRecord>,
    /// The first one that is.
    newer: Option<LastRecord>,
    /// Whether nothing has arrived from some offset on, so that the two may be far from each other.
    is_silent: bool,
}

impl Prober {
    /// Asks the broker nothing yet; each question may take `within`, also that for a record.
    ///
    /// # Errors
    /// As [`config::prober`].
    pub fn new(config: &KafkaConfig, within: Duration, stop: &Stop) -> Result<Self, IngestError> {
        Ok(Self::with(config::prober(config)?, config, within, stop))
    }

    /// One that reads what is committed, as ingest does.
    ///
    /// # Errors
    /// As [`config::consumer`].
    pub fn committed(config: &KafkaConfig, within: Duration, stop: &Stop) -> Result<Self, IngestError> {
        Ok(Self::with(config::consumer(config)?, config, within, stop))
    }

    fn with(consumer: BaseConsumer<Context>, config: &KafkaConfig, within: Duration, stop: &Stop) -> Self {
        Self {
            messages: Messages::of(&consumer),
            consumer,
            topic: config.topic.clone(),
            within,
            patience: within,
            stop: stop.clone(),
        }
    }

    /// Waits longer for a record, where the broker answers and nothing arrives.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The first offset of a partition, and the next, whether it can be read yet or not.
    ///
    /// # Errors
    /// When there is no answer in time, or a refusal.
    pub fn watermarks(&self, partition: i32) -> KafkaResult<(i64, i64)> {
        self.consumer.fetch_watermarks(&self.topic, partition, self.within)
    }

    /// The partitions that no longer have all that was read from them, and those that do not tell.
    ///
    /// # Errors
    /// When the broker does not answer in time, or refuses.
    pub fn compare(&self, read: &BTreeMap<i32, ReadTo>) -> KafkaResult<Compared> {
        let mut asked = BTreeMap::new();
        let mut marks = BTreeMap::new();
        for (partition, ReadTo { next, last }) in read {
            let (low, high) = self.watermarks(*partition)?;
            marks.insert(*partition, (low, high));
            if let Some(last) = last.filter(|last| low <= last.offset.0 && *next <= high) {
                asked.insert(*partition, last.offset.0);
            }
        }
        let found = self.records_at(&asked)?;
        let mut compared = Compared::default();
        for (partition, read) in read {
            let Some(marks) = marks.get(partition) else { continue };
            let there = match found.get(partition) {
                _ if !asked.contains_key(partition) => There::Unasked,
                None => There::Silence,
                Some(found) => found.record().map_or(There::Nothing, There::Record),
            };
            match self.judge(*partition, read, *marks, &there)? {
                Verdict::Whole => {}
                Verdict::Silent(offset) => {
                    compared.silent.insert(*partition, offset);
                }
                Verdict::Truncated(truncation) => {
                    compared.truncations.insert(*partition, truncation);
                }
            }
        }
        Ok(compared)
    }

    /// The first record of each partition at or after the given offset.
    ///
    /// # Errors
    /// When the broker does not answer in time, or refuses.
    pub fn first_records(&self, wanted: &BTreeMap<i32, i64>) -> KafkaResult<BTreeMap<i32, First>> {
        let mut found = self.records_at(wanted)?;
        let first = |partition: &i32| match found.remove(partition) {
            Some(Found::Record(record)) => First::Record(record.offset),
            Some(Found::End) => First::Nothing,
            Some(Found::Damage(why)) => First::Damage(why),
            None => {
                let seconds = self.patience.as_secs();
                First::Damage(format!(
                    "nothing of it has arrived for {seconds} s, although the broker has it"
                ))
            }
        };
        Ok(wanted.keys().copied().zip(wanted.keys().map(first)).collect())
    }

    /// Judges one partition. `there` is the first record at or after the last that was read.
    fn judge(
        &self,
        partition: i32,
        read: &ReadTo,
        (low, high): (i64, i64),
        there: &There,
    ) -> KafkaResult<Verdict> {
        let ReadTo { next, last } = *read;
        let shorter = next > high;
        let other = match (last, there) {
            (Some(last), There::Record(there)) if there.offset == last.offset => {
                if is_same(&last, there) {
                    return Ok(Verdict::Whole);
                }
                true
            }
            (Some(last), There::Silence) => return Ok(Verdict::Silent(last.offset)),
            // There is nothing to compare with: everything up to there is gone, or never told.
            (_, There::Unasked) if !shorter => return Ok(Verdict::Whole),
            _ => false,
        };
        let epoch = last.and_then(|last| last.epoch);
        let split = match epoch {
            Some(epoch) => self.split(partition, epoch, low, next.min(high))?,
            None => Split { older: None, newer: None, is_silent: false },
        };
        if !shorter && !other && split.newer.is_none() {
            let silent = last.filter(|_| split.is_silent).map(|last| last.offset);
            return Ok(silent.map_or(Verdict::Whole, Verdict::Silent));
        }
        let from = match &split.newer {
            // It may have begun before what could be read.
            _ if split.is_silent => None,
            Some(newer) => Some(newer.offset.0),
            // The rest is as it was read: the leader that wrote the last record has written to its
            // end, and no other. The epoch that was read may have been a damaged one, which is
            // newer than any.
            None if shorter && epoch.is_some() && split.older.is_none_or(|older| older.epoch == epoch) => {
                Some(high)
            }
            None => None,
        };
        Ok(Verdict::Truncated(Truncation {
            next: NextOffset(next),
            read: epoch,
            from: from.map(NextOffset),
            kept: from.and(split.older),
            now: split.newer.and_then(|newer| newer.epoch),
            low: NextOffset(low),
            high: NextOffset(high),
        }))
    }

    /// Where records newer than `epoch` begin in `[low, end)`: epochs never decrease, so half of
    /// what is left is ruled out by each record that is looked at.
    fn split(&self, partition: i32, epoch: LeaderEpoch, low: i64, end: i64) -> KafkaResult<Split> {
        let (mut begin, mut newer_at) = (low, end);
        let mut split = Split { older: None, newer: None, is_silent: false };
        while begin < newer_at {
            let middle = begin + (newer_at - begin) / 2;
            let Some(found) = self.record_at(partition, middle)? else {
                split.is_silent = true;
                break;
            };
            match found.record().filter(|record| record.offset.0 < end) {
                Some(record) if record.epoch.is_none_or(|found| found <= epoch) => {
                    begin = record.offset.0 + 1;
                    split.older = Some(record);
                }
                Some(record) => {
                    newer_at = middle;
                    split.newer = Some(record);
                }
                None => newer_at = middle,
            }
        }
        Ok(split)
    }

    /// The last of these records, ascending by offset, that the partition still has. Those that
    /// retention took were there.
    ///
    /// # Errors
    /// When there is no answer in time, or a refusal.
    pub fn still_there(&self, partition: i32, records: &[LastRecord]) -> KafkaResult<Option<LastRecord>> {
        let (low, high) = self.watermarks(partition)?;
        let (mut begin, mut end) = (0, records.len());
        while begin < end {
            let middle = begin + (end - begin) / 2;
            let Some(record) = records.get(middle) else { break };
            let Offset(offset) = record.offset;
            let there = offset < low
                || (offset < high
                    && self
                        .record_at(partition, offset)?
                        .and_then(|found| found.record())
                        .is_some_and(|there| there.offset == record.offset && is_same(record, &there)));
            if there { begin = middle + 1 } else { end = middle }
        }
        Ok(begin.checked_sub(1).and_then(|index| records.get(index)).copied())
    }

    /// As [`Self::records_at`]; nothing where nothing arrives.
    fn record_at(&self, partition: i32, offset: i64) -> KafkaResult<Option<Found>> {
        let found = self.records_at(&BTreeMap::from([(partition, offset)]))?;
        Ok(found.get(&partition).cloned())
    }

    /// Whether the broker says that a partition has an offset.
    fn has(&self, partition: i32, offset: i64) -> KafkaResult<bool> {
        let (low, high) = self.watermarks(partition)?;
        Ok(low <= offset && offset < high)
    }

    /// The first record of each partition at or after an offset that it has, or what is there in its
    /// place. An error that belongs to a partition says nothing about the others. A partition is left out of which nothing arrives although the broker answers: of a
    /// batch that says a wrong length librdkafka only asks for more.
    fn records_at(&self, wanted: &BTreeMap<i32, i64>) -> KafkaResult<BTreeMap<i32, Found>> {
        const TIMED_OUT: KafkaError = KafkaError::MetadataFetch(Code::OperationTimedOut);
        let mut found = BTreeMap::new();
        if wanted.is_empty() {
            return Ok(found);
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in wanted {
            list.add_partition_offset(&self.topic, *partition, KafkaOffset::Offset(*offset))?;
        }
        self.consumer.assign(&list)?;
        let (begun, mut is_troubled) = (Instant::now(), false);
        while found.len() < wanted.len() {
            let waited = begun.elapsed();
            if self.stop.is_requested() || (is_troubled && waited >= self.within) {
                return Err(TIMED_OUT);
            }
            if waited >= self.patience {
                break;
            }
            let Some(mut arrival) = Arrival::wait(self.messages.queue(), PATIENCE) else { continue };
            let fault = match arrival.message() {
                None => None,
                Some(message) => {
                    let fault = message.fault();
                    let asked = wanted.get(&message.partition());
                    if fault.is_none() && asked.is_some_and(|offset| *offset <= message.offset()) {
                        found.entry(message.partition()).or_insert_with(|| Found::Record(message.as_last()));
                    }
                    fault
                }
            };
            let fault = fault.or_else(|| arrival.fault(&**self.consumer.context()));
            let Some(Fault { code, place, text }) = fault else { continue };
            let asked = place.and_then(|(partition, _)| Some((partition, *wanted.get(&partition)?)));
            // After a damaged batch librdkafka asks for offsets that never were.
            if asked.is_some_and(|(partition, _)| found.contains_key(&partition)) {
                continue;
            }
            match (code, severity(code), place) {
                (Code::PartitionEOF, _, Some((partition, _))) => {
                    found.entry(partition).or_insert(Found::End);
                }
                (_, Severity::Passing, _) => is_troubled = true,
                (code @ (Code::AutoOffsetReset | Code::OffsetOutOfRange), ..) => match asked {
                    // The broker has the offset, and does not give it out.
                    Some((partition, offset)) if self.has(partition, offset)? => {
                        found.insert(partition, Found::Damage(self.consumer.context().hide(&text)));
                    }
                    // It was cut just now.
                    _ => return Err(KafkaError::MessageConsumption(code)),
                },
                (_, Severity::Other, Some((partition, _))) => {
                    let why = self.consumer.context().hide(&text);
                    found.entry(partition).or_insert(Found::Damage(why));
                }
                (code, ..) => return Err(KafkaError::MessageConsumption(code)),
            }
        }
        self.consumer.unassign()?;
        // A broker that is away says nothing either.
        for partition in wanted.keys().filter(|partition| !found.contains_key(partition)) {
            self.watermarks(*partition)?;
        }
        Ok(found)
    }
}

/// Whether a record of the same offset is the one that was read. Its epoch is not asked: no checksum
/// covers it, and another record has another digest, which is over its time, too.
fn is_same(read: &LastRecord, there: &LastRecord) -> bool {
    read.digest == there.digest
}
