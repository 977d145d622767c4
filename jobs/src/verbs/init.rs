//! `atcost init`: a commented configuration and an empty ledger beside it.

use crate::config::{Config, TEMPLATE};
use anyhow::{Context as _, bail};
use std::path::Path;

/// Writes the configuration and creates the ledger it names. Nothing that exists is overwritten.
///
/// # Errors
/// When there is a configuration or a ledger already.
pub async fn init(config_path: &Path) -> anyhow::Result<Config> {
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
    ledger::Ledger::create(&config.ledger).await?;
    tracing::info!(event = "ledger.created", ledger = %config.ledger.display(), "there is an empty ledger");
    Ok(config)
}
