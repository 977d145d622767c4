//! What the columns of an invoice's file mean: `[columns]`, `[[rows]]`, `[[more]]` and `credits` of
//! invoice.toml.
//!
//! No record is read here, and no header is looked for.
//!
//! Invariant: of two files, what one says stands over what the other says, key by key.

use super::braces::{Piece, pieces};
use super::format::{COLUMN_KEYS, MORE_KEYS, ROW_KEYS};
use super::toml::{Table, Text};
use super::written_file::WrittenFile;
use crate::words::either;
use schemas::invoice::LineCategory;
use schemas::invoice_mapping::{Column, ColumnMapping, LineEnd, More, Part, RowKind, RowRule, Source};
use std::collections::BTreeMap;

/// What one file says; what it does not say is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MappingLayer {
    pub file: WrittenFile,
    /// An empty list says that there is none.
    pub columns: BTreeMap<Column, Vec<Source>>,
    rows: Vec<RowRule>,
    more: Vec<More>,
    credits: Option<Box<str>>,
}

const HEADER: &str = "the header of a column";

impl MappingLayer {
    pub fn read(root: &Table<'_>) -> Self {
        let written = root.optional_table("file", "the `file`".to_owned());
        let columns = root.optional_table("columns", "the `columns`".to_owned());
        Self {
            file: written.map(|table| WrittenFile::read(&table)).unwrap_or_default(),
            columns: columns.map(read_columns).unwrap_or_default(),
            rows: read_tables(root, "rows", "this `[[rows]]`", read_row),
            more: read_tables(root, "more", "this `[[more]]`", read_more),
            credits: if root.has("credits") { read_credits(root) } else { None },
        }
    }

    /// This, and below it what another file says: rules for rows are tried after these, second lines
    /// are added.
    pub fn over(mut self, base: Self) -> Self {
        let mut columns = base.columns;
        columns.append(&mut self.columns);
        self.rows.extend(base.rows);
        Self {
            file: self.file.over(base.file),
            columns,
            rows: self.rows,
            more: base.more.into_iter().chain(self.more).collect(),
            credits: self.credits.or(base.credits),
        }
    }

    pub fn has(&self, column: Column) -> bool {
        self.columns.get(&column).is_some_and(|sources| !sources.is_empty())
    }

    pub fn mapping(self, name: &str) -> ColumnMapping {
        let file = self.file.format();
        let mut columns = self.columns;
        columns.retain(|_, sources| !sources.is_empty());
        if file.end == LineEnd::Day {
            columns.remove(&Column::End);
        }
        ColumnMapping {
            name: name.into(),
            file,
            columns,
            rows: self.rows,
            more: self.more,
            credits: self.credits,
        }
    }
}

fn read_tables<T>(root: &Table<'_>, key: &str, name: &str, read: impl Fn(Table<'_>) -> Option<T>) -> Vec<T> {
    root.tables(key, name).unwrap_or_default().into_iter().filter_map(read).collect()
}

fn read_columns(table: Table<'_>) -> BTreeMap<Column, Vec<Source>> {
    let table = table.with_example(HEADER);
    table.only(COLUMN_KEYS.keys);
    read_sources(&table, &Column::ALL)
}

/// Where the columns of a table that are written in it come from.
fn read_sources(table: &Table<'_>, columns: &[Column]) -> BTreeMap<Column, Vec<Source>> {
    let mut found = BTreeMap::new();
    for column in columns.iter().filter(|column| table.has(column.as_str())) {
        // One with a problem is written down all the same: that it is missing would be a second problem.
        let unread = || Source(Vec::new());
        let read = |text: &Text<'_>| read_source(table, column.as_str(), text).unwrap_or_else(unread);
        let sources = match table.text_or_texts(column.as_str()) {
            Some(texts) => texts.iter().map(read).collect(),
            None => vec![unread()],
        };
        found.insert(*column, sources);
    }
    found
}

/// A column, by its header, or a text that is put together.
fn read_source(table: &Table<'_>, key: &str, text: &Text<'_>) -> Option<Source> {
    let problem = |message: &str| {
        table.problem(
            text.line,
            format!("`{key} = {:?}` of {} is no column: {message}", text.value, table.name()),
            format!("write it like `{key} = \"{HEADER}\"`, or put columns together like `\"{{Artikel}}/{{Ziel}}\"`"),
        );
    };
    let pieces = match pieces(text.value) {
        Ok(pieces) => pieces,
        Err(error) => {
            problem(error);
            return None;
        }
    };
    let part = |piece: &Piece<'_>| match *piece {
        Piece::Text(text) => Part::Text(text.into()),
        Piece::Name(header) => Part::Column(header.into()),
    };
    match pieces.as_slice() {
        [] => {
            problem("it is empty");
            None
        }
        [Piece::Text(header)] if !text.value.contains('{') => {
            if header.trim().is_empty() {
                problem("it is blank");
                return None;
            }
            Some(Source(vec![Part::Column((*header).into())]))
        }
        pieces => Some(Source(pieces.iter().map(part).collect())),
    }
}

fn read_row(table: Table<'_>) -> Option<RowRule> {
    table.only(ROW_KEYS.keys);
    let when = table.table("when", "the `when`".to_owned()).map(|when| {
        let when = when.of_names().with_example("SUMME");
        let mut columns = BTreeMap::new();
        for header in when.keys() {
            let values = when.text_or_texts(header.value).unwrap_or_default();
            if header.value.trim().is_empty() {
                when.problem(header.line, "a column of the `when` has a blank name", "name it by its header");
            }
            if values.is_empty() && when.is_list(header.value) {
                let message =
                    format!("`{}` of the `when` has no value, so that no record fits", header.value);
                when.problem(header.line, message, "give it one or more values");
            }
            columns.insert(header.value.into(), values.iter().map(|text| text.value.into()).collect());
        }
        columns
    });
    let is = table.with_example("tax").parsed("is", "what a record is", |text| {
        let line = || LineCategory::parse(text).map(RowKind::Line);
        match text {
            "total" => Some(RowKind::Total),
            "skip" => Some(RowKind::Skip),
            _ => line(),
        }
        .ok_or_else(|| {
            let [usage, tax, credit, fee, adjustment] = LineCategory::ALL.map(LineCategory::as_str);
            format!("it must be {}", either([usage, tax, credit, fee, adjustment, "total", "skip"]))
        })
    });
    Some(RowRule { when: when?, is: is? })
}

fn read_more(table: Table<'_>) -> Option<More> {
    table.only(MORE_KEYS.keys);
    let is = table.called("this `[[more]]`").with_example("tax").parsed("is", "what a line is for", category);
    let table = table.with_example(HEADER);
    if !table.has("amount") {
        table.problem(
            table.line,
            format!("{} has no `amount`", table.name()),
            format!("add `amount = \"{HEADER}\"`: there is a second line where it is not zero"),
        );
    }
    let own = |column: &Column| MORE_KEYS.keys.contains(&column.as_str());
    let columns: Vec<Column> = Column::ALL.into_iter().filter(own).collect();
    let columns = read_sources(&table, &columns);
    Some(More { columns, is: is? })
}

/// A category of lines.
pub(super) fn category(text: &str) -> Result<LineCategory, String> {
    LineCategory::parse(text)
        .ok_or_else(|| format!("it must be {}", either(LineCategory::ALL.map(LineCategory::as_str))))
}

fn read_credits(root: &Table<'_>) -> Option<Box<str>> {
    root.parsed_like(("credits", "credits"), "a column", |text| match text.trim().is_empty() {
        true => Err("it is blank"),
        false => Ok(text.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys are written down in the list of the format, and read by the columns' own names.
    #[test]
    fn every_column_has_its_key() {
        assert_eq!(COLUMN_KEYS.keys, Column::ALL.map(Column::as_str));
        let known = |key: &&&str| Column::ALL.iter().any(|column| column.as_str() == **key);
        assert_eq!(MORE_KEYS.keys.iter().filter(|key| !known(key)).collect::<Vec<_>>(), [&"is"]);
    }
}
