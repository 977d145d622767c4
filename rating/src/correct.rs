//! Corrections of closed months: what was posted is taken back, and what is so now is entered anew.
//!
//! Whether a month may be corrected (none of its rows is open) and what is so now are deliberately asked
//! elsewhere.
//!
//! Invariant: for every key, what is posted in all months together is what the month is afresh.

use crate::error::RatingError;
use crate::run::{Correction, Entry, LineKey, PostedLine, StatementLineId, decimal};
use crate::statement::Billed;
use schemas::money::{Currency, Money};
use schemas::time::BillingMonth;
use std::collections::BTreeMap;

/// What lines of one key come to.
struct Sum<'l> {
    minor_units: i128,
    billed: i128,
    /// The last of them.
    last: &'l PostedLine,
}

impl Sum<'_> {
    fn is(&self, other: Option<&Self>) -> bool {
        let [own, other] =
            [Some(self), other].map(|sum| sum.map_or((0, 0), |sum| (sum.minor_units, sum.billed)));
        own == other
    }

    fn is_nothing(&self) -> bool {
        (self.minor_units, self.billed) == (0, 0)
    }
}

/// The corrections of a closed month that the open one posts, by key, each reversal before its re-entry.
///
/// `posted` are the lines that were posted of the month until now, in its own and as corrections in later
/// ones, in the order in which they were posted; lines of other months are left out. `afresh` is what
/// is so now.
///
/// # Errors
/// [`RatingError::Billed`] and [`RatingError::Overflow`] where a sum is too large.
pub fn corrections(
    month: BillingMonth,
    open: BillingMonth,
    posted: &[PostedLine],
    afresh: &[PostedLine],
) -> Result<Vec<PostedLine>, RatingError> {
    let then = sums(posted.iter().filter(|line| line.month == month))?;
    let now = sums(afresh.iter())?;
    let mut keys: Vec<LineKey<'_>> = then.keys().chain(now.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    let mut corrections = Vec::new();
    for key in keys {
        let (then, now) = (then.get(&key), now.get(&key));
        let is_so = match (then, now) {
            (Some(then), now) => then.is(now),
            (None, Some(now)) => now.is(None),
            (None, None) => true,
        };
        if is_so {
            continue;
        }
        let corrects = then.map(|then| then.last.id);
        for (sum, entry) in [(then, Entry::Reversal), (now, Entry::ReEntry)] {
            if let Some(sum) = sum.filter(|sum| !sum.is_nothing()) {
                corrections.push(correcting(open, sum, entry, corrects)?);
            }
        }
    }
    Ok(corrections)
}

fn correcting(
    open: BillingMonth,
    sum: &Sum<'_>,
    entry: Entry,
    corrects: Option<StatementLineId>,
) -> Result<PostedLine, RatingError> {
    let signed = |minor_units: i128, currency: Currency| {
        let minor_units = match entry {
            Entry::Reversal => minor_units.checked_neg(),
            Entry::ReEntry => Some(minor_units),
        };
        let money = Money { minor_units: minor_units.ok_or_else(too_large)?, currency };
        decimal(money).map(|_| money)
    };
    let of = |billed: &Billed| {
        let money = signed(sum.billed, billed.money.currency)?;
        Ok::<_, RatingError>(Billed { money, rate: billed.rate })
    };
    let money = signed(sum.minor_units, sum.last.money.currency)?;
    let billed = sum.last.billed.as_ref().map(of).transpose()?;
    Ok(PostedLine::correcting(open, sum.last, (money, billed), Correction { entry, corrects }))
}

fn sums<'l>(
    lines: impl Iterator<Item = &'l PostedLine>,
) -> Result<BTreeMap<LineKey<'l>, Sum<'l>>, RatingError> {
    let mut sums: BTreeMap<LineKey<'l>, Sum<'l>> = BTreeMap::new();
    for line in lines {
        let billed = line.billed.as_ref().map_or(0, |billed| billed.money.minor_units);
        let sum = sums.entry(line.key()).or_insert(Sum { minor_units: 0, billed: 0, last: line });
        sum.minor_units = sum.minor_units.checked_add(line.money.minor_units).ok_or_else(too_large)?;
        sum.billed = sum.billed.checked_add(billed).ok_or_else(too_large)?;
        sum.last = line;
    }
    Ok(sums)
}

fn too_large() -> RatingError {
    RatingError::Billed("the sum of what was posted under one key is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::post;
    use crate::reconcile::world::{amount, catalog, cost_line, invoice, month, row, run, shown};
    use crate::run::{Granted, Run};
    use proptest::prelude::*;
    use schemas::invoice::LineCategory;
    use schemas::money::Money;

    /// What a month posts, whose only line costs that much for each.
    fn posted(charges: &[(&str, &str)], invoiced: Option<&str>) -> Vec<PostedLine> {
        let run: Run = run(vec![cost_line(0, charges)]);
        let lines: Vec<_> = invoiced.map(|text| (LineCategory::Usage, text, "USD")).into_iter().collect();
        let (invoices, rows) = match lines.is_empty() {
            true => (Vec::new(), Vec::new()),
            false => (vec![invoice("I", &lines)], vec![row(Ok(0), &[(0, 0)], &[0], None)]),
        };
        post(&run, &rows, &invoices, &catalog(true, &[]), &Granted::default()).expect("posted lines")
    }

    fn corrected(posted: &[PostedLine], afresh: &[PostedLine], open: &str) -> Vec<PostedLine> {
        corrections(month("2025-10"), month(open), posted, afresh).expect("corrections")
    }

    fn told(lines: &[PostedLine]) -> Vec<String> {
        let entry = |line: &PostedLine| line.correction.expect("a correction").entry;
        lines.iter().map(|line| format!("{} {}", entry(line), shown(line))).collect()
    }

    #[test]
    fn what_differs_is_taken_back_and_entered_anew() {
        let before = posted(&[("a", "1"), ("o", "2"), ("c", "0")], None);
        let afresh = posted(&[("a", "1"), ("o", "2.5"), ("c", "0"), ("p", "1")], None);
        let first = corrected(&before, &afresh, "2025-11");
        assert_eq!(
            told(&first),
            [
                "reversal - s0 o internal -2 USD",
                "re-entry - s0 o internal 2.5 USD",
                "re-entry - s0 p charge 1 USD = 0.87 EUR",
                // Under a partner a line of zero was posted, and is not reversed.
                "re-entry p: - s0 p internal 1 USD",
            ]
        );
        let of_o = before.iter().find(|line| line.customer.as_ref().is_some_and(|id| id.as_str() == "o"));
        let corrects = |line: &PostedLine| line.correction.expect("a correction").corrects;
        assert_eq!([corrects(&first[0]), corrects(&first[1])], [of_o.map(|line| line.id); 2]);
        let of_p = before.iter().find(|line| line.customer.as_ref().is_some_and(|id| id.as_str() == "p"));
        assert_eq!([corrects(&first[2]), corrects(&first[3])], [of_p.map(|line| line.id), None]);
        // The next correction stands on the last one, and has ids of its own.
        let all: Vec<PostedLine> = before.iter().chain(&first).cloned().collect();
        assert_eq!(corrected(&all, &afresh, "2025-12"), []);
        let second = corrected(&all, &before, "2025-12");
        assert_eq!(
            told(&second)[..2],
            ["reversal - s0 o internal -2.5 USD", "re-entry - s0 o internal 2 USD"]
        );
        assert_eq!(corrects(&second[0]), Some(first[1].id));
        assert!(second.iter().all(|line| first.iter().all(|other| other.id != line.id)));
    }

    #[test]
    fn an_invoice_takes_the_place_of_its_estimate() {
        let estimate = posted(&[("a", "1")], None);
        assert_eq!(
            told(&corrected(&estimate, &posted(&[("a", "1")], Some("1")), "2025-11")),
            ["reversal - s0 a charge -1 USD = -0.87 EUR", "re-entry I s0 a charge 1 USD = 0.87 EUR"]
        );
    }

    #[test]
    fn a_reversal_takes_back_what_was_billed_and_not_what_would_be() {
        let before = posted(&[("a", "1")], None);
        let mut afresh = before.clone();
        let billed = afresh[0].billed.as_mut().expect("billed");
        (billed.money.minor_units, billed.rate) = (90, Some(amount("0.9")));
        let corrections = corrected(&before, &afresh, "2025-11");
        assert_eq!(
            told(&corrections),
            ["reversal - s0 a charge -1 USD = -0.87 EUR", "re-entry - s0 a charge 1 USD = 0.9 EUR"]
        );
        let rates = corrections.iter().map(|line| line.billed.as_ref().and_then(|billed| billed.rate));
        assert_eq!(rates.collect::<Vec<_>>(), [Some(amount("0.8651")), Some(amount("0.9"))]);
    }

    #[test]
    fn what_a_grant_paid_is_what_it_paid_after_corrections() {
        // Of 4 dollars a half is granted, of 5 as well, and of 3 altogether no more.
        let (before, afresh) = (posted(&[("b", "4")], None), posted(&[("b", "5")], None));
        let paid = |lines: &[PostedLine]| {
            let mut granted = Granted::default();
            granted.add_posted(lines);
            granted
        };
        let all: Vec<PostedLine> =
            before.iter().cloned().chain(corrected(&before, &afresh, "2025-11")).collect();
        assert_ne!(paid(&before), paid(&afresh));
        assert_eq!(paid(&all), paid(&afresh));
    }

    #[test]
    fn what_is_billed_of_nothing_is_corrected_too() {
        let before = posted(&[("a", "0")], None);
        let mut afresh = before.clone();
        afresh[0].billed.as_mut().expect("billed").money.minor_units = 1;
        assert_eq!(
            told(&corrected(&before, &afresh, "2025-11")),
            ["re-entry - s0 a charge 0 USD = 0.01 EUR"]
        );
    }

    proptest! {
        #[test]
        fn all_months_together_are_the_month_afresh(
            versions in prop::collection::vec(prop::collection::vec((prop::sample::select(vec!["a", "b", "c", "o", "p", "-"]), 0..400i64), 1..5), 2..5),
            invoiced in prop::collection::vec(prop::option::of(0..9i64), 4),
        ) {
            let month_of = |version: usize| {
                let texts: Vec<(&str, String)> = versions[version].iter().map(|(who, cents)| (*who, format!("{}.{:02}", cents / 100, cents % 100))).collect();
                let charges: Vec<(&str, &str)> = texts.iter().map(|(who, text)| (*who, text.as_str())).collect();
                posted(&charges, invoiced[version].map(|dollars| dollars.to_string()).as_deref())
            };
            let mut all = month_of(0);
            let others: Vec<PostedLine> = all.iter().map(|line| PostedLine { month: month("2025-09"), ..line.clone() }).collect();
            all.extend(others.clone());
            for version in 1..versions.len() {
                let afresh = month_of(version);
                let corrections = corrected(&all, &afresh, &format!("2025-{}", 10 + version.min(2)));
                for line in &corrections {
                    let is_nothing = |money: Money| money.minor_units == 0;
                    prop_assert!(!(is_nothing(line.money) && line.billed.as_ref().is_none_or(|billed| is_nothing(billed.money))));
                }
                all.extend(corrections);
                let own: Vec<PostedLine> = all.iter().filter(|line| line.month == month("2025-10")).cloned().collect();
                let (sum, expected) = (sums(own.iter()).expect("sums"), sums(afresh.iter()).expect("sums"));
                for (key, sum) in &sum {
                    prop_assert!(sum.is(expected.get(key)), "{:?}", key);
                }
                prop_assert!(expected.keys().all(|key| sum.contains_key(key) || expected[key].is_nothing()));
            }
        }
    }
}
