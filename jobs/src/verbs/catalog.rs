//! `atcost catalog check` and `atcost catalog publish`.

use crate::clock;
use crate::config::Config;
use crate::show::{Answer, Verdict, plural};
use anyhow::{Context as _, bail};
use ledger::journal::{EntryKind, Journal};
use rating::catalog::{Catalog, CatalogFiles, Problem, Warning, past_price_changes};
use schemas::digest::Sha256Digest;
use serde_json::{Value, json};
use std::path::Path;

/// A catalog folder, read and checked.
pub struct Checked {
    pub files: CatalogFiles,
    pub outcome: Result<(Catalog, Vec<Warning>), Vec<Problem>>,
}

/// Reads and checks a catalog folder.
///
/// # Errors
/// When the folder cannot be read. Problems of the catalog are in the value.
pub fn check(folder: &Path) -> anyhow::Result<Checked> {
    let files = CatalogFiles::read_folder(folder)?;
    let outcome = Catalog::load(&files);
    Ok(Checked { files, outcome })
}

/// The result of publishing.
pub enum Published {
    New {
        digest: Sha256Digest,
        entry: i64,
    },
    /// This very version is the latest one already.
    Unchanged {
        digest: Sha256Digest,
        entry: i64,
    },
    /// The catalog has problems, or changes the past.
    Refused(Vec<Problem>),
}

/// Puts a catalog into the journal as the version in force, unless it has problems or changes
/// prices that were already in force.
///
/// # Errors
/// When files or the journal cannot be read or written.
pub async fn publish(
    config: &Config,
    folder: &Path,
    allow_past_changes: Option<&str>,
) -> anyhow::Result<Published> {
    let checked = check(folder)?;
    let (catalog, _) = match checked.outcome {
        Ok(catalog) => catalog,
        Err(problems) => return Ok(Published::Refused(problems)),
    };
    let mut journal = Journal::open(&config.ledger).await?;
    let now = clock::now();
    if let Some((entry, previous)) = latest(&journal)? {
        if previous.digest == catalog.digest {
            return Ok(Published::Unchanged { digest: catalog.digest, entry });
        }
        let changes = past_price_changes(&previous, &catalog, now);
        if !changes.is_empty() && allow_past_changes.is_none() {
            return Ok(Published::Refused(changes));
        }
    }
    let digest = catalog.digest;
    let note = allow_past_changes.map(str::to_owned);
    let entry =
        journal.append(EntryKind::CatalogPublished, now, digest, note, checked.files.to_json()).await?.number;
    tracing::info!(event = "catalog.published", %digest, entry, "a catalog is in force");
    Ok(Published::New { digest, entry })
}

/// The version in force: the last one published.
fn latest(journal: &Journal) -> anyhow::Result<Option<(i64, Catalog)>> {
    match journal.entries().iter().rev().find(|entry| entry.kind == EntryKind::CatalogPublished) {
        None => Ok(None),
        Some(entry) => Ok(Some((entry.number, load(&entry.body, entry.digest)?))),
    }
}

/// A published catalog: the one whose digest begins with `digest`, or the last one.
///
/// # Errors
/// When nothing was published, or no version or more than one has that digest.
pub async fn published(config: &Config, digest: Option<&str>) -> anyhow::Result<Catalog> {
    let journal = Journal::open(&config.ledger).await?;
    let Some(digest) = digest else {
        return latest(&journal)?
            .map(|(_, catalog)| catalog)
            .context("no catalog was published yet; run `atcost catalog publish FOLDER`");
    };
    let mut found = journal.entries().iter().filter(|entry| {
        entry.kind == EntryKind::CatalogPublished && entry.digest.to_string().starts_with(digest)
    });
    let Some(entry) = found.next() else {
        bail!("no published catalog has a digest that begins with {digest:?}");
    };
    if found.any(|other| other.digest != entry.digest) {
        bail!("more than one published catalog has a digest that begins with {digest:?}; give more of it");
    }
    load(&entry.body, entry.digest)
}

fn load(body: &[u8], digest: Sha256Digest) -> anyhow::Result<Catalog> {
    let files = CatalogFiles::from_json(body)?;
    if files.digest() != digest {
        bail!(
            "the journal's catalog {digest} has other content; the journal is damaged, restore it from a copy"
        );
    }
    match Catalog::load(&files) {
        Ok((catalog, _)) => Ok(catalog),
        Err(problems) => {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            bail!(
                "the published catalog {digest} is refused by this version: {first}; publish one that is not"
            )
        }
    }
}

impl Answer for Checked {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(match &self.outcome {
            Ok((catalog, warnings)) => {
                json!({ "ok": true, "digest": catalog.digest.to_string(), "problems": [], "warnings": lines(warnings) })
            }
            Err(problems) => refusal(problems),
        })
    }

    fn text(&self) -> String {
        let (catalog, warnings) = match &self.outcome {
            Ok(fine) => fine,
            Err(problems) => return refusal_text(problems),
        };
        let skus: usize = catalog.providers.values().map(|provider| provider.skus.len()).sum();
        let mut text: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
        text.push_str(&format!(
            "fine: {} meters, {} providers with {skus} SKUs, {} customers; digest {}\n",
            catalog.meters.len(),
            catalog.providers.len(),
            catalog.customers.len(),
            catalog.digest.short()
        ));
        text
    }

    fn verdict(&self) -> Verdict {
        if self.outcome.is_ok() { Verdict::Fine } else { Verdict::Discrepancy }
    }
}

impl Answer for Published {
    fn json(&self) -> anyhow::Result<Value> {
        let entry = |new: bool, digest: &Sha256Digest, entry: i64| json!({ "ok": true, "new": new, "digest": digest.to_string(), "entry": entry });
        Ok(match self {
            Self::New { digest, entry: number } => entry(true, digest, *number),
            Self::Unchanged { digest, entry: number } => entry(false, digest, *number),
            Self::Refused(problems) => refusal(problems),
        })
    }

    fn text(&self) -> String {
        match self {
            Self::New { digest, entry } => {
                format!("published catalog {} as journal entry {entry}; it is in force\n", digest.short())
            }
            Self::Unchanged { digest, entry } => format!(
                "catalog {} is in force already, since journal entry {entry}; nothing to do\n",
                digest.short()
            ),
            Self::Refused(problems) => refusal_text(problems),
        }
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::New { .. } | Self::Unchanged { .. } => Verdict::Fine,
            Self::Refused(_) => Verdict::Discrepancy,
        }
    }
}

fn refusal(problems: &[Problem]) -> Value {
    json!({ "ok": false, "problems": lines(problems) })
}

fn refusal_text(problems: &[Problem]) -> String {
    let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    text.push_str(&format!(
        "refused: {}; nothing was published\n",
        plural(problems.len() as u64, "problem", "problems")
    ));
    text
}

fn lines(items: &[impl ToString]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
