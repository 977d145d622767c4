//! What there is to show of a comparison.
//!
//! Invariant: a row is open exactly if a close is refused because of it.

use rating::RatingError;
use rating::catalog::Catalog;
use rating::exact::display;
use rating::reconcile::{Class, Decision, Passed, Row, Status, Summary, passed, summaries};
use rating::run::PostedLine;
use schemas::id::ProviderId;
use schemas::money::Currency;
use schemas::time::BillingMonth;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A month, compared.
#[derive(Debug)]
pub struct Comparison {
    pub month: BillingMonth,
    /// Where the run is.
    pub folder: String,
    pub rows: Vec<Row>,
    /// What was said of each row's figures, in the order of the journal.
    pub said: Vec<Vec<Decision>>,
    pub providers: Vec<OfProvider>,
}

/// What one provider invoiced in one currency, and what became of it.
#[derive(Debug)]
pub struct OfProvider {
    pub id: ProviderId,
    pub name: String,
    pub currency: Currency,
    pub summary: Summary,
    pub passed: Passed,
}

/// Whether a row is in the way of a close.
pub fn is_open(row: &Row) -> bool {
    matches!(row.status, Some(Status::Open | Status::Awaited))
}

impl OfProvider {
    /// Of the rows of a month and what it posts, corrections left out.
    ///
    /// # Errors
    /// When a sum is too large.
    pub fn all(
        rows: &[Row],
        posted_lines: &[PostedLine],
        catalog: &Catalog,
    ) -> Result<Vec<Self>, RatingError> {
        let summaries = summaries(rows)?;
        let mut became = passed(rows, posted_lines, &summaries)?;
        let mut all = Vec::new();
        for ((id, currency), summary) in summaries {
            let passed = became.remove(&(id, currency)).expect("there is one for each summary");
            let known = catalog.providers.get(id);
            let name = known.map_or_else(|| id.to_string(), |provider| provider.name.clone());
            all.push(Self { id: id.clone(), name, currency, summary, passed });
        }
        Ok(all)
    }

    /// For programs: amounts are strings.
    pub fn json(&self) -> Value {
        let Self { id, currency, summary, passed, .. } = self;
        let classes: BTreeMap<&str, Value> = summary
            .classes
            .iter()
            .map(|(class, of)| {
                let sum = json!({
                    "rows": of.rows, "invoiced": of.invoiced.to_string(), "variance": display(&of.variance),
                });
                (Class::as_str(*class), sum)
            })
            .collect();
        let retained: BTreeMap<&str, String> =
            passed.retained.iter().map(|(reason, amount)| (*reason, amount.to_string())).collect();
        json!({
            "provider": id.as_str(),
            "currency": currency.code(),
            "total": summary.invoiced.to_string(),
            "matched": summary.matched.to_string(),
            "classes": classes,
            "billed": passed.billed.to_string(),
            "retained": retained,
            "undecided": passed.undecided.to_string(),
            "rounding": passed.rest.to_string(),
            "estimated": passed.estimated.to_string(),
        })
    }
}
