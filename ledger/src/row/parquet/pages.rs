//! Column chunks of a Parquet file, written from what is already known of a column.
//!
//! The builder has numbered the values that repeat; the library would hash and compare each of them
//! once more. The numbers are the indices that a dictionary page is followed by, so they are only
//! packed here. Columns of numbers that grow, ids and digests are encoded from the memory they are
//! in, and all columns share one compressor.
//!
//! It decides nothing: encoding, compression and limits of a column are those of the writer's
//! properties, and whatever is asked for that is not written here is left to the library. It writes
//! no statistics, no indexes and no repeated columns.
//!
//! The rules are those of the format's specification: what a chunk and a page are made of is in
//! `README.md` ("Column chunks", "Data Pages"), the dictionary's page, the indices after it and
//! texts are in `Encodings.md` ("Dictionary Encoding", "Delta-length byte array", "Delta Strings"),
//! a page's header is in `parquet.thrift`, written in Thrift's compact protocol.
//!
//! Invariant: a reader finds the values that the library would have written, and the bytes depend
//! on the array and on the properties alone.

use super::encodings::{
    Integer, count, delta_binary_packed, hybrid, hybrid_bits, hybrid_same, width_below, zigzag,
};
use arrow::array::{Array, ArrayRef, AsArray as _, DictionaryArray, GenericByteArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    BinaryType, ByteArrayType, DataType, Decimal128Type, Field, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, Utf8Type,
};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, Type};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::properties::{EnabledStatistics, WriterPropertiesPtr, WriterVersion};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::{ColumnDescPtr, ColumnPath};
use std::borrow::Cow;
use std::io::{Read, Write};
use std::ops::Range;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{self, CParameter};

/// The level of zstd that is written here.
const LEVEL: i32 = 1;
/// How far back zstd looks for what it has seen and how many places it remembers, as logarithms: as
/// the level says.
const SEARCH: [CParameter; 2] = [CParameter::WindowLog(0), CParameter::HashLog(0)];
/// The same for texts without what they repeat from the one before. The rest is random more often
/// than not, and a longer search then takes twice the time and finds next to nothing.
const SEARCH_SUFFIXES: [CParameter; 2] = [CParameter::WindowLog(17), CParameter::HashLog(10)];
/// The bytes of a decimal of 28 digits.
const DECIMAL_LENGTH: usize = 12;
/// Texts begin with fewer bytes than this alike by chance.
const WORTHWHILE_PREFIX: usize = 4;

/// Writes column chunks; what that needs is kept from one to the next.
pub struct Pages {
    properties: WriterPropertiesPtr,
    compressor: Compressor<'static>,
    /// A page before it is compressed, and after.
    plain: Vec<u8>,
    compressed: Vec<u8>,
    indices: Vec<i32>,
    /// Of the texts of a page, how much is repeated from the one before, how long the rest is, and
    /// where all the rests are.
    prefixes: Vec<i32>,
    suffixes: Vec<i32>,
    kept: Vec<Range<usize>>,
}

impl Pages {
    pub fn new(properties: WriterPropertiesPtr) -> Self {
        Self {
            properties,
            compressor: Compressor::new(LEVEL).expect("it is a level of zstd"),
            plain: Vec::new(),
            compressed: Vec::new(),
            indices: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// The chunk of a column, or `None` when the library has to write it.
    pub fn chunk<'a>(
        &mut self,
        column: &ColumnDescPtr,
        field: &Field,
        array: &'a ArrayRef,
    ) -> Option<Chunk<'a>> {
        let path = column.path();
        let compressed = match self.properties.compression(path) {
            Compression::UNCOMPRESSED => false,
            Compression::ZSTD(level) if level.compression_level() == LEVEL => true,
            _ => return None,
        };
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        let held = match array.data_type() {
            DataType::Dictionary(_, held) => held,
            other => other,
        };
        let (repeated, optional) = (column.max_rep_level() > 0, column.max_def_level() > 0);
        if held != field.data_type()
            || repeated
            || column.max_def_level() > 1
            || (nulls.is_some() && !optional)
            || self.asks_for_more(path)
        {
            return None;
        }
        let dictionary = self.properties.dictionary_enabled(path);
        let encoding = self.properties.encoding(path);
        for parameter in if encoding == Some(Encoding::DELTA_BYTE_ARRAY) { SEARCH_SUFFIXES } else { SEARCH } {
            self.compressor.set_parameter(parameter).expect("zstd knows it");
        }
        let mut writing = Writing {
            pages: self,
            column,
            compressed,
            nulls,
            parts: Vec::new(),
            bytes: 0,
            uncompressed: 0,
            dictionary: 0,
            stats: Vec::new(),
        };
        match (array.data_type(), column.physical_type(), encoding) {
            _ if array.null_count() == array.len() => writing.nothing(array.len()),
            (DataType::Dictionary(key, _), Type::BYTE_ARRAY, _) if dictionary && **key == DataType::Int32 => {
                writing.dictionary(array.as_dictionary())?;
            }
            _ if dictionary => return None,
            (DataType::Int32, Type::INT32, Some(Encoding::DELTA_BINARY_PACKED)) => {
                writing.numbers(array.as_primitive::<Int32Type>().values())
            }
            (DataType::Int64, Type::INT64, Some(Encoding::DELTA_BINARY_PACKED)) => {
                writing.numbers(array.as_primitive::<Int64Type>().values())
            }
            (
                DataType::Timestamp(TimeUnit::Microsecond, _),
                Type::INT64,
                Some(Encoding::DELTA_BINARY_PACKED),
            ) => {
                writing.numbers(array.as_primitive::<TimestampMicrosecondType>().values());
            }
            (DataType::Decimal128(..), Type::FIXED_LEN_BYTE_ARRAY, Some(Encoding::PLAIN))
                if usize::try_from(column.type_length()) == Ok(DECIMAL_LENGTH) =>
            {
                writing.decimals(array.as_primitive::<Decimal128Type>().values());
            }
            (DataType::Utf8, Type::BYTE_ARRAY, Some(encoding)) => {
                writing.texts::<Utf8Type>(array.as_bytes(), encoding)?
            }
            (DataType::Binary, Type::BYTE_ARRAY, Some(encoding)) => {
                writing.texts::<BinaryType>(array.as_bytes(), encoding)?
            }
            _ => return None,
        }
        Some(writing.close(array.len()))
    }

    /// Whether a column is to have what is not written here.
    fn asks_for_more(&self, path: &ColumnPath) -> bool {
        self.properties.writer_version() != WriterVersion::PARQUET_1_0
            || self.properties.statistics_enabled(path) != EnabledStatistics::None
            || !self.properties.offset_index_disabled()
            || self.properties.bloom_filter_properties(path).is_some()
    }
}

/// A chunk under construction.
struct Writing<'p, 'a> {
    pages: &'p mut Pages,
    column: &'p ColumnDescPtr,
    compressed: bool,
    nulls: Option<&'a NullBuffer>,
    parts: Vec<Cow<'a, [u8]>>,
    /// The length of `parts`, and what it would be if nothing were compressed.
    bytes: usize,
    uncompressed: usize,
    /// The length of the dictionary's page.
    dictionary: usize,
    stats: Vec<PageEncodingStats>,
}

impl<'a> Writing<'_, 'a> {
    /// A column that is NULL in every row.
    fn nothing(&mut self, rows: usize) {
        for rows in self.stretches(rows) {
            self.begin(&rows);
            self.end(&rows, Encoding::PLAIN, &[]);
        }
    }

    /// The values once each, and for each row an index. `None` when they would be too large
    /// together or are not plain text.
    fn dictionary(&mut self, rows: &DictionaryArray<Int32Type>) -> Option<()> {
        let words = rows.values().as_string_opt::<i32>()?;
        let bytes = words.value_data().len() + words.len() * size_of::<u32>();
        if words.null_count() > 0
            || bytes >= self.pages.properties.column_dictionary_page_size_limit(self.column.path())
        {
            return None;
        }
        let plain = &mut self.pages.plain;
        plain.clear();
        for word in words.iter().flatten() {
            plain.extend_from_slice(&length(word.len()).to_le_bytes());
            plain.extend_from_slice(word.as_bytes());
        }
        self.page(PageType::DICTIONARY_PAGE, words.len(), Encoding::PLAIN, &[]);
        self.dictionary = self.bytes;
        let width = width_below(words.len());
        let keys = rows.keys().values();
        for rows in self.stretches(keys.len()) {
            self.begin(&rows);
            let Pages { plain, indices, .. } = &mut *self.pages;
            plain.push(u8::try_from(width).expect("32 at most"));
            hybrid(plain, width, values_of(self.nulls, keys, &rows, indices));
            self.end(&rows, Encoding::RLE_DICTIONARY, &[]);
        }
        Some(())
    }

    fn numbers<T: Integer>(&mut self, numbers: &[T]) {
        let mut gathered = Vec::new();
        for rows in self.stretches(numbers.len()) {
            self.begin(&rows);
            delta_binary_packed(&mut self.pages.plain, values_of(self.nulls, numbers, &rows, &mut gathered));
            self.end(&rows, Encoding::DELTA_BINARY_PACKED, &[]);
        }
    }

    fn decimals(&mut self, decimals: &[i128]) {
        let mut gathered = Vec::new();
        for rows in self.stretches(decimals.len()) {
            self.begin(&rows);
            let plain = &mut self.pages.plain;
            let decimals = values_of(self.nulls, decimals, &rows, &mut gathered);
            let begun = plain.len();
            plain.resize(begun + decimals.len() * DECIMAL_LENGTH, 0);
            for (bytes, decimal) in
                plain[begun..].as_chunks_mut::<DECIMAL_LENGTH>().0.iter_mut().zip(decimals)
            {
                *bytes = *decimal.to_be_bytes().last_chunk().expect("it has 16 bytes");
            }
            self.end(&rows, Encoding::PLAIN, &[]);
        }
    }

    /// `None` for another encoding than the two that are made for texts.
    fn texts<T: ByteArrayType<Offset = i32>>(
        &mut self,
        texts: &'a GenericByteArray<T>,
        encoding: Encoding,
    ) -> Option<()> {
        if ![Encoding::DELTA_BYTE_ARRAY, Encoding::DELTA_LENGTH_BYTE_ARRAY].contains(&encoding) {
            return None;
        }
        let (data, offsets) = (texts.value_data(), texts.value_offsets());
        let at = |row: usize| usize::try_from(offsets[row]).expect("offsets are not negative");
        let limit = self.pages.properties.column_data_page_size_limit(self.column.path());
        for mut rows in self.stretches(texts.len()) {
            while !rows.is_empty() {
                // As many rows as fill a page, and one at least.
                let (mut full, mut end) = (rows.start + 1, rows.end);
                while full < end {
                    let middle = full.midpoint(end);
                    if at(middle) - at(rows.start) < limit { full = middle + 1 } else { end = middle }
                }
                let page = rows.start..full;
                rows.start = full;

                self.begin(&page);
                let Pages { plain, prefixes, suffixes, kept, .. } = &mut *self.pages;
                prefixes.clear();
                suffixes.clear();
                kept.clear();
                let mut last: &[u8] = &[];
                for stretch in present(self.nulls, &page) {
                    if encoding == Encoding::DELTA_LENGTH_BYTE_ARRAY {
                        suffixes.extend(
                            offsets[stretch.start..=stretch.end]
                                .array_windows()
                                .map(|[start, end]| end - start),
                        );
                        keep(kept, at(stretch.start)..at(stretch.end));
                        continue;
                    }
                    for row in stretch {
                        let value = &data[at(row)..at(row + 1)];
                        let prefix = common_prefix(last, value);
                        last = value;
                        prefixes.push(length(prefix));
                        suffixes.push(length(value.len() - prefix));
                        keep(kept, at(row) + prefix..at(row + 1));
                    }
                }
                if encoding == Encoding::DELTA_BYTE_ARRAY {
                    delta_binary_packed(plain, prefixes);
                }
                delta_binary_packed(plain, suffixes);
                let tail = if self.compressed { None } else { kept.pop() };
                for part in kept.drain(..) {
                    plain.extend_from_slice(&data[part]);
                }
                self.end(&page, encoding, &data[tail.unwrap_or_default()]);
            }
        }
        Some(())
    }

    /// Stretches of rows that have a page each, or more.
    fn stretches(&self, rows: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let limit = self.pages.properties.data_page_row_count_limit();
        (0..rows).step_by(limit).map(move |start| start..rows.min(start + limit))
    }

    /// Begins a page of these rows: with their definition levels.
    fn begin(&mut self, rows: &Range<usize>) {
        let plain = &mut self.pages.plain;
        plain.clear();
        if self.column.max_def_level() == 0 {
            return;
        }
        plain.extend_from_slice(&[0; size_of::<u32>()]);
        match self.nulls {
            None => hybrid_same(plain, 1, 1, rows.len()),
            Some(nulls) => {
                hybrid_bits(plain, &nulls.inner().slice(rows.start, rows.len()).sliced(), rows.len())
            }
        }
        let (before, levels) = plain.split_first_chunk_mut().expect("it was begun with room for a length");
        *before = length(levels.len()).to_le_bytes();
    }

    /// Ends the page that was begun. The values of one that is not compressed go on in `tail`.
    fn end(&mut self, rows: &Range<usize>, encoding: Encoding, tail: &'a [u8]) {
        self.page(PageType::DATA_PAGE, rows.len(), encoding, tail);
    }

    fn page(&mut self, kind: PageType, values: usize, encoding: Encoding, tail: &'a [u8]) {
        let Pages { plain, compressed, compressor, .. } = &mut *self.pages;
        let body = if self.compressed {
            compressed.clear();
            compressed.reserve(zstd_safe::compress_bound(plain.len()));
            compressor
                .compress_to_buffer(plain, compressed)
                .expect("there is room for what cannot be compressed");
            &*compressed
        } else {
            &*plain
        };
        let mut header =
            page_header(kind, plain.len() + tail.len(), body.len() + tail.len(), values, encoding);
        self.bytes += header.len() + body.len() + tail.len();
        self.uncompressed += header.len() + plain.len() + tail.len();
        match self.parts.last_mut() {
            Some(Cow::Owned(part)) => part.append(&mut header),
            _ => self.parts.push(Cow::Owned(header)),
        }
        if let Some(Cow::Owned(part)) = self.parts.last_mut() {
            part.extend_from_slice(body);
        }
        if !tail.is_empty() {
            self.parts.push(Cow::Borrowed(tail));
        }
        match self.stats.last_mut() {
            Some(stats) if stats.page_type == kind => stats.count += 1,
            _ => self.stats.push(PageEncodingStats { page_type: kind, encoding, count: 1 }),
        }
    }

    fn close(self, rows: usize) -> Chunk<'a> {
        let signed = |len: usize| i64::try_from(len).expect("a chunk is in memory");
        let encodings = self.stats.iter().map(|stats| stats.encoding).chain([Encoding::RLE]).collect();
        let metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression(self.pages.properties.compression(self.column.path()))
            .set_encodings(encodings)
            .set_page_encoding_stats(self.stats)
            .set_num_values(signed(rows))
            .set_total_compressed_size(signed(self.bytes))
            .set_total_uncompressed_size(signed(self.uncompressed))
            .set_dictionary_page_offset((self.dictionary > 0).then_some(0))
            .set_data_page_offset(signed(self.dictionary))
            .build()
            .expect("it has all that a chunk's metadata needs");
        let closed = ColumnCloseResult {
            bytes_written: count(self.bytes),
            rows_written: count(rows),
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Chunk { parts: self.parts, closed }
    }
}

/// Of these rows, the stretches that are not NULL.
fn present(nulls: Option<&NullBuffer>, rows: &Range<usize>) -> Vec<Range<usize>> {
    let Some(nulls) = nulls else { return vec![rows.clone()] };
    let nulls = nulls.slice(rows.start, rows.len());
    nulls.valid_slices().map(|(start, end)| rows.start + start..rows.start + end).collect()
}

/// The values of these rows that are not NULL; `gathered` has them where they do not lie side by
/// side.
fn values_of<'v, T: Copy>(
    nulls: Option<&NullBuffer>,
    values: &'v [T],
    rows: &Range<usize>,
    gathered: &'v mut Vec<T>,
) -> &'v [T] {
    if nulls.is_none() {
        return &values[rows.clone()];
    }
    gathered.clear();
    for stretch in present(nulls, rows) {
        gathered.extend_from_slice(&values[stretch]);
    }
    gathered
}

/// Adds what is next to the last to the last.
fn keep(kept: &mut Vec<Range<usize>>, next: Range<usize>) {
    match kept.last_mut() {
        Some(last) if last.end == next.start => last.end = next.end,
        _ => kept.push(next),
    }
}

/// How many bytes a text need not repeat of the one before it.
fn common_prefix(before: &[u8], text: &[u8]) -> usize {
    match (before.first_chunk::<WORTHWHILE_PREFIX>(), text.first_chunk()) {
        (Some(before), Some(text)) if before == text => {}
        _ => return 0,
    }
    let words = before
        .as_chunks::<8>()
        .0
        .iter()
        .zip(text.as_chunks::<8>().0)
        .take_while(|(before, text)| before == text)
        .count()
        * 8;
    words + before[words..].iter().zip(&text[words..]).take_while(|(before, text)| before == text).count()
}

/// A length as the format has it.
fn length(len: usize) -> i32 {
    i32::try_from(len).expect("neither a page nor an array of texts has 2^31 bytes")
}

/// A `PageHeader`. In Thrift's compact protocol, a field is a byte of its type and of how far its
/// number is from that of the field before, then its value; a structure ends with a zero.
fn page_header(
    kind: PageType,
    uncompressed: usize,
    compressed: usize,
    values: usize,
    encoding: Encoding,
) -> Vec<u8> {
    const NEXT: u8 = 1 << 4;
    const FALSE: u8 = 2;
    const I32: u8 = 5;
    const STRUCT: u8 = 12;
    let mut header = Vec::with_capacity(40);
    let integer = |header: &mut Vec<u8>, value: i32| {
        header.push(NEXT | I32);
        zigzag(header, value.into());
    };
    integer(&mut header, kind as i32);
    integer(&mut header, length(uncompressed));
    integer(&mut header, length(compressed));
    // Field 5 is a data page's header, field 7 a dictionary page's. Both have first how many values
    // there are and how they are encoded.
    let dictionary = kind == PageType::DICTIONARY_PAGE;
    header.push(if dictionary { 4 * NEXT } else { 2 * NEXT } | STRUCT);
    integer(&mut header, length(values));
    integer(&mut header, encoding as i32);
    if dictionary {
        // Whether the values are sorted.
        header.push(NEXT | FALSE);
    } else {
        // How the definition and the repetition levels are encoded.
        integer(&mut header, Encoding::RLE as i32);
        integer(&mut header, Encoding::RLE as i32);
    }
    header.extend_from_slice(&[0, 0]);
    header
}

/// A column chunk that is complete but for its place in the file.
pub struct Chunk<'a> {
    parts: Vec<Cow<'a, [u8]>>,
    closed: ColumnCloseResult,
}

impl Chunk<'_> {
    /// How many bytes of the file it will be.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Makes it the next column of the row group.
    ///
    /// # Errors
    /// When the next column is another one.
    pub fn append<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        let parts: Vec<&[u8]> = self.parts.iter().map(|part| &**part).collect();
        group.append_column(&Parts(&parts), self.closed)
    }
}

/// The bytes of a chunk as the library takes them: once, from the first to the last.
struct Parts<'a>(&'a [&'a [u8]]);

impl Length for Parts<'_> {
    fn len(&self) -> u64 {
        self.0.iter().map(|part| count(part.len())).sum()
    }
}

impl<'a> ChunkReader for Parts<'a> {
    type T = Unread<'a>;

    fn get_read(&self, start: u64) -> Result<Unread<'a>, ParquetError> {
        if start == 0 {
            Ok(Unread { part: &[], rest: self.0 })
        } else {
            Err(ParquetError::General("a chunk is read from its beginning".to_owned()))
        }
    }

    fn get_bytes(&self, _: u64, _: usize) -> Result<Bytes, ParquetError> {
        Err(ParquetError::General("a chunk is read from its beginning".to_owned()))
    }
}

struct Unread<'a> {
    part: &'a [u8],
    rest: &'a [&'a [u8]],
}

impl Read for Unread<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let ([], [next, rest @ ..]) = (self.part, self.rest) {
            (self.part, self.rest) = (next, rest);
        }
        self.part.read(buffer)
    }
}
