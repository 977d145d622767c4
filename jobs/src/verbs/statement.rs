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
use rating::posted::posted;
use schemas::id::CustomerId;
use schemas::time::BillingMonth;
use serde_json::Value;

/// A statement, in every form.
pub struct Statement {
    json: Value,
    text: String,
    html: String,
}

/// The statement of a customer.
///
/// # Errors
/// When there is no such customer, or the month cannot be rated.
pub async fn statement(config: &Config, customer: &str, period: BillingMonth) -> anyhow::Result<Statement> {
    let _busy = Busy::with(format!("the statement of {customer} for {period}"));
    let (month, _) = month_as_posted(config, period, false).await?;
    let customer = CustomerId::new(customer).with_context(|| format!("{customer:?} is no customer"))?;
    let known = month.catalog.customers.contains_key(&customer);
    anyhow::ensure!(known, "the catalog has no customer {customer}");
    let lines = posted(&month.lines, &month.cost_lines);
    let document = document(&lines, &month.catalog, (period, month.is_closed), &customer)?;
    Ok(Statement {
        json: document.json()?,
        text: statement::text(&document, &month.catalog),
        html: statement::page(&document, &month.catalog, &Events::new()).to_string(),
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
