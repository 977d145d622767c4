//! How results are shown: to people as tables, to programs as JSON, and nothing in either that could
//! steer a terminal.
//!
//! It knows no verb and no table of ours.

// Modules in reading order.
mod table; // for people
mod json; // for programs
mod progress; // that something is still going on

pub use json::{json_document, printable_json};
pub use progress::Busy;
pub use table::{Align, plural, printable, printable_lines, table};

/// What a verb prints its result as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document, for programs.
    Json,
}

/// How a command ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// Something does not agree; exit status 1.
    Discrepancy,
}
