//! Rows as the bytes of one Parquet file, readable by anybody.

use super::{Column, arrow_schema};
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// How rows are written.
pub fn writer_properties() -> WriterProperties {
    WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level"))).build()
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
