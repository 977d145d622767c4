//! A fault campaign: trials of one kind, each in a folder of its own, counted in the same four
//! ways.
//!
//! A trial is a function of the seed, the campaign's name and its own number, so any one of them
//! can be run again alone.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::audit::{Audit, audit};

/// How far to go: what belongs to everyday tests, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Small,
    Full,
}

pub struct Campaign {
    /// The name that selects it on the command line.
    pub name: &'static str,
    /// The subject of the trials, for the report.
    pub what: &'static str,
    pub trials: fn(Extent) -> u64,
    /// Trials that may run side by side.
    pub threads: usize,
    pub run: fn(&mut Trial),
}

/// Numbers that only look random (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers that are the same in every trial.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// An index of a list of that length, which is not 0.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("an index of a list")
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The outcome of one trial, or of all trials of a campaign.
#[derive(Debug, Default)]
pub struct Outcome {
    pub trials: u64,
    /// Faults that really happened.
    pub faults: u64,
    pub lost: u64,
    pub repeated: u64,
    /// Damage that nothing reported.
    pub undetected: u64,
    /// Trials in which anything else was wrong: what was wrong, and how to see it again.
    pub failed: u64,
    pub messages: Vec<String>,
    pub tallies: BTreeMap<String, u64>,
    pub took: Duration,
}

impl Outcome {
    pub fn is_clean(&self) -> bool {
        self.lost + self.repeated + self.undetected + self.failed == 0
    }

    fn add(&mut self, trial: Outcome) {
        self.trials += trial.trials;
        self.faults += trial.faults;
        self.lost += trial.lost;
        self.repeated += trial.repeated;
        self.undetected += trial.undetected;
        self.failed += trial.failed;
        self.messages.extend(trial.messages);
        for (text, count) in trial.tallies {
            *self.tallies.entry(text).or_default() += count;
        }
    }
}

/// One trial, as the campaign's function sees it.
pub struct Trial {
    /// From 0, within the campaign.
    pub number: u64,
    pub extent: Extent,
    pub random: Random,
    folder: TempDir,
    outcome: Outcome,
}

impl Trial {
    /// A folder of this trial's own, empty at first. It is kept when the trial fails.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn injected(&mut self, faults: u64) {
        self.outcome.faults += faults;
    }

    /// Counts by text, for the lines below the report.
    pub fn tally(&mut self, text: impl Into<String>) {
        *self.outcome.tallies.entry(text.into()).or_default() += 1;
    }

    /// One thing that was acknowledged and is not there.
    pub fn lost(&mut self, what: impl Into<String>) {
        self.outcome.lost += 1;
        self.outcome.messages.push(what.into());
    }

    pub fn undetected(&mut self, what: impl Into<String>) {
        self.outcome.undetected += 1;
        self.outcome.messages.push(what.into());
    }

    pub fn failed(&mut self, what: impl Into<String>) {
        self.outcome.failed = 1;
        self.outcome.messages.push(what.into());
    }

    /// Lets the auditor recount a ledger. Its findings are this trial's.
    pub fn audit(&mut self, ledger: &Path, expected: &[(String, Range<i64>)]) -> Audit {
        self.audit_signed(ledger, expected, None)
    }

    /// As [`Self::audit`], of a ledger whose head is signed by a key.
    pub fn audit_signed(
        &mut self,
        ledger: &Path,
        expected: &[(String, Range<i64>)],
        key: Option<&str>,
    ) -> Audit {
        let audit = audit(ledger, expected, key);
        self.outcome.lost += audit.lost;
        self.outcome.repeated += audit.repeated;
        if !audit.problems.is_empty() {
            self.failed(format!("the auditor found: {}", audit.problems.join("; ")));
        }
        audit
    }
}

/// Runs the trials of a campaign, or one of them.
pub fn run(campaign: &Campaign, extent: Extent, seed: u64, only: Option<u64>) -> Outcome {
    let start = Instant::now();
    let numbers = only.map_or(0..(campaign.trials)(extent), |number| number..number + 1);
    let (next, total) = (AtomicU64::new(numbers.start), Mutex::new(Outcome::default()));
    let threads = campaign.threads.min(usize::try_from(numbers.end - numbers.start).unwrap_or(usize::MAX));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    let outcome = run_one(campaign, extent, seed, number);
                    total.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
                }
            });
        }
    });
    let mut outcome = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcome.took = start.elapsed();
    outcome
}

/// In memory where there is such a folder: what is tried is what the program asks of a disk, and
/// not the disk.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut named = tempfile::Builder::new();
    named.prefix("atcost-faults-");
    if memory.is_dir() { named.tempdir_in(memory) } else { named.tempdir() }.expect("a folder for a trial")
}

static SHARED: Mutex<Vec<TempDir>> = Mutex::new(Vec::new());

/// A folder for what many trials begin with. It lives as long as the program.
pub fn shared_folder() -> PathBuf {
    let folder = folder();
    let path = folder.path().to_owned();
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).push(folder);
    path
}

/// Removes what [`shared_folder`] gave out.
pub fn clean_up() {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

fn run_one(campaign: &Campaign, extent: Extent, seed: u64, number: u64) -> Outcome {
    let name = campaign.name.bytes().fold(seed, |mixed, byte| Random(mixed ^ u64::from(byte)).next());
    let mut trial = Trial {
        number,
        extent,
        random: Random(name.wrapping_add(number.wrapping_mul(0x9e37_79b9))),
        folder: folder(),
        outcome: Outcome { trials: 1, ..Outcome::default() },
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (campaign.run)(&mut trial))) {
        let what =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        trial.failed(format!("panicked: {}", what.unwrap_or("without a text")));
    }
    let Trial { folder, mut outcome, .. } = trial;
    if outcome.is_clean() {
        return outcome;
    }
    if outcome.messages.is_empty() {
        outcome.messages.push(format!("{} lost, {} repeated", outcome.lost, outcome.repeated));
    }
    let full = if extent == Extent::Full { " --full" } else { "" };
    let again = format!(
        "{} trial {number} (again: cargo test -p tests --test faults -- {}{full} --seed {seed} --trial {number}; its folder: {})",
        campaign.name,
        campaign.name,
        folder.keep().display()
    );
    outcome.messages = vec![format!("{again}\n    {}", outcome.messages.join("\n    "))];
    outcome
}
