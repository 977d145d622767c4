//! What differs in a row, of what is known about it: one decision, in the order of the contract.
//!
//! How a fact is found out is deliberately not known here, nor any amount.
//!
//! Invariant: every combination of facts has one finding, that of the first line which holds.

use super::row::{Class, Verdict};
use schemas::invoice::LineCategory;

/// What is known of a row. What belongs to another kind of row is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub kind: Kind,
    /// A line repeats another of its invoice.
    pub repeats: bool,
    /// Every line has the amount 0.
    pub is_nothing: bool,
    /// The provider's `[pass]` says who bears lines of the category.
    pub is_declared: bool,
    /// The lines are in another currency than the provider's.
    pub is_foreign: bool,
    /// The invoice says what the ledger says, within the tolerance.
    pub agrees: bool,
    /// It says exactly that, or what that settles at.
    pub agrees_exactly: bool,
    /// The version before had lines here, of another sum.
    pub is_restated: bool,
    pub sides: Sides,
    /// The use was in another month than the one that is compared.
    pub is_of_another_month: bool,
    /// No complete invoice of the provider and month is here.
    pub is_awaited: bool,
    /// What the ledger would cost at the invoice's quantity, where that can be said.
    pub priced: Option<Priced>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One line, of a category that no SKU has.
    Line(Apart),
    /// Lines whose text, account or sub account is not mapped.
    Unmapped,
    Sku,
}

/// The categories whose lines stand alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Apart {
    Tax,
    Credit,
    Fee,
    Adjustment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    Both,
    /// Lines, and no cost line.
    Invoice,
    /// Cost lines, and no line.
    Ledger,
}

/// What the ledger costs at the invoice's quantity, within the tolerance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Priced {
    /// As much as at its own quantity.
    pub is_ledger: bool,
    /// As much as the invoice says.
    pub is_invoice: bool,
    /// As much as at the quantity that it has within the dates of the lines, which are not the row's.
    pub is_ledger_of_the_dates: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    Match,
    /// A match in which nothing is exactly the same.
    Rounding,
    Policy(Class),
    Variance(Class),
}

impl Apart {
    pub(super) fn of(category: LineCategory) -> Option<Self> {
        match category {
            LineCategory::Usage => None,
            LineCategory::Tax => Some(Self::Tax),
            LineCategory::Credit => Some(Self::Credit),
            LineCategory::Fee => Some(Self::Fee),
            LineCategory::Adjustment => Some(Self::Adjustment),
        }
    }

    fn class(self) -> Class {
        match self {
            Self::Tax => Class::Tax,
            Self::Credit => Class::Credit,
            Self::Fee => Class::Fee,
            Self::Adjustment => Class::Adjustment,
        }
    }
}

impl Finding {
    pub(super) fn verdict(self) -> Verdict {
        match self {
            Self::Match | Self::Rounding => Verdict::Match,
            Self::Policy(_) => Verdict::Policy,
            Self::Variance(_) => Verdict::Variance,
        }
    }

    pub(super) fn class(self) -> Option<Class> {
        match self {
            Self::Match => None,
            Self::Rounding => Some(Class::Rounding),
            Self::Policy(class) | Self::Variance(class) => Some(class),
        }
    }
}

/// The first line that holds.
#[rustfmt::skip]
pub(super) fn finding(facts: &Facts) -> Finding {
    use Finding::{Match, Policy, Rounding, Variance};
    match *facts {
        Facts { kind: Kind::Line(_), repeats: true, .. } => Variance(Class::Duplicate),
        Facts { kind: Kind::Line(_), is_nothing: true, .. } => Match,
        Facts { kind: Kind::Line(category), is_declared: true, .. } => Policy(category.class()),
        Facts { kind: Kind::Line(category), .. } => Variance(category.class()),
        Facts { kind: Kind::Unmapped, is_nothing: true, .. } => Match,
        Facts { kind: Kind::Unmapped, .. } => Variance(Class::Unmapped),
        Facts { is_foreign: true, .. } => Variance(Class::Currency),
        Facts { agrees: true, agrees_exactly: true, .. } => Match,
        Facts { agrees: true, .. } => Rounding,
        Facts { is_restated: true, .. } => Variance(Class::Restated),
        Facts { repeats: true, .. } => Variance(Class::Duplicate),
        Facts { sides: Sides::Invoice, is_of_another_month: true, .. } => Variance(Class::Timing),
        Facts { sides: Sides::Invoice, .. } => Variance(Class::MissingInLedger),
        Facts { sides: Sides::Ledger, is_awaited: true, .. } => Variance(Class::Awaited),
        Facts { sides: Sides::Ledger, .. } => Variance(Class::MissingOnInvoice),
        Facts { priced: None, .. } => Variance(Class::Amount),
        Facts { priced: Some(Priced { is_ledger: true, .. }), .. } => Variance(Class::Price),
        Facts { priced: Some(Priced { is_invoice: true, is_ledger_of_the_dates: true, .. }), .. } => Variance(Class::Timing),
        Facts { priced: Some(Priced { is_invoice: true, .. }), .. } => Variance(Class::Quantity),
        Facts { .. } => Variance(Class::QuantityAndPrice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's table, line by line: what must hold, and what is then found.
    type Line = (fn(&Facts) -> bool, fn(&Facts) -> (Verdict, Option<Class>));

    const LINES: &[Line] = &[
        (|f| apart(f).is_some() && f.repeats, |_| (Verdict::Variance, Some(Class::Duplicate))),
        (|f| apart(f).is_some() && f.is_nothing, |_| (Verdict::Match, None)),
        (|f| apart(f).is_some() && f.is_declared, |f| (Verdict::Policy, apart(f))),
        (|f| apart(f).is_some(), |f| (Verdict::Variance, apart(f))),
        (|f| f.kind == Kind::Unmapped && f.is_nothing, |_| (Verdict::Match, None)),
        (|f| f.kind == Kind::Unmapped, |_| (Verdict::Variance, Some(Class::Unmapped))),
        (|f| f.is_foreign, |_| (Verdict::Variance, Some(Class::Currency))),
        (|f| f.agrees, |f| (Verdict::Match, (!f.agrees_exactly).then_some(Class::Rounding))),
        (|f| f.is_restated, |_| (Verdict::Variance, Some(Class::Restated))),
        (|f| f.repeats, |_| (Verdict::Variance, Some(Class::Duplicate))),
        (
            |f| f.sides == Sides::Invoice && f.is_of_another_month,
            |_| (Verdict::Variance, Some(Class::Timing)),
        ),
        (|f| f.sides == Sides::Invoice, |_| (Verdict::Variance, Some(Class::MissingInLedger))),
        (|f| f.sides == Sides::Ledger && f.is_awaited, |_| (Verdict::Variance, Some(Class::Awaited))),
        (|f| f.sides == Sides::Ledger, |_| (Verdict::Variance, Some(Class::MissingOnInvoice))),
        (|f| f.priced.is_none(), |_| (Verdict::Variance, Some(Class::Amount))),
        (|f| priced(f).is_ledger, |_| (Verdict::Variance, Some(Class::Price))),
        (
            |f| priced(f).is_invoice && priced(f).is_ledger_of_the_dates,
            |_| (Verdict::Variance, Some(Class::Timing)),
        ),
        (|f| priced(f).is_invoice, |_| (Verdict::Variance, Some(Class::Quantity))),
        (|_| true, |_| (Verdict::Variance, Some(Class::QuantityAndPrice))),
    ];

    fn apart(facts: &Facts) -> Option<Class> {
        match facts.kind {
            Kind::Line(Apart::Tax) => Some(Class::Tax),
            Kind::Line(Apart::Credit) => Some(Class::Credit),
            Kind::Line(Apart::Fee) => Some(Class::Fee),
            Kind::Line(Apart::Adjustment) => Some(Class::Adjustment),
            Kind::Unmapped | Kind::Sku => None,
        }
    }

    fn priced(facts: &Facts) -> Priced {
        facts.priced.expect("an earlier line holds where f cannot be said")
    }

    /// Every combination of facts.
    fn all() -> impl Iterator<Item = Facts> {
        const KINDS: [Kind; 6] = [
            Kind::Line(Apart::Tax),
            Kind::Line(Apart::Credit),
            Kind::Line(Apart::Fee),
            Kind::Line(Apart::Adjustment),
            Kind::Unmapped,
            Kind::Sku,
        ];
        const SIDES: [Sides; 3] = [Sides::Both, Sides::Invoice, Sides::Ledger];
        let bits = 0_u32..1 << 12;
        bits.flat_map(|bits| KINDS.into_iter().flat_map(move |kind| SIDES.map(|sides| (bits, kind, sides))))
            .map(|(bits, kind, sides)| {
                let bit = |place: u32| (bits >> place) & 1 == 1;
                let priced =
                    Priced { is_ledger: bit(9), is_invoice: bit(10), is_ledger_of_the_dates: bit(11) };
                Facts {
                    kind,
                    repeats: bit(0),
                    is_nothing: bit(1),
                    is_declared: bit(2),
                    is_foreign: bit(3),
                    agrees: bit(4),
                    agrees_exactly: bit(5),
                    is_restated: bit(6),
                    sides,
                    is_of_another_month: bit(7),
                    is_awaited: bit(8),
                    priced: Some(priced),
                }
            })
            .flat_map(|facts| [facts, Facts { priced: None, ..facts }])
    }

    #[test]
    fn the_first_line_that_holds_is_what_is_found() {
        let mut held = vec![0_u32; LINES.len()];
        for facts in all() {
            let first = LINES.iter().position(|(holds, _)| holds(&facts)).expect("the last line holds");
            held[first] += 1;
            let found = finding(&facts);
            assert_eq!((found.verdict(), found.class()), LINES[first].1(&facts), "{facts:?}");
        }
        assert!(held.iter().all(|times| *times > 0), "a line that never holds: {held:?}");
    }
}
