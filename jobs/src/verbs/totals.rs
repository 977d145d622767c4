//! `atcost totals`: usage totals brought up to the ledger, kept so, or recomputed from its rows.

use crate::config::Config;
use crate::show::{Answer, Busy, Verdict, plural, printable};
use anyhow::Context as _;
use derived::totals::{self, Caught, Control, Recounted, TotalsError};
use ledger::Location;
use ledger::pinned::PinnedFiles;
use rating::usage::CountedRows;
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
    pub meters: BTreeMap<String, Meter>,
    /// What does not agree with the rows.
    pub findings: Vec<String>,
}

/// The usage of one meter, repeats and corrections among it.
#[derive(Debug, Serialize)]
pub struct Meter {
    pub events: i64,
    /// Σ of the values.
    pub value: String,
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
    Ok(report(&caught_up(&config.ledger).await?, Vec::new()))
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
            Ok(caught) if caught.rows > 0 || caught.rebuilt => shown(&report(&caught, Vec::new()))?,
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
    Ok(report(&caught, findings))
}

fn report(caught: &Caught, findings: Vec<String>) -> Report {
    let control: Control = caught.control();
    let meters = control.meters.iter().map(|(meter, control)| {
        let value = schemas::decimal::QuantityTotal::from_units(control.usage.value);
        let value = value.map_or_else(|error| error.to_string(), |value| value.to_string());
        (meter.clone(), Meter { events: control.usage.events, value })
    });
    Report {
        versions: caught.versions().to_string(),
        rows_read: caught.rows,
        rebuilt: caught.rebuilt,
        usage: control.usage,
        rejected: control.rejected,
        gaps: control.gaps,
        bytes: caught.bytes(),
        meters: meters.collect(),
        findings,
    }
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
