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
use rating::allocation::Rule;
use rating::catalog::{Catalog, Counts};
use rating::exact;
use rating::explain::{self, Explanation};
use rating::meter::{Explained as Scoped, Measured, Scope};
use rating::rounding;
use rating::run::Pins;
use rating::tables::{
    Manifest, StoredCharge, StoredCharges, Workspace, charge_json, cost_line_json, read_manifest,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// An explanation as it is printed, in both forms.
pub struct Explained {
    pub text: String,
    pub json: serde_json::Value,
}

/// The events listed one by one.
const EVENTS_SHOWN: usize = 5;

/// Explains a charge of a run. Without a run id, the run with the newest ledger version that has
/// the charge.
///
/// # Errors
/// When there is no such run or charge, or what is stored no longer gives the run's numbers.
pub async fn explain(config: &Config, charge_id: &str, run: Option<&str>) -> anyhow::Result<Explained> {
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
        Counts::Nothing if catalog.key_of(sku).is_none() => {
            explain::explain(&stored, &pins, None, &catalog, EVENTS_SHOWN).await?
        }
        Counts::Nothing | Counts::Usage(_) | Counts::Lines(_) => {
            let workspace = Workspace::create(&config.runs, &pins, std::process::id()).await?;
            let explained = explain_usage(config, &stored, &pins, &files, &catalog, &workspace).await;
            workspace.close().await?;
            explained?
        }
    };
    Ok(Explained {
        text: text(&explanation, &manifest, &catalog),
        json: as_json(&explanation, &manifest, &catalog),
    })
}

async fn explain_usage<'c>(
    config: &Config,
    stored: &StoredCharge,
    pins: &Pins,
    files: &PinnedFiles,
    catalog: &'c Catalog,
    workspace: &Workspace,
) -> anyhow::Result<Explanation<'c>> {
    let totals = totals::for_a_run(&config.ledger).await?;
    let usage = totals::open_rows(config, files, totals.as_ref(), &workspace.inputs()).await?;
    Ok(explain::explain(stored, pins, Some(&usage), catalog, EVENTS_SHOWN).await?)
}

/// The run to look in, and its charges: the one named, or the newest among those that hold the charge, by
/// the ledger's version and then by the journal's entries. Of older ones no table is read.
async fn find_run(
    runs: &Location,
    run: Option<&str>,
    charge_id: &str,
) -> anyhow::Result<(Location, Manifest, StoredCharges)> {
    let mut by_age: BTreeMap<(Versions, i64), Vec<(Location, Manifest)>> = BTreeMap::new();
    for period in folders(runs, "period=").await? {
        for folder in folders(&period, "run=").await? {
            let manifest = read_manifest(&folder).await?;
            if run.is_none_or(|run| manifest.run.begins_with(run)) {
                let age = (manifest.ledger_version.clone(), manifest.journal);
                by_age.entry(age).or_default().push((folder, manifest));
            }
        }
    }
    for of_age in by_age.into_values().rev() {
        let mut found = Vec::new();
        for (folder, manifest) in of_age {
            let charges = StoredCharges::open(&folder).await?;
            if run.is_some() || charges.has(charge_id)? {
                found.push((folder, manifest, charges));
            }
        }
        if let [.., (_, other, _), (_, newest, _)] = found.as_slice() {
            bail!(
                "the runs {} and {} are of the same ledger version and journal; say which one with --run",
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

fn text(explanation: &Explanation<'_>, manifest: &Manifest, catalog: &Catalog) -> String {
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
    let because = charge.because.words(&shared_in.unwrap_or_default(), line.currency);
    say(format!("allocation {}: {because}", line.rule.as_str()));
    say(format!("  {} of {} {}", charge.amount, line.amount, line.currency));
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
        Counts::Usage(_) => {
            say(format!("{}, {events_total} in the meter's unit", plural(*events, "event", "events")))
        }
    }
    if !scopes.is_empty() {
        text.push_str(&scopes_text(scopes, line.unit.as_deref().unwrap_or_default()));
    }
    if !first.is_empty() {
        let rows: Vec<Vec<String>> = first
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
        let more = *events - first.len() as u64;
        if more > 0 {
            writeln!(text, "  … and {more} more").expect("writing to a string cannot fail");
        }
    }
    text
}

/// The scopes, and the windows of each, that a terminal has room for.
const SCOPES_SHOWN: usize = 8;
const WINDOWS_SHOWN: usize = 8;

/// How the quantity of a line comes about: the greatest windows of each scope.
fn scopes_text(scopes: &[Scoped], unit: &str) -> String {
    let mut text = String::new();
    for Scoped { scope, value, windows } in scopes.iter().take(SCOPES_SHOWN) {
        let name = match scope {
            Scope::Account => "the account".to_owned(),
            Scope::Customer(customer) => {
                customer.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string)
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
        let mut greatest: Vec<_> = windows.iter().collect();
        greatest.sort_by(|one, other| other.value.metered.cmp(&one.value.metered));
        for figure in greatest.iter().take(WINDOWS_SHOWN) {
            let line = format!("    {} {} {unit}\n", figure.window, number(&figure.value.metered));
            text.push_str(&line);
        }
        if greatest.len() > WINDOWS_SHOWN {
            writeln!(text, "    … and {} lower ones", greatest.len() - WINDOWS_SHOWN)
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

fn as_json(explanation: &Explanation<'_>, manifest: &Manifest, catalog: &Catalog) -> serde_json::Value {
    let Explanation { line, charge, events, events_total, first, .. } = explanation;
    let first: Vec<_> = first
        .iter()
        .map(|event| {
            json!({
                "place": event.place, "source": event.source, "id": event.id,
                "time": event.time.to_string(), "value": event.quantity.to_string(),
            })
        })
        .collect();
    let mut cost_line = cost_line_json(line, catalog);
    cost_line.insert("steps".to_owned(), steps_json(&line.steps));
    let mut json = charge_json(line, charge);
    json.extend([
        ("run".to_owned(), json!(manifest.run)),
        ("period".to_owned(), json!(manifest.period)),
        ("ledger_version".to_owned(), json!(manifest.ledger_version)),
        ("catalog".to_owned(), json!(manifest.catalog)),
        ("cost_line".to_owned(), cost_line.into()),
        ("scopes".to_owned(), scopes_json(&explanation.scopes)),
        ("events".to_owned(), json!({ "count": events, "total": events_total.to_string(), "first": first })),
    ]);
    json.into()
}

fn scopes_json(scopes: &[Scoped]) -> serde_json::Value {
    let figure = |value: &Measured| (exact::display(&value.metered), exact::display(&value.incremented));
    let scope = |scope: &Scoped| {
        let (quantity, counted) = figure(&scope.value);
        let named = match &scope.scope {
            Scope::Account => json!({}),
            Scope::Customer(customer) => json!({ "customer": customer.as_ref().map(ToString::to_string) }),
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
