//! A schema registry that speaks as much of Confluent's API as a consumer needs, and can be down.

use crate::machine::free_port;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

/// A registry at a fixed address. It lives until the test process ends.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    schemas: Mutex<BTreeMap<u32, Schema>>,
    versions: Mutex<BTreeMap<(String, i64), Version>>,
    failing: AtomicBool,
    requests: AtomicUsize,
}

/// A schema, and the version of the subject that it refers to.
#[derive(Debug, Clone)]
struct Schema {
    text: String,
    refers_to: Option<(String, i64)>,
}

/// A version of a subject.
#[derive(Debug, Clone)]
struct Version {
    schema: String,
    /// It is given only to who asks for deleted ones.
    deleted: bool,
}

impl Registry {
    /// A registry that knows these schemas and listens.
    pub fn start(schemas: &[(u32, &str)]) -> Self {
        let registry = Self::down(schemas);
        registry.listen();
        registry
    }

    /// A registry that knows these schemas and does not listen yet: connections to it are refused.
    pub fn down(schemas: &[(u32, &str)]) -> Self {
        let schemas = schemas
            .iter()
            .map(|(id, schema)| (*id, Schema { text: (*schema).to_owned(), refers_to: None }))
            .collect();
        let state = State {
            schemas: Mutex::new(schemas),
            versions: Mutex::default(),
            failing: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
        };
        Self { port: free_port(), state: Arc::new(state) }
    }

    /// Adds a schema that refers to a version of a subject.
    pub fn refer(&self, id: u32, schema: &str, subject: &str, version: i64) {
        let schema = Schema { text: schema.to_owned(), refers_to: Some((subject.to_owned(), version)) };
        self.state.schemas.lock().expect("no holder panics").insert(id, schema);
    }

    /// Adds a version of a subject, as it was registered or after it was deleted.
    pub fn register(&self, subject: &str, version: i64, schema: &str, deleted: bool) {
        let of = Version { schema: schema.to_owned(), deleted };
        self.state.versions.lock().expect("no holder panics").insert((subject.to_owned(), version), of);
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Begins to listen. From now on each connection gets one answer.
    pub fn listen(&self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).expect("the port is still free");
        let state = Arc::clone(&self.state);
        spawn(move || {
            for connection in listener.incoming().flatten() {
                // A client that hangs up early has had its answer.
                drop(answer(&state, connection));
            }
        });
    }

    /// Whether every request is answered 503 from now on.
    pub fn fail(&self, failing: bool) {
        self.state.failing.store(failing, Ordering::SeqCst);
    }

    /// How many requests there were, failed ones included.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

fn answer(state: &State, connection: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    state.requests.fetch_add(1, Ordering::SeqCst);
    let target = request.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let id = path.strip_prefix("/schemas/ids/").and_then(|id| id.parse().ok());
    let schema = id.and_then(|id: u32| state.schemas.lock().expect("no holder panics").get(&id).cloned());
    let subject = path.strip_prefix("/subjects/").and_then(|path| path.split_once("/versions/"));
    let version = subject.and_then(|(subject, version)| {
        let key = (subject.to_owned(), version.parse().ok()?);
        let version = state.versions.lock().expect("no holder panics").get(&key).cloned()?;
        (!version.deleted || query == "deleted=true").then_some(version.schema)
    });
    let schema = schema.map(|Schema { text, refers_to }| match refers_to {
        Some((subject, version)) => {
            json!({"schema": text, "references": [{"name": subject, "subject": subject, "version": version}]})
        }
        None => json!({"schema": text}),
    });
    let (status, body) = match schema.or_else(|| version.map(|schema| json!({"schema": schema}))) {
        _ if state.failing.load(Ordering::SeqCst) => (
            "503 Service Unavailable",
            json!({"error_code": 50001, "message": "Error in the backend data store"}),
        ),
        Some(schema) => ("200 OK", schema),
        None if subject.is_some() => {
            ("404 Not Found", json!({"error_code": 40402, "message": "Version not found"}))
        }
        None => ("404 Not Found", json!({"error_code": 40403, "message": "Schema not found"})),
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\nContent-Length: {}\r\n",
        body.len()
    );
    write!(reader.into_inner(), "{head}Connection: close\r\n\r\n{body}")
}
