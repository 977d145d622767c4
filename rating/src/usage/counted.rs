//! Which record counts: the pinned rows, deduplicated and corrected, as SQL.
//!
//! Nearly every row has an id that occurs once, and no correction names it: it counts, and is not
//! looked at here. The others are the suspects, which are found once and kept as the table `ranked`;
//! those of them that do not count are the table `uncounted`, and where there are corrections these
//! are the table `corrected`. Sums and customers are deliberately not known here.
//!
//! Invariant: the rows that count are a function of ledger order. Of each (`source`, `id`) at most one
//! is among them.

use super::engine::{self, Scratch};
use super::folded::Folded;
use crate::error::RatingError;
use datafusion::prelude::SessionContext;
use derived::totals::{Control, Cover};
use futures::lock::Mutex;
use ledger::Location;
use ledger::pinned::PinnedFiles;
use schemas::time::Period;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The memory that plans take before they spill, unless a setting says otherwise.
pub const DEFAULT_MEMORY: usize = 1 << 30;

/// The pinned rows, ready to be queried.
pub struct CountedRows {
    pub(super) context: SessionContext,
    /// SQL: ledger order.
    pub(super) order: &'static str,
    /// A folder for what plans scan beside the ledger.
    pub(super) inputs: Location,
    memory: usize,
    pub(super) files: PinnedFiles,
    /// The cut as usage totals cover it, where they do and rows need not be read.
    pub(super) folded: Option<Folded>,
    /// The files of each shard, once all are checked and the tables of all rows are there.
    checked: Mutex<Option<Arc<Vec<Vec<Location>>>>>,
    /// Where the files are that were checked one by one, by their shard and their first commit.
    pub(super) seen: Mutex<BTreeMap<(usize, u64), Location>>,
    /// Whether the table of refused rows is there.
    pub(super) refused: Mutex<bool>,
    suspects: Mutex<Option<Suspects>>,
    /// The tables that were given a name.
    named: AtomicU64,
}

/// The rows that are looked at, counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suspects {
    /// The rows of `ranked`.
    pub ranked: u64,
    /// The rows of `uncounted`; a row is in it once or twice.
    pub uncounted: u64,
    /// Whether there is any correction.
    pub corrected: bool,
}

impl Suspects {
    /// The table of those that do not count; none where all do.
    fn table(&self) -> Option<&'static str> {
        (self.uncounted > 0).then_some("uncounted")
    }
}

/// SQL: where a record was, for people. `file:line` (the record's number where a file has no
/// lines), or `topic/partition@offset`.
pub(super) const PLACE: &str = r#"CASE WHEN origin LIKE 'file/%' THEN origin_name || ':' || CAST("offset" + 1 AS VARCHAR)
ELSE origin_name || '/' || CAST("partition" AS VARCHAR) || '@' || CAST("offset" AS VARCHAR) END"#;

/// SQL: the corrections that repeat no id, with their rank among those of one target. They are kept as
/// the table `corrected`.
fn corrected(order: &str) -> String {
    format!(
        "SELECT *, ROW_NUMBER() OVER (PARTITION BY correction_source, correction_id ORDER BY {order}) AS turn
FROM ranked WHERE nth = 1 AND correction_action IS NOT NULL"
    )
}

/// SQL: the keys of names that are there more than once, or that a correction has or names.
fn candidates(corrected: bool) -> String {
    let mut keys = "SELECT event_key(source, id) AS key FROM narrow WHERE kind = 'usage'".to_owned();
    if corrected {
        // A second time for what a correction names, and for the correction itself.
        for name in ["correction_source, correction_id", "source, id"] {
            keys.push_str(&format!(
                " UNION ALL SELECT event_key({name}) AS key FROM narrow WHERE kind = 'usage' AND correction_action IS NOT NULL"
            ));
        }
    }
    format!("SELECT key FROM ({keys}) AS keys GROUP BY key HAVING COUNT(*) > 1")
}

/// SQL: every suspect with its rank among the rows of its id.
fn ranked(order: &str, candidates: &str) -> String {
    format!(
        r#"
SELECT *, ROW_NUMBER() OVER by_id AS nth, FIRST_VALUE(content_digest) OVER by_id AS first_digest
FROM (SELECT {order}, origin, origin_name, "partition", "offset", source, id, "type", subject, CAST("time" AS BIGINT) AS micros, value, dimensions,
             provider, location, resource, correction_action, correction_source, correction_id, content_digest
      FROM {candidates})
WINDOW by_id AS (PARTITION BY source, id ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"#
    )
}

/// SQL: the suspects that usage totals have, ranked likewise. No two shards have an id, so one that is
/// settled comes after a row that is not among them and says something else, and any other is the
/// first of its id.
fn ranked_among(order: &str, suspects: &str) -> String {
    format!(
        r#"
SELECT {order}, origin, origin_name, "partition", "offset", source, id, "type", subject, CAST("time" AS BIGINT) AS micros, value, dimensions,
       provider, location, resource, correction_action, correction_source, correction_id, content_digest, settled, plain,
       CASE WHEN settled THEN arrow_cast(2, 'UInt64') ELSE arrow_cast(1, 'UInt64') END AS nth,
       CASE WHEN settled THEN arrow_cast('', 'Binary') ELSE content_digest END AS first_digest
FROM {suspects} AS suspects"#
    )
}

/// SQL: the rows that may be suspects, all of them or those of the candidates.
const EVERY_ROW: &str = "narrow WHERE kind = 'usage'";
const ROWS_OF_CANDIDATES: &str = "candidates RIGHT SEMI JOIN (SELECT *, event_key(source, id) AS event_key FROM narrow WHERE kind = 'usage') AS entry ON candidates.key = entry.event_key";

/// SQL: the places of the suspects that do not count. The few are on the left of each join, because
/// that is the side it keeps.
fn uncounted(place: &str, corrected: bool) -> String {
    let repeats = format!("SELECT {place} FROM ranked WHERE nth > 1");
    if !corrected {
        return repeats;
    }
    format!(
        r#"WITH in_force AS (SELECT * FROM corrected WHERE turn = 1), firsts AS (SELECT * FROM ranked WHERE nth = 1)
{repeats}
UNION ALL SELECT {place} FROM (SELECT correction_source AS target_source, correction_id AS target_id FROM in_force) AS target
  RIGHT SEMI JOIN firsts AS event ON target.target_source = event.source AND target.target_id = event.id
UNION ALL SELECT {place} FROM firsts WHERE correction_action <> 'replace'
UNION ALL SELECT {place} FROM (SELECT source AS winner_source, id AS winner_id FROM in_force) AS winner
  RIGHT ANTI JOIN (SELECT * FROM firsts WHERE correction_action = 'replace') AS event ON winner.winner_source = event.source AND winner.winner_id = event.id"#
    )
}

impl CountedRows {
    /// Checks every file's digest and opens the rows. `inputs` is a folder for what plans scan beside
    /// the ledger; `memory` is how many bytes they take before they spill.
    ///
    /// # Errors
    /// When a file differs from the log, or cannot be read.
    pub async fn open(files: &PinnedFiles, inputs: &Location, memory: usize) -> Result<Self, RatingError> {
        let rows = Self::new(files, None, inputs, memory)?;
        rows.ledger().await?;
        Ok(rows)
    }

    /// Opens the rows as usage totals cover them. Files are checked when they are read, and few are;
    /// all of them where totals cannot say what counts: in a cut that ends within a segment, and where
    /// several shards have one id.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_folded(
        files: &PinnedFiles,
        cover: Cover,
        inputs: &Location,
        memory: usize,
    ) -> Result<Self, RatingError> {
        match Folded::of(cover) {
            Some(folded) => Self::new(files, Some(folded), inputs, memory),
            None => Self::open(files, inputs, memory).await,
        }
    }

    fn new(
        files: &PinnedFiles,
        folded: Option<Folded>,
        inputs: &Location,
        memory: usize,
    ) -> Result<Self, RatingError> {
        Ok(Self {
            context: engine::context(memory)?,
            order: engine::order_of(files.shards()),
            inputs: inputs.clone(),
            memory,
            files: files.clone(),
            folded,
            checked: Mutex::new(None),
            seen: Mutex::new(BTreeMap::new()),
            refused: Mutex::new(false),
            suspects: Mutex::new(None),
            named: AtomicU64::new(0),
        })
    }

    /// The control totals that what is summed is compared with; none where all rows are read, which
    /// nothing is compared with.
    pub fn control(&self) -> Option<&Control> {
        self.folded.as_ref().map(Folded::control)
    }

    /// Checks every file's digest, once; few are read where usage totals say what counts.
    ///
    /// # Errors
    /// When a file differs from the log, or cannot be read.
    pub async fn check_files(&self) -> Result<(), RatingError> {
        self.ledger().await.map(drop)
    }

    /// Checks every file's digest, once; the tables `ledger` and `narrow` are there then. Gives the
    /// files of each shard.
    pub(super) async fn ledger(&self) -> Result<Arc<Vec<Vec<Location>>>, RatingError> {
        let mut checked = self.checked.lock().await;
        match &*checked {
            Some(files) => Ok(files.clone()),
            None => {
                let files = Arc::new(engine::register_ledger(&self.context, &self.files).await?);
                *checked = Some(files.clone());
                Ok(files)
            }
        }
    }

    /// The files of each shard, if all are checked.
    pub(super) async fn checked(&self) -> Option<Arc<Vec<Vec<Location>>>> {
        self.checked.lock().await.clone()
    }

    /// Finds the suspects, once; the tables `ranked` and `uncounted` are there then.
    pub(super) async fn suspects(&self) -> Result<Suspects, RatingError> {
        let mut found = self.suspects.lock().await;
        if let Some(suspects) = *found {
            return Ok(suspects);
        }
        let suspects = self.find_suspects().await?;
        *found = Some(suspects);
        Ok(suspects)
    }

    async fn find_suspects(&self) -> Result<Suspects, RatingError> {
        if let Some(folded) = &self.folded {
            let suspects = folded.suspects(&self.scratch()).await?;
            let ranked = self.keep("ranked", &self.context, &ranked_among(self.order, &suspects)).await?;
            let corrections = "SELECT COUNT(*) FROM ranked WHERE correction_action IS NOT NULL";
            let [corrections] = engine::counts(&self.context, corrections).await?;
            return self.find_uncounted(ranked, corrections).await;
        }
        let corrections = "SELECT COUNT(*) FROM narrow WHERE correction_action IS NOT NULL";
        let [corrections] = engine::counts(&self.context, corrections).await?;
        let corrected = corrections > 0;
        let candidates = self.keep("candidates", &self.context, &candidates(corrected)).await?;
        let (engine, rows) = match candidates {
            // An empty table, with the right columns.
            0 => (self.context.clone(), "narrow WHERE FALSE"),
            // What is suspected nearly everywhere is ranked everywhere.
            candidates if engine::fits(self.memory, candidates) => (self.context.clone(), ROWS_OF_CANDIDATES),
            _ => (self.context.clone(), EVERY_ROW),
        };
        let ranked = self.keep("ranked", &engine, &ranked(self.order, rows)).await?;
        self.find_uncounted(ranked, corrections).await
    }

    async fn find_uncounted(&self, ranked: u64, corrections: u64) -> Result<Suspects, RatingError> {
        let corrected = corrections > 0;
        if corrected {
            self.keep("corrected", &self.context, &self::corrected(self.order)).await?;
        }
        let uncounted = uncounted(self.place(), corrected);
        let uncounted = self.keep("uncounted", &self.joining(corrections), &uncounted).await?;
        Ok(Suspects { ranked, uncounted, corrected })
    }

    async fn keep(&self, name: &str, engine: &SessionContext, sql: &str) -> Result<u64, RatingError> {
        engine::keep(&self.context, name, &self.inputs, engine.sql(sql).await?).await
    }

    /// A name for a table that no other has had.
    pub(super) fn name(&self, kind: &str) -> String {
        self.scratch().name(kind)
    }

    /// The engine, and where it keeps what it scans beside the ledger.
    pub(super) fn scratch(&self) -> Scratch<'_> {
        let Self { context, inputs, order, named, .. } = self;
        Scratch { context, inputs, order, named }
    }

    /// The engine for joins that keep as many rows as `few`.
    pub(super) fn joining(&self, few: u64) -> SessionContext {
        engine::joining(&self.context, self.memory, few)
    }

    /// SQL: the columns that say which row of the ledger one is.
    fn place(&self) -> &'static str {
        engine::place(self.order)
    }

    /// SQL: `columns` of the rows of `ledger` or `narrow` that count and lie in a period, where one is
    /// given.
    pub(super) fn counting(
        &self,
        table: &str,
        uncounted: Option<&str>,
        columns: &str,
        within: Option<Period>,
    ) -> String {
        // The column itself, so that files and parts of them are left out by what they say of it.
        let within = within.map(|period| {
            let [from, until] = [period.start(), period.end()].map(|at| engine::instant(at.micros()));
            format!(r#""time" >= {from} AND "time" < {until}"#)
        });
        self.counting_where(table, uncounted, columns, within.as_deref().unwrap_or("TRUE"))
    }

    /// SQL: the same of the rows that `which` says of their own columns.
    pub(super) fn counting_where(
        &self,
        table: &str,
        uncounted: Option<&str>,
        columns: &str,
        which: &str,
    ) -> String {
        let rows = format!("kind = 'usage' AND {which}");
        let Some(uncounted) = uncounted else { return format!("SELECT {columns} FROM {table} WHERE {rows}") };
        let same: Vec<String> =
            self.place().split(", ").map(|column| format!("uncounted.{column} = entry.{column}")).collect();
        format!(
            "SELECT {columns} FROM {uncounted} AS uncounted RIGHT ANTI JOIN (SELECT * FROM {table} WHERE {rows}) AS entry ON {}",
            same.join(" AND ")
        )
    }

    /// SQL: the relation that is summed, which says for some usage how much and how many events it is.
    /// Its columns are `micros`, `"type"`, `subject`, `value` (DECIMAL(38,9)), `events`, `dimensions`,
    /// `provider` and `location`.
    pub(super) fn weighed(&self, suspects: Suspects, within: Option<Period>) -> String {
        let columns = r#"CAST("time" AS BIGINT) AS micros, "type", subject, CAST(value AS DECIMAL(38,9)) AS value, CAST(1 AS BIGINT) AS events, dimensions, provider, location"#;
        self.counting("narrow", suspects.table(), columns, within)
    }

    /// The tables of all rows, and that of those which do not count, where there are any.
    pub(super) async fn every_row(&self, suspects: Suspects) -> Result<Option<String>, RatingError> {
        self.ledger().await?;
        match &self.folded {
            None => Ok(suspects.table().map(str::to_owned)),
            Some(folded) => folded.uncounted(&self.scratch(), &self.files).await.map(Some),
        }
    }
}
