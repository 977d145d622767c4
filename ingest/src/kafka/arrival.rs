//! One thing that arrives, waited for: a message, an error, or a word of librdkafka about itself.
//!
//! The Rust client's own call does not say which partition an error belongs to, and that partition
//! is what has to be named and stopped. It decides nothing about what has arrived.
//!
//! Invariant: an event is destroyed once, after the last look at the message in it, and before the
//! queue it came from.
#![expect(
    unsafe_code,
    reason = "the Rust client hides the partition of an error; librdkafka's events have it"
)]

use super::errors::Fault;
use super::messages::Message;
use rdkafka::bindings as native;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use std::ffi::{CStr, c_char};
use std::ptr::{self, NonNull};
use std::time::Duration;

/// An event of librdkafka's.
pub struct Arrival(NonNull<native::rd_kafka_event_t>);

impl Arrival {
    /// The next thing that arrives within `patience`.
    pub fn wait(queue: NonNull<native::rd_kafka_queue_t>, patience: Duration) -> Option<Self> {
        let milliseconds = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: whoever has the queue keeps it alive; an event belongs to whoever polled it.
        let event = unsafe { native::rd_kafka_queue_poll(queue.as_ptr(), milliseconds) };
        NonNull::new(event).map(Self)
    }

    fn kind(&self) -> i32 {
        // SAFETY: the event is alive.
        unsafe { native::rd_kafka_event_type(self.0.as_ptr()) }
    }

    /// The message in it, if it is one.
    pub fn message(&mut self) -> Option<Message<'_>> {
        if self.kind() != native::RD_KAFKA_EVENT_FETCH {
            return None;
        }
        // SAFETY: the event is alive; the message lies in it, which the borrow of `self` keeps.
        unsafe { native::rd_kafka_event_message_next(self.0.as_ptr()).as_ref() }.map(Message::lent)
    }

    /// The error in it, if it is one. What belongs to no partition is told to `context`, as the Rust
    /// client would.
    pub fn fault(&self, context: &impl ClientContext) -> Option<Fault> {
        if self.kind() != native::RD_KAFKA_EVENT_ERROR {
            self.tell(context);
            return None;
        }
        let event = self.0.as_ptr();
        // SAFETY: the event is alive; its words end with a zero byte and live as long, and the
        // partition is a copy that is given back here.
        let (code, text, place) = unsafe {
            let code: rdkafka::error::RDKafkaErrorCode = native::rd_kafka_event_error(event).into();
            let text = words(native::rd_kafka_event_error_string(event));
            let partition = native::rd_kafka_event_topic_partition(event);
            let place = partition.as_ref().map(|found| (found.partition, found.offset));
            if !partition.is_null() {
                native::rd_kafka_topic_partition_destroy(partition);
            }
            (code, text, place)
        };
        if place.is_none() {
            context.error(KafkaError::Global(code), text.trim());
        }
        Some(Fault { code, place, text })
    }

    /// Passes on a line of librdkafka's log.
    fn tell(&self, context: &impl ClientContext) {
        if self.kind() != native::RD_KAFKA_EVENT_LOG {
            return;
        }
        let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the event is alive, and the pointers are valid for the call.
        let failed = unsafe {
            native::rd_kafka_event_log(self.0.as_ptr(), &raw mut facility, &raw mut line, &raw mut level)
        };
        if failed == 0 {
            // SAFETY: both end with a zero byte and live as long as the event.
            let (facility, line) = unsafe { (words(facility), words(line)) };
            // How grave librdkafka takes it to be is not looked at.
            context.log(RDKafkaLogLevel::Info, facility.trim(), line.trim());
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        // SAFETY: it was polled, and is destroyed here alone.
        unsafe { native::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// A text of librdkafka's, or none.
///
/// # Safety
/// A pointer that is not null points at a text that ends with a zero byte.
pub unsafe fn words(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller promises it.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
