//! What counts, as usage totals have it: cells where nothing cuts a day, rows where something does,
//! and the suspects, of which cells know nothing.
//!
//! Rows that are neither cut nor suspected are not read. Which suspects count is deliberately not
//! decided here; they are ranked by the same SQL as where all rows are read.
//!
//! Invariant: each row of the cut is in it once, or there is no sum: what cells, rows and suspects add
//! up to is compared with the control totals.

use super::engine::{self, Scratch};
use super::text::{list, literal};
use crate::error::RatingError;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use derived::totals::{Control, Cover, Sum, TotalsError, cells_schema, repeats_schema, suspects_schema};
use ledger::pinned::PinnedFiles;
use schemas::id::{MeterType, Subject};
use schemas::time::{Instant, Period};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A day, in microseconds.
pub(super) const DAY: i64 = 86_400_000_000;

/// A cut of the ledger that usage totals cover whole.
pub(super) struct Folded {
    cover: Cover,
    control: Control,
}

/// Days of which cells cannot be used, because something begins or ends within them.
#[derive(Debug, Default)]
pub(super) struct CutDays<'c> {
    /// For everybody.
    whole: BTreeSet<i32>,
    /// For one subject.
    of_subjects: BTreeSet<(i32, &'c Subject)>,
}

/// The day of an instant, counted from 1970.
fn day_of(at: Instant) -> i32 {
    i32::try_from(at.micros().div_euclid(DAY)).expect("times have four digits in their year")
}

/// Whether a day in UTC begins at an instant.
pub(super) fn is_midnight(at: Instant) -> bool {
    at.micros().rem_euclid(DAY) == 0
}

/// The days that are in a period, in part or whole.
pub(super) fn days_within(within: Period) -> RangeInclusive<i32> {
    let last = day_of(within.end());
    day_of(within.start())..=if is_midnight(within.end()) { last - 1 } else { last }
}

impl<'c> CutDays<'c> {
    /// Something begins or ends for everybody.
    pub fn cut(&mut self, at: Instant) {
        if !is_midnight(at) {
            self.whole.insert(day_of(at));
        }
    }

    /// Something begins or ends for a subject.
    pub fn cut_for(&mut self, at: Instant, subject: &'c Subject) {
        if !is_midnight(at) {
            self.of_subjects.insert((day_of(at), subject));
        }
    }

    /// The days of subjects, as a table.
    pub fn table(&self) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("cut_day", DataType::Int32, false),
            Field::new("cut_subject", DataType::Utf8, false),
        ]);
        let rows = || self.of_subjects.iter().filter(|(day, _)| !self.whole.contains(day));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(rows().map(|(day, _)| *day))),
            Arc::new(StringArray::from_iter_values(rows().map(|(_, subject)| subject.as_str()))),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).expect("the arrays match the schema one by one")
    }
}

/// The relation that is summed, and what it adds up to.
pub(super) struct Weighed {
    /// SQL, with the columns of `CountedRows::weighed`. Some of it may lie beyond the period, in its
    /// first and last day.
    pub sql: String,
    /// Σ of all of it, by meter.
    pub expected: BTreeMap<String, Sum>,
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

    /// Registers every cell; gives the name of the table.
    pub async fn every_cell(&self, scratch: &Scratch<'_>) -> Result<String, RatingError> {
        let cells = scratch.name("cells");
        let all = self.cover.cells(&(i32::MIN..=i32::MAX)).await.map_err(told)?;
        engine::register_views(scratch.context, &cells, &all, &cells_schema())?;
        Ok(cells)
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
        scratch: &Scratch<'_>,
        within: Period,
        meter: &MeterType,
        subject: Option<&Subject>,
    ) -> Result<BTreeSet<i32>, RatingError> {
        let days = days_within(within);
        let of_meter =
            self.control.days.range(days.clone()).filter(|(_, meters)| meters.contains_key(meter.as_str()));
        let of_meter: BTreeSet<i32> = of_meter.map(|(day, _)| *day).collect();
        let Some(subject) = subject else { return Ok(of_meter) };
        let cells = scratch.name("cells");
        let of_days = self.cover.cells(&days).await.map_err(told)?;
        engine::register_views(scratch.context, &cells, &of_days, &cells_schema())?;
        let sql = format!(
            r#"SELECT DISTINCT CAST(day AS BIGINT) FROM {cells} WHERE day >= {} AND day <= {} AND "type" = {} AND subject = {}"#,
            days.start(),
            days.end(),
            literal(meter.as_str()),
            literal(subject.as_str()),
        );
        let found = engine::numbers(&engine::picking(scratch.context), &sql).await?;
        let found: BTreeSet<i32> = found.into_iter().filter_map(|day| i32::try_from(day).ok()).collect();
        Ok(found.intersection(&of_meter).copied().collect())
    }

    /// The commits of a shard that have plain rows of some days.
    pub async fn commits_of(&self, shard: usize, days: &BTreeSet<i32>) -> Result<BTreeSet<u64>, RatingError> {
        self.cover.commits_of(shard, days).await.map_err(told)
    }

    /// What counts within the days of a period.
    pub async fn weighed(
        &self,
        scratch: &Scratch<'_>,
        files: &PinnedFiles,
        within: Period,
        cut: &CutDays<'_>,
    ) -> Result<Weighed, RatingError> {
        let days = days_within(within);
        let (first, last) = (*days.start(), *days.end());
        let cells = scratch.name("cells");
        let of_days = self.cover.cells(&days).await.map_err(told)?;
        engine::register_views(scratch.context, &cells, &of_days, &cells_schema())?;
        let cut_days: Vec<i32> = cut.whole.iter().copied().filter(|day| days.contains(day)).collect();
        let not_cut = match cut_days.is_empty() {
            true => String::new(),
            false => format!(" AND day NOT IN ({})", list(&cut_days)),
        };
        let of_cells = format!("SELECT * FROM {cells} WHERE day >= {first} AND day <= {last}{not_cut}");
        let subjects = scratch.name("cut");
        let of_subjects = cut.table();
        let whole = match of_subjects.num_rows() {
            0 => of_cells,
            _ => {
                engine::keep_batch(scratch.context, &subjects, scratch.inputs, &of_subjects).await?;
                format!(
                    "SELECT cell.* FROM {subjects} RIGHT ANTI JOIN ({of_cells}) AS cell ON cut_day = day AND cut_subject = subject"
                )
            }
        };
        let mut parts = vec![format!(
            r#"SELECT CAST(day AS BIGINT) * {DAY} AS micros, "type", subject, value, events, dimensions, provider, location FROM ({whole}) AS whole"#
        )];
        let mut read: BTreeSet<i32> = cut_days.iter().copied().collect();
        read.extend(cut.of_subjects.iter().map(|(day, _)| *day).filter(|day| days.contains(day)));
        if !read.is_empty() {
            let moved = (of_subjects.num_rows() > 0).then_some(subjects.as_str());
            parts.push(self.rows_of(scratch, files, &read, &cut_days, moved).await?);
        }
        let adjustments = adjustments(scratch, first, last);
        let expected = self.expected(scratch, &days, &adjustments).await?;
        parts.push(adjustments);
        Ok(Weighed { sql: parts.join("\nUNION ALL\n"), expected })
    }

    /// SQL: the plain rows of days that are cut for everybody, and of subjects on days that are cut
    /// for them.
    async fn rows_of(
        &self,
        scratch: &Scratch<'_>,
        files: &PinnedFiles,
        days: &BTreeSet<i32>,
        cut_days: &[i32],
        moved: Option<&str>,
    ) -> Result<String, RatingError> {
        let list_of_days = list(&days.iter().copied().collect::<Vec<_>>());
        let (mut shards, mut repeats) = (Vec::new(), Vec::new());
        for number in 0..files.shards() {
            let commits = self.cover.commits_of(number, days).await.map_err(told)?;
            let wanted = |range| commits.range::<u64, RangeInclusive<u64>>(range).next().is_some();
            shards.push(files.verified_of(number, wanted).await?);
            let name = scratch.name("repeats");
            let of_shard = self.cover.repeats(number).await.map_err(told)?;
            engine::register_texts(scratch.context, &name, &of_shard, &repeats_schema())?;
            repeats.push(format!(
                r#"SELECT CAST({number} AS BIGINT) AS shard, batch, "row" FROM {name} WHERE day IN ({list_of_days})"#
            ));
        }
        let table = scratch.name("rows");
        engine::register_shards_of(scratch.context, &table, &shards).await?;
        let unplain = scratch.name("unplain");
        let plan = scratch.context.sql(&repeats.join(" UNION ALL ")).await?;
        let count = engine::keep(scratch.context, &unplain, scratch.inputs, plan).await?;
        let first = days.first().copied().unwrap_or_default();
        let last = days.last().copied().unwrap_or_default();
        let columns = r#"micros, "type", subject, value, events, dimensions, provider, location"#;
        let base = format!(
            r#"SELECT shard, batch, "row", {columns}, micros - (micros % {DAY} + {DAY}) % {DAY} AS midnight FROM (
  SELECT shard, batch, "row", CAST("time" AS BIGINT) AS micros, "type", subject, CAST(value AS DECIMAL(38,9)) AS value, CAST(1 AS BIGINT) AS events, dimensions, provider, location
  FROM {table} WHERE kind = 'usage' AND correction_action IS NULL AND "time" >= {} AND "time" < {}) AS entry"#,
            engine::instant(i64::from(first) * DAY),
            engine::instant((i64::from(last) + 1) * DAY),
        );
        let mut wanted = Vec::new();
        if !cut_days.is_empty() {
            let midnights: Vec<i64> = cut_days.iter().map(|day| i64::from(*day) * DAY).collect();
            wanted.push(format!("SELECT * FROM ({base}) AS entry WHERE midnight IN ({})", list(&midnights)));
        }
        if let Some(moved) = moved {
            wanted.push(format!(
                "SELECT entry.* FROM {moved} RIGHT SEMI JOIN ({base}) AS entry ON CAST(cut_day AS BIGINT) * {DAY} = midnight AND cut_subject = subject"
            ));
        }
        let wanted = wanted.join(" UNION ALL ");
        if count == 0 {
            return Ok(format!("SELECT {columns} FROM ({wanted}) AS entry"));
        }
        Ok(format!(
            r#"SELECT {columns} FROM {unplain} AS unplain RIGHT ANTI JOIN ({wanted}) AS entry
  ON unplain.shard = entry.shard AND unplain.batch = entry.batch AND unplain."row" = entry."row""#
        ))
    }

    /// What cells and adjustments of some days add up to: the cells by the control totals.
    async fn expected(
        &self,
        scratch: &Scratch<'_>,
        days: &RangeInclusive<i32>,
        adjustments: &str,
    ) -> Result<BTreeMap<String, Sum>, RatingError> {
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        for (meter, sum) in self.control.days.range(days.clone()).flat_map(|(_, meters)| meters) {
            sums.entry(meter.clone()).or_default().add(*sum);
        }
        let sql = format!(
            r#"SELECT "type", SUM(value), SUM(events) FROM ({adjustments}) AS adjusted GROUP BY "type""#
        );
        for (meter, sum) in engine::sums(scratch.context, &sql).await? {
            sums.entry(meter).or_default().add(sum);
        }
        sums.retain(|_, sum| *sum != Sum::default());
        Ok(sums)
    }
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

/// SQL: what is taken away of plain rows that do not count, and what is added of other rows that do.
fn adjustments(scratch: &Scratch<'_>, first: i32, last: i32) -> String {
    let (from, until) = (i64::from(first) * DAY, (i64::from(last) + 1) * DAY);
    let place = engine::place(scratch.order);
    let same: Vec<String> =
        place.split(", ").map(|column| format!("uncounted.{column} = entry.{column}")).collect();
    let part = |join: &str, plain: &str, value: &str, events: i8| {
        format!(
            r#"SELECT micros, "type", subject, CAST({value} AS DECIMAL(38,9)) AS value, CAST({events} AS BIGINT) AS events, dimensions, provider, location
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
