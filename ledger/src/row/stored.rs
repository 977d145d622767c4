//! Rows out of columns again, for whoever checks, copies or signs them.
//!
//! Strict: whatever the builder would not have written is an error that names the row and the
//! column. Names are not judged again; that is what they were hashed for.

use super::columns::COLUMNS;
use arrow::array::{Array, AsArray as _, BinaryArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use proof::row::RowRef;
use schemas::canonical::{Pair, push_map};
use schemas::decimal::Quantity;
use schemas::event::{CorrectionAction, CorrectionRef, EventRef, MapRef, ProducerRef};
use schemas::outcome::{Kind, OutcomeRef};
use schemas::position::Offset;
use schemas::rejection::Reason;
use schemas::time::Instant;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A defect of a stored row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {row} of the batch, column {column}: {what}")]
pub struct RowError {
    /// Counted from 0 in the record batch that was read.
    pub row: usize,
    pub column: &'static str,
    pub what: String,
}

/// A row, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRow<'a> {
    /// The commit that first wrote it.
    pub batch: i64,
    pub row: i32,
    /// As stored; usage has one and nothing else does.
    pub content_digest: Option<&'a [u8; 32]>,
    pub says: RowRef<'a>,
}

/// The rows of one record batch.
pub struct StoredRows<'a> {
    columns: Vec<&'a dyn Array>,
    dimensions: Maps<'a>,
    resource: Maps<'a>,
    rows: usize,
}

/// Of each row, its map; all in one place, so that a row can lend it.
#[derive(Default)]
struct Maps<'a> {
    pairs: Vec<Pair<'a>>,
    canonical: Vec<u8>,
    /// Where each row's pairs and canonical bytes end.
    ends: Vec<(usize, usize)>,
}

impl<'a> StoredRows<'a> {
    /// # Errors
    /// When the columns are not [`COLUMNS`], or a map is no JSON object of strings with its names
    /// in order.
    pub fn read(batch: &'a RecordBatch) -> Result<Self, RowError> {
        let schema = batch.schema_ref();
        let mut columns = Vec::with_capacity(COLUMNS.len());
        for column in COLUMNS {
            let found = schema.index_of(column.name).ok().map(|index| &**batch.column(index));
            match found {
                Some(array) if *array.data_type() == column.kind.arrow() => columns.push(array),
                Some(array) => {
                    return Err(wrong(
                        0,
                        column.name,
                        format!("is {}, not {}", array.data_type(), column.kind.arrow()),
                    ));
                }
                None => return Err(wrong(0, column.name, "is missing")),
            }
        }
        let mut rows =
            Self { columns, dimensions: Maps::default(), resource: Maps::default(), rows: batch.num_rows() };
        rows.dimensions = Maps::read("dimensions", rows.array("dimensions").as_string())?;
        rows.resource = Maps::read("resource", rows.array("resource").as_string())?;
        Ok(rows)
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows in the order of the record batch, which is not ledger order.
    pub fn iter(&self) -> impl Iterator<Item = Result<StoredRow<'_>, RowError>> {
        (0..self.rows).map(|row| self.get(row))
    }

    /// # Errors
    /// As the module says.
    pub fn get(&self, row: usize) -> Result<StoredRow<'_>, RowError> {
        let kind = self.required("kind", row, self.text("kind", row))?;
        let kind = Kind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or_else(|| wrong(row, "kind", format!("{kind:?} is no kind of row")))?;
        self.refuse_foreign(kind, row)?;
        let outcome = match kind {
            Kind::Usage => OutcomeRef::Usage(self.event(row)?),
            Kind::Rejected => {
                let reason = self.required("reason", row, self.text("reason", row))?;
                OutcomeRef::Rejected {
                    reason: Reason::parse(reason)
                        .ok_or_else(|| wrong(row, "reason", format!("{reason:?} is no reason")))?,
                    detail: self.required("detail", row, self.text("detail", row))?,
                    key: self.bytes("raw_key", row),
                    headers: self.required("raw_headers", row, self.bytes("raw_headers", row))?,
                    value: self.bytes("raw_value", row),
                }
            }
            Kind::Gap => OutcomeRef::Gap {
                until: Offset(self.required("gap_until", row, self.long("gap_until", row))?),
                detail: self.required("detail", row, self.text("detail", row))?,
            },
        };
        let partition = self.required("partition", row, self.integer("partition", row))?;
        let says = RowRef {
            origin: self.required("origin", row, self.text("origin", row))?,
            origin_name: self.required("origin_name", row, self.text("origin_name", row))?,
            partition: u32::try_from(partition).map_err(|_| wrong(row, "partition", "is negative"))?,
            offset: Offset(self.required("offset", row, self.long("offset", row))?),
            produced_at: self.instant("produced_at", row)?,
            received_at: self.required("received_at", row, self.instant("received_at", row)?)?,
            outcome,
        };
        let content_digest = match self.bytes("content_digest", row) {
            None => None,
            Some(digest) => Some(
                digest
                    .try_into()
                    .map_err(|_| wrong(row, "content_digest", format!("has {} bytes", digest.len())))?,
            ),
        };
        Ok(StoredRow {
            batch: self.required("batch", row, self.long("batch", row))?,
            row: self.required("row", row, self.integer("row", row))?,
            content_digest,
            says,
        })
    }

    fn event(&self, row: usize) -> Result<EventRef<'_>, RowError> {
        let text = |name| self.required(name, row, self.text(name, row));
        let long = |name| self.required(name, row, self.long(name, row));
        let units = self.value::<Decimal128Type>("value", row);
        let producer = match self.text("producer_id", row) {
            Some(id) => Some(ProducerRef { id, epoch: long("producer_epoch")?, seq: long("producer_seq")? }),
            None => self.none_of(row, &["producer_epoch", "producer_seq"])?,
        };
        let correction = match self.text("correction_action", row) {
            Some(action) => Some(CorrectionRef {
                action: CorrectionAction::parse(action)
                    .ok_or_else(|| wrong(row, "correction_action", format!("{action:?} is no action")))?,
                source: text("correction_source")?,
                id: text("correction_id")?,
                reason: text("correction_reason")?,
            }),
            None => self.none_of(row, &["correction_source", "correction_id", "correction_reason"])?,
        };
        self.required("content_digest", row, self.bytes("content_digest", row))?;
        let quantity = Quantity::from_units(self.required("value", row, units)?)
            .ok()
            .filter(|quantity| !quantity.is_negative());
        Ok(EventRef {
            source: text("source")?,
            id: text("id")?,
            meter: text("type")?,
            subject: text("subject")?,
            time: self.required("time", row, self.instant("time", row)?)?,
            quantity: quantity.ok_or_else(|| wrong(row, "value", "is no quantity"))?,
            dimensions: self.required("dimensions", row, self.map("dimensions", &self.dimensions, row))?,
            provider: self.text("provider", row),
            location: self.text("location", row),
            resource: self.map("resource", &self.resource, row),
            producer,
            correction,
        })
    }

    /// A value in a column of another kind of row would be in no hash, so that nobody would see it
    /// changed.
    fn refuse_foreign(&self, kind: Kind, row: usize) -> Result<(), RowError> {
        match COLUMNS
            .iter()
            .zip(&self.columns)
            .find(|(column, array)| array.is_valid(row) && !column.of.contains(&kind))
        {
            None => Ok(()),
            Some((column, _)) => Err(wrong(
                row,
                column.name,
                format!("has a value, which a row of kind {} cannot have", kind.as_str()),
            )),
        }
    }

    fn none_of<T>(&self, row: usize, names: &[&'static str]) -> Result<Option<T>, RowError> {
        match names.iter().find(|name| self.array(name).is_valid(row)) {
            None => Ok(None),
            Some(name) => Err(wrong(row, name, "has a value, but what belongs to it has none")),
        }
    }

    fn required<T>(&self, name: &'static str, row: usize, value: Option<T>) -> Result<T, RowError> {
        value.ok_or_else(|| wrong(row, name, "is NULL"))
    }

    fn array(&self, name: &str) -> &'a dyn Array {
        let index = COLUMNS
            .iter()
            .position(|column| column.name == name)
            .expect("only columns of a row are asked for");
        self.columns[index]
    }

    fn text(&self, name: &str, row: usize) -> Option<&'a str> {
        let array: &StringArray = self.array(name).as_string();
        array.is_valid(row).then(|| array.value(row))
    }

    fn bytes(&self, name: &str, row: usize) -> Option<&'a [u8]> {
        let array: &BinaryArray = self.array(name).as_binary();
        array.is_valid(row).then(|| array.value(row))
    }

    fn value<T: ArrowPrimitiveType>(&self, name: &str, row: usize) -> Option<T::Native> {
        let array: &PrimitiveArray<T> = self.array(name).as_primitive();
        array.is_valid(row).then(|| array.value(row))
    }

    fn integer(&self, name: &str, row: usize) -> Option<i32> {
        self.value::<Int32Type>(name, row)
    }

    fn long(&self, name: &str, row: usize) -> Option<i64> {
        self.value::<Int64Type>(name, row)
    }

    fn instant(&self, name: &'static str, row: usize) -> Result<Option<Instant>, RowError> {
        let micros = self.value::<TimestampMicrosecondType>(name, row);
        micros.map(Instant::from_micros).transpose().map_err(|error| wrong(row, name, error.to_string()))
    }

    fn map<'s>(&self, name: &str, maps: &'s Maps<'a>, row: usize) -> Option<MapRef<'s>> {
        let start = if row == 0 { (0, 0) } else { maps.ends[row - 1] };
        let end = maps.ends[row];
        self.array(name)
            .is_valid(row)
            .then(|| MapRef::with_canonical(&maps.pairs[start.0..end.0], &maps.canonical[start.1..end.1]))
    }
}

fn wrong(row: usize, column: &'static str, what: impl Into<String>) -> RowError {
    RowError { row, column, what: what.into() }
}

impl<'a> Maps<'a> {
    fn read(name: &'static str, texts: &'a StringArray) -> Result<Self, RowError> {
        let mut maps = Self::default();
        for (row, text) in texts.iter().enumerate() {
            if let Some(text) = text {
                let first = maps.pairs.len();
                let mut json = serde_json::Deserializer::from_str(text);
                let read = json.deserialize_map(PairsInto(&mut maps.pairs)).and_then(|()| json.end());
                read.map_err(|error| wrong(row, name, format!("is not what was written: {error}")))?;
                push_map(&mut maps.canonical, &maps.pairs[first..]);
            }
            maps.ends.push((maps.pairs.len(), maps.canonical.len()));
        }
        Ok(maps)
    }
}

/// Text that is borrowed unless it has an escape.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct PairsInto<'p, 'a>(&'p mut Vec<Pair<'a>>);

impl<'a> Visitor<'a> for PairsInto<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of strings with its names in order")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let first = self.0.len();
        while let Some((Text(name), Text(value))) = map.next_entry()? {
            if self.0[first..].last().is_some_and(|(before, _)| *before >= name) {
                return Err(serde::de::Error::custom(format!("the name {name:?} is not in order")));
            }
            self.0.push((name, value));
        }
        Ok(())
    }
}
