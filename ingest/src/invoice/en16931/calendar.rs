//! The provider's days and billing periods, and which of them something covers.
//!
//! Invariant: what is covered has a begin before its end.

use super::document::Days;
use super::refusal::Refusal;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemas::time::{Anchor, BillingMonth, Instant, Period, start_of_day};

/// Whose days begin when.
#[derive(Debug, Clone, Copy)]
pub struct Calendar<'a> {
    pub zone: &'a TimeZone,
    /// The day on which billing periods begin.
    pub anchor: Anchor,
}

impl Calendar<'_> {
    /// The billing month of a day.
    ///
    /// # Errors
    /// At the edge of the calendar.
    pub fn month_of(self, day: Date) -> Result<BillingMonth, Refusal> {
        let edge = || Refusal::File(format!("{day} is in no month that can be billed"));
        let begin = start_of_day(day, self.zone).map_err(|_| edge())?;
        let month = BillingMonth::containing(begin, self.zone).ok_or_else(edge)?;
        // A period that begins on another day than the first is named by the month that it ends in.
        let mut months = [Some(month), month.next()].into_iter().flatten();
        let holds = |month: &BillingMonth| {
            self.anchor.period(*month, self.zone).is_ok_and(|period| period.contains(begin))
        };
        months.find(holds).ok_or_else(edge)
    }

    /// The billing period of a month.
    ///
    /// # Errors
    /// At the edge of the calendar.
    pub fn period(self, month: BillingMonth) -> Result<Period, Refusal> {
        self.anchor.period(month, self.zone).map_err(|error| Refusal::File(error.to_string()))
    }

    /// From the begin of the first day to the end of the last; what is not said is the billing period's,
    /// and where that makes no sense beside what is said, the one day that is. `at` is where it is said.
    ///
    /// # Errors
    /// An end before the begin, and days at the edge of the calendar.
    pub fn span(self, days: Days, billed: Period, at: u32) -> Result<Period, Refusal> {
        if let (Some(first), Some(last)) = (days.first, days.last)
            && last < first
        {
            return Err(Refusal::at(at, format!("a period ends on {last}, before it begins on {first}")));
        }
        let start = days.first.map_or(Ok(billed.start()), |first| self.midnight(first, at))?;
        let end = days.last.map_or(Ok(billed.end()), |last| self.midnight_after(last, at))?;
        if let Some(period) = Period::new(start, end) {
            return Ok(period);
        }
        let day = days.first.or(days.last).expect("a billing period does not end before it begins");
        Period::new(self.midnight(day, at)?, self.midnight_after(day, at)?)
            .ok_or_else(|| Refusal::at(at, format!("{day} has no length in this time zone")))
    }

    fn midnight(self, day: Date, at: u32) -> Result<Instant, Refusal> {
        start_of_day(day, self.zone).map_err(|error| Refusal::at(at, error.to_string()))
    }

    fn midnight_after(self, day: Date, at: u32) -> Result<Instant, Refusal> {
        let next = day.tomorrow().map_err(|error| Refusal::at(at, error.to_string()))?;
        self.midnight(next, at)
    }
}
