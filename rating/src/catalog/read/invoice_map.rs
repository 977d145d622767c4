//! A provider's invoice_map.csv: which SKU and which customer the texts of its invoices mean, from
//! when until when.
//!
//! Which texts invoices have is deliberately not known here.
//!
//! Invariant: of one kind and text, the entries that are returned without a problem do not overlap.

use super::definitions::Declared;
use super::ending::means_for_ever;
use super::files::CatalogFiles;
use super::format::{CUSTOMERS, INVOICE_MAP, MEANING_COLUMNS, PRICES};
use super::rows::read_rows;
use super::sku::declared_skus;
use super::toml::day;
use crate::catalog::contents::Customer;
use crate::catalog::invoicing::{InvoiceMap, Meaning};
use crate::catalog::problem::Findings;
use crate::words::{either, words};
use jiff::tz::TimeZone;
use schemas::id::{CustomerId, SkuId};
use schemas::time::{Instant, start_of_day};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

words! {
    enum Kind {
        Sku = "sku",
        Account = "account",
    }
}

/// A line of the file that could be read.
struct Entry<T> {
    meaning: Meaning<T>,
    line: usize,
}

type Entries<T> = BTreeMap<Box<str>, Vec<Entry<T>>>;

struct Reader<'r> {
    path: &'r str,
    zone: &'r TimeZone,
    /// `None` where not all could be read: then none can be called unknown.
    skus: Option<BTreeSet<SkuId>>,
    customers: &'r Declared<CustomerId, Customer>,
    findings: &'r Findings,
}

/// Nothing where there is no file.
pub(super) fn read_invoice_map(
    folder: &str,
    files: &CatalogFiles,
    zone: &TimeZone,
    customers: &Declared<CustomerId, Customer>,
    findings: &Findings,
) -> InvoiceMap {
    let path = format!("providers/{folder}/{INVOICE_MAP}");
    let Some(text) = files.get(&path) else { return InvoiceMap::default() };
    let reader = Reader { path: &path, zone, skus: declared_skus(folder, files), customers, findings };
    let (mut skus, mut accounts) = (Entries::new(), Entries::new());
    read_rows(MEANING_COLUMNS, (&path, text), findings, |record, line| {
        let text = reader.text(&record[1], line);
        let dates = reader.dates(&record[3], &record[4], line);
        match reader.kind(&record[0], line) {
            Some(Kind::Sku) => push(&mut skus, text, dates, reader.sku(&record[2], line), line),
            Some(Kind::Account) => push(&mut accounts, text, dates, reader.account(&record[2], line), line),
            None => {}
        }
    });
    InvoiceMap::new(reader.apart(Kind::Sku, skus), reader.apart(Kind::Account, accounts))
}

fn push<T>(
    entries: &mut Entries<T>,
    text: Option<Box<str>>,
    dates: Option<(Instant, Option<Instant>)>,
    id: Option<T>,
    line: usize,
) {
    if let (Some(text), Some((from, until)), Some(id)) = (text, dates, id) {
        entries.entry(text).or_default().push(Entry { meaning: Meaning { from, until, id }, line });
    }
}

impl Reader<'_> {
    #[track_caller]
    fn problem(&self, line: usize, message: String, help: impl Into<String>) {
        self.findings.problem(self.path, line, message, help);
    }

    fn kind(&self, text: &str, line: usize) -> Option<Kind> {
        let kind = Kind::parse(text);
        if kind.is_none() {
            let words = either(Kind::ALL.map(Kind::as_str));
            self.problem(line, format!("the kind {text:?} is unknown"), format!("write {words}"));
        }
        kind
    }

    fn text(&self, text: &str, line: usize) -> Option<Box<str>> {
        if text.trim().is_empty() {
            let help = "write it as the invoice does; a line without a text cannot be mapped";
            self.problem(line, "the text is blank".to_owned(), help);
            return None;
        }
        if text.trim() != text {
            let message =
                format!("the text {text:?} begins or ends with a blank; it means only lines that do");
            self.findings.warning(self.path, line, message);
        }
        Some(text.into())
    }

    fn sku(&self, text: &str, line: usize) -> Option<SkuId> {
        let id = self.name("SKU", SkuId::new(text), text, line)?;
        if self.skus.as_ref().is_some_and(|skus| !skus.contains(&id)) {
            let help = format!("declare it in {PRICES}, or correct the name");
            self.problem(line, format!("the SKU {id} is not declared"), help);
        }
        Some(id)
    }

    fn account(&self, text: &str, line: usize) -> Option<CustomerId> {
        let id = self.name("customer", CustomerId::new(text), text, line)?;
        if !self.customers.knows(&id) {
            let help = self.customers.help(CUSTOMERS);
            self.problem(line, format!("the customer {id} is not declared"), help);
        }
        Some(id)
    }

    fn name<T, E: fmt::Display>(&self, what: &str, read: Result<T, E>, text: &str, line: usize) -> Option<T> {
        let refuse = |error: E| {
            self.problem(line, format!("the {what} {text:?} is not a name: {error}"), "correct it")
        };
        read.map_err(refuse).ok()
    }

    fn dates(&self, from: &str, until: &str, line: usize) -> Option<(Instant, Option<Instant>)> {
        let first = self.date("from", from, line);
        let end = if until.is_empty() { Some(None) } else { self.date("until", until, line).map(Some) };
        let (first, end) = (first?, end?);
        if end.is_some_and(|end| end <= first) {
            let message = format!("the entry ends on {until}, before or when it begins on {from}");
            self.problem(line, message, "make `until` later than `from`; it is exclusive");
            return None;
        }
        Some((first, end))
    }

    fn date(&self, column: &str, text: &str, line: usize) -> Option<Instant> {
        const LEAVE_OUT: &str = "leave it out where no end is known: end the line with a comma";
        let for_ever = column == "until" && means_for_ever(text);
        let midnight = |date| start_of_day(date, self.zone).map_err(|error| error.to_string());
        match day(text).and_then(midnight) {
            Ok(instant) => {
                if for_ever {
                    self.findings.warning(self.path, line, format!("`until` is {text:?}; {LEAVE_OUT}"));
                }
                Some(instant)
            }
            Err(error) => {
                let help = if for_ever { LEAVE_OUT } else { "write it like 2025-10-01" };
                self.problem(line, format!("`{column}` is {text:?}: {error}"), help);
                None
            }
        }
    }

    /// The meanings of texts, each in the order of their beginnings; those that overlap are reported.
    fn apart<T: fmt::Display>(&self, kind: Kind, entries: Entries<T>) -> BTreeMap<Box<str>, Vec<Meaning<T>>> {
        let mut meanings = BTreeMap::new();
        for (text, mut entries) in entries {
            entries.sort_by_key(|entry| (entry.meaning.from, entry.line));
            self.refuse_overlaps(kind, &text, &entries);
            meanings.insert(text, entries.into_iter().map(|entry| entry.meaning).collect());
        }
        meanings
    }

    fn refuse_overlaps<T: fmt::Display>(&self, kind: Kind, text: &str, entries: &[Entry<T>]) {
        let mut longest: Option<&Entry<T>> = None;
        for entry in entries {
            let Meaning { from, until, id } = &entry.meaning;
            if let Some(earlier) = longest
                && earlier.meaning.until.is_none_or(|until| *from < until)
            {
                let message = format!(
                    "the {kind} {text:?} means {id} while it still means {} (line {})",
                    earlier.meaning.id, earlier.line
                );
                let help = "end the one that begins earlier when the other begins, or remove one of them";
                self.problem(entry.line, message, help);
            }
            // One that never ends outlasts everything.
            let outlasts = |other: &Entry<T>| {
                until.is_none() || other.meaning.until.is_some_and(|end| *until > Some(end))
            };
            if longest.is_none_or(outlasts) {
                longest = Some(entry);
            }
        }
    }
}
