//! What counts, as usage totals have it: cells and samples, and the suspects, of which they know
//! nothing.
//!
//! Rows are not read. Which suspects count is deliberately not decided here; they are ranked by the
//! same SQL as where all rows are read.
//!
//! Invariant: each row of the cut is in it once, or there is no sum: what is read of cells is compared
//! with the control totals, and samples with their cells.

use super::engine::{self, Scratch};
use super::summing::Summing;
use crate::error::RatingError;
use derived::totals::{
    CellKey, Control, Cover, KeyNames, NumberRun, Reading, Sum, TotalsError, repeats_schema, suspects_schema,
};
use ledger::pinned::PinnedFiles;
use schemas::id::{MeterType, Subject};
use schemas::time::{Day, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// A cut of the ledger that usage totals cover whole.
pub(super) struct Folded {
    cover: Cover,
    control: Control,
}

impl Folded {
    /// The cut as totals cover it; nothing where rows have to be read: for a cut that ends within a
    /// segment, and where an id is in several shards.
    pub fn of(cover: Cover) -> Option<Self> {
        let control = cover.control();
        let crossing = control.meters.values().any(|meter| meter.crossing.events > 0);
        (cover.is_whole() && !crossing).then_some(Self { cover, control })
    }

    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Registers the suspects, each perhaps more than once; gives SQL for each once.
    pub async fn suspects(&self, scratch: &Scratch<'_>) -> Result<String, RatingError> {
        let files = self.cover.suspects().await.map_err(told)?;
        let name = scratch.name("suspects");
        engine::register_texts(scratch.context, &name, &files, &suspects_schema())?;
        Ok(format!("(SELECT DISTINCT * FROM {name})"))
    }

    /// Registers the repeats of each shard; gives the names of the tables.
    pub async fn repeats(
        &self,
        scratch: &Scratch<'_>,
        files: &PinnedFiles,
    ) -> Result<Vec<String>, RatingError> {
        let mut tables = Vec::new();
        for number in 0..files.shards() {
            let name = scratch.name("repeats");
            let of_shard = self.cover.repeats(number).await.map_err(told)?;
            engine::register_texts(scratch.context, &name, &of_shard, &repeats_schema())?;
            tables.push(name);
        }
        Ok(tables)
    }

    /// A table of all rows that do not count: the suspects among them, and the repeats.
    pub async fn uncounted(&self, scratch: &Scratch<'_>, files: &PinnedFiles) -> Result<String, RatingError> {
        let repeats = self.repeats(scratch, files).await?;
        let all = scratch.name("uncounted");
        let plan = scratch.context.sql(&uncounted_of(scratch, &repeats, "TRUE")).await?;
        engine::keep(scratch.context, &all, scratch.inputs, plan).await?;
        Ok(all)
    }

    /// The first days of all months that have cells.
    fn months(&self) -> BTreeSet<Day> {
        self.control.days.keys().map(|day| Day::from_number(*day).first_of_month()).collect()
    }

    /// The meter, provider and dimensions of every cell, each combination once.
    pub async fn kinds(&self, names: &mut KeyNames) -> Result<BTreeSet<CellKey>, RatingError> {
        let mut kinds = BTreeSet::new();
        let mut see = |_: &KeyNames, _: Day, key: CellKey, _: Sum| {
            kinds.insert(key.without_subject());
        };
        self.cover.months(&self.months(), names, &mut see).await.map_err(told)?;
        Ok(kinds)
    }

    /// Hands out cells of days, and samples, of the months that have some that `wanted` takes.
    pub async fn in_months(
        &self,
        names: &mut KeyNames,
        wanted: &(dyn Fn(&KeyNames, Day, CellKey) -> bool + Sync),
        reading: &mut (dyn Reading + Send),
    ) -> Result<(), RatingError> {
        let mut months = BTreeSet::new();
        let mut see = |names: &KeyNames, month: Day, key: CellKey, _: Sum| {
            if !months.contains(&month) && wanted(names, month, key) {
                months.insert(month);
            }
        };
        self.cover.months(&self.months(), names, &mut see).await.map_err(told)?;
        let mut days: BTreeSet<Day> = self.control.days.keys().map(|day| Day::from_number(*day)).collect();
        days.retain(|day| months.contains(&day.first_of_month()));
        self.days(&days, names, reading).await
    }

    /// Hands out the numbers that producers gave to usage, as runs without a hole, by producer, epoch and
    /// number.
    pub async fn numbers(
        &self,
        see: &mut (dyn FnMut(&str, i64, &NumberRun) + Send),
    ) -> Result<(), RatingError> {
        self.cover.numbers(see).await.map_err(told)
    }

    /// Hands out cells of days, and the samples of those that `reading` takes.
    pub async fn days(
        &self,
        days: &BTreeSet<Day>,
        names: &mut KeyNames,
        reading: &mut (dyn Reading + Send),
    ) -> Result<(), RatingError> {
        self.cover.days(days, names, reading).await.map_err(told)
    }

    /// The places of the first rows of ids that some rows of a shard repeat.
    pub async fn firsts(
        &self,
        shard: usize,
        repeats: &BTreeSet<(u64, u32)>,
    ) -> Result<BTreeSet<(u64, u32)>, RatingError> {
        let firsts = self.cover.firsts(shard, repeats).await.map_err(told)?;
        Ok(firsts.into_values().collect())
    }

    /// The days of a period, in part or whole, of which there are cells of a meter and, where given, of
    /// a subject.
    pub async fn days_of(
        &self,
        within: Period,
        meter: &MeterType,
        subject: Option<&Subject>,
    ) -> Result<BTreeSet<Day>, RatingError> {
        let mut days = days_within(within);
        let has = |day: &Day| self.control.days.get(&day.number());
        days.retain(|day| has(day).is_some_and(|meters| meters.contains_key(meter.as_str())));
        let Some(subject) = subject else { return Ok(days) };
        let mut used = Used { meter: meter.as_str(), subject: subject.as_str(), days: BTreeSet::new() };
        self.days(&days, &mut KeyNames::default(), &mut used).await?;
        Ok(used.days)
    }

    /// The days, in part or whole before an instant, of which there are cells that `wanted` takes.
    pub async fn days_before(
        &self,
        until: Instant,
        wanted: &(dyn Fn(&KeyNames, CellKey) -> bool + Sync),
    ) -> Result<BTreeSet<Day>, RatingError> {
        let mut names = KeyNames::default();
        let mut months = BTreeSet::new();
        let mut see = |names: &KeyNames, month: Day, key: CellKey, _: Sum| {
            if !months.contains(&month) && wanted(names, key) {
                months.insert(month);
            }
        };
        let mut earlier = self.months();
        earlier.retain(|month| month.start() < until.micros());
        self.cover.months(&earlier, &mut names, &mut see).await.map_err(told)?;
        let mut days: BTreeSet<Day> = self.control.days.keys().map(|day| Day::from_number(*day)).collect();
        days.retain(|day| day.start() < until.micros() && months.contains(&day.first_of_month()));
        let mut taken = Taken { wanted, days: BTreeSet::new() };
        self.days(&days, &mut names, &mut taken).await?;
        Ok(taken.days)
    }

    /// The days of a period, in part or whole, of which there are plain events of some types.
    pub fn days_with(&self, events: &BTreeSet<MeterType>, within: Period) -> BTreeSet<Day> {
        let has = |meters: &BTreeMap<String, Sum>| events.iter().any(|of| meters.contains_key(of.as_str()));
        let mut days = days_within(within);
        days.retain(|day| self.control.days.get(&day.number()).is_some_and(has));
        days
    }

    /// The commits of a shard that have plain rows of some days.
    pub async fn commits_of(&self, shard: usize, days: &BTreeSet<Day>) -> Result<BTreeSet<u64>, RatingError> {
        self.cover.commits_of(shard, days).await.map_err(told)
    }

    /// Sums what is plain between the first and the last of some cuts, by cells and samples.
    pub async fn plain(&self, names: &mut KeyNames, summing: &mut Summing<'_>) -> Result<(), RatingError> {
        let months = summing.months();
        let mut see = |names: &KeyNames, month: Day, key: CellKey, sum: Sum| {
            summing.see_month(names, month, key, sum);
        };
        self.cover.months(&months, names, &mut see).await.map_err(told)?;
        let days = summing.days();
        self.days(&days, names, summing).await
    }
}

/// The days of the cells that are wanted.
struct Taken<'a> {
    wanted: &'a (dyn Fn(&KeyNames, CellKey) -> bool + Sync),
    days: BTreeSet<Day>,
}

impl Reading for Taken<'_> {
    fn cell(&mut self, names: &KeyNames, day: Day, key: CellKey, _: Sum) -> bool {
        if !self.days.contains(&day) && (self.wanted)(names, key) {
            self.days.insert(day);
        }
        false
    }

    fn sample(&mut self, _: &KeyNames, _: CellKey, _: i64, _: i128) {}
}

/// The days on which a subject used something.
struct Used<'a> {
    meter: &'a str,
    subject: &'a str,
    days: BTreeSet<Day>,
}

impl Reading for Used<'_> {
    fn cell(&mut self, names: &KeyNames, day: Day, key: CellKey, _: Sum) -> bool {
        if names.subject(key.subject()) == self.subject && names.meter(key.meter()) == self.meter {
            self.days.insert(day);
        }
        false
    }

    fn sample(&mut self, _: &KeyNames, _: CellKey, _: i64, _: i128) {}
}

/// The days that a period has anything of.
pub(super) fn days_within(within: Period) -> BTreeSet<Day> {
    let mut days = BTreeSet::new();
    let mut day = Day::of(within.start().micros());
    while day.start() < within.end().micros() {
        days.insert(day);
        day = day.next();
    }
    days
}

/// SQL: the places of the rows that do not count, of the commits that `commits` says of `batch`.
pub(super) fn uncounted_of(scratch: &Scratch<'_>, repeats: &[String], commits: &str) -> String {
    let place = engine::place(scratch.order);
    let mut parts = vec![format!("SELECT {place} FROM uncounted WHERE {commits}")];
    for (number, name) in repeats.iter().enumerate() {
        parts.push(format!(
            r#"SELECT {place} FROM (SELECT CAST({number} AS BIGINT) AS shard, batch, "row" FROM {name}) AS repeats WHERE {commits}"#
        ));
    }
    parts.join(" UNION ALL ")
}

/// SQL: what is taken away of plain rows that do not count, and what is added of other rows that do,
/// within a period: `micros`, `value` (DECIMAL(38,9)), `events` and the texts of a key.
pub(super) fn adjustments(order: &str, within: Period) -> String {
    let (from, until) = (within.start().micros(), within.end().micros());
    let same: Vec<String> = engine::place(order)
        .split(", ")
        .map(|column| format!("uncounted.{column} = entry.{column}"))
        .collect();
    let part = |join: &str, plain: &str, value: &str, events: i8| {
        format!(
            r#"SELECT micros, CAST({value} AS DECIMAL(38,9)) AS value, CAST({events} AS BIGINT) AS events, "type", provider, subject, dimensions, location
FROM uncounted {join} (SELECT * FROM ranked WHERE {plain} AND micros >= {from} AND micros < {until}) AS entry ON {}"#,
            same.join(" AND ")
        )
    };
    let taken = part("RIGHT SEMI JOIN", "plain", "-value", -1);
    let added = part("RIGHT ANTI JOIN", "NOT plain", "value", 1);
    format!("{taken}\nUNION ALL\n{added}")
}

/// What is wrong with totals, as a rating says it.
pub(super) fn told(error: TotalsError) -> RatingError {
    match error {
        TotalsError::Ledger(error) => error.into(),
        error => RatingError::Damaged(error.to_string()),
    }
}
