//! Which record counts: the pinned rows, deduplicated and corrected, as SQL.
//!
//! Sums and customers are deliberately not known here.
//!
//! Invariant: the rows of the CTE `effective` are a function of ledger order. Of each
//! (`source`, `id`) at most one is in it.

use super::engine;
use crate::error::RatingError;
use datafusion::prelude::SessionContext;
use ledger::pinned::PinnedFiles;

/// The pinned rows, ready to be queried.
pub struct CountedRows {
    pub(super) context: SessionContext,
    pub(super) corrected: bool,
    /// SQL: ledger order, and the two CTEs that rest on it.
    pub(super) order: &'static str,
    pub(super) ranked: String,
    pub(super) corrections: String,
}

/// SQL: every usage row with its rank among the rows of its id.
fn ranked(order: &str) -> String {
    format!(
        r#"
ranked AS (
  SELECT *, ROW_NUMBER() OVER by_id AS nth, FIRST_VALUE(content_digest) OVER by_id AS first_digest
  FROM (SELECT {order}, origin, origin_name, "partition", "offset", source, id, "type", subject, CAST("time" AS BIGINT) AS micros, value, dimensions,
               provider, location, resource, correction_action, correction_source, correction_id, content_digest
        FROM ledger WHERE kind = 'usage')
  WINDOW by_id AS (PARTITION BY source, id ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)"#
    )
}

/// SQL: where a record was, for people. `file:line` (the record's number where a file has no
/// lines), or `topic/partition@offset`.
pub(super) const PLACE: &str = r#"CASE WHEN origin LIKE 'file/%' THEN origin_name || ':' || CAST("offset" + 1 AS VARCHAR)
ELSE origin_name || '/' || CAST("partition" AS VARCHAR) || '@' || CAST("offset" AS VARCHAR) END"#;

/// SQL: corrections with their rank among the corrections of one target.
fn corrections(order: &str) -> String {
    format!(
        r#"
corrections AS (
  SELECT source, id, correction_source, correction_id,
         ROW_NUMBER() OVER (PARTITION BY correction_source, correction_id ORDER BY {order}) AS nth
  FROM ranked WHERE nth = 1 AND correction_action IS NOT NULL
)"#
    )
}

impl CountedRows {
    /// Checks every file's digest and opens the rows.
    ///
    /// # Errors
    /// When a file differs from the log, or cannot be read.
    pub async fn open(files: &PinnedFiles) -> Result<Self, RatingError> {
        let context = engine::context()?;
        let order = engine::register_ledger(&context, files).await?;
        let [corrections] =
            engine::counts(&context, "SELECT COUNT(*) FROM ledger WHERE correction_action IS NOT NULL")
                .await?;
        Ok(Self {
            context,
            corrected: corrections > 0,
            order,
            ranked: ranked(order),
            corrections: self::corrections(order),
        })
    }

    /// The rows that count, as the body of a CTE named `effective`, preceded by what it needs.
    pub(super) fn effective(&self) -> String {
        let Self { ranked, corrections, .. } = self;
        if !self.corrected {
            return format!("{ranked}, effective AS (SELECT * FROM ranked WHERE nth = 1)");
        }
        // The few are on the left of each join, because that is the side it keeps in memory.
        format!(
            r#"{ranked}, {corrections}, in_force AS (SELECT * FROM corrections WHERE nth = 1), uncorrected AS (
  SELECT event.*
  FROM (SELECT correction_source AS target_source, correction_id AS target_id FROM in_force) AS target
  RIGHT JOIN (SELECT * FROM ranked WHERE nth = 1) AS event ON target.target_source = event.source AND target.target_id = event.id
  WHERE target.target_id IS NULL
), effective AS (
  SELECT event.*
  FROM (SELECT source AS winner_source, id AS winner_id FROM in_force) AS winner
  RIGHT JOIN uncorrected AS event ON winner.winner_source = event.source AND winner.winner_id = event.id
  WHERE event.correction_action IS NULL OR (event.correction_action = 'replace' AND winner.winner_id IS NOT NULL)
)"#
        )
    }
}
