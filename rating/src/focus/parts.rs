//! The parts of a priced line: one for each subject where it is metered, else one.
//!
//! Who bears which charge is decided in `run` and `statement`, and deliberately not again.
//!
//! Invariant: the parts of a line add up to it, to 10⁻¹⁸; the ratios of a cost line add up to 1.

use crate::allocation::{Because, Rule};
use crate::exact::{Exact, exact};
use crate::posted::Posted;
use crate::rounding::{self, MoneyError, Weight, allocate_amount};
use crate::run::{Charge, ChargeId, CostLine, CostLineId};
use crate::statement::{Biller, Partners};
use num_traits::{One as _, Zero as _};
use schemas::decimal::{Amount, DecimalError};
use schemas::id::{CustomerId, Subject};
use std::collections::BTreeMap;

/// One part of a line.
#[derive(Debug)]
pub(super) struct Part {
    pub subject: Option<Subject>,
    /// Of the whole cost line, where that is shared among customers by a rule.
    pub ratio: Option<Amount>,
    pub quantity: Amount,
    /// Of what is billed.
    pub billed: Amount,
    /// Of what it is in the provider's currency.
    pub own: Amount,
    pub charges: Vec<ChargeId>,
}

/// The charges of cost lines by who bears them on whose statement. Lines of one cost line come one after
/// another, so that it keeps the last.
#[derive(Default)]
pub(super) struct Splits {
    last: Option<(CostLineId, Borne)>,
}

/// By the partner who bills, none of the operator, and the bearer: the places of charges, with their
/// ratios and quantities.
type Borne = BTreeMap<(Option<CustomerId>, Option<CustomerId>), Vec<(usize, Amount, Amount)>>;

impl Splits {
    /// The charges that are in a line.
    fn of(
        &mut self,
        line: &Posted<'_>,
        cost_line: &CostLine,
        partners: &Partners,
    ) -> Result<&[(usize, Amount, Amount)], MoneyError> {
        let borne = match self.last.take() {
            Some((of, borne)) if of == cost_line.id => borne,
            _ => borne(cost_line, partners)?,
        };
        let (_, borne) = self.last.insert((cost_line.id, borne));
        let biller = match &line.biller {
            Biller::Operator => None,
            Biller::Partner(partner) => Some(partner.clone()),
        };
        Ok(borne.get(&(biller, line.customer.clone())).map_or(&[], Vec::as_slice))
    }
}

fn borne(line: &CostLine, partners: &Partners) -> Result<Borne, MoneyError> {
    let ratios = match line.rule {
        Rule::Even { .. } | Rule::Fixed { .. } => ratios(line)?,
        _ => vec![Amount::ZERO; line.charges.len()],
    };
    let quantities = quantities(line, &ratios)?;
    let mut borne = Borne::new();
    for (place, charge) in line.charges.iter().enumerate() {
        let part = (place, ratios[place], quantities[place]);
        let customer = &charge.customer;
        let partner = customer.as_ref().and_then(|customer| partners.of(customer));
        let bearer = partner.or(customer.as_ref()).cloned();
        borne.entry((None, bearer)).or_default().push(part);
        let own = customer.as_ref().filter(|customer| partners.bills(customer));
        if let Some(biller) = partner.or(own) {
            borne.entry((Some(biller.clone()), customer.clone())).or_default().push(part);
        }
    }
    Ok(borne)
}

/// The parts of a line, by subject where it `is_metered`; none where nothing of the cost line is its
/// bearer's.
pub(super) fn parts(
    splits: &mut Splits,
    (line, is_metered): (&Posted<'_>, bool),
    cost_line: &CostLine,
    partners: &Partners,
    (billed, own): (Amount, Amount),
) -> Result<Vec<Part>, MoneyError> {
    let mut found: BTreeMap<Option<&Subject>, Sum> = BTreeMap::new();
    for (place, ratio, quantity) in splits.of(line, cost_line, partners)? {
        let charge = &cost_line.charges[*place];
        let subject = charge.subject.as_ref().filter(|_| is_metered);
        found.entry(subject).or_insert_with(Sum::nothing).add(charge, *ratio, *quantity)?;
    }
    let weights = weights(found.values())?;
    if weights.is_empty() {
        return Ok(Vec::new());
    }
    let billed = allocate_amount(billed, &weights)?;
    let own = allocate_amount(own, &weights)?;
    let mut parts = Vec::with_capacity(found.len());
    let is_by_rule = matches!(cost_line.rule, Rule::Even { .. } | Rule::Fixed { .. });
    for ((subject, sum), (billed, own)) in found.into_iter().zip(billed.into_iter().zip(own)) {
        let Sum { ratio, quantity, charges, .. } = sum;
        let (subject, ratio) = (subject.cloned(), is_by_rule.then_some(ratio));
        parts.push(Part { subject, ratio, quantity, billed, own, charges });
    }
    Ok(parts)
}

/// What one subject has.
struct Sum {
    ratio: Amount,
    quantity: Amount,
    amount: Amount,
    /// Exactly, in a unit that all subjects of a line have.
    used: Exact,
    charges: Vec<ChargeId>,
}

impl Sum {
    fn nothing() -> Self {
        let nothing = Amount::ZERO;
        let (used, charges) = (Exact::zero(), Vec::new());
        Self { ratio: nothing, quantity: nothing, amount: nothing, used, charges }
    }

    fn add(&mut self, charge: &Charge, ratio: Amount, quantity: Amount) -> Result<(), MoneyError> {
        self.ratio = add(self.ratio, ratio)?;
        self.quantity = add(self.quantity, quantity)?;
        self.amount = add(self.amount, charge.amount)?;
        self.used += charge.because.used().cloned().unwrap_or_default();
        self.charges.push(charge.id);
        Ok(())
    }
}

fn add(a: Amount, b: Amount) -> Result<Amount, MoneyError> {
    a.checked_add(b).map_err(|reason: DecimalError| MoneyError::Overflow { what: "a sum of a line", reason })
}

/// By exact charges; where these are nothing by exact quantities, and where these are nothing too,
/// equally.
fn weights<'s>(sums: impl Iterator<Item = &'s Sum> + Clone) -> Result<Vec<Weight>, MoneyError> {
    let by_charge: Vec<Weight> = sums.clone().map(|sum| Weight::of_size(sum.amount.units())).collect();
    if by_charge.iter().any(|weight| !weight.is_zero()) {
        return Ok(by_charge);
    }
    let by_quantity = sums.map(|sum| Weight::of(&sum.used)).collect::<Result<Vec<_>, _>>()?;
    let nothing = by_quantity.iter().all(Weight::is_zero);
    Ok(if nothing { vec![Weight::ONE; by_quantity.len()] } else { by_quantity })
}

/// Each sharer's part of a cost line that is shared by a rule, in the order of its charges.
fn ratios(line: &CostLine) -> Result<Vec<Amount>, MoneyError> {
    let weight = |charge: &Charge| match &charge.because {
        Because::Weight { own, .. } => Weight::of_quantity((*own).into()),
        _ => Ok(Weight::ONE),
    };
    let weights = line.charges.iter().map(weight).collect::<Result<Vec<_>, _>>()?;
    allocate_amount(rounding::amount(&Exact::one())?, &weights)
}

/// How much of the priced quantity is each charge's, in the order of the charges.
fn quantities(line: &CostLine, ratios: &[Amount]) -> Result<Vec<Amount>, MoneyError> {
    match line.rule {
        Rule::Even { .. } | Rule::Fixed { .. } => {
            let weights: Vec<Weight> = ratios.iter().map(|ratio| Weight::of_size(ratio.units())).collect();
            allocate_amount(rounding::amount(&line.exact_quantity)?, &weights)
        }
        Rule::Proportional | Rule::Direct | Rule::Standalone | Rule::ByMeter { .. } => {
            line.charges.iter().map(|charge| rounding::amount(&quantity(line, charge))).collect()
        }
    }
}

fn quantity(line: &CostLine, charge: &Charge) -> Exact {
    let follows = matches!(line.rule, Rule::Proportional | Rule::Direct);
    match charge.quantity {
        // It is in the unit that is priced.
        Some(quantity) if follows => exact(quantity),
        // The only share of a line is all of it, also where it costs nothing.
        _ if line.charges.len() == 1 => line.exact_quantity.clone(),
        _ if line.amount.is_zero() => Exact::zero(),
        _ => &line.exact_quantity * exact(charge.amount) / exact(line.amount),
    }
}
