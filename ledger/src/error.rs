//! Errors of a ledger, by what the operator should do about it.

/// The remedy for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again later: storage did not answer as it should. Nothing was half written.
    Retry,
    /// Stop: another writer owns this shard, or has added to the journal.
    Fenced,
    /// Stop and look: what is stored is not what was written.
    Corrupt,
    /// Correct the request or the configuration.
    Invalid,
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("storage at {location} failed while {doing}: {detail}; nothing was half written, try again")]
    Storage { location: String, doing: &'static str, detail: String },
    #[error(
        "fenced: another writer committed version {expected} to {location}, which this one was about to: a shard has one writer; this process stops, its open batch was not written and will be read again"
    )]
    Fenced { location: String, expected: u64 },
    /// Somebody else was faster.
    #[error(
        "entry {entry} of {location} is somebody else's, who was faster: a catalog, an invoice, a decision or a close; nothing was written; look at it, and run this again"
    )]
    Overtaken { location: String, entry: i64 },
    #[error("{location} is damaged: {detail}")]
    Corrupt { location: String, detail: String },
    #[error("{location}: {detail}")]
    Invalid { location: String, detail: String },
    /// A newer version wrote what is there.
    #[error("{location}: {detail}")]
    Newer { location: String, detail: String },
}

impl LedgerError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Storage { .. } => ErrorKind::Retry,
            Self::Fenced { .. } | Self::Overtaken { .. } => ErrorKind::Fenced,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Invalid { .. } | Self::Newer { .. } => ErrorKind::Invalid,
        }
    }

    /// Storage did not answer.
    pub fn storage(location: &impl ToString, doing: &'static str, error: &impl ToString) -> Self {
        Self::Storage { location: location.to_string(), doing, detail: error.to_string() }
    }

    /// Something stored is not what was written.
    pub fn corrupt(location: &impl ToString, detail: impl Into<String>) -> Self {
        Self::Corrupt { location: location.to_string(), detail: detail.into() }
    }

    /// The request or the configuration is wrong.
    pub fn invalid(location: &impl ToString, detail: impl Into<String>) -> Self {
        Self::Invalid { location: location.to_string(), detail: detail.into() }
    }
}
