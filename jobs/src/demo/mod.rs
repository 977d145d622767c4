//! `atcost demo`: a month that never was, taken from the first event to the last cent.
//!
//! It calls the same functions as the verbs: `init`, `catalog publish`, `ingest`, `rate`, `invoice
//! import`, `reconcile`, `close`, `export`. It then compares what came out with what it knows it has put
//! in. It knows no rule of its own about events or money.

// Modules in reading order.
mod world; // who there is, and what they use
mod expected; // what must come out
mod records; // every record of the month
mod files; // the records in files
mod topic; // the records in Kafka
mod figures; // how figures are written
mod invoices; // what the providers bill, with two breaks
mod month_end; // invoices, a close, and what comes late
mod report; // what is printed at the end

use crate::clock;
use crate::config::Config;
use crate::show::Steps;
use crate::verbs;
use crate::verbs::catalog::Published;
use crate::verbs::ingest::Input;
use crate::verbs::rate::Cut;
use anyhow::{Context as _, bail};
use ingest::files::Reading;
use ingest::kafka::check_brokers;
use report::{Origin, Outcome};
use schemas::shard::Shard;
use schemas::time::BillingMonth;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub use report::Report;

#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Made, or made again if a demo made it before.
    pub folder: PathBuf,
    /// Takes the events through Kafka rather than through files.
    pub brokers: Option<String>,
}

/// The catalog as people would keep it in git.
const CATALOG: [(&str, &str); 15] = [
    ("catalog.toml", include_str!("catalog/catalog.toml")),
    ("meters.toml", include_str!("catalog/meters.toml")),
    ("customers.toml", include_str!("catalog/customers.toml")),
    ("bindings.csv", include_str!("catalog/bindings.csv")),
    ("focus.toml", include_str!("catalog/focus.toml")),
    ("providers/torfeld/invoice.toml", include_str!("catalog/providers/torfeld/invoice.toml")),
    ("providers/torfeld/invoice_map.csv", include_str!("catalog/providers/torfeld/invoice_map.csv")),
    ("providers/firn/invoice.toml", include_str!("catalog/providers/firn/invoice.toml")),
    ("providers/halyard/invoice.toml", include_str!("catalog/providers/halyard/invoice.toml")),
    ("providers/torfeld/provider.toml", include_str!("catalog/providers/torfeld/provider.toml")),
    ("providers/torfeld/prices.toml", include_str!("catalog/providers/torfeld/prices.toml")),
    ("providers/firn/provider.toml", include_str!("catalog/providers/firn/provider.toml")),
    ("providers/firn/prices.toml", include_str!("catalog/providers/firn/prices.toml")),
    ("providers/halyard/provider.toml", include_str!("catalog/providers/halyard/provider.toml")),
    ("providers/halyard/prices.toml", include_str!("catalog/providers/halyard/prices.toml")),
];
const MONTH: &str = "2025-10";

/// Says that the folder is a demo's.
const MARK: &str = ".atcost-demo";
/// The entries that a demo makes in its folder, and removes when it runs again. Nothing else there
/// is touched.
const MADE: [&str; 8] = ["atcost.toml", "catalog", "events", "focus", "invoices", "late", "ledger", "runs"];

/// Runs the demo.
///
/// # Errors
/// When the folder is somebody else's, or a step fails.
pub async fn run(options: &DemoOptions) -> anyhow::Result<Report> {
    let folder = options.folder.as_path();
    let mut steps = Steps::begin();
    refuse_what_is_no_demo(folder)?;
    // A broker that does not answer leaves an earlier demo as it is.
    let topic = match &options.brokers {
        None => None,
        Some(brokers) => {
            // It is shown and stored from here on.
            check_brokers(brokers, &BTreeMap::new())?;
            let topic = topic::create(brokers).await?;
            steps.done(&format!("the Kafka topic {topic}"));
            Some((brokers.clone(), topic))
        }
    };
    prepare(folder)?;
    let config = verbs::init::init(&folder.join("atcost.toml")).await?.config;
    steps.done(&format!("an empty ledger in {}", folder.display()));

    publish(&config, &folder.join("catalog")).await?;
    steps.done("the catalog is published");

    let (expected, from, origin) = match topic {
        None => {
            let events = folder.join("events");
            make_folder(&events)?;
            let expected = files::write(&events)
                .with_context(|| format!("the events cannot be written to {}", events.display()))?;
            steps.done(&format!("{} records in {} files", expected.records, records::FILES.len()));
            (expected, Input::Files(events.clone(), Reading::FIRST), Origin::Files(events))
        }
        Some((brokers, topic)) => {
            let expected = tokio::task::block_in_place(|| topic::produce(&brokers, &topic))?;
            steps.done(&format!("{} records in the topic", expected.records));
            (
                expected,
                Input::Kafka { brokers: Some(brokers.clone()), topic: Some(topic.clone()) },
                Origin::Topic { brokers, topic },
            )
        }
    };

    let ingested =
        verbs::ingest::ingest(&config, &from, Shard::WHOLE, true, &std::sync::Arc::default()).await?;
    if ingested.received() < expected.records {
        bail!(
            "{} of {} records are in the ledger: the demo was stopped, or they were lost; run it again",
            ingested.received(),
            expected.records
        );
    }
    steps.done(&format!("{} records in the ledger, in {} commits", ingested.received(), ingested.commits));

    let month = BillingMonth::parse(MONTH).expect("MONTH is a month");
    let rated = verbs::rate::rate(&config, month, &Cut::default()).await?;
    steps.done(&format!("{MONTH} is rated: {} cost lines", rated.run.cost_lines.len()));

    let month_end = month_end::month_end(&config, folder, (month, &rated), &expected, &mut steps).await?;

    // The verbs resolve paths; people want to see them as they gave them.
    let absolute =
        std::path::absolute(folder).with_context(|| format!("{} cannot be resolved", folder.display()))?;
    let run_folder = PathBuf::from(rated.folder.to_string());
    let run_folder =
        run_folder.strip_prefix(&absolute).map_or(run_folder.clone(), |below| folder.join(below));
    let outcome = Outcome {
        expected: &expected,
        ingested: &ingested,
        run: &rated.run,
        manifest: &rated.manifest,
        catalog: &rated.catalog,
        folder,
        run_folder: &run_folder,
        origin: &origin,
        month_end: &month_end,
    };
    report::report(&outcome)
}

fn refuse_what_is_no_demo(folder: &Path) -> anyhow::Result<()> {
    let is_new = !folder.exists() || fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if !is_new && !folder.join(MARK).is_file() {
        bail!(
            "{} exists and no demo has made it; nothing was changed. Move it away, or say --folder with another name",
            folder.display()
        );
    }
    Ok(())
}

/// Makes the folder, or removes from it what a demo made before.
fn prepare(folder: &Path) -> anyhow::Result<()> {
    make_folder(folder)?;
    let mark = folder.join(MARK);
    fs::write(
        &mark,
        "`atcost demo` has made this folder. When it runs again it makes all that it made before anew.\n",
    )
    .with_context(|| format!("{} cannot be written", mark.display()))?;
    for name in MADE {
        let path = folder.join(name);
        let removed = match fs::symlink_metadata(&path) {
            Err(_) => continue,
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
        };
        removed.with_context(|| format!("{} is of an earlier demo and cannot be removed", path.display()))?;
    }
    Ok(())
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))
}

async fn publish(config: &Config, folder: &Path) -> anyhow::Result<()> {
    for (name, text) in CATALOG {
        let path = folder.join(name);
        make_folder(path.parent().unwrap_or(folder))?;
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    match verbs::catalog::publish(config, folder, None, clock::now()).await? {
        Published::New { .. } | Published::Unchanged { .. } => Ok(()),
        Published::PastChanges(past) => {
            bail!("the demo's own catalog would change what was billed:\n{}", past.text())
        }
        Published::Refused(problems) => bail!(
            "the demo's own catalog is refused: {}",
            problems.first().map(ToString::to_string).unwrap_or_default()
        ),
    }
}

#[cfg(test)]
mod tests;
