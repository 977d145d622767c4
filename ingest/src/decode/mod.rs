//! One record, in whatever encoding, to usage or rejection. Total: every input has an outcome.
//!
//! ```text
//! bytes ── encoding ──> Candidate ── judge ──> EventRef | Rejection
//!          json, avro   (what was found)       (the rules, once, for all encodings)
//! ```
//!
//! An encoding only finds fields; `judge` alone decides about them, in the order of [`Reason`],
//! so that the same mistake has the same reason in JSON, in Kafka headers and in Avro. Neither
//! copies what it need not: an event borrows from its record.
//!
//! Invariant: decoding a record depends on that record, its schema and the time it was received,
//! never on its neighbours.

// Modules in reading order.
mod candidate; // what was found, not yet judged
mod judge; // the rules
mod map_cache; // maps that came before
pub(crate) mod json; // strict JSON
mod cloudevents; // CloudEvents in JSON and in Kafka headers
pub(crate) mod avro; // Avro data

use crate::IngestError;
use crate::foreign;
use crate::schema::WriterSchema;
use crate::schema::registry::SchemaLookup;
use crate::source::{Content, Header, RawRef, header_size};
use crate::stop::Stop;
use avro::Failure;
use bumpalo::Bump;
use candidate::{Candidate, Data};
use map_cache::MapCache;
use schemas::digest::Sha256Digest;
use schemas::outcome::{OutcomeRef, write_headers};
use schemas::rejection::{Reason, Rejection};
use schemas::time::Instant;
use std::collections::HashMap;
use std::sync::Arc;

/// The largest record: key, headers and value together, a header as large as `source::header_size`
/// says.
pub const MAX_RECORD_BYTES: usize = 1 << 20;
/// How much of a record that is too large is kept.
pub const KEPT_BYTES: usize = 64 << 10;

/// Decodes records.
pub struct Decoder {
    schemas: Schemas,
    maps: MapCache,
    /// Everything that is made for one record and does not stand in it.
    arena: Bump,
}

/// The schemas of Avro data: by fingerprint, and where to ask for them by id.
struct Schemas {
    by_fingerprint: HashMap<u64, Arc<WriterSchema>>,
    by_id: Box<dyn SchemaLookup>,
    /// The schema of the last datum; the next one most often has the same.
    last: Option<(SchemaName, Arc<WriterSchema>)>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SchemaName {
    Id(u32),
    Fingerprint(u64),
}

impl Decoder {
    /// Reads single-object encoding of the schemas this program ships and of `more`; asks `by_id`
    /// for Confluent schema ids.
    pub fn new(by_id: Box<dyn SchemaLookup>, more: impl IntoIterator<Item = Arc<WriterSchema>>) -> Self {
        let shipped = Arc::new(WriterSchema::usage_event_v1());
        let pairs = |schema: Arc<WriterSchema>| {
            schema.fingerprints().to_vec().into_iter().map(move |fingerprint| (fingerprint, schema.clone()))
        };
        let by_fingerprint = more.into_iter().chain([shipped]).flat_map(pairs).collect();
        Self {
            schemas: Schemas { by_fingerprint, by_id, last: None },
            maps: MapCache::default(),
            arena: Bump::new(),
        }
    }

    /// Gives what became of a record to `take`, and what that makes of it back.
    ///
    /// # Errors
    /// Only what is not the record's fault: a stop was asked for while waiting for the schema
    /// registry.
    pub fn decode<T>(
        &mut self,
        raw: &RawRef<'_>,
        content: Content<'_>,
        received_at: Instant,
        stop: &Stop,
        take: impl FnOnce(&OutcomeRef<'_>) -> T,
    ) -> Result<T, IngestError> {
        if self.arena.allocated_bytes() > MAX_RECORD_BYTES {
            // A hostile record may need much more than itself.
            self.arena = Bump::new();
        }
        self.arena.reset();
        let mut candidate = Candidate::default();
        match content {
            Content::Gap { until, detail } => return Ok(take(&OutcomeRef::Gap { until, detail })),
            Content::Refused(rejection) => return Ok(refused(rejection, raw, take)),
            Content::Message | Content::Json | Content::Avro(_) => {}
        }
        // Written where it stays: handing it out of the closure would copy every event.
        let mut judged = None;
        let (schemas, maps, arena) = (&mut self.schemas, &self.maps, &self.arena);
        let read = foreign::read("a record", || {
            match schemas.find(raw, content, arena, maps, &mut candidate, stop) {
                Ok(Ok(())) => judged = Some(judge::judge(&candidate, received_at, arena)),
                Ok(Err(rejection)) => judged = Some(Err(rejection)),
                Err(error) => return Err(error),
            }
            Ok(())
        });
        let outcome = match (read, &judged) {
            (Ok(Ok(())), Some(Ok(outcome))) => outcome,
            (Ok(Ok(())), Some(Err(rejection))) => return Ok(refused(rejection, raw, take)),
            (Ok(Ok(())), None) => unreachable!("what was read without an error was judged"),
            (Ok(Err(error)), _) => return Err(error),
            (Err(rejection), _) => return Ok(refused(&rejection, raw, take)),
        };
        let taken = take(outcome);
        let Data { dimensions, resource, .. } = &candidate.data;
        let new = match outcome {
            OutcomeRef::Usage(event) => [
                self.maps.admit(dimensions, event.dimensions),
                event.resource.and_then(|map| self.maps.admit(resource, map)),
            ],
            _ => [None, None],
        };
        for new in new.into_iter().flatten() {
            self.maps.insert(*new);
        }
        Ok(taken)
    }
}

impl Schemas {
    /// Finds the fields of an event.
    fn find<'a>(
        &mut self,
        raw: &RawRef<'a>,
        content: Content<'_>,
        arena: &'a Bump,
        maps: &'a MapCache,
        candidate: &mut Candidate<'a>,
        stop: &Stop,
    ) -> Result<Result<(), Rejection>, IngestError> {
        let value = match raw.value {
            Some(value) if !value.is_empty() => value,
            Some(_) => return Ok(Err(Rejection::new(Reason::Empty, "the record has no bytes"))),
            None => {
                return Ok(Err(Rejection::new(Reason::Empty, "the record is a tombstone: it has no value")));
            }
        };
        if raw.size() > MAX_RECORD_BYTES {
            return Ok(Err(too_large(raw.size(), &Sha256Digest::of(value).to_string())));
        }
        Ok(match content {
            Content::Avro(schema) => datum(schema, value, maps, arena, candidate),
            Content::Json => cloudevents::structured(value, arena, candidate),
            _ => match encoding(raw.headers, value) {
                Err(rejection) => Err(rejection),
                Ok(Encoding::Structured(value)) => cloudevents::structured(value, arena, candidate),
                Ok(Encoding::Binary(value)) => cloudevents::binary(raw.headers, value, arena, candidate),
                Ok(Encoding::Avro { schema, datum: bytes }) => {
                    let found = self
                        .schema(schema, stop)?
                        .and_then(|schema| datum(schema, bytes, maps, arena, candidate));
                    if found.is_ok() && !raw.headers.is_empty() {
                        cloudevents::with_headers(candidate, raw.headers);
                    }
                    found
                }
            },
        })
    }

    fn schema(
        &mut self,
        name: SchemaName,
        stop: &Stop,
    ) -> Result<Result<&WriterSchema, Rejection>, IngestError> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != name) {
            let found = match name {
                SchemaName::Id(id) => self.by_id.by_id(id, stop)?,
                SchemaName::Fingerprint(fingerprint) => self.by_fingerprint.get(&fingerprint).cloned(),
            };
            // That a schema is unknown may change, so it is not kept here.
            self.last = found.map(|schema| (name, schema));
        }
        Ok(self.last.as_ref().map(|(_, schema)| &**schema).ok_or_else(|| {
            let detail = match name {
                SchemaName::Id(id) => self.by_id.why_unknown(id),
                SchemaName::Fingerprint(fingerprint) => {
                    format!(
                        "no schema has the fingerprint {} (CRC-64-AVRO, little-endian)",
                        hex::encode(fingerprint.to_le_bytes())
                    )
                }
            };
            Rejection::new(Reason::SchemaUnknown, detail)
        }))
    }
}

/// Tells a Kafka message's encoding: by Avro's first bytes, else by its headers, else by its first
/// byte.
fn encoding<'a>(headers: &[Header<'_>], value: &'a [u8]) -> Result<Encoding<'a>, Rejection> {
    match value {
        [0x00, a, b, c, d, datum @ ..] => {
            return Ok(Encoding::Avro {
                schema: SchemaName::Id(u32::from_be_bytes([*a, *b, *c, *d])),
                datum,
            });
        }
        [0xC3, 0x01, rest @ ..] => {
            let Some((fingerprint, datum)) = rest.split_first_chunk::<8>() else {
                return Err(Rejection::new(
                    Reason::AvroInvalid,
                    "the record ends inside the schema fingerprint of its single-object encoding",
                ));
            };
            return Ok(Encoding::Avro {
                schema: SchemaName::Fingerprint(u64::from_le_bytes(*fingerprint)),
                datum,
            });
        }
        [0x00, ..] => {
            return Err(Rejection::new(
                Reason::AvroInvalid,
                "the record ends inside the schema id of its Confluent framing",
            ));
        }
        _ => {}
    }
    let unknown = |detail: String| Err(Rejection::new(Reason::EncodingUnknown, detail));
    let content_type = cloudevents::content_type(headers);
    let looks_like_json = matches!(value.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{' | b'['));
    match content_type.as_deref() {
        Some("application/cloudevents+json") => Ok(Encoding::Structured(value)),
        Some(other) if other.starts_with("application/cloudevents") => {
            unknown(format!("the content type {other:?} is not read; application/cloudevents+json is"))
        }
        Some(other) if cloudevents::is_avro(other) => {
            unknown("the content type says Avro, but the value has neither Confluent framing nor single-object encoding".to_owned())
        }
        _ if cloudevents::has_attributes(headers) => Ok(Encoding::Binary(value)),
        Some(other) if cloudevents::is_json(other) => Ok(Encoding::Structured(value)),
        None if looks_like_json => Ok(Encoding::Structured(value)),
        Some(other) => unknown(format!("the content type {other:?} is not read and there are no ce_ headers")),
        None => unknown("the value is neither Avro nor JSON, and no header says what it is".to_owned()),
    }
}

fn datum<'a>(
    schema: &WriterSchema,
    bytes: &'a [u8],
    maps: &'a MapCache,
    arena: &'a Bump,
    candidate: &mut Candidate<'a>,
) -> Result<(), Rejection> {
    match avro::read(schema, bytes, maps, arena, candidate) {
        Ok(()) => Ok(()),
        Err(Failure::Incompatible(detail)) => Err(Rejection::new(Reason::SchemaIncompatible, detail)),
        Err(Failure::Invalid(detail)) => Err(Rejection::new(Reason::AvroInvalid, detail)),
    }
}

/// The refusal of a record of `size` bytes; `digest` names the bytes that are not kept.
pub(crate) fn too_large(size: usize, digest: &str) -> Rejection {
    let detail = format!(
        "the record has {size} bytes and at most {MAX_RECORD_BYTES} are read; the first {KEPT_BYTES} are kept, the SHA-256 of the whole value is {digest}"
    );
    Rejection::new(Reason::TooLarge, detail)
}

fn refused<T>(rejection: &Rejection, raw: &RawRef<'_>, take: impl FnOnce(&OutcomeRef<'_>) -> T) -> T {
    let fitting;
    // This holds for every reason: a tombstone may have a key of any size.
    let raw = if raw.size() > MAX_RECORD_BYTES {
        fitting = headers_that_fit(raw);
        cut(raw, &fitting)
    } else {
        *raw
    };
    let mut headers = Vec::new();
    write_headers(&mut headers, raw.headers);
    take(&OutcomeRef::Rejected {
        reason: rejection.reason,
        detail: &rejection.detail,
        key: raw.key,
        headers: &headers,
        value: raw.value,
    })
}

/// A record cut down to about [`KEPT_BYTES`]: the value first, then the key, then the headers that
/// still fit.
fn cut<'a>(raw: &RawRef<'a>, headers: &'a [Header<'a>]) -> RawRef<'a> {
    let value = raw.value.map(|value| &value[..value.len().min(KEPT_BYTES)]);
    let left = KEPT_BYTES - value.map_or(0, <[u8]>::len);
    RawRef { key: raw.key.map(|key| &key[..key.len().min(left)]), headers, value }
}

fn headers_that_fit<'a>(raw: &RawRef<'a>) -> Vec<Header<'a>> {
    let mut left = KEPT_BYTES;
    for part in [raw.value, raw.key].into_iter().flatten() {
        left -= part.len().min(left);
    }
    let fits = |header: &&Header<'a>| {
        let size = header_size(header);
        let fits = size <= left;
        left -= if fits { size } else { 0 };
        fits
    };
    raw.headers.iter().filter(fits).copied().collect()
}

#[cfg(test)]
mod tests;
