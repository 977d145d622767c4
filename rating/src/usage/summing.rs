//! Cells, samples and suspects, summed: usage totals without a look at rows.
//!
//! A month of one kind of usage that nothing cuts is one cell. One that something cuts is its month
//! cell less what lies outside its longest stretch, which is read by days, and on the days that are
//! cut by samples. Which rows count is deliberately not decided here.
//!
//! Invariant: each plain row of the cut between the first and the last of its cuts is in one sum, once.

use super::cuts::{Cuts, interval};
use super::dimension;
use crate::catalog::Catalog;
use crate::error::RatingError;
use derived::totals::{CellKey, KeyNames, Reading, Sum};
use schemas::id::{MeterType, ProviderId, Subject};
use schemas::time::{Day, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// The usage of one subject that nothing tells apart, between two cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    provider: u32,
    meter: u32,
    subject: u32,
    /// The place of the dimensions that some SKU matches on.
    dimensions: usize,
    /// Where its piece begins.
    piece: i64,
}

/// A month of some usage.
#[derive(Debug)]
struct Month {
    /// The longest stretch that nothing cuts.
    main: (i64, i64),
    /// The piece that it belongs to; none where it is in no period.
    piece: Option<i64>,
}

/// How the usage of one meter and provider is cut; of one subject, where a binding cuts it too.
#[derive(Debug)]
struct Plan {
    /// Ascending; pieces lie between them.
    cuts: Vec<i64>,
    months: BTreeMap<Day, Month>,
}

impl Plan {
    /// Adds to `days` those whose cells or samples it takes.
    fn new(cuts: Vec<i64>, months: &BTreeSet<Day>, days: &mut BTreeSet<Day>) -> Self {
        let mut plan = Self { cuts, months: BTreeMap::new() };
        for month in months {
            let (start, end) = (month.start(), month.first_of_next_month().start());
            let inner = plan.cuts.iter().copied().filter(|cut| start < *cut && *cut < end);
            let bounds: Vec<i64> = [start].into_iter().chain(inner).chain([end]).collect();
            let stretches = bounds.windows(2).map(|bounds| (bounds[0], bounds[1]));
            let main = stretches.clone().max_by_key(|(from, until)| until - from).unwrap_or((start, end));
            let piece = plan.piece(main.0);
            for (from, until) in stretches.filter(|stretch| *stretch != main) {
                if piece.is_some() || plan.piece(from).is_some() {
                    let mut day = Day::of(from);
                    while day.start() < until {
                        days.insert(day);
                        day = day.next();
                    }
                }
            }
            plan.months.insert(*month, Month { main, piece });
        }
        plan
    }

    /// The beginning of the piece that holds an instant.
    fn piece(&self, at: i64) -> Option<i64> {
        let after = self.cuts.partition_point(|cut| *cut <= at);
        if after == self.cuts.len() { None } else { self.cuts.get(after.checked_sub(1)?).copied() }
    }

    fn cuts_within(&self, day: Day) -> bool {
        let after = self.cuts.partition_point(|cut| *cut <= day.start());
        self.cuts.get(after).is_some_and(|cut| *cut < day.end())
    }
}

/// What a sum is the sum of.
#[derive(Debug)]
pub(super) struct Summed<'s> {
    pub provider: Option<&'s str>,
    pub meter: &'s str,
    pub subject: &'s str,
    pub dimensions: &'s BTreeMap<String, String>,
    pub interval: Period,
    /// The first instant of the piece: bindings are the same for all of it.
    pub at: Instant,
    pub sum: Sum,
}

pub(super) struct Summing<'c> {
    cuts: &'c Cuts,
    catalog: &'c Catalog,
    /// Every dimension some SKU matches on, and the meters for which.
    matched: &'c BTreeMap<String, BTreeSet<MeterType>>,
    /// The only meter that is summed, where there is one.
    of_meter: Option<&'c MeterType>,
    /// The first days of all months that have anything of the cuts.
    months: BTreeSet<Day>,
    /// The days of which cells are wanted.
    days: BTreeSet<Day>,
    plans: Vec<Plan>,
    /// The plans by provider, meter and, where a binding cuts it, subject.
    plan_of: BTreeMap<(u32, u32, u32), usize>,
    /// The last that was asked for.
    last_plan: Option<((u32, u32, u32), usize)>,
    /// Of each subject, by its number, whether a binding of it begins or ends within the cuts.
    moves: Vec<Option<bool>>,
    /// Dimensions that are matched on, each once.
    dimensions: Vec<BTreeMap<String, String>>,
    number_of: BTreeMap<BTreeMap<String, String>, usize>,
    /// By meter and all dimensions of an event.
    projected: BTreeMap<(u32, u32), usize>,
    sums: BTreeMap<Group, Sum>,
    /// Samples of one cell and piece that are not among the sums yet, and what they are taken from.
    open: Option<(Group, Option<i64>, Sum)>,
    last_day: Option<(Day, Day)>,
    failed: Option<RatingError>,
}

impl<'c> Summing<'c> {
    pub fn new(
        cuts: &'c Cuts,
        catalog: &'c Catalog,
        matched: &'c BTreeMap<String, BTreeSet<MeterType>>,
        of_meter: Option<&'c MeterType>,
    ) -> Self {
        let whole = cuts.whole();
        let mut months = BTreeSet::new();
        let mut month = Day::of(whole.start().micros()).first_of_month();
        while month.start() < whole.end().micros() {
            months.insert(month);
            month = month.first_of_next_month();
        }
        Self {
            cuts,
            catalog,
            matched,
            of_meter,
            months,
            days: BTreeSet::new(),
            plans: Vec::new(),
            plan_of: BTreeMap::new(),
            last_plan: None,
            moves: Vec::new(),
            dimensions: Vec::new(),
            number_of: BTreeMap::new(),
            projected: BTreeMap::new(),
            sums: BTreeMap::new(),
            open: None,
            last_day: None,
            failed: None,
        }
    }

    /// The first days of the months whose cells are to be seen, all before those of days.
    pub fn months(&self) -> BTreeSet<Day> {
        self.months.clone()
    }

    /// The days whose cells are to be read, once those of months were seen.
    pub fn days(&self) -> BTreeSet<Day> {
        self.days.clone()
    }

    pub fn see_month(&mut self, names: &KeyNames, month: Day, key: CellKey, sum: Sum) {
        let plan = self.plan(names, key);
        if let Some(piece) = self.plans[plan].months.get(&month).and_then(|month| month.piece) {
            self.add(names, key, piece, sum);
        }
    }

    /// Adds what is no cell: a row that counts though it is in none, or less one that is and does not.
    pub fn see_row(&mut self, names: &KeyNames, key: CellKey, micros: i64, sum: Sum) {
        let plan = self.plan(names, key);
        if let Some(piece) = self.plans[plan].piece(micros) {
            self.add(names, key, piece, sum);
        }
    }

    /// Hands out the sums, in an order that is a function of what was seen.
    ///
    /// # Errors
    /// When something that is stored cannot be read, or what `take` says.
    pub fn finish(
        mut self,
        names: &KeyNames,
        mut take: impl FnMut(Summed<'_>) -> Result<(), RatingError>,
    ) -> Result<(), RatingError> {
        self.close();
        if let Some(error) = self.failed {
            return Err(error);
        }
        // The groups of one kind come after each other.
        let mut cuts: Option<((u32, u32), Vec<Instant>)> = None;
        for (group, sum) in &self.sums {
            let at = Instant::from_micros(group.piece).map_err(RatingError::stored("time"))?;
            let of = (group.provider, group.meter);
            if cuts.as_ref().is_none_or(|(known, _)| *known != of) {
                let (provider, meter) = kind(names, group.provider, group.meter)?;
                cuts = Some((of, self.cuts.of_kind(provider.as_ref(), &meter)));
            }
            let (_, cuts) = cuts.as_ref().expect("they were just found");
            let interval = interval(cuts, at)
                .ok_or_else(|| RatingError::Damaged(format!("there is no interval at {at}")))?;
            take(Summed {
                provider: names.provider(group.provider),
                meter: names.meter(group.meter),
                subject: names.subject(group.subject),
                dimensions: &self.dimensions[group.dimensions],
                interval,
                at,
                sum: *sum,
            })?;
        }
        Ok(())
    }

    /// The plan for a cell's usage.
    fn plan(&mut self, names: &KeyNames, key: CellKey) -> usize {
        let subject = if self.moves(names, key.subject()) { key.subject() } else { 0 };
        let of = (key.provider(), key.meter(), subject);
        if let Some((last, plan)) = self.last_plan
            && last == of
        {
            return plan;
        }
        let plan = match self.plan_of.get(&of) {
            Some(plan) => *plan,
            None => {
                let cuts = self.cuts_of(names, of);
                let cuts = self.told(cuts).unwrap_or_default();
                self.plans.push(Plan::new(cuts, &self.months, &mut self.days));
                self.plan_of.insert(of, self.plans.len() - 1);
                self.plans.len() - 1
            }
        };
        self.last_plan = Some((of, plan));
        plan
    }

    fn cuts_of(
        &self,
        names: &KeyNames,
        (provider, meter, subject): (u32, u32, u32),
    ) -> Result<Vec<i64>, RatingError> {
        let (provider, meter) = kind(names, provider, meter)?;
        if self.of_meter.is_some_and(|only| *only != meter) {
            return Ok(Vec::new());
        }
        let of_kind = self.cuts.of_kind(provider.as_ref(), &meter);
        let mut cuts: BTreeSet<i64> = of_kind.iter().map(|cut| cut.micros()).collect();
        if let (Some(first), Some(last), true) = (cuts.first().copied(), cuts.last().copied(), subject > 0) {
            let moves = self.moves_of(names.subject(subject))?;
            cuts.extend(moves.into_iter().filter(|cut| first < *cut && *cut < last));
        }
        Ok(cuts.into_iter().collect())
    }

    /// The instants at which a binding of a subject begins or ends.
    fn moves_of(&self, subject: &str) -> Result<Vec<i64>, RatingError> {
        let subject = Subject::new(subject).map_err(RatingError::stored("name"))?;
        let ends =
            self.catalog.bindings.of(&subject).iter().flat_map(|binding| [Some(binding.from), binding.until]);
        Ok(ends.flatten().map(Instant::micros).collect())
    }

    fn moves(&mut self, names: &KeyNames, subject: u32) -> bool {
        let place = usize::try_from(subject).expect("32 bits fit");
        if self.moves.len() <= place {
            self.moves.resize(place + 1, None);
        }
        if let Some(moves) = self.moves[place] {
            return moves;
        }
        let whole = self.cuts.whole();
        let within = |micros: &i64| whole.start().micros() < *micros && *micros < whole.end().micros();
        let moves = self.moves_of(names.subject(subject)).map(|moves| moves.iter().any(within));
        let moves = self.told(moves).unwrap_or_default();
        self.moves[place] = Some(moves);
        moves
    }

    /// The place of the dimensions of a cell that some SKU matches on.
    fn projected(&mut self, names: &KeyNames, key: CellKey) -> usize {
        if let Some(place) = self.projected.get(&(key.meter(), key.dimensions())) {
            return *place;
        }
        let meter = names.meter(key.meter());
        let matched = self.matched.iter().filter(|(_, meters)| meters.iter().any(|of| of.as_str() == meter));
        let matched: BTreeSet<&str> = matched.map(|(name, _)| name.as_str()).collect();
        let mut dimensions = BTreeMap::new();
        if let Some(text) = names.dimensions(key.dimensions()).filter(|_| !matched.is_empty()) {
            let read = dimension::read(text).map_err(RatingError::Damaged);
            dimensions = self.told(read).unwrap_or_default();
            dimensions.retain(|name, _| matched.contains(name.as_str()));
        }
        let place = match self.number_of.get(&dimensions) {
            Some(place) => *place,
            None => {
                self.dimensions.push(dimensions.clone());
                self.number_of.insert(dimensions, self.dimensions.len() - 1);
                self.dimensions.len() - 1
            }
        };
        self.projected.insert((key.meter(), key.dimensions()), place);
        place
    }

    fn group(&mut self, names: &KeyNames, key: CellKey, piece: i64) -> Group {
        let dimensions = self.projected(names, key);
        Group { provider: key.provider(), meter: key.meter(), subject: key.subject(), dimensions, piece }
    }

    fn add(&mut self, names: &KeyNames, key: CellKey, piece: i64, sum: Sum) {
        let group = self.group(names, key, piece);
        self.sums.entry(group).or_default().add(sum);
    }

    /// Puts the samples that are open among the sums.
    fn close(&mut self) {
        if let Some((group, main, sum)) = self.open.take() {
            self.move_from(group, main, sum);
        }
    }

    /// Adds to a group what was counted in a main stretch as part of its month.
    fn move_from(&mut self, group: Group, main: Option<i64>, sum: Sum) {
        if group.piece != NOWHERE {
            self.sums.entry(group).or_default().add(sum);
        }
        if let Some(piece) = main {
            let less = Sum { events: -sum.events, value: -sum.value };
            self.sums.entry(Group { piece, ..group }).or_default().add(less);
        }
    }

    /// Keeps the first thing that went wrong.
    fn told<T>(&mut self, result: Result<T, RatingError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }

    fn month_of(&mut self, day: Day) -> Day {
        match self.last_day {
            Some((last, month)) if last == day => month,
            _ => {
                let month = day.first_of_month();
                self.last_day = Some((day, month));
                month
            }
        }
    }
}

/// The piece of what lies in no period.
const NOWHERE: i64 = i64::MIN;

impl Reading for Summing<'_> {
    fn cell(&mut self, names: &KeyNames, day: Day, key: CellKey, sum: Sum) -> bool {
        let month = self.month_of(day);
        let plan = self.plan(names, key);
        let plan = &self.plans[plan];
        let Some(Month { main, piece }) = plan.months.get(&month) else { return false };
        if main.0 <= day.start() && day.end() <= main.1 {
            return false;
        }
        let (main, here) = (*piece, plan.piece(day.start()));
        if plan.cuts_within(day) {
            return true;
        }
        if main.is_some() || here.is_some() {
            let group = self.group(names, key, here.unwrap_or(NOWHERE));
            self.move_from(group, main, sum);
        }
        false
    }

    fn sample(&mut self, names: &KeyNames, key: CellKey, micros: i64, value: i128) {
        let month = self.month_of(Day::of(micros));
        let plan = self.plan(names, key);
        let plan = &self.plans[plan];
        let Some(Month { main, piece }) = plan.months.get(&month) else { return };
        if main.0 <= micros && micros < main.1 {
            return;
        }
        let (main, here) = (*piece, plan.piece(micros));
        let group = self.group(names, key, here.unwrap_or(NOWHERE));
        let sum = Sum { events: 1, value };
        match &mut self.open {
            Some((open, from, total)) if *open == group && *from == main => total.add(sum),
            _ => {
                self.close();
                self.open = Some((group, main, sum));
            }
        }
    }
}

/// The provider that usage names, and its meter.
fn kind(names: &KeyNames, provider: u32, meter: u32) -> Result<(Option<ProviderId>, MeterType), RatingError> {
    let provider = names.provider(provider).map(ProviderId::new).transpose();
    let meter = MeterType::new(names.meter(meter));
    Ok((provider.map_err(RatingError::stored("name"))?, meter.map_err(RatingError::stored("name"))?))
}
