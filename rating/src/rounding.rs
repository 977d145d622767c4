//! The only place that rounds and the only place that shares.
//!
//! Between here and there numbers are exact rationals, so that a product of quantity, conversion
//! factor and price is rounded once. This module deliberately knows nothing of prices, customers or
//! files.
//!
//! Invariants: the parts of an allocation always add up to what was shared, and the conversions of
//! one sequence of amounts to the conversion of their sum.

use crate::exact::{Exact, exact, power_of_ten};
use crate::words::words;
use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, Zero};
use schemas::decimal::{Amount, Decimal, DecimalError, QuantityTotal};
use schemas::money::{Currency, Money};
use std::collections::BTreeSet;

/// Why a number cannot become money, or be shared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("{what} is too large: {reason}")]
    Overflow { what: &'static str, reason: DecimalError },
    #[error("{what} is too large: it does not fit in 128 bits of minor units")]
    OverflowMinor { what: &'static str },
    #[error("a weight is negative: {}", crate::exact::display(.0))]
    NegativeWeight(Exact),
    #[error("{total} minor units of {currency} are not what their parts round to")]
    NotTheSum { total: i128, currency: Currency },
    #[error("{total} cannot be shared: there is nobody to share it or every weight is zero")]
    NothingToShareBy { total: String },
}

impl MoneyError {
    /// Whether a number is larger than can be written.
    pub fn is_overflow(&self) -> bool {
        match self {
            Self::Overflow { .. } | Self::OverflowMinor { .. } => true,
            Self::NegativeWeight(_) | Self::NothingToShareBy { .. } | Self::NotTheSum { .. } => false,
        }
    }
}

/// To 18 places, half to even.
///
/// # Errors
/// [`MoneyError::Overflow`] beyond DECIMAL(38,18).
pub fn amount(value: &Exact) -> Result<Amount, MoneyError> {
    decimal(value, "an amount")
}

/// To 9 places, half to even.
///
/// # Errors
/// [`MoneyError::Overflow`] beyond DECIMAL(38,9).
pub fn quantity_total(value: &Exact) -> Result<QuantityTotal, MoneyError> {
    decimal(value, "a quantity")
}

/// An amount in whole minor units of a currency, the way the provider's invoice says it.
///
/// # Errors
/// None for any currency of ISO 4217; the type says so because money never wraps.
pub fn settle(amount: Amount, currency: Currency, mode: RoundingMode) -> Result<Money, MoneyError> {
    money(&exact(amount), currency, mode, "a settled amount")
}

/// An amount without what it has below the minor unit of a currency: never more than there is.
///
/// # Errors
/// [`MoneyError::OverflowMinor`].
pub fn cut(value: &Exact, currency: Currency) -> Result<Money, MoneyError> {
    money(value, currency, RoundingMode::Down, "an amount")
}

/// Whether an amount is a whole number of a currency's minor units.
pub fn in_minor_units(amount: Amount, currency: Currency) -> bool {
    (exact(amount) * power_of_ten(currency.minor_digits())).is_integer()
}

/// So many decimals, and how they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    pub places: u32,
    pub mode: RoundingMode,
}

/// To so many places after the point.
pub fn to_places(value: &Exact, to: Places) -> Exact {
    let unit = power_of_ten(to.places);
    Exact::new(round(&(value * &unit), to.mode), unit)
}

/// To a multiple of a size.
///
/// # Panics
/// If the size is 0, which has no multiples; a catalog with such a size is refused.
pub fn to_multiple(value: &Exact, size: &Exact, mode: RoundingMode) -> Exact {
    Exact::from_integer(round(&(value / size), mode)) * size
}

/// Converts a sequence of amounts, one after another, into another currency. Each is the converted
/// sum up to it minus the converted sum before it, half to even, so that all of them are what their
/// sum is, and none is more than one minor unit from what it alone would be.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// How many minor units of the other currency a minor unit is worth.
    factor: Exact,
    to: Currency,
    /// In minor units.
    sum: BigInt,
    /// In minor units of the other currency.
    converted: BigInt,
}

impl Conversion {
    /// `rate` is what 1 `from` is worth in `to`.
    pub fn new(rate: &Exact, from: Currency, to: Currency) -> Self {
        let [from, into] = [from, to].map(|currency| power_of_ten(currency.minor_digits()));
        Self { factor: rate * Exact::new(into, from), to, sum: BigInt::zero(), converted: BigInt::zero() }
    }

    /// The next amount, in minor units.
    ///
    /// # Errors
    /// [`MoneyError::OverflowMinor`].
    pub fn next(&mut self, minor_units: i128) -> Result<Money, MoneyError> {
        self.sum += minor_units;
        let converted = round(&(&self.factor * &self.sum), RoundingMode::HalfEven);
        let own = &converted - &self.converted;
        self.converted = converted;
        minor(own, self.to, "a converted amount")
    }
}

words! {
    /// How a number between two neighbours is rounded. A negative number mirrors the positive one,
    /// so that a credit note cancels its invoice.
    pub enum RoundingMode {
        /// To the nearest; a tie away from zero.
        HalfUp = "half-up",
        /// To the nearest; a tie to the even neighbour.
        HalfEven = "half-even",
        /// To the nearest; a tie towards zero.
        HalfDown = "half-down",
        /// Away from zero.
        Up = "up",
        /// Towards zero.
        Down = "down",
    }
}

/// How much of a total one part takes, relative to the other weights. Never negative.
#[derive(Debug, Clone)]
pub struct Weight(Size);

#[derive(Debug, Clone)]
enum Size {
    /// So many of 10^-scale. Weights that are all of one scale are shared by without a fraction.
    Units {
        units: i128,
        scale: u32,
    },
    Exact(Exact),
}

impl Weight {
    /// One of equal parts.
    pub const ONE: Self = Self(Size::Units { units: 1, scale: 0 });
    /// Of a part that gets nothing where others get something.
    pub const ZERO: Self = Self(Size::Units { units: 0, scale: 0 });
    /// Places of a quantity.
    const SCALE: u32 = 9;

    /// # Errors
    /// [`MoneyError::NegativeWeight`].
    pub fn new(units: i128) -> Result<Self, MoneyError> {
        Self::of_units(units, 0)
    }

    /// By how much was used. All quantities of one allocation must be in one unit.
    ///
    /// # Errors
    /// [`MoneyError::NegativeWeight`].
    pub fn of_quantity(quantity: QuantityTotal) -> Result<Self, MoneyError> {
        Self::of_units(quantity.units(), Self::SCALE)
    }

    /// By any number.
    ///
    /// # Errors
    /// [`MoneyError::NegativeWeight`].
    pub fn of(value: &Exact) -> Result<Self, MoneyError> {
        if value.is_negative() {
            return Err(MoneyError::NegativeWeight(value.clone()));
        }
        let units = u64::try_from(value.denom()).ok().and_then(|denominator| {
            let (times, rest) = 10u64.pow(Self::SCALE).div_rem(&denominator);
            let units = i128::try_from(value.numer()).ok().filter(|_| rest == 0)?;
            units.checked_mul(i128::from(times))
        });
        Ok(Self(match units {
            Some(units) => Size::Units { units, scale: Self::SCALE },
            None => Size::Exact(value.clone()),
        }))
    }

    /// By how large a number is, whatever its sign: the parts of a credit weigh like the parts of a
    /// charge. All numbers of one allocation must be in one unit.
    pub fn of_size(units: i128) -> Self {
        Self(match units.checked_abs() {
            Some(units) => Size::Units { units, scale: 0 },
            None => Size::Exact(Exact::from_integer(BigInt::from(units).abs())),
        })
    }

    /// By how far an amount is above zero: one below it takes nothing.
    pub fn above_zero(amount: Amount) -> Self {
        Self(Size::Units { units: amount.units().max(0), scale: 18 })
    }

    pub fn is_zero(&self) -> bool {
        match &self.0 {
            Size::Units { units, .. } => *units == 0,
            Size::Exact(value) => value.is_zero(),
        }
    }

    fn of_units(units: i128, scale: u32) -> Result<Self, MoneyError> {
        let weight = Self(Size::Units { units, scale });
        if units < 0 { Err(MoneyError::NegativeWeight(weight.value())) } else { Ok(weight) }
    }

    fn value(&self) -> Exact {
        match &self.0 {
            Size::Units { units, scale } => Exact::new((*units).into(), power_of_ten(*scale)),
            Size::Exact(value) => value.clone(),
        }
    }
}

/// However it is held, a weight is its value.
impl PartialEq for Weight {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Eq for Weight {}

/// Shares an amount, in units of 10⁻¹⁸; see [`allocate_money`].
///
/// # Errors
/// [`MoneyError::NothingToShareBy`].
pub fn allocate_amount(total: Amount, weights: &[Weight]) -> Result<Vec<Amount>, MoneyError> {
    let parts = allocate(total.units(), weights)
        .ok_or_else(|| MoneyError::NothingToShareBy { total: total.to_string() })?;
    Ok(parts
        .into_iter()
        .map(|units| Amount::from_units(units).expect("a part is never larger than the total"))
        .collect())
}

/// Shares money in its minor units: each part is the floor of |total| × weight ÷ Σ weights, and
/// what is left goes out one unit each by largest remainder, ties in the order of `weights`. The
/// sign of the total is restored last, so a negative total mirrors the positive one. A part without
/// weight gets nothing.
///
/// # Errors
/// [`MoneyError::NothingToShareBy`] when the total is not zero and no weight is positive.
pub fn allocate_money(total: Money, weights: &[Weight]) -> Result<Vec<Money>, MoneyError> {
    let parts = allocate(total.minor_units, weights).ok_or_else(|| MoneyError::NothingToShareBy {
        total: format!("{} minor units of {}", total.minor_units, total.currency),
    })?;
    Ok(parts.into_iter().map(|minor_units| Money { minor_units, currency: total.currency }).collect())
}

/// Splits what an invoice comes to into its parts, whose exact amounts it is the rounded sum of: each
/// is its floor in minor units, and what is left goes out one unit each by largest fraction, ties in
/// the order of `parts`.
///
/// # Errors
/// [`MoneyError::NotTheSum`] where the parts do not round to the total in any way, and overflow.
pub fn split_total(total: Money, parts: &[Exact]) -> Result<Vec<Money>, MoneyError> {
    let minor_units = power_of_ten(total.currency.minor_digits());
    let (mut floors, fractions): (Vec<BigInt>, Vec<Exact>) = parts
        .iter()
        .map(|part| {
            let part = part * &minor_units;
            let floor = part.floor();
            let fraction = part - &floor;
            (floor.to_integer(), fraction)
        })
        .unzip();
    let mut by_fraction: Vec<usize> = (0..parts.len()).filter(|part| !fractions[*part].is_zero()).collect();
    by_fraction.sort_by(|a, b| fractions[*b].cmp(&fractions[*a])); // stable: ties keep the caller's order
    let left = BigInt::from(total.minor_units) - floors.iter().sum::<BigInt>();
    let left = usize::try_from(left).ok().filter(|left| *left <= by_fraction.len());
    let left = left.ok_or(MoneyError::NotTheSum { total: total.minor_units, currency: total.currency })?;
    for index in &by_fraction[..left] {
        floors[*index] += 1;
    }
    floors.into_iter().map(|floor| minor(floor, total.currency, "a part of an invoice")).collect()
}

/// `None` when there is something to share and nothing to share it by.
fn allocate(total: i128, weights: &[Weight]) -> Option<Vec<i128>> {
    let weights = whole(weights);
    let sum: BigInt = weights.iter().sum();
    if sum.is_zero() {
        return (total == 0).then(|| vec![0; weights.len()]);
    }
    let magnitude = BigInt::from(total.unsigned_abs());
    let (mut parts, remainders): (Vec<BigInt>, Vec<BigInt>) =
        weights.iter().map(|weight| (&magnitude * weight).div_rem(&sum)).unzip();
    // Each remainder is less than one unit, so the units left are fewer than the parts that have a
    // remainder.
    let left = usize::try_from(&magnitude - parts.iter().sum::<BigInt>())
        .expect("fewer units are left than there are parts");
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by(|a, b| remainders[*b].cmp(&remainders[*a])); // stable: ties keep the caller's order
    for index in &by_remainder[..left] {
        parts[*index] += 1;
    }
    assert_eq!(
        parts.iter().sum::<BigInt>(),
        magnitude,
        "the parts of an allocation must add up to its total"
    );
    let sign = if total < 0 { -1 } else { 1 };
    Some(
        parts
            .into_iter()
            .map(|part| i128::try_from(part * sign).expect("a part is never larger than the total"))
            .collect(),
    )
}

/// The weights as whole numbers of one unit.
fn whole(weights: &[Weight]) -> Vec<BigInt> {
    if let Some(units) = of_one_scale(weights) {
        return units;
    }
    let values: Vec<Exact> = weights.iter().map(Weight::value).collect();
    let denominators: BTreeSet<&BigInt> = values.iter().map(Exact::denom).collect();
    // The least common multiple. Its remainder is as short as the denominator, so that the divisor
    // of both is found at once however long it has become.
    let unit = denominators.into_iter().fold(BigInt::one(), |unit, denominator| {
        let common = (&unit % denominator).gcd(denominator);
        unit * (denominator / common)
    });
    values.iter().map(|value| value.numer() * (&unit / value.denom())).collect()
}

/// `None` where a weight is a fraction, or of another scale than the first.
fn of_one_scale(weights: &[Weight]) -> Option<Vec<BigInt>> {
    let mut first = None;
    weights
        .iter()
        .map(|weight| match weight.0 {
            Size::Units { units, scale } if *first.get_or_insert(scale) == scale => Some(units.into()),
            Size::Units { .. } | Size::Exact(_) => None,
        })
        .collect()
}

fn money(
    value: &Exact,
    currency: Currency,
    mode: RoundingMode,
    what: &'static str,
) -> Result<Money, MoneyError> {
    minor(round(&(value * power_of_ten(currency.minor_digits())), mode), currency, what)
}

fn minor(minor_units: BigInt, currency: Currency, what: &'static str) -> Result<Money, MoneyError> {
    let minor_units = i128::try_from(minor_units).map_err(|_| MoneyError::OverflowMinor { what })?;
    Ok(Money { minor_units, currency })
}

fn decimal<const PRECISION: u32, const SCALE: u32>(
    value: &Exact,
    what: &'static str,
) -> Result<Decimal<PRECISION, SCALE>, MoneyError> {
    let units = round(&(value * power_of_ten(SCALE)), RoundingMode::HalfEven);
    let units = i128::try_from(units)
        .map_err(|_| MoneyError::Overflow { what, reason: DecimalError::Overflow(PRECISION) })?;
    Decimal::from_units(units).map_err(|reason| MoneyError::Overflow { what, reason })
}

/// To a whole number.
fn round(value: &Exact, mode: RoundingMode) -> BigInt {
    // The denominator of a reduced ratio is positive, so quotient and remainder of the magnitude
    // decide alone.
    let (floor, remainder) = value.numer().abs().div_rem(value.denom());
    let half = (&remainder * 2u32).cmp(value.denom());
    let away = match mode {
        RoundingMode::HalfUp => half.is_ge(),
        RoundingMode::HalfEven => half.is_gt() || (half.is_eq() && floor.is_odd()),
        RoundingMode::HalfDown => half.is_gt(),
        RoundingMode::Up => !remainder.is_zero(),
        RoundingMode::Down => false,
    };
    let magnitude = if away { floor + 1 } else { floor };
    if value.is_negative() { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use schemas::decimal::Sign;

    fn eur() -> Currency {
        Currency::from_code("EUR").expect("a currency")
    }

    fn parse(text: &str) -> Amount {
        Amount::parse(text, Sign::Any).expect("an amount")
    }

    /// One row per number of cents: what each mode makes of it, in the order of
    /// [`RoundingMode::ALL`].
    #[track_caller]
    fn check(text: &str, expected: [i128; 5]) {
        let settled = |text: &str| {
            RoundingMode::ALL.map(|mode| settle(parse(text), eur(), mode).expect("money").minor_units)
        };
        assert_eq!(settled(text), expected, "{text}");
        assert_eq!(settled(&format!("-{text}")), expected.map(|units| -units), "-{text} mirrors it");
    }

    #[test]
    fn what_is_cut_is_never_more_than_there_is() {
        for (value, cents) in
            [(ratio(34_749, 1_000), 3474), (ratio(-34_749, 1_000), -3474), (ratio(1, 300), 0)]
        {
            assert_eq!(cut(&value, eur()).expect("money").minor_units, cents);
        }
        let largest = Exact::from_integer(power_of_ten(40));
        assert_eq!(cut(&largest, eur()), Err(MoneyError::OverflowMinor { what: "an amount" }));
    }

    #[test]
    fn modes_differ_only_between_neighbours() {
        check("0.01", [1, 1, 1, 1, 1]);
        check("0.014999999999999999", [1, 1, 1, 2, 1]);
        check("0.015", [2, 2, 1, 2, 1]);
        check("0.025", [3, 2, 2, 3, 2]);
        check("0.025000000000000001", [3, 3, 3, 3, 2]);
        check("0.000000000000000001", [0, 0, 0, 1, 0]);
    }

    #[test]
    fn amounts_round_once_half_to_even() {
        let at = |numerator: i64, denominator: i64| {
            Exact::new(numerator.into(), BigInt::from(denominator) * power_of_ten(18))
        };
        for (numerator, denominator, units) in
            [(1, 2, 0), (3, 2, 2), (5, 2, 2), (-1, 2, 0), (-3, 2, -2), (1, 3, 0), (2, 3, 1), (-2, 3, -1)]
        {
            assert_eq!(
                amount(&at(numerator, denominator)).expect("an amount").units(),
                units,
                "{numerator}/{denominator}"
            );
        }
        let largest = Exact::from_integer(power_of_ten(20));
        assert!(matches!(amount(&largest), Err(MoneyError::Overflow { .. })));
        assert!(matches!(amount(&(largest * power_of_ten(40))), Err(MoneyError::Overflow { .. })));
    }

    #[test]
    fn the_largest_amount_settles_in_every_currency() {
        let largest = Amount::from_units(10i128.pow(38) - 1).expect("the largest amount");
        for code in ["JPY", "EUR", "KWD", "CLF"] {
            let currency = Currency::from_code(code).expect("a currency");
            assert!(settle(largest, currency, RoundingMode::Up).is_ok(), "{code}");
        }
    }

    #[test]
    fn nothing_is_shared_by_nothing() {
        let weights = [Weight::ZERO; 3];
        assert_eq!(allocate_amount(Amount::ZERO, &weights), Ok(vec![Amount::ZERO; 3]));
        assert_eq!(allocate_amount(Amount::ZERO, &[]), Ok(vec![]));
        for weights in [&weights[..], &[]] {
            assert!(matches!(
                allocate_amount(parse("0.01"), weights),
                Err(MoneyError::NothingToShareBy { .. })
            ));
        }
        let minus_one = Exact::from_integer((-1).into());
        assert_eq!(Weight::new(-1), Err(MoneyError::NegativeWeight(minus_one.clone())));
        assert_eq!(Weight::of(&minus_one), Err(MoneyError::NegativeWeight(minus_one)));
    }

    fn ratio(numerator: i64, denominator: i64) -> Exact {
        Exact::new(numerator.into(), denominator.into())
    }

    #[test]
    fn a_total_is_split_by_floors_and_largest_fractions() {
        let split = |total, cents: &[(i64, i64)]| {
            let parts: Vec<Exact> = cents.iter().map(|(one, of)| ratio(*one, *of * 100)).collect();
            let parts = split_total(Money { minor_units: total, currency: eur() }, &parts);
            parts.map(|parts| parts.iter().map(|part| part.minor_units).collect::<Vec<_>>())
        };
        // 1.5 and -0.5 and 3.2: floors 1, -1 and 3; of the equal fractions the first is served first.
        assert_eq!(split(4, &[(3, 2), (-1, 2), (16, 5)]), Ok(vec![2, -1, 3]));
        assert_eq!(split(5, &[(3, 2), (-1, 2), (16, 5)]), Ok(vec![2, 0, 3]));
        assert_eq!(split(3, &[(3, 1), (0, 1)]), Ok(vec![3, 0]));
        assert_eq!(split(0, &[]), Ok(vec![]));
        // A part without a fraction is never more than it is.
        for (total, parts) in [(4, [(3, 1), (0, 1)]), (2, [(3, 1), (0, 1)]), (5, [(3, 1), (1, 2)])] {
            assert!(matches!(split(total, &parts), Err(MoneyError::NotTheSum { .. })), "{total}");
        }
    }

    proptest! {
        #[test]
        fn a_total_is_split_into_neighbours_of_its_parts(thousandths in prop::collection::vec(-100_000..100_000i64, 0..20), mode in prop::sample::select(RoundingMode::ALL.to_vec())) {
            let parts: Vec<Exact> = thousandths.iter().map(|part| ratio(*part, 100_000)).collect();
            let total = money(&parts.iter().sum(), eur(), mode, "a total").expect("money");
            let split = split_total(total, &parts).expect("parts");
            prop_assert_eq!(split.iter().map(|part| part.minor_units).sum::<i128>(), total.minor_units);
            for (part, thousandths) in split.iter().zip(&thousandths) {
                prop_assert!((part.minor_units * 1_000 - i128::from(*thousandths)).abs() < 1_000);
            }
        }
    }

    #[test]
    fn fractions_weigh_what_they_are() {
        let weights = [ratio(1, 3), ratio(1, 6), ratio(0, 1), ratio(1, 2)];
        let weights = weights.map(|weight| Weight::of(&weight).expect("a weight"));
        assert_eq!(allocate(7, &weights), Some(vec![2, 1, 0, 4])); // 2 1/3, 1 1/6, 0 and 3 1/2
        // Nine and eighteen places are two scales.
        let quantity = QuantityTotal::from_units(1_000_000_000).expect("a quantity");
        let mixed = [Weight::of_quantity(quantity).expect("a weight"), Weight::of_size(-3), Weight::ONE];
        assert_eq!(allocate(10, &mixed), Some(vec![2, 6, 2]));
        assert_eq!(
            [Weight::of(&ratio(1, 1)).expect("a weight"), Weight::ONE],
            [Weight::ONE, mixed[0].clone()]
        );
        assert_eq!(Weight::above_zero(parse("-3")), Weight::ZERO);
    }

    #[test]
    fn steps_and_increments_round_as_they_are_told() {
        let places = |places, mode| {
            crate::exact::display(&to_places(&ratio(20_055_555, 1_000_000), Places { places, mode }))
        };
        assert_eq!(places(4, RoundingMode::Down), "20.0555");
        assert_eq!(places(4, RoundingMode::HalfUp), "20.0556");
        assert_eq!(places(0, RoundingMode::Up), "21");
        assert_eq!(places(18, RoundingMode::Up), "20.055555");
        let multiple =
            |value: Exact, size: Exact, mode| crate::exact::display(&to_multiple(&value, &size, mode));
        assert_eq!(multiple(ratio(1, 3_600_000), ratio(1, 1), RoundingMode::Up), "1");
        assert_eq!(multiple(ratio(0, 1), ratio(1, 1), RoundingMode::Up), "0");
        assert_eq!(multiple(ratio(7, 4), ratio(1, 2), RoundingMode::HalfEven), "2");
        assert_eq!(multiple(ratio(5, 4), ratio(1, 2), RoundingMode::HalfEven), "1");
        assert_eq!(multiple(ratio(2, 1), ratio(2, 3), RoundingMode::Down), "2");
    }

    fn total() -> impl Strategy<Value = i128> {
        prop_oneof![-1000..1000i128, -(10i128.pow(38) - 1)..10i128.pow(38)]
    }

    fn weights() -> impl Strategy<Value = Vec<i128>> {
        prop::collection::vec(prop_oneof![3 => 0..5i128, 1 => 0..i128::MAX], 1..20)
    }

    proptest! {
        #[test]
        fn conversions_add_up_to_what_the_sum_converts_to(amounts in prop::collection::vec(-10_000..10_000i128, 1..30), rate in 1..5_000_000i64, codes in prop::sample::subsequence(vec!["EUR", "JPY", "KWD", "CLF"], 2)) {
            let rate = ratio(rate, 1_000_000);
            let [from, to] = [codes[0], codes[1]].map(|code| Currency::from_code(code).expect("a currency"));
            let alone = |minor_units| Conversion::new(&rate, from, to).next(minor_units).expect("money").minor_units;
            let mut conversion = Conversion::new(&rate, from, to);
            let mut sum = 0;
            for amount in &amounts {
                let converted = conversion.next(*amount).expect("money").minor_units;
                prop_assert!((converted - alone(*amount)).abs() <= 1);
                sum += converted;
            }
            prop_assert_eq!(sum, alone(amounts.iter().sum()));
        }

        #[test]
        fn parts_always_sum_and_mirror(total in total(), units in weights()) {
            let weights: Vec<Weight> = units.iter().map(|units| Weight::new(*units).expect("a weight")).collect();
            let Some(parts) = allocate(total, &weights) else {
                prop_assert!(total != 0 && units.iter().all(|units| *units == 0));
                return Ok(());
            };
            prop_assert_eq!(parts.iter().sum::<i128>(), total);
            let mirrored: Vec<i128> = parts.iter().map(|part| -part).collect();
            prop_assert_eq!(allocate(-total, &weights), Some(mirrored));
            let sum: BigInt = units.iter().sum();
            for (part, units) in parts.iter().zip(&units) {
                // Never more than one unit from the true share, and nothing without weight.
                let distance = (BigInt::from(*part) * &sum - BigInt::from(total) * units).abs();
                prop_assert!(distance < sum || sum.is_zero());
                prop_assert!(*units != 0 || *part == 0);
            }
        }

        #[test]
        fn a_weight_is_its_value_however_it_is_held(total in total(), units in weights(), denominator in 1..1000i64) {
            let plain: Vec<Weight> = units.iter().map(|units| Weight::new(*units).expect("a weight")).collect();
            // The same weights in another unit, each held by itself.
            let scaled: Vec<Weight> = units.iter().map(|units| Weight::of(&Exact::new((*units).into(), denominator.into())).expect("a weight")).collect();
            prop_assert_eq!(allocate(total, &plain), allocate(total, &scaled));
        }

        #[test]
        fn rounding_is_the_nearest(numerator in any::<i64>(), denominator in 1..10_000i64) {
            let value = Exact::new(numerator.into(), denominator.into());
            for mode in RoundingMode::ALL {
                let distance = (Exact::from_integer(round(&value, mode)) - &value).abs();
                let limit = if matches!(mode, RoundingMode::Up | RoundingMode::Down) { Exact::new(1.into(), 1.into()) } else { Exact::new(1.into(), 2.into()) };
                prop_assert!(distance <= limit, "{:?} {}", mode, value);
            }
        }
    }
}
