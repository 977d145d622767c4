//! SQL over what was written, by DuckDB in the virtual environment of `make test`: what an analyst
//! sees.

use crate::machine::{provided, workspace};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The table that a statement returned. Values are the text of their exact value, `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<String>,
    /// DuckDB's names of the types; empty where the table does not come from DuckDB.
    pub types: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// A CSV text without quoted fields; an empty field is NULL.
    pub fn from_csv(text: &str) -> Self {
        assert!(!text.contains('"'), "the case has no quoted fields");
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let columns = lines.next().expect("a CSV file has a header");
        let rows = lines
            .map(|row| row.into_iter().map(|value| (!value.is_empty()).then_some(value)).collect())
            .collect();
        Self { columns, types: Vec::new(), rows }
    }

    /// The table without some columns, where it has them.
    pub fn without(self, columns: &[&str]) -> Self {
        let kept: Vec<bool> = self.columns.iter().map(|name| !columns.contains(&name.as_str())).collect();
        fn only<T>(values: Vec<T>, kept: &[bool]) -> Vec<T> {
            values.into_iter().zip(kept).filter_map(|(value, kept)| kept.then_some(value)).collect()
        }
        Self {
            columns: only(self.columns, &kept),
            types: only(self.types, &kept),
            rows: self.rows.into_iter().map(|row| only(row, &kept)).collect(),
        }
    }

    /// The rows as lines of `name=value`, sorted: two tables hold the same rows exactly when these
    /// are equal.
    pub fn lines(&self) -> Vec<String> {
        let cell = |(name, value): (&String, &Option<String>)| {
            format!("{name}={}", value.as_deref().unwrap_or("NULL"))
        };
        let mut lines: Vec<_> = self
            .rows
            .iter()
            .map(|row| self.columns.iter().zip(row).map(cell).collect::<Vec<_>>().join(" "))
            .collect();
        lines.sort();
        lines
    }

    /// The type of each column by its name.
    pub fn type_of(&self, column: &str) -> &str {
        let index = self
            .columns
            .iter()
            .position(|name| name == column)
            .unwrap_or_else(|| panic!("the table has a column {column}"));
        &self.types[index]
    }

    /// The rows of a table of two columns as a map.
    pub fn map(&self) -> BTreeMap<String, String> {
        let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".to_owned());
        self.rows.iter().map(|row| (cell(&row[0]), cell(&row[1]))).collect()
    }
}

/// Fails, and shows what is missing and what is too much, unless both hold the same rows.
#[track_caller]
pub fn assert_same_rows(what: &str, actual: &Table, expected: &Table) {
    let (actual, expected) = (actual.lines(), expected.lines());
    if actual != expected {
        let only = |these: &[String], those: &[String]| {
            let mut rest = those.to_vec();
            let unmatched = these.iter().filter(|line| {
                rest.iter().position(|other| other == *line).map(|index| rest.swap_remove(index)).is_none()
            });
            unmatched.map(|line| format!("\n    {line}")).collect::<String>()
        };
        panic!("{what}\n  missing:{}\n  not expected:{}", only(&expected, &actual), only(&actual, &expected));
    }
}

/// Runs one statement in `folder`; paths in it are relative to that.
#[track_caller]
pub fn query(folder: &Path, statement: &str) -> Table {
    queries(folder, &[statement]).remove(0)
}

/// Runs several statements in `folder` at the price of one start.
#[track_caller]
pub fn queries(folder: &Path, statements: &[&str]) -> Vec<Table> {
    let python = provided("ATCOST_PYTHON", "python/bin/python");
    assert!(
        python.exists(),
        "DuckDB is missing: there is no {}. `make test` sets it up and runs the tests.",
        python.display()
    );
    let mut command = Command::new(python);
    command
        .arg(workspace().join("tests/python/query.py"))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("Python starts");
    // The script reads all of its input before it writes, so that neither side waits for the other.
    child
        .stdin
        .take()
        .expect("the input is piped")
        .write_all(statements.join("\n;\n").as_bytes())
        .expect("Python reads its input");
    let output = child.wait_with_output().expect("Python ends");
    assert!(
        output.status.success(),
        "DuckDB refused {statements:?}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let results: Value = serde_json::from_slice(&output.stdout).expect("the script prints JSON");
    let tables: Vec<_> =
        results.as_array().expect("one result for each statement").iter().map(table).collect();
    assert_eq!(tables.len(), statements.len());
    tables
}

fn table(result: &Value) -> Table {
    let list = |value: &Value| value.as_array().expect("the script prints lists").clone();
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        nested => Some(nested.to_string()),
    };
    let texts =
        |value: &Value| list(value).iter().map(|item| text(item).expect("a name is not null")).collect();
    let rows = list(&result["rows"]).iter().map(|row| list(row).iter().map(text).collect()).collect();
    Table { columns: texts(&result["columns"]), types: texts(&result["types"]), rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_exact_and_null_is_not_empty() {
        let sql = "SELECT 0.100000000000000001::DECIMAL(38,18) AS a, TIMESTAMPTZ '2025-10-01 02:00:00+02' AS b, NULL::VARCHAR AS c, '' AS d";
        let table = query(Path::new("."), sql);
        let text = |value: &str| Some(value.to_owned());
        assert_eq!(
            table.rows,
            [[text("0.100000000000000001"), text("2025-10-01T00:00:00Z"), None, text("")]]
        );
        assert_eq!([table.type_of("a"), table.type_of("b")], ["DECIMAL(38,18)", "TIMESTAMP WITH TIME ZONE"]);
    }

    #[test]
    fn rows_are_compared_as_a_multiset() {
        let (one, two) = (Table::from_csv("a,b\n1,\n1,\n2,x\n"), Table::from_csv("a,b\n2,x\n1,\n1,\n"));
        assert_same_rows("the same", &one, &two);
        let fewer = Table::from_csv("a,b\n2,x\n1,\n");
        assert!(std::panic::catch_unwind(|| assert_same_rows("different", &one, &fewer)).is_err());
    }
}
