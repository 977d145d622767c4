use super::*;
use crate::decode::Decoder;
use crate::schema::registry::SchemaTable;
use apache_avro::types::Value;
use apache_avro::{Codec, Schema, Writer};
use schemas::outcome::OutcomeRef;
use std::io::Write as _;
use tempfile::TempDir;

const RECEIVED: &str = "2025-11-03T00:00:00Z";

fn event(id: u32) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"e-{id}","source":"//node","type":"m","subject":"s","time":"2025-10-01T00:00:00Z","data":{{"value":"{id}"}}}}"#
    )
}

fn lines(ids: std::ops::Range<u32>) -> String {
    ids.map(|id| event(id) + "\n").collect()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    folder
}

/// Shows records as `name offset outcome` lines.
struct Shown {
    decoder: Decoder,
    lines: Vec<String>,
    positions: Positions,
}

impl Sink for Shown {
    fn record(&mut self, record: &Record<'_>) -> Result<(), IngestError> {
        let received_at = schemas::time::Instant::parse_rfc3339(RECEIVED).expect("a time");
        self.positions.apply(record.stream, record.advance, None).expect("records follow each other");
        let outcome =
            self.decoder.decode(&record.raw, record.content, received_at, &Stop::default(), |outcome| {
                match outcome {
                    OutcomeRef::Usage(event) => event.id.to_owned(),
                    OutcomeRef::Rejected { reason, value, .. } => {
                        format!("{reason} ({} bytes kept)", value.map_or(0, <[u8]>::len))
                    }
                    OutcomeRef::Gap { .. } => "gap".to_owned(),
                }
            })?;
        self.lines.push(format!("{} {} {outcome}", record.origin_name, record.offset));
        Ok(())
    }

    fn pass(&mut self, stream: &Arc<Stream>, _: &str, advance: Advance) -> Result<(), IngestError> {
        self.positions.apply(stream, advance, None).expect("advances follow each other");
        Ok(())
    }
}

/// Reads everything from `positions` on and moves the positions.
fn read(folder: &TempDir, positions: &mut Positions, max_records: usize) -> Result<Vec<String>, IngestError> {
    let mut source = FilesSource::new(folder.path())?;
    let stop = Stop::default();
    let policy = BatchPolicy { max_records, ..BatchPolicy::default() };
    source.discover(&stop)?;
    source.assign(positions, &stop)?;
    let mut shown = Shown {
        decoder: Decoder::new(Box::new(SchemaTable::default()), []),
        lines: Vec::new(),
        positions: std::mem::take(positions),
    };
    loop {
        let before = shown.lines.len();
        let event = source.next(&policy, &stop, &mut shown)?;
        let records = shown.lines.len() - before;
        assert!(
            records <= max_records && (records > 0) == (event == SourceEvent::Batch),
            "{event:?} after {records} records"
        );
        if event == SourceEvent::CaughtUp {
            *positions = shown.positions;
            return Ok(shown.lines);
        }
    }
}

/// The records are the same whatever the batch size, and reading again adds nothing.
#[track_caller]
fn check(files: &[(&str, &[u8])], expected: &[&str]) {
    let folder = folder(files);
    for max_records in [1, 2, 1000] {
        let mut positions = Positions::default();
        assert_eq!(
            read(&folder, &mut positions, max_records).expect("the files can be read"),
            expected,
            "in batches of {max_records}"
        );
        assert_eq!(
            read(&folder, &mut positions, max_records).expect("the files can be read"),
            [""; 0],
            "again in batches of {max_records}"
        );
    }
}

#[test]
fn lines_are_numbered_and_blank_ones_are_no_records() {
    let text = format!("{}\r\n\n  \t\r\n{}\nnot json\n{}", event(1), event(2), event(3));
    check(
        &[("a.ndjson", text.as_bytes())],
        &["a.ndjson 0 e-1", "a.ndjson 3 e-2", "a.ndjson 4 json-invalid (8 bytes kept)", "a.ndjson 5 e-3"],
    );
    check(&[("a.ndjson", b""), ("b.jsonl", b"\n\n")], &[]);
}

#[test]
fn files_are_read_in_byte_order_and_unfinished_ones_not_at_all() {
    let [a, b, c, d] = [1, 2, 3, 4].map(event);
    let files: &[(&str, &[u8])] = &[
        ("b/x.ndjson", b.as_bytes()),
        ("b.ndjson", a.as_bytes()),
        ("Z.ndjson", c.as_bytes()),
        ("b-c/x.ndjson", d.as_bytes()),
        (".hidden.ndjson", b"x"),
        ("open.ndjson.tmp", b"x"),
        ("open.ndjson.part", b"x"),
        (".git/x", b"x"),
    ];
    check(files, &["Z.ndjson 0 e-3", "b-c/x.ndjson 0 e-4", "b.ndjson 0 e-1", "b/x.ndjson 0 e-2"]);
}

#[test]
fn a_copy_of_a_file_is_the_same_file() {
    let text = lines(1..3);
    check(
        &[("a.ndjson", text.as_bytes()), ("b.ndjson", text.as_bytes())],
        &["a.ndjson 0 e-1", "a.ndjson 1 e-2"],
    );
}

#[test]
fn shards_share_the_files() {
    let files: Vec<_> = (0..20).map(|number| (format!("{number}.ndjson"), event(number))).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let folder = folder(&files);
    let discover = |shard: &str| {
        let mut source =
            FilesSource::new(folder.path()).expect("a folder").sharded(shard.parse().expect("a shard"));
        source.discover(&Stop::default()).expect("the files can be read")
    };
    let mut shared: Vec<_> = ["1/3", "2/3", "3/3"].map(discover).concat();
    let mut all = discover("1/1");
    assert!(discover("1/3").len() < all.len() && all.len() == 20);
    shared.sort();
    all.sort();
    assert_eq!(shared, all);
}

#[test]
fn a_file_of_another_kind_stops_before_anything_is_read() {
    let folder = folder(&[("a.ndjson", event(1).as_bytes()), ("b.csv", b"x")]);
    let error = read(&folder, &mut Positions::default(), 10).expect_err("a csv file").to_string();
    assert!(error.contains("b.csv") && error.contains(".ndjson, .jsonl, .json and .avro"), "{error}");
    assert!(FilesSource::new(folder.path().join("nothing")).is_err());
}

#[test]
fn compressed_files_are_read_and_broken_ones_keep_what_came_before() {
    let text = lines(1..4);
    let whole = gz(text.as_bytes());
    let joined = [gz(event(1).as_bytes()), gz(b"\n"), gz(event(2).as_bytes())].concat();
    let zst = zstd::encode_all(text.as_bytes(), 1).expect("in memory");
    check(&[("a.ndjson.gz", &joined)], &["a.ndjson.gz 0 e-1", "a.ndjson.gz 1 e-2"]);
    check(&[("a.ndjson.zst", &zst)], &["a.ndjson.zst 0 e-1", "a.ndjson.zst 1 e-2", "a.ndjson.zst 2 e-3"]);
    // Only the checksum at the end is missing: all lines are there, and so is the news that
    // something is wrong.
    let records = ["a.ndjson.gz 0 e-1", "a.ndjson.gz 1 e-2", "a.ndjson.gz 2 e-3"];
    check(
        &[("a.ndjson.gz", &whole[..whole.len() - 4])],
        &[&records[..], &["a.ndjson.gz 3 encoding-unknown (0 bytes kept)"]].concat(),
    );
    check(&[("a.ndjson.zst", &zst[..zst.len() - 3])], &["a.ndjson.zst 0 encoding-unknown (0 bytes kept)"]);
    check(&[("a.ndjson.gz", b"not gzip")], &["a.ndjson.gz 0 encoding-unknown (0 bytes kept)"]);
    let trailing = [whole.clone(), b"trailing".to_vec()].concat();
    check(
        &[("a.ndjson.gz", &trailing)],
        &[&records[..], &["a.ndjson.gz 3 encoding-unknown (0 bytes kept)"]].concat(),
    );
}

#[test]
fn a_line_that_is_too_long_is_refused_and_the_next_is_read() {
    let limit = crate::decode::MAX_RECORD_BYTES;
    let padded = |size: usize| event(1) + &" ".repeat(size - event(1).len());
    let text =
        format!("{}\r\n{}\n{}\n", padded(limit), padded(limit + 1), padded(limit + 5_000_000)) + &lines(2..3);
    check(
        &[("a.ndjson", text.as_bytes())],
        &[
            "a.ndjson 0 e-1",
            "a.ndjson 1 too-large (65536 bytes kept)",
            "a.ndjson 2 too-large (65536 bytes kept)",
            "a.ndjson 3 e-2",
        ],
    );
}

#[test]
fn a_json_file_is_an_event_a_batch_or_a_sequence() {
    let [a, b, c] = [1, 2, 3].map(event);
    check(&[("a.json", a.as_bytes())], &["a.json 0 e-1"]);
    check(
        &[("a.json", format!("[\n{a},\n{b} ,{c}]\n").as_bytes())],
        &["a.json 0 e-1", "a.json 1 e-2", "a.json 2 e-3"],
    );
    check(
        &[("a.json", format!("{a}\n{b}{c}").as_bytes())],
        &["a.json 0 e-1", "a.json 1 e-2", "a.json 2 e-3"],
    );
    check(&[("a.json", b" [ ] \n")], &[]);
    check(
        &[("a.json", format!("[{a},7,[1],\"x]\\\"\",{b}]").as_bytes())],
        &[
            "a.json 0 e-1",
            "a.json 1 not-an-object (1 bytes kept)",
            "a.json 2 not-an-object (3 bytes kept)",
            "a.json 3 not-an-object (6 bytes kept)",
            "a.json 4 e-2",
        ],
    );
    check(
        &[("a.json", format!("[{a},{b}").as_bytes())],
        &["a.json 0 e-1", "a.json 1 e-2", "a.json 2 json-invalid (0 bytes kept)"],
    );
    check(
        &[("a.json", format!("[{a} {b}]").as_bytes())],
        &["a.json 0 e-1", &format!("a.json 1 json-invalid ({} bytes kept)", b.len() + 1)],
    );
    check(
        &[("a.json", format!("[{a},]").as_bytes())],
        &["a.json 0 e-1", "a.json 1 json-invalid (1 bytes kept)"],
    );
    check(&[("a.json", format!("\u{FEFF}{a}").as_bytes())], &["a.json 0 e-1"]);
    let large = format!("[{{\"x\":\"{}\"}},{a}]", "y".repeat(3_000_000));
    check(&[("a.json", large.as_bytes())], &["a.json 0 too-large (65536 bytes kept)", "a.json 1 e-1"]);
}

fn avro_event(id: u32) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    let null = || Value::Union(0, Box::new(Value::Null));
    let field = |name: &str, value| (name.to_owned(), value);
    Value::Record(vec![
        field("source", text("//node")),
        field("id", text(&format!("e-{id}"))),
        field("type", text("m")),
        field("subject", text("s")),
        field("time", Value::TimestampMicros(1_759_276_800_000_000)),
        field("value", Value::Decimal(vec![1].into())),
        field("dimensions", Value::Map([("a".to_owned(), text("b"))].into())),
        field("provider", null()),
        field("location", null()),
        field("resource", null()),
        field("producer", null()),
        field("correction", null()),
    ])
}

/// A container with two records in each block.
fn container(codec: Codec, ids: std::ops::Range<u32>) -> Vec<u8> {
    let schema = Schema::parse_str(schemas::USAGE_EVENT_V1_AVSC).expect("our schema");
    let mut writer =
        Writer::builder().schema(&schema).codec(codec).marker([7; 16]).writer(Vec::new()).build();
    for id in ids {
        writer.append(avro_event(id)).expect("an event of our schema");
        if id % 2 == 0 {
            writer.flush().expect("in memory");
        }
    }
    writer.into_inner().expect("in memory")
}

#[test]
fn containers_are_read_whatever_their_codec() {
    let codecs = [
        Codec::Null,
        Codec::Deflate(Default::default()),
        Codec::Snappy,
        Codec::Zstandard(Default::default()),
        Codec::Bzip2(Default::default()),
        Codec::Xz(Default::default()),
    ];
    for codec in codecs {
        check(&[("a.avro", &container(codec, 1..4))], &["a.avro 0 e-1", "a.avro 1 e-2", "a.avro 2 e-3"]);
    }
    check(&[("a.avro.gz", &gz(&container(Codec::Null, 1..3)))], &["a.avro.gz 0 e-1", "a.avro.gz 1 e-2"]);
    check(&[("a.avro", &container(Codec::Null, 1..1))], &[]);
}

#[test]
fn a_damaged_container_keeps_what_can_be_read() {
    let whole = container(Codec::Null, 1..7);
    let block = |index: usize| {
        whole.windows(16).enumerate().filter(|(_, window)| *window == [7; 16]).nth(index).expect("a marker").0
    };
    let read = ["a.avro 0 e-1", "a.avro 1 e-2"];
    let broken = |bytes: &[u8], last: &[&str]| check(&[("a.avro", bytes)], &[&read[..], last].concat());

    let cut = &whole[..block(2) - 5];
    broken(cut, &["a.avro 2 avro-invalid (67 bytes kept)"]);

    let mut marker = whole.clone();
    marker[block(2) + 3] = 8;
    broken(&marker, &["a.avro 2 avro-invalid (72 bytes kept)"]);

    // The length of the second block's second source: its block is lost from there, the next one is
    // not.
    let second = block(1) + 16;
    let at = second
        + whole[second..]
            .windows(6)
            .enumerate()
            .filter(|(_, window)| *window == b"//node")
            .nth(1)
            .expect("a source")
            .0
        - 1;
    let mut length = whole.clone();
    length[at] = 0x7E;
    broken(
        &length,
        &["a.avro 2 e-3", "a.avro 3 avro-invalid (36 bytes kept)", "a.avro 4 e-5", "a.avro 5 e-6"],
    );

    let mut packed = container(Codec::Snappy, 1..5);
    let at = packed.len() - 16 - 1;
    packed[at] ^= 1;
    let shown = {
        let folder = folder(&[("a.avro", &packed)]);
        self::read(&folder, &mut Positions::default(), 10).expect("readable")
    };
    assert_eq!(shown[..2], read);
    assert!(shown[2].starts_with("a.avro 2 avro-invalid") && shown.len() == 3, "{shown:?}");

    check(&[("a.avro", b"")], &["a.avro 0 avro-invalid (0 bytes kept)"]);
    check(&[("a.avro", b"PAR1....")], &["a.avro 0 avro-invalid (4 bytes kept)"]);
    check(&[("a.avro", &whole[..40])], &["a.avro 0 avro-invalid (0 bytes kept)"]);
}

#[test]
fn a_block_that_cannot_be_told_apart_into_records_ends() {
    // A schema whose records take no bytes, and a block that claims 2^40 of them.
    let header = br#"{"type":"record","name":"R","fields":[]}"#;
    let mut bytes = b"Obj\x01\x02\x16avro.schema".to_vec();
    bytes.push(u8::try_from(header.len() * 2).expect("a short header"));
    bytes.extend_from_slice(header);
    bytes.push(0);
    bytes.extend_from_slice(&[7; 16]);
    bytes.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0x00]);
    bytes.extend_from_slice(&[7; 16]);
    check(&[("a.avro", &bytes)], &["a.avro 0 avro-invalid (0 bytes kept)"]);
}

struct Ignored;

impl Sink for Ignored {
    fn record(&mut self, _: &Record<'_>) -> Result<(), IngestError> {
        Ok(())
    }

    fn pass(&mut self, _: &Arc<Stream>, _: &str, _: Advance) -> Result<(), IngestError> {
        Ok(())
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named() {
    let folder = folder(&[("a.ndjson", lines(1..5).as_bytes())]);
    let mut source = FilesSource::new(folder.path()).expect("a folder");
    let stop = Stop::default();
    source.discover(&stop).expect("one file");
    source.assign(&Positions::default(), &stop).expect("one file");
    fs::write(folder.path().join("a.ndjson"), lines(2..6)).expect("a file");
    let error =
        source.next(&BatchPolicy::default(), &stop, &mut Ignored).expect_err("another file").to_string();
    assert!(error.contains("a.ndjson") && error.contains("changed while it was read"), "{error}");
}

#[test]
fn new_and_changed_files_are_found_later() {
    let folder = folder(&[("a.ndjson", lines(1..3).as_bytes())]);
    let mut source = FilesSource::new(folder.path()).expect("a folder");
    let stop = Stop::default();
    assert_eq!(source.discover(&stop).expect("files").len(), 1);
    assert_eq!(source.discover(&stop).expect("files").len(), 0);
    fs::write(folder.path().join("b.ndjson"), lines(3..4)).expect("a file");
    fs::write(folder.path().join("a.ndjson"), lines(1..4)).expect("a file");
    assert_eq!(source.discover(&stop).expect("files").len(), 2);
}

#[test]
fn a_disk_that_fails_is_not_a_damaged_file() {
    struct Failing;
    impl io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("input/output error"))
        }
    }
    let disk = Disk::new(Failing);
    let mut decoder = flate2::read::MultiGzDecoder::new(disk.clone());
    assert!(io::Read::read(&mut decoder, &mut [0; 10]).is_err());
    assert!(disk.failure().is_some());
}
