//! The work that faults interrupt: two streams of made-up records, read into a ledger batch by
//! batch.
//!
//! The content of a batch follows from where it begins, so whoever goes on after a crash writes
//! what would have been written without it.

use crate::campaign;
use futures::FutureExt as _;
use ledger::row::BatchBuilder;
use ledger::sign::key::SignerKey;
use ledger::sign::signer::Signer;
use ledger::{Committed, LedgerError, Location, ShardWriter, create_ledger};
use proof::head::VerifierKey;
use schemas::canonical::push_map;
use schemas::decimal::Quantity;
use schemas::digest::Sha256Digest;
use schemas::event::{EventRef, MapRef};
use schemas::outcome::OutcomeRef;
use schemas::position::{Advance, NextOffset, Offset, Origin, Positions, Stream};
use schemas::rejection::Reason;
use schemas::time::Instant;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio::runtime::{Builder, Runtime};

/// Runs what is asynchronous, for all trials of this process.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
        })
        .block_on(future)
}

/// As [`wait`]; a panic is an error, as it would end the process.
pub fn wait_or_panic<T>(future: impl Future<Output = T>) -> Result<T, String> {
    wait(std::panic::AssertUnwindSafe(future).catch_unwind()).map_err(|panic| {
        panic
            .downcast_ref::<String>()
            .cloned()
            .or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}

/// An instant of the day the work is done on, later for larger numbers.
pub fn at(microseconds: i64) -> Instant {
    Instant::from_micros(1_760_000_000_000_000 + microseconds).expect("an instant of 2025")
}

/// Two streams, each read from 0 to the same end.
#[derive(Debug, Clone)]
pub struct Work {
    streams: Vec<Arc<Stream>>,
    end: i64,
    /// Records that a commit reads of each stream.
    step: i64,
}

impl Work {
    pub fn new(end: i64, step: i64) -> Self {
        let stream = |partition| {
            Arc::new(Stream {
                origin: Origin::Kafka { cluster: "c1".to_owned(), topic: "usage".to_owned() },
                partition,
            })
        };
        Self { streams: vec![stream(0), stream(1)], end, step }
    }

    /// The records that must be in the ledger when the work is done.
    pub fn expected(&self) -> Vec<(String, Range<i64>)> {
        self.streams.iter().map(|stream| (stream.to_string(), 0..self.end)).collect()
    }

    /// How far the ledger says that each stream was read.
    pub fn reached(&self, ledger: &ShardWriter) -> BTreeMap<String, i64> {
        let positions = ledger.positions(&self.plain());
        self.streams
            .iter()
            .filter_map(|stream| Some((stream.to_string(), positions.get(stream)?.0)))
            .collect()
    }

    fn plain(&self) -> Vec<Stream> {
        self.streams.iter().map(|stream| (**stream).clone()).collect()
    }

    /// The next batch after `positions`; none when the work is done.
    fn batch(&self, positions: &Positions) -> Option<BatchBuilder> {
        let mut batch = BatchBuilder::default();
        for stream in &self.streams {
            let from = positions.get(stream).map_or(0, |next| next.0);
            let to = (from + self.step).min(self.end);
            if from == to {
                continue;
            }
            let index = batch.stream(stream, "usage");
            batch.advance(index, Advance { from: NextOffset(from), to: NextOffset(to), identity: None });
            let mut offset = from;
            while offset < to {
                let until = if offset % 13 == 7 { (offset + 2).min(to) } else { offset + 1 };
                push(&mut batch, index, offset, until);
                offset = until;
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Commits the next batch. `None` says that the work is done.
    ///
    /// # Errors
    /// As [`ShardWriter::commit`].
    pub async fn step(&self, ledger: &mut ShardWriter) -> Result<Option<Committed>, LedgerError> {
        match self.batch(&ledger.positions(&self.plain())) {
            Some(batch) => {
                let begins = i64::try_from(ledger.version()).expect("few commits") * 1_000_000;
                let committed = ledger.commit(batch, at(begins)).await?;
                // So that a Delta checkpoint comes at the same place in every run.
                ledger.finish_checkpoint().await;
                Ok(Some(committed))
            }
            None => Ok(None),
        }
    }

    /// Opens the ledger as on any other day, and does what is left of the work.
    ///
    /// # Errors
    /// As [`ShardWriter::open`] and [`ShardWriter::commit`].
    pub async fn finish(&self, folder: &Path) -> Result<(), LedgerError> {
        let mut ledger = ShardWriter::open(&place(folder)).await?;
        while self.step(&mut ledger).await?.is_some() {}
        Ok(())
    }
}

/// Usage mostly, some of it refused, and here and there a gap of two offsets.
fn push(batch: &mut BatchBuilder, stream: ledger::row::StreamIndex, offset: i64, until: i64) {
    let (id, subject) = (format!("e-{offset}"), format!("projects/{}", offset % 3));
    let (dimensions, mut canonical) = ([(Cow::Borrowed("class"), Cow::Borrowed("standard"))], Vec::new());
    push_map(&mut canonical, &dimensions);
    let outcome = if until > offset + 1 {
        OutcomeRef::Gap { until: Offset(until), detail: "deleted by retention" }
    } else if offset % 5 == 1 {
        OutcomeRef::Rejected {
            reason: Reason::JsonInvalid,
            detail: "expected value",
            key: None,
            headers: &[0; 4],
            value: Some(b"\xff"),
        }
    } else {
        OutcomeRef::Usage(EventRef {
            source: "//edge/ams",
            id: &id,
            meter: "compute.example/instance-hours",
            subject: &subject,
            time: at(offset),
            quantity: Quantity::from_units(i128::from(offset) * 1_500_000_000).expect("a quantity"),
            dimensions: MapRef::with_canonical(&dimensions, &canonical),
            provider: None,
            location: None,
            resource: None,
            producer: None,
            correction: None,
        })
    };
    batch.push(stream, Offset(offset), Some(at(offset)), at(offset + 5), &outcome);
}

/// A ledger that was just made.
pub fn new_ledger(folder: &Path) {
    wait(create_ledger(&place(folder))).expect("an empty ledger");
}

/// A ledger whose next few commits reach a Delta checkpoint, in `folder`.
pub fn ledger_before_checkpoint(folder: &Path) {
    static LEDGER: OnceLock<PathBuf> = OnceLock::new();
    let ledger = LEDGER.get_or_init(|| {
        let ledger = campaign::shared_folder();
        new_ledger(&ledger);
        let stream = Arc::new(Stream {
            origin: Origin::Kafka { cluster: "c1".to_owned(), topic: "idle".to_owned() },
            partition: 0,
        });
        wait(async {
            let mut ledger = ShardWriter::open(&place(&ledger)).await.expect("it opens");
            // Positions alone, so that there are no files that every trial copies and every audit
            // reads.
            for offset in 0..95 {
                let mut batch = BatchBuilder::default();
                let index = batch.stream(&stream, "idle");
                batch.advance(
                    index,
                    Advance { from: NextOffset(offset), to: NextOffset(offset + 1), identity: None },
                );
                ledger.commit(batch, at(offset)).await.expect("it commits");
            }
        });
        ledger
    });
    copy_folder(ledger, folder);
}

/// Signs what a ledger has, and gives the size that is signed of its shard. `folder` has the
/// signer's key and state.
///
/// # Errors
/// When the signer refuses.
pub async fn sign(ledger: &Location, folder: &Path) -> Result<u64, String> {
    let signer = Signer::open(&place(&folder.join("signer.key")), &place(&folder.join("state")))
        .await
        .map_err(|error| error.to_string())?;
    let logs = signer.sign(ledger, true, &mut |_| {}).await.map_err(|error| error.to_string())?;
    match logs.iter().flat_map(|log| &log.findings).next() {
        Some(finding) => Err(finding.what.clone()),
        None => Ok(logs[0].size),
    }
}

/// Makes the key of a signer in `folder`; gives the key that checks its signatures.
pub fn new_signer(folder: &Path) -> VerifierKey {
    wait(SignerKey::create(&place(&folder.join("signer.key")), "signer.example")).expect("a key")
}

/// The stream that a file of lines is, and its offsets.
pub fn file_stream(path: &Path) -> (String, Range<i64>) {
    let bytes = std::fs::read(path).expect("a file");
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    let origin = Origin::File { digest: Sha256Digest::of(&bytes) };
    let stream = Stream { origin, partition: 0 };
    (stream.to_string(), 0..i64::try_from(lines).expect("a small file"))
}

/// A folder or a file of this machine.
pub fn place(path: &Path) -> Location {
    Location::on_disk(path).expect("a path is a place")
}

/// Whether the ledger is where `acknowledged` says, or further.
pub fn behind(reached: &BTreeMap<String, i64>, acknowledged: &BTreeMap<String, i64>) -> Vec<String> {
    let short = |(stream, next): (&String, &i64)| {
        let found = reached.get(stream).copied();
        (found.is_none_or(|found| found < *next))
            .then(|| format!("{stream} was acknowledged up to {next}, and the ledger says {found:?}"))
    };
    acknowledged.iter().filter_map(short).collect()
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_folder(&source, &target);
        } else {
            std::fs::copy(&source, &target).expect("a copy");
        }
    }
}
