//! How results are shown: to people as tables, to programs as JSON, and nothing in either that
//! could steer a terminal.
//!
//! It knows no verb and no table of ours.

// Modules in reading order.
mod table; // for people
mod json; // for programs
mod progress; // signs of life

pub use json::{json_document, printable_json};
pub use progress::{Busy, Steps, above};
pub use table::{Align, plural, printable, printable_lines, table};

/// The form of a result.
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

/// A verb's result, in both forms.
pub trait Answer {
    /// # Errors
    /// When it cannot be said in JSON.
    fn json(&self) -> anyhow::Result<serde_json::Value>;

    fn text(&self) -> String;

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
    match format {
        Format::Json => println!("{}", json_document(&answer.json()?)),
        Format::Table => print!("{}", printable_lines(&answer.text())),
    }
    Ok(answer.verdict())
}
