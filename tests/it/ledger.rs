//! The ledger by itself: what a commit holds, who may commit, and what is refused at open and at
//! read.

use crate::places::{everywhere, on_disk, read, write};
use ledger::division::divide_ledger;
use ledger::journal::Journal;
use ledger::pinned::PinnedFiles;
use ledger::row::{BatchBuilder, StoredRows, read_parquet};
use ledger::secret::{create_leaf_key, read_leaf_key};
use ledger::store::Store;
use ledger::{ErrorKind, LedgerError, Location, ShardWriter, create_ledger};
use proof::leaf_key::LeafKey;
use proof::row::RowRef;
use schemas::canonical::{Pair, push_map};
use schemas::decimal::{Quantity, Sign};
use schemas::digest::Sha256Digest;
use schemas::event::{CorrectionAction, CorrectionRef, EventRef, MapRef, ProducerRef};
use schemas::outcome::{OutcomeRef, write_headers};
use schemas::position::{Advance, NextOffset, Offset, Origin, Stream};
use schemas::rejection::Reason;
use schemas::time::Instant;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use tests::machine::{case, update_expected};

pub fn instant(text: &str) -> Instant {
    Instant::parse_rfc3339(text).expect("an instant")
}

pub fn stream() -> Stream {
    Stream { origin: Origin::Kafka { cluster: "c1".to_owned(), topic: "usage".to_owned() }, partition: 0 }
}

/// A map, kept until the tests end.
pub fn map(pairs: &[(&str, &str)]) -> MapRef<'static> {
    let kept = |text: &str| Cow::Owned(text.to_owned());
    let pairs: Vec<Pair<'static>> = pairs.iter().map(|(name, value)| (kept(name), kept(value))).collect();
    let mut canonical = Vec::new();
    push_map(&mut canonical, &pairs);
    MapRef::with_canonical(pairs.leak(), canonical.leak())
}

fn event(id: &str) -> EventRef<'_> {
    EventRef {
        source: "//edge/ams",
        id,
        meter: "compute.example/instance-hours",
        subject: "projects/a1",
        time: instant("2025-10-02T08:00:00Z"),
        quantity: Quantity::parse("1.5", Sign::NonNegative).expect("a quantity"),
        dimensions: map(&[("class", "standard")]),
        provider: None,
        location: None,
        resource: None,
        producer: None,
        correction: None,
    }
}

fn full_event() -> EventRef<'static> {
    EventRef {
        dimensions: map(&[("class", ""), ("region", "größe")]),
        provider: Some("nimbus"),
        location: Some("ams"),
        resource: Some(map(&[("uid", "7")])),
        producer: Some(ProducerRef { id: "node-1", epoch: 3, seq: -1 }),
        correction: Some(CorrectionRef {
            action: CorrectionAction::Replace,
            source: "//edge/ams",
            id: "e-0",
            reason: "meter was wrong",
        }),
        ..event("e-1")
    }
}

/// Usage at these offsets, in a batch that reads `[from, to)`.
pub fn batch(offsets: &[i64], from: i64, to: i64) -> BatchBuilder {
    let mut batch = BatchBuilder::default();
    let stream = batch.stream(&Arc::new(stream()), "usage");
    batch.advance(stream, Advance { from: NextOffset(from), to: NextOffset(to), identity: None });
    for offset in offsets {
        let id = format!("e-{offset}");
        let (produced_at, received_at) =
            (instant("2025-10-02T08:00:01Z"), instant("2025-10-02T08:00:02.000003Z"));
        batch.push(stream, Offset(*offset), Some(produced_at), received_at, &OutcomeRef::Usage(event(&id)));
    }
    batch
}

async fn created(at: &Location) -> ShardWriter {
    create_ledger(at).await.expect("an empty ledger");
    ShardWriter::open(at).await.expect("it opens")
}

/// One row of every kind, and a name for each.
fn rows(check: impl FnOnce(&[(&str, RowRef<'_>)])) {
    let mut headers = Vec::new();
    write_headers(&mut headers, &[(b"ce_id", Some(b"7")), (b"empty", None)]);
    let mut no_headers = Vec::new();
    write_headers(&mut no_headers, &[]);
    let rejected = OutcomeRef::Rejected {
        reason: Reason::JsonInvalid,
        detail: "expected value at line 1 column 1",
        key: Some(b"k"),
        headers: &headers,
        value: Some(&[0, 255]),
    };
    let tombstone = OutcomeRef::Rejected {
        reason: Reason::Empty,
        detail: "the record has no value",
        key: None,
        headers: &no_headers,
        value: None,
    };
    let awkward = map(&[("a", "\u{1}\"\\\n\u{7f}\u{2028}/é"), ("b\t", "")]);
    let in_json = EventRef { dimensions: awkward, resource: Some(MapRef::EMPTY), ..event("e-6") };
    let file = Origin::File { digest: Sha256Digest::of(b"") }.to_string();
    let row = |offset, outcome| RowRef {
        origin: "kafka/c1/usage",
        origin_name: "usage",
        partition: 0,
        offset: Offset(offset),
        produced_at: Some(instant("2025-10-02T08:00:01Z")),
        received_at: instant("2025-10-02T08:00:02.000003Z"),
        outcome,
    };
    let from_file = RowRef {
        origin: &file,
        origin_name: "2025/10.ndjson",
        produced_at: None,
        ..row(5, OutcomeRef::Usage(event("e-5")))
    };
    check(&[
        ("usage, required fields only", row(0, OutcomeRef::Usage(event("e-0")))),
        ("usage, every field", row(1, OutcomeRef::Usage(full_event()))),
        ("rejected, with key and headers", row(2, rejected)),
        ("rejected, a tombstone", row(3, tombstone)),
        ("gap", row(4, OutcomeRef::Gap { until: Offset(12), detail: "deleted by retention" })),
        ("usage, from a file", from_file),
        ("usage, with names that JSON escapes", row(12, OutcomeRef::Usage(in_json))),
    ]);
}

/// The bytes that proofs cover never change: a second implementation is checked against this file.
#[test]
fn the_bytes_of_a_row_are_as_published() {
    rows(|rows| {
        let mut text = String::new();
        for (name, row) in rows {
            let mut content = Vec::new();
            row.outcome.write_content(&mut content);
            let lines = [
                ("content", hex(&content)),
                ("sha256", Sha256Digest::of(&content).to_string()),
                ("row", hex(&row.bytes())),
            ];
            writeln!(text, "{name}").expect("writing to a string");
            for (what, line) in lines {
                writeln!(text, "  {what:7} {line}").expect("writing to a string");
            }
        }
        let path = case("canonical").join("rows.txt");
        if update_expected() {
            std::fs::write(&path, &text).expect("the vectors can be written");
        }
        assert_eq!(
            text,
            std::fs::read_to_string(&path).expect("the vectors"),
            "the bytes of a row have changed"
        );
        let different: std::collections::BTreeSet<_> = rows.iter().map(|(_, row)| row.bytes()).collect();
        assert_eq!(different.len(), rows.len(), "different rows have different bytes");
    });
}

/// The bytes that are hashed when rows are written are found again in what was stored.
#[tokio::test]
async fn rows_are_read_back_as_they_were_written() {
    for place in everywhere() {
        let at = &place.at;
        let mut ledger = created(at).await;
        let mut batch = BatchBuilder::default();
        let mut expected = Vec::new();
        rows(|rows| {
            for (_, row) in rows {
                let origin = Origin::parse(row.origin).expect("an origin");
                let stream =
                    batch.stream(&Arc::new(Stream { origin, partition: row.partition }), row.origin_name);
                let until = match row.outcome {
                    OutcomeRef::Gap { until, .. } => NextOffset(until.0),
                    _ => row.offset.next(),
                };
                batch.advance(stream, Advance { from: NextOffset(row.offset.0), to: until, identity: None });
                batch.push(stream, row.offset, row.produced_at, row.received_at, &row.outcome);
                expected.push((row.bytes(), format!("{row:?}")));
            }
            for (index, (bytes, _)) in expected.iter().enumerate() {
                assert_eq!(batch.headers()[index], bytes[..62]);
                assert_eq!(batch.content_digests()[index], bytes[62..]);
            }
            let subjects: Vec<_> = (0..batch.rows()).map(|row| batch.subject_of(row)).collect();
            assert_eq!(subjects, [Some(0), Some(0), None, None, None, Some(0), Some(0)]);
            assert_eq!(batch.subjects().collect::<Vec<_>>(), ["projects/a1"]);
        });
        ledger.commit(batch, instant("2025-10-02T08:00:03Z")).await.expect("it commits");

        let paths = PinnedFiles::of_ledger(at, None)
            .await
            .expect("pinned files")
            .verified()
            .await
            .expect("whole files")
            .concat();
        let file = read(&paths[0]).await;
        let mut found = Vec::new();
        for batch in read_parquet(file.into()).expect("Parquet") {
            for row in StoredRows::read(&batch).expect("columns").iter() {
                let row = row.expect("a row");
                assert_eq!((row.batch, usize::try_from(row.row).expect("an index")), (1, found.len()));
                let bytes = row.says.bytes();
                assert_eq!(
                    row.content_digest.map(<[u8; 32]>::as_slice),
                    bytes[4].eq(&1).then_some(&bytes[62..])
                );
                found.push((bytes, format!("{:?}", row.says)));
            }
        }
        assert_eq!(found, expected);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn rows_and_positions_are_one_commit() {
    for place in everywhere() {
        let at = &place.at;
        let mut ledger = created(at).await;
        let committed =
            ledger.commit(batch(&[0, 2], 0, 3), instant("2025-10-02T08:00:03Z")).await.expect("it commits");
        assert_eq!((committed.version, committed.tally.usage, committed.tally.rejected), (1, 2, 0));
        // The same batch again, a hole, and a batch that begins later are refused; nothing moves.
        for (from, to) in [(0, 3), (2, 3), (4, 5)] {
            let error = ledger
                .commit(batch(&[], from, to), instant("2025-10-02T08:00:03Z"))
                .await
                .expect_err("a batch must start where the ledger ends");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
        let mut reopened = ShardWriter::open(at).await.expect("it opens");
        let positions = reopened.positions(&[stream()]);
        assert_eq!(positions.get(&stream()), Some(NextOffset(3)));
        assert_eq!(reopened.version(), 1);
        // A batch without rows moves positions too: offsets can be holes.
        reopened.commit(batch(&[], 3, 9), instant("2025-10-02T08:00:03Z")).await.expect("it commits");
        assert_eq!(
            ShardWriter::open(at).await.expect("it opens").positions(&[stream()]).get(&stream()),
            Some(NextOffset(9))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_changes_nothing_but_the_time_it_takes_to_open() {
    for place in everywhere() {
        let at = &place.at;
        let mut ledger = created(at).await;
        for offset in 0..103 {
            ledger
                .commit(batch(&[offset], offset, offset + 1), instant("2025-10-02T08:00:03Z"))
                .await
                .expect("it commits");
        }
        ledger.finish_checkpoint().await;
        let log = at.join("shards/0/_delta_log");
        assert!(
            log.join("00000000000000000100.checkpoint.parquet").exists().await.expect("storage"),
            "a checkpoint is written every 100 commits"
        );
        assert!(
            log.join("00000000000000000000.json").exists().await.expect("storage"),
            "history is never deleted"
        );
        let reopened = ShardWriter::open(at).await.expect("it opens");
        assert_eq!(reopened.version(), 103);
        assert_eq!(reopened.positions(&[stream()]).get(&stream()), Some(NextOffset(103)));
        let files = PinnedFiles::of_ledger(at, None).await.expect("pinned files");
        assert_eq!(files.verified().await.expect("whole files").concat().len(), 103);
        // Without the checkpoint, the log alone says the same.
        for name in ["00000000000000000100.checkpoint.parquet", "_last_checkpoint"] {
            log.join(name).remove().await.expect("it is removed");
        }
        assert_eq!(PinnedFiles::of_ledger(at, None).await.expect("pinned files").cut, files.cut);
    }
}

#[tokio::test]
async fn a_second_writer_is_fenced_and_repeats_nothing() {
    for place in everywhere() {
        let at = &place.at;
        let mut first = created(at).await;
        let mut second = ShardWriter::open(at).await.expect("it opens");
        second.positions(&[stream()]);
        first
            .commit(batch(&[0], 0, 1), instant("2025-10-02T08:00:03Z"))
            .await
            .expect("the first writer commits");
        let error = second
            .commit(batch(&[0], 0, 1), instant("2025-10-02T08:00:03Z"))
            .await
            .expect_err("the second writer is too late");
        assert!(matches!(error, LedgerError::Fenced { expected: 1, .. }), "{error}");
        assert_eq!(ShardWriter::open(at).await.expect("it opens").version(), 1);
        first
            .commit(batch(&[1], 1, 2), instant("2025-10-02T08:00:03Z"))
            .await
            .expect("the first writer goes on");
    }
}

#[tokio::test]
async fn a_flipped_bit_is_found_before_a_row_is_used() {
    for place in everywhere() {
        let at = &place.at;
        let mut ledger = created(at).await;
        ledger.commit(batch(&[0], 0, 1), instant("2025-10-02T08:00:03Z")).await.expect("it commits");
        let files = PinnedFiles::of_ledger(at, None).await.expect("pinned files");
        let paths = files.verified().await.expect("whole files").concat();
        assert_eq!(paths.len(), 1);
        let mut bytes = read(&paths[0]).await;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        write(&paths[0], bytes).await;
        assert_eq!(files.verified().await.expect_err("a damaged file is refused").kind(), ErrorKind::Corrupt);
        paths[0].remove().await.expect("the file is removed");
        assert_eq!(files.verified().await.expect_err("a missing file is refused").kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_torn_log_entry_is_named_and_never_taken_for_an_empty_commit() {
    for place in everywhere() {
        let at = &place.at;
        let mut ledger = created(at).await;
        ledger.commit(batch(&[0], 0, 1), instant("2025-10-02T08:00:03Z")).await.expect("it commits");
        let entry = at.join("shards/0/_delta_log/00000000000000000001.json");
        let whole = read(&entry).await;
        for length in [0, whole.len() / 2] {
            write(&entry, &whole[..length]).await;
            let error = ShardWriter::open(at).await.err().expect("a torn log is refused");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains("00000000000000000001.json"), "{error}");
        }
        write(&entry, whole).await;
        ShardWriter::open(at).await.expect("it opens");
    }
}

#[tokio::test]
async fn dangerous_table_properties_are_refused_at_open() {
    for (name, value) in [
        ("delta.appendOnly", "false"),
        ("delta.enableExpiredLogCleanup", "true"),
        ("delta.logRetentionDuration", "interval 30 days"),
        // Years cannot be read, so Delta falls back to 30 days without a word.
        ("delta.logRetentionDuration", "interval 10 years"),
        ("delta.deletedFileRetentionDuration", "interval 1 week"),
        ("delta.setTransactionRetentionDuration", "interval 1 day"),
    ] {
        for place in everywhere() {
            let at = &place.at;
            created(at).await;
            let entry = at.join("shards/0/_delta_log/00000000000000000000.json");
            let mut lines = Vec::new();
            for line in String::from_utf8(read(&entry).await).expect("text").lines() {
                let mut action: serde_json::Value = serde_json::from_str(line).expect("an action");
                if let Some(metadata) = action.get_mut("metaData") {
                    metadata["configuration"][name] = value.into();
                }
                lines.push(action.to_string());
            }
            write(&entry, lines.join("\n")).await;
            let error = ShardWriter::open(at)
                .await
                .err()
                .unwrap_or_else(|| panic!("{name} = {value} must be refused"));
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[tokio::test]
async fn a_missing_ledger_is_not_made_by_opening_it() {
    for place in everywhere() {
        let at = &place.at;
        let error = ShardWriter::open(at).await.err().expect("there is no ledger");
        assert!(error.to_string().contains("atcost init"), "{error}");
        assert_eq!(at.list_all().await.expect("it can be listed"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_another_program_committed_is_named_and_not_followed() {
    for place in everywhere() {
        let at = &place.at;
        let mut ledger = created(at).await;
        ledger.commit(batch(&[0], 0, 1), instant("2025-10-02T08:00:03Z")).await.expect("it commits");
        let entry = at.join("shards/0/_delta_log/00000000000000000002.json");
        let foreign = "{\"txn\":{\"appId\":\"kafka/c1/usage/0\",\"version\":9}}\n{\"commitInfo\":{\"timestamp\":1,\"operation\":\"RESTORE\"}}\n";
        write(&entry, foreign).await;
        let error = ShardWriter::open(at).await.err().expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(
            error.to_string().contains("not written by atcost") && error.to_string().contains("RESTORE"),
            "{error}"
        );
    }
}

/// As Delta's own library appends: the last line has no end.
#[tokio::test]
async fn what_deltas_library_appended_is_not_called_torn() {
    const APPENDED: &str = r#"{"commitInfo":{"timestamp":1764,"operation":"WRITE","operationParameters":{"mode":"Append"},"engineInfo":"delta-rs:py-1.2.0","clientVersion":"delta-rs.py-1.2.0"}}
{"add":{"path":"part-00000.snappy.parquet","partitionValues":{},"size":1,"modificationTime":0,"dataChange":true}}"#;
    for place in everywhere() {
        let at = &place.at;
        let mut ledger = created(at).await;
        ledger.commit(batch(&[0], 0, 1), instant("2025-10-02T08:00:03Z")).await.expect("it commits");
        let entry = |version: u64| at.join(&format!("shards/0/_delta_log/{version:020}.json"));
        for (version, files) in [(2, "move this one file aside"), (3, "this file and the one after it")] {
            write(&entry(version), APPENDED).await;
            let refused = ShardWriter::open(at).await.err().expect("it is refused");
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
            let said = refused.to_string();
            for part in ["another program", "delta-rs:py-1.2.0", "00000000000000000002.json", files] {
                assert!(said.contains(part), "{part}: {said}");
            }
            assert!(!said.contains("torn"), "{said}");
        }
        // A writer that was running finds it, too, and what it says to do is enough.
        let running = ledger.commit(batch(&[1], 1, 2), instant("2025-10-02T08:00:04Z")).await;
        assert!(running.expect_err("it cannot go on").to_string().contains("another program"));
        for version in [2, 3] {
            entry(version).remove().await.expect("it can be moved aside");
        }
        let mut ledger = ShardWriter::open(at).await.expect("it opens");
        ledger.commit(batch(&[1], 1, 2), instant("2025-10-02T08:00:04Z")).await.expect("it commits");
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_with_the_version_that_reads_it_in_any_shard() {
    for place in everywhere() {
        let at = &place.at;
        created(at).await;
        divide_ledger(at, 2, instant("2025-10-02T08:00:03Z")).await.expect("two shards");
        let line = |member: &str, record: &str| {
            format!(
                "{{\"commitInfo\":{{\"timestamp\":1,\"operation\":\"WRITE\",\"operationParameters\":{{\"mode\":\"Append\"}},\"engineInfo\":\"atcost/0.7.2\",\"{member}\":\"{record}\"}}}}\n"
            )
        };
        for (name, text) in [
            // "rec9 and what it says", and "cre9 and what it says".
            ("shards/1/_delta_log/00000000000000000002.json", line("record", "cmVjOSBhbmQgd2hhdCBpdCBzYXlz")),
            (
                "shards/1/_delta_log/00000000000000000000.json",
                line("creation", "Y3JlOSBhbmQgd2hhdCBpdCBzYXlz"),
            ),
        ] {
            let entry = at.join(name);
            let before = entry.read().await.expect("storage answers");
            write(&entry, text).await;
            for refused in [
                PinnedFiles::of_ledger(at, None).await.expect_err("it is refused"),
                ShardWriter::open_shard(at, "1/2".parse().expect("a shard"))
                    .await
                    .err()
                    .expect("it is refused"),
            ] {
                assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
                let said = refused.to_string();
                for part in [name, "0.7.2", concat!("this is atcost ", env!("CARGO_PKG_VERSION"))] {
                    assert!(said.contains(part), "{part}: {said}");
                }
                assert!(!said.contains("damaged") && !said.contains("torn"), "{said}");
            }
            match before {
                Some(before) => write(&entry, before).await,
                None => entry.remove().await.expect("it is removed"),
            }
        }
    }
}

/// Whoever writes to a shard reads no journal, and stops all the same where a newer version wrote
/// to it.
#[tokio::test]
async fn a_journal_of_a_newer_format_stops_every_writer() {
    for place in everywhere() {
        let at = &place.at;
        created(at).await;
        let text = "{\"commitInfo\":{\"timestamp\":1,\"operation\":\"WRITE\",\"operationParameters\":{\"mode\":\"Append\"},\"engineInfo\":\"atcost/0.7.2\",\"record\":\"cmVjOSBhbmQgd2hhdCBpdCBzYXlz\"}}\n";
        write(&at.join("journal/_delta_log/00000000000000000001.json"), text).await;
        let now = instant("2025-10-02T08:00:03Z");
        for refused in [
            ShardWriter::open(at).await.err(),
            divide_ledger(at, 2, now).await.err(),
            ledger::compact::compact(at, now).await.err(),
        ] {
            let said = refused.expect("it is refused").to_string();
            for part in ["journal", "0.7.2", concat!("this is atcost ", env!("CARGO_PKG_VERSION"))] {
                assert!(said.contains(part), "{part}: {said}");
            }
        }
    }
}

/// Every bit of every log entry but the first is checked by rendering the entry again; the first is
/// named by the second.
#[tokio::test]
async fn no_bit_of_the_log_can_change() {
    for place in everywhere() {
        let at = &place.at;
        let mut ledger = created(at).await;
        for offset in 0..3 {
            ledger
                .commit(batch(&[offset], offset, offset + 1), instant("2025-10-02T08:00:03Z"))
                .await
                .expect("it commits");
        }
        let mut flips = 0;
        for version in 0..4 {
            let entry = at.join(&format!("shards/0/_delta_log/{version:020}.json"));
            let whole = read(&entry).await;
            for byte in (0..whole.len()).step_by(37) {
                let mut bytes = whole.clone();
                bytes[byte] ^= 1 << (byte % 8);
                write(&entry, bytes).await;
                let read = PinnedFiles::of_ledger(at, None).await;
                assert!(
                    read.is_err(),
                    "bit {} of byte {byte} of entry {version} is flipped, and nobody noticed",
                    byte % 8
                );
                flips += 1;
            }
            write(&entry, whole).await;
        }
        assert!(flips > 100, "{flips} bits were flipped");
        PinnedFiles::of_ledger(at, None).await.expect("the log is whole");
    }
}

/// Storage that lets the second of two puts win.
#[derive(Debug)]
struct Overwriting(Arc<dyn object_store::ObjectStore>);

impl std::fmt::Display for Overwriting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Overwriting")
    }
}

#[async_trait::async_trait]
impl object_store::ObjectStore for Overwriting {
    async fn put_opts(
        &self,
        location: &object_store::path::Path,
        payload: object_store::PutPayload,
        options: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        let options = object_store::PutOptions { mode: object_store::PutMode::Overwrite, ..options };
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &object_store::path::Path,
        options: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &object_store::path::Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>> {
        self.0.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> object_store::Result<object_store::ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &object_store::path::Path,
        to: &object_store::path::Path,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn storage_that_overwrites_is_refused_at_start() {
    let overwriting = |store: Store| store.seen_through(|objects| Arc::new(Overwriting(objects)));
    let disk = on_disk();
    let path = disk.at.disk_path().expect("a path");
    for at in [
        overwriting(Store::disk()).at_path(path).expect("a place"),
        overwriting(Store::memory()).at("somewhere"),
    ] {
        create_ledger(&at).await.expect("an empty ledger");
        let error = ShardWriter::open(&at).await.err().expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("overwrite"), "{error}");
    }
}

#[tokio::test]
async fn the_leaf_key_is_made_once_and_kept_from_others() {
    let refusal = |result: Result<LeafKey, LedgerError>| {
        let error = result.expect_err("the key is refused");
        (error.kind(), error.to_string())
    };
    for place in everywhere() {
        let key = &place.at.join("leaf.key");
        assert_eq!(refusal(read_leaf_key(key).await).0, ErrorKind::Invalid);
        let made = create_leaf_key(key).await.expect("a key");
        assert_eq!(read_leaf_key(key).await.expect("the key").id(), made.id());
        let (kind, why) = refusal(create_leaf_key(key).await);
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(why.contains("never overwritten"), "{why}");
        assert_eq!(read_leaf_key(key).await.expect("the key").id(), made.id(), "the key is still there");

        let text = String::from_utf8(read(key).await).expect("text");
        assert_eq!((text.len(), text.ends_with('\n')), (65, true));
        assert!(!format!("{made:?}").contains(text.trim_end()), "a secret is not printed");
        let another = create_leaf_key(&place.at.join("another.key")).await.expect("a key");
        assert_ne!(another.id(), made.id());
        for damaged in [
            text.trim_end().to_owned(),
            text.to_uppercase(),
            format!("{text}\n"),
            text[1..].to_owned(),
            String::new(),
            "g".repeat(64) + "\n",
        ] {
            write(key, damaged.clone()).await;
            assert_eq!(refusal(read_leaf_key(key).await).0, ErrorKind::Corrupt, "{damaged:?}");
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_leaf_key_that_everybody_may_read_is_refused() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    let place = on_disk();
    let key = &place.at.join("leaf.key");
    let path = key.disk_path().expect("a path");
    let made = create_leaf_key(key).await.expect("a key");
    assert_eq!(std::fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(path, Permissions::from_mode(0o644)).expect("a mode");
    let error = read_leaf_key(key).await.expect_err("the key is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("0600"), "{error}");
    std::fs::set_permissions(path, Permissions::from_mode(0o640)).expect("a mode");
    assert_eq!(read_leaf_key(key).await.expect("a group may read it").id(), made.id());
}

/// Entry 0 is rendered and checked like every other, of a shard and of a journal without entries.
#[tokio::test]
async fn no_bit_of_the_first_entry_can_change() {
    for place in everywhere() {
        let at = &place.at;
        create_ledger(at).await.expect("an empty ledger");
        for table in ["shards/0", "journal"] {
            let entry = at.join(table).join("_delta_log/00000000000000000000.json");
            let whole = read(&entry).await;
            // The disk is slower than memory, and the same code reads both.
            let step = if at.disk_path().is_some() { 97 } else { 1 };
            for bit in (0..whole.len() * 8).step_by(step) {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                write(&entry, bytes).await;
                let shard = ShardWriter::open(at).await.map(drop);
                let journal = Journal::open(at).await.map(drop);
                assert!(
                    shard.is_err() || journal.is_err(),
                    "bit {bit} of {entry} is flipped, and nobody noticed"
                );
            }
            write(&entry, whole).await;
        }
    }
}

#[tokio::test]
async fn the_id_of_a_table_follows_from_its_creation() {
    let mut ids = std::collections::BTreeSet::new();
    for place in everywhere() {
        create_ledger(&place.at).await.expect("an empty ledger");
        for table in ["shards/0", "journal"] {
            let entry = read(&place.at.join(table).join("_delta_log/00000000000000000000.json")).await;
            let text = String::from_utf8(entry).expect("text");
            let metadata: serde_json::Value =
                serde_json::from_str(text.lines().nth(2).expect("three lines")).expect("an action");
            let id = metadata["metaData"]["id"].as_str().expect("an id").to_owned();
            let digest = Sha256Digest::of(text.replace(&id, "").as_bytes()).to_string();
            assert_eq!(id[..8], digest[..8], "the id is that of the entry without it");
            assert!(ids.insert(id), "every table of every ledger has an id of its own");
        }
    }
}

/// Tables that Delta's own library made, before entry 0 was rendered here, are read and written.
#[tokio::test]
async fn a_ledger_that_was_made_before_opens() {
    let old = |name: &str| case("ledger").join(name);
    for place in everywhere() {
        let at = &place.at;
        create_leaf_key(&at.join("leaf.key")).await.expect("a key");
        for table in ["shards/0", "journal"] {
            let text =
                std::fs::read(old(&format!("{}.json", table.replace('/', "-")))).expect("an old entry");
            write(&at.join(table).join("_delta_log/00000000000000000000.json"), text).await;
        }
        let mut ledger = ShardWriter::open(at).await.expect("it opens");
        ledger.commit(batch(&[0], 0, 1), instant("2025-10-02T08:00:03Z")).await.expect("it commits");
        Journal::open(at).await.expect("it opens");
        assert_eq!(ShardWriter::open(at).await.expect("it opens").version(), 1);
    }
}
