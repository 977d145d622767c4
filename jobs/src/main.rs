//! `atcost`: usage, billed at cost.
//!
//! Exit status: 0 fine, 1 a discrepancy was found, 2 the command could not run.

mod memory;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use jobs::config::Config;
use jobs::log::{Alarms, LogFormat};
use jobs::show::{Align, Format, Verdict, json_document, plural, printable_lines, table};
use jobs::verbs::catalog::Published;
use jobs::verbs::ingest::Input;
use jobs::verbs::rate::{Cut, Rated, Summary};
use jobs::verbs::shards::Division;
use jobs::{demo, verbs};
use ledger::read::Versions;
use schemas::shard::Shard;
use schemas::time::BillingMonth;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Usage, billed at cost: meters what data-plane nodes report, prices it with each provider's own
/// price list, and passes every charge through without a margin, so that anyone it touches can
/// check it.
#[derive(Parser)]
#[command(name = "atcost", version, max_term_width = 100)]
struct Cli {
    /// The configuration; paths in it are relative to it.
    #[arg(long, global = true, default_value = "atcost.toml")]
    config: PathBuf,
    /// What results are printed as.
    #[arg(long, global = true, value_enum, default_value = "table")]
    format: Format,
    /// What log lines on stderr are printed as. ATCOST_LOG says which: `info`, or
    /// `warn,ingest=debug`.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write a commented atcost.toml and an empty ledger beside it.
    Init,
    /// Read usage events into the ledger: each record exactly once, as usage or as a refusal with
    /// its reason.
    Ingest(IngestArgs),
    /// Check a catalog folder, or publish it as the version in force.
    #[command(subcommand)]
    Catalog(CatalogVerb),
    /// Rate a month: provider costs, customer charges, statement lines and what could not be rated.
    Rate(RateArgs),
    /// Show the chain from a charge to its cost line, price, allocation key and events.
    Explain(ExplainArgs),
    /// Recount the ledger and say what is wrong.
    Doctor(DoctorArgs),
    /// Copy the rows of days that are over from many small files into few. Nothing is deleted, and
    /// ingest may run meanwhile.
    Compact,
    /// Say into how many shards the ledger is divided, or divide it anew while no ingest runs.
    Shards {
        /// How many shards there shall be.
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
        shards: Option<u32>,
    },
    /// Sign the heads of all logs that have grown, after recomputing from storage everything that
    /// is new.
    Sign(SignArgs),
    /// Make a key for the signer.
    #[command(subcommand)]
    Signer(SignerVerb),
    /// Recompute everything from storage and say what is not what was sealed.
    #[command(subcommand)]
    Verify(VerifyVerb),
    /// Make up a month of a small cloud and take it end to end, without Kafka unless --brokers is
    /// given.
    Demo(DemoArgs),
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("where").multiple(false))]
struct IngestArgs {
    /// A folder or file of events: .ndjson, .jsonl, .json, .avro, each also .gz or .zst. Without
    /// it, Kafka is read.
    #[arg(long, group = "where", value_name = "PATH")]
    files: Option<PathBuf>,
    /// Kafka brokers, HOST:PORT separated by commas.
    #[arg(long, group = "where")]
    brokers: Option<String>,
    /// The Kafka topic.
    #[arg(long, conflicts_with = "files")]
    topic: Option<String>,
    /// Which of how many writers this is, counted from 1: 2/8 is the second of eight.
    #[arg(long, default_value = "1/1")]
    shard: Shard,
    /// End when everything that is there now is in the ledger, rather than wait for more.
    #[arg(long)]
    until_caught_up: bool,
    /// Serve metrics and a health check at this address; port 0 takes a free one and logs it.
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<String>,
}

#[derive(Subcommand)]
enum CatalogVerb {
    /// Read a catalog folder and say what would bill twice, never, or wrongly.
    Check { folder: PathBuf },
    /// Put a catalog folder into the journal as the version in force.
    Publish {
        folder: PathBuf,
        /// Change prices that were in force already, and record why.
        #[arg(long, value_name = "REASON")]
        allow_past_changes: Option<String>,
    },
}

#[derive(Args)]
struct RateArgs {
    /// The month, like 2025-10; each provider's own time zone says when it begins and ends.
    #[arg(long)]
    period: String,
    /// Rate the ledger as it was at this version (of several shards: their versions, with commas).
    #[arg(long)]
    ledger_version: Option<Versions>,
    /// Rate with the published catalog whose digest begins so.
    #[arg(long)]
    catalog: Option<String>,
}

#[derive(Args)]
struct ExplainArgs {
    /// A charge_id of charges.parquet, or its beginning.
    charge: String,
    /// The run to look in, or the beginning of its id.
    #[arg(long)]
    run: Option<String>,
}

#[derive(Args)]
struct DoctorArgs {
    /// Compare positions with these Kafka brokers.
    #[arg(long)]
    brokers: Option<String>,
    /// The Kafka topic.
    #[arg(long)]
    topic: Option<String>,
}

#[derive(Args)]
struct SignArgs {
    /// Allow logs of which the signer remembers nothing: begin from the head that is published, or,
    /// where there is none, from nothing.
    #[arg(long)]
    first: bool,
    /// Go on, and look for something new every so often.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    follow: Option<u64>,
}

#[derive(Subcommand)]
enum SignerVerb {
    /// Write a new Ed25519 key to a file, and print what its signatures are checked with.
    NewKey {
        /// Whose key it is: a domain, say, without blanks and plus signs.
        name: String,
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
}

#[derive(Subcommand)]
enum VerifyVerb {
    /// Log entries, files, rows, roots, signed heads and tiles, of every shard and of the journal.
    Ledger {
        /// What signatures are checked with, as `atcost signer new-key` printed it. Without it the
        /// configured signer's.
        #[arg(long, value_name = "VERIFIER_KEY")]
        key: Option<String>,
    },
}

#[derive(Args)]
struct DemoArgs {
    /// Where to put it.
    #[arg(long, default_value = "atcost-demo")]
    folder: PathBuf,
    /// Send the events through these Kafka brokers.
    #[arg(long)]
    brokers: Option<String>,
}

fn main() -> ExitCode {
    // Failpoints exist only in builds that tests use; FAILPOINTS says what they do.
    #[cfg(debug_assertions)]
    let _failpoints = fail::FailScenario::setup();
    let cli = Cli::parse();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if matches!(cli.verb, Verb::Ingest(_)) {
        memory::keep_freed();
    }
    let alarms = jobs::log::start(cli.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&cli, &error.into()),
    };
    match runtime.block_on(run(&cli, &alarms)) {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Discrepancy) => ExitCode::from(1),
        Err(error) => failed(&cli, &error),
    }
}

fn failed(cli: &Cli, error: &anyhow::Error) -> ExitCode {
    match cli.log_format {
        LogFormat::Text => {
            let chain: Vec<String> = error.chain().map(|cause| printable_lines(&cause.to_string())).collect();
            eprintln!("atcost: {}", chain.join(": "));
        }
        LogFormat::Json => tracing::error!(event = "command.failed", "{error:#}"),
    }
    ExitCode::from(2)
}

async fn run(cli: &Cli, alarms: &Arc<Alarms>) -> anyhow::Result<Verdict> {
    match &cli.verb {
        Verb::Init => {
            let config = verbs::init::init(&cli.config).await?;
            show(cli, &json!({ "config": cli.config, "ledger": config.ledger }), || {
                format!(
                    "wrote {} and an empty ledger in {}\nnext: atcost catalog publish FOLDER\n",
                    cli.config.display(),
                    config.ledger.display()
                )
            });
            Ok(Verdict::Fine)
        }
        Verb::Catalog(CatalogVerb::Check { folder }) => check(cli, folder),
        Verb::Catalog(CatalogVerb::Publish { folder, allow_past_changes }) => {
            publish(cli, folder, allow_past_changes.as_deref()).await
        }
        Verb::Ingest(args) => {
            let mut config = Config::load(&cli.config)?;
            config.metrics = args.metrics.clone().or(config.metrics);
            let from = match &args.files {
                Some(path) => Input::Files(path.clone()),
                None if args.brokers.is_none() && config.kafka.brokers.is_none() => {
                    anyhow::bail!(
                        "nothing to read: give --files PATH, or --brokers HOST:PORT and --topic TOPIC, or set kafka.brokers in {}",
                        cli.config.display()
                    )
                }
                None => Input::Kafka { brokers: args.brokers.clone(), topic: args.topic.clone() },
            };
            let summary =
                verbs::ingest::ingest(&config, &from, args.shard, args.until_caught_up, alarms).await?;
            let reasons: serde_json::Map<String, serde_json::Value> = summary
                .rejected_by_reason
                .iter()
                .map(|(reason, count)| (reason.to_string(), json!(count)))
                .collect();
            let value = json!({
                "received": summary.received, "usage": summary.usage, "rejected": summary.rejected, "gaps": summary.gaps,
                "rejected_by_reason": reasons,
                "duplicates": summary.repeats.map(|repeats| repeats.duplicates), "conflicts": summary.repeats.map(|repeats| repeats.conflicts),
                "commits": summary.commits, "ledger_version": summary.version,
            });
            show(cli, &value, || {
                let mut text = format!(
                    "received {} = usage {} + rejected {}, in {}\n",
                    summary.received,
                    summary.usage,
                    summary.rejected,
                    plural(summary.commits, "commit", "commits")
                );
                let rows: Vec<Vec<String>> = summary
                    .rejected_by_reason
                    .iter()
                    .map(|(reason, count)| vec![reason.to_string(), count.to_string()])
                    .collect();
                if !rows.is_empty() {
                    text.push_str(&table(
                        &[("rejected because", Align::Left), ("records", Align::Right)],
                        &rows,
                    ));
                }
                if let Some(repeats) = summary.repeats {
                    text.push_str(&format!(
                        "duplicates {}, conflicts {} with ids of this shard\n",
                        repeats.duplicates, repeats.conflicts
                    ));
                }
                if summary.gaps > 0 {
                    text.push_str(&format!(
                        "! {}: records were gone before they could be read; `atcost doctor` says where\n",
                        plural(summary.gaps, "gap", "gaps")
                    ));
                }
                text
            });
            Ok(Verdict::Fine)
        }
        Verb::Rate(args) => {
            let config = Config::load(&cli.config)?;
            let month = BillingMonth::parse(&args.period).with_context(|| {
                format!("--period {:?} is not a month; write it like 2025-10", args.period)
            })?;
            let cut = Cut { ledger_version: args.ledger_version.clone(), catalog: args.catalog.clone() };
            let rated = verbs::rate::rate(&config, month, &cut).await?;
            let value = serde_json::to_value(Summary {
                folder: rated.folder.display().to_string(),
                refused: &rated.refused,
                manifest: &rated.manifest,
            })?;
            show(cli, &value, || rated_text(&rated));
            Ok(Verdict::Fine)
        }
        Verb::Explain(args) => {
            let config = Config::load(&cli.config)?;
            let explained = verbs::explain::explain(&config, &args.charge, args.run.as_deref()).await?;
            show(cli, &explained.json, || explained.text.clone());
            Ok(Verdict::Fine)
        }
        Verb::Doctor(args) => {
            let config = Config::load(&cli.config)?;
            let report =
                verbs::doctor::doctor(&config, args.brokers.as_deref(), args.topic.as_deref()).await?;
            show(cli, &serde_json::to_value(&report)?, || report.text());
            Ok(report.verdict())
        }
        Verb::Compact => {
            let config = Config::load(&cli.config)?;
            let done = verbs::compact::compact(&config).await?;
            show(cli, &serde_json::to_value(&done)?, || match done.commits {
                0 => format!("nothing to do: {} of rows\n", plural(done.files_before, "file", "files")),
                _ => format!(
                    "{} of rows are now {}: {} were copied, and each proved to be what was sealed\n",
                    plural(done.files_before, "file", "files"),
                    done.files_after,
                    plural(done.rows_copied, "row", "rows")
                ),
            });
            Ok(Verdict::Fine)
        }
        Verb::Shards { shards } => {
            let config = Config::load(&cli.config)?;
            let division = verbs::shards::shards(&config, *shards).await?;
            show(cli, &serde_json::to_value(&division)?, || {
                let Division { shards, tables, changed, .. } = division;
                let now = if changed { "now " } else { "" };
                let mut text = format!(
                    "the ledger is {now}divided into {}\n",
                    plural(u64::from(shards), "shard", "shards")
                );
                if tables > shards as usize {
                    text.push_str(&format!("{tables} tables hold its rows: those of former divisions are read, and no longer written\n"));
                }
                if shards > 1 {
                    text.push_str(&format!("run `atcost ingest --shard 1/{shards}` to `--shard {shards}/{shards}`, one process each\n"));
                }
                text
            });
            Ok(Verdict::Fine)
        }
        Verb::Sign(args) => {
            let config = Config::load(&cli.config)?;
            match args.follow {
                Some(seconds) => {
                    let every = std::time::Duration::from_secs(seconds);
                    let mut shown =
                        |report: &verbs::sign::Report| show(cli, &json!(report), || report.text());
                    verbs::sign::follow(&config, args.first, every, &mut shown).await
                }
                None => {
                    let report = verbs::sign::sign(&config, args.first).await?;
                    show(cli, &json!(report), || report.text());
                    Ok(report.verdict())
                }
            }
        }
        Verb::Signer(SignerVerb::NewKey { name, key }) => {
            let verifier = verbs::sign::new_key(name, key)?.to_string();
            show(cli, &json!({ "key": key, "verifier": verifier }), || {
                format!(
                    "wrote {}; keep it secret\nits signatures are checked with {}\n",
                    key.display(),
                    verifier
                )
            });
            Ok(Verdict::Fine)
        }
        Verb::Verify(VerifyVerb::Ledger { key }) => {
            let config = Config::load(&cli.config)?;
            let report = verbs::verify::verify(&config, key.as_deref()).await?;
            show(cli, &json!(report), || report.text());
            Ok(report.verdict())
        }
        Verb::Demo(args) => {
            let options = demo::DemoOptions {
                folder: args.folder.clone(),
                brokers: args.brokers.clone(),
                format: cli.format,
            };
            demo::run(&options).await
        }
    }
}

/// The one way to stdout: whatever a name, a path or a detail holds, it is escaped here.
fn show(cli: &Cli, json: &serde_json::Value, text: impl FnOnce() -> String) {
    match cli.format {
        Format::Json => println!("{}", json_document(json)),
        Format::Table => print!("{}", printable_lines(&text())),
    }
}

fn check(cli: &Cli, folder: &std::path::Path) -> anyhow::Result<Verdict> {
    let checked = verbs::catalog::check(folder)?;
    let strings = |items: &[String]| json!(items);
    match &checked.outcome {
        Ok((catalog, warnings)) => {
            let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            show(
                cli,
                &json!({ "ok": true, "digest": catalog.digest.to_string(), "problems": [], "warnings": strings(&warnings) }),
                || {
                    let skus: usize = catalog.providers.values().map(|provider| provider.skus.len()).sum();
                    let mut text: String =
                        warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
                    text.push_str(&format!(
                        "fine: {} meters, {} providers with {skus} SKUs, {} customers; digest {}\n",
                        catalog.meters.len(),
                        catalog.providers.len(),
                        catalog.customers.len(),
                        catalog.digest.short()
                    ));
                    text
                },
            );
            Ok(Verdict::Fine)
        }
        Err(problems) => {
            refuse(cli, problems);
            Ok(Verdict::Discrepancy)
        }
    }
}

fn refuse(cli: &Cli, problems: &[rating::catalog::Problem]) {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    show(cli, &json!({ "ok": false, "problems": problems }), || {
        let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
        text.push_str(&format!(
            "refused: {}; nothing was published\n",
            plural(problems.len() as u64, "problem", "problems")
        ));
        text
    });
}

async fn publish(
    cli: &Cli,
    folder: &std::path::Path,
    allow_past_changes: Option<&str>,
) -> anyhow::Result<Verdict> {
    let config = Config::load(&cli.config)?;
    match verbs::catalog::publish(&config, folder, allow_past_changes).await? {
        Published::New { digest, entry } => {
            show(
                cli,
                &json!({ "ok": true, "new": true, "digest": digest.to_string(), "entry": entry }),
                || format!("published catalog {} as journal entry {entry}; it is in force\n", digest.short()),
            );
            Ok(Verdict::Fine)
        }
        Published::Unchanged { digest, entry } => {
            show(
                cli,
                &json!({ "ok": true, "new": false, "digest": digest.to_string(), "entry": entry }),
                || {
                    format!(
                        "catalog {} is in force already, since journal entry {entry}; nothing to do\n",
                        digest.short()
                    )
                },
            );
            Ok(Verdict::Fine)
        }
        Published::Refused(problems) => {
            refuse(cli, &problems);
            Ok(Verdict::Discrepancy)
        }
    }
}

fn rated_text(rated: &Rated) -> String {
    let Rated { run, folder, manifest, refused, .. } = rated;
    let mut text = format!(
        "received {} = usage {} + rejected {}; {}, {}, {}\n\n",
        manifest.received,
        manifest.usage,
        manifest.rejected,
        plural(manifest.duplicates, "duplicate", "duplicates"),
        plural(manifest.conflicts, "conflict", "conflicts"),
        plural(manifest.gaps, "gap", "gaps")
    );
    let mut rows = Vec::new();
    for line in &run.cost_lines {
        rows.push(vec![
            line.key.provider.to_string(),
            line.key.sku.to_string(),
            line.key.sub_account.as_ref().map_or_else(String::new, ToString::to_string),
            line.quantity.to_string(),
            line.unit.clone().unwrap_or_default(),
            line.settled.to_amount().map_or_else(String::new, |amount| amount.to_string()),
            line.currency.to_string(),
        ]);
    }
    let columns = [
        ("provider", Align::Left),
        ("sku", Align::Left),
        ("account", Align::Left),
        ("quantity", Align::Right),
        ("unit", Align::Left),
        ("settled", Align::Right),
        ("", Align::Left),
    ];
    const SHOWN: usize = 40;
    text.push_str(&table(&columns, &rows[..rows.len().min(SHOWN)]));
    if rows.len() > SHOWN {
        text.push_str(&format!("  … and {} more in cost_lines.parquet\n", rows.len() - SHOWN));
    }
    text.push('\n');
    let rows: Vec<Vec<String>> = manifest
        .customer_total
        .iter()
        .map(|(customer, total)| vec![customer.clone(), total.to_string()])
        .collect();
    text.push_str(&table(&[("customer", Align::Left), ("charged", Align::Right)], &rows));
    text.push_str(&format!("  retained by the operator: {}\n", manifest.retained_total));
    if !run.unrated.is_empty() {
        let events: u64 = run.unrated.iter().map(|unrated| unrated.events).sum();
        let reasons: Vec<String> =
            manifest.unrated_events.iter().map(|(reason, events)| format!("{reason} {events}")).collect();
        text.push_str(&format!(
            "! {} not rated ({}); fix the catalog, publish it and rate again\n",
            plural(events, "event is", "events are"),
            reasons.join(", ")
        ));
    }
    if !refused.is_empty() {
        text.push_str(&format!(
            "! {} refused; `atcost doctor` says where and why\n",
            plural(manifest.rejected, "record was", "records were")
        ));
    }
    if manifest.conflicts > 0 {
        text.push_str(&format!(
            "! {} an id with other content; the first counts\n",
            plural(manifest.conflicts, "record repeats", "records repeat")
        ));
    }
    text.push_str(&format!("\n{}\n", folder.display()));
    text
}
