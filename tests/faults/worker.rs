//! Processes that are struck at a failpoint: this same program, started as a worker, because only a
//! process can really be aborted or killed.
//!
//! A worker is told its job and where to be struck, and says on its output what it has come to. The
//! sites are read from the source code, so a failpoint that is added there is tried, and one that no
//! work reaches is a failure.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tests::machine::workspace;

/// How the command line says that this program is to be a worker.
pub const WORKER: &str = "worker";

/// Work that a worker does: its name on the command line, and the function that is given the words
/// after it.
pub type Job = (&'static str, fn([&str; 2]) -> Result<(), String>);

/// Code that has failpoints.
const SOURCES: &[&str] = &["ledger/src", "ledger/derived/src", "ingest/src", "jobs/src"];
/// Code that only a broker reaches is tried with one.
const ELSEWHERE: &[&str] = &["ingest/src/kafka"];
/// Switches by which a benchmark learns what sealing costs, and a test gets a small index; no faults.
const SWITCHES: &[&str] = &["seal.skip", "totals.small-index"];

/// A place in the code where a fault may strike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    pub name: String,
    /// Whether the code returns an error there, if it is told to.
    pub returns: bool,
}

/// The sites of the code below `sources`, in the order of their names.
pub fn sites(sources: &[&str]) -> Vec<Site> {
    let mut sites = Vec::new();
    for source in sources {
        look(&workspace().join(source), &mut sites);
    }
    sites.retain(|site| !SWITCHES.contains(&site.name.as_str()));
    sites.sort();
    sites.dedup();
    sites
}

fn look(folder: &Path, sites: &mut Vec<Site>) {
    for entry in std::fs::read_dir(folder).expect("the source code") {
        let path = entry.expect("the source code").path();
        let name = path.strip_prefix(workspace()).expect("the source code").to_string_lossy().into_owned();
        if ELSEWHERE.iter().any(|elsewhere| name.starts_with(elsewhere)) {
            continue;
        }
        if path.is_dir() {
            look(&path, sites);
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("the source code");
        for found in text.split(concat!("fail_", "point!(\"")).skip(1) {
            let (site, rest) = found.split_once('"').expect("a failpoint has a name");
            sites.push(Site { name: site.to_owned(), returns: rest.trim_start().starts_with(',') });
        }
    }
}

/// The facts known of a worker that is over.
#[derive(Debug, Default)]
pub struct Worked {
    pub ended_well: bool,
    pub struck: bool,
    pub timed_out: bool,
    pub acknowledged: Option<u64>,
    /// How often it passed each site, if it was told to count.
    pub passed: BTreeMap<String, u64>,
    pub errors: String,
}

/// Lets a worker do its job. `strike` is nothing, or `count`, or an action, a site, and which pass of
/// it: `abort`, `panic`, `stall`, upon which it is killed, or `error`.
pub fn work(job: &str, words: [&str; 2], strike: &[&str]) -> Worked {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command
        .args([WORKER, job])
        .args(words)
        .args(strike)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("this program starts");
    let output = BufReader::new(child.stdout.take().expect("the output is piped"));
    let mut errors = child.stderr.take().expect("the errors are piped");
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        // The last thing it says is for people, and may be cut off when it dies.
        let _ = errors.read_to_string(&mut text);
        text
    });
    let mut worked = Worked::default();
    for line in output.lines() {
        let Ok(line) = line else { break };
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("acknowledged", version) => worked.acknowledged = version.parse().ok(),
            ("struck", _) => worked.struck = true,
            ("passed", site) => *worked.passed.entry(site.to_owned()).or_default() += 1,
            ("stalled", _) => child.kill().expect("a process of ours can be killed"),
            ("timed-out", _) => worked.timed_out = true,
            _ => {}
        }
    }
    worked.ended_well = child.wait().expect("the worker ends").success();
    worked.errors = errors.join().unwrap_or_default();
    worked
}

/// The worker: does its job, and strikes itself where it was told to.
///
/// # Errors
/// What became of the job, or that it is none.
pub fn worker(arguments: &[String], jobs: &[Job]) -> Result<(), String> {
    let [job, first, second, strike @ ..] = arguments else {
        return Err("a worker is given a job and two words".to_owned());
    };
    let (_, job) =
        jobs.iter().find(|(name, _)| name == job).ok_or_else(|| format!("{job} is no job of a worker"))?;
    arm(strike)?;
    // Everybody who waits for a worker waits for its output to end.
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(60));
        say("timed-out");
        std::process::abort();
    });
    job([first, second])
}

/// Tells whoever started this worker.
pub fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("whoever started the worker listens");
}

fn arm(strike: &[String]) -> Result<(), String> {
    match strike {
        [] => Ok(()),
        [count] if count == "count" => sites(SOURCES).into_iter().try_for_each(|site| {
            let passed = format!("passed {}", site.name);
            fail::cfg_callback(site.name, move || say(&passed))
        }),
        [action, site, hit] if action == "error" => fail::cfg(
            site.as_str(),
            &if hit == "0" { "1*return".to_owned() } else { format!("{hit}*off->1*return") },
        ),
        [action, site, hit] => {
            let (action, hit) = (action.clone(), hit.parse::<u64>().map_err(|error| error.to_string())?);
            let pass = AtomicU64::new(0);
            fail::cfg_callback(site.as_str(), move || {
                if pass.fetch_add(1, Ordering::Relaxed) == hit {
                    say("struck");
                    match action.as_str() {
                        "abort" => std::process::abort(),
                        "panic" => panic!("a planned panic"),
                        _ => {
                            say("stalled");
                            std::thread::sleep(Duration::from_secs(600));
                        }
                    }
                }
            })
        }
        _ => Err(format!("a worker cannot be struck with {strike:?}")),
    }
}
