//! Records that keep arriving while faults happen.

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;
use tests::broker::Broker;
use tests::encode::Record;

/// So many records are sent every [`PAUSE`], to one partition after the other.
const AT_ONCE: u64 = 60;
const PAUSE: Duration = Duration::from_millis(15);
/// A broker that was killed is back before the producer gives up.
const DELIVERED_WITHIN: Duration = Duration::from_secs(90);

/// One record in so many is no event and becomes a rejected row.
const POISON_EVERY: u64 = 97;

/// The `number`th record of a topic. Its value says which it is.
fn value(number: u64) -> Vec<u8> {
    if number.is_multiple_of(POISON_EVERY) {
        return format!("no event {number}").into_bytes();
    }
    let event = json!({
        "specversion": "1.0", "id": format!("e-{number}"), "source": "//edge/ams/node-1", "type": "compute.example/instance-hours",
        "subject": format!("projects/a{}", number % 13), "time": "2025-10-01T08:00:00Z",
        "data": {"value": "1.5", "dimensions": {"class": "standard"}, "provider": "nimbus"},
    });
    event.to_string().into_bytes()
}

/// The id of a record's event, as [`value`] wrote it; none where it is no event.
pub fn id(value: &[u8]) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(value).ok()?;
    Some(event["id"].as_str()?.to_owned())
}

fn partition(number: u64, partitions: i32) -> i32 {
    i32::try_from(number % u64::from(partitions.unsigned_abs())).expect("a topic has few partitions")
}

/// Records for `Broker::produce`, numbered from `first`.
pub fn records(first: u64, count: u64, partitions: i32) -> Vec<Record> {
    (first..first + count).map(|number| Record::bare(partition(number, partitions), value(number))).collect()
}

/// A producer in a thread of its own. It ends when it is told to, or when it is dropped.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Begins with the record `first`, so that two loads of one topic do not send the same.
    pub fn start(broker: &Broker, topic: &str, partitions: i32, first: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", broker.address())
            .set("enable.idempotence", "true")
            .set("linger.ms", "5");
        config.set("message.timeout.ms", DELIVERED_WITHIN.as_millis().to_string());
        let producer: BaseProducer = config.create().expect("the configuration is valid");
        let thread = spawn({
            let (topic, stop) = (topic.to_owned(), stop.clone());
            move || send(&producer, &topic, partitions, first, &stop)
        });
        Self { stop, thread: Some(thread) }
    }

    /// Waits until the broker has everything that was sent.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it is stopped once").join().expect("the broker takes what is sent");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn send(producer: &BaseProducer, topic: &str, partitions: i32, first: u64, stop: &AtomicBool) {
    let mut number = first;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..AT_ONCE {
            let value = value(number);
            let record =
                BaseRecord::<(), [u8]>::to(topic).partition(partition(number, partitions)).payload(&value);
            match producer.send(record) {
                Ok(()) => number += 1,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => panic!("the record cannot be sent: {error}"),
            }
        }
        producer.poll(Duration::ZERO);
        sleep(PAUSE);
    }
    producer.flush(DELIVERED_WITHIN).expect("the broker takes the records");
}
