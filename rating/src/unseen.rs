//! Values that a price list matches on and no event has: usually a misspelt one, whose usage goes
//! to another SKU or is not rated.
//!
//! A meter without events is not looked at, so that a catalog may be published before the first
//! event. Nothing is refused: a value may be announced ahead.
//!
//! Invariant: a value is named at most once for each SKU.

use crate::alike::Names;
use crate::catalog::{Catalog, Findings, Warning};
use crate::error::RatingError;
use crate::usage::{CountedRows, Observed};
use std::collections::{BTreeMap, BTreeSet};

/// A warning for every value of a `match` that none of the events has that could be its SKU's.
///
/// # Errors
/// When the rows cannot be read.
pub async fn unseen_values(usage: &CountedRows, catalog: &Catalog) -> Result<Vec<Warning>, RatingError> {
    let mut meters: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let metered = catalog.providers.values().flat_map(|provider| &provider.skus);
    for metered in metered.filter_map(|sku| sku.metered()) {
        for dimension in metered.matches.keys() {
            meters.entry(dimension).or_default().insert(metered.events.as_str());
        }
    }
    let findings = Findings::default();
    for (dimension, meters) in meters {
        compare(catalog, dimension, &usage.values(dimension, &meters).await?, &findings);
    }
    Ok(findings.into_result().unwrap_or_default())
}

fn compare(catalog: &Catalog, dimension: &str, observed: &BTreeSet<Observed>, findings: &Findings) {
    for provider in catalog.providers.values() {
        // By meter, the values of the events that name this provider or none.
        let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for Observed { meter, provider: named, value } in observed {
            if named.as_deref().is_none_or(|named| named == provider.id.as_str()) {
                seen.entry(meter.as_str()).or_default().extend(value.as_deref());
            }
        }
        let names: BTreeMap<&str, Names<'_>> =
            seen.iter().map(|(meter, values)| (*meter, Names::new(values.iter().copied()))).collect();
        let file = format!("providers/{}/prices.toml", provider.id);
        for sku in &provider.skus {
            let Some(metered) = sku.metered() else { continue };
            let (Some(values), Some(wanted)) =
                (seen.get(metered.events.as_str()), metered.matches.get(dimension))
            else {
                continue;
            };
            for value in wanted.iter().filter(|value| !values.contains(value.as_str())) {
                let nearest = names.get(metered.events.as_str()).and_then(|names| names.nearest(value));
                let meant =
                    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest:?}?"));
                let message = format!(
                    "the SKU {} matches {dimension} = {value:?}, which no event of {} in the ledger has{meant}",
                    sku.id, metered.events
                );
                findings.warning(&file, sku.line, message);
            }
        }
    }
}
