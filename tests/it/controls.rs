//! What the records of a ledger say of its usage, meter by meter: stated by the writer, shown up to
//! a cut, and refused where the rows say otherwise.

use crate::ledger::{instant, map, stream};
use crate::places::{everywhere, on_disk, read, write};
use ledger::audit::verify::verify;
use ledger::compact::compact;
use ledger::division::divide_ledger;
use ledger::pinned::{MeterControl, PinnedFiles, Versions};
use ledger::row::BatchBuilder;
use ledger::{ErrorKind, Location, ShardWriter, create_ledger};
use proof::merkle::{Frontier, leaf};
use proof::record::{BatchRecord, TreeHead};
use schemas::decimal::{Quantity, QuantityTotal, Sign};
use schemas::event::{CorrectionAction, CorrectionRef, EventRef};
use schemas::outcome::OutcomeRef;
use schemas::position::{Advance, NextOffset, Offset};
use std::collections::BTreeMap;
use std::sync::Arc;
use tests::audit::audit;

const MORNING: &str = "2025-10-02T08:00:03Z";
const NEXT_DAY: &str = "2025-10-03T08:00:00Z";
/// The largest value there is.
const MOST: &str = "9999999999999999999.999999999";

/// Usage from an offset on: of each row the meter, the value, and whether it corrects another.
fn batch(from: i64, rows: &[(&str, &str, bool)]) -> BatchBuilder {
    let mut batch = BatchBuilder::default();
    let index = batch.stream(&Arc::new(stream()), "usage");
    let to = from + i64::try_from(rows.len()).expect("a few rows");
    batch.advance(index, Advance { from: NextOffset(from), to: NextOffset(to), identity: None });
    for (offset, (meter, value, corrects)) in (from..to).zip(rows) {
        let id = format!("e-{}", offset % 5);
        let correction = CorrectionRef {
            action: CorrectionAction::Replace,
            source: "//edge",
            id: "e-x",
            reason: "it was wrong",
        };
        let event = EventRef {
            source: "//edge",
            id: &id,
            meter,
            subject: "projects/a",
            time: instant("2025-10-02T08:00:00Z"),
            quantity: Quantity::parse(value, Sign::NonNegative).expect("a quantity"),
            dimensions: map(&[]),
            provider: None,
            location: None,
            resource: None,
            producer: None,
            correction: corrects.then_some(correction),
        };
        batch.push(index, Offset(offset), None, instant(MORNING), &OutcomeRef::Usage(event));
    }
    batch
}

fn control(meter: &str, usage: u64, corrections: u64, value: &str) -> MeterControl {
    let value = QuantityTotal::parse(value, Sign::Any).expect("a total");
    MeterControl { meter: meter.to_owned(), usage, corrections, value }
}

/// Three commits, of which the second has no usage.
async fn written(at: &Location) -> ShardWriter {
    create_ledger(at).await.expect("an empty ledger");
    let mut ledger = ShardWriter::open(at).await.expect("it opens");
    let rows =
        [("hours", "1.5", false), ("ünits", MOST, true), ("bytes", "0", true), ("hours", "0.25", true)];
    ledger.commit(batch(0, &rows), instant(MORNING)).await.expect("it commits");
    let mut gap = batch(4, &[]);
    let index = gap.stream(&Arc::new(stream()), "usage");
    gap.advance(index, Advance { from: NextOffset(4), to: NextOffset(6), identity: None });
    let lost = OutcomeRef::Gap { until: Offset(6), detail: "lost" };
    gap.push(index, Offset(4), None, instant(MORNING), &lost);
    ledger.commit(gap, instant(MORNING)).await.expect("it commits");
    let rows = [("ünits", MOST, false); 3];
    ledger.commit(batch(6, &rows), instant(MORNING)).await.expect("it commits");
    ledger
}

type Controls = BTreeMap<(u32, u64), Option<Vec<MeterControl>>>;

async fn controls(at: &Location, versions: Option<&str>) -> Controls {
    let versions: Option<Versions> = versions.map(|text| text.parse().expect("versions"));
    let pinned = PinnedFiles::of_ledger(at, versions.as_ref()).await.expect("it opens");
    let mut found = BTreeMap::new();
    let mut see = |commit: ledger::pinned::CommitControls<'_>| {
        found.insert((commit.shard, commit.version), commit.meters.map(<[MeterControl]>::to_vec));
    };
    pinned.controls(&mut see).await.expect("the log is what was pinned");
    found
}

#[tokio::test]
async fn every_commit_says_what_its_usage_adds_up_to() {
    for place in everywhere() {
        let at = &place.at;
        written(at).await;
        let first =
            vec![control("bytes", 1, 1, "0"), control("hours", 2, 1, "1.75"), control("ünits", 1, 1, MOST)];
        let third = vec![control("ünits", 3, 0, "29999999999999999999.999999997")];
        let mut expected: Controls = [((0, 1), Some(first)), ((0, 2), Some(Vec::new()))].into();
        assert_eq!(controls(at, Some("2")).await, expected, "up to the cut");
        expected.insert((0, 3), Some(third));
        assert_eq!(controls(at, None).await, expected);

        // Neither copies nor divisions add anything.
        compact(at, instant(NEXT_DAY)).await.expect("it compacts");
        divide_ledger(at, 2, instant(NEXT_DAY)).await.expect("it is divided");
        expected.extend([(0, 4), (0, 5), (1, 1)].map(|commit| (commit, Some(Vec::new()))));
        assert_eq!(controls(at, None).await, expected);
        let report = verify(at, None, &mut |_| {}).await.expect("it can be read");
        assert_eq!(report.findings().count(), 0, "{report:?}");
        if let Some(path) = at.disk_path() {
            audit(path, &[], None).assert_whole();
        }
    }
}

/// Changes the record of the last of three commits, and all that follows from it.
async fn forge(at: &Location, change: impl FnOnce(&mut BatchRecord)) {
    let entry = |version: u64| at.join(&format!("shards/0/_delta_log/{version:020}.json"));
    let mut frontier = Frontier::default();
    for version in [1, 2] {
        let (record, _) = BatchRecord::from_entry(&read(&entry(version)).await).expect("an entry");
        frontier.push(leaf(&record.encode()));
    }
    let (mut record, _) = BatchRecord::from_entry(&read(&entry(3)).await).expect("an entry");
    change(&mut record);
    frontier.push(leaf(&record.encode()));
    let head = TreeHead { size: frontier.size(), root: frontier.root() };
    write(&entry(3), record.render(&head)).await;
}

#[tokio::test]
async fn a_record_whose_meters_are_not_those_of_its_rows_is_refused() {
    type Change = fn(&mut BatchRecord);
    let cases: [(Change, &str); 3] = [
        (
            |record| record.meters = vec![control("ünits", 3, 0, "1")],
            "commit 3 has of the meter \"ünits\" 3 rows with 0 corrections and 29999999999999999999.999999997 in all, the batch record says 3 rows with 0 corrections and 1 in all",
        ),
        (|record| record.meters[0].corrections = 1, "the batch record says 3 rows with 1 corrections"),
        (
            |record| record.meters = vec![control("hours", 1, 0, "1"), control("ünits", 2, 0, "1")],
            "commit 3 has of the meter \"hours\" no rows",
        ),
    ];
    for (change, what) in cases {
        let place = on_disk();
        let at = &place.at;
        written(at).await;
        forge(at, change).await;
        // Its log has no fault: only the rows say otherwise.
        ShardWriter::open(at).await.expect("it opens");
        let report = verify(at, None, &mut |_| {}).await.expect("it can be read");
        let found: Vec<&str> = report.findings().map(|finding| finding.what.as_str()).collect();
        assert!(matches!(found.as_slice(), [found] if found.contains(what)), "{what}: {found:?}");
        let refused = compact(at, instant(NEXT_DAY)).await.expect_err("it is not copied");
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
        let problems = audit(at.disk_path().expect("a path"), &[], None).problems;
        assert!(
            matches!(problems.as_slice(), [problem] if problem.contains("its meters are")),
            "{problems:?}"
        );
    }
}

/// As a version of before committed it: nothing is known, and nothing is wrong.
#[tokio::test]
async fn a_record_of_an_earlier_format_says_no_meters() {
    let place = on_disk();
    let at = &place.at;
    written(at).await;
    forge(at, |record| record.meters.clear()).await;
    assert_eq!(controls(at, None).await[&(0, 3)], None);
    let report = verify(at, None, &mut |_| {}).await.expect("it can be read");
    assert_eq!(report.findings().count(), 0, "{report:?}");
    audit(at.disk_path().expect("a path"), &[], None).assert_whole();
    let mut writer = ShardWriter::open(at).await.expect("it opens");
    writer.commit(batch(9, &[("hours", "1", false)]), instant(MORNING)).await.expect("it goes on");
    assert_eq!(controls(at, None).await[&(0, 4)], Some(vec![control("hours", 1, 0, "1")]));
    compact(at, instant(NEXT_DAY)).await.expect("it compacts");
    audit(at.disk_path().expect("a path"), &[], None).assert_whole();
}

/// A pinned ledger whose log is another by the time it is asked is not believed.
#[tokio::test]
async fn controls_are_those_of_the_cut_or_an_error() {
    for place in everywhere() {
        let at = &place.at;
        written(at).await;
        let pinned = PinnedFiles::of_ledger(at, None).await.expect("it opens");
        forge(at, |record| record.meters[0].corrections = 1).await;
        let error = pinned.controls(&mut |_| {}).await.expect_err("it is another");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}
