//! The report of the demo: what came in and where each record went, who bears which cost, and
//! whether it adds up.
//!
//! A function of its arguments. Sums are made anew from the run's lines rather than taken from its
//! totals, because this is a check.
//!
//! Invariant: no line is wider than 100 columns, except the commands at the end, which are one line
//! each so that they can be pasted.

use super::expected::{Expected, MALFORMED};
use super::figures::{BAD, GOOD, grouped, mark, money, plus, section};
use super::month_end::{Figure, MonthEnd};
use crate::show::{Align, Answer, Verdict, table};
use ingest::pipeline::Summary;
use rating::catalog::{Catalog, Provider};
use rating::run::{ChargeId, CostLine, Run, StatementLine};
use rating::statement::LineKind;
use rating::tables::Manifest;
use schemas::decimal::{Amount, QuantityTotal};
use schemas::id::CustomerId;
use schemas::money::Money;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Everything there is to tell.
pub struct Outcome<'a> {
    pub expected: &'a Expected,
    pub ingested: &'a Summary,
    pub run: &'a Run,
    pub manifest: &'a Manifest,
    pub catalog: &'a Catalog,
    pub folder: &'a Path,
    pub run_folder: &'a Path,
    pub origin: &'a Origin,
    pub month_end: &'a MonthEnd,
}

/// How the events came.
pub enum Origin {
    Files(PathBuf),
    Topic { brokers: String, topic: String },
}

pub struct Report {
    text: String,
    json: serde_json::Value,
    verdict: Verdict,
}

impl Answer for Report {
    fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(self.json.clone())
    }

    fn text(&self) -> String {
        self.text.clone()
    }

    fn verdict(&self) -> Verdict {
        self.verdict
    }
}

/// # Errors
/// When a sum does not fit.
pub fn report(outcome: &Outcome<'_>) -> anyhow::Result<Report> {
    let records = records(outcome)?;
    let conservation = outcome
        .catalog
        .providers
        .values()
        .map(|provider| Conservation::of(provider, outcome.run))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let agrees = records.iter().all(Check::agrees)
        && conservation.iter().all(|one| one.exact() && one.settled())
        && outcome.month_end.figures.iter().all(Figure::agrees);
    let verdict = if agrees { Verdict::Fine } else { Verdict::Discrepancy };
    let sections = [
        format!("{}, October 2025, billed at cost\n", outcome.catalog.name),
        section("What came in, and where each record went", &records_text(&records, outcome.expected)),
        section("What the providers will bill", &costs_text(outcome.run)),
        section("Who bears it, in statement lines", &bearers_text(outcome)?),
        section("Nothing is added and nothing is lost", &conservation_text(&conservation)),
        section("Not rated: no price list covers it", &unrated_text(outcome.run)),
        section("Three invoices, the close, and what November learns", &month_end_text(outcome.month_end)),
        match verdict {
            Verdict::Fine => {
                format!("Everything that was put in has been found, and everything adds up. {GOOD}\n")
            }
            Verdict::Discrepancy => format!("Something does not agree: look for {BAD} above.\n"),
        },
        section("Where it is", &places_text(outcome)),
        section("What to try", &commands_text(outcome)),
    ];
    Ok(Report { text: sections.join("\n"), json: json(outcome, &records, &conservation, verdict), verdict })
}

/// Something the generator knows, and what was found of it. `None`: nothing in the ledger or the
/// run says it of a record.
struct Check {
    name: String,
    put_in: u64,
    found: Option<u64>,
}

impl Check {
    fn new(name: impl Into<String>, put_in: u64, found: u64) -> Self {
        Self { name: name.into(), put_in, found: Some(found) }
    }

    fn told(name: &str, put_in: u64) -> Self {
        Self { name: name.to_owned(), put_in, found: None }
    }

    fn agrees(&self) -> bool {
        self.found.is_none_or(|found| found == self.put_in)
    }
}

fn records(outcome: &Outcome<'_>) -> anyhow::Result<Vec<Check>> {
    let Outcome { expected, ingested, run, manifest, .. } = outcome;
    let mut checks = vec![
        Check::new("received", expected.records, manifest.received),
        Check::new("  usage", expected.usage(), manifest.usage),
        Check::new("    the same event again: counts once", expected.duplicates, manifest.duplicates),
        Check::new(
            "    the same id, other content: the first counts",
            expected.conflicts,
            manifest.conflicts,
        ),
        Check::told("    late, after all others: counts like any other", expected.late),
        Check::told("    a microsecond before a month, price or payer changes", expected.eve),
        Check::told("    of the month before or after: kept, not of October", expected.other_month),
        Check::told("    of a project nobody is bound to: retained", expected.unknown_project),
    ];
    let mut unrated: BTreeMap<_, (u64, u64)> =
        expected.unrated.iter().map(|(reason, events)| (*reason, (*events, 0))).collect();
    for found in &run.unrated {
        unrated.entry(found.key.reason).or_default().1 += found.events;
    }
    checks.extend(unrated.into_iter().map(|(reason, (put_in, found))| {
        Check::new(format!("    not rated: {}", reason.as_str()), put_in, found)
    }));
    checks.push(Check::new(
        "  rejected, each with its bytes and the reason",
        expected.rejected_total(),
        manifest.rejected,
    ));
    for (reason, what) in MALFORMED {
        let count = |counts: &BTreeMap<_, u64>| counts.get(&reason).copied().unwrap_or_default();
        checks.push(Check::new(
            format!("    {reason}: {what}"),
            count(&expected.rejected),
            count(&ingested.rejected_by_reason),
        ));
    }
    checks.push(Check::new("gaps", 0, manifest.gaps));

    let differing = differing_quantities(expected, run)?;
    let known = expected.quantities.len() as u64;
    checks.push(Check::new(
        "quantities, by SKU and customer",
        known,
        known.saturating_sub(differing.len() as u64),
    ));
    checks.extend(differing.into_iter().map(|name| Check::new(name, 1, 0)));
    Ok(checks)
}

/// A line for each SKU and customer whose quantity is not what was put in.
fn differing_quantities(expected: &Expected, run: &Run) -> anyhow::Result<Vec<String>> {
    let put_in: BTreeMap<_, _> = expected
        .quantities
        .iter()
        .map(|((sku, customer), quantity)| (((*sku).to_owned(), customer.map(str::to_owned)), *quantity))
        .collect();
    let found = quantities(run)?;
    let keys: BTreeSet<_> = put_in.keys().chain(found.keys()).collect();
    let line = |(sku, customer): &(String, Option<String>),
                put_in: Option<&QuantityTotal>,
                found: Option<&QuantityTotal>| {
        let shown = |quantity: Option<&QuantityTotal>| {
            quantity.map_or_else(|| "nothing".to_owned(), |quantity| grouped(&quantity.to_string()))
        };
        format!(
            "  {sku} {}: {} put in, {} found",
            customer.as_deref().unwrap_or("of nobody"),
            shown(put_in),
            shown(found)
        )
    };
    Ok(keys
        .into_iter()
        .map(|key| (key, put_in.get(key), found.get(key)))
        .filter(|(_, put_in, found)| put_in != found)
        .map(|(key, put_in, found)| line(key, put_in, found))
        .collect())
}

/// The quantity of each SKU and customer, in the meter's unit.
fn quantities(run: &Run) -> anyhow::Result<BTreeMap<(String, Option<String>), QuantityTotal>> {
    let mut quantities = BTreeMap::new();
    for line in &run.cost_lines {
        for charge in &line.charges {
            let Some(quantity) = charge.metered_quantity else { continue };
            let key = (line.key.sku.to_string(), charge.customer.as_ref().map(ToString::to_string));
            let sum = quantities.entry(key).or_insert(QuantityTotal::ZERO);
            *sum = sum.checked_add(quantity)?;
        }
    }
    Ok(quantities)
}

fn records_text(checks: &[Check], expected: &Expected) -> String {
    let row = |check: &Check| {
        let (found, sign) = check.found.map_or_else(
            || (String::new(), "·".to_owned()),
            |found| (grouped(&found.to_string()), mark(check.agrees())),
        );
        vec![check.name.clone(), grouped(&check.put_in.to_string()), found, sign]
    };
    let rows: Vec<_> = checks.iter().map(row).collect();
    let mut text = table(
        &[("records", Align::Left), ("put in", Align::Right), ("found", Align::Right), ("", Align::Left)],
        &rows,
    );
    text.push_str(&format!(
        "\n  · No record says this of itself. That they were treated right shows in the {} quantities,\n    which the generator has counted for itself.\n",
        expected.quantities.len()
    ));
    text
}

fn costs_text(run: &Run) -> String {
    let rows: Vec<_> = run.cost_lines.iter().map(cost_row).collect();
    let currencies: BTreeSet<String> = run.cost_lines.iter().map(|line| line.currency.to_string()).collect();
    let amount = format!("amount, {}", currencies.into_iter().collect::<Vec<_>>().join(" or "));
    let columns = [
        ("cost line", Align::Left),
        ("shared", Align::Left),
        ("quantity", Align::Right),
        ("unit", Align::Left),
        (&*amount, Align::Right),
        ("settled", Align::Right),
    ];
    table(&columns, &rows)
}

fn cost_row(line: &CostLine) -> Vec<String> {
    let mut name = line.key.sku.to_string();
    if let Some(customer) = &line.key.sub_account {
        name = format!("{name} {customer}");
    }
    if line.key.price_from == line.key.charge_period.start() {
        name.push_str(", new price");
    }
    vec![
        name,
        line.rule.as_str().to_owned(),
        grouped(&line.quantity.to_string()),
        line.unit.clone().unwrap_or_default(),
        grouped(&line.amount.to_string()),
        money(line.settled),
    ]
}

/// One row per customer and one per reason to retain, one column per provider, and what the
/// provider's lines settle at below.
fn bearers_text(outcome: &Outcome<'_>) -> anyhow::Result<String> {
    let Outcome { run, catalog, .. } = outcome;
    let providers: Vec<&Provider> = catalog.providers.values().collect();
    let mut cells: BTreeMap<(Bearer, &str), Money> = BTreeMap::new();
    let mut sums: BTreeMap<&str, Money> = BTreeMap::new();
    for line in &run.cost_lines {
        for statement in line.statement_lines.iter().filter(|statement| statement.is_share()) {
            let provider = line.key.provider.as_str();
            add(cells.entry((Bearer::of(statement), provider)), statement.money)?;
            add(sums.entry(provider), statement.money)?;
        }
    }
    let mut bearers: Vec<Bearer> = cells.keys().map(|(bearer, _)| bearer.clone()).collect();
    bearers.dedup();
    let mut rows = Vec::new();
    for bearer in &bearers {
        let found = providers
            .iter()
            .map(|provider| cells.get(&(bearer.clone(), provider.id.as_str())).copied())
            .collect();
        rows.push(money_row(bearer.name(catalog), found)?);
    }
    let found = providers.iter().map(|provider| sums.get(provider.id.as_str()).copied()).collect();
    rows.push(money_row("together".to_owned(), found)?);
    let mut columns = vec![("", Align::Left)];
    columns.extend(providers.iter().map(|provider| (provider.id.as_str(), Align::Right)));
    columns.extend([("all", Align::Right), ("", Align::Left)]);
    Ok(table(&columns, &rows))
}

/// The customer who is charged, or the reason to retain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Bearer {
    Charged(CustomerId),
    Retained(&'static str),
}

impl Bearer {
    fn of(line: &StatementLine) -> Self {
        match (line.kind, &line.customer) {
            (LineKind::Charge, Some(customer)) => Self::Charged(customer.clone()),
            (kind, _) => {
                Self::Retained(kind.retained_reason().map_or("nobody to charge", |reason| reason.as_str()))
            }
        }
    }

    fn name(&self, catalog: &Catalog) -> String {
        match self {
            Self::Retained(reason) => format!("retained: {reason}"),
            Self::Charged(customer) => match catalog.customers.get(customer) {
                Some(known) => format!("{customer}: {}, {}", known.name, known.kinds.first.as_str()),
                None => customer.to_string(),
            },
        }
    }
}

fn add<K: Ord>(entry: std::collections::btree_map::Entry<'_, K, Money>, money: Money) -> anyhow::Result<()> {
    let sum = entry.or_insert(Money { minor_units: 0, currency: money.currency });
    *sum = plus(*sum, money)?;
    Ok(())
}

/// A name, an amount or nothing for each provider, and the sum.
fn money_row(name: String, cells: Vec<Option<Money>>) -> anyhow::Result<Vec<String>> {
    let mut row = vec![name];
    let mut sum: Option<Money> = None;
    for cell in cells {
        row.push(cell.map_or_else(String::new, money));
        sum = match (sum, cell) {
            (Some(sum), Some(cell)) => Some(plus(sum, cell)?),
            (sum, cell) => sum.or(cell),
        };
    }
    row.push(sum.map_or_else(String::new, money));
    row.push(sum.map_or_else(String::new, |sum| sum.currency.to_string()));
    Ok(row)
}

/// Both sides of one provider, added up line by line.
struct Conservation<'a> {
    provider: &'a Provider,
    lines: usize,
    cost: Amount,
    shares: Amount,
    settlement: Money,
    statement: Money,
}

impl<'a> Conservation<'a> {
    fn of(provider: &'a Provider, run: &Run) -> anyhow::Result<Self> {
        let nothing = Money { minor_units: 0, currency: provider.currency };
        let mut sums = Self {
            provider,
            lines: 0,
            cost: Amount::ZERO,
            shares: Amount::ZERO,
            settlement: nothing,
            statement: nothing,
        };
        for line in run.cost_lines.iter().filter(|line| line.key.provider == provider.id) {
            sums.lines += 1;
            sums.cost = sums.cost.checked_add(line.amount)?;
            for share in &line.charges {
                sums.shares = sums.shares.checked_add(share.amount)?;
            }
            sums.settlement = plus(sums.settlement, line.settled)?;
            for statement in line.statement_lines.iter().filter(|statement| statement.is_share()) {
                sums.statement = plus(sums.statement, statement.money)?;
            }
        }
        Ok(sums)
    }

    fn exact(&self) -> bool {
        self.cost == self.shares
    }

    fn settled(&self) -> bool {
        self.settlement == self.statement
    }
}

fn conservation_text(all: &[Conservation<'_>]) -> String {
    let mut rows = Vec::new();
    for one in all {
        let name = format!("{}: {}, {} lines", one.provider.id, one.provider.name, one.lines);
        rows.push(vec![
            name,
            "cost lines, exact".to_owned(),
            grouped(&one.cost.to_string()),
            one.provider.currency.to_string(),
            String::new(),
        ]);
        rows.push(vec![
            String::new(),
            "charges + retained".to_owned(),
            grouped(&one.shares.to_string()),
            one.provider.currency.to_string(),
            mark(one.exact()),
        ]);
        rows.push(vec![
            String::new(),
            "cost lines, settled".to_owned(),
            money(one.settlement),
            one.provider.currency.to_string(),
            String::new(),
        ]);
        rows.push(vec![
            String::new(),
            "statement lines".to_owned(),
            money(one.statement),
            one.provider.currency.to_string(),
            mark(one.settled()),
        ]);
    }
    table(
        &[
            ("provider", Align::Left),
            ("sum of", Align::Left),
            ("amount", Align::Right),
            ("", Align::Left),
            ("", Align::Left),
        ],
        &rows,
    )
}

fn unrated_text(run: &Run) -> String {
    let row = |unrated: &rating::run::Unrated| {
        let key = &unrated.key;
        let provider = key.provider.as_ref().map_or_else(String::new, ToString::to_string);
        vec![
            key.reason.as_str().to_owned(),
            provider,
            key.events.to_string(),
            key.subject.to_string(),
            grouped(&unrated.quantity.to_string()),
            grouped(&unrated.events.to_string()),
        ]
    };
    let rows: Vec<_> = run.unrated.iter().map(row).collect();
    let columns = [
        ("reason", Align::Left),
        ("provider", Align::Left),
        ("meter", Align::Left),
        ("subject", Align::Left),
        ("quantity", Align::Right),
        ("events", Align::Right),
    ];
    let mut text = table(&columns, &rows);
    text.push_str("\n  Add what is missing to the catalog, publish it and rate again: no event has to be sent once more.\n");
    text
}

fn month_end_text(month_end: &MonthEnd) -> String {
    let row = |figure: &Figure| {
        vec![figure.name.clone(), figure.put_in.clone(), figure.found.clone(), mark(figure.agrees())]
    };
    let rows: Vec<_> = month_end.figures.iter().map(row).collect();
    table(&[("", Align::Left), ("put in", Align::Right), ("found", Align::Right), ("", Align::Left)], &rows)
}

fn places_text(outcome: &Outcome<'_>) -> String {
    let Outcome { folder, run_folder, origin, month_end, .. } = outcome;
    let invoices = month_end.invoices.first().and_then(|invoice| invoice.file.parent());
    let events = match origin {
        Origin::Files(path) => path.display().to_string(),
        Origin::Topic { brokers, topic } => format!("the Kafka topic {topic} at {brokers}"),
    };
    [
        ("configuration", folder.join("atcost.toml").display().to_string()),
        ("catalog", folder.join("catalog").display().to_string()),
        ("events", events),
        ("", format!("{}, the one that came late", month_end.late.display())),
        ("invoices", invoices.map_or_else(String::new, |folder| folder.display().to_string())),
        ("ledger", folder.join("ledger").display().to_string()),
        ("run", run_folder.display().to_string()),
        ("", "cost_lines, charges, statement_lines and more, as Parquet; manifest.json".to_owned()),
        ("FOCUS", month_end.focus.display().to_string()),
    ]
    .iter()
    .map(|(name, place)| format!("  {name:<15}{place}\n"))
    .collect()
}

/// Commands to paste into a shell.
fn commands_text(outcome: &Outcome<'_>) -> String {
    let config = quoted(&outcome.folder.join("atcost.toml").display().to_string());
    let mut text = format!("  atcost --config {config} doctor\n");
    if let Some(charge) = charge_to_explain(outcome.run) {
        let run = outcome.run.pins.run_id();
        text.push_str(&format!("  atcost --config {config} explain {charge} --run {run}\n"));
    }
    let customer = outcome.month_end.customer;
    text.push_str(&format!("  atcost --config {config} statement {customer} --period 2025-11\n"));
    let sql = "SELECT * FROM reconciles_to_invoice ORDER BY provider";
    text.push_str(&format!("  atcost --config {config} query {}\n", quoted(sql)));
    let files = outcome.month_end.focus.join("CostAndUsage").join("*").join("*.parquet");
    let files = files.display().to_string().replace('\'', "''");
    let sql = format!(
        "SELECT BillingAccountName, sum(BilledCost) AS billed FROM '{files}' GROUP BY ALL ORDER BY ALL"
    );
    text.push_str(&format!("  duckdb -c {}\n", quoted(&sql)));
    text
}

/// The charge with most behind it: for a project that has changed its payer, of a cost line in many
/// tiers.
fn charge_to_explain(run: &Run) -> Option<ChargeId> {
    let payers = |line: &CostLine, charge: &rating::run::Charge| {
        line.charges
            .iter()
            .filter(|other| charge.subject.is_some() && other.subject == charge.subject)
            .count()
    };
    let charges =
        run.cost_lines.iter().flat_map(|line| line.charges.iter().map(move |charge| (line, charge)));
    let (_, charge) = charges.max_by_key(|(line, charge)| (payers(line, charge), line.steps.len()))?;
    Some(charge.id)
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "-_./=:".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut word = String::from('"');
    for character in text.chars() {
        if "\"\\$`".contains(character) {
            word.push('\\');
        }
        word.push(character);
    }
    word.push('"');
    word
}

fn json(
    outcome: &Outcome<'_>,
    records: &[Check],
    conservation: &[Conservation<'_>],
    verdict: Verdict,
) -> serde_json::Value {
    let records: Vec<_> = records
        .iter()
        .map(|check| json!({ "name": check.name.trim(), "put_in": check.put_in, "found": check.found, "agrees": check.agrees() }))
        .collect();
    let month_end = |figure: &Figure| json!({ "name": figure.name.trim(), "put_in": figure.put_in, "found": figure.found, "agrees": figure.agrees() });
    let month_end: Vec<_> = outcome.month_end.figures.iter().map(month_end).collect();
    let conservation: Vec<_> = conservation
        .iter()
        .map(|one| {
            json!({
                "provider": one.provider.id.as_str(), "currency": one.provider.currency.to_string(), "lines": one.lines,
                "cost": one.cost.to_string(), "charges_and_retained": one.shares.to_string(),
                "settled": one.settlement.to_amount().map(|amount| amount.to_string()),
                "statement_lines": one.statement.to_amount().map(|amount| amount.to_string()),
                "agrees": one.exact() && one.settled(),
            })
        })
        .collect();
    json!({
        "agrees": verdict == Verdict::Fine, "records": records, "conservation": conservation,
        "month_end": month_end, "summary": outcome.manifest,
        "folder": outcome.folder.display().to_string(), "run_folder": outcome.run_folder.display().to_string(),
    })
}
