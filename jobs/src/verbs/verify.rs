//! `atcost verify ledger`: everything recomputed from storage, and what does not agree.

use crate::config::Config;
use crate::show::{Align, Answer, Busy, Verdict, plural, printable, table};
use ledger::audit::verify::{Finding, Progress, Signed, Verified};
use ledger::sign::key::SignerKey;
use proof::head::VerifierKey;
use proof::record::JOURNAL;
use serde::Serialize;
use std::fmt;
use std::fmt::Write as _;

/// Everything that was recomputed, and the findings.
#[derive(Debug, Serialize)]
pub struct Report {
    pub ledger: String,
    pub logs: Vec<Log>,
    /// The key that signatures were checked with.
    pub verifier: Option<String>,
    pub findings: Vec<Found>,
}

#[derive(Debug, Serialize)]
pub struct Log {
    pub log: String,
    pub commits: u64,
    pub files: u64,
    pub rows: u64,
    pub root: String,
    /// Commits that the published head covers, where there is one and it is right.
    pub signed: Option<u64>,
    pub signature_checked: bool,
}

/// Something that is not as it should be.
#[derive(Debug, Serialize)]
pub struct Found {
    pub file: String,
    pub commit: Option<u64>,
    pub what: String,
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        Self { file: finding.file, commit: finding.commit, what: finding.what }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", printable(&self.file))?;
        if let Some(commit) = self.commit {
            write!(formatter, ", commit {commit}")?;
        }
        write!(formatter, ": {}", printable(&self.what))
    }
}

/// A log for people.
pub(super) fn log_name(shard: u32) -> String {
    match shard {
        JOURNAL => "journal".to_owned(),
        shard => format!("shard {}", u64::from(shard) + 1),
    }
}

/// Verifies the ledger. Signatures are checked with `key`, or with the signer's own where it is
/// configured and readable here.
///
/// # Errors
/// When the ledger cannot be read at all, or the key is none.
pub async fn verify(config: &Config, key: Option<&str>) -> anyhow::Result<Report> {
    let key: Option<VerifierKey> = match (key, &config.signer) {
        (Some(key), _) => Some(key.parse()?),
        (None, Some(signer)) if signer.key.exists().await? => {
            Some(SignerKey::read(&signer.key).await?.verifier().clone())
        }
        (None, _) => None,
    };
    let report = {
        let busy = Busy::with("recomputing the ledger");
        let mut tell = |progress| busy.say(|| how_far(progress));
        ledger::audit::verify::verify(&config.ledger, key.as_ref(), &mut tell).await?
    };
    let mut findings: Vec<Found> = report.findings.into_iter().map(Found::from).collect();
    let mut logs = Vec::new();
    for Verified { shard, commits, rows, files, root, signed, findings: of_log } in report.logs {
        findings.extend(of_log.into_iter().map(Found::from));
        logs.push(Log {
            log: log_name(shard),
            commits,
            files,
            rows,
            root: root.to_string(),
            signed: signed.map(|Signed { size, .. }| size),
            signature_checked: signed.is_some_and(|signed| signed.checked),
        });
    }
    Ok(Report { ledger: config.ledger.to_string(), logs, verifier: key.map(|key| key.to_string()), findings })
}

impl Answer for Report {
    fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }

    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .logs
            .iter()
            .map(|log| {
                let root = log.root.chars().take(12).collect();
                let signed = match log.signed {
                    Some(size) if log.signature_checked => size.to_string(),
                    Some(size) => format!("{size}?"),
                    None => "-".to_owned(),
                };
                vec![
                    log.log.clone(),
                    log.commits.to_string(),
                    log.files.to_string(),
                    log.rows.to_string(),
                    root,
                    signed,
                ]
            })
            .collect();
        let columns = [
            ("log", Align::Left),
            ("commits", Align::Right),
            ("files", Align::Right),
            ("rows", Align::Right),
            ("root", Align::Left),
            ("signed", Align::Right),
        ];
        let mut text = table(&columns, &rows);
        if self.logs.iter().any(|log| log.signed.is_some() && !log.signature_checked) {
            text.push_str("  ? signatures were not checked: give the signer's --key\n");
        }
        for finding in &self.findings {
            writeln!(text, "! {finding}").expect("writing to a string cannot fail");
        }
        let verdict = match self.findings.len() {
            0 => "everything that is stored is what was sealed".to_owned(),
            found => plural(found as u64, "discrepancy", "discrepancies"),
        };
        writeln!(text, "{verdict}").expect("writing to a string cannot fail");
        text
    }

    fn verdict(&self) -> Verdict {
        if self.findings.is_empty() { Verdict::Fine } else { Verdict::Discrepancy }
    }
}

/// Tells how far a long run is.
pub(super) fn how_far(progress: Progress) -> String {
    format!("recomputing {}: commit {} of {}", log_name(progress.shard), progress.commit, progress.commits)
}
