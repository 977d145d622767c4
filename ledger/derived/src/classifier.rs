//! A shard's index of ids beside its writer: opened, brought up to the ledger, and asked after
//! every commit.
//!
//! It never stops a writer. A damaged index is built again; one that cannot be read or written is
//! done without, and an event says so.
//!
//! Invariant: the index only ever gets rows that are committed, each version once, in order.

use crate::ids::{Classified, Entries, Index, IndexError, Limits, LogPosition};
use arrow::array::{Array as _, ArrayAccessor as _, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::error::ArrowError;
use bytes::Bytes;
use ledger::files::verified_bytes;
use ledger::log::table::Table;
use ledger::repeats::{CommittedRows, RepeatsIndex};
use ledger::{LedgerError, Repeats, places};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Digest = [u8; 32];

/// The index of a shard's ids, brought up to the shard and kept there.
#[derive(Default)]
pub struct Classifier {
    /// None before it was opened, and after it failed: this process goes on without.
    index: Option<Index>,
}

impl Classifier {
    /// Opens the index, or builds it from the rows.
    async fn reopen(&mut self, table: &Table) -> Result<(), LedgerError> {
        let Some(folder) = places::ids(table.location()).disk_path().map(Path::to_owned) else {
            tracing::warn!(event = "index.off", location = %table.location(), "rows are not classified: the index of ids needs a disk");
            return Ok(());
        };
        // The second attempt builds an index that was found damaged by the first.
        for _ in 0..2 {
            self.index = None;
            let entries = table.entry_digests().await?;
            let holds =
                |mark: &LogPosition| mark.version == 0 || entries.get(&mark.version) == Some(&mark.digest);
            match Index::open(&folder, Limits::default(), holds) {
                Ok(index) => self.index = Some(index),
                Err(error) => {
                    self.give_up(&error);
                    return Ok(());
                }
            }
            match self.add_missing(table, &entries).await? {
                Ok(()) => return Ok(()),
                Err(error @ IndexError::Storage { .. }) => {
                    self.give_up(&error);
                    return Ok(());
                }
                Err(error @ IndexError::Damaged { .. }) => tell_damaged(&error),
            }
        }
        self.index = None;
        Ok(())
    }

    fn give_up(&mut self, error: &IndexError) {
        self.index = None;
        tracing::warn!(event = "index.off", %error, "rows are not classified; restart to try again");
    }

    /// Adds every version that the index lacks, from the rows as they are stored.
    async fn add_missing(
        &mut self,
        table: &Table,
        entries: &BTreeMap<u64, Digest>,
    ) -> Result<Result<(), IndexError>, LedgerError> {
        let Some(index) = &mut self.index else { return Ok(Ok(())) };
        let from = index.complete_to();
        let mut files: Vec<_> = table.log().files.values().collect();
        files.sort_by_key(|file| file.first);
        let mut open: Option<(u64, Entries)> = None;
        let add = |index: &mut Index, until: u64, open: Option<(u64, Entries)>| {
            let (version, rows) = open.unwrap_or((until, Entries::new(index.hasher())));
            for next in index.complete_to() + 1..=until {
                let mark = LogPosition { version: next, digest: entries[&next] };
                if next == version {
                    index.classify_and_add(mark, &rows)?
                } else {
                    index.classify_and_add(mark, &Entries::new(index.hasher()))?
                };
            }
            Ok::<(), IndexError>(())
        };
        for (nth, file) in files.iter().enumerate() {
            // Rows of later commits are in later files: what begins before this one's successor may
            // still hold some.
            if files.get(nth + 1).is_some_and(|next| next.first <= from + 1) {
                continue;
            }
            let location = table.location().join(&file.added.path);
            let damaged = |detail: String| LedgerError::corrupt(&location, detail);
            let bytes = verified_bytes(table.location(), &file.added).await?;
            for batch in id_columns(bytes).map_err(|error| damaged(error.to_string()))? {
                let batch = batch.map_err(|error| damaged(error.to_string()))?;
                let (versions, rows) = (
                    batch.column(0).as_primitive::<Int64Type>(),
                    batch.column(1).as_primitive::<Int32Type>(),
                );
                let (sources, ids) = (batch.column(2).as_string::<i32>(), batch.column(3).as_string::<i32>());
                let digests = batch.column(4).as_binary::<i32>();
                for row in 0..batch.num_rows() {
                    let version =
                        u64::try_from(versions.value(row)).map_err(|error| damaged(error.to_string()))?;
                    if version <= from || ids.is_null(row) {
                        continue;
                    }
                    if version <= index.complete_to() {
                        let detail = format!(
                            "a row of commit {version} comes after rows of commit {}",
                            index.complete_to()
                        );
                        return Ok(Err(IndexError::Storage {
                            location: PathBuf::from(location.to_string()),
                            doing: "reading rows in the order of their commits",
                            detail,
                        }));
                    }
                    let number =
                        u32::try_from(rows.value(row)).map_err(|error| damaged(error.to_string()))?;
                    let digest = digests
                        .value(row)
                        .try_into()
                        .map_err(|_| damaged("a content_digest does not have 32 bytes".to_owned()))?;
                    if open.as_ref().is_some_and(|(open, _)| *open != version) {
                        let complete = open.take();
                        if let Err(error) = add(index, version - 1, complete) {
                            return Ok(Err(error));
                        }
                    }
                    let (_, entries) = open.get_or_insert_with(|| (version, Entries::new(index.hasher())));
                    entries.push(number, sources.value(row), ids.value(row), digest);
                }
            }
        }
        Ok(add(index, table.version(), open))
    }
}

#[async_trait::async_trait]
impl RepeatsIndex for Classifier {
    async fn catch_up(&mut self, table: &Table) -> Result<(), LedgerError> {
        self.reopen(table).await
    }

    async fn committed(
        &mut self,
        table: &Table,
        rows: Option<CommittedRows<'_>>,
    ) -> Result<Option<Repeats>, LedgerError> {
        let Some(index) = &mut self.index else { return Ok(None) };
        let mark = LogPosition { version: table.version(), digest: *table.log().digest().as_bytes() };
        if mark.version != index.complete_to() + 1 {
            // Somebody compacted the table meanwhile.
            self.reopen(table).await?;
            return Ok(None);
        }
        let mut entries = Entries::new(index.hasher());
        if let Some(rows) = rows {
            push_batch(&mut entries, rows);
        }
        match index.classify_and_add(mark, &entries) {
            Ok(Classified { duplicates, conflicts, .. }) => Ok(Some(Repeats { duplicates, conflicts })),
            Err(error @ IndexError::Storage { .. }) => {
                self.give_up(&error);
                Ok(None)
            }
            Err(error @ IndexError::Damaged { .. }) => {
                tell_damaged(&error);
                self.reopen(table).await?;
                Ok(None)
            }
        }
    }
}

impl Drop for Classifier {
    fn drop(&mut self) {
        let saved = self.index.as_mut().map(Index::save);
        if let Some(Err(error)) = saved {
            tracing::warn!(event = "index.unsaved", %error, "the next process reads the last versions again");
        }
    }
}

fn tell_damaged(error: &IndexError) {
    tracing::warn!(event = "index.damaged", %error, "the index of ids cannot be trusted");
}

/// The columns `batch`, `row`, `source`, `id` and `content_digest` of a file.
fn id_columns(file: Bytes) -> Result<impl Iterator<Item = Result<RecordBatch, ArrowError>>, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let mask =
        ProjectionMask::columns(builder.parquet_schema(), ["batch", "row", "source", "id", "content_digest"]);
    builder.with_projection(mask).with_batch_size(65_536).build()
}

/// The usage rows of a batch as the builder makes it: sources are a dictionary.
fn push_batch(entries: &mut Entries, committed: CommittedRows<'_>) {
    let column = |name: &str| committed.rows.column_by_name(name).expect("a batch has all columns");
    let sources = column("source")
        .as_dictionary::<Int32Type>()
        .downcast_dict::<StringArray>()
        .expect("sources are text");
    let ids = column("id").as_string::<i32>();
    for (row, content) in committed.content_digests.iter().enumerate() {
        if ids.is_valid(row) {
            let number = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
            let source = sources.value(row);
            entries.push(number, source, ids.value(row), content);
        }
    }
}
