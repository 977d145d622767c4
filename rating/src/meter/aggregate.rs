//! From contributions to quantities.
//!
//! What counts is gathered for each place (a customer, a subject, and where the rules tell them apart
//! a resource), each window and each value of the dimension of which the greatest counts. That is the
//! finest of all divisions, so every quantity is made of it: of all, of a customer by itself, of a
//! (customer, subject) by itself. In this order: the value of each window of a scope, the greater, one
//! value of all windows, scopes added up. The factor to the priced unit comes before the increment.
//!
//! How an increment rounds, and what a quantity costs, is deliberately not known here.
//!
//! Invariant: neither the order of what is gathered, nor gathering it in parts, changes a quantity.

use super::cell::Cell;
use super::rules::{AtWord, Empty, Over, Per, Rules};
use super::series::{Counted, Labels};
use super::sum::{By, Ratio, Sum};
use super::windows::Windows;
use crate::exact::Exact;
use num_bigint::BigInt;
use num_traits::Zero;
use schemas::id::{CustomerId, Subject};
use schemas::time::Period;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// Whose usage it is, and of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// By binding; usage without one weighs as one customer's would.
    pub customer: Option<CustomerId>,
    pub subject: Subject,
    pub resource: Labels,
}

/// Everything within which values become one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Account,
    Customer(Option<CustomerId>),
    Subject(Subject),
    Resource(Subject, Labels),
}

impl Scope {
    fn of(per: Per, place: &Place) -> Self {
        match per {
            Per::Account => Self::Account,
            Per::Customer => Self::Customer(place.customer.clone()),
            Per::Subject => Self::Subject(place.subject.clone()),
            Per::Resource => Self::Resource(place.subject.clone(), place.resource.clone()),
        }
    }
}

/// Of whose usage a quantity is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    Everybody,
    /// Of one customer as if nobody else used anything; `None`: of nobody's usage.
    Only(Option<&'a CustomerId>),
}

/// From the meter's unit to what a price counts.
#[derive(Clone, Copy)]
pub struct Scale<'a> {
    /// Above zero.
    pub factor: &'a Exact,
    /// In the priced unit. It never makes a larger quantity the smaller one.
    pub increment: Option<&'a dyn Fn(&Exact) -> Exact>,
}

impl Scale<'_> {
    fn increment(&self, value: &Exact) -> Exact {
        self.increment.map_or_else(|| value.clone(), |increment| increment(value))
    }
}

/// A quantity in the priced unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Before the increment.
    pub metered: Exact,
    /// After it: what the price sees.
    pub incremented: Exact,
}

impl Measured {
    fn zero() -> Self {
        Self { metered: Exact::zero(), incremented: Exact::zero() }
    }

    fn add(&mut self, other: Self) {
        self.metered += other.metered;
        self.incremented += other.incremented;
    }
}

/// The value of a window in which something counts. The two differ only where the increment rounds
/// the values of windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    pub window: Period,
    pub value: Measured,
}

/// How the quantity of a scope comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    pub scope: Scope,
    pub value: Measured,
    /// Those in which something counts, in the order of time. Where the greatest of the period counts,
    /// only those of it.
    pub windows: Vec<Figure>,
    /// How many windows there are, with those in which nothing counts.
    pub in_all: u64,
}

/// The aggregate of a (customer, subject) over its events alone, in the priced unit, without
/// increments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own<'a> {
    pub customer: Option<&'a CustomerId>,
    pub subject: &'a Subject,
    pub quantity: Exact,
}

/// What counts by one meter in one stretch of time that has one price.
#[derive(Debug, Clone)]
pub struct Gathered<'a> {
    rules: &'a Rules,
    windows: &'a Windows,
    places: BTreeMap<Place, Cells>,
}

/// By window, and the value of the dimension of which the greatest counts.
type Cells = BTreeMap<(Period, Option<Arc<str>>), Cell>;

impl<'a> Gathered<'a> {
    pub fn new(rules: &'a Rules, windows: &'a Windows) -> Self {
        Self { rules, windows, places: BTreeMap::new() }
    }

    /// Where contributions of one series go, as long as it is of one place. Asked for where something
    /// counts: from then on the place shares, if only with a weight of 0.
    pub fn run(&mut self, mut place: Place, dimensions: &Labels) -> Run<'_> {
        if self.rules.per != Per::Resource {
            place.resource = Labels::default();
        }
        let value = |name: &str| dimensions.get(name).map(Arc::from);
        Run {
            greater: self.rules.greater_of.as_ref().and_then(|greater| value(&greater.dimension)),
            distinct: self.rules.values.distinct().and_then(value),
            rules: self.rules,
            windows: self.windows,
            cells: self.places.entry(place).or_default(),
            current: None,
        }
    }

    /// Takes in what was gathered elsewhere, by the same rules in the same stretch.
    pub fn merge(&mut self, other: Self) {
        for (place, cells) in other.places {
            match self.places.entry(place) {
                Entry::Vacant(entry) => {
                    entry.insert(cells);
                }
                Entry::Occupied(entry) => merge(entry.into_mut(), &cells),
            }
        }
    }

    /// Whether nothing counts.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The scopes of some usage, added up.
    pub fn total(&self, whose: Whose<'_>, scale: Scale<'_>) -> Measured {
        self.total_of(self.places_of(whose), scale)
    }

    /// Every customer by itself, with its own increments; usage without a customer is one of them.
    pub fn by_customer(&self, scale: Scale<'_>) -> Vec<(Option<&CustomerId>, Measured)> {
        let places: Vec<_> = self.places.iter().collect();
        places
            .chunk_by(|(one, _), (other, _)| one.customer == other.customer)
            .filter_map(|places| {
                let (place, _) = places.first()?;
                Some((place.customer.as_ref(), self.total_of(places.iter().copied(), scale)))
            })
            .collect()
    }

    /// Every (customer, subject) by itself.
    pub fn own(&self, factor: &Exact) -> Vec<Own<'_>> {
        let scale = Scale { factor, increment: None };
        let places: Vec<_> = self.places.iter().collect();
        places
            .chunk_by(|(one, _), (other, _)| {
                (&one.customer, &one.subject) == (&other.customer, &other.subject)
            })
            .filter_map(|places| {
                let (Place { customer, subject, .. }, _) = places.first()?;
                let quantity = self.total_of(places.iter().copied(), scale).metered;
                Some(Own { customer: customer.as_ref(), subject, quantity })
            })
            .collect()
    }

    /// Every scope of some usage, with its windows.
    pub fn explain(&self, whose: Whose<'_>, scale: Scale<'_>) -> Vec<Explained> {
        let scopes = self.scopes(self.places_of(whose));
        scopes
            .into_iter()
            .map(|(scope, cells)| Explained {
                scope,
                value: self.measure(&cells, scale),
                windows: self.figures(&cells, scale),
                in_all: self.windows.count(),
            })
            .collect()
    }

    /// The windows in which something counts, each added up over the scopes of some usage.
    pub fn figures_of(&self, whose: Whose<'_>, scale: Scale<'_>) -> Vec<Figure> {
        let mut windows: BTreeMap<Period, Measured> = BTreeMap::new();
        for cells in self.scopes(self.places_of(whose)).values() {
            for Figure { window, value } in self.figures(cells, scale) {
                windows.entry(window).or_insert_with(Measured::zero).add(value);
            }
        }
        windows.into_iter().map(|(window, value)| Figure { window, value }).collect()
    }

    fn places_of(&self, whose: Whose<'_>) -> impl Iterator<Item = (&Place, &Cells)> {
        self.places.iter().filter(move |(place, _)| match whose {
            Whose::Everybody => true,
            Whose::Only(customer) => place.customer.as_ref() == customer,
        })
    }

    fn total_of<'s>(
        &self,
        places: impl Iterator<Item = (&'s Place, &'s Cells)>,
        scale: Scale<'_>,
    ) -> Measured {
        let mut total = Measured::zero();
        for cells in self.scopes(places).values() {
            total.add(self.measure(cells, scale));
        }
        total
    }

    /// Each scope's cells, copied only where a scope has several places.
    fn scopes<'s>(
        &self,
        places: impl Iterator<Item = (&'s Place, &'s Cells)>,
    ) -> BTreeMap<Scope, Cow<'s, Cells>> {
        let mut scopes = BTreeMap::new();
        for (place, cells) in places {
            match scopes.entry(Scope::of(self.rules.per, place)) {
                Entry::Vacant(entry) => {
                    entry.insert(Cow::Borrowed(cells));
                }
                Entry::Occupied(mut entry) => merge(entry.get_mut().to_mut(), cells),
            }
        }
        scopes
    }

    /// The quantity of a scope.
    fn measure(&self, cells: &Cells, scale: Scale<'_>) -> Measured {
        if self.rules.increments_windows() && scale.increment.is_some() {
            let mut total = Measured::zero();
            for figure in self.figures(cells, scale) {
                total.add(figure.value);
            }
            return total;
        }
        let metered = self.quantity(cells) * scale.factor;
        Measured { incremented: scale.increment(&metered), metered }
    }

    /// In the unit of the meter's result.
    fn quantity(&self, cells: &Cells) -> Exact {
        match self.greatest_at() {
            None => self.over(cells.iter().map(|((window, _), cell)| self.value(*window, cell))),
            Some(AtWord::Window) => {
                self.over_exact(self.greatest_of_windows(cells).into_iter().map(|(_, value)| value).collect())
            }
            Some(AtWord::Period) => self.greatest_of_period(cells).0,
        }
    }

    fn figures(&self, cells: &Cells, scale: Scale<'_>) -> Vec<Figure> {
        let values = match self.greatest_at() {
            None | Some(AtWord::Window) => self.greatest_of_windows(cells),
            Some(AtWord::Period) => {
                let windows = self.greatest_of_period(cells).1;
                windows.into_iter().map(|(window, cell)| (window, self.value(window, cell).exact())).collect()
            }
        };
        values
            .into_iter()
            .map(|(window, value)| {
                let metered = value * scale.factor;
                let incremented =
                    if self.rules.increments_windows() { scale.increment(&metered) } else { metered.clone() };
                Figure { window, value: Measured { metered, incremented } }
            })
            .collect()
    }

    fn greatest_at(&self) -> Option<AtWord> {
        self.rules.greater_of.as_ref().map(|greater| greater.at)
    }

    fn value(&self, window: Period, cell: &Cell) -> Ratio {
        cell.value(&self.rules.values, window)
    }

    /// The greatest value of each window in which something counts, in the order of time.
    fn greatest_of_windows(&self, cells: &Cells) -> Vec<(Period, Exact)> {
        let mut greatest: Vec<(Period, Exact)> = Vec::new();
        for ((window, _), cell) in cells {
            let value = self.value(*window, cell).exact();
            match greatest.last_mut() {
                Some((last, greatest)) if last == window => {
                    if value > *greatest {
                        *greatest = value;
                    }
                }
                _ => greatest.push((*window, value)),
            }
        }
        greatest
    }

    /// The greatest that a value of the dimension comes to, and the windows of that value: of several
    /// that are as great, the first.
    fn greatest_of_period<'c>(&self, cells: &'c Cells) -> (Exact, Vec<(Period, &'c Cell)>) {
        let mut groups: BTreeMap<Option<&str>, Vec<(Period, &Cell)>> = BTreeMap::new();
        for ((window, value), cell) in cells {
            groups.entry(value.as_deref()).or_default().push((*window, cell));
        }
        let mut greatest = (Exact::zero(), Vec::new());
        for windows in groups.into_values() {
            let quantity = self.over(windows.iter().map(|(window, cell)| self.value(*window, cell)));
            if greatest.1.is_empty() || quantity > greatest.0 {
                greatest = (quantity, windows);
            }
        }
        greatest
    }

    /// One value of those of windows. A sum is added up before it becomes a ratio: windows may be many.
    fn over(&self, values: impl Iterator<Item = Ratio>) -> Exact {
        if self.rules.over() != Over::Sum {
            return self.over_exact(values.map(|value| value.exact()).collect());
        }
        let mut sums: BTreeMap<By, Sum> = BTreeMap::new();
        for Ratio { sum, by } in values {
            sums.entry(by).or_default().merge(&sum);
        }
        sums.into_iter().map(|(by, sum)| Ratio { sum, by }.exact()).sum()
    }

    /// One value of those of the windows in which something counts.
    fn over_exact(&self, mut values: Vec<Exact>) -> Exact {
        let counted = u64::try_from(values.len()).expect("what is in memory can be counted");
        let windows = |empty| match empty {
            Empty::Zero => self.windows.count(),
            Empty::Skip => counted,
        };
        match self.rules.over() {
            Over::Sum => values.iter().sum(),
            Over::Max => values.into_iter().max().unwrap_or_else(Exact::zero),
            Over::Min { empty } if windows(empty) > counted => Exact::zero(),
            Over::Min { .. } => values.into_iter().min().unwrap_or_else(Exact::zero),
            Over::Average { empty } => match windows(empty) {
                0 => Exact::zero(),
                windows => values.iter().sum::<Exact>() / BigInt::from(windows),
            },
            Over::Percentile { percentile, empty } => {
                // Values are never negative, so windows that are worth 0 are the lowest.
                let dropped = usize::try_from(percentile.dropped(windows(empty))).unwrap_or(usize::MAX);
                if dropped >= values.len() {
                    return Exact::zero();
                }
                let (_, highest_left, _) =
                    values.select_nth_unstable_by(dropped, |one, other| other.cmp(one));
                highest_left.clone()
            }
        }
    }
}

fn merge(into: &mut Cells, cells: &Cells) {
    for (key, cell) in cells {
        match into.get_mut(key) {
            Some(into) => into.merge(cell),
            None => {
                into.insert(key.clone(), cell.clone());
            }
        }
    }
}

/// Contributions of one series in one place.
#[derive(Debug)]
pub struct Run<'g> {
    rules: &'g Rules,
    windows: &'g Windows,
    greater: Option<Arc<str>>,
    distinct: Option<Arc<str>>,
    cells: &'g mut Cells,
    /// Values that follow one another are mostly of one window, which is looked up once.
    current: Option<(Period, Cell)>,
}

impl Run<'_> {
    /// Gathers a contribution that lies in the stretch.
    ///
    /// # Panics
    /// Where it does not, and where it is none of such a meter.
    pub fn add(&mut self, counted: Counted) {
        match counted {
            Counted::At { time, order, value } => match &mut self.current {
                Some((window, cell)) if window.contains(time) && self.windows.span().contains(time) => {
                    cell.add(time, order, value, self.distinct.as_ref());
                }
                _ => {
                    let cell = Cell::first(&self.rules.values, time, order, value, self.distinct.as_ref());
                    self.begin(self.windows.window_of(time), cell);
                }
            },
            Counted::During { time, value } => {
                let span = self.windows.span();
                assert!(span.start() <= time.start() && time.end() <= span.end(), "{time} is not in {span}");
                let mut rest = Some(time);
                while let Some(time) = rest {
                    let window = match &self.current {
                        Some((window, _)) if window.contains(time.start()) => *window,
                        _ => self.windows.window_of(time.start()),
                    };
                    let until = window.end().min(time.end());
                    let micros = until.micros() - time.start().micros();
                    match &mut self.current {
                        Some((current, cell)) if *current == window => cell.hold(value, micros),
                        _ => self.begin(window, Cell::held(value, micros)),
                    }
                    rest = Period::new(until, time.end());
                }
            }
        }
    }

    fn begin(&mut self, window: Period, cell: Cell) {
        self.flush();
        self.current = Some((window, cell));
    }

    fn flush(&mut self) {
        let Some((window, cell)) = self.current.take() else { return };
        match self.cells.entry((window, self.greater.clone())) {
            Entry::Vacant(entry) => {
                entry.insert(cell);
            }
            Entry::Occupied(entry) => entry.into_mut().merge(&cell),
        }
    }
}

/// What is held back for one window is gathered, too.
impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::{
        Aggregation, Carry, GreaterOf, OfAmounts, OfIncreases, Percentile, Values, WindowLength, Windowing,
    };
    use super::super::series::LedgerOrder;
    use super::*;
    use num_traits::One;
    use proptest::prelude::*;
    use schemas::decimal::{Quantity, QuantityTotal};
    use schemas::time::{Instant, time_zone};

    /// Two days of Lisbon, of which the second has 25 hours.
    const START: &str = "2025-10-24T23:00:00Z";
    const MINUTES: i64 = 49 * 60;

    /// Minutes after the beginning.
    fn at(minutes: i64) -> Instant {
        let start = Instant::parse_rfc3339(START).expect("an instant");
        Instant::from_micros(start.micros() + minutes * 60_000_000).expect("an instant")
    }

    fn span(from: i64, until: i64) -> Period {
        Period::new(at(from), at(until)).expect("a period")
    }

    fn windows_of(rules: &Rules, span: Period) -> Windows {
        let zone = time_zone("Europe/Lisbon").expect("a zone");
        Windows::new(span, rules.windows.map(|windows| windows.length), &zone)
    }

    fn quantity(units: i128) -> Quantity {
        Quantity::from_units(units).expect("a quantity")
    }

    fn number(numerator: i64, denominator: i64) -> Exact {
        Exact::new(numerator.into(), denominator.into())
    }

    /// What counts, with its place and its dimensions.
    type Usage = (Place, Labels, Counted);

    fn gather<'a>(rules: &'a Rules, windows: &'a Windows, usage: &[Usage]) -> Gathered<'a> {
        let mut gathered = Gathered::new(rules, windows);
        // What follows one another in one place is one run.
        for run in usage.chunk_by(|one, other| (&one.0, &one.1) == (&other.0, &other.1)) {
            let Some((place, labels, _)) = run.first() else { continue };
            let mut gathering = gathered.run(place.clone(), labels);
            for (_, _, counted) in run {
                gathering.add(*counted);
            }
        }
        gathered
    }

    /// The rules again, from the text of the contract, without a thought for memory or time.
    fn naive(rules: &Rules, windows: &Windows, usage: &[Usage], scale: Scale<'_>) -> Measured {
        let mut scopes: BTreeMap<Scope, Vec<&Usage>> = BTreeMap::new();
        for used in usage {
            scopes.entry(Scope::of(rules.per, &used.0)).or_default().push(used);
        }
        let mut total = Measured::zero();
        for usage in scopes.values() {
            total.add(naive_scope(rules, windows, usage, scale));
        }
        total
    }

    fn naive_scope(rules: &Rules, windows: &Windows, usage: &[&Usage], scale: Scale<'_>) -> Measured {
        let value_of = |used: &Usage| match &rules.greater_of {
            Some(greater) => used.1.get(&greater.dimension).map(str::to_owned),
            None => None,
        };
        let mut apart: BTreeMap<Option<String>, Vec<&Usage>> = BTreeMap::new();
        for used in usage {
            apart.entry(value_of(used)).or_default().push(used);
        }
        let mut all = vec![windows.window_of(windows.span().start())];
        while let Some(last) = all.last()
            && last.end() < windows.span().end()
        {
            all.push(windows.window_of(last.end()));
        }
        let greatest = |values: Vec<Option<Exact>>| values.into_iter().flatten().max();
        let increment = |value: &Exact| scale.increment.map_or(value.clone(), |increment| increment(value));
        let by_period = rules.greater_of.as_ref().is_some_and(|greater| greater.at == AtWord::Period);
        if by_period {
            let over = apart.values().map(|usage| {
                let values = all.iter().map(|window| naive_window(rules, *window, usage)).collect();
                naive_over(rules, values)
            });
            let metered = over.max().unwrap_or_else(Exact::zero) * scale.factor;
            return Measured { incremented: increment(&metered), metered };
        }
        let values: Vec<Option<Exact>> = all
            .iter()
            .map(|window| greatest(apart.values().map(|usage| naive_window(rules, *window, usage)).collect()))
            .collect();
        let metered = naive_over(rules, values.clone()) * scale.factor;
        let incremented = match rules.over() {
            Over::Sum => values.iter().flatten().map(|value| increment(&(value * scale.factor))).sum(),
            _ => increment(&metered),
        };
        Measured { metered, incremented }
    }

    fn naive_over(rules: &Rules, values: Vec<Option<Exact>>) -> Exact {
        let with = |empty: Empty| -> Vec<Exact> {
            let values = values.iter().cloned();
            match empty {
                Empty::Zero => values.map(|value| value.unwrap_or_else(Exact::zero)).collect(),
                Empty::Skip => values.flatten().collect(),
            }
        };
        match rules.over() {
            Over::Sum => values.into_iter().flatten().sum(),
            Over::Max => with(Empty::Zero).into_iter().max().unwrap_or_else(Exact::zero),
            Over::Min { empty } => with(empty).into_iter().min().unwrap_or_else(Exact::zero),
            Over::Average { empty } => {
                let values = with(empty);
                let count = BigInt::from(values.len().max(1));
                values.into_iter().sum::<Exact>() / count
            }
            Over::Percentile { percentile, empty } => {
                let mut values = with(empty);
                values.sort();
                let hundred = number(100, 1);
                let part = (&hundred - crate::exact::exact(percentile.get())) / &hundred;
                let drop = (part * BigInt::from(values.len())).floor();
                let mut dropped = Exact::zero();
                while dropped < drop {
                    values.pop();
                    dropped += Exact::one();
                }
                values.pop().unwrap_or_else(Exact::zero)
            }
        }
    }

    /// `None` where nothing counts.
    fn naive_window(rules: &Rules, window: Period, usage: &[&Usage]) -> Option<Exact> {
        let micros = |time: Period| time.end().micros() - time.start().micros();
        let units = |value: Quantity| Exact::new(value.units().into(), 1_000_000_000.into());
        let mut integral = None;
        let mut values = Vec::new();
        for (_, labels, counted) in usage {
            match counted {
                Counted::At { time, order, value } if window.contains(*time) => {
                    values.push((*time, *order, units(*value), labels));
                }
                Counted::At { .. } => {}
                Counted::During { time, value } => {
                    let within = Period::new(time.start().max(window.start()), time.end().min(window.end()));
                    if let Some(within) = within {
                        let piece = units(*value) * number(micros(within), 1_000_000);
                        *integral.get_or_insert_with(Exact::zero) += piece;
                    }
                }
            }
        }
        if integral.is_some() {
            return integral;
        }
        values.sort_by_key(|(time, order, _, _)| (*time, *order));
        let count = BigInt::from(values.len());
        let only: Vec<Exact> = values.iter().map(|(_, _, value, _)| value.clone()).collect();
        let (last, sum) = (only.last()?, only.iter().sum::<Exact>());
        match &rules.values {
            Values::Amounts(OfAmounts::Count) => Some(Exact::from_integer(count)),
            Values::Amounts(OfAmounts::Latest) => Some(last.clone()),
            Values::Amounts(OfAmounts::Unique { distinct }) => {
                let mut seen: Vec<&str> =
                    values.iter().filter_map(|(_, _, _, labels)| labels.get(distinct)).collect();
                seen.sort();
                seen.dedup();
                Some(Exact::from_integer(seen.len().into()))
            }
            Values::Amounts(OfAmounts::Sum) | Values::Counter { of: OfIncreases::Sum, .. } => Some(sum),
            Values::Amounts(OfAmounts::Max) | Values::Counter { of: OfIncreases::Max, .. } => {
                only.into_iter().max()
            }
            Values::Amounts(OfAmounts::Min) | Values::Counter { of: OfIncreases::Min, .. } => {
                only.into_iter().min()
            }
            Values::Amounts(OfAmounts::Average) | Values::Counter { of: OfIncreases::Average, .. } => {
                Some(sum / count)
            }
            Values::Amounts(OfAmounts::Rate) | Values::Counter { of: OfIncreases::Rate, .. } => {
                Some(sum / number(micros(window), 1_000_000))
            }
            Values::Level { .. } => None,
        }
    }

    fn values() -> impl Strategy<Value = Values> {
        let carry = Carry::from_micros(1).expect("a carry");
        prop_oneof![
            prop::sample::select(vec![
                OfAmounts::Sum,
                OfAmounts::Count,
                OfAmounts::Max,
                OfAmounts::Min,
                OfAmounts::Average,
                OfAmounts::Latest,
                OfAmounts::Unique { distinct: "d".into() },
                OfAmounts::Rate,
            ])
            .prop_map(Values::Amounts),
            prop::sample::select(vec![
                OfIncreases::Sum,
                OfIncreases::Max,
                OfIncreases::Min,
                OfIncreases::Average,
                OfIncreases::Rate,
            ])
            .prop_map(move |of| Values::Counter { carry, of }),
            Just(Values::Level { carry }),
        ]
    }

    fn rules() -> impl Strategy<Value = Rules> {
        let empty = || prop::sample::select(Empty::ALL.to_vec());
        let percentile = (1..=1_000i128).prop_map(|tenths| {
            let percent = QuantityTotal::from_units(tenths * 100_000_000).expect("a number");
            Percentile::new(percent).expect("a percentile")
        });
        let over = prop_oneof![
            Just(Over::Sum),
            Just(Over::Max),
            empty().prop_map(|empty| Over::Min { empty }),
            empty().prop_map(|empty| Over::Average { empty }),
            (percentile, empty()).prop_map(|(percentile, empty)| Over::Percentile { percentile, empty }),
        ];
        let length = prop::sample::select(vec!["90 min", "2 h", "12 h", "1 d"])
            .prop_map(|length| WindowLength::parse(length).expect("a length"));
        let windows = (length, over).prop_map(|(length, over)| Windowing { length, over });
        let greater =
            prop::sample::select(AtWord::ALL.to_vec()).prop_map(|at| GreaterOf { dimension: "g".into(), at });
        (
            values(),
            prop::option::weighted(0.8, windows),
            prop::option::of(greater),
            prop::sample::select(Per::ALL.to_vec()),
        )
            .prop_map(|(values, windows, greater_of, per)| Rules {
                values,
                windows,
                greater_of,
                per,
            })
    }

    fn place() -> impl Strategy<Value = Place> {
        let customer = prop::option::of(prop::sample::select(vec!["acme", "birch"]));
        (customer, 0..3usize, 0..2usize).prop_map(|(customer, subject, resource)| Place {
            customer: customer.map(|customer| CustomerId::new(customer).expect("a name")),
            subject: Subject::new(["a1", "b1", "c1"][subject]).expect("a name"),
            resource: [("vm", ["one", "two"][resource])].into_iter().collect(),
        })
    }

    /// What counts by such rules; no two samples stand at the same place of the ledger.
    fn usage(rules: &Rules) -> impl Strategy<Value = Vec<Usage>> + use<> {
        let level = matches!(rules.values, Values::Level { .. });
        let labels =
            (prop::option::of(0..3usize), prop::option::of(0..2usize)).prop_map(|(distinct, greater)| {
                let distinct = distinct.map(|value| ("d", ["x", "y", "z"][value]));
                let greater = greater.map(|value| ("g", ["in", "out"][value]));
                distinct.into_iter().chain(greater).collect::<Labels>()
            });
        let value = prop_oneof![4 => 0..20_000_000_000i128, 1 => 0..10i128.pow(28)];
        let used = (place(), labels, 0..MINUTES, 1..400i64, value);
        prop::collection::vec(used, 0..40).prop_map(move |used| {
            (0..)
                .zip(used)
                .map(|(order, (place, labels, from, minutes, value))| {
                    let value = quantity(value);
                    let counted = if level {
                        Counted::During { time: span(from, (from + minutes).min(MINUTES)), value }
                    } else {
                        Counted::At { time: at(from), order: LedgerOrder::nth(order), value }
                    };
                    (place, labels, counted)
                })
                .collect()
        })
    }

    fn case() -> impl Strategy<Value = (Rules, Vec<Usage>)> {
        rules().prop_flat_map(|rules| {
            let usage = usage(&rules);
            (Just(rules), usage)
        })
    }

    fn whole_threes(value: &Exact) -> Exact {
        (value / number(3, 1)).ceil() * number(3, 1)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn quantities_are_those_of_the_contract((rules, usage) in case(), rounded in any::<bool>()) {
            let windows = windows_of(&rules, span(0, MINUTES));
            let gathered = gather(&rules, &windows, &usage);
            let factor = number(1, 7);
            let increment: Option<&dyn Fn(&Exact) -> Exact> = if rounded { Some(&whole_threes) } else { None };
            let scale = Scale { factor: &factor, increment };
            let total = gathered.total(Whose::Everybody, scale);
            prop_assert_eq!(&total, &naive(&rules, &windows, &usage, scale));
            // Explanations add up to it.
            let mut explained = Measured::zero();
            for scope in gathered.explain(Whose::Everybody, scale) {
                explained.add(scope.value);
            }
            prop_assert_eq!(&explained, &total);
            if rules.over() == Over::Sum {
                let mut figures = Measured::zero();
                for figure in gathered.figures_of(Whose::Everybody, scale) {
                    figures.add(figure.value);
                }
                prop_assert_eq!(&figures.metered, &total.metered);
                prop_assert!(!rules.increments_windows() || figures.incremented == total.incremented);
            }
            // A customer, and a (customer, subject), is as if it were alone.
            let customers = gathered.by_customer(scale);
            for (customer, measured) in &customers {
                let alone: Vec<Usage> =
                    usage.iter().filter(|used| used.0.customer.as_ref() == *customer).cloned().collect();
                prop_assert_eq!(measured, &naive(&rules, &windows, &alone, scale));
                prop_assert_eq!(measured, &gathered.total(Whose::Only(*customer), scale));
            }
            let unrounded = Scale { factor: &factor, increment: None };
            let own = gathered.own(&factor);
            for Own { customer, subject, quantity } in &own {
                let alone: Vec<Usage> = usage
                    .iter()
                    .filter(|used| used.0.customer.as_ref() == *customer && used.0.subject == **subject)
                    .cloned()
                    .collect();
                prop_assert!(!alone.is_empty());
                prop_assert_eq!(quantity, &naive(&rules, &windows, &alone, unrounded).metered);
            }
            let mut there: Vec<_> = usage.iter().map(|used| (used.0.customer.as_ref(), &used.0.subject)).collect();
            there.sort();
            there.dedup();
            prop_assert_eq!(own.iter().map(|own| (own.customer, own.subject)).collect::<Vec<_>>(), there);
        }

        #[test]
        fn order_and_parts_do_not_matter(
            (one, other) in case().prop_flat_map(|(rules, usage)| {
                let shuffled = Just(usage.clone()).prop_shuffle();
                (Just((rules, usage)), shuffled)
            }),
            middle in any::<prop::sample::Index>(),
        ) {
            let (rules, usage) = one;
            let windows = windows_of(&rules, span(0, MINUTES));
            let (first, second) = other.split_at(if other.is_empty() { 0 } else { middle.index(other.len()) });
            let mut merged = gather(&rules, &windows, second);
            merged.merge(gather(&rules, &windows, first));
            let factor = Exact::one();
            let scale = Scale { factor: &factor, increment: Some(&whole_threes) };
            let whole = gather(&rules, &windows, &usage);
            prop_assert_eq!(merged.is_empty(), usage.is_empty());
            prop_assert_eq!(merged.own(&factor), whole.own(&factor));
            prop_assert_eq!(
                merged.explain(Whose::Everybody, scale),
                whole.explain(Whose::Everybody, scale)
            );
        }

        /// Cut at midnight, as prices are.
        #[test]
        fn two_days_are_the_whole_where_quantities_add_up((rules, usage) in case()) {
            let parts_add_up = rules.adds_up_over_days()
                // A rate is of its window; and of two days, another value may be the greater one.
                && (rules.windows.is_some() || rules.values.aggregation() != Aggregation::Rate)
                && rules.greater_of.as_ref().is_none_or(|greater| {
                    greater.at == AtWord::Window && rules.windows.is_some()
                });
            if !parts_add_up {
                return Ok(());
            }
            let midnight = 24 * 60;
            let factor = Exact::one();
            let scale = Scale { factor: &factor, increment: None };
            let mut total = Exact::zero();
            for (from, until) in [(0, midnight), (midnight, MINUTES)] {
                let part = span(from, until);
                let usage: Vec<Usage> = usage
                    .iter()
                    .filter_map(|(place, labels, counted)| {
                        let counted = match *counted {
                            Counted::At { time, .. } => part.contains(time).then_some(*counted)?,
                            Counted::During { time, value } => Counted::During {
                                time: Period::new(time.start().max(part.start()), time.end().min(part.end()))?,
                                value,
                            },
                        };
                        Some((place.clone(), labels.clone(), counted))
                    })
                    .collect();
                let windows = windows_of(&rules, part);
                total += gather(&rules, &windows, &usage).total(Whose::Everybody, scale).metered;
            }
            let windows = windows_of(&rules, span(0, MINUTES));
            prop_assert_eq!(total, gather(&rules, &windows, &usage).total(Whose::Everybody, scale).metered);
        }
    }

    #[test]
    fn who_only_has_events_that_count_none_shares_with_nothing() {
        let rules = Rules {
            values: Values::Amounts(OfAmounts::Unique { distinct: "address".into() }),
            windows: Some(Windowing {
                length: WindowLength::DAY,
                over: Over::Average { empty: Empty::Skip },
            }),
            ..Rules::SUM
        };
        let windows = windows_of(&rules, span(0, MINUTES));
        let mut gathered = Gathered::new(&rules, &windows);
        let subject = Subject::new("d1").expect("a name");
        let place = Place { customer: None, subject, resource: Labels::default() };
        let counted = Counted::At { time: at(1), order: LedgerOrder::nth(1), value: quantity(1) };
        gathered.run(place.clone(), &Labels::default()).add(counted);
        let factor = Exact::one();
        let own = gathered.own(&factor);
        assert_eq!(own.iter().map(|own| own.quantity.clone()).collect::<Vec<_>>(), [Exact::zero()]);
        let scale = Scale { factor: &factor, increment: None };
        // Its window is one of nothing, not one in which nothing is known to count.
        let address = [("address", "192.0.2.1")].into_iter().collect();
        let later = Counted::At { time: at(30 * 60), order: LedgerOrder::nth(2), value: quantity(1) };
        gathered.run(place, &address).add(later);
        assert_eq!(gathered.total(Whose::Everybody, scale).metered, number(1, 2));
    }
}
