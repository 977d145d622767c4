//! A writer's schema: its text, its fingerprints, and what it means to `usage_event.v1` by Avro's
//! rules (specification 1.12, "Schema Resolution").
//!
//! A schema is checked once, when it is first seen, and compiled to a small tree (`plan`), by
//! which `decode::avro` reads data. It reads no data itself.
//!
//! Invariant: a schema that cannot be used is kept with the reason, so that every datum of it is
//! refused for that reason.

// Modules in reading order.
mod text; // a schema's text, by Avro's rules
mod fingerprint; // the numbers that stand for a schema before its data
pub(crate) mod plan; // the tree that data are read by
pub(crate) mod resolve; // whether its data can be events of ours
pub mod registry; // schema ids: a Confluent-compatible registry, or a table

use plan::Plan;
use std::sync::atomic::{AtomicU64, Ordering};

/// A writer's schema, ready to read its data.
#[derive(Debug)]
pub struct WriterSchema {
    /// No other schema of this process has it.
    number: u64,
    fingerprints: Vec<u64>,
    /// Or why the text is no schema.
    plan: Result<Plan, String>,
    /// Why no datum of the schema can be an event of ours.
    incompatible: Option<String>,
}

impl WriterSchema {
    /// The schema that this program ships.
    pub fn usage_event_v1() -> Self {
        Self::parse(schemas::USAGE_EVENT_V1_AVSC, &[])
    }

    /// Reads a schema; `references` are schemas of the named types it uses. A schema that cannot be
    /// read or resolved is kept with the reason, which every datum of it then gets.
    pub fn parse(json: &str, references: &[String]) -> Self {
        let read = read(json, references)
            .map_err(|detail| format!("the writer's schema is not an Avro schema: {detail}"));
        let (plan, fingerprints) = match read {
            Ok((plan, fingerprints)) => (Ok(plan), fingerprints),
            Err(detail) => (Err(detail), Vec::new()),
        };
        let incompatible = match &plan {
            Ok(plan) => resolve::event(plan).err(),
            Err(detail) => Some(detail.clone()),
        };
        Self { number: next_number(), fingerprints, plan, incompatible }
    }

    /// Stands for a schema that is known but cannot be used.
    pub(crate) fn unusable(detail: String) -> Self {
        Self {
            number: next_number(),
            fingerprints: Vec::new(),
            plan: Err(detail.clone()),
            incompatible: Some(detail),
        }
    }

    /// The numbers that producers put before their data in single-object encoding.
    pub fn fingerprints(&self) -> &[u64] {
        &self.fingerprints
    }

    /// Why the schema cannot be resolved to ours, if it cannot.
    pub fn problem(&self) -> Option<&str> {
        self.incompatible.as_deref()
    }

    /// No other schema of this process has this number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The tree to read data by; or why the text is no schema.
    ///
    /// # Errors
    /// The fault of the text.
    pub(crate) fn plan(&self) -> Result<&Plan, &str> {
        self.plan.as_ref().map_err(String::as_str)
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn read(json: &str, references: &[String]) -> Result<(Plan, Vec<u64>), String> {
    let size = json.len() + references.iter().map(String::len).sum::<usize>();
    if size > text::MAX_BYTES {
        return Err(format!(
            "with the schemas that it refers to it has {size} bytes, and at most {} are read",
            text::MAX_BYTES
        ));
    }
    let schema = text::read(json)?;
    let others = references.iter().map(|text| text::read(text)).collect::<Result<Vec<_>, _>>()?;
    Ok((Plan::new(&schema, &others)?, fingerprint::fingerprints(&schema)))
}
