//! The things that a catalog may not say: one file per refusal in tests/cases/catalog. Each is a
//! patch of the month's catalog, a line of `---` and what the check says. One that names a file which
//! only the close's catalog has is of that, which lies on top of the month's. A patch names files,
//! `@ FILE`, and below them lines with `-` that are replaced by those with `+`; lines with a blank
//! stay and say where. Lines with `+` alone are put at the end of the file; `@ FILE gone` removes
//! it. `now INSTANT` compares with the price lists of the month's catalog, published before.

use crate::cases;
use rating::catalog::{Account, Catalog, CatalogFiles, PassRule, Problem, compare_past};
use schemas::id::{CustomerId, MeterType, ProviderId, SkuId, Subject};
use schemas::invoice::LineCategory;
use schemas::invoice_mapping::{Column, LineEnd, Mapping, Part, RowKind, Source};
use schemas::time::{BillingMonth, Instant};
use std::collections::BTreeMap;
use tests::machine::case;

#[test]
fn catalogs() {
    cases::for_each_file("catalog", check);
}

/// The case with what the check says in place of its answer.
pub fn check(case: &str) -> String {
    let (question, _) = case.split_once("---\n").expect("a case has a patch and a line of ---");
    let mut now = None;
    for line in question.lines() {
        now = line.strip_prefix("now ").or(now);
    }
    let mut findings = match Catalog::load(&CatalogFiles::new(patched(question))) {
        Err(problems) => shown(&problems),
        Ok((catalog, warnings)) => {
            let mut findings: Vec<String> =
                warnings.iter().map(|warning| format!("warning: {warning}")).collect();
            if let Some(now) = now {
                let now = Instant::parse_rfc3339(now).expect("an instant");
                findings.extend(shown(&compare_past(&load_month(), &catalog, now).problems));
            }
            findings
        }
    };
    if findings.is_empty() {
        findings.push("fine".to_owned());
    }
    format!("{question}---\n{}\n", findings.join("\n"))
}

/// The month's catalog, or the close's, with the patches of a case.
pub fn patched(question: &str) -> BTreeMap<String, String> {
    let (month, close) = (month(), close());
    let names_file_of_close = |hunk: &str| {
        let file = hunk.lines().next().unwrap_or_default();
        let file = file.strip_suffix(" gone").unwrap_or(file);
        close.contains_key(file) && !month.contains_key(file)
    };
    let is_of_close = question.split("\n@ ").skip(1).any(names_file_of_close);
    let mut files = if is_of_close { close } else { month };
    for hunk in question.split("\n@ ").skip(1) {
        apply(&mut files, hunk);
    }
    files
}

fn shown(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn apply(files: &mut BTreeMap<String, String>, hunk: &str) {
    let (file, lines) = hunk.split_once('\n').unwrap_or((hunk, ""));
    if let Some(file) = file.strip_suffix(" gone") {
        files.remove(file).unwrap_or_else(|| panic!("there is no {file}"));
        return;
    }
    let text = files.entry(file.to_owned()).or_default();
    let (mut old, mut new) = (String::new(), String::new());
    let mut lines = lines.lines().filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let (mark, line) = line.split_at(1);
        assert!(
            ["-", "+", " "].contains(&mark),
            "a line of a hunk begins with -, + or a blank: {mark}{line}"
        );
        if mark != "+" {
            old += &format!("{line}\n");
        }
        if mark != "-" {
            new += &format!("{line}\n");
        }
        // An added line ends a replacement; the next one may be anywhere in the file.
        if mark == "+" && lines.peek().is_none_or(|next| !next.starts_with('+')) || lines.peek().is_none() {
            replace(text, &std::mem::take(&mut old), &std::mem::take(&mut new));
        }
    }
}

fn replace(text: &mut String, old: &str, new: &str) {
    if old.is_empty() {
        *text += new;
        return;
    }
    assert_eq!(text.matches(old).count(), 1, "this must stand once:\n{old}\nin:\n{text}");
    *text = text.replace(old, new);
}

fn month() -> BTreeMap<String, String> {
    let files = CatalogFiles::read_folder(&case("month/catalog")).expect("the month's catalog");
    files.iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect()
}

/// The month's catalog with that of the close on top.
pub fn close() -> BTreeMap<String, String> {
    laid_over(month(), "close/catalog")
}

fn laid_over(mut below: BTreeMap<String, String>, folder: &str) -> BTreeMap<String, String> {
    let above = CatalogFiles::read_folder(&case(folder)).expect("a folder of a catalog");
    below.extend(above.iter().map(|(path, text)| (path.to_owned(), text.to_owned())));
    below
}

fn load(files: BTreeMap<String, String>) -> Catalog {
    let (catalog, warnings) = Catalog::load(&CatalogFiles::new(files)).expect("the catalog is fine");
    assert_eq!(warnings, []);
    catalog
}

fn load_month() -> Catalog {
    load(month())
}

#[test]
fn an_event_finds_its_sku() {
    #[track_caller]
    fn check(
        catalog: &Catalog,
        provider: &str,
        meter: &str,
        dimensions: &[(&str, &str)],
        expected: Option<&str>,
    ) {
        let provider = &catalog.providers[&ProviderId::new(provider).expect("an id")];
        let dimension =
            |name: &str| dimensions.iter().find(|(dimension, _)| *dimension == name).map(|(_, value)| *value);
        let at = Instant::parse_rfc3339("2025-10-15T00:00:00Z").expect("an instant");
        let sku = provider.sku_for(&MeterType::new(meter).expect("a meter"), at, dimension);
        assert_eq!(sku.map(|sku| sku.id.as_str()), expected, "{meter} {dimensions:?}");
    }
    let catalog = load_month();
    let hours = "compute.example/instance-hours";
    check(&catalog, "nimbus", hours, &[("class", "gpu")], Some("NB-GPU"));
    check(
        &catalog,
        "nimbus",
        hours,
        &[("class", "gpu"), ("region", "eu"), ("unheard-of", "x")],
        Some("NB-GPU"),
    );
    check(&catalog, "nimbus", hours, &[("class", "GPU")], Some("NB-OTHER"));
    check(&catalog, "nimbus", hours, &[], Some("NB-OTHER"));
    check(&catalog, "lynx", "network.example/egress", &[("destination", "ch")], Some("LX-EU"));
    check(&catalog, "stow", "storage.example/bytes-stored", &[("tier", "frozen")], None);
    check(&catalog, "stow", hours, &[("class", "gpu")], None);
}

#[test]
fn dates_begin_and_end_where_the_contract_says() {
    let catalog = load_month();
    let instant = |text: &str| Instant::parse_rfc3339(text).expect("an instant");
    let provider = |id: &str| &catalog.providers[&ProviderId::new(id).expect("an id")];
    let sku = provider("nimbus").skus.iter().find(|sku| sku.id.as_str() == "NB-GPU").expect("a SKU");
    let price_line = |text: &str| sku.price_at(instant(text)).map(|price| price.line);
    // 15 October begins at 22:00 UTC of the day before in Berlin.
    assert_eq!(price_line("2025-10-14T21:59:59.999999Z"), Some(sku.prices[0].line));
    assert_eq!(price_line("2025-10-14T22:00:00Z"), Some(sku.prices[1].line));
    assert_eq!(price_line("2024-12-31T22:59:59Z"), None);

    let customer = |at: &str| {
        catalog
            .customer_at(&Subject::new("projects/b1").expect("a subject"), instant(at))
            .map(ToString::to_string)
    };
    assert_eq!(customer("2025-10-19T23:59:59.999999Z").as_deref(), Some("birch"));
    assert_eq!(customer("2025-10-20T00:00:00Z").as_deref(), Some("cedar"));
    assert_eq!(customer("2024-12-31T23:59:59Z"), None);

    // Dune's only binding ends on 30 October, so it is bound in October and not in November.
    let bound = |month: &str| {
        let period =
            provider("lynx").billing_period(BillingMonth::parse(month).expect("a month")).expect("a period");
        catalog.customers_bound_in(period).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(bound("2025-10"), "acme birch cedar dune ops");
    assert_eq!(bound("2025-11"), "acme cedar ops");
    assert_eq!(bound("2024-12"), "");
}

/// An editor's lines, whatever ends them and whatever the file begins with.
#[test]
fn lines_of_bindings_are_an_editors() {
    let text = "subject,customer,from,until\n\nprojects/a1,acme,2025-01-01T00:00:00Z,\n\n\n\"projects/\na2\",acme,2025-01-01T00:00:00Z,\nprojects/a3,nobody,2025-01-01T00:00:00Z,\nprojects/a1,birch,2025-02-01T00:00:00Z,\n";
    for (begin, end) in [("", "\n"), ("", "\r\n"), ("", "\r"), ("\u{feff}", "\r\n"), ("\r\n\r\n", "\r\n")] {
        let mut files = month();
        files.insert("bindings.csv".to_owned(), format!("{begin}{}", text.replace('\n', end)));
        let problems = Catalog::load(&CatalogFiles::new(files)).expect_err("problems");
        let skipped = if begin == "\r\n\r\n" { 2 } else { 0 };
        let lines: Vec<usize> = problems.iter().filter_map(|problem| Some(problem.line? - skipped)).collect();
        assert_eq!(lines, [6, 8, 9], "{begin:?} {end:?}: {:?}", shown(&problems));
        let earlier = format!("(line {})", 3 + skipped);
        assert!(problems[2].message.ends_with(&earlier), "{}", problems[2].message);
    }
}

#[test]
fn the_digest_is_of_the_texts() {
    let files = CatalogFiles::new(month());
    let (catalog, _) = Catalog::load(&files).expect("the month's catalog is fine");
    assert_eq!(catalog.digest, files.digest());
    assert_eq!(CatalogFiles::from_json(&files.to_json()).expect("stored files").digest(), catalog.digest);
}

#[test]
fn invoices_mean_what_the_close_says() {
    let catalog = load(close());
    let invoicing = |provider: &str| {
        let provider = &catalog.providers[&ProviderId::new(provider).expect("an id")];
        provider.invoicing.as_ref().expect("an invoice.toml")
    };
    let at = |date: &str| Instant::parse_rfc3339(date).expect("an instant");
    let map = &invoicing("lynx").map;
    let account = |date: &str| map.account("K-300", at(date)).map(ToString::to_string);
    assert_eq!(account("2024-12-31T12:00:00Z"), None);
    assert_eq!(account("2025-06-30T12:00:00Z").as_deref(), Some("dune"));
    assert_eq!(account("2025-07-01T12:00:00Z").as_deref(), Some("cedar"));
    let midnight = |instant: &str| {
        let mut files = close();
        let path = "providers/nimbus/invoice_map.csv".to_owned();
        files.insert(path, "kind,text,id,from,until\nsku,Large,NB-GPU,2025-10-15,2025-10-16\n".to_owned());
        let catalog = load(files);
        let nimbus = &catalog.providers[&ProviderId::new("nimbus").expect("an id")];
        let invoicing = nimbus.invoicing.as_ref().expect("an invoice.toml");
        invoicing.map.sku("Large", at(instant)).is_some()
    };
    // 15 October begins at 22:00 UTC of the day before in Berlin, and 16 October is out.
    let days = [
        "2025-10-14T21:59:59.999999Z",
        "2025-10-14T22:00:00Z",
        "2025-10-15T21:59:59Z",
        "2025-10-15T22:00:00Z",
    ];
    assert_eq!(days.map(midnight), [false, true, true, false]);
    let sku = |text: &str| map.sku(text, at("2025-10-01T00:00:00Z")).map(ToString::to_string);
    assert_eq!((sku("TRANSIT/EU").as_deref(), sku("K-300"), sku("LX-EU")), (Some("LX-EU"), None, None));

    let Mapping::Columns(lynx) = &invoicing("lynx").mapping else { panic!("it has columns") };
    let file = &lynx.file;
    assert_eq!((file.delimiter, file.decimal, file.thousands), (';', ',', Some('.')));
    assert_eq!((file.end, file.dates_in_utc), (LineEnd::Inclusive, false));
    let is: Vec<RowKind> = lynx.rows.iter().map(|row| row.is).collect();
    let line = RowKind::Line;
    assert_eq!(is, [RowKind::Total, line(LineCategory::Tax), line(LineCategory::Adjustment)]);
    let column = |header: &str| Part::Column(header.into());
    let sku = Source(vec![column("Artikel"), Part::Text("/".into()), column("Ziel")]);
    assert_eq!(lynx.columns[&Column::Sku], [sku]);
    assert_eq!(lynx.columns[&Column::Currency], [Source(vec![column("Währung")])]);
    let thousand = &invoicing("lynx").units["Tsd."];
    assert_eq!((thousand.factor.to_string().as_str(), thousand.unit.as_str()), ("1000", "1"));

    let Mapping::Columns(nimbus) = &invoicing("nimbus").mapping else { panic!("it has columns") };
    assert_eq!((&*nimbus.name, nimbus.file.dates_in_utc), ("focus", true));
    assert_eq!(nimbus.columns[&Column::Amount], [Source(vec![column("BilledCost")])]);
    assert_eq!(invoicing("stow").units["GB-Mo"].unit.as_str(), "GiBy.mo");
    assert_eq!(invoicing("otter").mapping, Mapping::En16931);
    let passed = |provider: &str| invoicing(provider).pass.clone();
    assert_eq!(passed("otter"), [(LineCategory::Tax, PassRule::Even)].into());
    let by_cost = PassRule::ByCost;
    assert_eq!(passed("nimbus"), [(LineCategory::Tax, by_cost), (LineCategory::Credit, by_cost)].into());
    assert_eq!(passed("vireo"), BTreeMap::new());
}

#[test]
fn focus_and_the_ledger_are_called_as_the_close_says() {
    let catalog = load(close());
    let service = |provider: &str, sku: Option<&str>| {
        let provider = &catalog.providers[&ProviderId::new(provider).expect("an id")];
        let sku = sku.map(|sku| SkuId::new(sku).expect("an id"));
        let kind = catalog.focus.kind(&provider.id, sku.as_ref());
        let service = catalog.focus.service(&provider.id, sku.as_ref(), &provider.name);
        format!("{service}, {}, {}", kind.category(), kind.subcategory())
    };
    assert_eq!(service("nimbus", Some("NB-STD")), "Nimbus Compute, Compute, Virtual Machines");
    assert_eq!(service("nimbus", None), "Nimbus Compute, Compute, Virtual Machines");
    assert_eq!(service("nimbus", Some("NB-SUPPORT")), "Nimbus Support, Management and Governance, Support");
    assert_eq!(service("lynx", Some("LX-REQ")), "Lynx Transit, Networking, Network Connectivity");
    assert_eq!(service("otter", Some("OT-DNS")), "Otter Names Oy, Other, Other (Other)");
    let unit = |sku: &str| catalog.focus.unit(&SkuId::new(sku).expect("an id")).map(ToString::to_string);
    assert_eq!((unit("LX-REQ").as_deref(), unit("LX-EU")), (Some("Requests"), None));

    let ledger = catalog.general_ledger.as_ref().expect("a gl.toml");
    let lynx = ProviderId::new("lynx").expect("an id");
    let acme = CustomerId::new("acme").expect("an id");
    let accounts =
        [Account::Payable, Account::Clearing, Account::Receivable(&acme), Account::Retained("idle")];
    let names = accounts.map(|account| ledger.name(&lynx, account));
    assert_eq!(names, ["3300-lynx", "1590", "1200-acme", "6850-idle"]);
    assert!(load_month().general_ledger.is_none());
}

/// Neither a new mapping nor another account changes what was billed; November's misprint of a price
/// does.
#[test]
fn november_changes_a_price_of_the_past_and_invoices_do_not() {
    let now = Instant::parse_rfc3339("2025-12-03T09:00:00Z").expect("an instant");
    let (before, november) = (load(close()), load(laid_over(close(), "close/november/catalog")));
    let changed = compare_past(&before, &november, now).problems;
    assert!(!changed.is_empty(), "the misprint of a price");
    assert!(
        changed.iter().all(|problem| problem.file == "providers/lynx/prices.toml"),
        "{:?}",
        shown(&changed)
    );

    let mut other = close();
    other.remove("gl.toml");
    other.insert("focus.toml".to_owned(), String::new());
    other.insert("providers/lynx/invoice_map.csv".to_owned(), "kind,text,id,from,until\n".to_owned());
    other.insert("providers/nimbus/invoice.toml".to_owned(), "format = \"en16931\"\n".to_owned());
    let compared = compare_past(&before, &load(other), now);
    assert_eq!((shown(&compared.problems), compared.differing.is_empty()), (Vec::new(), true));
}
