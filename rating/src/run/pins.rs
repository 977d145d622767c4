//! Everything a run depends on, and the id that follows from it.
//!
//! Invariant: runs with equal pins have equal ids, whatever the machine or the clock.

use super::ids::RunId;
use ledger::pinned::LedgerCut;
use schemas::digest::Sha256Digest;
use schemas::time::BillingMonth;

/// The version of the rules that turn rows into money, a number of its own: every later change that
/// can alter a table of a run raises it, and nothing else does. It is part of a run's id, so that
/// two engines never write the same run.
pub const ENGINE_VERSION: &str = "0.6.0";

/// Everything a run depends on. Two runs with equal pins have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    pub month: BillingMonth,
    pub ledger: LedgerCut,
    pub catalog: Sha256Digest,
    /// How many entries of the journal there were: what came of invoices, and was decided about them.
    pub journal: i64,
}

impl Pins {
    /// The run's id: the first 16 hexadecimal digits of the SHA-256 of
    /// `atcost run 2\nperiod …\nledger …\ncatalog …\njournal …\nengine …\n`.
    pub fn run_id(&self) -> RunId {
        let text = format!(
            "atcost run 2\nperiod {}\nledger {} {}\ncatalog {}\njournal {}\nengine {ENGINE_VERSION}\n",
            self.month, self.ledger.versions, self.ledger.digest, self.catalog, self.journal
        );
        RunId::of(Sha256Digest::of(text.as_bytes()))
    }
}
