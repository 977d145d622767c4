//! The end of a month: a million lines of an invoice imported, compared with 100,000 cost lines, and the
//! month that was closed rated anew for what November corrects.
//!
//! DuckDB reads and groups the same file, and joins it to the same cost lines; that it comes to the same
//! sums and finds the same differences is asserted, and nothing about speed. It does less: it keeps
//! nothing, proves nothing and shares nothing. The corrections are beside the rating of the month before
//! its close, which reads the same rows and the same invoice.

use crate::cost::{Cost, about_the_build, ratio, thousandths, typical};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::atcost::{Atcost, binary, utf8};
use tests::machine::{provided, workspace};

const ROUNDS: usize = 3;
const SKUS: u64 = 100;
/// Each with an account of its own at the provider, so that there are SKUS × CUSTOMERS cost lines.
const CUSTOMERS: u64 = 1_000;
const COST_LINES: u64 = SKUS * CUSTOMERS;
/// Of so many cost lines, one is billed at another price.
const WRONG_IN: u64 = 1_000;
/// Of so many cost lines, one gets an event after the close.
const LATE_IN: u64 = 100;
const OCTOBER: &str = "2025-10";
const NOVEMBER: &str = "2025-11";

/// What is measured, and what it may take: seconds and MiB.
struct Goal {
    name: &'static str,
    seconds: u128,
    mebibytes: u64,
}
const IMPORT: Goal = Goal { name: "atcost invoice import", seconds: 20, mebibytes: 512 };
const RECONCILE: Goal = Goal { name: "atcost reconcile", seconds: 30, mebibytes: 1024 };

pub fn bench(lines: u64) {
    about_the_build();
    let each = (lines / COST_LINES).max(1);
    let bench = Bench::made(each);
    println!(
        "{} invoice lines in a file of {} MB, {COST_LINES} cost lines",
        each * COST_LINES,
        fs::metadata(&bench.invoice).map_or(0, |file| file.len()) / 1_000_000
    );
    let atcost = Atcost::initialised_in(&bench.folder);
    bench.prepare(&atcost);
    let (mut import, mut grouped) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        import.push(bench.import());
        grouped.push(bench.group());
    }
    bench.assert_the_same_sums();
    let (mut reconcile, mut joined) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        reconcile.push(bench.reconcile());
        joined.push(bench.join());
    }
    let (mut once, mut anew) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        once.push(bench.rate(OCTOBER));
    }
    bench.close(&atcost);
    for _ in 0..ROUNDS {
        anew.push(bench.rate(NOVEMBER));
    }
    println!("{:36} {:>9} {:>9} {:>9}", "", "seconds", "CPU s", "peak MB");
    show(IMPORT.name, &import);
    show("DuckDB reads and groups the file", &grouped);
    show(RECONCILE.name, &reconcile);
    show("DuckDB joins it to the cost lines", &joined);
    show("atcost rate, before the close", &once);
    show("atcost rate of November, corrections", &anew);
    judge(&IMPORT, &import, &grouped);
    judge(&RECONCILE, &reconcile, &joined);
    let (anew, once) = (typical(&anew).wall_ms, typical(&once).wall_ms);
    println!("corrections/rating {}, at most 2 is wanted", ratio(anew, once));
}

fn show(name: &str, costs: &[Cost]) {
    let cost = typical(costs);
    println!(
        "{name:36} {:>9} {:>9} {:>9}",
        thousandths(cost.wall_ms),
        thousandths(cost.cpu_ms),
        cost.peak_kb / 1024
    );
}

fn judge(goal: &Goal, ours: &[Cost], theirs: &[Cost]) {
    let (ours, theirs) = (typical(ours), typical(theirs));
    println!(
        "{}: {} s of {}, {} MiB of {}; to DuckDB {}",
        goal.name,
        thousandths(ours.wall_ms),
        goal.seconds,
        ours.peak_kb / 1024,
        goal.mebibytes,
        ratio(ours.wall_ms, theirs.wall_ms)
    );
}

struct Bench {
    folder: PathBuf,
    invoice: PathBuf,
    python: PathBuf,
    /// The invoice's lines for each cost line.
    each: u64,
}

impl Bench {
    /// The catalog, the events and the invoice, made anew.
    fn made(each: u64) -> Self {
        let folder = provided("ATCOST_BENCH", "bench").join("close");
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("a folder of the bench can be removed");
        }
        let python = provided("ATCOST_BENCH_PYTHON", "python-bench/bin/python");
        assert!(python.exists(), "DuckDB is missing: there is no {}", python.display());
        let bench = Self { invoice: folder.join("invoice.csv"), folder, python, each };
        bench.write_catalog();
        bench.write_events("events", each, 1);
        bench.write_events("late", 1, LATE_IN);
        bench.write_invoice();
        bench
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("there is room");
        fs::write(path, text).expect("there is room");
    }

    fn write_catalog(&self) {
        self.write("catalog/catalog.toml", "operator = \"bench\"\nname = \"Bench\"\n");
        self.write(
            "catalog/meters.toml",
            "[[meter]]\ntype = \"bench.example/units\"\nunit = \"1\"\naggregation = \"sum\"\ndimensions = [\"kind\"]\n",
        );
        let mut customers = String::new();
        let mut bindings = "subject,customer,from,until\n".to_owned();
        for customer in 0..CUSTOMERS {
            let id = customer_id(customer);
            write!(customers, "[[customer]]\nid = \"{id}\"\nname = \"{id}\"\ncurrency = \"EUR\"\n\n")
                .expect("a text");
            writeln!(bindings, "projects/{id},{id},2025-01-01T00:00:00Z,").expect("a text");
        }
        self.write("catalog/customers.toml", &customers);
        self.write("catalog/bindings.csv", &bindings);
        self.write(
            "catalog/providers/bulk/provider.toml",
            "id = \"bulk\"\nname = \"Bulk\"\nbilling_account = \"B-1\"\ncurrency = \"EUR\"\ntime_zone = \"UTC\"\n\n[rounding]\nmode = \"half-even\"\n",
        );
        let mut prices = String::new();
        for sku in 0..SKUS {
            write!(
                prices,
                "[[sku]]\nid = \"S-{sku:03}\"\nname = \"Service {sku}\"\nmeter = \"bench.example/units\"\nmatch = {{ kind = \"k-{sku:03}\" }}\nunit = \"1\"\nallocation = \"direct\"\n\n  [[sku.price]]\n  from = \"2025-01-01\"\n  model = \"per_unit\"\n  unit_price = \"{}\"\n\n",
                decimal(price(sku))
            )
            .expect("a text");
        }
        self.write("catalog/providers/bulk/prices.toml", &prices);
        self.write(
            "catalog/providers/bulk/invoice.toml",
            "format = \"csv\"\n\n[file]\ndate = \"%Y-%m-%d\"\nend = \"inclusive\"\n\n[columns]\ninvoice = \"invoice\"\nline_id = \"line\"\nsub_account = \"account\"\nsku = \"sku\"\nstart = \"from\"\nend = \"until\"\nquantity = \"quantity\"\nunit_price = \"price\"\namount = \"amount\"\ncurrency = \"currency\"\n",
        );
    }

    /// An event for each cost line, or for one in so many, `times` as large as a line of the invoice.
    fn write_events(&self, folder: &str, times: u64, one_in: u64) {
        let path = self.folder.join(folder);
        fs::create_dir_all(&path).expect("there is room");
        let file = fs::File::create(path.join(format!("{folder}.ndjson"))).expect("there is room");
        let mut file = BufWriter::new(file);
        for (customer, sku) in
            pairs().filter(|(customer, sku)| (customer * SKUS + sku).is_multiple_of(one_in))
        {
            let value = quantity(customer, sku) * times;
            let subject = customer_id(customer);
            writeln!(
                file,
                r#"{{"specversion":"1.0","id":"{folder}-{customer}-{sku}","source":"//bench","type":"bench.example/units","subject":"projects/{subject}","time":"2025-10-{:02}T12:00:00Z","data":{{"value":"{value}","dimensions":{{"kind":"k-{sku:03}"}},"provider":"bulk"}}}}"#,
                1 + sku % 31
            )
            .expect("there is room");
        }
        file.flush().expect("there is room");
    }

    /// `each` lines for every cost line, which come to it; of some the first is dearer.
    fn write_invoice(&self) {
        let mut file = BufWriter::new(fs::File::create(&self.invoice).expect("there is room"));
        let header = "invoice,line,account,sku,from,until,quantity,price,amount,currency";
        writeln!(file, "{header}").expect("there is room");
        let mut number = 0;
        for part in 0..self.each {
            for (customer, sku) in pairs() {
                number += 1;
                let (quantity, price) = (quantity(customer, sku), price(sku));
                let is_wrong = part == 0 && (customer * SKUS + sku).is_multiple_of(WRONG_IN);
                let amount = quantity * price + if is_wrong { ONE } else { 0 };
                let account = customer_id(customer);
                writeln!(
                    file,
                    "B-2510,{number},{account},S-{sku:03},2025-10-01,2025-10-31,{quantity},{},{},EUR",
                    decimal(price),
                    decimal(amount)
                )
                .expect("there is room");
            }
        }
        file.flush().expect("there is room");
    }

    fn prepare(&self, atcost: &Atcost) {
        self.command("publish", &["catalog", "publish", "catalog"]);
        self.command("ingest", &["ingest", "--files", "events", "--until-caught-up"]);
        // Everything derived is there before anything is measured.
        let summary = atcost.json(&["rate", "--period", OCTOBER]);
        let run = PathBuf::from(summary["folder"].as_str().expect("the summary names the folder"));
        fs::copy(self.folder.join(run).join("cost_lines.parquet"), self.folder.join("cost_lines.parquet"))
            .expect("there is room");
    }

    /// Into a copy of the ledger as it was before, so that each round does the same; the last stays.
    fn import(&self) -> Cost {
        let before = self.folder.join("before");
        let ledger = self.folder.join("ledger");
        if before.exists() {
            fs::remove_dir_all(&ledger).expect("it can be removed");
        } else {
            fs::rename(&ledger, &before).expect("it can be moved");
        }
        self.tool("cp", &["-a", utf8(&before), utf8(&ledger)]);
        self.measured(&[utf8(binary()), "invoice", "import", "--provider", "bulk", utf8(&self.invoice)]).0
    }

    fn reconcile(&self) -> Cost {
        // That something differs is an answer.
        let command = format!("{} reconcile --period {OCTOBER}; [ $? -le 1 ]", utf8(binary()));
        let (cost, said) = self.measured(&["sh", "-c", &command]);
        let wrong = COST_LINES / WRONG_IN;
        let row = said.lines().find(|line| line.split_whitespace().nth(1) == Some("price"));
        let row: Vec<&str> = row.unwrap_or_default().split_whitespace().collect();
        assert_eq!(row.get(2), Some(&wrong.to_string().as_str()), "rows at another price: {said}");
        let agree = format!("{} rows agree", COST_LINES - wrong);
        assert!(said.contains(&agree), "{agree}: {said}");
        cost
    }

    /// Accepts what differs and closes the month; then events come late, and what they change is accepted.
    fn close(&self, atcost: &Atcost) {
        let accept = || {
            let decided = ["--period", OCTOBER, "--reason", "bench", "--by", "bench"];
            self.command("accept", &[&["reconcile", "accept", "--provider", "bulk"][..], &decided].concat());
        };
        accept();
        self.command("close", &["close", "--period", OCTOBER, "--by", "bench"]);
        self.command("ingest", &["ingest", "--files", "late", "--until-caught-up"]);
        accept();
        let sql = "SELECT count(*) AS n FROM corrections";
        let found = atcost.json(&["query", "--period", NOVEMBER, sql]);
        println!("{} corrections", found[0]["n"]);
    }

    fn rate(&self, period: &str) -> Cost {
        self.measured(&[utf8(binary()), "rate", "--period", period]).0
    }

    fn group(&self) -> Cost {
        self.rival("group").0
    }

    fn join(&self) -> Cost {
        let (cost, answer) = self.rival("join");
        assert_eq!(answer["rows"], COST_LINES, "DuckDB's rows");
        assert_eq!(answer["differ"], COST_LINES / WRONG_IN, "DuckDB's differences");
        cost
    }

    /// What the import said it adds up to is what DuckDB adds up.
    fn assert_the_same_sums(&self) {
        let said = self.command(
            "import",
            &["invoice", "import", "--provider", "bulk", utf8(&self.invoice), "--format", "json"],
        );
        let ours: Value = serde_json::from_str(&said).expect("it is JSON");
        let sum = &ours["invoices"][0]["sums"][0];
        let theirs = self.rival("group").1;
        assert_eq!((&sum["lines"], &sum["amount"]), (&theirs["lines"], &theirs["amount"]), "left ours");
    }

    fn rival(&self, what: &str) -> (Cost, Value) {
        let script = workspace().join("tests/python/rival_close.py");
        let cost_lines = self.folder.join("cost_lines.parquet");
        let (cost, said) =
            self.measured(&[utf8(&self.python), utf8(&script), what, utf8(&self.invoice), utf8(&cost_lines)]);
        (cost, serde_json::from_str(&said).expect("a rival prints JSON"))
    }

    fn measured(&self, arguments: &[&str]) -> (Cost, String) {
        let measured = workspace().join("tests/python/measured.py");
        let said = self.tool(utf8(&self.python), &[&[utf8(&measured), "600", "16"], arguments].concat());
        let answer: Value = serde_json::from_str(&said).expect("it prints JSON");
        assert_eq!(answer["problem"], Value::Null, "{}", arguments.join(" "));
        let number =
            |name: &str| answer[name].as_u64().unwrap_or_else(|| panic!("a number {name}: {answer}"));
        let cost = Cost {
            wall_ms: number("millis").into(),
            cpu_ms: number("cpu_millis").into(),
            peak_kb: number("peak_kb"),
            early_kb: 0,
        };
        (cost, answer["stdout"].as_str().expect("a text").to_owned())
    }

    /// A command of ours that is not measured.
    fn command(&self, what: &str, arguments: &[&str]) -> String {
        eprintln!("  {what}");
        self.tool(utf8(binary()), arguments)
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> String {
        tool(&self.folder, program, arguments)
    }
}

/// What a command prints, which must end well.
fn tool(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("it prints text")
}

fn pairs() -> impl Iterator<Item = (u64, u64)> {
    (0..CUSTOMERS).flat_map(|customer| (0..SKUS).map(move |sku| (customer, sku)))
}

fn customer_id(customer: u64) -> String {
    format!("c-{customer:04}")
}

/// Prices and amounts are counted in 10⁻⁴.
const ONE: u64 = 10_000;

fn price(sku: u64) -> u64 {
    100 + sku
}

/// Of a line of the invoice.
fn quantity(customer: u64, sku: u64) -> u64 {
    1 + (customer * 7 + sku) % 50
}

fn decimal(amount: u64) -> String {
    format!("{}.{:04}", amount / ONE, amount % ONE)
}
