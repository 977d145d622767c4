//! The operator's books as the journal has them: invoices that came, decisions about them, months
//! that were closed.
//!
//! Entries are read here and deliberately not judged; what they lead to is decided where it is asked.
//!
//! Invariant: the books are a function of the journal's first entries, in their order.

use crate::error::RatingError;
use ledger::journal::{Entry, EntryKind};
use ledger::pinned::Versions;
use schemas::digest::Sha256Digest;
use schemas::id::{InvoiceId, ProviderId};
use schemas::time::{BillingMonth, Instant};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the journal says up to an entry.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// How many entries of the journal were read.
    pub entries: i64,
    /// In their order.
    pub imports: Vec<Import>,
    pub withdrawals: Vec<Withdrawal>,
    /// In their order.
    pub decisions: Vec<Decided>,
    pub closes: BTreeMap<BillingMonth, Closed>,
}

/// A provider's invoice came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The number of the journal's entry.
    pub entry: i64,
    pub at: Instant,
    pub provider: ProviderId,
    /// The file's name, without its folder.
    pub file: String,
    /// Of the file, which is the entry's document.
    pub digest: Sha256Digest,
    pub options: ImportOptions,
}

/// What the file of an invoice does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    pub invoice: Option<InvoiceId>,
    pub period: Option<BillingMonth>,
    /// Whether it is a part of the invoice.
    pub partial: bool,
}

/// An invoice is taken out, all of its versions that came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    pub entry: i64,
    pub at: Instant,
    pub provider: ProviderId,
    pub invoice: InvoiceId,
    pub reason: String,
    pub by: String,
}

/// A decision about differences; `reconcile` knows what its body means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    pub entry: i64,
    pub at: Instant,
    pub reason: String,
    pub body: Vec<u8>,
}

/// A month is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    pub entry: i64,
    pub at: Instant,
    pub reason: Option<String>,
    /// Of the lines that were posted, which are the entry's document.
    pub posted: Sha256Digest,
    pub record: CloseRecord,
}

/// What a close rests on, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseRecord {
    pub period: String,
    pub run: String,
    pub catalog: String,
    pub ledger_version: Versions,
    /// The entries of the journal that the run rests on.
    pub journal: i64,
    pub invoices: Vec<InvoiceVersion>,
    /// What was waived, as given.
    pub waived: Vec<String>,
    /// What each customer is billed, by currency, in decimals.
    pub totals: BTreeMap<String, BTreeMap<String, String>>,
    pub by: String,
}

/// An invoice as it stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvoiceVersion {
    pub provider: String,
    pub invoice: String,
    pub version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportBody {
    provider: String,
    file: String,
    invoice: Option<String>,
    period: Option<String>,
    partial: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WithdrawalBody {
    provider: String,
    invoice: String,
    by: String,
}

impl Books {
    /// Reads the first entries of a journal.
    ///
    /// # Errors
    /// Where a body is not what its kind says.
    pub fn read(entries: &[Entry]) -> Result<Self, RatingError> {
        let mut books = Self::default();
        for entry in entries {
            books.entries = entry.number + 1;
            let damaged = |what: String| {
                RatingError::Damaged(format!(
                    "entry {} of the journal ({}): {what}; restore the ledger from a copy",
                    entry.number,
                    entry.kind.as_str()
                ))
            };
            match entry.kind {
                EntryKind::CatalogPublished | EntryKind::TruncationAccepted => {}
                EntryKind::InvoiceImported => books.imports.push(import(entry).map_err(damaged)?),
                EntryKind::InvoiceWithdrawn => books.withdrawals.push(withdrawal(entry).map_err(damaged)?),
                EntryKind::DifferenceDecided => books.decisions.push(Decided {
                    entry: entry.number,
                    at: entry.recorded_at,
                    reason: entry.note.clone().ok_or_else(|| damaged("it has no reason".to_owned()))?,
                    body: entry.body.clone(),
                }),
                EntryKind::MonthClosed => {
                    let (month, closed) = closed(entry).map_err(damaged)?;
                    if books.closes.insert(month, closed).is_some() {
                        return Err(damaged(format!("{month} is closed a second time")));
                    }
                }
            }
        }
        Ok(books)
    }

    /// The last month that is closed.
    pub fn last_closed(&self) -> Option<BillingMonth> {
        self.closes.keys().next_back().copied()
    }

    /// Whether an invoice that came with this entry was taken out later.
    pub fn is_withdrawn(&self, import: &Import, invoice: &InvoiceId) -> bool {
        self.withdrawals.iter().any(|withdrawal| {
            withdrawal.entry > import.entry
                && withdrawal.provider == import.provider
                && withdrawal.invoice == *invoice
        })
    }
}

impl ImportOptions {
    /// The body of an entry.
    pub fn body(&self, provider: &ProviderId, file: &str) -> Vec<u8> {
        let body = ImportBody {
            provider: provider.to_string(),
            file: file.to_owned(),
            invoice: self.invoice.as_ref().map(ToString::to_string),
            period: self.period.map(|period| period.to_string()),
            partial: self.partial,
        };
        serde_json::to_vec(&body).expect("texts are JSON")
    }
}

/// The body of an entry that takes an invoice out.
pub fn withdrawal_body(provider: &ProviderId, invoice: &InvoiceId, by: &str) -> Vec<u8> {
    let body =
        WithdrawalBody { provider: provider.to_string(), invoice: invoice.to_string(), by: by.to_owned() };
    serde_json::to_vec(&body).expect("texts are JSON")
}

fn import(entry: &Entry) -> Result<Import, String> {
    let ImportBody { provider, file, invoice, period, partial } = read(&entry.body)?;
    Ok(Import {
        entry: entry.number,
        at: entry.recorded_at,
        provider: ProviderId::new(provider).map_err(|error| format!("`provider`: {error}"))?,
        file,
        digest: entry.digest,
        options: ImportOptions {
            invoice: invoice
                .map(InvoiceId::new)
                .transpose()
                .map_err(|error| format!("`invoice`: {error}"))?,
            period: period.map(|text| month(&text)).transpose()?,
            partial,
        },
    })
}

fn withdrawal(entry: &Entry) -> Result<Withdrawal, String> {
    let WithdrawalBody { provider, invoice, by } = read(&entry.body)?;
    Ok(Withdrawal {
        entry: entry.number,
        at: entry.recorded_at,
        provider: ProviderId::new(provider).map_err(|error| format!("`provider`: {error}"))?,
        invoice: InvoiceId::new(invoice).map_err(|error| format!("`invoice`: {error}"))?,
        reason: entry.note.clone().ok_or("it has no reason")?,
        by,
    })
}

fn closed(entry: &Entry) -> Result<(BillingMonth, Closed), String> {
    let record: CloseRecord = read(&entry.body)?;
    let month = month(&record.period)?;
    let closed = Closed {
        entry: entry.number,
        at: entry.recorded_at,
        reason: entry.note.clone(),
        posted: entry.digest,
        record,
    };
    Ok((month, closed))
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn month(text: &str) -> Result<BillingMonth, String> {
    BillingMonth::parse(text).ok_or_else(|| format!("{text:?} is not a month"))
}
