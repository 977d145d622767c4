//! Errors of the index of ids. The ledger never depends on it.

use std::path::{Path, PathBuf};

/// A defect of the index. It is derived, so the ledger has lost nothing.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It has been emptied; open it again and add everything.
    #[error("{location} is damaged: {detail}; the index is built again from the ledger")]
    Damaged { location: PathBuf, detail: String },
    #[error(
        "{location} failed while {doing}: {detail}; the ledger does not need the index and is complete without it"
    )]
    Storage { location: PathBuf, doing: &'static str, detail: String },
}

impl IndexError {
    pub(crate) fn damaged(location: &Path, detail: String) -> Self {
        Self::Damaged { location: location.to_owned(), detail }
    }

    pub(crate) fn storage(location: &Path, doing: &'static str, error: &impl ToString) -> Self {
        Self::Storage { location: location.to_owned(), doing, detail: error.to_string() }
    }
}
