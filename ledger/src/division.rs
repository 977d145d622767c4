//! How a ledger is made and divided into shards.
//!
//! Dividing a ledger anew is one commit in every shard. It takes the version that any running
//! writer is about to commit, so each of them is fenced, and nobody may write before all shards
//! have it: no stream is ever read by two writers.

use crate::error::LedgerError;
use crate::log::entry::refuse_newer;
use crate::log::missing::{gone, part_gone, why_not_there};
use crate::log::table::{Commit, Table};
use crate::store::Location;
use crate::{places, secret};
use proof::leaf_key::LeafKey;
use proof::record::{DIVISION_STREAM, Division, JOURNAL, RecordKind};
use schemas::position::{NextOffset, StreamMove};
use schemas::shard::Shard;
use schemas::time::Instant;
use std::time::{Duration, Instant as Deadline};

/// Makes an empty ledger: a key, a journal and one shard. An interrupted run of it is completed, and
/// so is a ledger that nothing was ever written to. Where something was, a part that is gone is a
/// loss, and an empty one in its place would hide that.
///
/// # Errors
/// When there is one already, a part of one that was used is gone, or storage fails.
pub async fn create_ledger(ledger: &Location) -> Result<(), LedgerError> {
    if is_ledger(ledger).await? {
        return Err(LedgerError::invalid(ledger, "there is a ledger already; it is never overwritten"));
    }
    if let Some(number) = part_gone(ledger).await? {
        return Err(gone(ledger, number));
    }
    ledger.create_folder().await?;
    let location = places::leaf_key(ledger);
    let is_begun = Table::exists(ledger, JOURNAL).await? || Table::exists(ledger, 0).await?;
    let key = match is_begun || location.exists().await? {
        true => secret::read_leaf_key(&location).await?,
        false => secret::create_leaf_key(&location).await?,
    };
    Table::create(ledger, JOURNAL, key.id()).await?;
    Table::create(ledger, 0, key.id()).await
}

/// Whether [`create_ledger`] came to its end here.
///
/// # Errors
/// When storage fails.
pub async fn is_ledger(ledger: &Location) -> Result<bool, LedgerError> {
    Ok(Table::exists(ledger, JOURNAL).await? && Table::exists(ledger, 0).await?)
}

/// How many shards have ever been there.
///
/// # Errors
/// `Invalid` when there is no ledger, `Corrupt` when a shard in between is gone.
pub async fn shard_count(ledger: &Location) -> Result<u32, LedgerError> {
    let mut count = 0;
    loop {
        while Table::exists(ledger, count).await? {
            count += 1;
        }
        if count == 0 {
            return Err(why_not_there(ledger, 0).await?);
        }
        let mut later = false;
        for name in places::shards(ledger).list().await?.folders {
            if let Some(number) = name.parse::<u32>().ok().filter(|number| *number > count) {
                later |= Table::exists(ledger, number).await?;
            }
        }
        // Shards are made in order: where a later one was made meanwhile, so was this one.
        match (later, Table::exists(ledger, count).await?) {
            (true, false) => {
                return Err(LedgerError::corrupt(
                    &places::shard(ledger, count),
                    "this shard is gone, but a later one is there; restore it from a copy",
                ));
            }
            (_, true) => {}
            (false, false) => return Ok(count),
        }
    }
}

/// The result of a division.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divided {
    pub division: Division,
    /// Whether anything was changed.
    pub changed: bool,
}

/// How long a division races with writers that go on before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Divides a ledger into another number of shards. No writer should run; one that does is fenced,
/// or is faster a few times and then fenced. An interrupted run is completed by running it again.
///
/// # Errors
/// As [`crate::ShardWriter::open_shard`], `Invalid` when an interrupted division into another
/// number is to be completed first, and `Fenced` when writers were faster for [`PATIENCE`].
pub async fn divide_ledger(ledger: &Location, shards: u32, at: Instant) -> Result<Divided, LedgerError> {
    let key = secret::read_leaf_key(&places::leaf_key(ledger)).await?;
    let mut tables = open_all(ledger).await?;
    let until = Deadline::now() + PATIENCE;
    let mut again = false;
    loop {
        match divide(ledger, &mut tables, &key, shards, Some(at), until).await {
            Err(LedgerError::Fenced { .. }) if Deadline::now() < until => {
                catch_up(ledger, &mut tables).await?;
                again = true;
            }
            // A change by an attempt before this one was made here.
            Ok(divided) => return Ok(Divided { changed: divided.changed || again, ..divided }),
            Err(error) => return Err(error),
        }
    }
}

async fn divide(
    ledger: &Location,
    tables: &mut Vec<Table>,
    key: &LeafKey,
    shards: u32,
    at: Option<Instant>,
    until: Deadline,
) -> Result<Divided, LedgerError> {
    let latest = latest(tables);
    let target = match agreed(tables, ledger) {
        Ok(division) if division.shards == shards => return Ok(Divided { division, changed: false }),
        Ok(division) => Division { generation: division.generation + 1, shards },
        Err(_) if latest.shards == shards => latest,
        Err(error) => return Err(error),
    };
    let existing = u32::try_from(tables.len()).expect("shards are few");
    for shard in existing..shards {
        Table::create(ledger, shard, key.id()).await?;
        tables.push(Table::open(ledger, shard).await?);
    }
    // Another may have made them, and not be done with it.
    for table in tables.iter() {
        table.location().sync_names().await?;
    }
    for table in tables.iter_mut() {
        let moved = StreamMove {
            stream: DIVISION_STREAM.to_owned(),
            from: None,
            to: NextOffset(i64::from(target.generation)),
            identity: None,
            last: None,
        };
        // The first division of an empty ledger has no clock at hand and needs none.
        let at = at.or(table.log().at).unwrap_or(Instant::from_micros(0).expect("1970 is an instant"));
        let kind = RecordKind::Division;
        let (key, streams) = (key.id(), vec![moved]);
        let commit = Commit { kind, at, division: target, key, streams, seal: &|_| None };
        let before = table.log().division;
        while table.log().division == before && before != target {
            match table.commit(&commit).await {
                Ok(_) => {}
                // Nothing but what the faster writer has added is read before the next attempt:
                // whoever does more in between overtakes no writer that never rests.
                Err(LedgerError::Fenced { .. }) if Deadline::now() < until => table.catch_up().await?,
                Err(error) => return Err(error),
            }
        }
        if table.log().division != target {
            return Err(LedgerError::Fenced {
                location: table.location().to_string(),
                expected: table.version(),
            });
        }
    }
    Ok(Divided { division: target, changed: true })
}

/// Opens all shards of a ledger for the writer of one, and divides a ledger that nobody has written
/// to. All its writers may start at once: whoever comes first divides it, the others see it done.
pub(crate) async fn open_divided(
    ledger: &Location,
    shard: Shard,
) -> Result<(Vec<Table>, Division), LedgerError> {
    const ATTEMPTS: u32 = 20;
    let mut attempt = 1;
    loop {
        let tables = open_all(ledger).await?;
        let undone = match agreed(&tables, ledger) {
            Ok(division) if division.shards == shard.of() => return Ok((tables, division)),
            Ok(Division { shards, .. }) if tables.iter().any(|table| table.version() > 0) => {
                let wanted = shard.of();
                let detail = format!(
                    "the ledger is divided into {shards} and this is shard {shard}; say --shard I/{shards} with I from 1 to {shards}, or divide it anew with `atcost shards {wanted}`"
                );
                return Err(LedgerError::invalid(ledger, detail));
            }
            Ok(_) => first_division(ledger, shard.of()).await.err(),
            // Another may be about it.
            Err(error) => Some(error),
        };
        match undone {
            None => {}
            Some(error) if attempt == ATTEMPTS => return Err(error),
            Some(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        attempt += 1;
    }
}

fn latest(tables: &[Table]) -> Division {
    tables.iter().map(|table| table.log().division).max().unwrap_or(Division::FIRST)
}

/// The division, if all shards have the same.
fn agreed(tables: &[Table], ledger: &Location) -> Result<Division, LedgerError> {
    let latest = latest(tables);
    let shards = usize::try_from(latest.shards).expect("shards are few");
    // A division that was stopped before its first commit may have left shards that nothing was
    // ever written to.
    let mut counted =
        tables.iter().enumerate().filter(|(shard, table)| *shard < shards || table.version() > 0);
    if tables.len() >= shards && counted.all(|(_, table)| table.log().division == latest) {
        return Ok(latest);
    }
    Err(LedgerError::invalid(
        ledger,
        format!(
            "dividing it into {0} shards was interrupted; run `atcost shards {0}` to complete it",
            latest.shards
        ),
    ))
}

/// Opens all shards of a ledger as they are divided now.
pub(crate) async fn open_agreed(ledger: &Location) -> Result<(Vec<Table>, Division), LedgerError> {
    let tables = open_all(ledger).await?;
    let division = agreed(&tables, ledger)?;
    Ok((tables, division))
}

/// Opens all shards for whoever writes. No writer of them reads the journal, and none goes on where
/// it is a newer version's.
async fn open_all(ledger: &Location) -> Result<Vec<Table>, LedgerError> {
    refuse_newer(&places::journal(ledger)).await?;
    let mut tables = Vec::new();
    open_rest(ledger, &mut tables).await?;
    Ok(tables)
}

/// Opens the shards after those that are open.
async fn open_rest(ledger: &Location, tables: &mut Vec<Table>) -> Result<(), LedgerError> {
    let opened = u32::try_from(tables.len()).expect("shards are few");
    for shard in opened..shard_count(ledger).await? {
        tables.push(Table::open(ledger, shard).await?);
    }
    Ok(())
}

/// Brings opened shards to where others have taken the ledger meanwhile.
async fn catch_up(ledger: &Location, tables: &mut Vec<Table>) -> Result<(), LedgerError> {
    for table in tables.iter_mut() {
        table.catch_up().await?;
    }
    open_rest(ledger, tables).await
}

/// Divides a ledger that nobody has written to.
async fn first_division(ledger: &Location, shards: u32) -> Result<Divided, LedgerError> {
    let key = secret::read_leaf_key(&places::leaf_key(ledger)).await?;
    divide(ledger, &mut open_all(ledger).await?, &key, shards, None, Deadline::now() + PATIENCE).await
}
