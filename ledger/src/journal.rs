//! The decisions of the operator, in order: which catalogs were published, which truncations of a
//! Kafka partition were accepted, which invoices came and what was decided about them, which months
//! were closed.
//!
//! The journal does not read what it keeps: an entry is a kind, a digest and bytes. Entries are
//! numbered from 0 without holes and are never edited; the number is the Delta `txn` of the commit,
//! so two operators deciding at once cannot both be entry 7.

use crate::error::LedgerError;
use crate::files::verified_bytes;
use crate::log::table::{Commit, SealedRows, Table};
use crate::row::columns::JOURNAL_COLUMNS;
use crate::row::{arrow_schema, parquet_bytes, read_parquet};
use crate::store::Location;
use arrow::array::{
    Array as _, AsArray as _, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use proof::hash::{LeafHash, RootHash};
use proof::leaf_key::LeafKeyId;
use proof::merkle::{self, Frontier};
use proof::record::{Division, JOURNAL, RecordKind};
use schemas::canonical::{push_bytes, push_option, push_text};
use schemas::digest::Sha256Digest;
use schemas::outcome::Tally;
use schemas::position::{NextOffset, StreamMove};
use schemas::time::Instant;
use std::sync::Arc;

const APPLICATION: &str = "journal";

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub number: i64,
    pub kind: EntryKind,
    pub recorded_at: Instant,
    /// The name of the content: for a catalog, its content address.
    pub digest: Sha256Digest,
    /// Why, where the operator had to say so.
    pub note: Option<String>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    CatalogPublished,
    /// A partition lost what was read from it, and is read on from where it has something else.
    TruncationAccepted,
    /// A provider's invoice came; its file is the document.
    InvoiceImported,
    /// An invoice is taken out.
    InvoiceWithdrawn,
    /// What differs between an invoice and the ledger was accepted, disputed, explained or reopened.
    DifferenceDecided,
    /// A month is closed; its posted lines are the document.
    MonthClosed,
}

impl EntryKind {
    pub const ALL: [Self; 6] = [
        Self::CatalogPublished,
        Self::TruncationAccepted,
        Self::InvoiceImported,
        Self::InvoiceWithdrawn,
        Self::DifferenceDecided,
        Self::MonthClosed,
    ];

    /// The word of the column `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CatalogPublished => "catalog-published",
            Self::TruncationAccepted => "truncation-accepted",
            Self::InvoiceImported => "invoice-imported",
            Self::InvoiceWithdrawn => "invoice-withdrawn",
            Self::DifferenceDecided => "difference-decided",
            Self::MonthClosed => "month-closed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether the digest of an entry names a document; of the others it is that of the body or, for a
    /// catalog, its content address.
    pub fn has_document(self) -> bool {
        matches!(self, Self::InvoiceImported | Self::MonthClosed)
    }
}

/// The journal, opened.
pub struct Journal {
    table: Table,
    entries: Vec<Entry>,
}

impl Journal {
    /// # Errors
    /// As [`crate::ShardWriter::open`], and `Corrupt` when entries are missing or a file's digest
    /// is wrong.
    pub async fn open(ledger: &Location) -> Result<Self, LedgerError> {
        let table = Table::open(ledger, JOURNAL).await?;
        let mut entries = Vec::new();
        for file in table.log().files.values() {
            let bytes = verified_bytes(table.location(), &file.added).await?;
            let read = read_entries(bytes);
            let location = || table.location().join(&file.added.path);
            entries.append(&mut read.map_err(|detail| LedgerError::corrupt(&location(), detail))?);
        }
        entries.sort_by_key(|entry| entry.number);
        if let Some((index, entry)) =
            entries.iter().enumerate().find(|(index, entry)| i64::try_from(*index) != Ok(entry.number))
        {
            return Err(LedgerError::corrupt(
                table.location(),
                format!("entry {index} is missing; the next one found is {}", entry.number),
            ));
        }
        Ok(Self { table, entries })
    }

    /// Every entry, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// `Overtaken` when somebody else added one since the journal was opened: look at it and decide
    /// again.
    pub async fn append(
        &mut self,
        kind: EntryKind,
        recorded_at: Instant,
        digest: Sha256Digest,
        note: Option<String>,
        body: Vec<u8>,
    ) -> Result<&Entry, LedgerError> {
        let number = i64::try_from(self.entries.len()).expect("fewer than 2^63 entries");
        let entry = Entry { number, kind, recorded_at, digest, note, body };
        let moved = StreamMove {
            stream: APPLICATION.to_owned(),
            from: (number > 0).then_some(NextOffset(number)),
            to: NextOffset(number + 1),
            identity: None,
            last: None,
        };
        let commit = Commit {
            kind: RecordKind::Rows,
            at: recorded_at,
            division: Division::FIRST,
            key: LeafKeyId([0; 8]),
            streams: vec![moved],
            seal: &|_| Some(entry.seal()),
        };
        self.table.commit(&commit).await.map_err(|error| match error {
            LedgerError::Fenced { location, .. } => LedgerError::Overtaken { location, entry: number },
            other => other,
        })?;
        self.entries.push(entry);
        Ok(self.entries.last().expect("an entry was just added"))
    }
}

impl Entry {
    /// The leaf of the entry (`docs/format.md`, "A journal entry").
    pub fn leaf(&self) -> LeafHash {
        let mut bytes = b"ent1".to_vec();
        bytes.extend_from_slice(&self.number.to_be_bytes());
        push_text(&mut bytes, self.kind.as_str());
        bytes.extend_from_slice(&self.recorded_at.micros().to_be_bytes());
        bytes.extend_from_slice(self.digest.as_bytes());
        push_option(&mut bytes, self.note.as_ref(), |bytes, note| push_text(bytes, note));
        push_bytes(&mut bytes, &self.body);
        merkle::leaf(&bytes)
    }

    /// The root of the tree that has this entry alone.
    pub fn root(&self) -> RootHash {
        merkle::root(&[self.leaf()])
    }

    fn seal(&self) -> SealedRows {
        let rows = RecordBatch::try_new(
            arrow_schema(JOURNAL_COLUMNS),
            vec![
                Arc::new(Int64Array::from(vec![self.number])),
                Arc::new(StringArray::from(vec![self.kind.as_str()])),
                Arc::new(
                    TimestampMicrosecondArray::from(vec![self.recorded_at.micros()]).with_timezone("UTC"),
                ),
                Arc::new(StringArray::from(vec![self.digest.to_string()])),
                Arc::new(StringArray::from(vec![self.note.clone()])),
                Arc::new(BinaryArray::from(vec![self.body.as_slice()])),
            ],
        )
        .expect("the arrays match JOURNAL_COLUMNS one by one");
        SealedRows {
            file: parquet_bytes(&rows, JOURNAL_COLUMNS).into(),
            rows: 1,
            counts: Tally::default(),
            rows_root: self.root(),
            subjects: 0,
            subjects_root: Frontier::default().root(),
            meters: Vec::new(),
        }
    }
}

/// The entries in the bytes of a file.
///
/// # Errors
/// The defect of the bytes, as part of a sentence.
pub(crate) fn read_entries(file: Bytes) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for batch in read_parquet(file)? {
        let column =
            |name: &str| batch.column_by_name(name).ok_or_else(|| format!("column {name} is missing"));
        let numbers = column("entry")?.as_primitive::<Int64Type>();
        let kinds = column("kind")?.as_string::<i32>();
        let recorded = column("recorded_at")?.as_primitive::<TimestampMicrosecondType>();
        let digests = column("digest")?.as_string::<i32>();
        let notes = column("note")?.as_string::<i32>();
        let bodies = column("body")?.as_binary::<i32>();
        for row in 0..batch.num_rows() {
            entries.push(Entry {
                number: numbers.value(row),
                kind: EntryKind::parse(kinds.value(row))
                    .ok_or_else(|| format!("unknown kind of entry {:?}", kinds.value(row)))?,
                recorded_at: Instant::from_micros(recorded.value(row)).map_err(|error| error.to_string())?,
                digest: Sha256Digest::from_hex(digests.value(row))
                    .ok_or_else(|| "a digest is not SHA-256".to_owned())?,
                note: notes.is_valid(row).then(|| notes.value(row).to_owned()),
                body: bodies.value(row).to_vec(),
            });
        }
    }
    Ok(entries)
}
