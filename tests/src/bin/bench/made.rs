//! A ledger for rating: the records of a [`History`] in a ledger of its own, with the catalog that
//! prices them, made once and kept.
//!
//! It is written through the ledger's one writer, as ingest writes, without a broker before it.
//!
//! Invariant: a folder that has its description is whole and as the description says.

use crate::cost::thousandths;
use crate::history::{self, History, MONTH, NODES, SERIES, Shape};
use ledger::row::BatchBuilder;
use ledger::{Location, ShardWriter};
use schemas::canonical::{Pair, push_map};
use schemas::decimal::Quantity;
use schemas::event::{CorrectionAction, CorrectionRef, EventRef, MapRef, ProducerRef};
use schemas::outcome::OutcomeRef;
use schemas::position::{Advance, NextOffset, Offset, Origin, Stream};
use schemas::time::{Instant, Period};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use tests::atcost::Atcost;
use tests::machine::{case, provided};

/// Raised when the same shape gives other records.
const VERSION: u64 = 2;
/// Rows of a commit.
const COMMIT: u64 = 50_000;
const PARTITIONS: u64 = 8;
/// Records of one partition that follow each other in a batch.
const RUN: u64 = 1_000;
const TOPIC: &str = "usage";
const CUSTOMERS: u64 = 50;

/// A ledger that is there.
pub struct MadeLedger {
    folder: PathBuf,
    pub history: History,
}

impl MadeLedger {
    /// The ledger of a shape, made now unless it was before.
    pub fn of(shape: Shape) -> Self {
        let history = History::of(shape);
        let folder =
            provided("ATCOST_BENCH", "bench").join(format!("rate-{}-{}", shape.events, shape.months));
        let description = json!({
            "version": VERSION, "events": shape.events, "months": shape.months, "seed": shape.seed, "rows": history.rows(),
        });
        let path = folder.join("description.json");
        let known = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        if known.as_ref() == Some(&description) {
            println!("{} rows, made before: {}", history.rows(), folder.display());
            return Self { folder, history };
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("an unfinished ledger can be removed");
        }
        fs::create_dir_all(&folder).expect("the cache has room for a folder");
        let atcost = Atcost::initialised_in(&folder);
        catalog(&folder.join("catalog"), history.month());
        atcost.ok(&["catalog", "publish", "catalog"]);
        let begun = std::time::Instant::now();
        append(&folder, &history, 0..history.rows());
        let millis = begun.elapsed().as_millis();
        println!(
            "{} rows made in {} s, {} rows/s: {}",
            history.rows(),
            thousandths(millis),
            u128::from(history.rows()) * 1000 / millis.max(1),
            folder.display()
        );
        fs::write(folder.join("job.json"), job(history.month()).to_string()).expect("there is room");
        fs::write(&path, description.to_string()).expect("there is room");
        Self { folder, history }
    }

    /// It holds `atcost.toml`, the ledger, its catalog, and `job.json` for the rivals.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn ledger(&self) -> PathBuf {
        self.folder.join("ledger")
    }
}

/// The catalog of the case `month`, with as many customers and bindings as a larger cloud has.
fn catalog(folder: &Path, month: Period) {
    let from = case("month/catalog");
    for file in ["catalog.toml", "meters.toml", "customers.toml"] {
        copy(&from.join(file), &folder.join(file));
    }
    for provider in ["nimbus", "stow", "lynx"] {
        for file in ["provider.toml", "prices.toml"] {
            let path = Path::new("providers").join(provider).join(file);
            copy(&from.join(&path), &folder.join(&path));
        }
    }
    let customers = folder.join("customers.toml");
    let mut text = fs::read_to_string(&customers).expect("it was copied");
    for customer in 0..CUSTOMERS {
        let id = history::customer_name(customer);
        write!(text, "\n[[customer]]\nid = \"{id}\"\nname = \"{id}\"\ncurrency = \"EUR\"\n").expect("a text");
    }
    fs::write(customers, text).expect("there is room");
    fs::write(folder.join("bindings.csv"), history::bindings(month, CUSTOMERS)).expect("there is room");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a file is in a folder")).expect("there is room");
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

/// What a rival has to know of the catalog: the intervals of each provider that no sum may straddle,
/// and which SKU takes what.
fn job(month: Period) -> Value {
    let cut = |text: &str| Instant::parse_rfc3339(text).expect("an instant").micros();
    let (start, end) = (month.start().micros(), month.end().micros());
    let intervals = [
        ("nimbus", cut("2025-10-01T00:00:00+02:00"), cut("2025-10-15T00:00:00+02:00")),
        ("nimbus", cut("2025-10-15T00:00:00+02:00"), cut("2025-11-01T00:00:00+01:00")),
        ("stow", start, end),
        ("lynx", start, end),
    ];
    json!({
        "period": MONTH,
        "intervals": intervals.map(|(provider, from, until)| json!({ "provider": provider, "from": from, "until": until })),
        "series": SERIES.iter().map(|series| {
            let dimensions: serde_json::Map<String, Value> =
                series.dimensions.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            json!({ "meter": series.meter, "provider": series.provider, "dimensions": Value::from(dimensions).to_string(), "sku": series.sku })
        }).collect::<Vec<_>>(),
    })
}

/// Commits rows to the ledger in `folder`, in order: one thread builds batches, another commits them.
pub fn append(folder: &Path, history: &History, rows: Range<u64>) {
    let (send, batches) = sync_channel(1);
    let ledger = Location::on_disk(&folder.join("ledger")).expect("a place");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let mut writer = ShardWriter::open(&ledger).await.expect("the ledger opens");
                for (batch, at) in batches {
                    writer.commit(batch, at).await.expect("a batch is committed");
                }
                writer.finish_checkpoint().await;
            });
        });
        let names = Names::new();
        let mut from = rows.start;
        while from < rows.end {
            // A batch ends where any other run of these rows has it end.
            let to = rows.end.min((from / COMMIT + 1) * COMMIT);
            let batch = names.batch(history, from..to);
            if send.send((batch, history.arrival(to - 1))).is_err() {
                // The writer has failed, and says why.
                break;
            }
            if to.is_multiple_of(20 * COMMIT) {
                eprintln!("  {to} of {} rows", rows.end);
            }
            from = to;
        }
        // The other thread ends when nothing can come any more.
        drop(send);
    });
}

/// The texts that repeat, each once.
struct Names {
    streams: Vec<Arc<Stream>>,
    sources: Vec<String>,
    producers: Vec<String>,
    subjects: Vec<String>,
    dimensions: Vec<(Vec<Pair<'static>>, Vec<u8>)>,
}

impl Names {
    fn new() -> Self {
        let origin = Origin::Kafka { cluster: "bench".to_owned(), topic: TOPIC.to_owned() };
        let stream = |partition| {
            let partition = u32::try_from(partition).expect("partitions are few");
            Arc::new(Stream { origin: origin.clone(), partition })
        };
        let dimensions = SERIES.iter().map(|series| {
            let pair = |(name, value): &(&'static str, &'static str)| (Cow::from(*name), Cow::from(*value));
            let pairs: Vec<Pair<'static>> = series.dimensions.iter().map(pair).collect();
            let mut canonical = Vec::new();
            push_map(&mut canonical, &pairs);
            (pairs, canonical)
        });
        Self {
            streams: (0..PARTITIONS).map(stream).collect(),
            sources: (0..NODES)
                .map(|node| format!("//edge/ams/rack-{:02}/node-{node:03}", node % 40))
                .collect(),
            producers: (0..NODES).map(|node| format!("node-{node:03}")).collect(),
            subjects: (0..history::SUBJECTS).map(history::subject_name).collect(),
            dimensions: dimensions.collect(),
        }
    }

    fn batch(&self, history: &History, rows: Range<u64>) -> BatchBuilder {
        let length = usize::try_from(rows.end - rows.start).expect("a batch is small");
        let mut batch = BatchBuilder::expecting(length);
        let index: Vec<_> = self.streams.iter().map(|stream| batch.stream(stream, TOPIC)).collect();
        for (partition, stream) in (0..).zip(&index) {
            let (from, to) = (reached(partition, rows.start), reached(partition, rows.end));
            batch.advance(*stream, Advance { from, to, identity: None });
        }
        let (mut id, mut target) = (String::new(), String::new());
        for row in rows {
            let made = history.record(row);
            let series = &SERIES[made.series];
            let (pairs, canonical) = &self.dimensions[made.series];
            write_id(&mut id, made.name.id);
            let correction = made.correction.inspect(|correction| {
                write_id(&mut target, correction.target.id);
            });
            let correction = correction.map(|correction| CorrectionRef {
                action: if correction.voids { CorrectionAction::Void } else { CorrectionAction::Replace },
                source: of(&self.sources, correction.target.node),
                id: &target,
                reason: "counted wrongly",
            });
            let event = EventRef {
                source: of(&self.sources, made.name.node),
                id: &id,
                meter: series.meter,
                subject: of(&self.subjects, made.subject),
                time: made.time,
                quantity: Quantity::from_units(made.quantity).expect("a quantity"),
                dimensions: MapRef::with_canonical(pairs, canonical),
                provider: Some(series.provider),
                location: Some("eu-west/ams-3"),
                resource: None,
                producer: Some(ProducerRef {
                    id: of(&self.producers, made.name.producer),
                    epoch: 1,
                    seq: i64::try_from(made.name.seq).expect("fewer than 2^63 rows"),
                }),
                correction,
            };
            let partition = row / RUN % PARTITIONS;
            let at = history.arrival(row);
            let offset = Offset(reached(partition, row).0);
            let stream = index[usize::try_from(partition).expect("partitions are few")];
            batch.push(stream, offset, Some(at), at, &OutcomeRef::Usage(event));
        }
        batch
    }
}

fn of(texts: &[String], number: u64) -> &str {
    &texts[usize::try_from(number).expect("texts are few")]
}

/// How far a partition has been read when this is the next row.
fn reached(partition: u64, row: u64) -> NextOffset {
    let (rounds, rest) = (row / (RUN * PARTITIONS), row % (RUN * PARTITIONS));
    let offset = rounds * RUN + rest.saturating_sub(partition * RUN).min(RUN);
    NextOffset(i64::try_from(offset).expect("fewer than 2^63 rows"))
}

/// Ids look like random UUIDs, so that they compress as badly.
fn write_id(text: &mut String, id: u128) {
    text.clear();
    let part = |shift: u32, mask: u128| id >> shift & mask;
    write!(
        text,
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        part(96, 0xFFFF_FFFF),
        part(80, 0xFFFF),
        part(64, 0x0FFF),
        0x8000 | part(48, 0x3FFF),
        part(0, 0xFFFF_FFFF_FFFF)
    )
    .expect("a text");
}
