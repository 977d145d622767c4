//! A month by two catalogs: what each line and each customer would cost by the other.
//!
//! Both are rated whole, and nothing is written. Whether the other one may be published is deliberately
//! not asked here, but in `changes`.
//!
//! Invariant: of each currency, the differences of customers and of what is retained add up to those of
//! the lines.

use crate::error::RatingError;
use crate::run::{CostLine, Run, decimal};
use crate::statement::Biller;
use schemas::decimal::{Amount, DecimalError};
use schemas::id::{CustomerId, ProviderId, SkuId};
use schemas::money::Currency;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What settles, or what somebody is billed, by one catalog and by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    pub before: Amount,
    pub after: Amount,
    /// `after` less `before`.
    pub difference: Amount,
}

/// The lines of one SKU and account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineOf {
    pub provider: ProviderId,
    pub sku: SkuId,
    pub sub_account: Option<CustomerId>,
    pub currency: Currency,
}

/// Who is billed by the operator, in the provider's currency; `None` for what the operator retains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BilledTo {
    pub customer: Option<CustomerId>,
    pub currency: Currency,
}

/// A month by two catalogs, the largest differences first; what is equal comes last.
#[derive(Debug, Clone)]
pub struct WhatIf {
    pub lines: Vec<(LineOf, Compared)>,
    pub customers: Vec<(BilledTo, Compared)>,
}

type Sums<K> = BTreeMap<K, [Amount; 2]>;

/// Compares two runs of a month.
///
/// # Errors
/// [`RatingError::Overflow`] where a sum does not fit.
pub fn what_if(before: &Run, after: &Run) -> Result<WhatIf, RatingError> {
    compared(&before.cost_lines, &after.cost_lines)
}

/// Compares the lines of a month in two versions.
pub(crate) fn compared(before: &[CostLine], after: &[CostLine]) -> Result<WhatIf, RatingError> {
    let (mut lines, mut customers) = (Sums::new(), Sums::new());
    for (version, cost_lines) in [before, after].into_iter().enumerate() {
        for line in cost_lines {
            add(&mut lines, line_of(line), version, decimal(line.settled)?)?;
            for statement in line.statement_lines.iter().filter(|line| line.biller == Biller::Operator) {
                let customer = statement.customer.clone().filter(|_| statement.kind.is_billed());
                let of = BilledTo { customer, currency: line.currency };
                add(&mut customers, of, version, decimal(statement.money)?)?;
            }
        }
    }
    Ok(WhatIf { lines: in_order(lines)?, customers: in_order(customers)? })
}

pub(crate) fn line_of(line: &CostLine) -> LineOf {
    let key = &line.key;
    LineOf {
        provider: key.provider.clone(),
        sku: key.sku.clone(),
        sub_account: key.sub_account.clone(),
        currency: line.currency,
    }
}

fn add<K: Ord>(sums: &mut Sums<K>, of: K, version: usize, amount: Amount) -> Result<(), RatingError> {
    let sum = &mut sums.entry(of).or_insert([Amount::ZERO; 2])[version];
    *sum = sum.checked_add(amount).map_err(overflow())?;
    Ok(())
}

fn overflow() -> impl FnOnce(DecimalError) -> RatingError {
    RatingError::overflow("a sum of the month")
}

fn in_order<K: Ord>(sums: Sums<K>) -> Result<Vec<(K, Compared)>, RatingError> {
    let mut rows = Vec::with_capacity(sums.len());
    for (of, [before, after]) in sums {
        let difference = Amount::from_units(after.units() - before.units()).map_err(overflow())?;
        rows.push((of, Compared { before, after, difference }));
    }
    rows.sort_by_key(|(_, compared)| Reverse(compared.difference.units().unsigned_abs()));
    Ok(rows)
}
