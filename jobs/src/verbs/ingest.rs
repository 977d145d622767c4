//! `atcost ingest`: a source, a decoder and the ledger, until stopped or caught up.

use crate::clock;
use crate::config::Config;
use crate::last_run::LastRun;
use crate::log::Alarms;
use crate::serve::listen;
use crate::show::{Align, Answer, Busy, plural, table};
use anyhow::{Context as _, bail};
use derived::classifier::Classifier;
use ingest::IngestError;
use ingest::decode::Decoder;
use ingest::files::{FilesSource, Reading};
use ingest::kafka::KafkaSource;
use ingest::metrics::Metrics;
use ingest::pipeline::{self, Progress, Settings, Summary};
use ingest::schema::registry::{Registry, SchemaLookup, SchemaTable};
use ingest::source::Source;
use ingest::stop::Stop;
use ledger::watch::Watch;
use ledger::{ErrorKind, ShardWriter};
use schemas::outcome::Tally;
use schemas::shard::Shard;
use serde_json::{Map, Value, json};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where events come from.
#[derive(Debug, Clone)]
pub enum Input {
    Files(PathBuf, Reading),
    Kafka { brokers: Option<String>, topic: Option<String> },
}

impl Input {
    /// The one that the command line or the configuration says.
    ///
    /// # Errors
    /// When neither says any.
    pub fn given(
        files: Option<(&Path, Reading)>,
        brokers: Option<&str>,
        topic: Option<&str>,
        config: &Config,
        config_path: &Path,
    ) -> anyhow::Result<Self> {
        match files {
            Some((path, reading)) => Ok(Self::Files(path.to_owned(), reading)),
            None if brokers.is_none() && config.kafka.brokers.is_none() => bail!(
                "nothing to read: give --files PATH, or --brokers HOST:PORT and --topic TOPIC, or set kafka.brokers in {}",
                config_path.display()
            ),
            None => Ok(Self::Kafka { brokers: brokers.map(str::to_owned), topic: topic.map(str::to_owned) }),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(path, _) => write!(formatter, "files at {}", path.display()),
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
    let mut ledger = ShardWriter::open_shard(&config.ledger, shard).await?;
    if config.classify {
        ledger.classify_with(Box::new(Classifier::default())).await?;
    }
    let mut source: Box<dyn Source> = match from {
        Input::Files(path, reading) => Box::new(FilesSource::new(path)?.again(*reading).sharded(shard)),
        Input::Kafka { brokers, topic } => Box::new(
            KafkaSource::new(&config.kafka.with(brokers.as_deref(), topic.as_deref())?)?.sharded(shard),
        ),
    };
    let mut decoder = decoder(config)?;
    let metrics = Arc::new(Metrics::default());
    let _endpoint = listening
        .map(|listening| {
            listening.serve(
                Watch::new(&config.ledger, shard.index()),
                LastRun::below(&config.runs),
                metrics.clone(),
                alarms.clone(),
                config.policy.max_age,
            )
        })
        .transpose()?;
    let settings = Settings { policy: config.policy, until_caught_up, metrics };
    tracing::info!(event = "ingest.started", ledger = %config.ledger, %shard, version = ledger.version(), "reading {from}");
    let (busy, begun) = (Busy::with("reading"), Instant::now());
    let summary = pipeline::run(
        &mut *source,
        &mut decoder,
        &mut ledger,
        &settings,
        &stop,
        clock::now,
        &mut |progress| busy.say(|| how_far(progress, begun.elapsed())),
    )
    .await;
    drop(busy);
    tell_end(&summary);
    Ok(summary?)
}

fn tell_end(summary: &Result<Summary, IngestError>) {
    match summary {
        Ok(summary) => {
            let Tally { usage, rejected, gaps } = summary.tally;
            let commits = summary.commits;
            tracing::info!(
                event = "ingest.stopped",
                received = summary.received(),
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

impl Answer for Summary {
    fn json(&self) -> anyhow::Result<Value> {
        let reasons: Map<String, Value> = self
            .rejected_by_reason
            .iter()
            .map(|(reason, count)| (reason.to_string(), json!(count)))
            .collect();
        Ok(json!({
            "received": self.received(), "usage": self.tally.usage,
            "rejected": self.tally.rejected, "gaps": self.tally.gaps,
            "rejected_by_reason": reasons,
            "duplicates": self.repeats.map(|repeats| repeats.duplicates), "conflicts": self.repeats.map(|repeats| repeats.conflicts),
            "commits": self.commits, "ledger_version": self.version,
        }))
    }

    fn text(&self) -> String {
        let mut text = format!(
            "received {} = usage {} + rejected {}, in {}\n",
            self.received(),
            self.tally.usage,
            self.tally.rejected,
            plural(self.commits, "commit", "commits")
        );
        let rows: Vec<Vec<String>> = self
            .rejected_by_reason
            .iter()
            .map(|(reason, count)| vec![reason.to_string(), count.to_string()])
            .collect();
        if !rows.is_empty() {
            text.push_str(&table(&[("rejected because", Align::Left), ("records", Align::Right)], &rows));
        }
        if let Some(repeats) = self.repeats {
            text.push_str(&format!(
                "duplicates {}, conflicts {} with ids of this shard\n",
                repeats.duplicates, repeats.conflicts
            ));
        }
        if self.tally.gaps > 0 {
            text.push_str(&format!(
                "! {}: records were gone before they could be read; `atcost doctor` says where\n",
                plural(self.tally.gaps, "gap", "gaps")
            ));
        }
        text
    }
}

/// The decoder that the configuration describes: schema ids from the registry, or else from the
/// table.
fn decoder(config: &Config) -> anyhow::Result<Decoder> {
    let table = SchemaTable::read(&config.schemas)?;
    let more: Vec<_> = table.schemas().collect();
    let by_id: Box<dyn SchemaLookup> = match config.registry.given()? {
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

/// Tells how it goes, `since` ingest began.
fn how_far(progress: &Progress, since: Duration) -> String {
    let rate = u128::from(progress.received()) * 1000 / since.as_millis().max(1);
    let lag = progress.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
    format!(
        "{} received, {rate}/s, lag {lag}, {} rejected, {} gaps",
        progress.received(),
        progress.tally.rejected,
        progress.tally.gaps
    )
}
