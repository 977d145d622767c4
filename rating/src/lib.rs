//! Sums in SQL, money in Rust: usage totals, cost lines, allocation to customers, charges and
//! statement lines.
//!
//! A run is a function of its pins: the period, the ledger's version and the catalog's digest.
//! There is no clock, no network and no Kafka here.
//!
//! Invariant: what is charged and what is retained add up to what the provider will bill, line by
//! line, or there is no run.

// Modules in reading order.
mod error; // why there is no number
mod words; // enumerations and their words, said once
pub mod exact; // numbers without rounding
pub mod rounding; // the only rounding and the only sharing of money
pub mod units; // UCUM units and exact conversion
pub mod meter; // samples to quantities
pub mod price; // every price model, one match
pub mod allocation; // who bears a cost line
pub mod statement; // who is billed for it
mod alike; // names that are taken for one another
pub mod catalog; // the price lists: read, checked, looked up
pub mod litellm; // an open price list of models, as a price list of ours
pub mod trial; // prices without a catalog, and without usage
pub mod usage; // ledger rows to usage totals, in SQL
pub mod aggregate; // a meter tried on a file
pub mod unseen; // what a price list matches on and no event has
pub mod run; // usage totals to cost lines, charges and statement lines
pub mod books; // what the journal says of invoices and closed months
pub mod reconcile; // a month's invoices beside what the ledger says
pub mod close; // whether a month can be closed
pub mod correct; // what closed months get wrong, in the open one
pub mod posted; // the lines that stand on a month's statements
pub mod general_ledger; // a month's journal for accountants
pub mod document; // a customer's statement, as data
pub mod focus; // a month as FOCUS has it
pub mod by_day; // the days on which charges used something
mod within; // how much of a SKU lies within some dates
pub mod by_invoice; // a month by its invoices
pub mod limits; // how much of its limits a month has used
pub mod unattributed; // what the operator bears because nobody is bound to it
pub mod what_if; // a month by another catalog
pub mod forecast; // what a running month may come to
pub mod changes; // what another catalog would change in what was billed
pub mod tables; // a run as Parquet files and a manifest
pub mod query; // questions in SQL about a run
pub mod explain; // from a charge back to its events
pub mod evidence; // the events behind the charges of a statement
#[cfg(test)]
mod october; // a month's invoices, compared to the last column

pub use error::{ErrorKind, RatingError};
