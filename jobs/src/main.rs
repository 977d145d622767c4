//! `atcost`: usage, billed at cost. Its arguments, and which verb they mean; the verbs have the
//! words.
//!
//! Exit status: 0 fine, 1 a discrepancy was found, 2 the command could not run.

mod catalog; // the arguments of `atcost catalog`
mod memory;

use anyhow::Context as _;
use catalog::CatalogVerb;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use ingest::files::Reading;
use jobs::clock;
use jobs::config::{Config, DEFAULT_FILE};
use jobs::demo::DemoOptions;
use jobs::log::{Alarms, ENDING, LogFormat};
use jobs::show::{Format, Verdict, printable_lines, say, show, show_in};
use jobs::verbs;
use jobs::verbs::ingest::Input;
use jobs::verbs::rate::Cut;
use ledger::pinned::Versions;
use rating::aggregate::Asked;
use rating::books::ImportOptions;
use rating::close::Waiver;
use rating::focus::Scope;
use rating::reconcile::Action;
use rating::units::Unit;
use rating::usage::Cursor;
use schemas::decimal::QuantityTotal;
use schemas::id::{CustomerId, InvoiceId};
use schemas::rejection::Reason;
use schemas::shard::Shard;
use schemas::time::Instant;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Usage, billed at cost: meters what data-plane nodes report, prices it with each provider's own
/// price list, and passes every charge through without a margin, so that anyone it touches can
/// check it.
#[derive(Parser)]
#[command(name = "atcost", version = env!("ATCOST_VERSION"), max_term_width = 100)]
struct Cli {
    /// The configuration; paths in it are relative to it.
    #[arg(long, global = true, default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// The form that results are printed in.
    #[arg(long, global = true, value_enum, default_value = "table")]
    format: Format,
    /// The form of log lines on stderr. ATCOST_LOG says which lines: `info`, or
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
    /// Check a catalog folder, compare it with the version in force, or publish it as that.
    #[command(subcommand)]
    Catalog(CatalogVerb),
    /// Rate a month: provider costs, customer charges, statement lines and what could not be rated.
    Rate(RateArgs),
    /// Say what a quantity costs by the prices of a file, step by step. It needs no ledger.
    Price(PriceArgs),
    /// Say what the events of a file come to by a meter, window by window. It needs no ledger.
    Aggregate(AggregateArgs),
    /// Say what a month would cost by another catalog, by line and by customer. No run is written.
    WhatIf {
        /// The folder of the other catalog.
        #[arg(long, value_name = "FOLDER")]
        catalog: PathBuf,
        /// The month, like 2025-10.
        #[arg(long)]
        period: String,
    },
    /// Say what a month that is running costs so far, and what it may come to at the rate so far. It is
    /// an estimate, and says what cannot be known. No run is written.
    Forecast {
        /// The month, like 2025-10.
        #[arg(long)]
        period: String,
        /// Leave out what is used from then on, like 2025-10-15T00:00:00Z; without it, it is now.
        #[arg(long, value_name = "T", value_parser = verbs::aggregate::instant)]
        at: Option<Instant>,
    },
    /// Show the chain from a charge to its cost line, price, allocation key and events, and to statements;
    /// or from a statement line back to its charges.
    Explain(ExplainArgs),
    /// Take a provider's invoice into the ledger, or say what came of those that are there.
    #[command(subcommand)]
    Invoice(InvoiceVerb),
    /// Show a month on one screen: what came in, what it comes to so far, what is open and what limits
    /// say. Exit status 1 where a limit is passed or cannot be told.
    Status(StatusArgs),
    /// Compare a month's invoices with what the ledger says, or decide about what differs.
    Reconcile(ReconcileArgs),
    /// Make a month final. What is learnt later is corrected in the month that is open then.
    Close(CloseArgs),
    /// Show what a customer is billed in a month; --format json or html for programs and for paper.
    Statement {
        customer: String,
        /// The month, like 2025-10.
        #[arg(long)]
        period: String,
        /// A new file for it, in place of the terminal.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Export a month: as FOCUS, or as a journal of the general ledger; or check files of FOCUS.
    #[command(subcommand)]
    Export(ExportVerb),
    /// Say which runs there are.
    #[command(subcommand)]
    Runs(RunsVerb),
    /// Answer a question in SQL about a month and the events behind it. Nothing can be changed.
    Query(QueryArgs),
    /// Recount the ledger and say what is wrong.
    Doctor(DoctorArgs),
    /// Copy the rows of days that are over from many small files into few. Nothing is deleted, and
    /// ingest may run meanwhile.
    Compact,
    /// Bring usage totals up to the ledger. `rate`, `explain` and `doctor` do so too, where they need
    /// it; with --follow they seldom need it.
    Totals {
        /// Go on, and look for something new every so often.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
        follow: Option<u64>,
    },
    /// Say into how many shards the ledger is divided, or divide it anew while no ingest runs.
    Shards {
        /// How many shards there shall be.
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
        shards: Option<u32>,
    },
    /// Read on where a Kafka partition lost what was read from it, as a decision in the journal.
    /// Ingest stops at such a partition and says so.
    AcceptTruncation(AcceptTruncationArgs),
    /// Sign the heads of all logs that have grown, after recomputing from storage everything that
    /// is new.
    Sign(SignArgs),
    /// Make a key for the signer.
    #[command(subcommand)]
    Signer(SignerVerb),
    /// Recompute everything from storage and say what is not what was sealed.
    #[command(subcommand)]
    Verify(VerifyVerb),
    /// Print the completions of a shell, for its folder of completions.
    Completions { shell: clap_complete::Shell },
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
    /// Read the files so manieth: 2 reads those again that were read once. Their refused records get
    /// another chance, and usage that is in the ledger becomes a duplicate.
    #[arg(long, value_name = "N", requires = "files", conflicts_with_all = ["brokers", "topic"], value_parser = clap::value_parser!(u32).range(1..))]
    reading: Option<u32>,
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
enum InvoiceVerb {
    /// Read an invoice's file by its provider's invoice.toml, and keep it.
    Import {
        /// The file: .csv, .jsonl, .parquet, each also .gz, or .xml (EN 16931).
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[arg(long)]
        provider: String,
        /// The invoice's id, where the file does not say it.
        #[arg(long, value_name = "ID")]
        invoice: Option<String>,
        /// The month, like 2025-10, where the file does not say it.
        #[arg(long, value_name = "MONTH")]
        period: Option<String>,
        /// The file is a part of the invoice; its total does not count.
        #[arg(long)]
        partial: bool,
    },
    /// Every version of every invoice.
    List,
    /// The lines of an invoice.
    Show {
        invoice: String,
        #[arg(long)]
        provider: Option<String>,
        /// Another version than the last.
        #[arg(long)]
        version: Option<u32>,
    },
    /// Propose what texts without a mapping mean, as lines for invoice_map.csv. Nothing is taken by
    /// itself.
    Map {
        #[arg(long)]
        provider: String,
        /// The month of the invoices, like 2025-10; without it the last that has one.
        #[arg(long, value_name = "MONTH")]
        period: Option<String>,
        /// Write the lines to a new file.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Take an invoice out, as if it had not come.
    Withdraw {
        #[arg(long, value_name = "ID")]
        invoice: String,
        #[arg(long)]
        provider: Option<String>,
        #[arg(long, value_parser = verbs::reason)]
        reason: String,
        /// Who decides it.
        #[arg(long, value_parser = verbs::who)]
        by: String,
    },
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
struct ReconcileArgs {
    #[command(subcommand)]
    decide: Option<ReconcileVerb>,
    /// The month, like 2025-10.
    #[arg(long, required = true)]
    period: Option<String>,
    /// A new file for the comparison, in place of the terminal; --format html makes a page of it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Subcommand)]
enum ReconcileVerb {
    /// What the invoice says is passed through.
    Accept(DecisionArgs),
    /// The difference is retained until the provider has answered.
    Dispute(DecisionArgs),
    /// Say what is known of it; nothing is decided.
    Explain(DecisionArgs),
    /// Take a decision back.
    Reopen(DecisionArgs),
}

#[derive(Args)]
struct DecisionArgs {
    #[arg(long)]
    provider: String,
    /// The month, like 2025-10.
    #[arg(long)]
    period: String,
    /// Only rows of this SKU; an empty one for rows without.
    #[arg(long)]
    sku: Option<String>,
    /// Only rows of this sub account; an empty one for rows without.
    #[arg(long)]
    sub_account: Option<String>,
    /// Only rows of this class.
    #[arg(long)]
    class: Option<String>,
    /// Only rows with this text of an invoice; an empty one for rows without.
    #[arg(long)]
    text: Option<String>,
    #[arg(long, value_parser = verbs::reason)]
    reason: String,
    /// Who decides it.
    #[arg(long, value_parser = verbs::who)]
    by: String,
}

#[derive(Args)]
struct StatusArgs {
    /// The month, like 2025-10; without it the one that it is, in UTC.
    #[arg(long, value_name = "MONTH")]
    period: Option<String>,
    /// Show it again and again in place, every so often, until Ctrl-C.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "30", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
    /// Write metrics to this file too, for a collector of Prometheus text files.
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
}

#[derive(Args)]
struct CloseArgs {
    /// The month, like 2025-10.
    #[arg(long)]
    period: String,
    /// Pass over something that is in the way: `unrated`, `conflicts` or `invoice:PROVIDER`; may be
    /// given several times.
    #[arg(long, value_name = "WHAT", value_parser = Waiver::parse)]
    waive: Vec<Waiver>,
    /// The reason for what is waived.
    #[arg(long, value_parser = verbs::reason)]
    reason: Option<String>,
    /// Who closes it.
    #[arg(long, value_parser = verbs::who)]
    by: String,
}

#[derive(Subcommand)]
enum ExportVerb {
    /// FOCUS 1.4: CostAndUsage, InvoiceDetail and BillingPeriod, as Parquet or with --format csv.
    Focus {
        /// The month, like 2025-10.
        #[arg(long)]
        period: String,
        /// The folder to write below.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// Whose lines: customer=ID, partner=ID or provider=ID; without it the operator's.
        #[arg(long, value_parser = Scope::parse)]
        scope: Option<Scope>,
        /// Split what is metered by the days of its use.
        #[arg(long, value_enum, default_value = "month")]
        granularity: Granularity,
    },
    /// A journal of the general ledger, as CSV, with the accounts of gl.toml.
    Gl {
        /// The month, like 2025-10.
        #[arg(long)]
        period: String,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Say what FOCUS asks of the files of a folder and they do not have.
    Check { folder: PathBuf },
}

/// How finely FOCUS splits usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Granularity {
    Month,
    Day,
}

#[derive(Subcommand)]
enum RunsVerb {
    /// Every run, by month.
    List,
}

#[derive(Args)]
struct PriceArgs {
    /// The file: SKUs as in prices.toml, of which the first counts the quantity, or one price's keys
    /// alone; above them `currency`, `[rounding]`, `time_zone` and `anchor`, if they matter.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// How much.
    #[arg(long, value_name = "Q", value_parser = verbs::price::quantity)]
    quantity: QuantityTotal,
    /// How much the billing period had counted before, in the same unit.
    #[arg(long, value_name = "Q", value_parser = verbs::price::quantity, default_value = "0")]
    before: QuantityTotal,
    /// The unit that both are in, in UCUM; without it the SKU's.
    #[arg(long, value_name = "U", value_parser = Unit::parse)]
    unit: Option<Unit>,
    /// The month whose prices are in force, as 2025-11. It is needed where they change.
    #[arg(long, value_name = "MONTH")]
    period: Option<String>,
}

#[derive(Args)]
struct AggregateArgs {
    /// The file: one `[[meter]]` as in meters.toml, and above it `time_zone`, if it matters.
    #[arg(long, value_name = "FILE")]
    meter: PathBuf,
    /// The events, like those that `ingest --files` reads.
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
    /// When the time begins, like 2025-11-01T00:00:00Z; without it with the first event.
    #[arg(long, value_name = "T", value_parser = verbs::aggregate::instant)]
    from: Option<Instant>,
    /// When it ends, exclusive; without it just after the last event.
    #[arg(long, value_name = "T", value_parser = verbs::aggregate::instant)]
    to: Option<Instant>,
    /// A value that events must have, like class=standard; may be given several times.
    #[arg(long = "match", value_name = "DIMENSION=VALUE", value_parser = verbs::aggregate::dimension)]
    matches: Vec<(String, String)>,
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
    /// Read every row of the ledger anew, instead of usage totals. The charges are the same.
    #[arg(long)]
    from_rows: bool,
}

#[derive(Args)]
struct ExplainArgs {
    /// A charge_id of charges.parquet, a statement_line_id of statement_lines.parquet or
    /// corrections.parquet, or its beginning.
    id: String,
    /// The run to look in, or the beginning of its id.
    #[arg(long)]
    run: Option<String>,
    /// Explain it to the customer who is charged, or the partner who bills it: the names of others are
    /// hidden, and only its own events are shown.
    #[arg(long = "for", value_name = "CUSTOMER", value_parser = verbs::explain::customer)]
    reader: Option<CustomerId>,
    /// Write all events behind a charge to this file, .ndjson or .parquet.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

#[derive(Args)]
struct QueryArgs {
    /// One statement, such as `SELECT customer, sum(amount) FROM statement_lines GROUP BY customer`.
    #[arg(required_unless_present = "describe")]
    sql: Option<String>,
    /// The month that is rated, where a table of a run is asked about, like 2025-10.
    #[arg(long)]
    period: Option<String>,
    /// Show which tables and columns there are.
    #[arg(long, conflicts_with_all = ["sql", "out"])]
    describe: bool,
    /// The most rows that an answer may have.
    #[arg(long, default_value = "1000000")]
    rows: usize,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Write the answer to a new file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
struct DoctorArgs {
    /// Compare positions with these Kafka brokers.
    #[arg(long)]
    brokers: Option<String>,
    /// The Kafka topic.
    #[arg(long)]
    topic: Option<String>,
    /// Show the records that were refused, with the place and the reason of each, a page at a time.
    #[arg(long, conflicts_with_all = ["brokers", "topic"])]
    rejected: bool,
    /// Only those that were refused for this reason.
    #[arg(long, requires = "rejected", value_parser = verbs::rejected::reason)]
    reason: Option<Reason>,
    /// How many make a page.
    #[arg(long, requires = "rejected", default_value = "100", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// Go on after the page that named this place.
    #[arg(long, requires = "rejected", value_name = "PLACE")]
    after: Option<Cursor>,
    /// Write all of them with their bytes to rejected.ndjson in this folder, instead of showing a
    /// page.
    #[arg(long, requires = "rejected", conflicts_with_all = ["limit", "after"], value_name = "FOLDER")]
    out: Option<PathBuf>,
}

#[derive(Args)]
struct AcceptTruncationArgs {
    /// Kafka brokers, HOST:PORT separated by commas.
    #[arg(long)]
    brokers: Option<String>,
    /// The Kafka topic.
    #[arg(long)]
    topic: Option<String>,
    /// The number of the partition that was cut.
    #[arg(long)]
    partition: u32,
    /// The reason, for the journal: the records that the broker lost, and how.
    #[arg(long, value_name = "TEXT")]
    reason: String,
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
        /// The name of the key's owner: a domain, say, without spaces and plus signs.
        name: String,
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
}

#[derive(Subcommand)]
enum VerifyVerb {
    /// Log entries, files, rows, roots, signed heads and tiles, of every shard and of the journal.
    Ledger {
        /// The key that signatures are checked with, as `atcost signer new-key` printed it. Without
        /// it the configured signer's.
        #[arg(long, value_name = "VERIFIER_KEY")]
        key: Option<String>,
    },
    /// Usage totals: made anew from the rows, and compared.
    Totals,
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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if matches!(cli.verb, Verb::Ingest(_)) {
        memory::keep_freed();
    }
    let (alarms, filter) = start_log(cli.log_format);
    if let Err(error) = filter {
        return failed(&cli, &anyhow::Error::msg(error));
    }
    let is_query = matches!(cli.verb, Verb::Query(_));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if is_query {
        runtime.thread_stack_size(QUERY_STACK);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&cli, &error.into()),
    };
    let ended = runtime.block_on(run(&cli, &alarms));
    if is_query {
        // One that is over its time goes on computing, and nobody waits for it.
        runtime.shutdown_background();
    }
    match ended {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Discrepancy) => ExitCode::from(1),
        Err(error) => failed(&cli, &error),
    }
}

/// The stack of a thread that answers a query: what a person writes is a tree as deep as it is long.
const QUERY_STACK: usize = 128 << 20;

fn failed(cli: &Cli, error: &anyhow::Error) -> ExitCode {
    match cli.log_format {
        LogFormat::Text => {
            let chain: Vec<String> = error.chain().map(|cause| printable_lines(&cause.to_string())).collect();
            say(&format!("atcost: {}", chain.join(": ")));
        }
        LogFormat::Json => tracing::error!(target: ENDING, event = "command.failed", "{error:#}"),
    }
    ExitCode::from(2)
}

/// Sends log lines to stderr from now on. Where a program reads them, nothing else goes there.
fn start_log(format: LogFormat) -> (Arc<Alarms>, Result<(), String>) {
    let started = jobs::log::start(format);
    if matches!(format, LogFormat::Json) {
        std::panic::set_hook(Box::new(|panic| {
            tracing::error!(target: ENDING, event = "command.failed", "a defect of atcost: {panic}; report it");
        }));
    }
    started
}

/// Shows what is wrong with the arguments, or the help that they ask for.
fn not_understood(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && asks_for_json() {
        // What is wrong with the filter is told once the arguments are understood.
        drop(start_log(LogFormat::Json));
        let text = error.render().to_string();
        // How the command is used is for people.
        let reason = text.split("\n\nUsage:").next().unwrap_or_default();
        let reason: Vec<&str> = reason.split_whitespace().collect();
        let reason = reason.join(" ");
        let reason = reason.strip_prefix("error: ").unwrap_or(&reason);
        tracing::error!(target: ENDING, event = "command.failed", "{reason}; `atcost --help` says what there is");
    } else {
        // Nobody is left to be told of what cannot be printed.
        drop(error.print());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Whether the arguments, of which something is wrong, ask for log lines in JSON.
fn asks_for_json() -> bool {
    let arguments: Vec<_> = std::env::args_os().collect();
    arguments.iter().any(|argument| argument == "--log-format=json")
        || arguments.windows(2).any(|pair| pair[0] == "--log-format" && pair[1] == "json")
}

async fn run(cli: &Cli, alarms: &Arc<Alarms>) -> anyhow::Result<Verdict> {
    let config = || Config::load(&cli.config);
    match &cli.verb {
        Verb::Init => show(&verbs::init::init(&cli.config).await?, cli.format),
        Verb::Catalog(verb) => catalog::run(verb, &cli.config, cli.format).await,
        Verb::Completions { shell } => {
            show(&verbs::completions::completions(*shell, Cli::command())?, cli.format)
        }
        Verb::Runs(RunsVerb::List) => show(&verbs::listing::runs(&config()?).await?, cli.format),
        Verb::Ingest(IngestArgs { files, reading, brokers, topic, shard, until_caught_up, metrics }) => {
            let mut config = config()?;
            config.metrics = metrics.clone().or(config.metrics);
            let (brokers, topic) = (brokers.as_deref(), topic.as_deref());
            let reading = reading.and_then(Reading::number).unwrap_or(Reading::FIRST);
            let files = files.as_deref().map(|path| (path, reading));
            let from = Input::given(files, brokers, topic, &config, &cli.config)?;
            show(&verbs::ingest::ingest(&config, &from, *shard, *until_caught_up, alarms).await?, cli.format)
        }
        Verb::Rate(RateArgs { period, ledger_version, catalog, from_rows }) => {
            let (config, month) = (config()?, verbs::rate::month(period)?);
            let (ledger_version, catalog) = (ledger_version.clone(), catalog.clone());
            let cut = Cut { ledger_version, catalog, from_rows: *from_rows };
            show(&verbs::rate::rate(&config, month, &cut).await?, cli.format)
        }
        Verb::Price(PriceArgs { model, quantity, before, unit, period }) => {
            let month = period.as_deref().map(verbs::rate::month).transpose()?;
            show(&verbs::price::price(model, *quantity, *before, unit.as_ref(), month)?, cli.format)
        }
        Verb::WhatIf { catalog, period } => {
            let (config, month) = (config()?, verbs::rate::month(period)?);
            show(&verbs::what_if::what_if(&config, catalog, month).await?, cli.format)
        }
        Verb::Forecast { period, at } => {
            let (config, month) = (config()?, verbs::rate::month(period)?);
            let at = at.unwrap_or_else(clock::now);
            show(&verbs::forecast::forecast(&config, month, at).await?, cli.format)
        }
        Verb::Aggregate(AggregateArgs { meter, events, from, to, matches }) => {
            let asked = Asked { from: *from, until: *to, matches: matches.iter().cloned().collect() };
            show(&verbs::aggregate::measure(meter, events, &asked).await?, cli.format)
        }
        Verb::Explain(ExplainArgs { id, run, reader, events }) => {
            let (reader, events) = (reader.as_ref(), events.as_deref());
            let asked = verbs::explain::Asked { id, run: run.as_deref(), reader, events };
            show(&verbs::explain::explain(&config()?, &asked).await?, cli.format)
        }
        Verb::Invoice(verb) => invoice(cli, verb).await,
        Verb::Reconcile(ReconcileArgs { decide: None, period, out }) => {
            let period = period.as_deref().expect("it is required where nothing is decided");
            let compared = verbs::reconcile::compare(&config()?, verbs::rate::month(period)?).await?;
            show_in(out.as_deref(), &compared, cli.format)
        }
        Verb::Reconcile(ReconcileArgs { decide: Some(verb), .. }) => {
            let (action, args) = match verb {
                ReconcileVerb::Accept(args) => (Action::Accept, args),
                ReconcileVerb::Dispute(args) => (Action::Dispute, args),
                ReconcileVerb::Explain(args) => (Action::Explain, args),
                ReconcileVerb::Reopen(args) => (Action::Reopen, args),
            };
            let asked = verbs::reconcile::Asked {
                action,
                provider: &args.provider,
                period: verbs::rate::month(&args.period)?,
                sku: args.sku.as_deref(),
                sub_account: args.sub_account.as_deref(),
                class: args.class.as_deref(),
                text: args.text.as_deref(),
                reason: &args.reason,
                by: &args.by,
            };
            show(&verbs::reconcile::decision(&config()?, &asked).await?, cli.format)
        }
        Verb::Status(args) => status(cli, args).await,
        Verb::Close(CloseArgs { period, waive, reason, by }) => {
            let (config, month) = (config()?, verbs::rate::month(period)?);
            let waived = waive.iter().cloned().collect();
            show(&verbs::close::close(&config, month, &waived, reason.as_deref(), by).await?, cli.format)
        }
        Verb::Statement { customer, period, out } => {
            let (config, month) = (config()?, verbs::rate::month(period)?);
            let statement = verbs::statement::statement(&config, customer, month, cli.format).await?;
            show_in(out.as_deref(), &statement, cli.format)
        }
        Verb::Export(ExportVerb::Focus { period, out, scope, granularity }) => {
            let asked = verbs::export::Asked {
                period: verbs::rate::month(period)?,
                out,
                scope: scope.clone().unwrap_or(Scope::Operator),
                by_day: *granularity == Granularity::Day,
                form: cli.format,
            };
            show(&verbs::export::focus(&config()?, &asked).await?, cli.format)
        }
        Verb::Export(ExportVerb::Gl { period, out }) => {
            let (config, month) = (config()?, verbs::rate::month(period)?);
            show(&verbs::export::gl(&config, month, out).await?, cli.format)
        }
        Verb::Export(ExportVerb::Check { folder }) => show(&verbs::export::check(folder).await?, cli.format),
        Verb::Query(QueryArgs { describe: true, .. }) => show(&verbs::query::Described, cli.format),
        Verb::Query(QueryArgs { sql, period, rows, timeout, out, .. }) => {
            let asked = verbs::query::Asked {
                sql: sql.as_deref().expect("it is required where nothing is described"),
                period: period.as_deref(),
                rows: *rows,
                timeout: Duration::from_secs(*timeout),
                out: out.as_deref(),
                form: cli.format,
            };
            show(&verbs::query::query(&config()?, &asked).await?, cli.format)
        }
        Verb::Doctor(DoctorArgs { rejected: true, reason, out: Some(folder), .. }) => {
            show(&verbs::rejected::export(&config()?, *reason, folder).await?, cli.format)
        }
        Verb::Doctor(DoctorArgs { rejected: true, reason, limit, after, .. }) => {
            show(&verbs::rejected::page(&config()?, *reason, *after, usize::from(*limit)).await?, cli.format)
        }
        Verb::Doctor(DoctorArgs { brokers, topic, .. }) => {
            let (brokers, topic) = (brokers.as_deref(), topic.as_deref());
            show(&verbs::doctor::doctor(&config()?, brokers, topic).await?, cli.format)
        }
        Verb::Compact => show(&verbs::compact::compact(&config()?).await?, cli.format),
        Verb::Shards { shards } => show(&verbs::shards::shards(&config()?, *shards).await?, cli.format),
        Verb::AcceptTruncation(AcceptTruncationArgs { brokers, topic, partition, reason }) => {
            let (brokers, topic) = (brokers.as_deref(), topic.as_deref());
            let accepted = verbs::truncation::accept(&config()?, brokers, topic, *partition, reason).await?;
            show(&accepted, cli.format)
        }
        Verb::Sign(SignArgs { first, follow: None }) => {
            show(&verbs::sign::sign(&config()?, *first).await?, cli.format)
        }
        Verb::Sign(SignArgs { first, follow: Some(seconds) }) => {
            let mut shown = |report: &verbs::sign::Report| show(report, cli.format).map(drop);
            verbs::sign::follow(&config()?, *first, Duration::from_secs(*seconds), &mut shown).await
        }
        Verb::Signer(SignerVerb::NewKey { name, key }) => {
            show(&verbs::sign::new_key(name, key).await?, cli.format)
        }
        Verb::Totals { follow: None } => show(&verbs::totals::catch_up(&config()?).await?, cli.format),
        Verb::Totals { follow: Some(seconds) } => {
            let mut shown = |report: &verbs::totals::Report| show(report, cli.format).map(drop);
            verbs::totals::follow(&config()?, Duration::from_secs(*seconds), &mut shown).await
        }
        Verb::Verify(VerifyVerb::Totals) => show(&verbs::totals::verify(&config()?).await?, cli.format),
        Verb::Verify(VerifyVerb::Ledger { key }) => {
            show(&verbs::verify::verify(&config()?, key.as_deref()).await?, cli.format)
        }
        Verb::Demo(DemoArgs { folder, brokers }) => {
            let options = DemoOptions { folder: folder.clone(), brokers: brokers.clone() };
            show(&jobs::demo::run(&options).await?, cli.format)
        }
    }
}

async fn status(cli: &Cli, args: &StatusArgs) -> anyhow::Result<Verdict> {
    let StatusArgs { period, watch, metrics } = args;
    let config = Config::load(&cli.config)?;
    let month = period.as_deref().map(verbs::rate::month).transpose()?;
    if let Some(seconds) = watch {
        if cli.format != Format::Table {
            anyhow::bail!("--watch draws on a terminal; leave out one of --watch and --format");
        }
        return verbs::status::watch(&config, month, Duration::from_secs(*seconds), metrics.as_deref()).await;
    }
    let status = verbs::status::status(&config, month).await?;
    if let Some(path) = metrics {
        verbs::status::write_gauges(&status, path)?;
    }
    show(&status, cli.format)
}

async fn invoice(cli: &Cli, verb: &InvoiceVerb) -> anyhow::Result<Verdict> {
    let config = Config::load(&cli.config)?;
    match verb {
        InvoiceVerb::Import { file, provider, invoice, period, partial } => {
            let invoice = invoice.as_deref().map(InvoiceId::new).transpose().context("--invoice")?;
            let period = period.as_deref().map(verbs::rate::month).transpose()?;
            let options = ImportOptions { invoice, period, partial: *partial };
            show(&verbs::invoice::import(&config, provider, file, &options).await?, cli.format)
        }
        InvoiceVerb::List => show(&verbs::invoice::list(&config).await?, cli.format),
        InvoiceVerb::Show { invoice, provider, version } => {
            let shown = verbs::invoice::show(&config, invoice, provider.as_deref(), *version).await?;
            show(&shown, cli.format)
        }
        InvoiceVerb::Map { provider, period, out } => {
            let month = period.as_deref().map(verbs::rate::month).transpose()?;
            show(&verbs::invoice_map::map(&config, provider, month, out.as_deref()).await?, cli.format)
        }
        InvoiceVerb::Withdraw { invoice, provider, reason, by } => {
            let provider = provider.as_deref();
            show(&verbs::invoice::withdraw(&config, invoice, provider, reason, by).await?, cli.format)
        }
    }
}
