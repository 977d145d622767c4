//! `atcost invoice map`: what texts of a provider's invoices may mean, as lines for invoice_map.csv.
//!
//! What is proposed, and why, is decided in `rating::reconcile`. Nothing is published or written here
//! but the file that is asked for.
//!
//! Invariant: only what is at least medium sure stands among the lines to paste.

use super::books::{self, Opened};
use super::totals;
use crate::config::Config;
use crate::show::{Align, Answer, Busy, Verdict, plural, printable_lines, table};
use anyhow::Context as _;
use derived::totals::Caught;
use ledger::pinned::PinnedFiles;
use rating::exact::display;
use rating::reconcile::{LOOKED_AT, MapText, Proposal, Proposals, Sure, Unmapped, propose};
use rating::run::{Pins, Run};
use rating::tables::Workspace;
use schemas::id::ProviderId;
use schemas::time::BillingMonth;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What is proposed for a month of a provider.
pub struct Proposed {
    provider: ProviderId,
    month: BillingMonth,
    currency: String,
    proposals: Proposals,
    /// Whether the provider's map has an entry, so that the header is there already.
    has_map: bool,
    /// The file that the lines were written to.
    out: Option<PathBuf>,
}

const HEADER: &str = "kind,text,id,from,until";

/// Proposes mappings for the texts of a provider's invoices of a month; without one, of the last that it
/// has an invoice of.
///
/// # Errors
/// When the provider is not known or has no invoice, the month cannot be rated, or the file is there
/// already.
pub async fn map(
    config: &Config,
    provider: &str,
    month: Option<BillingMonth>,
    out: Option<&Path>,
) -> anyhow::Result<Proposed> {
    let opened = books::open(config, None).await?;
    let id = ProviderId::new(provider).with_context(|| format!("--provider {provider:?}"))?;
    let provider = opened
        .catalog
        .providers
        .get(&id)
        .with_context(|| format!("the catalog in force has no provider {id}; publish one that has"))?;
    let of = |month: Option<BillingMonth>| {
        let own = opened.invoices.iter().filter(|invoice| invoice.provider == id);
        own.map(|invoice| invoice.period).filter(|period| month.is_none_or(|month| month == *period)).max()
    };
    let month = of(month).with_context(|| {
        let when = month.map(|month| format!(" of {month}")).unwrap_or_default();
        format!("{id} has no invoice{when}; run `atcost invoice import --provider {id} FILE`")
    })?;
    let run = rated(config, &opened, month).await?;
    let Opened { catalog, invoices, .. } = &opened;
    let proposals = propose(&Unmapped { provider, month, catalog, cost_lines: &run.cost_lines, invoices })?;
    let has_map = provider.invoicing.as_ref().is_some_and(|invoicing| !invoicing.map.is_empty());
    let currency = provider.currency.to_string();
    let out = out.map(Path::to_owned);
    let proposed = Proposed { provider: id, month, currency, proposals, has_map, out };
    if let Some(path) = &proposed.out {
        let written = File::create_new(path).and_then(|mut file| file.write_all(proposed.lines().as_bytes()));
        written.with_context(|| {
            format!("{}: it must be a new file, in a folder that is there", path.display())
        })?;
    }
    Ok(proposed)
}

/// A month rated by price lists. Nothing is written.
async fn rated(config: &Config, opened: &Opened, month: BillingMonth) -> anyhow::Result<Run> {
    let totals = totals::for_a_run(&config.ledger).await?;
    let _busy = Busy::with(format!("rating {month}"));
    let reached = totals.as_ref().map(Caught::versions);
    let files = PinnedFiles::of_ledger(&config.ledger, reached.as_ref()).await?;
    let workspace = Workspace::scratch(&config.runs, std::process::id()).await?;
    let rated = async {
        let usage = totals::open_rows(config, &files, totals.as_ref(), &workspace.inputs()).await?;
        let (catalog, journal) = (&opened.catalog, opened.books.entries);
        let pins = Pins { month, ledger: files.cut.clone(), catalog: catalog.digest, journal };
        anyhow::Ok(rating::run::rate(pins, &usage, catalog).await?)
    };
    let run = rated.await;
    workspace.close().await?;
    run
}

/// The proposals that a terminal has room for.
const SHOWN: usize = 20;

impl Proposed {
    fn sure(&self) -> impl Iterator<Item = &Proposal> {
        self.proposals.proposals.iter().filter(|proposal| proposal.sure != Sure::Low)
    }

    /// What is pasted.
    fn lines(&self) -> String {
        let header = (!self.has_map).then(|| HEADER.to_owned());
        header.into_iter().chain(self.sure().map(Proposal::line)).map(|line| line + "\n").collect()
    }

    /// The tables of people: what is proposed, and what is not.
    fn tables(&self) -> String {
        let Proposals { proposals, without, .. } = &self.proposals;
        let mut text = String::new();
        let rows = proposals.iter().map(|proposal| {
            let of = &proposal.of;
            let why: Vec<&str> = proposal.reasons.iter().map(|(_, why)| why.as_str()).collect();
            vec![
                of.text.clone(),
                of.kind.to_string(),
                proposal.id.clone(),
                proposal.sure.to_string(),
                why.join("; "),
            ]
        });
        let columns = ["text", "", "may mean", "sure", "because"].map(|name| (name, Align::Left));
        text.push_str(&first(&columns, rows.collect()));
        let rows = without.iter().map(|MapText { kind, text, lines, amount }| {
            vec![text.clone(), kind.to_string(), lines.to_string(), display(amount), self.currency.clone()]
        });
        let columns = [
            ("nothing is near to", Align::Left),
            ("", Align::Left),
            ("lines", Align::Right),
            ("amount", Align::Right),
            ("", Align::Left),
        ];
        text.push_str(&first(&columns, rows.collect()));
        text
    }
}

/// A table of what a terminal has room for, or nothing.
fn first(columns: &[(&str, Align)], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = table(columns, &rows[..rows.len().min(SHOWN)]);
    if rows.len() > SHOWN {
        text.push_str(&format!("  … and {} more; --format json has them all\n", rows.len() - SHOWN));
    }
    text
}

impl Answer for Proposed {
    fn json(&self) -> anyhow::Result<Value> {
        let about = |of: &MapText| {
            json!({
                "kind": of.kind.as_str(), "text": of.text, "lines": of.lines,
                "amount": display(&of.amount), "currency": self.currency,
            })
        };
        let proposal = |proposal: &Proposal| {
            let reasons = proposal.reasons.iter();
            json!({
                "of": about(&proposal.of), "id": proposal.id, "from": proposal.from.to_string(),
                "until": proposal.until.map(|until| until.to_string()), "sure": proposal.sure.as_str(),
                "reasons": reasons
                    .map(|(reason, why)| json!({ "reason": reason.as_str(), "why": why }))
                    .collect::<Value>(),
                "line": proposal.line(),
            })
        };
        let Proposals { proposals, without, free, more } = &self.proposals;
        Ok(json!({
            "provider": self.provider.to_string(), "period": self.month.to_string(),
            "proposals": proposals.iter().map(proposal).collect::<Value>(),
            "without": without.iter().map(about).collect::<Value>(),
            "free": free, "not_looked_at": more,
            "out": self.out.as_ref().map(|out| out.display().to_string()),
        }))
    }

    fn text(&self) -> String {
        let Self { provider, month, proposals, .. } = self;
        let Proposals { proposals, without, free, more } = proposals;
        let mut text = self.tables();
        if proposals.is_empty() && without.is_empty() {
            text.push_str(&format!(
                "every text of {provider} in {month} that costs something has a mapping\n"
            ));
        }
        if *free > 0 {
            text.push_str(&format!(
                "{} nothing and {} no mapping\n",
                plural(*free, "text costs", "texts cost"),
                if *free == 1 { "needs" } else { "need" }
            ));
        }
        if *more > 0 {
            text.push_str(&format!(
                "the {LOOKED_AT} dearest texts were looked at; map these, publish, and run it again for {more} more\n"
            ));
        }
        let low = proposals.iter().filter(|proposal| proposal.sure == Sure::Low).count();
        if low > 0 {
            text.push_str(&format!(
                "{} low sure and not among the lines below; look at the invoice before you write one\n",
                plural(low as u64, "proposal is", "proposals are")
            ));
        }
        if self.sure().next().is_none() {
            return text;
        }
        match &self.out {
            Some(out) => text.push_str(&format!(
                "\nthe lines for providers/{provider}/invoice_map.csv are in {}\n",
                out.display()
            )),
            None if printable_lines(&self.lines()) != self.lines() => text.push_str(
                "\na text has characters that cannot be shown as they are; write the lines with --out FILE\n",
            ),
            None => text.push_str(&format!(
                "\nto paste into providers/{provider}/invoice_map.csv, when they are right:\n\n{}\n",
                self.lines()
            )),
        }
        text.push_str(&format!(
            "next: atcost catalog publish FOLDER, then atcost reconcile --period {month}\n"
        ));
        text
    }

    fn verdict(&self) -> Verdict {
        if self.proposals.without.is_empty() && self.proposals.more == 0 {
            Verdict::Fine
        } else {
            Verdict::Discrepancy
        }
    }
}
