//! Records of a file of JSON lines: one object a line, nested names joined by dots.
//!
//! Numbers stay the digits that they were written as. A list is the text that it was written as;
//! only credits are taken apart, elsewhere.
//!
//! Invariant: a record has a column at most once.

use super::csv::Shape;
use super::error::{InvoiceError, quoted};
use super::headers::{Fit, MAX_COLUMNS, Slot, Wanted};
use super::record::{Each, Fingerprint, Kind, Record};
use super::text::Text;
use crate::decode::json::{self, Json, Members};
use bumpalo::Bump;
use std::collections::HashMap;

/// Hands every record of a text to `each`.
///
/// # Errors
/// What is no JSON object, with the number of the record, and whatever `each` refuses.
pub fn read(mut text: Text<'_>, wanted: &Wanted, each: &mut Each<'_>) -> Result<Shape, InvoiceError> {
    let mut record = Record::new(wanted.len());
    let mut arena = Bump::new();
    let mut names = Names { wanted, known: HashMap::new() };
    let mut has = vec![false; wanted.len()];
    let mut line = 0;
    while let Some((own, all)) = next(&mut text).map_err(|error| error.in_record(record.number + 1, None))? {
        line += 1;
        let raw = text.pending()[..own].trim_ascii();
        if !raw.is_empty() {
            record.next(Some(line))?;
            record.fingerprint = Fingerprint::of(raw);
            let parsed = json::parse(raw, &arena).map_err(|refusal| InvoiceError::new(refusal.detail));
            let filled = parsed.and_then(|json| match json {
                Json::Object(members) => {
                    Filler { record: &mut record, names: &mut names, has: &mut has, members: 0 }
                        .members(&members, &mut String::new())
                }
                other => Err(InvoiceError::new(format!("it is {}, not an object", other.what()))),
            });
            filled.map_err(|error| record.refuse(error))?;
            each(&record)?;
        }
        text.take(all);
        arena.reset();
    }
    Ok(Shape { records: record.number, fields_missing: None, has })
}

/// The next line: its own bytes, and those with its end.
fn next(text: &mut Text<'_>) -> Result<Option<(usize, usize)>, InvoiceError> {
    let mut seen = 0;
    loop {
        let pending = text.pending();
        if let Some(length) = pending[seen..].iter().position(|byte| *byte == b'\n') {
            return Ok(Some((seen + length, seen + length + 1)));
        }
        seen = pending.len();
        if text.ended() {
            return Ok((seen > 0).then_some((seen, seen)));
        }
        text.more()?;
    }
}

/// What a name of a member is among the wanted columns, looked up once for each name.
struct Names<'a> {
    wanted: &'a Wanted,
    known: HashMap<Box<str>, Box<[Slot]>>,
}

impl Names<'_> {
    fn slots(&mut self, name: &str) -> Box<[Slot]> {
        if let Some(slots) = self.known.get(name) {
            return slots.clone();
        }
        let whole = |(slot, fit)| (fit == Fit::Whole).then_some(slot);
        let slots: Box<[Slot]> = self.wanted.fits(name).into_iter().filter_map(whole).collect();
        // Labels are names too, and there may be as many as records.
        if self.known.len() < MAX_COLUMNS {
            self.known.insert(name.into(), slots.clone());
        }
        slots
    }
}

struct Filler<'a, 'w> {
    record: &'a mut Record,
    names: &'a mut Names<'w>,
    has: &'a mut [bool],
    members: usize,
}

impl Filler<'_, '_> {
    fn members(&mut self, members: &Members<'_>, path: &mut String) -> Result<(), InvoiceError> {
        self.members += members.len();
        if self.members > MAX_COLUMNS {
            return Err(InvoiceError::new(format!("more than {MAX_COLUMNS} members")));
        }
        for (name, value) in members {
            let before = path.len();
            if before > 0 {
                path.push('.');
            }
            path.push_str(name);
            match value {
                Json::Null => {}
                Json::Boolean(is) => self.put(path, if *is { "true" } else { "false" }, Kind::Text)?,
                Json::Number(digits) => self.put(path, digits, Kind::Number)?,
                Json::Text(text) => self.put(path, text, Kind::Text)?,
                Json::Array(list) => self.put(path, list, Kind::Text)?,
                Json::Object(inner) => self.members(inner, path)?,
            }
            path.truncate(before);
        }
        Ok(())
    }

    fn put(&mut self, path: &str, value: &str, kind: Kind) -> Result<(), InvoiceError> {
        self.record.says_something |= !value.trim().is_empty();
        for slot in self.names.slots(path) {
            self.has[slot.0] = true;
            self.record.put(slot, value, kind).map_err(|error| {
                let problem = format!("{}, as {}", error.problem, quoted(path));
                InvoiceError::new(problem).in_column(self.names.wanted.name(slot))
            })?;
        }
        Ok(())
    }
}
