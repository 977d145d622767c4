//! Parts of a ledger that are not there: never made, or lost.
//!
//! It makes nothing, and reads no entry.
//!
//! Invariant: a part is called lost only where something was committed to the ledger or signed.

use crate::error::LedgerError;
use crate::places;
use crate::store::Location;
use proof::record::JOURNAL;

/// Whether a table was made.
async fn is_there(ledger: &Location, number: u32) -> Result<bool, LedgerError> {
    places::entry(&places::table(ledger, number), 0).exists().await
}

/// The journal or the first shard, if it is not there although the ledger was used: something was
/// committed to another part of it, or to that one, or a head of it was signed.
pub(crate) async fn part_gone(ledger: &Location) -> Result<Option<u32>, LedgerError> {
    let mut missing = None;
    for number in [JOURNAL, 0] {
        if missing.is_none() && !is_there(ledger, number).await? {
            missing = Some(number);
        }
    }
    let Some(number) = missing else { return Ok(None) };
    let shards = places::shards(ledger).list().await?.folders;
    let numbers = shards.iter().filter_map(|name| name.parse::<u32>().ok());
    for table in numbers.chain([JOURNAL]).map(|number| places::table(ledger, number)) {
        if places::entry(&table, 1).exists().await? || places::head(&table).exists().await? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// The refusal of a ledger of which a part is gone.
pub(crate) fn gone(ledger: &Location, number: u32) -> LedgerError {
    let what = match number {
        JOURNAL => "the journal is gone, and with it the catalogs that were published",
        _ => "the first shard is gone, and with it the records that were read",
    };
    let detail = format!(
        "{what}, although this ledger was used; restore it from a copy, `atcost init` makes no empty one in its place"
    );
    LedgerError::corrupt(&places::table(ledger, number), detail)
}

/// Why a table that has no first entry cannot be opened.
pub(crate) async fn why_not_there(ledger: &Location, number: u32) -> Result<LedgerError, LedgerError> {
    Ok(match part_gone(ledger).await? {
        Some(part) if part == number => gone(ledger, number),
        _ if number == JOURNAL && is_there(ledger, 0).await? => {
            LedgerError::invalid(&places::journal(ledger), "the journal is missing; `atcost init` makes it")
        }
        _ => LedgerError::invalid(ledger, "there is no ledger here; `atcost init` makes one"),
    })
}
