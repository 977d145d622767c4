//! `atcost sign` and `atcost signer new-key`: heads that the operator can be held to.

use super::verify::{Found, how_far, log_name};
use crate::config::Config;
use crate::show::{Align, Answer, Busy, Verdict, plural, printable, table};
use anyhow::Context as _;
use ledger::sign::key::SignerKey;
use ledger::sign::signer::{SignedLog, Signer};
use ledger::{ErrorKind, LedgerError, Location};
use proof::head::VerifierKey;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The logs that were signed, or why not.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The key that heads are checked with.
    pub verifier: String,
    pub logs: Vec<Log>,
}

#[derive(Debug, Serialize)]
pub struct Log {
    pub log: String,
    /// Commits that the last head covered, and that the present one does.
    pub before: u64,
    pub signed: u64,
    /// Why nothing new was signed.
    pub findings: Vec<Found>,
}

/// A signer's key that was made.
pub struct NewKey {
    pub verifier: VerifierKey,
    pub file: PathBuf,
}

/// Makes a signer's key.
///
/// # Errors
/// When the name cannot be one, or the file exists or cannot be written.
pub async fn new_key(name: &str, path: &Path) -> anyhow::Result<NewKey> {
    let verifier = SignerKey::create(&Location::on_disk(path)?, name).await?;
    Ok(NewKey { verifier, file: path.to_owned() })
}

/// Signs every log that has grown, once.
///
/// # Errors
/// When there is no key, or the state is missing or damaged.
pub async fn sign(config: &Config, first: bool) -> anyhow::Result<Report> {
    let signer = open(config).await?;
    Ok(report(&signer, once(config, &signer, first).await?))
}

/// Signs every log that has grown, every so often, until it is asked to stop or something is found.
/// `shown` gets each report that has anything new.
///
/// # Errors
/// As [`sign`]. Storage that does not answer is tried again.
pub async fn follow(
    config: &Config,
    first: bool,
    every: Duration,
    shown: &mut dyn FnMut(&Report) -> anyhow::Result<()>,
) -> anyhow::Result<Verdict> {
    let signer = open(config).await?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be watched")?;
    loop {
        match once(config, &signer, first).await {
            Ok(logs) => {
                let report = report(&signer, logs);
                if report.logs.iter().any(|log| log.signed > log.before || !log.findings.is_empty()) {
                    shown(&report)?;
                }
                if report.verdict() == Verdict::Discrepancy {
                    return Ok(Verdict::Discrepancy);
                }
            }
            Err(error) if error.kind() == ErrorKind::Retry => {
                tracing::warn!(event = "sign.unavailable", %error, "storage did not answer; trying again");
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

async fn open(config: &Config) -> anyhow::Result<Signer> {
    let settings = config
        .signer
        .as_ref()
        .context("there is no [signer] in the configuration: say where its key and its state are")?;
    Ok(Signer::open(&settings.key, &settings.state).await?)
}

async fn once(config: &Config, signer: &Signer, first: bool) -> Result<Vec<SignedLog>, LedgerError> {
    let busy = Busy::with("recomputing what is new");
    signer.sign(&config.ledger, first, &mut |progress| busy.say(|| how_far(progress))).await
}

fn report(signer: &Signer, logs: Vec<SignedLog>) -> Report {
    let logs = logs.into_iter().map(|log| Log {
        log: log_name(log.shard),
        before: log.before,
        signed: log.size,
        findings: log.findings.into_iter().map(Found::from).collect(),
    });
    Report { verifier: signer.key().verifier().to_string(), logs: logs.collect() }
}

impl Answer for Report {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self)?)
    }

    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .logs
            .iter()
            .map(|log| vec![log.log.clone(), log.before.to_string(), log.signed.to_string()])
            .collect();
        let mut text =
            table(&[("log", Align::Left), ("signed before", Align::Right), ("signed", Align::Right)], &rows);
        for log in &self.logs {
            for finding in &log.findings {
                writeln!(text, "! {finding}").expect("writing to a string cannot fail");
            }
        }
        let refused = self.logs.iter().filter(|log| !log.findings.is_empty()).count();
        let last = match refused {
            0 => format!("heads are checked with {}", printable(&self.verifier)),
            _ => format!("refused: {} not signed", plural(refused as u64, "log was", "logs were")),
        };
        writeln!(text, "{last}").expect("writing to a string cannot fail");
        text
    }

    fn verdict(&self) -> Verdict {
        if self.logs.iter().all(|log| log.findings.is_empty()) { Verdict::Fine } else { Verdict::Discrepancy }
    }
}

impl Answer for NewKey {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(json!({ "key": self.file, "verifier": self.verifier.to_string() }))
    }

    fn text(&self) -> String {
        format!(
            "wrote {}; keep it secret\nits signatures are checked with {}\n",
            self.file.display(),
            self.verifier
        )
    }
}
