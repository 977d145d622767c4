//! October and November of the case `close`, line by line, against every cell that it expects.

use super::write::read_manifest;
use super::*;
use crate::catalog::{Catalog, Counts, FocusTerms, Of};
use crate::exact::Exact;
use crate::exact::exact;
use crate::posted::case::{
    amount, at, case, catalog, cost_lines, customer, money, month, posted_in, quantity, table,
};
use crate::posted::{Correction, Entry, Posted, PostedKind};
use crate::price::{PriceModel, Recurrence};
use crate::run::{Charge, CostLine};
use crate::statement::{Billed, Biller};
use schemas::focus::Dataset;
use schemas::focus::V1_4;
use schemas::id::Subject;
use schemas::invoice::LineCategory;
use schemas::time::Day;
use std::collections::{BTreeMap, BTreeSet};

/// `close/catalog/focus.toml`.
fn terms() -> FocusTerms {
    catalog().focus
}

/// October is closed, November open.
fn export<'a>(catalog: &'a Catalog, terms: &'a FocusTerms, of: &str, scope: &'a Scope) -> Export<'a> {
    let now = at("2025-11-30T00:00:00Z");
    let closed = (of == "2025-10").then_some(now);
    Export { catalog, terms, month: month(of), closed, now, scope, days: None }
}

/// Every cell of every row, in the order of the file.
#[track_caller]
fn assert_table(dataset: Dataset, rows: &[Row], expected: &str) {
    let expected = table(expected);
    let columns: Vec<&str> = V1_4.table(dataset).all().map(|column| column.name).collect();
    assert_eq!(expected[0].len(), columns.len(), "the columns of {}", dataset.as_str());
    for (place, (row, expected)) in rows.iter().zip(&expected).enumerate() {
        for column in &columns {
            let cell = row.get(column).map_or_else(|| "NULL".to_owned(), ToString::to_string);
            assert_eq!(
                cell,
                expected[*column],
                "{column} of row {} of {}: {row:#?}",
                place + 1,
                dataset.as_str()
            );
        }
    }
    assert_eq!(rows.len(), expected.len(), "rows of {}", dataset.as_str());
}

#[test]
fn both_months_are_as_expected() {
    let (catalog, terms) = (catalog(), terms());
    let cost_lines = cost_lines(&catalog);
    for (of, expected) in [
        (
            "2025-10",
            [
                case!("close/expected/focus_cost_and_usage.csv"),
                case!("close/expected/focus_invoice_detail.csv"),
                case!("close/expected/focus_billing_period.csv"),
            ],
        ),
        (
            "2025-11",
            [
                case!("close/expected/focus_cost_and_usage_november.csv"),
                case!("close/expected/focus_invoice_detail_november.csv"),
                case!("close/expected/focus_billing_period_november.csv"),
            ],
        ),
    ] {
        let posted = posted_in(of, &cost_lines);
        let export = export(&catalog, &terms, of, &Scope::Operator);
        let lines = export.lines(&posted);
        for (dataset, expected) in Dataset::ALL.into_iter().zip(expected) {
            assert_table(dataset, &export.rows(dataset, &lines).expect("rows"), expected);
        }
    }
}

/// The days of acme's charges, as `SKU subject day quantity`.
const DAYS: &str = "LX-EU projects/a1 2025-10-01 0.4
LX-REQ projects/a1 2025-10-05 1500
LX-WORLD projects/a1 2025-10-04 6
LX-PORT projects/a1 2025-10-06 60
LX-PORT projects/a2 2025-10-06 60
NB-GPU projects/a1 2025-10-14 10
NB-OTHER projects/a2 2025-10-05 1
NB-STD projects/a1 2025-09-30 3
NB-STD projects/a1 2025-10-01 120
NB-STD projects/a2 2025-10-02 80.5
ST-HOT projects/a1 2025-10-01 1
VI-LARGE projects/a1 2025-10-09 1.234567891
VI-SMALL projects/a2 2025-10-11 0.75";

fn days(cost_lines: &[CostLine]) -> Days {
    let mut days = Days::new();
    for text in DAYS.lines() {
        let [sku, subject, day, used] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let day = Day::of(at(&format!("{day}T00:00:00Z")).micros());
        for line in cost_lines.iter().filter(|line| line.key.sku.as_str() == sku) {
            let is_of = |charge: &&Charge| {
                charge.customer == Some(customer("acme"))
                    && charge.subject.as_ref().map(Subject::as_str) == Some(subject)
            };
            for charge in line.charges.iter().filter(is_of) {
                days.entry(charge.id).or_default().insert(day, exact(quantity(used)));
            }
        }
    }
    days
}

#[test]
fn a_customers_usage_is_split_over_its_days() {
    let (catalog, terms) = (catalog(), terms());
    let cost_lines = cost_lines(&catalog);
    let posted = posted_in("2025-10", &cost_lines);
    let scope = Scope::parse("customer=acme").expect("a scope");
    let days = days(&cost_lines);
    let export = Export { days: Some(&days), ..export(&catalog, &terms, "2025-10", &scope) };
    let lines = export.lines(&posted);
    let rows = export.rows(Dataset::CostAndUsage, &lines).expect("rows");
    assert_table(Dataset::CostAndUsage, &rows, case!("close/expected/focus_cost_and_usage_daily.csv"));
}

#[test]
fn a_scope_has_no_foreign_row() {
    let (catalog, terms) = (catalog(), terms());
    let cost_lines = cost_lines(&catalog);
    let posted = posted_in("2025-10", &cost_lines);
    let rows = |scope: &str| {
        let scope = Scope::parse(scope).expect("a scope");
        let export = export(&catalog, &terms, "2025-10", &scope);
        export.rows(Dataset::CostAndUsage, &export.lines(&posted)).expect("rows")
    };
    let all = |rows: &[Row], column: &str, value: &str| {
        assert!(!rows.is_empty(), "{column} {value}");
        assert!(rows.iter().all(|row| row.text(column) == Some(value)), "{column} {value}");
    };
    all(&rows("customer=acme"), "BillingAccountId", "acme");
    all(&rows("partner=cedar"), "BillingAccountId", "cedar");
    all(&rows("provider=vireo"), "HostProviderName", "Vireo Inference SAS");
    assert!(rows("customer=ops").is_empty(), "what is retained is on the operator's own statement");
    assert_eq!(rows("customer=cedar"), rows("partner=cedar"), "cedar bills nobody");
    for wrong in ["acme", "customer", "tenant=acme", "customer="] {
        assert!(Scope::parse(wrong).is_err(), "{wrong}");
    }
}

/// A folder in memory.
fn folder() -> ledger::Location {
    ledger::store::Store::memory().at("out")
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}

#[test]
fn an_export_is_whole_and_passes_its_own_check() {
    let (catalog, terms) = (catalog(), terms());
    let cost_lines = cost_lines(&catalog);
    for format in [FileFormat::Parquet, FileFormat::Csv] {
        let folder = folder();
        for (of, statements) in [("2025-10", 6), ("2025-11", 5)] {
            let posted = posted_in(of, &cost_lines);
            let export = export(&catalog, &terms, of, &Scope::Operator);
            let manifest = wait(write(&export, &posted, format, &folder)).expect("an export");
            let of_month = manifest.invoices.iter().filter(|entry| entry.billing_period == of);
            assert_eq!(of_month.count(), statements, "{of}");
            let again = wait(write(&export, &posted, format, &folder)).expect("an export");
            assert_eq!(again, manifest, "an export takes the place of the one before");
        }
        let manifest = wait(read_manifest(&folder)).expect("it can be read").expect("a manifest");
        assert_eq!(manifest.files.len(), 6);
        let acme = manifest.invoices.iter().find(|entry| entry.invoice == "commons-2025-10-acme-EUR");
        assert_eq!(acme.map(|entry| entry.billed_cost.as_str()), Some("228.37"));
        let report = wait(check_folder(&folder)).expect("it can be checked");
        assert_eq!(report.findings, []);
        assert!(report.is_fine() && report.more() == 0);
        assert_eq!((report.files, report.rows), (6, 74 + 63 + 1 + 87 + 87 + 1));
        // Another scope does not mix with the months that are there.
        let scope = Scope::parse("customer=acme").expect("a scope");
        let other = export(&catalog, &terms, "2025-10", &scope);
        let refused = wait(write(&other, &[], format, &folder)).expect_err("two scopes");
        assert!(refused.to_string().contains("export into another folder"), "{refused}");
    }
}

#[test]
fn an_export_of_nothing_has_files_without_rows() {
    let (catalog, terms) = (catalog(), terms());
    let scope = Scope::parse("customer=ops").expect("a scope");
    let export = export(&catalog, &terms, "2025-10", &scope);
    for format in [FileFormat::Parquet, FileFormat::Csv] {
        let folder = folder();
        let manifest = wait(write(&export, &[], format, &folder)).expect("an export");
        assert_eq!(manifest.files.iter().map(|file| file.rows).collect::<Vec<_>>(), [1, 0, 0]);
        assert!(wait(check_folder(&folder)).expect("it can be checked").is_fine());
    }
}

/// The bytes of a dataset of October, as CSV.
fn csv_of(dataset: Dataset) -> String {
    let (catalog, terms) = (catalog(), terms());
    let cost_lines = cost_lines(&catalog);
    let posted = posted_in("2025-10", &cost_lines);
    let export = export(&catalog, &terms, "2025-10", &Scope::Operator);
    let folder = folder();
    wait(write(&export, &posted, FileFormat::Csv, &folder)).expect("an export");
    let path = format!("{}/billing_period=2025-10/part-00001.csv", dataset.as_str());
    let bytes = wait(folder.join(&path).read()).expect("it can be read").expect("it is there");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The rules that a file breaks after one cell of the first row that has `value` in `of` was changed.
fn broken(dataset: Dataset, text: &str, (of, value): (&str, &str), column: &str, to: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().expect("a header").clone();
    let place = |name: &str| header.iter().position(|known| known == name).expect("a column");
    let mut records: Vec<Vec<String>> = reader
        .records()
        .map(|record| record.expect("a record").iter().map(str::to_owned).collect())
        .collect();
    let row = records.iter_mut().find(|record| record[place(of)] == value).expect("a row");
    assert_ne!(row[place(column)], to, "{column} is changed");
    row[place(column)] = to.to_owned();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header).expect("memory");
    records.iter().for_each(|record| writer.write_record(record).expect("memory"));
    let location = folder().join("changed.csv");
    wait(location.replace(writer.into_inner().expect("memory").into())).expect("memory");
    let report = wait(check_file(&location, dataset)).expect("it can be checked");
    assert!(report.findings.iter().all(|finding| finding.row.is_some()), "{:?}", report.findings);
    report.counts.into_keys().map(|(rule, _)| rule).collect()
}

/// One change each; first what the official validator passes over (`research/focus.md`, 3.4).
#[test]
fn every_change_of_a_cell_is_found() {
    let text = csv_of(Dataset::CostAndUsage);
    let (usage, tax, credit) =
        (("ChargeCategory", "Usage"), ("ChargeCategory", "Tax"), ("ChargeCategory", "Credit"));
    let shared = ("AllocatedMethodId", "even");
    for (of, column, to, rule) in [
        (usage, "ChargeCategory", "", "CAU-ChargeCategory nullability"),
        (usage, "ChargeCategory", "usage", "CAU-ChargeCategory allowed values"),
        (usage, "PricingQuantity", "", "CAU-PricingQuantity-C-005-C"),
        (usage, "ConsumedQuantity", "", "CAU-ConsumedQuantity-C-006-C"),
        (usage, "SkuPriceId", "", "CAU-SkuPriceId-C-005-C"),
        (usage, "ServiceCategory", "Cloud", "CAU-ServiceCategory-C-003-M"),
        (usage, "ServiceSubcategory", "Object Storage", "CAU-ServiceSubcategory-C-004-M"),
        (usage, "EffectiveCost", "7", "CAU-EffectiveCost-C-017-C"),
        (usage, "Tags", "{\"a\":{\"b\":1}}", "ATT-KeyValueFormat"),
        (usage, "ServiceName", " ", "ATT-NullHandling"),
        (usage, "ChargePeriodEnd", "2025-01-01T00:00:00Z", "CAU-ChargePeriodEnd order"),
        (usage, "ChargePeriodStart", "2025-10-01 00:00:00", "ATT-DateTimeFormat"),
        (usage, "HostProviderName", "", "CAU-HostProviderName-C-006-M"),
        (usage, "BilledCost", "$1", "ATT-NumericFormat"),
        (usage, "BilledCost", "", "CAU-BilledCost nullability"),
        (usage, "BillingCurrency", "EURO", "ATT-CurrencyFormat"),
        (usage, "ChargeClass", "Correct", "CAU-ChargeClass allowed values"),
        (usage, "ListCost", "50.000001", "CAU-ListCost-C-011-C"),
        (usage, "ContractedUnitPrice", "-0.5", "CAU-ContractedUnitPrice-C-009-M"),
        (usage, "PricingUnit", "hours", "ATT-UnitFormat"),
        (usage, "SubAccountName", "", "CAU-SubAccountName-C-003-C"),
        (usage, "SkuId", "LX-EU", "CAU-SkuPriceId-C-008-M"),
        (usage, "PricingCurrencyContractedUnitPrice", "", "CAU-PricingCurrencyContractedUnitPrice-C-012-C"),
        (usage, "InvoiceId", "", "CAU-InvoiceDetailId-C-003-C"),
        (usage, "x_CorrectionEntry", "undo", "CAU-x_CorrectionEntry allowed values"),
        (tax, "SkuId", "LX-EU", "CAU-SkuId-C-004-C"),
        (tax, "PricingCategory", "Standard", "CAU-PricingCategory-C-003-C"),
        (tax, "EffectiveCost", "0.5", "CAU-EffectiveCost-C-017-C"),
        (credit, "ListCost", "0.5", "CAU-ListCost-C-008-M"),
        (shared, "ChargeFrequency", "Usage-Based", "CAU-ChargeFrequency-C-004-C"),
        (shared, "AllocatedMethodDetails", "{\"Elements\":[]}", "CAU-AllocatedMethodDetails-C-007-C"),
        (shared, "AllocatedMethodDetails", "{\"Elements\":1,\"Elements\":2}", "ATT-JsonObjectFormat"),
        (shared, "ConsumedQuantity", "1", "CAU-ConsumedQuantity-C-004-C"),
    ] {
        let found = broken(Dataset::CostAndUsage, &text, of, column, to);
        assert!(found.iter().any(|found| found == rule), "{column} {to:?}: {rule} is not in {found:?}");
    }
    let text = csv_of(Dataset::InvoiceDetail);
    let issued = ("InvoiceIssueStatus", "Issued");
    for (column, to, rule) in [
        ("InvoiceDetailLastUpdated", "2020-01-01T00:00:00Z", "IND-InvoiceDetailLastUpdated-C-005-M"),
        ("PaymentCurrencyBilledCost", "1", "IND-PaymentCurrencyBilledCost-C-005-M"),
        ("InvoiceIssueDate", "", "IND-InvoiceIssueDate-C-004-M"),
        ("InvoiceDetailId", "2", "IND-InvoiceDetailId-C-004-M"),
        ("PaymentTerms", "", "IND-PaymentTerms nullability"),
    ] {
        let found = broken(Dataset::InvoiceDetail, &text, issued, column, to);
        assert!(found.iter().any(|found| found == rule), "{column} {to:?}: {rule} is not in {found:?}");
    }
}

#[test]
fn the_columns_of_a_file_are_checked_and_findings_are_bounded() {
    let text = csv_of(Dataset::CostAndUsage);
    let check = |text: String| {
        let location = folder().join("changed.csv");
        wait(location.replace(text.into_bytes().into())).expect("memory");
        wait(check_file(&location, Dataset::CostAndUsage)).expect("it can be checked")
    };
    let report = check(text.replacen("x_RetainedReason", "RetainedReason", 1));
    let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
    assert_eq!((finding.row, finding.column.as_str()), (None, "RetainedReason"));
    let report = check(text.replacen("ServiceName", "x_service", 1));
    assert_eq!(
        report.findings.len(),
        2,
        "one column is missing, another has no such name: {:?}",
        report.findings
    );
    let report = check(text.replace("commons-2025-10", ""));
    assert!(report.is_fine(), "other ids are as good: {:?}", report.findings);
    let report = check(text.replace(",EUR,2025-11-01T00:00:00Z,", ",eur,2025-11-01T00:00:00Z,"));
    assert_eq!((report.findings.len(), report.more()), (5, 68), "{:?}", report.counts);
}

#[test]
fn a_formula_in_a_text_stays_a_text() {
    let (catalog, terms) = (catalog(), terms());
    let cost_lines = cost_lines(&catalog);
    let mut posted = posted_in("2025-10", &cost_lines);
    posted.retain(|line| line.category == LineCategory::Credit);
    let cells = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a=b"];
    for (line, cell) in posted.iter_mut().zip(cells.iter().cycle()) {
        line.description = Some((*cell).into());
    }
    let export = export(&catalog, &terms, "2025-10", &Scope::Operator);
    let folder = folder();
    wait(write(&export, &posted, FileFormat::Csv, &folder)).expect("an export");
    let path = "CostAndUsage/billing_period=2025-10/part-00001.csv";
    let bytes = wait(folder.join(path).read()).expect("it can be read").expect("it is there");
    for row in csv::Reader::from_reader(&*bytes).into_deserialize() {
        let row: BTreeMap<String, String> = row.expect("a row");
        let said = &row["ChargeDescription"];
        assert!(said == "a=b" || said.starts_with('\''), "{said:?}");
        assert!(row["BilledCost"].starts_with('-'), "numbers stay numbers");
    }
}

#[test]
fn what_is_billed_in_another_currency_has_the_price_of_the_provider() {
    let (catalog, terms) = (catalog(), terms());
    let cost_lines = cost_lines(&catalog);
    let mut posted = posted_in("2025-10", &cost_lines);
    posted.retain(|line| line.sku.as_ref().is_some_and(|sku| sku.as_str() == "NB-STD"));
    posted.retain(|line| line.customer == Some(customer("acme")));
    for line in &mut posted {
        line.billed = Some(Billed { money: money("31.46", "USD"), rate: Some(amount("2")) });
    }
    let export = export(&catalog, &terms, "2025-10", &Scope::Operator);
    let rows = export.rows(Dataset::CostAndUsage, &export.lines(&posted)).expect("rows");
    assert_eq!(rows.len(), 2);
    let sum =
        |column: &str| rows.iter().map(|row| exact(row.decimal(column).expect("a cost"))).sum::<Exact>();
    assert_eq!(sum("BilledCost"), exact(amount("31.46")));
    assert_eq!(sum("PricingCurrencyEffectiveCost"), exact(amount("15.73")));
    for row in &rows {
        assert_eq!(row.text("InvoiceId"), Some("commons-2025-10-acme-USD"));
        assert_eq!((row.text("BillingCurrency"), row.text("PricingCurrency")), (Some("USD"), Some("EUR")));
        for column in ["PricingCurrencyListUnitPrice", "ListUnitPrice", "ContractedUnitPrice"] {
            assert_eq!(row.decimal(column), Some(amount("0.077309236947791165")), "{column}");
        }
        assert_eq!(row.decimal("ListCost"), row.decimal("ContractedCost"));
        assert_eq!(row.decimal("EffectiveCost"), row.decimal("BilledCost"));
    }
}

#[test]
fn a_partner_s_lines_are_in_its_own_scope() {
    let (mut catalog, terms) = (catalog(), terms());
    let cost_lines = cost_lines(&catalog);
    let mut posted = posted_in("2025-10", &cost_lines);
    posted.retain(|line| line.customer == Some(customer("cedar")));
    // Cedar bills somebody, who used nothing.
    let mut zebra = catalog.customers[&customer("dune")].clone();
    (zebra.id, zebra.bills_to) = (customer("zebra"), Some(customer("cedar")));
    catalog.customers.insert(zebra.id.clone(), zebra);
    // What cedar bears of it, as cedar writes it.
    let own: Vec<Posted<'_>> = posted
        .iter()
        .map(|line| {
            let kind = PostedKind::Retained("internal".into());
            Posted { biller: Biller::Partner(customer("cedar")), kind, ..line.clone() }
        })
        .collect();
    posted.extend(own);
    let rows = |scope: &Scope| {
        let export = export(&catalog, &terms, "2025-10", scope);
        export.rows(Dataset::CostAndUsage, &export.lines(&posted)).expect("rows")
    };
    let (of_operator, of_partner) = (rows(&Scope::Operator), rows(&Scope::Partner(customer("cedar"))));
    assert_eq!(of_operator.len(), of_partner.len());
    for row in &of_operator {
        assert_eq!(row.text("InvoiceIssuerName"), Some("Commons Cloud Cooperative"));
    }
    for row in &of_partner {
        assert_eq!(row.text("InvoiceIssuerName"), Some("Cedar Resale"));
        assert_eq!(row.text("BillingAccountType"), Some("Partner"));
        assert!(row.text("InvoiceId").is_some_and(|id| id.starts_with("cedar-2025-10-cedar-")));
    }
}

/// The first posted line of a SKU in October that is charged to a customer.
fn charged<'r>(cost_lines: &'r [CostLine], sku: &str, id: &str) -> Posted<'r> {
    let mut posted = posted_in("2025-10", cost_lines).into_iter();
    let is = |line: &Posted<'_>| {
        line.sku.as_ref().is_some_and(|known| known.as_str() == sku) && line.is_billed_to(&customer(id))
    };
    posted.find(is).expect("a charge")
}

fn rows_of(catalog: &Catalog, line: &Posted<'_>) -> Vec<Row> {
    let posted = [line.clone()];
    let terms = terms();
    let export = export(catalog, &terms, "2025-10", &Scope::Operator);
    export.rows(Dataset::CostAndUsage, &export.lines(&posted)).expect("rows")
}

#[test]
fn what_a_partner_bears_by_a_rule_is_one_row() {
    let mut catalog = catalog();
    let mut cost_lines = cost_lines(&catalog);
    catalog.customers.get_mut(&customer("birch")).expect("a customer").bills_to = Some(customer("cedar"));
    // A fee has no subjects, whatever it is shared by.
    for charge in cost_lines.iter_mut().flat_map(|line| &mut line.charges) {
        charge.subject.get_or_insert_with(|| Subject::new("projects/c1").expect("a subject"));
    }
    let rows = rows_of(&catalog, &charged(&cost_lines, "OT-DNS", "cedar"));
    let [row] = &rows[..] else { panic!("{rows:#?}") };
    let cell = |column| row.get(column).map(ToString::to_string);
    assert_eq!(cell("AllocatedMethodDetails").as_deref(), Some("{\"Elements\":[{\"AllocatedRatio\":0.4}]}"));
    assert_eq!(cell("AllocatedResourceId").as_deref(), Some("cedar"));
    assert_eq!(cell("PricingQuantity").as_deref(), Some("0.4"));
    assert_eq!(cell("SubAccountId"), None);
}

/// `ChargeCategory`, `ChargeFrequency`, and the SKU with its price, where they are there.
fn said(catalog: &Catalog, line: &Posted<'_>) -> String {
    let rows = rows_of(catalog, line);
    let cell = |column| rows[0].text(column).unwrap_or("-");
    ["ChargeCategory", "ChargeFrequency", "SkuId", "SkuPriceId"].map(cell).join(" ")
}

#[test]
fn a_correction_is_of_the_kind_of_what_it_corrects() {
    let mut catalog = catalog();
    let cost_lines = cost_lines(&catalog);
    let (metered, flat) = (charged(&cost_lines, "LX-EU", "acme"), charged(&cost_lines, "OT-DNS", "acme"));
    fn corrected<'r>(line: &Posted<'r>) -> Posted<'r> {
        let correction = Correction { entry: Entry::Reversal, corrects: None, month: month("2025-10") };
        Posted { correction: Some(correction), cost_line: None, ..line.clone() }
    }
    assert_eq!(said(&catalog, &metered), "Usage Usage-Based LX-EU LX-EU@2025-01-01");
    assert_eq!(said(&catalog, &corrected(&metered)), "Usage Usage-Based LX-EU -");
    assert_eq!(said(&catalog, &flat), "Purchase Recurring OT-DNS OT-DNS@2025-01-01");
    assert_eq!(said(&catalog, &corrected(&flat)), "Purchase Recurring OT-DNS -");
    // Of no cost line, or of one below zero.
    let unpriced = Posted { price_from: None, ..metered.clone() };
    for line in [&unpriced, &corrected(&unpriced)] {
        assert_eq!(said(&catalog, line), "Adjustment One-Time - -");
    }
    let skus = catalog.providers.values_mut().flat_map(|provider| &mut provider.skus);
    for sku in skus {
        for price in &mut sku.prices {
            if let PriceModel::Flat { every, .. } = &mut price.terms.model {
                *every = Recurrence::Once;
            }
        }
        if sku.id.as_str() == "LX-EU" {
            let of = Of { of: BTreeSet::new(), except: BTreeSet::new(), skus: BTreeSet::new() };
            sku.counts = Counts::Lines(of);
        }
    }
    assert_eq!(said(&catalog, &flat), "Purchase One-Time OT-DNS OT-DNS@2025-01-01");
    assert_eq!(said(&catalog, &corrected(&flat)), "Purchase One-Time OT-DNS -");
    // A price on other lines is neither usage nor a purchase.
    assert_eq!(said(&catalog, &metered), "Adjustment One-Time LX-EU LX-EU@2025-01-01");
    assert_eq!(said(&catalog, &corrected(&metered)), "Adjustment One-Time LX-EU -");
}
