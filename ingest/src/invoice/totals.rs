//! The total that a file states, against the sum of its lines.
//!
//! A difference up to FOCUS's tolerance is a provider's own rounding, and becomes a line; beyond it
//! the file was cut or misread. The tolerance for a number of lines is max(100, √lines ÷ 2) minor
//! units of the currency.
//!
//! Invariant: a tolerance is compared exactly, not computed.

use schemas::decimal::Amount;
use schemas::money::Currency;

/// What a stated total says of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    Agrees,
    /// By this the lines are less than the total: within the tolerance.
    Differs(Amount),
    /// Beyond the tolerance.
    Contradicts,
}

/// Compares a stated total with the sum of `lines` lines.
pub fn compare(stated: Amount, sum: Amount, lines: u32, currency: Currency) -> Total {
    // Both are below 10^38, so that their difference may not fit.
    let difference = stated.units().checked_sub(sum.units()).and_then(|units| Amount::from_units(units).ok());
    match difference {
        Some(difference) if difference.is_zero() => Total::Agrees,
        Some(difference) if is_within(difference, lines, currency) => Total::Differs(difference),
        _ => Total::Contradicts,
    }
}

/// Whether |difference| ≤ max(100, √lines ÷ 2) minor units.
fn is_within(difference: Amount, lines: u32, currency: Currency) -> bool {
    let minor = 10u128.pow(18 - currency.minor_digits());
    let difference = difference.units().unsigned_abs();
    if difference <= 100 * minor {
        return true;
    }
    // Twice the difference, as minor units and what is left: (whole + left ÷ minor)² ≤ lines.
    let (whole, left) = (2 * difference / minor, 2 * difference % minor);
    let lines = u128::from(lines);
    let Some(square) = whole.checked_mul(whole).filter(|square| *square <= lines) else { return false };
    // whole² + 2 whole left ÷ minor + (left ÷ minor)² ≤ lines, times minor. All are integers but the last.
    2 * whole * left + (left * left).div_ceil(minor) <= (lines - square) * minor
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::decimal::Sign;

    #[track_caller]
    fn check(currency: &str, lines: u32, stated: &str, sum: &str, expected: Option<&str>) {
        let amount = |text: &str| Amount::parse(text, Sign::Any).expect("an amount");
        let currency = Currency::from_code(currency).expect("a currency");
        let expected = match expected {
            None => Total::Contradicts,
            Some("0") => Total::Agrees,
            Some(difference) => Total::Differs(amount(difference)),
        };
        assert_eq!(compare(amount(stated), amount(sum), lines, currency), expected, "{stated} {sum} {lines}");
    }

    #[test]
    fn few_lines_may_differ_by_a_hundred_minor_units() {
        check("EUR", 1, "210.16", "210.16", Some("0"));
        check("EUR", 1, "210.16", "209.16", Some("1"));
        check("EUR", 1, "210.16", "211.16", Some("-1"));
        check("EUR", 1, "210.16", "209.159999999999999999", None);
        check("EUR", 40_000, "210.16", "211.160000000000000001", None);
        check("JPY", 1, "1000", "1100", Some("-100"));
        check("JPY", 1, "1000", "1100.000000000000000001", None);
        check("KWD", 1, "1", "1.1", Some("-0.1"));
        check("KWD", 1, "1", "1.1001", None);
        check("EUR", 9, "210.16", "57.97", None);
        check("EUR", 9, "99999999999999999999", "-99999999999999999999", None);
    }

    #[test]
    fn many_lines_may_differ_by_half_the_root_of_their_number() {
        // √40,804 ÷ 2 = 101.
        check("EUR", 40_804, "0", "-1.01", Some("1.01"));
        check("EUR", 40_803, "0", "-1.01", None);
        check("EUR", 40_804, "0", "-1.010000000000000001", None);
        // √1,000,000 ÷ 2 = 500.
        check("EUR", 1_000_000, "5", "0", Some("5"));
        check("EUR", 999_999, "5", "0", None);
        check("JPY", 1_000_000, "500", "0", Some("500"));
        // √50,000 ÷ 2 = 111.80339887498948482…
        check("EUR", 50_000, "1.118033988749894848", "0", Some("1.118033988749894848"));
        check("EUR", 50_000, "1.118033988749894849", "0", None);
        check("JPY", 50_000, "111.803398874989484820", "0", Some("111.80339887498948482"));
        check("JPY", 50_000, "111.803398874989484821", "0", None);
    }
}
