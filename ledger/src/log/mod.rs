//! A Delta table with one writer and a log that is proved: the one commit point, and open =
//! recover.

// Modules in reading order.
pub mod state; // what a log says, and what may follow
mod tail; // where a log ends
pub(crate) mod entry; // log entries, read and judged
pub(crate) mod missing; // what is not there: never made, or lost
mod creation; // entry 0, and how a table must be set
mod checkpoint; // Delta's checkpoints, for other readers
pub mod table; // put-if-absent, and replay
