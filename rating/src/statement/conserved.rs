//! The promises of statements, checked from the finished lines alone.
//!
//! It deliberately adds up again what `billing`, `grants` and `fx` have shared, and trusts none of it:
//! of the catalog it asks only who is a partner, so that a partner without any line is missed.
//!
//! Invariant: of lines that pass, the operator's add up to what settles, of each item, account
//! and currency; a partner's to what the operator charges it; a grant to nothing; and what is billed
//! to what its lines convert to.

use super::billing::Partners;
use super::lines::{Biller, GrantId, Line, LineKind, Settled};
use crate::exact::exact;
use crate::rounding::{Conversion, MoneyError};
use num_bigint::BigInt;
use schemas::decimal::Amount;
use schemas::id::{BillingAccountId, CustomerId, ProviderId};
use schemas::money::Currency;
use std::collections::{BTreeMap, BTreeSet};

/// A promise that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("{parts} of {whole} add up to {sum}, and not to {expected}")]
    Unbalanced { whole: String, parts: &'static str, sum: String, expected: String },
    #[error("{whole}: {detail}")]
    Damaged { whole: String, detail: &'static str },
    #[error("{whole}: {error}")]
    Money { whole: String, error: MoneyError },
}

/// # Errors
/// The first promise that does not hold.
pub fn check(items: &[Settled<'_>], lines: &[Line], partners: &Partners) -> Result<(), Broken> {
    check_each(items, lines)?;
    check_settled(items, lines)?;
    check_partners(items, lines, partners)?;
    check_grants(items, lines)?;
    check_billed(items, lines)
}

fn name(line: &Settled<'_>) -> String {
    let account = line.sub_account.map_or_else(String::new, |account| format!(" of {account}"));
    match line.sku {
        Some(sku) => format!("{} {sku}{account}", line.provider),
        None => format!("a line of {} without a SKU{account}", line.provider),
    }
}

/// Each line is of an item, in its currency, once, and billed if and only if it is not retained.
fn check_each(items: &[Settled<'_>], lines: &[Line]) -> Result<(), Broken> {
    let mut seen = BTreeSet::new();
    for line in lines {
        let Some(item) = items.get(line.item) else {
            let whole = format!("a statement line of item {}", line.item);
            return Err(Broken::Damaged { whole, detail: "there is no such item" });
        };
        let named = [
            (line.money.currency != item.money.currency, "a statement line is in another currency"),
            (line.billed.is_some() != line.kind.is_billed(), "it is not as billed as its kind says"),
            (line.kind.is_billed() && line.customer.is_none(), "nobody is billed"),
            (line.kind == LineKind::Grant && line.grant.is_none(), "a part of a grant names none"),
            (line.kind == LineKind::Charge && line.grant.is_some(), "a charge names a grant"),
            (line.grant.is_some() && line.biller != Biller::Operator, "a partner bills a grant"),
        ];
        // What is nobody's may be so for several reasons.
        let of_nobody = Some(line.kind).filter(|_| line.customer.is_none());
        let key = (line.item, &line.biller, &line.customer, of_nobody, &line.grant);
        let once = (!seen.insert(key), "a customer is twice on a statement");
        if let Some((_, detail)) = named.into_iter().chain([once]).find(|(is_wrong, _)| *is_wrong) {
            return Err(Broken::Damaged { whole: name(item), detail });
        }
    }
    Ok(())
}

/// Sums that must be equal, in minor units, by what they are of.
struct Sums<K> {
    parts: &'static str,
    expected: &'static str,
    sums: BTreeMap<K, (BigInt, BigInt)>,
}

impl<K: Ord> Sums<K> {
    fn new(parts: &'static str, expected: &'static str) -> Self {
        Self { parts, expected, sums: BTreeMap::new() }
    }

    fn add(&mut self, of: K, minor_units: i128) {
        self.sums.entry(of).or_default().0 += minor_units;
    }

    fn expect(&mut self, of: K, minor_units: i128) {
        self.sums.entry(of).or_default().1 += minor_units;
    }

    fn check(self, name: impl Fn(&K) -> String) -> Result<(), Broken> {
        let Some((of, (sum, expected))) = self.sums.iter().find(|(_, (sum, expected))| sum != expected)
        else {
            return Ok(());
        };
        Err(Broken::Unbalanced {
            whole: name(of),
            parts: self.parts,
            sum: format!("{sum} minor units"),
            expected: format!("{}, {expected}", self.expected),
        })
    }
}

/// What the operator bills and retains is what settles: line by line without grants, and with them
/// for each account, the operator and each currency.
fn check_settled(items: &[Settled<'_>], lines: &[Line]) -> Result<(), Broken> {
    let settled = "what settles";
    let mut by_line = Sums::new("the operator's lines", settled);
    let mut by_account = Sums::new("the operator's lines with grants", settled);
    let mut by_currency = Sums::new("the operator's lines with grants", settled);
    let account = |line: &Settled<'_>| {
        let sub_account = line.sub_account.map(str::to_owned);
        let key: (ProviderId, BillingAccountId, Option<String>, Currency) =
            (line.provider.clone(), line.account.clone(), sub_account, line.money.currency);
        key
    };
    for (place, line) in items.iter().enumerate() {
        by_line.expect(place, line.money.minor_units);
        by_account.expect(account(line), line.money.minor_units);
        by_currency.expect(line.money.currency, line.money.minor_units);
    }
    for line in lines.iter().filter(|line| line.biller == Biller::Operator) {
        let minor_units = line.money.minor_units;
        if line.grant.is_none() {
            by_line.add(line.item, minor_units);
        }
        by_account.add(account(&items[line.item]), minor_units);
        by_currency.add(line.money.currency, minor_units);
    }
    by_line.check(|place| name(&items[*place]))?;
    by_account.check(|(provider, account, sub_account, currency)| {
        let sub_account = sub_account.as_ref().map_or_else(String::new, |account| format!(" of {account}"));
        format!("account {account}{sub_account} with {provider} in {currency}")
    })?;
    by_currency.check(|currency| format!("all in {currency}"))
}

/// What a partner bills and bears is what the operator charges it, line by line and altogether.
fn check_partners(items: &[Settled<'_>], lines: &[Line], partners: &Partners) -> Result<(), Broken> {
    let charged = "what the operator charges the partner";
    let mut by_line = Sums::new("the partner's lines", charged);
    let mut by_currency = Sums::new("the partner's lines", charged);
    for line in lines {
        let minor_units = line.money.minor_units;
        if let Some(partner) = partner(&line.biller) {
            by_line.add((partner, line.item), minor_units);
            by_currency.add((partner, line.money.currency), minor_units);
        } else if line.kind == LineKind::Charge
            && let Some(partner) = line.customer.as_ref().filter(|customer| partners.bills(customer))
        {
            by_line.expect((partner, line.item), minor_units);
            by_currency.expect((partner, line.money.currency), minor_units);
        }
    }
    by_line.check(|(partner, place)| format!("partner {partner} for {}", name(&items[*place])))?;
    by_currency.check(|(partner, currency)| format!("partner {partner} in {currency}"))
}

fn partner(biller: &Biller) -> Option<&CustomerId> {
    match biller {
        Biller::Operator => None,
        Biller::Partner(partner) => Some(partner),
    }
}

/// What a grant takes from one is what another bears.
fn check_grants(items: &[Settled<'_>], lines: &[Line]) -> Result<(), Broken> {
    let mut sums: Sums<(&GrantId, usize)> = Sums::new("the lines of the grant", "nothing");
    for line in lines {
        if let Some(grant) = &line.grant {
            sums.add((grant, line.item), line.money.minor_units);
        }
    }
    sums.check(|(grant, place)| format!("grant {grant} for {}", name(&items[*place])))
}

/// What a customer is billed for a provider is what its lines together convert to, and no line is
/// more than one minor unit from what it alone converts to.
fn check_billed(items: &[Settled<'_>], lines: &[Line]) -> Result<(), Broken> {
    /// Whose lines add up, between which currencies and at which rate.
    type Sequence<'a> = (&'a Biller, &'a CustomerId, &'a ProviderId, Currency, Currency);
    let mut sums: BTreeMap<Sequence<'_>, (Option<Amount>, BigInt, BigInt)> = BTreeMap::new();
    for line in lines {
        let (Some(customer), Some(billed)) = (&line.customer, &line.billed) else { continue };
        let item = &items[line.item];
        let (from, to) = (line.money.currency, billed.money.currency);
        let whole = || format!("customer {customer} for {}", name(item));
        let sequence = (&line.biller, customer, item.provider, from, to);
        let (rate, sum, sum_billed) =
            sums.entry(sequence).or_insert_with(|| (billed.rate, BigInt::ZERO, BigInt::ZERO));
        if *rate != billed.rate {
            return Err(Broken::Damaged { whole: whole(), detail: "it is billed at two rates" });
        }
        if rate.is_none() && line.money != billed.money {
            return Err(Broken::Damaged { whole: whole(), detail: "it is converted without a rate" });
        }
        if let Some(rate) = rate {
            let alone = converted(*rate, from, to, line.money.minor_units)
                .map_err(|error| Broken::Money { whole: whole(), error })?;
            if alone.abs_diff(billed.money.minor_units) > 1 {
                return Err(Broken::Damaged {
                    whole: whole(),
                    detail: "it is billed more than a minor unit from what it converts to",
                });
            }
        }
        *sum += line.money.minor_units;
        *sum_billed += billed.money.minor_units;
    }
    let mut in_order = sums.into_iter();
    in_order.try_for_each(|((biller, customer, provider, from, to), (rate, sum, billed))| {
        let whole = || format!("what {} bills {customer} for {provider}", biller.as_str("the operator"));
        let expected = match (rate, i128::try_from(sum.clone())) {
            (Some(rate), Ok(sum)) => converted(rate, from, to, sum).map(BigInt::from),
            (None, _) => Ok(sum.clone()),
            (Some(_), Err(_)) => Err(MoneyError::OverflowMinor { what: "the sum of statement lines" }),
        };
        let expected = expected.map_err(|error| Broken::Money { whole: whole(), error })?;
        if billed == expected {
            return Ok(());
        }
        Err(Broken::Unbalanced {
            whole: whole(),
            parts: "the billed amounts",
            sum: format!("{billed} minor units of {to}"),
            expected: format!("what {sum} minor units of {from} convert to, {expected}"),
        })
    })
}

fn converted(rate: Amount, from: Currency, to: Currency, minor_units: i128) -> Result<i128, MoneyError> {
    Ok(Conversion::new(&exact(rate), from, to).next(minor_units)?.minor_units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::RetainedReason;
    use crate::exact::Exact;
    use crate::statement::billing::{self, tests};
    use crate::statement::fx::{
        self,
        tests::{currency_of, month, rates},
    };
    use crate::statement::grants::{self, Grant, Open};
    use proptest::prelude::*;
    use schemas::id::SkuId;
    use schemas::money::Money;

    /// Everything of a month, from the shares on: its cost lines and their statement lines.
    fn month_of<R>(
        given: &[(Vec<crate::allocation::Share>, i128, bool)],
        left: i64,
        then: impl FnOnce(&[Settled<'_>], Vec<Line>) -> R,
    ) -> R {
        let providers = ["usd", "jpy"].map(|id| ProviderId::new(id).expect("an id"));
        let account = BillingAccountId::new("1").expect("an id");
        let skus: Vec<SkuId> =
            (0..given.len()).map(|sku| SkuId::new(format!("s{sku}")).expect("an id")).collect();
        let settled = |((_, minor_units, yen), sku): (&(_, i128, bool), _)| Settled {
            provider: &providers[usize::from(*yen)],
            account: &account,
            sub_account: None,
            sku: Some(sku),
            money: tests::money(*minor_units, if *yen { "JPY" } else { "USD" }),
        };
        let items: Vec<Settled<'_>> = given.iter().zip(&skus).map(settled).collect();
        let mut lines = Vec::new();
        for (place, ((shares, ..), line)) in given.iter().zip(&items).enumerate() {
            lines.extend(billing::statement(place, line.money, shares, &tests::partners()).expect("lines"));
        }
        let grant = |id: &str, customer: &str, funder: &str, share: i64| Grant {
            id: GrantId::new(id).expect("an id"),
            customer: tests::customer(customer),
            funder: tests::customer(funder),
            currency: tests::money(0, "USD").currency,
            share: Exact::new(share.into(), 8.into()),
            amount: Exact::from_integer(9.into()),
            from: month(),
            until: None,
            of: None,
            except: Vec::new(),
        };
        let grants = [grant("g", "a", "b", 3), grant("h", "a", "o", 8), grant("i", "m", "a", 5)];
        let left = Exact::new(left.into(), 100.into());
        let open: Vec<Open<'_>> = grants.iter().map(|grant| Open { grant, left: left.clone() }).collect();
        let mut lines =
            grants::apply(lines, &items, &open, |customer| customer.as_str() == "o").expect("grants");
        fx::convert(&mut lines, &items, month(), Some(&rates()), currency_of).expect("rates");
        then(&items, lines)
    }

    proptest! {
        #[test]
        fn nothing_is_lost_whatever_comes_in(given in prop::collection::vec((tests::shares(), -200..200i128, any::<bool>()), 0..8), left in 0..300i64, rotation in 0..20usize) {
            month_of(&given, left, |items, lines| {
                prop_assert_eq!(check(items, &lines, &tests::partners()), Ok(()));
                let mut other = given.clone();
                for (shares, ..) in &mut other {
                    let by = rotation % shares.len();
                    shares.rotate_left(by);
                }
                month_of(&other, left, |_, turned| {
                    prop_assert_eq!(&turned, &lines);
                    Ok(())
                })
            })?;
        }

        #[test]
        fn a_line_that_is_changed_is_found(given in prop::collection::vec((tests::shares(), -200..200i128, any::<bool>()), 1..6), at in any::<prop::sample::Index>(), by in 1..4i128, what in 0..6u8) {
            month_of(&given, 250, |items, mut lines| {
                let at = at.index(lines.len());
                let changed = &mut lines[at];
                // A line of nothing is not missed, and what it is converted at changes nothing.
                let is_nothing = changed.money.minor_units == 0 && changed.billed.as_ref().is_none_or(|billed| billed.money.minor_units == 0);
                match (what, &mut changed.billed) {
                    (0, Some(billed)) => billed.money.minor_units += by,
                    (1, Some(billed)) => billed.rate = Amount::from_units(by).ok(),
                    (2, billed @ Some(_)) => *billed = None,
                    (3, _) => drop(lines.remove(at)),
                    (4, _) => { let again = changed.clone(); lines.push(again); }
                    _ => changed.money.minor_units += by,
                }
                prop_assert!(check(items, &lines, &tests::partners()).is_err() || (is_nothing && [1, 3].contains(&what)), "{} {}", what, at);
                Ok(())
            })?;
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let shares = vec![tests::share("a", 3), tests::share("e", 2), tests::share("-", 1)];
        month_of(&[(shares, 60, false)], 10, |items, lines| {
            let broken = |change: &dyn Fn(&mut Line)| {
                let changed = |line: &Line| {
                    let mut line = line.clone();
                    change(&mut line);
                    line
                };
                check(items, &lines.iter().map(changed).collect::<Vec<_>>(), &tests::partners())
                    .expect_err("a change")
                    .to_string()
            };
            let more = |is_it: fn(&Line) -> bool| {
                broken(&move |line| {
                    line.money =
                        Money { minor_units: line.money.minor_units + i128::from(is_it(line)), ..line.money }
                })
            };
            assert_eq!(
                more(|line| line.customer.is_none()),
                "the operator's lines of usd s0 add up to 61 minor units, and not to what settles, 60"
            );
            assert_eq!(
                more(|line| line.grant.is_some()
                    && line.kind.retained_reason() == Some(RetainedReason::Internal)),
                "the operator's lines with grants of account 1 with usd in USD add up to 61 minor units, and not to what settles, 60"
            );
            assert_eq!(
                more(|line| line.biller != Biller::Operator),
                "the partner's lines of partner m for usd s0 add up to 21 minor units, and not to what the operator charges the partner, 20"
            );
            assert_eq!(broken(&|line| line.billed = None), "usd s0: it is not as billed as its kind says");
            assert_eq!(
                broken(&|line| if let Some(billed) = &mut line.billed {
                    billed.money.minor_units += 3;
                }),
                "customer a for usd s0: it is billed more than a minor unit from what it converts to"
            );
            assert_eq!(
                broken(&|line| if let (Some(billed), LineKind::Charge) = (&mut line.billed, line.kind) {
                    billed.money.minor_units += 1;
                }),
                "the billed amounts of what the operator bills a for usd add up to 18 minor units of EUR, and not to what 20 minor units of USD convert to, 17"
            );
        });
    }
}
