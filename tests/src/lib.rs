//! The ground that the end-to-end tests stand on: the real binary, a real Kafka broker, a schema
//! registry, DuckDB, and Chromium.
//!
//! It deliberately shares no code with what it tests: it encodes events with its own few lines of
//! Avro, and reads what was written with another database. Anything that a machine lacks is a
//! failed test that says what to run, never a skipped one, but for a browser that apt does not have.

// Modules in reading order.
pub mod machine; // what the machine provides: folders, free ports, waiting with an end
pub mod encode; // one event in each encoding that is accepted
pub mod wire; // messages that no client library sends
pub mod duckdb; // SQL over what was written
pub mod audit; // an independent recount of a ledger from its files
pub mod registry; // a schema registry that can be down
pub mod broker; // Apache Kafka, one process for all tests or one for a single test
pub mod atcost; // the binary, run in a folder of its own
pub mod month; // the month of tests/cases/month: its events, and what must come out
pub mod browser; // a page as Chromium shows it, on the screen and on paper
pub mod closing; // the same month with its invoices, up to the close

pub use machine::update_expected;
