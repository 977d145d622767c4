//! Text for people: tables that fit a terminal, with everything escaped that would steer it.

use schemas::name::is_plain;
use std::fmt::Write as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A table with a header, columns two spaces apart. Cells are escaped.
pub fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let mut widths: Vec<usize> = columns.iter().map(|(name, _)| name.chars().count()).collect();
    for row in &rows {
        assert_eq!(row.len(), columns.len(), "every row has a cell for each column");
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let header: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    for row in std::iter::once(&header).chain(&rows) {
        let mut line = String::from(" ");
        for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(columns) {
            let padding = " ".repeat(width - cell.chars().count());
            match align {
                Align::Left => write!(line, " {cell}{padding} "),
                Align::Right => write!(line, " {padding}{cell} "),
            }
            .expect("writing to a string cannot fail");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `1 record`, `2 records`.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A text without characters that would steer a terminal or hide: they appear as `\u{…}`.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_plain(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown
}

/// Like [`printable`], for several lines.
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_escape() {
        let rows =
            vec![vec!["acme".to_owned(), "1.5".to_owned()], vec!["b\u{1b}[31m".to_owned(), "20".to_owned()]];
        let shown = table(&[("customer", Align::Left), ("EUR", Align::Right)], &rows);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines, ["  customer     EUR", "  acme         1.5", "  b\\u{1b}[31m   20"]);
    }
}
