//! Instants, half-open periods and calendar months in a time zone.
//!
//! Nothing here reads a clock. Time zones come from the tz database compiled into this program, not
//! from the machine, so the same engine version gives the same periods everywhere.
//!
//! Invariant: a [`Period`] is `[start, end)` with `start < end`; an instant on a boundary belongs
//! to the later period.

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::fmt;

/// An instant in UTC, in whole microseconds since 1970-01-01T00:00:00Z.
///
/// ```
/// # use schemas::time::Instant;
/// let instant = Instant::from_micros(1_000_000).expect("an instant");
/// assert_eq!(instant.to_string(), "1970-01-01T00:00:01Z");
/// assert_eq!(Instant::parse_rfc3339("1970-01-01T01:00:01+01:00"), Ok(instant));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

/// Why a text or a number is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    #[error("it must have a date, a time and an offset, like 2025-10-01T08:00:00Z (RFC 3339, section 5.6)")]
    Shape,
    #[error("it is not an instant: {0}")]
    Invalid(String),
    #[error("it is outside the years -9999 to 9999")]
    OutOfRange,
}

impl Instant {
    /// From microseconds since 1970.
    ///
    /// ```
    /// # use schemas::time::{Instant, TimeError};
    /// assert_eq!(Instant::from_micros(-1).expect("an instant").micros(), -1);
    /// assert_eq!(Instant::from_micros(i64::MAX), Err(TimeError::OutOfRange));
    /// ```
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] outside the years -9999 to 9999.
    pub fn from_micros(micros: i64) -> Result<Self, TimeError> {
        jiff::Timestamp::from_microsecond(micros).map_err(|_| TimeError::OutOfRange)?;
        Ok(Self(micros))
    }

    pub fn micros(self) -> i64 {
        self.0
    }

    /// Reads an RFC 3339 date-time. Digits beyond the microsecond are cut towards the past, so an
    /// instant never crosses into the next period. A leap second (`:60`) is refused: it has no
    /// place of its own in UTC as computers count it.
    ///
    /// ```
    /// # use schemas::time::{Instant, TimeError};
    /// let instant = Instant::parse_rfc3339("2025-10-31T23:59:59.999999999Z").expect("an instant");
    /// assert_eq!(instant.to_string(), "2025-10-31T23:59:59.999999Z");
    /// assert_eq!(Instant::parse_rfc3339("2025-10-31T23:59:59"), Err(TimeError::Shape));
    /// ```
    ///
    /// # Errors
    /// Anything but a full date, time and offset of the proleptic Gregorian calendar.
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimeError> {
        let bytes = text.as_bytes();
        let shape = b"dddd-dd-ddTdd:dd:dd";
        let fits = bytes.len() > shape.len()
            && shape.iter().zip(bytes).all(|(want, have)| match want {
                b'd' => have.is_ascii_digit(),
                b'T' => matches!(have, b'T' | b't'),
                other => other == have,
            });
        if !fits {
            return Err(TimeError::Shape);
        }
        let mut rest = &bytes[shape.len()..];
        if rest[0] == b'.' {
            let digits = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return Err(TimeError::Shape);
            }
            rest = &rest[1 + digits..];
        }
        let offset_fits = match rest {
            [b'Z' | b'z'] => true,
            [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()),
            _ => false,
        };
        if !offset_fits {
            return Err(TimeError::Shape);
        }
        if let [_, hour @ .., b':', _, _] = rest
            && (hour > &b"23"[..] || rest[4] > b'5')
        {
            return Err(TimeError::Invalid(
                "its offset is not of hours up to 23 and minutes up to 59".to_owned(),
            ));
        }
        if &bytes[17..19] == b"60" {
            return Err(TimeError::Invalid(
                "a leap second cannot be placed; report it as second 59".to_owned(),
            ));
        }
        // Nanoseconds are the most jiff reads; more digits change nothing below a microsecond.
        let fraction_end = bytes.len() - rest.len();
        let kept = fraction_end.min(shape.len() + 1 + 9);
        let text = format!("{}{}", &text[..kept], &text[fraction_end..]);
        let timestamp: jiff::Timestamp =
            text.parse().map_err(|error: jiff::Error| TimeError::Invalid(error.to_string()))?;
        Ok(Self::floor(timestamp))
    }

    /// The instant, cut towards the past to whole microseconds.
    ///
    /// ```
    /// # use schemas::time::Instant;
    /// let before_1970 = jiff::Timestamp::from_nanosecond(-1).expect("a timestamp");
    /// assert_eq!(Instant::floor(before_1970).micros(), -1);
    /// ```
    pub fn floor(timestamp: jiff::Timestamp) -> Self {
        let micros = timestamp.as_nanosecond().div_euclid(1000);
        Self(i64::try_from(micros).expect("every jiff timestamp fits in 64 bits of microseconds"))
    }

    pub fn to_timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).expect("an instant was checked when it was made")
    }
}

/// RFC 3339 in UTC, with as many digits as needed: `2025-10-01T08:00:00Z`.
impl fmt::Display for Instant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.to_timestamp().to_string())
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// `[start, end)`, never empty.
///
/// ```
/// # use schemas::time::{Instant, Period};
/// let instant = |micros| Instant::from_micros(micros).expect("an instant");
/// let period = Period::new(instant(10), instant(20)).expect("a period");
/// assert!(period.contains(instant(10)) && !period.contains(instant(20)));
/// assert_eq!(Period::new(instant(10), instant(10)), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    start: Instant,
    end: Instant,
}

impl Period {
    /// `None` unless `start < end`.
    pub fn new(start: Instant, end: Instant) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    pub fn start(self) -> Instant {
        self.start
    }

    pub fn end(self) -> Instant {
        self.end
    }

    pub fn contains(self, instant: Instant) -> bool {
        self.start <= instant && instant < self.end
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[{}, {})", self.start, self.end)
    }
}

/// The time zone of that IANA name, from the compiled-in database.
///
/// ```
/// # use schemas::time::time_zone;
/// assert!(time_zone("Europe/Berlin").is_some());
/// assert!(time_zone("Europe/Atlantis").is_none());
/// ```
pub fn time_zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// The first instant of a date in a time zone. Where midnight does not exist, the first instant
/// after the gap.
///
/// ```
/// # use schemas::time::{start_of_day, time_zone};
/// let zone = time_zone("America/Sao_Paulo").expect("a zone");
/// // Clocks went from 23:59:59 to 01:00:00.
/// let start = start_of_day(jiff::civil::date(2018, 11, 4), &zone).expect("an instant");
/// assert_eq!(start.to_string(), "2018-11-04T03:00:00Z");
/// ```
///
/// # Errors
/// [`TimeError::OutOfRange`] at the edges of the calendar.
pub fn start_of_day(date: Date, zone: &TimeZone) -> Result<Instant, TimeError> {
    let zoned =
        zone.to_ambiguous_zoned(date.at(0, 0, 0, 0)).compatible().map_err(|_| TimeError::OutOfRange)?;
    Ok(Instant::floor(zoned.timestamp()))
}

/// A day of UTC, counted from 1970-01-01.
///
/// ```
/// # use schemas::time::{Day, Instant};
/// let day = Day::of(Instant::parse_rfc3339("2025-11-30T23:59:59Z").expect("an instant").micros());
/// assert_eq!((day.number(), day.first_of_month().number()), (20422, 20393));
/// assert!(day.next().first_of_month() == day.next());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    /// In microseconds. UTC as computers count it has no longer days.
    pub const MICROS: i64 = 86_400_000_000;

    /// The day that holds an instant, given in microseconds since 1970.
    ///
    /// # Panics
    /// Where no [`Instant`] is, by far.
    pub fn of(micros: i64) -> Self {
        let number = micros.div_euclid(Self::MICROS);
        Self(i32::try_from(number).expect("the days of all microseconds fit in 32 bits"))
    }

    pub fn from_number(number: i32) -> Self {
        Self(number)
    }

    pub fn number(self) -> i32 {
        self.0
    }

    /// When it begins, in microseconds since 1970.
    pub fn start(self) -> i64 {
        i64::from(self.0) * Self::MICROS
    }

    /// When it ends.
    pub fn end(self) -> i64 {
        self.start() + Self::MICROS
    }

    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The first day of its month.
    ///
    /// # Panics
    /// Outside the years -9999 to 9999.
    pub fn first_of_month(self) -> Self {
        let date = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(self.0);
        Self(self.0 + 1 - i32::from(date.day()))
    }

    /// The first day of the month after its own.
    ///
    /// # Panics
    /// As [`Self::first_of_month`].
    pub fn first_of_next_month(self) -> Self {
        // The 32nd day of any month is in the next one.
        Self(self.first_of_month().0 + 31).first_of_month()
    }
}

/// A calendar month, like `2025-10`. It becomes a [`Period`] only in a time zone.
///
/// ```
/// # use schemas::time::BillingMonth;
/// let month = BillingMonth::parse("2025-10").expect("a month");
/// assert_eq!(month.to_string(), "2025-10");
/// assert_eq!((BillingMonth::parse("2025-13"), BillingMonth::parse("2025-1")), (None, None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BillingMonth {
    year: i16,
    month: i8,
}

impl BillingMonth {
    /// Reads `YYYY-MM`.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let digits =
            |text: &str, width: usize| text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return None;
        }
        let date = Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
        Some(Self { year: date.year(), month: date.month() })
    }

    /// The month of UTC that holds an instant.
    ///
    /// ```
    /// # use schemas::time::{BillingMonth, Instant};
    /// let instant = Instant::parse_rfc3339("2025-11-01T01:00:00+02:00").expect("an instant");
    /// assert_eq!(BillingMonth::in_utc(instant).to_string(), "2025-10");
    /// ```
    pub fn in_utc(instant: Instant) -> Self {
        let date = instant.to_timestamp().to_zoned(TimeZone::UTC).date();
        Self { year: date.year(), month: date.month() }
    }

    /// The first and the last of the months that some zone may be in at an instant: no zone is a day
    /// away from UTC.
    ///
    /// ```
    /// # use schemas::time::{BillingMonth, Instant};
    /// let instant = Instant::parse_rfc3339("2025-10-31T12:00:00Z").expect("an instant");
    /// let (first, last) = BillingMonth::anywhere(instant);
    /// assert_eq!((first.to_string().as_str(), last.to_string().as_str()), ("2025-10", "2025-11"));
    /// ```
    pub fn anywhere(instant: Instant) -> (Self, Self) {
        // At the edge of the calendar there is no other month.
        let month = |micros: i64| Self::in_utc(Instant::from_micros(micros).unwrap_or(instant));
        (month(instant.micros() - Day::MICROS), month(instant.micros() + Day::MICROS))
    }

    /// Its first day.
    ///
    /// ```
    /// # use schemas::time::BillingMonth;
    /// let month = BillingMonth::parse("2025-10").expect("a month");
    /// assert_eq!(month.first_day().to_string(), "2025-10-01");
    /// ```
    pub fn first_day(self) -> Date {
        Date::new(self.year, self.month, 1).expect("a month was checked when it was made")
    }

    /// The month after it; `None` at the edge of the calendar.
    ///
    /// ```
    /// # use schemas::time::BillingMonth;
    /// let month = BillingMonth::parse("2025-12").expect("a month");
    /// assert_eq!(month.next().expect("a month").to_string(), "2026-01");
    /// ```
    pub fn next(self) -> Option<Self> {
        let first = self.first_day().last_of_month().tomorrow().ok()?;
        Some(Self { year: first.year(), month: first.month() })
    }

    /// The month before it; `None` where the calendar begins.
    ///
    /// ```
    /// # use schemas::time::BillingMonth;
    /// let month = BillingMonth::parse("2025-01").expect("a month");
    /// assert_eq!(month.previous(), BillingMonth::parse("2024-12"));
    /// ```
    pub fn previous(self) -> Option<Self> {
        let date = self.first_day().yesterday().ok()?;
        Some(Self { year: date.year(), month: date.month() })
    }

    /// The month that an instant is in, in a time zone; `None` beyond the years that a month may have.
    ///
    /// ```
    /// # use schemas::time::{BillingMonth, Instant, time_zone};
    /// let last_hour = Instant::parse_rfc3339("2025-10-31T23:00:00Z").expect("an instant");
    /// let month = |zone| BillingMonth::containing(last_hour, &time_zone(zone).expect("a zone"));
    /// assert_eq!(month("UTC"), BillingMonth::parse("2025-10"));
    /// assert_eq!(month("Europe/Berlin"), BillingMonth::parse("2025-11"));
    /// ```
    pub fn containing(instant: Instant, zone: &TimeZone) -> Option<Self> {
        let date = instant.to_timestamp().to_zoned(zone.clone()).date();
        (0..=9999).contains(&date.year()).then_some(Self { year: date.year(), month: date.month() })
    }

    /// The month in that zone: 28 to 31 days, up to an hour or so longer or shorter where clocks
    /// change.
    ///
    /// ```
    /// # use schemas::time::{BillingMonth, time_zone};
    /// let month = BillingMonth::parse("2025-10").expect("a month");
    /// let zone = time_zone("Europe/Berlin").expect("a zone");
    /// let period = month.period_in(&zone).expect("a period");
    /// // Summer time ends within it.
    /// assert_eq!(period.to_string(), "[2025-09-30T22:00:00Z, 2025-10-31T23:00:00Z)");
    /// ```
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] at the edges of the calendar.
    pub fn period_in(self, zone: &TimeZone) -> Result<Period, TimeError> {
        Anchor::FIRST.period(self, zone)
    }
}

/// The day of a month on which billing periods begin, or the month's last where it has no such day.
///
/// ```
/// # use schemas::time::{Anchor, BillingMonth, time_zone};
/// let period = |anchor: &str, month: &str| {
///     let month = BillingMonth::parse(month).expect("a month");
///     let zone = time_zone("UTC").expect("a zone");
///     Anchor::parse(anchor).expect("a day").period(month, &zone).expect("a period").to_string()
/// };
/// assert_eq!(period("1", "2025-02"), "[2025-02-01T00:00:00Z, 2025-03-01T00:00:00Z)");
/// // The period of a month is the one whose last day lies in it.
/// assert_eq!(period("31", "2025-12"), "[2025-11-30T00:00:00Z, 2025-12-31T00:00:00Z)");
/// assert_eq!(period("15", "2025-01"), "[2024-12-15T00:00:00Z, 2025-01-15T00:00:00Z)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Anchor(i8);

impl Anchor {
    pub const FIRST: Self = Self(1);

    /// A day from 1 to 31, without leading zeros; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let day: i8 = text.parse().ok()?;
        ((1..=31).contains(&day) && day.to_string() == text).then_some(Self(day))
    }

    /// The billing period of a month in a time zone.
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] at the edges of the calendar.
    pub fn period(self, month: BillingMonth, zone: &TimeZone) -> Result<Period, TimeError> {
        let first = month.first_day();
        let (start, end) = match self {
            Self::FIRST => (first, first.last_of_month().tomorrow().map_err(|_| TimeError::OutOfRange)?),
            _ => (self.in_month(first.yesterday().map_err(|_| TimeError::OutOfRange)?), self.in_month(first)),
        };
        Period::new(start_of_day(start, zone)?, start_of_day(end, zone)?).ok_or(TimeError::OutOfRange)
    }

    /// Whether a billing period begins on a date.
    pub fn begins_on(self, date: Date) -> bool {
        self.in_month(date) == date
    }

    /// The beginning within the month that a date is in.
    fn in_month(self, date: Date) -> Date {
        let last = date.last_of_month();
        if self.0 >= last.day() {
            last
        } else {
            date.first_of_month().with().day(self.0).build().unwrap_or(last)
        }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Display for BillingMonth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match Instant::parse_rfc3339(text) {
            Ok(instant) => instant.to_string(),
            Err(TimeError::Shape) => "shape".to_owned(),
            Err(_) => "invalid".to_owned(),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn instants_need_date_time_and_offset() {
        check("2025-10-01T08:00:00Z", "2025-10-01T08:00:00Z");
        check("2025-10-21T02:00:00+02:00", "2025-10-21T00:00:00Z");
        check("2025-10-21T02:00:00-00:00", "2025-10-21T02:00:00Z");
        check("2025-10-21t02:00:00z", "2025-10-21T02:00:00Z");
        check("2025-10-21T02:00:00+23:59", "2025-10-20T02:01:00Z");
        check("2025-10-19T23:59:59.999999Z", "2025-10-19T23:59:59.999999Z");
        check("2025-10-19T23:59:59.9999999999999999Z", "2025-10-19T23:59:59.999999Z");
        check("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z");
        check("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z");
        for shape in [
            "2025-10-01",
            "2025-10-01T00:00:00",
            "2025-10-01 00:00:00Z",
            "20251001T000000Z",
            "2025-10-01T00:00Z",
            "2025-10-01T00:00:00+02",
            "2025-10-01T00:00:00.Z",
            "2025-10-01T00:00:00Z[UTC]",
            "",
            "now",
        ] {
            check(shape, "shape");
        }
        for invalid in [
            "2025-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2025-10-01T24:00:00Z",
            "2016-12-31T23:59:60Z",
            "2025-10-01T00:00:00+99:00",
            "2025-10-01T00:00:00+24:00",
            "2025-10-01T00:00:00-23:60",
        ] {
            check(invalid, "invalid");
        }
    }

    #[test]
    fn a_month_is_as_long_as_its_zone_says() {
        let month = BillingMonth::parse("2025-10").expect("a month");
        let period =
            |zone: &str| month.period_in(&time_zone(zone).expect("a zone")).expect("a period").to_string();
        assert_eq!(period("UTC"), "[2025-10-01T00:00:00Z, 2025-11-01T00:00:00Z)");
        assert_eq!(period("Europe/Berlin"), "[2025-09-30T22:00:00Z, 2025-10-31T23:00:00Z)");
        assert_eq!(period("Asia/Kathmandu"), "[2025-09-30T18:15:00Z, 2025-10-31T18:15:00Z)");
        assert!(BillingMonth::parse("2025-13").is_none());
        assert!(BillingMonth::parse("2025-1").is_none());
    }
}
