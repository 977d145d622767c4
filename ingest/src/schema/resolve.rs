//! Whether a writer's schema resolves to `usage_event.v1`: our fields, and what each may be read
//! from.
//!
//! It reads no data. A union may hold what we cannot read as long as one branch of it fits, so a
//! datum can still be refused for the branch it has.
//!
//! Invariant: data of a schema that does not resolve are never read.

use super::plan::{Node, Plan};
use crate::near::near;

/// The kinds of value that a field of ours may be read from.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    Text,
    Long,
    Time,
    Value,
    Map,
    Producer,
    Correction,
    Action,
}

/// Our fields: name, what they are, whether they may be null, whether the writer must have them.
type Fields = &'static [(&'static str, Target, bool, bool)];

const EVENT: Fields = &[
    ("source", Target::Text, false, true),
    ("id", Target::Text, false, true),
    ("type", Target::Text, false, true),
    ("subject", Target::Text, false, true),
    ("time", Target::Time, false, true),
    ("value", Target::Value, false, true),
    ("dimensions", Target::Map, false, false),
    ("provider", Target::Text, true, false),
    ("location", Target::Text, true, false),
    ("resource", Target::Map, true, false),
    ("producer", Target::Producer, true, false),
    ("correction", Target::Correction, true, false),
];
const PRODUCER: Fields = &[
    ("id", Target::Text, false, true),
    ("epoch", Target::Long, false, true),
    ("seq", Target::Long, false, true),
];
const CORRECTION: Fields = &[
    ("action", Target::Action, false, true),
    ("source", Target::Text, false, true),
    ("id", Target::Text, false, true),
    ("reason", Target::Text, false, true),
];

/// Whether some datum of the writer's schema can be an event; what a union holds is only known
/// datum by datum.
///
/// # Errors
/// The first thing in the schema that cannot be read as ours.
pub fn event(Plan { nodes, root }: &Plan) -> Result<(), String> {
    let branches = match &nodes[*root] {
        Node::Union(branches) => branches.clone(),
        _ => vec![*root],
    };
    let resolved = branches.iter().map(|branch| record(nodes, *branch, "", EVENT)).collect::<Vec<_>>();
    match resolved.iter().any(Result::is_ok) {
        true => Ok(()),
        false => resolved
            .into_iter()
            .next()
            .unwrap_or_else(|| Err("the writer's schema is a union of nothing".to_owned())),
    }
}

fn record(nodes: &[Node], node: usize, path: &str, fields: Fields) -> Result<(), String> {
    let Node::Record(written) = &nodes[node] else {
        return Err(format!(
            "the writer's schema has {} where usage_event.v1 has a record{}",
            nodes[node].what(),
            if path.is_empty() { String::new() } else { format!(" ({path})") }
        ));
    };
    for (name, target, nullable, required) in fields {
        let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
        match written.iter().find(|field| field.name == *name) {
            Some(found) => field(nodes, found.node, &path, *target, *nullable)?,
            None if *required => {
                return Err(format!(
                    "the writer's schema has no field {path}, and usage_event.v1 has no default for it"
                ));
            }
            None => {}
        }
    }
    let has = |name: &str| written.iter().any(|field| field.name == name);
    let ours = |name: &str| EVENT.iter().any(|(ours, ..)| *ours == name);
    // The event's own fields alone; what stands deeper is not ours to guess.
    let mut others =
        written.iter().map(|field| field.name.as_str()).filter(|name| path.is_empty() && !ours(name));
    match others.find_map(|name| Some((name, near(name, has)?))) {
        Some((name, meant)) => {
            Err(format!("the writer's schema has the field {name}, which is not read; did you mean {meant}?"))
        }
        None => Ok(()),
    }
}

fn field(nodes: &[Node], node: usize, path: &str, target: Target, nullable: bool) -> Result<(), String> {
    let fits = match (&nodes[node], target) {
        (Node::Union(branches), _) => {
            let results = branches
                .iter()
                .map(|branch| field(nodes, *branch, path, target, nullable))
                .collect::<Vec<_>>();
            // A union resolves if one branch does. Null alone is no sign that the rest fits too.
            let is_null = |branch: &usize| nodes[*branch] == Node::Null;
            let something =
                branches.iter().zip(&results).any(|(branch, result)| !is_null(branch) && result.is_ok());
            let nothing = branches.iter().all(is_null);
            return match results.into_iter().zip(branches).find(|(_, branch)| !is_null(branch)) {
                Some((result, _)) if !something => result,
                _ if nothing && !nullable => Err(format!("the writer's schema has only null for {path}")),
                _ => Ok(()),
            };
        }
        (Node::Null, _) => nullable,
        (Node::String | Node::Bytes, Target::Text)
        | (Node::Int | Node::Long, Target::Long)
        | (Node::Int | Node::Long | Node::TimestampMicros, Target::Time)
        | (Node::Decimal { .. }, Target::Value)
        | (Node::Enum(_), Target::Action) => true,
        (Node::Map(values), Target::Map) => return field(nodes, *values, path, Target::Text, false),
        (Node::Record(_), Target::Producer) => return record(nodes, node, path, PRODUCER),
        (Node::Record(_), Target::Correction) => return record(nodes, node, path, CORRECTION),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(format!(
            "the writer's schema has {} for {path}; usage_event.v1 has {}",
            nodes[node].what(),
            target.what()
        ))
    }
}

impl Target {
    /// Our type, for a sentence.
    pub fn what(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Long => "a long",
            Self::Time => "a long of timestamp-micros",
            Self::Value => "bytes of decimal(28,9)",
            Self::Map => "a map of strings",
            Self::Producer | Self::Correction => "a record",
            Self::Action => "an enum",
        }
    }
}
