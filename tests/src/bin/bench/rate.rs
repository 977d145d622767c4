//! `atcost rate` in its ways, against DuckDB, ClickHouse and Polars doing the same work on the same
//! files, each by the fastest of its plans in `tests/python/rivals.py`.
//!
//! The sums of every rival are compared to the unit with the charges. A side that takes more than
//! ten minutes or 16 GiB is shown as one that did not finish; nothing else is asserted about speed.
//! A rival's time leaves out the start of Python and its imports, ours leaves out nothing.

use crate::cost::{Cost, about_the_build, ratio, thousandths, typical};
use crate::history::{MONTH, Shape};
use crate::made::{MadeLedger, append};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::atcost::{Atcost, binary, utf8};
use tests::machine::{provided, workspace};

const ROUNDS: usize = 3;
const SECONDS: &str = "600";
const GIB: &str = "16";
/// Of so many rows, one more arrives.
const ONE_IN: u64 = 100;

/// What a run cost and printed, or why it did not finish.
type Outcome = Result<(Cost, String), String>;

/// One side of the comparison, and what its rounds cost.
struct Side {
    name: String,
    way: Way,
    costs: Vec<Cost>,
    problem: Option<String>,
}

enum Way {
    /// `atcost rate`, which finds everything derived as the last run left it.
    Rate,
    FromRows,
    /// As `Rate`, after one row in a hundred arrived.
    Grown,
    Rival {
        engine: String,
        plan: String,
    },
}

struct Bench {
    made: MadeLedger,
    /// Empty where `atcost rate` always rates from the rows.
    from_rows: Vec<&'static str>,
    python: PathBuf,
}

pub fn bench(shape: Shape) {
    about_the_build();
    let made = MadeLedger::of(shape);
    let bench = Bench { from_rows: from_rows(made.folder()), made, python: python() };
    // The page cache is warm, and everything derived is there, before anything is measured.
    bench.read_all();
    let first = bench.rate(bench.made.folder(), &[]);
    let mut sides = vec![
        side("atcost rate --from-rows", Way::FromRows),
        side("atcost rate", Way::Rate),
        side("atcost rate after 1 % more rows", Way::Grown),
    ];
    if bench.from_rows.is_empty() {
        println!("atcost rate has no --from-rows yet: both are rated from the rows");
    }
    sides.extend(bench.rivals(&first));
    for round in 1..=ROUNDS {
        eprintln!("  round {round} of {ROUNDS}");
        for side in sides.iter_mut().filter(|side| side.problem.is_none()) {
            match bench.run(&side.way) {
                Ok((cost, _)) => side.costs.push(cost),
                Err(problem) => side.problem = Some(problem),
            }
        }
    }
    show(&sides);
    let (rows, bytes) = (bench.made.history.rows(), size(&bench.made.ledger(), false));
    println!(
        "{} bytes per row in the ledger, {} of them derived",
        thousandths(u128::from(bytes) * 1000 / u128::from(rows)),
        thousandths(u128::from(size(&bench.made.ledger(), true)) * 1000 / u128::from(rows))
    );
}

fn side(name: &str, way: Way) -> Side {
    Side { name: name.to_owned(), way, costs: Vec::new(), problem: None }
}

/// The Python that has the rivals.
fn python() -> PathBuf {
    let python = provided("ATCOST_BENCH_PYTHON", "python-bench/bin/python");
    assert!(
        python.exists(),
        "the rivals are missing: there is no {}. `make bench-rate` sets it up.",
        python.display()
    );
    python
}

fn script(name: &str) -> String {
    utf8(&workspace().join("tests/python").join(name)).to_owned()
}

/// The flag, where `atcost rate` has it.
fn from_rows(folder: &Path) -> Vec<&'static str> {
    let flag = "--from-rows";
    let help = Atcost::initialised_in(folder).ok(&["rate", "--help"]);
    if help.contains(flag) { vec![flag] } else { Vec::new() }
}

impl Bench {
    fn run(&self, way: &Way) -> Outcome {
        match way {
            Way::Rate => self.rate(self.made.folder(), &[]),
            Way::FromRows => self.rate(self.made.folder(), &self.from_rows),
            Way::Grown => self.rate_grown(),
            Way::Rival { engine, plan } => self.rival(engine, plan),
        }
    }

    /// Rates the month of the ledger in a folder. The run stays there until the next.
    fn rate(&self, folder: &Path, arguments: &[&str]) -> Outcome {
        remove(&folder.join("runs"));
        let rate = [utf8(binary()), "rate", "--period", MONTH, "--format", "json"];
        self.measured(folder, &[&rate, arguments].concat())
    }

    /// Rates a copy of the ledger with more rows. Its files are those of the original, but for what is
    /// derived, which may be written in place.
    fn rate_grown(&self) -> Outcome {
        let (from, rows) = (self.made.folder(), self.made.history.rows());
        let folder = from.with_extension("grown");
        remove(&folder);
        fs::create_dir(&folder).expect("the cache has room for a folder");
        command(from, "cp", &["-al", "atcost.toml", "ledger", utf8(&folder)]);
        for derived in derived_folders(&self.made.ledger()) {
            let copy = folder.join(derived.strip_prefix(from).expect("it is below the folder"));
            remove(&copy);
            command(from, "cp", &["-a", utf8(&derived), utf8(&copy)]);
        }
        append(&folder, &self.made.history, rows..rows + rows.div_ceil(ONE_IN));
        let outcome = self.rate(&folder, &[]);
        if outcome.is_ok() && !self.from_rows.is_empty() {
            let run = run_folder(&folder).map(|run| files(&run));
            self.rate(&folder, &self.from_rows).expect("what can be rated can be rated from the rows");
            let again = run_folder(&folder).map(|run| files(&run));
            assert!(run == again, "the run after more rows is another than the one from all rows");
        }
        remove(&folder);
        outcome
    }

    /// Runs every plan once, compares its sums, and gives a side for the fastest plan of each engine.
    fn rivals(&self, ours: &Outcome) -> Vec<Side> {
        let plans = command(self.made.folder(), utf8(&self.python), &[&script("rivals.py"), "plans"]);
        let plans: BTreeMap<String, Vec<String>> = serde_json::from_str(&plans).expect("the plans are JSON");
        let expected = match ours {
            Ok((_, said)) => {
                let summary: Value = serde_json::from_str(said).expect("the summary is JSON");
                Some((summary["duplicates"].clone(), summary["conflicts"].clone()))
            }
            Err(problem) => {
                println!("atcost rate did not finish: {problem}; the rivals are compared with each other");
                None
            }
        };
        let (mut sides, mut outs, mut counts) = (Vec::new(), Vec::new(), expected);
        for (engine, plans) in plans {
            let mut fastest: Option<(u128, String)> = None;
            let mut problems = Vec::new();
            for plan in plans {
                match self.rival(&engine, &plan) {
                    Ok((cost, said)) => {
                        println!(
                            "  {engine}, {plan}: {} s, {} MB",
                            thousandths(cost.wall_ms),
                            cost.peak_kb / 1024
                        );
                        let said: Value = serde_json::from_str(&said).expect("a rival prints JSON");
                        let found = (said["duplicates"].clone(), said["conflicts"].clone());
                        let known = counts.get_or_insert_with(|| found.clone());
                        assert_eq!(*known, found, "{engine}, {plan}: duplicates and conflicts");
                        outs.push(self.out(&engine, &plan));
                        if fastest.as_ref().is_none_or(|(millis, _)| cost.wall_ms < *millis) {
                            fastest = Some((cost.wall_ms, plan));
                        }
                    }
                    Err(problem) => {
                        println!("  {engine}, {plan} did not finish: {problem}");
                        problems.push(problem);
                    }
                }
            }
            let plan = fastest.map(|(_, plan)| plan);
            let name = plan.as_ref().map_or_else(|| engine.clone(), |plan| format!("{engine}, {plan}"));
            let problem = if plan.is_none() { problems.pop() } else { None };
            let way = Way::Rival { engine, plan: plan.unwrap_or_default() };
            sides.push(Side { problem, ..side(&name, way) });
        }
        self.compare(&outs);
        sides
    }

    fn rival(&self, engine: &str, plan: &str) -> Outcome {
        let out = self.out(engine, plan);
        let _ = fs::remove_file(&out);
        let folder = self.made.folder();
        let rivals = script("rivals.py");
        let arguments = [utf8(&self.python), &rivals, "run", engine, plan, utf8(folder), utf8(&out)];
        let (cost, said) = self.measured(folder, &arguments)?;
        let answer: Value = serde_json::from_str(&said).expect("a rival prints JSON");
        Ok((Cost { wall_ms: number(&answer, "millis").into(), ..cost }, said))
    }

    fn out(&self, engine: &str, plan: &str) -> PathBuf {
        self.made.folder().join(format!("{engine}-{plan}.parquet"))
    }

    /// Every sum of every rival is a sum of our charges, and the other way round.
    fn compare(&self, outs: &[PathBuf]) {
        if outs.is_empty() {
            return;
        }
        let folder = self.made.folder();
        let run = run_folder(folder).map_or_else(|| "-".to_owned(), |run| utf8(&run).to_owned());
        let rivals = script("rivals.py");
        let mut arguments = vec![rivals.as_str(), "compare", utf8(folder), &run];
        arguments.extend(outs.iter().map(|out| utf8(out)));
        let answer: Value =
            serde_json::from_str(&command(folder, utf8(&self.python), &arguments)).expect("it is JSON");
        let different = answer["different"].as_object().expect("an object");
        assert!(different.values().all(|rows| *rows == 0), "sums that are not ours: {answer}");
        println!("{} sums, the same to the unit in {} results", answer["rows"], outs.len());
    }

    /// Runs a command within the limits.
    fn measured(&self, folder: &Path, arguments: &[&str]) -> Outcome {
        let measured = script("measured.py");
        let said = command(folder, utf8(&self.python), &[&[&measured, SECONDS, GIB], arguments].concat());
        let answer: Value = serde_json::from_str(&said).expect("it prints JSON");
        if let Some(problem) = answer["problem"].as_str() {
            return Err(problem.to_owned());
        }
        let cost = Cost {
            wall_ms: number(&answer, "millis").into(),
            cpu_ms: number(&answer, "cpu_millis").into(),
            peak_kb: number(&answer, "peak_kb"),
            early_kb: 0,
        };
        Ok((cost, answer["stdout"].as_str().expect("a text").to_owned()))
    }

    /// Brings the ledger into the page cache.
    fn read_all(&self) {
        command(self.made.folder(), "sh", &["-c", "cat ledger/shards/0/*.parquet >/dev/null"]);
    }
}

fn show(sides: &[Side]) {
    println!("{:34} {:>9} {:>9} {:>9} {:>14}", "", "seconds", "CPU s", "peak MB", "to best rival");
    let rivals = sides.iter().filter(|side| side.is_rival() && !side.costs.is_empty());
    let best = rivals.map(|side| typical(&side.costs).wall_ms).min();
    for Side { name, costs, problem, .. } in sides {
        if let Some(problem) = problem {
            println!("{name:34} did not finish: {problem}");
            continue;
        }
        let cost = typical(costs);
        println!(
            "{name:34} {:>9} {:>9} {:>9} {:>14}",
            thousandths(cost.wall_ms),
            thousandths(cost.cpu_ms),
            cost.peak_kb / 1024,
            best.map_or_else(|| "none".to_owned(), |best| ratio(cost.wall_ms, best))
        );
    }
}

impl Side {
    fn is_rival(&self) -> bool {
        matches!(self.way, Way::Rival { .. })
    }
}

fn number(answer: &Value, name: &str) -> u64 {
    answer[name].as_u64().unwrap_or_else(|| panic!("there is no number {name} in {answer}"))
}

/// What a command prints, which must end well.
fn command(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("it prints text")
}

/// The only run of the month.
fn run_folder(folder: &Path) -> Option<PathBuf> {
    let period = folder.join("runs").join(format!("period={MONTH}"));
    entries(&period).into_iter().find(|path| path.is_dir())
}

/// The bytes of every file, by name.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: PathBuf| (path.clone(), fs::read(path).expect("a file can be read"));
    entries(folder).into_iter().filter(|path| path.is_file()).map(read).collect()
}

/// The folders that hold what may be deleted.
fn derived_folders(folder: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default();
        let derived = name == "derived" || name == "ids";
        if derived { vec![path] } else { derived_folders(&path) }
    };
    entries(folder).into_iter().filter(|path| path.is_dir()).flat_map(below).collect()
}

/// The bytes of all files below a folder, or only of those that are derived.
fn size(folder: &Path, derived: bool) -> u64 {
    if derived {
        return derived_folders(folder).iter().map(|folder| size(folder, false)).sum();
    }
    let of = |path: &PathBuf| {
        let file = || fs::metadata(path).map_or(0, |file| file.len());
        if path.is_dir() { size(path, false) } else { file() }
    };
    entries(folder).iter().map(of).sum()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).into_iter().flatten();
    listed.map(|entry| entry.expect("a folder can be listed").path()).collect()
}

fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("a folder of the bench can be removed");
    }
}
