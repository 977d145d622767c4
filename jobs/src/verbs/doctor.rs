//! `atcost doctor`: recounts the ledger from storage and says what is wrong, and what to do about
//! it.

use super::rate::REFUSED_LISTED;
use crate::config::Config;
use crate::show::{Align, Answer, Busy, Verdict, plural, printable, table};
use ledger::journal::Journal;
use ledger::pinned::{PinnedFiles, Versions};
use rating::usage::{CountedRows, LedgerCounts, StreamCounts};
use schemas::position::{Origin, Stream};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The counts of a ledger, and the findings.
#[derive(Debug, Serialize)]
pub struct Report {
    pub ledger: String,
    pub version: Versions,
    pub received: u64,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    pub duplicates: u64,
    pub conflicts: u64,
    pub rejected_by_reason: BTreeMap<String, u64>,
    pub partitions: Vec<PartitionReport>,
    pub properties: BTreeMap<String, String>,
    pub catalogs: usize,
    /// Where refused records were, as `file:line` or `topic/partition@offset`; at most
    /// [`REFUSED_LISTED`].
    pub refused: Vec<String>,
    pub conflicting: Vec<String>,
    pub findings: Vec<Finding>,
}

/// One stream: a Kafka partition or a file.
#[derive(Debug, Serialize)]
pub struct PartitionReport {
    pub stream: String,
    pub name: String,
    pub received: u64,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    /// The next offset to read, as the ledger has it.
    pub next: Option<i64>,
    /// The broker's first and next offset, where it was asked.
    pub broker_low: Option<i64>,
    pub broker_high: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct Finding {
    /// The discrepancy.
    pub what: String,
    /// The remedy.
    pub help: String,
}

/// Looks at everything: properties and log (by opening), file digests, counts, positions, and the
/// broker where one is configured.
///
/// # Errors
/// When the ledger cannot be opened at all; the error says why and what to do.
pub async fn doctor(config: &Config, brokers: Option<&str>, topic: Option<&str>) -> anyhow::Result<Report> {
    let _busy = Busy::with("recounting the ledger");
    // Rows and positions of one cut, also while somebody ingests.
    let files = PinnedFiles::of_ledger(&config.ledger, None).await?;
    let usage = CountedRows::open(&files).await?;
    let counts = usage.counts().await?;
    let catalogs = Journal::open(&config.ledger).await?.entries().len();
    let mut findings = Vec::new();
    let mut partitions = Vec::new();
    let streams = usage.streams().await?;
    for counts in &streams {
        partitions.push(partition_report(counts, &files, &mut findings));
    }
    let by_rows = streams.iter().map(|stream| stream.usage + stream.rejected).sum::<u64>();
    if counts.received != by_rows {
        findings.push(Finding {
            what: format!("received is {} but the streams add up to {by_rows}", counts.received),
            help: "the ledger is damaged; restore it from a copy".to_owned(),
        });
    }
    findings.extend(of_counts(&counts));
    if brokers.is_some() || config.kafka.brokers.is_some() {
        ask_broker(config, brokers, topic, &mut partitions, &mut findings);
    }
    Ok(Report {
        ledger: config.ledger.to_string(),
        version: files.cut.versions.clone(),
        received: counts.received,
        usage: counts.usage,
        rejected: counts.rejected,
        gaps: counts.gaps,
        duplicates: counts.duplicates,
        conflicts: counts.conflicts,
        rejected_by_reason: usage.rejected_by_reason().await?,
        partitions,
        properties: files.properties.clone(),
        catalogs,
        refused: usage.refused(REFUSED_LISTED).await?,
        conflicting: usage.conflicting_ids(20).await?,
        findings,
    })
}

/// Findings that lie with whoever sends, and not with the ledger.
fn of_counts(counts: &LedgerCounts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if counts.conflicts > 0 {
        findings.push(Finding {
            what: format!(
                "{} an id with other content; the first one counts",
                plural(counts.conflicts, "record repeats", "records repeat")
            ),
            help: "ask the producer which one is right; correct a wrong one with a replace event".to_owned(),
        });
    }
    if counts.gaps > 0 {
        findings.push(Finding {
            what: format!("{}: records were gone from the source before they were read", plural(counts.gaps, "gap", "gaps")),
            help: "have the producer send them again with the same ids, or ingest them from files; give the topic a longer retention".to_owned(),
        });
    }
    findings
}

fn stream_of(counts: &StreamCounts) -> Option<Stream> {
    Some(Stream { origin: Origin::parse(&counts.origin)?, partition: counts.partition })
}

fn partition_report(
    counts: &StreamCounts,
    files: &PinnedFiles,
    findings: &mut Vec<Finding>,
) -> PartitionReport {
    let name = format!("{}/{}", counts.origin, counts.partition);
    let next = stream_of(counts).and_then(|stream| files.position(&stream)).map(|next| next.0);
    let damaged = "the ledger is damaged; restore it from a copy".to_owned();
    if next.is_none_or(|next| next <= counts.last_offset) {
        let next = next.map_or_else(|| "missing".to_owned(), |next| next.to_string());
        findings.push(Finding {
            what: format!(
                "{name}: the position is {next}, but offset {} is in the ledger",
                counts.last_offset
            ),
            help: damaged.clone(),
        });
    }
    if counts.distinct_offsets != counts.usage + counts.rejected + counts.gaps {
        let rows = counts.usage + counts.rejected + counts.gaps;
        findings.push(Finding {
            what: format!(
                "{name}: {rows} rows for {} offsets: records are in the ledger twice",
                counts.distinct_offsets
            ),
            help: damaged,
        });
    }
    PartitionReport {
        stream: name,
        name: counts.origin_name.clone(),
        received: counts.usage + counts.rejected,
        usage: counts.usage,
        rejected: counts.rejected,
        gaps: counts.gaps,
        next,
        broker_low: None,
        broker_high: None,
    }
}

/// Compares positions with what the broker has. A broker that does not answer is a finding, not an
/// error.
fn ask_broker(
    config: &Config,
    brokers: Option<&str>,
    topic: Option<&str>,
    partitions: &mut [PartitionReport],
    findings: &mut Vec<Finding>,
) {
    let kafka = match config.kafka.with(brokers, topic) {
        Ok(kafka) => kafka,
        Err(error) => {
            findings.push(Finding {
                what: format!("the broker was not asked: {error}"),
                help: "give --brokers and --topic".to_owned(),
            });
            return;
        }
    };
    let marks = match ingest::kafka::watermarks(&kafka, Duration::from_secs(10)) {
        Ok(marks) => marks,
        Err(error) => {
            findings.push(Finding {
                what: format!("the broker did not answer: {error}"),
                help: "check that it runs and that brokers, topic and properties are right".to_owned(),
            });
            return;
        }
    };
    for mark in marks {
        let name = mark.stream.to_string();
        let (low, high) = (mark.low.0, mark.high.0);
        let Some(partition) = partitions.iter_mut().find(|partition| partition.stream == name) else {
            if high > low {
                findings.push(Finding {
                    what: format!("{name}: {} records wait and none was ever read", high - low),
                    help: "run `atcost ingest`".to_owned(),
                });
            }
            continue;
        };
        partition.broker_low = Some(low);
        partition.broker_high = Some(high);
        let Some(next) = partition.next else { continue };
        if next > high {
            findings.push(Finding {
                what: format!("{name}: the ledger has read to {next}, but the broker's next offset is {high}"),
                help: "the topic was re-created or this is another cluster's; use a topic with a new name, or the right brokers".to_owned(),
            });
        }
        if next < low {
            findings.push(Finding {
                what: format!(
                    "{name}: offsets {next} to {} were deleted by retention before they were read",
                    low - 1
                ),
                help: "run `atcost ingest`, which records the gap; have the producer send the records again"
                    .to_owned(),
            });
        }
        if high > next && next >= low {
            findings.push(Finding {
                what: format!("{name}: {} records wait", high - next),
                help: "run `atcost ingest`, or wait if it is running".to_owned(),
            });
        }
    }
}

impl Answer for Report {
    fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }

    fn text(&self) -> String {
        let total = if self.received == self.usage + self.rejected { "=" } else { "≠" };
        let mut text = format!(
            "ledger {} at version {}, {}\nreceived {} {total} usage {} + rejected {}\nduplicates {}, conflicts {}, gaps {}\n",
            printable(&self.ledger),
            self.version,
            plural(self.catalogs as u64, "catalog version", "catalog versions"),
            self.received,
            self.usage,
            self.rejected,
            self.duplicates,
            self.conflicts,
            self.gaps
        );
        text.push_str(&streams(&self.partitions));
        let reasons = self.rejected_by_reason.iter().map(|(reason, count)| (reason, count.to_string()));
        text.push_str(&pairs(reasons, ("rejected because", Align::Left), ("records", Align::Right)));
        let properties = self.properties.iter().map(|(name, value)| (name, value.clone()));
        text.push_str(&pairs(properties, ("table property", Align::Left), ("value", Align::Left)));
        for id in &self.conflicting {
            writeln!(text, "  conflict: {}", printable(id)).expect("writing to a string cannot fail");
        }
        text.push('\n');
        if self.findings.is_empty() {
            text.push_str("nothing is wrong\n");
        }
        for finding in &self.findings {
            writeln!(text, "! {}\n  {}", printable(&finding.what), printable(&finding.help))
                .expect("writing to a string cannot fail");
        }
        text
    }

    fn verdict(&self) -> Verdict {
        if self.findings.is_empty() { Verdict::Fine } else { Verdict::Discrepancy }
    }
}

/// The streams that a terminal has room for.
const SHOWN: usize = 40;

/// A table after an empty line, or nothing.
fn streams(partitions: &[PartitionReport]) -> String {
    if partitions.is_empty() {
        return String::new();
    }
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let row = |partition: &PartitionReport| {
        let is_file = partition.stream.starts_with("file/");
        vec![
            if is_file { partition.name.clone() } else { partition.stream.clone() },
            partition.received.to_string(),
            partition.usage.to_string(),
            partition.rejected.to_string(),
            number(partition.next),
            number(partition.broker_high),
        ]
    };
    let columns = [
        ("stream", Align::Left),
        ("received", Align::Right),
        ("usage", Align::Right),
        ("rejected", Align::Right),
        ("next", Align::Right),
        ("broker", Align::Right),
    ];
    let rows: Vec<_> = partitions.iter().take(SHOWN).map(row).collect();
    let mut text = format!("\n{}", table(&columns, &rows));
    if partitions.len() > SHOWN {
        writeln!(text, "  … and {} more; --format json has them all", partitions.len() - SHOWN)
            .expect("writing to a string cannot fail");
    }
    text
}

/// A table of two columns after an empty line, or nothing.
fn pairs<'a>(
    pairs: impl Iterator<Item = (&'a String, String)>,
    left: (&str, Align),
    right: (&str, Align),
) -> String {
    let rows: Vec<Vec<String>> = pairs.map(|(name, value)| vec![name.clone(), value]).collect();
    if rows.is_empty() { String::new() } else { format!("\n{}", table(&[left, right], &rows)) }
}
