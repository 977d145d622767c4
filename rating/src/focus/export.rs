//! What is exported, and what it is named by.
//!
//! Nothing is turned into rows here.
//!
//! Invariant: whatever a catalog does not have any more is called by its id.

use super::scope::Scope;
use crate::catalog::{Catalog, FocusTerms};
use crate::error::RatingError;
use crate::exact::Exact;
use crate::posted::{Numbered, Posted, numbered};
use crate::rounding::MoneyError;
use crate::run::ChargeId;
use crate::statement::Biller;
use jiff::tz::TimeZone;
use schemas::id::CustomerId;
use schemas::time::{BillingMonth, Day, Instant, Period};
use std::collections::BTreeMap;

/// The quantities of charges by days of UTC, each in a unit of its own: only their ratios count.
pub type Days = BTreeMap<ChargeId, BTreeMap<Day, Exact>>;

/// What is exported, and what it is named by.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    pub catalog: &'a Catalog,
    pub terms: &'a FocusTerms,
    pub month: BillingMonth,
    /// When the month was closed; none while it is open.
    pub closed: Option<Instant>,
    /// When this is done, for whatever has no other date.
    pub now: Instant,
    pub scope: &'a Scope,
    /// Where rows are split by days.
    pub days: Option<&'a Days>,
}

impl<'a> Export<'a> {
    /// The posted lines that are in its scope, in their order, as they are numbered on all statements.
    pub fn lines<'p>(&self, posted: &'p [Posted<'p>]) -> Vec<Numbered<'p>> {
        let mut lines = numbered(posted, &self.catalog.operator, self.month);
        self.scope.keep(&mut lines);
        lines
    }

    /// The month, in UTC.
    pub(super) fn period(&self) -> Result<Period, RatingError> {
        let month = self.month;
        month.period_in(&TimeZone::UTC).map_err(|reason| RatingError::Period { month, reason })
    }

    /// The name of who writes a statement.
    pub(super) fn issuer<'n>(&self, line: &'n Posted<'_>) -> &'n str
    where
        'a: 'n,
    {
        match &line.biller {
            Biller::Operator => &self.catalog.name,
            Biller::Partner(partner) => self.customer_name(partner),
        }
    }

    /// A customer's name, or its id where the catalog does not have it any more.
    pub(super) fn customer_name<'n>(&self, id: &'n CustomerId) -> &'n str
    where
        'a: 'n,
    {
        self.catalog.customers.get(id).map_or(id.as_str(), |customer| &customer.name)
    }
}

/// A number of a line that does not fit.
pub(super) fn too_large(line: &Posted<'_>) -> impl Fn(MoneyError) -> RatingError {
    let what = line.sku.as_ref().map_or_else(|| line.category.to_string(), ToString::to_string);
    let whose = format!("{} {what}", line.provider);
    move |error| RatingError::Billed(format!("{whose}: {error}"))
}
