//! The id of a topic: Kafka gives it when the topic is created, and to no other ever again
//! (KIP-516).
//!
//! The Rust client does not ask for it, librdkafka's administration does, so this calls librdkafka.
//! It does nothing else.
//!
//! Invariant: whatever librdkafka hands out is owned by a guard from the line it arrives on, and
//! nothing that points into an answer outlives it.
#![expect(unsafe_code, reason = "the Rust client has no call for a topic's id; librdkafka's C interface has")]

use rdkafka::bindings as c;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use schemas::position::StreamIdentity;
use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::time::Duration;

/// The id of a topic, or none where the broker is older than ids.
///
/// # Errors
/// When the broker refuses, does not know the topic, or does not answer within that time.
pub(crate) fn topic_id(
    client: &Client<impl ClientContext>,
    topic: &str,
    within: Duration,
) -> KafkaResult<Option<StreamIdentity>> {
    let name = CString::new(topic)?;
    let milliseconds = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    let handle = client.native_ptr();

    let mut names = [name.as_ptr()];
    // SAFETY: `names` is an array of one string that ends in a zero byte, and is copied.
    let topics = unsafe {
        Owned::new(
            c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            c::rd_kafka_TopicCollection_destroy,
        )
    }?;
    // SAFETY: `handle` is valid while `client` is borrowed, which is longer than each guard below
    // lives.
    let options = unsafe {
        let operation = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        Owned::new(c::rd_kafka_AdminOptions_new(handle, operation), c::rd_kafka_AdminOptions_destroy)
    }?;
    // SAFETY: the options are alive. A text about the error is not asked for, and its length is
    // given as none.
    let error = unsafe {
        c::rd_kafka_AdminOptions_set_request_timeout(options.get(), milliseconds, ptr::null_mut(), 0)
    };
    succeeded(error)?;
    // SAFETY: as for the options.
    let queue = unsafe { Owned::new(c::rd_kafka_queue_new(handle), c::rd_kafka_queue_destroy) }?;

    // SAFETY: all four are alive; librdkafka copies topics and options, and drops an answer whose
    // queue is gone.
    unsafe { c::rd_kafka_DescribeTopics(handle, topics.get(), options.get(), queue.get()) };
    // SAFETY: the queue is alive. Nothing else is sent to it, so what comes is the answer, or null
    // when none came in time.
    let polled = unsafe { c::rd_kafka_queue_poll(queue.get(), milliseconds) };
    // SAFETY: an event belongs to whoever polled it.
    let Ok(event) = (unsafe { Owned::new(polled, c::rd_kafka_event_destroy) }) else {
        return Err(KafkaError::MetadataFetch(Code::OperationTimedOut));
    };
    // SAFETY: the event is alive.
    match succeeded(unsafe { c::rd_kafka_event_error(event.get()) }) {
        Err(KafkaError::MetadataFetch(Code::UnsupportedFeature)) => return Ok(None),
        other => other?,
    }

    // SAFETY: the event is alive; null says that it is no such answer.
    let result = unsafe { c::rd_kafka_event_DescribeTopics_result(event.get()) };
    if result.is_null() {
        return Err(KafkaError::MetadataFetch(Code::BadMessage));
    }
    let mut count = 0;
    // SAFETY: the result lives in the event; the array has as many elements as it says in `count`,
    // and is looked at only if it has one.
    let description = unsafe {
        let descriptions = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count == 0 || descriptions.is_null() { ptr::null() } else { *descriptions }
    };
    if description.is_null() {
        return Err(KafkaError::MetadataFetch(Code::BadMessage));
    }
    // SAFETY: the description lives in the event. A null error stands for none.
    succeeded(unsafe { c::rd_kafka_error_code(c::rd_kafka_TopicDescription_error(description)) })?;
    // SAFETY: the id lives in the description; it is read before the event goes.
    let (high, low) = unsafe {
        let id = c::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null() {
            (0, 0)
        } else {
            (c::rd_kafka_Uuid_most_significant_bits(id), c::rd_kafka_Uuid_least_significant_bits(id))
        }
    };
    Ok(identity(high, low))
}

/// A broker that knows no ids leaves it zero.
fn identity(high: i64, low: i64) -> Option<StreamIdentity> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&low.to_be_bytes());
    (bytes != [0; 16]).then_some(StreamIdentity(bytes))
}

fn succeeded(error: c::rd_kafka_resp_err_t) -> KafkaResult<()> {
    match error {
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(KafkaError::MetadataFetch(error.into())),
    }
}

/// Something of librdkafka's, and how it is given back.
struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// # Errors
    /// When `pointer` is null.
    ///
    /// # Safety
    /// The thing pointed at belongs to the caller, is given back by `destroy`, and by nothing else.
    unsafe fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> KafkaResult<Self> {
        let pointer = NonNull::new(pointer)
            .ok_or_else(|| KafkaError::AdminOpCreation("librdkafka gave nothing".to_owned()))?;
        Ok(Self { pointer, destroy })
    }

    fn get(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new` was promised that this is how it is given back, and it happens once.
        unsafe { (self.destroy)(self.get()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::config::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};

    #[test]
    fn an_id_is_shown_as_kafka_shows_it() {
        assert_eq!(identity(0, 0), None);
        // As java.util.UUID and org.apache.kafka.common.Uuid have it: the halves in this order,
        // each with its first byte first.
        let id = identity(0x0001_0203_0405_0607, 0x0809_0A0B_0C0D_0E0F);
        assert_eq!(id.map(|id| id.to_string()).as_deref(), Some("AAECAwQFBgcICQoLDA0ODw"));
        assert_eq!(
            identity(-1, 0),
            Some(StreamIdentity([[0xFF; 8], [0; 8]].concat().try_into().expect("16 bytes")))
        );
    }

    #[test]
    fn no_answer_is_an_error_and_so_is_no_name() {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", "127.0.0.1:1")
            .create()
            .expect("the configuration is fine");
        let within = Duration::from_millis(100);
        assert_eq!(
            topic_id(consumer.client(), "usage", within).map_err(|error| error.rdkafka_error_code()),
            Err(Some(Code::OperationTimedOut))
        );
        assert_eq!(
            topic_id(consumer.client(), "", within).map_err(|error| error.rdkafka_error_code()),
            Err(Some(Code::InvalidArgument))
        );
        assert!(matches!(topic_id(consumer.client(), "a\0b", within), Err(KafkaError::Nul(_))));
    }
}
