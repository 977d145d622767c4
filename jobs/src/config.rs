//! `atcost.toml`: every setting, read once, checked, and explained where it is written.
//!
//! Paths in it are relative to the file. A key it does not know is an error, because a misspelt
//! setting is worse than none.

use anyhow::{Context as _, bail};
use ingest::kafka::KafkaConfig;
use ingest::schema::registry::RegistryConfig;
use ingest::source::BatchPolicy;
use ledger::Location;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that `atcost init` writes.
pub const TEMPLATE: &str = include_str!("atcost.toml");

/// The configuration, with paths resolved and secrets filled in.
#[derive(Debug, Clone)]
pub struct Config {
    pub ledger: Location,
    pub runs: Location,
    pub policy: BatchPolicy,
    /// Whether ingest says which rows repeat an id.
    pub classify: bool,
    pub kafka: KafkaSettings,
    pub registry: Option<RegistryConfig>,
    /// Schema ids that are resolved by a file instead of a registry.
    pub schemas: BTreeMap<u32, PathBuf>,
    /// Where ingest serves metrics, as `HOST:PORT`; nowhere unless it is said.
    pub metrics: Option<String>,
    pub signer: Option<SignerSettings>,
}

/// Where the signer has what is its own.
#[derive(Debug, Clone)]
pub struct SignerSettings {
    pub key: Location,
    /// A folder that remembers what was signed.
    pub state: Location,
}

/// The file's part of the settings for Kafka; the command line may say the rest.
#[derive(Debug, Clone, Default)]
pub struct KafkaSettings {
    pub brokers: Option<String>,
    pub topic: Option<String>,
    pub properties: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// Brokers and topic, the command line first.
    ///
    /// # Errors
    /// When either is said nowhere.
    pub fn with(&self, brokers: Option<&str>, topic: Option<&str>) -> anyhow::Result<KafkaConfig> {
        let pick = |given: Option<&str>, configured: &Option<String>, name: &str| {
            given
                .map(str::to_owned)
                .or_else(|| configured.clone())
                .with_context(|| format!("no {name}: give --{name}, or set kafka.{name} in atcost.toml"))
        };
        Ok(KafkaConfig {
            brokers: pick(brokers, &self.brokers, "brokers")?,
            topic: pick(topic, &self.topic, "topic")?,
            properties: self.properties.clone(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    ledger: PathSection,
    #[serde(default)]
    runs: PathSection,
    #[serde(default)]
    ingest: IngestSection,
    #[serde(default)]
    kafka: KafkaSection,
    #[serde(default)]
    registry: RegistrySection,
    #[serde(default)]
    schemas: BTreeMap<String, PathBuf>,
    #[serde(default)]
    metrics: MetricsSection,
    signer: Option<SignerSection>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PathSection {
    path: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct IngestSection {
    batch_records: Option<usize>,
    batch_bytes: Option<usize>,
    batch_seconds: Option<u64>,
    classify: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct KafkaSection {
    brokers: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RegistrySection {
    url: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct MetricsSection {
    listen: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignerSection {
    key: PathBuf,
    state: PathBuf,
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is missing, is not TOML, has a key that is unknown, or names an environment variable
    /// that is not set.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "{} cannot be read; run `atcost init` in an empty folder, or say --config FILE",
                path.display()
            )
        })?;
        let file: File = toml::from_str(&text)
            .with_context(|| format!("{} is not a valid configuration", path.display()))?;
        let absolute =
            std::path::absolute(path).with_context(|| format!("{} cannot be resolved", path.display()))?;
        let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        let mut policy = BatchPolicy::default();
        if let Some(records) = file.ingest.batch_records {
            policy.max_records = records;
        }
        if let Some(bytes) = file.ingest.batch_bytes {
            policy.max_bytes = bytes;
        }
        if let Some(seconds) = file.ingest.batch_seconds {
            policy.max_age = Duration::from_secs(seconds);
        }
        if policy.max_records == 0
            || policy.max_records > 1_000_000
            || policy.max_bytes == 0
            || policy.max_bytes > 512 << 20
        {
            bail!(
                "{}: ingest.batch_records must be 1 to 1000000 and ingest.batch_bytes 1 to 536870912",
                path.display()
            );
        }
        let mut properties = BTreeMap::new();
        for (name, value) in file.kafka.properties {
            properties.insert(name, secret(value)?);
        }
        let registry = match file.registry.url {
            Some(url) => Some(RegistryConfig {
                url,
                username: file.registry.username.map(secret).transpose()?,
                password: file.registry.password.map(secret).transpose()?,
            }),
            None => None,
        };
        let mut schemas = BTreeMap::new();
        for (id, schema) in file.schemas {
            let id = id.parse().with_context(|| {
                format!("{}: [schemas] {id:?} is not a schema id; write `7 = \"file.avsc\"`", path.display())
            })?;
            schemas.insert(id, folder.join(schema));
        }
        let place = |path: PathBuf| Location::on_disk(&folder.join(path));
        let signer = |signer: SignerSection| -> anyhow::Result<SignerSettings> {
            Ok(SignerSettings { key: place(signer.key)?, state: place(signer.state)? })
        };
        Ok(Self {
            ledger: place(file.ledger.path.unwrap_or_else(|| "ledger".into()))?,
            runs: place(file.runs.path.unwrap_or_else(|| "runs".into()))?,
            policy,
            classify: file.ingest.classify.unwrap_or_default(),
            kafka: KafkaSettings { brokers: file.kafka.brokers, topic: file.kafka.topic, properties },
            registry,
            schemas,
            metrics: file.metrics.listen,
            signer: file.signer.map(signer).transpose()?,
        })
    }
}

/// `env:NAME` is the value of that environment variable; anything else is itself.
#[expect(
    clippy::disallowed_methods,
    reason = "secrets come from the environment, and this is where the environment is read"
)]
fn secret(value: String) -> anyhow::Result<String> {
    match value.strip_prefix("env:") {
        Some(name) => std::env::var(name).with_context(|| {
            format!("the configuration takes a value from the environment variable {name}, which is not set")
        }),
        None => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_a_valid_configuration() {
        let file: File = toml::from_str(TEMPLATE).expect("the template is read");
        assert_eq!(file.ledger.path.as_deref(), Some(Path::new("ledger")));
        // An example that is commented out must be valid too when somebody takes the `#` away.
        let uncommented: String = TEMPLATE
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n");
        let file: File =
            toml::from_str(&uncommented).expect("the template is read with every example in force");
        assert_eq!(file.kafka.topic.as_deref(), Some("usage"));
        assert_eq!(file.schemas.len(), 1);
        assert_eq!(file.metrics.listen.as_deref(), Some("127.0.0.1:9464"));
        assert!(file.signer.is_some());
    }
}
