//! Numbers without rounding: rationals of any size, made of decimals and printed in full.
//!
//! Between reading a price and rounding a result nothing can overflow and nothing is lost. The way
//! back to a decimal or to money is `rounding`, and deliberately not here.
//!
//! Invariant: a number that is printed says its whole value, as digits or as a fraction.

use num_bigint::BigInt;
use num_traits::{Signed, Zero};
use schemas::decimal::Decimal;
use schemas::money::Money;

/// A number without rounding.
pub type Exact = num_rational::BigRational;

/// The exact value of a decimal.
pub fn exact<const PRECISION: u32, const SCALE: u32>(decimal: Decimal<PRECISION, SCALE>) -> Exact {
    Exact::new(decimal.units().into(), power_of_ten(SCALE))
}

/// The exact value of money, in its currency's own unit.
pub fn exact_money(money: Money) -> Exact {
    Exact::new(money.minor_units.into(), power_of_ten(money.currency.minor_digits()))
}

pub(crate) fn power_of_ten(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

/// The digits of an exact number, or a fraction where the digits would never end.
pub fn display(value: &Exact) -> String {
    let mut rest = value.denom().clone();
    let mut count = |divisor: u32| {
        let mut times = 0u32;
        while (&rest % divisor).is_zero() {
            rest /= divisor;
            times += 1;
        }
        times
    };
    let digits = count(2).max(count(5));
    if rest != BigInt::from(1) {
        return format!("{}/{}", value.numer(), value.denom());
    }
    let text = format!(
        "{:0>width$}",
        (value * power_of_ten(digits)).to_integer().abs(),
        width = digits as usize + 1
    );
    let (whole, fraction) = text.split_at(text.len() - digits as usize);
    let sign = if value.is_negative() { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_numbers_print_their_digits() {
        for (numerator, denominator, text) in [
            (0, 1, "0"),
            (47, 1, "47"),
            (-1, 8, "-0.125"),
            (1, 3, "1/3"),
            (21, 20, "1.05"),
            (-100, 1, "-100"),
        ] {
            assert_eq!(display(&Exact::new(numerator.into(), denominator.into())), text);
        }
    }
}
