//! Canonical bytes: whatever a record says, its row says the same when it is read back from a file.
#![no_main]

use ingest::decode::Decoder;
use ingest::source::{Content, RawRef};
use ingest::stop::Stop;
use ledger::row::{BatchBuilder, COLUMNS, StoredRows, parquet_bytes, read_parquet};
use libfuzzer_sys::fuzz_target;
use schemas::digest::Sha256Digest;
use schemas::outcome::OutcomeRef;
use schemas::position::{Advance, NextOffset, Offset, Origin, Stream};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static DECODER: RefCell<Decoder> = RefCell::new(fuzz::decoder());
}

fuzz_target!(|input: &[u8]| {
    let stream = Arc::new(Stream { origin: Origin::Kafka { cluster: "c".to_owned(), topic: "t".to_owned() }, partition: 3 });
    let mut builder = BatchBuilder::default();
    let index = builder.stream(&stream, "t");
    // Several messages of one batch, so that values repeat and neighbours could harm each other.
    for (number, part) in (0..).zip(input.split(|byte| *byte == 0x1E)) {
        let (headers, value) = fuzz::message(part);
        builder.advance(index, Advance { from: NextOffset(number), to: NextOffset(number + 1), identity: None });
        let raw = RawRef { key: headers.first().map(|(name, _)| *name), headers: &headers, value: Some(value) };
        let push = |outcome: &OutcomeRef<'_>| builder.push(index, Offset(number), None, fuzz::received_at(), outcome);
        DECODER
            .with_borrow_mut(|decoder| decoder.decode(&raw, Content::Message, fuzz::received_at(), &Stop::default(), push))
            .expect("nothing is waited for");
    }
    let built = builder.into_rows(7);
    let (headers, digests) = (&built.headers, built.content_digests());
    let file = parquet_bytes(&built.rows, COLUMNS);
    let mut read = 0;
    for batch in read_parquet(file.into()).expect("a file of ours") {
        for row in StoredRows::read(&batch).expect("rows of ours").iter() {
            let row = row.expect("a row of ours");
            let mut content = Vec::new();
            row.says.outcome.write_content(&mut content);
            assert_eq!(*Sha256Digest::of(&content).as_bytes(), digests[read], "row {read} says something else when it is read back");
            assert_eq!(row.says.header(&row.says.stream_digest()), headers[read]);
            assert!(row.content_digest.is_none_or(|digest| *digest == digests[read]));
            read += 1;
        }
    }
    assert_eq!(read, digests.len());
});
