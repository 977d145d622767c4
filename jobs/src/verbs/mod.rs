//! One file per verb: its work, which gives a value, and the words for that value.
//!
//! No verb prints; `show` does, in one place.

use crate::show::Answer;
use jiff::civil::Date;
use schemas::name::check_reason;

pub mod catalog; // check, compare and publish
pub mod pieces; // what a command adds to a catalog's folder
pub mod scaffold; // a commented piece of a catalog
pub mod import; // others' price lists into a catalog
pub mod completions; // what a shell completes
mod books; // what a month rests on beside rows
pub mod compact; // few files out of many
pub mod doctor; // is everything as it should be
pub mod explain; // from a charge to its events
pub mod ingest; // sources into the ledger
pub mod init; // a configuration and an empty ledger
mod nobody; // what is nobody's, in words and in JSON
mod missing; // what may be missing, in words and in JSON
pub mod past; // what a catalog changes in what was billed
pub mod aggregate; // what events come to, without a catalog
pub mod price; // what a quantity costs, without a catalog
pub mod rate; // a month's charges
pub mod listing; // catalogs and runs that there are
pub mod query; // questions in SQL
pub mod invoice; // providers' invoices
pub mod invoice_map; // what their texts may mean
mod posted; // a month as it is posted
pub mod reconcile; // invoices beside the ledger
pub mod close; // a month becomes final
pub mod statement; // what a customer is billed
pub mod status; // the running month on one screen
pub mod export; // for analysts and accountants
pub mod rejected; // refused records, for whoever sent them
pub mod shards; // how the ledger is divided
pub mod sign; // heads the operator can be held to
pub mod totals; // rows folded once, kept so
pub mod truncation; // reading on where a partition lost what was read
pub mod what_if; // a month by another catalog
pub mod forecast; // what a running month may come to
pub mod verify; // everything recomputed from storage

/// A reason, wherever one is asked for.
///
/// # Errors
/// A sentence, where it says nothing.
pub fn reason(text: &str) -> Result<String, String> {
    check_reason(text).map(|()| text.to_owned()).map_err(|error| format!("{error}; say why, in a few words"))
}

/// A person's name, wherever one is asked for.
///
/// # Errors
/// A sentence, where it is none.
pub fn who(text: &str) -> Result<String, String> {
    check_reason(text).map(|()| text.to_owned()).map_err(|error| format!("{error}; say who decides it"))
}

/// A day, as an argument says it.
///
/// # Errors
/// A sentence, where it is none.
pub fn day(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| "it is no day; write it like 2025-10-01".to_owned())
}

impl Answer for explain::Explained {
    fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(self.json.clone())
    }

    fn text(&self) -> String {
        self.text.clone()
    }
}
