//! The rules of a meter: what a value is, and how the values of a billing period become one.
//!
//! A combination that counts nothing is no value of these types: a counter has no latest reading,
//! windows that are left out have a rule that leaves them out. Where a price list must say something
//! although there is a default, and what a file calls its keys, is deliberately not known here.
//!
//! Invariant: rules that exist can be followed for any samples.

use crate::exact::{Exact, exact};
use crate::words::{named, words};
use num_bigint::BigInt;
use schemas::decimal::QuantityTotal;
use std::fmt;

/// How a meter counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub values: Values,
    /// `None`: the part of a billing period that has one price is its only window.
    pub windows: Option<Windowing>,
    pub greater_of: Option<GreaterOf>,
    pub per: Per,
}

/// What a value is, and how those of a window become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// A value is an amount that was used.
    Amounts(OfAmounts),
    /// A value is a reading. What counts is the increase since the one before, unless that is more
    /// than `carry` ago.
    Counter { carry: Carry, of: OfIncreases },
    /// A value holds until the next one, at most `carry`, and is integrated.
    Level { carry: Carry },
}

/// How amounts become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfAmounts {
    Sum,
    Count,
    Max,
    Min,
    Average,
    /// The last one by time.
    Latest,
    /// How many values a dimension has; without it, an event counts none.
    Unique {
        distinct: Box<str>,
    },
    /// The sum per second of the window.
    Rate,
}

/// How the increases of counters become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfIncreases {
    Sum,
    Max,
    Min,
    Average,
    Rate,
}

words! {
    /// What a value is, as a meter says it.
    pub enum Kind {
        Amount = "amount",
        Counter = "counter",
    }
}

words! {
    /// How the values of a window become one, as a meter says it.
    pub enum Aggregation {
        Sum = "sum",
        Count = "count",
        Max = "max",
        Min = "min",
        Average = "average",
        Latest = "latest",
        Unique = "unique",
        Rate = "rate",
        TimeWeighted = "time_weighted",
    }
}

/// Windows, and how their values become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windowing {
    pub length: WindowLength,
    pub over: Over,
}

named! {
    /// How the values of windows become one. Where windows in which nothing counts make a difference,
    /// it says which.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Over named by
    /// How the values of windows become one, as a meter names it.
    OverWord {
        Sum = "sum",
        Max = "max",
        Min { empty: Empty } = "min",
        Average { empty: Empty } = "average",
        Percentile { percentile: Percentile, empty: Empty } = "percentile",
    }
}

words! {
    /// What a window in which nothing counts is worth.
    pub enum Empty {
        Zero = "zero",
        /// It is left out.
        Skip = "skip",
    }
}

/// Each value of the dimension is aggregated apart, and the greatest counts. To lack the dimension
/// is a value, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GreaterOf {
    pub dimension: Box<str>,
    pub at: AtWord,
}

words! {
    /// Of what the greatest counts.
    pub enum AtWord {
        /// Of every window.
        Window = "window",
        /// Of what is made of all windows.
        Period = "period",
    }
}

words! {
    /// The scope within which values become one. Scopes are added up.
    pub enum Per {
        /// All of it.
        Account = "account",
        /// Usage without a customer is a scope, too.
        Customer = "customer",
        Subject = "subject",
        /// A subject and a resource.
        Resource = "resource",
    }
}

/// Why words and numbers are no rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    #[error("`{key}` is missing: {of} needs it")]
    Missing { key: &'static str, of: &'static str },
    #[error("`{key}` has no use: {of} does not read it")]
    Useless { key: &'static str, of: &'static str },
    #[error("a counter has no `{0}`")]
    NotOfCounters(Aggregation),
}

impl Rules {
    /// A meter that says nothing else: amounts, added up.
    pub const SUM: Self =
        Self { values: Values::Amounts(OfAmounts::Sum), windows: None, greater_of: None, per: Per::Account };

    /// How the values of windows become one; without windows there is one value.
    pub fn over(&self) -> Over {
        self.windows.map_or(Over::Sum, |windows| windows.over)
    }

    /// Whether the sum, or the number, of all amounts is the quantity, however they are grouped.
    pub fn is_additive(&self) -> bool {
        matches!(self.values, Values::Amounts(OfAmounts::Sum | OfAmounts::Count))
            && self.windows.is_none()
            && self.greater_of.is_none()
            && self.per == Per::Account
    }

    /// The plain sum, or count, that the quantity is in proportion to day by day, whatever windows and
    /// scopes it is made of; `None` where there is none.
    pub fn summed(&self) -> Option<Self> {
        let values = match &self.values {
            Values::Amounts(OfAmounts::Sum | OfAmounts::Rate) => Values::Amounts(OfAmounts::Sum),
            Values::Amounts(OfAmounts::Count) => Values::Amounts(OfAmounts::Count),
            Values::Counter { carry, of: OfIncreases::Sum | OfIncreases::Rate } => {
                Values::Counter { carry: *carry, of: OfIncreases::Sum }
            }
            Values::Level { carry } => Values::Level { carry: *carry },
            Values::Amounts(
                OfAmounts::Max
                | OfAmounts::Min
                | OfAmounts::Average
                | OfAmounts::Latest
                | OfAmounts::Unique { .. },
            )
            | Values::Counter { of: OfIncreases::Max | OfIncreases::Min | OfIncreases::Average, .. } => {
                return None;
            }
        };
        let adds_up = self.over() == Over::Sum && self.greater_of.is_none();
        adds_up.then_some(Self { values, ..Self::SUM })
    }

    /// Whether the quantities of the parts of a billing period, cut between days, are the quantity of
    /// the whole, as price lists are held to it.
    pub fn adds_up_over_days(&self) -> bool {
        match self.windows {
            Some(windows) => windows.over == Over::Sum,
            None => match self.values.aggregation() {
                Aggregation::Max
                | Aggregation::Min
                | Aggregation::Average
                | Aggregation::Unique
                | Aggregation::Latest => false,
                Aggregation::Sum | Aggregation::Count | Aggregation::Rate | Aggregation::TimeWeighted => true,
            },
        }
    }

    /// Whether the quantity depends on `per` even where nothing is rounded, so that it must be said.
    pub fn depends_on_scope(&self) -> bool {
        let by_window = match self.values.aggregation() {
            Aggregation::Max
            | Aggregation::Min
            | Aggregation::Average
            | Aggregation::Unique
            | Aggregation::Latest => true,
            Aggregation::Sum | Aggregation::Count | Aggregation::Rate | Aggregation::TimeWeighted => false,
        };
        by_window || self.over() != Over::Sum
    }

    /// Whether the value of every window of a scope is what an increment rounds, not that of the
    /// scope.
    pub fn increments_windows(&self) -> bool {
        let greatest_of_period = self.greater_of.as_ref().is_some_and(|greater| greater.at == AtWord::Period);
        self.over() == Over::Sum && !greatest_of_period
    }

    /// The unit of the quantity, of values in that unit.
    pub fn unit_of_result(&self, unit: &str) -> String {
        match self.values.aggregation() {
            Aggregation::Count | Aggregation::Unique => "1".to_owned(),
            Aggregation::TimeWeighted => format!("{unit}.s"),
            Aggregation::Rate => format!("{unit}/s"),
            Aggregation::Sum
            | Aggregation::Max
            | Aggregation::Min
            | Aggregation::Average
            | Aggregation::Latest => unit.to_owned(),
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::SUM
    }
}

impl Values {
    /// From what a meter says.
    ///
    /// # Errors
    /// What is missing, what has no use, and what counters cannot have.
    pub fn new(
        kind: Kind,
        aggregation: Aggregation,
        carry: Option<Carry>,
        distinct: Option<Box<str>>,
    ) -> Result<Self, RulesError> {
        if distinct.is_some() && aggregation != Aggregation::Unique {
            return Err(RulesError::Useless { key: "distinct", of: aggregation.as_str() });
        }
        let amounts = |of: OfAmounts| match carry {
            None => Ok(Self::Amounts(of)),
            Some(_) => Err(RulesError::Useless { key: "carry", of: aggregation.as_str() }),
        };
        let needed = |of: &'static str| carry.ok_or(RulesError::Missing { key: "carry", of });
        let counter = |of| Ok(Self::Counter { carry: needed(Kind::Counter.as_str())?, of });
        match (kind, aggregation) {
            (Kind::Amount, Aggregation::Sum) => amounts(OfAmounts::Sum),
            (Kind::Amount, Aggregation::Count) => amounts(OfAmounts::Count),
            (Kind::Amount, Aggregation::Max) => amounts(OfAmounts::Max),
            (Kind::Amount, Aggregation::Min) => amounts(OfAmounts::Min),
            (Kind::Amount, Aggregation::Average) => amounts(OfAmounts::Average),
            (Kind::Amount, Aggregation::Latest) => amounts(OfAmounts::Latest),
            (Kind::Amount, Aggregation::Rate) => amounts(OfAmounts::Rate),
            (Kind::Amount, Aggregation::Unique) => amounts(OfAmounts::Unique {
                distinct: distinct
                    .ok_or(RulesError::Missing { key: "distinct", of: aggregation.as_str() })?,
            }),
            (Kind::Amount, Aggregation::TimeWeighted) => {
                Ok(Self::Level { carry: needed(aggregation.as_str())? })
            }
            (Kind::Counter, Aggregation::Sum) => counter(OfIncreases::Sum),
            (Kind::Counter, Aggregation::Max) => counter(OfIncreases::Max),
            (Kind::Counter, Aggregation::Min) => counter(OfIncreases::Min),
            (Kind::Counter, Aggregation::Average) => counter(OfIncreases::Average),
            (Kind::Counter, Aggregation::Rate) => counter(OfIncreases::Rate),
            (
                Kind::Counter,
                Aggregation::Count | Aggregation::Latest | Aggregation::Unique | Aggregation::TimeWeighted,
            ) => Err(RulesError::NotOfCounters(aggregation)),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Amounts(_) | Self::Level { .. } => Kind::Amount,
            Self::Counter { .. } => Kind::Counter,
        }
    }

    pub fn aggregation(&self) -> Aggregation {
        match self {
            Self::Amounts(of) => match of {
                OfAmounts::Sum => Aggregation::Sum,
                OfAmounts::Count => Aggregation::Count,
                OfAmounts::Max => Aggregation::Max,
                OfAmounts::Min => Aggregation::Min,
                OfAmounts::Average => Aggregation::Average,
                OfAmounts::Latest => Aggregation::Latest,
                OfAmounts::Unique { .. } => Aggregation::Unique,
                OfAmounts::Rate => Aggregation::Rate,
            },
            Self::Counter { of, .. } => match of {
                OfIncreases::Sum => Aggregation::Sum,
                OfIncreases::Max => Aggregation::Max,
                OfIncreases::Min => Aggregation::Min,
                OfIncreases::Average => Aggregation::Average,
                OfIncreases::Rate => Aggregation::Rate,
            },
            Self::Level { .. } => Aggregation::TimeWeighted,
        }
    }

    /// How long a value says something about what comes after it.
    pub fn carry(&self) -> Option<Carry> {
        match self {
            Self::Amounts(_) => None,
            Self::Counter { carry, .. } | Self::Level { carry } => Some(*carry),
        }
    }

    /// The dimension whose values are counted.
    pub fn distinct(&self) -> Option<&str> {
        match self {
            Self::Amounts(OfAmounts::Unique { distinct }) => Some(distinct),
            Self::Amounts(_) | Self::Counter { .. } | Self::Level { .. } => None,
        }
    }
}

impl Over {
    /// From what a meter says.
    ///
    /// # Errors
    /// What is missing and what has no use.
    pub fn new(
        word: OverWord,
        percentile: Option<Percentile>,
        empty: Option<Empty>,
    ) -> Result<Self, RulesError> {
        let of = word.as_str();
        if percentile.is_some() && word != OverWord::Percentile {
            return Err(RulesError::Useless { key: "percentile", of });
        }
        let needed = || empty.ok_or(RulesError::Missing { key: "empty", of });
        let without = |over| match empty {
            None => Ok(over),
            Some(_) => Err(RulesError::Useless { key: "empty", of }),
        };
        match word {
            OverWord::Sum => without(Self::Sum),
            OverWord::Max => without(Self::Max),
            OverWord::Min => Ok(Self::Min { empty: needed()? }),
            OverWord::Average => Ok(Self::Average { empty: needed()? }),
            OverWord::Percentile => Ok(Self::Percentile {
                percentile: percentile.ok_or(RulesError::Missing { key: "percentile", of })?,
                empty: needed()?,
            }),
        }
    }
}

/// How long a value says something about what comes after it; more than no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Carry(i64);

impl Carry {
    /// `None` unless it is above zero.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (micros > 0).then_some(Self(micros))
    }

    /// Reads `"N s"`, `"N min"`, `"N h"` or `"N d"`, of days of 24 hours; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = text.split_once(' ')?;
        let seconds = match unit {
            "s" => 1,
            "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        Self::from_micros(whole(number)?.checked_mul(seconds)?.checked_mul(MICROS)?)
    }

    pub fn micros(self) -> i64 {
        self.0
    }
}

/// Microseconds of a second.
const MICROS: i64 = 1_000_000;

/// How long a window is: so many minutes that divide a day of 24 hours, or a day, whatever its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLength(Length);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Minutes(i64),
    Day,
}

/// Why a text is no length of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LengthError {
    #[error("it must be a whole number and `min` or `h`, like `5 min`, or `1 d`")]
    Malformed,
    #[error("it divides no day")]
    DividesNoDay,
}

impl WindowLength {
    /// From one midnight to the next.
    pub const DAY: Self = Self(Length::Day);

    /// # Errors
    /// [`LengthError::DividesNoDay`].
    pub fn minutes(minutes: i64) -> Result<Self, LengthError> {
        let divides = (1..=1_440).contains(&minutes) && 1_440 % minutes == 0;
        if divides { Ok(Self(Length::Minutes(minutes))) } else { Err(LengthError::DividesNoDay) }
    }

    /// # Errors
    /// [`LengthError::DividesNoDay`].
    pub fn hours(hours: i64) -> Result<Self, LengthError> {
        Self::minutes(hours.checked_mul(60).ok_or(LengthError::DividesNoDay)?)
    }

    /// Reads `"N min"`, `"N h"` or `"1 d"`.
    ///
    /// # Errors
    /// Anything else, and what divides no day.
    pub fn parse(text: &str) -> Result<Self, LengthError> {
        let (number, unit) = text.split_once(' ').ok_or(LengthError::Malformed)?;
        let number = whole(number).ok_or(LengthError::Malformed)?;
        match unit {
            "min" => Self::minutes(number),
            "h" => Self::hours(number),
            "d" if number == 1 => Ok(Self::DAY),
            "d" => Err(LengthError::DividesNoDay),
            _ => Err(LengthError::Malformed),
        }
    }

    /// In microseconds; `None` for a day, which has the length that its time zone gives it.
    pub(super) fn micros(self) -> Option<i64> {
        match self.0 {
            Length::Minutes(minutes) => Some(minutes * 60 * MICROS),
            Length::Day => None,
        }
    }
}

/// As it is written, in the largest unit: `5 min`, `1 h`, `1 d`.
impl fmt::Display for WindowLength {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Length::Minutes(minutes) if minutes % 60 == 0 => write!(formatter, "{} h", minutes / 60),
            Length::Minutes(minutes) => write!(formatter, "{minutes} min"),
            Length::Day => write!(formatter, "1 d"),
        }
    }
}

/// A whole number without a sign.
fn whole(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Above 0, at most 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentile(QuantityTotal);

impl Percentile {
    /// `None` outside (0, 100].
    pub fn new(percent: QuantityTotal) -> Option<Self> {
        let hundred = QuantityTotal::from_units(100_000_000_000).ok()?;
        (QuantityTotal::ZERO < percent && percent <= hundred).then_some(Self(percent))
    }

    pub fn get(self) -> QuantityTotal {
        self.0
    }

    /// How many of the highest of so many values are dropped; fewer than there are.
    pub fn dropped(self, values: u64) -> u64 {
        let hundred = Exact::from_integer(BigInt::from(100));
        let part = (&hundred - exact(self.0)) / &hundred;
        let dropped = (part * BigInt::from(values)).floor().to_integer();
        u64::try_from(dropped).expect("a part of a number is no larger than the number")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_and_lengths_are_whole_numbers_of_a_unit() {
        for (text, micros) in [
            ("1 s", Some(1_000_000)),
            ("15 min", Some(900_000_000)),
            ("6 h", Some(21_600_000_000)),
            ("2 d", Some(172_800_000_000)),
            ("0 s", None),
            ("+1 s", None),
            ("-1 s", None),
            ("1.5 h", None),
            ("1  h", None),
            (" h", None),
            ("1 mo", None),
            ("h", None),
            ("9223372036854775807 d", None),
        ] {
            assert_eq!(Carry::parse(text).map(Carry::micros), micros, "{text}");
        }
        for (text, read) in [
            ("5 min", Ok("5 min")),
            ("60 min", Ok("1 h")),
            ("24 h", Ok("24 h")),
            ("1440 min", Ok("24 h")),
            ("1 d", Ok("1 d")),
            ("2 d", Err(LengthError::DividesNoDay)),
            ("7 min", Err(LengthError::DividesNoDay)),
            ("5 h", Err(LengthError::DividesNoDay)),
            ("48 h", Err(LengthError::DividesNoDay)),
            ("0 min", Err(LengthError::DividesNoDay)),
            ("60 s", Err(LengthError::Malformed)),
            ("h", Err(LengthError::Malformed)),
            ("1.5 h", Err(LengthError::Malformed)),
        ] {
            let shown = WindowLength::parse(text).map(|length| length.to_string());
            assert_eq!(shown, read.map(str::to_owned), "{text}");
        }
        // A day is not 24 hours.
        assert_ne!(WindowLength::parse("24 h"), WindowLength::parse("1 d"));
    }

    #[test]
    fn what_is_dropped_is_never_all() {
        let percentile = |units| Percentile::new(QuantityTotal::from_units(units).expect("a number"));
        assert_eq!((percentile(0), percentile(100_000_000_001)), (None, None));
        for (units, values, dropped) in [
            (95_000_000_000, 30, 1),
            (95_000_000_000, 19, 0),
            (95_000_000_000, 20, 1),
            (95_000_000_000, 0, 0),
            (99_900_000_000, 2_000, 2),
            (100_000_000_000, 1_000_000, 0),
            (1, 8_928, 8_927),
            (50_000_000_000, 3, 1),
        ] {
            let percentile = percentile(units).expect("a percentile");
            assert_eq!(percentile.dropped(values), dropped, "{} of {values}", percentile.get());
        }
    }

    #[test]
    fn every_word_makes_rules_or_says_why_not() {
        let carry = Carry::parse("1 h");
        for kind in Kind::ALL {
            for aggregation in Aggregation::ALL {
                for carry in [None, carry] {
                    for distinct in [None, Some("address".into())] {
                        let Ok(values) = Values::new(kind, aggregation, carry, distinct.clone()) else {
                            continue;
                        };
                        assert_eq!((values.kind(), values.aggregation()), (kind, aggregation));
                        assert_eq!((values.carry(), values.distinct()), (carry, distinct.as_deref()));
                    }
                }
            }
        }
        let values = |kind, aggregation, carry| Values::new(kind, aggregation, carry, None);
        assert_eq!(
            values(Kind::Counter, Aggregation::Sum, None),
            Err(RulesError::Missing { key: "carry", of: "counter" })
        );
        assert_eq!(
            values(Kind::Counter, Aggregation::Latest, carry),
            Err(RulesError::NotOfCounters(Aggregation::Latest))
        );
        assert_eq!(
            values(Kind::Amount, Aggregation::TimeWeighted, None),
            Err(RulesError::Missing { key: "carry", of: "time_weighted" })
        );
        assert_eq!(
            values(Kind::Amount, Aggregation::Max, carry),
            Err(RulesError::Useless { key: "carry", of: "max" })
        );
        assert_eq!(
            values(Kind::Amount, Aggregation::Unique, None),
            Err(RulesError::Missing { key: "distinct", of: "unique" })
        );
        assert_eq!(
            Over::new(OverWord::Min, None, None),
            Err(RulesError::Missing { key: "empty", of: "min" })
        );
        assert_eq!(
            Over::new(OverWord::Max, None, Some(Empty::Zero)),
            Err(RulesError::Useless { key: "empty", of: "max" })
        );
    }

    #[test]
    fn only_plain_sums_and_counts_are_additive() {
        assert!(Rules::default().is_additive() && Rules::SUM.adds_up_over_days());
        assert!(!Rules { per: Per::Resource, ..Rules::SUM }.is_additive());
        let daily = Some(Windowing { length: WindowLength::DAY, over: Over::Sum });
        let peak = Rules { values: Values::Amounts(OfAmounts::Max), windows: daily, ..Rules::SUM };
        assert!(!peak.is_additive() && peak.adds_up_over_days() && peak.depends_on_scope());
        assert!(!Rules { windows: None, ..peak.clone() }.adds_up_over_days());
        let highest = Some(Windowing { length: WindowLength::DAY, over: Over::Max });
        assert!(!Rules { windows: highest, ..peak }.adds_up_over_days());
        let level =
            Rules { values: Values::Level { carry: Carry::from_micros(1).expect("a time") }, ..Rules::SUM };
        assert!(!level.is_additive() && level.adds_up_over_days() && !level.depends_on_scope());
        assert_eq!(level.summed(), Some(level.clone()));
        let rate = Rules {
            values: Values::Amounts(OfAmounts::Rate),
            windows: daily,
            per: Per::Resource,
            ..Rules::SUM
        };
        assert_eq!(rate.summed(), Some(Rules::SUM));
        assert_eq!(Rules { values: Values::Amounts(OfAmounts::Latest), ..Rules::SUM }.summed(), None);
        assert_eq!(level.unit_of_result("By"), "By.s");
    }
}
