//! JSON events, and that JSON is what another reader says it is.
#![no_main]

use ingest::decode::Decoder;
use ingest::source::{Content, RawRef};
use libfuzzer_sys::fuzz_target;
use schemas::rejection::Reason;
use std::cell::RefCell;

thread_local! {
    static DECODER: RefCell<Decoder> = RefCell::new(fuzz::decoder());
}

fuzz_target!(|input: &[u8]| {
    let reason = DECODER.with_borrow_mut(|decoder| fuzz::decode(decoder, &RawRef { value: Some(input), ..RawRef::default() }, Content::Json));
    let theirs = serde_json::from_slice::<serde::de::IgnoredAny>(input).is_ok() && !input.starts_with("\u{FEFF}".as_bytes());
    match reason {
        Some(Reason::Empty | Reason::TooLarge | Reason::Utf8Invalid) => {}
        // Text that serde_json only skips is not checked by it: escapes in strings, for one.
        Some(Reason::JsonInvalid) => assert!(!theirs || serde_json::from_slice::<serde_json::Value>(input).is_err(), "serde_json reads this"),
        // It goes no deeper than 128.
        Some(Reason::JsonTooDeep) => {}
        _ => assert!(theirs, "serde_json does not read this"),
    }
});
