//! What goes in comes out: the promises of a run, checked line by line.
//!
//! It deliberately adds up again what `allocation` has shared, and trusts none of it.
//!
//! Invariant: of lines that pass, Σ charges = amount, Σ statement lines = settled, and no two ids
//! are equal.

use super::line::CostLine;
use crate::error::RatingError;
use schemas::decimal::Amount;
use schemas::money::Money;
use std::collections::BTreeSet;

/// Checks what a run promises, from the finished lines alone.
pub(super) fn check(cost_lines: &[CostLine]) -> Result<(), RatingError> {
    let mut ids = BTreeSet::new();
    for line in cost_lines {
        let name = format!("{} {} {}", line.key.provider, line.key.sku, line.key.charge_period);
        let charged = sum_amounts(line.charges.iter().map(|share| share.amount))?;
        // What settles is written as a decimal too.
        decimal(line.settled)?;
        if charged != line.amount {
            return Err(RatingError::broken(format!(
                "{name}: charges add up to {charged}, the cost line is {}",
                line.amount
            )));
        }
        let mut settled: i128 = 0;
        for statement in &line.statement_lines {
            if statement.money.currency != line.currency {
                return Err(RatingError::broken(format!(
                    "{name}: a statement line is in {}",
                    statement.money.currency
                )));
            }
            decimal(statement.money)?;
            settled = settled
                .checked_add(statement.money.minor_units)
                .ok_or_else(|| RatingError::broken(format!("{name}: overflow")))?;
        }
        if settled != line.settled.minor_units {
            return Err(RatingError::broken(format!(
                "{name}: statement lines add up to {settled} minor units, the cost line settles at {}",
                line.settled.minor_units
            )));
        }
        let of_line = std::iter::once(line.id.to_string())
            .chain(line.charges.iter().map(|charge| charge.id.to_string()))
            .chain(line.statement_lines.iter().map(|line| line.id.to_string()));
        for id in of_line {
            if let Some(id) = ids.replace(id) {
                return Err(RatingError::broken(format!("{name}: the id {id} is not unique")));
            }
        }
    }
    Ok(())
}

/// Money as the decimal that tables write.
pub(crate) fn decimal(money: Money) -> Result<Amount, RatingError> {
    money
        .to_amount()
        .ok_or_else(|| RatingError::broken("a sum of money does not fit in DECIMAL(38,18)".to_owned()))
}

fn sum_amounts(amounts: impl Iterator<Item = Amount>) -> Result<Amount, RatingError> {
    let mut sum = Amount::ZERO;
    for amount in amounts {
        sum = sum.checked_add(amount).map_err(|error| RatingError::broken(error.to_string()))?;
    }
    Ok(sum)
}
