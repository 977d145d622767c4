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
    schemas: Mutex<BTreeMap<u32, String>>,
    failing: AtomicBool,
    requests: AtomicUsize,
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
        let schemas = schemas.iter().map(|(id, schema)| (*id, (*schema).to_owned())).collect();
        let state = State {
            schemas: Mutex::new(schemas),
            failing: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
        };
        Self { port: free_port(), state: Arc::new(state) }
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
    let path = request.split(' ').nth(1).and_then(|target| target.split('?').next());
    let id = path.and_then(|path| path.strip_prefix("/schemas/ids/")).and_then(|id| id.parse().ok());
    let schema = id.and_then(|id: u32| state.schemas.lock().expect("no holder panics").get(&id).cloned());
    let (status, body) = match schema {
        _ if state.failing.load(Ordering::SeqCst) => (
            "503 Service Unavailable",
            json!({"error_code": 50001, "message": "Error in the backend data store"}),
        ),
        Some(schema) => ("200 OK", json!({"schema": schema})),
        None => ("404 Not Found", json!({"error_code": 40403, "message": "Schema not found"})),
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\nContent-Length: {}\r\n",
        body.len()
    );
    write!(reader.into_inner(), "{head}Connection: close\r\n\r\n{body}")
}
