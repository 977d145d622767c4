//! A month's invoices beside what the ledger says: rows, and what differs in each.
//!
//! Who decides, and where that is kept, is deliberately elsewhere.
//!
//! Invariant: every line of a standing invoice that belongs to the month is in exactly one row.

// Modules in reading order.
mod row; // one row of a comparison

pub use row::{Class, Hint, LineAt, Row, Status, Verdict};
