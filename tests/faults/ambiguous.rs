//! Commits whose answer lies: the entry was stored and the answer is an error, or it was not and
//! the answer says that it exists.
//!
//! Invariant under test: an error is *unknown*, decided by reading the log, never by the kind of
//! the error.

use crate::campaign::{Campaign, Extent, Trial};
use crate::work::{Work, behind, new_ledger, place, wait};
use bytes::Bytes;
use futures::stream::BoxStream;
use ledger::store::Store;
use ledger::{ErrorKind, ShardWriter};
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

pub const CAMPAIGNS: &[Campaign] = &[Campaign {
    name: "ambiguous-commits",
    what: "the answer to a commit is a timeout, 412, 503 or another error, though it landed; and the same, though it did not",
    // Each trial has ten commits, each with a fault.
    trials: |extent| if extent == Extent::Full { 800 } else { 24 },
    threads: 8,
    run,
}];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Timeout,
    Exists,
    Unavailable,
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    answer: Answer,
    stored: bool,
    /// Puts in a row that are answered so.
    times: u64,
    /// Reads after that which fail.
    blind: u64,
}

const ANSWERS: [Answer; 4] = [Answer::Timeout, Answer::Exists, Answer::Unavailable, Answer::Other];

fn run(trial: &mut Trial) {
    let fault = ANSWERS[usize::try_from(trial.number / 2 % 4).expect("below 4")];
    let stored = trial.number.is_multiple_of(2);
    let work = Work::new(30, 3);
    let folder = trial.folder().to_owned();
    new_ledger(&folder);
    let planned = Arc::new(Mutex::new(None));
    let store = Store::disk().seen_through(|inner| Arc::new(Lying { inner, fault: planned.clone() }));
    let lying = store.at_path(&folder).expect("a place");
    let plan = |fault| *planned.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    let mut ledger = wait(ShardWriter::open(&lying)).expect("it opens");
    loop {
        // A commit is tried five times, so some of these it sees through and some it does not.
        let times = if trial.random.chance(80) { 1 } else { 2 + trial.random.below(5) };
        let blind = if trial.random.chance(90) { 0 } else { 1 + trial.random.below(3) };
        plan(Some(Fault { answer: fault, stored, times, blind }));
        let before = work.reached(&ledger);
        match wait(work.step(&mut ledger)) {
            Ok(None) => break,
            Ok(Some(_)) => trial.tally("decided by the writer"),
            Err(error) if error.kind() == ErrorKind::Retry => {
                trial.tally("undecided; decided by opening again");
                plan(None);
                ledger = wait(ShardWriter::open(&lying)).expect("it opens again");
                if !behind(&work.reached(&ledger), &before).is_empty() {
                    trial.failed("opening again went back");
                }
            }
            Err(error) => return trial.failed(format!("{fault:?}, stored {stored}, {times} times: {error}")),
        }
        trial.injected(1);
    }
    drop(ledger);
    wait(ShardWriter::open(&place(&folder))).expect("it opens");
    trial.audit(&folder, &work.expected());
}

/// A store whose puts of log entries are answered as planned.
#[derive(Debug)]
struct Lying {
    inner: Arc<dyn ObjectStore>,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Lying {
    /// The fault that strikes now, if one does.
    fn strike(&self, of: impl Fn(&mut Fault) -> &mut u64) -> Option<Fault> {
        let mut planned = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = planned.as_mut()?;
        let left = of(fault);
        *left = left.checked_sub(1)?;
        Some(*fault)
    }
}

fn is_entry(location: &ObjectPath) -> bool {
    location.as_ref().contains("_delta_log") && location.as_ref().ends_with(".json")
}

fn error(answer: Answer, location: &ObjectPath) -> Error {
    let generic = |what: &str| Error::Generic { store: "lying", source: what.into() };
    match answer {
        Answer::Timeout => generic("the request timed out"),
        Answer::Exists => {
            Error::AlreadyExists { path: location.to_string(), source: "412 precondition failed".into() }
        }
        Answer::Unavailable => generic("503 slow down"),
        Answer::Other => generic("the connection was reset"),
    }
}

impl fmt::Display for Lying {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lying({})", self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Lying {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let Some(fault) = is_entry(location).then(|| self.strike(|fault| &mut fault.times)).flatten() else {
            return self.inner.put_opts(location, payload, opts).await;
        };
        if fault.stored {
            // The first of several puts stores it; the others find it there.
            let _ = self.inner.put_opts(location, payload, opts).await;
        }
        Err(error(fault.answer, location))
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        if is_entry(location) && self.strike(|fault| &mut fault.blind).is_some() {
            return Err(error(Answer::Unavailable, location));
        }
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &ObjectPath, to: &ObjectPath, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
