//! CSV files of a catalog: their rows, each with the line that an editor shows.
//!
//! What a row says is deliberately left to whoever reads the file.
//!
//! Invariant: a line is counted as an editor counts it, whatever ends the lines before it.

use super::format::TableKeys;
use super::toml::without_mark;
use crate::catalog::problem::Findings;
use schemas::boundary::guarded;

/// Reads the rows of a file, its path and its text, that begins with the names of its columns; a row of
/// another length is a problem of its own line, and not handed out.
pub(super) fn read_rows(
    columns: TableKeys,
    (file, text): (&str, &str),
    findings: &Findings,
    mut read: impl FnMut(&csv::StringRecord, usize),
) {
    let names = columns.keys;
    let text = without_mark(file, text, findings);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let mut header_seen = false;
    let mut lines = Lines::of(text);
    loop {
        match guarded(|| reader.read_record(&mut record)) {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => break,
            Err(fault) => {
                let line = lines.at(reader.position());
                let help = "write the line otherwise until it is mended";
                findings.problem(file, Some(line), fault.to_string(), help);
                break;
            }
            Ok(Err(error)) => {
                let line = error.position().map(|position| lines.at(position));
                findings.problem(
                    file,
                    line,
                    format!("this is not CSV: {error}"),
                    "correct the line (RFC 4180)",
                );
                break;
            }
        }
        let line = record.position().map_or(1, |position| lines.at(position));
        if !header_seen {
            header_seen = true;
            if record.iter().ne(names.iter().copied()) {
                let help = format!("make it `{}`", names.join(","));
                findings.problem(file, line, "the first line does not name the columns", help);
                break;
            }
            continue;
        }
        if record.len() != names.len() {
            let message = format!("the line does not have {} fields, but {}", names.len(), record.len());
            let help = format!("write {}; what is left out is empty between commas", names.join(","));
            findings.problem(file, line, message, help);
            continue;
        }
        read(&record, line);
    }
    if !header_seen {
        let help = format!("begin it with the line `{}`", names.join(","));
        findings.problem(file, 1, "the file is empty", help);
    }
}

/// The lines of a text, from its beginning on. The reader of CSV counts neither what it skips nor
/// what ends with `\r\n` as an editor does, so only its bytes are asked for.
struct Lines<'t> {
    rest: std::iter::Peekable<std::iter::Enumerate<std::str::Bytes<'t>>>,
    line: usize,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        Self { rest: text.bytes().enumerate().peekable(), line: 1 }
    }

    /// The line of a record that begins at a position or, where lines were skipped, after it.
    /// Positions are asked for in their order.
    fn at(&mut self, position: &csv::Position) -> usize {
        let is_before = |at: usize, byte: u8| (at as u64) < position.byte() || matches!(byte, b'\r' | b'\n');
        while let Some((_, byte)) = self.rest.next_if(|(at, byte)| is_before(*at, *byte)) {
            let ends = match byte {
                b'\n' => true,
                b'\r' => self.rest.peek().is_none_or(|(_, next)| *next != b'\n'),
                _ => false,
            };
            self.line += usize::from(ends);
        }
        self.line
    }
}
