//! `atcost close`: a month becomes final.
//!
//! What stands in the way is decided in `rating::close`. What arrives later is corrected in the month
//! that is open then.
//!
//! Invariant: a close has happened, with all that was posted kept, or it has not; and it rests on the
//! journal as it was just before it.

use super::books::Opened;
use super::rate::{Cut, Rated, rate_opened};
use crate::clock;
use crate::config::Config;
use crate::show::{Answer, Verdict, plural, printable};
use anyhow::bail;
use ledger::documents;
use ledger::journal::EntryKind;
use rating::books::{CloseRecord, InvoiceVersion};
use rating::close::{Blocker, Candidate, Waiver, blockers};
use rating::document::billed;
use rating::run::{PostedLine, write_posted};
use schemas::time::BillingMonth;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A close, or what is in its way.
pub enum Closed {
    Refused(BillingMonth, Vec<Blocker>),
    Done(Box<Final>),
}

/// A month that is final.
pub struct Final {
    month: BillingMonth,
    entry: i64,
    posted: usize,
    corrections: usize,
    record: CloseRecord,
}

/// Closes a month.
///
/// # Errors
/// When it cannot be rated, the ledger cannot be written, or somebody decided something meanwhile.
pub async fn close(
    config: &Config,
    month: BillingMonth,
    waived: &BTreeSet<Waiver>,
    reason: Option<&str>,
    by: &str,
) -> anyhow::Result<Closed> {
    if !waived.is_empty() && reason.is_none() {
        bail!("what is waived needs a reason, which the journal keeps; give --reason");
    }
    let (rated, mut opened) = rate_opened(config, month, &Cut::default()).await?;
    let candidate = Candidate {
        run: &rated.run,
        rows: &rated.rows,
        closed: &rated.closed,
        invoices: &opened.invoices,
        books: &opened.books,
        catalog: &rated.catalog,
        is_over: rated.not_over.is_empty(),
    };
    let (in_the_way, needed) = blockers(&candidate, waived);
    if !in_the_way.is_empty() {
        return Ok(Closed::Refused(month, in_the_way));
    }
    let record = record(&rated, &opened, &needed, by)?;
    let posted: Vec<PostedLine> = rated.posts().cloned().collect();
    let digest = documents::keep(&config.ledger, write_posted(&posted).into()).await?;
    fail::fail_point!("close.kept");
    let body = serde_json::to_vec(&record)?;
    // Not needed: a reason says why something is passed over.
    let note = reason.filter(|_| !needed.is_empty()).map(str::to_owned);
    let kind = EntryKind::MonthClosed;
    let entry = opened.journal.append(kind, clock::now(), digest, note, body).await?.number;
    tracing::info!(event = "month.closed", period = %month, entry, "a month is closed");
    let (posted, corrections) = (rated.run.posted.len(), rated.corrections.len());
    Ok(Closed::Done(Box::new(Final { month, entry, posted, corrections, record })))
}

fn record(
    rated: &Rated,
    opened: &Opened,
    needed: &BTreeSet<Waiver>,
    by: &str,
) -> anyhow::Result<CloseRecord> {
    let mut last: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for invoice in opened.invoices.iter().filter(|invoice| invoice.period == rated.run.pins.month) {
        let version = last.entry((invoice.provider.as_str(), invoice.id.as_str())).or_insert(1);
        *version = (*version).max(invoice.version);
    }
    let mut totals: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for ((customer, currency), total) in billed(rated.posts())? {
        totals.entry(customer.to_string()).or_default().insert(currency.to_string(), total.to_string());
    }
    let pins = &rated.run.pins;
    Ok(CloseRecord {
        period: pins.month.to_string(),
        run: pins.run_id().to_string(),
        catalog: pins.catalog.to_string(),
        ledger_version: pins.ledger.versions.clone(),
        journal: pins.journal,
        invoices: last
            .into_iter()
            .map(|((provider, invoice), version)| InvoiceVersion {
                provider: provider.to_owned(),
                invoice: invoice.to_owned(),
                version,
            })
            .collect(),
        waived: needed.iter().map(ToString::to_string).collect(),
        totals,
        by: by.to_owned(),
    })
}

impl Answer for Closed {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(match self {
            Self::Refused(month, blockers) => json!({
                "period": month.to_string(), "closed": false,
                "in_the_way": blockers.iter().map(|blocker| json!({
                    "what": blocker.to_string(), "help": blocker.way_out(*month),
                })).collect::<Value>(),
            }),
            Self::Done(done) => json!({
                "period": done.month.to_string(), "closed": true, "entry": done.entry, "posted": done.posted,
                "corrections": done.corrections, "record": done.record,
            }),
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Refused(month, blockers) => {
                let mut text = format!("{month} is not closed:\n");
                for blocker in blockers {
                    text.push_str(&format!(
                        "  {}\n    next: {}\n",
                        printable(&blocker.to_string()),
                        blocker.way_out(*month)
                    ));
                }
                text
            }
            Self::Done(done) => format!(
                "{} is closed, by journal entry {}: {} and {} are final\n",
                done.month,
                done.entry,
                plural(done.posted as u64, "statement line", "statement lines"),
                plural(done.corrections as u64, "correction", "corrections")
            ),
        }
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::Refused(..) => Verdict::Discrepancy,
            Self::Done(_) => Verdict::Fine,
        }
    }
}
