//! Lines of librdkafka's own log that nobody waits for.
//!
//! A line arrives among messages. Whoever waits for one thing at a time is given it as an event;
//! where many messages are taken in one call, librdkafka hands it to a function instead, and that
//! function is one that prints to stderr unless another is set.
//!
//! Invariant: no line of librdkafka's reaches stderr but by the client's context.
#![expect(unsafe_code, reason = "librdkafka calls the function, with texts of its own")]

use super::arrival::words;
use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use std::ffi::{c_char, c_int};

/// Has the lines of a client told to its context.
pub fn tell_to_context<C: ClientContext>(client: &Client<C>) {
    // SAFETY: the client is alive, and what it has as its opaque is its context, a `C`, which
    // outlives it. Only whoever polls it calls the function, on that thread.
    unsafe { native::rd_kafka_set_logger(client.native_ptr(), Some(tell::<C>)) }
}

/// # Safety
/// The texts end with a zero byte, and the client's opaque is null or a `C` that is alive.
unsafe extern "C" fn tell<C: ClientContext>(
    client: *const native::rd_kafka_t,
    _level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    if client.is_null() {
        return;
    }
    // SAFETY: the caller promises it.
    let (context, facility, line) =
        unsafe { (native::rd_kafka_opaque(client).cast::<C>().as_ref(), words(facility), words(line)) };
    if let Some(context) = context {
        // How grave librdkafka takes it to be is not looked at.
        context.log(RDKafkaLogLevel::Info, facility.trim(), line.trim());
    }
}
