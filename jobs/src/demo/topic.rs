//! The demo's records in a Kafka topic of their own.
//!
//! It talks to a broker without TLS or a password, as one runs on a laptop. The settings of a real
//! installation belong into atcost.toml and to `atcost ingest`.

use super::expected::Expected;
use super::records;
use anyhow::{Context as _, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const PARTITIONS: i32 = 4;
/// How long the broker may take to make a topic.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to acknowledge what is still in the queue at the end.
const FLUSHED_WITHIN: Duration = Duration::from_secs(30);

/// Makes the topic `atcost-demo-N` with the first number that is free, and gives its name.
///
/// # Errors
/// When the broker does not answer, or refuses.
pub async fn create(brokers: &str) -> anyhow::Result<String> {
    let admin: AdminClient<DefaultClientContext> =
        client(brokers).create().context("the Kafka client cannot be made")?;
    let options =
        AdminOptions::new().request_timeout(Some(ANSWER_WITHIN)).operation_timeout(Some(ANSWER_WITHIN));
    for number in 1..10_000 {
        let name = format!("atcost-demo-{number}");
        // The broker knows how many replicas it wants.
        let topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(-1));
        let answers = admin.create_topics([&topic], &options).await.with_context(|| {
            format!("no answer from Kafka at {brokers}; start a broker there, or leave --brokers out")
        })?;
        match answers.into_iter().next() {
            Some(Ok(_)) => return Ok(name),
            Some(Err((_, Code::TopicAlreadyExists))) => {}
            Some(Err((_, code))) => bail!("Kafka at {brokers} does not make the topic {name}: {code}"),
            None => bail!("Kafka at {brokers} did not say whether it made the topic {name}"),
        }
    }
    bail!("Kafka at {brokers} has all of the topics atcost-demo-1 to atcost-demo-9999; delete some")
}

/// Produces every record, in order. The key keeps the records of one sender in order in one
/// partition.
///
/// # Errors
/// When the broker does not acknowledge every record.
pub fn produce(brokers: &str, topic: &str) -> anyhow::Result<Expected> {
    let mut config = client(brokers);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "zstd")
        .set("linger.ms", "50");
    let producer: BaseProducer<Deliveries> =
        config.create_with_context(Deliveries::default()).context("the Kafka producer cannot be made")?;
    let headers = OwnedHeaders::new()
        .insert(Header { key: "content-type", value: Some("application/cloudevents+json; charset=UTF-8") });
    let expected = records::records(|record| {
        let mut message =
            BaseRecord::to(topic).key(record.key).payload(record.bytes).headers(headers.clone());
        loop {
            match producer.send(message) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(Code::QueueFull), returned)) => {
                    message = returned;
                    producer.poll(Duration::from_millis(100));
                }
                Err((error, _)) => return Err(error),
            }
        }
        producer.poll(Duration::ZERO);
        producer.context().first_failure().map_or(Ok(()), Err)
    });
    let expected =
        expected.with_context(|| format!("the topic {topic} at {brokers} does not take the events"))?;
    producer
        .flush(FLUSHED_WITHIN)
        .with_context(|| format!("the topic {topic} at {brokers} did not take all events in time"))?;
    match producer.context().first_failure() {
        None => Ok(expected),
        Some(error) => {
            Err(error).with_context(|| format!("the topic {topic} at {brokers} did not take all events"))
        }
    }
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("client.id", "atcost-demo");
    // A broker that has just started lets a producer wait for a moment; that is no news.
    config.set_log_level(RDKafkaLogLevel::Error);
    config
}

/// Remembers the first record that was not acknowledged; nobody else would.
#[derive(Default)]
struct Deliveries(Mutex<Option<KafkaError>>);

impl Deliveries {
    fn first_failure(&self) -> Option<KafkaError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl rdkafka::ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
    }
}
