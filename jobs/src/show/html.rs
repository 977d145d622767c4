//! One HTML page that stands by itself: no script, nothing that is fetched, and it prints well.
//!
//! What is on it is deliberately not known here.
//!
//! Invariant: a text gets onto a page through [`escaped`] alone, and a browser that reads the page asks
//! nobody for anything.

use super::table::{Align, printable};
use std::fmt;

/// A page.
pub struct Page {
    pub title: String,
    /// HTML.
    pub body: String,
}

/// A text as it stands in HTML, in an attribute too; what would hide or steer is shown as `\u{…}`.
pub fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// A table whose header is repeated on every printed page. Cells are HTML.
pub fn html_table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let class = |align: &Align| if *align == Align::Right { " class=\"number\"" } else { "" };
    let head: String =
        columns.iter().map(|(name, align)| format!("<th{}>{}</th>", class(align), escaped(name))).collect();
    let mut html = format!("<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n");
    for row in rows {
        assert_eq!(row.len(), columns.len(), "every row has a cell for each column");
        let cells: String = row
            .iter()
            .zip(columns)
            .map(|(cell, (_, align))| format!("<td{}>{cell}</td>", class(align)))
            .collect();
        html.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    html.push_str("</tbody>\n</table>\n");
    html
}

const STYLE: &str = "
@page { size: A4; margin: 18mm 14mm 20mm;
  @bottom-left { content: string(title); font: 8pt sans-serif; color: #555; }
  @bottom-right { content: counter(page) \" / \" counter(pages); font: 8pt sans-serif; color: #555; } }
body { font: 10pt/1.4 system-ui, sans-serif; color: #111; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5em; margin: 0 0 .2em; string-set: title content(); }
h2 { font-size: 1.1em; margin: 1.6em 0 .4em; break-after: avoid; }
table { border-collapse: collapse; width: 100%; }
thead { display: table-header-group; }
tr { break-inside: avoid; }
th, td { text-align: left; vertical-align: top; padding: .25em .6em .25em 0; border-bottom: 1px solid #ddd; }
th { border-bottom: 1px solid #111; font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.note { color: #555; }
summary { cursor: pointer; }
details table { font-size: .9em; margin: .4em 0 .6em; }
@media print {
  body { margin: 0; max-width: none; padding: 0; font-size: 9pt; }
  summary { list-style: none; }
  details::details-content { display: block; content-visibility: visible; block-size: auto; }
}
";

/// The whole document.
impl fmt::Display for Page {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
            escaped(&self.title),
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(
            escaped("<b title='x' y=\"z\">&\u{202e}"),
            "&lt;b title=&#39;x&#39; y=&quot;z&quot;&gt;&amp;\\u{202e}"
        );
        let page = Page { title: "</title><script>".to_owned(), body: String::new() }.to_string();
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn a_page_stands_by_itself_and_prints() {
        let rows = vec![vec![escaped("Hot <storage>"), "1.50".to_owned()]];
        let body = html_table(&[("for", Align::Left), ("EUR", Align::Right)], &rows);
        let page = Page { title: "a statement".to_owned(), body }.to_string();
        for wanted in [
            "<td>Hot &lt;storage&gt;</td><td class=\"number\">1.50</td>",
            "@page",
            "counter(pages)",
            "table-header-group",
            "<title>a statement</title>",
        ] {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
        for foreign in ["http://", "https://", "<script", "<link", "<img", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
