//! A statement for a terminal.

use super::words::{bill, days, head, note, sections, totals, what};
use crate::show::{Align, plural, table};
use rating::catalog::Catalog;
use rating::document::Document;
use std::fmt::Write as _;

const COLUMNS: [(&str, Align); 6] = [
    ("no.", Align::Right),
    ("provider", Align::Left),
    ("for", Align::Left),
    ("days", Align::Left),
    ("amount", Align::Right),
    ("note", Align::Left),
];

/// The statement as text; what is in it is escaped where it is shown.
pub fn text(document: &Document<'_>, catalog: &Catalog) -> String {
    let (name, state) = head(document, catalog);
    let lines = plural(document.line_count() as u64, "line", "lines");
    let mut text = format!("{name} ({}), {}, {state}; {lines}\n", document.customer, document.month);
    for statement in document.statements() {
        write!(text, "\n{statement}\n").expect("writing to a string cannot fail");
        for section in sections(document, statement) {
            let row = |line: &&rating::posted::Numbered<'_>| {
                vec![
                    line.number.to_string(),
                    line.line.provider.to_string(),
                    what(line.line, catalog),
                    days(line.line, catalog),
                    bill(line.line.bill()),
                    note(line.line),
                ]
            };
            let rows: Vec<Vec<String>> = section.lines.iter().map(row).collect();
            write!(text, "\n{}\n{}", section.heading, table(&COLUMNS, &rows))
                .expect("writing to a string cannot fail");
        }
    }
    text.push('\n');
    for (words, sum) in totals(document) {
        writeln!(text, "{words}: {sum}").expect("writing to a string cannot fail");
    }
    text
}
