//! A comparison as a page: what is to be decided first, then what became of each provider's money, then
//! what was decided, and folded what agrees.
//!
//! Invariant: a list that is cut says so, and where the rest is.

use super::bars::{Bar, Kind, bars};
use super::contents::{Comparison, OfProvider};
use crate::show::{Align, Page, command, escaped, foreign, html_table, plural};
use crate::statement::{digits, money};
use rating::exact::display;
use rating::reconcile::{Action, Class, Decision, Row, Status, Verdict, tell};

/// The rows that are shown in each part of the page.
const SHOWN: usize = 500;

/// The page.
pub fn page(comparison: &Comparison) -> Page {
    let Comparison { month, folder, rows, said, providers } = comparison;
    let title = format!("Invoices of {month} beside the ledger");
    let all: Vec<(&Row, &[Decision])> = rows.iter().zip(said.iter().map(Vec::as_slice)).collect();
    let of = |fits: &dyn Fn(&Row) -> bool| -> Vec<(&Row, &[Decision])> {
        all.iter().filter(|(row, _)| fits(row)).copied().collect()
    };
    let open = of(&|row| row.status == Some(Status::Open));
    let awaited = of(&|row| row.status == Some(Status::Awaited));
    let decided = of(&|row| matches!(row.status, Some(Status::Accepted | Status::Disputed)));
    let by_policy = of(&|row| row.verdict == Verdict::Policy);
    let agree = of(&|row| row.verdict == Verdict::Match);
    let mut body = format!("<h1>{}</h1>\n<p>{}</p>\n", escaped(&title), lead(&open, &awaited, comparison));
    body.push_str(&format!("<p class=\"note\">All of it is in <code>{}</code></p>\n", escaped(folder)));
    if !open.is_empty() {
        body.push_str(&format!("<section>\n<h2>To decide: {}</h2>\n", open.len()));
        body.push_str(
            "<p class=\"note\"><code>dispute</code> in place of <code>accept</code> retains what is more than the estimate, \
             <code>explain</code> notes what is known and decides nothing. Both take the same words.</p>\n",
        );
        body.push_str(&cards(&open));
        body.push_str("</section>\n");
    }
    if !awaited.is_empty() {
        body.push_str(&format!(
            "<section>\n<h2>Awaited: {}</h2>\n{}</section>\n",
            awaited.len(),
            cards(&awaited)
        ));
    }
    body.push_str("<section>\n<h2>What became of the invoices</h2>\n");
    body.push_str(&providers.iter().map(money_of).collect::<String>());
    body.push_str("</section>\n");
    if !decided.is_empty() {
        body.push_str(&format!(
            "<section>\n<h2>Decided: {}</h2>\n{}</section>\n",
            decided.len(),
            decisions(&decided)
        ));
    }
    if !by_policy.is_empty() {
        body.push_str(&folded(
            &format!("Passed on as invoice.toml says: {}", by_policy.len()),
            &figures(&by_policy),
        ));
    }
    body.push_str(&folded(&plural(agree.len() as u64, "row agrees", "rows agree"), &figures(&agree)));
    Page { title, body }
}

/// The first sentence: what is in the way, and what is next.
fn lead(open: &[(&Row, &[Decision])], awaited: &[(&Row, &[Decision])], comparison: &Comparison) -> String {
    let with = |status| comparison.rows.iter().filter(|row| row.status == Some(status)).count();
    let state = match (open.len(), awaited.len()) {
        (0, 0) => format!(
            "<b>Nothing is open.</b> Next: <code>atcost close --period {} --by …</code>",
            comparison.month
        ),
        (open, awaited) => {
            let mut parts = Vec::new();
            if open > 0 {
                parts.push(plural(open as u64, "row is to be decided", "rows are to be decided"));
            }
            if awaited > 0 {
                parts.push(plural(awaited as u64, "row awaits an invoice", "rows await an invoice"));
            }
            format!("<b class=\"mark\">{}.</b>", parts.join(", "))
        }
    };
    format!("{state} {} accepted, {} disputed.", with(Status::Accepted), with(Status::Disputed))
}

/// Rows that nobody has decided yet: each with its sentence, and the command that decides it.
fn cards(rows: &[(&Row, &[Decision])]) -> String {
    let mut html = String::from("<ol class=\"cards\">\n");
    for (row, said) in rows.iter().take(SHOWN) {
        let told = tell(row);
        html.push_str(&format!(
            "<li>\n<h3>{}</h3>\n<p><span class=\"tag\">{}</span> {}</p>\n",
            foreign(&told.name),
            class(row),
            foreign_sentence(&told.what),
        ));
        let invoices: Vec<String> = row.invoices.iter().map(|id| foreign(id.as_str())).collect();
        if !invoices.is_empty() {
            let lines = plural(row.lines.len() as u64, "line", "lines");
            html.push_str(&format!("<p class=\"note\">{lines} of invoice {}</p>\n", invoices.join(", ")));
        }
        if let Some(hint) = &told.hint {
            html.push_str(&format!("<p>{}.</p>\n", foreign(hint)));
        }
        for decision in said.iter().filter(|decision| decision.action == Action::Explain) {
            html.push_str(&format!(
                "<p class=\"note\">{}, {}: {}</p>\n",
                foreign(&decision.by),
                decision.at,
                foreign(&decision.reason)
            ));
        }
        if let Some(told) = &told.command {
            html.push_str(&command(told));
        }
        html.push_str("</li>\n");
    }
    html.push_str("</ol>\n");
    html + &rest(rows.len())
}

/// The words of a sentence of ours, with a point at its end.
fn foreign_sentence(text: &str) -> String {
    format!("{}.", escaped(text))
}

fn class(row: &Row) -> &'static str {
    row.class.map_or("match", Class::as_str)
}

/// What is said where a list is cut.
fn rest(rows: usize) -> String {
    match rows.checked_sub(SHOWN) {
        None | Some(0) => String::new(),
        Some(more) => format!("<p>… and {more} more in <code>comparison.parquet</code></p>\n"),
    }
}

/// What a provider invoiced in one currency: of which classes it is, and where it went.
fn money_of(of: &OfProvider) -> String {
    let OfProvider { id, name, currency, summary, passed } = of;
    let caption = format!("{} (<code>{}</code>), {currency}", foreign(name), escaped(id.as_str()));
    let bar = |words: String, amount, kind| Bar { words, amount, kind };
    let mut all = vec![
        bar("Invoiced".to_owned(), summary.invoiced, Kind::Whole),
        bar("agrees".to_owned(), summary.matched, Kind::Part),
    ];
    for (class, sum) in &summary.classes {
        let rows = plural(sum.rows, "row", "rows");
        let words = format!(
            "{} <span class=\"note\">{rows}, differing by {}</span>",
            class.as_str(),
            display(&sum.variance)
        );
        all.push(bar(words, sum.invoiced, Kind::Part));
    }
    all.push(bar("Passed on".to_owned(), summary.invoiced, Kind::Whole));
    all.push(bar("billed to customers".to_owned(), passed.billed, Kind::Part));
    for (reason, amount) in &passed.retained {
        all.push(bar(format!("retained <span class=\"note\">{reason}</span>"), *amount, Kind::Part));
    }
    if !passed.undecided.is_zero() {
        all.push(bar("waits for a decision".to_owned(), passed.undecided, Kind::Waits));
    }
    if !passed.rest.is_zero() {
        all.push(bar("less than a minor unit, rounded".to_owned(), passed.rest, Kind::Part));
    }
    let mut html = bars(&caption, &all, *currency);
    if !passed.estimated.is_zero() {
        html.push_str(&format!(
            "<p class=\"note\">Beside it, until everything is here and decided, {} stand on statements as estimates.</p>\n",
            money(passed.estimated, *currency)
        ));
    }
    html
}

/// What was decided, by whom, and why.
fn decisions(rows: &[(&Row, &[Decision])]) -> String {
    let columns = [
        ("Row", Align::Left),
        ("What differs", Align::Left),
        ("Decision", Align::Left),
        ("By", Align::Left),
        ("Why", Align::Left),
    ];
    let cells = |(row, said): &(&Row, &[Decision])| {
        let told = tell(row);
        let last =
            said.iter().rev().find(|decision| matches!(decision.action, Action::Accept | Action::Dispute));
        let (by, why) = last.map_or_else(Default::default, |decision| {
            let by = format!("{} <span class=\"note\">{}</span>", foreign(&decision.by), decision.at);
            (by, foreign(&decision.reason))
        });
        let what = format!("<span class=\"tag\">{}</span> {}", class(row), foreign_sentence(&told.what));
        vec![foreign(&told.name), what, status(row).to_owned(), by, why]
    };
    let cells: Vec<Vec<String>> = rows.iter().take(SHOWN).map(cells).collect();
    html_table(&columns, &cells) + &rest(rows.len())
}

fn status(row: &Row) -> &'static str {
    row.status.map_or("", Status::as_str)
}

/// Rows about which nothing is to be done.
fn figures(rows: &[(&Row, &[Decision])]) -> String {
    let columns = [
        ("Row", Align::Left),
        ("Class", Align::Left),
        ("Invoice", Align::Right),
        ("Ledger", Align::Right),
        ("Difference", Align::Right),
        ("", Align::Left),
    ];
    let cells = |(row, _): &(&Row, &[Decision])| {
        let amount =
            |amount: Option<_>| amount.map_or_else(|| "–".to_owned(), |amount| digits(amount, row.currency));
        let variance = row.variance.as_ref().map_or_else(|| "–".to_owned(), display);
        vec![
            foreign(&tell(row).name),
            class(row).to_owned(),
            amount(row.invoice_amount),
            amount(row.ledger_amount),
            variance,
            row.currency.to_string(),
        ]
    };
    let cells: Vec<Vec<String>> = rows.iter().take(SHOWN).map(cells).collect();
    html_table(&columns, &cells) + &rest(rows.len())
}

fn folded(words: &str, inside: &str) -> String {
    format!("<details class=\"folded\"><summary>{}</summary>\n{inside}</details>\n", escaped(words))
}
