//! A writer's schema: its text, its fingerprints, and what it means to `usage_event.v1` by Avro's
//! rules (specification 1.12, "Schema Resolution").
//!
//! A schema is checked once, when it is first seen, and compiled to a small tree (`plan`), by
//! which `decode::avro` reads data. It reads no data itself.
//!
//! Invariant: a schema that cannot be used is kept with the reason, so that every datum of it is
//! refused for that reason.

// Modules in reading order.
pub(crate) mod plan; // the tree that data are read by
pub(crate) mod resolve; // whether its data can be events of ours
pub mod registry; // schema ids: a Confluent-compatible registry, or a table

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
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
        let parsed = parse(json, references);
        let fingerprints = parsed.as_ref().map_or_else(|_| Vec::new(), |_| fingerprints(json, references));
        let plan = parsed
            .and_then(|(schema, others)| Plan::new(&schema, &others))
            .map_err(|detail| format!("the writer's schema is not an Avro schema: {detail}"));
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

    /// The numbers that producers put before their data in single-object encoding: CRC-64-AVRO of
    /// the schema's parsing canonical form.
    ///
    /// There may be two. The specification's form has neither logical types nor precision and
    /// scale; that of Rust's apache-avro keeps the latter, and producers that use it are in the
    /// field.
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

/// Logical types that only annotate are dropped first: apache-avro forgets for some of them what
/// lies beneath.
fn parse(json: &str, references: &[String]) -> Result<(Schema, Vec<Schema>), String> {
    parse_without(json, references, &|name, value| {
        name == "logicalType" && matches!(value.as_str(), Some("uuid" | "duration" | "big-decimal"))
    })
}

fn fingerprints(json: &str, references: &[String]) -> Vec<u64> {
    let plain =
        parse_without(json, references, &|name, _| matches!(name, "logicalType" | "precision" | "scale"));
    let kept = parse_without(json, references, &|_, _| false);
    let mut fingerprints: Vec<u64> =
        [plain, kept].into_iter().flatten().map(|(schema, _)| fingerprint(&schema)).collect();
    fingerprints.dedup();
    fingerprints
}

fn fingerprint(schema: &Schema) -> u64 {
    let bytes: [u8; 8] = schema.fingerprint::<Rabin>().bytes.try_into().expect("CRC-64 has eight bytes");
    u64::from_le_bytes(bytes)
}

type Annotation<'a> = &'a dyn Fn(&str, &serde_json::Value) -> bool;

fn parse_without(
    json: &str,
    references: &[String],
    annotation: Annotation<'_>,
) -> Result<(Schema, Vec<Schema>), String> {
    let plain = |text: &str| -> Result<String, String> {
        let mut value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        drop_annotations(&mut value, annotation);
        Ok(value.to_string())
    };
    let references = references.iter().map(|text| plain(text)).collect::<Result<Vec<_>, _>>()?;
    Schema::parse_str_with_list(&plain(json)?, references).map_err(|error| error.to_string())
}

fn drop_annotations(value: &mut serde_json::Value, annotation: Annotation<'_>) {
    match value {
        serde_json::Value::Object(members) => {
            members.retain(|name, value| !annotation(name, value));
            members.values_mut().for_each(|value| drop_annotations(value, annotation));
        }
        serde_json::Value::Array(values) => {
            values.iter_mut().for_each(|value| drop_annotations(value, annotation))
        }
        _ => {}
    }
}
