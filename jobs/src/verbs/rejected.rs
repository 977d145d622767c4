//! `atcost doctor --rejected`: the records that were refused, a page at a time, or all of them with
//! their bytes in a file for whoever sent them.
//!
//! Invariant: memory does not grow with the number of refused records, and nothing is overwritten.

use crate::config::Config;
use crate::show::{Align, Answer, Busy, plural, printable_json, table};
use anyhow::{Context as _, anyhow, bail};
use ledger::pinned::PinnedFiles;
use rating::tables::Workspace;
use rating::usage::{CountedRows, Cursor, RefusedBytes, RefusedRecord};
use schemas::outcome::read_headers;
use schemas::rejection::Reason;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// The file that an export writes.
const FILE: &str = "rejected.ndjson";

/// A page of refused records.
pub struct Page {
    /// How many there are for that reason, or for any.
    total: u64,
    records: Vec<RefusedRecord>,
    /// Where the next page begins, if there is one.
    next: Option<Cursor>,
    reason: Option<Reason>,
    limit: usize,
}

/// What was written.
pub struct Exported {
    file: PathBuf,
    records: u64,
}

/// The reason of `--reason`.
///
/// # Errors
/// When there is none of that name.
pub fn reason(name: &str) -> Result<Reason, String> {
    Reason::parse(name).ok_or_else(|| {
        let all: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        format!("it is no reason; there are {}", all.join(", "))
    })
}

async fn open(config: &Config) -> anyhow::Result<CountedRows> {
    let files = PinnedFiles::of_ledger(&config.ledger, None).await?;
    let workspace = Workspace::scratch(&config.runs, std::process::id()).await?;
    // Refused records are read as they are, without anything beside them.
    Ok(CountedRows::open(&files, &workspace.inputs(), config.memory).await?)
}

/// A page of the records that were refused, after `after`.
///
/// # Errors
/// When the ledger cannot be opened or read.
pub async fn page(
    config: &Config,
    reason: Option<Reason>,
    after: Option<Cursor>,
    limit: usize,
) -> anyhow::Result<Page> {
    let _busy = Busy::with("looking for refused records");
    let usage = open(config).await?;
    let of = reason.map(Reason::as_str);
    let total = usage.rejected_by_reason().await?;
    let total =
        total.iter().filter(|(name, _)| of.is_none_or(|of| of == *name)).map(|(_, count)| count).sum();
    // One more than is shown tells whether there is another page.
    let mut records = usage.refused_page(of, after, limit + 1).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| more).map(RefusedRecord::cursor).transpose()?;
    Ok(Page { total, records, next, reason, limit })
}

/// Writes every refused record, with its bytes as they came, as a line of JSON.
///
/// # Errors
/// When the file is there already or cannot be written, or the ledger cannot be read.
pub async fn export(config: &Config, reason: Option<Reason>, folder: &Path) -> anyhow::Result<Exported> {
    let _busy = Busy::with("writing the refused records");
    let file = folder.join(FILE);
    if file.exists() {
        bail!("{} is there already; nothing is overwritten: name another folder", file.display());
    }
    let usage = open(config).await?;
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    // It has its name when it is whole.
    let unfinished = folder.join(format!(".{FILE}.{}", std::process::id()));
    let failed = || format!("{} cannot be written", unfinished.display());
    let mut lines = BufWriter::new(File::create(&unfinished).with_context(failed)?);
    let records = usage
        .every_refused(reason.map(Reason::as_str), |record, bytes| -> anyhow::Result<()> {
            let line = printable_json(&with_bytes(record, bytes)?.to_string());
            writeln!(lines, "{line}").with_context(failed)
        })
        .await?;
    lines
        .into_inner()
        .map_err(|error| anyhow!(error.into_error()))
        .with_context(failed)?
        .sync_all()
        .with_context(failed)?;
    std::fs::rename(&unfinished, &file).with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(Exported { file, records })
}

fn named(record: &RefusedRecord) -> Map<String, Value> {
    let json = json!({
        "place": record.at.place,
        "origin": record.origin, "origin_name": record.origin_name,
        "partition": record.partition, "offset": record.offset,
        "shard": record.at.shard, "batch": record.at.batch, "row": record.at.row,
        "received_at": record.received_at.to_string(),
        "reason": record.reason, "detail": record.detail,
    });
    match json {
        Value::Object(object) => object,
        _ => unreachable!("it is an object"),
    }
}

fn with_bytes(record: &RefusedRecord, bytes: RefusedBytes<'_>) -> anyhow::Result<Value> {
    let mut line = named(record);
    put(&mut line, "key", bytes.key);
    put(&mut line, "value", bytes.value);
    let damaged = |detail: String| anyhow!("{}: {detail} is stored; the ledger is damaged", record.at);
    let headers = bytes.headers.map(read_headers).transpose().map_err(damaged)?.unwrap_or_default();
    let header = |&(name, value): &(&[u8], Option<&[u8]>)| {
        let mut header = Map::new();
        put(&mut header, "name", Some(name));
        put(&mut header, "value", value);
        Value::Object(header)
    };
    line.insert("headers".to_owned(), headers.iter().map(header).collect());
    Ok(line.into())
}

/// Bytes as the text that they are; where they are none, in hexadecimal digits, as `NAME_hex`.
fn put(line: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => line.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => line.insert(name.to_owned(), text.into()),
        Some(Err(bytes)) => {
            let mut digits = String::with_capacity(2 * bytes.len());
            for byte in bytes {
                write!(digits, "{byte:02x}").expect("writing to a string cannot fail");
            }
            line.insert(format!("{name}_hex"), digits.into())
        }
    };
}

/// The longest detail that a table has room for. What this program advises is shorter, so that it is
/// whole.
const DETAIL_SHOWN: usize = 300;

/// A detail as a table has room for it.
pub(super) fn shortened(detail: &str) -> String {
    match detail.char_indices().nth(DETAIL_SHOWN) {
        Some((end, _)) => format!("{}…", &detail[..end]),
        None => detail.to_owned(),
    }
}

impl Answer for Page {
    fn json(&self) -> anyhow::Result<Value> {
        let records: Vec<Value> = self.records.iter().map(|record| named(record).into()).collect();
        Ok(json!({
            "total": self.total, "records": records,
            "next": self.next.map(|next| next.to_string()),
        }))
    }

    fn text(&self) -> String {
        let columns = [
            ("where", Align::Left),
            ("batch", Align::Right),
            ("row", Align::Right),
            ("reason", Align::Left),
            ("detail", Align::Left),
        ];
        let row = |record: &RefusedRecord| {
            let at = &record.at;
            vec![
                at.place.clone(),
                at.batch.to_string(),
                at.row.to_string(),
                record.reason.clone(),
                shortened(&record.detail),
            ]
        };
        let rows: Vec<_> = self.records.iter().map(row).collect();
        let mut text = table(&columns, &rows);
        let of_reason = self.reason.map_or_else(String::new, |reason| format!(" --reason {reason}"));
        writeln!(text, "  {} of {}", rows.len(), plural(self.total, "refused record", "refused records"))
            .expect("writing to a string cannot fail");
        if let Some(next) = self.next {
            writeln!(text, "next: atcost doctor --rejected{of_reason} --limit {} --after {next}", self.limit)
                .expect("writing to a string cannot fail");
        }
        if !rows.is_empty() {
            writeln!(text, "with their bytes: atcost doctor --rejected{of_reason} --out FOLDER")
                .expect("writing to a string cannot fail");
        }
        text
    }
}

impl Answer for Exported {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(json!({ "file": self.file, "records": self.records }))
    }

    fn text(&self) -> String {
        format!("wrote {} to {}\n", plural(self.records, "record", "records"), self.file.display())
    }
}
