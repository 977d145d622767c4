//! The bearers of a cost line: its exact amount shared into charges, and its settled money shared
//! into statement lines.
//!
//! A cost line is shared whole. There is nowhere a margin could be added, and what nobody is
//! charged is a share too: retained by the operator, with its reason. This module deliberately
//! knows neither prices nor dates.
//!
//! Invariant: the shares of a cost line add up to it exactly, in a fixed order: customers by id,
//! then subjects, in byte order; the unattributed last. That order decides who gets an odd unit, so
//! the order in which usage arrived never does.

use crate::rounding::{MoneyError, Weight, allocate_amount, allocate_money};
use crate::words::{named, words};
use schemas::decimal::{Amount, DecimalError, Quantity, QuantityTotal};
use schemas::id::{CustomerId, Subject};
use schemas::money::Money;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

named! {
    /// How a SKU's cost lines are shared among customers. A price list declares it and every charge
    /// prints it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Rule named by
    /// An allocation rule as a price list names it.
    RuleName {
        /// By quantity: everybody pays the operator's effective average rate.
        Proportional = "proportional",
        /// The provider prices each customer alone; within a customer, by quantity.
        Direct = "direct",
        /// Equal parts for the customers named, or for those with a binding in force in the billing
        /// period.
        Even { among: Option<BTreeSet<CustomerId>> } = "even",
        /// By the weights that the price list gives.
        Fixed { shares: BTreeMap<CustomerId, Quantity> } = "fixed",
    }
}

impl RuleName {
    /// Whether shares follow usage, so that the SKU needs a meter.
    pub fn needs_usage(self) -> bool {
        match self {
            Self::Proportional | Self::Direct => true,
            Self::Even | Self::Fixed => false,
        }
    }

    /// Whether the provider bills each customer's account, so that each has cost lines of its own.
    pub fn bills_each_customer(self) -> bool {
        match self {
            Self::Direct => true,
            Self::Proportional | Self::Even | Self::Fixed => false,
        }
    }
}

impl Rule {
    /// The customers that the rule itself names, whether or not a subject is bound to them.
    pub fn named_customers(&self) -> Vec<&CustomerId> {
        match self {
            Self::Proportional | Self::Direct | Self::Even { among: None } => Vec::new(),
            Self::Even { among: Some(among) } => among.iter().collect(),
            Self::Fixed { shares } => shares.keys().collect(),
        }
    }
}

/// The usage of one subject while one customer was bound to it, in units of the meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectUsage {
    /// `None` where no binding was in force.
    pub customer: Option<CustomerId>,
    pub subject: Subject,
    pub quantity: QuantityTotal,
}

/// Whether a share is charged, or borne by the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Charge,
    Retained(RetainedReason),
}

words! {
    /// Why the operator bears a share.
    pub enum RetainedReason {
        /// The customer is the operator itself.
        Internal = "internal",
        /// There is no customer.
        Unattributed = "unattributed",
    }
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Retained(_) => "retained",
        }
    }

    pub fn retained_reason(self) -> Option<RetainedReason> {
        match self {
            Self::Charge => None,
            Self::Retained(reason) => Some(reason),
        }
    }

    fn of(customer: Option<&CustomerId>, is_internal: impl Fn(&CustomerId) -> bool) -> Self {
        match customer {
            None => Self::Retained(RetainedReason::Unattributed),
            Some(customer) if is_internal(customer) => Self::Retained(RetainedReason::Internal),
            Some(_) => Self::Charge,
        }
    }
}

/// Why a share is as large as it is: its part of the key that the line was shared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// By usage, in units of the meter.
    Usage { own: QuantityTotal, of: QuantityTotal },
    /// One of equal parts.
    EqualPart { of: usize },
    /// By the weights of the price list.
    Weight { own: Quantity, of: Arc<BTreeMap<CustomerId, Quantity>> },
}

impl Because {
    /// The usage that the share was made by, in units of the meter; `None` where the rule does not
    /// look at usage.
    pub fn used(&self) -> Option<QuantityTotal> {
        match self {
            Self::Usage { own, .. } => Some(*own),
            Self::EqualPart { .. } | Self::Weight { .. } => None,
        }
    }

    /// For a person. `unit` is the meter's.
    pub fn words(&self, unit: &str) -> String {
        match self {
            Self::Usage { own, of } => format!("{own} of {of} {unit}"),
            Self::EqualPart { of } => format!("1 of {of} customers"),
            Self::Weight { own, of } => {
                let weights = of.iter().map(|(customer, weight)| format!("{customer} {weight}"));
                format!("{own} of the weights {}", weights.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// One part of a cost line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub customer: Option<CustomerId>,
    /// `None` where the rule does not look at usage.
    pub subject: Option<Subject>,
    pub kind: Kind,
    pub because: Because,
    pub amount: Amount,
}

/// One customer's part of what a cost line settles at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementShare {
    pub customer: Option<CustomerId>,
    pub kind: Kind,
    pub money: Money,
}

/// Why a cost line cannot be shared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    #[error(transparent)]
    Money(#[from] MoneyError),
    #[error("what {subject} used adds up to more than a total can hold: {reason}")]
    Quantity { subject: Subject, reason: DecimalError },
    #[error("the usage of the line adds up to more than a total can hold: {0}")]
    Usage(#[from] DecimalError),
    #[error("the charges of {customer} add up to more than an amount can hold: {reason}")]
    Amount { customer: String, reason: DecimalError },
}

impl AllocationError {
    /// Whether a number is larger than can be written.
    pub fn is_overflow(&self) -> bool {
        match self {
            Self::Money(error) => error.is_overflow(),
            Self::Quantity { .. } | Self::Usage(_) | Self::Amount { .. } => true,
        }
    }
}

/// The shares of one cost line. `bound` are the customers with a binding in force in the billing
/// period; of a `direct` line, `usage` is one customer's.
///
/// # Errors
/// [`MoneyError::NothingToShareBy`] when there is an amount and no usage to share it by, and
/// overflow.
pub fn shares(
    amount: Amount,
    rule: &Rule,
    usage: &[SubjectUsage],
    bound: &BTreeSet<CustomerId>,
    is_internal: impl Fn(&CustomerId) -> bool,
) -> Result<Vec<Share>, AllocationError> {
    match rule {
        Rule::Proportional | Rule::Direct => by_usage(amount, usage, is_internal),
        Rule::Even { among } => {
            let customers = among.as_ref().unwrap_or(bound);
            if customers.is_empty() {
                let (kind, because) =
                    (Kind::Retained(RetainedReason::Unattributed), Because::EqualPart { of: 1 });
                return Ok(vec![Share { customer: None, subject: None, kind, because, amount }]);
            }
            let part = |customer| (customer, Weight::ONE, Because::EqualPart { of: customers.len() });
            by_customer(amount, customers.iter().map(part).collect(), is_internal)
        }
        Rule::Fixed { shares } => {
            let of = Arc::new(shares.clone());
            let part = |(customer, own): (_, &Quantity)| {
                let weight = Weight::of_quantity((*own).into())?;
                Ok((customer, weight, Because::Weight { own: *own, of: Arc::clone(&of) }))
            };
            let parts = shares.iter().map(part).collect::<Result<Vec<_>, MoneyError>>()?;
            by_customer(amount, parts, is_internal)
        }
    }
}

/// Shares by quantity, one per customer and subject.
fn by_usage(
    amount: Amount,
    usage: &[SubjectUsage],
    is_internal: impl Fn(&CustomerId) -> bool,
) -> Result<Vec<Share>, AllocationError> {
    let usage = sum_usage(usage)?;
    let mut of = QuantityTotal::ZERO;
    for quantity in usage.values() {
        of = of.checked_add(*quantity).map_err(AllocationError::Usage)?;
    }
    let weights =
        usage.values().map(|quantity| Weight::of_quantity(*quantity)).collect::<Result<Vec<_>, _>>()?;
    let parts = allocate_amount(amount, &weights)?;
    let share = |((place, own), amount): ((Place, QuantityTotal), Amount)| Share {
        kind: Kind::of(place.customer.as_ref(), &is_internal),
        customer: place.customer,
        subject: place.subject,
        because: Because::Usage { own, of },
        amount,
    };
    Ok(usage.into_iter().zip(parts).map(share).collect())
}

/// One share per customer.
fn by_customer(
    amount: Amount,
    customers: Vec<(&CustomerId, Weight, Because)>,
    is_internal: impl Fn(&CustomerId) -> bool,
) -> Result<Vec<Share>, AllocationError> {
    let weights: Vec<Weight> = customers.iter().map(|(_, weight, _)| *weight).collect();
    let parts = allocate_amount(amount, &weights)?;
    let share = |((customer, _, because), amount): ((&CustomerId, Weight, Because), Amount)| Share {
        customer: Some(customer.clone()),
        subject: None,
        kind: Kind::of(Some(customer), &is_internal),
        because,
        amount,
    };
    Ok(customers.into_iter().zip(parts).map(share).collect())
}

/// The statement lines of one cost line: what it settles at, shared by each customer's exact
/// charges.
///
/// # Errors
/// [`MoneyError::NothingToShareBy`] when money is settled for charges of nothing, and overflow.
pub fn statement(settled: Money, shares: &[Share]) -> Result<Vec<StatementShare>, AllocationError> {
    let mut totals: BTreeMap<Place, (Kind, Amount)> = BTreeMap::new();
    for share in shares {
        let (_, total) =
            totals.entry(Place::new(&share.customer, None)).or_insert((share.kind, Amount::ZERO));
        *total = total.checked_add(share.amount).map_err(|reason| AllocationError::Amount {
            customer: share
                .customer
                .as_ref()
                .map_or_else(|| "the unattributed".to_owned(), ToString::to_string),
            reason,
        })?;
    }
    let weights: Vec<Weight> = totals.values().map(|(_, amount)| Weight::of_magnitude(*amount)).collect();
    let parts = allocate_money(settled, &weights)?;
    Ok(totals
        .into_iter()
        .zip(parts)
        .map(|((place, (kind, _)), money)| StatementShare { customer: place.customer, kind, money })
        .collect())
}

/// Where a share stands: its derived order is the order of ties.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    unattributed: bool,
    customer: Option<CustomerId>,
    subject: Option<Subject>,
}

impl Place {
    fn new(customer: &Option<CustomerId>, subject: Option<&Subject>) -> Self {
        Self { unattributed: customer.is_none(), customer: customer.clone(), subject: subject.cloned() }
    }
}

/// One entry per customer and subject.
fn sum_usage(usage: &[SubjectUsage]) -> Result<BTreeMap<Place, QuantityTotal>, AllocationError> {
    let mut sums = BTreeMap::new();
    for SubjectUsage { customer, subject, quantity } in usage {
        let sum = sums.entry(Place::new(customer, Some(subject))).or_insert(QuantityTotal::ZERO);
        *sum = sum
            .checked_add(*quantity)
            .map_err(|reason| AllocationError::Quantity { subject: subject.clone(), reason })?;
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use schemas::money::Currency;

    fn usage() -> impl Strategy<Value = Vec<SubjectUsage>> {
        let entry = (prop::option::weighted(0.8, 0..4u8), 0..4u8, 0..1_000i128).prop_map(
            |(customer, subject, units)| SubjectUsage {
                customer: customer.map(|id| CustomerId::new(format!("c{id}")).expect("an id")),
                subject: Subject::new(format!("s{subject}")).expect("a subject"),
                quantity: QuantityTotal::from_units(units).expect("a quantity"),
            },
        );
        prop::collection::vec(entry, 1..12)
    }

    fn sum(shares: &[Share]) -> i128 {
        shares.iter().map(|share| share.amount.units()).sum()
    }

    #[test]
    fn a_share_says_why_it_is_what_it_is() {
        let quantity = |units: i128| QuantityTotal::from_units(units * 1_000_000_000).expect("a quantity");
        let weight = |units: i128| Quantity::from_units(units * 1_000_000_000).expect("a weight");
        let customer = |id: &str| CustomerId::new(id).expect("an id");
        let words = |rule: &Rule, usage: &[SubjectUsage]| {
            let bound = BTreeSet::from([customer("a"), customer("b")]);
            let shares = shares(Amount::ZERO, rule, usage, &bound, |_| false).expect("shares");
            shares.iter().map(|share| share.because.words("h")).collect::<Vec<_>>()
        };
        let used = |subject: &str, units: i128| SubjectUsage {
            customer: None,
            subject: Subject::new(subject).expect("a subject"),
            quantity: quantity(units),
        };
        assert_eq!(
            words(&Rule::Proportional, &[used("s", 1), used("t", 2), used("s", 3)]),
            ["4 of 6 h", "2 of 6 h"]
        );
        assert_eq!(words(&Rule::Even { among: None }, &[]), ["1 of 2 customers"; 2]);
        let nobody = Rule::Even { among: Some(BTreeSet::new()) };
        assert_eq!(words(&nobody, &[]), ["1 of 1 customers"]);
        let shares = BTreeMap::from([(customer("a"), weight(1)), (customer("b"), weight(2))]);
        assert_eq!(
            words(&Rule::Fixed { shares }, &[]),
            ["1 of the weights a 1, b 2", "2 of the weights a 1, b 2"]
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_order_does_not_matter(usage in usage(), units in -1000..1000i128, rotation in 0..12usize, minor_units in -50..50i128) {
            prop_assume!(usage.iter().any(|usage| !usage.quantity.is_zero()));
            let amount = Amount::from_units(units).expect("an amount");
            let is_internal = |customer: &CustomerId| customer.as_str() == "c0";
            let share = |usage: &[SubjectUsage]| shares(amount, &Rule::Proportional, usage, &BTreeSet::new(), is_internal).expect("shares");
            let first = share(&usage);
            prop_assert_eq!(sum(&first), units);
            let mut other = usage.clone();
            other.rotate_left(rotation % usage.len());
            prop_assert_eq!(&share(&other), &first);
            other.reverse();
            prop_assert_eq!(&share(&other), &first);

            let settled = Money { minor_units, currency: Currency::from_code("EUR").expect("a currency") };
            prop_assume!(units != 0);
            let lines = statement(settled, &first).expect("statement lines");
            prop_assert_eq!(lines.iter().map(|line| line.money.minor_units).sum::<i128>(), minor_units);
            for share in &first {
                prop_assert_eq!(lines.iter().filter(|line| line.customer == share.customer && line.kind == share.kind).count(), 1);
            }
        }

        #[test]
        fn equal_parts_differ_by_one_unit(units in -1000..1000i128, customers in prop::collection::btree_set("[a-z]{1,3}", 0..8)) {
            let amount = Amount::from_units(units).expect("an amount");
            let bound: BTreeSet<CustomerId> = customers.iter().map(|id| CustomerId::new(id.as_str()).expect("an id")).collect();
            let shares = shares(amount, &Rule::Even { among: None }, &[], &bound, |_| false).expect("shares");
            prop_assert_eq!(sum(&shares), units);
            let parts = || shares.iter().map(|share| share.amount.units());
            prop_assert!(parts().max().expect("a share") - parts().min().expect("a share") <= 1);
        }
    }
}
