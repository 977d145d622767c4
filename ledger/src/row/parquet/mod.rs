//! Rows as the bytes of one Parquet file, readable by anybody, and back.
//!
//! The file is the library's, and so is every column chunk that [`pages`] does not write
//! more cheaply.
//!
//! Invariant: the same rows have the same bytes, as long as neither the library nor zstd changes.

mod encodings; // numbers and lengths as Parquet packs them
mod pages; // column chunks from what is known of a column

use super::columns::{Column, Packing, arrow_schema};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, SchemaRef};
use bytes::Bytes;
use pages::{Chunk, Pages};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use std::sync::Arc;

/// How rows of these columns are written: dictionaries where values repeat, and no work where they
/// cannot.
pub fn writer_properties(columns: &[Column]) -> WriterProperties {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level"));
    let mut properties = WriterProperties::builder()
        .set_compression(zstd)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_data_page_row_count_limit(100_000)
        .set_write_batch_size(8192);
    for column in columns {
        let encoding = match column.packing {
            Packing::Dictionary => continue,
            Packing::Deltas => Encoding::DELTA_BINARY_PACKED,
            Packing::Prefixes => Encoding::DELTA_BYTE_ARRAY,
            Packing::Lengths | Packing::Random => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            Packing::Plain => Encoding::PLAIN,
        };
        let path = ColumnPath::from(column.name);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path.clone(), encoding);
        if column.packing == Packing::Random {
            properties = properties.set_column_compression(path, Compression::UNCOMPRESSED);
        }
    }
    properties.build()
}

/// A file of these rows. Whether a column is a dictionary in memory is not said there: every file
/// has the same types.
pub fn parquet_bytes(rows: &RecordBatch, columns: &[Column]) -> Vec<u8> {
    file(rows, &arrow_schema(columns), writer_properties(columns))
}

/// The rows in the bytes of a file.
///
/// # Errors
/// The defect of the bytes, as part of a sentence.
pub fn read_parquet(file: Bytes) -> Result<Vec<RecordBatch>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(65_536).build());
    let reader = reader.map_err(|error| error.to_string())?;
    reader.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// Why nothing fails that is written here.
const MEMORY: &str = "writing to memory cannot fail";

fn file(rows: &RecordBatch, schema: &SchemaRef, properties: WriterProperties) -> Vec<u8> {
    let descriptor =
        ArrowSchemaConverter::new().convert(schema).expect("every column type is writable as Parquet");
    let properties = Arc::new(properties);
    let mut file = SerializedFileWriter::new(Vec::new(), descriptor.root_schema_ptr(), properties.clone())
        .expect(MEMORY);
    let library = ArrowRowGroupWriterFactory::new(&file, schema.clone());
    let mut pages = Pages::new(properties.clone());
    let most = properties.max_row_group_row_count().unwrap_or(usize::MAX);
    for (group, start) in (0..rows.num_rows()).step_by(most).enumerate() {
        let rows = rows.slice(start, most.min(rows.num_rows() - start));
        let mut writers = Vec::new();
        let mut chunks = Vec::new();
        for (index, (field, array)) in schema.fields().iter().zip(rows.columns()).enumerate() {
            if let Some(chunk) = pages.chunk(&descriptor.column(index), field, array) {
                chunks.push(Written::Here(chunk));
                continue;
            }
            if writers.is_empty() {
                writers = library.create_column_writers(group).expect(MEMORY).into_iter().map(Some).collect();
            }
            let writer = writers[index].take().expect("a column is written once");
            chunks.push(Written::ByLibrary(by_library(writer, field, array)));
        }
        // So that the file grows once; its footer is a few kilobytes.
        file.inner_mut().reserve(chunks.iter().map(Written::len).sum::<usize>() + 16_384);
        let mut group = file.next_row_group().expect(MEMORY);
        for chunk in chunks {
            match chunk {
                Written::Here(chunk) => chunk.append(&mut group),
                Written::ByLibrary(chunk) => chunk.append_to_row_group(&mut group),
            }
            .expect(MEMORY);
        }
        group.close().expect(MEMORY);
    }
    file.into_inner().expect(MEMORY)
}

enum Written<'a> {
    Here(Chunk<'a>),
    ByLibrary(ArrowColumnChunk),
}

impl Written<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Here(chunk) => chunk.len(),
            Self::ByLibrary(chunk) => usize::try_from(chunk.close().bytes_written).expect("it is in memory"),
        }
    }
}

fn by_library(mut writer: ArrowColumnWriter, field: &Field, array: &ArrayRef) -> ArrowColumnChunk {
    for leaf in compute_leaves(field, array).expect("a column has the type of its field") {
        writer.write(&leaf).expect(MEMORY);
    }
    writer.close().expect(MEMORY)
}

#[cfg(test)]
mod tests {
    use super::super::columns::COLUMNS;
    use super::*;
    use arrow::array::{
        Array as _, AsArray as _, BinaryArray, Decimal128Array, DictionaryArray, Int32Array, Int64Array,
        StringArray, TimestampMicrosecondArray,
    };
    use arrow::compute::{cast, concat_batches};
    use arrow::datatypes::{Int32Type, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_writer::ArrowWriterOptions;
    use parquet::file::metadata::ParquetMetaData;
    use parquet::file::properties::WriterPropertiesBuilder;
    use proptest::collection::vec;
    use proptest::option::weighted;
    use proptest::prelude::*;

    /// The rows of a file, and its metadata.
    fn read(file: Vec<u8>) -> (RecordBatch, Arc<ParquetMetaData>) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        let (schema, metadata) = (reader.schema().clone(), reader.metadata().clone());
        let batches: Vec<_> = reader.with_batch_size(1000).build().unwrap().map(Result::unwrap).collect();
        (concat_batches(&schema, &batches).unwrap(), metadata)
    }

    fn library(rows: &RecordBatch, schema: &SchemaRef, properties: WriterProperties) -> Vec<u8> {
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new_with_options(&mut file, schema.clone(), options).unwrap();
        writer.write(rows).unwrap();
        writer.close().unwrap();
        file
    }

    /// Writes rows, and expects them back, and what the library would have written.
    #[track_caller]
    fn check(rows: &RecordBatch, columns: &[Column], properties: &WriterProperties) -> Arc<ParquetMetaData> {
        let schema = arrow_schema(columns);
        let bytes = file(rows, &schema, properties.clone());
        assert_eq!(bytes, file(rows, &schema, properties.clone()), "the same rows have the same bytes");
        let (found, metadata) = read(bytes);
        for (index, (field, array)) in schema.fields().iter().zip(rows.columns()).enumerate() {
            assert_eq!(found.column(index), &cast(array, field.data_type()).unwrap(), "{}", field.name());
        }
        let (expected, by_library) = read(library(rows, &schema, properties.clone()));
        assert_eq!(found, expected);
        assert_eq!(metadata.file_metadata().schema_descr(), by_library.file_metadata().schema_descr());
        assert_eq!(metadata.num_row_groups(), by_library.num_row_groups());
        metadata
    }

    fn properties() -> WriterPropertiesBuilder {
        writer_properties(COLUMNS).into_builder()
    }

    /// Of a column of [`COLUMNS`], what a batch with these values has.
    fn one(name: &str, array: ArrayRef) -> (RecordBatch, &'static [Column]) {
        let index = COLUMNS.iter().position(|column| column.name == name).unwrap();
        let field = Field::new(name, array.data_type().clone(), !COLUMNS[index].required);
        (
            RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap(),
            &COLUMNS[index..=index],
        )
    }

    fn words(keys: Vec<Option<i32>>, words: Vec<String>) -> ArrayRef {
        Arc::new(DictionaryArray::<Int32Type>::new(
            Int32Array::from(keys),
            Arc::new(StringArray::from(words)),
        ))
    }

    fn encodings(metadata: &ParquetMetaData) -> Vec<Encoding> {
        metadata.row_group(0).column(0).encodings().collect()
    }

    /// Whether all data pages have indices into a dictionary.
    fn indices_alone(metadata: &ParquetMetaData) -> bool {
        metadata.row_group(0).column(0).page_encoding_stats_mask().unwrap().is_only(Encoding::RLE_DICTIONARY)
    }

    #[test]
    fn no_rows_have_no_row_group() {
        let schema = arrow_schema(COLUMNS);
        assert_eq!(
            check(&RecordBatch::new_empty(schema), COLUMNS, &writer_properties(COLUMNS)).num_row_groups(),
            0
        );
    }

    #[test]
    fn a_column_of_nulls_has_no_values() {
        let fields: Vec<_> = COLUMNS.iter().filter(|column| !column.required).collect();
        for column in fields {
            for rows in [1, 8, 100_001] {
                let array = arrow::array::new_null_array(&column.kind.arrow(), rows);
                let (rows, columns) = one(column.name, array);
                let metadata = check(&rows, columns, &writer_properties(COLUMNS));
                assert!(metadata.row_group(0).column(0).compressed_size() < 100, "{}", column.name);
            }
        }
    }

    #[test]
    fn one_value_for_all_takes_next_to_nothing() {
        let (rows, columns) = one("source", words(vec![Some(0); 100_000], vec!["//edge/ams".to_owned()]));
        let metadata = check(&rows, columns, &writer_properties(COLUMNS));
        assert!(indices_alone(&metadata));
        assert!(metadata.row_group(0).column(0).compressed_size() < 100);
    }

    #[test]
    fn a_dictionary_that_is_too_large_is_left_to_the_library() {
        let many = 100_000;
        let texts = (0..many).map(|number| format!("//edge/{number}")).collect();
        let (rows, columns) =
            one("source", words((0..many).map(|row| (row % 11 > 0).then_some(row)).collect(), texts));
        let metadata = check(&rows, columns, &writer_properties(COLUMNS));
        assert!(!indices_alone(&metadata));
    }

    #[test]
    fn text_that_is_no_dictionary_is_left_to_the_library() {
        let texts: StringArray =
            (0..1000).map(|number| (number % 3 > 0).then(|| format!("//edge/{}", number % 7))).collect();
        let (rows, columns) = one("source", Arc::new(texts));
        assert!(
            encodings(&check(&rows, columns, &writer_properties(COLUMNS)))
                .contains(&Encoding::RLE_DICTIONARY)
        );
    }

    #[test]
    fn a_value_of_a_dictionary_may_be_null() {
        let values: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let (rows, columns) = one(
            "source",
            Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(vec![0, 1, 0]), values)),
        );
        let (found, _) = read(file(&rows, &arrow_schema(columns), writer_properties(COLUMNS)));
        assert_eq!(found.column(0).as_string::<i32>(), &StringArray::from(vec![Some("a"), None, Some("a")]));
    }

    #[test]
    fn every_row_group_has_its_rows() {
        let properties = properties().set_max_row_group_row_count(Some(7)).build();
        for rows in [6, 7, 8, 14, 15] {
            let keys = (0..rows).map(|row| (row % 5 > 0).then_some(row % 3)).collect();
            let (rows, columns) = one("subject", words(keys, ["a", "b", "c"].map(str::to_owned).to_vec()));
            assert_eq!(check(&rows, columns, &properties).num_row_groups(), rows.num_rows().div_ceil(7));
        }
    }

    #[test]
    fn digests_are_where_they_are_written_from() {
        let digests: Vec<_> = (0..100_000u32)
            .map(|row| {
                (row % 9 > 0).then(|| *schemas::digest::Sha256Digest::of(&row.to_le_bytes()).as_bytes())
            })
            .collect();
        let digests: BinaryArray = digests.iter().map(Option::as_ref).collect();
        let (rows, columns) = one("content_digest", Arc::new(digests));
        let metadata = check(&rows, columns, &writer_properties(COLUMNS));
        let column = metadata.row_group(0).column(0);
        assert_eq!(column.compressed_size(), column.uncompressed_size());
    }

    #[test]
    fn numbers_may_be_as_far_apart_as_numbers_are() {
        let numbers = [i64::MIN, i64::MAX, 0, -1, i64::MIN, i64::MIN, i64::MAX, 1];
        let long = Int64Array::from_iter_values(numbers.into_iter().cycle().take(1000));
        let (rows, columns) = one("offset", Arc::new(long));
        assert!(
            encodings(&check(&rows, columns, &writer_properties(COLUMNS)))
                .contains(&Encoding::DELTA_BINARY_PACKED)
        );
        let short = Int32Array::from_iter_values([i32::MIN, i32::MAX, 0, -1].into_iter().cycle().take(1000));
        let (rows, columns) = one("partition", Arc::new(short));
        assert!(
            encodings(&check(&rows, columns, &writer_properties(COLUMNS)))
                .contains(&Encoding::DELTA_BINARY_PACKED)
        );
    }

    /// Values that are constant, grow, repeat or are anything, as columns have them.
    fn numbers() -> impl Strategy<Value = Vec<Option<i64>>> {
        let value = prop_oneof![Just(0), 0..10i64, any::<i64>(), Just(i64::MIN)];
        (vec((weighted(0.9, value), 1..40usize), 0..20), any::<bool>()).prop_map(|(runs, sum)| {
            let mut all = 0i64;
            let values = runs.into_iter().flat_map(|(value, times)| std::iter::repeat_n(value, times));
            values
                .map(|value| {
                    all = value.map_or(all, |value| all.wrapping_add(value));
                    value.map(|value| if sum { all } else { value })
                })
                .collect()
        })
    }

    fn low(number: &i64) -> i32 {
        let [a, b, c, d, ..] = number.to_le_bytes();
        i32::from_le_bytes([a, b, c, d])
    }

    fn texts() -> impl Strategy<Value = Vec<Option<String>>> {
        let text = prop_oneof!["[a-c]{0,3}", "event-00[0-9]{3}", "\\PC{0,20}", Just("x".repeat(300))];
        vec((weighted(0.9, text), 1..12usize), 0..30).prop_map(|runs| {
            runs.into_iter().flat_map(|(text, times)| std::iter::repeat_n(text, times)).collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            numbers in numbers(), texts in texts(), page in 1..300usize, bytes in 1..2000usize, skip in 0..20usize, compressed: bool
        ) {
            let mut properties = properties().set_data_page_row_count_limit(page).set_data_page_size_limit(bytes);
            if !compressed {
                for column in COLUMNS {
                    properties = properties.set_column_compression(column.name.into(), Compression::UNCOMPRESSED);
                }
            }
            let properties = properties.build();
            // Arrays that begin somewhere in their memory.
            let part = |array: ArrayRef| array.slice(skip.min(array.len()), array.len().saturating_sub(skip));
            let write = |name: &str, array: ArrayRef| {
                let (rows, columns) = one(name, part(array));
                check(&rows, columns, &properties);
            };
            let present: Vec<i64> = numbers.iter().copied().flatten().collect();
            write("partition", Arc::new(Int32Array::from_iter_values(present.iter().map(low))));
            write("offset", Arc::new(Int64Array::from(present)));
            write("producer_seq", Arc::new(Int64Array::from(numbers.clone())));
            write("time", Arc::new(TimestampMicrosecondArray::from(numbers.clone()).with_timezone("UTC")));
            let decimals = Decimal128Array::from_iter(numbers.iter().map(|number| number.map(|number| i128::from(number) << 20)));
            write("value", Arc::new(decimals.with_precision_and_scale(28, 9).unwrap()));

            let text: StringArray = texts.iter().collect();
            let binary: BinaryArray = texts.iter().map(Option::as_ref).collect();
            for name in ["id", "detail", "subject"] {
                write(name, Arc::new(text.clone()));
            }
            for name in ["content_digest", "raw_value"] {
                write(name, Arc::new(binary.clone()));
            }
            let dictionary: DictionaryArray<Int32Type> = texts.iter().map(Option::as_deref).collect();
            write("subject", Arc::new(dictionary));
            // Numbers that nothing or anything is behind, as a builder may leave them where there
            // is NULL.
            let keys: Vec<i32> = numbers.iter().map(|number| number.map_or(-1, |number| low(&number) & 3)).collect();
            let nulls = numbers.iter().map(Option::is_some).collect();
            let words = StringArray::from_iter_values(["a", "", "b", "c", "a"]);
            write("provider", Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::new(keys.into(), Some(nulls)), Arc::new(words))));
        }
    }

    #[test]
    fn values_that_are_null_may_have_bytes() {
        let values = BinaryArray::from_iter_values((0..100u8).map(|row| vec![row; 3]));
        let (offsets, bytes, _) = values.into_parts();
        let values = BinaryArray::new(offsets, bytes, Some((0..100).map(|row| row % 4 > 0).collect()));
        for name in ["content_digest", "raw_value"] {
            let (rows, columns) = one(name, Arc::new(values.clone()));
            let (found, _) = read(file(&rows, &arrow_schema(columns), writer_properties(COLUMNS)));
            assert_eq!(found.column(0).as_binary::<i32>(), &values);
        }
    }

    #[test]
    fn a_chunk_does_not_depend_on_those_before_it() {
        let ids: StringArray = (0..5000u32)
            .map(|row| Some(schemas::digest::Sha256Digest::of(&row.to_le_bytes()).to_string()))
            .collect();
        let numbers = Int64Array::from_iter_values((0..5000i64).map(|number| number * number % 977));
        let arrays: [(&str, ArrayRef); 2] =
            [("correction_id", Arc::new(ids)), ("producer_seq", Arc::new(numbers))];
        let chunks = |order: [usize; 2]| {
            let rows = RecordBatch::try_from_iter_with_nullable(
                order.map(|index| (arrays[index].0, arrays[index].1.clone(), true)),
            )
            .unwrap();
            let bytes = file(&rows, &rows.schema(), writer_properties(COLUMNS));
            let (_, metadata) = read(bytes.clone());
            let chunk = |index: usize| {
                let (start, length) = metadata.row_group(0).column(index).byte_range();
                bytes[usize::try_from(start).unwrap()..][..usize::try_from(length).unwrap()].to_vec()
            };
            order.map(chunk)
        };
        assert_eq!(chunks([0, 1]), chunks([1, 0]));
    }
}
