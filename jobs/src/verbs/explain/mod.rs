//! `atcost explain ID`: from a charge to its cost line, the arithmetic, the price, the allocation key and
//! the events, and on to the lines of statements; or from a statement line back to its charges.
//!
//! Invariant: nothing is shown that was not made again from the run's pins and compared with its tables.

mod reader; // whom it is explained to
mod words; // what both kinds of explanations say
mod scopes; // how a metered quantity comes about
mod events; // the events behind a charge, as a file
mod charge; // a charge
mod statement; // a statement line

use super::books::{Opened, open_at};
use super::totals;
use crate::config::Config;
use crate::show::{Busy, plural};
use anyhow::{Context as _, bail};
use derived::totals::Caught;
use events::{EventsForm, write_events};
use ledger::Location;
use ledger::pinned::{PinnedFiles, Versions};
use rating::by_invoice::Known;
use rating::explain::{self as rated_again, ExplainedLine, Explanation, Wanted};
use rating::run::{Pins, StatementLineId};
use rating::tables::{Manifest, StoredCharge, StoredCharges, StoredLines, Workspace, read_manifest};
use rating::usage::CountedRows;
use reader::Reader;
use schemas::id::CustomerId;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

pub use reader::customer;

/// An explanation as it is printed, in both forms.
pub struct Explained {
    pub text: String,
    pub json: serde_json::Value,
}

/// What is explained, and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// A charge or a statement line: the beginning of its id.
    pub id: &'a str,
    /// The run to look in, or the beginning of its id; `None` for the newest by ledger version that has
    /// it.
    pub run: Option<&'a str>,
    /// The customer, from whom the names of others are hidden; `None` for the operator.
    pub reader: Option<&'a CustomerId>,
    /// The file that all events behind a charge are written to.
    pub events: Option<&'a Path>,
}

/// Explains a charge or a statement line of a run.
///
/// # Errors
/// When there is no such run or id, or what is stored no longer gives the run's numbers.
pub async fn explain(config: &Config, asked: &Asked<'_>) -> anyhow::Result<Explained> {
    let form = asked.events.map(EventsForm::of).transpose()?;
    let found = find(&config.runs, asked).await?;
    let manifest = &found.manifest;
    let pins =
        manifest.pins().with_context(|| format!("{} has pins this version cannot read", found.folder))?;
    if pins.run_id() != manifest.run {
        bail!(
            "run {} was made by engine {}; this is {}, which may rate differently. Use that engine, or rate the period again",
            manifest.run,
            manifest.engine,
            rating::run::ENGINE_VERSION
        );
    }
    let opened = open_at(config, Some(&manifest.catalog), Some(pins.journal)).await?;
    let files = PinnedFiles::of_ledger(&config.ledger, Some(&pins.ledger.versions)).await?;
    if files.cut != pins.ledger {
        bail!(
            "run {} was made from another ledger than {}; use the configuration it was made with",
            manifest.run,
            config.ledger
        );
    }
    let to = Reader::of(asked.reader, &opened.catalog)?;
    let again = Again { config, pins: &pins, opened: &opened, files: &files };
    match &found.of {
        Of::Charge(stored) => {
            let _busy = Busy::with("rating the charge again");
            let most = if asked.events.is_some() { usize::MAX } else { charge::EVENTS_SHOWN };
            let wanted = Wanted { readers: to.own.as_ref(), events: most };
            let explanation = again.charge((stored, &found.lines), wanted).await?;
            if !to.may_see(explanation.charge.customer.as_ref()) {
                bail!(
                    "charge {} is not of {}; --for names the customer who is charged",
                    explanation.charge.id,
                    asked.reader.map_or("", CustomerId::as_str)
                );
            }
            let mut explained = Explained {
                text: charge::text(&explanation, manifest, &to),
                json: charge::as_json(&explanation, manifest, &to),
            };
            if let Some((file, form)) = asked.events.zip(form) {
                write_events(file, form, &explanation).await?;
                let many = plural(explanation.first.len() as u64, "event", "events");
                explained.text.push_str(&format!("\nwrote {many} to {}\n", file.display()));
                explained.json["events"]["file"] = json!(file.display().to_string());
            }
            Ok(explained)
        }
        Of::StatementLine(id) => {
            if let Some(file) = asked.events {
                bail!(
                    "{} is not written: events are behind charges, and {id} is a statement line; explain one of its charges",
                    file.display()
                );
            }
            let _busy = Busy::with("rating the month again");
            let explanation = again.line(*id, &found.lines).await?;
            if !to.may_see(explanation.line.customer.as_ref()) {
                bail!(
                    "statement line {id} is not of {}; --for names the customer whose statement it is on",
                    asked.reader.map_or("", CustomerId::as_str)
                );
            }
            Ok(Explained {
                text: statement::text(&explanation, manifest, &to),
                json: statement::as_json(&explanation, manifest, &to)?,
            })
        }
    }
}

/// All that something is rated again from.
struct Again<'a> {
    config: &'a Config,
    pins: &'a Pins,
    opened: &'a Opened,
    files: &'a PinnedFiles,
}

impl<'a> Again<'a> {
    async fn charge(
        &self,
        (stored, lines): (&StoredCharge, &StoredLines),
        wanted: Wanted<'_>,
    ) -> anyhow::Result<Explanation<'a>> {
        let catalog = &self.opened.catalog;
        let sku = rated_again::sku_of(stored, catalog)?;
        if self.opened.invoices.is_empty() && rated_again::stands_alone(sku, catalog) {
            return Ok(rated_again::explain((stored, lines), self.pins, None, catalog, wanted).await?);
        }
        let (workspace, totals) = self.workspace().await?;
        let explained = async {
            let usage =
                totals::open_rows(self.config, self.files, totals.as_ref(), &workspace.inputs()).await?;
            let known = self.known(&usage);
            Ok(rated_again::explain((stored, lines), self.pins, Some(known), catalog, wanted).await?)
        };
        let explained = explained.await;
        workspace.close().await?;
        explained
    }

    async fn line(&self, id: StatementLineId, stored: &StoredLines) -> anyhow::Result<ExplainedLine> {
        let (workspace, totals) = self.workspace().await?;
        let explained = async {
            let usage =
                totals::open_rows(self.config, self.files, totals.as_ref(), &workspace.inputs()).await?;
            Ok(rated_again::explain_line(id, stored, self.pins, self.known(&usage)).await?)
        };
        let explained = explained.await;
        workspace.close().await?;
        explained
    }

    async fn workspace(&self) -> anyhow::Result<(Workspace, Option<Caught>)> {
        let workspace = Workspace::create(&self.config.runs, self.pins, std::process::id()).await?;
        Ok((workspace, totals::for_a_run(&self.config.ledger).await?))
    }

    fn known<'k>(&'k self, usage: &'k CountedRows) -> Known<'k> {
        let Opened { catalog, invoices, decisions, posted, .. } = self.opened;
        Known { usage, catalog, invoices, decisions, posted }
    }
}

/// Where something that is explained was found.
struct Found {
    folder: Location,
    manifest: Manifest,
    lines: StoredLines,
    of: Of,
}

enum Of {
    Charge(Box<StoredCharge>),
    StatementLine(StatementLineId),
}

/// The run to look in: the one named, or the newest by ledger version among those that have the id. Of
/// older ones no table is read.
async fn find(runs: &Location, asked: &Asked<'_>) -> anyhow::Result<Found> {
    let Asked { id, run, .. } = *asked;
    let mut by_age: BTreeMap<(Versions, i64), Vec<(Location, Manifest)>> = BTreeMap::new();
    for period in folders(runs, "period=").await? {
        for folder in folders(&period, "run=").await? {
            let manifest = read_manifest(&folder).await?;
            if run.is_none_or(|run| manifest.run.begins_with(run)) {
                let age = (manifest.ledger_version.clone(), manifest.journal);
                by_age.entry(age).or_default().push((folder, manifest));
            }
        }
    }
    for of_age in by_age.into_values().rev() {
        let mut found = Vec::new();
        for (folder, manifest) in of_age {
            let charges = StoredCharges::open(&folder).await?;
            let lines = StoredLines::open(manifest.run, &folder).await?;
            if run.is_some() || charges.has(id)? || !lines.find(id)?.is_empty() {
                found.push((folder, manifest, charges, lines));
            }
        }
        if let [.., (_, other, ..), (_, newest, ..)] = found.as_slice() {
            bail!(
                "the runs {} and {} are of the same ledger version and journal; say which one with --run",
                other.run,
                newest.run
            );
        }
        if let Some((folder, manifest, charges, lines)) = found.pop() {
            let of = match lines.find(id)?.as_slice() {
                [] => Of::Charge(Box::new(charges.find(manifest.run, id).await?)),
                [only] if !charges.has(id)? => Of::StatementLine(*only),
                _ => bail!(
                    "more than one charge and statement line of run {} begins with {id:?}; give more of the id",
                    manifest.run
                ),
            };
            return Ok(Found { folder, manifest, lines, of });
        }
    }
    bail!(match run {
        Some(run) => format!("there is no run {run:?} below {runs}"),
        None => format!(
            "no run below {runs} has a charge or a statement line {id:?}; the ids are in charges.parquet, column charge_id, and statement_lines.parquet, column statement_line_id"
        ),
    })
}

/// Folders whose names begin with `prefix`, in byte order.
pub(super) async fn folders(parent: &Location, prefix: &str) -> anyhow::Result<Vec<Location>> {
    let folders = parent.list().await?.folders;
    Ok(folders.iter().filter(|name| name.starts_with(prefix)).map(|name| parent.join(name)).collect())
}
