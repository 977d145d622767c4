//! Crashes at every failpoint of the path from a source to a sealed ledger.
//!
//! A worker does what `atcost ingest`, `atcost compact` and `atcost sign` do, in turn, and says after
//! each commit that it was told so.

use crate::campaign::{self, Campaign, Extent, Trial};
use crate::work::{at, file_stream, ledger_before_checkpoint, new_signer, place, sign, wait};
use crate::worker::{Job, Site, say, sites, work};
use derived::classifier::Classifier;
use ingest::decode::Decoder;
use ingest::files::FilesSource;
use ingest::pipeline::{self, Settings};
use ingest::schema::registry::SchemaTable;
use ingest::source::BatchPolicy;
use ingest::stop::Stop;
use ledger::ShardWriter;
use ledger::compact::compact;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tests::atcost::utf8;

pub const CAMPAIGNS: &[Campaign] = &[Campaign {
    name: "failpoints",
    what: "a process that ingests, compacts and signs is aborted, panics, stalls and is killed, or is told of an error, at every step of the way",
    trials: |extent| if extent == Extent::Full { 3_600 } else { 2 * tries().len() as u64 },
    threads: 2,
    run,
}];

/// What the worker of this campaign does.
pub const JOB: Job = ("ledger", |[ledger, input]| {
    wait(all_work(Path::new(ledger), Path::new(input))).map_err(|error| error.to_string())
});

/// Code whose failpoints it passes.
const SOURCES: &[&str] = &["ledger/src", "ledger/derived/src/ids", "ingest/src"];

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

fn tries() -> &'static [Try] {
    static TRIES: OnceLock<Vec<Try>> = OnceLock::new();
    TRIES.get_or_init(|| {
        let folder = campaign::folder();
        let (ledger, input) = prepare(folder.path());
        new_signer(folder.path());
        let counted = work(JOB.0, [utf8(&ledger), utf8(&input)], &["count"]);
        assert!(counted.ended_well, "the worker does its work when nothing disturbs it: {}", counted.errors);
        let mut tries = Vec::new();
        for Site { name: site, returns } in sites(SOURCES) {
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
    let words = [utf8(&ledger), utf8(&input)];
    let crashed = work(JOB.0, words, &[name, site, &hit.to_string()]);
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
    let recovered = work(JOB.0, words, &[]);
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
    (0..4).map(|file| file_stream(&input.join(format!("{}/part-{file}.ndjson", file / 2)))).collect()
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
