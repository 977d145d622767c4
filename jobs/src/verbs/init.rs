//! `atcost init`: a commented configuration and an empty ledger beside it.

use crate::config::{Config, TEMPLATE};
use crate::show::Answer;
use anyhow::Context as _;
use ledger::Location;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A configuration and the ledger that it names, and which of the two were made just now.
pub struct Initialised {
    pub file: PathBuf,
    pub config: Config,
    pub made_file: bool,
    pub made_ledger: bool,
}

/// Writes the configuration and creates the ledger it names, each where it is missing. Nothing that
/// exists is overwritten, so that whoever deployed a configuration first, or was interrupted, gets
/// the rest.
///
/// # Errors
/// When the configuration that is there is wrong, or storage fails.
pub async fn init(config_path: &Path) -> anyhow::Result<Initialised> {
    let made_file = !config_path.exists();
    if made_file {
        if let Some(folder) = config_path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        // Whole or not at all, and never over another's.
        Location::on_disk(config_path)?
            .put_new(TEMPLATE.into())
            .await
            .with_context(|| format!("{} cannot be written", config_path.display()))?;
    }
    let config = Config::load(config_path)?;
    let made_ledger = !ledger::is_ledger(&config.ledger).await?;
    if made_ledger {
        ledger::create_ledger(&config.ledger).await?;
        tracing::info!(event = "ledger.created", ledger = %config.ledger, "there is an empty ledger");
    }
    Ok(Initialised { file: config_path.to_owned(), config, made_file, made_ledger })
}

impl Answer for Initialised {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(json!({
            "config": self.file, "ledger": self.config.ledger.to_string(),
            "made": { "config": self.made_file, "ledger": self.made_ledger },
        }))
    }

    fn text(&self) -> String {
        let (file, ledger) = (self.file.display(), &self.config.ledger);
        let done = match (self.made_file, self.made_ledger) {
            (true, true) => format!("wrote {file} and an empty ledger in {ledger}"),
            (true, false) => format!("wrote {file}; kept the ledger that is in {ledger}"),
            (false, true) => format!("kept {file} as it is; made an empty ledger in {ledger}"),
            (false, false) => format!("kept {file} and the ledger in {ledger}: both are there already"),
        };
        format!("{done}\nnext: atcost catalog publish FOLDER\n")
    }
}
