//! A statement as a page: below each line unfold its price, its arithmetic, who shares it, and the events
//! behind it, as far as these are given.
//!
//! Invariant: of others no name, no amount and no event is on it.

use super::words::{bill, days, digits, head, note, provider, sections, totals, what};
use crate::show::{Align, Page, command, escaped, foreign, html_table, plural};
use rating::allocation::{Because, Rule};
use rating::catalog::Catalog;
use rating::document::Document;
use rating::evidence::Evidence;
use rating::exact::{Exact, display, exact};
use rating::posted::{Numbered, Posted};
use rating::run::{Charge, ChargeId, CostLine, RunId};
use rating::statement::Partners;
use rating::usage::EventRow;
use std::collections::BTreeMap;

/// What is known of the events behind charges.
#[derive(Debug, Default)]
pub struct Events {
    pub of: BTreeMap<ChargeId, Evidence>,
    /// The run that has the charges, for `atcost explain`.
    pub run: Option<RunId>,
}

/// The charges of one line, a customer's subjects, that are listed one by one.
const CHARGES_SHOWN: usize = 100;

/// The page of a statement, with the first events of its charges where there are any.
pub fn page(document: &Document<'_>, catalog: &Catalog, events: &Events) -> Page {
    let (name, state) = head(document, catalog);
    let title = format!("Statement of {name}, {}", document.month);
    let mut body = format!(
        "<h1>Statement of {}, {}</h1>\n<p>{} (<code>{}</code>), billed by {}. The month is {}.</p>\n",
        foreign(&name),
        document.month,
        foreign(&name),
        escaped(document.customer.as_str()),
        foreign(&billers(document, catalog)),
        escaped(&state),
    );
    for (words, sum) in totals(document) {
        body.push_str(&format!("<p>{}: <b>{}</b></p>\n", escaped(words), escaped(&sum)));
    }
    if document.lines.iter().any(|line| line.line.cost_line.is_some()) {
        body.push_str(
            "<p class=\"screen\"><label><input type=\"checkbox\" id=\"unfold\"> Unfold every line, on paper too</label></p>\n",
        );
    }
    let partners = catalog.partners();
    for statement in document.statements() {
        body.push_str(&format!("<section>\n<h2>{}</h2>\n", escaped(statement)));
        for section in sections(document, statement) {
            body.push_str(&format!("<h3>{}</h3>\n{HEAD}", escaped(section.heading)));
            for Numbered { line, number, .. } in &section.lines {
                body.push_str(&format!(
                    "<tr class=\"line\"><td class=\"number\">{number}</td><td>{}</td><td>{}</td><td class=\"of\">{}</td><td class=\"number\">{}&nbsp;{}</td></tr>\n",
                    foreign(provider(line, catalog).map_or(line.provider.as_str(), |known| &known.name)),
                    words(line, catalog),
                    escaped(&days(line, catalog)),
                    bill(line.bill()),
                    line.bill().currency,
                ));
                if let Some(cost_line) = line.cost_line {
                    let more = unfolding(line, cost_line, catalog, &partners, events);
                    body.push_str(&format!("<tr class=\"more\"><td colspan=\"5\">{more}</td></tr>\n"));
                }
            }
            body.push_str("</tbody>\n</table>\n");
        }
        body.push_str("</section>\n");
    }
    Page { title, body }
}

/// The head of a table of lines.
const HEAD: &str = "<table class=\"lines\">\n<thead><tr><th scope=\"col\" class=\"number\">No.</th><th scope=\"col\">Provider</th><th scope=\"col\">For</th><th scope=\"col\">Days</th><th scope=\"col\" class=\"number\">Amount</th></tr></thead>\n<tbody>\n";

/// What a line is for, and what else must be known of it.
fn words(line: &Posted<'_>, catalog: &Catalog) -> String {
    let note = note(line);
    let mut words = foreign(&what(line, catalog));
    if !note.is_empty() {
        words.push_str(&format!(" <span class=\"note\">{}</span>", escaped(&note)));
    }
    words
}

/// Who writes the lines; the operator where there is none.
fn billers(document: &Document<'_>, catalog: &Catalog) -> String {
    use rating::statement::Biller;
    let mut names: Vec<&str> = Vec::new();
    for line in &document.lines {
        let name = match &line.line.biller {
            Biller::Operator => catalog.name.as_str(),
            Biller::Partner(id) => catalog.customers.get(id).map_or(id.as_str(), |partner| &partner.name),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { catalog.name.clone() } else { names.join(" and ") }
}

/// All that is known of how a line came about.
fn unfolding(
    line: &Posted<'_>,
    cost_line: &CostLine,
    catalog: &Catalog,
    partners: &Partners,
    events: &Events,
) -> String {
    let charges: Vec<&Charge> =
        cost_line.charges.iter().filter(|charge| line.has(charge, partners)).collect();
    let behind: Vec<(&Charge, &Evidence)> =
        charges.iter().filter_map(|charge| Some((*charge, events.of.get(&charge.id)?))).collect();
    let count: u64 = behind.iter().map(|(_, evidence)| evidence.events).sum();
    let many = match behind.is_empty() {
        true => String::new(),
        false => format!(", {}", plural(count, "event", "events")),
    };
    let mut details = price(cost_line) + &allocation(line, cost_line, &charges);
    if behind.is_empty() {
        details.push_str(&format!("<p>{}</p>\n", escaped(no_events(cost_line, catalog))));
    }
    for (charge, evidence) in behind {
        details.push_str(&events_of(charge, evidence, events.run));
    }
    format!("<details><summary>price and share{many}</summary>\n{details}</details>")
}

/// The arithmetic of the provider's charge.
fn price(line: &CostLine) -> String {
    let columns = [
        ("Step", Align::Left),
        ("Quantity", Align::Right),
        ("Price", Align::Right),
        ("Amount", Align::Right),
    ];
    let row = |step: &rating::price::Step| {
        let span = match (&step.from, &step.to) {
            (Some(from), Some(to)) => format!(" ({} to {})", display(from), display(to)),
            (Some(from), None) => format!(" (above {})", display(from)),
            (None, _) => String::new(),
        };
        let label = format!("{}{span}", step.label);
        vec![foreign(&label), display(&step.quantity), display(&step.unit_price), display(&step.amount)]
    };
    let rows: Vec<Vec<String>> = line.steps.iter().map(row).collect();
    let unit = line.unit.as_deref().map_or_else(String::new, after);
    let settled = line.settled.to_amount().map_or_else(String::new, |settled| digits(settled, line.currency));
    let all = format!(
        "The provider's charge by its price list, {} since {}: {}{unit} for {} {}, settled at {settled} {}.",
        line.model, line.key.price_from, line.quantity, line.amount, line.currency, line.currency
    );
    format!("<p>{}</p>\n{}", escaped(&all), html_table(&columns, &rows))
}

/// A unit as it stands after a number; nothing of what is counted piece by piece.
fn after(unit: &str) -> String {
    if unit == "1" { String::new() } else { format!(" {unit}") }
}

/// Whose part of it this is, and why.
fn allocation(posted: &Posted<'_>, line: &CostLine, charges: &[&Charge]) -> String {
    let columns = [("Whose", Align::Left), ("Part", Align::Left), ("Exact amount", Align::Right)];
    // What is counted piece by piece has no word for it.
    let unit = line.shared_in.as_deref().or(line.unit.as_deref()).filter(|unit| *unit != "1");
    let row = |charge: &&Charge| {
        let customer = charge.customer.as_ref().map_or("nobody", |customer| customer.as_str());
        let subject = charge.subject.as_ref().map_or_else(String::new, |subject| format!(" {subject}"));
        let because = match &charge.because {
            // The weights of others are theirs.
            Because::Weight { own, of } => {
                let all: Exact = of.values().map(|weight| exact(*weight)).sum();
                format!("{own} of {} by weight", display(&all))
            }
            because => because.words(unit.unwrap_or_default(), line.currency),
        };
        let whose = format!("{customer}{subject}");
        vec![foreign(&whose), escaped(because.trim_end()), format!("{} {}", charge.amount, line.currency)]
    };
    let mut rows: Vec<Vec<String>> = charges.iter().take(CHARGES_SHOWN).map(row).collect();
    if charges.len() > CHARGES_SHOWN {
        let rest: Exact = charges.iter().skip(CHARGES_SHOWN).map(|charge| exact(charge.amount)).sum();
        let more = charges.len() - CHARGES_SHOWN;
        rows.push(vec![
            format!("… and {more} more"),
            String::new(),
            format!("{} {}", display(&rest), line.currency),
        ]);
    }
    let becomes = match posted.is_estimate() {
        true => {
            "until the provider's invoice is in, parts are rounded together, so that they add up to what it is expected to bill"
        }
        false => "parts are rounded together, so that they add up to what the provider billed",
    };
    let sum = format!("Shared {}; {becomes}.", line.rule.as_str());
    format!("<p>{}</p>\n{}", escaped(&sum), html_table(&columns, &rows))
}

/// Why no events are listed.
fn no_events(line: &CostLine, catalog: &Catalog) -> &'static str {
    let provider = catalog.providers.get(&line.key.provider);
    let sku = provider.and_then(|provider| provider.sku(&line.key.sku));
    match (&line.rule, sku) {
        (_, Some(sku)) if sku.of().is_some() => "This price stands on other lines, and not on events.",
        (_, Some(sku)) if sku.metered().is_none() => "This price does not follow usage.",
        (Rule::ByMeter { .. }, _) => {
            "This is shared by what another meter counts, and not by its own events."
        }
        _ => "This share does not follow usage, and no events are behind it.",
    }
}

/// The events behind a charge: how many, the first of them, and how all are seen.
fn events_of(charge: &Charge, evidence: &Evidence, run: Option<RunId>) -> String {
    let Evidence { events, total, unit, first } = evidence;
    let of = charge
        .subject
        .as_ref()
        .map_or_else(String::new, |subject| format!(" of {}", foreign(subject.as_str())));
    let columns = [
        ("Event", Align::Left),
        ("At", Align::Left),
        ("Where it lies", Align::Left),
        ("Value", Align::Right),
    ];
    let row = |event: &EventRow| {
        let name = format!("{} {}", event.source, event.id);
        let time = event.time.to_string();
        vec![foreign(&name), time, foreign(&event.place), event.quantity.to_string()]
    };
    let count = plural(*events, "event", "events");
    let mut html = format!("<p>{count}{of}, {total}{} together.", escaped(&after(unit)));
    let listed = first.len() as u64;
    if listed < *events {
        let words = if listed > 0 { format!(" The first {listed} are:") } else { String::new() };
        html.push_str(&words);
    }
    html.push_str("</p>\n");
    if !first.is_empty() {
        html.push_str(&html_table(&columns, &first.iter().map(row).collect::<Vec<_>>()));
    }
    if listed < *events
        && let Some(run) = run
    {
        let all = format!("atcost explain {} --run {run} --events events.ndjson", charge.id);
        html.push_str(&format!(
            "<p class=\"note\">The operator gets all of them with</p>\n{}",
            command(&all)
        ));
    }
    html
}
