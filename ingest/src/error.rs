//! Errors that stop ingestion, by what the operator should do about them. A bad record never does:
//! it becomes a rejected row.

use ledger::{ErrorKind, LedgerError};

#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The outside world did not answer as it should. Everything committed stays; the rest is read
    /// again.
    #[error("{0}")]
    Retry(String),
    /// The configuration or the input cannot work, and trying again will not change it.
    #[error("{0}")]
    Invalid(String),
    /// A stop was asked for while waiting. The open batch was not committed and is read again next
    /// time.
    #[error("stopped while waiting; the open batch was not committed and will be read again")]
    Stopped,
}

impl IngestError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Ledger(error) => error.kind(),
            Self::Retry(_) | Self::Stopped => ErrorKind::Retry,
            Self::Invalid(_) => ErrorKind::Invalid,
        }
    }
}
