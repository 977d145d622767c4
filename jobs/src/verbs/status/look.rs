//! What is looked at: what came in, what is missing, what it comes to so far, what is open.
//!
//! Nothing is put into words here.
//!
//! Invariant: all of it is of one cut of the ledger and one moment of the journal.

use crate::clock;
use crate::config::Config;
use crate::show::Busy;
use crate::verbs::books::{self, Opened};
use crate::verbs::rate::{NotOver, not_over};
use crate::verbs::totals;
use anyhow::Context as _;
use derived::totals::Caught;
use ledger::pinned::{PinnedFiles, Versions};
use rating::by_invoice::{Known, MonthByInvoice, month_by_invoice};
use rating::catalog::Catalog;
use rating::close::{Candidate, blockers};
use rating::document::billed;
use rating::exact::{Exact, display};
use rating::limits::{LimitState, LimitUse, MonthBefore, limits};
use rating::reconcile::{Class, Row, Status as RowStatus, standing_invoices};
use rating::rounding;
use rating::run::{CompletenessRow, Pins, PostedLine, Run};
use rating::statement::Biller;
use rating::tables::Workspace;
use rating::usage::{Arrivals, CountedRows, LedgerCounts};
use schemas::decimal::Amount;
use schemas::id::{CustomerId, InvoiceId, ProviderId};
use schemas::invoice::Standing;
use schemas::money::{Currency, Money};
use schemas::time::{BillingMonth, Day, Instant, Period, time_zone};
use std::collections::{BTreeMap, BTreeSet};

/// A month as it is now.
pub struct Status {
    pub(super) month: BillingMonth,
    /// Now, or the end of the month where that is over.
    pub(super) as_of: Instant,
    pub(super) not_over: Vec<NotOver>,
    pub(super) is_closed: bool,
    pub(super) version: Versions,
    /// Of the whole ledger.
    pub(super) counts: LedgerCounts,
    /// Of the month.
    pub(super) arrivals: Vec<Arrivals>,
    pub(super) completeness: Vec<CompletenessRow>,
    pub(super) providers: BTreeMap<ProviderId, OfProvider>,
    /// What each customer is billed so far.
    pub(super) customers: BTreeMap<(CustomerId, Currency), Amount>,
    pub(super) retained: BTreeMap<Currency, Amount>,
    /// Rows that are open or awaited, by provider and class.
    pub(super) open: BTreeMap<(ProviderId, Class), u64>,
    pub(super) blockers: Vec<InTheWay>,
    pub(super) limits: Vec<Told>,
}

/// A provider's part of the month.
#[derive(Default)]
pub(super) struct OfProvider {
    /// What is passed through or retained so far, and how much of it is an estimate.
    pub sums: BTreeMap<Currency, OfCurrency>,
    /// Those that stand.
    pub invoices: Vec<Here>,
    /// Whether it has costs and no complete invoice.
    pub is_missing: bool,
}

#[derive(Clone, Copy)]
pub(super) struct OfCurrency {
    pub so_far: Amount,
    pub estimate: Amount,
}

/// An invoice that is here.
pub(super) struct Here {
    pub invoice: InvoiceId,
    pub version: u32,
    pub standing: Standing,
}

/// Something in the way of the close, and the command that does something about it.
pub(super) struct InTheWay {
    pub what: String,
    pub help: String,
    pub command: String,
}

/// A limit, and what is used of it.
pub(super) struct Told {
    pub id: String,
    pub customer: Option<CustomerId>,
    pub currency: Currency,
    pub used: Exact,
    pub most: Option<Exact>,
    pub before: Option<Exact>,
    /// In whole hundredths, cut.
    pub percent: Option<String>,
    pub state: LimitState,
    pub note: Option<String>,
}

/// A source is late when nothing of it was used for so long.
const LATE: i64 = Day::MICROS;
/// The sources of each type of events that are named.
const STALEST: usize = 20;

/// Looks at a month; without one, at the month of UTC that it is.
///
/// # Errors
/// When nothing was published, rows cannot be trusted, or the month cannot be rated.
pub async fn status(config: &Config, month: Option<BillingMonth>) -> anyhow::Result<Status> {
    let now = clock::now();
    let month = month.unwrap_or_else(|| BillingMonth::in_utc(now));
    let opened = books::open(config, None).await?;
    let totals = totals::for_a_run(&config.ledger).await?;
    let _busy = Busy::with(format!("looking at {month}"));
    let reached = totals.as_ref().map(Caught::versions);
    let files = PinnedFiles::of_ledger(&config.ledger, reached.as_ref()).await?;
    let workspace = Workspace::scratch(&config.runs, std::process::id()).await?;
    let looked = async {
        let usage = totals::open_rows(config, &files, totals.as_ref(), &workspace.inputs()).await?;
        look((month, now), &opened, &files, &usage).await
    };
    let status = looked.await;
    workspace.close().await?;
    status
}

async fn look(
    (month, now): (BillingMonth, Instant),
    opened: &Opened,
    files: &PinnedFiles,
    usage: &CountedRows,
) -> anyhow::Result<Status> {
    let Opened { catalog, books, invoices, decisions, posted, .. } = opened;
    let pins =
        |month| Pins { month, ledger: files.cut.clone(), catalog: catalog.digest, journal: books.entries };
    let known = Known { usage, catalog, invoices, decisions, posted };
    let by_invoice = month_by_invoice(pins(month), known).await?;
    let span = span(month, catalog)?;
    let as_of = now.min(span.end());
    let late_before = Instant::from_micros(as_of.micros() - LATE).unwrap_or(as_of);
    let arrivals = usage.arrivals(span, late_before, STALEST).await?;
    let not_over = not_over(month, catalog, now)?;
    let before = match catalog.limits.iter().any(|limit| limit.growth.is_some()) {
        false => Ok(None),
        true => rated_before(month, &pins, usage, catalog).await.map(Some),
    };
    let before = match &before {
        Ok(run) => MonthBefore::Rated(run.as_ref().map_or(&[], |run| &run.cost_lines)),
        Err(why) => MonthBefore::NotRated(why),
    };
    let limits = limits(catalog, &by_invoice.run.cost_lines, before).into_iter().map(told).collect();
    let MonthByInvoice { run, rows, corrections, closed, .. } = &by_invoice;
    let candidate = Candidate { run, rows, closed, invoices, books, catalog, is_over: not_over.is_empty() };
    let is_closed = posted.contains_key(&month);
    let (in_the_way, _) = if is_closed { Default::default() } else { blockers(&candidate, &BTreeSet::new()) };
    let in_the_way = in_the_way.iter().map(|blocker| InTheWay {
        what: blocker.to_string(),
        help: blocker.way_out(month),
        command: blocker.command(month),
    });
    // Of a closed month what was posted, corrections of others among it.
    let lines: Vec<&PostedLine> = match posted.get(&month) {
        Some(posted) => posted.iter().collect(),
        None => run.posted.iter().chain(corrections).collect(),
    };
    Ok(Status {
        month,
        as_of,
        not_over,
        is_closed,
        version: files.cut.versions.clone(),
        counts: run.counts,
        arrivals,
        completeness: run.completeness.clone(),
        providers: providers(opened, run, &lines)?,
        customers: billed(lines.iter().copied())?,
        retained: retained(&lines)?,
        open: open(rows),
        blockers: in_the_way.collect(),
        limits,
    })
}

/// The month before, rated; or why it cannot be.
async fn rated_before(
    month: BillingMonth,
    pins: &impl Fn(BillingMonth) -> Pins,
    usage: &CountedRows,
    catalog: &Catalog,
) -> Result<Run, String> {
    let before = month.previous().ok_or_else(|| "there is none".to_owned())?;
    rating::run::rate(pins(before), usage, catalog).await.map_err(|error| error.to_string())
}

/// From where the month begins first to where it ends last.
fn span(month: BillingMonth, catalog: &Catalog) -> anyhow::Result<Period> {
    let utc = time_zone("UTC").expect("the tz database has UTC");
    let mut span = month.period_in(&utc)?;
    for provider in catalog.providers.values() {
        let period = provider.billing_period(month)?;
        let (start, end) = (span.start().min(period.start()), span.end().max(period.end()));
        span = Period::new(start, end).expect("it contains a period");
    }
    Ok(span)
}

fn told(told: LimitUse<'_>) -> Told {
    let percent = told.percent().map(|percent| percent.to_string());
    let LimitUse { limit, used, before, most, state, note } = told;
    Told {
        id: limit.id.to_string(),
        customer: limit.customer.clone(),
        currency: limit.currency,
        used,
        most,
        before,
        percent,
        state,
        note,
    }
}

/// Rows that wait for somebody.
fn open(rows: &[Row]) -> BTreeMap<(ProviderId, Class), u64> {
    let mut open = BTreeMap::new();
    for row in rows.iter().filter(|row| matches!(row.status, Some(RowStatus::Open | RowStatus::Awaited))) {
        let class = row.class.expect("a variance has a class");
        *open.entry((row.provider.clone(), class)).or_default() += 1;
    }
    open
}

fn providers(
    opened: &Opened,
    run: &Run,
    lines: &[&PostedLine],
) -> anyhow::Result<BTreeMap<ProviderId, OfProvider>> {
    let mut providers: BTreeMap<ProviderId, OfProvider> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.biller == Biller::Operator) {
        let of = providers.entry(line.of.provider.clone()).or_default();
        let nothing = OfCurrency { so_far: Amount::ZERO, estimate: Amount::ZERO };
        let sums = of.sums.entry(line.money.currency).or_insert(nothing);
        add(&mut sums.so_far, line.money)?;
        if line.of.invoice.is_none() {
            add(&mut sums.estimate, line.money)?;
        }
    }
    for invoice in standing_invoices(&opened.invoices) {
        if invoice.period == run.pins.month {
            let (id, version, standing) = (invoice.id.clone(), invoice.version, invoice.standing);
            let of = providers.entry(invoice.provider.clone()).or_default();
            of.invoices.push(Here { invoice: id, version, standing });
        }
    }
    for line in &run.cost_lines {
        let of = providers.entry(line.key.provider.clone()).or_default();
        let is_here = of.invoices.iter().any(|here| here.standing == Standing::Complete);
        of.is_missing = !is_here && line.key.provider.as_str() != opened.catalog.operator;
    }
    Ok(providers)
}

fn retained(lines: &[&PostedLine]) -> anyhow::Result<BTreeMap<Currency, Amount>> {
    let mut retained = BTreeMap::new();
    for line in lines.iter().filter(|line| line.biller == Biller::Operator && !line.kind.is_billed()) {
        add(retained.entry(line.money.currency).or_insert(Amount::ZERO), line.money)?;
    }
    Ok(retained)
}

fn add(sum: &mut Amount, money: Money) -> anyhow::Result<()> {
    let amount = money.to_amount().context("a sum of the month is too large")?;
    *sum = sum.checked_add(amount)?;
    Ok(())
}

/// To the places of a table, or in full where it is larger than one can say.
pub(super) fn digits(value: &Exact) -> String {
    rounding::amount(value).map_or_else(|_| display(value), |amount| amount.to_string())
}
