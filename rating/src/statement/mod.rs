//! Statements: what a cost line settles at or a part of an invoice comes to, shared among those who are billed for it, what grants
//! pay of it, and what it comes to in a customer's own currency.
//!
//! Which cost lines there are, and what a catalog says, is deliberately not known here.
//!
//! Invariant: of every item, every account, every biller and every currency, the lines add up to
//! what settles: sharing, granting and converting make no money and lose none.

// Modules in reading order.
mod lines; // whose they are, and of what
mod billing; // who bills whom
mod grants; // who pays for another
mod fx; // in a customer's currency
mod conserved; // what goes in comes out

pub use billing::{Bearer, Partners, statement};
pub use conserved::{Broken, check};
pub use fx::{FxError, Missing, Pair, Rate, RateError, Rates, convert};
pub use grants::{Grant, Open, Skus, apply};
pub use lines::{Billed, Biller, GrantId, Line, LineKind, Settled};
