//! The bytes of a row that a proof covers: everything it says except where it stands in the ledger.
//!
//! `docs/format.md`, "A row", has the grammar. Columns and files are not known here.

use schemas::canonical::push_text;
use schemas::digest::Sha256Digest;
use schemas::outcome::{Kind, OutcomeRef};
use schemas::position::Offset;
use schemas::time::Instant;

/// A row, in parts.
///
/// ```
/// use proof::row::RowRef;
/// use schemas::outcome::OutcomeRef;
/// use schemas::position::Offset;
/// use schemas::time::Instant;
///
/// let row = RowRef {
///     origin: "kafka/c1/usage",
///     origin_name: "usage",
///     partition: 0,
///     offset: Offset(4),
///     produced_at: None,
///     received_at: Instant::parse_rfc3339("2025-10-02T08:00:00Z").expect("an instant"),
///     outcome: OutcomeRef::Gap { until: Offset(9), detail: "deleted by retention" },
/// };
/// let bytes = row.bytes();
/// assert_eq!((&bytes[..4], bytes[4]), (b"row2".as_slice(), 3));
/// assert_eq!(bytes[..62], row.header(&row.stream_digest()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRef<'a> {
    /// The text of the stream's [`schemas::position::Origin`].
    pub origin: &'a str,
    /// The origin's name for people: the topic, or the file's path below the ingested folder.
    pub origin_name: &'a str,
    pub partition: u32,
    pub offset: Offset,
    /// When the broker or producer stamped the record, where the source says so.
    pub produced_at: Option<Instant>,
    /// When ingest read the record.
    pub received_at: Instant,
    pub outcome: OutcomeRef<'a>,
}

/// The length of a row's bytes.
pub const ROW_BYTES: usize = 94;
/// How many of them come before the digest of its content.
pub const HEADER_BYTES: usize = ROW_BYTES - 32;

/// A row's bytes.
pub type RowBytes = [u8; ROW_BYTES];
/// A row's bytes without its content: [`RowBytes`] up to the last 32 bytes.
pub type RowHeader = [u8; HEADER_BYTES];

impl RowRef<'_> {
    /// The digest that stands for the row's stream in its bytes.
    pub fn stream_digest(&self) -> Sha256Digest {
        stream_digest(self.origin, self.partition, self.origin_name)
    }

    /// The row's bytes but for the digest of its content; `stream` is [`Self::stream_digest`],
    /// which many rows share.
    pub fn header(&self, stream: &Sha256Digest) -> RowHeader {
        header(self.outcome.kind(), stream, self.offset, self.produced_at, self.received_at)
    }

    /// The bytes that a proof covers: everything the row says except where it stands in the ledger.
    /// `docs/format.md`, "A row".
    pub fn bytes(&self) -> RowBytes {
        let mut content = Vec::new();
        self.outcome.write_content(&mut content);
        let mut bytes = [0; ROW_BYTES];
        let (header, digest) = bytes.split_at_mut(HEADER_BYTES);
        header.copy_from_slice(&self.header(&self.stream_digest()));
        digest.copy_from_slice(Sha256Digest::of(&content).as_bytes());
        bytes
    }
}

/// The digest of a stream, and of what people called it when the row was read.
pub fn stream_digest(origin: &str, partition: u32, origin_name: &str) -> Sha256Digest {
    let mut bytes = b"str1".to_vec();
    push_text(&mut bytes, origin);
    bytes.extend_from_slice(&partition.to_be_bytes());
    push_text(&mut bytes, origin_name);
    Sha256Digest::of(&bytes)
}

/// As [`RowRef::header`], of a row in parts.
pub fn header(
    kind: Kind,
    stream: &Sha256Digest,
    offset: Offset,
    produced_at: Option<Instant>,
    received_at: Instant,
) -> RowHeader {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..4].copy_from_slice(b"row2");
    bytes[4] = kind.number();
    bytes[5..37].copy_from_slice(stream.as_bytes());
    bytes[37..45].copy_from_slice(&offset.0.to_be_bytes());
    bytes[45] = u8::from(produced_at.is_some());
    bytes[46..54].copy_from_slice(&produced_at.map_or(0, Instant::micros).to_be_bytes());
    bytes[54..].copy_from_slice(&received_at.micros().to_be_bytes());
    bytes
}
