//! Grants: a funder pays a part of what the operator bills a customer.
//!
//! A part of a grant is two statement lines of the item that it is of: minus to the customer,
//! plus to the funder. So a grant changes who pays, and never how much is paid. Which grants there
//! are, and what earlier months have left of them, is given; the lines of partners are deliberately
//! not looked at.
//!
//! Invariant: the lines of a grant add up to nothing on each item, and a grant never takes more
//! than its share, than it has left, or than a line is worth.

use super::lines::{Biller, GrantId, Line, LineKind, Settled};
use crate::allocation::RetainedReason;
use crate::exact::{Exact, exact_money};
use crate::rounding::{MoneyError, Weight, allocate_money, cut};
use num_traits::Zero;
use schemas::id::{CustomerId, ProviderId, SkuId};
use schemas::money::{Currency, Money};
use schemas::time::BillingMonth;
use std::collections::{BTreeMap, BTreeSet};

/// What somebody pays of what another is billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub id: GrantId,
    pub customer: CustomerId,
    pub funder: CustomerId,
    /// Of the items that it is for.
    pub currency: Currency,
    /// Above 0, at most 1.
    pub share: Exact,
    /// Of all months together, above 0.
    pub amount: Exact,
    /// The first month.
    pub from: BillingMonth,
    /// The first month that it is not for.
    pub until: Option<BillingMonth>,
    /// `None` for all SKUs.
    pub of: Option<Vec<Skus>>,
    pub except: Vec<Skus>,
}

impl Grant {
    /// Whether it is for what is billed of a month.
    pub fn is_for(&self, month: BillingMonth) -> bool {
        self.from <= month && self.until.is_none_or(|until| month < until)
    }

    /// Whether it is for an item, of whatever month.
    fn takes(&self, line: &Settled<'_>) -> bool {
        let is_one = |skus: &[Skus]| skus.iter().any(|skus| skus.contain(line.provider, line.sku));
        line.money.currency == self.currency
            && self.of.as_ref().is_none_or(|of| is_one(of))
            && !is_one(&self.except)
    }
}

/// One SKU of a provider, or all that the provider bills.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skus {
    pub provider: ProviderId,
    /// `None` for all.
    pub sku: Option<SkuId>,
}

impl Skus {
    /// Reads `provider/SKU` or `provider/*`.
    pub fn parse(text: &str) -> Option<Self> {
        let (provider, sku) = text.split_once('/')?;
        let sku = match sku {
            "*" => None,
            sku => Some(SkuId::new(sku).ok()?),
        };
        Some(Self { provider: ProviderId::new(provider).ok()?, sku })
    }

    /// Whether it is one of these.
    pub fn contain(&self, provider: &ProviderId, sku: Option<&SkuId>) -> bool {
        self.provider == *provider && self.sku.as_ref().is_none_or(|own| Some(own) == sku)
    }
}

/// A grant of the month, with what earlier months have left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open<'a> {
    pub grant: &'a Grant,
    pub left: Exact,
}

/// What a customer still pays of each item, in minor units.
type Bills = BTreeMap<usize, i128>;

/// The statement lines with those of the grants, each behind the others of its item. Grants
/// apply in the order given, each to what those before it have left. `items` are those that the
/// lines name.
///
/// # Errors
/// Overflow.
pub fn apply(
    mut lines: Vec<Line>,
    items: &[Settled<'_>],
    grants: &[Open<'_>],
    is_internal: impl Fn(&CustomerId) -> bool,
) -> Result<Vec<Line>, MoneyError> {
    let customers: BTreeSet<&CustomerId> = grants.iter().map(|open| &open.grant.customer).collect();
    let mut bills: BTreeMap<&CustomerId, Bills> =
        customers.into_iter().map(|customer| (customer, Bills::new())).collect();
    for line in &lines {
        if line.biller == Biller::Operator && line.kind.is_billed() {
            bill(&mut bills, line)?;
        }
    }
    for Open { grant, left } in grants {
        for (item, money) in parts(grant, left, &bills[&grant.customer], items)? {
            let line = |customer: &CustomerId, kind, minor_units| Line {
                item,
                biller: Biller::Operator,
                customer: Some(customer.clone()),
                kind,
                grant: Some(grant.id.clone()),
                money: Money { minor_units, ..money },
                billed: None,
            };
            let borne = match is_internal(&grant.funder) {
                true => LineKind::Retained(RetainedReason::Internal),
                false => LineKind::Grant,
            };
            let less = line(&grant.customer, LineKind::Grant, -money.minor_units);
            let more = line(&grant.funder, borne, money.minor_units);
            // What the funder pays here is not its own to be paid for.
            bill(&mut bills, &less)?;
            lines.extend([less, more]);
        }
    }
    // Stable: a grant stays behind the charges, and grants in their order.
    lines.sort_by_key(|line| line.item);
    Ok(lines)
}

/// Adds a line to what its customer pays, if a grant asks for it.
fn bill(bills: &mut BTreeMap<&CustomerId, Bills>, line: &Line) -> Result<(), MoneyError> {
    let Some(of_customer) = line.customer.as_ref().and_then(|customer| bills.get_mut(customer)) else {
        return Ok(());
    };
    let sum = of_customer.entry(line.item).or_default();
    *sum = sum
        .checked_add(line.money.minor_units)
        .ok_or(MoneyError::OverflowMinor { what: "what a customer pays of one line" })?;
    Ok(())
}

/// What a grant pays of each item that the customer still pays something of.
fn parts(
    grant: &Grant,
    left: &Exact,
    bills: &Bills,
    items: &[Settled<'_>],
) -> Result<Vec<(usize, Money)>, MoneyError> {
    let currency = grant.currency;
    let taken = bills.iter().filter(|(item, _)| grant.takes(&items[**item]));
    let mut net = Exact::zero();
    let mut paid = Vec::new();
    for (item, minor_units) in taken {
        net += exact_money(Money { minor_units: *minor_units, currency });
        if *minor_units > 0 {
            paid.push((*item, Weight::new(*minor_units)?));
        }
    }
    let granted = cut(&(net * &grant.share).min(left.clone()), currency)?;
    if granted.minor_units <= 0 {
        return Ok(Vec::new());
    }
    let (places, weights): (Vec<usize>, Vec<Weight>) = paid.into_iter().unzip();
    Ok(places.into_iter().zip(allocate_money(granted, &weights)?).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::billing::tests::{customer, money, shown};
    use proptest::prelude::*;
    use schemas::id::BillingAccountId;

    fn ratio(numerator: i64, denominator: i64) -> Exact {
        Exact::new(numerator.into(), denominator.into())
    }

    fn grant(customer: &str, funder: &str, share: Exact) -> Grant {
        let month = |text| BillingMonth::parse(text).expect("a month");
        Grant {
            id: GrantId::new(format!("{funder}-{customer}")).expect("an id"),
            customer: self::customer(customer),
            funder: self::customer(funder),
            currency: money(0, "EUR").currency,
            share,
            amount: ratio(1_000, 1),
            from: month("2025-11"),
            until: Some(month("2026-01")),
            of: None,
            except: vec![Skus::parse("q/s3").expect("a SKU"), Skus::parse("r/*").expect("SKUs")],
        }
    }

    /// The SKUs `s0` to `s5` of `q`; the last is of `r`, and the one before it in dollars.
    fn items<R>(then: impl FnOnce(&[Settled<'_>]) -> R) -> R {
        let [q, r] = ["q", "r"].map(|id| ProviderId::new(id).expect("an id"));
        let account = BillingAccountId::new("1").expect("an id");
        let skus: Vec<SkuId> = (0..6).map(|sku| SkuId::new(format!("s{sku}")).expect("an id")).collect();
        let settled = |(place, sku)| Settled {
            provider: if place == 5 { &r } else { &q },
            account: &account,
            sub_account: None,
            sku: Some(sku),
            money: money(0, if place == 4 { "USD" } else { "EUR" }),
        };
        then(&skus.iter().enumerate().map(settled).collect::<Vec<_>>())
    }

    fn line(item: usize, id: &str, minor_units: i128) -> Line {
        Line {
            item,
            biller: Biller::Operator,
            customer: Some(customer(id)),
            kind: LineKind::Charge,
            grant: None,
            money: money(minor_units, if item == 4 { "USD" } else { "EUR" }),
            billed: None,
        }
    }

    fn applied(lines: &[Line], grants: &[(&Grant, Exact)]) -> Vec<Line> {
        let open: Vec<Open<'_>> =
            grants.iter().map(|(grant, left)| Open { grant, left: left.clone() }).collect();
        items(|items| {
            apply(lines.to_vec(), items, &open, |customer| customer.as_str() == "o").expect("lines")
        })
    }

    fn added(lines: &[Line], grants: &[(&Grant, Exact)]) -> Vec<String> {
        let added = applied(lines, grants);
        let added = added.iter().filter(|line| line.grant.is_some());
        added.map(|line| format!("{} {}", line.item, shown(line))).collect()
    }

    #[test]
    fn a_grant_is_for_its_months() {
        let in_force =
            |text| grant("a", "n", ratio(1, 1)).is_for(BillingMonth::parse(text).expect("a month"));
        assert_eq!(["2025-10", "2025-11", "2025-12", "2026-01"].map(in_force), [false, true, true, false]);
    }

    #[test]
    fn a_grant_takes_its_share_of_the_net_from_lines_above_zero() {
        let lines = [
            line(0, "a", 301),
            line(1, "a", -100),
            line(2, "a", 100),
            line(3, "a", 50), // excepted
            line(4, "a", 50), // in another currency
            line(5, "a", 50), // of a provider that is excepted
            line(0, "b", 7),
        ];
        let half = grant("a", "n", ratio(1, 2));
        // Half of 3.01 is 1.505, of which 1.50 is granted.
        let shared = ["0 op a grant -113", "0 op n grant 113", "2 op a grant -37", "2 op n grant 37"];
        assert_eq!(added(&lines, &[(&half, ratio(10, 1))]), shared);
        assert_eq!(
            added(&lines, &[(&half, ratio(4, 100))]),
            ["0 op a grant -3", "0 op n grant 3", "2 op a grant -1", "2 op n grant 1"]
        );
        for nothing in [ratio(0, 1), ratio(-1, 1), ratio(9, 1000)] {
            assert_eq!(added(&lines, &[(&half, nothing)]), [""; 0]);
        }
        // The operator bears the rest of what is left. What the funder pays nobody pays for it.
        let (rest, of_funder) = (grant("a", "o", ratio(1, 1)), grant("n", "b", ratio(1, 1)));
        let all = added(&lines, &[(&half, ratio(10, 1)), (&rest, ratio(10, 1)), (&of_funder, ratio(1, 1))]);
        assert_eq!(
            all,
            [
                &shared[..2],
                &["0 op a grant -113", "0 op o internal 113"],
                &shared[2..],
                &["2 op a grant -38", "2 op o internal 38"],
            ]
            .concat()
        );
        // Where credits are more than charges nothing is granted.
        assert_eq!(added(&[line(0, "a", 5), line(1, "a", -5)], &[(&rest, ratio(1, 1))]), [""; 0]);
    }

    proptest! {
        #[test]
        fn a_grant_only_changes_who_pays(amounts in prop::collection::vec((0..6usize, 0..3u8, -50..200i128), 0..25), shares in prop::collection::vec((1..8i64, 0..300i64), 1..4), rotation in 0..25usize) {
            // As many lines of a customer as cost lines.
            let amounts: BTreeMap<(usize, u8), i128> = amounts.into_iter().map(|(item, customer, amount)| ((item, customer), amount)).collect();
            let lines: Vec<Line> = amounts.iter().map(|((item, customer), amount)| line(*item, ["a", "b", "n"][usize::from(*customer)], *amount)).collect();
            let parties = [("a", "n"), ("n", "o"), ("a", "o")];
            let grants: Vec<Grant> = shares.iter().zip(parties).map(|((share, _), (one, other))| grant(one, other, ratio(*share, 8))).collect();
            let open: Vec<(&Grant, Exact)> = grants.iter().zip(&shares).map(|(grant, (_, left))| (grant, ratio(*left, 100))).collect();
            let with = applied(&lines, &open);
            for item in 0..6 {
                let of = |lines: &[Line]| lines.iter().filter(|line| line.item == item).map(|line| line.money.minor_units).sum::<i128>();
                prop_assert_eq!(of(&with), of(&lines));
            }
            for (grant, left) in &open {
                let paid: i128 = with.iter().filter(|line| line.grant.as_ref() == Some(&grant.id) && line.customer.as_ref() == Some(&grant.funder)).map(|line| line.money.minor_units).sum();
                prop_assert!(ratio(i64::try_from(paid).expect("small"), 100) <= left.clone().max(Exact::zero()));
            }
            // No line is turned below zero.
            for line in lines.iter().filter(|line| line.money.minor_units >= 0) {
                let left: i128 = with.iter().filter(|other| other.item == line.item && other.customer == line.customer).map(|line| line.money.minor_units).sum();
                prop_assert!(left >= 0);
            }
            let mut other = lines.clone();
            other.rotate_left(rotation % lines.len().max(1));
            let granted = |lines: &[Line]| lines.iter().filter(|line| line.grant.is_some()).cloned().collect::<Vec<_>>();
            prop_assert_eq!(granted(&applied(&other, &open)), granted(&with));
        }
    }
}
