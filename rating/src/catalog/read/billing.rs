//! Who is billed for whom: `bills_to` of customers, grants.toml and fx.csv.
//!
//! Nothing is shared, granted or converted here.
//!
//! Invariant: whoever bills a customer is itself billed by the operator, and no grant or rate names
//! what nobody bills in.

use super::definitions::{Declared, read_currency};
use super::files::CatalogFiles;
use super::format::{CUSTOMERS, GRANT_KEYS, GRANT_LIST, GRANTS, RATE_COLUMNS, RATES};
use super::rows::read_rows;
use super::toml::{Table, Text, TomlFile, name};
use crate::catalog::contents::{Customer, CustomerKind, Provider};
use crate::catalog::problem::Findings;
use crate::exact::exact;
use crate::statement::{Grant, GrantId, Pair, Rate, RateError, Rates, Skus};
use num_traits::One as _;
use schemas::decimal::{Amount, Sign};
use schemas::id::{CustomerId, ProviderId};
use schemas::money::Currency;
use schemas::time::BillingMonth;
use std::collections::{BTreeMap, BTreeSet};

/// Refuses a `bills_to` that names nobody who could bill.
pub(super) fn check_bills_to(
    files: &CatalogFiles,
    customers: &Declared<CustomerId, Customer>,
    findings: &Findings,
) {
    // What is wrong with the file itself was told when it was read.
    let unheard = Findings::default();
    let Some((path, text)) = files.get_key_value(CUSTOMERS) else { return };
    let Some(file) = TomlFile::parse(path, text, &unheard) else { return };
    let root = file.root();
    root.declare(&["customer"]);
    for table in root.tables("customer", "this customer").unwrap_or_default() {
        table.declare(&["id", "bills_to"]);
        let id = table.peek("id").and_then(|id| CustomerId::new(id).ok());
        let partner = table.peek("bills_to").and_then(|partner| CustomerId::new(partner).ok());
        let (Some(id), Some(partner)) = (id, partner) else { continue };
        let problem = |message: String, help: &str| {
            findings.problem(CUSTOMERS, table.line_of("bills_to"), message, help);
        };
        if !customers.knows(&partner) {
            problem(
                format!("`bills_to` of the customer {id} names {partner}, who is not declared"),
                "name a customer of the kind partner",
            );
            continue;
        }
        let Some(known) = customers.values.get(&partner) else { continue };
        let is_partner = |kind: CustomerKind| kind == CustomerKind::Partner;
        let always =
            is_partner(known.kinds.first) && known.kinds.later.iter().all(|(_, kind)| is_partner(*kind));
        if !always {
            problem(
                format!("`bills_to` of the customer {id} names {partner}, who is no partner"),
                "give it `kind = \"partner\"`, or name another",
            );
        } else if known.bills_to.is_some() {
            problem(
                format!("`bills_to` of the customer {id} names {partner}, who has `bills_to` itself"),
                "name the partner that the operator bills: there are two levels",
            );
        }
    }
}

/// What grants and rates may refer to.
pub(super) struct Known<'k> {
    pub customers: &'k Declared<CustomerId, Customer>,
    pub providers: &'k BTreeMap<ProviderId, Provider>,
    /// Whether providers and all of their SKUs could be read.
    pub all_providers: bool,
}

impl Known<'_> {
    fn currencies(&self) -> BTreeSet<Currency> {
        self.providers.values().map(|provider| provider.currency).collect()
    }
}

/// The grants, in the order of the file. Nothing where there is no file.
pub(super) fn read_grants(files: &CatalogFiles, known: &Known<'_>, findings: &Findings) -> Vec<Grant> {
    let mut grants: Vec<Grant> = Vec::new();
    let Some((path, text)) = files.get_key_value(GRANTS) else { return grants };
    let Some(file) = TomlFile::parse(path, text, findings) else { return grants };
    let root = file.root();
    root.only(GRANT_LIST.keys);
    let mut lines: BTreeMap<GrantId, usize> = BTreeMap::new();
    for table in root.tables("grant", "this grant").unwrap_or_default() {
        table.only(GRANT_KEYS.keys);
        let Some(id) = table.parsed("id", "a grant's id", name(GrantId::new)) else { continue };
        let table = table.named(format!("the grant {id}"));
        if let Some(line) = lines.get(&id) {
            let message = format!("{} is declared twice; the first time in line {line}", table.name());
            table.problem(table.line, message, "remove one of them, or give it another id");
        }
        lines.entry(id.clone()).or_insert(table.line);
        grants.extend(read_grant(&table, id, known));
    }
    grants
}

fn read_grant(table: &Table<'_>, id: GrantId, known: &Known<'_>) -> Option<Grant> {
    let customer = read_party(table, "customer", known);
    let funder = read_party(table, "funder", known);
    if let (Some(customer), Some(funder)) = (&customer, &funder)
        && customer == funder
    {
        let message = format!("{} is paid by {funder} to itself", table.name());
        table.problem(table.line_of("funder"), message, "name another funder");
    }
    let currency = read_billed_currency(table, known);
    let share = match table.has("share") {
        false => Some(num_rational::BigRational::one()),
        true => read_share(table),
    };
    let amount: Option<Amount> = table.decimal("amount", "an amount", Sign::NonNegative);
    if amount.is_some_and(|amount| amount.is_zero()) {
        let message = format!("`amount` of {} is not above 0", table.name());
        table.problem(table.line_of("amount"), message, "give it the most that it pays in all");
    }
    let from = read_month(table, "from");
    let until = if table.has("until") { read_month(table, "until").map(Some) } else { Some(None) };
    if let (Some(from), Some(Some(until))) = (from, until)
        && until <= from
    {
        let message = format!("{} ends with {until}, before or when it begins with {from}", table.name());
        table.problem(table.line_of("until"), message, "make `until` later than `from`; it is exclusive");
    }
    let of = if table.has("of") { read_skus(table, "of", known).map(Some) } else { Some(None) };
    let except = if table.has("except") { read_skus(table, "except", known) } else { Some(Vec::new()) };
    Some(Grant {
        id,
        customer: customer?,
        funder: funder?,
        currency: currency?,
        share: share?,
        amount: exact(amount?),
        from: from?,
        until: until?,
        of: of?,
        except: except?,
    })
}

/// A currency that somebody bills in.
pub(super) fn read_billed_currency(table: &Table<'_>, known: &Known<'_>) -> Option<Currency> {
    let currency = read_currency(table)?;
    if known.all_providers && !known.currencies().contains(&currency) {
        let codes: Vec<String> = known.currencies().iter().map(ToString::to_string).collect();
        let message = format!("{} is in {currency}, and nobody bills in that currency", table.name());
        table.problem(table.line_of("currency"), message, format!("use one of: {}", codes.join(", ")));
    }
    Some(currency)
}

/// Somebody whom the operator bills.
fn read_party(table: &Table<'_>, key: &str, known: &Known<'_>) -> Option<CustomerId> {
    let id = table.parsed(key, "a customer's id", name(CustomerId::new))?;
    if !known.customers.knows(&id) {
        let message = format!("the {key} {id} of {} is not declared", table.name());
        table.problem(table.line_of(key), message, known.customers.help(CUSTOMERS));
        return None;
    }
    let partner = known.customers.values.get(&id).and_then(|customer| customer.bills_to.as_ref());
    if let Some(partner) = partner {
        let message = format!("the {key} {id} of {} is billed by the partner {partner}", table.name());
        table.problem(table.line_of(key), message, "name somebody whom the operator bills");
        return None;
    }
    Some(id)
}

fn read_share(table: &Table<'_>) -> Option<crate::exact::Exact> {
    let share: Amount = table.decimal("share", "a share", Sign::NonNegative)?;
    let exact = exact(share);
    if share.is_zero() || exact > num_rational::BigRational::one() {
        let message = format!("`share = \"{share}\"` of {} is not above 0 and at most 1", table.name());
        table.problem(table.line_of("share"), message, "write half of it as `share = \"0.5\"`");
        return None;
    }
    Some(exact)
}

fn read_month(table: &Table<'_>, key: &str) -> Option<BillingMonth> {
    table.parsed_like((key, "2025-11"), "a month", |text| {
        BillingMonth::parse(text).ok_or("it must be a year and a month")
    })
}

/// SKUs of providers, by name.
pub(super) fn read_skus(table: &Table<'_>, key: &str, known: &Known<'_>) -> Option<Vec<Skus>> {
    let mut skus = Vec::new();
    let texts = table.texts(key)?;
    if texts.is_empty() {
        let message = format!("`{key}` of {} names no SKU", table.name());
        table.problem(table.line_of(key), message, "name at least one, or remove it");
    }
    for text in texts {
        skus.push(read_named(table, key, text, known)?);
    }
    Some(skus)
}

fn read_named(table: &Table<'_>, key: &str, text: Text<'_>, known: &Known<'_>) -> Option<Skus> {
    let names = Skus::parse(text.value);
    let is_known = |names: &Skus| match known.providers.get(&names.provider) {
        None => !known.all_providers,
        Some(provider) => {
            !known.all_providers || names.sku.as_ref().is_none_or(|sku| provider.sku(sku).is_some())
        }
    };
    if names.as_ref().is_some_and(is_known) {
        return names;
    }
    let message =
        format!("`{key}` of {} names {:?}, which is no SKU of a provider", table.name(), text.value);
    table.problem(
        text.line,
        message,
        "write it like `\"heron/H-PORT\"`, or `\"heron/*\"` for all of a provider",
    );
    None
}

/// The rates of fx.csv; `None` where there is no such file.
pub(super) fn read_rates(files: &CatalogFiles, findings: &Findings) -> Option<Rates> {
    let text = files.get(RATES)?;
    let mut rates = Rates::default();
    let mut lines: BTreeMap<Pair, usize> = BTreeMap::new();
    read_rows(RATE_COLUMNS, (RATES, text), findings, |record, line| {
        let problem = |message: String, help: &str| findings.problem(RATES, line, message, help);
        let month = BillingMonth::parse(&record[0]);
        if month.is_none() {
            problem(format!("the period {:?} is no month", &record[0]), "write it like 2025-11");
        }
        let currency = |text: &str| {
            let currency = Currency::from_code(text);
            if currency.is_none() {
                problem(
                    format!("{text:?} is no currency"),
                    "write an upper-case code of ISO 4217 that has minor units",
                );
            }
            currency
        };
        let (from, to) = (currency(&record[1]), currency(&record[2]));
        let value = Amount::parse(&record[3], Sign::Any);
        if let Err(error) = &value {
            problem(format!("the rate {:?} is no number: {error}", &record[3]), "write it like 0.8651");
        }
        let (Some(month), Some(from), Some(to), Ok(value)) = (month, from, to, value) else { return };
        let pair = Pair { month, from, to };
        if let Err(error) = rates.record(pair, Rate { value, source: record[4].to_owned() }) {
            let earlier = lines.get(&pair).filter(|_| matches!(error, RateError::Twice(_)));
            let first = earlier.map_or_else(String::new, |line| format!("; the first is in line {line}"));
            problem(format!("{error}{first}"), "correct the line, or remove it");
        }
        lines.entry(pair).or_insert(line);
    });
    Some(rates)
}
