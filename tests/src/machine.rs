//! The services of the machine: folders, free ports, and waiting with an end.

use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The folder that holds the workspace, in or below which this program was started. Where it was
/// compiled says nothing: clones may share one target folder.
pub fn workspace() -> &'static Path {
    static WORKSPACE: LazyLock<PathBuf> = LazyLock::new(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the tests' support looks for the clone here and nowhere else"
        )]
        let here = std::env::current_dir().expect("this program was started in a folder");
        let holds_it = |folder: &&Path| folder.join("tests/cases").is_dir();
        here.ancestors()
            .find(holds_it)
            .expect("start this program in the clone or in a folder of it")
            .to_owned()
    });
    &WORKSPACE
}

/// The members of the workspace, as Cargo knows them.
pub fn cargo_metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

/// The file or folder at `path` below tests/cases.
pub fn case(path: &str) -> PathBuf {
    workspace().join("tests/cases").join(path)
}

/// The path in the environment variable `name`, or `default` below the folder that the Makefile
/// keeps its downloads in.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' support reads the environment here and nowhere else"
)]
pub fn provided(name: &str, default: &str) -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(name).unwrap_or_else(|| {
        let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        cache.expect("HOME is set").join("atcost").join(default)
    })
}

/// Runs a script of tests/python; gives what it printed and whether it was content.
pub fn python(script: &str, arguments: &[&str]) -> (String, bool) {
    let output = Command::new(provided("ATCOST_PYTHON", "python/bin/python"))
        .arg("-B")
        .arg(workspace().join("tests/python").join(script))
        .args(arguments)
        .output()
        .expect("Python starts");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (text.into_owned(), output.status.success())
}

/// Whether `UPDATE_EXPECT=1` asks to write what is, in place of what was expected.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' support reads the environment here and nowhere else"
)]
pub fn update_expected() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1")
}

/// A port of the loopback interface that nothing listened on a moment ago.
pub fn free_port() -> u16 {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback interface has a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// Asks every 50 ms until there is an answer; `None` when `limit` is over.
pub fn wait_for<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > limit {
            return None;
        }
        sleep(Duration::from_millis(50));
    }
}
