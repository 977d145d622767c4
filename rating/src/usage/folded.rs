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
use derived::totals::{CellKey, Control, Cover, KeyNames, Sum, TotalsError, repeats_schema, suspects_schema};
use ledger::pinned::PinnedFiles;
use schemas::time::{Day, Period};

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

    /// A table of all rows that do not count: the suspects among them, and the repeats.
    pub async fn uncounted(&self, scratch: &Scratch<'_>, files: &PinnedFiles) -> Result<String, RatingError> {
        let place = engine::place(scratch.order);
        let mut parts = vec![format!("SELECT {place} FROM uncounted")];
        for number in 0..files.shards() {
            let name = scratch.name("repeats");
            let of_shard = self.cover.repeats(number).await.map_err(told)?;
            engine::register_texts(scratch.context, &name, &of_shard, &repeats_schema())?;
            parts.push(format!(
                r#"SELECT {place} FROM (SELECT CAST({number} AS BIGINT) AS shard, batch, "row" FROM {name}) AS repeats"#
            ));
        }
        let all = scratch.name("uncounted");
        let plan = scratch.context.sql(&parts.join(" UNION ALL ")).await?;
        engine::keep(scratch.context, &all, scratch.inputs, plan).await?;
        Ok(all)
    }

    /// Sums what is plain between the first and the last of some cuts, by cells and samples.
    pub async fn plain(&self, names: &mut KeyNames, summing: &mut Summing<'_>) -> Result<(), RatingError> {
        let months = summing.months();
        let mut see = |names: &KeyNames, month: Day, key: CellKey, sum: Sum| {
            summing.see_month(names, month, key, sum);
        };
        self.cover.months(&months, names, &mut see).await.map_err(told)?;
        let days = summing.days();
        self.cover.days(&days, names, summing).await.map_err(told)
    }
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
