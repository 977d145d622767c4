//! A month as FOCUS 1.4 has it: what was posted, as rows of `CostAndUsage`, `InvoiceDetail` and
//! `BillingPeriod`; the files; and a checker of such files.
//!
//! Which lines were posted, and the days on which something was used, is given and deliberately not
//! asked for again. The columns are in `schemas::focus`.
//!
//! Invariants: Σ `BilledCost` of a statement's rows is the statement, to 10⁻¹⁸, whatever they are split
//! by; a row links to its statement by `InvoiceId` and `InvoiceDetailId`; a scope has no foreign row.

// Modules in reading order.
mod unit; // units of UCUM by the names of FOCUS
mod row; // values by the names of columns
mod scope; // whose lines
mod export; // what is exported, and what it is named by
mod class; // what a line is to FOCUS, and whether it has a price
mod parts; // a priced line by subjects, and a cost by sharers
mod daily; // a part by days
mod cost_and_usage; // what was charged, for what
mod invoice_detail; // the lines of statements
mod billing_period; // open or closed
mod datasets; // the rows of each dataset
mod write; // rows as files, and their manifest
mod formats; // the formats of FOCUS
mod read; // files as cells
mod rules; // what must hold within a row, and among the rows of a file
mod check; // files by all rules

pub use check::{Finding, Report, check_file, check_folder};
pub use export::{Days, Export};
pub use row::{Row, Value};
pub use scope::Scope;
pub use unit::focus_unit;
pub use write::{FileEntry, FileFormat, InvoiceEntry, Manifest, write};

#[cfg(test)]
mod tests;
