//! A statement line's explanation, for people and as JSON: what it is of, the charges that it has a part
//! of, who else has one, and what an invoice said.

use super::charge::{run, whose};
use super::reader::Reader;
use super::words;
use crate::show::printable;
use crate::verbs::price::steps_json;
use rating::explain::ExplainedLine;
use rating::reconcile::{Row, tell};
use rating::tables::{Manifest, charge_json, comparison_json, cost_line_json, statement_line_json};
use serde_json::{Value, json};

/// The charges, and the other lines, that a terminal has room for.
const CHARGES_SHOWN: usize = 8;
const LINES_SHOWN: usize = 8;

pub(super) fn text(of: &ExplainedLine, manifest: &Manifest, to: &Reader<'_>) -> String {
    let mut lines = words::statement_line(&of.line, to);
    lines.push(run(manifest));
    let posting = &of.line.of;
    if of.cost_line.is_none() {
        let sku = posting.sku.as_ref().map_or("no SKU", |sku| sku.as_str());
        lines.push(format!("  {}, {sku}, {} until {}", posting.provider, posting.start, posting.end));
        lines.extend(posting.description.as_ref().map(|said| format!("  the invoice says: {said}")));
    }
    if let Some(corrects) = &of.corrects {
        lines.push(String::new());
        lines.push("it corrects".to_owned());
        lines.extend(words::statement_line(corrects, to));
    }
    if let Some(row) = &of.row {
        lines.push(String::new());
        lines.extend(compared(row, to));
    }
    if let Some(line) = &of.cost_line {
        lines.push(String::new());
        lines.extend(words::cost_line(line, to.catalog));
        lines.push(String::new());
        for charge in
            of.charges.iter().filter(|charge| to.may_see(charge.customer.as_ref())).take(CHARGES_SHOWN)
        {
            lines.push(format!("charge {}", charge.id));
            lines.push(whose(line, charge));
        }
        if of.charges.len() > CHARGES_SHOWN {
            lines.push(format!("  … and {} more charges", of.charges.len() - CHARGES_SHOWN));
        }
    }
    let others = of.beside.iter().filter(|other| other.id != of.line.id);
    let many = others.clone().count();
    if many > 0 {
        lines.push(String::new());
        lines.push("beside it, of the same money".to_owned());
    }
    for other in others.take(LINES_SHOWN) {
        let name = to.name(other.customer.as_ref());
        let grant = other.grant.as_ref().map(|grant| format!(", grant {grant}")).unwrap_or_default();
        let kind = other.kind.retained_reason().map_or_else(
            || other.kind.as_str().to_owned(),
            |reason| format!("{}, {reason}", other.kind.as_str()),
        );
        lines.push(format!(
            "  {} {} of {name} ({kind}{grant}), by {}",
            words::money(other.money),
            other.money.currency,
            other.biller.as_str(&to.catalog.operator)
        ));
    }
    if many > LINES_SHOWN {
        lines.push(format!("  … and {} more", many - LINES_SHOWN));
    }
    lines.iter().map(|line| format!("{}\n", printable(line).trim_end())).collect()
}

/// The row of the comparison: what the invoice says, and what came of it.
fn compared(row: &Row, to: &Reader<'_>) -> Vec<String> {
    let status = row.status.map(|status| format!(", {status}")).unwrap_or_default();
    let class = row.class.map(|class| format!(" ({class})")).unwrap_or_default();
    let told = tell(row);
    // Its account may be another customer's.
    let name = if to.sees_all() { told.name } else { row.provider.to_string() };
    vec![format!("compared with {name}: {}{class}{status}", row.verdict), format!("  {}", told.what)]
}

pub(super) fn as_json(of: &ExplainedLine, manifest: &Manifest, to: &Reader<'_>) -> anyhow::Result<Value> {
    let cost_line = of.cost_line.as_ref().map(|line| {
        let mut cost_line = cost_line_json(line, to.catalog);
        cost_line.insert("steps".to_owned(), steps_json(&line.steps));
        cost_line
    });
    let charges: Vec<_> = of
        .cost_line
        .iter()
        .flat_map(|line| of.charges.iter().map(move |charge| (line, charge)))
        .filter(|(_, charge)| to.may_see(charge.customer.as_ref()))
        .map(|(line, charge)| charge_json(line, charge))
        .collect();
    let comparison = match &of.row {
        Some(row) if to.sees_all() => Some(comparison_json(row)?),
        Some(_) | None => None,
    };
    let beside: Vec<_> = of.beside.iter().map(|line| words::statement_json(line, to)).collect();
    let mut json = statement_line_json(&of.line, to.catalog);
    json.extend([
        ("run".to_owned(), json!(manifest.run)),
        ("period".to_owned(), json!(manifest.period)),
        ("ledger_version".to_owned(), json!(manifest.ledger_version)),
        ("catalog".to_owned(), json!(manifest.catalog)),
        ("grant_terms".to_owned(), words::statement_json(&of.line, to)["grant_terms"].clone()),
        ("rate_source".to_owned(), json!(words::rate(&of.line, to.catalog).map(|rate| &rate.source))),
        ("cost_line".to_owned(), json!(cost_line)),
        ("charges".to_owned(), json!(charges)),
        ("sharers".to_owned(), json!(beside)),
        ("comparison".to_owned(), json!(comparison)),
        ("corrected".to_owned(), json!(of.corrects.as_ref().map(|line| words::statement_json(line, to)))),
    ]);
    Ok(json.into())
}
