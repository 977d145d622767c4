//! `atcost export`: a month for analysts, as FOCUS has it, and for accountants, as a journal of the
//! general ledger.
//!
//! What is in them is decided in `rating::focus` and `rating::general_ledger`.
//!
//! Invariant: of a closed month, what was posted is exported, whatever is known now.

use super::books::Opened;
use super::posted::{Month, month_as_posted};
use crate::clock;
use crate::config::Config;
use crate::show::{Answer, Busy, Format, Verdict, csv, plural};
use anyhow::{Context as _, bail};
use ledger::Location;
use rating::focus::{self, Export, FileFormat, Finding, Report, Scope};
use rating::general_ledger::{JournalLine, journal};
use rating::posted::posted;
use schemas::time::BillingMonth;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// What is exported.
pub struct Asked<'a> {
    pub period: BillingMonth,
    pub out: &'a Path,
    pub scope: Scope,
    pub by_day: bool,
    pub form: Format,
}

/// An export that was written.
pub struct Exported {
    out: PathBuf,
    files: Vec<(String, u64)>,
}

/// Exports a month as FOCUS 1.4.
///
/// # Errors
/// When it cannot be rated, or files cannot be written.
pub async fn focus(config: &Config, asked: &Asked<'_>) -> anyhow::Result<Exported> {
    let format = match asked.form {
        Format::Csv => FileFormat::Csv,
        Format::Table | Format::Parquet | Format::Json => FileFormat::Parquet,
        Format::Html => bail!("FOCUS is exported as Parquet, or with --format csv"),
    };
    let _busy = Busy::with(format!("exporting {}", asked.period));
    let (month, opened) = month_as_posted(config, asked.period, asked.by_day).await?;
    let lines = posted(&month.lines, &month.cost_lines);
    let export = Export {
        catalog: &month.catalog,
        terms: &month.catalog.focus,
        month: asked.period,
        closed: opened.books.closes.get(&asked.period).map(|closed| closed.at),
        now: clock::now(),
        scope: &asked.scope,
        days: month.days.as_ref(),
    };
    let folder = Location::on_disk(asked.out)?;
    let manifest = focus::write(&export, &lines, format, &folder).await?;
    let of_month = |path: &str| path.contains(&format!("billing_period={}/", asked.period));
    let files = manifest.files.iter().filter(|file| of_month(&file.path));
    Ok(Exported {
        out: asked.out.to_owned(),
        files: files.map(|file| (file.path.clone(), file.rows)).collect(),
    })
}

impl Answer for Exported {
    fn json(&self) -> anyhow::Result<Value> {
        let files: Value =
            self.files.iter().map(|(path, rows)| json!({ "path": path, "rows": rows })).collect();
        Ok(json!({ "folder": self.out.display().to_string(), "files": files }))
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.out.display());
        for (path, rows) in &self.files {
            text.push_str(&format!("  {path}: {}\n", plural(*rows, "row", "rows")));
        }
        text
    }

    fn file(&self, form: Format) -> anyhow::Result<Option<Vec<u8>>> {
        // The form is that of the files.
        Ok(matches!(form, Format::Csv | Format::Parquet).then(|| self.text().into_bytes()))
    }
}

/// A journal of the general ledger that was written.
pub struct Journal {
    out: PathBuf,
    rows: usize,
}

/// Exports a month as a journal of the general ledger.
///
/// # Errors
/// When the catalog names no accounts, the month cannot be rated, or the file cannot be written.
pub async fn gl(config: &Config, period: BillingMonth, out: &Path) -> anyhow::Result<Journal> {
    let _busy = Busy::with(format!("exporting {period}"));
    let (Month { lines, catalog, .. }, _): (_, Opened) = month_as_posted(config, period, false).await?;
    let accounts = catalog
        .general_ledger
        .as_ref()
        .context("the catalog in force names no accounts; add gl.toml and publish it")?;
    let rows = journal(period, &lines, &catalog.operator, accounts)?;
    let header = ["date", "account", "debit", "credit", "currency", "reference"];
    let texts = |row: &JournalLine| {
        let debit = row.debit.to_string();
        let credit = row.credit.to_string();
        let cells = [
            row.date.to_string(),
            row.account.clone(),
            debit,
            credit,
            row.currency.to_string(),
            row.reference.clone(),
        ];
        cells.into_iter().map(Some).collect()
    };
    let header = header.map(|name| Some(name.to_owned())).into();
    let bytes = csv(std::iter::once(header).chain(rows.iter().map(texts)));
    let file = fs::File::create_new(out);
    let mut file =
        file.with_context(|| format!("{}: an export replaces no file; name another", out.display()))?;
    std::io::Write::write_all(&mut file, &bytes).with_context(|| out.display().to_string())?;
    Ok(Journal { out: out.to_owned(), rows: rows.len() })
}

impl Answer for Journal {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(json!({ "file": self.out.display().to_string(), "rows": self.rows }))
    }

    fn text(&self) -> String {
        format!("{} in {}\n", plural(self.rows as u64, "row", "rows"), self.out.display())
    }
}

/// What is wrong with files of FOCUS.
pub struct Checked(Vec<(String, Report)>);

/// Checks files of FOCUS by its rules.
///
/// # Errors
/// When they cannot be read.
pub async fn check(folder: &Path) -> anyhow::Result<Checked> {
    let _busy = Busy::with("checking an export");
    let report = focus::check_folder(&Location::on_disk(folder)?).await?;
    Ok(Checked(vec![(folder.display().to_string(), report)]))
}

/// The findings that a terminal has room for.
const SHOWN: usize = 50;

impl Answer for Checked {
    fn json(&self) -> anyhow::Result<Value> {
        let report = |(folder, report): &(String, Report)| {
            json!({
                "folder": folder, "ok": report.is_fine(), "more": report.more(),
                "findings": report.findings.iter().map(Finding::to_string).collect::<Vec<_>>(),
            })
        };
        Ok(self.0.iter().map(report).collect())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (folder, report) in &self.0 {
            for finding in report.findings.iter().take(SHOWN) {
                text.push_str(&format!("{finding}\n"));
            }
            let count = report.findings.len() as u64 + report.more();
            text.push_str(&match report.is_fine() {
                true => format!("{folder}: everything FOCUS asks holds\n"),
                false => format!("{folder}: {}\n", plural(count, "finding", "findings")),
            });
        }
        text
    }

    fn verdict(&self) -> Verdict {
        if self.0.iter().all(|(_, report)| report.is_fine()) { Verdict::Fine } else { Verdict::Discrepancy }
    }
}
