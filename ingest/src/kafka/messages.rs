//! Messages as librdkafka has them, many at a time.
//!
//! Polling for one message costs more than decoding it: a clock, a queue's lock and an allocation
//! each. So what has arrived is taken in one call, and a message is only looked at where it lies.
//! Waiting, and hearing of errors that belong to no partition, is another room's; such an error that
//! arrives amid messages is only logged, and told again when they end, for librdkafka tries again
//! and fails again.
//!
//! Invariant: a message is destroyed once, after the last look at it and before its consumer.

use super::errors::Fault;
use crate::source::Header;
use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use schemas::canonical::{push_bytes, push_count, push_option};
use schemas::digest::Sha256Digest;
use schemas::position::{LastRecord, LeaderEpoch, Offset};
use smallvec::SmallVec;
use std::ffi::CStr;
use std::ptr::{self, NonNull};

/// How many messages are taken in one call.
const AT_ONCE: usize = 1024;

/// Messages that have arrived and were not looked at yet. Must be dropped before the consumer they
/// came from.
pub struct Messages {
    queue: NonNull<native::rd_kafka_queue_t>,
    taken: Vec<*mut native::rd_kafka_message_t>,
    /// How many of them were handed out.
    next: usize,
    /// How many of those [`Self::last_ones`] has seen.
    seen: usize,
}

#[expect(
    unsafe_code,
    reason = "librdkafka's queues and messages belong to no thread, and nothing else has these pointers"
)]
// SAFETY: as the reason says.
unsafe impl Send for Messages {}

/// A message, or an error in its place.
pub struct Message<'m>(&'m native::rd_kafka_message_t);

impl Messages {
    /// The messages of a consumer. It has a `group.id`, so that they all come by one queue.
    pub fn of<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Self {
        #[expect(unsafe_code, reason = "rdkafka has no call for the consumer's queue")]
        // SAFETY: the client lives as long as the consumer; the queue is counted and given back in
        // `drop`.
        let queue = unsafe { native::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        Self {
            queue: NonNull::new(queue).expect("a consumer with a group id has a queue"),
            taken: Vec::with_capacity(AT_ONCE),
            next: 0,
            seen: 0,
        }
    }

    /// Whether the next message is one that was not taken yet, and those before it go.
    pub fn are_used_up(&self) -> bool {
        self.next == self.taken.len()
    }

    /// Shows the last messages of each partition among those that were handed out since this was
    /// called before, the newest first and until `see` takes one, so that not every record is
    /// hashed. They must not have gone yet.
    pub fn last_ones(&mut self, mut see: impl FnMut(&Message<'_>) -> bool) {
        let mut partitions: SmallVec<[i32; 16]> = SmallVec::new();
        for message in self.taken.iter().take(self.next).skip(self.seen).rev() {
            #[expect(unsafe_code, reason = "the message lies in librdkafka's memory")]
            // SAFETY: it is destroyed by `clear` alone, which the borrow of `self` forbids
            // meanwhile.
            let message = Message(unsafe { &**message });
            if !message.is_error() && !partitions.contains(&message.partition()) && see(&message) {
                partitions.push(message.partition());
            }
        }
        self.seen = self.next;
    }

    /// The next message that has arrived; does not wait.
    pub fn next(&mut self) -> Option<Message<'_>> {
        if self.next == self.taken.len() {
            self.clear();
            #[expect(unsafe_code, reason = "rdkafka polls for one message at a time")]
            // SAFETY: the call writes at most AT_ONCE pointers, for which there is room, and says
            // how many; each is ours to destroy.
            unsafe {
                let count = native::rd_kafka_consume_batch_queue(
                    self.queue.as_ptr(),
                    0,
                    self.taken.as_mut_ptr(),
                    AT_ONCE,
                );
                // A negative count is an error, and no pointer was written.
                self.taken.set_len(count.max(0).cast_unsigned());
            }
        }
        let message = *self.taken.get(self.next)?;
        self.next += 1;
        #[expect(unsafe_code, reason = "the message lies in librdkafka's memory")]
        // SAFETY: it is destroyed by `clear` alone, which the borrow of `self` forbids while it is
        // looked at.
        let message = unsafe { &*message };
        Some(Message(message))
    }

    /// The queue that they come by.
    pub fn queue(&self) -> NonNull<native::rd_kafka_queue_t> {
        self.queue
    }

    /// Drops what was taken and not handed out: an assignment makes it come again.
    pub fn clear(&mut self) {
        (self.next, self.seen) = (0, 0);
        for message in self.taken.drain(..) {
            #[expect(unsafe_code, reason = "the message lies in librdkafka's memory")]
            // SAFETY: it came from `rd_kafka_consume_batch_queue`, leaves the list here, and nobody
            // looks at it any more.
            unsafe {
                native::rd_kafka_message_destroy(message);
            }
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.clear();
        #[expect(unsafe_code, reason = "the queue is counted by librdkafka")]
        // SAFETY: it was counted for us in `of`.
        unsafe {
            native::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

impl<'m> Message<'m> {
    /// A message that somebody else keeps alive and has not yet destroyed.
    pub fn lent(message: &'m native::rd_kafka_message_t) -> Self {
        Self(message)
    }

    fn is_error(&self) -> bool {
        self.0.err != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// The error that stands in the message's place.
    pub fn fault(&self) -> Option<Fault> {
        if !self.is_error() {
            return None;
        }
        // Its words are where a message has its value.
        let text = String::from_utf8_lossy(self.value().unwrap_or_default()).into_owned();
        Some(Fault { code: self.0.err.into(), place: Some((self.partition(), self.offset())), text })
    }

    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    pub fn key(&self) -> Option<&'m [u8]> {
        bytes(self.0.key, self.0.key_len)
    }

    pub fn value(&self) -> Option<&'m [u8]> {
        bytes(self.0.payload, self.0.len)
    }

    /// Milliseconds since 1970.
    pub fn timestamp(&self) -> Option<i64> {
        let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        #[expect(unsafe_code, reason = "the timestamp is not a field of the message")]
        // SAFETY: both pointers are valid for the call.
        let millis = unsafe { native::rd_kafka_message_timestamp(self.0, &raw mut kind) };
        (millis != -1 && kind != native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
            .then_some(millis)
    }

    /// How often the partition's leadership had changed when the message was written.
    fn epoch(&self) -> Option<LeaderEpoch> {
        #[expect(unsafe_code, reason = "the epoch is not a field of the message")]
        // SAFETY: the message is valid for the call.
        let epoch = unsafe { native::rd_kafka_message_leader_epoch(self.0) };
        (epoch >= 0).then_some(LeaderEpoch(epoch))
    }

    /// Everything that tells it from another message (`docs/format.md`, "A record of Kafka").
    pub fn as_last(&self) -> LastRecord {
        let mut bytes = b"krec1".to_vec();
        push_option(&mut bytes, self.timestamp(), |bytes, millis| {
            bytes.extend_from_slice(&millis.to_be_bytes());
        });
        push_option(&mut bytes, self.key(), push_bytes);
        let mut headers = SmallVec::new();
        let readable = self.read_headers(&mut headers).is_ok();
        push_option(&mut bytes, readable.then_some(&headers), |bytes, headers| {
            push_count(bytes, headers.len());
            for (name, value) in headers {
                push_bytes(bytes, name);
                push_option(bytes, *value, push_bytes);
            }
        });
        push_option(&mut bytes, self.value(), push_bytes);
        LastRecord { offset: Offset(self.offset()), epoch: self.epoch(), digest: Sha256Digest::of(&bytes) }
    }

    /// Appends the headers to `headers`, which are too large to be handed back for every message.
    ///
    /// # Errors
    /// When librdkafka cannot read them; it takes no more than 100,000 of them.
    pub fn read_headers(&self, headers: &mut SmallVec<[Header<'m>; 8]>) -> Result<(), Code> {
        let mut list = ptr::null_mut();
        #[expect(unsafe_code, reason = "the headers are not a field of the message")]
        // SAFETY: both pointers are valid for the call; the list belongs to the message.
        let found = unsafe { native::rd_kafka_message_headers(self.0, &raw mut list) };
        match found {
            native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__NOENT => return Ok(()),
            error => return Err(error.into()),
        }
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        #[expect(unsafe_code, reason = "the headers lie in librdkafka's memory")]
        // SAFETY: the list is the message's; what the call gives lives as long, and the name ends
        // with a zero byte.
        unsafe {
            while Code::from(native::rd_kafka_header_get_all(
                list,
                headers.len(),
                &raw mut name,
                &raw mut value,
                &raw mut length,
            )) == Code::NoError
            {
                headers.push((CStr::from_ptr(name).to_bytes(), bytes(value, length)));
            }
        }
        Ok(())
    }
}

/// Bytes of a message; a null pointer is no value, which is not an empty one.
fn bytes<'m>(start: *const std::ffi::c_void, length: usize) -> Option<&'m [u8]> {
    if start.is_null() {
        return None;
    }
    #[expect(unsafe_code, reason = "the bytes lie in librdkafka's memory")]
    // SAFETY: librdkafka gives pointer and length together, valid for the message that every caller
    // borrows for 'm.
    Some(unsafe { std::slice::from_raw_parts(start.cast(), length) })
}
