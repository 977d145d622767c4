//! The configuration of a Kafka client, and the consumer that is made of it.
//!
//! It asks the broker nothing, and knows properties, not topics.
//!
//! Invariant: what must not be different is set here last, and a configuration that names it is
//! refused.

use crate::IngestError;
use rdkafka::admin::AdminClient;
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Properties that this program sets itself, because another value would lose, repeat or corrupt
/// records.
const OWNED: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "false"),
    ("auto.offset.reset", "error"),
    ("check.crcs", "true"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
];
/// Defaults that bound memory; the configuration may change them.
const DEFAULTS: &[(&str, &str)] = &[
    // librdkafka wants a group id even where no group is used. Nothing is ever stored under it.
    ("group.id", "atcost-ingest"),
    ("client.id", "atcost"),
    ("queued.max.messages.kbytes", "32768"),
    ("fetch.queue.backoff.ms", "50"),
    ("fetch.wait.max.ms", "100"),
    ("reconnect.backoff.max.ms", "5000"),
];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `HOST:PORT`, several with commas.
    pub brokers: String,
    pub topic: String,
    /// Properties of librdkafka, passed through: TLS, SASL, tuning.
    pub properties: BTreeMap<String, String>,
}

/// A consumer that is configured so.
///
/// # Errors
/// No broker or no topic, a property that librdkafka does not know, or one that this program sets
/// itself.
pub fn consumer(config: &KafkaConfig) -> Result<BaseConsumer<Context>, IngestError> {
    create(&client(config)?)
}

/// A consumer that looks at single records, those of open and aborted transactions too, and at the
/// high watermark rather than at the last stable offset. No record that it reads is handed out.
///
/// # Errors
/// As [`consumer`].
pub fn prober(config: &KafkaConfig) -> Result<BaseConsumer<Context>, IngestError> {
    let mut client = client(config)?;
    client.set("isolation.level", "read_uncommitted").set("queued.min.messages", "1");
    create(&client)
}

/// A client that asks for the settings of a topic.
///
/// # Errors
/// As [`consumer`].
pub fn administrator(config: &KafkaConfig) -> Result<AdminClient<DefaultClientContext>, IngestError> {
    client(config)?.create().map_err(refused)
}

fn client(config: &KafkaConfig) -> Result<ClientConfig, IngestError> {
    if config.brokers.is_empty() || config.topic.is_empty() {
        return Err(IngestError::Invalid("kafka: brokers and topic must both be given".to_owned()));
    }
    let mut client = ClientConfig::new();
    for (name, value) in DEFAULTS {
        client.set(*name, *value);
    }
    for (name, value) in &config.properties {
        if matches!(name.as_str(), "bootstrap.servers" | "metadata.broker.list") {
            return Err(IngestError::Invalid(format!(
                "kafka property {name}: give the brokers as kafka.brokers or --brokers"
            )));
        }
        if let Some((_, ours)) = OWNED.iter().find(|(owned, _)| owned == name) {
            return Err(IngestError::Invalid(format!(
                "kafka property {name}: it is always {ours}, because another value could lose or repeat records; remove it from the configuration"
            )));
        }
        client.set(name, value);
    }
    for (name, value) in OWNED {
        client.set(*name, *value);
    }
    client.set("bootstrap.servers", &config.brokers).set_log_level(RDKafkaLogLevel::Info);
    Ok(client)
}

fn create(client: &ClientConfig) -> Result<BaseConsumer<Context>, IngestError> {
    client.create_with_context(Context::default()).map_err(refused)
}

fn refused(error: KafkaError) -> IngestError {
    match error {
        KafkaError::ClientConfig(_, reason, name, _) => {
            IngestError::Invalid(format!("kafka property {name}: {reason}"))
        }
        other => IngestError::Invalid(format!("kafka: {other}")),
    }
}

/// Passes on what librdkafka reports, and remembers the last reason for an error message.
#[derive(Default)]
pub struct Context {
    reason: Mutex<Option<String>>,
}

impl Context {
    pub fn last_reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", event = "kafka.client", "{facility}: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is no error.
        if error.rdkafka_error_code() == Some(Code::PartitionEOF) {
            return;
        }
        tracing::warn!(event = "kafka.error", "Kafka: {reason}");
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

impl ConsumerContext for Context {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(property: (&str, &str), expected: &str) {
        let properties = BTreeMap::from([(property.0.to_owned(), property.1.to_owned())]);
        let config = KafkaConfig { brokers: "127.0.0.1:1".to_owned(), topic: "usage".to_owned(), properties };
        let shown = consumer(&config).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(shown.contains(expected) && shown.is_empty() == expected.is_empty(), "{shown}");
    }

    #[test]
    fn properties_are_passed_through_unless_they_are_ours() {
        check(("security.protocol", "ssl"), "");
        check(("group.id", "another"), "");
        check(("auto.offset.reset", "earliest"), "auto.offset.reset: it is always error");
        check(("bootstrap.servers", "elsewhere:9092"), "give the brokers as kafka.brokers");
        check(("no.such.property", "1"), "no.such.property");
        check(("security.protocol", "morse"), "security.protocol");
    }
}
