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
    lines_of_sku,
};
use crate::tables::StoredCharge;
use crate::usage::{AttributedRows, CountedRows, EventRow, LookedFor, UsageKey, UsageTotal};
use schemas::decimal::QuantityTotal;

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
    let line = line.ok_or_else(|| gone(&format!("cost line {}", stored.cost_line)))?;
    let charge = line.charges.iter().find(|charge| charge.id == stored.id).cloned();
    let charge = charge.ok_or_else(|| gone(&format!("charge {}", stored.id)))?;
    stored.compare(&line, &charge, catalog)?;
    let pool = line.key.pool(catalog);
    let pool =
        pool.ok_or_else(|| RatingError::Damaged(format!("the price of cost line {} is gone", line.id)))?;
    if sku.metered().is_none() {
        let (events, events_total, first) = (0, QuantityTotal::ZERO, Vec::new());
        let scopes = Vec::new();
        return Ok(Explanation { line, charge, sku, meter: None, scopes, events, events_total, first });
    }
    let scopes = gathering.scopes(&pool, catalog, &periods);
    let adds_up = events_add_up(sku);
    let behind = Behind { prices: Resolver::new(catalog, &periods), pool, charge: &charge, adds_up };
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
}

impl Behind<'_> {
    /// Whether usage of the charge's subject, where it has one, is behind it.
    fn takes(&self, key: &UsageKey) -> bool {
        let follows_usage = self.charge.because.used().is_some();
        matches!(self.prices.resolve(key), Resolved::Rated(found) if found.contains(&self.pool))
            && (!follows_usage || key.customer == self.charge.customer)
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
        if self.adds_up {
            adds_up(self.charge, sum)?;
        }
        Ok((events, sum))
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
        let most = listed(events, most);
        let Some(metered) = sku.metered().filter(|_| most > 0) else { return Ok(Vec::new()) };
        let subjects = self.charge.subject.iter().collect();
        let within = line.key.charge_period;
        let looked_for = LookedFor { meter: &metered.events, subjects: &subjects, within };
        let kind = |key: &UsageKey| self.takes(key).then_some(());
        let first = rows.first_events(looked_for, [((), most)].into(), kind).await?;
        found(self.charge, first.into_values().flatten().collect(), most)
    }
}

/// Whether the events of a SKU's charges have what was charged: where their values are added up.
pub(crate) fn events_add_up(sku: &Sku) -> bool {
    sku.metered().is_some_and(|metered| metered.rules == Rules::SUM)
        && !matches!(sku.allocation, Rule::ByMeter { .. })
}

/// Compares what the events of a charge come to with what was charged.
pub(crate) fn adds_up(charge: &Charge, sum: QuantityTotal) -> Result<(), RatingError> {
    match charge.because.used() {
        Some(charged) if *charged != exact(sum) => Err(RatingError::Unbalanced {
            whole: format!("charge {}", charge.id),
            parts: "its events",
            sum: sum.to_string(),
            expected: format!("the {} that was charged", display(charged)),
        }),
        Some(_) | None => Ok(()),
    }
}

/// How many of some events are listed.
pub(crate) fn listed(events: u64, most: usize) -> usize {
    usize::try_from(events).map_or(most, |events| most.min(events))
}

/// The events that were found, which are as many as usage totals say.
pub(crate) fn found(
    charge: &Charge,
    first: Vec<EventRow>,
    expected: usize,
) -> Result<Vec<EventRow>, RatingError> {
    if first.len() == expected {
        return Ok(first);
    }
    Err(RatingError::Unbalanced {
        whole: format!("charge {}", charge.id),
        parts: "the events that were found in the rows of the ledger",
        sum: first.len().to_string(),
        expected: format!("the {expected} that usage totals have at least"),
    })
}
