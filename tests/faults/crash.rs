//! Crashes at every failpoint of the path from a source to a sealed ledger.
//!
//! The work is done by a process of its own, this same program started as a worker, because only a
//! process can really be aborted or killed. It does what `atcost ingest`, `atcost compact` and
//! `atcost sign` do, in turn, and says after each commit that it was told so.
//!
//! The sites are read from the source code, so a failpoint that is added there is tried here, and
//! one that no work reaches is a failure.

use crate::campaign::{self, Campaign, Extent, Trial};
use crate::work::{at, ledger_before_checkpoint, new_signer, place, sign, wait};
use derived::classifier::Classifier;
use ingest::decode::Decoder;
use ingest::files::FilesSource;
use ingest::pipeline::{self, Settings};
use ingest::schema::registry::SchemaTable;
use ingest::source::BatchPolicy;
use ingest::stop::Stop;
use ledger::ShardWriter;
use ledger::compact::compact;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tests::machine::workspace;

pub const CAMPAIGNS: &[Campaign] = &[Campaign {
    name: "failpoints",
    what: "a process that ingests, compacts and signs is aborted, panics, stalls and is killed, or is told of an error, at every step of the way",
    trials: |extent| if extent == Extent::Full { 3_600 } else { 2 * tries().len() as u64 },
    threads: 2,
    run,
}];

/// How the command line says that this program is to be the worker.
pub const WORKER: &str = "worker";

/// Code whose failpoints the worker passes.
const SOURCES: &[&str] = &["ledger/src", "ingest/src"];
/// Code that only a broker reaches is tried with one.
const ELSEWHERE: &[&str] = &["ingest/src/kafka"];
/// A switch by which a benchmark learns what sealing costs, and no fault.
const SWITCHES: &[&str] = &["seal.skip"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Abort,
    Panic,
    Kill,
    /// The code at the site returns the error it is meant to return there.
    Error,
}

#[derive(Debug, Clone)]
struct Try {
    site: String,
    action: Action,
    /// How often an undisturbed worker passes.
    passed: u64,
}

/// A site's name, and whether it can return an error.
fn sites() -> Vec<(String, bool)> {
    let mut sites = Vec::new();
    for source in SOURCES {
        look(&workspace().join(source), &mut sites);
    }
    sites.retain(|(site, _)| !SWITCHES.contains(&site.as_str()));
    sites.sort();
    sites.dedup();
    sites
}

fn look(folder: &Path, sites: &mut Vec<(String, bool)>) {
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
            sites.push((site.to_owned(), rest.trim_start().starts_with(',')));
        }
    }
}

fn tries() -> &'static [Try] {
    static TRIES: OnceLock<Vec<Try>> = OnceLock::new();
    TRIES.get_or_init(|| {
        let folder = campaign::folder();
        let (ledger, input) = prepare(folder.path());
        new_signer(folder.path());
        let counted = work(&ledger, &input, &["count"]);
        assert!(counted.ended_well, "the worker does its work when nothing disturbs it: {}", counted.errors);
        let mut tries = Vec::new();
        for (site, returns) in sites() {
            let passed = counted.passed.get(&site).copied().unwrap_or_default();
            let actions: &[Action] = if returns {
                &[Action::Abort, Action::Panic, Action::Kill, Action::Error]
            } else {
                &[Action::Abort, Action::Panic, Action::Kill]
            };
            tries.extend(actions.iter().map(|action| Try { site: site.clone(), action: *action, passed }));
        }
        tries
    })
}

fn run(trial: &mut Trial) {
    let tries = tries();
    let Try { site, action, passed } =
        &tries[usize::try_from(trial.number % tries.len() as u64).expect("an index")];
    if *passed == 0 {
        return trial.failed(format!("the worker never passes the failpoint {site}"));
    }
    let (ledger, input) = prepare(trial.folder());
    let key = new_signer(trial.folder()).to_string();
    let hit = trial.random.below(*passed);
    let name = match action {
        Action::Abort => "abort",
        Action::Panic => "panic",
        Action::Kill => "stall",
        Action::Error => "error",
    };
    let crashed = work(&ledger, &input, &[name, site, &hit.to_string()]);
    if crashed.struck || *action == Action::Error {
        trial.injected(1);
        trial.tally(format!("{site}, {name}"));
    }
    if crashed.timed_out {
        trial.failed(format!("{site}, {name}, pass {hit}: the worker neither ended nor went on"));
    }
    // The ledger as it is now must be whole already, and hold what was acknowledged.
    let audit = trial.audit(&ledger, &[]);
    let commits = audit.shards.first().map(|shard| shard.commits);
    if commits < crashed.acknowledged {
        trial.lost(format!(
            "{site}, {name}, pass {hit}: commit {:?} was acknowledged, and there are {commits:?}",
            crashed.acknowledged
        ));
    }
    let recovered = work(&ledger, &input, &[]);
    if !recovered.ended_well {
        return trial
            .failed(format!("{site}, {name}, pass {hit}: the next worker fails: {}", recovered.errors));
    }
    let signed =
        trial.audit_signed(&ledger, &expected(&input), Some(&key)).shards.first().map(|shard| shard.signed);
    if signed < audit.shards.first().map(|shard| shard.signed) {
        trial.failed(format!("{site}, {name}, pass {hit}: the signed head went back"));
    }
}

/// The facts known of a worker that is over.
#[derive(Debug, Default)]
struct Worked {
    ended_well: bool,
    struck: bool,
    timed_out: bool,
    acknowledged: Option<u64>,
    passed: BTreeMap<String, u64>,
    errors: String,
}

fn work(ledger: &Path, input: &Path, strike: &[&str]) -> Worked {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command
        .arg(WORKER)
        .arg(ledger)
        .arg(input)
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

/// A copy of a ledger that will soon make a Delta checkpoint, and the files to ingest.
fn prepare(folder: &Path) -> (PathBuf, PathBuf) {
    let (ledger, input) = (folder.join("ledger"), folder.join("input"));
    ledger_before_checkpoint(&ledger);
    for file in 0..4 {
        let path = input.join(format!("{}/part-{file}.ndjson", file / 2));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, records(file)).expect("a file");
    }
    (ledger, input)
}

/// Forty lines, each of which is a record: usage, the same usage again, and what is refused.
fn records(file: u32) -> String {
    let mut text = String::new();
    for line in 0..40 {
        match line % 10 {
            8 => writeln!(text, "{{\"broken\": {line}, \"in\": {file}"),
            line_in_ten => writeln!(
                text,
                r#"{{"specversion":"1.0","source":"//edge/ams","id":"e-{file}-{}","type":"compute.example/instance-hours","subject":"projects/{line_in_ten}","time":"2025-10-02T08:00:{:02}Z","datacontenttype":"application/json","data":{{"value":"{line}.5","dimensions":{{"class":"standard"}}}}}}"#,
                line - i32::from(line_in_ten == 7),
                line % 60
            ),
        }
        .expect("writing to a string");
    }
    text
}

fn expected(input: &Path) -> Vec<(String, Range<i64>)> {
    let stream = |file: u32| {
        let digest = Sha256::digest(
            std::fs::read(input.join(format!("{}/part-{file}.ndjson", file / 2))).expect("a file"),
        );
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        (format!("file/{digest}/0"), 0..40)
    };
    (0..4).map(stream).collect()
}

/// The worker: does all of the work that is not done, and strikes itself where it was told to.
pub fn worker(arguments: &[String]) -> Result<(), String> {
    let [ledger, input, strike @ ..] = arguments else {
        return Err("a worker is given a ledger and an input".to_owned());
    };
    arm(strike)?;
    // Everybody who waits for a worker waits for its output to end.
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(60));
        say("timed-out");
        std::process::abort();
    });
    wait(all_work(Path::new(ledger), Path::new(input))).map_err(|error| error.to_string())
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("whoever started the worker listens");
}

fn arm(strike: &[String]) -> Result<(), String> {
    match strike {
        [] => Ok(()),
        [count] if count == "count" => sites().into_iter().try_for_each(|(site, _)| {
            let passed = format!("passed {site}");
            fail::cfg_callback(site, move || say(&passed))
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

/// The version of which the ledger makes a Delta checkpoint, beside the commits. This work is so
/// short that it would be over before.
const CHECKPOINT: u64 = 100;

fn wait_for_checkpoint(ledger: &Path) {
    let checkpoint = ledger.join(format!("shards/0/_delta_log/{CHECKPOINT:020}.checkpoint.parquet"));
    // It does not come when making it is what is struck.
    let _ = tests::machine::wait_for(Duration::from_secs(2), || checkpoint.exists().then_some(()));
    // The next commit names it, once it was read back.
    std::thread::sleep(Duration::from_millis(50));
}

async fn all_work(ledger: &Path, input: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let at_disk = place(ledger);
    let mut days = 0;
    for part in ["0", "1"] {
        let mut opened = ShardWriter::open(&at_disk).await?;
        opened.classify_with(Box::new(Classifier::default())).await?;
        let mut source = FilesSource::new(input.join(part))?;
        let mut decoder = Decoder::new(Box::new(SchemaTable::read(&BTreeMap::new())?), []);
        let policy = BatchPolicy { max_records: 15, ..BatchPolicy::default() };
        let settings = Settings { policy, until_caught_up: true, metrics: Arc::default() };
        let mut version = None;
        let mut told = |progress: &pipeline::Progress| {
            if progress.version != version {
                version = progress.version;
                say(&format!("acknowledged {}", version.expect("a commit has a version")));
                if version == Some(CHECKPOINT) {
                    wait_for_checkpoint(ledger);
                }
            }
        };
        pipeline::run(
            &mut source,
            &mut decoder,
            &mut opened,
            &settings,
            &Stop::default(),
            || at(1_000_000_000),
            &mut told,
        )
        .await?;
        drop(opened);
        days += 2;
        compact(&at_disk, at(days * 24 * 60 * 60 * 1_000_000)).await?;
        sign(&at_disk, input.parent().expect("the trial's folder")).await?;
    }
    Ok(())
}
