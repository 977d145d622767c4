//! Why a rating gives no number. A run that cannot be right writes nothing.

use std::path::Path;

#[derive(Debug, thiserror::Error)]
pub enum RatingError {
    #[error(transparent)]
    Ledger(#[from] ledger::LedgerError),
    #[error("the query engine failed: {0}")]
    Engine(#[from] datafusion::error::DataFusionError),
    #[error("{provider} {sku}: {detail}")]
    Money { provider: String, sku: String, detail: String },
    #[error("{path}: {doing} failed: {detail}")]
    File { path: String, doing: &'static str, detail: String },
    /// An invariant of the run does not hold. The run is discarded; this is a defect or damaged
    /// data, never a matter of configuration.
    #[error("this run was discarded because it cannot be right: {0}")]
    Broken(String),
}

impl RatingError {
    pub(crate) fn broken(detail: String) -> Self {
        Self::Broken(detail)
    }

    pub(crate) fn file(path: &Path, doing: &'static str, error: &impl ToString) -> Self {
        Self::File { path: path.display().to_string(), doing, detail: error.to_string() }
    }
}
