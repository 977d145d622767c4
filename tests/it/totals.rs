//! Usage totals against the plan that reads every row: through any history, crashes, damage and
//! deletion, the same charges to the last place, or none.

use crate::ledger::instant;
use crate::places::{everything, on_disk, write};
use crate::properties::{CATALOG, Event, drawn_events, usage};
use derived::totals::{Caught, LEAF, TotalsError, catch_up_with};
use ledger::compact::compact;
use ledger::division::divide_ledger;
use ledger::pinned::{PinnedFiles, Versions};
use ledger::row::BatchBuilder;
use ledger::{Location, ShardWriter, create_ledger};
use proptest::prelude::*;
use rating::run::{Pins, Run, rate};
use rating::usage::{CountedRows, DEFAULT_MEMORY, Mistakes};
use schemas::event::CorrectionAction;
use schemas::outcome::OutcomeRef;
use schemas::position::{Advance, NextOffset, Offset, Origin, Stream};
use schemas::shard::Shard;
use schemas::time::{BillingMonth, Instant};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use tests::atcost::{Atcost, binary, utf8};
use tests::machine::case;

/// What happens to a ledger.
#[derive(Debug, Clone)]
pub enum Step {
    /// Records of a partition; one batch.
    Commit(u32, Vec<Event>),
    Compact,
    Divide(u32),
    CatchUp,
    /// The folder of what is derived is deleted.
    Forget,
}

/// Few ids, so that they repeat, conflict and are corrected before and after they came.
pub fn step() -> impl Strategy<Value = Step> {
    let correction = prop::option::weighted(0.3, (any::<bool>(), 0..12_u32));
    let batch = prop::collection::vec((drawn_events(), 0..12_u32, correction), 1..8);
    let commit = (0..3_u32, batch).prop_map(|(partition, batch)| {
        let events = batch.into_iter().map(|(mut event, number, correction)| {
            event.id = format!("e-{number}");
            event.correction = correction.map(|(void, target)| {
                let action = if void { CorrectionAction::Void } else { CorrectionAction::Replace };
                (action, format!("e-{target}"))
            });
            event
        });
        Step::Commit(partition, events.collect())
    });
    prop_oneof![
        10 => commit,
        1 => Just(Step::Compact),
        1 => (1..=3_u32).prop_map(Step::Divide),
        3 => Just(Step::CatchUp),
        1 => Just(Step::Forget),
    ]
}

/// A ledger, and how far each partition and the clock are.
pub struct History {
    pub at: Location,
    /// The rows of a leaf of its totals, at most.
    leaf: u64,
    shards: u32,
    next: BTreeMap<u32, i64>,
    received: i64,
}

impl History {
    pub async fn new(at: Location, leaf: u64) -> Self {
        create_ledger(&at).await.expect("a ledger");
        Self { at, leaf, shards: 1, next: BTreeMap::new(), received: 1_763_000_000_000_000 }
    }

    pub async fn step(&mut self, step: &Step) {
        let now = instant("2025-11-20T00:00:00Z");
        match step {
            Step::Commit(partition, events) => self.commit(*partition, events).await,
            Step::Compact => {
                compact(&self.at, instant("2025-11-25T00:00:00Z")).await.expect("it compacts");
            }
            Step::Divide(shards) => {
                self.shards = *shards;
                divide_ledger(&self.at, *shards, now).await.expect("it is divided");
            }
            Step::CatchUp => drop(self.catch_up().await.expect("totals")),
            Step::Forget => self.at.join("derived").remove_folder().await.expect("it can be deleted"),
        }
    }

    pub fn ledger(&self) -> (&Location, u64) {
        (&self.at, self.leaf)
    }

    async fn catch_up(&self) -> Result<Caught, TotalsError> {
        catch_up_with(&self.at, self.leaf, &mut |_, _| ()).await
    }

    pub async fn commit(&mut self, partition: u32, events: &[Event]) {
        let origin = Origin::Kafka { cluster: "c".to_owned(), topic: "t".to_owned() };
        let stream = Arc::new(Stream { origin, partition });
        let taken = (1..=self.shards)
            .filter_map(|number| format!("{number}/{}", self.shards).parse::<Shard>().ok())
            .find(|shard| shard.takes(&stream));
        let mut writer =
            ShardWriter::open_shard(&self.at, taken.expect("some shard takes it")).await.expect("it opens");
        let mut batch = BatchBuilder::default();
        let index = batch.stream(&stream, "t");
        let next = self.next.entry(partition).or_default();
        for event in events {
            self.received += 1;
            let received = Instant::from_micros(self.received).expect("an instant");
            batch.advance(
                index,
                Advance { from: NextOffset(*next), to: NextOffset(*next + 1), identity: None },
            );
            batch.push(index, Offset(*next), None, received, &OutcomeRef::Usage(usage(event)));
            *next += 1;
        }
        writer.commit(batch, instant("2025-11-20T00:00:00Z")).await.expect("it commits");
    }
}

/// The rows of a ledger, whose totals have leaves of so many rows, by totals or every one.
pub async fn opened(
    (at, leaf): (&Location, u64),
    versions: Option<&Versions>,
    from_rows: bool,
) -> CountedRows {
    let totals = catch_up_with(at, leaf, &mut |_, _| ()).await.expect("totals");
    let files = PinnedFiles::of_ledger(at, versions).await.expect("pinned files");
    let inputs = at.join(if from_rows { "inputs-rows" } else { "inputs-totals" });
    let usage = if from_rows {
        CountedRows::open(&files, &inputs, DEFAULT_MEMORY).await
    } else {
        let cover = totals.cover(&files.cut.versions).expect("a cover");
        CountedRows::open_folded(&files, cover, &inputs, DEFAULT_MEMORY).await
    };
    usage.expect("rows")
}

/// A run from usage totals, or from every row.
pub async fn rated(
    ledger: (&Location, u64),
    versions: Option<&Versions>,
    from_rows: bool,
) -> (Run, Mistakes) {
    let usage = opened(ledger, versions, from_rows).await;
    let files = PinnedFiles::of_ledger(ledger.0, versions).await.expect("pinned files");
    let month = BillingMonth::parse("2025-10").expect("a month");
    let pins = Pins { month, ledger: files.cut, catalog: CATALOG.digest };
    let run = rate(pins, &usage, &CATALOG).await.expect("a run");
    let mut mistakes = usage.mistakes(100).await.expect("mistakes");
    usage.find_firsts(&mut mistakes).await.expect("their firsts");
    (run, mistakes)
}

async fn compare(history: &History, versions: Option<&Versions>) {
    let (totals, told) = rated(history.ledger(), versions, false).await;
    let (rows, expected) = rated(history.ledger(), versions, true).await;
    assert_eq!(totals.counts, rows.counts);
    assert_eq!(totals.cost_lines, rows.cost_lines);
    assert_eq!(totals.unrated, rows.unrated);
    assert_eq!(told, expected);
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn totals_and_rows_rate_alike(
        steps in prop::collection::vec(step(), 1..24),
        leaf in prop::sample::select(vec![1, 8, LEAF]),
        earlier in any::<prop::sample::Index>(),
    ) {
        runtime().block_on(async {
            let place = on_disk();
            let mut history = History::new(place.at.join("ledger"), leaf).await;
            for step in &steps {
                history.step(step).await;
            }
            compare(&history, None).await;
            let last = PinnedFiles::of_ledger(&history.at, None).await.expect("pinned files").cut.versions;
            let cut = last.0.iter().map(|version| u64::try_from(earlier.index(usize::try_from(*version).expect("small") + 1)).expect("small"));
            compare(&history, Some(&Versions(cut.collect()))).await;
        });
    }
}

/// The correction of one shard has the id of another's: a conflict that only both together show.
#[test]
fn a_correction_whose_id_another_shard_has_is_a_conflict() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut event = drawn_events().new_tree(&mut runner).expect("an event").current();
    event.id = "e-1".to_owned();
    event.correction = Some((CorrectionAction::Void, "e-2".to_owned()));
    let mut other = event.clone();
    other.correction = Some((CorrectionAction::Replace, "e-3".to_owned()));
    runtime().block_on(async {
        let place = on_disk();
        let mut history = History::new(place.at.join("ledger"), LEAF).await;
        for step in [Step::Commit(0, vec![event]), Step::Divide(3), Step::Commit(2, vec![other])] {
            history.step(&step).await;
        }
        compare(&history, None).await;
        assert_eq!(rated(history.ledger(), None, false).await.0.counts.conflicts, 1);
    });
}

/// A ledger of a few commits that repeat, conflict and correct; the totals follow each of them, or
/// are made at the end.
pub async fn some_history(at: Location, leaf: u64, follow: bool) -> History {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let mut history = History::new(at, leaf).await;
    for _ in 0..40 {
        let step = step().new_tree(&mut runner).expect("a step").current();
        if let Step::Commit(..) = step {
            history.step(&step).await;
            if follow {
                history.step(&Step::CatchUp).await;
            }
        }
    }
    history.step(&Step::CatchUp).await;
    history
}

/// With unions over leaves, and without.
const LEAVES: [u64; 2] = [8, LEAF];

#[test]
fn totals_that_were_deleted_are_made_again_to_the_same_bytes() {
    runtime().block_on(async {
        // The manifest names entries of the log, which differ by their keys.
        async fn folded(history: &History) -> BTreeMap<String, Vec<u8>> {
            let files = everything(&history.at.join("derived/totals")).await.into_iter();
            let named = files.map(|(location, bytes)| (location.name().to_owned(), bytes));
            named.filter(|(name, _)| name.ends_with(".parquet")).collect()
        }
        for leaf in LEAVES {
            let (place, other) = (on_disk(), on_disk());
            let at_once = some_history(place.at.join("ledger"), leaf, false).await;
            let followed = some_history(other.at.join("ledger"), leaf, true).await;
            let expected = folded(&at_once).await;
            assert!(expected.len() > 5);
            assert_eq!(folded(&followed).await, expected);
            at_once.at.join("derived").remove_folder().await.expect("it can be deleted");
            let caught = at_once.catch_up().await.expect("totals");
            assert!(caught.rebuilt && caught.rows > 0);
            assert_eq!(folded(&at_once).await, expected);
        }
    });
}

#[test]
fn damaged_totals_are_never_billed() {
    for leaf in LEAVES {
        runtime().block_on(damaged(leaf));
    }
}

async fn damaged(leaf: u64) {
    let place = on_disk();
    let history = some_history(place.at.join("ledger"), leaf, true).await;
    let (expected, _) = rated(history.ledger(), None, true).await;
    let folder = history.at.join("derived/totals");
    let files = everything(&folder).await;
    assert!(files.len() > 5, "there are cells, samples, repeats, suspects, spans and a manifest");
    for (location, bytes) in &files {
        for place in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 4;
            write(location, damaged).await;
            let month = BillingMonth::parse("2025-10").expect("a month");
            let run = async {
                let totals = history.catch_up().await.ok()?;
                let files = PinnedFiles::of_ledger(&history.at, None).await.ok()?;
                let cover = totals.cover(&files.cut.versions).ok()?;
                let inputs = history.at.join("inputs");
                let usage = CountedRows::open_folded(&files, cover, &inputs, DEFAULT_MEMORY).await.ok()?;
                let pins = Pins { month, ledger: files.cut, catalog: CATALOG.digest };
                rate(pins, &usage, &CATALOG).await.ok()
            };
            if let Some(run) = run.await {
                assert_eq!(run.cost_lines, expected.cost_lines, "{location} at {place}");
            }
            write(location, bytes.clone()).await;
        }
    }
    // An older manifest or index beside newer files is no other ledger's either.
    let (again, _) = rated(history.ledger(), None, false).await;
    assert_eq!(again.cost_lines, expected.cost_lines);
}

fn month_in(atcost: &Atcost) -> Vec<u8> {
    let printed = atcost.json(&["rate", "--period", "2025-10"]);
    let folder = printed["folder"].as_str().expect("a folder").to_owned();
    std::fs::read(std::path::Path::new(&folder).join("charges.parquet")).expect("charges")
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "the build that people run has no failpoints")]
fn totals_that_were_killed_at_any_point_go_on() {
    let atcost = Atcost::with_catalog(&case("month/catalog"));
    let events = case("month/events");
    atcost.run(&["ingest", "--files", utf8(&events), "--until-caught-up"]);
    let printed = atcost.json(&["rate", "--period", "2025-10", "--from-rows"]);
    let folder = std::path::PathBuf::from(printed["folder"].as_str().expect("a folder"));
    let expected = std::fs::read(folder.join("charges.parquet")).expect("charges");
    let derived = atcost.folder().join("ledger/derived");
    for point in [
        "totals.reaching",
        "totals.folded",
        "totals.indexed",
        "totals.manifest",
        "index.file-created",
        "index.file-written",
        "index.file-named",
    ] {
        if derived.exists() {
            std::fs::remove_dir_all(&derived).expect("it can be deleted");
        }
        let killed = Command::new(binary())
            .args(["totals"])
            .current_dir(atcost.folder())
            .env("FAILPOINTS", format!("{point}=panic"))
            .output()
            .expect("it starts");
        assert!(!killed.status.success(), "{point} is passed");
        assert_eq!(month_in(&atcost), expected, "after {point}");
        assert!(atcost.ok(&["verify", "totals"]).contains("usage totals reach version"), "after {point}");
    }
}

#[test]
fn totals_that_are_not_those_of_the_rows_are_told() {
    let atcost = Atcost::with_catalog(&case("month/catalog"));
    let events = case("month/events");
    atcost.run(&["ingest", "--files", utf8(&events), "--until-caught-up"]);
    assert!(atcost.ok(&["totals"]).contains("45 usage rows of 45 read now"));
    assert!(atcost.ok(&["totals"]).contains("0 usage rows of 45 read now"));
    assert!(atcost.ok(&["verify", "totals"]).contains("0 usage rows of 45"));
    let folder = atcost.folder().join("ledger/derived/totals");
    let cells = std::fs::read_dir(&folder)
        .expect("totals")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| utf8(path).contains("cells"))
        .expect("cells");
    let mut bytes = std::fs::read(&cells).expect("cells");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&cells, bytes).expect("it can be written");
    let told = atcost.run(&["verify", "totals"]);
    assert_eq!(told.code, Some(1));
    assert!(told.stdout.contains("it is not what was written"));
    let refused = atcost.run(&["rate", "--period", "2025-10"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("delete the folder `derived`"));
    std::fs::remove_dir_all(atcost.folder().join("ledger/derived")).expect("it can be deleted");
    atcost.run(&["rate", "--period", "2025-10"]);
    assert!(atcost.ok(&["verify", "totals"]).contains("0 usage rows of 45"));
}
