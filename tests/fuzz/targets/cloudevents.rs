//! CloudEvents in Kafka: headers and a value, as structured, binary or Avro they may be.
#![no_main]

use ingest::decode::Decoder;
use ingest::source::{Content, RawRef};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

thread_local! {
    static DECODER: RefCell<Decoder> = RefCell::new(fuzz::decoder());
}

fuzz_target!(|input: &[u8]| {
    let (headers, value) = fuzz::message(input);
    let raw = RawRef { key: None, headers: &headers, value: Some(value) };
    DECODER.with_borrow_mut(|decoder| fuzz::decode(decoder, &raw, Content::Message));
});
