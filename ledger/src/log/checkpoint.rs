//! Delta's checkpoints, made for other readers. No program of ours takes a number from one.

use crate::error::LedgerError;
use crate::places;
use crate::store::Location;
use deltalake::DeltaTableBuilder;
use proof::record::MadeCheckpoint;

/// Makes the checkpoint of a version, by Delta's own library.
pub(super) async fn make(table: &Location, version: u64) -> Result<MadeCheckpoint, LedgerError> {
    let failed =
        |error: deltalake::DeltaTableError| LedgerError::storage(table, "writing a Delta checkpoint", &error);
    let url = table.folder_url()?;
    let builder = DeltaTableBuilder::from_url(url.clone())
        .map_err(failed)?
        .with_storage_backend(table.objects().clone(), url);
    let delta = builder.with_version(version).load().await.map_err(failed)?;
    fail::fail_point!("checkpoint.before");
    deltalake::checkpoints::create_checkpoint(&delta, None).await.map_err(failed)?;
    fail::fail_point!("checkpoint.made");
    match places::checkpoint(table, version).digest().await? {
        Some((_, digest)) => Ok(MadeCheckpoint { version, digest }),
        None => Err(LedgerError::storage(table, "reading a Delta checkpoint back", &"it is not there")),
    }
}
