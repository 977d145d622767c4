//! An event as it was reported, with its place, and the corrections of it that an operator can send
//! as they are.
//!
//! Whether it has to be corrected is deliberately not known here.
//!
//! Invariant: a correction is a CloudEvent in one line that ingest takes, and the same event whenever
//! it is made anew, so that sending it twice changes nothing.

use super::counted::PLACE;
use super::engine::shard_column;
use super::text::optional;
use crate::error::RatingError;
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use schemas::decimal::Quantity;
use schemas::digest::Sha256Digest;
use schemas::event::CorrectionAction;
use schemas::time::Instant;
use std::fmt;

/// Where a record was, and which row of the ledger it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPlace {
    /// `file:line`, or `topic/partition@offset`.
    pub place: String,
    /// Counted from 0, as the folders are.
    pub shard: u32,
    pub batch: i64,
    pub row: i64,
}

/// `file:line (batch 3, row 7)`, with the shard where it is not the first.
impl fmt::Display for RowPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, shard, batch, row } = self;
        match shard {
            0 => write!(formatter, "{place} (batch {batch}, row {row})"),
            shard => write!(formatter, "{place} (shards/{shard}, batch {batch}, row {row})"),
        }
    }
}

impl RowPlace {
    /// How many columns there are.
    pub(super) const COLUMNS: usize = 4;

    /// SQL: the columns that [`Self::read`] reads.
    pub(super) fn columns(order: &str) -> String {
        let shard = shard_column(order);
        format!(
            r#"{PLACE} AS place, CAST({shard} AS BIGINT) AS shard_number, CAST(batch AS BIGINT) AS batch_number, CAST("row" AS BIGINT) AS row_number"#
        )
    }

    pub(super) fn read(batch: &RecordBatch, first: usize, row: usize) -> Result<Self, RatingError> {
        let number = |index: usize| batch.column(first + index).as_primitive::<Int64Type>().value(row);
        Ok(Self {
            place: batch.column(first).as_string::<i32>().value(row).to_owned(),
            shard: u32::try_from(number(1)).map_err(RatingError::stored("shard"))?,
            batch: number(2),
            row: number(3),
        })
    }
}

/// An event, as far as a correction of it has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedEvent {
    pub source: String,
    pub id: String,
    pub meter: String,
    pub subject: String,
    pub time: Instant,
    pub value: Quantity,
    /// A JSON object of strings.
    pub dimensions: Option<String>,
    pub provider: Option<String>,
    pub location: Option<String>,
    /// A JSON object of strings.
    pub resource: Option<String>,
}

impl ReportedEvent {
    /// SQL: the columns that [`Self::read`] reads, by names that no other column has.
    pub(super) const COLUMNS: &str = r#"source AS e_source, id AS e_id, "type" AS e_type, subject AS e_subject, micros AS e_micros, value AS e_value, dimensions AS e_dimensions, provider AS e_provider, location AS e_location, resource AS e_resource"#;
    /// How many columns there are.
    pub(super) const COUNT: usize = 10;

    pub(super) fn read(batch: &RecordBatch, first: usize, row: usize) -> Result<Self, RatingError> {
        let text = |index: usize| optional(batch.column(first + index).as_string::<i32>(), row);
        let owned = |index: usize| text(index).map(str::to_owned);
        let required = |index: usize| {
            owned(index).ok_or_else(|| RatingError::Damaged("an event without a name is stored".to_owned()))
        };
        let micros = batch.column(first + 4).as_primitive::<Int64Type>();
        let value = batch.column(first + 5).as_primitive::<Decimal128Type>();
        Ok(Self {
            source: required(0)?,
            id: required(1)?,
            meter: required(2)?,
            subject: required(3)?,
            time: Instant::from_micros(micros.value(row)).map_err(RatingError::stored("time"))?,
            value: Quantity::from_units(value.value(row)).map_err(RatingError::stored("quantity"))?,
            dimensions: owned(6),
            provider: owned(7),
            location: owned(8),
            resource: owned(9),
        })
    }

    /// An event that takes this one out.
    pub fn void(&self, reason: &str) -> String {
        self.correction(CorrectionAction::Void, "", reason)
    }

    /// An event that says in the place of this one's `source` and `id` what this one says.
    pub fn replace(&self, reason: &str) -> String {
        let mut data = format!(r#""value":"{}","#, self.value);
        let texts = [("provider", &self.provider), ("location", &self.location)];
        for (name, text) in texts {
            if let Some(text) = text {
                data.push_str(&format!("\"{name}\":{},", json(text)));
            }
        }
        // They are JSON already, as the ledger keeps them.
        for (name, object) in [("dimensions", &self.dimensions), ("resource", &self.resource)] {
            if let Some(object) = object.as_ref().filter(|object| *object != "{}") {
                data.push_str(&format!("\"{name}\":{object},"));
            }
        }
        self.correction(CorrectionAction::Replace, &data, reason)
    }

    /// Its id follows from what it corrects, so that it is the same whenever it is made.
    fn correction(&self, action: CorrectionAction, data: &str, reason: &str) -> String {
        let action = action.as_str();
        let name = Sha256Digest::of(format!("{}\n{}\n{data}\n{reason}", self.source, self.id).as_bytes())
            .to_string();
        format!(
            r#"{{"specversion":"1.0","id":"{action}-{name}","source":{source},"type":{meter},"subject":{subject},"time":"{time}","datacontenttype":"application/json","data":{{{data}"correction":{{"action":"{action}","source":{source},"id":{id},"reason":{reason}}}}}}}"#,
            name = &name[..16],
            source = json(&self.source),
            meter = json(&self.meter),
            subject = json(&self.subject),
            time = self.time,
            id = json(&self.id),
            reason = json(reason),
        )
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_is_one_line_and_the_same_each_time() {
        let event = ReportedEvent {
            source: "//edge \"1\"".to_owned(),
            id: "c-1".to_owned(),
            meter: "hours".to_owned(),
            subject: "projects/a".to_owned(),
            time: Instant::parse_rfc3339("2025-10-01T08:00:00Z").expect("an instant"),
            value: Quantity::from_units(1_500_000_000).expect("a quantity"),
            dimensions: Some(r#"{"class":"standard"}"#.to_owned()),
            provider: None,
            location: Some("ams".to_owned()),
            resource: None,
        };
        let void = event.void("reported twice");
        let read: serde_json::Value = serde_json::from_str(&void).expect("JSON");
        assert_eq!(read["data"]["correction"]["source"], "//edge \"1\"");
        assert_eq!(read["data"]["correction"]["action"], "void");
        assert!(read["data"].get("value").is_none() && !void.contains('\n'), "{void}");
        assert_eq!(void, event.void("reported twice"));
        let read: serde_json::Value = serde_json::from_str(&event.replace("wrong unit")).expect("JSON");
        assert_eq!(read["data"]["value"], "1.5");
        assert_eq!(read["data"]["dimensions"]["class"], "standard");
        assert_eq!(read["data"]["location"], "ams");
        assert_eq!(read["data"]["correction"]["id"], "c-1");
    }
}
