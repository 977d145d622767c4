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
use schemas::decimal::QuantityTotal;
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

/// The usage rows of one meter in a commit, added up: all of them, whether they count or repeat what
/// was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterControl {
    /// CloudEvents `type`.
    pub meter: String,
    /// How many rows there are.
    pub usage: u64,
    /// How many of them correct another event.
    pub corrections: u64,
    /// The sum of their values.
    pub value: QuantityTotal,
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
    /// Ascending by meter. A commit without usage has none, nor has a record of a format that does
    /// not say them; [`Self::controls`] tells the two apart.
    pub meters: Vec<MeterControl>,
}

/// A version of the format, by how the bytes of a record begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Format {
    First,
    Second,
    Third,
}

impl Format {
    const ALL: [Self; 3] = [Self::First, Self::Second, Self::Third];

    fn name(self) -> &'static [u8; 4] {
        match self {
            Self::First => b"rec1",
            Self::Second => b"rec2",
            Self::Third => b"rec3",
        }
    }

    /// What an entry says of its writer: from the third on, the first version that reads it.
    fn engine(self) -> &'static str {
        match self {
            Self::First | Self::Second => "atcost",
            Self::Third => "atcost/0.1.0",
        }
    }
}

impl BatchRecord {
    /// The earliest version of the format that can say it, so that there is one encoding of a
    /// record.
    fn format(&self) -> Format {
        if !self.meters.is_empty() {
            Format::Third
        } else if self.kind == RecordKind::Truncation || self.streams.iter().any(|moved| moved.last.is_some())
        {
            Format::Second
        } else {
            Format::First
        }
    }

    /// The usage that this commit adds to the ledger, by meter. None where it adds some and its
    /// record is of a format that does not say which.
    pub fn controls(&self) -> Option<&[MeterControl]> {
        let silent = self.kind == RecordKind::Rows && self.counts.usage > 0 && self.meters.is_empty();
        (!silent).then_some(&self.meters)
    }

    /// Whether its meters are such as a commit has, where it says them.
    ///
    /// # Errors
    /// Why they are not, as part of a sentence.
    pub fn check_meters(&self) -> Result<(), String> {
        if self.meters.is_empty() {
            return Ok(());
        }
        if self.kind != RecordKind::Rows {
            return Err("a batch record that adds no rows and says their meters".to_owned());
        }
        if !self.meters.is_sorted_by(|one, other| one.meter < other.meter) {
            return Err("a batch record whose meters are not in order, each once".to_owned());
        }
        if let Some(control) =
            self.meters.iter().find(|control| control.usage == 0 || control.corrections > control.usage)
        {
            return Err(format!(
                "a batch record with {} rows of {:?}, {} of them corrections",
                control.usage, control.meter, control.corrections
            ));
        }
        let usage = self.meters.iter().try_fold(0_u64, |sum, control| sum.checked_add(control.usage));
        if usage != Some(self.counts.usage) {
            return Err(format!(
                "a batch record whose meters do not add up to its {} rows of usage",
                self.counts.usage
            ));
        }
        Ok(())
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        let format = self.format();
        bytes.extend_from_slice(format.name());
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
            if format >= Format::Second {
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
        if format >= Format::Third {
            push_count(&mut bytes, self.meters.len());
            for control in &self.meters {
                push_text(&mut bytes, &control.meter);
                bytes.extend_from_slice(&control.usage.to_be_bytes());
                bytes.extend_from_slice(&control.corrections.to_be_bytes());
                bytes.extend_from_slice(&control.value.units().to_be_bytes());
            }
        }
        bytes
    }

    /// # Errors
    /// The defect of the bytes, as part of a sentence.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new("a batch record", bytes);
        let name = reader.array::<4>()?;
        let format = Format::ALL.into_iter().find(|format| *format.name() == name);
        let format = format.ok_or("it has a batch record of a format that this version does not read: a newer atcost wrote it, or it is damaged")?;
        let kind = match reader.array::<1>()? {
            [1] => RecordKind::Rows,
            [2] => RecordKind::Compaction,
            [3] => RecordKind::Division,
            [4] if format >= Format::Second => RecordKind::Truncation,
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
                    last: if format >= Format::Second { reader.option(last_record)? } else { None },
                })
            })?,
            counts: Tally { usage: reader.u64()?, rejected: reader.u64()?, gaps: reader.u64()? },
            rows_root: RootHash::from_bytes(reader.array()?),
            subjects: reader.u64()?,
            subjects_root: RootHash::from_bytes(reader.array()?),
            checkpoint: reader
                .option(|reader| Ok(MadeCheckpoint { version: reader.u64()?, digest: reader.digest()? }))?,
            meters: if format >= Format::Third { reader.list(meter_control)? } else { Vec::new() },
        };
        match reader.left() {
            0 if format != record.format() => {
                Err("a batch record in a later format than what it says needs".to_owned())
            }
            0 => record.check_meters().map(|()| record),
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
        let engine = self.format().engine();
        writeln!(
            entry,
            r#"{{"commitInfo":{{"timestamp":{millis},"operation":"{operation}","operationParameters":{{"mode":"Append"}},"engineInfo":"{engine}","record":"{record}","size":"{size}","root":"{root}"}}}}"#
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

fn meter_control(reader: &mut Reader<'_>) -> Result<MeterControl, String> {
    Ok(MeterControl {
        meter: reader.text()?,
        usage: reader.u64()?,
        corrections: reader.u64()?,
        value: QuantityTotal::from_units(reader.array().map(i128::from_be_bytes)?)
            .map_err(|error| format!("a batch record with a sum of values that is none: {error}"))?,
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
    use proptest::prelude::*;

    fn record(
        kind: RecordKind,
        to: i64,
        last: Option<LastRecord>,
        meters: &[(&str, u64, u64)],
    ) -> BatchRecord {
        let nothing = RootHash::from_bytes([0; 32]);
        let control = |(meter, usage, corrections): &(&str, u64, u64)| MeterControl {
            meter: (*meter).to_owned(),
            usage: *usage,
            corrections: *corrections,
            value: QuantityTotal::from_units(i128::from(*usage) * 10_i128.pow(18)).expect("a total"),
        };
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
            counts: Tally { usage: meters.iter().map(|(_, usage, _)| usage).sum(), ..Tally::default() },
            rows_root: nothing,
            subjects: 0,
            subjects_root: nothing,
            checkpoint: None,
            meters: meters.iter().map(control).collect(),
        }
    }

    fn last(epoch: Option<i32>) -> LastRecord {
        LastRecord { offset: Offset(8), epoch: epoch.map(LeaderEpoch), digest: Sha256Digest::of(b"a record") }
    }

    /// All that an earlier format can say is written in it, so that old entries stay what they were.
    #[test]
    fn there_is_one_encoding_of_a_record() {
        let hours = &[("hours", 4, 1)];
        for (record, format) in [
            (record(RecordKind::Rows, 9, None, &[]), Format::First),
            (record(RecordKind::Rows, 9, Some(last(None)), &[]), Format::Second),
            (record(RecordKind::Rows, 9, Some(last(Some(3))), &[]), Format::Second),
            (record(RecordKind::Truncation, 3, None, &[]), Format::Second),
            (record(RecordKind::Rows, 9, None, hours), Format::Third),
            (record(RecordKind::Rows, 9, Some(last(Some(3))), hours), Format::Third),
        ] {
            let bytes = record.encode();
            assert_eq!(bytes.first_chunk(), Some(format.name()));
            assert_eq!(BatchRecord::decode(&bytes), Ok(record.clone()));
            for other in Format::ALL.into_iter().filter(|other| *other != format) {
                let renamed = [other.name().as_slice(), &bytes[4..]].concat();
                assert!(BatchRecord::decode(&renamed).is_err(), "{record:?} as {other:?}");
            }
        }
        // Later formats with nothing in them that needs them.
        let plain = record(RecordKind::Rows, 9, None, &[]).encode();
        let place = plain.len() - (1 + 32 + 8 + 32 + 3 * 8);
        let second = [b"rec2", &plain[4..place], &[0], &plain[place..]].concat();
        let third = [b"rec3", &second[4..], &[0; 4]].concat();
        let of_second = record(RecordKind::Rows, 9, Some(last(None)), &[]).encode();
        for wordy in [second, third, [b"rec3", &of_second[4..], &[0; 4]].concat()] {
            let refused = BatchRecord::decode(&wordy).expect_err("it has another encoding");
            assert!(refused.contains("later format"), "{refused}");
        }
    }

    #[test]
    fn meters_are_such_as_a_commit_has_or_there_is_no_record() {
        let rows = |meters: &[(&str, u64, u64)]| record(RecordKind::Rows, 9, None, meters);
        let few = BatchRecord { counts: Tally::default(), ..rows(&[("hours", 1, 0)]) };
        let many = [("a", u64::MAX, 0), ("b", 2, 0)];
        let many = BatchRecord {
            meters: many.iter().flat_map(|many| rows(&[*many]).meters).collect(),
            ..few.clone()
        };
        for (record, why) in [
            (rows(&[("b", 1, 0), ("a", 1, 0)]), "not in order"),
            (rows(&[("a", 1, 0), ("a", 1, 0)]), "not in order"),
            (rows(&[("a", 0, 0), ("b", 1, 0)]), "0 rows of \"a\""),
            (rows(&[("a", 1, 2)]), "2 of them corrections"),
            (few, "do not add up to its 0 rows"),
            (many, "do not add up to its 0 rows"),
            (record(RecordKind::Compaction, 9, None, &[("a", 1, 0)]), "adds no rows"),
        ] {
            assert_eq!(record.check_meters(), BatchRecord::decode(&record.encode()).map(drop));
            let refused = record.check_meters().expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
        let mut bytes = rows(&[("a", 1, 0)]).encode();
        let value = bytes.len() - 16;
        bytes[value] = 0x7F;
        let refused = BatchRecord::decode(&bytes).expect_err("it has more than 38 digits");
        assert!(refused.contains("38 digits"), "{refused}");
    }

    #[test]
    fn a_commit_without_usage_says_its_meters_in_every_format() {
        let none: &[MeterControl] = &[];
        let silent = BatchRecord {
            counts: Tally { usage: 1, ..Tally::default() },
            ..record(RecordKind::Rows, 9, None, &[])
        };
        assert_eq!(silent.controls(), None);
        assert_eq!(record(RecordKind::Rows, 9, None, &[]).controls(), Some(none));
        let copies = BatchRecord { kind: RecordKind::Compaction, ..silent };
        assert_eq!(copies.controls(), Some(none), "a copy adds nothing");
        let said = record(RecordKind::Rows, 9, None, &[("a", 1, 0)]);
        assert_eq!(said.controls(), Some(said.meters.as_slice()));
    }

    #[test]
    fn an_entry_says_from_which_version_on_its_format_is_read() {
        let head = TreeHead { size: 7, root: RootHash::from_bytes([4; 32]) };
        for (record, engine) in [
            (record(RecordKind::Rows, 9, Some(last(None)), &[]), r#""engineInfo":"atcost","#),
            (record(RecordKind::Rows, 9, None, &[("a", 1, 0)]), r#""engineInfo":"atcost/0.1.0","#),
        ] {
            let entry = record.render(&head);
            assert!(entry.contains(engine), "{entry}");
            assert_eq!(BatchRecord::from_entry(entry.as_bytes()), Ok((record, head)));
        }
    }

    fn records() -> impl Strategy<Value = BatchRecord> {
        let meter = (1..1_u64 << 40, any::<u64>(), any::<i128>());
        let meters = prop::collection::btree_map("[a-zä./-]{1,20}", meter, 0..9);
        let moved = (any::<i64>(), any::<Option<i32>>(), any::<bool>());
        (meters, moved, 0..3_usize, any::<[u64; 3]>()).prop_map(
            |(meters, (to, epoch, known), kind, numbers)| {
                let mut made = record(RecordKind::Rows, to, known.then(|| last(epoch)), &[]);
                made.meters = meters
                    .into_iter()
                    .map(|(meter, (usage, corrections, units))| MeterControl {
                        meter,
                        usage,
                        corrections: corrections % (usage + 1),
                        value: QuantityTotal::from_units(units % 10_i128.pow(38)).expect("38 digits"),
                    })
                    .collect();
                made.version = numbers[0];
                made.counts = Tally { usage: numbers[1], rejected: numbers[2], gaps: 3 };
                if made.meters.is_empty() {
                    made.kind = [RecordKind::Rows, RecordKind::Compaction, RecordKind::Truncation][kind];
                } else {
                    made.counts.usage = made.meters.iter().map(|control| control.usage).sum();
                }
                made
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(record in records()) {
            prop_assert_eq!(BatchRecord::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn what_is_decoded_is_encoded(record in records(), flips in prop::collection::vec(any::<u32>(), 1..4)) {
            let mut bytes = record.encode();
            for flip in flips {
                let bit = usize::try_from(flip).expect("32 bits fit") % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            if let Ok(record) = BatchRecord::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }
}
