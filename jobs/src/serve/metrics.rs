//! What a running ingest tells: its counters, the ledger's folder, and whether it is well.
//!
//! It knows no network. Nothing here waits for the loop that writes the ledger.

use super::exposition::{Exposition, Kind, Seconds};
use crate::clock;
use crate::log::Alarms;
use ingest::metrics::{Metrics, PartitionReading};
use ledger::Repeats;
use ledger::watch::{Figures, Watch};
use schemas::position::{Origin, Stream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Without a turn of the loop for so much longer than a batch may take, ingest is not well.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the ledger's folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How soon a thread notices that it shall end.
const STOP_WITHIN: Duration = Duration::from_millis(50);

/// What an answer is made from.
#[derive(Debug)]
pub struct Watched {
    metrics: Arc<Metrics>,
    alarms: Arc<Alarms>,
    figures: Mutex<Option<Figures>>,
    /// The longest that the loop may take to come round.
    patience: Duration,
    started: schemas::time::Instant,
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
            patience: PATIENCE.saturating_add(batch),
            started: clock::now(),
        }
    }

    /// Looks at the ledger's folder now and then, until `stop`.
    pub fn look_again(&self, mut watch: Watch, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            match watch.look() {
                Ok(figures) => *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = Some(figures),
                Err(error) => {
                    tracing::warn!(event = "watch.failed", %error, "the ledger's folder could not be looked at; its metrics stay as they were")
                }
            }
            let looked = Instant::now();
            while looked.elapsed() < LOOK_EVERY && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(STOP_WITHIN);
            }
        }
    }

    /// Whether ingest is well, and a sentence about it.
    pub fn health(&self) -> (bool, String) {
        health(self.metrics.idle(), self.patience, self.alarms.last())
    }

    /// The answer to a scrape.
    pub fn exposition(&self) -> String {
        let mut text = Exposition::default();
        self.process(&mut text);
        self.records(&mut text);
        self.commits(&mut text);
        partitions(&mut text, &self.metrics.partition_readings());
        let figures = *self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(figures) = &figures {
            storage(&mut text, figures);
        }
        text.finish()
    }

    fn process(&self, text: &mut Exposition) {
        let version = env!("CARGO_PKG_VERSION");
        text.family(
            "atcost_build_info",
            Kind::Gauge,
            "The version of atcost; the value is always 1.",
            [([("version", version)], 1)],
        );
        text.single(
            "process_start_time_seconds",
            Kind::Gauge,
            "When ingest was started, in seconds since 1970.",
            since_1970(self.started),
        );
        if let Some(bytes) = resident_memory() {
            text.single(
                "process_resident_memory_bytes",
                Kind::Gauge,
                "Memory that the process has in use.",
                bytes,
            );
        }
        let idle = u64::try_from(self.metrics.idle().as_micros())
            .expect("a process lives less than 2^64 microseconds");
        text.single(
            "atcost_loop_idle_seconds",
            Kind::Gauge,
            "How long ago the loop last came round.",
            Seconds(idle),
        );
        let events: Vec<_> = self.alarms.counts().collect();
        let events = events.iter().map(|(name, count)| ([("event", *name)], count));
        text.family(
            "atcost_events_total",
            Kind::Counter,
            "Warnings and errors that were logged, by their event.",
            events,
        );
    }

    fn records(&self, text: &mut Exposition) {
        let metrics = &self.metrics;
        // Read once, so that received = usage + rejected in every answer.
        let (usage, rejected) = (metrics.usage(), metrics.rejected());
        let received = usage + rejected.iter().map(|(_, count)| count).sum::<u64>();
        text.single(
            "atcost_records_received_total",
            Kind::Counter,
            "Records in the ledger since the start: usage and rejected.",
            received,
        );
        text.single("atcost_records_usage_total", Kind::Counter, "Records in the ledger as usage.", usage);
        let by_reason = rejected.iter().map(|(reason, count)| ([("reason", reason.as_str())], count));
        text.family(
            "atcost_records_rejected_total",
            Kind::Counter,
            "Records in the ledger as rejected, by reason.",
            by_reason,
        );
        text.single(
            "atcost_gaps_total",
            Kind::Counter,
            "Gaps in the ledger: ranges of offsets that were gone before they were read.",
            metrics.gaps(),
        );
        text.single(
            "atcost_records_lost_total",
            Kind::Counter,
            "Offsets inside gaps, each of which may have been a record.",
            metrics.lost(),
        );
        if let Some(Repeats { duplicates, conflicts }) = metrics.repeats() {
            text.single(
                "atcost_records_duplicate_total",
                Kind::Counter,
                "Usage that repeats an id with the same content.",
                duplicates,
            );
            text.single(
                "atcost_records_conflict_total",
                Kind::Counter,
                "Usage that repeats an id with other content.",
                conflicts,
            );
        }
    }

    fn commits(&self, text: &mut Exposition) {
        let metrics = &self.metrics;
        let durations = metrics.commit_micros();
        text.single("atcost_commits_total", Kind::Counter, "Commits that are durable.", durations.count);
        text.histogram(
            "atcost_commit_seconds",
            "How long a commit took until it was durable.",
            &durations,
            Seconds,
        );
        text.histogram("atcost_batch_rows", "Rows of a commit.", &metrics.batch_rows(), |rows| rows);
        text.histogram(
            "atcost_batch_bytes",
            "Bytes of keys, headers and values that a commit took in.",
            &metrics.batch_bytes(),
            |bytes| bytes,
        );
        text.single(
            "atcost_ledger_version",
            Kind::Gauge,
            "The version of the last commit.",
            metrics.version(),
        );
        if let Some(at) = metrics.committed_at() {
            text.single(
                "atcost_last_commit_timestamp_seconds",
                Kind::Gauge,
                "When the last commit was made, in seconds since 1970.",
                since_1970(at),
            );
        }
    }
}

fn partitions(text: &mut Exposition, readings: &[(Stream, PartitionReading)]) {
    let named: Vec<(&str, String, PartitionReading)> = readings
        .iter()
        .filter_map(|(stream, reading)| match &stream.origin {
            Origin::Kafka { topic, .. } => Some((topic.as_str(), stream.partition.to_string(), *reading)),
            Origin::File { .. } => None,
        })
        .collect();
    let mut family = |name: &str, help: &str, value: &dyn Fn(&PartitionReading) -> Option<i128>| {
        let samples = named.iter().filter_map(|(topic, partition, reading)| {
            Some(([("topic", *topic), ("partition", partition.as_str())], value(reading)?))
        });
        text.family(name, Kind::Gauge, help, samples);
    };
    family(
        "atcost_partition_position_offset",
        "The next offset to read, as the ledger has it.",
        &|reading| Some(reading.position?.0.into()),
    );
    family("atcost_partition_low_offset", "The first offset that the broker still has.", &|reading| {
        Some(reading.watermarks?.0.0.into())
    });
    family("atcost_partition_high_offset", "The next offset that the broker will have.", &|reading| {
        Some(reading.watermarks?.1.0.into())
    });
    family(
        "atcost_partition_lag_records",
        "Offsets that the broker has and the ledger has not.",
        &|reading| Some(reading.lag()?.into()),
    );
}

fn storage(text: &mut Exposition, figures: &Figures) {
    text.single("atcost_table_files", Kind::Gauge, "Parquet files in force.", figures.files);
    text.single("atcost_table_bytes", Kind::Gauge, "Bytes of the Parquet files in force.", figures.bytes);
    text.single(
        "atcost_table_orphans",
        Kind::Gauge,
        "Parquet files that no commit names, left by crashes.",
        figures.orphans,
    );
    let checkpoint = "The version of Delta's last checkpoint; 0 when there is none.";
    text.single("atcost_checkpoint_version", Kind::Gauge, checkpoint, figures.checkpoint.unwrap_or_default());
    text.single("atcost_log_size", Kind::Gauge, "Commits in the log, as it is in storage.", figures.version);
    if let Some(signed) = figures.signed {
        text.single(
            "atcost_signed_size",
            Kind::Gauge,
            "Commits that the last signed head covers.",
            signed.size,
        );
        text.single(
            "atcost_signed_timestamp_seconds",
            Kind::Gauge,
            "When the last signed head was published, in seconds since 1970.",
            signed.at,
        );
    }
}

/// An instant after 1970, which every clock of today shows.
fn since_1970(at: schemas::time::Instant) -> Seconds {
    Seconds(at.micros().max(0).unsigned_abs())
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
    use ingest::kafka::Watermarks;
    use ledger::watch::Signed;
    use schemas::position::NextOffset;
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

    /// An answer in which nothing is missing.
    fn everything() -> String {
        let watched = Watched {
            metrics: Arc::default(),
            alarms: Arc::new(Alarms::new()),
            figures: Mutex::new(Some(Figures {
                signed: Some(Signed { size: 1, at: 2 }),
                ..Figures::default()
            })),
            patience: PATIENCE,
            started: clock::now(),
        };
        let stream =
            Stream { origin: Origin::Kafka { cluster: "c".into(), topic: "t".into() }, partition: 0 };
        watched.metrics.opened(1, Some(watched.started));
        watched.metrics.classified(Repeats::default());
        watched.metrics.position(&stream, NextOffset(1));
        watched.metrics.watermarks(vec![Watermarks { stream, low: NextOffset(0), high: NextOffset(2) }]);
        watched.exposition()
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
        let exported: BTreeSet<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect();
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
