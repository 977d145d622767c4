//! `atcost what-if`: what a month would cost by another catalog than the one in force.
//!
//! Both are rated from one cut of the ledger, and no run is written.

use super::catalog::{check, published};
use super::totals;
use crate::config::Config;
use crate::show::{Align, Answer, Busy, Verdict, plural, table};
use derived::totals::Caught;
use ledger::pinned::PinnedFiles;
use rating::catalog::{Catalog, Counted as _, Problem};
use rating::run::Pins;
use rating::tables::Workspace;
use rating::what_if::{BilledTo, Compared, LineOf, WhatIf, what_if as compare};
use schemas::time::BillingMonth;
use serde_json::{Value, json};
use std::path::Path;

/// The answer to the question.
pub enum Supposed {
    /// The other catalog has problems.
    Refused(Vec<Problem>),
    Compared(BillingMonth, WhatIf),
}

/// Rates a month by the catalog in force and by that of a folder.
///
/// # Errors
/// When nothing was published, rows cannot be trusted, or one of the two cannot rate the month.
pub async fn what_if(config: &Config, folder: &Path, month: BillingMonth) -> anyhow::Result<Supposed> {
    let other = match check(folder)?.outcome {
        Ok((catalog, _)) => catalog,
        Err(problems) => return Ok(Supposed::Refused(problems)),
    };
    let in_force = published(config, None).await?;
    let totals = totals::for_a_run(&config.ledger).await?;
    let _busy = Busy::with(format!("rating {month} twice"));
    let reached = totals.as_ref().map(Caught::versions);
    let files = PinnedFiles::of_ledger(&config.ledger, reached.as_ref()).await?;
    let workspace = Workspace::scratch(&config.runs, std::process::id()).await?;
    let compared = rate_both(config, month, [in_force, other], &files, totals.as_ref(), &workspace).await;
    workspace.close().await?;
    Ok(Supposed::Compared(month, compared?))
}

async fn rate_both(
    config: &Config,
    month: BillingMonth,
    catalogs: [Catalog; 2],
    files: &PinnedFiles,
    totals: Option<&Caught>,
    workspace: &Workspace,
) -> anyhow::Result<WhatIf> {
    let usage = totals::open_rows(config, files, totals, &workspace.inputs()).await?;
    let [before, after] = catalogs;
    let pins =
        |catalog: &Catalog| Pins { month, ledger: files.cut.clone(), catalog: catalog.digest, journal: 0 };
    let before = rating::run::rate(pins(&before), &usage, &before).await?;
    let after = rating::run::rate(pins(&after), &usage, &after).await?;
    Ok(compare(&before, &after)?)
}

/// The rows that a terminal has room for.
const SHOWN: usize = 40;

fn compared_json(compared: &Compared) -> Value {
    let Compared { before, after, difference } = compared;
    json!({ "before": before.to_string(), "after": after.to_string(), "difference": difference.to_string() })
}

/// A JSON object with the keys of both.
fn joined(mut one: Value, other: &Value) -> Value {
    if let (Some(one), Some(other)) = (one.as_object_mut(), other.as_object()) {
        one.extend(other.clone());
    }
    one
}

impl Answer for Supposed {
    fn json(&self) -> anyhow::Result<Value> {
        let (month, compared) = match self {
            Self::Refused(problems) => {
                let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
                return Ok(json!({ "problems": problems }));
            }
            Self::Compared(month, compared) => (month, compared),
        };
        let line = |(of, compared): &(LineOf, Compared)| {
            let named = json!({
                "provider": of.provider.to_string(), "sku": of.sku.to_string(),
                "sub_account": of.sub_account.as_ref().map(ToString::to_string),
                "currency": of.currency.code(),
            });
            joined(named, &compared_json(compared))
        };
        let customer = |(of, compared): &(BilledTo, Compared)| {
            let named = json!({
                "customer": of.customer.as_ref().map(ToString::to_string), "currency": of.currency.code(),
            });
            joined(named, &compared_json(compared))
        };
        Ok(json!({
            "period": month.to_string(),
            "lines": compared.lines.iter().map(line).collect::<Vec<_>>(),
            "customers": compared.customers.iter().map(customer).collect::<Vec<_>>(),
        }))
    }

    fn text(&self) -> String {
        let (month, compared) = match self {
            Self::Refused(problems) => {
                let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
                let count = plural(Problem::count_all(problems) as u64, "problem", "problems");
                text.push_str(&format!("refused: {count}; nothing was compared\n"));
                return text;
            }
            Self::Compared(month, compared) => (month, compared),
        };
        let differs = |compared: &Compared| !compared.difference.is_zero();
        let figures = |compared: &Compared, currency: &str| {
            vec![
                compared.before.to_string(),
                compared.after.to_string(),
                compared.difference.to_string(),
                currency.to_owned(),
            ]
        };
        let lines: Vec<Vec<String>> = compared
            .lines
            .iter()
            .filter(|(_, compared)| differs(compared))
            .map(|(of, compared)| {
                let account = of.sub_account.as_ref().map_or_else(String::new, ToString::to_string);
                let mut row = vec![of.provider.to_string(), of.sku.to_string(), account];
                row.extend(figures(compared, of.currency.code()));
                row
            })
            .collect();
        let customers: Vec<Vec<String>> = compared
            .customers
            .iter()
            .filter(|(_, compared)| differs(compared))
            .map(|(of, compared)| {
                let customer = of.customer.as_ref();
                let mut row = vec![customer.map_or_else(|| "retained".to_owned(), ToString::to_string)];
                row.extend(figures(compared, of.currency.code()));
                row
            })
            .collect();
        if lines.is_empty() && customers.is_empty() {
            return format!("{month} would cost the same, line by line\n");
        }
        let amounts = [
            ("in force", Align::Right),
            ("what if", Align::Right),
            ("difference", Align::Right),
            ("", Align::Left),
        ];
        let mut of_line = vec![("provider", Align::Left), ("sku", Align::Left), ("account", Align::Left)];
        of_line.extend(amounts);
        let mut of_customer = vec![("customer", Align::Left)];
        of_customer.extend(amounts);
        let mut text = String::new();
        let tables = [(of_line, lines), (of_customer, customers)];
        for (columns, rows) in tables.into_iter().filter(|(_, rows)| !rows.is_empty()) {
            text.push_str(&table(&columns, &rows[..rows.len().min(SHOWN)]));
            if rows.len() > SHOWN {
                text.push_str(&format!("  … and {} more; --format json has them all\n", rows.len() - SHOWN));
            }
            text.push('\n');
        }
        let same = compared.lines.iter().filter(|(_, compared)| !differs(compared)).count();
        if same > 0 {
            text.push_str(&format!("{} would cost the same\n", plural(same as u64, "SKU", "SKUs")));
        }
        text
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::Refused(_) => Verdict::Discrepancy,
            Self::Compared(..) => Verdict::Fine,
        }
    }
}
