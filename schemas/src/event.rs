//! A usage event: who used how much of what, when. The domain type, whatever encoding it arrived
//! in.
//!
//! It says nothing about who pays or what it costs; that is decided at rating. It carries no wire
//! format: decoding lives in the `ingest` crate, storage in `ledger`. It owns nothing, so that an
//! event goes from the bytes it came in to the columns it is kept in without a copy on the way.

use crate::canonical::{Pair, push_option, push_text};
use crate::decimal::Quantity;
use crate::time::Instant;
use std::borrow::Cow;

/// Names with their values, in byte order of the names, each name once; and the same as canonical
/// bytes, which are made once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapRef<'a> {
    pairs: &'a [Pair<'a>],
    canonical: &'a [u8],
}

impl<'a> MapRef<'a> {
    pub const EMPTY: Self = Self { pairs: &[], canonical: &[0; 4] };

    /// `canonical` is what [`crate::canonical::push_map`] makes of `pairs`.
    ///
    /// # Panics
    /// When the names are not in order, or one is there twice.
    pub fn with_canonical(pairs: &'a [Pair<'a>], canonical: &'a [u8]) -> Self {
        assert!(
            pairs.is_sorted_by(|(one, _), (other, _)| one < other),
            "the names of a map are in order, each once"
        );
        Self { pairs, canonical }
    }

    pub fn pairs(&self) -> &'a [Pair<'a>] {
        self.pairs
    }

    /// As [`EventRef::write_canonical`] has it.
    pub fn canonical(&self) -> &'a [u8] {
        self.canonical
    }
}

/// A [`MapRef`] that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMap {
    pairs: Vec<Pair<'static>>,
    canonical: Vec<u8>,
}

impl KeptMap {
    pub fn get(&self) -> MapRef<'_> {
        MapRef { pairs: &self.pairs, canonical: &self.canonical }
    }
}

impl From<MapRef<'_>> for KeptMap {
    fn from(map: MapRef<'_>) -> Self {
        let owned = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
        Self {
            pairs: map.pairs.iter().map(|(name, value)| (owned(name), owned(value))).collect(),
            canonical: map.canonical.to_vec(),
        }
    }
}

/// One report of usage (CloudEvents 1.0.2 with the data of `usage_event.v1`). Its names obey
/// [`crate::name::check_name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// The reporter. Source and id name the event for ever.
    pub source: &'a str,
    pub id: &'a str,
    /// CloudEvents `type`.
    pub meter: &'a str,
    pub subject: &'a str,
    /// When it was used; the only time that decides period, price and payer.
    pub time: Instant,
    /// In the meter's unit, never negative.
    pub quantity: Quantity,
    /// Names and values that describe the usage.
    pub dimensions: MapRef<'a>,
    /// Whose service was used, where the producer knows.
    pub provider: Option<&'a str>,
    pub location: Option<&'a str>,
    /// The very thing that was used, for drill-down: group, kind, namespace, name, uid or what the
    /// producer has.
    pub resource: Option<MapRef<'a>>,
    pub producer: Option<ProducerRef<'a>>,
    pub correction: Option<CorrectionRef<'a>>,
}

/// A dense count by the producer, from which a loss can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerRef<'a> {
    pub id: &'a str,
    /// Grows each time the producer starts counting anew.
    pub epoch: i64,
    pub seq: i64,
}

/// Says that this event corrects another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorrectionRef<'a> {
    pub action: CorrectionAction,
    /// The other event's source and id.
    pub source: &'a str,
    pub id: &'a str,
    pub reason: &'a str,
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

impl EventRef<'_> {
    /// Appends the event as bytes, the same for every encoding it can arrive in. Two events are the
    /// same event exactly when these are equal.
    ///
    /// Grammar, all integers big-endian: `"use1"`, then source, id, type, subject as text; time as
    /// i64 microseconds; quantity as i128 of 10^-9; dimensions as map; provider and location as
    /// option of text; resource as option of map; producer as option of (text, i64 epoch, i64 seq);
    /// correction as option of (u8 1 = void or 2 = replace, source text, id text, reason text).
    /// Text is u32 length and UTF-8 bytes; a map is u32 count and (text, text) in byte order of the
    /// names; an option is u8 0, or u8 1 and the value.
    pub fn write_canonical(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(b"use1");
        for name in [self.source, self.id, self.meter, self.subject] {
            push_text(bytes, name);
        }
        bytes.extend_from_slice(&self.time.micros().to_be_bytes());
        bytes.extend_from_slice(&self.quantity.units().to_be_bytes());
        bytes.extend_from_slice(self.dimensions.canonical);
        push_option(bytes, self.provider, push_text);
        push_option(bytes, self.location, push_text);
        push_option(bytes, self.resource, |bytes, map| bytes.extend_from_slice(map.canonical));
        push_option(bytes, self.producer, |bytes, producer| {
            push_text(bytes, producer.id);
            bytes.extend_from_slice(&producer.epoch.to_be_bytes());
            bytes.extend_from_slice(&producer.seq.to_be_bytes());
        });
        push_option(bytes, self.correction, |bytes, correction| {
            bytes.push(match correction.action {
                CorrectionAction::Void => 1,
                CorrectionAction::Replace => 2,
            });
            push_text(bytes, correction.source);
            push_text(bytes, correction.id);
            push_text(bytes, correction.reason);
        });
    }
}
