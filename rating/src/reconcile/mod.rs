//! A month's invoices beside what the ledger says: rows, and what differs in each.
//!
//! Everything here is a function of its arguments: how files become invoices, where decisions are kept
//! and who bears a row is deliberately elsewhere. What the ledger has within the dates of some lines is
//! asked of the caller: [`Comparison::questions`] says what, [`Comparison::rows`] is told.
//!
//! Invariant: every line of a standing invoice that belongs to the month is in exactly one row.

// Modules in reading order.
mod row; // one row of a comparison
mod month; // which invoices stand, and the month of each line
mod quantity; // how much an invoice says was used
mod classes; // what differs, of what is known
mod matching; // which lines stand beside which cost lines
mod figures; // what a row adds up to, and would cost
mod hints; // what may have happened
mod words_of; // the words of names and texts
mod evidence; // why a text may mean something
mod propose; // what texts without a mapping may mean
mod compare; // a month, row by row
mod decisions; // what the operator says of rows
mod tell; // a row in words
mod total; // what an invoice comes to, and its parts
mod pass; // who bears them
mod post; // on whose statements
mod reconciles; // whether that is what invoices come to
mod summary; // what rows come to
mod passed; // what has become of it
#[cfg(test)]
pub(crate) mod world; // a small month for tests

pub use compare::{Comparison, Given, Question};
pub use decisions::{Action, Decision, Selector, apply, decide, decided};
pub use evidence::{Reason, Sure};
pub use month::{months_of, standing_invoices};
pub use passed::{Passed, passed};
pub use post::{grant_of, post};
pub use propose::{LOOKED_AT, MapText, Proposal, Proposals, TextKind, Unmapped, propose};
pub use reconciles::{Reconciled, reconciles_to_invoice};
pub use row::{Class, Hint, LineAt, Row, Status, Verdict};
pub use summary::{OfClass, Summary, summaries};
pub use tell::{Told, tell};
pub use total::total;
