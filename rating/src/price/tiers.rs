//! Tiers: which stretch of a count has which rate.
//!
//! The cost of a stretch is deliberately not known here.
//!
//! Invariant: every count is in exactly one tier. Bounds are inclusive at their upper end, so the
//! unit that fills a tier still has that tier's rate.

use crate::exact::{Exact, exact};
use num_traits::Zero;
use schemas::decimal::{Amount, QuantityTotal, UnitPrice};

/// One tier as a price list writes it. Without `up_to` it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    pub up_to: Option<QuantityTotal>,
    pub unit_price: UnitPrice,
    /// Due once in a billing period that reaches the tier.
    pub flat: Option<Amount>,
}

/// Tiers from zero upwards, without gap or overlap, the last one open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers(Vec<Tier>);

/// Why a list of tiers does not cover every quantity exactly once. Positions count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TiersError {
    #[error("there are no tiers")]
    Empty,
    #[error("the last tier has an `up_to`, so what is above it has no price")]
    LastNotOpen,
    #[error("tier {0} has no `up_to` but is not the last")]
    OpenBeforeLast(usize),
    #[error("tier {0} holds nothing: its `up_to` is not above where it begins")]
    NotIncreasing(usize),
}

impl Tiers {
    /// # Errors
    /// [`TiersError`], unless `up_to` rises from above zero and the last tier alone has none.
    pub fn new(tiers: Vec<Tier>) -> Result<Self, TiersError> {
        let (last, bounded) = tiers.split_last().ok_or(TiersError::Empty)?;
        let mut previous = QuantityTotal::ZERO;
        for (index, tier) in bounded.iter().enumerate() {
            let up_to = tier.up_to.ok_or(TiersError::OpenBeforeLast(index + 1))?;
            if up_to <= previous {
                return Err(TiersError::NotIncreasing(index + 1));
            }
            previous = up_to;
        }
        if last.up_to.is_some() {
            return Err(TiersError::LastNotOpen);
        }
        Ok(Self(tiers))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Tier> {
        self.0.iter()
    }

    /// Every tier with both of its bounds.
    pub(super) fn refs(&self) -> Vec<TierRef> {
        let lower = [Exact::zero()].into_iter().chain(self.0.iter().filter_map(|tier| tier.up_to.map(exact)));
        let place = |(index, (tier, from)): (usize, (&Tier, Exact))| TierRef {
            position: index + 1,
            of: self.0.len(),
            from,
            to: tier.up_to.map(exact),
            unit_price: tier.unit_price,
            flat: tier.flat,
        };
        self.0.iter().zip(lower).enumerate().map(place).collect()
    }

    /// The tier that a count falls in; zero falls in the first.
    pub(super) fn containing(&self, count: &Exact) -> TierRef {
        let holds = |tier: &TierRef| tier.to.as_ref().is_none_or(|to| count <= to);
        self.refs().into_iter().find(holds).expect("the last tier is open")
    }
}

/// `(from, to]`, the last without end.
pub(super) struct TierRef {
    position: usize,
    of: usize,
    pub from: Exact,
    pub to: Option<Exact>,
    pub unit_price: UnitPrice,
    pub flat: Option<Amount>,
}

impl TierRef {
    /// Whether the unit after `count` falls in it.
    pub(super) fn is_next(&self, count: &Exact) -> bool {
        self.from <= *count && self.to.as_ref().is_none_or(|to| count < to)
    }

    pub(super) fn label(&self) -> String {
        format!("tier {} of {}", self.position, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::decimal::Sign;

    #[test]
    fn tiers_cover_every_quantity_once() {
        let tier = |up_to: &str| Tier {
            up_to: (!up_to.is_empty()).then(|| QuantityTotal::parse(up_to, Sign::Any).expect("a bound")),
            unit_price: UnitPrice::ZERO,
            flat: None,
        };
        let check =
            |bounds: &[&str]| Tiers::new(bounds.iter().map(|up_to| tier(up_to)).collect()).map(|_| ());
        assert_eq!(check(&["1", "2.5", ""]), Ok(()));
        assert_eq!(check(&[""]), Ok(()));
        assert_eq!(check(&[]), Err(TiersError::Empty));
        assert_eq!(check(&["1"]), Err(TiersError::LastNotOpen));
        assert_eq!(check(&["1", "", "2"]), Err(TiersError::OpenBeforeLast(2)));
        assert_eq!(check(&["", ""]), Err(TiersError::OpenBeforeLast(1)));
        assert_eq!(check(&["2", "2", ""]), Err(TiersError::NotIncreasing(2)));
        assert_eq!(check(&["2", "1", ""]), Err(TiersError::NotIncreasing(2)));
        assert_eq!(check(&["0", ""]), Err(TiersError::NotIncreasing(1)));
        assert_eq!(check(&["-1", ""]), Err(TiersError::NotIncreasing(1)));
    }
}
