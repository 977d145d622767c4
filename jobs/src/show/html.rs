//! One HTML page that stands by itself: no script, nothing that is fetched, light and dark, and it prints
//! well.
//!
//! What is on it is deliberately not known here.
//!
//! Invariant: a text gets onto a page through [`escaped`] or [`foreign`] alone, and a browser that reads
//! the page asks nobody for anything.

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

/// The characters of a text of others that a page has room for.
const SHOWN: usize = 200;

/// A text of others, where only a person reads it: letters that run from right to left do not turn round
/// what stands beside it, and of a very long one the beginning is shown.
pub fn foreign(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    let rest = match shown.len() < text.len() {
        true => format!("… <span class=\"note\">({} characters)</span>", text.chars().count()),
        false => String::new(),
    };
    format!("<bdi>{}</bdi>{rest}", escaped(&shown))
}

/// A command to copy, whole.
pub fn command(text: &str) -> String {
    format!("<pre tabindex=\"0\"><code>{}</code></pre>", escaped(text))
}

/// A table whose header is repeated on every printed page, in a frame of its own where it is too wide for
/// the screen. Cells are HTML.
pub fn html_table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let class = |align: &Align| if *align == Align::Right { " class=\"number\"" } else { "" };
    let head: String = columns
        .iter()
        .map(|(name, align)| format!("<th scope=\"col\"{}>{}</th>", class(align), escaped(name)))
        .collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
    let mut html = format!(
        "<div class=\"frame\" role=\"region\" aria-label=\"{}\" tabindex=\"0\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n",
        escaped(&names.join(", "))
    );
    for row in rows {
        assert_eq!(row.len(), columns.len(), "every row has a cell for each column");
        let cells: String = row
            .iter()
            .zip(columns)
            .map(|(cell, (_, align))| format!("<td{}>{cell}</td>", class(align)))
            .collect();
        html.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    html.push_str("</tbody>\n</table></div>\n");
    html
}

/// A text as a string of CSS: whatever it holds, it ends neither the string nor the style.
fn css_string(text: &str) -> String {
    let character = |character: char| match character {
        plain if plain.is_ascii_alphanumeric() || plain == ' ' => plain.to_string(),
        other => format!("\\{:x} ", u32::from(other)),
    };
    format!("\"{}\"", printable(text).chars().map(character).collect::<String>())
}

/// The whole document.
impl fmt::Display for Page {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title: String = self.title.chars().take(SHOWN).collect();
        write!(
            formatter,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
             <title>{}</title>\n<style>\n{PAPER}  @bottom-left {{ content: {}; font: 8pt sans-serif; color: #555; }}\n}}\n{STYLE}</style>\n\
             </head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
            escaped(&title),
            css_string(&title),
            self.body
        )
    }
}

/// The beginning of the rule for paper.
const PAPER: &str = "@page { size: A4; margin: 18mm 14mm 20mm;
  @bottom-right { content: counter(page) \" / \" counter(pages); font: 8pt sans-serif; color: #555; }
";

const STYLE: &str = include_str!("page.css");

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
        assert_eq!(css_string("a\"} </style>"), "\"a\\22 \\7d  \\3c \\2f style\\3e \"");
    }

    #[test]
    fn of_a_long_text_the_beginning_is_shown() {
        assert_eq!(foreign("<שלום>"), "<bdi>&lt;שלום&gt;</bdi>");
        let long = foreign(&"ä".repeat(5000));
        assert!(long.starts_with("<bdi>ää") && long.contains("(5000 characters)"), "{long}");
        assert!(long.len() < 1000);
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
            "content: \"a statement\"",
            "table-header-group",
            "prefers-color-scheme: dark",
            "default-src 'none'",
            "<title>a statement</title>",
        ] {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
        for foreign in ["http://", "https://", "<script", "<link", "<img", "url(", "@import", "src="] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
