//! Data that is made from the rows of a ledger, and may be deleted at any time.
//!
//! Nothing here is trusted: whoever bills compares it with what the ledger's own records say, and
//! whatever is missing, torn or damaged is made again. It stands on `ledger` and never the reverse.
//!
//! Invariant: deleted and made again, derived data says the same.

// Modules in reading order.
pub mod ids; // which rows repeat an id
pub mod classifier; // a shard's index of ids beside its writer
pub mod totals; // rows folded once, so that a run reads what its period needs
