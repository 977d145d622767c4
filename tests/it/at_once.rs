//! Two commands at the same moment: the journal has one order, one of the two wins, and the other is
//! told.
//!
//! The first is held just before its entry gets its name, where the build has failpoints, and the
//! second runs meanwhile. Which of them wins is deliberately not asked: it depends on the machine.

use std::time::Duration;
use tests::atcost::{Atcost, Output, utf8};
use tests::closing::{self, CLOSE, accept_all, decide, entries, import_all};
use tests::machine::{case, wait_for};

/// How long the first is held.
const HELD: &str = "commit.before-put=1*sleep(6000)";

fn at_once(atcost: &Atcost, first: &[&str], second: &[&str]) -> [Output; 2] {
    let journal = atcost.folder().join("ledger/journal");
    let files = || std::fs::read_dir(&journal).map_or(0, Iterator::count);
    let before = files();
    let mut first = atcost.spawn_with(first, &[("FAILPOINTS", HELD)]);
    // Its entry is written, and has no name yet. A command that ends before writes none.
    wait_for(Duration::from_secs(60), || (files() > before || !first.is_running()).then_some(()));
    let second = atcost.run(second);
    [first.wait(), second]
}

/// The one that was told, where one of two has won; as what it was told.
#[track_caller]
fn told(outputs: &[Output; 2]) -> &Output {
    let mut lost = outputs.iter().filter(|output| output.code != Some(0));
    let told = lost.next().expect("one of the two is told");
    assert!(lost.next().is_none(), "nobody wins: {outputs:?}");
    told
}

/// It was overtaken, or has found it decided.
#[track_caller]
fn is_told(output: &Output, found: &str) {
    let faster = "is somebody else's, who was faster";
    assert!(
        output.code == Some(2) && (output.stderr.contains(faster) || output.stderr.contains(found)),
        "{}",
        output.text()
    );
}

fn with_invoices() -> Atcost {
    let atcost = closing::without_invoices();
    import_all(&atcost);
    atcost
}

#[test]
fn of_two_decisions_about_a_row_one_counts() {
    let atcost = with_invoices();
    for (class, other) in [("price", "accept"), ("quantity", "dispute")] {
        let on = ["--class", class];
        let before = entries(&atcost);
        let outputs = at_once(&atcost, &decide("accept", "nimbus", &on), &decide(other, "nimbus", &on));
        is_told(told(&outputs), "that is open fits");
        assert_eq!(entries(&atcost), before + 1, "{class}");
        let rows = atcost.run(&["reconcile", "--period", "2025-10", "--format", "json"]);
        let rows = tests::atcost::json(&rows.stdout);
        let is_accepted = outputs[0].code == Some(0) || other == "accept";
        let status = if is_accepted { "accepted" } else { "disputed" };
        let of_class: Vec<_> = rows["rows"]
            .as_array()
            .expect("rows")
            .iter()
            .filter(|row| row["provider"] == "nimbus" && row["class"] == class)
            .collect();
        assert!(!of_class.is_empty() && of_class.iter().all(|row| row["status"] == status), "{of_class:?}");
    }
    // Nobody is in the way of a decision about another row for longer than a moment.
    let (first, second) = (decide("accept", "stow", &[]), decide("accept", "lynx", &[]));
    let outputs = at_once(&atcost, &first, &second);
    if outputs.iter().any(|output| output.code != Some(0)) {
        is_told(told(&outputs), "who was faster");
        atcost.ok(if outputs[0].code == Some(0) { &second } else { &first });
    }
}

#[test]
fn a_file_that_is_imported_twice_at_once_is_there_once() {
    let atcost = closing::without_invoices();
    let nimbus = case("close/invoices/nimbus-2025-10.csv");
    let import = ["invoice", "import", "--provider", "nimbus", utf8(&nimbus)];
    let before = entries(&atcost);
    let outputs = at_once(&atcost, &import, &import);
    for output in &outputs {
        assert_eq!(output.code, Some(0), "{}", output.text());
    }
    let already = |output: &&Output| output.stdout.contains("imported already, as journal entry");
    assert_eq!(outputs.iter().filter(already).count(), 1, "{outputs:?}");
    assert_eq!(entries(&atcost), before + 1);
    // Files of others are no reason to import anything again.
    let vireo = case("close/invoices/vireo-2025-10.jsonl");
    let other = ["invoice", "import", "--provider", "vireo", utf8(&vireo)];
    let stow = case("close/invoices/stow-2025-10.csv");
    let third = ["invoice", "import", "--provider", "stow", utf8(&stow)];
    for output in at_once(&atcost, &other, &third) {
        assert_eq!(output.code, Some(0), "{}", output.text());
    }
    assert_eq!(entries(&atcost), before + 3);
    let listed = atcost.json(&["invoice", "list"]);
    let versions: Vec<_> =
        listed.as_array().expect("a list").iter().map(|one| one["version"].as_u64()).collect();
    assert_eq!(versions, [Some(1); 3]);
    let withdraw = ["invoice", "withdraw", "--invoice", "VI-77", "--reason", "not ours", "--by", "mira"];
    is_told(told(&at_once(&atcost, &withdraw, &withdraw)), "there is no invoice");
}

#[test]
fn what_is_compared_beside_an_import_is_as_before_it_or_after_it() {
    let atcost = closing::without_invoices();
    let compare = || atcost.spawn(&["reconcile", "--period", "2025-10", "--format", "csv"]);
    let before = compare().wait().stdout;
    let nimbus = case("close/invoices/nimbus-2025-10.csv");
    let import = atcost.spawn(&["invoice", "import", "--provider", "nimbus", utf8(&nimbus)]);
    let beside: Vec<Output> = [compare(), compare()].into_iter().map(|running| running.wait()).collect();
    let imported = import.wait();
    assert_eq!(imported.code, Some(0), "{}", imported.text());
    let after = compare().wait().stdout;
    assert_ne!(before, after);
    for output in beside {
        assert!(output.stdout == before || output.stdout == after, "{}", output.text());
    }
}

#[test]
fn a_month_is_closed_once_and_by_what_was_looked_at() {
    let atcost = with_invoices();
    accept_all(&atcost);
    // A decision, or another catalog, that comes first is looked at before anything is final.
    let reopen = decide("reopen", "lynx", &[]);
    let gl = "payable = \"1\"\nclearing = \"2\"\nreceivable = \"3\"\nretained = \"4\"\n";
    std::fs::write(atcost.folder().join("catalog/gl.toml"), gl).expect("the catalog can be written");
    for other in [&reopen[..], &["catalog", "publish", "catalog"]] {
        let outputs = at_once(&atcost, &CLOSE, other);
        if outputs[0].code == Some(0) {
            println!("not run: the close was over before anybody else had begun");
            return;
        }
        is_told(&outputs[0], "who was faster");
        assert_eq!(outputs[1].code, Some(0), "{}", outputs[1].text());
        if other[0] == "reconcile" {
            let refused = atcost.run(&CLOSE);
            let is_open = refused.stdout.contains("rows of 2025-10 are open");
            assert!(refused.code == Some(1) && is_open, "{}", refused.text());
            atcost.ok(&decide("accept", "lynx", &[]));
        }
    }
    let before = entries(&atcost);
    let outputs = at_once(&atcost, &CLOSE, &CLOSE);
    let lost = told(&outputs);
    let is_late = lost.code == Some(1) && lost.stdout.contains("it is closed already, which is final");
    if !is_late {
        is_told(lost, "who was faster");
    }
    assert_eq!(entries(&atcost), before + 1);
    let again = atcost.run(&CLOSE);
    assert_eq!(again.code, Some(1));
    assert!(again.stdout.contains("it is closed already, which is final"), "{}", again.text());
}

/// Usage that a close has not seen is a correction of what it has posted.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "the build that people run has no failpoints")]
fn usage_that_comes_beside_a_close_is_in_it_or_corrects_it() {
    let atcost = with_invoices();
    accept_all(&atcost);
    let late = atcost.folder().join("late");
    std::fs::create_dir(&late).expect("a folder");
    let events: String = (0..50)
        .map(|number| {
            format!(
                "{{\"specversion\":\"1.0\",\"id\":\"late-{number}\",\"source\":\"//edge/ams/node-9\",\"type\":\"compute.example/instance-hours\",\"subject\":\"projects/a1\",\"time\":\"2025-10-09T08:00:00Z\",\"data\":{{\"value\":\"1\",\"dimensions\":{{\"class\":\"standard\",\"region\":\"ams\"}}}}}}\n"
            )
        })
        .collect();
    std::fs::write(late.join("late.ndjson"), events).expect("a file");
    atcost.set("ingest", "batch_records = 5");
    let outputs = at_once(&atcost, &CLOSE, &["ingest", "--files", utf8(&late), "--until-caught-up"]);
    for output in &outputs {
        assert_eq!(output.code, Some(0), "{}", output.text());
    }
    // The row of its SKU differs by it.
    atcost.ok(&decide("accept", "nimbus", &[]));
    let total = |period: &str| {
        let statement = atcost.json(&["statement", "acme", "--period", period]);
        let amount = statement["total"]["EUR"].as_str().map_or(0, cents);
        (amount, statement["corrections"]["EUR"].as_str().map_or(0, cents))
    };
    let (posted, _) = total("2025-10");
    let (_, corrected) = total("2025-11");
    let sql =
        "SELECT sum(amount) AS amount FROM statement_lines WHERE customer = 'acme' AND currency = 'EUR'";
    let afresh = atcost.json(&["query", "--period", "2025-10", sql]);
    let afresh = cents(afresh[0]["amount"].as_str().expect("an amount"));
    assert!(corrected > 0, "acme bears more of the same invoice");
    assert_eq!(posted + corrected, afresh);
    assert_eq!(atcost.run(&["verify", "ledger"]).code, Some(0));
}

fn cents(amount: &str) -> i64 {
    let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = format!("{whole}{part:0<2}");
    digits.parse().unwrap_or_else(|_| panic!("{amount} is not an amount of cents"))
}
