//! The endpoint for Prometheus: `GET /metrics` and `GET /healthz`, on threads of their own.
//!
//! It reads counters and the ledger's folder and changes nothing. It is no general server: a
//! connection is one request without a body, answered within seconds or dropped, and only a few are
//! served at a time.
//!
//! Invariant: nothing that a client does, or leaves undone, is noticed by the loop that writes the
//! ledger.

mod exposition; // Prometheus' text format
mod metrics; // what a running ingest tells

use crate::log::Alarms;
use anyhow::Context as _;
use exposition::CONTENT_TYPE;
use ingest::metrics::Metrics;
use ledger::watch::Watch;
use metrics::Watched;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const REQUEST_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const LONGEST_REQUEST: usize = 8 << 10;
const MOST_CONNECTIONS: usize = 8;
/// How soon the thread that accepts notices that it shall end.
const STOP_WITHIN: Duration = Duration::from_millis(50);

/// An address that is taken, and not yet served.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// Served until it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// Takes the address, so that nothing has begun when it cannot be had.
///
/// # Errors
/// When it is no address of this machine, or another program has it.
pub fn listen(address: &str) -> anyhow::Result<Listening> {
    let advice = || {
        format!(
            "metrics cannot be served at {address:?}; give an address of this machine and a port that nothing else uses, like 127.0.0.1:9464 (port 0 takes a free one)"
        )
    };
    let listener = TcpListener::bind(address).with_context(advice)?;
    listener.set_nonblocking(true).with_context(advice)?;
    let address = listener.local_addr().with_context(advice)?;
    Ok(Listening { listener, address })
}

impl Listening {
    /// Begins to answer, and to look at the shard that `watch` is of. `batch` is how long a batch
    /// may take.
    ///
    /// # Errors
    /// When the machine has no room for two threads.
    pub fn serve(
        self,
        watch: Watch,
        metrics: Arc<Metrics>,
        alarms: Arc<Alarms>,
        batch: Duration,
    ) -> anyhow::Result<Endpoint> {
        let watched = Arc::new(Watched::new(metrics, alarms, batch));
        let stop = Arc::new(AtomicBool::new(false));
        let Self { listener, address } = self;
        // Nobody waits for this thread: a look at a large ledger may take a while, and it changes
        // nothing.
        thread("metrics-watch", {
            let (watched, stop) = (watched.clone(), stop.clone());
            move || watched.look_again(watch, &stop)
        })?;
        let accepting = thread("metrics", {
            let stop = stop.clone();
            move || accept(&listener, &watched, &stop)
        })?;
        tracing::info!(event = "metrics.listening", %address, "metrics are served at http://{address}/metrics");
        Ok(Endpoint { stop, accepting: Some(accepting) })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(accepting) = self.accepting.take() {
            // A panic there was printed already and must not become one here.
            drop(accepting.join());
        }
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .context("no thread can be started for the metrics")
}

fn accept(listener: &TcpListener, watched: &Arc<Watched>, stop: &AtomicBool) {
    let connections = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::Relaxed) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    tracing::warn!(event = "metrics.failed", %error, "a connection for metrics could not be accepted");
                }
                std::thread::sleep(STOP_WITHIN);
                continue;
            }
        };
        let place = Place::take(&connections);
        if connections.load(Ordering::Relaxed) > MOST_CONNECTIONS {
            continue;
        }
        let watched = watched.clone();
        let answered = thread("metrics-answer", move || {
            let _place = place;
            // A client that went away has its own idea of why.
            drop(answer(stream, &watched));
        });
        if let Err(error) = answered {
            tracing::warn!(event = "metrics.failed", %error, "a connection for metrics could not be answered");
        }
    }
}

/// One of the connections that are served at a time, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn answer(mut stream: TcpStream, watched: &Watched) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    let request = request(&mut stream)?;
    let mut words = request.split(' ');
    let (method, target) = (words.next(), words.next().and_then(|target| target.split('?').next()));
    let (status, kind, body) = match (method, target) {
        (Some("GET"), Some("/metrics")) => ("200 OK", CONTENT_TYPE, watched.exposition()),
        (Some("GET"), Some("/healthz")) => {
            let (well, sentence) = watched.health();
            (if well { "200 OK" } else { "503 Service Unavailable" }, "text/plain; charset=utf-8", sentence)
        }
        _ => (
            "404 Not Found",
            "text/plain; charset=utf-8",
            "there are GET /metrics and GET /healthz\n".to_owned(),
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    write(&mut stream, (head + &body).as_bytes())
}

/// The first line of a request, once its head is there.
fn request(stream: &mut TcpStream) -> std::io::Result<String> {
    let until = Instant::now() + REQUEST_WITHIN;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        stream.set_read_timeout(Some(left(until)?))?;
        let read = stream.read(&mut buffer)?;
        if read == 0 || head.len() + read > LONGEST_REQUEST {
            return Err(ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&buffer[..read]);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    String::from_utf8(line.to_vec()).map_err(|_| ErrorKind::InvalidData.into())
}

fn write(stream: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    let until = Instant::now() + ANSWER_WITHIN;
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        let written = stream.write(bytes)?;
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    Ok(())
}

fn left(until: Instant) -> std::io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    // The operating system takes zero for no limit.
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_had_is_named() {
        let taken = listen("127.0.0.1:0").expect("a free port");
        let address = taken.address.to_string();
        for address in [&address, "127.0.0.1", "203.0.113.1:9464"] {
            let error = format!("{:#}", listen(address).expect_err("it cannot be had"));
            assert!(error.contains(address) && error.contains("like 127.0.0.1:9464"), "{error}");
        }
    }

    #[test]
    fn a_dropped_endpoint_frees_its_port() {
        let folder = tempfile::tempdir().expect("a folder");
        let listening = listen("127.0.0.1:0").expect("a free port");
        let address = listening.address;
        let endpoint = listening
            .serve(Watch::new(folder.path(), 0), Arc::default(), Arc::default(), Duration::ZERO)
            .expect("threads");
        let ask = |target: &str| {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(format!("{target} HTTP/1.1\r\n\r\n").as_bytes()).expect("it is read");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            answer
        };
        assert!(ask("GET /healthz?verbose").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(ask("GET /metrics").contains("\natcost_records_received_total 0\n"));
        for target in ["GET /", "POST /metrics", "GET /metrics/", "nonsense"] {
            assert!(ask(target).starts_with("HTTP/1.1 404 "), "{target}");
        }
        drop(endpoint);
        listen(&address.to_string()).expect("the port is free again");
    }
}
