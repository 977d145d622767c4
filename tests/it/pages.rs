//! The pages that people get, as Chromium shows them: the comparison of a month with its invoices, and a
//! customer's statement, on wide and narrow screens, light and dark, and on paper.
//!
//! What stands on a page is compared with the JSON of the same command, figure by figure. What it looks
//! like is deliberately not compared, beyond what can be said of it: that nothing is wider than the
//! screen, and that texts stand out from what is behind them.
//!
//! The month is `tests/cases/close`; its invoices here also have texts that somebody made to do harm.

use crate::close::close_case;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tests::atcost::{Atcost, utf8};
use tests::browser::Browser;

/// A text of an invoice that would do harm if it were markup, style, or a steering character.
const HARMFUL: &str =
    r#""><script>document.title='taken'</script><img src=x onerror=alert(1)></style>'; $(id) "#;
const STEERING: &str = "\u{202e}\u{200b}";

/// October with its invoices, before anything is decided. The tax of nimbus has [`HARMFUL`] as its text,
/// the fee of stow a very long one.
struct Month {
    atcost: Atcost,
    place: tempfile::TempDir,
}

impl Month {
    fn imported() -> Self {
        let place = tempfile::tempdir().expect("the machine has room for a folder");
        let case = close_case(place.path());
        let atcost = Atcost::with_catalog(&case.join("catalog"));
        let more = place.path().join("more");
        fs::create_dir(&more).expect("the folder is new");
        fs::write(more.join("hours.ndjson"), hours()).expect("the folder can be written");
        for events in [&case.join("events"), &more] {
            atcost.ok(&["ingest", "--files", utf8(events), "--until-caught-up"]);
        }
        let quoted = format!("\"{}\"", format!("{HARMFUL}{STEERING}").replace('"', "\"\""));
        change(&case.join("invoices/nimbus-2025-10.csv"), "VAT DE 19 %", &quoted);
        let long = "ä".repeat(5000);
        change(&case.join("invoices/stow-2025-10.csv"), "\"Premium support, one-time\"", &long);
        for (provider, file) in [
            ("nimbus", "nimbus-2025-10.csv"),
            ("stow", "stow-2025-10.csv"),
            ("lynx", "lynx-2025-10.csv"),
            ("vireo", "vireo-2025-10.jsonl"),
        ] {
            let file = case.join("invoices").join(file);
            atcost.ok(&["invoice", "import", "--provider", provider, utf8(&file)]);
        }
        Self { atcost, place }
    }

    /// Runs a command that may end with status 1, with a page for its answer.
    #[track_caller]
    fn page(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let file = self.place.path().join(name);
        let output = self.atcost.run(&[arguments, &["--format", "html", "--out", utf8(&file)]].concat());
        assert!(matches!(output.code, Some(0 | 1)) && output.stdout.is_empty(), "{}", output.text());
        file
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.atcost.run(&[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.text()))
    }
}

/// More of acme's hours, so that there are more events than a page lists.
fn hours() -> String {
    let hour = |number: u32| {
        format!(
            "{}\n",
            json!({
                "specversion": "1.0", "id": format!("more-{number}"), "source": "//nodes/more",
                "type": "compute.example/instance-hours", "subject": "projects/a1",
                "time": format!("2025-10-{:02}T12:00:00Z", number + 1),
                "data": { "value": "0.25", "provider": "nimbus", "dimensions": { "class": "standard" } },
            })
        )
    };
    (0..20).map(hour).collect()
}

fn change(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("the case is there");
    assert!(text.contains(from), "{} has {from}", file.display());
    fs::write(file, text.replace(from, to)).expect("the case was copied");
}

/// The texts of all elements that a selector finds, each on one line.
#[track_caller]
fn texts(browser: &mut Browser, selector: &str) -> Vec<String> {
    let script = format!(
        "[...document.querySelectorAll({})].map(it => it.textContent.replace(/\\s+/g, ' ').trim())",
        json!(selector)
    );
    let found = browser.ask(&script);
    found.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// A number without the zeros that only a person wants.
fn plain(number: &str) -> String {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => number.to_owned(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Looks at the page that is open on screens of all kinds.
#[track_caller]
fn looks_well(browser: &mut Browser) {
    // WCAG's ratio of an element's own text to the first background behind it.
    let dull = "(() => {
        const rgb = colour => colour.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
        const behind = it => { for (; it; it = it.parentElement) { const c = rgb(getComputedStyle(it).backgroundColor); if (c[3] !== 0) return c; } return [255, 255, 255]; };
        return [...document.querySelectorAll('main *')].filter(it => [...it.childNodes].some(node => node.nodeType == 3 && node.data.trim())).filter(it => {
            const [a, b] = [light(rgb(getComputedStyle(it).color)), light(behind(it))];
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
        }).map(it => it.outerHTML.slice(0, 200));
    })()";
    let mut backgrounds = Vec::new();
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")] {
        browser.screen(width, scheme);
        let wider =
            browser.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wider, json!(0), "nothing is wider than {width} pixels");
        assert_eq!(browser.ask(dull), json!([]), "every text is to be read, on {width} pixels, {scheme}");
        backgrounds.push(browser.ask("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(backgrounds[0], backgrounds[1], "light is not dark");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Nothing of a text became a part of the page.
#[track_caller]
fn is_unharmed(browser: &mut Browser, title: &str) {
    assert_eq!(browser.ask("document.title"), title);
    assert_eq!(
        browser.ask("document.querySelectorAll('script, img, iframe, link, object, base, a').length"),
        0
    );
    assert_eq!(browser.ask("document.querySelectorAll('style').length"), 1);
    let all = browser.ask("document.documentElement.textContent");
    let all = text(&all);
    assert!(all.contains("<script>document.title='taken'</script>"), "it is shown as it is");
    assert!(all.contains("\\u{202e}\\u{200b}") && !all.contains(STEERING), "it cannot steer");
}

#[test]
fn a_comparison_opens_offline_and_says_what_its_json_says() {
    let Some(mut browser) = Browser::start() else { return };
    let month = Month::imported();
    let reconcile = ["reconcile", "--period", "2025-10"];
    browser.open(&month.page("open.html", &reconcile));
    let json = month.json(&reconcile);
    looks_well(&mut browser);
    is_unharmed(&mut browser, "Invoices of 2025-10 beside the ledger");

    // Exceptions come first.
    let rows: Vec<&Value> = json["rows"].as_array().expect("rows").iter().collect();
    let with = |key: &str, value: &str| rows.iter().filter(|row| row[key] == value).count();
    let headings = texts(&mut browser, "h2, details.folded > summary");
    let wanted = [
        format!("To decide: {}", with("status", "open")),
        format!("Awaited: {}", with("status", "awaited")),
        "What became of the invoices".to_owned(),
        format!("Passed on as invoice.toml says: {}", with("verdict", "policy")),
        format!("{} rows agree", with("verdict", "match")),
    ];
    assert_eq!(headings, wanted);
    assert!(with("status", "open") > 10 && with("verdict", "match") > 3, "the case has all kinds");

    // Each is a sentence with both figures, and the command that decides it.
    let cards = texts(&mut browser, ".cards li");
    for (row, card) in rows.iter().filter(|row| row["status"] == "open").zip(&cards) {
        for part in ["provider", "class", "invoice_amount", "ledger_amount"] {
            let value = row[part].as_str().unwrap_or("nothing");
            assert!(card.contains(value), "{part} {value} is not in {card}");
        }
    }
    let commands = texts(&mut browser, ".cards pre");
    assert_eq!(commands.len(), with("status", "open"));

    // Each provider and currency has the amounts of the JSON, and its parts add up to the whole.
    let charts = browser.ask(
        "[...document.querySelectorAll('figure')].map(it => [...it.querySelectorAll('tbody tr')].map(row => [row.querySelector('th').innerText, row.querySelector('.number').innerText]))",
    );
    let providers = json["providers"].as_array().expect("providers");
    assert_eq!(charts.as_array().expect("charts").len(), providers.len());
    for (chart, of) in charts.as_array().expect("charts").iter().zip(providers) {
        let bars: Vec<(&str, String)> =
            chart.as_array().expect("bars").iter().map(|bar| (text(&bar[0]), plain(text(&bar[1])))).collect();
        let mut wanted = vec![("Invoiced".to_owned(), &of["total"]), ("agrees".to_owned(), &of["matched"])];
        for (class, sum) in of["classes"].as_object().expect("classes") {
            let many = if sum["rows"] == 1 { "1 row".to_owned() } else { format!("{} rows", sum["rows"]) };
            let words = format!("{class} {many}, differing by {}", text(&sum["variance"]));
            wanted.push((words, &sum["invoiced"]));
        }
        for (words, amount) in wanted {
            let amount = plain(text(amount));
            assert!(bars.contains(&(&words, amount.clone())), "{words}: {amount} is not in {bars:?}");
        }
        for (words, key) in [("billed to customers", "billed"), ("waits for a decision", "undecided")] {
            let amount = plain(text(&of[key]));
            let is_shown = bars.contains(&(words, amount.clone()));
            assert!(is_shown || amount == "0", "{words}: {amount} is not in {bars:?}");
        }
    }
    // A bar begins where the one before ended: it is drawn within its cell, and has a width.
    let astray = "[...document.querySelectorAll('.bars rect')].filter(it => { const [r, c] = [it.getBoundingClientRect(), it.closest('svg').getBoundingClientRect()]; return r.left < c.left - 1 || r.right > c.right + 1 || r.height == 0; }).length";
    assert_eq!(browser.ask(astray), 0);

    // What agrees is folded, and one click away.
    let seen = "document.querySelector('details.folded:last-of-type table').checkVisibility()";
    assert_eq!(browser.ask(seen), false);
    browser.ask("document.querySelectorAll('details').forEach(it => it.open = true)");
    assert_eq!(browser.ask(seen), true);
    let cells = texts(&mut browser, "details.folded:last-of-type tbody tr");
    let agree: Vec<String> = rows
        .iter()
        .filter(|row| row["verdict"] == "match")
        .map(|row| row["variance"].as_str().expect("a number").to_owned())
        .collect();
    assert_eq!(cells.len(), agree.len());
    for (cells, variance) in cells.iter().zip(agree) {
        assert!(cells.contains(&variance), "{variance} is not in {cells}");
    }
    looks_well(&mut browser);
}

#[test]
fn what_was_decided_is_on_the_page_with_who_and_why() {
    let Some(mut browser) = Browser::start() else { return };
    let month = Month::imported();
    let decide = |action: &str, provider: &str, more: &[&str], reason: &str| {
        let of = ["reconcile", action, "--provider", provider, "--period", "2025-10"];
        month.atcost.ok(&[&of[..], more, &["--reason", reason, "--by", "mira <m>"]].concat());
    };
    decide("explain", "vireo", &[], "asked & waiting");
    decide("dispute", "nimbus", &["--class", "price"], "2.20 since 15 October");
    for provider in ["nimbus", "lynx", "stow"] {
        decide("accept", provider, &[], "<i>looked at</i>");
    }
    let reconcile = ["reconcile", "--period", "2025-10"];
    browser.open(&month.page("decided.html", &reconcile));
    looks_well(&mut browser);
    is_unharmed(&mut browser, "Invoices of 2025-10 beside the ledger");
    let json = month.json(&reconcile);
    let rows = json["rows"].as_array().expect("rows");
    let decided: Vec<&Value> =
        rows.iter().filter(|row| row["status"] == "accepted" || row["status"] == "disputed").collect();
    let shown = texts(&mut browser, "section:last-of-type tbody tr");
    assert_eq!(shown.len(), decided.len());
    for (shown, row) in shown.iter().zip(decided) {
        let why = if row["status"] == "disputed" { "2.20 since 15 October" } else { "<i>looked at</i>" };
        for part in [text(&row["class"]), text(&row["status"]), "mira <m>", why] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    }
    let cards = texts(&mut browser, ".cards li");
    assert!(cards.iter().any(|card| card.contains("vireo") && card.contains("asked & waiting")), "{cards:?}");
    let disputed = json["providers"]
        .as_array()
        .expect("providers")
        .iter()
        .find_map(|of| of["retained"]["disputed"].as_str());
    let disputed = disputed.expect("something is disputed");
    let bars = texts(&mut browser, ".bars tbody tr");
    let retained = bars.iter().find_map(|bar| bar.strip_prefix("retained disputed"));
    assert_eq!(retained.map(plain).as_deref(), Some(disputed), "{bars:?}");
}

#[test]
fn a_statement_unfolds_to_its_events_and_says_what_its_json_says() {
    let Some(mut browser) = Browser::start() else { return };
    let month = Month::imported();
    let statement = ["statement", "acme", "--period", "2025-10"];
    browser.open(&month.page("acme.html", &statement));
    let json = month.json(&statement);
    looks_well(&mut browser);
    is_unharmed(&mut browser, "Statement of Acme Robotics, 2025-10");

    let lines: Vec<&Value> = json["lines"].as_array().expect("lines").iter().collect();
    let lines: Vec<&Value> = lines.into_iter().filter(|line| line["billed_amount"] != "0").collect();
    let shown = browser.ask(
        "[...document.querySelectorAll('tr.line')].map(row => [...row.cells].map(cell => cell.textContent))",
    );
    let shown = shown.as_array().expect("rows");
    assert_eq!(json["line_count"], shown.len());
    for (shown, line) in shown.iter().zip(&lines) {
        let (number, amount) = (text(&shown[0]), text(&shown[4]));
        assert_eq!(number, line["number"].to_string());
        let (amount, currency) = amount.split_once('\u{a0}').expect("an amount with its currency");
        assert_eq!(
            (plain(amount).as_str(), currency),
            (text(&line["billed_amount"]), text(&line["billed_currency"]))
        );
        assert_eq!(text(&shown[2]).contains("estimate"), line["estimate"] == true, "{shown}");
    }
    let total = format!("{} EUR", text(&json["total"]["EUR"]));
    let said = texts(&mut browser, "p b");
    assert_eq!(said.first().map(|said| plain(said.trim_end_matches(" EUR")) + " EUR"), Some(total));

    // A line unfolds without a server, to its price, its share, and its events.
    let inside = "[...document.querySelectorAll('tr.more details')].map(it => it.innerText)";
    let folded = browser.ask(inside);
    assert!(!folded.to_string().contains("Where it lies"), "it is folded: {folded}");
    browser.ask("document.querySelectorAll('tr.more details').forEach(it => it.open = true)");
    looks_well(&mut browser);
    let inside = browser.ask(inside).to_string();
    for wanted in [
        "price list",
        "Exact amount",
        "Where it lies",
        "more-0",
        "hours.ndjson:1",
        "This price does not follow usage.",
    ] {
        assert!(inside.contains(wanted), "{wanted} is not in {inside}");
    }
    assert!(!inside.contains("birch") && !inside.contains("projects/b"), "what others used is theirs");

    // A list that is cut says how many there are, and the command that it names has them all.
    let commands = texts(&mut browser, "tr.more pre");
    assert!(!commands.is_empty(), "some charge has more events than are listed");
    for (number, command) in commands.iter().enumerate() {
        let file = month.place.path().join(format!("{number}.ndjson"));
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let (name, words) = words.split_last().expect("a command");
        assert_eq!(*name, "events.ndjson", "{command}");
        let all = month.json(&[words, &[utf8(&file)]].concat());
        let count = &all["events"]["count"];
        let events: Vec<Value> = fs::read_to_string(&file)
            .expect("the events were written")
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(*count, events.len());
        let said = format!("{count} events of {}, {} ", text(&all["subject"]), text(&all["events"]["total"]));
        let shown = texts(&mut browser, "tr.more p");
        assert!(shown.iter().any(|shown| shown.starts_with(&said)), "{said} is not in {shown:?}");
        for event in events.iter().take(5) {
            assert!(inside.contains(text(&event["id"])), "{event} is listed");
        }
    }
}

#[test]
fn a_statement_prints_with_page_numbers_and_its_header_on_every_page() {
    let Some(mut browser) = Browser::start() else { return };
    let month = Month::imported();
    browser.open(&month.page("acme.html", &["statement", "acme", "--period", "2025-10"]));
    let folded = browser.paper();
    let header = |page: &&String| {
        let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        page.lines().any(|text| line(text) == "No. Provider For Days Amount")
    };
    assert!(folded.iter().all(|page| !page.contains("Where it lies")), "what is folded is left out");
    assert!(header(&&folded[0]), "{}", folded[0]);

    browser.ask("document.getElementById('unfold').click()");
    let pages = browser.paper();
    assert!(pages.len() >= 3 && pages.len() > folded.len(), "{} pages", pages.len());
    for (number, page) in pages.iter().enumerate() {
        let last = page.lines().rev().find(|line| !line.trim().is_empty()).expect("a page is not empty");
        let foot = format!("Statement of Acme Robotics, 2025-10{}/{}", number + 1, pages.len());
        assert_eq!(last.replace(' ', ""), foot.replace(' ', ""));
        assert!(header(&page), "page {number} has the header of the lines: {page}");
    }
    let all = pages.join("\n");
    for wanted in ["Where it lies", "more-0", "document.title='taken'"] {
        assert!(all.contains(wanted), "{wanted} is not on paper: {all}");
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_page_replaces_no_file() {
    let month = Month::imported();
    let file = month.page("page.html", &["reconcile", "--period", "2025-10"]);
    let before = fs::read(&file).expect("the page is there");
    let again = ["reconcile", "--period", "2025-10", "--format", "html", "--out", utf8(&file)];
    let output = month.atcost.run(&again);
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(
        output.stderr.contains("page.html: an answer replaces no file; name another"),
        "{}",
        output.stderr
    );
    assert_eq!(fs::read(&file).expect("it is still there"), before);
}
