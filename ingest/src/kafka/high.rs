//! How far a partition reaches, as the broker said with the last records that it sent.
//!
//! Asking a broker costs a round trip, and a consumer that sees only what is committed is told only
//! how far that reaches. And how often its leadership has changed, which has to be asked.

use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use schemas::position::LeaderEpoch;
use std::ffi::CString;
use std::time::Duration;

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

/// The partition's leader epoch now, from what the broker knows of itself and not from a batch;
/// nothing where it does not answer in time, or is older than epochs.
pub fn leader_epoch(
    consumer: &BaseConsumer<impl ConsumerContext>,
    topic: &str,
    partition: i32,
    within: Duration,
) -> Option<LeaderEpoch> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::End).ok()?;
    let answer = consumer.offsets_for_times(list, within).ok()?;
    #[expect(unsafe_code, reason = "the Rust client does not hand out the epoch of an answer")]
    // SAFETY: the list is alive, and its elements lie in it, as many as it says.
    let epoch = unsafe {
        let list = answer.ptr().as_ref().filter(|list| list.cnt == 1)?;
        native::rd_kafka_topic_partition_get_leader_epoch(list.elems)
    };
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}
