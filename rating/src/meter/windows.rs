//! The windows of a stretch of time.
//!
//! They follow one another from each midnight of a time zone, in elapsed time, and the last one of a
//! day ends at the next midnight. What counts in a window is deliberately not known here.
//!
//! A window is as long as its day lets it be, also where it begins before the stretch or ends after
//! it: a rate is per second of the window, and would be of anything if a stretch could cut a window to
//! a microsecond.
//!
//! Invariant: every instant of the stretch is in exactly one window.

use super::rules::WindowLength;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemas::time::{Instant, Period, start_of_day};

/// The windows of a stretch of time.
#[derive(Debug, Clone)]
pub struct Windows {
    span: Period,
    days: Option<Days>,
}

#[derive(Debug, Clone)]
struct Days {
    /// The first is at or before the stretch, the last at or after its end.
    midnights: Vec<Instant>,
    /// `None`: a day is one window.
    length: Option<i64>,
}

impl Windows {
    /// All of a stretch is one window where there is no length.
    pub fn new(span: Period, length: Option<WindowLength>, zone: &TimeZone) -> Self {
        let days = length.map(|length| Days { midnights: midnights(span, zone), length: length.micros() });
        Self { span, days }
    }

    pub fn span(&self) -> Period {
        self.span
    }

    /// The window that an instant of the stretch is in.
    ///
    /// # Panics
    /// Outside of the stretch.
    pub fn window_of(&self, instant: Instant) -> Period {
        assert!(self.span.contains(instant), "{instant} is not in {}", self.span);
        let Some(days) = &self.days else { return self.span };
        let after = days.midnights.partition_point(|midnight| *midnight <= instant);
        let (midnight, next) = (days.midnights[after - 1], days.midnights[after]);
        let Some(length) = days.length else { return period(midnight, next) };
        let before = (instant.micros() - midnight.micros()) / length * length;
        let start = between(midnight.micros() + before);
        period(start, between((start.micros() + length).min(next.micros())))
    }

    /// How many there are, also of those that are partly in the stretch.
    pub fn count(&self) -> u64 {
        let Some(days) = &self.days else { return 1 };
        let of_day = |midnight: Instant, next: Instant| {
            let first = midnight.max(self.span.start()).micros() - midnight.micros();
            let last = next.min(self.span.end()).micros() - 1 - midnight.micros();
            days.length.map_or(1, |length| last / length - first / length + 1)
        };
        let count = days.midnights.windows(2).map(|pair| of_day(pair[0], pair[1])).sum::<i64>();
        u64::try_from(count).expect("a day has windows")
    }
}

/// Every midnight within a stretch, the last one before it and the first one after it. Where the
/// calendar ends, so does the day.
fn midnights(span: Period, zone: &TimeZone) -> Vec<Instant> {
    let start = |date: Date| start_of_day(date, zone).ok();
    let mut first = span.start().to_timestamp().to_zoned(zone.clone()).date();
    // Where clocks are set across midnight, the date says nothing about which midnight was before.
    while start(first).is_some_and(|midnight| midnight > span.start())
        && let Ok(before) = first.yesterday()
    {
        first = before;
    }
    let mut midnights = vec![start(first).unwrap_or(span.start()).min(span.start())];
    let mut date = first;
    loop {
        let next = date.tomorrow().ok().and_then(|next| Some((next, start(next)?)));
        let Some((tomorrow, midnight)) = next else {
            midnights.push(span.end());
            return midnights;
        };
        date = tomorrow;
        if midnight <= span.start() {
            midnights.clear();
        }
        // A date that a time zone leaves out has no day.
        if midnights.last() != Some(&midnight) {
            midnights.push(midnight);
        }
        if midnight >= span.end() {
            return midnights;
        }
    }
}

fn period(start: Instant, end: Instant) -> Period {
    Period::new(start, end).expect("a window is not empty")
}

fn between(micros: i64) -> Instant {
    Instant::from_micros(micros).expect("what is between two instants is an instant")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use schemas::time::{Day, time_zone};

    fn at(text: &str) -> Instant {
        Instant::parse_rfc3339(text).expect("an instant")
    }

    fn windows(length: &str, from: &str, until: &str, zone: &str) -> Windows {
        let length = WindowLength::parse(length).expect("a length");
        let zone = time_zone(zone).expect("a zone");
        Windows::new(Period::new(at(from), at(until)).expect("a period"), Some(length), &zone)
    }

    /// All of them, walked through.
    fn all(windows: &Windows) -> Vec<Period> {
        let mut all = vec![windows.window_of(windows.span().start())];
        while let Some(last) = all.last()
            && last.end() < windows.span().end()
        {
            all.push(windows.window_of(last.end()));
        }
        all
    }

    #[track_caller]
    fn check_day(zone: &str, from: &str, until: &str, length: &str, count: u64, last_minutes: i64) {
        let windows = windows(length, from, until, zone);
        let all = all(&windows);
        assert_eq!(u64::try_from(all.len()).expect("few"), count, "{zone} {from} {length}");
        assert_eq!(windows.count(), count, "{zone} {from} {length}");
        assert_eq!(all[0].start(), at(from), "a window begins at midnight");
        let last = all[all.len() - 1];
        assert_eq!(last.end(), at(until), "the last one ends at the next midnight");
        assert_eq!((last.end().micros() - last.start().micros()) / 60_000_000, last_minutes);
    }

    #[test]
    fn days_are_as_long_as_they_are() {
        let lisbon = "Europe/Lisbon";
        check_day(lisbon, "2025-03-30T00:00:00Z", "2025-03-30T23:00:00Z", "1 d", 1, 23 * 60);
        check_day(lisbon, "2025-03-30T00:00:00Z", "2025-03-30T23:00:00Z", "2 h", 12, 60);
        check_day(lisbon, "2025-10-25T23:00:00Z", "2025-10-27T00:00:00Z", "2 h", 13, 60);
        check_day(lisbon, "2025-10-25T23:00:00Z", "2025-10-27T00:00:00Z", "24 h", 2, 60);
        check_day("America/New_York", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z", "1 d", 1, 25 * 60);
        check_day("America/New_York", "2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z", "1 h", 23, 60);
        // Lord Howe sets its clocks by half an hour.
        let howe = "Australia/Lord_Howe";
        check_day(howe, "2025-04-05T13:00:00Z", "2025-04-06T13:30:00Z", "1 h", 25, 30);
        check_day(howe, "2025-10-04T13:30:00Z", "2025-10-05T13:00:00Z", "1 h", 24, 30);
        // The day has no midnight.
        let sao_paulo = "America/Sao_Paulo";
        check_day(sao_paulo, "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z", "4 h", 6, 3 * 60);
        // The day has two midnights.
        check_day("America/Havana", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z", "6 h", 5, 60);
        // The 30th was left out.
        check_day("Pacific/Apia", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "1 d", 1, 24 * 60);
        check_day("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z", "12 h", 2, 12 * 60);
    }

    #[test]
    fn a_stretch_cuts_no_window() {
        let windows = windows("1 h", "2025-11-05T10:30:00Z", "2025-11-05T12:00:00.000001Z", "Europe/Lisbon");
        assert_eq!(windows.count(), 3);
        let first = windows.window_of(at("2025-11-05T10:30:00Z"));
        assert_eq!(first.to_string(), "[2025-11-05T10:00:00Z, 2025-11-05T11:00:00Z)");
        let last = windows.window_of(at("2025-11-05T12:00:00Z"));
        assert_eq!(last.to_string(), "[2025-11-05T12:00:00Z, 2025-11-05T13:00:00Z)");
    }

    #[test]
    fn without_a_length_the_stretch_is_the_window() {
        let span = Period::new(at("2025-11-05T10:30:00Z"), at("2025-11-05T12:00:00Z")).expect("a period");
        let windows = Windows::new(span, None, &time_zone("Europe/Lisbon").expect("a zone"));
        assert_eq!((windows.count(), windows.window_of(at("2025-11-05T11:00:00Z"))), (1, span));
    }

    #[test]
    fn at_the_edges_of_the_calendar_days_end() {
        let edge = at("9999-12-30T21:59:59.999999Z");
        for zone in ["Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"] {
            let span = Period::new(at("9999-12-29T00:00:00Z"), edge).expect("a period");
            let windows = Windows::new(span, Some(WindowLength::DAY), &time_zone(zone).expect("a zone"));
            assert_eq!(u64::try_from(all(&windows).len()).expect("few"), windows.count(), "{zone}");
        }
    }

    const ZONES: [&str; 6] = [
        "Europe/Lisbon",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Sao_Paulo",
        "America/Havana",
        "Pacific/Apia",
    ];
    const LENGTHS: [&str; 6] = ["1 min", "5 min", "1 h", "8 h", "24 h", "1 d"];

    proptest! {
        /// 2010 to 2018: with the midnights that Sao Paulo leaves out, and the day that Apia does.
        #[test]
        fn windows_partition_each_day(
            zone in prop::sample::select(&ZONES[..]),
            length in prop::sample::select(&LENGTHS[..]),
            start in 14_610..17_897i32,
            offset in 0..Day::MICROS,
            days in 1..4i64,
        ) {
            let zone = time_zone(zone).expect("a zone");
            let start = Day::from_number(start).start() + offset;
            let instant = |micros| Instant::from_micros(micros).expect("an instant");
            let span = Period::new(instant(start), instant(start + days * Day::MICROS)).expect("a period");
            let windows = Windows::new(span, Some(WindowLength::parse(length).expect("a length")), &zone);
            let all = all(&windows);
            prop_assert_eq!(u64::try_from(all.len()).expect("few"), windows.count());
            prop_assert!(all[0].start() <= span.start() && all[all.len() - 1].end() >= span.end());
            let limit = WindowLength::parse(length).expect("a length").micros();
            for (index, window) in all.iter().enumerate() {
                // They follow one another, and hold what is said to be in them.
                prop_assert!(index == 0 || all[index - 1].end() == window.start());
                let micros = window.end().micros() - window.start().micros();
                prop_assert!(limit.is_none_or(|limit| micros <= limit));
                let last = instant(window.end().micros().min(span.end().micros()) - 1);
                prop_assert_eq!(windows.window_of(window.start().max(span.start())), *window);
                prop_assert_eq!(windows.window_of(last), *window);
                // Only midnight cuts one short, and a window that begins at midnight begins a day.
                let date = window.end().to_timestamp().to_zoned(zone.clone()).date();
                let at_midnight = start_of_day(date, &zone) == Ok(window.end());
                prop_assert!(limit == Some(micros) || at_midnight);
                let before = instant(window.end().micros() - 1).to_timestamp().to_zoned(zone.clone()).date();
                prop_assert_eq!(before == window.start().to_timestamp().to_zoned(zone.clone()).date(), true);
            }
        }
    }
}
