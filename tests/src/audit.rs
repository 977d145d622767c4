//! The independent auditor, tests/python/audit.py: it knows docs/format.md and nothing of atcost,
//! and recounts a ledger from its files.
//!
//! Python and DuckDB start once and answer one ledger after the other. There are as many of them as
//! threads that ask at the same time.

use crate::machine::{provided, workspace};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The auditor's findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Sentences that name where and what. Empty is a whole ledger.
    pub problems: Vec<String>,
    /// Offsets that the caller expected and that no row covers.
    pub lost: u64,
    /// Offsets that are in the ledger more than once.
    pub repeated: u64,
    pub shards: Vec<Shard>,
    /// Entries of the journal.
    pub entries: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub number: u64,
    /// Commits, which is also the size of the log.
    pub commits: u64,
    /// The root of the log after the last commit, in hexadecimal digits.
    pub root: String,
    pub usage: u64,
    pub rejected: u64,
    pub gaps: u64,
    /// The size of the signed head, where there is one.
    pub signed: Option<u64>,
    /// The next offset of each stream; none where there are rows and no position.
    pub next: BTreeMap<String, Option<i64>>,
}

impl Audit {
    /// Rows of all shards.
    pub fn rows(&self) -> u64 {
        self.shards.iter().map(|shard| shard.usage + shard.rejected + shard.gaps).sum()
    }

    #[track_caller]
    pub fn assert_whole(self) -> Self {
        assert!(self.problems.is_empty(), "the auditor found:\n  {}", self.problems.join("\n  "));
        self
    }
}

/// Audits a ledger. Of each stream in `expected`, every offset of the range must be there exactly
/// once. With `key`, a verifier key in the notation of signed notes, the head must be signed by it.
pub fn audit(ledger: &Path, expected: &[(String, Range<i64>)], key: Option<&str>) -> Audit {
    static IDLE: Mutex<Vec<Auditor>> = Mutex::new(Vec::new());
    let idle = || IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let expect: Value = expected
        .iter()
        .map(|(stream, range)| (stream.clone(), json!({"from": range.start, "next": range.end})))
        .collect();
    let free = idle().pop();
    let mut auditor = free.unwrap_or_else(Auditor::start);
    let answer = auditor.ask(&json!({"ledger": ledger, "expect": expect, "vkey": key}));
    idle().push(auditor);
    read(&answer)
}

/// A running auditor. It ends with this process, when its input does.
struct Auditor {
    // Kept, so that the process is not a stranger while it runs.
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Auditor {
    fn start() -> Self {
        let python = provided("ATCOST_PYTHON", "python/bin/python");
        assert!(
            python.exists(),
            "DuckDB is missing: there is no {}. `make test` sets it up and runs the tests.",
            python.display()
        );
        let script = workspace().join("tests/python/audit.py");
        let mut process = Command::new(python)
            .arg(script)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let input = process.stdin.take().expect("the input is piped");
        let output = BufReader::new(process.stdout.take().expect("the output is piped"));
        Self { _process: process, input, output }
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.input, "{request}").expect("the auditor reads its input");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the auditor answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the auditor answered {line:?}: {error}"))
    }
}

fn read(answer: &Value) -> Audit {
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("the auditor counts in {answer}"));
    let list =
        |value: &Value| value.as_array().unwrap_or_else(|| panic!("the auditor lists in {answer}")).clone();
    let shard = |shard: &Value| Shard {
        number: number(&shard["shard"]),
        commits: number(&shard["commits"]),
        root: shard["root"].as_str().expect("a root is a text").to_owned(),
        usage: number(&shard["usage"]),
        rejected: number(&shard["rejected"]),
        gaps: number(&shard["gaps"]),
        signed: shard["signed"].as_u64(),
        next: shard["streams"]
            .as_object()
            .expect("streams have names")
            .iter()
            .map(|(name, stream)| (name.clone(), stream["next"].as_i64()))
            .collect(),
    };
    let audit = Audit {
        problems: list(&answer["problems"])
            .iter()
            .map(|problem| problem.as_str().expect("a problem is a sentence").to_owned())
            .collect(),
        lost: number(&answer["lost"]),
        repeated: number(&answer["repeated"]),
        shards: list(&answer["shards"]).iter().map(shard).collect(),
        entries: answer["journal"]["entries"].as_u64().unwrap_or_default(),
    };
    assert_eq!(answer["ok"], audit.problems.is_empty(), "the auditor is of two minds: {answer}");
    audit
}
