//! How much of each limit a month has used, and which are passed.
//!
//! What is counted is what customers are charged for usage of the month by price lists, exactly and
//! before anything is converted: an alarm is for what is still going on, so that invoices, taxes, grants
//! and corrections of closed months deliberately do not count. A limit changes no bill.
//!
//! Invariant: a limit that cannot be told is never within.

use crate::allocation::Kind;
use crate::catalog::{Catalog, Limit};
use crate::exact::{Exact, exact};
use crate::run::CostLine;
use crate::words::words;
use num_bigint::BigInt;
use num_traits::{Signed as _, Zero as _};

words! {
    pub enum LimitState {
        Within = "within",
        Passed = "passed",
        /// There is nothing to compare with.
        Untold = "untold",
    }
}

/// What the month before came to, for limits of growth.
#[derive(Debug, Clone, Copy)]
pub enum MonthBefore<'a> {
    /// Its cost lines.
    Rated(&'a [CostLine]),
    /// Why it could not be rated.
    NotRated(&'a str),
}

/// A limit, and what a month has used of it.
#[derive(Debug, Clone)]
pub struct LimitUse<'c> {
    pub limit: &'c Limit,
    /// In the limit's currency, as the two below.
    pub used: Exact,
    /// What the month before came to; `None` where nobody asks, or it could not be rated.
    pub before: Option<Exact>,
    /// The most that the month may come to, as far as it can be told.
    pub most: Option<Exact>,
    pub state: LimitState,
    /// Why growth says nothing, where it is declared and does not.
    pub note: Option<String>,
}

impl LimitUse<'_> {
    /// How many hundredths of the most are used, cut; `None` where there is no most.
    pub fn percent(&self) -> Option<BigInt> {
        let most = self.most.as_ref().filter(|most| most.is_positive())?;
        Some((&self.used * Exact::from_integer(100.into()) / most).floor().to_integer())
    }
}

/// The limits of a catalog, in its order, and what the charges of cost lines have used of them.
pub fn limits<'c>(
    catalog: &'c Catalog,
    cost_lines: &[CostLine],
    before: MonthBefore<'_>,
) -> Vec<LimitUse<'c>> {
    catalog.limits.iter().map(|limit| limit_use(limit, used(limit, cost_lines), before)).collect()
}

/// What counts towards a limit.
fn used(limit: &Limit, cost_lines: &[CostLine]) -> Exact {
    let lines = cost_lines.iter().filter(|line| line.currency == limit.currency);
    let charges = lines.flat_map(|line| line.charges.iter().map(move |charge| (&line.key, charge)));
    let covered = charges.filter(|(key, charge)| {
        let customer = charge.customer.as_ref().filter(|_| charge.kind == Kind::Charge);
        customer.is_some_and(|customer| limit.covers(customer, &key.provider, &key.sku))
    });
    covered.map(|(_, charge)| exact(charge.amount)).sum()
}

fn limit_use<'c>(limit: &'c Limit, used: Exact, before: MonthBefore<'_>) -> LimitUse<'c> {
    let (base, note) = match (&limit.growth, before) {
        (None, _) => (None, None),
        (Some(_), MonthBefore::NotRated(why)) => {
            (None, Some(format!("the month before cannot be rated, so growth says nothing: {why}")))
        }
        (Some(_), MonthBefore::Rated(lines)) => {
            let base = self::used(limit, lines);
            let note = (!base.is_positive())
                .then(|| "the month before came to nothing, so growth says nothing".to_owned());
            (Some(base), note)
        }
    };
    let most = limit.most(base.as_ref().unwrap_or(&Exact::zero()));
    // Where the month before is nothing, an amount alone decides. Where it is not known, growth might
    // have set the lower limit.
    let is_unknown = limit.growth.is_some() && base.is_none();
    let state = match &most {
        Some(most) if used > *most => LimitState::Passed,
        Some(_) if !is_unknown => LimitState::Within,
        None if !is_unknown && !used.is_positive() => LimitState::Within,
        _ => LimitState::Untold,
    };
    LimitUse { limit, used, before: base, most, state, note }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::display;
    use crate::reconcile::world::{catalog, cost_line, currency};

    /// What `q/s0` and `q/s1` cost this month and the month before, by customer; `-` is nobody, and `o`
    /// the operator.
    fn told(amount: Option<i64>, growth: Option<(i64, i64)>, before: Result<&str, &str>) -> String {
        let mut catalog = catalog(false, &[]);
        let number = |(number, of): (i64, i64)| Exact::new(number.into(), of.into());
        catalog.limits = vec![Limit {
            id: "l".into(),
            customer: None,
            of: None,
            currency: currency("USD"),
            amount: amount.map(|amount| number((amount, 1))),
            growth: growth.map(number),
        }];
        let now = [cost_line(0, &[("a", "60"), ("o", "500")]), cost_line(1, &[("b", "40"), ("-", "7")])];
        let lines = [cost_line(0, &[("a", before.unwrap_or("0"))])];
        let before = match before {
            Ok(_) => MonthBefore::Rated(&lines),
            Err(why) => MonthBefore::NotRated(why),
        };
        let told = limits(&catalog, &now, before);
        let [only] = &told[..] else { panic!("one limit is declared") };
        let percent = only.percent().map_or_else(|| "-".to_owned(), |percent| percent.to_string());
        let note = only.note.as_deref().map_or("", |_| " noted");
        format!("{} {} {percent}{note}", display(&only.used), only.state)
    }

    #[test]
    fn a_limit_is_passed_by_what_is_above_it() {
        assert_eq!(told(Some(100), None, Ok("0")), "100 within 100");
        assert_eq!(told(Some(99), None, Ok("0")), "100 passed 101");
        assert_eq!(told(Some(300), None, Err("no")), "100 within 33");
    }

    #[test]
    fn growth_is_compared_exactly() {
        // 75 and a third of it are 100.
        assert_eq!(told(None, Some((1, 3)), Ok("75")), "100 within 100");
        assert_eq!(told(None, Some((1, 3)), Ok("74.999999999999999999")), "100 passed 100");
        assert_eq!(told(Some(90), Some((1, 3)), Ok("75")), "100 passed 111", "the lower one holds");
    }

    #[test]
    fn what_cannot_be_told_is_never_within() {
        assert_eq!(told(None, Some((1, 2)), Ok("0")), "100 untold - noted");
        assert_eq!(told(None, Some((1, 2)), Ok("-5")), "100 untold - noted");
        assert_eq!(told(None, Some((1, 2)), Err("no rate")), "100 untold - noted");
        assert_eq!(told(Some(200), Some((1, 2)), Err("no rate")), "100 untold 50 noted");
        assert_eq!(told(Some(50), Some((1, 2)), Err("no rate")), "100 passed 200 noted");
        assert_eq!(told(Some(200), Some((1, 2)), Ok("0")), "100 within 50 noted", "the amount decides");
    }
}
