//! The log: lines on stderr, each with an event name that stays the same when its words change, so
//! that programs can rely on it; docs/operations.md lists them all.
//!
//! Values come from Kafka, files and other hosts. In the form for people nothing in them can steer
//! a terminal or begin a line of its own; in JSON they are JSON strings, with the same characters
//! escaped.
//!
//! Invariant: warnings and errors are counted whatever the filter shows, and no line depends on the
//! one before it. So a single layer decides for itself: filters of single layers, as
//! tracing-subscriber has them, remember the answer to a question that a library asks without a line
//! to follow, and give it for the next line.

use crate::show::{above, printable, printable_json};
use std::collections::BTreeMap;
use std::env::VarError;
use std::fmt::Debug;
use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
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
    "kafka.damaged",
    "kafka.error",
    "kafka.gap",
    "kafka.held",
    "kafka.setting",
    "kafka.waiting",
    "metrics.failed",
    "reader.failed",
    "registry.unusable",
    "registry.waiting",
    "sign.unavailable",
    "totals.off",
    "totals.unavailable",
    "watch.failed",
];

/// The variable that says what is shown.
const VARIABLE: &str = "ATCOST_LOG";
const EXAMPLE: &str = "write off, error, warn, info, debug or trace, or with a module like warn,ingest=debug";
/// Without it: what needs attention, and where metrics are.
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

/// The target of what ends a command. It is shown whatever `ATCOST_LOG` says.
pub const ENDING: &str = "atcost::ending";

/// What `ATCOST_LOG` asks for, as `tracing`'s filters are written; what is asked for without it
/// where nothing is said, and beside a refusal where it cannot be meant.
#[expect(
    clippy::disallowed_methods,
    reason = "the filter comes from the environment, and is read here alone"
)]
fn filter() -> (EnvFilter, Result<(), String>) {
    let text = match std::env::var(VARIABLE) {
        Ok(text) if !text.trim().is_empty() => text,
        Ok(_) | Err(VarError::NotPresent) => return (DEFAULT.into(), Ok(())),
        Err(VarError::NotUnicode(_)) => {
            return (DEFAULT.into(), Err(format!("{VARIABLE} is not UTF-8; {EXAMPLE}")));
        }
    };
    match parse_filter(&text) {
        Ok(filter) => (filter, Ok(())),
        Err(error) => (DEFAULT.into(), Err(error)),
    }
}

fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    // A word alone that is no level would be taken for the name of a module that nobody has.
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let is_word = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if let Some(word) = parts.iter().filter(|part| is_word(part)).find(|part| !is_level(part)) {
        return Err(format!("{VARIABLE} has {word:?}, which is no level; {EXAMPLE}"));
    }
    EnvFilter::try_new(parts.join(",")).map_err(|error| format!("{VARIABLE} is {text:?}: {error}; {EXAMPLE}"))
}

/// Sends log lines to stderr from now on. `ATCOST_LOG` says which; what is wrong with it is given
/// back.
pub fn start(format: LogFormat) -> (Arc<Alarms>, Result<(), String>) {
    let alarms = Arc::new(Alarms::new());
    let (shown, told) = filter();
    // The HTTP client's finer lines show passwords as they are sent, so they are never shown.
    let fixed = [format!("{ENDING}=error"), "ureq=info".to_owned(), "ureq_proto=info".to_owned()];
    let shown = fixed
        .iter()
        .fold(shown, |shown, directive| shown.add_directive(directive.parse().expect("it is a directive")));
    let lines = match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            fmt::layer()
                .with_writer(|| Stderr)
                .with_ansi(ansi)
                .with_target(false)
                .fmt_fields(debug_fn(show_field))
                .boxed()
        }
        LogFormat::Json => {
            let writer = || PrintableJson(Stderr);
            fmt::layer().with_writer(writer).json().flatten_event(true).with_target(false).boxed()
        }
    };
    tracing_subscriber::registry().with(Shown { shown, lines, alarms: alarms.clone() }).init();
    (alarms, told)
}

/// Counts every warning and error, and passes on the lines that the filter asks for.
struct Shown<L> {
    shown: EnvFilter,
    lines: L,
    alarms: Arc<Alarms>,
}

/// Whether an event is counted.
fn is_counted(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && *metadata.level() <= Level::WARN
}

impl<S, L> Layer<S> for Shown<L>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    L: Layer<S>,
{
    fn on_layer(&mut self, subscriber: &mut S) {
        self.lines.on_layer(subscriber);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_counted(metadata) {
            Interest::always()
        } else {
            Layer::<S>::register_callsite(&self.shown, metadata)
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Without a hint everything is asked about.
        self.shown.max_level_hint().map(|level| level.max(LevelFilter::WARN))
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        is_counted(metadata) || self.shown.enabled(metadata, context)
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_counted(event.metadata()) {
            event.record(&mut EventName(&self.alarms));
        }
        if self.shown.enabled(event.metadata(), context.clone()) {
            self.lines.on_event(event, context);
        }
    }

    // Only other libraries have spans, and the filter may ask for what happens within one.

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.shown.on_new_span(attributes, id, context.clone());
        self.lines.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.shown.on_record(id, values, context.clone());
        self.lines.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.shown.on_enter(id, context.clone());
        self.lines.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.shown.on_exit(id, context.clone());
        self.lines.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.shown.on_close(id.clone(), context.clone());
        self.lines.on_close(id, context);
    }
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

/// Counts an event by its name.
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

    /// A log as `start` makes it, except that it is kept, and what it counts.
    fn log(shown: &'static str) -> (impl Subscriber + Send + Sync, Shared, Arc<Alarms>) {
        let (written, alarms) = (Shared::default(), Arc::new(Alarms::new()));
        let writer = written.clone();
        let lines = fmt::layer()
            .with_writer(move || PrintableJson(writer.clone()))
            .json()
            .flatten_event(true)
            .with_target(false)
            .without_time();
        let layer = Shown { shown: EnvFilter::new(shown), lines, alarms: alarms.clone() };
        (tracing_subscriber::registry().with(layer), written, alarms)
    }

    #[test]
    fn a_line_that_was_asked_about_and_is_not_shown_takes_no_other_with_it() {
        let (log, written, alarms) = log(DEFAULT);
        tracing::subscriber::with_default(log, || {
            // Libraries that log by the crate `log` ask so, before each of their lines.
            let unwanted = tracing::metadata! {
                name: "unwanted",
                target: "rdkafka::client",
                level: Level::TRACE,
                fields: &[],
                callsite: &UNWANTED,
                kind: tracing::metadata::Kind::EVENT
            };
            let asked = || tracing::dispatcher::get_default(|log| log.enabled(&unwanted));
            assert!(!asked());
            tracing::warn!(event = "kafka.gap", "first");
            assert!(!asked());
            tracing::warn!(event = "kafka.gap", "second");
        });
        let text = String::from_utf8(written.0.lock().expect("no holder panics").clone()).expect("text");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(alarms.counts().find(|(name, _)| *name == "kafka.gap"), Some(("kafka.gap", 2)));
    }

    static UNWANTED: Unwanted = Unwanted;

    struct Unwanted;

    impl tracing::callsite::Callsite for Unwanted {
        fn set_interest(&self, _: Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            panic!("nobody asks where this comes from")
        }
    }

    #[test]
    fn a_filter_that_cannot_be_meant_is_refused() {
        for fine in
            ["info", "warn,ingest=debug", "off", "WARN", "librdkafka=debug", "warn, ingest::kafka=trace"]
        {
            assert!(parse_filter(fine).is_ok(), "{fine}");
        }
        for wrong in ["inof", "warn,ingest", "inof==", "ingest=loud"] {
            let refused = parse_filter(wrong).map(drop).expect_err(wrong);
            assert!(refused.starts_with("ATCOST_LOG ") && refused.ends_with(EXAMPLE), "{refused}");
        }
    }

    #[test]
    fn what_is_not_shown_is_counted() {
        let (log, written, alarms) = log("off");
        tracing::subscriber::with_default(log, || {
            tracing::warn!(event = "kafka.gap", "a gap");
            tracing::info!(event = "kafka.gap", "no warning");
        });
        assert!(written.0.lock().expect("no holder panics").is_empty());
        assert_eq!(alarms.counts().find(|(name, _)| *name == "kafka.gap"), Some(("kafka.gap", 1)));
    }

    #[test]
    fn alarms_are_counted_by_name() {
        let (log, _, alarms) = log(DEFAULT);
        assert_eq!(alarms.last(), None);
        tracing::subscriber::with_default(log, || {
            for _ in 0..3 {
                tracing::warn!(event = "kafka.waiting", other = "commit.unknown", "waiting");
            }
            tracing::warn!(event = "no.such.event", "not ours");
        });
        let counted: Vec<_> = alarms.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("kafka.waiting", 3)]);
        assert_eq!(alarms.last().map(|(name, _)| name), Some("kafka.waiting"));
    }
}
