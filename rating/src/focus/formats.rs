//! The formats of FOCUS: whether a text is a number, an instant, a unit or a JSON object as the
//! specification writes them.
//!
//! Which column has which format is said in `schemas::focus`.
//!
//! Invariant: what is wrong is said in words, and shown no longer than a line.

use crate::exact::{Exact, exact};
use schemas::decimal::{Amount, Sign};
use schemas::money::Currency;
use schemas::time::Instant;
use serde_json::{Map, Value as Json};

/// `YYYY-MM-DDTHH:mm:ssZ`, with a fraction of a second where there is one.
pub(super) fn instant(text: &str) -> Result<Instant, String> {
    let wrong = || format!("{} is not YYYY-MM-DDTHH:mm:ssZ in UTC", shown(text));
    if !text.ends_with('Z') || text.contains(['t', 'z']) {
        return Err(wrong());
    }
    Instant::parse_rfc3339(text).map_err(|_| wrong())
}

/// Digits with at most one point, a minus sign, and `E` with an exponent; no plus sign anywhere.
pub(super) fn number(text: &str) -> Result<Exact, String> {
    let wrong = |why: &str| format!("{} is not a number as FOCUS writes it: {why}", shown(text));
    if text.contains('+') {
        return Err(wrong("no plus sign may stand in it"));
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'E' | b'e' | b'-');
    if digits.is_empty() || !digits.bytes().all(plain) || !digits.as_bytes()[0].is_ascii_digit() {
        return Err(wrong("only digits, one point, a minus sign and an exponent may stand in it"));
    }
    let read = match digits.contains(['E', 'e']) {
        true => Amount::parse_json_number(text, Sign::Any),
        false => Amount::parse(text, Sign::Any),
    };
    read.map(exact).map_err(|error| wrong(&error.to_string()))
}

/// A code of ISO 4217 that one can be billed in.
pub(super) fn currency(text: &str) -> Result<(), String> {
    match Currency::from_code(text) {
        Some(_) => Ok(()),
        None => Err(format!("{} is not a currency of ISO 4217", shown(text))),
    }
}

/// A text that says something: not empty, not blank, and no placeholder for NULL.
pub(super) fn text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("it is an empty text; absent is NULL".to_owned());
    }
    let placeholder = ["NULL", "null", "None", "N/A", "n/a", "NaN", "nan", "Not Applicable", "-"];
    match placeholder.contains(&text) {
        true => Err(format!("{} stands for nothing; absent is NULL", shown(text))),
        false => Ok(()),
    }
}

/// `GB-Hours`, `GB/Hour`, `1000 Tokens`, `Units/3 Months`.
pub(super) fn unit(text: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{} is not a unit as FOCUS writes it: {why}", shown(text)));
    let mut sides = text.split('/');
    let (above, below, more) = (sides.next().unwrap_or_default(), sides.next(), sides.next());
    if more.is_some() {
        return wrong("a ratio has one slash");
    }
    for side in std::iter::once(above).chain(below) {
        let name = match side.split_once(' ') {
            Some((count, name)) if count.bytes().all(|byte| byte.is_ascii_digit()) => match count {
                "" => return wrong("a blank stands after a whole number only"),
                zero if zero.starts_with('0') => return wrong("a quantity is a whole number above zero"),
                _ => name,
            },
            Some((first, _)) if first.contains(['-', '.']) => {
                return wrong("compounds have a hyphen and no blank");
            }
            _ => side,
        };
        for base in name.split('-') {
            if base.is_empty() {
                return wrong("a base unit is missing");
            }
            if SHORT.contains(&base) {
                return wrong("units of time are written out");
            }
            let first = base.chars().next();
            if !DATA.contains(&base) && !first.is_some_and(char::is_uppercase) {
                return wrong("base units begin with a capital letter");
            }
        }
    }
    Ok(())
}

/// The abbreviations of sizes of data that begin with a small letter.
const DATA: [&str; 1] = ["b"];
/// What is not written out, and often seen.
const SHORT: [&str; 12] =
    ["Hr", "Hrs", "Hour(s)", "Sec", "Secs", "Min", "Mins", "Mo", "Mos", "Yr", "Yrs", "H"];

/// A JSON object in which, and in all below it, each name stands once.
pub(super) fn object(text: &str) -> Result<Map<String, Json>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{} is not a JSON object: {why}", shown(text));
    match serde_json::from_str(text) {
        Ok(Json::Object(object)) if colons(text) > members(&object) => {
            Err(wrong(&"a name stands twice in it"))
        }
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err(wrong(&"it is another kind of value")),
        Err(error) => Err(wrong(&error)),
    }
}

/// An object of plain values.
pub(super) fn key_value(text: &str) -> Result<(), String> {
    match object(text)?.iter().find(|(_, value)| value.is_object() || value.is_array()) {
        Some((name, _)) => Err(format!("the value of {} is no plain value", shown(name))),
        None => Ok(()),
    }
}

/// How often a name is followed by a value, in JSON: a colon outside of a string is after a name.
fn colons(json: &str) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b':' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// How many names there are in an object and in all below it; of those that stand twice, one counts.
fn members(object: &Map<String, Json>) -> usize {
    fn below(value: &Json) -> usize {
        match value {
            Json::Object(object) => members(object),
            Json::Array(list) => list.iter().map(below).sum(),
            _ => 0,
        }
    }
    object.values().map(|value| 1 + below(value)).sum()
}

/// A text in quotes, cut where it is long.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits() {
        for (text, value) in [("0", "0"), ("-1.5", "-1.5"), ("1E-3", "0.001"), ("2e2", "200")] {
            assert_eq!(
                number(text).map(|value| crate::exact::display(&value)),
                Ok(value.to_owned()),
                "{text}"
            );
        }
        for text in ["", "+1", "1e+3", "1,000", "$1", "1.2.3", "1/3", ".5", "NaN", "0x1", "1 "] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_are_of_utc() {
        assert!(instant("2025-10-01T00:00:00Z").is_ok() && instant("2025-10-01T00:00:00.5Z").is_ok());
        for text in ["2025-10-01", "2025-10-01 00:00:00", "2025-10-01T00:00:00", "2025-10-01T02:00:00+02:00"]
        {
            assert!(instant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn units_are_as_the_specification_writes_them() {
        for text in
            ["GB", "b", "GiB-Months", "GB/Hour", "1000 Tokens", "Units/3 Months", "EUR", "Core-Hours/Day"]
        {
            assert_eq!(unit(text), Ok(()), "{text}");
        }
        for text in ["hours", "Hrs", "GB-", "GB//Hour", "0 Tokens", "GB.Hours", "", " GB", "gb"] {
            assert_eq!(unit(text).is_ok(), text == "GB.Hours", "{text}");
        }
    }

    #[test]
    fn objects_have_each_name_once() {
        assert_eq!(key_value(r#"{"a":1,"b":"x","c":true,"d":null}"#), Ok(()));
        assert!(key_value(r#"{"a":{"b":1}}"#).is_err() && key_value(r#"{"a":[1]}"#).is_err());
        for twice in [r#"{"a":1,"a":2}"#, r#"{"a":[{"b":":\"","b":1}]}"#] {
            assert!(object(twice).expect_err("twice").contains("stands twice"), "{twice}");
        }
        assert!(object("[]").is_err() && object("{").is_err() && object("NULL").is_err());
        let nested = object(r#"{"Elements":[{"AllocatedRatio":0.25}]}"#).expect("an object");
        assert_eq!(nested["Elements"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn texts_say_something() {
        assert_eq!(text("Hot storage"), Ok(()));
        for nothing in ["", "  ", "NULL", "N/A"] {
            assert!(text(nothing).is_err(), "{nothing:?}");
        }
    }
}
