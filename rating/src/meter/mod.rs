//! Meters: what was measured becomes the quantity that a price list prices.
//!
//! The samples of a series, in the order of time, become contributions: amounts, increases of a
//! counter, pieces of a level. Contributions are gathered, as few numbers for each window and for
//! each place (a customer, a subject, a resource), and what was gathered becomes quantities: of a
//! whole line, of one customer, and of each (customer, subject) by itself.
//!
//! Events, providers, price lists and currencies are deliberately not known here: the caller says
//! which samples make a series, where time is cut, and whose each stretch of time is. Nothing is
//! rounded here; an increment is a function of the caller.
//!
//! Invariant: the order in which contributions are gathered changes no number.

// Modules in reading order.
mod rules; // how a meter counts
mod windows; // how a day is cut
mod series; // samples to contributions
mod sum; // sums that never wrap
mod cell; // what is kept of a window
mod aggregate; // contributions to quantities

pub use aggregate::{Explained, Figure, Gathered, Measured, Own, Place, Run, Scale, Scope, Whose};
pub use rules::{
    Aggregation, AtWord, Carry, Empty, GreaterOf, Kind, LengthError, OfAmounts, OfIncreases, Over, OverWord,
    Per, Percentile, Rules, RulesError, Values, WindowLength, Windowing,
};
pub use series::{
    Contribution, Counted, Found, Labels, LedgerOrder, Note, NoteKind, Sample, SeriesKey, SeriesReader,
};
pub use windows::Windows;
