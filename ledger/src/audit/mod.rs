//! Everything that a ledger says, computed once more from storage.

// Modules in reading order.
pub(crate) mod recount; // what a record must say, computed from stored rows
pub mod verify; // everything recomputed from storage
