//! docs/tables.md against what is declared and what is written: the page's tables are what the
//! declarations of the columns say, which `UPDATE_EXPECT=1` writes; a rated month and the ledger it
//! was rated from have the columns of the page, in its order and with its types, and NULL only where
//! the page allows it.

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use ledger::row::columns::JOURNAL_COLUMNS;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::outcome::Kind;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tests::machine::workspace;
use tests::month;
use tests::update_expected;

/// A row of one of the page's tables.
struct Column {
    name: String,
    column_type: String,
    nullable: bool,
}

/// The page's tables by the name in their heading.
fn page() -> BTreeMap<String, Vec<Column>> {
    let text = fs::read_to_string(workspace().join("docs/tables.md")).expect("the page");
    let mut tables: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## `") {
            table = heading.split('`').next().unwrap_or_default().to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            tables.entry(table.clone()).or_default().push(column(row));
        }
    }
    tables
}

fn column(row: &str) -> Column {
    let cells: Vec<&str> = row.trim_end_matches('|').split(" | ").map(str::trim).collect();
    let [name, column_type, null, meaning] = cells[..] else { panic!("a row has four cells: {row}") };
    assert!(["yes", "no"].contains(&null), "NULL is yes or no: {row}");
    assert!(meaning.ends_with('.'), "a meaning is a sentence: {row}");
    Column {
        name: name.trim_end_matches('`').to_owned(),
        column_type: column_type.to_owned(),
        nullable: null == "yes",
    }
}

/// How the page calls a type.
fn words(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "VARCHAR".to_owned(),
        DataType::Binary => "BLOB".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => format!("TIMESTAMP(µs, {zone})"),
        other => panic!("the page has no word for {other}"),
    }
}

/// The columns and the rows of a file.
fn read(path: &Path) -> (SchemaRef, Vec<RecordBatch>) {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("it is Parquet");
    let schema = reader.schema().clone();
    let batches = reader.build().expect("it can be read");
    (schema, batches.map(|batch| batch.expect("it can be read")).collect())
}

#[track_caller]
fn assert_written(table: &str, path: &Path, page: &[Column]) {
    let (schema, batches) = read(path);
    let written: Vec<_> =
        schema.fields().iter().map(|field| (field.name().clone(), words(field.data_type()))).collect();
    let listed: Vec<_> =
        page.iter().map(|column| (column.name.clone(), column.column_type.clone())).collect();
    assert_eq!(written, listed, "left the columns of {table} as they are written, right docs/tables.md");
    for (index, column) in page.iter().enumerate() {
        let nulls: usize = batches.iter().map(|batch| batch.column(index).null_count()).sum();
        assert!(column.nullable || nulls == 0, "{table}.{} is NULL in {nulls} rows", column.name);
        assert!(
            !column.nullable || schema.field(index).is_nullable(),
            "{table}.{} is never NULL",
            column.name
        );
    }
}

#[test]
fn the_page_has_every_column_that_is_written() {
    let (atcost, run) = month::rated();
    let page = page();
    let tables = [
        "charges",
        "comparison",
        "completeness",
        "corrections",
        "cost_lines",
        "entries",
        "invoice_lines",
        "reconciles_to_invoice",
        "rows",
        "statement_lines",
        "unrated",
    ];
    assert_eq!(page.keys().map(String::as_str).collect::<Vec<_>>(), tables);
    for table in tables.into_iter().filter(|table| !["entries", "rows"].contains(table)) {
        assert_written(table, &run.join(format!("{table}.parquet")), &page[table]);
    }
    for (table, folder) in [("rows", "ledger/shards/0"), ("entries", "ledger/journal")] {
        let files = fs::read_dir(atcost.folder().join(folder)).expect("a table is a folder");
        let mut files = files.map(|entry| entry.expect("it can be listed").path());
        let file = files.find(|path| path.extension().is_some_and(|extension| extension == "parquet"));
        assert_written(table, &file.expect("one commit made one file"), &page[table]);
    }
}

#[test]
fn the_page_says_what_the_declarations_say() {
    let path = workspace().join("docs/tables.md");
    let text = fs::read_to_string(&path).expect("the page");
    let declared = declared();
    let mut actual = String::new();
    let mut table = "";
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## `") {
            table = heading.split('`').next().unwrap_or_default();
        }
        if line.starts_with("| column |") {
            let columns = declared.get(table).unwrap_or_else(|| panic!("nothing declares {table}"));
            actual += columns;
        } else if !line.starts_with('|') {
            actual += &format!("{line}\n");
        }
    }
    if update_expected() {
        fs::write(path, actual).expect("the page can be written");
    } else {
        assert!(actual == text, "UPDATE_EXPECT=1 writes what the declarations say:\n{actual}");
    }
}

/// The page's tables as they are declared, by the name in their heading.
fn declared() -> BTreeMap<&'static str, String> {
    let of_a_run = rating::tables::describe().into_iter().map(|table| {
        let rows = table
            .columns
            .iter()
            .map(|column| markdown(column.name, column.column_type, column.nullable, column.meaning));
        (table.name, rows.collect::<String>())
    });
    let of_the_ledger = [("rows", ledger::row::COLUMNS), ("entries", JOURNAL_COLUMNS)];
    let of_the_ledger = of_the_ledger.map(|(name, columns)| {
        let row = |column: &ledger::row::Column| {
            markdown(column.name, &words(&column.kind.arrow()), !column.required, &meaning(column))
        };
        (name, columns.iter().map(row).collect::<String>())
    });
    let tables = of_a_run.chain(of_the_ledger);
    let head = "| column | type | NULL | meaning |\n|---|---|---|---|\n";
    tables.map(|(name, rows)| (name, format!("{head}{rows}"))).collect()
}

fn markdown(name: &str, column_type: &str, nullable: bool, meaning: &str) -> String {
    format!("| `{name}` | {column_type} | {} | {meaning} |\n", if nullable { "yes" } else { "no" })
}

/// A sentence that begins with the rows that may have a value, where not all may.
fn meaning(column: &ledger::row::Column) -> String {
    let kinds: Vec<&str> = column.of.iter().map(|kind| kind.as_str()).collect();
    if kinds.len() < Kind::ALL.len() {
        return format!("Of {}: {}.", kinds.join(" and "), column.meaning);
    }
    let mut rest = column.meaning.chars();
    let first: String = rest.next().map(char::to_uppercase).into_iter().flatten().collect();
    format!("{first}{}.", rest.as_str())
}
