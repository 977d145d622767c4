//! The facts: what arrived, in an append-only table, and the one way anything gets into it.
//!
//! The ledger consults no catalog, knows no prices and never edits a row. The meaning of a row for
//! a bill is decided by `rating`, again and again, from the same rows.
//!
//! Invariants
//! - A record's row and the position that says it was read are one Delta commit
//!   ([`ShardWriter::commit`]).
//! - `received = usage + rejected` (+ gaps for records that were lost before they could be read),
//!   checked for every batch.
//! - Opening is recovering: [`ShardWriter::open`] is the only way in, after a crash and on any other
//!   day.
//!
//! | store | trusted? | may be lost? |
//! |---|---|---|
//! | `shards/K`, Delta tables | completeness, yes; content, after its digest in the log | no |
//! | `journal`, a Delta table | as above | no |
//! | Parquet files no commit names | never read | yes |

// Modules in reading order.
mod error;
pub mod store; // the one door to storage
pub mod places; // the path of everything
pub mod files; // files that a log names, after their digest was compared
pub mod secret; // a key as it is kept
pub mod row; // columns, how rows are built, stored and read back
pub mod log; // the one commit point, and open = recover
pub mod division; // how a ledger is made and divided into shards
pub mod repeats; // which rows repeat an id, as somebody above knows it
pub mod writer; // the writer of one shard
pub mod truncation; // a stream taken back to where its source has other records
pub mod journal; // what the operator decided: catalogs, invoices, decisions about them, closes
pub mod documents; // what entries of the journal name by its digest
pub mod pinned; // pinned, digest-checked files for readers
mod published; // signed heads and tiles, as anybody finds them
pub mod audit; // everything recomputed from storage
pub mod sign; // what may be signed, and with which key
pub mod compact; // many small files into few
pub mod watch; // what can be seen of a shard while it is written

pub use division::{create_ledger, is_ledger};
pub use error::{ErrorKind, LedgerError};
pub use repeats::Repeats;
pub use store::Location;
pub use writer::{Committed, ShardWriter};
