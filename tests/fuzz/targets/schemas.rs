//! The texts of schemas: a text and those that it refers to, with a NUL between them, and data of it.
#![no_main]

use ingest::decode::Decoder;
use ingest::schema::WriterSchema;
use ingest::source::{Content, RawRef};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

thread_local! {
    static DECODER: RefCell<Decoder> = RefCell::new(fuzz::decoder());
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut texts = text.split('\0');
    let first = texts.next().unwrap_or_default();
    let references: Vec<String> = texts.map(str::to_owned).collect();
    let schema = WriterSchema::parse(first, &references);
    assert_eq!(schema.fingerprints(), WriterSchema::parse(first, &references).fingerprints());
    if let Some(problem) = schema.problem() {
        assert!(!problem.is_empty() && problem.len() < 4_000, "{problem}");
    }
    DECODER.with_borrow_mut(|decoder| {
        for datum in [input, &[2; 64], &[0; 64]] {
            let raw = RawRef { value: Some(datum), ..RawRef::default() };
            let refused = fuzz::decode(decoder, &raw, Content::Avro(&schema));
            assert!(schema.problem().is_none() || refused.is_some());
        }
    });
});
