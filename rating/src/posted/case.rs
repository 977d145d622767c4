//! October and November of the case `close`: its catalog, its cost lines, and what was posted.
//!
//! Cost lines and charges are made of the tables that the case `month` expects, so that nothing here
//! stands on the code that rates.

use super::{Correction, Entry, Posted, PostedKind};
use crate::allocation::{Because, Kind, RetainedReason, Rule};
use crate::catalog::{Catalog, CatalogFiles, Sku};
use crate::exact::{Exact, exact};
use crate::rounding::{RoundingMode, settle};
use crate::run::{Charge, ChargeId, CostLine, CostLineKey, StatementLineId};
use crate::statement::Biller;
use schemas::decimal::{Amount, QuantityTotal, Sign};
use schemas::digest::Sha256Digest;
use schemas::id::{BillingAccountId, CustomerId, InvoiceId, ProviderId, SkuId, Subject};
use schemas::invoice::LineCategory;
use schemas::money::{Currency, Money};
use schemas::time::{BillingMonth, Instant, Period};
use std::collections::BTreeMap;
use std::sync::Arc;

macro_rules! case {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/", $path))
    };
}
pub(crate) use case;

/// A table of the case: its cells by the names of columns.
pub(crate) fn table(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(|row| row.expect("the case is a table")).collect()
}

/// A cell that may be empty.
fn some<'r>(row: &'r BTreeMap<String, String>, column: &str) -> Option<&'r str> {
    Some(row[column].as_str()).filter(|text| !text.is_empty())
}

pub(crate) fn at(text: &str) -> Instant {
    Instant::parse_rfc3339(text).expect("an instant")
}

pub(crate) fn amount(text: &str) -> Amount {
    Amount::parse(text, Sign::Any).expect("an amount")
}

pub(crate) fn quantity(text: &str) -> QuantityTotal {
    QuantityTotal::parse(text, Sign::Any).expect("a quantity")
}

/// The digits of an id of something.
fn digits(of: &str) -> String {
    Sha256Digest::of(of.as_bytes()).to_string()[..32].to_owned()
}

pub(crate) fn currency(code: &str) -> Currency {
    Currency::from_code(code).expect("a currency")
}

pub(crate) fn money(text: &str, code: &str) -> Money {
    settle(amount(text), currency(code), RoundingMode::HalfEven).expect("money")
}

pub(crate) fn customer(id: &str) -> CustomerId {
    CustomerId::new(id).expect("an id")
}

pub(crate) fn month(text: &str) -> BillingMonth {
    BillingMonth::parse(text).expect("a month")
}

/// The catalog of the month with what the case adds to it; what only other rooms read is left out.
pub(crate) fn catalog() -> Catalog {
    let files = [
        ("catalog.toml", case!("month/catalog/catalog.toml")),
        ("bindings.csv", case!("month/catalog/bindings.csv")),
        ("customers.toml", case!("month/catalog/customers.toml")),
        ("meters.toml", case!("close/catalog/meters.toml")),
        ("providers/lynx/provider.toml", case!("month/catalog/providers/lynx/provider.toml")),
        ("providers/lynx/prices.toml", case!("month/catalog/providers/lynx/prices.toml")),
        ("providers/nimbus/provider.toml", case!("month/catalog/providers/nimbus/provider.toml")),
        ("providers/nimbus/prices.toml", case!("month/catalog/providers/nimbus/prices.toml")),
        ("providers/stow/provider.toml", case!("month/catalog/providers/stow/provider.toml")),
        ("providers/stow/prices.toml", case!("month/catalog/providers/stow/prices.toml")),
        ("providers/vireo/provider.toml", case!("close/catalog/providers/vireo/provider.toml")),
        ("providers/vireo/prices.toml", case!("close/catalog/providers/vireo/prices.toml")),
        ("providers/otter/provider.toml", case!("close/catalog/providers/otter/provider.toml")),
        ("providers/otter/prices.toml", case!("close/catalog/providers/otter/prices.toml")),
        ("focus.toml", case!("close/catalog/focus.toml")),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    Catalog::load(&CatalogFiles::new(files.into())).expect("a catalog").0
}

/// What the month's tables do not have: the charges of inference, of names, and all of November, as
/// `provider,sku,start,end,amount; customer subject quantity; …`.
const MORE: [&str; 7] = [
    "vireo,VI-LARGE,2025-10-01T00:00:00Z,2025-11-01T00:00:00Z;acme projects/a1 1.234567891;birch projects/b1 0.000000003;cedar projects/c1 0.1",
    "vireo,VI-SMALL,2025-10-01T00:00:00Z,2025-11-01T00:00:00Z;acme projects/a2 0.75;birch projects/b1 0;cedar projects/c1 2.5",
    "otter,OT-DNS,2025-10-01T00:00:00Z,2025-11-01T00:00:00Z;acme;birch;cedar;dune;ops",
    "otter,OT-DNS,2025-11-01T00:00:00Z,2025-12-01T00:00:00Z;acme;birch;cedar;dune;ops",
    "lynx,LX-XC,2025-11-01T00:00:00Z,2025-12-01T00:00:00Z;acme;cedar",
    "nimbus,NB-SUPPORT,2025-10-31T23:00:00Z,2025-11-30T23:00:00Z;acme;birch;cedar;dune;ops",
    "nimbus,NB-STD,2025-10-31T23:00:00Z,2025-11-30T23:00:00Z;acme projects/a1 29;cedar projects/c1 5;dune projects/c1 5",
];

/// Every cost line, with its charges.
pub(crate) fn cost_lines(catalog: &Catalog) -> Vec<CostLine> {
    let charges = table(case!("month/expected/charges.csv"));
    let key = ["provider", "sku", "sub_account", "charge_period_start"];
    let mut lines = Vec::new();
    for row in table(case!("month/expected/cost_lines.csv")) {
        let of_line = charges.iter().filter(|charge| {
            key.iter().all(|column| match *column {
                // Charges do not name the account; under `direct` it is the customer.
                "sub_account" => row["sub_account"].is_empty() || charge["customer"] == row["sub_account"],
                column => charge[column] == row[column],
            })
        });
        let charges = of_line.map(|charge| {
            (
                some(charge, "customer"),
                some(charge, "subject"),
                some(charge, "quantity"),
                Some(&*charge["amount"]),
            )
        });
        let period = (&*row["charge_period_start"], &*row["charge_period_end"]);
        let names = (&*row["provider"], &*row["sku"], some(&row, "sub_account"));
        let mut line = cost_line(catalog, names, period, charges.collect());
        line.amount = amount(&row["amount"]);
        line.quantity = quantity(&row["quantity"]);
        // Only storage is converted by a factor that has no end.
        line.exact_quantity = match &*row["sku"] {
            "ST-HOT" => exact(line.amount) / exact(amount("0.023")),
            _ => exact(line.quantity),
        };
        lines.push(line);
    }
    for text in MORE {
        let (head, sharers) = text.split_once(';').expect("a line and its sharers");
        let [provider, sku, start, end] = head.split(',').collect::<Vec<_>>()[..] else { panic!("{head}") };
        let sharer = |text: &'static str| {
            let mut words = text.split(' ');
            (words.next(), words.next(), words.next(), None)
        };
        let charges: Vec<_> = sharers.split(';').map(sharer).collect();
        lines.push(cost_line(catalog, (provider, sku, None), (start, end), charges));
    }
    lines
}

/// Customer, subject, quantity and amount of a charge; without an amount, the quantity at the only
/// price, or an equal or weighed part.
type Sharer<'t> = (Option<&'t str>, Option<&'t str>, Option<&'t str>, Option<&'t str>);

fn cost_line(
    catalog: &Catalog,
    (provider, sku, sub_account): (&str, &str, Option<&str>),
    (start, end): (&str, &str),
    sharers: Vec<Sharer<'_>>,
) -> CostLine {
    let provider = &catalog.providers[&ProviderId::new(provider).expect("an id")];
    let sku: &Sku = provider.sku(&SkuId::new(sku).expect("an id")).expect("a SKU of the catalog");
    let start = at(start);
    let price = sku.price_at(start).expect("a price");
    let key = CostLineKey {
        provider: provider.id.clone(),
        billing_account: provider.billing_account.clone(),
        sub_account: sub_account.map(customer),
        sku: sku.id.clone(),
        charge_period: Period::new(start, at(end)).expect("a period"),
        price_from: price.from,
    };
    let unit_price = match &*sku.id.as_str().to_owned() {
        "NB-STD" => amount("0.1"),
        _ => amount("1"),
    };
    let flat = match sku.id.as_str() {
        "OT-DNS" => amount("12"),
        "LX-XC" => amount("100"),
        "NB-SUPPORT" => amount("99.99"),
        _ => Amount::ZERO,
    };
    let count = sharers.len();
    let charge = |(place, (of, subject, quantity_text, known)): (usize, Sharer<'_>)| {
        let used = quantity_text.map(quantity);
        let own = match known {
            Some(known) => amount(known),
            None => {
                let value = used.map_or_else(Exact::default, exact) * exact(unit_price);
                crate::rounding::amount(&value).expect("an amount")
            }
        };
        let weights = match &sku.allocation {
            Rule::Fixed { shares } => Some(Arc::new(shares.clone())),
            _ => None,
        };
        let because = match (&weights, of.map(customer)) {
            (Some(of), Some(own)) => Because::Weight { own: of[&own], of: Arc::clone(of) },
            _ if used.is_none() => Because::EqualPart { of: count },
            _ => Because::Usage {
                own: used.map_or_else(Exact::default, exact),
                of: Arc::new(Exact::default()),
            },
        };
        let kind = match of {
            None => Kind::Retained(RetainedReason::Unattributed),
            Some("ops") => Kind::Retained(RetainedReason::Internal),
            Some(_) => Kind::Charge,
        };
        Charge {
            id: ChargeId::parse(&digits(&format!("{key:?} {place}"))).expect("an id"),
            customer: of.map(customer),
            subject: subject.map(|subject| Subject::new(subject).expect("a subject")),
            kind,
            quantity: used,
            metered_quantity: None,
            because,
            standalone: None,
            amount: own,
        }
    };
    let charges: Vec<Charge> = sharers.into_iter().enumerate().map(charge).collect();
    let metered = sku.metered();
    let of_charges = |value: fn(&Charge) -> Exact| charges.iter().map(value).sum::<Exact>();
    let used = match metered {
        None => exact(amount("1")),
        Some(_) => of_charges(|charge| charge.quantity.map_or_else(Exact::default, exact)),
    };
    let total = match metered {
        None => flat,
        Some(_) => crate::rounding::amount(&of_charges(|charge| exact(charge.amount))).expect("an amount"),
    };
    CostLine {
        id: key.id(),
        currency: provider.currency,
        quantity: crate::rounding::quantity_total(&used).expect("a quantity"),
        exact_quantity: used,
        metered_quantity: None,
        unit: metered.map(|metered| metered.unit.to_string()),
        shared_in: None,
        steps: Vec::new(),
        amount: total,
        settled: settle(total, provider.currency, provider.rounding).expect("money"),
        model: price.terms.model.name(),
        rule: sku.allocation.clone(),
        charges,
        statement_lines: Vec::new(),
        key,
    }
}

/// The posted lines of a table of statement lines, or of corrections.
fn posted<'r>(text: &str, cost_lines: &'r [CostLine]) -> Vec<Posted<'r>> {
    let line = |(place, row): (usize, BTreeMap<String, String>)| {
        let (start, end) = (at(&row["charge_period_start"]), at(&row["charge_period_end"]));
        let entry = row.get("correction").map(|word| Entry::parse(word).expect("a correction"));
        let cost_line = cost_lines.iter().find(|line| {
            let key = &line.key;
            key.provider.as_str() == row["provider"]
                && key.sku.as_str() == row["sku"]
                && key.charge_period.start() == start
                && key.sub_account.as_ref().map_or("", CustomerId::as_str) == row["sub_account"]
        });
        Posted {
            id: StatementLineId::parse(&digits(&format!("{place} {row:?}"))).expect("an id"),
            biller: Biller::Operator,
            invoice: some(&row, "invoice").map(|id| InvoiceId::new(id).expect("an id")),
            provider: ProviderId::new(&*row["provider"]).expect("an id"),
            billing_account: BillingAccountId::new(&*row["billing_account"]).expect("an id"),
            sub_account: some(&row, "sub_account").map(Into::into),
            sku: some(&row, "sku").map(|id| SkuId::new(id).expect("an id")),
            start,
            end,
            category: LineCategory::parse(&row["category"]).expect("a category"),
            description: some(&row, "description").map(Into::into),
            customer: some(&row, "customer").map(customer),
            kind: match &*row["kind"] {
                "charge" => PostedKind::Charge,
                "retained" => PostedKind::Retained(row["retained_reason"].as_str().into()),
                other => panic!("{other}"),
            },
            amount: money(&row["amount"], &row["currency"]),
            billed: None,
            correction: entry.map(|entry| Correction { entry, corrects: None, month: month("2025-10") }),
            price_from: cost_line.filter(|line| !line.amount.is_negative()).map(|line| line.key.price_from),
            cost_line: cost_line.filter(|_| entry.is_none()),
        }
    };
    table(text).into_iter().enumerate().map(line).collect()
}

/// What the case says was posted in a month.
pub(crate) fn posted_in<'r>(of: &str, cost_lines: &'r [CostLine]) -> Vec<Posted<'r>> {
    match of {
        "2025-10" => posted(case!("close/expected/statement_lines.csv"), cost_lines),
        _ => {
            let mut lines = posted(case!("close/expected/statement_lines_november.csv"), cost_lines);
            lines.extend(posted(case!("close/expected/corrections.csv"), cost_lines));
            // Whatever order they come in.
            lines.reverse();
            lines
        }
    }
}
