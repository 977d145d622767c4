//! The binary, run in a folder of its own.
//!
//! Every run has a limit, so that a test of something that hangs fails and says what it printed.
//! Only the processes started here are stopped.

use crate::duckdb::{Table, queries};
use crate::machine::wait_for;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;
use tempfile::TempDir;

/// No command of a test may take longer.
const LIMIT: Duration = Duration::from_secs(120);

/// A folder with `atcost.toml` and a ledger, or an empty one.
#[derive(Debug)]
pub struct Atcost {
    folder: PathBuf,
    /// Removed with this, where the folder was made for it.
    _temporary: Option<TempDir>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Both streams, for a message.
    pub fn text(&self) -> String {
        format!("exit status {:?}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

impl Default for Atcost {
    fn default() -> Self {
        Self::empty()
    }
}

impl Atcost {
    /// An empty folder.
    pub fn empty() -> Self {
        let temporary = tempfile::tempdir().expect("the machine has room for a folder");
        Self { folder: temporary.path().to_owned(), _temporary: Some(temporary) }
    }

    /// A folder that somebody else keeps, after `atcost init`.
    pub fn initialised_in(folder: &Path) -> Self {
        let atcost = Self { folder: folder.to_owned(), _temporary: None };
        atcost.ok(&["init"]);
        atcost
    }

    /// A folder that somebody else keeps, and that has a ledger.
    pub fn existing_in(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), _temporary: None }
    }

    /// A folder after `atcost init`.
    pub fn initialised() -> Self {
        let atcost = Self::empty();
        atcost.ok(&["init"]);
        atcost
    }

    /// A folder after `atcost init`, with the catalog of the case published.
    pub fn with_catalog(catalog: &Path) -> Self {
        let atcost = Self::initialised();
        atcost.ok(&["catalog", "publish", utf8(catalog)]);
        atcost
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds a line to `[table]` of `atcost.toml`, and the table where it is not yet there.
    pub fn set(&self, table: &str, line: &str) {
        let path = self.folder().join("atcost.toml");
        let text = fs::read_to_string(&path).expect("`atcost init` wrote the configuration");
        let header = format!("\n[{table}]\n");
        let text = if text.contains(&header) {
            text.replace(&header, &format!("{header}{line}\n"))
        } else {
            format!("{text}{header}{line}\n")
        };
        fs::write(&path, text).expect("the configuration can be written");
    }

    /// Runs to the end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.spawn(arguments).wait()
    }

    /// Runs to the end, which must be exit status 0, and returns what it printed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.code, Some(0), "atcost {}: {}", arguments.join(" "), output.text());
        output.stdout
    }

    /// Like [`Self::ok`], with `--format json`, and the last JSON value that it printed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        json(&self.ok(&[arguments, &["--format", "json"]].concat()))
    }

    /// The answer of `atcost doctor`. A discrepancy that it found is an answer too.
    #[track_caller]
    pub fn doctor(&self) -> Value {
        let output = self.run(&["doctor", "--format", "json"]);
        assert!(matches!(output.code, Some(0 | 1)), "atcost doctor: {}", output.text());
        json(&output.stdout)
    }

    /// The answer of SQL about the rows of the ledger, the table `ledger`. Only files that the
    /// Delta log names are read.
    #[track_caller]
    pub fn ledger(&self, statement: &str) -> Table {
        let shard = self.folder().join("ledger/shards/0");
        let mut versions: Vec<_> = fs::read_dir(shard.join("_delta_log"))
            .expect("a ledger has a log")
            .map(|entry| entry.expect("it can be listed").path())
            .collect();
        versions.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        versions.sort();
        let log: Vec<_> =
            versions.iter().map(|path| fs::read_to_string(path).expect("the log can be read")).collect();
        let actions = log
            .iter()
            .flat_map(|version| version.lines())
            .map(|line| serde_json::from_str::<Value>(line).expect("a line of the log is JSON"));
        let files: Vec<_> =
            actions.filter_map(|action| Some(format!("'{}'", action["add"]["path"].as_str()?))).collect();
        let view = format!("CREATE VIEW ledger AS SELECT * FROM read_parquet([{}])", files.join(", "));
        queries(&shard, &[&view, statement]).remove(1)
    }

    /// Starts an ingest of a topic that goes on and serves its metrics at a port of the loopback
    /// interface; its log is lines of JSON.
    #[track_caller]
    pub fn ingest_with_metrics(
        &self,
        brokers: &str,
        topic: &str,
        port: u16,
        environment: &[(&str, &str)],
    ) -> Running {
        let metrics = format!("127.0.0.1:{port}");
        let ingest = ["--log-format", "json", "ingest", "--brokers", brokers, "--topic", topic];
        self.spawn_with(&[&ingest[..], &["--metrics", &metrics]].concat(), environment)
    }

    /// Starts it and goes on.
    #[track_caller]
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        self.spawn_with(arguments, &[])
    }

    /// As [`Self::spawn`], with variables added to the environment.
    #[track_caller]
    pub fn spawn_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
        let mut command = Command::new(binary());
        command.envs(environment.iter().copied());
        command
            .args(arguments)
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stdout = collect(child.stdout.take().expect("stdout is piped"));
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        Running { child, streams: Some((stdout, stderr)), command: format!("atcost {}", arguments.join(" ")) }
    }
}

/// A run that has not been waited for. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    streams: Option<(JoinHandle<String>, JoinHandle<String>)>,
    command: String,
}

impl Running {
    /// Sends a signal by its name, as `kill -s` takes it: TERM, INT, STOP, CONT, KILL.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .expect("kill is a command");
        assert!(status.success(), "{} is gone: it could not be sent {name}", self.command);
    }

    /// Ends it at once, as `kill -9` does. Nothing happens when it has ended.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child is ours");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours").is_none()
    }

    /// Waits for the end, which must come before the limit.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let status = wait_for(LIMIT, || self.child.try_wait().expect("the child is ours"));
        if status.is_none() {
            self.child.kill().expect("the child is ours");
        }
        let (stdout, stderr) = self.streams.take().expect("the streams are taken once");
        let output = Output {
            code: status.and_then(|status| status.code()),
            stdout: stdout.join().expect("reading does not panic"),
            stderr: stderr.join().expect("reading does not panic"),
        };
        assert!(status.is_some(), "{} did not end within {LIMIT:?}: {}", self.command, output.text());
        output
    }

    /// Like [`Self::wait`], and the most memory it ever had, in bytes: what the kernel had counted
    /// when it was last asked, a moment before the end.
    #[track_caller]
    pub fn wait_with_peak(mut self) -> (Output, u64) {
        let status = format!("/proc/{}/status", self.child.id());
        let mut peak = 0;
        while self.is_running() {
            // A process that has just ended has no memory.
            let text = fs::read_to_string(&status).unwrap_or_default();
            let kibibytes = text.lines().find_map(|line| {
                line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
            });
            peak = kibibytes.map_or(peak, |kibibytes| peak.max(kibibytes << 10));
            sleep(Duration::from_millis(5));
        }
        (self.wait(), peak)
    }

    /// Asks for a clean stop and waits for it.
    #[track_caller]
    pub fn stop(self) -> Output {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The last JSON value in what was printed: the summary of a command that reports on its way.
#[track_caller]
pub fn json(printed: &str) -> Value {
    let last = serde_json::Deserializer::from_str(printed).into_iter::<Value>().last();
    last.and_then(Result::ok).unwrap_or_else(|| panic!("this is not JSON: {printed:?}"))
}

/// A path as an argument.
pub fn utf8(path: &Path) -> &str {
    path.to_str().expect("the tests' paths are UTF-8")
}

fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The binary beside this program or, for a test, beside the folder it is in, which `make test`
/// builds first. A test does not build it: a build inside a build compiles what both share a second
/// time.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let executable = std::env::current_exe().expect("a test knows its executable");
        let folder = executable
            .ancestors()
            .skip(1)
            .find(|folder| !folder.ends_with("deps"))
            .expect("an executable is in a folder");
        let binary = folder.join("atcost");
        assert!(
            binary.is_file(),
            "{} is missing: run `cargo build --workspace --bins` first, or `make test`, which does",
            binary.display()
        );
        binary
    })
}
