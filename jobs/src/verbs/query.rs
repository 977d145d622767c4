//! `atcost query`: questions in SQL about a month and the events behind it.
//!
//! What can be asked, and that nothing can be changed, is said in `rating::query`.

use super::catalog::{InForce, in_force};
use super::explain::folders;
use super::rate::{Cut, month, rate};
use super::totals;
use crate::config::Config;
use crate::show::{Align, Answer, Format, csv, plural, table};
use anyhow::{Context as _, bail};
use derived::totals::Caught;
use ledger::pinned::PinnedFiles;
use rating::query::{Answer as Found, Limits, Tables};
use rating::tables::{self, ColumnDescription, TableDescription, Workspace};
use schemas::time::BillingMonth;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The settings of a query.
pub struct Asked<'a> {
    pub sql: &'a str,
    /// The month that is rated, where a table of a run is asked about.
    pub period: Option<&'a str>,
    pub rows: usize,
    pub timeout: Duration,
    /// The file that the answer is written to.
    pub out: Option<&'a Path>,
    pub form: Format,
}

/// An answer, or where it was written.
pub enum Answered {
    Shown(Found),
    Written { rows: usize, file: PathBuf },
}

/// Answers a question.
///
/// # Errors
/// When it is none, there is no run, or it takes more than it may.
pub async fn query(config: &Config, asked: &Asked<'_>) -> anyhow::Result<Answered> {
    let limits = Limits { memory: config.memory, rows: asked.rows };
    let questions = Tables::new(limits)?;
    let named = questions.named_by(asked.sql)?;
    let workspace = Workspace::scratch(&config.runs, std::process::id()).await?;
    let answer = answer(config, asked, questions, &named, &workspace).await;
    workspace.close().await?;
    let answer = answer?;
    let Some(out) = asked.out else { return Ok(Answered::Shown(answer)) };
    let (rows, shown) = (answer.rows(), Answered::Shown(answer));
    let bytes = match asked.form {
        Format::Json => serde_json::to_vec_pretty(&shown.json()?)?,
        Format::Table => shown.text().into_bytes(),
        form => shown.file(form)?.context("a query has no such form; table, csv, json or parquet")?,
    };
    let file = std::fs::File::create_new(out);
    let mut file =
        file.with_context(|| format!("{}: an answer replaces no file; name another", out.display()))?;
    std::io::Write::write_all(&mut file, &bytes).with_context(|| out.display().to_string())?;
    Ok(Answered::Written { rows, file: out.to_owned() })
}

async fn answer(
    config: &Config,
    asked: &Asked<'_>,
    questions: Tables,
    named: &[String],
    workspace: &Workspace,
) -> anyhow::Result<Found> {
    let is_named = |table: &str| named.iter().any(|name| name == table);
    if is_named(EVENTS) {
        let caught = totals::for_a_run(&config.ledger).await?;
        let reached = caught.as_ref().map(Caught::versions);
        let files = PinnedFiles::of_ledger(&config.ledger, reached.as_ref()).await?;
        let usage = totals::open_rows(config, &files, caught.as_ref(), &workspace.inputs()).await?;
        questions.add_events(&usage).await?;
    }
    let of_a_run: Vec<TableDescription> =
        tables::describe().into_iter().filter(|table| is_named(table.name)).collect();
    if !of_a_run.is_empty() {
        let period = match asked.period {
            Some(period) => month(period)?,
            None => open_month(config).await?,
        };
        let rated = rate(config, period, &Cut::default()).await?;
        for table in of_a_run {
            questions.add(table.name, &rated.folder.join(&format!("{}.parquet", table.name))).await?;
        }
    }
    // By itself, because planning and joining do not give way.
    let sql = asked.sql.to_owned();
    let asking = tokio::spawn(async move { questions.answer(&sql).await });
    let Ok(found) = tokio::time::timeout(asked.timeout, asking).await else {
        bail!("the query takes more than {} s; narrow it, or give --timeout", asked.timeout.as_secs());
    };
    Ok(found.context("the query's engine has failed")??)
}

/// The month that is open: the one after the last that was closed. Before any, the last that was rated.
async fn open_month(config: &Config) -> anyhow::Result<BillingMonth> {
    let InForce { books, .. } = in_force(config, None).await?;
    let after = books.last_closed().and_then(BillingMonth::next);
    let rated = || async {
        let periods = folders(&config.runs, "period=").await?;
        let last =
            periods.last().and_then(|period| BillingMonth::parse(period.name().strip_prefix("period=")?));
        last.context("no month was rated yet; say which one is asked about with --period")
    };
    match after {
        Some(open) => Ok(open),
        None => rated().await,
    }
}

/// The events that count.
const EVENTS: &str = "events";

/// The tables and columns that there are.
pub struct Described;

/// Its name, its type, whether it may be NULL, and what it means.
type DescribedColumn = (&'static str, &'static str, bool, &'static str);

/// What can be asked about.
fn described() -> Vec<(&'static str, Vec<DescribedColumn>)> {
    let events = ledger::row::COLUMNS.iter().filter(|column| rating::query::EVENTS.contains(&column.name));
    let events = events.map(|column| (column.name, column.kind.words(), !column.required, column.meaning));
    let mut all = vec![(EVENTS, events.collect())];
    for TableDescription { name, columns } in tables::describe() {
        let column = |column: ColumnDescription| {
            let ColumnDescription { name, column_type, nullable, meaning } = column;
            (name, column_type, nullable, meaning)
        };
        all.push((name, columns.into_iter().map(column).collect()));
    }
    all
}

impl Answer for Described {
    fn json(&self) -> anyhow::Result<Value> {
        let column = |(name, column_type, nullable, meaning)| json!({ "name": name, "type": column_type, "nullable": nullable, "meaning": meaning });
        Ok(described()
            .into_iter()
            .map(|(table, columns)| {
                json!({ "table": table, "columns": columns.into_iter().map(column).collect::<Value>() })
            })
            .collect())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, columns) in described() {
            let rows: Vec<Vec<String>> = columns
                .into_iter()
                .map(|(name, column_type, _, meaning)| {
                    vec![name.to_owned(), column_type.to_owned(), meaning.to_owned()]
                })
                .collect();
            let header = [(name, Align::Left), ("", Align::Left), ("", Align::Left)];
            text.push_str(&format!("{}\n", table(&header, &rows)));
        }
        text
    }
}

/// The rows that a terminal has room for.
const SHOWN: usize = 1_000;

impl Answer for Answered {
    fn json(&self) -> anyhow::Result<Value> {
        match self {
            Self::Shown(found) => Ok(found.json()?),
            Self::Written { rows, file } => Ok(json!({ "rows": rows, "file": file.display().to_string() })),
        }
    }

    fn text(&self) -> String {
        let found = match self {
            Self::Shown(found) => found,
            Self::Written { rows, file } => {
                return format!("{} in {}\n", plural(*rows as u64, "row", "rows"), file.display());
            }
        };
        let columns = found.columns();
        let header: Vec<(&str, Align)> = columns
            .iter()
            .map(|(name, is_number)| (name.as_str(), if *is_number { Align::Right } else { Align::Left }))
            .collect();
        let rows = match found.texts() {
            Ok(rows) => rows,
            Err(error) => return format!("{error}\n"),
        };
        let shown: Vec<Vec<String>> = rows
            .iter()
            .take(SHOWN)
            .map(|row| row.iter().map(|cell| cell.clone().unwrap_or_default()).collect())
            .collect();
        let mut text = table(&header, &shown);
        if rows.len() > SHOWN {
            text.push_str(&format!("  … and {} more; --out FILE writes them all\n", rows.len() - SHOWN));
        }
        text
    }

    fn file(&self, form: Format) -> anyhow::Result<Option<Vec<u8>>> {
        let Self::Shown(found) = self else { return Ok(None) };
        Ok(match form {
            Format::Csv => {
                let header = found.columns().into_iter().map(|(name, _)| Some(name)).collect();
                Some(csv(std::iter::once(header).chain(found.texts()?)))
            }
            Format::Parquet => Some(found.parquet()?),
            Format::Table | Format::Json | Format::Html => None,
        })
    }
}
