//! The folder's texts become a catalog, or a list of everything that is wrong with them.
//!
//! Each file below reads one part of the format. None of them stops at a problem, and none of them
//! decides what is billed.
//!
//! Invariant: whatever is not understood is reported, with its line and what to do.

// Modules in reading order.
mod files; // the texts and their digest
mod format; // the files, the tables and their keys
mod toml; // strict reading of TOML
mod ending; // ends that mean none
mod definitions; // catalog.toml, customers.toml
mod meter; // meters.toml
mod rows; // CSV, row by row
mod bindings; // bindings.csv
mod rounding; // billing periods, and how a provider rounds
mod price_model; // what a price says
mod dated_price; // when a price begins and ends
mod allocation_rule; // how a SKU's cost is shared
mod examples; // the worked examples of a price list
mod claims; // no event is billed by two SKUs
mod sku; // a provider's prices.toml
mod braces; // texts that are put together
mod written_file; // how the file of an invoice is written
mod mapping; // what its columns mean
mod shipped; // formats of invoices
mod invoice; // a provider's invoice.toml
mod invoice_map; // a provider's invoice_map.csv
mod provider; // the folders under providers/
mod billing; // who is billed for whom, and in which currency
mod limits; // limits.toml
mod focus; // focus.toml
mod general_ledger; // gl.toml
mod trial; // prices without a catalog

pub use files::{CatalogFiles, CatalogFilesError};
pub use format::TableKeys;
pub use meter::MeterSheet;
pub use trial::PriceSheet;

use super::contents::{Catalog, Metered};
use super::problem::{Findings, Problem, Warning};
use crate::alike::look;
use crate::allocation::RuleName;
use crate::price::PriceModelName;
use billing::{Known, check_bills_to, read_grants, read_rates};
use bindings::read_bindings;
use definitions::{read_customers, read_operator};
use focus::read_focus;
use format::{
    BINDINGS, CATALOG, CUSTOMERS, FIXED, FOCUS, GENERAL_LEDGER, GRANTS, INVOICE, INVOICE_MAP, LIMITS, METERS,
    PRICES, PROVIDER, RATES,
};
use general_ledger::read_general_ledger;
use limits::read_limits;
use meter::read_meters;
use provider::read_provider;
use schemas::id::{CustomerId, MeterType};
use schemas::money::Currency;
use std::collections::{BTreeMap, BTreeSet};

impl Catalog {
    /// Reads and checks a catalog.
    ///
    /// # Errors
    /// Every problem found, by file and line.
    pub fn load(files: &CatalogFiles) -> Result<(Self, Vec<Warning>), Vec<Problem>> {
        let findings = Findings::default();
        let catalog = read_catalog(files, &findings);
        let warnings = findings.into_result()?;
        Ok((catalog.expect("a catalog without problems was read completely"), warnings))
    }
}

/// Every key of the format, by file and table: the lists that the reader declares its keys with and
/// refuses any other by. The keys of `match`, of `shares`, of
/// `when` and of `[units]` are names, and not listed.
pub fn keys() -> Vec<TableKeys> {
    let mut keys = FIXED.to_vec();
    keys.extend(RuleName::ALL.map(allocation_rule::keys));
    keys.extend(PriceModelName::ALL.map(price_model::keys));
    keys
}

/// `None` only where a problem has been reported.
fn read_catalog(files: &CatalogFiles, findings: &Findings) -> Option<Catalog> {
    let folders = read_layout(files, findings);
    let operator = read_operator(files, findings);
    let meters = read_meters(files, findings);
    let customers = read_customers(files, findings);
    let bindings = read_bindings(files, &customers, findings);
    let mut providers = BTreeMap::new();
    let folders_found = folders.len();
    for folder in folders.iter().copied() {
        if let Some(provider) = read_provider(folder, files, &meters, &customers, findings) {
            providers.insert(provider.id.clone(), provider);
        }
    }
    check_bills_to(files, &customers, findings);
    let all_providers = providers.len() == folders_found && !findings.has_problems();
    let known = Known { customers: &customers, providers: &providers, all_providers };
    let grants = read_grants(files, &known, findings);
    let limits = read_limits(files, &known, findings);
    let rates = read_rates(files, findings);
    let focus = read_focus(files, &folders, findings);
    let general_ledger = read_general_ledger(files, findings);
    let (operator, label) = operator?;
    let catalog = Catalog {
        digest: files.digest(),
        operator,
        name: label,
        meters: meters.values,
        providers,
        customers: customers.values,
        bindings,
        grants,
        rates,
        focus,
        general_ledger,
        limits,
    };
    warn_of_the_unused(&catalog, &meters.lines, &customers.lines, findings);
    warn_of_currencies(&catalog, &customers.lines, findings);
    warn_of_values_that_look_alike(&catalog, findings);
    Some(catalog)
}

/// Reports files that are missing or belong nowhere; returns the names of the providers' folders.
fn read_layout<'f>(files: &'f CatalogFiles, findings: &Findings) -> BTreeSet<&'f str> {
    let mut folders = BTreeSet::new();
    for (path, _) in files.iter() {
        match *path.split('/').collect::<Vec<_>>() {
            [CATALOG | METERS | CUSTOMERS | BINDINGS | GRANTS | RATES | FOCUS | GENERAL_LEDGER | LIMITS] => {}
            ["providers", folder, PROVIDER | PRICES | INVOICE | INVOICE_MAP] => {
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
        let path = |file: &str| format!("providers/{folder}/{file}");
        if files.get(&path(INVOICE_MAP)).is_some() && files.get(&path(INVOICE)).is_none() {
            missing(&path(INVOICE), "create it with the `format` of the provider's invoices");
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

/// A meter that is never billed and a customer who is never charged are allowed, and usually
/// forgotten.
fn warn_of_the_unused(
    catalog: &Catalog,
    meters: &BTreeMap<MeterType, usize>,
    customers: &BTreeMap<CustomerId, usize>,
    findings: &Findings,
) {
    let skus = || catalog.providers.values().flat_map(|provider| &provider.skus);
    let keys = skus().filter_map(|sku| catalog.key_of(sku)).map(|key| &key.meter);
    let used: BTreeSet<&MeterType> =
        skus().filter_map(|sku| sku.metered()).map(|metered| &metered.meter).chain(keys).collect();
    for (meter, line) in meters.iter().filter(|(meter, _)| !used.contains(meter)) {
        findings.warning(METERS, *line, format!("no SKU uses the meter {meter}; its events will be unrated"));
    }
    let bound: BTreeSet<CustomerId> = catalog
        .bindings
        .iter()
        .map(|binding| binding.customer.clone())
        .chain(skus().flat_map(|sku| sku.allocation.named_customers()).cloned())
        .chain(catalog.grants.iter().map(|grant| grant.funder.clone()))
        .chain(catalog.customers.values().filter_map(|customer| customer.bills_to.clone()))
        .collect();
    for (customer, line) in customers.iter().filter(|(customer, _)| !bound.contains(customer)) {
        findings.warning(
            CUSTOMERS,
            *line,
            format!("no subject is bound to the customer {customer}, so it will never be charged"),
        );
    }
}

/// Charges are in the providers' currencies, and without rates nothing is converted.
fn warn_of_currencies(catalog: &Catalog, customers: &BTreeMap<CustomerId, usize>, findings: &Findings) {
    let billed: BTreeSet<Currency> = catalog.providers.values().map(|provider| provider.currency).collect();
    if billed.is_empty() || catalog.rates.is_some() {
        return;
    }
    let codes: Vec<&str> = billed.iter().map(|currency| currency.code()).collect();
    for (id, line) in customers {
        let Some(customer) = catalog.customers.get(id) else { continue };
        if !billed.contains(&customer.currency) {
            let message = format!(
                "no provider bills in {}, the currency of the customer {id}; its charges will be in {}",
                customer.currency,
                codes.join(", ")
            );
            findings.warning(CUSTOMERS, *line, message);
        }
    }
}

/// Two values of one dimension that only the eye takes for one: an event has one of them.
fn warn_of_values_that_look_alike(catalog: &Catalog, findings: &Findings) {
    let mut seen: BTreeMap<(&MeterType, &str, String), (&str, String)> = BTreeMap::new();
    for provider in catalog.providers.values() {
        let file = format!("providers/{}/{PRICES}", provider.id);
        let metered = provider.skus.iter().filter_map(|sku| Some((sku, sku.metered()?)));
        for (sku, Metered { meter, matches, .. }) in metered {
            let pairs = matches
                .iter()
                .flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value.as_str())));
            for (dimension, value) in pairs {
                let place = format!("{file}:{}", sku.line);
                let (other, at) =
                    seen.entry((meter, dimension, look(value))).or_insert_with(|| (value, place));
                if *other != value {
                    let message = format!(
                        "the SKU {} matches {dimension} = {value:?}, which looks like {other:?} ({at}); an \
                         event has one of them exactly",
                        sku.id
                    );
                    findings.warning(&file, sku.line, message);
                }
            }
        }
    }
}
