//! Currencies and amounts of their minor units.
//!
//! [`Money`] is what a statement or an invoice may say; [`crate::decimal::Amount`] is what price ×
//! quantity yields. Nothing here converts one into the other: only `rating::rounding` does.

use crate::decimal::Amount;
use std::fmt;

/// A currency of ISO 4217 that has minor units.
///
/// ```
/// # use schemas::money::Currency;
/// let yen = Currency::from_code("JPY").expect("a currency");
/// assert_eq!((yen.code(), yen.minor_digits()), ("JPY", 0));
/// // Gold has no minor unit, and a code is in upper case.
/// assert_eq!((Currency::from_code("XAU"), Currency::from_code("jpy")), (None, None));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Reads a three-letter upper-case code. Codes without minor units (gold, funds, test codes)
    /// are not currencies one can be billed in.
    pub fn from_code(code: &str) -> Option<Self> {
        if !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let currency = iso_currency::Currency::from_code(code)?;
        currency.exponent()?;
        Some(Self(currency))
    }

    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Digits after the point: 2 for EUR, 0 for JPY, 3 for KWD (ISO 4217).
    pub fn minor_digits(self) -> u32 {
        u32::from(self.0.exponent().expect("a currency was checked for minor units when it was made"))
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Currency {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A whole number of a currency's minor units.
///
/// ```
/// # use schemas::money::{Currency, Money};
/// let currency = Currency::from_code("EUR").expect("a currency");
/// let money = Money { minor_units: 1_999, currency };
/// assert_eq!(money.to_amount().expect("an amount").to_string(), "19.99");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    pub minor_units: i128,
    pub currency: Currency,
}

impl Money {
    /// The same value as a decimal; `None` beyond 20 integer digits.
    pub fn to_amount(self) -> Option<Amount> {
        let unit = 10i128.pow(18 - self.currency.minor_digits());
        Amount::from_units(self.minor_units.checked_mul(unit)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_digits_come_from_iso_4217() {
        for (code, digits) in [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("RWF", 0)] {
            assert_eq!(Currency::from_code(code).map(Currency::minor_digits), Some(digits), "{code}");
        }
        for code in ["eur", "EURO", "XAU", "ZZZ", ""] {
            assert_eq!(Currency::from_code(code), None, "{code}");
        }
    }
}
