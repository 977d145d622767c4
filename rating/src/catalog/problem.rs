//! Problems of a catalog: where, what is wrong, and what to do about it.
//!
//! Checks never stop at the first problem. They push what they find here and go on, so that one run
//! of the check is enough to repair a folder.
//!
//! Invariants:
//! - Findings are in the order of files and lines, whatever the order of the checks.
//! - A report is bounded: of each kind the first are kept, and the others counted. A kind is the
//!   place in the sources that reports it, so that a new check is a kind of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;

/// The findings of one kind that are kept.
const MOST_OF_A_KIND: usize = 10;

/// The characters of a message that are kept: a name or a value in it may be of any length.
const MOST_CHARACTERS: usize = 1000;

/// Something that makes the catalog unusable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Relative to the catalog's folder.
    pub file: String,
    /// From 1; `None` where the problem is the file itself.
    pub line: Option<usize>,
    /// The fault, in one sentence.
    pub message: String,
    /// The way to mend it.
    pub help: String,
    /// How many more of its kind there are and are not listed; said with the last that is.
    pub more: usize,
}

/// Something that is allowed and still worth a look before publishing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    pub file: String,
    pub line: Option<usize>,
    pub message: String,
    /// As for a [`Problem`].
    pub more: usize,
}

/// `file:line: message`, then what to do on a line of its own.
impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(formatter, &self.file, self.line)?;
        write!(formatter, "{}\n  help: {}", self.message, self.help)?;
        more(formatter, self.more)
    }
}

/// `file:line: message`.
impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(formatter, &self.file, self.line)?;
        formatter.write_str(&self.message)?;
        more(formatter, self.more)
    }
}

/// How many the items of a report stand for, those counted that are not listed.
pub trait Counted {
    fn more(&self) -> usize;

    fn count_all(items: &[Self]) -> usize
    where
        Self: Sized,
    {
        items.iter().map(|item| 1 + item.more()).sum()
    }
}

impl Counted for Problem {
    fn more(&self) -> usize {
        self.more
    }
}

impl Counted for Warning {
    fn more(&self) -> usize {
        self.more
    }
}

fn more(formatter: &mut fmt::Formatter<'_>, more: usize) -> fmt::Result {
    if more > 0 { write!(formatter, "\n  … and {more} more of this kind") } else { Ok(()) }
}

fn place(formatter: &mut fmt::Formatter<'_>, file: &str, line: Option<usize>) -> fmt::Result {
    match line {
        Some(line) => write!(formatter, "{file}:{line}: "),
        None => write!(formatter, "{file}: "),
    }
}

/// Problems and warnings, while a catalog is read. Shared by everything that reads, hence the
/// cells.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    problems: RefCell<ByKind<Problem>>,
    warnings: RefCell<ByKind<Warning>>,
}

/// The first of each kind, and how many there are.
type ByKind<T> = BTreeMap<&'static Location<'static>, (Vec<T>, usize)>;

impl Findings {
    #[track_caller]
    pub fn problem(
        &self,
        file: &str,
        line: impl Into<Option<usize>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        push(&mut self.problems.borrow_mut(), Location::caller(), || Problem {
            file: file.to_owned(),
            line: line.into(),
            message: shortened(message.into()),
            help: shortened(help.into()),
            more: 0,
        });
    }

    #[track_caller]
    pub fn warning(&self, file: &str, line: impl Into<Option<usize>>, message: impl Into<String>) {
        push(&mut self.warnings.borrow_mut(), Location::caller(), || Warning {
            file: file.to_owned(),
            line: line.into(),
            message: shortened(message.into()),
            more: 0,
        });
    }

    pub fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// Warnings in the order of the files, or all problems.
    pub fn into_result(self) -> Result<Vec<Warning>, Vec<Problem>> {
        let problems =
            in_order(self.problems.into_inner(), |problem: &mut Problem, more| problem.more = more);
        let warnings =
            in_order(self.warnings.into_inner(), |warning: &mut Warning, more| warning.more = more);
        if problems.is_empty() { Ok(warnings) } else { Err(problems) }
    }
}

fn push<T>(findings: &mut ByKind<T>, kind: &'static Location<'static>, finding: impl FnOnce() -> T) {
    let (first, count) = findings.entry(kind).or_default();
    if first.len() < MOST_OF_A_KIND {
        first.push(finding());
    }
    *count += 1;
}

fn in_order<T: Ord>(findings: ByKind<T>, say_more: impl Fn(&mut T, usize)) -> Vec<T> {
    let mut all = Vec::new();
    for (mut first, count) in findings.into_values() {
        first.sort();
        let more = count - first.len();
        if let Some(last) = first.last_mut() {
            say_more(last, more);
        }
        all.append(&mut first);
    }
    all.sort();
    all
}

/// A text in one line, as long as somebody reads it.
fn shortened(text: String) -> String {
    // A problem begins with its place; whatever a name holds, it begins no line of its own.
    let mut text = text.replace('\r', "\\r").replace('\n', "\\n");
    if let Some((end, _)) = text.char_indices().nth(MOST_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_first_of_each_kind_and_counts_the_others() {
        let findings = Findings::default();
        for line in (1..=4_000).rev() {
            findings.problem("b.toml", line, "it is blue", "paint it");
        }
        findings.problem("a.toml", None, "x".repeat(1 << 20), "shorten it");
        let problems = findings.into_result().expect_err("problems");
        assert_eq!((problems.len(), Problem::count_all(&problems)), (11, 4_001));
        assert_eq!(problems[0].message.chars().count(), MOST_CHARACTERS + 1);
        assert_eq!(
            problems[10].to_string(),
            "b.toml:4000: it is blue\n  help: paint it\n  … and 3990 more of this kind"
        );
    }
}
