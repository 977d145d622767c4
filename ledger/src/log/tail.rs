//! Where a log ends: nothing stands beyond a hole, and nothing that was signed is gone.

use crate::error::LedgerError;
use crate::places;
use crate::store::Location;
use proof::head::SignedHead;

/// Refuses entries that stand beyond a hole, and a log that ends before its signed head: something
/// was taken away.
pub(super) async fn check_tail(table: &Location, version: u64) -> Result<(), LedgerError> {
    let entries = places::entries(table);
    let later = entries.list_after(&places::entry_name(version)).await?;
    let beyond = later.iter().find(|name| places::entry_version(name).is_some_and(|found| found > version));
    // A commit of another process may have come between reading and listing; a hole stays a hole.
    if let Some(beyond) = beyond
        && !places::entry(table, version + 1).exists().await?
    {
        return Err(LedgerError::corrupt(
            &entries.join(beyond),
            format!("the entry of version {} is missing before it; restore it from a copy", version + 1),
        ));
    }
    match signed_size(table).await? {
        // A head that is newer than our reading is no loss: the commits it covers are there.
        Some(size) if size > version && !places::entry(table, size).exists().await? => {
            Err(LedgerError::corrupt(
                table,
                format!(
                    "the log ends at version {version}, but a head over {size} commits was signed: commits are gone; restore them from a copy"
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// How many commits the published head covers. Not checked: a head that says too much stops the
/// ledger, one that says too little is found by `atcost verify ledger`.
pub(super) async fn signed_size(table: &Location) -> Result<Option<u64>, LedgerError> {
    let Some(note) = places::head(table).read().await? else { return Ok(None) };
    Ok(SignedHead::stated_size(&note))
}
