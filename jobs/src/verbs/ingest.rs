//! `atcost ingest`: a source, a decoder and the ledger, until stopped or caught up.

use crate::clock;
use crate::config::Config;
use crate::log::Alarms;
use crate::metrics::listen;
use anyhow::Context as _;
use ingest::IngestError;
use ingest::decode::Decoder;
use ingest::files::FilesSource;
use ingest::kafka::KafkaSource;
use ingest::metrics::Metrics;
use ingest::pipeline::{self, Progress, Settings, Summary};
use ingest::registry::{Registry, SchemaLookup, SchemaTable};
use ingest::source::{Source, Stop};
use ledger::watch::Watch;
use ledger::{ErrorKind, Ledger};
use schemas::shard::Shard;
use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where events come from.
#[derive(Debug, Clone)]
pub enum Input {
    Files(PathBuf),
    Kafka { brokers: Option<String>, topic: Option<String> },
}

impl fmt::Display for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(path) => write!(formatter, "files at {}", path.display()),
            Self::Kafka { topic: Some(topic), .. } => write!(formatter, "Kafka topic {topic}"),
            Self::Kafka { topic: None, .. } => formatter.write_str("the configured Kafka topic"),
        }
    }
}

/// Reads a source into the ledger. SIGTERM and Ctrl-C end it cleanly: the open batch is committed
/// whole or not at all.
///
/// # Errors
/// When the source cannot be read as configured, metrics cannot be served where they should, the
/// ledger cannot be opened, or another writer owns it.
pub async fn ingest(
    config: &Config,
    from: &Input,
    shard: Shard,
    until_caught_up: bool,
    alarms: &Arc<Alarms>,
) -> anyhow::Result<Summary> {
    let listening = config.metrics.as_deref().map(listen).transpose()?;
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    let mut ledger = Ledger::open_shard(&config.ledger, shard).await?;
    if config.classify {
        ledger.classify().await?;
    }
    let mut source: Box<dyn Source> = match from {
        Input::Files(path) => Box::new(FilesSource::new(path)?.sharded(shard)),
        Input::Kafka { brokers, topic } => Box::new(
            KafkaSource::new(&config.kafka.with(brokers.as_deref(), topic.as_deref())?)?.sharded(shard),
        ),
    };
    let mut decoder = decoder(config)?;
    let rediscover_every = match from {
        Input::Files(_) => Duration::from_secs(3),
        Input::Kafka { .. } => Duration::from_secs(60),
    };
    let metrics = Arc::new(Metrics::default());
    let _endpoint = listening
        .map(|listening| {
            listening.serve(
                Watch::new(&config.ledger, shard.index()),
                metrics.clone(),
                alarms.clone(),
                config.policy.max_age,
            )
        })
        .transpose()?;
    let settings = Settings { policy: config.policy, until_caught_up, rediscover_every, metrics };
    tracing::info!(event = "ingest.started", ledger = %config.ledger.display(), %shard, version = ledger.version(), "reading {from}");
    let mut line = ProgressLine::new();
    let summary = pipeline::run(
        &mut *source,
        &mut decoder,
        &mut ledger,
        &settings,
        &stop,
        clock::now,
        &mut |progress| line.show(progress),
    )
    .await;
    line.finish();
    tell_end(&summary);
    Ok(summary?)
}

fn tell_end(summary: &Result<Summary, IngestError>) {
    match summary {
        Ok(summary) => {
            let Summary { received, usage, rejected, gaps, commits, .. } = summary;
            tracing::info!(
                event = "ingest.stopped",
                received,
                usage,
                rejected,
                gaps,
                commits,
                "stopped cleanly"
            );
        }
        Err(error) if error.kind() == ErrorKind::Fenced => {
            tracing::error!(
                event = "commit.fenced",
                "another writer has written to this shard; this one stops"
            );
        }
        // Told by whoever called, like any other error.
        Err(_) => {}
    }
}

/// The decoder that the configuration describes: schema ids from the registry, or else from the
/// table.
fn decoder(config: &Config) -> anyhow::Result<Decoder> {
    let table = SchemaTable::read(&config.schemas)?;
    let more: Vec<_> = table.schemas().collect();
    let by_id: Box<dyn SchemaLookup> = match &config.registry {
        Some(registry) => Box::new(Registry::new(registry)?),
        None => Box::new(table),
    };
    Ok(Decoder::new(by_id, more))
}

fn stop_on_signals(stop: &Stop) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be watched")?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.request();
    });
    Ok(())
}

/// One line on stderr that says how it goes: rewritten in place on a terminal, a new one every few
/// seconds elsewhere.
struct ProgressLine {
    terminal: bool,
    started: Instant,
    shown: Option<Instant>,
}

impl ProgressLine {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), started: Instant::now(), shown: None }
    }

    fn show(&mut self, progress: &Progress) {
        let every = if self.terminal { Duration::from_millis(250) } else { Duration::from_secs(5) };
        let since = self.shown.unwrap_or(self.started);
        if since.elapsed() < every {
            return;
        }
        self.shown = Some(Instant::now());
        let seconds = self.started.elapsed().as_millis().max(1);
        let rate = u128::from(progress.received) * 1000 / seconds;
        let lag = progress.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        let line = format!(
            "{} received, {rate}/s, lag {lag}, {} rejected, {} gaps",
            progress.received, progress.rejected, progress.gaps
        );
        let mut stderr = std::io::stderr().lock();
        // A progress line that cannot be shown is no reason to stop.
        let _ = if self.terminal { write!(stderr, "\r\x1b[K{line}") } else { writeln!(stderr, "{line}") };
        let _ = stderr.flush();
    }

    fn finish(&self) {
        if self.terminal && self.shown.is_some() {
            eprintln!();
        }
    }
}
