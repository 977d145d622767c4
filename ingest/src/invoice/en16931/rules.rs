//! The rules of EN 16931-1 about figures that follow from others: BR-CO-10 to BR-CO-17.
//!
//! The norm rounds to two decimals. Where the currency has fewer, figures may be as coarse as its
//! minor unit; one that is written with more is as exact as it is written. A figure is right if it is
//! within half its last place of what it follows from, so that either way of rounding a half is. VAT
//! is rounded line by line, too: for each line, allowance and charge it may be half a place further off.
//! The norm's own validator lets it be off by a whole unit of the currency.
//! Whether other rules hold is deliberately nobody's question here: they say what must be written down,
//! not what is billed.
//!
//! Invariant: sums and products are exact.

use super::document::{Document, Vat};
use super::refusal::Refusal;
use num_bigint::BigInt;
use num_traits::Signed;
use schemas::decimal::Amount;
use schemas::money::Currency;

/// What all figures have here: an amount's 18 decimals, a rate's 18, and two of percent.
const DECIMALS: u32 = 38;

/// Compares every figure with what it follows from.
///
/// # Errors
/// The first rule that is broken, with both figures.
pub fn check(document: &Document) -> Result<(), Refusal> {
    let Document { lines, charges, vat, totals, .. } = document;
    let sum_of = |charge: bool| {
        charges.iter().filter(|one| one.is_charge == charge).map(|one| exact(one.amount)).sum::<BigInt>()
    };
    let or_none = |amount: Option<Amount>| amount.unwrap_or(Amount::ZERO);
    let (allowances, charged, tax) =
        (or_none(totals.allowances), or_none(totals.charges), or_none(totals.vat));
    let (prepaid, rounding) = (or_none(totals.prepaid), or_none(totals.rounding));

    let check = |rule, what: &str, stated: Amount, computed: BigInt| {
        agree(document.currency, rule, what, stated, computed)
    };
    check(
        "BR-CO-10",
        "the sum of the lines (BT-106)",
        totals.lines,
        lines.iter().map(|line| exact(line.amount)).sum(),
    )?;
    check("BR-CO-11", "the sum of the allowances (BT-107)", allowances, sum_of(false))?;
    check("BR-CO-12", "the sum of the charges (BT-108)", charged, sum_of(true))?;
    let without_vat = exact(totals.lines) - exact(allowances) + exact(charged);
    check("BR-CO-13", "the total without VAT (BT-109)", totals.without_vat, without_vat)?;
    check("BR-CO-14", "the VAT (BT-110)", tax, vat.iter().map(|one| exact(one.tax)).sum())?;
    let with_vat = exact(totals.without_vat) + exact(tax);
    check("BR-CO-15", "the total with VAT (BT-112)", totals.with_vat, with_vat)?;
    let payable = exact(totals.with_vat) - exact(prepaid) + exact(rounding) + exact(document.collected);
    check("BR-CO-16", "the amount due (BT-115)", totals.payable, payable)?;
    let taxed = lines.len() + charges.len();
    for one in vat {
        let computed = tax_of(one);
        if (exact(one.tax) - &computed).abs() >= half_a_place(document.currency, one.tax) * (taxed + 1) {
            return Err(broken(
                "BR-CO-17",
                &format!("the tax of {} (BT-117)", name(one)),
                one.tax,
                &computed,
            ));
        }
    }
    Ok(())
}

/// What a line of VAT is called: its category, and the rate as written.
pub fn name(vat: &Vat) -> String {
    match &vat.rate {
        Some((rate, _)) => format!("VAT {} {rate} %", vat.category),
        None => format!("VAT {}", vat.category),
    }
}

/// What a base bears at its rate; nothing where there is no rate.
fn tax_of(vat: &Vat) -> BigInt {
    match &vat.rate {
        Some((_, rate)) => BigInt::from(vat.base.units()) * BigInt::from(rate.units()),
        None => BigInt::ZERO,
    }
}

fn agree(
    currency: Currency,
    rule: &'static str,
    what: &str,
    stated: Amount,
    computed: BigInt,
) -> Result<(), Refusal> {
    if (exact(stated) - &computed).abs() <= half_a_place(currency, stated) {
        return Ok(());
    }
    Err(broken(rule, what, stated, &computed))
}

fn broken(rule: &'static str, what: &str, stated: Amount, computed: &BigInt) -> Refusal {
    Refusal::Broken { rule, what: what.to_owned(), stated, computed: shown(computed) }
}

/// Half of the last place that a figure is right to.
fn half_a_place(currency: Currency, stated: Amount) -> BigInt {
    let places = decimals(currency).max(decimals_of(stated));
    BigInt::from(5) * BigInt::from(10).pow(DECIMALS - 1 - places)
}

/// How many decimals a figure of an invoice is rounded to, at least.
fn decimals(currency: Currency) -> u32 {
    // There are no fillér any more, though ISO 4217 has them, and VAT in forints is whole.
    if currency.code() == "HUF" { 0 } else { currency.minor_digits().min(2) }
}

/// How many decimals a figure has, without zeros at the end.
fn decimals_of(amount: Amount) -> u32 {
    let whole = |places: &u32| amount.units() % 10i128.pow(18 - places) == 0;
    (0..18).find(whole).unwrap_or(18)
}

fn exact(amount: Amount) -> BigInt {
    BigInt::from(amount.units()) * BigInt::from(10).pow(20)
}

/// As digits, without zeros at the end.
fn shown(figure: &BigInt) -> String {
    let unit = BigInt::from(10).pow(DECIMALS);
    let sign = if figure.is_negative() { "-" } else { "" };
    let (whole, fraction) = (figure.abs() / &unit, figure.abs() % &unit);
    let fraction = format!("{fraction:0>38}");
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}
