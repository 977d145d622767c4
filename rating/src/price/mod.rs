//! The cost of a quantity: every price model, in one `match`.
//!
//! Nothing is rounded here. The steps of a price add up to its exact amount, which
//! `rounding::amount` rounds once; the same steps are the arithmetic that `explain` prints, so an
//! explanation cannot differ from the charge.
//!
//! Invariant: bounds are inclusive at their upper end; the unit that fills a tier still has that
//! tier's price.

mod tiers; // which stretch of a count has which rate

pub use tiers::{Tier, Tiers, TiersError};

use crate::exact::{Exact, exact};
use crate::words::{named, words};
use num_traits::{Signed, Zero};
use schemas::decimal::{Amount, QuantityTotal, UnitPrice};
use tiers::TierRef;

named! {
    /// How a provider prices a SKU while one of its prices is in force.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum PriceModel named by
    /// A price model as a price list names it.
    PriceModelName {
        /// Every unit at one rate.
        PerUnit { unit_price: UnitPrice } = "per_unit",
        /// Every unit at the rate of the tier it falls in.
        Graduated(Tiers) = "graduated",
        /// Every unit of the period at the rate of the tier that the period's total falls in.
        Volume(Tiers) = "volume",
        /// Every package begun, whole.
        Package { size: PackageSize, package_price: Amount } = "package",
        /// An amount that no usage changes.
        Flat { amount: Amount, every: Recurrence } = "flat",
        /// Free, and shown as a line of nothing.
        Zero = "zero",
    }
}

words! {
    /// When a flat amount is due.
    pub enum Recurrence {
        /// In every billing period at whose beginning the price is in force.
        Month = "month",
        /// In the billing period that contains the price's first instant.
        Once = "once",
    }
}

impl PriceModel {
    /// Whether the amount depends on usage, so that the SKU needs a meter: all but the flat amount.
    pub fn needs_usage(&self) -> bool {
        !matches!(self, Self::Flat { .. })
    }
}

/// One line of the arithmetic: `quantity × unit_price = amount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Names the step for a person: `tier 2 of 3`, `packages of 1000`.
    pub label: String,
    /// The stretch of the period's count that the step prices, `(from, to]`; of a volume price, the
    /// bounds of its tier.
    pub from: Option<Exact>,
    pub to: Option<Exact>,
    /// Units, or whole packages.
    pub quantity: Exact,
    /// Per unit, per package, or the flat amount.
    pub unit_price: Amount,
    pub amount: Exact,
}

/// The cost of `quantity`, step by step; there is always at least one. `counted_before` is the
/// count that the billing period had reached when this price came into force, and `period_total`
/// all that it counts.
///
/// # Panics
/// When a quantity is negative: usage is never negative, and a price list says nothing about what
/// that would cost.
pub fn steps(
    model: &PriceModel,
    counted_before: &Exact,
    quantity: &Exact,
    period_total: &Exact,
) -> Vec<Step> {
    assert!(
        ![counted_before, quantity, period_total].into_iter().any(Signed::is_negative),
        "usage is never negative"
    );
    let counted_after = counted_before + quantity;
    match model {
        PriceModel::PerUnit { unit_price } => {
            vec![Step::new(
                "per unit",
                Some(counted_before.clone()),
                Some(counted_after),
                quantity.clone(),
                widen(*unit_price),
            )]
        }
        PriceModel::Graduated(tiers) => {
            let in_tier = |tier: &TierRef| {
                let from = counted_before.max(&tier.from).clone();
                let to = tier.to.as_ref().map_or(&counted_after, |to| to.min(&counted_after)).clone();
                (from < to).then(|| {
                    Step::new(
                        tier.label(),
                        Some(from.clone()),
                        Some(to.clone()),
                        to - from,
                        widen(tier.unit_price),
                    )
                })
            };
            let steps: Vec<Step> = tiers.refs().iter().filter_map(in_tier).collect();
            if !steps.is_empty() {
                return steps;
            }
            // No usage: a step of nothing, at the rate that the next unit would have.
            let tier = tiers.first_not_full(counted_before);
            vec![Step::new(
                tier.label(),
                Some(counted_before.clone()),
                Some(counted_after),
                Exact::zero(),
                widen(tier.unit_price),
            )]
        }
        PriceModel::Volume(tiers) => {
            let tier = tiers.containing(period_total);
            vec![Step::new(
                tier.label(),
                Some(tier.from.clone()),
                tier.to.clone(),
                quantity.clone(),
                widen(tier.unit_price),
            )]
        }
        PriceModel::Package { size, package_price } => {
            let begun = |count: &Exact| (count / exact(size.0)).ceil();
            let packages = begun(&counted_after) - begun(counted_before);
            vec![Step::new(
                format!("packages of {}", size.0),
                Some(counted_before.clone()),
                Some(counted_after),
                packages,
                *package_price,
            )]
        }
        PriceModel::Flat { amount, every } => {
            let label = match every {
                Recurrence::Month => "flat, every month",
                Recurrence::Once => "flat, once",
            };
            vec![Step::new(label, None, None, Exact::from_integer(1.into()), *amount)]
        }
        PriceModel::Zero => vec![Step::new(
            "free of charge",
            Some(counted_before.clone()),
            Some(counted_after),
            quantity.clone(),
            Amount::ZERO,
        )],
    }
}

/// The exact amount that steps add up to.
pub fn total(steps: &[Step]) -> Exact {
    steps.iter().map(|step| &step.amount).sum()
}

impl Step {
    fn new(
        label: impl Into<String>,
        from: Option<Exact>,
        to: Option<Exact>,
        quantity: Exact,
        unit_price: Amount,
    ) -> Self {
        let amount = &quantity * exact(unit_price);
        Self { label: label.into(), from, to, quantity, unit_price, amount }
    }
}

/// A unit price has the scale of an amount and fewer digits.
fn widen(unit_price: UnitPrice) -> Amount {
    Amount::from_units(unit_price.units()).expect("every unit price fits in an amount")
}

/// How much is in a package; more than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackageSize(QuantityTotal);

impl PackageSize {
    /// `None` unless the size is above zero.
    pub fn new(size: QuantityTotal) -> Option<Self> {
        (size > QuantityTotal::ZERO).then_some(Self(size))
    }

    pub fn get(self) -> QuantityTotal {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tiers(bounds: &[i128], prices: &[i128]) -> Tiers {
        let bounds = bounds
            .iter()
            .map(|bound| Some(QuantityTotal::from_units(bound * 1_000_000_000).expect("a bound")));
        let prices = prices.iter().map(|units| UnitPrice::from_units(*units).expect("a price"));
        Tiers::new(
            bounds.chain([None]).zip(prices).map(|(up_to, unit_price)| Tier { up_to, unit_price }).collect(),
        )
        .expect("tiers")
    }

    fn number(value: i64) -> Exact {
        Exact::from_integer(value.into())
    }

    #[test]
    #[should_panic(expected = "usage is never negative")]
    fn negative_usage_has_no_price() {
        steps(&PriceModel::Zero, &number(0), &number(-1), &number(0));
    }

    /// Bounds that rise, a price per tier (one more than bounds), and the sizes of the parts a
    /// period is counted in.
    fn case() -> impl Strategy<Value = (Vec<i128>, Vec<i128>, Vec<i64>)> {
        let rising = prop::collection::btree_set(1..60i128, 0..5)
            .prop_map(|bounds| bounds.into_iter().collect::<Vec<_>>());
        rising.prop_flat_map(|bounds| {
            let prices = prop::collection::vec(-5..100i128, bounds.len() + 1);
            (Just(bounds), prices, prop::collection::vec(0..40i64, 1..5))
        })
    }

    proptest! {
        #[test]
        fn graduated_is_the_sum_over_single_units((bounds, prices, parts) in case()) {
            let model = PriceModel::Graduated(tiers(&bounds, &prices));
            let period_total = number(parts.iter().sum());
            let mut before = 0;
            for part in &parts {
                // Unit n costs what the first tier whose upper bound is at least n says.
                let price_of = |unit: i64| prices[bounds.iter().filter(|bound| **bound < i128::from(unit)).count()];
                let expected: i128 = (before + 1..=before + part).map(price_of).sum();
                let steps = steps(&model, &number(before), &number(*part), &period_total);
                prop_assert_eq!(total(&steps), exact(Amount::from_units(expected).expect("an amount")));
                prop_assert_eq!(steps.iter().map(|step| &step.quantity).sum::<Exact>(), number(*part));
                before += part;
            }
        }

        #[test]
        fn a_period_costs_the_same_in_one_part_or_in_many((bounds, prices, parts) in case(), size in 1..30i128) {
            let whole = number(parts.iter().sum());
            let size = PackageSize::new(QuantityTotal::from_units(size * 500_000_000).expect("a size")).expect("above zero");
            let package_price = Amount::from_units(7).expect("a price");
            let tiers = tiers(&bounds, &prices);
            for model in [PriceModel::Graduated(tiers.clone()), PriceModel::Volume(tiers), PriceModel::Package { size, package_price }] {
                let mut before = number(0);
                let mut sum = number(0);
                for part in &parts {
                    sum += total(&steps(&model, &before, &number(*part), &whole));
                    before += number(*part);
                }
                prop_assert_eq!(sum, total(&steps(&model, &number(0), &whole, &whole)), "{:?}", model);
            }
        }
    }
}
