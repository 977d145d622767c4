//! The endpoint for Prometheus: `GET /metrics` and `GET /healthz`, on threads of their own.
//!
//! It reads counters and the ledger's folder and changes nothing. It is no general server: a
//! connection is one request without a body, answered within seconds or dropped, and only a few are
//! served at a time.
//!
//! Invariant: nothing that a client does, or leaves undone, is noticed by the loop that writes the
//! ledger.

mod metrics; // what a running ingest tells

use crate::last_run::LastRun;
use crate::log::Alarms;
use anyhow::{Context as _, bail};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ingest::metrics::Metrics;
use ledger::watch::Watch;
use metrics::Watched;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

const REQUEST_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const LONGEST_REQUEST: usize = 8 << 10;
const MOST_CONNECTIONS: usize = 8;
/// A listener that fails, because the process has too many files open, say, would fail again at
/// once.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// An address that is taken, and not yet served.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// Served until it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    /// Nothing is sent; a thread ends when its sender is gone.
    looking: Option<mpsc::Sender<()>>,
    serving: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

/// Takes the address, so that nothing has begun when it cannot be had.
///
/// # Errors
/// When it is no address of this machine, or another program has it.
pub fn listen(address: &str) -> anyhow::Result<Listening> {
    if address.contains('@') {
        bail!(
            "the address for metrics has a user name or password in it; it must be HOST:PORT, like 127.0.0.1:9464, and nobody is asked for either"
        );
    }
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
    /// Begins to answer, and to look at the shard that `watch` is of and at the runs. `batch` is how long a batch
    /// may take.
    ///
    /// # Errors
    /// When the machine has no room for two threads.
    pub fn serve(
        self,
        watch: Watch,
        last_run: LastRun,
        metrics: Arc<Metrics>,
        alarms: Arc<Alarms>,
        batch: Duration,
    ) -> anyhow::Result<Endpoint> {
        let watched = Arc::new(Watched::new(metrics, alarms, batch));
        let Self { listener, address } = self;
        let (looking, stopped_looking) = mpsc::channel();
        // Nobody waits for this thread: a look at a large ledger may take a while, and it changes
        // nothing.
        thread("metrics-watch", {
            let watched = watched.clone();
            move || watched.look_again(watch, last_run, &stopped_looking)
        })?;
        // A runtime of its own: the one that ingest runs on may be busy for as long as a commit
        // takes.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime can be started for the metrics")?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).context("metrics cannot be served")?
        };
        let (serving, stopped_serving) = oneshot::channel();
        let server = thread("metrics", move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, routes(watched)) => {}
                    _ = stopped_serving => {}
                }
            });
        })?;
        tracing::info!(event = "metrics.listening", %address, "metrics are served at http://{address}/metrics");
        Ok(Endpoint { looking: Some(looking), serving: Some(serving), server: Some(server) })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop((self.looking.take(), self.serving.take()));
        if let Some(server) = self.server.take() {
            // A panic there was printed already and must not become one here.
            drop(server.join());
        }
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .context("no thread can be started for the metrics")
}

fn routes(watched: Arc<Watched>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(health))
        .fallback(nothing_else)
        .method_not_allowed_fallback(nothing_else)
        .with_state(watched)
}

async fn scrape(State(watched): State<Arc<Watched>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], watched.exposition())
}

async fn health(State(watched): State<Arc<Watched>>) -> impl IntoResponse {
    let (well, sentence) = watched.health();
    (if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, sentence)
}

async fn nothing_else() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, "there are GET /metrics and GET /healthz\n")
}

async fn accept(listener: tokio::net::TcpListener, routes: Router) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        match listener.accept().await {
            // A connection over the limit is closed at once.
            Ok((stream, _)) => {
                if let Ok(place) = places.clone().try_acquire_owned() {
                    tokio::spawn(answer(stream, routes.clone(), place));
                }
            }
            Err(error) => {
                tracing::warn!(event = "metrics.failed", %error, "a connection for metrics could not be accepted");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// One request and its answer, or as much of both as there is time for.
async fn answer(stream: TcpStream, routes: Router, _place: OwnedSemaphorePermit) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WITHIN)
        .max_buf_size(LONGEST_REQUEST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // A client that went away has its own idea of why.
    drop(tokio::time::timeout(REQUEST_WITHIN + ANSWER_WITHIN, connection).await);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::Location;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    #[test]
    fn an_address_that_cannot_be_had_is_named() {
        let taken = listen("127.0.0.1:0").expect("a free port");
        let address = taken.address.to_string();
        for address in [&address, "127.0.0.1", "203.0.113.1:9464"] {
            let error = format!("{:#}", listen(address).expect_err("it cannot be had"));
            assert!(error.contains(address) && error.contains("like 127.0.0.1:9464"), "{error}");
        }
    }

    /// Served at a free port, for a ledger that is not there.
    fn served() -> (SocketAddr, Endpoint) {
        let nowhere = Location::on_disk(std::path::Path::new("no-such-ledger")).expect("a place");
        let listening = listen("127.0.0.1:0").expect("a free port");
        let address = listening.address;
        let endpoint = listening
            .serve(
                Watch::new(&nowhere, 0),
                LastRun::below(&nowhere),
                Arc::default(),
                Arc::default(),
                Duration::ZERO,
            )
            .expect("threads");
        (address, endpoint)
    }

    #[test]
    fn a_dropped_endpoint_frees_its_port() {
        let (address, endpoint) = served();
        let ask = |target: &str| {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(format!("{target} HTTP/1.1\r\n\r\n").as_bytes()).expect("it is read");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            answer
        };
        assert!(ask("GET /healthz?verbose").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(ask("GET /metrics").contains("\natcost_records_received_total 0\n"));
        for target in ["GET /", "POST /metrics", "GET /metrics/"] {
            assert!(ask(target).starts_with("HTTP/1.1 404 "), "{target}");
        }
        assert!(ask("nonsense").starts_with("HTTP/1.1 400 "));
        drop(endpoint);
        listen(&address.to_string()).expect("the port is free again");
    }

    #[test]
    fn clients_that_say_nothing_or_too_much_are_dropped() {
        let (address, _endpoint) = served();
        let connected = || {
            let stream = TcpStream::connect(address).expect("a connection");
            stream.set_read_timeout(Some(REQUEST_WITHIN + ANSWER_WITHIN)).expect("a limit can be set");
            stream
        };
        let ended = |mut stream: TcpStream| {
            let begun = std::time::Instant::now();
            // A reset ends it as well as a close does.
            drop(stream.read_to_end(&mut Vec::new()));
            begun.elapsed()
        };
        let silent: Vec<TcpStream> = (0..MOST_CONNECTIONS).map(|_| connected()).collect();
        assert!(ended(connected()) < REQUEST_WITHIN, "one over the limit is closed at once");
        for stream in silent {
            assert!(ended(stream) < REQUEST_WITHIN + Duration::from_secs(1), "silence is not waited for");
        }
        let mut long = connected();
        drop(long.write_all(&vec![b'a'; 2 * LONGEST_REQUEST]));
        assert!(ended(long) < REQUEST_WITHIN, "what is longer than any request is not kept");
    }
}
