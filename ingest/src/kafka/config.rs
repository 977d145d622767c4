//! The configuration of a Kafka client, and the consumer that is made of it.
//!
//! It asks the broker nothing, and knows properties, not topics.
//!
//! Invariants
//! - A property that must not be different is set here last, and a configuration that names it is
//!   refused.
//! - No word of librdkafka is passed on with a secret in it.

use super::cause::{Cause, Causes};
use super::checks::{check_brokers, check_effect};
use super::lines::tell_to_context;
use crate::IngestError;
use rdkafka::admin::AdminClient;
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long one question to the broker may take.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

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

/// Parts of the names of properties whose values are secrets, or hold one.
const SECRET: &[&str] =
    &["password", "secret", "token", "jaas", "key.pem", "oauthbearer.config", "credential"];

#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaConfig {
    /// How this program is called, for the commands in what it says.
    pub program: String,
    /// `HOST:PORT`, several with commas.
    pub brokers: String,
    pub topic: String,
    /// Properties of librdkafka, passed through: TLS, SASL, tuning.
    pub properties: BTreeMap<String, String>,
}

/// Without the values of properties, any of which may be a secret.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// A consumer that is configured so.
///
/// # Errors
/// No broker or no topic, an address with a user name in it, a property that librdkafka does not
/// know, or one that this program sets itself.
pub fn consumer(config: &KafkaConfig) -> Result<BaseConsumer<Context>, IngestError> {
    create(config, &client(config)?, Context { tells_settings: true, ..Context::default() })
}

/// A consumer that looks at single records, those of open and aborted transactions too, and at the
/// high watermark rather than at the last stable offset. No record that it reads is handed out.
///
/// # Errors
/// As [`consumer`].
pub fn prober(config: &KafkaConfig) -> Result<BaseConsumer<Context>, IngestError> {
    let mut client = client(config)?;
    client.set("isolation.level", "read_uncommitted").set("queued.min.messages", "1");
    create(config, &client, Context::default())
}

/// A client that asks for the settings of a topic.
///
/// # Errors
/// As [`consumer`].
pub fn administrator(config: &KafkaConfig) -> Result<AdminClient<DefaultClientContext>, IngestError> {
    client(config)?.create().map_err(|error| refused(config, error))
}

fn client(config: &KafkaConfig) -> Result<ClientConfig, IngestError> {
    if config.brokers.is_empty() || config.topic.is_empty() {
        return Err(IngestError::Invalid("kafka: brokers and topic must both be given".to_owned()));
    }
    check_brokers(&config.brokers, &config.properties)?;
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
        if has_user_information(value) {
            return Err(IngestError::Invalid(format!(
                "kafka property {name}: the address has a user name or password in it; take them out, and give them as properties of their own"
            )));
        }
        check_effect(name, &config.properties)?;
        client.set(name, value);
    }
    for (name, value) in OWNED {
        client.set(*name, *value);
    }
    // Our own log decides what is shown, and librdkafka's property `debug` what there is to show.
    client.set("bootstrap.servers", &config.brokers).set_log_level(RDKafkaLogLevel::Debug);
    Ok(client)
}

fn create(
    config: &KafkaConfig,
    client: &ClientConfig,
    context: Context,
) -> Result<BaseConsumer<Context>, IngestError> {
    let context = Context { secrets: secrets(&config.properties), ..context };
    let consumer: BaseConsumer<Context> =
        client.create_with_context(context).map_err(|error| refused(config, error))?;
    tell_to_context(consumer.client());
    Ok(consumer)
}

fn refused(config: &KafkaConfig, error: KafkaError) -> IngestError {
    let hide = |text: String| hidden(&secrets(&config.properties), text);
    IngestError::Invalid(match error {
        KafkaError::ClientConfig(_, reason, name, _) => format!("kafka property {name}: {}", hide(reason)),
        other => format!("kafka: {}", hide(other.to_string())),
    })
}

/// Whether a value is an address that also says who asks, and perhaps with which password.
fn has_user_information(value: &str) -> bool {
    value.split_once("://").is_some_and(|(_, rest)| {
        rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
    })
}

/// Values that must not be shown; the longest first, because one may be part of another.
fn secrets(properties: &BTreeMap<String, String>) -> Vec<String> {
    let is_secret = |name: &str| SECRET.iter().any(|part| name.contains(part));
    let mut secrets: Vec<String> = properties
        .iter()
        .filter(|(name, value)| is_secret(name) && !value.is_empty())
        .map(|(_, value)| value.clone())
        .collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

fn hidden(secrets: &[String], text: String) -> String {
    secrets.iter().fold(text, |text, secret| text.replace(secret, "(hidden)"))
}

/// Passes on what librdkafka says of itself, and remembers what it reports as trouble until somebody
/// tells it.
#[derive(Default)]
pub struct Context {
    secrets: Vec<String>,
    causes: Mutex<Causes>,
    /// Whether it warns of settings; of two consumers with the same one does.
    tells_settings: bool,
}

/// What librdkafka calls its lines about settings that it takes and that have no effect, or hardly
/// the one that is meant.
const OF_SETTINGS: &str = "CONFWARN";

/// What it calls its lines about connections that failed.
const OF_FAILURES: &str = "FAIL";

impl Context {
    pub fn causes(&self) -> MutexGuard<'_, Causes> {
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a cause of trouble, in librdkafka's words.
    pub fn hear(&self, code: Option<Code>, reason: &str) {
        if let Some(cause) = Cause::of(code, &self.hide(reason)) {
            self.causes().hear(cause);
        }
    }

    /// The words of librdkafka as they may be shown.
    pub fn hide(&self, words: &str) -> String {
        hidden(&self.secrets, words.to_owned())
    }
}

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.hide(message);
        if self.tells_settings && facility == OF_SETTINGS {
            let thread = message.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: "));
            let message = thread.map_or(message.as_str(), |(_, message)| message);
            tracing::warn!(event = "kafka.setting", "[kafka.properties]: {message}");
        }
        tracing::debug!(target: "librdkafka", event = "kafka.client", "{facility}: {message}");
        if facility == OF_FAILURES
            && let Some(cause) = Cause::of_hanging_up(&message)
        {
            self.causes().hear(cause);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hear(error.rdkafka_error_code(), reason);
    }
}

impl ConsumerContext for Context {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(property: (&str, &str), expected: &str) {
        let properties = BTreeMap::from([(property.0.to_owned(), property.1.to_owned())]);
        let config = KafkaConfig {
            program: "atcost".to_owned(),
            brokers: "127.0.0.1:1".to_owned(),
            topic: "usage".to_owned(),
            properties,
        };
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

    #[test]
    fn an_address_holds_no_user_and_no_message_a_secret() {
        let config = |brokers: &str, properties: &[(&str, &str)]| KafkaConfig {
            program: "atcost".to_owned(),
            brokers: brokers.to_owned(),
            topic: "usage".to_owned(),
            properties: properties
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        for (config, expected) in [
            (config("user:hunter2@broker:9092", &[]), "sasl.username and sasl.password"),
            (
                config(
                    "broker:9092",
                    &[("sasl.oauthbearer.token.endpoint.url", "https://user:hunter2@idp/token")],
                ),
                "sasl.oauthbearer.token.endpoint.url: the address has",
            ),
            (
                config("broker:9092", &[("ssl.key.pem", "hunter2"), ("security.protocol", "ssl")]),
                "ssl.key.pem",
            ),
            (config("broker:9092", &[("sasl.jaas.config", "password=hunter2")]), "sasl.jaas.config"),
        ] {
            let shown = consumer(&config).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(shown.contains(expected) && !shown.contains("hunter2"), "{shown}");
            assert!(!format!("{:?}", KafkaConfig { brokers: String::new(), ..config }).contains("hunter2"));
        }
        let secrets =
            secrets(&config("b:1", &[("sasl.password", "abc"), ("ssl.key.password", "abcd")]).properties);
        assert_eq!(hidden(&secrets, "abcd and abc".to_owned()), "(hidden) and (hidden)");
    }
}
