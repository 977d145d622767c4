//! Schema ids: what the number in Confluent's framing means, from a Confluent-compatible registry
//! or from a table in the config.
//!
//! Only ids go out to the registry, and only to the one configured address: no redirects, no
//! address from a record. An id never changes its meaning, so a schema is kept for the life of the
//! process; that an id is unknown is believed for a minute.
//!
//! Invariant: a record is refused only when the registry itself says that it does not know the id.
//! A registry that does not answer, or answers nonsense, is waited for.

use super::WriterSchema;
use crate::IngestError;
use crate::stop::Stop;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long an id stays unknown before the registry is asked again.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
const MAX_ANSWER_BYTES: u64 = 4 << 20;
/// A schema may name others that name others; more than this is no schema of a usage event.
const MAX_REFERENCES: usize = 64;
/// The registry's own code for "schema not found".
const SCHEMA_NOT_FOUND: u32 = 40403;

pub trait SchemaLookup: Send {
    /// The schema of that id; `None` when there is certainly none.
    ///
    /// # Errors
    /// [`IngestError::Stopped`] when a stop is asked for while waiting for an answer.
    fn by_id(&mut self, id: u32, stop: &Stop) -> Result<Option<Arc<WriterSchema>>, IngestError>;

    /// The one that was asked, for a sentence.
    fn name(&self) -> String;
}

/// Schema ids and the schemas they stand for, known beforehand.
#[derive(Debug, Default)]
pub struct SchemaTable {
    schemas: BTreeMap<u32, Arc<WriterSchema>>,
}

impl SchemaTable {
    /// Reads the files of a table of ids.
    ///
    /// # Errors
    /// A file that cannot be read, is no schema, or cannot be resolved to `usage_event.v1`; found
    /// at start rather than by the first record.
    pub fn read(files: &BTreeMap<u32, PathBuf>) -> Result<Self, IngestError> {
        let mut schemas = BTreeMap::new();
        for (id, path) in files {
            let shown = path.display();
            let text = std::fs::read_to_string(path).map_err(|error| {
                IngestError::Invalid(format!("schema {id}: cannot read {shown}: {error}"))
            })?;
            let schema = WriterSchema::parse(&text, &[]);
            if let Some(problem) = schema.problem() {
                return Err(IngestError::Invalid(format!("schema {id}: {shown}: {problem}")));
            }
            schemas.insert(*id, Arc::new(schema));
        }
        Ok(Self { schemas })
    }

    pub fn schemas(&self) -> impl Iterator<Item = Arc<WriterSchema>> {
        self.schemas.values().cloned()
    }
}

impl SchemaLookup for SchemaTable {
    fn by_id(&mut self, id: u32, _stop: &Stop) -> Result<Option<Arc<WriterSchema>>, IngestError> {
        Ok(self.schemas.get(&id).cloned())
    }

    fn name(&self) -> String {
        if self.schemas.is_empty() {
            "this configuration, which has neither a registry.url nor a table of schemas".to_owned()
        } else {
            "the table of schemas in the configuration".to_owned()
        }
    }
}

#[derive(Debug, Clone)]
pub struct RegistryConfig {
    pub url: String,
    pub username: Option<String>,
    pub password: Option<String>,
}

/// A Confluent-compatible schema registry.
pub struct Registry {
    agent: ureq::Agent,
    url: String,
    authorization: Option<String>,
    known: HashMap<u32, Arc<WriterSchema>>,
    unknown: HashMap<u32, Instant>,
}

#[derive(Deserialize)]
struct SchemaAnswer {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: u32,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error_code: u32,
}

/// Why there is no answer yet, as a sentence.
struct NoAnswer(String);

impl Registry {
    /// Checks the address; asks nothing yet.
    ///
    /// # Errors
    /// An address that is not `http://` or `https://`, or a password without a user name.
    pub fn new(config: &RegistryConfig) -> Result<Self, IngestError> {
        let url = config.url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(IngestError::Invalid(format!(
                "registry.url is {url:?}; it must begin with http:// or https://"
            )));
        }
        let authorization = match (&config.username, &config.password) {
            (None, None) => None,
            (Some(username), password) => Some(format!(
                "Basic {}",
                STANDARD.encode(format!("{username}:{}", password.as_deref().unwrap_or_default()))
            )),
            (None, Some(_)) => {
                return Err(IngestError::Invalid(
                    "registry.password is set, but registry.username is not".to_owned(),
                ));
            }
        };
        let agent = ureq::Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_secs(15)))
            .build()
            .new_agent();
        Ok(Self { agent, url, authorization, known: HashMap::new(), unknown: HashMap::new() })
    }

    /// One question, one answer: `Ok(None)` is the registry saying that it does not know the id.
    fn ask(&self, id: u32) -> Result<Option<WriterSchema>, NoAnswer> {
        let Some(answer) = self.get(&format!("/schemas/ids/{id}"))? else { return Ok(None) };
        if let Some(kind) = answer.schema_type.as_deref().filter(|kind| *kind != "AVRO") {
            return Ok(Some(WriterSchema::unusable(format!(
                "schema id {id} is a {kind} schema, not an Avro schema"
            ))));
        }
        let mut references = Vec::new();
        let mut asked = Vec::new();
        let mut to_ask = answer.references;
        while let Some(Reference { subject, version }) = to_ask.pop() {
            let path = format!("/subjects/{}/versions/{version}", path_segment(&subject));
            if asked.contains(&path) {
                continue;
            }
            if asked.len() == MAX_REFERENCES {
                return Ok(Some(WriterSchema::unusable(format!(
                    "schema id {id} refers to more than {MAX_REFERENCES} others"
                ))));
            }
            let Some(answer) = self.get(&path)? else {
                return Err(NoAnswer(format!(
                    "schema id {id} refers to {subject} version {version}, which the registry does not know"
                )));
            };
            references.push(answer.schema);
            to_ask.extend(answer.references);
            asked.push(path);
        }
        Ok(Some(WriterSchema::parse(&answer.schema, &references)))
    }

    fn get(&self, path: &str) -> Result<Option<SchemaAnswer>, NoAnswer> {
        let url = format!("{}{path}", self.url);
        let mut request =
            self.agent.get(&url).header("accept", "application/vnd.schemaregistry.v1+json, application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.call().map_err(|error| NoAnswer(format!("{url}: {error}")))?;
        let status = response.status().as_u16();
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()
            .map_err(|error| NoAnswer(format!("{url}: {error}")))?;
        match status {
            200 => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| NoAnswer(format!("{url}: the answer is not a schema: {error}"))),
            // Any server says 404 for a wrong path. Only the registry's own code, or no body at
            // all, is taken for "no such schema".
            404 if body.is_empty()
                || serde_json::from_slice(&body)
                    .is_ok_and(|answer: ErrorAnswer| answer.error_code == SCHEMA_NOT_FOUND) =>
            {
                Ok(None)
            }
            404 => Err(NoAnswer(format!(
                "{url}: status 404 without the registry's error_code {SCHEMA_NOT_FOUND}; is registry.url right?"
            ))),
            401 | 403 => {
                Err(NoAnswer(format!("{url}: status {status}: set registry.username and registry.password")))
            }
            _ => Err(NoAnswer(format!("{url}: status {status}"))),
        }
    }
}

impl SchemaLookup for Registry {
    fn by_id(&mut self, id: u32, stop: &Stop) -> Result<Option<Arc<WriterSchema>>, IngestError> {
        if let Some(known) = self.known.get(&id) {
            return Ok(Some(known.clone()));
        }
        self.unknown.retain(|_, asked_at| asked_at.elapsed() < UNKNOWN_FOR);
        if self.unknown.contains_key(&id) {
            return Ok(None);
        }
        let mut wait = FIRST_WAIT;
        let schema = loop {
            match self.ask(id) {
                Ok(Some(schema)) => break Arc::new(schema),
                Ok(None) => {
                    self.unknown.insert(id, Instant::now());
                    return Ok(None);
                }
                Err(NoAnswer(why)) => {
                    tracing::warn!(
                        event = "registry.waiting",
                        "waiting for the schema registry, asking again in {wait:?}: {why}"
                    );
                    stop.sleep(wait)?;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        };
        if let Some(problem) = schema.problem() {
            tracing::warn!(
                event = "registry.unusable",
                id,
                "schema id {id}: {problem}; its records are rejected"
            );
        }
        self.known.insert(id, schema.clone());
        Ok(Some(schema))
    }

    fn name(&self) -> String {
        format!("the schema registry at {}", self.url)
    }
}

/// Percent-encodes what may not stand in a segment of a path (RFC 3986, section 3.3).
fn path_segment(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    const NOT_FOUND: &str = r#"{"error_code":40403,"message":"Schema not found"}"#;

    /// A registry that gives these answers, one after the other, and then says what it was asked.
    fn server(answers: Vec<(u16, String)>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let asked = std::thread::spawn(move || {
            let answer = |(status, body): (u16, String)| {
                let (connection, _) = listener.accept().expect("a connection");
                let mut reader = BufReader::new(connection);
                let mut request = String::new();
                while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).expect("a request") > 0
                {
                }
                let head = format!(
                    "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                reader.into_inner().write_all((head + &body).as_bytes()).expect("the client listens");
                request
            };
            answers.into_iter().map(answer).collect()
        });
        (url, asked)
    }

    fn registry(url: String) -> Registry {
        Registry::new(&RegistryConfig {
            url,
            username: Some("user".to_owned()),
            password: Some("secret".to_owned()),
        })
        .expect("a configuration")
    }

    fn ours() -> String {
        serde_json::json!({ "schema": schemas::USAGE_EVENT_V1_AVSC }).to_string()
    }

    #[test]
    fn an_id_is_asked_for_once() {
        let (url, asked) = server(vec![(200, ours()), (404, NOT_FOUND.to_owned())]);
        let mut registry = registry(url);
        for _ in 0..3 {
            assert!(
                registry
                    .by_id(7, &Stop::default())
                    .expect("an answer")
                    .is_some_and(|schema| schema.problem().is_none())
            );
            assert!(registry.by_id(8, &Stop::default()).expect("an answer").is_none());
        }
        let asked = asked.join().expect("the server ends");
        assert!(asked[0].starts_with("GET /schemas/ids/7 HTTP/1.1\r\n"), "{}", asked[0]);
        assert!(
            asked[0].to_lowercase().contains("authorization: basic dxnlcjpzzwnyzxq=\r\n"),
            "{}",
            asked[0]
        );
        assert_eq!(asked.len(), 2);
    }

    #[test]
    fn whatever_is_no_answer_is_waited_for() {
        let wrong_path = r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#.to_owned();
        let answers = [
            (500, String::new()),
            (302, String::new()),
            (200, "{}".to_owned()),
            (404, "<html>".to_owned()),
            (404, wrong_path),
            (200, ours()),
        ];
        for first in 0..answers.len() - 1 {
            let (url, asked) = server(vec![answers[first].clone(), answers[5].clone()]);
            assert!(registry(url).by_id(7, &Stop::default()).expect("an answer").is_some());
            assert_eq!(asked.join().expect("the server ends").len(), 2);
        }
    }

    #[test]
    fn waiting_ends_when_a_stop_is_asked_for() {
        let stop = Stop::default();
        let stopper = std::thread::spawn({
            let stop = stop.clone();
            move || {
                std::thread::sleep(Duration::from_millis(400));
                stop.request();
            }
        });
        // Nothing listens on port 1.
        assert!(matches!(
            registry("http://127.0.0.1:1".to_owned()).by_id(7, &stop),
            Err(IngestError::Stopped)
        ));
        stopper.join().expect("the stopper ends");
    }

    #[test]
    fn schemas_it_refers_to_are_fetched() {
        let schema = schemas::USAGE_EVENT_V1_AVSC
            .replacen(
                r#""type": "string""#,
                r#""type": "other.Note"}, {"name": "source", "type": "string""#,
                1,
            )
            .replacen(r#""name": "source""#, r#""name": "note""#, 1);
        let answer = serde_json::json!({"schema": schema, "references": [{"name": "other.Note", "subject": "notes/1", "version": 3}]});
        let note =
            serde_json::json!({"schema": r#"{"type":"fixed","name":"Note","namespace":"other","size":2}"#});
        let (url, asked) = server(vec![(200, answer.to_string()), (200, note.to_string())]);
        let schema = registry(url).by_id(7, &Stop::default()).expect("an answer").expect("a schema");
        assert_eq!(schema.problem(), None);
        assert!(asked.join().expect("the server ends")[1].starts_with("GET /subjects/notes%2F1/versions/3 "));
    }

    #[test]
    fn another_kind_of_schema_is_known_and_cannot_be_used() {
        let (url, _asked) =
            server(vec![(200, r#"{"schema":"syntax = \"proto3\";","schemaType":"PROTOBUF"}"#.to_owned())]);
        let schema = registry(url).by_id(7, &Stop::default()).expect("an answer").expect("a schema");
        assert!(schema.problem().is_some_and(|problem| problem.contains("PROTOBUF")));
    }

    #[test]
    fn a_table_is_checked_when_it_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let good = path("good.avsc", schemas::USAGE_EVENT_V1_AVSC);
        let mut table = SchemaTable::read(&BTreeMap::from([(7, good)])).expect("a table");
        assert!(table.by_id(7, &Stop::default()).expect("an answer").is_some());
        assert!(table.by_id(8, &Stop::default()).expect("an answer").is_none());
        let error = SchemaTable::read(&BTreeMap::from([(9, path("bad.avsc", "\"int\""))]))
            .expect_err("no record")
            .to_string();
        assert!(
            error.contains("schema 9") && error.contains("bad.avsc") && error.contains("an int"),
            "{error}"
        );
    }
}
