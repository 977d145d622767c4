//! From a charge back to what it is made of: cost line, arithmetic, price, allocation key, events.
//!
//! Nothing is stored for this, and nothing is believed that is stored: what the charge's SKU needs is
//! rated again from the run's pins by the functions that made the run, and every figure of the run's
//! tables is compared with what comes out. Other SKUs are deliberately not looked at.
//!
//! Invariant: the events of a charge that follows usage add up to what was charged.

use crate::allocation::Rule;
use crate::catalog::{Catalog, Counts, Meter, Sku};
use crate::error::RatingError;
use crate::exact::{display, exact};
use crate::meter::{Explained, Rules};
use crate::run::{
    Charge, CostLine, Grounds, Periods, Pins, PoolKey, Resolved, Resolver, Taken, before, gather,
    lines_of_sku, rate,
};
use crate::tables::StoredCharge;
use crate::usage::{AttributedRows, CountedRows, EventRow, LookedFor, UsageKey, UsageTotal};
use schemas::decimal::QuantityTotal;
use schemas::id::CustomerId;

/// Everything behind one charge.
#[derive(Debug)]
pub struct Explanation<'a> {
    pub line: CostLine,
    pub charge: Charge,
    pub sku: &'a Sku,
    /// The meter that the SKU counts by; `None` where it is billed without usage.
    pub meter: Option<&'a Meter>,
    /// Where the meter does not just add up: each scope's quantity, in the unit of the line, and the
    /// windows that it is made of.
    pub scopes: Vec<Explained>,
    /// How many events have the quantities that make up the charge; of a charge that does not follow
    /// usage, those of the cost line.
    pub events: u64,
    /// Σ of their quantities, in the meter's unit.
    pub events_total: QuantityTotal,
    /// The first of them, in ledger order.
    pub first: Vec<EventRow>,
}

/// Whether what is billed of a line depends on other lines: by grants, or by the rounding of what is
/// converted.
pub fn bills_together(catalog: &Catalog) -> bool {
    !catalog.grants.is_empty() || catalog.rates.is_some()
}

/// The SKU of a charge, by its provider's price list and its place there.
///
/// # Errors
/// [`RatingError::NotReproduced`] where the catalog has none.
pub fn sku_of<'c>(stored: &StoredCharge, catalog: &'c Catalog) -> Result<&'c Sku, RatingError> {
    let sku = catalog.providers.get(&stored.provider).and_then(|provider| provider.sku(&stored.sku));
    sku.ok_or_else(|| {
        stored.not_reproduced(format!("the catalog has no SKU {} of {}", stored.sku, stored.provider))
    })
}

/// Gathers what is behind a charge of a run, with at most `most` of its events. `usage` are the rows
/// of the run's ledger, for a SKU that is priced by usage, or by lines that may be.
///
/// # Errors
/// When rows cannot be read, what is rated again is not what the run's tables have, or the events do
/// not add up to what was charged.
///
/// # Panics
/// Without rows for such a SKU.
pub async fn explain<'a>(
    stored: &StoredCharge,
    pins: &Pins,
    usage: Option<&CountedRows>,
    catalog: &'a Catalog,
    most: usize,
) -> Result<Explanation<'a>, RatingError> {
    explain_to(None, stored, pins, usage, catalog, most).await
}

/// As [`explain`], with the events of one customer alone, where there is one.
///
/// # Errors
/// As [`explain`].
///
/// # Panics
/// As [`explain`], and without rows for a catalog with grants or rates of exchange: then every line of
/// the month is rated again, because what is billed of one depends on the others.
pub async fn explain_to<'a>(
    reader: Option<&CustomerId>,
    stored: &StoredCharge,
    pins: &Pins,
    usage: Option<&CountedRows>,
    catalog: &'a Catalog,
    most: usize,
) -> Result<Explanation<'a>, RatingError> {
    let sku = sku_of(stored, catalog)?;
    let provider = &catalog.providers[&stored.provider];
    let index = provider.skus.iter().position(|known| known.id == sku.id).expect("the SKU is one of these");
    let periods = Periods::of(pins.month, catalog)?;
    let (mut rows, mut totals, mut taken) = (None, Vec::new(), Taken::default());
    match &sku.counts {
        Counts::Nothing => {}
        Counts::Usage(metered) => {
            let usage = usage.expect("a SKU with a meter is explained by rows");
            if let Some(cuts) = periods.cuts_of(catalog, &provider.id, &metered.events) {
                let of_meter = usage.attributed(catalog, cuts).await?.of_meter(&metered.events);
                totals = of_meter.totals().await?;
                rows = Some(of_meter);
            }
        }
        // Whatever it stands on is rated, too.
        Counts::Lines(_) => {
            let usage = usage.expect("a SKU on other lines is explained by their rows");
            taken = before(pins.month, Some(usage), catalog).await?.taken;
            totals = usage.attributed(catalog, periods.cuts(catalog)).await?.totals().await?;
        }
    }
    let of = (provider, index);
    let needed = provider.stands_on(index);
    let grounds =
        Grounds::of(catalog, &periods, |known, place| known.id == provider.id && needed.contains(&place));
    let gathering = gather(&grounds, usage, catalog, &periods).await?;
    let lines = lines_of_sku((totals.clone(), &gathering), pins.month, catalog, &periods, of, &taken)?;
    let gone = |what: &str| {
        stored.not_reproduced(format!("its tables have {what}, which is not there where it is rated again"))
    };
    let line = lines.into_iter().find(|line| line.id == stored.cost_line);
    let mut line = line.ok_or_else(|| gone(&format!("cost line {}", stored.cost_line)))?;
    let charge = line.charges.iter().find(|charge| charge.id == stored.id).cloned();
    let charge = charge.ok_or_else(|| gone(&format!("charge {}", stored.id)))?;
    stored.compare(&line, &charge, catalog)?;
    if bills_together(catalog) {
        let usage = usage.expect("a catalog with grants or rates is explained by rows");
        let run = rate(pins.clone(), usage, catalog).await?;
        let whole = run.cost_lines.into_iter().find(|whole| whole.id == line.id);
        let whole = whole.ok_or_else(|| gone(&format!("cost line {}", line.id)))?;
        line.statement_lines = whole.statement_lines;
    }
    let pool = line.key.pool(catalog);
    let pool =
        pool.ok_or_else(|| RatingError::Damaged(format!("the price of cost line {} is gone", line.id)))?;
    if sku.metered().is_none() {
        let (events, events_total, first) = (0, QuantityTotal::ZERO, Vec::new());
        let scopes = Vec::new();
        return Ok(Explanation { line, charge, sku, meter: None, scopes, events, events_total, first });
    }
    let scopes = gathering.scopes(&pool, catalog, &periods);
    let adds_up = sku.metered().is_some_and(|metered| metered.rules == Rules::SUM)
        && !matches!(sku.allocation, Rule::ByMeter { .. });
    let prices = Resolver::new(catalog, &periods);
    let behind = Behind { prices, pool, charge: &charge, adds_up, reader };
    let (events, events_total) = behind.sum(&totals)?;
    let first = match &rows {
        None => Vec::new(),
        Some(rows) => behind.first(rows, &line, sku, events, most).await?,
    };
    let meter = sku.metered().and_then(|metered| catalog.meters.get(&metered.meter));
    Ok(Explanation { line, charge, sku, meter, scopes, events, events_total, first })
}

/// Usage behind a charge.
struct Behind<'a> {
    prices: Resolver<'a>,
    pool: PoolKey,
    charge: &'a Charge,
    /// Whether the values of events are what was charged.
    adds_up: bool,
    /// Whose events alone are looked at, where it is somebody's.
    reader: Option<&'a CustomerId>,
}

impl Behind<'_> {
    /// Whether usage of the charge's subject, where it has one, is behind it.
    fn takes(&self, key: &UsageKey) -> bool {
        let follows_usage = self.charge.because.used().is_some();
        matches!(self.prices.resolve(key), Resolved::Rated(found) if found.contains(&self.pool))
            && (!follows_usage || key.customer == self.charge.customer)
            && (self.reader.is_none() || key.customer.as_ref() == self.reader)
    }

    /// How many events there are, and what they add up to, which is what was charged.
    fn sum(&self, totals: &[UsageTotal]) -> Result<(u64, QuantityTotal), RatingError> {
        let of_subject =
            |key: &UsageKey| self.charge.subject.as_ref().is_none_or(|subject| *subject == key.subject);
        let (mut events, mut sum) = (0, QuantityTotal::ZERO);
        for total in totals.iter().filter(|total| of_subject(&total.key) && self.takes(&total.key)) {
            let too_large =
                RatingError::overflow(format!("the sum of the events of charge {}", self.charge.id));
            sum = sum.checked_add(total.quantity).map_err(too_large)?;
            events += total.events;
        }
        match self.charge.because.used().filter(|_| self.adds_up) {
            Some(charged) if *charged != exact(sum) => Err(RatingError::Unbalanced {
                whole: format!("charge {}", self.charge.id),
                parts: "its events",
                sum: sum.to_string(),
                expected: format!("the {} that was charged", display(charged)),
            }),
            Some(_) | None => Ok((events, sum)),
        }
    }

    /// The first of the `events` that there are.
    async fn first(
        &self,
        rows: &AttributedRows<'_>,
        line: &CostLine,
        sku: &Sku,
        events: u64,
        most: usize,
    ) -> Result<Vec<EventRow>, RatingError> {
        let most = usize::try_from(events).map_or(most, |events| most.min(events));
        let Some(metered) = sku.metered().filter(|_| most > 0) else { return Ok(Vec::new()) };
        let looked_for = LookedFor {
            meter: &metered.events,
            subject: self.charge.subject.as_ref(),
            within: line.key.charge_period,
            most,
        };
        let first = rows.first_events(looked_for, |key| self.takes(key)).await?;
        if first.len() == most {
            return Ok(first);
        }
        Err(RatingError::Unbalanced {
            whole: format!("charge {}", self.charge.id),
            parts: "the events that were found in the rows of the ledger",
            sum: first.len().to_string(),
            expected: format!("the {most} that usage totals have at least"),
        })
    }
}
