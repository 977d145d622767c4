//! Which customer a subject belongs to, from when until when.
//!
//! An event belongs to the binding whose interval contains the event's time. The binding in force
//! today never matters.
//!
//! Invariant: the bindings of a subject do not overlap.

use schemas::id::{CustomerId, Subject};
use schemas::time::{Instant, Period};
use std::collections::BTreeMap;

/// A subject's customer during `[from, until)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub subject: Subject,
    pub customer: CustomerId,
    pub from: Instant,
    pub until: Option<Instant>,
    /// Where it stands in bindings.csv.
    pub line: usize,
}

impl Binding {
    pub fn contains(&self, instant: Instant) -> bool {
        self.from <= instant && self.until.is_none_or(|until| instant < until)
    }

    /// Whether it is in force at any time in the period.
    pub fn overlaps(&self, period: Period) -> bool {
        self.from < period.end() && self.until.is_none_or(|until| until > period.start())
    }
}

/// All bindings, by subject and then by time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bindings(BTreeMap<Subject, Vec<Binding>>);

impl Bindings {
    /// `bindings` are each subject's, by their beginning, and do not overlap.
    pub(super) fn new(bindings: BTreeMap<Subject, Vec<Binding>>) -> Self {
        Self(bindings)
    }

    /// The binding of a subject that is in force at an instant.
    pub fn at(&self, subject: &Subject, instant: Instant) -> Option<&Binding> {
        let bindings = self.of(subject);
        let after = bindings.partition_point(|binding| binding.from <= instant);
        bindings[..after].last().filter(|binding| binding.contains(instant))
    }

    /// Those of a subject, by time.
    pub fn of(&self, subject: &Subject) -> &[Binding] {
        self.0.get(subject).map_or(&[], Vec::as_slice)
    }

    /// By subject in byte order, then by time.
    pub fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.0.values().flatten()
    }
}
