//! `atcost shards`: into how many shards the ledger is divided, and dividing it anew.

use crate::clock;
use crate::config::Config;
use crate::show::{Answer, plural};
use ledger::division::{Divided, divide_ledger};
use ledger::pinned::PinnedFiles;
use serde::Serialize;

/// How a ledger is divided.
#[derive(Debug, Serialize)]
pub struct Division {
    /// Writers that may run: `--shard 1/N` to `--shard N/N`.
    pub shards: u32,
    /// How often it was divided anew.
    pub epoch: u32,
    /// Tables that hold rows, those of former divisions included.
    pub tables: usize,
    pub changed: bool,
}

/// Says how the ledger is divided, after dividing it into `shards` where that is given.
///
/// # Errors
/// When the ledger cannot be opened, or another division was interrupted and must be completed
/// first.
pub async fn shards(config: &Config, shards: Option<u32>) -> anyhow::Result<Division> {
    let changed = match shards {
        Some(shards) => {
            let Divided { changed, .. } = divide_ledger(&config.ledger, shards, clock::now()).await?;
            changed
        }
        None => false,
    };
    let files = PinnedFiles::of_ledger(&config.ledger, None).await?;
    let division = files.division;
    Ok(Division {
        shards: division.shards,
        epoch: division.generation,
        tables: files.cut.versions.0.len(),
        changed,
    })
}

impl Answer for Division {
    fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }

    fn text(&self) -> String {
        let Self { shards, tables, changed, .. } = *self;
        let now = if changed { "now " } else { "" };
        let mut text =
            format!("the ledger is {now}divided into {}\n", plural(u64::from(shards), "shard", "shards"));
        if tables > shards as usize {
            text.push_str(&format!(
                "{tables} tables hold its rows: those of former divisions are read, and no longer written\n"
            ));
        }
        if shards > 1 {
            text.push_str(&format!(
                "run `atcost ingest --shard 1/{shards}` to `--shard {shards}/{shards}`, one process each\n"
            ));
        }
        text
    }
}
