//! Avro: a frame, a datum of three schemas, and schemas themselves.
#![no_main]

use ingest::decode::Decoder;
use ingest::schema::WriterSchema;
use ingest::source::{Content, RawRef};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static GROUND: RefCell<(Decoder, Vec<Arc<WriterSchema>>)> = RefCell::new((fuzz::decoder(), fuzz::schemas()));
}

fuzz_target!(|input: &[u8]| {
    let Some((how, bytes)) = input.split_first() else { return };
    GROUND.with_borrow_mut(|(decoder, schemas)| match how {
        0..=2 => {
            let bare = fuzz::decode(decoder, &RawRef { value: Some(bytes), ..RawRef::default() }, Content::Avro(&schemas[usize::from(*how)]));
            let framed = [&[0, 0, 0, 0, *how], bytes].concat();
            let framed = fuzz::decode(decoder, &RawRef { value: Some(&framed), ..RawRef::default() }, Content::Message);
            assert!(bytes.is_empty() || bare == framed, "the frame changes nothing");
        }
        3 => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                WriterSchema::parse(text, &[]);
            }
        }
        _ => _ = fuzz::decode(decoder, &RawRef { value: Some(bytes), ..RawRef::default() }, Content::Message),
    });
});
