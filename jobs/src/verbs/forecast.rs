//! `atcost forecast`: what a month that is running costs so far, and what it may come to.
//!
//! It is rated from the ledger as it is now, by the catalog in force, and no run is written.

use super::catalog::published;
use super::totals;
use crate::config::Config;
use crate::show::{Align, Answer, Busy, table};
use derived::totals::Caught;
use ledger::pinned::PinnedFiles;
use rating::catalog::Catalog;
use rating::forecast::{Forecast, Unknown, forecast as rate};
use rating::tables::Workspace;
use rating::what_if::{BilledTo, Compared, LineOf};
use schemas::time::{BillingMonth, Instant};
use serde_json::{Value, json};

/// A forecast, and of which month it is.
pub struct Report(BillingMonth, Forecast);

/// Says what a month may come to, as of an instant.
///
/// # Errors
/// When nothing was published, the month does not run then, or rows cannot be trusted.
pub async fn forecast(config: &Config, month: BillingMonth, at: Instant) -> anyhow::Result<Report> {
    let catalog = published(config, None).await?;
    let totals = totals::for_a_run(&config.ledger).await?;
    let _busy = Busy::with(format!("rating {month}"));
    let reached = totals.as_ref().map(Caught::versions);
    let files = PinnedFiles::of_ledger(&config.ledger, reached.as_ref()).await?;
    let workspace = Workspace::scratch(&config.runs, std::process::id()).await?;
    let made = make(config, (month, at), &catalog, &files, totals.as_ref(), &workspace).await;
    workspace.close().await?;
    Ok(Report(month, made?))
}

async fn make(
    config: &Config,
    (month, at): (BillingMonth, Instant),
    catalog: &Catalog,
    files: &PinnedFiles,
    totals: Option<&Caught>,
    workspace: &Workspace,
) -> anyhow::Result<Forecast> {
    let usage = totals::open_rows(config, files, totals, &workspace.inputs()).await?;
    Ok(rate(month, at, &usage, catalog).await?)
}

/// The rows that a terminal has room for.
const SHOWN: usize = 40;

impl Report {
    fn line_json(&self, of: &LineOf, compared: &Compared) -> Value {
        let quantities = self.1.quantities.get(of);
        json!({
            "provider": of.provider.to_string(), "sku": of.sku.to_string(),
            "sub_account": of.sub_account.as_ref().map(ToString::to_string),
            "so_far": compared.before.to_string(), "estimate": compared.after.to_string(),
            "currency": of.currency.code(),
            "quantity_so_far": quantities.map(|of| of.so_far.to_string()),
            "quantity_estimate": quantities.map(|of| of.estimate.to_string()),
            "unit": quantities.and_then(|of| of.unit.clone()),
        })
    }
}

impl Answer for Report {
    fn json(&self) -> anyhow::Result<Value> {
        let Self(month, forecast) = self;
        let customer = |(of, compared): &(BilledTo, Compared)| {
            json!({
                "customer": of.customer.as_ref().map(ToString::to_string),
                "so_far": compared.before.to_string(), "estimate": compared.after.to_string(),
                "currency": of.currency.code(),
            })
        };
        let unknown = |row: &Unknown| {
            json!({
                "provider": row.provider.as_ref().map(ToString::to_string),
                "sku": row.sku.as_ref().map(ToString::to_string),
                "why": row.why.as_str(), "detail": row.detail,
            })
        };
        let periods: serde_json::Map<String, Value> = forecast
            .periods
            .iter()
            .map(|(id, period)| {
                let period = json!({ "from": period.start().to_string(), "until": period.end().to_string() });
                (id.to_string(), period)
            })
            .collect();
        let compared = &forecast.compared;
        Ok(json!({
            "period": month.to_string(),
            "at": forecast.at.to_string(),
            "is_estimate": true,
            "billing_periods": periods,
            "lines": compared.lines.iter().map(|(of, compared)| self.line_json(of, compared)).collect::<Vec<_>>(),
            "customers": compared.customers.iter().map(customer).collect::<Vec<_>>(),
            "unknown": forecast.unknown.iter().map(unknown).collect::<Vec<_>>(),
        }))
    }

    fn text(&self) -> String {
        let Self(month, forecast) = self;
        let mut text =
            format!("{month} at {}: an estimate, as if usage went on at the rate so far\n\n", forecast.at);
        let figures = |compared: &Compared, currency: &str| {
            [compared.before.to_string(), compared.after.to_string(), currency.to_owned()]
        };
        let lines: Vec<Vec<String>> = forecast
            .compared
            .lines
            .iter()
            .map(|(of, compared)| {
                let account = of.sub_account.as_ref().map_or_else(String::new, ToString::to_string);
                let quantity = forecast.quantities.get(of);
                let unit = quantity.and_then(|of| of.unit.clone()).unwrap_or_default();
                let mut row = vec![
                    of.provider.to_string(),
                    of.sku.to_string(),
                    account,
                    quantity.map_or_else(String::new, |of| of.so_far.to_string()),
                    quantity.map_or_else(String::new, |of| of.estimate.to_string()),
                    unit,
                ];
                row.extend(figures(compared, of.currency.code()));
                row
            })
            .collect();
        let customers: Vec<Vec<String>> = forecast
            .compared
            .customers
            .iter()
            .map(|(of, compared)| {
                let customer = of.customer.as_ref();
                let mut row = vec![customer.map_or_else(|| "retained".to_owned(), ToString::to_string)];
                row.extend(figures(compared, of.currency.code()));
                row
            })
            .collect();
        let (left, right) = (Align::Left, Align::Right);
        let of_line = vec![
            ("provider", left),
            ("sku", left),
            ("account", left),
            ("used", right),
            ("may become", right),
            ("", left),
            ("so far", right),
            ("estimate", right),
            ("", left),
        ];
        let of_customer = vec![("customer", left), ("so far", right), ("estimate", right), ("", left)];
        for (columns, rows) in [(of_line, lines), (of_customer, customers)] {
            text.push_str(&table(&columns, &rows[..rows.len().min(SHOWN)]));
            if rows.len() > SHOWN {
                text.push_str(&format!("  … and {} more; --format json has them all\n", rows.len() - SHOWN));
            }
            text.push('\n');
        }
        for Unknown { provider, sku, detail, .. } in forecast.unknown.iter().take(SHOWN) {
            let names = provider.iter().map(ToString::to_string).chain(sku.iter().map(ToString::to_string));
            let names = names.collect::<Vec<_>>().join(" ");
            let separator = if names.is_empty() { "" } else { ": " };
            text.push_str(&format!("! {names}{separator}{detail}\n"));
        }
        if forecast.unknown.len() > SHOWN {
            let more = forecast.unknown.len() - SHOWN;
            text.push_str(&format!("! … and {more} more; --format json has them all\n"));
        }
        text
    }
}
