//! The lines that are posted in a month: what stands on its statements, corrections of earlier months
//! among them.
//!
//! How a line came about is deliberately not known here, and nothing is added up.
//!
//! Invariant: lines are in the order of their keys, and a line's number on its statement follows from
//! the lines alone.

pub use crate::run::Entry;
use crate::run::{Charge, CostLine, CostLineId, PostedLine, StatementLineId};
use crate::statement::{Billed, Biller, LineKind, Partners};
use schemas::id::{BillingAccountId, CustomerId, InvoiceId, ProviderId, SkuId};
use schemas::invoice::LineCategory;
use schemas::money::{Currency, Money};
use schemas::time::{BillingMonth, Instant};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// One posted line of a statement.
#[derive(Debug, Clone)]
pub struct Posted<'r> {
    pub id: StatementLineId,
    pub biller: Biller,
    /// The provider's invoice; none of an estimate.
    pub invoice: Option<InvoiceId>,
    pub provider: ProviderId,
    pub billing_account: BillingAccountId,
    pub sub_account: Option<Box<str>>,
    pub sku: Option<SkuId>,
    /// The charge period, `[start, end)`; of a correction that of the line that it corrects.
    pub start: Instant,
    pub end: Instant,
    pub category: LineCategory,
    /// Of a row of its own; else the SKU's name says it.
    pub description: Option<Box<str>>,
    pub customer: Option<CustomerId>,
    pub kind: PostedKind,
    /// In the currency of the provider's line.
    pub amount: Money,
    /// What the customer is billed, where that may be in another currency.
    pub billed: Option<Billed>,
    pub correction: Option<Correction>,
    /// As [`PostedLine::price_from`].
    pub price_from: Option<Instant>,
    /// What the line is a part of, where it was rated.
    pub cost_line: Option<&'r CostLine>,
}

/// Who bears a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PostedKind {
    Charge,
    Grant,
    /// The biller, and why.
    Retained(Box<str>),
}

/// What a correction corrects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    pub entry: Entry,
    /// The last line of the key that it corrects; none where there was none.
    pub corrects: Option<StatementLineId>,
    /// The closed month that it corrects.
    pub month: BillingMonth,
}

/// The lines that a month posts, each with the cost line that it is a part of.
pub fn posted<'r>(lines: &[PostedLine], cost_lines: &'r [CostLine]) -> Vec<Posted<'r>> {
    let by_id: BTreeMap<CostLineId, &CostLine> = cost_lines.iter().map(|line| (line.id, line)).collect();
    lines
        .iter()
        .map(|line| Posted {
            id: line.id,
            biller: line.biller.clone(),
            invoice: line.of.invoice.clone(),
            provider: line.of.provider.clone(),
            billing_account: line.of.billing_account.clone(),
            sub_account: line.of.sub_account.clone(),
            sku: line.of.sku.clone(),
            start: line.of.start,
            end: line.of.end,
            category: line.of.category,
            description: line.of.description.clone(),
            customer: line.customer.clone(),
            kind: match line.kind {
                LineKind::Charge => PostedKind::Charge,
                LineKind::Grant => PostedKind::Grant,
                LineKind::Retained(reason) => PostedKind::Retained(reason.as_str().into()),
            },
            amount: line.money,
            billed: line.billed.clone(),
            correction: line.correction.map(|correction| Correction {
                entry: correction.entry,
                corrects: correction.corrects,
                month: line.month,
            }),
            price_from: line.price_from,
            cost_line: line.cost_line.and_then(|id| by_id.get(&id).copied()),
        })
        .collect()
}

impl PostedKind {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Grant => "grant",
            Self::Retained(_) => "retained",
        }
    }

    pub fn retained_reason(&self) -> Option<&str> {
        match self {
            Self::Charge | Self::Grant => None,
            Self::Retained(reason) => Some(reason),
        }
    }
}

impl Posted<'_> {
    /// What the line comes to on its statement.
    pub fn bill(&self) -> Money {
        self.billed.as_ref().map_or(self.amount, |billed| billed.money)
    }

    /// Whose statement it is on: the customer's, and the biller's own where it bears the line.
    pub fn account<'a>(&'a self, operator: &'a str) -> &'a str {
        match (&self.kind, &self.customer) {
            (PostedKind::Charge | PostedKind::Grant, Some(customer)) => customer.as_str(),
            (PostedKind::Retained(_), _) | (_, None) => self.biller.as_str(operator),
        }
    }

    /// Whether it is on a statement of the customer.
    pub fn is_billed_to(&self, customer: &CustomerId) -> bool {
        self.kind.retained_reason().is_none() && self.customer.as_ref() == Some(customer)
    }

    /// Whether the provider's invoice is still to come.
    pub fn is_estimate(&self) -> bool {
        self.invoice.is_none() && self.correction.is_none()
    }

    /// Whether a charge is in the line: its bearer's own, or of one whom the bearer, a partner, bills.
    pub fn has(&self, charge: &Charge, partners: &Partners) -> bool {
        let customer = charge.customer.as_ref();
        let partner = customer.and_then(|customer| partners.of(customer));
        match &self.biller {
            Biller::Operator => self.customer.as_ref() == partner.or(customer),
            Biller::Partner(biller) => {
                let is_billed = partner == Some(biller) || (partner.is_none() && customer == Some(biller));
                is_billed && self.customer.as_ref() == customer
            }
        }
    }

    fn cmp_key(&self, other: &Self) -> Ordering {
        self.line().cmp(&other.line()).then_with(|| self.bearer().cmp(&other.bearer()))
    }

    fn line(&self) -> impl Ord + '_ {
        let what = (&self.provider, &self.billing_account, &self.sub_account, &self.sku);
        let said = (self.amount.currency, self.category.as_str(), &self.description);
        (&self.invoice, what, self.start, self.end, said)
    }

    fn bearer(&self) -> impl Ord + '_ {
        let entry = self.correction.as_ref().map(|correction| correction.entry.as_str());
        let kind = (self.kind.as_str(), self.kind.retained_reason());
        (&self.customer, kind, entry, self.amount.minor_units, &self.biller, self.id.to_string())
    }
}

/// The name of a statement: `OPERATOR-PERIOD-CUSTOMER-CURRENCY`; in place of the operator stands the
/// partner who writes it.
pub fn statement_id(biller: &str, month: BillingMonth, account: &str, currency: Currency) -> String {
    format!("{biller}-{month}-{account}-{currency}")
}

/// A line with its place on a statement.
#[derive(Debug, Clone)]
pub struct Numbered<'p> {
    pub line: &'p Posted<'p>,
    /// [`statement_id`].
    pub statement: Box<str>,
    /// From 1.
    pub number: u32,
}

/// All lines of a month in their order, each numbered on its statement.
///
/// # Panics
/// Beyond 2³² lines.
pub fn numbered<'p>(lines: &'p [Posted<'p>], operator: &str, month: BillingMonth) -> Vec<Numbered<'p>> {
    let mut sorted: Vec<&Posted<'_>> = lines.iter().collect();
    sorted.sort_by(|a, b| a.cmp_key(b));
    let mut last: BTreeMap<Box<str>, u32> = BTreeMap::new();
    let number = |line: &'p Posted<'p>| {
        let (biller, account) = (line.biller.as_str(operator), line.account(operator));
        let statement: Box<str> = statement_id(biller, month, account, line.bill().currency).into();
        let number = last.entry(statement.clone()).or_insert(0);
        *number = number.checked_add(1).expect("fewer than 2^32 lines");
        Numbered { line, statement, number: *number }
    };
    sorted.into_iter().map(number).collect()
}

#[cfg(test)]
pub(crate) mod case;
