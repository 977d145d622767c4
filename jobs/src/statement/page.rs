//! A statement as a page: a line unfolds to its price, its arithmetic, who shares it, and the events
//! behind it, as far as these are given.

use super::words::{bill, days, digits, head, note, provider, sections, totals, what};
use crate::show::{Align, Page, escaped, html_table};
use rating::allocation::Because;
use rating::catalog::Catalog;
use rating::document::Document;
use rating::exact::{Exact, display, exact};
use rating::posted::{Numbered, Posted};
use rating::run::{Charge, ChargeId, CostLine};
use rating::statement::Partners;
use rating::usage::EventRow;
use std::collections::BTreeMap;

/// The first events of charges, to be unfolded.
pub type Events = BTreeMap<ChargeId, Vec<EventRow>>;

const COLUMNS: [(&str, Align); 5] = [
    ("No.", Align::Right),
    ("Provider", Align::Left),
    ("For", Align::Left),
    ("Days", Align::Left),
    ("Amount", Align::Right),
];

/// The page of a statement, with the first events of its charges where there are any.
pub fn page(document: &Document<'_>, catalog: &Catalog, events: &Events) -> Page {
    let (name, state) = head(document, catalog);
    let title = format!("Statement of {name}, {}", document.month);
    let mut body = format!(
        "<h1>{}</h1>\n<p>{} ({}), billed by {}. The month is {}.</p>\n",
        escaped(&title),
        escaped(&name),
        escaped(document.customer.as_str()),
        escaped(&billers(document, catalog)),
        escaped(&state),
    );
    for (words, sum) in totals(document) {
        body.push_str(&format!("<p>{}: <b>{}</b></p>\n", escaped(words), escaped(&sum)));
    }
    let partners = catalog.partners();
    for statement in document.statements() {
        body.push_str(&format!("<h2>{}</h2>\n", escaped(statement)));
        for section in sections(document, statement) {
            body.push_str(&format!("<h3>{}</h3>\n", escaped(section.heading)));
            let row = |line: &&Numbered<'_>| {
                let amount = format!("{}&nbsp;{}", bill(line.line.bill()), line.line.bill().currency);
                vec![
                    line.number.to_string(),
                    escaped(
                        provider(line.line, catalog).map_or(line.line.provider.as_str(), |known| &known.name),
                    ),
                    unfolding(line.line, catalog, &partners, events),
                    escaped(&days(line.line, catalog)),
                    amount,
                ]
            };
            let rows: Vec<Vec<String>> = section.lines.iter().map(row).collect();
            body.push_str(&html_table(&COLUMNS, &rows));
        }
    }
    Page { title, body }
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

/// What a line is for, and below it all that is known of how it came about.
fn unfolding(line: &Posted<'_>, catalog: &Catalog, partners: &Partners, events: &Events) -> String {
    let mut words = escaped(&what(line, catalog));
    let note = note(line);
    if !note.is_empty() {
        words.push_str(&format!(" <span class=\"note\">{}</span>", escaped(&note)));
    }
    let Some(cost_line) = line.cost_line else { return words };
    let mut details = price(cost_line);
    let charges: Vec<&Charge> =
        cost_line.charges.iter().filter(|charge| line.has(charge, partners)).collect();
    details.push_str(&allocation(cost_line, &charges));
    for charge in charges {
        if let Some(events) = events.get(&charge.id).filter(|events| !events.is_empty()) {
            let columns = [
                ("Event", Align::Left),
                ("At", Align::Left),
                ("Where it lies", Align::Left),
                ("Value", Align::Right),
            ];
            let row = |event: &EventRow| {
                let name = format!("{} {}", event.source, event.id);
                let time = event.time.to_string();
                vec![escaped(&name), time, escaped(&event.place), event.quantity.to_string()]
            };
            details.push_str(&html_table(&columns, &events.iter().map(row).collect::<Vec<_>>()));
        }
    }
    format!("<details><summary>{words}</summary>\n{details}</details>")
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
        vec![escaped(&step.label), display(&step.quantity), display(&step.unit_price), display(&step.amount)]
    };
    let rows: Vec<Vec<String>> = line.steps.iter().map(row).collect();
    let unit = line.unit.as_deref().map_or_else(String::new, |unit| format!(" {unit}"));
    let settled = line.settled.to_amount().map_or_else(String::new, |settled| digits(settled, line.currency));
    let all = format!(
        "The provider's charge, {} since {}: {}{unit} for {} {}, settled at {settled} {}.",
        line.model, line.key.price_from, line.quantity, line.amount, line.currency, line.currency
    );
    format!("<p>{}</p>\n{}", escaped(&all), html_table(&columns, &rows))
}

/// Whose part of it this is, and why.
fn allocation(line: &CostLine, charges: &[&Charge]) -> String {
    let columns = [("Whose", Align::Left), ("Part", Align::Left), ("Exact amount", Align::Right)];
    let unit = line.shared_in.as_deref().or(line.unit.as_deref()).unwrap_or_default();
    let row = |charge: &&Charge| {
        let customer = charge.customer.as_ref().map_or("nobody", |customer| customer.as_str());
        let subject = charge.subject.as_ref().map_or_else(String::new, |subject| format!(" {subject}"));
        let because = match &charge.because {
            // The weights of others are theirs.
            Because::Weight { own, of } => {
                let all: Exact = of.values().map(|weight| exact(*weight)).sum();
                format!("{own} of {} by weight", display(&all))
            }
            because => because.words(unit, line.currency),
        };
        let whose = format!("{customer}{subject}");
        vec![escaped(&whose), escaped(&because), format!("{} {}", charge.amount, line.currency)]
    };
    let rows: Vec<Vec<String>> = charges.iter().map(row).collect();
    format!("<p>Shared {}.</p>\n{}", escaped(line.rule.as_str()), html_table(&columns, &rows))
}
