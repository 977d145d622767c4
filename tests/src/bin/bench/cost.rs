//! The cost of a command, the middle of several, and how both are shown.
//!
//! It deliberately knows nothing of what is run. Nothing here is a float; a ratio is shown in
//! thousandths.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::atcost::utf8;

/// The cost of a command: milliseconds on the clock and of CPU, and kilobytes of memory.
#[derive(Clone, Copy)]
pub struct Cost {
    pub wall_ms: u128,
    pub cpu_ms: u128,
    /// At its highest.
    pub peak_kb: u64,
    /// After a fifth of the time, to see whether it grows.
    pub early_kb: u64,
}

pub fn about_the_build() {
    if cfg!(debug_assertions) {
        println!(
            "This is the build that the tests use; what every event passes through is optimised in it. PROFILE=release is what people run."
        );
    }
}

/// Runs a command and takes what bash says it cost, its children included; its memory is read while
/// it runs.
pub fn measure(folder: &Path, program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Cost {
    let script = "TIMEFORMAT='%R %U %S'; time { \"$@\" >/dev/null 2>&1 & echo $!; wait $!; }";
    let mut bash = Command::new("bash");
    bash.args(["-ec", script, "bash", utf8(program)])
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(folder);
    let mut child = bash.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bash starts");
    let mut pid = String::new();
    BufReader::new(child.stdout.take().expect("stdout is piped"))
        .read_line(&mut pid)
        .expect("bash tells the process");
    let mut memory = Vec::new();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            break status;
        }
        memory.extend(resident_kb(pid.trim()));
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut said = String::new();
    child.stderr.take().expect("stderr is piped").read_to_string(&mut said).expect("bash says what it cost");
    assert!(status.success(), "{} {}: {said}", program.display(), arguments.join(" "));
    let times: Vec<u128> = said.split_whitespace().map(millis).collect();
    let [wall_ms, user, system] = times.as_slice() else { panic!("bash says {said:?}") };
    let peak_kb = memory.iter().copied().max().unwrap_or_default();
    let early_kb = memory[..memory.len().div_ceil(5)].iter().copied().max().unwrap_or_default();
    Cost { wall_ms: *wall_ms, cpu_ms: user + system, peak_kb, early_kb }
}

/// The memory that a process has now.
fn resident_kb(pid: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
}

/// `1.234` seconds, as bash prints them, in milliseconds.
fn millis(seconds: &str) -> u128 {
    let (whole, thousandths) = seconds.split_once('.').expect("bash prints three decimals");
    whole.parse::<u128>().expect("seconds") * 1000 + thousandths.parse::<u128>().expect("thousandths")
}

/// The median of each, but the most memory.
pub fn typical(costs: &[Cost]) -> Cost {
    let of = |part: fn(&Cost) -> u128| median(costs.iter().map(part));
    let memory = costs.iter().max_by_key(|cost| cost.peak_kb).expect("there was a round");
    Cost { wall_ms: of(|cost| cost.wall_ms), cpu_ms: of(|cost| cost.cpu_ms), ..*memory }
}

pub fn median(values: impl Iterator<Item = u128>) -> u128 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

pub fn show(name: &str, cost: Cost, events: usize) {
    let events = events as u128;
    let rate = events * 1000 / cost.wall_ms.max(1);
    // Milliseconds per thousand events are seconds per million.
    let per_million = thousandths(cost.cpu_ms * 1_000_000 / events.max(1));
    println!(
        "{name:34} {rate:>10} {per_million:>14} {:>9} {:>10} {:>12}",
        thousandths(cost.wall_ms),
        cost.peak_kb / 1024,
        cost.early_kb / 1024
    );
}

pub fn ratio(one: u128, other: u128) -> String {
    thousandths(one * 1000 / other.max(1))
}

pub fn thousandths(value: u128) -> String {
    format!("{}.{:03}", value / 1000, value % 1000)
}
