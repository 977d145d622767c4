//! Asking the broker: which topic it is, which partitions it has and how far one reaches, and why
//! there is no answer.
//!
//! It reads no records, and decides nothing about what the answer means for what was read.
//!
//! Invariant: a question ends with an answer, a refusal or a stop; a broker that has answered before
//! is waited for.

use super::arrival::Arrival;
use super::cause::{self, Cause};
use super::config::{self, ANSWER_WITHIN, Context, KafkaConfig};
use super::errors::{Answer, Fault, Severity, severity};
use super::messages::Messages;
use super::topic::topic_id;
use crate::IngestError;
use crate::stop::{PATIENCE, Stop};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use schemas::position::{Origin, Stream, StreamIdentity};
use std::time::{Duration, Instant};

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// How long to look for a broker that never answered: a wrong address should be told, a broker that
/// restarts be waited for.
const REACH_WITHIN: Duration = Duration::from_secs(15);
/// A topic that was just created is unknown to some brokers for a moment.
const UNKNOWN_TOPIC_TRIES: u32 = 4;

/// A broker, the topic there, and the consumer that asks.
pub struct Broker {
    pub config: KafkaConfig,
    /// Before the consumer, because fields are dropped in their order.
    pub messages: Messages,
    pub consumer: BaseConsumer<Context>,
    /// Known since it first answered.
    pub cluster: Option<String>,
    /// Of the topic as it was when it was first seen. None where the broker knows no ids.
    pub identity: Option<StreamIdentity>,
    /// Whether partitions are assigned. From then on events are records too, and only whoever reads
    /// may take them.
    pub is_reading: bool,
    reach_within: Duration,
}

impl Broker {
    /// Checks the configuration; asks nothing yet.
    ///
    /// # Errors
    /// As [`config::consumer`].
    pub fn new(config: &KafkaConfig) -> Result<Self, IngestError> {
        let consumer = config::consumer(config)?;
        Ok(Self {
            config: config.clone(),
            messages: Messages::of(&consumer),
            consumer,
            cluster: None,
            identity: None,
            is_reading: false,
            reach_within: REACH_WITHIN,
        })
    }

    /// One that never answered is given up after so long.
    #[must_use]
    pub fn within(self, reach_within: Duration) -> Self {
        Self { reach_within, ..self }
    }

    pub fn stream(&self, cluster: &str, partition: i32) -> Stream {
        let origin = Origin::Kafka { cluster: cluster.to_owned(), topic: self.config.topic.clone() };
        Stream {
            origin,
            partition: u32::try_from(partition)
                .expect("the partitions that a broker lists are numbered from 0"),
        }
    }

    /// The cluster's id and the topic's partitions. Waits for a broker that does not answer.
    pub fn topic(&self, stop: &Stop) -> Result<(String, Vec<i32>), IngestError> {
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
                    return Err(Answer::Soon("the topic is unknown".to_owned()));
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
    pub fn check_identity(&self, stop: &Stop) -> Result<Option<StreamIdentity>, IngestError> {
        let now = self.ask(stop, || {
            topic_id(self.consumer.client(), &self.config.topic, ANSWER_WITHIN).map_err(Answer::from)
        })?;
        match (self.identity, now) {
            (Some(before), Some(now)) if before != now => Err(self.created_again(before, now)),
            _ => Ok(now),
        }
    }

    pub fn created_again(&self, read: StreamIdentity, now: StreamIdentity) -> IngestError {
        let KafkaConfig { brokers, topic, .. } = &self.config;
        IngestError::Invalid(format!(
            "the topic {topic:?} that this ledger reads has the id {read}, but at {brokers} it has the id {now}: it was deleted and created again, or this is another cluster with the same \
             id. Reading on would skip records or read others in their place; nothing of it was read. Give the new topic another name, or start another ledger"
        ))
    }

    /// The first offset the broker has of a partition, and the last stable one: the next that can
    /// be read once everything before it was.
    pub fn fetch_watermarks(&self, partition: i32, stop: &Stop) -> Result<(i64, i64), IngestError> {
        self.ask(stop, || {
            self.consumer.fetch_watermarks(&self.config.topic, partition, ANSWER_WITHIN).map_err(Answer::from)
        })
    }

    /// Asks until there is an answer, a refusal, or a stop. Gives up only on a broker that never
    /// answered at all.
    pub fn ask<T>(
        &self,
        stop: &Stop,
        mut question: impl FnMut() -> Result<T, Answer>,
    ) -> Result<T, IngestError> {
        let mut wait = FIRST_WAIT;
        let begun = Instant::now();
        let causes = || self.consumer.context().causes();
        loop {
            let (why, is_told) = match question() {
                Ok(answer) => {
                    if wait > FIRST_WAIT {
                        causes().over()
                    } else {
                        causes().answered()
                    }
                    return Ok(answer);
                }
                Err(Answer::Refused(code)) => return Err(self.refused(code)),
                Err(Answer::Wait(why)) => (self.consumer.context().hide(&why), true),
                Err(Answer::Soon(why)) => (why, false),
            };
            if stop.is_requested() {
                return Err(IngestError::Stopped);
            }
            if let Some(code) = self.listen() {
                return Err(self.refused(code));
            }
            if self.cluster.is_none() && begun.elapsed() >= self.reach_within {
                let cause = causes().sentence().unwrap_or(why);
                return Err(IngestError::Retry(format!(
                    "{cause}; {} did not answer within {:?}: check the address and that the broker runs",
                    self.config.brokers, self.reach_within
                )));
            }
            if is_told {
                self.tell_waiting(&why);
            }
            stop.sleep(wait)?;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Hears why there was no answer: librdkafka tells it beside the answer, and a moment later.
    /// Gives back what trying again does not help against, refused credentials, say.
    fn listen(&self) -> Option<Code> {
        let until = Instant::now() + PATIENCE;
        if self.is_reading {
            return None;
        }
        loop {
            let is_known = self.consumer.context().causes().sentence().is_some();
            let left =
                if is_known { Duration::ZERO } else { until.saturating_duration_since(Instant::now()) };
            let fault = Arrival::wait(self.messages.queue(), left)?.fault(&**self.consumer.context());
            if let Some(Fault { code, .. }) = fault
                && severity(code) == Severity::Refused
            {
                return Some(code);
            }
        }
    }

    /// Says what is waited for and why, unless it was said lately.
    fn tell_waiting(&self, why: &str) {
        let mut causes = self.consumer.context().causes();
        causes.suppose(Cause::other(why));
        let news = causes.news(Instant::now());
        drop(causes);
        if let Some(cause) = cause::sentence(&news) {
            tracing::warn!(
                event = "kafka.waiting",
                "{cause}; waiting for Kafka at {}, which is asked again until it answers",
                self.config.brokers
            );
        }
    }

    /// Says what librdkafka has told of since the last time, while it tries again by itself.
    pub fn tell_errors(&self) {
        let news = self.consumer.context().causes().news(Instant::now());
        for cause in news {
            tracing::warn!(event = "kafka.error", "{cause}; Kafka is tried again");
        }
    }

    pub fn refused(&self, code: Code) -> IngestError {
        let KafkaConfig { brokers, topic, .. } = &self.config;
        let cause = self.consumer.context().causes().sentence();
        IngestError::Invalid(match code {
            Code::InvalidTopic => {
                format!(
                    "topic {topic:?}: {brokers} takes it for no name of a topic, which has up to 249 letters, digits, dots, underscores and hyphens; correct it"
                )
            }
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                format!("topic {topic:?} does not exist at {brokers}; create it, or correct the name")
            }
            Code::TopicAuthorizationFailed => {
                format!("{brokers} does not allow topic {topic:?} to be read; grant READ and DESCRIBE on it")
            }
            Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => {
                format!(
                    "{}; {brokers} cannot be talked to: correct the security.*, sasl.* and ssl.* properties of kafka in the configuration",
                    cause.unwrap_or_else(|| code.to_string())
                )
            }
            code => {
                let reason = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                format!("{brokers} refuses topic {topic:?}: {code}{reason}")
            }
        })
    }
}
