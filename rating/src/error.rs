//! Why a rating gives no number, and what to do about it. A run that cannot be right writes
//! nothing.
//!
//! Invariant: every error names the thing that it is about.

use schemas::decimal::DecimalError;
use schemas::id::{ProviderId, SkuId};
use schemas::time::{BillingMonth, TimeError};

/// The caller's way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again later: storage or the machine did not do what was asked. No run was written.
    Retry,
    /// Stop and look: what is stored is not what was written, or this program is wrong.
    Corrupt,
    /// Correct the catalog or the request.
    Invalid,
}

/// Why a rating gives no number.
#[derive(Debug, thiserror::Error)]
pub enum RatingError {
    #[error(transparent)]
    Ledger(#[from] ledger::LedgerError),
    #[error("the query engine failed: {0}")]
    Engine(#[from] datafusion::error::DataFusionError),
    #[error("{path}: {doing} failed: {detail}")]
    File { path: String, doing: &'static str, detail: String },
    /// A number of one SKU is not one that can be shared, or there is nothing to share it by.
    #[error("{provider} {sku}: {detail}")]
    Money { provider: ProviderId, sku: SkuId, detail: String },
    /// A number of one SKU does not fit. `largest` says which event that is most likely because of,
    /// and what to do.
    #[error("{DISCARDED}: {provider} {sku}: {detail}{}", after(.largest))]
    TooLarge { provider: ProviderId, sku: SkuId, detail: String, largest: Option<Box<str>> },
    /// What is billed does not fit.
    #[error("{DISCARDED}: {0}")]
    Billed(String),
    /// A rate is missing that a customer is billed at.
    #[error("{0}; add it to fx.csv, publish and rate again")]
    Rates(String),
    /// An invoice cannot be compared.
    #[error("{0}")]
    Invoices(String),
    /// A row is disputed that bills less than was estimated.
    #[error(
        "{row} cannot be disputed: its invoices bill less than the estimate, and {rest} would be retained; accept it, or reopen it"
    )]
    Dispute { row: String, rest: String },
    /// The calendar ends within the month.
    #[error("the period {month}: {reason}")]
    Period { month: BillingMonth, reason: TimeError },
    #[error("{DISCARDED}: {what} is too large: {reason}")]
    Overflow { what: String, reason: DecimalError },
    /// The parts of a whole do not add up to it.
    #[error("{DISCARDED}: {whole}: {parts} add up to {sum}, not to {expected}")]
    Unbalanced { whole: String, parts: &'static str, sum: String, expected: String },
    /// The run that is there already has the same pins and other bytes.
    #[error(
        "{DISCARDED}: {folder} was written from the same ledger, catalog and engine and differs; one of the two is wrong, nothing was overwritten"
    )]
    Differs { folder: String },
    /// The tables of a run do not hold what its pins give.
    #[error(
        "run {run} cannot be reproduced: {what}; one of the two is wrong: restore the run from a copy, or delete its folder and rate the month again"
    )]
    NotReproduced { run: String, what: String },
    /// There is no charge of these digits, or more than one.
    #[error("{0}")]
    NoSuchCharge(String),
    /// A question in SQL that is not answered.
    #[error("{0}")]
    Query(String),
    /// A value is not what whoever stored it, or this program, promises.
    #[error("{DISCARDED}: {0}")]
    Damaged(String),
}

const DISCARDED: &str = "this run was discarded because it cannot be right";

/// A sentence after others.
fn after(sentence: &Option<Box<str>>) -> String {
    sentence.as_ref().map_or_else(String::new, |sentence| format!(". {sentence}"))
}

impl RatingError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Ledger(error) => match error.kind() {
                ledger::ErrorKind::Retry => ErrorKind::Retry,
                ledger::ErrorKind::Fenced | ledger::ErrorKind::Corrupt => ErrorKind::Corrupt,
                ledger::ErrorKind::Invalid => ErrorKind::Invalid,
            },
            Self::Engine(_) | Self::File { .. } => ErrorKind::Retry,
            Self::Money { .. }
            | Self::TooLarge { .. }
            | Self::Billed(_)
            | Self::Rates(_)
            | Self::Invoices(_)
            | Self::Dispute { .. }
            | Self::Period { .. }
            | Self::Overflow { .. }
            | Self::Query(_)
            | Self::NoSuchCharge(_) => ErrorKind::Invalid,
            Self::Unbalanced { .. }
            | Self::Differs { .. }
            | Self::NotReproduced { .. }
            | Self::Damaged(_) => ErrorKind::Corrupt,
        }
    }

    pub(crate) fn file(path: &impl ToString, doing: &'static str, error: &impl ToString) -> Self {
        Self::File { path: path.to_string(), doing, detail: error.to_string() }
    }

    /// For a sum that does not fit.
    pub(crate) fn overflow(what: impl Into<String>) -> impl FnOnce(DecimalError) -> Self {
        let what = what.into();
        move |reason| Self::Overflow { what, reason }
    }

    /// For a stored value that cannot be read, such as `time`.
    pub(crate) fn stored<E: ToString>(what: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::Damaged(format!("a stored {what} cannot be read: {}", error.to_string()))
    }
}
