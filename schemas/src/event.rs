//! A usage event: who used how much of what, when. The domain type, whatever encoding it arrived in.
//!
//! It says nothing about who pays or what it costs; that is decided at rating. It carries no wire format: decoding lives in the
//! `ingest` crate, storage in `ledger`.

use crate::decimal::Quantity;
use crate::digest::Sha256Digest;
use crate::id::{EventKey, MeterType, ProviderId, Subject};
use crate::time::Instant;
use std::collections::BTreeMap;

/// Names and values that describe the usage, in byte order of the names.
pub type Dimensions = BTreeMap<String, String>;

/// One report of usage (CloudEvents 1.0.2 with the data of `usage_event.v1`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageEvent {
    pub key: EventKey,
    pub meter: MeterType,
    pub subject: Subject,
    /// When it was used; the only time that decides period, price and payer.
    pub time: Instant,
    /// In the meter's unit, never negative.
    pub quantity: Quantity,
    pub dimensions: Dimensions,
    /// Whose service was used, where the producer knows.
    pub provider: Option<ProviderId>,
    pub location: Option<String>,
    /// What exactly was used, for drill-down: group, kind, namespace, name, uid or what the producer has.
    pub resource: Option<BTreeMap<String, String>>,
    pub producer: Option<ProducerSequence>,
    pub correction: Option<Correction>,
}

/// A dense count by the producer, from which a loss can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerSequence {
    pub id: String,
    /// Grows each time the producer starts counting anew.
    pub epoch: i64,
    pub seq: i64,
}

/// Says that this event corrects another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    pub action: CorrectionAction,
    pub target: EventKey,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CorrectionAction {
    /// The target does not count; neither does this event's own quantity.
    Void,
    /// The target does not count; this event counts in its place.
    Replace,
}

impl CorrectionAction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Replace => "replace",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "void" => Some(Self::Void),
            "replace" => Some(Self::Replace),
            _ => None,
        }
    }
}

impl UsageEvent {
    /// The event as bytes, the same for every encoding it can arrive in. Two events are the same event exactly when these are equal.
    ///
    /// Grammar, all integers big-endian: `"use1"`, then source, id, type, subject as text; time as i64 microseconds; quantity as i128 of
    /// 10^-9; dimensions as map; provider and location as option of text; resource as option of map; producer as option of (text, i64 epoch, i64 seq);
    /// correction as option of (u8 1 = void or 2 = replace, source text, id text, reason text). Text is u32 length and UTF-8 bytes; a map is u32
    /// count and (text, text) in byte order of the names; an option is u8 0, or u8 1 and the value.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(b"use1");
        for name in [self.key.source.as_str(), self.key.id.as_str(), self.meter.as_str(), self.subject.as_str()] {
            push_text(&mut bytes, name);
        }
        bytes.extend_from_slice(&self.time.micros().to_be_bytes());
        bytes.extend_from_slice(&self.quantity.units().to_be_bytes());
        push_map(&mut bytes, &self.dimensions);
        push_option(&mut bytes, self.provider.as_ref(), |bytes, provider| push_text(bytes, provider.as_str()));
        push_option(&mut bytes, self.location.as_ref(), |bytes, location| push_text(bytes, location));
        push_option(&mut bytes, self.resource.as_ref(), push_map);
        push_option(&mut bytes, self.producer.as_ref(), |bytes, producer| {
            push_text(bytes, &producer.id);
            bytes.extend_from_slice(&producer.epoch.to_be_bytes());
            bytes.extend_from_slice(&producer.seq.to_be_bytes());
        });
        push_option(&mut bytes, self.correction.as_ref(), |bytes, correction| {
            bytes.push(match correction.action {
                CorrectionAction::Void => 1,
                CorrectionAction::Replace => 2,
            });
            push_text(bytes, correction.target.source.as_str());
            push_text(bytes, correction.target.id.as_str());
            push_text(bytes, &correction.reason);
        });
        bytes
    }

    /// What tells a repeated event from a conflicting one: the digest of [`Self::canonical_bytes`].
    pub fn content_digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.canonical_bytes())
    }
}

/// Appends u32 length and bytes.
pub fn push_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    let length = u32::try_from(value.len()).expect("no field of a record reaches 4 GiB");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
}

/// Appends u32 length and UTF-8 bytes.
pub fn push_text(bytes: &mut Vec<u8>, text: &str) {
    push_bytes(bytes, text.as_bytes());
}

/// Appends u8 0, or u8 1 and the value.
pub fn push_option<T>(bytes: &mut Vec<u8>, value: Option<&T>, push: impl FnOnce(&mut Vec<u8>, &T)) {
    match value {
        None => bytes.push(0),
        Some(value) => {
            bytes.push(1);
            push(bytes, value);
        }
    }
}

fn push_map(bytes: &mut Vec<u8>, map: &BTreeMap<String, String>) {
    let count = u32::try_from(map.len()).expect("no record has 2^32 dimensions");
    bytes.extend_from_slice(&count.to_be_bytes());
    for (name, value) in map {
        push_text(bytes, name);
        push_text(bytes, value);
    }
}
