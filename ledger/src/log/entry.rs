//! Log entries as they are stored, and what is said of one that cannot be followed.

use super::tail::signed_size;
use crate::error::LedgerError;
use crate::places;
use crate::store::Location;
use bytes::Bytes;
use proof::record::BatchRecord;

/// The bytes of the entry of a version; none where there is none.
pub(crate) async fn read_entry(table: &Location, version: u64) -> Result<Option<Bytes>, LedgerError> {
    places::entry(table, version).read().await
}

/// Names an entry that cannot be followed, and what to do: a torn last one may go, if no signature
/// covers it.
pub(crate) async fn damaged_entry(
    table: &Location,
    version: u64,
    entry: &[u8],
    detail: String,
) -> LedgerError {
    let location = places::entry(table, version);
    let last = match places::entry(table, version + 1).exists().await {
        Ok(exists) => !exists,
        Err(error) => return error,
    };
    if !last || !BatchRecord::is_torn(entry) {
        return LedgerError::corrupt(&location, format!("{detail}; restore the ledger from a copy"));
    }
    let length = entry.len();
    let signed = match signed_size(table).await {
        Ok(signed) => signed,
        Err(error) => return error,
    };
    if signed.is_some_and(|size| size >= version) {
        return LedgerError::corrupt(
            &location,
            format!(
                "the last log entry is torn ({length} bytes), and a signed head covers it: it was durable once; restore the ledger from a copy"
            ),
        );
    }
    LedgerError::corrupt(
        &location,
        format!(
            "the last log entry is torn ({length} bytes), as a power loss leaves it; move this one file aside and start again: what it held will be read again from the source"
        ),
    )
}
