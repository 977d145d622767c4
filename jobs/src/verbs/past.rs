//! Everything that a catalog would change in what was billed until now, compared with the version in
//! force, and the words for it.
//!
//! `rating` compares; whether the changes are wanted is deliberately left to who publishes.
//!
//! Invariant: what was not compared is named, and counts as a change.

use crate::config::Config;
use crate::show::{Align, Busy, plural, table};
use ledger::pinned::PinnedFiles;
use rating::catalog::{Catalog, ComparedPast, Problem, Spans, compare_past};
use rating::changes::{CustomerMonth, PastChanges, past_changes};
use rating::run::Pins;
use rating::tables::Workspace;
use rating::usage::CountedRows;
use schemas::time::{BillingMonth, Instant};
use serde_json::{Map, Value, json};

/// The changes of a past.
#[derive(Debug, Default)]
pub struct Past {
    /// Everything that price lists had in force and take back, used or not.
    pub problems: Vec<Problem>,
    pub changes: PastChanges,
    /// Why nothing was compared.
    pub unreadable: Option<String>,
}

/// Compares a catalog with the version in force, for the time before `now`. The ledger is read only
/// where the two may differ.
///
/// # Errors
/// When the ledger's rows cannot be read or trusted.
pub async fn compare(
    config: &Config,
    previous: &Catalog,
    new: &Catalog,
    now: Instant,
) -> anyhow::Result<Past> {
    let ComparedPast { problems, differing } = compare_past(previous, new, now);
    let mut past = Past { problems, ..Past::default() };
    if differing.is_empty() {
        return Ok(past);
    }
    let _busy = Busy::with("comparing what was billed until now");
    let files = PinnedFiles::of_ledger(&config.ledger, None).await?;
    let pins =
        Pins { month: BillingMonth::in_utc(now), ledger: files.cut.clone(), catalog: new.digest, journal: 0 };
    let workspace = Workspace::create(&config.runs, &pins, std::process::id()).await?;
    let changes = changes_in(config, &files, [previous, new], &differing, &workspace).await;
    workspace.close().await?;
    past.changes = changes?;
    Ok(past)
}

async fn changes_in(
    config: &Config,
    files: &PinnedFiles,
    versions: [&Catalog; 2],
    differing: &Spans,
    workspace: &Workspace,
) -> anyhow::Result<PastChanges> {
    let usage = CountedRows::open(files, &workspace.inputs(), config.memory).await?;
    Ok(past_changes(versions, differing, &usage).await?)
}

/// The rows that a terminal has room for.
const SHOWN: usize = 40;
/// The most rows that are listed one by one for programs.
const LISTED: usize = 10_000;

impl Past {
    /// Whether everything that was billed stays, as far as it can be known.
    pub fn stays(&self) -> bool {
        let PastChanges { changed, not_compared, newly_billed: _ } = &self.changes;
        self.problems.is_empty() && changed.is_empty() && not_compared.is_empty() && self.unreadable.is_none()
    }

    pub fn text(&self) -> String {
        let mut text: String = self.problems.iter().map(|problem| format!("{problem}\n")).collect();
        let PastChanges { changed, newly_billed, not_compared } = &self.changes;
        push_rows(&mut text, "what would change, by month and customer", changed);
        push_rows(&mut text, "usage that had no price and gets one", newly_billed);
        for left_out in not_compared {
            let months = match left_out.first == left_out.last {
                true => format!("{} was", left_out.first),
                false => format!("{} to {} were", left_out.first, left_out.last),
            };
            text.push_str(&format!("! {months} not compared: {}\n", left_out.because));
        }
        if let Some(because) = &self.unreadable {
            text.push_str(&format!("! nothing was compared: {because}\n"));
        }
        text
    }

    /// As members of an object.
    pub fn json(&self) -> Map<String, Value> {
        let PastChanges { changed, newly_billed, not_compared } = &self.changes;
        let rows = |rows: &[CustomerMonth]| rows.iter().take(LISTED).map(row_json).collect::<Vec<_>>();
        let problems: Vec<String> = self.problems.iter().take(LISTED).map(ToString::to_string).collect();
        let not_compared: Vec<Value> = not_compared
            .iter()
            .map(|left_out| {
                json!({
                    "first": left_out.first.to_string(),
                    "last": left_out.last.to_string(),
                    "because": left_out.because,
                })
            })
            .collect();
        let members = [
            ("problems", json!(problems)),
            ("changed", json!(rows(changed))),
            ("changed_total", json!(changed.len())),
            ("newly_billed", json!(rows(newly_billed))),
            ("newly_billed_total", json!(newly_billed.len())),
            ("not_compared", json!(not_compared)),
            ("unreadable", json!(self.unreadable)),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn push_rows(text: &mut String, heading: &str, rows: &[CustomerMonth]) {
    if rows.is_empty() {
        return;
    }
    let cells = |row: &CustomerMonth| {
        vec![
            row.month.to_string(),
            bearer(row),
            row.before.to_string(),
            row.after.to_string(),
            row.currency.to_string(),
            skus(row),
        ]
    };
    let columns = [
        ("month", Align::Left),
        ("customer", Align::Left),
        ("before", Align::Right),
        ("after", Align::Right),
        ("", Align::Left),
        ("by", Align::Left),
    ];
    let shown: Vec<Vec<String>> = rows.iter().take(SHOWN).map(cells).collect();
    text.push_str(&format!("{heading}:\n{}", table(&columns, &shown)));
    if rows.len() > SHOWN {
        let more = plural((rows.len() - SHOWN) as u64, "row", "rows");
        text.push_str(&format!("  … and {more} more; --format json lists them\n"));
    }
}

/// Like `acme`, or `ops, retained (internal)`.
fn bearer(row: &CustomerMonth) -> String {
    let retained = row.kind.retained_reason().map(|reason| format!("retained ({reason})"));
    let parts = row.customer.iter().map(ToString::to_string).chain(retained);
    parts.collect::<Vec<_>>().join(", ")
}

/// The first few, like `nimbus/NB-GPU, nimbus/NB-STD and 2 more`.
fn skus(row: &CustomerMonth) -> String {
    const NAMED: usize = 3;
    let names: Vec<String> =
        row.skus.iter().take(NAMED).map(|(provider, sku)| format!("{provider}/{sku}")).collect();
    match row.skus.len() {
        ..=NAMED => names.join(", "),
        all => format!("{} and {} more", names.join(", "), all - NAMED),
    }
}

fn row_json(row: &CustomerMonth) -> Value {
    let skus: Vec<String> = row.skus.iter().map(|(provider, sku)| format!("{provider}/{sku}")).collect();
    json!({
        "month": row.month.to_string(),
        "customer": row.customer.as_ref().map(ToString::to_string),
        "kind": row.kind.as_str(),
        "retained_reason": row.kind.retained_reason().map(|reason| reason.to_string()),
        "currency": row.currency.to_string(),
        "before": row.before.to_string(),
        "after": row.after.to_string(),
        "skus": skus,
    })
}
