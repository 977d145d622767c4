//! One bit of one file of a sealed ledger is another. Is it seen before money is computed from it?
//!
//! A flip is caught when rating's way of opening the ledger refuses; or when rating opens exactly
//! what it would have opened without the flip, and `verify ledger` or the signer names the damage.
//!
//! Delta's `_last_checkpoint` is left out: it is a hint for other programs, nobody here reads it,
//! and nothing says what must be in it.

use crate::campaign::{Campaign, Extent, Trial, shared_folder};
use crate::work::{Work, at, copy_folder, ledger_before_checkpoint, new_signer, place, sign, wait};
use ledger::audit::verify::verify;
use ledger::compact::compact;
use ledger::journal::{EntryKind, Journal};
use ledger::pinned::PinnedFiles;
use proof::head::VerifierKey;
use schemas::digest::Sha256Digest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tests::audit::audit;

pub const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "bit-flips",
        what: "one bit of one file of a sealed ledger is another: rows, log entries, Delta checkpoint, keys, tiles, signed heads, the signer's state, the journal",
        trials: |extent| if extent == Extent::Full { 10_000 / FLIPS } else { 12 },
        threads: 2,
        run: |trial| flip(trial, |_| true, |folder, sealed| caught(folder, &sealed.verifier, &sealed.cut)),
    },
    Campaign {
        name: "auditor",
        what: "the same flips, of the ledger's own files, by the auditor alone: whether it would see what the other campaigns rely on it to see",
        trials: |extent| if extent == Extent::Full { 2_000 / FLIPS } else { 5 },
        threads: 2,
        run: |trial| flip(trial, |kind| !kind.starts_with("signer's"), audited),
    },
];

/// Flips of one trial, one after the other.
const FLIPS: u64 = 20;

/// A sealed ledger, and how it is when it is whole.
struct Sealed {
    folder: PathBuf,
    verifier: VerifierKey,
    /// The cut that rating pins its run to.
    cut: String,
    /// The files by what they are, relative to the folder.
    files: BTreeMap<&'static str, Vec<PathBuf>>,
}

fn sealed() -> &'static Sealed {
    static SEALED: OnceLock<Sealed> = OnceLock::new();
    SEALED.get_or_init(|| {
        let folder = shared_folder();
        let ledger = folder.join("ledger");
        ledger_before_checkpoint(&ledger);
        let verifier = new_signer(&folder);
        wait(async {
            Work::new(24, 2).finish(&ledger).await.expect("the first half of the work");
            compact(&place(&ledger), at(2 * 24 * 60 * 60 * 1_000_000)).await.expect("a compaction");
            Work::new(40, 3).finish(&ledger).await.expect("the other half");
            let mut journal = Journal::open(&place(&ledger)).await.expect("the journal");
            for body in ["a catalog", "another one"] {
                let digest = Sha256Digest::of(body.as_bytes());
                journal
                    .append(EntryKind::CatalogPublished, at(0), digest, Some("why".to_owned()), body.into())
                    .await
                    .expect("an entry");
            }
        });
        signed(&folder).expect("it is signed");
        let cut = rate(&folder).expect("a whole ledger can be rated");
        let mut files: BTreeMap<&'static str, Vec<PathBuf>> = BTreeMap::new();
        collect(&folder, &folder, &mut files);
        assert_eq!(files.len(), KINDS, "every kind of file is there: {files:?}");
        let whole = Sealed { folder, verifier, cut, files };
        assert_eq!(
            (caught(&whole.folder, &whole.verifier, &whole.cut), audited(&whole.folder, &whole)),
            (None, None),
            "nothing is wrong before a bit is flipped"
        );
        whole
    })
}

const KINDS: usize = 12;

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<&'static str, Vec<PathBuf>>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, files);
            continue;
        }
        let relative = path.strip_prefix(root).expect("a file below").to_owned();
        if let Some(kind) = kind(&relative.to_string_lossy()) {
            files.entry(kind).or_default().push(relative);
        }
    }
}

/// The kind of a file. A lock has no bits, and what begins with a dot was left by a put.
fn kind(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let kind = match (path, name) {
        (_, "_last_checkpoint" | "lock") => return None,
        (_, name) if name.starts_with('.') => return None,
        ("ledger/leaf.key", _) => "leaf key",
        ("signer.key", _) => "signer's key",
        (path, _) if path.starts_with("state/") => "signer's state",
        (path, _) if path.contains("/log/tile/") => "tile",
        (path, "checkpoint") if path.contains("/log/") => "signed head",
        (_, name) if name.ends_with(".checkpoint.parquet") => "Delta checkpoint",
        (path, name) if path.starts_with("ledger/journal/") => {
            if name.ends_with(".json") {
                "journal's log entry"
            } else {
                "journal's file"
            }
        }
        (_, "00000000000000000000.json") => "first log entry",
        (_, name) if name.ends_with(".json") => "log entry",
        (_, name) if name.starts_with("compacted-") => "compacted rows",
        (_, name) if name.starts_with("rows-") => "rows",
        (path, _) => panic!("a sealed ledger has a file that bits are not flipped in: {path}"),
    };
    Some(kind)
}

fn flip(trial: &mut Trial, takes: fn(&str) -> bool, caught: impl Fn(&Path, &Sealed) -> Option<&'static str>) {
    let sealed = sealed();
    let folder = trial.folder().join("sealed");
    copy_folder(&sealed.folder, &folder);
    let kinds: Vec<_> = sealed.files.keys().copied().filter(|kind| takes(kind)).collect();
    for _ in 0..FLIPS {
        let kind = *trial.random.pick(&kinds);
        let path = folder.join(trial.random.pick(&sealed.files[kind]));
        let whole = std::fs::read(&path).expect("a file");
        let (byte, bit) = (trial.random.index(whole.len()), trial.random.below(8));
        let mut flipped = whole.clone();
        flipped[byte] ^= 1 << bit;
        // In place, so that who may read the file stays as it is.
        std::fs::write(&path, &flipped).expect("the file is damaged");
        trial.injected(1);
        match caught(&folder, sealed) {
            Some(by) => trial.tally(format!("{kind}: caught by {by}")),
            None => trial.undetected(format!("bit {bit} of byte {byte} of {} ({kind})", path.display())),
        }
        std::fs::write(&path, &whole).expect("the file is repaired");
    }
}

/// The command that names the damage first.
fn caught(folder: &Path, verifier: &VerifierKey, cut: &str) -> Option<&'static str> {
    match rate(folder) {
        Err(_) => return Some("rating"),
        // Rating would have used other rows than are sealed.
        Ok(found) if found != cut => return None,
        Ok(_) => {}
    }
    let report = wait(verify(&place(&folder.join("ledger")), Some(verifier), &mut |_| {}));
    if report.map_or(true, |report| report.findings().next().is_some()) {
        return Some("verify ledger");
    }
    signed(folder).is_err().then_some("sign")
}

fn audited(folder: &Path, sealed: &Sealed) -> Option<&'static str> {
    let audit = audit(&folder.join("ledger"), &[], Some(&sealed.verifier.to_string()));
    (!audit.problems.is_empty()).then_some("the auditor")
}

/// Opens all that rating reads, as rating does.
fn rate(folder: &Path) -> Result<String, String> {
    let ledger = place(&folder.join("ledger"));
    wait(async {
        let pinned = PinnedFiles::of_ledger(&ledger, None).await.map_err(|error| error.to_string())?;
        pinned.verified().await.map_err(|error| error.to_string())?;
        let journal = Journal::open(&ledger).await.map_err(|error| error.to_string())?;
        let bodies: Vec<_> = journal
            .entries()
            .iter()
            .map(|entry| (entry.number, entry.recorded_at, entry.digest, &entry.note, &entry.body))
            .collect();
        Ok(format!("{:?} {bodies:?}", pinned.cut))
    })
}

fn signed(folder: &Path) -> Result<u64, String> {
    wait(sign(&place(&folder.join("ledger")), folder))
}
