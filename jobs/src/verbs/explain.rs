//! `atcost explain CHARGE`: from a charge to its cost line, the arithmetic, the price, the
//! allocation key and the events.

use super::catalog::published;
use super::price::steps_json;
use super::totals;
use crate::config::Config;
use crate::show::{Align, Busy, plural, printable, table};
use anyhow::{Context as _, bail};
use ledger::Location;
use ledger::pinned::{PinnedFiles, Versions};
use rating::allocation::{Because, Rule};
use rating::catalog::{Catalog, Counts};
use rating::exact;
use rating::explain::{self, Explanation};
use rating::meter::{Aggregation, Explained as Scoped, Measured, Over, Scope, Values};
use rating::rounding;
use rating::run::{Charge, CostLine, Pins, StatementLine};
use rating::statement::{Billed, Biller, Pair};
use rating::tables::{
    Manifest, StoredCharge, StoredCharges, Workspace, charge_json, cost_line_json, events_ndjson,
    events_parquet, read_manifest,
};
use schemas::id::{CustomerId, Subject};
use schemas::money::Money;
use schemas::time::BillingMonth;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// An explanation as it is printed, in both forms.
pub struct Explained {
    pub text: String,
    pub json: serde_json::Value,
}

/// Whom a charge is explained to, and what is written beside it.
#[derive(Debug, Clone, Default)]
pub struct Reader<'a> {
    /// The customer who is charged; the names of others are hidden from it. `None` for the operator.
    pub customer: Option<CustomerId>,
    /// The file that all events behind the charge are written to.
    pub events: Option<&'a Path>,
}

impl Reader<'_> {
    fn may_see(&self, customer: Option<&CustomerId>) -> bool {
        self.customer.is_none() || self.customer.as_ref() == customer
    }

    /// A customer's name, or what stands in its place.
    fn name(&self, customer: Option<&CustomerId>) -> String {
        match customer {
            Some(customer) if self.may_see(Some(customer)) => customer.to_string(),
            Some(_) => HIDDEN.to_owned(),
            None => "nobody".to_owned(),
        }
    }

    /// Who bills a line: the operator and the reader's own partner are known to it.
    fn biller(&self, biller: &Biller, catalog: &Catalog) -> String {
        biller.as_str(&catalog.operator).to_owned()
    }

    /// Whether a subject was ever the reader's.
    fn may_see_subject(&self, subject: &Subject, catalog: &Catalog) -> bool {
        let Some(customer) = &self.customer else { return true };
        catalog.bindings.of(subject).iter().any(|binding| binding.customer == *customer)
    }
}

/// In place of a name that the reader may not see.
const HIDDEN: &str = "another customer";

/// A customer, as an argument names it.
///
/// # Errors
/// A sentence, where it is no name.
pub fn customer(text: &str) -> Result<CustomerId, String> {
    CustomerId::new(text).map_err(|error| error.to_string())
}

/// The form of a file of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventsForm {
    Ndjson,
    Parquet,
}

impl EventsForm {
    fn of(file: &Path) -> anyhow::Result<Self> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("ndjson" | "jsonl") => Ok(Self::Ndjson),
            Some("parquet") => Ok(Self::Parquet),
            _ => bail!("{} is no file of events: its name must end with .ndjson or .parquet", file.display()),
        }
    }
}

/// Writes the events behind a charge, never over a file that is there.
async fn write_events(file: &Path, form: EventsForm, of: &Explanation<'_>) -> anyhow::Result<()> {
    if of.first.is_empty() {
        bail!("no events are behind charge {}, so that there is nothing to write", of.charge.id);
    }
    let bytes = match form {
        EventsForm::Ndjson => events_ndjson(&of.first).into_bytes(),
        EventsForm::Parquet => events_parquet(&of.first),
    };
    if file.exists() {
        bail!("{} is there already; name another file", file.display());
    }
    let written = Location::on_disk(file)?.put_new(bytes.into()).await;
    written.with_context(|| format!("{} cannot be written", file.display()))
}

/// The events listed one by one.
const EVENTS_SHOWN: usize = 5;

/// Explains a charge of a run. Without a run id, the run with the newest ledger version that has
/// the charge.
///
/// # Errors
/// When there is no such run or charge, or what is stored no longer gives the run's numbers.
pub async fn explain(
    config: &Config,
    charge_id: &str,
    run: Option<&str>,
    to: &Reader<'_>,
) -> anyhow::Result<Explained> {
    let form = to.events.map(EventsForm::of).transpose()?;
    let (folder, manifest, charges) = find_run(&config.runs, run, charge_id).await?;
    let pins = manifest.pins().with_context(|| format!("{} has pins this version cannot read", folder))?;
    if pins.run_id() != manifest.run {
        bail!(
            "run {} was made by engine {}; this is {}, which may rate differently. Use that engine, or rate the period again",
            manifest.run,
            manifest.engine,
            rating::run::ENGINE_VERSION
        );
    }
    let catalog = published(config, Some(&manifest.catalog)).await?;
    let files = PinnedFiles::of_ledger(&config.ledger, Some(&pins.ledger.versions)).await?;
    if files.cut != pins.ledger {
        bail!(
            "run {} was made from another ledger than {}; use the configuration it was made with",
            manifest.run,
            config.ledger
        );
    }
    let stored = charges.find(manifest.run, charge_id).await?;
    let _busy = Busy::with("rating the charge again");
    let sku = explain::sku_of(&stored, &catalog)?;
    let explanation = match sku.counts {
        // There is no usage behind it.
        Counts::Nothing if catalog.key_of(sku).is_none() && !explain::bills_together(&catalog) => {
            explain::explain(&stored, &pins, None, &catalog, EVENTS_SHOWN).await?
        }
        Counts::Nothing | Counts::Usage(_) | Counts::Lines(_) => {
            let workspace = Workspace::create(&config.runs, &pins, std::process::id()).await?;
            let explained = explain_usage(config, (&stored, to), &pins, &files, &catalog, &workspace).await;
            workspace.close().await?;
            explained?
        }
    };
    if !to.may_see(explanation.charge.customer.as_ref()) {
        bail!(
            "charge {} is not of {}; --for names the customer who is charged",
            explanation.charge.id,
            to.name(to.customer.as_ref())
        );
    }
    let mut explained = Explained {
        text: text(&explanation, &manifest, &catalog, to),
        json: as_json(&explanation, &manifest, &catalog, to),
    };
    if let Some((file, form)) = to.events.zip(form) {
        write_events(file, form, &explanation).await?;
        let many = plural(explanation.first.len() as u64, "event", "events");
        explained.text.push_str(&format!("\nwrote {many} to {}\n", file.display()));
        explained.json["events"]["file"] = json!(file.display().to_string());
    }
    Ok(explained)
}

async fn explain_usage<'c>(
    config: &Config,
    (stored, to): (&StoredCharge, &Reader<'_>),
    pins: &Pins,
    files: &PinnedFiles,
    catalog: &'c Catalog,
    workspace: &Workspace,
) -> anyhow::Result<Explanation<'c>> {
    let totals = totals::for_a_run(&config.ledger).await?;
    let usage = totals::open_rows(config, files, totals.as_ref(), &workspace.inputs()).await?;
    let most = if to.events.is_some() { usize::MAX } else { EVENTS_SHOWN };
    Ok(explain::explain_to(to.customer.as_ref(), stored, pins, Some(&usage), catalog, most).await?)
}

/// The run to look in, and its charges: the one named, or the newest by ledger version among those
/// that hold the charge. Of older ones no table is read.
async fn find_run(
    runs: &Location,
    run: Option<&str>,
    charge_id: &str,
) -> anyhow::Result<(Location, Manifest, StoredCharges)> {
    let mut by_version: BTreeMap<Versions, Vec<(Location, Manifest)>> = BTreeMap::new();
    for period in folders(runs, "period=").await? {
        for folder in folders(&period, "run=").await? {
            let manifest = read_manifest(&folder).await?;
            if run.is_none_or(|run| manifest.run.begins_with(run)) {
                by_version.entry(manifest.ledger_version.clone()).or_default().push((folder, manifest));
            }
        }
    }
    for of_version in by_version.into_values().rev() {
        let mut found = Vec::new();
        for (folder, manifest) in of_version {
            let charges = StoredCharges::open(&folder).await?;
            if run.is_some() || charges.has(charge_id)? {
                found.push((folder, manifest, charges));
            }
        }
        if let [.., (_, other, _), (_, newest, _)] = found.as_slice() {
            bail!(
                "the runs {} and {} are of the same ledger version; say which one with --run",
                other.run,
                newest.run
            );
        }
        if let Some(only) = found.pop() {
            return Ok(only);
        }
    }
    bail!(match run {
        Some(run) => format!("there is no run {run:?} below {}", runs),
        None => format!(
            "no run below {} has a charge {charge_id:?}; the ids are in charges.parquet, column charge_id",
            runs
        ),
    })
}

/// Folders whose names begin with `prefix`, in byte order.
pub(super) async fn folders(parent: &Location, prefix: &str) -> anyhow::Result<Vec<Location>> {
    let folders = parent.list().await?.folders;
    Ok(folders.iter().filter(|name| name.starts_with(prefix)).map(|name| parent.join(name)).collect())
}

fn text(explanation: &Explanation<'_>, manifest: &Manifest, catalog: &Catalog, to: &Reader<'_>) -> String {
    let Explanation { line, charge, sku, meter, scopes, events, events_total, first } = explanation;
    let provider = &line.key.provider;
    let provider_name = catalog.providers.get(provider).map_or("", |provider| provider.name.as_str());
    let quantity = match line.unit.as_deref() {
        None | Some("1") => line.quantity.to_string(),
        Some(unit) => format!("{} {unit}", line.quantity),
    };
    let who = match (&charge.customer, charge.kind.retained_reason()) {
        (Some(customer), None) => format!("charged to {customer}"),
        (Some(customer), Some(reason)) => format!("retained by the operator ({reason}: {customer})"),
        (None, Some(reason)) => format!("retained by the operator ({reason})"),
        (None, None) => "charged to nobody".to_owned(),
    };
    let mut text = String::new();
    let mut say = |line: String| {
        text.push_str(printable(&line).trim_end());
        text.push('\n');
    };
    say(format!("charge {}", charge.id));
    say(format!("  {} {}, {who}", charge.amount, line.currency));
    if let Some(subject) = &charge.subject {
        say(format!("  for {subject}"));
    }
    say(format!(
        "  run {} of {}, ledger version {}, catalog {}",
        manifest.run,
        manifest.period,
        manifest.ledger_version,
        &manifest.catalog[..12]
    ));
    say(String::new());
    say(format!("cost line {}", line.id));
    let sub_account =
        line.key.sub_account.as_ref().map(|account| format!(", sub account {account}")).unwrap_or_default();
    say(format!("  {provider} ({provider_name}), account {}{sub_account}", line.key.billing_account));
    say(format!("  {} {}", line.key.sku, sku.name));
    say(format!("  charge period {}", line.key.charge_period));
    say(format!("  price in force since {}, {}", line.key.price_from, line.model));
    for step in &line.steps {
        let span = match (&step.from, &step.to) {
            (Some(from), Some(to)) => format!(" ({} to {})", exact::display(from), exact::display(to)),
            (Some(from), None) => format!(" (above {})", exact::display(from)),
            (None, _) => String::new(),
        };
        say(format!(
            "    {}{span}: {} × {} = {} {}",
            step.label,
            number(&step.quantity),
            number(&step.unit_price),
            number(&step.amount),
            line.currency
        ));
    }
    say(format!(
        "  {quantity} cost {} {currency}; the invoice line settles at {} {currency}",
        line.amount,
        line.settled.to_amount().map_or_else(String::new, |amount| amount.to_string()),
        currency = line.currency
    ));
    say(String::new());
    let own_unit = meter.map(|meter| meter.rules.unit_of_result(meter.unit.as_str()));
    let shared_in = match &line.rule {
        Rule::ByMeter { .. } => line.shared_in.clone(),
        _ => own_unit,
    };
    let because = match &charge.because {
        Because::Weight { own, of } if to.customer.is_some() => {
            let weights: Vec<String> =
                of.iter().map(|(customer, weight)| format!("{} {weight}", to.name(Some(customer)))).collect();
            format!("{own} of the weights {}", weights.join(", "))
        }
        because => because.words(&shared_in.unwrap_or_default(), line.currency),
    };
    say(format!("allocation {}: {because}", line.rule.as_str()));
    say(format!("  {} of {} {}", charge.amount, line.amount, line.currency));
    let others = line.charges.iter().filter(|other| other.id != charge.id);
    for other in others.clone().take(SHARERS_SHOWN) {
        let subject = other.subject.as_ref().filter(|_| to.may_see(other.customer.as_ref()));
        let subject = subject.map(|subject| format!(" for {subject}")).unwrap_or_default();
        let used = other.quantity.map(|quantity| format!(", by {quantity}")).unwrap_or_default();
        let name = to.name(other.customer.as_ref());
        say(format!("  beside {} of {name}{subject}{used}", other.amount));
    }
    let more = others.count().saturating_sub(SHARERS_SHOWN);
    if more > 0 {
        say(format!("  … and {more} more"));
    }
    for statement in statements(line, charge) {
        let mut words = format!("statement line {}", statement.id);
        if let Some(grant) = &statement.grant {
            words.push_str(&format!(", grant {grant}"));
        }
        say(words);
        say(format!(
            "  {} {}, {} by {}",
            money(statement.money),
            line.currency,
            if statement.kind.is_billed() { "billed" } else { "retained" },
            to.biller(&statement.biller, catalog),
        ));
        if let Some(billed) = &statement.billed {
            let converted = rate_of(catalog, manifest, line, billed);
            say(format!("  {} {}{converted}", money(billed.money), billed.money.currency));
        }
    }
    say(String::new());
    let shared_by_usage = matches!(line.rule, Rule::ByMeter { .. });
    match &sku.counts {
        Counts::Nothing if shared_by_usage => {
            say("no events: this price does not follow usage, only who bears it".to_owned());
        }
        Counts::Nothing => say("no events: this price does not follow usage".to_owned()),
        Counts::Lines(of) => {
            let of: Vec<&str> = of.of.iter().map(String::as_str).collect();
            say(format!("no events: this price stands on the lines of {}", of.join(", ")));
        }
        Counts::Usage(_) if adds_up(explanation) => {
            say(format!("{}, {events_total} in the meter's unit", plural(*events, "event", "events")))
        }
        Counts::Usage(_) => say(plural(*events, "event", "events")),
    }
    if !scopes.is_empty() {
        let over = meter.and_then(|meter| Some(meter.rules.windows?.over));
        text.push_str(&scopes_text(scopes, line.unit.as_deref().unwrap_or_default(), over, (catalog, to)));
    }
    if !first.is_empty() {
        let shown = &first[..first.len().min(EVENTS_SHOWN)];
        let rows: Vec<Vec<String>> = shown
            .iter()
            .map(|event| {
                vec![
                    event.place.clone(),
                    event.time.to_string(),
                    event.quantity.to_string(),
                    event.source.clone(),
                    event.id.clone(),
                ]
            })
            .collect();
        let columns = [
            ("where", Align::Left),
            ("time", Align::Left),
            ("value", Align::Right),
            ("source", Align::Left),
            ("id", Align::Left),
        ];
        text.push_str(&table(&columns, &rows));
        let more = *events - shown.len() as u64;
        if more > 0 {
            writeln!(text, "  … and {more} more").expect("writing to a string cannot fail");
        }
    }
    text
}

/// The scopes, and the windows of each, that a terminal has room for.
const SCOPES_SHOWN: usize = 8;
const WINDOWS_SHOWN: usize = 8;
/// The other charges of a line that a terminal has room for.
const SHARERS_SHOWN: usize = 4;

/// Whether the values of events add up to something: amounts whose sum, or whose sum per second, counts.
fn adds_up(explanation: &Explanation<'_>) -> bool {
    explanation.meter.is_some_and(|meter| {
        let is_sum = matches!(meter.rules.values.aggregation(), Aggregation::Sum | Aggregation::Rate);
        is_sum && matches!(meter.rules.values, Values::Amounts(_))
    })
}

/// The statement lines of a cost line that bill a charge's customer, or retain what nobody bears.
fn statements<'l>(line: &'l CostLine, charge: &'l Charge) -> impl Iterator<Item = &'l StatementLine> {
    line.statement_lines.iter().filter(|statement| statement.customer == charge.customer)
}

fn money(money: Money) -> String {
    money.to_amount().map_or_else(String::new, |amount| amount.to_string())
}

/// How what is billed was converted, in words.
fn rate_of(catalog: &Catalog, manifest: &Manifest, line: &CostLine, billed: &Billed) -> String {
    let Some(rate) = billed.rate else { return String::new() };
    let pair = BillingMonth::parse(&manifest.period).map(|month| Pair {
        month,
        from: line.currency,
        to: billed.money.currency,
    });
    let known = pair.and_then(|pair| catalog.rates.as_ref()?.get(pair));
    let source = known.map_or_else(String::new, |rate| format!(" ({})", rate.source));
    format!(", at {rate}{source}; rounded within the running total of the bill")
}

/// How the quantity of a line comes about: of each scope the windows that decide it, where one value of
/// them all is taken, and the greatest where all of them count.
fn scopes_text(
    scopes: &[Scoped],
    unit: &str,
    over: Option<Over>,
    (catalog, to): (&Catalog, &Reader<'_>),
) -> String {
    let decides = matches!(over, Some(Over::Percentile { .. } | Over::Max | Over::Min { .. }));
    let mut text = String::new();
    for Scoped { scope, value, windows } in scopes.iter().take(SCOPES_SHOWN) {
        let name = match scope {
            Scope::Account => "the account".to_owned(),
            Scope::Customer(customer) => to.name(customer.as_ref()),
            Scope::Subject(subject) | Scope::Resource(subject, _)
                if !to.may_see_subject(subject, catalog) =>
            {
                HIDDEN.to_owned()
            }
            Scope::Subject(subject) => subject.to_string(),
            Scope::Resource(subject, labels) => {
                let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
                format!("{subject} {}", labels.collect::<Vec<_>>().join(";"))
            }
        };
        let counted = match value.metered == value.incremented {
            true => String::new(),
            false => format!(", counted as {}", number(&value.incremented)),
        };
        let many = plural(windows.len() as u64, "window", "windows");
        let line = format!("  {name}: {} {unit}{counted}, of {many}", number(&value.metered));
        text.push_str(&printable(&line));
        text.push('\n');
        let mut shown: Vec<_> =
            windows.iter().filter(|figure| !decides || figure.value.metered == value.metered).collect();
        shown.sort_by(|one, other| other.value.metered.cmp(&one.value.metered));
        if decides {
            let above = windows.iter().filter(|figure| figure.value.metered > value.metered).count();
            let among = match over {
                Some(Over::Percentile { percentile, .. }) => {
                    let above = plural(above as u64, "window is", "windows are");
                    format!("percentile {}: {above} above it", percentile.get())
                }
                Some(Over::Min { .. }) => "the smallest".to_owned(),
                _ => "the greatest".to_owned(),
            };
            let deciding = match shown.len() {
                0 => "a window in which nothing counts decides".to_owned(),
                many => plural(many as u64, "window has it", "windows have it"),
            };
            writeln!(text, "    {among}, {deciding}").expect("writing to a string cannot fail");
        }
        for figure in shown.iter().take(WINDOWS_SHOWN) {
            let line = format!("    {} {} {unit}\n", figure.window, number(&figure.value.metered));
            text.push_str(&line);
        }
        if shown.len() > WINDOWS_SHOWN {
            let others = if decides { "like them" } else { "lower ones" };
            writeln!(text, "    … and {} {others}", shown.len() - WINDOWS_SHOWN)
                .expect("writing to a string cannot fail");
        }
    }
    if scopes.len() > SCOPES_SHOWN {
        writeln!(text, "  … and {} more", scopes.len() - SCOPES_SHOWN)
            .expect("writing to a string cannot fail");
    }
    text
}

/// An exact number; one that decimals cannot say is a fraction, with its beginning in decimals.
fn number(value: &exact::Exact) -> String {
    let exact = exact::display(value);
    match rounding::amount(value) {
        Ok(rounded) if exact.contains('/') => format!("{exact} (≈ {rounded})"),
        Ok(_) | Err(_) => exact,
    }
}

fn as_json(
    explanation: &Explanation<'_>,
    manifest: &Manifest,
    catalog: &Catalog,
    to: &Reader<'_>,
) -> serde_json::Value {
    let Explanation { line, charge, events, events_total, first, .. } = explanation;
    let first: Vec<_> = first
        .iter()
        .take(EVENTS_SHOWN)
        .map(|event| {
            json!({
                "place": event.place, "source": event.source, "id": event.id,
                "time": event.time.to_string(), "value": event.quantity.to_string(),
            })
        })
        .collect();
    // A sum of readings, levels or peaks means nothing.
    let total = adds_up(explanation).then(|| events_total.to_string());
    let mut cost_line = cost_line_json(line, catalog);
    cost_line.insert("steps".to_owned(), steps_json(&line.steps));
    let mut json = charge_json(line, charge);
    json.extend([
        ("run".to_owned(), json!(manifest.run)),
        ("period".to_owned(), json!(manifest.period)),
        ("ledger_version".to_owned(), json!(manifest.ledger_version)),
        ("catalog".to_owned(), json!(manifest.catalog)),
        ("cost_line".to_owned(), cost_line.into()),
        ("sharers".to_owned(), sharers_json(line, to)),
        ("statement_lines".to_owned(), statements_json(explanation, manifest, catalog, to)),
        ("scopes".to_owned(), scopes_json(&explanation.scopes, catalog, to)),
        ("events".to_owned(), json!({ "count": events, "total": total, "first": first })),
    ]);
    json.into()
}

/// The charges of the line, by which it is shared.
fn sharers_json(line: &CostLine, to: &Reader<'_>) -> serde_json::Value {
    let sharer = |charge: &Charge| {
        let seen = to.may_see(charge.customer.as_ref());
        json!({
            "customer": charge.customer.as_ref().map(|customer| to.name(Some(customer))),
            "subject": charge.subject.as_ref().filter(|_| seen).map(ToString::to_string),
            "quantity": charge.quantity.map(|quantity| quantity.to_string()),
            "amount": charge.amount.to_string(),
        })
    };
    line.charges.iter().map(sharer).collect()
}

/// The statement lines, with grants and rates.
fn statements_json(
    explanation: &Explanation<'_>,
    manifest: &Manifest,
    catalog: &Catalog,
    to: &Reader<'_>,
) -> serde_json::Value {
    let line = &explanation.line;
    let row = |statement: &StatementLine| {
        let billed = statement.billed.as_ref();
        let pair = BillingMonth::parse(&manifest.period)
            .zip(billed.filter(|billed| billed.rate.is_some()))
            .map(|(month, billed)| Pair { month, from: line.currency, to: billed.money.currency });
        let source = pair.and_then(|pair| Some(catalog.rates.as_ref()?.get(pair)?.source.clone()));
        json!({
            "statement_line_id": statement.id.to_string(),
            "biller": to.biller(&statement.biller, catalog),
            "kind": statement.kind.as_str(),
            "grant": statement.grant.as_ref().map(ToString::to_string),
            "amount": money(statement.money),
            "currency": line.currency.code(),
            "billed_amount": billed.map(|billed| money(billed.money)),
            "billed_currency": billed.map(|billed| billed.money.currency.code()),
            "rate": billed.and_then(|billed| Some(billed.rate?.to_string())),
            "rate_source": source,
        })
    };
    statements(line, &explanation.charge).map(row).collect()
}

fn scopes_json(scopes: &[Scoped], catalog: &Catalog, to: &Reader<'_>) -> serde_json::Value {
    let figure = |value: &Measured| (exact::display(&value.metered), exact::display(&value.incremented));
    let scope = |scope: &Scoped| {
        let (quantity, counted) = figure(&scope.value);
        let named = match &scope.scope {
            Scope::Account => json!({}),
            Scope::Customer(customer) => {
                json!({ "customer": customer.as_ref().map(|customer| to.name(Some(customer))) })
            }
            Scope::Subject(subject) | Scope::Resource(subject, _)
                if !to.may_see_subject(subject, catalog) =>
            {
                json!({ "customer": HIDDEN })
            }
            Scope::Subject(subject) => json!({ "subject": subject.to_string() }),
            Scope::Resource(subject, labels) => {
                let labels: BTreeMap<&str, &str> = labels.iter().collect();
                json!({ "subject": subject.to_string(), "resource": labels })
            }
        };
        let windows: Vec<_> = scope
            .windows
            .iter()
            .map(|window| {
                let (quantity, counted) = figure(&window.value);
                json!({
                    "from": window.window.start().to_string(), "until": window.window.end().to_string(),
                    "quantity": quantity, "counted": counted,
                })
            })
            .collect();
        json!({ "scope": named, "quantity": quantity, "counted": counted, "windows": windows })
    };
    scopes.iter().map(scope).collect()
}
