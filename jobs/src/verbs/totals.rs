//! `atcost totals`: usage totals brought up to the ledger, kept so, or recomputed from its rows.

use crate::config::Config;
use crate::show::{Answer, Busy, Verdict, plural, printable};
use anyhow::Context as _;
use derived::totals::{self, Caught, Control, Recounted, Sum, TotalsError};
use ledger::Location;
use ledger::pinned::{PinnedFiles, Versions};
use rating::usage::CountedRows;
use schemas::decimal::QuantityTotal;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Totals as they are now.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of each shard that they reach.
    pub versions: String,
    /// Usage rows that were read for it.
    pub rows_read: u64,
    /// Whether all was made anew.
    pub rebuilt: bool,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    /// The bytes of the totals, without the index of ids.
    pub bytes: u64,
    pub meters: BTreeMap<String, Total>,
    /// What does not agree with the rows.
    pub findings: Vec<String>,
}

/// Some usage of one meter.
#[derive(Debug, Serialize)]
pub struct Total {
    pub events: i64,
    /// Σ of the values.
    pub value: String,
}

impl Total {
    fn of(sum: Sum) -> anyhow::Result<Self> {
        let value = QuantityTotal::from_units(sum.value).context("a sum of values is too large")?;
        Ok(Self { events: sum.events, value: value.to_string() })
    }
}

/// The control totals that a run rests on: of all rows of its cut, by meter.
#[derive(Debug, Serialize)]
pub struct ControlTotals {
    /// Commits and rows that they cover; of the rows, those that are usage.
    pub commits: u64,
    pub rows: u64,
    pub usage: u64,
    pub meters: BTreeMap<String, Parts>,
}

/// The usage of one meter, by what became of it.
#[derive(Debug, Serialize)]
pub struct Parts {
    /// All of it.
    pub usage: Total,
    /// What is no correction, and whose id was not in the ledger before.
    pub plain: Total,
    /// What repeats an id.
    pub repeats: Total,
    pub corrections: Total,
}

impl ControlTotals {
    /// What was compared while these rows were rated; none where nothing was.
    ///
    /// # Errors
    /// When a sum does not fit.
    pub(super) fn compared(usage: &CountedRows, versions: &Versions) -> anyhow::Result<Option<Self>> {
        let Some(control) = usage.control() else { return Ok(None) };
        let mut meters = BTreeMap::new();
        for (meter, parts) in &control.meters {
            let parts = Parts {
                usage: Total::of(parts.usage)?,
                plain: Total::of(parts.plain)?,
                repeats: Total::of(parts.repeats)?,
                corrections: Total::of(parts.corrections)?,
            };
            meters.insert(meter.clone(), parts);
        }
        let commits = versions.0.iter().try_fold(0_u64, |sum, version| sum.checked_add(*version));
        let commits = commits.context("there are too many commits")?;
        Ok(Some(Self { commits, rows: control.rows, usage: control.usage, meters }))
    }

    pub(super) fn text(&self) -> String {
        format!(
            "agrees with the control totals of {} in {}\n",
            plural(self.usage, "usage row", "usage rows"),
            plural(self.commits, "commit", "commits")
        )
    }
}

/// Totals of a ledger, brought up to its last commits, with a sign of life.
///
/// # Errors
/// As [`totals::catch_up`].
pub(super) async fn caught_up(ledger: &Location) -> Result<Caught, TotalsError> {
    let busy = Busy::with("catching up usage totals");
    totals::catch_up(ledger, &mut |done, total| {
        busy.say(|| format!("catching up usage totals: {done} of {total} rows"))
    })
    .await
}

/// Totals for a run; none where they cannot be kept, and the run reads rows.
///
/// # Errors
/// As [`totals::catch_up`].
pub(super) async fn for_a_run(ledger: &Location) -> anyhow::Result<Option<Caught>> {
    match caught_up(ledger).await {
        Ok(caught) => Ok(Some(caught)),
        Err(error @ TotalsError::NoPlace { .. }) => {
            tracing::warn!(event = "totals.off", %error, "every row is read instead");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The rows of a cut, as totals cover them where there are any.
///
/// # Errors
/// When a file is not what was written.
pub(super) async fn open_rows(
    config: &Config,
    files: &PinnedFiles,
    totals: Option<&Caught>,
    inputs: &Location,
) -> anyhow::Result<CountedRows> {
    let Some(totals) = totals else { return Ok(CountedRows::open(files, inputs, config.memory).await?) };
    let cover = totals.cover(&files.cut.versions)?;
    Ok(CountedRows::open_folded(files, cover, inputs, config.memory).await?)
}

/// Brings the totals up to the ledger.
///
/// # Errors
/// When rows cannot be read, storage fails, or they do not add up.
pub async fn catch_up(config: &Config) -> anyhow::Result<Report> {
    report(&caught_up(&config.ledger).await?, Vec::new())
}

/// Keeps the totals up to the ledger until it is asked to stop. `shown` gets each report that has
/// anything new.
///
/// # Errors
/// As [`catch_up`]. Storage that does not answer is tried again.
pub async fn follow(
    config: &Config,
    every: Duration,
    shown: &mut dyn FnMut(&Report) -> anyhow::Result<()>,
) -> anyhow::Result<Verdict> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be watched")?;
    loop {
        match caught_up(&config.ledger).await {
            Ok(caught) if caught.rows > 0 || caught.rebuilt => shown(&report(&caught, Vec::new())?)?,
            Ok(_) => {}
            Err(TotalsError::Ledger(error)) if error.kind() == ledger::ErrorKind::Retry => {
                tracing::warn!(event = "totals.unavailable", %error, "storage did not answer; trying again");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = terminate.recv() => return Ok(Verdict::Fine),
            _ = interrupt.recv() => return Ok(Verdict::Fine),
        }
    }
}

/// Recomputes the totals from the rows and compares.
///
/// # Errors
/// When rows cannot be read or storage fails.
pub async fn verify(config: &Config) -> anyhow::Result<Report> {
    let caught = caught_up(&config.ledger).await?;
    let busy = Busy::with("recomputing usage totals");
    let mut tell = |done, total| busy.say(|| format!("recomputing usage totals: {done} of {total} rows"));
    let Recounted { findings } = totals::recount(&config.ledger, &caught, &mut tell).await?;
    drop(busy);
    report(&caught, findings)
}

fn report(caught: &Caught, findings: Vec<String>) -> anyhow::Result<Report> {
    let control: Control = caught.control();
    let meters = control.meters.iter().map(|(meter, parts)| Ok((meter.clone(), Total::of(parts.usage)?)));
    Ok(Report {
        versions: caught.versions().to_string(),
        rows_read: caught.rows,
        rebuilt: caught.rebuilt,
        usage: control.usage,
        rejected: control.rejected,
        gaps: control.gaps,
        bytes: caught.bytes(),
        meters: meters.collect::<anyhow::Result<_>>()?,
        findings,
    })
}

/// Findings that are listed one by one.
const SHOWN: usize = 20;

impl Answer for Report {
    fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }

    fn text(&self) -> String {
        let mut text = format!(
            "usage totals reach version {} of the ledger: {} of {} read now, {} bytes\n",
            self.versions,
            plural(self.rows_read, "usage row", "usage rows"),
            self.usage,
            self.bytes
        );
        for finding in self.findings.iter().take(SHOWN) {
            text.push_str(&format!("! {}\n", printable(finding)));
        }
        if self.findings.len() > SHOWN {
            text.push_str(&format!("! … and {} more\n", self.findings.len() - SHOWN));
        }
        text
    }

    fn verdict(&self) -> Verdict {
        if self.findings.is_empty() { Verdict::Fine } else { Verdict::Discrepancy }
    }
}
