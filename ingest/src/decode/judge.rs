//! The rules for an event, once for all encodings, in the order of [`Reason`].
//!
//! Read from the top: each block is one reason, and the first that applies is the answer. A detail
//! names the field and what is wrong with it, not its content, which may be anything.

use super::candidate::{
    Candidate, Correction, Data, Entries, Found, Integer, Map, Producer, Text, Time, Value,
};
use super::cloudevents;
use bumpalo::Bump;
use schemas::canonical::{Pair, push_map};
use schemas::decimal::{DecimalError, Quantity, Sign};
use schemas::event::{CorrectionAction, CorrectionRef, EventRef, MapRef, ProducerRef};
use schemas::name::{MAX_BYTES, NameError, check_name, check_printable_name, check_reason};
use schemas::outcome::OutcomeRef;
use schemas::rejection::{Reason, Rejection};
use schemas::time::Instant;
use std::borrow::Cow;

/// How far a producer's clock may be ahead.
const CLOCK_SKEW_MICROS: i64 = 5 * 60 * 1_000_000;

/// The value if it is right, else the way out. `Result::map_err` is a call that moves its argument,
/// and here are ten of them for every event.
macro_rules! or_refuse {
    ($judged:expr, $reason:expr, $detail:expr) => {
        match $judged {
            Ok(value) => value,
            Err(error) => return Err(Rejection::new($reason(&error), $detail(error))),
        }
    };
}

/// An event's maps are put in order in `arena`.
///
/// # Errors
/// The first reason that applies.
pub fn judge<'a>(
    candidate: &Candidate<'a>,
    received_at: Instant,
    arena: &'a Bump,
) -> Result<OutcomeRef<'a>, Rejection> {
    let Candidate {
        printable,
        specversion,
        source,
        id,
        kind,
        subject,
        time,
        content_type,
        contradiction,
        found_data,
        misplaced,
        data,
    } = candidate;
    let check_name =
        |text: &str| if *printable { check_printable_name(text) } else { schemas::name::check_name(text) };
    let refuse = |reason, detail: String| Err(Rejection::new(reason, detail));

    let time_text = match time {
        Time::Text(text) => Some(text),
        Time::Micros(_) => None,
    };
    let attributes = [
        ("specversion", specversion.as_ref()),
        ("id", Some(id)),
        ("source", Some(source)),
        ("type", Some(kind)),
        ("subject", Some(subject)),
        ("time", time_text),
    ];
    let attributes = || attributes.iter().filter_map(|(name, found)| found.map(|found| (*name, found)));

    // Nearly every event has nothing to be refused for here.
    let fine = |found: &Text<'_>| matches!(found, Found::Is(text) if check_name(text).is_ok());
    let usual = specversion.is_none()
        && time_text.is_none()
        && *content_type == Found::Absent
        && contradiction.is_none();
    let usual = usual && fine(source) && fine(id) && fine(kind) && fine(subject);

    for (name, found) in attributes().take_while(|_| !usual) {
        match found {
            Found::Absent => return refuse(Reason::AttributeMissing, format!("{name} is missing")),
            Found::Is("") => return refuse(Reason::AttributeMissing, format!("{name} is empty")),
            _ => {}
        }
    }

    for (name, found) in attributes().chain([("datacontenttype", content_type)]).take_while(|_| !usual) {
        match found {
            Found::Wrong(what) => {
                return refuse(Reason::AttributeInvalid, format!("{name} is {what}; it must be a string"));
            }
            Found::Is(text) => {
                if let Err(error) = check_name(text) {
                    return refuse(Reason::AttributeInvalid, format!("{name}: {error}"));
                }
            }
            Found::Absent => {}
        }
    }
    if let Some(header) = contradiction {
        return refuse(Reason::AttributeInvalid, format!("the header {header} contradicts the Avro record"));
    }

    if let Some(Found::Is(version)) = specversion
        && *version != "1.0"
    {
        return refuse(Reason::SpecversionUnsupported, format!("specversion is {version:?}; 1.0 is read"));
    }

    if let Found::Is(content_type) = content_type
        && !cloudevents::is_json(content_type)
    {
        return refuse(
            Reason::ContentTypeUnsupported,
            format!("datacontenttype is {content_type:?}; application/json is read"),
        );
    }

    let time = match time {
        Time::Micros(micros) => Instant::from_micros(*micros),
        Time::Text(text) => Instant::parse_rfc3339(checked(text)),
    };
    let time = or_refuse!(time, |_: &_| Reason::TimeInvalid, |error| format!("time: {error}"));

    if time.micros() > received_at.micros().saturating_add(CLOCK_SKEW_MICROS) {
        return refuse(
            Reason::TimeInFuture,
            format!(
                "time is {time}, more than five minutes after the record was received at {received_at}; if the clock here was wrong, have the record sent again, or read its file again with --reading 2"
            ),
        );
    }

    match found_data {
        Found::Is(()) => {}
        Found::Absent => return refuse(Reason::DataInvalid, "data is missing".to_owned()),
        Found::Wrong(what) => {
            return refuse(Reason::DataInvalid, format!("data is {what}; it must be an object"));
        }
    }
    if let Some(name) = misplaced {
        let detail = format!("{name} stands beside data, where it has no effect; it belongs into data");
        return refuse(Reason::DataInvalid, detail);
    }
    let Data { value, dimensions, provider, location, resource, producer, correction, slip } = data;
    let without_value = matches!(value, Found::Absent | Found::Is(Value::Units([])));
    if let Some((name, ours)) = slip
        && !(*ours == "value" && without_value && !data.is_void())
    {
        let detail = format!("data.{name} is not read; did you mean data.{ours}?");
        return refuse(Reason::DataInvalid, detail);
    }

    let quantity = match value {
        // A void counts nothing, so that nothing has to be said.
        _ if without_value && data.is_void() => Quantity::ZERO,
        Found::Absent => {
            let detail = match slip {
                Some((name, _)) => format!("data.value is missing; did you mean it by data.{name}?"),
                None => "data.value is missing".to_owned(),
            };
            return refuse(Reason::ValueMissing, detail);
        }
        Found::Wrong(what) => {
            return refuse(Reason::ValueInvalid, format!("data.value is {what}, not a decimal"));
        }
        Found::Is(value) => {
            or_refuse!(quantity(value), |error: &DecimalError| value_reason(*error), |error| format!(
                "data.value: {error}"
            ))
        }
    };

    let dimensions = match map("data.dimensions", dimensions, arena) {
        Ok(Some(map)) => map,
        Ok(None) => MapRef::EMPTY,
        Err(detail) => return refuse(Reason::DimensionsInvalid, detail),
    };

    let optional = |_: &String| Reason::OptionalFieldInvalid;
    let provider =
        or_refuse!(optional_text("data.provider", provider, check_name), optional, |detail| detail);
    let location =
        or_refuse!(optional_text("data.location", location, check_name), optional, |detail| detail);
    let resource = or_refuse!(map("data.resource", resource, arena), optional, |detail| detail);
    let producer = or_refuse!(self::producer(producer, check_name), optional, |detail| detail);

    let (source, id) = (checked(source), checked(id));
    let correction =
        or_refuse!(self::correction(correction, source, id), |_: &_| Reason::CorrectionInvalid, |detail| {
            detail
        });

    let (meter, subject) = (checked(kind), checked(subject));
    Ok(OutcomeRef::Usage(EventRef {
        source,
        id,
        meter,
        subject,
        time,
        quantity,
        dimensions,
        provider,
        location,
        resource,
        producer,
        correction,
    }))
}

/// The text of an attribute that has passed the first two rules.
fn checked<'a>(found: &Text<'a>) -> &'a str {
    match found {
        Found::Is(text) => text,
        Found::Absent | Found::Wrong(_) => {
            unreachable!("an attribute that is absent or not a string was refused above")
        }
    }
}

fn quantity(value: &Value<'_>) -> Result<Quantity, DecimalError> {
    match value {
        Value::Text(text) => Quantity::parse(text, Sign::NonNegative),
        Value::Number(literal) => Quantity::parse_json_number(literal, Sign::NonNegative),
        Value::Units(bytes) => units(bytes),
    }
}

/// Reads two's complement, big-endian, of any length: leading bytes that only repeat the sign are
/// allowed by Avro.
fn units(bytes: &[u8]) -> Result<Quantity, DecimalError> {
    let first = bytes.first().ok_or(DecimalError::Empty)?;
    if first & 0x80 != 0 {
        return Err(DecimalError::Negative);
    }
    let too_large = DecimalError::TooLarge(Quantity::INTEGER_DIGITS);
    let units = match bytes {
        // Nearly all of them, and much faster than in 128 bits.
        short if short.len() < 8 => {
            i128::from(short.iter().fold(0, |units: i64, byte| units << 8 | i64::from(*byte)))
        }
        long => {
            let start = long.iter().position(|byte| *byte != 0).unwrap_or(long.len());
            let mut wide = [0; 16];
            let digits = wide.len().checked_sub(long.len() - start).ok_or(too_large)?;
            wide[digits..].copy_from_slice(&long[start..]);
            i128::try_from(u128::from_be_bytes(wide)).map_err(|_| too_large)?
        }
    };
    Quantity::from_units(units).map_err(|_| too_large)
}

fn value_reason(error: DecimalError) -> Reason {
    match error {
        DecimalError::Empty | DecimalError::Malformed => Reason::ValueInvalid,
        DecimalError::Negative => Reason::ValueNegative,
        DecimalError::TooPrecise(_) => Reason::ValueTooPrecise,
        DecimalError::TooLarge(_) | DecimalError::Overflow(_) => Reason::ValueTooLarge,
    }
}

#[inline(always)] // see `producer`
fn optional_text<'a>(
    field: &str,
    found: &Text<'a>,
    check: impl Fn(&str) -> Result<(), NameError>,
) -> Result<Option<&'a str>, String> {
    match found {
        Found::Absent => Ok(None),
        Found::Wrong(what) => Err(format!("{field} is {what}, not a string")),
        Found::Is(text) => match check(text) {
            Ok(()) => Ok(Some(text)),
            Err(error) => Err(format!("{field}: {error}")),
        },
    }
}

fn required_text<'a>(
    field: &str,
    found: &Text<'a>,
    check: impl Fn(&str) -> Result<(), NameError>,
) -> Result<&'a str, String> {
    optional_text(field, found, check)?.ok_or_else(|| format!("{field} is missing"))
}

#[inline(always)] // see `producer`
fn map<'a>(field: &str, found: &Map<'a>, arena: &'a Bump) -> Result<Option<MapRef<'a>>, String> {
    match found {
        Found::Absent => Ok(None),
        Found::Wrong(what) => Err(format!("{field} is {what}, not an object of strings")),
        Found::Is(Entries::Cached(map)) => Ok(Some(map.get())),
        Found::Is(Entries::Written { pairs, .. }) => new_map(field, pairs, arena).map(Some),
    }
}

/// Names and values are any text of a name's length; they are kept, shown escaped, and never stand
/// for somebody.
fn new_map<'a>(field: &str, pairs: &[(&'a str, Text<'a>)], arena: &'a Bump) -> Result<MapRef<'a>, String> {
    let mut ordered: bumpalo::collections::Vec<'a, Pair<'a>> =
        bumpalo::collections::Vec::with_capacity_in(pairs.len(), arena);
    let mut in_order = true;
    for (name, value) in pairs {
        if name.len() > MAX_BYTES {
            return Err(format!("a name in {field}: {}", NameError::TooLong));
        }
        let value = match value {
            Found::Is(value) => value,
            Found::Absent => return Err(format!("{field}[{name:?}] is null, not a string")),
            Found::Wrong(what) => return Err(format!("{field}[{name:?}] is {what}, not a string")),
        };
        if value.len() > MAX_BYTES {
            return Err(format!("{field}[{name:?}]: {}", NameError::TooLong));
        }
        in_order &= ordered.last().is_none_or(|(before, _)| **before < **name);
        ordered.push((Cow::Borrowed(name), Cow::Borrowed(value)));
    }
    // Producers write names in order or a few in any; sorting once costs a hostile record no more
    // than its own size.
    if !in_order {
        ordered.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if let Some(twice) = ordered.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("{field} has the name {:?} twice", twice[0].0));
        }
    }
    let mut canonical = Vec::new();
    push_map(&mut canonical, &ordered);
    Ok(MapRef::with_canonical(ordered.into_bump_slice(), arena.alloc_slice_copy(&canonical)))
}

/// Not a call, like `map`: its result would be written to memory in halves and at once read back as
/// wholes, which a processor waits for.
#[inline(always)]
fn producer<'a>(
    found: &Found<Producer<'a>>,
    check_name: impl Fn(&str) -> Result<(), NameError>,
) -> Result<Option<ProducerRef<'a>>, String> {
    let integer = |field, found: &Found<Integer<'_>>| match found {
        Found::Absent => Err(format!("{field} is missing")),
        Found::Wrong(what) => Err(format!("{field} is {what}, not an integer")),
        Found::Is(Integer::Is(value)) => Ok(*value),
        Found::Is(Integer::Literal(literal)) => {
            literal.parse().map_err(|_| format!("{field} is not an integer of 64 bits"))
        }
    };
    match found {
        Found::Absent => Ok(None),
        Found::Wrong(what) => Err(format!("data.producer is {what}, not an object")),
        Found::Is(Producer { id, epoch, seq }) => Ok(Some(ProducerRef {
            id: required_text("data.producer.id", id, check_name)?,
            epoch: integer("data.producer.epoch", epoch)?,
            seq: integer("data.producer.seq", seq)?,
        })),
    }
}

fn correction<'a>(
    found: &Found<Correction<'a>>,
    own_source: &str,
    own_id: &str,
) -> Result<Option<CorrectionRef<'a>>, String> {
    let Correction { action, source, id, reason } = match found {
        Found::Absent => return Ok(None),
        Found::Wrong(what) => return Err(format!("data.correction is {what}, not an object")),
        Found::Is(correction) => correction,
    };
    let action = required_text("data.correction.action", action, check_name)?;
    let action = CorrectionAction::parse(action)
        .ok_or("data.correction.action is neither \"void\" nor \"replace\"")?;
    let source = required_text("data.correction.source", source, check_name)?;
    let id = required_text("data.correction.id", id, check_name)?;
    let reason = required_text("data.correction.reason", reason, check_reason)?;
    if (source, id) == (own_source, own_id) {
        return Err("data.correction names the event itself".to_owned());
    }
    Ok(Some(CorrectionRef { action, source, id, reason }))
}
