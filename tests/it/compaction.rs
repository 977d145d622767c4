//! Many small files into few: the same rows, proved before they are committed, under a writer that
//! goes on.

use crate::ledger::{batch, instant, stream};
use ::ledger::compact::compact;
use ::ledger::read::PinnedFiles;
use ::ledger::{ErrorKind, Ledger};
use schemas::position::NextOffset;
use std::path::Path;
use tests::duckdb::query;

const MORNING: &str = "2025-10-02T08:00:03Z";
const NEXT_DAY: &str = "2025-10-03T08:00:00Z";

/// A ledger with `commits` commits of two rows each on one day, still open.
async fn written(folder: &Path, commits: i64) -> Ledger {
    Ledger::create(folder).await.expect("an empty ledger");
    let mut ledger = Ledger::open(folder).await.expect("it opens");
    for commit in 0..commits {
        let from = commit * 2;
        ledger.commit(batch(&[from, from + 1], from, from + 2), instant(MORNING)).await.expect("it commits");
    }
    ledger
}

async fn rows(folder: &Path) -> Vec<String> {
    let files = PinnedFiles::of_ledger(folder, None)
        .await
        .expect("the ledger is read")
        .verified_paths()
        .expect("whole files")
        .concat();
    let files: Vec<String> = files.iter().map(|path| format!("'{}'", path.display())).collect();
    query(folder, &format!("SELECT * FROM read_parquet([{}]) ORDER BY batch, \"row\"", files.join(", ")))
        .lines()
}

#[tokio::test]
async fn compacting_changes_the_files_and_not_a_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = written(folder.path(), 7).await;
    let before = rows(folder.path()).await;
    let cut = PinnedFiles::of_ledger(folder.path(), None).await.expect("pinned files").cut;

    // The day is not over: nothing to do.
    let done = compact(folder.path(), instant("2025-10-02T23:59:59Z")).await.expect("it compacts");
    assert_eq!((done.files_before, done.files_after, done.commits), (7, 7, 0));

    let done = compact(folder.path(), instant(NEXT_DAY)).await.expect("it compacts");
    assert_eq!((done.files_before, done.files_after, done.rows, done.commits), (7, 1, 14, 1));
    assert_eq!(rows(folder.path()).await, before, "the same rows, in the same place of ledger order");

    // What was pinned before still is what it was, and the writer that knew nothing of it goes on.
    let pinned =
        PinnedFiles::of_ledger(folder.path(), Some(&cut.versions)).await.expect("the old cut is read");
    assert_eq!(pinned.cut, cut);
    assert_eq!(pinned.verified_paths().expect("old files are kept").concat().len(), 7);
    let committed =
        writer.commit(batch(&[14], 14, 15), instant(NEXT_DAY)).await.expect("it follows the compaction");
    assert_eq!(committed.version, 9);
    let reopened = Ledger::open(folder.path()).await.expect("it opens");
    assert_eq!(reopened.positions(&[stream()]).get(&stream()), Some(NextOffset(15)));

    // A copy can be copied again.
    let again = compact(folder.path(), instant("2025-10-04T00:00:00Z")).await.expect("it compacts");
    assert_eq!((again.files_before, again.files_after), (2, 2), "they are of different days");
    assert_eq!(rows(folder.path()).await.len(), before.len() + 1);
}

#[tokio::test]
async fn a_row_that_is_not_what_was_sealed_is_never_copied() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), 3).await;
    let paths = PinnedFiles::of_ledger(folder.path(), None)
        .await
        .expect("pinned files")
        .verified_paths()
        .expect("whole files")
        .concat();
    let mut bytes = std::fs::read(&paths[1]).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&paths[1], &bytes).expect("the file is damaged");
    let error = compact(folder.path(), instant(NEXT_DAY)).await.expect_err("it refuses");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(Ledger::open(folder.path()).await.expect("it opens").version(), 3, "nothing was committed");
}
