//! Strict reading of a TOML file: every value is a string, a list of strings or a table, and every
//! key is known.
//!
//! Numbers and dates are strings, because TOML's own numbers pass through a float. Everything
//! refused is reported with the line it stands on, and reading goes on. A value's meaning is
//! deliberately the caller's.
//!
//! Invariant: a key is read only where it is declared, and refused where it is not.

use crate::catalog::problem::Findings;
use jiff::civil::Date;
use schemas::boundary::guarded;
use schemas::decimal::{Decimal, Sign};
use schemas::name::{NameError, check_text};
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// A text in a file, and its line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'t> {
    pub value: &'t str,
    pub line: usize,
}

/// A file that could be parsed.
pub(super) struct TomlFile<'t> {
    place: Place<'t>,
    root: DeTable<'t>,
}

/// Turns byte offsets of one file into lines, and reports.
struct Place<'t> {
    path: &'t str,
    /// Where each line but the first begins.
    line_starts: Vec<usize>,
    findings: &'t Findings,
}

impl<'t> Place<'t> {
    fn new(path: &'t str, text: &str, findings: &'t Findings) -> Self {
        Self { path, line_starts: text.match_indices('\n').map(|(index, _)| index + 1).collect(), findings }
    }

    fn line(&self, span: Range<usize>) -> usize {
        1 + self.line_starts.partition_point(|start| *start <= span.start)
    }
}

/// A text without the byte order mark that some editors begin every file with.
pub(super) fn without_mark<'t>(path: &str, text: &'t str, findings: &Findings) -> &'t str {
    let Some(rest) = text.strip_prefix('\u{FEFF}') else { return text };
    findings.warning(
        path,
        1,
        "the file begins with a byte order mark, which is skipped; save it without one",
    );
    rest
}

impl<'t> TomlFile<'t> {
    /// `None` when the text is not TOML, which is then reported, every place of it.
    pub fn parse(path: &'t str, text: &'t str, findings: &'t Findings) -> Option<Self> {
        let text = without_mark(path, text, findings);
        let place = Place::new(path, text, findings);
        let (root, errors) = match guarded(|| DeTable::parse_recoverable(text)) {
            Ok(read) => read,
            Err(fault) => {
                findings.problem(
                    path,
                    None,
                    fault.to_string(),
                    "write the file otherwise until it is mended",
                );
                return None;
            }
        };
        for error in &errors {
            let line = error.span().map(|span| place.line(span));
            findings.problem(
                path,
                line,
                format!("this is not TOML: {}", error.message()),
                "correct the syntax (toml.io/en/v1.1.0)",
            );
        }
        errors.is_empty().then(|| Self { place, root: root.into_inner() })
    }

    pub fn root(&'t self) -> Table<'t> {
        Table::new(&self.place, &self.root, 1, "the file".to_owned())
    }
}

/// A table and where it stands.
pub(super) struct Table<'t> {
    place: &'t Place<'t>,
    table: &'t DeTable<'t>,
    pub line: usize,
    name: String,
    /// The keys that are declared so far; `None` where keys are names, not words of the format.
    declared: Option<RefCell<Vec<&'static str>>>,
    /// An example of every key's value, where the keys are not words of the format or mean something
    /// else here.
    example: Option<&'static str>,
}

impl<'t> Table<'t> {
    fn new(place: &'t Place<'t>, table: &'t DeTable<'t>, line: usize, name: String) -> Self {
        Self { place, table, line, name, declared: Some(RefCell::default()), example: None }
    }

    /// The same table under the name that messages should use, like `the SKU NB-STD`.
    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// The same table under another name, for who has only a look at it.
    pub fn called(&self, name: &str) -> Self {
        let Self { place, table, line, declared, example, .. } = self;
        Self {
            place,
            table,
            line: *line,
            name: name.to_owned(),
            declared: declared.clone(),
            example: *example,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    #[track_caller]
    pub fn problem(&self, line: usize, message: impl Into<String>, help: impl Into<String>) {
        self.place.findings.problem(self.place.path, line, message, help);
    }

    /// Whether anything was found so far, in any file.
    pub fn has_problems(&self) -> bool {
        self.place.findings.has_problems()
    }

    #[track_caller]
    pub fn warning(&self, line: usize, message: impl Into<String>) {
        self.place.findings.warning(self.place.path, line, message);
    }

    /// The same table, whose keys are names, not words of the format.
    pub fn of_names(self) -> Self {
        Self { declared: None, ..self }
    }

    /// The same table with an example that help shows for each of its keys.
    pub fn with_example(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    fn example(&self, key: &str) -> &'static str {
        self.example.unwrap_or_else(|| example(key))
    }

    fn help_with_text(&self, key: &str) -> String {
        match self.example(key) {
            ANYTHING => "correct it".to_owned(),
            example => format!("write it like `{key} = \"{example}\"`"),
        }
    }

    /// Declares keys that the table may have. Only a key that is declared can be read.
    pub fn declare(&self, keys: &[&'static str]) {
        if let Some(declared) = &self.declared {
            declared.borrow_mut().extend(keys);
        }
    }

    /// Reports every key that is not declared: a key that is misspelt must not be ignored.
    pub fn refuse_others(&self) {
        let Some(declared) = &self.declared else { return };
        let known = declared.borrow();
        for key in self.table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                let message = format!("`{}` is not a key of {}", key.get_ref(), self.name);
                let help = if known.is_empty() {
                    "remove it".to_owned()
                } else {
                    format!("remove it, or use one of: {}", known.join(", "))
                };
                self.problem(self.place.line(key.span()), message, help);
            }
        }
    }

    /// Declares the last keys of the table, and reports every other.
    pub fn only(&self, keys: &[&'static str]) {
        self.declare(keys);
        self.refuse_others();
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A text, for who only asks whether it is a certain one; whatever is wrong is told by who reads it.
    pub fn peek(&self, key: &str) -> Option<&'t str> {
        match self.value(key)?.0 {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether a key that may hold a text holds a list.
    pub fn is_list(&self, key: &str) -> bool {
        matches!(self.value(key), Some((DeValue::Array(_), _)))
    }

    /// The line of a key, or of the table where the key is absent.
    pub fn line_of(&self, key: &str) -> usize {
        self.table.get_key_value(key).map_or(self.line, |(key, _)| self.place.line(key.span()))
    }

    /// A text that must be there.
    #[track_caller]
    pub fn text(&self, key: &str) -> Option<Text<'t>> {
        if !self.has(key) {
            self.missing(key, &format!("\"{}\"", self.example(key)));
        }
        self.optional_text(key)
    }

    #[track_caller]
    pub fn optional_text(&self, key: &str) -> Option<Text<'t>> {
        let (value, line) = self.value(key)?;
        match value {
            DeValue::String(text) => Some(Text { value: text, line }),
            other => {
                self.not_a_string(key, other, line);
                None
            }
        }
    }

    /// A text that must be there and is read by `parse`; `what` it must be is part of the message.
    #[track_caller]
    pub fn parsed<T, E: fmt::Display>(
        &self,
        key: &str,
        what: &str,
        parse: impl FnOnce(&'t str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(key)?;
        match parse(text.value) {
            Ok(value) => Some(value),
            Err(error) => {
                let message = format!("`{key} = {:?}`{} is not {what}: {error}", text.value, self.of());
                self.problem(text.line, message, self.help_with_text(key));
                None
            }
        }
    }

    /// Of which thing a key is, where it has a name of its own.
    fn of(&self) -> String {
        let is_named = self.name.starts_with("the ") && self.name != "the file"
            || self.name.starts_with("this price of ");
        if is_named { format!(" of {}", self.name) } else { String::new() }
    }

    /// The same with an example of its own, for a key whose word means something else here.
    #[track_caller]
    pub fn parsed_like<T, E: fmt::Display>(
        &self,
        (key, example): (&str, &str),
        what: &str,
        parse: impl FnOnce(&'t str) -> Result<T, E>,
    ) -> Option<T> {
        let help = format!("write it like `{key} = \"{example}\"`");
        let Some((value, line)) = self.value(key) else {
            self.problem(self.line, format!("{} has no `{key}`", self.name), help);
            return None;
        };
        let DeValue::String(text) = value else {
            self.not_a_string(key, value, line);
            return None;
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                let message = format!("`{key} = {text:?}`{} is not {what}: {error}", self.of());
                self.problem(line, message, help);
                None
            }
        }
    }

    /// A number in quotes.
    #[track_caller]
    pub fn decimal<const PRECISION: u32, const SCALE: u32>(
        &self,
        key: &str,
        what: &str,
        sign: Sign,
    ) -> Option<Decimal<PRECISION, SCALE>> {
        self.parsed(key, what, |text| Decimal::parse(text, sign))
    }

    /// A day, as `2025-10-01`.
    pub fn day(&self, key: &str) -> Option<Date> {
        self.parsed(key, "a date", day)
    }

    /// A name for people: not empty, printable.
    #[track_caller]
    pub fn label(&self, key: &str) -> Option<String> {
        self.parsed(key, "a name", |text| check_text(text).map(|()| text.to_owned()))
    }

    /// A text, or a list of them: what a `match` may give for a dimension.
    pub fn text_or_texts(&self, key: &str) -> Option<Vec<Text<'t>>> {
        match self.value(key)? {
            (DeValue::String(text), line) => Some(vec![Text { value: text, line }]),
            _ => self.texts(key),
        }
    }

    /// A list of texts; empty lists too.
    pub fn texts(&self, key: &str) -> Option<Vec<Text<'t>>> {
        let (value, line) = self.value(key)?;
        let DeValue::Array(array) = value else {
            self.problem(
                line,
                format!("`{key}` is {}, not a list of strings", kind(value)),
                format!("write it like `{key} = [\"{}\"]`", self.example(key)),
            );
            return None;
        };
        let read = |value: &'t toml::Spanned<DeValue<'t>>| {
            let line = self.place.line(value.span());
            match value.get_ref() {
                DeValue::String(text) => Some(Text { value: text, line }),
                other => {
                    self.not_a_string(key, other, line);
                    None
                }
            }
        };
        // Every value is looked at before one that is wrong spoils the list.
        array.iter().map(read).collect::<Vec<_>>().into_iter().collect()
    }

    /// A table below this one that must be there.
    #[track_caller]
    pub fn table(&self, key: &str, name: String) -> Option<Table<'t>> {
        if !self.has(key) {
            self.missing(key, self.example(key));
        }
        self.optional_table(key, name)
    }

    #[track_caller]
    pub fn optional_table(&self, key: &str, name: String) -> Option<Table<'t>> {
        let (value, line) = self.value(key)?;
        match value {
            DeValue::Table(table) => Some(Table::new(self.place, table, line, name)),
            other => {
                self.problem(
                    line,
                    format!("`{key}` is {}, not a table", kind(other)),
                    format!("write it like `{key} = {}`", self.example(key)),
                );
                None
            }
        }
    }

    /// The tables of a `[[key]]` list, or of a list of inline tables; none where the key is absent.
    /// `None` where it is no list.
    pub fn tables(&self, key: &str, name: &str) -> Option<Vec<Table<'t>>> {
        let Some((value, line)) = self.value(key) else { return Some(Vec::new()) };
        let help = || format!("write `[[{key}]]` above each of them, or `{key} = [{{ … }}, …]`");
        let DeValue::Array(array) = value else {
            self.problem(line, format!("`{key}` is {}, not a list of tables", kind(value)), help());
            return None;
        };
        let read = |value: &'t toml::Spanned<DeValue<'t>>| {
            let line = self.place.line(value.span());
            match value.get_ref() {
                DeValue::Table(table) => Some(Table::new(self.place, table, line, name.to_owned())),
                other => {
                    self.problem(
                        line,
                        format!("`{key}` has {} in its list, not a table", kind(other)),
                        help(),
                    );
                    None
                }
            }
        };
        Some(array.iter().filter_map(read).collect())
    }

    /// Every key and its line, in byte order: for tables whose keys are names, not words of the
    /// format.
    pub fn keys(&self) -> Vec<Text<'t>> {
        self.table
            .keys()
            .map(|key| Text { value: key.get_ref(), line: self.place.line(key.span()) })
            .collect()
    }

    /// # Panics
    /// When the key is not declared: what is read and what is refused would differ.
    fn value(&self, key: &str) -> Option<(&'t DeValue<'t>, usize)> {
        let declared = self.declared.as_ref().is_none_or(|keys| keys.borrow().contains(&key));
        assert!(declared, "`{key}` of {} is read and not declared", self.name);
        self.table.get(key).map(|value| (value.get_ref(), self.place.line(value.span())))
    }

    #[track_caller]
    fn missing(&self, key: &str, example: &str) {
        self.problem(self.line, format!("{} has no `{key}`", self.name), format!("add `{key} = {example}`"));
    }

    #[track_caller]
    fn not_a_string(&self, key: &str, value: &DeValue<'_>, line: usize) {
        let help = match value {
            DeValue::Integer(number) => format!("put the number in quotes: \"{number}\""),
            DeValue::Float(number) => format!("put the number in quotes: \"{number}\""),
            DeValue::Datetime(datetime) => format!("put the date in quotes: \"{datetime}\""),
            _ => self.help_with_text(key),
        };
        self.problem(line, format!("`{key}` is {}, not a string", kind(value)), help);
    }
}

/// Reads a day.
pub(super) fn day(text: &str) -> Result<Date, String> {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(index, byte)| if matches!(index, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    if !shape {
        return Err("it must be a year, a month and a day".to_owned());
    }
    text.parse().map_err(|_| "there is no such day".to_owned())
}

/// Reads a name of one of our kinds.
pub(super) fn name<T>(
    new: impl Fn(Box<str>) -> Result<T, NameError>,
) -> impl Fn(&str) -> Result<T, NameError> {
    move |text| new(text.into())
}

fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "a string".to_owned(),
        DeValue::Integer(number) => format!("the TOML integer {number}"),
        DeValue::Float(number) => format!("the TOML float {number}"),
        DeValue::Boolean(value) => format!("the TOML boolean {value}"),
        DeValue::Datetime(datetime) => format!("the TOML date {datetime}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

const ANYTHING: &str = "…";

/// An example of that key's value, for help.
fn example(key: &str) -> &'static str {
    match key {
        "operator" => "commons",
        "type" | "meter" => "compute.example/instance-hours",
        "unit" => "GiBy.mo",
        "month" => "730 h",
        "aggregation" => "sum",
        "carry" => "15 min",
        "window" => "5 min",
        "over" => "percentile",
        "percentile" => "95",
        "empty" => "zero",
        "per" => "subject",
        "at" => "window",
        "distinct" => "address",
        "key" => "network.example/octets",
        "share" => "0.5",
        "bills_to" => "cedar",
        "dimensions" => "region",
        "currency" => "EUR",
        "time_zone" => "Europe/Berlin",
        "billing_account" => "NB-4711",
        "rounding" => "{ mode = \"half-up\" }",
        "mode" => "half-up",
        "kind" | "is" => "partner",
        "allocation" => "proportional",
        "match" => "{ region = \"eu\" }",
        "shares" => "{ acme = \"1\", cedar = \"2\" }",
        "among" => "acme",
        "from" | "until" | "on" => "2025-10-01",
        "model" => "per_unit",
        "every" => "month",
        "quantity" | "size" | "up_to" => "100",
        "amount" | "unit_price" | "package_price" => "0.10",
        "format" => "focus",
        "file" => "{ delimiter = \";\" }",
        "columns" => "{ amount = \"BilledCost\" }",
        "units" => "{ Hours = \"h\" }",
        "pass" => "{ tax = \"by_cost\" }",
        "reconcile" => "{ tolerance = \"0.02\" }",
        "encoding" => "utf-8",
        "delimiter" => ";",
        "header" => "Cost type",
        "decimal" => ",",
        "thousands" => ".",
        "date" => "%d.%m.%Y",
        "end" => "inclusive",
        "dates" => "utc",
        "when" => "{ Artikel = \"SUMME\" }",
        "tolerance" => "0.02",
        "growth" => "0.5",
        "service" => "Nimbus Compute",
        "category" => "Compute",
        "subcategory" => "Virtual Machines",
        "payable" => "3300-{provider}",
        "clearing" => "1590",
        "receivable" => "1200-{customer}",
        "retained" => "6850-{reason}",
        _ => ANYTHING,
    }
}
