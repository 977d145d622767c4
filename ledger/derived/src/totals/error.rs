//! Errors of the totals. The ledger never depends on them.

use crate::ids::IndexError;
use ledger::LedgerError;

/// Why there are no totals.
#[derive(Debug, thiserror::Error)]
pub enum TotalsError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Index(#[from] IndexError),
    /// They are not what was written, or do not add up to the ledger.
    #[error(
        "{location}: {detail}; delete the folder `derived` of the ledger and run this again: it is made anew from the rows"
    )]
    Damaged { location: String, detail: String },
    /// Rows have to be read.
    #[error("{location}: totals cannot be kept here: {detail}")]
    NoPlace { location: String, detail: String },
}

impl TotalsError {
    pub(super) fn damaged(location: &impl ToString, detail: impl Into<String>) -> Self {
        Self::Damaged { location: location.to_string(), detail: detail.into() }
    }
}
