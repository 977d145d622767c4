//! The folder as a whole, and what is under providers/: one folder per provider, named by its id.

use super::bindings::{BINDINGS, read_bindings};
use super::definitions::{
    CATALOG, CUSTOMERS, Declared, METERS, read_currency, read_customers, read_meters, read_operator,
};
use super::prices::{Context, read_skus};
use super::problem::Findings;
use super::toml_file::{TomlFile, name};
use super::{Catalog, CatalogFiles, Customer, Meter, Provider, Sku};
use crate::allocation::Rule;
use crate::rounding::RoundingMode;
use jiff::tz::TimeZone;
use schemas::id::{BillingAccountId, CustomerId, MeterType, ProviderId};
use schemas::time::time_zone;
use std::collections::{BTreeMap, BTreeSet};

const PROVIDER: &str = "provider.toml";
const PRICES: &str = "prices.toml";

/// `None` only where a problem has been reported.
pub(super) fn read_catalog(files: &CatalogFiles, findings: &Findings) -> Option<Catalog> {
    let folders = read_layout(files, findings);
    let operator = read_operator(files, findings);
    let meters = read_meters(files, findings);
    let customers = read_customers(files, findings);
    let bindings = read_bindings(files, &customers, findings);
    let mut providers = BTreeMap::new();
    for folder in folders {
        if let Some(provider) = read_provider(folder, files, &meters, &customers, findings) {
            providers.insert(provider.id.clone(), provider);
        }
    }
    let (operator, label) = operator?;
    let catalog = Catalog {
        digest: files.digest(),
        operator,
        name: label,
        meters: meters.values,
        providers,
        customers: customers.values,
        bindings,
    };
    warn_of_the_unused(&catalog, &meters.lines, &customers.lines, findings);
    Some(catalog)
}

/// Reports files that are missing or belong nowhere; returns the names of the providers' folders.
fn read_layout<'f>(files: &'f CatalogFiles, findings: &Findings) -> BTreeSet<&'f str> {
    let mut folders = BTreeSet::new();
    for (path, _) in files.iter() {
        match *path.split('/').collect::<Vec<_>>() {
            [CATALOG | METERS | CUSTOMERS | BINDINGS] => {}
            ["providers", folder, PROVIDER | PRICES] => {
                folders.insert(folder);
            }
            _ => findings.problem(
                path,
                None,
                "this file has no place in a catalog",
                "rename it, move it out of the folder, or begin its name with a dot",
            ),
        }
    }
    let missing = |path: &str, help: &str| findings.problem(path, None, "this file is missing", help);
    for (path, help) in [
        (CATALOG, "create it with `operator` and `name`"),
        (METERS, "create it with a `[[meter]]` for everything that is measured"),
        (CUSTOMERS, "create it with a `[[customer]]` for everybody who is billed"),
        (BINDINGS, "create it with the line `subject,customer,from,until`"),
    ] {
        if files.get(path).is_none() {
            missing(path, help);
        }
    }
    for folder in &folders {
        for (file, help) in [
            (PROVIDER, "create it with the provider's `id`, `currency`, `time_zone` and `rounding`"),
            (PRICES, "create it with the provider's `[[sku]]`s"),
        ] {
            let path = format!("providers/{folder}/{file}");
            if files.get(&path).is_none() {
                missing(&path, help);
            }
        }
    }
    if folders.is_empty() {
        findings.problem(
            "providers",
            None,
            "there is no provider",
            "create providers/ID with provider.toml and prices.toml",
        );
    }
    folders
}

fn read_provider(
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
    let (path, text) = files.get_key_value(&format!("providers/{folder}/{PRICES}"))?;
    let file = TomlFile::parse(path, text, findings)?;
    let skus = read_skus(&file.root(), &Context { meters, customers, time_zone: &zone });
    provider.map(|provider| Provider { skus, ..provider })
}

/// The provider without its SKUs.
fn read_provider_file(folder: &str, files: &CatalogFiles, findings: &Findings) -> Option<Provider> {
    let (path, text) = files.get_key_value(&format!("providers/{folder}/{PROVIDER}"))?;
    let file = TomlFile::parse(path, text, findings)?;
    let root = file.root().named(format!("the provider {folder}"));
    root.only(&["id", "name", "billing_account", "currency", "time_zone", "rounding"]);
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
    let rounding =
        root.table("rounding", format!("the rounding of the provider {folder}")).and_then(|table| {
            table.only(&["mode"]);
            table.parsed("mode", "a rounding mode", |text| {
                RoundingMode::parse(text).ok_or_else(|| {
                    format!("it must be one of: {}", RoundingMode::ALL.map(RoundingMode::as_str).join(", "))
                })
            })
        });
    let (time_zone, time_zone_name) = zone?;
    Some(Provider {
        id: id?,
        name: label?,
        billing_account: billing_account?,
        currency: currency?,
        time_zone,
        time_zone_name,
        rounding: rounding?,
        skus: Vec::new(),
    })
}

/// What can never be billed or charged is allowed, and usually forgotten.
fn warn_of_the_unused(
    catalog: &Catalog,
    meters: &BTreeMap<MeterType, usize>,
    customers: &BTreeMap<CustomerId, usize>,
    findings: &Findings,
) {
    let skus = || catalog.providers.values().flat_map(|provider| &provider.skus);
    let used: BTreeSet<&MeterType> =
        skus().filter_map(|sku| sku.metered.as_ref()).map(|metered| &metered.meter).collect();
    for (meter, line) in meters.iter().filter(|(meter, _)| !used.contains(meter)) {
        findings.warning(METERS, *line, format!("no SKU uses the meter {meter}; its events will be unrated"));
    }
    let named = |sku: &Sku| -> Vec<CustomerId> {
        match &sku.allocation {
            Rule::Even { among: Some(among) } => among.iter().cloned().collect(),
            Rule::Fixed { shares } => shares.keys().cloned().collect(),
            _ => Vec::new(),
        }
    };
    let bound: BTreeSet<CustomerId> = catalog
        .bindings
        .iter()
        .map(|binding| binding.customer.clone())
        .chain(skus().flat_map(named))
        .collect();
    for (customer, line) in customers.iter().filter(|(customer, _)| !bound.contains(customer)) {
        findings.warning(
            CUSTOMERS,
            *line,
            format!("no subject is bound to the customer {customer}, so it will never be charged"),
        );
    }
}
