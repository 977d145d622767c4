//! How things are shown: tables that fit a terminal, and nothing in them that could steer it.

use schemas::name::is_plain;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a verb prints its result as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document, for programs.
    Json,
}

/// How a command ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// Something does not agree; exit status 1.
    Discrepancy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A table with a header, columns two blanks apart. Cells are escaped.
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

/// A JSON document for programs, as [`printable_json`].
pub fn json_document(value: &serde_json::Value) -> String {
    printable_json(&format!("{value:#}"))
}

/// JSON that a person may look at too: what would steer a terminal is escaped as JSON does it. It
/// stands in strings only, because everything else in JSON is ASCII.
pub fn printable_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if is_plain(character) || character == '\n' {
            shown.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(shown, "\\u{unit:04x}").expect("writing to a string cannot fail");
            }
        }
    }
    shown
}

/// Says on stderr that something is still going on, from the second second on, until it is dropped.
pub struct Busy {
    stop: Arc<AtomicBool>,
    terminal: bool,
}

impl Busy {
    pub fn with(what: impl Into<String>) -> Self {
        let (what, stop, terminal) =
            (what.into(), Arc::new(AtomicBool::new(false)), std::io::stderr().is_terminal());
        let (stopped, begun) = (stop.clone(), Instant::now());
        std::thread::spawn(move || {
            let every = if terminal { Duration::from_secs(1) } else { Duration::from_secs(10) };
            let mut next = Duration::from_secs(2);
            loop {
                std::thread::sleep(Duration::from_millis(100));
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if begun.elapsed() < next {
                    continue;
                }
                next += every;
                let line = format!("{what}, {} s", begun.elapsed().as_secs());
                // A progress line that cannot be shown is no reason to stop.
                let _ = if terminal {
                    write!(std::io::stderr(), "\r\x1b[K{line}")
                } else {
                    writeln!(std::io::stderr(), "{line}")
                };
            }
        });
        Self { stop, terminal }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
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

    #[test]
    fn a_json_document_says_the_same_escaped() {
        let value =
            serde_json::json!({ "a\u{202e}": ["\u{1b}[31m", "\u{7f}\u{9b}\u{200b}\u{e0041}", "größe"] });
        let shown = json_document(&value);
        assert!(shown.chars().all(|character| character == '\n' || is_plain(character)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
        assert!(shown.contains("größe") && shown.contains("\\udb40\\udc41"), "{shown}");
    }
}
