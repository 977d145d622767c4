//! The comparison of a month: rows, their figures, and what differs in each.
//!
//! Decisions are deliberately not known here: a variance is open until one is applied to it.
//!
//! Invariant: equal arguments give equal rows, in equal order.

use super::classes::{Facts, Finding, Kind, Priced, Sides, finding};
use super::figures::{Beside, Figures, Pricing, beside};
use super::hints::{self, Missing};
use super::matching::{Draft, Matter, drafts};
use super::month::{Open, here, standing};
use super::quantity;
use super::row::{Class, LineAt, Row, Status, Verdict};
use crate::catalog::{Catalog, Counts};
use crate::error::RatingError;
use crate::exact::{Exact, exact, exact_money, power_of_ten};
use crate::rounding;
use crate::run::CostLine;
use crate::units;
use num_traits::{Signed as _, Zero as _};
use schemas::decimal::Amount;
use schemas::id::{CustomerId, ProviderId, SkuId};
use schemas::invoice::{Invoice, InvoiceLine, LineCategory};
use schemas::time::{BillingMonth, Instant, Period};
use std::collections::{BTreeMap, BTreeSet};

/// What is compared.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub month: BillingMonth,
    /// Those of the month's run.
    pub cost_lines: &'a [CostLine],
    pub catalog: &'a Catalog,
    /// All versions of all invoices of all providers, in the order in which they were imported, less those
    /// that were withdrawn.
    pub invoices: &'a [Invoice],
    pub closed: &'a BTreeSet<BillingMonth>,
}

/// How much of a SKU the ledger has within some dates. They begin in the month, and may end after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub provider: ProviderId,
    pub sku: SkuId,
    /// Of this account alone, where a provider bills each customer's.
    pub sub_account: Option<CustomerId>,
    pub within: Period,
    /// The billing period by whose length units are converted.
    pub billing_period: Period,
}

/// A month that is compared, up to what only the usage can say.
pub struct Comparison<'a> {
    given: Given<'a>,
    rows: Vec<Compared<'a>>,
}

/// A row and what is known of it.
struct Compared<'a> {
    row: Row,
    facts: Facts,
    /// Whether a mapping covers its text.
    knows_text: bool,
    /// The seconds of a month, where its SKU counts with one.
    month: Option<Exact>,
    late: Option<Late<'a>>,
}

/// Whether the lines say what the ledger has within their dates.
struct Late<'a> {
    question: Question,
    pricing: Pricing<'a>,
    /// What the ledger costs at the invoice's quantity.
    priced: Exact,
}

impl<'a> Comparison<'a> {
    /// # Errors
    /// [`RatingError::Invoices`] when an invoice cannot be compared, [`RatingError::Overflow`] when a sum
    /// does not fit.
    pub fn of(given: Given<'a>) -> Result<Self, RatingError> {
        let Given { month, cost_lines, catalog, invoices, closed } = given;
        let matter = Matter { month, cost_lines, catalog, invoices };
        let standing = standing(invoices);
        let here = here(invoices, &standing, month);
        let beside = beside(cost_lines);
        let drafts = drafts(&matter, &standing, &Open::of(closed, month))?;
        let compared = drafts.into_iter().map(|draft| {
            let is_awaited = !here.contains(&draft.provider.id);
            Compared::of(&matter, &draft, &beside, is_awaited)
        });
        let mut rows = compared.collect::<Result<Vec<Compared<'a>>, RatingError>>()?;
        rows.sort_by(|one, other| order(&one.row).cmp(&order(&other.row)));
        Ok(Self { given, rows })
    }

    /// What must be known of the usage before the rows can be told.
    pub fn questions(&self) -> BTreeSet<&Question> {
        self.rows.iter().filter_map(|compared| Some(&compared.late.as_ref()?.question)).collect()
    }

    /// The rows, by provider, SKU, sub account, text and dates, with every variance open. `answers` are
    /// quantities in the unit of the SKU; a question without one counts as one whose
    /// answer differs.
    pub fn rows(self, answers: &BTreeMap<Question, Exact>) -> Vec<Row> {
        let mut found = Vec::with_capacity(self.rows.len());
        for Compared { row, mut facts, knows_text, month, late } in self.rows {
            if let (Some(late), Some(priced)) = (late, &mut facts.priced) {
                priced.is_ledger_of_the_dates = late.is_answered_by(answers, &row.tolerance);
            }
            found.push((row, finding(&facts), knows_text, month));
        }
        let beyond = beyond_tolerance(found.iter().map(|(row, finding, ..)| (row, *finding)));
        let mut rows = Vec::with_capacity(found.len());
        let (mut may_be_mapped, mut months) = (Vec::new(), Vec::new());
        for (mut row, finding, knows_text, month) in found {
            row.find(match finding {
                Finding::Rounding if beyond.contains(&row.provider) => Finding::Variance(Class::Rounding),
                finding => finding,
            });
            may_be_mapped.push(!knows_text && row.class == Some(Class::Unmapped));
            months.push(month);
            rows.push(row);
        }
        let missing = Missing::of(&rows);
        let mut ratios: BTreeMap<Option<Exact>, BTreeSet<Exact>> = BTreeMap::new();
        for ((row, may_be_mapped), month) in rows.iter_mut().zip(may_be_mapped).zip(months) {
            if row.status.is_none() {
                continue;
            }
            let repeats = || hints::repeats(row, self.given.invoices);
            let map = || missing.costing(row).filter(|_| may_be_mapped);
            row.hint = repeats().or_else(map).or_else(|| {
                let ratios = ratios.entry(month).or_insert_with_key(|month| units::ratios(month.as_ref()));
                hints::factor(row, ratios)
            });
        }
        rows
    }
}

impl Late<'_> {
    fn is_answered_by(&self, answers: &BTreeMap<Question, Exact>, tolerance: &Exact) -> bool {
        let costs = answers.get(&self.question).and_then(|quantity| self.pricing.at(quantity));
        costs.is_some_and(|costs| (costs - &self.priced).abs() <= *tolerance)
    }
}

impl<'a> Compared<'a> {
    fn of(
        matter: &Matter<'a>,
        draft: &Draft<'a>,
        beside: &[Beside],
        is_awaited: bool,
    ) -> Result<Self, RatingError> {
        let figures = Figures::of(matter, draft)?;
        let line = |at: &LineAt| &matter.invoices[at.invoice].lines[at.line];
        let lines = || draft.lines.iter().map(line);
        let pricing = Pricing::of(matter, draft, beside);
        let ledger = exact(figures.ledger_amount.unwrap_or(Amount::ZERO));
        let invoice = exact(figures.invoice_amount.unwrap_or(Amount::ZERO));
        let settled = figures.ledger_settled.map_or_else(Exact::zero, exact_money);
        let priced = match (&pricing, &figures.invoice_quantity) {
            (Some(pricing), Some(quantity)) => pricing.at(quantity),
            _ => None,
        };
        let is_near = |one: &Exact, other: &Exact| (one - other).abs() <= figures.tolerance;
        let dates = dates(lines());
        let (start, end) = match &draft.used {
            None => dates.expect("a row without a SKU is made of lines"),
            Some(used) => {
                let period = match draft.cost_lines[..] {
                    [only] => matter.cost_lines[only].key.charge_period,
                    _ => used.period,
                };
                (period.start(), period.end())
            }
        };
        let mut facts = Facts {
            kind: draft.kind,
            repeats: lines().any(|line| line.repeats.is_some()),
            is_nothing: lines().all(|line| line.amount.is_zero()),
            is_declared: lines().any(|line| is_declared(draft, line.category)),
            is_foreign: draft.currency != draft.provider.currency,
            agrees: is_near(&invoice, &ledger),
            agrees_exactly: invoice == ledger || invoice == settled,
            is_restated: figures.is_restated,
            sides: match (draft.lines.is_empty(), draft.cost_lines.is_empty()) {
                (true, _) => Sides::Ledger,
                (false, true) => Sides::Invoice,
                (false, false) => Sides::Both,
            },
            is_of_another_month: draft.used.is_some_and(|used| used.month != matter.month),
            is_awaited,
            priced: priced.as_ref().map(|priced| Priced {
                is_ledger: is_near(priced, &ledger),
                is_invoice: is_near(priced, &invoice),
                is_ledger_of_the_dates: false,
            }),
        };
        let late = match (&priced, pricing) {
            (Some(priced), Some(pricing)) if depends_on_dates(&mut facts) => {
                let dates = dates.filter(|dates| *dates != (start, end));
                dates.and_then(|(from, to)| Late::of(draft, (from, to), pricing, priced))
            }
            _ => None,
        };
        let is_priced = draft.kind == Kind::Sku && !facts.is_foreign;
        // Rounded once, so that both variances add up to the whole; what is too large is told with the row.
        let rounded = |priced: Exact| rounding::amount(&priced).map_or(priced, exact);
        let priced = priced.filter(|_| is_priced).map(rounded);
        let invoices = || draft.lines.iter().map(|at| &matter.invoices[at.invoice]);
        let row = Row {
            provider: draft.provider.id.clone(),
            period: matter.month,
            sku: draft.used.map(|used| used.sku.id.clone()),
            sub_account: draft.sub_account.map(Box::from),
            invoice_text: draft.text.map(Box::from),
            start,
            end,
            currency: draft.currency,
            invoices: invoices().map(|invoice| invoice.id.clone()).collect(),
            lines: draft.lines.clone(),
            cost_lines: draft.cost_lines.clone(),
            ledger_quantity: figures.ledger_quantity,
            invoice_quantity: figures.invoice_quantity,
            ledger_amount: figures.ledger_amount,
            ledger_settled: figures.ledger_settled,
            invoice_amount: figures.invoice_amount,
            before: figures.before,
            variance: (!(facts.is_foreign && draft.kind == Kind::Sku)).then(|| &invoice - &ledger),
            quantity_variance: priced.as_ref().map(|priced| priced - &ledger),
            price_variance: priced.map(|priced| &invoice - priced),
            tolerance: figures.tolerance,
            verdict: Verdict::Match,
            class: None,
            status: None,
            hint: None,
        };
        let month = draft.used.and_then(|used| {
            let metered = used.sku.metered()?;
            quantity::month(matter.catalog, metered, used.period)
        });
        Ok(Self { row, facts, knows_text: draft.knows_text, month, late })
    }
}

impl Row {
    fn find(&mut self, finding: Finding) {
        (self.verdict, self.class) = (finding.verdict(), finding.class());
        self.status = match finding {
            Finding::Match | Finding::Rounding | Finding::Policy(_) => None,
            Finding::Variance(Class::Awaited) => Some(Status::Awaited),
            Finding::Variance(_) => Some(Status::Open),
        };
        if self.status.is_none() {
            (self.quantity_variance, self.price_variance) = (None, None);
        }
    }
}

impl<'a> Late<'a> {
    /// `None` where there is no usage to ask about, or no time.
    fn of(
        draft: &Draft<'a>,
        (from, to): (Instant, Instant),
        pricing: Pricing<'a>,
        priced: &Exact,
    ) -> Option<Self> {
        let used = draft.used?;
        if !matches!(used.sku.counts, Counts::Usage(_)) {
            return None;
        }
        let question = Question {
            provider: draft.provider.id.clone(),
            sku: used.sku.id.clone(),
            sub_account: used.account.cloned(),
            within: Period::new(from, to)?,
            billing_period: used.period,
        };
        Some(Self { question, pricing, priced: priced.clone() })
    }
}

/// The providers whose roundings add up to more than the tolerance of FOCUS for as many lines as theirs:
/// max(100, √lines ÷ 2) minor units. Together that is no rounding any more.
fn beyond_tolerance<'r>(rows: impl Iterator<Item = (&'r Row, Finding)>) -> BTreeSet<ProviderId> {
    let mut sums: BTreeMap<&ProviderId, (Exact, usize)> = BTreeMap::new();
    for (row, finding) in rows {
        let (minor_units, lines) = sums.entry(&row.provider).or_default();
        *lines += row.lines.len();
        // All of a provider's are in its currency; in another a row is no rounding.
        if let (Finding::Rounding, Some(variance)) = (finding, &row.variance) {
            *minor_units += variance * power_of_ten(row.currency.minor_digits());
        }
    }
    let whole = |number: usize| Exact::from_integer(number.into());
    let is_beyond = |(sum, lines): &(Exact, usize)| {
        // Compared by squares, because a root is no exact number.
        sum.abs() > whole(100) && sum * sum * whole(4) > whole(*lines)
    };
    sums.into_iter().filter(|(_, sum)| is_beyond(sum)).map(|(provider, _)| provider.clone()).collect()
}

/// Whether what is found depends on what the ledger has within the dates of the lines.
fn depends_on_dates(facts: &mut Facts) -> bool {
    let mut with = |is_ledger_of_the_dates| {
        if let Some(priced) = &mut facts.priced {
            priced.is_ledger_of_the_dates = is_ledger_of_the_dates;
        }
        finding(facts)
    };
    with(true) != with(false)
}

/// From the first begin to the last end.
fn dates<'l>(lines: impl Iterator<Item = &'l InvoiceLine> + Clone) -> Option<(Instant, Instant)> {
    Some((lines.clone().map(|line| line.start).min()?, lines.map(|line| line.end).max()?))
}

fn is_declared(draft: &Draft<'_>, category: LineCategory) -> bool {
    let invoicing = draft.provider.invoicing.as_ref();
    invoicing.is_some_and(|invoicing| invoicing.pass.contains_key(&category))
}

/// What rows are sorted by.
type Order<'r> = (
    &'r ProviderId,
    Option<&'r SkuId>,
    Option<&'r str>,
    Option<&'r str>,
    Instant,
    Instant,
    &'static str,
    Option<LineAt>,
);

fn order(row: &Row) -> Order<'_> {
    (
        &row.provider,
        row.sku.as_ref(),
        row.sub_account.as_deref(),
        row.invoice_text.as_deref(),
        row.start,
        row.end,
        row.currency.code(),
        row.lines.first().copied(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::world::{provider, row};
    use super::*;

    /// Rows of so many lines each, by their variances in hundredths of a cent.
    #[track_caller]
    fn check(variances: &[i32], lines: usize, finding: Finding, is_beyond: bool) {
        let at: Vec<(usize, usize)> = (0..lines).map(|line| (0, line)).collect();
        let rows: Vec<Row> = variances
            .iter()
            .map(|variance| {
                let variance = Some(Exact::new((*variance).into(), 10_000.into()));
                Row { variance, ..row(Ok(0), &at, &[0], None) }
            })
            .collect();
        let found = beyond_tolerance(rows.iter().map(|row| (row, finding)));
        let expected = is_beyond.then(provider).into_iter().collect();
        assert_eq!(found, expected, "{variances:?}, {lines} lines");
    }

    #[test]
    fn roundings_that_add_up_to_too_much_are_none() {
        check(&[], 0, Finding::Rounding, false);
        // A dollar, and a hundredth of a cent more, on either side.
        check(&[6_000, 4_000], 1, Finding::Rounding, false);
        check(&[6_000, 4_001], 1, Finding::Rounding, true);
        check(&[-6_000, -4_001], 1, Finding::Rounding, true);
        // They make up for one another.
        check(&[30_000, -20_000], 1, Finding::Rounding, false);
        // What is no rounding does not count.
        check(&[6_000, 4_001], 1, Finding::Variance(Class::Price), false);
        // Of 44,100 lines half the root is 105 cents.
        check(&[5_250, 5_250], 22_050, Finding::Rounding, false);
        check(&[5_250, 5_251], 22_050, Finding::Rounding, true);
    }
}
