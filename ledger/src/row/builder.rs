//! From records, one at a time, to the rows of one commit: their columns, and the bytes that are
//! hashed for them.
//!
//! Nothing is kept of a record but what its row needs, and nothing is allocated for it alone. Of a
//! content only the digest is kept, taken while the content is still near the processor. The
//! version, which is not known before the commit, comes at the end.
//!
//! It checks what ingest promises, because a promise that is only made once is not one: every row
//! lies in the advance of its stream, offsets only grow, and the counts add up. A batch that breaks
//! this is a programming error and stops the process.

use super::columns::COLUMNS;
use super::dictionary::{DictionaryBuilder, once_each, same};
use arrow::array::{
    Array as _, ArrayBuilder as _, ArrayRef, BinaryArray, BinaryBuilder, BooleanBufferBuilder, Int32Array,
    Int64Array, PrimitiveArray, RecordBatch, StringBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, ArrowPrimitiveType, Decimal128Type, Field, Int64Type, Schema};
use proof::lanes;
use proof::record::MeterControl;
use proof::row::{RowHeader, header, stream_digest};
use schemas::canonical::Pair;
use schemas::decimal::QuantityTotal;
use schemas::digest::Sha256Digest;
use schemas::event::{EventRef, MapRef};
use schemas::outcome::{Kind, OutcomeRef, Tally};
use schemas::position::{Advance, LastRecord, NextOffset, Offset, Stream};
use schemas::time::Instant;
use std::sync::Arc;

/// A stream of a batch under construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamIndex(usize);

struct StreamState {
    stream: Arc<Stream>,
    origin: String,
    origin_name: String,
    digest: Sha256Digest,
    advance: Option<Advance>,
    /// Where its source can tell it from another.
    last: Option<LastRecord>,
    /// The next offset that a row may have.
    reached: NextOffset,
}

/// The rows of one commit, under construction.
#[derive(Default)]
pub struct BatchBuilder {
    streams: Vec<StreamState>,
    counts: Tally,
    headers: Vec<RowHeader>,
    /// Of the rows from `content_digests.len()` on, what the digests are taken of, one after the
    /// other, and where each ends.
    contents: Vec<u8>,
    content_ends: Vec<u32>,
    content_digests: Vec<[u8; 32]>,
    columns: Columns,
    /// Of each meter, by its number in the column.
    meters: Vec<MeterSum>,
}

/// The usage rows of a meter, added up.
#[derive(Clone, Copy, Default)]
struct MeterSum {
    usage: u64,
    corrections: u64,
    /// Of 10^-9.
    units: i128,
}

/// So many bytes of contents are hashed together: enough for messages to be hashed side by side,
/// and few enough to be in the cache.
const HASHED_TOGETHER: usize = 256 << 10;

/// The rows of a batch, and what is hashed of them.
pub struct BuiltRows {
    pub rows: RecordBatch,
    /// Of each row, its bytes but for the digest of its content.
    pub headers: Vec<RowHeader>,
    /// Joined: the very memory of the column in `rows`, where all rows are usage.
    content_digests: Buffer,
}

impl BuiltRows {
    /// Of each row, the digest of its content.
    pub fn content_digests(&self) -> &[[u8; 32]] {
        self.content_digests.as_chunks().0
    }
}

/// The values that differ from row to row. Rows that a column was not set for are NULL there.
#[derive(Default)]
struct Columns {
    kinds: Vec<Kind>,
    streams: Vec<usize>,
    offset: Vec<i64>,
    produced_at: Sparse<i64>,
    received_at: Vec<i64>,
    source: DictionaryBuilder,
    id: StringBuilder,
    meter: DictionaryBuilder,
    subject: DictionaryBuilder,
    time: Sparse<i64>,
    value: Sparse<i128>,
    dimensions: Maps,
    provider: DictionaryBuilder,
    location: DictionaryBuilder,
    resource: Maps,
    producer_id: DictionaryBuilder,
    producer_epoch: Sparse<i64>,
    producer_seq: Sparse<i64>,
    correction_action: DictionaryBuilder,
    correction_source: DictionaryBuilder,
    correction_id: StringBuilder,
    correction_reason: StringBuilder,
    reason: DictionaryBuilder,
    detail: StringBuilder,
    raw_key: BinaryBuilder,
    raw_headers: BinaryBuilder,
    raw_value: BinaryBuilder,
    gap_until: Sparse<i64>,
}

impl BatchBuilder {
    /// A batch that is expected to have so many rows, as the one before had, and need not grow by
    /// and by.
    pub fn expecting(rows: usize) -> Self {
        let mut batch = Self::default();
        batch.headers.reserve(rows);
        batch.content_digests.reserve(rows);
        batch.columns.reserve(rows);
        batch
    }

    /// The number of a stream in this batch. Asking for the stream of the record before costs next
    /// to nothing.
    pub fn stream(&mut self, stream: &Arc<Stream>, origin_name: &str) -> StreamIndex {
        let last = self.columns.streams.last().copied();
        if let Some(last) = last
            && self.streams[last].is(stream, origin_name)
        {
            return StreamIndex(last);
        }
        if let Some(index) = self.streams.iter().position(|known| known.is(stream, origin_name)) {
            return StreamIndex(index);
        }
        // A stream has one name in a batch, so that it has one advance.
        assert!(self.streams.iter().all(|known| known.stream != *stream), "{stream}: one stream, two names");
        let origin = stream.origin.to_string();
        let digest = stream_digest(&origin, stream.partition, origin_name);
        let state = StreamState {
            stream: stream.clone(),
            origin,
            origin_name: origin_name.to_owned(),
            digest,
            advance: None,
            last: None,
            reached: NextOffset(i64::MIN),
        };
        self.streams.push(state);
        StreamIndex(self.streams.len() - 1)
    }

    /// Says that a stream was read from `advance.from`, where this batch had read it to, to
    /// `advance.to`. Rows come after.
    ///
    /// # Panics
    /// When it does not begin where the stream's advance ends.
    pub fn advance(&mut self, stream: StreamIndex, advance: Advance) {
        let state = &mut self.streams[stream.0];
        let Advance { from, to, identity } = advance;
        assert!(from <= to, "{}: an advance from {from} back to {to}", state.stream);
        let begun = match state.advance {
            None => {
                state.reached = from;
                from
            }
            Some(before) => {
                assert!(
                    before.to == from,
                    "{}: an advance from {from} follows one to {}",
                    state.stream,
                    before.to
                );
                before.from
            }
        };
        let identity = identity.or(state.advance.and_then(|before| before.identity));
        state.advance = Some(Advance { from: begun, to, identity });
    }

    /// Says which record of a stream is the last of this batch, where its source can tell it from
    /// another.
    pub fn last(&mut self, stream: StreamIndex, last: LastRecord) {
        self.streams[stream.0].last = Some(last);
    }

    /// Appends a row.
    ///
    /// # Panics
    /// When the row lies outside its stream's advance or not after the row before it.
    pub fn push(
        &mut self,
        stream: StreamIndex,
        offset: Offset,
        produced_at: Option<Instant>,
        received_at: Instant,
        outcome: &OutcomeRef<'_>,
    ) {
        let state = &mut self.streams[stream.0];
        let kind = outcome.kind();
        let next = match outcome {
            OutcomeRef::Gap { until, .. } => NextOffset(until.0),
            OutcomeRef::Usage(_) | OutcomeRef::Rejected { .. } => offset.next(),
        };
        let Advance { to, .. } = state.advance.expect("every record belongs to a stream the batch advances");
        assert!(
            offset.0 >= state.reached.0,
            "{}: offset {offset} follows {}; offsets of a batch only grow",
            state.stream,
            state.reached
        );
        assert!(
            next <= to && next.0 > offset.0,
            "{}: offset {offset} lies beyond the batch's end {to}",
            state.stream
        );
        state.reached = next;

        self.headers.push(header(kind, &state.digest, offset, produced_at, received_at));
        outcome.write_content(&mut self.contents);
        self.content_ends
            .push(u32::try_from(self.contents.len()).expect("a content has fewer than 2^31 bytes"));
        if self.contents.len() >= HASHED_TOGETHER {
            self.hash_contents();
        }

        self.counts.count(kind);
        let columns = &mut self.columns;
        let row = columns.kinds.len();
        columns.kinds.push(kind);
        columns.streams.push(stream.0);
        columns.offset.push(offset.0);
        columns.received_at.push(received_at.micros());
        if let Some(at) = produced_at {
            columns.produced_at.set(row, at.micros());
        }
        match outcome {
            OutcomeRef::Usage(event) => {
                let meter = columns.usage(row, event);
                if meter == self.meters.len() {
                    self.meters.push(MeterSum::default());
                }
                let sum = &mut self.meters[meter];
                sum.usage += 1;
                sum.corrections += u64::from(event.correction.is_some());
                // Each has 28 digits at most, and there are fewer than 2^31.
                sum.units += event.quantity.units();
            }
            OutcomeRef::Rejected { reason, detail, key, headers, value } => {
                columns.reason.set(row, reason.as_str().as_bytes());
                set_text(&mut columns.detail, row, detail);
                for (column, part) in [
                    (&mut columns.raw_key, *key),
                    (&mut columns.raw_headers, Some(*headers)),
                    (&mut columns.raw_value, *value),
                ] {
                    if let Some(part) = part {
                        column.append_nulls(row - column.len());
                        column.append_value(part);
                    }
                }
            }
            OutcomeRef::Gap { until, detail } => {
                set_text(&mut columns.detail, row, detail);
                columns.gap_until.set(row, until.0);
            }
        }
    }

    pub fn rows(&self) -> usize {
        self.columns.kinds.len()
    }

    /// Whether there is nothing to commit: no row, and no stream that moves.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0 && self.streams.iter().all(|state| state.advance.is_none())
    }

    pub fn counts(&self) -> Tally {
        self.counts
    }

    /// How far each stream moves and the last record on the way, in no order.
    pub fn advances(&self) -> impl Iterator<Item = (&Stream, Advance, Option<LastRecord>)> {
        self.streams.iter().filter_map(|state| Some((&*state.stream, state.advance?, state.last)))
    }

    /// Of each row, its bytes but for the digest of its content.
    pub fn headers(&self) -> &[RowHeader] {
        &self.headers
    }

    /// Of each row, the digest of its content.
    pub fn content_digests(&mut self) -> &[[u8; 32]] {
        self.hash_contents();
        &self.content_digests
    }

    fn hash_contents(&mut self) {
        self.content_digests.append(&mut lanes::variable(&self.contents, &self.content_ends));
        self.contents.clear();
        self.content_ends.clear();
    }

    /// How many meters there are.
    pub fn meters(&self) -> usize {
        self.meters.len()
    }

    /// The usage of each meter, ascending by meter.
    pub fn controls(&self) -> Vec<MeterControl> {
        let names = self.columns.meter.distinct().iter();
        let control = |(meter, sum): (&[u8], &MeterSum)| MeterControl {
            meter: std::str::from_utf8(meter).expect("a meter is text").to_owned(),
            usage: sum.usage,
            corrections: sum.corrections,
            value: QuantityTotal::from_units(sum.units)
                .expect("2^31 values of 28 digits have no more than 38"),
        };
        let mut controls: Vec<MeterControl> = names.zip(&self.meters).map(control).collect();
        controls.sort_by(|one, other| one.meter.cmp(&other.meter));
        assert_eq!(
            controls.iter().map(|control| control.usage).sum::<u64>(),
            self.counts.usage,
            "every row of usage has a meter"
        );
        controls
    }

    /// The subjects, each once.
    pub fn subjects(&self) -> impl ExactSizeIterator<Item = &str> {
        self.columns
            .subject
            .distinct()
            .iter()
            .map(|subject| std::str::from_utf8(subject).expect("a subject is text"))
    }

    /// Which of the subjects a row has; rejected rows and gaps have none.
    pub fn subject_of(&self, row: usize) -> Option<usize> {
        self.columns.subject.get(row)
    }

    /// The rows as version `version` will commit them. Columns of text whose values repeat are
    /// dictionaries here and plain text in a file.
    pub fn into_rows(mut self, version: i64) -> BuiltRows {
        let rows = self.rows();
        assert_eq!(rows as u64, self.counts.rows(), "received = usage + rejected + gaps");
        assert_eq!(rows, self.content_digests().len(), "every row has a content");
        let content_digests = Buffer::from_vec(self.content_digests.into_flattened());
        let Columns { kinds, streams, .. } = &self.columns;
        let kind =
            once_each(kinds.iter().map(|kind| usize::from(kind.number()) - 1), &Kind::ALL.map(Kind::as_str));
        let of_streams = |text: fn(&StreamState) -> &str| {
            once_each(streams.iter().copied(), &self.streams.iter().map(text).collect::<Vec<_>>())
        };
        let (origin, origin_name) =
            (of_streams(|state| &state.origin), of_streams(|state| &state.origin_name));
        let partitions: Vec<i32> = self
            .streams
            .iter()
            .map(|state| i32::try_from(state.stream.partition).expect("Kafka partitions are 31-bit"))
            .collect();
        let partition: Vec<i32> = streams.iter().map(|stream| partitions[*stream]).collect();
        let digest = digest_column(kinds, &content_digests);
        let instants = |micros: Sparse<i64>| -> ArrayRef {
            let (values, nulls) = micros.into_parts(rows);
            Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone("UTC"))
        };
        let longs = |values: Sparse<i64>| -> ArrayRef { Arc::new(values.into_array::<Int64Type>(rows)) };
        let text = |mut column: StringBuilder| -> ArrayRef {
            column.append_nulls(rows - column.len());
            Arc::new(column.finish())
        };
        let bytes = |mut column: BinaryBuilder| -> ArrayRef {
            column.append_nulls(rows - column.len());
            Arc::new(column.finish())
        };
        let words = |column: DictionaryBuilder| column.into_column(rows, None);
        let value = self
            .columns
            .value
            .into_array::<Decimal128Type>(rows)
            .with_precision_and_scale(28, 9)
            .expect("28,9 is a valid decimal type");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_value(version, rows)),
            Arc::new(Int32Array::from_iter_values(
                (0..rows).map(|row| i32::try_from(row).expect("a batch has fewer than 2^31 rows")),
            )),
            kind,
            origin,
            origin_name,
            Arc::new(Int32Array::from(partition)),
            Arc::new(Int64Array::from(self.columns.offset)),
            instants(self.columns.produced_at),
            Arc::new(TimestampMicrosecondArray::from(self.columns.received_at).with_timezone("UTC")),
            words(self.columns.source),
            text(self.columns.id),
            words(self.columns.meter),
            words(self.columns.subject),
            instants(self.columns.time),
            Arc::new(value),
            self.columns.dimensions.into_column(rows),
            words(self.columns.provider),
            words(self.columns.location),
            self.columns.resource.into_column(rows),
            words(self.columns.producer_id),
            longs(self.columns.producer_epoch),
            longs(self.columns.producer_seq),
            words(self.columns.correction_action),
            words(self.columns.correction_source),
            text(self.columns.correction_id),
            text(self.columns.correction_reason),
            digest,
            words(self.columns.reason),
            text(self.columns.detail),
            bytes(self.columns.raw_key),
            bytes(self.columns.raw_headers),
            bytes(self.columns.raw_value),
            longs(self.columns.gap_until),
        ];
        let fields: Vec<Field> = COLUMNS
            .iter()
            .zip(&columns)
            .map(|(column, array)| Field::new(column.name, array.data_type().clone(), !column.required))
            .collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .expect("the columns match COLUMNS one by one");
        BuiltRows { rows, headers: self.headers, content_digests }
    }
}

impl StreamState {
    fn is(&self, stream: &Arc<Stream>, origin_name: &str) -> bool {
        (Arc::ptr_eq(&self.stream, stream) || self.stream == *stream)
            && same(self.origin_name.as_bytes(), origin_name.as_bytes())
    }
}

impl Columns {
    fn reserve(&mut self, rows: usize) {
        // Ids are as long as a UUID's text, mostly.
        self.id = StringBuilder::with_capacity(rows, rows * 36);
        self.kinds.reserve(rows);
        self.streams.reserve(rows);
        self.offset.reserve(rows);
        self.received_at.reserve(rows);
        self.value.values.reserve(rows);
        for column in
            [&mut self.produced_at, &mut self.time, &mut self.producer_epoch, &mut self.producer_seq]
        {
            column.values.reserve(rows);
        }
        let words = [
            &mut self.source,
            &mut self.meter,
            &mut self.subject,
            &mut self.provider,
            &mut self.location,
            &mut self.producer_id,
        ];
        words.into_iter().chain([&mut self.dimensions.words]).for_each(|column| column.reserve(rows));
    }

    /// Gives the meter's number.
    fn usage(&mut self, row: usize, event: &EventRef<'_>) -> usize {
        self.source.set(row, event.source.as_bytes());
        set_text(&mut self.id, row, event.id);
        let (meter, _) = self.meter.set(row, event.meter.as_bytes());
        self.subject.set(row, event.subject.as_bytes());
        self.time.set(row, event.time.micros());
        self.value.set(row, event.quantity.units());
        self.dimensions.set(row, event.dimensions);
        if let Some(provider) = event.provider {
            self.provider.set(row, provider.as_bytes());
        }
        if let Some(location) = event.location {
            self.location.set(row, location.as_bytes());
        }
        if let Some(resource) = event.resource {
            self.resource.set(row, resource);
        }
        if let Some(producer) = event.producer {
            self.producer_id.set(row, producer.id.as_bytes());
            self.producer_epoch.set(row, producer.epoch);
            self.producer_seq.set(row, producer.seq);
        }
        if let Some(correction) = event.correction {
            self.correction_action.set(row, correction.action.as_str().as_bytes());
            self.correction_source.set(row, correction.source.as_bytes());
            set_text(&mut self.correction_id, row, correction.id);
            set_text(&mut self.correction_reason, row, correction.reason);
        }
        meter
    }
}

fn set_text(column: &mut StringBuilder, row: usize, value: &str) {
    if column.len() < row {
        column.append_nulls(row - column.len());
    }
    column.append_value(value);
}

/// The digests of usage; the others have theirs in the leaf alone.
fn digest_column(kinds: &[Kind], digests: &Buffer) -> ArrayRef {
    let usage = |kind: &Kind| *kind == Kind::Usage;
    let nulls = (!kinds.iter().all(usage)).then(|| kinds.iter().map(usage).collect());
    let lengths = kinds.iter().map(|kind| if usage(kind) { 32 } else { 0 });
    let bytes = match nulls {
        None => digests.clone(),
        Some(_) => kinds
            .iter()
            .zip(digests.as_chunks::<32>().0)
            .filter(|(kind, _)| usage(kind))
            .flat_map(|(_, digest)| *digest)
            .collect(),
    };
    Arc::new(BinaryArray::new(OffsetBuffer::from_lengths(lengths), bytes, nulls))
}

/// A column of numbers; rows that were not set are NULL.
#[derive(Default)]
struct Sparse<T> {
    values: Vec<T>,
    /// Which rows have a value, from the first row on that has none.
    valid: Option<BooleanBufferBuilder>,
}

impl<T: ArrowNativeType> Sparse<T> {
    /// Sets the value of `row`, which is beyond every row that was set before.
    #[inline]
    fn set(&mut self, row: usize, value: T) {
        self.fill(row);
        self.values.push(value);
        if let Some(valid) = &mut self.valid {
            valid.append(true);
        }
    }

    #[inline]
    fn fill(&mut self, rows: usize) {
        if rows > self.values.len() {
            self.append_nulls(rows - self.values.len());
        }
    }

    fn append_nulls(&mut self, rows: usize) {
        let known = self.values.len();
        let valid = self.valid.get_or_insert_with(|| {
            let mut valid = BooleanBufferBuilder::new(known + rows);
            valid.append_n(known, true);
            valid
        });
        valid.append_n(rows, false);
        self.values.resize(known + rows, T::default());
    }

    fn into_parts(mut self, rows: usize) -> (ScalarBuffer<T>, Option<NullBuffer>) {
        self.fill(rows);
        (self.values.into(), self.valid.map(|mut valid| NullBuffer::new(valid.finish())))
    }

    fn into_array<A: ArrowPrimitiveType<Native = T>>(self, rows: usize) -> PrimitiveArray<A> {
        let (values, nulls) = self.into_parts(rows);
        PrimitiveArray::new(values, nulls)
    }
}

/// A column of maps, which are known by their canonical bytes and rendered as JSON once each.
#[derive(Default)]
struct Maps {
    words: DictionaryBuilder,
    json: StringBuilder,
}

impl Maps {
    fn set(&mut self, row: usize, map: MapRef<'_>) {
        if let (_, true) = self.words.set(row, map.canonical()) {
            self.json.append_value(json_object(map.pairs()));
        }
    }

    fn into_column(mut self, rows: usize) -> ArrayRef {
        self.words.into_column(rows, Some(self.json.finish()))
    }
}

fn json_object(map: &[Pair<'_>]) -> String {
    struct Object<'a>(&'a [Pair<'a>]);
    impl serde::Serialize for Object<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
        }
    }
    serde_json::to_string(&Object(map)).expect("a map of strings is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::position::Origin;

    #[test]
    fn each_content_has_its_digest_however_many_are_hashed_together() {
        let stream = Arc::new(Stream {
            origin: Origin::Kafka { cluster: "c".to_owned(), topic: "t".to_owned() },
            partition: 0,
        });
        let received_at = Instant::parse_rfc3339("2025-10-02T08:00:00Z").expect("an instant");
        let mut batch = BatchBuilder::default();
        let index = batch.stream(&stream, "t");
        batch.advance(index, Advance { from: NextOffset(0), to: NextOffset(700), identity: None });
        let mut expected = Vec::new();
        let mut bytes = 0;
        for offset in 0..700 {
            let detail = format!("{offset}").repeat(350);
            let outcome = OutcomeRef::Gap { until: Offset(offset + 1), detail: &detail };
            batch.push(index, Offset(offset), None, received_at, &outcome);
            let mut content = Vec::new();
            outcome.write_content(&mut content);
            bytes += content.len();
            expected.push(*Sha256Digest::of(&content).as_bytes());
            if offset == 300 {
                assert_eq!(batch.content_digests(), expected, "asking early changes nothing");
            }
        }
        assert!(bytes > 2 * HASHED_TOGETHER && batch.contents.len() < HASHED_TOGETHER);
        let built = batch.into_rows(0);
        assert_eq!(built.content_digests(), expected);
        assert_eq!((built.headers.len(), built.rows.num_rows()), (700, 700));
    }
}
