//! Entry 0 of a table: what it is set to, its columns, and the id that follows from them.
//!
//! The entry is rendered here and checked by rendering it again, like every other. Tables that were
//! made by Delta's own library have an entry 0 of its making; what it is set to is read from it.
//!
//! Invariant: no entry is accepted under which Delta would delete history or let rows be edited.

use super::entry::{newer_format, read_entry};
use crate::error::LedgerError;
use crate::places;
use crate::row::columns::{Column, ColumnType};
use crate::store::Location;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use proof::leaf_key::LeafKeyId;
use proof::unknown::Unknown;
use schemas::canonical::Reader;
use schemas::digest::Sha256Digest;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The properties that a table must have, and why, in byte order of the names. Read back at every
/// open, because Delta takes an unreadable value for its default.
const PROPERTIES: &[(&str, &str, &str)] = &[
    ("delta.appendOnly", "true", "rows are never edited"),
    ("delta.checkpointInterval", "100", "commits are counted by it"),
    ("delta.deletedFileRetentionDuration", "interval 5200 weeks", "anything else deletes files"),
    ("delta.enableExpiredLogCleanup", "false", "anything else deletes history after every commit"),
    ("delta.logRetentionDuration", "interval 5200 weeks", "anything else deletes history"),
];
/// Properties that a table must not have, and why.
const NEVER: &[(&str, &str)] =
    &[("delta.setTransactionRetentionDuration", "positions would be forgotten and records read again")];

/// The purpose of a table. Its id follows from it, so that two tables never have one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Creation {
    /// The shard's number; `JOURNAL` for the journal.
    pub shard: u32,
    /// The leaf key's id, which is another one in every ledger.
    pub key: LeafKeyId,
}

/// A table's metadata, as Delta calls it.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    /// Delta's id of the table.
    pub id: String,
    /// The columns, as Delta's protocol writes a schema.
    pub schema: String,
    pub properties: BTreeMap<String, String>,
    /// Milliseconds since 1970, where the entry says it.
    pub created: Option<i64>,
}

/// Entry 0, read.
pub(crate) struct Created {
    pub entry: Bytes,
    pub metadata: Metadata,
    /// None where Delta's library made the table.
    pub creation: Option<Creation>,
}

impl Creation {
    fn encode(self) -> Vec<u8> {
        let mut bytes = b"cre1".to_vec();
        bytes.extend_from_slice(&self.shard.to_be_bytes());
        bytes.extend_from_slice(&self.key.0);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new("the record of a table's creation", bytes);
        if reader.array::<4>()? != *b"cre1" {
            return Err("it was created in a format that this version does not read".to_owned());
        }
        let creation = Self { shard: reader.u32()?, key: LeafKeyId(reader.array()?) };
        match reader.left() {
            0 => Ok(creation),
            rest => Err(format!("{rest} bytes are left over after the record of its creation")),
        }
    }

    /// The entry (`docs/format.md`, "A commit").
    pub(crate) fn render(self, columns: &[Column]) -> String {
        let digest = Sha256Digest::of(self.render_with("", columns).as_bytes());
        self.render_with(&uuid(&digest), columns)
    }

    fn render_with(self, id: &str, columns: &[Column]) -> String {
        let creation = BASE64_STANDARD.encode(self.encode());
        let configuration: Vec<String> =
            PROPERTIES.iter().map(|(name, value, _)| format!(r#""{name}":"{value}""#)).collect();
        let configuration = configuration.join(",");
        let schema = Value::from(schema(columns));
        format!(
            r#"{{"commitInfo":{{"timestamp":0,"operation":"CREATE TABLE","operationParameters":{{}},"engineInfo":"atcost","creation":"{creation}"}}}}
{{"protocol":{{"minReaderVersion":1,"minWriterVersion":2}}}}
{{"metaData":{{"id":"{id}","format":{{"provider":"parquet","options":{{}}}},"schemaString":{schema},"partitionColumns":[],"configuration":{{{configuration}}}}}}}
"#
        )
    }
}

/// The first 16 bytes of a digest as a UUID of version 8 (RFC 9562, section 5.8).
fn uuid(digest: &Sha256Digest) -> String {
    let mut bytes: [u8; 16] = *digest.as_bytes().first_chunk().expect("a digest has 32 bytes");
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    uuid::Uuid::from_bytes(bytes).to_string()
}

/// The columns as Delta's protocol writes a schema. Rendered here, so that its bytes depend on no
/// library.
fn schema(columns: &[Column]) -> String {
    let fields: Vec<String> = columns
        .iter()
        .map(|Column { name, kind, required, .. }| {
            let kind = match kind {
                ColumnType::Text => "string",
                ColumnType::Integer => "integer",
                ColumnType::Long => "long",
                ColumnType::Instant => "timestamp",
                ColumnType::Quantity => "decimal(28,9)",
                ColumnType::Bytes => "binary",
            };
            let nullable = !required;
            format!(r#"{{"metadata":{{}},"name":"{name}","nullable":{nullable},"type":"{kind}"}}"#)
        })
        .collect();
    format!(r#"{{"fields":[{}],"type":"struct"}}"#, fields.join(","))
}

/// Reads entry 0 and checks all it says.
///
/// # Errors
/// `Invalid` when there is no table or a property is dangerous, `Corrupt` when the entry is not
/// what was written.
pub(crate) async fn read(table: &Location, columns: &[Column]) -> Result<Created, LedgerError> {
    let Some(entry) = read_entry(table, 0).await? else {
        return Err(match places::entries(table).list().await?.objects.is_empty() {
            true => LedgerError::invalid(table, "there is no ledger here; `atcost init` makes one"),
            false => {
                LedgerError::corrupt(table, "the first log entry is gone; restore the ledger from a copy")
            }
        });
    };
    let location = places::entry(table, 0);
    if let Some(newer @ Unknown::Newer { .. }) = Unknown::of(&entry) {
        return Err(newer_format(&location, &newer));
    }
    let damaged =
        |detail: String| LedgerError::corrupt(&location, format!("{detail}; restore the ledger from a copy"));
    let actions = Actions::read(&entry).map_err(damaged)?;
    check_properties(table, &actions.metadata.properties)?;
    let expected: Value = serde_json::from_str(&schema(columns)).expect("it is rendered as JSON");
    let found: Value = serde_json::from_str(&actions.metadata.schema)
        .map_err(|error| damaged(format!("its schema is no JSON: {error}")))?;
    if found != expected {
        let fields = found["fields"].as_array();
        let names: Vec<&str> =
            fields.into_iter().flatten().filter_map(|field| field["name"].as_str()).collect();
        return Err(damaged(format!(
            "its columns are not those this version writes; found {}",
            names.join(", ")
        )));
    }
    let creation = match actions.creation {
        Some(creation) if creation.render(columns).as_bytes() == &*entry => Some(creation),
        // An entry of Delta's library cannot be taken for ours with a bit flipped.
        None if actions.is_by_the_library => None,
        _ => return Err(damaged("its bytes are not those that follow from its creation".to_owned())),
    };
    Ok(Created { entry, metadata: actions.metadata, creation })
}

fn check_properties(table: &Location, found: &BTreeMap<String, String>) -> Result<(), LedgerError> {
    let refuse = |name: &str, wanted: String, why: &str| {
        let detail = format!(
            "dangerous table property: {name} must {wanted}: {why}; set it back before using this ledger"
        );
        Err(LedgerError::invalid(table, detail))
    };
    for (name, value, why) in PROPERTIES {
        if found.get(*name).is_none_or(|found| found != value) {
            return refuse(name, format!("be `{value}`"), why);
        }
    }
    match NEVER.iter().find(|(name, _)| found.contains_key(*name)) {
        Some((name, why)) => refuse(name, "not be set".to_owned(), why),
        None => Ok(()),
    }
}

/// The parts of entry 0 that matter.
struct Actions {
    metadata: Metadata,
    creation: Option<Creation>,
    is_by_the_library: bool,
}

impl Actions {
    /// # Errors
    /// The defect of the entry, as part of a sentence.
    fn read(entry: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(entry).map_err(|_| "it is not UTF-8".to_owned())?;
        let (mut info, mut protocol, mut metadata) = (None, None, None);
        for line in text.lines() {
            let mut action: Map<String, Value> =
                serde_json::from_str(line).map_err(|error| format!("it is not a log entry: {error}"))?;
            info = info.or(action.remove("commitInfo"));
            protocol = protocol.or(action.remove("protocol"));
            metadata = metadata.or(action.remove("metaData"));
        }
        let (Some(info), Some(protocol), Some(metadata)) = (info, protocol, metadata) else {
            return Err("it does not create a table".to_owned());
        };
        if (&protocol["minReaderVersion"], &protocol["minWriterVersion"]) != (&json!(1), &json!(2)) {
            return Err(format!("its protocol is {protocol}, which this version does not write"));
        }
        let text_of = |value: &Value| value.as_str().map(str::to_owned);
        let configuration = metadata["configuration"].as_object().ok_or("it has no configuration")?;
        let configuration = configuration
            .iter()
            .map(|(name, value)| Some((name.clone(), text_of(value)?)))
            .collect::<Option<_>>()
            .ok_or("a property is not a string")?;
        let creation = match info["creation"].as_str() {
            Some(creation) => {
                let bytes = BASE64_STANDARD
                    .decode(creation)
                    .map_err(|error| format!("the record of its creation is not base64: {error}"))?;
                Some(Creation::decode(&bytes)?)
            }
            None => None,
        };
        let metadata = Metadata {
            id: text_of(&metadata["id"]).ok_or("it has no id")?,
            schema: text_of(&metadata["schemaString"]).ok_or("it has no schema")?,
            properties: configuration,
            created: metadata["createdTime"].as_i64(),
        };
        Ok(Self { metadata, creation, is_by_the_library: text.contains("delta-rs") })
    }
}
