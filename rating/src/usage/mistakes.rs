//! Mistakes of whoever sends that nobody has mended yet: an id that came with two contents, a second
//! correction of one event, and a correction that corrects nothing.
//!
//! They change no bill; which record counts is decided elsewhere, and `LedgerCounts` counts every
//! conflict for ever.
//!
//! Invariant: a mistake is told until a correction that is in force names its event, which is how
//! somebody says that it was looked at.

use super::counted::CountedRows;
use super::engine;
use super::folded::Folded;
use super::reported::{ReportedEvent, RowPlace};
use super::text::{literal, optional};
use crate::error::RatingError;
use crate::words::words;
use arrow::array::{AsArray as _, RecordBatch};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

words! {
    /// The kind of a mistake.
    pub enum MistakeKind {
        /// The id came before, with other content; the first counts.
        Conflict = "conflict",
        /// The event that it corrects was corrected before; the first correction counts.
        SecondCorrection = "second-correction",
        /// No event has the source and id that it corrects.
        NoTarget = "no-target",
        /// A void of a void, which nothing can take back.
        VoidOfVoid = "void-of-void",
    }
}

impl MistakeKind {
    /// Whether the first record counts and this one does not.
    pub fn is_conflict(self) -> bool {
        match self {
            Self::Conflict | Self::SecondCorrection => true,
            Self::NoTarget | Self::VoidOfVoid => false,
        }
    }
}

/// A record that somebody has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub kind: MistakeKind,
    pub at: RowPlace,
    pub event: ReportedEvent,
    pub correction: Option<Target>,
    /// Of a conflict: the event that had the id before, and counts.
    pub first: Option<(RowPlace, ReportedEvent)>,
}

/// The event that a correction names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `void` or `replace`.
    pub action: String,
    pub source: String,
    pub id: String,
}

/// The record, its mistake and where it is.
impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, at, event: ReportedEvent { source, id, .. }, correction, first } = self;
        write!(formatter, "{source} {id} at {at}")?;
        if let Some((first, _)) = first {
            write!(formatter, " says something else than at {first}")?;
        }
        let Some(Target { action, source, id }) = correction else { return Ok(()) };
        let why = match kind {
            MistakeKind::Conflict => "",
            MistakeKind::SecondCorrection => ", which was corrected before",
            MistakeKind::NoTarget => ", which is not in the ledger",
            MistakeKind::VoidOfVoid => ", a void, which nothing takes back",
        };
        write!(formatter, " is a {action} of {source} {id}{why}")
    }
}

/// The mistakes that nobody has mended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes {
    pub conflicts: u64,
    /// Of these, corrections of an event that was corrected before.
    pub second: u64,
    /// Corrections that correct nothing.
    pub idle: u64,
    /// The first of each kind, in ledger order.
    pub first: Vec<Mistake>,
}

impl Mistakes {
    /// The first corrections of events that were corrected before.
    pub fn first_second(&self) -> impl Iterator<Item = &Mistake> {
        self.first.iter().filter(|mistake| mistake.kind == MistakeKind::SecondCorrection)
    }

    /// The first corrections that correct nothing.
    pub fn first_idle(&self) -> impl Iterator<Item = &Mistake> {
        self.first.iter().filter(|mistake| !mistake.kind.is_conflict())
    }
}

impl CountedRows {
    /// Counts the mistakes that nobody has mended, and shows at most `limit` of each kind.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn mistakes(&self, limit: usize) -> Result<Mistakes, RatingError> {
        let suspects = self.suspects().await?;
        let engine = self.joining(suspects.ranked);
        let mut mistakes = Mistakes::default();
        for kind in MistakeKind::ALL {
            if !suspects.corrected && kind != MistakeKind::Conflict {
                continue;
            }
            let (ctes, rows) = self.of_kind(kind, suspects.corrected);
            let count = format!("{ctes} SELECT COUNT(*) FROM ({rows}) AS found");
            let [count] = engine::counts(&engine, &count).await?;
            match kind.is_conflict() {
                true => mistakes.conflicts += count,
                false => mistakes.idle += count,
            }
            if kind == MistakeKind::SecondCorrection {
                mistakes.second += count;
            }
            if count == 0 {
                continue;
            }
            let sql = format!(
                "{ctes} SELECT {place}, {event}, correction_action, correction_source, correction_id FROM ({rows}) AS found ORDER BY {order} LIMIT {limit}",
                place = RowPlace::columns(self.order),
                event = ReportedEvent::COLUMNS,
                order = self.order,
            );
            for batch in engine.sql(&sql).await?.collect().await? {
                for row in 0..batch.num_rows() {
                    mistakes.first.push(read(kind, &batch, row)?);
                }
            }
        }
        Ok(mistakes)
    }

    /// Finds the events that count in the place of those that are in conflict with them.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn find_firsts(&self, mistakes: &mut Mistakes) -> Result<(), RatingError> {
        let mistakes = &mut mistakes.first;
        let conflicts = mistakes.iter().filter(|mistake| mistake.kind == MistakeKind::Conflict);
        let named: Vec<String> = conflicts
            .map(|Mistake { event, .. }| {
                format!("(source = {} AND id = {})", literal(&event.source), literal(&event.id))
            })
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let firsts = match &self.folded {
            None => format!("(SELECT * FROM ranked WHERE nth = 1 AND ({}))", named.join(" OR ")),
            // The first of a conflict is in a cell, as any other row; the repeats know its place.
            Some(folded) => self.rows_before(folded, mistakes).await?,
        };
        let sql = format!(
            "SELECT {place}, {event} FROM {firsts} AS firsts",
            place = RowPlace::columns(self.order),
            event = ReportedEvent::COLUMNS,
        );
        for batch in engine::picking(&self.context).sql(&sql).await?.collect().await? {
            for row in 0..batch.num_rows() {
                let at = RowPlace::read(&batch, 0, row)?;
                let event = ReportedEvent::read(&batch, RowPlace::COLUMNS, row)?;
                let same = |mistake: &&mut Mistake| {
                    mistake.kind == MistakeKind::Conflict
                        && (&mistake.event.source, &mistake.event.id) == (&event.source, &event.id)
                };
                for mistake in mistakes.iter_mut().filter(same) {
                    mistake.first = Some((at.clone(), event.clone()));
                }
            }
        }
        Ok(())
    }

    /// SQL: the first rows of the ids that conflicts repeat.
    async fn rows_before(&self, folded: &Folded, mistakes: &[Mistake]) -> Result<String, RatingError> {
        let (mut shards, mut wanted) = (Vec::new(), vec!["FALSE".to_owned()]);
        for shard in 0..self.files.shards() {
            let mut repeats = BTreeSet::new();
            let of_shard = |mistake: &&Mistake| {
                mistake.kind == MistakeKind::Conflict && usize::try_from(mistake.at.shard) == Ok(shard)
            };
            for Mistake { at, .. } in mistakes.iter().filter(of_shard) {
                let batch = u64::try_from(at.batch).map_err(RatingError::stored("batch"))?;
                repeats.insert((batch, u32::try_from(at.row).map_err(RatingError::stored("row"))?));
            }
            let firsts = folded.firsts(shard, &repeats).await?;
            let has = |of: RangeInclusive<u64>| {
                firsts.range((*of.start(), 0)..=(*of.end(), u32::MAX)).next().is_some()
            };
            shards.push(self.files.verified_of(shard, has).await?);
            let of_shard = engine::shard_column(self.order);
            wanted.extend(firsts.iter().map(|(batch, row)| {
                format!(r#"({of_shard} = {shard} AND batch = {batch} AND "row" = {row})"#)
            }));
        }
        let table = self.name("rows");
        engine::register_rows(&self.context, &table, &shards).await?;
        Ok(format!(
            r#"(SELECT *, CAST("time" AS BIGINT) AS micros FROM {table} WHERE {})"#,
            wanted.join(" OR ")
        ))
    }

    /// The CTEs that a query needs, and the query for the rows of a kind. In each join the few are on
    /// the left, because that is the side it keeps in memory.
    fn of_kind(&self, kind: MistakeKind, corrected: bool) -> (String, String) {
        let repeats = "SELECT * FROM ranked WHERE nth > 1 AND content_digest <> first_digest";
        if !corrected {
            return (String::new(), repeats.to_owned());
        }
        let ctes = "WITH target AS (SELECT correction_source AS target_source, correction_id AS target_id FROM corrected WHERE turn = 1)".to_owned();
        let unmended = |rows: &str| {
            format!(
                "SELECT told.* FROM ({rows}) AS told LEFT ANTI JOIN target ON told.source = target.target_source AND told.id = target.target_id"
            )
        };
        // Whatever a correction names is ranked.
        let events = "SELECT source AS event_source, id AS event_id FROM ranked";
        let rows = match kind {
            MistakeKind::Conflict => unmended(repeats),
            // Correcting the correction that counts decides it, too.
            MistakeKind::SecondCorrection => format!(
                "SELECT late.* FROM ({late}) AS late LEFT ANTI JOIN (SELECT winner.correction_source AS decided_source, winner.correction_id AS decided_id
  FROM (SELECT * FROM corrected WHERE turn = 1) AS winner LEFT SEMI JOIN target ON winner.source = target.target_source AND winner.id = target.target_id) AS decided
  ON late.correction_source = decided.decided_source AND late.correction_id = decided.decided_id",
                late = unmended("SELECT * FROM corrected WHERE turn > 1"),
            ),
            MistakeKind::NoTarget => unmended(&format!(
                "SELECT idle.* FROM (SELECT * FROM corrected WHERE turn = 1) AS idle LEFT ANTI JOIN ({events}) AS event ON idle.correction_source = event.event_source AND idle.correction_id = event.event_id"
            )),
            // A void of a void that corrects nothing says that somebody has looked at it.
            // Neither does one of a void that came with two contents.
            MistakeKind::VoidOfVoid => unmended(&format!(
                "SELECT idle.* FROM (SELECT plain.* FROM (SELECT * FROM corrected WHERE turn = 1 AND correction_action = 'void') AS plain
  LEFT ANTI JOIN (SELECT source AS twice_source, id AS twice_id FROM ({repeats}) AS repeats) AS twice ON plain.correction_source = twice.twice_source AND plain.correction_id = twice.twice_id
) AS idle LEFT SEMI JOIN (
  SELECT taker.source AS void_source, taker.id AS void_id
  FROM (SELECT * FROM corrected WHERE turn = 1 AND correction_action = 'void') AS taker
  LEFT SEMI JOIN ({events} WHERE (correction_action IS NULL OR correction_action <> 'void')) AS event ON taker.correction_source = event.event_source AND taker.correction_id = event.event_id
) AS effective ON idle.correction_source = effective.void_source AND idle.correction_id = effective.void_id"
            )),
        };
        (ctes, rows)
    }
}

fn read(kind: MistakeKind, batch: &RecordBatch, row: usize) -> Result<Mistake, RatingError> {
    let first = RowPlace::COLUMNS + ReportedEvent::COUNT;
    let text =
        |index: usize| optional(batch.column(first + index).as_string::<i32>(), row).map(str::to_owned);
    let correction = match (text(0), text(1), text(2)) {
        (Some(action), Some(source), Some(id)) => Some(Target { action, source, id }),
        _ => None,
    };
    Ok(Mistake {
        kind,
        at: RowPlace::read(batch, 0, row)?,
        event: ReportedEvent::read(batch, RowPlace::COLUMNS, row)?,
        correction,
        first: None,
    })
}
