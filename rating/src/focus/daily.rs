//! A part of a line by the UTC days on which it was used.
//!
//! What was used on which day is given.
//!
//! Invariant: the days of a part add up to it, what is billed to 10⁻¹⁸ and the quantity to 10⁻⁹.

use super::class::Priced;
use super::export::Days;
use super::parts::Part;
use crate::allocation::Rule;
use crate::catalog::Sku;
use crate::exact::{Exact, exact};
use crate::posted::Posted;
use crate::rounding::{self, MoneyError, Weight, allocate_amount};
use num_traits::Zero as _;
use schemas::decimal::Amount;
use schemas::time::{Day, Instant};
use std::collections::BTreeMap;

/// What one row has of a part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub start: Instant,
    pub end: Instant,
    pub quantity: Amount,
    pub billed: Amount,
    pub own: Amount,
}

/// The pieces of a part, by days; one where it stays whole: without days, of a meter that does not just
/// add up, or under a rule that does not follow usage.
pub(super) fn pieces(
    line: &Posted<'_>,
    sku: &Sku,
    priced: &Priced<'_>,
    part: &Part,
    days: Option<&Days>,
) -> Result<Vec<Piece>, MoneyError> {
    let Part { quantity, billed, own, .. } = *part;
    let whole = vec![Piece { start: line.start, end: line.end, quantity, billed, own }];
    let follows = matches!(priced.line.rule, Rule::Proportional | Rule::Direct);
    let adds_up = sku.metered().is_some_and(|metered| metered.rules.summed().is_some());
    let Some(days) = days.filter(|_| follows && adds_up) else { return Ok(whole) };
    let mut used: BTreeMap<Day, Exact> = BTreeMap::new();
    for (day, quantity) in part.charges.iter().filter_map(|charge| days.get(charge)).flatten() {
        *used.entry(*day).or_default() += quantity;
    }
    // Usage of nothing is on no day.
    used.retain(|_, quantity| !quantity.is_zero());
    if used.is_empty() {
        return Ok(whole);
    }
    let weights = used.values().map(Weight::of).collect::<Result<Vec<_>, _>>()?;
    let quantities = share_quantity(quantity, &weights)?;
    let billed = allocate_amount(billed, &weights)?;
    let own = allocate_amount(own, &weights)?;
    let pieces = used.into_keys().zip(quantities).zip(billed.into_iter().zip(own));
    let piece = |((day, quantity), (billed, own)): ((Day, Amount), (Amount, Amount))| {
        let at = |micros| Instant::from_micros(micros).expect("a day with usage is within the calendar");
        let (start, end) = (at(day.start()).max(line.start), at(day.end()).min(line.end));
        Piece { start, end: end.max(start), quantity, billed, own }
    };
    Ok(pieces.map(piece).collect())
}

/// A quantity that has no more than nine places stays so.
fn share_quantity(quantity: Amount, weights: &[Weight]) -> Result<Vec<Amount>, MoneyError> {
    const UNIT: i128 = 1_000_000_000;
    if quantity.units() % UNIT != 0 {
        return allocate_amount(quantity, weights);
    }
    let places = Amount::from_units(quantity.units() / UNIT).expect("it is smaller");
    let parts = allocate_amount(places, weights)?;
    parts
        .into_iter()
        .map(|part| rounding::amount(&(exact(part) * Exact::from_integer(UNIT.into()))))
        .collect()
}
