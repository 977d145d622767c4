//! Sums of quantities, and of quantities times microseconds, that never wrap.
//!
//! Nearly all of them fit in 128 bits; where one does not (a byte count that is integrated over a
//! month may not), it goes on in a number of any size. What is added is deliberately not known here.
//!
//! Invariant: a sum is the same whatever the order in which it was added up.

use crate::exact::Exact;
use num_bigint::BigInt;

/// What was added up so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Sum {
    near: i128,
    /// What did not fit.
    far: Option<Box<BigInt>>,
}

impl Sum {
    pub(super) fn of(value: i128) -> Self {
        Self { near: value, far: None }
    }

    pub(super) fn add(&mut self, value: i128) {
        match self.near.checked_add(value) {
            Some(sum) => self.near = sum,
            None => self.spill(value.into()),
        }
    }

    pub(super) fn add_product(&mut self, value: i128, times: i64) {
        match value.checked_mul(times.into()) {
            Some(product) => self.add(product),
            None => self.spill(BigInt::from(value) * times),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.add(other.near);
        if let Some(far) = &other.far {
            self.spill((**far).clone());
        }
    }

    pub(super) fn total(&self) -> BigInt {
        let near = BigInt::from(self.near);
        self.far.as_ref().map_or(near.clone(), |far| near + &**far)
    }

    fn spill(&mut self, value: BigInt) {
        **self.far.get_or_insert_default() += value;
    }
}

impl PartialEq for Sum {
    fn eq(&self, other: &Self) -> bool {
        self.total() == other.total()
    }
}

impl Eq for Sum {}

/// A sum of units of 10⁻⁹, times one number and divided by another.
#[derive(Debug, Clone)]
pub(super) struct Ratio {
    pub(super) sum: Sum,
    pub(super) by: By,
}

/// What a sum is multiplied with and divided by; both are above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct By {
    pub(super) times: i64,
    pub(super) over: i64,
}

impl By {
    pub(super) const ONE: Self = Self { times: 1, over: 1 };
}

impl Ratio {
    pub(super) fn exact(&self) -> Exact {
        Exact::new(self.sum.total() * self.by.times, BigInt::from(UNITS) * self.by.over)
    }
}

/// Units of a quantity that make one.
pub(super) const UNITS: i128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use num_traits::Zero;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_never_wrap(
            values in prop::collection::vec((0..10i128.pow(28), prop_oneof![Just(1), 0..i64::MAX]), 0..20),
            middle in any::<prop::sample::Index>(),
        ) {
            let of = |values: &[(i128, i64)]| {
                let mut sum = Sum::default();
                for (value, times) in values {
                    sum.add_product(*value, *times);
                }
                sum
            };
            let expected: BigInt = values.iter().map(|(value, times)| BigInt::from(*value) * times).sum();
            prop_assert_eq!(of(&values).total(), expected.clone());
            let (one, other) = values.split_at(if values.is_empty() { 0 } else { middle.index(values.len()) });
            let mut sum = of(other);
            sum.merge(&of(one));
            prop_assert_eq!(sum.total(), expected);
        }
    }

    #[test]
    fn a_sum_goes_on_where_128_bits_end() {
        let mut sum = Sum::of(i128::MAX);
        sum.add(1);
        sum.add(i128::MAX);
        assert_eq!(sum.total(), BigInt::from(i128::MAX) * 2 + 1);
        assert!(Sum::default().total().is_zero());
    }
}
