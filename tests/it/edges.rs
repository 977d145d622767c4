//! Which crate may use what: the table of ARCHITECTURE.md, checked against the manifests and the
//! lock file.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use tests::machine::{cargo_metadata, workspace};

/// The crates of ours that a crate may depend on.
const OURS: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("proof", &["schemas"]),
    ("ledger", &["schemas", "proof"]),
    // The ledger does not know what is derived from it.
    ("derived", &["schemas", "proof", "ledger"]),
    ("ingest", &["schemas", "ledger", "derived"]),
    ("rating", &["schemas", "ledger", "derived"]),
    ("jobs", &["schemas", "proof", "ledger", "derived", "ingest", "rating"]),
    ("tests", &["schemas", "proof", "ledger", "derived", "ingest", "rating", "jobs"]),
];

/// The packages that must not be linked into a crate, not even through another. A name stands for
/// itself and for what begins with it and a hyphen.
const NOT_IN: &[(&str, &[&str], &str)] = &[
    (
        "schemas",
        &[
            "tokio",
            "async-trait",
            "futures",
            "arrow",
            "parquet",
            "rdkafka",
            "reqwest",
            "ureq",
            "rand",
            "uuid",
        ],
        "it has no I/O",
    ),
    (
        "proof",
        &["tokio", "async-trait", "arrow", "parquet", "object_store", "rdkafka"],
        "a partner compiles it into a verifier",
    ),
    ("ledger", &["rdkafka", "datafusion", "ureq"], "it knows neither Kafka nor SQL"),
    ("jobs", &["deltalake", "buoyant_kernel", "delta_kernel"], "every byte of Delta's log is ours"),
    ("ingest", &["datafusion"], "it never consults the catalog"),
    ("rating", &["rdkafka", "ureq"], "a run is a function of its pins"),
];

/// The packages that a crate must not name itself, though something below it may use them.
const NOT_NAMED_BY: &[(&str, &[&str], &str)] = &[
    ("rating", &["object_store", "reqwest", "uuid", "rand"], "it reads the ledger through the ledger crate"),
    ("ingest", &["object_store"], "it writes the ledger through the ledger crate"),
    (
        "schemas",
        &["jiff-tzdb-platform", "time", "chrono"],
        "jiff carries its own time zones, the same on every machine",
    ),
];

/// The packages that are there once, or one crate's record batch is no record batch to another.
const ONCE: &[&str] = &[
    "arrow",
    "arrow-array",
    "arrow-schema",
    "parquet",
    "datafusion",
    "object_store",
    "apache-avro",
    "rdkafka",
    "rust_decimal",
];

/// The normal dependencies that each crate of ours names.
fn named() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo_metadata();
    let text = |value: &Value| value.as_str().expect("a name is a string").to_owned();
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a package has dependencies");
            // A package that only a crate's own tests use is in no program.
            let normal = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null() || package["name"] == "tests");
            (text(&package["name"]), normal.map(|dependency| text(&dependency["name"])).collect())
        })
        .collect()
}

/// A package's name and version.
type Package = (String, String);
/// A dependency's name, and its version where Cargo.lock must tell several apart.
type Dependency = (String, Option<String>);

/// Every package of Cargo.lock, and what it depends on.
fn locked() -> BTreeMap<Package, Vec<Dependency>> {
    let lock = fs::read_to_string(workspace().join("Cargo.lock")).expect("the workspace has a lock file");
    let value = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    let dependencies = |block: &str| {
        let listed = block
            .lines()
            .skip_while(|line| *line != "dependencies = [")
            .skip(1)
            .take_while(|line| *line != "]");
        let entry = |line: &str| {
            let mut words = line.trim().trim_matches([',', '"']).split(' ').map(str::to_owned);
            (words.next().expect("a dependency has a name"), words.next())
        };
        listed.map(entry).collect()
    };
    let blocks = lock.split("[[package]]").skip(1);
    blocks
        .map(|block| {
            (
                (
                    value(block, "name").expect("a package has a name"),
                    value(block, "version").expect("a package has a version"),
                ),
                dependencies(block),
            )
        })
        .collect()
}

/// Everything that is linked into a crate of ours, directly or not.
fn linked(name: &str) -> BTreeSet<String> {
    let (named, locked) = (named(), locked());
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let mut queue: VecDeque<(String, Option<String>)> =
        named[name].iter().map(|dependency| (dependency.clone(), None)).collect();
    while let Some((name, version)) = queue.pop_front() {
        let matching = locked.keys().filter(|package| {
            package.0 == name && version.as_ref().is_none_or(|version| *version == package.1)
        });
        for package in matching {
            if seen.insert(package.clone()) {
                // The lock file does not say which dependencies of our crates are only for their
                // tests; the manifests do.
                let used = locked[package].iter().filter(|dependency| {
                    named.get(&name).is_none_or(|normal| normal.contains(&dependency.0))
                });
                queue.extend(used.cloned());
            }
        }
    }
    seen.into_iter().map(|package| package.0).collect()
}

fn is(package: &str, forbidden: &str) -> bool {
    package == forbidden || package.strip_prefix(forbidden).is_some_and(|rest| rest.starts_with('-'))
}

#[test]
fn a_crate_of_ours_uses_only_those_below_it() {
    let named = named();
    let ours: BTreeSet<&str> = OURS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        named.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        ours,
        "a crate without a place in the order"
    );
    for (name, allowed) in OURS {
        let forbidden: Vec<_> = named[*name]
            .iter()
            .filter(|other| ours.contains(other.as_str()) && !allowed.contains(&other.as_str()))
            .collect();
        assert!(forbidden.is_empty(), "{name} must not depend on {forbidden:?}: it may use {allowed:?}");
    }
}

#[test]
fn a_crate_stays_free_of_what_it_must_not_know() {
    for (name, forbidden, reason) in NOT_IN {
        let found: Vec<_> = linked(name)
            .into_iter()
            .filter(|package| forbidden.iter().any(|forbidden| is(package, forbidden)))
            .collect();
        // Arrow's schema types are values without I/O.
        let found: Vec<_> =
            found.into_iter().filter(|package| !(*name == "schemas" && package == "arrow-schema")).collect();
        assert!(found.is_empty(), "{found:?} is linked into {name}, but {reason}");
    }
    let named = named();
    for (name, forbidden, reason) in NOT_NAMED_BY {
        let found: Vec<_> = named[*name]
            .iter()
            .filter(|package| forbidden.iter().any(|forbidden| is(package, forbidden)))
            .collect();
        assert!(found.is_empty(), "{name} depends on {found:?}, but {reason}");
    }
}

#[test]
fn what_must_be_there_once_is_there_once() {
    let locked = locked();
    let versions = |wanted: &str| {
        locked
            .keys()
            .filter(|(name, _)| name == wanted)
            .map(|(_, version)| version.clone())
            .collect::<Vec<_>>()
    };
    for name in ONCE {
        assert_eq!(versions(name).len(), 1, "Cargo.lock has {name} {:?}", versions(name));
    }
}
