//! The demo's records in files, plain and compressed, as nodes without a broker would leave them.

use super::expected::Expected;
use super::records::{self, FILES};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes [`FILES`] into a folder that exists.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path) -> io::Result<Expected> {
    let mut files =
        FILES.iter().map(|name| EventFile::create(&folder.join(name))).collect::<io::Result<Vec<_>>>()?;
    let expected = records::records(|record| files[record.file].line(record.bytes))?;
    files.into_iter().try_for_each(EventFile::finish)?;
    Ok(expected)
}

enum EventFile {
    Plain(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl EventFile {
    fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        Ok(match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("gz") => Self::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::fast())),
            Some("zst") => Self::Zstd(zstd::Encoder::new(file, 1)?),
            _ => Self::Plain(file),
        })
    }

    fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writer: &mut dyn Write = match self {
            Self::Plain(writer) => writer,
            Self::Gzip(writer) => writer,
            Self::Zstd(writer) => writer,
        };
        writer.write_all(bytes)?;
        writer.write_all(b"\n")
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer,
            Self::Gzip(writer) => writer.finish()?,
            Self::Zstd(writer) => writer.finish()?,
        }
        .flush()
    }
}
