//! Problems of a catalog: where, what is wrong, and what to do about it.
//!
//! Checks never stop at the first problem. They push what they find here and go on, so that one run
//! of the check is enough to repair a folder.
//!
//! Invariant: findings are in the order of files and lines, whatever the order of the checks.

use std::cell::RefCell;
use std::fmt;

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
}

/// Something that is allowed and still worth a look before publishing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    pub file: String,
    pub line: Option<usize>,
    pub message: String,
}

/// `file:line: message`, then what to do on a line of its own.
impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(formatter, &self.file, self.line)?;
        write!(formatter, "{}\n  help: {}", self.message, self.help)
    }
}

/// `file:line: message`.
impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(formatter, &self.file, self.line)?;
        formatter.write_str(&self.message)
    }
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
pub(super) struct Findings {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Warning>>,
}

impl Findings {
    pub fn problem(
        &self,
        file: &str,
        line: impl Into<Option<usize>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.borrow_mut().push(Problem {
            file: file.to_owned(),
            line: line.into(),
            message: message.into(),
            help: help.into(),
        });
    }

    pub fn warning(&self, file: &str, line: impl Into<Option<usize>>, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Warning {
            file: file.to_owned(),
            line: line.into(),
            message: message.into(),
        });
    }

    /// Warnings in the order of the files, or all problems.
    pub fn into_result(self) -> Result<Vec<Warning>, Vec<Problem>> {
        let (mut problems, mut warnings) = (self.problems.into_inner(), self.warnings.into_inner());
        problems.sort();
        warnings.sort();
        if problems.is_empty() { Ok(warnings) } else { Err(problems) }
    }
}
