//! From the samples of one series to what counts.
//!
//! Samples come in the order of time, and at one instant in that of the ledger. Of a counter or a
//! level, only the last one at an instant says anything. What comes out is cut where the caller cuts
//! time, says in which stretch it lies, and can be forgotten at once: a reader keeps two samples.
//!
//! Windows, and whose usage it is, are deliberately not known here.
//!
//! Invariant: what a sample says lies within the billing period, and no longer than its carry after
//! the sample.

use super::rules::Values;
use crate::words::words;
use schemas::decimal::{DecimalError, Quantity, QuantityTotal};
use schemas::id::{ProviderId, Subject};
use schemas::time::{Instant, Period};
use std::collections::BTreeMap;

/// Names with their values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Labels(BTreeMap<Box<str>, Box<str>>);

impl Labels {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(AsRef::as_ref)
    }

    /// In byte order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

impl<T: Into<Box<str>>> FromIterator<(T, T)> for Labels {
    fn from_iter<I: IntoIterator<Item = (T, T)>>(labels: I) -> Self {
        Self(labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// What makes samples one series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesKey {
    pub provider: Option<ProviderId>,
    pub source: Box<str>,
    pub subject: Subject,
    pub resource: Labels,
    pub dimensions: Labels,
}

impl SeriesKey {
    /// What tells it from others of its source and subject: `class=standard;resource.vm=one`.
    pub fn detail(&self) -> String {
        let dimensions = self.dimensions.iter().map(|(name, value)| format!("{name}={value}"));
        let resource = self.resource.iter().map(|(name, value)| format!("resource.{name}={value}"));
        dimensions.chain(resource).collect::<Vec<_>>().join(";")
    }
}

/// Where an event stands among all that a ledger holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LedgerOrder {
    /// When its batch was received, where there are several shards; within one it says nothing more.
    pub received: i64,
    pub shard: u32,
    pub batch: i64,
    pub row: i64,
}

impl LedgerOrder {
    /// Of the events of one file.
    pub fn nth(row: i64) -> Self {
        Self { received: 0, shard: 0, batch: 0, row }
    }
}

/// What an event says of its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub time: Instant,
    pub order: LedgerOrder,
    pub value: Quantity,
}

/// A part of what was used, within one stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contribution {
    /// How many of the caller's cuts lie at or before it.
    pub stretch: usize,
    /// The sample that says it. One that replaces another may have other labels than its series.
    pub order: LedgerOrder,
    pub counted: Counted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// An amount or an increase, all of it at one instant.
    At { time: Instant, order: LedgerOrder, value: Quantity },
    /// A level that held.
    During { time: Period, value: Quantity },
}

/// What a person should know about a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    pub kind: NoteKind,
    /// When it begins, also where that is before the billing period.
    pub since: Instant,
    /// The same; of a gap, within the billing period.
    pub from: Instant,
    pub until: Instant,
}

words! {
    /// What a [`Note`] says.
    pub enum NoteKind {
        /// Nothing is known from the end of what the last sample of a level said, or from the last
        /// reading of a counter, until the next one or the end of the billing period.
        Gap = "gap",
        /// A counter was read below its reading before.
        Reset = "reset",
    }
}

impl Note {
    /// How much time is missing, in microseconds; `None` where none is.
    pub fn missing(&self) -> Option<i64> {
        match self.kind {
            NoteKind::Gap => Some(self.until.micros() - self.from.micros()),
            NoteKind::Reset => None,
        }
    }

    /// The same in seconds.
    ///
    /// # Errors
    /// None for any two instants; the type says so because quantities never wrap.
    pub fn missing_seconds(&self) -> Result<Option<QuantityTotal>, DecimalError> {
        let units = self.missing().map(|micros| QuantityTotal::from_units(i128::from(micros) * 1_000));
        units.transpose()
    }
}

/// What a reader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Counts(Contribution),
    Noted(Note),
}

/// Reads one series of one meter in one billing period.
#[derive(Debug)]
pub struct SeriesReader {
    how: How,
    period: Period,
    cuts: Vec<Instant>,
    /// How many of the cuts are behind.
    stretch: usize,
    /// The last sample; another one at its instant takes its place.
    last: Option<Sample>,
    /// Of a counter, the reading before that.
    before: Option<Sample>,
    events: u64,
}

/// What of [`Values`] a reader needs to know; carries in microseconds.
#[derive(Debug, Clone, Copy)]
enum How {
    Amounts,
    Counter { carry: i64 },
    Level { carry: i64 },
}

impl SeriesReader {
    /// `cuts` are in the order of time; those outside of the billing period cut nothing.
    pub fn new(values: &Values, period: Period, cuts: Vec<Instant>) -> Self {
        let how = match values {
            Values::Amounts(_) => How::Amounts,
            Values::Counter { carry, .. } => How::Counter { carry: carry.micros() },
            Values::Level { carry } => How::Level { carry: carry.micros() },
        };
        assert!(cuts.is_sorted(), "cuts are in the order of time");
        Self { how, period, cuts, stretch: 0, last: None, before: None, events: 0 }
    }

    /// The next sample. What more than the carry before the billing period was said counts nothing in
    /// it; the last such sample only says since when a series is silent that is heard in the period.
    ///
    /// # Panics
    /// When samples are not in order.
    pub fn push(&mut self, sample: Sample, found: &mut impl FnMut(Found)) {
        if sample.time >= self.period.end() {
            return;
        }
        match self.last.replace(sample) {
            Some(last) if last.time == sample.time => {
                assert!(last.order <= sample.order, "samples of an instant are in ledger order");
                if let How::Amounts = self.how {
                    self.settle(last, None, found);
                }
            }
            Some(last) => {
                assert!(last.time < sample.time, "samples are in the order of time");
                self.settle(last, Some(sample.time), found);
            }
            None => {}
        }
    }

    /// No sample is left. Returns how many events counted: those of which something lies in the billing
    /// period.
    pub fn finish(&mut self, found: &mut impl FnMut(Found)) -> u64 {
        if let Some(last) = self.last.take() {
            self.settle(last, None, found);
        }
        self.events
    }

    /// A sample that no other one takes the place of; `next` is the time of the one after it.
    fn settle(&mut self, sample: Sample, next: Option<Instant>, found: &mut impl FnMut(Found)) {
        let silent_until = next.unwrap_or(self.period.end());
        let silence = silent_until.micros() - sample.time.micros();
        match self.how {
            How::Amounts if sample.time < self.period.start() => {}
            How::Amounts => self.instant(sample, sample.value, found),
            How::Counter { carry } => {
                self.reading(sample, carry, found);
                self.before = Some(sample);
                if silence > carry && (next.is_some() || self.is_heard(sample, carry)) {
                    self.gap(sample.time, silent_until, found);
                }
            }
            How::Level { carry } => {
                let until = if silence > carry {
                    // Before the silence ends, so there is such an instant.
                    Instant::from_micros(sample.time.micros() + carry).unwrap_or(silent_until)
                } else {
                    silent_until
                };
                if let Some(time) = Period::new(sample.time.max(self.period.start()), until) {
                    self.events += 1;
                    self.pieces(sample, time, found);
                }
                let is_silent = silence > carry && !sample.value.is_zero();
                if is_silent && (next.is_some() || self.is_heard(sample, carry)) {
                    self.gap(until, silent_until, found);
                }
            }
        }
    }

    /// Whether a series whose last sample it is has one in the billing period, or at most the carry
    /// before it. Others are silent in every period.
    fn is_heard(&self, last: Sample, carry: i64) -> bool {
        last.time.micros() >= self.period.start().micros().saturating_sub(carry)
    }

    /// What a reading says about the time since the one before.
    fn reading(&mut self, sample: Sample, carry: i64, found: &mut impl FnMut(Found)) {
        let Some(before) = self.before else { return };
        if sample.time.micros() - before.time.micros() > carry || sample.time < self.period.start() {
            return;
        }
        if sample.value < before.value {
            let (from, until) = (before.time, sample.time);
            found(Found::Noted(Note { kind: NoteKind::Reset, since: from, from, until }));
            self.instant(sample, sample.value, found);
        } else {
            let increase = Quantity::from_units(sample.value.units() - before.value.units())
                .expect("an increase is no larger than the reading");
            self.instant(sample, increase, found);
        }
    }

    fn gap(&self, since: Instant, until: Instant, found: &mut impl FnMut(Found)) {
        let from = since.max(self.period.start());
        if from < until {
            found(Found::Noted(Note { kind: NoteKind::Gap, since, from, until }));
        }
    }

    fn instant(&mut self, sample: Sample, value: Quantity, found: &mut impl FnMut(Found)) {
        self.events += 1;
        let counted = Counted::At { time: sample.time, order: sample.order, value };
        let stretch = self.stretch_of(sample.time);
        found(Found::Counts(Contribution { stretch, order: sample.order, counted }));
    }

    fn pieces(&mut self, sample: Sample, time: Period, found: &mut impl FnMut(Found)) {
        let mut rest = Some(time);
        while let Some(time) = rest {
            let stretch = self.stretch_of(time.start());
            let cut = self.cuts.get(stretch).map_or(time.end(), |cut| time.end().min(*cut));
            let piece = Period::new(time.start(), cut).expect("the next cut is after the beginning");
            let counted = Counted::During { time: piece, value: sample.value };
            found(Found::Counts(Contribution { stretch, order: sample.order, counted }));
            rest = Period::new(cut, time.end());
        }
    }

    /// What counts comes in the order of time, so the cuts are walked through once.
    fn stretch_of(&mut self, time: Instant) -> usize {
        while self.cuts.get(self.stretch).is_some_and(|cut| *cut <= time) {
            self.stretch += 1;
        }
        self.stretch
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Carry, OfAmounts, OfIncreases};
    use super::*;
    use proptest::prelude::*;

    /// Seconds after the beginning of a billing period of 100 seconds.
    fn at(seconds: i64) -> Instant {
        Instant::from_micros(seconds * 1_000_000).expect("an instant")
    }

    fn quantity(value: i128) -> Quantity {
        Quantity::from_units(value * 1_000_000_000).expect("a quantity")
    }

    const AMOUNTS: Values = Values::Amounts(OfAmounts::Sum);

    fn counter(carry: i64) -> Values {
        let carry = Carry::from_micros(carry * 1_000_000).expect("a carry");
        Values::Counter { carry, of: OfIncreases::Sum }
    }

    fn level(carry: i64) -> Values {
        Values::Level { carry: Carry::from_micros(carry * 1_000_000).expect("a carry") }
    }

    /// One word for each thing found: `stretch:value@from-until`.
    #[track_caller]
    fn check(values: &Values, cuts: &[i64], samples: &[(i64, i128)], events: u64, expected: &str) {
        let cuts: Vec<Instant> = cuts.iter().copied().map(at).collect();
        let period = Period::new(at(0), at(100)).expect("a period");
        let mut reader = SeriesReader::new(values, period, cuts.clone());
        let seconds = |time: Instant| time.micros() / 1_000_000;
        let mut words = Vec::new();
        let mut found = |found| {
            words.push(match found {
                Found::Counts(Contribution { stretch, counted: Counted::At { time, value, .. }, .. }) => {
                    format!("{stretch}:{value}@{}", seconds(time))
                }
                Found::Counts(Contribution { stretch, counted: Counted::During { time, value }, .. }) => {
                    format!("{stretch}:{value}@{}-{}", seconds(time.start()), seconds(time.end()))
                }
                Found::Noted(note) => format!("{}@{}-{}", note.kind, seconds(note.from), seconds(note.until)),
            });
        };
        for (order, (time, value)) in (0..).zip(samples) {
            let sample = Sample { time: at(*time), order: LedgerOrder::nth(order), value: quantity(*value) };
            reader.push(sample, &mut found);
        }
        assert_eq!(reader.finish(&mut found), events);
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn amounts_count_where_they_lie() {
        check(
            &AMOUNTS,
            &[],
            &[(-1, 9), (0, 1), (5, 2), (5, 2), (99, 3), (100, 9)],
            4,
            "0:1@0 0:2@5 0:2@5 0:3@99",
        );
        check(&AMOUNTS, &[-5, 0, 10, 20], &[(0, 1), (9, 1), (20, 1)], 3, "2:1@0 2:1@9 4:1@20");
        check(&AMOUNTS, &[], &[], 0, "");
    }

    #[test]
    fn counters_count_their_increases() {
        // The first reading counts nothing; one that is not more than the carry later does.
        check(&counter(10), &[], &[(80, 5), (90, 8), (99, 8)], 2, "0:3@90 0:0@99");
        check(&counter(10), &[], &[(70, 5), (81, 8), (90, 9)], 1, "gap@70-81 0:1@90");
        // After a reset it is the reading.
        check(&counter(10), &[], &[(80, 5), (90, 2), (95, 3)], 2, "reset@80-90 0:2@90 0:1@95");
        // A lower reading after a silence is no reset.
        check(&counter(10), &[], &[(80, 5), (91, 2)], 0, "gap@80-91");
        // Of two readings at one instant the later one in the ledger is the reading.
        check(&counter(10), &[], &[(90, 5), (90, 7), (95, 9), (95, 10)], 1, "0:3@95");
    }

    #[test]
    fn counters_are_read_from_before_the_period() {
        check(&counter(10), &[], &[(-10, 5), (0, 8)], 1, "0:3@0 gap@0-100");
        check(&counter(10), &[], &[(-11, 5), (-1, 6), (0, 8), (93, 9)], 1, "0:2@0 gap@0-93");
        // Who is heard again was silent; who is not is no series of the period.
        check(&counter(10), &[], &[(-30, 5), (-20, 4), (95, 9)], 0, "gap@0-95");
        check(&counter(10), &[], &[(-30, 5), (-20, 6)], 0, "");
        check(&counter(10), &[], &[(-8, 5), (-1, 4), (4, 3)], 1, "reset@-1-4 0:3@4 gap@4-100");
        check(&counter(10), &[], &[(-8, 5), (3, 9), (95, 9)], 0, "gap@0-3 gap@3-95");
        check(&counter(1000), &[], &[(-8, 5)], 0, "");
    }

    #[test]
    fn levels_hold_until_the_next_sample_or_their_carry() {
        check(&level(10), &[], &[(90, 2), (95, 3)], 2, "0:2@90-95 0:3@95-100");
        check(&level(10), &[], &[(70, 2), (80, 3), (95, 1)], 3, "0:2@70-80 0:3@80-90 gap@90-95 0:1@95-100");
        check(&level(10), &[], &[(80, 0), (95, 1)], 2, "0:0@80-90 0:1@95-100");
        check(&level(10), &[], &[(89, 4)], 1, "0:4@89-99 gap@99-100");
        check(&level(10), &[], &[(90, 4)], 1, "0:4@90-100");
        check(&level(10), &[], &[(95, 4), (95, 6)], 1, "0:6@95-100");
        check(&level(10), &[50, 92, 94, 100], &[(91, 4)], 1, "1:4@91-92 2:4@92-94 3:4@94-100");
    }

    #[test]
    fn levels_are_read_from_before_the_period() {
        check(&level(10), &[], &[(-5, 2), (3, 0)], 2, "0:2@0-3 0:0@3-13");
        check(&level(10), &[], &[(-5, 2), (0, 0)], 1, "0:0@0-10");
        check(&level(10), &[], &[(-4, 2)], 1, "0:2@0-6 gap@6-100");
        // At the very edge it says only that nothing is known.
        check(&level(10), &[], &[(-10, 2)], 0, "gap@0-100");
        check(&level(10), &[], &[(-11, 2)], 0, "");
        check(&level(10), &[], &[(-40, 2), (-11, 2), (95, 1)], 1, "gap@0-95 0:1@95-100");
        check(&level(10), &[], &[(-10, 2), (-9, 0)], 1, "0:0@0-1");
        check(&level(1000), &[], &[(100, 2)], 0, "");
    }

    proptest! {
        /// Second by second: what the last sample at or before it says, unless that is too old.
        #[test]
        fn a_level_is_what_was_last_said(
            samples in prop::collection::btree_map(-40..120i64, prop::collection::vec(0..3i128, 1..3), 0..12),
            carry in 1..40i64,
            cuts in prop::collection::btree_set(-10..110i64, 0..5),
        ) {
            let cuts: Vec<Instant> = cuts.into_iter().map(at).collect();
            let mut reader = SeriesReader::new(&level(carry), Period::new(at(0), at(100)).expect("a period"), cuts.clone());
            let (mut held, mut gaps) = (BTreeMap::new(), Vec::new());
            let mut found = |found| match found {
                Found::Counts(Contribution { stretch, counted: Counted::During { time, value }, .. }) => {
                    for second in time.start().micros() / 1_000_000..time.end().micros() / 1_000_000 {
                        let behind = cuts.iter().filter(|cut| **cut <= at(second)).count();
                        assert_eq!(stretch, behind);
                        assert_eq!(held.insert(second, value), None);
                    }
                }
                Found::Counts(Contribution { counted: Counted::At { .. }, .. }) => panic!("a level lasts"),
                Found::Noted(note) => gaps.push((note.from, note.until)),
            };
            for (order, (time, values)) in (0..).zip(&samples) {
                for (place, value) in (0..).zip(values) {
                    let order = LedgerOrder::nth(order * 10 + place);
                    reader.push(Sample { time: at(*time), order, value: quantity(*value) }, &mut found);
                }
            }
            reader.finish(&mut found);
            for second in 0..100 {
                let last = samples.range(..=second).next_back();
                let last = last.map(|(time, values)| (*time, values[values.len() - 1]));
                let said = last.filter(|(time, _)| second - time < carry).map(|(_, value)| quantity(value));
                prop_assert_eq!(held.get(&second), said.as_ref(), "{}", second);
                // Where nothing is said after a level above 0 that was read, there is a gap.
                let silent = last.is_some_and(|(time, value)| {
                    let heard = time >= -carry || samples.range(0..100).next().is_some();
                    heard && second - time >= carry && value > 0
                });
                let noted = gaps.iter().any(|(from, until)| *from <= at(second) && at(second) < *until);
                prop_assert_eq!(noted, silent, "{}", second);
            }
        }

        /// Each reading against the one before it, wherever a billing period is cut.
        #[test]
        fn increases_of_two_periods_are_those_of_one(
            samples in prop::collection::btree_map(-60..160i64, 0..9i128, 0..20),
            carry in 1..60i64,
            middle in 1..99i64,
        ) {
            let of = |from, until| {
                let period = Period::new(at(from), at(until)).expect("a period");
                let (mut counted, mut resets) = (Vec::new(), Vec::new());
                let mut reader = SeriesReader::new(&counter(carry), period, Vec::new());
                let mut found = |found| match found {
                    Found::Counts(Contribution { counted: found, .. }) => counted.push(found),
                    Found::Noted(note) if note.kind == NoteKind::Reset => resets.push(note),
                    Found::Noted(_) => {}
                };
                for (order, (time, value)) in (0..).zip(&samples) {
                    let sample = Sample { time: at(*time), order: LedgerOrder::nth(order), value: quantity(*value) };
                    reader.push(sample, &mut found);
                }
                reader.finish(&mut found);
                (counted, resets)
            };
            let (mut counted, mut resets) = of(0, middle);
            let (more, more_resets) = of(middle, 100);
            counted.extend(more);
            resets.extend(more_resets);
            let samples: Vec<_> = samples.iter().collect();
            let expected: i128 = samples
                .windows(2)
                .filter(|pair| (0..100).contains(pair[1].0) && pair[1].0 - pair[0].0 <= carry)
                .map(|pair| if pair[1].1 < pair[0].1 { *pair[1].1 } else { pair[1].1 - pair[0].1 })
                .sum();
            let sum: i128 = counted
                .iter()
                .map(|counted| match counted {
                    Counted::At { value, .. } => value.units() / 1_000_000_000,
                    Counted::During { .. } => panic!("an increase is of an instant"),
                })
                .sum();
            prop_assert_eq!(sum, expected);
            prop_assert_eq!((counted, resets), of(0, 100));
        }
    }

    #[test]
    fn a_series_is_told_from_others_by_its_labels() {
        let key = SeriesKey {
            provider: None,
            source: "//edge".into(),
            subject: Subject::new("projects/a1").expect("a name"),
            resource: [("vm", "one"), ("group", "a")].into_iter().collect(),
            dimensions: [("zone", "1"), ("class", "gpu")].into_iter().collect(),
        };
        assert_eq!(key.detail(), "class=gpu;zone=1;resource.group=a;resource.vm=one");
    }
}
