//! `atcost rate`: pin, rate, check, write.

use super::books::{self, Opened};
use super::nobody::{self, SUBJECTS_LISTED};
use super::totals::{self, ControlTotals};
use crate::clock;
use crate::config::Config;
use crate::show::{Align, Answer, Busy, plural, printable, table};
use anyhow::Context as _;
use derived::totals::Caught;
use ledger::Location;
use ledger::pinned::{PinnedFiles, Versions};
use rating::RatingError;
use rating::by_invoice::{Known, MonthByInvoice, compared, month_by_invoice};
use rating::catalog::Catalog;
use rating::reconcile::Row;
use rating::run::{CostLine, Pins, PostedLine, Run};
use rating::tables::{self as run_tables, Manifest, Total, Workspace};
use rating::unattributed::{Unattributed, unattributed};
use rating::usage::Mistakes;
use schemas::id::CustomerId;
use schemas::invoice::Invoice;
use schemas::time::{BillingMonth, Instant, TimeError};
use serde::Serialize;
use std::collections::BTreeMap;

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
    /// What the operator bears because nobody is bound to it, by currency.
    pub unattributed: Vec<Unattributed>,
    /// The zones in which the month goes on; none where it is over.
    pub not_over: Vec<NotOver>,
    /// What the run rests on; none where it read rows, which nothing was compared with.
    pub control_totals: Option<ControlTotals>,
    /// The month beside its invoices.
    pub rows: Vec<Row>,
    /// What the month takes back and enters anew of closed months.
    pub corrections: Vec<PostedLine>,
    /// The rows of closed months, where the month is the open one.
    pub closed: Vec<(BillingMonth, Vec<Row>)>,
}

/// A time zone in which a month is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotOver {
    pub time_zone: String,
    pub has_begun: bool,
    /// In RFC 3339.
    pub ends: String,
    /// The providers whose zone it is.
    pub providers: Vec<String>,
}

impl Rated {
    /// All that the month posts, corrections of closed months among it.
    pub(super) fn posts(&self) -> impl Iterator<Item = &PostedLine> {
        self.run.posted.iter().chain(&self.corrections)
    }
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
    /// Whether every row is read, and usage totals are not.
    pub from_rows: bool,
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
    unattributed: serde_json::Value,
    /// Whether the month is over for every provider.
    over: bool,
    not_over: &'a [NotOver],
    control_totals: &'a Option<ControlTotals>,
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
    rate_opened(config, month, cut).await.map(|(rated, _)| rated)
}

/// Rates a month, and hands out what it rests on beside the rows.
///
/// # Errors
/// As [`rate`].
pub(super) async fn rate_opened(
    config: &Config,
    month: BillingMonth,
    cut: &Cut,
) -> anyhow::Result<(Rated, Opened)> {
    let opened = books::open(config, cut.catalog.as_deref()).await?;
    let totals = if cut.from_rows { None } else { totals::for_a_run(&config.ledger).await? };
    let _busy = Busy::with(format!("rating {month}"));
    // Ingest may go on meanwhile; the last cut is then the one that totals reach.
    let reached = totals.as_ref().map(Caught::versions);
    let versions = cut.ledger_version.as_ref().or(reached.as_ref());
    let files = PinnedFiles::of_ledger(&config.ledger, versions).await?;
    let (catalog, journal) = (opened.catalog.digest, opened.books.entries);
    let pins = Pins { month, ledger: files.cut.clone(), catalog, journal };
    let workspace = Workspace::create(&config.runs, &pins, std::process::id()).await?;
    let rated = rate_into(config, pins, &opened, &files, totals.as_ref(), &workspace).await;
    workspace.close().await?;
    let rated = rated?;
    tracing::info!(event = "run.written", folder = %rated.folder, period = %month, "a month is rated");
    Ok((rated, opened))
}

/// Whether a month can be rated by what is opened. Nothing is written.
///
/// # Errors
/// Why it cannot.
pub(super) async fn rate_dry(config: &Config, month: BillingMonth, opened: &Opened) -> anyhow::Result<()> {
    dry(config, month, opened, async |pins, known| month_by_invoice(pins, known).await.map(drop)).await
}

/// The rows of a month by what is opened, whether or not they can be passed through. Nothing is written.
///
/// # Errors
/// When the month cannot be compared.
pub(super) async fn compare_dry(
    config: &Config,
    month: BillingMonth,
    opened: &Opened,
) -> anyhow::Result<Vec<Row>> {
    dry(config, month, opened, compared).await
}

async fn dry<T>(
    config: &Config,
    month: BillingMonth,
    opened: &Opened,
    work: impl AsyncFnOnce(Pins, Known<'_>) -> Result<T, RatingError>,
) -> anyhow::Result<T> {
    let totals = totals::for_a_run(&config.ledger).await?;
    let reached = totals.as_ref().map(Caught::versions);
    let files = PinnedFiles::of_ledger(&config.ledger, reached.as_ref()).await?;
    let (catalog, journal) = (opened.catalog.digest, opened.books.entries);
    let pins = Pins { month, ledger: files.cut.clone(), catalog, journal };
    let workspace = Workspace::create(&config.runs, &pins, std::process::id()).await?;
    let usage = totals::open_rows(config, &files, totals.as_ref(), &workspace.inputs()).await;
    let done = match usage {
        Err(error) => Err(error),
        Ok(usage) => {
            let Opened { catalog, invoices, decisions, posted, .. } = opened;
            let known = Known { usage: &usage, catalog, invoices, decisions, posted };
            work(pins, known).await.map_err(Into::into)
        }
    };
    workspace.close().await?;
    done
}

async fn rate_into(
    config: &Config,
    pins: Pins,
    opened: &Opened,
    files: &PinnedFiles,
    totals: Option<&Caught>,
    workspace: &Workspace,
) -> anyhow::Result<Rated> {
    let usage = totals::open_rows(config, files, totals, &workspace.inputs()).await?;
    let Opened { catalog, invoices, decisions, posted, .. } = opened;
    let known = Known { usage: &usage, catalog, invoices, decisions, posted };
    let MonthByInvoice { run, rows, corrections, closed, reconciled } = month_by_invoice(pins, known).await?;
    let control_totals = ControlTotals::compared(&usage, &files.cut.versions)?;
    let refused = usage.refused(REFUSED_LISTED).await?;
    let mistakes = usage.mistakes(IDLE_SHOWN).await?;
    let unattributed = unattributed(&run, catalog, SUBJECTS_LISTED)?;
    let not_over = not_over(run.pins.month, catalog, clock::now())?;
    let every: Vec<&Invoice> = opened.all.iter().map(|came| opened.invoice(came)).collect();
    let written = run_tables::Written {
        run: &run,
        catalog,
        rows: &rows,
        invoices: &every,
        corrections: &corrections,
        reconciled: &reconciled,
    };
    let (folder, manifest) = run_tables::write(&written, &config.runs, workspace).await?;
    Ok(Rated {
        run,
        folder,
        manifest,
        catalog: catalog.clone(),
        refused,
        mistakes,
        unattributed,
        not_over,
        control_totals,
        rows,
        corrections,
        closed,
    })
}

/// The zones in which the month ends after `now`, by name.
pub(super) fn not_over(
    month: BillingMonth,
    catalog: &Catalog,
    now: Instant,
) -> Result<Vec<NotOver>, TimeError> {
    let mut zones: BTreeMap<&str, NotOver> = BTreeMap::new();
    for provider in catalog.providers.values() {
        let period = provider.billing_period(month)?;
        if period.end() > now {
            let zone = zones.entry(&provider.time_zone_name).or_insert_with(|| NotOver {
                time_zone: provider.time_zone_name.clone(),
                has_begun: period.start() <= now,
                ends: period.end().to_string(),
                providers: Vec::new(),
            });
            zone.providers.push(provider.id.to_string());
        }
    }
    Ok(zones.into_values().collect())
}

impl Answer for Rated {
    fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::to_value(Summary {
            folder: self.folder.to_string(),
            refused: &self.refused,
            open_conflicts: self.mistakes.conflicts,
            idle_corrections: self.mistakes.idle,
            idle: self.mistakes.first_idle().map(|mistake| mistake.to_string()).collect(),
            unattributed: nobody::json(&self.unattributed),
            over: self.not_over.is_empty(),
            not_over: &self.not_over,
            control_totals: &self.control_totals,
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
            records + &self.control_totals.as_ref().map(ControlTotals::text).unwrap_or_default(),
            cost_lines(&self.run.cost_lines),
            customers(manifest, &self.catalog) + &billed(manifest) + &self.reservations(),
            format!("{}\n", self.folder),
        ];
        sections.join("\n")
    }
}

/// The rows that a terminal has room for.
const SHOWN: usize = 40;

/// The time zones, and the providers of each, that a terminal has room for.
const ZONES_SHOWN: usize = 5;
const PROVIDERS_SHOWN: usize = 5;

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
    first_rows(&columns, &rows, "cost_lines.parquet")
}

/// A table of what a terminal has room for, with the file that has the rest.
fn first_rows(columns: &[(&str, Align)], rows: &[Vec<String>], rest: &str) -> String {
    let mut text = table(columns, &rows[..rows.len().min(SHOWN)]);
    if rows.len() > SHOWN {
        text.push_str(&format!("  … and {} more in {rest}\n", rows.len() - SHOWN));
    }
    text
}

fn customers(manifest: &Manifest, catalog: &Catalog) -> String {
    let own = |customer: &str| {
        let id = CustomerId::new(customer).ok()?;
        Some(catalog.customers.get(&id)?.currency.to_string())
    };
    let rows: Vec<Vec<String>> = manifest
        .customer_total
        .iter()
        .map(|(customer, total)| {
            vec![customer.clone(), manifest.currencies.of_customer(customer, total, own(customer))]
        })
        .collect();
    let columns = [("customer", Align::Left), ("charged", Align::Right)];
    let table = first_rows(&columns, &rows, "manifest.json");
    let retained = manifest.currencies.of_retained(&manifest.retained_total);
    format!("{table}  retained by the operator: {retained}\n")
}

/// What each biller bills, where that is more than what the operator charges in the provider's currency.
fn billed(manifest: &Manifest) -> String {
    let plain = |biller: &str, customer: &str, total: &Total| {
        manifest.billed_total.len() < 2
            && manifest.customer_total.get(customer) == Some(total)
            && manifest.currencies.customer.get(customer) == manifest.currencies.of_bill(biller, customer)
    };
    let all = || {
        manifest
            .billed_total
            .iter()
            .flat_map(|(biller, of)| of.iter().map(move |(customer, total)| (biller, customer, total)))
    };
    if all().all(|(biller, customer, total)| plain(biller, customer, total)) {
        return String::new();
    }
    let rows: Vec<Vec<String>> = all()
        .map(|(biller, customer, total)| {
            let billed = manifest.currencies.of_billed(biller, customer, total);
            vec![biller.clone(), customer.clone(), billed]
        })
        .collect();
    let columns = [("biller", Align::Left), ("customer", Align::Left), ("billed", Align::Right)];
    format!("\n{}", first_rows(&columns, &rows, "statement_lines.parquet"))
}

impl Rated {
    /// Everything that a month without mistakes would not have.
    fn reservations(&self) -> String {
        let Self { run, manifest, refused, mistakes, unattributed, not_over, .. } = self;
        let mut text = String::new();
        for zone in not_over.iter().take(ZONES_SHOWN) {
            let state = if zone.has_begun { "is not over" } else { "has not begun" };
            let listed = zone.providers.len().min(PROVIDERS_SHOWN);
            let mut providers = zone.providers[..listed].join(", ");
            if zone.providers.len() > listed {
                providers.push_str(&format!(" and {} more", zone.providers.len() - listed));
            }
            text.push_str(&format!(
                "! {} {state}: in {}, the time zone of {providers}, it ends at {}; rate it again then\n",
                manifest.period, zone.time_zone, zone.ends
            ));
        }
        if not_over.len() > ZONES_SHOWN {
            text.push_str(&format!(
                "! … nor is it over in {} more time zones; --format json has them all\n",
                not_over.len() - ZONES_SHOWN
            ));
        }
        text.push_str(&nobody::text(unattributed));
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
        let missing: Vec<String> = manifest
            .completeness
            .iter()
            .filter(|(_, rows)| **rows > 0)
            .map(|(kind, rows)| format!("{kind} {rows}"))
            .collect();
        if !missing.is_empty() {
            text.push_str(&format!(
                "! something may be missing ({}); completeness.parquet says what, and from when until when\n",
                missing.join(", ")
            ));
        }
        if !refused.is_empty() {
            text.push_str(&format!(
                "! {} refused; `atcost doctor` says where and why\n",
                plural(manifest.rejected, "record was", "records were")
            ));
        }
        let repeats = mistakes.conflicts - mistakes.second;
        if repeats > 0 {
            text.push_str(&format!(
                "! {} an id with other content; the first counts\n",
                plural(repeats, "record repeats", "records repeat")
            ));
        }
        if mistakes.second > 0 {
            text.push_str(&format!(
                "! {} an event that was corrected before; the first correction counts, `atcost doctor` says how to mend it\n",
                plural(mistakes.second, "correction is of", "corrections are of")
            ));
            for mistake in mistakes.first_second().take(IDLE_SHOWN) {
                text.push_str(&format!("  {}\n", printable(&mistake.to_string())));
            }
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
