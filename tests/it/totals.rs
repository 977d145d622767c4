//! Usage totals against the plan that reads every row: through any history, crashes, damage and
//! deletion, the same charges to the last place, or none.

use crate::ledger::instant;
use crate::places::{everything, on_disk, write};
use crate::properties::{CATALOG, Event, drawn_events, usage};
use arrow::array::{ArrayRef, AsArray as _, Decimal128Array, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int32Type};
use derived::totals::{Caught, LEAF, TotalsError, catch_up_with, recount};
use ledger::compact::compact;
use ledger::division::divide_ledger;
use ledger::pinned::{PinnedFiles, Versions};
use ledger::row::BatchBuilder;
use ledger::{Location, ShardWriter, create_ledger};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use rating::run::{Pins, Run, rate};
use rating::usage::{CountedRows, DEFAULT_MEMORY, Mistakes};
use schemas::decimal::{Quantity, Sign};
use schemas::digest::Sha256Digest;
use schemas::event::CorrectionAction;
use schemas::outcome::OutcomeRef;
use schemas::position::{Advance, NextOffset, Offset, Origin, Stream};
use schemas::shard::Shard;
use schemas::time::{BillingMonth, Instant};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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

/// A run of October from rows that are opened.
pub async fn run_of(
    (at, _): (&Location, u64),
    versions: Option<&Versions>,
    usage: &CountedRows,
) -> Result<Run, rating::RatingError> {
    let files = PinnedFiles::of_ledger(at, versions).await.expect("pinned files");
    let month = BillingMonth::parse("2025-10").expect("a month");
    let pins = Pins { month, ledger: files.cut, catalog: CATALOG.digest, journal: 0 };
    rate(pins, usage, &CATALOG).await
}

/// A run from usage totals, or from every row.
pub async fn rated(
    ledger: (&Location, u64),
    versions: Option<&Versions>,
    from_rows: bool,
) -> (Run, Mistakes) {
    let usage = opened(ledger, versions, from_rows).await;
    let run = run_of(ledger, versions, &usage).await.expect("a run");
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
    assert_eq!(totals.completeness, rows.completeness);
    assert_eq!(told, expected);
}

/// What a recount finds.
async fn found((at, leaf): (&Location, u64)) -> Vec<String> {
    let totals = catch_up_with(at, leaf, &mut |_, _| ()).await.expect("totals");
    recount(at, &totals, &mut |_, _| ()).await.expect("a recount").findings
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
            assert_eq!(found(history.ledger()).await, Vec::<String>::new());
            let last = PinnedFiles::of_ledger(&history.at, None).await.expect("pinned files").cut.versions;
            let cut = last.0.iter().map(|version| u64::try_from(earlier.index(usize::try_from(*version).expect("small") + 1)).expect("small"));
            compare(&history, Some(&Versions(cut.collect()))).await;
        });
    }
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
    assert!(files.len() > 6, "there are cells, samples, repeats, suspects, spans, numbers and a manifest");
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
                let pins = Pins { month, ledger: files.cut, catalog: CATALOG.digest, journal: 0 };
                rate(pins, &usage, &CATALOG).await.ok()
            };
            if let Some(run) = run.await {
                assert_eq!(run.cost_lines, expected.cost_lines, "{location} at {place}");
                assert_eq!(run.completeness, expected.completeness, "{location} at {place}");
            }
            write(location, bytes.clone()).await;
        }
    }
    // An older manifest or index beside newer files is no other ledger's either.
    let (again, _) = rated(history.ledger(), None, false).await;
    assert_eq!(again.cost_lines, expected.cost_lines);
}

fn month_in(atcost: &Atcost, more: &[&str]) -> Vec<u8> {
    let printed = atcost.json(&[&["rate", "--period", "2025-10"], more].concat());
    let folder = PathBuf::from(printed["folder"].as_str().expect("a folder"));
    let charges = std::fs::read(folder.join("charges.parquet")).expect("charges");
    // The same run would be compared with what is there.
    std::fs::remove_dir_all(folder).expect("it can be deleted");
    charges
}

/// A ledger with the month's events.
fn with_month() -> Atcost {
    let atcost = Atcost::with_catalog(&case("month/catalog"));
    atcost.run(&["ingest", "--files", utf8(&case("month/events")), "--until-caught-up"]);
    atcost
}

/// Puts other rows into a file of a kind, so that every digest is right: the first such file of which
/// `change` makes others.
pub fn forge(totals: &Path, kind: &str, change: impl Fn(&RecordBatch) -> Option<RecordBatch>) {
    let path = totals.join("manifest.json");
    let text = std::fs::read_to_string(&path).expect("a manifest");
    let (_, body) = text.split_once('\n').expect("a digest, and what it is the digest of");
    let mut manifest: Value = serde_json::from_str(body).expect("JSON");
    let shards = manifest["shards"].as_array_mut().expect("shards").iter_mut();
    let leaves = shards.flat_map(|shard| shard["leaves"].as_array_mut().expect("leaves"));
    for part in leaves.filter_map(|leaf| leaf.get_mut(kind)).filter(|part| !part.is_null()) {
        let file = totals.join(part["name"].as_str().expect("a name"));
        let bytes = bytes::Bytes::from(std::fs::read(&file).expect("a file that is named"));
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet");
        let rows = reader.build().expect("Parquet").next().expect("rows").expect("rows");
        let Some(rows) = change(&rows) else { continue };
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).expect("a writer");
        writer.write(&rows).expect("rows");
        let bytes = writer.into_inner().expect("rows");
        part["bytes"] = json!(bytes.len());
        part["rows"] = json!(rows.num_rows());
        part["sha256"] = json!(Sha256Digest::of(&bytes).to_string());
        std::fs::write(&file, bytes).expect("it can be written");
        let body = manifest.to_string();
        let digest = Sha256Digest::of(body.as_bytes());
        return std::fs::write(&path, format!("{digest}\n{body}")).expect("it can be written");
    }
    panic!("there is no such file of {kind}");
}

/// One more unit of 10^-9 in a cell of October 2025.
fn with_more(cells: &RecordBatch) -> Option<RecordBatch> {
    let column = |name: &str| cells.schema().index_of(name).expect("a column of cells");
    // 1 October 2025.
    let days = cells.column(column("day")).as_primitive::<Int32Type>().values();
    let row = days.iter().position(|day| *day == 20_362)?;
    let values = cells.column(column("value")).as_primitive::<Decimal128Type>().values();
    let more = values.iter().enumerate().map(|(nth, value)| value + i128::from(nth == row));
    let more =
        Decimal128Array::from_iter_values(more).with_data_type(arrow::datatypes::DataType::Decimal128(38, 9));
    let mut columns = cells.columns().to_vec();
    columns[column("value")] = Arc::new(more) as ArrayRef;
    Some(RecordBatch::try_new(cells.schema(), columns).expect("cells"))
}

#[test]
fn a_run_says_which_control_totals_it_rests_on_and_is_refused_where_they_differ() {
    let atcost = with_month();
    let rated = atcost.json(&["rate", "--period", "2025-10"]);
    let totals = atcost.json(&["totals"]);
    let control = &rated["control_totals"];
    assert_eq!([&control["commits"], &control["rows"], &control["usage"]], [1, 70, 45]);
    let meters = control["meters"].as_object().expect("meters");
    let whole: serde_json::Map<String, Value> =
        meters.iter().map(|(meter, parts)| (meter.clone(), parts["usage"].clone())).collect();
    assert_eq!(Value::Object(whole), totals["meters"]);
    let compute = &meters["compute.example/instance-hours"];
    let events = |part: &str| compute[part]["events"].as_i64().expect("a count");
    assert_eq!(events("usage"), events("plain") + events("repeats") + events("corrections"));
    assert!(events("plain") > 0 && events("repeats") > 0, "{compute}");
    let text = atcost.ok(&["rate", "--period", "2025-10"]);
    assert!(text.contains("agrees with the control totals of 45 usage rows in 1 commit\n"), "{text}");
    // Nothing is compared where rows are read.
    assert_eq!(atcost.json(&["rate", "--period", "2025-10", "--from-rows"])["control_totals"], Value::Null);
    let text = atcost.ok(&["rate", "--period", "2025-10", "--from-rows"]);
    assert!(!text.contains("control totals"), "{text}");

    let derived = atcost.folder().join("ledger/derived");
    forge(&derived.join("totals"), "months", with_more);
    let refused = atcost.run(&["rate", "--period", "2025-10"]);
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    for said in ["compute.example/instance-hours", "`atcost verify totals`", "`derived`"] {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.text());
    }
    let figure = |before: &str| {
        let (_, after) = refused.stderr.split_once(before).expect("a figure");
        let (figure, _) = after.split_once(" in ").expect("a number of events");
        Quantity::parse(figure, Sign::NonNegative).expect("a number").units()
    };
    assert_eq!(figure("cells add up to "), figure("the control totals say ") + 1);
    let told = atcost.run(&["verify", "totals"]);
    assert_eq!(told.code, Some(1), "{}", told.text());
    assert!(
        told.stdout.contains("shard 1, versions 1 to 1: the totals are not those of the rows"),
        "{}",
        told.text()
    );
    std::fs::remove_dir_all(derived).expect("it can be deleted");
    assert!(month_in(&atcost, &[]) == month_in(&atcost, &["--from-rows"]), "other charges");
}

/// Totals of a format that another version made are made anew, and nothing is said to be damaged.
#[test]
fn totals_of_another_format_are_made_again() {
    let atcost = with_month();
    atcost.ok(&["totals"]);
    let manifest = atcost.folder().join("ledger/derived/totals/manifest.json");
    let text = std::fs::read_to_string(&manifest).expect("a manifest");
    let (_, body) = text.split_once('\n').expect("a digest, and what it is the digest of");
    let mut older: Value = serde_json::from_str(body).expect("JSON");
    older["format"] = json!(2);
    let body = older.to_string();
    let digest = Sha256Digest::of(body.as_bytes());
    std::fs::write(&manifest, format!("{digest}\n{body}")).expect("it can be written");
    let told = atcost.json(&["verify", "totals"]);
    assert_eq!([&told["rebuilt"], &told["findings"]], [&json!(true), &json!([])]);
    assert!(month_in(&atcost, &[]) == month_in(&atcost, &["--from-rows"]), "other charges");
}

#[test]
fn a_flipped_bit_in_each_kind_of_file_is_named() {
    let atcost = with_month();
    let numbered = case("prices/events");
    atcost.run(&["ingest", "--files", utf8(&numbered), "--until-caught-up"]);
    atcost.ok(&["totals"]);
    let derived = atcost.folder().join("ledger/derived");
    let whole = runtime().block_on(everything(&crate::places::place(&derived)));
    let kinds = [
        "manifest.json",
        "reaching.json",
        ".cells.",
        ".samples.",
        ".months.",
        ".repeats.",
        ".suspects.",
        ".spans.",
        ".numbers.",
        "ids/manifest",
        ".run",
    ];
    for kind in kinds {
        let of_kind = |(location, _): &&(Location, Vec<u8>)| location.to_string().contains(kind);
        let (location, bytes) = whole.iter().find(of_kind).expect("there is one of each kind");
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        runtime().block_on(write(location, flipped));
        let told = atcost.run(&["verify", "totals"]);
        assert_eq!(told.code, Some(1), "{kind}: {}", told.text());
        assert!(told.stdout.contains(location.name()), "{kind}: {}", told.text());
        std::fs::remove_dir_all(&derived).expect("it can be deleted");
        for (location, bytes) in &whole {
            runtime().block_on(write(location, bytes.clone()));
        }
        assert_eq!(atcost.run(&["verify", "totals"]).code, Some(0), "{kind}, when it is whole again");
    }
}

/// Usage that the month's catalog covers.
fn covered(id: &str) -> Event {
    Event {
        id: id.to_owned(),
        meter: "compute.example/instance-hours",
        subject: "projects/a1",
        time: instant("2025-10-07T08:00:00Z"),
        quantity: Quantity::from_units(5_000_000_000).expect("a quantity"),
        dimension: ("class", "standard"),
        provider: None,
        producer: None,
        correction: None,
    }
}

/// Where shards share ids, other rows are plain when totals are made anew; what stands beside the
/// cells is compared all the same.
#[test]
fn the_totals_of_shards_that_share_ids_are_compared_row_by_row() {
    runtime().block_on(async {
        let place = on_disk();
        let mut history = History::new(place.at.join("ledger"), LEAF).await;
        history.step(&Step::Divide(2)).await;
        // Folded in another order than anew: the second shard has them first.
        for (partition, ids) in [(1, ["a", "b"]), (1, ["a", "c"]), (0, ["c", "a"]), (0, ["d", "d"])] {
            history.step(&Step::Commit(partition, ids.map(covered).to_vec())).await;
            history.step(&Step::CatchUp).await;
        }
        assert_eq!(found(history.ledger()).await, Vec::<String>::new());
        let totals = history.at.join("derived/totals");
        let totals = totals.disk_path().expect("it is on a disk");
        let without_first =
            |rows: &RecordBatch| (rows.num_rows() > 1).then(|| rows.slice(1, rows.num_rows() - 1));
        forge(totals, "suspects", without_first);
        let findings = found(history.ledger()).await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].ends_with("row 0: it is not among the suspects and repeats"), "{findings:?}");
    });
}

/// An id that two shards have is a conflict, also where one of the two rows is a correction.
#[test]
fn a_correction_with_an_id_of_another_shard_is_a_conflict() {
    runtime().block_on(async {
        let place = on_disk();
        let mut history = History::new(place.at.join("ledger"), LEAF).await;
        history.step(&Step::Divide(2)).await;
        let void = Event { correction: Some((CorrectionAction::Void, "a".to_owned())), ..covered("c") };
        history.step(&Step::Commit(1, vec![void])).await;
        history.step(&Step::Commit(0, vec![covered("a"), covered("c")])).await;
        compare(&history, None).await;
    });
}

/// What a correction that never counts names is no suspect, whether totals followed or are made at once.
#[test]
fn a_correction_that_repeats_an_id_awaits_nothing() {
    runtime().block_on(async {
        let place = on_disk();
        let mut history = History::new(place.at.join("ledger"), LEAF).await;
        let replaces = |target: &str| Event {
            correction: Some((CorrectionAction::Replace, target.to_owned())),
            ..covered("c")
        };
        for event in [replaces("a"), replaces("b"), covered("b")] {
            history.step(&Step::Commit(0, vec![event])).await;
            history.step(&Step::CatchUp).await;
        }
        assert_eq!(found(history.ledger()).await, Vec::<String>::new());
    });
}

/// An index of ids that was lost and is built again is behind the totals for as long as that takes,
/// even where it has as many commits as they had.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "the build that people run has no failpoints")]
fn an_index_that_was_lost_is_whole_before_totals_are_believed() {
    let atcost = Atcost::with_catalog(&case("month/catalog"));
    atcost.ok(&["shards", "2"]);
    let at = crate::places::place(&atcost.folder().join("ledger"));
    let mut history =
        History { at, leaf: LEAF, shards: 2, next: BTreeMap::new(), received: 1_763_000_000_000_000 };
    let mut commit = |partition: u32, id: &str| {
        runtime().block_on(history.step(&Step::Commit(partition, vec![covered(id)])));
    };
    let make = |failpoints: &str| {
        let mut command = Command::new(binary());
        command.args(["totals"]).current_dir(atcost.folder()).env("FAILPOINTS", failpoints);
        command.output().expect("it starts").status.success()
    };
    commit(1, "e-0");
    commit(1, "e-1");
    assert!(make("totals.small-index=return"));
    for id in ["f-0", "f-1", "f-2", "f-3"] {
        commit(0, id);
    }
    std::fs::remove_dir_all(atcost.folder().join("ledger/derived/ids")).expect("it can be deleted");
    // The rows of the first shard are in the index, as many commits as the totals had; those of the
    // second are not.
    assert!(!make("totals.small-index=return;totals.folded=4*off->1*panic"), "it is killed on the way");
    commit(1, "e-0");
    assert!(month_in(&atcost, &[]) == month_in(&atcost, &["--from-rows"]), "the repeat is billed");
}

/// A read-only mount, which holds root too.
#[test]
fn a_ledger_that_cannot_be_written_to_is_rated_from_its_rows() {
    let atcost = with_month();
    let expected = month_in(&atcost, &["--from-rows"]);
    let read_only = |command: &str| {
        let mounted = format!("mount --bind ledger ledger && mount -o remount,ro,bind ledger && {command}");
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", &mounted, utf8(binary())]).current_dir(atcost.folder());
        unshare.output()
    };
    let usable = read_only("! touch ledger/written 2>/dev/null");
    if !usable.is_ok_and(|probe| probe.status.success()) {
        println!("not run: this user may not mount a folder read-only");
        return;
    }
    // Without totals, and with some that are there.
    for has_totals in [false, true] {
        if has_totals {
            atcost.ok(&["totals"]);
        }
        let rated = read_only(r#"exec "$0" --log-format json rate --period 2025-10 --format json"#);
        let rated = rated.expect("it starts");
        let told = String::from_utf8_lossy(&rated.stderr);
        assert!(rated.status.success(), "{told}");
        assert!(told.contains("totals.off") && told.contains("Read-only file system"), "{told}");
        let printed = tests::atcost::json(&String::from_utf8_lossy(&rated.stdout));
        assert_eq!(printed["control_totals"], Value::Null);
        let folder = Path::new(printed["folder"].as_str().expect("a folder"));
        assert_eq!(std::fs::read(folder.join("charges.parquet")).expect("charges"), expected);
        std::fs::remove_dir_all(folder).expect("it can be deleted");
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "the build that people run has no failpoints")]
fn totals_that_were_killed_at_any_point_go_on() {
    let atcost = with_month();
    let expected = month_in(&atcost, &["--from-rows"]);
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
        assert_eq!(month_in(&atcost, &[]), expected, "after {point}");
        assert!(atcost.ok(&["verify", "totals"]).contains("usage totals reach version"), "after {point}");
    }
}

#[test]
fn totals_that_are_not_those_of_the_rows_are_told() {
    let atcost = with_month();
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
