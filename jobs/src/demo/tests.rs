use super::expected::MALFORMED;
use super::records::{self, FILES};
use super::*;
use crate::show::{Answer as _, Verdict};
use rating::catalog::{Catalog, CatalogFiles, CustomerKind};
use schemas::digest::Sha256Digest;
use schemas::id::Subject;
use std::collections::BTreeSet;

fn catalog() -> Catalog {
    let files = CATALOG.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let (catalog, warnings) =
        Catalog::load(&CatalogFiles::new(files)).expect("the demo's catalog has no problem");
    assert_eq!(warnings, []);
    catalog
}

#[test]
fn the_records_are_the_same_bytes_everywhere_and_add_up() {
    let mut digest = Sha256Digest::of(b"");
    let (mut records, mut files) = (0, BTreeSet::new());
    let expected = records::records(|record| {
        records += 1;
        files.insert(record.file);
        assert!(!record.bytes.contains(&b'\n') && !record.bytes.is_empty(), "a record is a line");
        let mut bytes = digest.to_string().into_bytes();
        bytes.extend_from_slice(record.key.as_bytes());
        bytes.extend_from_slice(record.bytes);
        digest = Sha256Digest::of(&bytes);
        Ok::<(), ()>(())
    })
    .expect("the sink does not fail");
    assert_eq!(
        digest.to_string(),
        "6664950329dbab9e7711d5fc02e59fd3290e784b52d3c417af170c7dadcfa774",
        "the records have changed; if that was meant, this is their new digest"
    );

    assert_eq!((expected.records, files.len()), (records, FILES.len()));
    assert!(expected.records >= 300_000, "{expected:?}");
    assert_eq!(expected.usage() + expected.rejected_total(), expected.records);
    let kinds: BTreeSet<_> = MALFORMED.iter().map(|(reason, _)| *reason).collect();
    assert_eq!((kinds.len(), expected.rejected.keys().copied().collect()), (10, kinds));
    assert!(expected.rejected.values().all(|count| (3..10).contains(count)), "{:?}", expected.rejected);
    assert!((4..7).contains(&(expected.duplicates * 1000 / expected.records)), "{expected:?}");
    assert!((20..100).contains(&expected.conflicts), "{expected:?}");
    for count in [expected.late, expected.other_month, expected.unknown_project, expected.eve] {
        assert!(count > 10, "{expected:?}");
    }
    assert_eq!(expected.unrated.len(), 2, "{expected:?}");
}

#[test]
fn the_generator_and_the_catalog_mean_the_same_world() {
    let catalog = catalog();
    let kinds = |wanted: CustomerKind| {
        catalog.customers.values().filter(|customer| customer.kinds.first == wanted).count()
    };
    assert_eq!(
        (kinds(CustomerKind::Customer), kinds(CustomerKind::Partner), kinds(CustomerKind::Internal)),
        (4, 1, 1)
    );
    let expected = records::records(|_| Ok::<(), ()>(())).expect("the sink does not fail");
    let metered: BTreeSet<&str> = catalog
        .providers
        .values()
        .flat_map(|provider| &provider.skus)
        .filter(|sku| sku.metered().is_some())
        .map(|sku| sku.id.as_str())
        .collect();
    assert_eq!(expected.quantities.keys().map(|(sku, _)| *sku).collect::<BTreeSet<_>>(), metered);
    let payers: BTreeSet<&str> = expected.quantities.keys().filter_map(|(_, customer)| *customer).collect();
    assert_eq!(payers, catalog.customers.keys().map(schemas::id::CustomerId::as_str).collect());
    let moved = Subject::new("projects/tide-gauge").expect("a name");
    assert_eq!(catalog.bindings.iter().filter(|binding| binding.subject == moved).count(), 2);
    let unknown = Subject::new("projects/fernweh").expect("a name");
    assert_eq!(catalog.bindings.iter().filter(|binding| binding.subject == unknown).count(), 0);
}

#[test]
fn only_what_a_demo_has_made_is_removed() {
    let folder = tempfile::tempdir().expect("the machine has room for a folder");
    let demo = folder.path().join("demo");
    refuse_what_is_no_demo(&demo).expect("there is nothing yet");
    prepare(&demo).expect("a new folder is made");
    fs::create_dir(demo.join("ledger")).expect("it can be written");
    fs::write(demo.join("notes.txt"), "mine").expect("it can be written");
    refuse_what_is_no_demo(&demo).expect("a demo made it");
    prepare(&demo).expect("a demo's folder is used again");
    assert!(!demo.join("ledger").exists() && demo.join("notes.txt").exists());

    let other = folder.path().join("other");
    fs::create_dir_all(other.join("ledger")).expect("it can be written");
    let refused = refuse_what_is_no_demo(&other).expect_err("it is not a demo's").to_string();
    assert!(refused.contains("no demo has made it"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_in_comes_out_and_the_report_fits_a_terminal() {
    let folder = tempfile::tempdir().expect("the machine has room for a folder");
    let options = DemoOptions { folder: folder.path().join("demo"), brokers: None };
    let report = run(&options).await.expect("the demo runs");
    assert_eq!(report.verdict(), Verdict::Fine, "{}", report.text());
    assert_eq!(report.json().expect("JSON")["agrees"], true);
    let place = folder.path().display().to_string();
    for line in report.text().lines().filter(|line| !line.contains(&place)) {
        assert!(line.chars().count() <= 100, "{line}");
    }
}
