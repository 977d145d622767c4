//! Numbers of invoices, from their digits.
//!
//! A file says which decimal mark it has and what stands between thousands. Here is the one place of
//! the importer where something is rounded: digits past the 18th decimal, half to even, as in all
//! other arithmetic, and whoever reads a number is told.
//!
//! Invariant: a text is read as the number that it says or refused; nothing passes through a float.

use schemas::decimal::Amount;

/// How a file writes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    pub decimal: char,
    pub thousands: Option<char>,
}

impl Marks {
    /// As JSON and Parquet have them.
    pub const PLAIN: Self = Self { decimal: '.', thousands: None };
}

/// A number, and whether digits past its last were rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    pub value: Amount,
    pub rounded: bool,
}

/// Digits that are kept after the point.
const SCALE: i64 = 18;
/// Digits that may stand before it.
const WHOLE: i64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    #[error("it is no number: digits, a decimal mark {decimal:?} with digits after it{}, and an exponent like E-3 at most",
        thousands.map(|mark| format!(", {mark:?} between groups of three digits")).unwrap_or_default())]
    Malformed { decimal: char, thousands: Option<char> },
    #[error(
        "its groups of thousands are not of three digits each, so that it may mean another number: see `thousands` and `decimal` of the mapping"
    )]
    Groups,
    #[error("it has more than {WHOLE} digits before its decimal mark")]
    TooLarge,
}

/// What stands before or after an amount of money. Which currency it is in, its own column says.
const SIGNS: &[char] = &['$', '€', '£', '¥', '₹', '₩', '₺', '₽', '₴', '₪', '฿', '₫', '₦', '₱'];

/// Reads a number: a sign, digits, a decimal mark and digits, an exponent. `(1.50)` is below zero, as
/// accountants write it, and the sign of a currency says nothing.
///
/// # Errors
/// Any other text, and more than 20 digits before the decimal mark.
pub fn read(text: &str, marks: Marks) -> Result<Number, NumberError> {
    let malformed = NumberError::Malformed { decimal: marks.decimal, thousands: marks.thousands };
    let (negative, unsigned) = match text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(within) => (true, without_currency(within)),
        None => {
            let text = without_currency(text);
            match text.strip_prefix('-') {
                Some(rest) => (true, without_currency(rest)),
                None => (false, text.strip_prefix('+').unwrap_or(text)),
            }
        }
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent).ok_or(malformed)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once(marks.decimal) {
        Some((_, "")) => return Err(malformed),
        Some((whole, fraction)) => (whole, fraction),
        None => (mantissa, ""),
    };
    let whole = ungrouped(whole, marks.thousands).ok_or(NumberError::Groups)?;
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed);
    }
    let zeros = digits().take_while(|digit| *digit == b'0').count();
    let significant = digits().count() - zeros;
    // Where the decimal mark is, counted from the first digit that is not 0.
    let mark = length(whole.len()).saturating_sub(length(zeros)).saturating_add(exponent);
    if significant == 0 {
        return Ok(Number { value: Amount::ZERO, rounded: false });
    }
    if mark > WHOLE {
        return Err(NumberError::TooLarge);
    }
    let (units, rounded) = units_of(digits().skip(zeros), mark + SCALE);
    let value = Amount::from_units(if negative { -units } else { units });
    Ok(Number { value: value.map_err(|_| NumberError::TooLarge)?, rounded })
}

fn without_currency(text: &str) -> &str {
    match text.strip_prefix(SIGNS) {
        Some(rest) => rest.trim_start(),
        None => text.strip_suffix(SIGNS).map_or(text, str::trim_end),
    }
}

/// The first `kept` of these digits, at most 38, as a number; the others rounded half to even, and
/// whether there were any but zeros.
fn units_of(mut digits: impl Iterator<Item = u8>, kept: i64) -> (i128, bool) {
    let mut units = 0i128;
    for _ in 0..kept.max(0) {
        units = units * 10 + digits.next().map_or(0, |digit| i128::from(digit - b'0'));
    }
    // Where the first digit is not even the one after the last that is kept, it counts as nothing.
    let next = if kept < 0 { b'0' } else { digits.next().unwrap_or(b'0') };
    let more = digits.any(|digit| digit != b'0') || kept < 0;
    let up = next > b'5' || (next == b'5' && (more || units % 2 == 1));
    (units + i128::from(up), next != b'0' || more)
}

/// Without the marks between thousands; `None` where one is elsewhere.
fn ungrouped(whole: &str, thousands: Option<char>) -> Option<std::borrow::Cow<'_, str>> {
    let Some(mark) = thousands else { return Some(whole.into()) };
    // A blank of any width is a blank.
    let is_mark = |character: char| {
        character == mark || (mark == ' ' && matches!(character, '\u{a0}' | '\u{202f}' | '\u{2009}'))
    };
    let mut groups = whole.split(is_mark);
    let first = groups.next()?;
    let rest: Vec<&str> = groups.collect();
    if rest.is_empty() {
        return Some(whole.into());
    }
    let fits = (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && rest.iter().all(|group| group.len() == 3);
    fits.then(|| [first, &rest.concat()].concat().into())
}

/// The number after the `E`. One beyond what any text in memory could make up for stands for all
/// that are larger.
fn exponent_of(text: &str) -> Option<i64> {
    const BEYOND: i64 = 1 << 60;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.parse().unwrap_or(BEYOND).min(BEYOND);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

fn length(digits: usize) -> i64 {
    i64::try_from(digits).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GERMAN: Marks = Marks { decimal: ',', thousands: Some('.') };

    #[track_caller]
    fn check(text: &str, marks: Marks, expected: &str) {
        let shown = match read(text, marks) {
            Ok(Number { value, rounded: false }) => value.to_string(),
            Ok(Number { value, rounded: true }) => format!("~{value}"),
            Err(NumberError::Malformed { .. }) => "malformed".to_owned(),
            Err(NumberError::Groups) => "groups".to_owned(),
            Err(NumberError::TooLarge) => "too large".to_owned(),
        };
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn numbers_are_their_digits() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("007.50", "7.5"),
            ("+3", "3"),
            (".5", "0.5"),
            ("2.58333333325E1", "25.8333333325"),
            ("0E0", "0"),
            ("1e-1", "0.1"),
            ("-1.5E+3", "-1500"),
            ("1E-18", "0.000000000000000001"),
            ("0e99999999999999999999", "0"),
            ("1e19", "10000000000000000000"),
            ("1e20", "too large"),
            ("1e99999999999999999999", "too large"),
            ("99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
            ("99999999999999999999.9999999999999999995", "too large"),
            ("0.00000000000000000001e20", "1"),
        ] {
            check(text, Marks::PLAIN, expected);
        }
        for malformed in [
            "", "-", "+", "1.", ".", "1,5", "1.2.3", "--1", "+-1", "0x1", "NaN", "inf", "1e", "1e+", "e5",
            "1 000", "١", "1-", "(1", "1)", "(-1)", "()", "((1))", "€", "$", "€1€", "1 EUR", "--€1",
        ] {
            check(malformed, Marks::PLAIN, "malformed");
        }
    }

    #[test]
    fn money_may_be_in_brackets_and_have_a_sign_of_its_currency() {
        for (text, expected) in [
            ("(1.50)", "-1.5"),
            ("($1.50)", "-1.5"),
            ("(0)", "0"),
            ("$1.50", "1.5"),
            ("-$1.50", "-1.5"),
            ("$-1.50", "-1.5"),
            ("€ 2", "2"),
            ("2 €", "2"),
            ("-2\u{a0}€", "-2"),
        ] {
            check(text, Marks::PLAIN, expected);
        }
        check("(1.234,5 €)", GERMAN, "-1234.5");
    }

    #[test]
    fn digits_past_the_18th_are_rounded_half_to_even_and_told() {
        for (text, expected) in [
            ("0.0000000000000000010", "0.000000000000000001"),
            ("0.0000000000000000015", "~0.000000000000000002"),
            ("0.0000000000000000025", "~0.000000000000000002"),
            ("0.00000000000000000250000001", "~0.000000000000000003"),
            ("-0.0000000000000000015", "~-0.000000000000000002"),
            ("0.0000000000000000005", "~0"),
            ("0.00000000000000000051", "~0.000000000000000001"),
            ("9E-19", "~0.000000000000000001"),
            ("9E-20", "~0"),
            ("9E-99999999999999999999", "~0"),
            ("1.9999999999999999999", "~2"),
            ("0.1234567890123456785", "~0.123456789012345678"),
        ] {
            check(text, Marks::PLAIN, expected);
        }
        check(&format!("1{}e-400", "0".repeat(400)), Marks::PLAIN, "1");
        check(&format!("0.{}1e401", "0".repeat(400)), Marks::PLAIN, "1");
    }

    #[test]
    fn thousands_stand_between_groups_of_three_only() {
        for (text, expected) in [
            ("1.234,5", "1234.5"),
            ("12.345.678", "12345678"),
            ("1234,5", "1234.5"),
            ("-1.234", "-1234"),
            ("2,001", "2.001"),
            ("0.05", "groups"),
            ("0.050", "groups"),
            ("1.23", "groups"),
            ("1234.567", "groups"),
            ("1..234", "groups"),
            (".234", "groups"),
            ("1.234.", "groups"),
            ("1,234.567", "malformed"),
            ("1.234,5E1", "12345"),
        ] {
            check(text, GERMAN, expected);
        }
        let swiss = Marks { decimal: '.', thousands: Some('\'') };
        check("1'234.50", swiss, "1234.5");
        let french = Marks { decimal: ',', thousands: Some(' ') };
        check("1\u{202f}234\u{a0}567,5", french, "1234567.5");
    }
}
