//! The month again and again, in place, until somebody ends it.
//!
//! Invariant: however it ends, the terminal is as it was.

use super::gauges::write_gauges;
use super::look::{Status, status};
use crate::config::Config;
use crate::show::{Answer as _, Screen, Verdict};
use anyhow::Context as _;
use rating::tables::Workspace;
use schemas::time::BillingMonth;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Shows the month every so often. A look that fails ends it, because the next would as well.
///
/// # Errors
/// As [`status`], and where stdout is no terminal.
pub async fn watch(
    config: &Config,
    month: Option<BillingMonth>,
    every: Duration,
    gauges: Option<&Path>,
) -> anyhow::Result<Verdict> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be watched")?;
    let mut screen = Screen::open()?;
    let mut shown = async || -> anyhow::Result<Verdict> {
        loop {
            let looked: Status = status(config, month).await?;
            if let Some(path) = gauges {
                write_gauges(&looked, path)?;
            }
            screen.show(&looked.text())?;
            tokio::time::sleep(every).await;
        }
    };
    let ended = tokio::select! {
        ended = shown() => ended,
        _ = terminate.recv() => Ok(Verdict::Fine),
        _ = interrupt.recv() => Ok(Verdict::Fine),
    };
    drop(screen);
    // What a look that was broken off had made.
    Workspace::scratch(&config.runs, std::process::id()).await?.close().await?;
    ended
}
