//! Schema ids: what the number in Confluent's framing means, from a Confluent-compatible registry
//! or from a table in the config.
//!
//! Only ids go out to the registry, and only to the one configured address: no redirects, no
//! address from a record. An id never changes its meaning, so a schema is kept for the life of the
//! process; that an id is unknown is believed for a minute.
//!
//! Invariant: a record is refused only when the registry itself says that it does not know the id,
//! or a schema that this one refers to, or gives what can never be used. A registry that does not
//! answer, or answers nonsense, is waited for.

use super::WriterSchema;
use crate::IngestError;
use crate::foreign;
use crate::stop::Stop;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
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
pub trait SchemaLookup: Send {
    /// The schema of that id; `None` when there is certainly none.
    ///
    /// # Errors
    /// [`IngestError::Stopped`] when a stop is asked for while waiting for an answer.
    fn by_id(&mut self, id: u32, stop: &Stop) -> Result<Option<Arc<WriterSchema>>, IngestError>;

    /// The one that was asked, for a sentence.
    fn name(&self) -> String;

    /// Why there is no schema of an id that was asked for.
    fn why_unknown(&self, id: u32) -> String {
        format!("schema id {id} is not known to {}", self.name())
    }
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
            // Some editors begin every file with a byte order mark.
            let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
            let schema = foreign::read("a schema", || WriterSchema::parse(text, &[]))
                .map_err(|fault| IngestError::Invalid(format!("schema {id}: {shown}: {fault}")))?;
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

#[derive(Clone)]
pub struct RegistryConfig {
    /// Without a user name, a password or a token in it: it is shown and stored.
    pub url: String,
    pub username: Option<String>,
    pub password: Option<String>,
}

impl fmt::Debug for RegistryConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RegistryConfig").finish_non_exhaustive()
    }
}

/// A Confluent-compatible schema registry.
pub struct Registry {
    agent: ureq::Agent,
    url: String,
    authorization: Option<String>,
    known: HashMap<u32, Arc<WriterSchema>>,
    /// Since when, and why.
    unknown: HashMap<u32, (Instant, String)>,
}

#[derive(Deserialize)]
struct SchemaAnswer {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    /// Some registries say null where there are none.
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: i64,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error_code: u32,
}

/// Why there is no schema, as a sentence.
enum NoSchema {
    /// There is no answer yet.
    Yet(String),
    /// The registry has no such thing.
    Unknown(String),
    /// The registry has it, and it can never be used.
    Unusable(String),
}

impl Registry {
    /// Checks the address; asks nothing yet.
    ///
    /// # Errors
    /// An address that is not `http://` or `https://` and a host, one that holds more than an
    /// address, or a password without a user name.
    pub fn new(config: &RegistryConfig) -> Result<Self, IngestError> {
        let url = config.url.trim_end_matches('/').to_owned();
        check_address(&url).map_err(|detail| IngestError::Invalid(format!("registry.url {detail}")))?;
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

    /// One question, one answer.
    fn ask(&self, id: u32) -> Result<WriterSchema, NoSchema> {
        let answer = self.get(&format!("/schemas/ids/{id}"), &|| {
            format!("schema id {id} is not known to {}", self.name())
        })?;
        if let Some(kind) = answer.schema_type.as_deref().filter(|kind| *kind != "AVRO") {
            return Err(NoSchema::Unusable(format!("schema id {id} is a {kind} schema, not an Avro schema")));
        }
        let mut references = Vec::new();
        let mut asked = Vec::new();
        let mut to_ask = answer.references.unwrap_or_default();
        while let Some(Reference { subject, version }) = to_ask.pop() {
            // A version that was deleted since is still what the schema means by it.
            let path = format!("/subjects/{}/versions/{version}?deleted=true", path_segment(&subject));
            if asked.contains(&path) {
                continue;
            }
            if asked.len() == MAX_REFERENCES {
                return Err(NoSchema::Unusable(format!(
                    "schema id {id} refers to more than {MAX_REFERENCES} others"
                )));
            }
            let answer = self.get(&path, &|| {
                format!(
                    "schema id {id} refers to version {version} of {subject:?}, which is not known to {}",
                    self.name()
                )
            })?;
            references.push(answer.schema);
            to_ask.extend(answer.references.unwrap_or_default());
            asked.push(path);
        }
        foreign::read("a schema", || WriterSchema::parse(&answer.schema, &references))
            .map_err(|fault| NoSchema::Unusable(fault.detail))
    }

    /// `unknown` says what it means if the registry does not have it.
    fn get(&self, path: &str, unknown: &dyn Fn() -> String) -> Result<SchemaAnswer, NoSchema> {
        let url = format!("{}{path}", self.url);
        let mut request =
            self.agent.get(&url).header("accept", "application/vnd.schemaregistry.v1+json, application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let not_yet = |why: String| NoSchema::Yet(format!("{url}: {why}"));
        let mut response = request.call().map_err(|error| not_yet(error.to_string()))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) if status == 200 => NoSchema::Unusable(format!(
                "the answer to {path} has more than {MAX_ANSWER_BYTES} bytes, which is no schema that is read"
            )),
            error => not_yet(error.to_string()),
        })?;
        match status {
            200 => {
                let answer: Map<String, Value> = serde_json::from_slice(&body)
                    .map_err(|error| not_yet(format!("the answer is not a schema: {error}")))?;
                // The registry has answered, and that will not be another answer in a moment.
                if !answer.get("schema").is_some_and(Value::is_string) {
                    return Err(NoSchema::Unknown(format!("the answer to {path} has no `schema`")));
                }
                serde_json::from_value(answer.into()).map_err(|error| {
                    NoSchema::Unusable(format!("the answer to {path} cannot be used: {error}"))
                })
            }
            // Any server says 404 for a wrong path, and any proxy 400. Only the registry's own code, or
            // a 404 without a body, is taken for "there is no such thing".
            404 if body.is_empty() => Err(NoSchema::Unknown(unknown())),
            404 if is_of_the_registry(status, &body) => Err(NoSchema::Unknown(unknown())),
            404 => Err(not_yet(
                "status 404 without the registry's error_code, 404 and two digits; is registry.url right?"
                    .to_owned(),
            )),
            // The registry understood the question and will never answer it.
            410 | 422 => Err(NoSchema::Unknown(format!("{}: status {status}", unknown()))),
            400 | 405 | 406 if is_of_the_registry(status, &body) => {
                Err(NoSchema::Unknown(format!("{}: status {status}", unknown())))
            }
            401 | 403 => {
                Err(not_yet(format!("status {status}: set registry.username and registry.password")))
            }
            _ => Err(not_yet(format!("status {status}"))),
        }
    }
}

impl SchemaLookup for Registry {
    fn by_id(&mut self, id: u32, stop: &Stop) -> Result<Option<Arc<WriterSchema>>, IngestError> {
        if let Some(known) = self.known.get(&id) {
            return Ok(Some(known.clone()));
        }
        self.unknown.retain(|_, (asked_at, _)| asked_at.elapsed() < UNKNOWN_FOR);
        if self.unknown.contains_key(&id) {
            return Ok(None);
        }
        let mut wait = FIRST_WAIT;
        let schema = loop {
            match self.ask(id) {
                Ok(schema) => break Arc::new(schema),
                Err(NoSchema::Unusable(detail)) => break Arc::new(WriterSchema::unusable(detail)),
                Err(NoSchema::Unknown(why)) => {
                    self.unknown.insert(id, (Instant::now(), why));
                    return Ok(None);
                }
                Err(NoSchema::Yet(why)) => {
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

    fn why_unknown(&self, id: u32) -> String {
        let why = self.unknown.get(&id).map(|(_, why)| why.clone());
        why.unwrap_or_else(|| format!("schema id {id} is not known to {}", self.name()))
    }
}

/// An address is shown in messages and stored with what is refused, so there can be no secret in
/// it. What is wrong is said without it.
fn check_address(url: &str) -> Result<(), &'static str> {
    let Some((scheme @ ("http" | "https"), rest)) = url.split_once("://") else {
        return Err("must begin with http:// or https://");
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(
            "has a user name or password in it; take them out, and give them as registry.username and registry.password (`env:NAME` takes one from the environment)",
        );
    }
    if rest.contains(['?', '#']) {
        return Err("has a ? or # in it; give the address up to there, nothing else is sent");
    }
    let uri = url.parse::<ureq::http::Uri>().ok();
    match uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.host()?))) {
        Some((read, host)) if read == scheme && !host.is_empty() => Ok(()),
        _ => Err("is not an address; write it like http://127.0.0.1:8081"),
    }
}

/// Percent-encodes what may not stand in a segment of a path (RFC 3986, section 3.3).
/// Whether a body is the registry's own answer and not a proxy's or another server's: its codes are the
/// status and two digits, `40403` for a schema that it does not have. A wrong path has another code.
fn is_of_the_registry(status: u16, body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|ErrorAnswer { error_code }| {
        error_code / 100 == u32::from(status) && error_code % 100 != 0
    })
}

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
            (200, "<html>".to_owned()),
            (404, "<html>".to_owned()),
            (400, "<html>".to_owned()),
            (404, wrong_path),
        ];
        for first in answers {
            let (url, asked) = server(vec![first, (200, ours())]);
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
        assert!(
            asked.join().expect("the server ends")[1]
                .starts_with("GET /subjects/notes%2F1/versions/3?deleted=true ")
        );
    }

    #[test]
    fn an_answer_that_will_never_come_is_not_waited_for() {
        let refers = serde_json::json!({"schema": schemas::USAGE_EVENT_V1_AVSC, "references": [{"name": "n", "subject": "notes", "version": 3}]});
        let refers = || (200, refers.to_string());
        let error = |code: u32| serde_json::json!({"error_code": code, "message": "no"}).to_string();
        for (answers, expected) in [
            (vec![(404, error(40403))], "schema id 7 is not known to the schema registry at http://"),
            (vec![(422, error(42201))], "schema id 7 is not known to"),
            (vec![(400, error(40001))], "status 400"),
            (vec![(405, error(40501))], "status 405"),
            (vec![(406, error(40601))], "status 406"),
            (vec![(410, String::new())], "status 410"),
            (vec![(200, "{}".to_owned())], "the answer to /schemas/ids/7 has no `schema`"),
            (vec![(200, r#"{"schema":null}"#.to_owned())], "has no `schema`"),
            (
                vec![refers(), (404, error(40401))],
                "schema id 7 refers to version 3 of \"notes\", which is not",
            ),
            (vec![refers(), (404, error(40402))], "version 3 of \"notes\""),
            (vec![refers(), (422, error(42202))], "version 3 of \"notes\""),
        ] {
            let (url, asked) = server(answers);
            let mut registry = registry(url);
            // Once more within a minute, without another question.
            for _ in 0..2 {
                assert!(registry.by_id(7, &Stop::default()).expect("an answer").is_none());
                assert!(registry.why_unknown(7).contains(expected), "{}", registry.why_unknown(7));
            }
            asked.join().expect("the server ends");
        }
    }

    #[test]
    fn a_reference_without_a_version_is_no_schema() {
        let answer = serde_json::json!({"schema": schemas::USAGE_EVENT_V1_AVSC, "references": [{"name": "n", "subject": "notes"}]});
        let (url, _asked) = server(vec![(200, answer.to_string())]);
        let schema = registry(url).by_id(7, &Stop::default()).expect("an answer").expect("a schema");
        assert!(schema.problem().is_some_and(|problem| problem.contains("missing field `version`")));
    }

    #[test]
    fn an_answer_that_is_too_long_is_no_schema() {
        let (url, _asked) = server(vec![(200, " ".repeat(5 << 20))]);
        let schema = registry(url).by_id(7, &Stop::default()).expect("an answer").expect("a schema");
        assert!(schema.problem().is_some_and(|problem| problem.contains("more than 4194304 bytes")));
    }

    #[test]
    fn an_address_holds_nothing_else() {
        let problem = |url: &str| {
            let config = RegistryConfig { url: url.to_owned(), username: None, password: None };
            Registry::new(&config).err().map(|error| error.to_string()).unwrap_or_default()
        };
        for fine in
            ["http://127.0.0.1:8081", "https://registry.example/a/b/", "http://[::1]:8081", "http://r/@"]
        {
            assert_eq!(problem(fine), "", "{fine}");
        }
        for (url, expected) in [
            ("http://user:hunter2@registry", "registry.username and registry.password"),
            ("https://hunter2@registry:8081/", "registry.username and registry.password"),
            ("http://registry?token=hunter2", "has a ? or #"),
            ("http://registry/#hunter2", "has a ? or #"),
            ("user:hunter2@registry", "must begin with"),
            ("ftp://user:hunter2@registry", "must begin with"),
            ("http://", "must begin with"),
            ("http://hunter2 ", "is not an address"),
            ("http://:8081", "is not an address"),
        ] {
            let problem = problem(url);
            assert!(problem.contains(expected) && !problem.contains("hunter2"), "{url}: {problem}");
        }
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
        let marked = path("marked.avsc", &format!("\u{FEFF}{}", schemas::USAGE_EVENT_V1_AVSC));
        let mut table = SchemaTable::read(&BTreeMap::from([(7, good), (6, marked)])).expect("a table");
        assert!(table.by_id(6, &Stop::default()).expect("an answer").is_some());
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
