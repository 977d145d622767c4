//! `atcost status`: the running month on one screen.
//!
//! It rates as `rate` does and writes no run. What is in the way of a close and what limits say is
//! decided in `rating`.
//!
//! Invariant: equal ledgers, books and instants give equal answers.

// Modules in reading order.
mod look; // what is looked at
mod page; // for people, on one screen
mod answer; // for programs
mod gauges; // for Prometheus
mod watch; // again and again

pub use gauges::write_gauges;
pub use look::{Status, status};
pub use watch::watch;
