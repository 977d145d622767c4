//! The index of ids against a map that forgets nothing: through crashes, deleted and damaged files,
//! older ledgers; and against what rating counts.

use derived::ids::{Class, Classified, Entries, Index, IndexError, Limits, LogPosition, Totals};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tests::atcost::{Atcost, utf8};

/// So small that a few hundred rows make runs, merges of runs, and filters that are not in memory.
const SMALL: Limits = Limits { front_keys: 8, save_every: 3, filter_bytes: 3 * 4096 };

/// A usage row, as far as the index sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    row: u32,
    source: String,
    id: String,
    content: [u8; 32],
}

/// The rows of a ledger, one list for each version from 1 on, and what must be said of them.
#[derive(Debug, Default)]
struct Rows {
    versions: Vec<Vec<Row>>,
    marks: Vec<LogPosition>,
}

impl Rows {
    fn push(&mut self, rows: Vec<Row>) {
        let before = self.marks.last().map_or([0; 32], |mark| mark.digest);
        let digest = Sha256::digest([before.as_slice(), format!("{rows:?}").as_bytes()].concat()).into();
        self.versions.push(rows);
        self.marks.push(LogPosition { version: self.versions.len() as u64, digest });
    }

    /// Versions of numbered ids and contents. Rows of other kinds stand between those of usage.
    fn of(versions: &[Vec<(u16, u8)>]) -> Self {
        let mut rows = Self::default();
        for version in versions {
            rows.push(
                (0..)
                    .step_by(3)
                    .zip(version)
                    .map(|(row, (id, content))| row_of(row, *id, *content))
                    .collect(),
            );
        }
        rows
    }

    fn holds(&self, mark: &LogPosition) -> bool {
        self.marks.contains(mark)
    }

    /// The answer of a map about each version, and about all.
    fn expected(&self) -> (Vec<Classified>, Totals) {
        let mut first: BTreeMap<(&str, &str), [u8; 32]> = BTreeMap::new();
        let (mut all, mut totals) = (Vec::new(), Totals::default());
        for version in &self.versions {
            let mut classified = Classified::default();
            for row in version {
                let class = match first.get(&(row.source.as_str(), row.id.as_str())) {
                    None => {
                        first.insert((&row.source, &row.id), row.content);
                        totals.keys += 1;
                        continue;
                    }
                    Some(content) if *content == row.content => Class::Duplicate,
                    Some(_) => Class::Conflict,
                };
                match class {
                    Class::Duplicate => classified.duplicates += 1,
                    Class::Conflict => classified.conflicts += 1,
                }
                classified.rows.push((row.row, class));
            }
            totals.duplicates += classified.duplicates;
            totals.conflicts += classified.conflicts;
            all.push(classified);
        }
        (all, totals)
    }

    fn open(&self, folder: &Path, limits: Limits) -> Index {
        Index::open(folder, limits, |mark| self.holds(mark)).expect("the folder can be read and written")
    }

    /// Adds what the index lacks and compares every answer; the index is opened again where it
    /// finds itself damaged. Returns how often it was.
    #[track_caller]
    fn catch_up(&self, index: &mut Option<Index>, folder: &Path, limits: Limits) -> u32 {
        let (expected, totals) = self.expected();
        let mut damaged = 0;
        loop {
            let open = index.get_or_insert_with(|| self.open(folder, limits));
            let Some(version) = self.versions.get(usize::try_from(open.complete_to()).expect("few versions"))
            else {
                break;
            };
            let at = usize::try_from(open.complete_to()).expect("few versions");
            let mut entries = Entries::new(open.hasher());
            for row in version {
                entries.push(row.row, &row.source, &row.id, &row.content);
            }
            match open.classify_and_add(self.marks[at], &entries) {
                Ok(classified) => assert_eq!(classified, expected[at], "version {}", at + 1),
                Err(IndexError::Damaged { .. }) => {
                    damaged += 1;
                    assert!(damaged < 3, "an index that was built again is sound");
                    *index = None;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let open = index.as_ref().expect("it was just opened");
        assert_eq!(open.totals(), totals);
        damaged
    }
}

fn row_of(row: u32, id: u16, content: u8) -> Row {
    // Joined, some pairs of source and id are the same text.
    Row {
        row,
        source: format!("//edge/{}", "1".repeat(usize::from(id % 3))),
        id: format!("{:04}", id / 3),
        content: [content; 32],
    }
}

/// Files of the index but its lock, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    files.retain(|path| !path.ends_with("lock"));
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the machine has room for a folder");
    for file in files(from) {
        fs::copy(&file, to.join(file.file_name().expect("a listed file has a name")))
            .expect("the file can be copied");
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("the machine has room for a folder")
}

#[derive(Debug, Clone)]
enum Step {
    Add(Vec<(u16, u8)>),
    /// Without a word of farewell.
    Crash,
    Save,
    Delete,
    /// The ledger is an older copy of itself, by so many versions, and goes on differently.
    Restore(usize),
    /// A bit of one of the files.
    Flip(prop::sample::Index, prop::sample::Index, u8),
    Cut(prop::sample::Index, prop::sample::Index),
    Lose(prop::sample::Index),
    Zeros(prop::sample::Index, prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let any = any::<prop::sample::Index>;
    let add = prop::collection::vec((0..900_u16, 0..2_u8), 0..60).prop_map(Step::Add);
    let step = prop_oneof![
        60 => add,
        4 => Just(Step::Crash),
        3 => Just(Step::Save),
        1 => Just(Step::Delete),
        2 => (1..6_usize).prop_map(Step::Restore),
        4 => (any(), any(), 0..8_u8).prop_map(|(file, at, bit)| Step::Flip(file, at, bit)),
        1 => (any(), any()).prop_map(|(file, at)| Step::Cut(file, at)),
        1 => any().prop_map(Step::Lose),
        2 => (any(), any()).prop_map(|(file, at)| Step::Zeros(file, at)),
    ];
    prop::collection::vec(step, 1..80)
}

/// Damages one of the files, after a crash.
fn damage(folder: &Path, step: &Step) {
    let files = files(folder);
    let (Step::Flip(file, ..) | Step::Cut(file, _) | Step::Lose(file) | Step::Zeros(file, _)) = step else {
        return;
    };
    if files.is_empty() {
        return;
    }
    let path = file.get(&files);
    let mut bytes = fs::read(path).expect("the file can be read");
    if bytes.is_empty() {
        return;
    }
    match step {
        Step::Flip(_, at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Step::Cut(_, at) => bytes.truncate(at.index(bytes.len())),
        // The remains, after a power loss, of pages that were not written yet.
        Step::Zeros(_, at) => {
            let at = at.index(bytes.len()) / 4096 * 4096;
            let end = bytes.len().min(at + 4096);
            bytes[at..end].fill(0);
        }
        _ => return fs::remove_file(path).expect("the file can be removed"),
    }
    fs::write(path, bytes).expect("the file can be written");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_says_what_a_map_says(steps in steps()) {
        let folder = folder();
        let mut rows = Rows::default();
        let mut index = None;
        for step in &steps {
            match step {
                Step::Add(version) => rows.push((0..).step_by(3).zip(version).map(|(row, (id, content))| row_of(row, *id, *content)).collect()),
                Step::Save => drop(index.as_mut().map(Index::save)),
                Step::Crash => index = None,
                Step::Delete => {
                    index = None;
                    fs::remove_dir_all(folder.path()).expect("the folder can be removed");
                }
                Step::Restore(versions) => {
                    index = None;
                    let left = rows.versions.len().saturating_sub(*versions);
                    rows.versions.truncate(left);
                    rows.marks.truncate(left);
                }
                Step::Flip(..) | Step::Cut(..) | Step::Lose(_) | Step::Zeros(..) => {
                    index = None;
                    damage(folder.path(), step);
                }
            }
            rows.catch_up(&mut index, folder.path(), SMALL);
        }
    }
}

/// Numbers that look random and are the same on every day.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// `count` versions of up to 40 rows; a third of the rows repeat an id.
fn versions(count: u64) -> Rows {
    let mut random = numbers();
    let mut next = 0;
    let mut versions = Vec::new();
    for _ in 0..count {
        let mut version = Vec::new();
        for _ in 0..random(40) {
            let again = next > 0 && random(3) == 0;
            let id = if again {
                u16::try_from(random(next)).expect("few ids")
            } else {
                u16::try_from(next).expect("few ids")
            };
            next += u64::from(!again);
            version.push((id, u8::from(again && random(4) == 0)));
        }
        versions.push(version);
    }
    Rows::of(&versions)
}

#[test]
fn a_crash_at_any_step_costs_nothing_but_work() {
    let rows = Arc::new(versions(120));
    let (live, kept) = (folder(), folder());
    let scenario = fail::FailScenario::setup();
    let copies = Arc::new(Mutex::new(Vec::new()));
    for step in ["index.file-created", "index.file-written", "index.file-named", "index.file-removed"] {
        let (from, to, copies, thread) =
            (live.path().to_owned(), kept.path().to_owned(), copies.clone(), std::thread::current().id());
        let keep = move || {
            // Other tests pass here too.
            if std::thread::current().id() == thread {
                let mut copies = copies.lock().expect("nobody panicked");
                let to = to.join(copies.len().to_string());
                copy(&from, &to);
                copies.push((step, to));
            }
        };
        fail::cfg_callback(step, keep).expect("the name is valid");
    }
    let mut index = None;
    rows.catch_up(&mut index, live.path(), SMALL);
    index.as_mut().expect("it is open").save().expect("it can be saved");
    drop(scenario);
    let copies = copies.lock().expect("nobody panicked");
    assert!(copies.len() > 500, "only {} steps", copies.len());
    let mut behind = 0;
    for (step, folder) in copies.iter() {
        let index = rows.open(folder, Limits::default());
        behind = behind.max(index.complete_to());
        let damaged = rows.catch_up(&mut Some(index), folder, Limits::default());
        assert_eq!(damaged, 0, "a crash after {step} damages nothing: {}", folder.display());
    }
    assert_eq!(behind, 120, "the last steps leave an index that is complete");
}

#[test]
fn every_flipped_bit_is_found_or_without_effect() {
    let rows = versions(60);
    let (sound, damaged) = (folder(), folder());
    let mut index = None;
    rows.catch_up(&mut index, sound.path(), SMALL);
    index.as_mut().expect("it is open").save().expect("it can be saved");
    assert!(index.expect("it is open").size().runs > 8, "there is something to damage");
    // The same ids again, so that every run is asked for what it has.
    let mut more = Rows::default();
    for version in rows.versions.iter().chain(&rows.versions) {
        more.push(version.clone());
    }
    let mut random = numbers();
    let (mut at_open, mut later, mut tried) = (0, 0, 0);
    for file in files(sound.path()) {
        let name = file.file_name().expect("a listed file has a name");
        for _ in 0..8 {
            fs::remove_dir_all(damaged.path()).expect("the folder can be removed");
            copy(sound.path(), damaged.path());
            let mut bytes = fs::read(&file).expect("the file can be read");
            let at = usize::try_from(random(bytes.len() as u64)).expect("a small file");
            bytes[at] ^= 1 << random(8);
            fs::write(damaged.path().join(name), bytes).expect("the file can be written");
            let index = more.open(damaged.path(), Limits { filter_bytes: 0, ..Limits::default() });
            tried += 1;
            at_open += u32::from(index.complete_to() == 0);
            later += more.catch_up(
                &mut Some(index),
                damaged.path(),
                Limits { filter_bytes: 0, ..Limits::default() },
            );
        }
    }
    // A bit of an entry's page that no id leads to changes nothing.
    assert!(
        at_open > 0 && later > tried / 2,
        "of {tried} flips {at_open} were found at open and {later} later"
    );
}

#[test]
fn one_process_at_a_time() {
    let (rows, folder) = (versions(3), folder());
    let index = rows.open(folder.path(), SMALL);
    let second = Index::open(folder.path(), SMALL, |_| true).map(|_| ());
    assert!(matches!(second, Err(IndexError::Storage { .. })), "{second:?}");
    drop(index);
    rows.catch_up(&mut None, folder.path(), SMALL);
}

/// The index says of rows that `atcost` ingested what rating counts: neither knows the other.
#[test]
fn index_and_rating_count_the_same() {
    let atcost = Atcost::initialised();
    let events = folder();
    let mut random = numbers();
    for file in 0..4 {
        let mut lines = String::new();
        for _ in 0..1500 {
            let (source, id, value) = (random(3), random(1700), random(2));
            lines.push_str(&format!(
                r#"{{"specversion":"1.0","id":"e-{id}","source":"//edge/{source}","type":"compute.example/instance-hours","subject":"projects/a1","time":"2025-10-02T08:00:00Z","datacontenttype":"application/json","data":{{"value":"{value}"}}}}"#
            ));
            lines.push('\n');
            if random(50) == 0 {
                lines.push_str("this is no event\n");
            }
        }
        fs::write(events.path().join(format!("{file}.ndjson")), lines).expect("the file can be written");
        // One file more each time, so that there are several versions.
        atcost.ok(&["ingest", "--files", utf8(events.path()), "--until-caught-up"]);
    }
    let stored = atcost.ledger(r#"SELECT batch, "row", source, id, hex(content_digest) FROM ledger WHERE kind = 'usage' ORDER BY batch, "row""#);
    let mut by_version: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
    for row in &stored.rows {
        let text =
            |column: usize| row[column].as_deref().expect("usage has a value in each of these columns");
        let digits: Vec<u32> =
            text(4).chars().map(|digit| digit.to_digit(16).expect("a hexadecimal digit")).collect();
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits are a byte"))
            .collect();
        by_version.entry(text(0).parse().expect("a version")).or_default().push(Row {
            row: text(1).parse().expect("a row"),
            source: text(2).to_owned(),
            id: text(3).to_owned(),
            content: bytes.try_into().expect("a digest has 32 bytes"),
        });
    }
    let mut rows = Rows::default();
    let last = *by_version.keys().last().expect("there is usage");
    for version in 1..=last {
        rows.push(by_version.remove(&version).unwrap_or_default());
    }
    assert!(rows.versions.len() >= 4);
    for limits in [SMALL, Limits { front_keys: 100, ..SMALL }, Limits::default()] {
        let (folder, mut index) = (folder(), None);
        rows.catch_up(&mut index, folder.path(), limits);
        let totals = index.expect("it is open").totals();
        let doctor = atcost.doctor();
        assert_eq!(
            (doctor["duplicates"].as_u64(), doctor["conflicts"].as_u64()),
            (Some(totals.duplicates), Some(totals.conflicts))
        );
        assert_eq!(doctor["usage"].as_u64(), Some(totals.keys + totals.duplicates + totals.conflicts));
        assert!(totals.duplicates > 500 && totals.conflicts > 500, "{totals:?}");
    }
}
