//! How results are shown: to people as tables, to programs as JSON, and nothing in either that
//! could steer a terminal.
//!
//! It knows no verb and no table of ours.

// Modules in reading order.
mod table; // for people
mod json; // for programs
mod csv; // for spreadsheets
mod html; // for a browser, and for paper
mod progress; // signs of life
mod screen; // a terminal's whole screen

use anyhow::Context as _;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

pub use csv::csv;
pub use html::{Page, command, escaped, foreign, html_table};
pub use json::{json_document, printable_json};
pub use progress::{Busy, Steps, above, say};
pub use screen::Screen;
pub use table::{Align, plural, printable, printable_lines, table};

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document, for programs.
    Json,
    /// Comma-separated values, for spreadsheets; of some commands.
    Csv,
    /// A page that opens without a network, for paper too; of some commands.
    Html,
    /// A Parquet file; of some commands.
    Parquet,
}

/// How a command ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// Something does not agree; exit status 1.
    Discrepancy,
}

/// A verb's result, in both forms.
pub trait Answer {
    /// # Errors
    /// When it cannot be said in JSON.
    fn json(&self) -> anyhow::Result<serde_json::Value>;

    fn text(&self) -> String;

    /// The other forms that this answer has.
    ///
    /// # Errors
    /// When it cannot be said in that form.
    fn file(&self, _form: Format) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn verdict(&self) -> Verdict {
        Verdict::Fine
    }
}

/// Prints an answer. It is the one way to stdout: whatever a name, a path or a detail holds is
/// escaped here.
///
/// # Errors
/// When the answer cannot be said in JSON.
pub fn show(answer: &impl Answer, format: Format) -> anyhow::Result<Verdict> {
    show_in(None, answer, format)
}

/// Writes an answer into a new file, where one is given, and else prints it.
///
/// # Errors
/// When the answer has no such form, or the file is there already or cannot be written.
pub fn show_in(file: Option<&Path>, answer: &impl Answer, format: Format) -> anyhow::Result<Verdict> {
    let bytes = match format {
        Format::Json => format!("{}\n", json_document(&answer.json()?)).into_bytes(),
        Format::Table => printable_lines(&answer.text()).into_bytes(),
        form @ (Format::Csv | Format::Html | Format::Parquet) => {
            answer.file(form)?.with_context(|| format!("there is no such form of this answer: {form:?}"))?
        }
    };
    match file {
        None => print(&bytes).context("writing to stdout")?,
        Some(path) => {
            let named = || path.display().to_string();
            let file = std::fs::File::create_new(path);
            let mut file =
                file.with_context(|| format!("{}: an answer replaces no file; name another", named()))?;
            file.write_all(&bytes).with_context(named)?;
        }
    }
    Ok(answer.verdict())
}

/// Writes to stdout. Whoever closes it, as `head` does, has read enough: the rest is wanted by nobody, and
/// what the command found out stands.
fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
