//! Which rows of a commit repeat an id, as somebody above this crate knows it.
//!
//! The ledger stores a repeated event like any other; what an index says is only counted.
//!
//! Invariant: an index is shown each version once, in order, after it was committed.

use crate::error::LedgerError;
use crate::log::table::Table;
use arrow::array::RecordBatch;

/// Usage rows that repeat an id of the same shard, with the same content and with other content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repeats {
    pub duplicates: u64,
    pub conflicts: u64,
}

/// The rows of a commit as its writer has them.
#[derive(Debug, Clone, Copy)]
pub struct CommittedRows<'a> {
    /// Columns whose texts repeat are dictionaries.
    pub rows: &'a RecordBatch,
    /// Of each row.
    pub content_digests: &'a [[u8; 32]],
}

/// Knows every id of a shard. It is derived: what is wrong with it never stops a writer.
#[async_trait::async_trait]
pub trait RepeatsIndex: Send {
    /// Adds every version of the shard that is not known yet, from the rows as they are stored.
    ///
    /// # Errors
    /// When the ledger cannot be read. A fault of the index is no error.
    async fn catch_up(&mut self, table: &Table) -> Result<(), LedgerError>;

    /// Classifies the rows of the version that was just committed, and adds them; `rows` is nothing
    /// for a commit without rows. Gives nothing where the index cannot be used.
    ///
    /// # Errors
    /// As [`Self::catch_up`].
    async fn committed(
        &mut self,
        table: &Table,
        rows: Option<CommittedRows<'_>>,
    ) -> Result<Option<Repeats>, LedgerError>;
}
