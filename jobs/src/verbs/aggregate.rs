//! `atcost aggregate`: what the events of a file come to by one meter.
//!
//! The events go through ingest into a ledger in memory, so that what is refused, repeated or corrected
//! is what it would be in one that stays.

use crate::clock;
use crate::show::{Align, Answer, Busy, plural, table};
use anyhow::{Context as _, bail};
use ingest::decode::Decoder;
use ingest::files::FilesSource;
use ingest::metrics::Metrics;
use ingest::pipeline::{self, Settings};
use ingest::schema::registry::SchemaTable;
use ingest::source::BatchPolicy;
use ingest::stop::Stop;
use ledger::pinned::PinnedFiles;
use ledger::store::Store;
use ledger::{Location, ShardWriter};
use rating::aggregate::{Aggregated, Asked, aggregate};
use rating::catalog::{MeterSheet, Problem, Warning};
use rating::usage::{CountedRows, DEFAULT_MEMORY};
use rating::{exact, rounding};
use schemas::shard::Shard;
use schemas::time::Instant;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// The largest file of a meter that is read.
const MOST_BYTES: u64 = 1 << 20;

/// An instant, as an argument says it.
///
/// # Errors
/// A sentence, where it is none.
pub fn instant(text: &str) -> Result<Instant, String> {
    Instant::parse_rfc3339(text).map_err(|error| format!("{error}; write it like 2025-11-01T00:00:00Z"))
}

/// A dimension and its value, as an argument says them.
///
/// # Errors
/// A sentence, where there is no `=`.
pub fn dimension(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it like class=standard")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What events come to, and what was not counted.
pub struct Measured {
    aggregated: Aggregated,
    rejected: u64,
    warnings: Vec<Warning>,
}

/// Aggregates the events of a file by the meter of another.
///
/// # Errors
/// When one of the files cannot be read or has problems, or nothing matches.
pub async fn measure(meter: &Path, events: &Path, asked: &Asked) -> anyhow::Result<Measured> {
    let name = meter.display().to_string();
    let bytes = std::fs::metadata(meter).with_context(|| format!("reading {name}"))?.len();
    if bytes > MOST_BYTES {
        bail!("{name} has {bytes} bytes; a file of one meter has at most {MOST_BYTES}");
    }
    let text = std::fs::read_to_string(meter).with_context(|| format!("reading {name}"))?;
    let (sheet, warnings) = match MeterSheet::read(&name, &text) {
        Ok(read) => read,
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
            bail!(
                "{} in the meter\n{}",
                plural(problems.len() as u64, "problem", "problems"),
                problems.join("\n")
            );
        }
    };
    let _busy = Busy::with("reading");
    let ledger = Store::memory().at("ledger");
    let rejected = read_into(&ledger, events).await?;
    let files = PinnedFiles::of_ledger(&ledger, None).await?;
    let usage = CountedRows::open(&files, &ledger.join("inputs"), DEFAULT_MEMORY).await?;
    let aggregated = aggregate(&sheet, &usage, asked).await?;
    Ok(Measured { aggregated, rejected, warnings })
}

/// Reads a file of events into a ledger that has nothing yet; gives the number of refused records.
async fn read_into(ledger: &Location, events: &Path) -> anyhow::Result<u64> {
    ledger::create_ledger(ledger).await?;
    let mut writer = ShardWriter::open_shard(ledger, Shard::WHOLE).await?;
    let mut source = FilesSource::new(events)?;
    let mut decoder = Decoder::new(Box::new(SchemaTable::default()), []);
    let settings = Settings {
        policy: BatchPolicy::default(),
        until_caught_up: true,
        metrics: Arc::new(Metrics::default()),
    };
    let summary = pipeline::run(
        &mut source,
        &mut decoder,
        &mut writer,
        &settings,
        &Stop::default(),
        clock::now,
        &mut |_| {},
    )
    .await?;
    Ok(summary.tally.rejected)
}

fn rounded(quantity: &exact::Exact) -> anyhow::Result<String> {
    Ok(rounding::quantity_total(quantity)?.to_string())
}

impl Answer for Measured {
    fn json(&self) -> anyhow::Result<Value> {
        let Aggregated { quantity, unit, events, windows, notes } = &self.aggregated;
        let mut shown = Vec::new();
        for (window, quantity) in windows {
            shown.push(json!({
                "from": window.start().to_string(), "until": window.end().to_string(),
                "quantity": rounded(quantity)?, "exact": exact::display(quantity),
            }));
        }
        let mut told = Vec::new();
        for note in notes {
            let missing = note.missing_seconds()?.map(|seconds| seconds.to_string());
            told.push(json!({
                "kind": note.kind.as_str(), "from": note.from.to_string(),
                "until": note.until.to_string(), "missing": missing,
            }));
        }
        let mut json = json!({
            "quantity": rounded(quantity)?, "exact": exact::display(quantity), "unit": unit,
            "events": events, "rejected": self.rejected, "windows": shown, "notes": told,
        });
        if !self.warnings.is_empty() {
            json["warnings"] = self.warnings.iter().map(Warning::to_string).collect();
        }
        Ok(json)
    }

    fn text(&self) -> String {
        let Aggregated { quantity, unit, events, windows, notes } = &self.aggregated;
        let mut text: String = self.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
        let rows: Vec<Vec<String>> = windows
            .iter()
            .map(|(window, quantity)| {
                vec![window.start().to_string(), window.end().to_string(), exact::display(quantity)]
            })
            .collect();
        if !rows.is_empty() {
            let columns = [("from", Align::Left), ("until", Align::Left), ("quantity", Align::Right)];
            text.push_str(&table(&columns, &rows));
            text.push('\n');
        }
        for note in notes {
            let missing = note
                .missing()
                .map_or_else(String::new, |micros| format!(", {} s are missing", micros / 1_000_000));
            text.push_str(&format!("! {} from {} until {}{missing}\n", note.kind, note.from, note.until));
        }
        let counted = plural(*events, "event", "events");
        let rejected = match self.rejected {
            0 => String::new(),
            rejected => format!("; {} refused", plural(rejected, "record was", "records were")),
        };
        text.push_str(&format!("{} {unit}, of {counted}{rejected}\n", exact::display(quantity)));
        text
    }
}
