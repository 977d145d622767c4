//! Many small files into few: the same rows, proved before they are committed, under a writer that
//! goes on.

use crate::ledger::{batch, instant, stream};
use crate::places::{everywhere, on_disk, read, write};
use ::ledger::compact::compact;
use ::ledger::pinned::PinnedFiles;
use ::ledger::row::{StoredRows, read_parquet};
use ::ledger::{ErrorKind, Location, ShardWriter, create_ledger};
use schemas::position::NextOffset;
use tests::duckdb::query;
use tests::machine::{provided, workspace};

const MORNING: &str = "2025-10-02T08:00:03Z";
const NEXT_DAY: &str = "2025-10-03T08:00:00Z";

/// A ledger with `commits` commits of two rows each on one day, still open.
async fn written(at: &Location, commits: i64) -> ShardWriter {
    create_ledger(at).await.expect("an empty ledger");
    let mut ledger = ShardWriter::open(at).await.expect("it opens");
    for commit in 0..commits {
        let from = commit * 2;
        ledger.commit(batch(&[from, from + 1], from, from + 2), instant(MORNING)).await.expect("it commits");
    }
    ledger
}

/// Every row by its place in ledger order.
async fn rows(at: &Location) -> Vec<String> {
    let files = PinnedFiles::of_ledger(at, None).await.expect("the ledger is read");
    let mut rows = Vec::new();
    for file in files.verified().await.expect("whole files").concat() {
        for batch in read_parquet(read(&file).await.into()).expect("Parquet") {
            let stored = StoredRows::read(&batch).expect("columns");
            for row in stored.iter() {
                let row = row.expect("a row");
                rows.push((row.batch, row.row, format!("{row:?}")));
            }
        }
    }
    rows.sort();
    rows.into_iter().map(|(.., row)| row).collect()
}

/// The same rows, as DuckDB reads them.
async fn rows_in_duckdb(at: &Location) -> Vec<String> {
    let files = PinnedFiles::of_ledger(at, None).await.expect("the ledger is read");
    let files = files.verified().await.expect("whole files").concat();
    let files: Vec<String> = files.iter().map(|file| format!("'{file}'")).collect();
    let folder = at.disk_path().expect("DuckDB reads from the disk");
    query(folder, &format!("SELECT * FROM read_parquet([{}]) ORDER BY batch, \"row\"", files.join(", ")))
        .lines()
}

#[tokio::test]
async fn compacting_changes_the_files_and_not_a_row() {
    for place in everywhere() {
        let at = &place.at;
        let mut writer = written(at, 7).await;
        let before = rows(at).await;
        let cut = PinnedFiles::of_ledger(at, None).await.expect("pinned files").cut;

        // The day is not over: nothing to do.
        let done = compact(at, instant("2025-10-02T23:59:59Z")).await.expect("it compacts");
        assert_eq!((done.files_before, done.files_after, done.commits), (7, 7, 0));

        let done = compact(at, instant(NEXT_DAY)).await.expect("it compacts");
        assert_eq!((done.files_before, done.files_after, done.rows, done.commits), (7, 1, 14, 1));
        assert_eq!(rows(at).await, before, "the same rows, in the same place of ledger order");

        // The cut that was pinned before still is what it was, and the writer that knew nothing of
        // the compaction goes on.
        let pinned = PinnedFiles::of_ledger(at, Some(&cut.versions)).await.expect("the old cut is read");
        assert_eq!(pinned.cut, cut);
        assert_eq!(pinned.verified().await.expect("old files are kept").concat().len(), 7);
        let committed =
            writer.commit(batch(&[14], 14, 15), instant(NEXT_DAY)).await.expect("it follows the compaction");
        assert_eq!(committed.version, 9);
        let reopened = ShardWriter::open(at).await.expect("it opens");
        assert_eq!(reopened.positions(&[stream()]).get(&stream()), Some(NextOffset(15)));

        // A copy can be copied again.
        let again = compact(at, instant("2025-10-04T00:00:00Z")).await.expect("it compacts");
        assert_eq!((again.files_before, again.files_after), (2, 2), "they are of different days");
        assert_eq!(rows(at).await.len(), before.len() + 1);
    }
}

#[tokio::test]
async fn a_row_that_is_not_what_was_sealed_is_never_copied() {
    for place in everywhere() {
        let at = &place.at;
        written(at, 3).await;
        let paths = PinnedFiles::of_ledger(at, None)
            .await
            .expect("pinned files")
            .verified()
            .await
            .expect("whole files")
            .concat();
        let mut bytes = read(&paths[1]).await;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        write(&paths[1], bytes).await;
        let error = compact(at, instant(NEXT_DAY)).await.expect_err("it refuses");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(ShardWriter::open(at).await.expect("it opens").version(), 3, "nothing was committed");
    }
}

#[tokio::test]
async fn other_programs_read_the_same_rows_before_and_after() {
    let place = on_disk();
    written(&place.at, 7).await;
    let before = rows_in_duckdb(&place.at).await;
    compact(&place.at, instant(NEXT_DAY)).await.expect("it compacts");
    assert_eq!(rows_in_duckdb(&place.at).await, before);
}

/// Delta's own library reads from a checkpoint what it reads from the log without it: the table,
/// its files, its numbers, and the files that were taken out.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_says_what_the_log_says() {
    let place = on_disk();
    let mut writer = written(&place.at, 97).await;
    compact(&place.at, instant(NEXT_DAY)).await.expect("it compacts");
    for offset in 194..199 {
        writer.commit(batch(&[offset], offset, offset + 1), instant(NEXT_DAY)).await.expect("it commits");
    }
    writer.finish_checkpoint().await;
    let log = place.at.join("shards/0/_delta_log");
    let checkpoint = log.join("00000000000000000100.checkpoint.parquet");
    let hint = log.join("_last_checkpoint");
    let (made, named) = (read(&checkpoint).await, read(&hint).await);

    checkpoint.remove().await.expect("it is removed");
    hint.remove().await.expect("it is removed");
    let by_the_log = read_by_delta(&place.at);
    write(&checkpoint, made).await;
    write(&hint, named).await;
    for version in 0..100 {
        log.join(&format!("{version:020}.json")).remove().await.expect("it is removed");
    }
    let by_the_checkpoint = read_by_delta(&place.at);

    assert_eq!(by_the_checkpoint, by_the_log);
    assert_eq!((&by_the_log["version"], &by_the_log["rows"]), (&103.into(), &199.into()));
    assert_eq!(by_the_log["numbers"]["kafka/c1/usage/0"], 199);
    assert_eq!(by_the_log["removed"].as_array().map(Vec::len), Some(97));
    assert_eq!(by_the_log["files"].as_array().map(Vec::len), Some(6));
}

fn read_by_delta(ledger: &Location) -> serde_json::Value {
    let folder = ledger.join("shards/0");
    let read = std::process::Command::new(provided("ATCOST_PYTHON", "python/bin/python"))
        .arg(workspace().join("tests/python/delta.py"))
        .arg(folder.disk_path().expect("it is on the disk"))
        .arg("kafka/c1/usage/0")
        .output()
        .expect("Python starts");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    serde_json::from_slice(&read.stdout).expect("the script prints JSON")
}
