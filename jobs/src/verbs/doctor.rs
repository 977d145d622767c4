//! `atcost doctor`: recounts the ledger from storage and says what is wrong, and what to do about
//! it.

use super::catalog::published;
use super::missing::MissingMonth;
use super::nobody::{self, SUBJECTS_LISTED};
use super::rate::REFUSED_LISTED;
use super::rejected::shortened;
use super::totals;
use crate::config::Config;
use crate::last_run::LastRun;
use crate::show::{Align, Answer, Busy, Verdict, plural, printable, printable_json, printable_lines, table};
use derived::totals::Caught;
use ingest::IngestError;
use ingest::kafka::{KafkaConfig, Seen, SeenPartition, WAY_OUT, cleanup_policy, look};
use ingest::schema::registry::Registry;
use ledger::journal::{EntryKind, Journal};
use ledger::pinned::{PinnedFiles, Versions};
use rating::run::Pins;
use rating::tables::Workspace;
use rating::unattributed::{self, unattributed};
use rating::unseen::unseen_values;
use rating::usage::{CountedRows, LedgerCounts, Mistake, MistakeKind, Mistakes, RefusedRecord, StreamCounts};
use schemas::position::{NextOffset, Origin, Stream};
use schemas::shard::Shard;
use schemas::time::BillingMonth;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

/// The counts of a ledger, and the findings.
#[derive(Debug, Serialize)]
pub struct Report {
    pub ledger: String,
    pub version: Versions,
    pub received: u64,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    pub duplicates: u64,
    pub conflicts: u64,
    pub rejected_by_reason: BTreeMap<String, u64>,
    pub partitions: Vec<PartitionReport>,
    pub properties: BTreeMap<String, String>,
    pub catalogs: usize,
    /// Where refused records were, as `file:line` or `topic/partition@offset`; at most
    /// [`REFUSED_LISTED`].
    pub refused: Vec<String>,
    /// The first refused records of each reason.
    pub refused_first: Vec<RefusedReport>,
    /// Of `conflicts`, those that nobody has mended.
    pub open_conflicts: u64,
    /// Corrections that correct nothing, and that nobody has mended.
    pub idle_corrections: u64,
    /// The ids of the first open conflicts, as `source id`.
    pub conflicting: Vec<String>,
    /// The first mistakes of each kind, with the events that mend them.
    pub mistakes: Vec<MistakeReport>,
    /// What the operator bears because nobody is bound to it, in the last months that have such
    /// usage.
    pub unattributed: Vec<NobodysMonth>,
    /// What may be missing from the last month that was rated, as the ledger is now.
    pub missing: Option<MissingMonth>,
    /// Things that are allowed and still worth a look.
    pub warnings: Vec<String>,
    pub findings: Vec<Finding>,
}

/// A refused record.
#[derive(Debug, Serialize)]
pub struct RefusedReport {
    pub reason: String,
    pub place: String,
    pub shard: u32,
    pub batch: i64,
    pub row: i64,
    pub detail: String,
}

impl From<RefusedRecord> for RefusedReport {
    fn from(RefusedRecord { at, reason, detail, .. }: RefusedRecord) -> Self {
        Self { reason, place: at.place, shard: at.shard, batch: at.batch, row: at.row, detail }
    }
}

/// A record that somebody has to look at, and the events that say so.
#[derive(Debug, Serialize)]
pub struct MistakeReport {
    pub kind: &'static str,
    pub place: String,
    pub shard: u32,
    pub batch: i64,
    pub row: i64,
    pub source: String,
    pub id: String,
    /// Takes the event out.
    pub void: Value,
    /// Makes the record count, or the one that had the id before; of conflicts alone.
    pub replace: Option<Value>,
    pub replace_with_first: Option<Value>,
}

/// Nobody's usage of a month, by currency.
#[derive(Debug, Serialize)]
pub struct NobodysMonth {
    pub period: String,
    pub by_currency: serde_json::Value,
    #[serde(skip)]
    text: String,
}

/// The months that are rated for nobody's usage, the last ones.
const MONTHS_RATED: usize = 3;

/// One stream: a Kafka partition or a file.
#[derive(Debug, Serialize)]
pub struct PartitionReport {
    pub stream: String,
    pub name: String,
    pub received: u64,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    /// The next offset to read, as the ledger has it.
    pub next: Option<i64>,
    /// The broker's first and next offset, where it was asked.
    pub broker_low: Option<i64>,
    pub broker_high: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct Finding {
    /// The discrepancy.
    pub what: String,
    /// The remedy.
    pub help: String,
}

/// Looks at everything: properties and log (by opening), file digests, counts, positions, and the
/// broker where one is configured.
///
/// # Errors
/// When the ledger cannot be opened at all; the error says why and what to do.
pub async fn doctor(config: &Config, brokers: Option<&str>, topic: Option<&str>) -> anyhow::Result<Report> {
    let _busy = Busy::with("recounting the ledger");
    let totals = totals::for_a_run(&config.ledger).await?;
    // Rows and positions of one cut, also while somebody ingests.
    let reached = totals.as_ref().map(Caught::versions);
    let files = PinnedFiles::of_ledger(&config.ledger, reached.as_ref()).await?;
    let workspace = Workspace::scratch(&config.runs, std::process::id()).await?;
    let report = report(config, &files, totals.as_ref(), &workspace, brokers, topic).await;
    workspace.close().await?;
    report
}

async fn report(
    config: &Config,
    files: &PinnedFiles,
    totals: Option<&Caught>,
    workspace: &Workspace,
    brokers: Option<&str>,
    topic: Option<&str>,
) -> anyhow::Result<Report> {
    let usage = totals::open_rows(config, files, totals, &workspace.inputs()).await?;
    // Few of them are read, and a doctor looks at all.
    usage.check_files().await?;
    let counts = usage.counts().await?;
    let journal = Journal::open(&config.ledger).await?;
    let catalogs = journal.entries().iter().filter(|entry| entry.kind == EntryKind::CatalogPublished).count();
    let mut findings = Vec::new();
    let mut partitions = Vec::new();
    let streams = usage.streams().await?;
    for counts in &streams {
        partitions.push(partition_report(counts, files, &mut findings));
    }
    let by_rows = streams.iter().map(|stream| stream.usage + stream.rejected).sum::<u64>();
    if counts.received != by_rows {
        findings.push(Finding {
            what: format!("received is {} but the streams add up to {by_rows}", counts.received),
            help: "the ledger is damaged; restore it from a copy".to_owned(),
        });
    }
    findings.extend(of_counts(&counts));
    let mut mistakes = usage.mistakes(MISTAKES_LISTED).await?;
    usage.find_firsts(&mut mistakes).await?;
    findings.extend(of_mistakes(&mistakes));
    let rejected_by_reason = usage.rejected_by_reason().await?;
    let mut refused_first = Vec::new();
    for reason in rejected_by_reason.keys() {
        let first = usage.refused_page(Some(reason), None, REFUSED_FIRST).await?;
        refused_first.extend(first.into_iter().map(RefusedReport::from));
    }
    let mut asked = AskedCatalog::default();
    if catalogs > 0
        && let Err(error) = ask_catalog(config, files, &usage, &mut asked).await
    {
        findings.push(Finding {
            what: format!("the catalog in force was not compared with the ledger: {error:#}"),
            help: "mend what it says, then run `atcost doctor` again".to_owned(),
        });
    }
    let AskedCatalog { unattributed, missing, warnings } = asked;
    if !unattributed.is_empty() {
        findings.push(Finding {
            what: "the operator bears usage that nobody is bound to; it is listed above".to_owned(),
            help: "bind it in bindings.csv, publish, and rate the months again".to_owned(),
        });
    }
    if let Ok(Some(registry)) = config.registry.given()
        && let Err(error) = Registry::new(registry)
    {
        findings.push(Finding {
            what: format!("the schema registry cannot be asked: {error}"),
            help: "mend that in the configuration; ingest does not start before".to_owned(),
        });
    }
    if brokers.is_some() || config.kafka.brokers.is_some() {
        ask_broker(config, brokers, topic, files, &mut partitions, &mut findings).await;
    }
    Ok(Report {
        ledger: config.ledger.to_string(),
        version: files.cut.versions.clone(),
        received: counts.received,
        usage: counts.usage,
        rejected: counts.rejected,
        gaps: counts.gaps,
        duplicates: counts.duplicates,
        conflicts: counts.conflicts,
        rejected_by_reason,
        partitions,
        properties: files.properties.clone(),
        catalogs,
        refused: usage.refused(REFUSED_LISTED).await?,
        refused_first,
        open_conflicts: mistakes.conflicts,
        idle_corrections: mistakes.idle,
        conflicting: conflicting(&mistakes),
        mistakes: mistakes.first.iter().map(mistake_report).collect::<anyhow::Result<_>>()?,
        unattributed,
        missing,
        warnings,
        findings,
    })
}

/// What the catalog in force says of the ledger's usage.
#[derive(Default)]
struct AskedCatalog {
    unattributed: Vec<NobodysMonth>,
    missing: Option<MissingMonth>,
    warnings: Vec<String>,
}

/// Compares the ledger's usage with the catalog in force: values that no event has, usage that nobody is
/// bound to, and what may be missing from the last month that was rated.
async fn ask_catalog(
    config: &Config,
    files: &PinnedFiles,
    usage: &CountedRows,
    asked: &mut AskedCatalog,
) -> anyhow::Result<()> {
    let catalog = published(config, None).await?;
    asked.warnings.extend(unseen_values(usage, &catalog).await?.iter().map(ToString::to_string));
    let pins = |month| Pins { month, ledger: files.cut.clone(), catalog: catalog.digest, journal: 0 };
    let mut last_run = LastRun::below(&config.runs);
    let last = last_run.look().await?.and_then(|manifest| BillingMonth::parse(&manifest.period));
    let mut nobodys: Vec<BillingMonth> =
        unattributed::months(usage, &catalog).await?.into_iter().rev().collect();
    let left = nobodys.split_off(nobodys.len().min(MONTHS_RATED));
    let mut months: BTreeSet<BillingMonth> = nobodys.iter().copied().collect();
    months.extend(last);
    let mut found: anyhow::Result<()> = Ok(());
    for month in months.into_iter().rev() {
        match rating::run::rate(pins(month), usage, &catalog).await {
            Ok(run) => {
                if last == Some(month) {
                    asked.missing = Some(MissingMonth::of(month, &run.completeness));
                }
                let parts = unattributed(&run, &catalog, SUBJECTS_LISTED)?;
                if nobodys.contains(&month) && !parts.is_empty() {
                    asked.unattributed.push(NobodysMonth {
                        period: month.to_string(),
                        by_currency: nobody::json(&parts),
                        text: nobody::text(&parts),
                    });
                }
            }
            Err(error) => found = Err(anyhow::Error::from(error).context(format!("rating {month}"))),
        }
    }
    if let Some(last) = left.first() {
        asked.warnings.push(format!(
            "{} up to {last} may have usage that nobody is bound to; `atcost rate` says how much",
            plural(left.len() as u64, "earlier month", "earlier months")
        ));
    }
    found
}

/// Findings that lie with whoever sends, and not with the ledger.
fn of_counts(counts: &LedgerCounts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if counts.gaps > 0 {
        findings.push(Finding {
            what: format!("{}: records were gone from the source before they were read", plural(counts.gaps, "gap", "gaps")),
            help: "have the producer send them again with the same ids, or ingest them from files; give the topic a longer retention".to_owned(),
        });
    }
    findings
}

/// The refused records of each reason that are named at once.
const REFUSED_FIRST: usize = 3;
/// The mistakes of each kind that are named, and those that a terminal has room for.
const MISTAKES_LISTED: usize = 20;
const MISTAKES_SHOWN: usize = 3;

fn conflicting(mistakes: &Mistakes) -> Vec<String> {
    let conflicts = mistakes.first.iter().filter(|mistake| mistake.kind == MistakeKind::Conflict);
    let ids: BTreeSet<String> =
        conflicts.map(|Mistake { event, .. }| format!("{} {}", event.source, event.id)).collect();
    ids.into_iter().collect()
}

/// The reasons that the events which mend a mistake give.
const SEEN: &str = "the first record is right";
const WRONG: &str = "the first record is wrong";
const TAKEN_OUT: &str = "it was reported by mistake";

fn mistake_report(mistake: &Mistake) -> anyhow::Result<MistakeReport> {
    let Mistake { kind, at, event, first, .. } = mistake;
    let counts = *kind == MistakeKind::Conflict && mistake.correction.is_none();
    let later = counts.then(|| event.replace(WRONG));
    let first = first.as_ref().filter(|_| counts).map(|(_, first)| first.replace(SEEN));
    let json = |line: Option<String>| line.map(|line| serde_json::from_str(&line)).transpose();
    Ok(MistakeReport {
        kind: kind.as_str(),
        place: at.place.clone(),
        shard: at.shard,
        batch: at.batch,
        row: at.row,
        source: event.source.clone(),
        id: event.id.clone(),
        void: serde_json::from_str(&event.void(TAKEN_OUT))?,
        replace: json(later)?,
        replace_with_first: json(first)?,
    })
}

/// Findings that a correction mends, which is told ready to be sent.
fn of_mistakes(mistakes: &Mistakes) -> Vec<Finding> {
    let mut findings = Vec::new();
    let repeats = mistakes.conflicts - mistakes.second;
    if repeats > 0 {
        findings.push(Finding {
            what: format!(
                "{} an id with other content; the first one counts",
                plural(repeats, "record repeats", "records repeat")
            ),
            help: "ask the producer which one is right, and send the event that says so, to the topic or as a line of a .ndjson file".to_owned(),
        });
    }
    if mistakes.second > 0 {
        findings.push(Finding {
            what: format!(
                "{} an event that was corrected before; the first correction counts",
                plural(mistakes.second, "correction is of", "corrections are of")
            ),
            help: "ask whoever sent them which one is right; what to send then is said below".to_owned(),
        });
    }
    if mistakes.idle > 0 {
        findings.push(Finding {
            what: format!(
                "{} nothing",
                plural(mistakes.idle, "correction corrects", "corrections correct")
            ),
            help: "have it sent again under a new id, with the source and the id of the event that it means; a void of the one that is wrong says that it was seen".to_owned(),
        });
    }
    for kind in MistakeKind::ALL {
        let of_kind = mistakes.first.iter().filter(|mistake| mistake.kind == kind);
        findings.extend(of_kind.take(MISTAKES_SHOWN).map(of_mistake));
    }
    findings
}

fn of_mistake(mistake: &Mistake) -> Finding {
    let Mistake { kind, event, first, .. } = mistake;
    let void = event.void(TAKEN_OUT);
    let help = match kind {
        MistakeKind::Conflict if mistake.correction.is_some() => format!(
            "the first correction counts; if this one is right, send it again under a new id; say that it was seen, and send\n{void}"
        ),
        MistakeKind::Conflict => {
            let mut help = format!("if this one is right, send\n{}", event.replace(WRONG));
            if let Some((_, first)) = first {
                help.push_str(&format!("\nif the first one is right, send\n{}", first.replace(SEEN)));
            }
            format!("{help}\nif neither counts, send\n{void}")
        }
        MistakeKind::SecondCorrection => format!(
            "the first correction counts; if that is right, say that this one was seen, and send\n{void}"
        ),
        MistakeKind::NoTarget => format!(
            "if it is to correct another event, send it again with a new id; take this one out, and send\n{void}"
        ),
        MistakeKind::VoidOfVoid => {
            format!("report the usage again under a new id; say that this void was seen, and send\n{void}")
        }
    };
    Finding { what: mistake.to_string(), help: printable_json(&help) }
}

fn stream_of(counts: &StreamCounts) -> Option<Stream> {
    Some(Stream { origin: Origin::parse(&counts.origin)?, partition: counts.partition })
}

fn partition_report(
    counts: &StreamCounts,
    files: &PinnedFiles,
    findings: &mut Vec<Finding>,
) -> PartitionReport {
    let name = format!("{}/{}", counts.origin, counts.partition);
    let next = stream_of(counts).and_then(|stream| files.position(&stream)).map(|position| position.next.0);
    // Where a stream was taken back, rows from there on may be beyond its position, and be there
    // twice.
    let back: Vec<_> = files.truncations.iter().filter(|back| back.stream == name).collect();
    let reached = back.iter().map(|back| back.from.0).chain(next).max();
    let twice: u64 = back.iter().map(|back| back.from.0.abs_diff(back.to.0)).sum();
    let damaged = "the ledger is damaged; restore it from a copy".to_owned();
    if reached.is_none_or(|reached| reached <= counts.last_offset) {
        let next = next.map_or_else(|| "missing".to_owned(), |next| next.to_string());
        findings.push(Finding {
            what: format!(
                "{name}: the position is {next}, but offset {} is in the ledger",
                counts.last_offset
            ),
            help: damaged.clone(),
        });
    }
    let rows = counts.usage + counts.rejected + counts.gaps;
    if !(counts.distinct_offsets..=counts.distinct_offsets + twice).contains(&rows) {
        findings.push(Finding {
            what: format!(
                "{name}: {rows} rows for {} offsets: records are in the ledger twice",
                counts.distinct_offsets
            ),
            help: damaged,
        });
    }
    PartitionReport {
        stream: name,
        name: counts.origin_name.clone(),
        received: counts.usage + counts.rejected,
        usage: counts.usage,
        rejected: counts.rejected,
        gaps: counts.gaps,
        next,
        broker_low: None,
        broker_high: None,
    }
}

/// How long an answer of the broker may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a transaction may be open before it is a finding.
const TRANSACTION: Duration = Duration::from_secs(2);

/// Compares what was read with what the broker has, by everything that ingest compares. A broker
/// that does not answer is a finding, not an error.
async fn ask_broker(
    config: &Config,
    brokers: Option<&str>,
    topic: Option<&str>,
    files: &PinnedFiles,
    partitions: &mut [PartitionReport],
    findings: &mut Vec<Finding>,
) {
    let kafka = match config.kafka.with(brokers, topic) {
        Ok(kafka) => kafka,
        Err(error) => {
            findings.push(Finding {
                what: format!("the broker was not asked: {error}"),
                help: "mend that in the configuration, or give --brokers and --topic".to_owned(),
            });
            return;
        }
    };
    let seen = match look_twice(&kafka, files).await {
        Ok(seen) => seen,
        Err(error @ IngestError::Invalid(_)) => {
            findings.push(Finding {
                what: format!("the broker cannot be asked: {error}"),
                help: "mend what it says, then run `atcost doctor` again".to_owned(),
            });
            return;
        }
        Err(error) => {
            findings.push(Finding {
                what: format!("the broker did not answer: {error}"),
                help: "check that it runs and that brokers, topic and properties are right".to_owned(),
            });
            return;
        }
    };
    findings.extend(of_policy(&kafka).await);
    let read = |seen: &SeenPartition| files.position(&seen.stream);
    let other = seen
        .partitions
        .iter()
        .find_map(|partition| read(partition)?.identity.zip(seen.identity).filter(|(read, now)| read != now));
    if let Some((read, now)) = other {
        let KafkaConfig { program, brokers, topic, .. } = &kafka;
        findings.push(Finding {
            what: format!("topic {topic:?} was read as the one with the id {read}, at {brokers} it has the id {now}: it was deleted and created again, or this is another cluster with the same id"),
            help: format!("give the new topic another name and run `{program} ingest --brokers {brokers} --topic NAME`, or start another ledger; what was not read of the old one is gone"),
        });
    }
    for partition in &seen.partitions {
        let name = partition.stream.to_string();
        if let Some(report) = partitions.iter_mut().find(|report| report.stream == name) {
            report.broker_low = Some(partition.low.0);
            report.broker_high = Some(partition.high.0);
        }
        if other.is_none() {
            let next = read(partition).map(|position| position.next);
            let shard = Shard::taking(&partition.stream, files.division.shards).unwrap_or(Shard::WHOLE);
            findings.extend(of_partition(&kafka, partition, next, shard));
        }
    }
}

/// Looks, and once more where a transaction is open, so that it is only seen if it stays so.
async fn look_twice(kafka: &KafkaConfig, files: &PinnedFiles) -> Result<Seen, IngestError> {
    let known = |stream: &Stream| files.position(stream);
    let first = look(kafka, &known, ANSWER_WITHIN)?;
    if first.partitions.iter().all(|partition| partition.stable == partition.high) {
        return Ok(first);
    }
    tokio::time::sleep(TRANSACTION).await;
    let mut second = look(kafka, &known, ANSWER_WITHIN)?;
    for now in &mut second.partitions {
        let before = first.partitions.iter().find(|before| before.stream == now.stream);
        if before.is_none_or(|before| before.stable < now.stable) {
            now.high = now.stable;
        }
    }
    Ok(second)
}

/// A topic whose old records are replaced by new ones of the same key has not all that was sent.
async fn of_policy(kafka: &KafkaConfig) -> Option<Finding> {
    let KafkaConfig { brokers, topic, .. } = kafka;
    match cleanup_policy(kafka, ANSWER_WITHIN).await {
        Ok(Some(policy)) if policy.split(',').any(|policy| policy.trim() == "compact") => Some(Finding {
            what: format!(
                "topic {topic:?} is compacted (cleanup.policy={policy}): of the records with one key Kafka keeps the last, and the others may be gone before they are read"
            ),
            help: format!(
                "run `kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {topic} --add-config cleanup.policy=delete`"
            ),
        }),
        Ok(_) => None,
        Err(error) => Some(Finding {
            what: format!("whether the topic is compacted could not be asked: {error}"),
            help: format!("grant DESCRIBE_CONFIGS on topic {topic:?}"),
        }),
    }
}

/// The command that reads a topic, for one of the shards that the ledger is divided into.
pub(super) fn ingest_command(kafka: &KafkaConfig, shard: Shard) -> String {
    let KafkaConfig { program, brokers, topic, .. } = kafka;
    let shard = if shard == Shard::WHOLE { String::new() } else { format!(" --shard {shard}") };
    format!("{program} ingest --brokers {brokers} --topic {topic}{shard}")
}

/// Compares a partition, as the broker has it, with how far it was read.
fn of_partition(
    kafka: &KafkaConfig,
    partition: &SeenPartition,
    next: Option<NextOffset>,
    shard: Shard,
) -> Vec<Finding> {
    let KafkaConfig { program, brokers, topic, .. } = kafka;
    let SeenPartition { stream, low, stable, high, unread, truncation, silent, damage } = partition;
    let ingest = format!("run `{}`", ingest_command(kafka, shard));
    let mut findings = Vec::new();
    let mut find = |what: String, help: String| findings.push(Finding { what, help });
    let waiting = plural((stable.0 - unread.0).unsigned_abs(), "record waits", "records wait");
    match (truncation, next) {
        (Some(truncation), _) => find(
            format!("{stream}: {truncation}"),
            format!(
                "find out what the broker lost, then run `{program} accept-truncation --brokers {brokers} --topic {topic} --partition {} --reason WHY`",
                stream.partition
            ),
        ),
        _ if damage.is_some() => {}
        (None, None) if stable > unread => {
            find(format!("{stream}: up to {waiting} and none was ever read"), ingest)
        }
        (None, Some(next)) if next < *low => find(
            format!(
                "{stream}: offsets {next} to {} were deleted by retention before they were read",
                low.0 - 1
            ),
            format!("{ingest}, which records the gap; have the producer send the records again"),
        ),
        (None, Some(_)) if stable > unread => find(
            format!("{stream}: up to {waiting}"),
            format!("{ingest}, or wait if it is running; those that hold no record are passed then"),
        ),
        (None, None | Some(_)) => {}
    }
    if let Some(why) = damage {
        find(
            format!("{stream}: from offset {unread} on it cannot be read: {why}; up to {waiting} there"),
            format!("{WAY_OUT}; ingest reads the other partitions meanwhile"),
        );
    }
    if let Some(offset) = silent {
        find(
            format!(
                "{stream}: offset {offset}, which was read last, cannot be read again, and nothing arrives in its place; whether the partition still has what was read is not known"
            ),
            format!("Run the doctor again. If that stays: {WAY_OUT}"),
        );
    }
    if high > stable {
        find(
            format!(
                "{stream}: offsets {stable} to {} are held back, because a transaction is open there",
                high.0 - 1
            ),
            format!(
                "its producer must commit or abort it, and nobody can read them before; if that stays, run `kafka-transactions.sh --bootstrap-server {brokers} find-hanging --topic {topic} --partition {}`, and its command `abort` for what it finds",
                stream.partition
            ),
        );
    }
    findings
}

impl Answer for Report {
    fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }

    fn text(&self) -> String {
        let total = if self.received == self.usage + self.rejected { "=" } else { "≠" };
        let mut text = format!(
            "ledger {} at version {}, {}\nreceived {} {total} usage {} + rejected {}\nduplicates {}, conflicts {}, gaps {}\n",
            printable(&self.ledger),
            self.version,
            plural(self.catalogs as u64, "catalog version", "catalog versions"),
            self.received,
            self.usage,
            self.rejected,
            self.duplicates,
            self.conflicts,
            self.gaps
        );
        text.push_str(&streams(&self.partitions));
        let reasons = self.rejected_by_reason.iter().map(|(reason, count)| (reason, count.to_string()));
        text.push_str(&pairs(reasons, ("rejected because", Align::Left), ("records", Align::Right)));
        text.push_str(&self.refusals());
        let properties = self.properties.iter().map(|(name, value)| (name, value.clone()));
        text.push_str(&pairs(properties, ("table property", Align::Left), ("value", Align::Left)));
        for NobodysMonth { period, text: of_month, .. } in &self.unattributed {
            text.push_str(&format!("\n{period}\n{of_month}"));
        }
        text.push_str(&self.missing.as_ref().map(MissingMonth::text).unwrap_or_default());
        text.push('\n');
        for warning in &self.warnings {
            writeln!(text, "warning: {}", printable_lines(warning)).expect("writing to a string cannot fail");
        }
        if self.findings.is_empty() {
            text.push_str("nothing is wrong\n");
        }
        for finding in &self.findings {
            let help = printable_lines(&finding.help).replace('\n', "\n  ");
            writeln!(text, "! {}\n  {help}", printable(&finding.what))
                .expect("writing to a string cannot fail");
        }
        text
    }

    fn verdict(&self) -> Verdict {
        if self.findings.is_empty() { Verdict::Fine } else { Verdict::Discrepancy }
    }
}

impl Report {
    /// Where the first records were refused, and how the others are found.
    fn refusals(&self) -> String {
        if self.refused_first.is_empty() {
            return String::new();
        }
        let row = |refused: &RefusedReport| {
            vec![refused.reason.clone(), refused.place.clone(), shortened(&refused.detail)]
        };
        let rows: Vec<_> = self.refused_first.iter().map(row).collect();
        let columns = [("rejected because", Align::Left), ("where", Align::Left), ("detail", Align::Left)];
        let mut text = format!("\n{}", table(&columns, &rows));
        if self.rejected > rows.len() as u64 {
            writeln!(text, "  … and {} more: atcost doctor --rejected", self.rejected - rows.len() as u64)
                .expect("writing to a string cannot fail");
        }
        text
    }
}

/// The streams that a terminal has room for.
const SHOWN: usize = 40;

/// A table after an empty line, or nothing.
fn streams(partitions: &[PartitionReport]) -> String {
    if partitions.is_empty() {
        return String::new();
    }
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let row = |partition: &PartitionReport| {
        let is_file = partition.stream.starts_with("file/");
        vec![
            if is_file { partition.name.clone() } else { partition.stream.clone() },
            partition.received.to_string(),
            partition.usage.to_string(),
            partition.rejected.to_string(),
            number(partition.next),
            number(partition.broker_high),
        ]
    };
    let columns = [
        ("stream", Align::Left),
        ("received", Align::Right),
        ("usage", Align::Right),
        ("rejected", Align::Right),
        ("next", Align::Right),
        ("broker", Align::Right),
    ];
    let rows: Vec<_> = partitions.iter().take(SHOWN).map(row).collect();
    let mut text = format!("\n{}", table(&columns, &rows));
    if partitions.len() > SHOWN {
        writeln!(text, "  … and {} more; --format json has them all", partitions.len() - SHOWN)
            .expect("writing to a string cannot fail");
    }
    text
}

/// A table of two columns after an empty line, or nothing.
fn pairs<'a>(
    pairs: impl Iterator<Item = (&'a String, String)>,
    left: (&str, Align),
    right: (&str, Align),
) -> String {
    let rows: Vec<Vec<String>> = pairs.map(|(name, value)| vec![name.clone(), value]).collect();
    if rows.is_empty() { String::new() } else { format!("\n{}", table(&[left, right], &rows)) }
}
