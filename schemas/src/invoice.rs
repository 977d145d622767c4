//! Invoices of providers: what a file says, line by line, in one shape whatever the file's.
//!
//! What a line is compared with, and who bears it, is deliberately not known here.
//!
//! Invariant: a line has an amount and a currency; whatever else a file did not say is `None`.

use crate::decimal::Amount;
use crate::id::{InvoiceId, ProviderId};
use crate::money::Currency;
use crate::time::{BillingMonth, Instant};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a line of an invoice is for (FOCUS `ChargeCategory`, less `Purchase`, and with fees apart).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineCategory {
    Usage,
    Tax,
    Credit,
    Fee,
    Adjustment,
}

impl LineCategory {
    pub const ALL: [Self; 5] = [Self::Usage, Self::Tax, Self::Credit, Self::Fee, Self::Adjustment];

    /// The word, as tables and mappings have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Tax => "tax",
            Self::Credit => "credit",
            Self::Fee => "fee",
            Self::Adjustment => "adjustment",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str() == word)
    }
}

impl fmt::Display for LineCategory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// One line of an invoice. Texts recur on many lines, and are shared between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceLine {
    /// From 1, in the order of the file.
    pub line: u32,
    pub line_id: Option<Arc<str>>,
    pub billing_account: Option<Arc<str>>,
    /// As the invoice names it.
    pub sub_account: Option<Arc<str>>,
    /// What the invoice calls the thing that it is for.
    pub sku_text: Option<Arc<str>>,
    pub description: Option<Arc<str>>,
    pub category: LineCategory,
    /// `start` ≤ `end`.
    pub start: Instant,
    pub end: Instant,
    /// In `unit`.
    pub quantity: Option<Amount>,
    /// As the invoice writes it.
    pub unit: Option<Arc<str>>,
    pub unit_price: Option<Amount>,
    pub amount: Amount,
    pub currency: Currency,
    /// The first line of the same invoice whose record is byte for byte the same.
    pub repeats: Option<u32>,
}

/// How much an invoice says of its month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// All of it.
    Complete,
    /// A part; its total does not count.
    Partial,
    /// A part, without an id of its own. It gives way to a complete invoice of the month.
    Preliminary,
}

/// One version of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    pub provider: ProviderId,
    pub id: InvoiceId,
    /// From 1; only the last stands.
    pub version: u32,
    pub period: BillingMonth,
    pub standing: Standing,
    /// The totals that the file states, by currency.
    pub totals: BTreeMap<Currency, Amount>,
    pub lines: Vec<InvoiceLine>,
}
