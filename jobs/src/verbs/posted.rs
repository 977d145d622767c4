//! A month as it is posted: of a closed one what its close has kept, of any other what it is now.
//!
//! Nothing is shown here.
//!
//! Invariant: whatever is learnt after a close changes no line of it.

use super::books::Opened;
use super::catalog::{InForce, in_force};
use super::rate::{Cut, rate_opened};
use super::totals;
use crate::config::Config;
use ledger::pinned::PinnedFiles;
use rating::by_day::days;
use rating::catalog::Catalog;
use rating::evidence::{Asked, Evidence, Most, evidence};
use rating::focus::Days;
use rating::run::{ChargeId, CostLine, PostedLine, RunId};
use rating::tables::Workspace;
use rating::usage::CountedRows;
use schemas::time::BillingMonth;
use std::collections::BTreeMap;

/// A month as it is posted.
pub(super) struct Month {
    pub lines: Vec<PostedLine>,
    /// What the lines are of; of a closed month as it was rated for the close.
    pub cost_lines: Vec<CostLine>,
    pub catalog: Catalog,
    /// The days of use, where they are asked for.
    pub days: Option<Days>,
    pub is_closed: bool,
    /// The run that has the cost lines.
    pub run: RunId,
    /// What it was rated with.
    cut: Cut,
}

/// A month as it is posted, and what is known beside it.
///
/// # Errors
/// When it cannot be rated.
pub(super) async fn month_as_posted(
    config: &Config,
    month: BillingMonth,
    by_day: bool,
) -> anyhow::Result<(Month, Opened)> {
    // Its invoices are read once, with the catalog that it is rated with.
    let InForce { books, .. } = in_force(config, None).await?;
    let closed = books.closes.get(&month);
    // What a closed month was made of is found by rating it as it was.
    let cut = closed.map_or_else(Cut::default, |closed| Cut {
        ledger_version: Some(closed.record.ledger_version.clone()),
        catalog: Some(closed.record.catalog.clone()),
        from_rows: false,
    });
    let is_closed = closed.is_some();
    let (rated, opened) = rate_opened(config, month, &cut).await?;
    // Ingest may go on meanwhile; whatever is looked up from now on is in the rows that were rated.
    let cut = Cut { ledger_version: Some(rated.run.pins.ledger.versions.clone()), ..cut };
    let days = match by_day {
        true => Some(days_of(config, month, &cut, &rated.run.cost_lines, &rated.catalog).await?),
        false => None,
    };
    let lines = match opened.posted.get(&month) {
        Some(posted) => posted.clone(),
        None => rated.posts().cloned().collect(),
    };
    let run = rated.run.pins.run_id();
    let (cost_lines, catalog) = (rated.run.cost_lines, rated.catalog);
    Ok((Month { lines, cost_lines, catalog, days, is_closed, run, cut }, opened))
}

impl Month {
    /// The events behind charges of its cost lines.
    ///
    /// # Errors
    /// When rows cannot be trusted.
    pub(super) async fn evidence(
        &self,
        config: &Config,
        month: BillingMonth,
        asked: &Asked<'_>,
        most: Most,
    ) -> anyhow::Result<BTreeMap<ChargeId, Evidence>> {
        let workspace = Workspace::scratch(&config.runs, std::process::id()).await?;
        let found = match rows(config, &self.cut, &workspace).await {
            Ok(usage) => evidence(asked, month, &usage, &self.catalog, most).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        workspace.close().await?;
        found
    }
}

async fn days_of(
    config: &Config,
    month: BillingMonth,
    cut: &Cut,
    cost_lines: &[CostLine],
    catalog: &Catalog,
) -> anyhow::Result<Days> {
    let workspace = Workspace::scratch(&config.runs, std::process::id()).await?;
    let found = match rows(config, cut, &workspace).await {
        Ok(usage) => days(month, cost_lines, &usage, catalog).await.map_err(Into::into),
        Err(error) => Err(error),
    };
    workspace.close().await?;
    found
}

/// The rows that a month was rated with.
async fn rows(config: &Config, cut: &Cut, workspace: &Workspace) -> anyhow::Result<CountedRows> {
    let caught = totals::for_a_run(&config.ledger).await?;
    let files = PinnedFiles::of_ledger(&config.ledger, cut.ledger_version.as_ref()).await?;
    totals::open_rows(config, &files, caught.as_ref(), &workspace.inputs()).await
}
