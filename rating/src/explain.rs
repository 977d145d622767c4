//! From a charge back to what it is made of: cost line, arithmetic, price, allocation key, events.
//!
//! Nothing is stored for this, and nothing is believed that is stored: what the charge's SKU needs is
//! rated again from the run's pins by the functions that made the run, and every figure of the run's
//! tables is compared with what comes out. Other SKUs are deliberately not looked at, but where what is
//! billed of a charge depends on them.
//!
//! Invariant: the events of a charge that follows usage add up to what was charged.

use crate::allocation::Rule;
use crate::by_invoice::{Known, MonthByInvoice, month_by_invoice};
use crate::catalog::{Catalog, Counts, Meter, Sku};
use crate::error::RatingError;
use crate::exact::{display, exact};
use crate::meter::{Explained, Rules};
use crate::reconcile::Row;
use crate::run::{
    Charge, CostLine, Grounds, Periods, Pins, PoolKey, PostedLine, Resolved, Resolver, StatementLineId,
    Taken, before, bill, estimates, gather, lines_of_sku,
};
use crate::statement::{Biller, GrantId, LineKind, Partners};
use crate::tables::{StoredCharge, StoredLines};
use crate::usage::{AttributedRows, EventRow, LookedFor, UsageKey, UsageTotal};
use schemas::decimal::QuantityTotal;
use schemas::id::CustomerId;
use std::collections::BTreeSet;

/// Everything behind one charge.
#[derive(Debug)]
pub struct Explanation<'a> {
    pub line: CostLine,
    pub charge: Charge,
    /// The lines of statements that have a part of it: the operator's, then a partner's.
    pub posted: Vec<PostedLine>,
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

/// Whom a charge is explained to, and how much of its events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'w> {
    /// The customers whose events alone are looked at; `None` for everybody's.
    pub readers: Option<&'w BTreeSet<CustomerId>>,
    /// The most events that are gathered.
    pub events: usize,
}

/// Whether a charge is explained without what the month rests on: nothing was used, and no line of
/// statements depends on another.
pub fn stands_alone(sku: &Sku, catalog: &Catalog) -> bool {
    matches!(sku.counts, Counts::Nothing)
        && catalog.key_of(sku).is_none()
        && catalog.grants.is_empty()
        && catalog.rates.is_none()
}

/// Gathers what is behind a charge of a run. `known` is what the run rests on, for a charge that does
/// not stand alone, or of a month to which invoices came.
///
/// # Errors
/// When rows cannot be read, what is rated again is not what the run's tables have, or the events do
/// not add up to what was charged.
///
/// # Panics
/// Without what the run rests on where it is needed.
pub async fn explain<'a>(
    (stored, stored_lines): (&StoredCharge, &StoredLines),
    pins: &Pins,
    known: Option<Known<'_>>,
    catalog: &'a Catalog,
    wanted: Wanted<'_>,
) -> Result<Explanation<'a>, RatingError> {
    let usage = known.map(|known| known.usage);
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
    // What is billed of a line may depend on the others: by grants, by the rounding of what is
    // converted, and by invoices.
    let all = match known {
        Some(known) if bills_together(known) => month_by_invoice(pins.clone(), known).await?.run.posted,
        Some(_) | None => {
            let mut alone = [line.clone()];
            bill(&mut alone, pins.month, catalog)?;
            estimates(pins.month, &alone)
        }
    };
    let of_line: Vec<&PostedLine> = all.iter().filter(|posted| posted.cost_line == Some(line.id)).collect();
    stored_lines.compare(&of_line, catalog)?;
    let partners = catalog.partners();
    let theirs = of_line.into_iter().filter(|posted| has_part(posted, &charge, &partners, catalog));
    let posted = theirs.cloned().collect();
    let pool = line.key.pool(catalog);
    let pool =
        pool.ok_or_else(|| RatingError::Damaged(format!("the price of cost line {} is gone", line.id)))?;
    if sku.metered().is_none() {
        let (events, events_total, first) = (0, QuantityTotal::ZERO, Vec::new());
        let scopes = Vec::new();
        return Ok(Explanation {
            line,
            charge,
            posted,
            sku,
            meter: None,
            scopes,
            events,
            events_total,
            first,
        });
    }
    let scopes = gathering.scopes(&pool, catalog, &periods);
    let adds_up = events_add_up(sku);
    let prices = Resolver::new(catalog, &periods);
    let behind = Behind { prices, pool, charge: &charge, adds_up, readers: wanted.readers };
    let (events, events_total) = behind.sum(&totals)?;
    let first = match &rows {
        None => Vec::new(),
        Some(rows) => behind.first(rows, &line, sku, events, wanted.events).await?,
    };
    let meter = sku.metered().and_then(|metered| catalog.meters.get(&metered.meter));
    Ok(Explanation { line, charge, posted, sku, meter, scopes, events, events_total, first })
}

fn bills_together(known: Known<'_>) -> bool {
    let Known { catalog, invoices, .. } = known;
    !catalog.grants.is_empty() || catalog.rates.is_some() || !invoices.is_empty()
}

/// Whether a statement line of a charge's cost line has a part of it. What the funder of a grant pays
/// is no part of the funder's own charges.
fn has_part(line: &PostedLine, charge: &Charge, partners: &Partners, catalog: &Catalog) -> bool {
    let helps = |id: &GrantId| {
        let grant = catalog.grants.iter().find(|grant| grant.id == *id);
        grant.is_some_and(|grant| line.customer.as_ref() == Some(&grant.customer))
    };
    if line.grant.as_ref().is_some_and(|id| !helps(id)) {
        return false;
    }
    let own = charge.customer.as_ref();
    match (&line.biller, own.and_then(|customer| partners.of(customer))) {
        (Biller::Operator, Some(partner)) => line.customer.as_ref() == Some(partner),
        (Biller::Operator, None) => {
            line.customer.as_ref() == own
                && (line.grant.is_some() || line.kind == LineKind::from(charge.kind))
        }
        (Biller::Partner(_), _) => line.customer.as_ref() == own,
    }
}

/// Everything behind one statement line, down to the charges that it has a part of.
#[derive(Debug)]
pub struct ExplainedLine {
    pub line: PostedLine,
    /// `None` of what belongs to no cost line of the month.
    pub cost_line: Option<CostLine>,
    /// The charges of the cost line that it has a part of. The other side of a grant has none.
    pub charges: Vec<Charge>,
    /// All lines of the same part of the month, this one among them: they share its money.
    pub beside: Vec<PostedLine>,
    /// The row of the comparison with invoices that the line is of.
    pub row: Option<Row>,
    /// The line that it corrects.
    pub corrects: Option<PostedLine>,
}

/// Gathers what is behind a statement line of a run.
///
/// # Errors
/// When rows cannot be read, or what is made again is not what the run's tables have.
pub async fn explain_line(
    id: StatementLineId,
    stored: &StoredLines,
    pins: &Pins,
    known: Known<'_>,
) -> Result<ExplainedLine, RatingError> {
    let catalog = known.catalog;
    let MonthByInvoice { run, rows, corrections, closed, .. } = month_by_invoice(pins.clone(), known).await?;
    let all: Vec<&PostedLine> = run.posted.iter().chain(&corrections).collect();
    let gone = || {
        stored.not_reproduced(format!(
            "its tables have statement line {id}, which is not there where it is rated again"
        ))
    };
    let line = *all.iter().find(|line| line.id == id).ok_or_else(gone)?;
    let beside: Vec<&PostedLine> = all
        .iter()
        .copied()
        .filter(|other| {
            (other.month, other.cost_line, &other.of) == (line.month, line.cost_line, &line.of)
                && other.money.currency == line.money.currency
                && other.correction.is_some() == line.correction.is_some()
        })
        .collect();
    stored.compare(&beside, catalog)?;
    // A correction is of a cost line of another month, which this run has not.
    let place = run.cost_lines.iter().position(|of| Some(of.id) == line.cost_line);
    let cost_line = place.map(|place| run.cost_lines[place].clone());
    let partners = catalog.partners();
    let mut charges = Vec::new();
    if let Some(of) = &cost_line {
        charges.extend(of.charges.iter().filter(|charge| has_part(line, charge, &partners, catalog)));
        stored.compare_charges(of, &charges, catalog)?;
    }
    let charges = charges.into_iter().cloned().collect();
    let of_month = closed.iter().find(|(month, _)| *month == line.month).map(|(_, rows)| rows);
    let mut rows = of_month.unwrap_or(&rows).iter();
    let row = rows.find(|row| is_row_of(row, line, place)).cloned();
    let corrects = line.correction.and_then(|correction| correction.corrects);
    let mut posted = known.posted.values().flatten();
    let corrects = corrects.and_then(|corrects| posted.find(|posted| posted.id == corrects)).cloned();
    let beside = beside.into_iter().cloned().collect();
    Ok(ExplainedLine { line: line.clone(), cost_line, charges, beside, row, corrects })
}

/// Whether a row of a comparison is what a line is of: by its cost line, at its place, or by what an
/// invoice says.
fn is_row_of(row: &Row, line: &PostedLine, place: Option<usize>) -> bool {
    let of = &line.of;
    let has_invoice = of.invoice.as_ref().is_none_or(|invoice| row.invoices.contains(invoice));
    match place {
        Some(place) => row.cost_lines.contains(&place) && has_invoice,
        None => {
            has_invoice
                && of.invoice.is_some()
                && (&row.provider, &row.sku, &row.sub_account) == (&of.provider, &of.sku, &of.sub_account)
                && row.currency == line.money.currency
                && (of.sku.is_some() || row.invoice_text == of.description)
        }
    }
}

/// Usage behind a charge.
struct Behind<'a> {
    prices: Resolver<'a>,
    pool: PoolKey,
    charge: &'a Charge,
    /// Whether the values of events are what was charged.
    adds_up: bool,
    /// Whose events alone are looked at, where it is somebody's.
    readers: Option<&'a BTreeSet<CustomerId>>,
}

impl Behind<'_> {
    /// Whether usage of the charge's subject, where it has one, is behind it.
    fn takes(&self, key: &UsageKey) -> bool {
        let follows_usage = self.charge.because.used().is_some();
        matches!(self.prices.resolve(key), Resolved::Rated(found) if found.contains(&self.pool))
            && (!follows_usage || key.customer == self.charge.customer)
            && self.readers.is_none_or(|of| key.customer.as_ref().is_some_and(|own| of.contains(own)))
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
        // A reader who is shown no events of a charge's customer can compare nothing.
        let is_shown =
            |of: &BTreeSet<CustomerId>| self.charge.customer.as_ref().is_some_and(|own| of.contains(own));
        if self.adds_up && self.readers.is_none_or(is_shown) {
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
