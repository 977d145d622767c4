//! A statement line's explanation, for people and as JSON: what it is of, the charges that it has a part
//! of, who else has one, and what an invoice said.

use super::charge::{run, whose};
use super::reader::Reader;
use super::words;
use crate::show::{plural, printable};
use rating::exact;
use rating::explain::ExplainedLine;
use rating::reconcile::{Row, tell};
use rating::run::PostedLine;
use rating::tables::{Manifest, charge_json, comparison_json, statement_line_json};
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
    if let Some(corrects) = corrected(of, to) {
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
        let charges = of.charges.iter().filter(|charge| to.may_see(charge.customer.as_ref()));
        for charge in charges.clone().take(CHARGES_SHOWN) {
            lines.push(format!("charge {}", charge.id));
            lines.push(whose(line, charge));
        }
        let more = charges.count().saturating_sub(CHARGES_SHOWN);
        if more > 0 {
            lines.push(format!("  … and {} of the line", plural(more as u64, "more charge", "more charges")));
        }
    }
    let hidden = Hidden::beside(of, to);
    let others = of.beside.iter().filter(|other| other.id != of.line.id && to.may_see_line(other));
    let many = others.clone().count();
    if many > 0 || hidden.lines > 0 {
        lines.push(String::new());
        lines.push("beside it, of the same money".to_owned());
    }
    for other in others.take(LINES_SHOWN) {
        let name = to.name(other.customer.as_ref());
        let grant = words::grant_words(other, to);
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
    if hidden.lines > 0 {
        lines.push(format!(
            "  {} {} in {} of others",
            exact::display(&hidden.amount),
            of.line.money.currency,
            plural(hidden.lines, "line", "lines")
        ));
    }
    lines.iter().map(|line| format!("{}\n", printable(line).trim_end())).collect()
}

/// What the biller of a line bills to those whom the reader may not see, of the same money: one sum.
struct Hidden {
    lines: u64,
    amount: exact::Exact,
}

impl Hidden {
    fn beside(of: &ExplainedLine, to: &Reader<'_>) -> Self {
        let of_others = |other: &&PostedLine| other.biller == of.line.biller && !to.may_see_line(other);
        let others = of.beside.iter().filter(of_others);
        Self {
            lines: others.clone().count() as u64,
            amount: others.map(|other| exact::exact_money(other.money)).sum(),
        }
    }
}

/// The line that it corrects.
fn corrected<'e>(of: &'e ExplainedLine, to: &Reader<'_>) -> Option<&'e PostedLine> {
    of.corrects.as_ref().filter(|line| to.may_see_line(line))
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
    let cost_line = of.cost_line.as_ref().map(|line| words::cost_line_json(line, to.catalog));
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
    let seen = of.beside.iter().filter(|line| to.may_see_line(line));
    let beside: Vec<_> = seen.map(|line| words::statement_json(line, to)).collect();
    let hidden = Hidden::beside(of, to);
    let hidden =
        (!to.sees_all()).then(|| json!({ "lines": hidden.lines, "amount": exact::display(&hidden.amount) }));
    let mut json = statement_line_json(&of.line, to.catalog);
    json.extend([
        ("run".to_owned(), json!(manifest.run)),
        ("period".to_owned(), json!(manifest.period)),
        ("ledger_version".to_owned(), json!(manifest.ledger_version)),
        ("catalog".to_owned(), json!(manifest.catalog)),
        ("grant".to_owned(), json!(words::grant_id(&of.line, to))),
        ("grant_terms".to_owned(), words::statement_json(&of.line, to)["grant_terms"].clone()),
        ("rate_source".to_owned(), json!(words::rate(&of.line, to.catalog).map(|rate| &rate.source))),
        ("cost_line".to_owned(), json!(cost_line)),
        ("charges".to_owned(), json!(charges)),
        ("sharers".to_owned(), json!(beside)),
        ("hidden_sharers".to_owned(), json!(hidden)),
        ("comparison".to_owned(), json!(comparison)),
        ("corrected".to_owned(), json!(corrected(of, to).map(|line| words::statement_json(line, to)))),
    ]);
    Ok(json.into())
}
