//! One row of a month's comparison: what the ledger says, what the invoice says, and what differs.
//!
//! How rows come about, what they mean and who bears them is deliberately elsewhere.
//!
//! Invariant: every line of a standing invoice that belongs to the month is in exactly one row.

use crate::exact::Exact;
use crate::words::{named, words};
use schemas::decimal::Amount;
use schemas::id::{InvoiceId, ProviderId, SkuId};
use schemas::money::{Currency, Money};
use schemas::time::{BillingMonth, Instant};
use std::collections::BTreeSet;

/// One row of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub provider: ProviderId,
    /// The month of the comparison.
    pub period: BillingMonth,
    pub sku: Option<SkuId>,
    /// The customer's id where the row has a SKU, else what the invoice says.
    pub sub_account: Option<Box<str>>,
    pub invoice_text: Option<Box<str>>,
    pub start: Instant,
    pub end: Instant,
    pub currency: Currency,
    pub invoices: BTreeSet<InvoiceId>,
    /// In the order of invoices and lines.
    pub lines: Vec<LineAt>,
    /// Places in the run's cost lines.
    pub cost_lines: Vec<usize>,
    pub ledger_quantity: Option<Exact>,
    pub invoice_quantity: Option<Exact>,
    pub ledger_amount: Option<Amount>,
    pub ledger_settled: Option<Money>,
    pub invoice_amount: Option<Amount>,
    /// What the version before had here.
    pub before: Option<Amount>,
    pub variance: Option<Exact>,
    pub quantity_variance: Option<Exact>,
    pub price_variance: Option<Exact>,
    pub tolerance: Exact,
    pub verdict: Verdict,
    /// None of a match that is no `rounding`.
    pub class: Option<Class>,
    /// None of a match and of what a policy covers.
    pub status: Option<Status>,
    pub hint: Option<Hint>,
}

/// A line of an invoice, by the places of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineAt {
    /// In the list of all invoices.
    pub invoice: usize,
    /// In the invoice's lines, from 0.
    pub line: usize,
}

words! {
    pub enum Verdict {
        Match = "match",
        Policy = "policy",
        Variance = "variance",
    }
}

words! {
    /// What differs.
    pub enum Class {
        Duplicate = "duplicate",
        Tax = "tax",
        Credit = "credit",
        Fee = "fee",
        Adjustment = "adjustment",
        Unmapped = "unmapped",
        Currency = "currency",
        Rounding = "rounding",
        Restated = "restated",
        Timing = "timing",
        MissingInLedger = "missing_in_ledger",
        /// The provider's invoice is not here, or not all of it.
        Awaited = "awaited",
        MissingOnInvoice = "missing_on_invoice",
        Amount = "amount",
        Price = "price",
        Quantity = "quantity",
        QuantityAndPrice = "quantity_and_price",
    }
}

words! {
    pub enum Status {
        Open = "open",
        Accepted = "accepted",
        Disputed = "disputed",
        Awaited = "awaited",
    }
}

named! {
    /// What may have happened.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Hint named by HintName {
        /// The quantities differ by exactly a ratio of units.
        Factor(Exact) = "factor",
        /// An unmapped text costs what this SKU is missing.
        Map(SkuId) = "map",
        /// A line and the one that it repeats.
        Repeats(u32, u32) = "repeats",
    }
}
