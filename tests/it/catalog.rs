//! The things that a catalog may not say: one file per refusal in tests/cases/catalog. Each is a
//! patch of the month's catalog, a line of `---` and what the check says. A patch names files,
//! `@ FILE`, and below them lines with `-` that are replaced by those with `+`; lines with a blank
//! stay and say where. Lines with `+` alone are put at the end of the file; `@ FILE gone` removes
//! it. `now INSTANT` compares with the price lists of the month's catalog, published before.

use crate::cases;
use rating::catalog::{Catalog, CatalogFiles, Problem, compare_past};
use schemas::id::{MeterType, ProviderId, Subject};
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

/// The month's catalog with the patches of a case.
pub fn patched(question: &str) -> BTreeMap<String, String> {
    let mut files = month();
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

fn load_month() -> Catalog {
    let (catalog, warnings) =
        Catalog::load(&CatalogFiles::new(month())).expect("the month's catalog is fine");
    assert_eq!(warnings, []);
    catalog
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
