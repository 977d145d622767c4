//! What is kept of everything that counts in one window of one place: as little as its value needs,
//! and what is kept of two places is merged into what would have been kept of both.
//!
//! Which window and which place is deliberately not known here.
//!
//! Invariant: neither the order of values nor that of merges changes what is kept.

use super::rules::{Aggregation, Values};
use super::series::LedgerOrder;
use super::sum::{By, Ratio, Sum, UNITS};
use schemas::decimal::Quantity;
use schemas::time::{Instant, Period};
use std::collections::BTreeSet;
use std::sync::Arc;

/// In units of 10⁻⁹; of a level, times microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Sum(Sum),
    Count(u64),
    Max(i128),
    Min(i128),
    Average { sum: Sum, count: u64 },
    Latest { time: Instant, order: LedgerOrder, value: i128 },
    Unique(BTreeSet<Arc<str>>),
}

impl Cell {
    /// Of one value.
    pub(super) fn first(
        values: &Values,
        time: Instant,
        order: LedgerOrder,
        value: Quantity,
        distinct: Option<&Arc<str>>,
    ) -> Self {
        let value = value.units();
        match values.aggregation() {
            Aggregation::Sum | Aggregation::Rate => Self::Sum(Sum::of(value)),
            Aggregation::Count => Self::Count(1),
            Aggregation::Max => Self::Max(value),
            Aggregation::Min => Self::Min(value),
            Aggregation::Average => Self::Average { sum: Sum::of(value), count: 1 },
            Aggregation::Latest => Self::Latest { time, order, value },
            Aggregation::Unique => Self::Unique(distinct.cloned().into_iter().collect()),
            Aggregation::TimeWeighted => panic!("a level holds for a time, not at an instant"),
        }
    }

    /// Of a level that held in a part of the window.
    pub(super) fn held(value: Quantity, micros: i64) -> Self {
        let mut sum = Sum::default();
        sum.add_product(value.units(), micros);
        Self::Sum(sum)
    }

    /// Adds a value, as [`Self::first`] takes it.
    pub(super) fn add(
        &mut self,
        time: Instant,
        order: LedgerOrder,
        value: Quantity,
        distinct: Option<&Arc<str>>,
    ) {
        let value = value.units();
        match self {
            Self::Sum(sum) => sum.add(value),
            Self::Count(count) => *count += 1,
            Self::Max(max) => *max = value.max(*max),
            Self::Min(min) => *min = value.min(*min),
            Self::Average { sum, count } => {
                sum.add(value);
                *count += 1;
            }
            Self::Latest { time: last, order: at, value: latest } => {
                if (time, order) > (*last, *at) {
                    (*last, *at, *latest) = (time, order, value);
                }
            }
            Self::Unique(seen) => {
                // Few of the values that a series repeats are new.
                if let Some(distinct) = distinct
                    && !seen.contains(distinct)
                {
                    seen.insert(distinct.clone());
                }
            }
        }
    }

    /// Adds a level, as [`Self::held`] takes it.
    ///
    /// # Panics
    /// When this is of no level.
    pub(super) fn hold(&mut self, value: Quantity, micros: i64) {
        match self {
            Self::Sum(sum) => sum.add_product(value.units(), micros),
            _ => panic!("only a level holds for a time"),
        }
    }

    /// # Panics
    /// When the two are of different meters.
    pub(super) fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Sum(one), Self::Sum(other)) => one.merge(other),
            (Self::Count(one), Self::Count(other)) => *one += other,
            (Self::Max(one), Self::Max(other)) => *one = *other.max(one),
            (Self::Min(one), Self::Min(other)) => *one = *other.min(one),
            (Self::Average { sum, count }, Self::Average { sum: other, count: more }) => {
                sum.merge(other);
                *count += more;
            }
            (
                Self::Latest { time, order, value },
                Self::Latest { time: other_time, order: other_order, value: other },
            ) => {
                if (other_time, other_order) > (time, order) {
                    (*time, *order, *value) = (*other_time, *other_order, *other);
                }
            }
            (Self::Unique(one), Self::Unique(other)) => one.extend(other.iter().cloned()),
            (one, other) => panic!("{one:?} and {other:?} are of different meters"),
        }
    }

    /// What it comes to, in the unit of the meter's result.
    pub(super) fn value(&self, values: &Values, window: Period) -> Ratio {
        let number = |count: u64| Sum::of(i128::from(count) * UNITS);
        let (sum, by) = match self {
            Self::Sum(sum) => (sum.clone(), by(values.aggregation(), window)),
            Self::Count(count) => (number(*count), By::ONE),
            Self::Max(value) | Self::Min(value) | Self::Latest { value, .. } => (Sum::of(*value), By::ONE),
            Self::Average { sum, count } => {
                let over = i64::try_from(*count).expect("nobody has so many events");
                (sum.clone(), By { times: 1, over })
            }
            Self::Unique(seen) => {
                let count = u64::try_from(seen.len()).expect("what is in memory can be counted");
                (number(count), By::ONE)
            }
        };
        Ratio { sum, by }
    }
}

/// What makes a value of a sum: a rate is per second of the window, and a level was summed over
/// microseconds.
fn by(aggregation: Aggregation, window: Period) -> By {
    const MICROS: i64 = 1_000_000;
    match aggregation {
        Aggregation::Rate => {
            let micros = window.end().micros() - window.start().micros();
            if micros % MICROS == 0 {
                By { times: 1, over: micros / MICROS }
            } else {
                By { times: MICROS, over: micros }
            }
        }
        Aggregation::TimeWeighted => By { times: 1, over: MICROS },
        _ => By::ONE,
    }
}
