//! Samples: the events of some types that count, series by series, each in the order of time.
//!
//! What a sample says is `meter`'s, and deliberately not known here; nor is whose it is. An event that
//! replaces another stands in its series, whatever it says of itself.
//!
//! Invariant: the samples of a series come after each other, by time and then in ledger order, whatever
//! the order in which rows arrived. Memory does not grow with their number.

use super::by_days::RowsOfDays;
use super::counted::{CountedRows, Suspects};
use super::dimension;
use super::earlier::{Heirs, Wanted};
use super::engine;
use super::text::{literal, optional};
use crate::error::RatingError;
use crate::meter::{Labels, LedgerOrder, Sample};
use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema};
use futures::StreamExt as _;
use schemas::decimal::Quantity;
use schemas::id::{MeterType, ProviderId};
use schemas::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What makes samples one series, as rows say it. Where the provider is not named it is part of the
/// series all the same, and whose it is decides the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeriesText<'b> {
    pub events: &'b str,
    pub subject: &'b str,
    pub source: &'b str,
    pub resource: Option<&'b str>,
    pub dimensions: Option<&'b str>,
}

/// An event of a series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SampleRow<'b> {
    pub series: SeriesText<'b>,
    /// Of one that replaces another: the provider whose series it stands in.
    pub heir_of: Option<Option<&'b str>>,
    /// What the event says of itself.
    pub provider: Option<&'b str>,
    pub subject: &'b str,
    pub resource: Option<&'b str>,
    pub dimensions: Option<&'b str>,
    pub sample: Sample,
}

/// The first event of a chain of replacements.
#[derive(Debug, Clone)]
pub(crate) struct Original {
    pub events: String,
    pub source: String,
    pub subject: String,
    pub provider: Option<String>,
    pub resource: Option<String>,
    pub dimensions: Option<String>,
    pub time: i64,
}

/// A replacement, or what one replaces.
struct Link {
    original: Original,
    place: [i64; 3],
    /// The source and id that it replaces.
    target: Option<(String, String)>,
}

/// The dimensions or the resource of an event, as they are stored.
pub(crate) fn labels(text: Option<&str>) -> Result<Labels, RatingError> {
    let Some(text) = text else { return Ok(Labels::default()) };
    Ok(dimension::read(text).map_err(RatingError::Damaged)?.into_iter().collect())
}

impl CountedRows {
    /// Hands out the samples that count. `home` says whose a first event of a series is.
    ///
    /// # Errors
    /// When rows cannot be read, and what `take` says.
    pub(crate) async fn samples(
        &self,
        wanted: Wanted<'_>,
        home: &(dyn Fn(&Original) -> Result<Option<ProviderId>, RatingError> + Sync),
        take: &mut (dyn FnMut(SampleRow<'_>) -> Result<(), RatingError> + Send),
    ) -> Result<(), RatingError> {
        let suspects = self.suspects().await?;
        let heirs = self.heirs(suspects, wanted.events, home).await?;
        let (within, before, few) = match &self.folded {
            None => {
                let uncounted = self.every_row(suspects).await?;
                let rows = |which: &str| self.sampled("narrow", uncounted.as_deref(), which, heirs.as_ref());
                (rows(&wanted.within()), rows(&wanted.before()), suspects.uncounted)
            }
            Some(folded) => {
                let rows = self.rows_of_period(folded, wanted).await?;
                let within =
                    self.sampled(&rows.table, Some(&rows.uncounted), &wanted.within(), heirs.as_ref());
                let earlier = self.earlier_rows(folded, wanted, &within, heirs.as_ref(), rows.few).await?;
                match earlier {
                    Some(rows_before) => {
                        let RowsOfDays { table, uncounted, few } = rows_before;
                        let before = self.sampled(&table, Some(&uncounted), &wanted.before(), heirs.as_ref());
                        (within, before, few.max(rows.few))
                    }
                    None => {
                        let nothing = self.sampled(&rows.table, None, "FALSE", heirs.as_ref());
                        (within, nothing, rows.few)
                    }
                }
            }
        };
        let sql = self.in_series(&within, &before);
        let engine = self.joining(few);
        let mut rows = engine.sql(&sql).await?.execute_stream().await?;
        while let Some(batch) = rows.next().await {
            read(&batch?, take)?;
        }
        Ok(())
    }

    /// The times of the first and the last event of a type that count and have some dimensions.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub(crate) async fn span_of(
        &self,
        events: &MeterType,
        matches: &BTreeMap<String, String>,
    ) -> Result<Option<(Instant, Instant)>, RatingError> {
        let suspects = self.suspects().await?;
        let uncounted = self.every_row(suspects).await?;
        let mut which = format!(r#""type" = {}"#, literal(events.as_str()));
        for (name, value) in matches {
            which.push_str(&format!(" AND dimension(dimensions, {}) = {}", literal(name), literal(value)));
        }
        let columns = r#"CAST("time" AS BIGINT) AS micros"#;
        let rows = self.counting_where("narrow", uncounted.as_deref(), columns, &which);
        let sql = format!("SELECT MIN(micros), MAX(micros) FROM ({rows}) AS event");
        for batch in self.joining(suspects.uncounted).sql(&sql).await?.collect().await? {
            let number = |column: usize| {
                let numbers = batch.column(column).as_primitive::<Int64Type>();
                (batch.num_rows() == 1 && numbers.is_valid(0)).then(|| numbers.value(0))
            };
            if let (Some(first), Some(last)) = (number(0), number(1)) {
                let at = |micros| Instant::from_micros(micros).map_err(RatingError::stored("time"));
                return Ok(Some((at(first)?, at(last)?)));
            }
        }
        Ok(None)
    }

    /// SQL: the samples of a table that count, with their series.
    fn sampled(&self, table: &str, uncounted: Option<&str>, which: &str, heirs: Option<&Heirs>) -> String {
        let rows = self.counting_where(table, uncounted, &self.sample_columns(), which);
        let Some(Heirs { table: heirs, .. }) = heirs else {
            return format!(
                "SELECT *, source AS series_source, subject AS series_subject, resource AS series_resource, dimensions AS series_dimensions, FALSE AS inherits, CAST(NULL AS VARCHAR) AS home FROM ({rows}) AS event"
            );
        };
        let place = engine::place(self.order).split(", ");
        let same: Vec<String> = place.map(|column| format!("heir.{column} = event.{column}")).collect();
        let of = |column: &str| {
            format!(
                "CASE WHEN heir.inherits THEN heir.series_{column} ELSE event.{column} END AS series_{column}"
            )
        };
        format!(
            "SELECT event.*, {}, {}, {}, {}, heir.inherits IS NOT NULL AS inherits, heir.home AS home FROM {heirs} AS heir RIGHT JOIN ({rows}) AS event ON {}",
            of("source"),
            of("subject"),
            of("resource"),
            of("dimensions"),
            same.join(" AND ")
        )
    }

    fn sample_columns(&self) -> String {
        format!(
            r#"received_at, {}, source, "type", subject, CAST("time" AS BIGINT) AS micros, value, dimensions, provider, resource"#,
            engine::place(self.order)
        )
    }

    /// SQL: the samples, in order.
    fn in_series(&self, within: &str, before: &str) -> String {
        let place = engine::place(self.order);
        let order = self.order;
        let last_first: Vec<String> = order.split(", ").map(|column| format!("{column} DESC")).collect();
        let shard = engine::shard_column(order);
        let received = if shard == "0" { "CAST(0 AS BIGINT)" } else { "CAST(received_at AS BIGINT)" };
        let mut named = 0;
        let mut text = |column: &str| {
            named += 1;
            format!("CAST({column} AS VARCHAR) AS text_{named}")
        };
        // Of what lies before, only the last of each series says anything, and only by being there.
        format!(
            r#"WITH within AS ({within}), before AS ({before}), samples AS (
  SELECT * FROM within
  UNION ALL
  SELECT {columns} FROM (
    SELECT *, ROW_NUMBER() OVER (
      PARTITION BY "type", provider, series_source, series_subject, series_resource, series_dimensions, home
      ORDER BY micros DESC, {last_first}) AS nth
    FROM before) AS ranked WHERE nth = 1
)
SELECT {kind}, {series_subject}, {series_source}, {series_resource}, {series_dimensions}, inherits, {home},
  {provider}, {subject}, {resource}, {dimensions}, micros, {received} AS received,
  CAST({shard} AS BIGINT) AS shard_number, CAST(batch AS BIGINT) AS batch_number, CAST("row" AS BIGINT) AS row_number, value
FROM samples
ORDER BY "type", samples.series_subject, samples.series_source, samples.series_resource, samples.series_dimensions, micros, {order}"#,
            columns = format_args!(
                r#"received_at, {place}, source, "type", subject, micros, value, dimensions, provider, resource, series_source, series_subject, series_resource, series_dimensions, inherits, home"#
            ),
            last_first = last_first.join(", "),
            kind = text(r#""type""#),
            series_subject = text("series_subject"),
            series_source = text("series_source"),
            series_resource = text("series_resource"),
            series_dimensions = text("series_dimensions"),
            home = text("home"),
            provider = text("provider"),
            subject = text("subject"),
            resource = text("resource"),
            dimensions = text("dimensions"),
        )
    }

    /// A table of the replacements of some events with the series that they stand in; none where there
    /// is no replacement. Whoever corrects writes each by hand, so that they fit into memory.
    async fn heirs(
        &self,
        suspects: Suspects,
        events: &BTreeSet<MeterType>,
        home: &(dyn Fn(&Original) -> Result<Option<ProviderId>, RatingError> + Sync),
    ) -> Result<Option<Heirs>, RatingError> {
        if !suspects.corrected {
            return Ok(None);
        }
        let links = self.links().await?;
        let mut rows = Vec::new();
        for link in links.values().filter(|link| events.iter().any(|of| of.as_str() == link.original.events))
        {
            let mut target = link.target.as_ref();
            let mut first = None;
            // A chain has no more links than there are.
            for _ in 0..links.len() {
                let Some(found) = target.and_then(|target| links.get(target)) else { break };
                first = Some(found);
                target = found.target.as_ref();
            }
            if let Some(first) = first {
                rows.push((link.place, &first.original, home(&first.original)?));
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let table = self.name("heirs");
        engine::keep_batch(&self.context, &table, &self.inputs, &heirs_batch(&rows, self.order)).await?;
        let of = rows.iter().map(|([shard, batch, _], first, _)| (*shard, *batch, first.subject.clone()));
        Ok(Some(Heirs { table, of: of.collect() }))
    }

    async fn links(&self) -> Result<BTreeMap<(String, String), Link>, RatingError> {
        let text = |column: &str| format!("CAST({column} AS VARCHAR)");
        let sql = format!(
            r#"SELECT {}, {}, {}, {}, {}, {}, {}, micros, {}, {}, CAST({} AS BIGINT), CAST(batch AS BIGINT), CAST("row" AS BIGINT)
FROM (SELECT correction_source AS target_source, correction_id AS target_id FROM corrected WHERE correction_action = 'replace'
      UNION SELECT source, id FROM corrected WHERE correction_action = 'replace') AS named
  RIGHT SEMI JOIN (SELECT * FROM ranked WHERE nth = 1) AS event
  ON named.target_source = event.source AND named.target_id = event.id"#,
            text("source"),
            text("id"),
            text(r#""type""#),
            text("subject"),
            text("provider"),
            text("resource"),
            text("dimensions"),
            text("CASE WHEN correction_action = 'replace' THEN correction_source END"),
            text("CASE WHEN correction_action = 'replace' THEN correction_id END"),
            engine::shard_column(self.order),
        );
        let mut links = BTreeMap::new();
        for batch in self.context.sql(&sql).await?.collect().await? {
            for row in 0..batch.num_rows() {
                let text = |column: usize| optional(batch.column(column).as_string::<i32>(), row);
                let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
                let owned = |column: usize| text(column).map(str::to_owned);
                let named = |column: usize| owned(column).unwrap_or_default();
                let original = Original {
                    events: named(2),
                    source: named(0),
                    subject: named(3),
                    provider: owned(4),
                    resource: owned(5),
                    dimensions: owned(6),
                    time: number(7),
                };
                let place = [number(10), number(11), number(12)];
                let target = owned(8).zip(owned(9));
                links.insert((named(0), named(1)), Link { original, place, target });
            }
        }
        Ok(links)
    }
}

fn heirs_batch(rows: &[([i64; 3], &Original, Option<ProviderId>)], order: &str) -> RecordBatch {
    let numbers = |place: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|(at, ..)| Some(at[place])).collect::<Int64Array>())
    };
    let texts = |of: &dyn for<'r> Fn(&'r Original) -> Option<&'r str>| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, original, _)| of(original)).collect::<StringArray>())
    };
    let homes: ArrayRef = Arc::new(
        rows.iter().map(|(.., home)| home.as_ref().map(ProviderId::as_str)).collect::<StringArray>(),
    );
    let inherits: ArrayRef = Arc::new(rows.iter().map(|_| Some(true)).collect::<BooleanArray>());
    let mut columns = vec![
        ("batch", numbers(1)),
        ("row", numbers(2)),
        ("series_source", texts(&|original| Some(&original.source))),
        ("series_subject", texts(&|original| Some(&original.subject))),
        ("series_resource", texts(&|original| original.resource.as_deref())),
        ("series_dimensions", texts(&|original| original.dimensions.as_deref())),
        ("inherits", inherits),
        ("home", homes),
    ];
    if engine::shard_column(order) != "0" {
        columns.push(("shard", numbers(0)));
    }
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the arrays match the schema")
}

fn read(
    batch: &RecordBatch,
    take: &mut (dyn FnMut(SampleRow<'_>) -> Result<(), RatingError> + Send),
) -> Result<(), RatingError> {
    let texts = |column: usize| batch.column(column).as_string::<i32>();
    let numbers = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
    let values = batch.column(16).as_primitive::<Decimal128Type>();
    if *values.data_type() != DataType::Decimal128(28, 9) {
        return Err(RatingError::Damaged(format!("a quantity is DECIMAL(28,9), not {}", values.data_type())));
    }
    let inherits = batch.column(5).as_boolean();
    for row in 0..batch.num_rows() {
        let text = |column: usize| optional(texts(column), row);
        let named = |column: usize| text(column).unwrap_or_default();
        let shard = u32::try_from(numbers(13)[row]).map_err(RatingError::stored("shard"))?;
        let order =
            LedgerOrder { received: numbers(12)[row], shard, batch: numbers(14)[row], row: numbers(15)[row] };
        take(SampleRow {
            series: SeriesText {
                events: named(0),
                subject: named(1),
                source: named(2),
                resource: text(3),
                dimensions: text(4),
            },
            heir_of: inherits.value(row).then(|| text(6)),
            provider: text(7),
            subject: named(8),
            resource: text(9),
            dimensions: text(10),
            sample: Sample {
                time: Instant::from_micros(numbers(11)[row]).map_err(RatingError::stored("time"))?,
                order,
                value: Quantity::from_units(values.value(row)).map_err(RatingError::stored("quantity"))?,
            },
        })?;
    }
    Ok(())
}
