//! The ledger by itself: what a commit holds, who may commit, and what is refused at open and at read.

use ledger::read::PinnedFiles;
use ledger::row::canonical_bytes;
use ledger::{ErrorKind, Ledger, LedgerError};
use schemas::batch::{Coordinates, DecodedBatch, DecodedRecord, Outcome, RawRecord};
use schemas::decimal::{Quantity, Sign};
use schemas::digest::Sha256Digest;
use schemas::event::{Correction, CorrectionAction, ProducerSequence, UsageEvent};
use schemas::id::{EventId, EventKey, EventSource, MeterType, ProviderId, Subject};
use schemas::position::{Advance, NextOffset, Offset, Origin, Stream};
use schemas::rejection::{Reason, Rejection};
use schemas::time::Instant;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use tests::machine::{case, update_expected};

fn instant(text: &str) -> Instant {
    Instant::parse_rfc3339(text).expect("an instant")
}

fn stream() -> Stream {
    Stream { origin: Origin::Kafka { cluster: "c1".to_owned(), topic: "usage".to_owned() }, partition: 0 }
}

fn record(offset: i64, outcome: Outcome) -> DecodedRecord {
    DecodedRecord {
        coordinates: Coordinates { stream: Arc::new(stream()), origin_name: "usage".into(), offset: Offset(offset) },
        produced_at: Some(instant("2025-10-02T08:00:01Z")),
        received_at: instant("2025-10-02T08:00:02.000003Z"),
        outcome,
    }
}

fn usage(offset: i64) -> DecodedRecord {
    record(offset, Outcome::Usage(Box::new(event(&format!("e-{offset}")))))
}

fn event(id: &str) -> UsageEvent {
    UsageEvent {
        key: EventKey { source: EventSource::new("//edge/ams").expect("a source"), id: EventId::new(id).expect("an id") },
        meter: MeterType::new("compute.example/instance-hours").expect("a meter"),
        subject: Subject::new("projects/a1").expect("a subject"),
        time: instant("2025-10-02T08:00:00Z"),
        quantity: Quantity::parse("1.5", Sign::NonNegative).expect("a quantity"),
        dimensions: BTreeMap::from([("class".to_owned(), "standard".to_owned())]),
        provider: None,
        location: None,
        resource: None,
        producer: None,
        correction: None,
    }
}

fn full_event() -> UsageEvent {
    UsageEvent {
        dimensions: BTreeMap::from([("region".to_owned(), "größe".to_owned()), ("class".to_owned(), String::new())]),
        provider: Some(ProviderId::new("nimbus").expect("a provider")),
        location: Some("ams".to_owned()),
        resource: Some(BTreeMap::from([("uid".to_owned(), "7".to_owned())])),
        producer: Some(ProducerSequence { id: "node-1".to_owned(), epoch: 3, seq: -1 }),
        correction: Some(Correction { action: CorrectionAction::Replace, target: event("e-0").key, reason: "meter was wrong".to_owned() }),
        ..event("e-1")
    }
}

fn batch(records: Vec<DecodedRecord>, from: i64, to: i64) -> DecodedBatch {
    DecodedBatch { records, advances: BTreeMap::from([(stream(), Advance { from: NextOffset(from), to: NextOffset(to) })]) }
}

async fn created(folder: &Path) -> Ledger {
    Ledger::create(folder).await.expect("an empty ledger");
    Ledger::open(folder).await.expect("it opens")
}

/// The bytes that proofs will cover never change: a second implementation is checked against this file.
#[test]
fn canonical_bytes_are_as_published() {
    let rejected = Outcome::Rejected {
        rejection: Rejection::new(Reason::JsonInvalid, "expected value at line 1 column 1"),
        raw: RawRecord {
            key: Some(b"k".to_vec()),
            headers: vec![("ce_id".to_owned(), Some(b"7".to_vec())), ("empty".to_owned(), None)],
            value: Some(vec![0, 255]),
        },
    };
    let tombstone = Outcome::Rejected { rejection: Rejection::new(Reason::Empty, "the record has no value"), raw: RawRecord::default() };
    let gap = Outcome::Gap { until: Offset(12), detail: "deleted by retention".to_owned() };
    let mut records = vec![
        ("usage, required fields only", usage(0)),
        ("usage, every field", record(1, Outcome::Usage(Box::new(full_event())))),
        ("rejected, with key and headers", record(2, rejected)),
        ("rejected, a tombstone", record(3, tombstone)),
        ("gap", record(4, gap)),
    ];
    let mut from_file = usage(5);
    from_file.coordinates.stream = Arc::new(Stream { origin: Origin::File { digest: Sha256Digest::of(b"") }, partition: 0 });
    from_file.coordinates.origin_name = "2025/10.ndjson".into();
    from_file.produced_at = None;
    records.push(("usage, from a file", from_file));
    let mut text = String::new();
    for (name, record) in &records {
        let bytes = canonical_bytes(record);
        writeln!(text, "{name}\n  {}\n  sha256 {}", hex(&bytes), Sha256Digest::of(&bytes)).expect("writing to a string");
    }
    let path = case("canonical").join("rows.txt");
    if update_expected() {
        std::fs::write(&path, &text).expect("the vectors can be written");
    }
    assert_eq!(text, std::fs::read_to_string(&path).expect("the vectors"), "the canonical bytes of a row have changed");
    let digests: std::collections::BTreeSet<_> = records.iter().map(|(_, record)| Sha256Digest::of(&canonical_bytes(record))).collect();
    assert_eq!(digests.len(), records.len(), "different rows have different bytes");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn rows_and_positions_are_one_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = created(folder.path()).await;
    let committed = ledger.commit(&batch(vec![usage(0), usage(2)], 0, 3)).await.expect("it commits");
    assert_eq!((committed.version, committed.usage, committed.rejected), (1, 2, 0));
    // The same batch again, a hole, and a batch that begins later are refused; nothing moves.
    for (from, to) in [(0, 3), (2, 3), (4, 5)] {
        let error = ledger.commit(&batch(vec![], from, to)).await.expect_err("a batch must start where the ledger ends");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let mut reopened = Ledger::open(folder.path()).await.expect("it opens");
    let positions = reopened.positions(&[stream()]).await.expect("positions");
    assert_eq!(positions.get(&stream()), Some(NextOffset(3)));
    assert_eq!(reopened.version(), 1);
    // A batch without rows moves positions too: offsets can be holes.
    reopened.commit(&batch(vec![], 3, 9)).await.expect("it commits");
    assert_eq!(
        Ledger::open(folder.path()).await.expect("it opens").positions(&[stream()]).await.expect("positions").get(&stream()),
        Some(NextOffset(9))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_changes_nothing_but_the_time_it_takes_to_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = created(folder.path()).await;
    for offset in 0..103 {
        ledger.commit(&batch(vec![usage(offset)], offset, offset + 1)).await.expect("it commits");
    }
    let log = folder.path().join("shards/0/_delta_log");
    assert!(log.join("00000000000000000100.checkpoint.parquet").is_file(), "a checkpoint is written every 100 commits");
    assert!(log.join("00000000000000000000.json").is_file(), "history is never deleted");
    let mut reopened = Ledger::open(folder.path()).await.expect("it opens");
    assert_eq!(reopened.version(), 103);
    assert_eq!(reopened.positions(&[stream()]).await.expect("positions").get(&stream()), Some(NextOffset(103)));
    let files = PinnedFiles::of_shard(folder.path(), None).await.expect("pinned files");
    assert_eq!(files.verified_paths().expect("digests survive in a checkpoint").len(), 103);
    // Without the checkpoint, the log alone says the same.
    std::fs::remove_file(log.join("00000000000000000100.checkpoint.parquet")).expect("the checkpoint is removed");
    std::fs::remove_file(log.join("_last_checkpoint")).expect("its pointer is removed");
    assert_eq!(PinnedFiles::of_shard(folder.path(), None).await.expect("pinned files").cut, files.cut);
}

#[tokio::test]
async fn a_second_writer_is_fenced_and_repeats_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = created(folder.path()).await;
    let mut second = Ledger::open(folder.path()).await.expect("it opens");
    second.positions(&[stream()]).await.expect("positions");
    first.commit(&batch(vec![usage(0)], 0, 1)).await.expect("the first writer commits");
    let error = second.commit(&batch(vec![usage(0)], 0, 1)).await.expect_err("the second writer is too late");
    assert!(matches!(error, LedgerError::Fenced { expected: 1, found: 1, .. }), "{error}");
    assert_eq!(Ledger::open(folder.path()).await.expect("it opens").version(), 1);
    first.commit(&batch(vec![usage(1)], 1, 2)).await.expect("the first writer goes on");
}

#[tokio::test]
async fn a_flipped_bit_is_found_before_a_row_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = created(folder.path()).await;
    ledger.commit(&batch(vec![usage(0)], 0, 1)).await.expect("it commits");
    let files = PinnedFiles::of_shard(folder.path(), None).await.expect("pinned files");
    let paths = files.verified_paths().expect("whole files");
    assert_eq!(paths.len(), 1);
    let mut bytes = std::fs::read(&paths[0]).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&paths[0], &bytes).expect("the file is damaged");
    assert_eq!(files.verified_paths().expect_err("a damaged file is refused").kind(), ErrorKind::Corrupt);
    std::fs::remove_file(&paths[0]).expect("the file is removed");
    assert_eq!(files.verified_paths().expect_err("a missing file is refused").kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_torn_log_entry_is_named_and_never_taken_for_an_empty_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = created(folder.path()).await;
    ledger.commit(&batch(vec![usage(0)], 0, 1)).await.expect("it commits");
    let entry = folder.path().join("shards/0/_delta_log/00000000000000000001.json");
    let whole = std::fs::read(&entry).expect("the entry");
    for length in [0, whole.len() / 2] {
        std::fs::write(&entry, &whole[..length]).expect("the entry is torn");
        let error = Ledger::open(folder.path()).await.err().expect("a torn log is refused");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("00000000000000000001.json"), "{error}");
    }
    std::fs::write(&entry, &whole).expect("the entry is whole again");
    Ledger::open(folder.path()).await.expect("it opens");
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
        let folder = tempfile::tempdir().expect("a folder");
        created(folder.path()).await;
        let entry = folder.path().join("shards/0/_delta_log/00000000000000000000.json");
        let mut lines = Vec::new();
        for line in std::fs::read_to_string(&entry).expect("the entry").lines() {
            let mut action: serde_json::Value = serde_json::from_str(line).expect("an action");
            if let Some(metadata) = action.get_mut("metaData") {
                metadata["configuration"][name] = value.into();
            }
            lines.push(action.to_string());
        }
        std::fs::write(&entry, lines.join("\n")).expect("the property is changed");
        let error = Ledger::open(folder.path()).await.err().unwrap_or_else(|| panic!("{name} = {value} must be refused"));
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn a_missing_ledger_is_not_made_by_opening_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Ledger::open(folder.path()).await.err().expect("there is no ledger");
    assert!(error.to_string().contains("atcost init"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}
