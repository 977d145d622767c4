//! Numbers as invoices write them, read from their digits.
//!
//! Nothing is computed with floats, and nothing is rounded but what a DECIMAL(38,18) cannot hold: the
//! digits past its 18th decimal, half to even, and the caller is told.
//!
//! Invariant: a figure that is not `rounded` is exactly what was written.

use num_bigint::BigInt;
use num_integer::Integer;
use schemas::decimal::{Amount, DecimalError, Sign};

/// The decimals of an [`Amount`].
const SCALE: u32 = 18;

/// A number and whether digits were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    pub amount: Amount,
    pub rounded: bool,
}

/// Reads an `xs:decimal` (XML Schema 1.1, part 2, 3.3.3), and E-notation too.
///
/// # Errors
/// Every other text, and a number with more than 20 digits before the point.
pub fn figure(text: &str) -> Result<Figure, DecimalError> {
    // Unlike in JSON a plus sign is allowed, and a number may begin or end with its point.
    let (minus, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], &unsigned[at + 1..]),
        None => (unsigned, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(if text.is_empty() { DecimalError::Empty } else { DecimalError::Malformed });
    }
    let literal = format!("{minus}0{whole}.{fraction}0e{exponent}");
    match Amount::parse_json_number(&literal, Sign::Any) {
        Ok(amount) => Ok(Figure { amount, rounded: false }),
        Err(DecimalError::TooPrecise(_)) => rounded(minus, whole, fraction, exponent),
        Err(error) => Err(error),
    }
}

/// A number that was found to have more than 18 decimals.
fn rounded(minus: &str, whole: &str, fraction: &str, exponent: &str) -> Result<Figure, DecimalError> {
    /// Beyond it no amount is left, whatever the digits of a text that memory can hold.
    const SMALL: i64 = 1 << 40;
    let digits: BigInt = format!("{minus}{whole}{fraction}").parse().map_err(|_| DecimalError::Malformed)?;
    let length = i64::try_from(fraction.len()).map_err(|_| DecimalError::Malformed)?;
    let exponent = exponent.parse::<i64>().unwrap_or(-SMALL).max(-SMALL);
    let lost = length - exponent - i64::from(SCALE);
    // With this many decimals lost it is below half of the last one.
    let longest = i64::try_from(whole.len() + fraction.len()).map_err(|_| DecimalError::Malformed)? + 1;
    match u32::try_from(lost.min(longest)) {
        Ok(lost) => nearest(&digits, &BigInt::from(10).pow(lost)),
        Err(_) => Err(DecimalError::Malformed),
    }
}

/// `dividend ÷ divisor`; none where the divisor is zero.
///
/// # Errors
/// [`DecimalError::Overflow`] beyond 20 digits before the point.
pub fn quotient(dividend: Amount, divisor: Amount) -> Option<Result<Figure, DecimalError>> {
    let numerator = BigInt::from(dividend.units()) * BigInt::from(10).pow(SCALE);
    (!divisor.is_zero()).then(|| nearest(&numerator, &BigInt::from(divisor.units())))
}

/// The nearest whole number of the smallest unit, of two the even one.
fn nearest(numerator: &BigInt, denominator: &BigInt) -> Result<Figure, DecimalError> {
    let (floor, rest) = numerator.div_mod_floor(denominator);
    let twice: BigInt = &rest * 2;
    // The rest has the sign of the divisor.
    let up = match twice.magnitude().cmp(denominator.magnitude()) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => floor.is_odd(),
        std::cmp::Ordering::Greater => true,
    };
    let units = if up { floor + 1 } else { floor };
    let units = i128::try_from(units).map_err(|_| DecimalError::Overflow(38))?;
    Ok(Figure { amount: Amount::from_units(units)?, rounded: rest != BigInt::ZERO })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let read = match figure(text) {
            Ok(Figure { amount, rounded: false }) => amount.to_string(),
            Ok(Figure { amount, rounded: true }) => format!("about {amount}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(read, expected, "{text:?}");
    }

    #[test]
    fn numbers_are_read_from_their_digits() {
        check("1", "1");
        check("-1.50", "-1.5");
        check("+1.5", "1.5");
        check(".5", "0.5");
        check("-.5", "-0.5");
        check("5.", "5");
        check("007", "7");
        check("1.5E-3", "0.0015");
        check("1e2", "100");
        check("-0.00", "0");
        check("0.000000000000000001", "0.000000000000000001");
        check("0.1000000000000000000000", "0.1");
        check("", "it is empty");
        let malformed = "it must be digits, optionally a point and more digits, and nothing else";
        for text in [
            ".", "-", "+", "--1", "+-1", "1,5", "1 000", "1.2.3", "NaN", "INF", "0x1", "1e", "e5", "1e1.5",
            "١",
        ] {
            check(text, malformed);
        }
        check("100000000000000000000", "it has more than 20 digits before the point");
        check("1e20", "it has more than 20 digits before the point");
    }

    #[test]
    fn what_is_past_the_18th_decimal_is_rounded_and_told() {
        check("0.0000000000000000014", "about 0.000000000000000001");
        check("0.0000000000000000015", "about 0.000000000000000002");
        check("0.0000000000000000025", "about 0.000000000000000002");
        check("-0.0000000000000000016", "about -0.000000000000000002");
        check("0.0000000000000000000000004", "about 0");
        check("1.5e-18", "about 0.000000000000000002");
        check("9e-19", "about 0.000000000000000001");
        check("4e-19", "about 0");
        check("9e-99999999999999999999", "about 0");
        check("12345678901234567890.1234567890123456789", "about 12345678901234567890.123456789012345679");
    }

    #[test]
    fn a_price_for_several_units_is_divided() {
        let amount = |text: &str| figure(text).expect("a number").amount;
        let quotient = |dividend, divisor| quotient(amount(dividend), amount(divisor));
        let shown = |dividend, divisor| {
            let found = quotient(dividend, divisor).expect("not by zero").expect("an amount");
            (found.amount.to_string(), found.rounded)
        };
        assert_eq!(shown("12.50", "100"), ("0.125".to_owned(), false));
        assert_eq!(shown("2", "3"), ("0.666666666666666667".to_owned(), true));
        assert_eq!(shown("-2", "3"), ("-0.666666666666666667".to_owned(), true));
        assert_eq!(shown("2", "-3"), ("-0.666666666666666667".to_owned(), true));
        assert_eq!(quotient("1", "0"), None);
        assert_eq!(
            quotient("10000000000000000000", "0.01").expect("not by zero"),
            Err(DecimalError::Overflow(38))
        );
    }
}
