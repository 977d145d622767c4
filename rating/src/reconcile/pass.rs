//! What is passed through: every part of an invoice in minor units, the cost line that it falls to, and
//! who bears it.
//!
//! What is on statements of it (billers, grants, other currencies) is deliberately left to `post`.
//!
//! Invariants: an invoice is passed whole over its rows, and of a row that is decided, whole over its
//! cost lines and bearers. Every cost line of the month is passed or estimated, never both. The
//! operator retains nothing below zero but its own and nobody's share of a credit.

use super::month::{here, standing};
use super::row::{Row, Status, Verdict};
use super::total::{PartOf, parts};
use crate::allocation::{Kind, RetainedReason};
use crate::catalog::{Catalog, PassRule, Provider};
use crate::error::RatingError;
use crate::rounding::{MoneyError, Weight, allocate_money};
use crate::run::{CostLine, ItemId, Posting, Run};
use crate::statement::Bearer;
use schemas::decimal::{Amount, QuantityTotal};
use schemas::id::{BillingAccountId, CustomerId, InvoiceId, ProviderId};
use schemas::invoice::{Invoice, LineCategory};
use schemas::money::Money;
use schemas::time::BillingMonth;
use std::collections::{BTreeMap, BTreeSet};

/// Money that is passed to those who bear it: a part of an invoice, or of an estimate in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passed {
    pub of: Posting,
    /// The place of the cost line that it falls to.
    pub cost_line: Option<usize>,
    /// The invoice's first line that it is of, from 1.
    pub first_line: Option<u32>,
    pub money: Money,
    pub bearers: Vec<Borne>,
}

/// Who bears money, and how much of it; see [`Bearer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Borne {
    pub customer: Option<CustomerId>,
    pub kind: Kind,
    pub weight: i128,
}

impl<'a> From<&'a Borne> for Bearer<'a> {
    fn from(borne: &'a Borne) -> Self {
        Self { customer: borne.customer.as_ref(), kind: borne.kind, weight: borne.weight }
    }
}

impl Passed {
    /// What the ids of its lines follow from.
    pub fn item(&self, cost_lines: &[CostLine]) -> ItemId {
        match (self.cost_line, &self.of.invoice) {
            (Some(place), None) => ItemId::CostLine(cost_lines[place].id),
            (Some(place), Some(invoice)) => ItemId::Part(cost_lines[place].id, invoice.clone()),
            (None, _) => self.of.item(self.money.currency, self.first_line),
        }
    }
}

/// What is passed through of a month, in the order of its rows; then the estimates of cost lines that are
/// in none.
///
/// `rows` are those of the month and of every other month that an invoice of these has lines in: only so
/// can the invoice be shared.
///
/// # Errors
/// [`RatingError::Dispute`]; [`RatingError::Damaged`] where rows and invoices do not fit together; and
/// overflow.
pub(super) fn pass(
    run: &Run,
    rows: &[Row],
    invoices: &[Invoice],
    catalog: &Catalog,
) -> Result<Vec<Passed>, RatingError> {
    let month = run.pins.month;
    let parts = parts(rows, month, invoices, catalog)?;
    let (by_cost, is_in_a_row) = (BTreeMap::new(), vec![false; run.cost_lines.len()]);
    let (here, passed) = (here(invoices, &standing(invoices), month), Vec::new());
    let mut passing = Passing { run, invoices, here, catalog, month, by_cost, is_in_a_row, passed };
    for (row, parts) in rows.iter().zip(&parts).filter(|(row, _)| row.period == month) {
        passing.row(row, parts)?;
    }
    for place in 0..run.cost_lines.len() {
        if !passing.is_in_a_row[place] {
            let settled = run.cost_lines[place].settled;
            passing.pass_to_cost_line(place, None, None, settled)?;
        }
    }
    Ok(passing.passed)
}

/// What each bears of a provider's exact costs, nobody last, by kind.
type CostsOf<'r> = BTreeMap<(bool, Option<&'r CustomerId>, Kind), Amount>;

/// What each bears of a provider's cost lines, exactly: customers, then what is retained of nobody's and
/// of what nobody used, each of them apart.
pub(super) fn costs<'r>(run: &'r Run, provider: &ProviderId) -> Result<CostsOf<'r>, RatingError> {
    let mut costs = BTreeMap::new();
    for line in run.cost_lines.iter().filter(|line| line.key.provider == *provider) {
        for charge in &line.charges {
            let customer = charge.customer.as_ref();
            let sum = costs.entry((customer.is_none(), customer, charge.kind)).or_insert(Amount::ZERO);
            *sum = sum.checked_add(charge.amount).map_err(RatingError::overflow("what a customer costs"))?;
        }
    }
    Ok(costs)
}

struct Passing<'a> {
    run: &'a Run,
    invoices: &'a [Invoice],
    /// The providers whose invoice of the month is here.
    here: BTreeSet<&'a ProviderId>,
    catalog: &'a Catalog,
    month: BillingMonth,
    /// Of the providers that were asked for: who bears what by cost, where anybody has one.
    by_cost: BTreeMap<ProviderId, Option<Vec<Borne>>>,
    /// By the places of cost lines.
    is_in_a_row: Vec<bool>,
    passed: Vec<Passed>,
}

impl<'a> Passing<'a> {
    fn row(&mut self, row: &Row, parts: &[PartOf]) -> Result<(), RatingError> {
        for place in &row.cost_lines {
            match self.is_in_a_row.get_mut(*place) {
                Some(is_in_a_row) if !*is_in_a_row => *is_in_a_row = true,
                _ => {
                    return Err(damaged(
                        row,
                        "it has a cost line that is in another row, or in none of the run",
                    ));
                }
            }
        }
        match (row.verdict, row.status) {
            (Verdict::Match | Verdict::Policy, _) | (Verdict::Variance, Some(Status::Accepted)) => {
                self.as_invoiced(row, parts)
            }
            (Verdict::Variance, Some(Status::Open | Status::Awaited)) => self.as_estimated(row, None),
            (Verdict::Variance, Some(Status::Disputed)) => self.disputed(row, parts),
            (Verdict::Variance, None) => Err(damaged(row, "it is a variance without a status")),
        }
    }

    /// What the invoices say, by the cost lines or else by who is declared to bear it.
    fn as_invoiced(&mut self, row: &Row, parts: &[PartOf]) -> Result<(), RatingError> {
        if parts.is_empty() && !self.here.contains(&row.provider) {
            // What is so little that nothing of it is awaited settles all the same.
            return self.as_estimated(row, None);
        }
        if parts.is_empty() {
            // Nothing is billed of it, and its bearers are told so.
            for place in &row.cost_lines {
                let nothing = Money { minor_units: 0, ..self.run.cost_lines[*place].settled };
                self.pass_to_cost_line(*place, None, None, nothing)?;
            }
            return Ok(());
        }
        let mut places = row.cost_lines.clone();
        let key = |place: &usize| &self.run.cost_lines[*place].key;
        places.sort_by_key(|place| {
            let (account, start) = (&key(place).sub_account, key(place).charge_period.start());
            (account.is_none(), account.clone(), start, key(place).price_from)
        });
        let lines = places.iter().map(|place| &self.run.cost_lines[*place]);
        let weights: Vec<Weight> = weights(lines.map(|line| (line.amount.units(), line.quantity.units())))
            .into_iter()
            .map(Weight::of_size)
            .collect();
        for PartOf { invoice, first_line, money } in parts {
            if places.is_empty() {
                let (of, bearers) = (self.posting(row, Some(invoice))?, self.declared(row, *money)?);
                self.passed.push(Passed {
                    of,
                    cost_line: None,
                    first_line: Some(*first_line),
                    money: *money,
                    bearers,
                });
                continue;
            }
            let moneys =
                allocate_money(*money, &weights).map_err(|error| damaged(row, &error.to_string()))?;
            for (place, money) in places.iter().zip(moneys) {
                self.pass_to_cost_line(*place, Some(invoice), Some(*first_line), money)?;
            }
        }
        Ok(())
    }

    /// What the cost lines settle at.
    fn as_estimated(&mut self, row: &Row, invoice: Option<&PartOf>) -> Result<(), RatingError> {
        for place in &row.cost_lines {
            let settled = self.run.cost_lines[*place].settled;
            let first_line = invoice.map(|part| part.first_line);
            self.pass_to_cost_line(*place, invoice.map(|part| &part.invoice), first_line, settled)?;
        }
        Ok(())
    }

    /// The estimate, as a part of the last invoice, and what the invoices say beyond it. In another
    /// currency it can come off none, so that all of them is retained and no estimate stands.
    fn disputed(&mut self, row: &Row, parts: &[PartOf]) -> Result<(), RatingError> {
        let mut estimated = 0i128;
        let mut is_comparable = true;
        for place in &row.cost_lines {
            let settled = self.run.cost_lines[*place].settled;
            is_comparable &= settled.currency == row.currency;
            estimated = estimated.checked_add(settled.minor_units).ok_or_else(|| too_large(row))?;
        }
        if is_comparable {
            self.as_estimated(row, parts.last())?;
        }
        let (mut rests, mut rest) = (Vec::new(), 0i128);
        for (place, part) in parts.iter().enumerate() {
            let estimated = if is_comparable && place + 1 == parts.len() { estimated } else { 0 };
            let own = part.money.minor_units.checked_sub(estimated).ok_or_else(|| too_large(row))?;
            rest = rest.checked_add(own).ok_or_else(|| too_large(row))?;
            rests.push((Some(part), own));
        }
        if parts.is_empty() {
            rest = estimated.checked_neg().ok_or_else(|| too_large(row))?;
            rests.extend((rest != 0).then_some((None, rest)));
        }
        if rest < 0 {
            let rest = Money { minor_units: rest, currency: row.currency };
            let rest = rest.to_amount().ok_or_else(|| too_large(row))?;
            return Err(RatingError::Dispute { row: name(row), rest: format!("{rest} {}", row.currency) });
        }
        for (part, minor_units) in rests {
            let of = self.posting(row, part.map(|part| &part.invoice))?;
            let (first_line, money) =
                (part.map(|part| part.first_line), Money { minor_units, currency: row.currency });
            let bearers = vec![retained(RetainedReason::Disputed)];
            self.passed.push(Passed { of, cost_line: None, first_line, money, bearers });
        }
        Ok(())
    }

    /// Money of a cost line, by its exact charges.
    fn pass_to_cost_line(
        &mut self,
        place: usize,
        invoice: Option<&InvoiceId>,
        first_line: Option<u32>,
        money: Money,
    ) -> Result<(), RatingError> {
        let line = &self.run.cost_lines[place];
        let of = line.posting(invoice.cloned());
        let mut sums: BTreeMap<(bool, Option<&CustomerId>, Kind), (i128, i128)> = BTreeMap::new();
        for charge in &line.charges {
            let customer = charge.customer.as_ref();
            let (amount, quantity) = sums.entry((customer.is_none(), customer, charge.kind)).or_default();
            let used = charge.quantity.map_or(0, QuantityTotal::units);
            let sum = |one: i128, other| {
                let what = "what a line is shared by";
                one.checked_add(other)
                    .ok_or_else(|| crate::run::too_large(MoneyError::OverflowMinor { what }))
            };
            (*amount, *quantity) = (sum(*amount, charge.amount.units())?, sum(*quantity, used)?);
        }
        let weights = weights(sums.values().copied());
        let bearers = sums.keys().zip(weights).map(|((_, customer, kind), weight)| Borne {
            customer: customer.cloned(),
            kind: *kind,
            weight,
        });
        let bearers = bearers.collect();
        self.passed.push(Passed { of, cost_line: Some(place), first_line, money, bearers });
        Ok(())
    }

    /// Who bears what no cost line is of.
    fn declared(&mut self, row: &Row, money: Money) -> Result<Vec<Borne>, RatingError> {
        let provider = self.provider(row)?;
        let category = self.category(row);
        let rule = provider.invoicing.as_ref().and_then(|invoicing| invoicing.pass.get(&category));
        let is_below_zero = money.minor_units < 0;
        match rule {
            Some(PassRule::Even) => self.even(provider),
            Some(PassRule::ByCost) => self.by_cost(&provider.id, category),
            // The operator never gains.
            Some(PassRule::Retain) | None if is_below_zero => self.by_cost(&provider.id, category),
            Some(PassRule::Retain) | None => Ok(vec![retained(reason(category))]),
        }
    }

    fn even(&self, provider: &Provider) -> Result<Vec<Borne>, RatingError> {
        let month = self.month;
        let period =
            provider.billing_period(month).map_err(|reason| RatingError::Period { month, reason })?;
        let bound = self.catalog.customers_bound_in(period);
        if bound.is_empty() {
            return Ok(vec![retained(RetainedReason::Unattributed)]);
        }
        Ok(bound.iter().map(|customer| self.borne(Some(customer), 1)).collect())
    }

    /// By what each costs; the operator's where nobody costs anything.
    fn by_cost(&mut self, provider: &ProviderId, category: LineCategory) -> Result<Vec<Borne>, RatingError> {
        if !self.by_cost.contains_key(provider) {
            let bearers: Vec<Borne> = costs(self.run, provider)?
                .into_iter()
                .map(|((_, customer, kind), cost)| Borne {
                    customer: customer.cloned(),
                    kind,
                    weight: cost.units().max(0),
                })
                .collect();
            let has_costs = bearers.iter().any(|borne| borne.weight > 0);
            self.by_cost.insert(provider.clone(), has_costs.then_some(bearers));
        }
        Ok(self.by_cost[provider].clone().unwrap_or_else(|| vec![retained(reason(category))]))
    }

    fn borne(&self, customer: Option<&CustomerId>, weight: i128) -> Borne {
        let first_day = self.month.first_day();
        let kind = Kind::of(customer, |customer| self.catalog.is_internal(customer, first_day));
        Borne { customer: customer.cloned(), kind, weight }
    }

    fn provider(&self, row: &Row) -> Result<&'a Provider, RatingError> {
        let provider = self.catalog.providers.get(&row.provider);
        provider.ok_or_else(|| damaged(row, "the catalog has no such provider"))
    }

    /// What the lines of a row are for. Of a SKU it is usage, whatever single lines of it say.
    fn category(&self, row: &Row) -> LineCategory {
        let line = row.lines.first().filter(|_| row.sku.is_none());
        line.map_or(LineCategory::Usage, |at| self.invoices[at.invoice].lines[at.line].category)
    }

    /// The account that a row is billed to. Lines that are of no SKU may be of another one than the
    /// provider's, and are of the same in a row.
    fn billing_account(&self, row: &Row) -> Result<BillingAccountId, RatingError> {
        let line = row.lines.first().filter(|_| row.sku.is_none());
        match line.and_then(|at| self.invoices[at.invoice].lines[at.line].billing_account.as_deref()) {
            None => Ok(self.provider(row)?.billing_account.clone()),
            Some(account) => BillingAccountId::new(account).map_err(|error| damaged(row, &error.to_string())),
        }
    }

    /// What lines without a cost line are of.
    fn posting(&self, row: &Row, invoice: Option<&InvoiceId>) -> Result<Posting, RatingError> {
        Ok(Posting {
            provider: row.provider.clone(),
            billing_account: self.billing_account(row)?,
            sub_account: row.sub_account.clone(),
            sku: row.sku.clone(),
            start: row.start,
            end: row.end,
            invoice: invoice.cloned(),
            category: self.category(row),
            description: row.invoice_text.clone().filter(|_| row.sku.is_none()),
        })
    }
}

/// Of amounts and quantities: the amounts, or the quantities where every amount is zero, or else equal
/// parts.
fn weights(of: impl Iterator<Item = (i128, i128)> + Clone) -> Vec<i128> {
    if of.clone().any(|(amount, _)| amount != 0) {
        of.map(|(amount, _)| amount).collect()
    } else if of.clone().any(|(_, quantity)| quantity != 0) {
        of.map(|(_, quantity)| quantity).collect()
    } else {
        of.map(|_| 1).collect()
    }
}

fn retained(reason: RetainedReason) -> Borne {
    Borne { customer: None, kind: Kind::Retained(reason), weight: 1 }
}

/// Why the operator bears what nobody else is declared to.
fn reason(category: LineCategory) -> RetainedReason {
    match category {
        LineCategory::Usage => RetainedReason::Unmetered,
        LineCategory::Tax => RetainedReason::Tax,
        LineCategory::Credit => RetainedReason::Credit,
        LineCategory::Fee => RetainedReason::Fee,
        LineCategory::Adjustment => RetainedReason::Adjustment,
    }
}

/// What a row is called in an error.
pub(super) fn name(row: &Row) -> String {
    let of = match (&row.sku, &row.invoice_text) {
        (Some(sku), _) => format!(" {sku}"),
        (None, Some(text)) => format!(" {text:?}"),
        (None, None) => String::new(),
    };
    let account = row.sub_account.as_ref().map_or_else(String::new, |account| format!(" of {account}"));
    format!("{}{of}{account} from {} until {} in {}", row.provider, row.start, row.end, row.currency)
}

pub(super) fn damaged(row: &Row, detail: &str) -> RatingError {
    RatingError::Damaged(format!("the row {}: {detail}", name(row)))
}

fn too_large(row: &Row) -> RatingError {
    RatingError::Billed(format!("what is passed of the row {} is too large", name(row)))
}
