//! Lines of statements as they are posted: what they are of, whose they are, and what they say.
//!
//! Who bears what is decided elsewhere. Until invoices are compared, what is posted of a run is what
//! its cost lines settle at.
//!
//! Invariant: of lines with equal keys only the ids, amounts and rates differ, so that they can be
//! added up and taken back.

use super::ids::{CostLineId, ItemId, StatementLineId, digest_of};
use super::line::{CostLine, StatementLine};
use crate::allocation::RetainedReason;
use crate::statement::{Billed, Biller, GrantId, Line, LineKind};
use crate::words::words;
use schemas::id::{BillingAccountId, CustomerId, InvoiceId, ProviderId, SkuId};
use schemas::invoice::LineCategory;
use schemas::money::{Currency, Money};
use schemas::time::{BillingMonth, Instant};
use std::sync::Arc;

/// A line of a statement, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedLine {
    pub id: StatementLineId,
    /// The month that it is a line of; of a correction the month that is corrected.
    pub month: BillingMonth,
    /// `None` of an invoice's line that no cost line is of.
    pub cost_line: Option<CostLineId>,
    /// When the price of the cost line begins; `None` also where the cost line is below zero, which is no
    /// price to show. Kept because a correction may stand where the cost line is not known any more.
    pub price_from: Option<Instant>,
    pub of: Arc<Posting>,
    pub biller: Biller,
    pub customer: Option<CustomerId>,
    pub kind: LineKind,
    /// The grant that it is a part of, on either side.
    pub grant: Option<GrantId>,
    pub money: Money,
    /// What the customer is billed; `None` where the line is retained.
    pub billed: Option<Billed>,
    /// `None` of a line of the month's own.
    pub correction: Option<Correction>,
}

/// What lines of statements are of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    pub provider: ProviderId,
    pub billing_account: BillingAccountId,
    /// The customer's id where there is a SKU, else what the invoice says.
    pub sub_account: Option<Box<str>>,
    pub sku: Option<SkuId>,
    pub start: Instant,
    /// Exclusive.
    pub end: Instant,
    /// `None` of an estimate.
    pub invoice: Option<InvoiceId>,
    pub category: LineCategory,
    /// What the invoice says, of a line that belongs to no SKU.
    pub description: Option<Box<str>>,
}

/// All that a statement line says beside its ids, its amounts and its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineKey<'l> {
    pub of: &'l Posting,
    pub currency: Currency,
    pub customer: Option<&'l CustomerId>,
    pub kind: LineKind,
    pub biller: &'l Biller,
    pub grant: Option<&'l GrantId>,
    pub billed_currency: Option<Currency>,
}

/// What a correction takes back or enters anew, and the line that it corrects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    pub entry: Entry,
    /// The last line posted under the key; `None` where there was none.
    pub corrects: Option<StatementLineId>,
}

words! {
    /// The side of a correction.
    pub enum Entry {
        Reversal = "reversal",
        ReEntry = "re-entry",
    }
}

impl PostedLine {
    pub fn key(&self) -> LineKey<'_> {
        LineKey {
            of: &self.of,
            currency: self.money.currency,
            customer: self.customer.as_ref(),
            kind: self.kind,
            biller: &self.biller,
            grant: self.grant.as_ref(),
            billed_currency: self.billed.as_ref().map(|billed| billed.money.currency),
        }
    }

    pub fn retained_reason(&self) -> Option<RetainedReason> {
        self.kind.retained_reason()
    }

    /// The line of an item. `item` is what its id follows from.
    pub(crate) fn new(
        item: &ItemId,
        month: BillingMonth,
        cost_line: Option<&CostLine>,
        of: Arc<Posting>,
        line: Line,
    ) -> Self {
        let id = item.line(&line);
        let price_from = cost_line.and_then(CostLine::shown_price);
        let cost_line = cost_line.map(|line| line.id);
        let Line { biller, customer, kind, grant, money, billed, .. } = line;
        let correction = None;
        Self {
            id,
            month,
            cost_line,
            price_from,
            of,
            biller,
            customer,
            kind,
            grant,
            money,
            billed,
            correction,
        }
    }

    /// A line that corrects what was posted of a month under a key, in the month that is `open`. There is
    /// at most one of a key and entry.
    pub(crate) fn correcting(
        open: BillingMonth,
        like: &PostedLine,
        (money, billed): (Money, Option<Billed>),
        correction: Correction,
    ) -> Self {
        let key = like.key();
        let of = key.of;
        let id = StatementLineId::of(digest_of(&[
            "correction",
            &open.to_string(),
            &like.month.to_string(),
            correction.entry.as_str(),
            of.provider.as_str(),
            of.billing_account.as_str(),
            &told(of.sub_account.as_deref()),
            &told(of.sku.as_ref().map(SkuId::as_str)),
            &of.start.to_string(),
            &of.end.to_string(),
            &told(of.invoice.as_ref().map(InvoiceId::as_str)),
            of.category.as_str(),
            &told(of.description.as_deref()),
            key.currency.code(),
            &told(key.customer.map(CustomerId::as_str)),
            key.kind.as_str(),
            &told(key.kind.retained_reason().map(RetainedReason::as_str)),
            &told(match key.biller {
                Biller::Operator => None,
                Biller::Partner(partner) => Some(partner.as_str()),
            }),
            &told(key.grant.map(GrantId::as_str)),
            &told(key.billed_currency.map(Currency::code)),
        ]));
        Self { id, money, billed, correction: Some(correction), ..like.clone() }
    }
}

/// A text that may be missing, told from every text that is there.
fn told(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!("={text}"))
}

impl Posting {
    /// What the ids of lines of it follow from, where no cost line is of it: what the lines say, their
    /// currency, and the invoice's first line among those that it is of.
    pub(crate) fn item(&self, currency: Currency, first_line: Option<u32>) -> ItemId {
        ItemId::Row(StatementLineId::of(digest_of(&[
            "part of an invoice",
            self.provider.as_str(),
            &told(self.sub_account.as_deref()),
            &told(self.sku.as_ref().map(SkuId::as_str)),
            &self.start.to_string(),
            &self.end.to_string(),
            &told(self.invoice.as_ref().map(InvoiceId::as_str)),
            self.category.as_str(),
            &told(self.description.as_deref()),
            currency.code(),
            &first_line.map_or_else(String::new, |line| line.to_string()),
        ])))
    }
}

/// What is posted of cost lines before any invoice is compared with them.
pub(crate) fn estimates(month: BillingMonth, cost_lines: &[CostLine]) -> Vec<PostedLine> {
    let mut posted = Vec::new();
    for line in cost_lines {
        let of = Arc::new(line.posting(None));
        let lines = line.statement_lines.iter().cloned();
        posted.extend(lines.map(|StatementLine { id, biller, customer, kind, grant, money, billed }| {
            let (cost_line, of) = (Some(line.id), Arc::clone(&of));
            PostedLine {
                id,
                month,
                cost_line,
                price_from: line.shown_price(),
                of,
                biller,
                customer,
                kind,
                grant,
                money,
                billed,
                correction: None,
            }
        }));
    }
    posted
}

impl CostLine {
    /// When its price begins, where it is one that can be shown.
    fn shown_price(&self) -> Option<Instant> {
        (!self.amount.is_negative()).then_some(self.key.price_from)
    }

    /// What its statement lines are of, as an invoice has it or as an estimate.
    pub(crate) fn posting(&self, invoice: Option<InvoiceId>) -> Posting {
        Posting {
            provider: self.key.provider.clone(),
            billing_account: self.key.billing_account.clone(),
            sub_account: self.key.sub_account.as_ref().map(|account| account.as_str().into()),
            sku: Some(self.key.sku.clone()),
            start: self.key.charge_period.start(),
            end: self.key.charge_period.end(),
            invoice,
            category: LineCategory::Usage,
            description: None,
        }
    }
}
