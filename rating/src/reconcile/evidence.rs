//! Why a text may mean something: its name, and what its lines come to.
//!
//! Whose texts and figures are compared is deliberately not known here.
//!
//! Invariant: nothing is like nothing: a name without a telling word and a figure of zero are no reasons.

use super::words_of::words_of;
use crate::alike::folded;
use crate::exact::{Exact, display, exact};
use crate::run::CostLine;
use crate::words::words;
use num_traits::{Signed as _, Zero as _};
use std::collections::BTreeMap;

words! {
    /// Why a text may mean something, the strongest first.
    pub enum Reason {
        Name = "name",
        Amount = "amount",
        Quantity = "quantity",
        /// One unit costs the same.
        Price = "price",
        /// Nothing else is left on either side.
        Left = "left",
    }
}

words! {
    pub enum Sure {
        High = "high",
        Medium = "medium",
        Low = "low",
    }
}

/// What one side of a comparison comes to.
#[derive(Default)]
pub(super) struct Side {
    pub amount: Exact,
    pub quantity: Exact,
}

impl Side {
    pub fn add(&mut self, line: &CostLine) {
        self.amount += exact(line.amount);
        self.quantity += &line.exact_quantity;
    }
}

/// A text beside one thing that it may mean.
pub(super) struct Candidate {
    pub place: usize,
    pub reasons: Vec<(Reason, String)>,
    /// Whether the text is the thing's very name.
    pub is_the_name: bool,
}

/// What of a SKU's figures says something beside its amount.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    pub quantity: bool,
    pub price: bool,
}

/// A text and what is said beside it, as names are compared with it.
pub(super) struct Said {
    folded: Vec<String>,
    /// A word of it for each thing that the word tells apart.
    tells: BTreeMap<usize, String>,
}

impl Said {
    pub fn new(texts: &[&str], telling: &BTreeMap<&str, usize>) -> Self {
        let mut tells = BTreeMap::new();
        for word in words_of(texts.iter().copied()) {
            if let Some(place) = telling.get(word.as_str()) {
                tells.entry(*place).or_insert(word);
            }
        }
        Self { folded: texts.iter().map(|text| folded(text)).collect(), tells }
    }
}

/// The reasons that names give, where the thing at a place is called by its id and its name.
pub(super) fn by_name(said: &Said, [id, name]: [&str; 2], place: usize) -> Candidate {
    let is_the_name = [id, name].iter().any(|called| said.folded.contains(&folded(called)));
    let why = match (is_the_name, said.tells.get(&place)) {
        (true, _) => Some(format!("it is called {name}")),
        (false, Some(word)) => Some(format!("{word:?} is in the name of {id} alone")),
        (false, None) => None,
    };
    let reasons = why.map(|why| (Reason::Name, why)).into_iter().collect();
    Candidate { place, reasons, is_the_name }
}

/// The reasons that figures give; nothing is like nothing.
pub(super) fn by_figures(
    candidate: &mut Candidate,
    invoice: &Side,
    ledger: &Side,
    near: &Exact,
    counts: Counted,
) {
    let is_near = |one: &Exact, other: &Exact| (one - other).abs() <= *near;
    if !invoice.amount.is_zero() && !ledger.amount.is_zero() && is_near(&invoice.amount, &ledger.amount) {
        let amount = display(&ledger.amount);
        candidate.reasons.push((Reason::Amount, format!("the ledger expects {amount} of it")));
    }
    let [asked, known] = [&invoice.quantity, &ledger.quantity];
    if !counts.quantity || !asked.is_positive() || !known.is_positive() {
        return;
    }
    let millionth = Exact::new(1.into(), 1_000_000.into());
    if (asked - known).abs() <= known * millionth {
        candidate.reasons.push((Reason::Quantity, format!("the ledger has {} of it", display(known))));
    } else if counts.price
        && ledger.amount.is_positive()
        && is_near(&(&ledger.amount / known * asked), &invoice.amount)
    {
        candidate.reasons.push((Reason::Price, "one unit costs what it costs in the ledger".to_owned()));
    }
}

/// The candidate with the most reasons, of equally many the strongest, and how sure that is.
pub(super) fn best(candidates: Vec<Candidate>) -> Option<(Candidate, Sure)> {
    let mut candidates: Vec<Candidate> =
        candidates.into_iter().filter(|candidate| !candidate.reasons.is_empty()).collect();
    let rank = |candidate: &Candidate| (candidate.is_the_name, candidate.reasons.len());
    candidates.sort_by(|one, other| {
        let strongest = |candidate: &Candidate| candidate.reasons.first().map(|(reason, _)| *reason);
        rank(other).cmp(&rank(one)).then_with(|| strongest(one).cmp(&strongest(other)))
    });
    let mut candidates = candidates.into_iter();
    let best = candidates.next()?;
    let is_tied = candidates.next().is_some_and(|second| rank(&second) == rank(&best));
    let sure = match (is_tied, best.is_the_name, best.reasons.len()) {
        (true, ..) => Sure::Low,
        (false, true, _) | (false, false, 2..) => Sure::High,
        (false, false, _) => Sure::Medium,
    };
    Some((best, sure))
}

#[cfg(test)]
mod tests {
    use super::super::words_of::telling;
    use super::*;

    fn number(numerator: i64, denominator: i64) -> Exact {
        Exact::new(numerator.into(), denominator.into())
    }

    /// The reasons that amounts and quantities give, the invoice's first; a cent is near.
    fn reasons(invoice: [i64; 2], ledger: [i64; 2], counts: [bool; 2]) -> String {
        let side =
            |[amount, quantity]: [i64; 2]| Side { amount: number(amount, 1), quantity: number(quantity, 1) };
        let mut candidate = Candidate { place: 0, reasons: Vec::new(), is_the_name: false };
        let [quantity, price] = counts;
        by_figures(
            &mut candidate,
            &side(invoice),
            &side(ledger),
            &number(1, 100),
            Counted { quantity, price },
        );
        candidate.reasons.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn figures_are_reasons_where_they_are_something() {
        let both = [true, true];
        assert_eq!(reasons([55, 120], [55, 120], both), "amount quantity");
        assert_eq!(reasons([55, 100], [60, 100], both), "quantity");
        assert_eq!(reasons([6, 12], [5, 10], both), "price");
        assert_eq!(reasons([6, 12], [5, 10], [true, false]), "");
        assert_eq!(reasons([55, 120], [55, 120], [false, false]), "amount");
        assert_eq!(reasons([7, 12], [5, 10], both), "");
        assert_eq!(reasons([0, 0], [0, 0], both), "", "nothing is like nothing");
    }

    #[test]
    fn the_thing_with_the_most_reasons_is_proposed() {
        let reason = |reason| (reason, String::new());
        let candidate = |place, reasons: &[Reason], is_the_name| Candidate {
            place,
            reasons: reasons.iter().copied().map(reason).collect(),
            is_the_name,
        };
        let found = |candidates: Vec<Candidate>| best(candidates).map(|(best, sure)| (best.place, sure));
        let (name, amount) = (Reason::Name, Reason::Amount);
        assert_eq!(found(vec![candidate(0, &[], false)]), None);
        assert_eq!(found(vec![candidate(0, &[amount], false)]), Some((0, Sure::Medium)));
        assert_eq!(found(vec![candidate(0, &[name], true)]), Some((0, Sure::High)));
        assert_eq!(
            found(vec![candidate(0, &[name], false), candidate(1, &[amount, Reason::Quantity], false)]),
            Some((1, Sure::High))
        );
        // One has the name and the other costs the same: the name is stronger, and neither is sure.
        assert_eq!(
            found(vec![candidate(0, &[amount], false), candidate(1, &[name], false)]),
            Some((1, Sure::Low))
        );
    }

    #[test]
    fn a_name_is_a_reason_where_it_tells_apart() {
        let names = [words_of(["ST-HOT", "Hot storage"]), words_of(["ST-COLD", "Cold storage"])];
        let telling = telling(&names);
        let of = |text: &str| by_name(&Said::new(&[text], &telling), ["ST-HOT", "Hot storage"], 0);
        assert!(of("hot_storage").is_the_name && of("st hot").is_the_name);
        assert_eq!(of("TimedStorage-Hot").reasons.len(), 1);
        assert_eq!(of("TimedStorage").reasons.len(), 0, "both have that word");
        assert_eq!(of("cold-hours").reasons.len(), 0, "it tells the other");
    }
}
