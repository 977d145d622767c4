//! A month by its invoices: rated, compared, passed through, and what it corrects of closed months.
//!
//! Each step has a room of its own; here they are put in order. Nothing is written.
//!
//! Invariant: what is posted of a closed month in its own and in all later ones adds up, key by key,
//! to what the month is now, unless something in it is open.

use crate::catalog::Catalog;
use crate::correct::corrections;
use crate::error::RatingError;
use crate::exact::Exact;
use crate::reconcile::{
    Comparison, Decision, Given, Question, Reconciled, Row, Status, apply, grant_of, months_of, post,
    reconciles_to_invoice, standing_invoices,
};
use crate::run::{Granted, Pins, PostedLine, Run, rate};
use crate::usage::CountedRows;
use crate::within::quantities_within;
use schemas::invoice::Invoice;
use schemas::time::BillingMonth;
use std::collections::{BTreeMap, BTreeSet};

/// What a month rests on beside its pins.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub usage: &'a CountedRows,
    pub catalog: &'a Catalog,
    /// All versions of all invoices in the order in which they were imported, less those that were
    /// withdrawn.
    pub invoices: &'a [Invoice],
    /// In the order of the journal.
    pub decisions: &'a [Decision],
    /// What was posted in each month that is closed, corrections of earlier months among it.
    pub posted: &'a BTreeMap<BillingMonth, Vec<PostedLine>>,
}

/// A month by its invoices.
#[derive(Debug, Clone)]
pub struct MonthByInvoice {
    /// `posted` is what is passed through.
    pub run: Run,
    pub rows: Vec<Row>,
    /// Of closed months, where the month is the open one.
    pub corrections: Vec<PostedLine>,
    /// The rows of the months that are closed, where the month is the open one.
    pub closed: Vec<(BillingMonth, Vec<Row>)>,
    /// Whether invoices come to what is posted of them in all closed months and this one.
    pub reconciled: Vec<Reconciled>,
}

impl Known<'_> {
    /// The month after the last that is closed; before any is, the one that is asked for.
    pub fn open(&self, asked: BillingMonth) -> BillingMonth {
        self.posted.keys().next_back().and_then(|last| last.next()).unwrap_or(asked)
    }
}

/// Rates a month and every other one that it hangs together with.
///
/// # Errors
/// When rows cannot be read, an invoice does not fit, a number does not, or an invariant does not hold.
pub async fn month_by_invoice(pins: Pins, known: Known<'_>) -> Result<MonthByInvoice, RatingError> {
    let (month, open) = (pins.month, known.open(pins.month));
    let mut months = Months { pins, known, compared: BTreeMap::new() };
    let own = months.posted(month).await?;
    let (mut corrected, mut closed) = (Vec::new(), Vec::new());
    if month == open {
        let then: Vec<PostedLine> = known.posted.values().flatten().cloned().collect();
        for of in known.posted.keys() {
            let afresh = months.posted(*of).await?;
            let rows = months.rows(*of).await?.to_vec();
            let is_open = rows.iter().any(|row| row.status == Some(Status::Open));
            closed.push((*of, rows));
            if !is_open {
                corrected.append(&mut corrections(*of, open, &then, &afresh)?);
            }
        }
    }
    let (run, rows) = months.compared.remove(&month).expect("it was posted");
    let is_posted = known.posted.contains_key(&month);
    let now = own.iter().filter(|_| !is_posted).chain(&corrected);
    let posted = known.posted.values().flatten().chain(now);
    let standing = standing_invoices(known.invoices);
    let reconciled = reconciles_to_invoice(posted, standing, open, known.catalog)?;
    Ok(MonthByInvoice { run: Run { posted: own, ..run }, rows, corrections: corrected, closed, reconciled })
}

/// The rows of a month, decisions applied. Nothing is passed through, so that a decision that cannot be
/// passed can still be taken back.
///
/// # Errors
/// As [`month_by_invoice`], but for what is passed through.
pub async fn compared(pins: Pins, known: Known<'_>) -> Result<Vec<Row>, RatingError> {
    let month = pins.month;
    let (_, rows) = Months { pins, known, compared: BTreeMap::new() }.compare(month).await?;
    Ok(rows)
}

/// Months, each rated and compared once.
struct Months<'a> {
    pins: Pins,
    known: Known<'a>,
    compared: BTreeMap<BillingMonth, (Run, Vec<Row>)>,
}

impl Months<'_> {
    /// What is passed through in a month.
    async fn posted(&mut self, month: BillingMonth) -> Result<Vec<PostedLine>, RatingError> {
        let granted = self.granted(month).await?;
        let rows = self.sharing(month).await?;
        let Known { catalog, invoices, .. } = self.known;
        post(&self.compared[&month].0, &rows, invoices, catalog, &granted)
    }

    /// The rows of a month, and of every other one that its invoices have lines in.
    async fn sharing(&mut self, month: BillingMonth) -> Result<Vec<Row>, RatingError> {
        let Known { catalog, invoices, posted, .. } = self.known;
        let closed: BTreeSet<BillingMonth> = posted.keys().copied().collect();
        let mut rows = self.rows(month).await?.to_vec();
        let of_month: BTreeSet<usize> =
            rows.iter().flat_map(|row| &row.lines).map(|line| line.invoice).collect();
        let mut others = BTreeSet::new();
        for invoice in of_month {
            others.extend(months_of(&invoices[invoice], catalog, &closed, self.pins.month)?);
        }
        others.remove(&month);
        for other in others {
            rows.extend_from_slice(self.rows(other).await?);
        }
        Ok(rows)
    }

    /// What grants pay of the months before, each as it is now: what was posted of it and what corrects
    /// that come to the same.
    async fn granted(&mut self, month: BillingMonth) -> Result<Granted, RatingError> {
        let mut granted = Granted::default();
        let Known { catalog, invoices, .. } = self.known;
        // A grant takes what others have left, so that all are asked from the first one on.
        let first = catalog.grants.iter().map(|grant| grant.from).min();
        let mut next = first.filter(|_| catalog.grants.iter().any(|grant| grant.is_for(month)));
        while let Some(earlier) = next.filter(|earlier| *earlier < month) {
            let rows = self.sharing(earlier).await?;
            grant_of(&self.compared[&earlier].0, &rows, invoices, catalog, &mut granted)?;
            next = earlier.next();
        }
        Ok(granted)
    }

    async fn rows(&mut self, month: BillingMonth) -> Result<&[Row], RatingError> {
        if !self.compared.contains_key(&month) {
            let compared = self.compare(month).await?;
            self.compared.insert(month, compared);
        }
        Ok(&self.compared[&month].1)
    }

    async fn compare(&self, month: BillingMonth) -> Result<(Run, Vec<Row>), RatingError> {
        let Known { usage, catalog, invoices, decisions, posted } = self.known;
        let closed: BTreeSet<BillingMonth> = posted.keys().copied().collect();
        let run = rate(Pins { month, ..self.pins.clone() }, usage, catalog).await?;
        let given = Given { month, cost_lines: &run.cost_lines, catalog, invoices, closed: &closed };
        let comparison = Comparison::of(given)?;
        let questions: BTreeSet<Question> = comparison.questions().into_iter().cloned().collect();
        let answers: BTreeMap<Question, Exact> = quantities_within(usage, catalog, &questions).await?;
        let mut rows = comparison.rows(&answers);
        apply(&mut rows, invoices, decisions);
        Ok((run, rows))
    }
}
