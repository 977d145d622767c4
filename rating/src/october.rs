//! October's invoices beside October's ledger: every column of the contract's comparison, before the
//! close and after what November learns, and what small changes make of it.
//!
//! The ledger's side is taken from the expected rows themselves, which is deliberately no test of
//! rating.
//!
//! Invariant: the files are the contract's, and are not changed.

use crate::allocation::Rule;
use crate::catalog::{
    Catalog, CatalogFiles, Counts, InvoiceMap, InvoiceUnit, Invoicing, Meaning, Of, PassRule, Provider,
};
use crate::exact::{Exact, exact};
use crate::price::{PriceModel, Tier, Tiers};
use crate::reconcile::{
    Action, Class, Comparison, Decision, Given, Question, Row, Selector, Status, Verdict, apply, decide,
    decided, summaries, tell,
};
use crate::rounding::RoundingMode;
use crate::run::{CostLine, CostLineKey};
use crate::tables::{comparison_json, invoice_line_json};
use crate::units::Unit;
use num_traits::{One as _, Zero as _};
use schemas::decimal::{Amount, QuantityTotal, Sign, UnitPrice};
use schemas::id::{CustomerId, InvoiceId, ProviderId, SkuId};
use schemas::invoice::{Invoice, InvoiceLine, LineCategory, Standing};
use schemas::invoice_mapping::Mapping;
use schemas::money::{Currency, Money};
use schemas::time::{BillingMonth, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

const OCTOBER: &str = include_str!("../../tests/cases/close/expected/comparison.csv");
const OCTOBER_IN_NOVEMBER: &str = include_str!("../../tests/cases/close/expected/comparison_november.csv");
const LINES: &str = include_str!("../../tests/cases/close/expected/invoice_lines.csv");

macro_rules! files {
    ($($path:literal from $file:literal,)+) => {
        [$(($path, include_str!(concat!("../../tests/cases/", $file)))),+]
    };
}

fn catalog(in_november: bool) -> Catalog {
    let files = files! {
        "catalog.toml" from "month/catalog/catalog.toml",
        "customers.toml" from "month/catalog/customers.toml",
        "bindings.csv" from "month/catalog/bindings.csv",
        "meters.toml" from "close/catalog/meters.toml",
        "providers/lynx/provider.toml" from "month/catalog/providers/lynx/provider.toml",
        "providers/lynx/prices.toml" from "month/catalog/providers/lynx/prices.toml",
        "providers/nimbus/provider.toml" from "month/catalog/providers/nimbus/provider.toml",
        "providers/nimbus/prices.toml" from "month/catalog/providers/nimbus/prices.toml",
        "providers/stow/provider.toml" from "month/catalog/providers/stow/provider.toml",
        "providers/stow/prices.toml" from "month/catalog/providers/stow/prices.toml",
        "providers/otter/provider.toml" from "close/catalog/providers/otter/provider.toml",
        "providers/otter/prices.toml" from "close/catalog/providers/otter/prices.toml",
        "providers/vireo/provider.toml" from "close/catalog/providers/vireo/provider.toml",
        "providers/vireo/prices.toml" from "close/catalog/providers/vireo/prices.toml",
    };
    let later = files! {
        "providers/lynx/prices.toml" from "close/november/catalog/providers/lynx/prices.toml",
    };
    let later = later.into_iter().filter(|_| in_november);
    let texts = files.into_iter().chain(later).map(|(path, text)| (path.to_owned(), text.to_owned()));
    let (mut catalog, _) = match Catalog::load(&CatalogFiles::new(texts.collect())) {
        Ok(loaded) => loaded,
        Err(problems) => panic!("{problems:?}"),
    };
    for provider in catalog.providers.values_mut() {
        provider.invoicing = Some(invoicing(provider.id.as_str()));
    }
    catalog
}

/// What the contract's `invoice.toml` and `invoice_map.csv` of a provider say.
fn invoicing(provider: &str) -> Invoicing {
    let (units, pass, skus, accounts): (&[_], &[_], &[_], &[_]) = match provider {
        "lynx" => (
            &[("GB", 1, "GBy"), ("Tsd.", 1000, "1"), ("Std.", 1, "h"), ("Mon.", 1, "1")],
            &[(LineCategory::Tax, PassRule::ByCost)],
            &[
                ("TRANSIT/EU", "LX-EU"),
                ("TRANSIT/WELT", "LX-WORLD"),
                ("ANFRAGEN/", "LX-REQ"),
                ("PORT/", "LX-PORT"),
                ("QV/", "LX-XC"),
            ],
            &[("K-100", "acme"), ("K-200", "birch"), ("K-300", "cedar")],
        ),
        "nimbus" => (
            &[("Hours", 1, "h"), ("Months", 1, "mo")],
            &[(LineCategory::Tax, PassRule::ByCost), (LineCategory::Credit, PassRule::ByCost)],
            &[],
            &[],
        ),
        "stow" => (
            &[("GB-Mo", 1, "GiBy.mo")],
            &[],
            &[("TimedStorage-ByteHrs", "ST-HOT"), ("TimedStorage-Intro", "ST-COLD")],
            &[],
        ),
        "vireo" => (&[], &[], &[("large-2025-09", "VI-LARGE"), ("small-2025-09", "VI-SMALL")], &[]),
        "otter" => (&[("C62", 1, "1")], &[(LineCategory::Tax, PassRule::Even)], &[], &[]),
        other => panic!("{other} sends no invoices"),
    };
    let unit = |(name, factor, unit): &(&str, i64, &str)| {
        let factor = Exact::from_integer((*factor).into());
        (Box::from(*name), InvoiceUnit { factor, unit: Unit::parse(unit).expect("a unit") })
    };
    let from = instant("2025-07-01T00:00:00Z");
    let sku =
        |(text, id): &(&str, &str)| (Box::from(*text), vec![Meaning { from, until: None, id: sku(id) }]);
    let account = |(text, id): &(&str, &str)| {
        (Box::from(*text), vec![Meaning { from, until: None, id: CustomerId::new(*id).expect("a name") }])
    };
    Invoicing {
        mapping: Mapping::En16931,
        units: units.iter().map(unit).collect(),
        pass: pass.iter().copied().collect(),
        tolerance: None,
        map: InvoiceMap::new(skus.iter().map(sku).collect(), accounts.iter().map(account).collect()),
    }
}

type Record = BTreeMap<String, String>;

fn records(text: &str) -> Vec<Record> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(|record| record.expect("a record")).collect()
}

fn instant(text: &str) -> Instant {
    Instant::parse_rfc3339(text).expect("an instant")
}

fn month(text: &str) -> BillingMonth {
    BillingMonth::parse(text).expect("a month")
}

fn sku(text: &str) -> SkuId {
    SkuId::new(text).expect("a name")
}

fn provider(text: &str) -> ProviderId {
    ProviderId::new(text).expect("a name")
}

fn amount(text: &str) -> Amount {
    Amount::parse(text, Sign::Any).expect("an amount")
}

fn currency(text: &str) -> Currency {
    Currency::from_code(text).expect("a currency")
}

fn given<'r>(record: &'r Record, column: &str) -> Option<&'r str> {
    let value = record.get(column).unwrap_or_else(|| panic!("the file has no {column}"));
    (!value.is_empty()).then_some(value.as_str())
}

/// The cost lines that a comparison was made of.
fn cost_lines(records: &[Record], catalog: &Catalog) -> Vec<CostLine> {
    let of = |record: &Record| {
        let quantity = given(record, "ledger_quantity")?;
        let provider = &catalog.providers[&provider(&record["provider"])];
        let sku = provider.sku(&sku(&record["sku"])).expect("a SKU of the catalog");
        let start = instant(&record["charge_period_start"]);
        let price = sku.price_at(start).expect("a price in force");
        let key = CostLineKey {
            provider: provider.id.clone(),
            billing_account: provider.billing_account.clone(),
            sub_account: given(record, "sub_account").map(|id| CustomerId::new(id).expect("a name")),
            sku: sku.id.clone(),
            charge_period: Period::new(start, instant(&record["charge_period_end"])).expect("a period"),
            price_from: price.from,
        };
        let cents = exact(amount(&record["ledger_settled"])) * Exact::from_integer(100.into());
        Some(CostLine {
            id: key.id(),
            key,
            currency: provider.currency,
            quantity: QuantityTotal::parse(quantity, Sign::NonNegative).expect("a quantity"),
            exact_quantity: exact(QuantityTotal::parse(quantity, Sign::NonNegative).expect("a quantity")),
            metered_quantity: None,
            unit: None,
            shared_in: None,
            steps: Vec::new(),
            amount: amount(&record["ledger_amount"]),
            settled: Money {
                minor_units: i128::try_from(cents.to_integer()).expect("cents"),
                currency: provider.currency,
            },
            model: price.terms.model.name(),
            rule: sku.allocation.clone(),
            charges: Vec::new(),
            statement_lines: Vec::new(),
        })
    };
    records.iter().filter_map(of).collect()
}

/// The invoices of the contract, in the order in which they are imported.
fn invoices() -> Vec<Invoice> {
    let mut invoices: Vec<Invoice> = Vec::new();
    for record in records(LINES) {
        let id = InvoiceId::new(record["invoice"].as_str()).expect("a name");
        let version = record["version"].parse().expect("a version");
        if invoices.last().is_none_or(|last| (&last.id, last.version) != (&id, version)) {
            invoices.push(Invoice {
                provider: provider(&record["provider"]),
                id,
                version,
                period: month(&record["period"]),
                standing: Standing::Complete,
                totals: BTreeMap::new(),
                lines: Vec::new(),
            });
        }
        let text = |column| given(&record, column).map(Into::into);
        invoices.last_mut().expect("it was just added").lines.push(InvoiceLine {
            line: record["line"].parse().expect("a line"),
            line_id: text("line_id"),
            billing_account: text("billing_account"),
            sub_account: text("sub_account"),
            sku_text: text("sku_text"),
            description: text("description"),
            category: LineCategory::parse(&record["category"]).expect("a category"),
            start: instant(&record["charge_period_start"]),
            end: instant(&record["charge_period_end"]),
            quantity: given(&record, "quantity").map(amount),
            unit: text("unit"),
            unit_price: given(&record, "unit_price").map(amount),
            amount: amount(&record["amount"]),
            currency: currency(&record["currency"]),
            repeats: given(&record, "repeats").map(|line| line.parse().expect("a line")),
        });
    }
    invoices
}

/// A JSON object of a table as a record of its CSV file.
fn as_record(json: serde_json::Map<String, serde_json::Value>) -> Record {
    let text = |value| match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    json.into_iter().map(|(column, value)| (column, text(value))).collect()
}

/// A month, its ledger and its invoices, to be changed.
struct World {
    catalog: Catalog,
    cost_lines: Vec<CostLine>,
    invoices: Vec<Invoice>,
    closed: BTreeSet<BillingMonth>,
    answers: BTreeMap<Question, Exact>,
}

impl World {
    /// As it is before October is closed.
    fn october() -> Self {
        let catalog = catalog(false);
        let cost_lines = cost_lines(&records(OCTOBER), &catalog);
        let is_here = |invoice: &Invoice| {
            let early = ["NB-2025-0815", "ST-10-77", "LX-2510", "VI-77"];
            early.contains(&invoice.id.as_str()) && invoice.version == 1
        };
        let invoices = invoices().into_iter().filter(is_here).collect();
        Self { catalog, cost_lines, invoices, closed: BTreeSet::new(), answers: stored_early() }
    }

    /// October, once November has brought its invoices.
    fn november() -> Self {
        let catalog = catalog(true);
        let cost_lines = cost_lines(&records(OCTOBER_IN_NOVEMBER), &catalog);
        let closed = BTreeSet::from([month("2025-10")]);
        Self { catalog, cost_lines, invoices: invoices(), closed, answers: stored_early() }
    }

    fn of(&self, month: BillingMonth) -> Comparison<'_> {
        let (cost_lines, invoices) = (self.cost_lines.as_slice(), self.invoices.as_slice());
        let given = Given { month, cost_lines, catalog: &self.catalog, invoices, closed: &self.closed };
        Comparison::of(given).expect("a comparison")
    }

    fn rows(&self) -> Vec<Row> {
        self.of(month("2025-10")).rows(&self.answers)
    }

    /// The rows of a SKU.
    fn of_sku(&self, id: &str) -> Vec<Row> {
        self.rows().into_iter().filter(|row| row.sku.as_ref() == Some(&sku(id))).collect()
    }

    /// A line of an invoice by its number.
    fn line(&mut self, invoice: &str, line: usize) -> &mut InvoiceLine {
        let mut found = self.invoices.iter_mut().rev().filter(|known| known.id.as_str() == invoice);
        &mut found.next().expect("an invoice").lines[line - 1]
    }

    fn cost_line(&mut self, id: &str) -> &mut CostLine {
        self.cost_lines.iter_mut().find(|line| line.key.sku == sku(id)).expect("a cost line")
    }
}

/// What the ledger has of hot storage within the first ten days: what the invoice says.
fn stored_early() -> BTreeMap<Question, Exact> {
    let within = Period::new(instant("2025-10-01T00:00:00Z"), instant("2025-10-11T00:00:00Z"));
    let october = Period::new(instant("2025-10-01T00:00:00Z"), instant("2025-11-01T00:00:00Z"));
    let question = Question {
        provider: provider("stow"),
        sku: sku("ST-HOT"),
        sub_account: None,
        within: within.expect("a period"),
        billing_period: october.expect("a period"),
    };
    BTreeMap::from([(question, exact(amount("3539.5068493151")))])
}

#[track_caller]
fn check(rows: &[Row], expected: &str) {
    let found: Vec<Record> =
        rows.iter().map(|row| as_record(comparison_json(row).expect("numbers that fit"))).collect();
    let expected = records(expected);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

/// What the operator says before the close.
fn october_decisions(world: &World) -> Vec<Decision> {
    let at = instant("2025-11-03T09:00:00Z");
    let mut rows = world.rows();
    let mut decisions: Vec<Decision> = Vec::new();
    let mut say = |action, provider: &str, class, reason: &str| {
        let on = selector(provider, class);
        let said = decide(&rows, &world.invoices, action, on, (reason, "mira", at));
        decisions.push(said.expect("an open row"));
        apply(&mut rows, &world.invoices, &decisions);
    };
    for class in [Class::Price, Class::Quantity, Class::Duplicate] {
        say(Action::Dispute, "nimbus", Some(class), "2.20 since 15 October");
    }
    for provider in ["nimbus", "lynx", "stow", "vireo"] {
        say(Action::Accept, provider, None, "as agreed");
    }
    decisions
}

fn selector(of: &str, class: Option<Class>) -> Selector {
    Selector {
        provider: provider(of),
        period: month("2025-10"),
        sku: None,
        sub_account: None,
        class,
        text: None,
    }
}

#[test]
fn october_is_compared_to_the_last_column() {
    let world = World::october();
    check(&world.rows(), OCTOBER);
    let comparison = world.of(month("2025-10"));
    let asked: Vec<_> =
        comparison.questions().iter().map(|asked| (asked.sku.as_str(), asked.within)).collect();
    let within = |from, until| Period::new(instant(from), instant(until)).expect("a period");
    let stored = within("2025-10-01T00:00:00Z", "2025-10-11T00:00:00Z");
    let answered = within("2025-10-11T00:00:00Z", "2025-10-13T00:00:00Z");
    assert_eq!(asked, [("ST-HOT", stored), ("VI-SMALL", answered)], "whose lines cover a part of the month");
}

#[test]
fn what_november_learns_opens_four_rows_again() {
    let world = World::november();
    let mut rows = world.rows();
    apply(&mut rows, &world.invoices, &october_decisions(&World::october()));
    check(&rows, OCTOBER_IN_NOVEMBER);
}

#[test]
fn lines_are_shown_as_they_were_read() {
    let invoices = invoices();
    let of = |invoice: &Invoice| -> Vec<Record> {
        invoice.lines.iter().map(|line| as_record(invoice_line_json(invoice, line))).collect()
    };
    assert_eq!(invoices.iter().flat_map(of).collect::<Vec<_>>(), records(LINES));
}

#[test]
fn a_part_of_the_time_is_no_quantity() {
    let mut world = World::october();
    let class = |world: &World| world.of_sku("ST-HOT")[0].class;
    assert_eq!(class(&world), Some(Class::Timing));
    for answer in world.answers.values_mut() {
        *answer *= Exact::from_integer(2.into());
    }
    assert_eq!(class(&world), Some(Class::Quantity), "the ledger has something else within these dates");
    world.answers.clear();
    assert_eq!(class(&world), Some(Class::Quantity), "nobody said what it has");
}

#[test]
fn a_line_over_two_prices_makes_one_row_of_them() {
    let mut world = World::october();
    world.line("NB-2025-0815", 5).start = instant("2025-10-14T00:00:00Z");
    let rows = world.of_sku("NB-GPU");
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.cost_lines.len(), row.lines.len(), row.verdict), (2, 2, Verdict::Variance));
    assert_eq!(row.class, Some(Class::Price), "the sum of both quantities is the invoice's");
    assert_eq!(row.start, instant("2025-09-30T22:00:00Z"), "the month of use");
}

#[test]
fn a_line_without_a_sub_account_makes_one_row_of_all() {
    let mut world = World::october();
    world.line("LX-2510", 5).sub_account = None;
    let rows = world.of_sku("LX-PORT");
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].sub_account.as_ref(), rows[0].cost_lines.len()), (None, 2));
}

#[test]
fn cost_lines_that_share_a_price_are_not_told_apart_by_prices() {
    let mut world = World::october();
    let nimbus = world.catalog.providers.get_mut(&provider("nimbus")).expect("a provider");
    nimbus.skus.iter_mut().find(|known| known.id == sku("NB-GPU")).expect("a SKU").allocation = Rule::Direct;
    assert_eq!(world.of_sku("NB-GPU").len(), 2, "one row for each price");
    let mut other = world.cost_lines.iter().rfind(|line| line.key.sku == sku("NB-GPU")).cloned();
    let other = other.as_mut().expect("a cost line");
    other.key.sub_account = Some(CustomerId::new("acme").expect("a name"));
    world.cost_lines.push(other.clone());
    let rows = world.of_sku("NB-GPU");
    assert_eq!(rows.iter().map(|row| row.cost_lines.len()).collect::<Vec<_>>(), [3]);
}

#[test]
fn what_no_mapping_covers_is_a_row_of_its_own() {
    let mut world = World::october();
    world.line("LX-2510", 5).sub_account = Some("K-999".into());
    world.line("LX-2510", 2).billing_account = Some("LX-10".into());
    let rows = world.rows();
    let unmapped =
        rows.iter().filter(|row| row.provider == provider("lynx") && row.class == Some(Class::Unmapped));
    let texts: Vec<_> =
        unmapped.map(|row| (row.invoice_text.as_deref(), row.sub_account.as_deref())).collect();
    assert_eq!(texts, [(Some("TRANSIT/WELT"), None), (Some("PORT/"), Some("K-999"))]);
}

#[test]
fn a_text_that_costs_what_is_missing_may_mean_it() {
    let mut world = World::october();
    let hint = |world: &World| {
        let rows = world.rows();
        let row = rows.iter().find(|row| row.invoice_text.as_deref() == Some("NB-ARM")).expect("the row");
        as_record(comparison_json(row).expect("numbers that fit"))["hint"].clone()
    };
    assert_eq!(hint(&world), "");
    world.invoices[0].lines.retain(|line| line.sku_text.as_deref() != Some("NB-OTHER"));
    assert_eq!(hint(&world), "", "what is missing costs 0.099");
    world.line("NB-2025-0815", 8).amount = amount("0.10");
    assert_eq!(hint(&world), "map NB-OTHER");
}

#[test]
fn each_quantity_is_read_in_its_own_unit() {
    let mut world = World::october();
    let quantity = |world: &World| world.of_sku("ST-COLD")[0].invoice_quantity.clone();
    let line = world.line("ST-10-77", 3);
    (line.quantity, line.unit) = (Some(amount("730")), Some("GiBy.h".into()));
    assert_eq!(quantity(&world), Some(Exact::one()), "a month has 730 hours here");
    world.line("ST-10-77", 3).unit = None;
    assert_eq!(quantity(&world), Some(exact(amount("730"))), "it is in the SKU's unit");
    world.line("ST-10-77", 3).unit = Some("GB-Months".into());
    assert_eq!(quantity(&world), None, "the unit is not known");
    world.line("ST-10-77", 3).quantity = None;
    assert_eq!(quantity(&world), None, "there is none");
}

#[test]
fn a_ratio_of_units_is_told() {
    for (quantity, hint) in [
        ("3000", "factor 1000"),
        ("3000.002", "factor 1000"),
        ("3000.01", ""),
        ("0.003", "factor 0.001"),
        ("3.221225472", "factor 1.073741824"),
        ("24", "factor 8"),
        ("180", "factor 60"),
        ("6", ""),
        ("0", ""),
    ] {
        let mut world = World::october();
        world.line("NB-2025-0815", 6).quantity = Some(amount(quantity));
        let rows = world.of_sku("NB-OTHER");
        let row = as_record(comparison_json(&rows[0]).expect("numbers that fit"));
        assert_eq!(row["hint"], hint, "{quantity}");
    }
}

#[test]
fn a_price_counts_on_from_what_earlier_ones_counted() {
    let mut world = World::october();
    let nimbus = world.catalog.providers.get_mut(&provider("nimbus")).expect("a provider");
    let gpu = nimbus.skus.iter_mut().find(|known| known.id == sku("NB-GPU")).expect("a SKU");
    let tier = |up_to: Option<&str>, unit_price: &str| Tier {
        up_to: up_to.map(|up_to| QuantityTotal::parse(up_to, Sign::Any).expect("a bound")),
        unit_price: UnitPrice::parse(unit_price, Sign::Any).expect("a price"),
        flat: None,
    };
    let tiers = Tiers::new(vec![tier(Some("12"), "1"), tier(None, "2")]).expect("tiers");
    gpu.prices[1].terms.model = PriceModel::Graduated(tiers);
    // 10.333333333 hours came before, so that 1.666666667 are left of the first tier.
    world.cost_lines.iter_mut().rev().find(|line| line.key.sku == sku("NB-GPU")).expect("a line").amount =
        amount("20.333333335");
    world.line("NB-2025-0815", 5).amount = amount("21.333333335");
    let rows = world.of_sku("NB-GPU");
    let variances = (&rows[1].quantity_variance, &rows[1].price_variance);
    assert_eq!(variances, (&Some(exact(amount("0"))), &Some(Exact::one())));
}

#[test]
fn the_tolerance_is_what_rounding_may_come_to() {
    let mut world = World::october();
    let tolerance = |world: &World| world.of_sku("ST-HOT")[0].tolerance.clone();
    assert_eq!(tolerance(&world), exact(amount("0.01")), "two lines, half a cent each");
    let stow = |world: &mut World, change: fn(&mut Provider)| {
        change(world.catalog.providers.get_mut(&provider("stow")).expect("a provider"));
    };
    stow(&mut world, |stow| stow.rounding = RoundingMode::Up);
    assert_eq!(tolerance(&world), exact(amount("0.02")), "two lines, a cent each");
    stow(&mut world, |stow| {
        stow.invoicing.as_mut().expect("it has one").tolerance = Some(Exact::one());
    });
    assert_eq!(tolerance(&world), Exact::one());
}

#[test]
fn a_credit_belongs_to_the_sku_that_is_priced_by_lines() {
    let mut world = World::october();
    world.line("NB-2025-0815", 10).sku_text = Some("NB-OTHER".into());
    let lines = |world: &World| world.of_sku("NB-OTHER")[0].lines.len();
    assert_eq!(lines(&world), 1, "a credit of a SKU that usage prices stands alone");
    let nimbus = world.catalog.providers.get_mut(&provider("nimbus")).expect("a provider");
    let other = nimbus.skus.iter_mut().find(|known| known.id == sku("NB-OTHER")).expect("a SKU");
    let of = Of { of: BTreeSet::new(), except: BTreeSet::new(), skus: BTreeSet::new() };
    other.counts = Counts::Lines(of);
    assert_eq!(lines(&world), 2);
    assert_eq!(world.of_sku("NB-OTHER")[0].class, Some(Class::Amount), "its price asks for no quantity");
}

#[test]
fn a_partial_invoice_is_awaited_on() {
    let mut world = World::october();
    let class = |world: &World| world.of_sku("LX-PORT")[1].class;
    assert_eq!(class(&world), Some(Class::MissingOnInvoice));
    for invoice in &mut world.invoices {
        invoice.standing = Standing::Partial;
    }
    assert_eq!(class(&world), Some(Class::Awaited));
}

#[test]
fn another_currency_stands_beside_the_providers_own() {
    let mut world = World::october();
    world.line("ST-10-77", 2).currency = currency("USD");
    let rows = world.of_sku("ST-HOT");
    let found: Vec<_> =
        rows.iter().map(|row| (row.currency.code(), row.cost_lines.len(), row.class)).collect();
    let quantity = Some(Class::QuantityAndPrice);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].0, "EUR");
    assert_eq!(found[0].1, 1, "the ledger stands with the provider's currency");
    assert!(found[0].2 != quantity, "{found:?}");
    assert_eq!(found[1], ("USD", 0, Some(Class::Currency)));
}

#[test]
fn the_operator_sends_itself_no_invoice() {
    let mut world = World::october();
    world.catalog.operator = "otter".to_owned();
    assert_eq!(world.of_sku("OT-DNS").len(), 0);
}

#[test]
fn a_provider_that_nobody_knows_is_told() {
    let mut world = World::october();
    world.catalog.providers.remove(&provider("vireo"));
    let given = Given {
        month: month("2025-10"),
        cost_lines: &[],
        catalog: &world.catalog,
        invoices: &world.invoices,
        closed: &world.closed,
    };
    let error = Comparison::of(given).err().expect("an error").to_string();
    assert!(error.starts_with("the invoice VI-77 is of the provider vireo"), "{error}");
}

#[test]
fn a_decision_lapses_with_its_figures() {
    let decisions = october_decisions(&World::october());
    let status = |world: &World, id: &str| {
        let mut rows = world.rows();
        apply(&mut rows, &world.invoices, &decisions);
        rows.iter().find(|row| row.sku == Some(sku(id))).expect("the row").status
    };
    let mut world = World::october();
    assert_eq!(status(&world, "LX-EU"), Some(Status::Accepted));
    world.line("LX-2510", 1).line = 77;
    world.line("LX-2510", 1).unit_price = Some(amount("1.02"));
    assert_eq!(status(&world, "LX-EU"), Some(Status::Accepted), "neither is among the figures");
    let changes: [fn(&mut World); 6] = [
        |world| world.line("LX-2510", 1).amount = amount("1.03"),
        |world| world.line("LX-2510", 1).quantity = Some(amount("77")),
        |world| world.line("LX-2510", 1).description = None,
        |world| world.invoices[2].id = InvoiceId::new("LX-2511").expect("a name"),
        |world| world.cost_line("LX-EU").amount = amount("0.03"),
        |world| world.cost_line("LX-EU").exact_quantity = Exact::from_integer(0.into()),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let mut world = World::october();
        change(&mut world);
        assert_eq!(status(&world, "LX-EU"), Some(Status::Open), "change {place}");
    }
}

#[test]
fn rows_that_are_the_same_are_decided_one_by_one() {
    let mut world = World::october();
    let tax = world.invoices[1].lines[5].clone();
    let status = |world: &World, decisions: &[Decision]| -> Vec<Option<Status>> {
        let mut rows = world.rows();
        apply(&mut rows, &world.invoices, decisions);
        let taxes = rows.iter().filter(|row| row.invoice_text.as_deref() == Some("Tax of type VAT"));
        taxes.map(|row| row.status).collect()
    };
    let decisions = october_decisions(&world);
    assert_eq!(status(&world, &decisions), [Some(Status::Accepted)]);
    world.invoices[1].lines.push(InvoiceLine { line: 7, ..tax });
    assert_eq!(status(&world, &decisions), [Some(Status::Accepted), Some(Status::Open)]);
}

#[test]
fn a_command_is_about_the_rows_that_fit() {
    let world = World::october();
    let mut rows = world.rows();
    let at = instant("2025-11-03T09:00:00Z");
    let about = |rows: &[Row], action, on| {
        decide(rows, &world.invoices, action, on, ("why", "mira", at)).map_or(0, |said| said.about.len())
    };
    let lynx = || selector("lynx", None);
    assert_eq!(about(&rows, Action::Accept, lynx()), 7);
    assert_eq!(about(&rows, Action::Accept, Selector { sku: Some("".into()), ..lynx() }), 1);
    assert_eq!(about(&rows, Action::Accept, Selector { text: Some("".into()), ..lynx() }), 6);
    assert_eq!(about(&rows, Action::Accept, Selector { sub_account: Some("birch".into()), ..lynx() }), 1);
    assert_eq!(about(&rows, Action::Accept, Selector { period: month("2025-11"), ..lynx() }), 0);
    assert_eq!(about(&rows, Action::Accept, selector("otter", None)), 0, "what is awaited is not decided");
    assert_eq!(about(&rows, Action::Reopen, lynx()), 0, "nothing is decided");
    let mut said = Vec::new();
    for (action, open) in
        [(Action::Explain, 7), (Action::Dispute, 0), (Action::Reopen, 7), (Action::Accept, 0)]
    {
        said.push(
            decide(&rows, &world.invoices, action, lynx(), ("why", "mira", at)).expect("rows that fit"),
        );
        rows = world.rows();
        apply(&mut rows, &world.invoices, &said);
        let is_open = |row: &&Row| row.provider == provider("lynx") && row.status == Some(Status::Open);
        assert_eq!(rows.iter().filter(is_open).count(), open, "after {action}");
    }
    let of_row = decided(&rows, &world.invoices, &said);
    assert_eq!(of_row.iter().filter(|decisions| decisions.len() == 4).count(), 7);
}

#[test]
fn a_decision_is_read_back_as_it_was_written() {
    for decision in october_decisions(&World::october()) {
        assert_eq!(Decision::from_json(&decision.to_json()), Ok(decision));
    }
    let texts = Selector { text: Some("".into()), sku: Some("a".into()), ..selector("nimbus", None) };
    let decision = Decision {
        action: Action::Explain,
        on: texts,
        reason: "why".into(),
        by: "mira".into(),
        at: instant("2025-11-03T09:00:00Z"),
        about: BTreeSet::new(),
    };
    let json = r#"{"action":"explain","provider":"nimbus","period":"2025-10","sku":"a","text":"","reason":"why","by":"mira","at":"2025-11-03T09:00:00Z","rows":[]}"#;
    assert_eq!(String::from_utf8(decision.to_json()).expect("text"), json);
    assert_eq!(Decision::from_json(json.as_bytes()), Ok(decision));
    let wrong = json.replace("explain", "sign");
    assert_eq!(Decision::from_json(wrong.as_bytes()), Err("sign is no action".to_owned()));
}

#[test]
fn rows_come_to_what_the_invoices_say() {
    let world = World::october();
    let rows = world.rows();
    let summaries = summaries(&rows).expect("sums that fit");
    for invoice in &world.invoices {
        for code in ["EUR", "USD"] {
            let of_currency = invoice.lines.iter().filter(|line| line.currency == currency(code));
            let sum: Exact = of_currency.map(|line| exact(line.amount)).sum();
            let Some(summary) = summaries.get(&(&invoice.provider, currency(code))) else {
                assert!(sum.is_zero(), "{} {code}", invoice.id);
                continue;
            };
            assert_eq!(exact(summary.invoiced), sum);
            let of_classes = summary.classes.values().map(|class| exact(class.invoiced));
            assert_eq!(exact(summary.matched) + of_classes.sum::<Exact>(), sum);
        }
    }
    let (nimbus, stow) = (provider("nimbus"), provider("stow"));
    let nimbus = &summaries[&(&nimbus, currency("EUR"))];
    assert_eq!(nimbus.matched, amount("73.9633333325"), "standard hours and the first GPU hours");
    let duplicate = &nimbus.classes[&Class::Duplicate];
    assert_eq!((duplicate.rows, &duplicate.variance), (1, &exact(amount("99.99"))));
    let stow = &summaries[&(&stow, currency("USD"))];
    assert!(stow.classes[&Class::Currency].variance.is_zero(), "there is no number");
}

#[test]
fn rows_are_told_in_sentences() {
    let rows = World::october().rows();
    let told: Vec<String> = rows
        .iter()
        .filter(|row| row.class.is_some())
        .map(tell)
        .map(|told| {
            let more = [told.hint, told.command].into_iter().flatten();
            [format!("{}: {}", told.name, told.what)].into_iter().chain(more).collect::<Vec<_>>().join("\n  ")
        })
        .collect();
    let expected = include_str!("../../tests/cases/reconcile/sentences.txt");
    assert_eq!(told.join("\n"), expected.trim_end());
}
