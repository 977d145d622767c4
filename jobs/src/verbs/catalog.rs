//! `atcost catalog check`, `atcost catalog diff` and `atcost catalog publish`.

use super::past::{Past, compare};
use crate::config::Config;
use crate::show::{Answer, Busy, Verdict, plural};
use anyhow::{Context as _, bail};
use ledger::LedgerError;
use ledger::journal::{EntryKind, Journal};
use ledger::pinned::PinnedFiles;
use rating::books::Books;
use rating::catalog::{Catalog, CatalogFiles, Counted as _, Problem, Warning};
use rating::tables::Workspace;
use rating::unseen::unseen_values;
use rating::usage::CountedRows;
use schemas::digest::Sha256Digest;
use schemas::time::Instant;
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
        /// The changes of what was billed, which were allowed.
        past: Past,
        /// As `check` has them, and what only the ledger shows.
        warnings: Vec<String>,
    },
    /// This very version is the latest one already.
    Unchanged { digest: Sha256Digest, entry: i64, warnings: Vec<String> },
    /// The catalog has problems.
    Refused(Vec<Problem>),
    /// It changes the past, and nobody said why.
    PastChanges(Past),
}

/// The changes that a catalog would make in what was billed until now.
pub enum Differences {
    /// The catalog has problems.
    Refused(Vec<Problem>),
    Compared(Past),
}

/// Says what publishing a catalog at `now` would change in what was billed until then.
///
/// # Errors
/// When files, the journal or the ledger cannot be read.
pub async fn diff(config: &Config, folder: &Path, now: Instant) -> anyhow::Result<Differences> {
    let catalog = match check(folder)?.outcome {
        Ok((catalog, _)) => catalog,
        Err(problems) => return Ok(Differences::Refused(problems)),
    };
    let journal = Journal::open(&config.ledger).await?;
    let past = match latest(&journal)? {
        Some(latest) if latest.digest != catalog.digest => latest.compare(config, &catalog, now).await?,
        Some(_) | None => Past::default(),
    };
    Ok(Differences::Compared(past))
}

/// Puts a catalog into the journal as the version in force, unless it has problems, or changes what
/// was billed before `now` and no reason is given. A blank reason is none, and one that is not
/// needed is not kept.
///
/// # Errors
/// When files, the journal or the ledger cannot be read or written.
pub async fn publish(
    config: &Config,
    folder: &Path,
    allow_past_changes: Option<&str>,
    now: Instant,
) -> anyhow::Result<Published> {
    let checked = check(folder)?;
    let (catalog, warnings) = match checked.outcome {
        Ok(fine) => fine,
        Err(problems) => return Ok(Published::Refused(problems)),
    };
    let mut warnings = lines(&warnings);
    let mut journal = Journal::open(&config.ledger).await?;
    let files = PinnedFiles::of_ledger(&config.ledger, None).await;
    if let Err(newer @ LedgerError::Newer { .. }) = files {
        return Err(newer.into());
    }
    let digest = catalog.digest;
    let past = match latest(&journal)? {
        Some(latest) if latest.digest == digest => {
            warnings.extend(of_ledger(config, files, &catalog).await);
            return Ok(Published::Unchanged { digest, entry: latest.entry, warnings });
        }
        Some(latest) => latest.compare(config, &catalog, now).await?,
        None => Past::default(),
    };
    let reason = allow_past_changes.map(str::trim).filter(|reason| !reason.is_empty());
    let note = match (past.stays(), reason) {
        (true, _) => None,
        (false, Some(reason)) => Some(reason.to_owned()),
        (false, None) => return Ok(Published::PastChanges(past)),
    };
    let entry =
        journal.append(EntryKind::CatalogPublished, now, digest, note, checked.files.to_json()).await?.number;
    tracing::info!(event = "catalog.published", %digest, entry, "a catalog is in force");
    warnings.extend(of_ledger(config, files, &catalog).await);
    Ok(Published::New { digest, entry, past, warnings })
}

/// What the ledger's events say of a catalog. A ledger that cannot be read keeps nobody from
/// publishing.
async fn of_ledger(
    config: &Config,
    files: Result<PinnedFiles, LedgerError>,
    catalog: &Catalog,
) -> Vec<String> {
    let _busy = Busy::with("comparing the catalog with the ledger");
    let compare = async {
        let files = files?;
        let workspace = Workspace::scratch(&config.runs, std::process::id()).await?;
        let usage = CountedRows::open(&files, &workspace.inputs(), config.memory).await?;
        let warnings = unseen_values(&usage, catalog).await;
        workspace.close().await?;
        anyhow::Ok(warnings?)
    };
    match compare.await {
        Ok(warnings) => lines(&warnings),
        Err(error) => vec![format!(
            "the values of `match` were not compared with the ledger's events: {error:#}; run `atcost doctor`"
        )],
    }
}

/// The beginning of a digest, for people.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// The version in force: the last one published.
struct Latest {
    entry: i64,
    digest: Sha256Digest,
    /// Or why this program does not read it, which a better one can mend.
    catalog: Result<Catalog, String>,
}

impl Latest {
    async fn compare(self, config: &Config, new: &Catalog, now: Instant) -> anyhow::Result<Past> {
        match self.catalog {
            Ok(previous) => compare(config, &previous, new, now).await,
            Err(because) => Ok(Past { unreadable: Some(because), ..Past::default() }),
        }
    }
}

fn latest(journal: &Journal) -> anyhow::Result<Option<Latest>> {
    match journal.entries().iter().rev().find(|entry| entry.kind == EntryKind::CatalogPublished) {
        None => Ok(None),
        Some(entry) => {
            let catalog = load(&entry.body, entry.digest)?;
            Ok(Some(Latest { entry: entry.number, digest: entry.digest, catalog }))
        }
    }
}

/// A published catalog: the one whose digest begins with `digest`, or the last one.
///
/// # Errors
/// When nothing was published, or no version or more than one has that digest.
pub async fn published(config: &Config, digest: Option<&str>) -> anyhow::Result<Catalog> {
    of_journal(&Journal::open(&config.ledger).await?, digest)
}

/// What a run rests on beside the ledger's rows.
pub(super) struct InForce {
    pub catalog: Catalog,
    pub books: Books,
    /// As it was read: what is added to it rests on this moment, or is refused.
    pub journal: Journal,
}

/// The catalog and the books of one moment.
///
/// # Errors
/// As [`published`], and where an entry is damaged.
pub(super) async fn in_force(config: &Config, digest: Option<&str>) -> anyhow::Result<InForce> {
    in_force_at(config, digest, None).await
}

/// As [`in_force`], with the books as they were after so many entries of the journal.
///
/// # Errors
/// As [`in_force`], and where the journal has fewer.
pub(super) async fn in_force_at(
    config: &Config,
    digest: Option<&str>,
    entries: Option<i64>,
) -> anyhow::Result<InForce> {
    let journal = Journal::open(&config.ledger).await?;
    let all = journal.entries();
    let known = entries.map_or(Some(all), |entries| all.get(..usize::try_from(entries).ok()?));
    let Some(known) = known else {
        bail!(
            "the journal has {} entries, and the run was made with more; restore the ledger from a copy",
            all.len()
        );
    };
    let books = Books::read(known)?;
    Ok(InForce { catalog: of_journal(&journal, digest)?, books, journal })
}

fn of_journal(journal: &Journal, digest: Option<&str>) -> anyhow::Result<Catalog> {
    let Some(digest) = digest else {
        let latest = latest(journal)?;
        return latest
            .context("no catalog was published yet; run `atcost catalog publish FOLDER`")?
            .catalog
            .map_err(anyhow::Error::msg);
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
    load(&entry.body, entry.digest)?.map_err(anyhow::Error::msg)
}

/// The catalog of an entry, or why this version refuses it.
fn load(body: &[u8], digest: Sha256Digest) -> anyhow::Result<Result<Catalog, String>> {
    let files = CatalogFiles::from_json(body)?;
    if files.digest() != digest {
        bail!(
            "the journal's catalog {digest} has other content; the journal is damaged, restore it from a copy"
        );
    }
    Ok(Catalog::load(&files).map(|(catalog, _)| catalog).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        format!("the published catalog {digest} is refused by this version: {first}; publish one that is not")
    }))
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
        let many = |count: usize, one: &str| plural(count as u64, one, &format!("{one}s"));
        let mut text = warning_text(&lines(warnings));
        text.push_str(&format!(
            "fine: {}, {} with {}, {}; digest {}\n",
            many(catalog.meters.len(), "meter"),
            many(catalog.providers.len(), "provider"),
            many(skus, "SKU"),
            many(catalog.customers.len(), "customer"),
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
        let entry = |new: bool, digest: &Sha256Digest, entry: i64, warnings: &[String]| json!({ "ok": true, "new": new, "digest": digest.to_string(), "entry": entry, "warnings": warnings });
        Ok(match self {
            Self::New { digest, entry: number, past, warnings } => {
                let mut members = past.json();
                if let Value::Object(entry) = entry(true, digest, *number, warnings) {
                    members.extend(entry);
                }
                members.into()
            }
            Self::PastChanges(past) => past_json(past),
            Self::Unchanged { digest, entry: number, warnings } => entry(false, digest, *number, warnings),
            Self::Refused(problems) => refusal(problems),
        })
    }

    fn text(&self) -> String {
        match self {
            Self::New { digest, entry, past, warnings } => format!(
                "{}{}published catalog {} as journal entry {entry}; it is in force\n",
                warning_text(warnings),
                past.text(),
                digest.short()
            ),
            Self::PastChanges(past) => format!(
                "{}refused: it would change what was billed until now; nothing was published\n  help: {KEEP_THE_PAST}\n",
                past.text()
            ),
            Self::Unchanged { digest, entry, warnings } => format!(
                "{}catalog {} is in force already, since journal entry {entry}; nothing to do\n",
                warning_text(warnings),
                digest.short()
            ),
            Self::Refused(problems) => refusal_text(problems),
        }
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::New { .. } | Self::Unchanged { .. } => Verdict::Fine,
            Self::Refused(_) | Self::PastChanges(_) => Verdict::Discrepancy,
        }
    }
}

const KEEP_THE_PAST: &str = "restore what was in force and let what is new begin in the future, or publish it with --allow-past-changes REASON";

/// Whether publishing would be refused, and why.
fn past_json(past: &Past) -> Value {
    let mut members = past.json();
    members.insert("ok".to_owned(), past.stays().into());
    members.into()
}

impl Answer for Differences {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(match self {
            Self::Refused(problems) => refusal(problems),
            Self::Compared(past) => past_json(past),
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Refused(problems) => refusal_text(problems),
            Self::Compared(past) if past.stays() => {
                format!("{}nothing that was billed until now would change\n", past.text())
            }
            Self::Compared(past) => format!("{}  help: {KEEP_THE_PAST}\n", past.text()),
        }
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::Compared(past) if past.stays() => Verdict::Fine,
            Self::Compared(_) | Self::Refused(_) => Verdict::Discrepancy,
        }
    }
}

fn refusal(problems: &[Problem]) -> Value {
    json!({ "ok": false, "count": Problem::count_all(problems), "problems": lines(problems) })
}

fn refusal_text(problems: &[Problem]) -> String {
    let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    text.push_str(&format!(
        "refused: {}; nothing was published\n",
        plural(Problem::count_all(problems) as u64, "problem", "problems")
    ));
    text
}

fn warning_text(warnings: &[String]) -> String {
    warnings.iter().map(|warning| format!("warning: {warning}\n")).collect()
}

fn lines(items: &[impl ToString]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
