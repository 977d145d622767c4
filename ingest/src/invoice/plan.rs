//! A mapping as it is applied: each column that it names is a slot of a record.
//!
//! What a value means is deliberately not known here.
//!
//! Invariant: a list of sources is tried in order, and the first that says something counts.

use super::error::{InvoiceError, quoted};
use super::headers::{Slot, Wanted};
use super::record::{Kind, Record};
use schemas::invoice::LineCategory;
use schemas::invoice_mapping::{Column, ColumnMapping, Part, RowKind, Source};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Where the values of our columns are.
pub type Columns = BTreeMap<Column, Vec<Pieces>>;

/// A value of one column, or a text that is put together.
#[derive(Debug)]
pub struct Pieces(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(Box<str>),
    Slot(Slot),
}

#[derive(Debug)]
struct Rule {
    when: Vec<(Slot, Vec<Box<str>>)>,
    is: RowKind,
}

#[derive(Debug)]
pub struct Plan {
    pub wanted: Wanted,
    columns: Columns,
    rules: Vec<Rule>,
    /// Second lines of a record: what differs from the first, and what they are.
    pub more: Vec<(Columns, LineCategory)>,
    pub credits: Option<Slot>,
}

/// A value of a record.
#[derive(Debug)]
pub struct Value<'a> {
    pub text: Cow<'a, str>,
    pub kind: Kind,
}

impl Plan {
    pub fn new(mapping: &ColumnMapping) -> Self {
        let mut wanted = Wanted::default();
        let columns = columns_of(&mapping.columns, &mut wanted);
        let rules = mapping.rows.iter().map(|rule| Rule {
            when: rule.when.iter().map(|(name, values)| (wanted.slot(name), values.clone())).collect(),
            is: rule.is,
        });
        let rules = rules.collect();
        let more =
            mapping.more.iter().map(|more| (columns_of(&more.columns, &mut wanted), more.is)).collect();
        let credits = mapping.credits.as_ref().map(|name| wanted.slot(name));
        Self { wanted, columns, rules, more, credits }
    }

    /// What a record is.
    pub fn kind(&self, record: &Record) -> RowKind {
        let fits = |(slot, values): &(Slot, Vec<Box<str>>)| {
            let value = record.get(*slot).map_or("", |(text, _)| text);
            values.iter().any(|wanted| wanted.trim() == value || (&**wanted == "*" && !value.is_empty()))
        };
        let rule = self.rules.iter().find(|rule| rule.when.iter().all(fits));
        rule.map_or(RowKind::Line(LineCategory::Usage), |rule| rule.is)
    }

    /// What a record says in a column of ours; a second line, where it differs.
    pub fn value<'r>(
        &self,
        differs: Option<&Columns>,
        column: Column,
        record: &'r Record,
    ) -> Option<Value<'r>> {
        let sources = self.sources(differs, column)?;
        sources.iter().find_map(|pieces| pieces.value(record))
    }

    fn sources<'a>(&'a self, differs: Option<&'a Columns>, column: Column) -> Option<&'a Vec<Pieces>> {
        differs.and_then(|differs| differs.get(&column)).or_else(|| self.columns.get(&column))
    }

    /// What a column of ours is called in the file, as far as the mapping knows.
    pub fn label(&self, differs: Option<&Columns>, column: Column) -> String {
        let source = self.sources(differs, column).and_then(|sources| sources.first());
        source.map_or_else(|| column.as_str().to_owned(), |pieces| pieces.label(&self.wanted))
    }

    /// Whether the file, which `has` these slots, has a column of ours at all.
    pub fn is_there(&self, column: Column, has: &[bool]) -> bool {
        let sources = self.columns.get(&column);
        sources.is_some_and(|sources| sources.iter().any(|pieces| pieces.may_be_there(has)))
    }

    /// Refuses a file without amounts or currencies before any of it is read.
    ///
    /// # Errors
    /// It has none of the columns that the mapping reads them from.
    pub fn check(&self, has: &[bool]) -> Result<(), InvoiceError> {
        for column in [Column::Amount, Column::Currency] {
            if !self.is_there(column, has) {
                let sources = self.columns.get(&column).map(Vec::as_slice).unwrap_or_default();
                let names: Vec<String> =
                    sources.iter().take(8).map(|pieces| quoted(&pieces.label(&self.wanted))).collect();
                return Err(InvoiceError::new(format!(
                    "it has no column for `{}`, which the mapping reads from {}: another mapping, delimiter or encoding may be its own",
                    column.as_str(),
                    names.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// The columns of ours that the file has in none of their places.
    pub fn absent(&self, has: &[bool]) -> Vec<Box<str>> {
        let absent = self.columns.keys().filter(|column| !self.is_there(**column, has));
        absent.map(|column| self.label(None, *column).into()).collect()
    }
}

fn columns_of(columns: &BTreeMap<Column, Vec<Source>>, wanted: &mut Wanted) -> Columns {
    let mut pieces = |source: &Source| {
        let parts = source.0.iter();
        Pieces(
            parts
                .map(|part| match part {
                    Part::Text(text) => Piece::Text(text.clone()),
                    Part::Column(name) => Piece::Slot(wanted.slot(name)),
                })
                .collect(),
        )
    };
    columns.iter().map(|(column, sources)| (*column, sources.iter().map(&mut pieces).collect())).collect()
}

impl Pieces {
    /// A text that is put together says something where any of its columns does; one without columns
    /// always does.
    fn value<'r>(&self, record: &'r Record) -> Option<Value<'r>> {
        if let [Piece::Slot(slot)] = self.0.as_slice() {
            return record.get(*slot).map(|(text, kind)| Value { text: text.into(), kind });
        }
        let (mut text, mut columns, mut found) = (String::new(), false, false);
        for piece in &self.0 {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Slot(slot) => {
                    columns = true;
                    if let Some((part, _)) = record.get(*slot) {
                        text.push_str(part);
                        found = true;
                    }
                }
            }
        }
        (found || !columns).then_some(Value { text: text.into(), kind: Kind::Text })
    }

    fn may_be_there(&self, has: &[bool]) -> bool {
        let slots = || {
            self.0.iter().filter_map(|piece| if let Piece::Slot(slot) = piece { Some(slot) } else { None })
        };
        slots().next().is_none() || slots().any(|slot| has[slot.0])
    }

    fn label(&self, wanted: &Wanted) -> String {
        match self.0.as_slice() {
            [Piece::Slot(slot)] => wanted.name(*slot).to_owned(),
            pieces => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.to_string(),
                    Piece::Slot(slot) => format!("{{{}}}", wanted.name(*slot)),
                })
                .collect(),
        }
    }
}
