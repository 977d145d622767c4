//! Exact decimals of a fixed precision and scale, held as `i128`.
//!
//! They add, compare, read and print. They deliberately do not multiply, divide or round: price
//! arithmetic belongs to the `rating` crate, rounding to its `rounding` module. Reading is strict:
//! digits, optionally a point and more digits, with a leading minus only where the caller allows
//! it. An exponent, a plus sign, a space or a digit too many is an error. A JSON number is read as
//! its value.
//!
//! Invariant: `|units| < 10^PRECISION`, checked whenever a value is made.

use std::fmt;

/// A decimal with at most `PRECISION` digits, `SCALE` of them after the point.
///
/// ```
/// # use schemas::decimal::{Decimal, DecimalError, Sign};
/// type Percent = Decimal<5, 2>;
/// let value = Percent::parse("99.50", Sign::NonNegative).expect("a percentage");
/// assert_eq!(value.to_string(), "99.5");
/// assert_eq!(Percent::parse("1000", Sign::NonNegative), Err(DecimalError::TooLarge(3)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const PRECISION: u32, const SCALE: u32>(i128);

/// How much of a meter was used, as one event reports it: DECIMAL(28,9).
///
/// ```
/// # use schemas::decimal::{Quantity, Sign};
/// let quantity = Quantity::parse("0.000000001", Sign::NonNegative).expect("a quantity");
/// assert_eq!(quantity.units(), 1);
/// ```
pub type Quantity = Decimal<28, 9>;
/// A sum of quantities: DECIMAL(38,9). Exact for at least 10^10 events of any size.
///
/// ```
/// # use schemas::decimal::{Quantity, QuantityTotal, Sign};
/// let quantity = Quantity::parse("1.5", Sign::NonNegative).expect("a quantity");
/// let total = QuantityTotal::from(quantity).checked_add(QuantityTotal::from(quantity));
/// assert_eq!(total.expect("a total").to_string(), "3");
/// ```
pub type QuantityTotal = Decimal<38, 9>;
/// A price per unit: DECIMAL(28,18).
///
/// ```
/// # use schemas::decimal::{Sign, UnitPrice};
/// let price = UnitPrice::parse("0.000000000000000001", Sign::Any).expect("a price");
/// assert_eq!(price.units(), 1);
/// ```
pub type UnitPrice = Decimal<28, 18>;
/// Price × quantity, with 18 places: DECIMAL(38,18).
///
/// ```
/// # use schemas::decimal::{Amount, Sign};
/// let amount = Amount::parse("-12.5", Sign::Any).expect("an amount");
/// assert_eq!(amount.units(), -12_500_000_000_000_000_000);
/// ```
pub type Amount = Decimal<38, 18>;

/// Why a text or a number is not a decimal of the wanted shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("it is empty")]
    Empty,
    #[error("it must be digits, optionally a point and more digits, and nothing else")]
    Malformed,
    #[error("it is negative")]
    Negative,
    #[error("it has more than {0} digits after the point")]
    TooPrecise(u32),
    #[error("it has more than {0} digits before the point")]
    TooLarge(u32),
    #[error("the result does not fit in {0} digits")]
    Overflow(u32),
}

/// Whether a leading minus sign is part of the grammar.
///
/// ```
/// # use schemas::decimal::{Amount, DecimalError, Sign};
/// assert!(Amount::parse("-1", Sign::Any).expect("an amount").is_negative());
/// assert_eq!(Amount::parse("-1", Sign::NonNegative), Err(DecimalError::Negative));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    NonNegative,
    Any,
}

impl<const PRECISION: u32, const SCALE: u32> Decimal<PRECISION, SCALE> {
    pub const ZERO: Self = Self(0);
    /// Digits that may stand before the point.
    pub const INTEGER_DIGITS: u32 = PRECISION - SCALE;
    const LIMIT: i128 = 10i128.pow(PRECISION);

    /// From a count of the smallest unit, 10^-SCALE.
    ///
    /// ```
    /// # use schemas::decimal::{DecimalError, Quantity};
    /// assert_eq!(Quantity::from_units(1_500_000_000).expect("a quantity").to_string(), "1.5");
    /// assert_eq!(Quantity::from_units(10i128.pow(28)), Err(DecimalError::Overflow(28)));
    /// ```
    ///
    /// # Errors
    /// [`DecimalError::Overflow`] when it needs more than `PRECISION` digits.
    pub fn from_units(units: i128) -> Result<Self, DecimalError> {
        if units > -Self::LIMIT && units < Self::LIMIT {
            Ok(Self(units))
        } else {
            Err(DecimalError::Overflow(PRECISION))
        }
    }

    /// The value as a count of its smallest unit, 10^-SCALE.
    pub fn units(self) -> i128 {
        self.0
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Reads `digits[.digits]`, with a leading minus where `sign` allows it. The whole text must
    /// match.
    ///
    /// ```
    /// # use schemas::decimal::{DecimalError, Quantity, Sign};
    /// let quantity = |text| Quantity::parse(text, Sign::NonNegative);
    /// assert_eq!(quantity("007.50").expect("a quantity").to_string(), "7.5");
    /// assert_eq!(quantity("1e3"), Err(DecimalError::Malformed));
    /// assert_eq!(quantity("1.0000000000"), Err(DecimalError::TooPrecise(9)));
    /// ```
    ///
    /// # Errors
    /// Every other text, and a digit more than the type holds, even a zero: what was written is
    /// kept or refused, never trimmed.
    pub fn parse(text: &str, sign: Sign) -> Result<Self, DecimalError> {
        if text.is_empty() {
            return Err(DecimalError::Empty);
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(DecimalError::Malformed),
            None => (unsigned, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Err(DecimalError::Malformed);
        }
        if negative && sign == Sign::NonNegative {
            return Err(DecimalError::Negative);
        }
        Self::from_digits(negative, whole, fraction)
    }

    /// Reads a JSON number (RFC 8259, section 6) from its literal digits, never through a float. A
    /// number is its value, however it is written: an exponent moves the point, zeros at the end
    /// say nothing, and a zero has no sign.
    ///
    /// ```
    /// # use schemas::decimal::{DecimalError, Quantity, Sign};
    /// let quantity = |text| Quantity::parse_json_number(text, Sign::NonNegative);
    /// assert_eq!(quantity("1.5E+3").expect("a quantity").to_string(), "1500");
    /// assert_eq!(quantity("1.0000000000").expect("a quantity").to_string(), "1");
    /// assert_eq!(quantity("-0").expect("a quantity"), Quantity::ZERO);
    /// assert_eq!(quantity("1e-10"), Err(DecimalError::TooPrecise(9)));
    /// ```
    ///
    /// # Errors
    /// A number below zero where `sign` forbids it, and a value that the type does not hold exactly.
    pub fn parse_json_number(literal: &str, sign: Sign) -> Result<Self, DecimalError> {
        let (mantissa, exponent) = match literal.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (literal, None),
        };
        if mantissa.is_empty() {
            return Err(DecimalError::Empty);
        }
        let (negative, unsigned) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let exponent = exponent.map_or(Some(0), exponent_of).ok_or(DecimalError::Malformed)?;
        if [whole, fraction]
            .iter()
            .any(|part| part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()))
        {
            return Err(DecimalError::Malformed);
        }
        // Without the zeros before them and after them, these are the digits that count.
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let digits = || whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0');
        if digits().next().is_none() {
            return Ok(Self::ZERO);
        }
        if negative && sign == Sign::NonNegative {
            return Err(DecimalError::Negative);
        }
        let zeros = if fraction.is_empty() { whole.len() - whole.trim_end_matches('0').len() } else { 0 };
        let length = |digits: usize| i64::try_from(digits).unwrap_or(i64::MAX / 2);
        let decimals = length(fraction.len()) - length(zeros) - exponent;
        let significant = digits().count() - zeros;
        if decimals > i64::from(SCALE) {
            return Err(DecimalError::TooPrecise(SCALE));
        }
        let too_large = DecimalError::TooLarge(Self::INTEGER_DIGITS);
        if length(significant) - decimals > i64::from(Self::INTEGER_DIGITS) {
            return Err(too_large);
        }
        let missing = u32::try_from(i64::from(SCALE) - decimals).map_err(|_| too_large)?;
        let units = units_of(digits().take(significant))
            .and_then(|units| units.checked_mul(10i128.checked_pow(missing)?))
            .ok_or(too_large)?;
        Self::from_units(if negative { -units } else { units }).map_err(|_| too_large)
    }

    /// `whole.fraction`; both parts are ASCII digits.
    fn from_digits(negative: bool, whole: &str, fraction: &str) -> Result<Self, DecimalError> {
        let too_large = DecimalError::TooLarge(Self::INTEGER_DIGITS);
        let decimals = u32::try_from(fraction.len()).map_err(|_| DecimalError::TooPrecise(SCALE))?;
        let missing = SCALE.checked_sub(decimals).ok_or(DecimalError::TooPrecise(SCALE))?;
        if whole.len() > Self::INTEGER_DIGITS as usize {
            return Err(too_large);
        }
        let units = units_of(whole.bytes().chain(fraction.bytes()))
            .and_then(|units| units.checked_mul(10i128.checked_pow(missing)?))
            .ok_or(too_large)?;
        Self::from_units(if negative { -units } else { units }).map_err(|_| too_large)
    }

    /// The sum.
    ///
    /// ```
    /// # use schemas::decimal::{DecimalError, Quantity};
    /// let largest = Quantity::from_units(10i128.pow(28) - 1).expect("28 digits");
    /// assert_eq!(largest.checked_add(Quantity::ZERO), Ok(largest));
    /// assert_eq!(largest.checked_add(largest), Err(DecimalError::Overflow(28)));
    /// ```
    ///
    /// # Errors
    /// [`DecimalError::Overflow`]; a sum never wraps.
    pub fn checked_add(self, other: Self) -> Result<Self, DecimalError> {
        self.0.checked_add(other.0).ok_or(DecimalError::Overflow(PRECISION)).and_then(Self::from_units)
    }
}

/// The number that ASCII digits are.
fn units_of(mut digits: impl Iterator<Item = u8>) -> Option<i128> {
    digits.try_fold(0i128, |units, digit| {
        units.checked_mul(10)?.checked_add(i128::from(digit.checked_sub(b'0')?))
    })
}

/// The number after the `e` of a literal. One beyond what any literal in memory could make up for
/// stands for all that are larger.
fn exponent_of(text: &str) -> Option<i64> {
    const BEYOND: i64 = 1 << 60;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.parse().unwrap_or(BEYOND).min(BEYOND);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// Plain digits without trailing zeros: `0`, `-1.5`, `47`.
impl<const PRECISION: u32, const SCALE: u32> fmt::Display for Decimal<PRECISION, SCALE> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10u128.pow(SCALE);
        let magnitude = self.0.unsigned_abs();
        let mut text = format!("{}", magnitude / unit);
        let fraction = format!("{:0width$}", magnitude % unit, width = SCALE as usize);
        let fraction = fraction.trim_end_matches('0');
        if !fraction.is_empty() {
            text.push('.');
            text.push_str(fraction);
        }
        formatter.pad_integral(self.0 >= 0, "", &text)
    }
}

impl<const PRECISION: u32, const SCALE: u32> fmt::Debug for Decimal<PRECISION, SCALE> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl From<Quantity> for QuantityTotal {
    fn from(quantity: Quantity) -> Self {
        // A DECIMAL(28,9) always fits in a DECIMAL(38,9).
        Self(quantity.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, DecimalError>) {
        let read = Quantity::parse(text, Sign::NonNegative).map(|quantity| quantity.to_string());
        assert_eq!(read, expected.map(str::to_owned), "{text:?}");
    }

    #[test]
    fn strings_are_plain_digits() {
        check("0", Ok("0"));
        check("1.000000001", Ok("1.000000001"));
        check("007.50", Ok("7.5"));
        check("9999999999999999999.999999999", Ok("9999999999999999999.999999999"));
        check("10000000000000000000", Err(DecimalError::TooLarge(19)));
        check("00000000000000000001", Err(DecimalError::TooLarge(19)));
        check("0.0000000001", Err(DecimalError::TooPrecise(9)));
        check("1.0000000000", Err(DecimalError::TooPrecise(9)));
        check("-5", Err(DecimalError::Negative));
        check("", Err(DecimalError::Empty));
        for malformed in
            ["-", "+1", " 1", "1 ", "1.", ".5", "1e3", "0x10", "NaN", "1_000", "1,5", "1.2.3", "--1", "١"]
        {
            check(malformed, Err(DecimalError::Malformed));
        }
    }

    #[track_caller]
    fn check_number(literal: &str, expected: Result<&str, DecimalError>) {
        let read =
            Quantity::parse_json_number(literal, Sign::NonNegative).map(|quantity| quantity.to_string());
        assert_eq!(read, expected.map(str::to_owned), "{literal:?}");
    }

    #[test]
    fn json_numbers_are_read_from_their_digits() {
        check_number("2500000000", Ok("2500000000"));
        check_number("0.1", Ok("0.1"));
        check_number("1e3", Ok("1000"));
        check_number("1.5E+3", Ok("1500"));
        check_number("15e-1", Ok("1.5"));
        check_number("1e18", Ok("1000000000000000000"));
        check_number("1e19", Err(DecimalError::TooLarge(19)));
        check_number("1e-9", Ok("0.000000001"));
        check_number("1e-10", Err(DecimalError::TooPrecise(9)));
        check_number("0e400", Ok("0"));
        check_number("1e400", Err(DecimalError::TooLarge(19)));
        check_number("1e99999999999999", Err(DecimalError::TooLarge(19)));
        check_number("1e-99999999999999", Err(DecimalError::TooPrecise(9)));
        check_number("0e99999999999999999999", Ok("0"));
        check_number("0E-10", Ok("0"));
        check_number("-0", Ok("0"));
        check_number("-0.000E5", Ok("0"));
        check_number("1.0000000000", Ok("1"));
        check_number("100000000000000000000e-2", Ok("1000000000000000000"));
        check_number("0.00000000000000000001e20", Ok("1"));
        check_number("12340000000000000000000e-13", Ok("1234000000"));
        check_number("9999999999999999999.9999999990", Ok("9999999999999999999.999999999"));
        check_number("9999999999999999999.9999999991", Err(DecimalError::TooPrecise(9)));
        check_number("10000000000000000000.0", Err(DecimalError::TooLarge(19)));
        check_number(&format!("1{}e-400", "0".repeat(400)), Ok("1"));
        check_number(&format!("0.{}1e401", "0".repeat(400)), Ok("1"));
        check_number("-5", Err(DecimalError::Negative));
        check_number("-5e1", Err(DecimalError::Negative));
        check_number("-1e-99999", Err(DecimalError::Negative));
        for malformed in ["1.", ".5", "1.e5", "+1", "1e", "1e+", "e5", "-", "1e5e5", "1.2.3", "0x1"] {
            assert!(Quantity::parse_json_number(malformed, Sign::Any).is_err(), "{malformed}");
        }
    }

    #[test]
    fn amounts_print_both_signs_and_never_wrap() {
        let amount = Amount::parse("-0.000000000000000001", Sign::Any).expect("an amount");
        assert_eq!(amount.units(), -1);
        assert_eq!(amount.to_string(), "-0.000000000000000001");
        let largest = Amount::from_units(10i128.pow(38) - 1).expect("the largest amount");
        let unit = Amount::from_units(1).expect("one unit");
        assert_eq!(largest.checked_add(unit), Err(DecimalError::Overflow(38)));
        assert_eq!(largest.to_string(), "99999999999999999999.999999999999999999");
    }
}
