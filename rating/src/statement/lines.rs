//! Lines of statements: whose they are, and of what.
//!
//! How they come about is deliberately not known here.
//!
//! Invariant: whatever is converted or granted, a line keeps what it is in its item's currency.

use crate::allocation::{Kind, RetainedReason};
use schemas::decimal::Amount;
use schemas::id::{BillingAccountId, CustomerId, ProviderId, SkuId};
use schemas::money::Money;
use schemas::name::{NameError, check_name};
use std::fmt;

/// Who writes the statement that a line is on. The operator comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Biller {
    Operator,
    Partner(CustomerId),
}

impl Biller {
    /// The biller's id; the operator has one of its own.
    pub fn as_str<'a>(&'a self, operator: &'a str) -> &'a str {
        match self {
            Self::Operator => operator,
            Self::Partner(partner) => partner.as_str(),
        }
    }
}

/// Whether a statement line is a share of its item or a part of it that another pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineKind {
    Charge,
    Grant,
    Retained(RetainedReason),
}

impl LineKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Charge => Kind::Charge.as_str(),
            Self::Grant => "grant",
            Self::Retained(reason) => Kind::Retained(reason).as_str(),
        }
    }

    pub fn retained_reason(self) -> Option<RetainedReason> {
        match self {
            Self::Charge | Self::Grant => None,
            Self::Retained(reason) => Some(reason),
        }
    }

    /// The kind of the share that it is; `None` of a part of a grant.
    pub fn of_share(self) -> Option<Kind> {
        match self {
            Self::Charge => Some(Kind::Charge),
            Self::Retained(reason) => Some(Kind::Retained(reason)),
            Self::Grant => None,
        }
    }

    /// Whether somebody is billed for it, so that it is in a customer's currency.
    pub fn is_billed(self) -> bool {
        match self {
            Self::Charge | Self::Grant => true,
            Self::Retained(_) => false,
        }
    }
}

impl From<Kind> for LineKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Charge => Self::Charge,
            Kind::Retained(reason) => Self::Retained(reason),
        }
    }
}

/// An item that statement lines share: what a cost line settles at, or a part of an invoice. Its place
/// among all of them is its name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled<'a> {
    pub provider: &'a ProviderId,
    pub account: &'a BillingAccountId,
    /// The customer, where the provider bills each customer's account (`direct`); else what an invoice
    /// says, or nothing.
    pub sub_account: Option<&'a str>,
    /// `None` of a line of an invoice that belongs to no SKU.
    pub sku: Option<&'a SkuId>,
    pub money: Money,
}

/// One line of a statement, of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The place of the item, which orders the lines.
    pub item: usize,
    pub biller: Biller,
    pub customer: Option<CustomerId>,
    pub kind: LineKind,
    /// The grant that the line is a part of, on either side.
    pub grant: Option<GrantId>,
    /// In the item's currency.
    pub money: Money,
    /// In the customer's; `None` where the line is retained, and until `fx` has converted it.
    pub billed: Option<Billed>,
}

/// The name of a grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(Box<str>);

impl GrantId {
    /// # Errors
    /// The first rule of [`schemas::name`] that `text` breaks.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, NameError> {
        let text = text.into();
        check_name(&text)?;
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// What a line is billed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Billed {
    pub money: Money,
    /// `None` where nothing was converted.
    pub rate: Option<Amount>,
}
