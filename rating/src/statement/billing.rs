//! Who bills whom for an item: what it settles at, shared into statement lines.
//!
//! The operator bills customers, and in place of a customer the partner that the customer is billed
//! by. The partner's line is shared once more, among those that it bills. Grants and other
//! currencies come later, in `grants` and `fx`, and are deliberately not known here.
//!
//! Invariants: the operator's lines of an item add up to what it settles at, and a partner's
//! lines to what the operator charges the partner; both in the order of customers by id, then nobody's,
//! reason by reason, whatever order the shares have.

use super::lines::{Biller, Line, LineKind};
use crate::allocation::{Kind, RetainedReason, Share};
use crate::rounding::{MoneyError, Weight, allocate_money};
use schemas::id::CustomerId;
use schemas::money::Money;
use std::collections::{BTreeMap, BTreeSet};

/// Which customers are billed by a partner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partners {
    bills_to: BTreeMap<CustomerId, CustomerId>,
    partners: BTreeSet<CustomerId>,
}

impl Partners {
    /// Of customers and the partners that they are billed by.
    pub fn new(bills_to: impl IntoIterator<Item = (CustomerId, CustomerId)>) -> Self {
        let bills_to: BTreeMap<CustomerId, CustomerId> = bills_to.into_iter().collect();
        let partners = bills_to.values().cloned().collect();
        Self { bills_to, partners }
    }

    /// The partner that bills the customer.
    pub fn of(&self, customer: &CustomerId) -> Option<&CustomerId> {
        self.bills_to.get(customer)
    }

    /// Whether the customer bills others. One that nobody is billed by writes no statement, whatever
    /// its kind.
    pub fn bills(&self, customer: &CustomerId) -> bool {
        self.partners.contains(customer)
    }
}

/// One of those who bear an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bearer<'a> {
    pub customer: Option<&'a CustomerId>,
    pub kind: Kind,
    /// How much of the item is borne, in a unit that all bearers of the item are weighed in; of a
    /// credit all are below zero.
    pub weight: i128,
}

impl<'a> From<&'a Share> for Bearer<'a> {
    fn from(share: &'a Share) -> Self {
        Self { customer: share.customer.as_ref(), kind: share.kind, weight: share.amount.units() }
    }
}

/// The statement lines of the item at a place: what it settles at, shared by what each bears. The
/// operator's come first, then each partner's.
///
/// # Errors
/// [`crate::rounding::MoneyError::NothingToShareBy`] when money is settled for bearers of nothing, and
/// overflow.
pub fn statement<'a>(
    item: usize,
    settled: Money,
    bearers: impl IntoIterator<Item: Into<Bearer<'a>>>,
    partners: &Partners,
) -> Result<Vec<Line>, MoneyError> {
    let bearers: Vec<Bearer<'a>> = bearers.into_iter().map(Into::into).collect();
    let line = |biller: &Biller, customer: Option<&CustomerId>, kind, money| {
        let (biller, customer, grant, billed) = (biller.clone(), customer.cloned(), None, None);
        Line { item, biller, customer, kind, grant, money, billed }
    };
    let mut lines = Vec::new();
    let mut resold = Vec::new();
    for (customer, kind, money) in among(settled, bearers.iter().map(|bearer| of_operator(bearer, partners)))?
    {
        if let Some(partner) = customer.filter(|customer| partners.bills(customer)) {
            resold.push((partner, money));
        }
        lines.push(line(&Biller::Operator, customer, kind, money));
    }
    let mut of_partners: BTreeMap<&CustomerId, Vec<Part<'_>>> = BTreeMap::new();
    for (partner, part) in bearers.iter().filter_map(|bearer| of_partner(bearer, partners)) {
        of_partners.entry(partner).or_default().push(part);
    }
    for (partner, money) in resold {
        let biller = Biller::Partner(partner.clone());
        let parts = of_partners.remove(partner).unwrap_or_default();
        for (customer, kind, money) in among(money, parts)? {
            lines.push(line(&biller, customer, kind, money));
        }
    }
    Ok(lines)
}

/// Whose part of an item, what becomes of it, and how much it weighs.
type Part<'a> = (Option<&'a CustomerId>, LineKind, i128);

/// The same, settled.
type Settlement<'a> = (Option<&'a CustomerId>, LineKind, Money);

/// A bearer as the operator bills it.
fn of_operator<'a>(bearer: &Bearer<'a>, partners: &'a Partners) -> Part<'a> {
    match bearer.customer.and_then(|customer| partners.of(customer)) {
        Some(partner) => (Some(partner), LineKind::Charge, bearer.weight),
        None => (bearer.customer, bearer.kind.into(), bearer.weight),
    }
}

/// A bearer as a partner bills it, and which one. Its own it bears itself, and nobody bills the
/// operator.
fn of_partner<'a>(bearer: &Bearer<'a>, partners: &'a Partners) -> Option<(&'a CustomerId, Part<'a>)> {
    let customer = bearer.customer?;
    let own = LineKind::Retained(RetainedReason::Internal);
    match partners.of(customer) {
        Some(partner) => Some((partner, (Some(customer), bearer.kind.into(), bearer.weight))),
        None if partners.bills(customer) => Some((customer, (Some(customer), own, bearer.weight))),
        None => None,
    }
}

/// Who bears something, nobody last: the reason tells what is nobody's apart.
type Whose<'a> = (bool, Option<&'a CustomerId>, Option<LineKind>);

/// Shares money by the parts of each, in the order of customers by id. Last comes what is nobody's, by
/// the reason why: what nobody used is told from what somebody unknown did.
fn among<'a>(
    money: Money,
    parts: impl IntoIterator<Item = Part<'a>>,
) -> Result<Vec<Settlement<'a>>, MoneyError> {
    let mut sums: BTreeMap<Whose<'_>, (LineKind, i128)> = BTreeMap::new();
    for (customer, kind, weight) in parts {
        let of_nobody = Some(kind).filter(|_| customer.is_none());
        let (known, sum) = sums.entry((customer.is_none(), customer, of_nobody)).or_insert((kind, 0));
        *known = kind.min(*known);
        *sum =
            sum.checked_add(weight).ok_or(MoneyError::OverflowMinor { what: "what a line is shared by" })?;
    }
    let weights: Vec<Weight> = sums.values().map(|(_, weight)| Weight::of_size(*weight)).collect();
    let parts = allocate_money(money, &weights)?;
    Ok(sums
        .into_iter()
        .zip(parts)
        .map(|(((_, customer, _), (kind, _)), money)| (customer, kind, money))
        .collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::allocation::Because;
    use proptest::prelude::*;
    use schemas::decimal::Amount;
    use schemas::money::Currency;

    pub(crate) fn customer(id: &str) -> CustomerId {
        CustomerId::new(id).expect("an id")
    }

    pub(crate) fn money(minor_units: i128, code: &str) -> Money {
        Money { minor_units, currency: Currency::from_code(code).expect("a currency") }
    }

    /// `o` is internal; `-` is nobody.
    pub(crate) fn share(id: &str, units: i128) -> Share {
        let (customer, kind) = match id {
            "-" => (None, Kind::Retained(RetainedReason::Unattributed)),
            "o" => (Some(customer(id)), Kind::Retained(RetainedReason::Internal)),
            _ => (Some(customer(id)), Kind::Charge),
        };
        let amount = Amount::from_units(units).expect("an amount");
        Share { customer, subject: None, kind, because: Because::Idle, amount }
    }

    /// `m` bills `e` and `z`; `p` bills `f`.
    pub(crate) fn partners() -> Partners {
        Partners::new(
            [("e", "m"), ("z", "m"), ("f", "p")].map(|(one, other)| (customer(one), customer(other))),
        )
    }

    pub(crate) fn shown(line: &Line) -> String {
        let customer = line.customer.as_ref().map_or("-", CustomerId::as_str);
        let kind = line.kind.retained_reason().map_or(line.kind.as_str(), RetainedReason::as_str);
        format!("{} {customer} {kind} {}", line.biller.as_str("op"), line.money.minor_units)
    }

    #[test]
    fn a_partner_is_billed_for_its_customers_and_bills_them() {
        let shares = [("z", 25), ("m", 30), ("e", 5), ("a", 20), ("f", 10), ("-", 4), ("o", 6)]
            .map(|(id, units)| share(id, units));
        let lines = statement(0, money(10, "EUR"), &shares, &partners()).expect("statement lines");
        assert_eq!(
            lines.iter().map(shown).collect::<Vec<_>>(),
            [
                "op a charge 2",
                "op m charge 6",
                "op o internal 1",
                "op p charge 1",
                "op - unattributed 0",
                "m e charge 1", // 0.5 and 3 and 2.5: a tie goes to the first
                "m m internal 3",
                "m z charge 2",
                "p f charge 1",
            ]
        );
        assert_eq!(statement(0, money(10, "EUR"), &shares, &Partners::default()).expect("lines").len(), 7);
    }

    pub(crate) fn shares() -> impl Strategy<Value = Vec<Share>> {
        let entry = (prop::sample::select(vec!["a", "b", "e", "f", "m", "o", "p", "z", "-"]), 0..50i128);
        (prop::collection::vec(entry, 1..20), prop::sample::select(vec![1, -1])).prop_map(|(parts, sign)| {
            let mut shares: Vec<Share> =
                parts.into_iter().map(|(id, units)| share(id, sign * units)).collect();
            // Something is shared.
            shares.push(share("f", sign));
            shares
        })
    }

    proptest! {
        #[test]
        fn nothing_is_lost_on_either_level(shares in shares(), minor_units in -200..200i128, rotation in 0..20usize) {
            let settled = money(minor_units, "EUR");
            let lines = statement(0, settled, &shares, &partners()).expect("statement lines");
            let of = |biller: &Biller| lines.iter().filter(|line| line.biller == *biller).map(|line| line.money.minor_units).sum::<i128>();
            prop_assert_eq!(of(&Biller::Operator), minor_units);
            for line in lines.iter().filter(|line| line.biller == Biller::Operator) {
                if let Some(partner) = line.customer.as_ref().filter(|customer| partners().bills(customer)) {
                    prop_assert_eq!(of(&Biller::Partner(partner.clone())), line.money.minor_units);
                }
            }
            let mut other = shares.clone();
            other.rotate_left(rotation % shares.len());
            prop_assert_eq!(&statement(0, settled, &other, &partners()).expect("statement lines"), &lines);
            // Everybody with a share is on one statement of each who bills it, and nobody is twice.
            for share in &shares {
                let billed_by_partner = share.customer.as_ref().is_some_and(|customer| partners().of(customer).is_some());
                let biller = |line: &&Line| (line.biller == Biller::Operator) != billed_by_partner;
                prop_assert_eq!(lines.iter().filter(biller).filter(|line| line.customer == share.customer).count(), 1);
            }
        }
    }
}
