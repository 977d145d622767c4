//! The circumstances that must not matter to a charge: how records were batched, in which order
//! they arrived, and how often.

use crate::ledger::map;
use crate::places::everywhere;
use ledger::pinned::PinnedFiles;
use ledger::row::BatchBuilder;
use ledger::{ShardWriter, create_ledger};
use proptest::prelude::*;
use rating::catalog::{Catalog, CatalogFiles};
use rating::run::{Pins, Run, rate};
use rating::usage::{CountedRows, DEFAULT_MEMORY};
use schemas::decimal::Quantity;
use schemas::event::{CorrectionAction, CorrectionRef, EventRef, ProducerRef};
use schemas::outcome::OutcomeRef;
use schemas::position::{Advance, NextOffset, Offset, Origin, Stream};
use schemas::time::{BillingMonth, Instant};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use tests::machine::case;

pub static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let files = CatalogFiles::read_folder(&case("month/catalog")).expect("the month's catalog");
    let mut files: BTreeMap<String, String> =
        files.iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    // Beside it what is read series by series.
    let mut add = |path: &str, text: &str| files.get_mut(path).expect("the catalog has it").push_str(text);
    add("meters.toml", SERIES_METERS);
    add("providers/lynx/prices.toml", SERIES_PRICES);
    Catalog::load(&CatalogFiles::new(files)).expect("a catalog without problems").0
});

const SERIES_METERS: &str = r#"
[[meter]]
type        = "network.example/octets"
unit        = "By"
dimensions  = ["destination"]
kind        = "counter"
carry       = "3 d"
aggregation = "sum"

[[meter]]
type        = "network.example/ports"
unit        = "1"
dimensions  = ["destination"]
aggregation = "time_weighted"
carry       = "2 d"
"#;

const SERIES_PRICES: &str = r#"
[[sku]]
id         = "LX-OCTETS"
name       = "Octets of a counter"
meter      = "network.example/octets"
unit       = "GBy"
allocation = "proportional"

  [[sku.price]]
  from       = "2025-01-01"
  model      = "per_unit"
  unit_price = "0.05"

[[sku]]
id         = "LX-PORTS"
name       = "Ports while they are there"
meter      = "network.example/ports"
unit       = "h"
allocation = "proportional"

  [[sku.price]]
  from       = "2025-01-01"
  model      = "per_unit"
  unit_price = "0.01"
"#;

/// An event of this test, which owns what differs.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: String,
    pub meter: &'static str,
    pub subject: &'static str,
    pub time: Instant,
    pub quantity: Quantity,
    pub dimension: (&'static str, &'static str),
    pub provider: Option<&'static str>,
    /// Producer, epoch and number.
    pub producer: Option<(&'static str, i64, i64)>,
    /// The event that is corrected, and how.
    pub correction: Option<(CorrectionAction, String)>,
}

fn id(number: u32) -> String {
    format!("e-{number}")
}

/// Meter, dimension and value; subject; microseconds; units of quantity; whether it names its
/// provider; its number in the count of a producer.
type Drawn = (
    (&'static str, &'static str, &'static str),
    &'static str,
    i64,
    i128,
    bool,
    Option<(&'static str, i64, i64)>,
);

/// Events with an id that somebody still has to give them.
pub fn drawn_events() -> impl Strategy<Value = Event> {
    let kinds = prop::sample::select(vec![
        ("compute.example/instance-hours", "class", "standard"),
        ("compute.example/instance-hours", "class", "gpu"),
        ("compute.example/instance-hours", "class", "arm"),
        ("storage.example/bytes-stored", "tier", "hot"),
        ("network.example/egress", "destination", "eu"),
        ("network.example/egress", "destination", "us"),
        ("network.example/requests", "destination", "eu"),
        ("network.example/port-hours", "destination", "eu"),
        ("network.example/unknown", "destination", "eu"),
        ("network.example/octets", "destination", "eu"),
        ("network.example/octets", "destination", "eu"),
        ("network.example/ports", "destination", "eu"),
    ]);
    // Few numbers, so that they repeat, meet and leave holes.
    let producer = (prop::sample::select(vec!["node-1", "node-2"]), 1..=2_i64, 0..30_i64);
    let subjects = prop::sample::select(vec![
        "projects/a1",
        "projects/a2",
        "projects/b1",
        "projects/c1",
        "projects/d1",
        "projects/i1",
        "projects/x9",
    ]);
    // From a few days before October to a few days after it.
    let event = (
        kinds,
        subjects,
        1_758_900_000_000_000..1_762_300_000_000_000_i64,
        0..10_i128.pow(18),
        any::<bool>(),
        prop::option::weighted(0.8, producer),
    );
    event.prop_map(|drawn: Drawn| {
        let ((meter, dimension, value), subject, micros, units, named, producer) = drawn;
        Event {
            id: String::new(),
            meter,
            subject,
            time: Instant::from_micros(micros).expect("an instant"),
            quantity: Quantity::from_units(units).expect("a quantity"),
            dimension: (dimension, value),
            provider: (named && meter.starts_with("compute")).then_some("nimbus"),
            producer,
            correction: None,
        }
    })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(drawn_events(), 1..40).prop_map(|drawn| {
        let named = |(index, event): (usize, Event)| Event {
            id: id(u32::try_from(index).expect("a small index")),
            ..event
        };
        drawn.into_iter().enumerate().map(named).collect()
    })
}

/// An event as it is committed.
pub fn usage(event: &Event) -> EventRef<'_> {
    EventRef {
        source: "//edge",
        id: &event.id,
        meter: event.meter,
        subject: event.subject,
        time: event.time,
        quantity: event.quantity,
        dimensions: map(&[event.dimension]),
        provider: event.provider,
        location: None,
        resource: None,
        producer: event.producer.map(|(id, epoch, seq)| ProducerRef { id, epoch, seq }),
        correction: event.correction.as_ref().map(|(action, target)| CorrectionRef {
            action: *action,
            source: "//edge",
            id: target,
            reason: "the meter was wrong",
        }),
    }
}

/// Commits the events in batches of `size` and rates the month: on the disk or in memory, by whether
/// the size is even.
async fn rated(events: &[Event], size: usize) -> Run {
    let [disk, memory] = everywhere();
    let place = if size.is_multiple_of(2) { disk } else { memory };
    let at = place.at.join("ledger");
    create_ledger(&at).await.expect("a ledger");
    let mut ledger = ShardWriter::open(&at).await.expect("it opens");
    let stream =
        Stream { origin: Origin::Kafka { cluster: "c".to_owned(), topic: "t".to_owned() }, partition: 0 };
    let stream = Arc::new(stream);
    let mut next = 0;
    for chunk in events.chunks(size) {
        let mut batch = BatchBuilder::default();
        let stream = batch.stream(&stream, "t");
        for event in chunk {
            let received_at = Instant::from_micros(1_763_000_000_000_000).expect("an instant");
            batch.advance(
                stream,
                Advance { from: NextOffset(next), to: NextOffset(next + 1), identity: None },
            );
            batch.push(stream, Offset(next), None, received_at, &OutcomeRef::Usage(usage(event)));
            next += 1;
        }
        ledger
            .commit(batch, Instant::parse_rfc3339("2025-11-01T00:00:00Z").expect("an instant"))
            .await
            .expect("it commits");
    }
    let files = PinnedFiles::of_ledger(&at, None).await.expect("pinned files");
    let inputs = place.at.join("inputs");
    let usage = CountedRows::open(&files, &inputs, DEFAULT_MEMORY).await.expect("rows");
    let pins = Pins {
        month: BillingMonth::parse("2025-10").expect("a month"),
        ledger: files.cut,
        catalog: CATALOG.digest,
        journal: 0,
    };
    rate(pins, &usage, &CATALOG).await.expect("a run")
}

fn run(events: &[Event], size: usize) -> Run {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(rated(events, size))
}

proptest! {
    // Each case writes and rates three ledgers.
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn batches_order_and_repeats_never_change_a_charge(events in events(), size in 1..10usize, seed in any::<u64>()) {
        let first = run(&events, events.len());
        prop_assert_eq!(first.counts.duplicates, 0);

        let rebatched = run(&events, size);
        prop_assert_eq!(&rebatched.cost_lines, &first.cost_lines);
        prop_assert_eq!(&rebatched.unrated, &first.unrated);

        // Another order, with some events a second time.
        let mut shuffled: Vec<Event> = events.iter().cloned().chain(events.iter().step_by(3).cloned()).collect();
        let repeats = (shuffled.len() - events.len()) as u64;
        shuffled.sort_by_cached_key(|event| schemas::digest::Sha256Digest::of(&[event.id.as_bytes(), &seed.to_be_bytes()].concat()));
        let shuffled = run(&shuffled, size);
        prop_assert_eq!(shuffled.counts.duplicates, repeats);
        prop_assert_eq!(shuffled.counts.conflicts, 0);
        prop_assert_eq!(&shuffled.cost_lines, &first.cost_lines);
        prop_assert_eq!(&shuffled.unrated, &first.unrated);
    }
}

fn hours(number: u32, value: &str, correction: Option<(CorrectionAction, u32)>) -> Event {
    Event {
        id: id(number),
        meter: "compute.example/instance-hours",
        subject: "projects/a1",
        time: Instant::parse_rfc3339("2025-10-10T00:00:00Z").expect("an instant"),
        quantity: Quantity::parse(value, schemas::decimal::Sign::NonNegative).expect("a quantity"),
        dimension: ("class", "arm"),
        provider: None,
        producer: None,
        correction: correction.map(|(action, target)| (action, id(target))),
    }
}

/// The hours that a month of these events is charged for, and the conflicts found.
fn charged(events: &[Event]) -> (String, u64) {
    let run = run(events, 2);
    let line = run.cost_lines.iter().find(|line| line.key.sku.as_str() == "NB-OTHER");
    (line.map_or_else(|| "none".to_owned(), |line| line.quantity.to_string()), run.counts.conflicts)
}

#[test]
fn corrections_count_whatever_the_order() {
    use CorrectionAction::{Replace, Void};
    let check = |name: &str, events: &[Event], expected: (&str, u64)| {
        let (hours, conflicts) = charged(events);
        assert_eq!((hours.as_str(), conflicts), expected, "{name}");
    };
    check(
        "a void takes its target out",
        &[hours(1, "5", None), hours(2, "3", None), hours(3, "0", Some((Void, 1)))],
        ("3", 0),
    );
    check(
        "a replacement counts in its target's place",
        &[hours(1, "5", None), hours(2, "7", Some((Replace, 1)))],
        ("7", 0),
    );
    check(
        "a correction may arrive first",
        &[hours(2, "7", Some((Replace, 1))), hours(1, "5", None)],
        ("7", 0),
    );
    check(
        "a replacement may be replaced",
        &[hours(1, "5", None), hours(2, "7", Some((Replace, 1))), hours(3, "8", Some((Replace, 2)))],
        ("8", 0),
    );
    check(
        "a replacement may be voided",
        &[hours(1, "5", None), hours(2, "7", Some((Replace, 1))), hours(3, "8", Some((Void, 2)))],
        ("none", 0),
    );
    check(
        "a correction that is repeated counts once",
        &[hours(1, "5", None), hours(2, "7", Some((Replace, 1))), hours(2, "7", Some((Replace, 1)))],
        ("7", 0),
    );
    check(
        "of two replacements the first counts",
        &[hours(1, "5", None), hours(2, "7", Some((Replace, 1))), hours(3, "8", Some((Replace, 1)))],
        ("7", 1),
    );
    check("a void's own quantity never counts", &[hours(1, "5", Some((Void, 9)))], ("none", 0));
}
