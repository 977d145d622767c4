//! Rows as the bytes of one Parquet file, readable by anybody.

use super::{Column, arrow_schema};
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

/// How rows are written: dictionaries where values repeat, and no work where they cannot.
pub fn writer_properties() -> WriterProperties {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level"));
    let mut properties = WriterProperties::builder()
        .set_compression(zstd)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_data_page_row_count_limit(100_000)
        .set_write_batch_size(8192);
    for name in ["row", "offset", "produced_at", "time", "id", "value", "content_digest", "correction_id"] {
        properties = properties.set_column_dictionary_enabled(name.into(), false);
    }
    for name in ["row", "offset", "produced_at", "time"] {
        properties = properties.set_column_encoding(name.into(), Encoding::DELTA_BINARY_PACKED);
    }
    properties = properties.set_column_encoding("id".into(), Encoding::DELTA_BYTE_ARRAY);
    // A digest is as random as bytes can be.
    properties.set_column_compression("content_digest".into(), Compression::UNCOMPRESSED).build()
}

/// A file of these rows. Whether a column is a dictionary in memory is not said there: every file has the same types.
pub fn parquet_bytes(rows: &RecordBatch, columns: &[Column]) -> Vec<u8> {
    let mut buffer = Vec::new();
    let options = ArrowWriterOptions::new().with_properties(writer_properties()).with_skip_arrow_metadata(true);
    let mut writer =
        ArrowWriter::try_new_with_options(&mut buffer, arrow_schema(columns), options).expect("every column type is writable as Parquet");
    writer.write(rows).expect("writing to memory cannot fail");
    writer.close().expect("writing to memory cannot fail");
    buffer
}
