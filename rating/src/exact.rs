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

/// The exact sum of decimals. Their units are added, so that a fraction is reduced once and not with each.
pub fn sum<const PRECISION: u32, const SCALE: u32>(
    decimals: impl Iterator<Item = Decimal<PRECISION, SCALE>>,
) -> Exact {
    Exact::new(decimals.map(|decimal| BigInt::from(decimal.units())).sum(), power_of_ten(SCALE))
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
    use schemas::decimal::{Amount, Sign};

    #[test]
    fn a_sum_is_that_of_exact_values_and_does_not_overflow() {
        let amount = |text: &str| Amount::parse(text, Sign::Any).expect("an amount");
        let amounts = ["0.000000000000000001", "-7.5", "99999999999999999999.999999999999999999"].map(amount);
        let many = || amounts.iter().cycle().take(300).copied();
        assert_eq!(sum(many()), many().map(exact).sum::<Exact>());
        assert_eq!(sum(std::iter::empty::<Amount>()), Exact::zero());
    }

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
