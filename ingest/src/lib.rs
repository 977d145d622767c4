//! Turns sources into committed ledger batches: read, decode, commit.
//!
//! It refuses only what can be seen in a record itself and consults no catalog; what no price
//! covers is found at rating. It knows no prices and reads no wall clock: the caller says what time
//! it is.
//!
//! Invariants
//! - Every record that a source hands out becomes exactly one ledger row: usage, rejection or gap.
//! - How far a source has been read is taken from the ledger and from nowhere else. There are no
//!   consumer groups and no second store of offsets, so a crash at any point repeats nothing and
//!   loses nothing.

// Modules in reading order.
mod error; // what stops ingestion
mod near; // names that are nearly ours
pub mod stop; // a clean end, asked for
mod foreign; // a panic of a reader refuses what it read
pub mod schema; // what a writer's schema means, and where schemas are asked for
pub mod source; // Source, Sink, Record, BatchPolicy
pub mod decode; // one record, in whatever encoding, to usage or rejection
pub mod kafka; // a topic as a source
pub mod files; // a folder of files as a source
pub mod invoice; // what providers bill
pub mod metrics; // what a running ingest counts
pub mod pipeline; // the loop: discover, assign, next, decode, commit

pub use error::IngestError;
