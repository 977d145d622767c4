//! Recomputes from storage all that a ledger says: log entries, their chain, files, rows, roots,
//! published heads and tiles.
//!
//! It reads and never writes, believes nothing that can be computed, and goes on after a finding as
//! far as there is something to compare, so that one run names all that is wrong. It does not judge
//! what rows mean; `doctor` and rating do.
//!
//! Invariant: what has no finding is what was sealed, and what a signature of its head covers.

use super::recount::{Recount, Recounted};
use crate::division::shard_count;
use crate::documents;
use crate::error::{ErrorKind, LedgerError};
use crate::files::{GONE, difference};
use crate::journal::read_entries;
use crate::log::table::Table;
use crate::published::{check_tiles, published};
use crate::row::read_parquet;
use crate::store::Location;
use crate::{places, secret};
use bytes::Bytes;
use proof::hash::RootHash;
use proof::head::{SignedHead, VerifierKey, origin};
use proof::leaf_key::LeafKey;
use proof::merkle::{self, Tree};
use proof::record::{AddedFile, BatchRecord, Division, JOURNAL, MeterControl, RecordKind};
use schemas::digest::Sha256Digest;
use schemas::outcome::Tally;
use std::collections::BTreeMap;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// As people know it.
    pub file: String,
    /// The commit that says how it should be.
    pub commit: Option<u64>,
    /// The difference between found and expected, and the remedy.
    pub what: String,
}

/// A log: a shard's or the journal's.
#[derive(Debug)]
pub struct Verified {
    /// The shard's number from 0; [`JOURNAL`] for the journal.
    pub shard: u32,
    pub commits: u64,
    /// The rows that were recomputed.
    pub rows: u64,
    pub files: u64,
    pub root: RootHash,
    pub signed: Option<Signed>,
    pub findings: Vec<Finding>,
}

/// A published head that fits the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    pub size: u64,
    /// Whether the signature was checked; without a key it cannot be.
    pub checked: bool,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub shard: u32,
    pub commit: u64,
    pub commits: u64,
}

/// The listener that is told how far a run is.
pub type Tell<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// The result of a verification.
#[derive(Debug, Default)]
pub struct Report {
    /// The shards in their order, and the journal.
    pub logs: Vec<Verified>,
    /// Findings that concern the ledger as a whole.
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().chain(self.logs.iter().flat_map(|log| &log.findings))
    }
}

/// Verifies all shards and the journal. Signatures are checked where `verifier` is given.
///
/// # Errors
/// When the ledger cannot be read at all; what is damaged is a finding.
pub async fn verify(
    ledger: &Location,
    verifier: Option<&VerifierKey>,
    tell: Tell<'_>,
) -> Result<Report, LedgerError> {
    let mut report = Report::default();
    let logs = match logs(ledger).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            report.findings.push(finding_of(&error, ledger));
            return Ok(report);
        }
        logs => logs?,
    };
    let key_location = places::leaf_key(ledger);
    let key = match secret::read_leaf_key(&key_location).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            report.findings.push(finding_of(&error, &key_location));
            None
        }
        key => Some(key?),
    };
    let mut division = Division::FIRST;
    let shards = logs.len() - 1;
    for shard in logs {
        let mut replayed = Replayed::of(ledger, shard).await?;
        let (rows, files) = match &key {
            _ if shard == JOURNAL => recount_entries(&mut replayed, 0, tell).await?,
            Some(key) => recount_rows(&mut replayed, &key_location, key, 0, tell).await?,
            None => (0, 0),
        };
        check_checkpoints(&mut replayed).await?;
        let signed = check_head(&mut replayed, verifier).await?;
        if let Some(last) = replayed.records.last().filter(|_| shard != JOURNAL) {
            division = division.max(last.division);
        }
        let head = replayed.tree.head();
        report.logs.push(Verified {
            shard,
            commits: head.size,
            rows,
            files,
            root: head.root,
            signed,
            findings: replayed.findings,
        });
    }
    if shards < division.shards as usize {
        let what = format!(
            "the ledger was divided into {} shards, but only {shards} are there; restore the others from a copy",
            division.shards
        );
        report.findings.push(Finding { file: places::shards(ledger).to_string(), commit: None, what });
    }
    Ok(report)
}

/// The number of every log: the shards in their order, and the journal.
pub(crate) async fn logs(ledger: &Location) -> Result<Vec<u32>, LedgerError> {
    Ok((0..shard_count(ledger).await?).chain([JOURNAL]).collect())
}

/// A log as its entries say it, each checked byte for byte and against the one before.
pub(crate) struct Replayed {
    pub location: Location,
    pub shard: u32,
    /// Delta's id of the table; none where the log could not be followed to its end.
    pub table: Option<String>,
    pub records: Vec<BatchRecord>,
    /// Over all records.
    pub tree: Tree,
    pub findings: Vec<Finding>,
}

impl Replayed {
    /// # Errors
    /// When the log cannot be read. A fault in it is a finding, and what comes after that is not
    /// looked at.
    pub async fn of(ledger: &Location, shard: u32) -> Result<Self, LedgerError> {
        let location = places::table(ledger, shard);
        let mut records = Vec::new();
        let table = Table::replay(ledger, shard, None, &mut |record| {
            records.push(record.clone());
            Ok(())
        })
        .await;
        let mut findings = Vec::new();
        let table = match table {
            Ok(table) => Some(table.id().to_owned()),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                findings.push(finding_of(&error, &location));
                None
            }
            Err(error) => return Err(error),
        };
        let tree = Tree::new(records.iter().map(|record| merkle::leaf(&record.encode())).collect());
        Ok(Self { location, shard, table, records, tree, findings })
    }

    fn find(&mut self, file: &Location, commit: impl Into<Option<u64>>, what: impl Into<String>) {
        self.findings.push(Finding { file: file.to_string(), commit: commit.into(), what: what.into() });
    }

    /// The bytes of a file that a commit added; none where they are not those, which is a finding.
    async fn bytes(&mut self, commit: u64, file: &AddedFile) -> Result<Option<Bytes>, LedgerError> {
        let location = self.location.join(&file.path);
        let Some(bytes) = location.read().await? else {
            self.find(&location, commit, GONE);
            return Ok(None);
        };
        match difference(file, bytes.len() as u64, Sha256Digest::of(&bytes)) {
            None => Ok(Some(bytes)),
            Some(what) => {
                self.find(&location, commit, what);
                Ok(None)
            }
        }
    }
}

fn finding_of(error: &LedgerError, otherwise: &Location) -> Finding {
    match error {
        LedgerError::Corrupt { location, detail } => {
            Finding { file: location.clone(), commit: None, what: detail.clone() }
        }
        other => Finding { file: otherwise.to_string(), commit: None, what: other.to_string() },
    }
}

/// Recomputes from the files what the records of the commits after `after` say of rows. Gives the
/// rows and the files.
pub(crate) async fn recount_rows(
    log: &mut Replayed,
    key_location: &Location,
    key: &LeafKey,
    after: u64,
    tell: Tell<'_>,
) -> Result<(u64, u64), LedgerError> {
    let records = std::mem::take(&mut log.records);
    let (mut rows, mut files) = (0, 0);
    if let Some(record) = records.iter().find(|record| record.key != key.id()) {
        log.find(
            key_location,
            record.version,
            "this is not the key that the commit's rows were sealed with; restore it from a copy",
        );
    } else {
        // The commits whose rows each file holds.
        let mut held: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let by_version: BTreeMap<u64, &BatchRecord> =
            records.iter().map(|record| (record.version, record)).collect();
        for record in &records {
            let holds = match record.kind {
                RecordKind::Compaction => {
                    let mut versions: Vec<u64> = record
                        .removed
                        .iter()
                        .flat_map(|file| held.get(file.path.as_str()).cloned().unwrap_or_default())
                        .collect();
                    versions.sort_unstable();
                    versions
                }
                RecordKind::Rows | RecordKind::Division | RecordKind::Truncation => vec![record.version],
            };
            held.extend(record.added.iter().map(|file| (file.path.as_str(), holds.clone())));
            if record.version <= after {
                continue;
            }
            tell(Progress { shard: log.shard, commit: record.version, commits: records.len() as u64 });
            let mut parts = Vec::new();
            for file in &record.added {
                parts.extend(log.bytes(record.version, file).await?);
            }
            if parts.len() < record.added.len() {
                continue;
            }
            files += parts.len() as u64;
            match recount(key, record, parts, &holds, &by_version) {
                Ok(counted) => rows += counted,
                Err(what) => {
                    let file = record.added.first().map_or_else(
                        || places::entry(&log.location, record.version),
                        |file| log.location.join(&file.path),
                    );
                    log.find(&file, record.version, what);
                }
            }
        }
    }
    log.records = records;
    Ok((rows, files))
}

/// Compares the rows in a commit's files with its record, and those of a copy with the records of
/// the commits they were copied from.
fn recount(
    key: &LeafKey,
    record: &BatchRecord,
    files: Vec<Bytes>,
    holds: &[u64],
    records: &BTreeMap<u64, &BatchRecord>,
) -> Result<u64, String> {
    const DAMAGED: &str = "the files are those that were committed, so what committed them was wrong or dishonest; restore the ledger from a copy";
    let mut found: Vec<u64> = Vec::new();
    let mut counts = Tally::default();
    let mut leaves = Vec::new();
    let mut groups = (0, merkle::root(&[]));
    let mut done = |recounted: Recounted| {
        let Recounted { version, counts: of_version, sealed, spans, meters } = recounted;
        let wrote = records
            .get(&version)
            .filter(|record| record.kind == RecordKind::Rows && holds.contains(&version));
        let Some(wrote) = wrote else {
            return Err(format!(
                "it holds rows that say they are of commit {version}, which are not in it by the log"
            ));
        };
        if found.last().is_some_and(|last| *last >= version) {
            return Err(format!("the rows of commit {version} are not in ledger order"));
        }
        if (of_version, sealed.rows_root, sealed.subjects, sealed.subjects_root)
            != (wrote.counts, wrote.rows_root, wrote.subjects, wrote.subjects_root)
        {
            return Err(format!(
                "its rows of commit {version} are not those that were sealed: {} usage, {} rejected, {} gaps with the roots {} and {}, the batch record says {}, {}, {} and {} and {}",
                of_version.usage,
                of_version.rejected,
                of_version.gaps,
                sealed.rows_root.short(),
                sealed.subjects_root.short(),
                wrote.counts.usage,
                wrote.counts.rejected,
                wrote.counts.gaps,
                wrote.rows_root.short(),
                wrote.subjects_root.short()
            ));
        }
        if let Some(what) = wrote.controls().and_then(|says| different_meter(says, &meters)) {
            return Err(format!("commit {version} has {what}"));
        }
        for (stream, (first, end)) in &spans {
            let moved = wrote.streams.iter().find(|moved| moved.stream == *stream);
            let inside = moved
                .is_some_and(|moved| moved.from.is_none_or(|from| first.0 >= from.0) && end.0 <= moved.to.0);
            if !inside {
                return Err(format!(
                    "commit {version} has rows of {stream} from {first} up to {end}, which is not where it moved that stream"
                ));
            }
        }
        found.push(version);
        counts += of_version;
        groups = (sealed.subjects, sealed.subjects_root);
        leaves.extend(sealed.leaves);
        Ok(())
    };
    let mut recount = Recount::new(key, record.shard);
    let read = files
        .into_iter()
        .try_for_each(|file| read_parquet(file)?.iter().try_for_each(|rows| recount.take(rows, &mut done)));
    read.and_then(|()| recount.finish(&mut done)).map_err(|what| format!("{what}; {DAMAGED}"))?;
    let rows = leaves.len() as u64;
    let named: u64 = record.added.iter().map(|file| file.rows).sum();
    let groups = if record.kind == RecordKind::Compaction { (0, merkle::root(&[])) } else { groups };
    let fits = counts == record.counts
        && rows == named
        && merkle::root(&leaves) == record.rows_root
        && groups == (record.subjects, record.subjects_root);
    let complete = found == holds || (found.is_empty() && record.added.is_empty());
    if fits && complete {
        return Ok(rows);
    }
    Err(format!(
        "it has {rows} rows of the commits {found:?}, the log says {named} of {holds:?}, or their roots differ; {DAMAGED}"
    ))
}

/// The first meter of which a record says something else than the rows, as part of a sentence.
fn different_meter(says: &[MeterControl], rows: &[MeterControl]) -> Option<String> {
    fn by_name(controls: &[MeterControl]) -> BTreeMap<&str, &MeterControl> {
        controls.iter().map(|control| (control.meter.as_str(), control)).collect()
    }
    let text = |control: Option<&&MeterControl>| {
        control.map_or_else(
            || "no rows".to_owned(),
            |control| {
                let MeterControl { usage, corrections, value, .. } = control;
                format!("{usage} rows with {corrections} corrections and {value} in all")
            },
        )
    };
    let (says, found) = (by_name(says), by_name(rows));
    let mut meters = says.keys().chain(found.keys());
    let meter = meters.find(|meter| says.get(*meter) != found.get(*meter))?;
    let (says, found) = (text(says.get(meter)), text(found.get(meter)));
    Some(format!("of the meter {meter:?} {found}, the batch record says {says}"))
}

/// Recomputes the journal's entries after `after`.
pub(crate) async fn recount_entries(
    log: &mut Replayed,
    after: u64,
    tell: Tell<'_>,
) -> Result<(u64, u64), LedgerError> {
    let records = std::mem::take(&mut log.records);
    let mut entries = 0;
    for record in records.iter().filter(|record| record.version > after) {
        tell(Progress { shard: JOURNAL, commit: record.version, commits: records.len() as u64 });
        let [file] = record.added.as_slice() else {
            log.find(
                &places::entry(&log.location, record.version),
                record.version,
                "a commit of the journal has one file, this one has not; restore the ledger from a copy",
            );
            continue;
        };
        let Some(bytes) = log.bytes(record.version, file).await? else { continue };
        let what = match read_entries(bytes) {
            Ok(read) => match read.as_slice() {
                [entry]
                    if u64::try_from(entry.number) == Ok(record.version - 1)
                        && entry.root() == record.rows_root =>
                {
                    entries += 1;
                    if let Some((location, what)) = documents::defect(&log.location, entry).await? {
                        log.find(&location, record.version, what);
                    }
                    continue;
                }
                [_] => "its entry is not the one that was sealed; restore the ledger from a copy".to_owned(),
                read => {
                    format!("it has {} entries where one belongs; restore the ledger from a copy", read.len())
                }
            },
            Err(what) => what,
        };
        log.find(&log.location.join(&file.path), record.version, what);
    }
    log.records = records;
    Ok((entries, entries))
}

/// Delta's checkpoints are never read here, but other programs take their numbers from them.
async fn check_checkpoints(log: &mut Replayed) -> Result<(), LedgerError> {
    let made: Vec<_> = log
        .records
        .iter()
        .filter_map(|record| record.checkpoint.map(|made| (record.version, made)))
        .collect();
    for (commit, made) in made {
        let location = places::checkpoint(&log.location, made.version);
        // It may be removed at any time.
        if let Some((_, digest)) = location.digest().await?
            && digest != made.digest
        {
            let what = format!(
                "its SHA-256 is {digest}, the log says {}; it is derived: remove it, and other programs read the log instead",
                made.digest
            );
            log.find(&location, commit, what);
        }
    }
    Ok(())
}

/// Compares the published head and its tiles with the log.
async fn check_head(
    log: &mut Replayed,
    verifier: Option<&VerifierKey>,
) -> Result<Option<Signed>, LedgerError> {
    const AGAIN: &str = "remove it and run `atcost sign`, which publishes it again";
    let location = places::head(&log.location);
    let Some(note) = published(&log.location).await? else {
        for (file, what) in check_tiles(&log.location, &log.tree, 0).await? {
            log.find(&file, None, what);
        }
        return Ok(None);
    };
    let Some(signed) = SignedHead::parse(&note) else {
        log.find(&location, None, format!("this is not a signed head; {AGAIN}"));
        return Ok(None);
    };
    // A log that could not be followed has a finding already, and its table is not known.
    if let Some(table) = &log.table {
        let origin = origin(table);
        if signed.origin != origin {
            log.find(
                &location,
                None,
                format!("it is the head of {}, this log is {origin}; {AGAIN}", signed.origin),
            );
            return Ok(None);
        }
    }
    let size = signed.head.size;
    let commits = log.tree.head().size;
    if size > commits {
        // Replaying has said so, unless it did not come to the end.
        return Ok(None);
    }
    if log.tree.root_at(size) != signed.head.root {
        let what = "its root is not that of the records up to there: the log was changed after it was signed, or the head was; restore the ledger from a copy";
        log.find(&location, size, what);
    }
    if let Some(verifier) = verifier
        && !signed.is_signed_by(verifier)
    {
        log.find(&location, size, format!("it has no valid signature by {}; {AGAIN}", verifier.name()));
        return Ok(None);
    }
    for (file, what) in check_tiles(&log.location, &log.tree, size).await? {
        log.find(&file, None, what);
    }
    Ok(Some(Signed { size, checked: verifier.is_some() }))
}
