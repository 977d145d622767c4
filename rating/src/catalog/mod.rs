//! The catalog: what is measured, who provides it at which price, who is billed, and who used what
//! when.
//!
//! People keep it as a folder of TOML and CSV in git. [`Catalog::load`] reads the folder's texts
//! and refuses what would bill twice or never, naming every file and line at once. It deliberately
//! does not guess: there is no default currency, time zone, rounding or price, and a key it does
//! not know is an error.
//!
//! Invariant: a `Catalog` that exists has passed every check. Of the SKUs of a provider and meter
//! at most one takes an event, a SKU has at most one price at an instant, and a subject at most one
//! customer.

// Modules in reading order.
mod bindings; // subject → customer, dated
mod invoicing; // what a provider's invoices mean
mod focus; // services and units, as FOCUS calls them
mod general_ledger; // accounts
mod limits; // what a month may come to
mod contents; // meters, providers, SKUs, prices, customers: looked up
mod problem; // file, line, what is wrong, what to do
mod spans; // stretches of the past
mod past_terms; // what else was published before now cannot change
mod past; // what was published before now cannot change
mod read; // the folder's texts, read and checked

pub use bindings::{Binding, Bindings};
pub use contents::{
    Catalog, Counts, Customer, CustomerKind, DatedPrice, Example, Kinds, Life, Meter, Metered, Of, Provider,
    Sku,
};
pub use focus::{FocusTerms, NoServiceKind, ServiceKind};
pub use general_ledger::{Account, GeneralLedger, Placeholder};
pub use invoicing::{InvoiceMap, InvoiceUnit, Invoicing, Meaning, PassRule};
pub use limits::Limit;
pub use past::{ComparedPast, compare_past};
pub(crate) use problem::Findings;
pub use problem::{Counted, Problem, Warning};
pub use read::{CatalogFiles, CatalogFilesError, MeterSheet, PriceSheet, TableKeys, keys};
pub use spans::Spans;
