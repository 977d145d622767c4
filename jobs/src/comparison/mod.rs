//! A month's invoices beside the ledger, for people: what is to be decided, what was, what became of each
//! provider's money; and the same as a page.
//!
//! What differs, who bears it and what it comes to is said by `rating::reconcile` and deliberately not
//! computed again.
//!
//! Invariant: exceptions come first, and each has its next step.

// Modules in reading order.
mod contents; // what there is to show
mod bars; // amounts as bars
mod page; // for a browser and for paper

pub use contents::{Comparison, OfProvider, is_open};
pub use page::page;
