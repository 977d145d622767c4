//! The promises of a run, checked line by line from the finished lines alone.
//!
//! It deliberately adds up again what `allocation` has shared, and trusts none of it.
//!
//! Invariant: of lines that pass, Σ charges = amount, Σ statement lines = settled, and no two ids
//! are equal.

use super::line::{CostLine, decimal};
use crate::error::RatingError;
use schemas::decimal::{Amount, DecimalError};
use schemas::money::{Currency, Money};
use std::collections::{BTreeMap, BTreeSet};

/// # Errors
/// The first promise that does not hold.
pub(super) fn check(cost_lines: &[CostLine]) -> Result<(), RatingError> {
    let mut ids = BTreeSet::new();
    for line in cost_lines {
        let name = format!("{} {} {}", line.key.provider, line.key.sku, line.key.charge_period);
        check_charges(line, &name)?;
        check_statement_lines(line, &name)?;
        let of_line = std::iter::once(line.id.to_string())
            .chain(line.charges.iter().map(|charge| charge.id.to_string()))
            .chain(line.statement_lines.iter().map(|line| line.id.to_string()));
        for id in of_line {
            if let Some(id) = ids.replace(id) {
                return Err(RatingError::Damaged(format!("{name}: the id {id} is not unique")));
            }
        }
    }
    Ok(())
}

/// Looks whether the sums of a run can be written: of each currency, all amounts together as if none
/// was negative, and all that settles.
///
/// # Errors
/// [`RatingError::TooLarge`] of the largest line.
pub(super) fn check_sums(cost_lines: &[CostLine]) -> Result<(), RatingError> {
    let mut sums: BTreeMap<Currency, [Amount; 2]> = BTreeMap::new();
    let mut largest: BTreeMap<Currency, &CostLine> = BTreeMap::new();
    for line in cost_lines {
        let too_large = |line: &CostLine, reason: &DecimalError| RatingError::TooLarge {
            provider: line.key.provider.clone(),
            sku: line.key.sku.clone(),
            detail: format!("what this and other lines cost in {} is too large: {reason}", line.currency),
            largest: None,
        };
        let settled = line.settled.to_amount().ok_or_else(|| too_large(line, &DecimalError::Overflow(38)))?;
        let known = largest.entry(line.currency).or_insert(line);
        if magnitude(line.amount) > magnitude(known.amount) {
            *known = line;
        }
        let known = *known;
        let sums = sums.entry(line.currency).or_insert([Amount::ZERO; 2]);
        for (sum, amount) in sums.iter_mut().zip([line.amount, settled]) {
            *sum = Amount::from_units(magnitude(amount))
                .and_then(|amount| sum.checked_add(amount))
                .map_err(|reason| too_large(known, &reason))?;
        }
    }
    Ok(())
}

fn magnitude(amount: Amount) -> i128 {
    amount.units().abs()
}

fn check_charges(line: &CostLine, name: &str) -> Result<(), RatingError> {
    let mut sum = Amount::ZERO;
    for charge in &line.charges {
        sum = sum
            .checked_add(charge.amount)
            .map_err(RatingError::overflow(format!("the sum of the charges of {name}")))?;
    }
    if sum == line.amount {
        return Ok(());
    }
    Err(RatingError::Unbalanced {
        whole: name.to_owned(),
        parts: "charges",
        sum: format!("{sum} {}", line.currency),
        expected: format!("the amount of the cost line, {} {}", line.amount, line.currency),
    })
}

fn check_statement_lines(line: &CostLine, name: &str) -> Result<(), RatingError> {
    // The settled amount is written as a decimal too.
    decimal(line.settled)?;
    let mut sum = Money { minor_units: 0, currency: line.currency };
    for Money { minor_units, currency } in
        line.statement_lines.iter().filter(|line| line.is_share()).map(|line| line.money)
    {
        if currency != line.currency {
            return Err(RatingError::Damaged(format!("{name}: a statement line is in {currency}")));
        }
        decimal(Money { minor_units, currency })?;
        // Each fits in a decimal, so that a sum of two fits in 128 bits.
        sum.minor_units += minor_units;
        decimal(sum)?;
    }
    if sum == line.settled {
        return Ok(());
    }
    Err(RatingError::Unbalanced {
        whole: name.to_owned(),
        parts: "statement lines",
        sum: format!("{} minor units of {}", sum.minor_units, line.currency),
        expected: format!("what the cost line settles at, {}", line.settled.minor_units),
    })
}
