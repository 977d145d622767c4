//! Usage totals and what they leave out: the rows of a ledger, folded once when they have arrived,
//! so that rating a month reads what the month needs and nothing of what came before.
//!
//! A *plain* row is usage that is no correction and whose id the ledger did not have before. Plain
//! rows are folded into *cells*: all that a catalog can ask for (day, meter, provider, subject,
//! dimensions, location), with the number of events and the sum of their values, and once more by
//! month. Behind the cells of days lie their *samples*, the time and the value of each row, for a cell
//! within which something begins or ends. Beside them stand the few rows that cells cannot say: the
//! *repeats*, which never count, and the *suspects*, whose counting depends on other rows:
//! corrections, what they correct, conflicts, and rows of one id in several shards; and the *numbers*
//! that producers gave to their events, as runs without a hole. A run takes the
//! cells and adds or takes away suspects; which of them count is deliberately not decided here but
//! where every rule of counting is, in `rating::usage`.
//!
//! Totals know nothing of prices, bindings or customers, so no catalog changes them.
//!
//! They are kept in *leaves*, one for each block of eight, sixty-four and so on of a shard's versions,
//! up to a few million rows, and in *unions*, which have the month cells of larger blocks; so no row is
//! written more than a few times. The bytes of a leaf are a function of the rows of its block and of
//! those before it; of a ledger with several shards the suspects may stand in another leaf when they
//! are made again in another order.
//!
//! | what | then |
//! |---|---|
//! | a crash | the manifest is what it was; what was made meanwhile is made again |
//! | the folder deleted, a file torn, lost or changed | the digest differs: all is made again |
//! | the ledger restored from an older copy | the manifest names a log entry that this ledger does not have: all is made again |
//!
//! Invariant: of each leaf and meter, the cells, the repeats and the corrections add up to all
//! usage rows, in number and in value; and to what the records of the ledger say, where they say it. Its
//! numbers are those of as many rows as have one.

// Modules in reading order.
mod error;
mod location; // the place of a row, in 64 bits
mod block; // which versions make a segment
mod control; // how many, and how much, by meter and by day
mod rows; // usage rows out of a ledger's files
mod schema; // the columns of what is written
mod part; // a file: written, named, checked
mod names; // the texts of cells, numbered
mod cells; // cells and samples: written, read, merged
mod numbers; // the numbers of producers: runs without a hole
mod segment; // the files of a block: written, merged
mod fold; // rows into cells, samples, repeats and suspects
mod manifest; // which segments there are, and how far they reach
mod cover; // what a cut of the ledger is made of
mod maker; // brought up to the ledger
mod recount; // all of it recomputed from rows

pub use control::{Control, MeterControl, Sum};
pub use cover::{Cover, Reading};
pub use error::TotalsError;
pub use maker::{Caught, LEAF, Progress, catch_up, catch_up_with};
pub use names::{CellKey, KeyNames};
pub use numbers::{NumberRun, Numbered};
pub use recount::{Recounted, recount};
pub use schema::{repeats_schema, suspects_schema};
