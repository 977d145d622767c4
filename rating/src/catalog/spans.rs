//! Stretches of the time before an instant.
//!
//! They say where something may have to be looked at, and deliberately not what was found there.
//!
//! Invariant: no two of them meet, and none reaches beyond the instant at which all of them end.

use schemas::time::{Instant, Period};
use std::fmt;

/// Stretches of time, each before `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spans {
    end: Instant,
    /// `[from, until)`, ascending; `None` has no beginning.
    spans: Vec<(Option<Instant>, Instant)>,
}

impl Spans {
    /// None yet.
    pub(super) fn before(end: Instant) -> Self {
        Self { end, spans: Vec::new() }
    }

    /// Adds what of a stretch lies before the end of all. One that is `None` at either side does
    /// not end there.
    pub(super) fn add(&mut self, from: Option<Instant>, until: Option<Instant>) {
        let until = until.map_or(self.end, |until| until.min(self.end));
        if from.is_none_or(|from| from < until) {
            self.spans.push((from, until));
        }
    }

    /// Adds what remains of a stretch from the first of these on that meets it; they are joined, and
    /// so is the result.
    pub(super) fn go_on(mut self, from: Instant, until: Option<Instant>) -> Self {
        let meets = |(begin, end): &&(Option<Instant>, Instant)| {
            from < *end && begin.is_none_or(|begin| until.is_none_or(|until| begin < until))
        };
        let Some((begin, _)) = self.spans.iter().find(meets) else { return self };
        let begin = begin.map_or(from, |begin| begin.max(from));
        self.add(Some(begin), until);
        self.joined()
    }

    /// Makes those that meet one.
    pub(super) fn joined(mut self) -> Self {
        self.spans.sort();
        let mut joined: Vec<(Option<Instant>, Instant)> = Vec::new();
        for (from, until) in std::mem::take(&mut self.spans) {
            match joined.last_mut() {
                Some(last) if from <= Some(last.1) => last.1 = last.1.max(until),
                _ => joined.push((from, until)),
            }
        }
        Self { spans: joined, ..self }
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The instant at which all of them end.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// Whether one of them has an instant of the period.
    pub fn meet(&self, period: Period) -> bool {
        let after = self.spans.partition_point(|(_, until)| *until <= period.start());
        self.spans.get(after).is_some_and(|(from, _)| from.is_none_or(|from| from < period.end()))
    }
}

/// Like `until 2025-01-01T00:00:00Z, [2025-02-01T00:00:00Z, 2025-03-01T00:00:00Z)`.
impl fmt::Display for Spans {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (from, until)) in self.spans.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            match from {
                None => write!(formatter, "{separator}until {until}")?,
                Some(from) => write!(formatter, "{separator}[{from}, {until})")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_meet_are_one() {
        let instant = |micros| Instant::from_micros(micros).expect("an instant");
        let mut spans = Spans::before(instant(100));
        for (from, until) in
            [(Some(50), Some(60)), (Some(20), Some(30)), (Some(30), Some(40)), (Some(90), None)]
        {
            spans.add(from.map(instant), until.map(instant));
        }
        spans.add(Some(instant(100)), None);
        let mut forever = spans.clone();
        forever.add(None, Some(instant(55)));
        let spans = spans.joined();
        assert_eq!(spans.spans.len(), 3, "{spans}");
        let meets = |spans: &Spans, from, until| {
            spans.meet(Period::new(instant(from), instant(until)).expect("a period"))
        };
        let asked = [(0, 20), (0, 21), (39, 40), (40, 50), (60, 90), (60, 91), (99, 200), (100, 200)];
        let met = asked.map(|(from, until)| meets(&spans, from, until));
        assert_eq!(met, [false, true, true, false, false, true, true, false]);
        let forever = forever.joined();
        assert_eq!(forever.spans.len(), 2, "{forever}");
        assert!(meets(&forever, -5, 1) && !meets(&forever, 60, 90));
    }

    #[test]
    fn a_stretch_goes_on_from_the_first_that_meets_it() {
        let instant = |micros| Instant::from_micros(micros).expect("an instant");
        let after = |from, until: Option<i64>| {
            let mut spans = Spans::before(instant(100));
            for (from, until) in [(Some(20), 30), (Some(40), 50), (Some(60), 70)] {
                spans.add(from.map(instant), Some(instant(until)));
            }
            let spans = spans.joined().go_on(instant(from), until.map(instant));
            let micros =
                |(from, until): &(Option<Instant>, Instant)| (from.map(Instant::micros), until.micros());
            spans.spans.iter().map(micros).collect::<Vec<_>>()
        };
        let (one, two, three) = ((Some(20), 30), (Some(40), 50), (Some(60), 70));
        assert_eq!(after(10, Some(20)), [one, two, three]);
        assert_eq!(after(70, None), [one, two, three]);
        assert_eq!(after(10, Some(21)), [one, two, three]);
        assert_eq!(after(25, Some(45)), [(Some(20), 50), three]);
        assert_eq!(after(30, Some(65)), [one, (Some(40), 70)]);
        assert_eq!(after(45, None), [one, (Some(40), 100)]);
        let mut forever = Spans::before(instant(100));
        forever.add(None, Some(instant(5)));
        let forever = forever.joined().go_on(instant(3), Some(instant(9)));
        assert_eq!(forever.spans, [(None, instant(9))]);
    }
}
