//! What a month rests on beside the ledger's rows: the catalog in force, the invoices that came, what was
//! decided, what was posted.
//!
//! An invoice's lines are read anew from its file with the catalog in force, so that a better mapping is
//! published and not imported again. Nothing is compared here.
//!
//! Invariant: all of it is as the journal has it at one moment.

use super::catalog::{InForce, in_force_at};
use crate::config::Config;
use anyhow::{Context as _, anyhow};
use ingest::invoice::en16931::{self, ElectronicInvoice};
use ingest::invoice::{self, ImportedInvoice, Issuer, Options, Places, Remark, Report};
use ledger::documents;
use ledger::journal::Journal;
use rating::books::{Books, Import, ImportOptions};
use rating::catalog::{Catalog, Provider};
use rating::reconcile::Decision;
use rating::run::{PostedLine, read_posted};
use schemas::id::{InvoiceId, ProviderId};
use schemas::invoice::{Invoice, Standing};
use schemas::invoice_mapping::Mapping;
use schemas::time::BillingMonth;
use std::collections::BTreeMap;
use std::io::Read;

/// All that a month rests on.
pub(super) struct Opened {
    pub catalog: Catalog,
    pub books: Books,
    /// Every version of every invoice, in the order in which they came.
    pub all: Vec<Came>,
    /// Those that were not withdrawn, in the same order.
    pub invoices: Vec<Invoice>,
    withdrawn: Vec<Invoice>,
    pub decisions: Vec<Decision>,
    pub posted: BTreeMap<BillingMonth, Vec<PostedLine>>,
    /// What is added to it rests on all of this, or is refused.
    pub journal: Journal,
}

/// An invoice that came. It is held once, because it may have a million lines.
pub(super) struct Came {
    pub import: Import,
    pub is_withdrawn: bool,
    /// Among those that were withdrawn, or that were not.
    place: usize,
}

impl Opened {
    pub(super) fn invoice(&self, came: &Came) -> &Invoice {
        let among = if came.is_withdrawn { &self.withdrawn } else { &self.invoices };
        &among[came.place]
    }
}

/// Reads the books.
///
/// # Errors
/// When the journal, a document or an invoice cannot be read.
pub(super) async fn open(config: &Config, digest: Option<&str>) -> anyhow::Result<Opened> {
    open_at(config, digest, None).await
}

/// As [`open`], after so many entries of the journal.
///
/// # Errors
/// As [`open`], and where the journal has fewer.
pub(super) async fn open_at(
    config: &Config,
    digest: Option<&str>,
    entries: Option<i64>,
) -> anyhow::Result<Opened> {
    let InForce { catalog, books, journal } = in_force_at(config, digest, entries).await?;
    let (mut all, mut invoices, mut withdrawn) = (Vec::new(), Vec::new(), Vec::new());
    let mut versions: BTreeMap<(ProviderId, InvoiceId), u32> = BTreeMap::new();
    for import in &books.imports {
        let provider = catalog.providers.get(&import.provider).with_context(|| {
            format!(
                "{} was imported as an invoice of {}, which the catalog in force has not; publish it again, or withdraw the invoice",
                import.file, import.provider
            )
        })?;
        let bytes = documents::read(&config.ledger, &import.digest).await?;
        for ImportedInvoice { mut invoice, .. } in read(&import.file, &bytes[..], provider, &import.options)?
        {
            let version = versions.entry((invoice.provider.clone(), invoice.id.clone())).or_default();
            *version += 1;
            invoice.version = *version;
            let is_withdrawn = books.is_withdrawn(import, &invoice.id);
            let among = if is_withdrawn { &mut withdrawn } else { &mut invoices };
            all.push(Came { import: import.clone(), is_withdrawn, place: among.len() });
            among.push(invoice);
        }
    }
    let mut decisions = Vec::new();
    for decided in &books.decisions {
        let decision = Decision::from_json(&decided.body);
        decisions.push(decision.map_err(|what| {
            anyhow!(
                "entry {} of the journal is no decision: {what}; restore the ledger from a copy",
                decided.entry
            )
        })?);
    }
    let mut posted = BTreeMap::new();
    for (month, closed) in &books.closes {
        let bytes = documents::read(&config.ledger, &closed.posted).await?;
        let lines = read_posted(&bytes).map_err(|what| {
            anyhow!("the posted lines of {month} cannot be read: {what}; restore the ledger from a copy")
        })?;
        posted.insert(*month, lines);
    }
    Ok(Opened { catalog, books, all, invoices, withdrawn, decisions, posted, journal })
}

/// The invoices of a file, by the mapping of its provider. Of a file that is refused the rest may stay
/// unread.
///
/// # Errors
/// Where there is no mapping, or the file is refused.
pub(super) fn read(
    file: &str,
    input: impl Read,
    provider: &Provider,
    options: &ImportOptions,
) -> anyhow::Result<Vec<ImportedInvoice>> {
    let ImportOptions { invoice, period, partial } = options.clone();
    let invoicing = provider.invoicing.as_ref().with_context(|| {
        format!(
            "the catalog in force does not say how invoices of {0} are read; add providers/{0}/invoice.toml and publish it",
            provider.id
        )
    })?;
    let issuer = Issuer {
        provider: provider.id.clone(),
        billing_account: provider.billing_account.clone(),
        zone: provider.time_zone.clone(),
        anchor: provider.anchor,
    };
    match &invoicing.mapping {
        Mapping::Columns(mapping) => {
            Ok(invoice::import(file, input, mapping, &issuer, &Options { invoice, period, partial })?)
        }
        Mapping::En16931 => {
            let options = en16931::Options { invoice, period };
            let mut bytes = Vec::new();
            input
                .take(en16931::MAX_BYTES + 1)
                .read_to_end(&mut bytes)
                .with_context(|| format!("{file}: it cannot be read"))?;
            let read = en16931::read(&bytes, &provider.time_zone, provider.anchor, &options)
                .map_err(|refusal| anyhow!("{file}: {refusal}"))?;
            Ok(vec![electronic(read, provider, partial)?])
        }
    }
}

fn electronic(
    read: ElectronicInvoice,
    provider: &Provider,
    partial: bool,
) -> anyhow::Result<ImportedInvoice> {
    let ElectronicInvoice { id, month: period, currency, total, mut lines, difference, rounded, .. } = read;
    for line in &mut lines {
        line.billing_account.get_or_insert_with(|| provider.billing_account.as_str().into());
    }
    let provider = &provider.id;
    let (id, standing) = match (id, partial) {
        (Some(id), false) => (id, Standing::Complete),
        (Some(id), true) => (id, Standing::Partial),
        (None, _) => (InvoiceId::new(format!("{provider}-preliminary-{period}"))?, Standing::Preliminary),
    };
    let totals = if standing == Standing::Complete { [(currency, total)].into() } else { BTreeMap::new() };
    let invoice = Invoice { provider: provider.clone(), id, version: 1, period, standing, totals, lines };
    let mut report = Report::default();
    if rounded > 0 {
        report.remarks.insert(Remark::Rounded, Places { count: rounded.into(), first: Vec::new() });
    }
    if !difference.is_zero() {
        report.adjustments.insert(currency, difference);
    }
    Ok(ImportedInvoice { invoice, report })
}
