//! What whoever imports a file should know of it: what was read as meant, and what it adds up to.
//!
//! Which of its texts have no mapping is deliberately asked elsewhere, of these sums.
//!
//! Invariant: a report is bounded, but for the texts that an invoice has.

use super::error::quoted;
use super::lines::Remark;
use schemas::decimal::Amount;
use schemas::invoice::{Invoice, InvoiceLine, LineCategory};
use schemas::money::Currency;
use schemas::time::Instant;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a file is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileReport {
    pub name: Box<str>,
    /// `csv`, `jsonl` or `parquet`.
    pub kind: &'static str,
    pub records: u64,
    /// Records without anything in them.
    pub blank: u64,
    /// Records that the mapping skips.
    pub skipped: u64,
    /// Fields of the header, and of every record where these are fewer: the last columns are missing.
    pub fields_missing: Option<(usize, usize)>,
    /// Columns that the mapping names and the file has not.
    pub absent: Vec<Box<str>>,
}

/// Where something was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    pub count: u64,
    /// The first few: record and column. An electronic invoice has neither.
    pub first: Vec<(u64, Box<str>)>,
}

const FIRST: usize = 3;

impl Places {
    pub fn add(&mut self, record: u64, column: &str) {
        self.count += 1;
        if self.first.len() < FIRST {
            self.first.push((record, column.into()));
        }
    }
}

/// What was met in an invoice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub file: FileReport,
    pub remarks: BTreeMap<Remark, Places>,
    /// Lines whose record is that of a line before.
    pub repeated: u32,
    /// What the lines that were added for a stated total come to.
    pub adjustments: BTreeMap<Currency, Amount>,
    /// Stated totals that do not count, because the file is a part.
    pub ignored_totals: BTreeMap<Currency, Amount>,
}

impl Report {
    /// In sentences, for people; none where there is nothing to tell.
    pub fn sentences(&self) -> Vec<String> {
        let mut told = Vec::new();
        if let Some((header, records)) = self.file.fields_missing {
            told.push(format!(
                "every record has {records} fields and the header {header}: the last columns are missing"
            ));
        }
        if !self.file.absent.is_empty() {
            let names: Vec<String> = self.file.absent.iter().map(|name| quoted(name)).collect();
            told.push(format!("the mapping names columns that the file has not: {}", names.join(", ")));
        }
        let FileReport { blank, skipped, .. } = self.file;
        told.extend(counted(blank, "record has nothing in it", "records have nothing in them"));
        let by_mapping = ("record is skipped by the mapping", "records are skipped by the mapping");
        told.extend(counted(skipped, by_mapping.0, by_mapping.1));
        for (remark, places) in &self.remarks {
            let (one, many) = match remark {
                Remark::Rounded => (
                    "number has more than 18 decimals and is rounded, half to even",
                    "numbers have more than 18 decimals and are rounded, half to even",
                ),
                Remark::Double => (
                    "number is binary floating-point and is read as its shortest decimal",
                    "numbers are binary floating-point and are read as their shortest decimals",
                ),
                Remark::Zoneless => (
                    "date with a time has no zone: an ISO one is UTC, one of a pattern the provider's",
                    "dates with a time have no zone: ISO ones are UTC, those of a pattern the provider's",
                ),
            };
            let first: Vec<String> = places
                .first
                .iter()
                .map(|(record, column)| format!("record {record}, column {}", quoted(column)))
                .collect();
            let first =
                if first.is_empty() { String::new() } else { format!(", first: {}", first.join("; ")) };
            told.extend(counted(places.count, one, many).map(|what| format!("{what}{first}")));
        }
        told.extend(counted(
            self.repeated.into(),
            "line repeats one before it byte for byte",
            "lines repeat one before them byte for byte",
        ));
        for (currency, amount) in &self.adjustments {
            told.push(format!(
                "lines differ from the stated total by {amount} {currency}, which became a line"
            ));
        }
        for (currency, amount) in &self.ignored_totals {
            told.push(format!("the stated total of {amount} {currency} does not count: the file is a part"));
        }
        told
    }
}

/// So many of something; nothing where there is none.
fn counted(count: u64, one: &str, many: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { many }))
}

/// Some lines together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    pub lines: u32,
    /// `None` where it is beyond what an amount can be.
    pub amount: Option<Amount>,
}

/// What an invoice comes to, by category and currency.
pub fn sums(invoice: &Invoice) -> BTreeMap<(LineCategory, Currency), Sum> {
    let mut sums = BTreeMap::new();
    for line in &invoice.lines {
        add(sums.entry((line.category, line.currency)).or_default(), line);
    }
    sums
}

fn add(sum: &mut Sum, line: &InvoiceLine) {
    let before = if sum.lines == 0 { Some(Amount::ZERO) } else { sum.amount };
    sum.amount = before.and_then(|before| before.checked_add(line.amount).ok());
    sum.lines += 1;
}

/// A text of an invoice, and the lines that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSum {
    pub by_currency: BTreeMap<Currency, Sum>,
    /// The first and the last begin of its lines: entries of a map are dated by it.
    pub first: Instant,
    pub last: Instant,
}

impl TextSum {
    pub fn lines(&self) -> u32 {
        self.by_currency.values().map(|sum| sum.lines).sum()
    }
}

/// The SKU texts of an invoice.
pub fn skus(invoice: &Invoice) -> BTreeMap<Arc<str>, TextSum> {
    texts(invoice, |line| line.sku_text.as_ref())
}

/// The sub accounts of an invoice, as it names them.
pub fn accounts(invoice: &Invoice) -> BTreeMap<Arc<str>, TextSum> {
    texts(invoice, |line| line.sub_account.as_ref())
}

fn texts(invoice: &Invoice, of: impl Fn(&InvoiceLine) -> Option<&Arc<str>>) -> BTreeMap<Arc<str>, TextSum> {
    let mut texts: BTreeMap<Arc<str>, TextSum> = BTreeMap::new();
    for line in &invoice.lines {
        let Some(text) = of(line) else { continue };
        let sum = texts.entry(Arc::clone(text)).or_insert_with(|| TextSum {
            by_currency: BTreeMap::new(),
            first: line.start,
            last: line.start,
        });
        sum.first = sum.first.min(line.start);
        sum.last = sum.last.max(line.start);
        add(sum.by_currency.entry(line.currency).or_default(), line);
    }
    texts
}
