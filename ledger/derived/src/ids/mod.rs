//! The index of ids: which rows repeat an id, known when they are committed.

// Modules in reading order.
mod error;
mod entries; // ids and contents, hashed
mod files; // files that appear whole
mod manifest; // which files make up the index, and up to where it is complete
mod mem_table; // young ids in memory
mod page; // pages with checksums
mod run; // sorted files of ids
mod index; // all of it, asked and extended

pub use entries::{Entries, IdKey, KeyHasher};
pub use error::IndexError;
pub use index::{Class, Classified, Index, Limits, Size};
pub use manifest::{LogPosition, Totals};
