//! The open price list of models that the LiteLLM project keeps, as a provider's price list.
//!
//! The file is `model_prices_and_context_window.json`. What is taken over is taken over to the last
//! digit, and what is not is told with its reason. Nothing is written here, and whether the result is a
//! catalog that may be published is for `catalog` to say.
//!
//! Invariant: every price of a model that was asked for is in the result, or is counted among what was
//! not taken over.

// In reading order.
mod meters; // what a gateway's events are counted by
mod key; // what a key of the list is for
mod list; // the file as it is written
mod models; // a model's prices, by length of prompt
mod text; // the price list that comes of it

pub use meters::{Counted, DIMENSIONS};
pub use models::NotTaken;

use crate::alike::Names;
use jiff::civil::Date;
use list::{Entry, Members};
use models::Taken;
use std::collections::{BTreeMap, BTreeSet};

/// The list, read.
#[derive(Debug)]
pub struct PriceList(Members<Entry>);

/// Which models are taken over, and since when their prices are in force.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// The `litellm_provider` of the models.
    pub provider: &'a str,
    /// Their names; empty for all of the provider.
    pub models: &'a [String],
    pub from: Date,
}

/// A provider's price list, and what was left out of it.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The text of prices.toml.
    pub prices: String,
    /// The meters that it needs.
    pub meters: Vec<Counted>,
    pub models: usize,
    pub skus: usize,
    /// The values of the dimension `context`, the smallest first; empty where no price depends on it.
    pub contexts: Vec<String>,
    /// By how many models there are, the most first.
    pub not_taken: Vec<NotTaken>,
}

/// Why there is no price list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("it is not a list of models with their prices: {0}")]
    Json(#[from] serde_json::Error),
    #[error("no model has the litellm_provider {name:?}; the list has {known}")]
    Provider { name: String, known: String },
    #[error("{provider:?} has no model {name:?} in the list{}", hint(.like))]
    Model { provider: String, name: String, like: Option<String> },
    #[error("none of the {0} models has a price that can be taken over")]
    Nothing(usize),
}

fn hint(like: &Option<String>) -> String {
    like.as_ref().map_or_else(String::new, |like| format!("; there is {like:?}"))
}

/// The entry that shows how others look.
const SAMPLE: &str = "sample_spec";

impl PriceList {
    /// # Errors
    /// [`ListError::Json`].
    pub fn read(text: &str) -> Result<Self, ListError> {
        Ok(Self(serde_json::from_str(text)?))
    }

    /// How many models each provider has, by its `litellm_provider`.
    pub fn providers(&self) -> BTreeMap<String, usize> {
        let mut providers = BTreeMap::new();
        for (_, provider, _) in self.models() {
            *providers.entry(provider).or_default() += 1;
        }
        providers
    }

    /// The models with a provider, without those that stand there once more below.
    fn models(&self) -> impl Iterator<Item = (&str, String, &Entry)> {
        let last: BTreeMap<&str, usize> =
            self.0.0.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect();
        self.0.0.iter().enumerate().filter_map(move |(place, (name, entry))| {
            let is_last = last.get(name.as_str()) == Some(&place);
            (is_last && name != SAMPLE).then_some(())?;
            Some((name.as_str(), entry.text("litellm_provider")?, entry))
        })
    }

    /// Takes over the prices of a provider's models.
    ///
    /// # Errors
    /// When there is no such provider or model, or nothing can be taken over.
    pub fn import(&self, asked: &Asked<'_>) -> Result<Imported, ListError> {
        let of_provider: BTreeMap<&str, &Entry> = self
            .models()
            .filter(|(_, provider, _)| provider == asked.provider)
            .map(|(name, _, entry)| (name, entry))
            .collect();
        if of_provider.is_empty() {
            let (name, known) = (asked.provider.to_owned(), self.known());
            return Err(ListError::Provider { name, known });
        }
        let known = || of_provider.keys().copied();
        if let Some(name) = asked.models.iter().find(|name| !of_provider.contains_key(name.as_str())) {
            let like = Names::new(known()).nearest(name).map(str::to_owned);
            return Err(ListError::Model { provider: asked.provider.to_owned(), name: name.clone(), like });
        }
        let is_asked = |name: &str| asked.models.is_empty() || asked.models.iter().any(|asked| asked == name);
        let mut taken = Taken::new(asked.from, self.bounds());
        for (name, entry) in of_provider.iter().filter(|(name, _)| is_asked(name)) {
            taken.add(name, entry);
        }
        let mut seen = BTreeSet::new();
        for (name, _) in self.0.0.iter().filter(|(name, _)| of_provider.contains_key(name.as_str())) {
            if !seen.insert(name) && is_asked(name) {
                taken.stands_twice(name);
            }
        }
        let models = taken.models();
        if taken.skus.is_empty() {
            return Err(ListError::Nothing(models));
        }
        let contexts = taken.contexts();
        Ok(Imported {
            prices: text::prices((asked.provider, asked.from), &taken.skus, &contexts),
            meters: taken.meters(),
            models,
            skus: taken.skus.len(),
            contexts,
            not_taken: taken.not_taken(),
        })
    }

    /// The lengths of prompts at which any price of the list changes: a gateway that tells them apart
    /// can send the same events for every model.
    fn bounds(&self) -> Vec<u64> {
        let mut bounds: Vec<u64> = self.models().flat_map(|(_, _, entry)| models::bounds(entry)).collect();
        bounds.sort_unstable();
        bounds.dedup();
        bounds
    }

    /// The providers with the most models, for people.
    pub fn known(&self) -> String {
        const NAMED: usize = 12;
        let mut providers: Vec<_> = self.providers().into_iter().collect();
        providers.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        let named = providers.iter().take(NAMED).map(|(name, many)| format!("{name} ({many})"));
        let mut text = named.collect::<Vec<_>>().join(", ");
        if providers.len() > NAMED {
            text.push_str(&format!(" and {} more", providers.len() - NAMED));
        }
        if text.is_empty() { "none".to_owned() } else { text }
    }
}
