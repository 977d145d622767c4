//! `atcost invoice`: providers' invoices into the ledger, and what came of them.
//!
//! What an invoice says is compared elsewhere (`reconcile`).
//!
//! Invariant: an import has happened, with its file kept, or it has not.

use super::books::{self, Came, Opened};
use super::catalog::{InForce, in_force};
use crate::clock;
use crate::config::Config;
use crate::show::{Align, Answer, Busy, plural, printable, table};
use anyhow::{Context as _, bail};
use ingest::invoice::{ImportedInvoice, skus, sums};
use ledger::ErrorKind;
use ledger::documents::{self, Hashing};
use ledger::journal::EntryKind;
use rating::books::{Books, Import, ImportOptions, withdrawal_body};
use rating::catalog::Provider;
use schemas::digest::Sha256Digest;
use schemas::id::{InvoiceId, ProviderId};
use schemas::invoice::{Invoice, LineCategory, Standing};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// An import, as the journal has it.
pub struct Imported {
    provider: ProviderId,
    file: String,
    digest: Sha256Digest,
    entry: i64,
    /// Whether the same file with the same options was imported before.
    is_known: bool,
    invoices: Vec<Summary>,
}

/// One invoice of an import.
struct Summary {
    id: InvoiceId,
    period: String,
    standing: Standing,
    lines: usize,
    sums: Vec<(LineCategory, String, u32, String)>,
    totals: Vec<(String, String)>,
    remarks: Vec<String>,
    /// The texts that no mapping covers, with what they come to.
    unmapped: Vec<(String, u32)>,
}

/// The texts and remarks that a terminal has room for.
const SHOWN: usize = 20;

/// Takes an invoice's file into the ledger.
///
/// # Errors
/// When the file is refused, the provider unknown, or the ledger cannot be written.
pub async fn import(
    config: &Config,
    provider: &str,
    file: &Path,
    options: &ImportOptions,
) -> anyhow::Result<Imported> {
    let _busy = Busy::with("importing an invoice");
    let id = ProviderId::new(provider).with_context(|| format!("--provider {provider:?}"))?;
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{}: this file has no name that is text", file.display()))?
        .to_owned();
    loop {
        // What the others say is not asked: their files may be large, and one that the catalog in force
        // cannot read any more is in nobody's way here.
        let InForce { catalog, books, mut journal } = in_force(config, None).await?;
        let provider = catalog
            .providers
            .get(&id)
            .with_context(|| format!("the catalog in force has no provider {id}; publish one that has"))?;
        let opened = File::open(file).with_context(|| format!("{}: it cannot be read", file.display()))?;
        let mut input = Hashing::new(opened);
        let read = books::read(&name, &mut input, provider, options)?;
        let digest = input.digest().with_context(|| format!("{}: it cannot be read", file.display()))?;
        let invoices: Vec<Summary> = read.iter().map(|imported| summary(imported, provider)).collect();
        drop(read);
        let known = known(config, &books, &invoices, (&digest, options), provider).await?;
        let (provider, file_name) = (id.clone(), name.clone());
        if let Some(entry) = known {
            return Ok(Imported { provider, file: file_name, digest, entry, is_known: true, invoices });
        }
        documents::keep_file(&config.ledger, file, digest).await?;
        fail::fail_point!("invoice.kept");
        let body = options.body(&id, &name);
        let entry = match journal.append(EntryKind::InvoiceImported, clock::now(), digest, None, body).await {
            Ok(entry) => entry.number,
            // It may be this very file, or a catalog that reads it in another way.
            Err(error) if error.kind() == ErrorKind::Fenced => continue,
            Err(error) => return Err(error.into()),
        };
        tracing::info!(event = "invoice.imported", provider = %id, file = %name, entry, "an invoice is in the ledger");
        return Ok(Imported { provider, file: file_name, digest, entry, is_known: false, invoices });
    }
}

/// The entry by which the same file came with the same options, if its invoices are those that stand.
async fn known(
    config: &Config,
    books: &Books,
    invoices: &[Summary],
    (digest, options): (&Sha256Digest, &ImportOptions),
    provider: &Provider,
) -> anyhow::Result<Option<i64>> {
    let of_provider = || books.imports.iter().rev().filter(|import| import.provider == provider.id);
    let is_same = |import: &&Import| import.digest == *digest && import.options == *options;
    let Some(known) = of_provider().find(is_same) else { return Ok(None) };
    if invoices.iter().any(|invoice| books.is_withdrawn(known, &invoice.id)) {
        return Ok(None);
    }
    // A version that came after it stands, unless this one is said again.
    for later in of_provider().take_while(|import| import.entry > known.entry) {
        let bytes = documents::read(&config.ledger, &later.digest).await?;
        let is_one = |later: &ImportedInvoice| invoices.iter().any(|known| known.id == later.invoice.id);
        if books::read(&later.file, &bytes[..], provider, &later.options)?.iter().any(is_one) {
            return Ok(None);
        }
    }
    Ok(Some(known.entry))
}

fn summary(ImportedInvoice { invoice, report }: &ImportedInvoice, provider: &Provider) -> Summary {
    let of_category = sums(invoice).into_iter().map(|((category, currency), sum)| {
        let amount = sum.amount.map_or_else(|| "too much to say".to_owned(), |amount| amount.to_string());
        (category, currency.to_string(), sum.lines, amount)
    });
    let is_mapped = |text: &str, sum: &ingest::invoice::TextSum| {
        let by_map = provider.invoicing.as_ref().and_then(|invoicing| invoicing.map.sku(text, sum.first));
        by_map.is_some() || provider.skus.iter().any(|sku| sku.id.as_str() == text)
    };
    let unmapped = skus(invoice).into_iter().filter(|(text, sum)| !is_mapped(text, sum));
    Summary {
        id: invoice.id.clone(),
        period: invoice.period.to_string(),
        standing: invoice.standing,
        lines: invoice.lines.len(),
        sums: of_category.collect(),
        totals: invoice
            .totals
            .iter()
            .map(|(currency, total)| (currency.to_string(), total.to_string()))
            .collect(),
        remarks: report.sentences(),
        unmapped: unmapped.map(|(text, sum)| (text.to_string(), sum.lines())).collect(),
    }
}

/// How much an invoice says, in a word.
pub(super) fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Complete => "complete",
        Standing::Partial => "partial",
        Standing::Preliminary => "preliminary",
    }
}

impl Answer for Imported {
    fn json(&self) -> anyhow::Result<Value> {
        let invoice = |invoice: &Summary| {
            json!({
                "invoice": invoice.id.to_string(), "period": invoice.period,
                "standing": standing(invoice.standing), "lines": invoice.lines,
                "sums": invoice.sums.iter().map(|(category, currency, lines, amount)| json!({
                    "category": category.as_str(), "currency": currency, "lines": lines, "amount": amount,
                })).collect::<Value>(),
                "total": invoice.totals.iter().cloned().collect::<BTreeMap<String, String>>(),
                "remarks": invoice.remarks,
                "unmapped": invoice.unmapped.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(),
            })
        };
        Ok(json!({
            "provider": self.provider.to_string(), "file": self.file, "digest": self.digest.to_string(),
            "entry": self.entry, "new": !self.is_known,
            "invoices": self.invoices.iter().map(invoice).collect::<Value>(),
        }))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for invoice in &self.invoices {
            text.push_str(&format!(
                "{} {} of {}: {}, {}\n",
                self.provider,
                printable(invoice.id.as_str()),
                invoice.period,
                plural(invoice.lines as u64, "line", "lines"),
                standing(invoice.standing)
            ));
            let mut rows: Vec<Vec<String>> = invoice
                .sums
                .iter()
                .map(|(category, currency, lines, amount)| {
                    vec![category.to_string(), lines.to_string(), amount.clone(), currency.clone()]
                })
                .collect();
            rows.extend(invoice.totals.iter().map(|(currency, total)| {
                vec!["stated total".to_owned(), String::new(), total.clone(), currency.clone()]
            }));
            let columns =
                [("", Align::Left), ("lines", Align::Right), ("amount", Align::Right), ("", Align::Left)];
            text.push_str(&table(&columns, &rows));
            for remark in invoice.remarks.iter().take(SHOWN) {
                text.push_str(&format!("  {}\n", printable(remark)));
            }
            if !invoice.unmapped.is_empty() {
                text.push_str(&format!(
                    "! {} no mapping; `atcost invoice map --provider {}` proposes some\n",
                    plural(invoice.unmapped.len() as u64, "text has", "texts have"),
                    self.provider
                ));
                for (unmapped, lines) in invoice.unmapped.iter().take(SHOWN) {
                    let lines = plural(u64::from(*lines), "line", "lines");
                    text.push_str(&format!("  {} ({lines})\n", printable(unmapped)));
                }
                if invoice.unmapped.len() > SHOWN {
                    text.push_str(&format!("  … and {} more\n", invoice.unmapped.len() - SHOWN));
                }
            }
        }
        text.push_str(&match self.is_known {
            true => format!("imported already, as journal entry {}; nothing to do\n", self.entry),
            false => format!("imported as journal entry {}\n", self.entry),
        });
        text
    }
}

/// The invoices that there are.
pub struct List(Vec<Listed>);

struct Listed {
    provider: ProviderId,
    invoice: InvoiceId,
    version: u32,
    period: String,
    state: &'static str,
    lines: usize,
    totals: String,
    file: String,
    imported_at: String,
}

fn listed(came: &Came, opened: &Opened) -> Listed {
    let (Came { import, is_withdrawn, .. }, invoice) = (came, opened.invoice(came));
    let is_later = |other: &Invoice| {
        (&other.provider, &other.id) == (&invoice.provider, &invoice.id) && other.version > invoice.version
    };
    let state = match (is_withdrawn, opened.invoices.iter().any(is_later)) {
        (true, _) => "withdrawn",
        (false, true) => "replaced",
        (false, false) => standing(invoice.standing),
    };
    let mut totals: BTreeMap<String, String> = BTreeMap::new();
    for ((_, currency), _) in sums(invoice) {
        let stated = invoice.totals.get(&currency).map(|total| format!("{total} {currency}"));
        totals.insert(currency.to_string(), stated.unwrap_or_else(|| currency.to_string()));
    }
    Listed {
        provider: invoice.provider.clone(),
        invoice: invoice.id.clone(),
        version: invoice.version,
        period: invoice.period.to_string(),
        state,
        lines: invoice.lines.len(),
        totals: totals.into_values().collect::<Vec<_>>().join(", "),
        file: import.file.clone(),
        imported_at: import.at.to_string(),
    }
}

/// Every version of every invoice.
///
/// # Errors
/// As [`books::open`].
pub async fn list(config: &Config) -> anyhow::Result<List> {
    let opened = books::open(config, None).await?;
    Ok(List(opened.all.iter().map(|came| listed(came, &opened)).collect()))
}

impl Answer for List {
    fn json(&self) -> anyhow::Result<Value> {
        let listed = |listed: &Listed| {
            json!({
                "provider": listed.provider.to_string(), "invoice": listed.invoice.to_string(),
                "version": listed.version, "period": listed.period, "state": listed.state,
                "lines": listed.lines, "total": listed.totals, "file": listed.file,
                "imported_at": listed.imported_at,
            })
        };
        Ok(self.0.iter().map(listed).collect())
    }

    fn text(&self) -> String {
        if self.0.is_empty() {
            return "no invoice was imported yet; run `atcost invoice import --provider PROVIDER FILE`\n"
                .to_owned();
        }
        let rows: Vec<Vec<String>> = self
            .0
            .iter()
            .map(|listed| {
                vec![
                    listed.provider.to_string(),
                    listed.invoice.to_string(),
                    listed.version.to_string(),
                    listed.period.clone(),
                    listed.state.to_owned(),
                    listed.lines.to_string(),
                    listed.totals.clone(),
                    listed.file.clone(),
                ]
            })
            .collect();
        let columns = [
            ("provider", Align::Left),
            ("invoice", Align::Left),
            ("version", Align::Right),
            ("month", Align::Left),
            ("", Align::Left),
            ("lines", Align::Right),
            ("total", Align::Right),
            ("file", Align::Left),
        ];
        table(&columns, &rows)
    }
}

/// One invoice, line by line.
pub struct Shown(Invoice);

/// The last version of an invoice, or the one that is asked for.
///
/// # Errors
/// When there is none, or several providers have one of that id.
pub async fn show(
    config: &Config,
    invoice: &str,
    provider: Option<&str>,
    version: Option<u32>,
) -> anyhow::Result<Shown> {
    let opened = books::open(config, None).await?;
    let found: Vec<&Invoice> = opened
        .all
        .iter()
        .map(|came| opened.invoice(came))
        .filter(|found| found.id.as_str() == invoice)
        .filter(|found| provider.is_none_or(|provider| found.provider.as_str() == provider))
        .filter(|found| version.is_none_or(|version| found.version == version))
        .collect();
    let last = *found.last().with_context(|| {
        format!("there is no invoice {invoice:?} of that kind; `atcost invoice list` has them")
    })?;
    if found.iter().any(|other| other.provider != last.provider) {
        bail!("several providers have an invoice {invoice:?}; say which with --provider");
    }
    Ok(Shown(last.clone()))
}

impl Answer for Shown {
    fn json(&self) -> anyhow::Result<Value> {
        let Self(invoice) = self;
        let line = |line: &schemas::invoice::InvoiceLine| {
            json!({
                "line": line.line, "line_id": line.line_id.as_deref(),
                "billing_account": line.billing_account.as_deref(),
                "sub_account": line.sub_account.as_deref(), "sku_text": line.sku_text.as_deref(),
                "description": line.description.as_deref(), "category": line.category.as_str(),
                "charge_period_start": line.start.to_string(), "charge_period_end": line.end.to_string(),
                "quantity": line.quantity.map(|value| value.to_string()), "unit": line.unit.as_deref(),
                "unit_price": line.unit_price.map(|value| value.to_string()),
                "amount": line.amount.to_string(), "currency": line.currency.code(), "repeats": line.repeats,
            })
        };
        Ok(json!({
            "provider": invoice.provider.to_string(), "invoice": invoice.id.to_string(),
            "version": invoice.version, "period": invoice.period.to_string(),
            "standing": standing(invoice.standing),
            "total": invoice.totals.iter().map(|(currency, total)| (currency.to_string(), total.to_string())).collect::<BTreeMap<_, _>>(),
            "lines": invoice.lines.iter().map(line).collect::<Value>(),
        }))
    }

    fn text(&self) -> String {
        let Self(invoice) = self;
        let rows: Vec<Vec<String>> = invoice
            .lines
            .iter()
            .take(MANY)
            .map(|line| {
                let text =
                    |text: &Option<std::sync::Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
                vec![
                    line.line.to_string(),
                    line.category.to_string(),
                    text(&line.sku_text),
                    text(&line.sub_account),
                    line.quantity.map_or_else(String::new, |value| value.to_string()),
                    text(&line.unit),
                    line.amount.to_string(),
                    line.currency.to_string(),
                ]
            })
            .collect();
        let columns = [
            ("line", Align::Right),
            ("", Align::Left),
            ("text", Align::Left),
            ("account", Align::Left),
            ("quantity", Align::Right),
            ("unit", Align::Left),
            ("amount", Align::Right),
            ("", Align::Left),
        ];
        let mut text = format!(
            "{} {} version {} of {}, {}\n{}",
            invoice.provider,
            invoice.id,
            invoice.version,
            invoice.period,
            standing(invoice.standing),
            table(&columns, &rows)
        );
        if invoice.lines.len() > MANY {
            text.push_str(&format!(
                "  … and {} more; --format json has them all\n",
                invoice.lines.len() - MANY
            ));
        }
        text
    }
}

/// The lines of an invoice that are shown.
const MANY: usize = 200;

/// A withdrawal, as the journal has it.
pub struct Withdrawn {
    provider: ProviderId,
    invoice: InvoiceId,
    entry: i64,
}

/// Takes an invoice out, as if it had not come.
///
/// # Errors
/// When there is none of that id that stands, several providers have one, or another entry came first.
pub async fn withdraw(
    config: &Config,
    invoice: &str,
    provider: Option<&str>,
    reason: &str,
    by: &str,
) -> anyhow::Result<Withdrawn> {
    let Opened { invoices, mut journal, .. } = books::open(config, None).await?;
    let mut found = invoices.iter().filter(|found| found.id.as_str() == invoice);
    let wanted = |found: &&Invoice| provider.is_none_or(|provider| found.provider.as_str() == provider);
    let first = found.clone().find(wanted).with_context(|| {
        format!("there is no invoice {invoice:?} that stands; `atcost invoice list` has them")
    })?;
    if found.any(|other| wanted(&other) && other.provider != first.provider) {
        bail!("several providers have an invoice {invoice:?}; say which with --provider");
    }
    let body = withdrawal_body(&first.provider, &first.id, by);
    let (kind, digest) = (EntryKind::InvoiceWithdrawn, Sha256Digest::of(&body));
    let entry = journal.append(kind, clock::now(), digest, Some(reason.to_owned()), body).await?.number;
    Ok(Withdrawn { provider: first.provider.clone(), invoice: first.id.clone(), entry })
}

impl Answer for Withdrawn {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(json!({
            "provider": self.provider.to_string(), "invoice": self.invoice.to_string(), "entry": self.entry,
        }))
    }

    fn text(&self) -> String {
        format!("{} {} is withdrawn, by journal entry {}\n", self.provider, self.invoice, self.entry)
    }
}
