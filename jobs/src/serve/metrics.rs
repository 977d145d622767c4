//! The counters of a running ingest and the figures of the ledger's folder, as Prometheus reads
//! them, and whether ingest is well.
//!
//! It knows no network. Nothing here waits for the loop that writes the ledger.
//!
//! Invariant: a counter's value is read once for an answer, so that received = usage + rejected in
//! every one.

use crate::clock;
use crate::last_run::LastRun;
use crate::log::Alarms;
use ingest::metrics::{HistogramReading, Metrics, PartitionReading};
use ledger::Repeats;
use ledger::watch::{Figures, Watch};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet, prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use rating::RatingError;
use schemas::position::{Origin, Stream};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use prometheus_text::CONTENT_TYPE;

/// Without a turn of the loop for so much longer than a batch may take, ingest is not well.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the ledger's folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Everything that an answer is made from.
#[derive(Debug)]
pub struct Watched {
    metrics: Arc<Metrics>,
    alarms: Arc<Alarms>,
    figures: Mutex<Option<Figures>>,
    missing: Mutex<Option<Missing>>,
    /// The longest that the loop may take to come round.
    patience: Duration,
    started: schemas::time::Instant,
}

/// What may be missing from the last run of the last month that was rated.
#[derive(Debug)]
struct Missing {
    period: String,
    /// By kind, 0 too.
    rows: BTreeMap<String, u64>,
}

impl Missing {
    async fn look(last_run: &mut LastRun) -> Result<Option<Self>, RatingError> {
        let manifest = last_run.look().await?;
        Ok(manifest
            .map(|manifest| Self { period: manifest.period.clone(), rows: manifest.completeness.clone() }))
    }
}

/// Whether the loop makes progress, and a sentence about it.
fn health(idle: Duration, patience: Duration, alarm: Option<(&'static str, Duration)>) -> (bool, String) {
    let seconds = idle.as_secs();
    if idle < patience {
        return (true, format!("ingest makes progress: its loop came round {seconds} s ago\n"));
    }
    let last = match alarm {
        Some((name, ago)) => format!("the last warning was {name}, {} s ago", ago.as_secs()),
        None => "there was no warning".to_owned(),
    };
    (
        false,
        format!(
            "ingest makes no progress: its loop has not come round for {seconds} s; {last}; the log says more\n"
        ),
    )
}

impl Watched {
    /// `batch` is how long a batch may take.
    pub fn new(metrics: Arc<Metrics>, alarms: Arc<Alarms>, batch: Duration) -> Self {
        Self {
            metrics,
            alarms,
            figures: Mutex::new(None),
            missing: Mutex::new(None),
            patience: PATIENCE.saturating_add(batch),
            started: clock::now(),
        }
    }

    /// Looks at the ledger's folder and the runs now and then, until nobody holds the other end of
    /// `stopped`.
    pub fn look_again(&self, mut watch: Watch, mut last_run: LastRun, stopped: &Receiver<()>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::warn!(event = "watch.failed", %error, "the ledger's folder is not looked at; its metrics are missing");
                return;
            }
        };
        loop {
            match runtime.block_on(watch.look()) {
                Ok(figures) => *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = Some(figures),
                Err(error) => {
                    tracing::warn!(event = "watch.failed", %error, "the ledger's folder could not be looked at; its metrics stay as they were")
                }
            }
            match runtime.block_on(Missing::look(&mut last_run)) {
                Ok(missing) => *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = missing,
                Err(error) => {
                    tracing::warn!(event = "watch.failed", %error, "the runs could not be looked at; their metric stays as it was")
                }
            }
            if stopped.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Whether ingest is well, and a sentence about it.
    pub fn health(&self) -> (bool, String) {
        health(self.metrics.idle(), self.patience, self.alarms.last())
    }

    /// The answer to a scrape.
    pub fn exposition(self: &Arc<Self>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).expect("writing to a string cannot fail");
        text
    }

    fn process(&self, families: &mut Families<'_>) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        families.gauge_of(
            "atcost_build_info",
            "The version of atcost; the value is always 1.",
            [(version, 1u32)],
        )?;
        families.gauge(
            "process_start_time_seconds",
            "When ingest was started, in seconds since 1970.",
            since_1970(self.started).as_secs_f64(),
        )?;
        if let Some(bytes) = resident_memory() {
            families.gauge("process_resident_memory_bytes", "Memory that the process has in use.", bytes)?;
        }
        families.gauge(
            "atcost_loop_idle_seconds",
            "How long ago the loop last came round.",
            self.metrics.idle().as_secs_f64(),
        )?;
        families.counter_of(
            "atcost_events_total",
            "Warnings and errors that were logged, by their event.",
            self.alarms.counts().map(|(name, count)| ([("event", name)], count)),
        )
    }

    fn records(&self, families: &mut Families<'_>) -> fmt::Result {
        let metrics = &self.metrics;
        let (usage, rejected) = (metrics.usage(), metrics.rejected());
        let received = usage + rejected.iter().map(|(_, count)| count).sum::<u64>();
        families.counter(
            "atcost_records_received_total",
            "Records in the ledger since the start: usage and rejected.",
            received,
        )?;
        families.counter("atcost_records_usage_total", "Records in the ledger as usage.", usage)?;
        families.counter_of(
            "atcost_records_rejected_total",
            "Records in the ledger as rejected, by reason.",
            rejected.iter().map(|(reason, count)| ([("reason", reason.as_str())], *count)),
        )?;
        families.counter(
            "atcost_gaps_total",
            "Gaps in the ledger: ranges of offsets that were gone before they were read.",
            metrics.gaps(),
        )?;
        families.counter(
            "atcost_records_lost_total",
            "Offsets inside gaps, each of which may have been a record.",
            metrics.lost(),
        )?;
        let Some(Repeats { duplicates, conflicts }) = metrics.repeats() else { return Ok(()) };
        families.counter(
            "atcost_records_duplicate_total",
            "Usage that repeats an id with the same content.",
            duplicates,
        )?;
        families.counter(
            "atcost_records_conflict_total",
            "Usage that repeats an id with other content.",
            conflicts,
        )
    }

    fn commits(&self, families: &mut Families<'_>) -> fmt::Result {
        let metrics = &self.metrics;
        let durations = metrics.commit_micros();
        families.counter("atcost_commits_total", "Commits that are durable.", durations.count)?;
        let seconds = |micros| Duration::from_micros(micros).as_secs_f64();
        families.histogram(
            "atcost_commit_seconds",
            "How long a commit took until it was durable.",
            &durations,
            seconds,
        )?;
        families.histogram("atcost_batch_rows", "Rows of a commit.", &metrics.batch_rows(), float)?;
        families.histogram(
            "atcost_batch_bytes",
            "Bytes of keys, headers and values that a commit took in.",
            &metrics.batch_bytes(),
            float,
        )?;
        families.gauge("atcost_ledger_version", "The version of the last commit.", metrics.version())?;
        let Some(at) = metrics.committed_at() else { return Ok(()) };
        families.gauge(
            "atcost_last_commit_timestamp_seconds",
            "When the last commit was made, in seconds since 1970.",
            since_1970(at).as_secs_f64(),
        )
    }
}

/// Encoded anew for each scrape, from numbers that others count.
impl Collector for Watched {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.process(&mut families)?;
        self.records(&mut families)?;
        self.commits(&mut families)?;
        partitions(&mut families, &self.metrics.partition_readings())?;
        let figures = *self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.map_or(Ok(()), |figures| storage(&mut families, &figures))?;
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.as_ref().map_or(Ok(()), |missing| missing_of(&mut families, missing))
    }
}

fn missing_of(families: &mut Families<'_>, Missing { period, rows }: &Missing) -> fmt::Result {
    families.gauge_of(
        "atcost_last_run_missing",
        "Rows of the table completeness of the last run of the last month that was rated.",
        rows.iter().map(|(kind, rows)| ([("kind", kind.as_str()), ("period", period.as_str())], *rows)),
    )
}

fn partitions(families: &mut Families<'_>, readings: &[(Stream, PartitionReading)]) -> fmt::Result {
    let named: Vec<(&str, String, PartitionReading)> = readings
        .iter()
        .filter_map(|(stream, reading)| match &stream.origin {
            Origin::Kafka { topic, .. } => Some((topic.as_str(), stream.partition.to_string(), *reading)),
            Origin::File { .. } => None,
        })
        .collect();
    let mut family = |name: &str, help: &str, value: &dyn Fn(&PartitionReading) -> Option<i64>| {
        let samples = named.iter().filter_map(|(topic, partition, reading)| {
            Some(([("topic", *topic), ("partition", partition.as_str())], value(reading)?))
        });
        families.gauge_of(name, help, samples)
    };
    family(
        "atcost_partition_position_offset",
        "The next offset to read, as the ledger has it.",
        &|reading| Some(reading.position?.0),
    )?;
    family("atcost_partition_low_offset", "The first offset that the broker still has.", &|reading| {
        Some(reading.broker?.low.0)
    })?;
    family("atcost_partition_high_offset", "The next offset that the broker will have.", &|reading| {
        Some(reading.broker?.high.0)
    })?;
    let count = |count| i64::try_from(count).expect("it is a difference of offsets");
    family(
        "atcost_partition_lag_records",
        "Records that can be read and are not in the ledger, or as many as there can be.",
        &|reading| Some(count(reading.lag()?)),
    )?;
    family(
        "atcost_partition_held_records",
        "Offsets that transactions which are not ended hold back.",
        &|reading| Some(count(reading.held()?)),
    )?;
    family(
        "atcost_partition_unreadable",
        "1 where the partition cannot be read on because of what the broker has of it, 0 elsewhere.",
        &|reading| Some(i64::from(!reading.broker?.is_readable)),
    )
}

fn storage(families: &mut Families<'_>, figures: &Figures) -> fmt::Result {
    families.gauge("atcost_table_files", "Parquet files in force.", figures.files)?;
    families.gauge("atcost_table_bytes", "Bytes of the Parquet files in force.", figures.bytes)?;
    families.gauge(
        "atcost_table_orphans",
        "Parquet files that no commit names, left by crashes.",
        figures.orphans,
    )?;
    families.gauge(
        "atcost_checkpoint_version",
        "The version of Delta's last checkpoint; 0 when there is none.",
        figures.checkpoint.unwrap_or_default(),
    )?;
    families.gauge("atcost_log_size", "Commits in the log, as it is in storage.", figures.version)?;
    let Some(signed) = figures.signed else { return Ok(()) };
    families.gauge("atcost_signed_size", "Commits that the last signed head covers.", signed.size)?;
    families.gauge(
        "atcost_signed_timestamp_seconds",
        "When the last signed head was published, in seconds since 1970.",
        signed.at,
    )
}

/// An answer to a scrape, family by family.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counter_of(name, help, [([], value)])
    }

    /// One sample for each set of labels.
    fn counter_of<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'a str, &'a str); N], u64)>,
    ) -> fmt::Result {
        let name = name.strip_suffix("_total").expect("a counter's name ends in _total");
        self.family(name, help, MetricType::Counter, samples, |mut sample, value| {
            sample.encode_counter::<NoLabelSet, u64, u64>(&value, None)
        })
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.gauge_of(name, help, [([], value)])
    }

    /// One sample for each set of labels.
    fn gauge_of<'a, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'a str, &'a str); N], V)>,
    ) -> fmt::Result {
        assert!(!name.ends_with("_total"), "{name}: only counters end in _total");
        self.family(name, help, MetricType::Gauge, samples, |mut sample, value| sample.encode_gauge(&value))
    }

    /// A family without samples is not there at all.
    fn family<'a, const N: usize, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = ([(&'a str, &'a str); N], V)>,
        encode: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        samples.try_for_each(|(labels, value)| encode(family.encode_family(&labels)?, value))
    }

    /// `unit` says a bound and the sum in base units.
    fn histogram<U>(&mut self, name: &str, help: &str, reading: &HistogramReading, unit: U) -> fmt::Result
    where
        U: Fn(u64) -> Float,
    {
        // A reading says how many numbers are not above a bound, the encoder wants those of a
        // bucket.
        let below = std::iter::once(&(0, 0)).chain(&reading.buckets).map(|(_, count)| count);
        let buckets: Vec<_> = reading
            .buckets
            .iter()
            .zip(below)
            .map(|((bound, count), below)| (unit(*bound), count - below))
            .collect();
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(unit(reading.sum), reading.count, &buckets, None)
    }
}

/// Prometheus knows no other number. None of them comes near a quantity or an amount.
#[expect(clippy::disallowed_types, reason = "the library that encodes for Prometheus takes nothing else")]
type Float = f64;

/// Exact below 2^53, which is eight petabytes.
#[expect(clippy::cast_precision_loss, reason = "a sum of bytes may lose its last digits beyond 2^53")]
fn float(number: u64) -> Float {
    number as Float
}

/// An instant after 1970, which every clock of today shows.
fn since_1970(at: schemas::time::Instant) -> Duration {
    Duration::from_micros(at.micros().max(0).unsigned_abs())
}

/// As the kernel counts it, where there is one that tells.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::ALARMS;
    use ingest::metrics::CommitFigures;
    use ingest::source::Watermarks;
    use ledger::watch::Signed;
    use schemas::outcome::Tally;
    use schemas::position::NextOffset;
    use schemas::rejection::Reason;
    use std::collections::BTreeSet;

    #[test]
    fn health_is_a_turn_of_the_loop_not_long_ago() {
        assert_eq!(
            health(Duration::from_millis(59_999), PATIENCE, None),
            (true, "ingest makes progress: its loop came round 59 s ago\n".to_owned())
        );
        let (well, sentence) =
            health(Duration::from_secs(75), PATIENCE, Some(("kafka.waiting", Duration::from_secs(3))));
        assert!(!well);
        assert!(sentence.contains("75 s; the last warning was kafka.waiting, 3 s ago"), "{sentence}");
    }

    const OPERATIONS: &str = include_str!("../../../docs/operations.md");
    const ALERTS: &str = include_str!("../../../docs/alerts.yml");

    fn watched() -> Arc<Watched> {
        Arc::new(Watched::new(Arc::default(), Arc::new(Alarms::new()), Duration::ZERO))
    }

    /// An answer in which nothing is missing.
    fn everything() -> String {
        let watched = watched();
        *watched.figures.lock().expect("no holder panics") =
            Some(Figures { signed: Some(Signed { size: 1, at: 2 }), ..Figures::default() });
        *watched.missing.lock().expect("no holder panics") =
            Some(Missing { period: "2025-10".to_owned(), rows: BTreeMap::from([("gap".to_owned(), 2)]) });
        let stream = stream("t");
        watched.metrics.opened(1, Some(watched.started));
        watched.metrics.classified(Repeats::default());
        watched.metrics.position(&stream, NextOffset(1));
        let [low, stable, high] = [0, 1, 2].map(NextOffset);
        watched.metrics.watermarks(vec![Watermarks { stream, low, stable, high, is_readable: true }]);
        watched.exposition()
    }

    #[test]
    fn what_the_last_run_misses_is_told_by_kind() {
        let text = everything();
        let told = "\natcost_last_run_missing{kind=\"gap\",period=\"2025-10\"} 2\n";
        assert!(text.contains(told), "{text}");
        assert!(!watched().exposition().contains("atcost_last_run_missing"), "no month was rated");
    }

    fn stream(topic: &str) -> Stream {
        Stream { origin: Origin::Kafka { cluster: "c".into(), topic: topic.into() }, partition: 0 }
    }

    #[test]
    fn an_answer_is_as_prometheus_reads_it() {
        let watched = watched();
        watched.metrics.position(&stream("q\"b\\n\n"), NextOffset(7));
        for took in [4_000, 1_500_000] {
            let figures = CommitFigures {
                version: 3,
                tally: Tally { usage: 2, rejected: 1, gaps: 0 },
                repeats: None,
                rejected_by_reason: BTreeMap::from([(Reason::JsonInvalid, 1)]),
                lost: 0,
                bytes: 1500,
                took: Duration::from_micros(took),
                at: schemas::time::Instant::from_micros(1_761_984_000_250_000).expect("an instant"),
            };
            watched.metrics.committed(&figures);
        }
        let text = watched.exposition();
        for lines in [
            r#"
# HELP atcost_partition_position_offset The next offset to read, as the ledger has it.
# TYPE atcost_partition_position_offset gauge
atcost_partition_position_offset{topic="q\"b\\n\n",partition="0"} 7
"#,
            r#"
# HELP atcost_records_received_total Records in the ledger since the start: usage and rejected.
# TYPE atcost_records_received_total counter
atcost_records_received_total 6
"#,
            "\natcost_records_rejected_total{reason=\"json-invalid\"} 2\n",
            "\natcost_last_commit_timestamp_seconds 1761984000.25\n",
            r#"
# HELP atcost_commit_seconds How long a commit took until it was durable.
# TYPE atcost_commit_seconds histogram
atcost_commit_seconds_bucket{le="0.005"} 1
atcost_commit_seconds_bucket{le="0.01"} 1
"#,
            r#"
atcost_commit_seconds_bucket{le="1"} 1
atcost_commit_seconds_bucket{le="2.5"} 2
"#,
            r#"
atcost_commit_seconds_bucket{le="+Inf"} 2
atcost_commit_seconds_sum 1.504
atcost_commit_seconds_count 2
"#,
        ] {
            assert!(text.contains(lines), "{lines} is not in:\n{text}");
        }
        assert!(!text.contains("atcost_records_duplicate_total"), "nobody classifies: {text}");
    }

    #[test]
    fn every_metric_is_explained_and_every_explained_one_is_there() {
        let text = everything();
        let exported: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let rows = OPERATIONS.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let kinds = ["counter", "gauge", "histogram"];
        let explained: Vec<String> = rows
            .filter_map(|(name, rest)| {
                Some(format!("{name} {}", rest.split(' ').next().filter(|kind| kinds.contains(kind))?))
            })
            .collect();
        assert_eq!(
            exported,
            explained.iter().map(String::as_str).collect(),
            "left what is exported, right the table `Metrics` of docs/operations.md"
        );
    }

    #[test]
    fn alert_rules_name_what_is_exported() {
        let text = everything();
        let exported = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next());
        // What `status` writes into a file of its own is explained in a table without kinds.
        let rows = OPERATIONS.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let of_status = rows
            .map(|(name, _)| name)
            .filter(|name| name.starts_with("atcost_limit_") || name.starts_with("atcost_month_"));
        let exported: BTreeSet<&str> = exported.chain(of_status).collect();
        let words = ALERTS.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        let named: BTreeSet<&str> =
            words.filter(|word| word.starts_with("atcost_") || word.starts_with("process_")).collect();
        assert!(
            named.len() > 10 && named.is_subset(&exported),
            "not exported: {:?}",
            named.difference(&exported).collect::<Vec<_>>()
        );
        let events: Vec<&str> =
            ALERTS.split("event=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(!events.is_empty() && events.iter().all(|event| ALARMS.contains(event)), "{events:?}");
    }

    #[test]
    fn every_alarm_is_explained() {
        let raised: BTreeSet<(&str, &str)> = ALERTS
            .split("- alert: ")
            .skip(1)
            .map(|rule| {
                let severity = rule.split("severity: ").nth(1).and_then(|rest| rest.split('}').next());
                (rule.lines().next().unwrap_or_default(), severity.expect("every rule has a severity"))
            })
            .collect();
        let rows = OPERATIONS.lines().filter_map(|line| line.strip_prefix("| `Atcost")?.split_once("` | "));
        let explained: Vec<(String, &str)> = rows
            .map(|(name, rest)| (format!("Atcost{name}"), rest.split(' ').next().unwrap_or_default()))
            .collect();
        let explained: BTreeSet<(&str, &str)> =
            explained.iter().map(|(name, urgency)| (name.as_str(), *urgency)).collect();
        assert_eq!(raised, explained, "left docs/alerts.yml, right the table `Alarms` of docs/operations.md");
    }

    #[test]
    fn memory_is_known_on_linux() {
        assert!(!cfg!(target_os = "linux") || resident_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
