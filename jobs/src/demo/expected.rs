//! The counts that must come out of the demo's records.
//!
//! Invariant: they are counted while the records are made, never taken from what the program says
//! of them.

use rating::run::UnratedReason;
use schemas::decimal::QuantityTotal;
use schemas::rejection::Reason;
use std::collections::BTreeMap;

/// The reason that each kind of malformed record must be refused for, and what is wrong with it.
pub const MALFORMED: [(Reason, &str); 10] = [
    (Reason::Utf8Invalid, "a name in Latin-1"),
    (Reason::JsonInvalid, "a line of a log file"),
    (Reason::JsonDuplicateName, "two ids in one event"),
    (Reason::NotAnObject, "a batch in one array"),
    (Reason::AttributeMissing, "no subject"),
    (Reason::TimeInvalid, "a time without an offset"),
    (Reason::TimeInFuture, "a clock in the year 2525"),
    (Reason::ValueInvalid, "a value that is no number"),
    (Reason::ValueNegative, "a negative value"),
    (Reason::ValueTooPrecise, "ten digits after the point"),
];

/// The counts that must come out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    pub records: u64,
    pub rejected: BTreeMap<Reason, u64>,
    /// The same event again: the same bytes, or the same content written in another way.
    pub duplicates: u64,
    /// The same id with another value.
    pub conflicts: u64,
    /// Events that arrive when all others have, weeks after they happened. They count like any
    /// other.
    pub late: u64,
    /// Events of a project that no customer is bound to.
    pub unknown_project: u64,
    /// Events before or after the month as their provider counts it.
    pub other_month: u64,
    /// Events a microsecond before a month, a price or a payer changes.
    pub eve: u64,
    pub unrated: BTreeMap<UnratedReason, u64>,
    /// The quantity of each SKU and customer, in the meter's unit. No customer: nobody is bound to
    /// the project.
    pub quantities: BTreeMap<(&'static str, Option<&'static str>), QuantityTotal>,
}

impl Expected {
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// What each payer of a SKU bears of an amount in minor units that is shared by quantity: what is below
    /// a unit is left out first, and what is then left goes to the largest remainders. `more` is used by
    /// somebody beside all that was counted.
    pub fn shares(&self, sku: &str, amount: i128, more: (&str, i128)) -> BTreeMap<&'static str, i128> {
        let of_sku = self.quantities.iter().filter(|((of, _), _)| *of == sku);
        let units: BTreeMap<&'static str, i128> = of_sku
            .filter_map(|((_, payer), quantity)| Some(((*payer)?, quantity.units())))
            .map(|(payer, units)| (payer, if payer == more.0 { units + more.1 } else { units }))
            .collect();
        let all: i128 = units.values().sum();
        let mut shares: BTreeMap<_, _> =
            units.iter().map(|(payer, units)| (*payer, amount * units / all)).collect();
        let mut remainders: Vec<_> =
            units.iter().map(|(payer, units)| (amount * units % all, *payer)).collect();
        remainders.sort();
        let mut left = amount - shares.values().sum::<i128>();
        while left > 0 {
            let (_, payer) = remainders.pop().expect("less is left than there are payers");
            *shares.get_mut(payer).expect("it has a remainder") += 1;
            left -= 1;
        }
        shares
    }

    /// Every record is usage or rejected.
    pub fn usage(&self) -> u64 {
        self.records - self.rejected_total()
    }
}
