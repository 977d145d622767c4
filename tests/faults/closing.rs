//! An import, a withdrawal, a decision and a close under faults: each has happened or has not.
//!
//! Whatever was interrupted is run again as a person would, and the month must then be what it is where
//! nobody was in the way: the same invoices, rows, statements, and one entry of the journal for each.

use crate::campaign::{self, Campaign, Extent, Trial};
use crate::disk::{Event, RecordingDisk, after_power_loss};
use crate::work::{copy_folder, place, wait};
use crate::worker::{Job, sites, work};
use jobs::config::Config;
use jobs::verbs::reconcile::{Asked, decision};
use jobs::verbs::{close, invoice};
use ledger::journal::Journal;
use rating::books::ImportOptions;
use rating::close::Waiver;
use rating::reconcile::Action;
use schemas::time::BillingMonth;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tests::atcost::{Atcost, utf8};
use tests::closing::{self, INVOICES, decide};
use tests::machine::case;

pub const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "closing-kill",
        what: "an import, a withdrawal, a decision or a close is aborted, panics, or stalls and is killed, at every step of the way",
        trials: |extent| if extent == Extent::Full { 300 } else { 6 },
        threads: 2,
        run: kill,
    },
    Campaign {
        name: "closing-power-loss",
        what: "the power goes while a month is imported, decided and closed",
        trials: |extent| if extent == Extent::Full { 200 } else { 6 },
        threads: 2,
        run: power_loss,
    },
];

/// What the worker of the first campaign does: one step in a folder.
pub const JOB: Job = ("closing", |[folder, step]| {
    let config = Config::load(&Path::new(folder).join("atcost.toml")).expect("`atcost init` wrote it");
    let step = Step::ALL.into_iter().find(|known| known.name() == step).expect("a step has that name");
    wait(step.take(&config))
});

/// Code whose failpoints are passed on the way.
const SOURCES: &[&str] = &["ledger/src", "jobs/src"];

/// In the order in which a month goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Import,
    Withdraw,
    Accept,
    Dispute,
    Close,
}

impl Step {
    const ALL: [Self; 5] = [Self::Import, Self::Withdraw, Self::Accept, Self::Dispute, Self::Close];

    fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Withdraw => "withdraw",
            Self::Accept => "accept",
            Self::Dispute => "dispute",
            Self::Close => "close",
        }
    }

    /// The providers of which everything is accepted before.
    fn accepted_before(self) -> &'static [&'static str] {
        match self {
            Self::Close => &["nimbus", "stow", "lynx"],
            _ => &[],
        }
    }

    async fn take(self, config: &Config) -> Result<(), String> {
        let month = BillingMonth::parse("2025-10").expect("a month");
        let (reason, by) = ("looked at", "mira");
        let on = |action, provider, class| Asked {
            action,
            provider,
            period: month,
            sku: None,
            sub_account: None,
            class,
            text: None,
            reason,
            by,
        };
        let taken = match self {
            Self::Import => {
                let file = case("close/invoices/vireo-2025-10.jsonl");
                invoice::import(config, "vireo", &file, &ImportOptions::default()).await.map(drop)
            }
            Self::Withdraw => invoice::withdraw(config, "VI-77", None, reason, by).await.map(drop),
            Self::Accept => decision(config, &on(Action::Accept, "stow", None)).await.map(drop),
            Self::Dispute => decision(config, &on(Action::Dispute, "nimbus", Some("price"))).await.map(drop),
            Self::Close => {
                let waived = ["unrated", "conflicts", "invoice:otter", "invoice:vireo"].map(Waiver::parse);
                let waived: Result<BTreeSet<Waiver>, String> = waived.into_iter().collect();
                close::close(config, month, &waived?, Some(reason), by).await.map(drop)
            }
        };
        taken.map_err(|error| format!("{error:#}"))
    }

    /// The same as a command.
    fn command(self) -> Vec<String> {
        let file = case("close/invoices/vireo-2025-10.jsonl");
        let close = [
            "close --period 2025-10 --waive unrated --waive conflicts --waive invoice:otter --waive invoice:vireo",
            "--by mira --reason",
        ];
        let words = match self {
            Self::Import => vec!["invoice", "import", "--provider", "vireo", utf8(&file)],
            Self::Withdraw => {
                vec!["invoice", "withdraw", "--invoice", "VI-77", "--by", "mira", "--reason", "looked at"]
            }
            Self::Accept => decide("accept", "stow", &[]),
            Self::Dispute => decide("dispute", "nimbus", &["--class", "price"]),
            Self::Close => close.iter().flat_map(|part| part.split(' ')).chain(["looked at"]).collect(),
        };
        words.into_iter().map(str::to_owned).collect()
    }

    /// What whoever takes it again is told where it has happened.
    fn is_done_already(self, output: &tests::atcost::Output) -> bool {
        let text = output.text();
        match self {
            Self::Import => text.contains("imported already, as journal entry"),
            Self::Withdraw => text.contains("there is no invoice"),
            Self::Accept | Self::Dispute => text.contains("that is open fits"),
            Self::Close => text.contains("it is closed already, which is final"),
        }
    }
}

/// A folder in which a step comes next.
fn before(step: Step) -> &'static Path {
    static BEFORE: OnceLock<BTreeMap<Step, PathBuf>> = OnceLock::new();
    &BEFORE.get_or_init(|| {
        let mut folders = BTreeMap::new();
        let first = campaign::shared_folder();
        let atcost = Atcost::initialised_in(&first);
        closing::prepare(&atcost);
        for (provider, file) in INVOICES.into_iter().filter(|(provider, _)| *provider != "vireo") {
            atcost.ok(&["invoice", "import", "--provider", provider, utf8(&case(file))]);
        }
        for step in Step::ALL {
            let folder = campaign::shared_folder();
            copy_folder(&first, &folder);
            let atcost = Atcost::existing_in(&folder);
            if step == Step::Withdraw {
                let import = Step::Import.command();
                atcost.ok(&import.iter().map(String::as_str).collect::<Vec<_>>());
            }
            for provider in step.accepted_before() {
                atcost.ok(&decide("accept", provider, &[]));
            }
            folders.insert(step, folder);
        }
        folders
    })[&step]
}

/// The month as it is seen from outside, without when something was done.
fn seen(atcost: &Atcost) -> Vec<String> {
    let mut invoices = atcost.json(&["invoice", "list"]);
    for invoice in invoices.as_array_mut().expect("a list") {
        invoice["imported_at"].take();
    }
    let rows = atcost.run(&["reconcile", "--period", "2025-10", "--format", "csv"]);
    let mut seen = vec![closing::entries(atcost).to_string(), invoices.to_string(), rows.stdout];
    for customer in ["acme", "birch", "cedar", "dune"] {
        seen.push(atcost.ok(&["statement", customer, "--period", "2025-10", "--format", "json"]));
    }
    seen
}

/// What it is after a step that nobody disturbs.
fn after(step: Step) -> &'static [String] {
    static AFTER: OnceLock<BTreeMap<Step, Vec<String>>> = OnceLock::new();
    &AFTER.get_or_init(|| {
        let undisturbed = |step: Step| {
            let folder = campaign::folder();
            copy_folder(before(step), folder.path());
            let atcost = Atcost::existing_in(folder.path());
            let command = step.command();
            atcost.ok(&command.iter().map(String::as_str).collect::<Vec<_>>());
            (step, seen(&atcost))
        };
        Step::ALL.into_iter().map(undisturbed).collect()
    })[&step]
}

/// Where a step can be struck, and how often it passes there.
fn passes() -> &'static [(Step, String, u64)] {
    static PASSES: OnceLock<Vec<(Step, String, u64)>> = OnceLock::new();
    PASSES.get_or_init(|| {
        let mut all = Vec::new();
        let known = sites(SOURCES);
        for step in Step::ALL {
            let folder = campaign::folder();
            copy_folder(before(step), folder.path());
            let counted = work(JOB.0, [utf8(folder.path()), step.name()], &["count"]);
            assert!(counted.ended_well, "{step:?}: {}", counted.errors);
            let passed = known.iter().filter_map(|site| Some((site, *counted.passed.get(&site.name)?)));
            all.extend(passed.map(|(site, passed)| (step, site.name.clone(), passed)));
        }
        for site in ["invoice.kept", "close.kept", "rows.durable", "commit.landed", "file.linked"] {
            assert!(all.iter().any(|(_, name, _)| name == site), "nobody passes {site}");
        }
        all
    })
}

/// Takes a step again, as a person would, and compares.
fn goes_on(trial: &mut Trial, folder: &Path, step: Step, when: &str) {
    let atcost = Atcost::existing_in(folder);
    let command = step.command();
    let again = atcost.run(&command.iter().map(String::as_str).collect::<Vec<_>>());
    if again.code != Some(0) && !step.is_done_already(&again) {
        return trial.failed(format!("{when}: it cannot be taken again: {}", again.text()));
    }
    let verified = atcost.run(&["verify", "ledger"]);
    if verified.code != Some(0) {
        return trial.failed(format!("{when}: {}", verified.text()));
    }
    for (found, expected) in seen(&atcost).iter().zip(after(step)) {
        if found != expected {
            trial.undetected(format!("{when}: it is\n{found}\nand not\n{expected}"));
        }
    }
}

fn kill(trial: &mut Trial) {
    let passes = passes();
    let number = usize::try_from(trial.number).expect("few trials");
    let kept = |site: &str| passes.iter().position(|(_, name, _)| name == site).expect("somebody passes it");
    let index = match (trial.extent, number) {
        (Extent::Full, _) => number % passes.len(),
        (Extent::Small, 0) => kept("invoice.kept"),
        (Extent::Small, 1) => kept("close.kept"),
        (Extent::Small, _) => trial.random.index(passes.len()),
    };
    let (step, site, passed) = &passes[index];
    let folder = trial.folder().to_owned();
    copy_folder(before(*step), &folder);
    let action = *trial.random.pick(&["abort", "panic", "stall"]);
    let hit = trial.random.below(*passed).to_string();
    let when = format!("{}, {site}, {action}, pass {hit}", step.name());
    let struck = work(JOB.0, [utf8(&folder), step.name()], &[action, site, &hit]);
    if !struck.struck || struck.timed_out {
        return trial.failed(format!("{when}: it was not struck: {}", struck.errors));
    }
    trial.injected(1);
    trial.tally(format!("{}, {site}", step.name()));
    let entries = |folder: &Path| wait(Journal::open(&place(folder))).map(|journal| journal.entries().len());
    let (was, is) = (entries(&before(*step).join("ledger")), entries(&folder.join("ledger")));
    match (was, is) {
        (Ok(was), Ok(is)) if is == was || is == was + 1 => {}
        (was, is) => trial.failed(format!("{when}: the journal had {was:?} entries, and has {is:?}")),
    }
    goes_on(trial, &folder, *step, &when);
}

/// The steps of a month whose power goes.
const MONTH: [Step; 3] = [Step::Import, Step::Withdraw, Step::Close];

/// Everything that was asked of the disk on the way.
fn recorded() -> &'static [Event] {
    static EVENTS: OnceLock<Vec<Event>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let folder = campaign::folder();
        copy_folder(before(Step::Close), folder.path());
        let mut config = Config::load(&folder.path().join("atcost.toml")).expect("a configuration");
        let disk = RecordingDisk::new(&folder.path().join("ledger"), |_| ());
        config.ledger = disk.location();
        for step in MONTH {
            wait(step.take(&config)).expect("a whole disk");
            let journal = wait(Journal::open(&config.ledger)).expect("a journal");
            let entries = i64::try_from(journal.entries().len()).expect("few entries");
            disk.record(Event::Acknowledged(BTreeMap::from([("journal".to_owned(), entries)])));
        }
        disk.events()
    })
}

/// What the month is where the power stays.
fn after_all() -> &'static [String] {
    static AFTER: OnceLock<Vec<String>> = OnceLock::new();
    AFTER.get_or_init(|| {
        let folder = campaign::folder();
        copy_folder(before(Step::Close), folder.path());
        let atcost = Atcost::existing_in(folder.path());
        for step in MONTH {
            let command = step.command();
            atcost.ok(&command.iter().map(String::as_str).collect::<Vec<_>>());
        }
        seen(&atcost)
    })
}

fn power_loss(trial: &mut Trial) {
    let events = recorded();
    let point = trial.random.index(events.len() + 1);
    let happened = &events[..point];
    let folder = trial.folder().to_owned();
    copy_folder(before(Step::Close), &folder);
    let ledger = folder.join("ledger");
    for (path, bytes) in after_power_loss(happened, &mut trial.random) {
        // What is derived is another campaign's.
        if !path.starts_with("derived") {
            let path = ledger.join(path);
            fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
    }
    trial.injected(1);
    let acknowledged = happened.iter().rev().find_map(|event| match event {
        Event::Acknowledged(reached) => reached.get("journal").copied(),
        _ => None,
    });
    let journal = match wait(Journal::open(&place(&ledger))) {
        Ok(journal) => journal,
        Err(error) => return trial.failed(format!("at {point} the journal does not open: {error}")),
    };
    let entries = i64::try_from(journal.entries().len()).expect("few entries");
    if acknowledged.is_some_and(|acknowledged| entries < acknowledged) {
        return trial.lost(format!("{acknowledged:?} entries were acknowledged, and there are {entries}"));
    }
    let atcost = Atcost::existing_in(&folder);
    let had = wait(Journal::open(&place(&before(Step::Close).join("ledger")))).expect("a journal");
    let done = usize::try_from(entries).expect("few entries") - had.entries().len();
    for step in &MONTH[done..] {
        let command = step.command();
        let output = atcost.run(&command.iter().map(String::as_str).collect::<Vec<_>>());
        if output.code != Some(0) {
            return trial.failed(format!("at {point}, {step:?}: {}", output.text()));
        }
    }
    let verified = atcost.run(&["verify", "ledger"]);
    if verified.code != Some(0) {
        return trial.failed(format!("at {point}: {}", verified.text()));
    }
    for (found, expected) in seen(&atcost).iter().zip(after_all()) {
        if found != expected {
            trial.undetected(format!("at {point}: it is\n{found}\nand not\n{expected}"));
        }
    }
}
