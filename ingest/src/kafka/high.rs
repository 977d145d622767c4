//! How far a partition reaches, as the broker said with the last records that it sent.
//!
//! Asking a broker costs a round trip, and a consumer that sees only what is committed is told only
//! how far that reaches.

use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use std::ffi::CString;

/// The next offset that the partition will have, transactions that are open included; nothing
/// before the first records were asked for.
pub fn last_heard(client: &Client<impl ClientContext>, topic: &str, partition: i32) -> Option<i64> {
    let name = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    #[expect(unsafe_code, reason = "the Rust client has no call for what librdkafka remembers")]
    // SAFETY: the client is alive while it is borrowed, the name ends with a zero byte, and both
    // numbers are valid for the call.
    let found = unsafe {
        native::rd_kafka_get_watermark_offsets(
            client.native_ptr(),
            name.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (found == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}
