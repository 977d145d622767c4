//! What the importer is told beside a file and its mapping.

use jiff::tz::TimeZone;
use schemas::id::{BillingAccountId, InvoiceId, ProviderId};
use schemas::time::{Anchor, BillingMonth, Instant, Period};

/// Whose invoices they are.
#[derive(Debug, Clone)]
pub struct Issuer {
    pub provider: ProviderId,
    /// Of lines that name none.
    pub billing_account: BillingAccountId,
    pub zone: TimeZone,
    /// The day on which its billing periods begin.
    pub anchor: Anchor,
}

/// What an operator says of a file, where the file does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub invoice: Option<InvoiceId>,
    pub period: Option<BillingMonth>,
    /// The file is a part of its invoice, and its total does not count.
    pub partial: bool,
}

impl Issuer {
    /// The billing period that an instant lies in.
    ///
    /// # Errors
    /// At the edges of the calendar.
    pub fn period_of(&self, instant: Instant) -> Result<(BillingMonth, Period), String> {
        let edge = || format!("{instant} is in no month that can be billed");
        let month = BillingMonth::containing(instant, &self.zone).ok_or_else(edge)?;
        // A period that begins on another day than the first is named by the month that it ends in.
        for month in [Some(month), month.next()].into_iter().flatten() {
            let period = self.anchor.period(month, &self.zone).map_err(|error| error.to_string())?;
            if period.contains(instant) {
                return Ok((month, period));
            }
        }
        Err(edge())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::time::time_zone;

    #[test]
    fn an_instant_is_in_one_billing_period() {
        let issuer = |anchor: &str, zone: &str| Issuer {
            provider: ProviderId::new("p").expect("a name"),
            billing_account: BillingAccountId::new("b").expect("a name"),
            zone: time_zone(zone).expect("a zone"),
            anchor: Anchor::parse(anchor).expect("a day"),
        };
        for (anchor, zone, instant, month) in [
            ("1", "UTC", "2025-09-30T22:00:00Z", "2025-09"),
            ("1", "Europe/Berlin", "2025-09-30T22:00:00Z", "2025-10"),
            ("15", "UTC", "2025-10-14T23:59:59Z", "2025-10"),
            ("15", "UTC", "2025-10-15T00:00:00Z", "2025-11"),
            ("31", "UTC", "2025-11-30T00:00:00Z", "2025-12"),
        ] {
            let instant = Instant::parse_rfc3339(instant).expect("an instant");
            let (found, period) = issuer(anchor, zone).period_of(instant).expect("a month");
            assert_eq!(found.to_string(), month, "{anchor} {zone} {instant}");
            assert!(period.contains(instant));
        }
    }
}
