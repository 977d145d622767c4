//! `atcost catalog import litellm`: prices of models from the open list, as a provider of a catalog.

use super::pieces::{Added, Piece, Place, add, folder_name};
use super::scaffold::{NewProvider, terms};
use crate::show::{Align, Answer, plural, table};
use anyhow::{Context as _, bail};
use jiff::civil::Date;
use rating::litellm::{Asked, Counted, Imported, PriceList};
use serde_json::{Value, json};
use std::path::Path;

/// The largest list that is read.
const MOST_BYTES: u64 = 256 << 20;

/// What is taken over from the list, and where to.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The `litellm_provider`; `None` where the list has only one.
    pub provider: Option<&'a str>,
    /// The provider's id in the catalog; `None` for the same.
    pub id: Option<&'a str>,
    /// The models; empty for all.
    pub models: &'a [String],
    pub currency: &'a str,
    pub time_zone: &'a str,
    pub from: Date,
}

/// What was taken over and written.
pub struct Report {
    provider: String,
    imported: Imported,
    added: Added,
}

/// Takes over a provider's prices into a catalog's folder.
///
/// # Errors
/// When the list cannot be read or has no such models, the provider is there already, or the catalog
/// would have a problem. Nothing is written then.
pub async fn litellm(file: &Path, folder: &Path, wanted: &Wanted<'_>) -> anyhow::Result<Report> {
    let name = file.display().to_string();
    let bytes = std::fs::metadata(file).with_context(|| format!("reading {name}"))?.len();
    if bytes > MOST_BYTES {
        bail!("{name} has {bytes} bytes; a list of models has at most {MOST_BYTES}");
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
    let list = PriceList::read(&text).with_context(|| name.clone())?;
    let provider = match wanted.provider {
        Some(provider) => provider.to_owned(),
        None => match list.providers().into_keys().collect::<Vec<_>>().as_slice() {
            [only] => only.clone(),
            _ => bail!("{name} has several providers; say which one with --provider: {}", list.known()),
        },
    };
    let asked = Asked { provider: &provider, models: wanted.models, from: wanted.from };
    let imported = list.import(&asked).with_context(|| name.clone())?;
    let id = folder_name(wanted.id.unwrap_or(&provider)).map_err(|because| {
        anyhow::anyhow!("{provider:?} cannot be the provider's id: {because}; give it one with --id")
    })?;
    let new = NewProvider {
        id: &id,
        name: &provider,
        billing_account: &id,
        currency: wanted.currency,
        time_zone: wanted.time_zone,
        from: wanted.from,
    };
    let prices = Piece {
        path: format!("providers/{id}/prices.toml"),
        text: imported.prices.clone(),
        place: Place::NewFile,
    };
    let mut pieces = vec![terms(&new), prices];
    let declared = declared(folder);
    let missing = imported.meters.iter().filter(|meter| !declared.contains(&meter.meter()));
    let missing: Vec<String> = missing.map(|meter| Counted::text(*meter)).collect();
    if !missing.is_empty() {
        pieces.push(Piece { path: METERS.to_owned(), text: missing.join("\n"), place: Place::End });
    }
    let added = add(folder, &pieces).await?;
    Ok(Report { provider, imported, added })
}

const METERS: &str = "meters.toml";

/// The meters that a folder has. What is wrong with the file is said when the catalog is checked.
fn declared(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(METERS)).unwrap_or_default();
    let file: toml::Table = text.parse().unwrap_or_default();
    let meters = file.get("meter").and_then(toml::Value::as_array);
    let types =
        meters.into_iter().flatten().filter_map(|meter| Some(meter.get("type")?.as_str()?.to_owned()));
    types.collect()
}

/// The rows that a terminal has room for.
const SHOWN: usize = 25;

impl Answer for Report {
    fn json(&self) -> anyhow::Result<Value> {
        let Imported { models, skus, contexts, not_taken, meters, .. } = &self.imported;
        let not_taken: Vec<Value> = not_taken
            .iter()
            .map(|row| {
                json!({ "key": row.key, "because": row.because, "models": row.models, "first": row.first })
            })
            .collect();
        let mut value = self.added.json()?;
        value["provider"] = json!(self.provider);
        value["models"] = json!(models);
        value["skus"] = json!(skus);
        value["meters"] = meters.iter().map(|meter| meter.meter()).collect();
        value["contexts"] = json!(contexts);
        value["not_taken"] = not_taken.into();
        Ok(value)
    }

    fn text(&self) -> String {
        let Imported { models, skus, contexts, not_taken, .. } = &self.imported;
        let mut text = format!(
            "{} of {} in {}\n",
            plural(*skus as u64, "price", "prices"),
            plural(*models as u64, "model", "models"),
            self.provider
        );
        if !contexts.is_empty() {
            text.push_str(&format!("lengths of prompts, as `context`: {}\n", contexts.join(" ")));
        }
        if !not_taken.is_empty() {
            let rows: Vec<Vec<String>> = not_taken
                .iter()
                .take(SHOWN)
                .map(|row| {
                    vec![row.key.clone(), row.models.to_string(), row.because.clone(), row.first.clone()]
                })
                .collect();
            let columns = [
                ("key", Align::Left),
                ("models", Align::Right),
                ("because", Align::Left),
                ("first", Align::Left),
            ];
            text.push_str(&format!("\nnot taken over:\n{}", table(&columns, &rows)));
            if not_taken.len() > SHOWN {
                let more = not_taken.len() - SHOWN;
                text.push_str(&format!("  … and {more} more; --format json has them all\n"));
            }
            text.push('\n');
        }
        let folder = self.added.folder.display();
        text.push_str(&format!(
            "{}next: compare rounding, account and prices with an invoice, then atcost catalog check {folder}\n",
            self.added.lines()
        ));
        text
    }
}
