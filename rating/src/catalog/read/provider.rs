//! A provider's folder: provider.toml, the SKUs of prices.toml, and what its invoices mean.
//!
//! Invariant: a provider's id is the name of its folder, so no two have the same.

use super::definitions::{Context, Declared, read_currency};
use super::files::CatalogFiles;
use super::format::{PRICES, PROVIDER, PROVIDER_KEYS};
use super::invoice::read_invoice;
use super::invoice_map::read_invoice_map;
use super::rounding::{read_anchor, read_rounding};
use super::sku::read_skus;
use super::toml::{TomlFile, name};
use crate::catalog::contents::{Customer, Meter, Provider};
use crate::catalog::invoicing::Invoicing;
use crate::catalog::problem::Findings;
use jiff::tz::TimeZone;
use schemas::id::{BillingAccountId, CustomerId, MeterType, ProviderId};
use schemas::time::time_zone;

pub(super) fn read_provider(
    folder: &str,
    files: &CatalogFiles,
    meters: &Declared<MeterType, Meter>,
    customers: &Declared<CustomerId, Customer>,
    findings: &Findings,
) -> Option<Provider> {
    let provider = read_provider_file(folder, files, findings);
    // Without a zone the dates still show overlaps, and nothing that is computed from it here is
    // kept.
    let zone = provider.as_ref().map_or(TimeZone::UTC, |provider| provider.time_zone.clone());
    let currency = provider.as_ref().map(|provider| provider.currency);
    let anchor = provider.as_ref().map(|provider| provider.anchor);
    let steps = provider.as_ref().and_then(|provider| provider.steps);
    let map = read_invoice_map(folder, files, &zone, customers, findings);
    let invoicing = read_invoice(folder, files, findings).map(|invoicing| Invoicing { map, ..invoicing });
    let (path, text) = files.get_key_value(&format!("providers/{folder}/{PRICES}"))?;
    let file = TomlFile::parse(path, text, findings)?;
    let skus = read_skus(
        &file.root(),
        &Context { meters, customers, time_zone: &zone, anchor, currency, steps, trial: None },
    );
    provider.map(|provider| Provider { skus, invoicing, ..provider })
}

/// The provider without its SKUs.
fn read_provider_file(folder: &str, files: &CatalogFiles, findings: &Findings) -> Option<Provider> {
    let (path, text) = files.get_key_value(&format!("providers/{folder}/{PROVIDER}"))?;
    let file = TomlFile::parse(path, text, findings)?;
    let root = file.root().named(format!("the provider {folder}"));
    root.only(PROVIDER_KEYS.keys);
    let id = root.parsed("id", "a provider's id", name(ProviderId::new));
    if let Some(id) = &id
        && id.as_str() != folder
    {
        root.problem(
            root.line_of("id"),
            format!("the provider's id is {id}, but its folder is {folder}"),
            "give both the same name",
        );
    }
    let label = root.label("name");
    let billing_account = root.parsed("billing_account", "an account's id", name(BillingAccountId::new));
    let currency = read_currency(&root);
    let zone = root.parsed("time_zone", "a time zone", |text| {
        time_zone(text)
            .map(|zone| (zone, text.to_owned()))
            .ok_or("it must be a name of the IANA time zone database, like UTC or Europe/Berlin")
    });
    let anchor = read_anchor(&root);
    let rounding = root
        .table("rounding", format!("the rounding of the provider {folder}"))
        .and_then(|table| read_rounding(&table));
    let (rounding, steps) = rounding?;
    let (time_zone, time_zone_name) = zone?;
    Some(Provider {
        id: id?,
        name: label?,
        billing_account: billing_account?,
        currency: currency?,
        time_zone,
        time_zone_name,
        anchor: anchor?,
        rounding,
        steps,
        skus: Vec::new(),
        invoicing: None,
    })
}
