//! `atcost init`: a commented configuration and an empty ledger beside it.

use crate::config::{Config, TEMPLATE};
use crate::show::Answer;
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A configuration that was written, and what it says.
pub struct Initialised {
    pub file: PathBuf,
    pub config: Config,
}

/// Writes the configuration and creates the ledger it names. Nothing that exists is overwritten.
///
/// # Errors
/// When there is a configuration or a ledger already.
pub async fn init(config_path: &Path) -> anyhow::Result<Initialised> {
    if config_path.exists() {
        bail!(
            "{} exists already; nothing was changed. Use it, or run `atcost init` in an empty folder",
            config_path.display()
        );
    }
    if let Some(folder) = config_path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    std::fs::write(config_path, TEMPLATE)
        .with_context(|| format!("{} cannot be written", config_path.display()))?;
    let config = Config::load(config_path)?;
    ledger::create_ledger(&config.ledger).await?;
    tracing::info!(event = "ledger.created", ledger = %config.ledger, "there is an empty ledger");
    Ok(Initialised { file: config_path.to_owned(), config })
}

impl Answer for Initialised {
    fn json(&self) -> anyhow::Result<Value> {
        Ok(json!({ "config": self.file, "ledger": self.config.ledger.to_string() }))
    }

    fn text(&self) -> String {
        format!(
            "wrote {} and an empty ledger in {}\nnext: atcost catalog publish FOLDER\n",
            self.file.display(),
            self.config.ledger
        )
    }
}
