//! October with its invoices, as `tests/cases/close` has them, up to the close.

use crate::atcost::{Atcost, utf8};
use crate::machine::case;
use std::fs;
use std::path::Path;

/// The files of October's invoices, by provider.
pub const INVOICES: [(&str, &str); 4] = [
    ("nimbus", "close/invoices/nimbus-2025-10.csv"),
    ("stow", "close/invoices/stow-2025-10.csv"),
    ("lynx", "close/invoices/lynx-2025-10.csv"),
    ("vireo", "close/invoices/vireo-2025-10.jsonl"),
];

/// What the close of October passes over.
pub const CLOSE: [&str; 13] = [
    "close",
    "--period",
    "2025-10",
    "--waive",
    "unrated",
    "--waive",
    "conflicts",
    "--waive",
    "invoice:otter",
    "--reason",
    "otter is late",
    "--by",
    "mira",
];

/// Who decides, and why.
const WHY: [&str; 4] = ["--reason", "looked at", "--by", "mira"];

/// The usage and the catalog of October, without an invoice.
pub fn without_invoices() -> Atcost {
    let atcost = Atcost::initialised();
    prepare(&atcost);
    atcost
}

/// Publishes the catalog and reads the events of October.
pub fn prepare(atcost: &Atcost) {
    let catalog = atcost.folder().join("catalog");
    copy(&case("month/catalog"), &catalog);
    copy(&case("close/catalog"), &catalog);
    atcost.ok(&["catalog", "publish", utf8(&catalog)]);
    for events in ["month/events", "close/events"] {
        atcost.ok(&["ingest", "--files", utf8(&case(events)), "--until-caught-up"]);
    }
}

/// Takes in the invoices of October.
pub fn import_all(atcost: &Atcost) {
    for (provider, file) in INVOICES {
        atcost.ok(&["invoice", "import", "--provider", provider, utf8(&case(file))]);
    }
}

/// Accepts whatever is open in October.
pub fn accept_all(atcost: &Atcost) {
    for (provider, _) in INVOICES {
        atcost.ok(&decide("accept", provider, &[]));
    }
}

/// The command of a decision about October.
pub fn decide<'a>(action: &'a str, provider: &'a str, on: &[&'a str]) -> Vec<&'a str> {
    [&["reconcile", action, "--provider", provider, "--period", "2025-10"], on, &WHY[..]].concat()
}

/// How many entries the journal has, each of which was checked.
#[track_caller]
pub fn entries(atcost: &Atcost) -> u64 {
    let verified = atcost.json(&["verify", "ledger"]);
    let logs = verified["logs"].as_array().expect("the logs of the ledger");
    let journal = logs.iter().find(|log| log["log"] == "journal").expect("a ledger has a journal");
    journal["rows"].as_u64().expect("a number of entries")
}

/// Copies a folder over what is there.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let copied = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &copied),
            false => drop(fs::copy(&path, &copied).expect("a copy")),
        }
    }
}
