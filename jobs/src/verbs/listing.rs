//! `atcost catalog list`, `atcost catalog show` and `atcost runs list`: what there is.
//!
//! Nothing is rated or checked here.

use super::catalog::short;
use crate::config::Config;
use crate::show::{Align, Answer, table};
use anyhow::{Context as _, bail};
use ledger::Location;
use ledger::journal::{EntryKind, Journal};
use rating::catalog::CatalogFiles;
use rating::tables::{Manifest, read_manifest};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A version of the catalog that was published.
struct Version {
    entry: i64,
    digest: String,
    published_at: String,
    /// Why it was allowed to change the past.
    note: Option<String>,
    in_force: bool,
}

/// All versions, the first first.
pub struct Versions(Vec<Version>);

/// The versions of the catalog.
///
/// # Errors
/// When the journal cannot be read.
pub async fn catalogs(config: &Config) -> anyhow::Result<Versions> {
    let journal = Journal::open(&config.ledger).await?;
    let entries = journal.entries().iter().filter(|entry| entry.kind == EntryKind::CatalogPublished);
    let mut versions: Vec<Version> = entries
        .map(|entry| Version {
            entry: entry.number,
            digest: entry.digest.to_string(),
            published_at: entry.recorded_at.to_string(),
            note: entry.note.clone(),
            in_force: false,
        })
        .collect();
    if let Some(last) = versions.last_mut() {
        last.in_force = true;
    }
    Ok(Versions(versions))
}

impl Answer for Versions {
    fn json(&self) -> anyhow::Result<Value> {
        let version = |version: &Version| {
            json!({
                "entry": version.entry, "digest": version.digest, "published_at": version.published_at,
                "reason": version.note, "in_force": version.in_force,
            })
        };
        Ok(self.0.iter().map(version).collect())
    }

    fn text(&self) -> String {
        if self.0.is_empty() {
            return "no catalog was published yet; run `atcost catalog publish FOLDER`\n".to_owned();
        }
        let rows: Vec<Vec<String>> = self
            .0
            .iter()
            .map(|version| {
                vec![
                    version.entry.to_string(),
                    short(&version.digest).to_owned(),
                    version.published_at.clone(),
                    if version.in_force { "in force".to_owned() } else { String::new() },
                    version.note.clone().unwrap_or_default(),
                ]
            })
            .collect();
        let columns = [
            ("entry", Align::Right),
            ("catalog", Align::Left),
            ("published", Align::Left),
            ("", Align::Left),
            ("reason", Align::Left),
        ];
        table(&columns, &rows)
    }
}

/// The files of a version.
pub struct Files {
    digest: String,
    files: Vec<(String, String)>,
    /// The folder that they were written to.
    out: Option<PathBuf>,
}

/// The files of the version whose digest begins so, written to a new folder where one is given.
///
/// # Errors
/// When there is none or more than one, or a file cannot be written.
pub async fn catalog(config: &Config, version: &str, out: Option<&Path>) -> anyhow::Result<Files> {
    let journal = Journal::open(&config.ledger).await?;
    let mut found = journal.entries().iter().filter(|entry| {
        entry.kind == EntryKind::CatalogPublished && entry.digest.to_string().starts_with(version)
    });
    let entry = found.next().with_context(|| {
        format!(
            "no published catalog has a digest that begins with {version:?}; `atcost catalog list` has them"
        )
    })?;
    if found.any(|other| other.digest != entry.digest) {
        bail!("more than one published catalog has a digest that begins with {version:?}; give more of it");
    }
    let read = CatalogFiles::from_json(&entry.body)?;
    let files: Vec<(String, String)> =
        read.iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    if let Some(out) = out {
        fs::create_dir(out)
            .with_context(|| format!("{}: it replaces no folder; name another", out.display()))?;
        for (path, text) in &files {
            let to = out.join(path);
            let folder = to.parent().context("a file of a catalog is in a folder")?;
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            fs::write(&to, text).with_context(|| to.display().to_string())?;
        }
    }
    Ok(Files { digest: entry.digest.to_string(), files, out: out.map(Path::to_owned) })
}

impl Answer for Files {
    fn json(&self) -> anyhow::Result<Value> {
        let files: serde_json::Map<String, Value> =
            self.files.iter().map(|(path, text)| (path.clone(), text.as_str().into())).collect();
        Ok(json!({ "digest": self.digest, "files": files }))
    }

    fn text(&self) -> String {
        if let Some(out) = &self.out {
            return format!("catalog {} is in {}\n", short(&self.digest), out.display());
        }
        let one = |(path, text): &(String, String)| format!("# {path}\n\n{}\n\n", text.trim_end());
        self.files.iter().map(one).collect()
    }
}

/// The runs that there are, by period and then by ledger version.
pub struct Runs(Vec<(Location, Manifest)>);

/// The runs below the folder of runs.
///
/// # Errors
/// When a manifest cannot be read.
pub async fn runs(config: &Config) -> anyhow::Result<Runs> {
    let mut runs = Vec::new();
    for period in super::explain::folders(&config.runs, "period=").await? {
        let mut of_period = Vec::new();
        for folder in super::explain::folders(&period, "run=").await? {
            let manifest = read_manifest(&folder).await?;
            of_period.push((folder, manifest));
        }
        of_period.sort_by(|(_, one), (_, other)| {
            let key = |manifest: &Manifest| (manifest.ledger_version.clone(), manifest.journal);
            key(one).cmp(&key(other))
        });
        runs.append(&mut of_period);
    }
    Ok(Runs(runs))
}

impl Answer for Runs {
    fn json(&self) -> anyhow::Result<Value> {
        let run = |(folder, manifest): &(Location, Manifest)| {
            json!({
                "run": manifest.run.to_string(), "period": manifest.period,
                "ledger_version": manifest.ledger_version, "journal": manifest.journal,
                "catalog": manifest.catalog, "engine": manifest.engine, "folder": folder.to_string(),
            })
        };
        Ok(self.0.iter().map(run).collect())
    }

    fn text(&self) -> String {
        if self.0.is_empty() {
            return "no month was rated yet; run `atcost rate --period MONTH`\n".to_owned();
        }
        let rows: Vec<Vec<String>> = self
            .0
            .iter()
            .map(|(_, manifest)| {
                vec![
                    manifest.period.clone(),
                    manifest.run.to_string(),
                    manifest.ledger_version.to_string(),
                    manifest.journal.to_string(),
                    short(&manifest.catalog).to_owned(),
                    manifest.engine.clone(),
                ]
            })
            .collect();
        let columns = [
            ("period", Align::Left),
            ("run", Align::Left),
            ("ledger", Align::Right),
            ("journal", Align::Right),
            ("catalog", Align::Left),
            ("engine", Align::Left),
        ];
        table(&columns, &rows)
    }
}
