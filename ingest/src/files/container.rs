//! Avro object container files (specification 1.12, "Object Container Files"), block by block.
//!
//! Read here rather than by a library, because a record that is refused is kept with its own bytes,
//! one bad record must not take its neighbours along, and a block must not unpack to more than
//! memory holds.

use super::record::{Content, Item, Records};
use crate::decode::{KEPT_BYTES, MAX_RECORD_BYTES, avro, too_large};
use crate::foreign;
use crate::schema::WriterSchema;
use schemas::digest::Sha256Digest;
use schemas::rejection::Reason;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

/// The largest block, packed or unpacked. Writers make blocks of 16 KiB to a few MiB.
const MAX_BLOCK_BYTES: u64 = 128 << 20;
const MAX_HEADER_BYTES: u64 = 4 << 20;

pub struct Container {
    bytes: Box<dyn BufRead + Send>,
    /// Blocks that end here or before are not unpacked.
    from: i64,
    state: State,
    /// The index of the next record.
    index: i64,
}

enum State {
    Begin,
    Between(Header),
    Inside(Header, Block),
    Over,
}

struct Header {
    schema: Arc<WriterSchema>,
    codec: Codec,
    sync: [u8; 16],
}

struct Block {
    data: Vec<u8>,
    at: usize,
    /// The index after the block's last record.
    end: i64,
}

#[derive(Debug, Clone, Copy)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
    Bzip2,
    Xz,
}

/// A fault of the file, and the bytes that show it.
struct Broken {
    detail: String,
    bytes: Vec<u8>,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        let detail = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the file ends too early".to_owned(),
            _ => format!("the file cannot be read on: {error}"),
        };
        Self { detail, bytes: Vec::new() }
    }
}

fn broken<T>(detail: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { detail: detail.into(), bytes: Vec::new() })
}

impl Container {
    pub fn new(bytes: Box<dyn BufRead + Send>, from: i64) -> Self {
        Self { bytes, from, state: State::Begin, index: 0 }
    }

    fn header(&mut self) -> Result<Header, Broken> {
        let bytes = &mut self.bytes;
        let mut magic = [0; 4];
        bytes.read_exact(&mut magic)?;
        if magic != *b"Obj\x01" {
            return Err(Broken {
                detail: "the file does not begin like an Avro object container".to_owned(),
                bytes: magic.to_vec(),
            });
        }
        let mut bytes = bytes.take(MAX_HEADER_BYTES);
        let mut schema = None;
        let mut codec = Codec::Null;
        loop {
            let count = long(&mut bytes)?;
            if count < 0 {
                long(&mut bytes)?;
            }
            if count == 0 {
                break;
            }
            for _ in 0..count.unsigned_abs() {
                let name = field(&mut bytes)?;
                let value = field(&mut bytes)?;
                match name.as_slice() {
                    b"avro.schema" => schema = Some(value),
                    b"avro.codec" => codec = Codec::parse(&value)?,
                    _ => {}
                }
            }
        }
        let mut sync = [0; 16];
        bytes.read_exact(&mut sync)?;
        let Some(text) = schema else { return broken("the file's header has no schema") };
        let Ok(text) = String::from_utf8(text) else {
            return broken("the schema in the file's header is not UTF-8");
        };
        let schema = WriterSchema::parse(&text, &[]);
        match schema.problem() {
            Some(problem) if schema.plan().is_err() => broken(problem),
            _ => Ok(Header { schema: Arc::new(schema), codec, sync }),
        }
    }

    /// The next block with records to hand out; `Ok(None)` at the end of the file.
    fn block(&mut self, header: &Header) -> Result<Option<Result<Block, Item>>, Broken> {
        while !self.bytes.fill_buf()?.is_empty() {
            let count = long(&mut self.bytes)?;
            let size = long(&mut self.bytes)?;
            let end = self.index.checked_add(count).filter(|_| count >= 0);
            let (Some(end), Some(size)) =
                (end, u64::try_from(size).ok().filter(|size| *size <= MAX_BLOCK_BYTES))
            else {
                return broken(format!(
                    "a block of {count} records in {size} bytes; at most {MAX_BLOCK_BYTES} bytes are read"
                ));
            };
            let mut packed = Vec::new();
            (&mut self.bytes).take(size).read_to_end(&mut packed)?;
            let mut sync = [0; 16];
            let whole = packed.len() as u64 == size;
            if let Err(error) = if whole {
                self.bytes.read_exact(&mut sync)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            } {
                return Err(Broken { bytes: packed, ..error.into() });
            }
            if sync != header.sync {
                return Err(Broken {
                    detail: "a block does not end with the file's sync marker".to_owned(),
                    bytes: packed,
                });
            }
            // A block of no records must have no bytes; that is seen when it is unpacked.
            if end <= self.from && count > 0 {
                self.index = end;
                continue;
            }
            let unpacked =
                match foreign::read("a block of an Avro container", || header.codec.unpack(&packed)) {
                    Ok(unpacked) => unpacked,
                    Err(rejection) => {
                        return Ok(Some(Err(self.lost(end, packed, rejection.reason, &rejection.detail))));
                    }
                };
            let damage = Reason::AvroInvalid;
            return Ok(Some(match unpacked {
                // Every record takes a byte at least; a larger count would be an endless file.
                Ok(data) if usize::try_from(count).is_ok_and(|count| count <= data.len()) => {
                    Ok(Block { data, at: 0, end })
                }
                Ok(data) => Err(self.lost(end, data, damage, "a block has fewer bytes than records")),
                Err(detail) => {
                    Err(self.lost(end, packed, damage, &format!("a block cannot be unpacked: {detail}")))
                }
            }));
        }
        Ok(None)
    }

    /// One refusal for the records from here to `end`. The block's end is certain, so the next
    /// block is read again.
    fn lost(&mut self, end: i64, mut bytes: Vec<u8>, reason: Reason, detail: &str) -> Item {
        let offset = self.index;
        self.index = end;
        bytes.truncate(KEPT_BYTES);
        let detail = match end - offset {
            1 => detail.to_owned(),
            lost => format!("{detail}; {lost} records, {offset} to {}, cannot be read", end - 1),
        };
        Item { next: end, ..Item::broken(offset, bytes, reason, detail) }
    }

    fn record(&mut self, header: &Header, block: &mut Block) -> Item {
        let rest = &block.data[block.at..];
        match avro::measure(&header.schema, rest) {
            Ok(length) => {
                let offset = self.index;
                self.index += 1;
                block.at += length;
                let datum = &rest[..length];
                if length > MAX_RECORD_BYTES {
                    let rejection = too_large(length, &Sha256Digest::of(datum).to_string());
                    return Item::record(offset, datum[..KEPT_BYTES].to_vec(), Content::Refused(rejection));
                }
                Item::record(offset, datum.to_vec(), Content::Avro(header.schema.clone()))
            }
            Err(detail) => {
                let kept = rest[..rest.len().min(KEPT_BYTES)].to_vec();
                block.at = block.data.len();
                self.lost(block.end, kept, Reason::AvroInvalid, &detail)
            }
        }
    }

    fn step(&mut self) -> Result<Option<Item>, Broken> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Ok(None),
                State::Begin => self.state = State::Between(self.header()?),
                State::Between(header) => match self.block(&header)? {
                    None => return Ok(None),
                    Some(Ok(block)) => self.state = State::Inside(header, block),
                    Some(Err(item)) => {
                        self.state = State::Between(header);
                        return Ok(Some(item));
                    }
                },
                State::Inside(header, mut block) if self.index < block.end => {
                    let item = self.record(&header, &mut block);
                    self.state = State::Inside(header, block);
                    return Ok(Some(item));
                }
                State::Inside(_, block) if block.at < block.data.len() => {
                    return broken(format!(
                        "{} bytes are left over after the last record of a block",
                        block.data.len() - block.at
                    ));
                }
                State::Inside(header, _) => self.state = State::Between(header),
            }
        }
    }
}

impl Records for Container {
    fn next(&mut self) -> Option<Item> {
        self.step().unwrap_or_else(|Broken { detail, bytes }| {
            self.state = State::Over;
            Some(Item::broken(
                self.index,
                bytes,
                Reason::AvroInvalid,
                format!("{detail}; the rest of the file is not read"),
            ))
        })
    }
}

impl Codec {
    fn parse(name: &[u8]) -> Result<Self, Broken> {
        Ok(match name {
            b"null" => Self::Null,
            b"deflate" => Self::Deflate,
            b"snappy" => Self::Snappy,
            b"zstandard" => Self::Zstandard,
            b"bzip2" => Self::Bzip2,
            b"xz" => Self::Xz,
            other => {
                return broken(format!(
                    "the codec {:?} is not one of Avro's",
                    String::from_utf8_lossy(other)
                ));
            }
        })
    }

    fn unpack(self, packed: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Null => Ok(packed.to_vec()),
            Self::Deflate => limited(flate2::read::DeflateDecoder::new(packed)),
            Self::Snappy => snappy(packed),
            Self::Zstandard => {
                zstd::Decoder::new(packed).map_err(|error| error.to_string()).and_then(limited)
            }
            Self::Bzip2 => limited(bzip2::read::BzDecoder::new(packed)),
            Self::Xz => limited(liblzma::read::XzDecoder::new(packed)),
        }
    }
}

fn limited(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut data = Vec::new();
    reader.take(MAX_BLOCK_BYTES + 1).read_to_end(&mut data).map_err(|error| error.to_string())?;
    if data.len() as u64 > MAX_BLOCK_BYTES {
        Err(format!("it has more than {MAX_BLOCK_BYTES} bytes"))
    } else {
        Ok(data)
    }
}

/// Avro appends the CRC-32 of the unpacked data, big-endian.
fn snappy(packed: &[u8]) -> Result<Vec<u8>, String> {
    let (packed, checksum) = packed.split_last_chunk::<4>().ok_or("its checksum is missing")?;
    let size = snap::raw::decompress_len(packed).map_err(|error| error.to_string())?;
    if size as u64 > MAX_BLOCK_BYTES {
        return Err(format!("it has more than {MAX_BLOCK_BYTES} bytes"));
    }
    let data = snap::raw::Decoder::new().decompress_vec(packed).map_err(|error| error.to_string())?;
    if crc32fast::hash(&data) == u32::from_be_bytes(*checksum) {
        Ok(data)
    } else {
        Err("its checksum is wrong".to_owned())
    }
}

/// A zig-zag varint.
fn long(reader: &mut impl Read) -> Result<i64, Broken> {
    let mut bits: u64 = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        reader.read_exact(&mut byte)?;
        if shift == 63 && byte[0] > 1 {
            break;
        }
        bits |= u64::from(byte[0] & 0x7F) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
        }
    }
    broken("a number of more than 64 bits")
}

/// A name or value of the header.
fn field(reader: &mut impl Read) -> Result<Vec<u8>, Broken> {
    let length = long(reader)?;
    let Some(length) = u64::try_from(length).ok().filter(|length| *length <= MAX_HEADER_BYTES) else {
        return broken(format!("a length of {length} bytes in the header"));
    };
    let mut field = Vec::new();
    reader.take(length).read_to_end(&mut field)?;
    if field.len() as u64 == length {
        Ok(field)
    } else {
        Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }
}
