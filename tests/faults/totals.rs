//! What is derived under faults: usage totals and their index of ids are killed while they are made,
//! cut by power, and damaged.
//!
//! Nothing derived has to survive. What is tried is that a run either says no, or has the bytes of a
//! run of the same cut that read every row; and that totals made anew have the bytes of those that
//! were interrupted. The index keeps little in memory here, so that few rows make runs of it, merge
//! them, and leave it ahead of the totals.

use crate::campaign::{self, Campaign, Extent, Random, Trial};
use crate::disk::{Event, RecordingDisk, after_power_loss, not_synced};
use crate::work::{at, copy_folder, file_stream, wait, wait_or_panic};
use crate::worker::{Job, sites, work};
use derived::totals::catch_up;
use ingest::decode::Decoder;
use ingest::files::FilesSource;
use ingest::pipeline::{self, Settings};
use ingest::schema::registry::SchemaTable;
use ingest::source::BatchPolicy;
use ingest::stop::Stop;
use jobs::config::Config;
use jobs::verbs::rate::{Cut, rate};
use ledger::pinned::Versions;
use ledger::{Location, ShardWriter};
use schemas::digest::Sha256Digest;
use schemas::position::{Origin, Stream};
use schemas::shard::Shard;
use schemas::time::BillingMonth;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use tests::atcost::{Atcost, Running, utf8};
use tests::machine::{case, wait_for};

pub const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "totals-kill",
        what: "kill -9 of `atcost totals` and `atcost rate` beside ingest, at every failpoint of what is derived and at any moment, with the index or all of it gone before, now and then",
        trials: |extent| if extent == Extent::Full { 20 } else { 2 },
        threads: 2,
        run: kill,
    },
    Campaign {
        name: "totals-power-loss",
        what: "the power goes while usage totals follow each commit; of the index of ids nothing counts as synced",
        trials: |extent| if extent == Extent::Full { 600 } else { 12 },
        threads: 2,
        run: power_loss,
    },
    Campaign {
        name: "totals-flips",
        what: "one bit of one file of what is derived is another: manifests, cells, samples, months, repeats, suspects, spans, the index of ids",
        trials: |extent| if extent == Extent::Full { 2_000 / FLIPS } else { 2 },
        threads: 2,
        run: flip,
    },
];

/// Flips of one trial, one after the other.
const FLIPS: u64 = 20;

/// What the worker of the first campaign does: `atcost totals` or `atcost rate` in a folder.
pub const JOB: Job = ("rate", |[folder, verb]| {
    let config = configured(Path::new(folder));
    let done = match verb {
        "totals" => wait(jobs::verbs::totals::catch_up(&config)).map(drop),
        _ => wait(rate(&config, month(), &Cut::default())).map(drop),
    };
    done.map_err(|error| format!("{error:#}"))
});

const SMALL_INDEX: &str = "totals.small-index";

/// The configuration of a folder, for work in this process.
fn configured(folder: &Path) -> Config {
    fail::cfg(SMALL_INDEX, "return").expect("the failpoint is there");
    Config::load(&folder.join("atcost.toml")).expect("`atcost init` wrote the configuration")
}

fn month() -> BillingMonth {
    BillingMonth::parse("2025-10").expect("a month")
}

/// A folder after `atcost init`, with the month's catalog and a divided ledger that commits often.
fn new_ledger(folder: &Path, shards: u32) -> Atcost {
    let atcost = Atcost::initialised_in(folder);
    atcost.set("ingest", "batch_records = 7");
    atcost.ok(&["catalog", "publish", utf8(&case("month/catalog"))]);
    if shards > 1 {
        atcost.ok(&["shards", &shards.to_string()]);
    }
    fs::create_dir(folder.join("events")).expect("a folder for events");
    atcost
}

fn shard(number: u32, of: u32) -> Shard {
    format!("{number}/{of}").parse().expect("a shard")
}

/// Whoever sends: usage that the month's catalog covers, ids that come again with the same content
/// and with another, and corrections of what has come and of what is still to come. Each shard has
/// ids of its own, because a run reads rows where two have one.
struct Senders {
    random: Random,
    shards: u32,
    files: u32,
    /// The number of each shard's next new id.
    next: Vec<u64>,
}

impl Senders {
    fn new(random: &mut Random, shards: u32) -> Self {
        let mut random = random.clone();
        random.next();
        Self { random, shards, files: 0, next: vec![0; usize::try_from(shards).expect("few shards")] }
    }

    /// Puts a file for each shard into a folder.
    fn send(&mut self, events: &Path) {
        for index in 0..self.shards {
            let mut text = String::new();
            for _ in 0..20 + self.random.below(20) {
                text.push_str(&format!("{}\n", self.line(index)));
            }
            let mut filler = 0;
            let takes = |text: &str| {
                let origin = Origin::File { digest: Sha256Digest::of(text.as_bytes()) };
                shard(index + 1, self.shards).takes(&Stream { origin, partition: 0 })
            };
            while !takes(&text) {
                filler += 1;
                text.push_str(&format!("{{\"filler\":{filler}}}\n"));
            }
            fs::write(events.join(format!("{:05}.ndjson", self.files)), text).expect("a file of events");
            self.files += 1;
        }
    }

    fn line(&mut self, shard: u32) -> Value {
        let next = &mut self.next[usize::try_from(shard).expect("few shards")];
        let new = *next;
        let drawn = self.random.below(100);
        if new == 0 || drawn < 65 {
            *next += 1;
            return event(shard, new, 0);
        }
        let known = self.random.below(new);
        if drawn < 85 {
            return event(shard, known, u64::from(drawn >= 80));
        }
        *next += 1;
        let mut correction = event(shard, new, 0);
        let target = event(shard, self.random.below(new + 3), 0);
        let action = if drawn < 92 { "void" } else { "replace" };
        correction["data"]["correction"] =
            json!({"action": action, "source": target["source"], "id": target["id"], "reason": "wrong"});
        correction
    }
}

/// The event of a number; `more` makes it say something else.
fn event(shard: u32, number: u64, more: u64) -> Value {
    let kinds = [
        ("compute.example/instance-hours", "class", "standard"),
        ("compute.example/instance-hours", "class", "gpu"),
        ("storage.example/bytes-stored", "tier", "hot"),
        ("network.example/egress", "destination", "eu"),
        ("network.example/unknown", "destination", "eu"),
    ];
    let subjects = ["projects/a1", "projects/a2", "projects/b1", "projects/c1", "projects/i1"];
    let nth = |step: u64, of: u64| number.wrapping_mul(step) % of;
    let pick = |step: u64, of: usize| usize::try_from(nth(step, of as u64)).expect("a small number");
    let (meter, dimension, value) = kinds[pick(1, kinds.len())];
    json!({
        "specversion": "1.0",
        "id": format!("e-{shard}-{number}"),
        "source": "//edge/ams",
        "type": meter,
        "subject": subjects[pick(3, subjects.len())],
        "time": format!("2025-10-{:02}T{:02}:30:00Z", 1 + nth(7, 31), nth(5, 24)),
        "data": {"value": format!("{}.25", nth(11, 97) + more), "dimensions": {dimension: value}},
    })
}

/// Reads a folder of events into a ledger, as `atcost ingest --until-caught-up` does.
async fn ingested(ledger: &Location, events: &Path, shards: u32, batch: usize) {
    for number in 1..=shards {
        let mut writer = ShardWriter::open_shard(ledger, shard(number, shards)).await.expect("it opens");
        let mut source = FilesSource::new(events).expect("a folder").sharded(shard(number, shards));
        let table = SchemaTable::read(&BTreeMap::new()).expect("no schemas");
        let mut decoder = Decoder::new(Box::new(table), []);
        let policy = BatchPolicy { max_records: batch, ..BatchPolicy::default() };
        let settings = Settings { policy, until_caught_up: true, metrics: Arc::default() };
        let clock = || at(1_000_000_000);
        let (stop, mut told) = (Stop::default(), |_: &pipeline::Progress| ());
        pipeline::run(&mut source, &mut decoder, &mut writer, &settings, &stop, clock, &mut told)
            .await
            .expect("whole files are read");
    }
}

type Files = BTreeMap<String, Vec<u8>>;

/// All files below a folder.
fn files_below(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("a file below").to_string_lossy().into_owned();
            // A file may be gone since it was listed.
            files.extend(fs::read(&path).ok().map(|bytes| (name, bytes)));
        }
    }
    files
}

fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("it can be deleted");
    }
}

/// A run that was written.
struct Billed {
    versions: Versions,
    files: Files,
    /// Whether it was compared with control totals: it rests on usage totals.
    controlled: bool,
}

/// Rates the month and takes the run away. A refusal is an error, and so is a panic.
fn billed(config: &Config, cut: &Cut) -> Result<Billed, String> {
    let rated = wait_or_panic(rate(config, month(), cut))?.map_err(|error| format!("{error:#}"))?;
    let folder = rated.folder.disk_path().expect("runs are on a disk").to_owned();
    let files = files_below(&folder);
    remove(&folder);
    Ok(Billed { versions: rated.run.pins.ledger.versions, files, controlled: rated.control_totals.is_some() })
}

/// The run of a cut that reads every row.
fn from_rows(config: &Config, versions: &Versions) -> Billed {
    let cut = Cut { ledger_version: Some(versions.clone()), from_rows: true, ..Cut::default() };
    billed(config, &cut).expect("rows can always be rated")
}

/// What became of a run.
enum Came {
    /// It has the bytes of a run that read every row.
    Right,
    Refused(String),
    Wrong(String),
}

fn came(config: &Config, expected: impl FnOnce(&Versions) -> Files) -> Came {
    let run = match billed(config, &Cut::default()) {
        Ok(run) => run,
        Err(why) => return Came::Refused(why),
    };
    if !run.controlled {
        return Came::Wrong("the run does not rest on usage totals".to_owned());
    }
    let expected = expected(&run.versions);
    let names: BTreeSet<&String> = run.files.keys().chain(expected.keys()).collect();
    let differ: Vec<&str> = names
        .into_iter()
        .filter(|name| run.files.get(*name) != expected.get(*name))
        .map(String::as_str)
        .collect();
    match differ.is_empty() {
        true => Came::Right,
        false => Came::Wrong(format!("of version {} it has other {}", run.versions, differ.join(", "))),
    }
}

/// The next run must be written, and right.
fn rates(trial: &mut Trial, config: &Config, when: &str) {
    match came(config, |versions| from_rows(config, versions).files) {
        Came::Right => {}
        Came::Refused(why) => trial.failed(format!("{when}: the next run is refused: {why}")),
        Came::Wrong(what) => trial.undetected(format!("{when}: the next run is wrong: {what}")),
    }
}

/// The files that the manifest of the totals names, and what it says of the shards.
fn folded(ledger: &Path) -> (Files, Value) {
    let folder = ledger.join("derived/totals");
    let manifest = fs::read_to_string(folder.join("manifest.json")).expect("a manifest");
    let (_, body) = manifest.split_once('\n').expect("a digest, and what it is the digest of");
    let mut manifest: Value = serde_json::from_str(body).expect("JSON");
    let shards = manifest["shards"].take();
    let mut files = Files::new();
    let of_shard = |shard: &Value| {
        let all = ["leaves", "unions"].map(|kind| shard[kind].as_array().expect("an array").clone());
        all.concat()
    };
    for segment in shards.as_array().into_iter().flatten().flat_map(of_shard) {
        for kind in KINDS {
            if let Some(name) = segment[kind]["name"].as_str() {
                files.insert(name.to_owned(), fs::read(folder.join(name)).expect("a file that is named"));
            }
        }
    }
    (files, shards)
}

/// Totals that went through faults are those that are made of the rows at once.
fn made_anew_alike(trial: &mut Trial, config: &Config, folder: &Path) {
    let ledger = folder.join("ledger");
    let caught_up = || wait(jobs::verbs::totals::catch_up(config)).map_err(|error| format!("{error:#}"));
    if let Err(why) = caught_up() {
        return trial.failed(format!("totals cannot be brought up: {why}"));
    }
    let here = folded(&ledger);
    remove(&ledger.join("derived"));
    match caught_up() {
        Err(why) => trial.failed(format!("totals cannot be made anew: {why}")),
        Ok(_) if folded(&ledger) != here => trial.failed("totals made anew have other bytes"),
        Ok(_) => {}
    }
}

fn commits(folder: &Path) -> usize {
    let shards = fs::read_dir(folder.join("ledger/shards")).expect("a ledger has shards");
    let logs = shards.flatten().map(|shard| shard.path().join("_delta_log"));
    logs.map(|log| fs::read_dir(log).map_or(0, Iterator::count)).sum()
}

/// A kill at any moment comes as often as at these failpoints.
const AT_ANY_MOMENT: usize = 4;

fn kill(trial: &mut Trial) {
    let shards = if trial.number.is_multiple_of(2) { 1 } else { 2 };
    let folder = trial.folder().to_owned();
    let atcost = new_ledger(&folder, shards);
    let config = configured(&folder);
    let mut senders = Senders::new(&mut trial.random, shards);
    senders.send(&folder.join("events"));
    wait(ingested(&config.ledger, &folder.join("events"), shards, 7));
    rates(trial, &config, "before any fault");
    let sites = sites(&["ledger/derived/src"]);
    let faults = if trial.extent == Extent::Full { 20 } else { 6 };
    for fault in 0..faults {
        let turn = usize::try_from(trial.number * faults + fault).expect("few faults");
        let site = sites.get(turn % (sites.len() + AT_ANY_MOMENT)).map(|site| site.name.as_str());
        let when = format!("{}, fault {fault}", site.unwrap_or("any moment"));
        let mut struck = false;
        // A pass that is not reached is tried again with the first one.
        for pass in [trial.random.below(6), 0] {
            if !struck {
                struck = interrupted(trial, &atcost, &mut senders, site, pass);
                rates(trial, &config, &when);
            }
        }
        if struck {
            trial.injected(1);
            trial.tally(site.unwrap_or("any moment"));
        } else if site.is_some() {
            trial.failed(format!("{when}: nobody passes it"));
        }
    }
    let events = files_below(&folder.join("events")).into_keys();
    let expected: Vec<_> = events.map(|name| file_stream(&folder.join("events").join(name))).collect();
    trial.audit(&folder.join("ledger"), &expected);
    let verified = atcost.run(&["verify", "totals"]);
    if verified.code != Some(0) {
        trial.failed(format!("`atcost verify totals` is not content: {}", verified.text()));
    }
    made_anew_alike(trial, &config, &folder);
}

/// Kills whoever makes totals while new events are read. Whether it was killed on the way.
fn interrupted(
    trial: &mut Trial,
    atcost: &Atcost,
    senders: &mut Senders,
    site: Option<&str>,
    pass: u64,
) -> bool {
    let folder = atcost.folder().to_owned();
    match trial.random.below(8) {
        0 => remove(&folder.join("ledger/derived/ids")),
        1 => remove(&folder.join("ledger/derived")),
        _ => {}
    }
    let before = commits(&folder);
    senders.send(&folder.join("events"));
    let ingest = |number: u32| {
        let shard = shard(number, senders.shards).to_string();
        atcost.spawn(&["ingest", "--files", "events", "--until-caught-up", "--shard", &shard])
    };
    let ingests: Vec<Running> = (1..=senders.shards).map(ingest).collect();
    let committed = wait_for(Duration::from_secs(60), || (commits(&folder) > before).then_some(()));
    if committed.is_none() {
        trial.failed("nothing is committed");
    }
    let verb = *trial.random.pick(&["totals", "rate"]);
    let struck = match site {
        Some(site) => {
            let worked = work(JOB.0, [utf8(&folder), verb], &["stall", site, &pass.to_string()]);
            if worked.timed_out || !(worked.struck || worked.ended_well) {
                trial.failed(format!("{site}, {verb}: the worker fails: {}", worked.errors));
            }
            worked.struck
        }
        None => {
            let small = [("FAILPOINTS", "totals.small-index=return")];
            let whole: &[&str] = if verb == "rate" { &["rate", "--period", "2025-10"] } else { &["totals"] };
            let mut running = atcost.spawn_with(whole, &small);
            thread::sleep(Duration::from_micros(trial.random.below(250_000)));
            let struck = running.is_running();
            running.kill();
            struck
        }
    };
    for ingest in ingests {
        let output = ingest.wait();
        if output.code != Some(0) {
            trial.failed(format!("ingest fails beside it: {}", output.text()));
        }
    }
    struck
}

/// A ledger of one shard with some commits and nothing derived, and the events that come next.
fn begun() -> &'static Path {
    static BEGUN: OnceLock<PathBuf> = OnceLock::new();
    BEGUN.get_or_init(|| {
        let folder = campaign::shared_folder();
        drop(new_ledger(&folder, 1));
        let config = configured(&folder);
        let mut senders = Senders::new(&mut Random::of(7), 1);
        senders.send(&folder.join("events"));
        wait(ingested(&config.ledger, &folder.join("events"), 1, 9));
        senders.send(&folder.join("events"));
        senders.send(&folder.join("events"));
        folder
    })
}

/// Everything that was asked of the disk while the rest of the events were read, and totals followed
/// each commit as soon as it had its name.
fn recorded() -> &'static [Event] {
    static EVENTS: OnceLock<Vec<Event>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let folder = campaign::folder();
        copy_folder(begun(), folder.path());
        configured(folder.path());
        let disk = RecordingDisk::new(&folder.path().join("ledger"), |disk| {
            let ledger = disk.location();
            let following = thread::spawn(move || wait(catch_up(&ledger, &mut |_, _| ())).map(drop));
            following.join().expect("it does not panic").expect("totals of a whole ledger");
            disk.see_ids();
        });
        let sites = sites(&["ledger/derived/src/ids"]);
        for site in &sites {
            let disk = disk.clone();
            fail::cfg_callback(site.name.as_str(), move || disk.see_ids()).expect("the failpoint is there");
        }
        wait(ingested(&disk.location(), &folder.path().join("events"), 1, 9));
        sites.iter().for_each(|site| fail::remove(&site.name));
        let events = disk.events();
        assert!(events.iter().filter(|event| matches!(event, Event::Ids(_))).count() > 50);
        events
    })
}

/// The index of ids as it may be found: as it was last, as it was at any time before, or with each
/// file as it was at some time, damaged or not at all.
fn ids_after_power_loss(events: &[Event], random: &mut Random) -> Files {
    let states: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Ids(files) => Some(files),
            _ => None,
        })
        .collect();
    let Some(last) = states.last() else { return Files::new() };
    let as_it_was = |files: &BTreeMap<String, Arc<[u8]>>| -> Files {
        files.iter().map(|(name, bytes)| (name.clone(), bytes.to_vec())).collect()
    };
    match random.below(4) {
        0 => as_it_was(last),
        1 => as_it_was(states[random.index(states.len())]),
        _ => {
            let recent = &states[random.index(states.len())..];
            let names: BTreeSet<&String> = recent.iter().flat_map(|state| state.keys()).collect();
            let mut found = Files::new();
            for name in names {
                let Some(bytes) = random.pick(recent).get(name) else { continue };
                let damaged = random.chance(20);
                let bytes = if damaged { not_synced(bytes, random) } else { bytes.to_vec() };
                found.insert(name.clone(), bytes);
            }
            found
        }
    }
}

fn power_loss(trial: &mut Trial) {
    let events = recorded();
    let point = if trial.extent == Extent::Full && trial.number < events.len() as u64 {
        trial.number
    } else {
        trial.random.below(events.len() as u64 + 1)
    };
    let happened = &events[..usize::try_from(point).expect("an index")];
    let folder = trial.folder().to_owned();
    copy_folder(begun(), &folder);
    let ledger = folder.join("ledger");
    let ids = ids_after_power_loss(happened, &mut trial.random);
    let ids = ids.into_iter().map(|(name, bytes)| (Path::new("derived/ids").join(name), bytes));
    for (path, bytes) in after_power_loss(happened, &mut trial.random).into_iter().chain(ids) {
        let path = ledger.join(path);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    trial.injected(1);
    let config = configured(&folder);
    rates(trial, &config, "after the cut");
    // The commits that come are not those that were lost.
    let batch = 5 + trial.random.index(20);
    wait(ingested(&config.ledger, &folder.join("events"), 1, batch));
    rates(trial, &config, "when ingest has gone on");
    made_anew_alike(trial, &config, &folder);
    let events = files_below(&folder.join("events")).into_keys();
    let expected: Vec<_> = events.map(|name| file_stream(&folder.join("events").join(name))).collect();
    trial.audit(&ledger, &expected);
}

/// A ledger with totals, and the last version of it, rated from rows.
struct Whole {
    folder: PathBuf,
    versions: Versions,
    files: Files,
}

/// Ledgers with totals: one that they reach, and one that has got commits since, so that whoever
/// rates adds to the index of ids and merges segments.
fn with_totals() -> &'static [Whole; 2] {
    static WHOLE: OnceLock<[Whole; 2]> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let [reached, behind] = [campaign::shared_folder(), campaign::shared_folder()];
        copy_folder(begun(), &reached);
        let config = configured(&reached);
        for (batch, files) in [(4, 94_u32), (6, 96)] {
            wait(jobs::verbs::totals::catch_up(&config)).expect("totals");
            wait(ingested(&config.ledger, &reached.join("events"), 1, batch));
            // New numbers begin where nobody has come to.
            let random = Random::of(files.into());
            Senders { random, shards: 1, files, next: vec![60] }.send(&reached.join("events"));
        }
        wait(jobs::verbs::totals::catch_up(&config)).expect("totals");
        copy_folder(&reached, &behind);
        wait(ingested(&configured(&behind).ledger, &behind.join("events"), 1, 3));
        [reached, behind].map(|folder| {
            let cut = Cut { from_rows: true, ..Cut::default() };
            let Billed { versions, files, .. } =
                billed(&configured(&folder), &cut).expect("rows can always be rated");
            Whole { folder, versions, files }
        })
    })
}

/// The files of leaves and unions.
const KINDS: [&str; 6] = ["cells", "samples", "months", "repeats", "suspects", "spans"];

/// The kind of a file of what is derived. A lock has no bits.
fn kind(path: &str) -> Option<&'static str> {
    match path {
        "maker" | "readers" | "ids/lock" => None,
        "totals/manifest.json" => Some("manifest"),
        "totals/reaching.json" => Some("reaching"),
        "ids/manifest" => Some("manifest of the index"),
        path if path.starts_with("ids/") => Some("run of the index"),
        path => KINDS
            .into_iter()
            .find(|kind| path.contains(&format!(".{kind}.")))
            .or_else(|| panic!("what is derived has a file that bits are not flipped in: {path}")),
    }
}

fn flip(trial: &mut Trial) {
    let ledger = &with_totals()[usize::from(trial.random.chance(60))];
    let folder = trial.folder().to_owned();
    copy_folder(&ledger.folder, &folder);
    let config = configured(&folder);
    let derived = folder.join("ledger/derived");
    let mut by_kind: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let whole = files_below(&derived);
    for name in whole.keys() {
        if let Some(kind) = kind(name) {
            by_kind.entry(kind).or_default().push(name.clone());
        }
    }
    assert_eq!(by_kind.len(), 4 + KINDS.len(), "every kind of file is there: {by_kind:?}");
    let kinds: Vec<&str> = by_kind.keys().copied().collect();
    for _ in 0..FLIPS {
        let kind = *trial.random.pick(&kinds);
        let name = trial.random.pick(&by_kind[kind]).clone();
        let mut bytes = whole[&name].clone();
        let (byte, bit) = (trial.random.index(bytes.len()), trial.random.below(8));
        bytes[byte] ^= 1 << bit;
        fs::write(derived.join(&name), bytes).expect("the file is damaged");
        trial.injected(1);
        let place = format!("bit {bit} of byte {byte} of {name} ({kind})");
        let expected = |versions: &Versions| {
            assert_eq!(*versions, ledger.versions, "nobody has written meanwhile");
            ledger.files.clone()
        };
        match came(&config, expected) {
            Came::Right => trial.tally(format!("{kind}: billed rightly")),
            Came::Wrong(what) => trial.undetected(format!("{place}: {what}")),
            Came::Refused(why) => {
                trial.tally(format!("{kind}: refused"));
                if !why.contains("delete the folder `derived`") {
                    trial.failed(format!("{place}: the refusal does not say what to do: {why}"));
                }
                remove(&derived);
                rates(trial, &config, &format!("{place}, when it was deleted"));
            }
        }
        remove(&derived);
        copy_folder(&ledger.folder.join("ledger/derived"), &derived);
    }
}
