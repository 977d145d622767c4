//! Quantities and unit prices as others hold them: as the 96 bits of [`rust_decimal`].
//!
//! Both have 28 digits, which 96 bits always hold. Sums and amounts have 38 and never cross. It
//! deliberately computes nothing, because that library's arithmetic and its `from_str` round.
//!
//! Invariant: a value that crosses is the same number on the other side, or it does not cross.

#![expect(clippy::disallowed_types, reason = "here its values become ours, whole or not at all")]

use crate::decimal::{Decimal, DecimalError, Sign};
use rust_decimal::Decimal as Decimal96;

/// The digits of a quantity and of a unit price.
const DIGITS: u32 = 28;
const _: () = assert!(10i128.pow(DIGITS) - 1 < 1 << 96, "every number of that many digits fits 96 bits");

/// Exact, always.
///
/// ```
/// # use schemas::decimal::{Quantity, Sign};
/// let quantity = Quantity::parse("1.5", Sign::NonNegative).expect("a quantity");
/// assert_eq!(rust_decimal::Decimal::from(quantity), rust_decimal::Decimal::new(15, 1));
/// ```
impl<const SCALE: u32> From<Decimal<DIGITS, SCALE>> for Decimal96 {
    fn from(decimal: Decimal<DIGITS, SCALE>) -> Self {
        Self::from_i128_with_scale(decimal.units(), SCALE)
    }
}

/// Exact, or refused: too many digits before the point, or one after it that is not zero.
///
/// ```
/// # use schemas::decimal::{DecimalError, Quantity};
/// let quantity = Quantity::try_from(rust_decimal::Decimal::new(15, 1)).expect("a quantity");
/// assert_eq!(quantity.to_string(), "1.5");
/// let fine = rust_decimal::Decimal::new(1, 10);
/// assert_eq!(Quantity::try_from(fine), Err(DecimalError::TooPrecise(9)));
/// ```
impl<const SCALE: u32> TryFrom<Decimal96> for Decimal<DIGITS, SCALE> {
    type Error = DecimalError;

    fn try_from(value: Decimal96) -> Result<Self, DecimalError> {
        let too_large = DecimalError::TooLarge(Self::INTEGER_DIGITS);
        let (digits, decimals) = (value.mantissa(), value.scale());
        let units = if decimals <= SCALE {
            digits.checked_mul(10i128.pow(SCALE - decimals)).ok_or(too_large)?
        } else {
            let surplus = 10i128.pow(decimals - SCALE);
            if digits % surplus != 0 {
                return Err(DecimalError::TooPrecise(SCALE));
            }
            digits / surplus
        };
        Self::from_units(units).map_err(|_| too_large)
    }
}

impl<const SCALE: u32> Decimal<DIGITS, SCALE> {
    /// Reads a number as price lists and spreadsheets write it: plain digits, or with an exponent.
    ///
    /// Plain digits are read by `rust_decimal`, which also takes `+1`, `1_000`, `.5` and `5.`. All
    /// of these are refused here, as [`Decimal::parse`] refuses them.
    ///
    /// ```
    /// # use schemas::decimal::{DecimalError, Sign, UnitPrice};
    /// let price = |text| UnitPrice::from_decimal_text(text, Sign::Any);
    /// assert_eq!(price("0.0416000000").expect("a price").to_string(), "0.0416");
    /// assert_eq!(price("1.5E-05").expect("a price").to_string(), "0.000015");
    /// assert_eq!(price("1_000"), Err(DecimalError::Malformed));
    /// ```
    ///
    /// # Errors
    /// As [`Decimal::parse_json_number`].
    pub fn from_decimal_text(text: &str, sign: Sign) -> Result<Self, DecimalError> {
        // Its own spelling is the one without what it takes too much of.
        let plain = Decimal96::from_str_exact(text).ok().filter(|value| {
            value.scale() <= SCALE
                && (sign == Sign::Any || value.is_sign_positive())
                && value.to_string() == text
        });
        match plain {
            Some(value) => Self::try_from(value),
            None => Self::parse_json_number(text, sign),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::{Quantity, UnitPrice};
    use proptest::prelude::*;

    /// Numbers, and what looks like one: signs, separators, points and exponents in every place.
    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "-?[0-9]{1,12}(\\.[0-9]{1,20})?",
            4 => "[+-]?0{0,4}[0-9]{0,31}(\\.[0-9]{0,31})?",
            2 => "[+-]?[0-9_]{0,32}(\\.[0-9_]{0,32})?",
            2 => "-?[0-9]{1,20}(\\.[0-9]{1,20})?[eE][+-]?[0-9]{1,3}",
            2 => "[-+_.eE 0-9]{0,8}",
            1 => ".{0,4}",
        ]
    }

    fn signs() -> impl Strategy<Value = Sign> {
        prop_oneof![Just(Sign::Any), Just(Sign::NonNegative)]
    }

    /// Whether the other library takes a text that we refuse for its form alone.
    fn is_lax(text: &str) -> bool {
        text.starts_with(['+', '.']) || text.starts_with("-.") || text.ends_with('.') || text.contains('_')
    }

    fn check_readers<const SCALE: u32>(text: &str, sign: Sign) -> Result<(), TestCaseError> {
        let ours = Decimal::<DIGITS, SCALE>::parse(text, sign);
        let theirs = Decimal96::from_str_exact(text).ok();
        match (ours, theirs) {
            (Ok(ours), theirs) => prop_assert_eq!(Some(Decimal96::from(ours)), theirs),
            (Err(_), None) => {}
            (Err(DecimalError::Malformed), Some(_)) => prop_assert!(is_lax(text)),
            // Also of a zero, which has no sign there.
            (Err(DecimalError::Negative), Some(_)) => {
                prop_assert!(text.starts_with('-') && sign == Sign::NonNegative);
            }
            (Err(DecimalError::TooPrecise(_)), Some(value)) => prop_assert!(value.scale() > SCALE),
            (Err(DecimalError::TooLarge(_)), Some(_)) => {
                let whole = text.trim_start_matches('-').split('.').next().expect("a text has a first part");
                prop_assert!(whole.len() > Decimal::<DIGITS, SCALE>::INTEGER_DIGITS as usize);
            }
            (Err(error), Some(value)) => prop_assert!(false, "{error:?} here, {value} there"),
        }
        prop_assert_eq!(
            Decimal::<DIGITS, SCALE>::from_decimal_text(text, sign),
            Decimal::<DIGITS, SCALE>::parse_json_number(text, sign)
        );
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn both_readers_read_the_same(text in texts(), sign in signs()) {
            check_readers::<9>(&text, sign)?;
            check_readers::<18>(&text, sign)?;
        }

        #[test]
        fn whatever_crosses_comes_back(units in -(10i128.pow(28) - 1)..10i128.pow(28)) {
            let quantity = Quantity::from_units(units).expect("28 digits");
            let price = UnitPrice::from_units(units).expect("28 digits");
            prop_assert_eq!(Quantity::try_from(Decimal96::from(quantity)), Ok(quantity));
            prop_assert_eq!(UnitPrice::try_from(Decimal96::from(price)), Ok(price));
            prop_assert_eq!(Decimal96::from(quantity).normalize().to_string(), quantity.to_string());
        }

        #[test]
        fn nothing_is_trimmed(digits in -(1i128 << 96) + 1..1i128 << 96, decimals in 0u32..=28) {
            let value = Decimal96::from_i128_with_scale(digits, decimals);
            if let Ok(quantity) = Quantity::try_from(value) {
                prop_assert_eq!(Decimal96::from(quantity), value);
            }
        }
    }

    #[test]
    fn the_largest_cross_and_nothing_larger_does() {
        let largest = "9999999999999999999.999999999";
        for (text, sign) in [(largest.to_owned(), 1), (format!("-{largest}"), -1)] {
            let quantity = Quantity::from_units(sign * (10i128.pow(28) - 1)).expect("28 digits");
            assert_eq!(Decimal96::from(quantity).to_string(), text);
            assert_eq!(Quantity::from_decimal_text(&text, Sign::Any), Ok(quantity));
        }
        let value = |digits, decimals| Decimal96::from_i128_with_scale(digits, decimals);
        let price = |digits, decimals| UnitPrice::try_from(value(digits, decimals));
        assert_eq!(price(10i128.pow(10), 0), Err(DecimalError::TooLarge(10)));
        assert_eq!(price((1 << 96) - 1, 0), Err(DecimalError::TooLarge(10)));
        assert_eq!(price((1 << 96) - 1, 18), Err(DecimalError::TooLarge(10)));
        assert_eq!(price((1 << 96) - 1, 19), Err(DecimalError::TooPrecise(18)));
        assert_eq!(price(10i128.pow(28), 28).map(|price| price.to_string()), Ok("1".to_owned()));
        assert_eq!(price(1, 19), Err(DecimalError::TooPrecise(18)));
        assert_eq!(price(0, 28), Ok(UnitPrice::ZERO));
    }
}
