//! Observations for people: which values a dimension has, and when something was used that nobody
//! is bound to.
//!
//! Nothing here is billed, so values are taken from every usage row, whether or not it counts.
//!
//! Invariant: what is observed is a function of the rows; its order is not that of the ledger.

use super::counted::CountedRows;
use super::engine;
use super::text::{literal, optional};
use crate::catalog::Catalog;
use crate::error::RatingError;
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use ledger::Location;
use schemas::time::Instant;
use std::collections::BTreeSet;

/// A value of a dimension, as some event has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Observed {
    pub meter: String,
    /// The provider that the event names.
    pub provider: Option<String>,
    /// `None` where an event lacks the dimension.
    pub value: Option<String>,
}

const MICROS_OF_A_QUARTER: i64 = 15 * 60 * 1_000_000;

impl CountedRows {
    /// The values of a dimension in the events of some meters.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub(crate) async fn values(
        &self,
        dimension: &str,
        meters: &BTreeSet<&str>,
    ) -> Result<BTreeSet<Observed>, RatingError> {
        let meters: Vec<String> = meters.iter().map(|meter| literal(meter)).collect();
        let sql = format!(
            r#"SELECT DISTINCT "type", provider, dimension(dimensions, {}) FROM ledger WHERE kind = 'usage' AND "type" IN ({})"#,
            literal(dimension),
            meters.join(", ")
        );
        let mut observed = BTreeSet::new();
        for batch in self.context.sql(&sql).await?.collect().await? {
            for row in 0..batch.num_rows() {
                let text =
                    |column: usize| optional(batch.column(column).as_string::<i32>(), row).map(str::to_owned);
                let meter = text(0).unwrap_or_default();
                observed.insert(Observed { meter, provider: text(1), value: text(2) });
            }
        }
        Ok(observed)
    }

    /// The quarters of an hour, which begin and end with every time zone's days, in which something
    /// was used that no binding covers.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub(crate) async fn unattributed_quarters(
        &self,
        catalog: &Catalog,
        inputs: &Location,
    ) -> Result<BTreeSet<Instant>, RatingError> {
        engine::register_bindings(&self.context, catalog, inputs).await?;
        let sql = format!(
            r#"WITH {effective} SELECT DISTINCT event.micros - event.micros % {MICROS_OF_A_QUARTER} AS quarter
FROM bindings RIGHT JOIN effective AS event
  ON event.subject = bindings.subject AND event.micros >= bindings.from_micros AND event.micros < bindings.until_micros
WHERE bindings.customer IS NULL"#,
            effective = self.effective()
        );
        let mut quarters = BTreeSet::new();
        for batch in self.context.sql(&sql).await?.collect().await? {
            for micros in batch.column(0).as_primitive::<Int64Type>().values() {
                quarters.insert(Instant::from_micros(*micros).map_err(RatingError::stored("time"))?);
            }
        }
        Ok(quarters)
    }
}
