//! A topic as the broker has it, compared with what was read from it, for whoever does not ingest.
//!
//! It moves nothing and hands out no record.

use super::broker::Broker;
use super::config::{self, ANSWER_WITHIN, KafkaConfig};
use super::errors::Answer;
use super::truncation::{Compared, First, Prober, ReadTo, Truncation};
use crate::IngestError;
use crate::stop::Stop;
use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use schemas::position::{LastRecord, NextOffset, Offset, Position, Stream, StreamIdentity};
use std::collections::BTreeMap;
use std::time::Duration;

/// A topic as the broker has it, compared with what was read from it.
#[derive(Debug)]
pub struct Seen {
    /// None where the broker knows no ids.
    pub identity: Option<StreamIdentity>,
    pub partitions: Vec<SeenPartition>,
}

#[derive(Debug)]
pub struct SeenPartition {
    pub stream: Stream,
    /// The first offset there is.
    pub low: NextOffset,
    /// The next offset that can be read: what comes after it is part of a transaction that is open,
    /// or waits for one.
    pub stable: NextOffset,
    /// The next offset there will be.
    pub high: NextOffset,
    /// The first offset that may hold a record that can be read and was not. Where that is `stable`
    /// none waits: what is before it are markers of transactions, or records of aborted ones.
    pub unread: NextOffset,
    /// None where it has what was read from it, or is another topic's.
    pub truncation: Option<Truncation>,
    /// The record that was read last, where nothing arrives when it is asked for: whether the
    /// partition has what was read from it is not known then.
    pub silent: Option<Offset>,
    /// Why it cannot be read on from `unread`, where it cannot.
    pub damage: Option<String>,
}

/// Looks at a topic by everything that ingest compares. `known` is how far a stream was read.
///
/// # Errors
/// When there is no answer within that time, or a refusal.
pub fn look(
    config: &KafkaConfig,
    known: &dyn Fn(&Stream) -> Option<Position>,
    within: Duration,
) -> Result<Seen, IngestError> {
    let broker = Broker::new(config)?.within(within);
    let stop = Stop::default();
    let prober = Prober::new(config, ANSWER_WITHIN, &stop)?;
    let (cluster, numbers) = broker.topic(&stop)?;
    let identity = broker.check_identity(&stop)?;
    let mut read = BTreeMap::new();
    for partition in &numbers {
        let position = known(&broker.stream(&cluster, *partition));
        let same =
            |position: &Position| position.identity.zip(identity).is_none_or(|(read, now)| read == now);
        if let Some(Position { next, last, .. }) = position.filter(same) {
            read.insert(*partition, ReadTo { next: next.0, last });
        }
    }
    let Compared { mut truncations, silent } =
        broker.ask(&stop, || prober.compare(&read).map_err(Answer::from))?;
    let mut partitions = Vec::new();
    let mut unread = BTreeMap::new();
    for partition in &numbers {
        // In this order, so that what is behind a transaction is behind one that stays open.
        let (_, high) = broker.ask(&stop, || prober.watermarks(*partition).map_err(Answer::from))?;
        let (low, stable) = broker.fetch_watermarks(*partition, &stop)?;
        let truncation = truncations.remove(partition);
        let next = read.get(partition).map_or(low, |read| read.next.max(low));
        if truncation.is_none() && next < stable {
            unread.insert(*partition, next);
        }
        partitions.push(SeenPartition {
            stream: broker.stream(&cluster, *partition),
            low: NextOffset(low),
            stable: NextOffset(stable),
            high: NextOffset(high.max(stable)),
            unread: NextOffset(next.min(stable)),
            truncation,
            silent: silent.get(partition).copied(),
            damage: None,
        });
    }
    let reader = Prober::committed(config, ANSWER_WITHIN, &stop)?;
    let mut first = broker.ask(&stop, || reader.first_records(&unread).map_err(Answer::from))?;
    for (partition, seen) in numbers.iter().zip(&mut partitions) {
        match first.remove(partition) {
            Some(First::Record(Offset(first))) => seen.unread = NextOffset(seen.stable.0.min(first)),
            Some(First::Nothing) => seen.unread = seen.stable,
            Some(First::Damage(why)) => seen.damage = Some(why),
            None => {}
        }
    }
    Ok(Seen { identity, partitions })
}

/// The last of these records, ascending by offset, that a partition still has.
///
/// # Errors
/// As [`look`].
pub fn still_there(
    config: &KafkaConfig,
    stream: &Stream,
    records: &[LastRecord],
    within: Duration,
) -> Result<Option<LastRecord>, IngestError> {
    let broker = Broker::new(config)?.within(within);
    let stop = Stop::default();
    let prober = Prober::new(config, ANSWER_WITHIN, &stop)?;
    let partition = i32::try_from(stream.partition)
        .map_err(|_| IngestError::Invalid(format!("{stream}: Kafka has no such partition")))?;
    broker.ask(&stop, || prober.still_there(partition, records).map_err(Answer::from))
}

/// How the topic's old records are removed (`cleanup.policy`); none where the broker does not say.
///
/// # Errors
/// When there is no answer within that time, or the setting may not be read.
pub async fn cleanup_policy(config: &KafkaConfig, within: Duration) -> Result<Option<String>, IngestError> {
    let refused =
        |what: String| IngestError::Retry(format!("the settings of topic {:?}: {what}", config.topic));
    let administrator = config::administrator(config)?;
    let options = AdminOptions::new().request_timeout(Some(within));
    let topics = [ResourceSpecifier::Topic(&config.topic)];
    let described = administrator.describe_configs(&topics, &options).await;
    let topic = described.map_err(|error| refused(error.to_string()))?.into_iter().next();
    let topic = topic
        .ok_or_else(|| refused("the broker says nothing".to_owned()))?
        .map_err(|code| refused(code.to_string()))?;
    Ok(topic.get("cleanup.policy").and_then(|setting| setting.value.clone()))
}
