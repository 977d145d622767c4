//! The checker of FOCUS files: every row by every rule, and the datasets of a folder against one
//! another.
//!
//! The rules of rows are in `rules`. Whether an export says what was posted is deliberately not asked:
//! it is a question for the ledger, not for a file.
//!
//! Invariant: a report names the first findings of each rule and column, and counts the others.

use super::read::{self, Cell, Reader};
use super::rules::{self, Fields, Said, Wrong};
use super::write::{FileEntry, MANIFEST, read_manifest};
use crate::error::RatingError;
use crate::exact::{Exact, display};
use bytes::Bytes;
use ledger::Location;
use num_traits::Zero as _;
use schemas::digest::Sha256Digest;
use schemas::focus::{Dataset, V1_4};
use schemas::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Findings of one rule and column that are named; the others are counted.
const NAMED: u64 = 5;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// As it was given, or below the folder.
    pub file: String,
    /// From 1, without the header; none of a file as a whole.
    pub row: Option<u64>,
    pub column: String,
    /// By its name in the model of the specification, or the attribute that it is of.
    pub rule: String,
    pub detail: String,
}

/// Its place, its rule, and what is wrong.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, row, column, rule, detail } = self;
        write!(formatter, "{file}")?;
        if let Some(row) = row {
            write!(formatter, ", row {row}")?;
        }
        write!(formatter, ", {column}: {detail} ({rule})")
    }
}

/// What was looked at, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub files: u64,
    pub rows: u64,
    /// The first of each rule and column.
    pub findings: Vec<Finding>,
    /// How many there are of each rule and column.
    pub counts: BTreeMap<(String, String), u64>,
}

impl Report {
    pub fn is_fine(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many findings are not named.
    pub fn more(&self) -> u64 {
        self.counts.values().sum::<u64>() - self.findings.len() as u64
    }

    fn add(&mut self, file: &str, row: Option<u64>, wrong: Wrong) {
        let Wrong { rule, column, detail } = wrong;
        let count = self.counts.entry((rule.clone(), column.clone())).or_insert(0);
        *count += 1;
        if *count <= NAMED {
            self.findings.push(Finding { file: file.to_owned(), row, column, rule, detail });
        }
    }

    fn say(&mut self, file: &str, rule: &str, column: &str, detail: String) {
        let (rule, column) = (rule.to_owned(), column.to_owned());
        self.add(file, None, Wrong { rule, column, detail });
    }
}

/// Checks one file of a dataset, `.parquet` or `.csv`.
///
/// # Errors
/// When it is not there or cannot be read.
pub async fn check_file(location: &Location, dataset: Dataset) -> Result<Report, RatingError> {
    let mut report = Report::default();
    let bytes = bytes(location).await?;
    check(&mut report, &mut Sums::default(), location, &location.to_string(), (dataset, bytes))?;
    Ok(report)
}

/// Checks an export: its files by their digests, every row, and what must agree between the datasets.
///
/// # Errors
/// When there is no manifest, or a file cannot be read.
pub async fn check_folder(folder: &Location) -> Result<Report, RatingError> {
    let missing =
        || RatingError::file(&folder.join(MANIFEST), "checking the export", &"there is no manifest");
    let manifest = read_manifest(folder).await?.ok_or_else(missing)?;
    let (mut report, mut sums) = (Report::default(), Sums::default());
    for FileEntry { dataset, path, rows, sha256, .. } in &manifest.files {
        let location = folder.join(path);
        let Some(dataset) = Dataset::parse(dataset) else {
            report.say(path, "manifest", "dataset", format!("{dataset:?} is no dataset"));
            continue;
        };
        let Some(bytes) = location.read().await? else {
            report.say(path, "manifest", "path", "there is no such file".to_owned());
            continue;
        };
        if Sha256Digest::of(&bytes).to_string() != *sha256 {
            report.say(path, "manifest", "sha256", "the file has another digest".to_owned());
        }
        let before = report.rows;
        check(&mut report, &mut sums, &location, path, (dataset, bytes))?;
        let counted = report.rows - before;
        if counted != *rows {
            report.say(path, "manifest", "rows", format!("it says {rows}, the file has {counted}"));
        }
    }
    sums.compare(&mut report);
    for entry in &manifest.invoices {
        let sum = sums.invoices.get(&entry.invoice).map(display);
        if sum.as_deref() != Some(entry.billed_cost.as_str()) {
            let sum = sum.unwrap_or_else(|| "nothing".to_owned());
            let detail =
                format!("{} is said to be {}, and its rows are {sum}", entry.invoice, entry.billed_cost);
            report.say(MANIFEST, "manifest", "billed_cost", detail);
        }
    }
    Ok(report)
}

async fn bytes(location: &Location) -> Result<Bytes, RatingError> {
    let missing = || RatingError::file(location, "checking the file", &"there is no such file");
    location.read().await?.ok_or_else(missing)
}

fn check(
    report: &mut Report,
    sums: &mut Sums,
    location: &Location,
    name: &str,
    (dataset, bytes): (Dataset, Bytes),
) -> Result<(), RatingError> {
    let (header, said) = (BTreeMap::new(), Said::default());
    report.files += 1;
    let mut checking = Checking { dataset, name, report, sums, header, said, row: 0 };
    read::read(location, bytes, &mut checking)
}

/// A file while it is checked.
struct Checking<'c> {
    dataset: Dataset,
    name: &'c str,
    report: &'c mut Report,
    sums: &'c mut Sums,
    header: BTreeMap<String, usize>,
    said: Said,
    /// The row that is looked at.
    row: u64,
}

impl Reader for Checking<'_> {
    fn header(&mut self, names: &[String]) {
        for wrong in rules::header(V1_4.table(self.dataset), names) {
            self.report.add(self.name, None, wrong);
        }
        self.header = names.iter().cloned().zip(0..).collect();
    }

    fn row(&mut self, cells: &[Cell]) {
        self.row += 1;
        self.report.rows += 1;
        let fields = Fields::new(&self.header, cells);
        let wrong = rules::row(V1_4.table(self.dataset), &fields);
        for wrong in wrong.into_iter().chain(self.said.row(self.dataset, &fields)) {
            self.report.add(self.name, Some(self.row), wrong);
        }
        self.sums.add(self.dataset, &fields);
    }
}

/// Issuer, invoice, and line of it.
type LineKey = (String, String, String);

/// What must agree between datasets.
#[derive(Debug, Default)]
struct Sums {
    /// Σ `BilledCost` of `CostAndUsage`, by line of an invoice.
    charged: BTreeMap<LineKey, Exact>,
    /// `BilledCost` of `InvoiceDetail`.
    invoiced: BTreeMap<LineKey, Exact>,
    /// Σ `BilledCost` of `CostAndUsage`, by invoice.
    invoices: BTreeMap<String, Exact>,
    /// Issuer and beginning of the periods of charges and invoices, and of those that are said to be
    /// open or closed.
    used: BTreeSet<(String, Instant)>,
    periods: BTreeSet<(String, Instant)>,
}

impl Sums {
    fn add(&mut self, dataset: Dataset, fields: &Fields<'_>) {
        let text = |column| fields.text(column).map(str::to_owned);
        let Some(issuer) = text("InvoiceIssuerName") else { return };
        if let Some(start) = fields.instant("BillingPeriodStart") {
            let periods = if dataset == Dataset::BillingPeriod { &mut self.periods } else { &mut self.used };
            periods.insert((issuer.clone(), start));
        }
        let (Some(invoice), Some(line)) = (text("InvoiceId"), text("InvoiceDetailId")) else { return };
        let Some(cost) = fields.number("BilledCost") else { return };
        let key = (issuer, invoice.clone(), line);
        match dataset {
            Dataset::CostAndUsage => {
                *self.invoices.entry(invoice).or_default() += &cost;
                *self.charged.entry(key).or_default() += cost;
            }
            Dataset::InvoiceDetail => *self.invoiced.entry(key).or_default() += cost,
            Dataset::BillingPeriod => {}
        }
    }

    /// FOCUS lets sums differ by the roundings of rows. What is exported here is shared exactly, so that
    /// they are equal.
    fn compare(&self, report: &mut Report) {
        let folder = "CostAndUsage, InvoiceDetail";
        for (key @ (_, invoice, line), charged) in &self.charged {
            let invoiced = self.invoiced.get(key);
            if invoiced.map_or(charged.is_zero(), |invoiced| invoiced == charged) {
                continue;
            }
            let invoiced = invoiced.map_or_else(|| "not there".to_owned(), display);
            let charged = display(charged);
            let detail = format!(
                "line {line} of {invoice} is {invoiced} in InvoiceDetail and {charged} in CostAndUsage"
            );
            report.say(folder, "IND-BilledCost-C-012-C", "BilledCost", detail);
        }
        for (_, invoice, line) in self.invoiced.keys().filter(|key| !self.charged.contains_key(*key)) {
            let detail = format!("line {line} of {invoice} has no row in CostAndUsage");
            report.say(folder, "IND-BilledCost-C-012-C", "InvoiceDetailId", detail);
        }
        for (issuer, start) in self.used.difference(&self.periods) {
            let detail = format!("the period of {issuer} that begins at {start} is not in BillingPeriod");
            report.say("BillingPeriod", "BIP-BillingPeriod", "BillingPeriodStart", detail);
        }
    }
}
