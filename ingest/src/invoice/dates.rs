//! Dates of invoices, and the instants that they stand for.
//!
//! A date alone is a midnight of the provider, or of UTC where its format says so. An ISO date-time
//! without a zone is UTC. One in a pattern of the mapping, which is a local way to write, is the
//! provider's time; a pattern may hold an offset.
//!
//! Invariant: what a date stands for depends on nothing but the file, the mapping and the zone.

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use schemas::invoice_mapping::{DateFormat, LineEnd};
use schemas::time::{BillingMonth, Instant, start_of_day};

/// What a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Day(Date),
    At(Instant),
    /// A date and a time, in no zone that the file names.
    Zoneless(Instant),
}

/// How a file's dates are read.
#[derive(Debug)]
pub struct Dates<'a> {
    pub format: &'a DateFormat,
    pub zone: &'a TimeZone,
    /// Of dates alone.
    pub in_utc: bool,
}

/// No date is longer; a pattern may name a month and a weekday.
const LONGEST: usize = 100;

impl Dates<'_> {
    /// Reads a date; `iso` where the file's format has a type for dates and no pattern applies.
    ///
    /// # Errors
    /// What a date must look like.
    pub fn read(&self, text: &str, iso: bool) -> Result<When, String> {
        if text.len() > LONGEST {
            return Err("it is too long for a date".to_owned());
        }
        match self.format {
            DateFormat::Pattern(pattern) if !iso => self.by_pattern(text, pattern),
            DateFormat::PatternOrIso(pattern) if !iso => {
                self.by_pattern(text, pattern).or_else(|why| read_iso(text).map_err(|_| why))
            }
            _ => read_iso(text),
        }
    }

    fn by_pattern(&self, text: &str, pattern: &str) -> Result<When, String> {
        let wrong = |error: jiff::Error| format!("it is no date like {pattern}: {error}");
        let parts = strtime::parse(pattern, text).map_err(wrong)?;
        if parts.offset().is_some() {
            return Ok(When::At(Instant::floor(parts.to_timestamp().map_err(wrong)?)));
        }
        let date = parts.to_date().map_err(wrong)?;
        if parts.hour().is_none() {
            return Ok(When::Day(date));
        }
        let time = parts.to_time().map_err(wrong)?;
        let local = self.zone_of_days().to_ambiguous_zoned(date.to_datetime(time)).compatible();
        Ok(When::Zoneless(Instant::floor(local.map_err(wrong)?.timestamp())))
    }

    fn zone_of_days(&self) -> TimeZone {
        if self.in_utc { TimeZone::UTC } else { self.zone.clone() }
    }

    fn day_of(&self, when: When) -> Date {
        match when {
            When::Day(date) => date,
            When::At(instant) | When::Zoneless(instant) => {
                instant.to_timestamp().to_zoned(self.zone_of_days()).date()
            }
        }
    }

    fn midnight(&self, date: Date) -> Result<Instant, String> {
        start_of_day(date, &self.zone_of_days()).map_err(|error| error.to_string())
    }

    /// The instant that a date begins at.
    ///
    /// # Errors
    /// At the edges of the calendar.
    pub fn begin(&self, when: When) -> Result<Instant, String> {
        match when {
            When::Day(date) => self.midnight(date),
            When::At(instant) | When::Zoneless(instant) => Ok(instant),
        }
    }

    /// Where the day of a date begins, and where the next one does.
    ///
    /// # Errors
    /// At the edges of the calendar.
    pub fn whole_day(&self, when: When) -> Result<(Instant, Instant), String> {
        let date = self.day_of(when);
        let next = date.tomorrow().map_err(|_| "it is at the edge of the calendar".to_owned())?;
        Ok((self.midnight(date)?, self.midnight(next)?))
    }

    /// The first instant after a period whose end is written so.
    ///
    /// # Errors
    /// At the edges of the calendar.
    pub fn end(&self, when: When, written: LineEnd) -> Result<Instant, String> {
        match written {
            LineEnd::Exclusive => self.begin(when),
            LineEnd::Inclusive | LineEnd::Day => Ok(self.whole_day(when)?.1),
        }
    }

    /// The date that a billing month is named by: `2025-10` and `202510` are months already.
    ///
    /// # Errors
    /// What it must look like.
    pub fn month(&self, text: &str, iso: bool) -> Result<NamedMonth, String> {
        let packed = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
        let month = if packed {
            BillingMonth::parse(&format!("{}-{}", &text[..4], &text[4..]))
        } else {
            BillingMonth::parse(text)
        };
        if let Some(month) = month {
            return Ok(NamedMonth::Month(month));
        }
        let when = self.read(text, iso).or_else(|why| read_iso(text).map_err(|_| why));
        let when = when.map_err(|why| format!("it is no month like 2025-10, and {why}"))?;
        // A date alone is of the provider's calendar here, whatever the zone of other dates.
        let begin = match when {
            When::Day(date) => start_of_day(date, self.zone).map_err(|error| error.to_string())?,
            When::At(instant) | When::Zoneless(instant) => instant,
        };
        Ok(NamedMonth::Within(begin))
    }
}

/// A billing month as a file says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedMonth {
    Month(BillingMonth),
    /// The one that holds this instant.
    Within(Instant),
}

/// ISO 8601: a date, or a date and a time, with or without a zone.
fn read_iso(text: &str) -> Result<When, String> {
    let wrong = || "it is no date like 2025-10-31 or 2025-10-31T08:00:00Z".to_owned();
    if text.len() == 10 {
        return text.parse::<Date>().map(When::Day).map_err(|_| wrong());
    }
    // As some databases print it.
    let text = match text.strip_suffix(" UTC") {
        Some(text) => &format!("{text}Z"),
        None => text,
    };
    // Neither a basic nor a relative form: those begin otherwise.
    let dashes = [4, 7].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
    if !dashes || !matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' ')) {
        return Err(wrong());
    }
    if text.as_bytes().get(16..19) == Some(b":60") {
        return Err("a leap second cannot be placed; it is second 59".to_owned());
    }
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(When::At(Instant::floor(timestamp)));
    }
    let civil: DateTime = text.parse().map_err(|_| wrong())?;
    let utc = civil.to_zoned(TimeZone::UTC).map_err(|_| wrong())?;
    Ok(When::Zoneless(Instant::floor(utc.timestamp())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::time::time_zone;

    fn zone(name: &str) -> TimeZone {
        time_zone(name).expect("a zone")
    }

    #[track_caller]
    fn check(pattern: Option<&str>, text: &str, expected: &str) {
        let format = pattern.map_or(DateFormat::Iso, |pattern| DateFormat::Pattern(pattern.into()));
        let dates = Dates { format: &format, zone: &zone("Europe/Berlin"), in_utc: false };
        let shown = match dates.read(text, false) {
            Ok(When::Day(date)) => format!("day {date}"),
            Ok(When::At(instant)) => format!("at {instant}"),
            Ok(When::Zoneless(instant)) => format!("zoneless {instant}"),
            Err(_) => "refused".to_owned(),
        };
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn iso_dates_have_a_time_and_a_zone_or_not() {
        for (text, expected) in [
            ("2025-10-31", "day 2025-10-31"),
            ("2025-10-31 23:00:00", "zoneless 2025-10-31T23:00:00Z"),
            ("2025-10-31T23:00:00.5", "zoneless 2025-10-31T23:00:00.5Z"),
            ("2025-10-31T23:00", "zoneless 2025-10-31T23:00:00Z"),
            ("2025-10-31T23:00:00Z", "at 2025-10-31T23:00:00Z"),
            ("2025-10-31T23:00Z", "at 2025-10-31T23:00:00Z"),
            ("2025-10-31 23:00:00 UTC", "at 2025-10-31T23:00:00Z"),
            ("2025-11-01T00:00:00.0000000+01:00", "at 2025-10-31T23:00:00Z"),
            ("2025-02-29", "refused"),
            ("2025-10-31T25:00:00Z", "refused"),
            ("2016-12-31T23:59:60Z", "refused"),
            ("20251031", "refused"),
            ("31.10.2025", "refused"),
            ("2025-10", "refused"),
            ("2025-10-31T", "refused"),
            ("2025-10-31x", "refused"),
            ("", "refused"),
            ("NULL", "refused"),
        ] {
            check(None, text, expected);
        }
        check(None, &"2025-10-31".repeat(1000), "refused");
    }

    #[test]
    fn a_pattern_is_the_provider_s_way_to_write() {
        check(Some("%d.%m.%Y"), "31.10.2025", "day 2025-10-31");
        check(Some("%d.%m.%Y"), "2025-10-31", "refused");
        check(Some("%d.%m.%Y"), "31.10.2025 08:00", "refused");
        check(Some("%d.%m.%Y"), "31.02.2025", "refused");
        check(Some("%m/%d/%Y %H:%M"), "10/31/2025 08:30", "zoneless 2025-10-31T07:30:00Z");
        check(Some("%Y%m%d%H%M%S%z"), "20251031080000+0200", "at 2025-10-31T06:00:00Z");
    }

    #[test]
    fn a_pattern_may_be_one_way_of_two() {
        let format = DateFormat::PatternOrIso("%m/%d/%Y".into());
        let dates = Dates { format: &format, zone: &zone("Europe/Berlin"), in_utc: false };
        let day = When::Day(jiff::civil::date(2025, 3, 4));
        for text in ["03/04/2025", "3/4/2025", "2025-03-04"] {
            assert_eq!(dates.read(text, false), Ok(day), "{text}");
        }
        assert!(matches!(dates.read("2025-03-04T00:00:00Z", false), Ok(When::At(_))));
        let refused = dates.read("04.03.2025", false).expect_err("neither");
        assert!(refused.contains("%m/%d/%Y"), "{refused}");
    }

    #[test]
    fn ends_are_instants_after_the_period() {
        let (format, berlin) = (DateFormat::Iso, zone("Europe/Berlin"));
        let provider = Dates { format: &format, zone: &berlin, in_utc: false };
        let utc = Dates { in_utc: true, ..Dates { format: &format, zone: &berlin, in_utc: false } };
        let end = |dates: &Dates<'_>, text: &str, written| {
            let when = dates.read(text, false).expect("a date");
            dates.end(when, written).expect("an instant").to_string()
        };
        assert_eq!(end(&provider, "2025-10-31", LineEnd::Inclusive), "2025-10-31T23:00:00Z");
        assert_eq!(end(&provider, "2025-10-26", LineEnd::Inclusive), "2025-10-26T23:00:00Z", "25 hours");
        assert_eq!(end(&provider, "2025-11-01", LineEnd::Exclusive), "2025-10-31T23:00:00Z");
        assert_eq!(end(&utc, "2025-10-31", LineEnd::Inclusive), "2025-11-01T00:00:00Z");
        // A last second is in the last day.
        assert_eq!(end(&utc, "2025-10-31T23:59:59Z", LineEnd::Inclusive), "2025-11-01T00:00:00Z");
        assert_eq!(end(&provider, "2025-10-31T22:59:59Z", LineEnd::Inclusive), "2025-10-31T23:00:00Z");
        let (from, until) = provider.whole_day(When::Day(jiff::civil::date(2025, 10, 9))).expect("a day");
        assert_eq!(
            (from.to_string().as_str(), until.to_string().as_str()),
            ("2025-10-08T22:00:00Z", "2025-10-09T22:00:00Z")
        );
    }

    #[test]
    fn months_are_named_or_hold_a_date() {
        let format = DateFormat::Pattern("%d.%m.%Y".into());
        let west = zone("America/New_York");
        let dates = Dates { format: &format, zone: &west, in_utc: true };
        let october = BillingMonth::parse("2025-10").expect("a month");
        for text in ["2025-10", "202510"] {
            assert_eq!(dates.month(text, false), Ok(NamedMonth::Month(october)), "{text}");
        }
        for text in ["01.10.2025", "2025-10-01", "2025-10-01T04:00:00Z"] {
            let Ok(NamedMonth::Within(instant)) = dates.month(text, false) else { panic!("{text}") };
            assert_eq!(instant.to_string(), "2025-10-01T04:00:00Z", "{text}");
        }
        assert!(dates.month("October", false).is_err());
    }
}
