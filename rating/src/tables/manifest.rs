//! The manifest of a run: its pins, its counts, its sums and the digests of its tables.
//!
//! Currencies are never added up. Reading and writing the file is deliberately left to the folder's
//! own room.
//!
//! Invariant: equal runs have equal manifests, and the pins can be read back from one.

use crate::catalog::Catalog;
use crate::error::RatingError;
use crate::run::{CompletenessKind, ENGINE_VERSION, Pins, PostedLine, Run, RunId, decimal};
use crate::statement::Biller;
use ledger::pinned::{LedgerCut, Versions};
use schemas::decimal::Amount;
use schemas::digest::Sha256Digest;
use schemas::id::{CustomerId, ProviderId};
use schemas::money::Currency;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The inputs of a run, its contents and its sums: `manifest.json` in the run's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub run: RunId,
    pub period: String,
    pub ledger_version: Versions,
    pub ledger_digest: String,
    pub catalog: String,
    /// How many entries of the journal the run rests on.
    #[serde(default)]
    pub journal: i64,
    pub engine: String,
    pub received: u64,
    pub usage: u64,
    pub duplicates: u64,
    pub conflicts: u64,
    pub rejected: u64,
    pub gaps: u64,
    pub unrated_events: BTreeMap<String, u64>,
    /// Σ amount of the cost lines, by provider, in the provider's currency.
    pub cost_total: BTreeMap<String, String>,
    /// Σ settled of the cost lines, by provider, in the provider's currency.
    pub settled_total: BTreeMap<String, String>,
    /// Σ statement lines of the operator that are billed, grants included, by customer, in the
    /// provider's currency.
    pub customer_total: BTreeMap<String, Total>,
    /// Σ statement lines that the operator retains.
    pub retained_total: Total,
    /// Σ billed amounts, by biller and customer, in the currency that the customer is billed in.
    #[serde(default)]
    pub billed_total: BTreeMap<String, BTreeMap<String, Total>>,
    /// Rows of the table `completeness`, by kind, 0 too.
    #[serde(default)]
    pub completeness: BTreeMap<String, u64>,
    /// The currencies of the sums above.
    #[serde(default)]
    pub currencies: Currencies,
    pub tables: BTreeMap<String, TableEntry>,
}

/// The currencies that the sums of a manifest are in, beside them. A run that was written without
/// them has none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Currencies {
    /// By provider: of `cost_total` and `settled_total`.
    pub provider: BTreeMap<String, String>,
    /// By customer: of `customer_total`. More than one where it is charged in several; none where it
    /// is charged nothing and there are several.
    pub customer: BTreeMap<String, Vec<String>>,
    /// Of `retained_total`.
    pub retained: Vec<String>,
    /// By biller and customer: of `billed_total`.
    #[serde(default)]
    pub bills: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Currencies {
    /// A customer's sum with its currency. Nothing is in the customer's `own`, or in every one that
    /// is billed.
    pub fn of_customer(&self, customer: &str, total: &Total, own: Option<String>) -> String {
        match self.customer.get(customer).map_or(&[][..], Vec::as_slice) {
            [] => total.with(&own.map_or_else(|| self.billed(), |own| vec![own])),
            charged => total.with(charged),
        }
    }

    /// The currencies that a biller bills a customer in.
    pub fn of_bill(&self, biller: &str, customer: &str) -> Option<&Vec<String>> {
        self.bills.get(biller)?.get(customer)
    }

    /// What a biller bills a customer, with its currency.
    pub fn of_billed(&self, biller: &str, customer: &str, total: &Total) -> String {
        total.with(self.of_bill(biller, customer).map_or(&[], Vec::as_slice))
    }

    /// What is retained, with its currency. Nothing is in every one that is billed.
    pub fn of_retained(&self, total: &Total) -> String {
        if self.retained.is_empty() { total.with(&self.billed()) } else { total.with(&self.retained) }
    }

    fn billed(&self) -> Vec<String> {
        let distinct: BTreeSet<&String> = self.provider.values().collect();
        distinct.into_iter().cloned().collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    pub file: String,
    pub rows: u64,
    pub sha256: String,
}

/// A sum of money: one decimal, or, where several currencies meet, one decimal per currency.
/// Currencies are never added up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Total {
    One(String),
    ByCurrency(BTreeMap<String, String>),
}

impl Total {
    fn of(amounts: &BTreeMap<Currency, Amount>) -> Self {
        let mut values = amounts.values();
        match (values.next(), values.next()) {
            (None, _) => Self::One("0".to_owned()),
            (Some(only), None) => Self::One(only.to_string()),
            _ => Self::ByCurrency(
                amounts.iter().map(|(currency, amount)| (currency.to_string(), amount.to_string())).collect(),
            ),
        }
    }

    /// The sum for a person, with the currency that stands beside it. Of one amount only nothing can
    /// be in several.
    fn with(&self, currencies: &[String]) -> String {
        match self {
            Self::One(amount) if currencies.is_empty() => amount.clone(),
            Self::One(amount) => {
                let amounts: Vec<String> =
                    currencies.iter().map(|currency| format!("{amount} {currency}")).collect();
                amounts.join(", ")
            }
            Self::ByCurrency(amounts) => {
                let amounts: Vec<String> =
                    amounts.iter().map(|(currency, amount)| format!("{amount} {currency}")).collect();
                amounts.join(", ")
            }
        }
    }
}

impl Manifest {
    /// The pins, read back; `None` where one is not what this version writes.
    pub fn pins(&self) -> Option<Pins> {
        let month = schemas::time::BillingMonth::parse(&self.period)?;
        let ledger = LedgerCut {
            versions: self.ledger_version.clone(),
            digest: Sha256Digest::from_hex(&self.ledger_digest)?,
        };
        Some(Pins { month, ledger, catalog: Sha256Digest::from_hex(&self.catalog)?, journal: self.journal })
    }
}

pub(super) fn manifest(
    run: &Run,
    catalog: &Catalog,
    tables: BTreeMap<String, TableEntry>,
) -> Result<Manifest, RatingError> {
    let mut unrated_events = BTreeMap::new();
    for unrated in &run.unrated {
        *unrated_events.entry(unrated.key.reason.as_str().to_owned()).or_insert(0) += unrated.events;
    }
    let mut by_customer: BTreeMap<CustomerId, BTreeMap<Currency, Amount>> =
        catalog.customers.keys().map(|id| (id.clone(), BTreeMap::new())).collect();
    for ((customer, currency), amount) in customer_totals(run)? {
        by_customer.entry(customer).or_default().insert(currency, amount);
    }
    let by_provider = |totals: BTreeMap<ProviderId, (Currency, Amount)>| {
        totals.into_iter().map(|(provider, (_, amount))| (provider.to_string(), amount.to_string())).collect()
    };
    let mut by_biller: BTreeMap<String, BTreeMap<CustomerId, BTreeMap<Currency, Amount>>> = BTreeMap::new();
    for ((biller, customer, currency), amount) in billed_totals(run, catalog)? {
        by_biller.entry(biller).or_default().entry(customer).or_default().insert(currency, amount);
    }
    let billed_total = by_biller.iter().map(|(biller, customers)| {
        let of = customers.iter().map(|(customer, sums)| (customer.to_string(), Total::of(sums)));
        (biller.clone(), of.collect())
    });
    let mut completeness: BTreeMap<String, u64> =
        CompletenessKind::ALL.iter().map(|kind| (kind.to_string(), 0)).collect();
    for row in &run.completeness {
        *completeness.entry(row.kind.to_string()).or_insert(0) += 1;
    }
    let retained = retained_totals(run)?;
    let billed: BTreeSet<Currency> = catalog.providers.values().map(|provider| provider.currency).collect();
    let codes = |amounts: &BTreeMap<Currency, Amount>| -> Vec<String> {
        if !amounts.is_empty() {
            return amounts.keys().map(ToString::to_string).collect();
        }
        // Nothing is in the one currency there is; among several it is in none.
        billed.iter().filter(|_| billed.len() == 1).map(ToString::to_string).collect()
    };
    let currencies = Currencies {
        provider: run
            .cost_lines
            .iter()
            .map(|line| (line.key.provider.to_string(), line.currency.to_string()))
            .collect(),
        customer: by_customer.iter().map(|(id, amounts)| (id.to_string(), codes(amounts))).collect(),
        retained: codes(&retained),
        bills: by_biller
            .iter()
            .map(|(biller, customers)| {
                let of = customers.iter().map(|(customer, sums)| (customer.to_string(), codes(sums)));
                (biller.clone(), of.collect())
            })
            .collect(),
    };
    Ok(Manifest {
        format: 1,
        run: run.pins.run_id(),
        period: run.pins.month.to_string(),
        ledger_version: run.pins.ledger.versions.clone(),
        ledger_digest: run.pins.ledger.digest.to_string(),
        catalog: run.pins.catalog.to_string(),
        journal: run.pins.journal,
        engine: ENGINE_VERSION.to_owned(),
        received: run.counts.received,
        usage: run.counts.usage,
        duplicates: run.counts.duplicates,
        conflicts: run.counts.conflicts,
        rejected: run.counts.rejected,
        gaps: run.counts.gaps,
        unrated_events,
        cost_total: by_provider(cost_totals(run)?),
        settled_total: by_provider(settled_totals(run)?),
        customer_total: by_customer
            .iter()
            .map(|(customer, amounts)| (customer.to_string(), Total::of(amounts)))
            .collect(),
        retained_total: Total::of(&retained),
        billed_total: billed_total.collect(),
        completeness,
        currencies,
        tables,
    })
}

/// Σ amount of the cost lines of each provider.
fn cost_totals(run: &Run) -> Result<BTreeMap<ProviderId, (Currency, Amount)>, RatingError> {
    let lines = run.cost_lines.iter().map(|line| ((line.key.provider.clone(), line.currency), line.amount));
    Ok(sum_by(lines)?
        .into_iter()
        .map(|((provider, currency), amount)| (provider, (currency, amount)))
        .collect())
}

/// Σ settled of the cost lines of each provider.
fn settled_totals(run: &Run) -> Result<BTreeMap<ProviderId, (Currency, Amount)>, RatingError> {
    let mut lines = Vec::new();
    for line in &run.cost_lines {
        lines.push(((line.key.provider.clone(), line.currency), decimal(line.settled)?));
    }
    Ok(sum_by(lines)?
        .into_iter()
        .map(|((provider, currency), amount)| (provider, (currency, amount)))
        .collect())
}

/// The operator's statement lines.
fn of_operator(run: &Run) -> impl Iterator<Item = &PostedLine> {
    run.posted.iter().filter(|line| line.biller == Biller::Operator)
}

/// Σ statement lines of the operator that are billed, grants included, by customer and currency.
fn customer_totals(run: &Run) -> Result<BTreeMap<(CustomerId, Currency), Amount>, RatingError> {
    let mut lines = Vec::new();
    for line in of_operator(run) {
        if let (true, Some(customer)) = (line.kind.is_billed(), &line.customer) {
            lines.push(((customer.clone(), line.money.currency), decimal(line.money)?));
        }
    }
    sum_by(lines)
}

/// Σ statement lines that the operator retains, by currency.
fn retained_totals(run: &Run) -> Result<BTreeMap<Currency, Amount>, RatingError> {
    let mut lines = Vec::new();
    for line in of_operator(run) {
        if !line.kind.is_billed() {
            lines.push((line.money.currency, decimal(line.money)?));
        }
    }
    sum_by(lines)
}

/// What each biller bills each customer, in the currency that it is billed in.
fn billed_totals(
    run: &Run,
    catalog: &Catalog,
) -> Result<BTreeMap<(String, CustomerId, Currency), Amount>, RatingError> {
    let mut lines = Vec::new();
    for line in &run.posted {
        if let (Some(billed), Some(customer)) = (&line.billed, &line.customer) {
            let biller = line.biller.as_str(&catalog.operator).to_owned();
            lines.push(((biller, customer.clone(), billed.money.currency), decimal(billed.money)?));
        }
    }
    sum_by(lines)
}

fn sum_by<K: Ord>(lines: impl IntoIterator<Item = (K, Amount)>) -> Result<BTreeMap<K, Amount>, RatingError> {
    let mut sums = BTreeMap::new();
    for (key, amount) in lines {
        let sum = sums.entry(key).or_insert(Amount::ZERO);
        *sum = sum.checked_add(amount).map_err(RatingError::overflow("a total of the run"))?;
    }
    Ok(sums)
}
