//! The end-to-end tests, one binary. `make test` provides the broker and DuckDB that they need.

// In reading order.
mod ledger; // commits, fencing, damage, dangerous settings
mod properties; // what must not matter to a charge
mod month; // the month of tests/cases/month from files: the contract
mod kafka; // the same month through a broker, and what goes wrong there
mod duckdb; // the exports as an analyst reads them
mod edges; // which crate may use what
mod tidy; // banned words, files that nothing reaches
