//! What may be missing from a month, for people and programs.
//!
//! Whether anything is wrong is deliberately not said: a subject may just be gone.
//!
//! Invariant: of every kind there is a number, 0 too, whatever is listed.

use crate::show::{Align, table};
use rating::run::{CompletenessKind, CompletenessRow};
use schemas::time::BillingMonth;
use serde::Serialize;
use std::collections::BTreeMap;

/// The rows of `completeness` that are listed, and those that a terminal has room for.
const LISTED: usize = 1000;
const SHOWN: usize = 8;

/// What may be missing from a month.
#[derive(Debug, Serialize)]
pub struct MissingMonth {
    pub period: String,
    /// Rows of the table `completeness`, by kind, 0 too.
    pub rows: BTreeMap<&'static str, u64>,
    /// The first of them.
    pub first: Vec<MissingRow>,
}

/// A row of the table `completeness`.
#[derive(Debug, Serialize)]
pub struct MissingRow {
    pub kind: &'static str,
    pub provider: Option<String>,
    pub meter: Option<String>,
    pub source: Option<String>,
    pub subject: Option<String>,
    pub detail: Option<String>,
    pub from: String,
    pub until: String,
    pub missing: Option<String>,
}

impl From<&CompletenessRow> for MissingRow {
    fn from(row: &CompletenessRow) -> Self {
        Self {
            kind: row.kind.as_str(),
            provider: row.provider.as_ref().map(ToString::to_string),
            meter: row.meter.as_ref().map(ToString::to_string),
            source: row.source.clone(),
            subject: row.subject.as_ref().map(ToString::to_string),
            detail: row.detail.clone(),
            from: row.from.to_string(),
            until: row.until.to_string(),
            missing: row.missing.map(|missing| missing.to_string()),
        }
    }
}

impl MissingMonth {
    pub fn of(month: BillingMonth, rows: &[CompletenessRow]) -> Self {
        let many = |kind| rows.iter().filter(|row| row.kind == kind).count() as u64;
        Self {
            period: month.to_string(),
            rows: CompletenessKind::ALL.iter().map(|kind| (kind.as_str(), many(*kind))).collect(),
            first: rows.iter().take(LISTED).map(MissingRow::from).collect(),
        }
    }

    /// A line of what there is, and the first rows; nothing where nothing may be missing.
    pub fn text(&self) -> String {
        let all: u64 = self.rows.values().sum();
        if all == 0 {
            return String::new();
        }
        let kinds = self.rows.iter().filter(|(_, rows)| **rows > 0);
        let kinds: Vec<String> = kinds.map(|(kind, rows)| format!("{kind} {rows}")).collect();
        let row = |row: &MissingRow| {
            let thing = row.subject.as_ref().or(row.source.as_ref()).cloned().unwrap_or_default();
            let of = [row.meter.clone(), row.detail.clone()];
            vec![
                row.kind.to_owned(),
                thing,
                of.into_iter().flatten().collect::<Vec<_>>().join(" "),
                row.from.clone(),
                row.until.clone(),
            ]
        };
        let rows: Vec<_> = self.first.iter().take(SHOWN).map(row).collect();
        let columns = [
            ("kind", Align::Left),
            ("of", Align::Left),
            ("what", Align::Left),
            ("from", Align::Left),
            ("until", Align::Left),
        ];
        let more = match all - rows.len() as u64 {
            0 => String::new(),
            more => format!("  … and {more} more in completeness.parquet of a run\n"),
        };
        format!(
            "\n{}: something may be missing ({})\n{}{more}",
            self.period,
            kinds.join(", "),
            table(&columns, &rows)
        )
    }
}
