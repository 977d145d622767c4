//! What the rows of a comparison come to, by provider and currency.
//!
//! Currencies are never added up. Who bears what is deliberately not known here.
//!
//! Invariant: of a provider and currency, what matches and what the classes of policies and variances
//! have invoiced add up to all that is invoiced.

use super::row::{Class, Row, Verdict};
use crate::error::RatingError;
use crate::exact::Exact;
use num_traits::Zero as _;
use schemas::decimal::Amount;
use schemas::id::ProviderId;
use schemas::money::Currency;
use std::collections::BTreeMap;

/// The rows of one provider and currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub invoiced: Amount,
    /// Of it, in rows that match.
    pub matched: Amount,
    /// Policies and variances.
    pub classes: BTreeMap<Class, OfClass>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfClass {
    pub rows: u64,
    pub invoiced: Amount,
    /// The sum of the variances that are numbers.
    pub variance: Exact,
}

/// # Errors
/// [`RatingError::Overflow`].
pub fn summaries(rows: &[Row]) -> Result<BTreeMap<(&ProviderId, Currency), Summary>, RatingError> {
    let mut summaries = BTreeMap::new();
    for row in rows {
        let summary = summaries.entry((&row.provider, row.currency)).or_insert_with(|| Summary {
            invoiced: Amount::ZERO,
            matched: Amount::ZERO,
            classes: BTreeMap::new(),
        });
        let invoiced = row.invoice_amount.unwrap_or(Amount::ZERO);
        add(&mut summary.invoiced, invoiced)?;
        match (row.verdict, row.class) {
            (Verdict::Match, _) | (_, None) => add(&mut summary.matched, invoiced)?,
            (Verdict::Policy | Verdict::Variance, Some(class)) => {
                let nothing = || OfClass { rows: 0, invoiced: Amount::ZERO, variance: Exact::zero() };
                let of_class = summary.classes.entry(class).or_insert_with(nothing);
                of_class.rows += 1;
                add(&mut of_class.invoiced, invoiced)?;
                if let Some(variance) = &row.variance {
                    of_class.variance += variance;
                }
            }
        }
    }
    Ok(summaries)
}

fn add(sum: &mut Amount, more: Amount) -> Result<(), RatingError> {
    *sum = sum.checked_add(more).map_err(RatingError::overflow("the sum of a comparison"))?;
    Ok(())
}
