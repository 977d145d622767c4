//! Messages that no client library sends, byte by byte in Kafka's own protocol: a record batch of
//! version 2 in a Produce request of version 3.

use crate::encode::push_long;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// A header as bytes: what Kafka takes, though its clients send only text as a name.
pub type RawHeader<'a> = (&'a [u8], Option<&'a [u8]>);

/// Sends one message to partition 0 of a topic and waits until the broker has it.
pub fn produce(broker: &str, topic: &str, headers: &[RawHeader<'_>], value: &[u8]) {
    let batch = batch(&record(headers, value));
    let mut request = Vec::new();
    // Produce, version 3, a correlation id, no client id; no transaction, all acknowledgements,
    // within 30 s; one topic, one partition.
    request.extend([0i16.to_be_bytes(), 3i16.to_be_bytes()].concat());
    request.extend(7i32.to_be_bytes());
    request.extend([(-1i16).to_be_bytes(), (-1i16).to_be_bytes(), (-1i16).to_be_bytes()].concat());
    request.extend([30_000i32.to_be_bytes(), 1i32.to_be_bytes()].concat());
    request.extend(i16::try_from(topic.len()).expect("a short name").to_be_bytes());
    request.extend(topic.as_bytes());
    request.extend([1i32.to_be_bytes(), 0i32.to_be_bytes(), length(&batch)].concat());
    request.extend(batch);
    let mut connection = TcpStream::connect(broker).expect("the broker listens");
    connection.write_all(&[&length(&request), request.as_slice()].concat()).expect("the broker reads");
    let mut size = [0; 4];
    connection.read_exact(&mut size).expect("the broker answers");
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(size)).expect("a short answer")];
    connection.read_exact(&mut answer).expect("the broker answers");
    // Correlation id, one topic, its name, one partition and its number; then the error.
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[at..at + 2], [0, 0], "the broker refuses the message: {answer:?}");
}

fn record(headers: &[RawHeader<'_>], value: &[u8]) -> Vec<u8> {
    let optional = |bytes: &mut Vec<u8>, value: Option<&[u8]>| match value {
        None => push_long(bytes, -1),
        Some(value) => {
            push_long(bytes, i64::try_from(value.len()).expect("short"));
            bytes.extend(value);
        }
    };
    // No attributes, the batch's own time and offset, no key.
    let mut record = vec![0, 0, 0];
    optional(&mut record, None);
    optional(&mut record, Some(value));
    push_long(&mut record, i64::try_from(headers.len()).expect("few"));
    for (name, value) in headers {
        optional(&mut record, Some(name));
        optional(&mut record, *value);
    }
    let mut sized = Vec::new();
    push_long(&mut sized, i64::try_from(record.len()).expect("short"));
    [sized, record].concat()
}

fn batch(record: &[u8]) -> Vec<u8> {
    const TIME: i64 = 1_759_305_600_000;
    let mut checked = Vec::new();
    // Attributes, last offset, first and last time, no producer's id, epoch and sequence, one
    // record.
    checked.extend(0i16.to_be_bytes());
    checked.extend(0i32.to_be_bytes());
    checked.extend([TIME.to_be_bytes(), TIME.to_be_bytes(), (-1i64).to_be_bytes()].concat());
    checked.extend((-1i16).to_be_bytes());
    checked.extend([(-1i32).to_be_bytes(), 1i32.to_be_bytes()].concat());
    checked.extend(record);
    // First offset, length of the rest; epoch of the leader, version, checksum.
    let rest = [(-1i32).to_be_bytes().as_slice(), &[2], &crc32c(&checked).to_be_bytes(), &checked].concat();
    [0i64.to_be_bytes().as_slice(), &length(&rest), &rest].concat()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    i32::try_from(bytes.len()).expect("short").to_be_bytes()
}

/// CRC-32C (Castagnoli), a bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            (crc >> 1) ^ (0x82F6_3B78 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(super::crc32c(b"123456789"), 0xE306_9283);
    }
}
