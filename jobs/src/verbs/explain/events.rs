//! The events behind a charge, as a file.
//!
//! Invariant: no file that is there is overwritten, and none is written without events.

use anyhow::{Context as _, bail};
use ledger::Location;
use rating::explain::Explanation;
use rating::tables::{events_ndjson, events_parquet};
use std::path::Path;

/// The form of a file of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventsForm {
    Ndjson,
    Parquet,
}

impl EventsForm {
    pub fn of(file: &Path) -> anyhow::Result<Self> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("ndjson" | "jsonl") => Ok(Self::Ndjson),
            Some("parquet") => Ok(Self::Parquet),
            _ => bail!("{} is no file of events: its name must end with .ndjson or .parquet", file.display()),
        }
    }
}

/// Writes the events behind a charge, never over a file that is there.
pub(super) async fn write_events(file: &Path, form: EventsForm, of: &Explanation<'_>) -> anyhow::Result<()> {
    if of.first.is_empty() {
        bail!("no events are behind charge {}, so that there is nothing to write", of.charge.id);
    }
    let bytes = match form {
        EventsForm::Ndjson => events_ndjson(&of.first).into_bytes(),
        EventsForm::Parquet => events_parquet(&of.first),
    };
    if file.exists() {
        bail!("{} is there already; name another file", file.display());
    }
    let written = Location::on_disk(file)?.put_new(bytes.into()).await;
    written.with_context(|| format!("{} cannot be written", file.display()))
}
