//! `atcost rate`: pin, rate, check, write.

use super::catalog::published;
use crate::config::Config;
use crate::show::{Align, Answer, Busy, plural, printable, table};
use anyhow::Context as _;
use ledger::Location;
use ledger::pinned::{PinnedFiles, Versions};
use rating::catalog::Catalog;
use rating::run::{CostLine, Pins, Run};
use rating::tables::{self, Manifest, Workspace};
use rating::usage::{CountedRows, Mistakes};
use schemas::time::BillingMonth;
use serde::Serialize;

/// A finished run and where it is.
pub struct Rated {
    pub run: Run,
    pub folder: Location,
    pub manifest: Manifest,
    pub catalog: Catalog,
    /// Where refused records were, in ledger order, as `file:line` or `topic/partition@offset`; at
    /// most [`REFUSED_LISTED`].
    pub refused: Vec<String>,
    /// Mistakes of whoever sends that nobody has mended.
    pub mistakes: Mistakes,
}

/// The corrections that correct nothing which are named one by one.
const IDLE_SHOWN: usize = 5;

/// The most refused records that are listed one by one; the ledger has all of them.
pub const REFUSED_LISTED: usize = 10_000;

/// The pins of a run, beside the month.
#[derive(Debug, Clone, Default)]
pub struct Cut {
    /// The ledger version of each shard; `None` is the last ones.
    pub ledger_version: Option<Versions>,
    /// The beginning of a catalog digest; `None` is the version in force.
    pub catalog: Option<String>,
}

/// The summary of `--format json`.
#[derive(Serialize)]
struct Summary<'a> {
    folder: String,
    refused: &'a [String],
    /// Of `conflicts`, those that nobody has mended.
    open_conflicts: u64,
    /// How many corrections correct nothing, and where the first are.
    idle_corrections: u64,
    idle: Vec<String>,
    #[serde(flatten)]
    manifest: &'a Manifest,
}

/// The month of `--period`.
///
/// # Errors
/// When it is not written like one.
pub fn month(period: &str) -> anyhow::Result<BillingMonth> {
    BillingMonth::parse(period)
        .with_context(|| format!("--period {period:?} is not a month; write it like 2025-10"))
}

/// Rates a month and writes the run.
///
/// # Errors
/// When nothing was published, rows cannot be trusted, or the run cannot be right. Nothing is
/// written then.
pub async fn rate(config: &Config, month: BillingMonth, cut: &Cut) -> anyhow::Result<Rated> {
    let _busy = Busy::with(format!("rating {month}"));
    let catalog = published(config, cut.catalog.as_deref()).await?;
    let files = PinnedFiles::of_ledger(&config.ledger, cut.ledger_version.as_ref()).await?;
    let pins = Pins { month, ledger: files.cut.clone(), catalog: catalog.digest };
    let workspace = Workspace::create(&config.runs, &pins, std::process::id()).await?;
    let rated = rate_into(config, pins, catalog, &files, &workspace).await;
    workspace.close().await?;
    let rated = rated?;
    tracing::info!(event = "run.written", folder = %rated.folder, period = %month, "a month is rated");
    Ok(rated)
}

async fn rate_into(
    config: &Config,
    pins: Pins,
    catalog: Catalog,
    files: &PinnedFiles,
    workspace: &Workspace,
) -> anyhow::Result<Rated> {
    let usage = CountedRows::open(files).await?;
    let run = rating::run::rate(pins, &usage, &catalog, &workspace.inputs()).await?;
    let refused = usage.refused(REFUSED_LISTED).await?;
    let mistakes = usage.mistakes(IDLE_SHOWN).await?;
    let (folder, manifest) = tables::write(&run, &catalog, &config.runs, workspace).await?;
    Ok(Rated { run, folder, manifest, catalog, refused, mistakes })
}

impl Answer for Rated {
    fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::to_value(Summary {
            folder: self.folder.to_string(),
            refused: &self.refused,
            open_conflicts: self.mistakes.conflicts,
            idle_corrections: self.mistakes.idle,
            idle: self.mistakes.first_idle().map(|mistake| mistake.to_string()).collect(),
            manifest: &self.manifest,
        })?)
    }

    fn text(&self) -> String {
        let manifest = &self.manifest;
        let records = format!(
            "received {} = usage {} + rejected {}; {}, {}, {}\n",
            manifest.received,
            manifest.usage,
            manifest.rejected,
            plural(manifest.duplicates, "duplicate", "duplicates"),
            plural(manifest.conflicts, "conflict", "conflicts"),
            plural(manifest.gaps, "gap", "gaps")
        );
        let sections = [
            records,
            cost_lines(&self.run.cost_lines),
            customers(manifest) + &self.reservations(),
            format!("{}\n", self.folder),
        ];
        sections.join("\n")
    }
}

/// The cost lines that a terminal has room for.
const SHOWN: usize = 40;

fn cost_lines(lines: &[CostLine]) -> String {
    let row = |line: &CostLine| {
        vec![
            line.key.provider.to_string(),
            line.key.sku.to_string(),
            line.key.sub_account.as_ref().map_or_else(String::new, ToString::to_string),
            line.quantity.to_string(),
            line.unit.clone().unwrap_or_default(),
            line.settled.to_amount().map_or_else(String::new, |amount| amount.to_string()),
            line.currency.to_string(),
        ]
    };
    let columns = [
        ("provider", Align::Left),
        ("sku", Align::Left),
        ("account", Align::Left),
        ("quantity", Align::Right),
        ("unit", Align::Left),
        ("settled", Align::Right),
        ("", Align::Left),
    ];
    let rows: Vec<_> = lines.iter().map(row).collect();
    let mut text = table(&columns, &rows[..rows.len().min(SHOWN)]);
    if rows.len() > SHOWN {
        text.push_str(&format!("  … and {} more in cost_lines.parquet\n", rows.len() - SHOWN));
    }
    text
}

fn customers(manifest: &Manifest) -> String {
    let rows: Vec<Vec<String>> = manifest
        .customer_total
        .iter()
        .map(|(customer, total)| vec![customer.clone(), total.to_string()])
        .collect();
    let table = table(&[("customer", Align::Left), ("charged", Align::Right)], &rows);
    format!("{table}  retained by the operator: {}\n", manifest.retained_total)
}

impl Rated {
    /// Everything that a month without mistakes would not have.
    fn reservations(&self) -> String {
        let Self { run, manifest, refused, mistakes, .. } = self;
        let mut text = String::new();
        if !run.unrated.is_empty() {
            let events: u64 = run.unrated.iter().map(|unrated| unrated.events).sum();
            let reasons: Vec<String> =
                manifest.unrated_events.iter().map(|(reason, events)| format!("{reason} {events}")).collect();
            text.push_str(&format!(
                "! {} not rated ({}); fix the catalog, publish it and rate again\n",
                plural(events, "event is", "events are"),
                reasons.join(", ")
            ));
        }
        if !refused.is_empty() {
            text.push_str(&format!(
                "! {} refused; `atcost doctor` says where and why\n",
                plural(manifest.rejected, "record was", "records were")
            ));
        }
        if mistakes.conflicts > 0 {
            text.push_str(&format!(
                "! {} an id with other content; the first counts\n",
                plural(mistakes.conflicts, "record repeats", "records repeat")
            ));
        }
        if mistakes.idle > 0 {
            text.push_str(&format!(
                "! {} nothing; `atcost doctor` says how to mend it\n",
                plural(mistakes.idle, "correction corrects", "corrections correct")
            ));
            for mistake in mistakes.first_idle().take(IDLE_SHOWN) {
                text.push_str(&format!("  {}\n", printable(&mistake.to_string())));
            }
        }
        text
    }
}
