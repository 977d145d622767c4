//! One record, in whatever encoding, to usage or rejection. Total: every input has an outcome.
//!
//! ```text
//! bytes ── encoding ──> Candidate ── judge ──> UsageEvent | Rejection
//!          json, avro   (what was found)       (the rules, once, for all encodings)
//! ```
//!
//! An encoding only finds fields; [`judge`] alone decides about them, in the order of [`Reason`], so that the same mistake has
//! the same reason in JSON, in Kafka headers and in Avro.
//!
//! Invariant: decoding a record depends on that record, its schema and the time it was received, never on its neighbours.

// Modules in reading order.
mod candidate; // what was found, not yet judged
mod judge; // the rules
mod json; // strict JSON
mod cloudevents; // CloudEvents in JSON and in Kafka headers
pub mod avro; // writer schemas and their data

use crate::IngestError;
use crate::registry::SchemaLookup;
use crate::source::{Content, SourceRecord, Stop, size};
use avro::{Failure, WriterSchema};
use candidate::Candidate;
use schemas::batch::{DecodedRecord, Outcome, RawRecord};
use schemas::digest::Sha256Digest;
use schemas::event::UsageEvent;
use schemas::rejection::{Reason, Rejection};
use schemas::time::Instant;
use std::collections::HashMap;
use std::sync::Arc;

/// The largest record: key, headers and value together.
pub const MAX_RECORD_BYTES: usize = 1 << 20;
/// How much of a record that is too large is kept.
pub const KEPT_BYTES: usize = 64 << 10;

/// Decodes records. Holds what Avro needs: schemas by fingerprint, and where to ask for schemas by id.
pub struct Decoder {
    by_fingerprint: HashMap<u64, Arc<WriterSchema>>,
    by_id: Box<dyn SchemaLookup>,
}

/// How a record's bytes are to be read.
enum Encoding<'a> {
    /// A CloudEvent in JSON.
    Structured(&'a [u8]),
    /// Attributes in headers, data in the value.
    Binary(&'a [u8]),
    /// A datum of a schema that is named by id or fingerprint, and attributes in headers, if any.
    Avro { schema: SchemaName, datum: &'a [u8] },
}

enum SchemaName {
    Id(u32),
    Fingerprint(u64),
}

impl Decoder {
    /// Reads single-object encoding of the schemas this program ships and of `more`; asks `by_id` for Confluent schema ids.
    pub fn new(by_id: Box<dyn SchemaLookup>, more: impl IntoIterator<Item = Arc<WriterSchema>>) -> Self {
        let shipped = Arc::new(WriterSchema::usage_event_v1());
        let pairs = |schema: Arc<WriterSchema>| schema.fingerprints().to_vec().into_iter().map(move |fingerprint| (fingerprint, schema.clone()));
        let by_fingerprint = more.into_iter().chain([shipped]).flat_map(pairs).collect();
        Self { by_fingerprint, by_id }
    }

    /// # Errors
    /// Only what is not the record's fault: a stop was asked for while waiting for the schema registry.
    pub fn decode(&mut self, record: SourceRecord, received_at: Instant, stop: &Stop) -> Result<DecodedRecord, IngestError> {
        let SourceRecord { coordinates, produced_at, raw, content } = record;
        let outcome = match content {
            Content::Gap { until, detail } => Outcome::Gap { until, detail },
            Content::Refused(rejection) => Outcome::Rejected { rejection, raw },
            Content::Message | Content::Json | Content::Avro(_) => match self.event(&raw, &content, received_at, stop)? {
                Ok(event) => Outcome::Usage(Box::new(event)),
                Err(rejection) if rejection.reason == Reason::TooLarge => Outcome::Rejected { rejection, raw: cut(raw) },
                Err(rejection) => Outcome::Rejected { rejection, raw },
            },
        };
        Ok(DecodedRecord { coordinates, produced_at, received_at, outcome })
    }

    fn event(&mut self, raw: &RawRecord, content: &Content, received_at: Instant, stop: &Stop) -> Result<Result<UsageEvent, Rejection>, IngestError> {
        let value = match raw.value.as_deref() {
            Some(value) if !value.is_empty() => value,
            Some(_) => return Ok(Err(Rejection::new(Reason::Empty, "the record has no bytes"))),
            None => return Ok(Err(Rejection::new(Reason::Empty, "the record is a tombstone: it has no value"))),
        };
        if size(raw) > MAX_RECORD_BYTES {
            return Ok(Err(too_large(size(raw), &Sha256Digest::of(value).to_string())));
        }
        let mut decoded = Vec::new();
        let candidate = match content {
            Content::Avro(schema) => datum(schema, value),
            Content::Json => cloudevents::structured(value, &mut decoded),
            _ => match encoding(raw, value) {
                Err(rejection) => Err(rejection),
                Ok(Encoding::Structured(value)) => cloudevents::structured(value, &mut decoded),
                Ok(Encoding::Binary(value)) => cloudevents::binary(&raw.headers, value),
                Ok(Encoding::Avro { schema, datum: bytes }) => {
                    let schema = self.schema(schema, stop)?;
                    schema.and_then(|schema| datum(&schema, bytes)).map(|candidate| cloudevents::with_headers(candidate, &raw.headers))
                }
            },
        };
        Ok(candidate.and_then(|candidate| judge::judge(candidate, received_at)))
    }

    fn schema(&mut self, name: SchemaName, stop: &Stop) -> Result<Result<Arc<WriterSchema>, Rejection>, IngestError> {
        let (found, detail) = match name {
            SchemaName::Id(id) => (self.by_id.by_id(id, stop)?, format!("schema id {id} is not known to {}", self.by_id.name())),
            SchemaName::Fingerprint(fingerprint) => (
                self.by_fingerprint.get(&fingerprint).cloned(),
                format!("no schema has the fingerprint {} (CRC-64-AVRO, little-endian)", hex::encode(fingerprint.to_le_bytes())),
            ),
        };
        Ok(found.ok_or_else(|| Rejection::new(Reason::SchemaUnknown, detail)))
    }
}

/// Tells a Kafka message's encoding: by Avro's first bytes, else by its headers, else by its first byte.
fn encoding<'a>(raw: &RawRecord, value: &'a [u8]) -> Result<Encoding<'a>, Rejection> {
    match value {
        [0x00, a, b, c, d, datum @ ..] => return Ok(Encoding::Avro { schema: SchemaName::Id(u32::from_be_bytes([*a, *b, *c, *d])), datum }),
        [0xC3, 0x01, rest @ ..] => {
            let Some((fingerprint, datum)) = rest.split_first_chunk::<8>() else {
                return Err(Rejection::new(Reason::AvroInvalid, "the record ends inside the schema fingerprint of its single-object encoding"));
            };
            return Ok(Encoding::Avro { schema: SchemaName::Fingerprint(u64::from_le_bytes(*fingerprint)), datum });
        }
        [0x00, ..] => return Err(Rejection::new(Reason::AvroInvalid, "the record ends inside the schema id of its Confluent framing")),
        _ => {}
    }
    let unknown = |detail: String| Err(Rejection::new(Reason::EncodingUnknown, detail));
    let content_type = cloudevents::content_type(&raw.headers);
    let looks_like_json = matches!(value.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{' | b'['));
    match content_type.as_deref() {
        Some("application/cloudevents+json") => Ok(Encoding::Structured(value)),
        Some(other) if other.starts_with("application/cloudevents") => {
            unknown(format!("the content type {other:?} is not read; application/cloudevents+json is"))
        }
        Some(other) if cloudevents::is_avro(other) => {
            unknown("the content type says Avro, but the value has neither Confluent framing nor single-object encoding".to_owned())
        }
        _ if cloudevents::has_attributes(&raw.headers) => Ok(Encoding::Binary(value)),
        Some(other) if cloudevents::is_json(other) => Ok(Encoding::Structured(value)),
        None if looks_like_json => Ok(Encoding::Structured(value)),
        Some(other) => unknown(format!("the content type {other:?} is not read and there are no ce_ headers")),
        None => unknown("the value is neither Avro nor JSON, and no header says what it is".to_owned()),
    }
}

fn datum<'a>(schema: &WriterSchema, bytes: &'a [u8]) -> Result<Candidate<'a>, Rejection> {
    schema.read(bytes).map_err(|failure| match failure {
        Failure::Incompatible(detail) => Rejection::new(Reason::SchemaIncompatible, detail),
        Failure::Invalid(detail) => Rejection::new(Reason::AvroInvalid, detail),
    })
}

/// The refusal of a record of `size` bytes; `digest` names the bytes that are not kept.
pub(crate) fn too_large(size: usize, digest: &str) -> Rejection {
    let detail = format!(
        "the record has {size} bytes and at most {MAX_RECORD_BYTES} are read; the first {KEPT_BYTES} are kept, the SHA-256 of the whole value is {digest}"
    );
    Rejection::new(Reason::TooLarge, detail)
}

/// Cuts a record down to about [`KEPT_BYTES`]: the value first, then the key, then the headers that still fit.
fn cut(mut raw: RawRecord) -> RawRecord {
    let mut left = KEPT_BYTES;
    for part in [&mut raw.value, &mut raw.key].into_iter().flatten() {
        part.truncate(left);
        left -= part.len();
    }
    raw.headers.retain(|(name, value)| {
        let size = name.len() + value.as_ref().map_or(0, Vec::len);
        let fits = size <= left;
        left -= if fits { size } else { 0 };
        fits
    });
    raw
}

#[cfg(test)]
mod tests;
