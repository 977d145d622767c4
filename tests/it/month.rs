//! The month of tests/cases/month from files: its README is the contract for commands, columns and
//! rules.

use crate::places::{place, write};
use ledger::compact::compact;
use schemas::time::Instant;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use tests::atcost::{Atcost, json, utf8};
use tests::audit::audit;
use tests::machine::case;
use tests::month::{self, assert_figures, assert_tables, strings};
use tests::{encode, machine};

fn ingest(atcost: &Atcost, folder: &Path) {
    atcost.ok(&["ingest", "--files", utf8(folder), "--until-caught-up"]);
}

/// A ledger with the month in it.
fn ingested() -> Atcost {
    let atcost = month::ledger();
    ingest(&atcost, &case("month/events"));
    atcost
}

/// Every file below `folder`, by its path there.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().expect("a listed file has a name").to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(&path).expect("the file can be read"));
        }
    }
    found
}

#[test]
fn the_month_gives_exactly_what_is_expected() {
    assert_figures(&ingested());
}

#[test]
fn the_doctor_names_every_refused_record() {
    let (doctor, expected) = (ingested().doctor(), month::summary());
    assert_eq!(strings(&doctor["refused"]), strings(&expected["refused"]));
    for name in ["received", "usage", "rejected", "duplicates", "conflicts"] {
        assert_eq!(doctor[name], expected[name], "`{name}` of the doctor");
    }
}

#[test]
fn ingesting_twice_changes_nothing() {
    let atcost = ingested();
    let facts = || {
        let names = files(&atcost.folder().join("ledger")).into_keys();
        names.filter(|name| !name.starts_with("derived/")).collect::<Vec<_>>()
    };
    let before = (facts(), month::rate(&atcost).0);
    ingest(&atcost, &case("month/events"));
    assert_eq!(facts(), before.0);
    assert_eq!(month::rate(&atcost).0, before.1);
    assert_figures(&atcost);
}

#[test]
fn the_same_pins_give_the_same_bytes() {
    let atcost = ingested();
    let runs = atcost.folder().join("runs");
    month::rate(&atcost);
    let first = files(&runs);
    assert!(first.keys().any(|name| name.ends_with("charges.parquet")), "{:?}", first.keys());
    month::rate(&atcost);
    assert!(files(&runs) == first, "rating again over a finished run changed it");
    fs::remove_dir_all(&runs).expect("runs may be deleted");
    month::rate(&atcost);
    let second = files(&runs);
    assert_eq!(second.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    for (name, bytes) in &first {
        assert!(second[name] == *bytes, "{name} differs");
    }
}

/// The month's files, each through `pack`, in a folder of their own.
fn repacked(pack: impl Fn(usize, &str, &[u8]) -> (String, Vec<u8>)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("the machine has room for a folder");
    for (index, (name, bytes)) in files(&case("month/events")).into_iter().enumerate() {
        let (name, bytes) = pack(index, &name, &bytes);
        fs::write(folder.path().join(name), bytes).expect("the folder can be written");
    }
    folder
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

#[test]
fn compressed_files_are_the_same_usage() {
    let folder = repacked(|index, name, bytes| {
        if index % 2 == 0 {
            (format!("{name}.gz"), gzip(bytes))
        } else {
            (format!("{name}.zst"), zstd::encode_all(bytes, 3).expect("memory can be read"))
        }
    });
    let atcost = month::ledger();
    ingest(&atcost, folder.path());
    assert_figures(&atcost);
}

/// A second delivery of the same events under another name is a duplicate of each, and bills
/// nothing.
#[test]
fn the_same_events_in_another_file_are_duplicates() {
    let atcost = ingested();
    let folder = repacked(|_, name, bytes| (format!("{name}.gz"), gzip(bytes)));
    ingest(&atcost, folder.path());
    let summary = assert_tables(&atcost);
    assert_eq!([&summary["received"], &summary["usage"], &summary["rejected"]], [140, 90, 50]);
    // 45 good records: all are repeated, of which the conflicting one conflicts again.
    assert_eq!([&summary["duplicates"], &summary["conflicts"]], [4 + 44, 1 + 1]);
}

#[test]
fn avro_containers_are_the_same_usage() {
    let lines = month::lines();
    let folder = repacked(|_, name, bytes| {
        let events: Vec<_> =
            lines.iter().filter(|line| line.place.starts_with(name)).map(|line| line.event.clone()).collect();
        if events.iter().any(Option::is_none) {
            // An event that must be refused has no Avro form.
            return (name.to_owned(), bytes.to_vec());
        }
        let data: Vec<_> = events.iter().flatten().map(encode::datum).collect();
        let schema = fs::read_to_string(machine::workspace().join("schemas/usage_event.v1.avsc"))
            .expect("the schema is in the repository");
        let container = encode::container(&schema, &data);
        if name.starts_with("02") {
            (name.replace("ndjson", "avro.gz"), gzip(&container))
        } else {
            (name.replace("ndjson", "avro"), container)
        }
    });
    let atcost = month::ledger();
    ingest(&atcost, folder.path());
    assert_figures(&atcost);
}

#[test]
fn files_that_arrive_later_are_read_by_the_next_run() {
    let atcost = month::ledger();
    let folder = tempfile::tempdir().expect("the machine has room for a folder");
    for (name, bytes) in files(&case("month/events")) {
        fs::write(folder.path().join(name), bytes).expect("the folder can be written");
        ingest(&atcost, folder.path());
    }
    assert_figures(&atcost);
}

#[test]
fn every_row_of_the_ledger_has_its_own_place() {
    let atcost = ingested();
    let table = atcost.ledger(
        "SELECT count(*) AS rows, count(DISTINCT (origin, \"partition\", \"offset\")) AS places FROM ledger",
    );
    assert_eq!(table.lines(), ["rows=70 places=70"]);
}

#[test]
fn paths_are_relative_to_the_configuration() {
    let (atcost, elsewhere) = (ingested(), Atcost::empty());
    let config = atcost.folder().join("atcost.toml");
    let output =
        elsewhere.run(&["rate", "--config", utf8(&config), "--period", "2025-10", "--format", "json"]);
    assert_eq!(json(&output.stdout)["received"], 70, "{}", output.text());
    assert!(atcost.folder().join("runs/period=2025-10").is_dir());
    assert!(files(elsewhere.folder()).is_empty());
}

// A request that cannot be met is answered with what to do, and nothing is left behind.

#[test]
fn init_makes_what_is_missing_and_keeps_what_is_there() {
    let atcost = Atcost::initialised();
    let before = files(atcost.folder());
    let again = atcost.ok(&["init"]);
    assert!(again.contains("kept atcost.toml and the ledger"), "{again}");
    assert_eq!(files(atcost.folder()), before);

    // The configuration was deployed first, and says where the ledger is.
    let deployed = Atcost::empty();
    let text = "[ledger]\npath = \"elsewhere/facts\"\n";
    fs::write(deployed.folder().join("atcost.toml"), text).expect("the configuration");
    let said = deployed.ok(&["init"]);
    assert!(said.contains("kept atcost.toml as it is; made an empty ledger in"), "{said}");
    assert_eq!(files(deployed.folder())["atcost.toml"], text.as_bytes());
    deployed.ok(&["doctor"]);

    // It was killed after the key was written, and then after the ledger was there.
    let ledger = atcost.folder().join("ledger");
    fs::remove_dir_all(ledger.join("shards")).expect("it can be removed");
    fs::remove_dir_all(ledger.join("journal")).expect("it can be removed");
    let said = atcost.ok(&["init"]);
    assert!(said.contains("made an empty ledger in"), "{said}");
    fs::remove_file(atcost.folder().join("atcost.toml")).expect("it can be removed");
    let said = atcost.ok(&["init"]);
    assert!(said.contains("wrote atcost.toml; kept the ledger that is in"), "{said}");
    atcost.ok(&["doctor"]);

    // A configuration that cannot work is refused before anything is made.
    let wrong = Atcost::empty();
    fs::write(wrong.folder().join("atcost.toml"), "[ingest]\nbatch_seconds = 0\n").expect("it is written");
    let refused = wrong.run(&["init"]);
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    assert!(refused.stderr.contains("atcost.toml:2: ingest.batch_seconds"), "{}", refused.text());
    assert_eq!(files(wrong.folder()).len(), 1);
}

/// A part of a ledger that was used is lost and not unfinished: an empty one in its place would hide
/// the loss, and advice to make one would go in a circle.
#[test]
fn a_part_that_is_gone_is_replaced_only_where_nothing_was_written() {
    let unused = Atcost::initialised();
    fs::remove_dir_all(unused.folder().join("ledger/journal")).expect("it can be removed");
    let told = unused.run(&["doctor"]);
    assert!(told.code == Some(2) && told.stderr.contains("`atcost init` makes it"), "{}", told.text());
    unused.ok(&["init"]);
    unused.ok(&["doctor"]);

    let used = Atcost::with_catalog(&case("month/catalog"));
    ingest(&used, &case("month/events"));
    for (part, said) in [("journal", "the journal is gone"), ("shards", "the first shard is gone")] {
        let (here, aside) = (used.folder().join("ledger").join(part), used.folder().join("aside"));
        fs::rename(&here, &aside).expect("it can be moved");
        for verb in [["init"].as_slice(), &["doctor"], &["rate", "--period", "2025-10"]] {
            let output = used.run(verb);
            assert_eq!(output.code, Some(2), "{verb:?}: {}", output.text());
            assert!(
                output.stderr.contains(said) && output.stderr.contains("restore it from a copy"),
                "{verb:?}: {}",
                output.text()
            );
        }
        fs::rename(&aside, &here).expect("it can be moved back");
    }
    used.ok(&["rate", "--period", "2025-10"]);
}

#[test]
fn nothing_is_rated_without_a_catalog() {
    let atcost = Atcost::initialised();
    ingest(&atcost, &case("month/events"));
    let output = atcost.run(&["rate", "--period", "2025-10"]);
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(output.stderr.contains("catalog publish"), "it does not say what to do: {}", output.text());
}

#[test]
fn what_is_missing_is_named() {
    let atcost = Atcost::empty();
    for (arguments, named) in [
        (vec!["doctor"], "atcost init"),
        (vec!["ingest", "--files", "nowhere", "--until-caught-up"], "atcost init"),
        (vec!["rate", "--period", "2025-10"], "atcost init"),
    ] {
        let output = atcost.run(&arguments);
        assert_eq!(output.code, Some(2), "{arguments:?}: {}", output.text());
        assert!(output.stderr.contains(named), "{arguments:?} does not name {named}: {}", output.text());
    }
    atcost.ok(&["init"]);
    for (arguments, named) in [
        (vec!["ingest", "--files", "nowhere", "--until-caught-up"], "nowhere"),
        (vec!["catalog", "publish", "nowhere"], "nowhere"),
        (vec!["rate", "--period", "2025-13"], "2025-13"),
        (vec!["ingest", "--until-caught-up"], "--brokers"),
    ] {
        let output = atcost.run(&arguments);
        assert_eq!(output.code, Some(2), "{arguments:?}: {}", output.text());
        assert!(output.stderr.contains(named), "{arguments:?} does not name {named}: {}", output.text());
    }
}

#[test]
fn a_charge_is_explained_by_the_newest_run_that_has_it() {
    let atcost = ingested();
    let (first, _) = month::rate(&atcost);
    // Another version of the catalog that says the same is one more entry of the journal.
    let copy = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files(&case("month/catalog")) {
        let path = copy.path().join(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        fs::write(&path, [bytes.as_slice(), b"\n"].concat()).expect("the file can be written");
    }
    atcost.ok(&["catalog", "publish", utf8(copy.path())]);
    let (second, _) = month::rate(&atcost);
    let charge = "653687b8eb3bc303095054f152796131";
    assert_eq!(atcost.json(&["explain", charge])["run"], second["run"]);
    // Nothing says which is the newer of two that differ in the catalog alone.
    let catalog = first["catalog"].as_str().expect("the run has a catalog");
    atcost.ok(&["rate", "--period", "2025-10", "--catalog", catalog]);
    let ambiguous = atcost.run(&["explain", charge]);
    assert_eq!(ambiguous.code, Some(2), "{}", ambiguous.text());
    assert!(ambiguous.stderr.contains("--run"), "{}", ambiguous.text());
    let run = second["run"].as_str().expect("the run has an id");
    assert_eq!(atcost.json(&["explain", charge, "--run", run])["run"], run);
    // A newer ledger version decides it, whatever the older runs are called.
    ingest(
        &atcost,
        repacked(|number, name, bytes| (format!("{number}-{name}"), [bytes, b"\n"].concat())).path(),
    );
    let (third, _) = month::rate(&atcost);
    assert_eq!(atcost.json(&["explain", charge])["run"], third["run"]);
}

/// A ledger as it was made before records said what their meters add up to: the month from Kafka,
/// one of its files again, and the digest of its cut as it was stated then. It is checked, billed
/// and gone on with.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_the_first_formats_goes_on() {
    const DIGEST: &str = "de4eb06fbcc8d050fabe92bdd7541a5a3e3a93701cdfcaf8a4cf1e7911e4b0b1";
    let atcost = Atcost::initialised();
    let ledger = atcost.folder().join("ledger");
    fs::remove_dir_all(&ledger).expect("it is empty");
    for (name, bytes) in files(&case("ledger/first_formats")) {
        write(&place(&ledger).join(&name), bytes).await;
    }
    let whole = || {
        atcost.ok(&["verify", "ledger"]);
        audit(&ledger, &[], None).assert_whole();
    };
    whole();
    let summary = assert_tables(&atcost);
    assert_eq!(summary["ledger_digest"], DIGEST);
    assert_eq!([&summary["usage"], &summary["rejected"], &summary["duplicates"]], [51, 25, 10]);
    ingest(&atcost, &case("month/events"));
    whole();
    let summary = assert_tables(&atcost);
    assert_eq!([&summary["usage"], &summary["ledger_version"]], [90, 3]);
    let later = Instant::parse_rfc3339("2101-01-01T00:00:00Z").expect("an instant");
    assert!(compact(&place(&ledger), later).await.expect("it compacts").rows >= 76);
    whole();
    assert_tables(&atcost);
}
