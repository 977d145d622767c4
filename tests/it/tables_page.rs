//! docs/tables.md against what is written: a rated month and the ledger it was rated from have the
//! columns of the page, in its order and with its types, and NULL only where the page allows it.

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tests::atcost::{Atcost, utf8};
use tests::machine::{case, workspace};
use tests::month;

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

/// A month in the ledger, rated; the run's folder.
fn rated() -> (Atcost, PathBuf) {
    let atcost = month::ledger();
    atcost.ok(&["ingest", "--files", utf8(&case("month/events")), "--until-caught-up"]);
    let (_, folder) = month::rate(&atcost);
    (atcost, folder)
}

#[test]
fn the_page_has_every_column_that_is_written() {
    let (atcost, run) = rated();
    let page = page();
    let tables = ["charges", "cost_lines", "rows", "statement_lines", "unrated"];
    assert_eq!(page.keys().map(String::as_str).collect::<Vec<_>>(), tables);
    for table in tables.into_iter().filter(|table| *table != "rows") {
        assert_written(table, &run.join(format!("{table}.parquet")), &page[table]);
    }
    let shard = atcost.folder().join("ledger/shards/0");
    let files = fs::read_dir(&shard).expect("a shard is a folder");
    let mut files = files.map(|entry| entry.expect("it can be listed").path());
    let rows = files.find(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    assert_written("rows", &rows.expect("the month is in one file"), &page["rows"]);
}

#[test]
fn the_page_has_the_ledgers_columns_as_they_are_declared() {
    let page = page();
    let listed: Vec<_> = page["rows"]
        .iter()
        .map(|column| (column.name.as_str(), column.column_type.clone(), column.nullable))
        .collect();
    let declared: Vec<_> = ledger::row::COLUMNS
        .iter()
        .map(|column| (column.name, words(&column.kind.arrow()), !column.required))
        .collect();
    assert_eq!(listed, declared, "left docs/tables.md, right ledger::row::COLUMNS");
}
