//! How much the lines of an invoice say was used, in the unit of the SKU.
//!
//! What that costs is deliberately not known here.
//!
//! Invariant: a quantity whose unit is not understood is no quantity.

use crate::catalog::{Catalog, Counts, Invoicing, Metered, Provider, Sku};
use crate::error::RatingError;
use crate::exact::{Exact, exact};
use crate::units::{Unit, conversion};
use num_traits::{One as _, Zero as _};
use schemas::decimal::Amount;
use schemas::invoice::InvoiceLine;
use schemas::time::Period;
use std::collections::BTreeMap;

/// What the amounts of lines add up to; `None` of no lines.
///
/// # Errors
/// [`RatingError::Overflow`].
pub(super) fn amount<'l>(
    mut lines: impl Iterator<Item = &'l InvoiceLine>,
) -> Result<Option<Amount>, RatingError> {
    lines.try_fold(None, |sum: Option<Amount>, line| add(sum, line.amount))
}

/// What the quantities of lines add up to as they are written; `None` where none has one.
///
/// # Errors
/// [`RatingError::Overflow`].
pub(super) fn written<'l>(
    lines: impl Iterator<Item = &'l InvoiceLine>,
) -> Result<Option<Amount>, RatingError> {
    lines.filter_map(|line| line.quantity).try_fold(None, add)
}

fn add(sum: Option<Amount>, more: Amount) -> Result<Option<Amount>, RatingError> {
    let sum = sum.unwrap_or(Amount::ZERO).checked_add(more);
    sum.map(Some).map_err(RatingError::overflow("the sum of lines of an invoice"))
}

/// How the quantities of a SKU's lines are read.
pub(super) struct Quantities<'a> {
    invoicing: Option<&'a Invoicing>,
    counts: Counted,
}

/// What the quantity of a SKU is.
enum Counted {
    /// An amount that falls due: lines without a quantity are one each.
    Pieces,
    /// Money, which the events carry.
    Money,
    /// In a unit, with a month of so many seconds.
    In { unit: Unit, month: Option<Exact> },
    /// Nothing that an invoice could say.
    Unknown,
}

impl<'a> Quantities<'a> {
    /// Within a billing period.
    pub(super) fn of(catalog: &Catalog, provider: &'a Provider, sku: &Sku, period: Period) -> Self {
        let counts = match &sku.counts {
            Counts::Nothing => Counted::Pieces,
            Counts::Usage(metered) if metered.unit.currency().is_some() => Counted::Money,
            Counts::Usage(metered) => {
                Counted::In { unit: metered.unit.clone(), month: month(catalog, metered, period) }
            }
            Counts::Lines(_) => match Unit::parse(provider.currency.code()) {
                Ok(unit) => Counted::In { unit, month: None },
                Err(_) => Counted::Unknown,
            },
        };
        Self { invoicing: provider.invoicing.as_ref(), counts }
    }

    /// The quantity of lines; `None` where none has one, or the unit of one is not known.
    ///
    /// # Errors
    /// [`RatingError::Overflow`].
    pub(super) fn sum(&self, lines: &[&InvoiceLine]) -> Result<Option<Exact>, RatingError> {
        let (unit, month) = match &self.counts {
            Counted::Money => return Ok(amount(lines.iter().copied())?.map(exact)),
            Counted::Pieces => {
                let each = || (!lines.is_empty()).then(|| Exact::from_integer(lines.len().into()));
                return Ok(written(lines.iter().copied())?.map(exact).or_else(each));
            }
            Counted::Unknown => return Ok(None),
            Counted::In { unit, month } => (unit, month.as_ref()),
        };
        let mut by_unit: BTreeMap<Option<&str>, Option<Amount>> = BTreeMap::new();
        for line in lines {
            if let Some(quantity) = line.quantity {
                let sum = by_unit.entry(line.unit.as_deref()).or_default();
                *sum = add(*sum, quantity)?;
            }
        }
        if by_unit.is_empty() {
            return Ok(None);
        }
        let mut sum = Exact::zero();
        for (written, quantity) in by_unit {
            let factor = match written {
                None => Some(Exact::one()),
                Some(written) => self.factor(written, unit, month),
            };
            let (Some(factor), Some(quantity)) = (factor, quantity) else { return Ok(None) };
            sum += exact(quantity) * factor;
        }
        Ok(Some(sum))
    }

    /// By what a quantity is multiplied that an invoice has in its unit. A unit that the catalog does not
    /// name is one of UCUM, or is not known.
    fn factor(&self, written: &str, to: &Unit, month: Option<&Exact>) -> Option<Exact> {
        let known = self.invoicing.and_then(|invoicing| invoicing.units.get(written));
        match known {
            Some(known) => Some(conversion(&known.unit, to, month).ok()? * &known.factor),
            None => conversion(&Unit::parse(written).ok()?, to, month).ok(),
        }
    }
}

/// The seconds of a month, where a SKU counts with one.
pub(super) fn month(catalog: &Catalog, metered: &Metered, period: Period) -> Option<Exact> {
    let from = catalog.meters.get(&metered.meter)?.unit_of_result().ok()?;
    metered.factor.month(&from, &metered.unit, period)
}
