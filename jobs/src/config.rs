//! `atcost.toml`: every setting, read once, checked, and explained where it is written.
//!
//! Paths in it are relative to the file, those in properties of Kafka too. A key it does not know is
//! an error, because a misspelt setting is worse than none; so is a value that cannot work, or that
//! changes nothing.

use anyhow::{Context as _, anyhow, bail};
use ingest::kafka::KafkaConfig;
use ingest::schema::registry::RegistryConfig;
use ingest::source::BatchPolicy;
use ledger::Location;
use rating::usage::DEFAULT_MEMORY;
use schemas::boundary::guarded;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// The file that `atcost init` writes.
pub const TEMPLATE: &str = include_str!("atcost.toml");

/// The configuration that is read unless another is given.
pub const DEFAULT_FILE: &str = "atcost.toml";

/// The properties of librdkafka whose values are files.
const FILE_PROPERTIES: &[&str] = &[
    "https.ca.location",
    "sasl.kerberos.keytab",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.crl.location",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.keystore.location",
];
/// The bytes that may be said for rating.
const MEMORY: RangeInclusive<u64> = 64 << 20..=1 << 40;
/// Tells librdkafka to look for the certificates of the system.
const PROBE: &str = "probe";

/// The configuration, with paths resolved and secrets filled in where they are set.
#[derive(Debug, Clone)]
pub struct Config {
    /// How this program is called with this configuration: `atcost`, and the file where it is not
    /// the one that is taken without a word.
    pub program: String,
    pub ledger: Location,
    pub runs: Location,
    /// The bytes that rating's plans take before they spill to disk.
    pub memory: usize,
    pub policy: BatchPolicy,
    /// Whether ingest says which rows repeat an id.
    pub classify: bool,
    pub kafka: KafkaSettings,
    pub registry: RegistrySettings,
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
#[derive(Clone, Default)]
pub struct KafkaSettings {
    pub brokers: Option<String>,
    pub topic: Option<String>,
    pub properties: BTreeMap<String, String>,
    program: String,
    /// The refusal of a property whose value is not in the environment.
    missing: Option<String>,
}

/// The registry, for the verbs that ask it.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    registry: Option<RegistryConfig>,
    /// The refusal of a name or password that is not in the environment.
    missing: Option<String>,
}

impl RegistrySettings {
    /// The registry, if one is configured.
    ///
    /// # Errors
    /// When its name or password is to be taken from the environment and is not there.
    pub fn given(&self) -> anyhow::Result<Option<&RegistryConfig>> {
        present(self.missing.as_ref())?;
        Ok(self.registry.as_ref())
    }
}

/// Refuses what lacks a secret, where it is used: other verbs do not need it.
fn present(missing: Option<&String>) -> anyhow::Result<()> {
    missing.map_or(Ok(()), |refusal| bail!("{refusal}"))
}

/// Without the values of properties, any of which may be a secret.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KafkaSettings")
            .field("properties", &self.properties.keys())
            .finish_non_exhaustive()
    }
}

impl KafkaSettings {
    /// Brokers and topic, the command line first.
    ///
    /// # Errors
    /// When either is said nowhere, or a property names a file or a variable of the environment that
    /// is not there.
    pub fn with(&self, brokers: Option<&str>, topic: Option<&str>) -> anyhow::Result<KafkaConfig> {
        let pick = |given: Option<&str>, configured: &Option<String>, name: &str| {
            given
                .map(str::to_owned)
                .or_else(|| configured.clone())
                .with_context(|| format!("no {name}: give --{name}, or set kafka.{name} in atcost.toml"))
        };
        present(self.missing.as_ref())?;
        for (name, value) in &self.properties {
            let is_file = FILE_PROPERTIES.contains(&name.as_str()) && !value.is_empty() && value != PROBE;
            if is_file && !Path::new(value).exists() {
                bail!(
                    "kafka property {name}: {value} is not there; a path that does not begin with / is relative to the configuration"
                );
            }
        }
        Ok(KafkaConfig {
            program: self.program.clone(),
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
    rating: RatingSection,
    #[serde(default)]
    ingest: IngestSection,
    #[serde(default)]
    kafka: KafkaSection,
    #[serde(default)]
    registry: RegistrySection,
    #[serde(default)]
    schemas: BTreeMap<String, Spanned<PathBuf>>,
    #[serde(default)]
    metrics: MetricsSection,
    signer: Option<SignerSection>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PathSection {
    path: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RatingSection {
    memory: Option<Spanned<Size>>,
}

/// A number of bytes, written as one or with a unit.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a number of bytes, like 1073741824 or \"1 GiB\"")]
enum Size {
    Bytes(i64),
    Text(String),
}

impl Size {
    /// The bytes; `None` where it is not written like a size.
    fn bytes(&self) -> Option<u64> {
        const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("B", 0)];
        match self {
            Self::Bytes(bytes) => u64::try_from(*bytes).ok(),
            Self::Text(text) => {
                let (number, shift) = UNITS
                    .iter()
                    .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim_end(), *shift)))?;
                let digits = number.bytes().all(|byte| byte.is_ascii_digit());
                number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(1 << shift)
            }
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(formatter, "{bytes}"),
            Self::Text(text) => write!(formatter, "{text:?}"),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct IngestSection {
    batch_records: Option<Spanned<i64>>,
    batch_bytes: Option<Spanned<i64>>,
    batch_seconds: Option<Spanned<i64>>,
    classify: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct KafkaSection {
    brokers: Option<Spanned<String>>,
    topic: Option<Spanned<String>>,
    #[serde(default)]
    properties: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RegistrySection {
    url: Option<Spanned<String>>,
    username: Option<Spanned<String>>,
    password: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct MetricsSection {
    listen: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignerSection {
    key: Spanned<PathBuf>,
    state: Spanned<PathBuf>,
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is missing, is not TOML, or has a key that is unknown or a value that cannot work.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("{} cannot be read; `atcost init` makes one, or say --config FILE", path.display())
        })?;
        // Some editors begin every file with a byte order mark.
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
        let file = guarded(|| toml::from_str::<File>(text))
            .with_context(|| format!("{} cannot be read", path.display()))?
            .map_err(|error| {
                anyhow!("{} is not a valid configuration: {}", path.display(), fault(text, &error))
            })?;
        let absolute =
            std::path::absolute(path).with_context(|| format!("{} cannot be resolved", path.display()))?;
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        Source { path, text, folder }.config(file)
    }
}

/// The file that settings are read from, to say where one stands.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    folder: &'a Path,
}

/// The kind of thing that has to be at a path, if anything is there yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    File,
    Folder,
}

impl Source<'_> {
    /// The refusal of what stands at `span`.
    fn refuse(&self, span: &Range<usize>, what: &str) -> anyhow::Error {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        anyhow!("{}:{line}: {what}", self.path.display())
    }

    fn program(&self) -> String {
        if self.path == Path::new(DEFAULT_FILE) {
            return "atcost".to_owned();
        }
        let path = self.path.display().to_string();
        let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-+@%:,".contains(character);
        match path.chars().all(is_plain) {
            true => format!("atcost --config {path}"),
            false => format!("atcost --config '{}'", path.replace('\'', r"'\''")),
        }
    }

    fn config(&self, file: File) -> anyhow::Result<Config> {
        let ledger = self.folder("ledger.path", file.ledger.path, "ledger")?;
        let runs = self.folder("runs.path", file.runs.path, "runs")?;
        if ledger.starts_with(&runs) {
            bail!(
                "{}: ledger.path is {} and runs.path is {}: runs may be deleted at any time, so the ledger cannot be there; give each a folder of its own",
                self.path.display(),
                ledger.display(),
                runs.display()
            );
        }
        let schemas = self.schemas(file.schemas, file.registry.url.is_some())?;
        Ok(Config {
            program: self.program(),
            ledger: Location::on_disk(&ledger)?,
            runs: Location::on_disk(&runs)?,
            memory: self.memory(file.rating)?,
            policy: self.policy(&file.ingest)?,
            classify: file.ingest.classify.unwrap_or_default(),
            kafka: self.kafka(file.kafka)?,
            registry: self.registry(file.registry)?,
            schemas,
            metrics: file.metrics.listen.map(|listen| self.listen(listen)).transpose()?,
            signer: file.signer.map(|signer| self.signer(signer)).transpose()?,
        })
    }

    fn memory(&self, rating: RatingSection) -> anyhow::Result<usize> {
        let Some(memory) = rating.memory else { return Ok(DEFAULT_MEMORY) };
        let bytes = memory.get_ref().bytes().filter(|bytes| MEMORY.contains(bytes));
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| {
            let what = format!(
                "rating.memory is {}; it must be a size from 64 MiB to 1024 GiB, like \"1 GiB\" or a number of bytes",
                memory.get_ref()
            );
            self.refuse(&memory.span(), &what)
        })
    }

    fn policy(&self, ingest: &IngestSection) -> anyhow::Result<BatchPolicy> {
        let mut policy = BatchPolicy::default();
        let within = |name, value: &Option<Spanned<i64>>, range: RangeInclusive<u32>| match value {
            None => Ok(None),
            Some(value) => match u32::try_from(*value.get_ref()).ok().filter(|value| range.contains(value)) {
                Some(value) => Ok(Some(value)),
                None => Err(self.refuse(
                    &value.span(),
                    &format!(
                        "ingest.{name} is {}; it must be {} to {}",
                        value.get_ref(),
                        range.start(),
                        range.end()
                    ),
                )),
            },
        };
        if let Some(records) = within("batch_records", &ingest.batch_records, 1..=1_000_000)? {
            policy.max_records = usize::try_from(records).expect("32 bits fit");
        }
        if let Some(bytes) = within("batch_bytes", &ingest.batch_bytes, 1..=512 << 20)? {
            policy.max_bytes = usize::try_from(bytes).expect("32 bits fit");
        }
        if let Some(seconds) = within("batch_seconds", &ingest.batch_seconds, 1..=3600)? {
            policy.max_age = Duration::from_secs(u64::from(seconds));
        }
        Ok(policy)
    }

    fn kafka(&self, kafka: KafkaSection) -> anyhow::Result<KafkaSettings> {
        if let Some(brokers) = &kafka.brokers
            && !brokers.get_ref().contains('@')
            && !brokers.get_ref().split(',').all(is_broker)
        {
            let what = format!(
                "kafka.brokers is {:?}; it must be HOST:PORT, several with commas between them",
                brokers.get_ref()
            );
            return Err(self.refuse(&brokers.span(), &what));
        }
        if let Some(topic) = &kafka.topic
            && !is_topic(topic.get_ref())
        {
            let what = format!(
                "kafka.topic is {:?}; a topic's name has letters, digits, dots, underscores and hyphens, at most 249",
                topic.get_ref()
            );
            return Err(self.refuse(&topic.span(), &what));
        }
        let (mut properties, mut missing) = (BTreeMap::new(), None);
        for (name, value) in kafka.properties {
            let Some(mut value) = self.secret(value, &mut missing) else { continue };
            if FILE_PROPERTIES.contains(&name.as_str()) && !value.is_empty() && value != PROBE {
                let path = self.folder.join(&value);
                value = path
                    .into_os_string()
                    .into_string()
                    .map_err(|path| anyhow!("kafka property {name}: {path:?} is not UTF-8"))?;
            }
            properties.insert(name, value);
        }
        let plain = |setting: Option<Spanned<String>>| setting.map(Spanned::into_inner);
        let (brokers, topic, program) = (plain(kafka.brokers), plain(kafka.topic), self.program());
        Ok(KafkaSettings { brokers, topic, properties, program, missing })
    }

    fn registry(&self, registry: RegistrySection) -> anyhow::Result<RegistrySettings> {
        let RegistrySection { url, username, password } = registry;
        match (&url, &username, &password) {
            (None, Some(set), _) | (None, None, Some(set)) => Err(self.refuse(
                &set.span(),
                "a name or a password for the schema registry has no effect without registry.url",
            )),
            (Some(_), None, Some(password)) => {
                Err(self.refuse(&password.span(), "registry.password is set, but registry.username is not"))
            }
            // One with a user name in it is refused where it is used, without being shown.
            (Some(url), ..) if !url.get_ref().contains('@') && !is_web_address(url.get_ref()) => Err(self.refuse(
                &url.span(),
                &format!(
                    "registry.url is {:?}; it must begin with http:// or https://, and a host must follow",
                    url.get_ref()
                ),
            )),
            _ => {
                let mut missing = None;
                let username = username.and_then(|value| self.secret(value, &mut missing));
                let password = password.and_then(|value| self.secret(value, &mut missing));
                let registry = url.map(|url| RegistryConfig { url: url.into_inner(), username, password });
                Ok(RegistrySettings { registry, missing })
            }
        }
    }

    fn schemas(
        &self,
        named: BTreeMap<String, Spanned<PathBuf>>,
        asks_a_registry: bool,
    ) -> anyhow::Result<BTreeMap<u32, PathBuf>> {
        let mut schemas = BTreeMap::new();
        for (id, schema) in named {
            if asks_a_registry {
                return Err(self.refuse(
                    &schema.span(),
                    "[schemas] and registry.url exclude each other: a registry that is configured is asked for every id; remove one of the two",
                ));
            }
            // An id has one way to be written, or two lines could say it.
            let number = id.parse::<u32>().ok().filter(|number| number.to_string() == id);
            let number = number.ok_or_else(|| {
                let what = format!("[schemas] {id:?} is not a schema id; write `7 = \"file.avsc\"`");
                self.refuse(&schema.span(), &what)
            })?;
            schemas.insert(number, self.path("a file of [schemas]", &schema, Is::File)?);
        }
        Ok(schemas)
    }

    fn listen(&self, listen: Spanned<String>) -> anyhow::Result<String> {
        if is_address(listen.get_ref()) {
            return Ok(listen.into_inner());
        }
        let what = match listen.get_ref().contains('@') {
            true => "metrics.listen has a user name or password in it; it must be HOST:PORT, like 127.0.0.1:9464, and nobody is asked for either".to_owned(),
            false => {
                format!("metrics.listen is {:?}; it must be HOST:PORT, like 127.0.0.1:9464", listen.get_ref())
            }
        };
        Err(self.refuse(&listen.span(), &what))
    }

    fn signer(&self, signer: SignerSection) -> anyhow::Result<SignerSettings> {
        let key = self.path("signer.key", &signer.key, Is::File)?;
        let state = self.path("signer.state", &signer.state, Is::Folder)?;
        if key == state {
            let what = "signer.key is a file and signer.state a folder; they cannot be the same";
            return Err(self.refuse(&signer.state.span(), what));
        }
        Ok(SignerSettings { key: Location::on_disk(&key)?, state: Location::on_disk(&state)? })
    }

    fn folder(&self, name: &str, given: Option<Spanned<PathBuf>>, default: &str) -> anyhow::Result<PathBuf> {
        match given {
            Some(given) => self.path(name, &given, Is::Folder),
            None => Ok(self.folder.join(default)),
        }
    }

    /// A path relative to the file, where nothing is yet or what has to be there.
    fn path(&self, name: &str, given: &Spanned<PathBuf>, is: Is) -> anyhow::Result<PathBuf> {
        if given.get_ref().as_os_str().is_empty() {
            return Err(self.refuse(&given.span(), &format!("{name} is empty; it must be a path")));
        }
        let path = self.folder.join(given.get_ref());
        let wrong = match is {
            Is::File if path.is_dir() => "a folder, and must be a file",
            Is::Folder if path.exists() && !path.is_dir() => "a file, and must be a folder",
            Is::File | Is::Folder => return Ok(path),
        };
        Err(self.refuse(&given.span(), &format!("{name}: {} is {wrong}", path.display())))
    }

    /// `env:NAME` is the value of that environment variable; anything else is itself. Where it is not
    /// set, the first refusal is `missing`.
    #[expect(
        clippy::disallowed_methods,
        reason = "secrets come from the environment, and this is where the environment is read"
    )]
    fn secret(&self, value: Spanned<String>, missing: &mut Option<String>) -> Option<String> {
        let Some(name) = value.get_ref().strip_prefix("env:") else { return Some(value.into_inner()) };
        let found = std::env::var(name).ok();
        if found.is_none() && missing.is_none() {
            let what = format!(
                "the value is taken from the environment variable {name:?}, which is not set to a text"
            );
            *missing = Some(self.refuse(&value.span(), &what).to_string());
        }
        found
    }
}

/// Whether a text is `HOST:PORT`, as one can listen there; whether this machine has the host is seen
/// when it is tried.
fn is_address(text: &str) -> bool {
    let bare = |host: &str| host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::to_owned);
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let host_is_right = match bare(host) {
            Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host(host),
        };
        host_is_right && is_port(port)
    })
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// As librdkafka takes one: a protocol may stand before it, and the port may be left out.
fn is_broker(text: &str) -> bool {
    let text = text.trim();
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    is_host(address) || (is_address(address) && !address.ends_with(":0"))
}

fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len()) && is_host(name) && name != "." && name != ".."
}

fn is_web_address(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.trim_start_matches('/').is_empty() && !rest.contains(char::is_whitespace))
}

/// The place and the fault, without the line itself and without any value of it, which may be a
/// secret.
fn fault(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let place = before.map_or_else(String::new, |before| {
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        format!("line {line}, column {column}: ")
    });
    let message = error.message();
    let wrong_value =
        ["invalid type: ", "invalid value: ", "invalid length "].iter().any(|kind| message.starts_with(kind));
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if wrong_value => format!("{place}the value is not {expected}"),
        _ => format!("{place}{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_fault(text: &str, expected: &str) {
        let error = toml::from_str::<File>(text).map(drop).expect_err("a fault");
        assert_eq!(fault(text, &error), expected);
    }

    #[test]
    fn a_fault_is_told_without_the_line_it_is_in() {
        check_fault(
            "[registry]\npasswort = \"hunter2\"\n",
            "line 2, column 1: unknown field `passwort`, expected one of `url`, `username`, `password`",
        );
        check_fault(
            "[registry]\nurl = \"http://r\"\npassword = 4711\n",
            "line 3, column 12: the value is not a string",
        );
        check_fault("[ingest]\nbatch_records = \"hunter2\"\n", "line 2, column 17: the value is not i64");
    }

    #[test]
    fn the_template_is_a_valid_configuration() {
        let path = |section: &PathSection| section.path.as_ref().map(|path| path.get_ref().clone());
        let text = |setting: Option<Spanned<String>>| setting.map(Spanned::into_inner);
        let file: File = toml::from_str(TEMPLATE).expect("the template is read");
        assert_eq!(path(&file.ledger).as_deref(), Some(Path::new("ledger")));
        // An example that is commented out must be valid too when somebody takes the `#` away.
        let uncommented: String = TEMPLATE
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n");
        let file: File =
            toml::from_str(&uncommented).expect("the template is read with every example in force");
        assert_eq!(text(file.kafka.topic).as_deref(), Some("usage"));
        assert_eq!(file.schemas.len(), 1);
        assert_eq!(text(file.metrics.listen).as_deref(), Some("127.0.0.1:9464"));
        assert!(file.signer.is_some());
    }

    /// The configuration of a text in a folder that has a file `file` and a folder `folder`.
    fn load(text: &str) -> (tempfile::TempDir, Result<Config, String>) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("folder")).expect("a folder");
        std::fs::write(folder.path().join("file"), "").expect("a file");
        let path = folder.path().join("atcost.toml");
        std::fs::write(&path, text).expect("the configuration");
        let loaded = Config::load(&path).map_err(|error| format!("{error:#}"));
        (folder, loaded)
    }

    #[test]
    fn a_setting_that_cannot_work_is_refused_where_it_stands() {
        for (text, line, said) in [
            ("[ingest]\nbatch_seconds = 0", 2, "batch_seconds is 0; it must be 1 to 3600"),
            ("[ingest]\nbatch_seconds = 9223372036854775807", 2, "it must be 1 to 3600"),
            ("[ingest]\n\nbatch_records = 0", 3, "batch_records is 0; it must be 1 to 1000000"),
            ("[ingest]\nbatch_records = -1", 2, "batch_records is -1"),
            ("[ingest]\nbatch_bytes = 536870913", 2, "it must be 1 to 536870912"),
            ("[ledger]\npath = \"file\"", 2, "file is a file, and must be a folder"),
            ("[ledger]\npath = \"\"", 2, "ledger.path is empty"),
            ("[runs]\npath = \"file\"", 2, "must be a folder"),
            ("[rating]\nmemory = \"1 GB\"", 2, "memory is \"1 GB\"; it must be a size"),
            ("[rating]\nmemory = \"+1 GiB\"", 2, "it must be a size"),
            ("[rating]\nmemory = \"63 MiB\"", 2, "from 64 MiB"),
            ("[rating]\nmemory = -1", 2, "memory is -1"),
            ("[rating]\nmemory = \"99999999999999999999 GiB\"", 2, "it must be a size"),
            ("[metrics]\nlisten = \"9464\"", 2, "it must be HOST:PORT"),
            ("[metrics]\nlisten = \"127.0.0.1:70000\"", 2, "it must be HOST:PORT"),
            ("[metrics]\nlisten = \"user:hunter2@127.0.0.1:9464\"", 2, "has a user name or password in it"),
            ("[metrics]\nlisten = \"http://127.0.0.1:9464\"", 2, "it must be HOST:PORT"),
            ("[kafka]\nbrokers = \"\"", 2, "kafka.brokers"),
            ("[kafka]\nbrokers = \"one:9092,,two:9092\"", 2, "kafka.brokers"),
            ("[kafka]\nbrokers = \"one:port\"", 2, "kafka.brokers"),
            ("[kafka]\ntopic = \"usage events\"", 2, "kafka.topic"),
            ("[registry]\nurl = \"registry:8081\"", 2, "http://"),
            ("[registry]\nusername = \"a\"", 2, "without registry.url"),
            ("[registry]\nurl = \"http://r\"\npassword = \"a\"", 3, "registry.username is not"),
            ("[registry]\nurl = \"http://r\"\n[schemas]\n7 = \"file\"", 4, "exclude each other"),
            ("[schemas]\n07 = \"file\"", 2, "is not a schema id"),
            ("[schemas]\n7 = \"folder\"", 2, "must be a file"),
            ("[signer]\nkey = \"folder\"\nstate = \"s\"", 2, "must be a file"),
            ("[signer]\nkey = \"k\"\nstate = \"file\"", 3, "must be a folder"),
            ("[signer]\nkey = \"k\"\nstate = \"k\"", 3, "cannot be the same"),
        ] {
            let (_folder, loaded) = load(text);
            let refused = loaded.err().unwrap_or_else(|| panic!("{text:?} is taken"));
            assert!(
                refused.contains(&format!("atcost.toml:{line}: "))
                    && refused.contains(said)
                    && !refused.contains("hunter2"),
                "{refused}"
            );
        }
        let (_folder, loaded) = load("[ledger]\npath = \"runs/ledger\"");
        assert!(loaded.expect_err("it is refused").contains("a folder of its own"));
        let (_folder, loaded) = load("[ingest]\nbatch_second = 5");
        assert!(loaded.expect_err("it is refused").contains("batch_second"));
    }

    #[test]
    fn a_secret_that_is_not_set_is_missed_where_it_is_used() {
        let (_folder, loaded) = load(
            "[kafka]\nbrokers = \"one:9092\"\ntopic = \"usage\"\n[kafka.properties]\n\"sasl.username\" = \"env:ATCOST_NOT_SET\"\n\"ssl.key.location\" = \"env:ATCOST_NOT_SET_EITHER\"\n[registry]\nurl = \"http://r\"\nusername = \"a\"\npassword = \"env:ATCOST_NOT_SET\"",
        );
        let config = loaded.expect("a configuration");
        for (line, refused) in [(5, config.kafka.with(None, None).err()), (10, config.registry.given().err())]
        {
            let refused = refused.expect("it is refused").to_string();
            assert!(
                refused.contains(&format!("atcost.toml:{line}: ")) && refused.contains("\"ATCOST_NOT_SET\""),
                "{refused}"
            );
        }
    }

    #[test]
    fn memory_is_said_in_bytes_or_with_a_unit() {
        for (text, bytes) in [
            ("", 1 << 30),
            ("[rating]\nmemory = 268435456", 256 << 20),
            ("[rating]\nmemory = \"256 MiB\"", 256 << 20),
            ("[rating]\nmemory = \"65536KiB\"", 64 << 20),
            ("[rating]\nmemory = \"134217728 B\"", 128 << 20),
            ("[rating]\nmemory = \"2 GiB\"", 2 << 30),
        ] {
            let (_folder, loaded) = load(text);
            assert_eq!(loaded.expect("a configuration").memory, bytes, "{text}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_configuration_those_of_kafka_too() {
        let (folder, loaded) = load(
            "[ingest]\nbatch_seconds = 3600\n[kafka]\nbrokers = \"SSL://one:9093, [::1]:9092,two\"\ntopic = \"usage\"\n[kafka.properties]\n\"ssl.ca.location\" = \"file\"\n\"ssl.key.location\" = \"gone.pem\"\n\"https.ca.location\" = \"probe\"\n[metrics]\nlisten = \"[::1]:0\"\n[schemas]\n7 = \"file\"",
        );
        let mut config = loaded.expect("a configuration");
        let at = |name: &str| folder.path().join(name);
        assert_eq!(config.ledger.disk_path(), Some(at("ledger").as_path()));
        assert_eq!(config.schemas.get(&7), Some(&at("file")));
        let kafka = &mut config.kafka;
        assert_eq!(kafka.properties.get("ssl.ca.location").map(String::as_str), at("file").to_str());
        assert_eq!(kafka.properties.get("https.ca.location").map(String::as_str), Some("probe"));
        let refused = kafka.with(None, None).expect_err("a key that is not there").to_string();
        assert!(refused.contains("ssl.key.location") && refused.contains("gone.pem"), "{refused}");
        kafka.properties.remove("ssl.key.location");
        assert!(kafka.with(None, None).is_ok());
    }
}
