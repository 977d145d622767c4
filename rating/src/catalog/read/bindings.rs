//! bindings.csv: which customer a subject belongs to, from when until when.
//!
//! A line with a problem is reported and left out; reading goes on.
//!
//! Invariant: the bindings of a subject that are returned without a problem do not overlap.

use super::definitions::Declared;
use super::files::CatalogFiles;
use super::format::{BINDING_COLUMNS, BINDINGS, CUSTOMERS};
use crate::catalog::bindings::{Binding, Bindings};
use crate::catalog::contents::Customer;
use crate::catalog::problem::Findings;
use schemas::id::{CustomerId, Subject};
use schemas::time::Instant;
use std::collections::BTreeMap;

pub(super) fn read_bindings(
    files: &CatalogFiles,
    customers: &Declared<CustomerId, Customer>,
    findings: &Findings,
) -> Bindings {
    let mut bindings: BTreeMap<Subject, Vec<Binding>> = BTreeMap::new();
    let Some(text) = files.get(BINDINGS) else { return Bindings::default() };
    // A record of the wrong length is a problem of its own line, not the end of the file.
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let mut header_seen = false;
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                let line = error.position().map(line_of);
                findings.problem(
                    BINDINGS,
                    line,
                    format!("this is not CSV: {error}"),
                    "correct the line (RFC 4180)",
                );
                break;
            }
        }
        let line = record.position().map_or(1, line_of);
        if !header_seen {
            header_seen = true;
            if record.iter().ne(BINDING_COLUMNS.keys.iter().copied()) {
                findings.problem(
                    BINDINGS,
                    line,
                    "the first line does not name the columns",
                    format!("make it `{}`", BINDING_COLUMNS.keys.join(",")),
                );
                break;
            }
            continue;
        }
        if let Some(binding) = read_binding(&record, line, customers, findings) {
            bindings.entry(binding.subject.clone()).or_default().push(binding);
        }
    }
    if !header_seen {
        findings.problem(
            BINDINGS,
            1,
            "the file is empty",
            format!("begin it with the line `{}`", BINDING_COLUMNS.keys.join(",")),
        );
    }
    for bindings in bindings.values_mut() {
        bindings.sort_by_key(|binding| (binding.from, binding.line));
        refuse_overlaps(bindings, findings);
    }
    Bindings::new(bindings)
}

fn line_of(position: &csv::Position) -> usize {
    usize::try_from(position.line()).expect("a text in memory has fewer lines than bytes")
}

fn read_binding(
    record: &csv::StringRecord,
    line: usize,
    customers: &Declared<CustomerId, Customer>,
    findings: &Findings,
) -> Option<Binding> {
    let problem = |message: String, help: &str| findings.problem(BINDINGS, line, message, help);
    if record.len() != BINDING_COLUMNS.keys.len() {
        problem(
            format!("the line does not have 4 fields, but {}", record.len()),
            "write subject,customer,from,until; end with a comma where there is no `until`",
        );
        return None;
    }
    let subject = Subject::new(&record[0]).map_err(|error| {
        problem(format!("the subject {:?} is not a name: {error}", &record[0]), "correct it")
    });
    let customer = CustomerId::new(&record[1]).map_err(|error| {
        problem(format!("the customer {:?} is not a name: {error}", &record[1]), "correct it")
    });
    let instant = |column: &str, text: &str| {
        Instant::parse_rfc3339(text).map_err(|error| {
            problem(format!("`{column}` is {text:?}: {error}"), "write it like 2025-10-01T00:00:00Z")
        })
    };
    let from = instant("from", &record[2]);
    let until = if record[3].is_empty() { Ok(None) } else { instant("until", &record[3]).map(Some) };
    if let Ok(customer) = &customer
        && !customers.knows(customer)
    {
        problem(format!("the customer {customer} is not declared"), &customers.help(CUSTOMERS));
    }
    let (subject, customer, from, until) = (subject.ok()?, customer.ok()?, from.ok()?, until.ok()?);
    if until.is_some_and(|until| until <= from) {
        problem(
            format!("the binding of {subject} ends before or when it begins"),
            "make `until` later than `from`, or remove the line",
        );
        return None;
    }
    Some(Binding { subject, customer, from, until, line })
}

/// `bindings` are one subject's, by their beginning.
fn refuse_overlaps(bindings: &[Binding], findings: &Findings) {
    let mut longest: Option<&Binding> = None;
    for binding in bindings {
        if let Some(earlier) = longest
            && earlier.until.is_none_or(|until| binding.from < until)
        {
            let message = format!(
                "{} is bound to {} from {} while it is still bound to {} (line {})",
                binding.subject, binding.customer, binding.from, earlier.customer, earlier.line
            );
            findings.problem(
                BINDINGS,
                binding.line,
                message,
                format!("end the earlier one at {} or sooner, or remove one of them", binding.from),
            );
        }
        // A binding that never ends outlasts everything.
        let outlasts = |other: &Binding| {
            binding.until.is_none() || other.until.is_some_and(|until| binding.until > Some(until))
        };
        if longest.is_none_or(outlasts) {
            longest = Some(binding);
        }
    }
}
