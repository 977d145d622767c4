//! Events for questions in SQL, and an engine that can do nothing but read.
//!
//! What is asked is deliberately not known here.
//!
//! Invariant: an event that counts is in the table once, and no other is.

use super::counted::CountedRows;
use super::engine;
use crate::error::RatingError;
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// The columns of the table `events`, as the ledger has them.
pub const EVENTS: [&str; 20] = [
    "source",
    "id",
    "type",
    "subject",
    "time",
    "value",
    "dimensions",
    "provider",
    "location",
    "resource",
    "producer_id",
    "producer_epoch",
    "producer_seq",
    "origin",
    "origin_name",
    "partition",
    "offset",
    "received_at",
    "batch",
    "row",
];

/// Functions that make texts of any length out of nothing, which no limit of memory knows of.
const UNBOUNDED: [&str; 3] = ["repeat", "lpad", "rpad"];

/// An engine without a table.
///
/// # Errors
/// When it does not start.
pub(crate) fn reading(memory: usize) -> Result<SessionContext, RatingError> {
    let context = engine::context(memory)?;
    for name in UNBOUNDED {
        context.deregister_udf(name);
    }
    Ok(context)
}

impl CountedRows {
    /// The events that count.
    ///
    /// # Errors
    /// When rows cannot be trusted.
    pub(crate) async fn counting_events(&self) -> Result<Arc<dyn TableProvider>, RatingError> {
        let suspects = self.suspects().await?;
        let uncounted = self.every_row(suspects).await?;
        let columns = EVENTS.map(|column| format!("\"{column}\"")).join(", ");
        let rows = self.counting("ledger", uncounted.as_deref(), &columns, None);
        Ok(self.joining(suspects.uncounted).sql(&rows).await?.into_view())
    }
}
