//! A customer's statement of a month, as data: the lines that are billed to it, and what they come to.
//!
//! How it is shown is deliberately not known here.
//!
//! Invariants: currencies are never added up; `total` is Σ of the lines, of which `corrections` and
//! `estimates` are parts without a line in common.

use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::posted::{Numbered, Posted, numbered};
use crate::run::{PostedLine, decimal};
use crate::statement::Biller;
use schemas::decimal::Amount;
use schemas::id::{CustomerId, ProviderId};
use schemas::money::{Currency, Money};
use schemas::time::BillingMonth;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Sums by currency.
pub type Sums = BTreeMap<Currency, Amount>;

/// The statement of one customer.
#[derive(Debug, Clone)]
pub struct Document<'p> {
    pub month: BillingMonth,
    pub customer: CustomerId,
    pub is_closed: bool,
    /// In their order, lines of nothing among them.
    pub lines: Vec<Numbered<'p>>,
    pub total: Sums,
    /// Σ of what corrects closed months.
    pub corrections: Sums,
    /// Σ of what no invoice bears yet.
    pub estimates: Sums,
    pub by_provider: BTreeMap<ProviderId, Sums>,
}

/// The statement of a customer of what was posted in a month.
///
/// # Errors
/// [`RatingError::Overflow`].
pub fn document<'p>(
    posted: &'p [Posted<'p>],
    catalog: &Catalog,
    (month, is_closed): (BillingMonth, bool),
    customer: &CustomerId,
) -> Result<Document<'p>, RatingError> {
    let mut lines = numbered(posted, &catalog.operator, month);
    lines.retain(|line| line.line.is_billed_to(customer));
    let (mut total, mut corrections, mut estimates) = (Sums::new(), Sums::new(), Sums::new());
    let mut by_provider: BTreeMap<ProviderId, Sums> = BTreeMap::new();
    for Numbered { line, .. } in &lines {
        let bill = line.bill();
        add(&mut total, bill)?;
        add(by_provider.entry(line.provider.clone()).or_default(), bill)?;
        if line.correction.is_some() {
            add(&mut corrections, bill)?;
        } else if line.is_estimate() && line.amount.minor_units != 0 {
            // What no invoice bears may also be known to be nothing.
            add(&mut estimates, bill)?;
        }
    }
    let customer = customer.clone();
    Ok(Document { month, customer, is_closed, lines, total, corrections, estimates, by_provider })
}

/// What each customer is billed by the operator, in the currency that it is billed in.
///
/// # Errors
/// [`RatingError::Overflow`].
pub fn billed<'l>(
    lines: impl IntoIterator<Item = &'l PostedLine>,
) -> Result<BTreeMap<(CustomerId, Currency), Amount>, RatingError> {
    let mut sums: BTreeMap<CustomerId, Sums> = BTreeMap::new();
    for line in lines.into_iter().filter(|line| line.biller == Biller::Operator) {
        if let (true, Some(customer)) = (line.kind.is_billed(), &line.customer) {
            let bill = line.billed.as_ref().map_or(line.money, |billed| billed.money);
            add(sums.entry(customer.clone()).or_default(), bill)?;
        }
    }
    let of = |(customer, sums): (CustomerId, Sums)| {
        sums.into_iter().map(move |(currency, sum)| ((customer.clone(), currency), sum))
    };
    Ok(sums.into_iter().flat_map(of).collect())
}

fn add(sums: &mut Sums, money: Money) -> Result<(), RatingError> {
    let sum = sums.entry(money.currency).or_insert(Amount::ZERO);
    *sum = sum.checked_add(decimal(money)?).map_err(RatingError::overflow("a statement"))?;
    Ok(())
}

impl Document<'_> {
    pub fn status(&self) -> &'static str {
        if self.is_closed { "closed" } else { "open" }
    }

    /// How many lines are not of nothing.
    pub fn line_count(&self) -> usize {
        self.lines.iter().filter(|line| line.line.bill().minor_units != 0).count()
    }

    /// The ids of its statements, one for each currency.
    pub fn statements(&self) -> BTreeSet<&str> {
        self.lines.iter().map(|line| &*line.statement).collect()
    }

    /// The document for programs; amounts are strings, so that nobody reads them as floats.
    ///
    /// # Errors
    /// [`RatingError::Overflow`].
    pub fn json(&self) -> Result<Json, RatingError> {
        let by_provider: Map<String, Json> =
            self.by_provider.iter().map(|(provider, sums)| (provider.to_string(), said(sums))).collect();
        let lines = self.lines.iter().map(line_json).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({
            "period": self.month.to_string(),
            "status": self.status(),
            "line_count": self.line_count(),
            "total": said(&self.total),
            "corrections": said(&self.corrections),
            "estimates": said(&self.estimates),
            "by_provider": by_provider,
            "lines": lines,
        }))
    }
}

fn said(sums: &Sums) -> Json {
    sums.iter().map(|(currency, sum)| (currency.to_string(), Json::String(sum.to_string()))).collect()
}

fn line_json(numbered: &Numbered<'_>) -> Result<Json, RatingError> {
    let Numbered { line, statement, number } = numbered;
    let text = |value: Option<&dyn ToString>| value.map(|value| Json::String(value.to_string()));
    let bill = line.bill();
    let correction = line.correction.as_ref();
    let corrects = correction.and_then(|correction| correction.corrects.as_ref());
    let rate = line.billed.as_ref().and_then(|billed| billed.rate);
    Ok(json!({
        "statement_line_id": line.id.to_string(),
        "statement": statement,
        "number": number,
        "invoice": text(line.invoice.as_ref().map(|it| it as _)),
        "provider": line.provider.as_str(),
        "billing_account": line.billing_account.as_str(),
        "sub_account": line.sub_account,
        "sku": text(line.sku.as_ref().map(|it| it as _)),
        "charge_period_start": line.start.to_string(),
        "charge_period_end": line.end.to_string(),
        "currency": line.amount.currency.code(),
        "category": line.category.as_str(),
        "description": line.description,
        "customer": text(line.customer.as_ref().map(|it| it as _)),
        "kind": line.kind.as_str(),
        "amount": decimal(line.amount)?.to_string(),
        "billed_currency": bill.currency.code(),
        "rate": rate.map(|rate| rate.to_string()),
        "billed_amount": decimal(bill)?.to_string(),
        "estimate": line.is_estimate(),
        "correction": correction.map(|correction| correction.entry.as_str()),
        "corrects": text(corrects.map(|it| it as _)),
        "corrects_period": correction.map(|correction| correction.month.to_string()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posted::case::{case, catalog, cost_lines, customer, month, posted_in};

    #[test]
    fn every_statement_of_both_months_is_as_expected() {
        let expected: Json = serde_json::from_str(case!("close/expected/statements.json")).expect("JSON");
        let catalog = catalog();
        let cost_lines = cost_lines(&catalog);
        for (of, statements) in expected.as_object().expect("months") {
            let posted = posted_in(of, &cost_lines);
            for (id, expected) in statements.as_object().expect("customers") {
                let when = (month(of), of == "2025-10");
                let document = document(&posted, &catalog, when, &customer(id)).expect("a statement");
                let mut json = document.json().expect("JSON");
                let lines = json.as_object_mut().and_then(|json| json.remove("lines")).expect("lines");
                assert_eq!(&json, expected, "{id} in {of}");
                let lines = lines.as_array().expect("a list").len();
                assert!(lines >= document.line_count(), "{id} in {of}");
            }
        }
    }

    #[test]
    fn a_statement_has_one_id_for_each_currency() {
        let catalog = catalog();
        let cost_lines = cost_lines(&catalog);
        let posted = posted_in("2025-10", &cost_lines);
        let document = document(&posted, &catalog, (month("2025-10"), true), &customer("cedar"));
        let document = document.expect("a statement");
        let ids: Vec<&str> = document.statements().into_iter().collect();
        assert_eq!(ids, ["commons-2025-10-cedar-EUR", "commons-2025-10-cedar-USD"]);
        let first = &document.json().expect("JSON")["lines"][0];
        assert_eq!(first["statement"], "commons-2025-10-cedar-EUR");
        assert_eq!((&first["number"], &first["estimate"]), (&json!(1), &json!(true)));
    }
}
