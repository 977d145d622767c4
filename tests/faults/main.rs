//! The fault campaigns: what was promised, under every fault we can produce, counted.
//!
//! Without arguments each campaign runs a few minutes' part of itself, as one of the everyday
//! tests. `make faults` runs all of it and writes the figures into docs/reliability.md. It
//! deliberately has no tolerance: one record lost, repeated or damaged unseen is a failure.
//!
//!     cargo test -p tests --test faults -- [CAMPAIGN...] [--full] [--seed N] [--trial N] [--write]
//!
//! A campaign is selected by a part of its name. `--seed` changes what is random, `--trial` runs
//! one trial alone, `--write` records the figures.

// Modules in reading order.
mod campaign; // what a campaign and a trial are
mod report; // the table, on the screen and in docs/reliability.md
mod work; // what is interrupted
mod worker; // processes that are struck at a failpoint
mod crash; // a process dies at every step of the way
mod ambiguous; // commits whose answer lies
mod disk; // a disk that fails, or forgets what was not synced
mod zombies; // several owners of one shard
mod flips; // one bit is another
mod totals; // what is derived is killed, cut and flipped
mod closing; // an invoice, a decision, a close
mod kafka; // around a real broker

use campaign::{Campaign, Extent};
use std::process::ExitCode;

fn campaigns() -> Vec<&'static Campaign> {
    [
        crash::CAMPAIGNS,
        ambiguous::CAMPAIGNS,
        disk::CAMPAIGNS,
        zombies::CAMPAIGNS,
        flips::CAMPAIGNS,
        totals::CAMPAIGNS,
        closing::CAMPAIGNS,
        kafka::CAMPAIGNS,
    ]
    .into_iter()
    .flatten()
    .collect()
}

struct Arguments {
    selected: Vec<String>,
    extent: Extent,
    seed: u64,
    trial: Option<u64>,
    write: bool,
    list: bool,
}

/// Flags of the test harness that are followed by a value; the others stand alone. A caller that
/// passes them speaks to all tests at once.
const HARNESS_VALUES: &[&str] =
    &["-Z", "--test-threads", "--skip", "--format", "--color", "--logfile", "--shuffle-seed"];

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        selected: Vec::new(),
        extent: Extent::Small,
        seed: 1,
        trial: None,
        write: false,
        list: false,
    };
    let number = |flag: &str, value: Option<String>| {
        value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("{flag} is followed by a number"))
    };
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--full" => arguments.extent = Extent::Full,
            "--seed" => arguments.seed = number("--seed", given.next())?,
            "--trial" => arguments.trial = Some(number("--trial", given.next())?),
            "--write" => arguments.write = true,
            "--list" => arguments.list = true,
            flag if HARNESS_VALUES.contains(&flag) => drop(given.next()),
            flag if flag.starts_with('-') => {}
            name => arguments.selected.push(name.to_owned()),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = given.as_slice()
        && first == worker::WORKER
    {
        return match worker::worker(rest, &[crash::JOB, totals::JOB, closing::JOB]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let arguments = match arguments(given.into_iter()) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut selected = campaigns();
    selected.retain(|campaign| {
        arguments.selected.is_empty() || arguments.selected.iter().any(|part| campaign.name.contains(part))
    });
    if arguments.list {
        selected.iter().for_each(|campaign| println!("{}: test", campaign.name));
        return ExitCode::SUCCESS;
    }
    let mut outcomes = Vec::new();
    for campaign in selected {
        let outcome = campaign::run(campaign, arguments.extent, arguments.seed, arguments.trial);
        // As the test harness prints it, so that the Makefile finds the slowest among all tests.
        let (verdict, milliseconds) =
            (if outcome.is_clean() { "ok" } else { "FAILED" }, outcome.took.as_millis());
        println!(
            "test faults::{} ... {verdict} <{}.{:03}s>",
            campaign.name,
            milliseconds / 1000,
            milliseconds % 1000
        );
        outcomes.push((campaign, outcome));
    }
    campaign::clean_up();
    print!("{}", report::for_the_screen(&outcomes));
    if arguments.write {
        report::write(&outcomes, arguments.extent, arguments.seed);
    }
    if outcomes.iter().all(|(_, outcome)| outcome.is_clean()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
