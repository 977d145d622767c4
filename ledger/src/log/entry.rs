//! Log entries as they are stored, and what is said of one that cannot be followed.

use super::tail::signed_size;
use crate::error::LedgerError;
use crate::places;
use crate::store::Location;
use bytes::Bytes;
use proof::record::BatchRecord;
use proof::unknown::Unknown;

/// The bytes of the entry of a version; none where there is none.
pub(crate) async fn read_entry(table: &Location, version: u64) -> Result<Option<Bytes>, LedgerError> {
    places::entry(table, version).read().await
}

/// Names an entry that cannot be followed, and what to do: a torn last one may go, if no signature
/// covers it; so may what another program put after our last.
pub(crate) async fn damaged_entry(
    table: &Location,
    version: u64,
    entry: &[u8],
    detail: String,
) -> LedgerError {
    match say(table, version, entry, detail).await {
        Ok(said) | Err(said) => said,
    }
}

/// # Errors
/// When storage does not answer.
async fn say(
    table: &Location,
    version: u64,
    entry: &[u8],
    detail: String,
) -> Result<LedgerError, LedgerError> {
    let location = places::entry(table, version);
    let unknown = Unknown::of(entry);
    if let Some(newer @ Unknown::Newer { .. }) = &unknown {
        return Ok(newer_format(&location, newer));
    }
    let after = strangers_after(table, version).await?;
    let torn = after == Some(0) && BatchRecord::is_torn(entry);
    let (Some(more), true) = (after, torn || unknown.is_some()) else {
        return Ok(LedgerError::corrupt(&location, format!("{detail}; restore the ledger from a copy")));
    };
    let signed = signed_size(table).await?.is_some_and(|size| size >= version);
    let detail = match (torn, signed) {
        (true, true) => format!(
            "the last log entry is torn ({} bytes), and a signed head covers it: it was durable once; restore the ledger from a copy",
            entry.len()
        ),
        (true, false) => format!(
            "the last log entry is torn ({} bytes), as a power loss leaves it; move this one file aside and start again: what it held will be read again from the source",
            entry.len()
        ),
        (false, true) => format!(
            "{detail}, and a signed head covers this version: it was another entry once; restore the ledger from a copy"
        ),
        (false, false) => {
            let files = match more {
                0 => "this one file".to_owned(),
                1 => "this file and the one after it".to_owned(),
                more => format!("this file and the {more} after it"),
            };
            format!(
                "{detail}; what others change cannot be proved, so it is not followed. What atcost committed before is as it was: stop that program from writing here, move {files} aside, and run `atcost verify ledger`; if what it added is usage, send it as events"
            )
        }
    };
    Ok(LedgerError::corrupt(&location, detail))
}

/// The refusal of an entry that a newer version wrote.
pub(crate) fn newer_format(location: &Location, newer: &Unknown) -> LedgerError {
    let version = env!("CARGO_PKG_VERSION");
    LedgerError::Newer {
        location: location.to_string(),
        detail: format!(
            "{newer}; this is atcost {version}. Nothing is wrong with the ledger: install that version or a newer one for everything that reads or writes it"
        ),
    }
}

/// Refuses a table with an entry that a newer version wrote, and looks at nothing else. The table
/// is one of few entries.
pub(crate) async fn refuse_newer(table: &Location) -> Result<(), LedgerError> {
    let mut version = 0;
    while let Some(entry) = read_entry(table, version).await? {
        if let Some(newer @ Unknown::Newer { .. }) = Unknown::of(&entry) {
            return Err(newer_format(&places::entry(table, version), &newer));
        }
        version += 1;
    }
    Ok(())
}

/// How many entries stand after a version, if all of them are other programs'. Nobody of ours
/// commits after what it cannot follow.
async fn strangers_after(table: &Location, version: u64) -> Result<Option<u64>, LedgerError> {
    let mut count = 0;
    while let Some(entry) = read_entry(table, version + count + 1).await? {
        if !matches!(Unknown::of(&entry), Some(Unknown::Program { .. })) {
            return Ok(None);
        }
        count += 1;
    }
    Ok(Some(count))
}
