//! What the operator says of rows: who, when, why, and about which figures.
//!
//! A command names rows by what they are; what is kept names them by their figures, so that a decision
//! holds no longer than the figures that it was about. Where it is kept is deliberately not known here.
//!
//! Invariant: rows with the same digest, in any comparison, have the same figures.

use super::row::{Class, LineAt, Row, Status};
use crate::exact::{Exact, display};
use crate::words::words;
use schemas::canonical::{push_count, push_option, push_text};
use schemas::decimal::Amount;
use schemas::digest::Sha256Digest;
use schemas::id::{ProviderId, SkuId};
use schemas::invoice::Invoice;
use schemas::time::{BillingMonth, Instant};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

words! {
    /// What is said of a row.
    pub enum Action {
        /// What the invoice says is passed through.
        Accept = "accept",
        /// The difference is retained until the provider has answered.
        Dispute = "dispute",
        /// What is known of it; nothing is decided.
        Explain = "explain",
        /// What was decided is taken back.
        Reopen = "reopen",
    }
}

/// Which rows a command is about. What is left out fits every row; an empty text fits a row without a
/// value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    pub provider: ProviderId,
    pub period: BillingMonth,
    pub sku: Option<Box<str>>,
    pub sub_account: Option<Box<str>>,
    pub class: Option<Class>,
    pub text: Option<Box<str>>,
}

/// What one command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    pub on: Selector,
    pub reason: Box<str>,
    pub by: Box<str>,
    pub at: Instant,
    /// The figures of the rows that it was about.
    pub about: BTreeSet<Sha256Digest>,
}

impl Action {
    /// Whether a row has the status that it is about: an open one, or to take back a decided one.
    pub fn is_about(self, row: &Row) -> bool {
        match self {
            Self::Accept | Self::Dispute | Self::Explain => row.status == Some(Status::Open),
            Self::Reopen => matches!(row.status, Some(Status::Accepted | Status::Disputed)),
        }
    }
}

impl Selector {
    pub fn fits(&self, row: &Row) -> bool {
        let is = |wanted: &Option<Box<str>>, value: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| wanted == value.unwrap_or_default())
        };
        self.provider == row.provider
            && self.period == row.period
            && is(&self.sku, row.sku.as_ref().map(SkuId::as_str))
            && is(&self.sub_account, row.sub_account.as_deref())
            && is(&self.text, row.invoice_text.as_deref())
            && self.class.is_none_or(|class| row.class == Some(class))
    }
}

/// What a command puts into the journal: about every open row that fits, or, to take back, every decided
/// one. `None` where there is no such row. `rows` are those of a comparison, all of them, with the
/// decisions before applied.
pub fn decide(
    rows: &[Row],
    invoices: &[Invoice],
    action: Action,
    on: Selector,
    (reason, by, at): (&str, &str, Instant),
) -> Option<Decision> {
    let fitting =
        rows.iter().zip(figures(rows, invoices)).filter(|(row, _)| action.is_about(row) && on.fits(row));
    let about: BTreeSet<Sha256Digest> = fitting.filter_map(|(_, digest)| digest).collect();
    let decision = Decision { action, on, reason: reason.into(), by: by.into(), at, about };
    (!decision.about.is_empty()).then_some(decision)
}

/// Gives rows the status that decisions, in the order of the journal, have given them.
pub fn apply(rows: &mut [Row], invoices: &[Invoice], decisions: &[Decision]) {
    let mut said = BTreeMap::new();
    for decision in decisions {
        for digest in &decision.about {
            match decision.action {
                Action::Accept => said.insert(*digest, Status::Accepted),
                Action::Dispute => said.insert(*digest, Status::Disputed),
                Action::Reopen => said.remove(digest),
                Action::Explain => None,
            };
        }
    }
    if said.is_empty() {
        return;
    }
    let digests = figures(rows, invoices);
    for (row, digest) in rows.iter_mut().zip(digests) {
        if let Some(status) = digest.and_then(|digest| said.get(&digest)) {
            row.status = Some(*status);
        }
    }
}

/// For each row, the decisions about the figures that it has, in the order of the journal.
pub fn decided<'d>(rows: &[Row], invoices: &[Invoice], decisions: &'d [Decision]) -> Vec<Vec<&'d Decision>> {
    let mut about: BTreeMap<&Sha256Digest, Vec<&Decision>> = BTreeMap::new();
    for decision in decisions {
        for digest in &decision.about {
            about.entry(digest).or_default().push(decision);
        }
    }
    let of_row = |digest: Option<Sha256Digest>| about.get(&digest?).cloned();
    figures(rows, invoices).into_iter().map(|digest| of_row(digest).unwrap_or_default()).collect()
}

/// The figures of each row of a comparison that can be decided: what it is, its class, dates and ledger
/// figures, and of each of its lines the invoice, category, description, amount and quantity. Rows that
/// have all of that in common are counted.
fn figures(rows: &[Row], invoices: &[Invoice]) -> Vec<Option<Sha256Digest>> {
    let mut times: BTreeMap<Sha256Digest, u32> = BTreeMap::new();
    let digest = |row: &Row| {
        let class = row.class.filter(|_| row.status.is_some_and(|status| status != Status::Awaited))?;
        let mut bytes = canonical(row, class, invoices);
        let times = times.entry(Sha256Digest::of(&bytes)).or_default();
        bytes.extend_from_slice(&times.to_be_bytes());
        *times += 1;
        Some(Sha256Digest::of(&bytes))
    };
    rows.iter().map(digest).collect()
}

fn canonical(row: &Row, class: Class, invoices: &[Invoice]) -> Vec<u8> {
    let mut bytes = b"row1".to_vec();
    push_text(&mut bytes, row.provider.as_str());
    push_text(&mut bytes, &row.period.to_string());
    for text in [row.sku.as_ref().map(SkuId::as_str), row.sub_account.as_deref(), row.invoice_text.as_deref()]
    {
        push_option(&mut bytes, text, push_text);
    }
    push_text(&mut bytes, row.currency.code());
    push_text(&mut bytes, class.as_str());
    for at in [row.start, row.end] {
        bytes.extend_from_slice(&at.micros().to_be_bytes());
    }
    push_option(&mut bytes, row.ledger_quantity.as_ref(), push_exact);
    push_option(&mut bytes, row.ledger_amount, push_amount);
    // Another order of lines is no other figure.
    let mut lines: Vec<Vec<u8>> = row.lines.iter().map(|at| canonical_line(*at, invoices)).collect();
    lines.sort();
    push_count(&mut bytes, lines.len());
    bytes.extend(lines.into_iter().flatten());
    bytes
}

fn canonical_line(at: LineAt, invoices: &[Invoice]) -> Vec<u8> {
    let invoice = &invoices[at.invoice];
    let line = &invoice.lines[at.line];
    let mut bytes = Vec::new();
    push_text(&mut bytes, invoice.id.as_str());
    push_text(&mut bytes, line.category.as_str());
    push_option(&mut bytes, line.description.as_deref(), push_text);
    push_amount(&mut bytes, line.amount);
    push_option(&mut bytes, line.quantity, push_amount);
    bytes
}

fn push_amount(bytes: &mut Vec<u8>, amount: Amount) {
    bytes.extend_from_slice(&amount.units().to_be_bytes());
}

fn push_exact(bytes: &mut Vec<u8>, value: &Exact) {
    push_text(bytes, &display(value));
}

/// A decision as the journal keeps it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    action: String,
    provider: String,
    period: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sku: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub_account: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<Box<str>>,
    reason: Box<str>,
    by: Box<str>,
    at: String,
    rows: Vec<String>,
}

impl Decision {
    /// The body of a journal entry.
    pub fn to_json(&self) -> Vec<u8> {
        let stored = Stored {
            action: self.action.as_str().to_owned(),
            provider: self.on.provider.to_string(),
            period: self.on.period.to_string(),
            sku: self.on.sku.clone(),
            sub_account: self.on.sub_account.clone(),
            class: self.on.class.map(|class| class.as_str().to_owned()),
            text: self.on.text.clone(),
            reason: self.reason.clone(),
            by: self.by.clone(),
            at: self.at.to_string(),
            rows: self.about.iter().map(Sha256Digest::to_string).collect(),
        };
        serde_json::to_vec(&stored).expect("texts are always JSON")
    }

    /// # Errors
    /// What is wrong with the bytes, as part of a sentence.
    pub fn from_json(body: &[u8]) -> Result<Self, String> {
        let stored: Stored = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let read = |text: &String| Sha256Digest::from_hex(text).ok_or_else(|| format!("{text} is no digest"));
        let class = stored
            .class
            .as_ref()
            .map(|class| Class::parse(class).ok_or_else(|| format!("{class} is no class")));
        Ok(Self {
            action: Action::parse(&stored.action).ok_or_else(|| format!("{} is no action", stored.action))?,
            on: Selector {
                provider: ProviderId::new(stored.provider).map_err(|error| error.to_string())?,
                period: BillingMonth::parse(&stored.period)
                    .ok_or_else(|| format!("{} is no month", stored.period))?,
                sku: stored.sku,
                sub_account: stored.sub_account,
                class: class.transpose()?,
                text: stored.text,
            },
            reason: stored.reason,
            by: stored.by,
            at: Instant::parse_rfc3339(&stored.at).map_err(|error| error.to_string())?,
            about: stored.rows.iter().map(read).collect::<Result<_, _>>()?,
        })
    }
}
