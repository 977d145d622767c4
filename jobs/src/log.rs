//! The log: lines on stderr, each with an event name that stays the same when its words change, so
//! that programs can rely on it; docs/operations.md lists them all.
//!
//! Values come from Kafka, files and other hosts. In the form for people nothing in them can steer
//! a terminal or begin a line of its own; in JSON they are JSON strings, with the same characters
//! escaped.
//!
//! Invariant: warnings and errors are counted whatever the filter shows.

use crate::show::{above, printable, printable_json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for programs.
    Json,
}

/// The events that are warnings or errors, each of which has a count from the start.
pub const ALARMS: &[&str] = &[
    "checkpoint.failed",
    "clock.back",
    "command.failed",
    "commit.fenced",
    "commit.unknown",
    "files.changed",
    "files.duplicate",
    "files.empty",
    "files.marked",
    "index.damaged",
    "index.off",
    "index.unsaved",
    "kafka.error",
    "kafka.gap",
    "kafka.waiting",
    "metrics.failed",
    "reader.failed",
    "registry.unusable",
    "registry.waiting",
    "sign.unavailable",
    "watch.failed",
];

/// Without `ATCOST_LOG`: what needs attention, and where metrics are.
const DEFAULT: &str = "warn,jobs::serve=info";

/// How often each of [`ALARMS`] was logged, and the last of them.
#[derive(Debug, Default)]
pub struct Alarms {
    counts: BTreeMap<&'static str, AtomicU64>,
    last: Mutex<Option<(&'static str, Instant)>>,
}

impl Alarms {
    pub(crate) fn new() -> Self {
        Self {
            counts: ALARMS.iter().map(|name| (*name, AtomicU64::new(0))).collect(),
            last: Mutex::new(None),
        }
    }

    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
    }

    /// The last alarm and how long ago it was.
    pub fn last(&self) -> Option<(&'static str, Duration)> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|(name, at)| (name, at.elapsed()))
    }

    fn raise(&self, name: &str) {
        if let Some((name, count)) = self.counts.get_key_value(name) {
            count.fetch_add(1, Ordering::Relaxed);
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((name, Instant::now()));
        }
    }
}

/// Sends log lines to stderr from now on. `ATCOST_LOG` says which, as `tracing`'s filters are
/// written.
pub fn start(format: LogFormat) -> Arc<Alarms> {
    let alarms = Arc::new(Alarms::new());
    let shown = || EnvFilter::try_from_env("ATCOST_LOG").unwrap_or_else(|_| DEFAULT.into());
    let lines = match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            fmt::layer()
                .with_writer(|| Stderr)
                .with_ansi(ansi)
                .with_target(false)
                .fmt_fields(debug_fn(show_field))
                .with_filter(shown())
                .boxed()
        }
        LogFormat::Json => {
            let writer = || PrintableJson(Stderr);
            fmt::layer()
                .with_writer(writer)
                .json()
                .flatten_event(true)
                .with_target(false)
                .with_filter(shown())
                .boxed()
        }
    };
    let counter = Counter(alarms.clone()).with_filter(LevelFilter::WARN);
    tracing_subscriber::registry().with(lines).with(counter).init();
    alarms
}

/// Stderr, to which whole lines are written.
struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        above(|| io::stderr().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The message, then ` name=value` for each field.
fn show_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let value = printable(&format!("{value:?}"));
    if field.name() == "message" {
        writer.write_str(&value)
    } else {
        write!(writer, " {}={value}", field.name())
    }
}

/// Escapes lines of JSON, each of which is written whole.
struct PrintableJson<W>(W);

impl<W: io::Write> io::Write for PrintableJson<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(printable_json(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Counts events by name.
struct Counter(Arc<Alarms>);

impl<S: Subscriber> Layer<S> for Counter {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut EventName(&self.0));
    }
}

struct EventName<'a>(&'a Alarms);

impl Visit for EventName<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            self.0.raise(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no holder panics").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn values_cannot_steer_a_terminal_or_begin_a_line() {
        let written = Shared::default();
        let writer = written.clone();
        let layer = fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .fmt_fields(debug_fn(show_field));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let (name, other) = ("a\u{1b}[2Jb\nWARN c", "\u{202e}d");
            tracing::warn!(event = "kafka.error", %name, other, "Kafka: {name}{other}");
        });
        let text = String::from_utf8(written.0.lock().expect("no holder panics").clone()).expect("text");
        let value = r"a\u{1b}[2Jb\u{a}WARN c";
        assert_eq!(
            text,
            format!(
                " WARN Kafka: {value}\\u{{202e}}d event=\"kafka.error\" name={value} other=\"\\u{{202e}}d\"\n"
            )
        );
    }

    #[test]
    fn json_cannot_steer_a_terminal_either() {
        let written = Shared::default();
        let writer = written.clone();
        let layer = fmt::layer()
            .with_writer(move || PrintableJson(writer.clone()))
            .json()
            .flatten_event(true)
            .with_target(false)
            .without_time();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(event = "kafka.error", name = "a\u{1b}[2J\u{202e}b\nc", "Kafka");
        });
        let text = String::from_utf8(written.0.lock().expect("no holder panics").clone()).expect("text");
        assert_eq!(
            text,
            "{\"level\":\"WARN\",\"message\":\"Kafka\",\"event\":\"kafka.error\",\"name\":\"a\\u001b[2J\\u202eb\\nc\"}\n"
        );
    }

    #[test]
    fn alarms_are_counted_by_name() {
        let alarms = Arc::new(Alarms::new());
        assert_eq!(alarms.last(), None);
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(Counter(alarms.clone())),
            || {
                for _ in 0..3 {
                    tracing::warn!(event = "kafka.waiting", other = "commit.unknown", "waiting");
                }
                tracing::warn!(event = "no.such.event", "not ours");
            },
        );
        let counted: Vec<_> = alarms.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("kafka.waiting", 3)]);
        assert_eq!(alarms.last().map(|(name, _)| name), Some("kafka.waiting"));
    }
}
