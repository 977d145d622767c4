//! The facts: what arrived, in an append-only table, and the one way anything gets into it.
//!
//! The ledger consults no catalog, knows no prices and never edits a row. What a row means for a
//! bill is decided by `rating`, again and again, from the same rows.
//!
//! Invariants
//! - A record's row and the position that says it was read are one Delta commit
//!   ([`Ledger::commit`]).
//! - `received = usage + rejected` (+ gaps for records that were lost before they could be read),
//!   checked for every batch.
//! - Opening is recovering: [`Ledger::open`] is the only way in, after a crash and on any other
//!   day.
//!
//! | store | trusted? | may be lost? |
//! |---|---|---|
//! | `shards/0`, a Delta table | for completeness, yes; for content, files are checked against the digest in the log | no |
//! | `journal`, a Delta table | as above | no |
//! | Parquet files no commit names | never read | yes |

// Modules in reading order.
pub mod lanes; // SHA-256 of many messages at once
pub mod row; // the columns of a row, its canonical bytes, and how rows are built and read back
pub mod merkle; // RFC 6962 trees
pub mod seal; // rows -> leaves -> roots
pub mod proof; // all rows of a subject in a batch, and that there are no others
pub mod record; // what one commit says, and the log entry that follows from it
pub mod store; // a local disk whose answers can be believed
mod table; // the one commit point, and open = recover
mod classify; // a shard's index of ids, beside its writer
pub mod shard; // Ledger: shards, their rows and positions
pub mod journal; // what the operator decided: catalog versions
pub mod recount; // what a record must say, computed from stored rows
pub mod compact; // many small files into few
pub mod verify; // everything recomputed from storage
pub mod head; // signed heads and tiles
pub mod signer; // what may be signed, and what must not
pub mod read; // pinned, digest-checked files for readers
pub mod index; // derived: which rows repeat an id, known at ingest
pub mod watch; // what can be seen of a shard while it is written
mod error;

pub use error::{ErrorKind, LedgerError};
pub use shard::{Committed, Ledger, Repeats};
