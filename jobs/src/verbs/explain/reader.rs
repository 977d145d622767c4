//! Whom a charge is explained to: the operator, or a customer, who sees nothing of others.
//!
//! A partner sees its own customers: it bills them.
//!
//! Invariant: no name of another customer, and no subject that was never its own, is shown to a customer;
//! and no line of a statement that is neither its own nor of one that it bills, so no biller but its own.

use anyhow::bail;
use rating::catalog::Catalog;
use rating::run::PostedLine;
use schemas::id::{CustomerId, Subject};
use std::collections::BTreeSet;

/// In place of a name that the reader may not see.
pub(super) const HIDDEN: &str = "another customer";

/// A customer, as an argument names it.
///
/// # Errors
/// A sentence, where it is no name.
pub fn customer(text: &str) -> Result<CustomerId, String> {
    CustomerId::new(text).map_err(|error| error.to_string())
}

/// Whom something is explained to.
pub(super) struct Reader<'c> {
    pub catalog: &'c Catalog,
    /// The reader and those whom it bills; `None` for the operator.
    pub own: Option<BTreeSet<CustomerId>>,
}

impl<'c> Reader<'c> {
    /// # Errors
    /// When the catalog has no such customer.
    pub fn of(customer: Option<&CustomerId>, catalog: &'c Catalog) -> anyhow::Result<Self> {
        let Some(customer) = customer else { return Ok(Self { catalog, own: None }) };
        if !catalog.customers.contains_key(customer) {
            bail!("the catalog of the run has no customer {customer}");
        }
        let billed = catalog.customers.values().filter(|other| other.bills_to.as_ref() == Some(customer));
        let own = billed.map(|customer| customer.id.clone()).chain([customer.clone()]).collect();
        Ok(Self { catalog, own: Some(own) })
    }

    /// Whether nothing is hidden from it.
    pub fn sees_all(&self) -> bool {
        self.own.is_none()
    }

    pub fn may_see(&self, customer: Option<&CustomerId>) -> bool {
        let Some(own) = &self.own else { return true };
        customer.is_some_and(|customer| own.contains(customer))
    }

    /// Whether a statement line is the reader's, or of one that it bills.
    pub fn may_see_line(&self, line: &PostedLine) -> bool {
        self.may_see(line.customer.as_ref())
    }

    /// A customer's name, or what stands in its place.
    pub fn name(&self, customer: Option<&CustomerId>) -> String {
        match customer {
            Some(customer) if self.may_see(Some(customer)) => customer.to_string(),
            Some(_) => HIDDEN.to_owned(),
            None => "nobody".to_owned(),
        }
    }

    /// Whether a subject was ever the reader's.
    pub fn may_see_subject(&self, subject: &Subject) -> bool {
        self.sees_all()
            || self.catalog.bindings.of(subject).iter().any(|binding| self.may_see(Some(&binding.customer)))
    }
}
