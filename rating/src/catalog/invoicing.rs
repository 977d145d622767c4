//! What a catalog says of a provider's invoices: how a file is read, what its texts mean, and who
//! bears what belongs to no SKU.
//!
//! Nothing is compared here.
//!
//! Invariant: of one kind and text, at most one entry is in force at an instant.

use crate::exact::Exact;
use crate::units::Unit;
use crate::words::words;
use schemas::id::{CustomerId, SkuId};
use schemas::invoice::LineCategory;
use schemas::invoice_mapping::Mapping;
use schemas::time::Instant;
use std::collections::BTreeMap;

/// A provider's `invoice.toml` and `invoice_map.csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoicing {
    pub mapping: Mapping,
    /// By the unit as a file writes it; those of the format among them.
    pub units: BTreeMap<Box<str>, InvoiceUnit>,
    /// What is not declared is a variance.
    pub pass: BTreeMap<LineCategory, PassRule>,
    /// For each row of a comparison, in the currency; none where it follows the number of lines.
    pub tolerance: Option<Exact>,
    pub map: InvoiceMap,
}

/// A unit of a file, exactly: so many of a UCUM unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceUnit {
    pub factor: Exact,
    pub unit: Unit,
}

words! {
    /// Who bears lines that belong to no SKU.
    pub enum PassRule {
        /// Whoever has costs of the provider in the month, by these.
        ByCost = "by_cost",
        /// Every customer bound in the month, equally, as the allocation rule of that name.
        Even = "even",
        /// The operator, costs only.
        Retain = "retain",
    }
}

/// What the texts of invoices mean, and from when until when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvoiceMap {
    skus: BTreeMap<Box<str>, Vec<Meaning<SkuId>>>,
    accounts: BTreeMap<Box<str>, Vec<Meaning<CustomerId>>>,
}

/// What a text means in `[from, until)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning<T> {
    pub from: Instant,
    pub until: Option<Instant>,
    pub id: T,
}

impl InvoiceMap {
    /// Of entries that do not overlap.
    pub fn new(
        skus: BTreeMap<Box<str>, Vec<Meaning<SkuId>>>,
        accounts: BTreeMap<Box<str>, Vec<Meaning<CustomerId>>>,
    ) -> Self {
        Self { skus, accounts }
    }

    /// What an entry says of an invoice's text at an instant. An id needs no entry, and is not looked for.
    pub fn sku(&self, text: &str, at: Instant) -> Option<&SkuId> {
        in_force(self.skus.get(text)?, at)
    }

    /// All that entries say of a SKU's text, by their beginnings.
    pub fn meanings_of_sku(&self, text: &str) -> &[Meaning<SkuId>] {
        self.skus.get(text).map_or(&[], Vec::as_slice)
    }

    /// All that entries say of a sub account's text, likewise.
    pub fn meanings_of_account(&self, text: &str) -> &[Meaning<CustomerId>] {
        self.accounts.get(text).map_or(&[], Vec::as_slice)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.skus.is_empty() && self.accounts.is_empty()
    }

    /// The customer of an invoice's sub account at an instant.
    pub fn account(&self, text: &str, at: Instant) -> Option<&CustomerId> {
        in_force(self.accounts.get(text)?, at)
    }
}

fn in_force<T>(meanings: &[Meaning<T>], at: Instant) -> Option<&T> {
    let holds = |meaning: &&Meaning<T>| meaning.from <= at && meaning.until.is_none_or(|until| at < until);
    meanings.iter().find(holds).map(|meaning| &meaning.id)
}
