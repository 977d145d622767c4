//! bindings.csv: which customer a subject belongs to, from when until when.
//!
//! A line with a problem is reported and left out; reading goes on.
//!
//! Invariant: the bindings of a subject that are returned without a problem do not overlap.

use super::definitions::Declared;
use super::ending::means_for_ever;
use super::files::CatalogFiles;
use super::format::{BINDING_COLUMNS, BINDINGS, CUSTOMERS};
use super::rows::read_rows;
use crate::alike::folded;
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
    read_rows(BINDING_COLUMNS, (BINDINGS, text), findings, |record, line| {
        if let Some(binding) = read_binding(record, line, customers, findings) {
            bindings.entry(binding.subject.clone()).or_default().push(binding);
        }
    });
    for bindings in bindings.values_mut() {
        bindings.sort_by_key(|binding| (binding.from, binding.line));
        refuse_overlaps(bindings, findings);
    }
    warn_of_look_alikes(&bindings, findings);
    Bindings::new(bindings)
}

fn read_binding(
    record: &csv::StringRecord,
    line: usize,
    customers: &Declared<CustomerId, Customer>,
    findings: &Findings,
) -> Option<Binding> {
    let subject = read_subject(&record[0], line, findings);
    let customer = CustomerId::new(&record[1])
        .map_err(|error| {
            let message = format!("the customer {:?} is not a name: {error}", &record[1]);
            findings.problem(BINDINGS, line, message, "correct it");
        })
        .ok();
    let from = read_instant("from", &record[2], line, findings);
    let until = if record[3].is_empty() {
        Some(None)
    } else {
        read_instant("until", &record[3], line, findings).map(Some)
    };
    if let Some(customer) = &customer
        && !customers.knows(customer)
    {
        let message = format!("the customer {customer} is not declared");
        findings.problem(BINDINGS, line, message, customers.help(CUSTOMERS));
    }
    let (subject, customer, from, until) = (subject?, customer?, from?, until?);
    if until.is_some_and(|until| until <= from) {
        findings.problem(
            BINDINGS,
            line,
            format!("the binding of {subject} ends before or when it begins"),
            "make `until` later than `from`, or remove the line",
        );
        return None;
    }
    Some(Binding { subject, customer, from, until, line })
}

/// Whether a subject says what patterns say: `*` and `?`, `.+`, `%` that begins no escape of an
/// address, `{a,b}`, and letters in brackets that are no index, as `[ab]`. Names have `{…}`, `[0]`
/// and `%2F` in them.
fn looks_like_a_pattern(text: &str) -> bool {
    let inside = |open: char, close: char| {
        text.split_once(open).and_then(|(_, rest)| rest.split_once(close)).map(|(inside, _)| inside)
    };
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    let is_class = |inside: &str| {
        let is_index = inside.bytes().all(|byte| byte.is_ascii_digit());
        let is_key = inside.starts_with(['"', '\'']);
        !inside.is_empty() && !is_index && !is_key
    };
    text.contains(['*', '?'])
        || text.contains(".+")
        || text.split('%').skip(1).any(|rest| !is_escape(rest))
        || inside('{', '}').is_some_and(|inside| inside.contains(','))
        || inside('[', ']').is_some_and(is_class)
}

/// Whether a subject may be meant as one of several. A `|` joins the parts of some names, too.
fn is_alternative(text: &str) -> bool {
    text.contains('|')
}

/// A name is compared whole, so a pattern would bind nothing but a subject that is called so.
fn read_subject(text: &str, line: usize, findings: &Findings) -> Option<Subject> {
    if is_alternative(text) {
        let message = format!("the subject {text:?} binds only a subject that is called so, with the `|`");
        findings.warning(BINDINGS, line, message);
    }
    if looks_like_a_pattern(text) {
        findings.problem(
            BINDINGS,
            line,
            format!("the subject {text:?} looks like a pattern, and a binding is of one subject"),
            "write a line for each subject",
        );
        return None;
    }
    Subject::new(text)
        .map_err(|error| {
            findings.problem(
                BINDINGS,
                line,
                format!("the subject {text:?} is not a name: {error}"),
                "correct it",
            );
        })
        .ok()
}

fn read_instant(column: &str, text: &str, line: usize, findings: &Findings) -> Option<Instant> {
    let for_ever = column == "until" && means_for_ever(text);
    match Instant::parse_rfc3339(text) {
        Ok(instant) => {
            if for_ever {
                let message = format!(
                    "`until` is {text:?}; where no end is known, leave it out: end the line with a comma"
                );
                findings.warning(BINDINGS, line, message);
            }
            Some(instant)
        }
        Err(error) => {
            let (what, help) = match for_ever {
                true => (
                    "there is no such instant".to_owned(),
                    "leave it out where no end is known: end the line with a comma",
                ),
                false => (error.to_string(), "write it like 2025-10-01T00:00:00Z"),
            };
            findings.problem(BINDINGS, line, format!("`{column}` is {text:?}: {what}"), help);
            None
        }
    }
}

/// Subjects that differ in case or in the sign between words are usually one, misspelt once.
fn warn_of_look_alikes(bindings: &BTreeMap<Subject, Vec<Binding>>, findings: &Findings) {
    let mut seen: BTreeMap<String, &Binding> = BTreeMap::new();
    for binding in bindings.values().filter_map(|of_subject| of_subject.first()) {
        if let Some(other) = seen.insert(folded(binding.subject.as_str()), binding) {
            let message = format!(
                "the subject {} looks like {} (line {}); events name one of them exactly",
                binding.subject, other.subject, other.line
            );
            findings.warning(BINDINGS, binding.line, message);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_told_from_a_name() {
        for pattern in [
            "*",
            "projects/?",
            "projects/.+",
            "projects/.*",
            "projects/%",
            "100%",
            "projects/[ab]",
            "projects/[a-z]",
            "projects/[^a]",
            "projects/{a1,a2}",
        ] {
            assert!(looks_like_a_pattern(pattern), "{pattern}");
        }
        for name in
            ["projects/a1", "web[0]", "web[\"eu\"]", "a%2Fb", "{3F2504E0-4F89}", "c++", "a.b", "a|b", "[]"]
        {
            assert!(!looks_like_a_pattern(name), "{name}");
        }
        assert!(is_alternative("a1|a2") && !is_alternative("a1"));
    }
}
