//! `atcost statement`: what a customer is billed in a month.
//!
//! What is on it is decided in `rating::document`, and how it looks in `jobs::statement`.
//!
//! Invariant: of a closed month it is what was posted, whatever is known now.

use super::posted::month_as_posted;
use crate::config::Config;
use crate::show::{Answer, Busy, Format};
use crate::statement::{self, Events};
use anyhow::Context as _;
use rating::document::document;
use rating::evidence::Most;
use rating::posted::posted;
use rating::run::{Charge, CostLine, CostLineId};
use schemas::id::CustomerId;
use schemas::time::BillingMonth;
use serde_json::Value;
use std::collections::BTreeMap;

/// A statement, in every form.
pub struct Statement {
    json: Value,
    text: String,
    html: String,
}

/// The events that a page lists of one charge, and the charges of which it lists any.
const MOST: Most = Most { events: 5, charges: 500 };

/// The statement of a customer, with the events behind it where a page is wanted.
///
/// # Errors
/// When there is no such customer, or the month cannot be rated.
pub async fn statement(
    config: &Config,
    customer: &str,
    period: BillingMonth,
    form: Format,
) -> anyhow::Result<Statement> {
    let _busy = Busy::with(format!("the statement of {customer} for {period}"));
    let (month, _) = month_as_posted(config, period, false).await?;
    let customer = CustomerId::new(customer).with_context(|| format!("{customer:?} is no customer"))?;
    let known = month.catalog.customers.contains_key(&customer);
    anyhow::ensure!(known, "the catalog has no customer {customer}");
    let lines = posted(&month.lines, &month.cost_lines);
    let document = document(&lines, &month.catalog, (period, month.is_closed), &customer)?;
    let events = match form {
        Format::Html => {
            let partners = month.catalog.partners();
            // A cost line may be in several lines, under the invoice and as a grant.
            let mut asked: BTreeMap<CostLineId, (&CostLine, Vec<&Charge>)> = BTreeMap::new();
            for line in &document.lines {
                let Some(cost_line) = line.line.cost_line else { continue };
                asked.entry(cost_line.id).or_insert_with(|| {
                    let own = cost_line.charges.iter().filter(|charge| line.line.has(charge, &partners));
                    (cost_line, own.collect())
                });
            }
            let asked: Vec<_> = asked.into_values().collect();
            Events { of: month.evidence(config, period, &asked, MOST).await?, run: Some(month.run) }
        }
        _ => Events::default(),
    };
    Ok(Statement {
        json: document.json()?,
        text: statement::text(&document, &month.catalog),
        html: statement::page(&document, &month.catalog, &events).to_string(),
    })
}

impl Answer for Statement {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(self.json.clone())
    }

    fn text(&self) -> String {
        self.text.clone()
    }

    fn file(&self, form: Format) -> anyhow::Result<Option<Vec<u8>>> {
        Ok((form == Format::Html).then(|| self.html.clone().into_bytes()))
    }
}
