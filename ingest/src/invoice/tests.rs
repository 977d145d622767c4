use super::*;
use schemas::id::{BillingAccountId, InvoiceId, ProviderId};
use schemas::invoice::{Invoice, InvoiceLine, LineCategory, Standing};
use schemas::invoice_mapping::{
    DateFormat, Encoding, FileFormat, LineEnd, More, Part, RowKind, RowRule, Source,
};
use schemas::time::{Anchor, BillingMonth, time_zone};
use std::collections::BTreeMap;
use std::fmt::Display;

macro_rules! case {
    ($path:literal) => {
        include_bytes!(concat!("../../../tests/cases/close/", $path))
    };
}

const EXPECTED: &str = include_str!("../../../tests/cases/close/expected/invoice_lines.csv");

fn issuer(provider: &str, billing_account: &str, zone: &str) -> Issuer {
    Issuer {
        provider: ProviderId::new(provider).expect("a name"),
        billing_account: BillingAccountId::new(billing_account).expect("a name"),
        zone: time_zone(zone).expect("a zone"),
        anchor: Anchor::FIRST,
    }
}

fn nimbus() -> Issuer {
    issuer("nimbus", "NB-4711", "Europe/Berlin")
}

fn stow() -> Issuer {
    issuer("stow", "77-0042", "UTC")
}

fn lynx() -> Issuer {
    issuer("lynx", "LX-9", "UTC")
}

fn vireo() -> Issuer {
    issuer("vireo", "VI-100", "UTC")
}

/// Names of a column in a file: a list is tried in order, braces put a text together.
fn sources(text: &str) -> Vec<Source> {
    let source = |text: &str| {
        if !text.contains('{') {
            return Source(vec![Part::Column(text.into())]);
        }
        let mut parts = Vec::new();
        for piece in text.split_inclusive('}') {
            let (before, column) = piece.split_once('{').unwrap_or((piece, ""));
            parts.push(Part::Text(before.into()));
            parts.push(Part::Column(column.trim_end_matches('}').into()));
        }
        parts.retain(|part| !matches!(part, Part::Text(text) | Part::Column(text) if text.is_empty()));
        Source(parts)
    };
    text.split('|').map(source).collect()
}

fn columns(pairs: &[(Column, &str)]) -> BTreeMap<Column, Vec<Source>> {
    pairs.iter().map(|(column, text)| (*column, sources(text))).collect()
}

fn mapping(name: &str, pairs: &[(Column, &str)]) -> ColumnMapping {
    ColumnMapping {
        name: name.into(),
        file: FileFormat {
            encoding: Encoding::Utf8,
            delimiter: ',',
            header: None,
            decimal: '.',
            thousands: None,
            date: DateFormat::Iso,
            end: LineEnd::Exclusive,
            dates_in_utc: false,
        },
        columns: columns(pairs),
        rows: Vec::new(),
        more: Vec::new(),
        credits: None,
    }
}

fn rule(column: &str, values: &[&str], is: RowKind) -> RowRule {
    let values = values.iter().map(|value| (*value).into()).collect();
    RowRule { when: BTreeMap::from([(column.into(), values)]), is }
}

fn focus() -> ColumnMapping {
    let mapping = mapping(
        "focus",
        &[
            (Column::Invoice, "InvoiceId"),
            (Column::Month, "BillingPeriodStart"),
            (Column::BillingAccount, "BillingAccountId"),
            (Column::SubAccount, "SubAccountId"),
            (Column::Sku, "SkuId"),
            (Column::Description, "ChargeDescription"),
            (Column::Start, "ChargePeriodStart"),
            (Column::End, "ChargePeriodEnd"),
            (Column::Quantity, "PricingQuantity"),
            (Column::Unit, "PricingUnit"),
            (Column::UnitPrice, "ContractedUnitPrice"),
            (Column::Amount, "BilledCost"),
            (Column::Currency, "BillingCurrency"),
        ],
    );
    let is = |category| RowKind::Line(category);
    ColumnMapping {
        file: FileFormat { dates_in_utc: true, ..mapping.file },
        rows: vec![
            rule("ChargeCategory", &["Tax"], is(LineCategory::Tax)),
            rule("ChargeCategory", &["Credit"], is(LineCategory::Credit)),
            rule("ChargeCategory", &["Adjustment"], is(LineCategory::Adjustment)),
        ],
        ..mapping
    }
}

fn cur() -> ColumnMapping {
    let mapping = mapping(
        "aws-cur",
        &[
            (Column::Invoice, "bill/InvoiceId|bill_invoice_id"),
            (Column::Month, "bill/BillingPeriodStartDate"),
            (Column::LineId, "identity/LineItemId"),
            (Column::BillingAccount, "bill/PayerAccountId"),
            (Column::SubAccount, "lineItem/UsageAccountId"),
            (Column::Sku, "line_item_usage_type|lineItem/UsageType"),
            (Column::Description, "lineItem/LineItemDescription"),
            (Column::Start, "lineItem/UsageStartDate"),
            (Column::End, "lineItem/UsageEndDate"),
            (Column::Quantity, "lineItem/UsageAmount"),
            (Column::Unit, "pricing/unit"),
            (Column::UnitPrice, "lineItem/UnblendedRate"),
            (Column::Amount, "lineItem/UnblendedCost"),
            (Column::Currency, "lineItem/CurrencyCode"),
        ],
    );
    ColumnMapping {
        file: FileFormat { dates_in_utc: true, ..mapping.file },
        rows: vec![
            rule("lineItem/LineItemType", &["Tax"], RowKind::Line(LineCategory::Tax)),
            rule("lineItem/LineItemType", &["Fee"], RowKind::Line(LineCategory::Fee)),
        ],
        ..mapping
    }
}

fn german() -> ColumnMapping {
    let mapping = mapping(
        "csv",
        &[
            (Column::Invoice, "Rechnung"),
            (Column::LineId, "Pos"),
            (Column::BillingAccount, "Konto"),
            (Column::SubAccount, "Unterkonto"),
            (Column::Sku, "{Artikel}/{Ziel}"),
            (Column::Description, "Text"),
            (Column::Start, "Von"),
            (Column::End, "Bis"),
            (Column::Quantity, "Menge"),
            (Column::Unit, "Einheit"),
            (Column::UnitPrice, "Einzelpreis"),
            (Column::Amount, "Betrag"),
            (Column::Currency, "Währung"),
        ],
    );
    ColumnMapping {
        file: FileFormat {
            delimiter: ';',
            decimal: ',',
            thousands: Some('.'),
            date: DateFormat::Pattern("%d.%m.%Y".into()),
            end: LineEnd::Inclusive,
            ..mapping.file
        },
        rows: vec![
            rule("Artikel", &["SUMME"], RowKind::Total),
            rule("Artikel", &["MWST"], RowKind::Line(LineCategory::Tax)),
            rule("Artikel", &["RUNDUNG"], RowKind::Line(LineCategory::Adjustment)),
        ],
        ..mapping
    }
}

fn nested() -> ColumnMapping {
    let mapping = mapping(
        "csv",
        &[
            (Column::Invoice, "invoice"),
            (Column::Sku, "usage.model"),
            (Column::Description, "usage.what"),
            (Column::Start, "usage.day"),
            (Column::Quantity, "usage.tokens"),
            (Column::Unit, "usage.unit"),
            (Column::Amount, "usage.cost"),
            (Column::Currency, "currency"),
        ],
    );
    ColumnMapping { file: FileFormat { end: LineEnd::Day, ..mapping.file }, ..mapping }
}

/// As few columns as can be.
fn plain() -> ColumnMapping {
    let pairs = [
        (Column::Invoice, "id"),
        (Column::Sku, "sku"),
        (Column::Start, "from"),
        (Column::End, "to"),
        (Column::Amount, "cost"),
        (Column::Currency, "currency"),
    ];
    ColumnMapping { rows: vec![rule("sku", &["TOTAL"], RowKind::Total)], ..mapping("csv", &pairs) }
}

fn read_with(
    name: &str,
    bytes: &[u8],
    mapping: &ColumnMapping,
    issuer: &Issuer,
    options: &Options,
) -> Result<Vec<ImportedInvoice>, String> {
    import(name, bytes, mapping, issuer, options).map_err(|error| error.to_string())
}

fn one(name: &str, bytes: &[u8], mapping: &ColumnMapping, issuer: &Issuer) -> ImportedInvoice {
    let mut imported = read_with(name, bytes, mapping, issuer, &Options::default()).expect("an invoice");
    assert_eq!(imported.len(), 1, "{name}");
    imported.pop().expect("there is one")
}

/// A plain file in CSV, of which only this is said.
fn read(text: &str, options: &Options) -> Result<Vec<ImportedInvoice>, String> {
    read_with("a.csv", text.as_bytes(), &plain(), &stow(), options)
}

fn ids(imported: &[ImportedInvoice]) -> Vec<(String, String, Standing)> {
    let invoices = imported.iter().map(|imported| &imported.invoice);
    invoices.map(|invoice| (invoice.id.to_string(), invoice.period.to_string(), invoice.standing)).collect()
}

/// A line as `invoice_lines.csv` has it.
fn row(invoice: &Invoice, line: &InvoiceLine) -> String {
    let text = |text: &Option<std::sync::Arc<str>>| {
        let text = text.as_deref().unwrap_or_default();
        if text.contains(',') { format!("\"{text}\"") } else { text.to_owned() }
    };
    fn shown(value: Option<impl Display>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    [
        invoice.provider.to_string(),
        invoice.id.to_string(),
        invoice.version.to_string(),
        invoice.period.to_string(),
        line.line.to_string(),
        text(&line.line_id),
        text(&line.billing_account),
        text(&line.sub_account),
        text(&line.sku_text),
        text(&line.description),
        line.category.to_string(),
        line.start.to_string(),
        line.end.to_string(),
        shown(line.quantity),
        text(&line.unit),
        shown(line.unit_price),
        line.amount.to_string(),
        line.currency.to_string(),
        shown(line.repeats),
    ]
    .join(",")
}

#[track_caller]
fn check_contract(name: &str, bytes: &[u8], mapping: &ColumnMapping, issuer: &Issuer, version: u32) {
    let invoice = Invoice { version, ..one(name, bytes, mapping, issuer).invoice };
    let prefix = format!("{},{},{version},", invoice.provider, invoice.id);
    let expected: Vec<&str> = EXPECTED.lines().filter(|line| line.starts_with(&prefix)).collect();
    assert!(!expected.is_empty(), "{prefix}");
    let rows: Vec<String> = invoice.lines.iter().map(|line| row(&invoice, line)).collect();
    assert_eq!(rows, expected);
    assert_eq!(invoice.standing, Standing::Complete);
}

#[test]
fn invoices_of_the_contract_become_its_lines() {
    check_contract("n.csv", case!("invoices/nimbus-2025-10.csv"), &focus(), &nimbus(), 1);
    check_contract("s.csv", case!("invoices/stow-2025-10.csv"), &cur(), &stow(), 1);
    check_contract("l.csv", case!("invoices/lynx-2025-10.csv"), &german(), &lynx(), 1);
    check_contract("v.jsonl", case!("invoices/vireo-2025-10.jsonl"), &nested(), &vireo(), 1);
    check_contract("l.csv", case!("november/invoices/lynx-2025-10-restated.csv"), &german(), &lynx(), 2);
    check_contract("n.csv", case!("november/invoices/nimbus-credit-note.csv"), &focus(), &nimbus(), 1);
    check_contract("s.csv", case!("november/invoices/stow-2025-11.csv"), &cur(), &stow(), 1);
}

#[test]
fn a_cut_invoice_contradicts_its_total() {
    let bytes = case!("invoices/lynx-2025-10-cut.csv");
    let error = read_with("lynx-2025-10-cut.csv", bytes, &german(), &lynx(), &Options::default());
    assert_eq!(
        error.expect_err("it is cut"),
        "lynx-2025-10-cut.csv, record 5 (line 6), column Betrag: lines add up to 57.97, the file says 210.16: \
         it may have been cut short; --partial takes it as a part"
    );
    let partial = Options { partial: true, ..Options::default() };
    let imported = read_with("cut.csv", bytes, &german(), &lynx(), &partial).expect("a part");
    assert_eq!(ids(&imported), [("LX-2510".to_owned(), "2025-10".to_owned(), Standing::Partial)]);
    assert_eq!(imported[0].invoice.lines.len(), 4);
    assert!(imported[0].invoice.totals.is_empty(), "it does not count");
    assert_eq!(
        imported[0].report.ignored_totals.values().map(ToString::to_string).collect::<Vec<_>>(),
        ["210.16"]
    );
}

#[test]
fn a_report_says_what_was_met_and_what_it_adds_up_to() {
    let imported = one("nimbus.csv", case!("invoices/nimbus-2025-10.csv"), &focus(), &nimbus());
    assert_eq!(imported.report.repeated, 1);
    assert_eq!(imported.report.remarks[&Remark::Zoneless].count, 22);
    assert_eq!(imported.report.file.records, 11);
    assert_eq!(&*imported.report.file.absent, ["SubAccountId".into()]);
    let told = imported.report.sentences();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[2], "1 line repeats one before it byte for byte");
    let shown: Vec<String> = sums(&imported.invoice)
        .iter()
        .map(|((category, currency), sum)| {
            format!("{category} {currency} {} {}", sum.lines, sum.amount.expect("it fits"))
        })
        .collect();
    assert_eq!(shown, ["usage EUR 9 400.643333335", "tax EUR 1 74.22", "credit EUR 1 -10"]);
    let skus = skus(&imported.invoice);
    assert_eq!(skus.len(), 5);
    assert_eq!(
        (skus["NB-GPU"].lines(), skus["NB-GPU"].last.to_string()),
        (2, "2025-10-14T22:00:00Z".to_owned())
    );
    let lynx = one("lynx.csv", case!("invoices/lynx-2025-10.csv"), &german(), &lynx());
    assert_eq!(
        accounts(&lynx.invoice).keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["K-100", "K-300"]
    );
    assert!(lynx.report.adjustments.is_empty() && lynx.report.remarks.is_empty());
}

#[test]
fn a_difference_within_the_tolerance_becomes_a_line() {
    let file = |stated: &str| {
        format!(
            "id,sku,from,to,cost,currency\nA,x,2025-10-01,2025-10-02,10.005,EUR\nA,x,2025-10-01,2025-10-02,3,USD\nA,TOTAL,,,{stated},EUR\n"
        )
    };
    let imported = read(&file("11.005"), &Options::default()).expect("within a hundred cents");
    let line = imported[0].invoice.lines.last().expect("a line");
    assert_eq!(
        row(&imported[0].invoice, line),
        "stow,A,1,2025-10,3,,77-0042,,,difference to the stated total,adjustment,2025-10-01T00:00:00Z,2025-11-01T00:00:00Z,,,,1,EUR,"
    );
    assert_eq!(imported[0].invoice.totals.values().map(ToString::to_string).collect::<Vec<_>>(), ["11.005"]);
    let error = read(&file("11.006"), &Options::default()).expect_err("a hundred and a tenth");
    assert!(
        error.starts_with(
            "a.csv, record 3 (line 4), column cost: lines add up to 10.005, the file says 11.006"
        ),
        "{error}"
    );
    assert_eq!(read(&file("10.005"), &Options::default()).expect("equal")[0].invoice.lines.len(), 2);
    // A currency without lines adds up to nothing.
    let error = read(&file("10.005").replace("10.005,EUR\nA,x", "10.005,CHF\nA,x"), &Options::default());
    assert!(error.expect_err("no line in EUR").contains("lines add up to 0, the file says 10.005"));
}

#[test]
fn totals_are_stated_once() {
    let head = "id,sku,from,to,cost,currency\nA,x,2025-10-01,2025-10-02,1,EUR\n";
    read(&format!("{head}A,TOTAL,,,1,EUR\nA,TOTAL,,,1.0,EUR\n"), &Options::default()).expect("the same");
    let error = read(&format!("{head}A,TOTAL,,,1,EUR\nA,TOTAL,,,2,EUR\n"), &Options::default());
    assert!(
        error
            .expect_err("another")
            .contains("record 3 (line 4), column cost: a second total, 2 EUR, where record 2 states 1")
    );
    // One that names no invoice is of the only one.
    read(&format!("{head},TOTAL,,,1,EUR\n"), &Options::default()).expect("it is of A");
    let error = read(&format!("{head},TOTAL,,,99,EUR\n"), &Options::default()).expect_err("it is of A");
    assert!(error.contains("lines add up to 1, the file says 99"), "{error}");
    let error =
        read(&format!("{head}B,x,2025-10-01,2025-10-02,1,EUR\n,TOTAL,,,1,EUR\n"), &Options::default());
    assert!(error.expect_err("of which?").contains("record 3 (line 4), column cost: a total without the id"));
}

#[test]
fn what_has_no_id_is_preliminary() {
    let lines = "id,sku,from,to,cost,currency\n,x,2025-10-01,2025-10-02,1,EUR\n,TOTAL,,,99,EUR\n";
    let imported = read(lines, &Options::default()).expect("a part");
    assert_eq!(
        ids(&imported),
        [("stow-preliminary-2025-10".to_owned(), "2025-10".to_owned(), Standing::Preliminary)]
    );
    assert!(imported[0].invoice.totals.is_empty());
    let named = Options { invoice: Some(InvoiceId::new("A").expect("a name")), ..Options::default() };
    let imported = read(&lines.replace("99", "1"), &named).expect("the whole");
    assert_eq!(ids(&imported), [("A".to_owned(), "2025-10".to_owned(), Standing::Complete)]);
    let without_column = lines.replace("id,", "other,").replace("99", "1");
    assert_eq!(ids(&read(&without_column, &named).expect("the whole"))[0].0, "A");
    let imported = read(&without_column, &Options::default()).expect("a part");
    assert_eq!(ids(&imported)[0].0, "stow-preliminary-2025-10");
    let error = read(&lines.replace("\n,x", "\nB,x"), &named).expect_err("another");
    assert!(
        error.contains("record 1 (line 2), column id: the file says that it is of invoice \"B\""),
        "{error}"
    );
}

#[test]
fn several_ids_are_several_invoices() {
    let text = "id,sku,from,to,cost,currency\n\
        B,x,2025-10-01,2025-10-02,1,EUR\n\
        A,x,2025-09-01,2025-09-02,2,EUR\n\
        B,x,2025-10-01,2025-10-02,1,EUR\n\
        A,TOTAL,,,2,EUR\n\
        B,TOTAL,,,2,EUR\n\
        ,x,2025-08-01,2025-08-02,3,EUR\n\
        A,x,2025-10-01,2025-10-02,0,EUR\n";
    let imported = read(text, &Options::default()).expect("three");
    let expected = [
        ("B", "2025-10", Standing::Complete),
        ("A", "2025-10", Standing::Complete),
        ("stow-preliminary-2025-08", "2025-08", Standing::Preliminary),
    ];
    assert_eq!(
        ids(&imported),
        expected.map(|(id, month, standing)| (id.to_owned(), month.to_owned(), standing))
    );
    let lines: Vec<Vec<(u32, Option<u32>)>> = imported
        .iter()
        .map(|imported| imported.invoice.lines.iter().map(|line| (line.line, line.repeats)).collect())
        .collect();
    assert_eq!(lines, [vec![(1, None), (2, Some(1))], vec![(1, None), (2, None)], vec![(1, None)]]);
}

#[test]
fn the_month_is_said_or_most_lines_begin_in_it() {
    let october = Options { period: BillingMonth::parse("2025-10"), ..Options::default() };
    let month = |text: &str, options: &Options| {
        read(text, options).map(|imported| imported[0].invoice.period.to_string())
    };
    let head = "id,sku,from,to,cost,currency\n";
    let line = |from: &str| format!("A,x,{from},,1,EUR\n");
    let three = [head, &line("2025-09-01"), &line("2025-09-30"), &line("2025-10-01")].concat();
    assert_eq!(month(&three, &Options::default()).as_deref(), Ok("2025-09"));
    assert_eq!(month(&three, &october).as_deref(), Ok("2025-10"));
    let two = [head, &line("2025-10-01"), &line("2025-09-30")].concat();
    assert_eq!(month(&two, &Options::default()).as_deref(), Ok("2025-10"), "of several the latest");
    let none = [head, &line("")].concat();
    assert!(month(&none, &Options::default()).expect_err("of which?").contains("give --period"));
    let imported = read(&none, &october).expect("it is said");
    let line = &imported[0].invoice.lines[0];
    assert_eq!(format!("{} {}", line.start, line.end), "2025-10-01T00:00:00Z 2025-11-01T00:00:00Z");
    // A line without an end lasts as long as its billing period.
    let imported = read(&two, &Options::default()).expect("an invoice");
    assert_eq!(imported[0].invoice.lines[1].end.to_string(), "2025-10-01T00:00:00Z");

    let mut said = plain();
    said.columns.insert(Column::Month, sources("month"));
    let text = "id,sku,from,to,cost,currency,month\nA,x,2025-09-01,,1,EUR,2025-10\n";
    let imported =
        read_with("a.csv", text.as_bytes(), &said, &stow(), &Options::default()).expect("an invoice");
    assert_eq!(imported[0].invoice.period.to_string(), "2025-10");
    let september = Options { period: BillingMonth::parse("2025-09"), ..Options::default() };
    let error = read_with("a.csv", text.as_bytes(), &said, &stow(), &september).expect_err("it says October");
    assert_eq!(error, "a.csv, record 1: it says that it is of 2025-10, and --period says 2025-09");
    // Blank ids of several months are several.
    let text = "id,sku,from,to,cost,currency,month\n,x,,,1,EUR,2025-10\n,x,,,2,EUR,2025-09\n";
    let imported = read_with("a.csv", text.as_bytes(), &said, &stow(), &Options::default()).expect("two");
    assert_eq!(
        ids(&imported).into_iter().map(|(id, ..)| id).collect::<Vec<_>>(),
        ["stow-preliminary-2025-10", "stow-preliminary-2025-09"]
    );
}

#[test]
fn a_refusal_names_file_record_and_column() {
    let head = "id,sku,from,to,cost,currency";
    for (line, expected) in [
        ("A,x,2025-10-01,2025-10-02,,EUR", "column cost: the amount is missing"),
        ("A,x,2025-10-01,2025-10-02,NULL,EUR", "column cost: the amount is missing"),
        ("A,x,2025-10-01,2025-10-02,1x,EUR", "column cost: \"1x\": it is no number"),
        ("A,x,2025-10-01,2025-10-02,1,QQQ", "column currency: \"QQQ\" is no currency"),
        ("A,x,2025-10-01,2025-10-02,1,eur", "column currency: \"eur\" is no currency"),
        ("A,x,2025-10-01,2025-10-02,1,", "column currency: the currency is missing"),
        ("A,x,01.10.2025,2025-10-02,1,EUR", "column from: \"01.10.2025\": it is no date like"),
        ("A,x,2025-10-02,2025-10-01,1,EUR", "column to: it ends at 2025-10-01T00:00:00Z, before"),
        ("A\u{200b},x,2025-10-01,2025-10-02,1,EUR", "column id: \"A\\u{200b}\" names no invoice"),
        ("A,TOTAL,,,,EUR", "column cost: the amount is missing"),
        ("A,x,2025-10-01,2025-10-02,1", "it has 5 fields"),
        ("A,x,2025-10-01,2025-10-02,1,EUR,more", "it has 7 fields"),
    ] {
        let text = format!("{head}\nA,x,2025-10-01,2025-10-02,1,EUR\n{line}\n");
        let error = read(&text, &Options::default()).expect_err(line);
        let place = "a.csv, record 2 (line 3)";
        assert!(error.starts_with(place) && error.contains(expected), "{line}: {error}");
    }
    for (name, text, expected) in [
        ("a.xls", "", "a.xls: what it is is told by its name"),
        ("a.csv", "", "a.csv: it is empty"),
        ("a.csv", head, "a.csv: it has no lines"),
        (
            "a.csv",
            "id,price,currency\n",
            "a.csv: it has no column for `amount`, which the mapping reads from \"cost\"",
        ),
        ("a.csv", "id;cost;currency\n", "a.csv: it has no column for `amount`"),
        ("a.jsonl", "{\"cost\": 1, \"currency\": \"EUR\"", "a.jsonl, record 1 (line 1): "),
        ("a.jsonl", "[1]", "a.jsonl, record 1 (line 1): it is an array, not an object"),
        (
            "a.jsonl",
            "{\"cost\":1,\"Cost\":2}",
            "a.jsonl, record 1 (line 1), column cost: the record has this column twice",
        ),
        (
            "a.jsonl",
            "\n{\"currency\":\"EUR\"}",
            "a.jsonl, record 1 (line 2), column cost: the amount is missing",
        ),
        ("a.csv.gz", "plain", "a.csv.gz: in the header: it cannot be expanded as gzip"),
        ("a.parquet", "PAR1 PAR1", "a.parquet: it cannot be read as Parquet"),
    ] {
        let error = read_with(name, text.as_bytes(), &plain(), &stow(), &Options::default()).expect_err(name);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn records_without_anything_and_skipped_ones_are_counted() {
    let mut mapping = plain();
    mapping.rows.insert(0, rule("sku", &["SUB", ""], RowKind::Skip));
    let text = "id,sku,from,to,cost,currency\nA,x,,,1,EUR\n, ,,NULL,,\n,SUB,,,y,z\nA,,,,y,\n";
    let options = Options { period: BillingMonth::parse("2025-10"), ..Options::default() };
    let imported = read_with("a.csv", text.as_bytes(), &mapping, &stow(), &options).expect("an invoice");
    // A cell that says NULL is something in a record, which the rule for blank ones skips.
    let file = &imported[0].report.file;
    assert_eq!((file.records, file.blank, file.skipped), (4, 0, 3));
    let text = text.replace("NULL", "");
    let imported = read_with("a.csv", text.as_bytes(), &mapping, &stow(), &options).expect("an invoice");
    let file = &imported[0].report.file;
    assert_eq!((file.records, file.blank, file.skipped, imported[0].invoice.lines.len()), (4, 1, 2, 1));
}

#[test]
fn the_first_rule_that_fits_says_what_a_record_is() {
    let mut mapping = plain();
    let both =
        BTreeMap::from([("kind".into(), vec!["a".into(), "b".into()]), ("sku".into(), vec!["x".into()])]);
    mapping.rows = vec![
        RowRule { when: both, is: RowKind::Line(LineCategory::Fee) },
        rule("kind", &["a"], RowKind::Line(LineCategory::Credit)),
        rule("kind", &["a", "b"], RowKind::Line(LineCategory::Tax)),
    ];
    let line = |sku: &str, kind: &str| format!("A,{sku},2025-10-01,,1,EUR,{kind}\n");
    let lines =
        [line("x", "a"), line("x", "b"), line("y", "a"), line("y", "b"), line("y", "c"), line("x", "")];
    let text = ["id,sku,from,to,cost,currency,Kind\n", &lines.concat()].concat();
    let imported = one("a.csv", text.as_bytes(), &mapping, &stow());
    let categories: Vec<&str> = imported.invoice.lines.iter().map(|line| line.category.as_str()).collect();
    assert_eq!(categories, ["fee", "fee", "credit", "tax", "usage", "usage"]);
}

#[test]
fn second_lines_differ_in_what_they_say() {
    let mut mapping = plain();
    mapping.columns.insert(Column::Quantity, sources("n"));
    mapping.more = vec![
        More {
            columns: columns(&[(Column::Amount, "tax"), (Column::Description, "VAT {rate} %")]),
            is: LineCategory::Tax,
        },
        More { columns: columns(&[(Column::Amount, "fee")]), is: LineCategory::Fee },
    ];
    let text = "id,sku,from,to,cost,currency,n,tax,rate,fee\n\
        A,x,2025-10-01,2025-10-02,10,EUR,5,1.9,19,\n\
        A,x,2025-10-01,2025-10-02,10,EUR,5,0.00,19,7\n\
        A,x,2025-10-01,2025-10-02,10,EUR,5,1.9,19,\n";
    let imported = one("a.csv", text.as_bytes(), &mapping, &stow());
    let rows: Vec<String> = imported.invoice.lines.iter().map(|line| row(&imported.invoice, line)).collect();
    let line = |rest: [&str; 5]| {
        let [line, description, category, quantity, amount] = rest;
        let (amount, repeats) = amount.split_once('=').unwrap_or((amount, ""));
        format!(
            "stow,A,1,2025-10,{line},,77-0042,,x,{description},{category},2025-10-01T00:00:00Z,2025-10-02T00:00:00Z,{quantity},,,{amount},EUR,{repeats}"
        )
    };
    assert_eq!(
        rows,
        [
            line(["1", "", "usage", "5", "10"]),
            line(["2", "VAT 19 %", "tax", "", "1.9"]),
            line(["3", "", "usage", "5", "10"]),
            line(["4", "", "fee", "", "7"]),
            line(["5", "", "usage", "5", "10=1"]),
            line(["6", "VAT 19 %", "tax", "", "1.9=2"]),
        ]
    );
}

#[test]
fn credits_are_lines_in_every_kind_of_file() {
    let mut mapping = plain();
    mapping.credits = Some("credits".into());
    let list = r#"[{"name":"CUD","amount":-0.5},{"full_name":"Free tier","amount":"-1e-1"}]"#;
    let expected =
        [("usage", "2", None), ("credit", "-0.5", Some("CUD")), ("credit", "-0.1", Some("Free tier"))];
    let json =
        format!(r#"{{"id":"A","sku":"x","from":"2025-10-01","cost":2,"currency":"EUR","credits":{list}}}"#);
    let csv = format!(
        "id,sku,from,to,cost,currency,Credits\nA,x,2025-10-01,,2,EUR,\"{}\"\n",
        list.replace('"', "\"\"")
    );
    for (name, text) in [("a.jsonl", json), ("a.csv", csv)] {
        let imported = one(name, text.as_bytes(), &mapping, &stow());
        let lines = &imported.invoice.lines;
        let shown: Vec<(&str, String, Option<&str>)> = lines
            .iter()
            .map(|line| (line.category.as_str(), line.amount.to_string(), line.description.as_deref()))
            .collect();
        assert_eq!(
            shown,
            expected.map(|(category, amount, name)| (category, amount.to_owned(), name)),
            "{name}"
        );
        assert!(lines.iter().all(|line| line.sku_text.as_deref() == Some("x")));
    }
}

#[test]
fn rounded_and_zoneless_values_are_told() {
    let text = "id,sku,from,to,cost,currency\nA,x,2025-10-01T00:00:00,2025-10-02,1.0000000000000000015,EUR\n";
    let imported = one("a.csv", text.as_bytes(), &plain(), &stow());
    assert_eq!(imported.invoice.lines[0].amount.to_string(), "1.000000000000000002");
    let told = imported.report.sentences();
    assert_eq!(
        told,
        [
            "1 number has more than 18 decimals and is rounded, half to even, first: record 1, column \"cost\"",
            "1 date with a time has no zone: an ISO one is UTC, one of a pattern the provider's, first: record 1, column \"from\"",
        ]
    );
}

#[test]
fn numbers_of_json_have_a_point_whatever_the_decimal_mark() {
    let mut mapping = plain();
    (mapping.file.decimal, mapping.file.thousands) = (',', Some('.'));
    let text = "{\"id\":\"A\",\"from\":\"2025-10-01\",\"cost\":1.234,\"currency\":\"EUR\"}\r\n\
        {\"id\":\"A\",\"from\":\"2025-10-01\",\"cost\":\"1.234,5\",\"currency\":\"EUR\"}";
    let imported = one("a.jsonl", text.as_bytes(), &mapping, &stow());
    let amounts: Vec<String> = imported.invoice.lines.iter().map(|line| line.amount.to_string()).collect();
    assert_eq!(amounts, ["1.234", "1234.5"]);
}

#[test]
fn compressed_and_encoded_files_are_the_same_invoice() {
    use std::io::Write;
    let bytes = case!("invoices/lynx-2025-10.csv");
    let plain = one("l.csv", bytes, &german(), &lynx()).invoice;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory is written to");
    let gzip = encoder.finish().expect("memory is written to");
    assert_eq!(one("l.csv.GZ", &gzip, &german(), &lynx()).invoice, plain);
    let text = std::str::from_utf8(bytes).expect("UTF-8").trim_start_matches('\u{feff}');
    let latin1: Vec<u8> =
        text.chars().map(|character| u8::try_from(u32::from(character)).expect("Latin")).collect();
    let mut mapping = german();
    mapping.file.encoding = Encoding::Latin1;
    assert_eq!(one("l.csv", &latin1, &mapping, &lynx()).invoice, plain);
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    mapping.file.encoding = Encoding::Utf16;
    assert_eq!(one("l.csv", &utf16, &mapping, &lynx()).invoice, plain);
    let error = read_with("l.csv", &latin1, &german(), &lynx(), &Options::default()).expect_err("no UTF-8");
    assert!(error.contains("not UTF-8"), "{error}");
}

#[test]
fn a_bomb_costs_neither_memory_nor_an_invoice() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"id,sku,from,to,cost,currency\nA,").expect("memory is written to");
    for _ in 0..300 {
        encoder.write_all(&vec![b'x'; 1 << 20]).expect("memory is written to");
    }
    let bomb = encoder.finish().expect("memory is written to");
    let error = read_with("a.csv.gz", &bomb, &plain(), &stow(), &Options::default()).expect_err("a bomb");
    assert!(error.starts_with("a.csv.gz, record 1 (line 2): a record of more than"), "{error}");
}
