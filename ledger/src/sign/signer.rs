//! The signer: looks at everything that was committed since the head it signed last, and signs the
//! new head if all of it is what its records say.
//!
//! It is a process of its own with a key of its own, and only reads the tables. It signs one
//! history: a head it has signed stays a prefix of every later one, or it refuses.
//!
//! ```text
//!   replay the log, recompute the new rows -> the head it signed last is a begin of it
//!   -> sign -> its own state, durable -> tiles -> the published head
//! ```
//!
//! Invariant: no head leaves before it is in the state. So a crash at any point is repaired by
//! signing again, and a state that is lost or put back to an older copy is a refusal, never a
//! second history.

use super::key::SignerKey;
use crate::audit::verify::{Finding, Replayed, Tell, logs, recount_entries, recount_rows};
use crate::error::LedgerError;
use crate::published::{publish, published};
use crate::store::Location;
use crate::{places, secret};
use proof::head::{SignedHead, origin};
use proof::leaf_key::LeafKey;
use proof::record::JOURNAL;
use schemas::digest::Sha256Digest;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// The result of signing one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedLog {
    /// The shard's number from 0; [`JOURNAL`] for the journal.
    pub shard: u32,
    /// The size that was signed before; 0 for nothing.
    pub before: u64,
    /// The size that is signed now.
    pub size: u64,
    /// Why nothing new was signed.
    pub findings: Vec<Finding>,
}

/// Has the key and the state to itself until it is dropped.
#[derive(Debug)]
pub struct Signer {
    key: SignerKey,
    state: Location,
    _lock: Option<File>,
}

impl Signer {
    /// # Errors
    /// `Invalid` when there is no key, another signer runs, or the state's folder cannot be had.
    pub async fn open(key: &Location, state: &Location) -> Result<Self, LedgerError> {
        let key = SignerKey::read(key).await?;
        state.create_folder().await?;
        let lock = match state.disk_path() {
            Some(folder) => Some(lock(&folder.join("lock")).await?),
            None => None,
        };
        Ok(Self { key, state: state.clone(), _lock: lock })
    }

    pub fn key(&self) -> &SignerKey {
        &self.key
    }

    /// Signs every log of a ledger that has grown. `first` allows a log of which nothing is
    /// remembered: it begins from the head that is published, or from nothing.
    ///
    /// # Errors
    /// When a log or the state cannot be read, or the state is missing or damaged. A fault in the
    /// ledger is a finding, and its log is not signed.
    pub async fn sign(
        &self,
        ledger: &Location,
        first: bool,
        tell: Tell<'_>,
    ) -> Result<Vec<SignedLog>, LedgerError> {
        let key = secret::read_leaf_key(&places::leaf_key(ledger)).await?;
        let mut signed = Vec::new();
        for shard in logs(ledger).await? {
            signed.push(self.sign_log(ledger, &key, shard, first, tell).await?);
        }
        Ok(signed)
    }

    async fn sign_log(
        &self,
        ledger: &Location,
        key: &LeafKey,
        shard: u32,
        first: bool,
        tell: Tell<'_>,
    ) -> Result<SignedLog, LedgerError> {
        let mut log = Replayed::of(ledger, shard).await?;
        let Some(table) = log.table.clone() else {
            return Ok(SignedLog { shard, before: 0, size: 0, findings: log.findings });
        };
        let origin = origin(&table);
        let state = State::of(&self.state, &table);
        let remembered = state.read(&origin).await?;
        let shown = published(&log.location).await?;
        let last = match &remembered {
            Some(remembered) => Some(remembered.clone()),
            None => self.begin(&state, &origin, &log.location, shown.as_deref(), first)?,
        };
        let before = last.as_ref().map_or(0, |last| last.head.size);
        if let Some(last) = &last {
            log.findings.extend(self.contradictions(&log, last, shown.as_deref()));
        }
        // A signer that remembers nothing looks at everything.
        let after = remembered.as_ref().map_or(0, |remembered| remembered.head.size);
        if log.findings.is_empty() {
            match shard {
                JOURNAL => recount_entries(&mut log, after, tell).await?,
                _ => recount_rows(&mut log, &places::leaf_key(ledger), key, after, tell).await?,
            };
        }
        let head = log.tree.head();
        if !log.findings.is_empty() {
            return Ok(SignedLog { shard, before, size: before, findings: log.findings });
        }
        fail::fail_point!("signer.verified");
        let signed = match last {
            Some(last) if last.head.size == head.size => {
                if remembered.is_none() {
                    state.write(&last).await?;
                }
                last
            }
            // An empty log is signed too, so that `first` is not asked for again when it begins.
            _ => {
                // An entry can be read before its writer has synced the folder it is in. A signed
                // entry must not go with the power.
                places::entries(&log.location).sync_folder().await?;
                let signed = self.key.sign(&origin, &head);
                state.write(&signed).await?;
                fail::fail_point!("signer.persisted");
                signed
            }
        };
        if shown.as_deref() != Some(signed.note()) {
            publish(&log.location, &log.tree, &signed).await?;
        }
        Ok(SignedLog { shard, before, size: signed.head.size, findings: Vec::new() })
    }

    /// The head to begin from where nothing is remembered: the one that was published last, or
    /// nothing at all.
    fn begin(
        &self,
        state: &State,
        origin: &str,
        table: &Location,
        shown: Option<&[u8]>,
        first: bool,
    ) -> Result<Option<SignedHead>, LedgerError> {
        let refused = |detail: String| Err(LedgerError::invalid(&state.location, detail));
        let path = places::head(table);
        let Some(shown) = shown else {
            return match first {
                true => Ok(None),
                false => refused(
                    "the signer has no state for this log; if the log was never signed, begin with `atcost sign --first`; else restore the state from a copy"
                        .to_owned(),
                ),
            };
        };
        let head = SignedHead::parse(shown)
            .filter(|head| head.origin == origin && head.is_signed_by(self.key.verifier()));
        match head {
            Some(head) if first => Ok(Some(head)),
            Some(head) => refused(format!(
                "this state of the signer is gone; it signed at least {} commits, as {} shows: look for a newer head with those who keep them, then begin from that one with `atcost sign --first`",
                head.head.size, path
            )),
            None => refused(format!(
                "this state of the signer is gone, and {} is no head of this log that its key signed: put back the last one that was published, then begin from it with `atcost sign --first`",
                path
            )),
        }
    }

    /// Why the log is not one that continues what was signed last.
    fn contradictions(&self, log: &Replayed, last: &SignedHead, shown: Option<&[u8]>) -> Vec<Finding> {
        let size = last.head.size;
        let commits = log.tree.head().size;
        let find = |file: &Location, commit: Option<u64>, what: String| {
            vec![Finding { file: file.to_string(), commit, what }]
        };
        if commits < size {
            let what = format!(
                "the log has {commits} commits, but a head over {size} was signed: the ledger was put back to an older copy; restore the newest one. Nothing is signed"
            );
            return find(&log.location, None, what);
        }
        if log.tree.root_at(size) != last.head.root {
            let what = format!(
                "the first {size} commits are not those that were signed: history was changed; restore the ledger from a copy. Nothing is signed"
            );
            return find(&log.location, Some(size), what);
        }
        let newer = shown
            .and_then(SignedHead::parse)
            .filter(|shown| shown.head.size > size && shown.is_signed_by(self.key.verifier()));
        if let Some(newer) = newer {
            let what = format!(
                "a head over {} commits was published, but the signer remembers only {size}: its state was put back to an older copy; restore the newest one. Nothing is signed",
                newer.head.size
            );
            return find(&places::head(&log.location), Some(newer.head.size), what);
        }
        Vec::new()
    }
}

/// The head that was signed last for one log, as a file: a line that names the format, a line with
/// the SHA-256 of the rest, and the signed note.
struct State {
    location: Location,
}

impl State {
    const FORMAT: &str = "atcost signer state 1";

    fn of(folder: &Location, table: &str) -> Self {
        Self { location: folder.join(&format!("{table}.head")) }
    }

    async fn read(&self, origin: &str) -> Result<Option<SignedHead>, LedgerError> {
        let damaged = |detail: &str| {
            LedgerError::corrupt(
                &self.location,
                format!("{detail}; the signer does not know what it has signed: restore it from a copy"),
            )
        };
        let Some(bytes) = self.location.read().await? else { return Ok(None) };
        let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
        let (format, digest, note) = (
            lines.next().unwrap_or_default(),
            lines.next().unwrap_or_default(),
            lines.next().unwrap_or_default(),
        );
        if format != Self::FORMAT.as_bytes() || digest != Sha256Digest::of(note).to_string().as_bytes() {
            return Err(damaged("its checksum is wrong"));
        }
        let head = SignedHead::parse(note).ok_or_else(|| damaged("it holds no signed head"))?;
        if head.origin != origin {
            return Err(damaged(&format!("it is the state of {}, not of {origin}", head.origin)));
        }
        Ok(Some(head))
    }

    async fn write(&self, signed: &SignedHead) -> Result<(), LedgerError> {
        let mut bytes = format!("{}\n{}\n", Self::FORMAT, Sha256Digest::of(signed.note())).into_bytes();
        bytes.extend_from_slice(signed.note());
        self.location.replace(bytes.into()).await
    }
}

/// Has the state to itself as long as the file is open. One that just ended may still be letting go:
/// a child that this process has forked holds every lock until it runs its own program.
async fn lock(path: &Path) -> Result<File, LedgerError> {
    const ATTEMPTS: u32 = 20;
    let failed = |error: std::io::Error| LedgerError::storage(&path.display(), "locking", &error);
    let lock = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    let mut attempt = 1;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                attempt += 1;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(LedgerError::invalid(&path.display(), "another signer runs; one is enough"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}
