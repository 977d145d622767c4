//! A batch record: all that one commit says, and the log entry that follows from it.
//!
//! The record is a leaf of the ledger log. The entry in Delta's log holds it, and every other byte
//! of the entry is rendered from it, so an entry is checked by rendering it again: no bit of it can
//! change unnoticed. `docs/format.md` has the grammar.
//!
//! Invariant: `BatchRecord::decode(&record.encode()) == Ok(record)`, and there is one encoding of a
//! record.

use crate::hash::RootHash;
use crate::leaf_key::LeafKeyId;
pub use crate::merkle::TreeHead;
use crate::unknown::Unknown;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemas::canonical::{Reader, push_count, push_option, push_text};
use schemas::digest::Sha256Digest;
use schemas::outcome::Tally;
use schemas::position::{LastRecord, LeaderEpoch, NextOffset, Offset, StreamIdentity, StreamMove};
use schemas::time::Instant;
use serde::Deserialize;
use std::fmt::Write as _;

/// The kind of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// Adds rows and moves positions.
    Rows,
    /// Copies the rows of several files into one.
    Compaction,
    /// Changes into how many shards the ledger is divided.
    Division,
    /// Takes a stream back to where its source lost what was read from it, by a decision in the
    /// journal.
    Truncation,
}

/// A file that a commit takes out of the table; its rows are in one that it adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedFile {
    pub path: String,
    pub digest: Sha256Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedFile {
    pub path: String,
    pub bytes: u64,
    pub digest: Sha256Digest,
    pub rows: u64,
}

/// Into how many shards a ledger is divided, and how often that was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Division {
    pub generation: u32,
    pub shards: u32,
}

impl Division {
    /// One shard, as every ledger begins.
    pub const FIRST: Self = Self { generation: 0, shards: 1 };
}

/// The stream that stands for the division in the commits that change it.
pub const DIVISION_STREAM: &str = "atcost/layout";
/// The shard number of the journal.
pub const JOURNAL: u32 = u32::MAX;

/// Delta's checkpoint that a writer made, by the digest of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MadeCheckpoint {
    pub version: u64,
    pub digest: Sha256Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRecord {
    pub kind: RecordKind,
    pub shard: u32,
    pub version: u64,
    pub at: Instant,
    /// The digest of the log entry before this one.
    pub previous: Sha256Digest,
    pub division: Division,
    /// Which leaf key the leaves were made with.
    pub key: LeafKeyId,
    pub removed: Vec<RemovedFile>,
    pub added: Vec<AddedFile>,
    /// Ascending by application.
    pub streams: Vec<StreamMove>,
    pub counts: Tally,
    pub rows_root: RootHash,
    pub subjects: u64,
    pub subjects_root: RootHash,
    pub checkpoint: Option<MadeCheckpoint>,
}

/// How the bytes of a record begin: the version of the format.
const FIRST: &[u8; 4] = b"rec1";
const SECOND: &[u8; 4] = b"rec2";

impl BatchRecord {
    /// Whether it says what the first version of the format cannot. Everything else is written in
    /// the first, so that there is one encoding of a record.
    fn is_second(&self) -> bool {
        self.kind == RecordKind::Truncation || self.streams.iter().any(|moved| moved.last.is_some())
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        let second = self.is_second();
        bytes.extend_from_slice(if second { SECOND } else { FIRST });
        bytes.push(match self.kind {
            RecordKind::Rows => 1,
            RecordKind::Compaction => 2,
            RecordKind::Division => 3,
            RecordKind::Truncation => 4,
        });
        bytes.extend_from_slice(&self.shard.to_be_bytes());
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&self.at.micros().to_be_bytes());
        bytes.extend_from_slice(self.previous.as_bytes());
        bytes.extend_from_slice(&self.division.generation.to_be_bytes());
        bytes.extend_from_slice(&self.division.shards.to_be_bytes());
        bytes.extend_from_slice(&self.key.0);
        push_count(&mut bytes, self.removed.len());
        for file in &self.removed {
            push_text(&mut bytes, &file.path);
            bytes.extend_from_slice(file.digest.as_bytes());
        }
        push_count(&mut bytes, self.added.len());
        for file in &self.added {
            push_text(&mut bytes, &file.path);
            bytes.extend_from_slice(&file.bytes.to_be_bytes());
            bytes.extend_from_slice(file.digest.as_bytes());
            bytes.extend_from_slice(&file.rows.to_be_bytes());
        }
        push_count(&mut bytes, self.streams.len());
        for moved in &self.streams {
            push_text(&mut bytes, &moved.stream);
            push_option(&mut bytes, moved.from.as_ref(), |bytes, from| {
                bytes.extend_from_slice(&from.0.to_be_bytes())
            });
            bytes.extend_from_slice(&moved.to.0.to_be_bytes());
            push_option(&mut bytes, moved.identity.as_ref(), |bytes, identity| {
                bytes.extend_from_slice(&identity.0)
            });
            if second {
                push_option(&mut bytes, moved.last.as_ref(), |bytes, last| {
                    bytes.extend_from_slice(&last.offset.0.to_be_bytes());
                    push_option(bytes, last.epoch, |bytes, epoch| {
                        bytes.extend_from_slice(&epoch.0.to_be_bytes());
                    });
                    bytes.extend_from_slice(last.digest.as_bytes());
                });
            }
        }
        for count in [self.counts.usage, self.counts.rejected, self.counts.gaps] {
            bytes.extend_from_slice(&count.to_be_bytes());
        }
        bytes.extend_from_slice(self.rows_root.as_bytes());
        bytes.extend_from_slice(&self.subjects.to_be_bytes());
        bytes.extend_from_slice(self.subjects_root.as_bytes());
        push_option(&mut bytes, self.checkpoint.as_ref(), |bytes, checkpoint| {
            bytes.extend_from_slice(&checkpoint.version.to_be_bytes());
            bytes.extend_from_slice(checkpoint.digest.as_bytes());
        });
        bytes
    }

    /// # Errors
    /// The defect of the bytes, as part of a sentence.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new("a batch record", bytes);
        let second = match &reader.array::<4>()? {
            FIRST => false,
            SECOND => true,
            _ => return Err("it has a batch record of a format that this version does not read: a newer atcost wrote it, or it is damaged".to_owned()),
        };
        let kind = match reader.array::<1>()? {
            [1] => RecordKind::Rows,
            [2] => RecordKind::Compaction,
            [3] => RecordKind::Division,
            [4] if second => RecordKind::Truncation,
            [other] => return Err(format!("a batch record of the unknown kind {other}")),
        };
        let record = Self {
            kind,
            shard: reader.u32()?,
            version: reader.u64()?,
            at: Instant::from_micros(reader.i64()?).map_err(|error| error.to_string())?,
            previous: reader.digest()?,
            division: Division { generation: reader.u32()?, shards: reader.u32()? },
            key: LeafKeyId(reader.array()?),
            removed: reader
                .list(|reader| Ok(RemovedFile { path: reader.text()?, digest: reader.digest()? }))?,
            added: reader.list(|reader| {
                Ok(AddedFile {
                    path: reader.text()?,
                    bytes: reader.u64()?,
                    digest: reader.digest()?,
                    rows: reader.u64()?,
                })
            })?,
            streams: reader.list(|reader| {
                Ok(StreamMove {
                    stream: reader.text()?,
                    from: reader.option(|reader| reader.i64().map(NextOffset))?,
                    to: NextOffset(reader.i64()?),
                    identity: reader.option(|reader| reader.array().map(StreamIdentity))?,
                    last: if second { reader.option(last_record)? } else { None },
                })
            })?,
            counts: Tally { usage: reader.u64()?, rejected: reader.u64()?, gaps: reader.u64()? },
            rows_root: RootHash::from_bytes(reader.array()?),
            subjects: reader.u64()?,
            subjects_root: RootHash::from_bytes(reader.array()?),
            checkpoint: reader
                .option(|reader| Ok(MadeCheckpoint { version: reader.u64()?, digest: reader.digest()? }))?,
        };
        match reader.left() {
            0 if second && !record.is_second() => {
                Err("a batch record in a later format than what it says needs".to_owned())
            }
            0 => Ok(record),
            rest => Err(format!("{rest} bytes are left over after the batch record")),
        }
    }

    /// The log entry of this commit: Delta's actions, one per line.
    pub fn render(&self, head: &TreeHead) -> String {
        let millis = self.at.micros().div_euclid(1000);
        let (operation, changes) = match self.kind {
            RecordKind::Rows | RecordKind::Division | RecordKind::Truncation => ("WRITE", true),
            RecordKind::Compaction => ("OPTIMIZE", false),
        };
        let mut entry = String::with_capacity(1024);
        let record = BASE64_STANDARD.encode(self.encode());
        let root = BASE64_STANDARD.encode(head.root.as_bytes());
        let size = head.size;
        writeln!(
            entry,
            r#"{{"commitInfo":{{"timestamp":{millis},"operation":"{operation}","operationParameters":{{"mode":"Append"}},"engineInfo":"atcost","record":"{record}","size":"{size}","root":"{root}"}}}}"#
        )
        .expect("writing to a string cannot fail");
        for RemovedFile { path, .. } in &self.removed {
            let path = json_text(path);
            writeln!(
                entry,
                r#"{{"remove":{{"path":{path},"deletionTimestamp":{millis},"dataChange":false}}}}"#
            )
            .expect("writing to a string cannot fail");
        }
        for AddedFile { path, bytes, digest, rows } in &self.added {
            let path = json_text(path);
            writeln!(
                entry,
                r#"{{"add":{{"path":{path},"partitionValues":{{}},"size":{bytes},"modificationTime":0,"dataChange":{changes},"stats":"{{\"numRecords\":{rows}}}","tags":{{"sha256":"{digest}"}}}}}}"#
            )
            .expect("writing to a string cannot fail");
        }
        for StreamMove { stream, to, .. } in &self.streams {
            let stream = json_text(stream);
            writeln!(entry, r#"{{"txn":{{"appId":{stream},"version":{to}}}}}"#)
                .expect("writing to a string cannot fail");
        }
        entry
    }

    /// Reads a log entry and checks that it is, byte for byte, what its record renders to.
    ///
    /// # Errors
    /// The defect of the entry, as part of a sentence.
    pub fn from_entry(entry: &[u8]) -> Result<(Self, TreeHead), String> {
        let first = entry.split(|byte| *byte == b'\n').next().expect("splitting yields at least one part");
        let line: FirstLine = serde_json::from_slice(first).map_err(|_| foreign(entry))?;
        let (record, head) = line.read()?;
        if record.render(&head).as_bytes() != entry {
            return Err("its bytes are not those that its batch record stands for".to_owned());
        }
        Ok((record, head))
    }

    /// Whether an entry looks as a power loss leaves one: it ends too early, or zeros stand in it.
    pub fn is_torn(entry: &[u8]) -> bool {
        if !Unknown::may_be_ours(entry) {
            return false;
        }
        if !entry.ends_with(b"\n") || entry.contains(&0) {
            return true;
        }
        // It may end after a whole line, too. The first one says what the others must be.
        let first = entry
            .split_inclusive(|byte| *byte == b'\n')
            .next()
            .expect("an entry that ends with a line feed has a line");
        let Ok((record, head)) = serde_json::from_slice(first)
            .map_err(|error| error.to_string())
            .and_then(|line: FirstLine| line.read())
        else {
            return false;
        };
        let whole = record.render(&head);
        whole.len() > entry.len() && whole.as_bytes().starts_with(entry)
    }
}

fn last_record(reader: &mut Reader<'_>) -> Result<LastRecord, String> {
    Ok(LastRecord {
        offset: Offset(reader.i64()?),
        epoch: reader.option(|reader| reader.array().map(i32::from_be_bytes).map(LeaderEpoch))?,
        digest: reader.digest()?,
    })
}

/// Only what is needed to render the entry again, which is what checks the rest.
#[derive(Deserialize)]
struct FirstLine {
    #[serde(rename = "commitInfo")]
    commit_info: CommitInfo,
}

#[derive(Deserialize)]
struct CommitInfo {
    record: String,
    size: String,
    root: String,
}

impl FirstLine {
    fn read(&self) -> Result<(BatchRecord, TreeHead), String> {
        let info = &self.commit_info;
        let bytes = BASE64_STANDARD
            .decode(&info.record)
            .map_err(|error| format!("its batch record is not base64: {error}"))?;
        let record = BatchRecord::decode(&bytes)?;
        let root =
            BASE64_STANDARD.decode(&info.root).map_err(|error| format!("its root is not base64: {error}"))?;
        let root = root.try_into().map_err(|_| "its root is not 32 bytes".to_owned())?;
        let root = RootHash::from_bytes(root);
        let size = info.size.parse().map_err(|error| format!("its size is no number: {error}"))?;
        Ok((record, TreeHead { size, root }))
    }
}

/// Why an entry is not ours: another program's, or damaged.
fn foreign(entry: &[u8]) -> String {
    Unknown::of(entry).map_or_else(|| "it has no batch record".to_owned(), |unknown| unknown.to_string())
}

fn json_text(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: RecordKind, to: i64, last: Option<LastRecord>) -> BatchRecord {
        let nothing = RootHash::from_bytes([0; 32]);
        BatchRecord {
            kind,
            shard: 0,
            version: 7,
            at: Instant::from_micros(0).expect("1970 is an instant"),
            previous: Sha256Digest::of(b"before"),
            division: Division::FIRST,
            key: LeafKeyId([1; 8]),
            removed: Vec::new(),
            added: Vec::new(),
            streams: vec![StreamMove {
                stream: "kafka/c/t/0".to_owned(),
                from: Some(NextOffset(5)),
                to: NextOffset(to),
                identity: None,
                last,
            }],
            counts: Tally::default(),
            rows_root: nothing,
            subjects: 0,
            subjects_root: nothing,
            checkpoint: None,
        }
    }

    /// All that the first format can say is written in it, so that old entries stay what they were.
    #[test]
    fn there_is_one_encoding_of_a_record() {
        let last = |epoch| LastRecord {
            offset: Offset(8),
            epoch: Option::map(epoch, LeaderEpoch),
            digest: Sha256Digest::of(b"a record"),
        };
        for (record, format) in [
            (record(RecordKind::Rows, 9, None), FIRST),
            (record(RecordKind::Rows, 9, Some(last(None))), SECOND),
            (record(RecordKind::Rows, 9, Some(last(Some(3)))), SECOND),
            (record(RecordKind::Truncation, 3, None), SECOND),
        ] {
            let bytes = record.encode();
            assert_eq!(bytes.first_chunk(), Some(format));
            assert_eq!(BatchRecord::decode(&bytes), Ok(record.clone()));
            let other = if format == FIRST { SECOND } else { FIRST };
            let renamed = [other.as_slice(), &bytes[4..]].concat();
            assert!(BatchRecord::decode(&renamed).is_err(), "{record:?} in the other format");
        }
        // The later format with nothing in it that needs it.
        let plain = record(RecordKind::Rows, 9, None).encode();
        let place = plain.len() - (1 + 32 + 8 + 32 + 3 * 8);
        let wordy = [SECOND, &plain[4..place], &[0], &plain[place..]].concat();
        let refused = BatchRecord::decode(&wordy).expect_err("it has another encoding");
        assert!(refused.contains("later format"), "{refused}");
    }
}
