//! A charge's explanation, for people and as JSON.

use super::reader::Reader;
use super::scopes::{scopes_json, scopes_text};
use super::words;
use crate::show::{Align, plural, printable, table};
use rating::allocation::{Because, Rule};
use rating::catalog::Counts;
use rating::explain::Explanation;
use rating::meter::{Aggregation, Over, Values};
use rating::run::{Charge, CostLine};
use rating::tables::{Manifest, charge_json};
use serde_json::json;

/// The events listed one by one.
pub(super) const EVENTS_SHOWN: usize = 5;
/// The other charges of a line that a terminal has room for.
const SHARERS_SHOWN: usize = 4;

/// The run that something is explained of: a line of text.
pub(super) fn run(manifest: &Manifest) -> String {
    format!(
        "  run {} of {}, ledger version {}, catalog {}",
        manifest.run,
        manifest.period,
        manifest.ledger_version,
        &manifest.catalog[..12]
    )
}

pub(super) fn text(explanation: &Explanation<'_>, manifest: &Manifest, to: &Reader<'_>) -> String {
    let Explanation { line, charge, posted, scopes, first, events, .. } = explanation;
    let mut lines = vec![format!("charge {}", charge.id), whose(line, charge)];
    lines.extend(charge.subject.as_ref().map(|subject| format!("  for {subject}")));
    lines.extend([run(manifest), String::new()]);
    lines.extend(words::cost_line(line, to.catalog));
    lines.push(String::new());
    lines.extend(shared(explanation, to));
    let posted = posted.iter().filter(|line| to.may_see_line(line));
    lines.extend(posted.flat_map(|line| words::statement_line(line, to)));
    lines.push(String::new());
    lines.push(behind(explanation));
    let mut text: String = lines.iter().map(|line| format!("{}\n", printable(line).trim_end())).collect();
    if !scopes.is_empty() {
        text.push_str(&scopes_text(scopes, line.unit.as_deref().unwrap_or_default(), over(explanation), to));
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
            text.push_str(&format!("  … and {more} more; `--events FILE` writes all of them\n"));
        }
    }
    text
}

/// What a charge comes to, and who bears it.
pub(super) fn whose(line: &CostLine, charge: &Charge) -> String {
    let who = match (&charge.customer, charge.kind.retained_reason()) {
        (Some(customer), None) => format!("charged to {customer}"),
        (Some(customer), Some(reason)) => format!("retained by the operator ({reason}: {customer})"),
        (None, Some(reason)) => format!("retained by the operator ({reason})"),
        (None, None) => "charged to nobody".to_owned(),
    };
    format!("  {} {}, {who}", charge.amount, line.currency)
}

/// Why the charge is what it is of the line, and who bears the rest.
fn shared(explanation: &Explanation<'_>, to: &Reader<'_>) -> Vec<String> {
    let Explanation { line, charge, meter, .. } = explanation;
    let own_unit = meter.map(|meter| meter.rules.unit_of_result(meter.unit.as_str()));
    let shared_in = match &line.rule {
        Rule::ByMeter { .. } => line.shared_in.clone(),
        _ => own_unit,
    };
    let because = match &charge.because {
        Because::Weight { own, of } if !to.sees_all() => {
            let weights: Vec<String> =
                of.iter().map(|(customer, weight)| format!("{} {weight}", to.name(Some(customer)))).collect();
            format!("{own} of the weights {}", weights.join(", "))
        }
        because => because.words(&shared_in.unwrap_or_default(), line.currency),
    };
    let mut lines = vec![
        format!("allocation {}: {because}", line.rule.as_str()),
        format!("  {} of {} {}", charge.amount, line.amount, line.currency),
    ];
    let others = line.charges.iter().filter(|other| other.id != charge.id);
    for other in others.clone().take(SHARERS_SHOWN) {
        let subject = other.subject.as_ref().filter(|_| to.may_see(other.customer.as_ref()));
        let subject = subject.map(|subject| format!(" for {subject}")).unwrap_or_default();
        let used = other.quantity.map(|quantity| format!(", by {quantity}")).unwrap_or_default();
        let name = to.name(other.customer.as_ref());
        lines.push(format!("  beside {} of {name}{subject}{used}", other.amount));
    }
    let more = others.count().saturating_sub(SHARERS_SHOWN);
    if more > 0 {
        lines.push(format!("  … and {more} more"));
    }
    lines
}

/// What is behind the charge: events, or what else.
fn behind(explanation: &Explanation<'_>) -> String {
    let Explanation { line, sku, events, events_total, .. } = explanation;
    let events = plural(*events, "event", "events");
    match &sku.counts {
        Counts::Nothing if matches!(line.rule, Rule::ByMeter { .. }) => {
            "no events: this price does not follow usage, only who bears it".to_owned()
        }
        Counts::Nothing => "no events: this price does not follow usage".to_owned(),
        Counts::Lines(of) => {
            let of: Vec<&str> = of.of.iter().map(String::as_str).collect();
            format!("no events: this price stands on the lines of {}", of.join(", "))
        }
        Counts::Usage(_) if adds_up(explanation) => format!("{events}, {events_total} in the meter's unit"),
        Counts::Usage(_) => events,
    }
}

/// Whether the values of events add up to something: amounts whose sum, or whose sum per second, counts.
fn adds_up(explanation: &Explanation<'_>) -> bool {
    explanation.meter.is_some_and(|meter| {
        let is_sum = matches!(meter.rules.values.aggregation(), Aggregation::Sum | Aggregation::Rate);
        is_sum && matches!(meter.rules.values, Values::Amounts(_))
    })
}

fn over(explanation: &Explanation<'_>) -> Option<Over> {
    Some(explanation.meter?.rules.windows?.over)
}

pub(super) fn as_json(
    explanation: &Explanation<'_>,
    manifest: &Manifest,
    to: &Reader<'_>,
) -> serde_json::Value {
    let Explanation { line, charge, posted, events, events_total, first, .. } = explanation;
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
    let statement_lines: Vec<_> = posted
        .iter()
        .filter(|line| to.may_see_line(line))
        .map(|line| words::statement_json(line, to))
        .collect();
    let mut json = charge_json(line, charge);
    json.extend([
        ("run".to_owned(), json!(manifest.run)),
        ("period".to_owned(), json!(manifest.period)),
        ("ledger_version".to_owned(), json!(manifest.ledger_version)),
        ("catalog".to_owned(), json!(manifest.catalog)),
        ("cost_line".to_owned(), words::cost_line_json(line, to.catalog)),
        ("sharers".to_owned(), sharers_json(line, to)),
        ("statement_lines".to_owned(), json!(statement_lines)),
        ("scopes".to_owned(), scopes_json(&explanation.scopes, over(explanation), to)),
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
