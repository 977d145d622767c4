//! The verbs of `atcost`, each a function, and what they share: configuration, the clock, and how
//! things are shown.
//!
//! Only this crate reads the clock, the environment and the configuration. It holds no rule about
//! money or proofs.

// Modules in reading order.
pub mod config; // atcost.toml: every setting, read once
pub mod clock; // the only clock
pub mod show; // tables for people, JSON for programs, escaped either way; signs of life
pub mod statement; // a customer's statement, as text and as a page
pub mod comparison; // a month's invoices beside the ledger, and as a page
pub mod log; // log lines with stable event names, and how many alarms there were
pub mod last_run; // the last month that was rated
pub mod serve; // the endpoint for Prometheus
pub mod verbs; // init, ingest, catalog, rate, explain, doctor
pub mod demo; // a made-up month, end to end
