//! Files: lines, JSON and containers, as they are and packed. The records' offsets only grow, and
//! reading in small batches reads the same.
#![no_main]

use ingest::IngestError;
use ingest::decode::Decoder;
use ingest::files::FilesSource;
use ingest::source::{BatchPolicy, Record, Sink, Source as _, SourceEvent};
use ingest::stop::Stop;
use libfuzzer_sys::fuzz_target;
use schemas::position::{Advance, Positions, Stream};
use std::cell::RefCell;
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

const NAMES: [&str; 9] = ["a.ndjson", "a.ndjson.gz", "a.ndjson.zst", "a.json", "a.json.gz", "a.json.zst", "a.avro", "a.avro.gz", "a.avro.zst"];

/// In memory where the machine has such a folder, because every input is written there.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).expect("a folder") } else { TempDir::new().expect("a folder") }
});

thread_local! {
    static DECODER: RefCell<Decoder> = RefCell::new(fuzz::decoder());
}

struct Seen<'d> {
    decoder: &'d mut Decoder,
    positions: Positions,
    records: Vec<(i64, Option<schemas::rejection::Reason>)>,
}

impl Sink for Seen<'_> {
    fn record(&mut self, record: &Record<'_>) -> Result<(), IngestError> {
        self.positions.apply(record.stream, record.advance, None).expect("records follow each other");
        assert!(self.records.last().is_none_or(|(before, _)| *before < record.offset.0), "offsets grow");
        self.records.push((record.offset.0, fuzz::decode(self.decoder, &record.raw, record.content)));
        Ok(())
    }

    fn pass(&mut self, stream: &Arc<Stream>, _: &str, advance: Advance) -> Result<(), IngestError> {
        self.positions.apply(stream, advance).expect("advances follow each other");
        Ok(())
    }
}

fn read(decoder: &mut Decoder, path: &std::path::Path, max_records: usize) -> Vec<(i64, Option<schemas::rejection::Reason>)> {
    let mut source = FilesSource::new(path).expect("there is a file");
    let mut seen = Seen { decoder, positions: Positions::default(), records: Vec::new() };
    let (stop, policy) = (Stop::default(), BatchPolicy { max_records, ..BatchPolicy::default() });
    source.discover(&stop).expect("the file can be read");
    source.assign(&Positions::default(), &stop).expect("it starts at its beginning");
    while source.next(&policy, &stop, &mut seen).expect("the disk works") != SourceEvent::CaughtUp {}
    seen.records
}

fuzz_target!(|input: &[u8]| {
    let Some((name, bytes)) = input.split_first() else { return };
    let path = FOLDER.path().join(NAMES[usize::from(*name) % NAMES.len()]);
    std::fs::write(&path, bytes).expect("the folder can be written");
    DECODER.with_borrow_mut(|decoder| assert_eq!(read(decoder, &path, 1000), read(decoder, &path, 1)));
});
