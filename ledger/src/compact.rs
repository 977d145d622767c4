//! Copies the rows of many small files into one, so that a ledger of many commits stays quick to
//! read.
//!
//! It touches only days that are over and changes no row: the same rows with the same `batch` and
//! `row` are in fewer files. Before it commits, it reads back what it wrote and computes from that,
//! for each commit whose rows were copied, the roots that the commit's record states. The files
//! that were copied stay where they are: runs that were pinned before read them.
//!
//! Invariant: a compaction commits only rows whose leaves are those that were sealed when they were
//! first written.

use crate::audit::recount::{Recount, Recounted};
use crate::division::shard_count;
use crate::error::LedgerError;
use crate::files::verified_bytes;
use crate::log::entry::refuse_newer;
use crate::log::state::ActiveFile;
use crate::log::table::{SealedRows, Table};
use crate::row::{COLUMNS, parquet_bytes, read_parquet};
use crate::store::Location;
use crate::{places, secret};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use proof::hash::RootHash;
use proof::leaf_key::LeafKey;
use proof::merkle;
use proof::record::{BatchRecord, MeterControl, RecordKind, RemovedFile};
use schemas::outcome::Tally;
use schemas::time::{Day, Instant};
use std::collections::BTreeMap;

/// The most rows in one file, and the most bytes that are copied together, so that a copy fits the
/// memory of a small machine.
const MAX_ROWS: u64 = 1_000_000;
const MAX_BYTES: u64 = 128 << 20;

/// The result of a compaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    pub files_before: u64,
    pub files_after: u64,
    /// Rows that were copied.
    pub rows: u64,
    pub commits: u64,
}

/// Compacts the days of every shard that ended before `now`, in UTC. An ingest that runs meanwhile
/// follows.
///
/// # Errors
/// `Corrupt` when a row is not what was sealed: nothing is committed then. `Fenced` when ingest
/// committed first: run it again.
pub async fn compact(ledger: &Location, now: Instant) -> Result<Compacted, LedgerError> {
    refuse_newer(&places::journal(ledger)).await?;
    let key = secret::read_leaf_key(&places::leaf_key(ledger)).await?;
    let mut done = Compacted::default();
    for shard in 0..shard_count(ledger).await? {
        let mut records = BTreeMap::new();
        let mut table = Table::replay(ledger, shard, None, &mut |record: &BatchRecord| {
            if record.kind == RecordKind::Rows {
                let BatchRecord { counts, rows_root, subjects_root, .. } = *record;
                let meters = record.controls().map(<[MeterControl]>::to_vec);
                records.insert(record.version, Wrote { counts, rows_root, subjects_root, meters });
            }
            Ok(())
        })
        .await?;
        done.files_before += table.log().files.len() as u64;
        for group in groups(table.log().files.values(), now) {
            let rows = copy(&table, &key, shard, &group, &records).await?;
            done.rows += rows.rows;
            done.commits += 1;
            let removed = group
                .iter()
                .map(|file| RemovedFile { path: file.added.path.clone(), digest: file.added.digest })
                .collect();
            let version = table.commit_compaction(removed, rows, now).await?;
            tracing::info!(event = "compaction.committed", location = %table.location(), version, files = group.len(), "files were copied together");
        }
        done.files_after += table.log().files.len() as u64;
    }
    Ok(done)
}

/// Files of one day that are worth copying together, in ledger order.
fn groups<'a>(files: impl Iterator<Item = &'a ActiveFile>, now: Instant) -> Vec<Vec<ActiveFile>> {
    let day = |at: Instant| Day::of(at.micros());
    let mut files: Vec<&ActiveFile> = files.filter(|file| day(file.at) < day(now)).collect();
    files.sort_by_key(|file| file.first);
    let mut groups: Vec<Vec<ActiveFile>> = Vec::new();
    for file in files {
        let fits = groups.last().is_some_and(|group: &Vec<ActiveFile>| {
            let rows: u64 = group.iter().map(|file| file.added.rows).sum();
            let bytes: u64 = group.iter().map(|file| file.added.bytes).sum();
            let same_day = group.last().is_some_and(|last| day(last.at) == day(file.at));
            same_day && rows + file.added.rows <= MAX_ROWS && bytes + file.added.bytes <= MAX_BYTES
        });
        match groups.last_mut() {
            Some(group) if fits => group.push(file.clone()),
            _ => groups.push(vec![file.clone()]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// What the record of a commit says of its rows.
struct Wrote {
    counts: Tally,
    rows_root: RootHash,
    subjects_root: RootHash,
    /// None where it does not say them.
    meters: Option<Vec<MeterControl>>,
}

type Records = BTreeMap<u64, Wrote>;

/// The rows of a group, proved to be what was sealed, from the bytes of the new file.
async fn copy(
    table: &Table,
    key: &LeafKey,
    shard: u32,
    group: &[ActiveFile],
    records: &Records,
) -> Result<SealedRows, LedgerError> {
    let location = table.location();
    let mut parts = Vec::new();
    let mut expected = 0;
    for file in group {
        let read = read_parquet(verified_bytes(location, &file.added).await?);
        let place = || location.join(&file.added.path);
        parts.extend(read.map_err(|detail| LedgerError::corrupt(&place(), detail))?);
        expected += file.added.rows;
    }
    let first = parts.first().map(RecordBatch::schema);
    let rows = first.map(|schema| concat_batches(&schema, &parts)).transpose();
    let rows = rows.map_err(|error| LedgerError::corrupt(location, error.to_string()))?;
    let rows = rows.ok_or_else(|| LedgerError::corrupt(location, "files with rows have none"))?;
    drop(parts);
    let file = Bytes::from(parquet_bytes(&rows, COLUMNS));
    fail::fail_point!("compaction.copied");

    let mut leaves = Vec::new();
    let mut counts = Tally::default();
    let mut last = None;
    let mut check = |recounted: Recounted| {
        let Recounted { version, counts: found, sealed, meters, .. } = recounted;
        if last.is_some_and(|last| version <= last) {
            return Err(format!("commit {version} comes after commit {}", last.unwrap_or(version)));
        }
        last = Some(version);
        let is_what_was_sealed = records.get(&version).is_some_and(|wrote| {
            (wrote.counts, wrote.rows_root, wrote.subjects_root)
                == (found, sealed.rows_root, sealed.subjects_root)
                && wrote.meters.as_ref().is_none_or(|says| *says == meters)
        });
        if !is_what_was_sealed {
            return Err(format!("the rows of commit {version} are not those that were sealed"));
        }
        counts += found;
        leaves.extend(sealed.leaves);
        Ok(())
    };
    let mut recount = Recount::new(key, shard);
    let proved = read_parquet(Bytes::clone(&file)).and_then(|parts| {
        parts.iter().try_for_each(|part| recount.take(part, &mut check))?;
        recount.finish(&mut check)
    });
    proved.map_err(|detail| {
        LedgerError::corrupt(
            location,
            format!("copying files together was refused: {detail}; nothing was committed"),
        )
    })?;
    if leaves.len() as u64 != expected {
        return Err(LedgerError::corrupt(
            location,
            format!("{} rows came out of files with {expected}; nothing was committed", leaves.len()),
        ));
    }
    Ok(SealedRows {
        file,
        rows: expected,
        counts,
        rows_root: merkle::root(&leaves),
        subjects: 0,
        subjects_root: merkle::root(&[]),
        meters: Vec::new(),
    })
}
