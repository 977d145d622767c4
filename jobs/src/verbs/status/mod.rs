//! `atcost status`: the running month on one screen.
//!
//! It rates as `rate` does and writes no run. What is in the way of a close and what limits say is
//! decided in `rating`.
//!
//! Invariant: equal ledgers, books and instants give equal answers.

// Modules in reading order.
mod look; // what is looked at
mod answer; // for programs
mod page; // for people, on one screen
mod gauges; // for Prometheus
mod watch; // again and again

pub use look::{Status, status};
pub use watch::watch;

use anyhow::Context as _;
use std::fs;
use std::path::Path;

/// Writes the gauges for a collector of text files, whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_gauges(status: &Status, path: &Path) -> anyhow::Result<()> {
    let failed = || format!("{}: the metrics cannot be written", path.display());
    let mut hidden = path.file_name().with_context(failed)?.to_owned();
    hidden.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = path.with_file_name(hidden);
    fs::write(&unfinished, gauges::text(status)).with_context(failed)?;
    fs::rename(&unfinished, path).with_context(failed)
}
