//! How the demo's report writes figures, and whether two of them agree.
//!
//! Invariant: an amount is printed whole, with every digit that it has.

use anyhow::Context as _;
use schemas::money::{Currency, Money};

pub const GOOD: &str = "✓";
pub const BAD: &str = "✗";

pub fn mark(agrees: bool) -> String {
    if agrees { GOOD } else { BAD }.to_owned()
}

pub fn section(title: &str, body: &str) -> String {
    format!("{title}\n\n{body}")
}

pub fn plus(one: Money, other: Money) -> anyhow::Result<Money> {
    anyhow::ensure!(
        one.currency == other.currency,
        "{} and {} cannot be added",
        one.currency,
        other.currency
    );
    let minor_units =
        one.minor_units.checked_add(other.minor_units).context("a sum of money is too large")?;
    Ok(Money { minor_units, ..one })
}

/// All of the currency's minor digits: `1,490.00`.
pub fn money(money: Money) -> String {
    let digits = Currency::minor_digits(money.currency);
    let unit = 10u128.pow(digits);
    let magnitude = money.minor_units.unsigned_abs();
    let sign = if money.minor_units < 0 { "-" } else { "" };
    let whole = grouped(&(magnitude / unit).to_string());
    match usize::try_from(digits) {
        Ok(width) if width > 0 => format!("{sign}{whole}.{:0width$}", magnitude % unit),
        _ => format!("{sign}{whole}"),
    }
}

/// A plain decimal with commas between thousands.
pub fn grouped(decimal: &str) -> String {
    let (sign, unsigned) = decimal.strip_prefix('-').map_or(("", decimal), |rest| ("-", rest));
    let (whole, fraction) = unsigned.split_at(unsigned.find('.').unwrap_or(unsigned.len()));
    let mut text = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}
