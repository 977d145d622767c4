//! The bearers of a cost line: its exact amount shared into charges.
//!
//! A cost line is shared whole. There is nowhere a margin could be added, and what nobody is
//! charged is a share too: retained by the operator, with its reason. This module deliberately
//! knows neither prices nor dates, and not how a meter adds up: it is told what each used.
//!
//! Invariant: the shares of a cost line add up to it exactly, in a fixed order: customers by id,
//! then subjects, in byte order; the unattributed last. That order decides who gets an odd unit, so
//! the order in which usage arrived never does.

use crate::exact::{Exact, display};
use crate::rounding::{MoneyError, Weight, allocate_amount};
use crate::words::{named, words};
use num_traits::{Signed, Zero};
use schemas::decimal::{Amount, DecimalError, Quantity};
use schemas::id::{CustomerId, MeterType, Subject};
use schemas::money::Currency;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;

named! {
    /// How a SKU's cost lines are shared among customers. A price list declares it and every charge
    /// prints it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Rule named by
    /// An allocation rule as a price list names it.
    RuleName {
        /// By quantity: everybody pays the operator's effective average rate. A price on other lines
        /// is shared by what each bears of them.
        Proportional = "proportional",
        /// The provider prices each customer alone; within a customer, by quantity.
        Direct = "direct",
        /// Equal parts for the customers named, or for those with a binding in force in the billing
        /// period.
        Even { among: Option<BTreeSet<CustomerId>> } = "even",
        /// By the weights that the price list gives.
        Fixed { shares: BTreeMap<CustomerId, Quantity> } = "fixed",
        /// By what each customer alone would pay.
        Standalone = "standalone",
        /// By the quantity of another meter.
        ByMeter { key: MeterType } = "by_meter",
    }
}

impl RuleName {
    /// Whether shares follow the usage that is priced, so that the SKU needs a meter, or other lines
    /// that it stands on.
    pub fn needs_usage(self) -> bool {
        match self {
            Self::Proportional | Self::Direct | Self::Standalone => true,
            Self::Even | Self::Fixed | Self::ByMeter => false,
        }
    }

    /// Whether the provider bills each customer's account, so that each has cost lines of its own.
    pub fn bills_each_customer(self) -> bool {
        match self {
            Self::Direct => true,
            Self::Proportional | Self::Even | Self::Fixed | Self::Standalone | Self::ByMeter => false,
        }
    }
}

impl Rule {
    /// The customers that the rule itself names, whether or not a subject is bound to them.
    pub fn named_customers(&self) -> Vec<&CustomerId> {
        match self {
            Self::Proportional
            | Self::Direct
            | Self::Even { among: None }
            | Self::Standalone
            | Self::ByMeter { .. } => Vec::new(),
            Self::Even { among: Some(among) } => among.iter().collect(),
            Self::Fixed { shares } => shares.keys().collect(),
        }
    }
}

/// The usage of one subject while one customer was bound to it: what the meter makes of its events
/// alone, in units of the meter. Entries of one subject and customer are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectUsage {
    /// `None` where no binding was in force.
    pub customer: Option<CustomerId>,
    pub subject: Subject,
    pub quantity: Exact,
}

/// What one customer would pay if the provider had no other, and what it used. Entries of one
/// customer, one for each price, are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alone {
    /// `None` for all that nobody was bound to, which counts as one customer.
    pub customer: Option<CustomerId>,
    pub amount: Exact,
    /// In units of the meter.
    pub quantity: Exact,
}

/// What one customer bears of a line that another price stands on; of one customer they are added
/// up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Borne {
    /// `None` for what nobody bears, whatever the reason.
    pub customer: Option<CustomerId>,
    pub amount: Amount,
}

/// What a line can be shared by. A rule looks at its own part, and the others may be empty.
#[derive(Debug, Clone, Copy)]
pub struct Bearers<'a> {
    /// Of the SKU's meter; under `by_meter` of the key's; of a `direct` line, one customer's.
    pub usage: &'a [SubjectUsage],
    /// Under `standalone`.
    pub alone: &'a [Alone],
    /// What is borne of the lines that the SKU stands on; `None` where it stands on none.
    pub base: Option<&'a [Borne]>,
    /// Whose account the provider bills, under `direct`.
    pub account: Option<&'a CustomerId>,
    /// The customers with a binding in force in the billing period.
    pub bound: &'a BTreeSet<CustomerId>,
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
        /// Nobody used anything to share it by.
        Idle = "idle",
        /// The operator disputes that a provider may bill it.
        Disputed = "disputed",
        /// A provider bills usage that no cost line is of.
        Unmetered = "unmetered",
        /// A tax that nobody else is declared to bear.
        Tax = "tax",
        /// A credit that nobody has costs for.
        Credit = "credit",
        /// A fee that nobody else is declared to bear.
        Fee = "fee",
        /// An adjustment that nobody else is declared to bear.
        Adjustment = "adjustment",
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

    pub(crate) fn of(customer: Option<&CustomerId>, is_internal: impl Fn(&CustomerId) -> bool) -> Self {
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
    /// By usage, in units of the meter that the rule looks at.
    Usage { own: Exact, of: Arc<Exact> },
    /// One of equal parts.
    EqualPart { of: usize },
    /// By the weights of the price list.
    Weight { own: Quantity, of: Arc<BTreeMap<CustomerId, Quantity>> },
    /// By what each alone would pay. The usage decides nothing.
    Alone { own: Exact, of: Arc<Exact>, used: Exact },
    /// By usage, because nobody alone would pay anything.
    NobodyAlone { alone: Exact, own: Exact, of: Arc<Exact> },
    /// By what each bears of the lines that the price stands on.
    Borne { own: Amount, of: Amount },
    /// The provider bills the account by itself, and no usage divides it.
    OwnAccount,
    /// There was nothing to share it by.
    Idle,
}

impl Because {
    /// The usage of the sharer, in units of the meter that the rule looks at; `None` where it looks
    /// at none.
    pub fn used(&self) -> Option<&Exact> {
        match self {
            Self::Usage { own, .. } | Self::NobodyAlone { own, .. } => Some(own),
            Self::Alone { used, .. } => Some(used),
            Self::EqualPart { .. }
            | Self::Weight { .. }
            | Self::Borne { .. }
            | Self::OwnAccount
            | Self::Idle => None,
        }
    }

    /// What the sharer alone would pay; `None` where the rule does not ask.
    pub fn alone(&self) -> Option<&Exact> {
        match self {
            Self::Alone { own, .. } => Some(own),
            Self::NobodyAlone { alone, .. } => Some(alone),
            Self::Usage { .. }
            | Self::EqualPart { .. }
            | Self::Weight { .. }
            | Self::Borne { .. }
            | Self::OwnAccount
            | Self::Idle => None,
        }
    }

    /// For a person. `unit` is that of the meter that the rule looks at, `currency` the line's.
    pub fn words(&self, unit: &str, currency: Currency) -> String {
        match self {
            Self::Usage { own, of } => format!("{} of {} {unit}", display(own), display(of)),
            Self::EqualPart { of } => format!("1 of {of} customers"),
            Self::Weight { own, of } => {
                let weights = of.iter().map(|(customer, weight)| format!("{customer} {weight}"));
                format!("{own} of the weights {}", weights.collect::<Vec<_>>().join(", "))
            }
            Self::Alone { own, of, .. } => format!(
                "{} of the {} {currency} that all would pay, each by itself",
                display(own),
                display(of)
            ),
            Self::NobodyAlone { own, of, .. } => format!(
                "{} of {} {unit}, because nobody would pay anything by itself",
                display(own),
                display(of)
            ),
            Self::Borne { own, of } => {
                format!("{own} of the {of} {currency} borne of the lines that the price stands on")
            }
            Self::OwnAccount => "all of it, because the provider bills the account by itself".to_owned(),
            Self::Idle => "nobody used anything that it could be shared by".to_owned(),
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

/// Why a cost line cannot be shared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    #[error(transparent)]
    Money(#[from] MoneyError),
    #[error("the charges of {} add up to more than an amount can hold: {reason}", name(.customer))]
    Amount { customer: Option<CustomerId>, reason: DecimalError },
}

fn name(customer: &Option<CustomerId>) -> &str {
    customer.as_ref().map_or("the unattributed", CustomerId::as_str)
}

impl AllocationError {
    /// Whether a number is larger than can be written.
    pub fn is_overflow(&self) -> bool {
        match self {
            Self::Money(error) => error.is_overflow(),
            Self::Amount { .. } => true,
        }
    }
}

/// The shares of one cost line.
///
/// # Errors
/// A negative weight, and overflow.
pub fn shares(
    amount: Amount,
    rule: &Rule,
    by: &Bearers<'_>,
    is_internal: impl Fn(&CustomerId) -> bool,
) -> Result<Vec<Share>, AllocationError> {
    let shares = match rule {
        Rule::Proportional => match by.base {
            Some(base) => by_base(amount, base, is_internal)?,
            None => by_usage(amount, by.usage, is_internal)?,
        },
        Rule::Direct => {
            let divided = match by.base {
                Some(_) => None,
                None => by_usage(amount, by.usage, &is_internal)?,
            };
            let own = || whole(Kind::of(by.account, &is_internal), by.account, Because::OwnAccount, amount);
            Some(divided.unwrap_or_else(own))
        }
        Rule::Even { among } => {
            let customers = among.as_ref().unwrap_or(by.bound);
            if customers.is_empty() {
                let unattributed = Kind::Retained(RetainedReason::Unattributed);
                return Ok(whole(unattributed, None, Because::EqualPart { of: 1 }, amount));
            }
            let part = |customer| (customer, Weight::ONE, Because::EqualPart { of: customers.len() });
            by_customer(amount, customers.iter().map(part).collect(), is_internal)?
        }
        Rule::Fixed { shares } => {
            let of = Arc::new(shares.clone());
            let part = |(customer, own): (_, &Quantity)| {
                let weight = Weight::of_quantity((*own).into())?;
                Ok((customer, weight, Because::Weight { own: *own, of: Arc::clone(&of) }))
            };
            let parts = shares.iter().map(part).collect::<Result<Vec<_>, MoneyError>>()?;
            by_customer(amount, parts, is_internal)?
        }
        Rule::Standalone => by_alone(amount, by.alone, is_internal)?,
        Rule::ByMeter { .. } => by_usage(amount, by.usage, is_internal)?,
    };
    let idle = || whole(Kind::Retained(RetainedReason::Idle), None, Because::Idle, amount);
    Ok(shares.unwrap_or_else(idle))
}

/// The only share of a line that nobody shares.
fn whole(kind: Kind, customer: Option<&CustomerId>, because: Because, amount: Amount) -> Vec<Share> {
    vec![Share { customer: customer.cloned(), subject: None, kind, because, amount }]
}

/// Shares by quantity, one per customer and subject; `None` where nothing was used.
fn by_usage(
    amount: Amount,
    usage: &[SubjectUsage],
    is_internal: impl Fn(&CustomerId) -> bool,
) -> Result<Option<Vec<Share>>, AllocationError> {
    let usage = sums(usage.iter().map(|usage| {
        let place = Place::new(&usage.customer, Some(&usage.subject));
        (place, usage.quantity.clone())
    }));
    let of = Arc::new(usage.values().sum::<Exact>());
    let part = |(place, own): (Place, Exact)| {
        let weight = Weight::of(&own)?;
        Ok((place, weight, Because::Usage { own, of: Arc::clone(&of) }))
    };
    let parts = usage.into_iter().map(part).collect::<Result<Vec<_>, MoneyError>>()?;
    by_place(amount, parts, is_internal)
}

/// Shares by what each bears of other lines, one per customer; `None` where nobody bears anything.
fn by_base(
    amount: Amount,
    base: &[Borne],
    is_internal: impl Fn(&CustomerId) -> bool,
) -> Result<Option<Vec<Share>>, AllocationError> {
    let mut borne: BTreeMap<Place, Amount> = BTreeMap::new();
    for Borne { customer, amount } in base {
        let sum = borne.entry(Place::new(customer, None)).or_insert(Amount::ZERO);
        *sum = add(*sum, *amount, customer.as_ref())?;
    }
    let mut of = Amount::ZERO;
    for (place, own) in borne.iter().filter(|(_, own)| !own.is_negative()) {
        of = add(of, *own, place.customer.as_ref())?;
    }
    let part = |(place, own)| (place, Weight::above_zero(own), Because::Borne { own, of });
    by_place(amount, borne.into_iter().map(part).collect(), is_internal)
}

/// Shares by what each alone would pay, one per customer, and by usage where nobody would pay;
/// `None` where nothing was used either. Where the line is below zero, so are those who share it:
/// a negative amount mirrors the positive one.
fn by_alone(
    amount: Amount,
    alone: &[Alone],
    is_internal: impl Fn(&CustomerId) -> bool,
) -> Result<Option<Vec<Share>>, AllocationError> {
    let places = || alone.iter().map(|alone| Place::new(&alone.customer, None));
    let pays = sums(places().zip(alone.iter().map(|alone| alone.amount.clone())));
    let used = sums(places().zip(alone.iter().map(|alone| alone.quantity.clone())));
    let weighs = |pays: &Exact| match (pays.is_zero(), pays.is_negative() == amount.is_negative()) {
        (false, true) => Weight::of(&pays.abs()),
        (true, _) | (false, false) => Ok(Weight::ZERO),
    };
    let weights = pays.values().map(weighs).collect::<Result<Vec<_>, _>>()?;
    let nobody = weights.iter().all(Weight::is_zero);
    let counts = pays.values().zip(&weights).filter(|(_, weight)| !weight.is_zero());
    let of = Arc::new(match nobody {
        true => used.values().sum::<Exact>(),
        false => counts.map(|(pays, _)| pays).sum(),
    });
    let part = |(((place, alone), used), weight): (((Place, Exact), Exact), Weight)| {
        let of = Arc::clone(&of);
        Ok(match nobody {
            true => (place, Weight::of(&used)?, Because::NobodyAlone { alone, own: used, of }),
            false => (place, weight, Because::Alone { own: alone, of, used }),
        })
    };
    let parts = pays.into_iter().zip(used.into_values()).zip(weights).map(part);
    by_place(amount, parts.collect::<Result<Vec<_>, MoneyError>>()?, is_internal)
}

/// One share per customer; `None` where every weight is zero.
fn by_customer(
    amount: Amount,
    customers: Vec<(&CustomerId, Weight, Because)>,
    is_internal: impl Fn(&CustomerId) -> bool,
) -> Result<Option<Vec<Share>>, AllocationError> {
    let part = |(customer, weight, because): (&CustomerId, _, _)| {
        (Place::new(&Some(customer.clone()), None), weight, because)
    };
    by_place(amount, customers.into_iter().map(part).collect(), is_internal)
}

/// One share per place; `None` where there is nobody, or something to share and every weight is zero.
fn by_place(
    amount: Amount,
    parts: Vec<(Place, Weight, Because)>,
    is_internal: impl Fn(&CustomerId) -> bool,
) -> Result<Option<Vec<Share>>, AllocationError> {
    if parts.is_empty() || !amount.is_zero() && parts.iter().all(|(_, weight, _)| weight.is_zero()) {
        return Ok(None);
    }
    let mut weights = Vec::with_capacity(parts.len());
    let sharers: Vec<(Place, Because)> = parts
        .into_iter()
        .map(|(place, weight, because)| {
            weights.push(weight);
            (place, because)
        })
        .collect();
    let amounts = allocate_amount(amount, &weights)?;
    let share = |((place, because), amount): ((Place, Because), Amount)| Share {
        kind: Kind::of(place.customer.as_ref(), &is_internal),
        customer: place.customer,
        subject: place.subject,
        because,
        amount,
    };
    Ok(Some(sharers.into_iter().zip(amounts).map(share).collect()))
}

/// The sum of two amounts that a customer bears.
pub(crate) fn add(
    one: Amount,
    other: Amount,
    customer: Option<&CustomerId>,
) -> Result<Amount, AllocationError> {
    one.checked_add(other).map_err(|reason| AllocationError::Amount { customer: customer.cloned(), reason })
}

/// Where a share stands: its derived order is the order of ties.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// One entry per place.
fn sums(parts: impl Iterator<Item = (Place, Exact)>) -> BTreeMap<Place, Exact> {
    let mut sums: BTreeMap<Place, Exact> = BTreeMap::new();
    for (place, value) in parts {
        match sums.entry(place) {
            Entry::Vacant(entry) => drop(entry.insert(value)),
            Entry::Occupied(mut entry) => *entry.get_mut() += value,
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn customer(id: &str) -> CustomerId {
        CustomerId::new(id).expect("an id")
    }

    fn key() -> Rule {
        Rule::ByMeter { key: MeterType::new("octets").expect("a meter") }
    }

    fn ratio(numerator: i64, denominator: i64) -> Exact {
        Exact::new(numerator.into(), denominator.into())
    }

    fn used(customer: Option<&str>, subject: &str, quantity: Exact) -> SubjectUsage {
        let subject = Subject::new(subject).expect("a subject");
        SubjectUsage { customer: customer.map(self::customer), subject, quantity }
    }

    fn alone(customer: Option<&str>, amount: Exact, quantity: Exact) -> Alone {
        Alone { customer: customer.map(self::customer), amount, quantity }
    }

    fn borne(customer: Option<&str>, units: i128) -> Borne {
        let amount = Amount::from_units(units).expect("an amount");
        Borne { customer: customer.map(self::customer), amount }
    }

    const NOBODY: &BTreeSet<CustomerId> = &BTreeSet::new();

    fn nothing() -> Bearers<'static> {
        Bearers { usage: &[], alone: &[], base: None, account: None, bound: NOBODY }
    }

    fn split(units: i128, rule: &Rule, by: &Bearers<'_>) -> Vec<Share> {
        let amount = Amount::from_units(units).expect("an amount");
        let is_internal = |customer: &CustomerId| customer.as_str() == "c0";
        shares(amount, rule, by, is_internal).expect("shares")
    }

    /// Customer, subject, kind and amount of each share, in a line each.
    fn shown(units: i128, rule: &Rule, by: &Bearers<'_>) -> Vec<String> {
        let shown = |share: Share| {
            let customer = share.customer.as_ref().map_or("-", CustomerId::as_str);
            let subject = share.subject.as_ref().map_or("-", Subject::as_str);
            let kind = share.kind.retained_reason().map_or("charge", RetainedReason::as_str);
            format!("{customer} {subject} {kind} {}", share.amount.units())
        };
        split(units, rule, by).into_iter().map(shown).collect()
    }

    fn usage() -> impl Strategy<Value = Vec<SubjectUsage>> {
        let entry = (prop::option::weighted(0.8, 0..4u8), 0..4u8, 0..1_000i64, 1..7i64).prop_map(
            |(customer, subject, numerator, denominator)| {
                let customer = customer.map(|id| format!("c{id}"));
                used(customer.as_deref(), &format!("s{subject}"), ratio(numerator, denominator))
            },
        );
        prop::collection::vec(entry, 1..12)
    }

    fn sum(shares: &[Share]) -> i128 {
        shares.iter().map(|share| share.amount.units()).sum()
    }

    #[test]
    fn a_share_says_why_it_is_what_it_is() {
        let weight = |units: i128| Quantity::from_units(units * 1_000_000_000).expect("a weight");
        let currency = Currency::from_code("EUR").expect("a currency");
        let words = |rule: &Rule, by: &Bearers<'_>| {
            split(0, rule, by).iter().map(|share| share.because.words("h", currency)).collect::<Vec<_>>()
        };
        let bound = &BTreeSet::from([customer("a"), customer("b")]);
        let usage =
            &[used(None, "s", ratio(1, 1)), used(None, "t", ratio(2, 1)), used(None, "s", ratio(3, 1))];
        let by = Bearers { usage, bound, ..nothing() };
        assert_eq!(words(&Rule::Proportional, &by), ["4 of 6 h", "2 of 6 h"]);
        assert_eq!(words(&key(), &by), ["4 of 6 h", "2 of 6 h"]);
        assert_eq!(words(&Rule::Even { among: None }, &by), ["1 of 2 customers"; 2]);
        let nobody = Rule::Even { among: Some(BTreeSet::new()) };
        assert_eq!(words(&nobody, &by), ["1 of 1 customers"]);
        let shares = BTreeMap::from([(customer("a"), weight(1)), (customer("b"), weight(2))]);
        assert_eq!(
            words(&Rule::Fixed { shares }, &by),
            ["1 of the weights a 1, b 2", "2 of the weights a 1, b 2"]
        );
        let alone = &[alone(None, ratio(9, 20), ratio(1, 1))];
        assert_eq!(
            words(&Rule::Standalone, &Bearers { alone, ..nothing() }),
            ["0.45 of the 0.45 EUR that all would pay, each by itself"]
        );
        let alone = &[self::alone(None, ratio(0, 1), ratio(1, 3))];
        assert_eq!(
            words(&Rule::Standalone, &Bearers { alone, ..nothing() }),
            ["1/3 of 1/3 h, because nobody would pay anything by itself"]
        );
        let base = &[borne(None, 10i128.pow(18))];
        assert_eq!(
            words(&Rule::Proportional, &Bearers { base: Some(base), ..nothing() }),
            ["1 of the 1 EUR borne of the lines that the price stands on"]
        );
        assert_eq!(
            words(&Rule::Direct, &nothing()),
            ["all of it, because the provider bills the account by itself"]
        );
        assert_eq!(
            words(&Rule::Proportional, &nothing()),
            ["nobody used anything that it could be shared by"]
        );
    }

    #[test]
    fn what_cannot_be_shared_has_one_bearer() {
        let zero = &[used(Some("a"), "s", ratio(0, 1)), used(Some("b"), "s", ratio(0, 1))];
        let account = customer("a");
        let by = Bearers { usage: zero, account: Some(&account), ..nothing() };
        let alone = &[alone(Some("a"), ratio(0, 1), ratio(0, 1))];
        let fixed = Rule::Fixed { shares: BTreeMap::from([(account.clone(), Quantity::ZERO)]) };
        for usage in [zero, &[][..]] {
            let by = Bearers { usage, alone, ..by };
            for rule in [&Rule::Proportional, &Rule::Standalone, &key(), &fixed] {
                assert_eq!(shown(7, rule, &by), ["- - idle 7"], "{rule:?}");
            }
            assert_eq!(shown(7, &Rule::Direct, &by), ["a - charge 7"]);
            assert_eq!(shown(7, &Rule::Direct, &Bearers { account: None, ..by }), ["- - unattributed 7"]);
            assert_eq!(shown(7, &Rule::Even { among: None }, &by), ["- - unattributed 7"]);
        }
        for base in [&[][..], &[borne(Some("a"), 0), borne(Some("b"), -3)]] {
            let by = Bearers { base: Some(base), ..by };
            assert_eq!(shown(7, &Rule::Proportional, &by), ["- - idle 7"]);
            assert_eq!(shown(7, &Rule::Direct, &by), ["a - charge 7"]);
        }
    }

    #[test]
    fn a_sharer_of_weight_zero_has_a_charge_of_zero() {
        let usage = &[
            used(Some("b"), "s", ratio(0, 1)),
            used(Some("a"), "s", ratio(1, 3)),
            used(None, "s", ratio(2, 3)),
        ];
        let by = Bearers { usage, ..nothing() };
        assert_eq!(
            shown(9, &Rule::Proportional, &by),
            ["a s charge 3", "b s charge 0", "- s unattributed 6"]
        );
        // Where nothing is to be shared, everybody who used something has a charge of nothing.
        let zero = &[used(Some("a"), "s", ratio(0, 1))];
        assert_eq!(shown(0, &Rule::Proportional, &Bearers { usage: zero, ..nothing() }), ["a s charge 0"]);
        assert_eq!(shown(0, &Rule::Proportional, &nothing()), ["- - idle 0"]);
    }

    #[test]
    fn prices_on_other_lines_follow_what_is_borne_of_them() {
        let base = &[
            borne(Some("b"), 5),
            borne(None, 2), // idle here, unattributed there: nobody bears either
            borne(Some("a"), 4),
            borne(None, 1),
            borne(Some("c"), -2),
            borne(Some("a"), -3),
            borne(Some("c0"), 1),
        ];
        let by = Bearers { base: Some(base), ..nothing() };
        assert_eq!(
            shown(-10, &Rule::Proportional, &by),
            ["a - charge -1", "b - charge -5", "c - charge 0", "c0 - internal -1", "- - unattributed -3"]
        );
    }

    #[test]
    fn standalone_falls_back_on_usage_where_nobody_would_pay() {
        let pays = |a: i64, b: i64| {
            let alone = &[
                alone(Some("b"), ratio(b, 1), ratio(1, 1)),
                alone(Some("a"), ratio(a, 2), ratio(1, 1)),
                alone(Some("a"), ratio(a, 2), ratio(1, 1)),
                alone(None, ratio(0, 1), ratio(1, 1)),
            ];
            let by = Bearers { alone, ..nothing() };
            [8, -8].map(|units| shown(units, &Rule::Standalone, &by))
        };
        let usage = |sign: i128| {
            ["a - charge", "b - charge", "- - unattributed"]
                .iter()
                .zip([4, 2, 2])
                .map(|(name, part)| format!("{name} {}", sign * part))
                .collect::<Vec<_>>()
        };
        assert_eq!(pays(0, 0), [usage(1), usage(-1)]);
        let [up, down] = pays(3, 1);
        assert_eq!(up, ["a - charge 6", "b - charge 2", "- - unattributed 0"]);
        // Nobody would be paid, so that a credit follows usage.
        assert_eq!(down, usage(-1));
        let [up, down] = pays(-3, 5);
        assert_eq!(up, ["a - charge 0", "b - charge 8", "- - unattributed 0"]);
        assert_eq!(down, ["a - charge -8", "b - charge 0", "- - unattributed 0"]);
        let alone = &[alone(Some("a"), ratio(9, 20), ratio(3, 2))];
        let shares = split(1, &Rule::Standalone, &Bearers { alone, ..nothing() });
        assert_eq!(
            (shares[0].because.alone(), shares[0].because.used()),
            (Some(&ratio(9, 20)), Some(&ratio(3, 2)))
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_order_does_not_matter(usage in usage(), units in -1000..1000i128, rotation in 0..12usize, scale in 1..100i64) {
            let alone: Vec<Alone> = usage.iter().map(|usage| Alone { customer: usage.customer.clone(), amount: &usage.quantity - ratio(100, 1), quantity: usage.quantity.clone() }).collect();
            let base: Vec<Borne> = usage.iter().map(|usage| borne(usage.customer.as_ref().map(CustomerId::as_str), i128::try_from((&usage.quantity - ratio(50, 1)).to_integer()).expect("small"))).collect();
            let bound: BTreeSet<CustomerId> = usage.iter().filter_map(|usage| usage.customer.clone()).collect();
            let (account, given_len) = (customer("c1"), usage.len());
            let turned = |turn: bool| {
                let (mut usage, mut alone, mut base) = (usage.clone(), alone.clone(), base.clone());
                if turn {
                    usage.rotate_left(rotation % given_len);
                    alone.rotate_left(rotation % given_len);
                    base.reverse();
                }
                (usage, alone, base)
            };
            let (given, other) = (turned(false), turned(true));
            let scaled: Vec<SubjectUsage> = usage.iter().map(|usage| SubjectUsage { quantity: &usage.quantity * ratio(scale, 7), ..usage.clone() }).collect();
            for rule in [Rule::Proportional, Rule::Direct, Rule::Even { among: None }, Rule::Standalone, key()] {
                for stands in [false, true] {
                    let share = |(usage, alone, base): &(Vec<SubjectUsage>, Vec<Alone>, Vec<Borne>)| {
                        split(units, &rule, &Bearers { usage, alone, base: stands.then_some(base), account: Some(&account), bound: &bound })
                    };
                    let first = share(&given);
                    prop_assert_eq!(sum(&first), units);
                    prop_assert_eq!(&share(&other), &first);
                    let places: Vec<Place> = first.iter().map(|share| Place::new(&share.customer, share.subject.as_ref())).collect();
                    prop_assert!(places.is_sorted_by(|one, other| one < other));
                    // In another unit of the meter the shares are the same.
                    let rescaled = share(&(scaled.clone(), alone.clone(), base.clone()));
                    let parts = |shares: &[Share]| shares.iter().map(|share| share.amount).collect::<Vec<_>>();
                    prop_assert_eq!(parts(&rescaled), parts(&first));
                }
            }
        }

        #[test]
        fn equal_parts_differ_by_one_unit(units in -1000..1000i128, customers in prop::collection::btree_set("[a-z]{1,3}", 0..8)) {
            let bound: BTreeSet<CustomerId> = customers.iter().map(|id| customer(id)).collect();
            let shares = split(units, &Rule::Even { among: None }, &Bearers { bound: &bound, ..nothing() });
            prop_assert_eq!(sum(&shares), units);
            let parts = || shares.iter().map(|share| share.amount.units());
            prop_assert!(parts().max().expect("a share") - parts().min().expect("a share") <= 1);
        }
    }
}
