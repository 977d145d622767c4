//! The cost of a quantity: every price model, in one `match`.
//!
//! The steps of a price add up to its exact amount, which `rounding::amount` rounds once; the same
//! steps are the arithmetic that `explain` prints, so an explanation cannot differ from the charge.
//! Nothing is rounded here but what a provider itself rounds: increments, and steps. Which lines a
//! price on other lines stands on is deliberately not known here.
//!
//! Invariant: bounds are inclusive at their upper end; the unit that fills a tier still has that
//! tier's price.

mod tiers; // which stretch of a count has which rate

pub use tiers::{Tier, Tiers, TiersError};

use crate::exact::{Exact, exact};
use crate::rounding::{self, Places, RoundingMode};
use crate::words::{named, words};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use num_traits::{One, Signed, Zero};
use schemas::decimal::{Amount, QuantityTotal, UnitPrice};
use schemas::time::{Instant, Period};
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
        Flat { amount: Amount, every: Recurrence, prorate: Option<Prorate> } = "flat",
        /// Free, and shown as a line of nothing.
        Zero = "zero",
        /// What other lines lack to an amount.
        Minimum { amount: Amount } = "minimum",
        /// Less what other lines have above an amount.
        Maximum { amount: Amount } = "maximum",
        /// Less what other lines come to, as far as the credit goes.
        Credit { amount: Amount, every: Recurrence } = "credit",
    }
}

words! {
    /// When an amount is due.
    pub enum Recurrence {
        /// In every billing period at whose beginning the price is in force.
        Month = "month",
        /// In the billing period that contains the price's first instant; of a credit, as long as some
        /// of it is left.
        Once = "once",
    }
}

words! {
    /// By what the part of a month's amount is measured while its price is in force.
    pub enum Prorate {
        Day = "day",
        Second = "second",
    }
}

/// What a model prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Usage, by a meter.
    Usage,
    /// What other lines settle at.
    Lines,
    /// Nothing: an amount falls due.
    Nothing,
}

impl PriceModelName {
    /// Whether a SKU that counts so can have the model.
    pub fn suits(self, basis: Basis) -> bool {
        match self {
            Self::PerUnit | Self::Graduated | Self::Volume => basis != Basis::Nothing,
            Self::Package | Self::Zero => basis == Basis::Usage,
            Self::Flat => basis == Basis::Nothing,
            Self::Minimum | Self::Maximum | Self::Credit => basis == Basis::Lines,
        }
    }
}

impl PriceModel {
    /// Whether some of what it prices may be paid back.
    pub fn may_pay_back(&self) -> bool {
        match self {
            Self::PerUnit { unit_price } => unit_price.is_negative(),
            Self::Graduated(tiers) | Self::Volume(tiers) => tiers.iter().any(|tier| {
                tier.unit_price.is_negative() || tier.flat.is_some_and(|flat| flat.is_negative())
            }),
            Self::Package { package_price: amount, .. } | Self::Flat { amount, .. } => amount.is_negative(),
            Self::Zero | Self::Minimum { .. } => false,
            Self::Maximum { .. } | Self::Credit { .. } => true,
        }
    }
}

/// What a price says beside its dates: the model, and what is done with a quantity before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub model: PriceModel,
    pub increment: Option<Increment>,
    /// So many first units of a billing period cost nothing.
    pub free: QuantityTotal,
}

impl Terms {
    /// A quantity as it is counted: in multiples, where the price has an increment.
    pub fn counted(&self, quantity: &Exact) -> Exact {
        match self.increment {
            None => quantity.clone(),
            Some(Increment { size, mode }) => rounding::to_multiple(quantity, &exact(size.0), mode),
        }
    }
}

/// Usage is counted in multiples of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Increment {
    pub size: PackageSize,
    pub mode: RoundingMode,
}

/// A stretch of the count of a billing period.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// The count that was reached when the price came into force.
    pub before: Exact,
    pub quantity: Exact,
    /// All that the billing period counts.
    pub period_total: Exact,
    /// Whether it is that of the first line of a SKU (of an account) in the billing period.
    pub first: bool,
}

impl Stretch {
    /// All of a period that has one price.
    pub fn whole(quantity: Exact) -> Self {
        Self { before: Exact::zero(), period_total: quantity.clone(), quantity, first: true }
    }
}

/// One line of the arithmetic: `quantity × unit_price = amount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Names the step for a person: `tier 2 of 3`, `packages of 1000`.
    pub label: String,
    /// The stretch of the period's count that the step prices, `(from, to]`, after free units; of a
    /// volume price, the bounds of its tier.
    pub from: Option<Exact>,
    pub to: Option<Exact>,
    /// Units, or whole packages.
    pub quantity: Exact,
    /// Per unit, per package, or the flat amount.
    pub unit_price: Exact,
    /// Rounded where the provider rounds steps.
    pub amount: Exact,
}

/// The cost of a stretch of usage, or of the lines that a price stands on, step by step; there is
/// always at least one. `places` are those to which the provider rounds each step.
///
/// # Panics
/// When a quantity is negative: usage is never negative, and a price list says nothing about what
/// that would cost. When the model is one for which [`flat`], or [`on_lines`], is asked.
pub fn steps(terms: &Terms, stretch: &Stretch, places: Option<Places>) -> Vec<Step> {
    let Stretch { before, quantity, period_total, first } = stretch;
    assert!(
        ![before, quantity, period_total].into_iter().any(Signed::is_negative),
        "usage is never negative"
    );
    // The price sees only what is counted beyond the free units.
    let free = exact(terms.free);
    let beyond = |count: &Exact| if *count > free { count - &free } else { Exact::zero() };
    let (before, after, total) = (beyond(before), beyond(&(before + quantity)), beyond(period_total));
    let quantity = &after - &before;
    let mut steps = match &terms.model {
        PriceModel::PerUnit { unit_price } => {
            vec![Step::new("per unit", Some(before), Some(after), quantity, exact(*unit_price))]
        }
        PriceModel::Graduated(tiers) => graduated(tiers, &before, &after, *first),
        PriceModel::Volume(tiers) => {
            let tier = tiers.containing(&total);
            let mut steps = vec![tier.step(Some(tier.from.clone()), tier.to.clone(), quantity)];
            steps.extend(tier.flat_step().filter(|_| *first));
            steps
        }
        PriceModel::Package { size, package_price } => {
            let begun = |count: &Exact| (count / exact(size.0)).ceil();
            let packages = begun(&after) - begun(&before);
            let label = format!("packages of {}", size.0);
            vec![Step::new(label, Some(before), Some(after), packages, exact(*package_price))]
        }
        PriceModel::Zero => {
            vec![Step::new("free of charge", Some(before), Some(after), quantity, Exact::zero())]
        }
        PriceModel::Flat { .. }
        | PriceModel::Minimum { .. }
        | PriceModel::Maximum { .. }
        | PriceModel::Credit { .. } => {
            panic!("{} prices no quantity", terms.model.as_str())
        }
    };
    if let Some(places) = places {
        for step in &mut steps {
            step.amount = rounding::to_places(&step.amount, places);
        }
    }
    steps
}

fn graduated(tiers: &Tiers, before: &Exact, after: &Exact, first: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for (place, tier) in tiers.refs().iter().enumerate() {
        let from = before.max(&tier.from).clone();
        let to = tier.to.as_ref().map_or(after, |to| to.min(after)).clone();
        if from < to {
            let quantity = &to - &from;
            steps.push(tier.step(Some(from), Some(to), quantity));
        } else if before == after && tier.is_next(before) {
            // No usage: a step of nothing, at the rate that the next unit would have.
            steps.push(tier.step(Some(before.clone()), Some(after.clone()), Exact::zero()));
        }
        // A later tier is reached when the count passes its lower bound.
        let reached = match place {
            0 => first,
            _ => *before <= tier.from && tier.from < *after,
        };
        steps.extend(tier.flat_step().filter(|_| reached));
    }
    steps
}

/// The one step of an amount that falls due, or of a part of it.
pub fn flat(amount: Amount, part: &Exact) -> Vec<Step> {
    vec![Step::new("flat", None, None, Exact::one(), exact(amount) * part)]
}

/// How much of a billing period a part of it is.
pub fn part_of(period: Period, part: Period, by: Prorate, zone: &TimeZone) -> Exact {
    let date = |at: Instant| at.to_timestamp().to_zoned(zone.clone()).date();
    let days = |from: Date, until: Date| i64::from((until - from).get_days());
    let length = |of: Period| match by {
        Prorate::Day => days(date(of.start()), date(of.end())),
        Prorate::Second => of.end().micros() - of.start().micros(),
    };
    Exact::new(length(part).into(), length(period).into())
}

/// The cost of what other lines come to, which is never below zero; of a credit, `left` is how much of
/// it there is.
///
/// # Panics
/// When the model prices no lines.
pub fn on_lines(terms: &Terms, base: &Exact, left: &Exact, places: Option<Places>) -> Vec<Step> {
    let one = |label: &str, amount: Exact| vec![Step::new(label, None, None, Exact::one(), amount)];
    let above_zero = |amount: Exact| if amount.is_negative() { Exact::zero() } else { amount };
    match &terms.model {
        PriceModel::PerUnit { .. } | PriceModel::Graduated(_) | PriceModel::Volume(_) => {
            steps(terms, &Stretch::whole(base.clone()), places)
        }
        PriceModel::Minimum { amount } => one("shortfall", above_zero(exact(*amount) - base)),
        PriceModel::Maximum { amount } => one("excess", -above_zero(base - exact(*amount))),
        PriceModel::Credit { .. } => one("credit", -base.min(&above_zero(left.clone())).clone()),
        PriceModel::Package { .. } | PriceModel::Flat { .. } | PriceModel::Zero => {
            panic!("{} prices no lines", terms.model.as_str())
        }
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
        unit_price: Exact,
    ) -> Self {
        let amount = &quantity * &unit_price;
        Self { label: label.into(), from, to, quantity, unit_price, amount }
    }
}

impl TierRef {
    fn step(&self, from: Option<Exact>, to: Option<Exact>, quantity: Exact) -> Step {
        Step::new(self.label(), from, to, quantity, exact(self.unit_price))
    }

    fn flat_step(&self) -> Option<Step> {
        let label = format!("{}, flat", self.label());
        self.flat.map(|flat| Step::new(label, None, None, Exact::one(), exact(flat)))
    }
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
            bounds
                .chain([None])
                .zip(prices)
                .map(|(up_to, unit_price)| Tier { up_to, unit_price, flat: None })
                .collect(),
        )
        .expect("tiers")
    }

    fn number(value: i64) -> Exact {
        Exact::from_integer(value.into())
    }

    fn terms(model: PriceModel) -> Terms {
        Terms { model, increment: None, free: QuantityTotal::ZERO }
    }

    /// The steps of parts of a period, one after the other.
    fn of_parts(terms: &Terms, parts: &[Exact]) -> Vec<Vec<Step>> {
        let (mut before, period_total) = (number(0), parts.iter().sum::<Exact>());
        let mut all = Vec::new();
        for quantity in parts {
            let stretch = Stretch {
                before: before.clone(),
                quantity: quantity.clone(),
                period_total: period_total.clone(),
                first: all.is_empty(),
            };
            all.push(steps(terms, &stretch, None));
            before += quantity;
        }
        all
    }

    #[test]
    #[should_panic(expected = "usage is never negative")]
    fn negative_usage_has_no_price() {
        steps(&terms(PriceModel::Zero), &Stretch::whole(number(-1)), None);
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
            let terms = terms(PriceModel::Graduated(tiers(&bounds, &prices)));
            let exact_parts: Vec<Exact> = parts.iter().copied().map(number).collect();
            let mut before = 0;
            for (part, steps) in parts.iter().zip(of_parts(&terms, &exact_parts)) {
                // Unit n costs what the first tier whose upper bound is at least n says.
                let price_of = |unit: i64| prices[bounds.iter().filter(|bound| **bound < i128::from(unit)).count()];
                let expected: i128 = (before + 1..=before + part).map(price_of).sum();
                prop_assert_eq!(total(&steps), exact(Amount::from_units(expected).expect("an amount")));
                prop_assert_eq!(steps.iter().map(|step| &step.quantity).sum::<Exact>(), number(*part));
                before += part;
            }
        }

        /// Free units and what a tier costs by itself are counted by the period, too.
        #[test]
        fn a_period_costs_the_same_in_one_part_or_in_many((bounds, prices, parts) in case(), size in 1..30i128, free in 0..50i128, flats in prop::collection::vec(-3..9i128, 6)) {
            let size = PackageSize::new(QuantityTotal::from_units(size * 500_000_000).expect("a size")).expect("above zero");
            let package_price = Amount::from_units(7).expect("a price");
            let with_flats = |tiers: Tiers| {
                let flat = |(tier, flat): (&Tier, &i128)| Tier { flat: Some(Amount::from_units(*flat).expect("an amount")), ..tier.clone() };
                Tiers::new(tiers.iter().zip(&flats).map(flat).collect()).expect("tiers")
            };
            let tiers = with_flats(tiers(&bounds, &prices));
            let parts: Vec<Exact> = parts.into_iter().map(number).collect();
            for model in [PriceModel::Graduated(tiers.clone()), PriceModel::Volume(tiers), PriceModel::Package { size, package_price }] {
                let free = QuantityTotal::from_units(free * 1_000_000_000).expect("a quantity");
                let terms = Terms { free, ..terms(model) };
                let whole = steps(&terms, &Stretch::whole(parts.iter().sum()), None);
                let sum: Exact = of_parts(&terms, &parts).iter().map(|steps| total(steps)).sum();
                prop_assert_eq!(sum, total(&whole), "{:?}", terms);
            }
        }

        #[test]
        fn a_minimum_and_a_maximum_meet_the_amount(base in 0..50i64, bound in 0..50i128) {
            let amount = Amount::from_units(bound * 1_000_000_000_000_000_000).expect("an amount");
            let (base, bound) = (number(base), exact(amount));
            let with = |model| &base + total(&on_lines(&terms(model), &base, &number(0), None));
            prop_assert_eq!(with(PriceModel::Minimum { amount }), base.clone().max(bound.clone()));
            prop_assert_eq!(with(PriceModel::Maximum { amount }), base.clone().min(bound.clone()));
            let credit = terms(PriceModel::Credit { amount, every: Recurrence::Month });
            let taken = -total(&on_lines(&credit, &base, &bound, None));
            prop_assert_eq!(taken, base.min(bound));
        }
    }
}
